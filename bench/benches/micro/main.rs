//! Criterion over the hot modules of the core and the mesh, and their instruction counts.
//!
//! One file per hot module, same name. Each gives its [`Operation`]s, and both measurements take
//! them as they are: criterion their time, [`instructions`] what the processor does for them. An
//! operation named `... (naive)` is the plain twin of the one above it: what the work costs when
//! it is written down without thought for speed.
//!
//! `scripts/bench micro` is the way in; `--instructions` as first argument counts and compares
//! with `instructions.toml` instead of timing.

mod decode;
mod encode;
mod frame;
mod instructions;
mod mask;
mod mesh;
mod outbound;
mod queue;
mod subscriptions;
mod utf8;

use criterion::{Criterion, Throughput};
use std::time::{Duration, Instant};

/// Something short that is done often.
pub struct Operation {
    /// Module, slash, what is done.
    name: &'static str,
    /// Bytes that one repetition goes through; 0 where bytes do not matter.
    bytes: usize,
    /// Makes what the operation needs. What is returned does it as often as it is told to.
    prepare: fn() -> Box<dyn FnMut(u64)>,
}

/// All operations, module by module.
fn operations() -> Vec<Operation> {
    [
        decode::operations(),
        encode::operations(),
        frame::operations(),
        mask::operations(),
        utf8::operations(),
        subscriptions::operations(),
        outbound::operations(),
        queue::operations(),
        mesh::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Times every operation that the command line's filter leaves.
fn time_all() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_000))
        .without_plots()
        .configure_from_args();
    for operation in operations() {
        let (module, what) = operation.name.split_once('/').unwrap_or((operation.name, ""));
        let mut group = criterion.benchmark_group(module);
        group.throughput(match operation.bytes {
            0 => Throughput::Elements(1),
            bytes => Throughput::Bytes(bytes as u64),
        });
        group.bench_function(what, |bencher| {
            let mut run = (operation.prepare)();
            bencher.iter_custom(|count| {
                let start = Instant::now();
                run(count);
                start.elapsed()
            });
        });
        group.finish();
    }
    criterion.final_summary();
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--instructions", rest @ ..] => std::process::exit(instructions::main(rest)),
        _ => time_all(),
    }
}
