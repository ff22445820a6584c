//! What a client does with topics and with mappings; see [`crate::history`] for the rules.

use super::{Client, What};
use crate::app::{self, Via, TOTALS};
use crate::history::History;
use crate::tunnel::any_text;

/// What there is to publish to.
pub const DESTINATIONS: [&str; 6] =
    ["/topic/a", "/topic/b", "/topic/c/1", "/topic/c/2", "/topic/d/e/f", "/topic/gh"];
/// What there is to subscribe to by pattern.
const PATTERNS: [&str; 6] =
    ["/topic/*", "/topic/c/*", "/topic/**", "/topic/?", "/topic/d/**", "/topic/g?"];
/// What publications may be, for selectors.
const KINDS: [&str; 2] = ["odd", "even"];

/// `ack` of a subscription.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    Auto,
    Client,
    Individual,
}

impl Ack {
    pub(super) fn name(self) -> &'static str {
        match self {
            Ack::Auto => "auto",
            Ack::Client => "client",
            Ack::Individual => "client-individual",
        }
    }
}

pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) stream: usize,
    pub(super) ack: Ack,
    pub(super) is_live: bool,
    /// `prefetch-count`: the topic reaches it through a queue of its own.
    pub(super) window: Option<usize>,
    /// Deliveries to acknowledge, oldest first.
    pub(super) pending: Vec<String>,
}

pub(super) struct Transaction {
    pub(super) name: String,
    publications: Vec<usize>,
    pub(super) acks_count: usize,
    /// Messages for queues.
    pub(super) queued: Vec<usize>,
    /// What the receipts of its SENDs say, in order.
    pub(super) receipts: Vec<(String, What)>,
}

impl Client {
    pub(super) fn filler(&mut self) -> Vec<u8> {
        let length = match self.rng.below(40) {
            0 => 1000 + self.rng.below(4000),
            1..=4 => 0,
            _ => self.rng.below(100),
        };
        if self.rng.chance(200) {
            // Not text: NUL, line ends and all.
            if self.is_text_only {
                return any_text(&mut self.rng, length);
            }
            return (0..length).map(|_| self.rng.next_u64() as u8).collect();
        }
        vec![b'x'; length]
    }

    pub(super) fn publish(&mut self, history: &mut History) {
        let place = self.rng.below(DESTINATIONS.len());
        let (destination, via) = match self.rng.below(20) {
            0 => (TOTALS[self.rng.below(TOTALS.len())], Via::Count),
            1 => (DESTINATIONS[place % 2], Via::Mapping),
            2 => (DESTINATIONS[place % 2], Via::Task),
            _ => (DESTINATIONS[place], Via::Nothing),
        };
        let filler = self.filler();
        let kind = KINDS[self.rng.below(2)];
        let number = history.publish(self.number, destination, via, kind, &filler);
        let body = history.publications[number].body.clone();
        let (text, to) = (number.to_string(), app::mapped(destination, via));
        let mut headers =
            vec![("destination", to.as_str()), ("number", text.as_str()), ("kind", kind)];
        let receipt = self.rng.chance(300).then(|| self.name("r"));
        if let Some(receipt) = &receipt {
            headers.push(("receipt", receipt));
        }
        // What a mapping publishes has its place later than its RECEIPT.
        let what = || if via == Via::Nothing { What::Ordered(number) } else { What::Other };
        if let Some(mut transaction) = self.transaction.take() {
            let has_room = transaction.publications.len() < 100;
            if has_room && self.rng.chance(500) {
                headers.push(("transaction", &transaction.name));
                self.push_frame("SEND", &headers, &body);
                transaction.publications.push(number);
                history.publications[number].is_ordered = via == Via::Nothing;
                transaction.receipts.extend(receipt.map(|receipt| (receipt, what())));
                self.transaction = Some(transaction);
                return;
            }
            self.transaction = Some(transaction);
        }
        history.send(number);
        self.push_frame("SEND", &headers, &body);
        self.unacknowledged.push_back((self.frames_count, number));
        if let Some(receipt) = receipt {
            self.expect(receipt, what());
        }
    }

    /// Subscribes to something.
    pub(super) fn subscribe_somewhere(&mut self, history: &mut History) {
        if self.subscriptions.len() >= 8 {
            return;
        }
        let ack = [Ack::Auto, Ack::Auto, Ack::Client, Ack::Individual][self.rng.below(4)];
        let at = self.rng.below(6);
        match self.rng.below(10) {
            0..=2 => self.subscribe(history, PATTERNS[at], ack),
            3 | 4 => self.subscribe(history, TOTALS[at % TOTALS.len()], ack),
            _ => self.subscribe(history, DESTINATIONS[at], ack),
        }
    }

    pub(super) fn subscribe(&mut self, history: &mut History, to: &'static str, ack: Ack) {
        let (id, receipt) = (self.name("s"), self.name("r"));
        let stream = history.subscribe(self.number, &id, to);
        let mut headers = vec![
            ("id", id.as_str()),
            ("destination", to),
            ("ack", ack.name()),
            ("receipt", &receipt),
        ];
        // Somebody's position, or one some way back: as if it had seen that and lost touch.
        let position = history.positions.get(to).cloned().filter(|_| self.rng.chance(700));
        let back = self.rng.below(30) as u64;
        let position = position.map(|(offset, epoch)| (offset.saturating_sub(back), epoch));
        let from = position.as_ref().map(|(offset, _)| offset.to_string()).unwrap_or_default();
        if let Some((offset, epoch)) = &position {
            history.streams[stream].from_offset = Some(*offset);
            headers.extend([("from-offset", from.as_str()), ("epoch", epoch.as_str())]);
        }
        let window = (ack != Ack::Auto && self.rng.chance(400)).then(|| 1 + self.rng.below(9));
        let prefetch = window.map(|count| count.to_string()).unwrap_or_default();
        if window.is_some() {
            history.streams[stream].has_queue = true;
            headers.push(("prefetch-count", &prefetch));
        }
        let is_total = TOTALS.contains(&to);
        history.streams[stream].has_snapshot = is_total && window.is_none();
        // A snapshot is of no kind.
        let kind = KINDS[self.rng.below(2)];
        let selector = format!("kind = '{kind}'");
        if !is_total && !self.is_canary && self.rng.chance(250) {
            history.streams[stream].kind = Some(kind);
            headers.push(("selector", &selector));
        }
        self.push_frame("SUBSCRIBE", &headers, b"");
        self.expect(receipt, What::Subscribed(stream));
        self.streams.insert(id.clone(), stream);
        let (is_live, pending) = (false, Vec::new());
        self.subscriptions.push(Subscription { id, stream, ack, is_live, window, pending });
    }

    pub(super) fn unsubscribe(&mut self) {
        if self.subscriptions.is_empty() {
            return;
        }
        let at = self.rng.below(self.subscriptions.len());
        if !self.subscriptions[at].is_live {
            return;
        }
        let Subscription { id, stream, .. } = self.subscriptions.remove(at);
        let receipt = self.name("r");
        self.push_frame("UNSUBSCRIBE", &[("id", &id), ("receipt", &receipt)], b"");
        self.expect(receipt, What::Unsubscribed(stream));
    }

    pub(super) fn transact(&mut self, history: &mut History) {
        let Some(transaction) = self.transaction.take() else {
            let name = self.name("t");
            self.push_frame("BEGIN", &[("transaction", &name)], b"");
            let (publications, acks_count) = (Vec::new(), 0);
            let (queued, receipts) = (Vec::new(), Vec::new());
            self.transaction =
                Some(Transaction { name, publications, acks_count, queued, receipts });
            return;
        };
        let receipt = self.name("r");
        let headers = [("transaction", transaction.name.as_str()), ("receipt", &receipt)];
        if self.rng.chance(300) && transaction.acks_count == 0 {
            self.push_frame("ABORT", &headers, b"");
            return self.expect(receipt, What::Other);
        }
        self.push_frame("COMMIT", &headers, b"");
        for number in transaction.publications {
            history.send(number);
            self.unacknowledged.push_back((self.frames_count, number));
        }
        history.queues.commit(&transaction.queued, history.step);
        for (inner, what) in transaction.receipts {
            self.expect(inner, what);
        }
        self.expect(receipt, What::Queued(transaction.queued));
    }

    /// Acknowledges what came for one subscription, now and then within the transaction.
    pub(super) fn acknowledge(&mut self) {
        let waiting: Vec<usize> = (0..self.subscriptions.len())
            .filter(|&at| !self.subscriptions[at].pending.is_empty())
            .collect();
        if waiting.is_empty() {
            return;
        }
        let at = waiting[self.rng.below(waiting.len())];
        let subscription = &mut self.subscriptions[at];
        let id = subscription.id.clone();
        let is_individual = subscription.ack == Ack::Individual;
        let has_queue = subscription.window.is_some();
        let pending = std::mem::take(&mut subscription.pending);
        let last = pending.len() - 1;
        for (at, number) in pending.iter().enumerate() {
            // "all messages before the message are also acknowledged"
            if !is_individual && at != last {
                continue;
            }
            let name = self.transaction.as_ref().map(|transaction| transaction.name.clone());
            let name = name.filter(|_| is_individual && self.rng.chance(300));
            let mut headers = vec![];
            match self.version {
                "1.2" => headers.push(("id", number.as_str())),
                "1.1" => headers.extend([("message-id", number.as_str()), ("subscription", &id)]),
                _ => headers.push(("message-id", number.as_str())),
            }
            if let Some(name) = &name {
                headers.push(("transaction", name));
            }
            // What has a queue would come again.
            let is_nack = self.version != "1.0" && !has_queue && self.rng.chance(100);
            self.push_frame(if is_nack { "NACK" } else { "ACK" }, &headers, b"");
            if let Some(transaction) = self.transaction.as_mut().filter(|_| name.is_some()) {
                transaction.acks_count += 1;
            }
        }
    }
}
