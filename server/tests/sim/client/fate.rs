//! How clients end or misbehave, each at the step that was chosen for it beforehand.

use super::{Client, Mood};
use crate::history::History;
use crate::wire::{self, opcode};

/// How a client ends, or misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Behaves well to the end.
    Stay,
    /// DISCONNECT with a receipt.
    Disconnect,
    /// WebSocket's closing handshake; on TCP as `HalfClose`.
    CloseFrame,
    /// Ends its sending half and reads on.
    HalfClose,
    /// Resets.
    Reset,
    /// Ends or resets in the middle of a frame.
    MidFrame,
    /// Reads nothing for a while.
    Stall,
    /// Neither reads nor writes any more, and nobody is told.
    Vanish,
    /// Writes random bytes.
    Garbage,
    /// Publishes without end, and behaves well otherwise.
    Flood,
    /// Connects and says nothing.
    Mute,
    /// Reads little at a time, from the beginning.
    Slow,
}

/// What a server meets where a client was: a reset, a system that gave up, a route that is gone, a
/// socket that was written to before.
const ENDS: [i32; 4] = [libc::ECONNRESET, libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::EPIPE];

impl Client {
    fn vanish_anyhow(&mut self) {
        let errno = ENDS[self.rng.below(ENDS.len())];
        self.vanish(errno);
    }

    /// The fate of this client comes.
    pub(super) fn strike(&mut self, history: &mut History, now_ms: u64) {
        let fate = match self.fate {
            Fate::CloseFrame if !self.is_ws => Fate::HalfClose,
            fate => fate,
        };
        self.is_well &= matches!(fate, Fate::Stay | Fate::Flood | Fate::Mute | Fate::Disconnect);
        match fate {
            Fate::Stay | Fate::Flood | Fate::Mute => return,
            Fate::Slow => {}
            Fate::Disconnect => return self.disconnect(history),
            Fate::CloseFrame => {
                let code = 1000u16.to_be_bytes();
                self.out.extend(wire::ws_frame(&mut self.rng, opcode::CLOSE, true, &code));
            }
            Fate::HalfClose => {
                self.write_all();
                self.line.shutdown_write();
            }
            Fate::Reset => return self.vanish_anyhow(),
            Fate::MidFrame => {
                self.publish(history);
                let keep = self.rng.below(self.out.len());
                self.out.truncate(keep);
                self.write_all();
                self.out.clear();
                if self.rng.chance(500) {
                    return self.vanish_anyhow();
                }
                self.line.shutdown_write();
            }
            Fate::Stall => {
                self.stalled_until_ms = now_ms + self.rng.below(40_000) as u64;
                self.mood = Mood::Stalled;
                return;
            }
            Fate::Vanish => {
                self.mood = Mood::Vanished;
                return;
            }
            Fate::Garbage => {
                let length = 1 + self.rng.below(3000);
                let garbage: Vec<u8> = (0..length).map(|_| self.rng.next_u64() as u8).collect();
                self.out.extend(garbage);
            }
        }
        self.mood = Mood::Tolerant;
    }
}
