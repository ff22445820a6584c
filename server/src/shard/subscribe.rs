//! SUBSCRIBE and UNSUBSCRIBE: who gets what is published.
//!
//! A subscription is live once every shard that must know of it knows; its RECEIPT says so and
//! comes before its first MESSAGE. The RECEIPT of UNSUBSCRIBE says that nothing more comes.
//! stomp.md §1.8.

use super::action::{Message, Subscribe};
use super::connection::{Then, Transport};
use super::deliver::{framing, version_number};
use super::{Shard, Shared};
use crate::reactor::Reactor;
use std::sync::Arc;
use stompede_core::broker::authorization::Verb;
use stompede_core::broker::binding::link_name;
use stompede_core::broker::destination::{Kind, Profile};
use stompede_core::broker::history::Past;
use stompede_core::broker::pattern::{Dialect, Pattern, PatternError};
use stompede_core::broker::reply::is_reserved_id;
use stompede_core::broker::selector::Filter;
use stompede_core::broker::subscriptions::{Class, SubscriptionKey};
use stompede_core::broker::user::{is_internal, resembles_internal};
use stompede_core::stomp::command::Command;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::request::AckMode;

impl<R: Reactor> Shard<R> {
    pub(super) fn subscribe(&mut self, slot: u32, mut subscribe: Subscribe) -> Result<(), Error> {
        if subscribe.id.as_deref().is_some_and(is_reserved_id) {
            return Err(Error::ReservedSubscription);
        }
        if resembles_internal(&subscribe.destination) {
            return Err(Error::NotAllowed);
        }
        let (kind, name) = self.name(slot, &subscribe.destination)?;
        let pattern = self.pattern(&name)?;
        // The rules are about what the client asks for, not about what we call it.
        let is_own = matches!(kind, Kind::User | Kind::TempQueue);
        let asked = if is_own { &subscribe.destination } else { &name };
        if let Err(error) = self.authorize(slot, Verb::Subscribe, asked, kind) {
            if !self.deny_softly(slot, &subscribe) {
                return Err(error);
            }
            self.on_denied(slot, Command::Subscribe.as_str(), &subscribe.destination);
            return Ok(());
        }
        subscribe.destination = name;
        let binding = self.through_queue(kind, &mut subscribe);
        let head = self.connections[slot as usize].subscriptions;
        if self.subscriptions.count_of(head) >= self.shared.config.limits.subscriptions_count_max {
            return Err(Error::TooManySubscriptions);
        }
        let (id, destination) = (subscribe.id.as_deref(), Some(&*subscribe.destination));
        let known = self.subscriptions.find(head, id, destination.filter(|_| id.is_none()));
        if known.is_some() {
            return Err(Error::DuplicateSubscription);
        }
        match kind {
            Kind::Topic if binding.is_some() => {
                let bound = binding.as_ref();
                let filter = bound.and_then(|it| Some((&*it.topic, it.filter.as_deref()?)));
                filter.map_or(Ok(()), |(topic, filter)| self.check_cost(topic, filter))?;
                return self.subscribe_to_queue(slot, subscribe, binding);
            }
            Kind::Topic => self.subscribe_to_topic(slot, subscribe, pattern),
            Kind::User => self.subscribe_to_user(slot, subscribe),
            Kind::Queue => return self.subscribe_to_queue(slot, subscribe, None),
            // A pattern is a service connection's, which the rules of authorization have allowed.
            Kind::App if pattern.is_some() || self.has_snapshot(&subscribe.destination) => {
                self.subscribe_to_topic(slot, subscribe, pattern);
            }
            Kind::App => return Err(Error::NoService),
            // Nobody else needs to know of it.
            Kind::TempQueue => self.subscribed(slot, subscribe, Past::default()),
            Kind::ReplyQueue => return Err(Error::MisusedDestination),
        }
        Ok(())
    }

    /// The kind of a subscription's destination, and the name of the subscription in the table.
    fn name(&self, slot: u32, destination: &str) -> Result<(Kind, Box<str>), Error> {
        let claim = self.shared.claim(destination)?;
        if claim.kind == Kind::TempQueue && self.shared.config.profile == Profile::ActiveMq {
            return Ok((claim.kind, self.temporary_name(slot, destination)));
        }
        if claim.for_subscribe().is_err() {
            return Err(Error::MisusedDestination);
        }
        if self.shared.prefixes.is_queue_pattern(&claim) {
            return Err(Error::QueuePattern);
        }
        let kind = claim.kind;
        let name = match kind {
            Kind::User => self.own_name(slot, destination)?,
            _ => claim.subscribed(destination).into(),
        };
        Ok((kind, name))
    }

    /// The pattern that a name of the table is, in the dialect of its prefix; none if it is
    /// literal.
    pub(super) fn pattern(&self, name: &str) -> Result<Option<Pattern>, Error> {
        let Shared { prefixes, config, .. } = &*self.shared;
        let parsed = match is_internal(name) {
            false => prefixes.pattern(name, &config.limits),
            true if !Dialect::Ant.is_pattern(name) => return Ok(None),
            true => Pattern::parse(name, &config.limits).map(Some),
        };
        parsed.map_err(|error| match error {
            PatternError::TooComplex { .. } => Error::PatternTooComplex,
            _ => Error::BadDestination,
        })
    }

    fn subscribe_to_topic(&mut self, slot: u32, subscribe: Subscribe, pattern: Option<Pattern>) {
        let destination = subscribe.destination.clone();
        if let Some(pattern) = pattern {
            self.interest.add_pattern(&destination, pattern, self.index);
            self.announce_pattern(slot, destination, subscribe);
            return;
        }
        let home = self.home(&destination);
        if home == self.index {
            self.interest.add(&destination, self.index);
            let past = self.past(&destination, &subscribe.replay);
            self.subscribed(slot, subscribe, past);
        } else {
            let asker = self.asker(slot);
            self.pending_interest.push(destination.clone());
            self.mesh.push(home, self.ask_home(destination, &subscribe.replay, asker));
            self.wait_for(slot, 1, Then::Subscribe(Box::new(subscribe)));
        }
    }

    fn announce_pattern(&mut self, slot: u32, pattern: Box<str>, subscribe: Subscribe) {
        let asker = Some(self.asker(slot));
        for target in (0..self.mesh.shards_count()).filter(|&target| target != self.index) {
            let pattern = pattern.clone();
            self.mesh.push(target, Message::PatternInterest { pattern, is_wanted: true, asker });
        }
        let answers_count = self.mesh.shards_count() - 1;
        if answers_count == 0 {
            self.subscribed(slot, subscribe, Past::default());
        } else {
            self.pending_interest.push(subscribe.destination.clone());
            self.wait_for(slot, answers_count, Then::Subscribe(Box::new(subscribe)));
        }
    }

    /// Every shard that must know knows: the subscription is live. Its RECEIPT goes first, then
    /// what it gets of the past.
    pub(super) fn subscribed(&mut self, slot: u32, subscribe: Subscribe, past: Past) {
        if self.is_service(&subscribe.destination) {
            return self.enter_service(slot, subscribe);
        }
        if self.refuse_costly(slot, &subscribe) {
            return;
        }
        let past = self.bound_past(slot, &subscribe, past);
        self.push_subscribe_receipt(slot, subscribe.receipt.as_deref(), &past);
        // It was parsed before and is good.
        let pattern = self.pattern(&subscribe.destination).ok().flatten();
        let key = self.enter_subscription(slot, subscribe, pattern);
        self.push_snapshot(slot, key);
        self.push_past(slot, key, past);
    }

    /// Enters a subscription into the table of this shard.
    pub(super) fn enter_subscription(
        &mut self,
        slot: u32,
        subscribe: Subscribe,
        pattern: Option<Pattern>,
    ) -> SubscriptionKey {
        let is_paced = self.is_paced(&subscribe);
        let is_app = self.kind(&subscribe.destination) == Ok(Kind::App);
        let is_gated = self.has_slow_snapshot(&subscribe.destination);
        let Subscribe { id, destination, ack, terms, pace, .. } = subscribe;
        let mut class = self.class(slot, id, ack, terms.filter);
        if is_paced {
            class.framing |= framing::PACED;
        }
        if is_gated {
            class.framing |= framing::GATED;
        }
        if is_app && pattern.is_some() {
            class.framing |= framing::SERVICE;
        }
        if is_app || is_internal(&destination) {
            // What one session sees may hold secrets, which the length of a compressed message
            // tells.
            class.framing = framing::uncompressed(class.framing);
        }
        let head = self.connections[slot as usize].subscriptions;
        let (key, _) = self.subscriptions.subscribe(slot, head, &destination, pattern, class);
        self.connections[slot as usize].subscriptions = key.0;
        if let (true, Some(own)) = (is_paced, pace) {
            self.set_pace(slot, key, &own);
        }
        key
    }

    /// What the frames of a subscription of this connection look like, and which it gets.
    pub(super) fn class(
        &self,
        slot: u32,
        id: Option<Box<str>>,
        ack: AckMode,
        filter: Option<Arc<Filter>>,
    ) -> Class {
        let connection = &self.connections[slot as usize];
        let mut framing = match connection.transport {
            Transport::WebSocket(_) if connection.is_sockjs() => {
                framing::WEBSOCKET | framing::SOCKJS
            }
            Transport::SockJs => framing::SOCKJS,
            Transport::WebSocket(ref receiver) => {
                framing::WEBSOCKET | framing::deflate(receiver.deflate())
            }
            Transport::Http { .. } | Transport::Tcp => framing::TCP,
        };
        if ack == AckMode::Client {
            framing |= framing::CUMULATIVE;
        }
        let version = version_number(connection.version);
        Class { id, version, framing, explicit_ack: ack != AckMode::Auto, filter }
    }

    pub(super) fn unsubscribe(
        &mut self,
        slot: u32,
        id: Option<&str>,
        destination: Option<&str>,
        is_final: bool,
    ) -> Result<(), Error> {
        if id.is_some_and(is_reserved_id) {
            return Err(Error::ReservedSubscription);
        }
        let head = self.connections[slot as usize].subscriptions;
        let name = match destination.filter(|_| id.is_none()) {
            Some(destination) => Some(self.name(slot, destination)?.1),
            None => None,
        };
        let mut key = self.subscriptions.find(head, id, name.as_deref());
        if let (None, Some(name)) = (key, &name) {
            key = self.subscriptions.find(head, None, Some(&link_name(name)));
        }
        let key = key.ok_or(Error::UnknownSubscription)?;
        self.unsubscribe_from_queue(slot, key, is_final);
        self.forget_pace(slot, key);
        self.forget_gate(slot, key);
        let (head, removed) = self.subscriptions.unsubscribe(head, key);
        self.connections[slot as usize].subscriptions = head;
        if let Some(removed) = removed {
            self.withdraw_interest(removed.destination, removed.is_pattern);
        }
        Ok(())
    }
}
