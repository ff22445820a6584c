//! UTF-8 checked piece by piece (RFC 6455 §8.1, RFC 3629).
//!
//! A code point may be cut anywhere by frames and by reads. The state is the cut code point's
//! bytes so far, three at most; everything else goes through the SIMD checker in bulk. An error
//! comes with the very byte that makes the text invalid, not at the end of the message, so that
//! nobody can make us carry a message that is already lost (Autobahn 6.4 asks for that too).

/// The state between two pieces of a text: four bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8 {
    pending: [u8; 3],
    pending_bytes: u8,
}

/// The text is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

impl Utf8 {
    /// Checks the next piece. After an error the state must not be used again.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Invalid> {
        let rest = self.finish_pending(piece)?;
        if rest.is_empty() || simdutf8::basic::from_utf8(rest).is_ok() {
            return Ok(());
        }
        // Bad, or cut at the end: the slower checker tells which.
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(Invalid),
            Err(error) => self.keep(&rest[error.valid_up_to()..]),
        }
    }

    /// Whether the text so far ends with a whole code point.
    pub fn is_complete(&self) -> bool {
        self.pending_bytes == 0
    }

    /// Completes a cut code point from the front of `piece` and returns what is left.
    fn finish_pending<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], Invalid> {
        if self.is_complete() {
            return Ok(piece);
        }
        let mut point = [0; 4];
        let kept = usize::from(self.pending_bytes);
        point[..kept].copy_from_slice(&self.pending[..kept]);
        for (i, &byte) in piece.iter().enumerate() {
            // At most three are pending, and four bytes are either whole or wrong: no fifth.
            let len = kept + i + 1;
            point[len - 1] = byte;
            match std::str::from_utf8(&point[..len]) {
                Ok(_) => {
                    self.pending_bytes = 0;
                    return Ok(&piece[i + 1..]);
                }
                Err(error) if error.error_len().is_some() => return Err(Invalid),
                Err(_) => self.keep(&point[..len])?,
            }
        }
        Ok(&[])
    }

    fn keep(&mut self, tail: &[u8]) -> Result<(), Invalid> {
        let kept = self.pending.get_mut(..tail.len()).ok_or(Invalid)?;
        kept.copy_from_slice(tail);
        self.pending_bytes = tail.len() as u8;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The twin: whether any text starts with these bytes, and whether they are one themselves.
    fn naive(bytes: &[u8]) -> Result<bool, Invalid> {
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(true),
            Err(error) if error.error_len().is_none() => Ok(false),
            Err(_) => Err(Invalid),
        }
    }

    /// Bytes taken before the error, or all; and the answer.
    fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (usize, Result<bool, Invalid>) {
        let mut utf8 = Utf8::default();
        let mut taken = 0;
        for piece in pieces {
            if let Err(error) = utf8.push(piece) {
                return (taken, Err(error));
            }
            taken += piece.len();
        }
        (taken, Ok(utf8.is_complete()))
    }

    #[test]
    fn e10_bad_text_fails_with_the_bad_byte() {
        // Bytes, and how many of them are fine.
        let cases: [(&[u8], usize); 10] = [
            (b"\x80", 0),             // a lone continuation
            (b"a\xff", 1),            // no such byte
            (b"\xc0\xaf", 0),         // overlong, 2 bytes
            (b"\xe0\x80\xaf", 1),     // overlong, 3 bytes
            (b"\xf0\x80\x80\xaf", 1), // overlong, 4 bytes
            (b"\xed\xa0\x80", 1),     // a surrogate
            (b"\xf4\x90\x80\x80", 1), // over U+10FFFF
            (b"\xf5\x80\x80\x80", 0), // far over
            (b"\xe2\x82a", 2),        // cut short
            (b"\xf0\x9f\x98\xf0", 3), // cut short by the next
        ];
        for (bytes, fine) in cases {
            assert_eq!(run(bytes.chunks(1)), (fine, Err(Invalid)), "{bytes:x?}");
            assert_eq!(run([bytes].into_iter()).1, Err(Invalid), "{bytes:x?}");
        }
    }

    #[test]
    fn e11_a_code_point_may_be_cut_everywhere() {
        let text = "κόσμε \u{1f600}\u{10ffff}\u{d7ff}\u{e000}";
        assert_eq!(run(text.as_bytes().chunks(1)), (text.len(), Ok(true)));
        assert_eq!(run(b"\xf0\x9f\x98".chunks(1)), (3, Ok(false)));
        assert_eq!(run([&b"\xf0\x9f"[..], b"", b"\x98\x80x"].into_iter()), (5, Ok(true)));
    }

    #[test]
    fn the_state_has_four_bytes() {
        assert_eq!(size_of::<Utf8>(), 4);
    }

    /// Mostly valid text with some rubbish in it.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            4 => "\\PC{0,40}".prop_map(String::into_bytes),
            1 => proptest::collection::vec(prop_oneof![0x80..=0xffu8, any::<u8>()], 0..3),
        ];
        proptest::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_naive_answer(bytes in bytes(), size in 1usize..80) {
            prop_assert_eq!(run(bytes.chunks(size)).1, naive(&bytes));
            let (taken, answer) = run(bytes.chunks(1));
            prop_assert_eq!(answer, naive(&bytes));
            if answer.is_err() {
                prop_assert!(naive(&bytes[..taken]).is_ok() && naive(&bytes[..=taken]).is_err());
            }
        }
    }
}
