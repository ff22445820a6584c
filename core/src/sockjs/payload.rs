//! Messages from the client: a JSON array of strings (protocol, "xhr_send", "jsonp_send",
//! WebSocket).
//!
//! All or nothing: a body is read to its end before its first message is handed out. The strings
//! are unescaped where they lie, in the caller's buffer. Whatever the request calls its type, the
//! body of `xhr_send` is JSON; only `jsonp_send` looks at it.
//!
//! simd-json turns a lone high surrogate into NUL, which would end a STOMP frame in the middle, and
//! combines a pair without looking at its range; so surrogates are paired here, before it runs.

use simd_json::{Buffers, Node};

use super::error::Error;
use crate::limits::Limits;

/// Working memory of the parser, one per shard, kept from body to body.
#[derive(Default)]
pub struct Parser {
    buffers: Buffers,
}

/// The messages of one body, in order.
#[derive(Debug)]
pub struct Payload<'a> {
    nodes: Vec<Node<'a>>,
}

impl<'a> Payload<'a> {
    /// The messages' texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.nodes.iter().filter_map(|node| match node {
            Node::String(text) => Some(*text),
            _ => None,
        })
    }
}

impl Parser {
    /// Reads the body of an `xhr_send`, which is overwritten.
    ///
    /// # Errors
    /// [`Error::PayloadExpected`] for an empty body and for JSON that is no array,
    /// [`Error::BrokenJson`], and by the limits `sockjs_payload_bytes_max` and
    /// `sockjs_payload_messages_max` [`Error::PayloadTooLarge`] and [`Error::TooManyMessages`].
    pub fn parse<'a>(&mut self, body: &'a mut [u8], limits: &Limits) -> Result<Payload<'a>, Error> {
        let nodes = self.nodes(body, limits)?;
        match nodes.first() {
            Some(Node::Array { len, count }) => {
                check_strings(&nodes[1..], *len, *count, limits)?;
                Ok(Payload { nodes })
            }
            _ => Err(Error::PayloadExpected),
        }
    }

    /// Reads a WebSocket message, which is overwritten: an array or one string. `Ok(None)` for an
    /// empty message, which is ignored. Errors as [`Parser::parse`].
    pub fn parse_websocket<'a>(
        &mut self,
        message: &'a mut [u8],
        limits: &Limits,
    ) -> Result<Option<Payload<'a>>, Error> {
        if message.is_empty() {
            return Ok(None);
        }
        let nodes = self.nodes(message, limits)?;
        match nodes.first() {
            Some(Node::Array { len, count }) => check_strings(&nodes[1..], *len, *count, limits)?,
            Some(Node::String(_)) => {}
            _ => return Err(Error::PayloadExpected),
        }
        Ok(Some(Payload { nodes }))
    }

    /// Reads the body of a `jsonp_send`, which is overwritten: the field `d` of a form when
    /// `content_type` says so, else JSON as it is. Errors as [`Parser::parse`].
    pub fn parse_jsonp<'a>(
        &mut self,
        body: &'a mut [u8],
        content_type: Option<&str>,
        limits: &Limits,
    ) -> Result<Payload<'a>, Error> {
        let limit = limits.sockjs_payload_bytes_max;
        if body.len() > limit {
            return Err(Error::PayloadTooLarge { seen: body.len(), limit });
        }
        let media = content_type.unwrap_or("").split(';').next().unwrap_or("").trim();
        if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            self.parse(form_field(body)?, limits)
        } else {
            self.parse(body, limits)
        }
    }

    fn nodes<'a>(&mut self, body: &'a mut [u8], limits: &Limits) -> Result<Vec<Node<'a>>, Error> {
        let limit = limits.sockjs_payload_bytes_max;
        if body.is_empty() {
            return Err(Error::PayloadExpected);
        }
        if body.len() > limit {
            return Err(Error::PayloadTooLarge { seen: body.len(), limit });
        }
        check_surrogates(body)?;
        let tape = simd_json::to_tape_with_buffers(body, &mut self.buffers);
        Ok(tape.map_err(|_| Error::BrokenJson)?.0)
    }
}

/// The nodes behind that of an array: as many strings as it has elements.
fn check_strings(
    nodes: &[Node<'_>],
    len: usize,
    count: usize,
    limits: &Limits,
) -> Result<(), Error> {
    let limit = limits.sockjs_payload_messages_max;
    if len > limit {
        return Err(Error::TooManyMessages { seen: len, limit });
    }
    // A flat array has as many nodes as elements.
    let is_flat = len == count && nodes.len() == len;
    if !is_flat || !nodes.iter().all(|node| matches!(node, Node::String(_))) {
        return Err(Error::BrokenJson);
    }
    Ok(())
}

/// Every `\ud8xx`-`\udbxx` is followed by one `\udcxx`-`\udfxx`, which stands nowhere else.
fn check_surrogates(body: &[u8]) -> Result<(), Error> {
    let mut rest = body;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let escape = &rest[at..];
        let Some(unit) = code_unit(escape) else {
            rest = escape.get(2..).unwrap_or(&[]);
            continue;
        };
        let escape_bytes = match unit {
            0xd800..=0xdbff => match code_unit(&escape[6..]) {
                Some(0xdc00..=0xdfff) => 12,
                _ => return Err(Error::BrokenJson),
            },
            0xdc00..=0xdfff => return Err(Error::BrokenJson),
            _ => 6,
        };
        rest = &escape[escape_bytes..];
    }
    Ok(())
}

/// The code unit of a whole `\uxxxx` at the front.
fn code_unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, &b| Some(unit * 16 + char::from(b).to_digit(16)?))
}

/// The field `d` of a form, decoded in place: `+` is a blank, `%xx` a byte; a `%` without digits is
/// itself.
fn form_field(body: &mut [u8]) -> Result<&mut [u8], Error> {
    let mut fields = body.split_mut(|&b| b == b'&').filter(|field| field.starts_with(b"d="));
    let value = fields.next().and_then(|field| field.get_mut(2..));
    let value = value.ok_or(Error::PayloadExpected)?;
    let (mut read, mut written) = (0, 0);
    while read < value.len() {
        let digit =
            |ahead: usize| value.get(read + ahead).and_then(|&byte| char::from(byte).to_digit(16));
        let (byte, read_bytes) = match (value[read], digit(1), digit(2)) {
            (b'+', ..) => (b' ', 1),
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, 3),
            (byte, ..) => (byte, 1),
        };
        value[written] = byte;
        written += 1;
        read += read_bytes;
    }
    Ok(&mut value[..written])
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
