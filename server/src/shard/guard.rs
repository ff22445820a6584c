//! A panic in one connection's handling ends that connection, is counted, and nothing else.
//!
//! A panic is a bug of ours; whoever finds one must not take the other clients with it. What a turn
//! does for one connection runs behind `Shard::guarded`. A panic outside of it, or while such a
//! connection is put away, means that the shard's own state is not to be trusted: the process ends
//! (see `AbortOnPanic`), for a supervisor to start it again.

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
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.on_panic(slot);
        }
    }

    #[cold]
    fn on_panic(&mut self, slot: u32) {
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
    use crate::reactor::sim::{Faults, Read, SimNet, SimReactor};
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    fn turns(shard: &mut Shard<SimReactor>) {
        for _ in 0..20 {
            let _ = pin!(shard.turn()).poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    fn read(net: &SimNet, socket: usize) -> String {
        match net.read(socket, usize::MAX) {
            Read::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn l26_a_panic_ends_its_connection_and_nothing_else() {
        let config = Config { shards: 1, ..Config::default() };
        let shared = Arc::new(Shared::new(config, 1, "sim").unwrap());
        let doorbell = [Doorbell::new().unwrap()];
        let net = SimNet::new(1, Faults::default(), 64, doorbell[0].fd());
        let mesh = connect(&doorbell, 8).pop().unwrap();
        let mut shard = Shard::new(0, shared.clone(), net.reactor(), mesh);
        let clients = [net.connect(1, 1 << 16), net.connect(1, 1 << 16), net.connect(0, 1 << 16)];
        for client in &clients[..2] {
            net.write(*client, b"CONNECT\naccept-version:1.2\nhost:a\n\n\0");
            net.write(*client, b"SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\0");
        }
        net.write(
            clients[2],
            b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        );
        turns(&mut shard);
        assert!(read(&net, clients[2]).starts_with("HTTP/1.1 101"));
        // In the middle of what came; the frame behind it is not served.
        net.write(clients[0], b"PANIC");
        net.write(clients[2], b"PANIC");
        net.write(clients[1], b"SEND\ndestination:/topic/a\nreceipt:r\n\nsong\0");
        turns(&mut shard);
        assert_eq!(shared.metrics[0].panics.get(), 2);
        assert_eq!(shared.metrics[0].closed_count(DisconnectReason::Panic as usize), 2);
        assert!(read(&net, clients[2]).contains("internal error"), "1011 in words");
        let seen = read(&net, clients[1]);
        assert!(seen.contains("RECEIPT\nreceipt-id:r") && seen.contains("\n\nsong\0"), "{seen}");
        for client in clients {
            net.shutdown_write(client);
        }
        for _ in 0..20 {
            net.advance(1_000);
            turns(&mut shard);
        }
        let census = shard.census();
        let arena_chunks = census.arena_chunks;
        assert_eq!(census, Census { arena_chunks, ..Census::default() });
        assert!(arena_chunks <= 2 && net.open_slots_count() == 0);
    }
}
