//! What a destination is: its kind by prefix, whether it is a pattern, and which shard is its home.
//!
//! A destination no prefix claims is an ERROR, never a silent drop (design.md §8; stomp.md §2.1
//! "Destination prefixes" and §5 rows 48 to 50). Names are opaque, case-sensitive UTF-8, never
//! trimmed:
//! `/topic/a` and `/topic/a ` differ (stomp.md §1.2 "Padding").
//!
//! Whatever spans or outlives a socket has a home shard by keyed hash of its name (design.md §4),
//! so that there is one order per destination and no lock.

use super::Keyed;
use crate::limits::Limits;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

/// How a destination distributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/topic/`: every matching subscription gets every message, at most once.
    Topic,
}

/// Prefix of broadcast destinations.
pub const TOPIC_PREFIX: &str = "/topic/";

/// Why a destination is refused. Both are the client's fault; the answer is ERROR and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationError {
    /// Empty (also after its prefix), longer than `destination_bytes_max`, or with control
    /// characters.
    Bad,
    /// No configured prefix claims it.
    Unroutable,
}

impl DestinationError {
    /// The short text for the ERROR frame's `message` header.
    pub fn message(self) -> &'static str {
        match self {
            DestinationError::Bad => "bad destination",
            DestinationError::Unroutable => "unroutable destination",
        }
    }

    /// The long text for the ERROR frame's body. Never repeats the destination itself.
    pub fn describe(self, destination: &str, limits: &Limits) -> String {
        let (seen, limit) = (destination.len(), limits.destination_bytes_max);
        match self {
            DestinationError::Bad if seen > limit => {
                format!("bad destination: seen {seen} bytes, limit is {limit}")
            }
            DestinationError::Bad if destination.chars().any(char::is_control) => {
                "bad destination: seen a control character".to_owned()
            }
            DestinationError::Bad => "bad destination: seen an empty name".to_owned(),
            DestinationError::Unroutable => {
                format!("unroutable destination: known prefix is {TOPIC_PREFIX}")
            }
        }
    }
}

impl fmt::Display for DestinationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.message())
    }
}

impl std::error::Error for DestinationError {}

/// Says what kind a destination of a SEND or SUBSCRIBE is. Limit: `destination_bytes_max`.
pub fn classify(destination: &str, limits: &Limits) -> Result<Kind, DestinationError> {
    if destination.is_empty()
        || destination.len() > limits.destination_bytes_max
        || destination.chars().any(char::is_control)
    {
        return Err(DestinationError::Bad);
    }
    match destination.strip_prefix(TOPIC_PREFIX) {
        Some("") => Err(DestinationError::Bad),
        Some(_) => Ok(Kind::Topic),
        None => Err(DestinationError::Unroutable),
    }
}

/// Whether a SUBSCRIBE's destination is a pattern: it contains `*` or `?` (stomp.md §2.1).
pub fn is_pattern(destination: &str) -> bool {
    destination.bytes().any(|byte| matches!(byte, b'*' | b'?'))
}

/// The home shard of a destination: `0..shards`, evenly spread by a hash keyed with `key`, the same
/// on every shard of a process. No shards counts as one.
pub fn home_shard(key: u64, destination: &str, shards: usize) -> usize {
    let mut hasher = Keyed(key).build_hasher();
    hasher.write(destination.as_bytes());
    // Multiply and shift maps the whole hash onto the range without a division's bias.
    ((u128::from(hasher.finish()) * shards.max(1) as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_routable() {
        let limits = Limits::default();
        for good in ["/topic/a", "/topic/a/b", "/topic/ä ", "/topic/**", "/topic//"] {
            assert_eq!(classify(good, &limits), Ok(Kind::Topic), "{good}");
        }
    }

    #[test]
    fn bad_names_are_refused_before_the_prefix_is_looked_at() {
        let limits = Limits::default();
        let long = format!("/topic/{}", "x".repeat(1_018));
        for bad in ["", "/topic/", "/topic/a\0", "/topic/a\nb", "x\r", "/topic/\u{85}", &long] {
            assert_eq!(classify(bad, &limits), Err(DestinationError::Bad), "{bad:?}");
        }
        assert_eq!(classify(&long[..1_024], &limits), Ok(Kind::Topic));
        let text = DestinationError::Bad.describe(&long, &limits);
        assert_eq!(text, "bad destination: seen 1025 bytes, limit is 1024");
    }

    #[test]
    fn unknown_prefixes_are_unroutable() {
        let limits = Limits::default();
        for unknown in ["/topic", "topic/a", "/Topic/a", "/queue/a", " /topic/a", "a"] {
            let seen = classify(unknown, &limits);
            assert_eq!(seen, Err(DestinationError::Unroutable), "{unknown}");
        }
    }

    #[test]
    fn patterns_are_recognised() {
        assert!(is_pattern("/topic/*") && is_pattern("/topic/a?") && is_pattern("/topic/**"));
        assert!(!is_pattern("/topic/a") && !is_pattern("/topic/>") && !is_pattern("/topic/#"));
    }

    #[test]
    fn homes_are_stable_in_range_spread_and_keyed() {
        for shards in [1, 2, 7, 56, 1_024] {
            let mut seen = vec![0usize; shards];
            for number in 0..shards * 200 {
                let name = format!("/topic/{number}");
                let home = home_shard(42, &name, shards);
                assert_eq!(home, home_shard(42, &name, shards));
                seen[home] += 1;
            }
            assert!(seen.iter().all(|&count| count > 100 && count < 320), "{shards}: {seen:?}");
        }
        let moved = (0..1_000)
            .filter(|number| {
                let name = format!("/topic/{number}");
                home_shard(1, &name, 64) != home_shard(2, &name, 64)
            })
            .count();
        assert!(moved > 900, "the key decides, {moved} of 1000 moved");
        assert_eq!(home_shard(1, "/topic/a", 0), 0);
    }
}
