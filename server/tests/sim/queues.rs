//! What was sent to queues and who got it, and what must hold between the two.
//!
//! A single list of messages, looked through without any index: nothing here resembles the broker.
//! - of all that come of a message, one at most is without `redelivered:true`;
//! - what was acknowledged with a receipt never comes again to anybody;
//! - what was never sent, or not committed, never comes; of a transaction all comes or nothing;
//! - what comes to a subscription for the first time keeps each publisher's order;
//! - what was promised by a receipt is acknowledged, or still there when everybody has left, or
//!   among the dead letters, once and in one place only; except on queues that forget (below);
//! - a bounded queue holds no more than its bound, one with a time to live nothing that is older,
//!   and what they gave up is among the dead letters with the reason;
//! - while an exclusive consumer is there, nothing that is sent meanwhile comes to anybody else;
//! - each request to a service that the service has acknowledged was answered.

use crate::wire::Frame;
use std::collections::{BTreeMap, BTreeSet};

/// The queues. The names of some are what is special about them.
pub const QUEUES: [&str; 12] = [
    "/queue/a",
    "/queue/b",
    "/queue/c",
    "/queue/auto",
    "/topic/shared",
    "/app/work",
    "/queue/short",
    "/queue/brief",
    "/queue/idle",
    "/queue/own",
    "/queue/one",
    "/queue/grave",
];
/// The queue whose consumers may use `ack:auto`: what they have not read may be lost with them.
pub const AUTO: &str = QUEUES[3];
/// The topic of the durable subscription, which everybody shares.
pub const SHARED: &str = QUEUES[4];
/// What service connections serve.
pub const SERVED: &str = QUEUES[5];
/// It drops its oldest beyond [`SHORT_MESSAGES_MAX`].
pub const SHORT: &str = QUEUES[6];
/// Its messages live for three seconds.
pub const BRIEF: &str = QUEUES[7];
/// It ends when nobody has used it for two seconds.
const IDLE: &str = QUEUES[8];
/// It ends with its last consumer.
const OWN: &str = QUEUES[9];
/// Its consumers may be exclusive.
pub const ONE: &str = QUEUES[10];
/// The dead letters, which nobody consumes before the end.
pub const GRAVE: &str = QUEUES[11];

/// Messages that [`SHORT`] holds.
pub const SHORT_MESSAGES_MAX: usize = 6;

/// What is asked of a queue in a SUBSCRIBE, and in each SEND if it may end at any time.
pub fn arguments(queue: &str) -> &'static [(&'static str, &'static str)] {
    match queue {
        SHORT => &[("x-max-length", "6"), ("x-max-length-bytes", "4000")],
        BRIEF => &[("x-message-ttl", "3000")],
        IDLE => &[("x-expires", "2000")],
        OWN => &[("auto-delete", "true")],
        _ => &[],
    }
}

/// Is a queue made by whoever comes first? The others are there from the beginning to the end.
pub fn is_declared_by_send(queue: &str) -> bool {
    queue == IDLE || queue == OWN
}

/// May what was promised get lost?
fn is_forgetful(queue: &str) -> bool {
    [AUTO, IDLE, OWN].contains(&queue)
}

/// What became of a message in its queue, or of its dead letter.
#[derive(Debug, Default)]
pub struct Part {
    pub is_seen: bool,
    /// It came without `redelivered:true`. (A client may read that after another one, to whom it
    /// went next, has read its own.)
    is_seen_first: bool,
    /// An ACK was handed to the socket.
    pub is_acknowledged: bool,
    /// And its RECEIPT came.
    pub is_settled: bool,
}

/// One SEND to a queue.
#[derive(Debug)]
pub struct Message {
    pub publisher: usize,
    pub queue: &'static str,
    pub body: Vec<u8>,
    /// Its place among all that were handed to a socket (in a transaction: with COMMIT), and the
    /// simulation's step.
    pub sent: Option<(u64, u64)>,
    /// The transaction it belongs to.
    pub transaction: Option<usize>,
    /// Its RECEIPT, or that of its COMMIT, came.
    pub is_promised: bool,
    /// In its queue.
    pub own: Part,
    letter: Part,
    /// A NACK said that nobody is to have it.
    pub is_rejected: bool,
    /// Its sender wants an answer.
    pub is_request: bool,
    pub is_answered: bool,
}

/// An exclusive consumer.
struct Exclusive {
    client: usize,
    id: String,
    queue: &'static str,
    /// The step in which its RECEIPT came.
    live: u64,
    /// The step in which it was told to end.
    over: Option<u64>,
}

/// A subscription as the history knows it.
pub struct Consumer<'a> {
    pub client: usize,
    pub id: &'a str,
    pub is_exclusive: bool,
    /// Its client has sent DISCONNECT, and reads what was on its way: others may have it by now.
    pub is_leaving: bool,
    /// What it has seen: the last place of each publisher.
    pub places: &'a mut BTreeMap<usize, u64>,
}

/// Everything that happened to queues.
#[derive(Default)]
pub struct QueueHistory {
    pub messages: Vec<Message>,
    pub deliveries_count: usize,
    /// Dead letters by the reason they tell.
    pub letters: BTreeMap<String, u64>,
    pub answers_count: u64,
    /// Clients that read a message after its ACK's RECEIPT had come.
    late: Vec<(usize, usize)>,
    exclusives: Vec<Exclusive>,
    /// Exclusive consumers, and messages that came to others while those seemed to be there.
    intrusions: Vec<(usize, usize)>,
    sent_count: u64,
    transactions_count: usize,
}

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
            own: Part::default(),
            letter: Part::default(),
            is_rejected: false,
            is_request: false,
            is_answered: false,
        });
        number
    }

    /// It, or the COMMIT that makes it one, goes to the socket.
    pub fn send(&mut self, number: usize, step: u64) {
        self.sent_count += 1;
        self.messages[number].sent = Some((self.sent_count, step));
    }

    /// A transaction is committed: these go to the socket together.
    pub fn commit(&mut self, numbers: &[usize], step: u64) {
        self.transactions_count += 1;
        for &number in numbers {
            self.send(number, step);
            self.messages[number].transaction = Some(self.transactions_count);
        }
    }

    /// An exclusive consumer is there.
    pub fn begin_exclusive(&mut self, client: usize, id: &str, queue: &'static str, step: u64) {
        let (id, live, over) = (id.to_string(), step, None);
        self.exclusives.push(Exclusive { client, id, queue, live, over });
    }

    /// The exclusive consumers of a client, or that of this id, are told to end.
    pub fn end_exclusive(&mut self, client: usize, id: Option<&str>, step: u64) {
        for one in self.exclusives.iter_mut().filter(|one| one.client == client) {
            if id.is_none_or(|id| id == one.id) {
                one.over.get_or_insert(step);
            }
        }
    }

    /// A MESSAGE came: is it one that may come? Gives its number.
    pub fn receive(&mut self, consumer: Consumer<'_>, frame: &Frame<'_>) -> usize {
        let Consumer { client, id, is_exclusive, is_leaving, places } = consumer;
        let who = format!("subscription {id} of client {client}");
        let number = number_of(frame).unwrap_or_else(|| panic!("{who}: a body of nobody's"));
        let message = self.messages.get_mut(number).expect("a message that was made");
        assert_eq!(frame.body, message.body, "{who}: body of {number}");
        let (place, step) =
            message.sent.unwrap_or_else(|| panic!("{who}: {number} is not committed"));
        let is_letter = frame.header("destination") == Some(GRAVE);
        let part = if is_letter { &mut message.letter } else { &mut message.own };
        if part.is_settled && !is_leaving {
            self.late.push((client, number));
        }
        let is_first = frame.header("redelivered") == Some("false");
        assert!(is_first || frame.header("redelivered") == Some("true"), "{who}: {number}");
        assert!(
            !(is_first && part.is_seen_first),
            "{who}: {number} came again and does not say so"
        );
        part.is_seen = true;
        part.is_seen_first |= is_first;
        self.deliveries_count += 1;
        if is_letter {
            let reason = frame.header("x-death-reason").unwrap_or_default();
            *self.letters.entry(reason.to_string()).or_default() += 1;
            let grave = frame.header("x-death-destination");
            assert_eq!(grave, Some(message.queue), "{who}: where {number} died");
            check_death(&who, number, message, reason);
            return number;
        }
        assert_eq!(frame.header("destination"), Some(message.queue), "{who}: {number}");
        if is_first {
            let last = places.insert(message.publisher, place);
            assert!(last < Some(place), "{who}: {number} overtook its publisher's earlier one");
        }
        if !is_exclusive {
            let queue = message.queue;
            let is_alone =
                |one: &&Exclusive| one.queue == queue && one.live < step && one.over.is_none();
            let intrusion = self.exclusives.iter().find(is_alone);
            self.intrusions.extend(intrusion.map(|one| (one.client, number)));
        }
        number
    }

    /// An answer came to this client.
    pub fn receive_answer(&mut self, client: usize, frame: &Frame<'_>) {
        let number = number_of(frame).unwrap_or_else(|| panic!("client {client}: no answer"));
        let message = self.messages.get_mut(number).expect("a message that was made");
        assert!(message.is_request, "client {client}: {number} was no request");
        assert_eq!(message.publisher, client, "the answer to {number} came to client {client}");
        message.is_answered = true;
        self.answers_count += 1;
    }

    /// All is quiet. `is_well` says of a client that it is there and was never disturbed.
    pub fn check_answers(&self, is_well: impl Fn(usize) -> bool) {
        for (number, message) in self.messages.iter().enumerate() {
            let is_due = message.is_request && message.own.is_settled && is_well(message.publisher);
            assert!(!is_due || message.is_answered, "{number} is served and has no answer");
        }
    }

    /// Everybody has left and the rest was collected: checks what must not be lost; queues may have
    /// been full if they are `small`. `is_well` says of a client that nobody disturbed it.
    pub fn check(&self, collected: &BTreeSet<usize>, small: bool, is_well: impl Fn(usize) -> bool) {
        // Who was ended, and has not read so far, may read what others got and acknowledged since.
        let late = self.late.iter().find(|(client, _)| is_well(*client));
        assert_eq!(late, None, "(client, message): it came after its ACK's RECEIPT");
        let intrusion = self.intrusions.iter().find(|(client, _)| is_well(*client));
        assert_eq!(intrusion, None, "(client, message): it was not the only consumer");
        // Dead letters, too, may not have had room.
        let may_lose = |queue| is_forgetful(queue) || (small && queue == SHARED);
        let mut transactions: BTreeMap<usize, BTreeSet<bool>> = BTreeMap::new();
        for (number, message) in self.messages.iter().enumerate() {
            let Message { queue, own, letter, .. } = message;
            let is_here = collected.contains(&number);
            assert!(!(is_here && letter.is_seen), "{number} on {queue} is dead and alive");
            assert!(!(own.is_settled && letter.is_seen), "{number} on {queue} was ACKed and died");
            let is_there = own.is_acknowledged || is_here || letter.is_seen;
            let is_given_up = small && (message.is_rejected || !arguments(queue).is_empty());
            assert!(
                is_there || !message.is_promised || may_lose(queue) || is_given_up,
                "{number} was lost: {message:?}"
            );
            if let Some(transaction) =
                message.transaction.filter(|_| !may_lose(queue) && !is_given_up)
            {
                let is_seen = own.is_seen || letter.is_seen;
                transactions.entry(transaction).or_default().insert(is_seen);
            }
        }
        let half = transactions.iter().find(|(_, seen)| seen.len() > 1);
        assert!(half.is_none(), "half of a transaction came: {half:?}");
        let left = |queue: &str| {
            collected.iter().filter(|&&number| self.messages[number].queue == queue).count()
        };
        assert!(left(SHORT) <= SHORT_MESSAGES_MAX, "{} are left on {SHORT}", left(SHORT));
        assert_eq!((left(BRIEF), left(IDLE)), (0, 0), "all that were left are too old");
    }
}

/// The number that a body begins with.
fn number_of(frame: &Frame<'_>) -> Option<usize> {
    let text: Vec<u8> = frame.body.iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(text).ok()?.parse().ok()
}

/// May a message of this queue die like that?
fn check_death(who: &str, number: usize, message: &Message, reason: &str) {
    let may_die = match reason {
        "expired" => message.queue == BRIEF,
        "rejected" => message.is_rejected,
        "overflow" => [SHORT, SHARED].contains(&message.queue),
        "deliveries" => true,
        _ => false,
    };
    assert!(may_die, "{who}: {number} of {} died of {reason:?}", message.queue);
}
