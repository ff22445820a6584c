//! Publishing from outside of the server: from any thread of the program that embeds it.
//!
//! A price feed, a web backend or a job that is done has no connection and no mapping. It takes a
//! [`Publisher`] from the running server and publishes as a client's SEND would, without rules
//! (`--allow` is for clients) and without a frame:
//!
//! ```no_run
//! use stompede::app::Payload;
//! use stompede::config::Config;
//! use stompede::publisher::PublishError;
//! use stompede::Server;
//!
//! let handle = Server::start(Config::default()).expect("the address is free");
//! let publisher = handle.publisher();
//! std::thread::spawn(move || {
//!     for cents in 100.. {
//!         let price = Payload::json(format!("{{\"cents\":{cents}}}"));
//!         match publisher.publish("/topic/price/x", price) {
//!             Ok(()) => std::thread::sleep(std::time::Duration::from_secs(1)),
//!             Err(PublishError::Drained) => return,
//!             Err(error) => eprintln!("{error}"),
//!         }
//!     }
//! });
//! handle.drain_on_signal().expect("signals can be handled");
//! ```
//!
//! Publishing never waits: what cannot be taken is an error, at once. Ok means that the server took
//! it, not that anybody got it; of what is taken while the server drains, those get it who are
//! still connected.

use crate::app::Payload;
use crate::inbox::{NotTaken, Slit};
use crate::shard::letters::Letter;
use crate::shard::Shared;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use stompede_core::broker::destination::Kind;
use stompede_core::broker::user::{encode_name, is_usable_name, send_target};
use stompede_core::limits::Limits;
use stompede_core::stomp::error::Error;

/// Publishes to the clients of a server of this process. From
/// [`Handle::publisher`](crate::Handle::publisher); cheap to clone, and every thread may have one.
///
/// What one thread publishes to one destination arrives in its order. Other threads, and other
/// destinations, have no order among each other.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
    /// By shard.
    slits: Arc<[Arc<Slit<Letter>>]>,
}

/// Why something was not published. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    // Of the caller.
    /// It cannot be published, whenever it is tried: the destination is empty, too long, a pattern
    /// or of no known kind, or the payload is over a limit of a client's SEND
    /// ([`Limits`]). What is inside is what such a client is told.
    Invalid(Error),
    // Limits.
    /// The shard that has to take it has not taken what was published before. Another time it may;
    /// the limit is of all publishers together, for each shard.
    Full {
        /// Bytes that would wait with this message.
        seen: usize,
        /// The limit in bytes, `--publisher-inbox-max`.
        limit: usize,
    },
    // Of nobody.
    /// The server drains, or has ended. It takes nothing more.
    Drained,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::Invalid(error) => error.fmt(f),
            PublishError::Full { seen, limit } => write!(
                f,
                "seen {seen} bytes waiting for a shard, limit is {limit}: \
                 publish it again later, or raise --publisher-inbox-max"
            ),
            PublishError::Drained => f.write_str("the server ends: publish nothing more"),
        }
    }
}

impl std::error::Error for PublishError {}

impl Publisher {
    /// `slits` are those of all shards, in their order.
    pub(crate) fn new(shared: Arc<Shared>, slits: Arc<[Arc<Slit<Letter>>]>) -> Publisher {
        Publisher { shared, slits }
    }

    /// Publishes to a destination: `/topic/...`, `/queue/...`, or `/app/...` for those who
    /// subscribed there (no mapping is called). A queue that is full when its shard takes the
    /// message refuses it: that is logged and counted by `stompede_queue_refused_total`.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish(
        &self,
        destination: &str,
        payload: impl Into<Payload>,
    ) -> Result<(), PublishError> {
        self.send(destination, &payload.into())
    }

    /// Sends to all sessions of a user, who subscribed `/user/queue/x` for `/queue/x`; with the id
    /// of a session ([`Context::session_id`](crate::app::Context::session_id)) in place of a user's
    /// name, to that one. Nothing waits for a user who is not there: it is counted by
    /// `stompede_messages_undeliverable_total`.
    ///
    /// # Errors
    /// See [`PublishError`]; a name that no log-in can have is
    /// [`Invalid`](PublishError::Invalid).
    pub fn send_to_user(
        &self,
        user: &str,
        destination: &str,
        payload: impl Into<Payload>,
    ) -> Result<(), PublishError> {
        if !is_usable_name(user) {
            return Err(PublishError::Invalid(Error::BadDestination));
        }
        self.send(&format!("/user/{}{destination}", encode_name(user)), &payload.into())
    }

    fn send(&self, destination: &str, payload: &Payload) -> Result<(), PublishError> {
        if self.shared.is_draining.load(Ordering::Relaxed) {
            return Err(PublishError::Drained);
        }
        let letter = self.letter(destination, payload).map_err(PublishError::Invalid)?;
        let slit = &self.slits[letter.home(self.shared.key, self.slits.len())];
        slit.post(letter).map_err(|error| match error {
            NotTaken::Full { seen, limit } => PublishError::Full { seen, limit },
            NotTaken::Ended => PublishError::Drained,
        })
    }

    /// What is to be published, after all checks that need no shard.
    fn letter(&self, destination: &str, payload: &Payload) -> Result<Letter, Error> {
        let limits = &self.shared.config.limits;
        let (seen, limit) = (destination.len(), limits.destination_bytes_max);
        if seen > limit {
            return Err(Error::DestinationTooLong { seen, limit });
        }
        let claim = self.shared.claim_for_send(destination)?;
        let is_own = |destination| send_target(destination).is_none_or(|it| it.user.is_none());
        if claim.kind == Kind::User && is_own(destination) {
            // Its own session is what a publisher has not.
            return Err(Error::BadDestination);
        }
        check_payload(destination, payload, limits)?;
        let publication = payload.to(&claim.canonical(destination));
        let arguments = match claim.kind {
            Kind::Queue => self.shared.asked_by_publisher(&publication)?,
            _ => None,
        };
        Ok(Letter { publication, kind: claim.kind, arguments })
    }
}

/// Holds a payload to the limits of a frame, so that its subscribers' parsers need no others.
fn check_payload(destination: &str, payload: &Payload, limits: &Limits) -> Result<(), Error> {
    let limit = limits.stomp_headers_count_max;
    if payload.headers().len() > limit {
        return Err(Error::TooManyHeaders { limit });
    }
    // Name, colon, value and line end.
    let lines = payload.headers().iter().map(|(name, value)| name.len() + value.len() + 2);
    let limit = limits.stomp_header_line_bytes_max;
    if lines.clone().any(|bytes| bytes > limit) {
        return Err(Error::HeaderTooLong { limit });
    }
    let head_bytes = destination.len() + lines.sum::<usize>();
    let limit = limits.stomp_head_bytes_max;
    if head_bytes > limit {
        return Err(Error::HeadTooLarge { limit });
    }
    let (seen, limit) = (head_bytes + payload.body().len(), limits.stomp_frame_bytes_max);
    if seen > limit {
        return Err(Error::FrameTooLarge { seen: seen as u64, limit: limit as u64 });
    }
    Ok(())
}
