//! Protocols and broker of Stompede, without I/O: bytes and time in, bytes and commands out.
//!
//! Read in this order: [`limits`], [`amount`], [`outbound`], [`search`], then a message's way:
//! [`http`], [`ws`], [`sockjs`], [`stomp`], [`broker`]. Nothing here opens a socket, reads a clock
//! or draws a random number.

#![forbid(unsafe_code)]
// Whatever a peer or an operator did: an error, not a panic.
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod amount;
pub mod limits;
pub mod outbound;
pub mod search;

pub mod http;
pub mod ws;

pub mod sockjs;

pub mod stomp;

pub mod broker;
