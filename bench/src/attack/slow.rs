//! Attacks by clients that do not read, or ask for more than they take (rows K).

use super::ground::Ground;
use super::peer::{wrong, Heard, Peer, Told};
use super::{closed, Attack, USUAL};
use crate::wire::stomp::connect_frame;
use std::time::Instant;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        id: "K01",
        sends: "20 subscribers that do not read what is broadcast",
        answer: "each is ended, everybody else gets everything",
        counter: closed!("slow_consumer"),
        growth_bytes_max: 32 << 20,
        run: |ground| flood(ground, 20, 0),
    },
    Attack {
        id: "K03",
        sends: "5 subscribers that read a trickle of what is broadcast",
        answer: "each is ended when its queue is full, though it never stops",
        counter: closed!("slow_consumer"),
        growth_bytes_max: 32 << 20,
        run: |ground| flood(ground, 5, 1_000),
    },
    Attack {
        id: "K05",
        sends: "a publisher as fast as it can, whose receipts are counted",
        answer: "every SEND is answered",
        counter: "",
        run: publish_fast,
        ..USUAL
    },
    Attack {
        id: "K06",
        sends: "large messages to 50 subscribers",
        answer: "all get them, one copy is shared",
        counter: "",
        growth_bytes_max: 32 << 20,
        run: large_messages,
    },
    Attack {
        id: "K09",
        sends: "300 clients whose heart-beats all stop",
        answer: "each is ended, in three of its intervals",
        counter: closed!("heartbeat_missed"),
        run: silent_together,
        ..USUAL
    },
    Attack {
        id: "K10",
        sends: "ten thousand times SUBSCRIBE and UNSUBSCRIBE",
        answer: "nothing is left",
        counter: "",
        run: |ground| {
            let mut peer = ground.session()?;
            for batch in 0..10 {
                let frames = (0..1_000).map(|n| {
                    let to = format!("/topic/attack.{batch}.{n}");
                    format!("SUBSCRIBE\nid:{n}\ndestination:{to}\n\n\0UNSUBSCRIBE\nid:{n}\n\n\0")
                });
                peer.send_stomp(frames.collect::<String>());
                peer.expect_alive()?;
            }
            Ok(0)
        },
        ..USUAL
    },
];

fn subscriber<'a>(ground: &'a Ground, to: &str) -> Told<Peer<'a>> {
    let mut peer = ground.session()?;
    peer.send_stomp(format!("SUBSCRIBE\nid:s\ndestination:{to}\nreceipt:s\n\n\0"));
    peer.expect_stomp("RECEIPT", "receipt-id:s\n")?;
    Ok(peer)
}

/// Publishes until all of `count` subscribers are gone, who read so many bytes now and then.
fn flood(ground: &Ground, count: usize, trickle_bytes: usize) -> Told<u64> {
    let to = format!("/topic/attack.{}", ground.name());
    let mut stalled = (0..count).map(|_| subscriber(ground, &to)).collect::<Told<Vec<_>>>()?;
    let mut publisher = ground.session()?;
    let message = format!("SEND\ndestination:{to}\n\n{}\0", "x".repeat(60_000));
    let until = Instant::now() + ground.patience;
    // More than sockets, the server's queue and its patience hold together: it takes some time.
    while stalled.iter_mut().any(|peer| !is_gone(peer)) {
        if Instant::now() > until {
            return wrong("clients that do not read are kept for ever");
        }
        for _ in 0..20 {
            publisher.send_stomp(&message);
        }
        for peer in stalled.iter_mut().filter(|_| trickle_bytes > 0) {
            let _ = peer.stream.set_nonblocking(true);
            // One that is gone is asked below.
            let _ = std::io::Read::read(&mut peer.stream, &mut vec![0; trickle_bytes]);
            let _ = peer.stream.set_nonblocking(false);
        }
        publisher.expect_alive()?;
    }
    Ok(count as u64)
}

/// Has the server ended it? Asked without reading: what waits unread stays unread.
fn is_gone(peer: &mut Peer<'_>) -> bool {
    let mut probe = [0];
    let _ = peer.stream.set_nonblocking(true);
    // A client that was aborted cannot write; one that was closed is told so by the second write.
    let is_gone = std::io::Write::write(&mut peer.stream, &super::peer::frame(0x8a, b"")).is_err()
        || matches!(peer.stream.peek(&mut probe), Ok(0));
    let _ = peer.stream.set_nonblocking(false);
    is_gone
}

fn silent_together(ground: &Ground) -> Told<u64> {
    let mut peers = Vec::new();
    for _ in 0..300 {
        let mut peer = ground.websocket()?;
        let host = &ground.target.host;
        peer.send_stomp(connect_frame("1.2", host, ground.login.as_ref(), "1000,0"));
        peer.expect_stomp("CONNECTED", "")?;
        peers.push(peer);
    }
    for peer in &mut peers {
        peer.expect_stomp("ERROR", "message:")?;
        peer.finish();
        peer.expect_end()?;
    }
    Ok(peers.len() as u64)
}

fn publish_fast(ground: &Ground) -> Told<u64> {
    const COUNT: usize = 20_000;
    let mut peer = ground.session()?;
    let mut writer = peer.stream.try_clone()?;
    let to = format!("/topic/attack.{}", ground.name());
    let sent = std::thread::spawn(move || {
        let send = format!("SEND\ndestination:{to}\nreceipt:r\n\n\0").repeat(100);
        let batch = super::peer::frame(0x81, send.as_bytes());
        for _ in 0..COUNT / 100 {
            // A server that closes shows in the receipts.
            let _ = std::io::Write::write_all(&mut writer, &batch);
        }
    });
    for _ in 0..COUNT {
        peer.expect_stomp("RECEIPT", "receipt-id:r\n")?;
    }
    let _ = sent.join();
    Ok(0)
}

fn large_messages(ground: &Ground) -> Told<u64> {
    const ROUNDS: usize = 3;
    let to = format!("/topic/attack.{}", ground.name());
    let mut readers = (0..50).map(|_| subscriber(ground, &to)).collect::<Told<Vec<_>>>()?;
    let mut publisher = ground.session()?;
    let body = "x".repeat(200_000);
    for _ in 0..ROUNDS {
        publisher.send_stomp(format!("SEND\ndestination:{to}\n\n{body}\0"));
        for reader in &mut readers {
            match reader.hear()? {
                Heard::Frame(0x81, frame) if frame.len() > body.len() => {}
                other => return wrong(format!("{:.40} instead of it", format!("{other:?}"))),
            }
        }
    }
    Ok(0)
}
