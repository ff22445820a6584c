//! The generator against the real server, and against servers that misbehave on purpose.

mod fake;
mod honest;
mod mischief;
mod soak;
mod sockjs;
mod suspect;
