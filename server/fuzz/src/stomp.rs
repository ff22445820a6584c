//! STOMP frames: any cut gives the same, and a naive twin agrees.
//!
//! The twin reads line by line from the whole input, allocates freely, and knows one way to be
//! wrong. It and the decoder must find the same frames in front of the same fault.

use crate::source::{cuts, Source};
use stompede_core::limits::Limits;
use stompede_core::stomp::command::Command;
use stompede_core::stomp::decode::{bytes_needed_hint, decode, Item, Rules};
use stompede_core::stomp::error::Error;
use stompede_core::stomp::escape::unescape;
use stompede_core::stomp::frame::HeaderTable;
use stompede_core::stomp::negotiation::{choose, Version};
use stompede_core::stomp::replay::replay;
use stompede_core::stomp::request::{decode_request, receipt};

const RULES: [Rules; 4] = [
    Rules::BeforeConnect,
    Rules::Version(Version::V1_0),
    Rules::Version(Version::V1_1),
    Rules::Version(Version::V1_2),
];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    command: Command,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Frames, the bytes that they and what is between them took, and what was wrong then.
type Decoded = (Vec<Owned>, usize, Option<Error>);

/// The first byte chooses rules and limits.
pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let choice = source.below(8);
    let (rules, input) = (RULES[choice % 4], source.rest());
    let limits = if choice < 4 { Limits::default() } else { small_limits() };
    let whole = decode_all(input, rules, &limits);
    for cut in cuts(input) {
        check_cut(input, cut, rules, &limits, &whole);
    }
    let (frames, fault) = twin(input, rules, &limits);
    assert_eq!(whole.0, frames, "the twin's frames");
    assert_eq!(whole.2.is_some(), fault, "the twin's fault, where we have {:?}", whole.2);
}

fn small_limits() -> Limits {
    Limits {
        stomp_command_bytes_max: 12,
        stomp_headers_count_max: 3,
        stomp_header_line_bytes_max: 24,
        stomp_head_bytes_max: 60,
        stomp_frame_bytes_max: 80,
        stomp_connect_bytes_max: 50,
        id_bytes_max: 6,
        destination_bytes_max: 12,
        ..Limits::default()
    }
}

fn decode_all(input: &[u8], rules: Rules, limits: &Limits) -> Decoded {
    let (mut frames, mut at, mut table) = (Vec::new(), 0, HeaderTable::default());
    loop {
        match decode(&input[at..], rules, limits, &mut table) {
            Ok(None) => return (frames, at, None),
            Err(failure) => return (frames, at, Some(failure.error)),
            Ok(Some((item, consumed))) => {
                assert!(consumed > 0 && at + consumed <= input.len());
                at += consumed;
                let Item::Frame(frame) = item else { continue };
                let headers = frame.headers().map(|(n, v)| (n.into_owned(), v.into_owned()));
                let headers: Vec<_> = headers.collect();
                // The server asks for names of its own, which need no escape.
                let is_plain = |name: &str| !name.contains(['\\', ':', '\n', '\r']);
                for (name, _) in headers.iter().filter(|(name, _)| is_plain(name)) {
                    assert!(frame.header(name).is_some());
                }
                let _ = (decode_request(&frame, rules, limits), receipt(&frame), replay(&frame));
                let _ = format!("{frame:?}");
                frames.push(Owned { command: frame.command, headers, body: frame.body.to_vec() });
            }
        }
    }
}

fn check_cut(input: &[u8], cut: usize, rules: Rules, limits: &Limits, whole: &Decoded) {
    let (frames, at, error) = decode_all(&input[..cut], rules, limits);
    assert!(whole.0.starts_with(&frames), "cut at {cut}");
    if error.is_some() {
        assert_eq!((&frames, error), (&whole.0, whole.2), "cut at {cut}");
        return;
    }
    let hint = bytes_needed_hint(&input[at..cut], rules, limits, &mut HeaderTable::default());
    assert!(hint > cut - at, "cut at {cut}");
    let is_early = hint > input.len() - at && !input[cut..].contains(&0);
    let rest = decode_all(&input[at..], rules, limits);
    let is_nothing = (rest.0.is_empty(), rest.1, rest.2) == (true, 0, None);
    assert!(!is_early || is_nothing, "cut at {cut}: hint {hint} is too high");
    assert_eq!([frames, rest.0].concat(), whole.0, "cut at {cut}");
    assert_eq!((at + rest.1, rest.2), (whole.1, whole.2), "cut at {cut}");
}

/// Frames, and whether there is a fault behind them; `Err` is the fault.
fn twin(mut input: &[u8], rules: Rules, limits: &Limits) -> (Vec<Owned>, bool) {
    let mut frames = Vec::new();
    loop {
        match one(input, rules, limits) {
            Ok(None) => return (frames, false),
            Err(Fault) => return (frames, true),
            Ok(Some((frame, rest))) => {
                frames.push(frame);
                input = rest;
            }
        }
    }
}

struct Fault;

fn one<'a>(
    mut input: &'a [u8],
    rules: Rules,
    limits: &Limits,
) -> Result<Option<(Owned, &'a [u8])>, Fault> {
    loop {
        input = match input {
            [b'\n' | 0, rest @ ..] | [b'\r', b'\n', rest @ ..] => rest,
            [b'\r', _, ..] => return Err(Fault),
            [] | [b'\r'] => return Ok(None),
            _ => break,
        };
    }
    let is_before = rules == Rules::BeforeConnect;
    let greetings: [&[u8]; 7] =
        [b"\x16", b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE "];
    if is_before && greetings.iter().any(|greeting| input.starts_with(greeting)) {
        return Err(Fault);
    }
    let frame_max = match is_before {
        true => limits.stomp_connect_bytes_max.min(limits.stomp_frame_bytes_max),
        false => limits.stomp_frame_bytes_max,
    };
    let head_max = limits.stomp_head_bytes_max.min(frame_max);
    let mut start = 0;
    let mut line = |limit: usize| next_line(input, &mut start, limit, head_max);
    let Some(command) = line(limits.stomp_command_bytes_max)? else { return Ok(None) };
    let command = Command::from_bytes(command).ok_or(Fault)?;
    if is_before && !command.opens_session() {
        return Err(Fault);
    }
    let is_connected = command.opens_session() || command == Command::Connected;
    let is_1_2 = rules == Rules::Version(Version::V1_2);
    let mut is_literal = is_connected || rules == Rules::Version(Version::V1_0);
    let (mut raw, mut has_cr) = (Vec::<(&[u8], &[u8])>::new(), false);
    loop {
        let Some(text) = line(limits.stomp_header_line_bytes_max)? else { return Ok(None) };
        if text.is_empty() {
            break;
        }
        let colon = text.iter().position(|&byte| byte == b':').ok_or(Fault)?;
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        has_cr |= text.contains(&b'\r');
        let is_bad_cr = is_1_2 && has_cr;
        let is_escaped = |text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            unescape(&text, Version::V1_2).is_ok()
        };
        let are_escaped = is_literal || (is_escaped(name) && is_escaped(value));
        if name.is_empty() || is_bad_cr || !are_escaped {
            return Err(Fault);
        }
        if !raw.iter().any(|(other, _)| *other == name) {
            raw.push((name, value));
        }
        if raw.len() > limits.stomp_headers_count_max {
            return Err(Fault);
        }
    }
    std::str::from_utf8(&input[..start]).map_err(|_| Fault)?;
    let find = |name: &[u8]| raw.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    let length = find(b"content-length").map(content_length).transpose()?;
    let accept = find(b"accept-version").map(String::from_utf8_lossy);
    let version = match rules {
        Rules::Version(version) => Some(version),
        Rules::BeforeConnect => choose(accept.as_deref()).ok(),
    };
    if has_cr && version == Some(Version::V1_2) {
        return Err(Fault);
    }
    let Some((body, rest)) = body(input, start, length, frame_max)? else { return Ok(None) };
    is_literal |= version == Some(Version::V1_0);
    let plain = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        match is_literal {
            true => text.into_owned(),
            false => unescape(&text, Version::V1_2).expect("checked").into_owned(),
        }
    };
    let trim = |text: String| match version {
        Some(Version::V1_0) => text.trim_matches(' ').to_owned(),
        _ => text,
    };
    let headers = raw.iter().map(|(name, value)| (plain(name), trim(plain(value)))).collect();
    Ok(Some((Owned { command, headers, body: body.to_vec() }, rest)))
}

/// The text of the line at `start`, which moves behind it.
fn next_line<'a>(
    input: &'a [u8],
    start: &mut usize,
    limit: usize,
    head_max: usize,
) -> Result<Option<&'a [u8]>, Fault> {
    let window = &input[..input.len().min(head_max)];
    let rest = window.get(*start..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'\n' | 0)).unwrap_or(rest.len());
    if end > limit || rest.get(end) == Some(&0) {
        return Err(Fault);
    }
    if end == rest.len() {
        return if input.len() >= head_max { Err(Fault) } else { Ok(None) };
    }
    *start += end + 1;
    Ok(Some(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end])))
}

fn content_length(value: &[u8]) -> Result<u64, Fault> {
    let text = std::str::from_utf8(value).map_err(|_| Fault)?.trim_matches(' ');
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(Fault)
}

type Body<'a> = (&'a [u8], &'a [u8]);

fn body(
    input: &[u8],
    start: usize,
    length: Option<u64>,
    frame_max: usize,
) -> Result<Option<Body<'_>>, Fault> {
    let body = &input[start..];
    let Some(length) = length else {
        let window = &body[..body.len().min(frame_max.saturating_sub(start))];
        return match window.iter().position(|&byte| byte == 0) {
            Some(end) => Ok(Some((&body[..end], &body[end + 1..]))),
            None if input.len() >= frame_max => Err(Fault),
            None => Ok(None),
        };
    };
    let total = u128::from(length) + start as u128 + 1;
    if total > frame_max as u128 {
        return Err(Fault);
    }
    let length = length as usize;
    match body.get(length) {
        None => Ok(None),
        Some(0) => Ok(Some((&body[..length], &body[length + 1..]))),
        Some(_) => Err(Fault),
    }
}
