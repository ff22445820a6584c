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

mod commit;
pub mod consume;
mod home;
mod send;

pub(super) use commit::Commit;

use super::action::Asker;
use std::collections::{HashMap, VecDeque};
use stompede_core::broker::queue::{Output, Queue, QueueError, Settings};
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
}

impl Counted {
    fn of(queue: &Queue) -> Counted {
        Counted {
            waiting: queue.waiting_count(),
            unsettled: queue.unsettled_count(),
            consumers: queue.consumers_count(),
            bytes: queue.bytes() + QUEUE_BYTES,
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
    names: HashMap<Box<str>, u32>,
    entries: slab::Slab<Entry>,
    /// Queues that may have something to deliver, each once.
    work: VecDeque<u32>,
    /// Room kept for transactions that other shards may still refuse; a connection has one at most.
    rooms: HashMap<Asker, Vec<Room>>,
    sum: Counted,
    /// Where the tick looks for expired messages next.
    expiry_cursor: usize,
}

impl Queues {
    pub(super) fn new(settings: Settings, hash_key: u64, bytes_max: usize) -> Queues {
        Queues {
            settings,
            hash_key,
            bytes_max,
            bytes_elsewhere: 0,
            names: HashMap::new(),
            entries: slab::Slab::new(),
            work: VecDeque::new(),
            rooms: HashMap::new(),
            sum: Counted::default(),
            expiry_cursor: 0,
        }
    }

    /// Is there something to deliver in this turn?
    pub(super) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Queues there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
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
        let queue = Queue::new(self.settings, self.hash_key);
        let (name, counted) = (Box::from(name), Counted::default());
        let entry = Entry { name, queue, is_listed: false, counted };
        let index = self.entries.insert(entry) as u32;
        let name = self.entries[index as usize].name.clone();
        self.names.insert(name, index);
        index
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Queue> {
        self.entries.get_mut(index as usize).map(|entry| &mut entry.queue)
    }

    /// Corrects the sums after a queue has changed, and frees it if nobody needs it.
    fn touch(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let is_unused = entry.queue.is_unused();
        let now = if is_unused { Counted::default() } else { Counted::of(&entry.queue) };
        let before = std::mem::replace(&mut entry.counted, now);
        for (sum, now) in self.sum.pairs(&now) {
            *sum += now;
        }
        for (sum, before) in self.sum.pairs(&before) {
            *sum -= before;
        }
        if is_unused {
            let entry = self.entries.remove(index as usize);
            self.names.remove(&entry.name);
            if self.entries.is_empty() {
                self.entries = slab::Slab::new();
                self.names = HashMap::new();
            }
        }
    }

    /// Puts a queue into the list of those to dispatch.
    fn list(&mut self, index: u32) {
        if let Some(entry) = self.entries.get_mut(index as usize) {
            if !std::mem::replace(&mut entry.is_listed, true) {
                self.work.push_back(index);
            }
        }
    }

    /// Is there room for this many bytes more in all queues together?
    fn check_memory(&self, bytes: usize) -> Result<(), Error> {
        let seen = self.sum.bytes + self.bytes_elsewhere + bytes;
        match seen > self.bytes_max {
            true => Err(Error::QueueFull { seen, limit: self.bytes_max, unit: "bytes" }),
            false => Ok(()),
        }
    }

    /// Keeps room for a transaction in each of these queues, or in none.
    fn reserve(
        &mut self,
        asker: Asker,
        wanted: &[(Box<str>, usize, usize)],
        out: &mut Vec<Output>,
    ) -> Result<(), Error> {
        let bytes = wanted.iter().map(|(_, _, bytes)| bytes).sum();
        self.check_memory(bytes)?;
        let mut rooms = Vec::with_capacity(wanted.len());
        let mut outcome = Ok(());
        for (name, count, bytes) in wanted {
            let queue = self.open(name);
            let room = Room { queue, count: *count, bytes: *bytes };
            let reserved = self.entries[queue as usize].queue.reserve(*count, *bytes, out);
            self.touch(queue);
            match reserved {
                Ok(()) => rooms.push(room),
                Err(error) => {
                    outcome = Err(queue_error(error));
                    break;
                }
            }
        }
        self.rooms.insert(asker, rooms);
        if outcome.is_err() {
            self.release(asker);
        }
        outcome
    }

    /// Gives a transaction's room back, if it has any.
    fn release(&mut self, asker: Asker) {
        for Room { queue, count, bytes } in self.rooms.remove(&asker).unwrap_or_default() {
            if let Some(there) = self.get_mut(queue) {
                there.release(count, bytes);
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
