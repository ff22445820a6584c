//! One SEND: destination, headers to pass on, and body, in one allocation that crosses shards.
//!
//! The user wraps it in an `Arc`; shards share it and encode from it once per class of subscribers
//! (design.md §7). Headers are stored unescaped, in order and with repeats, because escaping
//! depends on the subscriber's version (stomp.md §1.3, §1.13).
//!
//! Layout: one text (destination, headers, the body where it is UTF-8) and apart from it a body
//! that is not. Headers are nearly always free of anything that a version escapes: then they are
//! the lines of a frame, and encoding copies them as they are. Else each name and value is closed
//! by a NUL, which none of them can hold, because a NUL ends a frame.

use crate::stomp::escape::is_plain;

/// What closes a name and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends(u8, u8);

/// Of headers that are lines.
const LINES: Ends = Ends(b':', b'\n');
/// Of others.
const NULS: Ends = Ends(0, 0);

/// A published message. Immutable.
#[derive(Debug, PartialEq, Eq)]
pub struct Publication {
    /// A `str`, so that nobody checks again what was checked when it came.
    text: Box<str>,
    /// The body, if it is not UTF-8.
    binary: Option<Box<[u8]>>,
    /// The queue that it goes to, if that is not its destination.
    queue: Option<Box<str>>,
    destination_len: u32,
    head_len: u32,
    ends: Ends,
}

impl Publication {
    /// Copies destination, headers (name and value, unescaped; `&str` or `Cow`) and body. The
    /// caller has checked the limits; destination and head are below 4 GiB. Headers with a NUL,
    /// which no frame can bring or carry on, are left out.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(
        destination: &str,
        headers: impl Iterator<Item = (N, V)> + Clone,
        body: &[u8],
    ) -> Publication {
        let mut text = String::with_capacity(destination.len() + body.len() + 128);
        text.push_str(destination);
        let is_line = |name: &str, value: &str| {
            !name.is_empty() && name != "content-length" && is_plain(name) && is_plain(value)
        };
        let mut ends = LINES;
        for (name, value) in headers.clone() {
            if !is_line(name.as_ref(), value.as_ref()) {
                ends = NULS;
                break;
            }
            push_header(&mut text, name.as_ref(), value.as_ref(), LINES);
        }
        if ends == NULS {
            text.truncate(destination.len());
            let has_nul = |part: &str| part.contains('\0');
            for (name, value) in headers {
                if !has_nul(name.as_ref()) && !has_nul(value.as_ref()) {
                    push_header(&mut text, name.as_ref(), value.as_ref(), NULS);
                }
            }
        }
        Publication::finish(text, destination.len(), ends, body)
    }

    /// As [`Publication::new`], with headers that are lines, `name:value`, none of them
    /// `content-length`, and nothing but the first colon in them that any version escapes.
    pub fn of_lines<'l>(
        destination: &str,
        lines: impl Iterator<Item = &'l str>,
        body: &[u8],
    ) -> Publication {
        let mut text = String::with_capacity(destination.len() + body.len() + 128);
        text.push_str(destination);
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        Publication::finish(text, destination.len(), LINES, body)
    }

    /// `text` is the destination, of so many bytes, and the headers.
    fn finish(mut text: String, destination_len: usize, ends: Ends, body: &[u8]) -> Publication {
        let head_len = text.len() - destination_len;
        debug_assert!(u32::try_from(text.len()).is_ok(), "a head is far below 4 GiB");
        // Destination and headers are `str`, so the body alone decides.
        let binary = match simdutf8::basic::from_utf8(body) {
            Ok(body) => {
                text.push_str(body);
                None
            }
            Err(_) => Some(body.into()),
        };
        Publication {
            text: text.into_boxed_str(),
            binary,
            queue: None,
            destination_len: destination_len as u32,
            head_len: head_len as u32,
            ends,
        }
    }

    /// The same, for the queue of that name, whatever its destination.
    pub fn for_queue(self, name: &str) -> Publication {
        Publication { queue: Some(name.into()), ..self }
    }

    /// The queue that [`Publication::for_queue`] named.
    pub fn queue(&self) -> Option<&str> {
        self.queue.as_deref()
    }

    /// The name of the queue that it goes to, if it goes to one.
    pub fn queue_name(&self) -> &str {
        self.queue().unwrap_or_else(|| self.destination())
    }

    /// The destination as the sender wrote it.
    pub fn destination(&self) -> &str {
        &self.text[..self.destination_len as usize]
    }

    /// Names and values, unescaped, in the sender's order, repeats included.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let mut left = self.head();
        let Ends(name_end, value_end) = self.ends;
        let mut next = move |end| {
            let (part, rest) = left.split_at_checked(memchr::memchr(end, left.as_bytes())?)?;
            left = &rest[1..];
            Some(part)
        };
        std::iter::from_fn(move || Some((next(name_end)?, next(value_end)?)))
    }

    /// The headers as lines of a MESSAGE, each with its LF, if every version writes them like that.
    pub fn lines(&self) -> Option<&str> {
        (self.ends == LINES).then(|| self.head())
    }

    fn head(&self) -> &str {
        let start = self.destination_len as usize;
        &self.text[start..start + self.head_len as usize]
    }

    /// The value of a header, of a repeated one the first (STOMP 1.2, "Repeated Header Entries").
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(seen, _)| *seen == name).map(|(_, value)| value)
    }

    /// The body's bytes.
    pub fn body(&self) -> &[u8] {
        match &self.binary {
            Some(body) => body,
            None => &self.text.as_bytes()[(self.destination_len + self.head_len) as usize..],
        }
    }

    /// Whether destination, headers and body are all UTF-8: decides a WebSocket message's opcode.
    pub fn is_utf8(&self) -> bool {
        self.binary.is_none()
    }

    /// Bytes of memory held: what budgets count.
    pub fn bytes(&self) -> usize {
        let binary = self.binary.as_ref().map_or(0, |body| body.len());
        self.text.len() + binary + size_of::<Publication>()
    }
}

fn push_header(text: &mut String, name: &str, value: &str, Ends(name_end, value_end): Ends) {
    text.push_str(name);
    text.push(char::from(name_end));
    text.push_str(value);
    text.push(char::from(value_end));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::borrow::Cow;

    #[test]
    fn crosses_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Publication>();
    }

    #[test]
    fn borrowed_and_owned_headers_are_taken() {
        let headers = [(Cow::Borrowed("a"), Cow::Owned("b:\n".to_owned()))];
        let publication = Publication::new("/topic/x", headers.into_iter(), b"hi");
        assert_eq!(publication.headers().collect::<Vec<_>>(), [("a", "b:\n")]);
        let none = std::iter::empty::<(&str, &str)>();
        assert_eq!(Publication::new("/topic/x", none, b"").headers().count(), 0);
    }

    #[test]
    fn a_header_that_no_frame_can_carry_is_left_out() {
        let headers = [("a", "1"), ("b\0", "2"), ("c", "\0"), ("", ""), ("d", "")];
        let publication = Publication::new("/topic/x", headers.into_iter(), b"\0body");
        assert_eq!(publication.headers().collect::<Vec<_>>(), [("a", "1"), ("", ""), ("d", "")]);
        assert_eq!(publication.body(), b"\0body");
    }

    #[test]
    fn headers_are_lines_unless_a_version_escapes_them() {
        let lines = |headers: &[(&str, &str)]| {
            let publication = Publication::new("/topic/x", headers.iter().copied(), b"");
            assert_eq!(publication.headers().collect::<Vec<_>>(), headers);
            publication.lines().map(str::to_owned)
        };
        assert_eq!(lines(&[]).as_deref(), Some(""));
        assert_eq!(lines(&[("a", "1"), ("ä", "")]).as_deref(), Some("a:1\nä:\n"));
        for bad in [("b", "c:d"), ("b", "\n"), ("b:", ""), ("b", "\\"), ("b", "\r"), ("", "1")] {
            assert_eq!(lines(&[("a", "1"), bad]), None, "{bad:?}");
        }
        // It would change where the frame ends.
        assert_eq!(lines(&[("content-length", "1")]), None);
    }

    #[test]
    fn lines_are_headers() {
        for body in [&b"body"[..], b"", b"\xff"] {
            let headers = [("a", "1"), ("ä", "")];
            let of_headers = Publication::new("/topic/x", headers.into_iter(), body);
            let of_lines = Publication::of_lines("/topic/x", ["a:1", "ä:"].into_iter(), body);
            assert_eq!(of_lines, of_headers);
        }
    }

    #[test]
    fn only_a_body_can_break_utf8() {
        let new = |body| Publication::new("/topic/ä", [("ö", "ü")].into_iter(), body);
        assert!(new("ß".as_bytes()).is_utf8() && new(b"").is_utf8());
        assert!(!new(b"\xff").is_utf8());
    }

    proptest! {
        #[test]
        fn gives_back_what_was_put_in(
            destination in "\\PC{0,20}",
            headers in prop::collection::vec(("\\PC{0,10}", "\\PC{0,30}"), 0..10),
            body in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let pairs = headers.iter().map(|(name, value)| (name, value));
            let publication = Publication::new(&destination, pairs, &body);
            prop_assert_eq!(publication.destination(), &destination);
            let seen: Vec<(String, String)> =
                publication.headers().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(seen, headers);
            prop_assert_eq!(publication.body(), &body);
            prop_assert_eq!(publication.is_utf8(), std::str::from_utf8(&body).is_ok());
            prop_assert!(publication.bytes() >= destination.len() + body.len());
        }
    }
}
