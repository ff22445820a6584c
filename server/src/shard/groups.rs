//! Groups of a handler's sessions: what one says to a group is encoded once, not once for each.
//!
//! To the broker a group is a topic whose name no client can write, and its sessions' subscriptions
//! have a class of their own: a message without a frame of STOMP around it. So it has a home shard,
//! and with that one order for all; each shard encodes it once for raw WebSocket, once for SockJS
//! on WebSocket and once for the sessions that SockJS carries over HTTP. design.md §7.

use super::action::{self, Placed};
use super::deliver::{encode_sockjs, framing, FanOut};
use super::Shard;
use crate::handler::Message;
use crate::reactor::Reactor;
use bytes::Bytes;
use std::sync::Arc;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::subscriptions::{Class, Subscriber};
use stompede_core::sockjs::frame::push_message;
use stompede_core::stomp::request::AckMode;
use stompede_core::ws::frame::{encode_header, Opcode};

/// What their names start with: a control character, which no client's destination may contain, and
/// another one than that of internal names, which are of interest to one shard alone.
const GROUP: char = '\u{2}';

/// The `version` of their classes: none of STOMP's.
pub(super) const NO_STOMP: u8 = u8::MAX;

/// The header of a publication that was sent as bytes; that of a text has none.
const BINARY: (&str, &str) = ("binary", "1");

fn name_of(endpoint: usize, group: &str) -> String {
    format!("{GROUP}{endpoint}/{group}")
}

/// Is this the name of a group?
pub(super) fn is_group(name: &str) -> bool {
    name.starts_with(GROUP)
}

impl<R: Reactor> Shard<R> {
    /// A session joins a group of its endpoint; nothing new if it is in it.
    pub(super) fn join_group(&mut self, slot: u32, endpoint: usize, group: &str) {
        let name = name_of(endpoint, group);
        let head = self.connections[slot as usize].subscriptions;
        if self.subscriptions.find(head, None, Some(&name)).is_some() {
            return;
        }
        let mut class = self.class(slot, None, AckMode::Auto, None);
        class.version = NO_STOMP;
        // As all that handlers send.
        class.framing = framing::uncompressed(class.framing);
        let (key, _) = self.subscriptions.subscribe(slot, head, &name, None, class);
        self.connections[slot as usize].subscriptions = key.index();
    }

    /// A session leaves a group of its endpoint, if it is in it.
    pub(super) fn leave_group(&mut self, slot: u32, endpoint: usize, group: &str) {
        let name = name_of(endpoint, group);
        let head = self.connections[slot as usize].subscriptions;
        let Some(key) = self.subscriptions.find(head, None, Some(&name)) else { return };
        let (head, _) = self.subscriptions.unsubscribe(head, key);
        self.connections[slot as usize].subscriptions = head;
    }

    /// Sends a message to all sessions of a group, on all shards.
    pub(super) fn publish_to_group(&mut self, endpoint: usize, group: &str, message: Message<'_>) {
        let headers = matches!(message, Message::Binary(_)).then_some(BINARY);
        let name = name_of(endpoint, group);
        let publication = Publication::new(&name, headers.into_iter(), message.as_bytes());
        self.publish_to_topic(Arc::new(publication), None);
    }

    /// At the home shard: passes a group's message to every shard, whether it has a session of the
    /// group or not. Whoever joined before another spoke hears it, on whatever shards they are:
    /// there is no interest that could come too late.
    pub(super) fn order_for_group(&mut self, delivery: Placed) {
        for shard in (0..self.mesh.shards_count()).filter(|&shard| shard != self.index) {
            self.mesh.push(shard, action::Message::Deliver(delivery.clone()));
        }
        self.deliver(&delivery);
    }
}

impl FanOut<'_> {
    /// Delivers a message of a group to those of its sessions that get it alike. Bytes are not for
    /// SockJS, which carries text only.
    pub(super) fn deliver_bare(&mut self, class: &Class, group: &[Subscriber]) {
        let is_binary = self.publication.headers().next().is_some();
        let body = self.publication.body();
        let framing = class.framing & (framing::WEBSOCKET | framing::SOCKJS);
        let delivered = match framing {
            framing::WEBSOCKET => {
                let opcode = if is_binary { Opcode::Binary } else { Opcode::Text };
                let mut header = [0; 14];
                let length = encode_header(&mut header, opcode, body.len() as u64);
                let segment = self.arena.append(&[&header[..length], body]);
                self.enqueue_for_all(group, segment)
            }
            _ if is_binary => 0,
            framing::SOCKJS => {
                let mut text = Vec::with_capacity(body.len() + 16);
                push_message(&mut text, &[body]);
                self.hand_over_to_all(group, &Bytes::from(text))
            }
            _ => {
                let segment = encode_sockjs(self.arena, self.message, &[body]);
                self.enqueue_for_all(group, segment)
            }
        };
        self.metrics.handler_messages_sent.add(delivered);
    }
}
