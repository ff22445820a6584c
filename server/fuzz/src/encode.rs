//! Server frames: what is encoded decodes to what was meant, and no header can inject another.

use crate::source::Source;
use stompede_core::limits::Limits;
use stompede_core::stomp::command::Command;
use stompede_core::stomp::decode::{decode, Item, Rules};
use stompede_core::stomp::encode;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::escape::is_name_writable;
use stompede_core::stomp::frame::HeaderTable;
use stompede_core::stomp::negotiation::Version;

const VERSIONS: [Version; 3] = [Version::V1_0, Version::V1_1, Version::V1_2];

/// The bytes are a version, texts for the frame's places, and a body.
pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let version = source.pick(&VERSIONS);
    match source.below(4) {
        0 => connected(&mut source, version),
        1 => receipt(&mut source, version),
        2 => error(&mut source, version),
        _ => message(&mut source, version),
    }
}

/// What a client of `version` is meant to read: a NUL is never written, a CR not before 1.2, a LF
/// not in 1.0, nor spaces around a value there.
fn meant(text: &str, version: Version) -> String {
    let text = text.replace('\0', " ");
    match version {
        Version::V1_0 => text.replace(['\r', '\n'], " ").trim_matches(' ').to_owned(),
        Version::V1_1 => text.replace('\r', " "),
        Version::V1_2 => text,
    }
}

fn check(
    out: &[u8],
    version: Version,
    command: Command,
    headers: &[(String, String)],
    body: &[u8],
) {
    let (mut table, limits) = (HeaderTable::default(), Limits::default());
    let decoded = decode(out, Rules::Version(version), &limits, &mut table);
    let Ok(Some((Item::Frame(frame), consumed))) = decoded else { panic!("{decoded:?}") };
    assert_eq!((frame.command, consumed), (command, out.len()));
    let mut expected: Vec<(String, String)> = Vec::new();
    for (name, value) in headers {
        if !expected.iter().any(|(other, _)| other == name) {
            expected.push((name.clone(), value.clone()));
        }
    }
    let seen: Vec<(String, String)> =
        frame.headers().map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    assert_eq!(seen, expected);
    assert_eq!(frame.body, body);
}

fn connected(source: &mut Source<'_>, version: Version) {
    let (session, server, user) = (source.text(30), source.text(20), source.text(30));
    let user = (source.below(2) == 1).then_some(user.as_str());
    let mut out = Vec::new();
    encode::connected(&mut out, version, &session, &server, (0, 0), user);
    // Never escaped, so that of CR and LF nothing is left, in any version.
    let plain = |text: &str| text.replace(['\0', '\r', '\n'], " ");
    let shown = |text: &str| match version {
        Version::V1_0 => plain(text).trim_matches(' ').to_owned(),
        _ => plain(text),
    };
    let mut headers = vec![("version", version.as_str().to_owned()), ("session", shown(&session))];
    if !server.is_empty() {
        headers.push(("server", shown(&server)));
    }
    headers.push(("heart-beat", "0,0".to_owned()));
    headers.extend(user.map(|user| ("user-name", shown(user))));
    let headers: Vec<_> = headers.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    check(&out, version, Command::Connected, &headers, b"");
}

fn receipt(source: &mut Source<'_>, version: Version) {
    let (id, extra) = (source.text(60), source.text(60));
    let mut out = Vec::new();
    encode::receipt_with(&mut out, version, &id, &[("offset:", &extra)]);
    let headers = [("receipt-id", &id), ("offset", &extra)];
    let headers = headers.map(|(name, value)| (name.to_owned(), meant(value, version)));
    check(&out, version, Command::Receipt, &headers, b"");
}

fn error(source: &mut Source<'_>, version: Version) {
    let errors = [
        Error::UnknownCommand,
        Error::BadUtf8,
        Error::MissingNul { content_length: u64::MAX },
        Error::FrameTooLarge { seen: u64::MAX, limit: 1 },
    ];
    let (error, id, detail) = (source.pick(&errors), source.text(40), source.text(255));
    let mut out = Vec::new();
    encode::error(&mut out, version, &error, Some(&id), Some(&detail));
    let (mut table, limits) = (HeaderTable::default(), Limits::default());
    let decoded = decode(&out, Rules::Version(version), &limits, &mut table);
    let Ok(Some((Item::Frame(frame), consumed))) = decoded else { panic!("{decoded:?}") };
    assert_eq!((frame.command, consumed), (Command::Error, out.len()));
    assert_eq!(frame.header("receipt-id").as_deref(), Some(meant(&id, version).as_str()));
    let body = std::str::from_utf8(frame.body).expect("an ERROR's body is text");
    assert!(body.chars().all(|c| c == '\n' || !c.is_control()), "{body:?}");
}

fn message(source: &mut Source<'_>, version: Version) {
    let (subscription, id, ack) = (source.text(20), source.text(20), source.text(20));
    let destination = source.text(40);
    let count = source.below(6);
    let headers: Vec<(String, String)> =
        (0..count).map(|_| (source.text(12), source.text(30))).collect();
    let body = source.rest();
    let mut out = Vec::new();
    encode::message_head(&mut out, version, Some(&subscription), &id, Some(&ack));
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    encode::message_tail(&mut out, version, &destination, pairs, body);
    let own = [("subscription", subscription), ("message-id", id), ("ack", ack)];
    let own = own.into_iter().chain([("destination", destination)]);
    let mut expected: Vec<(String, String)> =
        own.map(|(name, value)| (name.to_owned(), meant(&value, version))).collect();
    let is_written = |name: &str| is_name_writable(name, version) && name != "content-length";
    for (name, value) in headers.iter().filter(|(name, _)| is_written(name)) {
        // Spaces around a name count in every version.
        let written = name.replace('\0', " ");
        let name = if version == Version::V1_2 { written } else { written.replace('\r', " ") };
        expected.push((name, meant(value, version)));
    }
    expected.push(("content-length".to_owned(), body.len().to_string()));
    check(&out, version, Command::Message, &expected, body);
}
