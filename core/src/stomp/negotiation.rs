//! Which version a session speaks: the highest one common to `accept-version` and us.
//!
//! STOMP 1.1 and 1.2, Protocol Negotiation. A client without the header speaks 1.0. The WebSocket
//! subprotocol is a label and decides nothing. Items are trimmed, order, repeats and unknown items
//! do not matter: stompjs sends `1.2,1.1,1.0`, others ascend, some put spaces behind the commas.

use super::error::Error;

/// A version of STOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// STOMP 1.0: no escapes, no heart-beats, optional subscription ids.
    V1_0,
    /// STOMP 1.1.
    V1_1,
    /// STOMP 1.2.
    V1_2,
}

/// The versions we speak, as an ERROR about versions must list them.
pub const SUPPORTED: &str = "1.0,1.1,1.2";

impl Version {
    /// The version as in `accept-version` and `version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }
}

/// The version to speak with a client that sent this `accept-version`.
///
/// # Errors
/// [`Error::NoCommonVersion`] if the header is there and names none of ours.
pub fn choose(accept_version: Option<&str>) -> Result<Version, Error> {
    let Some(list) = accept_version else { return Ok(Version::V1_0) };
    let known = |item: &str| match item.trim() {
        "1.0" => Some(Version::V1_0),
        "1.1" => Some(Version::V1_1),
        "1.2" => Some(Version::V1_2),
        _ => None,
    };
    list.split(',').filter_map(known).max().ok_or(Error::NoCommonVersion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_header_means_1_0() {
        assert_eq!(choose(None), Ok(Version::V1_0));
    }

    #[test]
    fn the_highest_common_wins_in_any_order() {
        assert_eq!(choose(Some("1.2,1.1,1.0")), Ok(Version::V1_2));
        assert_eq!(choose(Some("1.0,1.1")), Ok(Version::V1_1));
        assert_eq!(choose(Some("1.0")), Ok(Version::V1_0));
    }

    #[test]
    fn spaces_repeats_and_unknown_items_do_not_matter() {
        assert_eq!(choose(Some("1.0, 1.1, 1.2")), Ok(Version::V1_2));
        assert_eq!(choose(Some("1.1,9.9,1.1,,1.0")), Ok(Version::V1_1));
    }

    /// Catalogue: H15.
    #[test]
    fn nothing_in_common_is_an_error() {
        assert_eq!(choose(Some("9.9")), Err(Error::NoCommonVersion));
        assert_eq!(choose(Some("")), Err(Error::NoCommonVersion));
    }
}
