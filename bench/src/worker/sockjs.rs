//! Sessions of SockJS: frames out of answers, the next request behind each, and a new connection
//! where the server ended the old one in order.
//!
//! Over HTTP a session has one connection that receives, whose record is the client's, and a
//! [`line`] that sends while there is something to say. An answer that ends (a poll's, or that of a
//! stream at its limit) is followed by the next request on the same connection; what the server has
//! meanwhile waits there, so nothing is lost, and the checks of order and gaps prove it.

pub(super) mod line;

use super::check::{Acks, Check};
use super::outbox::Outbox;
use super::{Client, Phase, Worker, NONE};
use crate::clock::Nanos;
use crate::plan::{Plan, Workload};
use crate::wire::sockjs::http::{self, Head, Piece};
use crate::wire::sockjs::{frame, Frame, MessageReader, Requests, SessionName};
use crate::wire::{Inbound, Protocol, Transport};
use line::Line;
use slab::Slab;
use std::io;
use stompede::reactor::Connector;

/// How the answer to a request for frames is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// From its head on.
    Head,
    /// By its pieces; the connection ends behind it if so.
    Pieces { is_last: bool },
    /// It was the last on this connection.
    Over,
}

/// What the sessions of a worker have in common.
pub(super) struct SockJs {
    requests: Requests,
    messages: MessageReader,
    /// The names of this run's sessions begin here.
    names: u64,
    lines: Slab<Line>,
    /// Lines with something to do.
    dirty: Vec<u32>,
    /// Clients that need another connection.
    parted: Vec<u32>,
    text: Vec<u8>,
    joined: Vec<u8>,
}

/// The acknowledgements of a frame.
#[derive(Default)]
struct Settled {
    said: Outbox,
    /// What one ACK for all is about, and how many they are.
    last_head: Vec<u8>,
    count: u64,
}

impl SockJs {
    /// `key` is the WebSocket's; `origin` differs from run to run: servers remember ended sessions.
    pub(super) fn new(plan: &Plan, key: &str, origin: Nanos) -> SockJs {
        let target = &plan.target;
        SockJs {
            requests: Requests::new(target.transport, &target.host, &target.path, key),
            messages: MessageReader {
                is_stomp: plan.protocol == Protocol::Stomp,
                body_bytes: plan.body_bytes,
                needs_head: plan.workload == Workload::Queue,
            },
            names: origin.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ plan.seed,
            lines: Slab::new(),
            dirty: Vec::new(),
            parted: Vec::new(),
            text: Vec::new(),
            joined: Vec::new(),
        }
    }

    fn session(&self, client: &Client) -> SessionName {
        SessionName::new(self.names, client.session.into())
    }
}

impl<R: Connector> Worker<R> {
    fn transport(&self) -> Transport {
        self.plan.target.transport
    }

    /// Takes note of a connection that is a session's, but not its first. Says whether it was one.
    pub(super) fn on_further_connected(&mut self, slot: u32) -> bool {
        match self.clients[slot as usize].phase {
            Phase::Orphan => {
                self.vacate(slot, true);
            }
            Phase::Calling => self.on_line_connected(slot),
            Phase::Rejoining => {
                self.clients[slot as usize].phase = Phase::Live;
                self.ask(slot);
            }
            _ => return false,
        }
        true
    }

    /// Takes note of a connection that failed, if it was a session's and not its first.
    pub(super) fn on_further_failed(&mut self, slot: u32, errno: i32) -> bool {
        let client = self.clients[slot as usize];
        match client.phase {
            Phase::Orphan => {
                self.vacate(slot, false);
            }
            Phase::Calling | Phase::Rejoining => {
                let error = io::Error::from_raw_os_error(errno);
                self.fail(slot, &format!("connect again: {error}"), false);
            }
            _ => return false,
        }
        true
    }

    /// Asks for the session's frames, or to upgrade.
    pub(super) fn ask(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        client.answer = Answer::Head;
        let session = self.sockjs.session(client);
        let requests = &self.sockjs.requests;
        self.outbox.push(slot, |out| requests.receive(out, session));
    }

    /// Reads whole frames from the front of `input` and returns the bytes they took.
    pub(super) fn read_sockjs(
        &mut self,
        slot: u32,
        input: &[u8],
        now: Nanos,
    ) -> Result<usize, String> {
        let mut joined = std::mem::take(&mut self.sockjs.joined);
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            let client = self.clients[slot as usize];
            let used = match (client.phase, self.transport()) {
                (Phase::Free, _) => 0,
                (Phase::Sending, _) => self.read_sent(slot, rest, &mut joined)?,
                (_, Transport::XhrPolling) => self.read_poll(slot, rest, now, &mut joined)?,
                (_, Transport::XhrStreaming) => self.read_stream(slot, rest, now, &mut joined)?,
                _ => self.read_message(slot, rest, now)?,
            };
            at += used;
            if used == 0 {
                break;
            }
        }
        self.sockjs.joined = joined;
        Ok(at)
    }

    /// Reads a WebSocket message.
    fn read_message(&mut self, slot: u32, input: &[u8], now: Nanos) -> Result<usize, String> {
        let step = match self.clients[slot as usize].phase {
            Phase::Upgrading => self.reader.upgrade(input)?,
            _ => self.reader.next(input)?,
        };
        let Some((inbound, used)) = step else { return Ok(0) };
        match inbound {
            Inbound::Message { body, .. } => {
                self.on_sockjs_frame(slot, body, now)?;
                self.control.desk(self.index).frame_bytes = used;
            }
            inbound => self.on_frame(slot, inbound)?,
        }
        Ok(used)
    }

    /// Reads the answer to a poll, and polls again.
    fn read_poll(
        &mut self,
        slot: u32,
        input: &[u8],
        now: Nanos,
        joined: &mut Vec<u8>,
    ) -> Result<usize, String> {
        let Some((answer, used)) = http::answer(input, joined)? else { return Ok(0) };
        check_status(&answer.head, answer.body)?;
        if self.on_lines(slot, answer.body, now)? > 0 {
            let mut desk = self.control.desk(self.index);
            desk.tally.polls += 1;
            desk.frame_bytes = used;
        }
        self.after_answer(slot, answer.head.is_last);
        Ok(used)
    }

    /// Reads the head or a piece of an answer that streams; behind its end asks for the next.
    fn read_stream(
        &mut self,
        slot: u32,
        input: &[u8],
        now: Nanos,
        joined: &mut Vec<u8>,
    ) -> Result<usize, String> {
        let Answer::Pieces { is_last } = self.clients[slot as usize].answer else {
            let Some((head, used)) = http::head(input)? else { return Ok(0) };
            check_status(&head, b"")?;
            if !head.is_chunked {
                return Err("a stream without chunks".into());
            }
            self.clients[slot as usize].answer = Answer::Pieces { is_last: head.is_last };
            return Ok(used);
        };
        let Some((piece, used)) = http::piece(input, joined)? else { return Ok(0) };
        match piece {
            Piece::Lines(lines) => {
                if self.on_lines(slot, lines, now)? > 0 {
                    self.control.desk(self.index).frame_bytes = used;
                }
            }
            Piece::End => self.after_answer(slot, is_last),
        }
        Ok(used)
    }

    fn after_answer(&mut self, slot: u32, is_last: bool) {
        if is_last {
            self.clients[slot as usize].answer = Answer::Over;
            self.sockjs.parted.push(slot);
        } else {
            self.ask(slot);
        }
    }

    /// Takes the frames of a body; returns the deliveries in them.
    fn on_lines(&mut self, slot: u32, lines: &[u8], now: Nanos) -> Result<usize, String> {
        let mut deliveries = 0;
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            deliveries += self.on_sockjs_frame(slot, line, now)?;
        }
        Ok(deliveries)
    }

    /// Takes a frame; returns the deliveries in it.
    fn on_sockjs_frame(&mut self, slot: u32, bytes: &[u8], now: Nanos) -> Result<usize, String> {
        let mut messages = match frame(bytes)? {
            Frame::Heartbeat => return Ok(0),
            Frame::Messages(messages) => messages,
            Frame::Open if self.clients[slot as usize].phase == Phase::Opening => {
                self.log_in(slot);
                return Ok(0);
            }
            Frame::Open => return Err("the server lost the session".into()),
            Frame::Close(close) => {
                let close = String::from_utf8_lossy(close);
                return Err(format!("close from the server: {close}"));
            }
        };
        let (mut deliveries, mut settled) = (0, Settled::default());
        let mut text = std::mem::take(&mut self.sockjs.text);
        let reader = self.sockjs.messages;
        while let Some(raw) = messages.next_raw()? {
            let client = self.clients[slot as usize];
            let is_subscriber = (client.seat as usize) < self.subscribers.len();
            match reader.read(raw, &mut text)? {
                // A subscription may be live before its receipt is here.
                Inbound::Message { head, body }
                    if client.phase >= Phase::Subscribing && is_subscriber =>
                {
                    deliveries += 1;
                    self.take_delivery(slot, head, body, now, &mut settled);
                }
                inbound => self.on_frame(slot, inbound)?,
            }
            if self.clients[slot as usize].phase == Phase::Free {
                settled = Settled::default();
                break;
            }
        }
        self.sockjs.text = text;
        self.say_acks(slot, settled);
        Ok(deliveries)
    }

    /// Checks a delivery, and takes note of its acknowledgement.
    fn take_delivery(
        &mut self,
        slot: u32,
        head: &[u8],
        body: &[u8],
        now: Nanos,
        settled: &mut Settled,
    ) {
        let seat = self.clients[slot as usize].seat;
        let number = self.subscriber_number(seat);
        let Worker { plan, control, blank, streams, writer, ack_frame, watch, .. } = self;
        let mut desk = control.desk(self.index);
        let check = Check::new(plan, control, blank, number, now, self.is_verifying);
        let count = plan.streams_per_subscriber();
        let streams = &mut streams[seat as usize * count..][..count];
        let is_right = check.delivery(head, body, streams, watch, &mut desk);
        if is_right && plan.workload == Workload::Queue {
            let version = plan.version.as_str();
            let mut acks = Acks { mode: plan.ack, version, writer, frame: ack_frame, last: None };
            acks.take(head, slot, &mut settled.said, &mut desk);
            if acks.last.is_some() {
                settled.last_head.clear();
                settled.last_head.extend_from_slice(head);
                settled.count += 1;
            }
        }
    }

    /// Acknowledges what a frame brought.
    fn say_acks(&mut self, slot: u32, mut settled: Settled) {
        let Worker { plan, control, writer, ack_frame, .. } = self;
        if settled.count > 0 {
            let version = plan.version.as_str();
            let last = Some((&settled.last_head[..], settled.count));
            let mut acks = Acks { mode: plan.ack, version, writer, frame: ack_frame, last };
            acks.flush(slot, &mut settled.said, &mut control.desk(self.index));
        }
        if !settled.said.bytes().is_empty() {
            self.say(slot, |_, out| out.extend_from_slice(settled.said.bytes()));
        }
    }

    /// Connects again for sessions and lines that need it, at the end of a turn: slots must not
    /// change their owners while a batch of them is received from.
    pub(super) fn connect_further(&mut self) {
        for slot in std::mem::take(&mut self.sockjs.parted) {
            let client = self.clients[slot as usize];
            if client.phase == Phase::Live && client.answer == Answer::Over {
                self.rejoin(slot);
            } else if client.phase != Phase::Free && client.answer == Answer::Over {
                self.fail(slot, "the server ended the connection of a login", true);
            }
        }
        self.call_lines();
    }

    /// Moves a session to another connection.
    fn rejoin(&mut self, old: u32) {
        let source = self.further_source();
        let target = self.plan.target.address;
        let slot = match self.reactor.connect(target, self.plan.source(source)) {
            Ok(slot) => slot,
            Err(error) => return self.fail(old, &format!("socket: {error}"), true),
        };
        let publisher = self.publisher_of(old);
        let client = self.vacate(old, true);
        self.grow_clients(slot);
        let client = Client {
            phase: Phase::Rejoining,
            partial: NONE,
            is_ready: false,
            answer: Answer::Head,
            ..client
        };
        self.clients[slot as usize] = client;
        if let Some(place) = self.subscribers.get_mut(client.seat as usize) {
            *place = slot;
        }
        if let Some(index) = publisher {
            self.publishers.all[index].join(slot, Vec::new());
        }
        if let Some(line) = self.sockjs.lines.get_mut(client.line as usize) {
            line.receiver = slot;
        }
    }
}

fn check_status(head: &Head, body: &[u8]) -> Result<(), String> {
    if head.status == 200 {
        return Ok(());
    }
    let text = String::from_utf8_lossy(body);
    Err(format!("{} to a request for frames: {}", head.status, text.trim()))
}
