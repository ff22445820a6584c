//! From shard to shard: push, pop and the flush that rings the bell, seen from one thread.
//!
//! What crossing between two processors' caches costs is not in here, and needs two free cores.

use crate::Operation;
use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::sync::Arc;
use stompede::mesh::{connect, Doorbell, RING_CAPACITY};

/// As large as the server's message: shared bytes and a few words.
type Message = (Arc<[u8]>, u64);
const BURST: usize = 64;

pub fn operations() -> Vec<Operation> {
    vec![
        Operation { name: "mesh/push, flush, pop", bytes: 0, prepare: || through_mesh(1) },
        Operation {
            name: "mesh/push, flush, pop (naive: channel)",
            bytes: 0,
            prepare: through_channel,
        },
        Operation { name: "mesh/burst of 64", bytes: 0, prepare: || through_mesh(BURST) },
    ]
}

fn message() -> Message {
    (b"shared".as_slice().into(), 7)
}

fn through_mesh(burst: usize) -> Box<dyn FnMut(u64)> {
    let bell = || Doorbell::new().expect("an eventfd");
    let mut meshes = connect::<Message>(&[bell(), bell()], RING_CAPACITY);
    let mut receiver = meshes.pop().expect("two shards");
    let mut sender = meshes.pop().expect("two shards");
    let message = message();
    Box::new(move |count| {
        for _ in 0..count {
            for _ in 0..burst {
                sender.push(1, black_box(message.clone()));
            }
            sender.flush();
            for _ in 0..burst {
                assert!(black_box(receiver.pop(0)).is_some());
            }
        }
    })
}

fn through_channel() -> Box<dyn FnMut(u64)> {
    let (sender, receiver) = sync_channel::<Message>(RING_CAPACITY);
    let message = message();
    Box::new(move |count| {
        for _ in 0..count {
            assert!(sender.send(black_box(message.clone())).is_ok());
            assert!(black_box(receiver.recv()).is_ok());
        }
    })
}
