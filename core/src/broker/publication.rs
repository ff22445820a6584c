//! One SEND: destination, headers to pass on, and body, in one allocation that crosses shards.
//!
//! The user wraps it in an `Arc`; shards share it and encode from it once per class of subscribers
//! (design.md §7). Headers are stored unescaped, in order and with repeats, because escaping
//! depends on the subscriber's version (stomp.md §1.3, §1.13).
//!
//! Layout: destination, head (length and text of each name and value),
//! body.

const LENGTH_BYTES: usize = size_of::<usize>();

/// A published message. Immutable.
#[derive(Debug, PartialEq, Eq)]
pub struct Publication {
    data: Box<[u8]>,
    destination_len: u32,
    head_len: u32,
    is_utf8: bool,
}

impl Publication {
    /// Copies destination, headers (name and value, unescaped; `&str` or `Cow`) and body into one
    /// allocation. The caller has checked the limits; destination and head are below 4 GiB.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(
        destination: &str,
        headers: impl Iterator<Item = (N, V)>,
        body: &[u8],
    ) -> Publication {
        let mut data = Vec::with_capacity(destination.len() + body.len() + 256);
        data.extend_from_slice(destination.as_bytes());
        for (name, value) in headers {
            for text in [name.as_ref(), value.as_ref()] {
                data.extend_from_slice(&text.len().to_le_bytes());
                data.extend_from_slice(text.as_bytes());
            }
        }
        let head_len = data.len() - destination.len();
        debug_assert!(u32::try_from(data.len()).is_ok(), "a head is far below 4 GiB");
        data.extend_from_slice(body);
        Publication {
            data: data.into_boxed_slice(),
            destination_len: destination.len() as u32,
            head_len: head_len as u32,
            // Destination and headers are `str`, so the body alone decides.
            is_utf8: simdutf8::basic::from_utf8(body).is_ok(),
        }
    }

    /// The destination as the sender wrote it.
    pub fn destination(&self) -> &str {
        text(&self.data[..self.destination_len as usize])
    }

    /// Names and values, unescaped, in the sender's order, repeats included.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let start = self.destination_len as usize;
        let mut left = &self.data[start..start + self.head_len as usize];
        std::iter::from_fn(move || {
            let name = take_text(&mut left)?;
            Some((name, take_text(&mut left)?))
        })
    }

    /// The value of a header, of a repeated one the first (STOMP 1.2, "Repeated Header Entries").
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(seen, _)| *seen == name).map(|(_, value)| value)
    }

    /// The body's bytes.
    pub fn body(&self) -> &[u8] {
        &self.data[(self.destination_len + self.head_len) as usize..]
    }

    /// Whether destination, headers and body are all UTF-8: decides a WebSocket message's opcode.
    pub fn is_utf8(&self) -> bool {
        self.is_utf8
    }

    /// Bytes of memory held: what budgets count.
    pub fn bytes(&self) -> usize {
        self.data.len() + size_of::<Publication>()
    }
}

/// Only `str` was put in, so the fallback is never taken; it is here because there is no `unsafe`.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn take_text<'a>(left: &mut &'a [u8]) -> Option<&'a str> {
    let (length, after) = left.split_first_chunk::<LENGTH_BYTES>()?;
    let (bytes, after) = after.split_at_checked(usize::from_le_bytes(*length))?;
    *left = after;
    Some(text(bytes))
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
