//! What clients say while they log in, acknowledge and keep alive: one send a connection and turn.
//!
//! A socket that is full keeps its rest here, up to a bound: a server that reads so little does not
//! read. Meanwhile all that the client says waits behind the rest.

use super::{request, Phase, Worker};
use crate::wire::Writer;
use std::collections::BTreeMap;
use std::io;
use stompede::reactor::Connector;

/// Bytes that may wait for one client's socket.
const REST_BYTES_MAX: usize = 256 << 10;

/// The bytes of a turn.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// Slot, and where its bytes end.
    pieces: Vec<(u32, usize)>,
    /// By slot: what its socket did not take.
    rest: BTreeMap<u32, Vec<u8>>,
}

impl Outbox {
    /// Adds what `write` appends to what a client says.
    pub(super) fn push(&mut self, slot: u32, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(rest) = self.rest.get_mut(&slot) {
            return write(rest);
        }
        write(&mut self.bytes);
        match self.pieces.last_mut() {
            Some((last, end)) if *last == slot => *end = self.bytes.len(),
            _ => self.pieces.push((slot, self.bytes.len())),
        }
    }

    /// Takes what its socket did not take away from a connection that is over, or that says the
    /// rest by itself.
    pub(super) fn forget(&mut self, slot: u32) -> Vec<u8> {
        self.rest.remove(&slot).unwrap_or_default()
    }

    /// Is there something of this turn for the connection?
    pub(super) fn holds(&self, slot: u32) -> bool {
        self.pieces.iter().any(|piece| piece.0 == slot)
    }

    /// All that was said.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The piece of a slot.
    fn piece(&self, slot: u32) -> &[u8] {
        let Some(at) = self.pieces.iter().position(|piece| piece.0 == slot) else { return &[] };
        let begin = at.checked_sub(1).map_or(0, |before| self.pieces[before].1);
        &self.bytes[begin..self.pieces[at].1]
    }
}

impl<R: Connector> Worker<R> {
    /// Adds to what a client says. By HTTP it says it by its line. Otherwise, who publishes says
    /// everything behind its messages: the socket may have taken half of one.
    pub(super) fn say(&mut self, slot: u32, write: impl FnOnce(&Writer, &mut Vec<u8>)) {
        if self.plan.target.transport.is_http() {
            return self.say_by_line(slot, write);
        }
        let index = self.publisher_of(slot);
        let Worker { publishers, outbox, writer, .. } = self;
        let publisher = index.map(|index| &mut publishers.all[index]);
        match publisher.filter(|publisher| publisher.slot == Some(slot)) {
            Some(publisher) => write(writer, &mut publisher.out),
            None => outbox.push(slot, |out| write(writer, out)),
        }
    }

    /// Sends all that was said. The outbox comes last: what publishers say by HTTP goes with it.
    pub(super) fn flush(&mut self) {
        self.flush_publishers();
        self.flush_outbox();
    }

    pub(super) fn flush_outbox(&mut self) {
        self.flush_lines();
        if self.outbox.pieces.is_empty() {
            return;
        }
        let Worker { reactor, outbox, shortfalls, .. } = self;
        let mut begin = 0;
        let requests = outbox.pieces.iter().map(|&(slot, end)| {
            let piece = &outbox.bytes[begin..end];
            begin = end;
            request(slot, piece)
        });
        reactor.send_batch(requests, shortfalls);
        let mut failed = Vec::new();
        for shortfall in shortfalls.drain(..) {
            let slot = shortfall.slot;
            let taken = match shortfall.taken {
                Ok(taken) => taken,
                Err(libc::EAGAIN) => 0,
                Err(errno) => {
                    failed.push((slot, format!("send: {}", io::Error::from_raw_os_error(errno))));
                    continue;
                }
            };
            let rest = outbox.piece(slot)[taken..].to_vec();
            if rest.len() > REST_BYTES_MAX {
                failed.push((slot, "the server does not read".into()));
                continue;
            }
            outbox.rest.insert(slot, rest);
            reactor.arm_writable(slot);
        }
        outbox.bytes.clear();
        outbox.pieces.clear();
        for (slot, why) in failed {
            if self.clients[slot as usize].phase != Phase::Free {
                self.fail(slot, &why, true);
            }
        }
    }

    /// Sends what waited for a socket that takes bytes again.
    pub(super) fn flush_rest(&mut self, slot: u32) {
        let rest = self.outbox.forget(slot);
        if !rest.is_empty() {
            self.outbox.push(slot, |out| out.extend_from_slice(&rest));
            // At once: a turn sends one piece a connection.
            self.flush_outbox();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_behind_a_rest_waits_with_it() {
        let mut outbox = Outbox::default();
        let say = |outbox: &mut Outbox, slot, text: &[u8]| {
            outbox.push(slot, |out| out.extend_from_slice(text));
        };
        say(&mut outbox, 3, b"ab");
        say(&mut outbox, 3, b"c");
        say(&mut outbox, 5, b"de");
        assert_eq!(
            (outbox.piece(3), outbox.piece(5), outbox.pieces.len()),
            (&b"abc"[..], &b"de"[..], 2)
        );
        assert!(outbox.piece(4).is_empty());
        outbox.rest.insert(7, b"x".to_vec());
        say(&mut outbox, 7, b"y");
        assert!(outbox.piece(7).is_empty());
        assert_eq!(outbox.rest[&7], b"xy");
        outbox.forget(7);
        say(&mut outbox, 7, b"z");
        assert_eq!(outbox.piece(7), b"z");
    }
}
