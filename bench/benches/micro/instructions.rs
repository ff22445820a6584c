//! Instructions per operation, compared with the maxima of `instructions.toml`.
//!
//! Times of a shared machine say little; counts are the same in every run, so they are the gate.
//! The binary starts itself under a counter, once with few repetitions and once with many: the
//! difference is the operation's own. The counter is callgrind, which needs no privilege and
//! counts the same everywhere, or `perf stat` where there is no valgrind. Without either the
//! answer is exit status 77, said loudly.

use crate::operations;
use std::process::Command;

/// Allowed maxima by operation; twins are measured and shown, never judged.
const MAXIMA: &str = include_str!("instructions.toml");
const FEW: u64 = 100;
const MANY: u64 = 300;
/// Exit status for what could not be checked.
const SKIPPED: i32 = 77;

#[derive(Clone, Copy)]
enum Counter {
    Callgrind,
    Perf,
}

/// Without arguments: counts all and judges. `print`: the same as lines of a new gate file.
/// `run NAME COUNT`: what the counter is to count.
pub fn main(arguments: &[&str]) -> i32 {
    match arguments {
        ["run", name, count] => run(name, count),
        ["print"] => print(),
        [] => judge(),
        _ => fail("usage: --instructions [print]"),
    }
}

fn fail(what: &str) -> i32 {
    eprintln!("instructions: {what}");
    1
}

fn run(name: &str, count: &str) -> i32 {
    let operation = operations().into_iter().find(|operation| operation.name == name);
    match (operation, count.parse()) {
        (Some(operation), Ok(count)) => {
            (operation.prepare)()(count);
            0
        }
        _ => fail("no such operation or count"),
    }
}

fn print() -> i32 {
    let Some(counter) = find_counter() else { return skip() };
    for operation in operations().iter().filter(|operation| !is_twin(operation.name)) {
        match count(counter, operation.name) {
            // Room for another compiler's mood, not for a further pass over the bytes.
            Some(seen) => println!("\"{}\" = {}", operation.name, (seen * 1.1).ceil() as i64 + 1),
            None => return fail("the counter failed"),
        }
    }
    0
}

fn judge() -> i32 {
    let maxima: toml::Table = match MAXIMA.parse() {
        Ok(maxima) => maxima,
        Err(error) => return fail(&format!("instructions.toml: {error}")),
    };
    let operations = operations();
    for name in maxima.keys() {
        if !operations.iter().any(|operation| operation.name == name) {
            return fail(&format!("instructions.toml names `{name}`, which is no operation"));
        }
    }
    let Some(counter) = find_counter() else { return skip() };
    let mut bad = 0;
    println!("{:>10}  {:>7}  operation", "seen", "allowed");
    for operation in &operations {
        let name = operation.name;
        let Some(seen) = count(counter, name) else { return fail("the counter failed") };
        let allowed = maxima.get(name).and_then(toml::Value::as_integer);
        let verdict = match allowed {
            _ if is_twin(name) => "",
            Some(allowed) if seen <= allowed as f64 => "",
            Some(_) => "  TOO MANY",
            None => "  NOT IN instructions.toml",
        };
        let allowed = allowed.map_or("-".to_owned(), |allowed| allowed.to_string());
        println!("{seen:>10.1}  {allowed:>7}  {name}{verdict}");
        bad += i32::from(!verdict.is_empty());
    }
    println!("instructions: {} operations, {bad} bad", operations.len());
    i32::from(bad > 0)
}

fn is_twin(name: &str) -> bool {
    name.contains("(naive")
}

fn skip() -> i32 {
    eprintln!("instructions: SKIPPED, NOTHING WAS COUNTED: neither valgrind nor perf counters");
    SKIPPED
}

fn find_counter() -> Option<Counter> {
    let name = operations().first()?.name;
    let counters = [Counter::Callgrind, Counter::Perf];
    counters.into_iter().find(|&counter| total(counter, name, 1).is_some())
}

/// Instructions of one repetition.
fn count(counter: Counter, name: &str) -> Option<f64> {
    let few = total(counter, name, FEW)?;
    let many = total(counter, name, MANY)?;
    Some(many.saturating_sub(few) as f64 / (MANY - FEW) as f64)
}

/// Instructions of a whole process that does the operation `repetitions` times.
fn total(counter: Counter, name: &str, repetitions: u64) -> Option<u64> {
    let own = std::env::current_exe().ok()?;
    let mut command = match counter {
        Counter::Callgrind => {
            let mut command = Command::new("valgrind");
            command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
            command
        }
        Counter::Perf => {
            let mut command = Command::new("perf");
            command.args(["stat", "-x,", "-e", "instructions:u"]);
            command
        }
    };
    command.arg(own).args(["--instructions", "run", name, &repetitions.to_string()]);
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().find_map(|line| match counter {
        Counter::Callgrind => line.split_once("Collected : ")?.1.trim().parse().ok(),
        // "<not supported>" where the counters are closed to us.
        Counter::Perf => line.split_once(",,instructions:u")?.0.parse().ok(),
    })
}
