//! What a MESSAGE looks like and who gets it: headers, opcodes, patterns, unsubscribing.
//!
//! STOMP 1.2, SUBSCRIBE, UNSUBSCRIBE and MESSAGE. Two publishers or subscribers of a test may be on
//! different shards: the kernel chooses, and the answers must not differ.

use super::client::{Event, Transport, TRANSPORTS};
use super::{everywhere, on_every_server};
use std::collections::HashSet;
use std::time::Duration;

/// Catalogue: J09.
#[test]
fn headers_pass_through_and_secrets_do_not() {
    // Row 78.
    everywhere(|server, transport| {
        let mut subscriber = server.session(transport);
        subscriber.subscribe("s", "/topic/a", "");
        let mut publisher = server.session(transport);
        publisher.send(
            "SEND\ndestination:/topic/a\nzeta:1\ncontent-type:text/plain\nreceipt:r\nlogin:ann\n\
             passcode:secret\nAuthorization:secret\nauthorization:secret\nCookie:secret\n\
             proxy-authorization:secret\nx-auth-token:secret\nX-CSRF-Token:secret\n\
             persistent:true\nreply-to:/topic/b\nalpha:a\\cb\\\\c\\nd\nALPHA:2\nempty:\n\
             zeta:again\n\nbody\0",
        );
        publisher.expect("RECEIPT");
        let message = subscriber.expect("MESSAGE");
        let owned = ["subscription", "message-id", "destination", "content-length"];
        let passed: Vec<_> = message
            .headers
            .iter()
            .filter(|(name, _)| !owned.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let expected = [
            ("zeta", "1"),
            ("content-type", "text/plain"),
            ("persistent", "true"),
            ("reply-to", "/topic/b"),
            ("alpha", "a\\cb\\\\c\\nd"),
            ("ALPHA", "2"),
            ("empty", ""),
        ];
        assert_eq!(passed, expected);
        assert_eq!(message.get("destination"), "/topic/a");
        assert_eq!(message.get("subscription"), "s");
        assert_eq!(message.get("content-length"), "4");
        assert_eq!(message.body_text(), "body");
    });
}

#[test]
fn each_version_gets_its_own_escapes() {
    // Row 77: never a raw line end, for any version.
    everywhere(|server, transport| {
        let mut clients = Vec::new();
        for (version, line) in [
            ("1.0", "x:a b c:d\\\n"),
            ("1.1", "x:a\\nb c\\cd\\\\\n"),
            ("1.2", "x:a\\nb\\rc\\cd\\\\\n"),
        ] {
            let mut client = server.open(transport);
            client.connect(version);
            client.subscribe("s", "/topic/a", "");
            clients.push((client, line));
        }
        let mut publisher = server.session(transport);
        publisher.send("SEND\ndestination:/topic/a\nx:a\\nb\\rc\\cd\\\\\ny\\cz:1\n\n\0");
        for (client, line) in &mut clients {
            let message = client.expect("MESSAGE");
            assert!(message.text.contains(*line), "{message:?}");
            assert!(message.headers.iter().all(|(name, _)| name != "b"), "{message:?}");
        }
    });
}

/// Catalogue: E26, H20.
#[test]
fn text_is_text_and_the_rest_is_binary() {
    // Row 37, and the opcode rule: whatever the SEND came in.
    on_every_server(
        |_| {},
        |server| {
            let mut subscriber = server.session(Transport::Ws);
            subscriber.subscribe("s", "/topic/a", "");
            let mut publishers = TRANSPORTS.map(|transport| server.session(transport));
            for publisher in &mut publishers {
                for (body, opcode) in
                    [(&b"\xf0\x9f\x98\x80 \xc3\xa9"[..], 1), (b"\xf0\x9f\x98", 2), (b"", 1)]
                {
                    publisher.send([b"SEND\ndestination:/topic/a\n\n", body, b"\0"].concat());
                    let message = subscriber.expect("MESSAGE");
                    assert_eq!((&*message.body, message.opcode), (body, Some(opcode)));
                }
                publisher.send(b"SEND\ndestination:/topic/a\ncontent-length:3\n\na\0b\0");
                assert_eq!(subscriber.expect("MESSAGE").body, b"a\0b");
            }
        },
    );
}

/// Catalogue: I05.
#[test]
fn a_receipt_of_unsubscribe_is_the_last_word() {
    everywhere(|server, transport| {
        let mut publisher = server.session(transport);
        let mut subscriber = server.session(transport);
        for round in 0..50 {
            subscriber.subscribe("s", "/topic/a", "");
            publisher.publish("/topic/a", &format!("before {round}"));
            publisher.publish("/topic/a", &format!("maybe {round}"));
            assert_eq!(subscriber.expect("MESSAGE").body_text(), format!("before {round}"));
            subscriber.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
            loop {
                match subscriber.next_but_beats() {
                    Event::Frame(frame) if frame.command == "RECEIPT" => break,
                    Event::Frame(frame) => assert_eq!(frame.body_text(), format!("maybe {round}")),
                    other => panic!("{other:?}"),
                }
            }
            publisher.send("SEND\ndestination:/topic/a\nreceipt:p\n\nafter\0");
            publisher.expect("RECEIPT");
        }
        // Nothing of "after" was on its way: the next answer is the receipt.
        subscriber.sync();
    });
}

#[test]
fn a_1_0_subscription_without_id_is_known_by_its_destination() {
    everywhere(|server, transport| {
        let mut client = server.open(transport);
        client.connect("1.0");
        client.send("SUBSCRIBE\ndestination:/topic/a\nreceipt:1\n\n\0");
        client.expect("RECEIPT");
        client.publish("/topic/a", "one");
        let message = client.expect("MESSAGE");
        assert_eq!((message.header("subscription"), message.body_text()), (None, "one"));
        client.send("UNSUBSCRIBE\ndestination:/topic/a\nreceipt:2\n\n\0");
        client.expect("RECEIPT");
        client.send("SEND\ndestination:/topic/a\nreceipt:3\n\n\0");
        assert_eq!(client.expect("RECEIPT").get("receipt-id"), "3");
        // Padding is trimmed in 1.0 and only there.
        client.send("SUBSCRIBE\ndestination: /topic/a \nreceipt:4\n\n\0");
        client.expect("RECEIPT");
        client.publish("/topic/a", "two");
        assert_eq!(client.expect("MESSAGE").body_text(), "two");
    });
}

#[test]
fn patterns_hear_what_they_match_on_every_shard() {
    everywhere(|server, transport| {
        let mut subscribers: Vec<_> = ["/topic/*/b", "/topic/a/**", "/topic/a/?", "/topic/a/b"]
            .into_iter()
            .map(|pattern| {
                let mut client = server.session(transport);
                client.subscribe("s", pattern, "");
                client
            })
            .collect();
        let mut publisher = server.session(transport);
        for (destination, heard) in [
            ("/topic/a/b", [true, true, true, true]),
            ("/topic/x/b", [true, false, false, false]),
            ("/topic/a/b/c", [false, true, false, false]),
            ("/topic/a/c", [false, true, true, false]),
            ("/topic/a/bb", [false, true, false, false]),
        ] {
            publisher.send(format!("SEND\ndestination:{destination}\nreceipt:r\n\n\0"));
            publisher.expect("RECEIPT");
            for (subscriber, _) in subscribers.iter_mut().zip(heard).filter(|(_, heard)| *heard) {
                assert_eq!(subscriber.expect("MESSAGE").get("destination"), destination);
            }
        }
        for subscriber in &mut subscribers {
            subscriber.sync();
        }
        // Gone on every shard: nobody hears, and the same id may be used again.
        subscribers[0].send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
        subscribers[0].expect("RECEIPT");
        publisher.send("SEND\ndestination:/topic/x/b\nreceipt:r\n\n\0");
        publisher.expect("RECEIPT");
        subscribers[0].subscribe("s", "/topic/x/*", "");
        publisher.publish("/topic/x/b", "again");
        assert_eq!(subscribers[0].expect("MESSAGE").body_text(), "again");
    });
}

#[test]
fn one_delivery_for_each_subscription_each_with_its_own_id() {
    everywhere(|server, transport| {
        let mut client = server.session(transport);
        for (id, extra) in
            [("a", ""), ("b", ""), ("c", "ack:client\n"), ("d", "ack:client-individual\n")]
        {
            client.subscribe(id, "/topic/a", extra);
        }
        client.subscribe("e", "/topic/**", "");
        let (mut ids, mut acks) = (HashSet::new(), HashSet::new());
        for _ in 0..20 {
            client.publish("/topic/a", "x");
            let mut subscriptions = HashSet::new();
            for _ in 0..5 {
                let message = client.expect("MESSAGE");
                assert!(ids.insert(message.get("message-id").to_owned()), "{message:?}");
                let is_explicit = ["c", "d"].contains(&message.get("subscription"));
                assert_eq!(message.header("ack").is_some(), is_explicit, "{message:?}");
                acks.extend(message.header("ack").map(str::to_owned));
                subscriptions.insert(message.get("subscription").to_owned());
            }
            assert_eq!(subscriptions.len(), 5);
        }
        assert_eq!((ids.len(), acks.len()), (100, 40));
        // stompjs cannot unescape these characters: no id of ours may hold them.
        assert!(ids.iter().chain(&acks).all(|id| !id.contains(['\\', ':', ' '])));
    });
}

/// Catalogue: A12, K01.
#[test]
fn a_subscriber_that_does_not_read_ends_alone() {
    // Row 79: over its byte limit, or without progress for the stall deadline.
    let small = |config: &mut stompede::config::Config| {
        config.outbound_bytes_max = 128 << 10;
        config.stall_deadline = Duration::from_secs(60);
    };
    let stalling = |config: &mut stompede::config::Config| {
        config.outbound_bytes_max = 64 << 20;
        config.stall_deadline = Duration::from_secs(1);
    };
    for (reason, is_slow) in [("slow_consumer", true), ("stalled", false)] {
        let change = |config: &mut stompede::config::Config| {
            if is_slow {
                small(config);
            } else {
                stalling(config);
            }
        };
        on_every_server(change, |server| {
            let mut stuck = server.session(Transport::Tcp);
            stuck.subscribe("s", "/topic/a", "");
            let mut reader = server.session(Transport::Ws);
            reader.subscribe("s", "/topic/a", "");
            let mut publisher = server.session(Transport::Tcp);
            let body = "x".repeat(32_000);
            // More than the sockets of the loopback hold: 16 MB.
            for round in 0..500 {
                publisher.publish("/topic/a", &format!("{round} {body}"));
                let seen = reader.expect("MESSAGE");
                assert_eq!(seen.body_text().split(' ').next(), Some(&*round.to_string()));
            }
            server.wait_for_closed(reason, 1);
            publisher.publish("/topic/a", "still here");
            assert_eq!(reader.expect("MESSAGE").body_text(), "still here");
            drop(stuck);
        });
    }
}

/// The mark is for what the kernel does not take: what one turn brings is sent in between.
#[test]
fn a_burst_over_the_mark_reaches_who_reads() {
    let change = |config: &mut stompede::config::Config| config.outbound_bytes_max = 256 << 10;
    on_every_server(change, |server| {
        for over in TRANSPORTS {
            let mut subscriber = server.session(over);
            subscriber.subscribe("s", "/topic/a", "");
            let publisher = server.session(Transport::Tcp);
            let body = "x".repeat(16 << 10);
            let send = |round| format!("SEND\ndestination:/topic/a\n\n{round} {body}\0");
            // Over the mark by less than the server's socket holds.
            let burst: String = (0..20).map(send).collect();
            let mut writer = publisher.writer();
            let sender = std::thread::spawn(move || writer.send(burst));
            for round in 0..20 {
                let seen = subscriber.expect("MESSAGE");
                assert_eq!(seen.body_text().split(' ').next(), Some(&*round.to_string()));
            }
            sender.join().expect("all is sent");
        }
    });
}
