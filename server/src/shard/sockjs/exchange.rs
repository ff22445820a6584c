//! The client's side: one request and its answer, while they wait for the session's home.
//!
//! A receiver's answer begins when the home has said so, and grows by the frames that come. When
//! the socket has taken all of them, the home is told: that opens a stream's window again, or ends
//! the answer. An exchange that ends before its answer does is an abort, and the home is told too.

use super::login::Claim;
use super::{Answer, Ask, Call, Key, Login, ReceiverId, Reply, Written, WRITTEN_COUNT_MAX};
use crate::metrics::{ErrorKind, Protocol};
use crate::reactor::Reactor;
use crate::shard::action::Message;
use crate::shard::connection::{Connection, Phase, Then, NONE};
use crate::shard::reason::DisconnectReason;
use crate::shard::table::Table;
use crate::shard::Shard;
use bytes::Bytes;
use std::sync::Arc;
use stompede_core::http::response;
use stompede_core::outbound::Segment;
use stompede_core::sockjs::error::Error;
use stompede_core::sockjs::frame::{push_prelude, Frame, Wrapping};
use stompede_core::sockjs::headers::{fields, Asked, Outcome};
use stompede_core::sockjs::url::{Route, Transport};

/// Bytes that a client may send behind a request that waits; it is not listened to beyond.
const PIPELINED_BYTES_MAX: usize = 8_192;

/// A request under way.
#[derive(Debug)]
pub struct Exchange {
    pub(super) key: Arc<Key>,
    pub(super) transport: Transport,
    /// The function that jsonp and htmlfile call.
    pub(super) callback: Box<str>,
    pub(super) asked: OwnedAsked,
    pub(super) is_http11: bool,
    pub(super) keep_alive: bool,
    /// The request's number on the connection.
    pub(super) request: u32,
    pub(super) progress: Progress,
    /// As whom the client wants to come, if as anybody.
    pub(super) claim: Option<Box<Claim>>,
}

/// How far the answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing of it yet.
    Asked,
    /// The same, and the client has ended its half of the connection: the home was told.
    Left,
    /// A stream: bytes of frames so far, and of these the ones that the home knows to be sent.
    Begun { bytes: u32, reported_bytes: u32 },
    /// All of it is queued.
    Ended,
}

/// What the header fields of an answer depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnedAsked {
    pub(super) origin: Option<Box<str>>,
    pub(super) request_headers: Option<Box<str>>,
    pub(super) set_cookie: Option<Box<str>>,
}

impl OwnedAsked {
    pub(super) fn borrowed(&self) -> Asked<'_> {
        Asked {
            origin: self.origin.as_deref(),
            request_headers: self.request_headers.as_deref(),
            set_cookie: self.set_cookie.as_deref(),
            ..Asked::default()
        }
    }
}

impl Exchange {
    /// The print of the login that it came with.
    pub(super) fn print(&self) -> u64 {
        self.claim.as_ref().map_or(0, |claim| claim.print)
    }

    fn route(&self) -> Route<'static> {
        Route::Session { session: "", transport: self.transport }
    }

    fn push_head(&self, out: &mut Vec<u8>, outcome: Outcome, body_bytes: u64) {
        let asked = self.asked.borrowed();
        let fields = fields(&self.route(), outcome, &asked);
        if self.transport.is_streaming() && outcome == Outcome::Success {
            response::encode_stream_head(out, 200, &fields, self.is_http11, self.keep_alive);
        } else {
            let status = self.transport.status();
            response::encode_head(out, status, &fields, body_bytes, self.keep_alive);
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.progress, Progress::Asked | Progress::Left) {
            return;
        }
        self.progress = Progress::Begun { bytes: 0, reported_bytes: 0 };
        self.push_head(out, Outcome::Success, 0);
        let mut prelude = Vec::new();
        push_prelude(&mut prelude, self.transport, &self.callback);
        push_piece(out, &prelude, self.is_http11);
    }

    /// Appends a frame as a chunk of a stream, or as the whole answer to a poll. Returns its bytes
    /// as the session counts them.
    fn push_body(&self, out: &mut Vec<u8>, frame: &Frame) -> u32 {
        let wrapping = Wrapping::of(self.transport, &self.callback);
        let frame_bytes = frame.wrapped_bytes(wrapping);
        if !self.transport.is_streaming() {
            self.push_head(out, Outcome::Success, frame_bytes as u64);
            frame.encode(out, wrapping);
        } else {
            let mut body = Vec::with_capacity(frame_bytes);
            frame.encode(&mut body, wrapping);
            push_piece(out, &body, self.is_http11);
        }
        frame_bytes as u32
    }

    fn push_frame(&mut self, out: &mut Vec<u8>, frame: &Frame, is_last: bool) {
        if !self.transport.is_streaming() {
            self.push_body(out, frame);
            self.progress = Progress::Ended;
            return;
        }
        self.begin(out);
        let frame_bytes = self.push_body(out, frame);
        if let Progress::Begun { bytes, .. } = &mut self.progress {
            *bytes = bytes.saturating_add(frame_bytes);
        }
        if is_last {
            if self.is_http11 {
                out.extend_from_slice(response::LAST_CHUNK);
            } else {
                self.keep_alive = false;
            }
            self.progress = Progress::Ended;
        }
    }
}

impl Written {
    fn new(exchange: &Exchange, message: Bytes, segment: Segment, frame_bytes: u32) -> Written {
        let head = (exchange.asked.clone(), exchange.keep_alive);
        let head = (!exchange.transport.is_streaming()).then_some(head);
        let (transport, is_http11) = (exchange.transport, exchange.is_http11);
        Written { message, transport, is_http11, head, segment, frame_bytes }
    }

    /// Was it written for a receiver that gets the same bytes as this one?
    fn is_alike(&self, exchange: &Exchange) -> bool {
        let is_head_same = self.head.as_ref().is_none_or(|(asked, keep_alive)| {
            *asked == exchange.asked && *keep_alive == exchange.keep_alive
        });
        self.transport == exchange.transport && self.is_http11 == exchange.is_http11 && is_head_same
    }

    fn is_of(&self, message: &Bytes) -> bool {
        std::ptr::eq(&raw const *self.message, &raw const **message)
    }
}

fn exchange_of(connections: &mut Table<Connection>, slot: u32) -> Option<&mut Exchange> {
    let waiting = connections[slot as usize].extras.as_mut()?.waiting.as_mut()?;
    match &mut waiting.then {
        Then::SockJs(exchange) => Some(exchange),
        _ => None,
    }
}

impl<R: Reactor> Shard<R> {
    pub(super) fn exchange(&mut self, slot: u32) -> Option<&mut Exchange> {
        exchange_of(&mut self.connections, slot)
    }

    /// Does the connection wait for frames of a session?
    pub(in crate::shard) fn is_receiver(&self, slot: u32) -> bool {
        let extras = self.connections[slot as usize].extras.as_ref();
        match extras.and_then(|extras| extras.waiting.as_ref()).map(|waiting| &waiting.then) {
            Some(Then::SockJs(exchange)) => exchange.transport.is_receiver(),
            _ => false,
        }
    }

    /// May more bytes of a waiting connection be kept?
    pub(in crate::shard) fn has_spill_room(&self, slot: u32) -> bool {
        let spill = self.connections[slot as usize].spill;
        spill == NONE || self.spills[spill as usize].bytes.len() < PIPELINED_BYTES_MAX
    }

    pub(super) fn receiver_id(&self, slot: u32, request: u32) -> ReceiverId {
        let generation = self.connections[slot as usize].generation;
        ReceiverId { shard: self.index as u32, slot, generation, request }
    }

    /// Asks the home of a session; the answer may come before this returns.
    pub(super) fn ask_session_home(&mut self, key: Arc<Key>, from: ReceiverId, ask: Ask) {
        let home = self.home_of_session(&key);
        let call = Call { key, from, ask };
        if home == self.index {
            self.metrics.sockjs_calls_local.inc();
            self.on_call(call);
        } else {
            self.metrics.sockjs_calls_forwarded.inc();
            self.mesh.push(home, Message::SockJsCall(Box::new(call)));
        }
    }

    /// The connection waits from now on for the answer to `ask`.
    pub(super) fn begin_exchange(&mut self, slot: u32, exchange: Exchange, ask: Ask) {
        let (key, from) = (exchange.key.clone(), self.receiver_id(slot, exchange.request));
        self.wait_for(slot, 1, Then::SockJs(Box::new(exchange)));
        self.ask_session_home(key, from, ask);
    }

    /// The home has answered a request of ours.
    pub(in crate::shard) fn on_sockjs_answer(&mut self, to: ReceiverId, answer: Answer) {
        let slot = to.slot;
        if let Answer::Check { key, second, opening } = answer {
            self.look_for(to);
            return self.ask_session_home(key, to, Ask::Checked(second, opening));
        }
        let connection = &self.connections[slot as usize];
        if connection.generation != to.generation || connection.phase != Phase::Waiting {
            // It broke off, which the home was told.
            return;
        }
        if self.exchange(slot).is_none_or(|exchange| exchange.request != to.request) {
            return;
        }
        if let Answer::Frame { frame, is_last } = &answer {
            if self.write_shared(slot, frame, *is_last) {
                return;
            }
        }
        if let Answer::Failed(error) = answer {
            self.count_sockjs_refusal(error);
        }
        let Some(exchange) = self.exchange(slot) else { return };
        let mut out = Vec::new();
        match answer {
            Answer::Check { .. } => return,
            Answer::Retry(opening) => {
                let (key, transport) = (exchange.key.clone(), exchange.transport);
                let login = Login { print: exchange.print(), user: None };
                let peer = self.peers[slot as usize];
                let ask = Ask::Attach { transport, peer, is_checked: true, opening, login };
                return self.ask_session_home(key, to, ask);
            }
            Answer::LogIn(opening) => return self.check_claim(slot, opening),
            Answer::Over => {
                return match exchange.progress {
                    Progress::Left => self.abort(slot, DisconnectReason::PeerClosed),
                    Progress::Begun { .. } => self.end(slot, DisconnectReason::PeerClosed),
                    Progress::Asked | Progress::Ended => {}
                };
            }
            Answer::Begin => exchange.begin(&mut out),
            Answer::Frame { frame, is_last } => exchange.push_frame(&mut out, &frame, is_last),
            Answer::Taken => {
                let body: &[u8] = match exchange.transport {
                    Transport::JsonpSend => b"ok",
                    _ => b"",
                };
                exchange.push_head(&mut out, Outcome::Success, body.len() as u64);
                out.extend_from_slice(body);
                exchange.progress = Progress::Ended;
            }
            Answer::Failed(error) => {
                push_failure(&mut out, exchange, error);
                exchange.progress = Progress::Ended;
            }
        }
        let is_sender = exchange.transport.is_sender();
        self.push_bytes(slot, &out);
        if is_sender {
            self.finish_exchange(slot);
        }
    }

    /// Receives from a connection that waits for frames: it may have ended, unnoticed so far.
    fn look_for(&mut self, receiver: ReceiverId) {
        let slot = receiver.slot;
        let connection = &self.connections[slot as usize];
        let is_it = connection.generation == receiver.generation && self.is_receiver(slot);
        if is_it && self.has_spill_room(slot) {
            let mut piece = vec![0; PIPELINED_BYTES_MAX];
            let mut results = Vec::new();
            self.reactor.recv_batch(&[slot], &mut piece, PIPELINED_BYTES_MAX, &mut results);
            if let Some(result) = results.pop() {
                self.guarded(slot, |shard| shard.on_received(slot, result, &mut piece));
            }
        }
    }

    /// Writes a frame with one message as it was written to others before: a chunk of a stream, or
    /// the whole answer to a poll. Says whether it did: not for other frames, nor where an answer
    /// that streams begins or ends.
    fn write_shared(&mut self, slot: u32, frame: &Frame, is_last: bool) -> bool {
        let Frame::Messages(messages) = frame else { return false };
        let Some(message) = messages.single() else { return false };
        let Some(exchange) = exchange_of(&mut self.connections, slot) else { return false };
        let is_poll = exchange.transport == Transport::Xhr && exchange.progress == Progress::Asked;
        let is_begun = matches!(exchange.progress, Progress::Begun { .. });
        if !is_poll && (!is_begun || is_last) {
            return false;
        }
        let known = &mut self.sessions.written;
        let place = known.iter().position(|last| last.is_alike(exchange));
        let last = place.map(|place| &known[place]);
        let (segment, frame_bytes) = match last.filter(|last| last.is_of(message)) {
            Some(last) => (last.segment, last.frame_bytes),
            None => {
                let mut bytes = Vec::new();
                let frame_bytes = exchange.push_body(&mut bytes, frame);
                let segment = self.arena.append(&[&bytes]);
                self.arena.retain(segment);
                let written = Written::new(exchange, message.clone(), segment, frame_bytes);
                let is_full = known.len() >= WRITTEN_COUNT_MAX;
                if let Some(place) = place.or(is_full.then_some(0)) {
                    self.arena.release(known.swap_remove(place).segment);
                }
                known.push(written);
                (segment, frame_bytes)
            }
        };
        exchange.progress = match exchange.progress {
            Progress::Begun { bytes, reported_bytes } => {
                Progress::Begun { bytes: bytes.saturating_add(frame_bytes), reported_bytes }
            }
            _ => Progress::Ended,
        };
        self.push_segment(slot, segment);
        true
    }

    /// What receivers share is not kept from turn to turn.
    pub(in crate::shard) fn forget_written(&mut self) {
        for last in self.sessions.written.drain(..) {
            self.arena.release(last.segment);
        }
    }

    /// As [`Shard::on_sockjs_answer`], from another shard: the connection goes on by itself.
    pub(in crate::shard) fn on_remote_reply(&mut self, reply: Reply) {
        let Reply { to, answer } = reply;
        self.on_sockjs_answer(to, answer);
        let connection = &self.connections[to.slot as usize];
        if connection.generation == to.generation && connection.phase == Phase::Opening {
            self.resume(to.slot);
        }
    }

    /// All that was queued for a waiting request is sent.
    pub(in crate::shard) fn on_exchange_flushed(&mut self, slot: u32) {
        let Some(exchange) = self.exchange(slot) else { return };
        let (key, request) = (exchange.key.clone(), exchange.request);
        match &mut exchange.progress {
            Progress::Asked | Progress::Left => {}
            Progress::Begun { bytes, reported_bytes } => {
                if bytes > reported_bytes {
                    *reported_bytes = *bytes;
                    let ask = Ask::Sent(*bytes);
                    self.ask_session_home(key, self.receiver_id(slot, request), ask);
                }
            }
            Progress::Ended => {
                // A receiver was listened to all the time, unless it sent too much ahead.
                let is_all_received = self.is_receiver(slot) && self.has_spill_room(slot);
                self.ask_session_home(key, self.receiver_id(slot, request), Ask::Completed);
                self.finish_exchange(slot);
                if !is_all_received {
                    self.resume(slot);
                } else if self.connections[slot as usize].spill != NONE {
                    self.on_stream(slot, &mut [], Self::decode_http);
                }
            }
        }
    }

    /// The answer is queued or sent to its end: the connection takes its next request.
    fn finish_exchange(&mut self, slot: u32) {
        let Some(Then::SockJs(exchange)) = self.stop_waiting(slot) else { return };
        self.finish_answer(slot, exchange.keep_alive && !self.is_draining);
    }

    /// A request that is refused before the home hears of it.
    pub(super) fn fail_exchange(&mut self, slot: u32, exchange: &Exchange, error: Error) {
        let mut out = Vec::new();
        push_failure(&mut out, exchange, error);
        self.count_sockjs_refusal(error);
        self.push_bytes(slot, &out);
        self.finish_answer(slot, exchange.keep_alive);
    }

    pub(super) fn count_sockjs_refusal(&self, error: Error) {
        if let Some(kind) = ErrorKind::of_sockjs(error) {
            self.metrics.protocol_error(Protocol::SockJs, kind);
        }
    }

    /// The client of a connection has ended its half. If it waits for frames and nothing is known
    /// of them, the home is asked first: an answer may be on its way. Says whether to wait for it.
    pub(in crate::shard) fn leave_receiver(&mut self, slot: u32) -> bool {
        if !self.is_receiver(slot) {
            return false;
        }
        let Some(exchange) = self.exchange(slot) else { return false };
        match exchange.progress {
            Progress::Left => true,
            Progress::Asked => {
                exchange.progress = Progress::Left;
                exchange.keep_alive = false;
                let (key, request) = (exchange.key.clone(), exchange.request);
                self.ask_session_home(key, self.receiver_id(slot, request), Ask::Left);
                true
            }
            // It leaves with this turn.
            Progress::Ended => {
                exchange.keep_alive = false;
                true
            }
            Progress::Begun { .. } => false,
        }
    }

    /// A connection ends: the session must not wait for it.
    pub(in crate::shard) fn abandon_exchange(&mut self, slot: u32) {
        if self.is_receiver(slot) {
            let Some(exchange) = self.exchange(slot) else { return };
            let (key, request) = (exchange.key.clone(), exchange.request);
            self.ask_session_home(key, self.receiver_id(slot, request), Ask::Aborted);
        }
    }
}

/// A piece of a stream's body.
fn push_piece(out: &mut Vec<u8>, piece: &[u8], is_http11: bool) {
    if is_http11 {
        response::push_chunk(out, piece);
    } else {
        out.extend_from_slice(piece);
    }
}

/// A refusal; the session, if there is one, is as before.
fn push_failure(out: &mut Vec<u8>, exchange: &Exchange, error: Error) {
    let asked = exchange.asked.borrowed();
    let fields = fields(&exchange.route(), Outcome::Failure, &asked);
    let body = error.body().as_bytes();
    response::encode(out, error.status(), &fields, body, exchange.keep_alive);
}
