//! The complete list of ways a connection ends: log field, metric label and test assertion.

use std::fmt;

/// Why a connection ended. Adding a way to end a connection means adding a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DisconnectReason {
    /// The peer closed or half-closed between frames.
    PeerClosed,
    /// The peer closed in the middle of a frame.
    PeerClosedMidFrame,
    /// The peer's system reset the connection.
    PeerReset,
    /// DISCONNECT was answered.
    Disconnect,
    /// The WebSocket closing handshake was started by the peer.
    ClosingHandshake,
    /// A handler closed its session.
    HandlerClosed,
    /// A handler's callback panicked.
    HandlerPanic,
    /// An HTTP request was answered with `Connection: close`.
    HttpDone,
    /// An HTTP request that cannot be accepted.
    HttpError,
    /// No request came for a SockJS session within the disconnect delay.
    SessionExpired,
    /// A breach of RFC 6455.
    WebSocketError,
    /// A WebSocket message that is no SockJS payload.
    SockJsError,
    /// An ERROR of the STOMP protocol.
    StompError,
    /// Wrong login or passcode.
    LoginFailed,
    /// Too many log-ins waited for their check.
    LoginsBusy,
    /// No complete request or CONNECT within the deadline.
    HandshakeTimeout,
    /// An idle keep-alive connection.
    Idle,
    /// Nothing came for three heart-beat intervals.
    HeartbeatMissed,
    /// More bytes waited for the client than allowed.
    SlowConsumer,
    /// The client took nothing for the stall deadline.
    Stalled,
    /// More connections than allowed.
    TooManyConnections,
    /// More connections in a second than allowed.
    ConnectionRate,
    /// All clients together held too much.
    MemoryMark,
    /// An unfinished message came at less than the minimum rate.
    SlowMessage,
    /// Pings, pongs or heart-beats in a row, and nothing else.
    ControlFlood,
    /// The server is shutting down.
    Drain,
    /// An error of the operating system.
    Io,
    /// A panic of ours while it was served.
    Panic,
}

/// Names of all reasons, by their number: the `reason` label of metrics and logs.
pub const NAMES: [&str; 28] = [
    "peer_closed",
    "peer_closed_mid_frame",
    "peer_reset",
    "disconnect",
    "closing_handshake",
    "handler_closed",
    "handler_panic",
    "http_done",
    "http_error",
    "session_expired",
    "websocket_error",
    "sockjs_error",
    "stomp_error",
    "login_failed",
    "logins_busy",
    "handshake_timeout",
    "idle",
    "heartbeat_missed",
    "slow_consumer",
    "stalled",
    "too_many_connections",
    "connection_rate",
    "memory_mark",
    "slow_message",
    "control_flood",
    "drain",
    "io",
    "panic",
];

const _: () = assert!(NAMES.len() == DisconnectReason::Panic as usize + 1);

impl DisconnectReason {
    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// Is it how connections end every day, so that nobody needs a line in the log?
    pub fn is_usual(self) -> bool {
        use DisconnectReason::*;
        matches!(
            self,
            PeerClosed
                | PeerReset
                | Disconnect
                | ClosingHandshake
                | HttpDone
                | Idle
                | Drain
                | HandlerClosed
                | SessionExpired
        )
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(NAMES[*self as usize])
    }
}
