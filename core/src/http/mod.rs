//! The opening HTTP/1.1 request of every browser connection, and plain answers to it.
//!
//! Read in this order: [`request`] (bytes to a borrowed head, RFC 9112 §2-7), [`error`] (what is
//! refused and with which status), [`body`] (where the request ends), [`response`] (bytes of an
//! answer), [`origin`] (which web pages may connect, RFC 6454); for files [`conditional`] and
//! [`date`], [`accept`] for what the client likes, and [`forwarded`] for who it is behind a proxy.
//!
//! Strict on purpose: whatever two parsers could read in two ways is refused, because a proxy in
//! front of us may have read it the other way (request smuggling).

pub mod accept;
pub mod body;
pub mod conditional;
pub mod date;
pub mod error;
pub mod forwarded;
pub mod origin;
pub mod request;
pub mod response;
