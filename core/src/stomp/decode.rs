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
use super::lines::{Line, Lines};
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
    /// The command line of an unknown command, for the ERROR's body; at most 32 bytes. It is
    /// the peer's text: whoever sends it on escapes control characters.
    pub command: Option<String>,
}

/// The head of a frame, complete and checked.
struct Head<'a> {
    command: Command,
    /// Command and header lines, and the blank line.
    text: &'a str,
    content_length: Option<u64>,
    is_literal: bool,
    is_trimmed: bool,
    is_plain: bool,
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
    let fail = |error| DecodeFailure {
        error,
        receipt: find_receipt(input, rules, limits),
        command: if error == Error::UnknownCommand { command_line(input) } else { None },
    };
    match skip_between_frames(input) {
        Ok(0) => {}
        Ok(skipped) => return Ok(Some((Item::Eol, skipped))),
        Err(error) => return Err(DecodeFailure { error, receipt: None, command: None }),
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
        is_plain: head.is_plain,
        has_content_length: head.content_length.is_some(),
    };
    Ok(Some((Item::Frame(frame), head.text.len() + body.len() + 1)))
}

/// After `Ok(None)`: the length below which nothing can be decoded, unless a NUL comes.
///
/// Exact once `content-length` is known; the largest frame while a body without it goes on; one
/// byte more than there is within the head. A caller that waits for it or for a NUL does not scan a
/// large frame again for each of its pieces.
pub fn bytes_needed_hint(
    input: &[u8],
    rules: Rules,
    limits: &Limits,
    table: &mut HeaderTable,
) -> usize {
    let bounds = bounds(rules, limits);
    let needed = match scan_head(input, rules, limits, &bounds, table) {
        Ok(Some(head)) => match head.content_length {
            Some(n) => usize::try_from(n).ok().and_then(|n| n.checked_add(head.text.len() + 1)),
            None => Some(bounds.frame_max),
        },
        _ => None,
    };
    needed.unwrap_or(0).max(input.len() + 1)
}

/// The command line at the start of a refused input; at most 32 bytes.
fn command_line(input: &[u8]) -> Option<String> {
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
    lines: &mut Lines<'_>,
    rules: Rules,
    limits: &Limits,
    bounds: &Bounds,
) -> Result<Option<Command>, Error> {
    let limit = limits.stomp_command_bytes_max;
    let Some(line) = lines.next(limit) else {
        let too_long = Error::CommandTooLong { limit };
        return lines.fault(limit, too_long, bounds.head_error()).map(|()| None);
    };
    let command = Command::from_bytes(&input[line.start..line.end]).ok_or(Error::UnknownCommand)?;
    if rules == Rules::BeforeConnect && !command.opens_session() {
        return Err(Error::NotConnected);
    }
    Ok(Some(command))
}

fn scan_head<'a>(
    input: &'a [u8],
    rules: Rules,
    limits: &Limits,
    bounds: &Bounds,
    table: &mut HeaderTable,
) -> Result<Option<Head<'a>>, Error> {
    table.clear();
    if rules == Rules::BeforeConnect {
        check_greeting(input)?;
    }
    let mut lines = Lines::new(input, bounds.head_max);
    let Some(command) = scan_command(input, &mut lines, rules, limits, bounds)? else {
        return Ok(None);
    };
    let mut is_literal = command.has_literal_headers() || rules == Rules::Version(Version::V1_0);
    let limit = limits.stomp_header_line_bytes_max;
    let (mut has_cr, mut has_escape, mut is_plain) = (false, false, true);
    let head_bytes = loop {
        let Some(line) = lines.next(limit) else {
            let too_long = Error::HeaderTooLong { limit };
            return lines.fault(limit, too_long, bounds.head_error()).map(|()| None);
        };
        if line.start == line.end {
            break line.next;
        }
        let name = check_header(input, &line, is_literal, rules)?;
        has_cr |= line.has_cr;
        has_escape |= line.has_escape;
        is_plain &= line.is_plain;
        // Below `head_max`, which fits u32.
        if table.insert(input, line.start as u32, name, line.end as u32)
            && table.len() > limits.stomp_headers_count_max
        {
            return Err(Error::TooManyHeaders { limit: limits.stomp_headers_count_max });
        }
    };
    let text = simdutf8::basic::from_utf8(&input[..head_bytes]).map_err(|_| Error::BadUtf8)?;
    let content_length = table.raw_value(input, b"content-length");
    let content_length = content_length.map(parse_content_length).transpose()?;
    let version = match rules {
        Rules::Version(version) => Some(version),
        Rules::BeforeConnect => {
            let accept = table.raw_value(input, b"accept-version");
            let accept = accept.map(|list| std::str::from_utf8(list).unwrap_or_default());
            choose(accept).ok()
        }
    };
    if has_cr && version == Some(Version::V1_2) {
        return Err(Error::LoneCarriageReturn);
    }
    // Without a single `\` there is nothing to resolve, and nothing to look for later.
    is_literal |= version == Some(Version::V1_0) || !has_escape;
    let is_trimmed = version == Some(Version::V1_0);
    // What 1.0 means by a line is not what it says: there may be spaces around a value.
    is_plain &= !is_trimmed;
    Ok(Some(Head { command, text, content_length, is_literal, is_trimmed, is_plain }))
}

/// Checks one header line, and gives its name, escapes and all.
#[inline(always)]
fn check_header<'a>(
    input: &'a [u8],
    line: &Line,
    is_literal: bool,
    rules: Rules,
) -> Result<&'a [u8], Error> {
    let colon = line.colon.ok_or(Error::MissingColon)?;
    let name = &input[line.start..colon];
    if name.is_empty() {
        return Err(Error::EmptyHeaderName);
    }
    if line.has_cr && rules == Rules::Version(Version::V1_2) {
        return Err(Error::LoneCarriageReturn);
    }
    if line.has_escape && !is_literal {
        escape::check(name)?;
        escape::check(&input[colon + 1..line.end])?;
    }
    Ok(name)
}

/// Optional spaces and digits. No sign, and what does not fit 64 bits is not a length.
fn parse_content_length(value: &[u8]) -> Result<u64, Error> {
    let blank = |byte: &u8| *byte == b' ';
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    let add = |length: u64, digit: &u8| match digit {
        b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    };
    let digits = value.get(start..end).filter(|digits| !digits.is_empty());
    digits.and_then(|digits| digits.iter().try_fold(0, add)).ok_or(Error::BadContentLength)
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
    let mut lines = Lines::new(input, bounds(rules, limits).head_max);
    let command = lines.next(limits.stomp_command_bytes_max)?;
    // "receipt" is allowed on "any client frame other than CONNECT" (1.2, receipt).
    if Command::from_bytes(&input[command.start..command.end]).is_some_and(Command::opens_session) {
        return None;
    }
    let version = match rules {
        Rules::BeforeConnect => Version::V1_0,
        Rules::Version(version) => version,
    };
    loop {
        let limit = limits.stomp_header_line_bytes_max;
        let line = lines.next(limit)?;
        let text = &input[line.start..line.end];
        if text.is_empty() {
            return None;
        }
        if let Some(value) = text.strip_prefix(b"receipt:") {
            let value = std::str::from_utf8(value).ok()?;
            let value = if version == Version::V1_0 { value.trim_matches(' ') } else { value };
            let value = escape::unescape(value, version).ok()?;
            return (value.len() <= limits.id_bytes_max).then(|| value.into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V1_0: Rules = Rules::Version(Version::V1_0);
    const V1_1: Rules = Rules::Version(Version::V1_1);
    const V1_2: Rules = Rules::Version(Version::V1_2);
    const ALL: [Rules; 4] = [Rules::BeforeConnect, V1_0, V1_1, V1_2];

    /// Frames as owned text: command, headers, body.
    type Owned = (Command, Vec<(String, String)>, Vec<u8>);

    fn small_limits() -> Limits {
        Limits {
            stomp_command_bytes_max: 12,
            stomp_headers_count_max: 3,
            stomp_header_line_bytes_max: 20,
            stomp_head_bytes_max: 50,
            stomp_frame_bytes_max: 70,
            stomp_connect_bytes_max: 40,
            ..Limits::default()
        }
    }

    fn decode_all(
        input: &[u8],
        rules: Rules,
        limits: &Limits,
    ) -> (Vec<Owned>, usize, Option<Error>) {
        let (mut frames, mut at, mut table) = (Vec::new(), 0, HeaderTable::default());
        loop {
            match decode(&input[at..], rules, limits, &mut table) {
                Ok(None) => return (frames, at, None),
                Err(failure) => return (frames, at, Some(failure.error)),
                Ok(Some((item, consumed))) => {
                    assert!(consumed > 0 && at + consumed <= input.len());
                    at += consumed;
                    if let Item::Frame(frame) = item {
                        let headers =
                            frame.headers().map(|(n, v)| (n.into_owned(), v.into_owned()));
                        frames.push((frame.command, headers.collect(), frame.body.to_vec()));
                    }
                }
            }
        }
    }

    fn frames(input: &[u8], rules: Rules) -> Vec<Owned> {
        let (frames, at, error) = decode_all(input, rules, &Limits::default());
        assert_eq!((at, error), (input.len(), None));
        frames
    }

    fn one(input: &[u8], rules: Rules) -> Owned {
        let mut all = frames(input, rules);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn fault(input: &[u8], rules: Rules) -> Option<Error> {
        decode_all(input, rules, &Limits::default()).2
    }

    fn value(input: &[u8], rules: Rules) -> String {
        one(input, rules).1[0].1.clone()
    }

    #[test]
    fn a_frame_is_command_headers_and_body() {
        let (command, headers, body) = one(b"SEND\ndestination:/topic/a\nx:1\n\nhello\0", V1_2);
        assert_eq!(command, Command::Send);
        assert_eq!(headers[0], ("destination".into(), "/topic/a".into()));
        assert_eq!(headers[1], ("x".into(), "1".into()));
        assert_eq!(body, b"hello");
    }

    /// Catalogue: H06.
    #[test]
    fn lines_may_end_in_cr_lf_in_every_version() {
        for rules in [V1_0, V1_1, V1_2] {
            assert_eq!(value(b"SEND\r\ndestination:/a\r\n\r\n\0", rules), "/a");
        }
    }

    /// Catalogue: H06.
    #[test]
    fn cr_inside_a_header_is_data_before_1_2_and_an_error_in_1_2() {
        assert_eq!(value(b"SEND\na:b\rc\n\n\0", V1_1), "b\rc");
        assert_eq!(value(b"SEND\na:b\r\r\n\n\0", V1_0), "b\r");
        assert_eq!(fault(b"SEND\na:b\rc\n\n\0", V1_2), Some(Error::LoneCarriageReturn));
        assert_eq!(fault(b"SEND\na:b\r\r\n\n\0", V1_2), Some(Error::LoneCarriageReturn));
    }

    #[test]
    fn before_connect_the_cr_rule_is_that_of_the_version_to_come() {
        let rules = Rules::BeforeConnect;
        assert_eq!(value(b"CONNECT\nlogin:a\rb\naccept-version:1.1\n\n\0", rules), "a\rb");
        assert_eq!(
            fault(b"CONNECT\nlogin:a\rb\naccept-version:1.2\n\n\0", rules),
            Some(Error::LoneCarriageReturn)
        );
    }

    #[test]
    fn eols_and_nuls_between_frames_are_skipped() {
        let input = b"\n\r\n\0\nCONNECT\n\n\0\n\r\n";
        assert_eq!(frames(input, Rules::BeforeConnect).len(), 1);
        assert_eq!(frames(b"\n", V1_2).len(), 0);
    }

    /// Catalogue: H06.
    #[test]
    fn a_lone_cr_between_frames_is_an_error() {
        assert_eq!(fault(b"\rSEND\n\n\0", V1_2), Some(Error::LoneCarriageReturn));
        assert_eq!(fault(b"\n\r\rSEND", V1_0), Some(Error::LoneCarriageReturn));
        assert_eq!(fault(b"\n\r", V1_2), None);
    }

    #[test]
    fn the_first_colon_splits_a_header() {
        assert_eq!(value(b"SEND\nurl:http://a:1/\n\n\0", V1_2), "http://a:1/");
    }

    /// Catalogue: H03.
    #[test]
    fn headers_need_a_colon_and_a_name_but_no_value() {
        assert_eq!(fault(b"SEND\nabc\n", V1_2), Some(Error::MissingColon));
        assert_eq!(fault(b"SEND\n:abc\n", V1_0), Some(Error::EmptyHeaderName));
        assert_eq!(value(b"SEND\nabc:\n\n\0", V1_0), "");
    }

    /// Catalogue: H20.
    #[test]
    fn headers_must_be_utf8_and_bodies_need_not() {
        assert_eq!(fault(b"SEND\na:\xff\n\n\0", V1_2), Some(Error::BadUtf8));
        assert_eq!(fault(b"SEND\na:\xff\n\n\0", V1_0), Some(Error::BadUtf8));
        assert_eq!(one(b"SEND\n\n\xff\0", V1_2).2, b"\xff");
    }

    #[test]
    fn spaces_of_values_count_from_1_1_on() {
        assert_eq!(value(b"SEND\na: b \n\n\0", V1_0), "b");
        assert_eq!(value(b"SEND\na: b \n\n\0", V1_1), " b ");
        assert_eq!(value(b"SEND\na: b \n\n\0", V1_2), " b ");
        assert_eq!(value(b"CONNECT\nlogin: b\n\n\0", Rules::BeforeConnect), "b");
        let later = b"CONNECT\npasscode: b\naccept-version:1.2\n\n\0";
        assert_eq!(value(later, Rules::BeforeConnect), " b");
    }

    /// Catalogue: H05.
    #[test]
    fn of_repeated_headers_the_first_wins() {
        let (_, headers, _) = one(b"SEND\na:1\nb:2\na:3\n\n\0", V1_2);
        assert_eq!(headers, [("a".into(), "1".into()), ("b".into(), "2".into())]);
    }

    /// Catalogue: H05.
    #[test]
    fn repeats_do_not_count_against_the_header_limit() {
        let input = format!("SEND\n{}\n\0", "a:1\n".repeat(1_000));
        assert_eq!(one(input.as_bytes(), V1_2).1.len(), 1);
    }

    /// Catalogue: H04.
    #[test]
    fn names_and_values_are_unescaped_from_1_1_on() {
        let input = b"SEND\na\\cb:c\\nd\\\\e\n\n\0";
        let plain = ("a:b".to_owned(), "c\nd\\e".to_owned());
        assert_eq!(one(input, V1_1).1, std::slice::from_ref(&plain));
        assert_eq!(one(input, V1_2).1, [plain]);
        assert_eq!(one(input, V1_0).1, [("a\\cb".into(), "c\\nd\\\\e".into())]);
        assert_eq!(value(b"SEND\na:b\\rc\n\n\0", V1_1), "b\rc");
    }

    /// Catalogue: H04.
    #[test]
    fn undefined_escapes_are_fatal_from_1_1_on() {
        for input in [&b"SEND\na:\\t\n\n\0"[..], b"SEND\na:b\\\n\n\0", b"SEND\n\\x:b\n\n\0"] {
            assert_eq!(fault(input, V1_1), Some(Error::BadEscape));
            assert_eq!(fault(input, V1_2), Some(Error::BadEscape));
            assert_eq!(fault(input, V1_0), None);
        }
    }

    /// Catalogue: H04.
    #[test]
    fn headers_of_connect_and_connected_are_literal() {
        let input = b"STOMP\npasscode:a\\t\\\naccept-version:1.2\n\n\0";
        assert_eq!(value(input, Rules::BeforeConnect), "a\\t\\");
        assert_eq!(value(b"CONNECTED\nserver:a\\cb\n\n\0", V1_2), "a\\cb");
    }

    #[test]
    fn a_body_with_content_length_may_hold_nul() {
        assert_eq!(one(b"SEND\ncontent-length:3\n\na\0b\0", V1_2).2, b"a\0b");
        assert_eq!(one(b"SEND\ncontent-length: 3 \n\na\0b\0", V1_1).2, b"a\0b");
    }

    /// Catalogue: H08.
    #[test]
    fn content_length_must_meet_a_nul() {
        let error = Some(Error::MissingNul { content_length: 2 });
        assert_eq!(fault(b"SEND\ncontent-length:2\n\nabc\0", V1_2), error);
        let swallowed = b"SEND\ncontent-length:9\n\nabc\0SEND\n\n\0";
        assert_eq!(fault(swallowed, V1_2), Some(Error::MissingNul { content_length: 9 }));
    }

    /// Catalogue: H08.
    #[test]
    fn bad_content_lengths() {
        for bad in ["-1", "+5", "abc", "", "0x5", "1.0", "18446744073709551617"] {
            let input = format!("SEND\ncontent-length:{bad}\n\n");
            assert_eq!(fault(input.as_bytes(), V1_2), Some(Error::BadContentLength), "{bad}");
        }
    }

    #[test]
    fn of_two_content_lengths_the_first_wins() {
        let input = b"SEND\ncontent-length:1\ncontent-length:9\n\na\0";
        assert_eq!(one(input, V1_2).2, b"a");
    }

    /// Catalogue: H08.
    #[test]
    fn a_huge_content_length_is_refused_at_the_end_of_the_head() {
        for length in ["1000000000000", "18446744073709551615"] {
            let input = format!("SEND\ncontent-length:{length}\n\n");
            let error = fault(input.as_bytes(), V1_2);
            assert!(matches!(error, Some(Error::FrameTooLarge { limit: 1_048_576, .. })));
        }
    }

    /// Catalogue: H09.
    #[test]
    fn a_body_without_content_length_ends_at_nul() {
        let (frames, _, error) = decode_all(b"SEND\n\nab\0cd\0", V1_2, &Limits::default());
        assert_eq!(frames[0].2, b"ab");
        assert_eq!(error, Some(Error::NulInHead));
        assert_eq!(fault(b"SEND\n\nab\0cd\n", V1_2), Some(Error::UnknownCommand));
    }

    #[test]
    fn a_body_without_content_length_is_bounded() {
        let mut input = b"SEND\n\n".to_vec();
        input.resize(1 << 20, b'x');
        assert_eq!(fault(&input[..input.len() - 1], V1_2), None);
        let error = Error::FrameTooLarge { seen: (1 << 20) + 1, limit: 1 << 20 };
        assert_eq!(fault(&input, V1_2), Some(error));
    }

    /// Catalogue: H18.
    #[test]
    fn only_connect_and_stomp_before_connect() {
        assert_eq!(fault(b"SEND\n", Rules::BeforeConnect), Some(Error::NotConnected));
        assert_eq!(fault(b"connect\n", Rules::BeforeConnect), Some(Error::UnknownCommand));
        assert_eq!(one(b"STOMP\n\n\0", Rules::BeforeConnect).0, Command::Stomp);
    }

    /// Catalogue: H02.
    #[test]
    fn unknown_commands() {
        for rules in ALL {
            assert_eq!(fault(b"FOO\n", rules), Some(Error::UnknownCommand));
        }
        assert_eq!(command_line(b"FOO\r\nx").as_deref(), Some("FOO"));
        assert_eq!(command_line(b"\n"), None);
    }

    /// Catalogue: H02.
    #[test]
    fn a_command_without_line_end_is_refused_early() {
        assert_eq!(fault(&[b'A'; 32], V1_2), None);
        let error = Error::CommandTooLong { limit: 32 };
        for rules in ALL {
            assert_eq!(fault(&[b'A'; 33], rules), Some(error));
            assert_eq!(fault(&[b'A'; 65_536], rules), Some(error));
        }
    }

    /// Catalogue: B02.
    #[test]
    fn http_and_tls_are_named() {
        let rules = Rules::BeforeConnect;
        assert_eq!(fault(b"GET / HTTP/1.1\r\n", rules), Some(Error::HttpOnStompPort));
        assert_eq!(fault(b"POST ", rules), Some(Error::HttpOnStompPort));
        assert_eq!(fault(b"\x16\x03\x01", rules), Some(Error::TlsOnPlainPort));
    }

    /// Catalogue: H07.
    #[test]
    fn too_many_headers() {
        let lines: String = (0..5_000).map(|i| format!("h{i}:\n")).collect();
        let input = format!("CONNECT\n{lines}");
        let error = Some(Error::TooManyHeaders { limit: 128 });
        assert_eq!(fault(input.as_bytes(), Rules::BeforeConnect), error);
    }

    /// Catalogue: H03.
    #[test]
    fn head_limits_hold_before_the_line_ends() {
        let long = format!("SEND\na:{}", "x".repeat(200_000));
        let error = Some(Error::HeaderTooLong { limit: 16_384 });
        assert_eq!(fault(long.as_bytes(), V1_2), error);
        let long = format!("CONNECT\na:{}", "x".repeat(200_000));
        let error = Some(Error::FrameTooLarge { seen: 16_385, limit: 16_384 });
        assert_eq!(fault(long.as_bytes(), Rules::BeforeConnect), error);
        let many = format!("SEND\n{}", format!("a:{}\n", "x".repeat(1_000)).repeat(100));
        let error = Some(Error::HeadTooLarge { limit: 65_536 });
        assert_eq!(fault(many.as_bytes(), V1_2), error);
    }

    /// Catalogue: H03.
    #[test]
    fn nul_inside_the_head_is_an_error() {
        assert_eq!(fault(b"SEND\ndestination:/a\0", V1_2), Some(Error::NulInHead));
        assert_eq!(fault(b"DISCONNECT\0", V1_2), Some(Error::NulInHead));
    }

    #[test]
    fn a_failure_carries_the_receipt_of_the_culprit() {
        let mut table = HeaderTable::default();
        let mut receipt = |input: &[u8], rules| {
            decode(input, rules, &Limits::default(), &mut table).unwrap_err().receipt
        };
        assert_eq!(receipt(b"SEND\nreceipt:a\\cb\nx\n", V1_2).as_deref(), Some("a:b"));
        assert_eq!(receipt(b"SEND\nreceipt:r\n\n\0", Rules::BeforeConnect).as_deref(), Some("r"));
        assert_eq!(receipt(b"SEND\nreceipt:1\ncontent-length:z\n\n", V1_2).as_deref(), Some("1"));
        assert_eq!(receipt(b"CONNECT\nreceipt:1\nx\n", Rules::BeforeConnect), None);
        assert_eq!(receipt(b"SEND\nx\n\nreceipt:1\n", V1_2), None);
        let long = format!("SEND\nreceipt:{}\nx\n", "r".repeat(257));
        assert_eq!(receipt(long.as_bytes(), V1_2), None);
    }

    #[test]
    fn the_hint_is_exact_with_content_length() {
        let mut table = HeaderTable::default();
        let mut hint =
            |input: &[u8]| bytes_needed_hint(input, V1_2, &Limits::default(), &mut table);
        assert_eq!(hint(b"SEND\ncontent-length:5\n\nab"), 24 + 5);
        assert_eq!(hint(b"SEND\n\nab"), Limits::default().stomp_frame_bytes_max);
        assert_eq!(hint(b"SEN"), 4);
        assert_eq!(one(b"SEND\ncontent-length:5\n\nabcde\0", V1_2).2.len(), 5);
    }

    #[test]
    fn ten_thousand_frames_in_one_input() {
        let input = b"SEND\ndestination:/a\n\nx\0".repeat(10_000);
        assert_eq!(frames(&input, V1_2).len(), 10_000);
    }

    /// Text that often is nearly STOMP.
    fn nearly_stomp() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(&b"SEND\n"[..]),
            Just(&b"CONNECT\r\n"[..]),
            Just(&b"STOMP\n"[..]),
            Just(&b"ACK\n"[..]),
            Just(&b"a:b\n"[..]),
            Just(&b"a\\c:\\n\n"[..]),
            Just(&b"a:\\t\n"[..]),
            Just(&b"content-length:2\n"[..]),
            Just(&b"content-length:60\n"[..]),
            Just(&b"accept-version:1.2\n"[..]),
            Just(&b"\n"[..]),
            Just(&b"\r"[..]),
            Just(&b"\n\n\0"[..]),
            Just(&b"\n\nxy\0"[..]),
            Just(&b"\0"[..]),
            Just(&b":"[..]),
            Just(&b"\xff"[..]),
            Just(&b"xxxxxxxx"[..]),
        ];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    fn check_cuts(input: &[u8], rules: Rules, limits: &Limits) -> Result<(), TestCaseError> {
        let whole = decode_all(input, rules, limits);
        for cut in 0..input.len() {
            let (frames, at, error) = decode_all(&input[..cut], rules, limits);
            prop_assert!(whole.0.starts_with(&frames));
            if error.is_some() {
                prop_assert_eq!((&frames, error), (&whole.0, whole.2));
                continue;
            }
            // What the first part left over, and the rest: nothing is lost or invented.
            let rest = decode_all(&input[at..], rules, limits);
            prop_assert_eq!(&[frames, rest.0].concat(), &whole.0);
            prop_assert_eq!((at + rest.1, rest.2), (whole.1, whole.2));
        }
        Ok(())
    }

    proptest! {
        /// Catalogue: H01.
        #[test]
        fn any_cut_gives_the_same(input in nearly_stomp(), rules in prop::sample::select(&ALL)) {
            check_cuts(&input, rules, &Limits::default())?;
            check_cuts(&input, rules, &small_limits())?;
        }

        /// Catalogue: H02.
        #[test]
        fn never_panics(
            input in prop::collection::vec(any::<u8>(), 0..300),
            rules in prop::sample::select(&ALL),
        ) {
            check_cuts(&input, rules, &small_limits())?;
            let mut table = HeaderTable::default();
            bytes_needed_hint(&input, rules, &small_limits(), &mut table);
            command_line(&input);
        }

        #[test]
        fn the_hint_is_never_too_high(
            input in nearly_stomp(),
            rules in prop::sample::select(&ALL),
        ) {
            let (limits, mut table) = (small_limits(), HeaderTable::default());
            for cut in 0..input.len() {
                if !matches!(decode(&input[..cut], rules, &limits, &mut table), Ok(None)) {
                    break;
                }
                let hint = bytes_needed_hint(&input[..cut], rules, &limits, &mut table);
                prop_assert!(hint > cut);
                let nul = memchr::memchr(0, &input[cut..]).map_or(input.len(), |at| cut + at);
                for more in cut..hint.min(nul) {
                    let early = decode(&input[..more], rules, &limits, &mut table);
                    prop_assert!(matches!(early, Ok(None)));
                }
            }
        }
    }
}
