//! The work of selectors, bounded: before they are there, and in each turn.
//!
//! What a selector may cost is known when it is compiled. All those of a destination together, and
//! all those of patterns, may cost `selector_sum_steps_max` for one publication; a SUBSCRIBE that
//! would make it more is refused. What selectors did cost is counted. Over
//! `selector_turn_steps_max` no further frame is taken from anybody before the next turn, and a
//! transaction that was committed is left where it stands, so that a turn is never longer than that
//! and one publication. Who was postponed goes on in turn; the client of a transaction waits for
//! its end, so that nothing that it sends later overtakes it. stomp.md §5 row 58.

use super::action::{Asker, Subscribe};
use super::connection::{Phase, Then};
use super::reason::DisconnectReason;
use super::Shard;
use crate::reactor::Reactor;
use std::collections::VecDeque;
use std::sync::Arc;
use stompede_core::broker::history::Past;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::selector::Filter;
use stompede_core::stomp::error::Error;

/// What goes on in the next turn.
pub(super) enum Postponed {
    /// The frames of a connection.
    Connection(Asker),
    /// What was committed: nothing of it can be refused any more.
    Transaction(Rest),
}

/// What is left to do here of a transaction.
pub(super) struct Rest {
    /// Whose it is.
    pub(super) asker: Asker,
    /// Does it wait for the end?
    pub(super) is_awaited: bool,
    /// In order.
    pub(super) publications: VecDeque<Arc<Publication>>,
}

impl<R: Reactor> Shard<R> {
    /// Refuses a subscription, not entered yet, whose selector is one too many. Says whether it
    /// did.
    pub(super) fn refuse_costly(&mut self, slot: u32, subscribe: &Subscribe) -> bool {
        let Some(filter) = &subscribe.terms.filter else { return false };
        let destination = &subscribe.destination;
        let Err(error) = self.check_cost(destination, filter) else { return false };
        if !self.subscriptions.has_subscribers(destination) {
            let is_pattern = matches!(self.pattern(destination), Ok(Some(_)));
            self.withdraw_interest(destination.clone(), is_pattern);
        }
        let receipt = subscribe.receipt.as_deref();
        self.fail_stomp(slot, &error, receipt, DisconnectReason::StompError);
        true
    }

    /// May there be this selector of a destination, too?
    ///
    /// # Errors
    /// [`Error::SelectorsTooCostly`].
    pub(super) fn check_cost(&self, destination: &str, filter: &Filter) -> Result<(), Error> {
        let is_pattern = matches!(self.pattern(destination), Ok(Some(_)));
        let known = self.subscriptions.filter_steps(destination, is_pattern);
        let seen = known + u64::from(filter.steps_most());
        let limit = self.shared.config.limits.selector_sum_steps_max;
        match seen > limit {
            true => Err(Error::SelectorsTooCostly { seen, limit }),
            false => Ok(()),
        }
    }

    /// Have selectors had their share of this turn?
    pub(super) fn is_overworked(&self) -> bool {
        self.selector_steps > self.shared.config.limits.selector_turn_steps_max
    }

    /// Takes no further frame of a connection before the next turn.
    pub(super) fn postpone(&mut self, slot: u32) {
        if self.connections[slot as usize].phase == Phase::Open {
            self.wait_for(slot, 1, Then::Turn);
            let asker = self.asker(slot);
            self.postponed.push_back(Postponed::Connection(asker));
        }
    }

    /// Goes on with what was postponed, as far as this turn's share allows.
    pub(super) fn resume_postponed(&mut self) {
        // Those that wait longest come first; who is postponed again meanwhile comes behind.
        for _ in 0..self.postponed.len() {
            if self.is_overworked() {
                return;
            }
            match self.postponed.pop_front() {
                Some(Postponed::Connection(asker)) => {
                    self.on_answer(asker.slot, asker.generation, Past::default());
                }
                Some(Postponed::Transaction(rest)) => self.resume_transaction(rest),
                None => return,
            }
        }
    }

    fn resume_transaction(&mut self, rest: Rest) {
        let Rest { asker, is_awaited, .. } = rest;
        match self.work_off(rest) {
            Some(rest) => self.postponed.push_back(Postponed::Transaction(rest)),
            None if !is_awaited => {}
            None if asker.shard == self.index => {
                self.on_answer(asker.slot, asker.generation, Past::default());
            }
            None => self.answer_asker(Some(asker)),
        }
    }

    /// Publishes as much of a transaction as this turn's share allows; gives what is left.
    pub(super) fn work_off(&mut self, mut rest: Rest) -> Option<Rest> {
        while !self.is_overworked() {
            self.order(rest.publications.pop_front()?);
        }
        (!rest.publications.is_empty()).then_some(rest)
    }
}
