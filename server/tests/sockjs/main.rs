//! SockJS over real loopback sockets, against the server in this process.
//!
//! Every request has a connection of its own, unless a test is about connections: the kernel
//! spreads them over the shards, so that with several most requests are not where the session is.

#[path = "../support/mod.rs"]
#[allow(dead_code)] // Each suite takes a part of it.
mod support;

mod answers;
mod bodies;
mod client;
mod endpoints;
mod handler;
mod hostile;
mod login;
mod proxies;
mod receivers;
mod sessions;
mod stomp;
mod transports;
