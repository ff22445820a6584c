//! Shards, networks and clients in one thread: who runs when is the seed's choice.
//!
//! A run has four parts: the canaries come in; everybody acts under faults; the faults stop, all
//! becomes quiet and the history is checked; all leave (or the server is drained) and every shard
//! must be back where it began. A shard that sleeps is not run again before something wakes it.

use crate::client::{Client, Fate};
use crate::history::{History, CANARIES_COUNT};
use crate::line::Way;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use stompede::config::Config;
use stompede::mesh::{self, Doorbell};
use stompede::metrics::{Counter, ShardMetrics};
use stompede::reactor::sim::{Faults, Rng, SimNet, SimReactor};
use stompede::shard::admission::SLOTS_RESERVED;
use stompede::shard::census::Census;
use stompede::shard::reason::{DisconnectReason, NAMES};
use stompede::shard::{Shard, Shared};

/// Slots of each shard: enough for all clients on one, few enough to be used again.
const SLOTS_COUNT: u32 = SLOTS_RESERVED as u32 + 100;

/// Longer than the clock ever jumps: a client that was not run is no client that left.
const DISCONNECT_DELAY_MS: u32 = 60_000;
/// And until nobody remembers it.
const LEFT_MS_MAX: u32 = DISCONNECT_DELAY_MS + 10_000;

/// What a run is made of.
pub struct Plan {
    pub seed: u64,
    pub shards_count: usize,
    pub ring_capacity: usize,
    pub outbound_bytes_max: usize,
    pub queue_messages_count_max: usize,
    pub faults: Faults,
    pub rounds_count: usize,
    /// The clients besides the canaries.
    pub fates: Vec<Fate>,
    /// Clients that come while others have gone, so that slots are used again.
    pub latecomers: Vec<Fate>,
    /// Jumps of the clock, in thousandths of the rounds.
    pub jumps: u32,
    /// Do clients come by SockJS, too?
    pub has_sockjs: bool,
    /// Does the run end with a drain?
    pub is_drained: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Plan {
        use Fate::*;
        const FATES: [Fate; 16] = [
            Stay, Stay, Stay, Stay, Stay, Disconnect, CloseFrame, HalfClose, Reset, MidFrame,
            Stall, Vanish, Garbage, Flood, Mute, Slow,
        ];
        let mut rng = Rng::new(seed);
        let mut level = |max: usize| if rng.chance(300) { 0 } else { rng.below(max) as u32 };
        let faults = Faults {
            short: level(400),
            refused: level(200),
            late: level(400),
            spurious: level(300),
            accept: level(200),
            late_tick: level(500),
        };
        let jumps = level(15);
        let clients_count = 4 + rng.below(14);
        let latecomers_count = rng.below(12);
        let mut fate = || FATES[rng.below(FATES.len())];
        let fates = (0..clients_count).map(|_| fate()).collect();
        let latecomers = (0..latecomers_count).map(|_| fate()).collect();
        Plan {
            seed,
            shards_count: 1 + rng.below(4),
            ring_capacity: [2, 8, 64, 1024][rng.below(4)],
            outbound_bytes_max: [192 * 1024, 512 * 1024][rng.below(2)],
            queue_messages_count_max: [20, 10_000, 10_000][rng.below(3)],
            faults,
            rounds_count: 80 + rng.below(150),
            fates,
            latecomers,
            jumps,
            is_drained: rng.chance(250),
            has_sockjs: rng.chance(500),
        }
    }

    /// Runs it all; panics where a rule is broken. Returns the trace and what was checked.
    pub fn run(self) -> Outcome {
        let mut world = World::new(&self);
        world.enter_canaries();
        for &fate in &self.fates {
            world.enter(fate);
        }
        let mut latecomers = self.latecomers.iter();
        for _ in 0..self.rounds_count {
            if world.rng.chance(100) {
                if let Some(&fate) = latecomers.next() {
                    world.enter(fate);
                }
            }
            if world.rng.chance(self.jumps) {
                world.jump();
            }
            world.round(true);
        }
        world.settle();
        if self.is_drained {
            world.drain();
        } else {
            world.leave();
            world.collect();
            world.leave();
            world.wait_for_idle_queues();
        }
        world.check_base_line();
        world.outcome()
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// SUBSCRIBEs that asked for what they missed and did not get it, and those that did.
    pub recoveries: [u64; 2],
    /// Deliveries given up for newer ones.
    pub missed_count: u64,
    /// Hash of all events and bytes.
    pub trace: u64,
    pub publications_count: usize,
    pub deliveries_count: usize,
    /// Of queues: deliveries again, and messages that they had no room for.
    pub redeliveries_count: u64,
    pub refusals_count: u64,
    /// Ends by reason.
    pub ends: Vec<(&'static str, u64)>,
}

struct World {
    seed: u64,
    rng: Rng,
    now_ms: u64,
    shared: Arc<Shared>,
    doorbells: Vec<Arc<Doorbell>>,
    nets: Vec<SimNet>,
    shards: Vec<Shard<SimReactor>>,
    is_asleep: Vec<bool>,
    is_drained: Vec<bool>,
    clients: Vec<Client>,
    history: History,
    faults: Faults,
    has_sockjs: bool,
}

impl World {
    fn new(plan: &Plan) -> World {
        let mut config = Config {
            outbound_bytes_max: plan.outbound_bytes_max,
            stall_deadline: Duration::from_secs(10),
            ..Config::default()
        };
        config.limits.unacknowledged_count_max = 100_000;
        config.history = vec!["/topic/a,20,10s".to_string(), "/topic/c/*,1000,20s".to_string()];
        config.slow_consumer = vec!["/topic/gh,conflate".to_string()];
        config.limits.queue_deliveries_count_max = u32::MAX;
        config.limits.queue_messages_count_max = plan.queue_messages_count_max;
        config.sockjs.disconnect_delay_ms = DISCONNECT_DELAY_MS;
        config.sockjs.tombstone_ms = 5_000;
        config.sockjs.response_bytes_max = 3_000;
        let shards_count = plan.shards_count;
        config.shards = shards_count;
        let shared = Shared::new(config, plan.seed, "sim").expect("a plain configuration");
        let shared = Arc::new(shared);
        let doorbells: Vec<_> =
            (0..shards_count).map(|_| Doorbell::new().expect("an eventfd")).collect();
        let mut rng = Rng::new(!plan.seed);
        let net = |doorbell: &Arc<Doorbell>| {
            SimNet::new(rng.next_u64(), Faults::default(), SLOTS_COUNT, doorbell.fd())
        };
        let nets: Vec<SimNet> = doorbells.iter().map(net).collect();
        let meshes = mesh::connect(&doorbells, plan.ring_capacity);
        let shards = meshes
            .into_iter()
            .enumerate()
            .map(|(index, mesh)| Shard::new(index, shared.clone(), nets[index].reactor(), mesh))
            .collect();
        World {
            seed: plan.seed,
            rng,
            now_ms: 0,
            shared,
            doorbells,
            nets,
            shards,
            is_asleep: vec![false; shards_count],
            is_drained: vec![false; shards_count],
            clients: Vec::new(),
            history: History::default(),
            faults: plan.faults,
            has_sockjs: plan.has_sockjs,
        }
    }

    fn enter_canaries(&mut self) {
        for number in 0..CANARIES_COUNT {
            let net = self.nets[number % self.nets.len()].clone();
            let way = if number == 0 { Way::WebSocket(net) } else { Way::Tcp(net) };
            let mut client = Client::new(number, way, self.seed, Fate::Stay);
            client.is_text_only = self.has_sockjs;
            self.clients.push(client.canary(&mut self.history));
        }
        self.run_until("the canaries are in", 2_000, |world| {
            world.clients.iter().all(|client| client.is_settled(&world.history))
        });
        self.clients.iter_mut().for_each(Client::stop_consuming);
        self.run_until("the durable subscription is nobody's", 2_000, |world| {
            world.clients.iter().all(|client| client.is_settled(&world.history))
        });
        for net in &self.nets {
            net.set_faults(self.faults);
        }
    }

    fn enter(&mut self, fate: Fate) {
        let net = self.nets[self.rng.below(self.nets.len())].clone();
        let way = match self.rng.below(4) {
            0 | 1 if self.has_sockjs => Way::SockJs(self.nets.clone()),
            0 | 2 => Way::WebSocket(net),
            _ => Way::Tcp(net),
        };
        let mut client = Client::new(self.clients.len(), way, self.seed, fate);
        client.is_text_only = self.has_sockjs;
        client.fate_step = self.history.step + 1 + self.rng.below(1500) as u64;
        client.forget_beats(self.now_ms);
        self.clients.push(client);
    }

    /// Every client and every shard that is awake may run once, in any order.
    fn round(&mut self, may_act: bool) {
        let pause_ms = [1, 6, 20, 60][self.rng.below(4)];
        self.advance(pause_ms);
        let count = self.clients.len() + self.shards.len();
        for _ in 0..count {
            let at = self.rng.below(count);
            if at < self.clients.len() {
                self.history.step += 1;
                self.clients[at].step(&mut self.history, self.now_ms, may_act);
            } else {
                self.turn(at - self.clients.len());
            }
        }
    }

    fn advance(&mut self, ms: u64) {
        self.now_ms += ms;
        for net in &self.nets {
            net.advance(ms);
        }
    }

    /// One turn of a shard, unless it sleeps and nothing woke it.
    fn turn(&mut self, index: usize) {
        if self.is_drained[index] || (self.is_asleep[index] && !self.nets[index].has_work()) {
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

    /// The shards' threads are not run for a while; the clients and their kernel go on.
    fn jump(&mut self) {
        if self.clients.iter().any(Client::is_in_between) {
            return;
        }
        for _ in 0..10 + self.rng.below(100) {
            self.advance(500);
            for client in &mut self.clients {
                client.forget_beats(self.now_ms);
                self.history.step += 1;
                client.step(&mut self.history, self.now_ms, false);
            }
        }
    }

    fn run_until(&mut self, what: &str, rounds_max: usize, is_done: impl Fn(&World) -> bool) {
        for _ in 0..rounds_max {
            if is_done(self) {
                return;
            }
            self.round(false);
        }
        let census: Vec<Census> = self.shards.iter().map(Shard::census).collect();
        panic!("not in {rounds_max} rounds: {what}; {census:#?}");
    }

    fn is_quiet(&self) -> bool {
        self.nets.iter().all(SimNet::is_quiet)
            && self.is_asleep.iter().zip(&self.is_drained).all(|(asleep, done)| *asleep || *done)
    }

    fn settle(&mut self) {
        for net in &self.nets {
            net.set_faults(Faults::default());
        }
        self.run_until("all asked is answered", 30_000, |world| {
            world.clients.iter().all(|client| client.is_settled(&world.history)) && world.is_quiet()
        });
        for client in &self.clients {
            client.mark_complete(&mut self.history);
        }
        self.history.check();
    }

    /// Looks into the queues when everybody has left.
    fn collect(&mut self) {
        let net = self.nets[0].clone();
        let mut client = Client::new(self.clients.len(), Way::Tcp(net), self.seed, Fate::Stay);
        client.forget_beats(self.now_ms);
        self.clients.push(client.collector());
        self.run_until("the queues are empty", 30_000, |world| {
            world.clients.iter().all(|client| client.is_settled(&world.history)) && world.is_quiet()
        });
        let collected = self.clients.last().expect("it was pushed").collected();
        let is_small = self.shared.config.limits.queue_messages_count_max < 1_000;
        self.history.queues.check(collected, is_small, |client| self.clients[client].is_well);
    }

    fn leave(&mut self) {
        for client in &mut self.clients {
            client.leave(&mut self.history);
        }
        self.run_until("all are gone", 5_000, |world| {
            world.clients.iter().all(Client::is_dead)
                && world.is_quiet()
                && world.nets.iter().all(|net| net.open_slots_count() == 0)
        });
        // What is kept for a time is gone by then (of a session first the life, then the memory),
        // and the next tick sets the gauges. In steps: a pause of the server counts for nobody.
        for _ in 0..LEFT_MS_MAX / 500 {
            self.advance(500);
            (0..self.shards.len()).for_each(|index| self.turn(index));
        }
        for _ in 0..50 {
            self.round(false);
        }
    }

    /// The durable subscription ends when nobody came back to it for long.
    fn wait_for_idle_queues(&mut self) {
        self.advance(self.shared.config.queue_idle_max.as_millis() as u64);
        for _ in 0..50 {
            self.round(false);
        }
    }

    fn drain(&mut self) {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        for doorbell in &self.doorbells {
            doorbell.ring();
        }
        for client in &mut self.clients {
            client.tolerate();
        }
        self.run_until("the drain is over", 5_000, |world| {
            world.is_drained.iter().all(|is_drained| *is_drained)
        });
    }

    /// Nobody is there any more: all that was taken is given back, and the counters agree.
    fn check_base_line(&mut self) {
        let slow = DisconnectReason::SlowConsumer as usize;
        let slow: u64 = self.shared.metrics.iter().map(|shard| shard.closed_count(slow)).sum();
        let ended = self.clients.iter().filter(|client| client.was_too_slow).count();
        assert!(ended as u64 <= slow, "{ended} healthy clients were ended, {slow} as too slow");
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
            let slow = metrics.closed_count(DisconnectReason::SlowConsumer as usize);
            assert_eq!(metrics.slow_consumers.get(), slow, "shard {index}: slow consumers");
            let missed = metrics.closed_count(DisconnectReason::HeartbeatMissed as usize);
            assert_eq!(metrics.heartbeats_missed.get(), missed, "shard {index}: heart-beats");
            if !is_drained {
                assert_eq!(metrics.subscriptions.get(), 0, "shard {index}: subscriptions");
            }
        }
    }

    fn outcome(&self) -> Outcome {
        let trace = self.nets.iter().fold(0, |sum: u64, net| sum.rotate_left(7) ^ net.trace());
        let count = |reason: usize| -> u64 {
            self.shared.metrics.iter().map(|shard| shard.closed_count(reason)).sum()
        };
        let sum = |of: fn(&ShardMetrics) -> &Counter| {
            self.shared.metrics.iter().map(|shard| of(shard).get()).sum()
        };
        let ends = NAMES.iter().enumerate().map(|(reason, &name)| (name, count(reason)));
        let recoveries = |at: usize| self.clients.iter().map(|client| client.recoveries[at]).sum();
        Outcome {
            recoveries: [recoveries(0), recoveries(1)],
            missed_count: self.shared.metrics.iter().map(|it| it.messages_missed.get()).sum(),
            trace,
            publications_count: self.history.sent.len(),
            deliveries_count: self.history.streams.iter().map(|s| s.received.len()).sum::<usize>()
                + self.history.queues.deliveries_count,
            redeliveries_count: sum(|shard| &shard.messages_redelivered),
            refusals_count: sum(|shard| &shard.queue_refused),
            ends: ends.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

impl Drop for World {
    /// Says of a run that failed how far it had come.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (step, now_ms) = (self.history.step, self.now_ms);
            eprintln!("at step {step}, {now_ms} ms, {:?}: {:?}", self.faults, self.outcome());
            self.shards.iter().for_each(|shard| eprintln!("{:?}", shard.census()));
        }
    }
}
