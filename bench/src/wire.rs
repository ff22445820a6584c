//! The bytes of a client: what it sends, and what it receives, in each of four protocols, and what
//! SockJS puts around STOMP.
//!
//! A file per protocol; here is what the rest of the generator sees of them. Sending reuses the
//! server's own masking. A delivery of STOMP in a WebSocket frame takes a short way that checks its
//! ends only (command, blank line before a body of the expected size, NUL); everything else is read
//! header by header. "Need more bytes" is `Ok(None)`.

pub mod mqtt;
pub mod nats;
pub mod sockjs;
pub mod stomp;
pub mod websocket;

use clap::ValueEnum;
use stompede_core::sockjs::frame::push_message;
use stompede_core::ws::frame::{encode_masked, Opcode};

/// How frames travel.
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
    /// What people call it.
    pub fn for_people(self) -> &'static str {
        match self {
            Transport::WebSocket => "WebSocket",
            Transport::Tcp => "TCP",
            Transport::SockJsWebSocket => "SockJS websocket",
            Transport::XhrStreaming => "SockJS xhr-streaming",
            Transport::XhrPolling => "SockJS xhr-polling",
        }
    }

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

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// STOMP, of the version that `--stomp` says.
    Stomp,
    /// WebSocket alone: every message is a body, and the server sends it to all.
    #[value(name = "websocket")]
    WebSocket,
    /// NATS.
    Nats,
    /// MQTT 3.1.1, QoS 0.
    Mqtt,
}

impl Protocol {
    /// As `--protocol` names it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Stomp => "stomp",
            Protocol::WebSocket => "websocket",
            Protocol::Nats => "nats",
            Protocol::Mqtt => "mqtt",
        }
    }
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// The answer to the upgrade.
    Upgraded,
    /// CONNECTED, CONNACK.
    Connected,
    /// MESSAGE, MSG, PUBLISH, or a data frame alone.
    Message {
        /// All before the body; empty without a protocol.
        head: &'a [u8],
        body: &'a [u8],
    },
    /// RECEIPT, PONG, SUBACK: what was said before has been done.
    Receipt,
    /// ERROR or -ERR: the whole frame.
    Error(&'a [u8]),
    /// An end of line between frames, PINGRESP.
    HeartBeat,
    /// A PING of NATS.
    AreYouThere,
    /// A WebSocket ping.
    Ping(&'a [u8]),
    /// A WebSocket close, with its payload.
    Close(&'a [u8]),
    /// Anything else that is legal.
    Other,
}

/// Why a server's bytes make no sense.
pub type Violation = &'static str;

/// What is at the front of some bytes and how many it took; `None` needs more.
pub type Step<'a> = Result<Option<(Inbound<'a>, usize)>, Violation>;

/// Reads a server's bytes.
#[derive(Clone, Debug)]
pub struct Reader {
    /// What is spoken.
    pub protocol: Protocol,
    /// How frames travel.
    pub transport: Transport,
    /// The expected size of a body, for the short way.
    pub body_bytes: usize,
    /// What `Sec-WebSocket-Accept` must be.
    pub accept: String,
}

/// Most bytes of a server's frame that are believed.
const FRAME_BYTES_MAX: usize = 16 << 20;

impl Reader {
    /// Are WebSocket frames to be taken apart first, with [`websocket::Frames`]?
    pub fn is_framed_stream(&self) -> bool {
        self.transport == Transport::WebSocket
            && matches!(self.protocol, Protocol::Nats | Protocol::Mqtt)
    }

    /// Is a WebSocket message one frame of STOMP? In SockJS, [`sockjs::MessageReader`] reads them.
    fn holds_stomp(&self) -> bool {
        self.protocol == Protocol::Stomp && !self.transport.is_sockjs()
    }

    /// Reads the response to the upgrade.
    ///
    /// # Errors
    /// A status other than 101, or a wrong key.
    pub fn upgrade<'a>(&self, input: &'a [u8]) -> Step<'a> {
        let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
            return if input.len() > websocket::RESPONSE_BYTES_MAX {
                Err("response head too long")
            } else {
                Ok(None)
            };
        };
        if !input.starts_with(b"HTTP/1.1 101 ") {
            return Err("the upgrade was refused");
        }
        if memchr::memmem::find(&input[..end], self.accept.as_bytes()).is_none() {
            return Err("wrong Sec-WebSocket-Accept");
        }
        Ok(Some((Inbound::Upgraded, end + 4)))
    }

    /// Reads the frame at the front of `input`, a stream's behind its WebSocket frames.
    ///
    /// # Errors
    /// What the server did that it must not do.
    #[inline]
    pub fn next<'a>(&self, input: &'a [u8]) -> Step<'a> {
        match (self.protocol, self.transport) {
            (Protocol::Nats, _) => nats::next(input),
            (Protocol::Mqtt, _) => mqtt::next(input),
            (_, Transport::Tcp) => stomp::next(input),
            _ => self.next_ws(input),
        }
    }

    #[inline]
    fn next_ws<'a>(&self, input: &'a [u8]) -> Step<'a> {
        let Some((head, length)) = websocket::frame_head(input)? else { return Ok(None) };
        if length > FRAME_BYTES_MAX {
            return Err("frame too long");
        }
        let Some(payload) = input.get(head..head + length) else { return Ok(None) };
        let inbound = match input[0] {
            0x81 | 0x82 if !self.holds_stomp() => Inbound::Message { head: &[], body: payload },
            0x81 | 0x82 => match self.body_of_message(payload) {
                Some((head, body)) => Inbound::Message { head, body },
                None => stomp_in_message(payload)?,
            },
            _ => websocket::control(&input[..head + length])?,
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
    match stomp::next(payload)? {
        Some((inbound, _)) => Ok(inbound),
        None => Err("WebSocket message with half a STOMP frame"),
    }
}

/// What a client says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// `accept-version` of STOMP.
    pub version: &'a str,
    /// `host` of STOMP.
    pub host: &'a str,
    /// Name and passcode.
    pub credentials: Option<&'a (String, String)>,
    /// Interval of heart-beats both ways, in milliseconds; 0 is none.
    pub heart_beat_ms: u32,
}

/// Writes what a client says.
#[derive(Clone, Debug)]
pub struct Writer {
    /// What is spoken.
    pub protocol: Protocol,
    /// How frames travel.
    pub transport: Transport,
    /// The masking key of this run: the same for all frames, which costs a server the same.
    pub mask: [u8; 4],
}

impl Writer {
    /// The subprotocols to offer.
    pub fn subprotocols(&self) -> Option<&'static str> {
        match self.protocol {
            Protocol::Stomp => Some("v12.stomp, v11.stomp, v10.stomp"),
            // "The Client MUST include "mqtt" in the list of WebSocket Sub Protocols it offers".
            Protocol::Mqtt => Some("mqtt"),
            Protocol::WebSocket | Protocol::Nats => None,
        }
    }

    /// Appends one frame of the protocol, or one bare message. For HTTP, a comma and a string: see
    /// [`sockjs::Requests::send`].
    pub fn frame(&self, out: &mut Vec<u8>, frame: &[u8]) {
        let opcode = match self.protocol {
            Protocol::Stomp | Protocol::WebSocket => Opcode::Text,
            // MQTT 3.1.1, section 6: "MUST be sent in WebSocket binary data frames".
            Protocol::Nats | Protocol::Mqtt => Opcode::Binary,
        };
        match self.transport {
            Transport::WebSocket => encode_masked(out, opcode, self.mask, frame),
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

    /// Appends the log-in: nothing without a protocol that has one.
    pub fn log_in(&self, out: &mut Vec<u8>, login: &Login<'_>) {
        let mut frame = Vec::new();
        match self.protocol {
            Protocol::Stomp => {
                let beat = format!("{0},{0}", login.heart_beat_ms);
                let Login { version, host, credentials, .. } = *login;
                frame = stomp::connect_frame(version, host, credentials, &beat);
            }
            Protocol::Nats => nats::connect(&mut frame, login),
            Protocol::Mqtt => mqtt::connect(&mut frame, login),
            Protocol::WebSocket => return,
        }
        self.frame(out, &frame);
    }

    /// Appends subscriptions, each with its number, and if so the question whether they are live.
    /// Says whether there will be an answer, one [`Inbound::Receipt`]. `terms` are further headers
    /// of STOMP.
    pub fn subscribe(
        &self,
        out: &mut Vec<u8>,
        names: &[(u32, String)],
        terms: &str,
        with_receipt: bool,
    ) -> bool {
        let mut frame = Vec::new();
        match self.protocol {
            Protocol::Stomp => {
                for (index, (id, name)) in names.iter().enumerate() {
                    let is_last = with_receipt && index + 1 == names.len();
                    self.frame(out, &stomp::subscribe_frame(*id, name, terms, is_last));
                }
                return with_receipt;
            }
            Protocol::Nats => nats::subscribe(&mut frame, names, with_receipt),
            Protocol::Mqtt => mqtt::subscribe(&mut frame, names),
            Protocol::WebSocket => return false,
        }
        self.frame(out, &frame);
        // Nobody needs to ask for a SUBACK.
        with_receipt || self.protocol == Protocol::Mqtt
    }

    /// Appends a message; `frame` is room to work in.
    pub fn publish(&self, out: &mut Vec<u8>, frame: &mut Vec<u8>, destination: &str, body: &[u8]) {
        frame.clear();
        match self.protocol {
            Protocol::Stomp => stomp::send_frame(frame, destination, body),
            Protocol::WebSocket => frame.extend_from_slice(body),
            Protocol::Nats => nats::publish(frame, destination, body),
            Protocol::Mqtt => mqtt::publish(frame, destination, body),
        }
        self.frame(out, frame);
    }

    /// Appends a sign of life.
    pub fn heart_beat(&self, out: &mut Vec<u8>) {
        let beat = match self.protocol {
            Protocol::Stomp | Protocol::WebSocket => b"\n",
            Protocol::Nats => nats::PING,
            Protocol::Mqtt => mqtt::PINGREQ,
        };
        self.frame(out, beat);
    }

    /// Appends a pong.
    pub fn pong(&self, out: &mut Vec<u8>, payload: &[u8]) {
        encode_masked(out, Opcode::Pong, self.mask, payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(transport: Transport) -> Reader {
        Reader { protocol: Protocol::Stomp, transport, body_bytes: 5, accept: String::new() }
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
    fn frames_of_websocket_are_told_apart() {
        let ws = reader(Transport::WebSocket);
        assert_eq!(ws.next(&framed(0x89, b"x")), Ok(Some((Inbound::Ping(b"x"), 3))));
        assert_eq!(ws.next(&framed(0x88, b"")), Ok(Some((Inbound::Close(b""), 2))));
        assert_eq!(ws.next(&framed(0x81, b"\n")), Ok(Some((Inbound::HeartBeat, 3))));
        assert!(ws.next(&framed(0x81, b"MESSAGE\n")).is_err());
        assert!(ws.next(&[0x81, 0x80]).is_err());
    }

    #[test]
    fn a_message_of_sockjs_is_left_as_it_is() {
        let reader = reader(Transport::SockJsWebSocket);
        let message = Inbound::Message { head: &[], body: b"a[\"\\n\"]" };
        assert_eq!(reader.next(&framed(0x81, b"a[\"\\n\"]")), Ok(Some((message, 9))));
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

    #[test]
    fn every_protocol_says_the_same_in_its_own_words() {
        let said = |protocol, with_receipt| {
            let writer = Writer { protocol, transport: Transport::Tcp, mask: [1; 4] };
            let names = [(0, "a".to_owned()), (1, "b".to_owned())];
            let (mut out, mut frame) = (Vec::new(), Vec::new());
            let is_answered = writer.subscribe(&mut out, &names, "", with_receipt);
            writer.publish(&mut out, &mut frame, "a", b"hi");
            writer.heart_beat(&mut out);
            (String::from_utf8(out.escape_ascii().collect()).unwrap(), is_answered)
        };
        let (nats, is_answered) = said(Protocol::Nats, true);
        assert_eq!(nats, r"SUB a 0\r\nSUB b 1\r\nPING\r\nPUB a 2\r\nhi\r\nPING\r\n");
        assert!(is_answered);
        let (nats, is_answered) = said(Protocol::Nats, false);
        assert_eq!(nats, r"SUB a 0\r\nSUB b 1\r\nPUB a 2\r\nhi\r\nPING\r\n");
        assert!(!is_answered);
        let mqtt = r"\x82\n\x00\x01\x00\x01a\x00\x00\x01b\x000\x05\x00\x01ahi\xc0\x00";
        for with_receipt in [true, false] {
            // A SUBACK comes unasked.
            assert_eq!(said(Protocol::Mqtt, with_receipt), (mqtt.into(), true));
            assert_eq!(said(Protocol::WebSocket, with_receipt), (r"hi\n".into(), false));
            let (stomp, is_answered) = said(Protocol::Stomp, with_receipt);
            assert_eq!(stomp.matches("receipt:").count(), usize::from(with_receipt));
            assert_eq!(is_answered, with_receipt);
            assert!(stomp.ends_with(r"\n\nhi\x00\n"), "{stomp}");
        }
    }
}
