//! STOMP encode: a MESSAGE's private head, its shared tail, and both, into a reused buffer.
//!
//! The tail is written once per publication, version and shard; the head once per class. Both
//! together are a fan-out to one subscriber.

use crate::Operation;
use std::hint::black_box;
use stompede_core::stomp::encode::{message_head, message_tail};
use stompede_core::stomp::negotiation::Version;

const DESTINATION: &str = "/topic/orders/europe";
const HEADERS: [(&str, &str); 3] =
    [("content-type", "application/json"), ("priority", "4"), ("correlation-id", "4711-0815")];
const ESCAPED: [(&str, &str); 3] =
    [("content-type", "application/json"), ("url", "http://host:80/"), ("correlation-id", "a:b")];
const BODY: [u8; 100] = [b'x'; 100];

pub fn operations() -> Vec<Operation> {
    vec![
        Operation { name: "encode/message head", bytes: 0, prepare: || repeat(head) },
        Operation {
            name: "encode/message tail, 3 headers, 100 B",
            bytes: 0,
            prepare: || repeat(|out| tail(out, &HEADERS)),
        },
        Operation {
            name: "encode/message tail, 3 headers, escapes",
            bytes: 0,
            prepare: || repeat(|out| tail(out, &ESCAPED)),
        },
        Operation {
            name: "encode/message, 3 headers, 100 B",
            bytes: 0,
            prepare: || {
                repeat(|out| {
                    head(out);
                    tail(out, &HEADERS);
                })
            },
        },
        Operation {
            name: "encode/message, 3 headers, 100 B (naive)",
            bytes: 0,
            prepare: || repeat(|out| out.extend_from_slice(&naive())),
        },
    ]
}

fn repeat(write: fn(&mut Vec<u8>)) -> Box<dyn FnMut(u64)> {
    let mut out = Vec::with_capacity(4_096);
    Box::new(move |count| {
        for _ in 0..count {
            out.clear();
            write(&mut out);
            black_box(&out);
        }
    })
}

fn head(out: &mut Vec<u8>) {
    message_head(out, Version::V1_2, Some(black_box("sub-0")), black_box("7-000042"), None);
}

fn tail(out: &mut Vec<u8>, headers: &[(&str, &str)]) {
    let headers = black_box(headers).iter().copied();
    message_tail(out, Version::V1_2, black_box(DESTINATION), headers, black_box(&BODY));
}

/// A string that is put together with `format!`.
fn naive() -> Vec<u8> {
    let escape = |text: &str| {
        text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace(':', "\\c")
    };
    let mut text = "MESSAGE\n".to_owned();
    text += &format!("subscription:{}\n", escape(black_box("sub-0")));
    text += &format!("message-id:{}\n", escape(black_box("7-000042")));
    text += &format!("destination:{}\n", escape(black_box(DESTINATION)));
    for (name, value) in black_box(&HEADERS) {
        text += &format!("{}:{}\n", escape(name), escape(value));
    }
    text += &format!("content-length:{}\n\n", BODY.len());
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(black_box(&BODY));
    bytes.push(0);
    bytes
}
