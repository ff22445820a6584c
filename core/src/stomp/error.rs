//! Everything a STOMP session can refuse, and what it answers.
//!
//! Variants are grouped by blame: bytes that are not STOMP, frames in the wrong place, things we do
//! not do, things the client may not do, limits, and ends that are not the client's fault. Each has
//! a short line for the `message` header, a body (what was seen, what is allowed, what to do) and a
//! WebSocket close code. "The server MAY send ERROR frames if something goes wrong. In this case,
//! it MUST then close the connection" (1.2, ERROR): every variant is fatal. Texts follow RabbitMQ's
//! where clients are known to compare them. Nothing here repeats bytes of the peer: where its
//! frame is at hand, [`super::explain`] does.

use std::fmt;

use super::negotiation::SUPPORTED;

/// Why a session ends with an ERROR frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    // Malformed: not STOMP.
    /// An HTTP request on a port that speaks plain STOMP.
    HttpOnStompPort,
    /// A TLS ClientHello on a port without TLS: close without an answer.
    TlsOnPlainPort,
    /// A command that does not exist (commands are case sensitive).
    UnknownCommand,
    /// NUL in the command line or the headers.
    NulInHead,
    /// CR without LF between frames, or inside a 1.2 header.
    LoneCarriageReturn,
    /// A header line without a colon.
    MissingColon,
    /// A header line that starts with the colon.
    EmptyHeaderName,
    /// An undefined escape sequence (1.1, 1.2).
    BadEscape,
    /// A head that is not UTF-8.
    BadUtf8,
    /// `content-length` that is not a number.
    BadContentLength,
    /// The byte behind the body is not NUL.
    MissingNul {
        /// Body bytes, as `content-length` announced them.
        content_length: u64,
    },
    /// A required header is not there.
    MissingHeader(&'static str),
    /// A body on a frame other than SEND (1.1, 1.2).
    BodyNotAllowed,
    /// `heart-beat` that is not two non-negative integers.
    BadHeartbeat,
    /// `ack` that is not `auto`, `client` or `client-individual`.
    BadAckMode,
    /// A destination that is empty or has control characters.
    BadDestination,
    /// A destination of another user, or a temporary queue where it cannot be named.
    MisusedDestination,
    /// Several destinations in one, as ActiveMQ's clients may write.
    CompositeDestination,
    /// A queue whose name would be a pattern of topics.
    QueuePattern,
    /// A header whose value is none of those that it may have.
    BadValue(&'static str),
    /// A header of the server's, where the profile does not replace it.
    ServerHeader(&'static str),
    /// A selector that is not the grammar.
    BadSelector {
        /// Where, in bytes.
        at: usize,
        /// What was expected there.
        expected: &'static str,
    },

    // Misplaced: right frame, wrong moment.
    /// Another frame before CONNECT.
    NotConnected,
    /// A second CONNECT.
    AlreadyConnected,
    /// A frame that only servers send.
    ServerCommand,
    /// SUBSCRIBE with an id in use.
    DuplicateSubscription,
    /// A queue that is there with another value of this argument.
    QueueDiffers(&'static str),
    /// SUBSCRIBE or UNSUBSCRIBE with an id that a `reply-to` makes.
    ReservedSubscription,
    /// UNSUBSCRIBE of nothing.
    UnknownSubscription,
    /// ACK or NACK of a delivery that is not pending.
    UnknownAck,
    /// ACK or NACK on a subscription with `ack:auto`.
    AckOnAuto,
    /// A transaction that is not open.
    UnknownTransaction,
    /// BEGIN of a transaction that is open.
    DuplicateTransaction,

    // Unsupported.
    /// None of the client's versions is ours.
    NoCommonVersion,
    /// A destination that no prefix claims.
    UnroutableDestination {
        /// The prefixes that there are.
        known: &'static str,
    },
    /// An `/app/` destination that nothing serves.
    NoService,
    /// SEND to a pattern.
    SendToPattern,

    // Not allowed.
    /// Wrong or missing credentials; never says which.
    LoginFailed,
    /// Too many wrong credentials from this address.
    TooManyLogins,
    /// A virtual host that is not one of ours.
    UnknownHost,
    /// No CONNECT in time.
    LoginTimeout,
    /// The user may not do this here.
    NotAllowed,

    // Over a limit.
    /// No end of line where a command must have ended.
    CommandTooLong {
        /// Bytes a command line may have.
        limit: usize,
    },
    /// A header line over its limit.
    HeaderTooLong {
        /// Bytes a header line may have.
        limit: usize,
    },
    /// A head over its limit.
    HeadTooLarge {
        /// Bytes command and headers may have together.
        limit: usize,
    },
    /// More headers than allowed.
    TooManyHeaders {
        /// Number of different headers a frame may have.
        limit: usize,
    },
    /// A frame over its limit.
    FrameTooLarge {
        /// Bytes of the frame, as far as they were seen or announced.
        seen: u64,
        /// Bytes a frame may have at this point of the session.
        limit: u64,
    },
    /// An unfinished frame comes too slowly.
    FrameTooSlow {
        /// Bytes of it that came.
        seen: usize,
        /// Bytes that must come.
        wanted: usize,
        /// In this time, in milliseconds.
        ms: u32,
    },
    /// Pings, pongs or heart-beats in a row.
    TooManyControls {
        /// How many there may be.
        limit: u8,
    },
    /// A destination over its limit.
    DestinationTooLong {
        /// Bytes of the destination.
        seen: usize,
        /// Bytes a destination may have.
        limit: usize,
    },
    /// A receipt, subscription, transaction or message id over its limit.
    IdTooLong,
    /// A pattern with too many wildcards.
    PatternTooComplex,
    /// A selector over its limit.
    SelectorTooLong {
        /// Bytes of the selector.
        seen: usize,
        /// Bytes a selector may have.
        limit: usize,
    },
    /// A selector with too many parts or levels.
    SelectorTooComplex {
        /// Where the limit was met, in bytes.
        at: usize,
        /// Parts or levels a selector may have.
        limit: usize,
    },
    /// A selector too much for its destination.
    SelectorsTooCostly {
        /// Steps that all selectors of the destination would take for one message.
        seen: u64,
        /// Steps that they may take.
        limit: u64,
    },
    /// A SEND to a queue without room for it.
    QueueFull {
        /// Messages or bytes there would be.
        seen: usize,
        /// Messages or bytes there may be.
        limit: usize,
        /// `messages` or `bytes`.
        unit: &'static str,
    },
    /// One queue too many that outlives its consumers.
    TooManyQueues {
        /// Queues there may be.
        limit: usize,
    },
    /// One subscription too many.
    TooManySubscriptions,
    /// One `/temp-queue/` too many.
    TooManyReplyQueues,
    /// One open transaction too many.
    TooManyTransactions,
    /// A transaction with too many actions or bytes.
    TransactionTooLarge,
    /// Too many deliveries wait for their ACK.
    TooManyUnacknowledged,
    /// The client reads slower than we must send.
    SlowConsumer,
    /// Nothing came from the client for this long.
    HeartbeatMissed {
        /// Milliseconds of silence.
        ms: u32,
    },

    // Ours.
    /// The server goes away.
    ServerShutdown,
    /// The server has no room for this.
    ServerBusy,
    /// So many log-ins wait for their check that this one cannot.
    TooManyLoginsWaiting {
        /// Log-ins that may wait.
        limit: usize,
    },
}

/// Whose fault an [`Error`] is, and in which way: what metrics tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The bytes are not STOMP.
    Malformed,
    /// Text that is not UTF-8 or not escaped as its version says.
    Encoding,
    /// The right frame at the wrong moment.
    Misplaced,
    /// Something we do not do.
    Unsupported,
    /// Over a limit.
    Limit,
    /// Who they are: wrong credentials, or not allowed to do this.
    Identity,
    /// Not a breach of the protocol: we go, or the client was silent or slow.
    Nobody,
}

impl Error {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Error::BadEscape | Error::BadUtf8 => Blame::Encoding,
            Error::HttpOnStompPort
            | Error::TlsOnPlainPort
            | Error::UnknownCommand
            | Error::NulInHead
            | Error::LoneCarriageReturn
            | Error::MissingColon
            | Error::EmptyHeaderName
            | Error::BadContentLength
            | Error::MissingNul { .. }
            | Error::MissingHeader(_)
            | Error::BodyNotAllowed
            | Error::BadHeartbeat
            | Error::BadAckMode
            | Error::BadDestination
            | Error::MisusedDestination
            | Error::CompositeDestination
            | Error::QueuePattern
            | Error::BadValue(_)
            | Error::ServerHeader(_)
            | Error::BadSelector { .. } => Blame::Malformed,
            Error::NotConnected
            | Error::AlreadyConnected
            | Error::ServerCommand
            | Error::DuplicateSubscription
            | Error::QueueDiffers(_)
            | Error::ReservedSubscription
            | Error::UnknownSubscription
            | Error::UnknownAck
            | Error::AckOnAuto
            | Error::UnknownTransaction
            | Error::DuplicateTransaction => Blame::Misplaced,
            Error::NoCommonVersion
            | Error::UnroutableDestination { .. }
            | Error::NoService
            | Error::SendToPattern => Blame::Unsupported,
            Error::LoginFailed | Error::TooManyLogins | Error::UnknownHost | Error::NotAllowed => {
                Blame::Identity
            }
            Error::CommandTooLong { .. }
            | Error::HeaderTooLong { .. }
            | Error::HeadTooLarge { .. }
            | Error::TooManyHeaders { .. }
            | Error::FrameTooLarge { .. }
            | Error::DestinationTooLong { .. }
            | Error::IdTooLong
            | Error::PatternTooComplex
            | Error::SelectorTooLong { .. }
            | Error::SelectorTooComplex { .. }
            | Error::SelectorsTooCostly { .. }
            | Error::QueueFull { .. }
            | Error::TooManyQueues { .. }
            | Error::TooManySubscriptions
            | Error::TooManyReplyQueues
            | Error::TooManyTransactions
            | Error::TransactionTooLarge
            | Error::FrameTooSlow { .. }
            | Error::TooManyControls { .. }
            | Error::TooManyUnacknowledged => Blame::Limit,
            Error::LoginTimeout
            | Error::SlowConsumer
            | Error::HeartbeatMissed { .. }
            | Error::ServerShutdown
            | Error::ServerBusy
            | Error::TooManyLoginsWaiting { .. } => Blame::Nobody,
        }
    }

    /// The `message` header: one short line, without anything the peer sent.
    pub fn message(&self) -> &'static str {
        match self {
            Error::HttpOnStompPort => "This is a STOMP port, not HTTP",
            Error::TlsOnPlainPort => "TLS on plain port",
            Error::UnknownCommand => "Bad command",
            Error::NulInHead => "NUL before the end of the headers",
            Error::LoneCarriageReturn => "Carriage return without line feed",
            Error::MissingColon => "Header without colon",
            Error::EmptyHeaderName => "Empty header name",
            Error::BadEscape => "Undefined escape sequence",
            Error::BadUtf8 => "Headers are not UTF-8",
            Error::BadContentLength => "Bad content-length",
            Error::MissingNul { .. } => "Frame does not end in NUL",
            Error::MissingHeader(name) => missing_header_message(name),
            Error::BodyNotAllowed => "Body not allowed",
            Error::BadHeartbeat => "Bad heart-beat",
            Error::BadAckMode => "Bad ack mode",
            Error::BadDestination
            | Error::MisusedDestination
            | Error::CompositeDestination
            | Error::QueuePattern => "Invalid destination",
            Error::BadValue(_) => "Bad header value",
            Error::ServerHeader(_) => "Invalid header",
            Error::BadSelector { .. } => "Bad selector",
            Error::NotConnected => "You must log in using CONNECT first",
            Error::AlreadyConnected => "Already connected",
            Error::ServerCommand => "Command is for servers only",
            Error::DuplicateSubscription => "Duplicated subscription identifier",
            // RabbitMQ's own word, which clients know.
            Error::QueueDiffers(_) => "precondition_failed",
            Error::ReservedSubscription => "Reserved subscription identifier",
            Error::UnknownSubscription => "Subscription not found",
            Error::UnknownAck => "Message not found",
            Error::AckOnAuto => "Subscription does not take acknowledgements",
            Error::UnknownTransaction => "Unknown transaction",
            Error::DuplicateTransaction => "Transaction already started",
            Error::NoCommonVersion => "Version mismatch",
            Error::UnroutableDestination { .. } | Error::NoService => "Unknown destination",
            Error::SendToPattern => "Cannot send to a pattern",
            Error::LoginFailed | Error::UnknownHost => "Bad CONNECT",
            Error::TooManyLogins => "Too many wrong log-ins",
            Error::LoginTimeout => "Login timeout",
            Error::NotAllowed => "Access refused",
            Error::CommandTooLong { .. } => "Command too long",
            Error::HeaderTooLong { .. } => "Header too long",
            Error::HeadTooLarge { .. } => "Headers too large",
            Error::TooManyHeaders { .. } => "Too many headers",
            Error::FrameTooLarge { .. } => "Frame too large",
            Error::FrameTooSlow { .. } => "Frame too slow",
            Error::TooManyControls { .. } => "Too many control frames",
            Error::DestinationTooLong { .. } => "Destination too long",
            Error::IdTooLong => "Identifier too long",
            Error::PatternTooComplex => "Pattern too complex",
            Error::SelectorTooLong { .. } => "Selector too long",
            Error::SelectorTooComplex { .. } => "Selector too complex",
            Error::SelectorsTooCostly { .. } => "Too many selectors",
            Error::QueueFull { .. } => "Queue full",
            Error::TooManyQueues { .. } => "Too many queues",
            Error::TooManySubscriptions => "Too many subscriptions",
            Error::TooManyReplyQueues => "Too many temporary queues",
            Error::TooManyTransactions => "Too many transactions",
            Error::TransactionTooLarge => "Transaction too large",
            Error::TooManyUnacknowledged => "Too many unacknowledged messages",
            Error::SlowConsumer => "Client reads too slowly",
            Error::HeartbeatMissed { .. } => "Heart-beat missed",
            Error::ServerShutdown => "Server is shutting down",
            Error::ServerBusy | Error::TooManyLoginsWaiting { .. } => "Server is busy",
        }
    }

    /// The WebSocket close code (RFC 6455 §7.4.1) that follows the ERROR frame.
    pub fn close_code(&self) -> u16 {
        match self {
            Error::LoginFailed
            | Error::TooManyLogins
            | Error::UnknownHost
            | Error::LoginTimeout
            | Error::NotAllowed
            | Error::SlowConsumer
            | Error::FrameTooSlow { .. }
            | Error::TooManyControls { .. }
            | Error::HeartbeatMissed { .. }
            | Error::IdTooLong
            | Error::PatternTooComplex
            | Error::SelectorTooComplex { .. }
            | Error::SelectorsTooCostly { .. }
            | Error::QueueFull { .. }
            | Error::TooManyQueues { .. }
            | Error::TooManySubscriptions
            | Error::TooManyReplyQueues
            | Error::TooManyTransactions
            | Error::TooManyUnacknowledged => 1008,
            Error::CommandTooLong { .. }
            | Error::HeaderTooLong { .. }
            | Error::HeadTooLarge { .. }
            | Error::TooManyHeaders { .. }
            | Error::FrameTooLarge { .. }
            | Error::DestinationTooLong { .. }
            | Error::SelectorTooLong { .. }
            | Error::TransactionTooLarge => 1009,
            Error::ServerShutdown => 1001,
            Error::ServerBusy => 1011,
            // "Try Again Later" of the IANA registry.
            Error::TooManyLoginsWaiting { .. } => 1013,
            _ => 1002,
        }
    }
}

fn missing_header_message(name: &str) -> &'static str {
    match name {
        "destination" => "Missing destination",
        "id" => "Missing id header",
        "message-id" => "Missing message-id header",
        "subscription" => "Missing subscription header",
        "transaction" => "Missing transaction header",
        _ => "Missing header",
    }
}

impl fmt::Display for Error {
    /// The body of the ERROR frame, without a line end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::MissingNul { content_length } => {
                write!(f, "seen no NUL after the {content_length} bytes of content-length")
            }
            Error::MissingHeader("client-id") => {
                f.write_str("seen no client-id in CONNECT, a durable subscription is known by it")
            }
            Error::MissingHeader(name) => {
                write!(f, "seen no header '{name}', this frame must have one")
            }
            Error::NoCommonVersion => write!(f, "Supported versions are {SUPPORTED}"),
            Error::CommandTooLong { limit } => {
                write!(f, "seen no line end after the command, limit is {limit} bytes")
            }
            Error::HeaderTooLong { limit } => {
                write!(f, "seen a header line that is too long, limit is {limit} bytes")
            }
            Error::HeadTooLarge { limit } => {
                write!(f, "seen headers that are too large together, limit is {limit} bytes")
            }
            Error::TooManyHeaders { limit } => {
                write!(f, "seen too many headers, limit is {limit}")
            }
            Error::FrameTooLarge { seen, limit } => {
                write!(f, "seen a frame of at least {seen} bytes, limit is {limit} bytes")
            }
            Error::DestinationTooLong { seen, limit } => {
                write!(f, "seen a destination of {seen} bytes, limit is {limit} bytes")
            }
            Error::UnroutableDestination { known } => {
                write!(f, "seen a destination with an unknown prefix, known are {known}")
            }
            Error::BadValue(name) => {
                write!(f, "seen a value of the header '{name}' that it cannot have")
            }
            Error::ServerHeader(name) => {
                write!(f, "seen the header '{name}', which the server writes: leave it out")
            }
            Error::BadSelector { at, expected } => {
                write!(f, "seen something else at byte {at} of the selector, expected {expected}")
            }
            Error::SelectorTooLong { seen, limit } => {
                write!(f, "seen a selector of {seen} bytes, limit is {limit} bytes")
            }
            Error::SelectorTooComplex { at, limit } => {
                write!(f, "seen too much at byte {at} of the selector, limit is {limit}: split it")
            }
            Error::SelectorsTooCostly { seen, limit } => write!(
                f,
                "seen selectors of this destination that may take {seen} steps for a message, \
                 limit is {limit}: subscribe without one, or compare instead of LIKE"
            ),
            Error::QueueFull { seen, limit, unit } => {
                write!(f, "seen {seen} {unit} with this one, limit is {limit}: send it later")
            }
            Error::FrameTooSlow { seen, wanted, ms } => write!(
                f,
                "seen {seen} bytes of an unfinished frame in {ms} ms, \
                 at least {wanted} are wanted: send it in one go"
            ),
            Error::TooManyControls { limit } => write!(
                f,
                "seen more than {limit} pings, pongs or heart-beats without a frame between, \
                 limit is that many in 10 s: send them seldom"
            ),
            Error::QueueDiffers(name) => write!(
                f,
                "seen another '{name}' than that of the queue, which its first user chose: \
                 say the same or nothing"
            ),
            Error::TooManyQueues { limit } => {
                write!(f, "seen one queue more to be kept without a consumer, limit is {limit}")
            }
            Error::TooManyLoginsWaiting { limit } => write!(
                f,
                "seen {limit} log-ins that wait for their check, limit is {limit}: \
                 connect again in a few seconds"
            ),
            Error::HeartbeatMissed { ms } => {
                write!(f, "seen no data for {ms} ms, send at least as often as heart-beat promised")
            }
            other => f.write_str(fixed_body(other)),
        }
    }
}

impl std::error::Error for Error {}

/// Bodies without numbers.
fn fixed_body(error: &Error) -> &'static str {
    match error {
        Error::HttpOnStompPort => "seen an HTTP request, use the WebSocket or HTTP port",
        Error::TlsOnPlainPort => "seen a TLS handshake, this port has no TLS",
        Error::UnknownCommand => "seen a command that does not exist, commands are upper case",
        Error::NulInHead => "seen NUL before the blank line that ends the headers",
        Error::LoneCarriageReturn => "seen CR without LF, lines end in LF or CR LF",
        Error::MissingColon => "seen a header line without ':', headers are name:value",
        Error::EmptyHeaderName => "seen a header without a name, headers are name:value",
        Error::BadEscape => "seen an undefined escape, allowed are \\n \\r \\c \\\\",
        Error::BadUtf8 => "seen bytes that are not UTF-8, headers must be UTF-8",
        Error::BadContentLength => "seen a content-length that is not a decimal number of bytes",
        Error::BodyNotAllowed => "seen a body, only SEND may have one",
        Error::BadHeartbeat => "seen a bad heart-beat, it is two numbers of ms such as 10000,10000",
        Error::BadAckMode => "seen an unknown ack mode, known are auto, client, client-individual",
        Error::BadDestination => "seen an empty destination or one with control characters",
        Error::MisusedDestination => {
            "seen a destination that cannot be named here: subscribe to your own as /user/queue/x, \
             name /temp-queue/x in the reply-to header of SEND"
        }
        Error::CompositeDestination => "seen several destinations in one: send one frame for each",
        Error::QueuePattern => "seen wildcards in the name of a queue: patterns are for topics",
        Error::NotConnected => "seen another frame before CONNECT, send CONNECT first",
        Error::AlreadyConnected => "seen a second CONNECT, one connection is one session",
        Error::ServerCommand => "seen a frame that only servers send",
        Error::DuplicateSubscription => "seen a subscription id in use, ids must be unique",
        Error::UnknownSubscription => "seen an unsubscribe of a subscription that does not exist",
        Error::UnknownAck => "seen an acknowledgement of a message that is not waiting for one",
        Error::AckOnAuto => "seen an acknowledgement on ack:auto, subscribe with ack:client",
        Error::UnknownTransaction => "seen a transaction that is not open, send BEGIN first",
        Error::DuplicateTransaction => "seen BEGIN of an open transaction, it is aborted",
        Error::NoService => "seen a destination that no handler or service is there for",
        Error::SendToPattern => "seen wildcards in the destination of SEND, name one destination",
        Error::LoginFailed => {
            "seen wrong or missing credentials: send login and passcode of a user of this server"
        }
        Error::TooManyLogins => {
            "seen too many wrong log-ins from this address, try again in a minute"
        }
        Error::UnknownHost => "seen a host that is none of this server's, leave the header out",
        Error::LoginTimeout => "seen no CONNECT in time",
        Error::NotAllowed => "seen a request that this user is not allowed to make",
        Error::IdTooLong => "seen an identifier over the limit of bytes, use a shorter one",
        Error::PatternTooComplex => "seen more wildcards than the limit of a pattern",
        Error::TooManySubscriptions => "seen more subscriptions than the limit of a connection",
        Error::ReservedSubscription => "seen an id of a temporary queue, choose another id",
        Error::TooManyReplyQueues => "seen more temporary queues than the limit of a connection",
        Error::TooManyTransactions => "seen more open transactions than the limit of a connection",
        Error::TransactionTooLarge => "seen more actions or bytes than the limit of a transaction",
        Error::TooManyUnacknowledged => "seen too many messages without ACK, acknowledge sooner",
        Error::SlowConsumer => "seen more unread data than the limit, read faster",
        Error::ServerShutdown => "the server is shutting down, connect again later",
        Error::ServerBusy => "the server has no room for this now, try again later",
        // The others have numbers: their bodies are in `Display`.
        other => other.message(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_clients_compare() {
        assert_eq!(Error::DuplicateSubscription.message(), "Duplicated subscription identifier");
        assert_eq!(Error::NotConnected.message(), "You must log in using CONNECT first");
        assert_eq!(Error::NoCommonVersion.to_string(), "Supported versions are 1.0,1.1,1.2");
    }

    #[test]
    fn limits_name_both_numbers() {
        let error = Error::FrameTooLarge { seen: 12, limit: 10 };
        assert_eq!(error.to_string(), "seen a frame of at least 12 bytes, limit is 10 bytes");
        assert!(Error::HeartbeatMissed { ms: 3100 }.to_string().contains("no data for 3100 ms"));
    }

    #[test]
    fn destinations_are_told_what_to_do() {
        let unknown = Error::UnroutableDestination { known: "/topic/ and /queue/" };
        for (error, message, body) in [
            (unknown, "Unknown destination", "known are /topic/ and /queue/"),
            (Error::NoService, "Unknown destination", "no handler or service is there"),
            (Error::MisusedDestination, "Invalid destination", "/user/queue/x"),
            (Error::MisusedDestination, "Invalid destination", "reply-to header"),
            (Error::QueuePattern, "Invalid destination", "patterns are for topics"),
        ] {
            assert_eq!((error.message(), error.close_code()), (message, 1002));
            assert!(error.to_string().contains(body), "{error}");
        }
    }

    #[test]
    fn a_queue_that_differs_names_the_argument() {
        let error = Error::QueueDiffers("x-max-length");
        assert_eq!((error.message(), error.close_code()), ("precondition_failed", 1002));
        assert!(error.to_string().contains("another 'x-max-length'"), "{error}");
        assert_eq!(Error::TooManyQueues { limit: 3 }.close_code(), 1008);
    }

    #[test]
    fn close_codes() {
        assert_eq!(Error::BadEscape.close_code(), 1002);
        assert_eq!(Error::LoginFailed.close_code(), 1008);
        assert_eq!(Error::SlowConsumer.close_code(), 1008);
        assert_eq!(Error::FrameTooLarge { seen: 2, limit: 1 }.close_code(), 1009);
        assert_eq!(Error::ServerShutdown.close_code(), 1001);
        assert_eq!(Error::ServerBusy.close_code(), 1011);
        assert_eq!(Error::TooManyLoginsWaiting { limit: 1 }.close_code(), 1013);
    }
}
