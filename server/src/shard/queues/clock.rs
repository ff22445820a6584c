//! The clock by which messages expire (catalogue: I28, N07).
//!
//! Clients name times of day, and somebody may set that clock while messages wait: a step of an
//! hour would bury all whose life is an hour, or keep them an hour too long. So the time of day is
//! asked once, when a message comes, for what is left of its life, which then runs on the
//! monotonic clock. That clock is told in milliseconds since 1970 by the time of day at the shard's
//! start, so that shards agree on it.

use super::super::Shard;
use crate::reactor::Reactor;

impl<R: Reactor> Shard<R> {
    /// Milliseconds since 1970 by the monotonic clock.
    pub(in super::super) fn expiry_now_ms(&self) -> u64 {
        self.born_unix_ms.saturating_add(self.reactor.now_ms())
    }

    /// A time that is `unix_ms` by the time of day, which is `now_unix_ms` at present.
    pub(super) fn expiry_ms(&self, unix_ms: u64, now_unix_ms: u64) -> u64 {
        unix_ms.saturating_add(self.expiry_now_ms()).saturating_sub(now_unix_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Shared;
    use super::*;
    use crate::config::Config;
    use crate::mesh::{connect, Doorbell};
    use crate::reactor::sim::{Faults, Read, SimNet, SimReactor};
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    struct World {
        net: SimNet,
        shard: Shard<SimReactor>,
        client: usize,
    }

    impl World {
        fn new() -> World {
            let shared = Shared::new(Config { shards: 1, ..Config::default() }, 1, "sim").unwrap();
            let doorbell = [Doorbell::new().unwrap()];
            let net = SimNet::new(1, Faults::default(), 64, doorbell[0].fd());
            net.step_time_of_day(1_000_000_000);
            let mesh = connect(&doorbell, 8).pop().unwrap();
            let shard = Shard::new(0, Arc::new(shared), net.reactor(), mesh);
            let client = net.connect(1, 1 << 16);
            let mut world = World { net, shard, client };
            world.say("CONNECT\naccept-version:1.2\nhost:a\n\n\0");
            world
        }

        fn say(&mut self, frame: &str) {
            self.net.write(self.client, frame.as_bytes());
            self.pass(0);
        }

        fn pass(&mut self, ms: u64) {
            self.net.advance(ms);
            for _ in 0..20 {
                let turn = pin!(self.shard.turn());
                let _ = turn.poll(&mut Context::from_waker(Waker::noop()));
            }
        }

        /// Bodies that a new consumer gets.
        fn consume(&mut self) -> String {
            self.net.read(self.client, usize::MAX);
            self.say("SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\0");
            match self.net.read(self.client, usize::MAX) {
                Read::Bytes(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let bodies = text.split('\0').filter_map(|frame| frame.split_once("\n\n"));
                    bodies.map(|(_, body)| body).collect()
                }
                other => panic!("{other:?}"),
            }
        }
    }

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn i28_n07_a_step_of_the_time_of_day_shortens_and_lengthens_no_life() {
        for step_ms in [0, HOUR_MS, -HOUR_MS, 300 * 24 * HOUR_MS] {
            let mut world = World::new();
            world.say("SEND\ndestination:/queue/a\nexpiration:60000\n\nlife \0");
            // By the time of day as it is now.
            let time = 1_000_000_000 + 60_000;
            world.say(&format!("SEND\ndestination:/queue/a\nexpires:{time}\n\ntime \0"));
            world.say("SEND\ndestination:/queue/a\nexpiration:50000\n\nshort\0");
            world.net.step_time_of_day(step_ms);
            world.pass(55_000);
            assert_eq!(world.consume(), "life time ", "a step of {step_ms} ms");
            let mut world = World::new();
            world.say("SEND\ndestination:/queue/a\nexpiration:60000\n\nlife\0");
            world.net.step_time_of_day(step_ms);
            world.pass(61_000);
            assert_eq!(world.consume(), "", "a step of {step_ms} ms");
        }
    }
}
