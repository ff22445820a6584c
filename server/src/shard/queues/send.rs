//! SEND to a queue: to its home, and what comes back.
//!
//! A SEND with a receipt waits for the home's verdict, and its RECEIPT means that the message is in
//! the queue. One without does not wait: publishers keep their pace, and a queue that refuses ends
//! its publisher with an ERROR as soon as it hears. DISCONNECT waits until every home has spoken,
//! so that its RECEIPT never hides a refusal (stomp.md §0.6, §2.4).

use super::super::action::{Asker, Message};
use super::super::connection::{Phase, Then};
use super::super::reason::DisconnectReason;
use super::super::Shard;
use crate::reactor::Reactor;
use std::borrow::Cow;
use std::sync::Arc;
use stompede_core::broker::destination::Profile;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::queue::arguments::Arguments;
use stompede_core::broker::queue::expiry::{expires_at_ms, ExpiryError};
use stompede_core::stomp::error::Error;

impl<R: Reactor> Shard<R> {
    /// When this message expires, by the clock of [`Shard::expiry_now_ms`].
    pub(in super::super) fn expires_ms(
        &self,
        publication: &Publication,
    ) -> Result<Option<u64>, Error> {
        let ttl = self.shared.config.queue_ttl;
        let ttl_ms = (!ttl.is_zero()).then_some(ttl.as_millis() as u64);
        let unix_ms = self.reactor.unix_ms();
        expires_at_ms(publication.headers(), unix_ms, ttl_ms)
            .map(|time| time.map(|time| self.expiry_ms(time, unix_ms)))
            .map_err(|ExpiryError::NotANumber { header }| Error::BadValue(header))
    }

    /// What a SEND asks of its queue.
    pub(super) fn asked_of_queue(
        &self,
        slot: u32,
        publication: &Publication,
    ) -> Result<Option<Box<Arguments>>, Error> {
        // A service's queue is the service's.
        let is_for_service = publication.queue().is_some();
        if is_for_service || !publication.headers().any(|(name, _)| Arguments::may_be(name)) {
            return Ok(None);
        }
        self.arguments(slot, header_of(publication), self.takes_ttl())
    }

    /// In a SEND, only RabbitMQ's clients mean the queue with `x-message-ttl`; the message it is
    /// anyhow.
    fn takes_ttl(&self) -> bool {
        self.shared.config.profile == Profile::RabbitMq
    }

    /// What a SEND that was looked at before asks of its queue.
    pub(in super::super) fn asked_before(
        &self,
        publication: &Publication,
    ) -> Option<Box<Arguments>> {
        let read = Arguments::read(header_of(publication), self.takes_ttl());
        read.ok().flatten().map(|mut arguments| {
            let grave = arguments.dead_letter.as_deref();
            arguments.dead_letter = grave.map(|grave| self.queue_name(grave).into());
            Box::new(arguments)
        })
    }

    /// What can be refused of a SEND to a queue before it is sent.
    pub(in super::super) fn check_for_queue(
        &self,
        slot: u32,
        publication: &Publication,
    ) -> Result<(), Error> {
        self.expires_ms(publication)?;
        self.asked_of_queue(slot, publication).map(drop)
    }

    /// Hands a publication to the home of its queue.
    pub(in super::super) fn publish_to_queue(
        &mut self,
        slot: u32,
        publication: Arc<Publication>,
        receipt: Option<&str>,
    ) -> Result<(), Error> {
        let expires_ms = self.expires_ms(&publication)?;
        let arguments = self.asked_of_queue(slot, &publication)?;
        self.metrics.messages_published.inc();
        let home = self.home(publication.queue_name());
        if home == self.index {
            self.enqueue(publication, expires_ms, arguments.as_deref())?;
            self.push_receipt(slot, receipt);
            return Ok(());
        }
        let (asker, is_awaited) = (Some(self.asker(slot)), receipt.is_some());
        let is_declaring = arguments.is_some();
        let message = Message::Enqueue { publication, expires_ms, asker, is_awaited, is_declaring };
        self.mesh.push(home, message);
        if let Some(receipt) = receipt {
            self.wait_for(slot, 1, Then::Receipts(vec![receipt.into()]));
        } else {
            let homes = &mut self.connections[slot as usize].stomp().unheard_homes;
            if !homes.contains(&(home as u32)) {
                homes.push(home as u32);
            }
        }
        Ok(())
    }

    /// A home refused what this connection sent or wanted to commit.
    pub(in super::super) fn on_refused(&mut self, asker: Asker, error: Error, is_answer: bool) {
        let Asker { slot, generation, .. } = asker;
        let connection = &self.connections[slot as usize];
        if connection.generation != generation || !connection.is_live() {
            return;
        }
        let waiting = connection.extras.as_ref().and_then(|extras| extras.waiting.as_ref());
        let receipt = match waiting.filter(|_| is_answer).map(|waiting| &waiting.then) {
            Some(Then::Receipts(receipts)) => receipts.first().cloned(),
            Some(Then::Commit(commit)) => commit.receipt.clone(),
            Some(Then::Consume(subscribe)) => subscribe.receipt.clone(),
            _ => None,
        };
        self.fail_stomp(slot, &error, receipt.as_deref(), DisconnectReason::StompError);
    }

    /// DISCONNECT, once every home that this connection sent to has spoken.
    pub(in super::super) fn disconnect(&mut self, slot: u32, receipt: Option<&str>) {
        let extras = self.connections[slot as usize].extras.as_mut();
        let stomp = extras.and_then(|extras| extras.stomp.as_mut());
        let homes = stomp.map(|stomp| std::mem::take(&mut stomp.unheard_homes));
        let homes = homes.unwrap_or_default();
        if homes.is_empty() {
            return self.disconnected(slot, receipt);
        }
        let asker = self.asker(slot);
        for &home in &homes {
            self.mesh.push(home as usize, Message::Barrier(asker));
        }
        self.wait_for(slot, homes.len(), Then::Disconnect(receipt.map(Box::from)));
    }

    pub(in super::super) fn disconnected(&mut self, slot: u32, receipt: Option<&str>) {
        debug_assert!(self.connections[slot as usize].phase == Phase::Open);
        self.push_receipt(slot, receipt);
        self.push_close(slot, 1000, "");
        self.end(slot, DisconnectReason::Disconnect);
    }
}

fn header_of<'a>(
    publication: &'a Publication,
) -> impl Fn(&'static str) -> Option<Cow<'a, str>> + 'a {
    move |name| publication.header(name).map(Cow::Borrowed)
}
