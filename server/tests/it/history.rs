//! History of topics: recovery after a lost connection, replay to newcomers, honest refusals.
//!
//! Issue 5 item 7; ecosystem.md §7.1; reliability.md I26. The churn is in the simulation.

use crate::client::{Client, Frame, TRANSPORTS};
use crate::{on_every_server, TestServer};
use stompede::config::Config;

fn keep(config: &mut Config) {
    config.history = vec!["/topic/h/**,5,1h".to_owned(), "/topic/brief/*,9,1s".to_owned()];
}

/// Subscribes with these header lines; gives the RECEIPT.
#[track_caller]
fn subscribe(client: &mut Client, destination: &str, extra: &str) -> Frame {
    client.send(format!("SUBSCRIBE\nid:s\ndestination:{destination}\nreceipt:r\n{extra}\n\0"));
    client.expect("RECEIPT")
}

/// Publishes and waits until it has its place.
#[track_caller]
fn publish(client: &mut Client, destination: &str, body: &str) {
    client.send(format!("SEND\ndestination:{destination}\nreceipt:p\n\n{body}\0"));
    client.expect("RECEIPT");
}

/// The next MESSAGEs have these bodies, in this order and with these offsets on.
#[track_caller]
fn expect_bodies(client: &mut Client, offset: u64, bodies: &[&str], is_recovered: bool) {
    for (at, body) in bodies.iter().enumerate() {
        let message = client.expect("MESSAGE");
        assert_eq!(message.body_text(), *body);
        assert_eq!(message.get("offset"), (offset + at as u64).to_string());
        assert_eq!(message.header("recovered"), is_recovered.then_some("true"), "{message:?}");
    }
}

/// With destinations whose home is on every shard, and over both transports.
fn everywhere(test: impl Fn(&TestServer, crate::client::Transport, &str) + Sync) {
    on_every_server(keep, |server| {
        for over in TRANSPORTS {
            for name in ["a", "b", "c", "d"] {
                test(server, over, &format!("/topic/h/{over:?}/{name}"));
            }
        }
    });
}

/// Catalogue: I26.
#[test]
fn what_was_missed_comes_first_and_then_the_live_stream() {
    everywhere(|server, over, topic| {
        let mut publisher = server.session(over);
        let (mut other, mut client) = (server.session(over), server.session(over));
        let receipt = subscribe(&mut client, topic, "");
        let epoch = receipt.get("epoch").to_owned();
        assert_eq!((receipt.get("offset"), receipt.header("recovered")), ("0", None));
        subscribe(&mut other, topic, "");
        for body in ["1", "2"] {
            publish(&mut publisher, topic, body);
        }
        expect_bodies(&mut client, 1, &["1", "2"], false);
        drop(client);
        for body in ["3", "4"] {
            publish(&mut publisher, topic, body);
        }
        let mut client = server.session(over);
        let receipt = subscribe(&mut client, topic, &format!("from-offset:2\nepoch:{epoch}\n"));
        assert_eq!((receipt.get("recovered"), receipt.get("offset")), ("true", "4"));
        assert_eq!((receipt.get("epoch"), receipt.header("reason")), (&*epoch, None));
        expect_bodies(&mut client, 3, &["3", "4"], true);
        publish(&mut publisher, topic, "5");
        expect_bodies(&mut client, 5, &["5"], false);
        // The other one got each once: what was recovered was not for it.
        expect_bodies(&mut other, 1, &["1", "2", "3", "4", "5"], false);
        other.sync();
        // Who saw everything recovers nothing, and that is all.
        client.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
        client.expect("RECEIPT");
        let receipt = subscribe(&mut client, topic, &format!("from-offset:5\nepoch:{epoch}\n"));
        assert_eq!(receipt.get("recovered"), "true");
        client.sync();
    });
}

/// Catalogue: I26.
#[test]
fn a_recovery_that_is_not_whole_is_refused_with_its_reason() {
    everywhere(|server, over, topic| {
        let mut client = server.session(over);
        let epoch = subscribe(&mut client, topic, "").get("epoch").to_owned();
        let epoch = &*epoch;
        for offset in 1..=7 {
            publish_and_take(&mut client, topic, offset);
        }
        let most = u64::MAX.to_string();
        for (offset, epoch, reason) in [
            ("7", epoch, None),
            ("2", epoch, None),
            ("1", epoch, Some("evicted")),
            ("0", epoch, Some("evicted")),
            ("8", epoch, Some("ahead")),
            (&most, epoch, Some("ahead")),
            ("7", "another", Some("epoch")),
            ("7", "", Some("epoch")),
        ] {
            let mut client = server.session(over);
            let asked = format!("from-offset:{offset}\nepoch:{epoch}\n");
            let receipt = subscribe(&mut client, topic, &asked);
            assert_eq!(receipt.get("recovered"), reason.is_none().to_string(), "{asked}");
            assert_eq!(receipt.header("reason"), reason, "{asked}");
            let missed = if reason.is_none() { 7 - offset.parse::<u64>().unwrap_or(7) } else { 0 };
            for _ in 0..missed {
                client.expect("MESSAGE");
            }
            client.sync();
        }
        // No history: of a topic without a rule, and of a pattern.
        for destination in ["/topic/plain", "/topic/h/*"] {
            let mut client = server.session(over);
            let asked = format!("from-offset:0\nepoch:{epoch}\n");
            let receipt = subscribe(&mut client, destination, &asked);
            assert_eq!((receipt.get("recovered"), receipt.get("reason")), ("false", "no-history"));
            assert_eq!(receipt.header("offset"), None);
            for asked in ["replay:last\n", "replay:5\n", "activemq.retroactive:true\n"] {
                let mut client = server.session(over);
                let receipt = subscribe(&mut client, destination, asked);
                let told = (receipt.get("recovered"), receipt.get("reason"));
                assert_eq!(told, ("false", "no-history"), "{destination} {asked}");
            }
            let mut client = server.session(over);
            assert_eq!(subscribe(&mut client, destination, "").header("recovered"), None);
        }
    });
}

#[track_caller]
fn publish_and_take(client: &mut Client, topic: &str, offset: u64) {
    client.publish(topic, "x");
    assert_eq!(client.expect("MESSAGE").get("offset"), offset.to_string());
}

#[test]
fn newcomers_get_the_newest() {
    everywhere(|server, over, topic| {
        let mut publisher = server.session(over);
        for body in ["1", "2", "3", "4", "5", "6"] {
            publish(&mut publisher, topic, body);
        }
        for (asked, offset, bodies) in [
            ("replay:last\n", 6, &["6"][..]),
            ("replay:2\n", 5, &["5", "6"][..]),
            ("replay:100\n", 2, &["2", "3", "4", "5", "6"][..]),
            ("activemq.retroactive:true\n", 2, &["2", "3", "4", "5", "6"][..]),
            ("replay:0\n", 0, &[][..]),
            ("", 0, &[][..]),
        ] {
            let mut client = server.session(over);
            let receipt = subscribe(&mut client, topic, asked);
            assert_eq!((receipt.get("offset"), receipt.header("recovered")), ("6", None));
            expect_bodies(&mut client, offset, bodies, true);
            client.sync();
        }
        let mut client = server.session(over);
        assert_eq!(subscribe(&mut client, "/topic/plain", "replay:last\n").header("offset"), None);
        client.sync();
    });
}

/// Catalogue: H21.
#[test]
fn a_publisher_cannot_forge_a_position() {
    everywhere(|server, over, topic| {
        let mut client = server.session(over);
        let epoch = subscribe(&mut client, topic, "").get("epoch").to_owned();
        client.send(format!("SEND\ndestination:{topic}\noffset:99\nepoch:mine\n\n\0"));
        let message = client.expect("MESSAGE");
        assert_eq!((message.get("offset"), message.get("epoch")), ("1", &*epoch));
    });
}

#[test]
fn acknowledged_subscriptions_recover_too() {
    everywhere(|server, over, topic| {
        let mut publisher = server.session(over);
        for body in ["1", "2"] {
            publish(&mut publisher, topic, body);
        }
        let mut client = server.session(over);
        subscribe(&mut client, topic, "ack:client-individual\nreplay:2\n");
        let acks = [(), ()].map(|()| client.expect("MESSAGE").get("ack").to_owned());
        assert_ne!(acks[0], acks[1]);
        for ack in acks {
            client.send(format!("ACK\nid:{ack}\nreceipt:a\n\n\0"));
            client.expect("RECEIPT");
        }
    });
}

#[test]
fn more_than_half_of_the_mark_is_refused_and_the_session_lives() {
    let change = |config: &mut Config| {
        keep(config);
        config.outbound_bytes_max = 64 << 10;
    };
    on_every_server(change, |server| {
        for over in TRANSPORTS {
            let topic = &format!("/topic/h/large/{over:?}");
            let mut client = server.session(over);
            let epoch = subscribe(&mut client, topic, "").get("epoch").to_owned();
            for offset in 1..=4 {
                client.publish(topic, &"x".repeat(10 << 10));
                assert_eq!(client.expect("MESSAGE").get("offset"), offset.to_string());
            }
            let mut client = server.session(over);
            let asked = format!("from-offset:0\nepoch:{epoch}\n");
            let receipt = subscribe(&mut client, topic, &asked);
            assert_eq!((receipt.get("recovered"), receipt.get("reason")), ("false", "limit"));
            client.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
            client.expect("RECEIPT");
            // The newest that fit are another matter: nobody promised all.
            subscribe(&mut client, topic, "replay:100\n");
            let offsets = [(), (), ()].map(|()| client.expect("MESSAGE").get("offset").to_owned());
            assert_eq!(offsets, ["2", "3", "4"]);
            client.sync();
        }
    });
}

#[test]
fn what_is_too_old_is_gone_and_given_back() {
    on_every_server(keep, |server| {
        let mut client = server.session(TRANSPORTS[0]);
        let epoch = subscribe(&mut client, "/topic/brief/a", "").get("epoch").to_owned();
        publish_and_take(&mut client, "/topic/brief/a", 1);
        let asked = format!("from-offset:0\nepoch:{epoch}\n");
        let mut receipt = None;
        for _ in 0..600 {
            client.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
            client.expect("RECEIPT");
            let answer = subscribe(&mut client, "/topic/brief/a", &asked);
            if answer.get("recovered") == "false" {
                receipt = Some(answer);
                break;
            }
            client.expect("MESSAGE");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let receipt = receipt.expect("a second is over");
        // Either the message is gone, or, nobody having listened for a while, the run of offsets.
        assert!(["evicted", "epoch"].contains(&receipt.get("reason")), "{receipt:?}");
        client.sync();
        server.wait_for_metric("stompede_history_bytes", 0);
    });
}

#[test]
fn bad_askings_are_errors() {
    on_every_server(keep, |server| {
        for over in TRANSPORTS {
            for (extra, message) in [
                ("from-offset:x\nepoch:e\n", "Bad header value"),
                ("replay:many\n", "Bad header value"),
                ("max-rate:5\n", "Bad header value"),
                ("activemq.maximumPendingMessageLimit:-1\n", "Bad header value"),
            ] {
                let mut client = server.session(over);
                client.send(format!("SUBSCRIBE\nid:s\ndestination:/topic/h/a\n{extra}\n\0"));
                let error = client.expect("ERROR");
                assert_eq!(error.get("message"), message, "{extra}");
                // What was seen, and what is allowed.
                let (name, value) = extra.lines().next().unwrap().split_once(':').unwrap();
                let seen = format!("seen '{value}' in the header '{name}', allowed is ");
                assert!(error.body_text().starts_with(&seen), "{}", error.body_text());
            }
        }
    });
}
