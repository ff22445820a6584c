//! Transactions of one connection: actions are kept in order until COMMIT or ABORT (STOMP 1.2,
//! BEGIN).
//!
//! Generic over the action: what an action does is the owner's business. Dropping the table is the
//! implicit abort at the end of a connection.

use crate::limits::Limits;

/// Why a transaction command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No transaction of this id is open.
    Unknown,
    /// A transaction of this id is open already.
    Duplicate,
    /// More open transactions than allowed.
    TooMany,
    /// More actions or bytes in one transaction than allowed.
    TooLarge,
}

#[derive(Debug)]
struct Transaction<A> {
    id: Box<str>,
    actions: Vec<A>,
    bytes: usize,
}

/// The open transactions of one connection; few, so a list.
#[derive(Debug)]
pub struct Transactions<A> {
    open: Vec<Transaction<A>>,
}

impl<A> Default for Transactions<A> {
    fn default() -> Self {
        Transactions { open: Vec::new() }
    }
}

impl<A> Transactions<A> {
    /// BEGIN.
    ///
    /// # Errors
    /// [`Error::Duplicate`], [`Error::TooMany`].
    pub fn begin(&mut self, id: &str, limits: &Limits) -> Result<(), Error> {
        if self.position(id).is_ok() {
            return Err(Error::Duplicate);
        }
        if self.open.len() >= limits.transactions_count_max {
            return Err(Error::TooMany);
        }
        self.open.push(Transaction { id: id.into(), actions: Vec::new(), bytes: 0 });
        Ok(())
    }

    /// Keeps an action of `bytes` bytes.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::TooLarge`].
    pub fn push(
        &mut self,
        id: &str,
        action: A,
        bytes: usize,
        limits: &Limits,
    ) -> Result<(), Error> {
        let position = self.position(id)?;
        let transaction = &mut self.open[position];
        let total = transaction.bytes.saturating_add(bytes);
        if transaction.actions.len() >= limits.transaction_actions_count_max
            || total > limits.transaction_bytes_max
        {
            return Err(Error::TooLarge);
        }
        transaction.bytes = total;
        transaction.actions.push(action);
        Ok(())
    }

    /// COMMIT: the actions, in the order in which they came.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn commit(&mut self, id: &str) -> Result<Vec<A>, Error> {
        let position = self.position(id)?;
        Ok(self.open.remove(position).actions)
    }

    /// ABORT: forgets the actions.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn abort(&mut self, id: &str) -> Result<(), Error> {
        self.commit(id).map(|_| ())
    }

    /// Is no transaction open?
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn position(&self, id: &str) -> Result<usize, Error> {
        self.open.iter().position(|transaction| &*transaction.id == id).ok_or(Error::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_gives_the_actions_in_order_and_once() {
        let limits = Limits::default();
        let mut transactions = Transactions::default();
        transactions.begin("a", &limits).unwrap();
        transactions.begin("b", &limits).unwrap();
        transactions.push("a", 1, 10, &limits).unwrap();
        transactions.push("b", 2, 10, &limits).unwrap();
        transactions.push("a", 3, 10, &limits).unwrap();
        assert_eq!(transactions.commit("a"), Ok(vec![1, 3]));
        assert_eq!(transactions.commit("a"), Err(Error::Unknown));
        assert_eq!(transactions.abort("b"), Ok(()));
        assert_eq!(transactions.push("b", 2, 10, &limits), Err(Error::Unknown));
        assert!(transactions.is_empty());
    }

    /// Catalogue: I10.
    #[test]
    fn a_live_id_cannot_begin_again_and_limits_hold() {
        let limits = Limits {
            transactions_count_max: 1,
            transaction_actions_count_max: 2,
            transaction_bytes_max: 100,
            ..Limits::default()
        };
        let mut transactions = Transactions::default();
        transactions.begin("a", &limits).unwrap();
        assert_eq!(transactions.begin("a", &limits), Err(Error::Duplicate));
        assert_eq!(transactions.begin("b", &limits), Err(Error::TooMany));
        assert_eq!(transactions.push("a", (), 101, &limits), Err(Error::TooLarge));
        transactions.push("a", (), 100, &limits).unwrap();
        transactions.push("a", (), 0, &limits).unwrap();
        assert_eq!(transactions.push("a", (), 0, &limits), Err(Error::TooLarge));
    }
}
