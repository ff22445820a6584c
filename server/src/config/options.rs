//! The one table of options.
//!
//! The command line, the environment, the configuration file, `--help`, `config show` and the
//! table in README.md are all made from [`OPTIONS`]; nothing else in the program knows an option's
//! name. A row `drain-rate` is the flag `--drain-rate`, the variable `STOMPEDE_DRAIN_RATE` and the
//! key `drain-rate` (or `drain_rate`) of the file.
//!
//! Rows are applied in the order of the table: `frame-max` raises the WebSocket limit with it, and
//! `ws-message-max` after it has the last word.

use std::fmt::Write as _;
use std::path::PathBuf;

use stompede_core::broker::destination::{QUEUE_PREFIX, TOPIC_PREFIX};
use stompede_core::broker::pattern::Dialect;
use stompede_core::broker::queue::Overflow;

use super::{value, Compression, Config, IoChoice, LogFormat};
use stompede_core::broker::destination::Profile;

/// One option.
pub struct Opt {
    /// Name, in lower case with dashes.
    pub name: &'static str,
    /// What stands for the value in help, unit included; empty for a switch.
    pub value: &'static str,
    /// The default as one would write it; empty if it is not set.
    pub default: &'static str,
    /// One sentence for help and README.
    pub doc: &'static str,
    /// It may be given more than once. In the file it is then an array.
    pub repeatable: bool,
    /// What separates the values of a repeatable option in the environment.
    pub separator: char,
    /// Its value must not be printed.
    pub secret: bool,
    /// Reads a value into the configuration. The error says what is allowed.
    pub apply: fn(&mut Config, &str) -> Result<(), String>,
    /// Writes the value as `apply` reads it; values of a repeatable option one a line.
    pub show: fn(&Config) -> String,
}

impl Opt {
    /// Name of its environment variable.
    pub fn env(&self) -> String {
        format!("STOMPEDE_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// True for an option that is `true` or `false` and may stand alone as a flag.
    pub fn is_switch(&self) -> bool {
        self.value.is_empty()
    }
}

const BASE: Opt = Opt {
    name: "",
    value: "",
    default: "",
    doc: "",
    repeatable: false,
    separator: ',',
    secret: false,
    apply: |_, _| Ok(()),
    show: |_| String::new(),
};

/// A row whose value has a parser and a writer of its own.
macro_rules! row {
    ($name:literal, $value:literal, $default:literal, $doc:literal, $($field:ident).+,
     $parse:expr, $show:expr) => {
        Opt {
            name: $name,
            value: $value,
            default: $default,
            doc: $doc,
            apply: |config, text| {
                config.$($field).+ = $parse(text)?;
                Ok(())
            },
            show: |config| $show(config.$($field).+.clone()),
            ..BASE
        }
    };
}

macro_rules! size {
    ($name:literal, $default:literal, $doc:literal, $($field:ident).+) => {
        row!($name, "BYTES", $default, $doc, $($field).+, value::size, value::show_size)
    };
}

macro_rules! count {
    ($name:literal, $default:literal, $doc:literal, $($field:ident).+) => {
        row!($name, "COUNT", $default, $doc, $($field).+, value::count, |count| format!("{count}"))
    };
}

macro_rules! deadline {
    ($name:literal, $default:literal, $doc:literal, $($field:ident).+) => {
        row!($name, "TIME", $default, $doc, $($field).+, value::deadline, value::show_duration)
    };
}

macro_rules! switch {
    ($name:literal, $default:literal, $doc:literal, $($field:ident).+) => {
        row!($name, "", $default, $doc, $($field).+, value::switch, |on| format!("{on}"))
    };
}

/// Every option there is, in the order of help.
pub static OPTIONS: &[Opt] = &[
    Opt {
        name: "config",
        value: "FILE",
        doc: "TOML file to read options from; flags and environment are stronger",
        ..BASE
    },
    row!(
        "listen",
        "IP:PORT",
        "127.0.0.1:8080",
        "Address for HTTP and WebSocket",
        listen,
        value::address,
        |address| format!("{address}")
    ),
    row!(
        "stomp-listen",
        "IP:PORT",
        "127.0.0.1:61613",
        "Address for STOMP over TCP, or off",
        stomp_listen,
        value::address_or_off,
        value::show_or_off
    ),
    row!(
        "admin-listen",
        "IP:PORT",
        "127.0.0.1:9090",
        "Address for metrics and health, or off",
        admin_listen,
        value::address_or_off,
        value::show_or_off
    ),
    row!(
        "shards",
        "COUNT",
        "auto",
        "Threads that serve clients; auto is one per core",
        shards,
        shards,
        |shards| format!("{shards}")
    ),
    switch!("pin-shards", "true", "Pin each shard's thread to a core", pin),
    row!(
        "io",
        "DRIVER",
        "auto",
        "auto, uring or epoll; auto takes io_uring if it is allowed",
        io,
        io,
        |io: IoChoice| io.name().to_owned()
    ),
    row!(
        "static-dir",
        "DIR",
        "",
        "Directory of files to serve over HTTP",
        static_dir,
        path,
        show_path
    ),
    Opt {
        name: "allowed-origin",
        value: "ORIGIN",
        doc: "Origin that browsers may connect from, or *; without any, only the same origin",
        repeatable: true,
        apply: |config, text| {
            config.allowed_origins.push(value::origin(text)?);
            Ok(())
        },
        show: |config| config.allowed_origins.join("\n"),
        ..BASE
    },
    Opt {
        name: "user",
        value: "NAME:PASSWORD",
        doc: "User who may log in; other users of this machine can see flags, so prefer users-file",
        repeatable: true,
        separator: '\n',
        secret: true,
        apply: |config, text| {
            config.users.push(user(text)?);
            Ok(())
        },
        show: |config| {
            let names = config.users.iter().map(|(name, _)| format!("{name}:***"));
            names.collect::<Vec<_>>().join("\n")
        },
        ..BASE
    },
    row!(
        "users-file",
        "FILE",
        "",
        "File of users, one NAME:$argon2... a line; see stompede passwd",
        users_file,
        path,
        show_path
    ),
    row!(
        "profile",
        "PROFILE",
        "default",
        "Whose prefixes, patterns and error texts: default, spring, rabbitmq or activemq",
        profile,
        profile,
        show_profile
    ),
    Opt {
        name: "rule",
        value: "RULE",
        doc: "allow or deny, who, verb, destination; the first that fits decides. \
              --allow X and --deny X are short for --rule 'allow X' and 'deny X', in their order",
        repeatable: true,
        separator: '\n',
        apply: |config, text| {
            config.rules.push(rule(text)?);
            Ok(())
        },
        show: |config| config.rules.join("\n"),
        ..BASE
    },
    switch!(
        "strict-subprotocol",
        "false",
        "Refuse WebSocket clients that offer no STOMP subprotocol",
        strict_subprotocol
    ),
    size!("outbound-bytes-max", "512KiB", "Bytes that may wait for one client", outbound_bytes_max),
    deadline!(
        "stall-deadline",
        "10s",
        "Time a client may take no byte of what waits for it",
        stall_deadline
    ),
    size!("memory-max", "1GiB", "Bytes that may wait for all clients together", memory_bytes_max),
    deadline!("connect-deadline", "10s", "Time from accept to a finished log-in", connect_deadline),
    deadline!(
        "handshake-deadline",
        "5s",
        "Time from accept to a whole HTTP request head",
        handshake_deadline
    ),
    row!(
        "connections-max",
        "COUNT",
        "auto",
        "Connections of one shard; auto is what the limit on descriptors allows",
        connections_max,
        value::count_or_auto,
        show_or_auto
    ),
    count!(
        "connections-per-ip-max",
        "0",
        "Connections of one client address; 0 is no limit",
        connections_per_ip_max
    ),
    row!(
        "drain-timeout",
        "TIME",
        "10s",
        "Time for clients to leave after SIGTERM",
        drain_timeout,
        value::duration,
        value::show_duration
    ),
    row!(
        "drain-rate",
        "COUNT",
        "10000",
        "Connections closed per second while draining",
        drain_rate,
        drain_rate,
        |rate| format!("{rate}")
    ),
    deadline!("heartbeat-min", "1s", "Shortest heart-beat interval agreed to", heartbeat_min),
    deadline!("heartbeat-max", "2m", "Longest heart-beat interval agreed to", heartbeat_max),
    switch!(
        "heartbeat-ping",
        "true",
        "Ping a silent WebSocket client, and take the pong for a heart-beat",
        heartbeat_ping
    ),
    count!("subscriptions-max", "1000", "Subscriptions of one connection", subscriptions_max),
    Opt {
        name: "frame-max",
        value: "BYTES",
        default: "1MiB",
        doc: "Bytes of one STOMP frame; raises ws-message-max with it",
        apply: |config, text| {
            config.frame_bytes_max = value::size(text)?;
            let message = &mut config.limits.ws_message_bytes_max;
            *message = (*message).max(value::size(text)?);
            Ok(())
        },
        show: |config| value::show_size(config.frame_bytes_max as u64),
        ..BASE
    },
    size!(
        "connect-frame-max",
        "16KiB",
        "Bytes of a STOMP frame before log-in",
        limits.stomp_connect_bytes_max
    ),
    size!("stomp-command-max", "32", "Bytes of a STOMP command", limits.stomp_command_bytes_max),
    count!(
        "stomp-headers-max",
        "128",
        "Headers of one STOMP frame, repeats not counted",
        limits.stomp_headers_count_max
    ),
    size!(
        "stomp-header-line-max",
        "16KiB",
        "Bytes of one STOMP header line",
        limits.stomp_header_line_bytes_max
    ),
    size!(
        "stomp-head-max",
        "64KiB",
        "Bytes of a STOMP frame before its body",
        limits.stomp_head_bytes_max
    ),
    size!("destination-max", "1KiB", "Bytes of a destination", limits.destination_bytes_max),
    count!(
        "pattern-wildcards-max",
        "8",
        "Wildcards of one pattern",
        limits.pattern_wildcards_count_max
    ),
    size!(
        "id-max",
        "256",
        "Bytes of a receipt, subscription or transaction id",
        limits.id_bytes_max
    ),
    count!(
        "transactions-max",
        "16",
        "Open transactions of one connection",
        limits.transactions_count_max
    ),
    count!(
        "transaction-actions-max",
        "1024",
        "Actions of one transaction",
        limits.transaction_actions_count_max
    ),
    size!(
        "transaction-bytes-max",
        "1MiB",
        "Bytes of the actions of one transaction",
        limits.transaction_bytes_max
    ),
    count!(
        "unacknowledged-max",
        "1000",
        "Deliveries of one subscription that wait for an ACK",
        limits.unacknowledged_count_max
    ),
    count!(
        "reply-queues-max",
        "32",
        "Labels of /temp-queue/ of one connection",
        limits.reply_queues_count_max
    ),
    count!(
        "queue-messages-max",
        "100000",
        "Messages of one queue, waiting or without ACK",
        limits.queue_messages_count_max
    ),
    size!("queue-bytes-max", "64MiB", "Bytes of the messages of one queue", limits.queue_bytes_max),
    size!(
        "queue-memory-max",
        "1GiB",
        "Bytes of the messages of all queues together",
        queue_memory_bytes_max
    ),
    row!(
        "queue-overflow",
        "POLICY",
        "reject",
        "What a full queue does: reject the new message, or drop-head to make room",
        queue_overflow,
        overflow,
        show_overflow
    ),
    count!(
        "queue-deliveries-max",
        "20",
        "Deliveries of one message of a queue, after which it dies instead of coming back",
        limits.queue_deliveries_count_max
    ),
    count!(
        "queue-prefetch",
        "1000",
        "Deliveries without ACK of a subscription that does not say prefetch-count",
        queue_prefetch
    ),
    row!(
        "queue-ttl",
        "TIME",
        "0s",
        "Life of a message in a queue; 0s is for ever",
        queue_ttl,
        value::duration,
        value::show_duration
    ),
    row!(
        "dead-letter",
        "DESTINATION",
        "",
        "Where messages go that die in a queue; without it they are dropped, and counted",
        dead_letter,
        destination,
        |destination: Option<String>| destination.unwrap_or_default()
    ),
    size!(
        "ws-message-max",
        "1MiB",
        "Payload bytes of one WebSocket message",
        limits.ws_message_bytes_max
    ),
    count!(
        "ws-fragments-max",
        "128",
        "Fragments of one WebSocket message",
        limits.ws_fragments_count_max
    ),
    size!(
        "handler-inbox-max",
        "16MiB",
        "Bytes that other threads may have waiting for the handlers of one shard",
        limits.handler_inbox_bytes_max
    ),
    deadline!(
        "ping-interval",
        "25s",
        "Silence after which a client of a handler is pinged; it ends after 3 missed pings",
        ping_interval
    ),
    switch!(
        "test-services",
        "false",
        "Serve /echo, /close, /ticker, /broadcast and /amplify for conformance suites",
        test_services
    ),
    size!(
        "http-request-line-max",
        "4KiB",
        "Bytes of an HTTP request line",
        limits.http_request_line_bytes_max
    ),
    size!("http-head-max", "8KiB", "Bytes of an HTTP request head", limits.http_head_bytes_max),
    count!(
        "http-headers-max",
        "64",
        "Fields of an HTTP request head",
        limits.http_headers_count_max
    ),
    size!("http-body-max", "64KiB", "Bytes of an HTTP request body", limits.http_body_bytes_max),
    count!(
        "http-requests-max",
        "1000",
        "Requests of one HTTP connection that leave it open",
        limits.http_requests_count_max
    ),
    row!(
        "compression",
        "MODE",
        "off",
        "off or shared: permessage-deflate, a broadcast compressed once for all subscribers",
        compression,
        compression,
        |compression: Compression| compression.name().to_owned()
    ),
    size!(
        "compression-threshold",
        "1KiB",
        "Bytes of headers and body from which on a broadcast is compressed",
        compression_threshold_bytes
    ),
    count!(
        "ws-inflate-ratio-max",
        "256",
        "Times that a compressed WebSocket message may grow, above 64 KiB",
        limits.ws_inflate_ratio_max
    ),
    row!(
        "log-format",
        "FORMAT",
        "text",
        "text or json",
        log_format,
        log_format,
        |format: LogFormat| format.name().to_owned()
    ),
    row!(
        "log-level",
        "LEVEL",
        "info",
        "off, error, warn, info, debug or trace",
        log_level,
        log_level,
        |level| level
    ),
    Opt {
        name: "secret-header",
        value: "NAME",
        default: "authorization,cookie,passcode",
        doc: "Header whose value is never logged, in addition to the default",
        repeatable: true,
        apply: |config, text| {
            let name = text.to_ascii_lowercase();
            if name.is_empty() || name.contains([':', '\r', '\n']) {
                return Err("allowed is the name of a header, without colon".to_owned());
            }
            if !config.secret_headers.contains(&name) {
                config.secret_headers.push(name);
            }
            Ok(())
        },
        show: |config| config.secret_headers.join("\n"),
        ..BASE
    },
];

/// The option of that name; dashes and underscores are the same.
pub fn find(name: &str) -> Option<&'static Opt> {
    let name = name.replace('_', "-");
    OPTIONS.iter().find(|option| option.name == name)
}

/// README's table of options, in Markdown.
pub fn readme_table() -> String {
    let mut table = String::from("| flag | environment | default | meaning |\n|---|---|---|---|\n");
    for option in OPTIONS {
        let value = match option.value {
            "" => String::new(),
            value => format!(" {value}"),
        };
        let default = match option.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let (name, env, doc) = (option.name, option.env(), option.doc);
        let again = if option.repeatable { "; repeatable" } else { "" };
        let _ = writeln!(table, "| `--{name}{value}` | `{env}` | {default} | {doc}{again} |");
    }
    table
}

/// The configuration as a TOML file, which gives the same configuration when it is read again;
/// only passwords are left out.
pub fn show_toml(config: &Config) -> String {
    let mut file = String::new();
    for option in OPTIONS.iter().skip_while(|option| option.name == "config") {
        let (name, shown) = (option.name, (option.show)(config));
        let _ = match (option.repeatable, option.secret, shown.is_empty()) {
            (_, _, true) => writeln!(file, "# {name} is not set"),
            (_, true, _) => writeln!(file, "# {name} = {}", array(&shown)),
            (true, ..) => writeln!(file, "{name} = {}", array(&shown)),
            _ if option.is_switch() => writeln!(file, "{name} = {shown}"),
            _ => writeln!(file, "{name} = {}", toml::Value::from(shown)),
        };
    }
    file
}

fn array(lines: &str) -> String {
    toml::Value::from(lines.lines().collect::<Vec<_>>()).to_string()
}

fn shards(text: &str) -> Result<usize, String> {
    match value::count_or_auto(text)? {
        0 => Ok(super::cores()),
        shards if shards <= 4_096 => Ok(shards),
        _ => Err("the limit is 4096".to_owned()),
    }
}

fn show_or_auto(count: usize) -> String {
    if count == 0 {
        "auto".to_owned()
    } else {
        count.to_string()
    }
}

fn drain_rate(text: &str) -> Result<u32, String> {
    match value::count(text)? {
        0 => Err("a drain rate of 0 never ends: give 1 or more".to_owned()),
        rate => Ok(rate),
    }
}

fn io(text: &str) -> Result<IoChoice, String> {
    [IoChoice::Auto, IoChoice::Uring, IoChoice::Epoll]
        .into_iter()
        .find(|choice| choice.name() == text)
        .ok_or_else(|| "allowed is auto, uring or epoll".to_owned())
}

fn compression(text: &str) -> Result<Compression, String> {
    [Compression::Off, Compression::Shared]
        .into_iter()
        .find(|choice| choice.name() == text)
        .ok_or_else(|| "allowed is off or shared".to_owned())
}

fn profile(text: &str) -> Result<Profile, String> {
    text.parse().map_err(str::to_owned)
}

fn show_profile(profile: Profile) -> String {
    profile.name().to_owned()
}

/// Only the first word: what the rest means depends on the profile.
fn rule(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.split_once(' ') {
        Some(("allow" | "deny", _)) => Ok(text.to_owned()),
        _ => Err("allowed is allow or deny, then who, verb and destination".to_owned()),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    [LogFormat::Text, LogFormat::Json]
        .into_iter()
        .find(|format| format.name() == text)
        .ok_or_else(|| "allowed is text or json".to_owned())
}

fn overflow(text: &str) -> Result<Overflow, String> {
    match text {
        "reject" => Ok(Overflow::Reject),
        "drop-head" => Ok(Overflow::DropHead),
        _ => Err("allowed is reject or drop-head".to_owned()),
    }
}

fn show_overflow(overflow: Overflow) -> String {
    let name = match overflow {
        Overflow::Reject => "reject",
        Overflow::DropHead => "drop-head",
    };
    name.to_owned()
}

fn destination(text: &str) -> Result<Option<String>, String> {
    let is_known = [QUEUE_PREFIX, TOPIC_PREFIX]
        .iter()
        .any(|prefix| text.strip_prefix(prefix).is_some_and(|name| !name.is_empty()));
    if !is_known || text.chars().any(char::is_control) || Dialect::Ant.is_pattern(text) {
        return Err("allowed is one /queue/... or /topic/...".to_owned());
    }
    Ok(Some(text.to_owned()))
}

fn log_level(text: &str) -> Result<String, String> {
    if ["off", "error", "warn", "info", "debug", "trace"].contains(&text) {
        return Ok(text.to_owned());
    }
    Err("allowed is off, error, warn, info, debug or trace".to_owned())
}

fn path(text: &str) -> Result<Option<PathBuf>, String> {
    if text.is_empty() {
        return Err("allowed is a path that is not empty".to_owned());
    }
    Ok(Some(PathBuf::from(text)))
}

fn show_path(path: Option<PathBuf>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn user(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => {
            Ok((name.to_owned(), password.to_owned()))
        }
        _ => Err("allowed is NAME:PASSWORD, neither of them empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_what_the_table_says() {
        for option in OPTIONS.iter().filter(|option| !option.default.is_empty()) {
            let mut config = Config::default();
            for text in option.default.split(',') {
                (option.apply)(&mut config, text)
                    .unwrap_or_else(|e| panic!("{}: {e}", option.name));
            }
            assert_eq!(config, Config::default(), "{}", option.name);
            if option.name != "shards" {
                let shown = (option.show)(&config).replace('\n', ",");
                let mut again = Config::default();
                assert!(shown.split(',').all(|text| (option.apply)(&mut again, text).is_ok()));
                assert_eq!(again, config, "{} shows {shown}", option.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_plain() {
        for (index, option) in OPTIONS.iter().enumerate() {
            assert!(OPTIONS[..index].iter().all(|other| other.name != option.name));
            assert!(option.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(!option.doc.is_empty() && !option.doc.contains('|'), "{}", option.name);
        }
        assert_eq!(OPTIONS[1].env(), "STOMPEDE_LISTEN");
        assert_eq!(find("drain_rate").map(Opt::env).as_deref(), Some("STOMPEDE_DRAIN_RATE"));
    }

    #[test]
    fn the_readme_table_has_one_row_per_option() {
        let table = readme_table();
        assert_eq!(table.lines().count(), OPTIONS.len() + 2);
        assert!(table.lines().all(|line| line.matches('|').count() == 5), "{table}");
    }

    #[test]
    fn no_password_is_shown() {
        let config = Config { users: vec![("ann".into(), "hunter2".into())], ..Config::default() };
        let shown = show_toml(&config);
        assert!(shown.contains("ann:***") && !shown.contains("hunter2"), "{shown}");
    }
}
