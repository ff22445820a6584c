//! What comes in: frames out of bytes, and every delivery checked.

use super::check::{Acks, Check};
use super::{Phase, Worker, NONE, RECV_STRIDE_BYTES};
use crate::clock::Nanos;
use crate::plan::Workload;
use crate::wire::{nats, websocket, Inbound};
use std::io;
use stompede::reactor::Connector;

/// Connections received from in one batch.
pub(super) const RECV_BATCH: usize = 32;
/// Connections received from in one turn.
const RECVS_PER_TURN: usize = 1_024;

impl<R: Connector> Worker<R> {
    pub(super) fn receive_ready(&mut self) {
        let count = self.ready.len().min(RECVS_PER_TURN);
        let batch: Vec<u32> = self.ready.drain(..count).collect();
        let mut receive = std::mem::take(&mut self.receive);
        let mut results = std::mem::take(&mut self.results);
        for slots in batch.chunks(RECV_BATCH) {
            for &slot in slots {
                self.clients[slot as usize].is_ready = false;
            }
            self.reactor.recv_batch(slots, &mut receive, RECV_STRIDE_BYTES, &mut results);
            let now = self.control.clock.now();
            for (index, &slot) in slots.iter().enumerate() {
                let piece = &receive[index * RECV_STRIDE_BYTES..][..RECV_STRIDE_BYTES];
                self.on_received(slot, results[index], piece, now);
            }
            self.publish();
            self.flush_outbox();
        }
        self.receive = receive;
        self.results = results;
    }

    pub(super) fn on_received(
        &mut self,
        slot: u32,
        result: Result<usize, i32>,
        piece: &[u8],
        now: Nanos,
    ) {
        if self.clients[slot as usize].phase == Phase::Free {
            return;
        }
        let count = match result {
            Ok(0) if self.on_line_ended(slot) => return,
            Ok(0) => return self.fail(slot, "the server ended the connection", true),
            Ok(count) => count,
            Err(libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => return,
            Err(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                return self.fail(slot, &format!("receive: {error}"), true);
            }
        };
        self.clients[slot as usize].last_read = self.tick;
        {
            let mut desk = self.control.desk(self.index);
            desk.tally.reads += u64::from(self.clients[slot as usize].phase != Phase::Sending);
            desk.tally.bytes += count as u64;
        }
        if let Err(violation) = self.on_bytes(slot, &piece[..count], now) {
            return self.fail(slot, &violation, true);
        }
        if count == piece.len() {
            self.mark_ready(slot);
        }
    }

    /// Reads new bytes, taking frames apart first that carry a stream.
    pub(super) fn on_bytes(
        &mut self,
        slot: u32,
        mut input: &[u8],
        now: Nanos,
    ) -> Result<(), String> {
        if !self.reader.is_framed_stream() {
            return self.on_stream(slot, input, now);
        }
        let mut frames = std::mem::take(&mut self.frames[slot as usize]);
        let mut stream = std::mem::take(&mut self.stream);
        loop {
            let other = frames.next(&mut input, &mut stream)?;
            if !stream.is_empty() {
                self.on_stream(slot, &stream, now)?;
                stream.clear();
            }
            let (Some(other), true) = (other, self.clients[slot as usize].phase != Phase::Free)
            else {
                break;
            };
            let step = match self.clients[slot as usize].phase {
                Phase::Upgrading => self.reader.upgrade(&other)?,
                _ => Some((websocket::control(&other)?, other.len())),
            };
            if let Some((inbound, _)) = step {
                self.on_frame(slot, inbound)?;
            }
        }
        self.stream = stream;
        self.frames[slot as usize] = frames;
        Ok(())
    }

    /// Reads all frames of new bytes, completing first what was left of earlier ones.
    fn on_stream(&mut self, slot: u32, input: &[u8], now: Nanos) -> Result<(), String> {
        let mut rest = input;
        let partial = self.clients[slot as usize].partial;
        if partial != NONE {
            let mut kept = std::mem::take(&mut self.partials[partial as usize]);
            let mut step = 512;
            loop {
                let taken = rest.len().min(step);
                kept.extend_from_slice(&rest[..taken]);
                rest = &rest[taken..];
                let consumed = self.read_frames(slot, &kept, now)?;
                if self.clients[slot as usize].phase == Phase::Free {
                    return Ok(());
                }
                // Behind the last whole frame lie bytes of `input`, unless nothing was whole.
                let left = kept.len() - consumed;
                if consumed > 0 && left <= input.len() - rest.len() {
                    rest = &input[input.len() - rest.len() - left..];
                    self.partials.remove(partial as usize);
                    self.clients[slot as usize].partial = NONE;
                    break;
                }
                kept.drain(..consumed);
                if rest.is_empty() {
                    self.partials[partial as usize] = kept;
                    return Ok(());
                }
                step *= 4;
            }
        }
        let consumed = self.read_frames(slot, rest, now)?;
        if consumed < rest.len() && self.clients[slot as usize].phase != Phase::Free {
            let partial = self.partials.insert(rest[consumed..].to_vec());
            self.clients[slot as usize].partial = partial as u32;
        }
        Ok(())
    }

    /// Reads whole frames from the front of `input` and returns the bytes they took.
    pub(super) fn read_frames(
        &mut self,
        slot: u32,
        input: &[u8],
        now: Nanos,
    ) -> Result<usize, String> {
        if self.plan.target.transport.is_sockjs() {
            return self.read_sockjs(slot, input, now);
        }
        let mut at = 0;
        while at < input.len() {
            let client = self.clients[slot as usize];
            let is_subscriber = (client.seat as usize) < self.subscribers.len();
            // A subscription may be live before its receipt is here.
            if client.phase >= Phase::Subscribing && is_subscriber {
                let (consumed, is_message) = self.read_deliveries(slot, &input[at..], now)?;
                at += consumed;
                if !is_message {
                    break;
                }
                if at == input.len() {
                    break;
                }
            }
            let step = match client.phase {
                Phase::Upgrading => self.reader.upgrade(&input[at..])?,
                _ => self.reader.next(&input[at..])?,
            };
            let Some((inbound, consumed)) = step else { break };
            self.on_frame(slot, inbound)?;
            at += consumed;
            if self.clients[slot as usize].phase == Phase::Free {
                break;
            }
        }
        Ok(at)
    }

    /// Checks MESSAGE after MESSAGE until something else comes; false: more bytes are needed.
    pub(super) fn read_deliveries(
        &mut self,
        slot: u32,
        input: &[u8],
        now: Nanos,
    ) -> Result<(usize, bool), String> {
        let seat = self.clients[slot as usize].seat;
        let number = self.subscriber_number(seat);
        let Worker { plan, control, blank, streams, reader, writer, outbox, .. } = self;
        let (ack_frame, watch) = (&mut self.ack_frame, &mut self.watch);
        let mut desk = control.desk(self.index);
        let check = Check::new(plan, control, blank, number, now, self.is_verifying);
        let is_queue = plan.workload == Workload::Queue;
        let version = plan.version.as_str();
        let mut acks = Acks { mode: plan.ack, version, writer, frame: ack_frame, last: None };
        let count = plan.streams_per_subscriber();
        let streams = &mut streams[seat as usize * count..][..count];
        let (mut at, mut needs_more) = (0, false);
        while at < input.len() {
            match reader.next(&input[at..])? {
                None => {
                    needs_more = true;
                    break;
                }
                Some((Inbound::Message { head, body }, consumed)) => {
                    if check.delivery(head, body, streams, watch, &mut desk) && is_queue {
                        acks.take(head, slot, outbox, &mut desk);
                    }
                    desk.frame_bytes = consumed;
                    at += consumed;
                }
                Some((Inbound::HeartBeat, consumed)) => {
                    desk.tally.beats_received += 1;
                    at += consumed;
                }
                Some(_) => break,
            }
        }
        acks.flush(slot, outbox, &mut desk);
        Ok((at, !needs_more))
    }

    pub(super) fn on_frame(&mut self, slot: u32, inbound: Inbound<'_>) -> Result<(), String> {
        let phase = self.clients[slot as usize].phase;
        match (phase, inbound) {
            (Phase::Upgrading, Inbound::Upgraded) => self.on_upgraded(slot),
            // NATS answers a log-in with a receipt.
            (Phase::LoggingIn, Inbound::Connected | Inbound::Receipt) => self.on_logged_in(slot),
            (Phase::Subscribing, Inbound::Receipt) => self.subscribe(slot),
            // And later a heart-beat.
            (Phase::Live, Inbound::Receipt) | (_, Inbound::HeartBeat) => {
                self.control.desk(self.index).tally.beats_received += 1;
            }
            (_, Inbound::AreYouThere) => {
                self.say(slot, |writer, out| writer.frame(out, nats::PONG));
            }
            (_, Inbound::Ping(payload)) => {
                self.say(slot, |writer, out| writer.pong(out, payload));
            }
            (_, Inbound::Error(frame)) => {
                let text = String::from_utf8_lossy(frame);
                let message = text.lines().find_map(|line| line.strip_prefix("message:"));
                let message = message.unwrap_or(&text);
                let hint = match message {
                    "Bad CONNECT" => ": log in with --login NAME:PASSWORD",
                    _ => "",
                };
                return Err(format!("ERROR from the server: {message}{hint}"));
            }
            (_, Inbound::Close(payload)) => {
                let code =
                    payload.first_chunk::<2>().map_or(1005, |code| u16::from_be_bytes(*code));
                return Err(format!("close from the server: {code}"));
            }
            (_, Inbound::Message { .. } | Inbound::Other | Inbound::Receipt) => {}
            (_, Inbound::Upgraded | Inbound::Connected) => {
                return Err("an answer out of turn".into());
            }
        }
        Ok(())
    }
}
