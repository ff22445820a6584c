//! Who a connection is, and user destinations.
//!
//! A record of the client exists only if it logged in or asked for soft errors; an anonymous
//! session has user destinations all the same. A SUBSCRIBE to `/user/queue/x` is kept on the
//! session's shard under an internal name that no client can write (`core::broker::user`). The home
//! shard of the user learns of the session before the subscription is live, so that its RECEIPT
//! means what any other means; a SEND to `/user/{name}/queue/x` goes to that shard, which gives it
//! its place in the order and passes it to the sessions. stomp.md §2.1 "User destinations", §0.12.

use super::action::{Asker, Message, Subscribe};
use super::connection::Then;
use super::Shard;
use crate::app::ERRORS;
use crate::reactor::Reactor;
use std::sync::Arc;
use stompede_core::broker::authorization::Verb;
use stompede_core::broker::destination::{Kind, Profile};
use stompede_core::broker::history::Past;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::user::{
    internal_name, send_target, session_of, subscribe_inner, write_internal_name, Audience,
    Session, Target,
};
use stompede_core::stomp::command::Command;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::explain::not_allowed;

/// What is known of a client that is not just anybody.
#[derive(Debug)]
pub struct Client {
    /// The name it logged in with.
    user: Option<Box<str>>,
    /// What it calls itself.
    client_id: Option<Box<str>>,
    /// Did it ask for soft errors?
    is_soft: bool,
    /// Does the home shard of the user know the session?
    is_registered: bool,
}

impl<R: Reactor> Shard<R> {
    /// Keeps what CONNECT said, if there is anything to keep.
    pub(super) fn remember_client(
        &mut self,
        slot: u32,
        user: Option<Box<str>>,
        client_id: Option<Box<str>>,
        is_soft: bool,
    ) {
        if user.is_some() || client_id.is_some() || is_soft {
            let client = Client { user, client_id, is_soft, is_registered: false };
            // Grown only for those that need it: anonymous clients leave it untouched.
            self.client_numbers.grow(slot, || 0);
            self.client_numbers[slot as usize] = self.clients.insert(client) as u32 + 1;
        }
    }

    /// The connection ends.
    pub(super) fn forget_client(&mut self, slot: u32) {
        let Some(index) = self.client_index(slot) else { return };
        self.client_numbers[slot as usize] = 0;
        let client = self.clients.remove(index);
        if let (Some(user), true) = (client.user, client.is_registered) {
            self.register(slot, user, false, None);
        }
    }

    /// What the client calls itself.
    pub(super) fn client_id(&self, slot: u32) -> Option<&str> {
        self.client(slot)?.client_id.as_deref()
    }

    /// The name that the client logged in with.
    pub(super) fn user(&self, slot: u32) -> Option<&str> {
        self.client(slot)?.user.as_deref()
    }

    fn client(&self, slot: u32) -> Option<&Client> {
        self.clients.get(self.client_index(slot)?)
    }

    fn client_index(&self, slot: u32) -> Option<usize> {
        (*self.client_numbers.get(slot as usize)? as usize).checked_sub(1)
    }

    pub(super) fn session(&self, slot: u32) -> Session {
        let generation = self.connections[slot as usize].generation;
        Session { shard: self.index as u32, slot, generation }
    }

    /// May the client do this? `destination` is the canonical name.
    pub(super) fn authorize(
        &self,
        slot: u32,
        verb: Verb,
        destination: &str,
        kind: Kind,
    ) -> Result<(), Error> {
        let rules = &self.shared.authorization;
        rules.check(self.user(slot), verb, destination, kind).map_err(|_| Error::NotAllowed)
    }

    /// Counts and logs a frame that is not allowed.
    pub(super) fn on_denied(&mut self, slot: u32, frame: &str, destination: &str) {
        self.metrics.denied.inc();
        if self.may_log("denied") {
            let (shard, peer) = (self.index, &self.peers[slot as usize]);
            let user = self.user(slot);
            // Texts are escaped by the log.
            tracing::warn!(
                shard, %peer, user, frame, destination,
                "a client was refused by --allow and --deny"
            );
        }
    }

    /// Answers a SUBSCRIBE that is not allowed by a MESSAGE, if the client asked for that: to its
    /// subscription of `/user/queue/errors`, or, if it has none, in the name of the one that it
    /// wanted. Says whether it did.
    pub(super) fn deny_softly(&mut self, slot: u32, denied: &Subscribe) -> bool {
        if !self.client(slot).is_some_and(|client| client.is_soft) {
            return false;
        }
        let headers = [
            ("message", Some(Error::NotAllowed.message())),
            ("denied-id", denied.id.as_deref()),
            ("denied-destination", Some(&*denied.destination)),
            ("receipt-id", denied.receipt.as_deref()),
        ];
        let headers = headers.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let body = not_allowed(Command::Subscribe.as_str(), &denied.destination);
        let errors = format!("/user{ERRORS}");
        let publication = Publication::new(&errors, headers, body.as_bytes());
        let name = internal_name(self.session(slot), ERRORS);
        let sequence = self.next_sequence();
        match self.subscriptions.has_subscribers(&name) {
            true => self.deliver_as(&publication, sequence, &name, &errors),
            false => self.deliver_private(slot, denied.id.clone(), &publication, sequence),
        }
        true
    }

    /// The name in the table for a session's subscription to a user destination.
    pub(super) fn own_name(&self, slot: u32, destination: &str) -> Result<Box<str>, Error> {
        let inner = subscribe_inner(destination).ok_or(Error::MisusedDestination)?;
        Ok(internal_name(self.session(slot), inner))
    }

    /// A SUBSCRIBE to a user destination: live once the user's home shard knows of the session.
    pub(super) fn subscribe_to_user(&mut self, slot: u32, subscribe: Subscribe) {
        let client = self.client_index(slot).and_then(|index| self.clients.get_mut(index));
        let new = client.filter(|client| client.user.is_some() && !client.is_registered);
        let user = new.and_then(|client| {
            client.is_registered = true;
            client.user.clone()
        });
        let asker = self.asker(slot);
        if user.is_some_and(|user| self.register(slot, user, true, Some(asker))) {
            self.wait_for(slot, 1, Then::Subscribe(Box::new(subscribe)));
        } else {
            self.subscribed(slot, subscribe, Past::default());
        }
    }

    /// Tells the home shard of `user` that the session is there or gone. Says whether an answer
    /// comes.
    fn register(&mut self, slot: u32, user: Box<str>, is_here: bool, asker: Option<Asker>) -> bool {
        let (home, session) = (self.home(&user), self.session(slot));
        if home == self.index {
            self.on_session(&user, session, is_here);
            return false;
        }
        let is_awaited = asker.is_some();
        self.mesh.push(home, Message::Session { user, session, is_here, asker });
        is_awaited
    }

    /// At the home shard of the user: one of their sessions came or went.
    pub(super) fn on_session(&mut self, user: &str, session: Session, is_here: bool) {
        match is_here {
            true => self.users.add(user, session),
            false => self.users.remove(user, session),
        }
    }

    /// Passes a SEND on a user destination on. Says whether `asker` gets an answer.
    pub(super) fn publish_to_user(
        &mut self,
        slot: u32,
        publication: Arc<Publication>,
        asker: Option<Asker>,
    ) -> bool {
        let Some(target) = send_target(publication.destination()) else { return false };
        // Spring's users expect an answer to themselves in this session alone.
        let is_spring = self.shared.config.profile == Profile::Spring;
        if self.sent_to_named(&publication, &target) {
            return false;
        }
        let home = match target.user.as_deref() {
            None => None,
            name @ Some(_) if is_spring && name == self.user(slot) => None,
            Some(name) => Some(self.home(name)),
        };
        match home {
            None => {
                let (session, sequence) = (self.session(slot), self.next_sequence());
                self.deliver_to_session(&publication, sequence, session);
            }
            Some(home) if home == self.index => self.order_for_user(publication),
            Some(home) => {
                self.mesh.push(home, Message::PublishToUser(publication, asker));
                return asker.is_some();
            }
        }
        false
    }

    /// Numbers a publication and passes it to the session whose id stands in place of a user's
    /// name. Says whether one does.
    fn sent_to_named(&mut self, publication: &Arc<Publication>, target: &Target<'_>) -> bool {
        let named = target.user.as_deref().and_then(|name| session_of(self.shared.key, name));
        let Some(session) = named else { return false };
        let sequence = self.next_sequence();
        self.send_to_session(publication.clone(), sequence, session);
        true
    }

    /// At the home shard of a user, or of a session that is named by its id: as
    /// [`Shard::publish_to_user`], of a publication without a sender.
    pub(super) fn publish_to_named(&mut self, publication: Arc<Publication>) {
        let Some(target) = send_target(publication.destination()) else { return };
        if !self.sent_to_named(&publication, &target) {
            self.order_for_user(publication);
        }
    }

    /// At the home shard of the user: numbers the publication and passes it to every session.
    pub(super) fn order_for_user(&mut self, publication: Arc<Publication>) {
        let sequence = self.next_sequence();
        let name = send_target(publication.destination()).and_then(|target| target.user);
        let Some(name) = name else { return };
        let mut sessions = std::mem::take(&mut self.scratch.sessions);
        if self.users.for_each(&name, Audience::All, |session| sessions.push(session)) == 0 {
            self.metrics.messages_undeliverable.inc();
        }
        for session in sessions.drain(..) {
            self.send_to_session(publication.clone(), sequence, session);
        }
        self.scratch.sessions = sessions;
    }

    /// Passes a publication to the shard of a session.
    fn send_to_session(&mut self, publication: Arc<Publication>, sequence: u64, session: Session) {
        if session.shard as usize == self.index {
            self.deliver_to_session(&publication, sequence, session);
        } else {
            let message = Message::DeliverToSession { publication, sequence, session };
            self.mesh.push(session.shard as usize, message);
        }
    }

    /// The destination of a SEND that names its own session by the id (`simpSessionId` in Spring),
    /// without it.
    pub(super) fn without_own_id(&self, slot: u32, destination: &str) -> Option<String> {
        let target = send_target(destination)?;
        let session = session_of(self.shared.key, &target.user?)?;
        (session == self.session(slot)).then(|| format!("/user{}", target.inner))
    }

    /// Delivers to the subscriptions that one session of this shard has for the destination; it
    /// sees the name that it subscribed.
    pub(super) fn deliver_to_session(
        &mut self,
        publication: &Publication,
        sequence: u64,
        session: Session,
    ) {
        let Some(target) = send_target(publication.destination()) else { return };
        let mut name = std::mem::take(&mut self.scratch.name);
        let mut shown = std::mem::take(&mut self.scratch.shown);
        write_internal_name(&mut name, session, target.inner);
        shown.clear();
        shown.push_str("/user");
        shown.push_str(target.inner);
        self.deliver_as(publication, sequence, &name, &shown);
        self.scratch.name = name;
        self.scratch.shown = shown;
    }
}
