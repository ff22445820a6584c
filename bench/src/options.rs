//! The command line: options of each scenario, turned into a [`Plan`].

use crate::destinations::Destinations;
use crate::floor::Sender;
use crate::plan::{Plan, Rate, Target, Workload};
use crate::queue::AckMode;
use crate::soak::{scrape::Source, Terms};
use crate::verdict::Bound;
use crate::wire::{Protocol, Transport};
use clap::{Args, Parser, Subcommand};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;
use stompede_core::amount;

/// Loads a push server (STOMP, NATS or MQTT over WebSocket or TCP, STOMP over SockJS, or
/// messages of no protocol) and checks every delivery.
#[derive(Debug, Parser)]
#[command(name = "stompede-bench", version)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connect, hold, replace a share of the connections
    Connect {
        #[command(flatten)]
        common: Common,
        /// Share of the connections replaced per second of the hold, e.g. 1%
        #[arg(long, default_value = "0", value_parser = share)]
        churn: f64,
    },
    /// Some publish to one destination, all others receive it; with several destinations, each has
    /// one publisher and the others are spread over them
    Fanout {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        publish: Publish,
        /// How many, or names such as /topic/a,/topic/b{1..50}
        #[arg(long, default_value = "1", value_parser = Destinations::parse)]
        destinations: Destinations,
        /// Also send as much with a bare loop, this many times in turn with the run, and tell the
        /// ratio of CPU
        #[arg(long, default_value = "0", default_missing_value = "3", num_args = 0..=1)]
        floor: u32,
        /// Publishers of other processes with the same destination, whose messages are checked too
        #[arg(long, default_value = "0", value_parser = count)]
        strangers: u32,
        /// Before publishing, drop connections and wait for them to come back, this many times
        #[arg(long, default_value = "0")]
        storms: u32,
        /// Share of the connections that is dropped
        #[arg(long, default_value = "10%", value_parser = share)]
        storm_share: f64,
    },
    /// Many destinations with one publisher each; subscribers are spread over them
    Many {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        publish: Publish,
        /// How many, or names such as /topic/a,/topic/b{1..50}
        #[arg(long, default_value = "100", value_parser = Destinations::parse)]
        destinations: Destinations,
        /// Subscriptions of each connection, to destinations that follow each other
        #[arg(long, default_value = "1", value_parser = count)]
        subscriptions: u32,
        /// Exponent of their popularity; 0 is the same for all
        #[arg(long, default_value = "0", value_parser = number)]
        zipf: f64,
    },
    /// Every connection publishes to a destination of its own and receives that
    Echo {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        publish: Publish,
        /// Names such as /topic/a,/topic/b{1..50}, at least as many as connections
        #[arg(long, value_parser = Destinations::parse)]
        destinations: Option<Destinations>,
    },
    /// As fanout, while a share of the subscribers does not read
    Slow {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        publish: Publish,
        /// That share
        #[arg(long, default_value = "5%", value_parser = share)]
        stalled: f64,
    },
    /// Queues with competing consumers: every message is settled exactly once
    Queue {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        publish: Publish,
        /// How many, or names such as /queue/a,/queue/b{1..50}; the connections consume them in
        /// turn
        #[arg(
            long,
            visible_alias = "queues",
            default_value = "10",
            value_parser = Destinations::parse
        )]
        destinations: Destinations,
        /// How consumers acknowledge: client with one ACK for all that a receive brought,
        /// client-individual with one for each message
        #[arg(long, default_value = "client")]
        ack: AckMode,
        /// Deliveries without ACK of a consumer; 0 leaves it to the server
        #[arg(long, default_value = "0", value_parser = count)]
        prefetch: u32,
        /// Messages that a publisher sends to one queue before it turns to the next
        #[arg(long, default_value = "1", value_parser = count)]
        burst: u32,
    },
    /// Drop a share of all connections at once and see how they come back
    Storm {
        #[command(flatten)]
        common: Common,
        /// That share
        #[arg(long, default_value = "100%", value_parser = share)]
        share: f64,
        /// How often
        #[arg(long, default_value = "3")]
        times: u32,
    },
    /// For long, all at once: fan-out, queues whose consumers come and go, echoes, subscribers that
    /// come and go, storms, stalled readers; does memory or latency grow, is anything left behind?
    Soak {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        publish: Publish,
        /// The server's counters, e.g. http://127.0.0.1:9090/metrics
        #[arg(long, value_parser = Source::parse)]
        metrics: Option<Source>,
        /// Share of those that come and go, replaced per second
        #[arg(long, default_value = "2%", value_parser = share)]
        churn: f64,
        /// Time from storm to storm; 0 is none
        #[arg(long, default_value = "20s", value_parser = duration)]
        storm_every: Duration,
        /// Share of the coming and going that a storm drops
        #[arg(long, default_value = "50%", value_parser = share)]
        storm_share: f64,
        /// Growth of the server's memory that is let pass, in bytes per minute
        #[arg(long, default_value = "256KiB", value_parser = bytes)]
        growth_max: u32,
        /// Latency at the end over latency at the beginning that is let pass
        #[arg(long, default_value = "2", value_parser = number)]
        drift_max: f64,
    },
    /// Two reports side by side
    Compare {
        /// Written by --out json
        a: PathBuf,
        /// Written by --out json
        b: PathBuf,
    },
    Attack(crate::attack::Order),
    /// The bare loop of --floor; started by it
    #[command(hide = true)]
    FloorSender(Sender),
}

/// A run that the command line asks for.
pub struct Invocation<'a> {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// What it shall do.
    pub plan: Plan,
    /// The options that say what to do with the result.
    pub common: &'a Common,
    /// How often the bare loop is wanted too.
    pub floor: u32,
    /// What a soak shall do beside the plan.
    pub soak: Option<Terms>,
}

/// Options of every scenario.
#[derive(Debug, Args)]
pub struct Common {
    /// ws://host:port/path, tcp://host:port, or http://host:port/path for SockJS
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: String,
    /// How SockJS travels; websocket unless told
    #[arg(long, value_parser = ["websocket", "xhr-streaming", "xhr-polling"])]
    pub transport: Option<String>,
    /// What to speak; websocket is messages of no protocol
    #[arg(long, default_value = "stomp")]
    pub protocol: Protocol,
    /// STOMP version to offer; none is --protocol websocket
    #[arg(long, default_value = "1.2", value_parser = ["1.0", "1.1", "1.2", "none"])]
    pub stomp: String,
    /// Connections that subscribe, e.g. 10k
    #[arg(long, short = 'c', default_value = "100", value_parser = count)]
    pub connections: u32,
    /// Connections begun per second; 0 is as fast as they succeed
    #[arg(long, default_value = "0", value_parser = number)]
    pub rate: f64,
    /// Time over which to begin the connections, instead of --rate
    #[arg(long, value_parser = duration)]
    pub ramp: Option<Duration>,
    /// Connections that may be in the making at a time
    #[arg(long, default_value = "256", value_parser = count)]
    pub in_flight: u32,
    /// Time to hold all connections
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub hold: Duration,
    /// Destination of subscriptions, or the common beginning of several; by default /topic/bench,
    /// with queue /queue/bench
    #[arg(long)]
    pub destination: Option<String>,
    /// Heart-beat interval both ways; 0 is none
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub heart_beat: Duration,
    /// NAME:PASSCODE to log in with
    #[arg(long, value_parser = login)]
    pub login: Option<(String, String)>,
    /// Addresses to connect from: a number of loopback ones, or a list; by default one for every
    /// 10,000 connections to a loopback server, for the kernel looks long for the last ports
    #[arg(long, value_parser = sources)]
    pub source_ips: Option<Sources>,
    /// Seed of everything that varies
    #[arg(long, default_value = "1")]
    pub seed: u64,
    /// Threads; by default one per core that we may run on
    #[arg(long)]
    pub threads: Option<usize>,
    /// uring or epoll
    #[arg(long, default_value = "uring", value_parser = ["uring", "epoll"])]
    pub io: String,
    /// Process of the server, on this machine: its CPU and memory are reported
    #[arg(long)]
    pub pid: Option<u32>,
    /// Fail if a figure passes a bound, e.g. 'p99>20ms,lost>0'
    #[arg(long, value_delimiter = ',', value_parser = Bound::parse)]
    pub fail_if: Vec<Bound>,
    /// Reports to write: json, csv, hdr, html, each alone or as json=FILE
    #[arg(long, value_delimiter = ',')]
    pub out: Vec<String>,
    /// Directory for reports without a file name
    #[arg(long, default_value = ".")]
    pub out_dir: PathBuf,
}

/// Options of scenarios that publish.
#[derive(Debug, Args)]
pub struct Publish {
    /// Connections that publish
    #[arg(long, default_value = "1", value_parser = count)]
    pub publishers: u32,
    /// Messages per second of all publishers together, by the clock; max is as many as come back
    #[arg(long, default_value = "10", value_parser = rate)]
    pub publish_rate: f64,
    /// Messages on the way at most, with --publish-rate max
    #[arg(long, default_value = "1024", value_parser = count)]
    pub window: u32,
    /// Bytes of a body
    #[arg(long, default_value = "100", value_parser = bytes)]
    pub size: u32,
    /// Time to publish before what is measured
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// Time to publish and measure
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Silence after which missing deliveries are given up
    #[arg(long, default_value = "3s", value_parser = duration)]
    pub settle: Duration,
}

/// Addresses to connect from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(pub Vec<IpAddr>);

impl Common {
    fn plan(&self) -> Result<Plan, String> {
        let mut target = Target::parse(&self.url)?;
        if let Some(wanted) = &self.transport {
            let mut known = Transport::SOCKJS.into_iter();
            if let Some((_, transport)) = known.find(|(name, _)| name == wanted) {
                target = target.by(transport)?;
            }
        }
        let mut plan = Plan::new(target);
        // A client of 1.0 sends no accept-version; one that lists 1.0 alone means the same.
        plan.protocol = self.protocol;
        match (self.stomp.as_str(), self.protocol) {
            ("none", Protocol::Stomp) => plan.protocol = Protocol::WebSocket,
            ("none", _) => {}
            (version, _) => version.clone_into(&mut plan.version),
        }
        plan.subscribers = self.connections;
        plan.ramp_per_second = match self.ramp {
            Some(ramp) => f64::from(self.connections) / ramp.as_secs_f64().max(1e-3),
            None => self.rate,
        };
        plan.in_flight = self.in_flight;
        plan.hold = self.hold;
        if let Some(destination) = &self.destination {
            plan.destination.clone_from(destination);
        }
        plan.heart_beat_ms = u32::try_from(self.heart_beat.as_millis()).unwrap_or(u32::MAX);
        plan.login.clone_from(&self.login);
        plan.sources = match &self.source_ips {
            Some(sources) => sources.0.clone(),
            None if plan.target.address.ip().is_loopback()
                && self.connections > CONNECTIONS_PER_SOURCE =>
            {
                loopback_sources(self.connections.div_ceil(CONNECTIONS_PER_SOURCE))
            }
            None => Vec::new(),
        };
        plan.seed = self.seed;
        plan.is_epoll = self.io == "epoll";
        plan.pid = self.pid;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        plan.threads = self.threads.unwrap_or(cores).max(1);
        Ok(plan)
    }
}

impl Publish {
    fn apply(&self, plan: &mut Plan) {
        plan.publishers = self.publishers;
        plan.rate = match self.publish_rate {
            0.0 => Rate::Window(self.window),
            rate => Rate::PerSecond(rate),
        };
        plan.body_bytes = self.size as usize;
        plan.warmup = self.warmup;
        plan.duration = self.duration;
        plan.settle = self.settle;
    }
}

impl Command {
    /// The run that is asked for; `None` for commands that run nothing.
    ///
    /// # Errors
    /// What contradicts itself.
    pub fn invocation(&self) -> Result<Option<Invocation<'_>>, String> {
        let (scenario, common, publish) = match self {
            Command::Connect { common, .. } => ("connect", common, None),
            Command::Fanout { common, publish, .. } => ("fanout", common, Some(publish)),
            Command::Many { common, publish, .. } => ("many", common, Some(publish)),
            Command::Echo { common, publish, .. } => ("echo", common, Some(publish)),
            Command::Slow { common, publish, .. } => ("slow", common, Some(publish)),
            Command::Queue { common, publish, .. } => ("queue", common, Some(publish)),
            Command::Storm { common, .. } => ("storm", common, None),
            Command::Soak { common, publish, .. } => ("soak", common, Some(publish)),
            Command::Compare { .. } | Command::Attack(_) | Command::FloorSender(_) => {
                return Ok(None)
            }
        };
        let mut plan = common.plan()?;
        if let Some(publish) = publish {
            plan.workload = Workload::Fanout;
            publish.apply(&mut plan);
        }
        self.shape(&mut plan)?;
        let floor = if let Command::Fanout { floor, .. } = self { *floor } else { 0 };
        Ok(Some(Invocation { scenario, plan, common, floor, soak: self.soak_terms() }))
    }

    /// Puts what only this scenario knows into the plan.
    fn shape(&self, plan: &mut Plan) -> Result<(), String> {
        match self {
            Command::Connect { churn, .. } => {
                plan.churn_per_second = *churn;
                // As applications do: nobody waits for it.
                plan.with_receipts = false;
            }
            Command::Fanout { destinations, floor, strangers, storms, storm_share, .. } => {
                plan.set_destinations(destinations);
                if plan.destinations > 1 {
                    plan.workload = Workload::Many;
                }
                if plan.destinations > 1 && *floor > 0 {
                    return Err("seen --floor with several destinations: it has one".into());
                }
                plan.strangers = *strangers;
                (plan.storms, plan.storm_share) = (*storms, *storm_share);
            }
            Command::Many { destinations, subscriptions, zipf, .. } => {
                plan.workload = Workload::Many;
                plan.subscriptions = *subscriptions;
                plan.set_destinations(destinations);
                plan.zipf = *zipf;
            }
            Command::Echo { destinations, .. } => {
                plan.workload = Workload::Echo;
                plan.publishers = plan.subscribers;
                plan.destinations = plan.subscribers;
                if let Some(destinations) = destinations {
                    plan.set_destinations(destinations);
                }
            }
            Command::Queue { common, destinations, ack, prefetch, burst, .. } => {
                plan.workload = Workload::Queue;
                (plan.ack, plan.prefetch, plan.burst) = (*ack, *prefetch, *burst);
                plan.set_destinations(destinations);
                if common.destination.is_none() {
                    plan.destination = "/queue/bench".into();
                }
            }
            Command::Soak { storm_share, .. } => {
                plan.storm_share = *storm_share;
                if matches!(plan.rate, Rate::Window(_)) {
                    return Err("seen a soak with --publish-rate max: write a number".into());
                }
            }
            Command::Slow { stalled, .. } => plan.stalled_share = *stalled,
            Command::Storm { share, times, .. } => {
                plan.storm_share = *share;
                plan.storms = *times;
            }
            _ => {}
        }
        Ok(())
    }

    fn soak_terms(&self) -> Option<Terms> {
        let Command::Soak { metrics, churn, storm_every, growth_max, drift_max, .. } = self else {
            return None;
        };
        Some(Terms {
            metrics: metrics.clone(),
            churn_per_second: *churn,
            storm_every: *storm_every,
            growth_max: f64::from(*growth_max),
            drift_max: *drift_max,
        })
    }
}

/// `12`, `10k`, `1.5M`.
fn number(text: &str) -> Result<f64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let value: f64 = digits.parse().map_err(|_| "write a number such as 500, 10k or 1M")?;
    if !(0.0..1e12).contains(&value) {
        return Err("write a number from 0 on".into());
    }
    Ok(value * factor)
}

pub(crate) fn count(text: &str) -> Result<u32, String> {
    let value = number(text)?;
    if value.fract() != 0.0 || value > f64::from(u32::MAX) {
        return Err("write a whole number".into());
    }
    Ok(value as u32)
}

fn rate(text: &str) -> Result<f64, String> {
    if text == "max" {
        return Ok(0.0);
    }
    number(text.trim_end_matches("/s"))
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let value = match text.trim_end_matches("/s").strip_suffix('%') {
        Some(percent) => number(percent)? / 100.0,
        None => number(text)?,
    };
    if value > 1.0 {
        return Err("write a share such as 5% or 0.05".into());
    }
    Ok(value)
}

/// `500ms`, `10s`, `2m`, and `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let millis = amount::millis(text).or((text == "0").then_some(0));
    millis.map(Duration::from_millis).ok_or_else(|| "write a time such as 500ms, 10s or 2m".into())
}

/// `100`, `64KiB`.
fn bytes(text: &str) -> Result<u32, String> {
    let bytes = amount::count(text).or_else(|| amount::bytes(text));
    let bytes = bytes.and_then(|bytes| u32::try_from(bytes).ok());
    bytes.ok_or_else(|| "write a number of bytes such as 100 or 64KiB".into())
}

pub(crate) fn login(text: &str) -> Result<(String, String), String> {
    let (name, passcode) = text.split_once(':').ok_or("write NAME:PASSCODE")?;
    Ok((name.to_owned(), passcode.to_owned()))
}

/// From one address; the kernel searches linearly for a port when half of its range is taken.
const CONNECTIONS_PER_SOURCE: u32 = 10_000;

/// `count` addresses of this machine, from 127.1.0.1 on.
fn loopback_sources(count: u32) -> Vec<IpAddr> {
    let first = u32::from(Ipv4Addr::new(127, 1, 0, 1));
    (first..first + count).map(|address| IpAddr::V4(Ipv4Addr::from(address))).collect()
}

fn sources(text: &str) -> Result<Sources, String> {
    if let Ok(count) = text.parse::<u16>() {
        return Ok(Sources(loopback_sources(count.into())));
    }
    let address = |part: &str| part.parse().map_err(|_| "write a number or a list of addresses");
    Ok(Sources(text.split('/').map(address).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Result<Plan, String> {
        let options = Options::try_parse_from(line.split(' ')).map_err(|e| e.to_string())?;
        let invocation = options.command.invocation()?;
        invocation.map(|invocation| invocation.plan).ok_or("no run".into())
    }

    #[test]
    fn a_whole_line_becomes_a_plan() {
        let plan = plan(
            "stompede-bench fanout --url tcp://127.0.0.1:61613 --stomp 1.1 --connections 10k \
             --publishers 2 --publish-rate 1k/s --size 128 --ramp 5s --warmup 500ms --duration 2m \
             --heart-beat 10s --login a:b:c --seed 7 --source-ips 3 --threads 2",
        );
        let plan = plan.unwrap();
        assert_eq!((plan.subscribers, plan.publishers, plan.body_bytes), (10_000, 2, 128));
        assert_eq!(plan.rate, Rate::PerSecond(1_000.0));
        assert_eq!(plan.ramp_per_second, 2_000.0);
        assert_eq!((plan.warmup.as_millis(), plan.duration.as_secs()), (500, 120));
        assert_eq!((plan.heart_beat_ms, plan.seed, plan.threads), (10_000, 7, 2));
        assert_eq!(plan.login, Some(("a".into(), "b:c".into())));
        assert_eq!(plan.sources[2], "127.1.0.3".parse::<IpAddr>().unwrap());
        assert_eq!((plan.protocol, plan.version.as_str()), (Protocol::Stomp, "1.1"));
        assert!(plan.check().is_ok());
    }

    #[test]
    fn destinations_are_a_number_or_names() {
        let of = |text: &str| plan(&format!("stompede-bench {text}")).unwrap();
        let fanout = of("fanout --destinations /topic/a,/topic/b{1..50} --publishers 3");
        assert_eq!((fanout.workload, fanout.destinations), (Workload::Many, 51));
        assert_eq!(fanout.destination_name(1), "/topic/b1");
        assert!(fanout.check().is_ok());
        let one = of("fanout --destinations /topic/only");
        assert_eq!(
            (one.workload, one.destination_name(0).as_str()),
            (Workload::Fanout, "/topic/only")
        );
        let many = of("many --destinations 1k --destination /topic/t");
        assert_eq!((many.destinations, many.destination_name(7).as_str()), (1_000, "/topic/t.7"));
        let queue = of("queue --queues 5 --ack client-individual --prefetch 10 --burst 3");
        assert_eq!((queue.ack, queue.prefetch), (AckMode::ClientIndividual, 10));
        assert_eq!(queue.burst, 3);
        assert_eq!(queue.destination_name(4), "/queue/bench.4");
        assert!(of("echo --connections 3 --destinations /topic/e{1..2}").check().is_err());
        assert!(of("echo --connections 3 --destinations /topic/e{1..3}").check().is_ok());
    }

    #[test]
    fn max_is_a_window() {
        let plan =
            plan("stompede-bench fanout --publish-rate max --window 64 --protocol websocket");
        let plan = plan.unwrap();
        assert_eq!(plan.rate, Rate::Window(64));
        assert_eq!(plan.protocol, Protocol::WebSocket);
        let none = super::tests::plan("stompede-bench fanout --stomp none").unwrap();
        assert_eq!(none.protocol, Protocol::WebSocket);
    }

    #[test]
    fn sockjs_has_transports() {
        for (name, transport) in Transport::SOCKJS {
            let line =
                format!("stompede-bench connect --url http://127.0.0.1:1 --transport {name}");
            assert_eq!(plan(&line).unwrap().target.transport, transport);
        }
        let plan = plan("stompede-bench connect --url http://127.0.0.1:1/echo").unwrap();
        assert_eq!(plan.target.transport, Transport::SockJsWebSocket);
    }

    #[test]
    fn mistakes_are_told() {
        for line in [
            "stompede-bench fanout --transport xhr-polling",
            "stompede-bench fanout --url http://127.0.0.1:1 --transport jsonp",
            "stompede-bench fanout --size big",
            "stompede-bench fanout --duration 10",
            "stompede-bench fanout --duration 1.5s",
            "stompede-bench fanout --stomp 2.0",
            "stompede-bench fanout --protocol amqp",
            "stompede-bench connect --churn 200%",
            "stompede-bench connect --url wss://x",
            "stompede-bench connect --connections 1.5",
            "stompede-bench connect --login name",
            "stompede-bench",
        ] {
            assert!(plan(line).is_err(), "{line}");
        }
    }
}
