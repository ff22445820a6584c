//! What the threads of a run share: the stage they are in, and what each has counted so far.
//!
//! A worker keeps its counts on its own desk, locked once per batch of receives; the coordinator
//! reads the desks a few times a second. Nothing is shared per delivery but the record of a queue.

use crate::broadcast::Spread;
use crate::clock::{Clock, Nanos};
use crate::latency::Latencies;
use crate::queue::Seen;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use stompede::mesh::Doorbell;

/// What the workers shall do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Connect, log in, subscribe; then stay.
    Ramp = 0,
    /// The same, and replace a share of the connections.
    Hold = 1,
    /// Publish from [`Control::start`] on.
    Publish = 2,
    /// Publish no more, receive what is on its way.
    Settle = 3,
    /// End and begin every subscriber again: what was acknowledged must not come back.
    Verify = 4,
    /// Close everything and end.
    Stop = 5,
}

/// Counters of a worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Subscribers that are subscribed now.
    pub live_subscribers: u64,
    /// Publishers that are logged in now.
    pub live_publishers: u64,
    /// Connections that became live, repeats included.
    pub connected: u64,
    /// Connections that never became live.
    pub failed: u64,
    /// Connections begun again because our own side had no port, slot or memory for them.
    pub retried: u64,
    /// Live connections that the server ended.
    pub dropped: u64,
    /// Live connections that we ended to replace them.
    pub churned: u64,
    /// Messages published.
    pub published: u64,
    /// Deliveries that they must cause.
    pub expected: u64,
    /// Deliveries that came, each counted once.
    pub delivered: u64,
    /// Deliveries that came again.
    pub duplicates: u64,
    /// Deliveries that came after a later one.
    pub reordered: u64,
    /// Deliveries that are not what was sent.
    pub corrupt: u64,
    /// Deliveries of queues that are settled: acknowledged, or sent with `ack:auto`.
    pub acknowledged: u64,
    /// Deliveries that said `redelivered:true`.
    pub redelivered: u64,
    /// Messages that came back although they were acknowledged.
    pub unsettled: u64,
    /// Receives that brought bytes.
    pub reads: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Polls of SockJS that were answered with deliveries, and were followed by another.
    pub polls: u64,
    /// Heart-beats received.
    pub beats_received: u64,
    /// Heart-beats sent.
    pub beats_sent: u64,
    /// Heart-beats that did not come in twice their time.
    pub beats_missed: u64,
}

impl Tally {
    /// Adds the counts of another worker.
    pub fn add(&mut self, other: &Tally) {
        self.live_subscribers += other.live_subscribers;
        self.live_publishers += other.live_publishers;
        self.connected += other.connected;
        self.failed += other.failed;
        self.retried += other.retried;
        self.dropped += other.dropped;
        self.churned += other.churned;
        self.published += other.published;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
        self.acknowledged += other.acknowledged;
        self.redelivered += other.redelivered;
        self.unsettled += other.unsettled;
        self.reads += other.reads;
        self.bytes += other.bytes;
        self.polls += other.polls;
        self.beats_received += other.beats_received;
        self.beats_sent += other.beats_sent;
        self.beats_missed += other.beats_missed;
    }
}

/// What a worker shows.
#[derive(Default)]
pub struct Desk {
    /// Its counters.
    pub tally: Tally,
    /// Latencies of deliveries since the coordinator last took them.
    pub latencies: Latencies,
    /// Times from the start of a connection until it was live, since then.
    pub connects: Latencies,
    /// How late messages were published, since then: the generator's own fault.
    pub lateness: Latencies,
    /// Broadcasts that reached all subscribers of the worker, since then.
    pub spreads: Vec<Spread>,
    /// Bytes on the wire of the last delivery.
    pub frame_bytes: usize,
    /// What went wrong, and how often.
    pub troubles: BTreeMap<String, u64>,
}

/// Different troubles that are told apart.
const TROUBLES_MAX: usize = 32;

impl Desk {
    /// Counts something that went wrong.
    pub fn trouble(&mut self, what: &str) {
        if let Some(count) = self.troubles.get_mut(what) {
            *count += 1;
        } else if self.troubles.len() < TROUBLES_MAX {
            self.troubles.insert(what.to_owned(), 1);
        }
    }
}

/// What all threads of a run see.
pub struct Control {
    /// The clock of the run.
    pub clock: Clock,
    stage: AtomicU8,
    start_ns: AtomicU64,
    storms: AtomicU32,
    desks: Vec<Mutex<Desk>>,
    /// By worker: messages that its slowest subscriber has received.
    slowest: Vec<AtomicU64>,
    /// By queue.
    seen: Vec<Mutex<Seen>>,
    doorbells: Vec<Arc<Doorbell>>,
}

impl Control {
    /// For `threads` workers and `queues` queues.
    ///
    /// # Errors
    /// No descriptors left for their doorbells.
    pub fn new(threads: usize, queues: usize) -> io::Result<Control> {
        Ok(Control {
            clock: Clock::start(),
            stage: AtomicU8::new(Stage::Ramp as u8),
            start_ns: AtomicU64::new(0),
            storms: AtomicU32::new(0),
            desks: (0..threads).map(|_| Mutex::default()).collect(),
            slowest: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            seen: (0..queues).map(|_| Mutex::default()).collect(),
            doorbells: (0..threads).map(|_| Doorbell::new()).collect::<io::Result<_>>()?,
        })
    }

    /// The stage.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Ramp,
            1 => Stage::Hold,
            2 => Stage::Publish,
            3 => Stage::Settle,
            4 => Stage::Verify,
            _ => Stage::Stop,
        }
    }

    /// Moves all workers to `stage`.
    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
        self.ring();
    }

    /// Begins publishing: the first message is due at `start`.
    pub fn publish_from(&self, start: Nanos) {
        self.start_ns.store(start, Ordering::Relaxed);
        self.enter(Stage::Publish);
    }

    /// When the first message is due.
    pub fn start(&self) -> Nanos {
        self.start_ns.load(Ordering::Relaxed)
    }

    /// Makes every worker drop its share of connections.
    pub fn storm(&self) {
        self.storms.fetch_add(1, Ordering::Release);
        self.ring();
    }

    /// Number of storms so far.
    pub fn storms(&self) -> u32 {
        self.storms.load(Ordering::Acquire)
    }

    /// The desk of a worker.
    pub fn desk(&self, worker: usize) -> MutexGuard<'_, Desk> {
        // Counters stay readable when a worker panicked; the coordinator sees that otherwise.
        self.desks[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of how many messages the slowest subscriber of a worker has received.
    pub fn note_slowest(&self, worker: usize, messages: u64) {
        self.slowest[worker].store(messages, Ordering::Relaxed);
    }

    /// Messages that the slowest subscriber of all has received.
    pub fn slowest(&self) -> u64 {
        self.slowest.iter().map(|messages| messages.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    /// Takes note of a message of a queue; true if it came for the first time.
    pub fn is_first(&self, queue: u32, sequence: u32) -> bool {
        let seen = self.seen[queue as usize].lock();
        seen.unwrap_or_else(PoisonError::into_inner).take(sequence)
    }

    /// The doorbell of a worker.
    pub fn doorbell(&self, worker: usize) -> &Arc<Doorbell> {
        &self.doorbells[worker]
    }

    /// The sum of all counters.
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for worker in 0..self.desks.len() {
            sum.add(&self.desk(worker).tally);
        }
        sum
    }

    fn ring(&self) {
        for doorbell in &self.doorbells {
            doorbell.ring();
        }
    }
}
