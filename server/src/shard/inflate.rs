//! Compressed messages of clients (RFC 7692 §7.2.2): kept until they are complete, then inflated.
//!
//! A message that came in one piece is inflated where it was received. Pieces wait compressed and
//! in the connection's extras, at most `ws_message_bytes_max` of them, so that one inflater serves
//! the shard. Before the log-in a compressed message may have 64 KiB, as it came and inflated.
//!
//! Little input can be much work: after 64 KiB inflated the rest of what a connection sent waits
//! for the next turn, and until then nothing more is received from it.

use super::connection::Phase;
use super::slow_input::Arrival;
use super::Shard;
use crate::reactor::Reactor;
use stompede_core::limits::{WS_DEFLATE_BYTES_MAX_BEFORE_LOGIN, WS_INFLATED_BYTES_PER_TURN};
use stompede_core::ws::deflate::Inflater;
use stompede_core::ws::error::Error;
use stompede_core::ws::receiver::MessageKind;

impl<R: Reactor> Shard<R> {
    /// Takes a piece of a compressed message.
    pub(super) fn on_compressed(
        &mut self,
        slot: u32,
        kind: MessageKind,
        payload: &[u8],
        starts: bool,
        ends: bool,
    ) {
        if starts && ends {
            return self.inflate(slot, kind, payload);
        }
        let limit = self.deflate_bytes_max(slot);
        let tick = self.tick;
        let input = self.connections[slot as usize].ws_input();
        let seen = (input.deflated.len() + payload.len()) as u64;
        if seen > limit {
            return self.fail_ws(slot, Error::MessageTooBig { seen, limit });
        }
        if starts {
            input.arrival = Arrival::begin(tick);
        }
        input.deflated.extend_from_slice(payload);
        if ends {
            let whole = std::mem::take(&mut input.deflated);
            self.connections[slot as usize].give_back_extras();
            self.inflate(slot, kind, &whole);
        }
    }

    /// Inflates a whole message and hands it on.
    fn inflate(&mut self, slot: u32, kind: MessageKind, payload: &[u8]) {
        let bytes_max = self.deflate_bytes_max(slot);
        let shared = self.shared.clone();
        let mut inflater = self.inflater.take().unwrap_or_else(|| Box::new(Inflater::default()));
        match inflater.inflate(payload, bytes_max, &shared.config.limits) {
            Err(error) => self.fail_ws(slot, error),
            Ok(message) => {
                self.inflated_bytes += payload.len() + message.len();
                self.unseen_bytes += message.len() as u64;
                // RFC 7692 §6.2: the text is checked when it is inflated.
                if kind == MessageKind::Text && simdutf8::basic::from_utf8(message).is_err() {
                    self.fail_ws(slot, Error::TextNotUtf8);
                } else {
                    self.on_ws_data(slot, kind, message, true, true);
                }
            }
        }
        self.inflater = Some(inflater);
    }

    /// Bytes that a compressed message may have, before it is inflated and after.
    fn deflate_bytes_max(&self, slot: u32) -> u64 {
        let limit = self.shared.config.limits.ws_message_bytes_max;
        match self.connections[slot as usize].phase {
            Phase::Opening => limit.min(WS_DEFLATE_BYTES_MAX_BEFORE_LOGIN),
            _ => limit,
        }
    }

    /// Has this connection had its share of the turn? Then its unread rest waits for the next.
    pub(super) fn must_inflate_later(&mut self, slot: u32) -> bool {
        let is_over = self.inflated_bytes > WS_INFLATED_BYTES_PER_TURN;
        if is_over {
            self.connections[slot as usize].ws_input().is_inflating = true;
            self.mark_ready(slot);
        }
        is_over
    }

    /// Goes on with what waited for this turn. Says whether there was anything.
    pub(super) fn inflate_rest(&mut self, slot: u32) -> bool {
        let extras = self.connections[slot as usize].extras.as_mut();
        let input = extras.and_then(|extras| extras.ws_input.as_mut());
        if !input.is_some_and(|input| std::mem::take(&mut input.is_inflating)) {
            return false;
        }
        self.on_ws(slot, &mut []);
        self.mark_ready(slot);
        true
    }
}
