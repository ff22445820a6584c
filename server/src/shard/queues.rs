//! Queues on the shards: the table of those whose home is here, and the walk of a message.
//!
//! ```text
//! SEND ─[send]─> home: enqueue, dispatch ─[home]─> Delivery ─[consume]─> MESSAGE
//!                        ^                                                  │
//!                        └──── Settle <─[settle]── ACK, NACK, bytes sent <──┘
//! ```
//!
//! A queue lives at the home shard of its name ([`stompede_core::broker::queue`]); its consumers
//! sit on any shard and are known there by number. Messages between two shards stay in order, so a
//! consumer is registered before its first delivery and gone after its last settlement.
//!
//! Every consumer settles: one with `ack:auto` when the bytes have left for its client. What did
//! not leave comes back when the connection ends, marked `redelivered:true`. In memory: a restart
//! forgets all. Contract: stomp.md §1.8 to §1.10, §2.4.

mod clock;
mod commit;
pub mod consume;
mod declare;
mod home;
mod send;

pub(super) use commit::Commit;

use super::action::Asker;
use crate::config::Config;
use declare::{Life, Pending};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::queue::arguments::Arguments;
use stompede_core::broker::queue::{ConsumerId, Death, Queue, QueueError, Settings};
use stompede_core::broker::subscriptions::NONE;
use stompede_core::broker::Keyed;
use stompede_core::stomp::error::Error;

/// Bytes that a queue counts besides its messages: many small ones are not free.
const QUEUE_BYTES: usize = 1_024;

/// The numbers of one queue, or the sum over all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) waiting: usize,
    pub(super) unsettled: usize,
    pub(super) consumers: usize,
    pub(super) bytes: usize,
    /// Of the messages that wait; not summed over queues.
    waiting_bytes: usize,
}

impl Counted {
    fn of(queue: &Queue) -> Counted {
        Counted {
            waiting: queue.waiting_count(),
            unsettled: queue.unsettled_count(),
            consumers: queue.consumers_count(),
            bytes: queue.bytes() + QUEUE_BYTES,
            waiting_bytes: queue.waiting_bytes(),
        }
    }

    fn pairs<'a>(&'a mut self, other: &'a Counted) -> [(&'a mut usize, usize); 4] {
        [
            (&mut self.waiting, other.waiting),
            (&mut self.unsettled, other.unsettled),
            (&mut self.consumers, other.consumers),
            (&mut self.bytes, other.bytes),
        ]
    }
}

struct Entry {
    name: Box<str>,
    queue: Queue,
    /// Is it in the list of those to dispatch?
    is_listed: bool,
    /// Its part of the sum.
    counted: Counted,
    /// What its first user asked of it.
    arguments: Option<Box<Arguments>>,
    life: Life,
    /// Had it ever a consumer?
    was_consumed: bool,
    /// When it was last in use, in the reactor's milliseconds.
    used_ms: u64,
    /// Its subscription to a topic: a list of one, or of none.
    binding: u32,
    /// The consumer that it belongs to, if its messages are for nobody else.
    owner: Option<ConsumerId>,
}

/// A message that died and has a destination to go to.
struct Dead {
    publication: Arc<Publication>,
    death: Death,
    deliveries: u32,
    /// The destination; that of the server if the queue has none.
    grave: Option<Box<str>>,
}

/// Room that a transaction has in a queue.
#[derive(Clone, Copy, Debug)]
struct Room {
    queue: u32,
    count: usize,
    bytes: usize,
}

/// The queues whose home is one shard.
pub(super) struct Queues {
    settings: Settings,
    hash_key: u64,
    /// Bytes that the queues of all shards may hold.
    bytes_max: usize,
    /// Bytes of the other shards' queues, as of the last tick.
    pub(super) bytes_elsewhere: usize,
    names: HashMap<Box<str>, u32, Keyed>,
    entries: slab::Slab<Entry>,
    /// Queues that may have something to deliver, each once.
    work: VecDeque<u32>,
    /// Consumers of queues that do not listen to their topic yet.
    pending: Vec<Pending>,
    /// Bytes of the messages that wait in queues which belong to one subscription, by the slot of
    /// its connection.
    private_bytes: HashMap<u32, usize>,
    /// The dead of this turn: buried later, for a grave may be a queue whose dead have a grave.
    dead: VecDeque<Dead>,
    /// Bindings of queues that were freed.
    unbound: Vec<u32>,
    /// Queues that outlive their consumers.
    kept_count: usize,
    /// As many there may be.
    kept_count_max: usize,
    /// How long they live without one, at most.
    idle_ms_max: u64,
    /// The reactor's clock.
    now_ms: u64,
    /// Room kept for transactions that other shards may still refuse; a connection has one at most.
    rooms: HashMap<Asker, Vec<Room>>,
    sum: Counted,
    /// Where the tick looks for expired messages next.
    expiry_cursor: usize,
}

impl Queues {
    pub(super) fn new(config: &Config, hash_key: u64) -> Queues {
        Queues {
            settings: config.queue_settings(),
            hash_key,
            bytes_max: config.queue_memory_bytes_max,
            bytes_elsewhere: 0,
            names: HashMap::with_hasher(Keyed(hash_key)),
            entries: slab::Slab::new(),
            work: VecDeque::new(),
            pending: Vec::new(),
            private_bytes: HashMap::new(),
            dead: VecDeque::new(),
            unbound: Vec::new(),
            kept_count: 0,
            kept_count_max: config.limits.queues_kept_count_max.div_ceil(config.shards_count()),
            idle_ms_max: config.queue_idle_max.as_millis() as u64,
            now_ms: 0,
            rooms: HashMap::new(),
            sum: Counted::default(),
            expiry_cursor: 0,
        }
    }

    /// Is there something to deliver in this turn?
    pub(super) fn has_work(&self) -> bool {
        !self.work.is_empty() || !self.dead.is_empty()
    }

    /// Queues there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Connections for which something waits in private queues.
    pub(super) fn private_len(&self) -> usize {
        self.private_bytes.len()
    }

    /// Transactions that have room here.
    pub(super) fn rooms_len(&self) -> usize {
        self.rooms.len()
    }

    /// What all queues here hold.
    pub(super) fn sum(&self) -> Counted {
        self.sum
    }

    /// The queue of this name, made if there is none. What it is made for is [`Queues::touch`]ed
    /// afterwards, or it stays for ever.
    fn open(&mut self, name: &str) -> u32 {
        if let Some(&index) = self.names.get(name) {
            return index;
        }
        let entry = Entry {
            name: Box::from(name),
            queue: Queue::new(self.settings, self.hash_key),
            is_listed: false,
            counted: Counted::default(),
            arguments: None,
            life: Life::Used,
            was_consumed: false,
            used_ms: self.now_ms,
            binding: NONE,
            owner: None,
        };
        let index = self.entries.insert(entry) as u32;
        let name = self.entries[index as usize].name.clone();
        self.names.insert(name, index);
        index
    }

    /// Corrects the sums after a queue has changed, and frees it if nobody needs it.
    fn touch(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        if entry.is_over() {
            entry.queue.purge();
        }
        let is_kept = matches!(entry.life, Life::Kept { .. });
        let is_unused = !is_kept && entry.queue.is_unused();
        let now = if is_unused { Counted::default() } else { Counted::of(&entry.queue) };
        let before = std::mem::replace(&mut entry.counted, now);
        for (sum, now) in self.sum.pairs(&now) {
            *sum += now;
        }
        for (sum, before) in self.sum.pairs(&before) {
            *sum -= before;
        }
        if let Some(ConsumerId { slot, .. }) = entry.owner {
            let held = self.private_bytes.entry(slot).or_default();
            *held = *held + now.waiting_bytes - before.waiting_bytes;
            if *held == 0 {
                self.private_bytes.remove(&slot);
            }
        }
        if is_unused {
            let entry = self.entries.remove(index as usize);
            self.names.remove(&entry.name);
            if entry.binding != NONE {
                self.unbound.push(entry.binding);
            }
            if self.entries.is_empty() {
                self.entries = slab::Slab::new();
                self.names = HashMap::with_hasher(Keyed(self.hash_key));
            }
        }
    }

    /// Puts a queue that has something to deliver into the list of those to dispatch.
    fn list(&mut self, index: u32) {
        if let Some(entry) = self.entries.get_mut(index as usize) {
            if entry.queue.has_work() && !std::mem::replace(&mut entry.is_listed, true) {
                self.work.push_back(index);
            }
        }
    }

    /// Bytes that wait in the private queues of a connection.
    fn private_bytes(&self, slot: u32) -> usize {
        self.private_bytes.get(&slot).copied().unwrap_or_default()
    }

    /// Is there room for this many bytes more in all queues together?
    fn check_memory(&self, bytes: usize) -> Result<(), Error> {
        let seen = self.sum.bytes + self.bytes_elsewhere + bytes;
        match seen > self.bytes_max {
            true => Err(Error::QueueFull { seen, limit: self.bytes_max, unit: "bytes" }),
            false => Ok(()),
        }
    }

    /// Gives a transaction's room back, if it has any.
    fn release(&mut self, asker: Asker) {
        for Room { queue, count, bytes } in self.rooms.remove(&asker).unwrap_or_default() {
            if let Some(entry) = self.entries.get_mut(queue as usize) {
                entry.queue.release(count, bytes);
            }
            self.touch(queue);
        }
    }
}

/// The answer to a SEND that the queue refuses.
fn queue_error(error: QueueError) -> Error {
    match error {
        QueueError::TooManyMessages { seen, limit } => {
            Error::QueueFull { seen, limit, unit: "messages" }
        }
        QueueError::TooManyBytes { seen, limit } => Error::QueueFull { seen, limit, unit: "bytes" },
        QueueError::UnknownDelivery => Error::UnknownAck,
        QueueError::DuplicateConsumer => Error::DuplicateSubscription,
    }
}
