//! A queue: each message goes to one of its consumers, in order, within their credit.
//!
//! Lives at the home shard of its name; consumers sit on any shard and are known by number. What
//! happens comes out as data, in a list that the caller reuses: deliveries and dead messages.
//! A message is *waiting* or *unsettled* (delivered, not acknowledged); both count against the
//! bounds. An unsettled one that comes back goes to its old place, marked `redelivered`.
//! Every delivery is settled, and in memory: a restart loses all.
//!
//! Contract: stomp.md §1.8, §1.9 and §2.4; ecosystem.md §7. An ACK after UNSUBSCRIBE is legal, so a
//! consumer that leaves may keep what reached its client ([`Unsettled::KeepThrough`]) until the
//! connection ends.
//! `backlog` holds what waits, `consumers` whose turn it is, [`arguments`] and [`expiry`] read the
//! headers.

pub mod arguments;
mod backlog;
mod consumers;
pub mod expiry;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use super::ledger::Mode;
use super::publication::Publication;
use super::selector::Selector;
use crate::limits::Limits;
use backlog::{Backlog, Message, Search, NEVER};
use consumers::{Consumers, InFlight, Record};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// A selector's steps that count as much as one delivery against the budget of a dispatch.
const STEPS_PER_UNIT: usize = 256;

/// What happens when a message comes to a full queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The sender gets an ERROR.
    #[default]
    Reject,
    /// The oldest waiting messages die; with none that waits, as `Reject`.
    DropHead,
}

/// The terms of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Messages held, waiting, unsettled or reserved.
    pub messages_count_max: usize,
    /// Bytes of the messages held.
    pub bytes_max: usize,
    /// Deliveries of one message, after which it dies instead of coming back.
    pub deliveries_count_max: u32,
    /// What happens when it is full.
    pub overflow: Overflow,
}

impl Settings {
    /// The defaults: the limits, and [`Overflow::Reject`].
    pub fn new(limits: &Limits) -> Settings {
        Settings {
            messages_count_max: limits.queue_messages_count_max,
            bytes_max: limits.queue_bytes_max,
            deliveries_count_max: limits.queue_deliveries_count_max,
            overflow: Overflow::Reject,
        }
    }
}

/// A consumer anywhere in the process. Never reused while the process lives: `subscription` is a
/// number that a connection gives out once, not its subscription id, which may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId {
    /// The shard of its connection.
    pub shard: u32,
    /// The connection's slot there.
    pub slot: u32,
    /// The slot's generation.
    pub generation: u32,
    /// Number of the subscription within the connection.
    pub subscription: u32,
}

/// The terms of a consumer.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// How it settles.
    pub mode: Mode,
    /// Deliveries in flight at once; `None` is unbounded. Credit comes back when a delivery is
    /// settled; what is `ack:auto` for the client is settled when its bytes have left.
    pub credit_count: Option<u32>,
    /// Bytes in flight at which deliveries stop; the last one may pass it.
    pub credit_bytes: Option<usize>,
    /// Whether nobody else is served while it is there; the first such consumer wins.
    pub is_exclusive: bool,
    /// Which messages it wants; `None` is all.
    pub selector: Option<Selector>,
}

/// What the client says of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// ACK.
    Ack,
    /// NACK: back to its place, for anyone.
    Requeue,
    /// NACK with `requeue:false`: dead.
    Reject,
}

/// What becomes of the unsettled deliveries of a consumer that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// They come back at once (the connection has ended).
    Return,
    /// Those up to this tag may still be settled (UNSUBSCRIBE); what is behind it never reached the
    /// client and comes back at once. A later `Return` brings back the rest.
    KeepThrough(u64),
}

/// Why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its time was over.
    Expired,
    /// A consumer rejected it.
    Rejected,
    /// It was the oldest of a full queue.
    Overflow,
    /// It came back too often.
    Deliveries,
}

/// What the queue wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send it to the consumer.
    Deliver(Delivery),
    /// Send it to the dead-letter destination, if there is one, and count it.
    Dead {
        /// The message.
        publication: Arc<Publication>,
        /// Why.
        death: Death,
        /// How often it was delivered.
        deliveries: u32,
    },
}

/// One delivery to one consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// To whom.
    pub consumer: ConsumerId,
    /// Names the delivery in [`Queue::settle`]; unique in the queue and increasing.
    pub tag: u64,
    /// The message.
    pub publication: Arc<Publication>,
    /// How often it was delivered, this time included. Above 1 is `redelivered:true`.
    pub deliveries: u32,
}

/// Why the queue refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// More messages than it may hold: the client's to wait or the operator's to allow.
    TooManyMessages { seen: usize, limit: usize },
    /// More bytes than it may hold.
    TooManyBytes { seen: usize, limit: usize },
    /// Never delivered to this consumer, or settled already: the client's fault.
    UnknownDelivery,
    /// There is a consumer of this id: ours.
    DuplicateConsumer,
}

impl QueueError {
    /// The short text for the ERROR frame's `message` header.
    pub fn message(self) -> &'static str {
        match self {
            QueueError::TooManyMessages { .. } | QueueError::TooManyBytes { .. } => "queue full",
            QueueError::UnknownDelivery => "unknown delivery",
            QueueError::DuplicateConsumer => "internal error",
        }
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message();
        match self {
            QueueError::TooManyMessages { seen, limit } => {
                write!(out, "{message}: seen {seen} messages, limit is {limit}: send later")
            }
            QueueError::TooManyBytes { seen, limit } => {
                write!(out, "{message}: seen {seen} bytes, limit is {limit}: send later")
            }
            QueueError::UnknownDelivery => write!(out, "{message}: not delivered, or settled"),
            QueueError::DuplicateConsumer => write!(out, "{message}: a consumer came twice"),
        }
    }
}

impl std::error::Error for QueueError {}

/// Messages and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    count: usize,
    bytes: usize,
}

/// A queue. An empty one without consumers holds no memory but itself.
#[derive(Debug)]
pub struct Queue {
    settings: Settings,
    backlog: Backlog,
    consumers: Consumers,
    /// Waiting, unsettled and reserved.
    held: Amount,
    reserved: Amount,
    next_sequence: u64,
    next_tag: u64,
}

impl Queue {
    /// An empty queue. `hash_key` is random per start.
    pub fn new(settings: Settings, hash_key: u64) -> Queue {
        Queue {
            settings,
            backlog: Backlog::default(),
            consumers: Consumers::new(hash_key),
            held: Amount::default(),
            reserved: Amount::default(),
            next_sequence: 0,
            next_tag: 1,
        }
    }

    /// Adds a consumer; it is served from the next dispatch on.
    ///
    /// # Errors
    /// [`QueueError::DuplicateConsumer`].
    pub fn add_consumer(&mut self, id: ConsumerId, terms: Consumer) -> Result<(), QueueError> {
        if self.consumers.find(id).is_some() {
            return Err(QueueError::DuplicateConsumer);
        }
        self.consumers.insert(id, terms);
        Ok(())
    }

    /// Ends deliveries to a consumer. Whether it was there.
    pub fn remove_consumer(
        &mut self,
        id: ConsumerId,
        unsettled: Unsettled,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(slot) = self.consumers.find(id) else { return false };
        self.consumers.detach(slot);
        let mut left = VecDeque::new();
        if let Some(record) = self.consumers.get_mut(slot) {
            let kept = match unsettled {
                Unsettled::Return => 0,
                Unsettled::KeepThrough(tag) => {
                    record.unsettled.partition_point(|delivery| delivery.tag <= tag)
                }
            };
            left = record.unsettled.split_off(kept);
            if record.unsettled.is_empty() {
                self.consumers.remove(id);
            }
        }
        for delivery in left {
            self.resolve(delivery.message, Settlement::Requeue, out);
        }
        true
    }

    /// Takes a message in at the end; `expires_ms` is Unix time (see [`expiry::expires_at_ms`]).
    ///
    /// # Errors
    /// [`QueueError::TooManyMessages`], [`QueueError::TooManyBytes`]: nothing has changed.
    pub fn publish(
        &mut self,
        publication: Arc<Publication>,
        expires_ms: Option<u64>,
        out: &mut Vec<Output>,
    ) -> Result<(), QueueError> {
        self.hold(Amount { count: 1, bytes: publication.bytes() }, out)?;
        self.backlog.push(self.next_sequence, expires_ms.unwrap_or(NEVER), publication);
        self.next_sequence += 1;
        self.consumers.unpark();
        Ok(())
    }

    /// Keeps room for messages of a transaction that other shards may still refuse. With
    /// [`Overflow::DropHead`] the room is made now.
    ///
    /// # Errors
    /// As [`Queue::publish`].
    pub fn reserve(
        &mut self,
        count: usize,
        bytes: usize,
        out: &mut Vec<Output>,
    ) -> Result<(), QueueError> {
        self.hold(Amount { count, bytes }, out)?;
        self.reserved.count += count;
        self.reserved.bytes += bytes;
        Ok(())
    }

    /// Gives reserved room back: before publishing what it was for, or instead. At most what is
    /// reserved.
    pub fn release(&mut self, count: usize, bytes: usize) {
        let (count, bytes) = (count.min(self.reserved.count), bytes.min(self.reserved.bytes));
        for amount in [&mut self.reserved, &mut self.held] {
            amount.count -= count;
            amount.bytes -= bytes;
        }
    }

    /// Takes expired messages out, each for one unit of `budget`. Whether some are left.
    pub fn expire(&mut self, now_ms: u64, budget: &mut usize, out: &mut Vec<Output>) -> bool {
        while let Some(sequence) = self.backlog.first_expired(now_ms) {
            if *budget == 0 {
                return true;
            }
            *budget -= 1;
            self.kill_waiting(sequence, Death::Expired, out);
        }
        false
    }

    /// Delivers what waits, in order, to consumers with credit in turn. Expired messages go first.
    ///
    /// A delivery costs one unit of `budget`, looking at a message with a selector one or more.
    /// Returns whether the budget ended with work left: call again in the next turn.
    pub fn dispatch(&mut self, now_ms: u64, budget: &mut usize, out: &mut Vec<Output>) -> bool {
        if self.expire(now_ms, budget, out) {
            return true;
        }
        while let (Some(first), Some(slot)) = (self.backlog.first(), self.consumers.next()) {
            if *budget == 0 {
                return true;
            }
            match self.find_for(slot, first, budget) {
                Search::Found(sequence) => {
                    *budget = budget.saturating_sub(1);
                    self.deliver(sequence, slot, out);
                }
                Search::Nothing => self.consumers.park(slot),
                Search::Paused => return true,
            }
        }
        false
    }

    /// Is there something for somebody? An expiry or a selector may still say no.
    pub fn has_work(&self) -> bool {
        self.backlog.first().is_some() && self.consumers.next().is_some()
    }

    /// Settles a delivery, in mode cumulative with the consumer's earlier ones; also of a consumer
    /// that left. Returns how many deliveries that settled.
    ///
    /// # Errors
    /// [`QueueError::UnknownDelivery`].
    pub fn settle(
        &mut self,
        id: ConsumerId,
        tag: u64,
        settlement: Settlement,
        out: &mut Vec<Output>,
    ) -> Result<usize, QueueError> {
        let unknown = QueueError::UnknownDelivery;
        let (slot, last) = self.find_delivery(id, tag).ok_or(unknown)?;
        let record = self.consumers.get(slot).ok_or(unknown)?;
        let first = if record.terms.mode == Mode::Cumulative { 0 } else { last };
        for _ in first..=last {
            let record = self.consumers.get_mut(slot).ok_or(unknown)?;
            // The first of all, or a single one among at most as many as the credit.
            let delivery = record.unsettled.remove(first).ok_or(unknown)?;
            record.land(1, delivery.message.publication.bytes());
            self.resolve(delivery.message, settlement, out);
        }
        self.consumers.refresh(slot);
        let is_done = |record: &Record| record.is_detached && record.unsettled.is_empty();
        if self.consumers.get(slot).is_some_and(is_done) {
            self.consumers.remove(id);
        }
        Ok(last - first + 1)
    }

    /// Is this delivery unsettled? (A transaction asks before it is applied.)
    pub fn is_unsettled(&self, id: ConsumerId, tag: u64) -> bool {
        self.find_delivery(id, tag).is_some()
    }

    /// Messages that wait.
    pub fn waiting_count(&self) -> usize {
        self.backlog.len()
    }

    /// Bytes of the messages that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.backlog.bytes()
    }

    /// Messages that were delivered and are not settled.
    pub fn unsettled_count(&self) -> usize {
        self.held.count - self.reserved.count - self.backlog.len()
    }

    /// Bytes of the messages held, waiting, unsettled or reserved.
    pub fn bytes(&self) -> usize {
        self.held.bytes
    }

    /// Consumers, with those that left and may still settle.
    pub fn consumers_count(&self) -> usize {
        self.consumers.len()
    }

    /// Consumers that deliveries go to.
    pub fn attached_count(&self) -> usize {
        self.consumers.attached_count()
    }

    /// Drops what waits; nobody is told. What is reserved or not settled stays.
    pub fn purge(&mut self) {
        while let Some(message) = self.backlog.first().and_then(|first| self.backlog.take(first)) {
            self.let_go(&message.publication);
        }
    }

    /// Does a transaction have room here?
    pub fn is_reserved(&self) -> bool {
        self.reserved != Amount::default()
    }

    /// Nothing is held and nobody consumes: the queue can be freed.
    pub fn is_unused(&self) -> bool {
        self.held == Amount::default() && self.consumers.len() == 0
    }

    /// Counts `more` as held, if it fits.
    fn hold(&mut self, more: Amount, out: &mut Vec<Output>) -> Result<(), QueueError> {
        let Settings { messages_count_max, bytes_max, overflow, .. } = self.settings;
        let droppable = match overflow {
            Overflow::Reject => Amount::default(),
            Overflow::DropHead => Amount { count: self.backlog.len(), bytes: self.backlog.bytes() },
        };
        let count = (self.held.count - droppable.count).saturating_add(more.count);
        if count > messages_count_max {
            return Err(QueueError::TooManyMessages { seen: count, limit: messages_count_max });
        }
        let bytes = (self.held.bytes - droppable.bytes).saturating_add(more.bytes);
        if bytes > bytes_max {
            return Err(QueueError::TooManyBytes { seen: bytes, limit: bytes_max });
        }
        while self.held.count + more.count > messages_count_max
            || self.held.bytes + more.bytes > bytes_max
        {
            let Some(first) = self.backlog.first() else { break };
            self.kill_waiting(first, Death::Overflow, out);
        }
        self.held.count += more.count;
        self.held.bytes += more.bytes;
        Ok(())
    }

    fn let_go(&mut self, publication: &Publication) {
        self.held.count -= 1;
        self.held.bytes -= publication.bytes();
    }

    fn kill_waiting(&mut self, sequence: u64, death: Death, out: &mut Vec<Output>) {
        if let Some(message) = self.backlog.take(sequence) {
            self.kill(message, death, out);
        }
    }

    fn kill(&mut self, message: Message, death: Death, out: &mut Vec<Output>) {
        self.let_go(&message.publication);
        let Message { publication, deliveries, .. } = message;
        out.push(Output::Dead { publication, death, deliveries });
    }

    /// What is to happen with a message that was delivered and taken from its consumer.
    fn resolve(&mut self, message: Message, settlement: Settlement, out: &mut Vec<Output>) {
        match settlement {
            Settlement::Ack => self.let_go(&message.publication),
            Settlement::Reject => self.kill(message, Death::Rejected, out),
            Settlement::Requeue if message.deliveries >= self.settings.deliveries_count_max => {
                self.kill(message, Death::Deliveries, out);
            }
            Settlement::Requeue => {
                self.consumers.rewind(message.sequence);
                self.backlog.put_back(message);
            }
        }
    }

    /// The message that is next for a consumer: `first`, or the first that its selector wants.
    fn find_for(&mut self, slot: u32, first: u64, budget: &mut usize) -> Search {
        let Some(record) = self.consumers.get_mut(slot) else { return Search::Nothing };
        let Some(selector) = &record.terms.selector else { return Search::Found(first) };
        self.backlog.search(&mut record.cursor, |publication| {
            if *budget == 0 {
                return None;
            }
            let evaluation = selector.evaluate(|name| publication.header(name));
            *budget = budget.saturating_sub(1 + evaluation.steps as usize / STEPS_PER_UNIT);
            Some(evaluation.is_match)
        })
    }

    fn deliver(&mut self, sequence: u64, slot: u32, out: &mut Vec<Output>) {
        let Some(mut message) = self.backlog.take(sequence) else { return };
        let Some(record) = self.consumers.get_mut(slot) else { return };
        message.deliveries = message.deliveries.saturating_add(1);
        let (tag, bytes) = (self.next_tag, message.publication.bytes());
        self.next_tag += 1;
        record.in_flight_count = record.in_flight_count.saturating_add(1);
        record.in_flight_bytes = record.in_flight_bytes.saturating_add(bytes);
        out.push(Output::Deliver(Delivery {
            consumer: record.id,
            tag,
            publication: Arc::clone(&message.publication),
            deliveries: message.deliveries,
        }));
        record.unsettled.push_back(InFlight { tag, message });
        self.consumers.had_its_turn(slot);
    }

    fn find_delivery(&self, id: ConsumerId, tag: u64) -> Option<(u32, usize)> {
        let slot = self.consumers.find(id)?;
        let unsettled = &self.consumers.get(slot)?.unsettled;
        let at = match unsettled.front()?.tag == tag {
            true => 0,
            false => unsettled.binary_search_by_key(&tag, |delivery| delivery.tag).ok()?,
        };
        Some((slot, at))
    }
}
