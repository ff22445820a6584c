//! Permessage-deflate end to end: agreed on or not, broadcasts compressed once, messages inflated.
//!
//! The client inflates with the very window that was agreed on. Names carry the row of the
//! hostile-case table F that they prove.

use super::client::{deflate, Client, Event, Frame, Transport};
use super::{on_every_server, TestServer};
use stompede::config::{Compression, Config};

/// Clients that differ in what they agree on: the offer, and the window that follows.
const OFFERS: [(&str, Option<u8>); 5] = [
    ("", None),
    ("permessage-deflate; server_max_window_bits=8", None),
    ("permessage-deflate; client_max_window_bits", Some(15)),
    ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", Some(12)),
    ("permessage-deflate; server_no_context_takeover; server_max_window_bits=10", Some(9)),
];

fn shared(config: &mut Config) {
    config.compression = Compression::Shared;
}

/// A client that makes this offer and agreed on this window.
fn open(server: &TestServer, offer: &str, window_bits: Option<u8>) -> Client {
    let mut client = Client::open_http(server.address(Transport::Ws));
    let header = format!("Sec-WebSocket-Extensions: {offer}\r\n");
    let head = client.upgrade(if offer.is_empty() { "" } else { &header });
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let answer = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let expected = window_bits.map(|bits| {
        let always = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let named = offer.contains("server_max_window_bits");
        let window = format!("; server_max_window_bits={bits}");
        format!("{always}{}", if named { &window } else { "" })
    });
    assert_eq!(answer, expected.as_deref(), "{offer}");
    client.window_bits = window_bits;
    client
}

fn session(server: &TestServer, offer: &str, window_bits: Option<u8>) -> Client {
    let mut client = open(server, offer, window_bits);
    assert_eq!(client.connect("1.2").compressed_bytes, None, "nothing before the log-in");
    client
}

/// A session with the largest window.
fn plain_session(server: &TestServer) -> Client {
    session(server, "permessage-deflate", Some(15))
}

/// JSON of about this many bytes.
fn json(bytes: usize) -> String {
    let mut text = String::from("[");
    for number in 0.. {
        if text.len() >= bytes {
            break;
        }
        text += &format!("{{\"symbol\":\"S{number}\",\"price\":{}}},", number * 7919 % 1000);
    }
    text + "{}]"
}

#[test]
fn f07_without_the_option_nothing_is_agreed_on() {
    on_every_server(
        |_| {},
        |server| {
            let mut client = open(server, "", None);
            client.send_ws(0xc1, &deflate(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"));
            client.expect_closed(1002);
            let mut client = Client::open_http(server.address(Transport::Ws));
            let head = client.upgrade("Sec-WebSocket-Extensions: permessage-deflate\r\n");
            assert!(!head.contains("Extensions"), "{head}");
        },
    );
}

#[test]
fn f09_a_broadcast_is_compressed_once_for_each_window() {
    on_every_server(shared, |server| {
        let mut clients: Vec<_> = OFFERS
            .iter()
            .flat_map(|&(offer, bits)| (0..3).map(move |_| session(server, offer, bits)))
            .collect();
        for (number, client) in clients.iter_mut().enumerate() {
            // As many classes as clients, and private heads besides.
            let ack = if number % 3 == 0 { "ack:client-individual\n" } else { "" };
            client.subscribe(&format!("id-{number}"), "/topic/a", ack);
        }
        for bytes in [10, 1_500, 40_000] {
            let before = server.metric("stompede_compressions_total");
            let body = json(bytes);
            clients[0].publish("/topic/a", &body);
            for (number, client) in clients.iter_mut().enumerate() {
                let message = client.expect("MESSAGE");
                assert_eq!(message.body_text(), body);
                assert_eq!(message.get("subscription"), format!("id-{number}"));
                assert_eq!(message.header("ack").is_some(), number % 3 == 0);
                check_size(&message, client.window_bits.is_some() && bytes > 1_024);
            }
            let compressions = server.metric("stompede_compressions_total") - before;
            let windows = if bytes > 1_024 { 3 } else { 0 };
            // On each of two shards at most, for nine clients.
            assert!((windows..=2 * windows).contains(&compressions), "{compressions}");
        }
    });
}

fn check_size(message: &Frame, is_compressed: bool) {
    match message.compressed_bytes {
        Some(bytes) => assert!(is_compressed && bytes < message.text.len() / 2, "{bytes}"),
        None => assert!(!is_compressed, "{message:?}"),
    }
}

/// Catalogue: F08.
#[test]
fn replies_are_never_compressed() {
    on_every_server(shared, |server| {
        let mut client = plain_session(server);
        let long = "r".repeat(250);
        client.send(format!("SEND\ndestination:/topic/a\nreceipt:{long}\n\n{}\0", json(4_000)));
        let receipt = client.expect("RECEIPT");
        assert_eq!((receipt.get("receipt-id"), receipt.compressed_bytes), (&*long, None));
    });
}

/// A secret and an attacker's text must not meet in one compressed message.
#[test]
fn f08_what_one_client_alone_gets_is_never_compressed() {
    on_every_server(shared, |server| {
        let mut client = plain_session(server);
        for destination in ["/user/queue/private", "/queue/private"] {
            client.subscribe(destination, destination, "");
            client.publish(destination, &json(4_000));
            let message = client.expect("MESSAGE");
            assert_eq!(message.compressed_bytes, None, "{destination}");
        }
    });
}

#[test]
fn compressed_messages_are_taken_whole_in_fragments_and_in_any_reads() {
    on_every_server(shared, |server| {
        let mut client = open(server, "permessage-deflate", Some(15));
        client.send_ws(0xc1, &deflate(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"));
        client.expect("CONNECTED");
        client.subscribe("a", "/topic/a", "");
        let body = json(60_000);
        let payload = deflate(format!("SEND\ndestination:/topic/a\n\n{body}\0").as_bytes());
        client.send_ws(0xc1, &payload);
        assert_eq!(client.expect("MESSAGE").body_text(), body);
        // Three fragments, a ping between them, and byte by byte.
        let (first, rest) = payload.split_at(payload.len() / 3);
        client.send_ws(0x41, first);
        client.send_ws(0x89, b"between");
        client.send_ws(0x00, &rest[..10]);
        client.send_ws(0x80, &rest[10..]);
        assert_eq!(client.next_but_beats(), Event::Pong(b"between".to_vec()));
        assert_eq!(client.expect("MESSAGE").body_text(), body);
        let small = deflate(b"SEND\ndestination:/topic/a\n\nsmall\0");
        for byte in super::client::ws_frame(0xc2, &small) {
            client.write(&[byte]);
        }
        assert_eq!(client.expect("MESSAGE").body_text(), "small");
        // A STOMP frame may begin in a plain message and end in a compressed one.
        client.send_ws(0x81, b"SEND\ndestination:/topic/a\n\nhalf ");
        client.send_ws(0xc1, &deflate(b"and half\0"));
        assert_eq!(client.expect("MESSAGE").body_text(), "half and half");
    });
}

#[test]
fn f10_much_in_little_is_spread_over_turns_and_comes_in_order() {
    on_every_server(shared, |server| {
        let mut client = plain_session(server);
        client.subscribe("a", "/topic/a", "");
        let mut bytes = Vec::new();
        for number in 0..200 {
            let blank = "\n".repeat(60_000);
            let message = format!("{blank}SEND\ndestination:/topic/a\n\n{number}\0");
            bytes.extend(super::client::ws_frame(0xc1, &deflate(message.as_bytes())));
        }
        client.write(&bytes);
        for number in 0..200 {
            assert_eq!(client.expect("MESSAGE").body_text(), number.to_string());
        }
        client.sync();
    });
}

#[test]
fn f02_before_the_log_in_64_kib_are_the_limit() {
    on_every_server(shared, |server| {
        let blank = vec![b'\n'; 70_000];
        let mut client = open(server, "permessage-deflate", Some(15));
        client.send_ws(0xc1, &deflate(&blank));
        assert_eq!(client.expect("ERROR").compressed_bytes, None);
        client.expect_closed(1009);
        // Compressed already over the limit, in fragments that never end.
        let mut client = open(server, "permessage-deflate", Some(15));
        client.send_ws(0x41, &[0; 40_000]);
        client.send_ws(0x00, &[0; 40_000]);
        client.expect("ERROR");
        client.expect_closed(1009);
        // After it they are not.
        let mut client = plain_session(server);
        let body = json(70_000);
        let send = format!("SEND\ndestination:/topic/a\nreceipt:r\n\n{body}\0");
        client.send_ws(0xc1, &deflate(send.as_bytes()));
        client.expect("RECEIPT");
    });
}

#[test]
fn f01_to_f06_bad_messages_end_their_connection_only() {
    on_every_server(shared, |server| {
        let mut canary = plain_session(server);
        canary.subscribe("a", "/topic/a", "");
        let bomb = deflate(&vec![b'\n'; 64 << 20]);
        let end_as = |payloads: &[(u8, &[u8])], code| {
            let mut client = plain_session(server);
            for &(first, payload) in payloads {
                client.send_ws(first, payload);
            }
            while client.next_but_beats() != Event::Closed(Some(code)) {}
            client.expect_end();
        };
        end_as(&[(0xc1, &bomb)], 1009);
        end_as(&[(0x41, &bomb[..100]), (0x80, &bomb[100..])], 1009);
        end_as(&[(0xc1, &deflate(&vec![b'\n'; 200_000]))], 1009);
        end_as(&[(0xc1, b"")], 1007);
        end_as(&[(0xc1, b"\xff")], 1007);
        end_as(&[(0xc1, &bomb[..50])], 1007);
        end_as(&[(0xc1, &deflate(b"SEND\ndestination:/topic/a\n\n\xff\0"))], 1007);
        end_as(&[(0x41, &deflate(b"a")), (0xc0, b"")], 1002);
        end_as(&[(0xc9, b"")], 1002);
        end_as(&[(0xa1, b"")], 1002);
        canary.publish("/topic/a", &json(2_000));
        check_size(&canary.expect("MESSAGE"), true);
    });
}
