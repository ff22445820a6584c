//! Bytes to a request head (RFC 9112 §2-7), borrowed from the input.
//!
//! Two passes over at most `http_head_bytes_max` bytes: `scan` walks the lines, applies the limits
//! and refuses what `httparse` would tolerate (bare LF, folded lines); then `httparse` cuts the
//! head into method, target and fields. Last come the rules that need several fields: Host
//! (RFC 9112 §3.2) and the end of the body (RFC 9112 §6.3).
//!
//! Errors come as early as the bad byte, so that garbage is answered without waiting for the
//! end of a head that never comes.

use super::error::Error;
use crate::limits::Limits;
use crate::search::has_any;
use std::mem::MaybeUninit;

/// The HTTP version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no upgrade, the connection closes unless `keep-alive` is asked for.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// A whole request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method as sent; methods are case-sensitive.
    pub method: &'a str,
    /// The authority of an absolute target, which then counts instead of `Host`.
    pub authority: Option<&'a str>,
    /// The target up to `?`, starting with `/`, still percent-encoded: see [`normalized_path`].
    /// `*` in `OPTIONS *`.
    pub path: &'a str,
    /// The target after `?`, still percent-encoded.
    pub query: Option<&'a str>,
    /// The version.
    pub version: Version,
    /// All fields in order, names as sent, values without surrounding blanks.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// Bytes of the body; 0 when none is announced or `is_chunked`.
    pub content_length: u64,
    /// The body comes in chunks.
    pub is_chunked: bool,
    /// The client waits for a 100 before it sends the body; never with HTTP/1.0.
    pub expects_continue: bool,
    /// The client lets the connection stay open after the answer.
    pub keep_alive: bool,
}

impl<'a> Request<'a> {
    /// The value of the first field of that name, compared without case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The host and port that the client addresses (RFC 9112 §3.2.2: the target's "MUST" be taken
    /// before the `Host` field's).
    pub fn host(&self) -> Option<&'a [u8]> {
        self.authority.map(str::as_bytes).or_else(|| self.header("host"))
    }

    /// Does a body follow the head?
    pub fn has_body(&self) -> bool {
        self.is_chunked || self.content_length > 0
    }

    /// The values of all fields of that name, compared without case, in order.
    pub fn headers_named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        let named = self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| *value)
    }
}

/// Fields of a head that need no memory of their own to be parsed; browsers send some fifteen.
const FIELDS_COUNT_USUAL: usize = 24;

/// Decodes the head at the front of `input`. `Ok(None)` means more bytes are needed and nothing
/// was consumed; the number is the bytes of the head, after which the body follows.
///
/// Limits: `http_request_line_bytes_max`, `http_head_bytes_max`, `http_headers_count_max`.
pub fn decode<'a>(input: &'a [u8], limits: &Limits) -> Result<Option<(Request<'a>, usize)>, Error> {
    if input.first() == Some(&0x16) {
        return Err(Error::TlsOnPlainPort);
    }
    // RFC 9112 §2.2: "a server [...] SHOULD ignore at least one empty line (CRLF) received prior
    // to the request-line". One is enough for the old clients it is meant for.
    let skipped = if input.starts_with(b"\r\n") { 2 } else { 0 };
    if is_stomp(&input[skipped..]) {
        return Err(Error::StompOnHttpPort);
    }
    let Some((head_bytes, fields_count)) = scan(&input[skipped..], limits)? else {
        return Ok(None);
    };
    let head = &input[skipped..skipped + head_bytes];
    let mut few = [const { MaybeUninit::uninit() }; FIELDS_COUNT_USUAL];
    let mut many;
    let fields = match few.get_mut(..fields_count) {
        Some(fields) => fields,
        None => {
            many = vec![MaybeUninit::uninit(); fields_count];
            &mut many
        }
    };
    let mut parsed = httparse::Request::new(&mut []);
    let outcome = parsed.parse_with_uninit_headers(head, fields).map_err(from_httparse)?;
    // The scan has found the empty line, so "partial" can only mean a head it misread.
    if outcome.is_partial() {
        return Err(Error::RequestLine);
    }
    let method = parsed.method.ok_or(Error::RequestLine)?;
    let target = parsed.path.ok_or(Error::RequestLine)?;
    let (authority, path, query) = split_target(method, target)?;
    let version = if parsed.version == Some(0) { Version::Http10 } else { Version::Http11 };
    let headers = parsed.headers.iter().map(|field| (field.name, field.value)).collect();
    let mut request = Request {
        method,
        authority,
        path,
        query,
        version,
        headers,
        content_length: 0,
        is_chunked: false,
        expects_continue: false,
        keep_alive: false,
    };
    check_host(&request)?;
    request.is_chunked = is_chunked(&request)?;
    request.content_length = content_length(&request)?;
    request.expects_continue = expects_continue(&request)?;
    request.keep_alive = keep_alive(&request);
    Ok(Some((request, skipped + head_bytes)))
}

/// Is this the command line of a STOMP client's first frame? HTTP's CONNECT has a target.
fn is_stomp(input: &[u8]) -> bool {
    let commands: [&[u8]; 2] = [b"CONNECT", b"STOMP"];
    let mut rests = commands.into_iter().filter_map(|command| input.strip_prefix(command));
    rests.any(|rest| rest.starts_with(b"\n") || rest.starts_with(b"\r\n"))
}

/// Walks the lines. Returns the bytes of the head, empty line included, and the number of fields.
fn scan(input: &[u8], limits: &Limits) -> Result<Option<(usize, usize)>, Error> {
    let window = &input[..input.len().min(limits.http_head_bytes_max)];
    let mut start = 0;
    let mut lines_count = 0;
    loop {
        let rest = &window[start..];
        let line_end = memchr::memchr(b'\n', rest);
        let line = &rest[..line_end.unwrap_or(rest.len())];
        check_line(line, line_end.is_some(), lines_count == 0, limits)?;
        let Some(line_end) = line_end else { break };
        if lines_count > 0 {
            if line == b"\r" {
                return Ok(Some((start + line_end + 1, lines_count - 1)));
            }
            if lines_count > limits.http_headers_count_max {
                let limit = limits.http_headers_count_max;
                return Err(Error::TooManyHeaders { seen: lines_count, limit });
            }
        }
        lines_count += 1;
        start += line_end + 1;
    }
    if input.len() > window.len() {
        return Err(Error::HeadTooLong { seen: input.len(), limit: limits.http_head_bytes_max });
    }
    Ok(None)
}

/// Checks the bytes of one line without its LF, or of the part of it that is there.
fn check_line(
    line: &[u8],
    is_ended: bool,
    is_request_line: bool,
    limits: &Limits,
) -> Result<(), Error> {
    if !is_request_line && matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Error::ObsoleteFold);
    }
    let limit = limits.http_request_line_bytes_max;
    let is_too_long = is_request_line && line.len() > limit + 1; // The CR is not counted.
    let line_checked = if is_too_long { &line[..=limit] } else { line };
    let text_len = line.len() - usize::from(line.ends_with(b"\r"));
    let is_suspect = |byte: u8| (byte < b' ') | (byte == 0x7f);
    let is_clean = !has_any(&line_checked[..text_len.min(line_checked.len())], is_suspect);
    if !is_clean {
        check_bytes(line_checked, line.len(), is_request_line)?;
    }
    if is_too_long {
        return Err(Error::RequestLineTooLong { seen: line.len(), limit });
    }
    if is_ended && !line.ends_with(b"\r") {
        return Err(Error::BareLineFeed);
    }
    if is_ended && is_request_line {
        return check_version(line);
    }
    Ok(())
}

/// Checks the first bytes of a line of `line_len` bytes, one by one.
fn check_bytes(bytes: &[u8], line_len: usize, is_request_line: bool) -> Result<(), Error> {
    for (i, &byte) in bytes.iter().enumerate() {
        // RFC 9112 §2.2: "A recipient of such a bare CR MUST consider that element to be invalid".
        if byte == b'\r' && i + 1 < line_len {
            return Err(Error::BareCarriageReturn);
        }
        if (byte < b' ' && byte != b'\r' && (byte != b'\t' || is_request_line)) || byte == 0x7f {
            return Err(Error::ControlByte(byte));
        }
    }
    Ok(())
}

/// Looks at the end of the request line, so that other protocols are refused after one line.
fn check_version(line: &[u8]) -> Result<(), Error> {
    if line.ends_with(b" HTTP/1.1\r") || line.ends_with(b" HTTP/1.0\r") {
        Ok(())
    } else if line == b"PRI * HTTP/2.0\r" {
        Err(Error::Http2Preface)
    } else if memchr::memmem::find(line, b" HTTP/").is_some() {
        Err(Error::Version)
    } else {
        Err(Error::RequestLine)
    }
}

fn from_httparse(error: httparse::Error) -> Error {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Error::HeaderLine,
        httparse::Error::Version => Error::Version,
        _ => Error::RequestLine,
    }
}

/// Authority, path and query of a target: origin-form, absolute-form, which "a server MUST accept"
/// (RFC 9112 §3.2.2), or the asterisk of OPTIONS. The authority-form is for proxies.
fn split_target<'a>(
    method: &str,
    target: &'a str,
) -> Result<(Option<&'a str>, &'a str, Option<&'a str>), Error> {
    if target == "*" && method == "OPTIONS" {
        return Ok((None, target, None));
    }
    let is_bad = |byte: u8| (byte <= b' ') | (byte >= 0x7f) | (byte == b'#');
    if has_any(target.as_bytes(), is_bad) {
        return Err(Error::Target);
    }
    let absolute = if target.starts_with('/') { None } else { target.split_once("://") };
    let (authority, rest) = match absolute {
        Some((scheme, rest)) => {
            let is_http = ["http", "https"].iter().any(|own| own.eq_ignore_ascii_case(scheme));
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            if !is_http || !is_host(authority.as_bytes()) {
                return Err(Error::Target);
            }
            (Some(authority), rest)
        }
        None => (None, target),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    match path {
        "" if authority.is_some() => Ok((authority, "/", query)),
        _ if path.starts_with('/') => Ok((authority, path, query)),
        _ => Err(Error::Target),
    }
}

/// RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1
/// request message that lacks a Host header field and to any request message that contains more
/// than one Host header field line or a Host header field with an invalid field value."
fn check_host(request: &Request<'_>) -> Result<(), Error> {
    let mut hosts = request.headers_named("host");
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version == Version::Http11 => Err(Error::HostMissing),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err(Error::HostRepeated),
        (Some(host), None) if is_host(host) => Ok(()),
        (Some(_), None) => Err(Error::HostInvalid),
    }
}

/// `name[:port]` or `[v6][:port]`; no user info, no blanks, no percent-encoding.
fn is_host(host: &[u8]) -> bool {
    let (name_ok, rest) = if let Some(v6) = host.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', v6) else { return false };
        let is_v6 = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        (end > 0 && v6[..end].iter().all(is_v6), &v6[end + 1..])
    } else {
        let end = memchr::memchr(b':', host).unwrap_or(host.len());
        let is_name =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        (end > 0 && host[..end].iter().all(is_name), &host[end..])
    };
    let port_ok = match rest.strip_prefix(b":") {
        Some(port) => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        None => rest.is_empty(),
    };
    name_ok && port_ok
}

fn is_chunked(request: &Request<'_>) -> Result<bool, Error> {
    let mut encodings = request.headers_named("transfer-encoding");
    let Some(encoding) = encodings.next() else { return Ok(false) };
    if request.header("content-length").is_some() {
        return Err(Error::LengthAndEncoding);
    }
    // RFC 9112 §6.1: in HTTP/1.0 "MUST treat the message as if the framing is faulty".
    let is_plain = encoding.eq_ignore_ascii_case(b"chunked") && encodings.next().is_none();
    if !is_plain || request.version == Version::Http10 {
        return Err(Error::TransferEncoding);
    }
    Ok(true)
}

fn content_length(request: &Request<'_>) -> Result<u64, Error> {
    let mut lengths = request.headers_named("content-length");
    let Some(length) = lengths.next() else { return Ok(0) };
    // RFC 9110 §8.6 lets equal ones pass; whoever sends two cannot be trusted with one.
    if lengths.next().is_some() {
        return Err(Error::ContentLengthRepeated);
    }
    // `str::parse` takes a leading `+`, RFC 9110 §8.6 (1*DIGIT) does not.
    if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
        return Err(Error::ContentLength);
    }
    let text = std::str::from_utf8(length).map_err(|_| Error::ContentLength)?;
    text.parse().map_err(|_| Error::ContentLength)
}

/// RFC 9110 §10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST
/// ignore that expectation", and other expectations may be answered with 417.
fn expects_continue(request: &Request<'_>) -> Result<bool, Error> {
    let is_continue = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    let mut expectations = request.headers_named("expect").peekable();
    if request.version == Version::Http10 || expectations.peek().is_none() {
        return Ok(false);
    }
    if !expectations.all(is_continue) {
        return Err(Error::Expectation);
    }
    Ok(true)
}

fn keep_alive(request: &Request<'_>) -> bool {
    let has = |token: &[u8]| {
        request.headers_named("connection").any(|value| {
            value.split(|&b| b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(token))
        })
    };
    // RFC 9112 §9.3: close wins over keep-alive, whatever the order.
    !has(b"close") && (request.version == Version::Http11 || has(b"keep-alive"))
}

/// Percent-decodes a path once. `None` when it has a broken escape, a `..` segment (also as
/// `..;`), a backslash, a control character such as NUL, or is not UTF-8 afterwards.
pub fn normalized_path(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    let decoded = String::from_utf8(decoded).ok()?;
    let is_bad_char = |c: char| c == '\\' || c.is_control();
    // Some servers cut `;parameters` off a segment before they resolve it.
    let is_parent = |segment: &str| segment.split(';').next() == Some("..");
    let is_refused = !decoded.starts_with('/')
        || decoded.contains(is_bad_char)
        || decoded.split('/').any(is_parent);
    (!is_refused).then_some(decoded)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
