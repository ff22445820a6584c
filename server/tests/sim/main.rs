//! Whole shards in simulation: seeded faults, a virtual clock, many clients, one thread.
//!
//! `cargo test -p stompede --test sim` runs some hundred seeds; `STOMPEDE_SIM_SEEDS=10000` runs
//! more, from `STOMPEDE_SIM_FIRST` on, and `STOMPEDE_SIM_SEED=7` one. A failing seed is printed
//! with the command that replays it. The rules that are checked are in [`history`] and [`queues`],
//! at the end of [`world`] and of [`cluster`], and in [`lockstep`] (design.md §5, §11).

mod app;
mod client;
mod cluster;
mod history;
mod line;
mod lockstep;
mod model;
mod queues;
mod tunnel;
mod wire;
mod world;

use client::Fate;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use world::{Outcome, Plan};

const SEEDS_COUNT: u64 = 250;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs the plan of a seed and says on failure how to see it again.
fn run_seed(seed: u64) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| Plan::new(seed).run())).unwrap_or_else(|_| {
        panic!(
            "seed {seed} fails; replay it with: \
             STOMPEDE_SIM_SEED={seed} cargo test -p stompede --test sim seeds"
        )
    })
}

/// What many runs came to together.
#[derive(Default)]
struct Sum {
    deliveries_count: usize,
    missed_count: u64,
    recoveries: [u64; 2],
    /// Ends by reason, and what else was seen.
    seen: BTreeMap<String, u64>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.deliveries_count += outcome.deliveries_count;
        self.missed_count += outcome.missed_count;
        (0..2).for_each(|at| self.recoveries[at] += outcome.recoveries[at]);
        let queues = [
            ("redelivered".to_string(), outcome.redeliveries_count),
            ("refused by queues".to_string(), outcome.refusals_count),
        ];
        let ends = outcome.ends.into_iter().map(|(reason, count)| (reason.to_string(), count));
        for (name, count) in ends.chain(outcome.seen).chain(queues) {
            *self.seen.entry(name).or_default() += count;
        }
    }

    /// A simulation that never gets anywhere proves nothing.
    fn check(&self) {
        assert!(self.recoveries[0] > 0 && self.recoveries[1] > 0 && self.missed_count > 0);
        let never: Vec<&String> =
            self.seen.iter().filter(|(_, &count)| count == 0).map(|(name, _)| name).collect();
        assert!(never.is_empty(), "never seen: {never:?}");
        for name in SEEN {
            assert!(self.seen.contains_key(name), "never seen: {name}");
        }
    }
}

/// What is not seen in every run, and must be in many: ends of clients, deaths of messages.
const SEEN: [&str; 11] = [
    "peer_reset",
    "peer_closed_mid_frame",
    "slow_consumer",
    "heartbeat_missed",
    "stalled",
    "stomp_error",
    "drain",
    "expired letters",
    "rejected letters",
    "overflow letters",
    "deliveries letters",
];

/// Runs seeds on all cores; each in one thread, so that it is the same every time.
fn run_seeds(seeds: Range<u64>) -> Sum {
    let (next, sum) = (AtomicU64::new(seeds.start), Mutex::new(Sum::default()));
    let run = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        let outcome = run_seed(seed);
        sum.lock().expect("nobody panics with it").add(outcome);
    };
    let cores_count = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores_count).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|why| resume_unwind(why));
        }
    });
    sum.into_inner().expect("nobody panicked with it")
}

/// Catalogue: A04, I24, L06, L11, L23.
#[test]
fn seeds() {
    let first = number_from("STOMPEDE_SIM_FIRST").unwrap_or(0);
    let seeds = match number_from("STOMPEDE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number_from("STOMPEDE_SIM_SEEDS").unwrap_or(SEEDS_COUNT),
    };
    let is_whole = seeds.end - seeds.start >= SEEDS_COUNT;
    let sum = run_seeds(seeds);
    println!("{} deliveries, {} given up", sum.deliveries_count, sum.missed_count);
    println!("recoveries refused and granted: {:?}", sum.recoveries);
    println!("seen: {:#?}", sum.seen);
    assert!(sum.deliveries_count > 0);
    if is_whole {
        sum.check();
    }
}

/// Issue 5: the model of the broker and the sharded broker agree.
#[test]
fn the_model_and_the_shards_agree() {
    let first = number_from("STOMPEDE_SIM_FIRST").unwrap_or(0);
    let seeds = match number_from("STOMPEDE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number_from("STOMPEDE_SIM_SEEDS").unwrap_or(SEEDS_COUNT) / 5,
    };
    let count = seeds.end - seeds.start;
    let mut sums = (0, 0, 0);
    for seed in seeds {
        let outcome = catch_unwind(|| lockstep::run(seed)).unwrap_or_else(|_| {
            panic!(
                "seed {seed} fails; replay it with: \
                 STOMPEDE_SIM_SEED={seed} cargo test -p stompede --test sim the_model"
            )
        });
        sums = (sums.0 + outcome.0, sums.1 + outcome.1, sums.2 + outcome.2);
    }
    println!("(deliveries, deaths, refusals): {sums:?}");
    assert!(count < 10 || (sums.0 > 0 && sums.1 > 0 && sums.2 > 0), "{sums:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 2, 3, 4] {
        assert_eq!(run_seed(seed), run_seed(seed), "seed {seed}");
    }
    assert_ne!(run_seed(1).trace, run_seed(2).trace);
}

/// A run in which the others all have this fate; the canaries and two who stay notice nothing.
fn all_with(fate: Fate) -> Outcome {
    let mut fates = vec![Fate::Stay; 2];
    fates.extend([fate; 8]);
    // Rings as small as those of some seeds would keep the others waiting behind a flood.
    let (ring_capacity, selector_turn_steps_max) = (64, u64::MAX);
    let plan = Plan::new(fate as u64);
    Plan { fates, rounds_count: 300, ring_capacity, selector_turn_steps_max, ..plan }.run()
}

/// Catalogue: I25, K05.
#[test]
fn a_flood_harms_nobody() {
    let outcome = all_with(Fate::Flood);
    assert!(outcome.publications_count > 5_000, "{outcome:?}");
}

/// Catalogue: A12, K01, K02.
#[test]
fn stalled_readers_are_ended_and_counted() {
    all_with(Fate::Stall);
}

/// Catalogue: A10, H13.
#[test]
fn half_open_peers_are_found() {
    all_with(Fate::Vanish);
}

/// Catalogue: C24, E27.
#[test]
fn clients_killed_in_mid_frame_leave_nothing_behind() {
    all_with(Fate::MidFrame);
}

/// Catalogue: H22.
#[test]
fn garbage_ends_only_its_sender() {
    all_with(Fate::Garbage);
}

/// Catalogue: K05, L10.
#[test]
fn full_rings_between_shards_lose_nothing() {
    let mut fates = vec![Fate::Stay; 4];
    fates.extend([Fate::Flood; 4]);
    let selector_turn_steps_max = u64::MAX;
    let plan = Plan::new(9);
    Plan { fates, ring_capacity: 1, shards_count: 4, selector_turn_steps_max, ..plan }.run();
}
