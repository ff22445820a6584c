//! The home's side: sessions are opened, attached to, fed, flushed, closed and forgotten.
//!
//! What a session writes is collected and passed on at once, before anything else is asked of it.
//! A virtual connection that ends leaves its session to tell the client; a session that ends by
//! itself (no receiver came, or one broke off) ends its connection.

use super::{Answer, Ask, Call, Key, Login, ReceiverId, Reply};
use crate::handler::SessionInfo;
use crate::reactor::Reactor;
use crate::shard::action::Message;
use crate::shard::connection::{Phase, Transport};
use crate::shard::guard::{caught, panic_as_asked};
use crate::shard::peer::Peer;
use crate::shard::reason::DisconnectReason;
use crate::shard::table::{is_virtual, VIRTUAL};
use crate::shard::Shard;
use bytes::Bytes;
use std::sync::Arc;
use stompede_core::broker::destination::home_shard;
use stompede_core::sockjs::error::Error;
use stompede_core::sockjs::frame::{push_message, Close};
use stompede_core::sockjs::session::{Accept, End, Session, Write};
use stompede_core::sockjs::url;
use stompede_core::ws::close::code;
use stompede_core::ws::receiver::MessageKind;

impl<R: Reactor> Shard<R> {
    /// The shard where a session lives.
    pub(super) fn home_of_session(&self, key: &Key) -> usize {
        // The same name below two endpoints is two sessions.
        let hash_key = self.shared.key.rotate_left(key.service as u32 + 1);
        home_shard(hash_key, &key.name, self.mesh.shards_count())
    }

    /// Takes what a request, from here or from another shard, asks of a session.
    pub(in crate::shard) fn on_call(&mut self, call: Call) {
        let Call { key, from, ask } = call;
        let slot = self.sessions.find(&key).filter(|&slot| !self.forget_if_over(slot));
        if let Ask::Attach { login: Login { print, .. }, .. } | Ask::Send { print, .. } = &ask {
            if slot.is_some_and(|slot| !self.sessions.is_open_to(slot, *print)) {
                return self.answer_receiver(from, Answer::Failed(Error::SessionUnknown));
            }
        }
        match ask {
            Ask::Attach { transport, peer, opening, is_checked, login } => match slot {
                Some(slot) => self.attach(slot, key, from, transport, is_checked, opening),
                None => self.open_sockjs(key, from, transport, peer, opening, login),
            },
            Ask::Send { body, form, .. } => {
                // The request may be another shard's; the session is the client's connection.
                let take = || self.take_messages_of(key.service, slot, body, form.as_deref());
                let answer = match caught(take) {
                    Some(Ok(())) => Answer::Taken,
                    Some(Err(error)) => Answer::Failed(error),
                    None => {
                        match slot {
                            Some(slot) => self.on_panic(slot),
                            None => self.metrics.panics.inc(),
                        }
                        Answer::Failed(Error::Internal)
                    }
                };
                self.answer_receiver(from, answer);
            }
            Ask::Checked(second, opening) => {
                self.answer_receiver(second, Answer::Retry(opening));
            }
            Ask::Sent(bytes) => {
                self.with_session(slot, |session, now, rules, writes| {
                    session.sent(from, bytes, now, rules, writes);
                    None
                });
                // There may be room for what a queue has.
                slot.inspect(|&slot| self.mark_dirty(slot));
            }
            Ask::Completed => self.with_session(slot, |session, now, _, _| {
                session.completed(from, now);
                None
            }),
            Ask::Aborted => {
                self.with_session(slot, |session, now, rules, _| session.aborted(from, now, rules));
            }
            Ask::Left => {
                self.with_session(slot, |session, now, rules, _| session.left(from, now, rules));
                self.answer_receiver(from, Answer::Over);
            }
        }
    }

    /// A session that nobody has to remember is removed before its tick.
    fn forget_if_over(&mut self, slot: u32) -> bool {
        let is_over = self.sessions.session(slot).is_over()
            && self.connections[slot as usize].phase == Phase::Free;
        if is_over {
            self.sessions.remove(slot);
        }
        is_over
    }

    /// Does something with a session, if it exists; what it writes is passed on and its end told.
    fn with_session(
        &mut self,
        slot: Option<u32>,
        act: impl FnOnce(
            &mut Session<ReceiverId>,
            u32,
            &stompede_core::sockjs::session::Rules,
            &mut Vec<Write<ReceiverId>>,
        ) -> Option<End>,
    ) {
        let Some(slot) = slot else { return };
        let (now, rules) = (self.tick, self.sessions.rules_of(slot));
        let mut writes = std::mem::take(&mut self.sessions.writes);
        let end = act(self.sessions.session(slot), now, &rules, &mut writes);
        self.pass_writes_on(writes);
        if let Some(end) = end {
            let reason = match end {
                End::Expired => DisconnectReason::SessionExpired,
                // So all clients of SockJS leave: the protocol has no other word for it.
                End::Interrupted => DisconnectReason::PeerClosed,
            };
            self.abort(slot, reason);
        }
    }

    /// Gives what a session wrote to the shards with the connections.
    fn pass_writes_on(&mut self, mut writes: Vec<Write<ReceiverId>>) {
        for Write { receiver, frame, is_last } in writes.drain(..) {
            self.answer_receiver(receiver, Answer::Frame { frame, is_last });
        }
        self.sessions.writes = writes;
    }

    fn answer_receiver(&mut self, to: ReceiverId, answer: Answer) {
        if to.shard as usize == self.index {
            self.on_sockjs_answer(to, answer);
        } else {
            self.mesh.push(to.shard as usize, Message::SockJsReply(Box::new(Reply { to, answer })));
        }
    }

    /// A client may break off and come again by another shard, whose word is here first. So a
    /// second receiver is told so only when the first was looked for.
    fn attach(
        &mut self,
        slot: u32,
        key: Arc<Key>,
        from: ReceiverId,
        transport: url::Transport,
        is_checked: bool,
        opening: Option<Box<SessionInfo>>,
    ) {
        let first = self.sessions.session(slot).receiver();
        if let (Some(first), false) = (first, is_checked) {
            return self.answer_receiver(first, Answer::Check { key, second: from, opening });
        }
        if transport.is_streaming() {
            self.answer_receiver(from, Answer::Begin);
        }
        self.with_session(Some(slot), |session, now, rules, writes| {
            session.attach(from, transport, now, rules, writes);
            None
        });
        self.mark_dirty(slot);
    }

    fn open_sockjs(
        &mut self,
        key: Arc<Key>,
        from: ReceiverId,
        transport: url::Transport,
        peer: Peer,
        mut opening: Option<Box<SessionInfo>>,
        login: Login,
    ) {
        if self.is_draining || !self.has_session_room(peer) {
            self.metrics.sockjs_sessions_refused.inc();
            return self.answer_receiver(from, Answer::Failed(Error::TooManySessions));
        }
        if login.print != 0 && login.user.is_none() {
            return self.answer_receiver(from, Answer::LogIn(opening));
        }
        if transport.is_streaming() {
            self.answer_receiver(from, Answer::Begin);
        }
        let rules = self.sessions.rules[key.service];
        let mut writes = std::mem::take(&mut self.sessions.writes);
        let session = Session::open(from, transport, self.tick, &rules, &mut writes);
        let slot = self.sessions.insert(key, session, login.print);
        self.sessions.live_count += 1;
        if let Some(counts) = &self.shared.session_counts {
            counts.enter(peer.ip());
        }
        self.metrics.sockjs_sessions_opened.inc();
        self.take_slot(slot, Transport::SockJs, peer);
        match (login.user, &mut opening) {
            (Some(user), Some(opening)) => opening.log_in(&user),
            (Some(user), None) => self.connections[slot as usize].stomp().basic_user = Some(user),
            (None, _) => {}
        }
        self.pass_writes_on(writes);
        self.open_session(slot, opening);
    }

    /// Live sessions are limited, those of one address once more. Those that are only remembered
    /// may be as many again; beyond that they are forgotten early, so that nobody shuts others out
    /// by leaving sessions behind.
    fn has_session_room(&mut self, peer: Peer) -> bool {
        if let Some(counts) = &self.shared.session_counts {
            if counts.count(peer.ip()) as usize >= self.shared.config.sockjs_sessions_per_ip_max {
                return false;
            }
        }
        let sessions_max = match self.shared.config.sockjs_sessions_max {
            0 => self.connections_max,
            wanted => wanted,
        };
        if self.sessions.len() >= 2 * sessions_max {
            for index in 0..self.sessions.entries.capacity() as u32 {
                let slot = VIRTUAL | index;
                let entry = self.sessions.entries.get(index as usize);
                let is_ended = entry.is_some_and(|entry| entry.session.accept().is_err());
                if is_ended && self.connections[slot as usize].phase == Phase::Free {
                    self.sessions.remove(slot);
                }
            }
        }
        self.sessions.live_count < sessions_max && self.sessions.len() < 2 * sessions_max
    }

    /// Parses a body and gives its messages to the application. Order of checks as in the reference
    /// server: first the payload, then the session.
    fn take_messages_of(
        &mut self,
        service: usize,
        slot: Option<u32>,
        mut body: Vec<u8>,
        form: Option<&str>,
    ) -> Result<(), Error> {
        let shared = self.shared.clone();
        let limits = &shared.sockjs.services()[service].limits;
        let mut parser = std::mem::take(&mut self.sessions.parser);
        panic_as_asked("payload");
        let payload = match form {
            Some(content_type) => parser.parse_jsonp(&mut body, Some(content_type), limits),
            None => parser.parse(&mut body, limits),
        };
        self.sessions.parser = parser;
        let payload = payload?;
        let slot = slot.ok_or(Error::SessionUnknown)?;
        if self.sessions.session(slot).accept()? == Accept::Drop {
            return Ok(());
        }
        // Messages behind one that waits for another shard wait too, but not without end.
        let spill = self.connections[slot as usize].spill;
        let seen = self.spills.get(spill as usize).map_or(0, |spill| spill.bytes.len());
        let limit = limits.sockjs_payload_bytes_max.max(limits.stomp_frame_bytes_max);
        if seen > limit {
            return Err(Error::QueueFull { seen, limit });
        }
        let generation = self.connections[slot as usize].generation;
        for text in payload.iter() {
            let connection = &self.connections[slot as usize];
            if !connection.is_live() || connection.generation != generation {
                break;
            }
            self.on_sockjs_message(slot, text);
        }
        Ok(())
    }

    /// A message of a SockJS client, by whatever transport.
    pub(super) fn on_sockjs_message(&mut self, slot: u32, text: &str) {
        self.note_read(slot);
        self.metrics.sockjs_messages_received.inc();
        if self.connections[slot as usize].is_session {
            return self.on_session_message(slot, MessageKind::Text, text.as_bytes());
        }
        let mut scratch = std::mem::take(&mut self.sessions.scratch);
        scratch.clear();
        scratch.extend_from_slice(text.as_bytes());
        self.on_stream(slot, &mut scratch, Self::decode_stomp);
        self.sessions.scratch = scratch;
    }

    /// Queues one STOMP frame (or heart-beat) as a SockJS message.
    pub(in crate::shard) fn push_sockjs(&mut self, slot: u32, frame: &[u8]) {
        let mut message = Vec::with_capacity(frame.len() + 16);
        if !is_virtual(slot) {
            return self.push_sockjs_ws(slot, frame);
        }
        if self.connections[slot as usize].phase == Phase::Free {
            return;
        }
        push_message(&mut message, &[frame]);
        if self.sessions.send(slot, Bytes::from(message)).is_err() {
            self.metrics.slow_consumers.inc();
            return self.end(slot, DisconnectReason::SlowConsumer);
        }
        self.mark_dirty(slot);
    }

    /// Hands what waits to the receivers, and lets go of connections that ended.
    pub(in crate::shard) fn flush_sessions(&mut self) {
        while let Some(slot) = self.sessions.dirty.pop() {
            let connection = &mut self.connections[slot as usize];
            connection.is_dirty = false;
            let phase = connection.phase;
            if phase == Phase::Free {
                continue;
            }
            if phase == Phase::Open {
                self.last_write[slot as usize] = self.tick;
                if connection.send_ticks > 0 {
                    // STOMP keeps the line busy.
                    self.sessions.session(slot).stop_heartbeats();
                }
            }
            self.with_session(Some(slot), |session, now, rules, writes| {
                session.flush(now, rules, writes);
                None
            });
            if let Phase::Closing(_) = phase {
                self.release(slot);
            } else if self.sessions.waiting_bytes(slot) == 0 {
                self.on_queue_room(slot);
            }
        }
    }

    /// The application closes: what waits goes out first. Only the first close counts.
    pub(in crate::shard) fn close_session(&mut self, slot: u32, close_code: u16, reason: &str) {
        let close = Close::new(close_code, reason.to_owned());
        self.with_session(Some(slot), |session, now, _, writes| {
            session.close(close, now, writes);
            None
        });
    }

    /// A virtual connection ends: its client is told more than that, where there is more.
    pub(in crate::shard) fn leave_session(&mut self, slot: u32, reason: DisconnectReason) {
        if reason == DisconnectReason::SlowConsumer {
            let close = Error::QueueFull { seen: 0, limit: 0 }.close();
            self.close_session(slot, close.code, close.reason());
        }
    }

    /// The record of a virtual connection was freed; its session tells the client, if it lives.
    pub(in crate::shard) fn release_session(&mut self, slot: u32) {
        self.sessions.live_count -= 1;
        if let Some(counts) = &self.shared.session_counts {
            counts.leave(self.peers[slot as usize].ip());
        }
        self.close_session(slot, code::NORMAL, "Normal closure");
    }

    /// We were held up, or a shard does not read because the mesh is full: what clients did may
    /// still be on its way, and nobody is ended for it.
    pub(in crate::shard) fn excuse_sessions(&mut self) {
        let tick = self.tick;
        for (index, entry) in &mut self.sessions.entries {
            entry.session.excuse(tick);
            self.last_read[(VIRTUAL | index as u32) as usize] = tick;
        }
    }

    /// Time passes for all sessions.
    pub(in crate::shard) fn tick_sessions(&mut self) {
        let mut waiting_bytes = 0;
        for index in 0..self.sessions.entries.capacity() as u32 {
            if !self.sessions.entries.contains(index as usize) {
                continue;
            }
            let slot = VIRTUAL | index;
            self.guarded(slot, |shard| {
                shard.with_session(Some(slot), |session, now, rules, writes| {
                    session.tick(now, rules, writes)
                });
            });
            waiting_bytes += self.sessions.waiting_bytes(slot);
            self.forget_if_over(slot);
        }
        self.metrics.sockjs_waiting_bytes.set(waiting_bytes as u64);
        self.metrics.sockjs_sessions.set(self.sessions.len() as u64);
    }
}
