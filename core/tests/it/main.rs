//! Integration tests of the workspace's core, as one binary.
//!
//! One binary links once; a new topic is a new module beside [`tidy`], not a new crate.

mod catalogue;
mod construction;
mod tidy;
