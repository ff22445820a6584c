//! A topic's past, from its home shard to a new subscription.
//!
//! The home shard numbers and keeps what is published ([`Histories`]). It answers a SUBSCRIBE and
//! notes the interest in one step, and what it delivers afterwards travels behind its answer; the
//! subscriber's shard takes the answer, sends the past and makes the subscription live in one step
//! as well. So nothing is missed between the two and nothing comes twice (issue 5 item 7,
//! ecosystem.md §7.1).
//!
//! The RECEIPT of the SUBSCRIBE has `offset` and `epoch` of the topic's newest message, and, if the
//! client asked with `from-offset`, `recovered` and the `reason` why not; with `replay`, if there
//! is nothing to replay. Each MESSAGE of the past says `recovered:true`. A past of more than half
//! of what may wait for a client is refused: the other half is for what is published while it is
//! under way.

use super::action::{Asker, Message, Placed, Subscribe};
use super::{Shard, Shared};
use crate::reactor::{Reactor, TICK_MS};
use std::hash::{DefaultHasher, Hasher};
use stompede_core::broker::history::{parse_rule, Histories, Past, Position};
use stompede_core::broker::pattern::ByPattern;
use stompede_core::broker::subscriptions::SubscriptionKey;
use stompede_core::stomp::encode;
use stompede_core::stomp::replay::Replay;
use stompede_core::stomp::request::AckMode;

/// Ticks between two looks for what is too old; what a client gets is never too old.
const SWEEP_TICKS: u32 = (1_000 / TICK_MS) as u32;

/// The histories of one shard, as the operator's rules say.
pub(super) fn histories(shared: &Shared, index: usize) -> Histories {
    let config = &shared.config;
    let budget_bytes = config.history_bytes_max / config.shards_count();
    let mut rules = ByPattern::default();
    for text in &config.history {
        // The options were checked when they were read.
        let Ok((matched, bounds)) = parse_rule(text, budget_bytes) else { continue };
        if let Some(pattern) = shared.rule_pattern(matched) {
            rules.push(pattern, bounds);
        }
    }
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(shared.key);
    hasher.write(b"epoch");
    let epoch_prefix = format!("{:x}-{index:x}", hasher.finish());
    Histories::new(rules, &epoch_prefix, budget_bytes, shared.key)
}

impl<R: Reactor> Shard<R> {
    /// At the home shard: what the history of a destination has for a new subscription.
    pub(super) fn past(&mut self, destination: &str, replay: &Replay) -> Past {
        let bytes_max = self.outbound_bytes_max / 2;
        self.histories.past(destination, replay, self.now_ms, bytes_max)
    }

    /// What a subscriber's shard asks the home shard of a topic.
    pub(super) fn ask_home(&self, destination: Box<str>, replay: &Replay, asker: Asker) -> Message {
        if self.histories.is_used() {
            return Message::Subscribe { destination, replay: Box::new(replay.clone()), asker };
        }
        Message::Interest { destination, is_wanted: true, asker: Some(asker) }
    }

    /// What of `past` the client gets: all of it, or nothing if that is too much for it now.
    pub(super) fn bound_past(&self, slot: u32, subscribe: &Subscribe, past: Past) -> Past {
        let mut past = match &past.position {
            // Patterns and topics without a history have no past.
            None => Past::none(&subscribe.replay),
            Some(_) => past,
        };
        let is_acknowledged = subscribe.ack != AckMode::Auto;
        let count_max = self.shared.config.limits.unacknowledged_count_max;
        let is_too_many = is_acknowledged && past.publications.len() > count_max;
        if is_too_many || self.backlog_bytes(slot) + past.bytes() > self.outbound_bytes_max {
            past.refuse(&subscribe.replay);
        }
        match past.recovery {
            Some(Ok(())) => self.metrics.recoveries.inc(),
            Some(Err(_)) => self.metrics.recoveries_refused.inc(),
            None => {}
        }
        past
    }

    pub(super) fn push_subscribe_receipt(&mut self, slot: u32, receipt: Option<&str>, past: &Past) {
        let Some(receipt) = receipt else { return };
        if !self.connections[slot as usize].is_live() {
            return;
        }
        let mut headers = Vec::new();
        match past.recovery {
            None => {}
            Some(Ok(())) => headers.push(("recovered:", "true")),
            Some(Err(reason)) => {
                headers.extend([("recovered:", "false"), ("reason:", reason.as_str())]);
            }
        }
        let offset = past.position.as_ref().map(|position| position.offset.to_string());
        if let (Some(offset), Some(position)) = (&offset, &past.position) {
            headers.extend([("offset:", &**offset), ("epoch:", &*position.epoch)]);
        }
        let version = self.connections[slot as usize].version;
        self.push_frame(slot, |out| encode::receipt_with(out, version, receipt, &headers));
    }

    /// Sends the past to a subscription that is live now; nobody else gets it again.
    pub(super) fn push_past(&mut self, slot: u32, key: SubscriptionKey, past: Past) {
        let Some(newest) = past.position else { return };
        for (offset, publication) in past.publications {
            let position = Some(Position { offset, epoch: newest.epoch.clone() });
            let delivery = Placed { publication, sequence: self.next_sequence(), position };
            self.deliver_past(slot, key, &delivery);
        }
    }

    pub(super) fn sweep_histories(&mut self) {
        if !self.histories.is_used() || self.tick < self.swept_tick + SWEEP_TICKS {
            return;
        }
        self.swept_tick = self.tick;
        let interest = &self.interest;
        let is_used = |destination: &str| !interest.shards(destination).is_empty();
        self.histories.sweep(self.now_ms, is_used);
        self.metrics.history_bytes.set(self.histories.bytes() as u64);
    }
}
