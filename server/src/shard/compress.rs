//! Compression of broadcasts: once per publication, version and window, for all who agreed on it.
//!
//! The payload of a compressed MESSAGE is a stored block with its private head (`subscription`,
//! `message-id`, `ack`) and the compressed tail, which all classes of a version share: a thousand
//! clients with a thousand subscription ids cost one compression, not a thousand, and a head is 5
//! bytes longer than it would be. Without context takeover no client has state of its own here.
//!
//! Only broadcasts are compressed: not replies, and nothing for `/user/`, where a secret and an
//! attacker's text could meet in one message and its length would tell (BREACH).

use crate::metrics::ShardMetrics;
use stompede_core::ws::deflate::{Deflater, STORED_HEADER_BYTES};
use stompede_core::ws::extensions::Window;

/// STOMP versions that a tail may be written for.
const VERSIONS_COUNT: usize = 3;
/// Room that a payload keeps for the next publication.
const KEPT_BYTES: usize = 64 * 1024;

/// The compressors of a shard, made on first use, and what they made of the publication in hand.
#[derive(Debug)]
pub(super) struct Compressor {
    /// Shorter tails are sent as they are.
    threshold_bytes: usize,
    /// By window.
    deflaters: [Option<Deflater>; Window::ALL.len()],
    /// By window and version.
    tails: [[Tail; VERSIONS_COUNT]; Window::ALL.len()],
    /// Is there something of the publication in hand?
    is_used: bool,
}

/// A compressed tail.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nobody asked for it yet.
    #[default]
    Unknown,
    Compressed,
    /// Compression does not make it shorter.
    Useless,
}

impl Compressor {
    /// For tails of `threshold_bytes` and more.
    pub(super) fn new(threshold_bytes: usize) -> Compressor {
        Compressor {
            threshold_bytes,
            deflaters: Default::default(),
            tails: Default::default(),
            is_used: false,
        }
    }

    /// Forgets the publication in hand; the next one comes.
    pub(super) fn forget(&mut self) {
        if !std::mem::take(&mut self.is_used) {
            return;
        }
        for tail in self.tails.iter_mut().flatten().filter(|tail| tail.state != State::Unknown) {
            tail.state = State::Unknown;
            tail.bytes.clear();
            tail.bytes.shrink_to(KEPT_BYTES);
        }
    }

    /// The tail of the publication in hand as `version` (0 to 2) writes it, compressed for
    /// `window`. None: it is too short, or compression does not make it shorter.
    pub(super) fn compressed(
        &mut self,
        window: Window,
        version: u8,
        tail: &[u8],
        metrics: &ShardMetrics,
    ) -> Option<&[u8]> {
        if tail.len() < self.threshold_bytes {
            return None;
        }
        let index = window as usize - 1;
        let compressed = self.tails[index].get_mut(usize::from(version))?;
        if compressed.state == State::Unknown {
            self.is_used = true;
            let deflater = self.deflaters[index].get_or_insert_with(|| Deflater::new(window));
            let is_done = deflater.deflate(tail, &mut compressed.bytes);
            let is_shorter = compressed.bytes.len() + STORED_HEADER_BYTES < tail.len();
            compressed.state =
                if is_done && is_shorter { State::Compressed } else { State::Useless };
            metrics.compressions.inc();
        }
        (compressed.state == State::Compressed).then_some(&compressed.bytes[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f09_one_compression_per_publication_window_and_version() {
        let (mut compressor, metrics) = (Compressor::new(100), ShardMetrics::new());
        let tail = b"destination:/topic/a\n\n".repeat(20);
        for publication in 1..=3 {
            for _ in 0..1_000 {
                for window in [Window::Bits9, Window::Bits15] {
                    let payload = compressor.compressed(window, 2, &tail, &metrics);
                    assert!(payload.is_some_and(|payload| payload.len() < 60));
                }
            }
            assert_eq!(metrics.compressions.get(), 2 * publication);
            compressor.forget();
        }
        assert!(compressor.deflaters[Window::Bits12 as usize - 1].is_none(), "nobody asked");
    }

    #[test]
    fn a_forgotten_tail_is_never_used_again() {
        let (mut compressor, metrics) = (Compressor::new(0), ShardMetrics::new());
        let (first, second) = (vec![b'a'; 500], vec![b'b'; 500]);
        let window = Window::Bits15;
        let a = compressor.compressed(window, 1, &first, &metrics).map(<[u8]>::to_vec);
        compressor.forget();
        let b = compressor.compressed(window, 1, &second, &metrics).map(<[u8]>::to_vec);
        assert!(a.is_some() && b.is_some() && a != b);
    }

    #[test]
    fn short_and_incompressible_tails_go_as_they_are() {
        let (mut compressor, metrics) = (Compressor::new(100), ShardMetrics::new());
        assert_eq!(compressor.compressed(Window::Bits15, 2, &[b'a'; 99], &metrics), None);
        assert_eq!(metrics.compressions.get(), 0);
        let noise: Vec<u8> =
            (0..400u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for _ in 0..10 {
            assert_eq!(compressor.compressed(Window::Bits15, 2, &noise, &metrics), None);
        }
        assert_eq!(metrics.compressions.get(), 1, "the attempt is made once");
    }
}
