//! The broker: who gets a publication, and what is still owed an answer.
//!
//! Sans-I/O and generic: it knows no HTTP, WebSocket or STOMP byte. A message's way through it:
//! [`destination`] says what kind of name it is and which shard is its home; [`publication`] is the
//! one shared copy of a SEND; [`interest`] names the shards that want it; [`subscriptions`] walks
//! the subscribers of one shard, class by class; [`pattern`] is the language of both; [`ledger`]
//! and [`transaction`] hold what one connection has open, allocated only while needed. [`queue`] is
//! the other kind of destination, one message to one consumer; [`binding`] lets one listen to a
//! topic; [`selector`] filters by headers.
//! [`history`] keeps what a topic said last; [`user`] and [`reply`] name sessions in a way that
//! nobody can forge; [`authorization`] says who may do what; [`conflate`] is for slow consumers.
//! The contract is reference/stomp.md §1.8 to §1.10 and §2.4.

pub mod authorization;
pub mod binding;
pub mod conflate;
pub mod destination;
pub mod history;
pub mod interest;
pub mod ledger;
pub mod pattern;
pub mod publication;
pub mod queue;
pub mod reply;
pub mod selector;
mod slab;
pub mod subscriptions;
pub mod transaction;
pub mod user;

use std::hash::BuildHasher;

/// Hashes with a key given from outside: the core draws no randomness, and peers choose the names,
/// so an unkeyed hash would let them pile up collisions.
#[derive(Clone, Copy, Debug)]
pub struct Keyed(pub u64);

impl BuildHasher for Keyed {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> ahash::AHasher {
        // All four seeds must differ; the constants are digits of pi.
        const PI: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0];
        let [second, third, fourth] = PI.map(|digits| self.0 ^ digits);
        ahash::RandomState::with_seeds(self.0, second, third, fourth).build_hasher()
    }
}
