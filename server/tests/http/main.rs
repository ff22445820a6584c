//! HTTP over real loopback sockets, against the server in this process.
//!
//! Each test starts a server of its own on ports the system chooses. Names start with the row of
//! the catalogue of hostile cases they prove, where there is one.

#[path = "../support/mod.rs"]
#[allow(dead_code)] // Each suite takes a part of it.
mod support;

mod admin;
mod client;
mod files;
mod proxied;
mod requests;
mod upgrade;
