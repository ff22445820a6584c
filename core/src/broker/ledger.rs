//! Deliveries of one connection that wait for their ACK or NACK.
//!
//! Settlement goes by the delivery's own terms, fixed when it was made, and not by the subscription
//! table: an ACK after UNSUBSCRIBE is legal, and a subscription id may be used again with another
//! ack mode (stomp.md §0.8, §1.9). In mode `client` an ACK covers the named delivery and every
//! earlier one of the same subscription (STOMP 1.2, SUBSCRIBE `ack:client`).
//!
//! Deliveries on the same terms form a *track*: it knows its last delivery, and each delivery the
//! one before it, so that a cumulative ACK walks what it covers and nothing else. A track that is
//! empty is kept for the next delivery while there are few, so that a delivery allocates nothing.

use super::slab::Slab;
use std::collections::BTreeMap;

/// Tracks up to which an empty one is kept.
const TRACKS_KEPT: usize = 64;

/// What one ACK settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The named delivery and every earlier one of its subscription (`ack:client`).
    Cumulative,
    /// The named delivery alone (`ack:client-individual`).
    Individual,
}

/// Who is to be told of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody: a topic forgets what it has delivered.
    Topic,
    /// The queue of this subscription, by the number that the connection gave it.
    Queue {
        /// Never reused within the connection.
        consumer: u32,
    },
}

/// What was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Who is to be told.
    pub source: Source,
    /// The tag of the named delivery, as given to [`Ledger::deliver`].
    pub tag: u64,
    /// How many deliveries that settled.
    pub count: usize,
    /// How many on the same terms still wait.
    pub left: usize,
}

/// Why a delivery cannot be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerError {
    /// Never delivered here, settled already, or of another subscription.
    Unknown,
}

#[derive(Clone, Debug)]
struct Delivery {
    track: u32,
    /// Number of the delivery before it on its track; 0 if there was none.
    previous: u64,
    tag: u64,
}

/// Deliveries of one subscription on the same terms.
#[derive(Clone, Debug)]
struct Track {
    subscription: Box<str>,
    mode: Mode,
    source: Source,
    last_number: u64,
    count: usize,
}

/// The unacknowledged deliveries of one connection, in order of delivery.
#[derive(Clone, Debug)]
pub struct Ledger {
    last_number: u64,
    pending: BTreeMap<u64, Delivery>,
    tracks: Slab<Track>,
    /// The present track of a subscription.
    names: BTreeMap<Box<str>, u32>,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            last_number: 0,
            pending: BTreeMap::new(),
            tracks: Slab::new(),
            names: BTreeMap::new(),
        }
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Enters a delivery; returns its number, unique in the connection and increasing. `tag` is
    /// what its source knows it by.
    pub fn deliver(&mut self, subscription: &str, mode: Mode, source: Source, tag: u64) -> u64 {
        let index = self.track(subscription, mode, source);
        self.last_number += 1;
        let number = self.last_number;
        if let Some(track) = self.tracks.get_mut(index) {
            let previous = std::mem::replace(&mut track.last_number, number);
            track.count += 1;
            self.pending.insert(number, Delivery { track: index, previous, tag });
        }
        number
    }

    fn track(&mut self, subscription: &str, mode: Mode, source: Source) -> u32 {
        let known = self.names.get(subscription).copied();
        if let Some((index, track)) = known.and_then(|at| Some((at, self.tracks.get(at)?))) {
            if track.mode == mode && track.source == source {
                return index;
            }
        }
        let (last_number, count) = (0, 0);
        let track = Track { subscription: subscription.into(), mode, source, last_number, count };
        let index = self.tracks.insert(track);
        if let Some(old) = self.names.insert(subscription.into(), index) {
            if self.tracks.get(old).is_some_and(|track| track.count == 0) {
                self.tracks.remove(old);
            }
        }
        index
    }

    /// Settles delivery `number`, which must belong to `subscription` where one is named.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub fn settle(
        &mut self,
        number: u64,
        subscription: Option<&str>,
    ) -> Result<Settled, LedgerError> {
        let (delivery, track) = self.find(number, subscription)?;
        let (index, tag) = (delivery.track, delivery.tag);
        let (mode, source) = (track.mode, track.source);
        let (mut at, mut count) = (number, 0);
        while let Some(delivery) = self.pending.get(&at).filter(|other| other.track == index) {
            let previous = delivery.previous;
            self.pending.remove(&at);
            count += 1;
            if mode == Mode::Individual {
                break;
            }
            at = previous;
        }
        let left = self.land(index, count);
        Ok(Settled { source, tag, count, left })
    }

    /// Takes `count` deliveries off a track; gives what is left on it.
    fn land(&mut self, index: u32, count: usize) -> usize {
        let Some(track) = self.tracks.get_mut(index) else { return 0 };
        track.count -= count;
        let left = track.count;
        let is_present = self.names.get(&track.subscription) == Some(&index);
        if left == 0 && (!is_present || self.tracks.len() > TRACKS_KEPT) {
            if let Some(track) = self.tracks.remove(index).filter(|_| is_present) {
                self.names.remove(&track.subscription);
            }
        }
        left
    }

    /// Could `settle` succeed now?
    ///
    /// # Errors
    /// Those of [`Ledger::settle`].
    pub fn check(&self, number: u64, subscription: Option<&str>) -> Result<(), LedgerError> {
        self.find(number, subscription).map(|_| ())
    }

    fn find(
        &self,
        number: u64,
        subscription: Option<&str>,
    ) -> Result<(&Delivery, &Track), LedgerError> {
        let delivery = self.pending.get(&number).ok_or(LedgerError::Unknown)?;
        let track = self.tracks.get(delivery.track).ok_or(LedgerError::Unknown)?;
        match subscription {
            Some(named) if named != &*track.subscription => Err(LedgerError::Unknown),
            _ => Ok((delivery, track)),
        }
    }

    /// Deliveries of `subscription`, on its present terms, that wait.
    pub fn unacknowledged_of(&self, subscription: &str) -> usize {
        let track = self.names.get(subscription).and_then(|&index| self.tracks.get(index));
        track.map_or(0, |track| track.count)
    }

    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CUMULATIVE: Mode = Mode::Cumulative;
    const INDIVIDUAL: Mode = Mode::Individual;

    fn count(settled: Result<Settled, LedgerError>) -> Result<usize, LedgerError> {
        settled.map(|settled| settled.count)
    }

    /// Catalogue: I09.
    #[test]
    fn cumulative_covers_earlier_ones_of_the_same_subscription_only() {
        let mut ledger = Ledger::new();
        let first = ledger.deliver("a", CUMULATIVE, Source::Topic, 0);
        let other = ledger.deliver("b", CUMULATIVE, Source::Topic, 0);
        let second = ledger.deliver("a", CUMULATIVE, Source::Topic, 0);
        let third = ledger.deliver("a", CUMULATIVE, Source::Topic, 0);
        assert_eq!(count(ledger.settle(second, None)), Ok(2));
        assert_eq!(ledger.check(first, None), Err(LedgerError::Unknown));
        assert_eq!(ledger.check(other, Some("b")), Ok(()));
        assert_eq!(ledger.check(third, Some("b")), Err(LedgerError::Unknown));
        assert_eq!(count(ledger.settle(first, None)), Err(LedgerError::Unknown));
    }

    #[test]
    fn individual_covers_one_and_names_must_agree() {
        let mut ledger = Ledger::new();
        let first = ledger.deliver("a", INDIVIDUAL, Source::Topic, 0);
        let second = ledger.deliver("a", INDIVIDUAL, Source::Topic, 0);
        assert_eq!(count(ledger.settle(second, Some("b"))), Err(LedgerError::Unknown));
        assert_eq!(count(ledger.settle(second, Some("a"))), Ok(1));
        assert_eq!(ledger.unacknowledged_of("a"), 1);
        assert_eq!(count(ledger.settle(first, None)), Ok(1));
        assert!(ledger.is_empty());
    }

    /// Catalogue: I08.
    #[test]
    fn an_id_used_again_on_other_terms_is_another_track() {
        // stomp.md §1.9: "the ack mode is the one in force at delivery time".
        let mut ledger = Ledger::new();
        let queue = Source::Queue { consumer: 7 };
        let old = [1, 2].map(|tag| ledger.deliver("a", CUMULATIVE, queue, tag));
        let new = ledger.deliver("a", INDIVIDUAL, Source::Topic, 0);
        assert_eq!(count(ledger.settle(new, Some("a"))), Ok(1));
        let settled = ledger.settle(old[1], Some("a"));
        assert_eq!(settled, Ok(Settled { source: queue, tag: 2, count: 2, left: 0 }));
        // Its empty track is not the present one and goes at once.
        assert_eq!((ledger.tracks.len(), ledger.names.len()), (1, 1));
    }

    #[test]
    fn empty_tracks_are_few() {
        let mut ledger = Ledger::new();
        for number in 0..1_000 {
            ledger.deliver(&number.to_string(), INDIVIDUAL, Source::Topic, 0);
        }
        for number in 1..=1_000 {
            assert_eq!(count(ledger.settle(number, None)), Ok(1));
        }
        assert!(ledger.is_empty());
        assert!(ledger.tracks.len() <= TRACKS_KEPT && ledger.names.len() <= TRACKS_KEPT);
    }

    proptest! {
        /// Against a list that is looked through from the beginning.
        /// Catalogue: I06, I09.
        #[test]
        fn agrees_with_a_plain_list(
            steps in prop::collection::vec((0..3_usize, any::<bool>(), 0..60_u64), 0..200),
        ) {
            let mut ledger = Ledger::new();
            let mut list: Vec<(u64, usize)> = Vec::new();
            // The third subscription is individual.
            let mode = |at| if at == 2 { INDIVIDUAL } else { CUMULATIVE };
            for (at, is_delivery, number) in steps {
                if is_delivery {
                    let name = ["a", "b", "c"][at];
                    list.push((ledger.deliver(name, mode(at), Source::Topic, number), at));
                    continue;
                }
                let found = list.iter().find(|(other, _)| *other == number).copied();
                let settled = count(ledger.settle(number, None));
                let Some((_, at)) = found else {
                    prop_assert_eq!(settled, Err(LedgerError::Unknown));
                    continue;
                };
                let before = list.len();
                list.retain(|&(other, track)| {
                    let is_covered = other == number || (other < number && mode(at) == CUMULATIVE);
                    track != at || !is_covered
                });
                prop_assert_eq!(settled, Ok(before - list.len()));
                prop_assert_eq!(ledger.is_empty(), list.is_empty());
            }
        }
    }
}
