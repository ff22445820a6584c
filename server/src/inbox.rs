//! What other threads hand to a shard: a queue per shard and the shard's doorbell.
//!
//! Bounded in bytes for all senders of a queue together: who is refused knows it at once, and may
//! try again. Nobody waits for anybody, and the shard is woken if it sleeps. Order holds per
//! sender.

use crate::mesh::Doorbell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;

/// Something that takes memory while it waits.
pub(crate) trait Weighed {
    /// As much, in bytes; also that of an empty one is not 0, or there could be any number.
    fn bytes(&self) -> usize;
}

/// Why something was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The shard has not taken what was sent before.
    Full {
        /// Bytes that would wait.
        seen: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The shard ended.
    Ended,
}

/// The senders' end.
#[derive(Debug)]
pub(crate) struct Slit<T> {
    posts: Sender<T>,
    waiting_bytes: AtomicUsize,
    bytes_max: usize,
    doorbell: Arc<Doorbell>,
}

impl<T: Weighed> Slit<T> {
    /// Puts something in, and wakes the shard.
    pub(crate) fn post(&self, post: T) -> Result<(), NotTaken> {
        let (bytes, limit) = (post.bytes(), self.bytes_max);
        let seen = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // One is always taken: a legal message may be larger than the limit.
        let is_full = seen > limit && seen > bytes;
        let outcome = match is_full {
            true => Err(NotTaken::Full { seen, limit }),
            false => self.posts.send(post).map_err(|_| NotTaken::Ended),
        };
        match outcome {
            Ok(()) => self.doorbell.ring(),
            Err(_) => {
                self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        outcome
    }
}

/// The shard's end.
pub(crate) struct Inbox<T> {
    slit: Arc<Slit<T>>,
    posts: Receiver<T>,
    /// The next post, if it was looked for before a sleep.
    peeked: Option<T>,
}

impl<T: Weighed> Inbox<T> {
    /// `doorbell` is rung for every post; at most `bytes_max` bytes wait.
    pub(crate) fn new(doorbell: Arc<Doorbell>, bytes_max: usize) -> Inbox<T> {
        let (sender, posts) = channel();
        let waiting_bytes = AtomicUsize::new(0);
        let slit = Slit { posts: sender, waiting_bytes, bytes_max, doorbell };
        Inbox { slit: Arc::new(slit), posts, peeked: None }
    }

    /// The senders' end.
    pub(crate) fn slit(&self) -> Arc<Slit<T>> {
        self.slit.clone()
    }

    /// Is a post in? To be asked before a sleep, as the bell does not ring for those who are awake.
    pub(crate) fn has_post(&mut self) -> bool {
        if self.peeked.is_none() {
            self.peeked = self.posts.try_recv().ok();
        }
        self.peeked.is_some()
    }

    /// The next post that is in.
    pub(crate) fn take(&mut self) -> Option<T> {
        let post = self.peeked.take().or_else(|| self.posts.try_recv().ok())?;
        self.slit.waiting_bytes.fetch_sub(post.bytes(), Ordering::Relaxed);
        Some(post)
    }
}
