//! The body of an ERROR in our words, where the culprit is at hand: what it said, what is allowed,
//! what to do.
//!
//! [`Error`] is a small value that knows no text of the peer; its `Display` is for logs and for
//! errors that come without a frame (another shard's, a frame that is not whole). A person who
//! reads an ERROR wants to know which destination and which value. What is repeated is cut and
//! escaped by `quoted` (stomp.md §5 row 88), and never a credential. The `message` header stays
//! as it is: clients compare it.

use super::error::Error;
use super::frame::Frame;
use super::wording::quoted;
use crate::limits::Limits;

/// The ids that a frame may bear, each bounded by `id_bytes_max`.
const IDS: [&str; 5] = ["receipt", "id", "message-id", "subscription", "transaction"];

/// The body, without a line end, of an error that `frame` made; none where that adds nothing to the
/// error's `Display`. `frame` is none if it is not known any more.
pub fn explain(error: &Error, frame: Option<&Frame<'_>>, limits: &Limits) -> Option<String> {
    limit(error, limits).or_else(|| {
        let frame = frame?;
        value(error, frame).or_else(|| place(error, frame)).or_else(|| name(error, frame, limits))
    })
}

/// Limits that the error does not bear itself.
fn limit(error: &Error, limits: &Limits) -> Option<String> {
    let (what, limit, advice) = match error {
        Error::TooManySubscriptions => {
            ("one subscription more", limits.subscriptions_count_max, "UNSUBSCRIBE another first")
        }
        Error::TooManyReplyQueues => {
            ("one /temp-queue/ more", limits.reply_queues_count_max, "use one for many requests")
        }
        Error::TooManyTransactions => {
            ("one open transaction more", limits.transactions_count_max, "COMMIT another first")
        }
        Error::TransactionTooLarge => {
            return Some(format!(
                "seen a transaction of more than may be, limits are {} actions and {} bytes: \
                 COMMIT sooner",
                limits.transaction_actions_count_max, limits.transaction_bytes_max
            ))
        }
        Error::TooManyUnacknowledged => (
            "one message more without ACK",
            limits.unacknowledged_count_max,
            "acknowledge sooner, or ask for fewer with prefetch-count",
        ),
        _ => return None,
    };
    Some(format!("seen {what} than a connection may have, limit is {limit}: {advice}"))
}

/// A header has a value that it cannot have.
fn value(error: &Error, frame: &Frame<'_>) -> Option<String> {
    let (name, allowed) = match error {
        Error::BadValue(name) => (*name, allowed(name)),
        Error::BadAckMode => ("ack", "allowed are auto, client and client-individual"),
        Error::BadHeartbeat => ("heart-beat", "allowed are two numbers of ms such as 10000,10000"),
        Error::UnknownHost => ("host", "which is none of this server's: leave the header out"),
        _ => return None,
    };
    Some(match frame.header(name) {
        Some(value) => format!("seen '{}' in the header '{name}', {allowed}", quoted(&value)),
        None => format!("seen no header '{name}', {allowed}"),
    })
}

/// What a header may say.
fn allowed(name: &str) -> &'static str {
    match name {
        "from-offset" => "allowed is a whole number: the 'offset' of the last MESSAGE you saw",
        "replay" => "allowed is 'last', or how many messages, such as 20",
        "max-rate" => "allowed is 1 to 1000000 per s, m or h, such as 5/s",
        "prefetch-count" | "activemq.prefetchSize" => {
            "allowed is a whole number of messages such as 10; 0 is as many as the server allows"
        }
        "activemq.maximumPendingMessageLimit" => {
            "allowed is a whole number of messages such as 100; 0 is no limit"
        }
        "x-max-length" => "allowed is a whole number of messages",
        "x-max-length-bytes" => "allowed is a whole number of bytes",
        "x-message-ttl" | "expiration" => "allowed is a whole number of ms from now",
        "expires" => "allowed is a time in ms since 1970, or 0 for never",
        "x-expires" => "allowed is a whole number of ms, from 1",
        "x-overflow" => "allowed are drop-head and reject-publish",
        "x-dead-letter-exchange" => {
            "allowed are amq.topic, amq.direct, amq.fanout, nothing for a queue, \
             or a destination such as /queue/dead"
        }
        "x-dead-letter-routing-key" => "it names where x-dead-letter-exchange delivers: add it",
        "x-queue-type" => {
            "allowed are classic and quorum, both of them a queue in memory; there are no \
             streams: ask for /topic/ and the server's --history"
        }
        "x-stream-offset" => {
            "there are no streams: leave it out, and see from-offset and the server's --history"
        }
        "x-max-priority" => "queues have no priorities: leave it out, or use several queues",
        "AMQ_SCHEDULED_DELAY"
        | "AMQ_SCHEDULED_PERIOD"
        | "AMQ_SCHEDULED_REPEAT"
        | "AMQ_SCHEDULED_CRON" => "messages are not delayed here: leave it out, and send it later",
        "no-local" | "activemq.noLocal" => {
            "allowed is false: who subscribes hears what it sends itself, too"
        }
        "reply-to" => "allowed behind /temp-queue/ is a name without control characters",
        "exclusive" | "activemq.exclusive" | "auto-delete" | "durable" | "persistent" => {
            "allowed are true and false"
        }
        _ => "which it cannot have",
    }
}

/// A destination that cannot be, or not for this client.
fn place(error: &Error, frame: &Frame<'_>) -> Option<String> {
    let destination = frame.header("destination")?;
    let command = frame.command.as_str();
    let mut seen = format!("seen {command} with destination '{}'", quoted(&destination));
    if let Some(grave) = frame.header("x-dead-letter-exchange") {
        seen += &format!(" and x-dead-letter-exchange '{}'", quoted(&grave));
    }
    Some(match error {
        Error::UnroutableDestination { known } => {
            let lead = format!("/{destination}");
            let prefix = lead.split_inclusive('/').take(2).collect::<String>();
            match prefix.len() > 1 && prefix.ends_with('/') && known.contains(&prefix) {
                true => format!("{seen}, known are {known}: did you mean '{}'?", quoted(&lead)),
                false => format!("{seen}, known are {known}"),
            }
        }
        Error::NoService => {
            format!("{seen}, but no handler or service is there for it: start one, or send later")
        }
        Error::NotAllowed => refused(seen, command),
        // Where a name without a prefix is a queue's, one with segments is none.
        Error::BadDestination if !destination.starts_with('/') && destination.contains('/') => {
            let lead = format!("/{destination}");
            format!("{seen}, and a prefix begins with '/': did you mean '{}'?", quoted(&lead))
        }
        Error::BadDestination => format!(
            "{seen}: allowed is a prefix and a name, without control characters, \
             and wildcards as the server's profile has them"
        ),
        Error::MisusedDestination => format!(
            "{seen}, which cannot be named here: subscribe to your own as /user/queue/x, \
             name /temp-queue/x in the reply-to header of SEND"
        ),
        Error::CompositeDestination => format!(
            "{seen}, which is more than one: a frame names one destination here, \
             send one frame for each"
        ),
        Error::QueuePattern => {
            format!("{seen}, which has wildcards: patterns are for topics, name one queue")
        }
        Error::SendToPattern => format!("{seen}, which has wildcards: SEND names one destination"),
        Error::PatternTooComplex => format!("{seen}, which has more wildcards than a pattern may"),
        _ => return None,
    })
}

/// The body of a refusal: who reads it has to ask the operator.
pub fn not_allowed(command: &str, destination: &str) -> String {
    refused(format!("seen {command} with destination '{}'", quoted(destination)), command)
}

fn refused(seen: String, command: &str) -> String {
    let verb = if command == "SEND" { "publish" } else { "subscribe" };
    format!(
        "{seen}, where this user may not {verb}: the server's rules, --allow and --deny, decide"
    )
}

/// An id that is in use, unknown or too long.
fn name(error: &Error, frame: &Frame<'_>, limits: &Limits) -> Option<String> {
    let of = |names: &[&str]| {
        let value = names.iter().find_map(|name| frame.header(name));
        value.map(|value| quoted(&value))
    };
    let command = frame.command.as_str();
    Some(match error {
        Error::DuplicateSubscription => {
            let id = of(&["id", "destination"])?;
            format!("seen a second SUBSCRIBE '{id}', ids are unique: UNSUBSCRIBE the first one")
        }
        Error::ReservedSubscription => {
            let id = of(&["id"])?;
            format!("seen the id '{id}', which is a temporary queue's: choose another")
        }
        Error::UnknownSubscription => {
            let id = of(&["id", "destination"])?;
            format!("seen UNSUBSCRIBE of '{id}', which is no subscription of this connection")
        }
        Error::UnknownAck => {
            let id = of(&["id", "message-id"])?;
            format!(
                "seen {command} of '{id}', which does not wait for one: acknowledge a MESSAGE \
                 once, by its 'ack' header in STOMP 1.2, by its 'message-id' before"
            )
        }
        Error::AckOnAuto => {
            let id = of(&["id", "message-id"])?;
            format!("seen {command} of '{id}', whose subscription says ack:auto: say ack:client")
        }
        Error::UnknownTransaction => {
            let id = of(&["transaction"])?;
            format!("seen {command} in the transaction '{id}', which is not open: BEGIN it first")
        }
        Error::DuplicateTransaction => {
            let id = of(&["transaction"])?;
            format!("seen BEGIN of the transaction '{id}', which is open: COMMIT or ABORT it first")
        }
        Error::IdTooLong => {
            let limit = limits.id_bytes_max;
            let bytes = |name: &str| frame.header(name).map_or(0, |value| value.len());
            let name = IDS.into_iter().find(|name| bytes(name) > limit)?;
            let seen = bytes(name);
            format!("seen {seen} bytes in the header '{name}', limit is {limit} bytes")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::decode::{decode, Item, Rules};
    use super::super::frame::HeaderTable;
    use super::super::negotiation::Version;
    use super::*;

    fn body(frame: &str, error: Error) -> Option<String> {
        let (mut table, limits) = (HeaderTable::default(), Limits::default());
        let rules = Rules::Version(Version::V1_2);
        match decode(frame.as_bytes(), rules, &limits, &mut table) {
            Ok(Some((Item::Frame(frame), _))) => explain(&error, Some(&frame), &limits),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn says(frame: &str, error: Error, wanted: &[&str]) {
        let body = body(frame, error).expect("a body");
        assert!(body.starts_with("seen "), "{body}");
        for part in wanted {
            assert!(body.contains(part), "{part} is not in: {body}");
        }
    }

    #[test]
    fn a_bad_value_is_repeated_with_what_is_allowed() {
        for (name, wanted) in [
            ("max-rate", "5/s"),
            ("replay", "'last'"),
            ("from-offset", "'offset'"),
            ("prefetch-count", "such as 10"),
            ("x-overflow", "reject-publish"),
            ("x-queue-type", "no streams"),
            ("AMQ_SCHEDULED_DELAY", "not delayed"),
            ("durable", "true and false"),
        ] {
            let frame = format!("SUBSCRIBE\nid:1\ndestination:/topic/a\n{name}:so\\nso\n\n\0");
            let seen = format!("seen 'so\\nso' in the header '{name}'");
            says(&frame, Error::BadValue(name), &[&seen, wanted]);
        }
        says("SEND\n\n\0", Error::BadValue("x-dead-letter-routing-key"), &["seen no header"]);
        let frame = "SUBSCRIBE\nack:maybe\n\n\0";
        says(frame, Error::BadAckMode, &["'maybe'", "client-individual"]);
    }

    #[test]
    fn a_destination_is_named_with_the_verb() {
        let frame = "SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\0";
        says(
            frame,
            Error::NotAllowed,
            &["SUBSCRIBE", "'/topic/a'", "where this user may not subscribe"],
        );
        let frame = "SEND\ndestination:queue/a\n\n\0";
        says(frame, Error::NotAllowed, &["SEND", "where this user may not publish"]);
        let unknown = Error::UnroutableDestination { known: "/topic/, /queue/ and /app/" };
        says(frame, Error::BadDestination, &["'queue/a'", "did you mean '/queue/a'?"]);
        says(frame, unknown, &["'queue/a'", "known are /topic/", "did you mean '/queue/a'?"]);
        for other in ["/nowhere/a", "nowhere/a", "a", "/", "//"] {
            let body = body(&format!("SEND\ndestination:{other}\n\n\0"), unknown).expect("one");
            assert!(body.contains(&format!("'{other}', known are")), "{body}");
            assert!(!body.contains("did you mean"), "{body}");
        }
        let frame = "SEND\ndestination:/queue/a\nx-dead-letter-exchange:/topic/b\n\n\0";
        says(
            frame,
            Error::NotAllowed,
            &["'/queue/a' and x-dead-letter-exchange '/topic/b', where"],
        );
        let frame = "SEND\ndestination:queue/a\n\n\0";
        for error in [Error::SendToPattern, Error::NoService, Error::CompositeDestination] {
            says(frame, error, &["SEND with destination 'queue/a'"]);
        }
    }

    /// Catalogue: H23.
    #[test]
    fn what_is_repeated_is_cut_and_escaped() {
        let long = "\\n".repeat(5_000);
        let frame = format!("SEND\ndestination:{long}\n\n\0");
        let body = body(&frame, Error::NoService).expect("one");
        assert!(body.len() < 600 && !body.contains('\n'), "{} bytes", body.len());
    }

    #[test]
    fn ids_and_limits_are_named() {
        says("ACK\nid:17\n\n\0", Error::UnknownAck, &["ACK of '17'", "'ack' header"]);
        says("COMMIT\ntransaction:t\n\n\0", Error::UnknownTransaction, &["COMMIT", "'t'"]);
        says("UNSUBSCRIBE\nid:7\n\n\0", Error::UnknownSubscription, &["'7'"]);
        let long = format!("BEGIN\ntransaction:{}\n\n\0", "t".repeat(257));
        says(&long, Error::IdTooLong, &["257 bytes", "'transaction'", "limit is 256"]);
        for (error, number) in [
            (Error::TooManySubscriptions, "1000"),
            (Error::TooManyTransactions, "16"),
            (Error::TransactionTooLarge, "1048576"),
        ] {
            let body = explain(&error, None, &Limits::default()).expect("one");
            assert!(body.contains(number), "{body}");
        }
        let error = Error::FrameTooLarge { seen: 2, limit: 1 };
        assert_eq!(body("SEND\n\n\0", error), None, "it says all itself");
    }

    #[test]
    fn credentials_are_never_repeated() {
        assert_eq!(body("SEND\nlogin:a\npasscode:secret\n\n\0", Error::LoginFailed), None);
    }
}
