//! A server to test and a client that sends any bytes and reads whole answers.

use crate::support::{self, anywhere, Head, Line};
use std::net::SocketAddr;
use stompede::config::Config;
use stompede::Server;

pub use crate::support::{drivers, Running};

pub fn config() -> Config {
    Config { admin_listen: Some(anywhere()), ..support::config(1) }
}

pub fn start(config: Config) -> Running {
    Running::of(Server::builder(config))
}

#[derive(Debug)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
}

impl std::ops::Deref for Answer {
    type Target = Head;
    fn deref(&self) -> &Head {
        &self.head
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub struct Client(Line);

impl std::ops::Deref for Client {
    type Target = Line;
    fn deref(&self) -> &Line {
        &self.0
    }
}

impl std::ops::DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Line {
        &mut self.0
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client(Line::connect(address))
    }

    /// A request with these lines, which may be empty, and Host.
    pub fn request(&mut self, request_line: &str, lines: &str) -> Answer {
        self.send(format!("{request_line} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
        self.answer(request_line.starts_with("HEAD"))
    }

    pub fn get(&mut self, path: &str, lines: &str) -> Answer {
        self.request(&format!("GET {path}"), lines)
    }

    /// The next answer; one to HEAD has no body.
    pub fn answer(&mut self, is_head: bool) -> Answer {
        let head = self.head();
        let has_body = !is_head && head.status != 304;
        let body = if has_body { self.bytes(head.body_bytes()) } else { Vec::new() };
        Answer { head, body }
    }
}

/// Sends these bytes on a connection of their own and reads one answer, after which the server
/// closes.
pub fn refused(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::connect(address);
    client.send(bytes);
    let answer = client.answer(false);
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    assert_eq!(client.rest(), b"", "nothing after {answer:?}");
    answer
}
