//! SockJS: a WebSocket's behaviour over whatever HTTP lets through, server side.
//!
//! Read in this order: [`endpoint`] (options), [`url`] (path to route, routes and their methods),
//! [`headers`] (CORS, caching, cookie), [`info`], [`iframe`], [`callback`] (jsonp and htmlfile),
//! then a message's way: [`payload`] (in), [`session`] (the state machine of an HTTP session),
//! [`escape`] and [`frame`] (out); [`error`] says what is refused and how.
//!
//! A session lives at its home shard and speaks in [`frame::Frame`]s, whose messages are shared
//! bytes, escaped once; the shard with the client's connection wraps them for the transport. A
//! SockJS WebSocket has no [`session::Session`]: its connection is the session, only frames and
//! payloads apply.

pub mod callback;
pub mod endpoint;
pub mod error;
pub mod escape;
pub mod frame;
pub mod headers;
pub mod iframe;
pub mod info;
pub mod payload;
pub mod session;
pub mod url;
