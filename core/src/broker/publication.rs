//! One SEND: destination, headers to pass on, and body, in one allocation that crosses shards.
//!
//! The user wraps it in an `Arc`; shards share it and encode from it once per class of subscribers
//! (design.md §7). Headers are stored unescaped, in order and with repeats, because escaping
//! depends on the subscriber's version (stomp.md §1.3, §1.13).
//!
//! Layout: one text (destination; each name and value, closed by a NUL, which none of them can
//! hold, because a NUL ends a frame; the body where it is UTF-8) and apart from it a body that is
//! not.

/// Closes a name or a value.
const END: u8 = 0;

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
}

impl Publication {
    /// Copies destination, headers (name and value, unescaped; `&str` or `Cow`) and body. The
    /// caller has checked the limits; destination and head are below 4 GiB. Headers with a NUL,
    /// which no frame can bring or carry on, are left out.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(
        destination: &str,
        headers: impl Iterator<Item = (N, V)>,
        body: &[u8],
    ) -> Publication {
        let mut text = String::with_capacity(destination.len() + body.len() + 128);
        text.push_str(destination);
        for (name, value) in headers {
            let (name, value) = (name.as_ref(), value.as_ref());
            let has_end = |part: &str| memchr::memchr(END, part.as_bytes()).is_some();
            if !has_end(name) && !has_end(value) {
                for part in [name, value] {
                    text.push_str(part);
                    text.push(char::from(END));
                }
            }
        }
        let head_len = text.len() - destination.len();
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
            destination_len: destination.len() as u32,
            head_len: head_len as u32,
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
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let start = self.destination_len as usize;
        let mut left = &self.text[start..start + self.head_len as usize];
        let mut next = move || {
            let (part, rest) = left.split_at_checked(memchr::memchr(END, left.as_bytes())?)?;
            left = &rest[1..];
            Some(part)
        };
        std::iter::from_fn(move || Some((next()?, next()?)))
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
