//! Slow-consumer policies and rates: what is given up, what the client is told, and that nobody
//! else notices. Issue 5 item 8.
//!
//! A slow client is one that does not read while far more than the sockets hold is published.

use crate::client::{Client, Event, Transport, TRANSPORTS};
use crate::{on_every_server, TestServer};
use std::collections::BTreeMap;
use std::time::Duration;
use stompede::config::Config;

/// More than a loopback socket and the window hold.
const FLOOD_COUNT: usize = 3_000;
const BODY_BYTES: usize = 8 << 10;

fn rules(config: &mut Config) {
    config.outbound_bytes_max = 256 << 10;
    // However long it takes to publish what is too much.
    config.stall_deadline = Duration::from_secs(3_600);
    config.slow_consumer = vec![
        "/topic/oldest/**,drop-oldest".to_owned(),
        "/topic/price/**,conflate".to_owned(),
        "/topic/quote,conflate:symbol".to_owned(),
        "/topic/hard,disconnect".to_owned(),
        "/topic/rate,drop-oldest,4/s".to_owned(),
    ];
}

/// Publishes numbers to destinations that `name` gives, with a header that `symbol` gives.
fn flood(server: &TestServer, over: Transport, name: impl Fn(usize) -> String) {
    let mut publisher = server.session(over);
    let filler = "x".repeat(BODY_BYTES);
    for number in 0..FLOOD_COUNT {
        let symbol = number % 3;
        publisher.send(format!(
            "SEND\ndestination:{}\nsymbol:{symbol}\nnumber:{number}\n\n{filler}\0",
            name(number)
        ));
    }
    publisher.sync();
}

/// Reads until the last number came; gives the numbers by the value of `header`, and what the
/// server said was missed.
fn read_all(client: &mut Client, header: &str) -> (BTreeMap<String, Vec<usize>>, u64) {
    let (mut seen, mut missed) = (BTreeMap::<String, Vec<usize>>::new(), 0);
    let mut last = BTreeMap::new();
    while last.len() < 3 {
        let message = client.expect("MESSAGE");
        let number: usize = message.get("number").parse().expect("a number");
        missed += message.header("missed").map_or(0, |text| text.parse::<u64>().expect("a count"));
        seen.entry(message.get(header).to_owned()).or_default().push(number);
        if number >= FLOOD_COUNT - 3 {
            last.insert(number, ());
        }
    }
    (seen, missed)
}

fn count(seen: &BTreeMap<String, Vec<usize>>) -> u64 {
    seen.values().map(|numbers| numbers.len() as u64).sum()
}

#[test]
fn the_oldest_go_and_the_client_is_told_how_many() {
    on_every_server(rules, |server| {
        for over in TRANSPORTS {
            let mut slow = server.session(over);
            slow.subscribe("s", "/topic/oldest/a", "");
            flood(server, over, |_| "/topic/oldest/a".to_owned());
            let (seen, missed) = read_all(&mut slow, "destination");
            let numbers = &seen["/topic/oldest/a"];
            assert!(numbers.is_sorted(), "order");
            assert!(missed > 0, "nothing was slow");
            assert_eq!(count(&seen) + missed, FLOOD_COUNT as u64, "every one came or was counted");
        }
        assert_eq!(server.metric("stompede_slow_consumers_total"), 0);
        assert!(server.metric("stompede_messages_missed_total") > 0);
        server.wait_for_metric("stompede_outbound_bytes", 0);
    });
}

/// Catalogue: K04.
#[test]
fn the_newest_of_each_destination_or_key_comes_in_order() {
    on_every_server(rules, |server| {
        for over in TRANSPORTS {
            for (subscribed, header, name) in [
                ("/topic/price/*", "destination", "/topic/price/"),
                ("/topic/quote", "symbol", "/topic/quote"),
            ] {
                let mut slow = server.session(over);
                slow.subscribe("s", subscribed, "");
                flood(server, over, |number| match header {
                    "destination" => format!("{name}{}", number % 3),
                    _ => name.to_owned(),
                });
                let (seen, missed) = read_all(&mut slow, header);
                assert_eq!(seen.len(), 3, "every key has its newest");
                assert!(seen.values().all(|numbers| numbers.is_sorted()), "order within a key");
                assert!(missed > 0, "nothing was slow");
                assert_eq!(count(&seen) + missed, FLOOD_COUNT as u64);
            }
        }
        server.wait_for_metric("stompede_outbound_bytes", 0);
    });
}

#[test]
fn without_a_policy_and_by_its_rule_the_slow_are_ended() {
    on_every_server(rules, |server| {
        for (at, topic) in ["/topic/plain", "/topic/hard"].into_iter().enumerate() {
            let mut slow = server.session(Transport::Tcp);
            slow.subscribe("s", topic, "");
            flood(server, Transport::Tcp, |_| topic.to_owned());
            server.wait_for_closed("slow_consumer", at as u64 + 1);
        }
    });
}

#[test]
fn those_who_keep_up_miss_nothing() {
    on_every_server(rules, |server| {
        for over in TRANSPORTS {
            let (mut fast, mut publisher) = (server.session(over), server.session(over));
            fast.subscribe("s", "/topic/price/a", "");
            fast.subscribe("t", "/topic/price/a", "ack:client\n");
            for number in 0..200 {
                publisher.publish("/topic/price/a", &number.to_string());
                for _ in 0..2 {
                    let message = fast.expect("MESSAGE");
                    assert_eq!(message.body_text(), number.to_string());
                    assert_eq!(message.header("missed"), None);
                }
            }
        }
        assert_eq!(server.metric("stompede_messages_missed_total"), 0);
    });
}

#[test]
fn a_client_asks_for_less() {
    on_every_server(rules, |server| {
        for over in TRANSPORTS {
            for (topic, extra) in [
                ("/topic/any", "max-rate:4/s\n"),
                ("/topic/rate", ""),
                ("/topic/rate", "max-rate:1000/s\n"),
            ] {
                let (mut client, mut publisher) = (server.session(over), server.session(over));
                let more = "activemq.maximumPendingMessageLimit:2\n";
                client.subscribe(
                    "s",
                    topic,
                    &format!("{extra}{}", if extra.is_empty() { "" } else { more }),
                );
                let mut all = String::new();
                for number in 0..100 {
                    all.push_str(&format!("SEND\ndestination:{topic}\n\n{number}\0"));
                }
                match over {
                    Transport::Tcp => publisher.send(all),
                    Transport::Ws => {
                        all.split_inclusive('\0').for_each(|frame| publisher.send(frame));
                    }
                }
                publisher.sync();
                // A period's worth goes at once, the others as the rate allows.
                let (mut numbers, mut missed) = (Vec::new(), 0);
                while numbers.last() != Some(&99) {
                    let message = client.expect("MESSAGE");
                    numbers.push(message.body_text().parse::<u64>().expect("a number"));
                    missed +=
                        message.header("missed").map_or(0, |text| text.parse().expect("a count"));
                    if extra.is_empty() && numbers.len() == 6 {
                        // Nothing is dropped of what fits: this one is only slow.
                        break;
                    }
                }
                assert!(numbers.is_sorted());
                if extra.is_empty() {
                    assert_eq!((numbers, missed), ((0..6).collect(), 0));
                } else {
                    assert!(numbers.starts_with(&[0, 1, 2, 3]), "{numbers:?}");
                    assert_eq!(numbers.len() as u64 + missed, 100);
                }
                client.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
                while !matches!(client.next(), Event::Frame(frame) if frame.command == "RECEIPT") {}
                client.sync();
            }
        }
        server.wait_for_metric("stompede_outbound_bytes", 0);
    });
}
