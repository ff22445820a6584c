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

use stompede_core::broker::{conflate, history};

use super::choice::*;
use super::{sockjs, value, Compression, Config, IoChoice, LogFormat};

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
    /// It is a list: flags first, then environment, then file, where it is an array.
    pub repeatable: bool,
    /// What separates the values of a repeatable option in the environment: newline and, where no
    /// value may hold one, comma; rules also `;`.
    pub separators: &'static [char],
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
    separators: &['\n', ','],
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
        show_or_auto
    ),
    switch!("pin-shards", "true", "Pin each shard's thread to a core", pin),
    row!(
        "io",
        "DRIVER",
        "auto",
        "auto, uring or epoll; auto takes io_uring if it is allowed",
        io,
        value::io,
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
        separators: &['\n'],
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
        separators: &['\n', ';'],
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
    row!(
        "outbound-bytes-max",
        "BYTES",
        "512KiB",
        "Bytes that may wait for one client, from 4KiB",
        outbound_bytes_max,
        outbound_bytes,
        value::show_size
    ),
    deadline!(
        "stall-deadline",
        "10s",
        "Time a client may take no byte of what waits for it",
        stall_deadline
    ),
    Opt {
        name: "slow-consumer",
        value: "MATCH,POLICY[,RATE]",
        doc: "What slow subscribers of a topic or pattern miss: disconnect, drop-oldest, conflate \
              or conflate:HEADER, and at most RATE (5/s) for each; the first match decides",
        repeatable: true,
        separators: &['\n'],
        apply: |config, text| {
            let (matched, _) = conflate::parse_rule(text).map_err(|error| error.to_string())?;
            pattern(matched)?;
            config.slow_consumer.push(text.to_owned());
            Ok(())
        },
        show: |config| config.slow_consumer.join("\n"),
        ..BASE
    },
    Opt {
        name: "history",
        value: "MATCH,SIZE,TTL",
        doc: "Topic or pattern whose last messages are kept for recovery and replay: how many (or \
              how many bytes) and how long; the first match decides",
        repeatable: true,
        separators: &['\n'],
        apply: |config, text| {
            let (matched, _) = history::parse_rule(text, 1).map_err(|error| error.to_string())?;
            pattern(matched)?;
            config.history.push(text.to_owned());
            Ok(())
        },
        show: |config| config.history.join("\n"),
        ..BASE
    },
    size!(
        "history-memory-max",
        "256MiB",
        "Bytes that all histories may hold together",
        history_bytes_max
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
        doc: "Bytes of one STOMP frame, from 1KiB; raises ws-message-max with it",
        apply: |config, text| {
            config.frame_bytes_max = frame_bytes(text)?;
            let message = &mut config.limits.ws_message_bytes_max;
            *message = (*message).max(config.frame_bytes_max as u64);
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
        "selector-sum-max",
        "8388608",
        "Steps that all selectors of a topic on one shard may take for a message; so may patterns'",
        limits.selector_sum_steps_max
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
        "queues-kept-max",
        "10000",
        "Queues with arguments, and durable subscriptions, that may outlive their consumers",
        limits.queues_kept_count_max
    ),
    deadline!(
        "queue-idle-max",
        "1h",
        "Life of such a queue while nobody consumes it; x-expires may ask for less",
        queue_idle_max
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
        "message-rate-min",
        "100",
        "Bytes per second at which an unfinished message must come; 0 is no limit",
        limits.message_rate_bytes_min
    ),
    deadline!("message-rate-span", "30s", "Time over which it must", message_rate_span),
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
        "sockjs",
        "PREFIXES",
        "/sockjs",
        "Paths of SockJS endpoints that speak STOMP, separated by commas, or off",
        sockjs_prefixes,
        sockjs::prefixes,
        sockjs::show_prefixes
    ),
    row!(
        "sockjs-transports",
        "NAMES",
        "websocket,raw-websocket,xhr,xhr-streaming,eventsource",
        "SockJS transports, separated by commas; there are htmlfile, jsonp and iframe, too",
        sockjs.transports,
        sockjs::transports,
        sockjs::show_transports
    ),
    row!(
        "sockjs-response-max",
        "BYTES",
        "128KiB",
        "Bytes of a SockJS stream after which its client asks again",
        sockjs.response_bytes_max,
        sockjs::bytes,
        |bytes| value::show_size(u64::from(bytes))
    ),
    row!(
        "sockjs-heartbeat",
        "TIME",
        "25s",
        "Silence before a SockJS heart-beat; 0 is none",
        sockjs.heartbeat_ms,
        sockjs::ms,
        sockjs::show_ms
    ),
    row!(
        "sockjs-disconnect-delay",
        "TIME",
        "5s",
        "Time a SockJS session lives without a request that receives",
        sockjs.disconnect_delay_ms,
        sockjs::ms,
        sockjs::show_ms
    ),
    row!(
        "sockjs-tombstone",
        "TIME",
        "1m",
        "Time an ended SockJS session is remembered, for late clients to be told",
        sockjs.tombstone_ms,
        sockjs::ms,
        sockjs::show_ms
    ),
    switch!("sockjs-cookie", "false", "Set JSESSIONID, for balancers that need it", sockjs.cookie),
    row!(
        "sockjs-client-url",
        "URL",
        "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js",
        "Where the iframe page loads the SockJS client from",
        sockjs.client_url,
        sockjs::client_url,
        |url| url
    ),
    row!(
        "sockjs-base-url",
        "URL",
        "",
        "Where /info sends SockJS clients instead of here",
        sockjs.base_url,
        |url: &str| Ok::<_, String>((!url.is_empty()).then(|| url.to_owned())),
        |url: Option<String>| url.unwrap_or_default()
    ),
    count!(
        "sockjs-sessions-max",
        "0",
        "SockJS sessions of one shard; 0 is as many as connections",
        sockjs_sessions_max
    ),
    count!(
        "sockjs-sessions-per-ip-max",
        "0",
        "SockJS sessions of one client address; 0 is no limit",
        sockjs_sessions_per_ip_max
    ),
    size!(
        "sockjs-queue-max",
        "512KiB",
        "Bytes that may wait for one SockJS session",
        limits.sockjs_queue_bytes_max
    ),
    row!(
        "sockjs-window-max",
        "BYTES",
        "64KiB",
        "Bytes under way to one SockJS stream",
        limits.sockjs_window_bytes_max,
        sockjs::bytes,
        |bytes| value::show_size(u64::from(bytes))
    ),
    size!(
        "sockjs-payload-max",
        "1MiB",
        "Bytes of a SockJS request body or WebSocket message",
        limits.sockjs_payload_bytes_max
    ),
    count!(
        "sockjs-payload-messages-max",
        "4096",
        "Messages in one SockJS request body",
        limits.sockjs_payload_messages_max
    ),
    size!(
        "sockjs-id-max",
        "128",
        "Bytes of the names in a SockJS path",
        limits.sockjs_id_bytes_max
    ),
    size!(
        "sockjs-callback-max",
        "32",
        "Bytes of a jsonp or htmlfile callback",
        limits.sockjs_callback_bytes_max
    ),
    Opt {
        name: "sockjs-endpoint",
        value: "PATH NAME=VALUE ...",
        doc: "One more SockJS endpoint that speaks STOMP, with options of its own: origins \
              (separated by commas), and those above without sockjs-, such as transports, \
              heartbeat or queue-max",
        repeatable: true,
        separators: &['\n'],
        apply: |config, text| {
            sockjs::endpoint(config, text)?;
            config.sockjs_endpoints.push(text.to_owned());
            Ok(())
        },
        show: |config| config.sockjs_endpoints.join("\n"),
        ..BASE
    },
    row!(
        "log-format",
        "FORMAT",
        "text",
        "text or json",
        log_format,
        value::log_format,
        |format: LogFormat| format.name().to_owned()
    ),
    row!(
        "log-level",
        "LEVEL",
        "info",
        "off, error, warn, info, debug or trace",
        log_level,
        value::log_level,
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
        let again = if option.repeatable { "; a list" } else { "" };
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

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
