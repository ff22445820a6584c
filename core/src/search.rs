//! Whether a text has a byte of some kind, sixteen bytes at a time and without `unsafe`.
//!
//! For the many short texts of a message (names, values, destinations, lines): most have none, and
//! saying so must not cost a branch per byte. A fold without `||` over an array of fixed size is
//! what the compiler turns into vectors. The kind is a function of a byte that uses `|` and `&`.

const BLOCK_BYTES: usize = 16;

/// Whether `is_wanted` is true of any byte of `text`.
#[inline]
pub fn has_any(text: &[u8], is_wanted: impl Fn(u8) -> bool + Copy) -> bool {
    let in_block = |block: &[u8; BLOCK_BYTES]| block_has_any(block, is_wanted);
    // Whole blocks, and a last one that overlaps them; or two halves that overlap.
    if let Some(last) = text.last_chunk() {
        let blocks = text[..text.len() - 1].chunks_exact(BLOCK_BYTES);
        return blocks.filter_map(|block| block.first_chunk()).any(in_block) || in_block(last);
    }
    let block = match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(&first), Some(&last)) => {
            u128::from(u64::from_le_bytes(first)) | u128::from(u64::from_le_bytes(last)) << 64
        }
        _ => match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
            (Some(&first), Some(&last)) => {
                let halves = [first, last].map(|half| u128::from(u32::from_le_bytes(half)));
                let half = halves[0] | halves[1] << 32;
                half | half << 64
            }
            _ => return text.iter().any(|&byte| is_wanted(byte)),
        },
    };
    in_block(&block.to_le_bytes())
}

/// Not inlined: a block that is known to be made of two words would be taken apart byte by byte.
#[inline(never)]
fn block_has_any(block: &[u8; BLOCK_BYTES], is_wanted: impl Fn(u8) -> bool) -> bool {
    block.iter().fold(false, |found, &byte| found | is_wanted(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_byte_at_each_place() {
        for length in 0..70 {
            let mut text = vec![b'a'; length];
            assert!(!has_any(&text, |byte| byte == b'b'));
            for at in 0..length {
                text[at] = b'b';
                assert!(has_any(&text, |byte| byte == b'b'), "at {at} of {length}");
                text[at] = b'a';
            }
        }
    }
}
