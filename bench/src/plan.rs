//! What a run shall do: connections, who publishes what where, and when. Fixed before it starts.

use crate::destinations::{Destinations, Names};
use crate::queue::AckMode;
use crate::wire::{Protocol, Transport};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The resolved address.
    pub address: SocketAddr,
    /// `host:port` as given.
    pub host: String,
    /// Path of the upgrade request.
    pub path: String,
    /// How frames travel.
    pub transport: Transport,
}

impl Target {
    /// Reads `ws://host:port/path`, `tcp://host:port`, or for SockJS `http://host:port/path`.
    ///
    /// # Errors
    /// What is wrong, with what is allowed.
    pub fn parse(url: &str) -> Result<Target, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| unknown(url))?;
        let (host, path) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, if scheme == "http" { "/sockjs" } else { "/ws" }),
        };
        let transport = match scheme {
            "ws" => Transport::WebSocket,
            "tcp" => Transport::Tcp,
            "http" => Transport::SockJsWebSocket,
            _ => return Err(unknown(url)),
        };
        let resolve = |error| format!("cannot resolve `{host}`: {error}; give host:port");
        let address = host.to_socket_addrs().map_err(resolve)?.next();
        let address = address.ok_or_else(|| format!("`{host}` has no address"))?;
        Ok(Target { address, host: host.into(), path: path.into(), transport })
    }

    /// The same by a transport of SockJS.
    ///
    /// # Errors
    /// The url was none of SockJS.
    pub fn by(self, transport: Transport) -> Result<Target, String> {
        if !self.transport.is_sockjs() {
            return Err("seen --transport without sockjs: write a url http://host:port/path".into());
        }
        Ok(Target { transport, ..self })
    }
}

fn unknown(url: &str) -> String {
    format!(
        "seen url `{url}`; write ws://host:port/path, tcp://host:port or, for sockjs, \
         http://host:port/path"
    )
}

/// How publishers and subscribers belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Nobody publishes.
    Idle,
    /// Every publisher to one destination that everybody subscribed to.
    Fanout,
    /// Many destinations, each with one publisher; subscribers spread over them.
    Many,
    /// Every connection publishes to a destination that only it subscribed to.
    Echo,
    /// Queues, each with one publisher; the subscribers share its messages.
    Queue,
}

/// How fast is published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Messages a second of all publishers together, by the clock (open loop).
    PerSecond(f64),
    /// As fast as deliveries come back: this many messages on the way at most (closed loop).
    Window(u32),
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server is.
    pub target: Target,
    /// What is spoken.
    pub protocol: Protocol,
    /// `accept-version` of STOMP's CONNECT.
    pub version: String,
    /// Name and passcode.
    pub login: Option<(String, String)>,
    /// Interval of heart-beats both ways, in milliseconds; 0 is none.
    pub heart_beat_ms: u32,
    /// Who talks to whom.
    pub workload: Workload,
    /// Connections that subscribe.
    pub subscribers: u32,
    /// Connections that publish; with [`Workload::Echo`] the subscribers do.
    pub publishers: u32,
    /// Subscriptions of each subscriber, to destinations that follow each other.
    pub subscriptions: u32,
    /// Publishers of other processes; their numbers follow those of ours.
    pub strangers: u32,
    /// Destinations; 1 unless [`Workload::Many`], [`Workload::Echo`] or [`Workload::Queue`].
    pub destinations: u32,
    /// Their names begin with this; the number follows unless there is one only.
    pub destination: String,
    /// Or all their names.
    pub names: Option<Names>,
    /// Exponent of the popularity of destinations; 0 is the same for all.
    pub zipf: f64,
    /// How consumers of queues acknowledge.
    pub ack: AckMode,
    /// `prefetch-count` of their subscriptions; 0 leaves it to the server.
    pub prefetch: u32,
    /// Messages that a publisher sends to one queue before it turns to the next.
    pub burst: u32,
    /// How fast is published.
    pub rate: Rate,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Connections begun a second; 0 is as fast as they succeed.
    pub ramp_per_second: f64,
    /// Connections that may be in the making at a time.
    pub in_flight: u32,
    /// How long all connections stay before anything else happens.
    pub hold: Duration,
    /// Share of the connections replaced per second while they are held.
    pub churn_per_second: f64,
    /// Does a subscriber ask for a receipt of its SUBSCRIBE? Needed where every message counts.
    pub with_receipts: bool,
    /// How often a share of all connections is dropped and comes back.
    pub storms: u32,
    /// That share.
    pub storm_share: f64,
    /// Share of the subscribers that stop reading.
    pub stalled_share: f64,
    /// Published before what is measured.
    pub warmup: Duration,
    /// Published and measured.
    pub duration: Duration,
    /// Silence after which missing deliveries are given up.
    pub settle: Duration,
    /// Addresses to connect from; empty leaves it to the system.
    pub sources: Vec<IpAddr>,
    /// Choices that vary are drawn from this.
    pub seed: u64,
    /// Time from storm to storm while connections are held; zero is none.
    pub storm_every: Duration,
    /// Threads.
    pub threads: usize,
    /// The core of the first.
    pub first_core: usize,
    /// epoll instead of io_uring.
    pub is_epoll: bool,
    /// The server's process.
    pub pid: Option<u32>,
}

impl Plan {
    /// A run that connects nobody; to be filled in.
    pub fn new(target: Target) -> Plan {
        Plan {
            target,
            protocol: Protocol::Stomp,
            version: "1.2".into(),
            login: None,
            heart_beat_ms: 0,
            workload: Workload::Idle,
            subscribers: 0,
            publishers: 0,
            subscriptions: 1,
            strangers: 0,
            destinations: 1,
            destination: "/topic/bench".into(),
            names: None,
            zipf: 0.0,
            ack: AckMode::Auto,
            prefetch: 0,
            burst: 1,
            rate: Rate::PerSecond(0.0),
            body_bytes: 100,
            ramp_per_second: 0.0,
            in_flight: 256,
            hold: Duration::ZERO,
            churn_per_second: 0.0,
            with_receipts: true,
            storms: 0,
            storm_share: 1.0,
            stalled_share: 0.0,
            warmup: Duration::ZERO,
            duration: Duration::ZERO,
            settle: Duration::from_secs(3),
            sources: Vec::new(),
            seed: 1,
            storm_every: Duration::ZERO,
            threads: 1,
            first_core: 0,
            is_epoll: false,
            pid: None,
        }
    }

    /// Number of connections.
    pub fn connections(&self) -> u32 {
        self.subscribers + self.publisher_connections()
    }

    /// Connections that publish only.
    pub fn publisher_connections(&self) -> u32 {
        if self.workload == Workload::Echo {
            0
        } else {
            self.publishers
        }
    }

    /// Sockets of a connection: one for each direction if it is by HTTP.
    pub fn sockets_per_connection(&self) -> u32 {
        1 + u32::from(self.target.transport.is_http())
    }

    /// Streams that arrive at one subscriber.
    pub fn streams_per_subscriber(&self) -> usize {
        match self.workload {
            Workload::Idle => 0,
            Workload::Fanout => (self.publishers + self.strangers) as usize,
            Workload::Many | Workload::Queue => self.subscriptions as usize,
            Workload::Echo => 1,
        }
    }

    /// Destination of one of a subscriber's subscriptions.
    pub fn destination_of(&self, subscriber: u32, subscription: u32) -> u32 {
        let place = u64::from(subscriber) * u64::from(self.subscriptions) + u64::from(subscription);
        (place % u64::from(self.destinations)) as u32
    }

    /// Which of a subscriber's subscriptions a destination belongs to, if any.
    pub fn subscription_of(&self, subscriber: u32, destination: u32) -> Option<u32> {
        let first = self.destination_of(subscriber, 0);
        let distance = (destination + self.destinations).checked_sub(first)? % self.destinations;
        (destination < self.destinations && distance < self.subscriptions).then_some(distance)
    }

    /// Does this subscriber stop reading?
    pub fn is_stalled(&self, subscriber: u32) -> bool {
        // Spread evenly: those at which the rounded-down multiple of the share grows.
        let before = (f64::from(subscriber) * self.stalled_share).floor();
        (f64::from(subscriber + 1) * self.stalled_share).floor() > before
    }

    /// Subscribers of worker `worker` that read.
    pub fn readers_of_worker(&self, worker: usize) -> u32 {
        let seats = (worker as u32..self.subscribers).step_by(self.threads);
        seats.filter(|&number| !self.is_stalled(number)).count() as u32
    }

    /// Deliveries that a message to each destination must cause: to all subscriptions whose
    /// subscribers read, or to one consumer of a queue.
    pub fn readers(&self) -> Vec<u64> {
        if self.workload == Workload::Queue {
            return vec![1; self.destinations as usize];
        }
        let mut readers = vec![0; self.destinations as usize];
        for subscriber in (0..self.subscribers).filter(|&number| !self.is_stalled(number)) {
            for subscription in 0..self.subscriptions {
                readers[self.destination_of(subscriber, subscription) as usize] += 1;
            }
        }
        readers
    }

    /// Takes what `--destinations` says.
    pub fn set_destinations(&mut self, destinations: &Destinations) {
        match destinations {
            Destinations::Count(count) => self.destinations = *count,
            Destinations::Names(names) => {
                self.destinations = names.count();
                self.names = Some(names.clone());
            }
        }
    }

    /// Name of a destination.
    pub fn destination_name(&self, destination: u32) -> String {
        if let Some(names) = &self.names {
            return names.name(destination);
        }
        if self.destinations == 1 {
            return self.destination.clone();
        }
        format!("{}.{destination}", self.destination)
    }

    /// Address and port that connection `number` comes from.
    pub fn source(&self, number: u32) -> Option<SocketAddr> {
        /// Ports that a connection may come from.
        const PORTS: (u32, u32) = (2_000, 62_000);
        let count = self.sources.len() as u32;
        let address = *self.sources.get((number % count.max(1)) as usize)?;
        let offset = (number / count).wrapping_add(self.seed as u32 % 50_000);
        let mut port = PORTS.0 + offset % (PORTS.1 - PORTS.0);
        if port == u32::from(self.target.address.port()) {
            port = PORTS.1;
        }
        Some(SocketAddr::new(address, port as u16))
    }

    /// Checks what no option can alone.
    ///
    /// # Errors
    /// What contradicts itself, with what to change.
    pub fn check(&self) -> Result<(), String> {
        use crate::stamp::STAMP_BYTES;
        if self.body_bytes < STAMP_BYTES {
            let seen = self.body_bytes;
            return Err(format!("seen size {seen}, the stamp needs {STAMP_BYTES}: raise --size"));
        }
        self.check_protocol()?;
        let is_publishing = self.workload != Workload::Idle;
        if is_publishing && self.publishers + self.strangers == 0 {
            return Err("seen no publisher: raise --publishers".into());
        }
        if self.workload == Workload::Echo && self.destinations < self.subscribers {
            let (seen, limit) = (self.destinations, self.subscribers);
            return Err(format!("seen {seen} destinations for {limit} echoes: each has its own"));
        }
        if self.strangers > 0 && self.workload != Workload::Fanout {
            return Err("seen strangers and several destinations: each has one publisher".into());
        }
        if self.subscriptions == 0 || self.subscriptions > self.destinations {
            let (seen, limit) = (self.subscriptions, self.destinations);
            return Err(format!(
                "seen {seen} subscriptions for {limit} destinations: give 1 to all"
            ));
        }
        let is_many = matches!(self.workload, Workload::Many | Workload::Queue);
        if is_many && self.publishers > self.destinations {
            return Err("seen more publishers than destinations: each destination has one".into());
        }
        let places = u64::from(self.subscribers) * u64::from(self.subscriptions);
        if self.workload == Workload::Queue && places < u64::from(self.destinations) {
            return Err("seen queues without a consumer: raise --connections".into());
        }
        if let Rate::PerSecond(rate) = self.rate {
            if is_publishing && rate <= 0.0 {
                return Err("seen publish rate 0: write a number, or max".into());
            }
        }
        if self.storms > 0 && f64::from(self.subscribers) * self.storm_share < 1.0 {
            return Err("seen a storm without connections: raise --connections or the share".into());
        }
        if self.connections() == 0 {
            return Err("seen no connection: raise --connections".into());
        }
        Ok(())
    }

    /// What not every protocol can do.
    fn check_protocol(&self) -> Result<(), String> {
        let transport = self.target.transport;
        let is_tcp = transport == Transport::Tcp;
        let refused = match (self.protocol, self.workload) {
            (Protocol::WebSocket, _) if is_tcp && self.publishers > 0 => {
                "a tcp url: bodies need WebSocket frames"
            }
            (Protocol::WebSocket, Workload::Many | Workload::Queue) => {
                "destinations: use fanout or echo"
            }
            (Protocol::Nats | Protocol::Mqtt, _) if transport.is_sockjs() => {
                "an http url: SockJS carries text; write ws or tcp"
            }
            (Protocol::Nats | Protocol::Mqtt, Workload::Queue) => "queues: use stomp",
            _ => return Ok(()),
        };
        Err(format!("seen --protocol {} with {refused}", self.protocol.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::new(Target::parse("ws://127.0.0.1:8080/stomp").unwrap())
    }

    #[test]
    fn urls_are_read() {
        let target = plan().target;
        assert_eq!((target.path.as_str(), target.transport), ("/stomp", Transport::WebSocket));
        assert_eq!(target.host, "127.0.0.1:8080");
        assert_eq!(Target::parse("ws://127.0.0.1:1").unwrap().path, "/ws");
        assert_eq!(Target::parse("tcp://127.0.0.1:1").unwrap().transport, Transport::Tcp);
        let sockjs = Target::parse("http://127.0.0.1:1").unwrap();
        assert_eq!((sockjs.path.as_str(), sockjs.transport.is_sockjs()), ("/sockjs", true));
        assert_eq!(sockjs.by(Transport::XhrPolling).unwrap().transport, Transport::XhrPolling);
        assert!(plan().target.by(Transport::XhrPolling).is_err());
        for bad in ["127.0.0.1:1", "wss://127.0.0.1:1", "ws://127.0.0.1"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stalled_subscribers_are_the_share_that_was_asked_for() {
        let mut plan = plan();
        plan.subscribers = 1000;
        plan.stalled_share = 0.05;
        assert_eq!((0..1000).filter(|&number| plan.is_stalled(number)).count(), 50);
        assert_eq!(plan.readers(), [950]);
    }

    #[test]
    fn subscriptions_and_destinations_find_each_other() {
        let mut plan = plan();
        (plan.subscribers, plan.destinations, plan.subscriptions) = (103, 10, 3);
        let readers = plan.readers();
        assert_eq!(readers.iter().sum::<u64>(), 309);
        for subscriber in 0..103 {
            let mut own: Vec<u32> = (0..3).map(|k| plan.destination_of(subscriber, k)).collect();
            for (k, &destination) in (0..3).zip(&own) {
                assert_eq!(plan.subscription_of(subscriber, destination), Some(k));
            }
            own.sort_unstable();
            let others = (0..11).filter(|destination| !own.contains(destination));
            for other in others {
                assert_eq!(plan.subscription_of(subscriber, other), None);
            }
        }
    }

    #[test]
    fn sources_differ_and_avoid_the_servers_port() {
        let mut plan = plan();
        assert_eq!(plan.source(5), None);
        plan.sources = vec!["127.1.0.1".parse().unwrap(), "127.1.0.2".parse().unwrap()];
        let mut seen: Vec<_> = (0..100_000).filter_map(|number| plan.source(number)).collect();
        assert!(seen.iter().all(|source| source.port() != 8080));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 100_000);
    }

    #[test]
    fn contradictions_are_refused() {
        let mut plan = plan();
        assert!(plan.check().is_err(), "no connection");
        plan.subscribers = 1;
        assert!(plan.check().is_ok());
        plan.body_bytes = 10;
        assert!(plan.check().unwrap_err().contains("--size"));
        plan.body_bytes = 100;
        (plan.workload, plan.publishers, plan.destinations) = (Workload::Echo, 1, 0);
        assert!(plan.check().unwrap_err().contains("echoes"));
        (plan.publishers, plan.destinations) = (0, 1);
        plan.workload = Workload::Fanout;
        assert!(plan.check().unwrap_err().contains("--publishers"));
        plan.publishers = 1;
        assert!(plan.check().unwrap_err().contains("rate"));
    }

    #[test]
    fn sockjs_carries_stomp_or_bare_messages() {
        let mut plan = Plan::new(Target::parse("http://127.0.0.1:1").unwrap());
        plan.subscribers = 1;
        for (_, transport) in Transport::SOCKJS {
            plan.target.transport = transport;
            for (protocol, is_allowed) in [
                (Protocol::Stomp, true),
                (Protocol::WebSocket, true),
                (Protocol::Nats, false),
                (Protocol::Mqtt, false),
            ] {
                plan.protocol = protocol;
                assert_eq!(plan.check().is_ok(), is_allowed, "{protocol:?} {transport:?}");
            }
        }
    }
}
