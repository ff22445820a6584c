//! At the consumer: SUBSCRIBE to a queue, its deliveries, and their end.
//!
//! A *link* ties a subscription of a connection to its consumer at the queue's home. A delivery
//! that comes while much waits for the client is parked as a reference, not as bytes, and written
//! when the bytes before it have left; so a long prefetch costs no copies. Deliveries on `ack:auto`
//! are settled when all that waits has left; until then they come back if the connection ends.
//!
//! After UNSUBSCRIBE what was written may still be acknowledged, on the terms it was delivered on
//! (stomp.md §1.9, §5 row 67); what was parked or on its way goes back at once.

use super::super::action::{Consume, Message, Subscribe, Terms};
use super::super::connection::{Phase, Then};
use super::super::deliver::{framing, version_of, MessageId};
use super::super::reason::DisconnectReason;
use super::super::Shard;
use crate::metrics::FrameOut;
use crate::reactor::Reactor;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;
use stompede_core::broker::binding::{link_name, private_name, shared_name, Binding};
use stompede_core::broker::destination::Kind;
use stompede_core::broker::history::Past;
use stompede_core::broker::ledger::{Ledger, Mode, Settled, Source};
use stompede_core::broker::queue::arguments::flag;
use stompede_core::broker::queue::{Consumer, ConsumerId, Delivery, Settlement, Unsettled};
use stompede_core::broker::selector::{Filter, SelectorError};
use stompede_core::broker::subscriptions::SubscriptionKey;
use stompede_core::stomp::encode;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::frame::Frame;
use stompede_core::stomp::request::AckMode;
use stompede_core::ws::frame::{encode_header, Opcode};

/// Deliveries on the way to one `ack:auto` consumer: what two turns of two shards move.
const AUTO_CREDIT: u32 = 256;

/// A subscription to a queue, and its consumer at the queue's home.
#[derive(Debug)]
struct Link {
    /// The consumer's number; increasing.
    number: u32,
    /// The subscription, until UNSUBSCRIBE.
    subscription: Option<SubscriptionKey>,
    home: usize,
    /// Index of the queue there.
    queue: u32,
    ack: AckMode,
    /// The last delivery that was written for the client.
    last_tag: u64,
    /// The last delivery settled without the client's doing (`ack:auto`).
    settled_tag: u64,
}

impl Link {
    fn is_owing(&self) -> bool {
        self.ack == AckMode::Auto && self.settled_tag < self.last_tag
    }
}

/// The queue subscriptions of one connection.
#[derive(Debug, Default)]
pub(in super::super) struct Links {
    last_number: u32,
    /// By number; also those that left and whose deliveries are not all settled.
    links: Vec<Link>,
    /// Numbers of links on `ack:auto` with deliveries that are not settled yet.
    owing: Vec<u32>,
    /// Deliveries that wait until there is room, in order.
    parked: VecDeque<Delivery>,
}

impl Links {
    fn position(&self, number: u32) -> Option<usize> {
        self.links.binary_search_by_key(&number, |link| link.number).ok()
    }

    fn find(&mut self, number: u32) -> Option<&mut Link> {
        let at = self.position(number)?;
        Some(&mut self.links[at])
    }

    fn remove(&mut self, number: u32) {
        if let Some(at) = self.position(number) {
            self.links.remove(at);
        }
    }
}

impl<R: Reactor> Shard<R> {
    /// What SUBSCRIBE says besides id, destination and ack mode.
    pub(in super::super) fn terms(&self, slot: u32, frame: &Frame<'_>) -> Result<Terms, Error> {
        let mut terms = Terms::default();
        if let Some(text) = frame.header("selector") {
            let filter = Filter::compile(&text, &self.shared.config.limits);
            terms.filter = filter.map_err(selector_error)?.map(Arc::new);
        }
        for name in ["prefetch-count", "activemq.prefetchSize"] {
            if let Some(text) = frame.header(name) {
                let count = text.trim().parse().map_err(|_| Error::BadValue(name))?;
                terms.prefetch = terms.prefetch.or(Some(count));
            }
        }
        for name in ["exclusive", "activemq.exclusive"] {
            terms.is_exclusive |= is_set(frame, name)?;
        }
        terms.arguments = self.arguments(slot, |name| frame.header(name), true)?;
        terms.is_durable = is_set(frame, "durable")? | is_set(frame, "persistent")?;
        if let Some(name) = durable_name(frame) {
            // ActiveMQ knows them by both names.
            let client = self.client_id(slot).ok_or(Error::MissingHeader("client-id"))?;
            terms.is_durable = true;
            terms.shared_as = Some(format!("of {} {client} {name}", client.len()).into());
        } else if let Some(name) = frame.header("x-queue-name") {
            terms.shared_as = Some(format!("name {name}").into());
        } else if terms.is_durable {
            let id = frame.header("id").ok_or(Error::MissingHeader("id"))?;
            terms.shared_as = Some(format!("id {id}").into());
        }
        Ok(terms)
    }

    /// UNSUBSCRIBE: is the durable subscription to end with it?
    pub(in super::super) fn is_final(&self, frame: &Frame<'_>) -> Result<bool, Error> {
        let is_final = is_set(frame, "durable")? | is_set(frame, "persistent")?;
        Ok(is_final || durable_name(frame).is_some())
    }

    /// A topic is subscribed through a queue if messages are to wait for the subscriber: within its
    /// prefetch until they are acknowledged, or, durable, until it is back.
    pub(in super::super) fn through_queue(
        &self,
        kind: Kind,
        subscribe: &mut Subscribe,
    ) -> Option<Binding> {
        let terms = &subscribe.terms;
        let is_windowed = subscribe.ack != AckMode::Auto && terms.prefetch.is_some_and(|n| n > 0);
        if kind != Kind::Topic || !(is_windowed || terms.shared_as.is_some()) {
            return None;
        }
        let is_private = terms.shared_as.is_none();
        let (filter, is_durable) = (terms.filter.clone(), terms.is_durable);
        let link = link_name(&subscribe.destination).into();
        let topic = std::mem::replace(&mut subscribe.destination, link);
        Some(Binding { topic, filter, is_private, is_durable })
    }

    /// Registers a consumer at the queue's home; the subscription is live when it answers.
    pub(in super::super) fn subscribe_to_queue(
        &mut self,
        slot: u32,
        mut subscribe: Subscribe,
        binding: Option<Binding>,
    ) -> Result<(), Error> {
        let (shard, generation) = (self.index as u32, self.connections[slot as usize].generation);
        let links = self.connections[slot as usize].stomp().links.get_or_insert_default();
        links.last_number += 1;
        let number = links.last_number;
        let consumer = ConsumerId { shard, slot, generation, subscription: number };
        let mut terms = self.consumer_terms(&subscribe);
        let (name, home) = match &binding {
            None => (subscribe.destination.clone(), self.home(&subscribe.destination)),
            Some(binding) => {
                // The queue takes in nothing else.
                terms.selector = None;
                self.name_and_home(slot, &subscribe, binding, consumer)
            }
        };
        let arguments = subscribe.terms.arguments.take();
        let consume = Consume { name, consumer, terms, arguments, binding };
        if home != self.index {
            self.mesh.push(home, Message::Consume(Box::new(consume)));
        } else if let Some(queue) = self.consume(consume)? {
            self.linked(slot, number, home, queue, subscribe);
            return Ok(());
        }
        self.wait_for(slot, 1, Then::Consume(Box::new(subscribe)));
        Ok(())
    }

    /// A queue that listens to a topic: its name, and where it lives. A private one lives here.
    fn name_and_home(
        &self,
        slot: u32,
        subscribe: &Subscribe,
        binding: &Binding,
        consumer: ConsumerId,
    ) -> (Box<str>, usize) {
        match &subscribe.terms.shared_as {
            None => (private_name(consumer).into(), self.index),
            Some(name) => {
                let name = shared_name(self.user(slot), name, &binding.topic);
                let home = self.home(&name);
                (name.into(), home)
            }
        }
    }

    fn consumer_terms(&self, subscribe: &Subscribe) -> Consumer {
        let config = &self.shared.config;
        let Terms { prefetch, is_exclusive, filter, .. } = &subscribe.terms;
        let most = u32::try_from(config.limits.unacknowledged_count_max).unwrap_or(u32::MAX);
        // RabbitMQ's 0 is no limit; ours is that of every subscription.
        let prefetch = prefetch.unwrap_or(config.queue_prefetch);
        let prefetch = if prefetch == 0 { most } else { prefetch.min(most) };
        let is_auto = subscribe.ack == AckMode::Auto;
        Consumer {
            mode: match subscribe.ack {
                AckMode::ClientIndividual => Mode::Individual,
                AckMode::Auto | AckMode::Client => Mode::Cumulative,
            },
            credit_count: Some(if is_auto { AUTO_CREDIT } else { prefetch }),
            credit_bytes: is_auto.then_some(config.outbound_bytes_max / 2),
            is_exclusive: *is_exclusive,
            selector: filter.as_ref().map(|filter| filter.selector().clone()),
        }
    }

    /// The home of a queue has registered our consumer.
    pub(in super::super) fn on_consuming(&mut self, home: usize, consumer: ConsumerId, queue: u32) {
        let ConsumerId { slot, generation, subscription, .. } = consumer;
        let connection = &self.connections[slot as usize];
        if connection.generation == generation && connection.phase == Phase::Waiting {
            if let Some(Then::Consume(subscribe)) = self.stop_waiting(slot) {
                self.linked(slot, subscription, home, queue, *subscribe);
                return self.resume(slot);
            }
        }
        // The connection ended meanwhile.
        self.leave_at(home, queue, consumer, Unsettled::Return, false);
    }

    fn linked(&mut self, slot: u32, number: u32, home: usize, queue: u32, subscribe: Subscribe) {
        let past = Past::none(&subscribe.replay);
        self.push_subscribe_receipt(slot, subscribe.receipt.as_deref(), &past);
        let ack = subscribe.ack;
        let mut pattern = None;
        if self.is_service(&subscribe.destination) {
            self.remove_pending(&subscribe.destination);
            pattern = self.pattern(&subscribe.destination).ok().flatten();
        }
        let subscription = Some(self.enter_subscription(slot, subscribe, pattern));
        let links = self.connections[slot as usize].stomp().links.get_or_insert_default();
        let (last_tag, settled_tag) = (0, 0);
        let link = Link { number, subscription, home, queue, ack, last_tag, settled_tag };
        links.links.push(link);
    }

    fn consumer(&self, slot: u32, number: u32) -> ConsumerId {
        let (shard, generation) = (self.index as u32, self.connections[slot as usize].generation);
        ConsumerId { shard, slot, generation, subscription: number }
    }

    fn links(&mut self, slot: u32) -> Option<&mut Links> {
        self.connections[slot as usize].extras.as_mut()?.stomp.as_mut()?.links.as_deref_mut()
    }

    /// A delivery came for one of our connections.
    pub(in super::super) fn on_delivery(&mut self, delivery: Delivery) {
        let ConsumerId { slot, generation, .. } = delivery.consumer;
        let connection = &self.connections[slot as usize];
        if connection.generation != generation || !connection.is_live() {
            return; // It comes back: the home hears, or has heard, that the consumer is gone.
        }
        let is_full = self.is_full_for_queues(slot);
        let Some(links) = self.links(slot) else { return };
        if is_full || !links.parked.is_empty() {
            links.parked.push_back(delivery);
        } else {
            self.write_delivery(slot, &delivery);
        }
    }

    /// Is so much waiting for the client that deliveries are better kept as references?
    fn is_full_for_queues(&self, slot: u32) -> bool {
        self.backlog_bytes(slot) > self.outbound_bytes_max / 4
    }

    /// Writes the MESSAGE of a delivery, unless its subscription is gone.
    fn write_delivery(&mut self, slot: u32, delivery: &Delivery) {
        let Delivery { consumer, tag, publication, deliveries } = delivery;
        let connection = &mut self.connections[slot as usize];
        let stomp = connection.extras.as_mut().and_then(|extras| extras.stomp.as_mut());
        let Some(stomp) = stomp else { return };
        let Some(links) = stomp.links.as_mut() else { return };
        let number = consumer.subscription;
        let Some(link) = links.find(number) else { return };
        let Some(key) = link.subscription else { return };
        let was_owing = link.is_owing();
        link.last_tag = *tag;
        let ack = link.ack;
        if link.is_owing() && !was_owing {
            links.owing.push(number);
        }
        let class = self.subscriptions.class(key);
        let version = version_of(class);
        let message_id = if ack == AckMode::Auto {
            // Topics' ids are two hexadecimal numbers: no `q`.
            MessageId::of_queue(*tag, number.into())
        } else {
            let name = class.id.as_deref().unwrap_or(self.subscriptions.destination(key));
            let mode = match ack {
                AckMode::Client => Mode::Cumulative,
                _ => Mode::Individual,
            };
            let ledger = stomp.ledger.get_or_insert_with(Ledger::new);
            let source = Source::Queue { consumer: number };
            MessageId::of_number(ledger.deliver(name, mode, source, *tag))
        };
        let id = message_id.as_str();
        let ack = (ack != AckMode::Auto && class.version == 2).then_some(id);
        let head = &mut self.scratch.head;
        head.clear();
        encode::message_head(head, version, class.id.as_deref(), id, ack);
        match deliveries {
            1 => head.extend_from_slice(b"redelivered:false\n"),
            // Writing to a Vec does not fail.
            count => drop(write!(head, "redelivered:true\ndelivery-count:{count}\n")),
        }
        let is_sockjs = class.framing & framing::SOCKJS != 0;
        // SockJS carries text, and `content-length` counts what arrives.
        let text = is_sockjs.then(|| String::from_utf8_lossy(publication.body()));
        let body = text.as_ref().map_or(publication.body(), |text| text.as_bytes());
        let destination = publication.destination();
        encode::message_tail(head, version, destination, publication.headers(), body);
        if is_sockjs {
            let frame = std::mem::take(head);
            self.push_sockjs(slot, &frame);
            self.scratch.head = frame;
        } else {
            let mut header = [0; 14];
            let mut length = 0;
            if class.framing & framing::WEBSOCKET != 0 {
                let opcode = if publication.is_utf8() { Opcode::Text } else { Opcode::Binary };
                length = encode_header(&mut header, opcode, head.len() as u64);
            }
            let segment = self.arena.append(&[&header[..length], head]);
            self.push_segment(slot, segment);
        }
        self.metrics.messages_delivered.inc();
        self.metrics.frames_sent(FrameOut::Message, 1);
    }

    /// All that waited for a client has left: what it got on `ack:auto` is settled, and there is
    /// room for what is parked.
    pub(in super::super) fn on_queue_room(&mut self, slot: u32) {
        let Some(links) = self.links(slot) else { return };
        let mut owing = std::mem::take(&mut links.owing);
        for number in owing.drain(..) {
            self.settle_written(slot, number);
        }
        if let Some(links) = self.links(slot) {
            links.owing = owing;
        }
        while !self.is_full_for_queues(slot) {
            let next = self.links(slot).and_then(|links| links.parked.pop_front());
            let Some(delivery) = next else { break };
            self.write_delivery(slot, &delivery);
        }
    }

    /// Settles what was written for a link on `ack:auto`.
    fn settle_written(&mut self, slot: u32, number: u32) {
        let Some(links) = self.links(slot) else { return };
        let Some(link) = links.find(number).filter(|link| link.is_owing()) else { return };
        link.settled_tag = link.last_tag;
        let (tag, is_gone) = (link.last_tag, link.subscription.is_none());
        self.settle_at_home(slot, number, tag, Settlement::Ack);
        if let (true, Some(links)) = (is_gone, self.links(slot)) {
            links.remove(number);
        }
    }

    /// Where a settlement of a link's delivery goes.
    pub(super) fn route(&mut self, slot: u32, number: u32) -> Option<(usize, u32, ConsumerId)> {
        let consumer = self.consumer(slot, number);
        let link = self.links(slot)?.find(number)?;
        Some((link.home, link.queue, consumer))
    }

    fn settle_at_home(&mut self, slot: u32, number: u32, tag: u64, settlement: Settlement) {
        let Some((home, queue, consumer)) = self.route(slot, number) else { return };
        if home == self.index {
            self.settle_here(queue, consumer, tag, settlement);
        } else {
            let message = Message::Settle { queue, consumer, tag, settlement };
            if settlement == Settlement::Ack && self.is_cumulative(slot, number) {
                // Of a burst only the last ACK travels.
                self.mesh.push_latest(home, message, |earlier| is_ack_of(earlier, consumer));
            } else {
                self.mesh.push(home, message);
            }
        }
    }

    /// Does an ACK on this link cover all before it?
    fn is_cumulative(&mut self, slot: u32, number: u32) -> bool {
        let link = self.links(slot).and_then(|links| links.find(number));
        link.is_some_and(|link| link.ack != AckMode::ClientIndividual)
    }

    /// The client settled a delivery; `left` of its link are not settled.
    pub(in super::super) fn settle_delivery(
        &mut self,
        slot: u32,
        settled: Settled,
        settlement: Settlement,
    ) {
        let Source::Queue { consumer } = settled.source else { return };
        self.settle_at_home(slot, consumer, settled.tag, settlement);
        self.forget_settled(slot, settled);
    }

    /// Frees a link that was unsubscribed and has nothing left to settle.
    pub(super) fn forget_settled(&mut self, slot: u32, settled: Settled) {
        let Source::Queue { consumer } = settled.source else { return };
        let Some(links) = self.links(slot).filter(|_| settled.left == 0) else { return };
        if links.find(consumer).is_some_and(|link| link.subscription.is_none()) {
            links.remove(consumer);
        }
    }

    /// UNSUBSCRIBE: the consumer leaves; what was written for it may still be settled. If it
    /// `is_final`, a durable subscription ends.
    pub(in super::super) fn unsubscribe_from_queue(
        &mut self,
        slot: u32,
        key: SubscriptionKey,
        is_final: bool,
    ) {
        let has_pending = self.has_pending(slot, key);
        let Some(links) = self.links(slot) else { return };
        let Some(link) = links.links.iter_mut().find(|link| link.subscription == Some(key)) else {
            return;
        };
        link.subscription = None;
        let (number, unsettled) = (link.number, Unsettled::KeepThrough(link.last_tag));
        let is_done = !link.is_owing() && !has_pending;
        links.parked.retain(|delivery| delivery.consumer.subscription != number);
        self.leave(slot, number, unsettled, is_final);
        if let (true, Some(links)) = (is_done, self.links(slot)) {
            links.remove(number);
        }
    }

    /// Waits a delivery of this subscription for its ACK?
    fn has_pending(&self, slot: u32, key: SubscriptionKey) -> bool {
        let name = self.subscriptions.class(key).id.as_deref();
        let name = name.unwrap_or(self.subscriptions.destination(key));
        let ledger = self.connections[slot as usize].ledger();
        ledger.is_some_and(|ledger| ledger.unacknowledged_of(name) > 0)
    }

    /// The connection ends: all its consumers leave, and what is not settled comes back.
    pub(in super::super) fn leave_queues(&mut self, slot: u32, reason: DisconnectReason) {
        let Some(links) = self.links(slot) else { return };
        let numbers: Vec<u32> = links.links.iter().map(|link| link.number).collect();
        for number in numbers {
            if reason == DisconnectReason::Disconnect {
                // Its last bytes are on their way to a client that waits for them.
                self.settle_written(slot, number);
            }
            self.leave(slot, number, Unsettled::Return, false);
        }
    }

    fn leave(&mut self, slot: u32, number: u32, unsettled: Unsettled, is_final: bool) {
        if let Some((home, queue, consumer)) = self.route(slot, number) {
            self.leave_at(home, queue, consumer, unsettled, is_final);
        }
    }

    fn leave_at(
        &mut self,
        home: usize,
        queue: u32,
        consumer: ConsumerId,
        unsettled: Unsettled,
        is_final: bool,
    ) {
        if home == self.index {
            self.remove_consumer(queue, consumer, unsettled, is_final);
        } else {
            self.mesh.push(home, Message::Leave { queue, consumer, unsettled, is_final });
        }
    }
}

/// The name of a durable subscription, as ActiveMQ's clients and Artemis's say it.
fn durable_name<'a>(frame: &Frame<'a>) -> Option<Cow<'a, str>> {
    ["activemq.subscriptionName", "durable-subscription-name", "durable-subscriber-name"]
        .into_iter()
        .find_map(|name| frame.header(name))
}

/// Is it an ACK of this consumer, of whatever delivery?
fn is_ack_of(message: &Message, wanted: ConsumerId) -> bool {
    let Message::Settle { consumer, settlement: Settlement::Ack, .. } = message else {
        return false;
    };
    *consumer == wanted
}

fn is_set(frame: &Frame<'_>, name: &'static str) -> Result<bool, Error> {
    flag(frame.header(name), name).map_err(|error| Error::BadValue(error.header))
}

fn selector_error(error: SelectorError) -> Error {
    match error {
        SelectorError::Syntax { at, expected } => Error::BadSelector { at, expected },
        SelectorError::TooLong { seen, limit } => Error::SelectorTooLong { seen, limit },
        SelectorError::TooComplex { at, limit } | SelectorError::TooDeep { at, limit } => {
            Error::SelectorTooComplex { at, limit }
        }
    }
}
