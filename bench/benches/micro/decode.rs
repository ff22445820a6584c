//! STOMP decode: pipelined frames of a 64 KiB buffer, one frame a repetition, fully checked.
//!
//! Fully checked means what `stomp::decode` promises: limits, UTF-8 of the head, escapes, repeats,
//! `content-length`. SEND is what a publisher sends; MESSAGE is what the load generator reads.

use crate::Operation;
use std::collections::HashMap;
use std::hint::black_box;
use stompede_core::limits::Limits;
use stompede_core::stomp::decode::{decode, Item, Rules};
use stompede_core::stomp::frame::HeaderTable;
use stompede_core::stomp::negotiation::Version;

const BUFFER_BYTES: usize = 64 * 1024;
const BARE: &str = "SEND\ndestination:/topic/orders\n";
const EIGHT: &str =
    "SEND\ndestination:/topic/orders\nid:7\npriority:4\ntype:bid\nowner:ann\nx-a:1\n\
                     x-b:2\ncontent-length:";
const ESCAPED: &str = "SEND\ndestination:/topic/orders\nurl:http\\c//host\\c80/path\n";
const MESSAGE: &str = "MESSAGE\nsubscription:sub-0\nmessage-id:4711-0815-000042\n\
                       destination:/topic/orders\ncontent-type:application/json\n\
                       content-length:";

pub fn operations() -> Vec<Operation> {
    vec![
        Operation {
            name: "decode/send 160 B, 1 header",
            bytes: 160,
            prepare: || decode_all(frame(BARE, 160)),
        },
        Operation {
            name: "decode/send 160 B, 1 header (naive)",
            bytes: 160,
            prepare: || decode_all_naive(frame(BARE, 160)),
        },
        Operation {
            name: "decode/send 160 B, 8 headers",
            bytes: 160,
            prepare: || decode_all(frame(EIGHT, 160)),
        },
        Operation {
            name: "decode/send 160 B, 8 headers (naive)",
            bytes: 160,
            prepare: || decode_all_naive(frame(EIGHT, 160)),
        },
        Operation {
            name: "decode/send 160 B, escapes",
            bytes: 160,
            prepare: || decode_all(frame(ESCAPED, 160)),
        },
        Operation {
            name: "decode/message 233 B, 5 headers",
            bytes: 233,
            prepare: || decode_all(frame(MESSAGE, 233)),
        },
        Operation {
            name: "decode/send 16 KiB, 8 headers",
            bytes: 16_384,
            prepare: || decode_all(frame(EIGHT, 16_384)),
        },
    ]
}

/// A frame of `bytes` bytes; the length is put in where the head ends in `content-length:`.
fn frame(head: &str, bytes: usize) -> Vec<u8> {
    let length = |body: usize| match head.ends_with(':') {
        true => format!("{body}\n\n"),
        false => "\n".to_owned(),
    };
    let fits = |body: &usize| head.len() + length(*body).len() + body + 1 == bytes;
    let body = (0..bytes).find(fits).expect("a body of some length fills the frame");
    let mut frame = [head.as_bytes(), length(body).as_bytes()].concat();
    frame.resize(bytes - 1, b'x');
    frame.push(0);
    frame
}

fn decode_all(frame: Vec<u8>) -> Box<dyn FnMut(u64)> {
    let input = frame.repeat(BUFFER_BYTES / frame.len());
    let (limits, mut table) = (Limits::default(), HeaderTable::default());
    let mut at = 0;
    Box::new(move |count| {
        for _ in 0..count {
            let rest = black_box(&input[at..]);
            let found = decode(rest, Rules::Version(Version::V1_2), &limits, &mut table);
            let Ok(Some((Item::Frame(frame), consumed))) = black_box(found) else {
                panic!("a frame is there");
            };
            black_box(frame.body);
            at += consumed;
            if at == input.len() {
                at = 0;
            }
        }
    })
}

fn decode_all_naive(frame: Vec<u8>) -> Box<dyn FnMut(u64)> {
    let input = frame.repeat(BUFFER_BYTES / frame.len());
    let mut at = 0;
    Box::new(move |count| {
        for _ in 0..count {
            let found = naive(black_box(&input[at..]));
            at += black_box(found).expect("a frame is there").3;
            if at == input.len() {
                at = 0;
            }
        }
    })
}

type Owned = (String, HashMap<String, String>, Vec<u8>, usize);

/// Lines, a map of owned strings, and a copy of the body: command, headers, body, bytes consumed.
fn naive(input: &[u8]) -> Option<Owned> {
    let head_bytes = input.windows(2).position(|pair| pair == b"\n\n")? + 2;
    let head = std::str::from_utf8(&input[..head_bytes]).ok()?;
    let mut lines = head.lines();
    let command = lines.next()?.to_owned();
    let mut headers = HashMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        headers.entry(resolve(name)).or_insert(resolve(value));
    }
    let rest = &input[head_bytes..];
    let body_bytes = match headers.get("content-length") {
        Some(length) => length.parse().ok()?,
        None => rest.iter().position(|&byte| byte == 0)?,
    };
    let body = rest.get(..body_bytes)?.to_vec();
    (rest.get(body_bytes) == Some(&0)).then_some(())?;
    Some((command, headers, body, head_bytes + body_bytes + 1))
}

fn resolve(raw: &str) -> String {
    raw.replace("\\n", "\n").replace("\\r", "\r").replace("\\c", ":").replace("\\\\", "\\")
}
