//! What the frame that makes a queue may ask of it: RabbitMQ's queue arguments (stomp.md §2.2).
//!
//! They stand in a SUBSCRIBE or SEND: `x-max-length`, `x-max-length-bytes`, `x-overflow`,
//! `x-message-ttl`, `x-expires`, `x-dead-letter-exchange` with `x-dead-letter-routing-key`, and
//! `auto-delete`. The first frame that has any of them declares the queue; a later one that has any
//! must have the same. A frame without them declares nothing and takes the queue as it is. No
//! argument widens a limit of the server.
//!
//! `x-queue-type` may be `classic` or `quorum`, both of them a queue in memory; streams and
//! priorities, which we do not have, are refused.
//!
//! A dead-letter exchange is one of RabbitMQ's that we have, or a destination that begins with `/`.

use super::{Overflow, Settings};
use std::borrow::Cow;

const MAX_LENGTH: &str = "x-max-length";
const MAX_LENGTH_BYTES: &str = "x-max-length-bytes";
const OVERFLOW: &str = "x-overflow";
const MESSAGE_TTL: &str = "x-message-ttl";
const EXPIRES: &str = "x-expires";
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
const DEAD_LETTER_KEY: &str = "x-dead-letter-routing-key";
const AUTO_DELETE: &str = "auto-delete";
const QUEUE_TYPE: &str = "x-queue-type";

/// RabbitMQ's that change what a queue is, and that we do not have: who asks for them must know.
const NOT_OFFERED: [&str; 2] = ["x-stream-offset", "x-max-priority"];

/// What a client asks of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `x-max-length`: messages held.
    pub messages_count_max: Option<usize>,
    /// `x-max-length-bytes`: bytes of the messages held.
    pub bytes_max: Option<usize>,
    /// `x-overflow`: what happens when it is full.
    pub overflow: Option<Overflow>,
    /// `x-message-ttl`: life of a message in it, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// `x-expires`: how long it lives without a consumer, in milliseconds.
    pub expires_ms: Option<u64>,
    /// Destination of the messages that die in it.
    pub dead_letter: Option<Box<str>>,
    /// `auto-delete`: it ends with its last consumer.
    pub is_auto_delete: bool,
}

/// Why arguments are refused: this header cannot have that value. The client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgumentError {
    /// The header.
    pub header: &'static str,
}

impl Arguments {
    /// Whether a header of this name may be an argument: a cheap look before [`Arguments::read`].
    pub fn may_be(name: &str) -> bool {
        name.starts_with("x-") || name == AUTO_DELETE
    }

    /// Reads the arguments of a frame; none if it has none. `header` gives the first value of a
    /// name. `takes_ttl` if `x-message-ttl` is the queue's, not the message's.
    ///
    /// # Errors
    /// [`ArgumentError`]: a number that is none, a word or an exchange that we do not know, an
    /// argument that we do not have.
    pub fn read<'a>(
        header: impl Fn(&'static str) -> Option<Cow<'a, str>>,
        takes_ttl: bool,
    ) -> Result<Option<Arguments>, ArgumentError> {
        if header(QUEUE_TYPE).is_some_and(|kind| !matches!(kind.trim(), "classic" | "quorum")) {
            return Err(ArgumentError { header: QUEUE_TYPE });
        }
        if let Some(header) = NOT_OFFERED.into_iter().find(|name| header(name).is_some()) {
            return Err(ArgumentError { header });
        }
        let number = |name| match header(name) {
            None => Ok(None),
            Some(text) => match text.trim().parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(ArgumentError { header: name }),
            },
        };
        let size = |name| number(name).map(|number| number.map(|n| n.min(SIZE_MAX) as usize));
        let arguments = Arguments {
            messages_count_max: size(MAX_LENGTH)?,
            bytes_max: size(MAX_LENGTH_BYTES)?,
            overflow: match header(OVERFLOW).as_deref().map(str::trim) {
                None => None,
                Some("drop-head") => Some(Overflow::DropHead),
                Some("reject-publish") => Some(Overflow::Reject),
                Some(_) => return Err(ArgumentError { header: OVERFLOW }),
            },
            ttl_ms: if takes_ttl { number(MESSAGE_TTL)? } else { None },
            expires_ms: match number(EXPIRES)? {
                Some(0) => return Err(ArgumentError { header: EXPIRES }),
                expires_ms => expires_ms,
            },
            dead_letter: dead_letter(header(DEAD_LETTER_EXCHANGE), header(DEAD_LETTER_KEY))?,
            is_auto_delete: flag(header(AUTO_DELETE), AUTO_DELETE)?,
        };
        Ok((arguments != Arguments::default()).then_some(arguments))
    }

    /// The terms of a queue with these arguments, within those of the server. As with RabbitMQ, one
    /// with a bound of its own drops its oldest unless it says otherwise.
    pub fn settings(&self, server: Settings) -> Settings {
        let is_bounded = self.messages_count_max.is_some() || self.bytes_max.is_some();
        let overflow = if is_bounded { Overflow::DropHead } else { server.overflow };
        let or_server = |own: Option<usize>, most: usize| own.map_or(most, |own| own.min(most));
        Settings {
            messages_count_max: or_server(self.messages_count_max, server.messages_count_max),
            bytes_max: or_server(self.bytes_max, server.bytes_max),
            overflow: self.overflow.unwrap_or(overflow),
            ..server
        }
    }

    /// The first argument in which these differ from others.
    pub fn difference(&self, other: &Arguments) -> Option<&'static str> {
        let differences = [
            (self.messages_count_max != other.messages_count_max, MAX_LENGTH),
            (self.bytes_max != other.bytes_max, MAX_LENGTH_BYTES),
            (self.overflow != other.overflow, OVERFLOW),
            (self.ttl_ms != other.ttl_ms, MESSAGE_TTL),
            (self.expires_ms != other.expires_ms, EXPIRES),
            (self.dead_letter != other.dead_letter, DEAD_LETTER_EXCHANGE),
            (self.is_auto_delete != other.is_auto_delete, AUTO_DELETE),
        ];
        differences.into_iter().find(|(differs, _)| *differs).map(|(_, name)| name)
    }
}

/// Numbers above are cut: no limit of a server is as large.
const SIZE_MAX: u64 = u32::MAX as u64;

/// A header that is `true` or `false`, as Python writes them too.
///
/// # Errors
/// [`ArgumentError`] for everything else.
pub fn flag(value: Option<Cow<'_, str>>, header: &'static str) -> Result<bool, ArgumentError> {
    match value.as_deref() {
        None | Some("false" | "False") => Ok(false),
        Some("true" | "True") => Ok(true),
        Some(_) => Err(ArgumentError { header }),
    }
}

fn dead_letter(
    exchange: Option<Cow<'_, str>>,
    key: Option<Cow<'_, str>>,
) -> Result<Option<Box<str>>, ArgumentError> {
    let exchange = match (&exchange, &key) {
        (None, None) => return Ok(None),
        (exchange, _) => exchange.as_deref().unwrap_or_default().trim(),
    };
    let prefix = match exchange {
        "" => "/queue/",
        "amq.topic" => "/topic/",
        "amq.direct" => "/exchange/amq.direct/",
        "amq.fanout" => return Ok(Some("/exchange/amq.fanout".into())),
        own if own.starts_with('/') => return Ok(Some(own.into())),
        _ => return Err(ArgumentError { header: DEAD_LETTER_EXCHANGE }),
    };
    let key = key.as_deref().map(str::trim).filter(|key| !key.is_empty());
    let key = key.ok_or(ArgumentError { header: DEAD_LETTER_KEY })?;
    Ok(Some(format!("{prefix}{key}").into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn read(headers: &[(&str, &'static str)]) -> Result<Option<Arguments>, ArgumentError> {
        let first = |name| headers.iter().find(|(known, _)| *known == name);
        Arguments::read(|name| first(name).map(|(_, value)| Cow::Borrowed(*value)), true)
    }

    #[test]
    fn a_frame_without_arguments_declares_nothing() {
        for headers in [&[][..], &[("auto-delete", "false")], &[("x-queue-type", "quorum")]] {
            assert_eq!(read(headers), Ok(None), "{headers:?}");
        }
    }

    #[test]
    fn each_argument_is_read() {
        let arguments = read(&[
            ("x-max-length", "10"),
            ("x-max-length-bytes", " 99999999999 "),
            ("x-overflow", "reject-publish"),
            ("x-message-ttl", "60000"),
            ("x-expires", "70000"),
            ("x-dead-letter-exchange", ""),
            ("x-dead-letter-routing-key", "dead"),
            ("auto-delete", "True"),
        ]);
        let wanted = Arguments {
            messages_count_max: Some(10),
            bytes_max: Some(u32::MAX as usize),
            overflow: Some(Overflow::Reject),
            ttl_ms: Some(60_000),
            expires_ms: Some(70_000),
            dead_letter: Some("/queue/dead".into()),
            is_auto_delete: true,
        };
        assert_eq!(arguments, Ok(Some(wanted)));
    }

    #[test]
    fn bad_values_name_their_header() {
        for (header, value) in [
            ("x-max-length", "-1"),
            ("x-max-length-bytes", "1k"),
            ("x-overflow", "explode"),
            ("x-message-ttl", "soon"),
            ("x-expires", "0"),
            ("x-dead-letter-exchange", "mine"),
            ("auto-delete", "perhaps"),
            ("x-queue-type", "stream"),
            ("x-stream-offset", "first"),
            ("x-max-priority", "7"),
        ] {
            assert_eq!(read(&[(header, value)]), Err(ArgumentError { header }), "{value}");
        }
        let error = Err(ArgumentError { header: "x-dead-letter-routing-key" });
        assert_eq!(read(&[("x-dead-letter-exchange", "amq.topic")]), error);
    }

    #[test]
    fn dead_letters_go_to_a_destination() {
        for (exchange, key, wanted) in [
            ("", "a", "/queue/a"),
            ("amq.topic", "a.b", "/topic/a.b"),
            ("amq.direct", "a", "/exchange/amq.direct/a"),
            ("amq.fanout", "", "/exchange/amq.fanout"),
            ("/topic/of/mine", "", "/topic/of/mine"),
        ] {
            let headers =
                [("x-dead-letter-exchange", exchange), ("x-dead-letter-routing-key", key)];
            let arguments = read(&headers).unwrap().unwrap();
            assert_eq!(arguments.dead_letter.as_deref(), Some(wanted));
        }
    }

    #[test]
    fn arguments_never_widen_a_limit_and_a_bound_drops_its_oldest() {
        let server = Settings::new(&Limits::default());
        let none = Arguments::default();
        assert_eq!(none.settings(server), server);
        let wide = Arguments { messages_count_max: Some(usize::MAX), ..none.clone() };
        assert_eq!(wide.settings(server).messages_count_max, server.messages_count_max);
        assert_eq!(wide.settings(server).overflow, Overflow::DropHead);
        let strict = Arguments { overflow: Some(Overflow::Reject), ..wide.clone() };
        assert_eq!(strict.settings(server).overflow, Overflow::Reject);
        assert_eq!(wide.difference(&strict), Some("x-overflow"));
        assert_eq!(strict.difference(&none), Some("x-max-length"));
        assert_eq!(strict.difference(&strict.clone()), None);
    }
}
