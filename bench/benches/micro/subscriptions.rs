//! Who is reached: lookup among 100,000 destinations, walk of 10,000 subscribers, patterns.

use crate::Operation;
use std::hint::black_box;
use stompede_core::broker::pattern::Pattern;
use stompede_core::broker::subscriptions::{Class, Subscriptions, NONE};
use stompede_core::limits::Limits;

const DESTINATIONS: usize = 100_000;
const SUBSCRIBERS: u32 = 10_000;
const PATTERNS: usize = 100;

pub fn operations() -> Vec<Operation> {
    vec![
        Operation { name: "subscriptions/lookup among 100,000", bytes: 0, prepare: lookup },
        Operation { name: "subscriptions/walk 10,000 of one class", bytes: 0, prepare: walk },
        Operation {
            name: "subscriptions/walk 10,000 (naive: all are asked)",
            bytes: 0,
            prepare: walk_naive,
        },
        Operation { name: "subscriptions/try 100 patterns", bytes: 0, prepare: patterns },
        Operation { name: "subscriptions/subscribe, unsubscribe", bytes: 0, prepare: come_and_go },
    ]
}

fn class() -> Class {
    Class { id: Some("sub-0".into()), version: 2, framing: 0, explicit_ack: false, filter: None }
}

fn lookup() -> Box<dyn FnMut(u64)> {
    let mut table = Subscriptions::new(7);
    let names: Vec<String> = (0..DESTINATIONS).map(|n| format!("/topic/price/{n:06}")).collect();
    for (connection, name) in names.iter().enumerate() {
        table.subscribe(connection as u32, NONE, name, None, class());
    }
    let mut at = 0;
    Box::new(move |count| {
        for _ in 0..count {
            // Far apart, so that the caches do not know the answer.
            at = (at + 7_919) % DESTINATIONS;
            let mut reached = 0;
            table.for_each_group(black_box(&names[at]), |_, _, group| reached += group.len());
            assert_eq!(reached, 1);
        }
    })
}

fn walk() -> Box<dyn FnMut(u64)> {
    let mut table = Subscriptions::new(7);
    for connection in 0..SUBSCRIBERS {
        table.subscribe(connection, NONE, "/topic/a", None, class());
    }
    Box::new(move |count| {
        for _ in 0..count {
            table.for_each_group(black_box("/topic/a"), |_, _, group| {
                for subscriber in group {
                    black_box(subscriber.connection);
                }
            });
        }
    })
}

fn walk_naive() -> Box<dyn FnMut(u64)> {
    let subscribers: Vec<(u32, String)> =
        (0..SUBSCRIBERS).map(|connection| (connection, "/topic/a".to_owned())).collect();
    Box::new(move |count| {
        for _ in 0..count {
            let destination = black_box("/topic/a");
            for (connection, _) in subscribers.iter().filter(|(_, name)| name == destination) {
                black_box(connection);
            }
        }
    })
}

fn patterns() -> Box<dyn FnMut(u64)> {
    let (mut table, limits) = (Subscriptions::new(7), Limits::default());
    for n in 0..PATTERNS {
        let text = format!("/topic/price/{n}/**");
        let pattern = Pattern::parse(&text, &limits).expect("a pattern");
        table.subscribe(n as u32, NONE, &text, Some(pattern), class());
    }
    Box::new(move |count| {
        for _ in 0..count {
            let mut reached = 0;
            let destination = black_box("/topic/price/42/usd");
            table.for_each_group(destination, |_, _, group| reached += group.len());
            assert_eq!(reached, 1);
        }
    })
}

fn come_and_go() -> Box<dyn FnMut(u64)> {
    let mut table = Subscriptions::new(7);
    for connection in 0..SUBSCRIBERS {
        table.subscribe(connection, NONE, "/topic/a", None, class());
    }
    Box::new(move |count| {
        for _ in 0..count {
            let (key, _) = table.subscribe(SUBSCRIBERS, NONE, "/topic/a", None, class());
            black_box(table.unsubscribe(key.index(), key));
        }
    })
}
