//! SockJS: payloads as serde_json reads them, URLs, callbacks, and frames that a browser would
//! unwrap to what was sent.

use crate::source::Source;
use serde_json::Value;
use stompede_core::limits::Limits;
use stompede_core::sockjs::callback;
use stompede_core::sockjs::endpoint::{Endpoint, Transports};
use stompede_core::sockjs::error::Error;
use stompede_core::sockjs::frame::{push_message, push_prelude, Close, Frame, Messages, Wrapping};
use stompede_core::sockjs::payload::Parser;
use stompede_core::sockjs::url::{below_prefix, route, Method, Route, Transport};

/// The first byte chooses what is read or written.
pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    match source.below(4) {
        0 => payload(source.rest()),
        1 => form(source.rest()),
        2 => url(&String::from_utf8_lossy(source.rest())),
        _ => frame(source),
    }
}

fn payload(body: &[u8]) {
    let (limits, mut parser) = (Limits::default(), Parser::default());
    let mut buffer = body.to_vec();
    let seen: Result<Vec<String>, Error> = parser
        .parse(&mut buffer, &limits)
        .map(|payload| payload.iter().map(str::to_owned).collect());
    let expected = serde_json::from_slice::<Vec<String>>(body);
    match (&seen, &expected) {
        (Ok(seen), Ok(expected)) => assert_eq!(seen, expected),
        (Err(Error::TooManyMessages { .. } | Error::PayloadTooLarge { .. }), Ok(_)) => {}
        (Ok(_), Err(error)) => panic!("serde_json refuses: {error}"),
        (Err(error), Ok(_)) => panic!("serde_json takes: {error}"),
        (Err(_), Err(_)) => {}
    }
    let mut buffer = body.to_vec();
    let seen = parser.parse_websocket(&mut buffer, &limits);
    let one = serde_json::from_slice::<String>(body).ok().map(|text| vec![text]);
    match (seen, one.or(expected.ok())) {
        (Ok(None), _) => assert!(body.is_empty()),
        (Ok(Some(seen)), expected) => {
            let seen: Vec<String> = seen.iter().map(str::to_owned).collect();
            assert_eq!(Some(seen), expected);
        }
        (Err(Error::TooManyMessages { .. } | Error::PayloadTooLarge { .. }), _) => {}
        (Err(error), expected) => assert_eq!(expected, None, "{error}"),
    }
}

fn form(body: &[u8]) {
    let (limits, mut parser) = (Limits::default(), Parser::default());
    let mut buffer = body.to_vec();
    let kind = "application/x-www-form-urlencoded; charset=UTF-8";
    let Ok(payload) = parser.parse_jsonp(&mut buffer, Some(kind), &limits) else { return };
    let messages: Vec<String> = payload.iter().map(str::to_owned).collect();
    let text = String::from_utf8_lossy(body);
    let field = text.split('&').find_map(|field| field.strip_prefix("d=")).expect("a field d");
    assert_eq!(
        serde_json::from_slice::<Vec<String>>(&decoded(field.as_bytes())).ok(),
        Some(messages)
    );
}

/// A form's value, written from the form specification.
fn decoded(value: &[u8]) -> Vec<u8> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    match value {
        [] => Vec::new(),
        [b'+', rest @ ..] => [b" ".to_vec(), decoded(rest)].concat(),
        [b'%', high, low, rest @ ..] if hex(high).is_some() && hex(low).is_some() => {
            let byte = hex(high).unwrap_or(0) * 16 + hex(low).unwrap_or(0);
            [vec![byte], decoded(rest)].concat()
        }
        [first, rest @ ..] => [vec![*first], decoded(rest)].concat(),
    }
}

fn url(text: &str) {
    let limits = Limits::default();
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    if let Ok(name) = callback::from_query(Some(query), &limits) {
        assert!((1..=limits.sockjs_callback_bytes_max).contains(&name.len()));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{name}");
    }
    let below = below_prefix(path, "/echo").unwrap_or(path);
    for transports in [Transports::ALL, Transports::default()] {
        let endpoint = Endpoint { transports, ..Endpoint::default() };
        let Some(found) = route(below, &endpoint, &limits) else { continue };
        if let Route::Session { session, transport } = found {
            assert!((1..=limits.sockjs_id_bytes_max).contains(&session.len()));
            assert!(!session.contains(['.', '/']));
            let tail = format!("/{session}/{}", transport.name());
            assert!(below.strip_suffix('/').unwrap_or(below).ends_with(&tail), "{below}");
        }
        let _ = (found.methods(), matches!(found.method("GET"), Method::NotAllowed(_)));
    }
}

fn frame(mut source: Source<'_>) {
    const TRANSPORTS: [Transport; 8] = [
        Transport::WebSocket,
        Transport::Xhr,
        Transport::XhrSend,
        Transport::XhrStreaming,
        Transport::EventSource,
        Transport::HtmlFile,
        Transport::Jsonp,
        Transport::JsonpSend,
    ];
    let transport = source.pick(&TRANSPORTS);
    let frame = match source.below(5) {
        0 => Frame::Open,
        1 => Frame::Heartbeat,
        2 => {
            let code = 1_000 + u16::from(source.byte());
            Frame::Close(Close::new(code, source.text(100)))
        }
        _ => messages(source),
    };
    let mut bare = Vec::new();
    frame.encode(&mut bare, Wrapping::Bare);
    let wrapping = Wrapping::of(transport, "cb");
    let mut out = Vec::new();
    frame.encode(&mut out, wrapping);
    assert_eq!(out.len(), frame.wrapped_bytes(wrapping));
    assert_eq!(unwrapped(&out, wrapping), bare);
    push_prelude(&mut out, transport, "cb");
}

/// Messages of any bytes; they must read back as the text that the bytes nearly are.
fn messages(mut source: Source<'_>) -> Frame {
    let (mut frames, mut texts) = (Vec::new(), Vec::new());
    while !source.is_empty() || frames.is_empty() {
        let (first, second) = (source.bytes(60), source.text(20));
        let mut out = Vec::new();
        push_message(&mut out, &[first, second.as_bytes()]);
        texts.push(Value::String(format!("{}{second}", String::from_utf8_lossy(first))));
        frames.push(out.into());
    }
    let first = frames.remove(0);
    let frame = Frame::Messages(Messages::new(first, frames));
    let mut out = Vec::new();
    frame.encode(&mut out, Wrapping::Bare);
    let read: Value = serde_json::from_slice(out.strip_prefix(b"a").expect("an a")).expect("JSON");
    assert_eq!(read, Value::Array(texts));
    frame
}

/// What the client's side makes of a wrapped frame.
fn unwrapped(out: &[u8], wrapping: Wrapping<'_>) -> Vec<u8> {
    let text = std::str::from_utf8(out).expect("every transport is text");
    let inside = |before: &str, behind: &str| {
        let text = text.strip_prefix(before).and_then(|text| text.strip_suffix(behind));
        text.expect("what is around a frame").to_owned()
    };
    let script = |literal: String| {
        assert!(!literal.contains("</") && !literal.contains("<!--"), "{literal}");
        serde_json::from_str::<String>(&format!("\"{literal}\"")).expect("a literal").into_bytes()
    };
    match wrapping {
        Wrapping::Bare => out.to_vec(),
        Wrapping::Line => inside("", "\n").into_bytes(),
        Wrapping::Event => {
            let data = inside("data: ", "\r\n\r\n");
            assert!(!data.contains(['\r', '\n']));
            data.replace("%25", "%").into_bytes()
        }
        Wrapping::Script => script(inside("<script>\np(\"", "\");\n</script>\r\n")),
        Wrapping::Call(name) => script(inside(&format!("/**/{name}(\""), "\");\r\n")),
    }
}
