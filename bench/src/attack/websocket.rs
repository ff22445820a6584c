//! Attacks on WebSocket framing (rows E). All but the first few bytes are sent inside a session,
//! because that is where a server has something to lose.

use super::ground::Ground;
use super::peer::{frame, wrong, Heard, Told};
use super::{closed, Attack, USUAL};
use std::time::Duration;

/// A frame that has begun: line ends alone would meet the budget for heart-beats first.
const SEND: &[u8] = b"SEND\ndestination:/topic/attack\n\n";

/// A breach of RFC 6455: a close code, counted once for each.
const BREACH: Attack =
    Attack { answer: "close code 1002", counter: closed!("websocket_error"), ..USUAL };

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        id: "E01",
        sends: "a frame without mask",
        run: |ground| breach(ground, 1002, &[b"\x81\x05hello".to_vec()]),
        ..BREACH
    },
    Attack {
        id: "E02",
        sends: "reserved opcodes",
        run: |ground| {
            let opcodes = (0x83..0x88).chain(0x8b..=0x8f);
            breach(ground, 1002, &opcodes.map(|first| frame(first, b"x")).collect::<Vec<_>>())
        },
        ..BREACH
    },
    Attack {
        id: "E03",
        sends: "reserved bits that nobody agreed on",
        run: |ground| {
            let bits = [0xc1, 0xa1, 0x91, 0xf1, 0xc9];
            breach(ground, 1002, &bits.map(|first| frame(first, b"x")))
        },
        ..BREACH
    },
    Attack {
        id: "E04",
        sends: "lengths that are longer than they need be",
        run: |ground| {
            let long = |form: u8, length: &[u8]| [&[0x82, form], length, &[0; 9]].concat();
            let forms = [long(0xfe, &[0, 5]), long(0xff, &[0, 0, 0, 0, 0, 0, 1, 44])];
            breach(ground, 1002, &forms)
        },
        ..BREACH
    },
    Attack {
        id: "E05",
        sends: "lengths of 2^63-1, 2^63 and 2^64-1",
        answer: "1009 or 1002 at once, and no allocation",
        run: huge_lengths,
        ..BREACH
    },
    Attack {
        id: "E06",
        sends: "a gigabyte announced, ten bytes sent, by 50 clients",
        answer: "1009 at the head",
        run: |ground| {
            let head = [&[0x82, 0xff][..], &(1_u64 << 30).to_be_bytes(), &[1; 14]].concat();
            breach(ground, 1009, &vec![head; 50])
        },
        ..BREACH
    },
    Attack {
        id: "E07",
        sends: "control frames that are long or fragmented",
        run: |ground| {
            let frames = [frame(0x89, &[b'x'; 126]), frame(0x09, b"x"), frame(0x08, b"")];
            breach(ground, 1002, &frames)
        },
        ..BREACH
    },
    Attack {
        id: "E08",
        sends: "a continuation of nothing, and a message within a message",
        run: |ground| {
            let within = [frame(0x01, b"\n"), frame(0x81, b"\n")].concat();
            breach(ground, 1002, &[frame(0x80, b"x"), within])
        },
        ..BREACH
    },
    Attack {
        id: "E09",
        sends: "pings between the fragments of a message",
        answer: "pongs with their payloads, in order",
        counter: "",
        run: pings_between_fragments,
        ..BREACH
    },
    Attack {
        id: "E10",
        sends: "text that is not UTF-8: cut, overlong, surrogates, beyond Unicode",
        answer: "close code 1007",
        run: |ground| {
            let bad: [&[u8]; 5] =
                [b"\xff", b"\n\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"];
            breach(ground, 1007, &bad.map(|text| frame(0x81, text)))
        },
        ..BREACH
    },
    Attack {
        id: "E13",
        sends: "a message of a hundred thousand fragments of one byte",
        answer: "1008 at the limit on fragments",
        run: |ground| {
            let flood = [frame(0x01, SEND), frame(0x00, b"x").repeat(100_000)].concat();
            breach(ground, 1008, &[flood])
        },
        ..BREACH
    },
    Attack {
        id: "E14",
        sends: "empty fragments for ever",
        answer: "1008 at the limit on fragments",
        run: |ground| {
            let flood = [frame(0x01, b""), frame(0x00, b"").repeat(100_000)].concat();
            breach(ground, 1008, &[flood])
        },
        ..BREACH
    },
    Attack {
        id: "E15",
        sends: "a hundred thousand pings, whose pongs are not read",
        answer: "some pongs, then ERROR and 1008",
        counter: closed!("control_flood"),
        run: |ground| control_flood(ground, &frame(0x89, &[b'p'; 125]).repeat(100_000)),
        ..BREACH
    },
    Attack {
        id: "E16",
        sends: "a hundred thousand pongs that nobody asked for",
        answer: "they are dropped, then ERROR and 1008",
        counter: closed!("control_flood"),
        run: |ground| control_flood(ground, &frame(0x8a, b"unasked").repeat(100_000)),
        ..BREACH
    },
    Attack {
        id: "E17",
        sends: "pings of 125 bytes for ever, none of whose pongs are read",
        answer: "it is not read from either, and ended when it stalls",
        counter: closed!("stalled"),
        run: pings_of_a_blocked_client,
        ..BREACH
    },
    Attack {
        id: "E18",
        sends: "a message over the limit, by one frame and by fragments",
        answer: "1009",
        run: |ground| {
            let piece = frame(0x00, &[b'x'; 60_000]);
            let pieces = [frame(0x02, SEND), piece.repeat(120)].concat();
            breach(ground, 1009, &[frame(0x82, &vec![b'x'; 64 << 20]), pieces])
        },
        ..BREACH
    },
    Attack {
        id: "E20",
        sends: "close frames with half a code, or a reason that is no text",
        answer: "1002, and 1007",
        run: |ground| {
            breach(ground, 1002, &[frame(0x88, b"\x03")])?;
            breach(ground, 1007, &[frame(0x88, b"\x03\xe8\xff")])?;
            Ok(2)
        },
        ..BREACH
    },
    Attack {
        id: "E21",
        sends: "close codes that must not be on the wire",
        run: |ground| {
            let codes = [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535];
            breach(ground, 1002, &codes.map(|code| frame(0x88, &code.to_be_bytes())))
        },
        ..BREACH
    },
    Attack {
        id: "E22",
        sends: "a breach, and then no answer to the close frame",
        answer: "the connection is closed all the same",
        run: |ground| {
            let mut peer = ground.session()?;
            peer.send(b"\x81\x05hello");
            // Its own half stays open: the end is the server's.
            peer.expect_end().map(|_| 1)
        },
        ..BREACH
    },
    Attack {
        id: "E23",
        sends: "frames behind a close frame",
        answer: "the close is answered, the rest is dropped",
        counter: closed!("closing_handshake"),
        run: |ground| {
            let mut peer = ground.session()?;
            peer.send_frame(0x88, &1000_u16.to_be_bytes());
            peer.send_stomp("SEND\ndestination:/topic/attack\nreceipt:late\n\n\0");
            match peer.hear()? {
                Heard::Frame(0x88, _) => {}
                other => return wrong(format!("{other:?} instead of a close frame")),
            }
            peer.finish();
            peer.expect_silent_end().map(|()| 1)
        },
        ..BREACH
    },
    Attack {
        id: "E25",
        sends: "200 clients that close at the same moment",
        answer: "all are answered",
        counter: closed!("closing_handshake"),
        run: close_together,
        ..BREACH
    },
    Attack {
        id: "E28",
        sends: "a frame that drips, a byte every 100 ms",
        answer: "ERROR and 1008 once it is below the minimum rate",
        counter: closed!("slow_message"),
        run: drip,
        ..BREACH
    },
];

/// Sends each of `bytes` within a session of its own, which ends with this close code.
fn breach(ground: &Ground, code: u16, bytes: &[Vec<u8>]) -> Told<u64> {
    for bytes in bytes {
        let mut peer = ground.session()?;
        let mut writer = peer.stream.try_clone()?;
        let more = bytes.clone();
        // By a thread: a server that answers early does not read to the end.
        let sent = std::thread::spawn(move || {
            let _ = std::io::Write::write_all(&mut writer, &more);
        });
        let answer = peer.expect_close(code);
        drop(peer);
        let _ = sent.join();
        answer?;
    }
    Ok(bytes.len() as u64)
}

fn huge_lengths(ground: &Ground) -> Told<u64> {
    let head = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes(), &[1; 14]].concat();
    breach(ground, 1009, &[head(i64::MAX as u64)])?;
    breach(ground, 1002, &[head(1 << 63), head(u64::MAX)])?;
    Ok(3)
}

fn pings_between_fragments(ground: &Ground) -> Told<u64> {
    let mut peer = ground.session()?;
    peer.send_frame(0x01, b"SEND\ndestination:/topic/attack\n");
    for payload in [b"1", b"2"] {
        peer.send_frame(0x89, payload);
        peer.send_frame(0x00, b"x:y\n");
        match peer.hear()? {
            Heard::Frame(0x8a, pong) if pong == payload => {}
            other => return wrong(format!("{other:?} instead of a pong")),
        }
    }
    peer.send_frame(0x80, b"receipt:r\n\n\0");
    peer.expect_stomp("RECEIPT", "receipt-id:r\n").map(|_| 0)
}

/// Sends until the server takes nothing more, and then ends it.
fn pings_of_a_blocked_client(ground: &Ground) -> Told<u64> {
    const TAKEN_BYTES_MAX: usize = 64 << 20;
    let mut peer = ground.session()?;
    // Fewer than the budget of control frames, which a SEND renews.
    let pings = frame(0x89, &[b'p'; 125]).repeat(50);
    let send = frame(0x81, b"SEND\ndestination:/topic/attack\nreceipt:r\n\n\0");
    let round = [pings, send].concat();
    for _ in 0..TAKEN_BYTES_MAX / round.len() {
        match std::io::Write::write_all(&mut peer.stream, &round) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return wrong("a client that stalls is kept");
            }
            Err(_) => return Ok(1),
        }
    }
    wrong("pings are taken without end though no pong is")
}

/// Sends `flood` within a session, and reads only then.
fn control_flood(ground: &Ground, flood: &[u8]) -> Told<u64> {
    let mut peer = ground.session()?;
    peer.send(flood);
    peer.expect_error("Too many control frames", 1008).map(|()| 1)
}

fn close_together(ground: &Ground) -> Told<u64> {
    let mut peers = (0..200).map(|_| ground.session()).collect::<Told<Vec<_>>>()?;
    for peer in &mut peers {
        peer.send_frame(0x88, &1000_u16.to_be_bytes());
    }
    for peer in &mut peers {
        peer.expect_close(1000)?;
    }
    Ok(peers.len() as u64)
}

/// The span over which a rate is measured may be longer than the patience for an answer.
const SPAN_MAX: Duration = Duration::from_secs(60);

fn drip(ground: &Ground) -> Told<u64> {
    let mut peer = ground.session()?;
    peer.send_stomp("SEND\ndestination:/topic/attack\n\n");
    let mut writer = peer.stream.try_clone()?;
    let dripping = std::thread::spawn(move || {
        let drop = frame(0x81, b"x");
        while std::io::Write::write_all(&mut writer, &drop).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    peer.stream.set_read_timeout(Some(SPAN_MAX))?;
    let answer = peer.expect_error("Frame too slow", 1008);
    // Its writes fail from now on.
    let _ = peer.stream.shutdown(std::net::Shutdown::Both);
    let _ = dripping.join();
    answer.map(|()| 1)
}
