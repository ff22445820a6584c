//! Clients that mean harm, or are broken.

use crate::client::{config, exchange, masked, request, start, until, SHARDS};

/// Catalogue: G04.
#[test]
fn sends_to_sessions_that_are_not_ones_own_are_unknown() {
    for shards in SHARDS {
        let server = start(config(shards));
        let session = server.session("/echo");
        let sent = session.post("xhr_send", r#"["x"]"#);
        assert_eq!(sent.status, 404);
        // The same name below another endpoint is another session.
        let session = session.open();
        let other = session.base.replacen("/echo", "/broadcast", 1);
        let sent = request("POST", &format!("{other}/xhr_send"), "", r#"["x"]"#);
        assert_eq!(exchange(server.http_address, &sent).status, 404);
        // A WebSocket session is in no table.
        let socket = server.session("/echo");
        let mut stream = socket.websocket();
        assert_eq!(stream.text(), "o");
        assert_eq!(socket.post("xhr_send", r#"["x"]"#).status, 404);
    }
}

/// Catalogue: G13.
#[test]
fn broken_payloads_are_refused_and_the_session_survives() {
    let server = start(config(4));
    let session = server.session("/echo").open();
    let nested = "[".repeat(60_000);
    let bodies = [
        ("", "Payload expected."),
        ("{}", "Payload expected."),
        ("[\"x", "Broken JSON encoding."),
        ("[1]", "Broken JSON encoding."),
        ("[\"\\ud800\"]", "Broken JSON encoding."),
        ("[\"x\"]x", "Broken JSON encoding."),
        (&nested, "Broken JSON encoding."),
    ];
    for (body, expected) in bodies {
        let mut answer = session.post("xhr_send", body);
        assert_eq!((answer.status, &*answer.body()), (500, expected), "{body:.20}");
    }
    session.send(r#"["alive"]"#);
    assert_eq!(session.poll(), r#"a["alive"]"#);
}

/// Catalogue: G13.
#[test]
fn large_bodies_are_bounded_before_they_come() {
    let mut config = config(2);
    config.limits.sockjs_payload_bytes_max = 100_000;
    let server = start(config);
    let session = server.session("/echo").open();
    let most = format!("[\"{}\"]", "x".repeat(100_000 - 4));
    session.send(&most);
    assert_eq!(session.poll(), format!("a{most}"));
    let path = format!("{}/xhr_send", session.base);
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n");
    assert_eq!(exchange(server.http_address, &head).status, 413);
    let many = format!("[{}]", vec!["\"\""; 5_000].join(","));
    assert_eq!(session.post("xhr_send", &many).status, 413);
}

/// Catalogue: G10, G11.
#[test]
fn callbacks_with_script_are_refused() {
    let server = start(config(1));
    let session = server.session("/echo");
    for path in ["jsonp", "htmlfile"] {
        for callback in ["alert(1)", "%3Cscript%3E", "a%0d%0aX:y", ""] {
            let mut answer = session.get(&format!("{path}?c={callback}"));
            assert_eq!(answer.status, 500);
            assert_eq!(answer.body(), "invalid \"callback\" parameter");
        }
        assert_eq!(session.get(path).body(), "\"callback\" parameter required");
    }
}

/// Catalogue: G17, J15.
#[test]
fn foreign_origins_are_refused() {
    let mut config = config(2);
    config.allowed_origins = vec!["https://good.example".to_owned()];
    let server = start(config);
    for (origin, status) in
        [("https://evil.example", 403), ("null", 403), ("https://good.example", 200)]
    {
        let lines = format!("Origin: {origin}\r\n");
        for (method, path) in [("GET", "/sockjs/info"), ("POST", "/sockjs/0/abc/xhr")] {
            let mut answer = exchange(server.http_address, &request(method, path, &lines, ""));
            assert_eq!(answer.status, status, "{origin} {path}");
            let allowed = answer.header("access-control-allow-origin").map(str::to_owned);
            assert_eq!(allowed.is_some(), status == 200);
            answer.body();
        }
    }
}

/// Catalogue: K02.
#[test]
fn who_does_not_read_is_bounded_and_ended() {
    for shards in SHARDS {
        let server = start(config(shards));
        let session = server.session("/amplify");
        let mut stream = session.stream();
        assert_eq!(stream.chunk(), "o\n");
        // 256 KiB for each message: more than sockets and queue hold together.
        let mut is_ended = false;
        for _ in 0..200 {
            if session.post("xhr_send", r#"["18"]"#).status != 204 {
                is_ended = true;
                break;
            }
            is_ended = server.sum(shards, |m| m.slow_consumers.get()) == 1;
            if is_ended {
                break;
            }
        }
        assert!(is_ended);
        assert_eq!(server.sum(shards, |m| m.slow_consumers.get()), 1);
    }
}

/// Catalogue: G03, G15.
#[test]
fn sessions_that_are_left_are_gone() {
    for shards in SHARDS {
        let mut config = config(shards);
        config.sockjs.disconnect_delay_ms = 500;
        config.sockjs.tombstone_ms = 500;
        let server = start(config);
        // 20 connections, each opens 500 sessions.
        for connection in 0..20 {
            let open = |index| {
                let path = format!("/sockjs/000/left{connection}-{index}/xhr");
                request("POST", &path, "", "")
            };
            let mut answer = exchange(server.http_address, &open(0));
            assert_eq!(answer.body(), "o\n");
            for index in 1..500 {
                answer = answer.next(&open(index));
                assert_eq!(answer.body(), "o\n");
            }
        }
        assert_eq!(server.sum(shards, |m| m.sockjs_sessions_opened.get()), 10_000);
        until("empty tables", || server.sum(shards, |m| m.sockjs_sessions.get()) == 0);
        until("no connections", || server.sum(shards, |m| m.connections.get()) == 0);
        assert_eq!(server.sum(shards, |m| m.sockjs_waiting_bytes.get()), 0);
    }
}

/// Catalogue: G03.
#[test]
fn more_sessions_than_allowed_are_refused() {
    let mut config = config(1);
    config.sockjs_sessions_max = 2;
    let server = start(config);
    let first = server.session("/echo").open();
    let _second = server.session("/echo").open();
    let mut third = server.session("/echo").post("xhr", "");
    assert_eq!((third.status, &*third.body()), (503, "Too many sessions."));
    let mut stream = server.session("/echo").post("xhr_streaming", "");
    assert_eq!((stream.status, &*stream.body()), (503, "Too many sessions."));
    first.send(r#"["x"]"#);
    assert_eq!(first.poll(), r#"a["x"]"#);
}

#[test]
fn sessions_that_are_only_remembered_shut_nobody_out() {
    let mut config = config(1);
    config.sockjs_sessions_max = 2;
    config.sockjs.disconnect_delay_ms = 250;
    config.sockjs.tombstone_ms = 3_600_000;
    let server = start(config);
    for _ in 0..10 {
        let session = server.session("/echo");
        until("room", || session.post("xhr", "").status == 200);
    }
    assert!(server.sum(1, |m| m.sockjs_sessions.get()) <= 4);
}

#[test]
fn bytes_behind_a_waiting_request_are_bounded() {
    let server = start(config(2));
    let session = server.session("/echo");
    let mut stream = session.stream();
    assert_eq!(stream.chunk(), "o\n");
    // Not a request, and never looked at while the stream is open.
    for _ in 0..100 {
        stream.send(&masked(&"x".repeat(1_000)));
    }
    session.send(r#"["x"]"#);
    assert_eq!(stream.chunk(), "a[\"x\"]\n");
}
