//! Command line of the load generator.

use clap::Parser;
use std::process::ExitCode;
use stompede_bench::options::Options;
use stompede_bench::progress::Progress;
use stompede_bench::report::Report;
use stompede_bench::run;

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
    let (scenario, plan, common) = options.command.plan()?;
    let outcome = run::run(plan.clone(), &mut Progress::default())?;
    let report = Report::new(scenario, &plan, &outcome);
    print!("{}", report.table());
    for out in &common.out {
        let (kind, file) = out.split_once('=').unwrap_or((out, ""));
        if kind != "json" {
            return Err(format!("seen --out {out}; write json or json=FILE"));
        }
        let file = match file {
            "" => common.out_dir.join(format!("{scenario}.json")),
            file => file.into(),
        };
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let faults = report.faults();
    if faults.is_empty() {
        println!("{:<10} PASS", "verdict");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<10} FAIL: {}", "verdict", faults.join(", "));
    Ok(ExitCode::FAILURE)
}
