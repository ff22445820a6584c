//! Many messages and many subscribers: in order, each once, whoever comes and goes meanwhile.
//!
//! The contract (STOMP 1.2 promises less): all subscribers see one order per destination, every
//! publisher's messages in the order in which it sent them, from SUBSCRIBE's RECEIPT to
//! UNSUBSCRIBE's without a gap.

use super::client::{ws_frame, Client, Event, Transport, TRANSPORTS};
use super::{everywhere, on_every_server, TestServer};
use std::sync::atomic::{AtomicBool, Ordering};
use stompede::config::Config;

/// Catalogue: H01.
#[test]
fn ten_thousand_frames_in_one_write() {
    // Row 76.
    everywhere(|server, transport| {
        let mut client = server.session(transport);
        client.subscribe("s", "/topic/a", "");
        let frames: Vec<u8> = (0..10_000)
            .flat_map(|n| format!("SEND\ndestination:/topic/a\n\n{n}\0").into_bytes())
            .collect();
        let bytes = match transport {
            Transport::Tcp => frames,
            Transport::Ws => ws_frame(0x81, &frames),
        };
        let mut writer = client.writer();
        let write = std::thread::spawn(move || writer.send(&bytes));
        for n in 0..10_000 {
            assert_eq!(client.expect("MESSAGE").body_text(), n.to_string());
        }
        assert!(write.join().expect("no panic"), "all is written");
    });
}

const PUBLISHERS: usize = 3;
const MESSAGES: usize = 1_500;

/// Publishes numbered messages, each with a receipt now and then as a pace.
fn publish(server: &TestServer, transport: Transport, publisher: usize) {
    let mut client = server.session(transport);
    for n in 0..MESSAGES {
        if n % 50 == 49 {
            client.send(format!("SEND\ndestination:/topic/l\nreceipt:r\n\n{publisher} {n}\0"));
            client.expect("RECEIPT");
        } else {
            client.publish("/topic/l", &format!("{publisher} {n}"));
        }
    }
}

/// Stays for everything; gives the order seen.
fn listen(server: &TestServer, transport: Transport, ready: &std::sync::Barrier) -> Vec<String> {
    let mut client = server.session(transport);
    client.subscribe("s", "/topic/l", "");
    ready.wait();
    let next = |_| client.expect("MESSAGE").body_text().to_owned();
    (0..PUBLISHERS * MESSAGES).map(next).collect()
}

/// Comes and goes; each visit is given as the messages between the two RECEIPTs.
fn visit(server: &TestServer, transport: Transport, is_over: &AtomicBool) -> Vec<Vec<String>> {
    let mut client = server.session(transport);
    let mut visits = Vec::new();
    while !is_over.load(Ordering::Relaxed) && visits.len() < 200 {
        let pattern = if visits.len() % 2 == 0 { "/topic/l" } else { "/topic/?" };
        client.subscribe("v", pattern, "");
        // As long as two round trips by way of another shard.
        client.send("SEND\ndestination:/topic/else/1\nreceipt:1\n\n\0");
        client.send("SEND\ndestination:/topic/else/2\nreceipt:2\n\n\0");
        client.send("UNSUBSCRIBE\nid:v\nreceipt:u\n\n\0");
        let mut seen = Vec::new();
        loop {
            match client.next_but_beats() {
                Event::Frame(frame) if frame.command == "MESSAGE" => {
                    seen.push(frame.body_text().to_owned());
                }
                Event::Frame(frame) if frame.get("receipt-id") == "u" => break,
                Event::Frame(_) => {}
                other => panic!("{other:?}"),
            }
        }
        visits.push(seen);
    }
    visits
}

/// Catalogue: I04, I24.
#[test]
fn one_order_for_everybody_while_subscribers_come_and_go() {
    on_every_server(
        |_| {},
        |server| {
            let (is_over, ready) = (&AtomicBool::new(false), &std::sync::Barrier::new(5));
            let (orders, visits) = std::thread::scope(|scope| {
                let listeners: Vec<_> = [0, 1, 0, 1]
                    .map(|index| scope.spawn(move || listen(server, TRANSPORTS[index], ready)))
                    .into();
                ready.wait();
                let visitors: Vec<_> = TRANSPORTS
                    .map(|transport| scope.spawn(move || visit(server, transport, is_over)))
                    .into();
                let publishers: Vec<_> = (0..PUBLISHERS)
                    .map(|n| scope.spawn(move || publish(server, TRANSPORTS[n % 2], n)))
                    .collect();
                for publisher in publishers {
                    publisher.join().expect("a publisher");
                }
                let orders: Vec<_> =
                    listeners.into_iter().map(|l| l.join().expect("one")).collect();
                is_over.store(true, Ordering::Relaxed);
                let visits: Vec<_> =
                    visitors.into_iter().flat_map(|v| v.join().expect("one")).collect();
                (orders, visits)
            });
            let order = &orders[0];
            assert!(orders.iter().all(|other| other == order), "one order for everybody");
            for publisher in 0..PUBLISHERS {
                let own = order.iter().filter(|text| text.starts_with(&format!("{publisher} ")));
                let expected = (0..MESSAGES).map(|n| format!("{publisher} {n}"));
                assert!(own.cloned().eq(expected), "publisher {publisher}: in order, each once");
            }
            for seen in visits.iter().filter(|seen| !seen.is_empty()) {
                let at = order.iter().position(|text| *text == seen[0]).expect("a known message");
                assert_eq!(&order[at..at + seen.len()], &seen[..], "a visit without gap or repeat");
            }
        },
    );
}

#[test]
fn a_storm_of_connects_is_answered_once_each_and_harms_nobody() {
    // Row 87: no ERROR is amplified, who is in stays in, and afterwards there is room again.
    const STORM_COUNT: usize = 200;
    let few = |config: &mut Config| config.connections_max = 20;
    on_every_server(few, |server| {
        for over in TRANSPORTS {
            let mut canary = server.session(over);
            canary.subscribe("s", "/topic/canary", "");
            let address = server.address(Transport::Tcp);
            let mut storm: Vec<Client> = (0..STORM_COUNT)
                .map(|_| {
                    let mut client = Client::open(address, Transport::Tcp);
                    client.send("CONNECT\naccept-version:1.2\nhost:/\n\n\0");
                    client
                })
                .collect();
            let (mut admitted, mut refused) = (0, 0);
            for client in &mut storm {
                match client.next_but_beats() {
                    Event::Frame(frame) if frame.command == "CONNECTED" => admitted += 1,
                    Event::Frame(frame) => {
                        assert_eq!(frame.get("message"), "Server is busy", "{frame:?}");
                        client.expect_end();
                        refused += 1;
                    }
                    // Its ERROR was overtaken by the reset for the CONNECT that nobody read.
                    Event::Closed(_) => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert!(admitted <= 2 * 20 && refused >= STORM_COUNT - 2 * 20, "{admitted}");
            canary.publish("/topic/canary", "still here");
            assert_eq!(canary.expect("MESSAGE").body_text(), "still here");
            drop(storm);
            // A slot is free when its socket is closed, a moment after its client is gone.
            let is_admitted = || {
                let mut late = Client::open(address, Transport::Tcp);
                late.send("CONNECT\naccept-version:1.2\nhost:/\n\n\0");
                let event = late.next_but_beats();
                std::thread::sleep(std::time::Duration::from_millis(20));
                matches!(event, Event::Frame(frame) if frame.command == "CONNECTED")
            };
            assert!((0..500).any(|_| is_admitted()), "there is no room again");
            drop(canary);
            server.wait_for_metric("stompede_connections", 0);
        }
    });
}
