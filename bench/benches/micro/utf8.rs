//! UTF-8 of text messages: whole ones, ASCII and Japanese, and one that is cut in a code point.

use crate::Operation;
use std::hint::black_box;
use stompede_core::ws::utf8::Utf8;

pub fn operations() -> Vec<Operation> {
    vec![
        Operation { name: "utf8/32 B ASCII", bytes: 32, prepare: || whole("x", 32) },
        Operation { name: "utf8/160 B ASCII", bytes: 160, prepare: || whole("x", 160) },
        Operation { name: "utf8/160 B ASCII (naive)", bytes: 160, prepare: || naive("x", 160) },
        Operation { name: "utf8/159 B Japanese", bytes: 159, prepare: || whole("語", 159) },
        Operation { name: "utf8/4 KiB ASCII", bytes: 4_096, prepare: || whole("x", 4_096) },
        Operation { name: "utf8/4,095 B Japanese", bytes: 4_095, prepare: || whole("語", 4_095) },
        Operation {
            name: "utf8/4,095 B Japanese (naive)",
            bytes: 4_095,
            prepare: || naive("語", 4_095),
        },
        Operation { name: "utf8/159 B Japanese, cut", bytes: 159, prepare: cut },
    ]
}

fn whole(character: &str, bytes: usize) -> Box<dyn FnMut(u64)> {
    let text = character.repeat(bytes / character.len());
    Box::new(move |count| {
        for _ in 0..count {
            let mut utf8 = Utf8::default();
            assert!(utf8.push(black_box(text.as_bytes())).is_ok());
            assert!(utf8.is_complete());
        }
    })
}

fn cut() -> Box<dyn FnMut(u64)> {
    let text = "語".repeat(53);
    Box::new(move |count| {
        for _ in 0..count {
            let (front, back) = black_box(text.as_bytes()).split_at(80);
            let mut utf8 = Utf8::default();
            assert!(utf8.push(front).is_ok() && utf8.push(back).is_ok());
            assert!(utf8.is_complete());
        }
    })
}

fn naive(character: &str, bytes: usize) -> Box<dyn FnMut(u64)> {
    let text = character.repeat(bytes / character.len());
    Box::new(move |count| {
        for _ in 0..count {
            assert!(std::str::from_utf8(black_box(text.as_bytes())).is_ok());
        }
    })
}
