//! The real server in this process, and clients that talk to it over loopback.
//!
//! [`rows`] is the table of bad input; [`session`], [`delivery`], [`transactions`] and [`load`] are
//! what one answer cannot show. Whatever has no reason to be special runs [`everywhere`]: on epoll
//! and on io_uring, with one shard and with two, over TCP and over WebSocket, and the answers are
//! the same. No test looks at a clock: they wait for events, with generous deadlines.

mod app;
mod client;
mod compression;
mod coverage;
mod declared;
mod delivery;
mod history;
mod load;
mod options;
mod permissions;
mod profiles;
mod queues;
mod replies;
mod rows;
mod selectors;
mod session;
mod slow;
mod transactions;
mod users;

use client::{Client, Transport, TRANSPORTS};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use stompede::config::{Config, IoChoice};
use stompede::{probe, Builder, Handle, Server};

/// A configuration for tests: free ports, one shard, no pinning.
pub fn config() -> Config {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Config {
        listen: anywhere,
        stomp_listen: Some(anywhere),
        admin_listen: Some(anywhere),
        shards: 1,
        io: IoChoice::Epoll,
        pin: false,
        connections_max: 1_000,
        ..Config::default()
    }
}

/// Starts a server; a driver that this machine forbids is said loudly and skipped.
pub fn start(config: Config) -> Option<TestServer> {
    start_built(config, |builder| builder)
}

/// As [`start`], with endpoints or mappings.
fn start_built(mut config: Config, build: impl Fn(Builder) -> Builder) -> Option<TestServer> {
    config.settle().expect("a good configuration");
    if config.io == IoChoice::Uring {
        if let Err(why) = probe::is_uring_usable() {
            // Past the capture of a passing test's output: nobody may miss it.
            let _ = writeln!(std::io::stderr(), "**** SKIPPED on io_uring: {why} ****");
            return None;
        }
    }
    let handle = build(Server::builder(config)).start().expect("a server");
    Some(TestServer { handle: Some(handle) })
}

/// A running server, drained when it is dropped.
pub struct TestServer {
    handle: Option<Handle>,
}

impl TestServer {
    /// Connects over this transport.
    pub fn open(&self, transport: Transport) -> Client {
        Client::open(self.address(transport), transport)
    }

    /// Opens a STOMP 1.2 session over this transport.
    pub fn session(&self, transport: Transport) -> Client {
        let mut client = self.open(transport);
        client.connect("1.2");
        client
    }

    /// Where this transport connects.
    pub fn address(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Tcp => self.handle().stomp_address.expect("a STOMP port"),
            Transport::Ws => self.handle().http_address,
        }
    }

    /// The running server.
    pub fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("not ended yet")
    }

    /// Drains; gives the number of shards that were still busy at the deadline.
    pub fn end(mut self) -> usize {
        let handle = self.handle.take().expect("not ended yet");
        handle.drain();
        handle.wait()
    }

    /// What a scrape of the admin port gives.
    pub fn scrape(&self) -> String {
        let address = self.handle().admin_address.expect("an admin port");
        let mut stream = TcpStream::connect(address).expect("the admin port listens");
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Waits until a metric has this value.
    pub fn wait_for_metric(&self, series: &str, value: u64) {
        for _ in 0..600 {
            if self.metric(series) == value {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{series} is {}, not {value}", self.metric(series));
    }

    /// The value of one metric, summed over shards, as a scrape shows it.
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.scrape();
        let line = text.lines().find(|line| line.starts_with(&format!("{series} ")));
        let line = line.unwrap_or_else(|| panic!("no {series} in {text}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }

    /// Waits until this many connections have ended for this reason.
    pub fn wait_for_closed(&self, reason: &str, count: u64) {
        let series = format!("stompede_connections_closed_total{{reason=\"{reason}\"}}");
        self.wait_for_metric(&series, count);
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.drain();
            handle.wait();
        }
    }
}

/// Runs `test` on every driver, with one shard and with two, at the same time.
/// Catalogue: L24.
pub fn on_every_server(change: impl Fn(&mut Config) + Sync, test: impl Fn(&TestServer) + Sync) {
    on_every_built(change, |builder| builder, test);
}

/// As [`on_every_server`], with endpoints or mappings.
pub fn on_every_built(
    change: impl Fn(&mut Config) + Sync,
    build: impl Fn(Builder) -> Builder + Sync,
    test: impl Fn(&TestServer) + Sync,
) {
    let run = &|io, shards| {
        let mut config = Config { io, shards, ..config() };
        change(&mut config);
        let Some(server) = start_built(config, &build) else { return };
        test(&server);
        assert_eq!(server.end(), 0, "every shard ends with its clients");
    };
    std::thread::scope(|scope| {
        for io in [IoChoice::Epoll, IoChoice::Uring] {
            for shards in [1, 2] {
                // The name stands in the message of a failure.
                let name = format!("{io:?} with {shards}");
                let builder = std::thread::Builder::new().name(name);
                builder.spawn_scoped(scope, move || run(io, shards)).expect("a thread");
            }
        }
    });
}

/// Runs `test` on every server of [`on_every_server`] and over both transports.
pub fn everywhere(test: impl Fn(&TestServer, Transport) + Sync) {
    on_every_server(|_| {}, |server| TRANSPORTS.into_iter().for_each(|over| test(server, over)));
}
