//! A naive twin of the codecs, from the client's side: STOMP 1.2 frames and RFC 6455 frames.
//!
//! Written from the specifications and not from the server's code, so that an error there does not
//! hide itself here. Whatever the server sends that no specification allows is a panic.

use stompede::reactor::sim::Rng;

/// One STOMP frame from the server.
#[derive(Debug)]
pub struct Frame<'a> {
    pub command: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first header of that name: "only the first header entry SHOULD be used".
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }
}

/// A client's frame on the wire.
pub fn stomp(command: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{command}\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}:{value}\n").as_bytes());
    }
    if !body.is_empty() {
        bytes.extend_from_slice(format!("content-length:{}\n", body.len()).as_bytes());
    }
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    bytes.push(0);
    bytes
}

/// Takes one frame off the front; `None`: incomplete. Heart-beats in front of it are dropped.
pub fn take_stomp<'a>(input: &mut &'a [u8]) -> Option<Frame<'a>> {
    let beats = input.iter().take_while(|&&byte| byte == b'\n').count();
    *input = &input[beats..];
    let mut line_ends = input.iter().enumerate().filter(|(_, &byte)| byte == b'\n');
    let (head_len, _) = line_ends.find(|(at, _)| input.get(at + 1) == Some(&b'\n'))?;
    let head = std::str::from_utf8(&input[..head_len]).expect("a head is UTF-8");
    let mut lines = head.split('\n');
    let command = lines.next().expect("split gives one");
    let headers: Vec<(&str, &str)> = lines
        .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no colon in {line:?}")))
        .collect();
    let start = head_len + 2;
    let length = headers.iter().find(|(name, _)| *name == "content-length");
    let body_len = match length {
        Some((_, value)) => value.parse::<usize>().expect("content-length is a number"),
        None => input[start..].iter().position(|&byte| byte == 0)?,
    };
    let end = start + body_len;
    let last = *input.get(end)?;
    assert_eq!(last, 0, "no NUL behind the body of {command}");
    let body = &input[start..end];
    *input = &input[end + 1..];
    Some(Frame { command, headers, body })
}

/// Opcodes of RFC 6455 §5.2.
pub mod opcode {
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// A client's masked frame.
pub fn ws_frame(rng: &mut Rng, opcode: u8, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode | if is_final { 0x80 } else { 0 }];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = (rng.next_u64() as u32).to_be_bytes();
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    bytes
}

/// A client's message in random fragments, with a ping between them now and then: its payload is
/// put into `pings`.
pub fn ws_message(rng: &mut Rng, payload: &[u8], pings: &mut Vec<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut code = opcode::BINARY;
    let mut rest = payload;
    loop {
        let is_cut = rng.chance(200) && !rest.is_empty();
        let count = if is_cut { rng.below(rest.len()) } else { rest.len() };
        bytes.extend(ws_frame(rng, code, !is_cut, &rest[..count]));
        if !is_cut {
            return bytes;
        }
        (code, rest) = (opcode::CONTINUATION, &rest[count..]);
        if rng.chance(300) {
            let ping = rng.next_u64().to_be_bytes()[..rng.below(8)].to_vec();
            bytes.extend(ws_frame(rng, opcode::PING, true, &ping));
            pings.push(ping);
        }
    }
}

/// Takes one of the server's frames off the front, as opcode and payload.
pub fn take_ws<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&first, &second) = (input.first()?, input.get(1)?);
    assert_eq!(first & 0xf0, 0x80, "the server neither fragments nor uses RSV bits");
    assert!(second < 0x80, "the server does not mask");
    let (head, length) = match second {
        126 => (4, u64::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(input.get(2..10)?.try_into().ok()?)),
        length => (2, u64::from(length)),
    };
    let minimal = if length < 126 { 2 } else { 4 + 6 * usize::from(length > 0xffff) };
    assert_eq!(head, minimal, "the length {length} is not in its shortest form");
    let end = head + length as usize;
    let payload = input.get(head..end)?;
    *input = &input[end..];
    let code = first & 0x0f;
    if code == opcode::TEXT {
        assert!(std::str::from_utf8(payload).is_ok(), "a text message is UTF-8");
    }
    Some((code, payload))
}

/// Does `pattern` match `name`? Segments between `/`; `**` is any number of them, `*` any
/// characters of one, `?` one character.
pub fn matches(pattern: &str, name: &str) -> bool {
    fn segments(pattern: &[&str], name: &[&str]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((&"**", rest)) => (0..=name.len()).any(|skip| segments(rest, &name[skip..])),
            Some((first, rest)) => name.split_first().is_some_and(|(head, tail)| {
                characters(first.as_bytes(), head.as_bytes()) && segments(rest, tail)
            }),
        }
    }
    fn characters(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| characters(rest, &text[skip..])),
            Some((first, rest)) => text.split_first().is_some_and(|(head, tail)| {
                (*first == b'?' || first == head) && characters(rest, tail)
            }),
        }
    }
    let pattern: Vec<&str> = pattern.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    segments(&pattern, &name)
}
