//! When a broadcast reached its first and its last subscriber.
//!
//! A worker follows every message of a publisher until all subscribers of its own that read have
//! it, and then puts down its first and its last latency ([`Watch`]). The coordinator joins what
//! the workers put down: the least of the firsts and the greatest of the lasts, once every worker
//! with subscribers has spoken ([`Gather`]). So both are exact over all subscribers of the run, but
//! for the time between a socket becoming readable and its batch of receives being taken; a
//! broadcast that missed anybody is in neither.

use crate::clock::Nanos;
use crate::latency::Latencies;
use std::collections::{HashMap, VecDeque};

/// Messages of one publisher that a worker follows at a time; behind them the oldest is given up.
const OPEN_MAX: usize = 65_536;
/// Messages that the coordinator has from some workers only, before it gives them up.
const HALF_MAX: usize = 1 << 20;

/// A broadcast as all subscribers of one worker saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The publisher.
    pub stream: u32,
    /// Its number there.
    pub sequence: u32,
    /// Latency at the first subscriber.
    pub first_ns: Nanos,
    /// Latency at the last.
    pub last_ns: Nanos,
}

/// The worker's side.
pub struct Watch {
    /// Subscribers of this worker that read.
    readers: u32,
    streams: Vec<Open>,
}

/// The messages of one publisher that are not everywhere yet.
#[derive(Clone, Default)]
struct Open {
    base: u32,
    waiting: VecDeque<Partial>,
}

#[derive(Clone, Copy, Default)]
struct Partial {
    count: u32,
    first_ns: Nanos,
    last_ns: Nanos,
}

impl Watch {
    /// For `readers` subscribers and `streams` publishers.
    pub fn new(readers: u32, streams: usize) -> Watch {
        Watch { readers, streams: vec![Open::default(); streams] }
    }

    /// Takes note of a delivery; the broadcast, if this was the last of this worker.
    #[inline]
    pub fn take(&mut self, stream: u32, sequence: u32, latency_ns: Nanos) -> Option<Spread> {
        let open = self.streams.get_mut(stream as usize)?;
        let mut at = sequence.checked_sub(open.base)? as usize;
        if at >= OPEN_MAX {
            let given_up = (at + 1 - OPEN_MAX).min(open.waiting.len());
            open.waiting.drain(..given_up);
            open.base = sequence - (OPEN_MAX as u32 - 1);
            at = OPEN_MAX - 1;
        }
        if at >= open.waiting.len() {
            open.waiting.resize(at + 1, Partial::default());
        }
        let partial = &mut open.waiting[at];
        if partial.count == 0 {
            (partial.first_ns, partial.last_ns) = (latency_ns, latency_ns);
        }
        partial.count += 1;
        partial.first_ns = partial.first_ns.min(latency_ns);
        partial.last_ns = partial.last_ns.max(latency_ns);
        let Partial { count, first_ns, last_ns } = *partial;
        if count < self.readers {
            return None;
        }
        while open.waiting.front().is_some_and(|partial| partial.count >= self.readers) {
            open.waiting.pop_front();
            open.base += 1;
        }
        Some(Spread { stream, sequence, first_ns, last_ns })
    }
}

/// The coordinator's side.
#[derive(Default)]
pub struct Gather {
    /// Workers with subscribers that read.
    workers: u32,
    /// By publisher and number: how many workers spoke, and what they said together.
    half: HashMap<(u32, u32), (u32, Nanos, Nanos)>,
    /// Latency at the first subscriber, of every broadcast.
    pub first: Latencies,
    /// Latency at the last.
    pub last: Latencies,
}

impl Gather {
    /// For `workers` workers.
    pub fn new(workers: u32) -> Gather {
        Gather { workers, ..Gather::default() }
    }

    /// Joins what a worker put down.
    pub fn add(&mut self, spread: &Spread) {
        let key = (spread.stream, spread.sequence);
        let (count, first_ns, last_ns) = self.half.remove(&key).unwrap_or((0, Nanos::MAX, 0));
        let joined = (count + 1, first_ns.min(spread.first_ns), last_ns.max(spread.last_ns));
        if joined.0 == self.workers {
            self.first.record(joined.1);
            self.last.record(joined.2);
            return;
        }
        if self.half.len() >= HALF_MAX {
            self.half.clear();
        }
        self.half.insert(key, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_is_told_by_its_last_delivery() {
        let mut watch = Watch::new(3, 2);
        assert_eq!(watch.take(1, 0, 50), None);
        assert_eq!(watch.take(1, 1, 20), None);
        assert_eq!(watch.take(1, 0, 90), None);
        let spread = Spread { stream: 1, sequence: 0, first_ns: 50, last_ns: 95 };
        assert_eq!(watch.take(1, 0, 95), Some(spread));
        assert_eq!(watch.take(1, 0, 96), None, "it is over");
        assert_eq!(watch.take(1, 1, 21), None);
        assert!(watch.take(1, 1, 22).is_some());
        assert_eq!((watch.streams[1].base, watch.streams[1].waiting.len()), (2, 0));
        assert_eq!(watch.take(7, 0, 1), None, "an unknown publisher");
    }

    #[test]
    fn what_never_gets_everywhere_is_given_up() {
        let mut watch = Watch::new(2, 1);
        assert_eq!(watch.take(0, 0, 1), None);
        for sequence in 1..200_000 {
            watch.take(0, sequence, 1);
            assert!(watch.take(0, sequence, 2).is_some(), "{sequence}");
            assert!(watch.streams[0].waiting.len() <= OPEN_MAX);
        }
        assert_eq!(watch.take(0, 0, 3), None);
        watch.take(0, 3_000_000_000, 1);
        let spread = watch.take(0, 3_000_000_000, 5);
        assert_eq!(spread.map(|spread| spread.last_ns), Some(5));
    }

    #[test]
    fn workers_are_joined_to_the_least_first_and_the_greatest_last() {
        let mut gather = Gather::new(2);
        let spread =
            |sequence, first_ns, last_ns| Spread { stream: 0, sequence, first_ns, last_ns };
        gather.add(&spread(0, 1_000, 1_900));
        assert_eq!(gather.first.count(), 0);
        gather.add(&spread(1, 50, 60));
        gather.add(&spread(0, 1_100, 1_800));
        assert_eq!((gather.first.count(), gather.last.count(), gather.half.len()), (1, 1, 1));
        let (first, last) = (&gather.first, &gather.last);
        assert_eq!((first.percentile_us(100.0), last.percentile_us(100.0)), (1.0, 1.9));
    }
}
