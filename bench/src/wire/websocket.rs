//! WebSocket as a client speaks it (RFC 6455): the upgrade, the head of a server's frame, and the
//! stream behind frames.
//!
//! STOMP and bare messages are one to a frame and are read where they lie. NATS and MQTT are
//! streams: "a single WebSocket data frame can contain multiple or partial MQTT Control Packets"
//! (MQTT 3.1.1 section 6.0). [`Frames`] takes such frames apart, however they are cut.

use super::{Inbound, Violation};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use sha1::{Digest, Sha1};
use std::io::Write as _;

/// Most bytes of the response to an upgrade.
pub const RESPONSE_BYTES_MAX: usize = 8_192;

/// `Sec-WebSocket-Key` for 16 random bytes, and the answer it must get (RFC 6455 §4.1).
pub fn websocket_key(random: [u8; 16]) -> (String, String) {
    let key = STANDARD.encode(random);
    let digest = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    (key, STANDARD.encode(digest))
}

/// The upgrade request.
pub fn upgrade_request(host: &str, path: &str, key: &str, protocols: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    );
    if let Some(protocols) = protocols {
        let _ = write!(out, "Sec-WebSocket-Protocol: {protocols}\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The bytes of a server's frame head and of the payload behind it; `None` needs more bytes.
///
/// # Errors
/// A mask, or a length of more than 63 bits.
#[inline]
pub fn frame_head(input: &[u8]) -> Result<Option<(usize, usize)>, Violation> {
    let &[_, second, ..] = input else { return Ok(None) };
    let (length, head) = match second {
        0..=125 => (usize::from(second), 2),
        126 => match input.get(2..4) {
            Some(bytes) => (usize::from(bytes[0]) << 8 | usize::from(bytes[1]), 4),
            None => return Ok(None),
        },
        127 => match input.get(2..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => (u64::from_be_bytes(*bytes) as usize, 10),
            None => return Ok(None),
        },
        _ => return Err("masked frame from a server"),
    };
    // "The most significant bit MUST be 0" (5.2).
    if length > isize::MAX as usize {
        return Err("frame too long");
    }
    Ok(Some((head, length)))
}

/// What a whole control frame says.
///
/// # Errors
/// No control frame.
pub fn control(frame: &[u8]) -> Result<Inbound<'_>, Violation> {
    let (first, payload) = match frame {
        [first, _, payload @ ..] => (*first, payload),
        _ => return Err("half a control frame"),
    };
    match first {
        0x88 => Ok(Inbound::Close(payload)),
        0x89 => Ok(Inbound::Ping(payload)),
        0x8a => Ok(Inbound::Other),
        _ => Err("fragmented or reserved WebSocket frame"),
    }
}

/// Takes one connection's frames apart whose payloads are a stream.
#[derive(Debug, Default)]
pub struct Frames {
    is_upgraded: bool,
    /// Bytes of a payload that are still to come.
    left: usize,
    /// What came of the response, of a frame's head or of a control frame.
    head: Vec<u8>,
}

impl Frames {
    /// Moves payload from the front of `input` to the end of `stream`. `Some` is the response to
    /// the upgrade or a control frame, whole: it came before the rest of `input`, which is left to
    /// the next call. `None` took all of `input`.
    ///
    /// # Errors
    /// Frames that carry no stream.
    pub fn next(
        &mut self,
        input: &mut &[u8],
        stream: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Violation> {
        loop {
            let (payload, rest) = input.split_at(self.left.min(input.len()));
            stream.extend_from_slice(payload);
            self.left -= payload.len();
            let Some((&byte, rest)) = rest.split_first() else {
                *input = rest;
                return Ok(None);
            };
            *input = rest;
            self.head.push(byte);
            if !self.is_upgraded {
                if self.head.ends_with(b"\r\n\r\n") {
                    self.is_upgraded = true;
                    return Ok(Some(std::mem::take(&mut self.head)));
                }
                if self.head.len() > RESPONSE_BYTES_MAX {
                    return Err("response head too long");
                }
                continue;
            }
            let Some((head_bytes, length)) = frame_head(&self.head)? else { continue };
            match self.head[0] {
                // Binary, whole or in fragments.
                0x82 | 0x02 | 0x00 | 0x80 => {
                    self.left = length;
                    self.head.clear();
                }
                // "All control frames MUST have a payload length of 125 bytes or less" (5.5).
                0x88..=0x8a if length <= 125 => {
                    if self.head.len() == head_bytes + length {
                        return Ok(Some(std::mem::take(&mut self.head)));
                    }
                }
                _ => return Err("a frame that is not binary in a stream of packets"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_rfc_6455_gets_its_answer() {
        let (key, accept) = websocket_key(*b"the sample nonce");
        assert_eq!(key, "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// A response, then a stream of 70,000 bytes in frames of every form with control frames in
    /// between.
    fn example() -> (Vec<u8>, Vec<u8>) {
        let stream: Vec<u8> = (0..70_000_u32).map(|number| (number % 251) as u8).collect();
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        let mut rest = &stream[..];
        for (first, length) in [(0x82, 5), (0x02, 0), (0x80, 300), (0x82, 66_000), (0x82, 3_695)] {
            let payload;
            (payload, rest) = rest.split_at(length);
            bytes.push(first);
            match length {
                0..=125 => bytes.push(length as u8),
                126..=0xffff => {
                    bytes.push(126);
                    bytes.extend((length as u16).to_be_bytes());
                }
                _ => {
                    bytes.push(127);
                    bytes.extend((length as u64).to_be_bytes());
                }
            }
            bytes.extend(payload);
            bytes.extend(b"\x89\x02hi");
        }
        assert!(rest.is_empty());
        bytes.extend(b"\x88\x02\x03\xe8");
        (bytes, stream)
    }

    #[test]
    fn the_stream_behind_frames_is_the_same_however_the_bytes_are_cut() {
        let (bytes, wanted) = example();
        for step in [1, 2, 3, 7, 64, 1_000, 32_768, bytes.len()] {
            let (mut frames, mut stream, mut others) = (Frames::default(), Vec::new(), Vec::new());
            for mut piece in bytes.chunks(step) {
                while let Some(other) = frames.next(&mut piece, &mut stream).unwrap() {
                    others.push((stream.len(), other));
                }
                assert!(piece.is_empty());
            }
            assert!(stream == wanted, "{step}");
            let ends: Vec<usize> = others.iter().map(|(at, _)| *at).collect();
            assert_eq!(ends, [0, 5, 5, 305, 66_305, 70_000, 70_000], "{step}");
            assert!(others[0].1.starts_with(b"HTTP/1.1 101"));
            assert_eq!(control(&others[1].1), Ok(Inbound::Ping(b"hi")));
            assert_eq!(others[6].1, b"\x88\x02\x03\xe8");
        }
    }

    #[test]
    fn what_carries_no_stream_is_refused() {
        let refused = |bytes: &[u8]| {
            let mut frames = Frames { is_upgraded: true, ..Frames::default() };
            frames.next(&mut &bytes[..], &mut Vec::new()).is_err()
        };
        assert!(refused(b"\x81\x01a"), "text");
        assert!(refused(b"\x82\x81"), "masked");
        assert!(refused(b"\x89\x7e\x00\x7e"), "a long ping");
        assert!(refused(b"\x82\x7f\xff\0\0\0\0\0\0\0"), "too long");
        assert!(Frames::default().next(&mut &[b'a'; 9_000][..], &mut Vec::new()).is_err());
    }
}
