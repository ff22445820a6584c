//! What [`crate::publisher`] brings from other threads of this process: each letter comes to the
//! home shard of its destination and takes its place there as a SEND does.
//!
//! It has no sender, so nobody can be told afterwards that a queue was full; that is logged and
//! counted. As from clients, nothing is taken while a ring to another shard is full: the letters
//! wait in their inbox, whose bound is the publisher's to hear of. A bounded number is taken in a
//! turn.

use super::{Shard, Shared, MESH_MESSAGES_PER_TURN};
use crate::inbox::{Inbox, Weighed};
use crate::mesh::Doorbell;
use crate::reactor::Reactor;
use std::sync::Arc;
use stompede_core::broker::destination::{home_shard, Kind};
use stompede_core::broker::publication::Publication;
use stompede_core::broker::queue::arguments::Arguments;
use stompede_core::broker::reply;
use stompede_core::broker::user::{send_target, session_of};

/// Something to publish; all that can be refused without its home was looked at.
#[derive(Debug)]
pub(crate) struct Letter {
    /// With the canonical name of its destination.
    pub(crate) publication: Arc<Publication>,
    /// That of its destination.
    pub(crate) kind: Kind,
    /// What it asks of its queue.
    pub(crate) arguments: Option<Box<Arguments>>,
}

impl Weighed for Letter {
    fn bytes(&self) -> usize {
        size_of::<Letter>() + self.publication.bytes()
    }
}

/// A shard's inbox for letters.
pub(crate) fn inbox(doorbell: Arc<Doorbell>, shared: &Shared) -> Inbox<Letter> {
    Inbox::new(doorbell, shared.config.limits.publisher_inbox_bytes_max)
}

impl Letter {
    /// The shard that has to take it, of so many: always the same for one destination, which keeps
    /// the order.
    pub(crate) fn home(&self, key: u64, shards_count: usize) -> usize {
        let destination = self.publication.destination();
        let shard = match self.kind {
            Kind::User => {
                let user = send_target(destination).and_then(|target| target.user);
                let name = user.as_deref().unwrap_or_default();
                let session = session_of(key, name).map(|session| session.shard as usize);
                session.unwrap_or_else(|| home_shard(key, name, shards_count))
            }
            Kind::ReplyQueue => reply::shard_of(destination).map_or(0, |shard| shard as usize),
            _ => home_shard(key, destination, shards_count),
        };
        // A reply queue that there never was may name a shard that there is not.
        if shard < shards_count {
            shard
        } else {
            0
        }
    }
}

impl<R: Reactor> Shard<R> {
    /// Publishes what publishers sent, a bounded number in a turn.
    pub(super) fn take_letters(&mut self) {
        for _ in 0..MESH_MESSAGES_PER_TURN {
            if self.is_overworked() || self.mesh.overflow_count() > 0 {
                return;
            }
            let Some(letter) = self.letters.take() else { return };
            self.metrics.messages_published.inc();
            self.publish_letter(letter);
        }
    }

    fn publish_letter(&mut self, letter: Letter) {
        let Letter { publication, kind, arguments } = letter;
        match kind {
            Kind::Queue => {
                let entered = self.expires_ms(&publication).and_then(|expires_ms| {
                    self.enqueue(publication.clone(), expires_ms, arguments.as_deref())
                });
                if let Err(error) = entered {
                    self.on_letter_refused(publication.destination(), &error.to_string());
                }
            }
            Kind::User => self.publish_to_named(publication),
            Kind::ReplyQueue => drop(self.publish_reply(publication, None)),
            // Nobody can subscribe to a temporary queue of a publisher: it was refused before.
            Kind::Topic | Kind::App | Kind::TempQueue => self.order(publication),
        }
    }

    fn on_letter_refused(&mut self, destination: &str, error: &str) {
        if self.may_log("publisher") {
            let shard = self.index;
            tracing::warn!(shard, ?destination, error, "a queue refused what a publisher sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::mesh::connect;
    use crate::publisher::{PublishError, Publisher};
    use crate::reactor::sim::{Faults, Read, SimNet, SimReactor};
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::Ordering;
    use std::task::{Context, Waker};

    fn turns(shard: &mut Shard<SimReactor>) {
        for _ in 0..20 {
            let _ = pin!(shard.turn()).poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    #[test]
    fn a_letter_wakes_its_shard_and_is_refused_when_there_is_none() {
        let config = Config { shards: 1, ..Config::default() };
        let shared = Arc::new(Shared::new(config, 1, "sim").unwrap());
        let doorbell = [Doorbell::new().unwrap()];
        let net = SimNet::new(1, Faults::default(), 64, doorbell[0].fd());
        let mesh = connect(&doorbell, 8).pop().unwrap();
        let letters = inbox(doorbell[0].clone(), &shared);
        let publisher = Publisher::new(shared.clone(), [letters.slit()].into());
        let shard = Shard::new(0, shared.clone(), net.reactor(), mesh);
        let mut shard = shard.with_letters(letters);
        let client = net.connect(1, 1 << 16);
        net.write(client, b"CONNECT\naccept-version:1.2\nhost:a\n\n\0");
        net.write(client, b"SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\0");
        turns(&mut shard);
        assert!(matches!(net.read(client, 1 << 16), Read::Bytes(_)), "CONNECTED");
        for body in ["one", "two"] {
            assert!(!net.has_work(), "it sleeps");
            assert_eq!(publisher.publish("/topic/a", body), Ok(()));
            assert!(net.has_work(), "the bell rang");
            turns(&mut shard);
            let Read::Bytes(bytes) = net.read(client, 1 << 16) else { panic!("no MESSAGE") };
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with("MESSAGE\n") && text.ends_with(&format!("{body}\0")));
        }
        shared.is_draining.store(true, Ordering::Relaxed);
        assert_eq!(publisher.publish("/topic/a", "late"), Err(PublishError::Drained));
        shared.is_draining.store(false, Ordering::Relaxed);
        drop(shard);
        assert_eq!(publisher.publish("/topic/a", "later"), Err(PublishError::Drained));
    }
}
