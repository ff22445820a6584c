//! What is served, where, by which threads and to whom.
//!
//! Rows of the table in [`super`].

use super::{Opt, BASE};
use crate::config::choice::*;
use crate::config::{value, IoChoice};

pub(super) const ROWS: &[Opt] = &[
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
        "default-user",
        "NAME",
        "",
        "User that a client is which sends neither login nor passcode; without it, it is refused",
        default_user,
        name,
        Option::unwrap_or_default
    ),
    Opt {
        name: "virtual-host",
        value: "NAME",
        doc: "Name that host of CONNECT may have; without any, every name is taken, but / alone \
              with profile rabbitmq",
        repeatable: true,
        apply: |config, text| {
            if text.is_empty() {
                return Err("seen no name; write that of a virtual host, such as /".to_owned());
            }
            config.virtual_hosts.push(text.to_owned());
            Ok(())
        },
        show: |config| config.virtual_hosts.join("\n"),
        ..BASE
    },
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
];
