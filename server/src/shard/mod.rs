//! One shard: a thread that owns its sockets, their clients' state and its part of the broker.
//!
//! The turn, in order: wait for events, take what other shards sent ([`remote`]), receive and
//! decode ([`recv`], [`http`], [`command`]), deliver ([`deliver`]), flush every dirty connection
//! once ([`send`]), and every 250 ms the tick ([`tick`]). Nothing here blocks and nothing is shared
//! but the mesh and the counters.

pub mod action;
pub mod admission;
pub mod affinity;
mod app;
pub mod attempts;
pub mod census;
pub mod command;
pub mod compress;
pub mod connection;
pub mod control;
pub mod deliver;
pub mod files;
mod groups;
pub mod guard;
pub mod handlers;
pub mod history;
pub mod http;
pub mod inflate;
pub(crate) mod letters;
pub mod login;
pub mod memory;
pub mod pace;
pub mod password;
pub mod peer;
pub mod proxied;
pub mod publish;
pub mod queues;
pub mod reason;
pub mod recv;
pub mod remote;
pub mod replies;
pub mod send;
pub mod service;
pub mod settle;
pub mod slow_input;
pub mod snapshot;
pub mod sockjs;
pub mod subscribe;
pub mod table;
pub mod tick;
pub mod users;
pub mod work;

use crate::app::{App, Outbox};
use crate::auth::{doubts, Authenticator};
use crate::config::Config;
use crate::handler::endpoint::Endpoints;
use crate::inbox::Inbox;
use crate::log::Suppressor;
use crate::mesh::Mesh;
use crate::metrics::ShardMetrics;
use crate::reactor::{Event, Reactor, Shortfall, TICK_MS};
use crate::sockjs::SockJs;
use action::{Asker, Message};
use admission::{AddressCounts, ConnectionRate, SLOTS_RESERVED};
use attempts::FailedLogins;
use compress::Compressor;
use connection::{Backlog, Connection, Phase, Spill, Transport, NONE};
use files::FileReads;
use handlers::Handlers;
use letters::Letter;
use pace::Paces;
use password::PasswordChecks;
use peer::Peer;
use proxied::Proxied;
use queues::Queues;
use reason::DisconnectReason;
use slab::Slab;
use snapshot::Gates;
use sockjs::Sessions;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;
use stompede_core::broker::authorization::Authorization;
use stompede_core::broker::destination::Prefixes;
use stompede_core::broker::history::Histories;
use stompede_core::broker::interest::Interest;
use stompede_core::broker::pattern::Pattern;
use stompede_core::broker::queue::Output;
use stompede_core::broker::reply::Replies;
use stompede_core::broker::subscriptions::Subscriptions;
use stompede_core::broker::user::{Session, Users};
use stompede_core::http::origin::OriginPolicy;
use stompede_core::outbound::SendArena;
use stompede_core::stomp::frame::HeaderTable;
use stompede_core::ws::deflate::Inflater;
use stompede_core::ws::extensions::Window;
use stompede_core::ws::frame::Opcode;
use stompede_core::ws::receiver::Receiver;
use table::{is_virtual, Table};
use work::Postponed;

/// Bytes received from one connection at a time.
const RECV_STRIDE_BYTES: usize = 16_384;
/// Connections received from in one batch.
const RECV_BATCH: usize = 32;
/// Connections received from in one turn.
const RECVS_PER_TURN: usize = 512;
/// Messages taken from other shards in one turn.
const MESH_MESSAGES_PER_TURN: usize = 4096;

/// Lines of one kind that a shard logs in a second.
const LOG_LINES_PER_SECOND: u32 = 5;

/// What all shards of a server have in common; never changed after the start.
pub struct Shared {
    /// The operator's options.
    pub config: Config,
    /// Who may log in.
    pub authenticator: Authenticator,
    /// Which pages may open a WebSocket or a SockJS session.
    pub origins: OriginPolicy,
    /// What speaks SockJS, and where.
    pub sockjs: SockJs,
    /// Random key of this start: home shards, session ids, hash tables.
    pub key: u64,
    /// `uring` or `epoll`.
    pub driver: &'static str,
    /// Set once to begin the drain.
    pub is_draining: AtomicBool,
    /// Shards without clients since then. None leaves before all are: others may wait for its word.
    pub drained_count: AtomicUsize,
    /// Counters by shard.
    pub metrics: Vec<Arc<ShardMetrics>>,
    /// Which destinations there are, and what they mean.
    pub prefixes: Prefixes,
    /// Who may send and subscribe where.
    pub authorization: Authorization,
    /// Connections by client address, if they are limited.
    pub address_counts: Option<AddressCounts>,
    /// SockJS sessions by client address, if they are limited.
    pub session_counts: Option<AddressCounts>,
    /// Log-ins that failed by client address, if they are limited.
    pub failed_logins: Option<FailedLogins>,
    /// What handlers serve.
    pub endpoints: Endpoints,
    /// What mappings serve.
    pub app: App,
}

impl Shared {
    /// What `config` asks for; `key` is random per start, `driver` is `uring` or `epoll`.
    ///
    /// # Errors
    /// A users file, a rule or an origin that cannot be used, in words for the operator.
    pub fn new(config: Config, key: u64, driver: &'static str) -> Result<Shared, String> {
        Shared::with_endpoints(config, Endpoints::default(), key, driver)
    }

    /// As [`Shared::new`], with handlers.
    ///
    /// # Errors
    /// Those of [`Shared::new`].
    pub fn with_endpoints(
        config: Config,
        endpoints: Endpoints,
        key: u64,
        driver: &'static str,
    ) -> Result<Shared, String> {
        let authenticator = Authenticator::from_config(&config)?;
        let authorization = config.authorization()?;
        for warning in doubts(&config, &authenticator, &authorization) {
            tracing::warn!("{warning}");
        }
        Ok(Shared {
            authenticator,
            origins: OriginPolicy::parse(&config.allowed_origins)?,
            prefixes: Prefixes::of(config.profile),
            authorization,
            sockjs: SockJs::new(&config, &endpoints)?,
            key,
            driver,
            is_draining: AtomicBool::new(false),
            drained_count: AtomicUsize::new(0),
            metrics: (0..config.shards_count()).map(|_| Arc::default()).collect(),
            app: App::default(),
            endpoints,
            address_counts: (config.connections_per_ip_max > 0).then(AddressCounts::default),
            failed_logins: (config.login_failures_max > 0)
                .then(|| FailedLogins::new(config.login_failures_max)),
            session_counts: (config.sockjs_sessions_per_ip_max > 0).then(AddressCounts::default),
            config,
        })
    }

    /// The pattern of an operator's rule about destinations, in the dialect of its prefix. A
    /// literal name is a pattern that matches itself.
    fn rule_pattern(&self, text: &str) -> Option<Pattern> {
        self.prefixes.rule(text, &self.config.limits).ok()
    }
}

/// One shard. Everything in it belongs to one thread.
pub struct Shard<R> {
    index: usize,
    shared: Arc<Shared>,
    metrics: Arc<ShardMetrics>,
    reactor: R,
    mesh: Mesh<Message>,
    /// By slot.
    connections: Table<Connection>,
    peers: Table<Peer>,
    /// Of trusted proxies, by slot.
    proxied: BTreeMap<u32, Proxied>,
    /// Ticks at which bytes last came and went, by slot: dense, swept by the tick.
    last_read: Table<u32>,
    last_write: Table<u32>,
    /// SockJS sessions whose home is here.
    sessions: Sessions,
    backlogs: Slab<Backlog>,
    spills: Slab<Spill>,
    arena: SendArena,
    subscriptions: Subscriptions,
    /// Interest in the destinations whose home is here, and in all patterns.
    interest: Interest,
    /// Of the topics whose home is here.
    histories: Histories,
    /// Of subscriptions here whose deliveries may have to wait.
    paces: Paces,
    /// Subscriptions here that wait for their snapshot.
    gates: Gates,
    /// Turns so far: the shard whose messages come first changes with them.
    turns_count: usize,
    /// Do other shards' messages come behind the clients of this one?
    is_mesh_last: bool,
    /// Work of selectors in this turn, in steps.
    selector_steps: u64,
    /// Who goes on in the next turn.
    postponed: VecDeque<Postponed>,
    /// The tick at which the histories were last looked through.
    swept_tick: u32,
    /// Publications numbered here, as home shard.
    sequence: u64,
    /// Queues whose home is here.
    queues: Queues,
    ready: Vec<u32>,
    dirty: Vec<u32>,
    /// Slots of connections that wait, and for which nothing waits any more since this turn.
    flushed: Vec<u32>,
    /// Consumers found too slow during a delivery.
    overflowed: Vec<u32>,
    /// Of the publications that were delivered since all that waited was sent or refused.
    unflushed_bytes: usize,
    /// Bytes that may wait for one connection now; see [`tick`].
    outbound_bytes_max: usize,
    password_checks: PasswordChecks,
    file_reads: FileReads,
    handlers: Handlers,
    /// What mappings sent.
    outbox: Rc<Outbox>,
    /// What publishers of the embedding program sent.
    letters: Inbox<Letter>,
    /// Destinations and patterns of subscriptions that wait to become live: their interest stays.
    pending_interest: Vec<Box<str>>,
    /// Clients that are not just anybody; see [`users`].
    clients: Slab<users::Client>,
    /// Their numbers by slot, counted from 1: pages of anonymous clients stay untouched.
    client_numbers: Table<u32>,
    /// Sessions of the users whose home is here.
    users: Users,
    /// Reply queues of the connections here.
    replies: Replies,
    tick: u32,
    /// The tick that was last acted on.
    last_tick: u32,
    /// The reactor's clock at the beginning of this turn.
    now_ms: u64,
    /// The time of day when that clock began, in Unix milliseconds; see [`queues`].
    born_unix_ms: u64,
    /// Slots in use.
    live_count: usize,
    /// More connections than these are refused.
    connections_max: usize,
    connection_rate: ConnectionRate,
    /// Is the mark of `memory-max` passed, since the last tick?
    is_over_memory: bool,
    /// Bytes that came since unfinished messages were last looked at, and may be of them.
    unseen_bytes: u64,
    is_draining: bool,
    /// It is one of `drained_count`.
    is_drained: bool,
    /// The drain has come so far: slots below were told.
    drain_slot: u32,
    suppressor: Suppressor,
    header_table: HeaderTable,
    compressor: Compressor,
    /// Made on first use.
    inflater: Option<Box<Inflater>>,
    /// Bytes inflated for the connection in hand, in this turn.
    inflated_bytes: usize,
    scratch: Scratch,
}

/// Buffers used within one call and kept for the next.
#[derive(Default)]
struct Scratch {
    events: Vec<Event>,
    receive: Vec<u8>,
    results: Vec<Result<usize, i32>>,
    shortfalls: Vec<Shortfall>,
    /// Slots that are received from or flushed.
    batch: Vec<u32>,
    tail: Vec<u8>,
    head: Vec<u8>,
    /// A frame that is no MESSAGE.
    frame: Vec<u8>,
    sessions: Vec<Session>,
    name: String,
    shown: String,
    /// What a queue wants done.
    outputs: Vec<Output>,
    /// Queues that a publication comes to.
    bound: Vec<u32>,
    /// A MESSAGE as a SockJS frame.
    message: Vec<u8>,
}

impl<R: Reactor> Shard<R> {
    /// Makes the shard with index `index` of those that `mesh` connects.
    pub fn new(index: usize, shared: Arc<Shared>, reactor: R, mesh: Mesh<Message>) -> Self {
        let slots_count = reactor.slots_count();
        let metrics = shared.metrics[index].clone();
        let receive = vec![0; RECV_STRIDE_BYTES * RECV_BATCH];
        Shard {
            index,
            metrics,
            connections: Table::new(slots_count),
            peers: Table::new(slots_count),
            proxied: BTreeMap::new(),
            last_read: Table::new(slots_count),
            last_write: Table::new(slots_count),
            sessions: Sessions::new(&shared),
            backlogs: Slab::new(),
            spills: Slab::new(),
            arena: SendArena::new(stompede_core::outbound::CHUNK_BYTES),
            subscriptions: Subscriptions::new(shared.key),
            interest: Interest::new(shared.key),
            histories: history::histories(&shared, index),
            paces: Paces::new(&shared),
            gates: Gates::default(),
            turns_count: 0,
            is_mesh_last: false,
            selector_steps: 0,
            postponed: VecDeque::new(),
            swept_tick: 0,
            sequence: 0,
            queues: Queues::new(&shared.config, shared.key),
            ready: Vec::new(),
            dirty: Vec::new(),
            flushed: Vec::new(),
            overflowed: Vec::new(),
            unflushed_bytes: 0,
            outbound_bytes_max: shared.config.outbound_bytes_max,
            pending_interest: Vec::new(),
            outbox: Outbox::new(mesh.doorbell().clone()),
            letters: letters::inbox(mesh.doorbell().clone(), &shared),
            clients: Slab::new(),
            client_numbers: Table::new(slots_count),
            users: Users::new(shared.key),
            replies: Replies::new(index as u32, shared.key),
            password_checks: PasswordChecks::new(
                mesh.doorbell().clone(),
                shared.config.limits.logins_waiting_count_max,
            ),
            file_reads: FileReads::new(mesh.doorbell().clone(), shared.clone()),
            handlers: Handlers::new(index, &shared, mesh.doorbell().clone()),
            tick: 1,
            last_tick: 1,
            now_ms: 0,
            born_unix_ms: reactor.unix_ms().saturating_sub(reactor.now_ms()),
            live_count: 0,
            connections_max: connections_max(&shared.config, slots_count),
            connection_rate: ConnectionRate::default(),
            is_over_memory: false,
            unseen_bytes: 0,
            is_draining: false,
            is_drained: false,
            drain_slot: 0,
            suppressor: Suppressor::new(LOG_LINES_PER_SECOND),
            header_table: HeaderTable::default(),
            compressor: Compressor::new(shared.config.compression_threshold_bytes),
            inflater: None,
            inflated_bytes: 0,
            scratch: Scratch { receive, ..Scratch::default() },
            reactor,
            shared,
            mesh,
        }
    }

    /// Takes what publishers put here.
    pub(crate) fn with_letters(self, letters: Inbox<Letter>) -> Self {
        Shard { letters, ..self }
    }

    /// Runs until the drain is over.
    ///
    /// # Errors
    /// What the kernel says when the ring or the epoll set itself breaks.
    pub async fn run(&mut self) -> std::io::Result<()> {
        while !self.turn().await? {}
        Ok(())
    }

    /// Waits for events and does the work of one turn. Says whether the drain is over.
    ///
    /// # Errors
    /// Those of [`Reactor::wait`].
    pub async fn turn(&mut self) -> std::io::Result<bool> {
        let mut events = std::mem::take(&mut self.scratch.events);
        let may_sleep = self.prepare_sleep();
        self.reactor.wait(&mut events, may_sleep).await?;
        self.mesh.doorbell().wake_up();
        self.metrics.loop_turns.inc();
        // From the clock, not by counting: a late turn must not slow the deadlines down.
        self.now_ms = self.reactor.now_ms();
        self.tick = 1 + (self.now_ms / TICK_MS) as u32;
        let is_tick_due = events.contains(&Event::Tick);
        for event in events.drain(..) {
            self.on_event(event);
        }
        if is_tick_due {
            // Last: after a pause, what came during it counts before the deadlines do.
            self.on_tick();
        }
        self.scratch.events = events;
        // Behind a turn that was too much, the own clients come first: each has its share of two.
        self.is_mesh_last = self.is_overworked() && !self.is_mesh_last;
        self.selector_steps = 0;
        self.turns_count = self.turns_count.wrapping_add(1);
        if !self.is_mesh_last {
            // What another shard did before it told its client may matter to what that client then
            // says here.
            self.take_messages();
            self.resume_postponed();
            self.receive_ready();
        } else {
            self.resume_postponed();
            self.receive_ready();
            self.take_messages();
        }
        self.watch_input();
        self.dispatch_queues();
        // What a RECEIPT promises is on its way before the RECEIPT is.
        self.mesh.release();
        self.flush_sessions();
        self.flush_dirty();
        self.forget_written();
        self.mesh.flush();
        self.say_farewells();
        Ok(self.is_draining && self.is_drain_over())
    }

    /// The reactor: a simulation drives and inspects it between turns.
    pub fn reactor(&mut self) -> &mut R {
        &mut self.reactor
    }

    /// Says whether there is nothing left to do, after telling other shards that we sleep.
    fn prepare_sleep(&mut self) -> bool {
        let is_idle = self.ready.is_empty() && self.dirty.is_empty() && self.sessions.is_flushed();
        if !is_idle
            || !self.flushed.is_empty()
            || !self.postponed.is_empty()
            || self.queues.has_work()
            || self.mesh.overflow_count() > 0
        {
            return false;
        }
        self.mesh.doorbell().prepare_sleep();
        // A message that came before the flag was set rang no bell: look once more.
        self.mesh.is_empty()
            && !self.password_checks.has_answer()
            && !self.file_reads.has_reply()
            && !self.handlers.has_post()
            && !self.letters.has_post()
            && self.outbox.is_empty()
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Accepted { slot, listener, peer } => self.on_accept(slot, listener, peer),
            Event::AcceptFailed { errno } => {
                self.metrics.accept_errors.inc();
                if self.may_log("accept") {
                    let error = std::io::Error::from_raw_os_error(errno);
                    tracing::warn!(
                        shard = self.index,
                        %error,
                        "a connection was dropped at accept; see stompede probe for the limits"
                    );
                }
            }
            Event::Readable { slot } => self.mark_ready(slot),
            Event::Ended { slot } => {
                if let Some(connection) = self.connections.get_mut(slot as usize) {
                    connection.is_ended = true;
                    self.mark_ready(slot);
                }
            }
            Event::Writable { slot } => {
                if let Some(connection) = self.connections.get_mut(slot as usize) {
                    connection.is_blocked = false;
                    // The peer took something, whatever becomes of the next send.
                    if let Some(backlog) = self.backlogs.get_mut(connection.outbound as usize) {
                        backlog.progress_tick = self.tick;
                    }
                    self.mark_dirty(slot);
                }
            }
            // The tick is done behind the other events; a shard connects to nobody.
            Event::Woken | Event::Tick | Event::Connected { .. } | Event::ConnectFailed { .. } => {}
        }
    }

    fn on_accept(&mut self, slot: u32, listener: u8, peer: SocketAddr) {
        let transport = if listener == 1 { Transport::Tcp } else { Transport::HTTP };
        self.take_slot(slot, transport, Peer::from(peer));
        self.admit(slot);
        if self.is_draining {
            self.end(slot, DisconnectReason::Drain);
        }
    }

    /// The record of a slot becomes that of a new connection.
    fn take_slot(&mut self, slot: u32, transport: Transport, peer: Peer) {
        self.connections.grow(slot, Connection::free);
        self.peers.grow(slot, Peer::default);
        self.last_read.grow(slot, || 0);
        self.last_write.grow(slot, || 0);
        self.client_numbers.grow(slot, || 0);
        let connection = &mut self.connections[slot as usize];
        connection.generation = connection.generation.wrapping_add(1);
        connection.phase = Phase::Opening;
        connection.transport = transport;
        self.peers[slot as usize] = peer;
        self.last_read[slot as usize] = self.tick;
        self.last_write[slot as usize] = self.tick;
        self.metrics.opened();
    }

    fn mark_ready(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        // A virtual connection is not received from.
        if connection.phase != Phase::Free && !connection.is_ready && !is_virtual(slot) {
            connection.is_ready = true;
            self.ready.push(slot);
        }
    }

    fn mark_dirty(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if connection.phase != Phase::Free && !connection.is_dirty && !connection.is_blocked {
            connection.is_dirty = true;
            if is_virtual(slot) {
                self.sessions.mark_dirty(slot);
            } else {
                self.dirty.push(slot);
            }
        }
    }

    /// Begins the end of a connection: no more input, its subscriptions go, what waits is sent.
    fn end(&mut self, slot: u32, reason: DisconnectReason) {
        self.end_because(slot, reason, None);
    }

    /// As [`Shard::end`]; `error`: what the client did, for the log.
    fn end_because(&mut self, slot: u32, reason: DisconnectReason, error: Option<&dyn Display>) {
        if !self.connections[slot as usize].is_live() {
            return;
        }
        self.log_end(slot, reason, error);
        let head = self.connections[slot as usize].subscriptions;
        let mut removed = Vec::new();
        self.subscriptions.remove_connection(head, |last| removed.push(last));
        for last in removed {
            self.withdraw_interest(last.destination, last.is_pattern);
        }
        if is_virtual(slot) {
            self.leave_session(slot, reason);
        }
        self.abandon_exchange(slot);
        self.forget_pending(slot);
        self.forget_client(slot);
        self.replies.close(slot);
        self.leave_queues(slot, reason);
        self.take_leave(slot, reason);
        self.forget_paces(slot);
        self.forget_gates(slot);
        let connection = &mut self.connections[slot as usize];
        connection.subscriptions = NONE;
        connection.extras = None;
        connection.phase = Phase::Closing(reason);
        connection.send_ticks = 0;
        connection.expect_ticks = 0;
        self.last_read[slot as usize] = self.tick;
        self.metrics.closed(reason as usize);
        self.drop_spill(slot);
        self.mark_dirty(slot);
    }

    fn log_end(&mut self, slot: u32, reason: DisconnectReason, error: Option<&dyn Display>) {
        let peer = self.peers[slot as usize];
        if reason.is_usual() {
            tracing::debug!(shard = self.index, %peer, %reason, "end");
        } else if self.may_log(reason.name()) {
            let (shard, user) = (self.index, self.user(slot));
            // As a text, which the log escapes: it may quote what the client sent.
            let error = error.map(ToString::to_string);
            let waiting_bytes = self.backlog_bytes(slot);
            tracing::info!(shard, %peer, %reason, user, error, waiting_bytes, "end");
        }
    }

    /// Ends a connection whose socket is of no more use.
    fn abort(&mut self, slot: u32, reason: DisconnectReason) {
        self.end(slot, reason);
        self.release(slot);
    }

    /// Closes the socket and frees the record.
    fn release(&mut self, slot: u32) {
        self.drop_backlog(slot);
        self.drop_spill(slot);
        let connection = &mut self.connections[slot as usize];
        if connection.phase == Phase::Free {
            return;
        }
        let Connection { generation, is_ready, is_dirty, .. } = *connection;
        // The lists may still name the slot, once each: the flags stay, so that this remains true
        // for the connection that gets the slot next.
        *connection = Connection { generation, is_ready, is_dirty, ..Connection::free() };
        if is_virtual(slot) {
            return self.release_session(slot);
        }
        self.reactor.close(slot);
        self.discharge(slot);
    }

    fn drop_spill(&mut self, slot: u32) {
        self.take_spill(slot);
    }

    /// The unparsed input, which the connection no longer has then.
    fn take_spill(&mut self, slot: u32) -> Option<Spill> {
        let spill = std::mem::replace(&mut self.connections[slot as usize].spill, NONE);
        (spill != NONE).then(|| self.spills.remove(spill as usize))
    }

    fn drop_backlog(&mut self, slot: u32) {
        let index = std::mem::replace(&mut self.connections[slot as usize].outbound, NONE);
        if index != NONE {
            let mut backlog = self.backlogs.remove(index as usize);
            self.metrics.outbound_bytes.sub(backlog.outbound.bytes() as u64);
            backlog.outbound.clear(&mut self.arena);
        }
    }

    /// Turns the transport into WebSocket after the 101 was queued.
    fn upgrade(&mut self, slot: u32, deflate: Option<Window>) {
        let connection = &mut self.connections[slot as usize];
        self.metrics.handshakes.inc();
        connection.transport = Transport::WebSocket(Receiver::new(deflate));
        let is_sockjs = connection.is_sockjs();
        self.last_write[slot as usize] = self.tick;
        self.keep_name(slot);
        if is_sockjs {
            self.push_ws(slot, Opcode::Text, b"o");
        }
    }

    fn asker(&self, slot: u32) -> Asker {
        let generation = self.connections[slot as usize].generation;
        Asker { shard: self.index, slot, generation }
    }

    fn is_drain_requested(&self) -> bool {
        self.shared.is_draining.load(Ordering::Relaxed)
    }

    /// Have the clients of all shards left?
    fn is_drain_over(&mut self) -> bool {
        if !self.is_drained && self.live_count == 0 && self.sessions.live_count() == 0 {
            self.is_drained = true;
            self.shared.drained_count.fetch_add(1, Ordering::AcqRel);
        }
        self.shared.drained_count.load(Ordering::Acquire) == self.mesh.shards_count()
    }

    /// May a line of this kind be logged? Peers can make some kinds come often.
    fn may_log(&mut self, kind: &'static str) -> bool {
        match self.suppressor.admit(kind, Instant::now()) {
            None => false,
            Some(0) => true,
            Some(count) => {
                tracing::warn!(
                    shard = self.index,
                    count,
                    kind,
                    "lines of this kind were held back"
                );
                true
            }
        }
    }
}

/// The limit that the operator set, or what the table allows.
fn connections_max(config: &Config, slots_count: usize) -> usize {
    let most = slots_count - SLOTS_RESERVED.min(slots_count / 2);
    match config.connections_max {
        0 => most,
        wanted => wanted.min(most),
    }
}
