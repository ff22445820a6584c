//! Requests, well formed and not.

use crate::client::{config, drivers, refused, start, Client};
use std::time::Duration;
use stompede::config::Config;

#[test]
fn a_page_and_its_variants() {
    for io in drivers() {
        let server = start(Config { io, ..config() });
        let mut client = Client::connect(server.http_address);
        let page = client.get("/", "");
        assert_eq!((page.status, page.header("connection")), (200, Some("keep-alive")));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert!(page.text().contains("<html"));
        let head = client.request("HEAD /", "");
        assert_eq!(head.header("content-length"), page.header("content-length"));
        assert_eq!(client.get("/", "If-None-Match: *\r\n").status, 304);
        let part = client.get("/demo.js", "Range: bytes=1-3\r\n");
        assert_eq!((part.status, part.body.len()), (206, 3));
        assert_eq!(client.get("http://other.example/?x", "").status, 200);
        let missing = client.get("/missing", "");
        assert_eq!(missing.status, 404);
        assert!(missing.text().contains("/ws"));
        assert_eq!(client.get("/", "Connection: close\r\n").status, 200);
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn c01_b02_d01_what_is_not_http_1() {
    let server = start(config());
    for bytes in ["GET /\r\n\r\n", "\0\0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/3.0\r\n"]
    {
        assert_eq!(refused(server.http_address, bytes).status, 400, "{bytes:?}");
    }
    let mut tls = Client::connect(server.http_address);
    tls.send(b"\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03");
    assert_eq!(tls.rest(), b"");
    let counted = "protocol_errors_total{protocol=\"http\",kind=\"malformed\"} 5\n";
    assert!(Client::connect(server.admin_address.expect("is on"))
        .get("/metrics", "")
        .text()
        .contains(counted));
}

#[test]
fn c02_methods_and_options() {
    let server = start(config());
    let mut client = Client::connect(server.http_address);
    let answer = client.request("DELETE /", "");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    for (target, allow) in
        [("*", "GET, HEAD, OPTIONS"), ("/x", "GET, HEAD, OPTIONS"), ("/ws", "GET, OPTIONS")]
    {
        let answer = client.request(&format!("OPTIONS {target}"), "");
        assert_eq!((answer.status, answer.header("allow")), (204, Some(allow)));
    }
    let head = client.request("HEAD /ws", "");
    assert_eq!((head.status, head.header("content-length")), (405, Some("0")));
    assert_eq!(client.request("OPTIONS *", "").status, 204);
    let head = client.request("HEAD /../x", "");
    assert_eq!((head.status, client.rest().len()), (400, 0));
    let answer = refused(server.http_address, "POST /ws HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, OPTIONS")));
}

#[test]
fn c03_http_1_0_closes_unless_asked_not_to() {
    let server = start(config());
    assert_eq!(refused(server.http_address, "GET / HTTP/1.0\r\n\r\n").status, 200);
    let mut client = Client::connect(server.http_address);
    for _ in 0..2 {
        client.send("GET /missing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.answer(false).header("connection"), Some("keep-alive"));
    }
}

#[test]
fn c04_c05_c07_c09_c19_refusals_end_the_connection() {
    let server = start(config());
    let long_line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(5_000));
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}", "a".repeat(9_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(100));
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (bytes, status) in [
        (long_line, 414),
        (long_head, 431),
        (many, 431),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (with("Host: b\r\n"), 400),
        (with("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n" + next, 400),
        (with("Content-Length: 4\r\nContent-Length: 4\r\n") + "abcd" + next, 400),
        (with("Content-Length: +4\r\n") + "abcd" + next, 400),
        (with("Transfer-Encoding: xchunked\r\n") + "0\r\n\r\n" + next, 400),
        (with("Transfer-Encoding: chunked\r\n") + "0x1\r\na\r\n0\r\n\r\n" + next, 400),
        (with("Transfer-Encoding: chunked\r\n") + "1\r\nab\r\n0\r\n\r\n" + next, 400),
        (with("Transfer-Encoding: chunked\r\n") + "10001\r\n", 413),
        (with("Content-Length: 65537\r\n"), 413),
        (with("Expect: 200-ok\r\n"), 417),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
    ] {
        assert_eq!(refused(server.http_address, &bytes).status, status, "{bytes}");
    }
}

#[test]
fn c26_bodies_are_read_and_dropped() {
    let server = start(config());
    let mut client = Client::connect(server.http_address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer(false).status, 100);
    client.send("GET /");
    assert_eq!(client.answer(false).status, 405);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab");
    client.send("c\r\n0\r\nt: u\r\n\r\nGET /missing HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((client.answer(false).status, client.answer(false).status), (405, 404));
    let body = "GET / HTTP/1.1\r\n".repeat(4_000);
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(body);
    assert_eq!((client.answer(false).status, client.get("/x", "").status), (200, 404));
}

#[test]
fn c25_pipelined_requests_are_answered_in_order_up_to_the_last() {
    for io in drivers() {
        let mut config = Config { io, ..config() };
        config.limits.http_requests_count_max = 300;
        let server = start(config);
        let mut client = Client::connect(server.http_address);
        let mut sender = client.writer();
        // More bytes of answers than may wait: the server stops reading until they are taken.
        let requests = std::thread::spawn(move || {
            for number in 0..302 {
                let path = if number % 2 == 0 { "demo.js" } else { "missing" };
                sender.send(format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            }
        });
        for number in 0..=300 {
            let answer = client.answer(false);
            assert_eq!(answer.status, if number % 2 == 0 { 200 } else { 404 });
            let connection = if number < 300 { "keep-alive" } else { "close" };
            assert_eq!(answer.header("connection"), Some(connection), "{number}");
        }
        assert_eq!(client.rest(), b"");
        requests.join().expect("sent");
    }
}

#[test]
fn a_head_in_pieces_is_one_head() {
    let server = start(config());
    let mut client = Client::connect(server.http_address);
    for byte in b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.answer(false).status, 404);
}

#[test]
fn a01_a11_deadlines() {
    let server = start(Config { handshake_deadline: Duration::from_millis(300), ..config() });
    let mut silent = Client::connect(server.http_address);
    let mut slow = Client::connect(server.http_address);
    slow.send("GET / HTTP/1.1\r\n");
    let mut slow_body = Client::connect(server.http_address);
    slow_body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    let mut idle = Client::connect(server.http_address);
    assert_eq!(idle.get("/missing", "").status, 404);
    // Silence gets no answer, a piece of a request does.
    assert_eq!(silent.rest(), b"");
    assert_eq!((slow.answer(false).status, slow.rest().len()), (408, 0));
    assert_eq!(slow_body.answer(false).status, 408);
    // Between requests the longer time for idle connections counts, and then again the deadline.
    assert_eq!(idle.get("/missing", "").status, 404);
    idle.send("G");
    assert_eq!(idle.answer(false).status, 408);
}

#[test]
fn a08_a_half_close_still_gets_its_answer() {
    let server = start(config());
    let mut client = Client::connect(server.http_address);
    client.send("GET /demo.js HTTP/1.1\r\nHost: a\r\n\r\n");
    client.end_sending();
    assert_eq!(client.answer(false).status, 200);
    assert_eq!(client.rest(), b"");
}
