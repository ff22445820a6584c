//! One message through a queue: in, to a consumer, acknowledged; and the connection's ledger.
//!
//! 1,000 queues of 10 consumers each, used in turn, as in the figure that they are built for: what
//! one touches has left the first cache when it comes round again.

use crate::Operation;
use std::hint::black_box;
use std::sync::Arc;
use stompede_core::broker::ledger::{Ledger, Mode, Source};
use stompede_core::broker::publication::Publication;
use stompede_core::broker::queue::{Consumer, ConsumerId, Output, Queue, Settings, Settlement};
use stompede_core::limits::Limits;

const QUEUES: usize = 1_000;
const CONSUMERS: u32 = 10;
const BURST: usize = 64;

pub fn operations() -> Vec<Operation> {
    vec![
        Operation { name: "queue/publish, deliver, ack", bytes: 0, prepare: || through(1) },
        Operation { name: "queue/burst of 64, acknowledged", bytes: 0, prepare: || through(BURST) },
        Operation { name: "queue/ledger of a connection", bytes: 0, prepare: ledger },
    ]
}

fn publication() -> Arc<Publication> {
    let headers = [("content-type", "text/plain")];
    Arc::new(Publication::new("/queue/work", headers.into_iter(), &[b'x'; 100]))
}

/// `burst` messages into one queue, delivered in one go and acknowledged one by one.
fn through(burst: usize) -> Box<dyn FnMut(u64)> {
    let consumer = || Consumer {
        mode: Mode::Cumulative,
        credit_count: Some(1_000),
        credit_bytes: None,
        is_exclusive: false,
        selector: None,
    };
    let settings = Settings::new(&Limits::default());
    let mut queues: Vec<Queue> = (0..QUEUES).map(|_| Queue::new(settings, 7)).collect();
    for queue in &mut queues {
        for slot in 0..CONSUMERS {
            let id = ConsumerId { shard: 0, slot, generation: 0, subscription: 1 };
            queue.add_consumer(id, consumer()).expect("each once");
        }
    }
    let publication = publication();
    let (mut out, mut deliveries) = (Vec::new(), Vec::new());
    let mut at = 0;
    let mut run = move |count| {
        for _ in 0..count {
            at = (at + 1) % QUEUES;
            let queue = &mut queues[at];
            for _ in 0..burst {
                let message = Arc::clone(black_box(&publication));
                queue.publish(message, None, &mut out).expect("room");
            }
            assert!(!queue.dispatch(0, &mut { usize::MAX }, &mut out));
            deliveries.extend(out.drain(..).map(|output| match output {
                Output::Deliver(delivery) => delivery,
                Output::Dead { death, .. } => panic!("{death:?}"),
            }));
            for delivery in deliveries.drain(..) {
                let (consumer, tag) = (delivery.consumer, delivery.tag);
                let settled = queue.settle(consumer, tag, Settlement::Ack, &mut out);
                assert_eq!(black_box(settled), Ok(1));
            }
        }
    };
    // Every consumer of every queue has had its turn: from here on nothing is allocated.
    run((QUEUES * CONSUMERS as usize) as u64);
    Box::new(run)
}

fn ledger() -> Box<dyn FnMut(u64)> {
    let mut ledger = Ledger::new();
    let source = Source::Queue { consumer: 1 };
    // A few wait meanwhile.
    for tag in 0..4 {
        ledger.deliver("sub-0", Mode::Individual, source, tag);
    }
    Box::new(move |count| {
        for tag in 0..count {
            let number = ledger.deliver(black_box("sub-0"), Mode::Individual, source, tag);
            assert!(black_box(ledger.settle(number - 4, Some("sub-0"))).is_ok());
        }
    })
}
