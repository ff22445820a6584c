//! Several endpoints on one server, each with options of its own.

use crate::client::{config, exchange, request, start};

#[test]
fn every_endpoint_obeys_its_own_options() {
    let mut config = config(2);
    config.allowed_origins = vec!["https://all.example".to_owned()];
    config.sockjs_endpoints = vec![
        "/poll transports=xhr cookie payload-max=1KiB origins=https://own.example".to_owned(),
        "/beat heartbeat=100ms".to_owned(),
    ];
    let server = start(config);
    let info = |prefix: &str, origin: &str| {
        let lines = format!("Origin: {origin}\r\n");
        let mut answer =
            exchange(server.http_address, &request("GET", &format!("{prefix}/info"), &lines, ""));
        (answer.status, answer.body())
    };
    let (own, all) = ("https://own.example", "https://all.example");
    assert_eq!((info("/poll", all).0, info("/sockjs", own).0), (403, 403));
    let (status, body) = info("/poll", own);
    assert!(status == 200 && body.contains(r#""websocket":false"#), "{body}");
    assert!(body.contains(r#""cookie_needed":true"#), "{body}");
    let (status, body) = info("/sockjs", all);
    assert!(status == 200 && body.contains(r#""websocket":true"#), "{body}");
    assert!(body.contains(r#""cookie_needed":false"#), "{body}");

    let polled = server.session("/poll").open();
    assert_eq!(polled.post("xhr_streaming", "").status, 404);
    assert_eq!(polled.post("xhr_send", &format!("[\"{}\"]", "x".repeat(2_000))).status, 413);
    let elsewhere = server.session("/sockjs").open();
    assert_eq!(elsewhere.post("xhr_send", &format!("[\"{}\"]", " ".repeat(2_000))).status, 204);

    let mut beaten = server.session("/beat").stream();
    assert_eq!((beaten.chunk(), beaten.chunk()), ("o\n".to_owned(), "h\n".to_owned()));
    let mut socket = server.session("/beat").websocket();
    assert_eq!(socket.text(), "o");
    socket.send_text(r#"["CONNECT\naccept-version:1.2\nhost:a\n\n\u0000"]"#);
    assert!(socket.text().starts_with(r#"a["CONNECTED"#));
    assert_eq!(socket.text(), "h");
}

#[test]
fn longer_paths_come_first_and_upgrades_ask_their_endpoint() {
    let mut config = config(2);
    config.allowed_origins = vec!["https://all.example".to_owned()];
    config.sockjs_endpoints = vec![
        "/old transports=jsonp cookie origins=https://old.example response-max=1".to_owned(),
        "/sockjs/deep transports=xhr heartbeat=1h queue-max=64".to_owned(),
        "/any origins=*".to_owned(),
    ];
    let server = start(config);
    let ask = |text: &str| exchange(server.http_address, text);
    let opened = |path: &str| ask(&request("POST", &format!("{path}/0/x/xhr"), "", "")).status;
    assert_eq!((opened("/sockjs"), opened("/sockjs/deep"), opened("/old")), (200, 200, 404));
    let mut answer = ask(&request("GET", "/old/0/x/jsonp?c=f", "", ""));
    assert_eq!(answer.header("set-cookie"), Some("JSESSIONID=dummy; path=/"));
    assert_eq!(answer.body(), "/**/f(\"o\");\r\n");
    assert!(ask(&request("GET", "/old/info", "", "")).body().contains("\"websocket\":false"));
    // Each endpoint asks its own list, or the server's, for upgrades as for everything else.
    for (path, good, bad) in [
        ("/sockjs", "https://all.example", "https://old.example"),
        ("/sockjs/deep", "https://all.example", "https://old.example"),
        ("/old", "https://old.example", "https://all.example"),
    ] {
        for (origin, status) in [(good, 200), (bad, 403)] {
            let lines = format!("Origin: {origin}\r\n");
            assert_eq!(ask(&request("GET", &format!("{path}/info"), &lines, "")).status, status);
        }
    }
    let upgrade = |path: &str| {
        let lines = "Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: https://x.example\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).status
    };
    assert_eq!(upgrade("/any/websocket"), 101);
    assert_eq!(upgrade("/any/0/x/websocket"), 101);
    assert_eq!(upgrade("/sockjs/websocket"), 403);
}
