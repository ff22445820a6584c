//! SockJS over real loopback sockets, against the server in this process.
//!
//! Every request has a connection of its own, unless a test is about connections: the kernel
//! spreads them over the shards, so that with several most requests are not where the session is.

mod client;
mod endpoints;
mod hostile;
mod login;
mod sessions;
mod stomp;
mod transports;
