//! Bytes of a client to events (RFC 6455 §5.4-5.6, §8.1): the state machine of one connection.
//!
//! Nothing is assembled: a piece of a data message is unmasked where it lies and handed out as it
//! arrived, so memory never follows an announced length. Control frames come whole or not at all.
//! Errors come as early as the byte that shows them, whatever the reads were cut into; sizes and
//! fragment counts are checked when a head is complete, before its payload.
//!
//! 24 bytes, because there is one for every connection. Therefore sums are `u32`: a message never
//! exceeds 4 GiB - 1, whatever the limit says.

use super::close;
use super::error::Error;
use super::extensions::Window;
use super::frame::{decode_header, Header, Opcode};
use super::mask::{rotate, unmask};
use super::utf8::Utf8;
use crate::limits::Limits;

/// The kind of a data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8, checked.
    Text,
    /// Any bytes.
    Binary,
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of a data message, unmasked in place; may be empty.
    Data {
        /// Text or binary, the same for all pieces of a message.
        kind: MessageKind,
        /// The message is compressed: its joined pieces are for
        /// [`inflate`](super::deflate::Inflater::inflate), and a text is not checked yet.
        compressed: bool,
        /// The bytes. A text's piece may end inside a code point.
        payload: &'a mut [u8],
        /// First piece of the message.
        starts: bool,
        /// Last piece of the message.
        ends: bool,
    },
    /// To be answered by a pong with the same payload, 125 bytes at most.
    Ping(&'a [u8]),
    /// An answer to a ping of ours, or unasked for.
    Pong(&'a [u8]),
    /// The client closes. Ignore whatever follows (§5.5.1).
    Close {
        /// The code, if there was one; a valid one.
        code: Option<u16>,
        /// The reason, 123 bytes at most.
        reason: &'a str,
    },
}

/// The state between two reads. After an error it must not be used again.
#[derive(Debug, Default)]
pub struct Receiver {
    /// Payload bytes of the open data frame that are still to come.
    remaining_bytes: u32,
    /// Payload bytes of the open message, as announced by its frames so far.
    message_bytes: u32,
    /// Frames of the open message so far.
    fragments_count: u32,
    /// The open frame's key, rotated so that it starts with the next byte.
    key: [u8; 4],
    utf8: Utf8,
    /// Between messages: `None`.
    kind: Option<MessageKind>,
    /// The open frame has FIN.
    is_final: bool,
    /// The open message is compressed.
    is_compressed: bool,
    /// Permessage-deflate was agreed on, and this is the window for what we send.
    deflate: Option<Window>,
}

const _: () = assert!(size_of::<Receiver>() <= 24);

impl Receiver {
    /// For a connection that agreed on permessage-deflate, or did not.
    pub fn new(deflate: Option<Window>) -> Receiver {
        Receiver { deflate, ..Receiver::default() }
    }

    /// The window for what we send, if permessage-deflate was agreed on.
    pub fn deflate(&self) -> Option<Window> {
        self.deflate
    }

    /// Takes the next event from the front of `input`; the number is the bytes consumed.
    /// `Ok(None)` means more bytes are needed and nothing was consumed or changed.
    ///
    /// Limits: `ws_message_bytes_max` over all frames of a message, `ws_fragments_count_max`.
    pub fn next_event<'a>(
        &mut self,
        input: &'a mut [u8],
        limits: &Limits,
    ) -> Result<Option<(Event<'a>, usize)>, Error> {
        if self.remaining_bytes > 0 {
            if input.is_empty() {
                return Ok(None);
            }
            return self.data(input, false).map(Some);
        }
        let has_deflate = self.deflate.is_some();
        let Some((header, header_bytes)) = decode_header(input, has_deflate, limits)? else {
            return Ok(None);
        };
        let rest = &mut input[header_bytes..];
        let found = if header.opcode.is_control() {
            control(&header, rest)?
        } else {
            let (kind, message_bytes, fragments_count) = self.check_data(&header, limits)?;
            // Below the limit, which fits a usize.
            let payload_bytes = header.payload_bytes as usize;
            if self.kind.is_none() && header.is_final && rest.len() >= payload_bytes {
                let event = whole_message(kind, &header, &mut rest[..payload_bytes])?;
                return Ok(Some((event, header_bytes + payload_bytes)));
            }
            if rest.is_empty() && header.payload_bytes > 0 {
                return Ok(None);
            }
            let starts = self.kind.is_none();
            if starts {
                self.is_compressed = header.is_compressed;
            }
            self.kind = Some(kind);
            // At least as large as its last summand, so both fit.
            self.message_bytes = message_bytes;
            self.remaining_bytes = header.payload_bytes as u32;
            self.fragments_count = fragments_count;
            self.key = header.key;
            self.is_final = header.is_final;
            Some(self.data(rest, starts)?)
        };
        Ok(found.map(|(event, payload_bytes)| (event, header_bytes + payload_bytes)))
    }

    /// True in the middle of a message or a frame whose head was consumed.
    pub fn is_mid_message(&self) -> bool {
        self.kind.is_some()
    }

    /// Checks a data frame's head against the open message. Returns the kind, bytes and frames of
    /// the message with this frame.
    fn check_data(
        &self,
        header: &Header,
        limits: &Limits,
    ) -> Result<(MessageKind, u32, u32), Error> {
        let kind = match (self.kind, header.opcode) {
            (Some(kind), Opcode::Continuation) => kind,
            (None, Opcode::Continuation) => return Err(Error::ContinuationWithoutStart),
            (Some(_), _) => return Err(Error::DataInsideMessage),
            (None, Opcode::Text) => MessageKind::Text,
            (None, _) => MessageKind::Binary,
        };
        let limit = limits.ws_message_bytes_max.min(u64::from(u32::MAX));
        let seen = u64::from(self.message_bytes).saturating_add(header.payload_bytes);
        if seen > limit {
            return Err(Error::MessageTooBig { seen, limit });
        }
        let fragments_count = self.fragments_count.saturating_add(1);
        let limit = limits.ws_fragments_count_max;
        if fragments_count > limit {
            return Err(Error::TooManyFragments { seen: fragments_count, limit });
        }
        Ok((kind, seen as u32, fragments_count))
    }

    /// Hands out what is there of the open frame's payload.
    fn data<'a>(&mut self, input: &'a mut [u8], starts: bool) -> Result<(Event<'a>, usize), Error> {
        // Only called inside a message, but the kind has no default that would be right.
        let Some(kind) = self.kind else { return Err(Error::ContinuationWithoutStart) };
        let piece_bytes = input.len().min(self.remaining_bytes as usize);
        let payload = &mut input[..piece_bytes];
        unmask(payload, self.key, 0);
        self.key = rotate(self.key, piece_bytes);
        self.remaining_bytes -= piece_bytes as u32;
        let ends = self.is_final && self.remaining_bytes == 0;
        let compressed = self.is_compressed;
        if kind == MessageKind::Text && !compressed {
            self.utf8.push(payload).map_err(|_| Error::TextNotUtf8)?;
            if ends && !self.utf8.is_complete() {
                return Err(Error::TextNotUtf8);
            }
        }
        if ends {
            *self = Receiver::new(self.deflate);
        }
        Ok((Event::Data { kind, compressed, payload, starts, ends }, piece_bytes))
    }
}

/// A message that is one frame and all there, as nearly all are: it leaves no state behind.
fn whole_message<'a>(
    kind: MessageKind,
    header: &Header,
    payload: &'a mut [u8],
) -> Result<Event<'a>, Error> {
    unmask(payload, header.key, 0);
    let compressed = header.is_compressed;
    let is_checked = kind == MessageKind::Text && !compressed;
    if is_checked && simdutf8::basic::from_utf8(payload).is_err() {
        return Err(Error::TextNotUtf8);
    }
    Ok(Event::Data { kind, compressed, payload, starts: true, ends: true })
}

/// A control frame, if all of it is there. It may come between the fragments of a message (§5.4).
fn control<'a>(header: &Header, input: &'a mut [u8]) -> Result<Option<(Event<'a>, usize)>, Error> {
    let payload_bytes = header.payload_bytes as usize; // At most 125, checked with the head.
    let Some(payload) = input.get_mut(..payload_bytes) else { return Ok(None) };
    unmask(payload, header.key, 0);
    let payload = &*payload;
    let event = match header.opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => {
            let (code, reason) = close::decode(payload)?;
            Event::Close { code, reason }
        }
    };
    Ok(Some((event, payload_bytes)))
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
