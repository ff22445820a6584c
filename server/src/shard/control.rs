//! A budget for what costs work and says nothing: pings, pongs and line ends between frames.
//!
//! Every ping is answered (RFC 6455 §5.5.2) and every heart-beat is looked at (STOMP 1.2, heart-
//! beating), so a flood of them is work that no other limit bounds (catalogue: E15, E16, H11). A
//! client may have `control-frames-max` of them without any other frame between, and gets them
//! back over ten seconds; a frame or message that means something gives all of them back. What is
//! spent is one byte of the connection; what was forgiven since is reckoned from the tick of its
//! last read, so that nothing has to be swept.

use super::reason::DisconnectReason;
use super::tick::ticks;
use super::Shard;
use crate::reactor::Reactor;
use std::time::Duration;
use stompede_core::limits::CONTROL_FRAMES_SPAN_MS;
use stompede_core::stomp::error::Error;

/// Line ends in a row, in bytes, that count as one heart-beat more.
const EOL_BYTES_PER_BEAT: usize = 1_024;

/// How much of `most` comes back from one tick to another. Exact over any number of steps.
fn forgiven(most: u8, from_tick: u32, to_tick: u32) -> u8 {
    let span = u64::from(ticks(Duration::from_millis(CONTROL_FRAMES_SPAN_MS)));
    let share = |tick: u32| u64::from(tick) * u64::from(most) / span;
    share(to_tick).saturating_sub(share(from_tick)).min(u64::from(u8::MAX)) as u8
}

impl<R: Reactor> Shard<R> {
    /// Bytes came from a client: it lives.
    pub(super) fn note_read(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        connection.is_pinged = false;
        let last_tick = std::mem::replace(&mut self.last_read[slot as usize], self.tick);
        if connection.controls_spent > 0 {
            let most = self.shared.config.limits.control_frames_count_max;
            let back = forgiven(most, last_tick, self.tick);
            connection.controls_spent = connection.controls_spent.saturating_sub(back);
        }
    }

    /// The client said something that means something.
    pub(super) fn note_work(&mut self, slot: u32) {
        self.connections[slot as usize].controls_spent = 0;
    }

    /// Counts a ping or a pong. Says whether there was one left; if not, the connection has ended.
    pub(super) fn may_control(&mut self, slot: u32) -> bool {
        self.spend(slot, 1)
    }

    /// Counts a run of line ends between frames: one heart-beat, unless it is long.
    pub(super) fn may_beat(&mut self, slot: u32, eol_bytes: usize) -> bool {
        self.spend(slot, 1 + eol_bytes / EOL_BYTES_PER_BEAT)
    }

    fn spend(&mut self, slot: u32, count: usize) -> bool {
        let limit = self.shared.config.limits.control_frames_count_max;
        let connection = &mut self.connections[slot as usize];
        let spent = usize::from(connection.controls_spent) + count;
        if limit == 0 || spent <= usize::from(limit) {
            connection.controls_spent = spent.min(usize::from(u8::MAX)) as u8;
            return true;
        }
        self.fail_by_policy(
            slot,
            &Error::TooManyControls { limit },
            DisconnectReason::ControlFlood,
        );
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catalogue: E15.
    #[test]
    fn all_comes_back_in_ten_seconds_however_it_is_cut() {
        assert_eq!(forgiven(100, 0, 40), 100);
        assert_eq!(forgiven(100, 7, 47), 100);
        assert_eq!(forgiven(100, 7, 7), 0);
        assert_eq!(forgiven(1, 3, 43), 1);
        assert_eq!(
            (7..47).map(|tick| forgiven(100, tick, tick + 1)).map(u32::from).sum::<u32>(),
            100
        );
        assert_eq!(forgiven(255, 0, u32::MAX), 255);
    }
}
