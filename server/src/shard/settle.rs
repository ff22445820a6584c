//! ACK, NACK and transactions: what a client says about deliveries, at once or at COMMIT.
//!
//! stomp.md §1.9, §1.10.

use super::action::Action;
use super::connection::Then;
use super::deliver::is_auto_message_id;
use super::Shard;
use crate::reactor::Reactor;
use stompede_core::broker::ledger::{Kind, Ledger};
use stompede_core::broker::transaction::{self, Transactions};
use stompede_core::stomp::error::Error;

impl<R: Reactor> Shard<R> {
    pub(super) fn settle(
        &mut self,
        slot: u32,
        id: &str,
        subscription: Option<&str>,
        transaction: Option<&str>,
        is_ack: bool,
    ) -> Result<(), Error> {
        let extras = self.connections[slot as usize].extras.as_ref();
        let ledger = extras.and_then(|extras| extras.ledger.as_ref());
        let number = delivery_number(id).filter(|&number| {
            ledger.is_some_and(|ledger| ledger.check(number, subscription).is_ok())
        });
        let number = number.ok_or_else(|| self.ack_error(slot, id, subscription))?;
        let action = Action::Settle { number, subscription: subscription.map(Box::from), is_ack };
        match transaction {
            Some(transaction) => self.add_action(slot, transaction, action, id.len()),
            None => settle_in(&mut self.connections[slot as usize].extras().ledger, &action),
        }
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
        let extras = self.connections[slot as usize].extras();
        extras.transactions.get_or_insert_with(Transactions::default)
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

    /// Applies a transaction whole or not at all: its SENDs were validated when they came, and its
    /// acknowledgements, which may have been settled meanwhile, are tried on a copy of the ledger.
    pub(super) fn commit(
        &mut self,
        slot: u32,
        transaction: &str,
        receipt: Option<&str>,
    ) -> Result<(), Error> {
        let actions = self.transactions(slot).commit(transaction).map_err(transaction_error)?;
        let extras = self.connections[slot as usize].extras();
        let mut ledger = extras.ledger.clone();
        for action in &actions {
            settle_in(&mut ledger, action)?;
        }
        extras.ledger = ledger;
        let mut publications = Vec::new();
        let mut receipts = Vec::new();
        for action in actions {
            if let Action::Publish(publication, receipt) = action {
                publications.push(publication);
                receipts.extend(receipt);
            }
        }
        receipts.extend(receipt.map(Box::from));
        let asker = (!receipts.is_empty()).then(|| self.asker(slot));
        let mut answers_count = 0;
        for publication in publications {
            answers_count += usize::from(self.route(slot, publication, asker)?);
        }
        // A client that publishes to itself may have been ended as too slow by its own messages.
        if answers_count > 0 && self.connections[slot as usize].is_live() {
            self.wait_for(slot, answers_count, Then::Receipts(receipts));
        } else {
            self.push_receipts(slot, &receipts);
        }
        Ok(())
    }
}

/// The number of a delivery as we wrote it.
fn delivery_number(id: &str) -> Option<u64> {
    // `parse` alone would accept a sign and leading zeros.
    let is_ours = id.bytes().all(|b| b.is_ascii_digit()) && !id.starts_with('0');
    id.parse().ok().filter(|_| is_ours)
}

/// Settles what an ACK or NACK names; a SEND settles nothing.
fn settle_in(ledger: &mut Option<Ledger>, action: &Action) -> Result<(), Error> {
    let Action::Settle { number, subscription, is_ack } = action else { return Ok(()) };
    let ledger = ledger.as_mut().ok_or(Error::UnknownAck)?;
    // On a topic a NACK drops the message: there is no other consumer to give it to.
    let kind = if *is_ack { Kind::Ack } else { Kind::Nack };
    let settled = ledger.settle(*number, subscription.as_deref(), kind);
    settled.map(|_| ()).map_err(|_| Error::UnknownAck)
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
