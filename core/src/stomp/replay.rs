//! What a SUBSCRIBE asks of its topic's past: all it missed, or the newest.
//!
//! STOMP has no such headers; these are ours, beside ActiveMQ's `activemq.retroactive` (stomp.md
//! §2.3). `from-offset` and `epoch` are those of the last MESSAGE that the client saw, or of the
//! RECEIPT of its SUBSCRIBE (ecosystem.md §7.1). `replay` is `last` or a number.

use super::error::Error;
use super::frame::Frame;

/// What a new subscription gets first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    /// Only what is published from now on.
    #[default]
    Nothing,
    /// Everything since, or nothing and why.
    After {
        /// The last one seen; 0 is none.
        offset: u64,
        /// The run of offsets that it belongs to.
        epoch: Box<str>,
    },
    /// The newest that are kept, at most so many.
    Newest(usize),
}

/// Reads the headers of a SUBSCRIBE.
///
/// # Errors
/// [`Error::BadValue`] of a value that means nothing, [`Error::MissingHeader`] of an offset without
/// its epoch.
pub fn replay(frame: &Frame<'_>) -> Result<Replay, Error> {
    if let Some(offset) = frame.header("from-offset") {
        let offset = number(&offset).ok_or(Error::BadValue("from-offset"))?;
        let epoch = frame.header("epoch").ok_or(Error::MissingHeader("epoch"))?;
        return Ok(Replay::After { offset, epoch: Box::from(&*epoch) });
    }
    if let Some(text) = frame.header("replay") {
        let count = if text == "last" { Some(1) } else { number(&text) };
        let count = count.and_then(|count| usize::try_from(count).ok());
        let error = Error::BadValue("replay");
        return count.map(Replay::Newest).ok_or(error);
    }
    match frame.header("activemq.retroactive").as_deref() {
        Some("true") => Ok(Replay::Newest(usize::MAX)),
        _ => Ok(Replay::Nothing),
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::super::decode::{decode, Item, Rules};
    use super::super::frame::HeaderTable;
    use super::super::negotiation::Version;
    use super::*;
    use crate::limits::Limits;

    fn read(headers: &str) -> Result<Replay, Error> {
        let input = format!("SUBSCRIBE\nid:1\ndestination:/topic/a\n{headers}\n\0");
        let (mut table, limits) = (HeaderTable::default(), Limits::default());
        match decode(input.as_bytes(), Rules::Version(Version::V1_2), &limits, &mut table) {
            Ok(Some((Item::Frame(frame), _))) => replay(&frame),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_asked_for() {
        let after = |offset, epoch: &str| Ok(Replay::After { offset, epoch: epoch.into() });
        assert_eq!(read(""), Ok(Replay::Nothing));
        assert_eq!(read("epoch:e\n"), Ok(Replay::Nothing));
        assert_eq!(read("from-offset:0\nepoch:e\n"), after(0, "e"));
        assert_eq!(read(&format!("from-offset:{}\nepoch:\n", u64::MAX)), after(u64::MAX, ""));
        assert_eq!(read("replay:last\n"), Ok(Replay::Newest(1)));
        assert_eq!(read("replay:20\n"), Ok(Replay::Newest(20)));
        assert_eq!(read("activemq.retroactive:true\n"), Ok(Replay::Newest(usize::MAX)));
        assert_eq!(read("activemq.retroactive:false\n"), Ok(Replay::Nothing));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        assert_eq!(read("from-offset:1\n"), Err(Error::MissingHeader("epoch")));
        for header in ["from-offset:x", "from-offset:-1", "from-offset:18446744073709551616"] {
            let error = read(&format!("{header}\nepoch:e\n"));
            assert_eq!(error, Err(Error::BadValue("from-offset")), "{header}");
        }
        for header in ["replay:", "replay:all", "replay:+1"] {
            let error = read(&format!("{header}\n"));
            assert_eq!(error, Err(Error::BadValue("replay")), "{header}");
        }
    }
}
