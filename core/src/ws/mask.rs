//! Masking and unmasking, which are the same (RFC 6455 §5.3).
//!
//! "Octet i of the transformed data is the XOR of octet i of the original data with octet at index
//! i modulo 4 of the masking key." Written over 8-byte words, which the compiler turns into the
//! widest vectors of the target; no `unsafe`, no alignment rules.

/// XORs `payload` in place. `offset` is the index of `payload`'s first byte in its frame.
pub fn unmask(payload: &mut [u8], key: [u8; 4], offset: usize) {
    let key = rotate(key, offset);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    // Up to seven bytes: perhaps half a word, and up to three single ones.
    let rest = words.into_remainder();
    let (half, single) = rest.split_at_mut(rest.len() & 4);
    if let Some(half) = half.first_chunk_mut() {
        *half = (u32::from_ne_bytes(*half) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key_byte) in single.iter_mut().zip(key) {
        *byte ^= key_byte;
    }
}

/// The key as it applies from byte `offset` of a frame on.
#[inline]
pub fn rotate(key: [u8; 4], offset: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right(8 * (offset % 4) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(payload: &mut [u8], key: [u8; 4], offset: usize) {
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= key[(i + offset) % 4];
        }
    }

    #[test]
    fn the_example_of_section_5_7() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn e19_key_zero_changes_nothing() {
        let mut payload = *b"0123456789";
        unmask(&mut payload, [0; 4], 3);
        assert_eq!(&payload, b"0123456789");
    }

    proptest! {
        #[test]
        fn e19_same_as_naive(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            key: [u8; 4], offset in 0usize..9, start in 0usize..9,
        ) {
            let start = start.min(bytes.len());
            let (mut fast, mut slow) = (bytes.clone(), bytes.clone());
            unmask(&mut fast[start..], key, offset);
            naive(&mut slow[start..], key, offset);
            prop_assert_eq!(&fast, &slow);
            unmask(&mut fast[start..], key, offset);
            prop_assert_eq!(fast, bytes);
        }
    }
}
