//! Frames to the client, and how each transport wraps them (protocol, "Framing").
//!
//! `o` opens, `h` is the heart-beat, `a["...",...]` carries messages, `c[code,"reason"]` closes. A
//! [`Frame`] is not bytes yet: its messages are shared, each a JSON string that was escaped once
//! (see [`push_message`]), and only the shard with the client's connection writes the few bytes
//! around them. Scripts need the frame quoted once more, event streams need `%` as `%25`, because
//! the client runs `decodeURI` over them.
//!
//! Bytes are counted here without being written: the session's response limit needs the number
//! before the frame has crossed the mesh.

use bytes::Bytes;
use std::borrow::Cow;

use super::escape::{escape, escape_lossy};
use super::url::Transport;

/// Bytes of a close reason. As on a WebSocket (RFC 6455 §5.5), where it may end up.
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Why a session ends, for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Codes as on a WebSocket (RFC 6455 §7.4), and 2010 and 3000 by convention.
    pub code: u16,
    /// At most [`CLOSE_REASON_BYTES_MAX`] bytes.
    reason: Cow<'static, str>,
}

impl Close {
    /// What an application that gives no code means.
    pub const NORMAL: Close = Close::fixed(1000, "Normal closure");
    /// The session ended without the client's knowledge; what arrived is not known.
    pub const INTERRUPTED: Close = Close::fixed(1002, "Connection interrupted");
    /// Another receiver of the session is there already.
    pub const ANOTHER_CONNECTION: Close = Close::fixed(2010, "Another connection still open");
    /// The convention for "do not come back".
    pub const GO_AWAY: Close = Close::fixed(3000, "Go away!");
    /// A WebSocket message that is no payload.
    pub const BROKEN_FRAMING: Close = Close::fixed(3000, "Broken framing.");

    const fn fixed(code: u16, reason: &'static str) -> Close {
        Close { code, reason: Cow::Borrowed(reason) }
    }

    /// A reason over the limit is cut at a character.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Close {
        let reason = reason.into();
        if reason.len() <= CLOSE_REASON_BYTES_MAX {
            return Close { code, reason };
        }
        let is_start = |end: &usize| reason.is_char_boundary(*end);
        let end = (0..=CLOSE_REASON_BYTES_MAX).rev().find(is_start).unwrap_or(0);
        Close { code, reason: Cow::Owned(reason[..end].to_owned()) }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// One or more messages, oldest first, each a finished JSON string with its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages {
    first: Bytes,
    /// Without memory for the one message that is usual.
    rest: Vec<Bytes>,
}

impl Messages {
    /// `first` and then `rest`, as [`push_message`] writes them.
    pub fn new(first: Bytes, rest: Vec<Bytes>) -> Messages {
        Messages { first, rest }
    }

    /// The messages, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The message, if it is the only one: the same for every session that got it alone, so what
    /// was written for one may be sent to all.
    pub fn single(&self) -> Option<&Bytes> {
        self.rest.is_empty().then_some(&self.first)
    }
}

/// Appends a message as a JSON string, from the pieces of its text. A piece must not end within a
/// character; what is not UTF-8 becomes U+FFFD.
pub fn push_message(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    out.push(b'"');
    pieces.iter().for_each(|piece| escape_lossy(out, piece));
    out.push(b'"');
}

/// A frame, before a transport wraps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `o`: the session is open.
    Open,
    /// `h`: nothing to say, still here.
    Heartbeat,
    /// `a[...]`.
    Messages(Messages),
    /// `c[...]`: the session has ended.
    Close(Close),
}

/// What stands around a frame and what is changed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping<'a> {
    /// WebSocket: the frame is the message.
    Bare,
    /// xhr, xhr_streaming: a line.
    Line,
    /// eventsource: an event.
    Event,
    /// htmlfile: a script element.
    Script,
    /// jsonp: a call of this validated callback.
    Call(&'a str),
}

impl<'a> Wrapping<'a> {
    /// That of a transport; `callback` as [`super::callback`] returned it, used by jsonp alone.
    pub fn of(transport: Transport, callback: &'a str) -> Wrapping<'a> {
        match transport {
            Transport::WebSocket => Wrapping::Bare,
            Transport::EventSource => Wrapping::Event,
            Transport::HtmlFile => Wrapping::Script,
            Transport::Jsonp => Wrapping::Call(callback),
            Transport::Xhr
            | Transport::XhrStreaming
            | Transport::XhrSend
            | Transport::JsonpSend => Wrapping::Line,
        }
    }

    /// Bytes before the frame, in three pieces, and behind it.
    fn around(self) -> ([&'a str; 3], &'static str) {
        match self {
            Wrapping::Bare => (["", "", ""], ""),
            Wrapping::Line => (["", "", ""], "\n"),
            Wrapping::Event => (["data: ", "", ""], "\r\n\r\n"),
            Wrapping::Script => (["<script>\np(\"", "", ""], "\");\n</script>\r\n"),
            // The empty comment keeps the answer from being a Flash file (Rosetta Flash).
            Wrapping::Call(callback) => (["/**/", callback, "(\""], "\");\r\n"),
        }
    }

    fn push(self, out: &mut Vec<u8>, piece: &[u8]) {
        match self {
            Wrapping::Bare | Wrapping::Line => out.extend_from_slice(piece),
            Wrapping::Event => {
                let mut parts = piece.split(|&b| b == b'%');
                out.extend_from_slice(parts.next().unwrap_or(b""));
                for part in parts {
                    out.extend_from_slice(b"%25");
                    out.extend_from_slice(part);
                }
            }
            Wrapping::Script | Wrapping::Call(_) => push_quoted(out, piece),
        }
    }

    fn bytes_of(self, piece: &[u8]) -> usize {
        match self {
            Wrapping::Bare | Wrapping::Line => piece.len(),
            Wrapping::Event => piece.len() + 2 * memchr::memchr_iter(b'%', piece).count(),
            Wrapping::Script | Wrapping::Call(_) => {
                piece.len() + quoted(piece).map(|(_, with)| with.len() - 1).sum::<usize>()
            }
        }
    }
}

/// What a frame needs to stand in a script's string: it has no controls left, so only quotes,
/// backslashes, and `<`, or a message could end the script (`</script>`) or hide its end (`<!--`).
/// Positions with what is written instead.
fn quoted(piece: &[u8]) -> impl Iterator<Item = (usize, &'static [u8])> + '_ {
    memchr::memchr3_iter(b'"', b'\\', b'<', piece).map(|at| {
        let with: &[u8] = match (piece[at], piece.get(at + 1)) {
            (b'"', _) => b"\\\"",
            (b'\\', _) => b"\\\\",
            (_, Some(b'/')) => b"<\\",
            _ => b"\\u003c",
        };
        (at, with)
    })
}

fn push_quoted(out: &mut Vec<u8>, piece: &[u8]) {
    let mut copied = 0;
    for (at, with) in quoted(piece) {
        out.extend_from_slice(&piece[copied..at]);
        out.extend_from_slice(with);
        copied = at + 1;
    }
    out.extend_from_slice(&piece[copied..]);
}

impl Frame {
    /// Appends the frame as the transport carries it: a whole chunk of a streaming answer, or the
    /// whole body of a polling one.
    pub fn encode(&self, out: &mut Vec<u8>, wrapping: Wrapping<'_>) {
        let (before, behind) = wrapping.around();
        before.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
        self.for_each_piece(|piece| wrapping.push(out, piece));
        out.extend_from_slice(behind.as_bytes());
    }

    /// Number of bytes that [`Frame::encode`] appends. This is what counts against the response
    /// limit.
    pub fn wrapped_bytes(&self, wrapping: Wrapping<'_>) -> usize {
        let (before, behind) = wrapping.around();
        let mut bytes = before.iter().map(|piece| piece.len()).sum::<usize>() + behind.len();
        self.for_each_piece(|piece| bytes += wrapping.bytes_of(piece));
        bytes
    }

    fn for_each_piece(&self, mut visit: impl FnMut(&[u8])) {
        match self {
            Frame::Open => visit(b"o"),
            Frame::Heartbeat => visit(b"h"),
            Frame::Messages(messages) => {
                visit(b"a[");
                for (i, message) in messages.iter().enumerate() {
                    if i > 0 {
                        visit(b",");
                    }
                    visit(message);
                }
                visit(b"]");
            }
            Frame::Close(close) => {
                let mut text = format!("c[{},\"", close.code).into_bytes();
                escape(&mut text, close.reason());
                text.extend_from_slice(b"\"]");
                visit(&text);
            }
        }
    }
}

/// The first chunk of an xhr_streaming answer: 2,048 heart-beats on one line, until browsers of old
/// believe that data is coming.
const STREAM_PRELUDE: [u8; 2049] = {
    let mut prelude = [b'h'; 2049];
    prelude[2048] = b'\n';
    prelude
};

const HTMLFILE_BEFORE_CALLBACK: &str = r#"<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent."#;

const HTMLFILE_BEHIND_CALLBACK: &str = ";
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>
";

/// Bytes a browser wants to see before it takes an answer for a page.
const HTMLFILE_PRELUDE_BYTES_MIN: usize = 1_024;

/// Appends what goes before the first frame of an answer, a chunk of its own; nothing for polls.
/// Not counted against the response limit. `callback` is used by htmlfile alone.
pub fn push_prelude(out: &mut Vec<u8>, transport: Transport, callback: &str) {
    match transport {
        Transport::XhrStreaming => out.extend_from_slice(&STREAM_PRELUDE),
        Transport::EventSource => out.extend_from_slice(b"\r\n"),
        Transport::HtmlFile => {
            let start = out.len();
            for piece in [HTMLFILE_BEFORE_CALLBACK, callback, HTMLFILE_BEHIND_CALLBACK] {
                out.extend_from_slice(piece.as_bytes());
            }
            let padded_bytes = (out.len() - start).max(HTMLFILE_PRELUDE_BYTES_MIN);
            out.resize(start + padded_bytes, b' ');
            out.extend_from_slice(b"\r\n\r\n");
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
