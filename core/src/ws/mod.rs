//! WebSocket (RFC 6455), server side, with permessage-deflate (RFC 7692).
//!
//! Read in this order: [`handshake`] (§4), [`extensions`] (§9), [`frame`] (heads, §5.2),
//! [`mask`] (§5.3), [`receiver`] (the state machine from bytes to events, §5.4-5.6), [`utf8`]
//! (§8.1), [`deflate`] (messages that are compressed), [`close`] (§7), [`error`].
//!
//! Nothing is assembled here: payloads are unmasked where they lie and handed out in the pieces
//! they arrived in, so an unfinished message costs the 24 bytes of its [`receiver::Receiver`].

pub mod close;
pub mod deflate;
pub mod error;
pub mod extensions;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod receiver;
pub mod utf8;
