//! Commands of clients in the form in which they wait or travel: owned, validated, small.

use super::pace::Own;
use super::sockjs::{Call, Reply};
use crate::handler::SessionInfo;
use std::sync::Arc;
use stompede_core::broker::binding::Binding;
use stompede_core::broker::history::{Past, Position};
use stompede_core::broker::publication::Publication;
use stompede_core::broker::queue::arguments::Arguments;
use stompede_core::broker::queue::{Consumer, ConsumerId, Delivery, Settlement, Unsettled};
use stompede_core::broker::selector::Filter;
use stompede_core::broker::user::Session;
use stompede_core::stomp::error::Error;
use stompede_core::stomp::heartbeat::Agreement;
use stompede_core::stomp::negotiation::Version;
use stompede_core::stomp::replay::Replay;
use stompede_core::stomp::request::AckMode;
use stompede_core::ws::extensions::Window;

/// What a transaction keeps until COMMIT.
#[derive(Clone, Debug)]
pub enum Action {
    /// A SEND, with its receipt.
    Publish(Arc<Publication>, Option<Box<str>>),
    /// An ACK or NACK of the delivery with this number.
    Settle { number: u64, subscription: Option<Box<str>>, settlement: Settlement },
}

/// A SUBSCRIBE that waits until every shard knows of it.
#[derive(Debug)]
pub struct Subscribe {
    /// The client's subscription id; `None` only in STOMP 1.0.
    pub id: Option<Box<str>>,
    /// Destination or pattern.
    pub destination: Box<str>,
    /// How deliveries are acknowledged.
    pub ack: AckMode,
    /// RECEIPT to send once the subscription is live.
    pub receipt: Option<Box<str>>,
    /// What it gets of the past first.
    pub replay: Replay,
    /// What the client says of its own slowness.
    pub pace: Option<Box<Own>>,
    /// What else it asks for.
    pub terms: Terms,
}

/// What a SUBSCRIBE may ask for.
#[derive(Debug, Default)]
pub struct Terms {
    /// `selector`.
    pub filter: Option<Arc<Filter>>,
    /// `prefetch-count`: deliveries of a queue that may wait for their ACK.
    pub prefetch: Option<u32>,
    /// `exclusive`: nobody else gets messages of this queue meanwhile.
    pub is_exclusive: bool,
    /// What is asked of the queue.
    pub arguments: Option<Box<Arguments>>,
    /// The name that subscribers of a topic share its messages by.
    pub shared_as: Option<Box<str>>,
    /// `durable`: it goes on when nobody is connected.
    pub is_durable: bool,
}

/// A consumer for a queue, which is made if it is not there.
#[derive(Debug)]
pub struct Consume {
    /// The queue.
    pub name: Box<str>,
    /// Who it is.
    pub consumer: ConsumerId,
    /// On which terms.
    pub terms: Consumer,
    /// What is asked of the queue.
    pub arguments: Option<Box<Arguments>>,
    /// The topic that the queue listens to.
    pub binding: Option<Binding>,
}

/// A CONNECT that waits for its password check.
#[derive(Debug)]
pub struct Login {
    /// The version agreed.
    pub version: Version,
    /// Heart-beats agreed.
    pub agreement: Agreement,
    /// Our heart-beat header.
    pub heartbeat: (u32, u32),
    /// The name logged in with.
    pub user: Option<String>,
    /// What the client calls itself.
    pub client_id: Option<Box<str>>,
    /// The client asked for soft errors.
    pub is_soft: bool,
}

/// An upgrade request that waits for its password check.
#[derive(Debug)]
pub struct Upgrade {
    /// The 101.
    pub response: Vec<u8>,
    /// The window of permessage-deflate, if that was agreed on.
    pub deflate: Option<Window>,
    /// The name logged in with; empty without a login.
    pub user: Box<str>,
    /// The handler's session to open; without one it is STOMP.
    pub(crate) session: Option<Box<SessionInfo>>,
}

/// A publication with its place, on its way to subscribers.
#[derive(Clone, Debug)]
pub struct Placed {
    /// What was sent.
    pub publication: Arc<Publication>,
    /// The number that its home shard gave it; unique in the server.
    pub sequence: u64,
    /// Its place in its destination's history, if that keeps one.
    pub position: Option<Position>,
}

/// A message from shard to shard.
#[derive(Debug)]
pub enum Message {
    /// To the home shard of its destination: order it and pass it on. The asker wants an answer if
    /// set.
    Publish(Arc<Publication>, Option<Asker>),
    /// From the home shard: deliver to the local subscribers.
    Deliver(Placed),
    /// To the home shard: the sender has (or has no more) subscribers of this destination.
    Interest { destination: Box<str>, is_wanted: bool, asker: Option<Asker> },
    /// To the home shard: as above, and the asker wants what the destination's history has for it.
    Subscribe { destination: Box<str>, replay: Box<Replay>, asker: Asker },
    /// To every shard: the sender has (or has no more) subscribers of this pattern.
    PatternInterest { pattern: Box<str>, is_wanted: bool, asker: Option<Asker> },
    /// To the home shard of a user: one of their sessions came or went.
    Session { user: Box<str>, session: Session, is_here: bool, asker: Option<Asker> },
    /// To the home shard of a user: order it and pass it to their sessions.
    PublishToUser(Arc<Publication>, Option<Asker>),
    /// From the home shard of a user: deliver to this session.
    DeliverToSession { publication: Arc<Publication>, sequence: u64, session: Session },
    /// To the shard of a requester: the answer.
    Reply(Arc<Publication>, Option<Asker>),
    /// To the home of a SockJS session: what a client asks of it, or how its answer gets on.
    SockJsCall(Box<Call>),
    /// From the home of a SockJS session, for the connection of a client.
    SockJsReply(Box<Reply>),
    /// The answer to an asker.
    Done { slot: u32, generation: u32 },
    /// The answer to `Subscribe`; what the home shard delivers after it is what follows.
    Past { slot: u32, generation: u32, past: Box<Past> },
    /// To the home of a queue: a message, until then in Unix milliseconds. A refusal is answered
    /// always, success if `is_awaited`. It may have arguments if `is_declaring`.
    Enqueue {
        publication: Arc<Publication>,
        expires_ms: Option<u64>,
        asker: Option<Asker>,
        is_awaited: bool,
        is_declaring: bool,
    },
    /// To an asker: no, and why; `is_answer` if it waits for this one.
    Refused { asker: Asker, error: Error, is_answer: bool },
    /// To the home of a queue: a consumer.
    Consume(Box<Consume>),
    /// From the home of a queue to that of a topic, of a pattern to every shard: the queue listens
    /// to it, for this consumer.
    Listen { topic: Box<str>, consumer: ConsumerId },
    /// The answer: what is published after it comes.
    Listening { consumer: ConsumerId },
    /// The answer to `Consume`: the consumer is registered with the queue of this index.
    Consuming { consumer: ConsumerId, queue: u32 },
    /// From the home of a queue: for one of the consumers there.
    Delivery(Delivery),
    /// To the home of a queue: what became of a delivery.
    Settle { queue: u32, consumer: ConsumerId, tag: u64, settlement: Settlement },
    /// To the home of a queue: the consumer is gone, and if `is_final` the queue with its last one.
    Leave { queue: u32, consumer: ConsumerId, unsettled: Unsettled, is_final: bool },
    /// To the home of queues: keep room for a transaction.
    Reserve(Box<(Asker, Wanted)>),
    /// To the home of queues: the transaction is off.
    Release(Asker),
    /// To a home: its part of a transaction.
    Apply(Box<Batch>),
    /// Answered when everything before it was.
    Barrier(Asker),
}

const _: () = assert!(size_of::<Message>() <= 64);

impl Message {
    /// The slot of the connection here that it is for, if it is for one alone and not for what has
    /// its home here.
    pub(super) fn receiver(&self) -> Option<u32> {
        match self {
            Message::Done { slot, .. } | Message::Past { slot, .. } => Some(*slot),
            Message::SockJsReply(reply) => Some(reply.to.slot),
            Message::Refused { asker, .. } => Some(asker.slot),
            Message::Consuming { consumer, .. } | Message::Listening { consumer } => {
                Some(consumer.slot)
            }
            Message::Delivery(delivery) => Some(delivery.consumer.slot),
            _ => None,
        }
    }
}

/// The room in queues that a transaction wants.
pub type Wanted = Vec<Room>;

/// The room in one queue that a transaction wants.
#[derive(Debug)]
pub struct Room {
    /// The queue.
    pub name: Box<str>,
    /// Messages.
    pub count: usize,
    /// Their bytes.
    pub bytes: usize,
    /// What is asked of the queue.
    pub arguments: Option<Box<Arguments>>,
}

/// The part of a transaction that one shard applies.
#[derive(Debug)]
pub struct Batch {
    /// Whose transaction it is.
    pub asker: Asker,
    /// Does it wait for an answer?
    pub is_awaited: bool,
    /// What to do, in order.
    pub steps: Vec<Step>,
}

/// One step of a [`Batch`].
#[derive(Debug)]
pub enum Step {
    /// Order it and pass it on.
    Publish(Arc<Publication>),
    /// Into its queue, until then in Unix milliseconds; there is room.
    Enqueue(Arc<Publication>, Option<u64>),
    /// Settle a delivery.
    Settle { queue: u32, consumer: ConsumerId, tag: u64, settlement: Settlement },
}

/// The connection that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asker {
    /// Its shard.
    pub shard: usize,
    /// Its slot there.
    pub slot: u32,
    /// The slot's generation: an answer for an older one is dropped.
    pub generation: u32,
}
