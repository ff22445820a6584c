//! The admin listener.

use crate::client::{config, refused, start, Client};
use crate::support::unless_held_up;

fn get(server: &stompede::Handle, request: &str, lines: &str) -> crate::client::Answer {
    let address = server.admin_address.expect("is on");
    refused(address, format!("{request} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
}

#[test]
fn metrics_in_the_format_that_is_asked_for() {
    let server = start(config());
    let open =
        get(&server, "GET /metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(open.header("content-type").is_some_and(|kind| kind.contains("openmetrics")));
    assert!(open.text().ends_with("# EOF\n"));
    for accept in ["", "Accept: */*\r\n", "Accept: application/openmetrics-text;q=0\r\n"] {
        let plain = get(&server, "GET /metrics", accept);
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        assert_eq!(plain.header("content-type"), Some(kind));
        assert!(plain.text().contains("# TYPE stompede_handshakes_total counter\n"));
        assert!(!plain.text().contains("# EOF"));
    }
}

#[test]
fn health_methods_and_wrong_paths() {
    let server = start(config());
    assert_eq!(get(&server, "GET /health/live", "").text(), "live\n");
    assert_eq!(get(&server, "GET /health/ready?x", "").status, 200);
    let missing = get(&server, "GET /ws", "");
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("/metrics"));
    let post = get(&server, "POST /metrics", "Content-Length: 1\r\n");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(get(&server, "GET /a\n", "").status, 400);
    let mut client = Client::connect(server.admin_address.expect("is on"));
    let head = client.request("HEAD /metrics", "");
    assert_eq!(head.status, 200);
    assert!(head.header("content-length").is_some_and(|length| length != "0"));
    assert_eq!(client.rest(), b"");
}

#[test]
fn slow_clients_hold_up_nobody() {
    let server = start(config());
    let address = server.admin_address.expect("is on");
    let mut slow: Vec<Client> = Vec::new();
    for _ in 0..stompede::admin::CONNECTIONS_COUNT_MAX - 1 {
        let mut client = Client::connect(address);
        client.send("GET /met");
        slow.push(client);
    }
    assert_eq!(get(&server, "GET /health/live", "").status, 200);
    // Past their deadline all are let go, unanswered.
    for client in &mut slow {
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn one_client_more_than_allowed_is_told_so() {
    let server = start(config());
    let address = server.admin_address.expect("is on");
    unless_held_up("a refusal", || {
        let connect = |_| Client::connect(address);
        let _many: Vec<Client> = (0..stompede::admin::CONNECTIONS_COUNT_MAX).map(connect).collect();
        let mut refused = Client::connect(address);
        // Past the deadline of the first there is room for one more, who is let go unanswered.
        if !refused.fill() {
            return false;
        }
        let answer = refused.answer(false);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        true
    });
}
