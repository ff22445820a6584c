//! When a message expires: the headers that say so (stomp.md §2.2, §2.3).
//!
//! `expires` is a time in Unix milliseconds, 0 is never (ActiveMQ); `expiration` and
//! `x-message-ttl` are milliseconds from now (RabbitMQ). With several of them, or a time to live of
//! the queue, the earliest counts.

use std::fmt;

/// The headers that say when a message expires.
pub const NAMES: [&str; 3] = ["expires", "expiration", "x-message-ttl"];

/// The one of them that is a time; the others are a life.
const TIME: usize = 0;

/// Why a message is refused. The client's fault; the answer is ERROR and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryError {
    /// The value of this header is no whole number of milliseconds.
    NotANumber { header: &'static str },
}

impl ExpiryError {
    /// The short text for the ERROR frame's `message` header.
    pub fn message(self) -> &'static str {
        "bad expiry"
    }
}

impl fmt::Display for ExpiryError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExpiryError::NotANumber { header } = self;
        write!(out, "{}: {header} is not a whole number of milliseconds", self.message())
    }
}

impl std::error::Error for ExpiryError {}

/// The time in Unix milliseconds at which a message with these headers expires, if it does.
/// `now_ms` is Unix time too; `ttl_ms` is the queue's own time to live. Of repeated headers the
/// first counts.
///
/// # Errors
/// [`ExpiryError::NotANumber`].
pub fn expires_at_ms<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    now_ms: u64,
    ttl_ms: Option<u64>,
) -> Result<Option<u64>, ExpiryError> {
    let mut earliest = ttl_ms.map(|life| now_ms.saturating_add(life));
    let mut are_seen = [false; NAMES.len()];
    for (name, value) in headers {
        let Some(at) = NAMES.iter().position(|known| *known == name) else { continue };
        if std::mem::replace(&mut are_seen[at], true) {
            continue;
        }
        let number = value.parse().map_err(|_| ExpiryError::NotANumber { header: NAMES[at] })?;
        let time = match at {
            TIME if number == 0 => continue,
            TIME => number,
            _ => now_ms.saturating_add(number),
        };
        earliest = Some(earliest.map_or(time, |earlier| time.min(earlier)));
    }
    Ok(earliest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_counts() {
        let at = |headers: &[(&'static str, &'static str)], ttl| {
            expires_at_ms(headers.iter().copied(), 1_000, ttl)
        };
        assert_eq!(at(&[], None), Ok(None));
        assert_eq!(at(&[], Some(5)), Ok(Some(1_005)));
        assert_eq!(at(&[("expires", "0")], None), Ok(None));
        assert_eq!(at(&[("expires", "1500"), ("expiration", "600")], Some(700)), Ok(Some(1_500)));
        assert_eq!(at(&[("x-message-ttl", "7"), ("x-message-ttl", "3")], None), Ok(Some(1_007)));
        assert_eq!(at(&[("expiration", "18446744073709551615")], None), Ok(Some(u64::MAX)));
        for bad in ["", "-1", "1.5", "soon"] {
            let error = ExpiryError::NotANumber { header: "expiration" };
            assert_eq!(at(&[("expiration", bad)], None), Err(error), "{bad}");
        }
    }
}
