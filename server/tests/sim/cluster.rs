//! The server of a simulation: shards and their networks in one thread, one clock.
//!
//! A shard that sleeps is not run again before something wakes it, so that a wake-up that gets lost
//! is a shard that hangs. What all shards must have given back when nobody is there any more is
//! checked here, too.

use crate::app::with_app;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use stompede::config::Config;
use stompede::mesh::{self, Doorbell};
use stompede::reactor::sim::{Fault, Faults, Rng, SimNet, SimReactor};
use stompede::shard::admission::SLOTS_RESERVED;
use stompede::shard::census::Census;
use stompede::shard::reason::{DisconnectReason, NAMES};
use stompede::shard::{Shard, Shared};
use stompede::Server;

/// Slots of each shard: enough for all clients on one, few enough to be used again.
const SLOTS_COUNT: u32 = SLOTS_RESERVED as u32 + 100;

/// See the module.
pub struct Cluster {
    pub shared: Arc<Shared>,
    pub nets: Vec<SimNet>,
    pub now_ms: u64,
    pub stalls_count: u64,
    pub steps_count: u64,
    doorbells: Vec<Arc<Doorbell>>,
    shards: Vec<Shard<SimReactor>>,
    is_asleep: Vec<bool>,
    is_drained: Vec<bool>,
    /// The round before which the thread of a shard gets no time.
    stalled_until: Vec<u64>,
    rounds_count: u64,
}

impl Cluster {
    /// A server with this configuration, and the application of [`crate::app`].
    pub fn new(config: Config, seed: u64, ring_capacity: usize, rng: &mut Rng) -> Cluster {
        let shards_count = config.shards;
        let shared = with_app(Server::builder(config)).into_shared(seed, "sim");
        let shared = Arc::new(shared.expect("a plain configuration"));
        let doorbells: Vec<_> =
            (0..shards_count).map(|_| Doorbell::new().expect("an eventfd")).collect();
        let net = |doorbell: &Arc<Doorbell>| {
            let net = SimNet::new(rng.next_u64(), Faults::default(), SLOTS_COUNT, doorbell.fd());
            // Late enough that no step leads before 1970.
            net.step_time_of_day(1_700_000_000_000);
            net
        };
        let nets: Vec<SimNet> = doorbells.iter().map(net).collect();
        let meshes = mesh::connect(&doorbells, ring_capacity);
        let shards = meshes
            .into_iter()
            .enumerate()
            .map(|(index, mesh)| Shard::new(index, shared.clone(), nets[index].reactor(), mesh))
            .collect();
        Cluster {
            shared,
            nets,
            now_ms: 0,
            stalls_count: 0,
            steps_count: 0,
            doorbells,
            shards,
            is_asleep: vec![false; shards_count],
            is_drained: vec![false; shards_count],
            stalled_until: vec![0; shards_count],
            rounds_count: 0,
        }
    }

    pub fn shards_count(&self) -> usize {
        self.shards.len()
    }

    /// The network of any shard.
    pub fn any_net(&self, rng: &mut Rng) -> SimNet {
        self.nets[rng.below(self.nets.len())].clone()
    }

    pub fn set_faults(&self, faults: Faults) {
        self.nets.iter().for_each(|net| net.set_faults(faults));
    }

    /// Some time passes, and tasks of the application run.
    pub fn begin_round(&mut self, rng: &mut Rng) {
        self.advance([1, 6, 20, 60][rng.below(4)]);
        self.rounds_count += 1;
        self.nets.iter().for_each(SimNet::run_task);
    }

    pub fn advance(&mut self, ms: u64) {
        self.now_ms += ms;
        self.nets.iter().for_each(|net| net.advance(ms));
    }

    /// One turn of a shard, unless it sleeps and nothing woke it, or it gets no time.
    pub fn turn(&mut self, index: usize) {
        let is_stalled = self.rounds_count < self.stalled_until[index];
        let may_run = !self.is_asleep[index] || self.nets[index].has_work();
        if self.is_drained[index] || is_stalled || !may_run {
            return;
        }
        let mut context = Context::from_waker(Waker::noop());
        let turn = pin!(self.shards[index].turn());
        match turn.poll(&mut context) {
            Poll::Pending => self.is_asleep[index] = true,
            Poll::Ready(is_drained) => {
                self.is_asleep[index] = false;
                self.is_drained[index] = is_drained.expect("the simulated wait has no errors");
            }
        }
    }

    /// Turns of all shards, as many as they need to become quiet.
    pub fn run_until_quiet(&mut self) {
        for _ in 0..100 {
            (0..self.shards.len()).for_each(|index| self.turn(index));
            if self.is_quiet() {
                return;
            }
        }
    }

    /// One shard's thread gets no time for a while; everybody else goes on.
    pub fn stall(&mut self, rng: &mut Rng) {
        let index = rng.below(self.shards.len());
        self.stalled_until[index] = self.rounds_count + 5 + rng.below(20) as u64;
        self.stalls_count += 1;
    }

    /// Somebody sets the time of day, by up to two hours on or back.
    pub fn step_time_of_day(&mut self, rng: &mut Rng) {
        const HOUR_MS: usize = 3_600_000;
        let ms = rng.below(4 * HOUR_MS) as i64 - 2 * HOUR_MS as i64;
        self.nets.iter().for_each(|net| net.step_time_of_day(ms));
        self.steps_count += 1;
    }

    pub fn is_quiet(&self) -> bool {
        self.nets.iter().all(SimNet::is_quiet)
            && self.is_asleep.iter().zip(&self.is_drained).all(|(asleep, done)| *asleep || *done)
    }

    pub fn is_empty(&self) -> bool {
        self.nets.iter().all(|net| net.open_slots_count() == 0)
    }

    pub fn begin_drain(&self) {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        self.doorbells.iter().for_each(|doorbell| doorbell.ring());
    }

    pub fn is_drained(&self) -> bool {
        self.is_drained.iter().all(|is_drained| *is_drained)
    }

    pub fn census(&self) -> Vec<Census> {
        self.shards.iter().map(Shard::census).collect()
    }

    /// A hash of all that happened.
    pub fn trace(&self) -> u64 {
        self.nets.iter().fold(0, |sum: u64, net| sum.rotate_left(7) ^ net.trace())
    }

    /// Connections that ended for this reason.
    pub fn ends_count(&self, reason: usize) -> u64 {
        self.shared.metrics.iter().map(|shard| shard.closed_count(reason)).sum()
    }

    /// Nobody is there any more: all that was taken is given back, and the counters agree.
    pub fn check_base_line(&self) {
        for index in 0..self.shards.len() {
            let metrics = &self.shared.metrics[index];
            let census = self.shards[index].census();
            assert!(census.arena_chunks <= 2, "shard {index}: {census:?}");
            let is_drained = self.is_drained[index];
            // A drained shard may have stopped before others told it what they want no more.
            let ignored = |n: usize| if is_drained { n } else { 0 };
            let base_line = Census {
                arena_chunks: census.arena_chunks,
                interests: ignored(census.interests),
                mesh_overflow: ignored(census.mesh_overflow),
                histories: ignored(census.histories),
                // Who was told of the drain is remembered to the end.
                sockjs_sessions: ignored(census.sockjs_sessions),
                // What nobody consumed is lost with the process.
                queues: ignored(census.queues),
                // The durable subscription's to its topic.
                subscriptions: ignored(census.subscriptions.min(1)),
                reservations: ignored(census.reservations),
                ..Census::default()
            };
            assert_eq!(census, base_line, "shard {index}");
            assert_eq!(self.nets[index].open_slots_count(), 0, "shard {index}: slots");
            let ended: u64 = (0..NAMES.len()).map(|reason| metrics.closed_count(reason)).sum();
            assert_eq!(metrics.connections_opened.get(), ended, "shard {index}: each end counts");
            assert_eq!(metrics.connections.get(), 0, "shard {index}: connections");
            assert_eq!(metrics.outbound_bytes.get(), 0, "shard {index}: outbound bytes");
            let moved = [metrics.bytes_received.get(), metrics.bytes_sent.get()];
            assert_eq!(moved, self.nets[index].moved(), "shard {index}: bytes in and out");
            let lost = self.nets[index].struck()[Fault::LostAtAccept as usize];
            assert_eq!(metrics.accept_errors.get(), lost, "shard {index}: errors of accept");
            let panics = metrics.panics.get() + metrics.handler_panics.get();
            assert_eq!(panics, 0, "shard {index}: panics");
            let slow = metrics.closed_count(DisconnectReason::SlowConsumer as usize);
            assert_eq!(metrics.slow_consumers.get(), slow, "shard {index}: slow consumers");
            let missed = metrics.closed_count(DisconnectReason::HeartbeatMissed as usize);
            assert_eq!(metrics.heartbeats_missed.get(), missed, "shard {index}: heart-beats");
            if !is_drained {
                assert_eq!(metrics.subscriptions.get(), 0, "shard {index}: subscriptions");
            }
        }
    }
}
