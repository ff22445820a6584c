//! The public API for applications: a handler per endpoint, for sessions that are no STOMP.
//!
//! An endpoint is a path (with parameters, see [`endpoint`]) and a factory, given to
//! [`Server::builder`](crate::Server::builder). Every shard calls the factory once and keeps the
//! [`Handler`] it makes, on its own thread: a handler needs no lock and need not be `Send`. All
//! sessions of the endpoint on that shard are its own; what sessions of several shards have in
//! common is captured by the factory and shared in the usual ways. A handler does not see how its
//! clients came: `ws://host/greet/ann` (or `/greet/ann/websocket`) is raw WebSocket, and SockJS
//! clients are given `http://host/greet/ann`.
//!
//! **A session's life.** [`Handler::on_open`] is first, [`Handler::on_close`] is last, and each
//! comes once; [`Handler::on_message`] and, before the close, [`Handler::on_error`] are in between.
//! A session stays on its shard, its callbacks never overlap, and its messages come in order.
//!
//! | it ends because | [`Close::code`] | [`Close::cause`] | `on_error`? |
//! |---|---|---|---|
//! | the handler, or a thread, closed it | the one that was given | `HandlerClosed` | no |
//! | the client closed its WebSocket | the client's, 1005 without one | `ClosingHandshake` | no |
//! | a SockJS client did not poll again in time | 1006 | `SessionExpired` | no |
//! | the connection, or a SockJS request that waits for frames, ended | 1006 | `PeerClosed` | no |
//! | a WebSocket ended in a message | 1006 | `PeerClosedMidFrame` | yes |
//! | a WebSocket was reset | 1006 | `PeerReset` | yes |
//! | the client breaks RFC 6455 | as the RFC says, such as 1007 or 1009 | `WebSocketError` | yes |
//! | a WebSocket message is no SockJS | 3000, of bytes 1003 | `SockJsError` | yes |
//! | the client does not keep up | 1006 | `SlowConsumer`, `Stalled` | yes |
//! | the client answers no ping | 1006 | `HeartbeatMissed` | yes |
//! | a callback panicked | 1011 | `HandlerPanic` | yes |
//! | the server shuts down | 1001 | `Drain` | no |
//!
//! **Sending.** In a callback, [`Session::send`] and [`Session::close`]; to many alike,
//! [`Session::publish`] to the group that they [joined](Session::join); later and from any thread,
//! a [`SessionSender`]. Text and bytes keep their kind; SockJS has text only
//! ([`SendError::TextOnly`]). Callbacks run inside the shard's turn and must not block.
//!
//! **Limits.** A message comes whole: at most `--ws-message-max` bytes, of SockJS clients
//! `--sockjs-payload-max` with all that came in the same request. What waits for a client is
//! bounded by `--outbound-bytes-max`, for one that polls or streams by `--sockjs-queue-max`: beyond
//! it the session ends. While half of it waits, a WebSocket's next message is not taken, so that an
//! echo ends nobody. What other threads send is bounded for each shard by `--handler-inbox-max`.
//!
//! **Panics.** A panic in a callback ends that one session with close code 1011. The handler lives
//! on and is called for its other sessions, so it must not be left inconsistent.
//!
//! ```no_run
//! use stompede::config::Config;
//! use stompede::handler::{Handler, Message, Session};
//! use stompede::Server;
//!
//! struct Greeter;
//!
//! impl Handler for Greeter {
//!     fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
//!         let name = session.param("name").unwrap_or_default().into_owned();
//!         let text = format!("hello {name}, you sent {} bytes", message.len());
//!         // An error means that the session is over, which needs no action here.
//!         let _ = session.send(text.as_str());
//!     }
//! }
//!
//! let server = Server::builder(Config::default()).endpoint("/greet/{name}", |_shard| Greeter);
//! let handle = server.start().expect("the address is free");
//! println!("ws://{}/greet/ann", handle.http_address);
//! handle.drain_on_signal().expect("signals can be handled");
//! ```

pub mod endpoint;
pub mod inbox;

pub use crate::shard::peer::Peer;
pub use crate::shard::reason::DisconnectReason;
pub use inbox::SessionSender;
pub use stompede_core::sockjs::endpoint::{Endpoint as SockJsOptions, Transports};

use endpoint::Pattern;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What an endpoint does with its sessions. One value per shard; see [the module](self).
pub trait Handler {
    /// A session begins; it may be sent to, and closed, at once. Log-in is the handler's:
    /// [`Session::user`] is who logged in over HTTP, if anybody did.
    fn on_open(&mut self, session: &mut Session<'_>) {
        let _ = session;
    }

    /// The client sent a message, which is whole and lent for the time of the call:
    /// [`SharedMessage::from`] keeps it. Not called any more once the session was closed.
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>);

    /// The session ends by an error of the peer, of the network or of this handler, which `reason`
    /// names; `on_close` follows. Nothing can be sent any more.
    fn on_error(&mut self, session: &mut Session<'_>, reason: DisconnectReason) {
        let _ = (session, reason);
    }

    /// The session is over: the last callback with it, once for each `on_open`. Nothing can be sent
    /// any more.
    fn on_close(&mut self, session: &mut Session<'_>, close: &Close) {
        let _ = (session, close);
    }
}

/// A whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes. Only WebSocket has them, not SockJS.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The text; `None` for bytes.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    /// The payload.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// Its length in bytes.
    pub fn len(self) -> usize {
        self.as_bytes().len()
    }

    /// Is it without a payload?
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Message::Binary(bytes)
    }
}

/// A whole message that threads can share: cloning it copies no payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedMessage {
    /// Text.
    Text(Arc<str>),
    /// Bytes.
    Binary(Arc<[u8]>),
}

impl SharedMessage {
    /// The same message, borrowed.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            SharedMessage::Text(text) => Message::Text(text),
            SharedMessage::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl From<Message<'_>> for SharedMessage {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => SharedMessage::Text(text.into()),
            Message::Binary(bytes) => SharedMessage::Binary(bytes.into()),
        }
    }
}

impl From<&str> for SharedMessage {
    fn from(text: &str) -> Self {
        SharedMessage::Text(text.into())
    }
}

impl From<String> for SharedMessage {
    fn from(text: String) -> Self {
        SharedMessage::Text(text.into())
    }
}

impl From<Vec<u8>> for SharedMessage {
    fn from(bytes: Vec<u8>) -> Self {
        SharedMessage::Binary(bytes.into())
    }
}

/// Names a session for as long as the server runs; never used twice (but after 2^32 others).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    pub(crate) shard: u32,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code: of whoever closed, or 1005 for a close without one, or 1006 for an end
    /// without a closing handshake (RFC 6455 §7.1.5).
    pub code: u16,
    /// The reason that came with the code.
    pub reason: Box<str>,
    /// The way it ended.
    pub cause: DisconnectReason,
}

/// Why something could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    // Of the session.
    /// It is over, or it ended now because the client does not keep up.
    SessionEnded,
    // Of the caller.
    /// The close code must not be on the wire (RFC 6455 §7.4).
    CloseCode(u16),
    /// Bytes to a session that carries text only.
    TextOnly,
    // Limits.
    /// The shard has not taken what other threads sent before.
    InboxFull {
        /// Bytes that would wait with this message.
        seen: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The server ended.
    ServerEnded,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::SessionEnded => f.write_str("the session is over"),
            SendError::CloseCode(code) => {
                write!(f, "seen close code {code}, allowed are 1000-1003, 1007-1014, 3000-4999")
            }
            SendError::TextOnly => f.write_str("seen bytes for a session that takes text only"),
            SendError::InboxFull { seen, limit } => write!(
                f,
                "seen {seen} bytes waiting for a shard, limit is {limit}: \
                 send less or raise --handler-inbox-max"
            ),
            SendError::ServerEnded => f.write_str("the server ended"),
        }
    }
}

impl std::error::Error for SendError {}

/// What is known of a session from its opening request, in few bytes: an idle one keeps it.
#[derive(Debug)]
pub(crate) struct SessionInfo {
    pattern: Arc<Pattern>,
    /// The part of the request's path that the pattern matched and its query, both
    /// percent-encoded, and the user, one behind the other.
    text: Box<str>,
    path_bytes: u32,
    query_bytes: u32,
    /// Index of its endpoint.
    endpoint: u32,
    peer: Peer,
    has_user: bool,
}

const _: () = assert!(size_of::<SessionInfo>() <= 56);

impl SessionInfo {
    /// Of an endpoint (its index and pattern), the path and query of a request, and a client.
    pub(crate) fn new(
        (endpoint, pattern): (usize, &Arc<Pattern>),
        path: &str,
        query: &str,
        peer: Peer,
    ) -> SessionInfo {
        SessionInfo {
            pattern: pattern.clone(),
            text: [path, query].concat().into(),
            path_bytes: path.len() as u32,
            query_bytes: query.len() as u32,
            endpoint: endpoint as u32,
            peer,
            has_user: false,
        }
    }

    /// The opening request has logged in.
    pub(crate) fn log_in(&mut self, user: &str) {
        self.text = [self.path(), self.query(), user].concat().into();
        self.has_user = true;
    }

    /// Index of its endpoint.
    pub(crate) fn endpoint(&self) -> usize {
        self.endpoint as usize
    }

    pub(crate) fn path(&self) -> &str {
        &self.text[..self.path_bytes as usize]
    }

    fn query(&self) -> &str {
        &self.text[self.path_bytes as usize..][..self.query_bytes as usize]
    }

    fn user(&self) -> Option<&str> {
        self.has_user.then(|| &self.text[(self.path_bytes + self.query_bytes) as usize..])
    }
}

/// What a callback can reach of its shard.
pub(crate) trait Outlet {
    fn send(&mut self, id: SessionId, message: Message<'_>) -> Result<(), SendError>;
    fn close(&mut self, id: SessionId, code: u16, reason: &str) -> Result<(), SendError>;
    fn join(&mut self, id: SessionId, endpoint: usize, group: &str) -> Result<(), SendError>;
    fn leave(&mut self, id: SessionId, endpoint: usize, group: &str);
    fn publish(&mut self, endpoint: usize, group: &str, message: Message<'_>);
    fn waiting_bytes(&self, id: SessionId) -> usize;
    fn sender(&self, id: SessionId) -> SessionSender;
}

/// A client's session, for the time of a callback.
pub struct Session<'a> {
    id: SessionId,
    info: &'a SessionInfo,
    outlet: &'a mut dyn Outlet,
}

impl<'a> Session<'a> {
    pub(crate) fn new(id: SessionId, info: &'a SessionInfo, outlet: &'a mut dyn Outlet) -> Self {
        Session { id, info, outlet }
    }

    /// Its name, for tables.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Queues a message. It leaves at the end of the shard's turn, in one send with others, or with
    /// the next request of a SockJS client that polls.
    ///
    /// # Errors
    /// [`SendError::SessionEnded`] also if this message ends the session: more than
    /// `--outbound-bytes-max` (of a SockJS client that polls or streams, `--sockjs-queue-max`) was
    /// waiting for the client already. [`SendError::TextOnly`] for bytes over SockJS.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), SendError> {
        self.outlet.send(self.id, message.into())
    }

    /// Sends what waits and closes, with a code (1000, or 3000 to 4999 for the application's own)
    /// and a reason, which is cut to 123 bytes. SockJS clients that poll are told with their next
    /// request, and again until `--sockjs-disconnect-delay` has passed without one.
    ///
    /// # Errors
    /// [`SendError::CloseCode`] and [`SendError::SessionEnded`].
    pub fn close(&mut self, code: u16, reason: &str) -> Result<(), SendError> {
        self.outlet.close(self.id, code, reason)
    }

    /// Joins a group of sessions of this endpoint, on whatever shards they are: what is published
    /// to the group from now on is sent to this session too, until it leaves the group or ends. A
    /// message that another shard publishes at this moment may come or not.
    ///
    /// # Errors
    /// [`SendError::SessionEnded`].
    pub fn join(&mut self, group: &str) -> Result<(), SendError> {
        self.outlet.join(self.id, self.info.endpoint(), group)
    }

    /// Leaves a group. What was published before may still come.
    pub fn leave(&mut self, group: &str) {
        self.outlet.leave(self.id, self.info.endpoint(), group);
    }

    /// Sends a message to all sessions that joined the group, this one if it did. It is encoded
    /// once, not once for each; all of them see the messages of a group in one order. Who does not
    /// keep up ends, as with [`Session::send`]; bytes are not sent to SockJS clients, which take
    /// text only.
    pub fn publish<'m>(&mut self, group: &str, message: impl Into<Message<'m>>) {
        self.outlet.publish(self.info.endpoint(), group, message.into());
    }

    /// Bytes that wait for the client; too many end the session, see [`Session::send`].
    pub fn waiting_bytes(&self) -> usize {
        self.outlet.waiting_bytes(self.id)
    }

    /// A handle to send later, from any thread.
    pub fn sender(&self) -> SessionSender {
        self.outlet.sender(self.id)
    }

    /// The value of the path's parameter of that name, decoded.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.info.pattern.param(name, self.info.path())
    }

    /// The part of the path that the endpoint's pattern matched, still percent-encoded.
    pub fn path(&self) -> &str {
        self.info.path()
    }

    /// What follows `?`, still percent-encoded; empty without.
    pub fn query(&self) -> &str {
        self.info.query()
    }

    /// Who logged in with the opening request (RFC 7617).
    pub fn user(&self) -> Option<&str> {
        self.info.user()
    }

    /// The address of the client; behind a trusted proxy, not the proxy's.
    pub fn peer(&self) -> IpAddr {
        self.info.peer.ip()
    }
}
