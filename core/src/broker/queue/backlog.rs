//! The messages of a queue that wait for a consumer, in the order of publication.
//!
//! Never delivered ones stand in a ring, 24 bytes each; only ends of the ring are touched while
//! consumers keep up. Taking one from the middle (a selector, an expiry) leaves a hole; holes are
//! swept when they are the most, so each costs O(1) over time. Returned ones stand in a tree beside
//! the ring, by their old number: they are few, and going back never shifts the ring.
//! A tree of (time, number) finds what has expired, for messages that can.

use super::super::publication::Publication;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Time of expiry of a message that has none.
pub(super) const NEVER: u64 = u64::MAX;

/// Slots that an empty ring may keep.
const SLOTS_KEPT: usize = 64;

#[derive(Debug)]
pub(super) struct Message {
    pub(super) publication: Arc<Publication>,
    /// Place in the order of publication.
    pub(super) sequence: u64,
    pub(super) expires_ms: u64,
    pub(super) deliveries: u32,
}

#[derive(Debug)]
struct Slot {
    sequence: u64,
    expires_ms: u64,
    /// A hole when taken.
    publication: Option<Arc<Publication>>,
}

/// How far a selective consumer has looked: everything before is not for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    fresh: u64,
    returned: u64,
}

impl Cursor {
    /// A message came back: it must be looked at again.
    pub(super) fn rewind(&mut self, sequence: u64) {
        self.returned = self.returned.min(sequence);
    }
}

/// What a selective consumer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// The first message it wants.
    Found(u64),
    /// Nothing that waits is for it.
    Nothing,
    /// The budget of work ended first.
    Paused,
}

#[derive(Debug, Default)]
pub(super) struct Backlog {
    fresh: VecDeque<Slot>,
    holes: usize,
    returned: BTreeMap<u64, Message>,
    expirations: BTreeSet<(u64, u64)>,
    bytes: usize,
}

impl Backlog {
    /// Messages that wait.
    pub(super) fn len(&self) -> usize {
        self.fresh.len() - self.holes + self.returned.len()
    }

    /// Bytes of the messages that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a new message; its number is above all others.
    pub(super) fn push(&mut self, sequence: u64, expires_ms: u64, publication: Arc<Publication>) {
        self.enter(sequence, expires_ms, &publication);
        self.fresh.push_back(Slot { sequence, expires_ms, publication: Some(publication) });
    }

    /// Puts a message back where it was in the order.
    pub(super) fn put_back(&mut self, message: Message) {
        self.enter(message.sequence, message.expires_ms, &message.publication);
        self.returned.insert(message.sequence, message);
    }

    fn enter(&mut self, sequence: u64, expires_ms: u64, publication: &Publication) {
        self.bytes += publication.bytes();
        if expires_ms != NEVER {
            self.expirations.insert((expires_ms, sequence));
        }
    }

    /// The first message in order.
    pub(super) fn first(&self) -> Option<u64> {
        let returned = self.returned.first_key_value().map(|(sequence, _)| *sequence);
        // The ring never starts with a hole.
        let fresh = self.fresh.front().map(|slot| slot.sequence);
        match (returned, fresh) {
            (Some(returned), Some(fresh)) => Some(returned.min(fresh)),
            (returned, fresh) => returned.or(fresh),
        }
    }

    /// The message that has been expired longest: its time is before `now_ms`.
    pub(super) fn first_expired(&self, now_ms: u64) -> Option<u64> {
        self.expirations.first().filter(|(time, _)| *time < now_ms).map(|(_, sequence)| *sequence)
    }

    /// Takes a message out.
    pub(super) fn take(&mut self, sequence: u64) -> Option<Message> {
        let message = match self.returned.remove(&sequence) {
            Some(message) => message,
            None => self.take_fresh(sequence)?,
        };
        self.bytes -= message.publication.bytes();
        if message.expires_ms != NEVER {
            self.expirations.remove(&(message.expires_ms, sequence));
        }
        Some(message)
    }

    fn take_fresh(&mut self, sequence: u64) -> Option<Message> {
        let at = match self.fresh.front()?.sequence == sequence {
            true => 0,
            false => self.fresh.binary_search_by_key(&sequence, |slot| slot.sequence).ok()?,
        };
        let slot = &mut self.fresh[at];
        let publication = slot.publication.take()?;
        let expires_ms = slot.expires_ms;
        self.holes += 1;
        self.sweep();
        Some(Message { publication, sequence, expires_ms, deliveries: 0 })
    }

    /// Keeps the ring's front live, holes in the minority, and unused room bounded.
    fn sweep(&mut self) {
        while self.fresh.front().is_some_and(|slot| slot.publication.is_none()) {
            self.fresh.pop_front();
            self.holes -= 1;
        }
        if self.holes > self.fresh.len() / 2 {
            self.fresh.retain(|slot| slot.publication.is_some());
            self.holes = 0;
        }
        let room = self.fresh.capacity();
        if room > SLOTS_KEPT && self.fresh.len() < room / 4 {
            self.fresh.shrink_to(room / 2);
        }
    }

    /// Looks on from `cursor` for the first message that `is_wanted`, which says `None` when the
    /// work must stop here.
    pub(super) fn search(
        &self,
        cursor: &mut Cursor,
        mut is_wanted: impl FnMut(&Publication) -> Option<bool>,
    ) -> Search {
        let start = self.fresh.partition_point(|slot| slot.sequence < cursor.fresh);
        let mut fresh = self.fresh.range(start..).filter_map(|slot| {
            slot.publication.as_ref().map(|publication| (slot.sequence, publication))
        });
        let mut returned = self
            .returned
            .range(cursor.returned..)
            .map(|(sequence, message)| (*sequence, &message.publication));
        let (mut next_fresh, mut next_returned) = (fresh.next(), returned.next());
        loop {
            let first = match (next_fresh, next_returned) {
                (Some(fresh), Some(returned)) => {
                    Some(if fresh.0 < returned.0 { fresh } else { returned })
                }
                (fresh, returned) => fresh.or(returned),
            };
            let Some((sequence, publication)) = first else { return Search::Nothing };
            match is_wanted(publication) {
                None => return Search::Paused,
                Some(true) => return Search::Found(sequence),
                Some(false) if next_fresh.is_some_and(|fresh| fresh.0 == sequence) => {
                    cursor.fresh = sequence + 1;
                    next_fresh = fresh.next();
                }
                Some(false) => {
                    cursor.returned = sequence + 1;
                    next_returned = returned.next();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication() -> Arc<Publication> {
        Arc::new(Publication::new("/queue/a", std::iter::empty::<(&str, &str)>(), b""))
    }

    #[test]
    fn a_waiting_message_costs_24_bytes_and_its_publication() {
        assert_eq!(size_of::<Slot>(), 24);
    }

    #[test]
    fn holes_are_swept_and_room_is_given_back() {
        let mut backlog = Backlog::default();
        for sequence in 0..10_000 {
            backlog.push(sequence, NEVER, publication());
        }
        // The first stays, as for a selector that nobody has: the rest are holes behind it.
        for sequence in 1..10_000 {
            assert!(backlog.take(sequence).is_some());
            assert!(backlog.holes <= backlog.fresh.len() / 2);
        }
        assert_eq!((backlog.len(), backlog.first()), (1, Some(0)));
        assert!(backlog.fresh.capacity() <= 4 * SLOTS_KEPT);
        assert!(backlog.take(0).is_some() && backlog.take(0).is_none());
        assert_eq!((backlog.len(), backlog.bytes(), backlog.fresh.len()), (0, 0, 0));
    }

    #[test]
    fn a_returned_message_goes_before_later_ones() {
        let mut backlog = Backlog::default();
        for sequence in 0..4 {
            backlog.push(sequence, NEVER, publication());
        }
        let [first, _, third] = [0, 1, 2].map(|sequence| backlog.take(sequence).unwrap());
        backlog.put_back(third);
        backlog.put_back(first);
        let mut seen = Vec::new();
        while let Some(sequence) = backlog.first() {
            backlog.take(sequence);
            seen.push(sequence);
        }
        assert_eq!(seen, [0, 2, 3]);
    }
}
