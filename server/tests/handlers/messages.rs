//! Messages: whole, in order, of any size and cut, and what a handler knows of its session.

use crate::client::{everywhere, Client};
use crate::support::{config, masked, Running, BINARY, CLOSE, PING, PONG, TEXT};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::channel;
use stompede::config::Config;
use stompede::handler::{Handler, Message, Session};
use stompede::{services, Server};

fn echo(config: Config) -> Running {
    Running::of(services::register(Server::builder(config)))
}

/// Catalogue: E26.
#[test]
fn text_and_bytes_come_back() {
    everywhere(|config| {
        let server = echo(config);
        for path in ["/echo", "/echo/websocket", "/echo?x=1"] {
            let mut client = Client::open(server.http_address, path);
            client.send_frame(TEXT, "grüß\u{ffff}".as_bytes());
            client.send_frame(BINARY, b"\xff\x00");
            client.send_frame(TEXT, b"");
            client.expect(TEXT, "grüß\u{ffff}".as_bytes());
            client.expect(BINARY, b"\xff\x00");
            client.expect(TEXT, b"");
        }
    });
}

#[test]
fn a_message_at_the_limit_comes_back_and_one_above_is_refused() {
    everywhere(|mut config| {
        let limit = config.limits.ws_message_bytes_max as usize;
        // It fits only because nothing else waits.
        config.outbound_bytes_max = limit / 2;
        let server = echo(config);
        let mut client = Client::open(server.http_address, "/echo");
        let payload: Vec<u8> = (0..limit).map(|at| (at % 251) as u8).collect();
        // Two at once, and a small one behind them: an echo never makes a client too slow.
        let mut writer = client.writer();
        let frames = [masked(BINARY, &payload), masked(BINARY, &payload), masked(TEXT, b"end")];
        let sender = std::thread::spawn(move || writer.send(frames.concat()));
        client.expect(BINARY, &payload);
        client.expect(BINARY, &payload);
        client.expect(TEXT, b"end");
        sender.join().expect("all is sent");
        client.send(&masked(BINARY, &vec![0; limit + 1])[..64]);
        assert!(client.expect_close(1009).contains("limit is 1048576"));
    });
}

#[test]
fn fragments_are_one_message_and_control_frames_come_between() {
    everywhere(|config| {
        let server = echo(config);
        let mut client = Client::open(server.http_address, "/echo");
        let text = "aé€\u{10348}";
        let cut = 2;
        client.send_frame(TEXT & 0x7f, &text.as_bytes()[..cut]);
        client.send_frame(PING, b"now");
        client.send_frame(0x00, &[]);
        client.send_frame(0x00, &text.as_bytes()[cut..6]);
        client.send_frame(0x80, &text.as_bytes()[6..]);
        client.expect(PONG, b"now");
        client.expect(TEXT, text.as_bytes());
        // Byte by byte.
        for byte in masked(BINARY, b"slow") {
            client.send([byte]);
        }
        client.expect(BINARY, b"slow");
        client.send_frame(TEXT & 0x7f, b"\xe2");
        client.send_frame(0x80, b"\x28");
        client.expect_close(1007);
    });
}

#[test]
fn many_messages_keep_their_order() {
    everywhere(|config| {
        let server = echo(config);
        let mut client = Client::open(server.http_address, "/echo");
        let number = |n: usize| format!("{n}{}", "-".repeat(n % 700)).into_bytes();
        let frames: Vec<u8> = (0..5_000).flat_map(|n| masked(TEXT, &number(n))).collect();
        let mut writer = client.writer();
        let sender = std::thread::spawn(move || writer.send(&frames));
        for n in 0..5_000 {
            client.expect(TEXT, &number(n));
        }
        sender.join().expect("all is sent");
    });
}

/// Not `Send`: it never leaves its shard.
struct Teller {
    opened: Rc<Cell<u32>>,
}

impl Handler for Teller {
    fn on_open(&mut self, session: &mut Session<'_>) {
        self.opened.set(self.opened.get() + 1);
        let (room, name) = (session.param("room"), session.param("name"));
        let text = format!(
            "{room:?} {name:?} {:?} {} {} {:?} {}",
            session.param("other"),
            session.path(),
            session.query(),
            session.user(),
            session.peer(),
        );
        session.send(text.as_str()).expect("is open");
        assert!(session.waiting_bytes() > text.len());
    }

    fn on_message(&mut self, session: &mut Session<'_>, _: Message<'_>) {
        let _ = session.send(self.opened.get().to_string().as_str());
    }
}

#[test]
fn a_handler_knows_path_query_and_peer() {
    everywhere(|config| {
        let (made, makes) = channel();
        let shards = config.shards;
        let builder = Server::builder(config).endpoint("/rooms/{room}/{name}", move |shard| {
            made.send(shard).expect("the test listens");
            Teller { opened: Rc::default() }
        });
        let server = Running::of(builder);
        let mut client = Client::open(server.http_address, "/rooms/a%20b/%C3%BC?x=%20");
        let text = r#"Some("a b") Some("ü") None /rooms/a%20b/%C3%BC x=%20 None 127.0.0.1"#;
        client.expect(TEXT, text.as_bytes());
        client.send_frame(TEXT, b"?");
        client.expect(TEXT, b"1");
        let mut seen: Vec<usize> = makes.iter().take(shards).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..shards).collect::<Vec<_>>(), "one handler for each shard");
        for path in ["/rooms/a", "/rooms/a/b/c", "/rooms/a/%ff", "/room/a/b"] {
            let (_, status) = Client::ask(server.http_address, path, "");
            assert!(matches!(status, 400 | 404), "{path}: {status}");
        }
    });
}

#[test]
fn the_login_of_the_upgrade_is_checked_and_told() {
    everywhere(|config| {
        let users = vec![("ann".to_owned(), "secret".to_owned())];
        let builder = Server::builder(Config { users, strict_subprotocol: true, ..config })
            .endpoint("/rooms/{room}/{name}", |_| Teller { opened: Rc::default() });
        let server = Running::of(builder);
        let ask = |login| Client::ask(server.http_address, "/rooms/a/b", login);
        let (mut client, status) = ask("Authorization: Basic YW5uOnNlY3JldA==\r\n");
        assert_eq!(status, 101);
        let text = r#"Some("a") Some("b") None /rooms/a/b  Some("ann") 127.0.0.1"#;
        client.expect(TEXT, text.as_bytes());
        assert_eq!(ask("Authorization: Basic YW5uOndyb25n\r\n").1, 401);
        assert_eq!(ask("Origin: http://evil.example\r\n").1, 403);
    });
}

#[test]
fn an_endpoint_and_stomp_live_side_by_side() {
    everywhere(|config| {
        let server = echo(config);
        let mut client = Client::open(server.http_address, "/ws");
        client.send_frame(TEXT, b"CONNECT\naccept-version:1.2\nhost:a\n\n\0");
        assert!(client.frame().1.starts_with(b"CONNECTED\n"));
        client.send_frame(CLOSE, &1000u16.to_be_bytes());
        client.expect_close(1000);
    });
}

#[test]
fn a_wrong_endpoint_stops_the_start() {
    let nothing = |_| Teller { opened: Rc::default() };
    for (first, second, named) in [("/a/{x}", "/a/{y}", "twice"), ("/a", "/ws", "STOMP's")] {
        let builder = Server::builder(config(1)).endpoint(first, nothing).endpoint(second, nothing);
        let error = builder.start().err().expect("does not start");
        assert!(error.contains(named) && error.contains(second), "{error}");
    }
}
