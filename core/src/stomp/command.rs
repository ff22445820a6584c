//! The commands of STOMP 1.0, 1.1 and 1.2.
//!
//! Commands are case sensitive: `connect` is an unknown command. One enum holds both directions, so
//! that a client sending MESSAGE can be told so instead of being told that MESSAGE does not exist.

/// A STOMP command, of either direction.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Client: opens the session.
    Connect,
    /// Client: the same as CONNECT (1.1 SHOULD, 1.2 MUST be accepted).
    Stomp,
    /// Client: publishes.
    Send,
    /// Client: subscribes.
    Subscribe,
    /// Client: ends a subscription.
    Unsubscribe,
    /// Client: a delivery was handled.
    Ack,
    /// Client: a delivery was not handled (1.1).
    Nack,
    /// Client: opens a transaction.
    Begin,
    /// Client: applies a transaction.
    Commit,
    /// Client: drops a transaction.
    Abort,
    /// Client: ends the session.
    Disconnect,
    /// Server: answers CONNECT.
    Connected,
    /// Server: a delivery.
    Message,
    /// Server: a frame was handled.
    Receipt,
    /// Server: something was wrong, the connection ends.
    Error,
}

impl Command {
    /// The command of a command line without its end of line; `None` for anything unknown.
    pub fn from_bytes(bytes: &[u8]) -> Option<Command> {
        Some(match bytes {
            b"CONNECT" => Command::Connect,
            b"STOMP" => Command::Stomp,
            b"SEND" => Command::Send,
            b"SUBSCRIBE" => Command::Subscribe,
            b"UNSUBSCRIBE" => Command::Unsubscribe,
            b"ACK" => Command::Ack,
            b"NACK" => Command::Nack,
            b"BEGIN" => Command::Begin,
            b"COMMIT" => Command::Commit,
            b"ABORT" => Command::Abort,
            b"DISCONNECT" => Command::Disconnect,
            b"CONNECTED" => Command::Connected,
            b"MESSAGE" => Command::Message,
            b"RECEIPT" => Command::Receipt,
            b"ERROR" => Command::Error,
            _ => return None,
        })
    }

    /// The command as on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Connect => "CONNECT",
            Command::Stomp => "STOMP",
            Command::Send => "SEND",
            Command::Subscribe => "SUBSCRIBE",
            Command::Unsubscribe => "UNSUBSCRIBE",
            Command::Ack => "ACK",
            Command::Nack => "NACK",
            Command::Begin => "BEGIN",
            Command::Commit => "COMMIT",
            Command::Abort => "ABORT",
            Command::Disconnect => "DISCONNECT",
            Command::Connected => "CONNECTED",
            Command::Message => "MESSAGE",
            Command::Receipt => "RECEIPT",
            Command::Error => "ERROR",
        }
    }

    /// CONNECT and its synonym STOMP.
    pub fn opens_session(self) -> bool {
        matches!(self, Command::Connect | Command::Stomp)
    }

    /// Only a server may send it.
    pub fn is_from_server(self) -> bool {
        matches!(self, Command::Connected | Command::Message | Command::Receipt | Command::Error)
    }

    /// Its headers are never escaped: 1.1 and 1.2 (Value Encoding) exempt CONNECT and CONNECTED, so
    /// that they stay compatible with 1.0. STOMP is treated as CONNECT.
    pub fn has_literal_headers(self) -> bool {
        matches!(self, Command::Connect | Command::Stomp | Command::Connected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_reads_back() {
        for name in [
            "CONNECT",
            "STOMP",
            "SEND",
            "SUBSCRIBE",
            "UNSUBSCRIBE",
            "ACK",
            "NACK",
            "BEGIN",
            "COMMIT",
            "ABORT",
            "DISCONNECT",
            "CONNECTED",
            "MESSAGE",
            "RECEIPT",
            "ERROR",
        ] {
            assert_eq!(Command::from_bytes(name.as_bytes()).map(Command::as_str), Some(name));
        }
    }

    #[test]
    fn commands_are_case_sensitive() {
        assert_eq!(Command::from_bytes(b"connect"), None);
        assert_eq!(Command::from_bytes(b"Send"), None);
        assert_eq!(Command::from_bytes(b"SEND "), None);
        assert_eq!(Command::from_bytes(b""), None);
    }
}
