//! The work of selectors, bounded: before they are there, and in each turn.
//!
//! What a selector may cost is known when it is compiled. All those of a destination together, and
//! all those of patterns, may cost `selector_sum_steps_max` for one publication; a SUBSCRIBE that
//! would make it more is refused. What selectors did cost is counted. Over
//! `SELECTOR_STEPS_PER_TURN` no further frame is taken from anybody before the next turn, so that
//! a turn is never longer than that and one publication. stomp.md §5 row 58.

use super::action::Subscribe;
use super::connection::{Phase, Then};
use super::reason::DisconnectReason;
use super::Shard;
use crate::reactor::Reactor;
use stompede_core::broker::history::Past;
use stompede_core::broker::selector::Filter;
use stompede_core::limits::SELECTOR_STEPS_PER_TURN;
use stompede_core::stomp::error::Error;

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
        self.selector_steps > SELECTOR_STEPS_PER_TURN
    }

    /// Takes no further frame of a connection before the next turn.
    pub(super) fn postpone(&mut self, slot: u32) {
        if self.connections[slot as usize].phase == Phase::Open {
            self.wait_for(slot, 1, Then::Turn);
            let asker = self.asker(slot);
            self.postponed.push(asker);
        }
    }

    /// Goes on with those that were postponed, as far as this turn's share allows.
    pub(super) fn resume_postponed(&mut self) {
        let mut postponed = std::mem::take(&mut self.postponed).into_iter();
        while !self.is_overworked() {
            let Some(asker) = postponed.next() else { return };
            self.on_answer(asker.slot, asker.generation, Past::default());
        }
        // Those that wait longest come first.
        let newer = std::mem::replace(&mut self.postponed, postponed.collect());
        self.postponed.extend(newer);
    }
}
