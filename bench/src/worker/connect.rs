//! How a client becomes live: connect, upgrade, log in, subscribe; and how it ends.

use super::{Again, Client, Phase, Worker, NONE};
use crate::clock::Nanos;
use crate::plan::Workload;
use crate::wire::websocket::Frames;
use crate::wire::{Protocol, Transport};
use std::io;
use stompede::reactor::Connector;

/// Connections begun in one turn.
const STARTS_PER_TURN: u32 = 64;
/// Pause after a connection that our own side had no means for.
const RETRY_PAUSE_NS: Nanos = 100_000_000;
/// Subscriptions made with one receipt.
const SUBSCRIPTIONS_PER_RECEIPT: u32 = 100;

/// Is it our side that lacks a port, a slot or memory? A server's refusal is not.
///
/// A source whose last connection rests in TIME_WAIT is "not available" to a new one.
pub(super) fn is_own_shortage(errno: i32) -> bool {
    matches!(
        errno,
        libc::EADDRNOTAVAIL
            | libc::EADDRINUSE
            | libc::EAGAIN
            | libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
    )
}

impl<R: Connector> Worker<R> {
    pub(super) fn is_anyone_waiting(&self) -> bool {
        !self.newcomers.is_empty() || !self.again.is_empty()
    }

    /// The next seat that may have a connection, and the number of its source.
    ///
    /// Who comes again does so from a source that nobody had yet: the old one may be taken or rest.
    fn next_start(&mut self, now: Nanos) -> Option<(u32, u32)> {
        if self.again.front().is_some_and(|again| again.not_before <= now) {
            let again = self.again.pop_front()?;
            return Some((again.seat, self.further_source()));
        }
        let seat = self.newcomers.next()?;
        Some((seat, self.subscriber_number(seat)))
    }

    /// Number of a source that nobody had yet.
    pub(super) fn further_source(&mut self) -> u32 {
        let threads = self.plan.threads as u32;
        let behind = self.further_sources.wrapping_mul(threads).wrapping_add(self.index as u32);
        self.further_sources = self.further_sources.wrapping_add(1);
        self.plan.connections().wrapping_add(behind)
    }

    /// Gives back a connection that our own side could not begin, and begins another in a while.
    pub(super) fn connect_later(&mut self, slot: u32, errno: i32) {
        let seat = self.free(slot, false);
        self.retry(seat, errno);
    }

    fn retry(&mut self, seat: u32, errno: i32) {
        let not_before = self.control.clock.now() + RETRY_PAUSE_NS;
        self.again.push_back(Again { seat, not_before });
        let mut desk = self.control.desk(self.index);
        desk.tally.retried += 1;
        let error = io::Error::from_raw_os_error(errno);
        desk.trouble(&format!("connect, tried again: {error}"));
    }

    pub(super) fn in_flight_max(&self) -> u32 {
        self.plan.in_flight.div_ceil(self.plan.threads as u32).max(1)
    }

    pub(super) fn start_connections(&mut self) {
        if !self.is_anyone_waiting() {
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
            let Some((seat, number)) = self.next_start(now) else { return };
            match self.reactor.connect(self.plan.target.address, self.plan.source(number)) {
                Ok(slot) => self.seat_client(slot, seat, now),
                Err(error) if error.raw_os_error().is_some_and(is_own_shortage) => {
                    self.retry(seat, error.raw_os_error().unwrap_or_default());
                }
                Err(error) => {
                    let mut desk = self.control.desk(self.index);
                    desk.tally.failed += 1;
                    desk.trouble(&format!("socket: {error}"));
                }
            }
        }
    }

    pub(super) fn grow_clients(&mut self, slot: u32) {
        if self.clients.len() <= slot as usize {
            self.clients.resize(slot as usize + 1, Client::FREE);
        }
        if self.reader.is_framed_stream() {
            self.frames.resize_with(self.clients.len(), Frames::default);
            self.frames[slot as usize] = Frames::default();
        }
    }

    pub(super) fn seat_client(&mut self, slot: u32, seat: u32, now: Nanos) {
        self.grow_clients(slot);
        self.clients[slot as usize] = Client {
            seat,
            phase: Phase::Connecting,
            started_us: ((now - self.began) / 1_000) as u32,
            last_read: self.tick,
            last_write: self.tick,
            session: self.started_count as u32 * self.plan.threads as u32 + self.index as u32,
            ..Client::FREE
        };
        self.started_count += 1;
        self.in_the_making += 1;
    }

    pub(super) fn on_connected(&mut self, slot: u32) {
        if self.on_further_connected(slot) {
            return;
        }
        match self.plan.target.transport {
            Transport::WebSocket => {
                self.clients[slot as usize].phase = Phase::Upgrading;
                let upgrade = &self.upgrade;
                self.outbox.push(slot, |out| out.extend_from_slice(upgrade));
            }
            Transport::Tcp => self.log_in(slot),
            Transport::SockJsWebSocket => {
                self.clients[slot as usize].phase = Phase::Upgrading;
                self.ask(slot);
            }
            Transport::XhrStreaming | Transport::XhrPolling => {
                self.clients[slot as usize].phase = Phase::Opening;
                self.ask(slot);
            }
        }
    }

    pub(super) fn on_upgraded(&mut self, slot: u32) {
        if self.plan.target.transport.is_sockjs() {
            self.clients[slot as usize].phase = Phase::Opening;
        } else {
            self.log_in(slot);
        }
    }

    pub(super) fn log_in(&mut self, slot: u32) {
        if self.plan.protocol == Protocol::WebSocket {
            return self.become_live(slot);
        }
        self.clients[slot as usize].phase = Phase::LoggingIn;
        let login = std::mem::take(&mut self.login);
        self.say(slot, |_, out| out.extend_from_slice(&login));
        self.login = login;
    }

    pub(super) fn on_logged_in(&mut self, slot: u32) {
        let seat = self.clients[slot as usize].seat;
        if seat as usize >= self.subscribers.len() {
            return self.become_live(slot);
        }
        self.subscribe(slot);
    }

    /// Makes the next subscriptions, or becomes live when all are made.
    pub(super) fn subscribe(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        let (seat, first) = (client.seat, client.subscribed);
        let end = self.plan.subscriptions.min(first + SUBSCRIPTIONS_PER_RECEIPT);
        if first == end {
            return self.become_live(slot);
        }
        client.phase = Phase::Subscribing;
        client.subscribed = end;
        let number = self.subscriber_number(seat);
        let plan = &self.plan;
        let name = |id| (id, plan.destination_name(plan.destination_of(number, id)));
        let names: Vec<(u32, String)> = (first..end).map(name).collect();
        let mut said = Vec::new();
        let with_receipt = plan.with_receipts;
        let is_answered = self.writer.subscribe(&mut said, &names, &self.terms, with_receipt);
        self.say(slot, |_, out| out.extend_from_slice(&said));
        if !is_answered {
            self.subscribe(slot);
        }
    }

    /// Number of a subscriber among all of the run.
    pub(super) fn subscriber_number(&self, seat: u32) -> u32 {
        seat * self.plan.threads as u32 + self.index as u32
    }

    pub(super) fn become_live(&mut self, slot: u32) {
        if let Some(index) = self.publisher_of(slot) {
            if !self.join_publisher(slot, index) {
                return;
            }
        }
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
        let number = self.subscriber_number(seat);
        let is_subscriber = (seat as usize) < self.subscribers.len();
        self.clients[slot as usize].is_stalled = is_subscriber && self.plan.is_stalled(number);
        self.rest_line(slot);
    }

    /// Gives a publisher its connection, unless that fails meanwhile.
    fn join_publisher(&mut self, slot: u32, index: usize) -> bool {
        if self.plan.target.transport.is_http() {
            // It speaks by its line: what the outbox has is requests for frames.
            self.publishers.all[index].join(slot, Vec::new());
            return true;
        }
        // From now on all that it says goes one way, behind what was said so far.
        if self.outbox.holds(slot) {
            self.flush_outbox();
        }
        if self.clients[slot as usize].phase == Phase::Free {
            return false;
        }
        let rest = self.outbox.forget(slot);
        self.publishers.all[index].join(slot, rest);
        true
    }

    /// The publisher that speaks through a connection.
    pub(super) fn publisher_of(&self, slot: u32) -> Option<usize> {
        let seat = self.clients[slot as usize].seat as usize;
        let index = match self.plan.workload {
            Workload::Echo => Some(seat),
            _ => seat.checked_sub(self.subscribers.len()),
        };
        index.filter(|&index| index < self.publishers.all.len())
    }

    /// Ends a connection that failed or that the server ended.
    pub(super) fn fail(&mut self, slot: u32, why: &str, is_open: bool) {
        let phase = self.clients[slot as usize].phase;
        if matches!(phase, Phase::Calling | Phase::Sending) {
            return self.fail_line(slot, why, is_open);
        }
        let was_live = phase.is_live();
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
    pub(super) fn free(&mut self, slot: u32, is_open: bool) -> u32 {
        self.remove_line(slot);
        let client = self.vacate(slot, is_open);
        let seat = client.seat as usize;
        if client.phase.is_live() {
            let mut desk = self.control.desk(self.index);
            if seat < self.subscribers.len() {
                self.subscribers[seat] = NONE;
                desk.tally.live_subscribers -= 1;
            } else {
                desk.tally.live_publishers -= 1;
            }
            for publisher in &mut self.publishers.all {
                if publisher.slot == Some(slot) {
                    publisher.leave();
                }
            }
        } else {
            self.in_the_making -= 1;
        }
        client.seat
    }

    /// Makes a slot free, closing its connection if it is open; returns what was there.
    pub(super) fn vacate(&mut self, slot: u32, is_open: bool) -> Client {
        let client = std::mem::replace(&mut self.clients[slot as usize], Client::FREE);
        if client.partial != NONE {
            self.partials.remove(client.partial as usize);
        }
        self.outbox.forget(slot);
        if client.is_ready {
            self.ready.retain(|&other| other != slot);
        }
        if is_open {
            self.reactor.close(slot);
        }
        client
    }
}
