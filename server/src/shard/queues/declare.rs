//! How queues begin and end: their arguments, the topics that they listen to, and how long they
//! live without use.
//!
//! A queue that nobody asked anything of lives while it has messages or consumers. One with
//! arguments, and a durable subscription, is *kept*: it lives on for a while, bounded in number and
//! time, because each costs memory though nobody may ever come back to it. All of it in memory.
//!
//! A queue listens to a topic by a subscription in its home shard's table, as a client would have
//! it there; its number stands where the slot of a connection would. The shard's interest in the
//! topic, patterns included, follows from that table. As with a plain SUBSCRIBE it is entered when
//! the topic's home (of a pattern: every shard) has answered: what was published before does not
//! come, what is published after the RECEIPT does. stomp.md §2.2, §2.3.

use super::super::action::{Asker, Consume, Message};
use super::super::deliver::framing;
use super::super::reason::DisconnectReason;
use super::super::{Shard, Shared};
use super::{Entry, Queues, QUEUE_BYTES};
use crate::reactor::Reactor;
use std::borrow::Cow;
use std::sync::Arc;
use stompede_core::broker::authorization::Verb;
use stompede_core::broker::binding::Binding;
use stompede_core::broker::destination::Kind;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::queue::arguments::Arguments;
use stompede_core::broker::queue::{ConsumerId, Overflow, Queue, Settings};
use stompede_core::broker::subscriptions::{Class, SubscriptionKey, NONE};
use stompede_core::stomp::error::Error;

/// How long a queue lives that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// While it has messages or consumers.
    Used,
    /// While it has consumers.
    Consumed,
    /// This long without use; messages are no use if `is_purged`.
    Kept { idle_ms: u64, is_purged: bool },
}

/// A consumer that waits until its queue hears its topic.
#[derive(Debug)]
pub(super) struct Pending {
    consume: Consume,
    answers_count: usize,
}

impl Entry {
    /// Did the consumers leave of whom it lived? What waits is for nobody then.
    pub(super) fn is_over(&self) -> bool {
        self.life == Life::Consumed && self.was_consumed && self.queue.attached_count() == 0
    }
}

impl Queues {
    /// The queue of this name, made on these terms if there is none. As [`Queues::open`].
    ///
    /// # Errors
    /// It is there on other terms, or there is no room for one more that is kept.
    pub(super) fn declare(
        &mut self,
        name: &str,
        arguments: Option<&Arguments>,
    ) -> Result<u32, Error> {
        let Some(wanted) = arguments else { return Ok(self.open(name)) };
        if let Some(&index) = self.names.get(name) {
            return self.check_arguments(index, wanted).map(|()| index);
        }
        let life = match (wanted.is_auto_delete, wanted.expires_ms) {
            (true, _) => Life::Consumed,
            (false, own_ms) => self.kept(own_ms, own_ms.is_some()),
        };
        self.make(name, wanted.settings(self.settings), life, Some(wanted))
    }

    /// As [`Queues::declare`], for a queue that listens to a topic.
    fn declare_bound(&mut self, consume: &Consume, binding: &Binding) -> Result<u32, Error> {
        let arguments = consume.arguments.as_deref();
        let none = Arguments::default();
        let wanted = arguments.unwrap_or(&none);
        let life = match binding.is_durable && !wanted.is_auto_delete {
            true => self.kept(wanted.expires_ms, true),
            false => Life::Consumed,
        };
        if let Some(&index) = self.names.get(&consume.name) {
            if let Some(wanted) = arguments {
                self.check_arguments(index, wanted)?;
            }
            if life != Life::Consumed {
                self.set_life(index, life);
            }
            return Ok(index);
        }
        // Nobody hears of a refusal: a shared queue gives its oldest up, the owner of a private one
        // is ended.
        let server = match binding.is_private {
            true => Settings { overflow: Overflow::Reject, ..self.settings },
            false => Settings { overflow: Overflow::DropHead, ..self.settings },
        };
        let index = self.make(&consume.name, wanted.settings(server), life, arguments)?;
        self.entries[index as usize].owner = binding.is_private.then_some(consume.consumer);
        Ok(index)
    }

    fn kept(&self, own_ms: Option<u64>, is_purged: bool) -> Life {
        let idle_ms = own_ms.map_or(self.idle_ms_max, |own| own.min(self.idle_ms_max));
        Life::Kept { idle_ms, is_purged }
    }

    fn make(
        &mut self,
        name: &str,
        settings: Settings,
        life: Life,
        arguments: Option<&Arguments>,
    ) -> Result<u32, Error> {
        let is_kept = matches!(life, Life::Kept { .. });
        if is_kept && self.kept_count >= self.kept_count_max {
            return Err(Error::TooManyQueues { limit: self.kept_count_max });
        }
        self.check_memory(QUEUE_BYTES)?;
        let index = self.open(name);
        let entry = &mut self.entries[index as usize];
        entry.queue = Queue::new(settings, self.hash_key);
        entry.arguments = arguments.map(|arguments| Box::new(arguments.clone()));
        self.set_life(index, life);
        Ok(index)
    }

    fn check_arguments(&mut self, index: u32, wanted: &Arguments) -> Result<(), Error> {
        let entry = &mut self.entries[index as usize];
        let none = Arguments::default();
        let there = entry.arguments.as_deref().unwrap_or(&none);
        match there.difference(wanted) {
            Some(name) => Err(Error::QueueDiffers(name)),
            None => {
                entry.used_ms = self.now_ms;
                Ok(())
            }
        }
    }

    pub(super) fn set_life(&mut self, index: u32, life: Life) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let before = std::mem::replace(&mut entry.life, life);
        let is_kept = |life| matches!(life, Life::Kept { .. });
        self.kept_count += usize::from(is_kept(life));
        self.kept_count -= usize::from(is_kept(before));
        entry.used_ms = self.now_ms;
    }

    /// Ends a kept queue that nobody has used for too long; it goes when it is touched next.
    pub(super) fn end_idle(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let Life::Kept { idle_ms, is_purged } = entry.life else { return };
        let queue = &entry.queue;
        let has_use = if is_purged { queue.is_reserved() } else { !queue.is_unused() };
        if has_use || queue.consumers_count() > 0 {
            entry.used_ms = self.now_ms;
        } else if self.now_ms >= entry.used_ms + idle_ms {
            entry.queue.purge();
            self.set_life(index, Life::Used);
        }
    }
}

impl Shared {
    /// What a frame asks of its queue; the destination of the dead is one, with the name by which
    /// it is known.
    pub(crate) fn arguments<'a>(
        &self,
        header: impl Fn(&'static str) -> Option<Cow<'a, str>>,
        takes_ttl: bool,
    ) -> Result<Option<Box<Arguments>>, Error> {
        let read = Arguments::read(header, takes_ttl);
        let Some(mut arguments) = read.map_err(|error| Error::BadValue(error.header))? else {
            return Ok(None);
        };
        if let Some(grave) = &arguments.dead_letter {
            let claim = self.claim(grave)?;
            let is_pattern = claim.dialect.is_some_and(|dialect| dialect.is_pattern(claim.name));
            if !matches!(claim.kind, Kind::Topic | Kind::Queue) {
                return Err(Error::MisusedDestination);
            }
            if is_pattern || self.prefixes.is_queue_pattern(&claim) {
                return Err(Error::SendToPattern);
            }
            arguments.dead_letter = Some(claim.canonical(grave).into());
        }
        Ok(Some(Box::new(arguments)))
    }
}

impl<R: Reactor> Shard<R> {
    /// The arguments of a frame of this client; it must be allowed to send where the dead go.
    pub(in super::super) fn arguments<'a>(
        &self,
        slot: u32,
        header: impl Fn(&'static str) -> Option<Cow<'a, str>>,
        takes_ttl: bool,
    ) -> Result<Option<Box<Arguments>>, Error> {
        let arguments = self.shared.arguments(header, takes_ttl)?;
        let grave = arguments.as_ref().and_then(|arguments| arguments.dead_letter.as_deref());
        if let Some(grave) = grave {
            self.authorize(slot, Verb::Publish, grave, self.kind(grave)?)?;
        }
        Ok(arguments)
    }

    /// Registers a consumer with its queue, which is made if it is not there. Gives the queue's
    /// index, which stays while it has that consumer; none if the queue must learn first that it
    /// hears its topic.
    ///
    /// # Errors
    /// Those of [`Queues::declare`]: nothing has changed.
    pub(super) fn consume(&mut self, consume: Consume) -> Result<Option<u32>, Error> {
        let Some(binding) = &consume.binding else {
            let arguments = consume.arguments.as_deref();
            let index = self.queues.declare(&consume.name, arguments)?;
            return Ok(Some(self.add_consumer(index, consume)));
        };
        let is_bound = self.queues.names.contains_key(&consume.name);
        let answers_count = if is_bound { 0 } else { self.listen(binding, consume.consumer)? };
        if answers_count > 0 {
            self.pending_interest.push(binding.topic.clone());
            self.queues.pending.push(Pending { consume, answers_count });
            return Ok(None);
        }
        self.consume_bound(consume).map(Some)
    }

    /// Says to whom it matters that this shard listens to a topic; gives how many will answer.
    fn listen(&mut self, binding: &Binding, consumer: ConsumerId) -> Result<usize, Error> {
        let topic = &binding.topic;
        self.note_listener(topic, self.index);
        let others = match self.pattern(topic)? {
            Some(_) => 0..self.mesh.shards_count(),
            None => self.home(topic)..self.home(topic) + 1,
        };
        let others = others.filter(|&other| other != self.index);
        let count = others.clone().count();
        for other in others {
            let topic = topic.clone();
            self.mesh.push(other, Message::Listen { topic, consumer });
        }
        Ok(count)
    }

    /// A queue of this shard listens to a topic whose home may be here, or to a pattern.
    pub(in super::super) fn note_listener(&mut self, topic: &str, shard: usize) {
        match self.pattern(topic) {
            Ok(Some(pattern)) => self.interest.add_pattern(topic, pattern, shard),
            _ if self.home(topic) == self.index => self.interest.add(topic, shard),
            _ => {}
        }
    }

    /// What is published to the topic from now on comes here; with the last of these answers the
    /// consumer is let in.
    pub(in super::super) fn on_listening(&mut self, consumer: ConsumerId) {
        let mut pending = self.queues.pending.iter_mut();
        let Some(at) = pending.position(|pending| pending.consume.consumer == consumer) else {
            return;
        };
        let left = &mut self.queues.pending[at].answers_count;
        *left -= 1;
        if *left > 0 {
            return;
        }
        let Pending { consume, .. } = self.queues.pending.swap_remove(at);
        let topic = consume.binding.as_ref().map(|binding| binding.topic.clone());
        topic.iter().for_each(|topic| self.remove_pending(topic));
        let outcome = self.consume_bound(consume);
        if let (Err(_), Some(topic)) = (&outcome, topic) {
            if !self.subscriptions.has_subscribers(&topic) {
                let is_pattern = matches!(self.pattern(&topic), Ok(Some(_)));
                self.withdraw_interest(topic, is_pattern);
            }
        }
        self.answer_consumer(consumer, outcome);
    }

    /// Tells a consumer of any shard what became of it.
    pub(super) fn answer_consumer(&mut self, consumer: ConsumerId, outcome: Result<u32, Error>) {
        let ConsumerId { shard, slot, generation, .. } = consumer;
        let asker = Asker { shard: shard as usize, slot, generation };
        match (outcome, asker.shard == self.index) {
            (Ok(queue), true) => self.on_consuming(self.index, consumer, queue),
            (Ok(queue), false) => {
                self.mesh.push(asker.shard, Message::Consuming { consumer, queue });
            }
            (Err(error), true) => self.on_refused(asker, error, true),
            (Err(error), false) => self.refuse_asker(asker, error, true),
        }
    }

    fn consume_bound(&mut self, consume: Consume) -> Result<u32, Error> {
        let Some(binding) = &consume.binding else { return Err(Error::BadDestination) };
        let index = self.queues.declare_bound(&consume, binding)?;
        let bound = self.bind(index, binding);
        if let Err(error) = bound {
            self.touch_queue(index);
            return Err(error);
        }
        Ok(self.add_consumer(index, consume))
    }

    fn add_consumer(&mut self, index: u32, consume: Consume) -> u32 {
        let entry = &mut self.queues.entries[index as usize];
        entry.was_consumed = true;
        // Cannot be there already: connections never give out a number twice.
        let _ = entry.queue.add_consumer(consume.consumer, consume.terms);
        self.queues.list(index);
        self.touch_queue(index);
        index
    }

    /// Lets a queue take in what is published to its topic.
    fn bind(&mut self, index: u32, binding: &Binding) -> Result<(), Error> {
        let there = self.queues.entries[index as usize].binding;
        if there != NONE {
            let filter = &self.subscriptions.class(SubscriptionKey(there)).filter;
            return match *filter == binding.filter {
                true => Ok(()),
                false => Err(Error::QueueDiffers("selector")),
            };
        }
        let pattern = self.pattern(&binding.topic)?;
        let filter = binding.filter.clone();
        let framing = framing::QUEUE;
        let class = Class { id: None, version: 2, framing, explicit_ack: false, filter };
        let (key, _) = self.subscriptions.subscribe(index, NONE, &binding.topic, pattern, class);
        self.queues.entries[index as usize].binding = key.0;
        Ok(())
    }

    /// What was published to a topic comes to a queue that listens to it.
    pub(in super::super) fn enqueue_bound(&mut self, index: u32, publication: &Arc<Publication>) {
        let Some(entry) = self.queues.entries.get(index as usize) else { return };
        if entry.is_over() {
            return;
        }
        let owner = entry.owner;
        let bytes = publication.bytes();
        // Who reads a topic in his own time may have as much waiting as who reads it at once.
        let is_too_slow = owner.is_some_and(|ConsumerId { slot, .. }| {
            let held = self.queues.private_bytes(slot);
            held > 0 && held + bytes > self.outbound_bytes_max
        });
        // A bad value is its sender's fault and nothing to this subscriber.
        let expires_ms = self.expires_ms(publication).unwrap_or_default();
        let checked = self.queues.check_memory(bytes);
        let publication = Arc::clone(publication);
        if !is_too_slow
            && checked.and_then(|()| self.enter_at(index, publication, expires_ms, false)).is_ok()
        {
            return;
        }
        match owner {
            None => self.metrics.queue_refused.inc(),
            Some(ConsumerId { slot, .. }) => {
                self.metrics.slow_consumers.inc();
                self.abort(slot, DisconnectReason::SlowConsumer);
            }
        }
    }

    /// After a queue has changed: the sums, and its end if it has come.
    pub(super) fn touch_queue(&mut self, index: u32) {
        self.queues.touch(index);
        while let Some(head) = self.queues.unbound.pop() {
            let mut removed = None;
            self.subscriptions.remove_connection(head, |last| removed = Some(last));
            if let Some(last) = removed {
                self.withdraw_interest(last.destination, last.is_pattern);
            }
        }
    }
}
