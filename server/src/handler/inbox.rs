//! What other threads send to sessions: a queue per shard and the shard's doorbell.
//!
//! Bounded in bytes for all senders of a shard together: who is refused knows it at once, and may
//! try again. Order holds per sender.

use super::{SendError, SessionId, SharedMessage};
use crate::mesh::Doorbell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
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

impl Order {
    fn bytes(&self) -> usize {
        let payload = match self {
            Order::Send(message) => message.as_message().len(),
            Order::Close(_, reason) => reason.len(),
        };
        POST_BYTES + payload
    }
}

/// An order and its session.
pub(crate) type Post = (SessionId, Order);

/// The senders' end of a shard's inbox.
#[derive(Debug)]
struct Slit {
    posts: Sender<Post>,
    waiting_bytes: AtomicUsize,
    bytes_max: usize,
    doorbell: Arc<Doorbell>,
}

/// The shard's end.
pub(crate) struct Inbox {
    slit: Arc<Slit>,
    posts: Receiver<Post>,
    /// The next post, if it was looked for before a sleep.
    peeked: Option<Post>,
}

impl Inbox {
    /// `doorbell` is rung for every post; at most `bytes_max` bytes wait.
    pub(crate) fn new(doorbell: Arc<Doorbell>, bytes_max: usize) -> Inbox {
        let (sender, posts) = channel();
        let waiting_bytes = AtomicUsize::new(0);
        let slit = Slit { posts: sender, waiting_bytes, bytes_max, doorbell };
        Inbox { slit: Arc::new(slit), posts, peeked: None }
    }

    pub(crate) fn sender(&self, id: SessionId) -> SessionSender {
        SessionSender { id, slit: self.slit.clone() }
    }

    /// Is a post in? To be asked before a sleep, as the bell does not ring for those who are awake.
    pub(crate) fn has_post(&mut self) -> bool {
        if self.peeked.is_none() {
            self.peeked = self.posts.try_recv().ok();
        }
        self.peeked.is_some()
    }

    /// The next post that is in.
    pub(crate) fn take(&mut self) -> Option<Post> {
        let post = self.peeked.take().or_else(|| self.posts.try_recv().ok())?;
        self.slit.waiting_bytes.fetch_sub(post.1.bytes(), Ordering::Relaxed);
        Some(post)
    }
}

/// Sends to one session from any thread, for as long as the server runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SessionSender {
    id: SessionId,
    slit: Arc<Slit>,
}

impl SessionSender {
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
        let (slit, bytes) = (&*self.slit, order.bytes());
        let seen = slit.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // One post is always taken: a legal message may be larger than the limit.
        let is_full = seen > slit.bytes_max && seen > bytes;
        let outcome = match is_full {
            true => Err(SendError::InboxFull { seen, limit: slit.bytes_max }),
            false => slit.posts.send((self.id, order)).map_err(|_| SendError::ServerEnded),
        };
        match outcome {
            Ok(()) => slit.doorbell.ring(),
            Err(_) => {
                slit.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SessionId = SessionId { shard: 0, slot: 1, generation: 2 };

    #[test]
    fn what_waits_is_bounded_and_room_comes_back() {
        let mut inbox = Inbox::new(Doorbell::new().unwrap(), 2 * POST_BYTES + 10);
        let sender = inbox.sender(ID);
        assert_eq!(sender.send("12345"), Ok(()));
        assert_eq!(sender.send("67890"), Ok(()));
        let full = sender.send("").unwrap_err();
        assert!(matches!(full, SendError::InboxFull { .. }));
        assert!(full.to_string().contains("--handler-inbox-max"), "{full}");
        assert!(inbox.has_post());
        let (id, Order::Send(message)) = inbox.take().unwrap() else { panic!("a message") };
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
        let sender = inbox.sender(ID);
        drop(inbox);
        assert_eq!(sender.send("late"), Err(SendError::ServerEnded));
    }
}
