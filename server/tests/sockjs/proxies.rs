//! Behind proxies: what they change, what they add and what they reuse (reference: protocol, HTTP
//! rules; complaints about proxies and sticky sessions).

use crate::client::{config, exchange, request, start, Answer, SHARDS};
use crate::support::Line;

fn post(path: &str, lines: &str) -> String {
    request("POST", path, lines, "")
}

/// Catalogue: C21.
#[test]
fn what_a_proxy_says_of_the_client_is_not_believed() {
    let forged = "X-Forwarded-For: 10.0.0.9\r\nX-Real-IP: 10.0.0.9\r\nForwarded: for=10.0.0.9;\
        host=evil.example;proto=https\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: \
        https\r\nX-Original-URL: /echo\r\nX-HTTP-Method-Override: GET\r\n";
    let mut config = config(2);
    config.allowed_origins.clear();
    config.sockjs_sessions_per_ip_max = 2;
    let server = start(config);
    let info = |lines: &str| {
        let lines = format!("{lines}{forged}");
        exchange(server.http_address, &request("GET", "/echo/info", &lines, "")).status
    };
    // Only `Host` says what the own origin is, and only the request line what is asked.
    assert_eq!(info("Origin: http://a\r\n"), 200);
    assert_eq!(info("Origin: http://evil.example\r\n"), 403);
    assert_eq!(info("Origin: https://evil.example\r\n"), 403);
    // Each address of the header is this one.
    let mut statuses = Vec::new();
    for client in 0..3 {
        let lines = forged.replace("10.0.0.9", &format!("10.0.0.{client}"));
        let poll = post(&format!("/echo/0/forged{client}/xhr"), &lines);
        statuses.push(exchange(server.http_address, &poll).status);
    }
    assert_eq!(statuses, [200, 200, 503]);
}

/// Catalogue: C21.
#[test]
fn behind_a_trusted_proxy_each_client_has_its_own_sessions() {
    let mut config = config(2);
    config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    config.sockjs_sessions_per_ip_max = 2;
    let server = start(config);
    // One connection for all of them, as proxies do.
    let mut kept = Some(exchange(server.http_address, &request("GET", "/echo", "", "")));
    let mut count = 0;
    let mut open = |client: &str| {
        let lines = format!("X-Forwarded-For: 6.6.6.6, {client}\r\n");
        count += 1;
        let poll = post(&format!("/echo/0/behind{count}/xhr"), &lines);
        let mut answer = kept.take().expect("is there");
        answer.body();
        kept.insert(answer.next(&poll)).status
    };
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        let statuses = [client; 3].map(&mut open);
        assert_eq!(statuses, [200, 200, 503], "{client}");
    }
    // A /64 is one client, and a mapped address the IPv4 address that it is.
    assert_eq!(["2001:db8::2", "::ffff:192.0.2.1"].map(&mut open), [503, 503]);
}

#[test]
fn polls_of_http_1_0_keep_their_connection_only_if_asked_to() {
    for shards in SHARDS {
        let server = start(config(shards));
        let session = server.session("/echo");
        let ask = |path: &str, lines: &str, body: &str| {
            let length = body.len();
            let path = format!("{}/{path}", session.base);
            format!("POST {path} HTTP/1.0\r\n{lines}Content-Length: {length}\r\n\r\n{body}")
        };
        let keep = "Connection: keep-alive\r\n";
        let mut answer =
            exchange(server.http_address, &ask("xhr", "Connection: Keep-Alive\r\n", ""));
        assert_eq!(answer.body(), "o\n");
        for (request, status, body) in [
            (ask("xhr_send", keep, "[\"x\"]"), 204, ""),
            (ask("xhr", keep, ""), 200, "a[\"x\"]\n"),
            (ask("xhr_send", keep, "["), 500, "Broken JSON encoding."),
            (ask("xhr_send", "", "[\"y\"]"), 204, ""),
        ] {
            let fields = ["connection", "transfer-encoding"].map(|name| answer.header(name));
            assert_eq!(fields, [Some("keep-alive"), None]);
            answer = answer.next(&request);
            assert_eq!((answer.status, &*answer.body()), (status, body));
        }
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.line.rest(), b"");
        let mut last = exchange(server.http_address, &ask("xhr", "", ""));
        assert_eq!(last.header("connection"), Some("close"));
        assert_eq!(last.line.rest(), b"a[\"y\"]\n");
    }
}

#[test]
fn streams_of_http_1_0_are_raw_whatever_was_asked_and_end_with_the_connection() {
    let server = start(config(2));
    let streams = [
        ("POST", "xhr_streaming", "h\no\nc[3000,\"Go away!\"]\n"),
        ("GET", "eventsource", "\r\ndata: o\r\n\r\ndata: c[3000,\"Go away!\"]\r\n\r\n"),
        ("GET", "htmlfile?c=f", "<script>\np(\"c[3000,\\\"Go away!\\\"]\");\n</script>\r\n"),
    ];
    for (method, transport, end) in streams {
        for lines in ["", "Connection: keep-alive\r\n"] {
            let path = format!("{}/{transport}", server.session("/close").base);
            let text = format!("{method} {path} HTTP/1.0\r\n{lines}\r\n");
            let mut answer = exchange(server.http_address, &text);
            let fields = ["connection", "transfer-encoding", "content-length"];
            let fields = fields.map(|name| answer.header(name));
            assert_eq!(fields, [Some("close"), None, None], "{transport}");
            let body = String::from_utf8(answer.line.rest()).expect("text");
            assert!(body.ends_with(end), "{transport}: {body}");
        }
    }
}

#[test]
fn streams_ask_not_to_be_buffered_and_polls_have_a_length() {
    let server = start(config(2));
    for (method, transport, is_stream) in [
        ("POST", "xhr_streaming", true),
        ("GET", "eventsource", true),
        ("GET", "htmlfile?c=f", true),
        ("POST", "xhr", false),
        ("GET", "jsonp?c=f", false),
    ] {
        let path = format!("{}/{transport}", server.session("/echo").base);
        let lines = "Accept-Encoding: gzip, br\r\nTE: trailers\r\n";
        let answer = exchange(server.http_address, &request(method, &path, lines, ""));
        let yes = |value| is_stream.then_some(value);
        assert_eq!(answer.header("x-accel-buffering"), yes("no"), "{transport}");
        assert_eq!(answer.header("transfer-encoding"), yes("chunked"), "{transport}");
        assert_eq!(answer.header("content-length").is_none(), is_stream, "{transport}");
        assert_eq!(answer.header("content-encoding"), None, "{transport}");
        assert_eq!(answer.header("connection"), Some("keep-alive"), "{transport}");
    }
}

/// Catalogue: C26.
#[test]
fn who_expects_a_100_gets_it_before_its_answer_and_only_then() {
    for shards in SHARDS {
        let server = start(config(shards));
        let session = server.session("/echo").open();
        let path = format!("{}/xhr_send", session.base);
        let head = |expect: &str, version: &str| {
            format!(
                "POST {path} HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\
                Expect: {expect}\r\nContent-Length: 5\r\n\r\n"
            )
        };
        let mut answer = exchange(server.http_address, &head("100-continue", "1.1"));
        assert_eq!(answer.status, 100);
        answer = answer.next("[\"a\"]");
        assert_eq!(answer.status, 204);
        // The body is there already: the 100 would come too late.
        answer = answer.next(&format!("{}[\"b\"]", head("100-Continue", "1.1")));
        assert_eq!(answer.status, 204);
        // RFC 9110 §10.1.1: "MUST ignore that expectation".
        answer.send(head("100-continue", "1.0").as_bytes());
        answer = answer.next("[\"c\"]");
        assert_eq!(answer.status, 204);
        assert_eq!(session.poll(), r#"a["a","b","c"]"#);
        assert_eq!(answer.next(&head("fries", "1.1")).status, 417);
    }
}

/// The next answers on a connection are these, in this order.
fn expect_all(mut answer: Answer, expected: &[(u16, &str)]) -> Answer {
    for (index, (status, body)) in expected.iter().enumerate() {
        if index > 0 {
            answer = answer.next("");
        }
        assert_eq!((answer.status, &*answer.body()), (*status, *body), "answer {index}");
    }
    answer
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    for shards in SHARDS {
        let server = start(config(shards));
        for round in 0..10 {
            let path = |name: &str| format!("/echo/000/ahead{shards}-{round}/{name}");
            let send = |text: &str| request("POST", &path("xhr_send"), "", text);
            let all = [
                post(&path("xhr"), ""),
                send("[\"a\"]"),
                send("[\"b\"]"),
                post(&path("xhr"), ""),
                request("GET", "/echo", "", ""),
                send("["),
                request("OPTIONS", &path("xhr"), "", ""),
                request("GET", "/echo/none", "", ""),
                send("[\"c\"]"),
                post(&path("xhr"), "Connection: close\r\n"),
                // Behind the last: never answered.
                send("[\"d\"]"),
            ];
            let answer = exchange(server.http_address, &all.concat());
            let mut answer = expect_all(
                answer,
                &[
                    (200, "o\n"),
                    (204, ""),
                    (204, ""),
                    (200, "a[\"a\",\"b\"]\n"),
                    (200, "Welcome to SockJS!\n"),
                    (500, "Broken JSON encoding."),
                    (204, ""),
                    (404, "404 Error: Page not found\n"),
                    (204, ""),
                    (200, "a[\"c\"]\n"),
                ],
            );
            while answer.line.fill() {}
            assert_eq!(answer.line.unread(), b"");
        }
    }
}

/// A proxy's connection carries anybody's requests.
#[test]
fn one_connection_serves_many_sessions_and_one_session_many_connections() {
    for shards in SHARDS {
        let server = start(config(shards));
        let path = |index: usize, name: &str| format!("/echo/0/many{shards}-{index}/{name}");
        let mut lines: Vec<_> = (0..3)
            .map(|_| exchange(server.http_address, &request("GET", "/echo", "", "")))
            .map(|mut answer| {
                answer.body();
                Some(answer)
            })
            .collect();
        let mut turn = 0;
        let mut ask = |text: String, status: u16, body: &str| {
            turn += 1;
            let slot = turn % lines.len();
            let mut answer = lines[slot].take().expect("is there").next(&text);
            assert_eq!((answer.status, &*answer.body()), (status, body));
            lines[slot] = Some(answer);
        };
        for index in 0..20 {
            ask(post(&path(index, "xhr"), ""), 200, "o\n");
        }
        for round in 0..3 {
            for index in 0..20 {
                let text = format!("[\"{index}.{round}\"]");
                ask(request("POST", &path(index, "xhr_send"), "", &text), 204, "");
            }
            for index in (0..20).rev() {
                ask(post(&path(index, "xhr"), ""), 200, &format!("a[\"{index}.{round}\"]\n"));
            }
        }
    }
}

/// A stream that ended by its limit leaves a connection like any other.
#[test]
fn a_connection_is_used_again_behind_a_stream() {
    for shards in SHARDS {
        let server = start(config(shards));
        let session = server.session("/echo");
        let mut stream = session.stream();
        assert_eq!(stream.chunk(), "o\n");
        let long = format!("[\"{}\"]", "x".repeat(5_000));
        session.send(&long);
        assert_eq!(stream.chunk(), format!("a{long}\n"));
        assert_eq!(stream.chunk(), "");
        let other = server.session("/echo");
        let mut answer = stream.next(&post(&format!("{}/xhr", other.base), ""));
        assert_eq!(answer.body(), "o\n");
        let mut answer = answer.next(&post(&format!("{}/xhr_streaming", session.base), ""));
        assert_eq!((answer.chunk().len(), answer.status), (2049, 200));
        session.send("[\"y\"]");
        assert_eq!(answer.chunk(), "a[\"y\"]\n");
    }
}

/// RFC 9112 §3.2.2: "a server MUST accept the absolute-form in requests".
#[test]
fn a_target_may_be_absolute_and_then_its_host_counts() {
    let mut config = config(2);
    config.allowed_origins.clear();
    let server = start(config);
    let base = "http://front.example:81/echo/000/absolute";
    let ask = |text: &str| exchange(server.http_address, text);
    assert_eq!(ask(&post(&format!("{base}/xhr?x"), "")).body(), "o\n");
    let sent = request("POST", &format!("{base}/xhr_send"), "", "[\"x\"]");
    assert_eq!(ask(&sent.replacen("http:", "HTTPS:", 1)).status, 204);
    assert_eq!(ask(&post("/echo/000/absolute/xhr", "")).body(), "a[\"x\"]\n");
    let info = |origin: &str| {
        let lines = format!("Origin: {origin}\r\n");
        ask(&request("GET", "http://front.example:81/echo/info", &lines, "")).status
    };
    assert_eq!((info("http://front.example:81"), info("http://a")), (200, 403));
    for target in ["ftp://a/echo/info", "http://u@a/echo/info", "http:///echo/info", "echo/info"] {
        assert_eq!(ask(&request("GET", target, "", "")).status, 400, "{target}");
    }
    let options = ask(&request("OPTIONS", "*", "", ""));
    assert_eq!(options.status, 204);
}

/// Who still waits has left with its half (see `receivers`); what was to be answered at once is,
/// also where it had to cross shards, and it is done as if nothing had been.
/// Catalogue: A08.
#[test]
fn whoever_ends_its_half_behind_a_request_gets_the_answer() {
    for shards in SHARDS {
        let server = start(config(shards));
        for _ in 0..5 {
            let session = server.session("/echo");
            let path = |name: &str| format!("{}/{name}", session.base);
            for (text, status, body) in [
                (post(&path("xhr"), ""), 200, "o\n"),
                (request("POST", &path("xhr_send"), "", "[\"x\"]"), 204, ""),
                (request("GET", "/echo", "", ""), 200, "Welcome to SockJS!\n"),
                (post(&path("xhr"), ""), 200, "a[\"x\"]\n"),
                (request("POST", &path("xhr_send"), "", "[\"y\"]"), 204, ""),
            ] {
                let mut line = Line::connect(server.http_address);
                line.send(text);
                line.end_sending();
                assert_eq!(line.head().status, status);
                assert_eq!(line.rest(), body.as_bytes());
            }
            assert_eq!(session.poll(), r#"a["y"]"#);
        }
    }
}
