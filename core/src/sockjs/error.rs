//! Why a SockJS request or message is refused, and what goes on the wire.
//!
//! The bodies are those of sockjs-node, which clients and the protocol's test suite look at. An
//! HTTP answer has [`Error::status`] and [`Error::body`] as `text/plain; charset=UTF-8`; a session
//! survives all of them but [`Error::Internal`]. On a WebSocket, which has no answers,
//! [`Error::close`] ends the session. Nothing here repeats bytes of the peer.

use std::fmt;

use super::frame::Close;

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    // Unknown places.
    /// No route, or one of a transport that is switched off.
    PageNotFound,
    /// A send to a session that does not exist.
    SessionUnknown,
    /// A WebSocket path without a WebSocket handshake.
    NotWebSocket,

    // Malformed bodies and parameters.
    /// An empty body, or JSON that is no array.
    PayloadExpected,
    /// Not JSON, not UTF-8, a lone surrogate, or an array with something else than strings.
    BrokenJson,
    /// A binary WebSocket message: SockJS is text.
    BinaryMessage,
    /// Neither `c` nor `callback` in the query.
    CallbackMissing,
    /// A callback that is empty, too long or has a forbidden character.
    CallbackInvalid,

    // Over a limit.
    /// A body over `sockjs_payload_bytes_max`.
    PayloadTooLarge {
        /// Bytes of the body.
        seen: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// More messages in one body than `sockjs_payload_messages_max`.
    TooManyMessages {
        /// Messages in the body.
        seen: usize,
        /// The limit in messages.
        limit: usize,
    },
    /// A message for a session whose queue is full; it is for the server to end the session.
    QueueFull {
        /// Bytes that would wait.
        seen: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A receiver of a new session, while the server has enough of them.
    TooManySessions,

    // Our own fault.
    /// A bug of the server's, which ends the session.
    Internal,
}

impl Error {
    /// The status of the HTTP answer.
    pub fn status(self) -> u16 {
        match self {
            Error::PageNotFound | Error::SessionUnknown => 404,
            Error::NotWebSocket | Error::BinaryMessage => 400,
            Error::PayloadExpected | Error::BrokenJson => 500,
            Error::CallbackMissing | Error::CallbackInvalid | Error::Internal => 500,
            Error::PayloadTooLarge { .. } | Error::TooManyMessages { .. } => 413,
            Error::QueueFull { .. } | Error::TooManySessions => 503,
        }
    }

    /// The body of the HTTP answer.
    pub fn body(self) -> &'static str {
        match self {
            Error::PageNotFound => "404 Error: Page not found\n",
            Error::SessionUnknown => "404 Error: Session not found\n",
            Error::NotWebSocket => "Not a valid websocket request",
            Error::PayloadExpected => "Payload expected.",
            Error::BrokenJson => "Broken JSON encoding.",
            Error::BinaryMessage => "Text expected.",
            Error::CallbackMissing => "\"callback\" parameter required",
            Error::CallbackInvalid => "invalid \"callback\" parameter",
            Error::PayloadTooLarge { .. } => "Payload too large.",
            Error::TooManyMessages { .. } => "Too many messages.",
            Error::QueueFull { .. } => "Queue full.",
            Error::TooManySessions => "Too many sessions.",
            Error::Internal => "Internal error.",
        }
    }

    /// How a session ends by it when there is no HTTP answer to give.
    pub fn close(self) -> Close {
        match self {
            Error::BinaryMessage => Close::new(1003, "Text expected."),
            Error::PayloadTooLarge { .. } => Close::new(1009, "Payload too large"),
            Error::TooManyMessages { .. } => Close::new(1009, "Too many messages"),
            Error::QueueFull { .. } => Close::new(1008, "Queue full"),
            _ => Close::BROKEN_FRAMING,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::PageNotFound => "seen a path that is no sockjs route",
            Error::SessionUnknown => "seen a send to an unknown session",
            Error::NotWebSocket => "seen no websocket handshake on a websocket path",
            Error::PayloadExpected => "seen no array of messages in the body",
            Error::BrokenJson => "seen a body that is not a json array of strings",
            Error::BinaryMessage => "seen a binary message where sockjs wants text",
            Error::CallbackMissing => "seen no callback in the query",
            Error::CallbackInvalid => "seen a callback with a forbidden character or length",
            Error::TooManySessions => "seen more sessions than allowed: come again later",
            Error::Internal => "seen a bug of the server's own",
            Error::PayloadTooLarge { seen, limit } => {
                return write!(f, "seen {seen} bytes of body, limit is {limit}: send less at once");
            }
            Error::TooManyMessages { seen, limit } => {
                return write!(f, "seen {seen} messages, limit is {limit}: send fewer at once");
            }
            Error::QueueFull { seen, limit } => {
                return write!(f, "seen {seen} bytes waiting, limit is {limit}: read faster");
            }
        })
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_are_those_clients_compare() {
        let wire = |error: Error| (error.status(), error.body());
        assert_eq!(wire(Error::PayloadExpected), (500, "Payload expected."));
        assert_eq!(wire(Error::BrokenJson), (500, "Broken JSON encoding."));
        assert_eq!(wire(Error::CallbackMissing), (500, "\"callback\" parameter required"));
        assert_eq!(wire(Error::CallbackInvalid), (500, "invalid \"callback\" parameter"));
        assert_eq!(Error::SessionUnknown.status(), 404);
        assert_eq!(Error::BrokenJson.close(), Close::new(3000, "Broken framing."));
        assert_eq!(Error::BinaryMessage.close().code, 1003);
    }

    #[test]
    fn limits_say_what_was_seen() {
        let error = Error::PayloadTooLarge { seen: 9, limit: 8 };
        assert_eq!(error.status(), 413);
        assert_eq!(error.to_string(), "seen 9 bytes of body, limit is 8: send less at once");
    }
}
