//! A panic in one connection's handling ends that connection, is counted, and nothing else.
//!
//! A panic is a bug of ours; whoever finds one must not take the other clients with it. What a
//! shard does for one connection runs behind `Shard::guarded`: what it sent, by whatever shard it
//! came, answers that it waited for, its tick, and what other threads do for it ([`caught`]). A
//! panic outside of it, as in a fan-out, or while such a connection is put away, means that the
//! shard's own state is not to be trusted: the process ends (see `AbortOnPanic`), for a supervisor
//! to start it again.

use super::action::Asker;
use super::connection::Phase;
use super::reason::DisconnectReason;
use super::Shard;
use crate::reactor::Reactor;
use std::panic::{catch_unwind, AssertUnwindSafe};
use stompede_core::ws::close::code;

impl<R: Reactor> Shard<R> {
    /// Does `work` for the connection in `slot`; a panic ends it, over WebSocket with 1011.
    #[inline]
    pub(super) fn guarded(&mut self, slot: u32, work: impl FnOnce(&mut Self)) {
        if caught(|| work(self)).is_none() {
            self.on_panic(slot);
        }
    }

    /// Another thread panicked in what it did for `asker`.
    #[cold]
    pub(super) fn on_panic_elsewhere(&mut self, asker: Asker) {
        if self.connections[asker.slot as usize].generation == asker.generation {
            self.on_panic(asker.slot);
        } else {
            self.metrics.panics.inc();
        }
    }

    /// A panic in what was done for the connection in `slot`: it is counted and ends.
    #[cold]
    pub(super) fn on_panic(&mut self, slot: u32) {
        // Until it is over: a second panic is not caught.
        let _guard = AbortOnPanic { shard: self.index };
        self.metrics.panics.inc();
        let peer = self.peers[slot as usize];
        tracing::error!(shard = self.index, %peer, "a panic ended a connection: this is a bug");
        let phase = self.connections[slot as usize].phase;
        if self.connections[slot as usize].is_live() {
            self.push_close(slot, code::INTERNAL, "internal error");
            self.end(slot, DisconnectReason::Panic);
        } else if let Phase::Closing(reason) | Phase::Lingering(reason) = phase {
            self.abort(slot, reason);
        }
    }
}

/// Does `work`; `None` is a panic in it, which is to be counted ([`Shard::on_panic`]).
#[inline]
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Tests of this module ask for a panic at a place.
#[cfg(test)]
pub(super) fn panic_as_asked(place: &str) {
    assert!(!tests::is_asked_for(place), "as a test asked");
}

/// Nobody asks.
#[cfg(not(test))]
#[inline(always)]
pub(super) fn panic_as_asked(_: &str) {}

/// Ends the process when a panic passes it: a shard that is gone would leave its clients, and what
/// has its home there, waiting for ever.
pub struct AbortOnPanic {
    /// Whose panic it is, for the log.
    pub shard: usize,
}

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(shard = self.shard, "a panic ended a shard, and with it the server");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::census::Census;
    use super::super::Shared;
    use super::*;
    use crate::config::Config;
    use crate::mesh::{connect, Doorbell};
    use crate::metrics::ShardMetrics;
    use crate::reactor::sim::{Faults, Read, SimNet, SimReactor};
    use std::cell::Cell;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    /// A file whose reading panics, on whatever thread.
    const BAD_FILE: &str = "/panic";
    const CONNECT: &str = "CONNECT\naccept-version:1.2\nhost:a\n\n\0";
    const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

    thread_local! {
        static PLACE: Cell<&'static str> = const { Cell::new("") };
    }

    /// Is this the place of the panic? Then it is the last.
    pub(super) fn is_asked_for(place: &str) -> bool {
        place == BAD_FILE || (place == PLACE.get() && !PLACE.take().is_empty())
    }

    /// Two shards, and on the first a canary that hears itself.
    struct World {
        shared: Arc<Shared>,
        nets: Vec<SimNet>,
        shards: Vec<Shard<SimReactor>>,
        canary: usize,
    }

    impl World {
        fn new() -> World {
            let static_dir = Some(std::env::temp_dir());
            let mut config = Config { shards: 2, static_dir, ..Config::default() };
            config.sockjs.tombstone_ms = 1_000;
            let shared = Arc::new(Shared::new(config, 1, "sim").unwrap());
            let bells = [Doorbell::new().unwrap(), Doorbell::new().unwrap()];
            let net = |bell: &Arc<Doorbell>| SimNet::new(1, Faults::default(), 96, bell.fd());
            let nets: Vec<SimNet> = bells.iter().map(net).collect();
            let shards = connect(&bells, 64).into_iter().enumerate();
            let shards = shards
                .map(|(at, mesh)| Shard::new(at, shared.clone(), nets[at].reactor(), mesh))
                .collect();
            let canary = nets[0].connect(1, 1 << 16);
            let mut world = World { shared, nets, shards, canary };
            world.write(canary, CONNECT);
            world.write(canary, "SUBSCRIBE\nid:1\ndestination:/topic/canary\n\n\0");
            assert!(world.read(canary).starts_with("CONNECTED"));
            world
        }

        fn turns(&mut self) {
            for shard in [0, 1].repeat(40) {
                let turn = pin!(self.shards[shard].turn());
                let _ = turn.poll(&mut Context::from_waker(Waker::noop()));
            }
        }

        fn pass(&mut self, ms: u64) {
            self.nets.iter().for_each(|net| net.advance(ms));
            self.turns();
        }

        fn open(&self, listener: u8) -> usize {
            self.nets[0].connect(listener, 1 << 16)
        }

        fn write(&mut self, client: usize, text: &str) {
            self.nets[0].write(client, text.as_bytes());
            self.turns();
        }

        fn read(&mut self, client: usize) -> String {
            match self.nets[0].read(client, usize::MAX) {
                Read::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                other => format!("{other:?}"),
            }
        }

        /// An answer to a POST of SockJS.
        fn post(&mut self, client: usize, path: &str, body: &str) -> String {
            let head = format!("POST /sockjs/0/{path} HTTP/1.1\r\nHost: a\r\n");
            self.write(client, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
            self.read(client)
        }

        fn sum(&self, of: impl Fn(&ShardMetrics) -> u64) -> u64 {
            self.shared.metrics.iter().map(|shard| of(shard)).sum()
        }

        /// So many panics ended so many connections; all else is as it was.
        fn check(mut self, count: u64, clients: &[usize]) {
            assert_eq!(PLACE.get(), "", "nothing panicked there");
            assert_eq!(self.sum(|shard| shard.panics.get()), count);
            let ended = self.sum(|shard| shard.closed_count(DisconnectReason::Panic as usize));
            assert_eq!(ended, count);
            let send = "SEND\ndestination:/topic/canary\nreceipt:r\n\nsong\0";
            self.write(self.canary, send);
            let seen = self.read(self.canary);
            assert!(seen.contains("receipt-id:r\n") && seen.contains("\n\nsong\0"), "{seen}");
            for &client in clients.iter().chain([&self.canary]) {
                self.nets[0].shutdown_write(client);
            }
            for _ in 0..80 {
                self.pass(250);
            }
            for (net, shard) in self.nets.iter().zip(&self.shards) {
                let census = shard.census();
                let arena_chunks = census.arena_chunks;
                assert_eq!(census, Census { arena_chunks, ..Census::default() });
                assert!(arena_chunks <= 2 && net.open_slots_count() == 0);
            }
        }
    }

    #[test]
    fn l26_a_panic_ends_its_connection_and_nothing_else() {
        let mut world = World::new();
        let clients = [world.open(1), world.open(0)];
        world.write(clients[0], CONNECT);
        world.write(clients[1], UPGRADE);
        assert!(world.read(clients[1]).starts_with("HTTP/1.1 101"));
        for client in clients {
            PLACE.set("bytes");
            world.write(client, "what comes is not served");
        }
        assert!(world.read(clients[1]).contains("internal error"), "1011 in words");
        world.check(2, &clients);
    }

    #[test]
    fn l26_a_panic_in_an_answer_of_another_shard_ends_who_waits_for_it() {
        let mut world = World::new();
        let client = world.open(1);
        world.write(client, CONNECT);
        PLACE.set("answer");
        // Some of them have their home on the other shard.
        for name in 0..20 {
            world.write(client, &format!("SUBSCRIBE\nid:{name}\ndestination:/topic/{name}\n\n\0"));
        }
        world.check(1, &[client]);
    }

    #[test]
    fn l26_a_panic_in_a_tick_ends_whose_turn_it_was() {
        let mut world = World::new();
        let client = world.open(1);
        world.write(client, CONNECT);
        world.write(client, "SEND\nhalf a fr");
        PLACE.set("tick");
        world.pass(250);
        world.check(1, &[client]);
    }

    #[test]
    fn l26_a_panic_in_a_body_of_sockjs_ends_its_session_wherever_that_lives() {
        let mut world = World::new();
        let client = world.open(0);
        for name in 0..6 {
            assert!(world.post(client, &format!("s{name}/xhr"), "").ends_with("\r\n\r\no\n"));
            PLACE.set("payload");
            let answer = world.post(client, &format!("s{name}/xhr_send"), "[\"x\"]");
            assert!(answer.contains(" 500 ") && answer.ends_with("Internal error."), "{answer}");
            let last = world.post(client, &format!("s{name}/xhr"), "");
            assert!(last.ends_with("c[1011,\"internal error\"]\n"), "{last}");
        }
        assert_ne!(world.sum(|shard| shard.sockjs_calls_forwarded.get()), 0);
        world.check(6, &[client]);
    }

    #[test]
    fn l26_a_panic_beside_the_shard_ends_who_asked_and_the_thread_goes_on() {
        let mut world = World::new();
        let clients = [world.open(0), world.open(0)];
        let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        world.write(clients[0], &ask(BAD_FILE));
        while world.sum(|shard| shard.panics.get()) == 0 {
            world.turns();
        }
        world.write(clients[1], &ask("/stompede.missing"));
        let mut answer = world.read(clients[1]);
        while answer.is_empty() {
            world.turns();
            answer = world.read(clients[1]);
        }
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        world.check(1, &clients);
    }
}
