//! The public API for applications that speak STOMP: what Spring calls `@MessageMapping` and
//! `@SubscribeMapping`.
//!
//! A SEND to `/app/...` is not published: it goes to the message mapping whose pattern matches, on
//! the shard of the sender's connection, within its turn. The mapping answers with
//! [`Context::publish`], [`Context::reply`] and [`Context::send_to_user`], at once or, if it is
//! asynchronous, whenever it is ready. A subscribe mapping gives a newcomer to `/app/...` or to a
//! topic the state of things as its first message; all that is published later follows, also what
//! is published while an asynchronous one is at work. An application that changes its state before
//! it publishes the change leaves no gap between the two.
//!
//! What happens outside of a mapping (a price comes, a job is done) is published by a
//! [`Publisher`](crate::publisher::Publisher), from any thread.
//!
//! Mappings are shared by all shards, so they are `Send` and `Sync`; they must not block. An error
//! (or a panic) goes to the client's subscription of `/user/queue/errors`, or into the log if it
//! has none, and is counted. A SEND to `/app/...` that no mapping matches goes to a *service
//! connection*: a STOMP client that `--allow` lets subscribe to a pattern such as `/app/**`. Of
//! several, one gets each, as of the consumers of a queue: what a service does not acknowledge,
//! another gets.
//!
//! ```no_run
//! use stompede::config::Config;
//! use stompede::Server;
//!
//! let server = Server::builder(Config::default())
//!     .message("/app/hello/{name}", |context, message| {
//!         let name = context.param("name").unwrap_or_default();
//!         context.publish("/topic/greetings", format!("{name} says {}", message.text()?));
//!         Ok(())
//!     })
//!     .subscribe("/app/time", |_context| Ok(Some("it is now".into())));
//! let handle = server.start().expect("the address is free");
//! handle.drain_on_signal().expect("signals can be handled");
//! ```

mod mapping;

pub use mapping::App;
pub(crate) use mapping::{MessageMapping, Snapshot, Task};

use crate::mesh::Doorbell;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use stompede_core::broker::publication::Publication;
use stompede_core::broker::subscriptions::SubscriptionKey;
use stompede_core::broker::user::{encode_name, session_id, Session, SessionId};

/// Where the errors of mappings go, and a SUBSCRIBE that is softly denied.
pub(crate) const ERRORS: &str = "/queue/errors";
/// There, what the mapping was called for.
pub(crate) const FAILED_DESTINATION: &str = "failed-destination";

/// Why a mapping failed: a line for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppError(String);

impl AppError {
    /// An error with this text, which the client sees.
    pub fn new(text: impl fmt::Display) -> AppError {
        AppError(text.to_string())
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<E: std::error::Error> From<E> for AppError {
    fn from(error: E) -> AppError {
        AppError::new(error)
    }
}

/// What a mapping got.
#[derive(Clone, Debug)]
pub struct Message(pub(crate) Arc<Publication>);

impl Message {
    /// The destination, as the client sent it.
    pub fn destination(&self) -> &str {
        self.0.destination()
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.0.body()
    }

    /// The body as text.
    ///
    /// # Errors
    /// A body that is not UTF-8.
    pub fn text(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(self.body())
    }
}

/// What a mapping sends: a body and headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Payload {
    /// Bytes, without headers.
    pub fn new(body: impl Into<Vec<u8>>) -> Payload {
        Payload { headers: Vec::new(), body: body.into() }
    }

    /// Text that is JSON, and says so.
    pub fn json(text: impl Into<String>) -> Payload {
        Payload::new(text.into()).header("content-type", "application/json")
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Payload {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Names and values.
    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn to(&self, destination: &str) -> Arc<Publication> {
        let headers = self.headers.iter().map(|(name, value)| (name, value));
        Arc::new(Publication::new(destination, headers, &self.body))
    }
}

impl<T: Into<Vec<u8>>> From<T> for Payload {
    fn from(body: T) -> Payload {
        Payload::new(body)
    }
}

/// Something a mapping sends, and in whose name.
pub(crate) enum Post {
    Send {
        session: Session,
        publication: Arc<Publication>,
    },
    /// A mapping failed: what is to be told to its caller.
    Failure {
        session: Session,
        publication: Arc<Publication>,
    },
    /// An asynchronous subscribe mapping is done.
    Snapshot {
        place: Place,
        publication: Option<Arc<Publication>>,
    },
}

/// The subscription that waits for its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) key: SubscriptionKey,
    /// Of the wait: slots and keys are used again.
    pub(crate) number: u64,
}

/// What the mappings of one shard sent and the shard has not taken yet.
pub(crate) struct Outbox {
    posts: RefCell<Vec<Post>>,
    doorbell: Arc<Doorbell>,
    /// Asynchronous mappings that run.
    tasks_count: Cell<usize>,
}

impl Outbox {
    pub(crate) fn new(doorbell: Arc<Doorbell>) -> Rc<Outbox> {
        let (posts, tasks_count) = (RefCell::default(), Cell::new(0));
        Rc::new(Outbox { posts, doorbell, tasks_count })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.posts.borrow().is_empty()
    }

    pub(crate) fn take(&self) -> Vec<Post> {
        self.posts.take()
    }

    pub(crate) fn tasks_count(&self) -> usize {
        self.tasks_count.get()
    }

    pub(crate) fn push(&self, post: Post) {
        self.posts.borrow_mut().push(post);
        self.doorbell.ring();
    }
}

/// Counts a task while it lives, however it ends.
pub(crate) struct TaskGuard(Rc<Outbox>);

impl TaskGuard {
    pub(crate) fn new(outbox: &Rc<Outbox>) -> TaskGuard {
        outbox.tasks_count.set(outbox.tasks_count.get() + 1);
        TaskGuard(outbox.clone())
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.tasks_count.set(self.0.tasks_count.get() - 1);
    }
}

/// Who called a mapping, and the ways to answer.
///
/// What is sent takes its place when the mapping has returned; of an asynchronous one, with the
/// shard's next turn.
pub struct Context {
    pub(crate) session: Session,
    pub(crate) user: Option<Box<str>>,
    pub(crate) destination: Box<str>,
    pub(crate) params: Vec<(Box<str>, Box<str>)>,
    pub(crate) outbox: Rc<Outbox>,
    /// Of this start of the server.
    pub(crate) key: u64,
}

impl Context {
    /// The value of the pattern's variable of that name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(other, _)| **other == *name).map(|(_, value)| &**value)
    }

    /// Who logged in.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The destination that the client named.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The id of the caller's session, as in its CONNECTED: what Spring calls `simpSessionId`.
    pub fn session_id(&self) -> SessionId {
        session_id(self.key, self.session)
    }

    /// Publishes to a destination: `/topic/...`, `/queue/...`, or `/app/...` for those who
    /// subscribed there. One that is none is logged and dropped.
    pub fn publish(&self, destination: &str, payload: impl Into<Payload>) {
        let publication = payload.into().to(destination);
        self.outbox.push(Post::Send { session: self.session, publication });
    }

    /// Answers this session alone, if it is still there: `/queue/x` is what it subscribed as
    /// `/user/queue/x`.
    pub fn reply(&self, destination: &str, payload: impl Into<Payload>) {
        self.publish(&format!("/user{destination}"), payload);
    }

    /// Sends to all sessions of a user, who subscribed `/user/queue/x` for `/queue/x`; with the id
    /// of a session in place of a user's name, to that one.
    pub fn send_to_user(&self, user: &str, destination: &str, payload: impl Into<Payload>) {
        self.publish(&format!("/user/{}{destination}", encode_name(user)), payload);
    }

    /// Tells the client what went wrong, at `/user/queue/errors`; or the log, if the client did not
    /// subscribe there.
    pub fn fail(&self, error: &AppError) {
        let payload = Payload::new(error.text())
            .header("message", error.text())
            .header(FAILED_DESTINATION, &self.destination)
            .header("content-type", "text/plain");
        let publication = payload.to(&format!("/user{ERRORS}"));
        self.outbox.push(Post::Failure { session: self.session, publication });
    }
}
