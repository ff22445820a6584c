//! SUBSCRIBE and UNSUBSCRIBE: who gets what is published.
//!
//! A subscription is live once every shard that must know of it knows; its RECEIPT says so and
//! comes before its first MESSAGE. The RECEIPT of UNSUBSCRIBE says that nothing more comes.
//! stomp.md §1.8.

use super::action::{Message, Subscribe};
use super::connection::{Then, Transport};
use super::deliver::{framing, version_number};
use super::publish::destination_error;
use super::{Shard, Shared};
use crate::reactor::Reactor;
use stompede_core::broker::destination::{classify, is_pattern, Kind};
use stompede_core::broker::pattern::Pattern;
use stompede_core::broker::subscriptions::{Class, SubscriptionKey};
use stompede_core::broker::user::USER_PREFIX;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::request::AckMode;

impl<R: Reactor> Shard<R> {
    pub(super) fn subscribe(&mut self, slot: u32, subscribe: Subscribe) -> Result<(), Error> {
        let Shared { prefixes, config, .. } = &*self.shared;
        let limits = &config.limits;
        let claim =
            classify(&subscribe.destination, prefixes, limits).map_err(destination_error)?;
        let kind = claim.for_subscribe().map_err(destination_error)?.kind;
        let head = self.connections[slot as usize].subscriptions;
        if self.subscriptions.count_of(head) >= limits.subscriptions_count_max {
            return Err(Error::TooManySubscriptions);
        }
        let (id, destination) = (subscribe.id.as_deref(), Some(&*subscribe.destination));
        let known = self.subscriptions.find(head, id, destination.filter(|_| id.is_none()));
        if known.is_some() {
            return Err(Error::DuplicateSubscription);
        }
        match kind {
            Kind::Topic => self.subscribe_to_topic(slot, subscribe),
            Kind::Queue => self.subscribe_to_queue(slot, subscribe),
            _ => Err(Error::UnroutableDestination),
        }
    }

    fn subscribe_to_topic(&mut self, slot: u32, subscribe: Subscribe) -> Result<(), Error> {
        let limits = &self.shared.config.limits;
        let destination = subscribe.destination.clone();
        if is_pattern(&destination) {
            let pattern =
                Pattern::parse(&destination, limits).map_err(|_| Error::PatternTooComplex)?;
            self.interest.add_pattern(&destination, pattern, self.index);
            self.announce_pattern(slot, destination, subscribe);
            return Ok(());
        }
        let home = self.home(&destination);
        if home == self.index {
            self.interest.add(&destination, self.index);
            self.subscribed(slot, subscribe);
        } else {
            let asker = Some(self.asker(slot));
            self.pending_interest.push(destination.clone());
            self.mesh.push(home, Message::Interest { destination, is_wanted: true, asker });
            self.wait_for(slot, 1, Then::Subscribe(Box::new(subscribe)));
        }
        Ok(())
    }

    fn announce_pattern(&mut self, slot: u32, pattern: Box<str>, subscribe: Subscribe) {
        let asker = Some(self.asker(slot));
        for target in (0..self.mesh.shards_count()).filter(|&target| target != self.index) {
            let pattern = pattern.clone();
            self.mesh.push(target, Message::PatternInterest { pattern, is_wanted: true, asker });
        }
        let answers_count = self.mesh.shards_count() - 1;
        if answers_count == 0 {
            self.subscribed(slot, subscribe);
        } else {
            self.pending_interest.push(subscribe.destination.clone());
            self.wait_for(slot, answers_count, Then::Subscribe(Box::new(subscribe)));
        }
    }

    /// Every shard that must know knows: the subscription is live, its RECEIPT goes first.
    pub(super) fn subscribed(&mut self, slot: u32, subscribe: Subscribe) {
        self.push_receipt(slot, subscribe.receipt.as_deref());
        let destination = &*subscribe.destination;
        let pattern = if is_pattern(destination) {
            Pattern::parse(destination, &self.shared.config.limits).ok()
        } else {
            None
        };
        self.enter_subscription(slot, subscribe, pattern);
    }

    /// Enters a subscription into the table of this shard.
    pub(super) fn enter_subscription(
        &mut self,
        slot: u32,
        subscribe: Subscribe,
        pattern: Option<Pattern>,
    ) -> SubscriptionKey {
        let connection = &mut self.connections[slot as usize];
        // What only one user sees may hold secrets, which the length of a compressed message tells.
        let is_private = subscribe.destination.starts_with(USER_PREFIX);
        let mut frames = match connection.transport {
            Transport::WebSocket(ref receiver) => {
                framing::WEBSOCKET | framing::deflate(receiver.deflate().filter(|_| !is_private))
            }
            _ => framing::TCP,
        };
        if subscribe.ack == AckMode::Client {
            frames |= framing::CUMULATIVE;
        }
        let class = Class {
            id: subscribe.id,
            version: version_number(connection.version),
            framing: frames,
            explicit_ack: subscribe.ack != AckMode::Auto,
            filter: subscribe.terms.filter,
        };
        let (head, destination) = (connection.subscriptions, &*subscribe.destination);
        let (key, _) = self.subscriptions.subscribe(slot, head, destination, pattern, class);
        connection.subscriptions = key.0;
        key
    }

    pub(super) fn unsubscribe(
        &mut self,
        slot: u32,
        id: Option<&str>,
        destination: Option<&str>,
    ) -> Result<(), Error> {
        let head = self.connections[slot as usize].subscriptions;
        let by_destination = destination.filter(|_| id.is_none());
        let key =
            self.subscriptions.find(head, id, by_destination).ok_or(Error::UnknownSubscription)?;
        self.unsubscribe_from_queue(slot, key);
        let (head, removed) = self.subscriptions.unsubscribe(head, key);
        self.connections[slot as usize].subscriptions = head;
        if let Some(removed) = removed {
            self.withdraw_interest(removed.destination, removed.is_pattern);
        }
        Ok(())
    }
}
