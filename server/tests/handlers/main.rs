//! Handlers over real loopback sockets, against the server in this process, on every driver that
//! works here.

#[path = "../support/mod.rs"]
#[allow(dead_code)] // Each suite takes a part of it.
mod support;

mod client;
mod ends;
mod groups;
mod messages;
mod services;
