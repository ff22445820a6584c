//! A server with the test services, and a client that speaks HTTP by hand.

use crate::support::{self, masked, Head, Line, TEXT, UPGRADE};
use base64::Engine as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use stompede::config::Config;
use stompede::{services, Server};

pub use crate::support::Running;

/// How many shards a server has, in tests of what must be correct with any number of them.
pub const SHARDS: [usize; 4] = [1, 2, 4, 8];

/// Sessions wait for their client, however late it polls.
pub fn config(shards: usize) -> Config {
    let mut config = Config { allowed_origins: vec!["*".to_owned()], ..support::config(shards) };
    config.sockjs.disconnect_delay_ms = 3_600_000;
    config
}

pub fn start(config: Config) -> Running {
    Running::of(services::register(Server::builder(config)))
}

/// The header of a log-in with `name:password`.
pub fn basic(login: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(login);
    format!("Authorization: Basic {encoded}\r\n")
}

impl Running {
    /// A session of the service at `prefix`, with a name of its own.
    pub fn session(&self, prefix: &str) -> Session {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Session { address: self.http_address, base: format!("{prefix}/000/s{serial}") }
    }
}

/// An answer whose body may still come, and its connection.
#[derive(Debug)]
pub struct Answer {
    head: Head,
    pub line: Line,
}

impl std::ops::Deref for Answer {
    type Target = Head;
    fn deref(&self) -> &Head {
        &self.head
    }
}

impl Answer {
    /// The next chunk of a stream; empty at its end.
    pub fn chunk(&mut self) -> String {
        let size = self.line.up_to("\r\n");
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
        let chunk = self.line.bytes(size);
        assert_eq!(self.line.bytes(2), b"\r\n");
        String::from_utf8(chunk).expect("text")
    }

    /// The whole body of an answer with a length.
    pub fn body(&mut self) -> String {
        String::from_utf8(self.line.bytes(self.head.body_bytes())).expect("text")
    }

    /// The next answer on the same connection.
    pub fn next(mut self, request: &str) -> Answer {
        self.line.send(request);
        self.head = self.line.head();
        self
    }

    /// Sends bytes behind the head: for WebSockets.
    pub fn send(&mut self, bytes: &[u8]) {
        self.line.send(bytes);
    }

    /// Sends a text in one WebSocket frame.
    pub fn send_text(&mut self, text: &str) {
        self.line.send(masked(TEXT, text.as_bytes()));
    }

    /// The text of the next WebSocket frame.
    pub fn text(&mut self) -> String {
        let (first, payload) = self.line.frame();
        assert_eq!(first, TEXT, "{payload:?}");
        String::from_utf8(payload).expect("text")
    }
}

/// Sends these bytes on a connection of their own and reads the head of the answer.
pub fn exchange(address: SocketAddr, bytes: &str) -> Answer {
    let mut line = Line::connect(address);
    line.send(bytes);
    Answer { head: line.head(), line }
}

pub fn request(method: &str, path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {length}\r\n\r\n{body}")
}

/// One session of a client.
pub struct Session {
    pub address: SocketAddr,
    pub base: String,
}

impl Session {
    pub fn get(&self, path: &str) -> Answer {
        exchange(self.address, &request("GET", &format!("{}/{path}", self.base), "", ""))
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        exchange(self.address, &request("POST", &format!("{}/{path}", self.base), "", body))
    }

    /// One poll; its frame without the line end.
    pub fn poll(&self) -> String {
        let mut answer = self.post("xhr", "");
        assert_eq!(answer.status, 200, "{:?}", answer.head);
        let body = answer.body();
        body.strip_suffix('\n').expect("a whole frame").to_owned()
    }

    /// Opens the session by a poll.
    pub fn open(self) -> Session {
        assert_eq!(self.poll(), "o");
        self
    }

    /// Sends messages, which are taken.
    pub fn send(&self, body: &str) {
        let answer = self.post("xhr_send", body);
        assert_eq!(answer.status, 204, "{:?}", answer.head);
    }

    /// A stream, read up to its first frame if the session is new.
    pub fn stream(&self) -> Answer {
        let mut answer = self.post("xhr_streaming", "");
        assert_eq!((answer.status, answer.chunk().len()), (200, 2049));
        answer
    }

    pub fn websocket(&self) -> Answer {
        upgrade(self.address, &format!("{}/websocket", self.base))
    }
}

pub fn upgrade(address: SocketAddr, path: &str) -> Answer {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n"))
}
