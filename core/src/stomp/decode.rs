//! Finds one frame at the start of the input, or says that more bytes are needed.
//!
//! STOMP 1.0, 1.1 and 1.2, STOMP Frames, Augmented BNF. Resumable at any byte by calling again with
//! more input: nothing is consumed until a frame is complete, and every check happens in the order
//! of the bytes, so that any cut of the input gives the same result. Limits are checked before the
//! bytes they are about have to be buffered. Line ends may be LF or CR LF in every version; CR
//! elsewhere in a header is data in 1.0 and 1.1 and an error in 1.2. Before CONNECT the version is
//! what its own `accept-version` leads to.

use super::command::Command;
use super::error::Error;
use super::escape;
use super::frame::{Frame, HeaderTable};
use super::negotiation::{choose, Version};
use crate::limits::Limits;

/// By which rules a frame is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Nobody is logged in: escapes are literal, `stomp_connect_bytes_max` bounds the frame, and
    /// only CONNECT and STOMP are legal.
    BeforeConnect,
    /// The session has agreed on a version.
    Version(Version),
}

/// What was at the start of the input.
#[derive(Debug)]
pub enum Item<'a> {
    /// A complete frame.
    Frame(Frame<'a>),
    /// EOLs (heart-beats) or stray NULs between frames, skipped.
    Eol,
}

/// The input is not STOMP, or over a limit: the connection must end.
#[derive(Clone, Debug)]
pub struct DecodeFailure {
    /// What is wrong.
    pub error: Error,
    /// The `receipt` header of the culprit, if it could be read.
    pub receipt: Option<String>,
}

/// The head of a frame, complete and checked.
struct Head<'a> {
    command: Command,
    /// Command and header lines, and the blank line.
    text: &'a str,
    content_length: Option<u64>,
    is_literal: bool,
    is_trimmed: bool,
}

/// The limits that apply, in bytes from the start of the frame.
struct Bounds {
    head_max: usize,
    frame_max: usize,
}

/// The first item of `input` and the number of bytes it took; `Ok(None)` if more bytes are needed.
///
/// # Errors
/// The first fault in the order of the bytes. The input must not be decoded further.
pub fn decode<'a>(
    input: &'a [u8],
    rules: Rules,
    limits: &Limits,
    table: &'a mut HeaderTable,
) -> Result<Option<(Item<'a>, usize)>, DecodeFailure> {
    let fail = |error| DecodeFailure { error, receipt: find_receipt(input, rules, limits) };
    match skip_between_frames(input) {
        Ok(0) => {}
        Ok(skipped) => return Ok(Some((Item::Eol, skipped))),
        Err(error) => return Err(DecodeFailure { error, receipt: None }),
    }
    let bounds = bounds(rules, limits);
    let Some(head) = scan_head(input, rules, limits, &bounds, table).map_err(fail)? else {
        return Ok(None);
    };
    let Some(body) = scan_body(input, &head, &bounds).map_err(fail)? else {
        return Ok(None);
    };
    let frame = Frame {
        command: head.command,
        body,
        head: head.text,
        table,
        is_literal: head.is_literal,
        is_trimmed: head.is_trimmed,
        has_content_length: head.content_length.is_some(),
    };
    Ok(Some((Item::Frame(frame), head.text.len() + body.len() + 1)))
}

/// After `Ok(None)`: the length below which `input` cannot become a frame.
///
/// Exact once `content-length` is known, else one byte more than there is. A caller that waits for
/// it does not scan a large frame again for each of its pieces.
pub fn bytes_needed_hint(
    input: &[u8],
    rules: Rules,
    limits: &Limits,
    table: &mut HeaderTable,
) -> usize {
    let announced = match scan_head(input, rules, limits, &bounds(rules, limits), table) {
        Ok(Some(head)) => head
            .content_length
            .and_then(|n| usize::try_from(n).ok()?.checked_add(head.text.len())?.checked_add(1)),
        _ => None,
    };
    announced.unwrap_or(0).max(input.len() + 1)
}

/// The command line at the start of a refused input, for the ERROR's body; at most 32 bytes.
///
/// It is the peer's text: whoever sends it on escapes control characters.
pub fn command_line(input: &[u8]) -> Option<String> {
    let window = &input[..input.len().min(32)];
    let end = memchr::memchr3(b'\n', b'\r', 0, window).unwrap_or(window.len());
    (end > 0).then(|| String::from_utf8_lossy(&window[..end]).into_owned())
}

fn bounds(rules: Rules, limits: &Limits) -> Bounds {
    let frame_max = match rules {
        Rules::BeforeConnect => limits.stomp_frame_bytes_max.min(limits.stomp_connect_bytes_max),
        Rules::Version(_) => limits.stomp_frame_bytes_max,
    };
    // Offsets of headers are u32.
    let head_max = limits.stomp_head_bytes_max.min(frame_max).min(u32::MAX as usize);
    Bounds { head_max, frame_max }
}

impl Bounds {
    fn head_error(&self) -> Error {
        if self.head_max < self.frame_max {
            return Error::HeadTooLarge { limit: self.head_max };
        }
        self.frame_error(self.frame_max as u64 + 1)
    }

    fn frame_error(&self, seen: u64) -> Error {
        Error::FrameTooLarge { seen, limit: self.frame_max as u64 }
    }
}

/// Bytes between frames: LF, CR LF, and NUL, which some clients send in front of a frame.
fn skip_between_frames(input: &[u8]) -> Result<usize, Error> {
    let mut at = 0;
    loop {
        match input[at..] {
            [b'\n' | 0, ..] => at += 1,
            [b'\r', b'\n', ..] => at += 2,
            // A fault behind skipped bytes is reported by the next call.
            [b'\r', _, ..] if at == 0 => return Err(Error::LoneCarriageReturn),
            _ => return Ok(at),
        }
    }
}

/// The line that starts at `start`, without its end, and where the next one starts.
///
/// `line_max` counts the bytes before the LF. `Ok(None)`: the line is not complete.
fn line<'a>(
    input: &'a [u8],
    start: usize,
    line_max: usize,
    too_long: Error,
    bounds: &Bounds,
) -> Result<Option<(&'a [u8], usize)>, Error> {
    let line_end_max = start.saturating_add(line_max).saturating_add(1);
    let end_max = line_end_max.min(bounds.head_max);
    let window = input.get(start..input.len().min(end_max)).unwrap_or_default();
    match memchr::memchr2(b'\n', 0, window) {
        Some(at) if window[at] == 0 => Err(Error::NulInHead),
        Some(at) => {
            let text = &window[..at];
            Ok(Some((text.strip_suffix(b"\r").unwrap_or(text), start + at + 1)))
        }
        None if input.len() < end_max => Ok(None),
        None if line_end_max <= bounds.head_max => Err(too_long),
        None => Err(bounds.head_error()),
    }
}

/// Friendlier words for two common mistakes, before anything is parsed.
fn check_greeting(input: &[u8]) -> Result<(), Error> {
    if input.first() == Some(&0x16) {
        return Err(Error::TlsOnPlainPort);
    }
    let methods: [&[u8]; 6] = [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE "];
    match methods.iter().any(|method| input.starts_with(method)) {
        true => Err(Error::HttpOnStompPort),
        false => Ok(()),
    }
}

fn scan_command(
    input: &[u8],
    rules: Rules,
    limits: &Limits,
    bounds: &Bounds,
) -> Result<Option<(Command, usize)>, Error> {
    if rules == Rules::BeforeConnect {
        check_greeting(input)?;
    }
    let limit = limits.stomp_command_bytes_max;
    let too_long = Error::CommandTooLong { limit };
    let Some((text, next)) = line(input, 0, limit, too_long, bounds)? else { return Ok(None) };
    let command = Command::from_bytes(text).ok_or(Error::UnknownCommand)?;
    if rules == Rules::BeforeConnect && !command.opens_session() {
        return Err(Error::NotConnected);
    }
    Ok(Some((command, next)))
}

fn scan_head<'a>(
    input: &'a [u8],
    rules: Rules,
    limits: &Limits,
    bounds: &Bounds,
    table: &mut HeaderTable,
) -> Result<Option<Head<'a>>, Error> {
    table.clear();
    let Some((command, mut at)) = scan_command(input, rules, limits, bounds)? else {
        return Ok(None);
    };
    let mut is_literal = command.has_literal_headers() || rules == Rules::Version(Version::V1_0);
    let limit = limits.stomp_header_line_bytes_max;
    let (mut content_length, mut accept_version, mut has_cr) = (None, None, false);
    loop {
        let too_long = Error::HeaderTooLong { limit };
        let Some((text, next)) = line(input, at, limit, too_long, bounds)? else {
            return Ok(None);
        };
        if text.is_empty() {
            at = next;
            break;
        }
        let colon = check_header(text, is_literal, rules, &mut has_cr)?;
        let (start, name_end, end) = (at, at + colon, at + text.len());
        // Below `head_max`, which fits u32.
        if table.insert(input, start as u32, name_end as u32, end as u32) {
            if table.len() > limits.stomp_headers_count_max {
                return Err(Error::TooManyHeaders { limit: limits.stomp_headers_count_max });
            }
            match &text[..colon] {
                b"content-length" => content_length = Some(&text[colon + 1..]),
                b"accept-version" => accept_version = Some(&text[colon + 1..]),
                _ => {}
            }
        }
        at = next;
    }
    let text = simdutf8::basic::from_utf8(&input[..at]).map_err(|_| Error::BadUtf8)?;
    let content_length = content_length.map(parse_content_length).transpose()?;
    let version = match rules {
        Rules::Version(version) => Some(version),
        Rules::BeforeConnect => {
            let accept = accept_version.map(|list| std::str::from_utf8(list).unwrap_or_default());
            choose(accept).ok()
        }
    };
    if has_cr && version == Some(Version::V1_2) {
        return Err(Error::LoneCarriageReturn);
    }
    is_literal |= version == Some(Version::V1_0);
    let is_trimmed = version == Some(Version::V1_0);
    Ok(Some(Head { command, text, content_length, is_literal, is_trimmed }))
}

/// Checks one header line, and gives the place of its colon.
fn check_header(
    text: &[u8],
    is_literal: bool,
    rules: Rules,
    has_cr: &mut bool,
) -> Result<usize, Error> {
    let colon = match memchr::memchr(b':', text) {
        None => return Err(Error::MissingColon),
        Some(0) => return Err(Error::EmptyHeaderName),
        Some(colon) => colon,
    };
    if memchr::memchr(b'\r', text).is_some() {
        *has_cr = true;
        if rules == Rules::Version(Version::V1_2) {
            return Err(Error::LoneCarriageReturn);
        }
    }
    if !is_literal {
        escape::check(&text[..colon])?;
        escape::check(&text[colon + 1..])?;
    }
    Ok(colon)
}

/// Optional spaces and digits. No sign, and what does not fit 64 bits is not a length.
fn parse_content_length(value: &[u8]) -> Result<u64, Error> {
    let text = std::str::from_utf8(value).map_err(|_| Error::BadContentLength)?;
    let digits = text.trim_matches(' ');
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::BadContentLength);
    }
    digits.parse().map_err(|_| Error::BadContentLength)
}

/// The body: `content-length` bytes and a NUL, or everything up to the first NUL.
fn scan_body<'a>(
    input: &'a [u8],
    head: &Head<'_>,
    bounds: &Bounds,
) -> Result<Option<&'a [u8]>, Error> {
    let start = head.text.len();
    let Some(content_length) = head.content_length else {
        let window = input.get(start..input.len().min(bounds.frame_max)).unwrap_or_default();
        return match memchr::memchr(0, window) {
            Some(end) => Ok(Some(&window[..end])),
            None if input.len() < bounds.frame_max => Ok(None),
            None => Err(bounds.frame_error(bounds.frame_max as u64 + 1)),
        };
    };
    let seen = content_length.saturating_add(start as u64).saturating_add(1);
    if seen > bounds.frame_max as u64 {
        return Err(bounds.frame_error(seen));
    }
    // Fits: it is at most `frame_max`, a usize.
    let end = start + content_length as usize;
    match input.get(end) {
        None => Ok(None),
        Some(0) => Ok(Some(&input[start..end])),
        Some(_) => Err(Error::MissingNul { content_length }),
    }
}

/// The `receipt` header of a refused frame, as far as its lines are there and within limits.
fn find_receipt(input: &[u8], rules: Rules, limits: &Limits) -> Option<String> {
    let bounds = bounds(rules, limits);
    let ignored = Error::UnknownCommand;
    let (command, mut at) =
        line(input, 0, limits.stomp_command_bytes_max, ignored, &bounds).ok()??;
    // "receipt" is allowed on "any client frame other than CONNECT" (1.2, receipt).
    if Command::from_bytes(command).is_some_and(Command::opens_session) {
        return None;
    }
    let version = match rules {
        Rules::BeforeConnect => Version::V1_0,
        Rules::Version(version) => version,
    };
    loop {
        let limit = limits.stomp_header_line_bytes_max;
        let (text, next) = line(input, at, limit, ignored, &bounds).ok()??;
        if text.is_empty() {
            return None;
        }
        if let Some(value) = text.strip_prefix(b"receipt:") {
            let value = std::str::from_utf8(value).ok()?;
            let value = if version == Version::V1_0 { value.trim_matches(' ') } else { value };
            let value = escape::unescape(value, version).ok()?;
            return (value.len() <= limits.id_bytes_max).then(|| value.into_owned());
        }
        at = next;
    }
}
