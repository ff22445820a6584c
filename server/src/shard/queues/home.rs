//! At the home of a queue: messages come in, go out to consumers, are settled, expire and die.
//!
//! Deliveries are dispatched once per turn, a bounded number of them, some to each queue in turn,
//! and none while a ring to another shard is full. Dead messages go to the dead-letter destination,
//! their queue's or the server's, with the reason in their headers; one that dies there, or has
//! died as often as it may be delivered, is only counted.

use super::super::action::{self, Asker, Batch, Consume, Message, Step};
use super::super::work::Rest;
use super::super::Shard;
use super::declare::Life;
use super::{queue_error, Dead, Room};
use crate::metrics::DEATHS;
use crate::reactor::Reactor;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use stompede_core::broker::destination::Kind;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::queue::arguments::Arguments;
use stompede_core::broker::queue::{expiry, ConsumerId, Output, Queue, Settlement, Unsettled};
use stompede_core::broker::subscriptions::NONE;
use stompede_core::stomp::error::Error;

/// Deliveries that a shard dispatches in one turn.
const DISPATCHES_PER_TURN: usize = 2_048;
/// Deliveries of one queue before it is the next one's turn.
const DISPATCHES_PER_VISIT: usize = 128;
/// Queues that one tick looks at.
const VISITS_PER_TICK: usize = 1_024;
/// What the headers of a dead letter begin with that say why it is one.
const DEATH: &str = "x-death-";
/// How often a message died: one that goes round must end.
const DEATHS_COUNT: &str = "x-death-count";

impl<R: Reactor> Shard<R> {
    /// The name by which a queue is known: aliases have one name.
    pub(super) fn queue_name<'d>(&self, destination: &'d str) -> Cow<'d, str> {
        match self.shared.claim(destination) {
            Ok(claim) => claim.canonical(destination),
            Err(_) => Cow::Borrowed(destination),
        }
    }

    /// A publication whose destination is not an alias, as those of clients are.
    pub(in super::super) fn canonical(&self, publication: Arc<Publication>) -> Arc<Publication> {
        let name = publication.destination();
        match self.queue_name(name) {
            known if *known == *name => publication,
            other => {
                let (headers, body) = (publication.headers(), publication.body());
                Arc::new(Publication::new(&other, headers, body))
            }
        }
    }

    /// Takes a message into its queue, which it may declare.
    pub(super) fn enqueue(
        &mut self,
        publication: Arc<Publication>,
        expires_ms: Option<u64>,
        arguments: Option<&Arguments>,
    ) -> Result<(), Error> {
        let checked = self.queues.check_memory(publication.bytes());
        let name = publication.queue_name();
        let outcome = checked
            .and_then(|()| self.queues.declare(name, arguments))
            .and_then(|index| self.enter_at(index, publication, expires_ms, false));
        if outcome.is_err() {
            self.metrics.queue_refused.inc();
        }
        outcome
    }

    /// Takes a message into a queue, within the memory of all queues; `is_reserved` if the queue
    /// keeps room for it.
    pub(super) fn enter_at(
        &mut self,
        index: u32,
        publication: Arc<Publication>,
        expires_ms: Option<u64>,
        is_reserved: bool,
    ) -> Result<(), Error> {
        let entry = &self.queues.entries[index as usize];
        let ttl_ms = entry.arguments.as_ref().and_then(|arguments| arguments.ttl_ms);
        let own = ttl_ms.map(|ttl_ms| self.expiry_now_ms().saturating_add(ttl_ms));
        let expires_ms = match (own, expires_ms) {
            (Some(own), Some(expires_ms)) => Some(own.min(expires_ms)),
            (own, expires_ms) => own.or(expires_ms),
        };
        if entry.is_over() {
            // What is left of it goes on as a new one.
            self.queues.entries[index as usize].was_consumed = false;
        }
        let outcome = self.with_queue(index, |queue, outputs| {
            if is_reserved {
                queue.release(1, publication.bytes());
            }
            queue.publish(publication, expires_ms, outputs)
        });
        outcome.unwrap_or(Ok(())).map_err(queue_error)
    }

    /// Does something with a queue, if it is there, and what the queue wants done for it.
    fn with_queue<T>(
        &mut self,
        index: u32,
        work: impl FnOnce(&mut Queue, &mut Vec<Output>) -> T,
    ) -> Option<T> {
        let entry = self.queues.entries.get_mut(index as usize)?;
        let mut outputs = std::mem::take(&mut self.scratch.outputs);
        let result = work(&mut entry.queue, &mut outputs);
        self.queues.list(index);
        self.do_outputs(index, &mut outputs);
        self.scratch.outputs = outputs;
        self.touch_queue(index);
        Some(result)
    }

    /// Ends deliveries to a consumer; if it `is_final`, its queue listens no longer than others
    /// consume it.
    pub(in super::super) fn remove_consumer(
        &mut self,
        index: u32,
        id: ConsumerId,
        unsettled: Unsettled,
        is_final: bool,
    ) {
        let Some(entry) = self.queues.entries.get_mut(index as usize) else { return };
        entry.used_ms = self.queues.now_ms;
        if is_final && entry.binding != NONE {
            self.queues.set_life(index, Life::Consumed);
        }
        self.with_queue(index, |queue, outputs| queue.remove_consumer(id, unsettled, outputs));
    }

    /// Settles a delivery (and by its consumer's mode the earlier ones).
    pub(in super::super) fn settle_here(
        &mut self,
        index: u32,
        id: ConsumerId,
        tag: u64,
        settlement: Settlement,
    ) {
        let settled =
            self.with_queue(index, |queue, outputs| queue.settle(id, tag, settlement, outputs));
        // Checked by the connection's ledger: a failure would be ours, and changes nothing.
        debug_assert!(settled.is_none_or(|settled| settled.is_ok()), "the ledger had {id:?} {tag}");
    }

    /// Delivers what waits, once per turn, and buries the dead.
    pub(in super::super) fn dispatch_queues(&mut self) {
        if !self.queues.has_work() {
            return;
        }
        let now_ms = self.expiry_now_ms();
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
            self.do_outputs(index, &mut outputs);
            if has_more {
                self.queues.list(index);
            }
            self.touch_queue(index);
        }
        self.scratch.outputs = outputs;
        for _ in 0..DISPATCHES_PER_TURN {
            let Some(dead) = self.queues.dead.pop_front() else { break };
            self.bury(dead);
        }
    }

    /// At the tick: takes expired messages out of queues that nobody consumes, and ends queues that
    /// nobody uses, some each time; sets the gauges.
    pub(in super::super) fn keep_queues(&mut self) {
        let expiry_ms = self.expiry_now_ms();
        self.queues.now_ms = self.now_ms;
        let end = self.queues.entries.capacity();
        for _ in 0..VISITS_PER_TICK.min(end) {
            let index = self.queues.expiry_cursor % end;
            self.queues.expiry_cursor = index + 1;
            self.queues.end_idle(index as u32);
            self.with_queue(index as u32, |queue, outputs| {
                queue.expire(expiry_ms, &mut { DISPATCHES_PER_VISIT }, outputs);
            });
        }
        let sum = self.queues.sum();
        self.metrics.queues.set(self.queues.len() as u64);
        self.metrics.queue_messages.set(sum.waiting as u64);
        self.metrics.queue_unsettled.set(sum.unsettled as u64);
        self.metrics.queue_consumers.set(sum.consumers as u64);
        self.metrics.queue_bytes.set(sum.bytes as u64);
        let all: u64 = self.shared.metrics.iter().map(|shard| shard.queue_bytes.get()).sum();
        self.queues.bytes_elsewhere = (all as usize).saturating_sub(sum.bytes);
    }

    /// Does what a queue wants done; the dead wait for their burial.
    fn do_outputs(&mut self, index: u32, outputs: &mut Vec<Output>) {
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
                    self.metrics.dead_letters(death);
                    let entry = self.queues.entries.get(index as usize);
                    let grave =
                        entry.and_then(|entry| entry.arguments.as_ref()?.dead_letter.clone());
                    if grave.is_some() || self.shared.config.dead_letter.is_some() {
                        self.queues.dead.push_back(Dead { publication, death, deliveries, grave });
                    }
                }
            }
        }
    }

    /// Sends a dead message to the dead letters, unless it died there or too often.
    fn bury(&mut self, dead: Dead) {
        let Dead { publication, death, deliveries, grave } = dead;
        let shared = self.shared.clone();
        let Some(grave) = grave.as_deref().or(shared.config.dead_letter.as_deref()) else { return };
        let grave = self.queue_name(grave);
        let deaths = publication.header(DEATHS_COUNT).and_then(|count| count.parse::<u32>().ok());
        let deaths = deaths.unwrap_or_default().saturating_add(1);
        let is_round = deaths > shared.config.limits.queue_deliveries_count_max;
        if publication.destination() == grave || is_round {
            return;
        }
        let (deaths, deliveries) = (deaths.to_string(), deliveries.to_string());
        let told = [
            ("x-death-reason", DEATHS[death as usize]),
            ("x-death-destination", publication.destination()),
            ("x-death-deliveries", &deliveries),
            (DEATHS_COUNT, &deaths),
        ];
        // Its time is over: there it stays. What was said of another death is not repeated.
        let is_passed = |name: &str| !expiry::NAMES.contains(&name) && !name.starts_with(DEATH);
        let passed = publication.headers().filter(|(name, _)| is_passed(name));
        let letter = Publication::new(&grave, told.into_iter().chain(passed), publication.body());
        self.publish_from_server(Arc::new(letter));
    }

    /// Publishes what no client sent. Nobody hears of a refusal; it is counted.
    fn publish_from_server(&mut self, publication: Arc<Publication>) {
        let Ok(kind) = self.kind(publication.destination()) else { return };
        let home = self.home(publication.destination());
        match (kind, home == self.index) {
            (Kind::Queue, true) => drop(self.enqueue(publication, None, None)),
            (Kind::Queue, false) => self.mesh.push(
                home,
                Message::Enqueue {
                    publication,
                    expires_ms: None,
                    asker: None,
                    is_awaited: false,
                    is_declaring: false,
                },
            ),
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
        arguments: Option<Box<Arguments>>,
        is_awaited: bool,
    ) {
        let outcome = self.enqueue(publication, expires_ms, arguments.as_deref());
        match (outcome, asker) {
            (Ok(()), Some(asker)) if is_awaited => self.answer_asker(Some(asker)),
            (Err(error), Some(asker)) => self.refuse_asker(asker, error, is_awaited),
            _ => {}
        }
    }

    pub(super) fn refuse_asker(&mut self, asker: Asker, error: Error, is_answer: bool) {
        self.mesh.push(asker.shard, Message::Refused { asker, error, is_answer });
    }

    /// A consumer of another shard.
    pub(in super::super) fn on_consume(&mut self, consume: Consume) {
        let consumer = consume.consumer;
        let outcome = self.consume(consume);
        if let Some(outcome) = outcome.transpose() {
            self.answer_consumer(consumer, outcome);
        }
    }

    /// A transaction asks for room in queues here; all of it or none.
    pub(super) fn reserve_here(
        &mut self,
        asker: Asker,
        wanted: &[action::Room],
    ) -> Result<(), Error> {
        let outcome = self.reserve(asker, wanted);
        if outcome.is_err() {
            self.queues.release(asker);
            self.metrics.queue_refused.inc();
        }
        outcome
    }

    fn reserve(&mut self, asker: Asker, wanted: &[action::Room]) -> Result<(), Error> {
        self.queues.check_memory(wanted.iter().map(|room| room.bytes).sum())?;
        self.queues.rooms.insert(asker, Vec::with_capacity(wanted.len()));
        for action::Room { name, count, bytes, arguments } in wanted {
            let (count, bytes) = (*count, *bytes);
            let index = self.queues.declare(name, arguments.as_deref())?;
            let room = self.with_queue(index, |queue, out| queue.reserve(count, bytes, out));
            room.unwrap_or(Ok(())).map_err(queue_error)?;
            let rooms = self.queues.rooms.entry(asker).or_default();
            rooms.push(Room { queue: index, count, bytes });
        }
        Ok(())
    }

    /// As [`Shard::reserve_here`], asked by another shard.
    pub(in super::super) fn on_reserve(&mut self, asker: Asker, wanted: &[action::Room]) {
        match self.reserve_here(asker, wanted) {
            Ok(()) => self.answer_asker(Some(asker)),
            Err(error) => self.refuse_asker(asker, error, true),
        }
    }

    /// The transaction is off.
    pub(in super::super) fn release_here(&mut self, asker: Asker) {
        self.queues.release(asker);
    }

    /// Applies this shard's part of a transaction, whose room was reserved; gives what is left for
    /// the next turns. That are publications only: the rest costs little, and its consumers may be
    /// gone by then.
    pub(in super::super) fn apply(&mut self, batch: Batch) -> Option<Rest> {
        let Batch { asker, is_awaited, steps } = batch;
        // Each message takes its own part, so that nothing comes in between.
        self.queues.rooms.remove(&asker);
        let mut publications = VecDeque::new();
        for step in steps {
            match step {
                Step::Publish(publication) => publications.push_back(publication),
                Step::Enqueue(publication, expires_ms) => {
                    // There since the room was kept.
                    let index = self.queues.open(publication.queue_name());
                    let outcome = self.enter_at(index, publication, expires_ms, true);
                    debug_assert!(outcome.is_ok(), "there was room: {outcome:?}");
                }
                Step::Settle { queue, consumer, tag, settlement } => {
                    self.settle_here(queue, consumer, tag, settlement);
                }
            }
        }
        self.work_off(Rest { asker, is_awaited, publications })
    }
}
