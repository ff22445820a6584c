//! HTTP: request heads and bodies in any cut, smuggling rules checked again from the raw bytes,
//! and everything that reads a field: handshake, origins, preconditions, dates, paths.

use crate::source::{cuts, Source};
use std::net::IpAddr;
use stompede_core::http::body::{Body, Piece};
use stompede_core::http::conditional::{evaluate, Outcome, Validators};
use stompede_core::http::error::Error;
use stompede_core::http::forwarded::{self, ClientHeader};
use stompede_core::http::origin::OriginPolicy;
use stompede_core::http::request::{decode, normalized_path, Request, Version};
use stompede_core::http::{date, response};
use stompede_core::limits::Limits;
use stompede_core::ws::handshake;

/// The first byte chooses a request, or a body whose head is given.
pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    match source.below(4) {
        0 | 1 => request(source.rest(), &Limits::default()),
        2 => request(source.rest(), &small_limits()),
        _ => body_of(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", source),
    }
}

fn small_limits() -> Limits {
    Limits {
        http_request_line_bytes_max: 30,
        http_head_bytes_max: 90,
        http_headers_count_max: 4,
        http_body_bytes_max: 10,
        ..Limits::default()
    }
}

fn request(input: &[u8], limits: &Limits) {
    let whole = decode(input, limits);
    for cut in cuts(input) {
        match (decode(&input[..cut], limits), &whole) {
            (Ok(None), _) => {}
            (Err(early), Err(late)) => {
                // The sooner the less is known of a number in it.
                assert_eq!(std::mem::discriminant(&early), std::mem::discriminant(late));
            }
            (early, late) => assert_eq!(&early, late, "cut at {cut}"),
        }
    }
    let Ok(Some((request, head_bytes))) = &whole else { return };
    let (head, rest) = input.split_at(*head_bytes);
    check_head(head, request, limits);
    read_fields(request);
    if let Ok(body) = Body::new(request, limits) {
        check_body(&body, rest, limits);
    }
}

/// What must be true of the bytes of a head that was taken.
fn check_head(head: &[u8], request: &Request<'_>, limits: &Limits) {
    assert!(head.ends_with(b"\r\n\r\n"));
    let text = head.strip_prefix(b"\r\n").unwrap_or(head);
    let lines: Vec<&[u8]> = text[..text.len() - 4].split(|&byte| byte == b'\n').collect();
    for (number, line) in lines.iter().enumerate() {
        let line = match number + 1 == lines.len() {
            true => line,
            false => line.strip_suffix(b"\r").expect("no line ends in LF alone"),
        };
        assert!(!line.contains(&b'\r') && !line.contains(&0) && !line.is_empty());
        assert!(number == 0 || !line.starts_with(b" ") && !line.starts_with(b"\t"), "folded");
    }
    assert_eq!(lines.len() - 1, request.headers.len());
    assert!(request.headers.len() <= limits.http_headers_count_max);
    let count = |name: &str| request.headers_named(name).count();
    if request.version == Version::Http11 {
        assert_eq!(count("host"), 1, "RFC 9112 §3.2");
    }
    let lengths: Vec<&[u8]> = request.headers_named("content-length").collect();
    if request.is_chunked {
        assert!(lengths.is_empty() && count("transfer-encoding") == 1, "RFC 9112 §6.3");
    } else {
        assert_eq!(count("transfer-encoding"), 0);
        for length in lengths {
            let text = std::str::from_utf8(length).expect("digits");
            assert_eq!(text.parse(), Ok(request.content_length));
        }
    }
    assert!(request.path.starts_with('/') || request.path == "*");
}

/// Whatever reads a request must bear what any client writes.
fn read_fields(request: &Request<'_>) {
    if let Some(path) = normalized_path(request.path) {
        assert!(path.starts_with('/') && !path.contains(|c: char| c.is_control() || c == '\\'));
        assert!(path.split('/').all(|segment| segment != ".."));
    }
    let headers = &request.headers[..];
    let is_http11 = request.version == Version::Http11;
    let agreed = handshake::accept(request.method, is_http11, headers, &["v12.stomp", "v11.stomp"]);
    if let Ok(agreed) = agreed.and_then(|agreed| agreed.with_extensions(headers)) {
        let mut answer = Vec::new();
        agreed.encode_response(&mut answer);
        let ends = answer.windows(4).filter(|window| window == b"\r\n\r\n").count();
        assert!(ends == 1 && answer.ends_with(b"\r\n\r\n"));
    }
    for items in [vec![], vec!["*".to_owned()], vec!["https://a.example".to_owned()]] {
        let policy = OriginPolicy::parse(&items).expect("good origins");
        let allows = policy.allows(request.header("origin"), request.host(), false);
        assert!(allows || items != ["*"]);
    }
    for header in [ClientHeader::XForwardedFor, ClientHeader::Forwarded] {
        let named = forwarded::client(request, header, |ip| ip.is_loopback());
        let is_canonical = |ip: IpAddr| ip == ip.to_canonical();
        assert!(named == Ok(None) || request.header(header.name()).is_some());
        assert!(named.ok().flatten().is_none_or(|client| is_canonical(client.address.ip())));
    }
    let file = Validators { etag: "\"a\"", modified: Some(1_000), length: 100 };
    if let Outcome::Part { first, last } = evaluate(request, &file) {
        assert!(first <= last && last < file.length);
    }
    for (_, value) in headers {
        if let Some(seconds) = date::parse(value) {
            assert_eq!(date::parse(date::format(seconds).as_bytes()), Some(seconds));
        }
    }
}

fn body_of(head: &[u8], mut source: Source<'_>) {
    let limits = Limits { http_body_bytes_max: 300, ..Limits::default() };
    let (request, _) = decode(head, &limits).expect("good").expect("whole");
    let body = Body::new(&request, &limits).expect("no length");
    if source.below(2) == 0 {
        return check_body(&body, source.rest(), &limits);
    }
    let (mut sent, mut wire) = (Vec::new(), Vec::new());
    while !source.is_empty() {
        let chunk = source.bytes(60);
        sent.extend_from_slice(chunk);
        response::push_chunk(&mut wire, chunk);
    }
    wire.extend_from_slice(response::LAST_CHUNK);
    let expected = match sent.len() <= limits.http_body_bytes_max {
        true => Ok((sent, wire.len(), true)),
        false => Err(Error::BodyTooLong { limit: 300 }),
    };
    assert_eq!(read(body.clone(), &wire, 0), expected);
    check_body(&body, &wire, &limits);
}

fn check_body(body: &Body, input: &[u8], limits: &Limits) {
    let whole = read(body.clone(), input, 0);
    if let Ok((payload, used, _)) = &whole {
        assert!(payload.len() <= limits.http_body_bytes_max && *used <= input.len());
    }
    for cut in cuts(input) {
        assert_eq!(read(body.clone(), input, cut), whole, "cut at {cut}");
    }
}

/// Payload, consumed bytes, and whether the body is over, read in two pieces.
fn read(mut body: Body, input: &[u8], cut: usize) -> Result<(Vec<u8>, usize, bool), Error> {
    let (mut payload, mut used) = (Vec::new(), 0);
    for end in [cut, input.len()] {
        while let Some((piece, count)) = body.next_piece(&input[used..end])? {
            assert!(count > 0);
            used += count;
            if let Piece::Data(data) = piece {
                payload.extend_from_slice(data);
            }
        }
    }
    Ok((payload, used, body.is_done()))
}
