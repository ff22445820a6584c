//! Attacks by compressed messages (rows F), on servers that offer permessage-deflate.

use super::ground::Ground;
use super::peer::{wrong, Told, Wrong};
use super::{closed, Attack, USUAL};
use stompede_core::ws::deflate::Deflater;
use stompede_core::ws::extensions::Window;

const BREACH: Attack =
    Attack { answer: "close code 1009", counter: closed!("websocket_error"), ..USUAL };

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        id: "F01",
        sends: "64 KiB that become 64 MiB, whole and in fragments",
        growth_bytes_max: 32 << 20,
        run: |ground| {
            let bomb = deflated(&vec![b'\n'; 64 << 20])?;
            let (front, back) = bomb.split_at(bomb.len() / 2);
            breach(ground, 1009, &[&[(0xc1, &bomb)], &[(0x41, front), (0x80, back)]])
        },
        ..BREACH
    },
    Attack {
        id: "F02",
        sends: "a bomb before the log-in",
        run: |ground| {
            let bomb = deflated(&vec![b'\n'; 1 << 20])?;
            let mut peer = ground.compressed()?;
            peer.send_frame(0xc1, &bomb);
            peer.expect_close(1009).map(|()| 1)
        },
        ..BREACH
    },
    Attack {
        id: "F04",
        sends: "the compression bit on continuations and on control frames",
        answer: "close code 1002",
        run: |ground| {
            let start = deflated(b"\n")?;
            breach(ground, 1002, &[&[(0x41, &start), (0xc0, b"")], &[(0xc9, b"")]])
        },
        ..BREACH
    },
    Attack {
        id: "F05",
        sends: "compressed messages that are empty, cut or no deflate at all",
        answer: "close code 1007",
        run: |ground| {
            let whole = deflated(&[b'\n'; 500])?;
            let cut = &whole[..whole.len() / 2];
            breach(ground, 1007, &[&[(0xc1, b"")], &[(0xc1, b"\xff")], &[(0xc1, cut)]])
        },
        ..BREACH
    },
    Attack {
        id: "F07",
        sends: "windows of 0, 8 and 16 bits, repeated and unknown parameters",
        answer: "such an offer is declined or refused, never agreed on",
        counter: "",
        run: bad_offers,
        ..BREACH
    },
];

fn deflated(message: &[u8]) -> Told<Vec<u8>> {
    let mut out = Vec::new();
    match Deflater::new(Window::Bits15).deflate(message, &mut out) {
        true => Ok(out),
        false => wrong("cannot compress"),
    }
}

/// Each of `messages`, a list of frames, ends a session with this close code.
fn breach(ground: &Ground, code: u16, messages: &[&[(u8, &[u8])]]) -> Told<u64> {
    for message in messages {
        let mut peer = ground.compressed()?;
        peer.log_in()?;
        for (first, payload) in *message {
            peer.send_frame(*first, payload);
        }
        peer.expect_close(code)?;
    }
    Ok(messages.len() as u64)
}

fn bad_offers(ground: &Ground) -> Told<u64> {
    ground.compressed()?;
    let offers = [
        "server_max_window_bits=0",
        "server_max_window_bits=8",
        "server_max_window_bits=16",
        "client_max_window_bits=7",
        "server_no_context_takeover; server_no_context_takeover",
        "unknown",
    ];
    for offer in offers {
        let line = format!("Sec-WebSocket-Extensions: permessage-deflate; {offer}\r\n");
        match ground.open()?.upgrade(&line) {
            Ok(head) if head.contains("permessage-deflate") => {
                return wrong(format!("it agrees on {offer}"));
            }
            // Refused as a whole is a sound answer, too.
            Ok(_) | Err(Wrong::Answer(_)) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(0)
}
