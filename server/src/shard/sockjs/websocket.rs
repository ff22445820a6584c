//! SockJS frames on a WebSocket: the connection is the session, nothing is in a table.
//!
//! `o` follows the 101; messages come as JSON arrays or single strings, and go out as `a[...]`. A
//! close is told in a SockJS frame and then in a WebSocket frame with code 1000. A binary message
//! ends the session with 1003: SockJS has no place for it, and to take it for text would hide a
//! mistake. Heart-beats are `h`, which a page can see, and stop once STOMP has its own.

use crate::reactor::Reactor;
use crate::shard::reason::DisconnectReason;
use crate::shard::slow_input::Arrival;
use crate::shard::table::is_virtual;
use crate::shard::Shard;
use stompede_core::sockjs::error::Error;
use stompede_core::sockjs::frame::{push_message, Close, Frame, Wrapping};
use stompede_core::ws::{self, frame::Opcode, receiver::MessageKind};

impl<R: Reactor> Shard<R> {
    /// Takes a piece of a message, unmasked; `is_whole` if there is no other.
    pub(in crate::shard) fn on_sockjs_data(
        &mut self,
        slot: u32,
        kind: MessageKind,
        piece: &mut [u8],
        is_whole: bool,
        is_end: bool,
    ) {
        if kind == MessageKind::Binary {
            return self.fail_sockjs(slot, Error::BinaryMessage);
        }
        if is_whole {
            return self.on_sockjs_payload(slot, piece);
        }
        let tick = self.tick;
        let input = self.connections[slot as usize].ws_input();
        if input.message.is_empty() {
            input.arrival = Arrival::begin(tick);
        }
        input.message.extend_from_slice(piece);
        if is_end {
            let connection = &mut self.connections[slot as usize];
            let mut message = std::mem::take(&mut connection.ws_input().message);
            connection.give_back_extras();
            self.on_sockjs_payload(slot, &mut message);
        }
    }

    fn on_sockjs_payload(&mut self, slot: u32, payload: &mut [u8]) {
        let shared = self.shared.clone();
        let mut parser = std::mem::take(&mut self.sessions.parser);
        let limits = &shared.sockjs.services()[self.sockjs_service(slot)].limits;
        let parsed = parser.parse_websocket(payload, limits);
        self.sessions.parser = parser;
        match parsed {
            Ok(None) => {}
            Ok(Some(payload)) => {
                for text in payload.iter() {
                    if self.connections[slot as usize].is_live() {
                        self.on_sockjs_message(slot, text);
                    }
                }
            }
            Err(error) => self.fail_sockjs(slot, error),
        }
    }

    /// Ends a session whose client does not speak SockJS, at once: it could not read a close frame
    /// of SockJS either.
    fn fail_sockjs(&mut self, slot: u32, error: Error) {
        self.count_sockjs_refusal(error);
        let close = error.close();
        self.note_close(slot, close.code, close.reason());
        let mut bytes = Vec::new();
        ws::close::encode(&mut bytes, close.code, close.reason());
        self.push_bytes(slot, &bytes);
        self.end_because(slot, DisconnectReason::SockJsError, Some(&error));
    }

    /// Queues one STOMP frame as a message.
    pub(super) fn push_sockjs_ws(&mut self, slot: u32, frame: &[u8]) {
        let mut message = b"a[".to_vec();
        push_message(&mut message, &[frame]);
        message.push(b']');
        self.push_ws(slot, Opcode::Text, &message);
    }

    /// Queues the SockJS close frame.
    pub(in crate::shard) fn push_sockjs_close(&mut self, slot: u32, code: u16, reason: &str) {
        let mut frame = Vec::new();
        let close = Frame::Close(Close::new(code, reason.to_owned()));
        close.encode(&mut frame, Wrapping::Bare);
        self.push_ws(slot, Opcode::Text, &frame);
    }

    /// Index of the endpoint of a connection whose messages are SockJS frames.
    fn sockjs_service(&self, slot: u32) -> usize {
        usize::from(self.connections[slot as usize].sockjs.saturating_sub(1))
    }

    /// A heart-beat is due when nothing was written for `quiet` ticks, unless STOMP has its own.
    pub(in crate::shard) fn check_sockjs_heartbeat(&mut self, slot: u32, quiet: u32) {
        let connection = &self.connections[slot as usize];
        if !connection.is_sockjs() || is_virtual(slot) || connection.send_ticks > 0 {
            return;
        }
        let service = &self.shared.sockjs.services()[self.sockjs_service(slot)];
        let interval = service.rules.heartbeat_ticks;
        if interval > 0 && quiet >= interval && self.backlog_bytes(slot) == 0 {
            self.push_ws(slot, Opcode::Text, b"h");
        }
    }
}
