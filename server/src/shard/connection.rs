//! The record of one connection, and what it borrows while it needs it.
//!
//! The record is what an idle connection costs (design.md §6): its size is asserted. Everything
//! that a connection needs only at times (unparsed bytes, waiting output, ledger, transactions)
//! lives elsewhere and is given back.

use stompede_core::broker::ledger::Ledger;
use stompede_core::broker::transaction::Transactions;
use stompede_core::outbound::Outbound;
use stompede_core::stomp::decode::Rules;
use stompede_core::stomp::negotiation::Version;
use stompede_core::ws::receiver::Receiver;

use super::action::Action;
use super::handlers::SessionState;
use super::http::Held;
use super::queues::consume::Links;
use super::reason::DisconnectReason;
use super::slow_input::Arrival;

/// No index: the connection has none of it.
pub const NONE: u32 = u32::MAX;

/// Which protocol the bytes of a connection belong to.
#[derive(Debug)]
pub enum Transport {
    /// HTTP/1.1 requests, until one of them upgrades.
    Http {
        /// Requests so far.
        requests_count: u32,
    },
    /// STOMP frames in WebSocket messages, or messages for a handler.
    WebSocket(Receiver),
    /// STOMP frames on raw TCP.
    Tcp,
    /// A virtual connection: messages of a SockJS session whose home is here.
    SockJs,
}

impl Transport {
    /// Of a connection that has not asked for anything yet.
    pub const HTTP: Transport = Transport::Http { requests_count: 0 };
}

/// Where a connection stands.
///
/// ```text
///  Free ─accept─> Opening ─CONNECT ok─> Open <─resume─ Waiting
///                    │                   │ └──remote shard──^
///                    └──────end──────────┴──> Closing ─flushed─> Lingering ─EOF, deadline─> Free
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The slot holds no connection.
    Free,
    /// HTTP, or STOMP before CONNECT.
    Opening,
    /// Logged in, or a handler's.
    Open,
    /// A frame or request waits for another shard, a password hash or a file; later ones wait
    /// behind it.
    Waiting,
    /// The last bytes are on their way out; input is discarded.
    Closing(DisconnectReason),
    /// All is sent and our half is closed; input is discarded so that no reset overtakes our bytes.
    Lingering(DisconnectReason),
}

/// One connection. See the size assertion below.
#[derive(Debug)]
pub struct Connection {
    /// The protocol in use.
    pub transport: Transport,
    /// Where it stands.
    pub phase: Phase,
    /// STOMP version agreed in CONNECTED.
    pub version: Version,
    /// Is it in the shard's list of connections to receive from?
    pub is_ready: bool,
    /// Is it in the shard's list of connections to flush?
    pub is_dirty: bool,
    /// Did the socket refuse bytes, so that we wait until it is writable?
    pub is_blocked: bool,
    /// Did the peer end its half, so that an end of stream waits behind the bytes?
    pub is_ended: bool,
    /// Is it not read from because too much waits for it?
    pub is_paused: bool,
    /// Of which SockJS endpoint its WebSocket messages are frames: its index plus one, or 0.
    pub sockjs: u8,
    /// Does it belong to a handler, so that its messages are not STOMP's?
    pub is_session: bool,
    /// Did we send a WebSocket ping since the peer's last byte?
    pub is_pinged: bool,
    /// Counts the connections that used this slot.
    pub generation: u32,
    /// Head of the list of subscriptions in the broker.
    pub subscriptions: u32,
    /// Index of the waiting output, or [`NONE`].
    pub outbound: u32,
    /// Index of the unparsed input, or [`NONE`].
    pub spill: u32,
    /// Ticks between two heart-beats that we owe, or 0.
    pub send_ticks: u16,
    /// Ticks between two heart-beats that the peer owes, or 0.
    pub expect_ticks: u16,
    /// What few connections need.
    pub extras: Option<Box<Extras>>,
}

const _: () = assert!(size_of::<Connection>() <= 64);

impl Connection {
    /// A slot without a connection.
    pub fn free() -> Connection {
        Connection {
            transport: Transport::HTTP,
            phase: Phase::Free,
            version: Version::V1_0,
            is_ready: false,
            is_dirty: false,
            is_blocked: false,
            is_ended: false,
            is_paused: false,
            sockjs: 0,
            is_session: false,
            is_pinged: false,
            generation: 0,
            subscriptions: NONE,
            outbound: NONE,
            spill: NONE,
            send_ticks: 0,
            expect_ticks: 0,
            extras: None,
        }
    }

    /// The rare parts, made on first use.
    pub fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// What few STOMP clients need, made on first use.
    pub fn stomp(&mut self) -> &mut StompExtras {
        self.extras().stomp.get_or_insert_default()
    }

    /// What waits for its acknowledgement, if anything ever did.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.extras.as_ref()?.stomp.as_ref()?.ledger.as_ref()
    }

    /// Incomplete input of a WebSocket, made on first use.
    pub fn ws_input(&mut self) -> &mut WsInput {
        self.extras().ws_input.get_or_insert_default()
    }

    /// Is a WebSocket message incomplete?
    pub fn is_mid_message(&self) -> bool {
        matches!(&self.transport, Transport::WebSocket(receiver) if receiver.is_mid_message())
    }

    /// Does it still speak HTTP?
    pub fn is_http(&self) -> bool {
        matches!(self.transport, Transport::Http { .. })
    }

    /// Are its WebSocket messages SockJS frames?
    pub fn is_sockjs(&self) -> bool {
        self.sockjs != 0
    }

    /// Is it a virtual connection?
    pub fn transport_is_sockjs(&self) -> bool {
        matches!(self.transport, Transport::SockJs)
    }

    /// Gives back what few connections need, if it is not needed now.
    pub fn give_back_extras(&mut self) {
        let Some(extras) = self.extras.as_mut() else { return };
        if extras.ws_input.as_ref().is_some_and(|input| input.is_empty()) {
            extras.ws_input = None;
        }
        if extras.is_empty() {
            self.extras = None;
        }
    }

    /// Takes the user who logged in with the upgrade request, if there is one.
    pub fn take_basic_user(&mut self) -> Option<String> {
        let user = self.extras.as_mut()?.stomp.as_mut()?.basic_user.take();
        self.give_back_extras();
        user.map(String::from)
    }

    /// The rules for the next STOMP frame; none while no frame may be taken.
    pub fn rules(&self) -> Option<Rules> {
        match (&self.transport, self.phase) {
            (Transport::Http { .. }, _) => None,
            (_, Phase::Opening) => Some(Rules::BeforeConnect),
            (_, Phase::Open) => Some(Rules::Version(self.version)),
            _ => None,
        }
    }

    /// Does the connection still take part in the protocol?
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Open | Phase::Waiting)
    }
}

/// State that few connections have, on the heap while they have it; what most of those do not have
/// either is once more on the heap.
#[derive(Debug, Default)]
pub struct Extras {
    /// What the connection waits for in [`Phase::Waiting`].
    pub waiting: Option<Waiting>,
    /// The request whose body is not over.
    pub held: Option<Box<Held>>,
    /// The session, if it belongs to a handler.
    pub session: Option<SessionState>,
    /// What few STOMP clients need.
    pub stomp: Option<Box<StompExtras>>,
    /// Incomplete input of a WebSocket.
    pub ws_input: Option<Box<WsInput>>,
}

const _: () = assert!(size_of::<Extras>() <= 88);

impl Extras {
    /// May the box be given back?
    pub fn is_empty(&self) -> bool {
        self.waiting.is_none()
            && self.held.is_none()
            && self.session.is_none()
            && self.stomp.as_ref().is_none_or(|stomp| stomp.is_empty())
            && self.ws_input.is_none()
    }
}

/// What few STOMP clients need.
#[derive(Debug, Default)]
pub struct StompExtras {
    /// Unacknowledged deliveries.
    pub ledger: Option<Ledger>,
    /// Open transactions.
    pub transactions: Option<Transactions<Action>>,
    /// Subscriptions to queues.
    pub(super) links: Option<Box<Links>>,
    /// Homes of queues that were sent to without receipt, and may refuse yet.
    pub unheard_homes: Vec<u32>,
    /// Who logged in with the upgrade request, until CONNECT.
    pub basic_user: Option<Box<str>>,
}

impl StompExtras {
    fn is_empty(&self) -> bool {
        self.ledger.is_none()
            && self.transactions.is_none()
            && self.links.is_none()
            && self.unheard_homes.is_empty()
            && self.basic_user.is_none()
    }
}

/// Bytes of a WebSocket that are not taken yet.
#[derive(Debug, Default)]
pub struct WsInput {
    /// An incomplete frame head, or what waits.
    pub rest: Vec<u8>,
    /// The pieces of an incomplete compressed message.
    pub deflated: Vec<u8>,
    /// Does `rest` wait for the next turn, because much was inflated in this one?
    pub is_inflating: bool,
    /// The pieces of an incomplete message of SockJS or for a handler.
    pub message: Vec<u8>,
    /// How fast the pieces come.
    pub arrival: Arrival,
}

impl WsInput {
    /// Is there a piece of an incomplete message?
    pub fn has_pieces(&self) -> bool {
        !(self.message.is_empty() && self.deflated.is_empty())
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty()
            && self.deflated.is_empty()
            && !self.is_inflating
            && self.message.is_empty()
    }
}

/// What completes when the awaited answers are in.
#[derive(Debug)]
pub struct Waiting {
    /// Answers still to come.
    pub answers_count: u32,
    /// What to do then.
    pub then: Then,
}

/// What happens when a wait is over.
#[derive(Debug)]
pub enum Then {
    /// Send these RECEIPTs.
    Receipts(Vec<Box<str>>),
    /// Make the subscription live, then send the RECEIPT if there is one.
    Subscribe(Box<super::action::Subscribe>),
    /// Make the subscription to a queue live: its consumer is registered.
    Consume(Box<super::action::Subscribe>),
    /// There is room in all queues: apply the transaction.
    Commit(Box<super::queues::Commit>),
    /// All that was sent was taken: send the RECEIPT and end.
    Disconnect(Option<Box<str>>),
    /// The login was checked.
    Connect(Box<super::action::Login>),
    /// The login of an upgrade request was checked.
    Upgrade(Box<super::action::Upgrade>),
    /// The reading thread is asked for a piece of a file, or the last piece is being sent and this
    /// is what follows it.
    File {
        /// Does the connection stay open after the file?
        keep_alive: bool,
        /// What to ask for when the last piece is sent.
        rest: Option<crate::static_files::Rest>,
    },
    /// A request for a SockJS session is being answered.
    SockJs(Box<super::sockjs::exchange::Exchange>),
    /// All that was queued is sent: take the next request.
    Flushed,
    /// The next turn has begun: go on.
    Turn,
}

/// Input of one connection that is not decoded yet: the start of a STOMP frame or of a request.
#[derive(Debug, Default)]
pub struct Spill {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// No attempt to decode makes sense with fewer bytes, unless a delimiter comes.
    pub retry_at_bytes: usize,
    /// How fast they come.
    pub arrival: Arrival,
}

/// Output that waits for one connection.
#[derive(Debug, Default)]
pub struct Backlog {
    /// The segments.
    pub outbound: Outbound,
    /// Tick at which the socket last took bytes or became writable.
    pub progress_tick: u32,
}
