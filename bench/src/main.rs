//! Command line of the load generator.

use clap::Parser;
use std::process::ExitCode;
use stompede_bench::options::{Command, Common, Invocation, Options};
use stompede_bench::progress::Progress;
use stompede_bench::report::Report;
use stompede_bench::run::Silent;
use stompede_bench::{attack, compare, floor, output, run, soak};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code for a mistake of the operator.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match go() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("stompede-bench: {error}");
            ExitCode::from(USAGE)
        }
    }
}

fn go() -> Result<ExitCode, String> {
    let options = Options::parse();
    let Some(invocation) = options.command.invocation()? else {
        return without_run(&options.command);
    };
    let Invocation { scenario, plan, common, floor, soak } = invocation;
    let mut progress = Progress::default();
    if let Some(terms) = soak {
        return conclude(&soak::run(&plan, &terms, &mut progress)?, scenario, common);
    }
    let outcome = run::run(plan.clone(), &mut progress)?;
    let mut report = Report::new(scenario, &plan, &outcome);
    if report.faults().is_empty() {
        for round in 0..floor {
            eprintln!("bare loop, round {} of {floor}", round + 1);
            let bare = floor::measure(&plan, outcome.frame_bytes)?;
            let again = match round {
                0 => None,
                _ => Some(run::run(plan.clone(), &mut Silent)?),
            };
            report.add_floor(again.as_ref().unwrap_or(&outcome), &bare);
        }
    }
    conclude(&report, scenario, common)
}

/// Shows and writes a report; the verdict is the exit status.
fn conclude(report: &Report, scenario: &str, common: &Common) -> Result<ExitCode, String> {
    print!("{}", report.table());
    output::write(report, scenario, &common.out, &common.out_dir)?;
    let mut faults = report.faults();
    faults.extend(common.fail_if.iter().filter_map(|bound| bound.check(report)));
    if faults.is_empty() {
        println!("{:<10} PASS", "verdict");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<10} FAIL: {}", "verdict", faults.join(", "));
    Ok(ExitCode::FAILURE)
}

fn without_run(command: &Command) -> Result<ExitCode, String> {
    match command {
        Command::Compare { a, b } => {
            print!("{}", compare::table(&compare::read(a)?, &compare::read(b)?));
        }
        Command::Attack(order) if !attack::play(order)? => return Ok(ExitCode::FAILURE),
        Command::FloorSender(sender) => {
            floor::send(sender).map_err(|error| format!("the bare loop: {error}"))?;
        }
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}
