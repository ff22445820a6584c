//! Messages that drip: a frame or message that has begun must also come (catalogue, E28).
//!
//! An unfinished message holds memory for as long as its sender likes, and one byte every few
//! seconds would keep every time-out quiet. So what has begun has to come at a minimum rate,
//! measured over a span of time again and again until it is whole. Time in which we do not read
//! from the client counts for nothing.

use super::connection::{Phase, NONE};
use super::reason::DisconnectReason;
use super::tick::ticks;
use super::Shard;
use crate::reactor::Reactor;
use stompede_core::stomp::error::Error;

/// The span over which an unfinished message is measured at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Tick at which it began.
    pub since_tick: u32,
    /// Bytes of the message that were there then.
    pub bytes: u32,
}

impl Arrival {
    /// The message begins now.
    pub fn begin(tick: u32) -> Arrival {
        Arrival { since_tick: tick, bytes: 0 }
    }

    /// Looks at `bytes` of the message at `tick`. `Some`: the span is over, and so many bytes came
    /// in it, fewer than `wanted`; otherwise the next span begins when this one is over.
    fn look(&mut self, tick: u32, bytes: usize, span_ticks: u32, wanted: usize) -> Option<usize> {
        if tick.saturating_sub(self.since_tick) < span_ticks {
            return None;
        }
        let came = bytes.saturating_sub(self.bytes as usize);
        *self = Arrival { since_tick: tick, bytes: bytes.min(u32::MAX as usize) as u32 };
        (came < wanted).then_some(came)
    }
}

impl<R: Reactor> Shard<R> {
    /// Ends a connection whose unfinished message came too slowly. Says whether it did. `held_up`
    /// are the ticks in which this thread did not run, or some shard did not read.
    pub(super) fn check_slow_input(&mut self, slot: u32, held_up: u32) -> bool {
        let connection = &mut self.connections[slot as usize];
        if connection.spill == NONE && !connection.is_mid_message() {
            return false;
        }
        let config = &self.shared.config;
        let (span, rate) = (config.message_rate_span, config.limits.message_rate_bytes_min);
        let (tick, span_ticks) = (self.tick, ticks(span));
        let is_unread =
            connection.is_ready || connection.is_paused || connection.phase == Phase::Waiting;
        let (arrival, bytes) = if connection.spill != NONE {
            let spill = &mut self.spills[connection.spill as usize];
            (&mut spill.arrival, spill.bytes.len())
        } else {
            let extras = connection.extras.as_mut();
            let input = extras.and_then(|extras| extras.ws_input.as_mut());
            // Without a piece in hand nothing is measured: its frames were taken as they came.
            let Some(input) = input.filter(|input| input.has_pieces()) else { return false };
            (&mut input.arrival, input.message.len().max(input.deflated.len()))
        };
        if is_unread || held_up > 0 {
            arrival.since_tick = arrival.since_tick.saturating_add(held_up.max(1)).min(tick);
            return false;
        }
        let wanted = rate.saturating_mul(span.as_millis() as usize) / 1000;
        let Some(seen) = arrival.look(tick, bytes, span_ticks, wanted) else { return false };
        let error = Error::FrameTooSlow { seen, wanted, ms: span.as_millis() as u32 };
        self.fail_by_policy(slot, &error, DisconnectReason::SlowMessage);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catalogue: E28.
    #[test]
    fn each_span_has_to_bring_its_share() {
        let mut arrival = Arrival::begin(10);
        assert_eq!(arrival.look(19, 0, 10, 100), None, "the span is not over");
        assert_eq!(arrival.look(20, 100, 10, 100), None, "as much as wanted");
        assert_eq!(arrival, Arrival { since_tick: 20, bytes: 100 });
        assert_eq!(arrival.look(29, 100, 10, 100), None);
        assert_eq!(arrival.look(30, 199, 10, 100), Some(99), "what came before does not count");
        let mut arrival = Arrival::begin(0);
        assert_eq!(arrival.look(1_000, 0, 10, 0), None, "a rate of zero is no limit");
    }
}
