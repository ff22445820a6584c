//! Shards, networks and clients in one thread: who runs when is the seed's choice.
//!
//! A run has four parts: the canaries come in; everybody acts under faults; the faults stop, all
//! becomes quiet and the history is checked; all leave (or the server is drained) and every shard
//! must be back where it began. A shard that sleeps is not run again before something wakes it.

use crate::client::{Client, Fate};
use crate::cluster::Cluster;
use crate::history::{History, CANARIES_COUNT};
use crate::line::Way;
use crate::queues::{GRAVE, SHORT, SHORT_MESSAGES_MAX};
use std::time::Duration;
use stompede::config::Config;
use stompede::metrics::{Counter, ShardMetrics};
use stompede::reactor::sim::{Fault, Faults, Rng};
use stompede::shard::reason::{DisconnectReason, NAMES};

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
    /// Shards whose threads get no time for a while, likewise.
    pub stalls: u32,
    /// Steps of the time of day, likewise.
    pub steps: u32,
    /// See [`stompede_core::limits::Limits`].
    pub selector_turn_steps_max: u64,
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
        let stalls = level(40);
        let steps = level(40);
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
            stalls,
            steps,
            selector_turn_steps_max: [20, 200, 1 << 20][rng.below(3)],
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
            if world.rng.chance(self.stalls) {
                world.cluster.stall(&mut world.rng);
            }
            if world.rng.chance(self.steps) {
                world.cluster.step_time_of_day(&mut world.rng);
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
    /// How often what happened that the run is there for, by name.
    pub seen: Vec<(String, u64)>,
}

struct World {
    seed: u64,
    rng: Rng,
    cluster: Cluster,
    jumps_count: u64,
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
        // Where there is room for all dead letters, messages may die of being delivered too often.
        let is_small = plan.queue_messages_count_max < 1_000;
        config.limits.queue_deliveries_count_max = if is_small { u32::MAX } else { 3 };
        config.dead_letter = Some(GRAVE.to_string());
        config.rules = vec!["allow any both /app/**".to_string()];
        config.limits.selector_turn_steps_max = plan.selector_turn_steps_max;
        config.limits.queue_messages_count_max = plan.queue_messages_count_max;
        config.sockjs.disconnect_delay_ms = DISCONNECT_DELAY_MS;
        config.sockjs.tombstone_ms = 5_000;
        config.sockjs.response_bytes_max = 3_000;
        config.shards = plan.shards_count;
        let mut rng = Rng::new(!plan.seed);
        let cluster = Cluster::new(config, plan.seed, plan.ring_capacity, &mut rng);
        World {
            seed: plan.seed,
            rng,
            cluster,
            jumps_count: 0,
            clients: Vec::new(),
            history: History::default(),
            faults: plan.faults,
            has_sockjs: plan.has_sockjs,
        }
    }

    fn enter_canaries(&mut self) {
        for number in 0..CANARIES_COUNT {
            let net = self.cluster.nets[number % self.cluster.nets.len()].clone();
            let way = if number == 0 { Way::WebSocket(net) } else { Way::Tcp(net) };
            let mut client = Client::new(number, way, self.seed, Fate::Stay);
            client.is_text_only = self.has_sockjs;
            self.clients.push(client.canary(&mut self.history));
        }
        self.run_until("the canaries are in", 2_000, |world| {
            world.clients.iter().all(|client| client.is_settled(&world.history))
        });
        for client in &mut self.clients {
            client.stop_consuming(&mut self.history);
        }
        self.run_until("the declared queues are nobody's", 2_000, |world| {
            world.clients.iter().all(|client| client.is_settled(&world.history))
        });
        self.clients[0].serve();
        self.run_until("there is a service", 2_000, |world| {
            world.clients.iter().all(|client| client.is_settled(&world.history))
        });
        self.cluster.set_faults(self.faults);
    }

    fn enter(&mut self, fate: Fate) {
        let net = self.cluster.any_net(&mut self.rng);
        let way = match self.rng.below(4) {
            0 | 1 if self.has_sockjs => Way::SockJs(self.cluster.nets.clone()),
            0 | 2 => Way::WebSocket(net),
            _ => Way::Tcp(net),
        };
        let mut client = Client::new(self.clients.len(), way, self.seed, fate);
        client.is_text_only = self.has_sockjs;
        client.fate_step = self.history.step + 1 + self.rng.below(1500) as u64;
        client.forget_beats(self.cluster.now_ms);
        self.clients.push(client);
    }

    /// Every client and every shard that is awake may run once, in any order.
    fn round(&mut self, may_act: bool) {
        self.cluster.begin_round(&mut self.rng);
        let count = self.clients.len() + self.cluster.shards_count();
        for _ in 0..count {
            let at = self.rng.below(count);
            if at < self.clients.len() {
                self.history.step += 1;
                self.clients[at].step(&mut self.history, self.cluster.now_ms, may_act);
            } else {
                self.cluster.turn(at - self.clients.len());
            }
        }
    }

    /// The shards' threads are not run for a while; the clients and their kernel go on.
    fn jump(&mut self) {
        if self.clients.iter().any(Client::is_in_between) {
            return;
        }
        self.jumps_count += 1;
        for _ in 0..10 + self.rng.below(100) {
            self.cluster.advance(500);
            for client in &mut self.clients {
                client.forget_beats(self.cluster.now_ms);
                self.history.step += 1;
                client.step(&mut self.history, self.cluster.now_ms, false);
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
        let census = self.cluster.census();
        panic!("not in {rounds_max} rounds: {what}; {census:#?}");
    }

    fn settle(&mut self) {
        self.cluster.set_faults(Faults::default());
        self.run_until("all asked is answered", 30_000, |world| {
            world.clients.iter().all(|client| client.is_settled(&world.history))
                && world.cluster.is_quiet()
        });
        for client in &self.clients {
            client.mark_complete(&mut self.history);
        }
        self.history.check();
        let is_well = |client: usize| self.clients[client].is_undisturbed();
        self.history.queues.check_answers(is_well);
        let well = self.clients.iter().filter(|client| client.is_undisturbed());
        let held: usize = well.map(|client| client.held(SHORT)).sum();
        assert!(held <= SHORT_MESSAGES_MAX, "{held} unsettled deliveries of {SHORT}");
    }

    /// Looks into the queues when everybody has left.
    fn collect(&mut self) {
        let net = self.cluster.nets[0].clone();
        let mut client = Client::new(self.clients.len(), Way::Tcp(net), self.seed, Fate::Stay);
        client.forget_beats(self.cluster.now_ms);
        self.clients.push(client.collector());
        self.run_until("the queues are empty", 30_000, |world| {
            world.clients.iter().all(|client| client.is_settled(&world.history))
                && world.cluster.is_quiet()
        });
        let collected = self.clients.last().expect("it was pushed").collected();
        let is_small = self.cluster.shared.config.limits.queue_messages_count_max < 1_000;
        self.history.queues.check(collected, is_small, |client| self.clients[client].is_well);
    }

    fn leave(&mut self) {
        // The first is the service: to the last there is one.
        for client in self.clients.iter_mut().skip(1) {
            client.leave(&mut self.history);
        }
        self.run_until("all but the first are gone", 5_000, |world| {
            world.clients[1..].iter().all(Client::is_dead)
        });
        self.clients[0].leave(&mut self.history);
        self.run_until("all are gone", 5_000, |world| {
            world.clients.iter().all(Client::is_dead)
                && world.cluster.is_quiet()
                && world.cluster.is_empty()
        });
        // What is kept for a time is gone by then (of a session first the life, then the memory),
        // and the next tick sets the gauges. In steps: a pause of the server counts for nobody.
        for _ in 0..LEFT_MS_MAX / 500 {
            self.cluster.advance(500);
            self.cluster.run_until_quiet();
        }
        for _ in 0..50 {
            self.round(false);
        }
    }

    /// The durable subscription ends when nobody came back to it for long.
    fn wait_for_idle_queues(&mut self) {
        let idle_ms = self.cluster.shared.config.queue_idle_max.as_millis() as u64;
        self.cluster.advance(idle_ms);
        for _ in 0..50 {
            self.round(false);
        }
    }

    fn drain(&mut self) {
        self.cluster.begin_drain();
        for client in &mut self.clients {
            client.tolerate();
        }
        self.run_until("the drain is over", 5_000, |world| world.cluster.is_drained());
    }

    /// Nobody is there any more.
    fn check_base_line(&mut self) {
        let slow = self.cluster.ends_count(DisconnectReason::SlowConsumer as usize);
        let ended = self.clients.iter().filter(|client| client.was_too_slow).count();
        assert!(ended as u64 <= slow, "{ended} healthy clients were ended, {slow} as too slow");
        self.cluster.check_base_line();
    }

    fn outcome(&self) -> Outcome {
        let sum = |of: fn(&ShardMetrics) -> &Counter| {
            self.cluster.shared.metrics.iter().map(|shard| of(shard).get()).sum()
        };
        let ends =
            NAMES.iter().enumerate().map(|(reason, &name)| (name, self.cluster.ends_count(reason)));
        let recoveries = |at: usize| self.clients.iter().map(|client| client.recoveries[at]).sum();
        let mut seen: Vec<(String, u64)> = vec![
            ("jumps of the clock".into(), self.jumps_count),
            ("stalls of a shard".into(), self.cluster.stalls_count),
            ("steps of the time of day".into(), self.cluster.steps_count),
            ("snapshots".into(), self.history.snapshots_count as u64),
            ("answers of services".into(), self.history.queues.answers_count),
        ];
        let letters = &self.history.queues.letters;
        seen.extend(letters.iter().map(|(reason, &count)| (format!("{reason} letters"), count)));
        for fault in Fault::ALL {
            let count = self.cluster.nets.iter().map(|net| net.struck()[fault as usize]).sum();
            seen.push((format!("{fault:?}"), count));
        }
        Outcome {
            seen,
            recoveries: [recoveries(0), recoveries(1)],
            missed_count: self
                .cluster
                .shared
                .metrics
                .iter()
                .map(|it| it.messages_missed.get())
                .sum(),
            trace: self.cluster.trace(),
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
            let (step, now_ms) = (self.history.step, self.cluster.now_ms);
            eprintln!("at step {step}, {now_ms} ms, {:?}: {:?}", self.faults, self.outcome());
            self.cluster.census().iter().for_each(|census| eprintln!("{census:?}"));
        }
    }
}
