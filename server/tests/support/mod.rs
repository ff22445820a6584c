//! What the suites over real sockets have in common: a server that ends with its test, and one
//! connection that sends any bytes and reads heads of HTTP answers and frames of WebSocket.
//!
//! Written from the specifications and not on the server's codecs: a mistake in those must not
//! cancel itself out here. Nothing is timed; a read that brings nothing for [`PATIENCE`] fails its
//! test. Every suite takes from here what it needs and puts its own words around it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use stompede::config::{Config, IoChoice};
use stompede::metrics::ShardMetrics;
use stompede::{probe, Builder, Handle};

/// Longer than anything here takes; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The lines of an upgrade request, behind `Host`.
pub const UPGRADE: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// First bytes of whole WebSocket frames.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// A configuration for tests: one free port, for HTTP, and no pinning.
pub fn config(shards: usize) -> Config {
    let (stomp_listen, admin_listen) = (None, None);
    Config {
        listen: anywhere(),
        stomp_listen,
        admin_listen,
        shards,
        pin: false,
        ..Config::default()
    }
}

/// A port of this machine that the system chooses.
pub fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// The drivers that work on this machine; one that it forbids is said loudly.
pub fn drivers() -> Vec<IoChoice> {
    match probe::is_uring_usable() {
        Ok(()) => vec![IoChoice::Epoll, IoChoice::Uring],
        Err(why) => {
            // Past the capture of a passing test's output: nobody may miss it.
            let _ = writeln!(std::io::stderr(), "**** SKIPPED on io_uring: {why} ****");
            vec![IoChoice::Epoll]
        }
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

/// Repeats what ends early when this thread is held up for longer than a client may be silent,
/// until it is so.
pub fn unless_held_up(what: &str, mut is_so: impl FnMut() -> bool) {
    assert!((0..10).any(|_| is_so()), "{what}: never");
}

/// A server that ends with its test.
pub struct Running(Option<Handle>);

impl Running {
    /// Starts it.
    pub fn of(builder: Builder) -> Running {
        Running(Some(builder.start().expect("the server starts")))
    }

    /// Drains; gives the number of shards that were still busy at the deadline.
    pub fn end(mut self) -> usize {
        let handle = self.0.take().expect("runs");
        handle.drain();
        handle.wait()
    }

    /// A counter, summed over this many shards.
    pub fn sum(&self, shards: usize, of: impl Fn(&ShardMetrics) -> u64) -> u64 {
        (0..shards).map(|shard| of(self.metrics(shard))).sum()
    }

    /// What a scrape of the admin port gives.
    pub fn scrape(&self) -> String {
        let mut line = Line::connect(self.admin_address.expect("an admin port"));
        line.send("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        line.head();
        String::from_utf8(line.rest()).expect("text")
    }

    /// The value of one metric, summed over shards, as a scrape shows it.
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.scrape();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {series} in {text}"));
        value.parse().expect("a number")
    }
}

impl std::ops::Deref for Running {
    type Target = Handle;
    fn deref(&self) -> &Handle {
        self.0.as_ref().expect("runs")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(handle) = self.0.take() else { return };
        handle.drain();
        let busy = handle.wait();
        assert!(busy == 0 || std::thread::panicking(), "{busy} shards do not end");
    }
}

/// One connection, and what was read from it and not taken.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    received: Vec<u8>,
    /// Bytes of it that were taken.
    taken: usize,
    was_reset: bool,
}

impl Line {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Line {
        Line::of(TcpStream::connect(address).expect("the server listens"))
    }

    fn of(stream: TcpStream) -> Line {
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
        stream.set_nodelay(true).expect("small pieces leave at once");
        Line { stream, received: Vec::new(), taken: 0, was_reset: false }
    }

    /// A second handle, to write from another thread.
    pub fn writer(&self) -> Line {
        Line::of(self.stream.try_clone().expect("a second handle"))
    }

    /// Sends. A server that has closed already is no failure, what it sent tells: says whether it
    /// is still there.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        match self.stream.write_all(bytes.as_ref()) {
            Ok(()) => true,
            Err(error) if is_end(error.kind()) => false,
            Err(error) => panic!("cannot write: {error}"),
        }
    }

    /// Ends our half of the connection, unless the other side has ended all of it.
    pub fn end_sending(&self) {
        if let Err(error) = self.stream.shutdown(Shutdown::Write) {
            assert!(is_end(error.kind()), "cannot end: {error}");
        }
    }

    /// Waits until something came, and closes without having read it: the peer sees a reset.
    pub fn reset(self) {
        // The rings of the server under test, in this process, interrupt system calls.
        let is_interrupted = |error: &std::io::Error| error.kind() == ErrorKind::Interrupted;
        while self.stream.peek(&mut [0]).is_err_and(|error| is_interrupted(&error)) {}
    }

    /// Reads more; false at the end.
    #[track_caller]
    pub fn fill(&mut self) -> bool {
        self.received.drain(..std::mem::take(&mut self.taken));
        let mut piece = [0; 65_536];
        loop {
            match self.stream.read(&mut piece) {
                Ok(count) => {
                    self.received.extend_from_slice(&piece[..count]);
                    return count > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_end(error.kind()) => {
                    self.was_reset = true;
                    return false;
                }
                Err(error) => panic!("nothing came: {error}; unread: {:?}", self.received),
            }
        }
    }

    /// What was read and not taken.
    pub fn unread(&self) -> &[u8] {
        &self.received[self.taken..]
    }

    /// Takes bytes that were read.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.unread()[..count].to_vec();
        self.taken += count;
        bytes
    }

    /// That many bytes.
    #[track_caller]
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.unread().len() < count {
            assert!(self.fill(), "ends after {} bytes of {count}", self.unread().len());
        }
        self.take(count)
    }

    /// Text up to `end`, that included.
    #[track_caller]
    pub fn up_to(&mut self, end: &str) -> String {
        loop {
            let found = self.unread().windows(end.len()).position(|seen| seen == end.as_bytes());
            if let Some(at) = found {
                return String::from_utf8(self.take(at + end.len())).expect("text");
            }
            assert!(self.fill(), "ends in {:?}", String::from_utf8_lossy(self.unread()));
        }
    }

    /// All bytes up to the end, which has to be a clean one.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        assert!(!self.was_reset, "a reset behind {:?}", String::from_utf8_lossy(self.unread()));
        self.take(self.unread().len())
    }

    /// The head of the next answer.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        let text = self.up_to("\r\n\r\n");
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        Head { status: status.expect("a status"), text }
    }

    /// The next WebSocket frame: its first byte and its payload.
    #[track_caller]
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((first, start, end)) = frame_at(self.unread()) {
                return (first, self.take(end).split_off(start));
            }
            assert!(self.fill(), "ends in a frame: {:?}", self.unread());
        }
    }
}

/// The peer is gone: what we still write may meet a reset.
fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected)
}

/// The head of an HTTP answer.
#[derive(Clone, Debug)]
pub struct Head {
    pub status: u16,
    /// All of it.
    pub text: String,
}

impl Head {
    /// The first field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Bytes of the body that it announces.
    pub fn body_bytes(&self) -> usize {
        self.header("content-length").map_or(0, |length| length.parse().expect("a number"))
    }
}

/// A client's WebSocket frame; `first` is its first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | short as u8),
        medium @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0xa5, 0x0f, 0x77];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The server's WebSocket frame at the start of `bytes`: its first byte, and where its payload
/// starts and ends. `None` if it is not whole.
pub fn frame_at(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert!(second < 0x80, "a server never masks (RFC 6455 §5.1)");
    let (start, length) = match second {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= start + length).then_some((first, start, start + length))
}
