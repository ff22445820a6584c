//! The head of a frame (RFC 6455 §5.2), decoded from clients and encoded to them.
//!
//! ```text
//! FIN RSV1-3 opcode | MASK length(7) | length(16 or 64 more) | masking key(32)
//! ```
//!
//! Decoding refuses a bad head with the first byte that shows it, and a payload over the message
//! limit before a single byte of it is there. Lengths stay `u64` until they were compared.

use super::error::Error;
use super::mask;
use crate::limits::{Limits, WS_CONTROL_PAYLOAD_BYTES_MAX, WS_HEADER_BYTES_MAX};

/// What a frame is (RFC 6455 §11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the open message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// The closing handshake.
    Close = 8,
    /// To be answered by a pong with the same payload.
    Ping = 9,
    /// An answer to a ping, or unasked for.
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Opcode, Error> {
        match bits {
            0 => Ok(Opcode::Continuation),
            1 => Ok(Opcode::Text),
            2 => Ok(Opcode::Binary),
            8 => Ok(Opcode::Close),
            9 => Ok(Opcode::Ping),
            10 => Ok(Opcode::Pong),
            reserved => Err(Error::ReservedOpcode(reserved)),
        }
    }

    /// Close, ping or pong: never fragmented, 125 bytes at most.
    pub fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// The bit of a head's first byte that marks a compressed message (RFC 7692 §6).
pub const RSV1: u8 = 0x40;

/// The head of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub opcode: Opcode,
    /// RSV1: the first frame of a compressed message (RFC 7692 §6).
    pub is_compressed: bool,
    /// The FIN bit: last fragment of its message.
    pub is_final: bool,
    /// The masking key.
    pub key: [u8; 4],
    /// Bytes of payload that follow; of data never over `ws_message_bytes_max`.
    pub payload_bytes: u64,
}

/// Decodes the head at the front of `input`; the number is its bytes, 6, 8 or 14. `Ok(None)` means
/// more bytes are needed. With `has_deflate` permessage-deflate was agreed on, and RSV1 may be set.
/// Limit: `ws_message_bytes_max`.
pub fn decode_header(
    input: &[u8],
    has_deflate: bool,
    limits: &Limits,
) -> Result<Option<(Header, usize)>, Error> {
    let Some(&first) = input.first() else { return Ok(None) };
    let is_compressed = first & RSV1 != 0;
    if first & 0x70 & !RSV1 != 0 || (is_compressed && !has_deflate) {
        return Err(Error::ReservedBits);
    }
    let opcode = Opcode::from_bits(first & 0x0f)?;
    // RFC 7692 §6.1: not on control frames, and only on the first fragment of a message.
    if is_compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(Error::ReservedBits);
    }
    let is_final = first & 0x80 != 0;
    if opcode.is_control() && !is_final {
        return Err(Error::ControlFragmented);
    }
    let Some(&second) = input.get(1) else { return Ok(None) };
    if second & 0x80 == 0 {
        return Err(Error::NotMasked);
    }
    let short = second & 0x7f;
    if opcode.is_control() && usize::from(short) > WS_CONTROL_PAYLOAD_BYTES_MAX {
        return Err(Error::ControlTooLong);
    }
    let rest = &input[2..];
    let (payload_bytes, length_bytes) = match short {
        126 => {
            let Some(bytes) = rest.first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*bytes)), 2)
        }
        127 => {
            let Some(bytes) = rest.first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*bytes), 8)
        }
        short => (u64::from(short), 0),
    };
    check_length(payload_bytes, length_bytes)?;
    let limit = limits.ws_message_bytes_max;
    if payload_bytes > limit && !opcode.is_control() {
        return Err(Error::MessageTooBig { seen: payload_bytes, limit });
    }
    let Some(key) = rest[length_bytes..].first_chunk::<4>() else { return Ok(None) };
    let header = Header { opcode, is_compressed, is_final, key: *key, payload_bytes };
    Ok(Some((header, 2 + length_bytes + 4)))
}

fn check_length(payload_bytes: u64, length_bytes: usize) -> Result<(), Error> {
    if payload_bytes > i64::MAX as u64 {
        return Err(Error::LengthTopBit);
    }
    let is_minimal = match length_bytes {
        0 => true,
        2 => payload_bytes > 125,
        _ => payload_bytes > u64::from(u16::MAX),
    };
    if !is_minimal {
        return Err(Error::LengthNotMinimal);
    }
    Ok(())
}

/// Writes the head of one of our frames and returns its bytes, 2, 4 or 10: FIN, no mask (§5.1: "A
/// server MUST NOT mask any frames that it sends to the client"), the shortest length.
pub fn encode_header(
    out: &mut [u8; WS_HEADER_BYTES_MAX],
    opcode: Opcode,
    payload_bytes: u64,
) -> usize {
    out[0] = 0x80 | opcode as u8;
    match payload_bytes {
        0..=125 => {
            out[1] = payload_bytes as u8;
            2
        }
        126..=0xffff => {
            out[1] = 126;
            out[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
            4
        }
        _ => {
            out[1] = 127;
            out[2..10].copy_from_slice(&payload_bytes.to_be_bytes());
            10
        }
    }
}

/// Appends a whole masked frame, as a client sends it: for tests and the load generator.
pub fn encode_masked(out: &mut Vec<u8>, opcode: Opcode, key: [u8; 4], payload: &[u8]) {
    let mut head = [0; WS_HEADER_BYTES_MAX];
    let head_bytes = encode_header(&mut head, opcode, payload.len() as u64);
    head[1] |= 0x80;
    out.extend_from_slice(&head[..head_bytes]);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::unmask(&mut out[start..], key, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(input: &[u8]) -> Result<Option<(Header, usize)>, Error> {
        decode_header(input, false, &Limits::default())
    }

    fn with_length(form: u8, length: &[u8]) -> Vec<u8> {
        [&[0x82, 0x80 | form], length, &[1, 2, 3, 4]].concat()
    }

    #[test]
    fn e01_a_frame_without_mask_is_refused() {
        assert_eq!(decode(&[0x81, 0x05]), Err(Error::NotMasked));
    }

    #[test]
    fn e02_reserved_opcodes_are_refused() {
        for opcode in (3..8).chain(11..16) {
            assert_eq!(decode(&[0x80 | opcode]), Err(Error::ReservedOpcode(opcode)));
        }
    }

    #[test]
    fn e03_reserved_bits_are_refused() {
        for bit in [0x40, 0x20, 0x10] {
            assert_eq!(decode(&[0x81 | bit]), Err(Error::ReservedBits));
        }
    }

    #[test]
    fn e04_lengths_must_be_minimal() {
        assert_eq!(decode(&with_length(126, &[0, 5])), Err(Error::LengthNotMinimal));
        assert_eq!(decode(&with_length(126, &[0, 125])), Err(Error::LengthNotMinimal));
        assert_eq!(decode(&with_length(126, &[0, 126])).unwrap().unwrap().1, 8);
        let length = 300u64.to_be_bytes();
        assert_eq!(decode(&with_length(127, &length)), Err(Error::LengthNotMinimal));
        let length = 65_535u64.to_be_bytes();
        assert_eq!(decode(&with_length(127, &length)), Err(Error::LengthNotMinimal));
        let length = 65_536u64.to_be_bytes();
        assert_eq!(decode(&with_length(127, &length)).unwrap().unwrap().1, 14);
    }

    #[test]
    fn e05_e06_huge_lengths_are_refused_at_the_head() {
        let limit = Limits::default().ws_message_bytes_max;
        for seen in [limit + 1, 1 << 30, i64::MAX as u64] {
            let error = decode(&with_length(127, &seen.to_be_bytes()));
            assert_eq!(error, Err(Error::MessageTooBig { seen, limit }));
        }
        for seen in [1 << 63, u64::MAX] {
            let error = decode(&with_length(127, &u64::to_be_bytes(seen)));
            assert_eq!(error, Err(Error::LengthTopBit));
        }
        assert!(decode(&with_length(127, &limit.to_be_bytes())).unwrap().is_some());
    }

    #[test]
    fn e07_control_frames_are_short_and_whole() {
        assert_eq!(decode(&[0x89, 0x80 | 126]), Err(Error::ControlTooLong));
        assert_eq!(decode(&[0x88, 0x80 | 127]), Err(Error::ControlTooLong));
        assert_eq!(decode(&[0x09]), Err(Error::ControlFragmented));
        assert_eq!(decode(&[0x89, 0x80 | 125, 0, 0, 0, 0]).unwrap().unwrap().1, 6);
    }

    #[test]
    fn every_prefix_of_a_head_needs_more() {
        let head = with_length(127, &70_000u64.to_be_bytes());
        for n in 0..head.len() {
            assert_eq!(decode(&head[..n]), Ok(None));
        }
        let (header, used) = decode(&head).unwrap().unwrap();
        assert_eq!((header.payload_bytes, header.key, used), (70_000, [1, 2, 3, 4], 14));
    }

    proptest! {
        #[test]
        fn e30_our_heads_are_minimal_final_and_unmasked(
            payload_bytes in prop_oneof![0u64..300, 65_000u64..66_000, any::<u64>()],
        ) {
            let mut head = [0; 14];
            let used = encode_header(&mut head, Opcode::Ping, payload_bytes);
            prop_assert_eq!((head[0], head[1] & 0x80), (0x89, 0));
            let expected = match payload_bytes { 0..=125 => 2, 126..=65_535 => 4, _ => 10 };
            prop_assert_eq!(used, expected);
        }

        #[test]
        fn a_masked_frame_decodes_to_itself(
            payload in proptest::collection::vec(any::<u8>(), 0..400), key: [u8; 4],
        ) {
            let mut out = Vec::new();
            encode_masked(&mut out, Opcode::Binary, key, &payload);
            let (header, used) = decode(&out).unwrap().unwrap();
            prop_assert_eq!((header.opcode, header.is_final), (Opcode::Binary, true));
            prop_assert_eq!(header.payload_bytes as usize, out.len() - used);
            mask::unmask(&mut out[used..], header.key, 0);
            prop_assert_eq!(&out[used..], &payload[..]);
        }

        #[test]
        fn no_bytes_make_it_panic(input in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = decode(&input);
        }
    }
}
