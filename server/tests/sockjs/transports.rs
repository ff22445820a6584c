//! What each transport and each page answers (reference: protocol, transport by transport).

use crate::client::{config, exchange, request, start, upgrade, SHARDS};
use crate::support::{masked, BINARY, CLOSE};

#[test]
fn every_transport_opens_echoes_and_wraps() {
    for shards in SHARDS {
        let server = start(config(shards));
        let polled = server.session("/echo").open();
        polled.send(r#"["a","b"]"#);
        assert_eq!(polled.poll(), r#"a["a","b"]"#);

        let streamed = server.session("/echo");
        let mut stream = streamed.stream();
        assert_eq!(stream.chunk(), "o\n");
        streamed.send(r#"["a"]"#);
        assert_eq!(stream.chunk(), "a[\"a\"]\n");

        let events = server.session("/echo");
        let mut stream = events.get("eventsource");
        assert_eq!(stream.header("content-type"), Some("text/event-stream"));
        assert_eq!((stream.chunk(), stream.chunk()), ("\r\n".into(), "data: o\r\n\r\n".into()));
        events.send(r#"["100%"]"#);
        assert_eq!(stream.chunk(), "data: a[\"100%25\"]\r\n\r\n");

        let page = server.session("/echo");
        let mut stream = page.get("htmlfile?c=cb");
        assert!(stream.chunk().contains("parent.cb;"));
        assert_eq!(stream.chunk(), "<script>\np(\"o\");\n</script>\r\n");
        page.send(r#"["</script>"]"#);
        assert_eq!(stream.chunk(), "<script>\np(\"a[\\\"<\\/script>\\\"]\");\n</script>\r\n");

        let script = server.session("/echo");
        assert_eq!(script.get("jsonp?c=cb").body(), "/**/cb(\"o\");\r\n");
        let lines = "Content-Type: application/x-www-form-urlencoded\r\n";
        let path = format!("{}/jsonp_send", script.base);
        let send = request("POST", &path, lines, "d=%5B%22x%22%5D");
        assert_eq!(exchange(server.http_address, &send).body(), "ok");
        assert_eq!(script.get("jsonp?c=cb").body(), "/**/cb(\"a[\\\"x\\\"]\");\r\n");
    }
}

#[test]
fn a_websocket_carries_frames_and_a_raw_one_messages() {
    let server = start(config(2));
    let mut socket = server.session("/echo").websocket();
    assert_eq!((socket.status, socket.text()), (101, "o".into()));
    for (sent, echoed) in [(r#"["a","b"]"#, &["a", "b"][..]), (r#""c""#, &["c"]), ("[]", &[])] {
        socket.send_text(sent);
        for text in echoed {
            assert_eq!(socket.text(), format!("a[\"{text}\"]"));
        }
    }
    socket.send_text("[\"a");
    assert_eq!(socket.line.frame(), (CLOSE, b"\x0b\xb8Broken framing.".to_vec()));

    let mut socket = server.session("/close").websocket();
    assert_eq!((socket.text(), socket.text()), ("o".into(), r#"c[3000,"Go away!"]"#.into()));
    assert_eq!(socket.line.frame(), (CLOSE, b"\x03\xe8Normal closure".to_vec()));

    let mut socket = upgrade(server.http_address, "/close/websocket");
    assert_eq!(socket.line.frame(), (CLOSE, b"\x0b\xb8Go away!".to_vec()));
    let mut socket = upgrade(server.http_address, "/echo/websocket");
    socket.send_text("plain");
    assert_eq!(socket.text(), "plain");
}

/// Catalogue: G22.
#[test]
fn bytes_are_for_raw_websockets_alone() {
    let server = start(config(2));
    let mut raw = upgrade(server.http_address, "/echo/websocket");
    raw.send(&masked(BINARY, b"\xff\0"));
    assert_eq!(raw.line.frame(), (BINARY, b"\xff\0".to_vec()));
    let whole = masked(BINARY, br#"["a"]"#);
    let pieces = [masked(BINARY & 0x7f, b"[\"a"), masked(0x80, b"\"]")].concat();
    for prefix in ["/echo", "/sockjs"] {
        for frames in [&whole, &pieces, &masked(BINARY, b"")] {
            let mut socket = server.session(prefix).websocket();
            assert_eq!(socket.text(), "o");
            socket.send(frames);
            let (first, payload) = socket.line.frame();
            assert_eq!((first, &payload[..]), (CLOSE, &b"\x03\xebText expected."[..]), "{prefix}");
        }
    }
    assert_eq!(server.sum(2, |m| m.handler_messages_received.get()), 1);
}

#[test]
fn two_websockets_of_one_name_are_two_sessions() {
    let server = start(config(2));
    let session = server.session("/echo");
    let mut sockets = [session.websocket(), session.websocket()];
    for (index, socket) in sockets.iter_mut().enumerate() {
        assert_eq!(socket.text(), "o");
        socket.send_text(&format!("[\"{index}\"]"));
    }
    for (index, socket) in sockets.iter_mut().enumerate() {
        assert_eq!(socket.text(), format!("a[\"{index}\"]"));
    }
    // And neither is the one that polls.
    assert_eq!(session.poll(), "o");
}

#[test]
fn a_connection_carries_poll_after_poll() {
    let server = start(config(4));
    let session = server.session("/close");
    let poll = request("POST", &format!("{}/xhr", session.base), "", "");
    let mut answer = exchange(server.http_address, &poll);
    assert_eq!(answer.body(), "o\n");
    for _ in 0..5 {
        answer = answer.next(&poll);
        assert_eq!(answer.body(), "c[3000,\"Go away!\"]\n");
    }
    // Requests that come behind one that waits are answered in order.
    let greeting = request("GET", "/close/", "", "");
    answer = answer.next(&format!("{poll}{greeting}{poll}"));
    assert_eq!(answer.body(), "c[3000,\"Go away!\"]\n");
    answer = answer.next("");
    assert_eq!(answer.body(), "Welcome to SockJS!\n");
    assert_eq!(answer.next("").body(), "c[3000,\"Go away!\"]\n");
}

/// Catalogue: G17, G18.
#[test]
fn pages_methods_and_cors() {
    let server = start(config(2));
    let ask = |text: &str| exchange(server.http_address, text);
    for prefix in ["/sockjs", "/echo"] {
        let mut info = ask(&request("GET", &format!("{prefix}/info"), "Origin: null\r\n", ""));
        assert_eq!(info.header("access-control-allow-origin"), Some("null"));
        assert!(info.header("cache-control").is_some_and(|value| value.starts_with("no-store")));
        assert!(info.body().contains("\"websocket\":true"));
        assert_eq!(ask(&request("GET", prefix, "", "")).body(), "Welcome to SockJS!\n");
        let wrong = ask(&request("POST", &format!("{prefix}/info"), "", ""));
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some("OPTIONS, GET")));
        assert_eq!(ask(&request("GET", &format!("{prefix}/a/a/"), "", "")).status, 404);
    }
    let lines = "Origin: http://b\r\nAccess-Control-Request-Headers: x-a\r\n";
    let preflight = ask(&request("OPTIONS", "/sockjs/0/x/xhr", lines, ""));
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-a"));
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
    assert!(preflight.header("expires").is_some());
    // Off unless switched on, for STOMP.
    for path in ["/sockjs/iframe.html", "/sockjs/0/x/jsonp?c=a", "/sockjs/0/x/htmlfile?c=a"] {
        assert_eq!(ask(&request("GET", path, "", "")).status, 404, "{path}");
    }
    let tag = ask(&request("GET", "/echo/iframe.html", "", "")).header("etag").map(str::to_owned);
    let lines = format!("If-None-Match: {}\r\n", tag.expect("a tag"));
    assert_eq!(ask(&request("GET", "/echo/iframe.html", &lines, "")).status, 304);
    assert_eq!(ask(&request("GET", "/echo/0/x/websocket", "", "")).status, 400);
    assert_eq!(upgrade(server.http_address, "/disabled_websocket_echo/websocket").status, 404);
    let cookie = ask(&request("OPTIONS", "/cookie_needed_echo/0/x/xhr", "", ""));
    assert_eq!(cookie.header("set-cookie"), Some("JSESSIONID=dummy; path=/"));
}
