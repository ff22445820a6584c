//! The Stompede server: shards, reactor, mesh, and what an operator sees of them.
//!
//! [`Server::start`] runs the whole server inside any process; the binary is a thin command line
//! around it. Read in this order: [`shard`] (a message's way), [`reactor`], [`mesh`].

// Whatever a peer or an operator did: an error, not a panic.
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod admin;
pub mod app;
pub mod assets;
pub mod auth;
pub mod config;
pub mod handler;
pub mod log;
pub mod mesh;
pub mod metrics;
pub mod probe;
pub mod reactor;
pub mod services;
pub mod shard;
pub mod sockjs;
pub mod static_files;
pub mod threads;

use app::{App, AppError, Context, MessageMapping, Payload, Snapshot, Task};
use config::{Config, IoChoice};
use handler::endpoint::Endpoints;
use handler::{Handler, SockJsOptions};
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

/// A running server.
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
    /// A server with endpoints of its own; see [`handler`].
    pub fn builder(config: Config) -> Builder {
        Builder { config, endpoints: Endpoints::default(), app: App::default(), mistake: None }
    }

    /// Starts a server without endpoints of its own.
    ///
    /// # Errors
    /// Those of [`Builder::start`].
    pub fn start(config: Config) -> Result<Handle, String> {
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
    pub fn into_shared(self, key: u64, driver: &'static str) -> Result<Shared, String> {
        let Builder { config, endpoints, app, mistake } = self;
        mistake.map_or(Ok(()), Err)?;
        let shared = Shared::with_endpoints(config, endpoints, key, driver)?;
        Ok(Shared { app, ..shared })
    }

    /// Opens the listeners and starts one thread per shard.
    ///
    /// # Errors
    /// What was refused, in words for the operator: an address in use, a ring that cannot be made,
    /// an endpoint's pattern.
    pub fn start(self) -> Result<Handle, String> {
        let Builder { config, endpoints, app, mistake } = self;
        mistake.map_or(Ok(()), Err)?;
        config.static_dir.as_deref().map_or(Ok(()), static_files::check_dir)?;
        let mut is_uring = match config.io {
            IoChoice::Uring => {
                probe::is_uring_usable()?;
                true
            }
            IoChoice::Epoll => false,
            IoChoice::Auto => probe::is_uring_usable().inspect_err(say_epoll).is_ok(),
        };
        let mut config = config;
        let listeners = open_all_listeners(&mut config)?;
        let admin = admin::Listener::open(config.admin_listen)?;
        let key = random_bits().map(|bits| bits as u64);
        let key = key.map_err(|error| format!("cannot read random bytes: {error}"))?;
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
            admin.serve(shared.clone())?;
        }
        let (http_address, stomp_address) = (shared.config.listen, shared.config.stomp_listen);
        Ok(Handle { shared, threads, http_address, stomp_address, admin_address, is_uring })
    }
}

impl Handle {
    /// Starts the drain: no new connections, clients are told and sent away.
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

fn say_epoll(why: &String) {
    tracing::error!("io_uring is not used, epoll is: {why}");
}

/// Opens the listeners of all shards.
fn open_all_listeners(config: &mut Config) -> Result<Vec<Vec<OwnedFd>>, String> {
    let mut listeners = Vec::new();
    for _ in 0..config.shards_count() {
        listeners.push(open_listeners(config, listeners.is_empty())?);
    }
    Ok(listeners)
}

/// Opens one shard's listeners; a port 0 becomes the real one in `config`, for the shards that
/// follow.
fn open_listeners(config: &mut Config, is_first: bool) -> Result<Vec<OwnedFd>, String> {
    let mut listeners = vec![open_listener(&mut config.listen, "--listen", is_first)?];
    if let Some(address) = config.stomp_listen.as_mut() {
        listeners.push(open_listener(address, "--stomp-listen", is_first)?);
    }
    Ok(listeners)
}

/// The first shard claims the address, the others share it.
fn open_listener(
    address: &mut SocketAddr,
    option: &str,
    is_first: bool,
) -> Result<OwnedFd, String> {
    let explain = |error: io::Error| {
        format!("cannot listen on {address}: {error}; choose another address with {option}")
    };
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
