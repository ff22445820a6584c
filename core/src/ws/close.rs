//! The closing handshake: codes and close frames (RFC 6455 §5.5.1, §7.4).
//!
//! A close payload is empty, or a code of two bytes and a reason in UTF-8. Codes that only
//! describe what happened locally (1005, 1006, 1015) and codes nobody has assigned must not be on
//! the wire (§7.4.1, §7.4.2).

use super::error::Error;
use super::frame::{encode_header, Opcode};
use crate::limits::{WS_CONTROL_PAYLOAD_BYTES_MAX, WS_HEADER_BYTES_MAX};

/// The close codes we send (RFC 6455 §7.4.1).
pub mod code {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The server is shutting down.
    pub const GOING_AWAY: u16 = 1001;
    /// Broken framing, or a protocol error of the layer above.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A kind of data this end point does not take.
    pub const UNSUPPORTED: u16 = 1003;
    /// Text that is not UTF-8.
    pub const INVALID_PAYLOAD: u16 = 1007;
    /// A rule of ours was broken.
    pub const POLICY: u16 = 1008;
    /// A message over the limit.
    pub const TOO_BIG: u16 = 1009;
    /// A fault of ours.
    pub const INTERNAL: u16 = 1011;
}

/// Whether a code may be on the wire: 1000-1003, 1007-1014 (IANA registry), 3000-4999.
pub fn is_valid_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Appends a complete close frame of ours. The reason is cut to 123 bytes on a char boundary.
/// `code` is the caller's constant and must be valid.
pub fn encode(out: &mut Vec<u8>, code: u16, reason: &str) {
    debug_assert!(is_valid_code(code), "close code {code}");
    let mut reason_bytes = reason.len().min(WS_CONTROL_PAYLOAD_BYTES_MAX - 2);
    while !reason.is_char_boundary(reason_bytes) {
        reason_bytes -= 1;
    }
    let mut head = [0; WS_HEADER_BYTES_MAX];
    let head_bytes = encode_header(&mut head, Opcode::Close, 2 + reason_bytes as u64);
    out.extend_from_slice(&head[..head_bytes]);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..reason_bytes]);
}

/// Reads the unmasked payload of a close frame.
pub fn decode(payload: &[u8]) -> Result<(Option<u16>, &str), Error> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok((None, "")) } else { Err(Error::CloseTooShort) };
    };
    let code = u16::from_be_bytes(*code);
    if !is_valid_code(code) {
        return Err(Error::CloseCode(code));
    }
    let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Error::CloseReasonNotUtf8)?;
    Ok((Some(code), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e21_codes() {
        let bad = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
        for code in bad {
            assert_eq!(decode(&u16::to_be_bytes(code)), Err(Error::CloseCode(code)));
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4999] {
            assert_eq!(decode(&u16::to_be_bytes(code)), Ok((Some(code), "")));
        }
    }

    #[test]
    fn e20_payloads() {
        assert_eq!(decode(b""), Ok((None, "")));
        assert_eq!(decode(b"\x03"), Err(Error::CloseTooShort));
        assert_eq!(decode(b"\x03\xe8bye"), Ok((Some(1000), "bye")));
        assert_eq!(decode(b"\x03\xe8\xff"), Err(Error::CloseReasonNotUtf8));
        assert_eq!(decode(b"\x03\xe8\xe2\x82"), Err(Error::CloseReasonNotUtf8));
    }

    #[test]
    fn a_long_reason_is_cut_on_a_char_boundary() {
        let mut out = Vec::new();
        encode(&mut out, code::NORMAL, "");
        assert_eq!(out, b"\x88\x02\x03\xe8");
        for (reason, kept) in
            [("a".repeat(123), 123), ("a".repeat(124), 123), ("é".repeat(90), 122)]
        {
            let mut out = Vec::new();
            encode(&mut out, code::INTERNAL, &reason);
            assert_eq!((out[1] as usize, out.len()), (kept + 2, kept + 4));
            assert_eq!(decode(&out[2..]), Ok((Some(1011), &reason[..kept])));
        }
    }
}
