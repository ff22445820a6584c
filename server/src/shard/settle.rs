//! ACK, NACK and transactions: what a client says about deliveries, at once or at COMMIT.
//!
//! COMMIT itself is in [`super::queues`], because queues may refuse it. stomp.md §1.9, §1.10.

use super::action::Action;
use super::deliver::is_auto_message_id;
use super::Shard;
use crate::reactor::Reactor;
use stompede_core::broker::destination::Profile;
use stompede_core::broker::ledger::{Ledger, Settled};
use stompede_core::broker::queue::Settlement;
use stompede_core::broker::transaction::{self, Transactions};
use stompede_core::stomp::error::Error;

impl<R: Reactor> Shard<R> {
    pub(super) fn settle(
        &mut self,
        slot: u32,
        id: &str,
        subscription: Option<&str>,
        transaction: Option<&str>,
        settlement: Settlement,
    ) -> Result<(), Error> {
        // RabbitMQ looks at the message id alone, which is unique in a connection.
        let is_rabbitmq = self.shared.config.profile == Profile::RabbitMq;
        let subscription = subscription.filter(|_| !is_rabbitmq);
        let number = delivery_number(id);
        if let Some(transaction) = transaction {
            let ledger = self.connections[slot as usize].ledger();
            let is_known = |number| ledger.is_some_and(|it| it.check(number, subscription).is_ok());
            let number = number.filter(|&number| is_known(number));
            let number = number.ok_or_else(|| self.ack_error(slot, id, subscription))?;
            let subscription = subscription.map(Box::from);
            let action = Action::Settle { number, subscription, settlement };
            return self.add_action(slot, transaction, action, id.len());
        }
        let settled = number.and_then(|number| {
            let ledger = self.connections[slot as usize].stomp().ledger.as_mut()?;
            ledger.settle(number, subscription).ok()
        });
        let settled = settled.ok_or_else(|| self.ack_error(slot, id, subscription))?;
        // On a topic a NACK drops the message: there is no other consumer to give it to.
        self.settle_delivery(slot, settled, settlement);
        Ok(())
    }

    /// Why an acknowledgement of something that waits for none is refused.
    fn ack_error(&self, slot: u32, id: &str, subscription: Option<&str>) -> Error {
        let head = self.connections[slot as usize].subscriptions;
        let named = subscription.and_then(|id| self.subscriptions.find(head, Some(id), None));
        let is_auto = match named {
            Some(key) => !self.subscriptions.class(key).explicit_ack,
            None => is_auto_message_id(id),
        };
        if is_auto {
            Error::AckOnAuto
        } else {
            Error::UnknownAck
        }
    }

    pub(super) fn transactions(&mut self, slot: u32) -> &mut Transactions<Action> {
        let stomp = self.connections[slot as usize].stomp();
        stomp.transactions.get_or_insert_with(Transactions::default)
    }

    pub(super) fn add_action(
        &mut self,
        slot: u32,
        transaction: &str,
        action: Action,
        bytes: usize,
    ) -> Result<(), Error> {
        let shared = self.shared.clone();
        self.transactions(slot)
            .push(transaction, action, bytes, &shared.config.limits)
            .map_err(transaction_error)
    }
}

/// The number of a delivery as we wrote it.
fn delivery_number(id: &str) -> Option<u64> {
    // `parse` alone would accept a sign and leading zeros.
    let is_ours = id.bytes().all(|b| b.is_ascii_digit()) && !id.starts_with('0');
    id.parse().ok().filter(|_| is_ours)
}

/// Settles what an ACK or NACK names; a SEND settles nothing.
pub(super) fn settle_in(
    ledger: &mut Option<Ledger>,
    action: &Action,
) -> Result<Option<Settled>, Error> {
    let Action::Settle { number, subscription, .. } = action else { return Ok(None) };
    let ledger = ledger.as_mut().ok_or(Error::UnknownAck)?;
    let settled = ledger.settle(*number, subscription.as_deref());
    settled.map(Some).map_err(|_| Error::UnknownAck)
}

/// The answer to a transaction that cannot be.
pub(super) fn transaction_error(error: transaction::Error) -> Error {
    match error {
        transaction::Error::Unknown => Error::UnknownTransaction,
        transaction::Error::Duplicate => Error::DuplicateTransaction,
        transaction::Error::TooMany => Error::TooManyTransactions,
        transaction::Error::TooLarge => Error::TransactionTooLarge,
    }
}
