//! Bytes of an HTTP/1.1 answer (RFC 9112 §4, §6).
//!
//! Every answer carries its length, or comes in chunks, or ends with the connection (a stream to
//! an HTTP/1.0 client), and says whether the connection stays, so no client has to guess where it
//! ends. `X-Content-Type-Options: nosniff` keeps browsers from taking an error text with a piece of
//! the request in it for a script. A field whose name or value could end the line is left out
//! (response splitting), and so are fields this file writes itself.

/// The interim answer to `Expect: 100-continue` (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The phrase of a status line (RFC 9110 §15); "Unknown" for codes we never send.
pub fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

/// Appends a complete answer. A 204 or 304 goes out without `body`, as RFC 9110 §6.4.1 demands.
pub fn encode(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
    keep_alive: bool,
) {
    encode_head(out, status, headers, body.len() as u64, keep_alive);
    if !matches!(status, 204 | 304) {
        out.extend_from_slice(body);
    }
}

/// Appends the head alone: for HEAD, and for bodies that are sent separately.
/// `content_length` is in bytes.
pub fn encode_head(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(&str, &str)],
    content_length: u64,
    keep_alive: bool,
) {
    begin_head(out, status, headers);
    // RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any response with a
    // status code of 1xx (Informational) or 204 (No Content)"; a 304's would be the file's.
    if !matches!(status, 204 | 304) {
        out.extend_from_slice(b"Content-Length: ");
        push_number(out, content_length);
        out.extend_from_slice(b"\r\n");
    }
    end_head(out, keep_alive);
}

/// Appends the head of an answer whose length is not known yet. Chunked, its body is a row of
/// [`push_chunk`] and [`LAST_CHUNK`]; else (RFC 9112 §6.1: "A server MUST NOT send a response
/// containing Transfer-Encoding unless the corresponding request indicates HTTP/1.1") it is raw
/// bytes until the connection ends, which it does: `keep_alive` is not listened to then.
pub fn encode_stream_head(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(&str, &str)],
    is_chunked: bool,
    keep_alive: bool,
) {
    begin_head(out, status, headers);
    if is_chunked {
        push_field(out, "Transfer-Encoding", "chunked");
    }
    end_head(out, is_chunked && keep_alive);
}

/// The end of a chunked body (RFC 9112 §7.1).
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends one chunk of a chunked body; an empty one is left out, for it would end the body.
pub fn push_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Room for a head and a short body, so that both grow `out` once.
const HEAD_BYTES_USUAL: usize = 640;

fn begin_head(out: &mut Vec<u8>, status: u16, headers: &[(&str, &str)]) {
    out.reserve(HEAD_BYTES_USUAL);
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(out, status.into());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        if is_name(name) && is_value(value) && !is_ours(name) {
            push_field(out, name, value);
        }
    }
}

fn end_head(out: &mut Vec<u8>, keep_alive: bool) {
    let connection: &[u8] = match keep_alive {
        true => b"Connection: keep-alive\r\nX-Content-Type-Options: nosniff\r\n\r\n",
        false => b"Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n",
    };
    out.extend_from_slice(connection);
}

/// Appends a number in decimal.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[start..]);
        }
    }
}

fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn is_name(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() | (b == b'-') | (b == b'_');
    // Without a branch for each byte: nearly all are allowed.
    !name.is_empty() && name.bytes().fold(true, |all, b| all & is_allowed(b))
}

fn is_value(value: &str) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, value.as_bytes()).is_none()
}

fn is_ours(name: &str) -> bool {
    let ours = ["content-length", "connection", "transfer-encoding", "x-content-type-options"];
    ours.iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: u16, headers: &[(&str, &str)], body: &[u8], keep_alive: bool) -> String {
        let mut out = Vec::new();
        encode(&mut out, status, headers, body, keep_alive);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_has_length_connection_and_nosniff() {
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\
            Connection: keep-alive\r\nX-Content-Type-Options: nosniff\r\n\r\nhi";
        assert_eq!(text(200, &[("Content-Type", "text/plain")], b"hi", true), expected);
        assert!(text(400, &[], b"", false).contains("\r\nConnection: close\r\n"));
    }

    /// Catalogue: C28.
    #[test]
    fn fields_that_could_split_the_answer_are_left_out() {
        let headers = [("A", "x\r\nSet-Cookie: y"), ("B\r\nC", "x"), ("D", "x\ny"), ("E", "ok")];
        let answer = text(200, &headers, b"", false);
        assert!(!answer.contains("Cookie") && !answer.contains("C: x") && !answer.contains("D:"));
        assert!(answer.contains("\r\nE: ok\r\n"));
    }

    #[test]
    fn the_length_is_never_sent_twice() {
        let answer = text(200, &[("content-length", "9"), ("Transfer-Encoding", "x")], b"a", true);
        assert_eq!(answer.to_lowercase().matches("content-length").count(), 1);
        assert!(!answer.contains("Transfer"));
    }

    #[test]
    fn no_content_has_neither_length_nor_body() {
        let answer = text(204, &[], b"ignored", true);
        assert!(answer.ends_with("nosniff\r\n\r\n") && !answer.contains("Length"));
    }

    #[test]
    fn a_head_alone_announces_the_length_it_is_given() {
        let mut out = Vec::new();
        encode_head(&mut out, 200, &[], 1_234, true);
        assert!(String::from_utf8(out).unwrap().contains("\r\nContent-Length: 1234\r\n"));
    }

    #[test]
    fn a_stream_is_chunked_or_ends_with_the_connection() {
        let head = |is_chunked| {
            let mut out = Vec::new();
            encode_stream_head(&mut out, 200, &[], is_chunked, true);
            String::from_utf8(out).unwrap()
        };
        assert!(head(true).contains("Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"));
        assert!(!head(false).contains("Transfer") && head(false).contains("Connection: close"));
        assert!(!head(true).contains("Length") && !head(false).contains("Length"));
    }

    #[test]
    fn chunks_are_read_back_and_none_ends_the_body_early() {
        let mut out = Vec::new();
        for piece in [&b"abc"[..], b"", &[b'x'; 300]] {
            push_chunk(&mut out, piece);
        }
        out.extend_from_slice(LAST_CHUNK);
        assert_eq!(out[..8], *b"3\r\nabc\r\n");
        assert!(out[8..].starts_with(b"12c\r\nxxx") && out.ends_with(b"x\r\n0\r\n\r\n"));
    }

    #[test]
    fn what_we_send_is_what_a_client_parser_reads() {
        let mut out = Vec::new();
        encode(&mut out, 431, &[("Allow", "GET")], b"body", false);
        let mut fields = [httparse::EMPTY_HEADER; 8];
        let mut response = httparse::Response::new(&mut fields);
        let used = response.parse(&out).unwrap().unwrap();
        assert_eq!((response.code, &out[used..]), (Some(431), &b"body"[..]));
        assert_eq!(response.headers.len(), 4);
    }
}
