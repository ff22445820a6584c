//! Every 250 ms: heart-beats, deadlines, stalled clients, the drain. One sweep over dense arrays,
//! no timer per connection.

use super::connection::{Phase, Transport, NONE};
use super::guard::panic_as_asked;
use super::reason::DisconnectReason;
use super::Shard;
use crate::reactor::{Reactor, TICK_MS};
use slab::Slab;
use std::time::Duration;
use stompede_core::stomp::error::Error;
use stompede_core::ws::close::code;
use stompede_core::ws::frame::Opcode;

/// How long a closed connection may take to end its half.
const LINGER: Duration = Duration::from_secs(2);
/// How long an HTTP connection may stay idle between requests.
const HTTP_IDLE: Duration = Duration::from_secs(30);

/// A tick that comes later than this many says that the thread was held up.
const PAUSE_TICKS: u32 = 4;

/// Room that an empty table keeps.
const KEPT_CAPACITY: usize = 1024;

/// A duration in ticks, rounded up.
pub(super) fn ticks(duration: Duration) -> u32 {
    duration.as_millis().div_ceil(u128::from(TICK_MS)).min(u128::from(u32::MAX)) as u32
}

/// Ticks after which a heart-beat is sent that is owed every so many: a fifth early, because the
/// interval is a promise and the way takes time.
fn beat_due(owed: u32) -> u32 {
    owed - owed / 5
}

impl<R: Reactor> Shard<R> {
    pub(super) fn on_tick(&mut self) {
        if !self.is_draining && self.is_drain_requested() {
            self.begin_drain();
        }
        if self.is_draining {
            self.drain_some();
        }
        self.keep_house();
        self.keep_queues();
        self.metrics.mesh_overflow.set(self.mesh.overflow_count() as u64);
        let passed = self.tick.saturating_sub(self.last_tick);
        let is_late = passed > PAUSE_TICKS;
        let is_congested = self.shared.metrics.iter().any(|shard| shard.mesh_overflow.get() > 0);
        if is_late || is_congested {
            self.excuse_sessions();
        }
        let held_up = if is_late || is_congested { passed } else { 0 };
        self.last_tick = self.tick;
        let (mut next, mut input_bytes) = (0, 0);
        while let Some(slot) = self.connections.slot_from(next) {
            next = slot + 1;
            if self.is_quiet(slot) {
                continue;
            }
            input_bytes += self.unfinished_bytes(slot) as u64;
            match self.connections[slot as usize].phase {
                Phase::Free => {}
                // Its request may have come meanwhile and be told of in the next turn; its last
                // bytes may have been taken but for those that we did not send.
                Phase::Opening | Phase::Closing(_) | Phase::Lingering(_) if is_late => {
                    self.last_read[slot as usize] = self.tick;
                    self.last_write[slot as usize] = self.tick;
                }
                Phase::Opening if self.is_unheard(slot, is_congested) => {
                    let began = &mut self.last_write[slot as usize];
                    *began = self.tick.min(*began + passed);
                }
                Phase::Opening => self.guarded(slot, |shard| shard.check_opening(slot)),
                Phase::Open | Phase::Waiting => {
                    self.guarded(slot, |shard| shard.check_open(slot, held_up));
                }
                Phase::Closing(reason) | Phase::Lingering(reason) => {
                    if self.silent_ticks(slot) > ticks(LINGER) {
                        self.abort(slot, reason);
                    }
                }
            }
        }
        self.note_input(input_bytes);
        self.tick_sessions();
        self.send_all_held_back();
        self.sweep_histories();
        self.metrics.mesh_full.set(self.mesh.full_count());
        self.metrics.uring_cq_overflow.set(self.reactor.overflow_count());
        self.metrics.subscriptions.set(self.subscriptions.len() as u64);
        self.metrics.arena_bytes.set(self.arena.bytes_held() as u64);
    }

    /// Sets the mark for slow consumers, and gives back what only a burst needed.
    fn keep_house(&mut self) {
        let config = &self.shared.config;
        self.is_over_memory = self.held_bytes() > config.memory_bytes_max;
        // Over the global mark everyone's limit shrinks, so that the slowest go first.
        let divisor = if self.is_over_memory { 8 } else { 1 };
        self.outbound_bytes_max = config.outbound_bytes_max / divisor;
        self.sessions.bound_queues(&self.shared.sockjs, divisor);
        if self.backlogs.is_empty() && self.backlogs.capacity() > KEPT_CAPACITY {
            self.backlogs = Slab::new();
        }
        if self.spills.is_empty() && self.spills.capacity() > KEPT_CAPACITY {
            self.spills = Slab::new();
        }
        for list in [&mut self.ready, &mut self.dirty, &mut self.scratch.batch] {
            if list.is_empty() {
                list.shrink_to(KEPT_CAPACITY);
            }
        }
    }

    /// Is there nothing to do for it? So it is with nearly all, and a million of them are asked
    /// four times a second.
    fn is_quiet(&self, slot: u32) -> bool {
        let slot = slot as usize;
        let connection = &self.connections[slot];
        let (owed, expected) =
            (u32::from(connection.send_ticks), u32::from(connection.expect_ticks));
        match connection.phase {
            Phase::Free => true,
            Phase::Open => {
                let silent = self.tick.saturating_sub(self.last_read[slot]);
                let quiet = self.tick.saturating_sub(self.last_write[slot]);
                connection.outbound == NONE
                    && connection.spill == NONE
                    && !connection.is_mid_message()
                    && !connection.is_session
                    && !connection.is_sockjs()
                    && !matches!(connection.transport, Transport::SockJs)
                    && (expected == 0 || silent <= expected)
                    && (owed == 0 || quiet + 1 < beat_due(owed))
            }
            _ => false,
        }
    }

    /// Ticks since the last byte from the peer.
    fn silent_ticks(&self, slot: u32) -> u32 {
        self.tick.saturating_sub(self.last_read[slot as usize])
    }

    /// Is there something to read, or is nobody read from (`is_congested`: by any shard)? The time
    /// until then is ours, not the client's.
    fn is_unheard(&self, slot: u32, is_congested: bool) -> bool {
        is_congested || self.connections[slot as usize].is_ready
    }

    /// `last_write` of a connection that is not open yet holds the tick at which the present stage
    /// started.
    fn check_opening(&mut self, slot: u32) {
        let config = &self.shared.config;
        let age = self.tick.saturating_sub(self.last_write[slot as usize]);
        if self.connections[slot as usize].is_http() {
            let deadline = ticks(config.handshake_deadline);
            return self.check_http_deadline(slot, age, deadline, ticks(HTTP_IDLE));
        }
        if age > ticks(config.connect_deadline) {
            let reason = DisconnectReason::HandshakeTimeout;
            self.fail_stomp(slot, &Error::LoginTimeout, None, reason);
        }
    }

    fn check_open(&mut self, slot: u32, held_up: u32) {
        panic_as_asked("tick");
        if self.check_slow_input(slot, held_up) {
            return;
        }
        if self.connections[slot as usize].is_session {
            self.check_session(slot);
            let quiet = self.tick.saturating_sub(self.last_write[slot as usize]);
            self.check_sockjs_heartbeat(slot, quiet);
            return self.check_stall(slot);
        }
        let silent = self.silent_ticks(slot);
        let connection = &self.connections[slot as usize];
        let expected = u32::from(connection.expect_ticks);
        // Whoever may have bytes to be read is not silent: it is paused (the stall deadline watches
        // over it), or waits for us, or the thread was held up.
        let is_unread =
            connection.is_ready || connection.is_paused || connection.phase == Phase::Waiting;
        let is_ws = matches!(connection.transport, Transport::WebSocket(_));
        let may_ping = is_ws && !connection.is_pinged && self.shared.config.heartbeat_ping;
        if expected > 0 && silent > expected && may_ping {
            // A pong is life too: it keeps throttled background pages connected. So nobody is ended
            // who was not asked, not even if this tick is late.
            self.connections[slot as usize].is_pinged = true;
            self.push_ws(slot, Opcode::Ping, b"");
        } else if expected > 0 && silent > expected * 3 && !is_unread {
            let ms = u64::from(silent) * TICK_MS;
            self.metrics.heartbeats_missed.inc();
            let error = Error::HeartbeatMissed { ms: ms as u32 };
            self.fail_stomp(slot, &error, None, DisconnectReason::HeartbeatMissed);
            return;
        }
        let owed = u32::from(self.connections[slot as usize].send_ticks);
        let quiet = self.tick.saturating_sub(self.last_write[slot as usize]);
        if owed > 0 && quiet + 1 >= beat_due(owed) && self.backlog_bytes(slot) == 0 {
            self.push_stomp(slot, b"\n");
        }
        self.check_sockjs_heartbeat(slot, quiet);
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
    }

    /// Tells as many clients as `--drain-rate` allows in a tick, all shards together.
    fn drain_some(&mut self) {
        let per_tick = u64::from(self.shared.config.drain_rate) * TICK_MS / 1000;
        let mut left = (per_tick / self.mesh.shards_count() as u64).max(1);
        while left > 0 {
            let Some(slot) = self.connections.slot_from(self.drain_slot) else { break };
            self.drain_slot = slot + 1;
            // Who waits for a session is told by it, and ended behind that answer.
            if !self.connections[slot as usize].is_live() || self.is_receiver(slot) {
                continue;
            }
            left -= 1;
            match self.connections[slot as usize].transport {
                Transport::Http { .. } => self.end(slot, DisconnectReason::Drain),
                Transport::WebSocket(_) | Transport::SockJs => {
                    let text = "server is shutting down";
                    self.note_close(slot, code::GOING_AWAY, text);
                    self.push_close(slot, code::GOING_AWAY, text);
                    self.end(slot, DisconnectReason::Drain);
                }
                Transport::Tcp => {
                    self.fail_stomp(slot, &Error::ServerShutdown, None, DisconnectReason::Drain);
                }
            }
        }
    }
}
