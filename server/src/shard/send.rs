//! The last stop of a byte: what waits for a connection, and one send per dirty connection and
//! turn.

use super::connection::{Backlog, Phase, Transport, NONE};
use super::reason::DisconnectReason;
use super::table::is_virtual;
use super::Shard;
use crate::reactor::{Parts, Reactor, SendRequest, Shortfall, PARTS_MAX};
use stompede_core::outbound::{Outbound, Releases, Segment};
use stompede_core::ws::frame::{encode_header, Opcode};

/// Connections flushed in one turn; the rest follows in the next, so that nobody starves.
const FLUSHES_PER_TURN: usize = 2048;
/// Sends to one connection in one turn: many small frames of several classes are many segments,
/// and who takes them all must not fall behind because one send gathers [`PARTS_MAX`].
const SENDS_PER_FLUSH: usize = 16;
/// The part of the mark for slow consumers that is delivered to anybody without a send in between.
const UNFLUSHED_PART: usize = 4;

impl<R: Reactor> Shard<R> {
    /// Queues finished wire bytes for one connection.
    pub(super) fn push_bytes(&mut self, slot: u32, bytes: &[u8]) {
        let segment = self.arena.append(&[bytes]);
        self.push_segment(slot, segment);
    }

    /// Queues one STOMP frame for one connection, which `write` appends to an empty buffer.
    pub(super) fn push_frame(&mut self, slot: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = std::mem::take(&mut self.scratch.frame);
        write(&mut frame);
        self.push_stomp(slot, &frame);
        frame.clear();
        self.scratch.frame = frame;
    }

    /// Queues one STOMP frame (or heart-beat) that is no MESSAGE for one connection, framed as its
    /// transport wants it.
    pub(super) fn push_stomp(&mut self, slot: u32, frame: &[u8]) {
        let connection = &self.connections[slot as usize];
        if connection.is_sockjs() || connection.transport_is_sockjs() {
            return self.push_sockjs(slot, frame);
        }
        if let Transport::WebSocket(_) = connection.transport {
            // All that it may hold came as text; only the body of a MESSAGE may be anything else.
            self.push_ws(slot, Opcode::Text, frame);
        } else {
            self.push_bytes(slot, frame);
        }
    }

    /// Queues one WebSocket frame for one connection.
    pub(super) fn push_ws(&mut self, slot: u32, opcode: Opcode, payload: &[u8]) {
        let mut header = [0; 14];
        let length = encode_header(&mut header, opcode, payload.len() as u64);
        let segment = self.arena.append(&[&header[..length], payload]);
        self.push_segment(slot, segment);
    }

    /// Queues a segment that several connections may share.
    pub(super) fn push_segment(&mut self, slot: u32, segment: Segment) {
        let connection = &mut self.connections[slot as usize];
        if connection.phase == Phase::Free {
            // Its own publication was one too many for it, and the RECEIPT comes too late.
            return;
        }
        if connection.outbound == NONE {
            let backlog = Backlog { outbound: Outbound::default(), progress_tick: self.tick };
            connection.outbound = self.backlogs.insert(backlog) as u32;
        }
        let backlog = &mut self.backlogs[connection.outbound as usize];
        backlog.outbound.push(&mut self.arena, segment);
        self.metrics.outbound_bytes.add(u64::from(segment.len));
        self.mark_dirty(slot);
    }

    /// Sends what waits, for a bounded number of connections.
    pub(super) fn flush_dirty(&mut self) {
        self.send_dirty(FLUSHES_PER_TURN);
        // Only now: whoever goes on queues for others, and what they were offered is counted.
        let mut flushed = std::mem::take(&mut self.flushed);
        for slot in flushed.drain(..) {
            if self.connections[slot as usize].outbound == NONE {
                self.guarded(slot, |shard| shard.on_flushed(slot));
            }
        }
        // Those that a large publication had flushed meanwhile go on in the next turn.
        if self.flushed.is_empty() {
            self.flushed = flushed;
        }
    }

    /// Sends what waits if `bytes` more for each of many could be too much for one that reads: its
    /// mark is for what the kernel does not take, not for what one turn brings.
    #[inline]
    pub(super) fn make_room(&mut self, bytes: usize) {
        self.unflushed_bytes += bytes;
        if self.unflushed_bytes > self.outbound_bytes_max / UNFLUSHED_PART {
            self.flush_sessions();
            self.send_dirty(usize::MAX);
            self.unflushed_bytes = bytes;
        }
    }

    fn send_dirty(&mut self, count_max: usize) {
        let count = self.dirty.len().min(count_max);
        if count == self.dirty.len() {
            self.unflushed_bytes = 0;
        }
        if count == 0 {
            return;
        }
        let mut batch = std::mem::take(&mut self.scratch.batch);
        batch.extend(self.dirty.drain(..count));
        for _ in 0..SENDS_PER_FLUSH {
            let others_count = self.dirty.len();
            self.send_once(&batch);
            batch.clear();
            // Those that took all they were offered and have more are behind the others now.
            batch.extend(self.dirty.drain(others_count..));
            if batch.is_empty() {
                break;
            }
        }
        self.dirty.append(&mut batch);
        self.scratch.batch = batch;
    }

    /// Sends once to each connection of `batch`; those with more to send are marked dirty again.
    fn send_once(&mut self, batch: &[u32]) {
        let mut shortfalls = std::mem::take(&mut self.scratch.shortfalls);
        let (connections, backlogs, arena) = (&self.connections, &self.backlogs, &self.arena);
        let requests = batch.iter().filter_map(|&slot| {
            let connection = &connections[slot as usize];
            let outbound = &backlogs.get(connection.outbound as usize)?.outbound;
            let parts = match outbound.single() {
                Some(segment) => Parts::One(arena.bytes(segment)),
                None => Parts::Many(outbound, arena),
            };
            Some(SendRequest { slot, parts })
        });
        self.reactor.send_batch(requests, &mut shortfalls);
        // Shortfalls come in no order; few connections have one.
        shortfalls.sort_unstable_by_key(|shortfall| shortfall.slot);
        let (mut bytes_sent, mut releases) = (0, Releases::default());
        for &slot in batch {
            let found = match shortfalls.is_empty() {
                true => None,
                false => shortfalls.binary_search_by_key(&slot, |shortfall| shortfall.slot).ok(),
            };
            bytes_sent += match found {
                None => self.on_all_sent(slot, &mut releases),
                Some(index) => self.on_sent(slot, Some(shortfalls[index])),
            };
        }
        releases.finish(&mut self.arena);
        self.metrics.bytes_sent.add(bytes_sent as u64);
        self.metrics.outbound_bytes.sub(bytes_sent as u64);
        shortfalls.clear();
        self.scratch.shortfalls = shortfalls;
    }

    /// Accounts for one send that took all it was offered. Gives the bytes.
    #[inline]
    fn on_all_sent(&mut self, slot: u32, releases: &mut Releases) -> usize {
        let connection = &mut self.connections[slot as usize];
        let backlog = self.backlogs.get(connection.outbound as usize);
        let Some(segment) = backlog.and_then(|backlog| backlog.outbound.single()) else {
            return self.on_sent(slot, None);
        };
        // Nearly all of a fan-out: all of one segment was taken.
        releases.push(&mut self.arena, segment);
        self.backlogs.remove(connection.outbound as usize);
        connection.outbound = NONE;
        connection.is_dirty = false;
        let is_open = connection.phase == Phase::Open;
        let is_usual = is_open && !connection.is_paused && connection.extras.is_none();
        if connection.phase != Phase::Opening {
            self.last_write[slot as usize] = self.tick;
        }
        if !is_usual || self.paces.is_any_waiting() {
            self.on_emptied(slot);
        }
        segment.len as usize
    }

    /// Accounts for one send: all of the first segments were taken, unless there was a shortfall.
    /// Gives the bytes that were taken.
    fn on_sent(&mut self, slot: u32, shortfall: Option<Shortfall>) -> usize {
        let connection = &mut self.connections[slot as usize];
        connection.is_dirty = false;
        let Some(backlog) = self.backlogs.get_mut(connection.outbound as usize) else {
            self.on_emptied(slot);
            return 0;
        };
        let offered = || backlog.outbound.segments().take(PARTS_MAX).map(|s| s.len as usize).sum();
        let taken = match shortfall.map(|shortfall| shortfall.taken) {
            None => offered(),
            Some(Ok(taken)) => taken,
            Some(Err(libc::EAGAIN | libc::EINTR | libc::ENOBUFS)) => 0,
            Some(Err(_)) => {
                self.abort(slot, DisconnectReason::PeerReset);
                return 0;
            }
        };
        if taken > 0 {
            backlog.outbound.consume(&mut self.arena, taken);
            backlog.progress_tick = self.tick;
            if connection.phase != Phase::Opening {
                self.last_write[slot as usize] = self.tick;
            }
            if let Phase::Closing(_) = connection.phase {
                // Whoever takes its last bytes, however slowly, gets them all.
                self.last_read[slot as usize] = self.tick;
            }
        }
        if backlog.outbound.is_empty() {
            self.drop_backlog(slot);
            self.on_emptied(slot);
        } else if shortfall.is_some() {
            connection.is_blocked = true;
            self.reactor.arm_writable(slot);
        } else {
            self.mark_dirty(slot);
        }
        taken
    }

    /// Everything is sent: a closing connection ends its half and lingers for the peer's, a paused
    /// one is read from again, and one that waits may have waited for this.
    fn on_emptied(&mut self, slot: u32) {
        if std::mem::take(&mut self.connections[slot as usize].is_paused) {
            self.mark_ready(slot);
        }
        if self.connections[slot as usize].extras.is_some() {
            self.on_queue_room(slot);
        }
        match self.connections[slot as usize].phase {
            Phase::Closing(reason) => {
                self.connections[slot as usize].phase = Phase::Lingering(reason);
                self.last_read[slot as usize] = self.tick;
                self.reactor.shutdown_write(slot);
                // What already came is discarded; the end of the stream closes the connection.
                self.mark_ready(slot);
            }
            Phase::Waiting => self.flushed.push(slot),
            // Who took its answer slowly has all the time for the next request.
            Phase::Opening => self.rest_http(slot),
            _ => {}
        }
        if self.paces.is_any_waiting() {
            self.send_held_back(slot);
        }
    }

    /// Bytes that wait for a connection.
    pub(super) fn backlog_bytes(&self, slot: u32) -> usize {
        if is_virtual(slot) {
            return self.sessions.waiting_bytes(slot);
        }
        let index = self.connections[slot as usize].outbound;
        self.backlogs.get(index as usize).map_or(0, |backlog| backlog.outbound.bytes())
    }
}
