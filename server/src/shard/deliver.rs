//! The one delivery path: a publication from its home shard to every local subscriber.
//!
//! The finished frame is encoded once per class (subscription id, version, framing) into the send
//! arena; each subscriber gets a segment, not a copy. Subscriptions with explicit acknowledgement
//! get a frame of their own, because its `ack` header differs. Compressed classes share the tail
//! too, see [`super::compress`].

use super::action::Placed;
use super::compress::Compressor;
use super::connection::{Backlog, Connection, NONE};
use super::groups::NO_STOMP;
use super::pace::Paces;
use super::reason::DisconnectReason;
use super::snapshot::Gates;
use super::sockjs::Sessions;
use super::table::Table;
use super::Shard;
use crate::metrics::{FrameOut, ShardMetrics};
use crate::reactor::Reactor;
use bytes::Bytes;
use slab::Slab;
use std::borrow::Cow;
use stompede_core::broker::destination::Profile;
use stompede_core::broker::history::Position;
use stompede_core::broker::ledger::{Ledger, Mode, Source};
use stompede_core::broker::publication::Publication;
use stompede_core::broker::subscriptions::{
    Class, ClassIndex, Subscriber, SubscriptionKey, Subscriptions,
};
use stompede_core::outbound::{Outbound, Segment, SendArena};
use stompede_core::sockjs::frame::push_message;
use stompede_core::stomp::encode;
use stompede_core::stomp::negotiation::Version;
use stompede_core::stomp::request::AckMode;
use stompede_core::ws::deflate::{stored_block_header, STORED_HEADER_BYTES};
use stompede_core::ws::frame::{encode_header, Opcode, RSV1};

/// How a class frames its STOMP frames: the `framing` of [`Class`].
pub mod framing {
    use stompede_core::ws::extensions::Window;

    /// Raw TCP: the frame as it is.
    pub const TCP: u8 = 0;
    /// One WebSocket message per frame.
    pub const WEBSOCKET: u8 = 1;
    /// The frame as a message of SockJS: with [`WEBSOCKET`] in a frame of its own, alone as the
    /// JSON string that sessions put into theirs.
    pub const SOCKJS: u8 = 4;
    /// Set beside the above when deliveries are acknowledged cumulatively (`ack:client`).
    pub const CUMULATIVE: u8 = 2;
    /// Set beside the above when deliveries may have to wait (see `shard::pace`).
    pub const PACED: u8 = 64;
    /// Set beside the above for a service connection, which gets what is sent to `/app` as a queue
    /// gives it, and nothing that is published there.
    pub const SERVICE: u8 = 8;
    /// Set beside the above when the first message needs time (see `shard::snapshot`).
    pub const GATED: u8 = 128;
    /// What does not take the plain way.
    pub const SPECIAL: u8 = SERVICE | PACED | GATED;
    /// Alone: not a connection's but a queue's subscription, see `shard::queues`.
    pub const QUEUE: u8 = SERVICE | PACED;
    /// Where the number of the [`Window`] stands when broadcasts are compressed; 0: they are not.
    const DEFLATE_SHIFT: u8 = 4;
    /// The bits of that number.
    const DEFLATE: u8 = 3 << DEFLATE_SHIFT;

    /// The bits of a class whose broadcasts are compressed for this window, if there is one.
    pub fn deflate(window: Option<Window>) -> u8 {
        window.map_or(0, |window| (window as u8) << DEFLATE_SHIFT)
    }

    /// The same without compression.
    pub fn uncompressed(framing: u8) -> u8 {
        framing & !DEFLATE
    }

    /// The window that broadcasts are compressed for, if they are.
    pub fn window(framing: u8) -> Option<Window> {
        let number = (framing & DEFLATE) >> DEFLATE_SHIFT;
        Window::ALL.into_iter().find(|&window| number == window as u8)
    }
}

/// The STOMP version as the `version` of [`Class`] stores it.
pub(super) fn version_number(version: Version) -> u8 {
    match version {
        Version::V1_0 => 0,
        Version::V1_1 => 1,
        Version::V1_2 => 2,
    }
}

pub(super) fn version_of(class: &Class) -> Version {
    match class.version {
        0 => Version::V1_0,
        1 => Version::V1_1,
        _ => Version::V1_2,
    }
}

impl<R: Reactor> Shard<R> {
    /// Queues `publication`, numbered `sequence` by its home shard, for every local subscriber.
    ///
    /// All of them in one go: a place in the dirty list and a segment cost some ten nanoseconds,
    /// and no shard has more than its slots. What costs, the sends, is bounded per turn.
    pub(super) fn deliver(&mut self, delivery: &Placed) {
        let Placed { publication, sequence, position } = delivery;
        let name = publication.destination();
        self.make_room(publication.bytes());
        let (mut fan_out, subscriptions) = self.fan_out(publication, *sequence, name);
        fan_out.position = position.as_ref();
        fan_out.whole = Some(delivery);
        subscriptions.for_each_group(name, |index, class, group| {
            fan_out.deliver(subscriptions, index, class, group);
        });
        self.end_overflowed();
        self.send_due();
        if !self.scratch.bound.is_empty() {
            let mut bound = std::mem::take(&mut self.scratch.bound);
            bound.drain(..).for_each(|queue| self.enqueue_bound(queue, publication));
            self.scratch.bound = bound;
        }
    }

    /// As [`Shard::deliver`], to the subscribers of `name`, who see `shown` as its destination.
    pub(super) fn deliver_as(
        &mut self,
        publication: &Publication,
        sequence: u64,
        name: &str,
        shown: &str,
    ) {
        let (mut fan_out, subscriptions) = self.fan_out(publication, sequence, shown);
        subscriptions.for_each_group(name, |index, class, group| {
            fan_out.deliver(subscriptions, index, class, group);
        });
        self.end_overflowed();
    }

    /// Queues one delivery for one subscription, whatever waits already: of the past, or held back
    /// before.
    pub(super) fn deliver_to(&mut self, slot: u32, key: SubscriptionKey, one: &One<'_>) {
        let Placed { publication, sequence, position } = one.delivery;
        let name = publication.destination();
        let (mut fan_out, subscriptions) = self.fan_out(publication, *sequence, name);
        fan_out.position = position.as_ref();
        fan_out.note = one.note;
        fan_out.outbound_bytes_max = usize::MAX;
        let (index, class) = (subscriptions.class_index(key), subscriptions.class(key));
        let only = Subscriber { connection: slot, subscription: key.0 };
        fan_out.deliver(subscriptions, index, class, &[only]);
        self.end_overflowed();
    }

    /// Queues `publication` for one connection that has not subscribed to it.
    pub(super) fn deliver_private(
        &mut self,
        slot: u32,
        subscription: Option<Box<str>>,
        publication: &Publication,
        sequence: u64,
    ) {
        let class = self.class(slot, subscription, AckMode::Auto, None);
        let only = Subscriber { connection: slot, subscription: NONE };
        let (mut fan_out, _) = self.fan_out(publication, sequence, publication.destination());
        fan_out.deliver_now(ClassIndex(NONE), &class, &[only]);
        self.end_overflowed();
    }

    fn fan_out<'a>(
        &'a mut self,
        publication: &'a Publication,
        sequence: u64,
        destination: &'a str,
    ) -> (FanOut<'a>, &'a Subscriptions) {
        let fan_out = FanOut {
            publication,
            destination,
            is_redelivered_told: self.shared.config.profile == Profile::RabbitMq,
            sequence,
            position: None,
            whole: None,
            note: Note::None,
            tail_of: None,
            connections: &mut self.connections,
            sessions: &mut self.sessions,
            backlogs: &mut self.backlogs,
            arena: &mut self.arena,
            dirty: &mut self.dirty,
            overflowed: &mut self.overflowed,
            head: &mut self.scratch.head,
            tail: &mut self.scratch.tail,
            bound: &mut self.scratch.bound,
            compressor: &mut self.compressor,
            message: &mut self.scratch.message,
            metrics: &self.metrics,
            tick: self.tick,
            outbound_bytes_max: self.outbound_bytes_max,
            unacknowledged_count_max: self.shared.config.limits.unacknowledged_count_max,
            references: 0,
            paces: &mut self.paces,
            gates: &mut self.gates,
            selector_steps: &mut self.selector_steps,
            now_ms: self.now_ms,
        };
        (fan_out, &self.subscriptions)
    }

    fn end_overflowed(&mut self) {
        self.compressor.forget();
        // Ended after the walk: the table must not change under it.
        while let Some(slot) = self.overflowed.pop() {
            // One that overflowed by several of its subscriptions is listed for each.
            if self.connections[slot as usize].is_live() {
                self.metrics.slow_consumers.inc();
                self.abort(slot, DisconnectReason::SlowConsumer);
            }
        }
    }
}

/// A delivery for one subscription, and what it tells the client.
pub(super) struct One<'a> {
    pub delivery: &'a Placed,
    pub note: Note,
}

/// What the head of a MESSAGE says beside the usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    None,
    /// `recovered:true`: it is of the past.
    Recovered,
    /// `missed:N`: so many deliveries were given up before it.
    Missed(u64),
}

/// One publication on its way to the groups of its subscribers.
pub(super) struct FanOut<'a> {
    pub(super) publication: &'a Publication,
    /// What its receivers see as its destination.
    destination: &'a str,
    /// `redelivered:false`, which RabbitMQ has on each message.
    is_redelivered_told: bool,
    sequence: u64,
    /// Its place in its topic's history.
    position: Option<&'a Position>,
    /// What may be held back; none if it goes at once or not at all.
    pub(super) whole: Option<&'a Placed>,
    note: Note,
    /// Of what is in `tail`: the tail is the same for all classes of one version, but for those
    /// that get text where the body is none.
    tail_of: Option<(Version, bool)>,
    pub(super) connections: &'a mut Table<Connection>,
    sessions: &'a mut Sessions,
    pub(super) backlogs: &'a mut Slab<Backlog>,
    pub(super) arena: &'a mut SendArena,
    dirty: &'a mut Vec<u32>,
    pub(super) overflowed: &'a mut Vec<u32>,
    head: &'a mut Vec<u8>,
    tail: &'a mut Vec<u8>,
    bound: &'a mut Vec<u32>,
    compressor: &'a mut Compressor,
    pub(super) message: &'a mut Vec<u8>,
    pub(super) metrics: &'a ShardMetrics,
    tick: u32,
    pub(super) outbound_bytes_max: usize,
    unacknowledged_count_max: usize,
    /// References that the segment in hand needs.
    references: u32,
    pub(super) paces: &'a mut Paces,
    pub(super) gates: &'a mut Gates,
    selector_steps: &'a mut u64,
    pub(super) now_ms: u64,
}

impl FanOut<'_> {
    fn deliver(
        &mut self,
        subscriptions: &Subscriptions,
        index: ClassIndex,
        class: &Class,
        group: &[Subscriber],
    ) {
        if let Some(filter) = &class.filter {
            let evaluation = filter.evaluate(self.publication);
            *self.selector_steps += u64::from(evaluation.steps);
            if !evaluation.is_match {
                return;
            }
        }
        if class.framing == framing::QUEUE {
            self.bound.extend(group.iter().map(|subscriber| subscriber.connection));
            return;
        }
        match self.whole {
            Some(delivery) if class.framing & framing::SPECIAL != 0 => {
                self.deliver_specially(subscriptions, index, class, group, delivery);
            }
            _ => self.deliver_now(index, class, group),
        }
    }

    /// Delivers to those for whom nothing has to wait.
    fn deliver_specially(
        &mut self,
        subscriptions: &Subscriptions,
        index: ClassIndex,
        class: &Class,
        group: &[Subscriber],
        delivery: &Placed,
    ) {
        if class.framing & framing::SERVICE != 0 {
            return;
        }
        let mut at_once = Cow::Borrowed(group);
        if class.framing & framing::GATED != 0 && !self.gates.is_empty() {
            at_once = Cow::Owned(self.hold_at_gates(delivery, group));
        }
        if class.framing & framing::PACED != 0 {
            at_once = Cow::Owned(self.hold_back(subscriptions, delivery, &at_once));
        }
        if !at_once.is_empty() {
            self.deliver_now(index, class, &at_once);
        }
    }

    fn deliver_now(&mut self, index: ClassIndex, class: &Class, group: &[Subscriber]) {
        if class.version == NO_STOMP {
            return self.deliver_bare(class, group);
        }
        let version = version_of(class);
        let is_made_text = class.framing & framing::SOCKJS != 0 && !self.publication.is_utf8();
        if self.tail_of != Some((version, is_made_text)) {
            self.tail_of = Some((version, is_made_text));
            self.tail.clear();
            self.encode_tail(version, is_made_text);
        }
        let mut delivered = 0;
        if class.explicit_ack {
            for subscriber in group {
                delivered += u64::from(self.deliver_acknowledged(class, subscriber.connection));
            }
        } else {
            // Unique for each delivery within a connection: the publication and the class.
            let message_id = MessageId::of_class(self.sequence, index);
            let id = message_id.as_str();
            let framing = class.framing & (framing::WEBSOCKET | framing::SOCKJS);
            delivered = if framing == framing::SOCKJS {
                let message = self.encode_message(class, id, None);
                self.hand_over_to_all(group, &message)
            } else {
                let segment = self.encode_frame(class, id, None);
                self.enqueue_for_all(group, segment)
            };
        }
        self.metrics.messages_delivered.add(delivered);
        self.metrics.frames_sent(FrameOut::Message, delivered);
    }

    /// Queues one segment for all of a group. Gives the number of those that it was queued for.
    pub(super) fn enqueue_for_all(&mut self, group: &[Subscriber], segment: Segment) -> u64 {
        let mut delivered = 0;
        for subscriber in group {
            delivered += u64::from(self.enqueue(subscriber.connection, segment));
        }
        self.arena.retain_many(segment, std::mem::take(&mut self.references));
        self.metrics.outbound_bytes.add(delivered * u64::from(segment.len));
        delivered
    }

    /// Queues one message for the SockJS sessions of a group. Gives the number of those that it was
    /// queued for.
    pub(super) fn hand_over_to_all(&mut self, group: &[Subscriber], message: &Bytes) -> u64 {
        let mut delivered = 0;
        for subscriber in group {
            delivered += u64::from(self.hand_over(subscriber.connection, message.clone()));
        }
        delivered
    }

    /// Encodes one MESSAGE as the JSON string that a SockJS frame carries.
    fn encode_message(&mut self, class: &Class, message_id: &str, ack: Option<&str>) -> Bytes {
        self.encode_head(class, message_id, ack);
        let mut text = Vec::with_capacity(self.head.len() + self.tail.len() + 32);
        push_message(&mut text, &[self.head, self.tail]);
        Bytes::from(text)
    }

    /// Queues a message in a SockJS session, or ends it if it has too many. Says which.
    fn hand_over(&mut self, slot: u32, message: Bytes) -> bool {
        let connection = &mut self.connections[slot as usize];
        if !connection.is_live() {
            return false;
        }
        if self.sessions.send(slot, message).is_err() {
            self.overflowed.push(slot);
            return false;
        }
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.sessions.mark_dirty(slot);
        }
        true
    }

    /// Encodes what only this class gets.
    fn encode_head(&mut self, class: &Class, message_id: &str, ack: Option<&str>) {
        self.head.clear();
        let version = version_of(class);
        encode::message_head(self.head, version, class.id.as_deref(), message_id, ack);
        match self.note {
            Note::None => {}
            Note::Recovered => encode::message_header(self.head, version, "recovered:", "true"),
            Note::Missed(count) => {
                encode::message_header(self.head, version, "missed:", &count.to_string());
            }
        }
    }

    /// What SockJS cannot carry is replaced here, before `content-length` counts what arrives.
    fn encode_tail(&mut self, version: Version, is_made_text: bool) {
        if let Some(position) = self.position {
            // Ours come first, so that no publisher's own count: the first of a name does.
            let offset = position.offset.to_string();
            encode::message_header(self.tail, version, "offset:", &offset);
            encode::message_header(self.tail, version, "epoch:", &position.epoch);
        }
        if self.is_redelivered_told {
            encode::message_header(self.tail, version, "redelivered:", "false");
        }
        let (publication, destination) = (self.publication, self.destination);
        let text = is_made_text.then(|| String::from_utf8_lossy(publication.body()));
        let body = text.as_ref().map_or(publication.body(), |text| text.as_bytes());
        match publication.lines() {
            Some(lines) => {
                encode::message_tail_of_lines(self.tail, version, destination, lines, body);
            }
            None => {
                let headers = publication.headers();
                encode::message_tail(self.tail, version, destination, headers, body);
            }
        }
    }

    /// Encodes one complete MESSAGE with the tail of the class's version.
    fn encode_frame(&mut self, class: &Class, message_id: &str, ack: Option<&str>) -> Segment {
        self.encode_head(class, message_id, ack);
        if class.framing & framing::WEBSOCKET == 0 {
            return self.arena.append(&[self.head, self.tail]);
        }
        if class.framing & framing::SOCKJS != 0 {
            return encode_sockjs(self.arena, self.message, &[self.head, self.tail]);
        }
        let opcode = if self.publication.is_utf8() { Opcode::Text } else { Opcode::Binary };
        let mut header = [0; 14];
        if let Some((window, stored)) = framing::window(class.framing).zip(self.stored_header()) {
            let tail = &*self.tail;
            let tail = self.compressor.compressed(window, class.version, tail, self.metrics);
            if let Some(tail) = tail {
                let payload_bytes = (stored.len() + self.head.len() + tail.len()) as u64;
                let length = encode_header(&mut header, opcode, payload_bytes);
                header[0] |= RSV1;
                return self.arena.append(&[&header[..length], &stored, self.head, tail]);
            }
        }
        let payload_bytes = (self.head.len() + self.tail.len()) as u64;
        let length = encode_header(&mut header, opcode, payload_bytes);
        self.arena.append(&[&header[..length], self.head, self.tail])
    }

    /// What goes before the head in a compressed frame; none if no stored block can hold it.
    fn stored_header(&self) -> Option<[u8; STORED_HEADER_BYTES]> {
        u16::try_from(self.head.len()).ok().map(stored_block_header)
    }

    fn deliver_acknowledged(&mut self, class: &Class, slot: u32) -> bool {
        let cumulative = class.framing & framing::CUMULATIVE != 0;
        let mode = if cumulative { Mode::Cumulative } else { Mode::Individual };
        let id = class.id.as_deref().unwrap_or(self.destination);
        let stomp = self.connections[slot as usize].stomp();
        let ledger = stomp.ledger.get_or_insert_with(Ledger::new);
        if ledger.unacknowledged_of(id) >= self.unacknowledged_count_max {
            self.overflowed.push(slot);
            return false;
        }
        let number = MessageId::of_number(ledger.deliver(id, mode, Source::Topic, 0));
        let ack = (class.version == 2).then_some(number.as_str());
        if class.framing & (framing::WEBSOCKET | framing::SOCKJS) == framing::SOCKJS {
            let message = self.encode_message(class, number.as_str(), ack);
            return self.hand_over(slot, message);
        }
        let segment = self.encode_frame(class, number.as_str(), ack);
        let is_queued = self.enqueue(slot, segment);
        self.arena.retain_many(segment, std::mem::take(&mut self.references));
        if is_queued {
            self.metrics.outbound_bytes.add(u64::from(segment.len));
        }
        is_queued
    }

    /// Queues a delivery, or ends a consumer over the mark. Says whether it was queued. The caller
    /// retains the segment as often as `references` says.
    #[inline]
    fn enqueue(&mut self, slot: u32, segment: Segment) -> bool {
        let connection = &mut self.connections[slot as usize];
        if !connection.is_live() {
            return false;
        }
        if connection.outbound == NONE {
            let outbound = Outbound::of_unretained(segment);
            self.references += 1;
            let backlog = Backlog { outbound, progress_tick: self.tick };
            connection.outbound = self.backlogs.insert(backlog) as u32;
        } else {
            let outbound = &mut self.backlogs[connection.outbound as usize].outbound;
            // One frame more is always taken: a legal frame may be larger than the mark.
            if outbound.bytes() > self.outbound_bytes_max {
                self.overflowed.push(slot);
                return false;
            }
            self.references += u32::from(outbound.push_unretained(segment));
        }
        if !connection.is_dirty && !connection.is_blocked {
            connection.is_dirty = true;
            self.dirty.push(slot);
        }
        true
    }
}

/// Encodes one message as a frame of SockJS on WebSocket, from the pieces of its text; `scratch` is
/// for its payload.
pub(super) fn encode_sockjs(
    arena: &mut SendArena,
    scratch: &mut Vec<u8>,
    pieces: &[&[u8]],
) -> Segment {
    scratch.clear();
    scratch.extend_from_slice(b"a[");
    push_message(scratch, pieces);
    scratch.push(b']');
    let mut header = [0; 14];
    let length = encode_header(&mut header, Opcode::Text, scratch.len() as u64);
    arena.append(&[&header[..length], scratch])
}

/// A short text on the stack.
pub(super) struct MessageId {
    bytes: [u8; Self::BYTES],
    /// Where the text begins; it ends with the array.
    start: usize,
}

impl MessageId {
    /// Room for two 64-bit numbers, a letter and a dash.
    const BYTES: usize = 42;

    /// Of an automatic delivery: unique within a connection by publication and class. Always with
    /// a dash.
    pub(super) fn of_class(sequence: u64, class: ClassIndex) -> MessageId {
        let mut id = MessageId { bytes: [0; Self::BYTES], start: Self::BYTES };
        id.prepend(u64::from(class.0), 16);
        id.prepend_byte(b'-');
        id.prepend(sequence, 16);
        id
    }

    /// Of an automatic delivery of a queue.
    pub(super) fn of_queue(tag: u64, number: u64) -> MessageId {
        let mut id = MessageId { bytes: [0; Self::BYTES], start: Self::BYTES };
        id.prepend(number, 16);
        id.prepend_byte(b'-');
        id.prepend(tag, 16);
        id.prepend_byte(b'q');
        id
    }

    /// Of a delivery that waits for its ACK.
    pub(super) fn of_number(number: u64) -> MessageId {
        let mut id = MessageId { bytes: [0; Self::BYTES], start: Self::BYTES };
        id.prepend(number, 10);
        id
    }

    fn prepend(&mut self, mut number: u64, base: u64) {
        loop {
            self.prepend_byte(b"0123456789abcdef"[(number % base) as usize]);
            number /= base;
            if number == 0 {
                return;
            }
        }
    }

    fn prepend_byte(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.start..]).unwrap_or_default()
    }
}

/// Is this the `message-id` of a delivery that waits for no ACK? The others are plain numbers.
pub(super) fn is_auto_message_id(message_id: &str) -> bool {
    message_id.contains('-')
}
