//! Messages that are not whole, and the mark of `memory-max` (catalogue: E29).
//!
//! Each client may hold an unfinished frame, message or request body up to its own limits; twenty
//! thousand clients that do it together hold gigabytes. So the tick (or, when much comes, the turn)
//! sums them into `input_bytes`, which counts towards `memory-max` with all that waits for clients.
//! Above that mark nobody new comes in ([`super::admission`]), the bounds of the slow shrink
//! ([`super::tick`]), and unfinished messages go, the largest first, until what is above the mark
//! is given back.

use super::connection::{Phase, NONE};
use super::reason::DisconnectReason;
use super::Shard;
use crate::reactor::Reactor;
use stompede_core::stomp::error::Error;

/// What is an eighth of the mark is worth a look: so much may come between two ticks before we look
/// at once, and as long as unfinished messages are less than that, others are too much. Whoever is
/// in the middle of a frame just then does not pay for those who do not read.
const SHARE: u64 = 8;

impl<R: Reactor> Shard<R> {
    /// Looks at unfinished messages when more has come than may wait for the next tick: a fast line
    /// brings more than the mark within one.
    pub(super) fn watch_input(&mut self) {
        if self.unseen_bytes <= self.shared.config.memory_bytes_max / SHARE {
            return;
        }
        let (mut next, mut bytes) = (0, 0);
        while let Some(slot) = self.connections.slot_from(next) {
            next = slot + 1;
            bytes += self.unfinished_bytes(slot) as u64;
        }
        self.note_input(bytes);
    }

    /// Unfinished messages have so many bytes now: sheds what is too much.
    pub(super) fn note_input(&mut self, bytes: u64) {
        self.metrics.input_bytes.set(bytes);
        self.unseen_bytes = 0;
        self.is_over_memory |= self.held_bytes() > self.shared.config.memory_bytes_max;
        self.shed_unfinished();
    }

    /// What all shards hold for clients and of them.
    pub(super) fn held_bytes(&self) -> u64 {
        self.shared.metrics.iter().map(|shard| shard.held_bytes()).sum()
    }

    /// Bytes of what a client has begun to send and not finished.
    pub(super) fn unfinished_bytes(&self, slot: u32) -> usize {
        let connection = &self.connections[slot as usize];
        let spilled = match connection.spill {
            NONE => 0,
            spill => self.spills[spill as usize].bytes.len(),
        };
        let extras = connection.extras.as_ref();
        spilled + extras.map_or(0, |extras| extras.unfinished_bytes())
    }

    /// Over the mark, ends clients with unfinished messages: as many as this shard's share of what
    /// is too much.
    pub(super) fn shed_unfinished(&mut self) {
        let input: u64 = self.shared.metrics.iter().map(|shard| shard.input_bytes.get()).sum();
        if !self.is_over_memory || input < self.shared.config.memory_bytes_max / SHARE {
            return;
        }
        let excess = self.held_bytes().saturating_sub(self.shared.config.memory_bytes_max);
        let own = self.metrics.input_bytes.get();
        let mut to_free = u128::from(excess) * u128::from(own) / u128::from(input.max(1));
        let mut unfinished = Vec::new();
        let mut next = 0;
        while let Some(slot) = self.connections.slot_from(next) {
            next = slot + 1;
            // Who waits may be in the middle of an answer of ours.
            let phase = self.connections[slot as usize].phase;
            let may_be_told = matches!(phase, Phase::Opening | Phase::Open);
            let bytes = if may_be_told { self.unfinished_bytes(slot) } else { 0 };
            if bytes > 0 {
                unfinished.push((bytes, slot));
            }
        }
        unfinished.sort_unstable_by(|a, b| b.cmp(a));
        for (bytes, slot) in unfinished {
            if to_free == 0 {
                return;
            }
            to_free = to_free.saturating_sub(bytes as u128);
            self.metrics.input_bytes.sub(bytes as u64);
            let reason = DisconnectReason::MemoryMark;
            if self.connections[slot as usize].is_http() {
                self.refuse_busy(slot, reason);
            } else {
                self.fail_by_policy(slot, &Error::ServerBusy, reason);
            }
        }
    }
}
