//! Attacks below HTTP: silence, haste, half-closed and dripping connections (rows A and B).

use super::ground::Ground;
use super::peer::{wrong, Peer, Told};
use super::{closed, Attack, USUAL};
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        id: "A01",
        sends: "200 connections that say nothing",
        answer: "all are closed within the deadline",
        counter: closed!("handshake_timeout"),
        run: silence,
        ..USUAL
    },
    Attack {
        id: "A02",
        sends: "500 connections that are reset at once",
        answer: "others are served, nothing is left",
        run: resets,
        ..USUAL
    },
    Attack {
        id: "A08",
        sends: "requests whose sender ends its half at once",
        answer: "whole requests are answered, then the end",
        run: half_closes,
        ..USUAL
    },
    Attack {
        id: "A09",
        sends: "a WebSocket that ends its half and waits",
        answer: "the server ends its own half",
        run: |ground| {
            let mut peer = ground.session()?;
            peer.finish();
            peer.expect_end()?;
            Ok(1)
        },
        counter: closed!("peer_closed"),
        ..USUAL
    },
    Attack {
        id: "A11",
        sends: "a request head, one byte at a time for ever",
        answer: "408 and the end: the deadline counts from the first byte",
        counter: closed!("handshake_timeout"),
        run: drip,
        ..USUAL
    },
    Attack {
        id: "A13",
        sends: "urgent data between two frames",
        answer: "the session goes on",
        run: urgent,
        ..USUAL
    },
    Attack {
        id: "B02",
        sends: "a TLS handshake to the plain port",
        answer: "the end, without bytes that a TLS client cannot read",
        counter: closed!("http_error"),
        run: |ground| {
            let mut peer = ground.open()?;
            peer.send(b"\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03");
            peer.expect_silent_end().map(|()| 1)
        },
        ..USUAL
    },
];

fn silence(ground: &Ground) -> Told<u64> {
    let mut peers = (0..200).map(|_| ground.open()).collect::<Told<Vec<_>>>()?;
    for peer in &mut peers {
        peer.expect_silent_end()?;
    }
    Ok(peers.len() as u64)
}

fn resets(ground: &Ground) -> Told<u64> {
    for _ in 0..500 {
        ground.open()?.reset();
    }
    ground.session()?.expect_alive()?;
    Ok(0)
}

fn half_closes(ground: &Ground) -> Told<u64> {
    let host = &ground.target.host;
    for _ in 0..20 {
        let mut peer = ground.open()?;
        peer.send(format!("GET /attack.missing HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        peer.finish();
        let (status, head) = peer.head()?;
        peer.body(&head)?;
        if status != 404 {
            return wrong(format!("status {status} instead of 404"));
        }
        peer.expect_silent_end()?;
        // Half a request has no answer.
        let mut peer = ground.open()?;
        peer.send("GET /attack.mis");
        peer.finish();
        peer.expect_silent_end()?;
    }
    Ok(0)
}

fn drip(ground: &Ground) -> Told<u64> {
    let mut peer = ground.open()?;
    peer.stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let until = Instant::now() + ground.patience;
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\nx: ", ground.target.host);
    let drops = head.bytes().chain(std::iter::repeat(b'x'));
    for byte in drops {
        if Instant::now() > until {
            return wrong("it is waited for, for ever");
        }
        peer.send([byte]);
        if let Ok(seen) = is_answered(&mut peer) {
            return seen;
        }
    }
    wrong("it is waited for, for ever")
}

/// `Err`: nothing came yet.
fn is_answered(peer: &mut Peer<'_>) -> Result<Told<u64>, ()> {
    let mut first = [0];
    match peer.stream.peek(&mut first) {
        Ok(_) => Ok(peer.expect_status(408).map(|_| 1)),
        Err(_) => Err(()),
    }
}

fn urgent(ground: &Ground) -> Told<u64> {
    let mut peer = ground.session()?;
    peer.expect_alive()?;
    socket2::SockRef::from(&peer.stream).send_out_of_band(b"!")?;
    // The urgent byte is not part of the stream, and so not of the next frame.
    peer.expect_alive().map(|()| 0)
}
