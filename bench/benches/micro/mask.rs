//! Unmasking in place: 160 B, 4 KiB, and a piece that starts at an odd address and offset.

use crate::Operation;
use std::hint::black_box;
use stompede_core::ws::mask::unmask;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub fn operations() -> Vec<Operation> {
    vec![
        Operation { name: "mask/32 B", bytes: 32, prepare: || fast(32, 0) },
        Operation { name: "mask/160 B", bytes: 160, prepare: || fast(160, 0) },
        Operation { name: "mask/160 B (naive)", bytes: 160, prepare: || naive(160) },
        Operation { name: "mask/157 B, odd start", bytes: 157, prepare: || fast(160, 3) },
        Operation { name: "mask/4 KiB", bytes: 4_096, prepare: || fast(4_096, 0) },
        Operation { name: "mask/4 KiB (naive)", bytes: 4_096, prepare: || naive(4_096) },
    ]
}

fn fast(bytes: usize, start: usize) -> Box<dyn FnMut(u64)> {
    let mut payload = vec![b'x'; bytes];
    Box::new(move |count| {
        for _ in 0..count {
            unmask(black_box(&mut payload[start..]), black_box(KEY), start);
        }
    })
}

fn naive(bytes: usize) -> Box<dyn FnMut(u64)> {
    let mut payload = vec![b'x'; bytes];
    Box::new(move |count| {
        for _ in 0..count {
            let key = black_box(KEY);
            for (at, byte) in black_box(&mut payload).iter_mut().enumerate() {
                *byte ^= key[at % 4];
            }
        }
    })
}
