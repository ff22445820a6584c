//! The load generator: connects, subscribes, publishes by the clock, and checks every delivery.
//!
//! Read in this order: [`options`] (the command line) and [`destinations`], [`plan`] (what a run
//! shall do), [`run`] (its stages), [`worker`] (one thread of clients on the server's own reactor),
//! [`publisher`] (what is due when), [`wire`] (bytes of a client), [`stamp`], [`order`] and
//! [`queue`] (the checks), [`latency`] and [`broadcast`], [`process`] (what the server used),
//! [`report`], [`floor`] (the bare loop beside it), [`soak`] (all of it at once, for long).

pub mod attack;
pub mod broadcast;
pub mod clock;
pub mod compare;
pub mod control;
pub mod destinations;
pub mod floor;
pub mod html;
pub mod latency;
pub mod options;
pub mod order;
pub mod output;
pub mod plan;
pub mod process;
pub mod progress;
pub mod publisher;
pub mod queue;
pub mod report;
pub mod run;
pub mod soak;
pub mod stamp;
pub mod verdict;
pub mod wire;
pub mod worker;
