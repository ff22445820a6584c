//! The opening handshake, server side (RFC 6455 §4.2), and the choice of the subprotocol.
//!
//! Works on the method and header fields of a decoded request. Extensions are looked at on
//! demand only ([`Handshake::with_extensions`]). Of subprotocols only one out of our own list is
//! echoed, in the client's spelling (browsers compare exactly); when nothing fits, the header is
//! left out and the client decides, as other STOMP servers do.
//!
//! After a refusal the connection has to be closed and what the client sent ahead thrown away: it
//! may be frames that would read as a second request.

use super::extensions::{self, Agreement};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use sha1::{Digest, Sha1};
use std::fmt;

/// Entries of `Sec-WebSocket-Protocol` that are looked at, empty ones included.
pub const PROTOCOLS_COUNT_MAX: usize = 16;

/// RFC 6455 §1.3: the string that no server concatenates by accident.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An accepted handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: [u8; 28],
    /// The subprotocol as the client spelt it.
    pub protocol: Option<&'a str>,
    /// Permessage-deflate, if it was agreed on.
    pub deflate: Option<Agreement>,
}

/// A refused handshake; the connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// §4.1: "The method of the request MUST be GET".
    Method,
    /// §4.1: "the HTTP version MUST be at least 1.1".
    HttpVersion,
    /// The request announces a body, which no parser after the 101 would take for one.
    Body,
    /// §4.2.1: `Upgrade` without the token `websocket`.
    Upgrade,
    /// §4.2.1: `Connection` without the token `upgrade`.
    Connection,
    /// §4.2.2: a `Sec-WebSocket-Version` other than 13, or none.
    Version,
    /// No `Sec-WebSocket-Key`.
    KeyMissing,
    /// §11.3.1: the key "MUST NOT appear more than once".
    KeyRepeated,
    /// §4.1: the key is not 16 bytes in base64.
    KeyInvalid,
    /// More than [`PROTOCOLS_COUNT_MAX`] subprotocols.
    TooManyProtocols,
    /// §9.1: `Sec-WebSocket-Extensions` that breaks its grammar.
    Extensions,
}

impl HandshakeError {
    /// The status of the answer: 400, 405 or 426.
    pub fn status(&self) -> u16 {
        match self {
            HandshakeError::Method => 405,
            HandshakeError::Upgrade | HandshakeError::Version => 426,
            _ => 400,
        }
    }

    /// The header fields that the status demands: `Allow` (RFC 9110 §15.5.6), `Upgrade` (RFC 9110
    /// §15.5.22) and the version (RFC 6455 §4.4).
    pub fn extra_headers(&self) -> &'static [(&'static str, &'static str)] {
        match self.status() {
            405 => &[("Allow", "GET, OPTIONS")],
            426 => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            _ => &[],
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HandshakeError::Method => "seen a method other than get",
            HandshakeError::HttpVersion => "seen an upgrade in http/1.0",
            HandshakeError::Body => "seen an upgrade request with a body",
            HandshakeError::Upgrade => "seen no upgrade header with websocket",
            HandshakeError::Connection => "seen no connection header with upgrade",
            HandshakeError::Version => "seen a websocket version other than 13",
            HandshakeError::KeyMissing => "seen no sec-websocket-key",
            HandshakeError::KeyRepeated => "seen more than one sec-websocket-key",
            HandshakeError::KeyInvalid => "seen a sec-websocket-key that is not 16 bytes in base64",
            HandshakeError::TooManyProtocols => "seen more than 16 subprotocols, limit is 16",
            HandshakeError::Extensions => "seen malformed sec-websocket-extensions",
        })
    }
}

impl std::error::Error for HandshakeError {}

impl Handshake<'_> {
    /// Agrees on permessage-deflate if the client offers it in a form that we can meet.
    pub fn with_extensions(self, headers: &[(&str, &[u8])]) -> Result<Self, HandshakeError> {
        let deflate = extensions::negotiate(fields(headers, "sec-websocket-extensions"));
        Ok(Handshake { deflate: deflate.map_err(|_| HandshakeError::Extensions)?, ..self })
    }

    /// Appends the answer, status 101 (§4.2.2). Frames may follow at once.
    pub fn encode_response(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: ",
        );
        out.extend_from_slice(&self.accept);
        if let Some(protocol) = self.protocol {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(protocol.as_bytes());
        }
        if let Some(deflate) = self.deflate {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            deflate.encode(out);
        }
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// Whether a request asks for WebSocket at all; others are answered as plain HTTP, `h2c` too.
pub fn is_upgrade(headers: &[(&str, &[u8])]) -> bool {
    tokens(headers, "upgrade").any(|token| token.eq_ignore_ascii_case(b"websocket"))
}

/// Checks an opening handshake. `supported` holds our subprotocols, best first; they are compared
/// without case, and the best one that the client offers is taken.
pub fn accept<'a>(
    method: &str,
    is_http11: bool,
    headers: &[(&'a str, &'a [u8])],
    supported: &[&str],
) -> Result<Handshake<'a>, HandshakeError> {
    if method != "GET" {
        return Err(HandshakeError::Method);
    }
    if !is_http11 {
        return Err(HandshakeError::HttpVersion);
    }
    let is_length = |value: &[u8]| value.iter().any(|&byte| byte != b'0');
    if fields(headers, "content-length").any(is_length)
        || fields(headers, "transfer-encoding").next().is_some()
    {
        return Err(HandshakeError::Body);
    }
    if !is_upgrade(headers) {
        return Err(HandshakeError::Upgrade);
    }
    if !tokens(headers, "connection").any(|token| token.eq_ignore_ascii_case(b"upgrade")) {
        return Err(HandshakeError::Connection);
    }
    let mut versions = fields(headers, "sec-websocket-version");
    if versions.next() != Some(b"13") || versions.next().is_some() {
        return Err(HandshakeError::Version);
    }
    let mut keys = fields(headers, "sec-websocket-key");
    let key = keys.next().ok_or(HandshakeError::KeyMissing)?;
    if keys.next().is_some() {
        return Err(HandshakeError::KeyRepeated);
    }
    if !is_key(key) {
        return Err(HandshakeError::KeyInvalid);
    }
    let protocol = choose_protocol(headers, supported)?;
    Ok(Handshake { accept: accept_value(key), protocol, deflate: None })
}

/// 16 bytes in base64: 22 digits and `==`. Stray bits in the last digit are let pass; they only go
/// into the hash, and nothing is decoded.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(is_digit) && key.ends_with(b"==")
}

/// §4.2.2: base64 of the SHA-1 of the key as sent and the GUID.
fn accept_value(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(28));
    accept
}

fn choose_protocol<'a>(
    headers: &[(&'a str, &'a [u8])],
    supported: &[&str],
) -> Result<Option<&'a str>, HandshakeError> {
    let mut best: Option<(usize, &'a [u8])> = None;
    for (i, offered) in tokens(headers, "sec-websocket-protocol").enumerate() {
        if i >= PROTOCOLS_COUNT_MAX {
            return Err(HandshakeError::TooManyProtocols);
        }
        // Only what is better than the best so far is of interest.
        let better = &supported[..best.map_or(supported.len(), |(rank, _)| rank)];
        let known = |own: &&str| own.as_bytes().eq_ignore_ascii_case(offered);
        best = better.iter().position(known).map(|rank| (rank, offered)).or(best);
    }
    // Equal to one of ours but for case, so it is ASCII if ours is.
    Ok(best.and_then(|(_, offered)| std::str::from_utf8(offered).ok()))
}

fn fields<'h, 'a>(
    headers: &'h [(&'a str, &'a [u8])],
    name: &'h str,
) -> impl Iterator<Item = &'a [u8]> + use<'h, 'a> {
    let named = headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.trim_ascii())
}

/// The comma-separated entries of all fields of that name, empty ones included.
fn tokens<'h, 'a>(
    headers: &'h [(&'a str, &'a [u8])],
    name: &'h str,
) -> impl Iterator<Item = &'a [u8]> + use<'h, 'a> {
    fields(headers, name).flat_map(|value| value.split(|&b| b == b',').map(<[u8]>::trim_ascii))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: [&str; 3] = ["v12.stomp", "v11.stomp", "v10.stomp"];
    const KEY: (&str, &[u8]) = ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==");

    const NEEDED: &[(&str, &str)] = &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];

    /// A good handshake with some fields replaced (or removed, by an empty list) and added.
    fn with<'a>(name: &str, values: &[(&'a str, &'a [u8])]) -> Vec<(&'a str, &'a [u8])> {
        let mut headers: Vec<(&str, &[u8])> = vec![
            ("Host", b"a"),
            ("Upgrade", b"websocket"),
            ("Connection", b"keep-alive, Upgrade"),
            KEY,
            ("Sec-WebSocket-Version", b"13"),
        ];
        headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        headers.extend_from_slice(values);
        headers
    }

    fn check<'a>(headers: &[(&'a str, &'a [u8])]) -> Result<Handshake<'a>, HandshakeError> {
        accept("GET", true, headers, &OURS)
    }

    fn error(name: &str, values: &[&'static [u8]]) -> HandshakeError {
        let values: Vec<(&str, &[u8])> = values.iter().map(|value| (name, *value)).collect();
        check(&with(name, &values)).expect_err("must be refused")
    }

    #[test]
    fn the_example_of_section_1_3() {
        let headers = with("", &[("sec-websocket-protocol", b"v12.stomp")]);
        let handshake = check(&headers).unwrap();
        let mut out = Vec::new();
        handshake.encode_response(&mut out);
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
            Sec-WebSocket-Protocol: v12.stomp\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn extensions_are_answered_when_they_are_asked_for() {
        let offer = ("Sec-WebSocket-Extensions", &b"permessage-deflate"[..]);
        let headers = with("", &[offer]);
        let plain = check(&headers).unwrap();
        let (mut without, mut out) = (Vec::new(), Vec::new());
        plain.encode_response(&mut without);
        plain.with_extensions(&headers).unwrap().encode_response(&mut out);
        let added = out.strip_prefix(&without[..without.len() - 4]).unwrap();
        let expected: &[u8] = b"\r\nSec-WebSocket-Extensions: permessage-deflate; \
            server_no_context_takeover; client_no_context_takeover\r\n\r\n";
        assert_eq!(added, expected);
        let headers = with("", &[("sec-websocket-extensions", b"a;")]);
        let refused = check(&headers).unwrap().with_extensions(&headers);
        assert_eq!(refused.map_err(|error| error.status()), Err(400));
    }

    #[test]
    fn c02_c03_get_and_http_1_1_only() {
        let error = accept("POST", true, &with("", &[]), &OURS).unwrap_err();
        assert_eq!(
            (error.status(), error.extra_headers()),
            (405, &[("Allow", "GET, OPTIONS")][..])
        );
        let error = accept("GET", false, &with("", &[]), &OURS).unwrap_err();
        assert_eq!((error.status(), error.extra_headers()), (400, &[][..]));
    }

    #[test]
    fn c08_no_body() {
        assert_eq!(error("content-length", &[b"5"]), HandshakeError::Body);
        assert_eq!(error("transfer-encoding", &[b"chunked"]), HandshakeError::Body);
        assert!(check(&with("", &[("Content-Length", b"0")])).is_ok());
    }

    #[test]
    fn c10_at_most_16_protocols() {
        let commas = b", ".repeat(4_096);
        let headers = with("", &[("Sec-WebSocket-Protocol", &commas)]);
        assert_eq!(check(&headers), Err(HandshakeError::TooManyProtocols));
        let sixteen = [b"x,".repeat(15), b"v10.stomp".to_vec()].concat();
        let headers = with("", &[("Sec-WebSocket-Protocol", &sixteen)]);
        assert_eq!(check(&headers).unwrap().protocol, Some("v10.stomp"));
        let headers = with(
            "",
            &[("Sec-WebSocket-Protocol", &sixteen), ("Sec-WebSocket-Protocol", b"v12.stomp")],
        );
        assert_eq!(check(&headers), Err(HandshakeError::TooManyProtocols));
    }

    #[test]
    fn c12_exactly_one_valid_key() {
        assert_eq!(error("sec-websocket-key", &[]), HandshakeError::KeyMissing);
        assert_eq!(error("sec-websocket-key", &[KEY.1, KEY.1]), HandshakeError::KeyRepeated);
        let bad: [&[u8]; 6] = [
            b"",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBsZSBub25jZQQQ",
            b"dGhlIHNhbXBsZSBub25j!Q==",
            b"dGhlIHNhbXBsZSBub25jZQA=",
        ];
        for key in bad {
            assert_eq!(error("sec-websocket-key", &[key]), HandshakeError::KeyInvalid);
        }
    }

    #[test]
    fn c13_version_13_only() {
        let bad: [&[&[u8]]; 7] =
            [&[], &[b"8"], &[b"0"], &[b"13, 8"], &[b"13", b"13"], &[b"013"], &[b""]];
        for values in bad {
            let error = error("sec-websocket-version", values);
            assert_eq!(error.status(), 426);
            assert_eq!(error.extra_headers(), NEEDED);
        }
    }

    #[test]
    fn c14_upgrade_and_connection_are_both_needed_in_any_case() {
        assert_eq!(error("connection", &[]), HandshakeError::Connection);
        assert_eq!(error("connection", &[b"keep-alive"]), HandshakeError::Connection);
        assert_eq!(error("connection", &[b"xupgrade"]), HandshakeError::Connection);
        assert_eq!(error("upgrade", &[]), HandshakeError::Upgrade);
        assert_eq!(error("upgrade", &[b"h2c"]), HandshakeError::Upgrade);
        assert_eq!(error("connection", &[]).status(), 400);
        let other = error("upgrade", &[b"websocket/1"]);
        assert_eq!((other.status(), other.extra_headers()), (426, NEEDED));
        let headers = with("connection", &[("CONNECTION", b"keep-alive ,uPGRADE")]);
        assert!(check(&headers).is_ok());
        assert!(check(&with("upgrade", &[("upgrade", b"WebSocket")])).is_ok());
    }

    #[test]
    fn d03_only_websocket_counts_as_upgrade() {
        assert!(is_upgrade(&[("UPGRADE", b"h2c, WebSocket")]));
        assert!(!is_upgrade(&[("Upgrade", b"h2c")]) && !is_upgrade(&[]));
    }

    #[test]
    fn c28_the_best_protocol_of_ours_in_the_clients_spelling() {
        let choose = |offer: &'static [u8]| {
            check(&with("", &[("Sec-WebSocket-Protocol", offer)])).unwrap().protocol
        };
        assert_eq!(choose(b"v10.stomp, v11.stomp,V12.Stomp"), Some("V12.Stomp"));
        assert_eq!(choose(b"v10.stomp,v11.stomp"), Some("v11.stomp"));
        assert_eq!(choose(b"wss,ws,https,http"), None);
        assert_eq!(choose(b"v12.stomp\xff, v12.stomp x, ,"), None);
        assert_eq!(check(&with("", &[])).unwrap().protocol, None);
        let split: [(&str, &[u8]); 2] =
            [("sec-websocket-protocol", b"v10.stomp"), ("Sec-WebSocket-Protocol", b"v12.stomp")];
        assert_eq!(check(&with("", &split)).unwrap().protocol, Some("v12.stomp"));
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic_or_be_echoed(
            value in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let headers = with("", &[("Sec-WebSocket-Protocol", &value)]);
            if let Ok(handshake) = check(&headers) {
                let is_ours = |p: &str| OURS.iter().any(|own| own.eq_ignore_ascii_case(p));
                prop_assert!(handshake.protocol.is_none_or(is_ours));
            }
            let _ = check(&with("sec-websocket-key", &[("Sec-WebSocket-Key", &value)]));
        }
    }
}
