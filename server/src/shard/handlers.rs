//! Sessions of handlers: the API of [`crate::handler`] on raw WebSocket connections.
//!
//! A callback borrows the shard, so a handler is taken out of its place while it runs and no
//! callback nests in another: ends are remembered as farewells and told later in the turn. A
//! message in one piece is handed over where it was received; others are put together
//! first, in a buffer that goes with the message. While half the mark waits for a client, its next
//! message is not taken (RFC 6455 knows no other back-pressure): an echo never ends a client.

use super::connection::{Phase, Then};
use super::reason::DisconnectReason;
use super::slow_input::Arrival;
use super::table::is_virtual;
use super::tick::ticks;
use super::{Shard, Shared, MESH_MESSAGES_PER_TURN};
use crate::handler::inbox::{Inbox, Order};
use crate::handler::{
    Close, Handler, Message, Outlet, SendError, Session, SessionId, SessionInfo, SessionSender,
};
use crate::mesh::Doorbell;
use crate::reactor::Reactor;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use stompede_core::http::request::Request;
use stompede_core::ws::close::{code, is_valid_code};
use stompede_core::ws::error::Error;
use stompede_core::ws::frame::Opcode;
use stompede_core::ws::receiver::MessageKind;

/// RFC 6455 §7.1.5: the code of a close frame without one.
pub(super) const CODE_MISSING: u16 = 1005;
/// RFC 6455 §7.1.5: the code of an end without a close frame.
const CODE_ABNORMAL: u16 = 1006;
/// Pings without any answer after which a client counts as dead.
const PINGS_MISSED_MAX: u8 = 3;

/// The handlers of a shard, and what waits for them.
pub(super) struct Handlers {
    /// By index of the endpoint; empty while the handler runs.
    by_endpoint: Vec<Option<Box<dyn Handler>>>,
    farewells: Vec<Farewell>,
    inbox: Inbox,
}

/// A session that ended and whose handler does not know it yet.
struct Farewell {
    id: SessionId,
    info: Rc<SessionInfo>,
    close: Close,
}

/// What a connection keeps while it is a handler's session.
#[derive(Debug)]
pub struct SessionState {
    info: Rc<SessionInfo>,
    /// Code and reason of a close frame that came or left.
    close: Option<Box<(u16, Box<str>)>>,
    pings_count: u8,
    ping_tick: u32,
}

impl Handlers {
    /// Makes the handlers of the shard `index`.
    pub(super) fn new(index: usize, shared: &Shared, doorbell: Arc<Doorbell>) -> Handlers {
        let inbox_bytes_max = shared.config.limits.handler_inbox_bytes_max;
        Handlers {
            by_endpoint: shared.endpoints.make_handlers(index),
            farewells: Vec::new(),
            inbox: Inbox::new(doorbell, inbox_bytes_max),
        }
    }

    /// Did another thread send something? To be asked before a sleep.
    pub(super) fn has_post(&mut self) -> bool {
        self.inbox.has_post()
    }
}

impl<R: Reactor> Shard<R> {
    /// What is to be known of the session that a request asks for, if it names an endpoint.
    pub(super) fn session_info(
        &self,
        slot: u32,
        request: &Request<'_>,
    ) -> Option<Box<SessionInfo>> {
        let (endpoint, pattern, rest) = self.shared.endpoints.find(request.path)?;
        let path = request.path.strip_suffix(rest)?;
        let query = request.query.unwrap_or_default();
        let peer = self.peers[slot as usize];
        Some(Box::new(SessionInfo::new((endpoint, pattern), path, query, peer)))
    }

    /// The connection was upgraded for a handler, if there is `info`.
    pub(super) fn open_session(&mut self, slot: u32, info: Option<Box<SessionInfo>>) {
        let Some(info) = info else { return };
        let info = Rc::from(info);
        let state = SessionState { info, close: None, pings_count: 0, ping_tick: self.tick };
        let connection = &mut self.connections[slot as usize];
        connection.phase = Phase::Open;
        connection.is_session = true;
        connection.extras().session = Some(state);
        self.call(slot, |handler, session| handler.on_open(session));
    }

    /// Takes a piece of a message, unmasked.
    pub(super) fn on_session_data(
        &mut self,
        slot: u32,
        kind: MessageKind,
        payload: &[u8],
        starts: bool,
        ends: bool,
    ) {
        if starts && ends {
            return self.on_session_message(slot, kind, payload);
        }
        let tick = self.tick;
        let connection = &mut self.connections[slot as usize];
        let input = connection.ws_input();
        if starts {
            input.arrival = Arrival::begin(tick);
        }
        input.message.extend_from_slice(payload);
        if ends {
            let message = std::mem::take(&mut input.message);
            connection.give_back_extras();
            self.on_session_message(slot, kind, &message);
        }
    }

    pub(super) fn on_session_message(&mut self, slot: u32, kind: MessageKind, payload: &[u8]) {
        self.note_work(slot);
        let message = match kind {
            MessageKind::Binary => Message::Binary(payload),
            MessageKind::Text => match std::str::from_utf8(payload) {
                Ok(text) => Message::Text(text),
                // The receiver let it pass; its check is the one that counts for the peer.
                Err(_) => return self.fail_ws(slot, Error::TextNotUtf8),
            },
        };
        self.metrics.handler_messages_received.inc();
        self.call(slot, |handler, session| handler.on_message(session, message));
        let is_open = self.connections[slot as usize].phase == Phase::Open;
        // A session without a socket is bounded where its requests are taken.
        if is_open && !is_virtual(slot) && self.backlog_bytes(slot) > self.outbound_bytes_max / 2 {
            self.wait_for(slot, 0, Then::Flushed);
        }
    }

    /// Runs a callback of the handler of a live session.
    fn call(&mut self, slot: u32, callback: impl FnOnce(&mut dyn Handler, &mut Session<'_>)) {
        let id = self.handle_of(slot);
        let Some(state) = self.session_state(slot) else { return };
        let info = state.info.clone();
        if self.call_with(id, &info, callback) {
            return;
        }
        if self.slot_of(id).is_some() {
            let text = "the handler failed";
            self.note_close(slot, code::INTERNAL, text);
            self.push_close(slot, code::INTERNAL, text);
            self.end(slot, DisconnectReason::HandlerPanic);
        }
    }

    /// Runs a callback, whether or not its session is live. Says whether it came back.
    fn call_with(
        &mut self,
        id: SessionId,
        info: &SessionInfo,
        callback: impl FnOnce(&mut dyn Handler, &mut Session<'_>),
    ) -> bool {
        let Some(mut handler) = self.handlers.by_endpoint[info.endpoint()].take() else {
            return true;
        };
        // A handler that left itself inconsistent harms its own endpoint; the shard's own state is
        // only touched by whole operations of `Outlet`.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            callback(&mut *handler, &mut Session::new(id, info, self));
        }));
        self.handlers.by_endpoint[info.endpoint()] = Some(handler);
        if outcome.is_err() {
            self.metrics.handler_panics.inc();
            if self.may_log("handler panic") {
                tracing::error!(shard = self.index, path = %info.path(), "a handler panicked");
            }
        }
        outcome.is_ok()
    }

    /// Remembers the close frame of a session, which came or is to be sent.
    pub(super) fn note_close(&mut self, slot: u32, close_code: u16, reason: &str) {
        if let Some(state) = self.session_state(slot) {
            state.close.get_or_insert_with(|| Box::new((close_code, reason.into())));
        }
    }

    /// A connection ends: if it is a session, its handler will be told.
    pub(super) fn take_leave(&mut self, slot: u32, cause: DisconnectReason) {
        let id = self.handle_of(slot);
        let connection = &mut self.connections[slot as usize];
        connection.is_session = false;
        let state = connection.extras.as_mut().and_then(|extras| extras.session.take());
        let Some(state) = state else { return };
        let close = state.close.map(|close| *close);
        let (code, reason) = close.unwrap_or((CODE_ABNORMAL, "".into()));
        let close = Close { code, reason, cause };
        self.handlers.farewells.push(Farewell { id, info: state.info, close });
    }

    /// Tells handlers which sessions are over.
    pub(super) fn say_farewells(&mut self) {
        // Callbacks may close other sessions of the shard, but only by way of the inbox.
        for Farewell { id, info, close } in std::mem::take(&mut self.handlers.farewells) {
            if is_error(close.cause) {
                self.call_with(id, &info, |handler, session| {
                    handler.on_error(session, close.cause);
                });
            }
            self.call_with(id, &info, |handler, session| handler.on_close(session, &close));
        }
    }

    /// Carries out what other threads want of sessions, a bounded number in a turn.
    pub(super) fn take_posts(&mut self) {
        for _ in 0..MESH_MESSAGES_PER_TURN {
            let Some((id, order)) = self.handlers.inbox.take() else { break };
            // An error means that the session is over: its handler knows or will.
            let _ = match order {
                Order::Send(message) => self.send(id, message.as_message()),
                Order::Close(close_code, reason) => self.close(id, close_code, &reason),
            };
        }
    }

    /// Pings a silent client, and ends one that answers none of three pings.
    pub(super) fn check_session(&mut self, slot: u32) {
        if is_virtual(slot) {
            return;
        }
        let interval = ticks(self.shared.config.ping_interval).max(1);
        let connection = &mut self.connections[slot as usize];
        let silent = self.tick.saturating_sub(self.last_read[slot as usize]);
        let is_read = connection.phase == Phase::Open && !connection.is_paused;
        // Who is not read from may well have sent: the stall deadline watches over it.
        if silent < interval || !is_read {
            return;
        }
        let (tick, is_first) = (self.tick, !std::mem::replace(&mut connection.is_pinged, true));
        let Some(state) = self.session_state(slot) else { return };
        if is_first {
            state.pings_count = 0;
        } else if tick.saturating_sub(state.ping_tick) < interval {
            return;
        } else if state.pings_count >= PINGS_MISSED_MAX {
            self.metrics.heartbeats_missed.inc();
            self.note_close(slot, CODE_ABNORMAL, "no answer to pings");
            return self.abort(slot, DisconnectReason::HeartbeatMissed);
        }
        state.pings_count += 1;
        state.ping_tick = tick;
        self.push_ws(slot, Opcode::Ping, b"");
    }

    fn session_state(&mut self, slot: u32) -> Option<&mut SessionState> {
        self.connections[slot as usize].extras.as_mut()?.session.as_mut()
    }

    fn handle_of(&self, slot: u32) -> SessionId {
        let generation = self.connections[slot as usize].generation;
        SessionId { shard: self.index as u32, slot, generation }
    }

    /// The slot of a session, while it is live and here.
    fn slot_of(&self, id: SessionId) -> Option<u32> {
        let connection = self.connections.get(id.slot as usize)?;
        let is_it = id.shard as usize == self.index
            && connection.generation == id.generation
            && connection.is_session
            && connection.is_live();
        is_it.then_some(id.slot)
    }
}

impl<R: Reactor> Outlet for Shard<R> {
    fn send(&mut self, id: SessionId, message: Message<'_>) -> Result<(), SendError> {
        let slot = self.slot_of(id).ok_or(SendError::SessionEnded)?;
        let connection = &self.connections[slot as usize];
        if connection.is_sockjs() || connection.transport_is_sockjs() {
            let Message::Text(text) = message else { return Err(SendError::TextOnly) };
            self.metrics.handler_messages_sent.inc();
            self.push_sockjs(slot, text.as_bytes());
            return self.slot_of(id).map(|_| ()).ok_or(SendError::SessionEnded);
        }
        // What already waits counts, not this message: a legal one may be larger than the mark.
        if self.backlog_bytes(slot) > self.outbound_bytes_max {
            self.metrics.slow_consumers.inc();
            self.abort(slot, DisconnectReason::SlowConsumer);
            return Err(SendError::SessionEnded);
        }
        let (opcode, payload) = match message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, bytes),
        };
        self.metrics.handler_messages_sent.inc();
        self.push_ws(slot, opcode, payload);
        Ok(())
    }

    fn close(&mut self, id: SessionId, code: u16, reason: &str) -> Result<(), SendError> {
        let slot = self.slot_of(id).ok_or(SendError::SessionEnded)?;
        if !is_valid_code(code) {
            return Err(SendError::CloseCode(code));
        }
        self.note_close(slot, code, reason);
        self.push_close(slot, code, reason);
        self.end(slot, DisconnectReason::HandlerClosed);
        Ok(())
    }

    fn join(&mut self, id: SessionId, endpoint: usize, group: &str) -> Result<(), SendError> {
        let slot = self.slot_of(id).ok_or(SendError::SessionEnded)?;
        self.join_group(slot, endpoint, group);
        Ok(())
    }

    fn leave(&mut self, id: SessionId, endpoint: usize, group: &str) {
        if let Some(slot) = self.slot_of(id) {
            self.leave_group(slot, endpoint, group);
        }
    }

    fn publish(&mut self, endpoint: usize, group: &str, message: Message<'_>) {
        self.publish_to_group(endpoint, group, message);
    }

    fn waiting_bytes(&self, id: SessionId) -> usize {
        self.slot_of(id).map_or(0, |slot| self.backlog_bytes(slot))
    }

    fn sender(&self, id: SessionId) -> SessionSender {
        self.handlers.inbox.sender(id)
    }
}

/// Is this end an error of the peer, the network or the handler?
fn is_error(cause: DisconnectReason) -> bool {
    use DisconnectReason::*;
    matches!(
        cause,
        PeerClosedMidFrame
            | PeerReset
            | HandlerPanic
            | WebSocketError
            | SockJsError
            | HeartbeatMissed
            | SlowConsumer
            | SlowMessage
            | Stalled
            | Io
    )
}
