//! Every 250 ms: heart-beats, deadlines, stalled clients, the drain. One sweep over dense arrays,
//! no timer per connection.

use super::connection::{Phase, Transport};
use super::reason::DisconnectReason;
use super::Shard;
use crate::reactor::{Reactor, TICK_MS};
use std::time::Duration;
use stompede_core::stomp::error::Error;
use stompede_core::ws::close::{self, code};
use stompede_core::ws::frame::Opcode;

/// How long a closed connection may take to end its half.
const LINGER: Duration = Duration::from_secs(2);
/// How long an HTTP connection may stay idle between requests.
const HTTP_IDLE: Duration = Duration::from_secs(30);

/// A duration in ticks, rounded up.
pub(super) fn ticks(duration: Duration) -> u32 {
    duration.as_millis().div_ceil(u128::from(TICK_MS)).min(u128::from(u32::MAX)) as u32
}

impl<R: Reactor> Shard<R> {
    pub(super) fn on_tick(&mut self) {
        if !self.is_draining && self.is_drain_requested() {
            self.begin_drain();
        }
        for slot in 0..self.connections.len() as u32 {
            match self.connections[slot as usize].phase {
                Phase::Free => {}
                Phase::Opening => self.check_opening(slot),
                Phase::Open | Phase::Waiting => self.check_open(slot),
                Phase::Closing(reason) | Phase::Lingering(reason) => {
                    if self.silent_ticks(slot) > ticks(LINGER) {
                        self.abort(slot, reason);
                    }
                }
            }
        }
        self.metrics.subscriptions.set(self.subscriptions.len() as u64);
        self.metrics.arena_bytes.set(self.arena.bytes_held() as u64);
    }

    /// Ticks since the last byte from the peer.
    fn silent_ticks(&self, slot: u32) -> u32 {
        self.tick.saturating_sub(self.last_read[slot as usize])
    }

    /// `last_write` of a connection that is not open yet holds the tick of its start.
    fn check_opening(&mut self, slot: u32) {
        let config = &self.shared.config;
        let age = self.tick.saturating_sub(self.last_write[slot as usize]);
        let (limit, error) = match self.connections[slot as usize].transport {
            Transport::Http => (config.handshake_deadline.min(HTTP_IDLE), None),
            _ => (config.connect_deadline, Some(Error::LoginTimeout)),
        };
        if age <= ticks(limit) {
            return;
        }
        match error {
            Some(error) => self.fail_stomp(slot, &error, None, DisconnectReason::HandshakeTimeout),
            None => self.end(slot, DisconnectReason::Idle),
        }
    }

    fn check_open(&mut self, slot: u32) {
        let silent = self.silent_ticks(slot);
        let connection = &self.connections[slot as usize];
        let expected = u32::from(connection.expect_ticks);
        // Whoever may have bytes to be read is not silent: we are, or the thread was held up.
        let is_unread = connection.is_ready || connection.phase == Phase::Waiting;
        if expected > 0 && silent > expected * 3 && !is_unread {
            let ms = u64::from(silent) * TICK_MS;
            self.metrics.heartbeats_missed.inc();
            let error = Error::HeartbeatMissed { ms: ms as u32 };
            self.fail_stomp(slot, &error, None, DisconnectReason::HeartbeatMissed);
            return;
        }
        let is_ws = matches!(connection.transport, Transport::WebSocket(_));
        if expected > 0 && silent > expected && is_ws && !connection.is_pinged {
            // A pong is life too: it keeps throttled background pages connected.
            self.connections[slot as usize].is_pinged = true;
            self.push_ws(slot, Opcode::Ping, b"");
        }
        let owed = u32::from(self.connections[slot as usize].send_ticks);
        let quiet = self.tick.saturating_sub(self.last_write[slot as usize]);
        if owed > 0 && quiet >= owed.div_ceil(2) && self.backlog_bytes(slot) == 0 {
            self.push_stomp(slot, b"\n");
        }
        self.check_stall(slot);
    }

    fn check_stall(&mut self, slot: u32) {
        let index = self.connections[slot as usize].outbound;
        let Some(backlog) = self.backlogs.get(index as usize) else { return };
        if !self.connections[slot as usize].is_blocked {
            return;
        }
        let stalled = self.tick.saturating_sub(backlog.progress_tick);
        if stalled > ticks(self.shared.config.stall_deadline) {
            self.abort(slot, DisconnectReason::Stalled);
        }
    }

    fn begin_drain(&mut self) {
        self.is_draining = true;
        self.reactor.stop_accepting();
        for slot in 0..self.connections.len() as u32 {
            if !self.connections[slot as usize].is_live() {
                continue;
            }
            match self.connections[slot as usize].transport {
                Transport::Http => self.end(slot, DisconnectReason::Drain),
                Transport::WebSocket(_) => {
                    let mut bytes = Vec::new();
                    close::encode(&mut bytes, code::GOING_AWAY, "server is shutting down");
                    self.push_bytes(slot, &bytes);
                    self.end(slot, DisconnectReason::Drain);
                }
                Transport::Tcp => {
                    self.fail_stomp(slot, &Error::ServerShutdown, None, DisconnectReason::Drain);
                }
            }
        }
    }
}
