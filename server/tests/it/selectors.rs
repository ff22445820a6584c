//! Selectors of many subscribers: what they may cost together, and that nobody waits for them long.
//!
//! What one selector says is in the core's tests and in [`crate::queues`]; stomp.md §5 row 58.

use super::client::{Event, Transport, TRANSPORTS};
use super::on_every_server;
use stompede::config::Config;

/// As many as this, with headers as long as that, take more than a turn's share.
const SELECTORS_COUNT: usize = 20;

fn selector(number: usize) -> String {
    format!("selector:kind LIKE '%a%b%{number}'\n")
}

#[test]
fn a_destination_has_so_much_work_and_no_more() {
    let change = |config: &mut Config| config.limits.selector_sum_steps_max = 200_000;
    on_every_server(change, |server| {
        for over in TRANSPORTS {
            for destination in ["/topic/costly", "/topic/costly/*"] {
                let mut client = server.session(over);
                for number in 0..3 {
                    client.subscribe(&format!("{number}"), destination, &selector(number));
                }
                // Cheap ones fit for long, and what is given back is there again.
                client.subscribe("cheap", destination, "selector:kind = 'x'\n");
                client.subscribe("plain", destination, "");
                client.send("UNSUBSCRIBE\nid:1\nreceipt:u\n\n\0");
                client.expect("RECEIPT");
                client.subscribe("3", destination, &selector(3));
                client.subscribe("elsewhere", "/topic/other", &selector(4));
                client.send(format!(
                    "SUBSCRIBE\nid:s\ndestination:{destination}\nreceipt:r\n{}\n\0",
                    selector(4)
                ));
                let error = client.expect_error("Too many selectors", 1008);
                assert_eq!(error.get("receipt-id"), "r");
                assert!(error.body_text().contains("limit is 200000"), "{}", error.body_text());
            }
        }
    });
}

#[test]
fn costly_selectors_delay_and_lose_nothing() {
    on_every_server(
        |_| {},
        |server| {
            for over in TRANSPORTS {
                let mut costly = server.session(over);
                for number in 0..SELECTORS_COUNT {
                    costly.subscribe(&format!("{number}"), "/topic/costly", &selector(number));
                }
                let mut plain = server.session(over);
                plain.subscribe("s", "/topic/costly", "");
                plain.subscribe("o", "/topic/other", "");
                let mut publisher = server.session(over);
                let kind = "a".repeat(16_000);
                let frame = |number: usize| {
                    format!("SEND\ndestination:/topic/costly\nkind:{kind}b{number}\n\n{number}\0")
                };
                let frames = (0..SELECTORS_COUNT).map(frame);
                match over {
                    Transport::Tcp => publisher.send(frames.collect::<String>()),
                    Transport::Ws => frames.for_each(|frame| publisher.send(frame)),
                }
                publisher.send("SEND\ndestination:/topic/other\nreceipt:last\n\nother\0");
                publisher.expect("RECEIPT");
                let (mut seen, mut others) = (0, 0);
                while seen < SELECTORS_COUNT || others == 0 {
                    let Event::Frame(message) = plain.next_but_beats() else { panic!("it ended") };
                    match message.get("subscription") {
                        "o" => others += 1,
                        _ => {
                            assert_eq!(message.body_text(), seen.to_string(), "in order");
                            seen += 1;
                        }
                    }
                }
                for number in 0..SELECTORS_COUNT {
                    let message = costly.expect("MESSAGE");
                    let suffix = message.body_text().ends_with(message.get("subscription"));
                    assert!(suffix, "{number}: {message:?}");
                }
                publisher.send("DISCONNECT\nreceipt:bye\n\n\0");
                publisher.expect("RECEIPT");
            }
        },
    );
}

/// Each of its messages costs a turn's share: it comes whole, in order, in as many turns.
#[test]
fn a_long_transaction_takes_its_turns() {
    const MESSAGES_COUNT: usize = 1_024;
    let change = |config: &mut Config| config.limits.selector_turn_steps_max = 100;
    on_every_server(change, |server| {
        for over in TRANSPORTS {
            // On one shard: what the last message comes behind is counted.
            let mut plain = server.session(over);
            for number in 0..8 {
                plain.subscribe(&format!("{number}"), "/topic/costly", &selector(number));
            }
            plain.subscribe("s", "/topic/costly", "");
            let turns_count = server.metric("stompede_loop_turns_total");
            let mut publisher = server.session(over);
            publisher.send("BEGIN\ntransaction:t\n\n\0");
            let kind = "a".repeat(150);
            for number in 0..MESSAGES_COUNT {
                publisher.send(format!(
                    "SEND\ndestination:/topic/costly\ntransaction:t\nkind:{kind}\n\n{number}\0"
                ));
            }
            publisher.send("COMMIT\ntransaction:t\n\n\0");
            // What comes behind it does not overtake it.
            publisher.send(format!(
                "SEND\ndestination:/topic/costly\nreceipt:last\n\n{MESSAGES_COUNT}\0"
            ));
            for number in 0..=MESSAGES_COUNT {
                let message = plain.expect("MESSAGE");
                assert_eq!(message.body_text(), number.to_string(), "in order");
            }
            assert_eq!(publisher.expect("RECEIPT").get("receipt-id"), "last");
            let taken = server.metric("stompede_loop_turns_total") - turns_count;
            assert!(taken >= MESSAGES_COUNT as u64, "{taken} turns");
        }
    });
}
