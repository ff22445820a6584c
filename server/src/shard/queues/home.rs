//! At the home of a queue: messages come in, go out to consumers, are settled, expire and die.
//!
//! Deliveries are dispatched once per turn, a bounded number of them, some to each queue in turn,
//! and none while a ring to another shard is full. Dead messages go to the dead-letter destination
//! with the reason in their headers; one that dies there is only counted.

use super::super::action::{Asker, Batch, Message, Step};
use super::super::Shard;
use super::queue_error;
use crate::metrics::DEATHS;
use crate::reactor::Reactor;
use std::borrow::Cow;
use std::sync::Arc;
use stompede_core::broker::destination::{classify, Kind};
use stompede_core::broker::publication::Publication;
use stompede_core::broker::queue::{Consumer, ConsumerId, Death, Output, Settlement, Unsettled};
use stompede_core::stomp::error::Error;

/// Deliveries that a shard dispatches in one turn.
const DISPATCHES_PER_TURN: usize = 2_048;
/// Deliveries of one queue before it is the next one's turn.
const DISPATCHES_PER_VISIT: usize = 128;
/// Queues that one tick looks at for expired messages.
const EXPIRIES_PER_TICK: usize = 1_024;

impl<R: Reactor> Shard<R> {
    /// The name by which a queue is known: aliases have one name.
    pub(in super::super) fn queue_name<'d>(&self, destination: &'d str) -> Cow<'d, str> {
        let limits = &self.shared.config.limits;
        match classify(destination, &self.shared.prefixes, limits) {
            Ok(claim) => claim.canonical(destination),
            Err(_) => Cow::Borrowed(destination),
        }
    }

    /// The name of the queue that a publication goes to.
    pub(in super::super) fn queue_of<'p>(&self, publication: &'p Publication) -> Cow<'p, str> {
        match publication.queue() {
            Some(name) => Cow::Borrowed(name),
            None => self.queue_name(publication.destination()),
        }
    }

    /// Takes a message into its queue.
    pub(super) fn enqueue(
        &mut self,
        publication: Arc<Publication>,
        expires_ms: Option<u64>,
    ) -> Result<(), Error> {
        let checked = self.queues.check_memory(publication.bytes());
        let outcome = checked.and_then(|()| self.enter(publication, expires_ms, false));
        if outcome.is_err() {
            self.metrics.queue_refused.inc();
        }
        outcome
    }

    /// As [`Shard::enqueue`], within the memory of all queues; `is_reserved` if the queue keeps
    /// room for it.
    fn enter(
        &mut self,
        publication: Arc<Publication>,
        expires_ms: Option<u64>,
        is_reserved: bool,
    ) -> Result<(), Error> {
        let name = self.queue_of(&publication);
        let index = self.queues.open(&name);
        let mut outputs = std::mem::take(&mut self.scratch.outputs);
        let queue = &mut self.queues.entries[index as usize].queue;
        if is_reserved {
            queue.release(1, publication.bytes());
        }
        let outcome = queue.publish(Arc::clone(&publication), expires_ms, &mut outputs);
        self.queues.touch(index);
        self.queues.list(index);
        self.finish(outputs);
        outcome.map_err(queue_error)
    }

    /// Registers a consumer; gives the queue's index, which stays while it is one.
    pub(in super::super) fn add_consumer(
        &mut self,
        name: &str,
        id: ConsumerId,
        terms: Consumer,
    ) -> u32 {
        let index = self.queues.open(name);
        // Cannot be there already: connections never give out a number twice.
        let _ = self.queues.entries[index as usize].queue.add_consumer(id, terms);
        self.queues.touch(index);
        self.queues.list(index);
        index
    }

    /// Ends deliveries to a consumer.
    pub(in super::super) fn remove_consumer(
        &mut self,
        index: u32,
        id: ConsumerId,
        unsettled: Unsettled,
    ) {
        let mut outputs = std::mem::take(&mut self.scratch.outputs);
        if let Some(queue) = self.queues.get_mut(index) {
            queue.remove_consumer(id, unsettled, &mut outputs);
        }
        self.queues.list(index);
        self.queues.touch(index);
        self.finish(outputs);
    }

    /// Settles a delivery (and by its consumer's mode the earlier ones).
    pub(in super::super) fn settle_here(
        &mut self,
        index: u32,
        id: ConsumerId,
        tag: u64,
        settlement: Settlement,
    ) {
        let mut outputs = std::mem::take(&mut self.scratch.outputs);
        if let Some(queue) = self.queues.get_mut(index) {
            // Checked by the connection's ledger: a failure would be ours, and changes nothing.
            let settled = queue.settle(id, tag, settlement, &mut outputs);
            debug_assert!(settled.is_ok(), "the ledger had {id:?} {tag}");
        }
        self.queues.list(index);
        self.queues.touch(index);
        self.finish(outputs);
    }

    /// Delivers what waits, once per turn.
    pub(in super::super) fn dispatch_queues(&mut self) {
        if !self.queues.has_work() {
            return;
        }
        let now_ms = self.reactor.unix_ms();
        let mut budget = DISPATCHES_PER_TURN;
        let mut outputs = std::mem::take(&mut self.scratch.outputs);
        while budget > 0 && self.mesh.overflow_count() == 0 {
            let Some(index) = self.queues.work.pop_front() else { break };
            let Some(entry) = self.queues.entries.get_mut(index as usize) else { continue };
            entry.is_listed = false;
            let share = budget.min(DISPATCHES_PER_VISIT);
            let mut left = share;
            let has_more = entry.queue.dispatch(now_ms, &mut left, &mut outputs);
            // At least one: a queue that costs nothing may not be visited without end.
            budget -= (share - left).max(1);
            self.queues.touch(index);
            if has_more {
                self.queues.list(index);
            }
            outputs = self.do_outputs(outputs);
        }
        self.scratch.outputs = outputs;
    }

    /// At the tick: takes expired messages out of queues that nobody consumes, some each time, and
    /// sets the gauges.
    pub(in super::super) fn keep_queues(&mut self) {
        let now_ms = self.reactor.unix_ms();
        let mut outputs = std::mem::take(&mut self.scratch.outputs);
        let end = self.queues.entries.capacity();
        for _ in 0..EXPIRIES_PER_TICK.min(end) {
            let index = self.queues.expiry_cursor % end;
            self.queues.expiry_cursor = index + 1;
            let Some(entry) = self.queues.entries.get_mut(index) else { continue };
            let mut budget = DISPATCHES_PER_VISIT;
            entry.queue.expire(now_ms, &mut budget, &mut outputs);
            self.queues.touch(index as u32);
        }
        self.finish(outputs);
        let sum = self.queues.sum();
        self.metrics.queues.set(self.queues.len() as u64);
        self.metrics.queue_messages.set(sum.waiting as u64);
        self.metrics.queue_unsettled.set(sum.unsettled as u64);
        self.metrics.queue_consumers.set(sum.consumers as u64);
        self.metrics.queue_bytes.set(sum.bytes as u64);
        let all: u64 = self.shared.metrics.iter().map(|shard| shard.queue_bytes.get()).sum();
        self.queues.bytes_elsewhere = (all as usize).saturating_sub(sum.bytes);
    }

    fn finish(&mut self, outputs: Vec<Output>) {
        self.scratch.outputs = self.do_outputs(outputs);
    }

    /// Does what a queue wants done; gives the list back, empty.
    fn do_outputs(&mut self, mut outputs: Vec<Output>) -> Vec<Output> {
        for output in outputs.drain(..) {
            match output {
                Output::Deliver(delivery) => {
                    if delivery.deliveries > 1 {
                        self.metrics.messages_redelivered.inc();
                    }
                    match delivery.consumer.shard as usize {
                        shard if shard == self.index => self.on_delivery(delivery),
                        shard => self.mesh.push(shard, Message::Delivery(delivery)),
                    }
                }
                Output::Dead { publication, death, deliveries } => {
                    self.bury(&publication, death, deliveries);
                }
            }
        }
        outputs
    }

    /// Counts a dead message and sends it to the dead letters, unless it died there.
    fn bury(&mut self, publication: &Publication, death: Death, deliveries: u32) {
        self.metrics.dead_letters(death);
        let shared = self.shared.clone();
        let Some(grave) = shared.config.dead_letter.as_deref() else { return };
        if self.queue_name(publication.destination()) == grave {
            return;
        }
        let deliveries = deliveries.to_string();
        let told = [
            ("x-death-reason", DEATHS[death as usize]),
            ("x-death-destination", publication.destination()),
            ("x-death-deliveries", &deliveries),
        ];
        // Its time is over: there it stays. Of repeated headers the first counts: ours.
        let passed = publication
            .headers()
            .filter(|(name, _)| !["expires", "expiration", "x-message-ttl"].contains(name));
        let letter = Publication::new(grave, told.into_iter().chain(passed), publication.body());
        self.publish_from_server(Arc::new(letter));
    }

    /// Publishes what no client sent. Nobody hears of a refusal; it is counted.
    fn publish_from_server(&mut self, publication: Arc<Publication>) {
        let Ok(kind) = self.kind(publication.destination()) else { return };
        let home = self.home(&self.queue_name(publication.destination()));
        match (kind, home == self.index) {
            (Kind::Queue, true) => drop(self.enqueue(publication, None)),
            (Kind::Queue, false) => {
                let (expires_ms, asker, is_awaited) = (None, None, false);
                let message = Message::Enqueue { publication, expires_ms, asker, is_awaited };
                self.mesh.push(home, message);
            }
            (_, true) => self.order(publication),
            (_, false) => self.mesh.push(home, Message::Publish(publication, None)),
        }
    }

    /// A SEND from another shard.
    pub(in super::super) fn on_enqueue(
        &mut self,
        publication: Arc<Publication>,
        expires_ms: Option<u64>,
        asker: Option<Asker>,
        is_awaited: bool,
    ) {
        let outcome = self.enqueue(publication, expires_ms);
        match (outcome, asker) {
            (Ok(()), Some(asker)) if is_awaited => self.answer_asker(Some(asker)),
            (Err(error), Some(asker)) => {
                let is_answer = is_awaited;
                self.mesh.push(asker.shard, Message::Refused { asker, error, is_answer });
            }
            _ => {}
        }
    }

    /// A transaction asks for room in queues here; all of it or none.
    pub(super) fn reserve_here(
        &mut self,
        asker: Asker,
        wanted: &[(Box<str>, usize, usize)],
    ) -> Result<(), Error> {
        let mut outputs = std::mem::take(&mut self.scratch.outputs);
        let outcome = self.queues.reserve(asker, wanted, &mut outputs);
        self.finish(outputs);
        if outcome.is_err() {
            self.metrics.queue_refused.inc();
        }
        outcome
    }

    /// As [`Shard::reserve_here`], asked by another shard.
    pub(in super::super) fn on_reserve(
        &mut self,
        asker: Asker,
        wanted: &[(Box<str>, usize, usize)],
    ) {
        match self.reserve_here(asker, wanted) {
            Ok(()) => self.answer_asker(Some(asker)),
            Err(error) => {
                let is_answer = true;
                self.mesh.push(asker.shard, Message::Refused { asker, error, is_answer });
            }
        }
    }

    /// The transaction is off.
    pub(in super::super) fn release_here(&mut self, asker: Asker) {
        self.queues.release(asker);
    }

    /// Applies this shard's part of a transaction, whose room was reserved.
    pub(in super::super) fn apply(&mut self, batch: Batch) {
        let Batch { asker, steps, .. } = batch;
        // Each message takes its own part, so that nothing comes in between.
        self.queues.rooms.remove(&asker);
        for step in steps {
            match step {
                Step::Publish(publication) => self.order(publication),
                Step::Enqueue(publication, expires_ms) => {
                    let outcome = self.enter(publication, expires_ms, true);
                    debug_assert!(outcome.is_ok(), "there was room: {outcome:?}");
                }
                Step::Settle { queue, consumer, tag, settlement } => {
                    self.settle_here(queue, consumer, tag, settlement);
                }
            }
        }
    }
}
