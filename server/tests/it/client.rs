//! A small blocking STOMP client for tests, over TCP and over WebSocket.
//!
//! Written from the specifications (STOMP 1.0 to 1.2, RFC 6455) and not on the server's codecs: a
//! mistake in those must not cancel itself out here. It checks what every answer must obey: one
//! STOMP frame per WebSocket message, text only when it is UTF-8, no masked frame from a server.
//! Its connection is a [`Line`].

use crate::support::{frame_at, Line, UPGRADE};
use std::net::SocketAddr;

pub use crate::support::masked as ws_frame;

/// What carries the STOMP frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Raw TCP.
    Tcp,
    /// WebSocket.
    Ws,
}

/// Both.
pub const TRANSPORTS: [Transport; 2] = [Transport::Tcp, Transport::Ws];

/// What came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A STOMP frame.
    Frame(Frame),
    /// A heart-beat: one LF.
    Beat,
    /// A WebSocket ping.
    Ping,
    /// A WebSocket pong, with its payload.
    Pong(Vec<u8>),
    /// A WebSocket close frame with this code, or the end of the TCP stream (no code).
    Closed(Option<u16>),
}

/// A STOMP frame as it was on the wire: nothing is unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The command.
    pub command: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The opcode of the WebSocket message that it came in.
    pub opcode: Option<u8>,
    /// Bytes of the payload of that message, if it was compressed.
    pub compressed_bytes: Option<usize>,
    /// Command, headers and body as text, for searching.
    pub text: String,
}

impl Frame {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A header that must be there.
    #[track_caller]
    pub fn get(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The body as text.
    pub fn body_text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }
}

/// A connection to the server.
pub struct Client {
    /// What carries the frames.
    pub transport: Transport,
    /// The window agreed on, in bits: messages may be compressed.
    pub window_bits: Option<u8>,
    line: Line,
}

impl Client {
    /// Connects; over WebSocket the upgrade is done.
    pub fn open(address: SocketAddr, transport: Transport) -> Client {
        let mut client = Client { transport, ..Client::open_http(address) };
        if transport == Transport::Ws {
            let head = client.upgrade("");
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        }
        client
    }

    /// Connects for WebSocket, before the upgrade.
    pub fn open_http(address: SocketAddr) -> Client {
        let (transport, window_bits) = (Transport::Ws, None);
        Client { transport, window_bits, line: Line::connect(address) }
    }

    /// Asks for the upgrade with extra header lines, and gives the head of the answer.
    pub fn upgrade(&mut self, extra: &str) -> String {
        self.write(
            format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}{extra}\r\n").as_bytes(),
        );
        self.line.head().text
    }

    /// Sends STOMP bytes: over WebSocket as one message, text if they are UTF-8.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        match self.transport {
            Transport::Tcp => self.write(bytes),
            Transport::Ws => {
                let opcode = if std::str::from_utf8(bytes).is_ok() { 1 } else { 2 };
                self.send_ws(0x80 | opcode, bytes);
            }
        }
    }

    /// Sends one masked WebSocket frame; `first` is its first byte.
    pub fn send_ws(&mut self, first: u8, payload: &[u8]) {
        self.write(&ws_frame(first, payload));
    }

    /// Sends raw bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.line.send(bytes);
    }

    /// A second handle of the socket, to write while this one reads.
    pub fn writer(&self) -> Line {
        self.line.writer()
    }

    /// Closes with an answer unread, so that the peer sees a reset and not an end.
    pub fn reset(mut self) {
        self.send("SEND\ndestination:/topic/nobody-listens-here\nreceipt:unread\n\n\0");
        self.line.reset();
    }

    /// Ends our half of the connection.
    pub fn finish(&self) {
        self.line.end_sending();
    }

    /// Opens a STOMP session of this version.
    #[track_caller]
    pub fn connect(&mut self, version: &str) -> Frame {
        self.send(format!("CONNECT\naccept-version:{version}\nhost:/\n\n\0"));
        self.expect("CONNECTED")
    }

    /// Subscribes, and waits until the subscription is live. `extra` are header lines.
    #[track_caller]
    pub fn subscribe(&mut self, id: &str, destination: &str, extra: &str) {
        self.send(format!(
            "SUBSCRIBE\nid:{id}\ndestination:{destination}\nreceipt:sub-{id}\n{extra}\n\0"
        ));
        let receipt = self.expect("RECEIPT");
        assert_eq!(receipt.get("receipt-id"), format!("sub-{id}"));
    }

    /// Publishes without a receipt.
    pub fn publish(&mut self, destination: &str, body: &str) {
        self.send(format!("SEND\ndestination:{destination}\n\n{body}\0"));
    }

    /// Makes sure that everything sent so far was handled, and that nothing but heart-beats was
    /// on its way to us.
    #[track_caller]
    pub fn sync(&mut self) {
        self.send("SEND\ndestination:/topic/nobody-listens-here\nreceipt:sync\n\n\0");
        let receipt = self.expect("RECEIPT");
        assert_eq!(receipt.get("receipt-id"), "sync");
    }

    /// The next frame, which must have this command.
    #[track_caller]
    pub fn expect(&mut self, command: &str) -> Frame {
        match self.next_but_beats() {
            Event::Frame(frame) if frame.command == command => frame,
            other => panic!("wanted {command}, seen {other:?}"),
        }
    }

    /// The next frame, whichever it is.
    #[track_caller]
    pub fn next_frame(&mut self) -> Frame {
        match self.next_but_beats() {
            Event::Frame(frame) => frame,
            other => panic!("wanted a frame, seen {other:?}"),
        }
    }

    /// The next must be the end: over WebSocket a close frame with this code, then the end of the
    /// stream.
    #[track_caller]
    pub fn expect_closed(&mut self, code: u16) {
        if self.transport == Transport::Ws {
            assert_eq!(self.next_but_beats(), Event::Closed(Some(code)));
        }
        self.expect_end();
    }

    /// The next must be the end of the stream.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.next_but_beats(), Event::Closed(None));
    }

    /// An ERROR with this `message`, then the end.
    #[track_caller]
    pub fn expect_error(&mut self, message: &str, code: u16) -> Frame {
        let error = self.expect("ERROR");
        assert_eq!(error.get("message"), message, "{error:?}");
        self.expect_closed(code);
        error
    }

    /// The next thing that is neither a heart-beat nor a ping.
    #[track_caller]
    pub fn next_but_beats(&mut self) -> Event {
        loop {
            match self.next() {
                Event::Beat | Event::Ping => {}
                other => return other,
            }
        }
    }

    /// The next thing from the server.
    #[track_caller]
    pub fn next(&mut self) -> Event {
        loop {
            let event = match self.transport {
                Transport::Tcp => self.take_tcp(),
                Transport::Ws => self.take_ws(),
            };
            if let Some(event) = event {
                return event;
            }
            if !self.line.fill() {
                assert!(self.line.unread().is_empty(), "the end came in the middle of a frame");
                return Event::Closed(None);
            }
        }
    }

    fn take_tcp(&mut self) -> Option<Event> {
        let unread = self.line.unread();
        if unread.first() == Some(&b'\n') {
            self.line.take(1);
            return Some(Event::Beat);
        }
        let (frame, length) = parse(unread)?;
        self.line.take(length);
        Some(Event::Frame(frame))
    }

    fn take_ws(&mut self) -> Option<Event> {
        let (first, start, end) = frame_at(self.line.unread())?;
        let is_compressed = first & 0x40 != 0;
        assert_eq!(first & 0xb0, 0x80, "the server neither fragments nor uses reserved bits");
        assert!(!is_compressed || self.window_bits.is_some(), "compressed without agreement");
        let mut payload = self.line.take(end).split_off(start);
        let length = payload.len();
        if is_compressed {
            assert!(matches!(first & 0x0f, 1 | 2), "only data is compressed");
            payload = inflate(self.window_bits.unwrap_or(15), &payload);
        }
        Some(match first & 0x0f {
            opcode @ (1 | 2) => {
                let is_utf8 = std::str::from_utf8(&payload).is_ok();
                assert!(opcode == 2 || is_utf8, "a text message is UTF-8 (RFC 6455 §8.1)");
                if payload == b"\n" {
                    return Some(Event::Beat);
                }
                let (mut frame, taken) = parse(&payload).expect("a message is a whole frame");
                assert_eq!(taken, payload.len(), "one frame per message");
                frame.opcode = Some(opcode);
                frame.compressed_bytes = is_compressed.then_some(length);
                Event::Frame(frame)
            }
            8 if payload.is_empty() => Event::Closed(Some(1005)),
            8 => Event::Closed(Some(u16::from_be_bytes([payload[0], payload[1]]))),
            9 => Event::Ping,
            10 => Event::Pong(payload),
            other => panic!("opcode {other}"),
        })
    }
}

/// What a client with this window makes of a compressed message (RFC 7692 §7.2.2).
fn inflate(window_bits: u8, payload: &[u8]) -> Vec<u8> {
    let mut inflater = flate2::Decompress::new_with_window_bits(false, window_bits);
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut message = Vec::with_capacity(1 << 20);
    let flush = flate2::FlushDecompress::Sync;
    inflater.decompress_vec(&input, &mut message, flush).expect("a compressed message");
    assert_eq!(inflater.total_in(), input.len() as u64, "all of it");
    message
}

/// A message compressed as clients do it (RFC 7692 §7.2.1).
pub fn deflate(message: &[u8]) -> Vec<u8> {
    let mut deflater = flate2::Compress::new(flate2::Compression::best(), false);
    let mut payload = Vec::with_capacity(message.len() + 1_024);
    let flush = flate2::FlushCompress::Sync;
    deflater.compress_vec(message, &mut payload, flush).expect("enough room");
    assert!(payload.ends_with(&[0, 0, 0xff, 0xff]));
    payload.truncate(payload.len() - 4);
    payload
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The frame at the start of `bytes` and its length; `None` if it is not whole.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let head_end = find(bytes, b"\n\n")?;
    let head = std::str::from_utf8(&bytes[..head_end]).expect("a head is UTF-8");
    let mut lines = head.split('\n');
    let command = lines.next().expect("a command").to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').expect("a header has a colon");
        (name.to_owned(), value.to_owned())
    };
    let headers: Vec<_> = lines.map(header).collect();
    let rest = &bytes[head_end + 2..];
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = match length {
        Some((_, length)) => length.parse().expect("a length"),
        None => find(rest, &[0])?,
    };
    let body = rest.get(..length)?.to_vec();
    assert_eq!(*rest.get(length)?, 0, "a frame ends in NUL");
    let text = format!("{head}\n\n{}", String::from_utf8_lossy(&body));
    let (opcode, compressed_bytes) = (None, None);
    let frame = Frame { command, headers, body, opcode, compressed_bytes, text };
    Some((frame, head_end + 2 + length + 1))
}
