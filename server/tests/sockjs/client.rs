//! A server with the test services, and a client that speaks HTTP by hand.

use base64::Engine as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use stompede::config::Config;
use stompede::{services, Builder, Handle, Server};

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many shards a server has, in tests of what must be correct with any number of them.
pub const SHARDS: [usize; 4] = [1, 2, 4, 8];

pub fn config(shards: usize) -> Config {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Config {
        listen: any,
        stomp_listen: None,
        admin_listen: None,
        shards,
        pin: false,
        allowed_origins: vec!["*".to_owned()],
        ..Config::default()
    }
}

/// A server that ends with its test.
pub struct Running(Option<Handle>);

pub fn start(config: Config) -> Running {
    Running::of(services::register(Server::builder(config)))
}

/// The header of a log-in with `name:password`.
pub fn basic(login: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(login);
    format!("Authorization: Basic {encoded}\r\n")
}

impl std::ops::Deref for Running {
    type Target = Handle;
    fn deref(&self) -> &Handle {
        self.0.as_ref().expect("runs")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.drain();
            assert_eq!(handle.wait(), 0, "all shards end");
        }
    }
}

impl Running {
    pub fn of(builder: Builder) -> Running {
        Running(Some(builder.start().expect("the server starts")))
    }

    /// A session of the service at `prefix`, with a name of its own.
    pub fn session(&self, prefix: &str) -> Session {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Session { address: self.http_address, base: format!("{prefix}/000/s{serial}") }
    }

    /// The sum of a counter over all shards.
    pub fn sum(
        &self,
        shards: usize,
        count: impl Fn(&stompede::metrics::ShardMetrics) -> u64,
    ) -> u64 {
        (0..shards).map(|shard| count(self.metrics(shard))).sum()
    }
}

/// Waits until `is_so`.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An answer whose body may still come.
pub struct Answer {
    pub status: u16,
    pub head: String,
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn fill(&mut self) -> usize {
        let mut piece = [0; 65_536];
        let count = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break 0,
                result => break result.expect("something or the end comes"),
            }
        };
        self.rest.extend_from_slice(&piece[..count]);
        count
    }

    fn take(&mut self, count: usize) -> String {
        while self.rest.len() < count {
            assert!(self.fill() > 0, "ends after {} bytes of {count}", self.rest.len());
        }
        String::from_utf8(self.rest.drain(..count).collect()).expect("text")
    }

    fn line(&mut self, end: &str) -> String {
        loop {
            let found = self.rest.windows(end.len()).position(|bytes| bytes == end.as_bytes());
            if let Some(at) = found {
                return self.take(at + end.len());
            }
            assert!(self.fill() > 0, "ends in {:?}", String::from_utf8_lossy(&self.rest));
        }
    }

    /// The next chunk of a stream; empty at its end.
    pub fn chunk(&mut self) -> String {
        let size = self.line("\r\n");
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
        let chunk = self.take(size);
        assert_eq!(self.take(2), "\r\n");
        chunk
    }

    /// The whole body of an answer with a length.
    pub fn body(&mut self) -> String {
        let length = self.header("content-length").map_or(0, |n| n.parse().expect("a number"));
        self.take(length)
    }

    /// All bytes up to the end of the connection.
    pub fn read_to_end(&mut self) -> String {
        while self.fill() > 0 {}
        String::from_utf8(std::mem::take(&mut self.rest)).expect("text")
    }

    /// The next answer on the same connection.
    pub fn next(mut self, request: &str) -> Answer {
        self.stream.write_all(request.as_bytes()).expect("is sent");
        self.read_head();
        self
    }

    fn read_head(&mut self) {
        self.head = self.line("\r\n\r\n");
        let status = self.head.split(' ').nth(1).expect("a status");
        self.status = status.parse().expect("a number");
    }

    /// Sends bytes behind the head: for WebSockets.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("is sent");
    }

    /// A WebSocket frame from the server: its opcode and payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut bytes = |count: usize| {
            while self.rest.len() < count {
                assert!(self.fill() > 0, "ends in a frame");
            }
            self.rest.drain(..count).collect::<Vec<_>>()
        };
        let head = bytes(2);
        let length = match head[1] {
            126 => bytes(2).iter().fold(0, |sum, b| sum << 8 | usize::from(*b)),
            127 => bytes(8).iter().fold(0, |sum, b| sum << 8 | usize::from(*b)),
            short => usize::from(short),
        };
        (head[0] & 15, bytes(length))
    }

    /// The text of the next WebSocket frame.
    pub fn text(&mut self) -> String {
        let (opcode, payload) = self.frame();
        assert_eq!(opcode, 1, "{payload:?}");
        String::from_utf8(payload).expect("text")
    }
}

/// A masked text frame.
pub fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ ..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Sends these bytes on a connection of their own and reads the head of the answer.
pub fn exchange(address: SocketAddr, bytes: &str) -> Answer {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("can wait");
    let mut answer = Answer { status: 0, head: String::new(), stream, rest: Vec::new() };
    answer.stream.write_all(bytes.as_bytes()).expect("is sent");
    answer.read_head();
    answer
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
        assert_eq!(answer.status, 200, "{}", answer.head);
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
        assert_eq!(answer.status, 204, "{}", answer.head);
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
    let lines = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
}
