//! The function a script answer calls: `c` or `callback` in the query of jsonp and htmlfile.
//!
//! It is written into a script as it is, so only `a-zA-Z0-9-_.` may be in it, after
//! percent-decoding, and it is short: long ones were used to build Flash files out of answers
//! (Rosetta Flash).

use super::error::Error;
use crate::limits::Limits;

/// The callback of a query, which is still percent-encoded. Limit: `sockjs_callback_bytes_max`.
///
/// # Errors
/// [`Error::CallbackMissing`] without one, [`Error::CallbackInvalid`] for one that is not allowed.
pub fn from_query(query: Option<&str>, limits: &Limits) -> Result<String, Error> {
    let fields = || query.unwrap_or("").split('&').filter_map(|field| field.split_once('='));
    let value_of = |name: &str| fields().find(|(n, _)| *n == name).map(|(_, value)| value);
    let value = value_of("c").or_else(|| value_of("callback")).ok_or(Error::CallbackMissing)?;
    let mut decoded = String::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' { escaped_byte(&mut bytes)? } else { byte };
        let is_allowed = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !is_allowed || decoded.len() == limits.sockjs_callback_bytes_max {
            return Err(Error::CallbackInvalid);
        }
        decoded.push(char::from(byte));
    }
    if decoded.is_empty() {
        return Err(Error::CallbackInvalid);
    }
    Ok(decoded)
}

/// The two hexadecimal digits behind a `%`.
fn escaped_byte(bytes: &mut impl Iterator<Item = u8>) -> Result<u8, Error> {
    let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
    match (digit(), digit()) {
        (Some(high), Some(low)) => Ok((high * 16 + low) as u8),
        _ => Err(Error::CallbackInvalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(query: &str) -> Result<String, Error> {
        from_query(Some(query), &Limits::default())
    }

    #[test]
    fn it_is_percent_decoded_and_may_have_two_names() {
        for query in ["c=callback", "c=%63allback", "callback=callback", "x=1&c=callback&y"] {
            assert_eq!(callback(query).as_deref(), Ok("callback"), "{query}");
        }
        assert_eq!(callback("c=_jp.a-1Z").as_deref(), Ok("_jp.a-1Z"));
    }

    #[test]
    fn a_missing_one_is_required() {
        assert_eq!(from_query(None, &Limits::default()), Err(Error::CallbackMissing));
        assert_eq!(callback("cc=x&C=y"), Err(Error::CallbackMissing));
    }

    /// Catalogue: G10, G11.
    #[test]
    fn scripts_are_refused() {
        let bad =
            "c=%20 c=* c=abc( c=abc%28 c=%3Cscript%3E c=a%00 c=a%0a c= c=%4 c=%zz c=%+1 c=a+b \
            c=alert`1` c=a%e2%80%a8 c=%";
        for query in bad.split_whitespace() {
            assert_eq!(callback(query), Err(Error::CallbackInvalid), "{query}");
        }
    }

    #[test]
    fn it_is_bounded() {
        assert!(callback(&format!("c={}", "x".repeat(32))).is_ok());
        assert_eq!(callback(&format!("c={}", "x".repeat(33))), Err(Error::CallbackInvalid));
    }
}
