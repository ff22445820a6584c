//! Writes server frames: CONNECTED, RECEIPT, ERROR, and MESSAGE in two parts.
//!
//! STOMP 1.0, 1.1, 1.2, Server Frames. Everything is appended to a buffer of the caller. Lines end
//! in LF for every version, `content-length` is always there where a body may be. A MESSAGE is a
//! private head (subscription, message id, ack) and a tail that all subscribers of one version
//! share; the head comes first, because of repeated headers the first wins.

use super::error::Error;
use super::escape::{escape_into, is_name_writable, literal_into};
use super::negotiation::{Version, SUPPORTED};
use super::wording::Wording;

/// Bytes of the extra line in an ERROR's body.
const DETAIL_BYTES_MAX: usize = 256;

/// `name` with its colon. Inlined, so that copying a name of known length is a move or two.
#[inline]
fn header(out: &mut Vec<u8>, name: &'static str, value: &str, version: Version) {
    out.extend_from_slice(name.as_bytes());
    escape_into(out, value, version);
    out.push(b'\n');
}

/// `name` with its colon.
fn literal_header(out: &mut Vec<u8>, name: &'static str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    literal_into(out, value);
    out.push(b'\n');
}

fn content_length(out: &mut Vec<u8>, bytes: usize) {
    out.extend_from_slice(b"content-length:");
    number(out, bytes);
    out.push(b'\n');
}

fn number(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut left = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
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
    heartbeat: (u32, u32),
    user_name: Option<&str>,
) {
    out.extend_from_slice(b"CONNECTED\n");
    literal_header(out, "version:", version.as_str());
    literal_header(out, "session:", session);
    if !server.is_empty() {
        literal_header(out, "server:", server);
    }
    out.extend_from_slice(b"heart-beat:");
    number(out, heartbeat.0 as usize);
    out.push(b',');
    number(out, heartbeat.1 as usize);
    out.push(b'\n');
    if let Some(user_name) = user_name {
        literal_header(out, "user-name:", user_name);
    }
    out.extend_from_slice(b"\n\0");
}

/// RECEIPT.
pub fn receipt(out: &mut Vec<u8>, version: Version, receipt_id: &str) {
    receipt_with(out, version, receipt_id, &[]);
}

/// RECEIPT that says more: "the server MAY add additional headers" (1.2, Standard Headers). Names
/// come with their colon.
pub fn receipt_with(
    out: &mut Vec<u8>,
    version: Version,
    receipt_id: &str,
    headers: &[(&'static str, &str)],
) {
    out.extend_from_slice(b"RECEIPT\n");
    header(out, "receipt-id:", receipt_id, version);
    for (name, value) in headers {
        header(out, name, value, version);
    }
    out.extend_from_slice(b"\n\0");
}

/// A further header of a MESSAGE, behind its head. `name` comes with its colon.
pub fn message_header(out: &mut Vec<u8>, version: Version, name: &'static str, value: &str) {
    header(out, name, value, version);
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
    let mut wording = Wording::of(error);
    if let Some(detail) = detail {
        push_detail(&mut wording.body, detail);
    }
    error_as(out, version, receipt_id, &wording);
}

/// ERROR, in the words that are given.
pub fn error_as(out: &mut Vec<u8>, version: Version, receipt_id: Option<&str>, wording: &Wording) {
    out.extend_from_slice(b"ERROR\n");
    header(out, "message:", wording.message, version);
    if let Some(receipt_id) = receipt_id {
        header(out, "receipt-id:", receipt_id, version);
    }
    if wording.names_versions {
        header(out, "version:", SUPPORTED, version);
    }
    out.extend_from_slice(b"content-type:text/plain\n");
    content_length(out, wording.body.len());
    out.push(b'\n');
    out.extend_from_slice(wording.body.as_bytes());
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
        header(out, "subscription:", subscription, version);
    }
    header(out, "message-id:", message_id, version);
    if let Some(ack) = ack {
        header(out, "ack:", ack, version);
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
    header(out, "destination:", destination, version);
    for (name, value) in headers {
        // A `content-length` that is not ours would change where the frame ends.
        if is_name_writable(name, version) && name != "content-length" {
            escape_into(out, name, version);
            out.push(b':');
            escape_into(out, value, version);
            out.push(b'\n');
        }
    }
    message_body(out, body);
}

/// As [`message_tail`], with headers that are lines already: `name:value` and LF, none of them
/// `content-length`, and nothing in them that any version escapes.
pub fn message_tail_of_lines(
    out: &mut Vec<u8>,
    version: Version,
    destination: &str,
    lines: &str,
    body: &[u8],
) {
    header(out, "destination:", destination, version);
    out.extend_from_slice(lines.as_bytes());
    message_body(out, body);
}

fn message_body(out: &mut Vec<u8>, body: &[u8]) {
    content_length(out, body.len());
    out.push(b'\n');
    out.extend_from_slice(body);
    out.push(0);
}

/// Whether a header of SEND goes on into MESSAGE: not if it is the server's there, if it is about
/// the SEND itself, or if it is a secret that clients attach to every frame.
pub fn is_passed_through(name: &str) -> bool {
    let is_owned = matches!(
        name,
        "destination"
            | "message-id"
            | "subscription"
            | "ack"
            | "redelivered"
            | "content-length"
            | "receipt"
            | "transaction"
            | "login"
    );
    // STOMP names are case sensitive, but secrets come under HTTP's names, which are not.
    !is_owned && !is_secret(name)
}

fn is_secret(name: &str) -> bool {
    // By length first: few names are compared with any.
    let secrets: &[&str] = match name.len() {
        6 => &["cookie"],
        8 => &["passcode"],
        12 => &["x-auth-token", "x-csrf-token"],
        13 => &["authorization"],
        19 => &["proxy-authorization"],
        _ => &[],
    };
    secrets.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::super::decode::{decode, Item, Rules};
    use super::super::frame::HeaderTable;
    use super::*;
    use crate::limits::Limits;
    use proptest::prelude::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn connected_is_literal_but_safe() {
        let frame =
            text(|out| connected(out, Version::V1_2, "s", "Stompede", (0, 0), Some("a:b\\c\r\nd")));
        assert_eq!(
            frame,
            "CONNECTED\nversion:1.2\nsession:s\nserver:Stompede\nheart-beat:0,0\n\
             user-name:a:b\\c  d\n\n\0"
        );
        let hidden = text(|out| connected(out, Version::V1_0, "s", "", (0, 0), None));
        assert_eq!(hidden, "CONNECTED\nversion:1.0\nsession:s\nheart-beat:0,0\n\n\0");
    }

    #[test]
    fn receipts_are_escaped() {
        let frame = text(|out| receipt(out, Version::V1_2, "a:b\\c"));
        assert_eq!(frame, "RECEIPT\nreceipt-id:a\\cb\\\\c\n\n\0");
    }

    /// Catalogue: H23.
    #[test]
    fn error_has_message_receipt_and_length() {
        let frame = text(|out| {
            error(out, Version::V1_2, &Error::UnknownCommand, Some("r:1"), Some("FOO\r\n\0"));
        });
        let body = format!("{}\nFOO\\r\\n\\u{{0}}\n", Error::UnknownCommand);
        let expected = format!(
            "ERROR\nmessage:Bad command\nreceipt-id:r\\c1\ncontent-type:text/plain\n\
             content-length:{}\n\n{body}\0",
            body.len()
        );
        assert_eq!(frame, expected);
    }

    #[test]
    fn a_version_error_lists_the_versions() {
        let frame = text(|out| error(out, Version::V1_0, &Error::NoCommonVersion, None, None));
        assert!(frame.contains("\nversion:1.0,1.1,1.2\n"));
        assert!(frame.ends_with("\n\nSupported versions are 1.0,1.1,1.2\n\0"));
    }

    /// Catalogue: H23.
    #[test]
    fn details_are_bounded() {
        let mut body = String::new();
        push_detail(&mut body, &"\u{1}é".repeat(1_000));
        assert!(body.len() <= DETAIL_BYTES_MAX + 1 && body.len() > 240);
    }

    #[test]
    fn a_message_is_head_and_tail() {
        let frame = text(|out| {
            message_head(out, Version::V1_2, Some("s:1"), "m-1", Some("m-1"));
            let headers = [("a:b", "c\nd"), ("content-length", "9"), ("", "x")];
            message_tail(out, Version::V1_2, "/topic/a", headers.into_iter(), b"hi");
        });
        assert_eq!(
            frame,
            "MESSAGE\nsubscription:s\\c1\nmessage-id:m-1\nack:m-1\ndestination:/topic/a\n\
             a\\cb:c\\nd\ncontent-length:2\n\nhi\0"
        );
    }

    #[test]
    fn a_1_0_message_has_no_raw_line_ends_and_no_impossible_names() {
        let frame = text(|out| {
            message_head(out, Version::V1_0, None, "m-1", None);
            let headers = [("a:b", "1"), ("x", "a\nb\rc:\\")];
            message_tail(out, Version::V1_0, "/topic/a", headers.into_iter(), b"");
        });
        assert_eq!(
            frame,
            "MESSAGE\nmessage-id:m-1\ndestination:/topic/a\nx:a b c:\\\ncontent-length:0\n\n\0"
        );
    }

    #[test]
    fn pass_through() {
        for name in ["content-type", "persistent", "reply-to", "UPPER", "id", "x"] {
            assert!(is_passed_through(name), "{name}");
        }
        for name in [
            "destination",
            "message-id",
            "subscription",
            "ack",
            "redelivered",
            "content-length",
            "receipt",
            "transaction",
            "login",
            "passcode",
            "authorization",
            "Authorization",
            "proxy-authorization",
            "cookie",
            "X-Auth-Token",
            "x-csrf-token",
        ] {
            assert!(!is_passed_through(name), "{name}");
        }
    }

    /// What a MESSAGE looks like to its reader.
    fn read_back(wire: &[u8], version: Version) -> (Vec<(String, String)>, Vec<u8>) {
        let (mut table, limits) = (HeaderTable::default(), Limits::default());
        match decode(wire, Rules::Version(version), &limits, &mut table) {
            Ok(Some((Item::Frame(frame), consumed))) => {
                assert_eq!(consumed, wire.len());
                let headers = frame.headers().map(|(n, v)| (n.into_owned(), v.into_owned()));
                (headers.collect(), frame.body.to_vec())
            }
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn a_length_is_written_as_the_standard_library_writes_it(bytes in any::<usize>()) {
            for bytes in [bytes, bytes >> 40, bytes % 1_000, bytes % 10, usize::MAX] {
                let mut out = Vec::new();
                content_length(&mut out, bytes);
                prop_assert_eq!(out, format!("content-length:{bytes}\n").into_bytes());
            }
        }

        /// Catalogue: H24.
        #[test]
        fn reads_back(
            headers in prop::collection::btree_map("h[^\0]{0,8}", "[^\0]{0,12}", 0..6),
            id in "[^\0]{0,8}",
            body in prop::collection::vec(any::<u8>(), 0..64),
            version in prop::sample::select(&[Version::V1_1, Version::V1_2]),
        ) {
            // A CR cannot be written to a 1.1 client: it becomes a space.
            let sent = |text: &str| match version {
                Version::V1_1 => text.replace('\r', " "),
                _ => text.to_owned(),
            };
            prop_assume!(version == Version::V1_2 || headers.keys().all(|n| !n.contains('\r')));
            let mut out = Vec::new();
            message_head(&mut out, version, Some(&id), "m", None);
            let pairs = headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            message_tail(&mut out, version, "/topic/a", pairs, &body);
            let mut expected = vec![
                ("subscription".to_owned(), sent(&id)),
                ("message-id".to_owned(), "m".to_owned()),
                ("destination".to_owned(), "/topic/a".to_owned()),
            ];
            expected.extend(headers.iter().map(|(n, v)| (n.clone(), sent(v))));
            expected.push(("content-length".to_owned(), body.len().to_string()));
            prop_assert_eq!(read_back(&out, version), (expected, body));
        }

        /// Catalogue: H21.
        #[test]
        fn no_header_can_inject(
            name in "[a-z:\n\r\\\\]{1,6}",
            value in "[a-z:\n\r\0\\\\]{0,8}",
            version in prop::sample::select(&[Version::V1_0, Version::V1_1, Version::V1_2]),
        ) {
            let mut out = Vec::new();
            message_head(&mut out, version, Some(&value), &value, Some(&value));
            let headers = [(name.as_str(), value.as_str())];
            message_tail(&mut out, version, &value, headers.into_iter(), b"");
            let (headers, body) = read_back(&out, version);
            prop_assert!(headers.len() <= 6 && body.is_empty());
        }
    }
}
