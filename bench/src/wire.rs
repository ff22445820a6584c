//! The bytes of a client: what it sends, and the frames it receives. [`sockjs`] has what SockJS
//! adds.
//!
//! Sending reuses the server's own masking; receiving is written here, because the server has no
//! decoder for its own frames. A delivery in a WebSocket frame takes a short way that checks its
//! ends only (command, blank line before a body of the expected size, NUL); everything else is read
//! header by header. "Need more bytes" is `Ok(None)`.

pub mod sockjs;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use memchr::memchr;
use sha1::{Digest, Sha1};
use std::io::Write as _;
use stompede_core::sockjs::frame::push_message;
use stompede_core::ws::frame::{encode_masked, Opcode};

/// How STOMP frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As WebSocket messages.
    WebSocket,
    /// As a TCP stream.
    Tcp,
    /// As SockJS messages, in WebSocket messages.
    SockJsWebSocket,
    /// As SockJS messages, in HTTP answers that go on.
    XhrStreaming,
    /// As SockJS messages, in one HTTP answer after the other.
    XhrPolling,
}

impl Transport {
    /// Those of SockJS, by the names that clients know.
    pub const SOCKJS: [(&'static str, Transport); 3] = [
        ("websocket", Transport::SockJsWebSocket),
        ("xhr-streaming", Transport::XhrStreaming),
        ("xhr-polling", Transport::XhrPolling),
    ];

    /// Is it one of SockJS?
    pub fn is_sockjs(self) -> bool {
        self.is_http() || self == Transport::SockJsWebSocket
    }

    /// Does it need a connection for each direction?
    pub fn is_http(self) -> bool {
        matches!(self, Transport::XhrStreaming | Transport::XhrPolling)
    }
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// The answer to the upgrade.
    Upgraded,
    /// CONNECTED, with the value of its heart-beat header.
    Connected { heart_beat: Option<&'a [u8]> },
    /// MESSAGE, or without STOMP a data frame.
    Message {
        /// From the command to the blank line; empty without STOMP.
        head: &'a [u8],
        body: &'a [u8],
    },
    /// RECEIPT.
    Receipt,
    /// ERROR: the whole frame.
    Error(&'a [u8]),
    /// An end of line between frames.
    HeartBeat,
    /// A WebSocket ping.
    Ping(&'a [u8]),
    /// A WebSocket close, with its payload.
    Close(&'a [u8]),
    /// Anything else that is legal.
    Other,
}

/// Why a server's bytes make no sense.
pub type Violation = &'static str;

/// Reads a server's bytes.
#[derive(Clone, Debug)]
pub struct Reader {
    /// How frames travel.
    pub transport: Transport,
    /// False: WebSocket messages are bodies.
    pub is_stomp: bool,
    /// The expected size of a body, for the short way.
    pub body_bytes: usize,
    /// What `Sec-WebSocket-Accept` must be.
    pub accept: String,
}

/// Most bytes of a server's frame or response head that are believed.
const FRAME_BYTES_MAX: usize = 16 << 20;

impl Reader {
    /// Reads the response to the upgrade.
    ///
    /// # Errors
    /// A status other than 101, or a wrong key.
    pub fn upgrade<'a>(&self, input: &'a [u8]) -> Result<Option<(Inbound<'a>, usize)>, Violation> {
        let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
            return if input.len() > 8192 { Err("response head too long") } else { Ok(None) };
        };
        if !input.starts_with(b"HTTP/1.1 101 ") {
            return Err("the upgrade was refused");
        }
        if memchr::memmem::find(&input[..end], self.accept.as_bytes()).is_none() {
            return Err("wrong Sec-WebSocket-Accept");
        }
        Ok(Some((Inbound::Upgraded, end + 4)))
    }

    /// Reads the frame at the front of `input` and how many bytes it took.
    ///
    /// # Errors
    /// What the server did that it must not do.
    #[inline]
    pub fn next<'a>(&self, input: &'a [u8]) -> Result<Option<(Inbound<'a>, usize)>, Violation> {
        match self.transport {
            Transport::Tcp => next_stomp(input),
            _ => self.next_ws(input),
        }
    }

    #[inline]
    fn next_ws<'a>(&self, input: &'a [u8]) -> Result<Option<(Inbound<'a>, usize)>, Violation> {
        let &[first, second, ..] = input else { return Ok(None) };
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
        if length > FRAME_BYTES_MAX {
            return Err("frame too long");
        }
        let Some(payload) = input.get(head..head + length) else { return Ok(None) };
        let inbound = match first {
            0x81 | 0x82 if !self.is_stomp => Inbound::Message { head: &[], body: payload },
            0x81 | 0x82 => match self.body_of_message(payload) {
                Some((head, body)) => Inbound::Message { head, body },
                None => stomp_in_message(payload)?,
            },
            0x89 => Inbound::Ping(payload),
            0x8a => Inbound::Other,
            0x88 => Inbound::Close(payload),
            _ => return Err("fragmented or reserved WebSocket frame"),
        };
        Ok(Some((inbound, head + length)))
    }

    /// The short way: a MESSAGE that ends in a body of the expected size.
    #[inline]
    fn body_of_message<'a>(&self, payload: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let end = payload.len().checked_sub(1)?;
        let start = end.checked_sub(self.body_bytes)?;
        let is_message = payload.starts_with(b"MESSAGE\n")
            && payload[end] == 0
            && payload[..start].ends_with(b"\n\n");
        is_message.then(|| (&payload[..start], &payload[start..end]))
    }
}

/// A WebSocket message holds one whole STOMP frame, or a heart-beat.
fn stomp_in_message(payload: &[u8]) -> Result<Inbound<'_>, Violation> {
    match next_stomp(payload)? {
        Some((inbound, _)) => Ok(inbound),
        None => Err("WebSocket message with half a STOMP frame"),
    }
}

fn next_stomp(input: &[u8]) -> Result<Option<(Inbound<'_>, usize)>, Violation> {
    match input.first() {
        None => return Ok(None),
        Some(b'\n') => return Ok(Some((Inbound::HeartBeat, 1))),
        Some(b'\r') => return Ok(Some((Inbound::Other, 1))),
        Some(_) => {}
    }
    let Some((command, mut at)) = line(input, 0) else { return Ok(None) };
    let (mut length, mut heart_beat) = (None, None);
    loop {
        let Some((header, next)) = line(input, at) else {
            let is_long = input.len() > FRAME_BYTES_MAX;
            return if is_long { Err("frame too long") } else { Ok(None) };
        };
        at = next;
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix(b"content-length:") {
            let text = std::str::from_utf8(value).map_err(|_| "content-length is no number")?;
            length = Some(text.parse::<usize>().map_err(|_| "content-length is no number")?);
        } else if let Some(value) = header.strip_prefix(b"heart-beat:") {
            heart_beat = Some(value);
        }
    }
    let rest = &input[at..];
    let body = match length {
        Some(length) if length > FRAME_BYTES_MAX => return Err("frame too long"),
        Some(length) => match rest.get(length) {
            None => return Ok(None),
            Some(0) => &rest[..length],
            Some(_) => return Err("no NUL behind the body"),
        },
        None => match memchr(0, rest) {
            None => return Ok(None),
            Some(end) => &rest[..end],
        },
    };
    let end = at + body.len() + 1;
    let inbound = match command {
        b"MESSAGE" => Inbound::Message { head: &input[..at], body },
        b"CONNECTED" => Inbound::Connected { heart_beat },
        b"RECEIPT" => Inbound::Receipt,
        b"ERROR" => Inbound::Error(&input[..end]),
        _ => return Err("unknown STOMP command"),
    };
    Ok(Some((inbound, end)))
}

/// The line at `at` without its end, and where the next begins.
fn line(input: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = at + memchr(b'\n', &input[at..])?;
    let text = &input[at..end];
    Some((text.strip_suffix(b"\r").unwrap_or(text), end + 1))
}

/// `Sec-WebSocket-Key` for 16 random bytes, and the answer it must get (RFC 6455 §4.1).
pub fn websocket_key(random: [u8; 16]) -> (String, String) {
    let key = STANDARD.encode(random);
    let digest = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    (key, STANDARD.encode(digest))
}

/// Writes what a client says.
#[derive(Clone, Debug)]
pub struct Writer {
    /// How frames travel.
    pub transport: Transport,
    /// The masking key of this run: the same for all frames, which costs a server the same.
    pub mask: [u8; 4],
}

impl Writer {
    /// Appends one STOMP frame, or without STOMP one message. For HTTP, a comma and a string: see
    /// [`sockjs::Requests::send`].
    pub fn frame(&self, out: &mut Vec<u8>, frame: &[u8]) {
        match self.transport {
            Transport::WebSocket => encode_masked(out, Opcode::Text, self.mask, frame),
            Transport::Tcp => out.extend_from_slice(frame),
            Transport::SockJsWebSocket => {
                let mut message = b"[".to_vec();
                push_message(&mut message, &[frame]);
                message.push(b']');
                encode_masked(out, Opcode::Text, self.mask, &message);
            }
            Transport::XhrStreaming | Transport::XhrPolling => {
                out.push(b',');
                push_message(out, &[frame]);
            }
        }
    }

    /// Appends a pong.
    pub fn pong(&self, out: &mut Vec<u8>, payload: &[u8]) {
        encode_masked(out, Opcode::Pong, self.mask, payload);
    }
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

/// CONNECT; `login` is name and passcode, `version` as in `accept-version`.
pub fn connect_frame(
    version: &str,
    host: &str,
    login: Option<&(String, String)>,
    heart_beat: &str,
) -> Vec<u8> {
    let mut out = Vec::new();
    let _ =
        write!(out, "CONNECT\naccept-version:{version}\nhost:{host}\nheart-beat:{heart_beat}\n");
    if let Some((name, passcode)) = login {
        let _ = write!(out, "login:{name}\npasscode:{passcode}\n");
    }
    out.extend_from_slice(b"\n\0");
    out
}

/// The value of a header, as it stands on the wire, of the first with this name.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut at = 0;
    while let Some((text, next)) = line(head, at) {
        if let Some(value) = text.strip_prefix(name.as_bytes()) {
            if let Some(value) = value.strip_prefix(b":") {
                return Some(value);
            }
        }
        at = next;
    }
    None
}

/// Appends ACK of the delivery with this head; false if it does not say what to acknowledge.
///
/// STOMP 1.2: `id` "MUST match the `ack` header"; before, `message-id` and `subscription`.
pub fn ack_frame(out: &mut Vec<u8>, version: &str, head: &[u8]) -> bool {
    out.extend_from_slice(b"ACK");
    let named: &[(&str, &str)] = match version {
        "1.2" => &[("ack", "id")],
        _ => &[("message-id", "message-id"), ("subscription", "subscription")],
    };
    for (theirs, ours) in named {
        let Some(value) = header(head, theirs) else { return false };
        out.extend_from_slice(b"\n");
        out.extend_from_slice(ours.as_bytes());
        out.extend_from_slice(b":");
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\n\n\0");
    true
}

/// SUBSCRIBE number `id` with further headers `terms`; a receipt says that it and those before it
/// are live.
pub fn subscribe_frame(id: u32, destination: &str, terms: &str, with_receipt: bool) -> Vec<u8> {
    let receipt = if with_receipt { "receipt:s\n" } else { "" };
    format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\n{terms}{receipt}\n\0").into_bytes()
}

/// Appends SEND of `body`.
pub fn send_frame(out: &mut Vec<u8>, destination: &str, body: &[u8]) {
    let length = body.len();
    let _ = write!(
        out,
        "SEND\ndestination:{destination}\ncontent-type:text/plain\ncontent-length:{length}\n\n"
    );
    out.extend_from_slice(body);
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(transport: Transport) -> Reader {
        Reader { transport, is_stomp: true, body_bytes: 5, accept: String::new() }
    }

    const MESSAGE: &[u8] =
        b"MESSAGE\nsubscription:0\nmessage-id:1\ndestination:/topic/a\ncontent-length:5\n\nhello\0";

    fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
        [&[first, payload.len() as u8][..], payload].concat()
    }

    #[test]
    fn a_message_is_read_over_both_transports_and_every_prefix_needs_more() {
        let framed = framed(0x81, MESSAGE);
        for (transport, bytes) in [(Transport::Tcp, MESSAGE), (Transport::WebSocket, &framed)] {
            let reader = reader(transport);
            for end in 0..bytes.len() {
                assert_eq!(reader.next(&bytes[..end]), Ok(None), "{transport:?} {end}");
            }
            let head = &MESSAGE[..MESSAGE.len() - 6];
            let message = Inbound::Message { head, body: b"hello" };
            assert_eq!(reader.next(bytes), Ok(Some((message, bytes.len()))));
        }
    }

    #[test]
    fn the_short_way_and_the_long_way_agree() {
        let mut reader = reader(Transport::WebSocket);
        let bytes = framed(0x81, MESSAGE);
        let short = format!("{:?}", reader.next(&bytes));
        assert!(reader.body_of_message(MESSAGE).is_some());
        reader.body_bytes = 4;
        assert!(reader.body_of_message(MESSAGE).is_none());
        assert_eq!(format!("{:?}", reader.next(&bytes)), short);
    }

    #[test]
    fn an_ack_names_the_delivery_as_its_version_wants_it() {
        let head = b"MESSAGE\nsubscription:7\nmessage-id:m\\c1\nack:a-1\nack:no\n\n";
        let ack = |version: &str, head: &[u8]| {
            let mut out = Vec::new();
            ack_frame(&mut out, version, head).then(|| String::from_utf8(out).unwrap())
        };
        assert_eq!(ack("1.2", head).unwrap(), "ACK\nid:a-1\n\n\0");
        let older = "ACK\nmessage-id:m\\c1\nsubscription:7\n\n\0";
        assert_eq!(ack("1.1", head).unwrap(), older);
        assert_eq!(ack("1.2", MESSAGE), None);
        assert_eq!(header(head, "mess"), None);
    }

    #[test]
    fn other_frames_are_told_apart() {
        let tcp = reader(Transport::Tcp);
        let connected = b"CONNECTED\r\nversion:1.2\r\nheart-beat:0,25000\r\n\r\n\0";
        let heart_beat = Some(&b"0,25000"[..]);
        assert_eq!(
            tcp.next(connected),
            Ok(Some((Inbound::Connected { heart_beat }, connected.len())))
        );
        assert_eq!(tcp.next(b"\nRE"), Ok(Some((Inbound::HeartBeat, 1))));
        assert_eq!(tcp.next(b"RECEIPT\nreceipt-id:s\n\n\0"), Ok(Some((Inbound::Receipt, 23))));
        assert_eq!(tcp.next(b"ERROR\n\n\0"), Ok(Some((Inbound::Error(b"ERROR\n\n\0"), 8))));
        assert!(tcp.next(b"HELLO\n\n\0").is_err());
        assert!(tcp.next(b"MESSAGE\ncontent-length:1\n\nab\0").is_err());
        let ws = reader(Transport::WebSocket);
        assert_eq!(ws.next(&framed(0x89, b"x")), Ok(Some((Inbound::Ping(b"x"), 3))));
        assert_eq!(ws.next(&framed(0x88, b"")), Ok(Some((Inbound::Close(b""), 2))));
        assert_eq!(ws.next(&framed(0x81, b"\n")), Ok(Some((Inbound::HeartBeat, 3))));
        assert!(ws.next(&framed(0x81, b"MESSAGE\n")).is_err());
        assert!(ws.next(&[0x81, 0x80]).is_err());
    }

    #[test]
    fn the_key_of_rfc_6455_gets_its_answer() {
        let (key, accept) = websocket_key(*b"the sample nonce");
        assert_eq!(key, "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_upgrade_is_checked() {
        let mut ws = reader(Transport::WebSocket);
        ws.accept = "KEY=".into();
        let good = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: KEY=\r\n\r\n";
        assert_eq!(ws.upgrade(good), Ok(Some((Inbound::Upgraded, good.len()))));
        assert_eq!(ws.upgrade(&good[..20]), Ok(None));
        ws.accept = "OTHER=".into();
        assert!(ws.upgrade(good).is_err());
        assert!(ws.upgrade(b"HTTP/1.1 403 Forbidden\r\n\r\n").is_err());
    }
}
