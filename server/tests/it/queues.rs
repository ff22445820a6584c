//! Queues: each message to one consumer, in order, until it is settled.
//!
//! STOMP 1.2: SUBSCRIBE (ack), ACK, NACK; the rest is what users of RabbitMQ and ActiveMQ expect.
//! With two shards each test uses names enough that queues live on both of them.

use super::client::{Client, Event, Frame, Transport, TRANSPORTS};
use super::{everywhere, on_every_server, TestServer};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use stompede::config::Config;
use stompede_core::broker::queue::Overflow;

const VERSIONS: [&str; 3] = ["1.0", "1.1", "1.2"];
/// Names whose homes are on both of two shards, but for one in 2^7 runs.
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Publishes and waits until it is in the queue.
#[track_caller]
fn put(client: &mut Client, queue: &str, body: &str) {
    client.send(format!("SEND\ndestination:/queue/{queue}\nreceipt:put\n\n{body}\0"));
    assert_eq!(client.expect("RECEIPT").get("receipt-id"), "put");
}

/// The next delivery, whose body must be this.
#[track_caller]
fn take(client: &mut Client, body: &str, is_redelivered: bool) -> Frame {
    let message = client.expect("MESSAGE");
    let redelivered = if is_redelivered { "true" } else { "false" };
    let seen = (message.body_text(), message.get("redelivered"));
    assert_eq!(seen, (body, redelivered), "{message:?}");
    message
}

fn settle(client: &mut Client, version: &str, command: &str, message: &Frame, extra: &str) {
    let (id, subscription) = (message.get("message-id"), message.header("subscription"));
    let name = match version {
        "1.0" => format!("message-id:{id}\n"),
        "1.1" => format!("message-id:{id}\nsubscription:{}\n", subscription.expect("an id")),
        _ => format!("id:{}\n", message.get("ack")),
    };
    client.send(format!("{command}\n{name}receipt:settled\n{extra}\n\0"));
}

#[track_caller]
fn ack(client: &mut Client, message: &Frame) {
    settle(client, "1.2", "ACK", message, "");
    assert_eq!(client.expect("RECEIPT").get("receipt-id"), "settled");
}

fn open(server: &TestServer, transport: Transport, version: &str) -> Client {
    let mut client = server.open(transport);
    client.connect(version);
    client
}

fn disconnect(mut client: Client) {
    client.send("DISCONNECT\nreceipt:bye\n\n\0");
    client.expect("RECEIPT");
}

#[test]
fn what_waits_is_delivered_once_and_in_order() {
    everywhere(|server, transport| {
        let mut publisher = server.session(transport);
        for name in NAMES {
            for n in 0..20 {
                publisher.publish(&format!("/queue/once-{name}"), &n.to_string());
            }
        }
        publisher.sync();
        for name in NAMES {
            let mut consumer = server.session(transport);
            consumer.subscribe("s", &format!("/queue/once-{name}"), "");
            let ids: HashSet<String> = (0..20)
                .map(|n| take(&mut consumer, &n.to_string(), false).get("message-id").to_owned())
                .collect();
            assert_eq!(ids.len(), 20);
            disconnect(consumer);
            let mut next = server.session(transport);
            next.subscribe("s", &format!("/queue/once-{name}"), "");
            put(&mut publisher, &format!("once-{name}"), "new");
            take(&mut next, "new", false);
            disconnect(next);
        }
    });
}

#[test]
fn consumers_compete_and_get_equal_shares() {
    on_every_server(
        |_| {},
        |server| {
            let mut consumers: Vec<Client> =
                (0..4).map(|n| server.session(TRANSPORTS[n % 2])).collect();
            for (n, consumer) in consumers.iter_mut().enumerate() {
                let extra = "ack:client-individual\nprefetch-count:1\n";
                consumer.subscribe(&format!("s{n}"), "/queue/work", extra);
            }
            let mut publisher = server.session(Transport::Tcp);
            // More than are taken: the last few go to whoever was faster.
            for n in 0..110 {
                publisher.publish("/queue/work", &n.to_string());
            }
            let mut seen = Vec::new();
            for _ in 0..25 {
                // Everyone has one; none gets a second before its ACK.
                for consumer in &mut consumers {
                    let message = consumer.expect("MESSAGE");
                    seen.push(message.body_text().parse::<usize>().expect("a number"));
                    ack(consumer, &message);
                }
            }
            let distinct: HashSet<usize> = seen.iter().copied().collect();
            assert_eq!((seen.len(), distinct.len()), (100, 100));
        },
    );
}

/// Catalogue: I21.
#[test]
fn unsettled_messages_come_back_in_order_and_say_so() {
    // Row 75, and stomp.md §1.9.
    everywhere(|server, transport| {
        for version in VERSIONS {
            for mode in ["client", "client-individual"] {
                let queue = format!("back-{version}-{mode}-{transport:?}");
                let mut publisher = server.session(transport);
                for n in 0..6 {
                    put(&mut publisher, &queue, &n.to_string());
                }
                let mut first = open(server, transport, version);
                first.subscribe("s", &format!("/queue/{queue}"), &format!("ack:{mode}\n"));
                let messages: Vec<_> =
                    (0..6).map(|n| take(&mut first, &n.to_string(), false)).collect();
                settle(&mut first, version, "ACK", &messages[1], "");
                first.expect("RECEIPT");
                first.reset();
                let mut second = open(server, transport, version);
                second.subscribe("s", &format!("/queue/{queue}"), &format!("ack:{mode}\n"));
                // Individual: 1 alone is settled; cumulative: 0 with it.
                for n in 0..6 {
                    if n > 1 || (n == 0 && mode == "client-individual") {
                        take(&mut second, &n.to_string(), true);
                    }
                }
                second.sync();
            }
        }
    });
}

#[test]
fn a_nack_gives_the_message_to_another() {
    everywhere(|server, transport| {
        for version in VERSIONS {
            let queue = format!("nack-{version}-{transport:?}");
            let extra = "ack:client\nprefetch-count:1\n";
            let mut first = open(server, transport, version);
            first.subscribe("s", &format!("/queue/{queue}"), extra);
            put(&mut first, &queue, "0");
            let message = take(&mut first, "0", false);
            let mut second = open(server, transport, version);
            second.subscribe("s", &format!("/queue/{queue}"), extra);
            // The one that refuses is served last.
            settle(&mut first, version, "NACK", &message, "");
            first.expect("RECEIPT");
            let message = take(&mut second, "0", true);
            settle(&mut second, version, "ACK", &message, "");
            second.expect("RECEIPT");
            // Refused for good: gone.
            put(&mut second, &queue, "1");
            let message = take(&mut first, "1", false);
            settle(&mut first, version, "NACK", &message, "requeue:false\n");
            first.expect("RECEIPT");
            put(&mut second, &queue, "2");
            take(&mut second, "2", false);
        }
    });
}

/// Catalogue: I07.
#[test]
fn prefetch_stops_and_an_ack_goes_on() {
    everywhere(|server, transport| {
        for header in ["prefetch-count:5\n", "activemq.prefetchSize:5\n"] {
            let mut client = server.session(transport);
            client.subscribe("s", "/queue/five", &format!("ack:client\n{header}"));
            for n in 0..12 {
                client.publish("/queue/five", &n.to_string());
            }
            let messages: Vec<_> =
                (0..5).map(|n| take(&mut client, &n.to_string(), false)).collect();
            client.sync();
            ack(&mut client, &messages[2]);
            let messages: Vec<_> =
                (5..8).map(|n| take(&mut client, &n.to_string(), false)).collect();
            client.sync();
            ack(&mut client, &messages[2]);
            let last = (8..12).map(|n| take(&mut client, &n.to_string(), false)).last();
            ack(&mut client, &last.expect("four more"));
            disconnect(client);
        }
    });
}

/// Catalogue: I08.
#[test]
fn an_ack_may_come_after_unsubscribe_and_what_is_left_comes_back_at_the_end() {
    // Row 67.
    everywhere(|server, transport| {
        for name in NAMES {
            let queue = format!("late-{name}-{transport:?}");
            let destination = format!("/queue/{queue}");
            let mut first = server.session(transport);
            first.subscribe("s", &destination, "ack:client-individual\nprefetch-count:3\n");
            for n in 0..4 {
                put(&mut first, &queue, &n.to_string());
                if n < 3 {
                    take(&mut first, &n.to_string(), false);
                }
            }
            first.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
            assert_eq!(first.expect("RECEIPT").get("receipt-id"), "u");
            // The id is free for another mode, and the old deliveries keep their own.
            first.subscribe("s", &format!("/queue/else-{name}"), "ack:auto\n");
            first.send("ACK\nid:2\nreceipt:settled\n\n\0");
            first.expect("RECEIPT");
            let mut second = server.session(transport);
            second.subscribe("s", &destination, "ack:client-individual\n");
            take(&mut second, "3", false);
            second.sync();
            disconnect(first);
            take(&mut second, "0", true);
            take(&mut second, "2", true);
            second.sync();
        }
    });
}

/// Catalogue: I06.
#[test]
fn acks_that_are_refused() {
    // Rows 64 and 66.
    everywhere(|server, transport| {
        let mut client = server.session(transport);
        client.subscribe("s", "/queue/auto", "");
        put(&mut client, "auto", "x");
        let message = take(&mut client, "x", false);
        client.send(format!("ACK\nid:{}\n\n\0", message.get("message-id")));
        client.expect_error("Subscription does not take acknowledgements", 1002);
        let mut client = server.session(transport);
        client.subscribe("s", "/queue/twice", "ack:client\n");
        put(&mut client, "twice", "x");
        let message = take(&mut client, "x", false);
        let mut other = server.session(transport);
        settle(&mut other, "1.2", "ACK", &message, "");
        other.expect_error("Message not found", 1002);
        ack(&mut client, &message);
        settle(&mut client, "1.2", "NACK", &message, "");
        client.expect_error("Message not found", 1002);
    });
}

fn small(config: &mut Config) {
    config.limits.queue_messages_count_max = 3;
}

/// Catalogue: I23.
#[test]
fn a_full_queue_refuses_and_says_so() {
    on_every_server(small, |server| {
        for (name, transport) in NAMES.iter().zip(TRANSPORTS.iter().cycle()) {
            let queue = format!("full-{name}");
            let mut client = server.session(*transport);
            for n in 0..3 {
                put(&mut client, &queue, &n.to_string());
            }
            client.send(format!("SEND\ndestination:/queue/{queue}\nreceipt:4\n\nx\0"));
            let error = client.expect_error("Queue full", 1008);
            assert_eq!(error.get("receipt-id"), "4");
            // Without a receipt too, and DISCONNECT's does not hide it.
            let mut client = server.session(*transport);
            client.publish(&format!("/queue/{queue}"), "x");
            client.send("DISCONNECT\nreceipt:bye\n\n\0");
            client.expect_error("Queue full", 1008);
            // What was accepted is there, and room is made by consuming it.
            let mut consumer = server.session(*transport);
            consumer.subscribe("s", &format!("/queue/{queue}"), "");
            for n in 0..3 {
                take(&mut consumer, &n.to_string(), false);
            }
            put(&mut consumer, &queue, "again");
            take(&mut consumer, "again", false);
        }
    });
}

/// Catalogue: I23.
#[test]
fn a_full_queue_may_drop_its_oldest() {
    let change = |config: &mut Config| {
        small(config);
        config.queue_overflow = Overflow::DropHead;
        config.dead_letter = Some("/queue/dead".to_owned());
        config.limits.queue_messages_count_max = 3;
    };
    on_every_server(change, |server| {
        let mut grave = server.session(Transport::Ws);
        grave.subscribe("dead", "/queue/dead", "");
        let mut client = server.session(Transport::Tcp);
        for n in 0..5 {
            put(&mut client, "drop", &n.to_string());
        }
        for n in 0..2 {
            let letter = take(&mut grave, &n.to_string(), false);
            assert_eq!(letter.get("x-death-reason"), "overflow");
            assert_eq!(letter.get("x-death-destination"), "/queue/drop");
        }
        client.subscribe("s", "/queue/drop", "");
        for n in 2..5 {
            take(&mut client, &n.to_string(), false);
        }
    });
}

/// Catalogue: I22.
#[test]
fn the_dead_go_where_the_operator_says() {
    for dead_letter in ["/queue/dead", "/topic/dead"] {
        let change = |config: &mut Config| {
            config.dead_letter = Some(dead_letter.to_owned());
            config.limits.queue_deliveries_count_max = 2;
        };
        on_every_server(change, |server| {
            let mut grave = server.session(Transport::Ws);
            grave.subscribe("dead", dead_letter, "");
            let mut client = server.session(Transport::Tcp);
            client.subscribe("s", "/queue/a", "ack:client\n");
            client.send("SEND\ndestination:/queue/a\nkind:red\nexpiration:3600000\n\nbad\0");
            let message = take(&mut client, "bad", false);
            settle(&mut client, "1.2", "NACK", &message, "requeue:false\n");
            let letter = grave.expect("MESSAGE");
            assert_eq!(letter.get("x-death-reason"), "rejected");
            assert_eq!((letter.get("kind"), letter.body_text()), ("red", "bad"));
            assert_eq!(letter.get("destination"), dead_letter);
            assert_eq!(letter.header("expiration"), None);
            client.expect("RECEIPT");
            client.publish("/queue/a", "poison");
            for is_redelivered in [false, true] {
                let message = take(&mut client, "poison", is_redelivered);
                assert_eq!(message.header("delivery-count"), is_redelivered.then_some("2"));
                settle(&mut client, "1.2", "NACK", &message, "");
                client.expect("RECEIPT");
            }
            let letter = grave.expect("MESSAGE");
            let told = (letter.get("x-death-reason"), letter.get("x-death-deliveries"));
            assert_eq!(told, ("deliveries", "2"));
            // Its time was over in 1970; nobody consumes, so that the tick finds it.
            client.send("SEND\ndestination:/queue/nobody\nexpires:1\n\nold\0");
            let letter = grave.expect("MESSAGE");
            assert_eq!((letter.get("x-death-reason"), letter.body_text()), ("expired", "old"));
            let series = "stompede_dead_letters_total{reason=\"expired\"}";
            server.wait_for_metric(series, 1);
        });
    }
}

/// Catalogue: I29.
#[test]
fn the_expired_are_not_delivered() {
    everywhere(|server, transport| {
        // Of its own: the clients of the other transport may not be gone yet.
        let queue = format!("/queue/ttl-{transport:?}");
        let queue = queue.as_str();
        let mut client = server.session(transport);
        client.subscribe("s", queue, "");
        for line in ["expires:1", "expires:1000"] {
            client.send(format!("SEND\ndestination:{queue}\n{line}\n\nold\0"));
        }
        for line in ["expires:0", "expiration:3600000", "x-message-ttl:3600000"] {
            client.send(format!("SEND\ndestination:{queue}\n{line}\n\n{line}\0"));
            take(&mut client, line, false);
        }
        // What is not settled would come again to the next.
        client.sync();
    });
}

#[test]
fn selectors_choose_on_queues_and_on_topics() {
    everywhere(|server, transport| {
        // Of its own: the clients of the other transport may not be gone yet.
        let queue = format!("/queue/colors-{transport:?}");
        let queue = queue.as_str();
        let send = |client: &mut Client, destination: &str, color: &str, body: &str| {
            client.send(format!("SEND\ndestination:{destination}\ncolor:{color}\n\n{body}\0"));
        };
        let mut red = server.session(transport);
        let mut any = server.session(transport);
        for (client, line) in [(&mut red, "selector:color = 'red'\n"), (&mut any, "")] {
            client.subscribe("t", "/topic/colors", line);
            client.subscribe("q", queue, &format!("ack:client\n{line}"));
        }
        for n in 0..10 {
            let color = ["blue", "red"][n % 2];
            send(&mut any, "/topic/colors", color, &n.to_string());
            assert_eq!(any.expect("MESSAGE").body_text(), n.to_string());
            if color == "red" {
                assert_eq!(red.expect("MESSAGE").body_text(), n.to_string());
            }
        }
        red.sync();
        any.send("UNSUBSCRIBE\nid:q\nreceipt:u\n\n\0");
        any.expect("RECEIPT");
        for (n, color) in ["blue", "red", "blue", "red"].into_iter().enumerate() {
            send(&mut any, queue, color, &n.to_string());
        }
        take(&mut red, "1", false);
        let last = take(&mut red, "3", false);
        ack(&mut red, &last);
        red.sync();
        // The others were passed over and wait in their places.
        any.subscribe("q", queue, "");
        take(&mut any, "0", false);
        take(&mut any, "2", false);
        any.sync();
    });
}

#[test]
fn an_exclusive_consumer_is_the_only_one() {
    everywhere(|server, transport| {
        let mut other = server.session(transport);
        other.subscribe("s", "/queue/mine", "");
        let mut owner = server.session(transport);
        owner.subscribe("s", "/queue/mine", "exclusive:true\n");
        for n in 0..10 {
            put(&mut other, "mine", &n.to_string());
            take(&mut owner, &n.to_string(), false);
        }
        disconnect(owner);
        put(&mut other, "mine", "now");
        take(&mut other, "now", false);
        disconnect(other);
    });
}

#[test]
fn a_client_that_reads_late_gets_all_and_is_not_ended() {
    let change = |config: &mut Config| {
        config.outbound_bytes_max = 64 << 10;
        // However long the publishing takes.
        config.stall_deadline = Duration::from_secs(3_600);
    };
    on_every_server(change, |server| {
        let body = "x".repeat(4_000);
        for mode in ["auto", "client"] {
            for transport in TRANSPORTS {
                let mut publisher = server.session(transport);
                let mut consumer = server.session(transport);
                consumer.subscribe("s", "/queue/late", &format!("ack:{mode}\n"));
                for n in 0..1_000 {
                    put(&mut publisher, "late", &format!("{n} {body}"));
                }
                let mut last = None;
                for n in 0..1_000 {
                    last = Some(take(&mut consumer, &format!("{n} {body}"), false));
                }
                if let Some(message) = last.filter(|_| mode == "client") {
                    ack(&mut consumer, &message);
                }
                disconnect(consumer);
            }
        }
        server.wait_for_metric("stompede_queues", 0);
        server.wait_for_metric("stompede_queue_bytes", 0);
    });
}

#[test]
fn a_transaction_puts_into_all_queues_or_none() {
    // Rows 71 and 75, across shards.
    on_every_server(small, |server| {
        for transport in TRANSPORTS {
            let mut consumer = server.session(transport);
            let transaction = |client: &mut Client, body: &str, end: &str| {
                client.send("BEGIN\ntransaction:t\n\n\0");
                for name in NAMES {
                    client.send(format!(
                        "SEND\ndestination:/queue/all-{name}\ntransaction:t\nreceipt:{name}\n\n\
                         {body}\0"
                    ));
                }
                client.send(format!("{end}\ntransaction:t\nreceipt:end\n\n\0"));
            };
            let mut client = server.session(transport);
            for _ in 0..2 {
                transaction(&mut client, "yes", "COMMIT");
                for name in NAMES.iter().chain(&["end"]) {
                    assert_eq!(client.expect("RECEIPT").get("receipt-id"), *name);
                }
            }
            transaction(&mut client, "no", "ABORT");
            assert_eq!(client.expect("RECEIPT").get("receipt-id"), "end");
            // One of them has no room: nothing goes in anywhere.
            put(&mut client, "all-h", "yes");
            transaction(&mut client, "no", "COMMIT");
            let error = client.expect_error("Queue full", 1008);
            assert_eq!(error.get("receipt-id"), "end");
            for name in NAMES {
                consumer.subscribe(name, &format!("/queue/all-{name}"), "");
                let count = if name == "h" { 3 } else { 2 };
                (0..count).for_each(|_| drop(take(&mut consumer, "yes", false)));
                // The room that was kept for it is free again.
                for _ in 0..3 {
                    put(&mut consumer, &format!("all-{name}"), "more");
                    take(&mut consumer, "more", false);
                }
            }
            disconnect(consumer);
        }
        server.wait_for_metric("stompede_queues", 0);
    });
}

#[test]
fn acknowledgements_in_a_transaction() {
    everywhere(|server, transport| {
        let mut client = server.session(transport);
        let mut messages = BTreeMap::new();
        for name in NAMES {
            client.subscribe(
                name,
                &format!("/queue/tx-{name}-{transport:?}"),
                "ack:client-individual\n",
            );
            put(&mut client, &format!("tx-{name}-{transport:?}"), name);
            messages.insert(name, take(&mut client, name, false));
        }
        let begin = "BEGIN\ntransaction:t\nreceipt:b\n\n\0";
        let settle_all = |client: &mut Client, end: &str| {
            client.send(begin);
            client.expect("RECEIPT");
            for name in NAMES {
                let command = if name < "e" { "ACK" } else { "NACK" };
                let extra = "transaction:t\n";
                settle(client, "1.2", command, &messages[name], extra);
                client.expect("RECEIPT");
            }
            client.send(format!("{end}\ntransaction:t\nreceipt:e\n\n\0"));
        };
        // Aborted: as if never sent.
        settle_all(&mut client, "ABORT");
        assert_eq!(client.expect("RECEIPT").get("receipt-id"), "e");
        client.sync();
        settle_all(&mut client, "COMMIT");
        // A home that is done delivers at once; the RECEIPT waits for all of them.
        let (mut back, mut is_over) = (Vec::new(), false);
        while back.len() < 4 || !is_over {
            match client.next_but_beats() {
                Event::Frame(frame) if frame.command == "MESSAGE" => {
                    assert_eq!(frame.get("redelivered"), "true");
                    back.push(frame.body_text().to_owned());
                }
                Event::Frame(frame) if frame.command == "RECEIPT" => is_over = true,
                other => panic!("{other:?}"),
            }
        }
        back.sort();
        assert_eq!(back, ["e", "f", "g", "h"]);
        client.sync();
        disconnect(client);
        // Those acknowledged are gone, the others wait.
        let mut client = server.session(transport);
        for name in NAMES {
            client.subscribe(name, &format!("/queue/tx-{name}-{transport:?}"), "");
            if name >= "e" {
                take(&mut client, name, true);
            }
        }
        client.sync();
        disconnect(client);
    });
}

#[test]
fn queues_are_freed_when_nobody_needs_them() {
    everywhere(|server, transport| {
        let mut client = server.session(transport);
        for n in 0..200 {
            let queue = format!("free-{n}");
            client.subscribe(&queue, &format!("/queue/{queue}"), "ack:client\n");
            put(&mut client, &queue, "x");
            let message = take(&mut client, "x", false);
            ack(&mut client, &message);
        }
        server.wait_for_metric("stompede_queues", 200);
        server.wait_for_metric("stompede_queue_consumers", 200);
        client.send("UNSUBSCRIBE\nid:free-0\nreceipt:u\n\n\0");
        client.expect("RECEIPT");
        server.wait_for_metric("stompede_queues", 199);
        client.finish();
        assert_eq!(client.next_but_beats(), Event::Closed(None));
        server.wait_for_metric("stompede_queues", 0);
        server.wait_for_metric("stompede_queue_messages", 0);
        server.wait_for_metric("stompede_queue_unsettled", 0);
    });
}
