//! The configuration: what it holds, and how it comes about.
//!
//! An option is given by flag, by an environment variable `STOMPEDE_*` or in a TOML file
//! (`--config FILE`), and the first of these that has it wins. A repeatable option is a list: flags
//! first, then environment, then file. All three, and everything written about options, come from
//! the table in [`options`]. Weaker values are checked as well: a mistake in the file is not hidden
//! by a flag.
//!
//! [`parse`] takes arguments and environment as iterators, so that tests need neither.

pub mod choice;
mod error;
pub mod options;
mod sockjs;
mod sources;
pub mod value;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stompede_core::broker::authorization::{Authorization, RuleError};
use stompede_core::broker::destination::{Kind, Prefixes, Profile};
use stompede_core::broker::queue::{Overflow, Settings};
use stompede_core::broker::{conflate, history};
use stompede_core::http::forwarded::{ClientHeader, Network};
use stompede_core::limits::Limits;
use stompede_core::sockjs::endpoint::Endpoint;

pub use error::ConfigError;

/// Which interface to the kernel moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring if it is allowed here, else epoll.
    Auto,
    /// io_uring, or the server does not start.
    Uring,
    /// epoll.
    Epoll,
}

/// What becomes of permessage-deflate (RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// It is not negotiated.
    Off,
    /// It is; broadcasts are compressed once for all who agreed on it.
    Shared,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that can be configured. [`options::all`] says what each field means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `--listen`: HTTP and WebSocket.
    pub listen: SocketAddr,
    /// `--stomp-listen`: STOMP over TCP; `off` is `None`.
    pub stomp_listen: Option<SocketAddr>,
    /// `--admin-listen`: metrics and health; `off` is `None`.
    pub admin_listen: Option<SocketAddr>,
    /// `--shards`: threads that serve clients; 0 is `auto`, see [`Config::shards_count`].
    pub shards: usize,
    /// `--io`.
    pub io: IoChoice,
    /// `--static-dir`: files served over HTTP.
    pub static_dir: Option<PathBuf>,
    /// `--allowed-origin`, in lower case; empty is the same origin only, `*` is any.
    pub allowed_origins: Vec<String>,
    /// `--user`: name and password.
    pub users: Vec<(String, String)>,
    /// `--users-file`: lines of name and argon2 hash.
    pub users_file: Option<PathBuf>,
    /// `--default-user`: who a client is that sends neither `login` nor `passcode`.
    pub default_user: Option<String>,
    /// `--virtual-host`: see [`Config::is_own_host`].
    pub virtual_hosts: Vec<String>,
    /// `--outbound-bytes-max`: bytes that may wait for one client, and one message more.
    pub outbound_bytes_max: usize,
    /// `--stall-deadline`: time a client may take no byte of what waits for it.
    pub stall_deadline: Duration,
    /// `--memory-max`: bytes that may wait for all clients together, or of them for the rest.
    pub memory_bytes_max: u64,
    /// `--connect-deadline`: from accept to a finished log-in.
    pub connect_deadline: Duration,
    /// `--handshake-deadline`: from accept to a whole HTTP head.
    pub handshake_deadline: Duration,
    /// `--message-rate-span`: time over which the rate of an unfinished message is measured.
    pub message_rate_span: Duration,
    /// `--connections-max`: per shard; 0 is what the descriptor limit allows.
    pub connections_max: usize,
    /// `--connections-per-ip-max`: 0 is no limit.
    pub connections_per_ip_max: usize,
    /// `--connection-rate-max`: per shard and second; 0 is no limit.
    pub connection_rate_max: u32,
    /// `--login-failures-max`: per client address and minute; 0 is no limit.
    pub login_failures_max: u32,
    /// `--trusted-proxy`: networks whose requests name their client.
    pub trusted_proxies: Vec<Network>,
    /// `--client-header`: the field in which they do.
    pub client_header: ClientHeader,
    /// `--drain-timeout`: time for clients to leave.
    pub drain_timeout: Duration,
    /// `--drain-rate`: connections closed per second.
    pub drain_rate: u32,
    /// `--frame-max`: bytes of one STOMP frame.
    pub frame_bytes_max: usize,
    /// `--profile`: whose habits the broker has.
    pub profile: Profile,
    /// `--rule`, `--allow` and `--deny`, in their order: `allow who verb destination`.
    pub rules: Vec<String>,
    /// `--heartbeat-ping`: a silent WebSocket client is asked by a ping whether it lives.
    pub heartbeat_ping: bool,
    /// `--heartbeat-min`.
    pub heartbeat_min: Duration,
    /// `--heartbeat-max`.
    pub heartbeat_max: Duration,
    /// `--subscriptions-max`: per connection.
    pub subscriptions_max: usize,
    /// `--compression`: permessage-deflate.
    pub compression: Compression,
    /// `--compression-threshold`: bytes below which a broadcast is not compressed.
    pub compression_threshold_bytes: usize,
    /// `--queue-overflow`: what happens when a message comes to a full queue.
    pub queue_overflow: Overflow,
    /// `--queue-ttl`: life of a message in a queue; zero is for ever.
    pub queue_ttl: Duration,
    /// `--queue-idle-max`: life of a kept queue that nobody consumes.
    pub queue_idle_max: Duration,
    /// `--queue-prefetch`: of a subscription that does not say; 0 is `unacknowledged-max`.
    pub queue_prefetch: u32,
    /// `--queue-memory-max`: bytes of all queues together.
    pub queue_memory_bytes_max: usize,
    /// `--dead-letter`: destination of messages that died in a queue.
    pub dead_letter: Option<String>,
    /// `--sockjs`: prefixes of SockJS endpoints that speak STOMP; `off` is none.
    pub sockjs_prefixes: Vec<String>,
    /// `--sockjs-...`: the options that these have in common; the prefix is not used.
    pub sockjs: Endpoint,
    /// `--sockjs-endpoint`: endpoints with options of their own, `path name=value ...`.
    pub sockjs_endpoints: Vec<String>,
    /// `--sockjs-sessions-max`: per shard; 0 is as many as connections.
    pub sockjs_sessions_max: usize,
    /// `--sockjs-sessions-per-ip-max`: 0 is no limit.
    pub sockjs_sessions_per_ip_max: usize,
    /// `--ping-interval`: silence after which a client of a handler is pinged.
    pub ping_interval: Duration,
    /// `--test-services`: endpoints for conformance suites, see [`crate::services`].
    pub test_services: bool,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// `--log-level`: off, error, warn, info, debug or trace.
    pub log_level: String,
    /// Limits of the protocols; [`parse`] fills in those that are fields of their own above.
    pub limits: Limits,
    /// `--strict-subprotocol`: a WebSocket client must offer a STOMP subprotocol.
    pub strict_subprotocol: bool,
    /// `--pin-shards`: each shard's thread stays on its core.
    pub pin: bool,
    /// `--history`: rules `match,size,ttl`.
    pub history: Vec<String>,
    /// `--history-memory-max`: bytes that all histories may hold together.
    pub history_bytes_max: usize,
    /// `--slow-consumer`: rules `match,policy[,max-rate]`.
    pub slow_consumer: Vec<String>,
    /// `--secret-header`: headers, in lower case, whose values are never logged.
    pub secret_headers: Vec<String>,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// No sub-command: run the server.
    Serve(Config),
    /// `probe`: say what this machine allows.
    Probe(Config),
    /// `config check`: the configuration is good, users file included, or `parse` had failed.
    ConfigCheck,
    /// `config show`: print it, see [`options::show_toml`].
    ConfigShow(Config),
    /// `passwd NAME`: hash a password from standard input, see [`crate::auth::hash_line`].
    Passwd {
        /// Name of the user.
        name: String,
    },
    /// `--help`: the text to print.
    PrintHelp(String),
    /// `--version`.
    Version,
}

impl IoChoice {
    /// Its name as an option's value.
    pub fn name(self) -> &'static str {
        match self {
            IoChoice::Auto => "auto",
            IoChoice::Uring => "uring",
            IoChoice::Epoll => "epoll",
        }
    }
}

impl Compression {
    /// Its name as an option's value.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Off => "off",
            Compression::Shared => "shared",
        }
    }
}

impl LogFormat {
    /// Its name as an option's value.
    pub fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let limits = Limits::default();
        Config {
            listen: local(8080),
            stomp_listen: Some(local(61613)),
            admin_listen: Some(local(9090)),
            shards: 0,
            io: IoChoice::Auto,
            static_dir: None,
            allowed_origins: Vec::new(),
            users: Vec::new(),
            users_file: None,
            default_user: None,
            virtual_hosts: Vec::new(),
            outbound_bytes_max: 1 << 20,
            stall_deadline: Duration::from_secs(10),
            memory_bytes_max: 1 << 30,
            connect_deadline: Duration::from_secs(10),
            handshake_deadline: Duration::from_secs(5),
            message_rate_span: Duration::from_secs(30),
            connections_max: 0,
            connections_per_ip_max: 0,
            connection_rate_max: 0,
            login_failures_max: 0,
            trusted_proxies: Vec::new(),
            client_header: ClientHeader::default(),
            drain_timeout: Duration::from_secs(10),
            drain_rate: 10_000,
            frame_bytes_max: limits.stomp_frame_bytes_max,
            profile: Profile::Default,
            rules: Vec::new(),
            heartbeat_ping: true,
            heartbeat_min: Duration::from_millis(limits.heartbeat_ms_min.into()),
            heartbeat_max: Duration::from_millis(limits.heartbeat_ms_max.into()),
            subscriptions_max: limits.subscriptions_count_max,
            compression: Compression::Off,
            compression_threshold_bytes: 1_024,
            queue_overflow: Overflow::Reject,
            queue_ttl: Duration::ZERO,
            queue_idle_max: Duration::from_secs(3_600),
            queue_prefetch: 1_000,
            queue_memory_bytes_max: 1 << 30,
            dead_letter: None,
            sockjs_prefixes: vec!["/sockjs".to_owned()],
            sockjs: Endpoint::default(),
            sockjs_endpoints: Vec::new(),
            sockjs_sessions_max: 0,
            sockjs_sessions_per_ip_max: 0,
            ping_interval: Duration::from_secs(25),
            test_services: false,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
            limits,
            strict_subprotocol: false,
            pin: true,
            history: Vec::new(),
            history_bytes_max: 256 << 20,
            slow_consumer: Vec::new(),
            secret_headers: ["authorization", "cookie", "passcode"].map(str::to_owned).to_vec(),
        }
    }
}

impl Config {
    /// Copies into `limits` what is a field of its own, and checks what no option can alone.
    ///
    /// # Errors
    /// Options that contradict each other, with what to change.
    pub fn settle(&mut self) -> Result<(), ConfigError> {
        let conflict = |text: String| Err(ConfigError::Conflict(text));
        let (min, max) = (self.heartbeat_min, self.heartbeat_max);
        if min > max {
            let (min, max) = (value::show_duration(min), value::show_duration(max));
            return conflict(format!(
                "seen heartbeat-min {min} above heartbeat-max {max}; \
                 lower the one or raise the other"
            ));
        }
        let Ok(max_ms) = u32::try_from(max.as_millis()) else {
            return conflict(format!(
                "seen heartbeat-max {}, limit is {}ms; lower it",
                value::show_duration(max),
                u32::MAX
            ));
        };
        if self.memory_bytes_max < self.outbound_bytes_max as u64 {
            return conflict(format!(
                "seen memory-max {} below outbound-bytes-max {}; raise the one or lower the other",
                value::show_size(self.memory_bytes_max),
                value::show_size(self.outbound_bytes_max as u64)
            ));
        }
        self.check_addresses()?;
        self.check_topic_rules()?;
        self.check_sockjs_paths()?;
        if self.default_user.is_some() && self.users.is_empty() && self.users_file.is_none() {
            return conflict(
                "seen default-user, but everybody may log in; add user or users-file, or leave \
                 it out"
                    .to_owned(),
            );
        }
        if let Some(dir) = self.static_dir.as_ref().filter(|dir| !dir.is_dir()) {
            return conflict(format!(
                "seen static-dir {}, which is no directory; create it or leave the option out",
                dir.display()
            ));
        }
        self.limits.heartbeat_ms_min = u32::try_from(min.as_millis()).unwrap_or(max_ms);
        self.limits.heartbeat_ms_max = max_ms;
        self.limits.stomp_frame_bytes_max = self.frame_bytes_max;
        self.limits.subscriptions_count_max = self.subscriptions_max;
        self.authorization().map(|_| ()).map_err(ConfigError::Conflict)
    }

    /// May the `host` of CONNECT be this? Without a list any is taken: most clients send none, or
    /// the name that they connected to (stomp.md §0.2). RabbitMQ's know virtual hosts, and that
    /// there is `/` (§2.2).
    pub fn is_own_host(&self, host: &str) -> bool {
        match self.profile {
            Profile::RabbitMq if self.virtual_hosts.is_empty() => host == "/",
            _ => self.virtual_hosts.is_empty() || self.virtual_hosts.iter().any(|own| own == host),
        }
    }

    /// Is this the address of a proxy that is believed?
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(ip))
    }

    /// The rules, compiled for the destinations of the profile.
    ///
    /// # Errors
    /// The first rule that is none, with what is allowed.
    pub fn authorization(&self) -> Result<Authorization, String> {
        let prefixes = Prefixes::of(self.profile);
        let allowed = prefixes.rule_prefixes(|_| true);
        let mut authorization = Authorization::new(prefixes, self.limits.clone());
        for rule in &self.rules {
            let (kind, text) = rule.split_once(' ').unwrap_or((rule, ""));
            let added = match kind {
                "allow" | "deny" => {
                    let added = authorization.add(kind == "allow", text);
                    added.map_err(|error| match error {
                        RuleError::Destination => format!("{error}; allowed is {allowed}"),
                        error => error.to_string(),
                    })
                }
                _ => Err("a rule begins with allow or deny".to_owned()),
            };
            added.map_err(|error| format!("seen rule '{rule}': {error}"))?;
        }
        Ok(authorization)
    }

    /// How many shards there are: what `--shards` says, or one per core.
    pub fn shards_count(&self) -> usize {
        match self.shards {
            0 => cores(),
            count => count,
        }
    }

    /// The rules of `history` and `slow-consumer` are about topics, or are void.
    fn check_topic_rules(&self) -> Result<(), ConfigError> {
        let (prefixes, is_topic) = (Prefixes::of(self.profile), |kind| kind == Kind::Topic);
        let histories = self
            .history
            .iter()
            .filter_map(|text| Some(("history", text, history::parse_rule(text, 1).ok()?.0)));
        let paces = self
            .slow_consumer
            .iter()
            .filter_map(|text| Some(("slow-consumer", text, conflate::parse_rule(text).ok()?.0)));
        for (option, text, on) in histories.chain(paces) {
            if !prefixes.has_rules_for(on, is_topic) {
                let allowed = prefixes.rule_prefixes(is_topic);
                return Err(ConfigError::Conflict(format!(
                    "seen {option} {text:?}, but under this profile {on} is no topic; \
                     allowed is {allowed}"
                )));
            }
            prefixes.rule(on, &self.limits).map_err(|error| {
                ConfigError::Conflict(format!("seen {option} {text:?}: {error}"))
            })?;
        }
        Ok(())
    }

    /// The path of every SockJS endpoint that speaks STOMP.
    pub fn sockjs_paths(&self) -> impl Iterator<Item = &str> {
        let own = || self.sockjs_endpoints.iter().map(|text| sockjs::words(text).0);
        // An endpoint that says more replaces the one that is there by default.
        let is_alike = move |prefix: &&str| own().all(|path| path != *prefix);
        self.sockjs_prefixes.iter().map(String::as_str).filter(is_alike).chain(own())
    }

    /// This configuration as it is for each SockJS endpoint that speaks STOMP, longer prefixes
    /// first: `sockjs` and `limits` are the endpoint's.
    ///
    /// # Errors
    /// A text of `sockjs_endpoints` that names no path or no option.
    pub fn each_sockjs(&self) -> Result<Vec<Config>, String> {
        let own = |path: &str| {
            let text = self.sockjs_endpoints.iter().find(|text| sockjs::words(text).0 == path);
            sockjs::endpoint(self, text.map_or(path, String::as_str))
        };
        let mut each = self.sockjs_paths().map(own).collect::<Result<Vec<_>, _>>()?;
        each.sort_by_key(|own| Reverse(own.sockjs.prefix.len()));
        Ok(each)
    }

    fn check_sockjs_paths(&self) -> Result<(), ConfigError> {
        let mut seen = HashSet::new();
        match self.sockjs_paths().find(|path| !seen.insert(*path)) {
            Some(path) => Err(ConfigError::Conflict(format!(
                "seen the SockJS endpoint {path} twice; keep one of them"
            ))),
            None => Ok(()),
        }
    }

    /// The terms of every queue.
    pub fn queue_settings(&self) -> Settings {
        Settings { overflow: self.queue_overflow, ..Settings::new(&self.limits) }
    }

    /// Every address that is listened on, with its option's name.
    pub fn listen_addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let optional = [("stomp-listen", self.stomp_listen), ("admin-listen", self.admin_listen)];
        let optional = optional.into_iter().filter_map(|(name, at)| at.map(|at| (name, at)));
        std::iter::once(("listen", self.listen)).chain(optional).collect()
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        let all = self.listen_addresses();
        for (index, (name, address)) in all.iter().enumerate() {
            let same = |(_, other): &&(_, SocketAddr)| address.port() != 0 && other == address;
            if let Some((other, _)) = all[..index].iter().find(same) {
                return Err(ConfigError::Conflict(format!(
                    "seen {address} for both {other} and {name}; give each its own port"
                )));
            }
        }
        Ok(())
    }
}

/// Cores that this process may use; 1 if the system does not say.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Reads the command line (program name first), the environment and the file that they name.
///
/// # Errors
/// The first thing found wrong: what was seen, what is allowed, what to do.
pub fn parse(
    args: impl Iterator<Item = OsString>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Invocation, ConfigError> {
    sources::parse(args, env)
}

/// The configuration that a file alone gives: `path` is its name for errors, `text` what it says.
///
/// # Errors
/// As [`parse`].
pub fn parse_file(path: &Path, text: &str) -> Result<Config, ConfigError> {
    sources::parse_file(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_settled() {
        let mut config = Config::default();
        assert_eq!(config.settle(), Ok(()));
        assert_eq!(config, Config::default());
    }

    #[test]
    fn contradictions_are_named() {
        type Change = fn(&mut Config);
        let cases: [(Change, &str); 5] = [
            (|c| c.heartbeat_min = Duration::from_secs(500), "heartbeat-min"),
            (|c| c.heartbeat_max = Duration::from_secs(8_000_000), "heartbeat-max"),
            (|c| c.memory_bytes_max = 1, "memory-max"),
            (|c| c.admin_listen = Some(c.listen), "admin-listen"),
            (|c| c.static_dir = Some(PathBuf::from("no/such/dir")), "static-dir"),
        ];
        for (change, named) in cases {
            let mut config = Config::default();
            change(&mut config);
            let error = config.settle().expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn port_zero_may_be_given_twice() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = Config { listen: any, stomp_listen: Some(any), ..Config::default() };
        assert_eq!(config.settle(), Ok(()));
    }

    #[test]
    fn limits_follow_the_options() {
        let mut config = Config {
            frame_bytes_max: 10,
            subscriptions_max: 7,
            heartbeat_min: Duration::from_secs(2),
            ..Config::default()
        };
        assert_eq!(config.settle(), Ok(()));
        assert_eq!(config.limits.stomp_frame_bytes_max, 10);
        assert_eq!(config.limits.subscriptions_count_max, 7);
        assert_eq!(config.limits.heartbeat_ms_min, 2_000);
    }
}
