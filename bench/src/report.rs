//! What is told about a run: the closing table and the JSON that `compare` reads.

use crate::latency::Summary;
use crate::plan::{Plan, Rate, Workload};
use crate::run::{Outcome, Second, ServerUse};
use crate::soak::Soak;
use crate::wire::Protocol;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A run's figures. Field names are those of the JSON and of `--fail-if`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The scenario and its main numbers, for people.
    pub title: String,
    /// Machine and kernel.
    pub machine: String,
    /// Seed of the run.
    pub seed: u64,
    /// Connections asked for.
    pub connections: u64,
    /// Bytes of a body.
    pub body_bytes: u64,
    /// Messages a second asked for; 0: as many as possible.
    pub offered_per_s: f64,
    /// True: times are measured from when a message was due.
    pub is_open_loop: bool,
    /// Connections that became live, repeats included.
    pub connected: u64,
    /// Connections that never became live.
    pub failed: u64,
    /// Connections begun again because the generator had no port, slot or memory for them.
    #[serde(default)]
    pub retried: u64,
    /// Connections that the server ended.
    pub dropped: u64,
    /// Connections that were replaced on purpose.
    pub churned: u64,
    /// Time of the ramp, in seconds.
    pub ramp_s: f64,
    /// Time from begin to live.
    pub connect: Summary,
    /// Time of each recovery, in seconds.
    pub storms_s: Vec<f64>,
    /// Messages published.
    pub published: u64,
    /// Deliveries they must cause.
    pub expected: u64,
    /// Deliveries that came.
    pub delivered: u64,
    /// Deliveries that never came.
    pub lost: u64,
    /// Deliveries that came again.
    pub duplicates: u64,
    /// Deliveries that came after a later one.
    pub reordered: u64,
    /// Deliveries that are not what was sent.
    pub corrupt: u64,
    /// Deliveries of queues that are settled: acknowledged, or sent with `ack:auto`.
    #[serde(default)]
    pub acknowledged: u64,
    /// Deliveries of queues that said `redelivered:true`.
    #[serde(default)]
    pub redelivered: u64,
    /// Messages that came back although they were acknowledged.
    #[serde(default)]
    pub unsettled: u64,
    /// Settled deliveries a second of the server's CPU time.
    #[serde(default)]
    pub acknowledged_per_core_s: Option<f64>,
    /// Deliveries a second, warm-up included.
    pub delivered_per_s: f64,
    /// Bytes received.
    pub bytes: u64,
    /// Deliveries per receive.
    pub deliveries_per_read: f64,
    /// Polls of SockJS that brought deliveries, each followed by the next.
    #[serde(default)]
    pub polls: u64,
    /// The same a second, warm-up included.
    #[serde(default)]
    pub polls_per_s: f64,
    /// The same per second of the server's CPU time, if its process is known.
    #[serde(default)]
    pub polls_per_cpu_s: Option<f64>,
    /// Latency of every measured delivery.
    pub latency: Summary,
    /// Latency of every broadcast at the first subscriber that it reached.
    #[serde(default)]
    pub first: Summary,
    /// At the last.
    #[serde(default)]
    pub last: Summary,
    /// How late the generator itself published.
    pub lateness: Summary,
    /// Heart-beats sent, received and missed.
    pub heart_beats: (u64, u64, u64),
    /// The server in each stage.
    pub server: BTreeMap<String, ServerUse>,
    /// Server CPU per delivery, in microseconds, if its process is known.
    pub cpu_us_per_delivery: Option<f64>,
    /// Server CPU per connection of the ramp, in microseconds.
    pub cpu_us_per_connect: Option<f64>,
    /// Server CPU per connection and second of the hold, in microseconds.
    pub idle_cpu_us_per_s: Option<f64>,
    /// Growth of the server's PSS over the ramp, per connection, in bytes; with many connections
    /// from the thousandth on, for what is allocated once is no cost of a connection.
    pub pss_bytes_per_connection: Option<f64>,
    /// Rounds in turn: CPU per delivery and per bare send, in microseconds.
    pub floor_rounds: Vec<(f64, f64)>,
    /// CPU of a bare send to as many sockets, in microseconds.
    pub floor_us_per_send: Option<f64>,
    /// CPU per delivery over the floor.
    pub floor_ratio: Option<f64>,
    /// Every second.
    pub seconds: Vec<Second>,
    /// Percentile, latency in microseconds, deliveries up to it.
    pub distribution: Vec<(f64, f64, u64)>,
    /// What only a soak tells.
    #[serde(default)]
    pub soak: Option<Soak>,
    /// What went wrong, and how often.
    pub troubles: BTreeMap<String, u64>,
    /// Why the run was cut short.
    pub aborted: Option<String>,
}

impl Report {
    /// Of a run that is over.
    pub fn new(scenario: &str, plan: &Plan, outcome: &Outcome) -> Report {
        let tally = &outcome.tally;
        let (offered_per_s, is_open_loop) = match plan.rate {
            Rate::PerSecond(rate) => (rate, true),
            Rate::Window(_) => (0.0, false),
        };
        let of = |stage: &str| outcome.server.get(stage);
        let per = |total: f64, count: u64| (count > 0).then(|| total / count as f64);
        let connections = u64::from(plan.connections());
        Report {
            title: title(scenario, plan),
            machine: machine(),
            seed: plan.seed,
            connections,
            body_bytes: plan.body_bytes as u64,
            offered_per_s,
            is_open_loop,
            connected: tally.connected,
            failed: tally.failed,
            retried: tally.retried,
            dropped: tally.dropped,
            churned: tally.churned,
            ramp_s: outcome.ramp_s,
            connect: outcome.connects.summary(),
            storms_s: outcome.storms_s.clone(),
            published: tally.published,
            expected: tally.expected,
            delivered: tally.delivered,
            lost: outcome.lost(),
            duplicates: tally.duplicates,
            reordered: tally.reordered,
            corrupt: tally.corrupt,
            acknowledged: tally.acknowledged,
            redelivered: tally.redelivered,
            unsettled: tally.unsettled,
            acknowledged_per_core_s: of("publish")
                .filter(|server| tally.acknowledged > 0 && server.cpu_s > 0.0)
                .map(|server| tally.acknowledged as f64 / server.cpu_s),
            delivered_per_s: tally.delivered as f64 / outcome.publish_s.max(1e-9),
            bytes: tally.bytes,
            deliveries_per_read: tally.delivered as f64 / tally.reads.max(1) as f64,
            polls: tally.polls,
            polls_per_s: tally.polls as f64 / outcome.publish_s.max(1e-9),
            polls_per_cpu_s: of("publish")
                .filter(|server| tally.polls > 0 && server.cpu_s > 0.0)
                .map(|server| tally.polls as f64 / server.cpu_s),
            latency: outcome.latency(),
            first: outcome.broadcasts.first.summary(),
            last: outcome.broadcasts.last.summary(),
            lateness: outcome.lateness.summary(),
            heart_beats: (tally.beats_sent, tally.beats_received, tally.beats_missed),
            server: outcome.server.clone(),
            cpu_us_per_delivery: cpu_us_per_delivery(outcome),
            cpu_us_per_connect: of("ramp")
                .and_then(|server| per(server.cpu_s * 1e6, tally.connected.min(connections))),
            idle_cpu_us_per_s: of("hold")
                .and_then(|server| per(server.cpu_s * 1e6 / server.seconds, connections)),
            pss_bytes_per_connection: of("ramp").and_then(|server| {
                let (first, pss_bytes) = outcome.footing.unwrap_or((0, server.pss_bytes.0));
                let up = tally.connected.min(connections).saturating_sub(first);
                per(server.pss_bytes.1 as f64 - pss_bytes as f64, up)
            }),
            floor_rounds: Vec::new(),
            floor_us_per_send: None,
            floor_ratio: None,
            seconds: outcome.seconds.clone(),
            distribution: outcome.latencies.distribution(),
            soak: None,
            troubles: outcome.troubles.clone(),
            aborted: outcome.aborted.clone(),
        }
    }

    /// Adds a round of a run and the bare loop in turn; the figures are medians over the rounds.
    pub fn add_floor(&mut self, outcome: &Outcome, bare: &Outcome) {
        let pair = cpu_us_per_delivery(outcome).zip(cpu_us_per_delivery(bare));
        self.floor_rounds.extend(pair);
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = self.floor_rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        self.cpu_us_per_delivery = median(|round| round.0);
        self.floor_us_per_send = median(|round| round.1);
        self.floor_ratio = median(|round| round.0 / round.1);
    }

    /// Is everything as it must be, whatever the speed? Else what is wrong.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.aborted.iter().cloned().collect();
        let counts = [
            ("lost", self.lost),
            ("duplicates", self.duplicates),
            ("reordered", self.reordered),
            ("corrupt", self.corrupt),
            ("unsettled", self.unsettled),
            ("failed", self.failed),
            ("dropped", self.dropped),
        ];
        let wrong = counts.iter().filter(|(_, count)| *count > 0);
        faults.extend(wrong.map(|(name, count)| format!("{name} {count}")));
        faults.extend(self.soak.iter().flat_map(Soak::faults));
        faults
    }

    /// The closing table.
    pub fn table(&self) -> String {
        let mut out = String::new();
        row(&mut out, "run", self.title.clone());
        row(&mut out, "machine", self.machine.clone());
        row(
            &mut out,
            "connect",
            format!(
                "{} ok  {} failed  {} retried  {} dropped  {} replaced  {:.2} s ({})  {}",
                self.connected,
                self.failed,
                self.retried,
                self.dropped,
                self.churned,
                self.ramp_s,
                self.connect_rate(),
                milliseconds(&self.connect)
            ),
        );
        for (number, seconds) in self.storms_s.iter().enumerate() {
            row(&mut out, "storm", format!("{}: all back in {seconds:.2} s", number + 1));
        }
        if self.expected > 0 {
            self.delivery_rows(&mut out);
        }
        if self.polls > 0 {
            let per_cpu_s = self.polls_per_cpu_s.map_or("?".into(), |polls| format!("{polls:.0}"));
            let (polls, per_s) = (self.polls, self.polls_per_s);
            let text = format!(
                "{polls} answered and begun again  {per_s:.0}/s  {per_cpu_s} per CPU second"
            );
            row(&mut out, "polls", text);
        }
        let (sent, received, missed) = self.heart_beats;
        if sent + received + missed > 0 {
            row(&mut out, "beats", format!("{sent} sent  {received} received  {missed} missed"));
        }
        self.server_rows(&mut out);
        if let Some(soak) = &self.soak {
            soak_rows(soak, &mut out);
        }
        for (what, count) in &self.troubles {
            row(&mut out, "trouble", format!("{count} x {what}"));
        }
        out
    }

    /// Connects a second of the ramp; those that failed are none, and no time is no rate.
    fn connect_rate(&self) -> String {
        let up = self.connections.min(self.connected);
        match self.ramp_s > 0.0 && up > 0 {
            true => format!("{:.0}/s", up as f64 / self.ramp_s),
            false => "none/s".to_owned(),
        }
    }

    fn delivery_rows(&self, out: &mut String) {
        row(
            out,
            "delivered",
            format!(
                "{} of {}  lost {}  duplicates {}  reordered {}  corrupt {}",
                self.delivered,
                self.expected,
                self.lost,
                self.duplicates,
                self.reordered,
                self.corrupt
            ),
        );
        if self.acknowledged > 0 {
            let text = format!(
                "{} acknowledged  {} redelivered  {} came back in spite of it",
                self.acknowledged, self.redelivered, self.unsettled
            );
            row(out, "settled", text);
        }
        let from = if self.is_open_loop { "from planned send" } else { "closed loop" };
        row(out, "latency", format!("{}  ({from})", milliseconds(&self.latency)));
        if self.first.count > 0 && self.first != self.last {
            let of = format!("subscriber of each of {} broadcasts", self.first.count);
            row(out, "first", format!("{}  (first {of})", milliseconds(&self.first)));
            row(out, "last", format!("{}  (last {of})", milliseconds(&self.last)));
        }
        row(out, "lateness", format!("{}  (of our own sends)", milliseconds(&self.lateness)));
        row(
            out,
            "rate",
            format!(
                "{:.0} deliveries/s  {:.1} MiB received  {:.2} deliveries/read",
                self.delivered_per_s,
                self.bytes as f64 / 1048576.0,
                self.deliveries_per_read
            ),
        );
    }

    fn server_rows(&self, out: &mut String) {
        for (stage, server) in &self.server {
            row(
                out,
                "server",
                format!(
                    "{stage}: {:.2} s CPU in {:.2} s ({:.0} % user)  PSS {:.1} -> {:.1} MiB  \
                     {} switches",
                    server.cpu_s,
                    server.seconds,
                    server.user_share * 100.0,
                    server.pss_bytes.0 as f64 / 1048576.0,
                    server.pss_bytes.1 as f64 / 1048576.0,
                    server.context_switches
                ),
            );
        }
        let figures = [
            ("µs CPU/connect", self.cpu_us_per_connect),
            ("µs CPU/delivery", self.cpu_us_per_delivery),
            ("µs CPU/s/idle connection", self.idle_cpu_us_per_s),
            // A server that gave back what it had before tells nothing of a connection's cost.
            ("B PSS/connection", self.pss_bytes_per_connection.filter(|bytes| *bytes > 0.0)),
            ("µs bare send", self.floor_us_per_send),
            ("x the bare send", self.floor_ratio),
            ("acknowledged/s of server CPU", self.acknowledged_per_core_s),
        ];
        let costs =
            figures.iter().filter_map(|(name, value)| Some(format!("{:.3} {name}", (*value)?)));
        let costs: Vec<String> = costs.collect();
        if !costs.is_empty() {
            row(out, "cost", costs.join("  "));
        }
        for (ours, bare) in &self.floor_rounds {
            let ratio = ours / bare;
            row(out, "floor", format!("{ours:.3} µs/delivery  {bare:.3} µs/bare send  {ratio:.3}"));
        }
    }
}

/// One row of the table.
fn row(out: &mut String, name: &str, text: String) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{name:<10} {text}");
}

fn cpu_us_per_delivery(outcome: &Outcome) -> Option<f64> {
    let server = outcome.server.get("publish")?;
    let delivered = outcome.tally.delivered;
    (delivered > 0).then(|| server.cpu_s * 1e6 / delivered as f64)
}

/// The rows of a soak: its parts, the trend of memory and latency.
fn soak_rows(soak: &Soak, out: &mut String) {
    for (name, part) in &soak.parts {
        let mut text = format!(
            "{} connected  {} replaced  {} of {} delivered  {} redelivered",
            part.connected, part.churned, part.delivered, part.expected, part.redelivered
        );
        if part.expected > 0 {
            text = format!("{text}  {}", milliseconds(&part.latency));
        }
        row(out, name, text);
    }
    if let Some((growth, doubt)) = soak.growth() {
        let (kib, doubt, max) = (growth / 1024.0, doubt / 1024.0, soak.growth_max / 1024.0);
        let fit = format!("PSS, linear fit from second {:.0} on", soak.measured_from_s);
        let text =
            format!("{kib:+.1} KiB a minute, give or take {doubt:.1}, at most {max:.0}  ({fit})");
        row(out, "growth", text);
    }
    if let Some(drift) = soak.drift {
        let of = "p99 of a second: last third over first third";
        row(out, "drift", format!("{drift:.2} x, at most {:.2}  ({of})", soak.drift_max));
    }
}

fn milliseconds(summary: &Summary) -> String {
    format!(
        "ms p50 {:.3}  p90 {:.3}  p99 {:.3}  p99.9 {:.3}  p99.99 {:.3}  max {:.3}",
        summary.p50_us / 1e3,
        summary.p90_us / 1e3,
        summary.p99_us / 1e3,
        summary.p999_us / 1e3,
        summary.p9999_us / 1e3,
        summary.max_us / 1e3
    )
}

fn title(scenario: &str, plan: &Plan) -> String {
    let protocol = match plan.protocol {
        Protocol::Stomp => format!("STOMP {}", plan.version),
        Protocol::WebSocket => "no STOMP".into(),
        Protocol::Nats => "NATS".into(),
        Protocol::Mqtt => "MQTT 3.1.1".into(),
    };
    let mut title = format!(
        "{scenario}  {} {protocol}  {} connections",
        plan.target.transport.for_people(),
        plan.connections()
    );
    if plan.workload != Workload::Idle {
        let rate = match plan.rate {
            Rate::PerSecond(rate) => format!("{rate}/s"),
            Rate::Window(window) => format!("max, window {window}"),
        };
        let _ = write!(
            title,
            "  {} publishers  {rate}  {} destinations  {} B  {:?}",
            plan.publishers, plan.destinations, plan.body_bytes, plan.duration
        );
    }
    let _ = write!(title, "  seed {}", plan.seed);
    title
}

/// Processor, number of cores and kernel of this machine.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let named = info.lines().find(|line| line.starts_with("model name"));
    let model = named.and_then(|line| line.split_once(':')).map_or("?", |(_, name)| name.trim());
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    format!("{cores} x {model}, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}
