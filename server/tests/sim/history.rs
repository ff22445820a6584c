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
//! - on a topic with a history, each publication has one offset, and those of a subscription follow
//!   each other from where its RECEIPT said: after those the client named, if it recovered;
//! - a conflated subscription receives a part of the order, and is told how many it did not;
//! - a subscription with a selector has a part of the order, as if there were nothing else;
//! - a subscription to a topic with snapshots receives one first, and all that was counted later;
//! - it reaches the end if the subscription still lives at the end and has no window that holds it.

use crate::app::{Via, SNAPSHOT, TOTAL};
use crate::queues::QueueHistory;
use crate::wire::{matches, Frame};
use std::collections::{BTreeMap, BTreeSet};

/// One SEND.
pub struct Publication {
    pub publisher: usize,
    pub destination: &'static str,
    pub body: Vec<u8>,
    pub via: Via,
    /// Does it keep its publisher's order? A task may be done before one that began earlier, and
    /// what goes to mappings comes behind the rest of its transaction.
    pub is_ordered: bool,
    /// For selectors.
    pub kind: &'static str,
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
    /// Do messages wait for it in a queue? Then it has no offsets.
    pub has_queue: bool,
    /// The kind of publication that it selects.
    pub kind: Option<&'static str>,
    /// Does it get a snapshot first?
    pub has_snapshot: bool,
    /// The total that it said.
    pub snapshot: Option<u64>,
    /// Did UNSUBSCRIBE's RECEIPT come?
    pub is_over: bool,
    /// Was it live, and its client there, when all was quiet?
    pub is_complete: bool,
    /// Where it recovers from, if it asks for that.
    pub from_offset: Option<u64>,
    /// The offset that must come next, once its RECEIPT said so.
    pub next_offset: Option<u64>,
    /// By `missed` headers, before the first MESSAGE and after it.
    pub missed: (u64, u64),
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
    /// The publication at each offset of a destination.
    pub offsets: BTreeMap<(&'static str, u64), usize>,
    /// The newest offset and the epoch that some client saw.
    pub positions: BTreeMap<&'static str, (u64, String)>,
    /// The total that each counted publication made.
    pub totals: BTreeMap<usize, u64>,
    /// Snapshots that came.
    pub snapshots_count: usize,
}

/// Does this destination keep a history? A pattern does not.
pub fn has_history(destination: &str) -> bool {
    ["/topic/a", "/topic/c/1", "/topic/c/2"].contains(&destination)
}

/// May deliveries of a subscription to this destination or pattern be given up for newer ones?
pub fn is_conflated(pattern: &str) -> bool {
    pattern == "/topic/gh"
}

/// What came is a part of the order, all between is counted, and the newest came.
fn check_conflated(who: &str, stream: &Stream, received: &[usize], order: &[usize]) {
    let place = |number: &usize| order.iter().position(|other| other == number);
    let places: Option<Vec<usize>> = received.iter().map(place).collect();
    let places = places.unwrap_or_else(|| panic!("{who} received what no canary did"));
    assert!(places.is_sorted(), "{who}: order");
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return };
    let span = last - first + 1;
    let missed = stream.missed.1 as usize;
    assert_eq!(received.len() + missed, span, "{who}: {missed} are said to be missed");
    assert!(stream.missed.0 as usize <= *first, "{who}: more missed than there were");
    assert!(!stream.is_complete || last + 1 == order.len(), "{who} missed the newest");
}

/// The streams of the canaries, made first.
pub const CANARIES_COUNT: usize = 2;

impl History {
    /// A new publication, not sent yet. Its body begins with its number.
    pub fn publish(
        &mut self,
        publisher: usize,
        destination: &'static str,
        via: Via,
        kind: &'static str,
        filler: &[u8],
    ) -> usize {
        let number = self.publications.len();
        let mut body = format!("{number} ").into_bytes();
        body.extend_from_slice(filler);
        self.publications.push(Publication {
            publisher,
            destination,
            body,
            via,
            is_ordered: via != Via::Task,
            kind,
            sent: None,
            ordered: None,
            is_acknowledged: false,
        });
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
            has_queue: false,
            kind: None,
            has_snapshot: false,
            snapshot: None,
            is_over: false,
            is_complete: false,
            from_offset: None,
            next_offset: None,
            missed: (0, 0),
            received: Vec::new(),
            seen: BTreeSet::new(),
        });
        self.streams.len() - 1
    }

    /// A MESSAGE came for `stream`: is it one that may come, whole and for the first time?
    pub fn receive(&mut self, stream: usize, frame: &Frame<'_>) {
        let stream = &mut self.streams[stream];
        let who = format!("subscription {} of client {}", stream.id, stream.client);
        if let Some(total) = frame.header(SNAPSHOT) {
            assert!(stream.has_snapshot, "{who}: a snapshot of nothing");
            assert!(stream.received.is_empty(), "{who}: something overtook the snapshot");
            let before = stream.snapshot.replace(total.parse().expect("a total"));
            assert_eq!(before, None, "{who}: two snapshots");
            self.snapshots_count += 1;
            return;
        }
        let is_due = stream.has_snapshot && stream.snapshot.is_none();
        assert!(!is_due, "{who}: a message before the snapshot");
        let text: Vec<u8> = frame.body.iter().copied().take_while(u8::is_ascii_digit).collect();
        let number = String::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
        let number = number.unwrap_or_else(|| panic!("{who} received a body of nobody's"));
        let publication = self.publications.get(number).expect("a publication that was made");
        assert_eq!(frame.body, publication.body, "{who}: body of {number}");
        let destination = frame.header("destination");
        assert_eq!(destination, Some(publication.destination), "{who}: destination of {number}");
        let value = |name: &str| frame.header(name).and_then(|text| text.parse::<usize>().ok());
        assert_eq!(value("number"), Some(number), "{who}: a header of {number}");
        assert_eq!(frame.header("kind"), Some(publication.kind), "{who}: kind of {number}");
        let is_selected = stream.kind.is_none_or(|kind| kind == publication.kind);
        assert!(is_selected, "{who}: the selector does not match {number}");
        assert_eq!(frame.header(TOTAL).is_some(), publication.via == Via::Count, "{who}");
        if let Some(total) = frame.header(TOTAL) {
            let total = total.parse().expect("a total");
            assert_eq!(*self.totals.entry(number).or_insert(total), total, "{who}: {number}");
        }
        let length = Some(publication.body.len());
        assert_eq!(value("content-length"), length, "{who}: length of {number}");
        assert!(frame.header("receipt").is_none(), "{who}: the publisher's receipt leaked");
        assert!(matches(stream.pattern, publication.destination), "{who}: no match for {number}");
        assert!(publication.sent.is_some(), "{who}: {number} is not committed");
        assert!(!stream.is_over, "{who}: {number} came after UNSUBSCRIBE's RECEIPT");
        assert!(stream.seen.insert(number), "{who}: {number} came twice");
        let ordered = publication.ordered.unwrap_or(u64::MAX);
        let is_recovered = frame.header("recovered").is_some();
        let is_new = ordered > stream.asked || is_recovered;
        assert!(is_new, "{who}: {number} was ordered before SUBSCRIBE");
        let missed = frame.header("missed").map_or(0, |text| text.parse().expect("a count"));
        match stream.received.is_empty() {
            true => stream.missed.0 += missed,
            false => stream.missed.1 += missed,
        }
        stream.received.push(number);
        let offset = frame.header("offset").map(|text| text.parse().expect("an offset"));
        let has_history = !stream.has_queue && has_history(publication.destination);
        assert_eq!(offset.is_some(), has_history, "{who}: offset");
        let Some(offset) = offset else { return };
        let known = *self.offsets.entry((publication.destination, offset)).or_insert(number);
        assert_eq!(known, number, "{who}: two publications at offset {offset}");
        let epoch = frame.header("epoch").expect("an offset has its epoch").to_string();
        let position = self.positions.entry(publication.destination).or_default();
        assert!(position.1.is_empty() || position.1 == epoch, "{who}: another epoch");
        *position = (position.0.max(offset), epoch);
        if let Some(next) = &mut stream.next_offset {
            // What the selector leaves out has its offset, too.
            let is_next = offset == *next || (stream.kind.is_some() && offset > *next);
            assert!(is_next, "{who}: offset {offset}, not {next}: a gap, or twice the same");
            *next = offset + 1;
        }
    }

    /// The RECEIPT of a SUBSCRIBE came; says whether it recovered, if it asked.
    pub fn subscribed(&mut self, stream: usize, frame: &Frame<'_>) -> Option<bool> {
        let stream = &mut self.streams[stream];
        stream.live = Some(self.step);
        let who = format!("subscription {} of client {}", stream.id, stream.client);
        let number = |name: &str| frame.header(name).map(|text| text.parse().expect("a number"));
        let is_recovered = frame.header("recovered").map(|text| text == "true");
        assert_eq!(is_recovered.is_some(), stream.from_offset.is_some(), "{who}: answer");
        assert_eq!(is_recovered == Some(false), frame.header("reason").is_some(), "{who}: reason");
        let newest: Option<u64> = number("offset");
        let has_history = !stream.has_queue && has_history(stream.pattern);
        assert_eq!(newest.is_some(), has_history, "{who}: position");
        stream.next_offset = match is_recovered {
            Some(true) => stream.from_offset.map(|offset| offset + 1),
            _ => newest.map(|offset| offset + 1),
        };
        is_recovered
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
            if !publication.is_ordered {
                continue;
            }
            let before = last.insert(publication.publisher, place);
            assert!(before < Some(place), "{number} overtook its publisher's earlier one");
        }
    }

    /// All that was counted after the snapshot was made has come.
    fn check_snapshot(&self, who: &str, stream: &Stream, order: &[usize]) {
        if !stream.has_snapshot || !stream.is_complete {
            return;
        }
        let snapshot = stream.snapshot.unwrap_or_else(|| panic!("{who} has no snapshot"));
        let is_missed = |number: &&usize| {
            self.totals.get(number) > Some(&snapshot) && !stream.seen.contains(number)
        };
        let missed = order.iter().find(is_missed);
        assert_eq!(missed, None, "{who}: a gap behind the snapshot {snapshot}");
    }

    fn check_stream(&self, stream: &Stream, destination: &str, order: &[usize]) {
        if !matches(stream.pattern, destination) {
            return;
        }
        let who = format!("subscription {} of client {}", stream.id, stream.client);
        let received = self.order_in(stream, destination);
        let is_selected = |number: &&usize| {
            stream.kind.is_none_or(|kind| kind == self.publications[**number].kind)
        };
        let order: Vec<usize> = order.iter().filter(is_selected).copied().collect();
        let order = &order[..];
        self.check_snapshot(&who, stream, order);
        if is_conflated(stream.pattern) {
            return check_conflated(&who, stream, &received, order);
        }
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
