//! Stompede server.

pub mod auth;
pub mod config;
pub mod log;
pub mod metrics;
pub mod probe;
