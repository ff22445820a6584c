//! Tests of the request head: one per row of the hostile-case table C, and splits.
//!
//! Kept out of `request.rs` for its length. Names start with the row of the table (C01, C04, ...)
//! they prove. What is refused is refused with 400, 414 or 431, and the property at the end says
//! that it makes no difference in what pieces a head arrives.

use super::*;
use proptest::prelude::*;

fn parse(input: &[u8]) -> Result<Option<(Request<'_>, usize)>, Error> {
    decode(input, &Limits::default())
}

fn error(input: impl AsRef<[u8]>) -> Error {
    parse(input.as_ref()).expect_err("must be refused")
}

/// A request with these lines after the request line and Host.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn a_browser_request_is_cut_into_its_parts() {
    let input = b"GET /ws/a%20b?x=1&y=2 HTTP/1.1\r\nHost: example.com:8080\r\nX-A:  one \r\n\
        x-a: two\r\n\r\nbody";
    let (request, used) = parse(input).unwrap().unwrap();
    assert_eq!(&input[used..], b"body");
    assert_eq!((request.method, request.path), ("GET", "/ws/a%20b"));
    assert_eq!((request.query, request.version), (Some("x=1&y=2"), Version::Http11));
    assert_eq!(request.header("x-A"), Some(&b"one"[..]));
    assert_eq!(request.headers_named("X-a").collect::<Vec<_>>(), [&b"one"[..], b"two"]);
    assert_eq!(request.header("none"), None);
    assert!(request.keep_alive && !request.is_chunked && request.content_length == 0);
}

#[test]
fn c01_garbage_and_other_protocols_are_refused() {
    assert_eq!(error(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Error::Http2Preface);
    assert_eq!(error(b"\x16\x03\x01\x02\x00"), Error::TlsOnPlainPort);
    assert_eq!(error(b"GET /\r\n\r\n").status(), 400);
    assert_eq!(error(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"), Error::Version);
    assert_eq!(error(b"\x00\x01\x02"), Error::ControlByte(0));
    assert_eq!(error(b"\r\n\r\nGET"), Error::RequestLine);
    // A STOMP client on the HTTP port.
    for command in ["CONNECT\r\n", "CONNECT\naccept-version:1.2\n\n\0", "STOMP\n", "\r\nSTOMP\n"] {
        assert_eq!(error(command), Error::StompOnHttpPort);
    }
    assert!(parse(b"CONNECT\r").unwrap().is_none());
    assert_eq!(error(b"CONNECTED\r\n"), Error::RequestLine);
    assert!(Error::StompOnHttpPort.to_string().contains("use the stomp port"));
    assert_eq!(Error::StompOnHttpPort.status(), 400);
}

#[test]
fn c04_c05_limits_are_checked_before_the_head_is_whole() {
    let line = format!("GET /{}", "a".repeat(5_000));
    assert_eq!(error(line).status(), 414);
    let header = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(9_000));
    assert_eq!(error(header), Error::HeadTooLong { seen: 9_028, limit: 8_192 });
    let many = "a:b\r\n".repeat(1_000);
    assert_eq!(error(with(&many)), Error::TooManyHeaders { seen: 65, limit: 64 });
    assert!(parse(with(&"a:b\r\n".repeat(63)).as_bytes()).unwrap().is_some());
    assert_eq!(error(with(&"a:b\r\n".repeat(64))).status(), 431);
}

#[test]
fn limits_are_exact() {
    let limits = Limits { http_request_line_bytes_max: 15, ..Limits::default() };
    assert!(decode(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", &limits).unwrap().is_some());
    let error = decode(b"GET /ab HTTP/1.1\r\nHost: a\r\n\r\n", &limits).unwrap_err();
    assert_eq!(error.status(), 414);
    let head = with("");
    let limits = Limits { http_head_bytes_max: head.len(), ..Limits::default() };
    assert!(decode(head.as_bytes(), &limits).unwrap().is_some());
    let limits = Limits { http_head_bytes_max: head.len() - 1, ..Limits::default() };
    assert_eq!(decode(head.as_bytes(), &limits).unwrap_err().status(), 431);
}

#[test]
fn c06_line_ends_folds_and_control_bytes_are_refused() {
    assert_eq!(error(b"GET / HTTP/1.1\nHost: a\n\n"), Error::BareLineFeed);
    assert_eq!(error(with("a: b\nc: d\r\n")), Error::BareLineFeed);
    assert_eq!(error(b"GET / HTTP/1.1\r\nHost: a\r\n\n"), Error::BareLineFeed);
    assert_eq!(error(with("a: b\rc\r\n")), Error::BareCarriageReturn);
    assert_eq!(error(with("a: b\r\n c\r\n")), Error::ObsoleteFold);
    assert_eq!(error(with("a: b\r\n\tc\r\n")), Error::ObsoleteFold);
    assert_eq!(error(with("a : b\r\n")), Error::HeaderLine);
    assert_eq!(error(with(": b\r\n")), Error::HeaderLine);
    assert_eq!(error(with("no colon\r\n")), Error::HeaderLine);
    for byte in (0..32u8).chain([127]).filter(|b| !b"\t\r\n".contains(b)) {
        let mut input = with("a: b?c\r\n").into_bytes();
        let place = input.iter().position(|&b| b == b'?').unwrap();
        input[place] = byte;
        assert_eq!(error(&input), Error::ControlByte(byte));
    }
    assert!(parse(with("a: b\tc\r\n").as_bytes()).unwrap().is_some());
    assert_eq!(error(b"GET /\t HTTP/1.1\r\n"), Error::ControlByte(9));
}

#[test]
fn c07_the_end_of_the_body_must_not_be_in_doubt() {
    let both = with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    assert_eq!(error(both), Error::LengthAndEncoding);
    let differ = with("Content-Length: 5\r\nContent-Length: 6\r\n");
    assert_eq!(error(differ), Error::ContentLengthRepeated);
    for bad in ["+5", "-5", "0x5", "5, 5", "", "5 5", "99999999999999999999"] {
        assert_eq!(error(with(&format!("Content-Length: {bad}\r\n"))), Error::ContentLength);
    }
    for bad in ["chunked, identity", "identity", "gzip, chunked", "xchunked", "chunked\x0b"] {
        let error = error(with(&format!("Transfer-Encoding: {bad}\r\n")));
        assert!(matches!(error, Error::TransferEncoding | Error::ControlByte(11)), "{bad}");
    }
    let twice = with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n");
    assert_eq!(error(twice), Error::TransferEncoding);
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(error(old), Error::TransferEncoding);
    let same = with("Content-Length: 5\r\nContent-Length: 5\r\n");
    assert_eq!(error(same), Error::ContentLengthRepeated);
    let one = with("Content-Length: 5\r\n");
    assert_eq!(parse(one.as_bytes()).unwrap().unwrap().0.content_length, 5);
    let chunked = with("Transfer-Encoding: Chunked\r\n");
    assert!(parse(chunked.as_bytes()).unwrap().unwrap().0.is_chunked);
}

#[test]
fn c09_exactly_one_valid_host() {
    assert_eq!(error(b"GET / HTTP/1.1\r\n\r\n"), Error::HostMissing);
    assert_eq!(error(with("host: a\r\n")), Error::HostRepeated);
    for bad in ["u@a", "a b", "", ":80", "a:b", "a:123456", "a/b", "[::1", "[]", "[::1]x", "a,b"] {
        let input = format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n");
        assert_eq!(error(input), Error::HostInvalid, "{bad}");
    }
    for good in ["a", "a.example.com:1", "127.0.0.1:80", "[::1]:80", "[::1]", "my_host", "a:"] {
        let input = format!("GET / HTTP/1.1\r\nHost: {good}\r\n\r\n");
        assert!(parse(input.as_bytes()).unwrap().is_some(), "{good}");
    }
    assert!(parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
}

#[test]
fn c19_targets_and_paths() {
    let bad = "* a /a#b /\u{e9} a:80 ftp://a/ http://u@a/ http:/// http://a:b/ http://a/#b :// ?x";
    for bad in bad.split(' ') {
        assert_eq!(error(format!("GET {bad} HTTP/1.1\r\nHost: a\r\n\r\n")), Error::Target, "{bad}");
    }
    assert_eq!(normalized_path("/a%20b/%C3%A9").as_deref(), Some("/a b/\u{e9}"));
    assert_eq!(normalized_path("/%252e%252e/").as_deref(), Some("/%2e%2e/"));
    assert_eq!(normalized_path("/..a/b..").as_deref(), Some("/..a/b.."));
    let bad =
        "/.. /a/../b /%2e%2e/b /ws/..;/admin /a%2f..%2fb /%00 /%0a /a\\b /%5c /%c0%af /% /%4 \
        /%+1 /%zz /%ff ws";
    for path in bad.split(' ') {
        assert_eq!(normalized_path(path), None, "{path}");
    }
}

#[test]
fn an_absolute_target_names_the_host() {
    let of = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    for (target, host, path, query) in [
        ("http://b.example:81/x?y", "b.example:81", "/x", Some("y")),
        ("HTTPS://b", "b", "/", None),
        ("http://[::1]?y", "[::1]", "/", Some("y")),
        ("/x?u=http://c/", "a", "/x", Some("u=http://c/")),
    ] {
        let head = of(target);
        let request = parse(head.as_bytes()).unwrap().unwrap().0;
        assert_eq!(request.host(), Some(host.as_bytes()), "{target}");
        assert_eq!((request.path, request.query), (path, query), "{target}");
    }
    let asterisk = parse(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap().0;
    assert_eq!((asterisk.path, asterisk.authority), ("*", None));
}

#[test]
fn c26_the_only_expectation_is_100_continue() {
    let expects =
        |lines: &str| parse(with(lines).as_bytes()).map(|r| r.unwrap().0.expects_continue);
    assert_eq!(expects("Expect: 100-Continue\r\n"), Ok(true));
    assert_eq!(expects(""), Ok(false));
    assert_eq!(expects("Expect: 100-continue, x\r\n"), Err(Error::Expectation));
    assert_eq!(Error::Expectation.status(), 417);
    let old = b"POST / HTTP/1.0\r\nExpect: x\r\n\r\n";
    assert!(!parse(old).unwrap().unwrap().0.expects_continue);
}

#[test]
fn keep_alive_follows_version_and_connection() {
    let keep = |version: &str, connection: &str| {
        let input = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n");
        parse(input.as_bytes()).unwrap().unwrap().0.keep_alive
    };
    assert!(keep("1.1", "Upgrade") && !keep("1.1", "x, Close") && !keep("1.1", "keep-alive,close"));
    assert!(!keep("1.0", "x") && keep("1.0", "Keep-Alive"));
}

#[test]
fn one_empty_line_before_the_request_is_skipped() {
    let input = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(parse(input).unwrap().unwrap().1, input.len());
    assert!(parse(b"").unwrap().is_none() && parse(b"\r").unwrap().is_none());
}

proptest! {
    /// Feeding byte by byte ends in the same result as feeding at once.
    /// Catalogue: C01.
    #[test]
    fn growing_input_gives_the_same_result(
        lines in proptest::collection::vec(
            "[ -~\t\r\n\0]{0,12}|a: b|Host: a|Content-Length: 3", 0..6),
        request_line in "GET /[a-z?#]{0,20} HTTP/1\\.[01]|[ -~]{0,30}|PRI \\* HTTP/2.0",
    ) {
        let input = format!("{request_line}\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes();
        let limits = Limits { http_request_line_bytes_max: 28, http_head_bytes_max: 70,
            http_headers_count_max: 4, ..Limits::default() };
        let whole = decode(&input, &limits);
        let grown = (0..=input.len()).map(|n| decode(&input[..n], &limits))
            .find(|result| !matches!(result, Ok(None))).unwrap_or(Ok(None));
        match (&whole, &grown) {
            (Err(a), Err(b)) => {
                prop_assert_eq!(std::mem::discriminant(a), std::mem::discriminant(b));
            }
            _ => prop_assert_eq!(&whole, &grown),
        }
    }

    /// Catalogue: C01, C06.
    #[test]
    fn no_bytes_make_it_panic(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&input);
        let _ = normalized_path(&String::from_utf8_lossy(&input));
    }
}
