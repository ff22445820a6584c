//! STOMP as a client speaks it, and as a server answers (1.0 to 1.2).
//!
//! Receiving is written here, because the server has no decoder for its own frames. One frame is
//! read header by header; a delivery in a WebSocket frame takes a shorter way first (`super`).

use super::{Inbound, Step, FRAME_BYTES_MAX};
use memchr::memchr;
use std::io::Write as _;

/// Reads the frame at the front of `input`.
///
/// # Errors
/// What no server may say.
pub fn next(input: &[u8]) -> Step<'_> {
    match input.first() {
        None => return Ok(None),
        Some(b'\n') => return Ok(Some((Inbound::HeartBeat, 1))),
        Some(b'\r') => return Ok(Some((Inbound::Other, 1))),
        Some(_) => {}
    }
    let Some((command, mut at)) = line(input, 0) else { return Ok(None) };
    let mut length = None;
    loop {
        let Some((header, next)) = line(input, at) else {
            let is_long = input.len() > FRAME_BYTES_MAX;
            return if is_long { Err("frame too long") } else { Ok(None) };
        };
        at = next;
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix(b"content-length:") {
            let text = std::str::from_utf8(value).map_err(|_| "content-length is no number")?;
            length = Some(text.parse::<usize>().map_err(|_| "content-length is no number")?);
        }
    }
    let rest = &input[at..];
    let body = match length {
        Some(length) if length > FRAME_BYTES_MAX => return Err("frame too long"),
        Some(length) => match rest.get(length) {
            None => return Ok(None),
            Some(0) => &rest[..length],
            Some(_) => return Err("no NUL behind the body"),
        },
        None => match memchr(0, rest) {
            None => return Ok(None),
            Some(end) => &rest[..end],
        },
    };
    let end = at + body.len() + 1;
    let inbound = match command {
        b"MESSAGE" => Inbound::Message { head: &input[..at], body },
        b"CONNECTED" => Inbound::Connected,
        b"RECEIPT" => Inbound::Receipt,
        b"ERROR" => Inbound::Error(&input[..end]),
        _ => return Err("unknown STOMP command"),
    };
    Ok(Some((inbound, end)))
}

/// The line at `at` without its end, and where the next begins.
fn line(input: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = at + memchr(b'\n', &input[at..])?;
    let text = &input[at..end];
    Some((text.strip_suffix(b"\r").unwrap_or(text), end + 1))
}

/// CONNECT; `login` is name and passcode, `version` as in `accept-version`.
pub fn connect_frame(
    version: &str,
    host: &str,
    login: Option<&(String, String)>,
    heart_beat: &str,
) -> Vec<u8> {
    let mut out = Vec::new();
    let _ =
        write!(out, "CONNECT\naccept-version:{version}\nhost:{host}\nheart-beat:{heart_beat}\n");
    if let Some((name, passcode)) = login {
        let _ = write!(out, "login:{name}\npasscode:{passcode}\n");
    }
    out.extend_from_slice(b"\n\0");
    out
}

/// The value of a header, as it stands on the wire, of the first with this name.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut at = 0;
    while let Some((text, next)) = line(head, at) {
        if let Some(value) = text.strip_prefix(name.as_bytes()) {
            if let Some(value) = value.strip_prefix(b":") {
                return Some(value);
            }
        }
        at = next;
    }
    None
}

/// Appends ACK of the delivery with this head; false if it does not say what to acknowledge.
///
/// STOMP 1.2: `id` "MUST match the `ack` header"; before, `message-id` and `subscription`.
pub fn ack_frame(out: &mut Vec<u8>, version: &str, head: &[u8]) -> bool {
    out.extend_from_slice(b"ACK");
    let named: &[(&str, &str)] = match version {
        "1.2" => &[("ack", "id")],
        _ => &[("message-id", "message-id"), ("subscription", "subscription")],
    };
    for (theirs, ours) in named {
        let Some(value) = header(head, theirs) else { return false };
        out.extend_from_slice(b"\n");
        out.extend_from_slice(ours.as_bytes());
        out.extend_from_slice(b":");
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\n\n\0");
    true
}

/// SUBSCRIBE number `id` with further headers `terms`; a receipt says that it and those before it
/// are live.
pub fn subscribe_frame(id: u32, destination: &str, terms: &str, with_receipt: bool) -> Vec<u8> {
    let receipt = if with_receipt { "receipt:s\n" } else { "" };
    format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\n{terms}{receipt}\n\0").into_bytes()
}

/// Appends SEND of `body`.
pub fn send_frame(out: &mut Vec<u8>, destination: &str, body: &[u8]) {
    let length = body.len();
    let _ = write!(
        out,
        "SEND\ndestination:{destination}\ncontent-type:text/plain\ncontent-length:{length}\n\n"
    );
    out.extend_from_slice(body);
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_names_the_delivery_as_its_version_wants_it() {
        let head = b"MESSAGE\nsubscription:7\nmessage-id:m\\c1\nack:a-1\nack:no\n\n";
        let ack = |version: &str, head: &[u8]| {
            let mut out = Vec::new();
            ack_frame(&mut out, version, head).then(|| String::from_utf8(out).unwrap())
        };
        assert_eq!(ack("1.2", head).unwrap(), "ACK\nid:a-1\n\n\0");
        let older = "ACK\nmessage-id:m\\c1\nsubscription:7\n\n\0";
        assert_eq!(ack("1.1", head).unwrap(), older);
        assert_eq!(ack("1.2", b"MESSAGE\nmessage-id:1\n\n"), None);
        assert_eq!(header(head, "mess"), None);
    }

    #[test]
    fn frames_are_told_apart() {
        let connected = b"CONNECTED\r\nversion:1.2\r\nheart-beat:0,25000\r\n\r\n\0";
        assert_eq!(next(connected), Ok(Some((Inbound::Connected, connected.len()))));
        assert_eq!(next(b"\nRE"), Ok(Some((Inbound::HeartBeat, 1))));
        assert_eq!(next(b"RECEIPT\nreceipt-id:s\n\n\0"), Ok(Some((Inbound::Receipt, 23))));
        assert_eq!(next(b"ERROR\n\n\0"), Ok(Some((Inbound::Error(b"ERROR\n\n\0"), 8))));
        assert!(next(b"HELLO\n\n\0").is_err());
        assert!(next(b"MESSAGE\ncontent-length:1\n\nab\0").is_err());
    }
}
