//! SEND: from a client's frame to the home shard of its destination.
//!
//! The frame becomes a [`Publication`], the one copy that all shards share; the prefix of its
//! destination says what kind of destination it is. stomp.md §1.8, §1.13, §2.1.

use super::action::Message;
use super::connection::Then;
use super::{Shard, Shared};
use crate::reactor::Reactor;
use std::sync::Arc;
use stompede_core::broker::destination::{
    classify, home_shard, is_pattern, DestinationError, Kind,
};
use stompede_core::broker::publication::Publication;
use stompede_core::stomp::encode;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::frame::Frame;

impl<R: Reactor> Shard<R> {
    pub(super) fn publication(
        &self,
        frame: &Frame<'_>,
        destination: &str,
    ) -> Result<Publication, Error> {
        let Shared { prefixes, config, .. } = &*self.shared;
        let claim = classify(destination, prefixes, &config.limits).map_err(destination_error)?;
        claim.for_send().map_err(destination_error)?;
        if claim.kind == Kind::Topic && is_pattern(destination) {
            return Err(Error::SendToPattern);
        }
        let secret = &self.shared.config.secret_headers;
        let headers = frame.headers().filter(|(name, _)| {
            encode::is_passed_through(name)
                && !secret.iter().any(|other| other.eq_ignore_ascii_case(name))
        });
        Ok(Publication::new(destination, headers, frame.body))
    }

    /// Carries a SEND out: what it does depends on the kind of its destination.
    pub(super) fn publish(
        &mut self,
        slot: u32,
        publication: Arc<Publication>,
        receipt: Option<&str>,
    ) -> Result<(), Error> {
        match self.kind(publication.destination())? {
            Kind::Topic => self.publish_to_topic(slot, publication, receipt),
            Kind::Queue => return self.publish_to_queue(slot, publication, receipt),
            _ => return Err(Error::UnroutableDestination),
        }
        Ok(())
    }

    /// The kind of a destination, as its prefix says.
    pub(super) fn kind(&self, destination: &str) -> Result<Kind, Error> {
        let Shared { prefixes, config, .. } = &*self.shared;
        let claim = classify(destination, prefixes, &config.limits).map_err(destination_error)?;
        Ok(claim.kind)
    }

    /// Hands a publication to the home shard of its destination.
    fn publish_to_topic(
        &mut self,
        slot: u32,
        publication: Arc<Publication>,
        receipt: Option<&str>,
    ) {
        self.metrics.messages_published.inc();
        let home = self.home(publication.destination());
        if home == self.index {
            self.order(publication);
            self.push_receipt(slot, receipt);
        } else if let Some(receipt) = receipt {
            let asker = Some(self.asker(slot));
            self.mesh.push(home, Message::Publish(publication, asker));
            self.wait_for(slot, 1, Then::Receipts(vec![receipt.into()]));
        } else {
            self.mesh.push(home, Message::Publish(publication, None));
        }
    }

    pub(super) fn home(&self, destination: &str) -> usize {
        home_shard(self.shared.key, destination, self.mesh.shards_count())
    }
}

/// The answer to a destination that cannot be.
pub(super) fn destination_error(error: DestinationError) -> Error {
    match error {
        DestinationError::Unroutable => Error::UnroutableDestination,
        _ => Error::BadDestination,
    }
}
