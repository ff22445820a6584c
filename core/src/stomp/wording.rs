//! What an ERROR says in the words of another broker, for clients that compare them.
//!
//! Only RabbitMQ's are known to be compared (its own test suite does: reference/stomp.md §7), and
//! only for errors that name something the client wrote. What a body repeats of that, these and
//! ours ([`explain`]), is escaped and no longer than 256 bytes (stomp.md §5 row 88).

use super::command::Command;
use super::error::Error;
use super::explain::explain;
use super::frame::Frame;
use crate::limits::Limits;

/// Bytes of the client's own text in a body.
const QUOTE_BYTES_MAX: usize = 256;

/// What RabbitMQ calls its kinds of destination, with the prefix of each.
const KINDS: [(&str, &str); 4] = [
    ("/exchange", "exchange"),
    ("/queue", "queue"),
    ("/topic", "topic"),
    ("/amq/queue", "amqqueue"),
];

/// The `message` header and the body of an ERROR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wording {
    /// One short line, without anything the peer sent.
    pub message: &'static str,
    /// The body, line end included.
    pub body: String,
    /// Whether a `version` header names the versions that we speak.
    pub names_versions: bool,
}

impl Wording {
    /// Our own, of an error alone.
    pub fn of(error: &Error) -> Wording {
        let names_versions = *error == Error::NoCommonVersion;
        Wording { message: error.message(), body: format!("{error}\n"), names_versions }
    }

    /// Our own, of an error that `frame` made; none if it is not known any more.
    pub fn ours(error: &Error, frame: Option<&Frame<'_>>, limits: &Limits) -> Wording {
        let wording = Wording::of(error);
        match explain(error, frame, limits) {
            Some(body) => Wording { body: format!("{body}\n"), ..wording },
            None => wording,
        }
    }

    /// RabbitMQ's for a command that it does not know.
    pub fn rabbitmq_command(error: &Error, command: &str) -> Wording {
        let body = format!("Could not interpret command \"{}\"\n", quoted(command));
        Wording { message: error.message(), body, names_versions: true }
    }

    /// RabbitMQ's for a log-in that failed.
    pub fn rabbitmq_login(error: &Error, login: &str) -> Wording {
        let body = format!("Access refused for user '{}'", quoted(login));
        Wording { message: error.message(), body, names_versions: true }
    }

    /// RabbitMQ's for an error that `frame` made; ours where its clients compare nothing.
    pub fn rabbitmq(error: &Error, frame: &Frame<'_>, limits: &Limits) -> Wording {
        let ours = || Wording { names_versions: true, ..Wording::ours(error, Some(frame), limits) };
        let header = |name| frame.header(name).map(|value| quoted(&value)).unwrap_or_default();
        let destination = frame.header("destination").unwrap_or_default();
        let (message, body) = match error {
            Error::LoginFailed => {
                let login = frame.header("login").unwrap_or_default();
                return Wording::rabbitmq_login(error, &login);
            }
            Error::UnknownHost => {
                (error.message(), format!("Virtual host '{}' access denied", header("host")))
            }
            Error::ServerHeader(name) => {
                let command = frame.command.as_str();
                (error.message(), format!("'{name}' is not allowed on '{command}'.\n"))
            }
            Error::NotAllowed => {
                ("access_refused", format!("access to '{}' refused\n", quoted(&destination)))
            }
            Error::DuplicateSubscription => {
                let tag = match frame.header("id") {
                    Some(id) => format!("T_{}", quoted(&id)),
                    None => format!("Q_{}", quoted(&destination)),
                };
                (error.message(), format!("A subscription identified by '{tag}' already exists."))
            }
            Error::MissingHeader("id") if is_durable(frame) => {
                let body = "Header 'id' is required for durable subscriptions";
                ("Missing Header", body.to_owned())
            }
            Error::MissingHeader(name) if *name != "destination" => {
                ("Missing header", format!("Frame must include the '{name}' header\n"))
            }
            Error::BadDestination | Error::UnroutableDestination { .. } => {
                return destination_error(error, &destination).unwrap_or_else(ours)
            }
            _ => return ours(),
        };
        Wording { message, body, names_versions: true }
    }
}

fn is_durable(frame: &Frame<'_>) -> bool {
    let is_true = |name| matches!(frame.header(name).as_deref(), Some("true" | "True"));
    frame.command == Command::Subscribe && (is_true("durable") || is_true("persistent"))
}

/// RabbitMQ's words for a destination that cannot be; none where its clients compare nothing.
fn destination_error(error: &Error, destination: &str) -> Option<Wording> {
    let says = |message, body| Wording { message, body, names_versions: true };
    let invalid = |kind: &str, rest: &str| {
        let body = format!("'{}' is not a valid {kind} destination\n", quoted(rest));
        says(Error::BadDestination.message(), body)
    };
    let kind = KINDS.iter().find_map(|(prefix, kind)| {
        let rest = destination.strip_prefix(prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some((*kind, rest))
    });
    Some(match kind {
        Some(("exchange", rest)) => {
            // One name, then at most one routing key.
            let mut parts = rest.split('/').skip(1);
            match (parts.next(), parts.next(), parts.next()) {
                (Some(name), _, None) if !name.is_empty() => {
                    says("not_found", format!("no exchange '{}' in vhost '/'\n", quoted(name)))
                }
                _ => invalid("exchange", rest),
            }
        }
        Some((kind, rest)) => invalid(kind, rest),
        None if matches!(error, Error::UnroutableDestination { .. }) => {
            let body = format!("'{}' is not a valid destination.\n", quoted(destination));
            says(error.message(), body)
        }
        None => return None,
    })
}

/// The peer's text, made harmless.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for c in text.chars() {
        if quoted.len() >= QUOTE_BYTES_MAX {
            break;
        }
        match c.is_control() {
            true => quoted.extend(c.escape_default()),
            false => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::decode::{decode, Item, Rules};
    use super::super::frame::HeaderTable;
    use super::super::negotiation::Version;
    use super::*;

    const UNKNOWN: Error = Error::UnroutableDestination { known: "/topic/" };

    #[track_caller]
    fn says(frame: &str, error: Error, message: &str, body: &str) {
        let (mut table, limits) = (HeaderTable::default(), Limits::default());
        let rules = Rules::Version(Version::V1_2);
        match decode(frame.as_bytes(), rules, &limits, &mut table) {
            Ok(Some((Item::Frame(frame), _))) => {
                let wording = Wording::rabbitmq(&error, &frame, &limits);
                assert_eq!((wording.message, &*wording.body), (message, body));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn destinations() {
        let (bad, unknown) = (Error::BadDestination, UNKNOWN);
        for (destination, error, message, body) in [
            ("/queue/a/b", bad, "Invalid destination", "'/a/b' is not a valid queue destination\n"),
            ("/topic", unknown, "Invalid destination", "'' is not a valid topic destination\n"),
            (
                "/exchange/a/b/c",
                unknown,
                "Invalid destination",
                "'/a/b/c' is not a valid exchange destination\n",
            ),
            (
                "/exchange//a",
                unknown,
                "Invalid destination",
                "'//a' is not a valid exchange destination\n",
            ),
            ("/exchange/a", unknown, "not_found", "no exchange 'a' in vhost '/'\n"),
            ("/exchange/a/b", unknown, "not_found", "no exchange 'a' in vhost '/'\n"),
            ("/a/b", unknown, "Unknown destination", "'/a/b' is not a valid destination.\n"),
        ] {
            says(&format!("SEND\ndestination:{destination}\n\n\0"), error, message, body);
        }
    }

    /// Catalogue: H23.
    #[test]
    fn names_are_quoted_harmlessly() {
        let long = "x".repeat(1_000);
        let body = format!("'{}' is not a valid destination.\n", &long[..QUOTE_BYTES_MAX]);
        let frame = format!("SEND\ndestination:{long}\n\n\0");
        says(&frame, UNKNOWN, "Unknown destination", &body);
        let frame = "SUBSCRIBE\nid:a\\nb\ndestination:/queue/a\n\n\0";
        let body = "A subscription identified by 'T_a\\nb' already exists.";
        says(frame, Error::DuplicateSubscription, "Duplicated subscription identifier", body);
        says(
            "SUBSCRIBE\ndestination:/queue/a\n\n\0",
            Error::NotAllowed,
            "access_refused",
            "access to '/queue/a' refused\n",
        );
        says(
            "ACK\n\n\0",
            Error::MissingHeader("id"),
            "Missing header",
            "Frame must include the 'id' header\n",
        );
        says(
            "CONNECT\nhost:/a\u{7}b\n\n\0",
            Error::UnknownHost,
            "Bad CONNECT",
            "Virtual host '/a\\u{7}b' access denied",
        );
        says(
            "SEND\ndestination:a\nmessage-id:1\n\n\0",
            Error::ServerHeader("message-id"),
            "Invalid header",
            "'message-id' is not allowed on 'SEND'.\n",
        );
        for header in ["durable:true", "persistent:True"] {
            says(
                &format!("SUBSCRIBE\ndestination:/topic/a\n{header}\n\n\0"),
                Error::MissingHeader("id"),
                "Missing Header",
                "Header 'id' is required for durable subscriptions",
            );
        }
        let command = Wording::rabbitmq_command(&Error::UnknownCommand, "FO\u{1}O");
        assert_eq!(command.body, "Could not interpret command \"FO\\u{1}O\"\n");
        let ours = Wording::of(&Error::NulInHead);
        says("SEND\n\n\0", Error::NulInHead, ours.message, &ours.body);
    }
}
