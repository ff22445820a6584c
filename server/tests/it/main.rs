//! The real server in this process, and clients that talk to it over loopback.
//!
//! [`rows`] is the table of bad input; [`session`], [`delivery`], [`transactions`] and [`load`] are
//! what one answer cannot show. Whatever has no reason to be special runs [`everywhere`]: on epoll
//! and on io_uring, with one shard and with two, over TCP and over WebSocket, and the answers are
//! the same. No test looks at a clock: they wait for events, with generous deadlines.

#[path = "../support/mod.rs"]
#[allow(dead_code)] // Each suite takes a part of it.
mod support;

mod app;
mod budgets;
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
mod publisher;
mod queues;
mod replies;
mod rows;
mod selectors;
mod session;
mod slow;
mod transactions;
mod users;

use client::{Client, Transport, TRANSPORTS};
use std::net::SocketAddr;
use stompede::config::{Config, IoChoice};
use stompede::{Builder, Handle, Server};
use support::{anywhere, drivers, until, Running};

/// A configuration for tests: free ports, one shard, no pinning.
pub fn config() -> Config {
    Config {
        stomp_listen: Some(anywhere()),
        admin_listen: Some(anywhere()),
        io: IoChoice::Epoll,
        connections_max: 1_000,
        ..support::config(1)
    }
}

/// Starts a server; a driver that this machine forbids is said loudly and skipped.
pub fn start(config: Config) -> Option<TestServer> {
    start_built(config, |builder| builder)
}

/// As [`start`], with endpoints or mappings.
fn start_built(mut config: Config, build: impl Fn(Builder) -> Builder) -> Option<TestServer> {
    config.settle().expect("a good configuration");
    if config.io == IoChoice::Uring && !drivers().contains(&IoChoice::Uring) {
        return None;
    }
    Some(TestServer(Running::of(build(Server::builder(config)))))
}

/// A running server, drained when it is dropped.
pub struct TestServer(Running);

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
        &self.0
    }

    /// Drains; gives the number of shards that were still busy at the deadline.
    pub fn end(self) -> usize {
        self.0.end()
    }

    /// What a scrape of the admin port gives.
    pub fn scrape(&self) -> String {
        self.0.scrape()
    }

    /// Waits until a metric has this value.
    pub fn wait_for_metric(&self, series: &str, value: u64) {
        until(&format!("{value} of {series}"), || self.metric(series) == value);
    }

    /// The value of one metric, summed over shards, as a scrape shows it.
    pub fn metric(&self, series: &str) -> u64 {
        self.0.metric(series)
    }

    /// Resets a connection, and waits until the server has ended it; no other may end meanwhile.
    pub fn reset(&self, client: Client) {
        let ended = || -> u64 {
            let text = self.scrape();
            let lines =
                text.lines().filter(|l| l.starts_with("stompede_connections_closed_total{"));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
        };
        let before = ended();
        client.reset();
        until("the end of a connection", || ended() > before);
    }

    /// Waits until this many connections have ended for this reason.
    pub fn wait_for_closed(&self, reason: &str, count: u64) {
        let series = format!("stompede_connections_closed_total{{reason=\"{reason}\"}}");
        self.wait_for_metric(&series, count);
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
