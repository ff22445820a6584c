//! The first stop of a byte: receive, unmask, decode, in place.
//!
//! Complete frames are decoded where they were received; only an incomplete rest is kept, in a
//! spill buffer of its own, until more comes. A connection that waits for another shard keeps its
//! unread rest the same way and is not read from: that is the back-pressure.

use super::connection::{Phase, Spill, Transport, NONE};
use super::guard::panic_as_asked;
use super::handlers::CODE_MISSING;
use super::reason::DisconnectReason;
use super::slow_input::Arrival;
use super::{Shard, RECVS_PER_TURN, RECV_BATCH, RECV_STRIDE_BYTES};
use crate::metrics::{ErrorKind, Protocol};
use crate::reactor::Reactor;
use stompede_core::broker::destination::Profile;
use stompede_core::stomp::decode::{bytes_needed_hint, decode, DecodeFailure, Item};
use stompede_core::stomp::encode;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::wording::Wording;
use stompede_core::ws::close::{self, code};
use stompede_core::ws::error::Error as WsError;
use stompede_core::ws::frame::Opcode;
use stompede_core::ws::receiver::{Event, MessageKind, Receiver};

/// Room of a spill at least, so that small pieces do not make it grow often.
const SPILL_BYTES_MIN: usize = 256;

/// What a decoder did with the bytes it was given.
struct Progress {
    /// Bytes that are done with.
    consumed: usize,
}

impl<R: Reactor> Shard<R> {
    /// Receives from the connections that have something, for a bounded number of them.
    pub(super) fn receive_ready(&mut self) {
        let count = self.ready.len().min(RECVS_PER_TURN);
        let batch: Vec<u32> = self.ready.drain(..count).collect();
        let mut slots = Vec::with_capacity(RECV_BATCH);
        let mut buffer = std::mem::take(&mut self.scratch.receive);
        let mut results = std::mem::take(&mut self.scratch.results);
        for chunk in batch.chunks(RECV_BATCH) {
            slots.clear();
            for &slot in chunk {
                self.connections[slot as usize].is_ready = false;
                let mut is_received = false;
                self.guarded(slot, |shard| {
                    is_received = shard.may_receive(slot) && !shard.inflate_rest(slot);
                });
                if is_received {
                    slots.push(slot);
                }
            }
            self.reactor.recv_batch(&slots, &mut buffer, RECV_STRIDE_BYTES, &mut results);
            for (index, &slot) in slots.iter().enumerate() {
                let piece = &mut buffer[index * RECV_STRIDE_BYTES..][..RECV_STRIDE_BYTES];
                self.guarded(slot, |shard| shard.on_received(slot, results[index], piece));
            }
        }
        self.scratch.receive = buffer;
        self.scratch.results = results;
    }

    /// Waiting connections are not read from, nor those that do not take their answers, and nobody
    /// is while the mesh is full.
    fn may_receive(&mut self, slot: u32) -> bool {
        match self.connections[slot as usize].phase {
            Phase::Free => false,
            // A client that waits for its session is listened to: it may break off.
            Phase::Waiting => self.is_receiver(slot) && self.has_spill_room(slot),
            _ if self.mesh.overflow_count() > 0 => {
                self.mark_ready(slot);
                false
            }
            Phase::Opening | Phase::Open
                if self.backlog_bytes(slot) > self.outbound_bytes_max / 4 =>
            {
                self.connections[slot as usize].is_paused = true;
                false
            }
            _ => true,
        }
    }

    pub(super) fn on_received(&mut self, slot: u32, result: Result<usize, i32>, piece: &mut [u8]) {
        let count = match result {
            Ok(0) => return self.on_end_of_stream(slot),
            Ok(count) => count,
            Err(libc::EAGAIN) => return,
            // Readiness is told once: what was not received now is asked for again.
            Err(libc::EINTR | libc::ENOBUFS) => return self.mark_ready(slot),
            Err(_) => {
                let reason = self.closing_reason(slot).unwrap_or(DisconnectReason::PeerReset);
                return self.abort(slot, reason);
            }
        };
        self.metrics.bytes_received.add(count as u64);
        let connection = &mut self.connections[slot as usize];
        // Readiness is told once: whoever may have left something is asked again. A socket gives
        // all it has, so a receive that did not fill its buffer left nothing.
        let is_more = count == piece.len() || connection.is_ended;
        // Closing: read on until the peer ends too, so that no reset overtakes our last bytes.
        if connection.is_live() {
            if self.is_overworked() {
                self.postpone(slot);
            }
            self.note_read(slot);
            self.on_bytes(slot, &mut piece[..count]);
            let connection = &self.connections[slot as usize];
            if connection.spill != NONE || connection.extras.is_some() {
                self.unseen_bytes += count as u64;
            }
        }
        if is_more {
            self.mark_ready(slot);
        }
    }

    fn closing_reason(&self, slot: u32) -> Option<DisconnectReason> {
        match self.connections[slot as usize].phase {
            Phase::Closing(reason) | Phase::Lingering(reason) => Some(reason),
            _ => None,
        }
    }

    fn on_end_of_stream(&mut self, slot: u32) {
        if self.leave_receiver(slot) {
            return;
        }
        let connection = &self.connections[slot as usize];
        let reason = match connection.phase {
            Phase::Closing(_) if connection.outbound != NONE => return,
            Phase::Closing(reason) | Phase::Lingering(reason) => reason,
            _ if connection.spill != NONE || connection.is_mid_message() => {
                DisconnectReason::PeerClosedMidFrame
            }
            _ => DisconnectReason::PeerClosed,
        };
        // A half-close may still want answers: what is queued goes out first.
        if self.connections[slot as usize].outbound != NONE {
            self.end(slot, reason);
        } else {
            self.abort(slot, reason);
        }
    }

    /// Takes new bytes of a connection; what cannot be decoded yet is spilled.
    pub(super) fn on_bytes(&mut self, slot: u32, input: &mut [u8]) {
        panic_as_asked("bytes");
        match self.connections[slot as usize].transport {
            Transport::Http { .. } => self.on_http_bytes(slot, input),
            Transport::Tcp => self.on_stream(slot, input, Self::decode_stomp),
            Transport::WebSocket(_) => self.on_ws(slot, input),
            // Its bytes come by messages, not from a socket.
            Transport::SockJs => {}
        }
    }

    /// Puts `input` behind what was spilled, lets `decode` take what it can and spills the rest.
    /// (A `decode` that spills itself has taken all.)
    pub(super) fn on_stream(
        &mut self,
        slot: u32,
        input: &mut [u8],
        decode: fn(&mut Self, u32, &[u8]) -> usize,
    ) {
        let Some(Spill { mut bytes, mut retry_at_bytes, mut arrival }) = self.take_spill(slot)
        else {
            let consumed = decode(self, slot, input);
            self.spill(slot, &input[consumed..]);
            return;
        };
        bytes.extend_from_slice(input);
        // A frame that comes in many pieces is not looked through for each of them.
        if bytes.len() >= retry_at_bytes || memchr::memchr(0, input).is_some() {
            let consumed = decode(self, slot, &bytes);
            bytes.drain(..consumed);
            if consumed > 0 {
                arrival = Arrival::begin(self.tick);
            }
            retry_at_bytes = self.bytes_needed(slot, &bytes);
        }
        let connection = &mut self.connections[slot as usize];
        if !bytes.is_empty() && connection.is_live() && connection.spill == NONE {
            connection.spill = self.spills.insert(Spill { bytes, retry_at_bytes, arrival }) as u32;
        }
    }

    fn spill(&mut self, slot: u32, rest: &[u8]) {
        if rest.is_empty() || !self.connections[slot as usize].is_live() {
            return;
        }
        let retry_at_bytes = self.bytes_needed(slot, rest);
        let mut bytes = Vec::with_capacity(rest.len().max(SPILL_BYTES_MIN));
        bytes.extend_from_slice(rest);
        let arrival = Arrival::begin(self.tick);
        let spill = self.spills.insert(Spill { bytes, retry_at_bytes, arrival });
        self.connections[slot as usize].spill = spill as u32;
    }

    /// Bytes without which another attempt to decode `rest` is in vain.
    fn bytes_needed(&mut self, slot: u32, rest: &[u8]) -> usize {
        let connection = &self.connections[slot as usize];
        let Some(rules) = connection.rules() else { return 0 };
        let limits = &self.shared.config.limits;
        bytes_needed_hint(rest, rules, limits, &mut self.header_table)
    }

    /// Decodes STOMP frames until one is incomplete or the connection has to wait.
    pub(super) fn decode_stomp(&mut self, slot: u32, input: &[u8]) -> usize {
        let mut progress = Progress { consumed: 0 };
        let mut table = std::mem::take(&mut self.header_table);
        while let Some(rules) = self.connections[slot as usize].rules() {
            let rest = &input[progress.consumed..];
            match decode(rest, rules, &self.shared.config.limits, &mut table) {
                Ok(None) => break,
                Ok(Some((item, consumed))) => {
                    progress.consumed += consumed;
                    let is_within = match item {
                        Item::Frame(frame) => {
                            self.note_work(slot);
                            self.on_frame(slot, &frame, rules);
                            true
                        }
                        Item::Eol => self.may_beat(slot, consumed),
                    };
                    if !is_within {
                        break;
                    }
                }
                Err(failure) => {
                    self.fail(slot, &failure, DisconnectReason::StompError);
                    break;
                }
            }
        }
        self.header_table = table;
        progress.consumed
    }

    /// Unmasks WebSocket frames in place and hands their payloads to the STOMP decoder.
    pub(super) fn on_ws(&mut self, slot: u32, input: &mut [u8]) {
        if !self.connections[slot as usize].is_live() {
            return;
        }
        self.inflated_bytes = 0;
        let mut whole;
        let mut rest = &mut *input;
        // Behind a wait, spilled bytes are raw WebSocket bytes of `WsInput`; see `resume`.
        if self.connections[slot as usize].phase == Phase::Waiting {
            self.keep_ws_rest(slot, rest);
            return;
        }
        if let Some(mut kept) = self.take_ws_rest(slot) {
            kept.extend_from_slice(rest);
            whole = kept;
            rest = &mut whole;
        }
        while !rest.is_empty() {
            let Transport::WebSocket(mut receiver) = self.take_receiver(slot) else { return };
            let event = receiver.next_event(rest, &self.shared.config.limits);
            let outcome = match event {
                Ok(None) => None,
                Ok(Some((event, consumed))) => {
                    self.on_ws_event(slot, event);
                    Some(consumed)
                }
                Err(error) => {
                    self.fail_ws(slot, error);
                    return;
                }
            };
            let connection = &mut self.connections[slot as usize];
            if !connection.is_live() {
                return;
            }
            connection.transport = Transport::WebSocket(receiver);
            let Some(consumed) = outcome else { break };
            rest = &mut rest[consumed..];
            if connection.phase == Phase::Waiting {
                break;
            }
            if !rest.is_empty() && self.must_inflate_later(slot) {
                break;
            }
        }
        if !rest.is_empty() {
            self.keep_ws_rest(slot, rest);
        }
    }

    /// Leaves one behind that still knows what was agreed on, for the frame in hand to ask.
    fn take_receiver(&mut self, slot: u32) -> Transport {
        let transport = &mut self.connections[slot as usize].transport;
        let deflate = match transport {
            Transport::WebSocket(receiver) => receiver.deflate(),
            _ => None,
        };
        std::mem::replace(transport, Transport::WebSocket(Receiver::new(deflate)))
    }

    fn on_ws_event(&mut self, slot: u32, event: Event<'_>) {
        match event {
            Event::Data { kind, compressed: true, payload, starts, ends } => {
                self.on_compressed(slot, kind, payload, starts, ends);
            }
            Event::Data { kind, payload, starts, ends, .. } => {
                self.on_ws_data(slot, kind, payload, starts, ends);
            }
            Event::Ping(payload) => {
                if self.may_control(slot) {
                    self.push_ws(slot, Opcode::Pong, payload);
                }
            }
            Event::Pong(_) => {
                self.may_control(slot);
            }
            Event::Close { code, reason } => {
                self.note_close(slot, code.unwrap_or(CODE_MISSING), reason);
                // RFC 6455 §5.5.1: "When sending a Close frame in response, the endpoint typically
                // echos the status code it received."
                let mut bytes = Vec::new();
                close::encode(&mut bytes, code.unwrap_or(code::NORMAL), "");
                self.push_bytes(slot, &bytes);
                self.end(slot, DisconnectReason::ClosingHandshake);
            }
        }
    }

    /// Takes a piece of a message as the client meant it: unmasked, inflated and checked.
    pub(super) fn on_ws_data(
        &mut self,
        slot: u32,
        kind: MessageKind,
        payload: &mut [u8],
        starts: bool,
        ends: bool,
    ) {
        if self.connections[slot as usize].is_sockjs() {
            self.on_sockjs_data(slot, kind, payload, starts && ends, ends);
        } else if self.connections[slot as usize].is_session {
            self.on_session_data(slot, kind, payload, starts, ends);
        } else {
            self.on_stream(slot, payload, Self::decode_stomp);
        }
    }

    pub(super) fn fail_ws(&mut self, slot: u32, error: WsError) {
        self.metrics.protocol_error(Protocol::Ws, ErrorKind::of_ws(&error));
        self.note_close(slot, error.close_code(), &error.to_string());
        let is_session = self.connections[slot as usize].is_session;
        if let (WsError::MessageTooBig { seen, limit }, false) = (error, is_session) {
            // To the client it is a frame over the limit, and STOMP has an ERROR for that.
            let mut frame = Vec::new();
            let (version, error) =
                (self.connections[slot as usize].version, Error::FrameTooLarge { seen, limit });
            stompede_core::stomp::encode::error(&mut frame, version, &error, None, None);
            self.push_stomp(slot, &frame);
        }
        let mut bytes = Vec::new();
        close::encode(&mut bytes, error.close_code(), &error.to_string());
        self.push_bytes(slot, &bytes);
        self.end_because(slot, DisconnectReason::WebSocketError, Some(&error));
    }

    /// As [`Shard::fail_stomp`]; a handler's client, which knows no ERROR, is told by the close
    /// frame alone.
    pub(super) fn fail_by_policy(&mut self, slot: u32, error: &Error, reason: DisconnectReason) {
        if !self.connections[slot as usize].is_session {
            return self.fail_stomp(slot, error, None, reason);
        }
        self.note_close(slot, error.close_code(), &error.to_string());
        self.push_close(slot, error.close_code(), error.message());
        self.end_because(slot, reason, Some(error));
    }

    /// Answers with ERROR and ends the connection; over WebSocket a close frame follows.
    pub(super) fn fail_stomp(
        &mut self,
        slot: u32,
        error: &Error,
        receipt: Option<&str>,
        reason: DisconnectReason,
    ) {
        let receipt = receipt.map(str::to_owned);
        self.fail(slot, &DecodeFailure { error: *error, receipt, command: None }, reason);
    }

    fn fail(&mut self, slot: u32, failure: &DecodeFailure, reason: DisconnectReason) {
        let DecodeFailure { error, receipt, command } = failure;
        if let (Some(command), Profile::RabbitMq) = (command, self.shared.config.profile) {
            let wording = Wording::rabbitmq_command(error, command);
            return self.fail_as(slot, error, receipt.as_deref(), reason, &wording);
        }
        let Some(command) = command else {
            let wording = Wording::ours(error, None, &self.shared.config.limits);
            return self.fail_as(slot, error, receipt.as_deref(), reason, &wording);
        };
        let mut frame = Vec::new();
        let version = self.connections[slot as usize].version;
        encode::error(&mut frame, version, error, receipt.as_deref(), Some(command));
        self.end_with(slot, error, &frame, reason);
    }

    /// As [`Shard::fail_stomp`], in the words that are given.
    pub(super) fn fail_as(
        &mut self,
        slot: u32,
        error: &Error,
        receipt: Option<&str>,
        reason: DisconnectReason,
        wording: &Wording,
    ) {
        let mut frame = Vec::new();
        let version = self.connections[slot as usize].version;
        encode::error_as(&mut frame, version, receipt, wording);
        self.end_with(slot, error, &frame, reason);
    }

    fn end_with(&mut self, slot: u32, error: &Error, frame: &[u8], reason: DisconnectReason) {
        if !self.connections[slot as usize].is_live() {
            return;
        }
        if let Some(kind) = ErrorKind::of_stomp(error) {
            self.metrics.protocol_error(Protocol::Stomp, kind);
        }
        if *error == Error::TlsOnPlainPort {
            // A TLS client cannot read an ERROR.
            tracing::info!(peer = %self.peers[slot as usize], "TLS on a plain port");
            return self.end(slot, reason);
        }
        self.push_stomp(slot, frame);
        self.push_close(slot, error.close_code(), error.message());
        self.end_because(slot, reason, Some(error));
    }

    /// Queues a close frame where the transport has one, or closes the session.
    pub(super) fn push_close(&mut self, slot: u32, close_code: u16, reason: &str) {
        let connection = &self.connections[slot as usize];
        let (close_code, reason) = match connection.transport {
            Transport::SockJs => return self.close_session(slot, close_code, reason),
            Transport::WebSocket(_) if connection.is_sockjs() => {
                self.push_sockjs_close(slot, close_code, reason);
                (close::code::NORMAL, "Normal closure")
            }
            Transport::WebSocket(_) => (close_code, reason),
            Transport::Http { .. } | Transport::Tcp => return,
        };
        let mut bytes = Vec::new();
        close::encode(&mut bytes, close_code, reason);
        self.push_bytes(slot, &bytes);
    }

    /// Goes on with a connection whose wait is over: first with the bytes that were kept.
    pub(super) fn resume(&mut self, slot: u32) {
        self.guarded(slot, |shard| shard.go_on(slot));
    }

    fn go_on(&mut self, slot: u32) {
        if self.connections[slot as usize].is_http() {
            self.on_stream(slot, &mut [], Self::decode_http);
            return self.mark_ready(slot);
        }
        if !self.connections[slot as usize].is_session {
            self.on_stream(slot, &mut [], Self::decode_stomp);
        }
        if self.connections[slot as usize].phase == Phase::Open {
            if let Transport::WebSocket(_) = self.connections[slot as usize].transport {
                self.on_ws(slot, &mut []);
            }
        }
        self.mark_ready(slot);
    }

    fn keep_ws_rest(&mut self, slot: u32, rest: &[u8]) {
        self.connections[slot as usize].ws_input().rest.extend_from_slice(rest);
    }

    fn take_ws_rest(&mut self, slot: u32) -> Option<Vec<u8>> {
        let connection = &mut self.connections[slot as usize];
        let input = connection.extras.as_mut()?.ws_input.as_mut()?;
        let rest = std::mem::take(&mut input.rest);
        connection.give_back_extras();
        (!rest.is_empty()).then_some(rest)
    }
}
