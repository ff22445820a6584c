//! Counters of a shard, and what a scrape makes of them.
//!
//! A shard alone writes its [`ShardMetrics`], with relaxed loads and stores: no locked
//! instruction, no line shared with another writer. The admin task reads them all and sums; a
//! scrape is therefore not a snapshot of one instant, and each value only ever lags.
//!
//! [`render`] writes the text format that Prometheus and OpenMetrics share, prefix `stompede_`,
//! base units, counters ending in `_total`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{text, DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use stompede_core::broker::queue::Death;
use stompede_core::stomp::error::Blame;
use stompede_core::ws::close::code;
use stompede_core::{sockjs, stomp, ws};

/// Value of `Content-Type` for the text of [`render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Labels of what a message of a queue died of, in the order of [`Death`].
pub(crate) const DEATHS: [&str; 4] = ["expired", "rejected", "overflow", "deliveries"];

/// Reasons of an end that are told apart; later ones count as `other`.
pub const REASONS_COUNT_MAX: usize = 64;

/// One number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one. Only for the owning shard, as all that write.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    /// Takes `n` away, of a gauge; stays at zero.
    pub fn sub(&self, n: u64) {
        self.set(self.get().saturating_sub(n));
    }

    /// Sets a gauge, or a counter that something else counts.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Its value. For every thread.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A label: its values in the order of the variants.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant),+
        }

        impl $name {
            /// Its values as labels, by index.
            pub const NAMES: &'static [&'static str] = &[$($text),+];
            const COUNT: usize = Self::NAMES.len();
        }
    };
}

label!(
    /// Command of a frame from a client, in the order of STOMP 1.2's grammar.
    FrameIn {
        Send = "SEND", Subscribe = "SUBSCRIBE", Unsubscribe = "UNSUBSCRIBE", Begin = "BEGIN",
        Commit = "COMMIT", Abort = "ABORT", Ack = "ACK", Nack = "NACK",
        Disconnect = "DISCONNECT", Connect = "CONNECT", Stomp = "STOMP", Other = "other",
    }
);
label!(
    /// Command of a frame to a client.
    FrameOut {
        Connected = "CONNECTED", Message = "MESSAGE", Receipt = "RECEIPT", Error = "ERROR",
    }
);
label!(
    /// Protocol that an error broke.
    Protocol { Ws = "ws", Http = "http", SockJs = "sockjs", Stomp = "stomp" }
);
label!(
    /// What kind of error it was.
    ErrorKind {
        Malformed = "malformed", Limit = "limit", State = "state", Unsupported = "unsupported",
        Encoding = "encoding",
    }
);
impl ErrorKind {
    /// The kind of a STOMP error; `None` if nobody broke the protocol.
    pub fn of_stomp(error: &stomp::error::Error) -> Option<ErrorKind> {
        match error.blame() {
            Blame::Malformed => Some(ErrorKind::Malformed),
            Blame::Encoding => Some(ErrorKind::Encoding),
            Blame::Misplaced => Some(ErrorKind::State),
            Blame::Unsupported => Some(ErrorKind::Unsupported),
            Blame::Limit => Some(ErrorKind::Limit),
            // Log-ins are counted on their own.
            Blame::Identity | Blame::Nobody => None,
        }
    }

    /// The kind of a SockJS refusal; `None` if nobody broke the protocol.
    pub fn of_sockjs(error: sockjs::error::Error) -> Option<ErrorKind> {
        use sockjs::error::Error as E;
        match error {
            E::NotWebSocket | E::PayloadExpected | E::BrokenJson => Some(ErrorKind::Malformed),
            E::CallbackMissing | E::CallbackInvalid => Some(ErrorKind::Malformed),
            E::PayloadTooLarge { .. } | E::TooManyMessages { .. } => Some(ErrorKind::Limit),
            E::QueueFull { .. } | E::TooManySessions => Some(ErrorKind::Limit),
            E::SessionUnknown => Some(ErrorKind::State),
            E::PageNotFound | E::BinaryMessage => Some(ErrorKind::Unsupported),
            E::Internal => None,
        }
    }

    /// The kind of a WebSocket error.
    pub fn of_ws(error: &ws::error::Error) -> ErrorKind {
        match error.close_code() {
            code::INVALID_PAYLOAD => ErrorKind::Encoding,
            code::POLICY | code::TOO_BIG => ErrorKind::Limit,
            _ => ErrorKind::Malformed,
        }
    }
}

label!(
    /// Where a log-in came from.
    AuthMethod { Connect = "connect", Basic = "basic" }
);
label!(
    /// What became of a log-in.
    AuthResult { Accepted = "accepted", Refused = "refused", Limited = "limited", Busy = "busy" }
);

/// What one shard counts. Aligned so that no two shards write one pair of cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardMetrics {
    /// Connections that are open (gauge).
    pub connections: Counter,
    /// Connections accepted.
    pub connections_opened: Counter,
    /// Bytes read from clients.
    pub bytes_received: Counter,
    /// Bytes handed to the kernel for clients.
    pub bytes_sent: Counter,
    /// SEND frames that became a publication.
    pub messages_published: Counter,
    /// MESSAGE frames put into a client's outbound.
    pub messages_delivered: Counter,
    /// Messages for a user or a requester who is not there.
    pub messages_undeliverable: Counter,
    /// Frames that the rules of authorization do not allow.
    pub denied: Counter,
    /// SockJS sessions over HTTP whose home is here, remembered ones included (gauge).
    pub sockjs_sessions: Counter,
    /// Bytes that wait for their clients (gauge).
    pub sockjs_waiting_bytes: Counter,
    /// SockJS sessions over HTTP that began.
    pub sockjs_sessions_opened: Counter,
    /// SockJS sessions that there was no room for.
    pub sockjs_sessions_refused: Counter,
    /// Messages of SockJS clients, by any transport.
    pub sockjs_messages_received: Counter,
    /// Words to the home of a session that was this shard.
    pub sockjs_calls_local: Counter,
    /// Words to the home of a session that was another shard.
    pub sockjs_calls_forwarded: Counter,
    /// Subscriptions there are (gauge).
    pub subscriptions: Counter,
    /// Bytes that wait for clients (gauge).
    pub outbound_bytes: Counter,
    /// Bytes of messages from clients that are not whole yet (gauge).
    pub input_bytes: Counter,
    /// Clients ended or thinned out because they did not keep up.
    pub slow_consumers: Counter,
    /// Deliveries given up for newer ones, by a slow-consumer policy.
    pub messages_missed: Counter,
    /// SUBSCRIBEs that recovered all they had missed.
    pub recoveries: Counter,
    /// SUBSCRIBEs that could not.
    pub recoveries_refused: Counter,
    /// Bytes of the histories kept here (gauge).
    pub history_bytes: Counter,
    /// Errors of mappings of application destinations.
    pub app_errors: Counter,
    /// WebSocket handshakes that succeeded.
    pub handshakes: Counter,
    /// Clients ended because their heart-beat stayed away.
    pub heartbeats_missed: Counter,
    /// Publications compressed, each time for one window and version.
    pub compressions: Counter,
    /// Messages given to handlers.
    pub handler_messages_received: Counter,
    /// Messages that handlers sent.
    pub handler_messages_sent: Counter,
    /// Callbacks of handlers that panicked.
    pub handler_panics: Counter,
    /// Panics of our own; each ended a connection.
    pub panics: Counter,
    /// Errors of accept.
    pub accept_errors: Counter,
    /// Times that a mesh ring to another shard was full.
    pub mesh_full: Counter,
    /// Messages to other shards that wait because a ring is full (gauge).
    pub mesh_overflow: Counter,
    /// Completions that the kernel had to keep because the completion queue was full.
    pub uring_cq_overflow: Counter,
    /// Turns of the shard's loop.
    pub loop_turns: Counter,
    /// Bytes of the send arena's chunks (gauge).
    pub arena_bytes: Counter,
    /// Queues there are (gauge).
    pub queues: Counter,
    /// Messages that wait in queues (gauge).
    pub queue_messages: Counter,
    /// Messages of queues that were delivered and are not settled (gauge).
    pub queue_unsettled: Counter,
    /// Consumers of queues (gauge).
    pub queue_consumers: Counter,
    /// Bytes that queues hold (gauge).
    pub queue_bytes: Counter,
    /// SENDs that a full queue refused.
    pub queue_refused: Counter,
    /// Deliveries of messages that were delivered before.
    pub messages_redelivered: Counter,
    dead_letters: [Counter; DEATHS.len()],
    closed: [Counter; REASONS_COUNT_MAX],
    frames_received: [Counter; FrameIn::COUNT],
    frames_sent: [Counter; FrameOut::COUNT],
    protocol_errors: [[Counter; ErrorKind::COUNT]; Protocol::COUNT],
    auth: [[Counter; AuthResult::COUNT]; AuthMethod::COUNT],
}

impl Default for ShardMetrics {
    fn default() -> ShardMetrics {
        ShardMetrics {
            connections: Counter::default(),
            connections_opened: Counter::default(),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
            messages_published: Counter::default(),
            messages_delivered: Counter::default(),
            messages_undeliverable: Counter::default(),
            denied: Counter::default(),
            sockjs_sessions: Counter::default(),
            sockjs_waiting_bytes: Counter::default(),
            sockjs_sessions_opened: Counter::default(),
            sockjs_sessions_refused: Counter::default(),
            sockjs_messages_received: Counter::default(),
            sockjs_calls_local: Counter::default(),
            sockjs_calls_forwarded: Counter::default(),
            subscriptions: Counter::default(),
            outbound_bytes: Counter::default(),
            input_bytes: Counter::default(),
            slow_consumers: Counter::default(),
            messages_missed: Counter::default(),
            app_errors: Counter::default(),
            recoveries: Counter::default(),
            recoveries_refused: Counter::default(),
            history_bytes: Counter::default(),
            handshakes: Counter::default(),
            heartbeats_missed: Counter::default(),
            compressions: Counter::default(),
            handler_messages_received: Counter::default(),
            handler_messages_sent: Counter::default(),
            handler_panics: Counter::default(),
            panics: Counter::default(),
            accept_errors: Counter::default(),
            mesh_full: Counter::default(),
            mesh_overflow: Counter::default(),
            uring_cq_overflow: Counter::default(),
            loop_turns: Counter::default(),
            arena_bytes: Counter::default(),
            queues: Counter::default(),
            queue_messages: Counter::default(),
            queue_unsettled: Counter::default(),
            queue_consumers: Counter::default(),
            queue_bytes: Counter::default(),
            queue_refused: Counter::default(),
            messages_redelivered: Counter::default(),
            dead_letters: Default::default(),
            closed: std::array::from_fn(|_| Counter::default()),
            frames_received: Default::default(),
            frames_sent: Default::default(),
            protocol_errors: Default::default(),
            auth: Default::default(),
        }
    }
}

impl ShardMetrics {
    /// All at zero.
    pub fn new() -> ShardMetrics {
        ShardMetrics::default()
    }

    /// Bytes held for clients: what waits for them, and what they have not finished.
    pub fn held_bytes(&self) -> u64 {
        self.outbound_bytes.get() + self.sockjs_waiting_bytes.get() + self.input_bytes.get()
    }

    /// Counts a connection accepted.
    pub fn opened(&self) {
        self.connections.inc();
        self.connections_opened.inc();
    }

    /// Counts a connection ended for the reason of that index.
    pub fn closed(&self, reason_index: usize) {
        self.connections.sub(1);
        self.closed[reason_index.min(REASONS_COUNT_MAX - 1)].inc();
    }

    /// Connections ended for the reason of that index.
    pub fn closed_count(&self, reason_index: usize) -> u64 {
        self.closed[reason_index.min(REASONS_COUNT_MAX - 1)].get()
    }

    /// Counts a frame from a client.
    pub fn frame_received(&self, command: FrameIn) {
        self.frames_received[command as usize].inc();
    }

    /// Counts `n` frames to clients.
    pub fn frames_sent(&self, command: FrameOut, n: u64) {
        self.frames_sent[command as usize].add(n);
    }

    /// Counts a peer's error.
    pub fn protocol_error(&self, protocol: Protocol, kind: ErrorKind) {
        self.protocol_errors[protocol as usize][kind as usize].inc();
    }

    /// Counts a message of a queue that died.
    pub fn dead_letters(&self, death: Death) {
        self.dead_letters[death as usize].inc();
    }

    /// Counts a log-in.
    pub fn auth(&self, method: AuthMethod, result: AuthResult) {
        self.auth[method as usize][result as usize].inc();
    }

    /// Log-ins that were counted.
    pub fn auth_count(&self, method: AuthMethod, result: AuthResult) -> u64 {
        self.auth[method as usize][result as usize].get()
    }
}

/// What is running, as `stompede_build_info`. Without quotes, backslashes and line ends: labels
/// are written as they are, so nothing of a peer's may become one.
#[derive(Clone, Debug)]
pub struct BuildInfo {
    /// Version of the package.
    pub version: String,
    /// `uring` or `epoll`.
    pub driver: String,
}

/// All metrics as text, each the sum over shards. `reasons` names the indices of
/// [`ShardMetrics::closed`]; an index without a name counts as `other`.
pub fn render(shards: &[Arc<ShardMetrics>], reasons: &[&str], build: &BuildInfo) -> String {
    let scrape = Scrape {
        shards: shards.to_vec(),
        reasons: reasons
            .iter()
            .take(REASONS_COUNT_MAX)
            .map(std::string::ToString::to_string)
            .collect(),
        build: build.clone(),
    };
    let mut registry = Registry::with_prefix("stompede");
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = text::encode(&mut text, &registry);
    text
}

/// Name without prefix and `_total`, help, and where it is.
type Single = (&'static str, &'static str, fn(&ShardMetrics) -> &Counter);

const GAUGES: [Single; 14] = [
    ("connections", "Connections that are open", |s| &s.connections),
    ("subscriptions", "Subscriptions there are", |s| &s.subscriptions),
    ("outbound_bytes", "Bytes that wait for clients", |s| &s.outbound_bytes),
    ("input_bytes", "Bytes of unfinished messages from clients", |s| &s.input_bytes),
    ("sockjs_sessions", "SockJS sessions over HTTP", |s| &s.sockjs_sessions),
    ("sockjs_waiting_bytes", "Bytes that wait in SockJS sessions", |s| &s.sockjs_waiting_bytes),
    ("arena_bytes", "Bytes of the send arenas", |s| &s.arena_bytes),
    ("mesh_overflow", "Messages between shards that wait for room", |s| &s.mesh_overflow),
    ("history_bytes", "Bytes of the histories of topics", |s| &s.history_bytes),
    ("queues", "Queues there are", |s| &s.queues),
    ("queue_messages", "Messages that wait in queues", |s| &s.queue_messages),
    ("queue_unsettled", "Deliveries of queues without ACK or NACK", |s| &s.queue_unsettled),
    ("queue_consumers", "Consumers of queues", |s| &s.queue_consumers),
    ("queue_bytes", "Bytes that queues hold", |s| &s.queue_bytes),
];

const COUNTERS: [Single; 30] = [
    ("connections_opened", "Connections accepted", |s| &s.connections_opened),
    ("bytes_received", "Bytes read from clients", |s| &s.bytes_received),
    ("bytes_sent", "Bytes handed to the kernel for clients", |s| &s.bytes_sent),
    ("messages_published", "SEND frames that became a publication", |s| &s.messages_published),
    ("messages_delivered", "MESSAGE frames queued for a client", |s| &s.messages_delivered),
    ("messages_undeliverable", "Messages for a user or a requester who is not there", |s| {
        &s.messages_undeliverable
    }),
    ("denied", "Frames that the rules of authorization do not allow", |s| &s.denied),
    ("messages_redelivered", "Deliveries that were not the first", |s| &s.messages_redelivered),
    ("queue_refused", "SENDs that a full queue refused", |s| &s.queue_refused),
    ("slow_consumers", "Clients that did not keep up", |s| &s.slow_consumers),
    ("messages_missed", "Deliveries given up for newer ones", |s| &s.messages_missed),
    ("recoveries", "SUBSCRIBEs that recovered all they had missed", |s| &s.recoveries),
    ("recoveries_refused", "SUBSCRIBEs that could not", |s| &s.recoveries_refused),
    ("app_errors", "Errors of mappings of /app", |s| &s.app_errors),
    ("handshakes", "WebSocket handshakes that succeeded", |s| &s.handshakes),
    ("heartbeats_missed", "Clients whose heart-beat stayed away", |s| &s.heartbeats_missed),
    ("compressions", "Publications compressed", |s| &s.compressions),
    ("sockjs_sessions_opened", "SockJS sessions begun", |s| &s.sockjs_sessions_opened),
    ("sockjs_sessions_refused", "SockJS sessions too many", |s| &s.sockjs_sessions_refused),
    ("sockjs_messages_received", "Messages of SockJS clients", |s| &s.sockjs_messages_received),
    ("sockjs_calls_local", "SockJS calls to a home on the shard", |s| &s.sockjs_calls_local),
    ("sockjs_calls_forwarded", "SockJS calls by the mesh", |s| &s.sockjs_calls_forwarded),
    ("handler_messages_received", "Messages given to handlers", |s| &s.handler_messages_received),
    ("handler_messages_sent", "Messages that handlers sent", |s| &s.handler_messages_sent),
    ("handler_panics", "Callbacks of handlers that panicked", |s| &s.handler_panics),
    ("panics", "Panics of the server's own, each of which ended a connection", |s| &s.panics),
    ("accept_errors", "Errors of accept", |s| &s.accept_errors),
    ("mesh_full", "Times a ring between shards was full", |s| &s.mesh_full),
    ("uring_cq_overflow", "Completions the ring had no room for", |s| &s.uring_cq_overflow),
    ("loop_turns", "Turns of the shards' loops", |s| &s.loop_turns),
];

#[derive(Debug)]
struct Scrape {
    shards: Vec<Arc<ShardMetrics>>,
    reasons: Vec<String>,
    build: BuildInfo,
}

impl Scrape {
    fn sum<'a>(&'a self, of: impl Fn(&'a ShardMetrics) -> &'a Counter) -> u64 {
        self.shards.iter().map(|shard| of(shard).get()).fold(0, u64::wrapping_add)
    }

    fn closed(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family =
            encoder.encode_descriptor("connections_closed", "Connections ended", None, COUNTER)?;
        for (index, reason) in self.reasons.iter().enumerate() {
            let count = self.sum(|shard| &shard.closed[index]);
            counter(&mut family, &[("reason", reason)], count)?;
        }
        let rest = self.reasons.len()..REASONS_COUNT_MAX;
        let other = rest.map(|index| self.sum(|shard| &shard.closed[index])).sum();
        // A series of that name may be there already, and must not be there twice.
        if other > 0 && !self.reasons.iter().any(|reason| reason == "other") {
            counter(&mut family, &[("reason", "other")], other)?;
        }
        Ok(())
    }

    fn frames(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Frames from clients";
        let mut family = encoder.encode_descriptor("frames_received", help, None, COUNTER)?;
        for (index, command) in FrameIn::NAMES.iter().enumerate() {
            let count = self.sum(|shard| &shard.frames_received[index]);
            counter(&mut family, &[("command", command)], count)?;
        }
        let help = "Frames to clients";
        let mut family = encoder.encode_descriptor("frames_sent", help, None, COUNTER)?;
        for (index, command) in FrameOut::NAMES.iter().enumerate() {
            let count = self.sum(|shard| &shard.frames_sent[index]);
            counter(&mut family, &[("command", command)], count)?;
        }
        Ok(())
    }

    fn dead(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Messages that died in a queue";
        let mut family = encoder.encode_descriptor("dead_letters", help, None, COUNTER)?;
        for (index, death) in DEATHS.iter().enumerate() {
            let count = self.sum(|shard| &shard.dead_letters[index]);
            counter(&mut family, &[("reason", death)], count)?;
        }
        Ok(())
    }

    fn errors_and_auth(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Errors of peers";
        let mut family = encoder.encode_descriptor("protocol_errors", help, None, COUNTER)?;
        for (p, protocol) in Protocol::NAMES.iter().enumerate() {
            for (k, kind) in ErrorKind::NAMES.iter().enumerate() {
                let count = self.sum(|shard| &shard.protocol_errors[p][k]);
                counter(&mut family, &[("protocol", protocol), ("kind", kind)], count)?;
            }
        }
        let mut family = encoder.encode_descriptor("auth", "Log-ins", None, COUNTER)?;
        for (m, method) in AuthMethod::NAMES.iter().enumerate() {
            for (r, result) in AuthResult::NAMES.iter().enumerate() {
                let count = self.sum(|shard| &shard.auth[m][r]);
                counter(&mut family, &[("method", method), ("result", result)], count)?;
            }
        }
        Ok(())
    }
}

const COUNTER: MetricType = MetricType::Counter;

fn counter(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], count: u64) -> fmt::Result {
    ConstCounter::new(count).encode(family.encode_family(&labels)?)
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let build =
            [("version", self.build.version.as_str()), ("driver", self.build.driver.as_str())];
        let help = "What is running";
        let mut info = encoder.encode_descriptor("build_info", help, None, MetricType::Gauge)?;
        ConstGauge::new(1_i64).encode(info.encode_family(&build)?)?;
        let help = "Shards that serve clients";
        let metric = encoder.encode_descriptor("shards", help, None, MetricType::Gauge)?;
        ConstGauge::new(gauge(self.shards.len() as u64)).encode(metric)?;
        for (name, help, of) in GAUGES {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(gauge(self.sum(of))).encode(metric)?;
        }
        for (name, help, of) in COUNTERS {
            let metric = encoder.encode_descriptor(name, help, None, COUNTER)?;
            ConstCounter::new(self.sum(of)).encode(metric)?;
        }
        self.closed(&mut encoder)?;
        self.frames(&mut encoder)?;
        self.dead(&mut encoder)?;
        self.errors_and_auth(&mut encoder)
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A reader of the text format: series with labels, and its value.
    fn scrape(text: &str) -> BTreeMap<String, u64> {
        let mut types = BTreeMap::new();
        let mut series = BTreeMap::new();
        assert!(text.ends_with("# EOF\n"), "{text}");
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("name and type");
                assert!(types.insert(name, kind).is_none(), "{name} has two types");
            } else if line.strip_prefix("# HELP ").is_none() {
                let (name, value) = line.rsplit_once(' ').expect("name and value");
                let base = name.split('{').next().expect("a name");
                assert!(base.starts_with("stompede_"), "{line}");
                let family = base.strip_suffix("_total").unwrap_or(base);
                let kind = if family == base { "gauge" } else { "counter" };
                assert_eq!(types.get(family), Some(&kind), "{line}");
                let value = value.parse().expect("a whole number");
                assert!(series.insert(name.to_owned(), value).is_none(), "{name} twice");
            }
        }
        series
    }

    fn build() -> BuildInfo {
        BuildInfo { version: "1.2.3".into(), driver: "uring".into() }
    }

    #[test]
    fn shards_are_summed() {
        let shards = [Arc::new(ShardMetrics::new()), Arc::new(ShardMetrics::new())];
        for shard in &shards {
            shard.opened();
            shard.opened();
            shard.closed(1);
            shard.frame_received(FrameIn::Subscribe);
            shard.frames_sent(FrameOut::Message, 40);
            shard.bytes_sent.add(1_000);
            shard.protocol_error(Protocol::Ws, ErrorKind::Limit);
            shard.auth(AuthMethod::Basic, AuthResult::Refused);
        }
        let text = render(&shards, &["peer", "slow"], &build());
        let series = scrape(&text);
        for (name, value) in [
            ("stompede_shards", 2),
            ("stompede_connections", 2),
            ("stompede_connections_opened_total", 4),
            ("stompede_connections_closed_total{reason=\"slow\"}", 2),
            ("stompede_connections_closed_total{reason=\"peer\"}", 0),
            ("stompede_frames_received_total{command=\"SUBSCRIBE\"}", 2),
            ("stompede_frames_sent_total{command=\"MESSAGE\"}", 80),
            ("stompede_bytes_sent_total", 2_000),
            ("stompede_protocol_errors_total{protocol=\"ws\",kind=\"limit\"}", 2),
            ("stompede_auth_total{method=\"basic\",result=\"refused\"}", 2),
            ("stompede_build_info{version=\"1.2.3\",driver=\"uring\"}", 1),
        ] {
            assert_eq!(series.get(name), Some(&value), "{name} in {text}");
        }
    }

    #[test]
    fn every_single_counter_is_rendered_once() {
        let series = scrape(&render(&[], &[], &build()));
        for (name, ..) in COUNTERS {
            assert_eq!(series.get(&format!("stompede_{name}_total")), Some(&0), "{name}");
        }
        for (name, ..) in GAUGES {
            assert_eq!(series.get(&format!("stompede_{name}")), Some(&0), "{name}");
        }
    }

    #[test]
    fn a_reason_without_a_name_is_other() {
        let shard = Arc::new(ShardMetrics::new());
        shard.closed(5);
        shard.closed(usize::MAX);
        let series = scrape(&render(std::slice::from_ref(&shard), &["peer"], &build()));
        assert_eq!(series["stompede_connections_closed_total{reason=\"other\"}"], 2);
        assert_eq!(shard.connections.get(), 0, "a gauge does not go below zero");
    }

    #[test]
    fn shards_share_no_cache_line() {
        assert_eq!(std::mem::align_of::<ShardMetrics>(), 128);
        assert_eq!(std::mem::size_of::<ShardMetrics>() % 128, 0);
    }
}
