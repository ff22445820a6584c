//! Header escaping, version by version.
//!
//! 1.0 has none: what cannot be written is replaced or dropped. 1.1 defines `\n`, `\c` and `\\`,
//! 1.2 adds `\r`; "Undefined escape sequences such as `\t` MUST be treated as a fatal protocol
//! error" (1.2, Value Encoding). We read `\r` in 1.1 too, as other brokers do, and never write a
//! raw LF, CR or NUL inside a header, for any version: that would be header injection. So a CR
//! goes to a 1.1 client as a space, and to a 1.0 client LF and CR both do.

use std::borrow::Cow;

use super::error::Error;
use super::marks::has_mark;
use super::negotiation::Version;

/// `text` with its escapes resolved; borrowed when there are none, and always in 1.0.
///
/// # Errors
/// [`Error::BadEscape`] for an undefined sequence or a lone `\` at the end.
pub fn unescape(text: &str, version: Version) -> Result<Cow<'_, str>, Error> {
    if version == Version::V1_0 || memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        plain.push(match c {
            '\\' => match rest.next() {
                Some('n') => '\n',
                Some('c') => ':',
                Some('\\') => '\\',
                Some('r') => '\r',
                _ => return Err(Error::BadEscape),
            },
            c => c,
        });
    }
    Ok(Cow::Owned(plain))
}

/// Whether every escape of `raw` is defined. `raw` need not be UTF-8.
///
/// # Errors
/// [`Error::BadEscape`], as [`unescape`].
pub fn check(raw: &[u8]) -> Result<(), Error> {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        if !matches!(rest.get(at + 1), Some(b'n' | b'c' | b'\\' | b'r')) {
            return Err(Error::BadEscape);
        }
        rest = &rest[at + 2..];
    }
    Ok(())
}

/// Whether every version writes `text` as it is: there is nothing to escape or to replace.
#[inline]
pub fn is_plain(text: &str) -> bool {
    !has_mark(text.as_bytes())
}

/// Appends a header name or value as `version` writes it.
///
/// In 1.0 a name with `:` must not come here: see [`is_name_writable`].
pub fn escape_into(out: &mut Vec<u8>, text: &str, version: Version) {
    match is_plain(text) {
        true => out.extend_from_slice(text.as_bytes()),
        false => escape_bytes_into(out, text.as_bytes(), version),
    }
}

/// Byte by byte: rare, and kept out of the way of the common case.
#[inline(never)]
fn escape_bytes_into(out: &mut Vec<u8>, bytes: &[u8], version: Version) {
    for &byte in bytes {
        match (byte, version) {
            (0, _) | (b'\n' | b'\r', Version::V1_0) | (b'\r', Version::V1_1) => out.push(b' '),
            (b':' | b'\\', Version::V1_0) => out.push(byte),
            (b'\n', _) => out.extend_from_slice(b"\\n"),
            (b'\r', _) => out.extend_from_slice(b"\\r"),
            (b':', _) => out.extend_from_slice(b"\\c"),
            (b'\\', _) => out.extend_from_slice(b"\\\\"),
            _ => out.push(byte),
        }
    }
}

/// Appends a header value of a frame whose headers are never escaped (CONNECTED).
pub fn literal_into(out: &mut Vec<u8>, text: &str) {
    escape_into(out, text, Version::V1_0);
}

/// Whether a header of this name can be sent to a client of `version`: in 1.0 a name with `:`, LF
/// or CR would turn into another header, and an empty one is not a header in any version.
pub fn is_name_writable(name: &str, version: Version) -> bool {
    !name.is_empty() && (version != Version::V1_0 || !name.contains([':', '\n', '\r']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &str, version: Version) -> String {
        let mut out = Vec::new();
        escape_into(&mut out, text, version);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_version_writes_its_own_escapes() {
        assert_eq!(escaped("a:b\\c\nd\re", Version::V1_2), "a\\cb\\\\c\\nd\\re");
        assert_eq!(escaped("a:b\\c\nd\re", Version::V1_1), "a\\cb\\\\c\\nd e");
        assert_eq!(escaped("a:b\\c\nd\re", Version::V1_0), "a:b\\c d e");
        assert_eq!(escaped("a\0b", Version::V1_2), "a b");
    }

    #[test]
    fn order_of_replacement_does_not_matter() {
        assert_eq!(unescape("C\\c\\\\new", Version::V1_2).unwrap(), "C:\\new");
    }

    /// Catalogue: H04.
    #[test]
    fn undefined_escapes_are_fatal_from_1_1_on() {
        for bad in ["a\\t", "a\\", "\\C", "\\\\\\"] {
            assert_eq!(unescape(bad, Version::V1_1), Err(Error::BadEscape));
            assert_eq!(unescape(bad, Version::V1_2), Err(Error::BadEscape));
            assert_eq!(check(bad.as_bytes()), Err(Error::BadEscape));
            assert_eq!(unescape(bad, Version::V1_0).unwrap(), bad);
        }
    }

    #[test]
    fn names_that_1_0_cannot_carry() {
        assert!(!is_name_writable("a:b", Version::V1_0));
        assert!(!is_name_writable("a\nb", Version::V1_0));
        assert!(is_name_writable("a:b", Version::V1_1));
        assert!(!is_name_writable("", Version::V1_2));
    }

    proptest! {
        #[test]
        fn fast_is_the_same_as_byte_by_byte(text in "[a-z]{0,40}|[a-z\t:\\\\\r\n\x00é]{0,40}") {
            for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
                let mut naive = Vec::new();
                escape_bytes_into(&mut naive, text.as_bytes(), version);
                prop_assert_eq!(escaped(&text, version).into_bytes(), naive);
            }
        }

        /// Catalogue: H24.
        #[test]
        fn reads_back(text in "[^\0]*") {
            let wire = escaped(&text, Version::V1_2);
            prop_assert_eq!(unescape(&wire, Version::V1_2).unwrap(), text.as_str());
            let wire = escaped(&text, Version::V1_1);
            prop_assert_eq!(unescape(&wire, Version::V1_1).unwrap(), text.replace('\r', " "));
        }

        #[test]
        fn never_a_raw_line_end(text in any::<String>()) {
            for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
                prop_assert!(!escaped(&text, version).contains(['\n', '\r', '\0']));
            }
        }

        #[test]
        fn check_and_unescape_agree(text in "[a\\\\ncrt]{0,8}") {
            prop_assert_eq!(check(text.as_bytes()).is_ok(), unescape(&text, Version::V1_2).is_ok());
        }
    }
}
