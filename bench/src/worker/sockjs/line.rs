//! The sending side of a session over HTTP: a connection of its own, one request at a time.
//!
//! As real clients do, what comes while a request is on its way goes out with the next, in one
//! array. The connection is opened when there is something to say. A client that publishes, owes
//! heart-beats or acknowledges keeps it; any other gives it back once it is live and all was taken,
//! so that an idle subscriber is one record, as over a WebSocket.

use super::super::{request, Client, Phase, Worker, NONE};
use super::SockJs;
use crate::plan::Workload;
use crate::wire::sockjs::{batch_bytes, http, Requests, SessionName};
use crate::wire::Writer;
use stompede::reactor::Connector;

/// Bytes of messages in one request, unless a single message has more.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Where a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Without connection.
    Down,
    /// Its connection is being made.
    Calling,
    /// It may send.
    Ready,
    /// A request was sent, or is being sent.
    Asked,
}

/// A session's connection for sending.
pub(in crate::worker) struct Line {
    /// The client's connection that receives.
    pub(super) receiver: u32,
    /// The connection, unless it is down.
    slot: u32,
    progress: Progress,
    /// The socket is full.
    is_blocked: bool,
    /// Messages that wait for the next request, as [`Writer::frame`] writes them.
    queued: Vec<u8>,
    /// What the socket has not taken of the request.
    out: Vec<u8>,
}

impl Line {
    /// Makes a request of what waits, as much as fits into one.
    fn begin(&mut self, requests: &Requests, session: SessionName) {
        let batch = batch_bytes(&self.queued, BATCH_BYTES_MAX);
        requests.send(&mut self.out, session, &self.queued[..batch]);
        self.queued.drain(..batch);
        self.progress = Progress::Asked;
    }
}

impl<R: Connector> Worker<R> {
    /// Adds to what a client sends with its next request.
    pub(in crate::worker) fn say_by_line(
        &mut self,
        slot: u32,
        write: impl FnOnce(&Writer, &mut Vec<u8>),
    ) {
        let index = self.line_of(slot);
        write(&self.writer, &mut self.sockjs.lines[index as usize].queued);
    }

    /// The line of a client, marked dirty.
    fn line_of(&mut self, slot: u32) -> u32 {
        let client = &mut self.clients[slot as usize];
        if client.line == NONE {
            let line = Line {
                receiver: slot,
                slot: NONE,
                progress: Progress::Down,
                is_blocked: false,
                queued: Vec::new(),
                out: Vec::new(),
            };
            client.line = self.sockjs.lines.insert(line) as u32;
        }
        self.sockjs.dirty.push(client.line);
        client.line
    }

    /// Gives what publishers have to their lines, as far as these have sent what they had.
    pub(in crate::worker) fn feed_lines(&mut self) {
        for index in 0..self.publishers.all.len() {
            let publisher = &self.publishers.all[index];
            let Some(slot) = publisher.slot.filter(|_| !publisher.out.is_empty()) else { continue };
            let line = self.line_of(slot) as usize;
            if self.sockjs.lines[line].queued.is_empty() {
                let out = &mut self.publishers.all[index].out;
                std::mem::swap(&mut self.sockjs.lines[line].queued, out);
                self.clients[slot as usize].last_write = self.tick;
            }
        }
    }

    /// Opens the connections of lines that are down and have something to say.
    pub(super) fn call_lines(&mut self) {
        for index in 0..self.sockjs.dirty.len() {
            let number = self.sockjs.dirty[index];
            let Some(line) = self.sockjs.lines.get(number as usize) else { continue };
            if line.progress != Progress::Down || line.queued.is_empty() {
                continue;
            }
            let receiver = line.receiver;
            let source = self.further_source();
            match self.reactor.connect(self.plan.target.address, self.plan.source(source)) {
                Ok(slot) => {
                    let line = &mut self.sockjs.lines[number as usize];
                    (line.slot, line.progress) = (slot, Progress::Calling);
                    self.grow_clients(slot);
                    let phase = Phase::Calling;
                    self.clients[slot as usize] = Client { seat: number, phase, ..Client::FREE };
                }
                Err(error) => self.lose(receiver, &format!("socket: {error}")),
            }
        }
    }

    pub(super) fn on_line_connected(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        client.phase = Phase::Sending;
        self.sockjs.lines[client.seat as usize].progress = Progress::Ready;
        self.sockjs.dirty.push(client.seat);
    }

    /// The socket of a line takes bytes again.
    pub(in crate::worker) fn on_line_writable(&mut self, slot: u32) {
        let number = self.clients[slot as usize].seat;
        self.sockjs.lines[number as usize].is_blocked = false;
        self.sockjs.dirty.push(number);
    }

    /// Sends the requests of lines that may.
    pub(in crate::worker) fn flush_lines(&mut self) {
        let Worker { sockjs, clients, reactor, shortfalls, .. } = self;
        let SockJs { requests, names, lines, dirty, .. } = sockjs;
        if dirty.is_empty() {
            return;
        }
        dirty.sort_unstable();
        dirty.dedup();
        for &number in dirty.iter() {
            let Some(line) = lines.get_mut(number as usize) else { continue };
            if line.progress == Progress::Ready && !line.queued.is_empty() {
                let client = &clients[line.receiver as usize];
                line.begin(requests, SessionName::new(*names, client.session.into()));
            }
        }
        let sends = dirty.iter().filter_map(|&number| {
            let line = lines.get(number as usize)?;
            let may_send = !line.out.is_empty() && !line.is_blocked;
            may_send.then(|| request(line.slot, &line.out))
        });
        reactor.send_batch(sends, shortfalls);
        let mut failed = Vec::new();
        for &number in dirty.iter() {
            let Some(line) = lines.get_mut(number as usize) else { continue };
            if line.out.is_empty() || line.is_blocked {
                continue;
            }
            let shortfall = shortfalls.iter().find(|shortfall| shortfall.slot == line.slot);
            let taken = match shortfall.map(|shortfall| shortfall.taken) {
                None => line.out.len(),
                Some(Ok(taken)) => taken,
                Some(Err(libc::EAGAIN)) => 0,
                Some(Err(errno)) => {
                    failed.push((line.slot, errno));
                    continue;
                }
            };
            line.out.drain(..taken);
            if !line.out.is_empty() {
                line.is_blocked = true;
                reactor.arm_writable(line.slot);
            }
        }
        shortfalls.clear();
        // Lines that are down stay on the list until the end of the turn.
        dirty.retain(|&number| {
            let line = lines.get(number as usize);
            line.is_some_and(|line| line.progress == Progress::Down && !line.queued.is_empty())
        });
        for (slot, errno) in failed {
            let error = std::io::Error::from_raw_os_error(errno);
            self.fail(slot, &format!("send: {error}"), true);
        }
    }

    /// Reads the answer to a request of a line.
    pub(super) fn read_sent(
        &mut self,
        slot: u32,
        input: &[u8],
        joined: &mut Vec<u8>,
    ) -> Result<usize, String> {
        let Some((answer, used)) = http::answer(input, joined)? else { return Ok(0) };
        let number = self.clients[slot as usize].seat;
        let line = &mut self.sockjs.lines[number as usize];
        if line.progress != Progress::Asked || !line.out.is_empty() {
            return Err("an answer before the request".into());
        }
        if !matches!(answer.head.status, 200 | 204) {
            let (status, text) = (answer.head.status, String::from_utf8_lossy(answer.body));
            return Err(format!("{status} to a request that sends: {}", text.trim()));
        }
        line.progress = Progress::Ready;
        self.sockjs.dirty.push(number);
        if answer.head.is_last {
            self.hang_up(number);
        }
        self.give_back_line(number);
        Ok(used)
    }

    /// Closes the connection of a line, which may open another.
    fn hang_up(&mut self, number: u32) {
        let line = &mut self.sockjs.lines[number as usize];
        let (slot, progress) = (line.slot, line.progress);
        (line.slot, line.progress, line.is_blocked) = (NONE, Progress::Down, false);
        line.out.clear();
        match progress {
            Progress::Down => {}
            Progress::Calling => self.clients[slot as usize].phase = Phase::Orphan,
            _ => {
                self.vacate(slot, true);
            }
        }
    }

    /// The server ended the connection of a line. Says whether it did so between two requests, and
    /// nothing is lost.
    pub(in crate::worker) fn on_line_ended(&mut self, slot: u32) -> bool {
        let client = self.clients[slot as usize];
        if client.phase != Phase::Sending {
            return false;
        }
        let is_between = self.sockjs.lines[client.seat as usize].progress == Progress::Ready;
        if is_between {
            self.hang_up(client.seat);
            self.sockjs.dirty.push(client.seat);
        }
        is_between
    }

    /// Gives back a line that has nothing to do for a while.
    fn give_back_line(&mut self, number: u32) {
        let line = &self.sockjs.lines[number as usize];
        let slot = line.receiver;
        let is_idle = matches!(line.progress, Progress::Ready | Progress::Down);
        let is_needed = self.plan.heart_beat_ms > 0
            || self.plan.workload == Workload::Queue
            || self.publisher_of(slot).is_some();
        let is_live = self.clients[slot as usize].phase.is_live();
        if is_live && is_idle && line.queued.is_empty() && !is_needed {
            self.remove_line(slot);
        }
    }

    /// A client is live: it may have said all that it has to say.
    pub(in crate::worker) fn rest_line(&mut self, slot: u32) {
        let number = self.clients[slot as usize].line;
        if number != NONE {
            self.give_back_line(number);
        }
    }

    /// Closes and forgets the line of a client, if there is one.
    pub(in crate::worker) fn remove_line(&mut self, slot: u32) {
        let number = std::mem::replace(&mut self.clients[slot as usize].line, NONE);
        if number != NONE {
            self.hang_up(number);
            self.sockjs.lines.remove(number as usize);
        }
    }

    /// The line of a client failed, and so its session.
    pub(in crate::worker) fn fail_line(&mut self, slot: u32, why: &str, is_open: bool) {
        let number = self.vacate(slot, is_open).seat;
        let line = &mut self.sockjs.lines[number as usize];
        (line.slot, line.progress) = (NONE, Progress::Down);
        let receiver = line.receiver;
        self.lose(receiver, why);
    }

    /// Ends a client, whatever becomes of its connection.
    fn lose(&mut self, slot: u32, why: &str) {
        let is_connecting = self.clients[slot as usize].phase == Phase::Rejoining;
        self.fail(slot, why, !is_connecting);
        if is_connecting {
            self.clients[slot as usize].phase = Phase::Orphan;
        }
    }
}
