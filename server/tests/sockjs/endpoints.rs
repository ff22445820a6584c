//! Several endpoints on one server, each with options of its own.

use crate::client::{config, exchange, masked, request, start};

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
    socket.send(&masked(r#"["CONNECT\naccept-version:1.2\nhost:a\n\n\u0000"]"#));
    assert!(socket.text().starts_with(r#"a["CONNECTED"#));
    assert_eq!(socket.text(), "h");
}
