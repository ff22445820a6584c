//! Request and reply: `reply-to:/temp-queue/x` of a SEND, and the answers to it.
//!
//! The header is rewritten to `/reply-queue/` and 128 random bits, under which the requester's
//! shard knows the connection (`core::broker::reply`). Whoever answers sends there, from any shard;
//! the requester gets a MESSAGE with `subscription:/temp-queue/x` without having subscribed. The
//! name ends with the connection; an answer that comes later is dropped and counted. With profile
//! activemq a client may subscribe to `/temp-queue/x` or `/temp-topic/x` before it asks, and its
//! answers come to that subscription. stomp.md §2.2 `/temp-queue/`, `/reply-queue/`, §2.3.

use super::action::{Asker, Message};
use super::Shard;
use crate::reactor::Reactor;
use std::sync::Arc;
use stompede_core::broker::destination::Kind;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::reply::{shard_of, ReplyError, TEMP_PREFIX};
use stompede_core::broker::user::internal_name;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::frame::Frame;

impl<R: Reactor> Shard<R> {
    /// What the `reply-to` of a SEND is rewritten to; none if it stays as it is.
    pub(super) fn open_reply_queue(
        &mut self,
        slot: u32,
        frame: &Frame<'_>,
    ) -> Result<Option<String>, Error> {
        let Some(reply_to) = frame.header("reply-to") else { return Ok(None) };
        match self.shared.claim(&reply_to) {
            Ok(claim) if claim.kind == Kind::TempQueue => {}
            Err(error) if reply_to.starts_with(TEMP_PREFIX) => return Err(error),
            _ => return Ok(None),
        }
        let random = self.reactor.random_bits().map_err(|_| Error::ServerBusy)?;
        let count_max = self.shared.config.limits.reply_queues_count_max;
        match self.replies.open(slot, &reply_to, random, count_max) {
            Ok(name) => Ok(Some(name)),
            Err(ReplyError::TooMany) => Err(Error::TooManyReplyQueues),
        }
    }

    /// Passes an answer to the shard of its requester. Says whether `asker` gets an answer.
    pub(super) fn publish_reply(
        &mut self,
        publication: Arc<Publication>,
        asker: Option<Asker>,
    ) -> bool {
        let shard = shard_of(publication.destination()).map_or(self.index, |shard| shard as usize);
        if shard != self.index && shard < self.mesh.shards_count() {
            self.mesh.push(shard, Message::Reply(publication, asker));
            return asker.is_some();
        }
        self.deliver_reply(&publication);
        false
    }

    /// At the requester's shard: the answer's last stop.
    pub(super) fn deliver_reply(&mut self, publication: &Publication) {
        let Some(requester) = self.replies.find(publication.destination()) else {
            self.metrics.messages_undeliverable.inc();
            return;
        };
        let (slot, label) = (requester.slot, requester.subscription.clone());
        let sequence = self.next_sequence();
        let name = self.temporary_name(slot, &label);
        match self.subscriptions.has_subscribers(&name) {
            true => self.deliver_as(publication, sequence, &name, &label),
            false => self.deliver_private(slot, Some(label), publication, sequence),
        }
    }

    /// The name in the table for a session's subscription to a temporary destination of its own.
    pub(super) fn temporary_name(&self, slot: u32, label: &str) -> Box<str> {
        internal_name(self.session(slot), label)
    }
}
