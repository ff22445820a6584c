//! The threads of the shards: all of them have their sockets, or the server does not start.
//!
//! A ring or an epoll set can be refused to the tenth shard when nine have theirs: locked memory or
//! descriptors have run out. So each thread says whether it has its reactor before any of them
//! serves. And a shard whose reactor breaks later takes the process with it, for clients and
//! destinations with their home there would wait for ever; a supervisor starts it again.

use crate::config::Config;
use crate::log;
use crate::mesh::{self, Doorbell, Mesh};
use crate::probe;
use crate::reactor::epoll::EpollReactor;
use crate::reactor::uring::{self, UringReactor};
use crate::reactor::Reactor;
use crate::shard::action::Message;
use crate::shard::guard::AbortOnPanic;
use crate::shard::{admission, affinity, Shard, Shared};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Descriptors left for everything that is not a client: listeners, rings, logs.
const DESCRIPTORS_RESERVED: u64 = 64;

/// What runs.
pub struct Threads {
    /// What wakes each shard.
    pub doorbells: Vec<Arc<Doorbell>>,
    /// Each shard's thread.
    pub handles: Vec<JoinHandle<()>>,
}

/// A shard that is being started, as its thread sees it.
struct Start {
    /// Says that it has its reactor, or why not. Nobody listens once all have.
    said: Sender<io::Result<()>>,
    /// Says that all have; it is gone if one has not.
    go: Receiver<()>,
}

/// Starts a thread for each shard with its `listeners`, and waits until all have their reactors.
///
/// # Errors
/// What one of them was refused, in words for the operator. All have ended then.
pub fn start(
    shared: &Arc<Shared>,
    listeners: Vec<Vec<OwnedFd>>,
    is_uring: bool,
) -> Result<Threads, String> {
    let doorbells = listeners.iter().map(|_| Doorbell::new()).collect::<io::Result<Vec<_>>>();
    let doorbells = doorbells.map_err(|error| format!("cannot make an eventfd: {error}"))?;
    let slots_count = slots_count(&shared.config, is_uring);
    let meshes = mesh::connect(&doorbells, mesh::RING_CAPACITY);
    let (said, heard) = channel();
    let (mut handles, mut gos) = (Vec::new(), Vec::new());
    for (index, (mesh, listeners)) in meshes.into_iter().zip(listeners).enumerate() {
        let (go, may_go) = channel();
        let start = Start { said: said.clone(), go: may_go };
        let shared = shared.clone();
        let run = move || run(index, shared, mesh, listeners, is_uring, slots_count, start);
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(run);
        handles.push(thread.map_err(|error| format!("cannot start a thread: {error}"))?);
        gos.push(go);
    }
    // All of them: who is not heard has broken later.
    let said: Vec<_> = heard.iter().take(handles.len()).collect();
    drop(heard);
    if let Err(error) = said.into_iter().collect::<io::Result<()>>() {
        drop(gos);
        for thread in handles {
            // A panic has ended the process.
            let _ = thread.join();
        }
        return Err(match is_uring {
            true => probe::explain(&error),
            false => format!("a shard cannot be started: {error}"),
        });
    }
    for go in gos {
        // A thread that is gone again has said why.
        let _ = go.send(());
    }
    Ok(Threads { doorbells, handles })
}

/// Connections that one shard can hold.
fn slots_count(config: &Config, is_uring: bool) -> u32 {
    let limit = probe::report(config)
        .nofile
        .map_or(1024, |limit| limit.soft)
        .saturating_sub(DESCRIPTORS_RESERVED)
        .min(1 << 20) as u32;
    if !is_uring {
        // A slot is a descriptor number, so the table spans all of them.
        return limit + DESCRIPTORS_RESERVED as u32;
    }
    match config.connections_max {
        0 => limit,
        wanted => limit.min((wanted + admission::SLOTS_RESERVED) as u32),
    }
}

/// The life of a shard's thread.
fn run(
    index: usize,
    shared: Arc<Shared>,
    mesh: Mesh<Message>,
    listeners: Vec<OwnedFd>,
    is_uring: bool,
    slots_count: u32,
    start: Start,
) {
    let _guard = AbortOnPanic { shard: index };
    if shared.config.pin {
        affinity::pin(index);
    }
    let wake = mesh.doorbell().fd();
    let said = start.said.clone();
    let result = if is_uring {
        uring::runtime().and_then(|mut runtime| {
            runtime.block_on(async move {
                let reactor = UringReactor::new(listeners, wake, slots_count)?;
                serve(Shard::new(index, shared, reactor, mesh), start).await
            })
        })
    } else {
        let builder = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new();
        builder.enable_timer().build().and_then(|mut runtime| {
            runtime.block_on(async move {
                let reactor = EpollReactor::new(listeners, wake, slots_count)?;
                serve(Shard::new(index, shared, reactor, mesh), start).await
            })
        })
    };
    if let Err(Err(unheard)) = result.map_err(|error| said.send(Err(error))) {
        let error = unheard.0.err();
        tracing::error!(shard = index, ?error, "a shard ended, and with it the server");
        log::flush();
        std::process::abort();
    }
}

/// Serves when all shards can, until the drain is over.
async fn serve<R: Reactor>(mut shard: Shard<R>, start: Start) -> io::Result<()> {
    // Whoever starts us waits for this.
    let _ = start.said.send(Ok(()));
    if start.go.recv().is_err() {
        // At once: a ring that is given up holds its listeners for a while.
        shard.reactor().stop_accepting();
        return Ok(());
    }
    shard.run().await
}
