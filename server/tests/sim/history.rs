//! What was published and who received it, and what must hold between the two.
//!
//! The steps are the simulation's: each is one action of one client, so "before" is exact. The
//! rules, per destination:
//! - the canaries, who subscribe to everything before the first publication, receive each
//!   publication that its publisher was told of, once, and in one order;
//! - each publisher's own order is kept in it;
//! - every other subscription receives a piece of that order without a gap: nothing twice, nothing
//!   reordered, nothing lost in the middle;
//! - the piece begins no later than the first publication sent after SUBSCRIBE's RECEIPT, and has
//!   nothing that was ordered before SUBSCRIBE was sent;
//! - it reaches the end if the subscription still lives at the end.

use crate::queues::QueueHistory;
use crate::wire::{matches, Frame};
use std::collections::{BTreeMap, BTreeSet};

/// One SEND.
pub struct Publication {
    pub publisher: usize,
    pub destination: &'static str,
    pub body: Vec<u8>,
    /// The step in which it (of a transaction: its COMMIT) was handed to the socket.
    pub sent: Option<u64>,
    /// The step in which its own RECEIPT came: its place in the order is taken.
    pub ordered: Option<u64>,
    /// Did a RECEIPT come for it or for a later frame of its publisher?
    pub is_acknowledged: bool,
}

/// One subscription and what it received.
pub struct Stream {
    pub client: usize,
    pub id: String,
    pub pattern: &'static str,
    /// The step in which SUBSCRIBE was handed to the socket.
    pub asked: u64,
    /// The step in which its RECEIPT came.
    pub live: Option<u64>,
    /// Did UNSUBSCRIBE's RECEIPT come?
    pub is_over: bool,
    /// Was it live, and its client there, when all was quiet?
    pub is_complete: bool,
    pub received: Vec<usize>,
    pub seen: BTreeSet<usize>,
}

/// Everything that happened.
#[derive(Default)]
pub struct History {
    pub step: u64,
    pub publications: Vec<Publication>,
    pub streams: Vec<Stream>,
    /// Publications in the order in which each publisher sent them.
    pub sent: Vec<usize>,
    pub queues: QueueHistory,
}

/// The streams of the canaries, made first.
pub const CANARIES_COUNT: usize = 2;

impl History {
    /// A new publication, not sent yet. Its body begins with its number.
    pub fn publish(&mut self, publisher: usize, destination: &'static str, filler: &[u8]) -> usize {
        let number = self.publications.len();
        let mut body = format!("{number} ").into_bytes();
        body.extend_from_slice(filler);
        let (sent, ordered, is_acknowledged) = (None, None, false);
        let publication =
            Publication { publisher, destination, body, sent, ordered, is_acknowledged };
        self.publications.push(publication);
        number
    }

    /// The publication, or the COMMIT that makes it one, goes to the socket in this step.
    pub fn send(&mut self, number: usize) {
        self.publications[number].sent = Some(self.step);
        self.sent.push(number);
    }

    /// A subscription is asked for in this step.
    pub fn subscribe(&mut self, client: usize, id: &str, pattern: &'static str) -> usize {
        self.streams.push(Stream {
            client,
            id: id.to_string(),
            pattern,
            asked: self.step,
            live: None,
            is_over: false,
            is_complete: false,
            received: Vec::new(),
            seen: BTreeSet::new(),
        });
        self.streams.len() - 1
    }

    /// A MESSAGE came for `stream`: is it one that may come, whole and for the first time?
    pub fn receive(&mut self, stream: usize, frame: &Frame) {
        let stream = &mut self.streams[stream];
        let who = format!("subscription {} of client {}", stream.id, stream.client);
        let text: Vec<u8> = frame.body.iter().copied().take_while(u8::is_ascii_digit).collect();
        let number = String::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
        let number = number.unwrap_or_else(|| panic!("{who} received a body of nobody's"));
        let publication = self.publications.get(number).expect("a publication that was made");
        assert_eq!(frame.body, publication.body, "{who}: body of {number}");
        let destination = frame.header("destination");
        assert_eq!(destination, Some(publication.destination), "{who}: destination of {number}");
        let value = |name: &str| frame.header(name).and_then(|text| text.parse::<usize>().ok());
        assert_eq!(value("number"), Some(number), "{who}: a header of {number}");
        let length = Some(publication.body.len());
        assert_eq!(value("content-length"), length, "{who}: length of {number}");
        assert!(frame.header("receipt").is_none(), "{who}: the publisher's receipt leaked");
        assert!(matches(stream.pattern, publication.destination), "{who}: no match for {number}");
        assert!(publication.sent.is_some(), "{who}: {number} is not committed");
        assert!(!stream.is_over, "{who}: {number} came after UNSUBSCRIBE's RECEIPT");
        assert!(stream.seen.insert(number), "{who}: {number} came twice");
        let ordered = publication.ordered.unwrap_or(u64::MAX);
        assert!(ordered > stream.asked, "{who}: {number} was ordered before SUBSCRIBE");
        stream.received.push(number);
    }

    /// The order of `destination` in what a stream received.
    fn order_in(&self, stream: &Stream, destination: &str) -> Vec<usize> {
        let is_there = |number: &usize| self.publications[*number].destination == destination;
        stream.received.iter().copied().filter(is_there).collect()
    }

    /// Checks all rules, when everything is quiet.
    pub fn check(&self) {
        let destinations: BTreeSet<&str> =
            self.publications.iter().map(|publication| publication.destination).collect();
        for destination in destinations {
            let order = self.order_in(&self.streams[0], destination);
            for canary in &self.streams[1..CANARIES_COUNT] {
                let other = self.order_in(canary, destination);
                assert_eq!(order, other, "the canaries see two orders of {destination}");
            }
            self.check_publishers(destination, &order);
            for stream in &self.streams[CANARIES_COUNT..] {
                self.check_stream(stream, destination, &order);
            }
        }
    }

    fn check_publishers(&self, destination: &str, order: &[usize]) {
        let places: BTreeMap<usize, usize> =
            order.iter().enumerate().map(|(place, &number)| (number, place)).collect();
        let mut last = BTreeMap::new();
        for &number in &self.sent {
            let publication = &self.publications[number];
            if publication.destination != destination {
                continue;
            }
            let Some(&place) = places.get(&number) else {
                let client = publication.publisher;
                assert!(!publication.is_acknowledged, "{number} of client {client} was lost");
                continue;
            };
            let before = last.insert(publication.publisher, place);
            assert!(before < Some(place), "{number} overtook its publisher's earlier one");
        }
    }

    fn check_stream(&self, stream: &Stream, destination: &str, order: &[usize]) {
        if !matches(stream.pattern, destination) {
            return;
        }
        let who = format!("subscription {} of client {}", stream.id, stream.client);
        let received = self.order_in(stream, destination);
        let live = stream.live.unwrap_or(u64::MAX);
        let is_due = |number: &usize| self.publications[*number].sent > Some(live);
        let Some(first) = received.first() else {
            let missed = order.iter().find(|number| stream.is_complete && is_due(number));
            assert_eq!(missed, None, "{who} received nothing of {destination}");
            return;
        };
        let start = order.iter().position(|number| number == first);
        let start = start.unwrap_or_else(|| panic!("{who} received {first}, no canary did"));
        let end = order.len().min(start + received.len());
        assert_eq!(received, order[start..end], "{who}: order of {destination}, or a gap");
        let missed = order[..start].iter().find(|number| is_due(number));
        assert_eq!(missed, None, "{who} missed the beginning of {destination}");
        if stream.is_complete {
            assert_eq!(end, order.len(), "{who} missed the end of {destination}");
        }
    }
}
