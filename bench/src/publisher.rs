//! The publishing side of a worker: what is due when, numbered, encoded and sent.
//!
//! Message `m` of the run is due at `start + m / rate` and belongs to publisher `m % publishers`,
//! whatever happens to the messages before it: that is the open loop. A publisher whose socket is
//! full keeps encoded bytes, up to a bound, behind which the clock runs on and lateness shows.

use crate::clock::{nanos, Nanos};
use crate::plan::{Plan, Rate, Workload};
use crate::stamp::{blank_body, Stamp};
use crate::wire::Writer;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Encoded bytes that may wait for one publisher's socket.
const OUT_BYTES_MAX: usize = 1 << 20;
/// Messages published in one go, so that receiving is not starved.
const MESSAGES_PER_CALL: usize = 512;

/// One connection that publishes.
pub struct Publisher {
    /// Its connection, while it is live.
    pub slot: Option<u32>,
    /// Encoded and not yet taken by the socket: messages, and whatever else is said on its
    /// connection.
    pub out: Vec<u8>,
    /// The socket is full.
    pub is_blocked: bool,
    /// Number among all publishers of the run.
    number: u32,
    /// Messages numbered so far, in its one stream.
    sequence: u32,
}

impl Publisher {
    /// Takes a connection. `rest` is what its socket has still to take of what was said before.
    pub fn join(&mut self, slot: u32, rest: Vec<u8>) {
        self.slot = Some(slot);
        self.is_blocked = !rest.is_empty();
        self.out.splice(0..0, rest);
    }

    /// Leaves a connection that is over. What waited may begin in the midst of a frame: it is no
    /// good on another.
    pub fn leave(&mut self) {
        self.slot = None;
        if std::mem::take(&mut self.is_blocked) {
            self.out.clear();
        }
    }

    /// The connection and what is to be sent there now.
    pub fn due(&self) -> Option<(u32, &[u8])> {
        let slot = self.slot.filter(|_| !self.is_blocked && !self.out.is_empty())?;
        Some((slot, &self.out))
    }
}

/// All publishers of a worker.
pub struct Publishers {
    /// By seat.
    pub all: Vec<Publisher>,
    plan: Arc<Plan>,
    writer: Writer,
    body: Vec<u8>,
    frame: Vec<u8>,
    /// Names of the destinations, where there are several.
    names: Vec<String>,
    /// Numbers given out by destination, where each has a stream of its own.
    sequences: Vec<u32>,
    /// Deliveries that a message to each destination must cause.
    readers: Vec<u64>,
    choice: Choice,
    /// The next message is that of `turn` in round `round`.
    round: u64,
    turn: usize,
}

/// What was published in one go.
#[derive(Default)]
pub struct Published {
    /// Messages.
    pub messages: u64,
    /// Deliveries that they must cause.
    pub deliveries: u64,
}

/// When the message of that number is due, from the start.
fn due_after(rate: f64, message: u64) -> Nanos {
    (message as f64 * 1e9 / rate) as Nanos
}

/// Messages that are due within `span` at `rate` a second.
pub fn planned_count(rate: f64, span: Duration) -> u64 {
    // Within a message of this, however floats are rounded.
    let guess = ((rate * span.as_secs_f64()) as u64).saturating_sub(1);
    (guess..guess + 4).find(|&message| due_after(rate, message) >= nanos(span)).unwrap_or(guess)
}

impl Publishers {
    /// The publishers of worker `worker`: every `threads`-th of the run.
    pub fn new(plan: &Arc<Plan>, writer: Writer, worker: usize) -> Publishers {
        let numbers = (worker as u32..plan.publishers).step_by(plan.threads);
        let all = numbers.map(|number| Publisher {
            slot: None,
            out: Vec::new(),
            is_blocked: false,
            number,
            sequence: 0,
        });
        let is_many = matches!(plan.workload, Workload::Many | Workload::Queue);
        let count = if is_many { plan.destinations } else { 0 };
        Publishers {
            all: all.collect(),
            plan: plan.clone(),
            writer,
            body: blank_body(plan.body_bytes),
            frame: Vec::new(),
            names: (0..count).map(|number| plan.destination_name(number)).collect(),
            sequences: vec![0; count as usize],
            readers: plan.readers(),
            choice: Choice::new(plan, worker),
            round: 0,
            turn: 0,
        }
    }

    /// Deliveries that a message causes on average; at least 1.
    pub fn fan_out(&self) -> u64 {
        (self.readers.iter().sum::<u64>() / self.readers.len().max(1) as u64).max(1)
    }

    /// When the next message is due, while there is one; by the clock only.
    pub fn next_due(&self, start: Nanos) -> Option<Nanos> {
        let Rate::PerSecond(rate) = self.plan.rate else { return None };
        let publisher = self.all.get(self.turn)?;
        let message = self.round * u64::from(self.plan.publishers) + u64::from(publisher.number);
        let after = due_after(rate, message);
        (after < nanos(self.plan.warmup + self.plan.duration)).then_some(start + after)
    }

    /// Encodes what is due at `now` (open loop) or `credit` messages (closed loop), and tells
    /// `lateness` of each.
    pub fn publish(
        &mut self,
        start: Nanos,
        now: Nanos,
        credit: u64,
        mut lateness: impl FnMut(Nanos),
    ) -> Published {
        let mut published = Published::default();
        let most = match self.plan.rate {
            Rate::PerSecond(_) => MESSAGES_PER_CALL,
            Rate::Window(_) => (credit as usize).min(MESSAGES_PER_CALL),
        };
        for _ in 0..most {
            let planned = match self.plan.rate {
                Rate::Window(_) => now,
                Rate::PerSecond(_) => match self.next_due(start) {
                    Some(due) if due <= now => due,
                    _ => break,
                },
            };
            let Some(publisher) = self.all.get(self.turn) else { break };
            if publisher.out.len() > OUT_BYTES_MAX {
                break;
            }
            published.deliveries += self.encode(planned);
            published.messages += 1;
            lateness(now.saturating_sub(planned));
            self.turn += 1;
            if self.turn == self.all.len() {
                (self.turn, self.round) = (0, self.round + 1);
            }
        }
        published
    }

    /// Encodes the message whose turn it is; returns the deliveries that it must cause.
    fn encode(&mut self, planned: Nanos) -> u64 {
        let Publishers { all, plan, choice, sequences, names, writer, frame, body, .. } = self;
        let publisher = &mut all[self.turn];
        let next = |counter: &mut u32| std::mem::replace(counter, counter.wrapping_add(1));
        let (destination, sequence, stream) = match plan.workload {
            Workload::Many | Workload::Queue => {
                let round = next(&mut publisher.sequence);
                let destination = choice.next(publisher.number, round / plan.burst.max(1));
                let sequence = next(&mut sequences[destination as usize]);
                (destination, sequence, destination)
            }
            Workload::Echo => (publisher.number, next(&mut publisher.sequence), publisher.number),
            _ => (0, next(&mut publisher.sequence), publisher.number),
        };
        Stamp { planned, sequence, stream }.write(body);
        let name = match names.get(destination as usize) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(plan.destination_name(destination)),
        };
        writer.publish(&mut publisher.out, frame, &name, body);
        self.readers[destination as usize]
    }
}

/// Chooses destinations: each belongs to one publisher, popularity falls with the number.
struct Choice {
    destinations: u32,
    publishers: u32,
    /// Cumulated popularity of the k-th destination of any publisher; empty: round robin.
    cumulated: Vec<f64>,
    random: u64,
}

impl Choice {
    fn new(plan: &Plan, worker: usize) -> Choice {
        let each = plan.destinations.div_ceil(plan.publishers.max(1));
        let mut sum = 0.0;
        let popularity = (1..=each).map(|rank| {
            sum += f64::from(rank).powf(-plan.zipf);
            sum
        });
        let is_many = matches!(plan.workload, Workload::Many | Workload::Queue) && plan.zipf > 0.0;
        Choice {
            destinations: plan.destinations,
            publishers: plan.publishers.max(1),
            cumulated: if is_many { popularity.collect() } else { Vec::new() },
            random: plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((worker as u64 + 1) << 32),
        }
    }

    /// The destination of message `round` of publisher `number`.
    fn next(&mut self, number: u32, round: u32) -> u32 {
        let owned = (self.destinations.saturating_sub(number)).div_ceil(self.publishers).max(1);
        let rank = match self.cumulated.get(owned as usize - 1).copied() {
            Some(sum) => {
                let point = self.draw() * sum;
                self.cumulated.partition_point(|&edge| edge < point) as u32
            }
            None => round % owned,
        };
        (number + rank.min(owned - 1) * self.publishers).min(self.destinations - 1)
    }

    /// A number in 0..1 (splitmix64).
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ x >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_planned_as_are_due() {
        for (rate, ms, count) in [(300.0, 500, 150), (0.5, 1_000, 1), (7.0, 1_000, 7), (3.0, 0, 0)]
        {
            assert_eq!(planned_count(rate, Duration::from_millis(ms)), count, "{rate} for {ms} ms");
        }
    }
}
