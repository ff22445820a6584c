//! Heart-beating: who sends something at least how often.
//!
//! STOMP 1.1 and 1.2, Heart-beating. `heart-beat:<can send every>,<wants every>` in milliseconds, 0
//! for "not at all"; the interval of a direction is the larger of what one side can and the other
//! side wants. We mirror the client's wishes, clamped to our limits, so that a client gets what it
//! asks for when that is sane. Times are judged by the session, not here. 1.0 has no heart-beats.

use super::error::Error;
use super::negotiation::Version;
use crate::limits::Limits;

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// We send something at least this often, in milliseconds. 0: no obligation.
    pub server_sends_ms: u32,
    /// The client sends something at least this often, in milliseconds. 0: no obligation.
    pub client_sends_ms: u32,
}

/// The client's `heart-beat` header: what it can send and what it wants, in milliseconds.
///
/// # Errors
/// [`Error::BadHeartbeat`] unless it is two non-negative integers below 2^32 with a comma between.
pub fn parse(header: &str) -> Result<(u32, u32), Error> {
    let (sends, wants) = header.split_once(',').ok_or(Error::BadHeartbeat)?;
    Ok((parse_ms(sends)?, parse_ms(wants)?))
}

fn parse_ms(text: &str) -> Result<u32, Error> {
    let digits = text.trim_matches(' ');
    // `parse` alone would accept a sign.
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::BadHeartbeat);
    }
    digits.parse().map_err(|_| Error::BadHeartbeat)
}

/// What is agreed with a client that said `client`, and what our own `heart-beat` header says.
pub fn agree(client: (u32, u32), version: Version, limits: &Limits) -> (Agreement, (u32, u32)) {
    if version == Version::V1_0 {
        return (Agreement::default(), (0, 0));
    }
    let clamp = |ms: u32| match ms {
        0 => 0,
        ms => ms.min(limits.heartbeat_ms_max).max(limits.heartbeat_ms_min),
    };
    let (client_can, client_wants) = client;
    let (server_can, server_wants) = (clamp(client_wants), clamp(client_can));
    let agreement = Agreement {
        server_sends_ms: server_can.max(client_wants),
        client_sends_ms: server_wants.max(client_can),
    };
    (agreement, (server_can, server_wants))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_non_negative_integers() {
        assert_eq!(parse("10000,20000"), Ok((10_000, 20_000)));
        assert_eq!(parse("0,0"), Ok((0, 0)));
        assert_eq!(parse("10, 20"), Ok((10, 20)));
    }

    /// Catalogue: H12.
    #[test]
    fn anything_else_is_an_error() {
        for bad in
            ["abc", "0", "1,2,3", "-1,5", "+1,5", "1,", ",", "", "1.5,2", "1,99999999999999999999"]
        {
            assert_eq!(parse(bad), Err(Error::BadHeartbeat), "{bad}");
        }
    }

    #[test]
    fn the_answer_mirrors_the_client() {
        let (agreement, header) = agree((10_000, 20_000), Version::V1_2, &Limits::default());
        assert_eq!(header, (20_000, 10_000));
        assert_eq!(agreement, Agreement { server_sends_ms: 20_000, client_sends_ms: 10_000 });
    }

    /// Catalogue: H12.
    #[test]
    fn too_eager_wishes_meet_our_floor() {
        let (agreement, header) = agree((10, 10), Version::V1_1, &Limits::default());
        assert_eq!(header, (1_000, 1_000));
        assert_eq!(agreement, Agreement { server_sends_ms: 1_000, client_sends_ms: 1_000 });
    }

    #[test]
    fn the_slower_side_decides() {
        let (agreement, header) = agree((500_000, 0), Version::V1_2, &Limits::default());
        assert_eq!(header, (0, 120_000));
        assert_eq!(agreement, Agreement { server_sends_ms: 0, client_sends_ms: 500_000 });
    }

    #[test]
    fn none_in_1_0() {
        let (agreement, header) = agree((1_000, 1_000), Version::V1_0, &Limits::default());
        assert_eq!((agreement, header), (Agreement::default(), (0, 0)));
    }
}
