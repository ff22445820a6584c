//! What was sent to queues and who got it, and what must hold between the two.
//!
//! A single list of messages, looked through without any index: nothing here resembles the broker.
//! - of all that come of a message, one at most is without `redelivered:true`;
//! - what was acknowledged with a receipt never comes again to anybody;
//! - what was never sent, or not committed, never comes; of a transaction all comes or nothing;
//! - what comes to a subscription for the first time keeps each publisher's order;
//! - what was promised by a receipt is acknowledged, or still there when everybody has left, except
//!   on the queue whose consumers do not acknowledge, and in a durable subscription that was full.

use crate::wire::Frame;
use std::collections::{BTreeMap, BTreeSet};

/// The queues; consumers of one may use `ack:auto`, and one is a topic's: a durable subscription
/// that everybody shares.
pub const QUEUES: [&str; 5] = ["/queue/a", "/queue/b", "/queue/c", "/queue/auto", "/topic/shared"];
/// The queue whose messages may be lost with a client that has not read them.
pub const AUTO: &str = QUEUES[3];
/// The topic of the durable subscription. Full, it gives its oldest up.
pub const SHARED: &str = QUEUES[4];

/// One SEND to a queue.
pub struct Message {
    pub publisher: usize,
    pub queue: &'static str,
    pub body: Vec<u8>,
    /// Its place among all that were handed to a socket (in a transaction: with COMMIT).
    pub sent: Option<u64>,
    /// The transaction it belongs to.
    pub transaction: Option<usize>,
    /// Its RECEIPT, or that of its COMMIT, came.
    pub is_promised: bool,
    pub is_seen: bool,
    /// It came without `redelivered:true`. (A client may read that after another one, to whom it
    /// went next, has read its own.)
    is_seen_first: bool,
    /// An ACK was handed to the socket.
    pub is_acknowledged: bool,
    /// And its RECEIPT came.
    pub is_settled: bool,
}

/// Everything that happened to queues.
#[derive(Default)]
pub struct QueueHistory {
    pub messages: Vec<Message>,
    pub deliveries_count: usize,
    /// Clients that read a message after its ACK's RECEIPT had come.
    late: Vec<(usize, usize)>,
    sent_count: u64,
    transactions_count: usize,
}

/// What a subscription has seen: the last place of each publisher.
pub type Places = BTreeMap<usize, u64>;

impl QueueHistory {
    /// A new message, not sent yet. Its body begins with its number.
    pub fn publish(&mut self, publisher: usize, queue: &'static str, filler: &[u8]) -> usize {
        let number = self.messages.len();
        let body = [format!("{number} ").as_bytes(), filler].concat();
        self.messages.push(Message {
            publisher,
            queue,
            body,
            sent: None,
            transaction: None,
            is_promised: false,
            is_seen: false,
            is_seen_first: false,
            is_acknowledged: false,
            is_settled: false,
        });
        number
    }

    /// It, or the COMMIT that makes it one, goes to the socket.
    pub fn send(&mut self, number: usize) {
        self.sent_count += 1;
        self.messages[number].sent = Some(self.sent_count);
    }

    /// A transaction is committed: these go to the socket together.
    pub fn commit(&mut self, numbers: &[usize]) {
        self.transactions_count += 1;
        for &number in numbers {
            self.send(number);
            self.messages[number].transaction = Some(self.transactions_count);
        }
    }

    /// A MESSAGE came: is it one that may come? Gives its number.
    pub fn receive(
        &mut self,
        client: usize,
        who: &str,
        places: &mut Places,
        frame: &Frame,
    ) -> usize {
        let text: Vec<u8> = frame.body.iter().copied().take_while(u8::is_ascii_digit).collect();
        let number = String::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
        let number = number.unwrap_or_else(|| panic!("{who} received a body of nobody's"));
        let message = self.messages.get_mut(number).expect("a message that was made");
        assert_eq!(frame.body, message.body, "{who}: body of {number}");
        assert_eq!(frame.header("destination"), Some(message.queue), "{who}: {number}");
        let sent = message.sent.unwrap_or_else(|| panic!("{who}: {number} is not committed"));
        if message.is_settled {
            self.late.push((client, number));
        }
        let is_first = frame.header("redelivered") == Some("false");
        assert!(is_first || frame.header("redelivered") == Some("true"), "{who}: {number}");
        assert!(
            !(is_first && message.is_seen_first),
            "{who}: {number} came again and does not say so"
        );
        if is_first {
            let last = places.insert(message.publisher, sent);
            assert!(last < Some(sent), "{who}: {number} overtook its publisher's earlier one");
        }
        message.is_seen = true;
        message.is_seen_first |= is_first;
        self.deliveries_count += 1;
        number
    }

    /// Everybody has left and the rest was collected: checks what must not be lost; queues may have
    /// been full if they are `small`.
    pub fn check(&self, collected: &BTreeSet<usize>, small: bool, is_well: impl Fn(usize) -> bool) {
        // Who was ended, and has not read so far, may read what others got and acknowledged since.
        let late = self.late.iter().find(|(client, _)| is_well(*client));
        assert_eq!(late, None, "(client, message): it came after its ACK's RECEIPT");
        let may_lose = |queue| queue == AUTO || (small && queue == SHARED);
        let mut transactions: BTreeMap<usize, BTreeSet<bool>> = BTreeMap::new();
        for (number, message) in self.messages.iter().enumerate() {
            let is_there = message.is_acknowledged || collected.contains(&number);
            let queue = message.queue;
            assert!(
                is_there || !message.is_promised || may_lose(queue),
                "{number} of client {} on {queue} was lost",
                message.publisher
            );
            if let Some(transaction) = message.transaction.filter(|_| !may_lose(queue)) {
                transactions.entry(transaction).or_default().insert(message.is_seen);
            }
        }
        let half = transactions.iter().find(|(_, seen)| seen.len() > 1);
        assert!(half.is_none(), "half of a transaction came: {half:?}");
    }
}
