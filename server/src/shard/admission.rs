//! Who may come in: connections per shard, connections and SockJS sessions per client address.
//!
//! A refused client is told (503 with `Retry-After`, or an ERROR), so a shard keeps some slots
//! above its limit for those who are on their way out. Counts per address span all shards without a
//! table of addresses: they are cells of a fixed array, chosen by a keyed hash. Two addresses may
//! share a cell; then both reach the limit early, never late.

use super::reason::DisconnectReason;
use super::Shard;
use crate::reactor::Reactor;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use stompede_core::http::response;
use stompede_core::stomp::error::Error;

/// Cells of the counts: 4 MiB, touched only as far as addresses come.
const CELLS: usize = 1 << 20;
/// Slots for connections that are being refused.
pub const SLOTS_RESERVED: usize = 64;
/// Seconds after which a refused client may come again: spread, so that not all come at once.
const RETRY_AFTER_S: std::ops::Range<u32> = 1..16;

/// Connections, or SockJS sessions, by client address, all shards together.
pub struct AddressCounts {
    cells: Box<[AtomicU32]>,
    hasher: RandomState,
}

impl Default for AddressCounts {
    fn default() -> AddressCounts {
        let cells = std::iter::repeat_with(AtomicU32::default).take(CELLS).collect();
        AddressCounts { cells, hasher: RandomState::new() }
    }
}

impl AddressCounts {
    fn cell(&self, ip: IpAddr) -> &AtomicU32 {
        // Who has one IPv6 address has a whole /64 of them.
        let name = match ip {
            IpAddr::V4(ip) => u64::from(u32::from(ip)),
            IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
        };
        &self.cells[self.hasher.hash_one(name) as usize % CELLS]
    }

    /// Counts a connection; gives the number of them, this one included.
    pub fn enter(&self, ip: IpAddr) -> u32 {
        self.cell(ip).fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The number now; others may come at the same time.
    pub fn count(&self, ip: IpAddr) -> u32 {
        self.cell(ip).load(Ordering::Relaxed)
    }

    /// A connection that was counted is gone.
    pub fn leave(&self, ip: IpAddr) {
        self.cell(ip).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections taken in the second at hand.
#[derive(Debug, Default)]
pub struct ConnectionRate {
    second: u64,
    count: u32,
}

impl ConnectionRate {
    /// Takes one more at `now_ms`, if there may be one; `count_max` of 0 is no limit.
    pub fn take(&mut self, now_ms: u64, count_max: u32) -> bool {
        if self.second != now_ms / 1_000 {
            *self = ConnectionRate { second: now_ms / 1_000, count: 0 };
        }
        let is_taken = count_max == 0 || self.count < count_max;
        self.count = self.count.saturating_add(u32::from(is_taken));
        is_taken
    }
}

impl<R: Reactor> Shard<R> {
    /// Counts a new connection and refuses it if it is one too many.
    pub(super) fn admit(&mut self, slot: u32) {
        self.live_count += 1;
        let is_room = self.live_count <= self.connections_max;
        let is_room = (self.note_proxy(slot) || self.has_address_room(slot)) && is_room;
        let rate_max = self.shared.config.connection_rate_max;
        let is_slow_enough = self.connection_rate.take(self.now_ms, rate_max);
        let (reason, seen) = match (is_room, is_slow_enough, self.is_over_memory) {
            (true, true, false) => return,
            (false, ..) => (
                DisconnectReason::TooManyConnections,
                "more than --connections-max or --connections-per-ip-max",
            ),
            (_, false, _) => (DisconnectReason::ConnectionRate, "more than --connection-rate-max"),
            _ => (DisconnectReason::MemoryMark, "more bytes held than --memory-max"),
        };
        self.turn_away(slot, reason, seen);
    }

    /// Counts the connection by its address. Is that one not too many?
    fn has_address_room(&self, slot: u32) -> bool {
        let Some(counts) = &self.shared.address_counts else { return true };
        let count = counts.enter(self.peers[slot as usize].ip());
        count as usize <= self.shared.config.connections_per_ip_max
    }

    /// As [`Shard::admit`], for the client that a proxy has named. Says whether it may come in.
    pub(super) fn admit_address(&mut self, slot: u32) -> bool {
        let is_room = self.has_address_room(slot);
        if !is_room {
            let seen = "more than --connections-per-ip-max behind a proxy";
            self.turn_away(slot, DisconnectReason::TooManyConnections, seen);
        }
        is_room
    }

    fn turn_away(&mut self, slot: u32, reason: DisconnectReason, seen: &str) {
        if self.may_log("refused") {
            let peer = self.peers[slot as usize];
            tracing::warn!(shard = self.index, %peer, "a connection was refused: seen {seen}");
        }
        self.refuse_busy(slot, reason);
    }

    /// Tells a client to come again later, in the words of its protocol, and ends it.
    pub(super) fn refuse_busy(&mut self, slot: u32, reason: DisconnectReason) {
        if !self.connections[slot as usize].is_http() {
            return self.fail_stomp(slot, &Error::ServerBusy, None, reason);
        }
        let spread = RETRY_AFTER_S.end - RETRY_AFTER_S.start;
        let seconds = (RETRY_AFTER_S.start + self.tick.wrapping_add(slot) % spread).to_string();
        let headers = [("Content-Type", "text/plain; charset=utf-8"), ("Retry-After", &*seconds)];
        let mut bytes = Vec::new();
        let body = b"too many connections, come again later\n";
        response::encode(&mut bytes, 503, &headers, body, false);
        self.push_bytes(slot, &bytes);
        self.end(slot, reason);
    }

    /// The slot of a connection was freed.
    pub(super) fn discharge(&mut self, slot: u32) {
        self.live_count -= 1;
        let is_counted = self.end_proxied(slot);
        if let (true, Some(counts)) = (is_counted, &self.shared.address_counts) {
            counts.leave(self.peers[slot as usize].ip());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catalogue: A06, A15.
    #[test]
    fn a_network_counts_as_one_address() {
        let counts = AddressCounts::default();
        assert_eq!(counts.enter("2001:db8::1".parse().unwrap()), 1);
        assert_eq!(counts.enter("2001:db8::2".parse().unwrap()), 2);
        assert_eq!(counts.enter("127.0.0.1".parse().unwrap()), 1);
        counts.leave("2001:db8::1".parse().unwrap());
        assert_eq!(counts.enter("2001:db8::3".parse().unwrap()), 2);
    }

    /// stomp.md §5 row 87.
    #[test]
    fn each_second_has_its_number_of_connections() {
        let mut rate = ConnectionRate::default();
        assert_eq!([0, 400, 999].map(|now_ms| rate.take(now_ms, 2)), [true, true, false]);
        assert_eq!([1_000, 1_000, 1_999].map(|now_ms| rate.take(now_ms, 2)), [true, true, false]);
        assert!((0..1_000).all(|_| rate.take(5_000, 0)));
    }
}
