//! NATS as a client speaks it: lines, and payloads whose length their line tells.
//!
//! The same bytes travel over TCP and in the binary frames of a WebSocket. There are no receipts:
//! the PONG that answers a PING says that all before it has been done. The server sends INFO
//! first; nothing that it tells is needed here.

use super::{Inbound, Login, Step, FRAME_BYTES_MAX};
use memchr::memchr;
use std::io::Write as _;

/// Most bytes of a server's line; its INFO names all servers of a cluster.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Asks whether the other side is there; a server's is to be answered.
pub const PING: &[u8] = b"PING\r\n";
/// The answer.
pub const PONG: &[u8] = b"PONG\r\n";

/// Reads what is at the front of `input`.
///
/// # Errors
/// What no server may say.
#[inline]
pub fn next(input: &[u8]) -> Step<'_> {
    let Some(end) = memchr(b'\n', input) else {
        return if input.len() > LINE_BYTES_MAX { Err("line too long") } else { Ok(None) };
    };
    let line = input[..end].strip_suffix(b"\r").ok_or("a line without CR")?;
    let at = end + 1;
    if line.starts_with(b"MSG ") {
        return message(input, line, at);
    }
    let inbound = match line {
        b"PING" => Inbound::AreYouThere,
        b"PONG" => Inbound::Receipt,
        b"+OK" => Inbound::Other,
        _ if line.starts_with(b"INFO ") => Inbound::Other,
        _ if line.starts_with(b"-ERR") => Inbound::Error(line),
        _ => return Err("unknown NATS operation"),
    };
    Ok(Some((inbound, at)))
}

/// `MSG <subject> <sid> [reply-to] <#bytes>`, then the payload from `at` on and CR LF.
#[inline]
fn message<'a>(input: &'a [u8], line: &[u8], at: usize) -> Step<'a> {
    let digits = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    let length = decimal(digits).ok_or("MSG without a length that is believed")?;
    let Some(rest) = input.get(at..at + length + 2) else { return Ok(None) };
    let body = rest.strip_suffix(b"\r\n").ok_or("no CR LF behind the payload")?;
    Ok(Some((Inbound::Message { head: &input[..at], body }, at + length + 2)))
}

#[inline]
fn decimal(digits: &[u8]) -> Option<usize> {
    let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (length <= FRAME_BYTES_MAX).then_some(length)
}

/// Appends CONNECT, and a PING whose PONG says that it was accepted.
pub fn connect(out: &mut Vec<u8>, login: &Login<'_>) {
    let mut options = serde_json::json!({
        "verbose": false, "pedantic": false, "tls_required": false, "echo": true,
        "name": "stompede-bench", "lang": "rust", "version": env!("CARGO_PKG_VERSION"),
        "protocol": 1,
    });
    if let Some((name, passcode)) = login.credentials {
        options["user"] = name.as_str().into();
        options["pass"] = passcode.as_str().into();
    }
    // Writing to a Vec cannot fail.
    let _ = write!(out, "CONNECT {options}\r\n");
    out.extend_from_slice(PING);
}

/// Appends a subscription each, and if so a PING whose PONG says that they are live.
pub fn subscribe(out: &mut Vec<u8>, names: &[(u32, String)], with_ping: bool) {
    for (id, name) in names {
        let _ = write!(out, "SUB {name} {id}\r\n");
    }
    if with_ping {
        out.extend_from_slice(PING);
    }
}

/// Appends PUB of `body`.
pub fn publish(out: &mut Vec<u8>, subject: &str, body: &[u8]) {
    let _ = write!(out, "PUB {subject} {}\r\n", body.len());
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_operation_of_a_server_is_told_apart_and_every_prefix_needs_more() {
        let cases: [(&[u8], Inbound<'_>); 7] = [
            (b"INFO {\"server_id\":\"x\",\"max_payload\":1048576}\r\n", Inbound::Other),
            (b"PING\r\n", Inbound::AreYouThere),
            (b"PONG\r\n", Inbound::Receipt),
            (b"+OK\r\n", Inbound::Other),
            (b"-ERR 'Stale Connection'\r\n", Inbound::Error(b"-ERR 'Stale Connection'")),
            (
                b"MSG /topic/bench 0 2\r\n\r\n\r\n",
                Inbound::Message { head: b"MSG /topic/bench 0 2\r\n", body: b"\r\n" },
            ),
            (
                b"MSG a 7 _INBOX.x 0\r\n\r\n",
                Inbound::Message { head: b"MSG a 7 _INBOX.x 0\r\n", body: b"" },
            ),
        ];
        for (bytes, wanted) in cases {
            for end in 0..bytes.len() {
                assert_eq!(next(&bytes[..end]), Ok(None), "{end} of {wanted:?}");
            }
            assert_eq!(next(bytes), Ok(Some((wanted, bytes.len()))));
        }
    }

    #[test]
    fn what_no_server_says_is_refused() {
        for bytes in [
            &b"PING\n"[..],
            b"HELLO\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 99999999999999999999\r\n",
            b"MSG a 1 1\r\nab\r\n",
        ] {
            assert!(next(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert_eq!(next(&vec![b'a'; LINE_BYTES_MAX + 1]), Err("line too long"));
    }

    #[test]
    fn a_login_is_json_whatever_the_passcode_holds() {
        let credentials = ("me".to_owned(), "a\"b".to_owned());
        let mut out = Vec::new();
        let credentials = Some(&credentials);
        connect(&mut out, &Login { credentials, version: "", host: "", heart_beat_ms: 0 });
        let text = String::from_utf8(out).unwrap();
        let json = text.strip_prefix("CONNECT ").unwrap().strip_suffix("\r\nPING\r\n").unwrap();
        let options: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!((&options["user"], &options["pass"]), (&"me".into(), &"a\"b".into()));
        assert_eq!(options["verbose"], false);
    }

    #[test]
    fn subscriptions_end_in_one_question_at_most() {
        let names = [(0, "a".into()), (1, "b.1".into())];
        let mut out = Vec::new();
        subscribe(&mut out, &names, true);
        assert_eq!(out, b"SUB a 0\r\nSUB b.1 1\r\nPING\r\n");
        out.clear();
        subscribe(&mut out, &names, false);
        assert_eq!(out, b"SUB a 0\r\nSUB b.1 1\r\n");
    }

    proptest! {
        /// What is published comes back as it was, when a server does to it what servers do.
        #[test]
        fn a_publication_survives(body: Vec<u8>, subject in "[a-z/.]{1,30}") {
            let mut published = Vec::new();
            publish(&mut published, &subject, &body);
            let line = format!("PUB {subject} ");
            prop_assert!(published.starts_with(line.as_bytes()));
            let behind = &published[line.len()..];
            let delivered = [format!("MSG {subject} 3 ").as_bytes(), behind].concat();
            let head = &delivered[..delivered.len() - body.len() - 2];
            let wanted = Inbound::Message { head, body: &body };
            prop_assert_eq!(next(&delivered), Ok(Some((wanted, delivered.len()))));
        }
    }
}
