//! The body of every message of a run: a stamp, then filler that is known beforehand.
//!
//! The stamp names the stream, the number within it and the planned time. All of it is printable
//! ASCII, four bits a byte (`@` to `O`), so that servers which tell text from binary see text, and
//! so that it is decoded with a few word operations: a generator that checks every delivery must
//! not cost more than the server.

use crate::clock::Nanos;

/// Bytes of the stamp, and so the least size of a body.
pub const STAMP_BYTES: usize = 40;

const HIGH_NIBBLES: u64 = 0x4040_4040_4040_4040;
const LOW_NIBBLES: u64 = 0x0f0f_0f0f_0f0f_0f0f;

/// What a body says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When the message was due, not when it was sent: what makes latency honest.
    pub planned: Nanos,
    /// Position in its stream, from 0.
    pub sequence: u32,
    /// Who numbered it: the publisher, or the destination where each has one publisher.
    pub stream: u32,
}

impl Stamp {
    /// Writes the stamp into the first [`STAMP_BYTES`] of `body`.
    pub fn write(&self, body: &mut [u8]) {
        let words = [
            (self.planned >> 32) as u32,
            self.planned as u32,
            self.sequence,
            self.stream,
            self.sum(),
        ];
        for (word, place) in words.iter().zip(body[..STAMP_BYTES].chunks_exact_mut(8)) {
            place.copy_from_slice(&(spread(*word) | HIGH_NIBBLES).to_le_bytes());
        }
    }

    /// Reads the stamp of `body`; `None` if it is none or was damaged.
    pub fn read(body: &[u8]) -> Option<Stamp> {
        let mut words = [0; 5];
        for (word, place) in words.iter_mut().zip(body.get(..STAMP_BYTES)?.chunks_exact(8)) {
            let bytes = u64::from_le_bytes(*place.first_chunk()?);
            if bytes & !LOW_NIBBLES != HIGH_NIBBLES {
                return None;
            }
            *word = gather(bytes & LOW_NIBBLES);
        }
        let planned = u64::from(words[0]) << 32 | u64::from(words[1]);
        let stamp = Stamp { planned, sequence: words[2], stream: words[3] };
        (stamp.sum() == words[4]).then_some(stamp)
    }

    fn sum(&self) -> u32 {
        let numbers = u64::from(self.stream) << 32 | u64::from(self.sequence);
        let mixed = self.planned.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ numbers.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 32) as u32
    }
}

/// Puts the eight nibbles of `word` into the low halves of eight bytes.
fn spread(word: u32) -> u64 {
    let mut x = u64::from(word);
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    (x | x << 4) & LOW_NIBBLES
}

/// The reverse of [`spread`].
fn gather(mut x: u64) -> u32 {
    x = (x | x >> 4) & 0x00ff_00ff_00ff_00ff;
    x = (x | x >> 8) & 0x0000_ffff_0000_ffff;
    (x | x >> 16) as u32
}

/// A body of `size` bytes whose stamp is still to be written.
pub fn blank_body(size: usize) -> Vec<u8> {
    (0..size).map(|index| b'a' + (index % 26) as u8).collect()
}

/// Compares what follows the stamp with what was sent.
pub fn is_filler_intact(body: &[u8], blank: &[u8]) -> bool {
    body.len() == blank.len() && body[STAMP_BYTES..] == blank[STAMP_BYTES..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Stamp, Vec<u8>) {
        let stamp = Stamp { planned: 0x1234_5678_9abc_def0, sequence: 7, stream: u32::MAX };
        let mut body = blank_body(100);
        stamp.write(&mut body);
        (stamp, body)
    }

    #[test]
    fn a_stamp_is_read_as_it_was_written_and_is_ascii() {
        let (stamp, body) = example();
        assert_eq!(Stamp::read(&body), Some(stamp));
        assert!(body.iter().all(u8::is_ascii_graphic));
        assert!(is_filler_intact(&body, &blank_body(100)));
    }

    #[test]
    fn any_changed_byte_is_seen() {
        let (stamp, body) = example();
        for at in 0..body.len() {
            let mut damaged = body.clone();
            damaged[at] ^= 1;
            let is_seen = Stamp::read(&damaged) != Some(stamp)
                || !is_filler_intact(&damaged, &blank_body(100));
            assert!(is_seen, "byte {at}");
            if at < STAMP_BYTES {
                assert_eq!(Stamp::read(&damaged), None, "byte {at}");
            }
        }
        assert_eq!(Stamp::read(&body[..STAMP_BYTES - 1]), None);
        assert!(!is_filler_intact(&body[..99], &blank_body(100)));
    }
}
