//! What a delivery is checked against, and how one of a queue is acknowledged.
//!
//! A topic's messages come once and in order to every subscriber. A queue's come to one of its
//! consumers: a second time only with `redelivered:true`, and never once they are acknowledged;
//! one consumer sees those that come for the first time in order.

use super::outbox::Outbox;
use crate::broadcast::Watch;
use crate::clock::{nanos, Nanos};
use crate::control::{Control, Desk};
use crate::order::{Arrival, Stream};
use crate::plan::{Plan, Workload};
use crate::queue::AckMode;
use crate::stamp::{is_filler_intact, Stamp};
use crate::wire::{stomp, Writer};

/// The terms of one subscriber's deliveries.
pub(super) struct Check<'a> {
    plan: &'a Plan,
    control: &'a Control,
    blank: &'a [u8],
    number: u32,
    measured_from: Nanos,
    now: Nanos,
    is_verifying: bool,
}

impl<'a> Check<'a> {
    /// Of subscriber `number` at `now`, with bodies like `blank`; `is_verifying`: everything was
    /// acknowledged.
    pub(super) fn new(
        plan: &'a Plan,
        control: &'a Control,
        blank: &'a [u8],
        number: u32,
        now: Nanos,
        is_verifying: bool,
    ) -> Check<'a> {
        let measured_from = control.start() + nanos(plan.warmup);
        Check { plan, control, blank, number, measured_from, now, is_verifying }
    }

    /// Counts a delivery; false if it is not what was sent.
    #[inline]
    pub(super) fn delivery(
        &self,
        head: &[u8],
        body: &[u8],
        streams: &mut [Stream],
        watch: &mut Watch,
        desk: &mut Desk,
    ) -> bool {
        if self.plan.workload == Workload::Idle {
            // Of publishers that this run knows nothing of.
            return true;
        }
        let stamp = Stamp::read(body).filter(|_| is_filler_intact(body, self.blank));
        let stream = stamp.and_then(|stamp| match self.plan.workload {
            Workload::Fanout => streams.get_mut(stamp.stream as usize),
            _ => self
                .plan
                .subscription_of(self.number, stamp.stream)
                .and_then(|subscription| streams.get_mut(subscription as usize)),
        });
        let (Some(stamp), Some(stream)) = (stamp, stream) else {
            desk.tally.corrupt += 1;
            return false;
        };
        let arrival = stream.take(stamp.sequence);
        let is_new = match self.plan.workload {
            Workload::Queue => self.is_new_of_queue(stamp, arrival, head, desk),
            _ => {
                desk.tally.reordered += u64::from(arrival == Arrival::Late);
                desk.tally.duplicates += u64::from(arrival == Arrival::Duplicate);
                arrival != Arrival::Duplicate
            }
        };
        if is_new {
            desk.tally.delivered += 1;
            let latency_ns = self.now.saturating_sub(stamp.planned);
            let spread = watch.take(stamp.stream, stamp.sequence, latency_ns);
            if stamp.planned >= self.measured_from {
                desk.latencies.record(latency_ns);
                desk.spreads.extend(spread);
            }
        }
        true
    }

    fn is_new_of_queue(
        &self,
        stamp: Stamp,
        arrival: Arrival,
        head: &[u8],
        desk: &mut Desk,
    ) -> bool {
        let is_redelivered = stomp::header(head, "redelivered") == Some(b"true");
        let is_first = self.control.is_first(stamp.stream, stamp.sequence);
        let is_behind = matches!(arrival, Arrival::Late | Arrival::Duplicate);
        desk.tally.redelivered += u64::from(is_redelivered);
        if self.is_verifying {
            desk.tally.unsettled += u64::from(!is_first);
        } else if !is_redelivered {
            desk.tally.duplicates += u64::from(!is_first);
            desk.tally.reordered += u64::from(is_first && is_behind);
        }
        is_first
    }
}

/// The acknowledgements of what one receive brought to a consumer.
pub(super) struct Acks<'a> {
    pub(super) mode: AckMode,
    pub(super) version: &'a str,
    pub(super) writer: &'a Writer,
    pub(super) frame: &'a mut Vec<u8>,
    /// The last delivery that the one ACK of mode `client` will be for, and how many it settles.
    pub(super) last: Option<(&'a [u8], u64)>,
}

impl<'a> Acks<'a> {
    /// Acknowledges a delivery, or takes note of it for [`Acks::flush`].
    pub(super) fn take(&mut self, head: &'a [u8], slot: u32, outbox: &mut Outbox, desk: &mut Desk) {
        match self.mode {
            AckMode::Auto => desk.tally.acknowledged += 1,
            AckMode::Client => {
                let count = self.last.map_or(0, |(_, count)| count);
                self.last = Some((head, count + 1));
            }
            AckMode::ClientIndividual => self.send(head, 1, slot, outbox, desk),
        }
    }

    /// Sends what is due.
    pub(super) fn flush(&mut self, slot: u32, outbox: &mut Outbox, desk: &mut Desk) {
        if let Some((head, count)) = self.last.take() {
            self.send(head, count, slot, outbox, desk);
        }
    }

    fn send(&mut self, head: &[u8], count: u64, slot: u32, outbox: &mut Outbox, desk: &mut Desk) {
        self.frame.clear();
        if !stomp::ack_frame(self.frame, self.version, head) {
            return desk.trouble("a delivery that does not say what to acknowledge");
        }
        desk.tally.acknowledged += count;
        outbox.push(slot, |out| self.writer.frame(out, self.frame));
    }
}
