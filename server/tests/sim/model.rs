//! A broker of queues that is obviously right: vectors, scanned for every question.
//!
//! It does not say whose turn it is: it is told what the server delivered when all was quiet,
//! checks that each delivery was allowed and then does the same, and that nobody is left who could
//! have been served. So it knows what is lost, doubled, out of order, over a bound or a credit.

use std::collections::BTreeMap;

/// A message that waits or is not settled.
#[derive(Clone, Debug)]
pub struct Item {
    pub serial: usize,
    was_seen: bool,
    is_expired: bool,
}

#[derive(Debug)]
struct Consumer {
    peer: usize,
    id: String,
    is_auto: bool,
    is_cumulative: bool,
    credit: usize,
    is_exclusive: bool,
    is_gone: bool,
    /// In the order of their delivery.
    unsettled: Vec<Item>,
}

/// What the client says of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Ack,
    Requeue,
    Reject,
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    bound: usize,
    drops_head: bool,
    /// In order.
    pub waiting: Vec<Item>,
    /// In the order in which they came.
    consumers: Vec<Consumer>,
    /// A client left several subscriptions to it, one after the other: what the first had may be
    /// somebody's (also the second's) before what the second had is back.
    is_split: bool,
}

/// The queues, and what died in them.
#[derive(Debug, Default)]
pub struct Model {
    pub queues: BTreeMap<&'static str, Queue>,
    /// Reason by serial.
    pub dead: BTreeMap<usize, &'static str>,
}

impl Queue {
    pub fn new(bound: usize, drops_head: bool) -> Queue {
        Queue { bound, drops_head, waiting: Vec::new(), consumers: Vec::new(), is_split: false }
    }

    fn unsettled_count(&self) -> usize {
        self.consumers.iter().map(|consumer| consumer.unsettled.len()).sum()
    }

    fn may_get(&self, at: usize) -> bool {
        let consumer = &self.consumers[at];
        let first = self.consumers.iter().position(|one| one.is_exclusive && !one.is_gone);
        !consumer.is_gone
            && first.is_none_or(|first| first == at)
            && consumer.unsettled.len() < consumer.credit
    }

    /// Deliveries that wait for their ACK, as consumer's id and place.
    pub fn unsettled(&self, peer: usize) -> Vec<(String, usize)> {
        let own = self.consumers.iter().filter(|consumer| consumer.peer == peer);
        let places = |consumer: &Consumer| {
            let id = consumer.id.clone();
            (0..consumer.unsettled.len()).map(move |place| (id.clone(), place))
        };
        own.flat_map(places).collect()
    }

    /// The message at this place of a consumer.
    pub fn serial_at(&self, id: &str, place: usize) -> usize {
        let consumer = self.consumers.iter().find(|one| one.id == id).expect("it is there");
        consumer.unsettled[place].serial
    }

    /// Subscriptions of this client.
    pub fn subscriptions(&self, peer: usize) -> Vec<String> {
        let own = self.consumers.iter().filter(|one| one.peer == peer && !one.is_gone);
        own.map(|consumer| consumer.id.clone()).collect()
    }

    fn forget_gone(&mut self) {
        self.consumers.retain(|one| !one.is_gone || !one.unsettled.is_empty());
    }
}

impl Model {
    fn queue(&mut self, name: &str) -> &mut Queue {
        self.queues.get_mut(name).expect("one of those there are")
    }

    /// Is there room for so many more? What has to die for that does.
    pub fn make_room(&mut self, name: &str, count: usize) -> bool {
        let queue = self.queue(name);
        let (waiting, unsettled) = (queue.waiting.len(), queue.unsettled_count());
        let droppable = if queue.drops_head { waiting } else { 0 };
        if waiting + unsettled - droppable + count > queue.bound {
            return false;
        }
        let excess = (waiting + unsettled + count).saturating_sub(queue.bound);
        let dropped: Vec<Item> = queue.waiting.drain(..excess).collect();
        dropped.into_iter().for_each(|item| self.kill(item.serial, "overflow"));
        true
    }

    /// A message comes, for which there is room.
    pub fn publish(&mut self, name: &str, serial: usize) {
        self.queue(name).waiting.push(Item { serial, was_seen: false, is_expired: false });
    }

    pub fn subscribe(&mut self, name: &str, peer: usize, id: &str, terms: &Terms) {
        let Terms { ack, prefetch, is_exclusive } = *terms;
        let is_auto = ack == "auto";
        self.queue(name).consumers.push(Consumer {
            peer,
            id: id.to_string(),
            is_auto,
            is_cumulative: ack == "client",
            credit: if is_auto { usize::MAX } else { prefetch },
            is_exclusive,
            is_gone: false,
            unsettled: Vec::new(),
        });
    }

    pub fn unsubscribe(&mut self, name: &str, id: &str) {
        let queue = self.queue(name);
        let consumer = queue.consumers.iter_mut().find(|one| one.id == id);
        consumer.expect("it is there").is_gone = true;
        queue.forget_gone();
    }

    /// The delivery at this place of a consumer (by its mode, those before it, too) is settled.
    pub fn settle(&mut self, name: &str, id: &str, place: usize, settlement: Settlement) {
        let queue = self.queue(name);
        let consumer = queue.consumers.iter_mut().find(|one| one.id == id).expect("it is there");
        let first = if consumer.is_cumulative { 0 } else { place };
        let settled: Vec<Item> = consumer.unsettled.drain(first..=place).collect();
        queue.forget_gone();
        settled.into_iter().for_each(|item| self.resolve(name, item, settlement));
    }

    /// A connection ends.
    pub fn leave(&mut self, peer: usize) {
        let names: Vec<&str> = self.queues.keys().copied().collect();
        for name in names {
            let (mut left, mut parts_count) = (Vec::new(), 0);
            for consumer in self.queue(name).consumers.iter_mut().filter(|one| one.peer == peer) {
                consumer.is_gone = true;
                parts_count += 1;
                left.append(&mut consumer.unsettled);
            }
            self.queue(name).is_split |= parts_count > 1;
            self.queue(name).forget_gone();
            left.into_iter().for_each(|item| self.resolve(name, item, Settlement::Requeue));
        }
    }

    /// What is in this queue is too old from now on.
    pub fn expire(&mut self, name: &str) {
        let queue = self.queue(name);
        let waiting = std::mem::take(&mut queue.waiting);
        let held = queue.consumers.iter_mut().flat_map(|consumer| &mut consumer.unsettled);
        held.for_each(|item| item.is_expired = true);
        waiting.into_iter().for_each(|item| self.kill(item.serial, "expired"));
    }

    fn resolve(&mut self, name: &str, item: Item, settlement: Settlement) {
        match settlement {
            Settlement::Ack => {}
            Settlement::Reject => self.kill(item.serial, "rejected"),
            Settlement::Requeue if item.is_expired => self.kill(item.serial, "expired"),
            Settlement::Requeue => {
                let waiting = &mut self.queue(name).waiting;
                let place = waiting.partition_point(|other| other.serial < item.serial);
                waiting.insert(place, item);
            }
        }
    }

    fn kill(&mut self, serial: usize, reason: &'static str) {
        let before = self.dead.insert(serial, reason);
        assert_eq!(before, None, "{serial} died twice");
    }

    /// These deliveries were seen, as subscription, serial and `redelivered`.
    pub fn follow(&mut self, name: &str, seen: &[(String, usize, bool)]) {
        let queue = self.queue(name);
        let before: Vec<usize> = queue.consumers.iter().map(|one| one.unsettled.len()).collect();
        let mut sorted = seen.to_vec();
        // Whoever got it, the first that waits goes first.
        sorted.sort_by_key(|(_, serial, _)| *serial);
        for (id, serial, is_redelivered) in sorted {
            let at = queue.consumers.iter().position(|one| one.id == id && !one.is_gone);
            let at = at.unwrap_or_else(|| panic!("{serial} came to {id}, which is none of {name}"));
            assert!(queue.may_get(at), "{serial} of {name} came to {id}: {:?}", queue.consumers);
            let place = queue.waiting.iter().position(|item| item.serial == serial);
            let place = place.unwrap_or_else(|| panic!("{serial} of {name} does not wait"));
            assert!(place == 0 || queue.is_split, "{name}: {id} got {serial}, which is not first");
            let mut item = queue.waiting.remove(place);
            // It may have been on its way to somebody who left.
            assert!(is_redelivered || !item.was_seen, "{serial} of {name} came again, unsaid");
            item.was_seen = true;
            if !queue.consumers[at].is_auto {
                queue.consumers[at].unsettled.push(item);
            }
        }
        let place = |item: &Item| seen.iter().position(|(_, serial, _)| *serial == item.serial);
        for (consumer, before) in queue.consumers.iter_mut().zip(before) {
            // As it came: an ACK may cover what came before.
            consumer.unsettled[before..].sort_by_key(place);
        }
        queue.is_split = false;
        let idle = (0..queue.consumers.len()).find(|&at| queue.may_get(at));
        let is_served = queue.waiting.is_empty() || idle.is_none();
        assert!(is_served, "nobody serves {idle:?} of {name}: {queue:?}");
    }
}

/// What a consumer asks for.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub ack: &'static str,
    pub prefetch: usize,
    pub is_exclusive: bool,
}
