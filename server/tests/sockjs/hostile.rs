//! Clients that mean harm, or are broken.

use crate::client::{config, exchange, request, start, SHARDS};
use crate::support::{anywhere, until};

/// A log-in, a subscription and a message to it.
const STOMP: &str = concat!(
    r#"["CONNECT\naccept-version:1.2\nhost:a\n\n\u0000","#,
    r#""SUBSCRIBE\nid:s\ndestination:/topic/left\n\n\u0000","#,
    r#""SEND\ndestination:/topic/left\n\nx\u0000"]"#,
);

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

/// Catalogue: G10, G11.
#[test]
fn callbacks_with_script_are_refused() {
    let server = start(config(2));
    let session = server.session("/echo");
    let long = "x".repeat(33);
    let bad = [
        "alert(1)",
        "%3Cscript%3E",
        "<script>",
        "a%0d%0aX:y",
        "a%0a",
        "",
        "%",
        "%4",
        "%zz",
        "a%00",
        "a+b",
        "a%20b",
        "a;b",
        "a=b",
        "a[0]",
        "a`b`",
        "%C3%A9",
        "%e2%80%a8",
        "a%2528",
        &long,
        "a'b",
        "a\\u0028",
        "%253Cscript",
        "a/*",
        "a\"b",
        "c=d",
        "%2e%2e%2f",
    ];
    for path in ["jsonp", "htmlfile"] {
        for callback in bad {
            let mut answer = session.get(&format!("{path}?c={callback}"));
            let kind = answer.header("content-type").map(str::to_owned);
            assert_eq!(
                (answer.status, &*kind.expect("a type")),
                (500, "text/plain; charset=UTF-8")
            );
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.body(), "invalid \"callback\" parameter", "{callback}");
        }
        for query in ["", "?", "?C=f", "?cc=f", "?x=c=f"] {
            let mut answer = session.get(&format!("{path}{query}"));
            assert_eq!(answer.status, 500);
            assert_eq!(answer.body(), "\"callback\" parameter required", "{query}");
        }
    }
    // None of them has opened a session.
    assert_eq!(session.post("xhr_send", "[]").status, 404);
    for good in ["c=%66", "callback=f", "x=1&c=f&c=<script>"] {
        let mut answer = server.session("/echo").get(&format!("jsonp?{good}"));
        assert_eq!(answer.body(), "/**/f(\"o\");\r\n", "{good}");
    }
}

/// A request is split neither by what it names nor by what is echoed of it.
/// Catalogue: C28.
#[test]
fn line_ends_in_fields_and_names_end_nothing() {
    let server = start(config(2));
    let path = |name: &str| format!("/cookie_needed_echo/0/{name}/xhr");
    for lines in [
        "Origin: http://a\rSet-Cookie: x=y\r\n",
        "Origin: http://a\nSet-Cookie: x=y\r\n",
        "Origin: http://a\r\n Set-Cookie: x=y\r\n",
        "Cookie: JSESSIONID=a\0\r\n",
        "Access-Control-Request-Headers: a\rX: y\r\n",
    ] {
        let answer = exchange(server.http_address, &request("POST", &path("split"), lines, ""));
        assert_eq!((answer.status, answer.header("set-cookie")), (400, None), "{lines:?}");
    }
    // Escaped ones are characters like any other, and go nowhere decoded.
    let lines = "Origin: http://a%0d%0aX:y\r\nCookie: JSESSIONID=a%0d%0aX:y\r\n";
    let answer = exchange(server.http_address, &request("POST", &path("a%0d%0aX:y"), lines, ""));
    assert_eq!((answer.status, answer.header("X")), (200, None));
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://a%0d%0aX:y"));
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

/// Every tenth speaks STOMP and has subscribed and published, every hundredth is a stream that
/// breaks off with its connection. Catalogue: G03, G15.
#[test]
fn ten_thousand_sessions_opened_and_left_leave_nothing() {
    for shards in [2, 4, 8] {
        let mut config = config(shards);
        config.admin_listen = Some(anywhere());
        config.sockjs.disconnect_delay_ms = 2_000;
        config.sockjs.tombstone_ms = 500;
        let server = start(config);
        for connection in 0..20 {
            let mut answer = exchange(server.http_address, &request("GET", "/echo", "", ""));
            answer.body();
            for index in 0..500 {
                let prefix = if index % 2 == 0 { "/sockjs" } else { "/echo" };
                let path = format!("{prefix}/000/left{connection}-{index}");
                let ask =
                    |name: &str, body: &str| request("POST", &format!("{path}/{name}"), "", body);
                if index % 100 == 99 {
                    let mut stream = exchange(server.http_address, &ask("xhr_streaming", ""));
                    assert_eq!((stream.chunk().len(), stream.chunk()), (2_049, "o\n".to_owned()));
                    continue;
                }
                answer = answer.next(&ask("xhr", ""));
                assert_eq!((answer.status, &*answer.body()), (200, "o\n"));
                if index % 10 == 0 {
                    answer = answer.next(&ask("xhr_send", STOMP));
                    assert_eq!(answer.status, 204);
                }
            }
        }
        assert_eq!(server.metric("stompede_sockjs_sessions_opened_total"), 10_000);
        let gauges = [
            "sockjs_sessions",
            "sockjs_waiting_bytes",
            "connections",
            "subscriptions",
            "outbound_bytes",
            "input_bytes",
            "mesh_overflow",
            "queues",
        ];
        for gauge in gauges {
            let series = format!("stompede_{gauge}");
            until(gauge, || server.metric(&series) == 0);
        }
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
        stream.send_text(&"x".repeat(1_000));
    }
    session.send(r#"["x"]"#);
    assert_eq!(stream.chunk(), "a[\"x\"]\n");
}
