//! The upgrade to WebSocket and the login with it.

use crate::client::{config, drivers, refused, start, Answer, Client};
use crate::support::{masked, TEXT, UPGRADE};
use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use stompede::config::Config;
use stompede::Handle;

fn upgrade(lines: &str) -> String {
    format!("GET /ws HTTP/1.1\r\nHost: a\r\n{UPGRADE}{lines}\r\n")
}

fn basic(login: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(login))
}

/// The payload of the next frame.
fn payload(client: &mut Client) -> String {
    String::from_utf8_lossy(&client.frame().1).into_owned()
}

/// What an upgrade with these lines and then a CONNECT with those is answered with.
fn connect(server: &Handle, lines: &str, connect_lines: &str) -> String {
    let mut client = Client::connect(server.http_address);
    let connect = format!("CONNECT\naccept-version:1.2\nhost:a\n{connect_lines}\n\0");
    // All at once: the frame waits for the password's hash too.
    client.send([upgrade(lines).into_bytes(), masked(TEXT, connect.as_bytes())].concat());
    assert_eq!(client.answer(false).status, 101);
    payload(&mut client)
}

#[test]
fn c13_c14_426_says_what_is_needed() {
    let server = start(config());
    for lines in ["", "Upgrade: h2c\r\n", "Upgrade: websocket\r\nConnection: Upgrade\r\n"] {
        let request = format!("GET /ws HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let answer = refused(server.http_address, request);
        assert_eq!(answer.status, 426);
        assert_eq!(answer.header("upgrade"), Some("websocket"));
        assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    }
}

#[test]
fn c15_after_a_refused_upgrade_nothing_is_read_as_a_request() {
    let server = start(config());
    let next = "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n";
    let wrong_path = upgrade("").replace("/ws", "/other") + next;
    assert_eq!(refused(server.http_address, wrong_path).status, 404);
    let with_body = upgrade("Content-Length: 3\r\n") + "abc" + next;
    assert_eq!(refused(server.http_address, with_body).status, 400);
    let origin = upgrade("Origin: http://evil.example\r\n") + next;
    assert_eq!(refused(server.http_address, origin).status, 403);
}

#[test]
fn c15_frames_sent_ahead_are_kept_however_the_head_is_cut() {
    for io in drivers() {
        let server = start(Config { io, ..config() });
        let mut client = Client::connect(server.http_address);
        let connect = masked(TEXT, b"CONNECT\naccept-version:1.2\nhost:a\n\n\0");
        let bytes = [upgrade("").into_bytes(), connect].concat();
        let (first, second) = bytes.split_at(bytes.len() - 60);
        client.send(&first[..100]);
        client.send(&first[100..]);
        client.send(&second[..50]);
        client.send(&second[50..]);
        assert_eq!(client.answer(false).status, 101);
        assert!(payload(&mut client).starts_with("CONNECTED\n"));
    }
}

#[test]
fn a_strict_server_names_the_subprotocols_it_knows() {
    let server = start(Config { strict_subprotocol: true, ..config() });
    for lines in ["", "Sec-WebSocket-Protocol: mqtt\r\n"] {
        let answer = refused(server.http_address, upgrade(lines));
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("v12.stomp, v11.stomp, v10.stomp"), "{}", answer.text());
    }
    let mut client = Client::connect(server.http_address);
    client.send(upgrade("Sec-WebSocket-Protocol: mqtt, v11.stomp\r\n"));
    let answer = client.answer(false);
    assert_eq!(answer.header("sec-websocket-protocol"), Some("v11.stomp"));
}

#[test]
fn basic_with_a_plain_password() {
    for io in drivers() {
        let users = vec![("ann".to_owned(), "secret".to_owned())];
        check_basic(&start(Config { io, users, ..config() }));
    }
}

/// Catalogue: J11.
#[test]
fn basic_with_a_hash_that_another_thread_computes() {
    let path = std::env::temp_dir().join(format!("stompede-http-users-{}", std::process::id()));
    let line = stompede::auth::hash_line("ann", "secret").expect("hashed");
    std::fs::write(&path, line + "\n").expect("written");
    let server = start(Config { users_file: Some(path.clone()), ..config() });
    std::fs::remove_file(&path).expect("removed");
    check_basic(&server);
}

/// `ann` with `secret` may log in.
fn check_basic(server: &Handle) {
    let right = basic("ann:secret");
    let connected = connect(server, &right, "");
    assert!(connected.starts_with("CONNECTED\n") && connected.contains("user-name:ann\n"));
    assert!(connect(server, &right, "login:ann\npasscode:secret\n").starts_with("CONNECTED\n"));
    // A login in CONNECT wins, for better or worse.
    assert!(connect(server, &right, "login:ann\npasscode:x\n").starts_with("ERROR\n"));
    // Without the header everything is as before.
    assert!(connect(server, "", "").starts_with("ERROR\n"));
    assert!(connect(server, "", "login:ann\npasscode:secret\n").starts_with("CONNECTED\n"));
    let is_challenge = |answer: Answer| {
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"stompede\""));
    };
    for login in ["ann:x", "bob:secret", "ann", ""] {
        is_challenge(refused(server.http_address, upgrade(&basic(login))));
    }
    let other = upgrade("Authorization: Bearer x\r\n");
    is_challenge(refused(server.http_address, other));
    let two = upgrade(&format!("{right}{right}"));
    assert_eq!(refused(server.http_address, two).status, 400);
}

#[test]
fn basic_means_nothing_where_everybody_may_log_in() {
    let server = start(config());
    assert!(connect(&server, &basic("ann:x"), "").starts_with("CONNECTED\n"));
}
