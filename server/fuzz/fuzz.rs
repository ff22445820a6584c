//! The fuzzer: one binary for all targets, so that they are linked once.
//!
//! `FUZZ_TARGET` names the target; the arguments are libFuzzer's. Run it by `scripts/fuzz`.

#![no_main]

use libfuzzer_sys::{fuzz_target, Corpus};
use std::sync::OnceLock;
use stompede_fuzz::{target, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let Some(found) = target(&name) else { panic!("FUZZ_TARGET: seen {name:?}") };
        TARGET.get_or_init(|| found);
    },
    |input: &[u8]| -> Corpus {
        if let Some(target) = TARGET.get() {
            (target.run)(input);
        }
        Corpus::Keep
    }
);
