//! Handlers over real loopback sockets, against the server in this process, on every driver that
//! works here.

mod client;
mod ends;
mod groups;
mod messages;
mod services;
