//! The consumers of a queue, and whose turn it is.
//!
//! Two linked lists through the slots, so that every step is O(1): *ready* consumers have credit
//! and are served from the front to the back; *parked* ones have credit and a selector that nothing
//! waiting matched, and are ready again when a message comes. Consumers without credit are in
//! neither list. While an exclusive consumer is there, the first of them is the only one served.

use super::super::Keyed;
use super::backlog::{Cursor, Message};
use super::{Consumer, ConsumerId};
use std::collections::{HashMap, VecDeque};

const NONE: u32 = u32::MAX;

/// Unsettled deliveries for which an idle consumer may keep room.
const DELIVERIES_KEPT: usize = 64;

/// A delivery that waits to be settled.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) tag: u64,
    pub(super) message: Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    Ready,
    Parked,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: ConsumerId,
    pub(super) terms: Consumer,
    pub(super) cursor: Cursor,
    /// Deliveries that hold credit.
    pub(super) in_flight_count: u32,
    pub(super) in_flight_bytes: usize,
    /// By tag, which is the order of delivery.
    pub(super) unsettled: VecDeque<InFlight>,
    /// Gone, but what it has may still be settled.
    pub(super) is_detached: bool,
    place: Place,
    before: u32,
    after: u32,
}

impl Record {
    fn has_credit(&self) -> bool {
        self.in_flight_count < self.terms.credit_count.unwrap_or(u32::MAX)
            && self.in_flight_bytes < self.terms.credit_bytes.unwrap_or(usize::MAX)
    }

    /// Gives credit back.
    pub(super) fn land(&mut self, count: u32, bytes: usize) {
        self.in_flight_count = self.in_flight_count.saturating_sub(count);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
        if self.unsettled.is_empty() && self.unsettled.capacity() > DELIVERIES_KEPT {
            self.unsettled = VecDeque::new();
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct List {
    front: u32,
    back: u32,
}

const EMPTY: List = List { front: NONE, back: NONE };

#[derive(Debug)]
pub(super) struct Consumers {
    slots: Vec<Option<Box<Record>>>,
    holes: Vec<u32>,
    index: HashMap<ConsumerId, u32, Keyed>,
    ready: List,
    parked: List,
    /// In order of arrival.
    exclusive: VecDeque<u32>,
    /// Number of consumers with a selector.
    selective: usize,
    /// Number of those that are not detached.
    attached_count: usize,
}

impl Consumers {
    pub(super) fn new(hash_key: u64) -> Consumers {
        Consumers {
            slots: Vec::new(),
            holes: Vec::new(),
            index: HashMap::with_hasher(Keyed(hash_key)),
            ready: EMPTY,
            parked: EMPTY,
            exclusive: VecDeque::new(),
            selective: 0,
            attached_count: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Consumers that have not left.
    pub(super) fn attached_count(&self) -> usize {
        self.attached_count
    }

    pub(super) fn find(&self, id: ConsumerId) -> Option<u32> {
        self.index.get(&id).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Record> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Record> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Adds a consumer at the back; `id` is not there yet.
    pub(super) fn insert(&mut self, id: ConsumerId, terms: Consumer) {
        self.selective += usize::from(terms.selector.is_some());
        let slot = self.holes.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        if terms.is_exclusive {
            self.exclusive.push_back(slot);
        }
        self.slots[slot as usize] = Some(Box::new(Record {
            id,
            terms,
            cursor: Cursor::default(),
            in_flight_count: 0,
            in_flight_bytes: 0,
            unsettled: VecDeque::new(),
            is_detached: false,
            place: Place::Nowhere,
            before: NONE,
            after: NONE,
        }));
        self.index.insert(id, slot);
        self.attached_count += 1;
        self.refresh(slot);
    }

    /// Ends deliveries to a consumer; what it has may still be settled.
    pub(super) fn detach(&mut self, slot: u32) {
        self.move_to(slot, Place::Nowhere);
        let Some(record) = self.get_mut(slot) else { return };
        if std::mem::replace(&mut record.is_detached, true) {
            return;
        }
        if record.terms.is_exclusive {
            self.exclusive.retain(|other| *other != slot);
        }
        self.attached_count -= 1;
    }

    /// Frees a detached consumer.
    pub(super) fn remove(&mut self, id: ConsumerId) {
        let Some(slot) = self.index.remove(&id) else { return };
        if let Some(record) = self.slots[slot as usize].take() {
            self.selective -= usize::from(record.terms.selector.is_some());
        }
        self.holes.push(slot);
        if self.index.is_empty() {
            // Nobody is left: the room goes too. The key of the hash stays.
            self.slots = Vec::new();
            self.holes = Vec::new();
            self.exclusive = VecDeque::new();
            self.index.shrink_to_fit();
        }
    }

    /// Whose turn it is.
    pub(super) fn next(&self) -> Option<u32> {
        match self.exclusive.front() {
            Some(&slot) => (self.get(slot)?.place == Place::Ready).then_some(slot),
            None => (self.ready.front != NONE).then_some(self.ready.front),
        }
    }

    /// After a delivery: to the back of the ready ones, or out of credit.
    pub(super) fn had_its_turn(&mut self, slot: u32) {
        let has_credit = self.get(slot).is_some_and(Record::has_credit);
        self.move_to(slot, if has_credit { Place::Ready } else { Place::Nowhere });
    }

    /// Makes a consumer ready that has credit (again).
    pub(super) fn refresh(&mut self, slot: u32) {
        let Some(record) = self.get(slot) else { return };
        if record.place == Place::Nowhere && !record.is_detached && record.has_credit() {
            self.move_to(slot, Place::Ready);
        }
    }

    /// Nothing that waits matches its selector.
    pub(super) fn park(&mut self, slot: u32) {
        self.move_to(slot, Place::Parked);
    }

    /// A message came: all parked ones look again.
    pub(super) fn unpark(&mut self) {
        while self.parked.front != NONE {
            self.move_to(self.parked.front, Place::Ready);
        }
    }

    /// A message came back: selective consumers look at it again. O(consumers) if any has a
    /// selector.
    pub(super) fn rewind(&mut self, sequence: u64) {
        if self.selective > 0 {
            for record in self.slots.iter_mut().flatten() {
                record.cursor.rewind(sequence);
            }
        }
        self.unpark();
    }

    fn list(&mut self, place: Place) -> Option<&mut List> {
        match place {
            Place::Nowhere => None,
            Place::Ready => Some(&mut self.ready),
            Place::Parked => Some(&mut self.parked),
        }
    }

    /// Takes a consumer out of its list and puts it at the back of another.
    fn move_to(&mut self, slot: u32, place: Place) {
        let Some(record) = self.get_mut(slot) else { return };
        let (old, before, after) = (record.place, record.before, record.after);
        if old != Place::Nowhere {
            match self.get_mut(before) {
                Some(neighbour) => neighbour.after = after,
                None => self.list(old).into_iter().for_each(|list| list.front = after),
            }
            match self.get_mut(after) {
                Some(neighbour) => neighbour.before = before,
                None => self.list(old).into_iter().for_each(|list| list.back = before),
            }
        }
        let mut back = NONE;
        if let Some(list) = self.list(place) {
            back = std::mem::replace(&mut list.back, slot);
            if back == NONE {
                list.front = slot;
            }
        }
        if let Some(neighbour) = self.get_mut(back) {
            neighbour.after = slot;
        }
        if let Some(record) = self.get_mut(slot) {
            (record.place, record.before, record.after) = (place, back, NONE);
        }
    }
}
