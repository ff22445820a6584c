//! A server with endpoints, and a WebSocket client that sends any frame and reads frames.

use crate::support::{config, drivers, masked, Line, CLOSE, UPGRADE};
use std::net::SocketAddr;
use stompede::config::Config;

/// Runs a test on each driver that works on this machine, each time with one shard and with two.
pub fn everywhere(test: impl Fn(Config)) {
    for io in drivers() {
        for shards in [1, 2] {
            test(Config { io, ..config(shards) });
        }
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
    /// Upgrades.
    pub fn open(address: SocketAddr, path: &str) -> Client {
        let (client, status) = Client::ask(address, path, "");
        assert_eq!(status, 101, "{path}");
        client
    }

    /// Asks for an upgrade; gives the status.
    pub fn ask(address: SocketAddr, path: &str, lines: &str) -> (Client, u16) {
        let mut line = Line::connect(address);
        line.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{UPGRADE}{lines}\r\n"));
        let status = line.head().status;
        (Client(line), status)
    }

    /// Sends a frame with this first byte.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(masked(first, payload));
    }

    pub fn expect(&mut self, first: u8, payload: &[u8]) {
        let (seen, bytes) = self.frame();
        assert_eq!(seen, first, "{:?}", String::from_utf8_lossy(&bytes));
        assert!(bytes == payload, "seen {:?}", String::from_utf8_lossy(&bytes));
    }

    /// A close frame with this code, and then the end of the stream. Gives the reason.
    pub fn expect_close(&mut self, code: u16) -> String {
        let (first, payload) = self.frame();
        assert_eq!((first, &payload[..2]), (CLOSE, &code.to_be_bytes()[..]));
        assert_eq!(self.rest(), b"");
        String::from_utf8_lossy(&payload[2..]).into_owned()
    }
}
