//! Stompede inside of your own program: a push server for WebSocket, SockJS and STOMP clients, with
//! a thread per core.
//!
//! ```no_run
//! use stompede::config::Config;
//! use stompede::Server;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = Config { listen: "127.0.0.1:8080".parse()?, ..Config::default() };
//!     stompede::log::init(&config)?; // or a subscriber of `tracing` of your own
//!     let handle = Server::builder(config)
//!         .message("/app/hello/{name}", |context, message| {
//!             let name = context.param("name").unwrap_or_default();
//!             context.publish("/topic/greetings", format!("{name} says {}", message.text()?));
//!             Ok(())
//!         })
//!         .start()?;
//!     println!("ws://{}/ws", handle.http_address);
//!     handle.publisher().publish("/topic/greetings", "open")?; // from any thread
//!     handle.drain_on_signal()?;
//!     Ok(())
//! }
//! ```
//!
//! Read in this order: [`Server`] and [`Builder`] (how it starts), [`config`] (what the options of
//! the binary are here), [`app`] (functions for `/app/...`), [`publisher`] (publishing from other
//! threads), [`handler`] (your own endpoints, without STOMP), [`Handle`] (how it ends), [`log`].
//!
//! Everything else that is public is so for this package's binary, tests and benches; it is hidden
//! here and may change at any time. Who wants to read it begins with `shard` (a message's way),
//! then `reactor` and `mesh`.

// Whatever a peer or an operator did: an error, not a panic.
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod app;
pub mod config;
pub mod handler;
pub mod log;
pub mod metrics;
pub mod publisher;

#[doc(hidden)]
pub mod admin;
#[doc(hidden)]
pub mod assets;
#[doc(hidden)]
pub mod auth;
mod inbox;
#[doc(hidden)]
pub mod mesh;
#[doc(hidden)]
pub mod probe;
#[doc(hidden)]
pub mod reactor;
#[doc(hidden)]
pub mod services;
#[doc(hidden)]
pub mod shard;
mod signals;
#[doc(hidden)]
pub mod sockjs;
mod start_error;
#[doc(hidden)]
pub mod static_files;
#[doc(hidden)]
pub mod threads;

pub use start_error::StartError;

use app::{App, AppError, Context, MessageMapping, Payload, Snapshot, Task};
use config::{Config, IoChoice};
use handler::endpoint::Endpoints;
use handler::{Handler, SockJsOptions};
use publisher::Publisher;
use reactor::listener::{claim, listen, local_address};
use shard::Shared;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};
use threads::Threads;

/// The programs in README.md are compiled by `cargo test --doc`.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// How a server comes into being: from a [`Config`], with what a [`Builder`] adds to it.
///
/// A server runs on threads of its own, one per shard and some beside them, until its [`Handle`]
/// drains it; several may run in one process. Of the process it takes nothing: signals, log and
/// allocator are yours ([`Handle::drain_on_signal`] and [`log::init`] are offers). Its threads come
/// from no runtime, and need none.
pub struct Server;

/// A server that is not started yet: its options and its endpoints.
pub struct Builder {
    config: Config,
    endpoints: Endpoints,
    app: App,
    /// What was wrong with an endpoint or a mapping, for the start to tell.
    mistake: Option<String>,
}

/// What its starter holds of a running server.
///
/// A handle that is dropped leaves the server running until the process ends.
pub struct Handle {
    shared: Arc<Shared>,
    threads: Threads,
    /// Where HTTP and WebSocket clients connect; the port is the real one when 0 was asked.
    pub http_address: SocketAddr,
    /// Where STOMP clients connect over raw TCP.
    pub stomp_address: Option<SocketAddr>,
    /// Where metrics and health are.
    pub admin_address: Option<SocketAddr>,
    /// Is io_uring in use (else epoll)?
    pub is_uring: bool,
}

impl Server {
    /// A server that is going to have endpoints ([`handler`]) or mappings ([`app`]). Nothing
    /// happens before [`Builder::start`].
    pub fn builder(config: Config) -> Builder {
        Builder { config, endpoints: Endpoints::default(), app: App::default(), mistake: None }
    }

    /// Starts a server without endpoints and mappings: a broker. It serves when this returns.
    ///
    /// # Errors
    /// Those of [`Builder::start`].
    pub fn start(config: Config) -> Result<Handle, StartError> {
        Server::builder(config).start()
    }
}

impl Builder {
    /// Serves `pattern` (a path such as `/rooms/{room}`, see [`handler::endpoint`]) with the
    /// handlers that `factory` makes: one for each shard, whose index it gets, on that shard's
    /// thread. What is wrong with the pattern is an error of [`Builder::start`].
    pub fn endpoint<H, F>(mut self, pattern: &str, factory: F) -> Builder
    where
        H: Handler + 'static,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        let added = self.endpoints.add(pattern, None, factory);
        self.mistake = self.mistake.or(added.err());
        self
    }

    /// As [`Builder::endpoint`], with SockJS options of its own instead of the operator's; their
    /// prefix is not used. Without any transport it is no SockJS endpoint.
    pub fn endpoint_with<H, F>(
        mut self,
        pattern: &str,
        sockjs: SockJsOptions,
        factory: F,
    ) -> Builder
    where
        H: Handler + 'static,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        let added = self.endpoints.add(pattern, Some(sockjs), factory);
        self.mistake = self.mistake.or(added.err());
        self
    }

    /// Calls `mapping` for every SEND to a destination that `pattern` (`/app/hello/{name}`, see
    /// [`app`]) matches, within the turn of the sender's shard. The RECEIPT of the SEND follows.
    /// What is wrong with the pattern is an error of [`Builder::start`].
    pub fn message<F>(mut self, pattern: &str, mapping: F) -> Builder
    where
        F: Fn(&Context, &app::Message) -> Result<(), AppError> + Send + Sync + 'static,
    {
        let mapping = MessageMapping::Immediate(Box::new(mapping));
        let added = self.app.add_message(pattern, mapping);
        self.mistake = self.mistake.or(added.err());
        self
    }

    /// As [`Builder::message`], as a task on the shard: at most `app_tasks_count_max` run at once.
    /// The RECEIPT of the SEND says that it was started.
    pub fn message_async<F, T>(mut self, pattern: &str, mapping: F) -> Builder
    where
        F: Fn(Context, app::Message) -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), AppError>> + 'static,
    {
        let boxed = move |context, message| -> Task { Box::pin(mapping(context, message)) };
        let mapping = MessageMapping::Deferred(Box::new(boxed));
        let added = self.app.add_message(pattern, mapping);
        self.mistake = self.mistake.or(added.err());
        self
    }

    /// Calls `mapping` for every new subscription to a destination that `pattern` (below `/app/`
    /// or `/topic/`) matches, on the subscriber's shard at the moment from which it gets what is
    /// published. What it gives is delivered first, to that subscription alone.
    pub fn subscribe<F>(mut self, pattern: &str, mapping: F) -> Builder
    where
        F: Fn(&Context) -> Result<Option<Payload>, AppError> + Send + Sync + 'static,
    {
        let mapping = Snapshot::Immediate(Box::new(mapping));
        let added = self.app.add_snapshot(pattern, mapping);
        self.mistake = self.mistake.or(added.err());
        self
    }

    /// As [`Builder::subscribe`], as a task on the shard. The subscription is live when the task
    /// begins; what is published while it runs waits, up to `outbound-bytes-max`, and is delivered
    /// behind what the task gives.
    pub fn subscribe_async<F, T>(mut self, pattern: &str, mapping: F) -> Builder
    where
        F: Fn(Context) -> T + Send + Sync + 'static,
        T: Future<Output = Result<Option<Payload>, AppError>> + 'static,
    {
        let boxed = move |context| -> Task<Option<Payload>> { Box::pin(mapping(context)) };
        let mapping = Snapshot::Deferred(Box::new(boxed));
        let added = self.app.add_snapshot(pattern, mapping);
        self.mistake = self.mistake.or(added.err());
        self
    }

    /// What the shards of this server have in common, for who runs them himself: `key` is random,
    /// `driver` names the reactor.
    ///
    /// # Errors
    /// What was refused: an endpoint's pattern, and those of [`Shared::new`].
    #[doc(hidden)]
    pub fn into_shared(self, key: u64, driver: &'static str) -> Result<Shared, StartError> {
        let Builder { config, endpoints, app, mistake } = self;
        mistake.map_or(Ok(()), |text| Err(StartError::Pattern(text)))?;
        let shared = Shared::with_endpoints(config, endpoints, key, driver);
        Ok(Shared { app, ..shared.map_err(StartError::Setting)? })
    }

    /// Opens the listeners and starts one thread per shard. The configuration is settled
    /// ([`Config::settle`]), if that was not done before.
    ///
    /// # Errors
    /// What was refused: options that contradict each other, an address in use, an endpoint's
    /// pattern, a ring that cannot be made. As text they are words for the operator.
    pub fn start(mut self) -> Result<Handle, StartError> {
        self.config.settle().map_err(StartError::Config)?;
        let Builder { config, endpoints, app, mistake } = self;
        mistake.map_or(Ok(()), |text| Err(StartError::Pattern(text)))?;
        let static_dir = config.static_dir.as_deref();
        static_dir.map_or(Ok(()), static_files::check_dir).map_err(StartError::StaticDir)?;
        let mut is_uring = is_uring_wanted(&config)?;
        let mut config = config;
        let listeners = open_all_listeners(&mut config)?;
        let admin = admin::Listener::open(config.admin_listen)?;
        let key = random_bits().map(|bits| bits as u64);
        let key = key.map_err(StartError::system("read random bytes"))?;
        let builder = Builder { config, endpoints, app, mistake: None };
        let mut shared = Arc::new(builder.into_shared(key, driver(is_uring))?);
        let mut started = threads::start(&shared, listeners, is_uring);
        if let (Err(why), true, IoChoice::Auto) = (&started, is_uring, shared.config.io) {
            // A small ring could be made to try it, but not one for each shard.
            say_epoll(why);
            is_uring = false;
            let mut config = shared.config.clone();
            if let Some(shared) = Arc::get_mut(&mut shared) {
                shared.driver = driver(is_uring);
            }
            started = threads::start(&shared, open_all_listeners(&mut config)?, is_uring);
        }
        let threads = started?;
        let admin_address = admin.as_ref().map(admin::Listener::address);
        if let Some(admin) = admin {
            admin.serve(shared.clone()).map_err(StartError::system("start the admin thread"))?;
        }
        let (http_address, stomp_address) = (shared.config.listen, shared.config.stomp_listen);
        Ok(Handle { shared, threads, http_address, stomp_address, admin_address, is_uring })
    }
}

impl Handle {
    /// Publishes to clients from any thread; see [`publisher`].
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.shared.clone(), self.threads.slits.clone())
    }

    /// Starts the drain: no new connections, clients are told and sent away, publishers get
    /// [`Drained`](publisher::PublishError::Drained).
    pub fn drain(&self) {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        for doorbell in &self.threads.doorbells {
            doorbell.ring();
        }
    }

    /// Waits for all shards to end, at most as long as `--drain-timeout` once the drain began.
    /// Returns the number of shards that were still busy then.
    pub fn wait(self) -> usize {
        let mut deadline = None;
        loop {
            let threads = self.threads.handles.iter();
            let busy = threads.filter(|thread| !thread.is_finished()).count();
            if busy == 0 {
                return 0;
            }
            if deadline.is_none() && self.shared.is_draining.load(Ordering::Relaxed) {
                deadline = Some(Instant::now() + self.shared.config.drain_timeout);
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return busy;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The counters of one shard.
    pub fn metrics(&self, shard: usize) -> &metrics::ShardMetrics {
        &self.shared.metrics[shard]
    }
}

fn driver(is_uring: bool) -> &'static str {
    if is_uring {
        "uring"
    } else {
        "epoll"
    }
}

fn say_epoll(why: &StartError) {
    tracing::error!("io_uring is not used, epoll is: {why}");
}

/// Is io_uring to be used? An error if it is asked for and cannot be.
fn is_uring_wanted(config: &Config) -> Result<bool, StartError> {
    let usable = probe::is_uring_usable;
    match config.io {
        IoChoice::Uring => usable().map(|()| true).map_err(StartError::Uring),
        IoChoice::Epoll => Ok(false),
        IoChoice::Auto => Ok(usable().map_err(StartError::Uring).inspect_err(say_epoll).is_ok()),
    }
}

/// Opens the listeners of all shards.
fn open_all_listeners(config: &mut Config) -> Result<Vec<Vec<OwnedFd>>, StartError> {
    let mut listeners = Vec::new();
    for _ in 0..config.shards_count() {
        listeners.push(open_listeners(config, listeners.is_empty())?);
    }
    Ok(listeners)
}

/// Opens one shard's listeners; a port 0 becomes the real one in `config`, for the shards that
/// follow.
fn open_listeners(config: &mut Config, is_first: bool) -> Result<Vec<OwnedFd>, StartError> {
    let mut listeners = vec![open_listener(&mut config.listen, "listen", is_first)?];
    if let Some(address) = config.stomp_listen.as_mut() {
        listeners.push(open_listener(address, "stomp-listen", is_first)?);
    }
    Ok(listeners)
}

/// The first shard claims the address, the others share it.
fn open_listener(
    address: &mut SocketAddr,
    option: &'static str,
    is_first: bool,
) -> Result<OwnedFd, StartError> {
    let asked = *address;
    let explain = |source| StartError::Listen { address: asked, option, source };
    if is_first {
        claim_patiently(*address).map_err(explain)?;
    }
    let fd = listen(*address).map_err(explain)?;
    let bound = local_address(&fd).map_err(explain)?;
    *address = bound;
    Ok(fd)
}

/// After the end of a server the kernel needs some milliseconds to take its io_uring, and with it
/// the listeners, apart: who restarts at once shall not fail.
fn claim_patiently(address: SocketAddr) -> io::Result<()> {
    const ATTEMPTS: u32 = 100;
    for attempt in 1..ATTEMPTS {
        match claim(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if attempt == ATTEMPTS / 10 {
                    tracing::warn!("{address} is still in use: waiting for it");
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
    claim(address)
}

/// Bits that nobody can guess.
pub(crate) fn random_bits() -> io::Result<u128> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes))
}
