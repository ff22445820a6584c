//! Everything at once for long: what a server that leaks or slows down cannot hide.
//!
//! Five runs share the connections, each with a thread and checks of its own: a fan-out, queues
//! whose consumers come and go, echoes, subscribers of the fan-out that come and go (now and then a
//! share of them at once: a storm), and subscribers that do not read until others replace them.
//! Beside them the server's memory, CPU and counters are read. Behind the warm-up, a line through
//! its memory tells how much it grows a minute, and the fan-out's latency at the end is held
//! against that at the beginning. When all have left, what the server still counts was left behind.

pub mod scrape;
pub mod trend;

use crate::plan::{Plan, Workload};
use crate::queue::AckMode;
use crate::report::Report;
use crate::run::{self, Observer, Outcome, Second, ServerUse};
use crate::{latency::Latencies, process::Usage};
use scrape::Source;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Share of the publish time before memory and latency count; at least the warm-up.
const WARM_SHARE: f64 = 0.2;
/// Readings of the server's counters in a soak, at most one a second.
const SCRAPES: f64 = 120.0;
/// Time for the server to see that everybody has left.
const LEAVE: Duration = Duration::from_secs(10);
/// What must be as it was before when everybody has left.
const GAUGES: [&str; 6] = [
    "stompede_connections",
    "stompede_subscriptions",
    "stompede_outbound_bytes",
    "stompede_queue_messages",
    "stompede_queue_unsettled",
    "stompede_queue_consumers",
];

/// What a soak shall do beside its [`Plan`].
#[derive(Clone, Debug)]
pub struct Terms {
    /// The server's counters.
    pub metrics: Option<Source>,
    /// Share of those that come and go, replaced a second.
    pub churn_per_second: f64,
    /// Time from storm to storm.
    pub storm_every: Duration,
    /// Growth of the server's memory that is let pass, in bytes a minute.
    pub growth_max: f64,
    /// Latency at the end over that at the beginning that is let pass.
    pub drift_max: f64,
}

/// What came of it beside the figures of any run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Soak {
    /// The five runs.
    pub parts: BTreeMap<String, Report>,
    /// Second from which memory and latency count.
    pub measured_from_s: f64,
    /// The server's memory (PSS) over time: bytes, by second.
    pub memory: Option<trend::Line>,
    /// Growth that is let pass, in bytes a minute.
    pub growth_max: f64,
    /// The fan-out's p99 of a second: median of the last third over that of the first.
    pub drift: Option<f64>,
    /// Drift that is let pass.
    pub drift_max: f64,
    /// The server's counters that changed: seconds and values.
    pub counters: BTreeMap<String, Vec<(f64, f64)>>,
    /// Gauges of the server that did not come back to what they were.
    pub left_behind: Vec<String>,
}

impl Soak {
    /// Growth of the server's memory in bytes a minute, and the doubt about it.
    pub fn growth(&self) -> Option<(f64, f64)> {
        self.memory.map(|line| (line.slope * 60.0, line.error * 60.0))
    }

    /// What is wrong.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.left_behind.clone();
        // Within twice its error a slope is no growth.
        if let Some((growth, doubt)) = self.growth() {
            if growth - 2.0 * doubt > self.growth_max {
                faults.push(format!("memory grows by {growth:.0} B a minute"));
            }
        }
        if let Some(drift) = self.drift.filter(|&drift| drift > self.drift_max) {
            faults.push(format!("latency grew {drift:.2} times"));
        }
        faults
    }
}

/// The five runs of a soak with the connections and the rate of `plan`.
fn parts(plan: &Plan, terms: &Terms) -> Vec<(&'static str, Plan)> {
    let share = |percent: u32| (plan.subscribers * percent / 100).max(1);
    let mut base = plan.clone();
    (base.threads, base.pid) = (1, None);
    let fanout = Plan { subscribers: share(40), workload: Workload::Fanout, ..base.clone() };
    let consumers = share(20);
    let queue = Plan {
        workload: Workload::Queue,
        ack: AckMode::ClientIndividual,
        prefetch: 10,
        subscribers: consumers,
        destinations: consumers.div_ceil(4),
        publishers: 1,
        destination: "/queue/bench.soak".into(),
        churn_per_second: terms.churn_per_second,
        ..base.clone()
    };
    let echo = Plan {
        workload: Workload::Echo,
        subscribers: share(20),
        publishers: share(20),
        destinations: share(20),
        destination: format!("{}.echo", plan.destination),
        ..base.clone()
    };
    let idle = Plan {
        workload: Workload::Idle,
        publishers: 0,
        hold: plan.warmup + plan.duration,
        churn_per_second: terms.churn_per_second,
        ..base
    };
    let storm_every = terms.storm_every;
    let guests = Plan { subscribers: share(15), storm_every, ..idle.clone() };
    let stalled = Plan { subscribers: share(5), stalled_share: 1.0, ..idle };
    let parts = [fanout, queue, echo, guests, stalled];
    let names = ["fanout", "queue", "echo", "guests", "stalled"];
    let numbered = names.into_iter().zip(parts).enumerate();
    numbered.map(|(number, (name, part))| (name, Plan { first_core: number, ..part })).collect()
}

/// The last second of every part.
#[derive(Default)]
struct Board(Mutex<[Second; 5]>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, [Second; 5]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the seconds of one part onto the board.
struct Scribe<'a>(usize, &'a Board);

impl Observer for Scribe<'_> {
    fn second(&mut self, second: &Second) {
        self.1.lock()[self.0] = second.clone();
    }
}

/// Runs a soak of `plan`: its connections, rate, size and times are those of all parts together.
///
/// # Errors
/// What kept it from starting.
pub fn run(plan: &Plan, terms: &Terms, observer: &mut dyn Observer) -> Result<Report, String> {
    let parts = parts(plan, terms);
    for (name, part) in &parts {
        part.check().map_err(|error| format!("{name}: {error}"))?;
    }
    let mut log = Log::new(plan, terms)?;
    let outcomes = run_parts(&parts, &mut log, observer)?;
    let mut soak = log.judge();
    soak.left_behind = left_behind(terms, &log.before);
    let mut all = Outcome::new(1);
    all.server.extend(plan.pid.map(|_| ("publish".to_owned(), log.server_use())));
    for ((name, part), outcome) in parts.iter().zip(&outcomes) {
        all.absorb(name, outcome);
        soak.parts.insert((*name).into(), Report::new(name, part, outcome));
    }
    all.seconds = log.seconds;
    // Who publishes how much, the parts tell.
    let sum = Plan { workload: Workload::Idle, publishers: 0, ..plan.clone() };
    let mut report = Report::new("soak", &sum, &all);
    report.connections = parts.iter().map(|(_, part)| u64::from(part.connections())).sum();
    report.soak = Some(soak);
    Ok(report)
}

/// Runs all parts at once and reads the server beside them until the first is done.
fn run_parts(
    parts: &[(&'static str, Plan)],
    log: &mut Log<'_>,
    observer: &mut dyn Observer,
) -> Result<Vec<Outcome>, String> {
    let board = Board::default();
    observer.stage("soak", log.plan);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, (_, part)) in parts.iter().enumerate() {
            let board = &board;
            threads.push(scope.spawn(move || run::run(part.clone(), &mut Scribe(number, board))));
        }
        while !threads.iter().any(std::thread::ScopedJoinHandle::is_finished) {
            std::thread::sleep(Duration::from_secs(1));
            log.second(&board, observer);
        }
        let joined = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err("a part of the soak panicked".into()))
        });
        joined.collect()
    })
}

/// What is read while the parts run.
struct Log<'a> {
    plan: &'a Plan,
    terms: &'a Terms,
    began: Instant,
    scrape_every: Duration,
    scraped: Instant,
    /// The counters before the first connection.
    before: BTreeMap<String, f64>,
    last: BTreeMap<String, f64>,
    usage_before: Usage,
    usage_then: Usage,
    second_began: Instant,
    seconds: Vec<Second>,
    counters: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Log<'_> {
    fn new<'a>(plan: &'a Plan, terms: &'a Terms) -> Result<Log<'a>, String> {
        let before = terms.metrics.as_ref().map_or(Ok(BTreeMap::new()), Source::read)?;
        let usage = match plan.pid {
            Some(pid) => {
                Usage::read(pid).ok_or_else(|| format!("seen pid {pid}, no such process"))?
            }
            None => Usage::default(),
        };
        let now = Instant::now();
        let scrape_s = (plan.duration.as_secs_f64() / SCRAPES).max(1.0);
        Ok(Log {
            plan,
            terms,
            began: now,
            scrape_every: Duration::from_secs_f64(scrape_s),
            scraped: now,
            last: before.clone(),
            before,
            usage_before: usage,
            usage_then: usage,
            second_began: now,
            seconds: Vec::new(),
            counters: BTreeMap::new(),
        })
    }

    fn second(&mut self, board: &Board, observer: &mut dyn Observer) {
        let parts = board.lock().clone();
        let usage = self.plan.pid.and_then(Usage::read).unwrap_or_default();
        let took_s = self.second_began.elapsed().as_secs_f64();
        let second = Second {
            at_s: self.began.elapsed().as_secs_f64(),
            stage: "soak".into(),
            live: parts.iter().map(|part| part.live).sum(),
            published: parts.iter().map(|part| part.published).sum(),
            delivered: parts.iter().map(|part| part.delivered).sum(),
            server_cores: usage.since(&self.usage_then).cpu_ns as f64 / 1e9 / took_s,
            server_pss_bytes: usage.pss_bytes,
            server_rss_bytes: usage.rss_bytes,
            // Latency is the fan-out's.
            ..parts[0].clone()
        };
        self.usage_then = usage;
        self.second_began = Instant::now();
        observer.second(&second);
        if self.scraped.elapsed() >= self.scrape_every {
            self.scrape(second.at_s);
        }
        self.seconds.push(second);
    }

    /// The trends of memory and latency behind the warm-up.
    fn judge(&self) -> Soak {
        let warm = self.plan.warmup.max(self.plan.duration.mul_f64(WARM_SHARE));
        // The parts publish when all of their connections are there.
        let publish = self.seconds.iter().find(|second| second.published > 0);
        let from_s = warm.as_secs_f64() + publish.map_or(0.0, |second| second.at_s);
        let measured = || self.seconds.iter().filter(|second| second.at_s >= from_s);
        let memory: Vec<(f64, f64)> =
            measured().map(|second| (second.at_s, second.server_pss_bytes as f64)).collect();
        let p99s: Vec<f64> =
            measured().map(|second| second.p99_us).filter(|&p99_us| p99_us > 0.0).collect();
        Soak {
            measured_from_s: from_s,
            memory: self.plan.pid.and_then(|_| trend::line(&memory)),
            growth_max: self.terms.growth_max,
            drift: trend::drift(&p99s),
            drift_max: self.terms.drift_max,
            counters: self.counters.clone(),
            ..Soak::default()
        }
    }

    /// What the server used from the beginning to the last second.
    fn server_use(&self) -> ServerUse {
        let used = self.usage_then.since(&self.usage_before);
        ServerUse {
            seconds: self.seconds.last().map_or(0.0, |second| second.at_s),
            cpu_s: used.cpu_ns as f64 / 1e9,
            user_share: used.user_share(),
            pss_bytes: (self.usage_before.pss_bytes, used.pss_bytes),
            context_switches: used.context_switches,
        }
    }

    fn scrape(&mut self, at_s: f64) {
        self.scraped = Instant::now();
        let Some(source) = &self.terms.metrics else { return };
        // A server that does not answer here shows in the parts.
        let Ok(read) = source.read() else { return };
        for (name, value) in &read {
            if self.last.get(name) != Some(value) || self.counters.contains_key(name) {
                self.counters.entry(name.clone()).or_default().push((at_s, *value));
            }
        }
        self.last = read;
    }
}

/// Waits until the server's gauges are what they were `before`; what is not.
fn left_behind(terms: &Terms, before: &BTreeMap<String, f64>) -> Vec<String> {
    let Some(source) = &terms.metrics else { return Vec::new() };
    let until = Instant::now() + LEAVE;
    loop {
        let left: Vec<String> = match source.read() {
            Err(error) => vec![error],
            Ok(now) => {
                let changed = GAUGES.iter().filter(|gauge| now.get(**gauge) > before.get(**gauge));
                changed.map(|gauge| format!("left behind: {gauge} {}", now[*gauge])).collect()
            }
        };
        if left.is_empty() || Instant::now() > until {
            return left;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

impl Outcome {
    /// Adds what came of a part.
    fn absorb(&mut self, name: &str, part: &Outcome) {
        self.tally.add(&part.tally);
        let merge = |sum: &mut Latencies, more: &Latencies| sum.merge(more);
        merge(&mut self.latencies, &part.latencies);
        merge(&mut self.connects, &part.connects);
        merge(&mut self.lateness, &part.lateness);
        merge(&mut self.broadcasts.first, &part.broadcasts.first);
        merge(&mut self.broadcasts.last, &part.broadcasts.last);
        self.ramp_s = self.ramp_s.max(part.ramp_s);
        self.publish_s = self.publish_s.max(part.publish_s);
        self.storms_s.extend(&part.storms_s);
        for (what, count) in &part.troubles {
            *self.troubles.entry(format!("{name}: {what}")).or_default() += count;
        }
        if let Some(why) = &part.aborted {
            self.aborted.get_or_insert_with(|| format!("{name}: {why}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            metrics: None,
            churn_per_second: 0.1,
            storm_every: Duration::from_secs(1),
            growth_max: 1_000.0,
            drift_max: 2.0,
        }
    }

    #[test]
    fn the_parts_share_the_connections_and_are_sound() {
        let target = crate::plan::Target::parse("ws://127.0.0.1:1/ws").unwrap();
        for subscribers in [1, 20, 1_000] {
            let mut plan = Plan::new(target.clone());
            (plan.subscribers, plan.publishers) = (subscribers, 1);
            plan.rate = crate::plan::Rate::PerSecond(10.0);
            let parts = parts(&plan, &terms());
            assert!(parts.iter().all(|(_, part)| part.check() == Ok(())), "{subscribers}");
            let sum: u32 = parts.iter().map(|(_, part)| part.subscribers).sum();
            assert!(sum == subscribers || subscribers < 20, "{sum} of {subscribers}");
        }
    }

    #[test]
    fn growth_is_a_fault_only_beyond_its_doubt() {
        let soak = |slope, error| Soak {
            memory: Some(trend::Line { slope, error, start: 0.0 }),
            growth_max: 600.0,
            drift: Some(1.9),
            drift_max: 2.0,
            ..Soak::default()
        };
        assert_eq!(soak(9.0, 0.0).faults(), Vec::<String>::new());
        assert_eq!(soak(20.0, 6.0).faults(), Vec::<String>::new());
        assert_eq!(soak(20.0, 1.0).faults(), ["memory grows by 1200 B a minute"]);
    }
}
