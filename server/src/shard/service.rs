//! Service connections: STOMP clients that serve `/app/...` in the place of a mapping.
//!
//! A SUBSCRIBE to a pattern of `/app/` is a consumer of a queue that has the pattern's name, and
//! every shard knows of the pattern. A SEND that no mapping takes goes into the queue of the
//! longest pattern that matches. All else is the queue's doing: credit, acknowledgements,
//! redelivery when a service dies or says NACK, time to live, dead letters. Without a service a
//! SEND is refused; what was taken before waits for the next one.
//!
//! A service sees `user-name` and `session`, the sender's own, and answers to the `reply-to` that
//! it is given, to `/user/{session}/queue/x`, or anywhere. ecosystem.md §6 "STOMP service
//! connection"; stomp.md §2.1 `/app`.

use super::action::Subscribe;
use super::reason::DisconnectReason;
use super::Shard;
use crate::reactor::Reactor;
use stompede_core::broker::destination::Kind;
use stompede_core::broker::pattern::Dialect;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::user::session_id;
use stompede_core::stomp::error::Error;

/// What a service is told of the sender.
const USER_NAME: &str = "user-name";
/// The sender's session, as in its CONNECTED.
const SESSION: &str = "session";

impl<R: Reactor> Shard<R> {
    /// Is a SUBSCRIBE to this destination a service's?
    pub(super) fn is_service(&self, destination: &str) -> bool {
        self.kind(destination) == Ok(Kind::App) && Dialect::Ant.is_pattern(destination)
    }

    /// Every shard knows of a service's pattern: now it becomes a consumer of that queue.
    pub(super) fn enter_service(&mut self, slot: u32, subscribe: Subscribe) {
        let (pattern, receipt) = (subscribe.destination.clone(), subscribe.receipt.clone());
        self.pending_interest.push(pattern.clone());
        if let Err(error) = self.subscribe_to_queue(slot, subscribe, None) {
            self.withdraw_service(pattern);
            let reason = DisconnectReason::StompError;
            self.fail_stomp(slot, &error, receipt.as_deref(), reason);
        }
    }

    /// What was to become a service will not.
    pub(super) fn withdraw_service(&mut self, pattern: Box<str>) {
        self.remove_pending(&pattern);
        if !self.subscriptions.has_subscribers(&pattern) {
            self.withdraw_interest(pattern, true);
        }
    }

    /// Is this for `/app/`, and no mapping takes it?
    pub(super) fn is_for_service(&self, publication: &Publication) -> bool {
        let destination = publication.destination();
        self.kind(destination) == Ok(Kind::App) && self.shared.app.message(destination).is_none()
    }

    /// What a service gets of a SEND.
    ///
    /// # Errors
    /// [`Error::NoService`].
    pub(super) fn for_service(
        &self,
        slot: u32,
        publication: &Publication,
    ) -> Result<Publication, Error> {
        let destination = publication.destination();
        let queue = self.interest.longest_pattern(destination).ok_or(Error::NoService)?;
        let session = session_id(self.shared.key, self.session(slot));
        let user = self.user(slot).map(|name| (USER_NAME, name));
        let others = publication.headers().filter(|(name, _)| ![USER_NAME, SESSION].contains(name));
        let headers = user.into_iter().chain([(SESSION, session.as_str())]).chain(others);
        Ok(Publication::new(destination, headers, publication.body()).for_queue(queue))
    }
}
