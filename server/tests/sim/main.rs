//! Whole shards in simulation: seeded faults, a virtual clock, many clients, one thread.
//!
//! `cargo test -p stompede --test sim` runs some hundred seeds; `STOMPEDE_SIM_SEEDS=10000` runs
//! more, `STOMPEDE_SIM_SEED=7` one. A failing seed is printed with the command that replays it.
//! The rules that are checked are in [`history`] and at the end of [`world`] (design.md §5, §11).

mod client;
mod history;
mod line;
mod queues;
mod tunnel;
mod wire;
mod world;

use client::Fate;
use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
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

/// Catalogue: I24, L06, L11, L23.
#[test]
fn seeds() {
    let seeds = match number_from("STOMPEDE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from("STOMPEDE_SIM_SEEDS").unwrap_or(SEEDS_COUNT),
    };
    let is_whole = seeds.end - seeds.start >= SEEDS_COUNT;
    let mut ends = BTreeMap::new();
    let (mut deliveries_count, mut missed_count, mut recoveries) = (0, 0, [0; 2]);
    let mut queues = (0, 0);
    for seed in seeds {
        let outcome = run_seed(seed);
        deliveries_count += outcome.deliveries_count;
        missed_count += outcome.missed_count;
        (0..2).for_each(|at| recoveries[at] += outcome.recoveries[at]);
        queues.0 += outcome.redeliveries_count;
        queues.1 += outcome.refusals_count;
        for (reason, count) in outcome.ends {
            *ends.entry(reason).or_insert(0) += count;
        }
    }
    println!("{deliveries_count} deliveries, {missed_count} given up; ends: {ends:?}");
    println!("recoveries refused and granted: {recoveries:?}");
    println!("(redelivered, refused) by queues: {queues:?}");
    assert!(!is_whole || (queues.0 > 0 && queues.1 > 0), "{queues:?}");
    assert!(deliveries_count > 0);
    assert!(!is_whole || (recoveries[0] > 0 && recoveries[1] > 0 && missed_count > 0));
    // A simulation that never gets anywhere proves nothing.
    for reason in ["peer_reset", "slow_consumer", "heartbeat_missed", "stalled", "stomp_error"] {
        assert!(!is_whole || ends.contains_key(reason), "no seed ends a client by {reason}");
    }
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
    Plan { fates, rounds_count: 300, ..Plan::new(fate as u64) }.run()
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
    Plan { fates, ring_capacity: 1, shards_count: 4, ..Plan::new(9) }.run();
}
