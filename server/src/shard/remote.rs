//! What other shards sent, and what is sent to them: publications, interest, answers.

use super::action::{Asker, Message, Placed};
use super::connection::{Phase, Then, Transport};
use super::groups::is_group;
use super::guard::panic_as_asked;
use super::work::Postponed;
use super::{Shard, MESH_MESSAGES_PER_TURN};
use crate::reactor::Reactor;
use std::sync::Arc;
use stompede_core::broker::destination::Kind;
use stompede_core::broker::history::Past;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::user::is_internal;

impl<R: Reactor> Shard<R> {
    /// Takes a bounded number of messages from every other shard.
    pub(super) fn take_messages(&mut self) {
        let count = self.mesh.shards_count();
        for place in 0..count {
            let source = (place + self.turns_count) % count;
            for _ in 0..MESH_MESSAGES_PER_TURN {
                if self.is_overworked() {
                    break;
                }
                let Some(message) = self.mesh.pop(source) else { break };
                match message.receiver() {
                    Some(slot) => self.guarded(slot, |shard| shard.on_message(source, message)),
                    None => self.on_message(source, message),
                }
            }
        }
        self.take_app_posts();
        while let Some((asker, is_accepted)) = self.password_checks.take() {
            match is_accepted {
                Some(is) => self.guarded(asker.slot, |shard| shard.on_login_checked(asker, is)),
                None => self.on_panic_elsewhere(asker),
            }
        }
        while let Some((asker, reply)) = self.file_reads.take() {
            match reply {
                Some(reply) => self.guarded(asker.slot, |shard| shard.on_file(asker, reply)),
                None => self.on_panic_elsewhere(asker),
            }
        }
        self.take_posts();
        self.take_letters();
    }

    fn on_message(&mut self, source: usize, message: Message) {
        match message {
            Message::Publish(publication, asker) => {
                self.order(publication);
                self.answer_asker(asker);
            }
            Message::Deliver(delivery) => self.deliver(&delivery),
            Message::Subscribe { destination, replay, asker } => {
                self.interest.add(&destination, source);
                let (slot, generation) = (asker.slot, asker.generation);
                let past = Box::new(self.past(&destination, &replay));
                self.mesh.push(source, Message::Past { slot, generation, past });
            }
            Message::Past { slot, generation, past } => self.on_answer(slot, generation, *past),
            Message::Interest { destination, is_wanted, asker } => {
                if is_wanted {
                    self.interest.add(&destination, source);
                } else {
                    self.interest.remove(&destination, source);
                }
                self.answer_asker(asker);
            }
            Message::PatternInterest { pattern, is_wanted, asker } => {
                if !is_wanted {
                    self.interest.remove_pattern(&pattern, source);
                } else if let Ok(Some(parsed)) = self.pattern(&pattern) {
                    self.interest.add_pattern(&pattern, parsed, source);
                }
                self.answer_asker(asker);
            }
            Message::Session { user, session, is_here, asker } => {
                self.on_session(&user, session, is_here);
                self.answer_asker(asker);
            }
            Message::PublishToUser(publication, asker) => {
                self.order_for_user(publication);
                self.answer_asker(asker);
            }
            Message::DeliverToSession { publication, sequence, session } => {
                self.deliver_to_session(&publication, sequence, session);
            }
            Message::Reply(publication, asker) => {
                self.deliver_reply(&publication);
                self.answer_asker(asker);
            }
            Message::SockJsCall(call) => self.on_call(*call),
            Message::SockJsReply(reply) => self.on_remote_reply(*reply),
            Message::Done { slot, generation } => {
                self.on_answer(slot, generation, Past::default());
            }
            Message::Enqueue { publication, expires_ms, asker, is_awaited, is_declaring } => {
                let arguments = is_declaring.then(|| self.asked_before(&publication)).flatten();
                self.on_enqueue(publication, expires_ms, asker, arguments, is_awaited);
            }
            Message::Refused { asker, error, is_answer } => {
                self.on_refused(asker, error, is_answer);
            }
            Message::Consume(consume) => self.on_consume(*consume),
            Message::Listen { topic, consumer } => {
                self.note_listener(&topic, source);
                self.mesh.push(source, Message::Listening { consumer });
            }
            Message::Listening { consumer } => self.on_listening(consumer),
            Message::Consuming { consumer, queue } => self.on_consuming(source, consumer, queue),
            Message::Delivery(delivery) => self.on_delivery(delivery),
            Message::Settle { queue, consumer, tag, settlement } => {
                self.settle_here(queue, consumer, tag, settlement);
            }
            Message::Leave { queue, consumer, unsettled, is_final } => {
                self.remove_consumer(queue, consumer, unsettled, is_final);
            }
            Message::Reserve(reserve) => self.on_reserve(reserve.0, &reserve.1),
            Message::Release(asker) => self.release_here(asker),
            Message::Apply(batch) => {
                let asker = batch.is_awaited.then_some(batch.asker);
                match self.apply(*batch) {
                    Some(rest) => self.postponed.push_back(Postponed::Transaction(rest)),
                    None => self.answer_asker(asker),
                }
            }
            Message::Barrier(asker) => self.answer_asker(Some(asker)),
        }
    }

    /// At the home shard: gives the publication its place in the destination's order and passes it
    /// to every shard that wants it.
    pub(super) fn order(&mut self, publication: Arc<Publication>) {
        let sequence = self.next_sequence();
        if is_group(publication.destination()) {
            return self.order_for_group(Placed { publication, sequence, position: None });
        }
        let position = self.histories.append(&publication, self.now_ms);
        if self.mesh.shards_count() == 1 {
            // Who is subscribed is all there is to know.
            return self.deliver(&Placed { publication, sequence, position });
        }
        let shards = self.interest.shards(publication.destination());
        let delivery = Placed { publication, sequence, position };
        let mut is_wanted_here = false;
        for shard in shards.iter() {
            if shard == self.index {
                is_wanted_here = true;
            } else {
                self.mesh.push(shard, Message::Deliver(delivery.clone()));
            }
        }
        if is_wanted_here {
            self.deliver(&delivery);
        }
    }

    /// A number that no other publication of the server has.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence * self.mesh.shards_count() as u64 + self.index as u64
    }

    pub(super) fn answer_asker(&mut self, asker: Option<Asker>) {
        if let Some(Asker { shard, slot, generation }) = asker {
            self.mesh.push(shard, Message::Done { slot, generation });
        }
    }

    /// `past` is what a topic's home shard has for a new subscription; nothing in other answers.
    pub(super) fn on_answer(&mut self, slot: u32, generation: u32, past: Past) {
        panic_as_asked("answer");
        let connection = &mut self.connections[slot as usize];
        if connection.generation != generation || connection.phase != Phase::Waiting {
            return self.on_orphaned_answer();
        }
        let Some(waiting) = connection.extras().waiting.as_mut() else { return };
        waiting.answers_count -= 1;
        if waiting.answers_count > 0 {
            return;
        }
        let Some(then) = self.stop_waiting(slot) else { return };
        match then {
            Then::Receipts(receipts) => self.push_receipts(slot, &receipts),
            Then::Subscribe(subscribe) => {
                self.remove_pending(&subscribe.destination);
                self.subscribed(slot, *subscribe, past);
            }
            Then::Commit(commit) => self.apply_commit(slot, *commit),
            Then::Disconnect(receipt) => return self.disconnected(slot, receipt.as_deref()),
            Then::Connect(login) => self.connected(slot, *login),
            Then::Upgrade(upgrade) => self.finish_upgrade(slot, *upgrade),
            Then::Turn => {}
            // These wait for no answer of this kind.
            Then::Consume(_) | Then::File { .. } | Then::Flushed | Then::SockJs(_) => {}
        }
        self.resume(slot);
    }

    /// The connection ended while it waited; its interest was withdrawn then.
    fn on_orphaned_answer(&self) {
        tracing::trace!(shard = self.index, "an answer came for a connection that is gone");
    }

    pub(super) fn stop_waiting(&mut self, slot: u32) -> Option<Then> {
        let connection = &mut self.connections[slot as usize];
        connection.phase = match connection.transport {
            Transport::Http { .. } => Phase::Opening,
            _ => Phase::Open,
        };
        let waiting = connection.extras.as_mut()?.waiting.take()?;
        connection.give_back_extras();
        Some(waiting.then)
    }

    fn on_login_checked(&mut self, asker: Asker, is_accepted: bool) {
        if self.is_claimed(asker) {
            return self.on_claim_checked(asker.slot, is_accepted);
        }
        if is_accepted {
            return self.on_answer(asker.slot, asker.generation, Past::default());
        }
        let connection = &self.connections[asker.slot as usize];
        if connection.generation == asker.generation && connection.phase == Phase::Waiting {
            if connection.is_http() {
                return self.refuse_login(asker.slot);
            }
            self.refuse_connect(asker.slot);
        }
    }

    /// A connection ends while its SUBSCRIBE waits: unless somebody else here wants the
    /// destination, its interest is withdrawn.
    pub(super) fn forget_pending(&mut self, slot: u32) {
        let Some(extras) = self.connections[slot as usize].extras.as_mut() else { return };
        let Some(waiting) = extras.waiting.take() else { return };
        if let Then::Commit(commit) = &waiting.then {
            return self.roll_back(slot, commit);
        }
        match waiting.then {
            Then::Subscribe(subscribe) => {
                let destination = subscribe.destination;
                self.remove_pending(&destination);
                if !self.subscriptions.has_subscribers(&destination) {
                    let is_pattern = matches!(self.pattern(&destination), Ok(Some(_)));
                    self.withdraw_interest(destination, is_pattern);
                }
            }
            Then::Consume(subscribe) if self.is_service(&subscribe.destination) => {
                self.withdraw_service(subscribe.destination);
            }
            _ => {}
        }
    }

    pub(super) fn remove_pending(&mut self, destination: &str) {
        let place = self.pending_interest.iter().position(|pending| &**pending == destination);
        if let Some(place) = place {
            self.pending_interest.swap_remove(place);
        }
    }

    /// Tells the home shard (for a pattern: every shard) that nobody here wants this any more.
    pub(super) fn withdraw_interest(&mut self, destination: Box<str>, is_pattern: bool) {
        if is_internal(&destination)
            || is_group(&destination)
            || self.pending_interest.contains(&destination)
        {
            // An internal name is of interest to nobody else, and a group's message goes to all.
            return;
        }
        if let Ok(Kind::Queue) = self.kind(&destination) {
            return;
        }
        if is_pattern {
            self.interest.remove_pattern(&destination, self.index);
            for target in (0..self.mesh.shards_count()).filter(|&target| target != self.index) {
                let (pattern, is_wanted, asker) = (destination.clone(), false, None);
                self.mesh.push(target, Message::PatternInterest { pattern, is_wanted, asker });
            }
            return;
        }
        let home = self.home(&destination);
        if home == self.index {
            self.interest.remove(&destination, self.index);
        } else {
            let (is_wanted, asker) = (false, None);
            self.mesh.push(home, Message::Interest { destination, is_wanted, asker });
        }
    }
}
