//! Writes server frames: CONNECTED, RECEIPT, ERROR, and MESSAGE in two parts.
//!
//! STOMP 1.0, 1.1, 1.2, Server Frames. Everything is appended to a buffer of the caller. Lines end in
//! LF for every version, `content-length` is always there where a body may be. A MESSAGE is a
//! private head (subscription, message id, ack) and a tail that all subscribers of one version
//! share; the head comes first, because of repeated headers the first wins.

use std::io::Write;

use super::error::Error;
use super::escape::{escape_into, is_name_writable, literal_into};
use super::negotiation::{Version, SUPPORTED};

/// Bytes of the extra line in an ERROR's body.
const DETAIL_BYTES_MAX: usize = 256;

fn header(out: &mut Vec<u8>, name: &str, value: &str, version: Version) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    escape_into(out, value, version);
    out.push(b'\n');
}

fn literal_header(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    literal_into(out, value);
    out.push(b'\n');
}

fn content_length(out: &mut Vec<u8>, bytes: usize) {
    // Writing to a Vec cannot fail.
    let _ = writeln!(out, "content-length:{bytes}");
}

/// CONNECTED. An empty `server` is not sent.
///
/// Its headers are not escaped in any version, so CR and LF in `user_name` become spaces; whoever
/// checks the login should refuse such a name.
pub fn connected(
    out: &mut Vec<u8>,
    version: Version,
    session: &str,
    server: &str,
    heartbeat: &str,
    user_name: Option<&str>,
) {
    out.extend_from_slice(b"CONNECTED\n");
    literal_header(out, "version", version.as_str());
    literal_header(out, "session", session);
    if !server.is_empty() {
        literal_header(out, "server", server);
    }
    literal_header(out, "heart-beat", heartbeat);
    if let Some(user_name) = user_name {
        literal_header(out, "user-name", user_name);
    }
    out.extend_from_slice(b"\n\0");
}

/// RECEIPT.
pub fn receipt(out: &mut Vec<u8>, version: Version, receipt_id: &str) {
    out.extend_from_slice(b"RECEIPT\n");
    header(out, "receipt-id", receipt_id, version);
    out.extend_from_slice(b"\n\0");
}

/// ERROR. `detail` is one more line of the body: control characters are escaped, and no more than
/// 256 bytes are written.
pub fn error(
    out: &mut Vec<u8>,
    version: Version,
    error: &Error,
    receipt_id: Option<&str>,
    detail: Option<&str>,
) {
    let mut body = format!("{error}\n");
    if let Some(detail) = detail {
        push_detail(&mut body, detail);
    }
    out.extend_from_slice(b"ERROR\n");
    header(out, "message", error.message(), version);
    if let Some(receipt_id) = receipt_id {
        header(out, "receipt-id", receipt_id, version);
    }
    if *error == Error::NoCommonVersion {
        header(out, "version", SUPPORTED, version);
    }
    out.extend_from_slice(b"content-type:text/plain\n");
    content_length(out, body.len());
    out.push(b'\n');
    out.extend_from_slice(body.as_bytes());
    out.push(0);
}

fn push_detail(body: &mut String, detail: &str) {
    let end = body.len() + DETAIL_BYTES_MAX;
    for c in detail.chars() {
        let before = body.len();
        if c.is_control() {
            body.extend(c.escape_default());
        } else {
            body.push(c);
        }
        if body.len() > end {
            body.truncate(before);
            break;
        }
    }
    body.push('\n');
}

/// The private head of a MESSAGE. `subscription` is `None` for a 1.0 subscription without id, `ack`
/// unless the subscription is acknowledged by the client ("ack" header: 1.2, MESSAGE).
pub fn message_head(
    out: &mut Vec<u8>,
    version: Version,
    subscription: Option<&str>,
    message_id: &str,
    ack: Option<&str>,
) {
    out.extend_from_slice(b"MESSAGE\n");
    if let Some(subscription) = subscription {
        header(out, "subscription", subscription, version);
    }
    header(out, "message-id", message_id, version);
    if let Some(ack) = ack {
        header(out, "ack", ack, version);
    }
}

/// The shared tail of a MESSAGE: destination, headers, `content-length`, blank line, body, NUL.
///
/// `headers` have passed [`is_passed_through`] or are the server's own. Those that 1.0 cannot carry
/// are dropped.
pub fn message_tail<'n, 'v>(
    out: &mut Vec<u8>,
    version: Version,
    destination: &str,
    headers: impl Iterator<Item = (&'n str, &'v str)>,
    body: &[u8],
) {
    header(out, "destination", destination, version);
    for (name, value) in headers {
        // A `content-length` that is not ours would change where the frame ends.
        if is_name_writable(name, version) && name != "content-length" {
            escape_into(out, name, version);
            out.push(b':');
            escape_into(out, value, version);
            out.push(b'\n');
        }
    }
    content_length(out, body.len());
    out.push(b'\n');
    out.extend_from_slice(body);
    out.push(0);
}

/// Whether a header of SEND goes on into MESSAGE: not if it is the server's there, if it is about
/// the SEND itself, or if it is a secret that clients attach to every frame.
pub fn is_passed_through(name: &str) -> bool {
    const OWNED: [&str; 9] = [
        "destination",
        "message-id",
        "subscription",
        "ack",
        "redelivered",
        "content-length",
        "receipt",
        "transaction",
        "login",
    ];
    const SECRET: [&str; 6] = [
        "passcode",
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-auth-token",
        "x-csrf-token",
    ];
    // STOMP names are case sensitive, but secrets come under HTTP's names, which are not.
    !OWNED.contains(&name) && !SECRET.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}
