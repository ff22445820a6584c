//! How many connections there may be, how long each stage of one may take, and the drain.
//!
//! Rows of the table in [`super`].

use super::{Opt, BASE};
use crate::config::choice::*;
use crate::config::value;
use stompede_core::http::forwarded::ClientHeader;

pub(super) const ROWS: &[Opt] = &[
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
    count!(
        "connection-rate-max",
        "0",
        "Connections that a shard takes in a second; others are told to come later; 0 is no limit",
        connection_rate_max
    ),
    count!(
        "login-failures-max",
        "0",
        "Wrong log-ins of one client address in a minute, after which it has to wait; 0 is no \
         limit",
        login_failures_max
    ),
    Opt {
        name: "trusted-proxy",
        value: "CIDR",
        doc: "Network of proxies, such as 10.0.0.0/8: the address of their requests is the \
              client's that they name; without any, no header is believed",
        repeatable: true,
        apply: |config, text| {
            config.trusted_proxies.push(text.trim().parse()?);
            Ok(())
        },
        show: |config| {
            let shown = config.trusted_proxies.iter().map(ToString::to_string);
            shown.collect::<Vec<_>>().join("\n")
        },
        ..BASE
    },
    row!(
        "client-header",
        "NAME",
        "x-forwarded-for",
        "x-forwarded-for or forwarded (RFC 7239): where trusted proxies name the client",
        client_header,
        client_header,
        |header: ClientHeader| header.name().to_owned()
    ),
    count!(
        "logins-waiting-max",
        "256",
        "Log-ins of a shard that may wait for their password hash; others are told to come later",
        limits.logins_waiting_count_max
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
    count!(
        "control-frames-max",
        "100",
        "Pings, pongs and heart-beats of a client in a row, in 10 s; up to 255, 0 is no limit",
        limits.control_frames_count_max
    ),
];
