//! SockJS over HTTP: sessions at their home shard, and the requests that carry them.
//!
//! A session lives where the keyed hash of its endpoint and name says, whatever shard a request
//! lands on. There it is a virtual connection (see [`super::table`]) beside a
//! [`stompede_core::sockjs::session::Session`]: the record takes part in STOMP like any other, the
//! session keeps what waits for the client. The record ends with the conversation; the session
//! stays a while to tell late clients so.
//!
//! The shard with the client's HTTP connection keeps an [`exchange::Exchange`] for each request and
//! speaks with the home in [`Call`]s and `Answer`s: by the mesh, or by a plain call when it is
//! the home itself. Rings between shards keep order, so a session sees the requests of a connection
//! in theirs, and a word about a receiver never overtakes the receiver.
//!
//! `home` is the home's side, [`exchange`], `request` and `login` are the client's,
//! `websocket` is the transport that has no session.

pub mod exchange;
mod home;
mod login;
mod request;
mod websocket;

use super::peer::Peer;
use super::table::{room_for, VIRTUAL};
use super::Shared;
use crate::handler::SessionInfo;
use crate::sockjs::SockJs;
use bytes::Bytes;
use exchange::OwnedAsked;
use slab::Slab;
use std::collections::HashMap;
use std::sync::Arc;
use stompede_core::broker::Keyed;
use stompede_core::outbound::Segment;
use stompede_core::sockjs::error::Error;
use stompede_core::sockjs::frame::Frame;
use stompede_core::sockjs::payload::Parser;
use stompede_core::sockjs::session::{Rules, Session, Write};
use stompede_core::sockjs::url::Transport;

/// What names a session.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Index of the service.
    pub service: usize,
    /// The client's name for it; behind the path of its endpoint if that is a handler's, because it
    /// may have parameters.
    pub name: Box<str>,
}

/// What names a request that a session answers; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverId {
    /// The shard with the connection.
    pub shard: u32,
    /// Its slot there.
    pub slot: u32,
    /// The slot's generation.
    pub generation: u32,
    /// The request's number on the connection.
    pub request: u32,
}

/// To the home of a session.
#[derive(Debug)]
pub struct Call {
    /// The session.
    pub key: Arc<Key>,
    /// The request.
    pub from: ReceiverId,
    /// What it asks.
    pub(crate) ask: Ask,
}

/// What a request asks of a session, and how its answer gets on.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Give me frames; a session that does not exist begins.
    Attach {
        /// How the frames travel.
        transport: Transport,
        /// The client's address.
        peer: Peer,
        /// The receiver before it was found to be there still, if there is one.
        is_checked: bool,
        /// What a handler wants to know of a new session.
        opening: Option<Box<SessionInfo>>,
        /// As whom.
        login: Login,
    },
    /// Take these messages.
    Send {
        /// The whole request body.
        body: Vec<u8>,
        /// It is that of a `jsonp_send`, of this content type.
        form: Option<Box<str>>,
        /// The print of the request's login.
        print: u64,
    },
    /// This receiver is there still, or you were told that it broke off: now this second one may
    /// ask again, with what it brought.
    Checked(ReceiverId, Option<Box<SessionInfo>>),
    /// So many bytes of frames were sent, since the answer began.
    Sent(u32),
    /// The answer was sent to its end.
    Completed,
    /// The connection broke before.
    Aborted,
    /// The client ended its half before anything was heard of the answer; it may still read.
    Left,
}

/// As whom a request comes.
#[derive(Debug, Default)]
pub(crate) struct Login {
    /// Keyed hash of its `Authorization`; 0 without one, and where everybody may log in.
    print: u64,
    /// The user, if that was checked.
    user: Option<Box<str>>,
}

/// From the home of a session to a connection.
#[derive(Debug)]
pub struct Reply {
    /// The request.
    pub to: ReceiverId,
    /// What the home says.
    pub(crate) answer: Answer,
}

/// What the home of a session says.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A stream is accepted: its head may go out.
    Begin,
    /// A frame.
    Frame {
        /// What to write.
        frame: Frame,
        /// The answer ends behind it.
        is_last: bool,
    },
    /// A second receiver came: look whether the first has broken off, and say so.
    Check {
        /// The session.
        key: Arc<Key>,
        /// The second receiver.
        second: ReceiverId,
        /// What it brought, should it be the first of a new session.
        opening: Option<Box<SessionInfo>>,
    },
    /// The receiver before you was looked for: ask again with this.
    Retry(Option<Box<SessionInfo>>),
    /// This is a new session: have your login checked, and ask again with this.
    LogIn(Option<Box<SessionInfo>>),
    /// The messages were taken.
    Taken,
    /// The home has heard that you left; what it had for you went before.
    Over,
    /// The request is refused.
    Failed(Error),
}

/// The sessions of one shard.
pub(super) struct Sessions {
    by_key: HashMap<Arc<Key>, u32, Keyed>,
    /// The session of the virtual slot with that index.
    entries: Slab<Entry>,
    /// By service, with the bounds of now.
    rules: Vec<Rules>,
    /// Virtual slots with something to hand to their receivers.
    dirty: Vec<u32>,
    /// Virtual connections that are not free.
    live_count: usize,
    writes: Vec<Write<ReceiverId>>,
    parser: Parser,
    scratch: Vec<u8>,
    /// What was written last to receivers here, of each kind: a broadcast is written to many alike.
    written: Vec<Written>,
    /// Answers to `/info`.
    infos_count: u64,
}

/// Kinds of receivers for which it is known what was written last: transports, and for polls the
/// pages that ask. With more of them, some messages are written anew.
const WRITTEN_COUNT_MAX: usize = 16;

struct Entry {
    session: Session<ReceiverId>,
    key: Arc<Key>,
    /// The print of the login that opened it: other logins know nothing of it.
    print: u64,
}

/// A frame with one message as receivers of a kind get it, in the send arena: a chunk of a stream,
/// or the whole answer to a poll.
struct Written {
    /// The message; the same bytes are the same message.
    message: Bytes,
    transport: Transport,
    is_http11: bool,
    /// What the head of an answer to a poll depends on, and whether its connection stays.
    head: Option<(OwnedAsked, bool)>,
    segment: Segment,
    /// Bytes of the frame, as the session counts them.
    frame_bytes: u32,
}

/// A session between two polls; the tests count what it owns besides.
const _: () = assert!(size_of::<Entry>() <= 96);

impl Sessions {
    pub(super) fn new(shared: &Shared) -> Sessions {
        Sessions {
            by_key: HashMap::with_hasher(Keyed(shared.key)),
            entries: Slab::new(),
            rules: shared.sockjs.services().iter().map(|service| service.rules).collect(),
            dirty: Vec::new(),
            live_count: 0,
            writes: Vec::new(),
            parser: Parser::default(),
            scratch: Vec::new(),
            written: Vec::new(),
            infos_count: 0,
        }
    }

    /// Sessions, remembered ones included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Virtual connections that are not free.
    pub(super) fn live_count(&self) -> usize {
        self.live_count
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.dirty.is_empty()
    }

    /// To be flushed in this turn.
    pub(super) fn mark_dirty(&mut self, slot: u32) {
        self.dirty.push(slot);
    }

    /// Queues a message, a finished JSON string.
    pub(super) fn send(&mut self, slot: u32, message: Bytes) -> Result<(), Error> {
        let entry = &mut self.entries[(slot & !VIRTUAL) as usize];
        entry.session.send(message, &self.rules[entry.key.service])
    }

    /// Bytes that wait for the client of a virtual connection.
    pub(super) fn waiting_bytes(&self, slot: u32) -> usize {
        let entry = self.entries.get((slot & !VIRTUAL) as usize);
        entry.map_or(0, |entry| entry.session.waiting_bytes())
    }

    /// Everyone's limit shrinks when the server holds too much.
    pub(super) fn bound_queues(&mut self, sockjs: &SockJs, divisor: usize) {
        for (rules, service) in self.rules.iter_mut().zip(sockjs.services()) {
            rules.queue_bytes_max = service.rules.queue_bytes_max / divisor;
        }
    }

    /// The virtual slot of a session.
    fn find(&self, key: &Key) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    fn insert(&mut self, key: Arc<Key>, session: Session<ReceiverId>, print: u64) -> u32 {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(room_for(self.entries.len() + 1) - self.entries.len());
        }
        let slot = VIRTUAL | self.entries.insert(Entry { session, key: key.clone(), print }) as u32;
        self.by_key.insert(key, slot);
        slot
    }

    fn remove(&mut self, slot: u32) {
        let entry = self.entries.remove((slot & !VIRTUAL) as usize);
        self.by_key.remove(&entry.key);
        if self.entries.is_empty() {
            // What only a crowd needed.
            self.by_key = HashMap::with_hasher(*self.by_key.hasher());
            self.entries = Slab::new();
        }
    }

    /// May a request with a login of this print ask anything of the session?
    fn is_open_to(&self, slot: u32, print: u64) -> bool {
        let entry = &self.entries[(slot & !VIRTUAL) as usize];
        entry.print == 0 || entry.print == print
    }

    fn rules_of(&self, slot: u32) -> Rules {
        self.rules[self.entries[(slot & !VIRTUAL) as usize].key.service]
    }

    fn session(&mut self, slot: u32) -> &mut Session<ReceiverId> {
        &mut self.entries[(slot & !VIRTUAL) as usize].session
    }
}
