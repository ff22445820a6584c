//! Messages that are not whole, and the mark of `memory-max` (catalogue: E29).
//!
//! Each client may hold an unfinished frame, message or request body up to its own limits; twenty
//! thousand clients that do it together hold gigabytes. So the tick sums them into `input_bytes`,
//! which counts towards `memory-max` with all that waits for clients. Above that mark nobody new
//! comes in ([`super::admission`]), the bounds of the slow shrink ([`super::tick`]), and unfinished
//! messages go, the largest first, until what is above the mark is given back.

use super::connection::{Phase, NONE};
use super::reason::DisconnectReason;
use super::Shard;
use crate::reactor::Reactor;
use stompede_core::stomp::error::Error;

impl<R: Reactor> Shard<R> {
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
        if !self.is_over_memory {
            return;
        }
        let sum = |of: fn(&crate::metrics::ShardMetrics) -> u64| -> u64 {
            self.shared.metrics.iter().map(|shard| of(shard)).sum()
        };
        let (held, input) = (
            sum(super::super::metrics::ShardMetrics::held_bytes),
            sum(|shard| shard.input_bytes.get()),
        );
        let excess = held.saturating_sub(self.shared.config.memory_bytes_max);
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
