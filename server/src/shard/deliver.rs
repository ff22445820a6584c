//! The one delivery path: a publication from its home shard to every local subscriber.
//!
//! The finished frame is encoded once per class (subscription id, version, framing) into the send
//! arena; each subscriber gets a segment, not a copy. Subscriptions with explicit acknowledgement
//! get a frame of their own, because its `ack` header differs.

use super::reason::DisconnectReason;
use super::Shard;
use crate::metrics::FrameOut;
use crate::reactor::Reactor;
use std::fmt::Write;
use stompede_core::broker::ledger::{Ledger, Mode};
use stompede_core::broker::publication::Publication;
use stompede_core::broker::subscriptions::{Class, ClassIndex, Subscriber, Subscriptions};
use stompede_core::outbound::Segment;
use stompede_core::stomp::encode;
use stompede_core::stomp::negotiation::Version;
use stompede_core::ws::frame::{encode_header, Opcode};

/// How a class frames its STOMP frames: the `framing` of [`Class`].
pub mod framing {
    /// Raw TCP: the frame as it is.
    pub const TCP: u8 = 0;
    /// One WebSocket message per frame.
    pub const WEBSOCKET: u8 = 1;
    /// Set beside the above when deliveries are acknowledged cumulatively (`ack:client`).
    pub const CUMULATIVE: u8 = 2;
}

/// The STOMP version as the `version` of [`Class`] stores it.
pub(super) fn version_number(version: Version) -> u8 {
    match version {
        Version::V1_0 => 0,
        Version::V1_1 => 1,
        Version::V1_2 => 2,
    }
}

fn version_of(class: &Class) -> Version {
    match class.version {
        0 => Version::V1_0,
        1 => Version::V1_1,
        _ => Version::V1_2,
    }
}

impl<R: Reactor> Shard<R> {
    /// Queues `publication`, numbered `sequence` by its home shard, for every local subscriber.
    pub(super) fn deliver(&mut self, publication: &Publication, sequence: u64) {
        let subscriptions = std::mem::replace(&mut self.subscriptions, Subscriptions::new(0));
        // The tail is the same for all classes of one version; classes of a version come in any
        // order.
        let mut tail_version = None;
        subscriptions.for_each_group(publication.destination(), |index, class, subscribers| {
            let version = version_of(class);
            if tail_version != Some(version) {
                tail_version = Some(version);
                self.encode_tail(publication, version);
            }
            if class.explicit_ack {
                for subscriber in subscribers {
                    self.deliver_acknowledged(publication, class, *subscriber);
                }
            } else {
                let message_id = message_id(sequence, index);
                let segment = self.encode_frame(publication, class, &message_id, None);
                for subscriber in subscribers {
                    self.enqueue(subscriber.connection, segment);
                }
            }
            let count = subscribers.len() as u64;
            self.metrics.messages_delivered.add(count);
            self.metrics.frames_sent(FrameOut::Message, count);
        });
        self.subscriptions = subscriptions;
        while let Some(slot) = self.overflowed.pop() {
            // One that overflowed by several of its subscriptions is listed for each.
            if self.connections[slot as usize].is_live() {
                self.metrics.slow_consumers.inc();
                self.abort(slot, DisconnectReason::SlowConsumer);
            }
        }
    }

    fn encode_tail(&mut self, publication: &Publication, version: Version) {
        let tail = &mut self.scratch.tail;
        tail.clear();
        let (destination, body) = (publication.destination(), publication.body());
        encode::message_tail(tail, version, destination, publication.headers(), body);
    }

    /// Encodes one complete MESSAGE with the tail in the scratch buffer.
    fn encode_frame(
        &mut self,
        publication: &Publication,
        class: &Class,
        message_id: &str,
        ack: Option<&str>,
    ) -> Segment {
        let Shard { scratch, arena, .. } = self;
        scratch.head.clear();
        let version = version_of(class);
        encode::message_head(&mut scratch.head, version, class.id.as_deref(), message_id, ack);
        if class.framing & framing::WEBSOCKET == 0 {
            return arena.append(&[&scratch.head, &scratch.tail]);
        }
        let opcode = if publication.is_utf8() { Opcode::Text } else { Opcode::Binary };
        let mut header = [0; 14];
        let payload_bytes = (scratch.head.len() + scratch.tail.len()) as u64;
        let length = encode_header(&mut header, opcode, payload_bytes);
        arena.append(&[&header[..length], &scratch.head, &scratch.tail])
    }

    fn deliver_acknowledged(
        &mut self,
        publication: &Publication,
        class: &Class,
        subscriber: Subscriber,
    ) {
        let slot = subscriber.connection;
        let limit = self.shared.config.limits.unacknowledged_count_max;
        let cumulative = class.framing & framing::CUMULATIVE != 0;
        let mode = if cumulative { Mode::Cumulative } else { Mode::Individual };
        let id = class.id.as_deref().unwrap_or(publication.destination());
        let ledger =
            self.connections[slot as usize].extras().ledger.get_or_insert_with(Ledger::new);
        if ledger.unacknowledged_of(id) >= limit {
            self.overflowed.push(slot);
            return;
        }
        let number = ledger.deliver(id, mode).to_string();
        let ack = (class.version == 2).then_some(number.as_str());
        let segment = self.encode_frame(publication, class, &number, ack);
        self.enqueue(slot, segment);
    }

    /// Queues a delivery, or ends a consumer over the mark.
    fn enqueue(&mut self, slot: u32, segment: Segment) {
        if !self.connections[slot as usize].is_live() {
            return;
        }
        let bytes = self.backlog_bytes(slot) + segment.len as usize;
        if bytes > self.outbound_bytes_limit() {
            // Ended after the walk: the table must not change under it.
            self.overflowed.push(slot);
            return;
        }
        self.push_segment(slot, segment);
    }

    /// Over the global memory mark everyone's limit shrinks, so that the slowest go first.
    fn outbound_bytes_limit(&self) -> usize {
        let config = &self.shared.config;
        let total: u64 = self.shared.metrics.iter().map(|shard| shard.outbound_bytes.get()).sum();
        if total > config.memory_bytes_max {
            config.outbound_bytes_max / 8
        } else {
            config.outbound_bytes_max
        }
    }
}

/// Unique for each delivery within a connection: the publication's number and the class.
fn message_id(sequence: u64, class: ClassIndex) -> String {
    let mut text = String::with_capacity(24);
    // Writing to a String cannot fail.
    let _ = write!(text, "{sequence:x}-{:x}", class.0);
    text
}
