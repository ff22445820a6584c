//! Finds the bytes that structure a head, many at a time and without `unsafe`.
//!
//! A mark is LF, CR, `:`, `\`, NUL, or by the way of the comparison any other byte below 0x0e: a
//! caller looks at what it finds. Three comparisons over an array of fixed size are what the
//! compiler turns into vectors; a multiplication gathers eight flags into eight bits. A head is
//! mostly short lines, so that one search for all bytes beats a search for each.

use crate::search::has_any;

/// Bytes that are looked at together.
const BLOCK_BYTES: usize = 64;

#[inline]
fn is_mark(byte: u8) -> bool {
    // No `||`: a branch for each byte is what this file is to avoid.
    (byte < 0x0e) | (byte == b':') | (byte == b'\\')
}

/// Bit `i` is set where byte `i` is a mark.
fn marks_of(block: &[u8; BLOCK_BYTES]) -> u64 {
    let flags: [u8; BLOCK_BYTES] = block.map(|byte| u8::from(is_mark(byte)));
    let gather = |bits: u64, (i, flags): (usize, &[u8])| match flags.first_chunk() {
        // Moves the lowest bit of byte `k` to bit 56 + k.
        Some(&flags) => {
            let eight = u64::from_le_bytes(flags).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits | eight << (8 * i)
        }
        None => bits,
    };
    flags.chunks_exact(8).enumerate().fold(0, gather)
}

/// Whether any byte of a short text is a mark.
pub fn has_mark(text: &[u8]) -> bool {
    has_any(text, is_mark)
}

/// The places of the marks of `input`, in order.
pub struct Marks<'a> {
    input: &'a [u8],
    /// Where the block starts whose marks are in `bits`.
    start: usize,
    bits: u64,
}

impl<'a> Marks<'a> {
    /// Looks through `input` from its start.
    pub fn new(input: &'a [u8]) -> Marks<'a> {
        Marks { input, start: 0, bits: block_marks(input) }
    }
}

impl Iterator for Marks<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            self.start += BLOCK_BYTES;
            let rest = self.input.get(self.start..).filter(|rest| !rest.is_empty())?;
            self.bits = block_marks(rest);
        }
        let place = self.start + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(place)
    }
}

/// The marks among the first bytes of `rest`.
fn block_marks(rest: &[u8]) -> u64 {
    match rest.first_chunk() {
        Some(block) => marks_of(block),
        None => {
            // Anything but a mark.
            let mut block = [b'x'; BLOCK_BYTES];
            block[..rest.len()].copy_from_slice(rest);
            marks_of(&block)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(input: &[u8]) -> Vec<usize> {
        let is_mark = |byte: u8| matches!(byte, 0..=0x0d | b':' | b'\\');
        (0..input.len()).filter(|&at| is_mark(input[at])).collect()
    }

    /// Mostly text, with marks and their neighbours in it.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            8 => b'a'..=b'z',
            1 => prop::sample::select(&b"\n\r:\\\0\t\x0d\x0e\x8d\x8a\xba\xdc;9[]\x80\xff"[..]),
            1 => any::<u8>(),
        ];
        prop::collection::vec(byte, 0..200)
    }

    #[test]
    fn each_byte_alone() {
        // Miri looks at what is accessed, and that does not hang on the byte.
        for byte in (0..=255).step_by(if cfg!(miri) { 29 } else { 1 }) {
            let is_mark = naive(&[byte]).len() == 1;
            for length in 1..20 {
                for at in 0..length {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    assert_eq!(has_mark(&text), is_mark, "{byte:#x} at {at} of {length}");
                    assert_eq!(Marks::new(&text).next(), is_mark.then_some(at));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn same_as_naive(bytes in bytes()) {
            let found: Vec<usize> = Marks::new(&bytes).collect();
            prop_assert_eq!(has_mark(&bytes), !found.is_empty());
            prop_assert_eq!(found, naive(&bytes));
        }
    }
}
