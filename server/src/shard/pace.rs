//! Subscriptions whose deliveries may have to wait: slow-consumer policies and rates.
//!
//! Which policy governs a subscription is decided when it is made: by its own headers (`max-rate`,
//! ActiveMQ's `activemq.maximumPendingMessageLimit`), else by the first `--slow-consumer` rule that
//! covers its destination or the whole of its pattern. The subscriptions of a policy other than
//! `disconnect` are classes of their own, so that all others take the plain way (issue 5 item 8).
//!
//! A delivery goes at once while little waits for the client. Else it is held back, as a reference
//! to the shared publication, and goes when the client has taken what waited, or with the tick.
//! What is given up meanwhile is counted, and the next MESSAGE of the subscription says `missed:N`.
//! Policies are for `ack:auto`: what must be acknowledged may not be given up.

use super::action::{Placed, Subscribe};
use super::deliver::{FanOut, Note, One};
use super::{Shard, Shared};
use crate::reactor::Reactor;
use std::collections::BTreeMap;
use stompede_core::amount;
use stompede_core::broker::conflate::{parse_rule, Backlog, Bounds, Policy, Rate, Rule, Taken};
use stompede_core::broker::destination::Kind;
use stompede_core::broker::pattern::ByPattern;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::subscriptions::{Subscriber, SubscriptionKey, Subscriptions};
use stompede_core::stomp::error::Error;
use stompede_core::stomp::frame::Frame;
use stompede_core::stomp::request::AckMode;

/// The part of the mark for slow consumers that may wait in front of what is held back: what a
/// client has not read yet is as old as that.
const WINDOW_PART: usize = 8;

/// What a SUBSCRIBE says of its own slowness.
#[derive(Debug)]
pub struct Own {
    rate: Option<Rate>,
    /// Only so many of the newest may wait.
    count_max: Option<usize>,
}

/// Reads the headers of a SUBSCRIBE; none if they say nothing.
///
/// # Errors
/// [`Error::BadValue`] of a rate or a number that is none.
pub fn own(frame: &Frame<'_>) -> Result<Option<Own>, Error> {
    const PENDING: &str = "activemq.maximumPendingMessageLimit";
    let (rate, count_max) = (frame.header("max-rate"), frame.header(PENDING));
    if rate.is_none() && count_max.is_none() {
        return Ok(None);
    }
    let bad_rate = Error::BadValue("max-rate");
    let rate = rate.map(|text| Rate::parse(&text).ok_or(bad_rate)).transpose()?;
    let bad_count = Error::BadValue(PENDING);
    let parse = |text: &str| usize::try_from(amount::count(text)?).ok();
    let count_max = count_max.map(|text| parse(&text).ok_or(bad_count)).transpose()?;
    Ok(Some(Own { rate, count_max: count_max.filter(|&count| count > 0) }))
}

struct Pace {
    rule: Rule,
    count_max: usize,
    backlog: Backlog<Placed>,
    /// Set by the client, so that it cannot be made anew.
    is_own: bool,
}

impl Pace {
    fn new(rule: Rule, count_max: usize, is_own: bool, now_ms: u64, hash_key: u64) -> Pace {
        let backlog = Backlog::new(rule.rate, now_ms, hash_key);
        Pace { rule, count_max, backlog, is_own }
    }

    fn is_idle(&self) -> bool {
        !self.is_own && self.backlog.is_idle()
    }
}

/// What the shard's subscriptions have held back.
pub struct Paces {
    rules: ByPattern<Rule>,
    /// By slot and subscription; made when first needed.
    table: BTreeMap<(u32, u32), Pace>,
    /// How many of them have a delivery waiting.
    waiting_count: usize,
    /// Slots that something may be sent to now: done after the walk.
    due: Vec<u32>,
    hash_key: u64,
}

impl Paces {
    /// None yet; the rules are the operator's.
    pub(super) fn new(shared: &Shared) -> Paces {
        let mut rules = ByPattern::default();
        for text in &shared.config.slow_consumer {
            // The options were checked when they were read.
            let Ok((matched, rule)) = parse_rule(text) else { continue };
            if let Some(pattern) = shared.rule_pattern(matched) {
                rules.push(pattern, rule);
            }
        }
        let (table, due) = (BTreeMap::new(), Vec::new());
        Paces { rules, table, waiting_count: 0, due, hash_key: shared.key }
    }

    /// The rule of a subscription to `destination`, which may be a pattern. A rule covers a pattern
    /// if it matches it as a text, its wildcards being names.
    fn rule(&self, destination: &str) -> Rule {
        let plain = Rule { policy: Policy::Disconnect, rate: None };
        self.rules.find(destination).cloned().unwrap_or(plain)
    }

    /// Number of subscriptions that have a pace.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whether any delivery is held back.
    pub fn is_any_waiting(&self) -> bool {
        self.waiting_count > 0
    }
}

/// What [`Policy::Conflate`] goes by.
fn conflation_key<'a>(policy: &Policy, publication: &'a Publication) -> &'a str {
    let Policy::Conflate(Some(wanted)) = policy else { return publication.destination() };
    let mut headers = publication.headers();
    let header = headers.find(|(name, _)| *name == &**wanted);
    header.map_or(publication.destination(), |(_, value)| value)
}

impl FanOut<'_> {
    /// Holds a delivery back for those of a group that it must wait for; gives the others.
    pub(super) fn hold_back(
        &mut self,
        subscriptions: &Subscriptions,
        delivery: &Placed,
        group: &[Subscriber],
    ) -> Vec<Subscriber> {
        let Some(first) = group.first() else { return Vec::new() };
        // All of a group subscribed to the same.
        let rule = self.paces.rule(subscriptions.destination(first.key()));
        let mut at_once = Vec::with_capacity(group.len());
        for subscriber in group {
            if self.must_wait(&rule, *subscriber) {
                self.hold_back_one(&rule, delivery, *subscriber);
            } else {
                at_once.push(*subscriber);
            }
        }
        at_once
    }

    fn must_wait(&self, rule: &Rule, Subscriber { connection, subscription }: Subscriber) -> bool {
        let pace = self.paces.table.get(&(connection, subscription));
        let is_needed = pace.map_or(rule.rate.is_some(), |pace| pace.backlog.is_needed());
        let index = self.connections[connection as usize].outbound;
        let waiting = self.backlogs.get(index as usize).map_or(0, |it| it.outbound.bytes());
        is_needed || waiting > self.outbound_bytes_max / WINDOW_PART
    }

    fn hold_back_one(&mut self, rule: &Rule, delivery: &Placed, subscriber: Subscriber) {
        let (slot, hash_key) = (subscriber.connection, self.paces.hash_key);
        let now_ms = self.now_ms;
        let new = || Pace::new(rule.clone(), usize::MAX, false, now_ms, hash_key);
        let pace = self.paces.table.entry((slot, subscriber.subscription)).or_insert_with(new);
        let (bytes_max, was_empty) = (self.outbound_bytes_max, pace.backlog.is_empty());
        let (bytes, missed) = (pace.backlog.bytes(), pace.backlog.missed_total());
        let bounds = Bounds { count_max: pace.count_max, bytes_max };
        let publication = &delivery.publication;
        let key = conflation_key(&pace.rule.policy, publication);
        let policy = &pace.rule.policy;
        let item = delivery.clone();
        if pace.backlog.offer(policy, bounds, key, publication.bytes(), item, drop).is_err() {
            self.overflowed.push(slot);
        }
        self.metrics.messages_missed.add(pace.backlog.missed_total() - missed);
        self.metrics.outbound_bytes.sub(bytes as u64);
        self.metrics.outbound_bytes.add(pace.backlog.bytes() as u64);
        self.paces.waiting_count += usize::from(was_empty && !pace.backlog.is_empty());
        self.paces.due.push(slot);
    }
}

impl<R: Reactor> Shard<R> {
    /// Whether deliveries of this new subscription may ever have to wait.
    pub(super) fn is_paced(&self, subscribe: &Subscribe) -> bool {
        let destination = &*subscribe.destination;
        let is_paced = || self.paces.rule(destination).is_paced();
        // What is for one session, or for one consumer, is not the public's.
        subscribe.ack == AckMode::Auto
            && (subscribe.pace.is_some() || is_paced())
            && self.kind(destination) == Ok(Kind::Topic)
    }

    /// The client said how slow it is: that is stronger than the operator's rule, except that no
    /// client makes itself faster than its rule allows.
    pub(super) fn set_pace(&mut self, slot: u32, key: SubscriptionKey, own: &Own) {
        if self.subscriptions.class(key).explicit_ack {
            return;
        }
        let mut rule = self.paces.rule(self.subscriptions.destination(key));
        if own.count_max.is_some() {
            rule.policy = Policy::DropOldest;
        } else if rule.policy == Policy::Disconnect {
            rule.policy = Policy::Conflate(None);
        }
        rule.rate = match (rule.rate, own.rate) {
            (Some(ours), Some(theirs)) => Some(ours.slower(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        let count_max = own.count_max.unwrap_or(usize::MAX);
        let pace = Pace::new(rule, count_max, true, self.now_ms, self.shared.key);
        self.paces.table.insert((slot, key.0), pace);
    }

    /// The subscription ends.
    pub(super) fn forget_pace(&mut self, slot: u32, key: SubscriptionKey) {
        if let Some(mut pace) = self.paces.table.remove(&(slot, key.0)) {
            self.paces.waiting_count -= usize::from(!pace.backlog.is_empty());
            self.metrics.outbound_bytes.sub(pace.backlog.bytes() as u64);
            pace.backlog.clear(drop);
        }
    }

    /// The connection ends.
    pub(super) fn forget_paces(&mut self, slot: u32) {
        if self.paces.is_empty() {
            return;
        }
        for key in self.paced_keys(slot) {
            self.forget_pace(slot, key);
        }
    }

    fn paced_keys(&self, slot: u32) -> Vec<SubscriptionKey> {
        let of_slot = self.paces.table.range((slot, 0)..=(slot, u32::MAX));
        of_slot.map(|(&(_, key), _)| SubscriptionKey(key)).collect()
    }

    /// After a walk: what was held back only for its rate may be due at once.
    pub(super) fn send_due(&mut self) {
        while let Some(slot) = self.paces.due.pop() {
            self.send_held_back(slot);
        }
    }

    /// With the tick: rates earn, and who takes little at a time is never quite empty.
    pub(super) fn send_all_held_back(&mut self) {
        if !self.paces.is_any_waiting() {
            return;
        }
        let mut slots: Vec<u32> = self.paces.table.keys().map(|&(slot, _)| slot).collect();
        slots.dedup();
        slots.into_iter().for_each(|slot| self.send_held_back(slot));
    }

    /// Sends what was held back for a connection, one of each subscription in turn, while little
    /// waits for it.
    pub(super) fn send_held_back(&mut self, slot: u32) {
        let keys = self.paced_keys(slot);
        let mut is_more = true;
        while std::mem::take(&mut is_more) {
            for &key in &keys {
                let window_bytes = self.outbound_bytes_max / WINDOW_PART;
                let is_live = self.connections[slot as usize].is_live();
                if !is_live || self.backlog_bytes(slot) > window_bytes {
                    return;
                }
                is_more |= self.send_next(slot, key);
            }
        }
    }

    /// Says whether there was one to send.
    fn send_next(&mut self, slot: u32, key: SubscriptionKey) -> bool {
        let now_ms = self.now_ms;
        let Some(pace) = self.paces.table.get_mut(&(slot, key.0)) else { return false };
        let bytes = pace.backlog.bytes();
        let taken = pace.backlog.take(now_ms);
        let is_taken = taken.is_some();
        self.metrics.outbound_bytes.sub((bytes - pace.backlog.bytes()) as u64);
        self.paces.waiting_count -= usize::from(is_taken && pace.backlog.is_empty());
        if pace.is_idle() {
            self.paces.table.remove(&(slot, key.0));
        }
        if let Some(Taken { item, missed }) = taken {
            let note = if missed > 0 { Note::Missed(missed) } else { Note::None };
            self.deliver_to(slot, key, &One { delivery: &item, note });
        }
        is_taken
    }
}
