//! A server to test and a client that sends any bytes and reads answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use stompede::config::{Config, IoChoice};
use stompede::{Handle, Server};

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn config() -> Config {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Config {
        listen: any,
        stomp_listen: None,
        admin_listen: Some(any),
        shards: 1,
        pin: false,
        ..Config::default()
    }
}

pub fn start(config: Config) -> Running {
    Running(Some(Server::start(config).expect("the server starts")))
}

/// A server that ends with its test.
pub struct Running(Option<Handle>);

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

/// The drivers that work on this machine.
pub fn drivers() -> Vec<IoChoice> {
    let is_uring = start(config()).is_uring;
    if is_uring {
        vec![IoChoice::Epoll, IoChoice::Uring]
    } else {
        vec![IoChoice::Epoll]
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub struct Client {
    pub stream: TcpStream,
    rest: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("can wait");
        stream.set_nodelay(true).expect("small pieces leave at once");
        Client { stream, rest: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("is sent");
    }

    /// A request with these lines, which may be empty, and Host.
    pub fn request(&mut self, request_line: &str, lines: &str) -> Answer {
        self.send(format!("{request_line} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
        self.answer(request_line.starts_with("HEAD"))
    }

    pub fn get(&mut self, path: &str, lines: &str) -> Answer {
        self.request(&format!("GET {path}"), lines)
    }

    fn fill(&mut self) -> usize {
        let mut piece = [0; 65_536];
        let count = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => break result.expect("something or the end comes"),
            }
        };
        self.rest.extend_from_slice(&piece[..count]);
        count
    }

    /// The next answer; one to HEAD has no body.
    pub fn answer(&mut self, is_head: bool) -> Answer {
        let end = loop {
            if let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            assert!(self.fill() > 0, "ends in a head: {:?}", String::from_utf8_lossy(&self.rest));
        };
        let head = String::from_utf8(self.rest.drain(..end + 4).collect()).expect("text");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |n| n.parse().expect("a number"));
        if !is_head && status != 304 {
            answer.body = self.bytes(length);
        }
        answer
    }

    /// That many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.rest.len() < count {
            assert!(self.fill() > 0, "ends after {} bytes of {count}", self.rest.len());
        }
        self.rest.drain(..count).collect()
    }

    /// All bytes up to the end, which has to be a clean one.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.rest)
    }

    pub fn end_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("is open");
    }
}

/// Sends these bytes on a connection of their own and reads one answer, after which the server
/// closes.
pub fn refused(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::connect(address);
    client.send(bytes);
    let answer = client.answer(false);
    assert_eq!(answer.header("connection"), Some("close"), "{}", answer.head);
    assert_eq!(client.read_to_end(), b"", "nothing after {}", answer.head);
    answer
}
