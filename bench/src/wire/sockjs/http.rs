//! HTTP answers as far as SockJS needs them: status, length or chunks, and whether the connection
//! stays.
//!
//! An answer to a poll or to a send is read as a whole. One that streams is read by its chunks: a
//! chunk is usually a line, and one that ends within a line is joined with those that follow. "Need
//! more bytes" is `Ok(None)`.

use super::super::{Violation, FRAME_BYTES_MAX};
use memchr::{memchr, memmem};

/// Most bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 8_192;

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The server ends the connection behind this answer.
    pub is_last: bool,
    /// The body comes in chunks.
    pub is_chunked: bool,
    /// Bytes of the body, if the head says how many.
    body_bytes: Option<usize>,
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: &'a [u8],
}

/// A piece of an answer that streams.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Whole lines.
    Lines(&'a [u8]),
    /// The end of the answer.
    End,
}

/// Reads a head and how many bytes it took.
///
/// # Errors
/// It is no head, or without a length.
pub fn head(input: &[u8]) -> Result<Option<(Head, usize)>, Violation> {
    let Some(end) = memmem::find(input, b"\r\n\r\n") else {
        return if input.len() > HEAD_BYTES_MAX { Err("response head too long") } else { Ok(None) };
    };
    let status = input.strip_prefix(b"HTTP/1.1 ").and_then(number);
    let status = status.and_then(|status| u16::try_from(status).ok()).ok_or("no HTTP answer")?;
    let mut head = Head { status, is_last: false, is_chunked: false, body_bytes: None };
    let mut rest = &input[..end + 2];
    while let Some(line_end) = memchr(b'\n', rest) {
        rest = &rest[line_end + 1..];
        if let Some(value) = field(rest, b"content-length:") {
            head.body_bytes = Some(number(value).ok_or("Content-Length is no number")?);
        } else if let Some(value) = field(rest, b"transfer-encoding:") {
            head.is_chunked = value.len() >= 7 && value[..7].eq_ignore_ascii_case(b"chunked");
        } else if let Some(value) = field(rest, b"connection:") {
            head.is_last = value.len() >= 5 && value[..5].eq_ignore_ascii_case(b"close");
        }
    }
    if status == 204 {
        head.body_bytes = Some(0);
    }
    match (head.body_bytes, head.is_chunked) {
        (None, false) => Err("an answer without length"),
        (Some(length), _) if length > FRAME_BYTES_MAX => Err("answer too long"),
        _ => Ok(Some((head, end + 4))),
    }
}

/// The value of the field of that name (in lower case, with its colon) at the front of a line.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    found.eq_ignore_ascii_case(name).then(|| value.strip_prefix(b" ").unwrap_or(value))
}

/// The decimal number at the front, at most nine digits.
fn number(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value =
        text[..digits].iter().fold(0, |value, digit| value * 10 + usize::from(digit - b'0'));
    (1..=9).contains(&digits).then_some(value)
}

/// Reads a whole answer and how many bytes it took; one in chunks is joined in `scratch`.
///
/// # Errors
/// What is no answer.
pub fn answer<'a>(
    input: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Option<(Answer<'a>, usize)>, Violation> {
    let Some((head, mut at)) = head(input)? else { return Ok(None) };
    if let Some(length) = head.body_bytes.filter(|_| !head.is_chunked) {
        let body = input.get(at..at + length);
        return Ok(body.map(|body| (Answer { head, body }, at + length)));
    }
    scratch.clear();
    loop {
        let Some((data, used)) = chunk(&input[at..])? else { return Ok(None) };
        at += used;
        if data.is_empty() {
            return Ok(Some((Answer { head, body: scratch }, at)));
        }
        scratch.extend_from_slice(data);
    }
}

/// Reads the next piece of a body in chunks and how many bytes it took; a line of several chunks is
/// joined in `scratch`.
///
/// # Errors
/// What is no chunk, or ends within a line.
pub fn piece<'a>(
    input: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Option<(Piece<'a>, usize)>, Violation> {
    let Some((data, mut at)) = chunk(input)? else { return Ok(None) };
    match data.last() {
        None => return Ok(Some((Piece::End, at))),
        Some(b'\n') => return Ok(Some((Piece::Lines(data), at))),
        Some(_) => {}
    }
    scratch.clear();
    scratch.extend_from_slice(data);
    while scratch.last() != Some(&b'\n') {
        let Some((data, used)) = chunk(&input[at..])? else { return Ok(None) };
        if data.is_empty() {
            return Err("a stream ended within a frame");
        }
        scratch.extend_from_slice(data);
        at += used;
    }
    Ok(Some((Piece::Lines(scratch), at)))
}

/// The data of a chunk and the bytes it took; without data it is the last, trailers included.
fn chunk(input: &[u8]) -> Result<Option<(&[u8], usize)>, Violation> {
    const BROKEN: Violation = "broken chunk";
    let digits = input.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits > 7 || digits == 0 && !input.is_empty() {
        return Err(BROKEN);
    }
    let Some(line_end) = memchr(b'\n', input) else {
        return if input.len() > HEAD_BYTES_MAX { Err(BROKEN) } else { Ok(None) };
    };
    let value = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as usize;
    let length = input[..digits].iter().fold(0, |length, digit| length << 4 | value(digit));
    let start = line_end + 1;
    if length == 0 {
        // Trailers, if there are any, end as a head does.
        let end = memmem::find(&input[line_end - 1..], b"\r\n\r\n");
        return Ok(end.map(|end| (&[][..], line_end - 1 + end + 4)));
    }
    if length > FRAME_BYTES_MAX {
        return Err("chunk too long");
    }
    let end = start + length;
    match input.get(end..end + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some((&input[start..end], end + 2))),
        Some(_) => Err(BROKEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/javascript\r\n\
        content-LENGTH: 6\r\nConnection: keep-alive\r\n\r\na[\"b\"]";

    #[test]
    fn a_poll_is_read_as_a_whole() {
        let mut scratch = Vec::new();
        for end in 0..POLL.len() {
            assert_eq!(answer(&POLL[..end], &mut scratch), Ok(None), "{end}");
        }
        let more = [POLL, b"HTTP"].concat();
        let (answer, used) = answer(&more, &mut scratch).unwrap().unwrap();
        assert_eq!((answer.body, used), (&b"a[\"b\"]"[..], POLL.len()));
        assert_eq!((answer.head.status, answer.head.is_last), (200, false));
    }

    #[test]
    fn chunks_make_a_whole_answer_too() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nConnection: Close\r\n\r\n\
            3\r\na[\"\r\nA;x=y\r\n012345678\"\r\n2\r\n]\n\r\n0\r\nA: b\r\n\r\n";
        let mut scratch = Vec::new();
        for end in 0..bytes.len() {
            assert_eq!(answer(&bytes[..end], &mut scratch), Ok(None), "{end}");
        }
        let (answer, used) = answer(bytes, &mut scratch).unwrap().unwrap();
        assert_eq!((answer.body, used), (&b"a[\"012345678\"]\n"[..], bytes.len()));
        assert!(answer.head.is_last);
    }

    #[test]
    fn nothing_follows_a_204() {
        let bytes = b"HTTP/1.1 204 No Content\r\n\r\nHTTP";
        let mut scratch = Vec::new();
        let (answer, used) = answer(bytes, &mut scratch).unwrap().unwrap();
        assert_eq!((answer.head.status, answer.body, used), (204, &b""[..], bytes.len() - 4));
    }

    #[test]
    fn a_stream_is_read_line_by_line() {
        let mut scratch = Vec::new();
        let bytes = b"2\r\no\n\r\n4\r\na[]\n\r\n1\r\nh\r\n1\r\n\n\r\n0\r\n\r\n";
        let mut rest = &bytes[..];
        for (lines, used) in [(&b"o\n"[..], 7), (b"a[]\n", 9), (b"h\n", 12)] {
            for end in 0..used {
                assert_eq!(piece(&rest[..end], &mut scratch), Ok(None), "{end}");
            }
            assert_eq!(piece(rest, &mut scratch), Ok(Some((Piece::Lines(lines), used))));
            rest = &rest[used..];
        }
        assert_eq!(piece(&rest[..4], &mut scratch), Ok(None));
        assert_eq!(piece(rest, &mut scratch), Ok(Some((Piece::End, 5))));
    }

    #[test]
    fn what_is_broken_is_told() {
        let mut scratch = Vec::new();
        for bad in ["x\r\n", "\r\n", "12345678\r\n", "1\r\nab\r\n", "1\r\na\r\n0\r\n\r\n"] {
            assert!(piece(bad.as_bytes(), &mut scratch).is_err(), "{bad:?}");
        }
        for bad in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
        ] {
            assert!(answer(bad.as_bytes(), &mut scratch).is_err(), "{bad:?}");
        }
        assert!(head(&[b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
