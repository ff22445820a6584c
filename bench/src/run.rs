//! A run from start to end: threads, stages, and what is measured when.
//!
//! Ramp until all are live, storm or churn or hold, publish by the clock, wait for what is on its
//! way, close. Once a second the desks are read into one [`Second`]; the histograms are taken away
//! from the workers and merged into the totals.

use crate::broadcast::Gather;
use crate::clock::{nanos, Nanos};
use crate::control::{Control, Desk, Stage, Tally};
use crate::latency::{Latencies, Summary};
use crate::plan::{Plan, Rate, Workload};
use crate::process::Usage;
use crate::publisher::planned_count;
use crate::worker::Worker;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stompede::reactor::epoll::EpollReactor;
use stompede::reactor::uring::UringReactor;
use stompede::shard::affinity;

/// How often the coordinator looks.
const LOOK: Duration = Duration::from_millis(20);
/// Live connections from which on memory is counted by connection.
const FOOTING: u64 = 1_000;
/// Time without a further live connection after which a ramp is given up.
const RAMP_PATIENCE: Duration = Duration::from_secs(15);
/// Time in which a message that came back would be seen.
const VERIFY: Duration = Duration::from_millis(500);
/// From the decision to publish to the first message.
const LEAD: Duration = Duration::from_millis(50);

/// One second of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since the start of the run.
    pub at_s: f64,
    /// What the run was doing.
    pub stage: String,
    /// Live connections at its end.
    pub live: u64,
    /// Messages published in it.
    pub published: u64,
    /// Deliveries in it.
    pub delivered: u64,
    /// Their latency: median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// Largest.
    pub max_us: f64,
    /// Cores that the server used.
    pub server_cores: f64,
    /// The server's memory (PSS), in bytes.
    pub server_pss_bytes: u64,
    /// The same by RSS.
    #[serde(default)]
    pub server_rss_bytes: u64,
}

/// What the server used in one stage.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ServerUse {
    /// Length of the stage, in seconds.
    pub seconds: f64,
    /// CPU time, in seconds.
    pub cpu_s: f64,
    /// Share of it in user mode.
    pub user_share: f64,
    /// Memory (PSS) at its start and end, in bytes.
    pub pss_bytes: (u64, u64),
    /// Context switches.
    pub context_switches: u64,
}

/// What came of a run.
pub struct Outcome {
    /// All counters.
    pub tally: Tally,
    /// Latency of every measured delivery.
    pub latencies: Latencies,
    /// Time from begin to live of every connection.
    pub connects: Latencies,
    /// When broadcasts reached their first and their last subscriber.
    pub broadcasts: Gather,
    /// How late the generator published.
    pub lateness: Latencies,
    /// Time of the ramp, in seconds.
    pub ramp_s: f64,
    /// Time of each recovery from a storm, in seconds.
    pub storms_s: Vec<f64>,
    /// Connections that were live, and the server's memory (PSS, bytes), when the ramp had begun:
    /// what it allocates once, at its first clients, is no cost of a connection.
    pub footing: Option<(u64, u64)>,
    /// From the first message planned to the last delivery, in seconds.
    pub publish_s: f64,
    /// Deliveries by the end of the publish time, before the rest was waited for.
    pub delivered_in_time: u64,
    /// Bytes on the wire of a delivery.
    pub frame_bytes: usize,
    /// Every second.
    pub seconds: Vec<Second>,
    /// The server in each stage: `ramp`, `hold`, `publish`.
    pub server: BTreeMap<String, ServerUse>,
    /// What went wrong, and how often.
    pub troubles: BTreeMap<String, u64>,
    /// Why the run was cut short.
    pub aborted: Option<String>,
}

impl Outcome {
    /// Of nothing yet, by `workers` workers with subscribers that read.
    pub fn new(workers: u32) -> Outcome {
        Outcome {
            tally: Tally::default(),
            latencies: Latencies::default(),
            connects: Latencies::default(),
            broadcasts: Gather::new(workers),
            lateness: Latencies::default(),
            ramp_s: 0.0,
            storms_s: Vec::new(),
            footing: None,
            publish_s: 0.0,
            delivered_in_time: 0,
            frame_bytes: 0,
            seconds: Vec::new(),
            server: BTreeMap::new(),
            troubles: BTreeMap::new(),
            aborted: None,
        }
    }

    /// Deliveries that never came.
    pub fn lost(&self) -> u64 {
        self.tally.expected.saturating_sub(self.tally.delivered)
    }

    /// Summary of the latencies.
    pub fn latency(&self) -> Summary {
        self.latencies.summary()
    }
}

/// Who wants to know how a run goes.
pub trait Observer {
    /// A stage began.
    fn stage(&mut self, _stage: &str, _plan: &Plan) {}
    /// So many connections are live; called often.
    fn live(&mut self, _live: u64) {}
    /// A second is over.
    fn second(&mut self, _second: &Second) {}
}

/// Nobody wants to know.
pub struct Silent;

impl Observer for Silent {}

/// Runs `plan`.
///
/// # Errors
/// What kept it from starting. A run that is cut short is an [`Outcome`].
pub fn run(plan: Plan, observer: &mut dyn Observer) -> Result<Outcome, String> {
    plan.check()?;
    let explain = |error: io::Error| format!("cannot start the generator: {error}");
    let plan = Arc::new(plan);
    let queues = if plan.workload == Workload::Queue { plan.destinations } else { 0 };
    let control = Arc::new(Control::new(plan.threads, queues as usize).map_err(explain)?);
    if let Some(pid) = plan.pid {
        Usage::read(pid).ok_or_else(|| format!("seen pid {pid}, no such process"))?;
    }
    let mut threads = Vec::new();
    for index in 0..plan.threads {
        let (plan, control) = (plan.clone(), control.clone());
        let work = move || work(index, plan, control);
        let thread = std::thread::Builder::new().name(format!("load-{index}"));
        threads.push(thread.spawn(work).map_err(explain)?);
    }
    let mut coordinator = Coordinator::new(plan, control.clone());
    let is_anyone_gone = || threads.iter().any(std::thread::JoinHandle::is_finished);
    coordinator.go(observer, &is_anyone_gone);
    control.enter(Stage::Stop);
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(explain(error)),
            Err(_) => return Err("a thread of the generator panicked".into()),
        }
    }
    Ok(coordinator.outcome)
}

fn work(index: usize, plan: Arc<Plan>, control: Arc<Control>) -> io::Result<()> {
    affinity::pin(plan.first_core + index);
    let wake = control.doorbell(index).fd();
    let sockets = plan.connections() * plan.sockets_per_connection();
    let slots_count = (sockets as usize).div_ceil(plan.threads) as u32 + 64;
    if plan.is_epoll {
        let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build()?;
        return runtime.block_on(async move {
            // A slot is a descriptor number: of all threads, and some of the process.
            let reactor = EpollReactor::new(Vec::new(), wake, sockets + 1024)?;
            Worker::new(index, plan, control, reactor).run().await
        });
    }
    let mut runtime = stompede::reactor::uring::runtime()?;
    runtime.block_on(async move {
        let reactor = UringReactor::new(Vec::new(), wake, slots_count)?;
        Worker::new(index, plan, control, reactor).run().await
    })
}

struct Coordinator {
    plan: Arc<Plan>,
    control: Arc<Control>,
    outcome: Outcome,
    began: Instant,
    stage: &'static str,
    stage_began: Instant,
    usage_then: Usage,
    /// When the last second ended, and the counters then.
    second_began: Instant,
    second_tally: Tally,
    second_usage: Usage,
    /// Taken from the desks in exchange for an empty one.
    spare: Latencies,
    of_second: Latencies,
}

impl Coordinator {
    fn new(plan: Arc<Plan>, control: Arc<Control>) -> Coordinator {
        let now = Instant::now();
        let usage = plan.pid.and_then(Usage::read).unwrap_or_default();
        let workers = 0..plan.threads;
        let workers = workers.filter(|&worker| plan.readers_of_worker(worker) > 0).count();
        Coordinator {
            plan,
            control,
            outcome: Outcome::new(workers as u32),
            began: now,
            stage: "ramp",
            stage_began: now,
            usage_then: usage,
            second_began: now,
            second_tally: Tally::default(),
            second_usage: usage,
            spare: Latencies::default(),
            of_second: Latencies::default(),
        }
    }

    fn go(&mut self, observer: &mut dyn Observer, is_anyone_gone: &dyn Fn() -> bool) {
        if let Err(why) = self.stages(observer, is_anyone_gone) {
            self.outcome.aborted = Some(why);
        }
        self.end_stage();
        self.end_second(observer);
        for worker in 0..self.plan.threads {
            let desk = self.control.desk(worker);
            self.outcome.frame_bytes = self.outcome.frame_bytes.max(desk.frame_bytes);
            for (what, count) in &desk.troubles {
                *self.outcome.troubles.entry(what.clone()).or_default() += count;
            }
        }
        self.outcome.tally = self.control.tally();
    }

    fn stages(
        &mut self,
        observer: &mut dyn Observer,
        is_anyone_gone: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        observer.stage("ramp", &self.plan);
        self.ramp(observer, is_anyone_gone)?;
        self.outcome.ramp_s = self.began.elapsed().as_secs_f64();
        if self.plan.storms > 0 {
            self.begin_stage("storm", observer);
        }
        for _ in 0..self.plan.storms {
            self.storm(observer, is_anyone_gone)?;
        }
        if !self.plan.hold.is_zero() {
            self.begin_stage("hold", observer);
            self.control.enter(Stage::Hold);
            let until = Instant::now() + self.plan.hold;
            let mut calm_since = Instant::now();
            while Instant::now() < until {
                self.look(observer, is_anyone_gone)?;
                let every = self.plan.storm_every;
                if !every.is_zero() && calm_since.elapsed() >= every {
                    self.storm(observer, is_anyone_gone)?;
                    calm_since = Instant::now();
                }
            }
        }
        if self.plan.workload != Workload::Idle {
            self.begin_stage("publish", observer);
            self.publish(observer, is_anyone_gone)?;
        }
        if self.plan.workload == Workload::Queue {
            self.begin_stage("verify", observer);
            self.verify(observer, is_anyone_gone)?;
        }
        Ok(())
    }

    /// Drops a share of the connections and waits until all are live again.
    fn storm(
        &mut self,
        observer: &mut dyn Observer,
        is_anyone_gone: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let began = Instant::now();
        let churned = self.control.tally().churned;
        self.control.storm();
        // Small shares of few connections may round to none.
        while self.control.tally().churned == churned && began.elapsed() < RAMP_PATIENCE {
            self.look(observer, is_anyone_gone)?;
        }
        self.ramp(observer, is_anyone_gone)?;
        self.outcome.storms_s.push(began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Waits until every connection is live.
    fn ramp(
        &mut self,
        observer: &mut dyn Observer,
        is_anyone_gone: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let wanted = u64::from(self.plan.connections());
        let (mut best, mut progressed) = (0, Instant::now());
        loop {
            let tally = self.control.tally();
            let live = tally.live_subscribers + tally.live_publishers;
            observer.live(live);
            if self.outcome.footing.is_none() && (FOOTING..=wanted / 4).contains(&live) {
                let usage = self.plan.pid.and_then(Usage::read);
                self.outcome.footing = usage.map(|usage| (live, usage.pss_bytes));
            }
            if live >= wanted {
                return Ok(());
            }
            if tally.connected > best {
                (best, progressed) = (tally.connected, Instant::now());
            }
            let given_up = tally.failed + tally.dropped;
            if live + given_up >= wanted || progressed.elapsed() > RAMP_PATIENCE {
                return Err(format!("only {live} of {wanted} connections came up"));
            }
            self.look(observer, is_anyone_gone)?;
        }
    }

    fn publish(
        &mut self,
        observer: &mut dyn Observer,
        is_anyone_gone: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let clock = self.control.clock;
        let start: Nanos = clock.now() + nanos(LEAD);
        self.control.publish_from(start);
        let end = start + nanos(self.plan.warmup + self.plan.duration);
        while clock.now() < end {
            self.look(observer, is_anyone_gone)?;
        }
        self.control.enter(Stage::Settle);
        self.outcome.delivered_in_time = self.control.tally().delivered;
        let (mut delivered, mut progressed) = (0, Instant::now());
        let mut last = clock.now();
        loop {
            let tally = self.control.tally();
            let is_published = match self.plan.rate {
                Rate::Window(_) => true,
                Rate::PerSecond(rate) => {
                    let planned = planned_count(rate, self.plan.warmup + self.plan.duration);
                    tally.published >= planned
                }
            };
            if tally.delivered > delivered {
                (delivered, progressed, last) = (tally.delivered, Instant::now(), clock.now());
            }
            let is_all = is_published && tally.delivered >= tally.expected;
            if is_all || progressed.elapsed() > self.plan.settle {
                break;
            }
            self.look(observer, is_anyone_gone)?;
        }
        self.outcome.publish_s = last.max(end).saturating_sub(start) as f64 / 1e9;
        Ok(())
    }

    /// Begins every consumer again: what was acknowledged is settled and must not come.
    fn verify(
        &mut self,
        observer: &mut dyn Observer,
        is_anyone_gone: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        // What comes again because its consumer went away may still be on its way.
        self.wait(VERIFY, observer, is_anyone_gone)?;
        let wanted = self.control.tally().churned + u64::from(self.plan.subscribers);
        self.control.enter(Stage::Verify);
        let began = Instant::now();
        while self.control.tally().churned < wanted && began.elapsed() < RAMP_PATIENCE {
            self.look(observer, is_anyone_gone)?;
        }
        self.ramp(observer, is_anyone_gone)?;
        self.wait(VERIFY, observer, is_anyone_gone)
    }

    fn wait(
        &mut self,
        time: Duration,
        observer: &mut dyn Observer,
        is_anyone_gone: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.look(observer, is_anyone_gone)?;
        }
        Ok(())
    }

    /// Waits a moment; ends a second when it is over.
    fn look(
        &mut self,
        observer: &mut dyn Observer,
        is_anyone_gone: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        if is_anyone_gone() {
            return Err("a thread of the generator ended early".into());
        }
        std::thread::sleep(LOOK);
        if self.second_began.elapsed() >= Duration::from_secs(1) {
            self.end_second(observer);
        }
        Ok(())
    }

    fn begin_stage(&mut self, stage: &'static str, observer: &mut dyn Observer) {
        self.end_stage();
        self.stage = stage;
        self.stage_began = Instant::now();
        observer.stage(stage, &self.plan);
    }

    fn end_stage(&mut self) {
        let Some(now) = self.plan.pid.and_then(Usage::read) else { return };
        let used = now.since(&self.usage_then);
        let server_use = ServerUse {
            seconds: self.stage_began.elapsed().as_secs_f64(),
            cpu_s: used.cpu_ns as f64 / 1e9,
            user_share: used.user_share(),
            pss_bytes: (self.usage_then.pss_bytes, now.pss_bytes),
            context_switches: used.context_switches,
        };
        self.outcome.server.insert(self.stage.to_owned(), server_use);
        self.usage_then = now;
    }

    fn end_second(&mut self, observer: &mut dyn Observer) {
        let mut tally = Tally::default();
        for worker in 0..self.plan.threads {
            let mut desk = self.control.desk(worker);
            tally.add(&desk.tally);
            let Desk { latencies, connects, lateness, .. } = &mut *desk;
            std::mem::swap(latencies, &mut self.spare);
            self.outcome.connects.merge(connects);
            connects.clear();
            self.outcome.lateness.merge(lateness);
            lateness.clear();
            let spreads = std::mem::take(&mut desk.spreads);
            drop(desk);
            for spread in &spreads {
                self.outcome.broadcasts.add(spread);
            }
            self.of_second.merge(&self.spare);
            self.spare.clear();
        }
        let seconds = self.second_began.elapsed().as_secs_f64().max(1e-3);
        let usage = self.plan.pid.and_then(Usage::read).unwrap_or_default();
        let used = usage.since(&self.second_usage);
        let rate = |now: u64, then: u64| ((now - then) as f64 / seconds) as u64;
        let second = Second {
            at_s: self.began.elapsed().as_secs_f64(),
            stage: self.stage.to_owned(),
            live: tally.live_subscribers + tally.live_publishers,
            published: rate(tally.published, self.second_tally.published),
            delivered: rate(tally.delivered, self.second_tally.delivered),
            p50_us: self.of_second.percentile_us(50.0),
            p99_us: self.of_second.percentile_us(99.0),
            max_us: self.of_second.percentile_us(100.0),
            server_cores: used.cpu_ns as f64 / 1e9 / seconds,
            server_pss_bytes: usage.pss_bytes,
            server_rss_bytes: usage.rss_bytes,
        };
        observer.second(&second);
        self.outcome.seconds.push(second);
        self.outcome.latencies.merge(&self.of_second);
        self.of_second.clear();
        self.second_began = Instant::now();
        self.second_tally = tally;
        self.second_usage = usage;
    }
}
