//! The fuzz targets: functions of bytes that panic where the server breaks a promise.
//!
//! Each target checks one codec, matcher or the whole server against what it must be: the same
//! result for every cut of the input, the same as a naive twin or as another implementation, and
//! back again what was encoded. `scripts/fuzz` lets libFuzzer look for inputs; on a stable
//! toolchain `cargo test -p stompede-fuzz` replays the corpora and mutates them a little.
//!
//! A finding is fixed, and its input is kept in `corpus/TARGET/` under a name that says what it
//! was.

pub mod config;
pub mod deflate;
pub mod encode;
pub mod http;
pub mod pattern;
pub mod selector;
pub mod server;
pub mod sockjs;
pub mod source;
pub mod stomp;
pub mod websocket;

/// One thing to fuzz.
#[derive(Clone, Copy)]
pub struct Target {
    /// As in `scripts/fuzz NAME`, and the name of its corpus.
    pub name: &'static str,
    /// Takes any bytes; a panic is a finding.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 10] = [
    Target { name: "config", run: config::run },
    Target { name: "deflate", run: deflate::run },
    Target { name: "encode", run: encode::run },
    Target { name: "http", run: http::run },
    Target { name: "pattern", run: pattern::run },
    Target { name: "selector", run: selector::run },
    Target { name: "server", run: server::run },
    Target { name: "sockjs", run: sockjs::run },
    Target { name: "stomp", run: stomp::run },
    Target { name: "websocket", run: websocket::run },
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
