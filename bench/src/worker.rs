//! A thread of the generator: it owns a reactor, its share of the clients, and their checks.
//!
//! The turn: wait, connect what the ramp allows, publish what is due, receive and check, send. A
//! client is a record of 36 bytes and a stream per publisher it listens to; it has a buffer only
//! while a frame is partly received. One by HTTP has a second connection while it sends: another
//! record and a `sockjs::line`. Publishing is looked at again between two batches of receives,
//! so that a flood of deliveries delays it by one batch at most.

mod check;
mod connect;
mod outbox;
mod receive;
mod sockjs;
#[cfg(test)]
mod tests;
mod turns;

use crate::broadcast::Watch;
use crate::clock::{nanos, Nanos};
use crate::control::{Control, Stage};
use crate::order::Stream;
use crate::plan::{Plan, Rate, Workload};
use crate::publisher::{Publisher, Publishers};
use crate::stamp::blank_body;
use crate::wire::websocket::{upgrade_request, websocket_key, Frames};
use crate::wire::{Login, Reader, Writer};
use outbox::Outbox;
use receive::RECV_BATCH;
use slab::Slab;
use sockjs::{Answer, SockJs};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use stompede::reactor::{Connector, Event, Parts, SendRequest, Shortfall, TICK_MS};
use turns::Turns;

/// Bytes received from one connection at a time.
const RECV_STRIDE_BYTES: usize = 32_768;
/// How often the ramp looks at the clock.
const RAMP_STEP_NS: Nanos = 1_000_000;

/// How often the slowest subscriber is looked for.
const SLOWEST_STEP_NS: Nanos = 200_000;

const NONE: u32 = u32::MAX;

/// Where a client is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Free,
    Connecting,
    Upgrading,
    /// A session of SockJS is asked for.
    Opening,
    LoggingIn,
    Subscribing,
    Live,
    /// Live, while its next connection is being made.
    Rejoining,
    /// Not a client: the connection that one sends by is being made.
    Calling,
    /// Not a client: the connection that one sends by. Its seat is the number of its line.
    Sending,
    /// It is being made, and nobody wants it any more.
    Orphan,
}

impl Phase {
    fn is_live(self) -> bool {
        matches!(self, Phase::Live | Phase::Rejoining)
    }

    /// Is there a connection that can be closed?
    fn is_open(self) -> bool {
        use Phase::{Calling, Connecting, Free, Orphan, Rejoining};
        !matches!(self, Free | Connecting | Rejoining | Calling | Orphan)
    }
}

/// One connection, by slot.
#[derive(Clone, Copy)]
struct Client {
    /// Which of the worker's subscribers it is, or, behind those, publishers.
    seat: u32,
    /// Index of the bytes of an incomplete frame.
    partial: u32,
    /// Subscriptions made.
    subscribed: u32,
    /// When it was begun, in microseconds of the run.
    started_us: u32,
    /// Ticks at which bytes last came and went.
    last_read: u32,
    last_write: u32,
    /// Number of its session among those of the run.
    session: u32,
    /// What it sends by, if it is a session over HTTP and has something to send.
    line: u32,
    phase: Phase,
    answer: Answer,
    is_ready: bool,
    is_stalled: bool,
}

impl Client {
    const FREE: Client = Client {
        seat: 0,
        partial: NONE,
        subscribed: 0,
        started_us: 0,
        last_read: 0,
        last_write: 0,
        session: 0,
        line: NONE,
        phase: Phase::Free,
        answer: Answer::Head,
        is_ready: false,
        is_stalled: false,
    };
}

/// An idle client: its record, its stream, and 12 bytes of the reactor. One by HTTP that publishes,
/// acknowledges or owes heart-beats has as much again for the connection that it sends by, and its
/// line.
const _: () = assert!(size_of::<Client>() + size_of::<Stream>() + 12 <= 64);

/// A thread of the generator.
pub struct Worker<R> {
    index: usize,
    plan: Arc<Plan>,
    control: Arc<Control>,
    reactor: R,
    reader: Reader,
    writer: Writer,
    upgrade: Vec<u8>,
    login: Vec<u8>,
    /// Headers of every SUBSCRIBE.
    terms: String,
    blank: Vec<u8>,
    watch: Watch,
    /// The bytes of one ACK.
    ack_frame: Vec<u8>,
    clients: Vec<Client>,
    partials: Slab<Vec<u8>>,
    /// By slot, where frames carry a stream.
    frames: Vec<Frames>,
    /// Some of such a stream.
    stream: Vec<u8>,
    /// By subscriber, then by stream.
    streams: Vec<Stream>,
    /// Slots of the subscribers, by seat.
    subscribers: Vec<u32>,
    publishers: Publishers,
    /// Seats that never had a connection.
    newcomers: Range<u32>,
    /// Seats that lost theirs, or could not get one, in order of their time.
    again: VecDeque<Again>,
    started_count: u64,
    /// Sources given out beyond those of the newcomers.
    further_sources: u32,
    in_the_making: u32,
    ready: Vec<u32>,
    outbox: Outbox,
    sockjs: SockJs,
    began: Nanos,
    alarm_at: Option<Nanos>,
    tick: u32,
    storms_seen: u32,
    is_verifying: bool,
    /// Subscribers that churn has still to replace.
    churn_due: f64,
    turns: Turns,
    /// When the slowest subscriber was looked for last.
    slowest_at: Nanos,
    shortfalls: Vec<Shortfall>,
    results: Vec<Result<usize, i32>>,
    receive: Vec<u8>,
}

/// A seat that shall get another connection.
struct Again {
    seat: u32,
    not_before: Nanos,
}

impl<R: Connector> Worker<R> {
    /// Makes worker `index` of the plan's threads.
    pub fn new(index: usize, plan: Arc<Plan>, control: Arc<Control>, reactor: R) -> Worker<R> {
        let share = |total: u32| (index as u32..total).step_by(plan.threads).len() as u32;
        let (subscribers, others) = (share(plan.subscribers), share(plan.publisher_connections()));
        let random = (plan.seed ^ control.clock.now()).to_le_bytes();
        let (key, accept) = websocket_key([random, random].concat().try_into().unwrap_or([7; 16]));
        let (protocol, transport) = (plan.protocol, plan.target.transport);
        let writer = Writer { protocol, transport, mask: [random[0] | 1, 35, 71, 142] };
        let reader = Reader { protocol, transport, body_bytes: plan.body_bytes, accept };
        let protocols = writer.subprotocols();
        let is_broadcast = plan.workload == Workload::Fanout;
        let watched = if is_broadcast { plan.streams_per_subscriber() } else { 0 };
        let mut login = Vec::new();
        let terms_of_login = Login {
            version: &plan.version,
            host: plan.target.host.split(':').next().unwrap_or_default(),
            credentials: plan.login.as_ref(),
            heart_beat_ms: plan.heart_beat_ms,
        };
        writer.log_in(&mut login, &terms_of_login);
        Worker {
            index,
            upgrade: upgrade_request(&plan.target.host, &plan.target.path, &key, protocols),
            login,
            terms: terms(&plan),
            reader,
            blank: blank_body(plan.body_bytes),
            watch: Watch::new(plan.readers_of_worker(index), watched),
            ack_frame: Vec::new(),
            clients: Vec::new(),
            partials: Slab::new(),
            frames: Vec::new(),
            stream: Vec::new(),
            streams: vec![Stream::default(); subscribers as usize * plan.streams_per_subscriber()],
            subscribers: vec![NONE; subscribers as usize],
            publishers: Publishers::new(&plan, writer.clone(), index),
            writer,
            newcomers: 0..subscribers + others,
            again: VecDeque::new(),
            started_count: 0,
            further_sources: 0,
            in_the_making: 0,
            ready: Vec::new(),
            outbox: Outbox::default(),
            sockjs: SockJs::new(&plan, &key, control.clock.origin()),
            began: control.clock.now(),
            alarm_at: None,
            tick: 1,
            storms_seen: 0,
            is_verifying: false,
            churn_due: 0.0,
            turns: Turns::default(),
            slowest_at: 0,
            shortfalls: Vec::new(),
            results: Vec::new(),
            receive: vec![0; RECV_STRIDE_BYTES * RECV_BATCH],
            reactor,
            plan,
            control,
        }
    }

    /// Works until the run is over, then closes every connection.
    ///
    /// # Errors
    /// What the kernel says when the ring or the epoll set itself breaks.
    pub async fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        while self.control.stage() != Stage::Stop {
            let may_sleep = self.prepare_sleep();
            self.reactor.wait(&mut events, may_sleep).await?;
            self.control.doorbell(self.index).wake_up();
            for event in events.drain(..) {
                self.on_event(event);
            }
            self.join_storms();
            self.start_connections();
            self.publish();
            self.receive_ready();
            self.note_slowest();
            self.connect_further();
            self.flush();
        }
        for slot in 0..self.clients.len() as u32 {
            if self.clients[slot as usize].phase.is_open() {
                self.reactor.close(slot);
            }
        }
        self.reactor.wait(&mut events, false).await
    }

    /// Says whether there is nothing to do until an event, and sets the alarm.
    fn prepare_sleep(&mut self) -> bool {
        let doorbell = self.control.doorbell(self.index);
        doorbell.prepare_sleep();
        if !self.ready.is_empty() || self.control.storms() != self.storms_seen {
            return false;
        }
        let now = self.control.clock.now();
        let mut due = None;
        if self.control.stage() == Stage::Publish {
            due = self.publishers.next_due(self.control.start());
            if self.credit() > 0 && now >= self.control.start() && !self.is_over(now) {
                return false;
            }
        }
        if self.is_anyone_waiting() && self.in_the_making < self.in_flight_max() {
            due = Some(due.unwrap_or(u64::MAX).min(now + RAMP_STEP_NS));
        }
        match due {
            Some(due) if due <= now => false,
            Some(due) => {
                if self.alarm_at.is_none_or(|at| due < at || at <= now) {
                    self.reactor.wake_in(std::time::Duration::from_nanos(due - now));
                    self.alarm_at = Some(due);
                }
                true
            }
            None => true,
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected { slot } => self.on_connected(slot),
            Event::ConnectFailed { slot, errno } => {
                if self.on_further_failed(slot, errno) {
                    return;
                }
                if connect::is_own_shortage(errno) {
                    return self.connect_later(slot, errno);
                }
                let error = io::Error::from_raw_os_error(errno);
                self.fail(slot, &format!("connect: {error}"), false);
            }
            Event::Readable { slot } | Event::Ended { slot } => self.mark_ready(slot),
            Event::Writable { slot } => {
                self.flush_rest(slot);
                if self.clients[slot as usize].phase == Phase::Sending {
                    self.on_line_writable(slot);
                } else if let Some(index) = self.publisher_of(slot) {
                    self.publishers.all[index].is_blocked = false;
                    self.flush_publishers();
                }
            }
            Event::Tick => self.on_tick(),
            Event::Woken | Event::Accepted { .. } | Event::AcceptFailed { .. } => {}
        }
    }

    fn mark_ready(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        if client.phase != Phase::Free && !client.is_ready && !client.is_stalled {
            client.is_ready = true;
            self.ready.push(slot);
        }
    }

    // Churn, storms, heart-beats.

    /// Drops and requeues a share of the live subscribers.
    fn replace_share(&mut self, share: f64) {
        self.replace((self.subscribers.len() as f64 * share).round() as usize);
    }

    /// Drops and requeues some of the live subscribers, evenly spread.
    fn replace(&mut self, count: usize) {
        let live: Vec<u32> =
            self.subscribers.iter().copied().filter(|&slot| slot != NONE).collect();
        for index in self.turns.next(count, live.len()) {
            let slot = live[index];
            if self.clients[slot as usize].phase == Phase::Live {
                let seat = self.free(slot, true);
                self.again.push_back(Again { seat, not_before: 0 });
                self.control.desk(self.index).tally.churned += 1;
            }
        }
    }

    fn join_storms(&mut self) {
        if self.control.storms() != self.storms_seen {
            self.storms_seen = self.control.storms();
            self.replace_share(self.plan.storm_share);
        }
        if !self.is_verifying && self.control.stage() == Stage::Verify {
            self.is_verifying = true;
            self.replace_share(1.0);
        }
    }

    fn on_tick(&mut self) {
        self.tick += 1;
        self.flush();
        // What a consumer that goes away had not acknowledged comes to others.
        let is_queue = self.plan.workload == Workload::Queue;
        let may_churn = match self.control.stage() {
            Stage::Hold => true,
            Stage::Publish => is_queue,
            _ => false,
        };
        if may_churn && self.plan.churn_per_second > 0.0 {
            let share = self.plan.churn_per_second * TICK_MS as f64 / 1e3;
            self.churn_due += self.subscribers.len() as f64 * share;
            self.replace(self.churn_due as usize);
            self.churn_due = self.churn_due.fract();
        }
        self.keep_alive();
        self.flush();
    }

    /// Beats where that is due, and looks after who fell silent.
    fn keep_alive(&mut self) {
        let interval = self.plan.heart_beat_ms / TICK_MS as u32;
        let control = self.control.clone();
        let mut desk = control.desk(self.index);
        for slot in 0..self.clients.len() as u32 {
            let client = &mut self.clients[slot as usize];
            if client.phase != Phase::Live {
                continue;
            }
            // A FIN that came together with data is told once only: who just fell silent is asked.
            let fell_silent = client.last_read + 1 == self.tick;
            if fell_silent && !client.is_ready && !client.is_stalled {
                client.is_ready = true;
                self.ready.push(slot);
            }
            if interval == 0 {
                continue;
            }
            if self.tick - client.last_read > 2 * interval && !client.is_stalled {
                client.last_read = self.tick;
                desk.tally.beats_missed += 1;
            }
            if self.tick - client.last_write + 2 >= interval {
                client.last_write = self.tick;
                desk.tally.beats_sent += 1;
                self.say(slot, Writer::heart_beat);
            }
        }
    }

    // Publishing.

    /// Messages that may be published now without having too many on the way.
    fn credit(&self) -> u64 {
        let Rate::Window(window) = self.plan.rate else { return 0 };
        if self.publishers.all.is_empty() {
            return 0;
        }
        let tally = self.control.tally();
        if self.plan.workload == Workload::Fanout {
            // On average is not enough: whoever is far behind would be ended as slow.
            let ahead = tally.published.saturating_sub(self.control.slowest());
            return u64::from(window).saturating_sub(ahead);
        }
        let readers = self.publishers.fan_out();
        let on_the_way = tally.expected.saturating_sub(tally.delivered);
        (u64::from(window) * readers).saturating_sub(on_the_way) / readers
    }

    /// Tells the publishers how much the slowest subscriber of this worker has received.
    fn note_slowest(&mut self) {
        let is_asked = matches!(self.plan.rate, Rate::Window(_))
            && self.plan.workload == Workload::Fanout
            && self.control.stage() >= Stage::Publish;
        let now = self.control.clock.now();
        if !is_asked || now < self.slowest_at + SLOWEST_STEP_NS {
            return;
        }
        self.slowest_at = now;
        let start_us = (self.control.start().saturating_sub(self.began) / 1_000) as u32;
        let (count, own) = (self.plan.streams_per_subscriber(), self.plan.publishers as usize);
        let received = self.subscribers.iter().zip(self.streams.chunks(count)).filter_map(
            |(&slot, streams)| {
                let client = self.clients.get(slot as usize)?;
                // Who came later has not seen all, and who does not read is not waited for.
                let is_counted = client.phase == Phase::Live
                    && !client.is_stalled
                    && client.started_us < start_us;
                is_counted.then(|| streams.iter().take(own).map(Stream::received).sum())
            },
        );
        self.control.note_slowest(self.index, received.min().unwrap_or(u64::MAX));
    }

    fn is_over(&self, now: Nanos) -> bool {
        now >= self.control.start() + nanos(self.plan.warmup + self.plan.duration)
    }

    fn publish(&mut self) {
        let stage = self.control.stage();
        if stage < Stage::Publish || self.publishers.all.is_empty() {
            return;
        }
        let (start, now) = (self.control.start(), self.control.clock.now());
        let is_open_loop = matches!(self.plan.rate, Rate::PerSecond(_));
        // By the clock, what was due is published even when its time is over.
        let may_publish = is_open_loop || stage == Stage::Publish && !self.is_over(now);
        if now >= start && may_publish {
            let credit = self.credit();
            let mut desk = self.control.desk(self.index);
            let desk = &mut *desk;
            let published =
                self.publishers.publish(start, now, credit, |ns| desk.lateness.record(ns));
            desk.tally.published += published.messages;
            desk.tally.expected += published.deliveries;
        }
        self.flush_publishers();
    }

    fn flush_publishers(&mut self) {
        if self.plan.target.transport.is_http() {
            return self.feed_lines();
        }
        let Worker { reactor, publishers, shortfalls, clients, .. } = self;
        let due = publishers.all.iter().filter_map(Publisher::due);
        reactor.send_batch(due.map(|(slot, bytes)| request(slot, bytes)), shortfalls);
        let mut failed = Vec::new();
        for publisher in &mut publishers.all {
            let Some((slot, _)) = publisher.due() else { continue };
            clients[slot as usize].last_write = self.tick;
            let shortfall = shortfalls.iter().find(|shortfall| shortfall.slot == slot);
            let taken = match shortfall.map(|shortfall| shortfall.taken) {
                None => publisher.out.len(),
                Some(Ok(taken)) => taken,
                Some(Err(libc::EAGAIN)) => 0,
                Some(Err(errno)) => {
                    failed.push((slot, errno));
                    continue;
                }
            };
            publisher.out.drain(..taken);
            if !publisher.out.is_empty() {
                publisher.is_blocked = true;
                reactor.arm_writable(slot);
            }
        }
        shortfalls.clear();
        for (slot, errno) in failed {
            let error = io::Error::from_raw_os_error(errno);
            self.fail(slot, &format!("publish: {error}"), true);
        }
    }
}

fn request(slot: u32, bytes: &[u8]) -> SendRequest<'_> {
    SendRequest { slot, parts: Parts::One(bytes) }
}

/// Headers of every SUBSCRIBE of a run.
fn terms(plan: &Plan) -> String {
    let mut terms = format!("ack:{}\n", plan.ack.value());
    if plan.prefetch > 0 {
        terms.push_str(&format!("prefetch-count:{}\n", plan.prefetch));
    }
    terms
}
