//! SockJS as a client speaks it: frames and messages in, session names and requests out.
//!
//! A server's frames are `o`, `h`, `a[...]` and `c[...]`, each alone in a WebSocket message or on a
//! line of an HTTP answer (protocol, "Framing"). Messages are JSON strings. A delivery takes a way
//! that is short here too: its body needs no escapes, so it lies in the string as it was sent, and
//! only what stands around it is looked at. Everything else is unescaped first.
//!
//! [`http`] has the answers that carry the frames of xhr-streaming and xhr-polling.

pub mod http;

use super::{stomp_in_message, Inbound, Transport, Violation};
use memchr::{memchr, memchr_iter};
use std::io::Write as _;

/// What a server says to a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// `o`.
    Open,
    /// `h`, or a row of them that opens a stream.
    Heartbeat,
    /// `a[...]`.
    Messages(Messages<'a>),
    /// `c[...]`, whole.
    Close(&'a [u8]),
}

/// Reads one frame, without the end of its line.
///
/// # Errors
/// It is none.
pub fn frame(bytes: &[u8]) -> Result<Frame<'_>, Violation> {
    match bytes {
        b"o" => Ok(Frame::Open),
        [b'a', b'[', rest @ .., b']'] => Ok(Frame::Messages(Messages { rest })),
        [b'c', b'[', .., b']'] => Ok(Frame::Close(bytes)),
        [b'h', rest @ ..] if rest.iter().all(|&byte| byte == b'h') => Ok(Frame::Heartbeat),
        _ => Err("no SockJS frame"),
    }
}

/// The messages of a frame, from first to last.
#[derive(Debug, PartialEq, Eq)]
pub struct Messages<'a> {
    /// Strings with commas between them.
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// The next message: the inside of a JSON string, still escaped.
    ///
    /// # Errors
    /// Something else than a string.
    pub fn next_raw(&mut self) -> Result<Option<&'a [u8]>, Violation> {
        let Some((&first, text)) = self.rest.split_first() else { return Ok(None) };
        let end = string_end(text).filter(|_| first == b'"');
        let end = end.ok_or("an array of something else than strings")?;
        self.rest = match &text[end + 1..] {
            [b',', rest @ ..] if !rest.is_empty() => rest,
            [] => &[],
            _ => return Err("no comma between two messages"),
        };
        Ok(Some(&text[..end]))
    }
}

/// Where the quote stands that ends a JSON string: behind an even number of backslashes.
fn string_end(text: &[u8]) -> Option<usize> {
    memchr_iter(b'"', text).find(|&at| {
        let backslashes = text[..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
        backslashes % 2 == 0
    })
}

/// Appends the text of a JSON string.
///
/// # Errors
/// An escape that is none, or half a surrogate pair.
pub fn unescape(out: &mut Vec<u8>, raw: &[u8]) -> Result<(), Violation> {
    const BROKEN: Violation = "broken escape in a message";
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = *rest.get(at + 1).ok_or(BROKEN)?;
        rest = &rest[at + 2..];
        out.push(match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 12,
            b'r' => b'\r',
            b'u' => {
                let mut code = code_unit(rest).ok_or(BROKEN)?;
                rest = &rest[4..];
                if let 0xd800..=0xdbff = code {
                    let low = rest.strip_prefix(b"\\u").and_then(code_unit);
                    let low = low.filter(|low| (0xdc00..=0xdfff).contains(low)).ok_or(BROKEN)?;
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    rest = &rest[6..];
                }
                let character = char::from_u32(code).ok_or(BROKEN)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(BROKEN),
        });
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn code_unit(digits: &[u8]) -> Option<u32> {
    let digits = digits.get(..4)?;
    digits.iter().try_fold(0, |unit, &byte| Some(unit * 16 + char::from(byte).to_digit(16)?))
}

/// Reads messages.
#[derive(Clone, Copy, Debug)]
pub struct MessageReader {
    /// A message is a STOMP frame, not a body.
    pub is_stomp: bool,
    /// The expected size of a body, for the short way.
    pub body_bytes: usize,
    /// Heads are wanted too, so that there is no short way.
    pub needs_head: bool,
}

impl MessageReader {
    /// Reads a message, which needs `scratch` if it is none of the usual.
    ///
    /// # Errors
    /// What the server did that it must not do.
    #[inline]
    pub fn read<'a>(
        &self,
        raw: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<Inbound<'a>, Violation> {
        if let Some(body) = self.body_of_message(raw) {
            return Ok(Inbound::Message { head: &[], body });
        }
        scratch.clear();
        unescape(scratch, raw)?;
        match self.is_stomp {
            true => stomp_in_message(scratch),
            false => Ok(Inbound::Message { head: &[], body: scratch }),
        }
    }

    /// The short way: a MESSAGE that ends in a body of the expected size. A body with escapes in it
    /// is none of ours, whether it is found so or not.
    #[inline]
    fn body_of_message<'a>(&self, raw: &'a [u8]) -> Option<&'a [u8]> {
        const NUL: &[u8] = b"\\u0000";
        let end = raw.len().checked_sub(NUL.len())?;
        let start = end.checked_sub(self.body_bytes)?;
        let is_message = self.is_stomp
            && !self.needs_head
            && raw.starts_with(b"MESSAGE\\n")
            && raw.ends_with(NUL)
            && raw[..start].ends_with(b"\\n\\n");
        is_message.then(|| &raw[start..end])
    }
}

/// What a client calls its session: three digits for load balancers, and eight characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionName(u64);

impl SessionName {
    /// Session `number` of those that begin at `base`: no two of them have the same name.
    pub fn new(base: u64, number: u64) -> SessionName {
        // An odd factor maps the numbers below a power of two to themselves, one to one.
        SessionName(base.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) & ((1 << 40) - 1))
    }

    fn push(self, out: &mut Vec<u8>) {
        let digit =
            |shift: u64| b"abcdefghijklmnopqrstuvwxyz012345"[(self.0 >> shift & 31) as usize];
        let server = self.0 % 1_000;
        out.push(b'/');
        out.extend([100, 10, 1].map(|unit| b'0' + (server / unit % 10) as u8));
        out.push(b'/');
        out.extend((0..8).map(|index| digit(index * 5)));
    }
}

/// What a client asks for, but for the names of sessions.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Of the request that opens a session or waits for its frames: before the session's name and
    /// behind it.
    receive: (Vec<u8>, Vec<u8>),
    /// Of the request that sends messages.
    send: (Vec<u8>, Vec<u8>),
}

impl Requests {
    /// Requests to `host` below `path`; `key` is the WebSocket's.
    pub fn new(transport: Transport, host: &str, path: &str, key: &str) -> Requests {
        let path = path.trim_end_matches('/');
        let post = |name: &str, rest: &str| {
            let behind = format!("/{name} HTTP/1.1\r\nHost: {host}\r\n{rest}");
            (format!("POST {path}").into_bytes(), behind.into_bytes())
        };
        let receive = match transport {
            Transport::XhrStreaming => post("xhr_streaming", "Content-Length: 0\r\n\r\n"),
            Transport::XhrPolling => post("xhr", "Content-Length: 0\r\n\r\n"),
            _ => {
                let request = super::websocket::upgrade_request(host, "\n", key, None);
                let at = memchr(b'\n', &request).unwrap_or(0);
                let behind = [b"/websocket", &request[at + 1..]].concat();
                ([&request[..at], path.as_bytes()].concat(), behind)
            }
        };
        let send = post("xhr_send", "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: ");
        Requests { receive, send }
    }

    /// Appends the upgrade, or the request for frames.
    pub fn receive(&self, out: &mut Vec<u8>, session: SessionName) {
        out.extend_from_slice(&self.receive.0);
        session.push(out);
        out.extend_from_slice(&self.receive.1);
    }

    /// Appends the request that sends `messages`, each as [`super::Writer::frame`] wrote it.
    pub fn send(&self, out: &mut Vec<u8>, session: SessionName, messages: &[u8]) {
        out.extend_from_slice(&self.send.0);
        session.push(out);
        out.extend_from_slice(&self.send.1);
        // The comma before the first gives way to the brackets.
        let inner = messages.get(1..).unwrap_or_default();
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{}\r\n\r\n[", inner.len() + 2);
        out.extend_from_slice(inner);
        out.push(b']');
    }
}

/// Bytes of the whole messages at the front of `messages`, as [`super::Writer::frame`] wrote them:
/// the first, and others as long as they fit into `bytes_max`.
pub fn batch_bytes(messages: &[u8], bytes_max: usize) -> usize {
    let mut end = 0;
    // A comma and a quote, then the string.
    while let Some(length) = messages.get(end + 2..).and_then(string_end) {
        let next = end + 2 + length + 1;
        if next > bytes_max && end > 0 {
            break;
        }
        end = next;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::super::{Protocol, Writer};
    use super::*;

    fn writer(transport: Transport) -> Writer {
        Writer { protocol: Protocol::Stomp, transport, mask: [1, 2, 3, 4] }
    }

    fn messages(bytes: &[u8]) -> Result<Vec<String>, Violation> {
        let Frame::Messages(mut messages) = frame(bytes)? else { return Err("another frame") };
        let mut texts = Vec::new();
        while let Some(raw) = messages.next_raw()? {
            let mut text = Vec::new();
            unescape(&mut text, raw)?;
            texts.push(String::from_utf8(text).unwrap());
        }
        Ok(texts)
    }

    #[test]
    fn frames_are_told_apart() {
        assert_eq!(frame(b"o"), Ok(Frame::Open));
        assert_eq!(frame(b"h"), Ok(Frame::Heartbeat));
        assert_eq!(frame(&[b'h'; 2048]), Ok(Frame::Heartbeat));
        assert_eq!(frame(b"c[3000,\"x\"]"), Ok(Frame::Close(b"c[3000,\"x\"]")));
        for bad in [&b""[..], b"x", b"oo", b"a", b"a[", b"hx", b"c", b"o\n"] {
            assert!(frame(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn messages_are_unescaped_one_by_one() {
        assert_eq!(messages(b"a[]"), Ok(vec![]));
        assert_eq!(messages(br#"a["a","\\","\"b\"\\\\"]"#).unwrap(), ["a", "\\", "\"b\"\\\\"]);
        let text = messages(br#"a["\b\t\n\f\r\/\u0000\u00e4\ud83d\ude00"]"#);
        assert_eq!(text.unwrap(), ["\u{8}\t\n\u{c}\r/\0ä😀"]);
        let bad: [&[u8]; 9] = [
            br#"a["a]"#,
            br#"a["a""b"]"#,
            br#"a["a",]"#,
            br#"a[1]"#,
            br#"a["\x"]"#,
            br#"a["\u12"]"#,
            br#"a["\ud800"]"#,
            br#"a["\ud800\u0041"]"#,
            br#"a["\udc00"]"#,
        ];
        for bad in bad {
            assert!(messages(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_the_writer_wrote_is_read_back() {
        let frames = ["SEND\n\n\"\\\0", "\n", "ä\u{2028}😀"];
        for transport in [Transport::XhrStreaming, Transport::XhrPolling] {
            let writer = writer(transport);
            let mut queued = Vec::new();
            frames.iter().for_each(|frame| writer.frame(&mut queued, frame.as_bytes()));
            let whole = [b"a[", &queued[1..], b"]"].concat();
            assert_eq!(messages(&whole).unwrap(), frames);
        }
    }

    #[test]
    fn batches_are_whole_messages() {
        let writer = writer(Transport::XhrPolling);
        let mut queued = Vec::new();
        for frame in [&b"1234"[..], b"\"\\", b"56"] {
            writer.frame(&mut queued, frame);
        }
        assert_eq!(queued, br#","1234","\"\\","56""#);
        let ends: Vec<usize> = (0..20).map(|max| batch_bytes(&queued, max)).collect();
        assert_eq!(ends, [[7; 14].as_slice(), &[14; 5], &[19]].concat());
        assert_eq!(batch_bytes(b"", 100), 0);
    }

    #[test]
    fn the_short_way_and_the_long_way_agree() {
        let mut reader = MessageReader { is_stomp: true, body_bytes: 5, needs_head: false };
        let raw = br"MESSAGE\nsubscription:0\ncontent-length:5\n\nhello\u0000";
        assert!(reader.body_of_message(raw).is_some());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let short = reader.read(raw, &mut one).unwrap();
        assert_eq!(short, Inbound::Message { head: &[], body: b"hello" });
        reader.needs_head = true;
        assert!(reader.body_of_message(raw).is_none());
        let long = reader.read(raw, &mut other).unwrap();
        let head = b"MESSAGE\nsubscription:0\ncontent-length:5\n\n";
        assert_eq!(long, Inbound::Message { head, body: b"hello" });
        assert_eq!(reader.read(br"\n", &mut one), Ok(Inbound::HeartBeat));
        assert!(reader.read(br"MESSAGE\n", &mut one).is_err());
        reader.is_stomp = false;
        let message = Inbound::Message { head: &[], body: b"\n" };
        assert_eq!(reader.read(br"\n", &mut one), Ok(message));
    }

    #[test]
    fn sessions_have_names_of_their_own() {
        let name = |number| {
            let mut out = Vec::new();
            SessionName::new(77, number).push(&mut out);
            String::from_utf8(out).unwrap()
        };
        let mut names: Vec<String> = (0..10_000).map(name).collect();
        for name in &names {
            let parts: Vec<&str> = name.split('/').collect();
            assert_eq!((parts[0], parts[1].len(), parts[2].len()), ("", 3, 8), "{name}");
            assert!(parts[1].bytes().all(|byte| byte.is_ascii_digit()), "{name}");
            assert!(parts[2].bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'5')), "{name}");
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 10_000);
    }

    #[test]
    fn requests_name_the_session() {
        let session = SessionName::new(0, 0);
        let text = |transport, messages: Option<&[u8]>| {
            let requests = Requests::new(transport, "h:1", "/sockjs/", "KEY==");
            let mut out = Vec::new();
            match messages {
                Some(messages) => requests.send(&mut out, session, messages),
                None => requests.receive(&mut out, session),
            }
            String::from_utf8(out).unwrap()
        };
        let poll =
            "POST /sockjs/000/aaaaaaaa/xhr HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(text(Transport::XhrPolling, None), poll);
        let streaming = text(Transport::XhrStreaming, None);
        assert!(streaming.starts_with("POST /sockjs/000/aaaaaaaa/xhr_streaming HTTP/1.1\r\n"));
        let upgrade = text(Transport::SockJsWebSocket, None);
        let head = "GET /sockjs/000/aaaaaaaa/websocket HTTP/1.1\r\nHost: h:1\r\n";
        assert!(upgrade.starts_with(head));
        assert!(upgrade.contains("\r\nSec-WebSocket-Key: KEY==\r\n"));
        let send = text(Transport::XhrPolling, Some(b",\"a\",\"b\""));
        assert!(send.starts_with("POST /sockjs/000/aaaaaaaa/xhr_send HTTP/1.1\r\nHost: h:1\r\n"));
        assert!(send.ends_with("\r\nContent-Length: 9\r\n\r\n[\"a\",\"b\"]"));
    }
}
