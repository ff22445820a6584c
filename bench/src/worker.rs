//! A thread of the generator: it owns a reactor, its share of the clients, and their checks.
//!
//! The turn: wait, connect what the ramp allows, publish what is due, receive and check, send. A
//! client is a record of 28 bytes and a stream per publisher it listens to; it has a buffer only
//! while a frame is partly received. Publishing is looked at again between two batches of receives,
//! so that a flood of deliveries delays it by one batch at most.

use crate::clock::{nanos, Nanos};
use crate::control::{Control, Desk, Stage};
use crate::order::{Arrival, Stream};
use crate::plan::{Plan, Rate, Workload};
use crate::publisher::Publishers;
use crate::stamp::{blank_body, is_filler_intact, Stamp};
use crate::wire::{self, Inbound, Reader, Transport, Writer};
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use stompede::reactor::{Connector, Event, SendRequest, Shortfall, PARTS_MAX, TICK_MS};

/// Bytes received from one connection at a time.
const RECV_STRIDE_BYTES: usize = 32_768;
/// Connections received from in one batch.
const RECV_BATCH: usize = 32;
/// Connections received from in one turn.
const RECVS_PER_TURN: usize = 1_024;
/// Connections begun in one turn.
const STARTS_PER_TURN: u32 = 64;
/// How often the ramp looks at the clock.
const RAMP_STEP_NS: Nanos = 1_000_000;

/// Subscriptions made with one receipt.
const SUBSCRIPTIONS_PER_RECEIPT: u32 = 100;

const NONE: u32 = u32::MAX;

/// Where a client is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Free,
    Connecting,
    Upgrading,
    LoggingIn,
    Subscribing,
    Live,
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
    phase: Phase,
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
        phase: Phase::Free,
        is_ready: false,
        is_stalled: false,
    };
}

/// An idle client: its record, its stream, and 12 bytes of the reactor.
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
    blank: Vec<u8>,
    clients: Vec<Client>,
    partials: Slab<Vec<u8>>,
    /// By subscriber, then by stream.
    streams: Vec<Stream>,
    /// Slots of the subscribers, by seat.
    subscribers: Vec<u32>,
    publishers: Publishers,
    /// Seats that wait for a connection.
    waiting: VecDeque<u32>,
    started_count: u64,
    in_the_making: u32,
    ready: Vec<u32>,
    outbox: Outbox,
    began: Nanos,
    alarm_at: Option<Nanos>,
    tick: u32,
    storms_seen: u32,
    shortfalls: Vec<Shortfall>,
    results: Vec<Result<usize, i32>>,
    receive: Vec<u8>,
}

/// What clients say while they log in and keep alive: one piece of bytes per connection and flush.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    /// Slot, and where its bytes end.
    pieces: Vec<(u32, usize)>,
}

impl Outbox {
    fn push(&mut self, slot: u32, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        match self.pieces.last_mut() {
            Some((last, end)) if *last == slot => *end = self.bytes.len(),
            _ => self.pieces.push((slot, self.bytes.len())),
        }
    }
}

impl<R: Connector> Worker<R> {
    /// Makes worker `index` of the plan's threads.
    pub fn new(index: usize, plan: Arc<Plan>, control: Arc<Control>, reactor: R) -> Worker<R> {
        let share = |total: u32| (index as u32..total).step_by(plan.threads).len() as u32;
        let (subscribers, others) = (share(plan.subscribers), share(plan.publisher_connections()));
        let random = (plan.seed ^ control.clock.now()).to_le_bytes();
        let (key, accept) =
            wire::websocket_key([random, random].concat().try_into().unwrap_or([7; 16]));
        let writer =
            Writer { transport: plan.target.transport, mask: [random[0] | 1, 35, 71, 142] };
        let reader = Reader {
            transport: plan.target.transport,
            is_stomp: plan.version.is_some(),
            body_bytes: plan.body_bytes,
            accept,
        };
        let protocols = plan.version.as_ref().map(|_| "v12.stomp, v11.stomp, v10.stomp");
        let mut login = Vec::new();
        if let Some(version) = &plan.version {
            let beat = format!("{0},{0}", plan.heart_beat_ms);
            let host = plan.target.host.split(':').next().unwrap_or_default();
            writer
                .frame(&mut login, &wire::connect_frame(version, host, plan.login.as_ref(), &beat));
        }
        Worker {
            index,
            upgrade: wire::upgrade_request(&plan.target.host, &plan.target.path, &key, protocols),
            login,
            reader,
            blank: blank_body(plan.body_bytes),
            clients: Vec::new(),
            partials: Slab::new(),
            streams: vec![Stream::default(); subscribers as usize * plan.streams_per_subscriber()],
            subscribers: vec![NONE; subscribers as usize],
            publishers: Publishers::new(&plan, writer.clone(), index),
            writer,
            waiting: (0..subscribers + others).collect(),
            started_count: 0,
            in_the_making: 0,
            ready: Vec::new(),
            outbox: Outbox::default(),
            began: control.clock.now(),
            alarm_at: None,
            tick: 1,
            storms_seen: 0,
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
            self.flush_outbox();
        }
        for slot in 0..self.clients.len() as u32 {
            if !matches!(self.clients[slot as usize].phase, Phase::Free | Phase::Connecting) {
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
        if !self.waiting.is_empty() && self.in_the_making < self.in_flight_max() {
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
                let error = io::Error::from_raw_os_error(errno);
                self.fail(slot, &format!("connect: {error}"), false);
            }
            Event::Readable { slot } => self.mark_ready(slot),
            Event::Writable { slot } => {
                if let Some(index) = self.publisher_of(slot) {
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

    // Connecting.

    fn in_flight_max(&self) -> u32 {
        self.plan.in_flight.div_ceil(self.plan.threads as u32).max(1)
    }

    fn start_connections(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let now = self.control.clock.now();
        let mut allowed = u64::from(self.in_flight_max().saturating_sub(self.in_the_making));
        if self.plan.ramp_per_second > 0.0 {
            let rate = self.plan.ramp_per_second / self.plan.threads as f64;
            let by_now = ((now - self.began) as f64 * rate / 1e9) as u64 + 1;
            allowed = allowed.min(by_now.saturating_sub(self.started_count));
        }
        for _ in 0..allowed.min(u64::from(STARTS_PER_TURN)) {
            let Some(seat) = self.waiting.pop_front() else { return };
            let number = seat * self.plan.threads as u32 + self.index as u32;
            match self.reactor.connect(self.plan.target.address, self.plan.source(number)) {
                Ok(slot) => self.seat_client(slot, seat, now),
                Err(error) => {
                    let mut desk = self.control.desk(self.index);
                    desk.tally.failed += 1;
                    desk.trouble(&format!("socket: {error}"));
                }
            }
        }
    }

    fn seat_client(&mut self, slot: u32, seat: u32, now: Nanos) {
        if self.clients.len() <= slot as usize {
            self.clients.resize(slot as usize + 1, Client::FREE);
        }
        self.clients[slot as usize] = Client {
            seat,
            phase: Phase::Connecting,
            started_us: ((now - self.began) / 1_000) as u32,
            last_read: self.tick,
            last_write: self.tick,
            ..Client::FREE
        };
        self.started_count += 1;
        self.in_the_making += 1;
    }

    fn on_connected(&mut self, slot: u32) {
        match self.plan.target.transport {
            Transport::WebSocket => {
                self.clients[slot as usize].phase = Phase::Upgrading;
                let upgrade = &self.upgrade;
                self.outbox.push(slot, |out| out.extend_from_slice(upgrade));
            }
            Transport::Tcp => self.log_in(slot),
        }
    }

    fn log_in(&mut self, slot: u32) {
        if self.plan.version.is_none() {
            return self.become_live(slot);
        }
        self.clients[slot as usize].phase = Phase::LoggingIn;
        let login = &self.login;
        self.outbox.push(slot, |out| out.extend_from_slice(login));
    }

    fn on_logged_in(&mut self, slot: u32) {
        let seat = self.clients[slot as usize].seat;
        if seat as usize >= self.subscribers.len() {
            return self.become_live(slot);
        }
        self.subscribe(slot);
    }

    /// Makes the next subscriptions, or becomes live when all are made.
    fn subscribe(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        let (seat, first) = (client.seat, client.subscribed);
        let end = self.plan.subscriptions.min(first + SUBSCRIPTIONS_PER_RECEIPT);
        if first == end {
            return self.become_live(slot);
        }
        client.phase = Phase::Subscribing;
        client.subscribed = end;
        let number = self.subscriber_number(seat);
        let (plan, writer) = (&self.plan, &self.writer);
        self.outbox.push(slot, |out| {
            for subscription in first..end {
                let name = plan.destination_name(plan.destination_of(number, subscription));
                let is_last = subscription + 1 == end;
                writer.frame(out, &wire::subscribe_frame(subscription, &name, is_last));
            }
        });
    }

    /// Number of a subscriber among all of the run.
    fn subscriber_number(&self, seat: u32) -> u32 {
        seat * self.plan.threads as u32 + self.index as u32
    }

    fn become_live(&mut self, slot: u32) {
        let now = self.control.clock.now();
        let client = &mut self.clients[slot as usize];
        client.phase = Phase::Live;
        let (seat, started_us) = (client.seat, client.started_us);
        self.in_the_making -= 1;
        let mut desk = self.control.desk(self.index);
        desk.tally.connected += 1;
        desk.connects.record((now - self.began).saturating_sub(u64::from(started_us) * 1_000));
        if let Some(place) = self.subscribers.get_mut(seat as usize) {
            *place = slot;
            desk.tally.live_subscribers += 1;
        } else {
            desk.tally.live_publishers += 1;
        }
        drop(desk);
        if let Some(index) = self.publisher_of(slot) {
            self.publishers.all[index].slot = Some(slot);
        }
        let number = self.subscriber_number(seat);
        let is_subscriber = (seat as usize) < self.subscribers.len();
        self.clients[slot as usize].is_stalled = is_subscriber && self.plan.is_stalled(number);
    }

    /// The publisher that speaks through a connection.
    fn publisher_of(&self, slot: u32) -> Option<usize> {
        let seat = self.clients[slot as usize].seat as usize;
        let index = match self.plan.workload {
            Workload::Echo => Some(seat),
            _ => seat.checked_sub(self.subscribers.len()),
        };
        index.filter(|&index| index < self.publishers.all.len())
    }

    /// Ends a connection that failed or that the server ended.
    fn fail(&mut self, slot: u32, why: &str, is_open: bool) {
        let was_live = self.clients[slot as usize].phase == Phase::Live;
        let mut desk = self.control.desk(self.index);
        desk.trouble(why);
        if was_live {
            desk.tally.dropped += 1;
        } else {
            desk.tally.failed += 1;
        }
        drop(desk);
        self.free(slot, is_open);
    }

    /// Gives up a connection, closing it if it is open; returns its seat.
    fn free(&mut self, slot: u32, is_open: bool) -> u32 {
        let client = std::mem::replace(&mut self.clients[slot as usize], Client::FREE);
        if client.partial != NONE {
            self.partials.remove(client.partial as usize);
        }
        if client.is_ready {
            self.ready.retain(|&other| other != slot);
        }
        let seat = client.seat as usize;
        if client.phase == Phase::Live {
            let mut desk = self.control.desk(self.index);
            if seat < self.subscribers.len() {
                self.subscribers[seat] = NONE;
                desk.tally.live_subscribers -= 1;
            } else {
                desk.tally.live_publishers -= 1;
            }
            for publisher in &mut self.publishers.all {
                if publisher.slot == Some(slot) {
                    publisher.slot = None;
                }
            }
        } else {
            self.in_the_making -= 1;
        }
        if is_open {
            self.reactor.close(slot);
        }
        client.seat
    }

    // Churn, storms, heart-beats.

    /// Drops and requeues a share of the live subscribers, evenly spread.
    fn replace_share(&mut self, share: f64) {
        let live: Vec<u32> =
            self.subscribers.iter().copied().filter(|&slot| slot != NONE).collect();
        let count = (live.len() as f64 * share).round() as usize;
        let offset = self.tick as usize;
        for index in 0..count {
            let slot = live[(index * live.len() / count + offset) % live.len()];
            if self.clients[slot as usize].phase == Phase::Live {
                let seat = self.free(slot, true);
                self.waiting.push_back(seat);
                self.control.desk(self.index).tally.churned += 1;
            }
        }
    }

    fn join_storms(&mut self) {
        if self.control.storms() != self.storms_seen {
            self.storms_seen = self.control.storms();
            self.replace_share(self.plan.storm_share);
        }
    }

    fn on_tick(&mut self) {
        self.tick += 1;
        self.flush_outbox();
        if self.control.stage() == Stage::Hold && self.plan.churn_per_second > 0.0 {
            self.replace_share(self.plan.churn_per_second * TICK_MS as f64 / 1e3);
        }
        let interval = self.plan.heart_beat_ms / TICK_MS as u32;
        let mut desk = self.control.desk(self.index);
        for slot in 0..self.clients.len() as u32 {
            let client = &mut self.clients[slot as usize];
            if client.phase != Phase::Live {
                continue;
            }
            // A FIN that came together with data is told once only: who just fell silent is asked.
            let fell_silent = client.last_read + 1 == self.tick;
            if interval > 0 {
                if self.tick - client.last_read > 2 * interval && !client.is_stalled {
                    client.last_read = self.tick;
                    desk.tally.beats_missed += 1;
                }
                if self.tick - client.last_write + 2 >= interval {
                    client.last_write = self.tick;
                    desk.tally.beats_sent += 1;
                    let writer = &self.writer;
                    self.outbox.push(slot, |out| writer.frame(out, b"\n"));
                }
            }
            if fell_silent && !client.is_ready && !client.is_stalled {
                client.is_ready = true;
                self.ready.push(slot);
            }
        }
        drop(desk);
        self.flush_outbox();
    }

    // Publishing.

    /// Messages that may be published now without having too many on the way.
    fn credit(&self) -> u64 {
        let Rate::Window(window) = self.plan.rate else { return 0 };
        if self.publishers.all.is_empty() {
            return 0;
        }
        let tally = self.control.tally();
        let readers = self.publishers.fan_out();
        let on_the_way = tally.expected.saturating_sub(tally.delivered);
        (u64::from(window) * readers).saturating_sub(on_the_way) / readers
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
        let Worker { reactor, publishers, shortfalls, clients, .. } = self;
        let mut requests = publishers.all.iter().filter_map(|publisher| {
            let slot = publisher.slot?;
            if publisher.is_blocked || publisher.out.is_empty() {
                return None;
            }
            Some(request(slot, &publisher.out))
        });
        reactor.send_batch(&mut requests, shortfalls);
        let mut failed = Vec::new();
        for publisher in &mut publishers.all {
            let Some(slot) = publisher.slot else { continue };
            if publisher.is_blocked || publisher.out.is_empty() {
                continue;
            }
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

    fn flush_outbox(&mut self) {
        if self.outbox.pieces.is_empty() {
            return;
        }
        let outbox = std::mem::take(&mut self.outbox);
        let mut begin = 0;
        let mut requests = outbox.pieces.iter().map(|&(slot, end)| {
            let piece = &outbox.bytes[begin..end];
            begin = end;
            request(slot, piece)
        });
        self.reactor.send_batch(&mut requests, &mut self.shortfalls);
        for shortfall in std::mem::take(&mut self.shortfalls) {
            // A client says little: a socket that does not take it is not read by the server.
            if self.clients[shortfall.slot as usize].phase != Phase::Free {
                self.fail(shortfall.slot, "the server does not read", true);
            }
        }
        self.outbox = outbox;
        self.outbox.bytes.clear();
        self.outbox.pieces.clear();
    }

    // Receiving.

    fn receive_ready(&mut self) {
        let count = self.ready.len().min(RECVS_PER_TURN);
        let batch: Vec<u32> = self.ready.drain(..count).collect();
        let mut receive = std::mem::take(&mut self.receive);
        let mut results = std::mem::take(&mut self.results);
        for slots in batch.chunks(RECV_BATCH) {
            for &slot in slots {
                self.clients[slot as usize].is_ready = false;
            }
            self.reactor.recv_batch(slots, &mut receive, RECV_STRIDE_BYTES, &mut results);
            let now = self.control.clock.now();
            for (index, &slot) in slots.iter().enumerate() {
                let piece = &receive[index * RECV_STRIDE_BYTES..][..RECV_STRIDE_BYTES];
                self.on_received(slot, results[index], piece, now);
            }
            self.publish();
        }
        self.receive = receive;
        self.results = results;
    }

    fn on_received(&mut self, slot: u32, result: Result<usize, i32>, piece: &[u8], now: Nanos) {
        if self.clients[slot as usize].phase == Phase::Free {
            return;
        }
        let count = match result {
            Ok(0) => return self.fail(slot, "the server ended the connection", true),
            Ok(count) => count,
            Err(libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => return,
            Err(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                return self.fail(slot, &format!("receive: {error}"), true);
            }
        };
        self.clients[slot as usize].last_read = self.tick;
        let control = self.control.clone();
        {
            let mut desk = control.desk(self.index);
            desk.tally.reads += 1;
            desk.tally.bytes += count as u64;
        }
        if let Err(violation) = self.on_bytes(slot, &piece[..count], now) {
            return self.fail(slot, &violation, true);
        }
        if count == piece.len() {
            self.mark_ready(slot);
        }
    }

    /// Reads all frames of new bytes, completing first what was left of earlier ones.
    fn on_bytes(&mut self, slot: u32, input: &[u8], now: Nanos) -> Result<(), String> {
        let mut rest = input;
        let partial = self.clients[slot as usize].partial;
        if partial != NONE {
            let mut kept = std::mem::take(&mut self.partials[partial as usize]);
            let mut step = 512;
            loop {
                let taken = rest.len().min(step);
                kept.extend_from_slice(&rest[..taken]);
                rest = &rest[taken..];
                let consumed = self.read_frames(slot, &kept, now)?;
                if self.clients[slot as usize].phase == Phase::Free {
                    return Ok(());
                }
                // What is behind the last whole frame lies in `input` too, unless nothing was whole.
                let left = kept.len() - consumed;
                if consumed > 0 && left <= input.len() - rest.len() {
                    rest = &input[input.len() - rest.len() - left..];
                    self.partials.remove(partial as usize);
                    self.clients[slot as usize].partial = NONE;
                    break;
                }
                kept.drain(..consumed);
                if rest.is_empty() {
                    self.partials[partial as usize] = kept;
                    return Ok(());
                }
                step *= 4;
            }
        }
        let consumed = self.read_frames(slot, rest, now)?;
        if consumed < rest.len() && self.clients[slot as usize].phase != Phase::Free {
            let partial = self.partials.insert(rest[consumed..].to_vec());
            self.clients[slot as usize].partial = partial as u32;
        }
        Ok(())
    }

    /// Reads whole frames from the front of `input` and returns the bytes they took.
    fn read_frames(&mut self, slot: u32, input: &[u8], now: Nanos) -> Result<usize, String> {
        let mut at = 0;
        while at < input.len() {
            let client = self.clients[slot as usize];
            let is_subscriber = (client.seat as usize) < self.subscribers.len();
            if client.phase == Phase::Live && is_subscriber {
                let (consumed, is_message) =
                    self.read_deliveries(client.seat, &input[at..], now)?;
                at += consumed;
                if !is_message {
                    break;
                }
                if at == input.len() {
                    break;
                }
            }
            let step = match client.phase {
                Phase::Upgrading => self.reader.upgrade(&input[at..])?,
                _ => self.reader.next(&input[at..])?,
            };
            let Some((inbound, consumed)) = step else { break };
            self.on_frame(slot, inbound, now)?;
            at += consumed;
            if self.clients[slot as usize].phase == Phase::Free {
                break;
            }
        }
        Ok(at)
    }

    /// Checks MESSAGE after MESSAGE until something else comes; false: more bytes are needed.
    fn read_deliveries(
        &mut self,
        seat: u32,
        input: &[u8],
        now: Nanos,
    ) -> Result<(usize, bool), String> {
        let mut at = 0;
        let control = &self.control;
        let mut desk = control.desk(self.index);
        let check = Check {
            plan: &self.plan,
            blank: &self.blank,
            number: seat * self.plan.threads as u32 + self.index as u32,
            measured_from: control.start() + nanos(self.plan.warmup),
            now,
        };
        let count = self.plan.streams_per_subscriber();
        let streams = &mut self.streams[seat as usize * count..][..count];
        while at < input.len() {
            match self.reader.next(&input[at..])? {
                None => return Ok((at, false)),
                Some((Inbound::Message { body }, consumed)) => {
                    check.delivery(body, streams, &mut desk);
                    desk.frame_bytes = consumed;
                    at += consumed;
                }
                Some((Inbound::HeartBeat, consumed)) => {
                    desk.tally.beats_received += 1;
                    at += consumed;
                }
                Some(_) => return Ok((at, true)),
            }
        }
        Ok((at, true))
    }

    fn on_frame(&mut self, slot: u32, inbound: Inbound<'_>, now: Nanos) -> Result<(), String> {
        let phase = self.clients[slot as usize].phase;
        match (phase, inbound) {
            (Phase::Upgrading, Inbound::Upgraded) => self.log_in(slot),
            (Phase::LoggingIn, Inbound::Connected { .. }) => self.on_logged_in(slot),
            (Phase::Subscribing, Inbound::Receipt) => self.subscribe(slot),
            (Phase::Subscribing, Inbound::Message { body }) => {
                // The subscription may be live before its receipt is here.
                let seat = self.clients[slot as usize].seat;
                let mut framed = Vec::new();
                framed.extend_from_slice(body);
                self.check_one(seat, &framed, now);
            }
            (_, Inbound::HeartBeat) => self.control.desk(self.index).tally.beats_received += 1,
            (_, Inbound::Ping(payload)) => {
                let writer = &self.writer;
                self.outbox.push(slot, |out| writer.pong(out, payload));
            }
            (_, Inbound::Error(frame)) => {
                let text = String::from_utf8_lossy(frame);
                let message = text.lines().find_map(|line| line.strip_prefix("message:"));
                return Err(format!("ERROR from the server: {}", message.unwrap_or("?")));
            }
            (_, Inbound::Close(payload)) => {
                let code =
                    payload.first_chunk::<2>().map_or(1005, |code| u16::from_be_bytes(*code));
                return Err(format!("close from the server: {code}"));
            }
            (_, Inbound::Message { .. } | Inbound::Other | Inbound::Receipt) => {}
            (_, Inbound::Upgraded | Inbound::Connected { .. }) => {
                return Err("an answer out of turn".into());
            }
        }
        Ok(())
    }

    fn check_one(&mut self, seat: u32, body: &[u8], now: Nanos) {
        let check = Check {
            plan: &self.plan,
            blank: &self.blank,
            number: seat * self.plan.threads as u32 + self.index as u32,
            measured_from: self.control.start() + nanos(self.plan.warmup),
            now,
        };
        let count = self.plan.streams_per_subscriber();
        let streams = &mut self.streams[seat as usize * count..][..count];
        check.delivery(body, streams, &mut self.control.desk(self.index));
    }
}

/// What a delivery is checked against.
struct Check<'a> {
    plan: &'a Plan,
    blank: &'a [u8],
    /// The subscriber.
    number: u32,
    measured_from: Nanos,
    now: Nanos,
}

impl Check<'_> {
    #[inline]
    fn delivery(&self, body: &[u8], streams: &mut [Stream], desk: &mut Desk) {
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
            return;
        };
        match stream.take(stamp.sequence) {
            Arrival::InOrder | Arrival::AfterGap => {}
            Arrival::Late => desk.tally.reordered += 1,
            Arrival::Duplicate => {
                desk.tally.duplicates += 1;
                return;
            }
        }
        desk.tally.delivered += 1;
        if stamp.planned >= self.measured_from {
            desk.latencies.record(self.now.saturating_sub(stamp.planned));
        }
    }
}

fn request(slot: u32, bytes: &[u8]) -> SendRequest<'_> {
    let mut parts: [&[u8]; PARTS_MAX] = [&[]; PARTS_MAX];
    parts[0] = bytes;
    SendRequest { slot, parts_count: 1, parts }
}
