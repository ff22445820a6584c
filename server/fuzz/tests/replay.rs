//! Replays every corpus, and mutates it a little: what the fuzzer found stays found, on any
//! toolchain.
//!
//! The mutations are the same in every run; `scripts/fuzz` is the one that searches.

use std::fs;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use stompede::reactor::sim::Rng;
use stompede_fuzz::{target, TARGETS};

/// Mutations of each target's corpus; of the whole server fewer, for each is a life of a server.
const MUTATIONS_COUNT: usize = 3_000;
const SERVER_MUTATIONS_COUNT: usize = 150;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("readable")).collect()
}

/// Like libFuzzer's: bytes changed, taken out, repeated, or from another input.
fn mutate(rng: &mut Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut input = inputs[rng.below(inputs.len())].clone();
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(input.len() + 1);
        let end = (at + 1 + rng.below(16)).min(input.len());
        match rng.below(5) {
            0 if at < input.len() => input[at] ^= 1 << rng.below(8),
            1 if at < input.len() => input[at] = rng.next_u64() as u8,
            2 if at < end => _ = input.drain(at..end),
            3 if at < end => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            _ => {
                let other = &inputs[rng.below(inputs.len())];
                let from = rng.below(other.len() + 1);
                let to = (from + rng.below(64)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    input
}

fn replay(name: &str) {
    let target = target(name).expect("a target");
    let inputs = corpus(name);
    assert!(!inputs.is_empty(), "{name} has no corpus");
    let mut rng = Rng::new(1);
    let count = if name == "server" { SERVER_MUTATIONS_COUNT } else { MUTATIONS_COUNT };
    let mutations = (0..count).map(|_| mutate(&mut rng, &inputs));
    for input in inputs.iter().cloned().chain(mutations) {
        let run = || (target.run)(&input);
        assert!(catch_unwind(AssertUnwindSafe(run)).is_ok(), "{name}: {}", input.escape_ascii());
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let names = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), names);
        }
    };
}

replays!(config deflate encode http pattern selector server sockjs stomp websocket);
