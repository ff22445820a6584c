//! What waits for clients: a delivery to one subscriber, and a burst that leaves as one piece.

use crate::Operation;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use stompede_core::outbound::{Outbound, SendArena};

const FRAME: [u8; 200] = [b'x'; 200];
const BURST: usize = 16;

pub fn operations() -> Vec<Operation> {
    vec![
        Operation { name: "outbound/push, consume", bytes: 0, prepare: one },
        Operation { name: "outbound/push, consume (naive: own copy)", bytes: 0, prepare: naive },
        Operation { name: "outbound/append 200 B", bytes: 200, prepare: append },
        Operation { name: "outbound/burst of 16, in one piece", bytes: 0, prepare: burst },
        Operation { name: "outbound/burst of 16, scattered", bytes: 0, prepare: scattered },
    ]
}

fn one() -> Box<dyn FnMut(u64)> {
    let (mut arena, mut outbound) = (SendArena::default(), Outbound::default());
    let segment = arena.append(&[&FRAME]);
    Box::new(move |count| {
        for _ in 0..count {
            outbound.push(&mut arena, black_box(segment));
            outbound.consume(&mut arena, black_box(FRAME.len()));
        }
    })
}

fn naive() -> Box<dyn FnMut(u64)> {
    let mut queue: VecDeque<Arc<Vec<u8>>> = VecDeque::new();
    Box::new(move |count| {
        for _ in 0..count {
            queue.push_back(Arc::new(black_box(&FRAME).to_vec()));
            black_box(queue.pop_front());
        }
    })
}

fn append() -> Box<dyn FnMut(u64)> {
    let mut arena = SendArena::default();
    Box::new(move |count| {
        for _ in 0..count {
            let (head, tail) = black_box(&FRAME).split_at(40);
            black_box(arena.append(&[head, tail]));
        }
    })
}

fn burst() -> Box<dyn FnMut(u64)> {
    let (mut arena, mut outbound) = (SendArena::default(), Outbound::default());
    let segments: Vec<_> = (0..BURST).map(|_| arena.append(&[&FRAME])).collect();
    Box::new(move |count| {
        for _ in 0..count {
            for &segment in black_box(&segments) {
                outbound.push(&mut arena, segment);
            }
            assert_eq!(outbound.segment_count(), 1);
            outbound.consume(&mut arena, black_box(BURST * FRAME.len()));
        }
    })
}

fn scattered() -> Box<dyn FnMut(u64)> {
    let (mut arena, mut outbound) = (SendArena::default(), Outbound::default());
    let segments = {
        let mut segments: Vec<_> = (0..BURST).map(|_| arena.append(&[&FRAME])).collect();
        segments.reverse();
        segments
    };
    Box::new(move |count| {
        for _ in 0..count {
            for &segment in black_box(&segments) {
                outbound.push(&mut arena, segment);
            }
            assert_eq!(outbound.segment_count(), BURST);
            outbound.consume(&mut arena, black_box(BURST * FRAME.len()));
        }
    })
}
