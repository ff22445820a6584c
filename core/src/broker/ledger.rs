//! Deliveries of one connection that wait for their ACK or NACK.
//!
//! Settled from here, not from the subscription table: an ACK that comes after UNSUBSCRIBE still
//! works, and the mode in force is the one at delivery. A cumulative ACK covers the named delivery
//! and every earlier one of the same subscription (STOMP 1.2, SUBSCRIBE `ack:client`).

use std::collections::BTreeMap;

/// What one ACK settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The named delivery and every earlier one of its subscription (`ack:client`).
    Cumulative,
    /// The named delivery alone (`ack:client-individual`).
    Individual,
}

/// How a delivery is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The client has it.
    Ack,
    /// The client refused it.
    Nack,
}

/// Why a delivery cannot be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerError {
    /// Never delivered here, settled already, or of another subscription.
    Unknown,
}

#[derive(Clone, Debug)]
struct Delivery {
    subscription: Box<str>,
    mode: Mode,
}

/// The unacknowledged deliveries of one connection, in order of delivery.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    last_number: u64,
    pending: BTreeMap<u64, Delivery>,
    /// Pending deliveries by subscription: asked for with every delivery.
    counts: BTreeMap<Box<str>, usize>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Enters a delivery; returns its number, unique in the connection and increasing.
    pub fn deliver(&mut self, subscription: &str, mode: Mode) -> u64 {
        self.last_number += 1;
        let delivery = Delivery { subscription: subscription.into(), mode };
        self.pending.insert(self.last_number, delivery);
        match self.counts.get_mut(subscription) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(subscription.into(), 1)),
        }
        self.last_number
    }

    /// Settles delivery `number`, which must belong to `subscription` where one is named. Returns
    /// how many deliveries that settled.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub fn settle(
        &mut self,
        number: u64,
        subscription: Option<&str>,
        _kind: Kind,
    ) -> Result<usize, LedgerError> {
        let delivery = self.find(number, subscription)?;
        if delivery.mode == Mode::Individual {
            self.remove(number);
            return Ok(1);
        }
        let covered: Vec<u64> = self
            .pending
            .range(..=number)
            .filter(|(_, other)| other.subscription == delivery.subscription)
            .map(|(&number, _)| number)
            .collect();
        for &number in &covered {
            self.remove(number);
        }
        Ok(covered.len())
    }

    fn remove(&mut self, number: u64) {
        let Some(delivery) = self.pending.remove(&number) else { return };
        let Some(count) = self.counts.get_mut(&delivery.subscription) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&delivery.subscription);
        }
    }

    /// Could `settle` succeed now?
    ///
    /// # Errors
    /// Those of [`Ledger::settle`].
    pub fn check(&self, number: u64, subscription: Option<&str>) -> Result<(), LedgerError> {
        self.find(number, subscription).map(|_| ())
    }

    fn find(&self, number: u64, subscription: Option<&str>) -> Result<&Delivery, LedgerError> {
        let delivery = self.pending.get(&number).ok_or(LedgerError::Unknown)?;
        match subscription {
            Some(named) if named != &*delivery.subscription => Err(LedgerError::Unknown),
            _ => Ok(delivery),
        }
    }

    /// Deliveries of `subscription` that wait.
    pub fn unacknowledged_of(&self, subscription: &str) -> usize {
        self.counts.get(subscription).copied().unwrap_or(0)
    }

    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cumulative_covers_earlier_ones_of_the_same_subscription_only() {
        let mut ledger = Ledger::new();
        let first = ledger.deliver("a", Mode::Cumulative);
        let other = ledger.deliver("b", Mode::Cumulative);
        let second = ledger.deliver("a", Mode::Cumulative);
        let third = ledger.deliver("a", Mode::Cumulative);
        assert_eq!(ledger.settle(second, None, Kind::Ack), Ok(2));
        assert_eq!(ledger.check(first, None), Err(LedgerError::Unknown));
        assert_eq!(ledger.check(other, Some("b")), Ok(()));
        assert_eq!(ledger.check(third, Some("b")), Err(LedgerError::Unknown));
        assert_eq!(ledger.settle(first, None, Kind::Ack), Err(LedgerError::Unknown));
    }

    #[test]
    fn individual_covers_one_and_names_must_agree() {
        let mut ledger = Ledger::new();
        let first = ledger.deliver("a", Mode::Individual);
        let second = ledger.deliver("a", Mode::Individual);
        assert_eq!(ledger.settle(second, Some("b"), Kind::Ack), Err(LedgerError::Unknown));
        assert_eq!(ledger.settle(second, Some("a"), Kind::Nack), Ok(1));
        assert_eq!(ledger.unacknowledged_of("a"), 1);
        assert_eq!(ledger.settle(first, None, Kind::Ack), Ok(1));
        assert!(ledger.is_empty());
    }
}
