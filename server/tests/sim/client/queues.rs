//! What a client does with queues, and as a service; see [`crate::queues`] for the rules.

use super::topics::Ack;
use super::{Client, Mood, What};
use crate::history::History;
use crate::queues::{self, Consumer, AUTO, BRIEF, GRAVE, ONE, QUEUES, SERVED, SHARED, SHORT};
use crate::wire::Frame;
use std::collections::{BTreeMap, BTreeSet};

/// Deliveries of a subscription that names no prefetch.
const PREFETCH_MAX: usize = 1_000;

/// The name under which answers come.
pub(super) const ANSWERS: &str = "/temp-queue/answers";

/// A subscription to a queue.
pub(super) struct QueueSubscription {
    id: String,
    queue: &'static str,
    ack: Ack,
    is_exclusive: bool,
    prefetch: usize,
    /// RECEIPT came, and UNSUBSCRIBE was not sent.
    is_live: bool,
    is_over: bool,
    /// Message and what names the delivery, oldest first.
    pending: Vec<(usize, String)>,
    /// See [`Consumer::places`].
    places: BTreeMap<usize, u64>,
}

impl Client {
    /// Some deed with queues.
    pub(super) fn act_on_queues(&mut self, history: &mut History) {
        match self.rng.below(10) {
            0..=3 => self.send_to_queue(history),
            4 => {
                let queue = self.some_queue();
                let is_auto = queue == AUTO && self.rng.chance(700);
                let explicit = [Ack::Client, Ack::Individual][self.rng.below(2)];
                let ack = if is_auto { Ack::Auto } else { explicit };
                let live = self.queues.iter().filter(|subscription| !subscription.is_over).count();
                if live < 3 {
                    self.consume(queue, ack);
                }
            }
            5 if self.rng.chance(300) => self.leave_queue(history),
            _ => self.settle_some(history),
        }
    }

    /// Any but the dead letters.
    fn some_queue(&mut self) -> &'static str {
        QUEUES[self.rng.below(QUEUES.len() - 1)]
    }

    fn send_to_queue(&mut self, history: &mut History) {
        let queue = self.some_queue();
        let filler = self.filler();
        let number = history.queues.publish(self.number, queue, &filler);
        let body = history.queues.messages[number].body.clone();
        let mut headers = vec![("destination", queue)];
        if queues::is_declared_by_send(queue) {
            headers.extend(queues::arguments(queue));
        }
        if queue == SERVED && self.rng.chance(700) {
            history.queues.messages[number].is_request = true;
            headers.push(("reply-to", ANSWERS));
        }
        let receipt = self.rng.chance(300).then(|| self.name("r"));
        if let Some(receipt) = &receipt {
            headers.push(("receipt", receipt));
        }
        if let Some(mut transaction) = self.transaction.take() {
            let has_room = transaction.queued.len() < 100;
            if has_room && self.rng.chance(700) {
                headers.push(("transaction", &transaction.name));
                self.push_frame("SEND", &headers, &body);
                transaction.receipts.extend(receipt.map(|receipt| (receipt, What::Other)));
                transaction.queued.push(number);
                self.transaction = Some(transaction);
                return;
            }
            self.transaction = Some(transaction);
        }
        history.queues.send(number, history.step);
        self.push_frame("SEND", &headers, &body);
        if let Some(receipt) = receipt {
            self.expect(receipt, What::Queued(vec![number]));
        }
    }

    fn consume(&mut self, queue: &'static str, ack: Ack) {
        let (id, receipt) = (self.name("q"), self.name("r"));
        // A service serves all there is.
        let to = if queue == SERVED { "/app/**" } else { queue };
        let mut headers = vec![
            ("id", id.as_str()),
            ("destination", to),
            ("ack", ack.name()),
            ("receipt", &receipt),
        ];
        headers.extend(queues::arguments(queue));
        let is_exclusive = queue == ONE && self.rng.chance(400);
        if is_exclusive {
            headers.push(("exclusive", "true"));
        }
        let count = 1 + self.rng.below(5);
        let (text, is_named) = (count.to_string(), self.rng.chance(600));
        if is_named {
            headers.push(("prefetch-count", &text));
        }
        if queue == SHARED {
            headers.extend([("durable", "true"), ("x-queue-name", "everybody's")]);
        }
        self.push_frame("SUBSCRIBE", &headers, b"");
        self.expect(receipt, What::Consuming(id.clone()));
        let prefetch = if is_named { count } else { PREFETCH_MAX };
        self.queues.push(QueueSubscription {
            id,
            queue,
            ack,
            is_exclusive,
            prefetch,
            is_live: false,
            is_over: false,
            pending: Vec::new(),
            places: BTreeMap::new(),
        });
    }

    pub(super) fn leave_queue(&mut self, history: &mut History) {
        let live = self.queues.iter_mut().find(|subscription| subscription.is_live);
        let Some(subscription) = live else { return };
        subscription.is_live = false;
        subscription.is_over = true;
        let id = subscription.id.clone();
        history.queues.end_exclusive(self.number, Some(&id), history.step);
        let receipt = self.name("r");
        self.push_frame("UNSUBSCRIBE", &[("id", &id), ("receipt", &receipt)], b"");
        self.expect(receipt, What::LeftQueue(id));
    }

    /// ACK or NACK of something that came, also of a subscription that is over.
    pub(super) fn settle_some(&mut self, history: &mut History) {
        let waiting: Vec<usize> =
            (0..self.queues.len()).filter(|&at| !self.queues[at].pending.is_empty()).collect();
        if waiting.is_empty() {
            return;
        }
        let at = waiting[self.rng.below(waiting.len())];
        let place = self.rng.below(self.queues[at].pending.len());
        let subscription = &mut self.queues[at];
        let id = subscription.id.clone();
        let is_individual = subscription.ack == Ack::Individual;
        let name = subscription.pending[place].1.clone();
        let first = if is_individual { place } else { 0 };
        let covered: Vec<usize> =
            subscription.pending.drain(first..=place).map(|(number, _)| number).collect();
        let mut headers = vec![];
        match self.version {
            "1.2" => headers.push(("id", name.as_str())),
            "1.1" => headers.extend([("message-id", name.as_str()), ("subscription", &id)]),
            _ => headers.push(("message-id", name.as_str())),
        }
        let transaction = self.transaction.as_ref().map(|transaction| transaction.name.clone());
        let transaction = transaction.filter(|_| is_individual && self.rng.chance(300));
        if let Some(name) = &transaction {
            headers.push(("transaction", name));
        }
        let messages = &mut history.queues.messages;
        if self.rng.chance(250) {
            if self.rng.chance(200) {
                covered.iter().for_each(|&number| messages[number].is_rejected = true);
                headers.push(("requeue", "false"));
            }
            self.push_frame("NACK", &headers, b"");
        } else {
            covered.iter().for_each(|&number| messages[number].own.is_acknowledged = true);
            let receipt = self.rng.chance(400).then(|| self.name("r"));
            if let Some(receipt) = &receipt {
                headers.push(("receipt", receipt));
            }
            self.push_frame("ACK", &headers, b"");
            if let Some(receipt) = receipt {
                // Within a transaction it says only that the ACK was understood.
                let settled = if transaction.is_none() { covered } else { Vec::new() };
                self.expect(receipt, What::Settled(settled));
            }
        }
        if let Some(open) = self.transaction.as_mut().filter(|_| transaction.is_some()) {
            open.acks_count += 1;
        }
    }

    /// A MESSAGE whose subscription is to a queue.
    pub(super) fn on_queue_message(&mut self, history: &mut History, frame: &Frame<'_>) {
        let id = frame.header("subscription").expect("MESSAGE names its subscription");
        let (client, who) = (self.number, format!("subscription {id} of client {}", self.number));
        let found = self.queues.iter_mut().find(|subscription| subscription.id == id);
        let subscription = found.unwrap_or_else(|| panic!("{who} is not there"));
        let (is_exclusive, places) = (subscription.is_exclusive, &mut subscription.places);
        let is_leaving = self.mood == Mood::Leaving;
        let consumer = Consumer { client, id, is_exclusive, is_leaving, places };
        let number = history.queues.receive(consumer, frame);
        if subscription.queue != GRAVE {
            self.collected.insert(number);
        }
        self.last_frame_step = history.step;
        assert!(subscription.is_live || subscription.is_over, "{who}: MESSAGE before RECEIPT");
        let message_id = frame.header("message-id").expect("MESSAGE has its id");
        let ack = frame.header("ack");
        let is_named = self.version == "1.2" && subscription.ack != Ack::Auto;
        assert_eq!(ack.is_some(), is_named, "{who}: ack header");
        if subscription.ack != Ack::Auto {
            subscription.pending.push((number, ack.unwrap_or(message_id).to_string()));
            let (count, limit) = (subscription.pending.len(), subscription.prefetch);
            assert!(count <= limit, "{who}: {count} deliveries, prefetch is {limit}");
        }
        if subscription.queue == SERVED && self.mood == Mood::Healthy {
            self.answer(frame);
        }
    }

    /// A service answers what it got, before it acknowledges that.
    fn answer(&mut self, frame: &Frame<'_>) {
        assert!(frame.header("session").is_some(), "a service is told the sender's session");
        if let Some(to) = frame.header("reply-to") {
            assert!(to.starts_with("/reply-queue/"), "{to} can be guessed");
            let end = frame.body.iter().position(|&byte| byte == b' ');
            let number = frame.body[..end.unwrap_or_default()].to_vec();
            self.push_frame("SEND", &[("destination", to)], &number);
        }
    }

    pub(super) fn on_consuming(&mut self, history: &mut History, id: &str) {
        let found = self.queues.iter_mut().find(|other| other.id == id);
        let Some(subscription) = found.filter(|subscription| !subscription.is_over) else { return };
        subscription.is_live = true;
        // Who has said good-bye is not counted on.
        if subscription.is_exclusive && self.mood == Mood::Healthy {
            let queue = subscription.queue;
            history.queues.begin_exclusive(self.number, id, queue, history.step);
        }
    }

    /// UNSUBSCRIBE's RECEIPT came: nothing more may come.
    pub(super) fn on_left_queue(&mut self, id: &str) {
        // What it had may still be acknowledged, but here it is left to come back at the end.
        self.queues.retain(|subscription| subscription.id != id);
    }

    /// Is this id one of a queue's subscription?
    pub(super) fn consumes(&self, id: Option<&str>) -> bool {
        self.queues.iter().any(|subscription| Some(subscription.id.as_str()) == id)
    }

    /// From now on these queues are as they shall be, whoever comes and goes.
    pub(super) fn declare_queues(&mut self) {
        for queue in [SHARED, SHORT, BRIEF] {
            self.consume(queue, Ack::Individual);
        }
    }

    /// Its part as a consumer is over before there is anything in a queue.
    pub fn stop_consuming(&mut self, history: &mut History) {
        while self.queues.iter().any(|subscription| subscription.is_live) {
            self.leave_queue(history);
        }
    }

    /// Is a service from now on.
    pub fn serve(&mut self) {
        self.consume(SERVED, Ack::Individual);
    }

    /// Consumes all queues, to see what is left in them.
    pub fn collector(mut self) -> Client {
        for queue in QUEUES {
            self.consume(queue, Ack::Auto);
        }
        self
    }

    /// All messages of queues that came.
    pub fn collected(&self) -> &BTreeSet<usize> {
        &self.collected
    }

    /// Deliveries of a queue that it has not settled.
    pub fn held(&self, queue: &str) -> usize {
        let own = self.queues.iter().filter(|subscription| subscription.queue == queue);
        own.map(|subscription| subscription.pending.len()).sum()
    }
}
