//! A server with endpoints, and a WebSocket client that sends any frame and reads frames.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use stompede::config::{Config, IoChoice};
use stompede::{Builder, Handle, Server};

/// Longer than anything here takes; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

pub fn config(io: IoChoice, shards: usize) -> Config {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (stomp_listen, admin_listen) = (None, None);
    Config { listen, stomp_listen, admin_listen, shards, io, pin: false, ..Config::default() }
}

/// Runs a test on each driver that works on this machine, each time with one shard and with two.
pub fn everywhere(test: impl Fn(Config)) {
    let auto = Running::start(Server::builder(config(IoChoice::Auto, 1)));
    let drivers =
        if auto.is_uring { &[IoChoice::Epoll, IoChoice::Uring][..] } else { &[IoChoice::Epoll] };
    for &io in drivers {
        for shards in [1, 2] {
            test(config(io, shards));
        }
    }
}

/// A server that ends with its test.
pub struct Running(Option<Handle>);

impl Running {
    pub fn start(builder: Builder) -> Running {
        Running(Some(builder.start().expect("the server starts")))
    }

    pub fn client(&self, path: &str) -> Client {
        Client::open(self.http_address, path)
    }

    /// A counter, summed over shards.
    pub fn sum(&self, of: impl Fn(&stompede::metrics::ShardMetrics) -> u64, shards: usize) -> u64 {
        (0..shards).map(|shard| of(self.metrics(shard))).sum()
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
        if let Some(handle) = self.0.take() {
            handle.drain();
            handle.wait();
        }
    }
}

pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    /// Upgrades.
    pub fn open(address: SocketAddr, path: &str) -> Client {
        let (client, status) = Client::ask(address, path, "");
        assert_eq!(status, 101, "{path}");
        client
    }

    /// Asks for an upgrade; gives the status.
    pub fn ask(address: SocketAddr, path: &str, lines: &str) -> (Client, u16) {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("can wait");
        stream.set_nodelay(true).expect("small pieces leave at once");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        );
        stream.write_all(request.as_bytes()).expect("is sent");
        let mut client = Client { stream };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(client.bytes(1));
        }
        let status = head[9..12].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        (client, status)
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("is sent");
    }

    /// Sends a frame with this first byte.
    pub fn frame(&mut self, first: u8, payload: &[u8]) {
        self.write(&masked(first, payload));
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("so many bytes come");
        bytes
    }

    /// The next frame: first byte and payload.
    pub fn read(&mut self) -> (u8, Vec<u8>) {
        let head = self.bytes(2);
        let length = match head[1] {
            126 => u16::from_be_bytes(self.bytes(2).try_into().expect("two")).into(),
            127 => u64::from_be_bytes(self.bytes(8).try_into().expect("eight")) as usize,
            short => usize::from(short),
        };
        (head[0], self.bytes(length))
    }

    pub fn expect(&mut self, first: u8, payload: &[u8]) {
        let (seen, bytes) = self.read();
        assert_eq!(seen, first, "{:?}", String::from_utf8_lossy(&bytes));
        assert!(bytes == payload, "seen {:?}", String::from_utf8_lossy(&bytes));
    }

    /// A close frame with this code, and then the end of the stream. Gives the reason.
    pub fn expect_close(&mut self, code: u16) -> String {
        let (first, payload) = self.read();
        assert_eq!((first, &payload[..2]), (CLOSE, &code.to_be_bytes()[..]));
        assert_eq!(self.stream.read(&mut [0; 1]).expect("a clean end"), 0);
        String::from_utf8_lossy(&payload[2..]).into_owned()
    }
}

/// A client's frame.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let key = [0x12, 0x34, 0x56, 0x78];
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}
