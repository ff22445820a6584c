//! How a session begins, stays alive and ends: login, heart-beats, deadlines, drain, HTTP upgrade.
//!
//! STOMP 1.1 and 1.2 (Connecting, Heart-beating), RFC 6455 §4.2 (opening handshake), §5.5 (control
//! frames) and §7.4 (close codes). Heart-beat intervals are lowered by the configuration; the tests
//! wait for what must come and never measure how long it took.

use super::client::{ws_frame, Client, Event, Transport, TRANSPORTS};
use super::support::unless_held_up;
use super::{config, everywhere, on_every_server, start, TestServer};
use std::time::Duration;
use stompede::config::{Compression, Config};

fn login(client: &mut Client, headers: &str) {
    client.send(format!("CONNECT\naccept-version:1.2\nhost:/\n{headers}\n\0"));
}

/// Rows 14, 15 and 86: who is refused, always with the same words.
fn check_logins(server: &TestServer, transport: Transport) {
    let mut client = server.open(transport);
    login(&mut client, "login:ann\npasscode:right\n");
    assert_eq!(client.expect("CONNECTED").get("user-name"), "ann");
    client.sync();
    let mut bodies = Vec::new();
    for headers in [
        "login:ann\npasscode:wrong\n",
        "login:nobody\npasscode:right\n",
        "login:ann\n",
        "passcode:right\n",
        "",
    ] {
        let mut client = server.open(transport);
        login(&mut client, headers);
        let error = client.expect_error("Bad CONNECT", 1008);
        assert!(!error.text.contains("right") && !error.text.contains("ann"), "{error:?}");
        bodies.push(error.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "no answer tells which names exist");
}

#[test]
fn plain_logins() {
    let users = |config: &mut Config| config.users = vec![("ann".into(), "right".into())];
    on_every_server(users, |server| {
        for transport in TRANSPORTS {
            check_logins(server, transport);
        }
        server.wait_for_closed("login_failed", 10);
        let refused = "stompede_auth_total{method=\"connect\",result=\"refused\"}";
        server.wait_for_metric(refused, 10);
    });
}

#[test]
fn a_passcode_is_taken_literally() {
    // Row 22: CONNECT has no escapes in any version.
    let passcode = "a\\t\\c:\t\\";
    let users = |config: &mut Config| config.users = vec![("ann".into(), passcode.into())];
    on_every_server(users, |server| {
        for (transport, version) in TRANSPORTS.into_iter().zip(["1.1", "1.2"]) {
            let mut client = server.open(transport);
            let login = format!("login:ann\npasscode:{passcode}");
            client.send(format!("CONNECT\naccept-version:{version}\n{login}\n\n\0"));
            assert_eq!(client.expect("CONNECTED").get("user-name"), "ann");
        }
    });
}

#[test]
fn a_virtual_host_must_be_one_of_the_list() {
    // Row 12.
    let hosts = |config: &mut Config| config.virtual_hosts = vec!["/".into(), "mars".into()];
    on_every_server(hosts, |server| {
        for transport in TRANSPORTS {
            for (line, is_known) in
                [("host:mars\n", true), ("host:/\n", true), ("", true), ("host:venus\n", false)]
            {
                let mut client = server.open(transport);
                client.send(format!("CONNECT\naccept-version:1.2\n{line}\n\0"));
                if is_known {
                    client.expect("CONNECTED");
                } else {
                    let error = client.expect_error("Bad CONNECT", 1008);
                    assert!(error.body_text().starts_with("seen 'venus' in the header 'host'"));
                }
            }
        }
    });
}

#[test]
fn who_sends_no_login_is_the_default_user() {
    let change = |config: &mut Config| {
        config.users = vec![("ann".into(), "right".into())];
        config.default_user = Some("guest".to_owned());
        config.rules = vec!["deny user:guest publish /topic/news".to_owned()];
    };
    on_every_server(change, |server| {
        for transport in TRANSPORTS {
            for (headers, user) in [("", "guest"), ("login:ann\npasscode:right\n", "ann")] {
                let mut client = server.open(transport);
                login(&mut client, headers);
                assert_eq!(client.expect("CONNECTED").get("user-name"), user);
                client.publish("/topic/news", "x");
                match user {
                    "guest" => drop(client.expect_error("Access refused", 1008)),
                    _ => client.sync(),
                }
            }
            // Half a login is a wrong one.
            for headers in ["login:guest\n", "passcode:right\n"] {
                let mut client = server.open(transport);
                login(&mut client, headers);
                client.expect_error("Bad CONNECT", 1008);
            }
        }
    });
}

#[test]
fn logins_by_the_users_file() {
    let path = std::env::temp_dir().join(format!("stompede-users-{}", std::process::id()));
    let line = stompede::auth::hash_line("ann", "right").expect("a hash");
    std::fs::write(&path, format!("{line}\n")).expect("a users file");
    let server = start(Config { users_file: Some(path.clone()), ..config() }).expect("epoll");
    check_logins(&server, Transport::Tcp);
    // Frames behind a CONNECT that is being checked wait for it.
    let mut client = server.open(Transport::Ws);
    client.send(
        "CONNECT\naccept-version:1.2\nlogin:ann\npasscode:right\n\n\0\
         SEND\ndestination:/topic/a\nreceipt:r\n\n\0CONNECT\n\n\0",
    );
    assert_eq!(client.expect("CONNECTED").get("user-name"), "ann");
    client.expect("RECEIPT");
    client.expect_error("Already connected", 1002);
    std::fs::remove_file(path).expect("the file is ours");
}

/// Catalogue: J08, J09.
#[test]
fn a_user_name_cannot_carry_headers() {
    // Row 86: CONNECTED is not escaped. CR cannot be sent raw in 1.2, so 1.1.
    everywhere(|server, transport| {
        let mut client = server.open(transport);
        client.send("CONNECT\naccept-version:1.1\nlogin:a\rx\n\n\0");
        client.expect_error("Bad CONNECT", 1008);
    });
}

/// Catalogue: J13.
#[test]
fn sessions_are_told_apart_and_open_servers_name_nobody() {
    everywhere(|server, transport| {
        let mut first = server.open(transport);
        login(&mut first, "login:ann\npasscode:any\n");
        let first = first.expect("CONNECTED");
        let second = server.open(transport).connect("1.2");
        assert_ne!(first.get("session"), second.get("session"));
        assert!(first.get("server").starts_with("stompede/"));
        assert_eq!(first.header("user-name"), None);
    });
}

/// Catalogue: H12.
#[test]
fn heartbeats_are_mirrored_within_limits() {
    everywhere(|server, transport| {
        for (version, sent, answered) in [
            ("1.2", "0,0", "0,0"),
            ("1.2", "10000,20000", "20000,10000"),
            ("1.1", "1,0", "0,1000"),
            ("1.1", "500000,500000", "120000,120000"),
            ("1.0", "1000,1000", "0,0"),
        ] {
            let mut client = server.open(transport);
            client.send(format!("CONNECT\naccept-version:{version}\nheart-beat:{sent}\n\n\0"));
            assert_eq!(client.expect("CONNECTED").get("heart-beat"), answered);
        }
    });
}

/// Is a client told that it was silent for too long?
fn is_missed(event: &Event) -> bool {
    matches!(event, Event::Frame(frame) if frame.header("message") == Some("Heart-beat missed"))
}

fn fast(config: &mut Config) {
    config.heartbeat_min = Duration::from_millis(250);
}

/// Catalogue: H13, H14.
#[test]
fn the_server_beats_and_misses_a_silent_client() {
    on_every_server(fast, |server| {
        for transport in TRANSPORTS {
            let mut client = server.open(transport);
            login(&mut client, "heart-beat:0,250\n");
            client.expect("CONNECTED");
            for _ in 0..3 {
                assert_eq!(client.next(), Event::Beat);
            }
            let mut client = server.open(transport);
            login(&mut client, "heart-beat:250,0\n");
            client.expect("CONNECTED");
            client.expect_error("Heart-beat missed", 1008);
        }
        server.wait_for_closed("heartbeat_missed", 2);
        server.wait_for_metric("stompede_heartbeats_missed_total", 2);
    });
}

#[test]
fn a_pong_is_life() {
    on_every_server(fast, |server| {
        unless_held_up("a session that pongs keep", || {
            let mut client = server.open(Transport::Ws);
            login(&mut client, "heart-beat:250,0\n");
            client.expect("CONNECTED");
            // Without the pongs, the third ping would not come: the client would be missed before.
            for _ in 0..5 {
                let seen = client.next();
                if is_missed(&seen) {
                    return false;
                }
                assert_eq!(seen, Event::Ping);
                client.send_ws(0x8a, b"");
            }
            true
        });
    });
}

/// Catalogue: H11.
#[test]
fn beats_of_the_client_keep_it_and_may_stand_anywhere() {
    on_every_server(fast, |server| {
        for transport in TRANSPORTS {
            unless_held_up("a session that beats keep", || {
                let mut client = server.open(transport);
                login(&mut client, "heart-beat:250,250\n");
                client.expect("CONNECTED");
                // Our beats are paced by the server's: a silent client would be missed on the way.
                let mut beats = 0;
                while beats < 10 {
                    match client.next() {
                        Event::Beat => beats += 1,
                        seen if is_missed(&seen) => return false,
                        // Whoever was held up is asked whether he is there.
                        seen => assert_eq!(seen, Event::Ping),
                    }
                    client.send("\n");
                }
                client.send("\r\n\n\nSEND\ndestination:/topic/a\nreceipt:r\n\n\0\n\n");
                let seen = client.next_but_beats();
                let is_receipt = matches!(&seen, Event::Frame(frame) if frame.command == "RECEIPT");
                assert!(is_receipt || is_missed(&seen), "{seen:?}");
                is_receipt
            });
        }
    });
}

/// Catalogue: H18, J01.
#[test]
fn a_connect_that_does_not_come_and_one_that_drips() {
    // Rows 26 and 27: the deadline is absolute, bytes do not move it.
    let soon = |config: &mut Config| config.connect_deadline = Duration::from_millis(500);
    on_every_server(soon, |server| {
        for transport in TRANSPORTS {
            server.open(transport).expect_error("Login timeout", 1008);
            let mut client = server.open(transport);
            let (mut writer, beat) = (
                client.writer(),
                match transport {
                    Transport::Tcp => b"\n".to_vec(),
                    Transport::Ws => ws_frame(0x81, b"\n"),
                },
            );
            let drip = std::thread::spawn(move || {
                while writer.send(&beat) {
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            client.expect_error("Login timeout", 1008);
            client.finish();
            drip.join().expect("no panic");
        }
        server.wait_for_closed("handshake_timeout", 4);
    });
}

#[test]
fn e24_both_close_at_the_same_time() {
    let test = |server: &TestServer| {
        let mut clients: Vec<Client> = (0..20).map(|_| server.session(Transport::Ws)).collect();
        server.handle().drain();
        // The drain begins with a tick: some clients close before it and some behind it.
        for client in &mut clients {
            client.send_ws(0x88, &1_000_u16.to_be_bytes());
            std::thread::sleep(Duration::from_millis(20));
        }
        for client in &mut clients {
            let closed = client.next_but_beats();
            assert!(matches!(closed, Event::Closed(Some(1_000 | 1_001))), "{closed:?}");
            // One close frame, and nothing behind it.
            client.expect_end();
        }
    };
    on_every_server(|_| {}, test);
}

#[test]
fn e28_a_message_that_drips_is_ended() {
    let soon = |config: &mut Config| {
        config.message_rate_span = Duration::from_millis(500);
        config.compression = Compression::Shared;
    };
    on_every_server(soon, |server| {
        for transport in TRANSPORTS {
            let mut client = server.session(transport);
            client.send("SEND\ndestination:/topic/a\n\n");
            let mut writer = client.writer();
            let drop =
                if transport == Transport::Tcp { b"x".to_vec() } else { ws_frame(0x81, b"x") };
            let drip = std::thread::spawn(move || {
                while writer.send(&drop) {
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            client.expect_error("Frame too slow", 1008);
            client.finish();
            drip.join().expect("no panic");
        }
        // The same of a message of which the server knows nothing but that it is compressed.
        let mut client = Client::open_http(server.address(Transport::Ws));
        client.upgrade("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        client.connect("1.2");
        client.send_ws(0x41, b"begun");
        client.expect_error("Frame too slow", 1008);
        server.wait_for_closed("slow_message", 3);
        // Whoever has begun nothing may be silent.
        let mut client = server.session(Transport::Ws);
        std::thread::sleep(Duration::from_millis(1_000));
        client.sync();
    });
}

/// Catalogue: N01.
#[test]
fn a_drain_tells_everybody_and_ends() {
    on_every_server(
        |_| {},
        |server| {
            let mut tcp = server.session(Transport::Tcp);
            let mut ws = server.session(Transport::Ws);
            tcp.subscribe("s", "/topic/a", "");
            ws.subscribe("s", "/topic/a", "");
            let mut early = server.open(Transport::Tcp);
            // The kernel keeps who says nothing to itself for a second.
            server.wait_for_metric("stompede_connections", 3);
            server.handle().drain();
            assert_eq!(ws.next_but_beats(), Event::Closed(Some(1001)));
            ws.expect_end();
            tcp.expect_error("Server is shutting down", 0);
            early.expect_error("Server is shutting down", 0);
            // `on_every_server` waits for the end: no shard may be busy.
        },
    );
}

/// Catalogue: E27.
#[test]
fn the_end_of_the_stream() {
    // Row 74: half a frame, then the end: quiet; what was whole is handled.
    everywhere(|server, transport| {
        let mut other = server.session(transport);
        other.subscribe("s", "/topic/a", "");
        let mut client = server.session(transport);
        client.send("SEND\ndestination:/topic/a\n\nwhole\0SEND\ndestination:/topic/a\n\nha");
        client.finish();
        client.expect_end();
        assert_eq!(other.expect("MESSAGE").body_text(), "whole");
        other.publish("/topic/a", "end");
        assert_eq!(other.expect("MESSAGE").body_text(), "end");
        // Once for each transport so far.
        let count = 1 + TRANSPORTS.iter().position(|other| *other == transport).unwrap_or(0);
        server.wait_for_closed("peer_closed_mid_frame", count as u64);
    });
}

/// Catalogue: C16.
#[test]
fn the_websocket_upgrade() {
    everywhere(|server, transport| {
        if transport == Transport::Tcp {
            return;
        }
        let address = server.address(transport);
        let upgrade = |extra: &str| {
            // A fresh connection without the upgrade that `open` does.
            let mut client = Client::open_http(address);
            let head = client.upgrade(extra);
            (client, head.to_ascii_lowercase())
        };
        for (offered, chosen) in [
            ("v10.stomp, v12.stomp, v11.stomp", Some("v12.stomp")),
            ("v11.stomp", Some("v11.stomp")),
            ("stomp", Some("stomp")),
            // Row 84: unknown ones only: the upgrade without the header.
            ("mqtt, wss", None),
        ] {
            let (mut client, head) = upgrade(&format!("Sec-WebSocket-Protocol: {offered}\r\n"));
            assert!(head.starts_with("http/1.1 101 "), "{head}");
            let answer =
                head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
            assert_eq!(answer, chosen, "{offered}");
            // The sub-protocol is a label: `accept-version` alone decides.
            assert_eq!(client.connect("1.1").get("version"), "1.1");
        }
        // Row 85.
        let (_, head) = upgrade("Origin: https://evil.example\r\n");
        assert!(head.starts_with("http/1.1 403 "), "{head}");
        let (_, head) = upgrade("Origin: http://localhost\r\n");
        assert!(head.starts_with("http/1.1 101 "), "{head}");
    });
}

/// Catalogue: E01, E10, E14, E18.
#[test]
fn websocket_frames() {
    everywhere(|server, transport| {
        if transport == Transport::Tcp {
            return;
        }
        // Row 82: text that is not UTF-8.
        let mut client = server.session(transport);
        client.send_ws(0x81, b"SEND\ndestination:/topic/a\n\n\xff\0");
        assert_eq!(client.next_but_beats(), Event::Closed(Some(1007)));
        server.wait_for_closed("websocket_error", 1);
        // Row 83: fragments that never finish: too many of them, or too many bytes.
        let mut client = server.session(transport);
        client.send_ws(0x01, b"SEND\n");
        for _ in 0..200 {
            client.send_ws(0x00, b"x");
        }
        assert_eq!(client.next_but_beats(), Event::Closed(Some(1008)));
        let mut client = server.session(transport);
        client.send_ws(0x02, b"SEND\ndestination:/topic/a\n\n");
        for _ in 0..20 {
            client.send_ws(0x00, &[b'x'; 60_000]);
        }
        client.expect_error("Frame too large", 1009);
        // A frame over several messages, and a ping in between.
        let mut client = server.session(transport);
        client.subscribe("s", "/topic/a", "");
        client.send("SEND\ndestination:/top");
        client.send_ws(0x89, b"are you there?");
        assert_eq!(client.next(), Event::Pong(b"are you there?".to_vec()));
        client.send_ws(0x01, b"ic/a\n\nhal");
        client.send_ws(0x80, b"ves\0");
        assert_eq!(client.expect("MESSAGE").body_text(), "halves");
        // The closing handshake echoes the code.
        client.send_ws(0x88, &3_001_u16.to_be_bytes());
        assert_eq!(client.next_but_beats(), Event::Closed(Some(3_001)));
        client.expect_end();
        // A frame without mask.
        let mut client = server.session(transport);
        client.write(&[0x81, 1, b'\n']);
        assert_eq!(client.next_but_beats(), Event::Closed(Some(1002)));
    });
}
