//! WebSocket frames from a client: head, unmask, UTF-8, through `ws::receiver`.
//!
//! 64 KiB of pipelined text messages, one message a repetition. Unmasking in place changes the
//! buffer from run to run; the key's bytes are below 0x20 and the text is lower case, so that
//! masked or not it stays ASCII and both runs do the same work.

use crate::Operation;
use std::hint::black_box;
use stompede_core::limits::{Limits, WS_HEADER_BYTES_MAX};
use stompede_core::ws::frame::{decode_header, encode_header, encode_masked, Opcode};
use stompede_core::ws::receiver::{Event, Receiver};

const BUFFER_BYTES: usize = 64 * 1024;
const KEY: [u8; 4] = [1, 2, 3, 4];

pub fn operations() -> Vec<Operation> {
    vec![
        Operation { name: "frame/decode head", bytes: 0, prepare: heads },
        Operation { name: "frame/encode head", bytes: 0, prepare: encode_heads },
        Operation {
            name: "frame/receive text 32 B",
            bytes: 32,
            prepare: || receive(Opcode::Text, 32),
        },
        Operation {
            name: "frame/receive text 160 B",
            bytes: 160,
            prepare: || receive(Opcode::Text, 160),
        },
        Operation {
            name: "frame/receive text 160 B (naive)",
            bytes: 160,
            prepare: || receive_naive(160),
        },
        Operation {
            name: "frame/receive binary 160 B",
            bytes: 160,
            prepare: || receive(Opcode::Binary, 160),
        },
        Operation {
            name: "frame/receive text 4 KiB",
            bytes: 4_096,
            prepare: || receive(Opcode::Text, 4_096),
        },
        Operation {
            name: "frame/receive text 4 KiB (naive)",
            bytes: 4_096,
            prepare: || receive_naive(4_096),
        },
    ]
}

fn messages(opcode: Opcode, payload_bytes: usize) -> Vec<u8> {
    let mut buffer = Vec::new();
    while buffer.len() + payload_bytes + WS_HEADER_BYTES_MAX <= BUFFER_BYTES {
        encode_masked(&mut buffer, opcode, KEY, &vec![b'x'; payload_bytes]);
    }
    buffer
}

fn heads() -> Box<dyn FnMut(u64)> {
    let (limits, frame) = (Limits::default(), messages(Opcode::Text, 160));
    Box::new(move |count| {
        for _ in 0..count {
            let found = decode_header(black_box(&frame), false, &limits);
            assert!(matches!(black_box(found), Ok(Some((_, 8)))));
        }
    })
}

fn encode_heads() -> Box<dyn FnMut(u64)> {
    let mut out = [0; WS_HEADER_BYTES_MAX];
    Box::new(move |count| {
        for _ in 0..count {
            black_box(encode_header(&mut out, Opcode::Text, black_box(160)));
            black_box(&out);
        }
    })
}

fn receive(opcode: Opcode, payload_bytes: usize) -> Box<dyn FnMut(u64)> {
    let (limits, mut receiver) = (Limits::default(), Receiver::default());
    let mut buffer = messages(opcode, payload_bytes);
    let mut at = 0;
    Box::new(move |count| {
        for _ in 0..count {
            let found = receiver.next_event(black_box(&mut buffer[at..]), &limits);
            let Ok(Some((Event::Data { payload, .. }, consumed))) = black_box(found) else {
                panic!("a message is there");
            };
            assert_eq!(payload.len(), payload_bytes);
            at += consumed;
            if at == buffer.len() {
                at = 0;
            }
        }
    })
}

/// Byte by byte, into a `String` of its own.
fn receive_naive(payload_bytes: usize) -> Box<dyn FnMut(u64)> {
    let (limits, buffer) = (Limits::default(), messages(Opcode::Text, payload_bytes));
    let mut at = 0;
    Box::new(move |count| {
        for _ in 0..count {
            let rest = black_box(&buffer[at..]);
            let Ok(Some((header, head_bytes))) = decode_header(rest, false, &limits) else {
                panic!("a head is there");
            };
            let masked = &rest[head_bytes..head_bytes + header.payload_bytes as usize];
            let key = header.key.iter().cycle();
            let plain: Vec<u8> = masked.iter().zip(key).map(|(byte, key)| byte ^ key).collect();
            black_box(String::from_utf8(plain).expect("the text is ASCII"));
            at += head_bytes + masked.len();
            if at == buffer.len() {
                at = 0;
            }
        }
    })
}
