//! STOMP 1.0, 1.1 and 1.2 as functions of bytes: what a client said, and how we answer it.
//!
//! The way of a frame: [`decode`] finds its bounds and headers (borrowed views, no copy),
//! [`request`] turns it into what the client wants, [`error`] and [`explain`] say why not,
//! [`encode`] writes the answer. [`negotiation`] and [`heartbeat`] are the two agreements of
//! CONNECT; [`escape`] is the header escaping of each version. Nothing here remembers a connection:
//! the session does.
//!
//! Specification: <https://stomp.github.io/stomp-specification-1.2.html> and its 1.0 and 1.1
//! predecessors. Where they leave room we accept what existing clients send.

pub mod command;
pub mod decode;
pub mod encode;
pub mod error;
pub mod escape;
pub mod explain;
pub mod frame;
pub mod heartbeat;
mod lines;
mod marks;
pub mod negotiation;
pub mod replay;
pub mod request;
pub mod wording;
