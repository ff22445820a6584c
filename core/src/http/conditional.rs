//! Whether a client needs the whole file: preconditions (RFC 9110 §13) and ranges (§14).
//!
//! A function of the request and of three facts about the file: its entity tag, the time of its
//! last change, and its length. The order of the checks is that of RFC 9110 §13.2.2. Of ranges only
//! a single one is served; several are answered with the whole file, which §14.2 allows ("A server
//! MAY ignore the Range header field") and which spares us multipart bodies.

use super::date;
use super::request::Request;

/// What is known about the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validators<'a> {
    /// Strong entity tag, with its quotes and without commas.
    pub etag: &'a str,
    /// Last change, in seconds since 1970; `None` if not known.
    pub modified: Option<u64>,
    /// Bytes of the file.
    pub length: u64,
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200 with everything.
    Whole,
    /// 206 with the bytes `first..=last`.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
    /// 304: the client has it already.
    NotModified,
    /// 412: the file is not the one the client thinks of.
    Failed,
    /// 416: the range begins after the end.
    Unsatisfiable,
}

/// Decides about a GET or HEAD request. A field that cannot be read is as good as absent.
pub fn evaluate(request: &Request<'_>, file: &Validators<'_>) -> Outcome {
    let date_of = |name: &str| request.header(name).and_then(date::parse);
    if request.header("if-match").is_some() {
        if !has_tag(request, "if-match", file.etag, Comparison::Strong) {
            return Outcome::Failed;
        }
    } else if let (Some(date), Some(modified)) = (date_of("if-unmodified-since"), file.modified) {
        if modified > date {
            return Outcome::Failed;
        }
    }
    if request.header("if-none-match").is_some() {
        if has_tag(request, "if-none-match", file.etag, Comparison::Weak) {
            return Outcome::NotModified;
        }
    } else if let (Some(date), Some(modified)) = (date_of("if-modified-since"), file.modified) {
        if modified <= date {
            return Outcome::NotModified;
        }
    }
    // RFC 9110 §14.2: "For this specification, GET is the only method for which range handling is
    // defined."
    if request.method != "GET" || !if_range_holds(request, file) {
        return Outcome::Whole;
    }
    let mut ranges = request.headers_named("range");
    match (ranges.next(), ranges.next()) {
        (Some(range), None) => part(range, file.length),
        _ => Outcome::Whole,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// RFC 9110 §8.8.3.2: both not weak.
    Strong,
    /// The same but for `W/`.
    Weak,
}

fn has_tag(request: &Request<'_>, name: &str, etag: &str, comparison: Comparison) -> bool {
    let lists = request.headers_named(name).flat_map(|list| list.split(|&byte| byte == b','));
    lists.map(<[u8]>::trim_ascii).any(|tag| match tag.strip_prefix(b"W/") {
        Some(opaque) => comparison == Comparison::Weak && opaque == etag.as_bytes(),
        None => tag == b"*" || tag == etag.as_bytes(),
    })
}

/// RFC 9110 §13.1.5: an entity tag is compared strongly, a date has to be exactly ours.
fn if_range_holds(request: &Request<'_>, file: &Validators<'_>) -> bool {
    match request.header("if-range") {
        None => true,
        Some(value) if value.starts_with(b"\"") => value == file.etag.as_bytes(),
        Some(value) => file.modified.is_some() && date::parse(value) == file.modified,
    }
}

/// Reads `bytes=first-last`, `bytes=first-` or `bytes=-suffix` for a file of `length` bytes.
fn part(range: &[u8], length: u64) -> Outcome {
    let Some((first, last)) = bounds(range) else { return Outcome::Whole };
    let (first, last) = match (first, last) {
        (Some(first), Some(last)) if last < first => return Outcome::Whole,
        (Some(first), last) => (first, last.unwrap_or(u64::MAX)),
        (None, Some(0) | None) => return Outcome::Unsatisfiable,
        (None, Some(suffix)) => (length.saturating_sub(suffix), u64::MAX),
    };
    if first >= length {
        return Outcome::Unsatisfiable;
    }
    Outcome::Part { first, last: last.min(length - 1) }
}

/// The numbers around the dash; `None` if this is not one range of bytes.
fn bounds(range: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let range = std::str::from_utf8(range).ok()?;
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim_matches([' ', '\t']).split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") || first.is_empty() && last.is_empty() {
        return None;
    }
    let number = |text: &str| match text {
        "" => Some(None),
        _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => None,
        // Beyond any file: as good as the largest number.
        _ => Some(Some(text.parse().unwrap_or(u64::MAX))),
    };
    Some((number(first)?, number(last)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::decode;
    use crate::limits::Limits;

    const FILE: Validators<'static> =
        Validators { etag: "\"a-1\"", modified: Some(784_111_777), length: 100 };
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn outcome_of(method: &str, lines: &str, file: &Validators<'_>) -> Outcome {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        let (request, _) = decode(head.as_bytes(), &Limits::default()).unwrap().unwrap();
        evaluate(&request, file)
    }

    fn outcome(lines: &str) -> Outcome {
        outcome_of("GET", lines, &FILE)
    }

    #[test]
    fn if_none_match_compares_weakly_and_wins_over_the_date() {
        for tags in ["\"a-1\"", "W/\"a-1\"", "\"x\", \"a-1\"", "*", "\"x\"\r\nIf-None-Match: *"] {
            assert_eq!(outcome(&format!("If-None-Match: {tags}")), Outcome::NotModified, "{tags}");
        }
        let newer = format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {DATE}");
        assert_eq!(outcome(&newer), Outcome::Whole);
    }

    #[test]
    fn if_modified_since_is_not_modified_up_to_the_second() {
        assert_eq!(outcome(&format!("If-Modified-Since: {DATE}")), Outcome::NotModified);
        assert_eq!(outcome(&format!("If-Modified-Since: {EARLIER}")), Outcome::Whole);
        assert_eq!(outcome("If-Modified-Since: yesterday"), Outcome::Whole);
        let unknown = Validators { modified: None, ..FILE };
        let lines = format!("If-Modified-Since: {DATE}");
        assert_eq!(outcome_of("GET", &lines, &unknown), Outcome::Whole);
    }

    #[test]
    fn if_match_and_if_unmodified_since_can_fail() {
        assert_eq!(outcome("If-Match: \"x\""), Outcome::Failed);
        assert_eq!(outcome("If-Match: W/\"a-1\""), Outcome::Failed);
        assert_eq!(outcome("If-Match: \"x\", \"a-1\""), Outcome::Whole);
        assert_eq!(outcome("If-Match: *"), Outcome::Whole);
        assert_eq!(outcome(&format!("If-Unmodified-Since: {EARLIER}")), Outcome::Failed);
        assert_eq!(outcome(&format!("If-Unmodified-Since: {DATE}")), Outcome::Whole);
    }

    #[test]
    fn one_range_is_a_part() {
        let part = |first, last| Outcome::Part { first, last };
        for (range, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=10-19", part(10, 19)),
            ("Bytes=90-", part(90, 99)),
            ("bytes=90-1000", part(90, 99)),
            ("bytes=90-99999999999999999999999", part(90, 99)),
            ("bytes=-1", part(99, 99)),
            ("bytes=-1000", part(0, 99)),
            ("bytes=100-", Outcome::Unsatisfiable),
            ("bytes=99999999999999999999999-", Outcome::Unsatisfiable),
            ("bytes=-0", Outcome::Unsatisfiable),
        ] {
            assert_eq!(outcome(&format!("Range: {range}")), expected, "{range}");
        }
        let empty = Validators { length: 0, ..FILE };
        assert_eq!(outcome_of("GET", "Range: bytes=0-", &empty), Outcome::Unsatisfiable);
        assert_eq!(outcome_of("GET", "Range: bytes=-5", &empty), Outcome::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_range_gets_the_whole_file() {
        let bad = "bytes=0-1,3-4|bytes=5-4|bytes=-|bytes|lines=0-1|bytes=a-b|bytes=+1-2|bytes=0--1";
        for range in bad.split('|') {
            assert_eq!(outcome(&format!("Range: {range}")), Outcome::Whole, "{range}");
        }
        assert_eq!(outcome("Range: bytes=0-1\r\nRange: bytes=0-1"), Outcome::Whole);
        assert_eq!(outcome_of("HEAD", "Range: bytes=0-1", &FILE), Outcome::Whole);
    }

    #[test]
    fn if_range_must_be_exactly_ours() {
        let with = |value: &str| outcome(&format!("Range: bytes=0-1\r\nIf-Range: {value}"));
        assert_eq!(with("\"a-1\""), Outcome::Part { first: 0, last: 1 });
        assert_eq!(with(DATE), Outcome::Part { first: 0, last: 1 });
        for other in ["\"x\"", "W/\"a-1\"", EARLIER, "junk"] {
            assert_eq!(with(other), Outcome::Whole, "{other}");
        }
    }

    #[test]
    fn a_failed_precondition_comes_before_the_range() {
        assert_eq!(outcome("Range: bytes=500-\r\nIf-None-Match: *"), Outcome::NotModified);
    }
}
