//! What other threads send to sessions, by way of the inbox of their shard.
//!
//! Bounded in bytes for all senders of a shard together: who is refused knows it at once, and may
//! try again. Order holds per sender.

use super::{SendError, SessionId, SharedMessage};
use crate::inbox::{self, NotTaken, Slit, Weighed};
use std::sync::Arc;
use stompede_core::ws::close::is_valid_code;

/// What a post costs beside its payload, roughly: it keeps empty messages from being free.
const POST_BYTES: usize = 64;

/// What a sender wants of a session.
#[derive(Debug)]
pub(crate) enum Order {
    Send(SharedMessage),
    Close(u16, Box<str>),
}

/// An order and its session.
#[derive(Debug)]
pub(crate) struct Post(pub(crate) SessionId, pub(crate) Order);

impl Weighed for Post {
    fn bytes(&self) -> usize {
        let payload = match &self.1 {
            Order::Send(message) => message.as_message().len(),
            Order::Close(_, reason) => reason.len(),
        };
        POST_BYTES + payload
    }
}

/// The shard's end.
pub(crate) type Inbox = inbox::Inbox<Post>;

/// Sends to one session from any thread, for as long as the server runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SessionSender {
    id: SessionId,
    slit: Arc<Slit<Post>>,
}

impl SessionSender {
    pub(crate) fn new(id: SessionId, slit: Arc<Slit<Post>>) -> SessionSender {
        SessionSender { id, slit }
    }

    /// The session's name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Queues a message for the session's shard. If the session is over when the shard takes it, or
    /// takes text only and this is none, it is dropped: `on_close` told the handler of the one, and
    /// [`Session::send`](super::Session::send) would have told of the other. What one sender sends
    /// arrives in its order.
    ///
    /// # Errors
    /// [`SendError::InboxFull`] and [`SendError::ServerEnded`].
    pub fn send(&self, message: impl Into<SharedMessage>) -> Result<(), SendError> {
        self.post(Order::Send(message.into()))
    }

    /// As [`Session::close`](super::Session::close), behind what was sent before.
    ///
    /// # Errors
    /// Those of [`SessionSender::send`] and [`SendError::CloseCode`].
    pub fn close(&self, code: u16, reason: &str) -> Result<(), SendError> {
        if !is_valid_code(code) {
            return Err(SendError::CloseCode(code));
        }
        self.post(Order::Close(code, reason.into()))
    }

    fn post(&self, order: Order) -> Result<(), SendError> {
        self.slit.post(Post(self.id, order)).map_err(|error| match error {
            NotTaken::Full { seen, limit } => SendError::InboxFull { seen, limit },
            NotTaken::Ended => SendError::ServerEnded,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::Doorbell;

    const ID: SessionId = SessionId { shard: 0, slot: 1, generation: 2 };

    #[test]
    fn what_waits_is_bounded_and_room_comes_back() {
        let mut inbox = Inbox::new(Doorbell::new().unwrap(), 2 * POST_BYTES + 10);
        let sender = SessionSender::new(ID, inbox.slit());
        assert_eq!(sender.send("12345"), Ok(()));
        assert_eq!(sender.send("67890"), Ok(()));
        let full = sender.send("").unwrap_err();
        assert!(matches!(full, SendError::InboxFull { .. }));
        assert!(full.to_string().contains("--handler-inbox-max"), "{full}");
        assert!(inbox.has_post());
        let Post(id, Order::Send(message)) = inbox.take().unwrap() else { panic!("a message") };
        assert_eq!((id, message.as_message().text()), (ID, Some("12345")));
        assert_eq!(sender.close(3000, ""), Ok(()));
        assert!(inbox.take().is_some() && inbox.take().is_some());
        assert!(inbox.take().is_none() && !inbox.has_post());
        assert_eq!(sender.send(vec![0; 10_000]), Ok(()), "one is always taken");
        assert_eq!(sender.close(1006, ""), Err(SendError::CloseCode(1006)));
    }

    #[test]
    fn nobody_takes_what_is_sent_to_a_server_that_ended() {
        let inbox = Inbox::new(Doorbell::new().unwrap(), 1_000);
        let sender = SessionSender::new(ID, inbox.slit());
        drop(inbox);
        assert_eq!(sender.send("late"), Err(SendError::ServerEnded));
    }
}
