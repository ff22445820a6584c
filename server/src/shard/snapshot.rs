//! What a new subscription gets first: the snapshot of a subscribe mapping.
//!
//! An immediate mapping gives it in the turn in which the subscription becomes live. While an
//! asynchronous one runs, its subscription stands behind a *gate*: what is published meanwhile
//! waits there, as references, and follows the snapshot, so that there is no gap and nothing
//! overtakes. A gate is bounded like any output; over the bound the client is too slow.
//! stomp.md §2.1 `@SubscribeMapping`, §2.5.

use super::action::Placed;
use super::deliver::{FanOut, Note, One};
use super::Shard;
use crate::app::{Place, Snapshot};
use crate::reactor::Reactor;
use std::collections::BTreeMap;
use std::sync::Arc;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::subscriptions::{Subscriber, SubscriptionKey};

/// One subscription that waits for its snapshot.
struct Gate {
    number: u64,
    waiting: Vec<(Placed, Note)>,
    bytes: usize,
}

/// The subscriptions of a shard that wait for their snapshots.
#[derive(Default)]
pub(super) struct Gates {
    /// By slot and subscription.
    table: BTreeMap<(u32, u32), Gate>,
    last_number: u64,
}

impl Gates {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Does none wait?
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn close(&mut self, slot: u32, key: SubscriptionKey) -> Place {
        self.last_number += 1;
        let number = self.last_number;
        self.table.insert((slot, key.0), Gate { number, waiting: Vec::new(), bytes: 0 });
        Place { slot, key, number }
    }

    /// Keeps a delivery if its subscription waits; says how many bytes that gate holds then.
    fn hold(&mut self, at: (u32, u32), delivery: &Placed, note: Note) -> Option<usize> {
        let gate = self.table.get_mut(&at)?;
        gate.bytes += delivery.publication.bytes();
        gate.waiting.push((delivery.clone(), note));
        Some(gate.bytes)
    }

    fn open(&mut self, Place { slot, key, number }: Place) -> Option<Gate> {
        let is_same = self.table.get(&(slot, key.0)).is_some_and(|gate| gate.number == number);
        is_same.then(|| self.table.remove(&(slot, key.0)))?
    }
}

impl FanOut<'_> {
    /// Keeps a delivery for those of a group that wait for their snapshot; gives the others.
    pub(super) fn hold_at_gates(
        &mut self,
        delivery: &Placed,
        group: &[Subscriber],
    ) -> Vec<Subscriber> {
        let mut others = Vec::with_capacity(group.len());
        for &subscriber in group {
            let at = (subscriber.connection, subscriber.subscription);
            let Some(bytes) = self.gates.hold(at, delivery, Note::None) else {
                others.push(subscriber);
                continue;
            };
            self.metrics.outbound_bytes.add(delivery.publication.bytes() as u64);
            if bytes > self.outbound_bytes_max {
                self.overflowed.push(subscriber.connection);
            }
        }
        others
    }
}

impl<R: Reactor> Shard<R> {
    /// Has the application something to say to a new subscriber?
    pub(super) fn has_snapshot(&self, destination: &str) -> bool {
        self.shared.app.snapshot(destination).is_some()
    }

    /// Does it need time for that?
    pub(super) fn has_slow_snapshot(&self, destination: &str) -> bool {
        let snapshot = self.shared.app.snapshot(destination);
        matches!(snapshot, Some((Snapshot::Deferred(_), _)))
    }

    /// The first message of a subscription that is live now, if a mapping has one.
    pub(super) fn push_snapshot(&mut self, slot: u32, key: SubscriptionKey) {
        let shared = self.shared.clone();
        let destination: Box<str> = self.subscriptions.destination(key).into();
        let Some((mapping, params)) = shared.app.snapshot(&destination) else { return };
        let context = self.context(slot, &destination, params);
        match mapping {
            Snapshot::Immediate(mapping) => {
                let mut payload = None;
                self.call_mapping(&context, || {
                    payload = mapping(&context)?;
                    Ok(())
                });
                if let Some(payload) = payload {
                    self.deliver_snapshot(slot, key, payload.to(&destination));
                }
            }
            Snapshot::Deferred(mapping) => {
                let place = self.gates.close(slot, key);
                if !self.start_snapshot(context, mapping, place) {
                    self.gates.open(place);
                }
            }
        }
        self.take_app_posts();
    }

    fn deliver_snapshot(&mut self, slot: u32, key: SubscriptionKey, what: Arc<Publication>) {
        let delivery = Placed { publication: what, sequence: self.next_sequence(), position: None };
        self.deliver_to(slot, key, &One { delivery: &delivery, note: Note::None });
    }

    /// Delivers something of the past, behind the snapshot if that is not there yet.
    pub(super) fn deliver_past(&mut self, slot: u32, key: SubscriptionKey, delivery: &Placed) {
        match self.gates.hold((slot, key.0), delivery, Note::Recovered) {
            Some(_) => self.metrics.outbound_bytes.add(delivery.publication.bytes() as u64),
            None => self.deliver_to(slot, key, &One { delivery, note: Note::Recovered }),
        }
    }

    /// The task of a subscription is done: its snapshot, and then what waited behind it.
    pub(super) fn on_snapshot(&mut self, place: Place, snapshot: Option<Arc<Publication>>) {
        // No gate: the subscription is over.
        let Some(gate) = self.gates.open(place) else { return };
        let Place { slot, key, .. } = place;
        self.metrics.outbound_bytes.sub(gate.bytes as u64);
        if let Some(publication) = snapshot {
            self.deliver_snapshot(slot, key, publication);
        }
        for (delivery, note) in gate.waiting {
            if !self.connections[slot as usize].is_live() {
                return;
            }
            self.deliver_to(slot, key, &One { delivery: &delivery, note });
        }
    }

    /// The subscription ends.
    pub(super) fn forget_gate(&mut self, slot: u32, key: SubscriptionKey) {
        if let Some(gate) = self.gates.table.remove(&(slot, key.0)) {
            self.metrics.outbound_bytes.sub(gate.bytes as u64);
        }
    }

    /// The connection ends.
    pub(super) fn forget_gates(&mut self, slot: u32) {
        let of_slot = self.gates.table.range((slot, 0)..=(slot, u32::MAX));
        let keys: Vec<u32> = of_slot.map(|(&(_, key), _)| key).collect();
        keys.into_iter().for_each(|key| self.forget_gate(slot, SubscriptionKey(key)));
    }
}
