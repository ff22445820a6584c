//! Why a WebSocket connection failed (RFC 6455 §7.1.7), and the close code that says so (§7.4.1).
//!
//! Grouped by blame: broken framing (1002), broken contents (1007), limits of ours (1008, 1009).
//! All are final: the receiver that returned one must not be used again.

use super::close::code;
use std::fmt;

/// A violation by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    // Broken framing: 1002.
    /// §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
    NotMasked,
    /// §5.2: RSV1-3 "MUST be 0 unless an extension is negotiated"; with permessage-deflate RSV1 may
    /// be set on the first frame of a message (RFC 7692 §6).
    ReservedBits,
    /// §5.2: opcodes 3-7 and 11-15.
    ReservedOpcode(u8),
    /// §5.2: "the minimal number of bytes MUST be used to encode the length".
    LengthNotMinimal,
    /// §5.2: of a 64-bit length, "the most significant bit MUST be 0".
    LengthTopBit,
    /// §5.5: control frames "MUST have a payload length of 125 bytes or less".
    ControlTooLong,
    /// §5.5: control frames "MUST NOT be fragmented".
    ControlFragmented,
    /// §5.4: a continuation frame while no message is open.
    ContinuationWithoutStart,
    /// §5.4: a text or binary frame while another message is open.
    DataInsideMessage,
    /// §5.5.1: a close payload of one byte, where a code has two.
    CloseTooShort,
    /// §7.4: a close code that must not be on the wire.
    CloseCode(u16),
    // Broken contents: 1007.
    /// RFC 7692 §7.2.2: a compressed message that cannot be inflated.
    NotDeflate,
    /// §8.1: a text message that is not UTF-8.
    TextNotUtf8,
    /// §5.5.1: a close reason that is not UTF-8.
    CloseReasonNotUtf8,
    // Limits.
    /// More payload bytes than `ws_message_bytes_max`, announced or summed up. 1009.
    MessageTooBig {
        /// Payload bytes of the message, as announced by its frames so far.
        seen: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// An inflated message over `ws_inflate_ratio_max` times its payload. 1009.
    InflateRatio {
        /// The limit.
        limit: u32,
    },
    /// More frames in one message than `ws_fragments_count_max`. 1008.
    TooManyFragments {
        /// Frames of the message so far.
        seen: u32,
        /// The limit in frames.
        limit: u32,
    },
}

impl Error {
    /// The code for our close frame.
    pub fn close_code(&self) -> u16 {
        match self {
            Error::TextNotUtf8 | Error::CloseReasonNotUtf8 | Error::NotDeflate => {
                code::INVALID_PAYLOAD
            }
            Error::MessageTooBig { .. } | Error::InflateRatio { .. } => code::TOO_BIG,
            Error::TooManyFragments { .. } => code::POLICY,
            _ => code::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Error::NotMasked => "seen a frame without mask",
            Error::ReservedBits => "seen reserved bits where no extension sets them",
            Error::ReservedOpcode(opcode) => return write!(f, "seen reserved opcode {opcode}"),
            Error::LengthNotMinimal => "seen a payload length in a longer form than needed",
            Error::LengthTopBit => "seen a payload length with its top bit set",
            Error::ControlTooLong => "seen a control frame over 125 bytes, limit is 125",
            Error::ControlFragmented => "seen a fragmented control frame",
            Error::ContinuationWithoutStart => "seen a continuation of no message",
            Error::DataInsideMessage => "seen a new message inside a fragmented one",
            Error::CloseTooShort => "seen a close payload of 1 byte",
            Error::CloseCode(code) => return write!(f, "seen close code {code}"),
            Error::TextNotUtf8 => "seen text that is not utf-8",
            Error::CloseReasonNotUtf8 => "seen a close reason that is not utf-8",
            Error::NotDeflate => "seen a compressed message that cannot be inflated",
            Error::InflateRatio { limit } => {
                return write!(f, "seen a message inflated over {limit} times, limit is {limit}");
            }
            Error::MessageTooBig { seen, limit } => {
                return write!(f, "seen a message of {seen} bytes, limit is {limit}");
            }
            Error::TooManyFragments { seen, limit } => {
                return write!(f, "seen {seen} fragments of a message, limit is {limit}");
            }
        };
        f.write_str(text)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_blame_has_its_close_code() {
        assert_eq!(Error::NotMasked.close_code(), 1002);
        assert_eq!(Error::CloseCode(1005).close_code(), 1002);
        assert_eq!(Error::TextNotUtf8.close_code(), 1007);
        let big = Error::MessageTooBig { seen: 11, limit: 10 };
        assert_eq!(big.close_code(), 1009);
        assert_eq!(big.to_string(), "seen a message of 11 bytes, limit is 10");
        assert_eq!(Error::NotDeflate.close_code(), 1007);
        assert_eq!(Error::InflateRatio { limit: 256 }.close_code(), 1009);
        assert_eq!(Error::TooManyFragments { seen: 129, limit: 128 }.close_code(), 1008);
    }

    #[test]
    fn every_text_fits_into_a_close_frame() {
        let limit = u64::MAX;
        let longest = Error::MessageTooBig { seen: limit, limit }.to_string();
        assert!(longest.len() <= 123);
    }
}
