//! One simulated client: a state machine over WebSocket, raw TCP or SockJS in memory.
//!
//! It subscribes, publishes, acknowledges and leaves by chance, and checks what only it can see:
//! receipts in order and once, pongs, heart-beats, no ERROR it did not earn. While it behaves well
//! the server may not end it, whatever the others do. At a step chosen beforehand its [`Fate`]
//! strikes; from then on it may be ended (but not served wrongly).

mod fate;
mod queues;
mod topics;

pub use fate::Fate;

use crate::history::History;
use crate::line::{Line, Way};
use crate::queues::{QUEUES, SHARED};
use crate::wire::{self, opcode, Frame};
use queues::{QueueSubscription, ANSWERS};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use stompede::reactor::sim::{Read, Rng};
use topics::{Ack, Subscription, Transaction};

/// Milliseconds between two heart-beats of those who send them.
const BEAT_MS: u64 = 2_000;

/// Steps (of all clients) without a frame after which nothing more is on its way to a client.
const QUIET_STEPS: u64 = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Behaves well: may not be ended.
    Healthy,
    /// Sent DISCONNECT: gets its receipts, then the end.
    Leaving,
    /// May be ended.
    Tolerant,
    /// Reads nothing.
    Stalled,
    /// Does nothing.
    Vanished,
    /// Gone.
    Dead,
}

enum What {
    Subscribed(usize),
    Unsubscribed(usize),
    Ordered(usize),
    /// These messages are in their queues.
    Queued(Vec<usize>),
    /// These deliveries are settled.
    Settled(Vec<usize>),
    Consuming(String),
    LeftQueue(String),
    Other,
}

struct Expected {
    receipt: String,
    what: What,
    /// Publications of frames up to this number are acknowledged with it.
    frame: u64,
}

/// See the module.
pub struct Client {
    pub number: usize,
    pub fate: Fate,
    pub fate_step: u64,
    line: Line,
    rng: Rng,
    version: &'static str,
    is_ws: bool,
    is_upgraded: bool,
    is_open: bool,
    does_beat: bool,
    mood: Mood,
    out: Vec<u8>,
    raw: Vec<u8>,
    frames_count: u64,
    names_count: u64,
    expected: VecDeque<Expected>,
    unacknowledged: VecDeque<(u64, usize)>,
    subscriptions: Vec<Subscription>,
    /// By subscription id, those unsubscribed too.
    streams: BTreeMap<String, usize>,
    transaction: Option<Transaction>,
    queues: Vec<QueueSubscription>,
    collected: BTreeSet<usize>,
    pings: Vec<Vec<u8>>,
    last_frame_step: u64,
    last_out_ms: u64,
    last_heard_ms: u64,
    stalled_until_ms: u64,
    read_bytes_max: usize,
    /// SUBSCRIBEs that did not recover, and those that did.
    pub recoveries: [u64; 2],
    /// Does somebody listen who gets text only?
    pub is_text_only: bool,
    /// Canaries do nothing but listen (and publish a little).
    is_canary: bool,
    /// Was it ended though it behaved well?
    pub was_too_slow: bool,
    /// Was it never ended but by its own DISCONNECT?
    pub is_well: bool,
}

impl Client {
    /// Connects by `way`.
    pub fn new(number: usize, way: Way, seed: u64, fate: Fate) -> Client {
        let mut rng = Rng::new(seed ^ (number as u64) << 32);
        let window_bytes = 4096 << rng.below(6);
        let is_ws = matches!(way, Way::WebSocket(_));
        let line = Line::new(way, window_bytes, rng.next_u64());
        let version = ["1.2", "1.2", "1.1", "1.0"][rng.below(4)];
        let mut client = Client {
            number,
            fate,
            fate_step: 0,
            line,
            version,
            is_ws,
            is_upgraded: false,
            is_open: false,
            // STOMP 1.0 has no heart-beats.
            does_beat: version != "1.0" && rng.chance(600),
            rng,
            mood: Mood::Healthy,
            out: Vec::new(),
            raw: Vec::new(),
            frames_count: 0,
            names_count: 0,
            expected: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            subscriptions: Vec::new(),
            streams: BTreeMap::new(),
            transaction: None,
            queues: Vec::new(),
            collected: BTreeSet::new(),
            pings: Vec::new(),
            last_frame_step: 0,
            last_out_ms: 0,
            last_heard_ms: 0,
            stalled_until_ms: 0,
            read_bytes_max: usize::MAX,
            recoveries: [0; 2],
            is_text_only: false,
            is_canary: false,
            was_too_slow: false,
            is_well: true,
        };
        client.open();
        client
    }

    /// Turns a client into a canary: all its luck is taken away, it hears everything.
    pub fn canary(mut self, history: &mut History) -> Client {
        self.is_canary = true;
        self.line.spare();
        self.subscribe(history, "/topic/**", Ack::Auto);
        self.declare_queues();
        self
    }

    /// Is it on its way in or out?
    pub fn is_in_between(&self) -> bool {
        self.mood == Mood::Leaving || (self.mood == Mood::Healthy && !self.is_open)
    }

    /// Is it there, and was it never disturbed?
    pub fn is_undisturbed(&self) -> bool {
        self.mood == Mood::Healthy && self.is_well
    }

    /// Is it gone?
    pub fn is_dead(&self) -> bool {
        self.mood == Mood::Dead
    }

    /// Is all it asked for answered, or will it never be?
    pub fn is_settled(&self, history: &History) -> bool {
        let is_receiving = history.step < self.last_frame_step + QUIET_STEPS;
        let is_written = self.out.is_empty() && self.line.is_idle();
        let lacks_snapshot = self.subscriptions.iter().any(|subscription| {
            let stream = &history.streams[subscription.stream];
            stream.has_snapshot && stream.snapshot.is_none()
        });
        let is_waiting = lacks_snapshot || !is_written || !self.expected.is_empty() || is_receiving;
        match self.mood {
            Mood::Healthy => self.is_open && !is_waiting && self.pings.is_empty(),
            Mood::Leaving => false,
            _ => true,
        }
    }

    /// Everything is quiet: what a healthy client subscribed to must be complete.
    pub fn mark_complete(&self, history: &mut History) {
        if self.mood == Mood::Healthy {
            for subscription in &self.subscriptions {
                // What a window holds back is not lost.
                let is_whole = subscription.is_live && subscription.window.is_none();
                history.streams[subscription.stream].is_complete = is_whole;
            }
        }
    }

    /// The clock jumped: what was heard before counts for nothing.
    pub fn forget_beats(&mut self, now_ms: u64) {
        self.last_heard_ms = now_ms;
    }

    /// From now on the server may end it (drain).
    pub fn tolerate(&mut self) {
        if matches!(self.mood, Mood::Healthy | Mood::Leaving) {
            self.mood = Mood::Tolerant;
            self.is_well = false;
        }
    }

    /// One step: read, answer, act (if `may_act`), write.
    pub fn step(&mut self, history: &mut History, now_ms: u64, may_act: bool) {
        if self.mood == Mood::Stalled && now_ms > self.stalled_until_ms {
            self.mood = Mood::Tolerant;
        }
        if matches!(self.mood, Mood::Dead | Mood::Vanished) {
            return;
        }
        if self.mood != Mood::Stalled {
            self.read(history, now_ms);
        }
        if may_act && self.is_open && self.mood == Mood::Healthy {
            self.act(history, now_ms);
        }
        self.beat(now_ms);
        self.write(now_ms);
    }

    /// Leaves: properly if healthy, by its system's time-out else.
    pub fn leave(&mut self, history: &mut History) {
        match self.mood {
            Mood::Healthy => self.disconnect(history),
            Mood::Leaving | Mood::Dead => {}
            Mood::Tolerant | Mood::Stalled | Mood::Vanished => self.vanish(libc::ETIMEDOUT),
        }
    }

    fn vanish(&mut self, errno: i32) {
        self.line.reset(errno);
        self.mood = Mood::Dead;
    }

    fn open(&mut self) {
        if self.fate == Fate::Mute {
            self.mood = Mood::Tolerant;
            return;
        }
        if self.fate == Fate::Slow {
            self.read_bytes_max = 1500;
        }
        if self.is_ws {
            self.out.extend_from_slice(
                b"GET /ws HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                  Sec-WebSocket-Protocol: v12.stomp\r\n\r\n",
            );
        }
        let beats = if self.does_beat { "2000,2000" } else { "0,0" };
        let headers = [("accept-version", self.version), ("host", "sim"), ("heart-beat", beats)];
        // Some do not wait for the 101 before they go on.
        self.push_frame("CONNECT", &headers, b"");
    }

    fn push_frame(&mut self, command: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.frames_count += 1;
        let bytes = wire::stomp(command, headers, body);
        if !self.is_ws {
            self.out.extend(bytes);
            return;
        }
        // A frame is a message, or the pieces of it are (stompjs splits large ones).
        let cut = if self.rng.chance(100) { self.rng.below(bytes.len()) } else { 0 };
        for piece in [&bytes[..cut], &bytes[cut..]] {
            if !piece.is_empty() {
                self.out.extend(wire::ws_message(&mut self.rng, piece, &mut self.pings));
            }
        }
    }

    fn name(&mut self, kind: &str) -> String {
        self.names_count += 1;
        format!("{kind}{}", self.names_count)
    }

    fn expect(&mut self, receipt: String, what: What) {
        self.expected.push_back(Expected { receipt, what, frame: self.frames_count });
    }

    fn write(&mut self, now_ms: u64) {
        let count = match self.rng.below(4) {
            0 => self.rng.below(self.out.len() + 1),
            1 => self.out.len().min(1 + self.rng.below(20)),
            _ => self.out.len(),
        };
        if count > 0 {
            self.last_out_ms = now_ms;
            let taken = self.line.write(&self.out[..count]);
            self.out.drain(..taken);
        }
    }

    fn beat(&mut self, now_ms: u64) {
        let is_due = self.does_beat && self.is_open && now_ms >= self.last_out_ms + BEAT_MS / 2;
        if !is_due || !self.out.is_empty() || self.mood == Mood::Leaving {
            return;
        }
        if self.is_ws {
            let bytes = wire::ws_message(&mut self.rng, b"\n", &mut self.pings);
            self.out.extend(bytes);
        } else {
            self.out.push(b'\n');
        }
    }

    fn read(&mut self, history: &mut History, now_ms: u64) {
        let who = self.number;
        match self.line.read(self.read_bytes_max) {
            Read::Bytes(bytes) => {
                if !bytes.is_empty() {
                    self.last_heard_ms = now_ms;
                }
                self.raw.extend(bytes);
                self.parse(history);
                let silence_ms = now_ms - self.last_heard_ms;
                let is_owed = self.does_beat && self.is_open && self.mood == Mood::Healthy;
                let is_late = silence_ms > self.line.beats_max() * BEAT_MS;
                assert!(!(is_owed && is_late), "client {who}: no heart-beat for {silence_ms} ms");
            }
            Read::Refused if self.mood == Mood::Healthy && !self.is_open => {
                // Lost before it was accepted: like every client, it tries again.
                self.line.reopen();
                assert!(!self.is_canary, "canaries come before the faults");
                self.out.clear();
                self.pings.clear();
                self.open();
            }
            Read::Refused => self.mood = Mood::Dead,
            end => {
                let (mood, fate) = (self.mood, self.fate);
                let is_well = mood == Mood::Healthy || mood == Mood::Leaving;
                let is_proper =
                    mood == Mood::Leaving && end == Read::End && self.expected.is_empty();
                if is_well && !is_proper {
                    // Only for being too slow; the server counts those, and so do we.
                    assert!(!self.is_canary, "canary {who}: {end:?}");
                    assert!(self.is_open, "client {who} ({fate:?}): {end:?} before CONNECTED");
                    self.was_too_slow = true;
                    self.is_well = false;
                }
                self.line.shutdown_write();
                self.mood = Mood::Dead;
            }
        }
    }

    fn parse(&mut self, history: &mut History) {
        if self.is_ws && !self.is_upgraded {
            let Some(end) = self.raw.windows(4).position(|four| four == b"\r\n\r\n") else {
                return;
            };
            let head = String::from_utf8_lossy(&self.raw[..end]).into_owned();
            assert!(head.starts_with("HTTP/1.1 101 "), "client {}: {head}", self.number);
            self.raw.drain(..end + 4);
            self.is_upgraded = true;
        }
        let mut raw = std::mem::take(&mut self.raw);
        let mut rest = &raw[..];
        if self.is_ws {
            while let Some((code, payload)) = wire::take_ws(&mut rest) {
                self.on_message_of_ws(history, code, payload);
            }
        } else {
            while let Some(frame) = wire::take_stomp(&mut rest) {
                self.on_frame(history, &frame);
            }
        }
        let taken = raw.len() - rest.len();
        raw.drain(..taken);
        self.raw = raw;
    }

    fn on_message_of_ws(&mut self, history: &mut History, code: u8, mut payload: &[u8]) {
        match code {
            opcode::PING => {
                let pong = wire::ws_frame(&mut self.rng, opcode::PONG, true, payload);
                self.out.extend(pong);
            }
            opcode::PONG => {
                // Garbage may be a ping by chance.
                let is_ours = self.pings.first().is_some_and(|ping| *ping == payload);
                assert!(is_ours || self.mood == Mood::Tolerant, "client {}", self.number);
                self.pings.drain(..usize::from(is_ours));
            }
            opcode::CLOSE => {
                assert!(self.mood != Mood::Healthy, "client {}: closed", self.number);
            }
            _ => {
                while let Some(frame) = wire::take_stomp(&mut payload) {
                    self.on_frame(history, &frame);
                }
                assert!(payload.is_empty(), "a message holds whole frames");
            }
        }
    }

    fn on_frame(&mut self, history: &mut History, frame: &Frame<'_>) {
        match frame.command {
            "CONNECTED" => {
                assert!(!self.is_open, "client {}: CONNECTED twice", self.number);
                assert_eq!(frame.header("version"), Some(self.version));
                self.is_open = true;
            }
            "RECEIPT" => self.on_receipt(history, frame),
            "MESSAGE" => self.on_message(history, frame),
            "ERROR" => {
                let body = String::from_utf8_lossy(frame.body);
                // A queue may be full; that is the end of the publisher.
                if frame.header("message") == Some("Queue full") {
                    self.tolerate();
                    return;
                }
                let is_deserved = self.mood != Mood::Healthy && self.mood != Mood::Leaving;
                assert!(is_deserved, "client {} ({:?}): {body}", self.number, self.fate);
            }
            other => panic!("client {}: {other} is no server's frame", self.number),
        }
    }

    fn on_receipt(&mut self, history: &mut History, frame: &Frame<'_>) {
        let receipt = frame.header("receipt-id");
        let expected = self.expected.pop_front();
        let wanted = expected.as_ref().map(|expected| expected.receipt.as_str());
        assert_eq!(receipt, wanted, "client {}: receipts come in order, once", self.number);
        let Some(expected) = expected else { return };
        while self.unacknowledged.front().is_some_and(|(frame, _)| *frame <= expected.frame) {
            let (_, number) = self.unacknowledged.pop_front().expect("there is a front");
            history.publications[number].is_acknowledged = true;
        }
        // What a subscription brings comes behind its RECEIPT.
        self.last_frame_step = history.step;
        match expected.what {
            What::Subscribed(stream) => {
                if let Some(is_recovered) = history.subscribed(stream, frame) {
                    self.recoveries[usize::from(is_recovered)] += 1;
                }
                for subscription in &mut self.subscriptions {
                    subscription.is_live |= subscription.stream == stream;
                }
            }
            What::Unsubscribed(stream) => history.streams[stream].is_over = true,
            What::Ordered(number) => {
                history.publications[number].ordered = Some(history.step);
            }
            What::Queued(numbers) => {
                for number in numbers {
                    history.queues.messages[number].is_promised = true;
                }
            }
            What::Settled(numbers) => {
                for number in numbers {
                    history.queues.messages[number].own.is_settled = true;
                }
            }
            What::Consuming(id) => self.on_consuming(history, &id),
            What::LeftQueue(id) => self.on_left_queue(&id),
            What::Other => {}
        }
    }

    fn on_message(&mut self, history: &mut History, frame: &Frame<'_>) {
        if frame.header("subscription") == Some(ANSWERS) {
            self.last_frame_step = history.step;
            return history.queues.receive_answer(self.number, frame);
        }
        if frame.header("destination").is_some_and(|to| QUEUES.contains(&to)) {
            // The shared topic reaches who subscribed to its pattern, too, as any other does.
            let is_other = frame.header("destination") == Some(SHARED)
                && !self.consumes(frame.header("subscription"));
            if !is_other {
                self.on_queue_message(history, frame);
            }
            return;
        }
        let number = self.number;
        let id = frame.header("subscription").expect("MESSAGE names its subscription");
        let stream = self.streams.get(id).copied();
        let stream = stream.unwrap_or_else(|| panic!("client {number} has no subscription {id}"));
        history.receive(stream, frame);
        self.last_frame_step = history.step;
        let message_id = frame.header("message-id").expect("MESSAGE has its id").to_string();
        let Some(subscription) = self.subscriptions.iter_mut().find(|s| s.stream == stream) else {
            return;
        };
        assert!(subscription.is_live, "client {number}: MESSAGE before SUBSCRIBE's RECEIPT");
        let ack = frame.header("ack").map(str::to_string);
        let is_named = self.version == "1.2" && subscription.ack != Ack::Auto;
        assert_eq!(ack.is_some(), is_named, "client {number}: ack header");
        if subscription.ack != Ack::Auto {
            subscription.pending.push(ack.unwrap_or(message_id));
            let (count, window) = (subscription.pending.len(), subscription.window);
            assert!(window.is_none_or(|most| count <= most), "client {number}: {count} at once");
        }
    }

    fn act(&mut self, history: &mut History, now_ms: u64) {
        if self.fate_step > 0 && history.step >= self.fate_step && !self.is_canary {
            self.fate_step = 0;
            self.strike(history, now_ms);
        }
        if self.mood != Mood::Healthy || self.out.len() > 4096 {
            return;
        }
        if self.fate == Fate::Flood {
            for _ in 0..self.rng.below(40) {
                self.publish(history);
            }
        }
        if self.is_canary {
            if self.rng.chance(50) {
                self.publish(history);
            }
            // One of them is a service that answers.
            return self.settle_some(history);
        }
        match self.rng.below(100) {
            0..=24 => self.publish(history),
            25..=34 => self.subscribe_somewhere(history),
            35..=40 => self.unsubscribe(),
            41..=46 => self.transact(history),
            47..=60 => self.acknowledge(),
            64..=80 => self.act_on_queues(history),
            61..=63 if self.is_ws => {
                let ping = vec![b'p'; self.rng.below(126)];
                let bytes = wire::ws_frame(&mut self.rng, opcode::PING, true, &ping);
                self.out.extend(bytes);
                self.pings.push(ping);
            }
            _ => {}
        }
    }

    fn disconnect(&mut self, history: &mut History) {
        let receipt = self.name("r");
        if self.transaction.is_some() {
            self.transact(history);
        }
        history.queues.end_exclusive(self.number, None, history.step);
        self.push_frame("DISCONNECT", &[("receipt", &receipt)], b"");
        self.expect(receipt, What::Other);
        self.mood = Mood::Leaving;
    }

    fn write_all(&mut self) {
        let taken = self.line.write(&self.out);
        self.out.drain(..taken);
    }
}
