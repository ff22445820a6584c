//! COMMIT: SENDs, ACKs and NACKs of a transaction, whole or not at all, on any number of shards.
//!
//! What can be refused is checked first: acknowledgements on a copy of the ledger, and room in
//! queues is reserved at each home. Only when every home has granted it, each gets its part as one
//! message, and nothing can stop that any more: it is done at once, or, if selectors make it long,
//! in several turns ([`super::super::work`]). If a home refuses or the connection ends meanwhile,
//! the others give the room back and nothing has happened. stomp.md §1.10, §5 row 71.

use super::super::action::{Action, Asker, Batch, Message, Room, Step, Wanted};
use super::super::connection::Then;
use super::super::settle::{settle_in, transaction_error};
use super::super::work::Postponed;
use super::super::Shard;
use crate::reactor::Reactor;
use std::collections::BTreeMap;
use std::sync::Arc;
use stompede_core::broker::destination::Kind;
use stompede_core::broker::ledger::Source;
use stompede_core::broker::publication::Publication;
use stompede_core::stomp::error::Error;

/// What each home has to do.
type Parts = BTreeMap<usize, Vec<Step>>;

/// A COMMIT that waits for room in queues.
#[derive(Debug)]
pub struct Commit {
    actions: Vec<Action>,
    /// That of the COMMIT itself.
    pub(super) receipt: Option<Box<str>>,
    /// Shards that were asked for room, this one included.
    homes: Vec<usize>,
}

impl<R: Reactor> Shard<R> {
    /// Applies a transaction whole or not at all: its SENDs were validated when they came, its
    /// acknowledgements may have been settled meanwhile, its queues may be full.
    pub(in super::super) fn commit(
        &mut self,
        slot: u32,
        transaction: &str,
        receipt: Option<&str>,
    ) -> Result<(), Error> {
        let actions = self.transactions(slot).commit(transaction).map_err(transaction_error)?;
        let actions = self.with_services(slot, actions)?;
        let mut ledger = self.connections[slot as usize].stomp().ledger.clone();
        for action in &actions {
            settle_in(&mut ledger, action)?;
        }
        let receipt = receipt.map(Box::from);
        let mut wanted = self.wanted(slot, &actions)?;
        let homes: Vec<usize> = wanted.keys().copied().collect();
        let asker = self.asker(slot);
        if let Some(here) = wanted.remove(&self.index) {
            self.reserve_here(asker, &here)?;
        }
        let commit = Commit { actions, receipt, homes };
        if wanted.is_empty() {
            self.apply_commit(slot, commit);
            return Ok(());
        }
        let answers_count = wanted.len();
        for (home, wanted) in wanted {
            self.mesh.push(home, Message::Reserve(Box::new((asker, wanted))));
        }
        self.wait_for(slot, answers_count, Then::Commit(Box::new(commit)));
        Ok(())
    }

    /// The same, with each SEND that a service gets bound for its queue.
    fn with_services(&self, slot: u32, actions: Vec<Action>) -> Result<Vec<Action>, Error> {
        let bind = |action| match action {
            Action::Publish(publication, receipt) if self.is_for_service(&publication) => {
                let publication = self.for_service(slot, &publication)?;
                Ok(Action::Publish(Arc::new(publication), receipt))
            }
            other => Ok(other),
        };
        actions.into_iter().map(bind).collect()
    }

    /// What the broker does with a publication of a transaction.
    fn kind_of(&self, publication: &Publication) -> Result<Kind, Error> {
        match publication.queue() {
            Some(_) => Ok(Kind::Queue),
            None => self.kind(publication.destination()),
        }
    }

    /// The room that the SENDs need, by home.
    fn wanted(&self, slot: u32, actions: &[Action]) -> Result<BTreeMap<usize, Wanted>, Error> {
        let mut wanted: BTreeMap<usize, Wanted> = BTreeMap::new();
        for action in actions {
            let Action::Publish(publication, _) = action else { continue };
            if self.kind_of(publication)? != Kind::Queue {
                continue;
            }
            let (name, bytes) = (publication.queue_name(), publication.bytes());
            let arguments = self.asked_of_queue(slot, publication)?;
            let there = wanted.entry(self.home(name)).or_default();
            match there.iter_mut().find(|room| *room.name == *name) {
                Some(room) => {
                    room.count += 1;
                    room.bytes += bytes;
                    // Of several that ask, the first does.
                    room.arguments = room.arguments.take().or(arguments);
                }
                None => there.push(Room { name: name.into(), count: 1, bytes, arguments }),
            }
        }
        Ok(wanted)
    }

    /// Nothing can be refused any more: every home does its part.
    pub(in super::super) fn apply_commit(&mut self, slot: u32, commit: Commit) {
        let Commit { actions, receipt, .. } = commit;
        let asker = self.asker(slot);
        let mut batches = Parts::new();
        let mut receipts = Vec::new();
        // What goes to sessions and mappings and not to the home of its name.
        let mut others = Vec::new();
        for action in actions {
            match &action {
                Action::Settle { settlement, .. } => {
                    let ledger = &mut self.connections[slot as usize].stomp().ledger;
                    // Was tried; the frames behind COMMIT wait, so nothing has changed.
                    let Ok(Some(settled)) = settle_in(ledger, &action) else { continue };
                    let Source::Queue { consumer: number } = settled.source else { continue };
                    if let Some((home, queue, consumer)) = self.route(slot, number) {
                        let (tag, settlement) = (settled.tag, *settlement);
                        let step = Step::Settle { queue, consumer, tag, settlement };
                        batches.entry(home).or_default().push(step);
                    }
                    self.forget_settled(slot, settled);
                }
                Action::Publish(publication, inner) => {
                    receipts.extend(inner.clone());
                    let kind = self.kind_of(publication);
                    if let Ok(kind @ (Kind::User | Kind::ReplyQueue | Kind::App)) = kind {
                        others.push((publication.clone(), kind));
                        continue;
                    }
                    self.metrics.messages_published.inc();
                    let home = self.home(publication.queue_name());
                    let publication = publication.clone();
                    let step = match kind {
                        Ok(Kind::Queue) => {
                            // Was read when it came; the time counts from COMMIT.
                            let expires_ms = self.expires_ms(&publication).unwrap_or_default();
                            Step::Enqueue(publication, expires_ms)
                        }
                        _ => Step::Publish(publication),
                    };
                    batches.entry(home).or_default().push(step);
                }
            }
        }
        receipts.extend(receipt);
        let is_awaited = !receipts.is_empty();
        let mut answers_count = self.hand_out(asker, batches, is_awaited);
        for (publication, kind) in others {
            let asker = is_awaited.then_some(asker);
            // The kinds are those that can be passed on.
            answers_count += usize::from(self.pass_on(slot, publication, kind, asker) == Ok(true));
        }
        // A client that publishes to itself may have been ended as too slow by its own messages.
        if answers_count > 0 && self.connections[slot as usize].is_live() {
            return self.wait_for(slot, answers_count, Then::Receipts(receipts));
        }
        self.push_receipts(slot, &receipts);
        if self.is_overworked() {
            self.postpone(slot);
        }
    }

    /// Gives every home its part; says how many will answer.
    fn hand_out(&mut self, asker: Asker, mut parts: Parts, is_awaited: bool) -> usize {
        let mut answers_count = 0;
        let here = parts.remove(&self.index);
        for (home, steps) in parts {
            // Publications may take more than a turn there: nothing sent later may overtake them.
            let is_long = steps.iter().any(|step| matches!(step, Step::Publish(_)));
            let is_awaited = is_awaited || is_long;
            answers_count += usize::from(is_awaited);
            self.mesh.push(home, Message::Apply(Box::new(Batch { asker, is_awaited, steps })));
        }
        if let Some(steps) = here {
            if let Some(rest) = self.apply(Batch { asker, is_awaited: true, steps }) {
                answers_count += 1;
                self.postponed.push_back(Postponed::Transaction(rest));
            }
        }
        answers_count
    }

    /// The connection ends while its COMMIT waits: nothing happens.
    pub(in super::super) fn roll_back(&mut self, slot: u32, commit: &Commit) {
        let asker = self.asker(slot);
        for &home in &commit.homes {
            if home == self.index {
                self.release_here(asker);
            } else {
                self.mesh.push(home, Message::Release(asker));
            }
        }
    }
}
