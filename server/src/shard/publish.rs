//! SEND: from a client's frame to the home shard of its destination.
//!
//! The frame becomes a [`Publication`], the one copy that all shards share; the prefix of its
//! destination says what kind of destination it is. stomp.md §1.8, §1.13, §2.1.

use super::action::{Asker, Message};
use super::connection::Then;
use super::{Shard, Shared};
use crate::reactor::Reactor;
use std::borrow::Cow;
use std::sync::Arc;
use stompede_core::broker::authorization::Verb;
use stompede_core::broker::destination::{
    classify, home_shard, Claim, DestinationError, Kind, Profile,
};
use stompede_core::broker::publication::Publication;
use stompede_core::broker::user::send_target;
use stompede_core::stomp::encode;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::frame::Frame;

impl<R: Reactor> Shard<R> {
    /// What a SEND publishes, and the kind of its destination: all that can be refused is refused
    /// here, before it has an effect or waits in a transaction.
    pub(super) fn publication(
        &mut self,
        slot: u32,
        frame: &Frame<'_>,
        destination: &str,
    ) -> Result<(Publication, Kind), Error> {
        let is_rabbitmq = self.shared.config.profile == Profile::RabbitMq;
        if is_rabbitmq && frame.header("message-id").is_some() {
            // The others replace it (stomp.md §1.13).
            return Err(Error::ServerHeader("message-id"));
        }
        let reply_to = self.open_reply_queue(slot, frame)?;
        let claim = self.shared.claim(destination)?;
        if claim.for_send().is_err() {
            return Err(Error::MisusedDestination);
        }
        let name = match claim.kind {
            Kind::User => send_target(destination).ok_or(Error::BadDestination)?.inner,
            _ => claim.name,
        };
        let is_pattern = claim.dialect.is_some_and(|dialect| dialect.is_pattern(name));
        let is_pattern = is_pattern && matches!(claim.kind, Kind::Topic | Kind::User);
        if is_pattern || self.shared.prefixes.is_queue_pattern(&claim) {
            return Err(Error::SendToPattern);
        }
        let own = match claim.kind {
            Kind::User => self.without_own_id(slot, destination).map(Cow::Owned),
            _ => None,
        };
        let destination = own.unwrap_or_else(|| claim.canonical(destination));
        self.authorize(slot, Verb::Publish, &destination, claim.kind)?;
        let secret = &self.shared.config.secret_headers;
        let is_wanted = |name: &str| {
            encode::is_passed_through(name)
                && !secret.iter().any(|other| other.eq_ignore_ascii_case(name))
        };
        if let Some(lines) = frame.lines().filter(|_| reply_to.is_none()) {
            // As nearly all are: nothing to look for, nothing to replace.
            let lines = lines.filter(|(name, _)| is_wanted(name)).map(|(_, line)| line);
            return Ok((Publication::of_lines(&destination, lines, frame.body), claim.kind));
        }
        let headers = frame.headers().filter(|(name, _)| is_wanted(name));
        let headers = headers.map(|(name, value)| match &reply_to {
            Some(reply_to) if name == "reply-to" => (name, Cow::Borrowed(&**reply_to)),
            _ => (name, value),
        });
        Ok((Publication::new(&destination, headers, frame.body), claim.kind))
    }

    /// Carries a SEND out: what it does depends on the kind of its destination.
    pub(super) fn publish(
        &mut self,
        slot: u32,
        publication: Arc<Publication>,
        kind: Kind,
        receipt: Option<&str>,
    ) -> Result<(), Error> {
        if kind == Kind::Queue {
            return self.publish_to_queue(slot, publication, receipt);
        }
        if kind == Kind::App && self.is_for_service(&publication) {
            let publication = Arc::new(self.for_service(slot, &publication)?);
            return self.publish_to_queue(slot, publication, receipt);
        }
        let asker = receipt.map(|_| self.asker(slot));
        let is_awaited = self.pass_on(slot, publication, kind, asker)?;
        match receipt {
            Some(receipt) if is_awaited => {
                self.wait_for(slot, 1, Then::Receipts(vec![receipt.into()]));
            }
            receipt => self.push_receipt(slot, receipt),
        }
        Ok(())
    }

    /// Passes a publication that no queue keeps on, to where its kind of destination is served.
    /// Says whether `asker` gets an answer from there.
    pub(super) fn pass_on(
        &mut self,
        slot: u32,
        publication: Arc<Publication>,
        kind: Kind,
        asker: Option<Asker>,
    ) -> Result<bool, Error> {
        self.metrics.messages_published.inc();
        Ok(match kind {
            Kind::Topic => self.publish_to_topic(publication, asker),
            Kind::User => self.publish_to_user(slot, publication, asker),
            Kind::ReplyQueue => self.publish_reply(publication, asker),
            Kind::App => {
                self.call_app(slot, publication)?;
                false
            }
            Kind::Queue | Kind::TempQueue => return Err(Error::MisusedDestination),
        })
    }

    /// The kind of a destination, as its prefix says.
    pub(super) fn kind(&self, destination: &str) -> Result<Kind, Error> {
        self.shared.claim(destination).map(|claim| claim.kind)
    }

    /// Hands a publication to the home shard of its destination.
    pub(super) fn publish_to_topic(
        &mut self,
        publication: Arc<Publication>,
        asker: Option<Asker>,
    ) -> bool {
        let home = self.home(publication.destination());
        if home == self.index {
            self.order(publication);
            return false;
        }
        self.mesh.push(home, Message::Publish(publication, asker));
        asker.is_some()
    }

    pub(super) fn home(&self, destination: &str) -> usize {
        home_shard(self.shared.key, destination, self.mesh.shards_count())
    }
}

impl Shared {
    /// What a destination is, or the answer to one that cannot be.
    pub(super) fn claim<'d>(&self, destination: &'d str) -> Result<Claim<'d>, Error> {
        let claim = classify(destination, &self.prefixes, &self.config.limits);
        claim.map_err(|error| match error {
            DestinationError::Bad => Error::BadDestination,
            DestinationError::Unroutable => {
                Error::UnroutableDestination { known: self.config.profile.known_prefixes() }
            }
            DestinationError::Misused => Error::MisusedDestination,
        })
    }
}
