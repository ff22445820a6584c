//! `compare A.json B.json`: two reports side by side, with the ratio of each figure.

use crate::report::Report;
use std::fmt::Write as _;
use std::path::Path;

/// Reads a report that `--out json` wrote.
///
/// # Errors
/// The file and what is wrong with it.
pub fn read(path: &Path) -> Result<Report, String> {
    let explain = |error: String| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| explain(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| explain(error.to_string()))
}

/// The table: figure, A, B, B / A.
pub fn table(a: &Report, b: &Report) -> String {
    let mut out = format!("A  {}\n   {}\nB  {}\n   {}\n", a.title, a.machine, b.title, b.machine);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:<28} {:>14} {:>14} {:>8}", "", "A", "B", "B/A");
    for ((name, a), (_, b)) in figures(a).into_iter().zip(figures(b)) {
        let show = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
        let ratio = match (a, b) {
            (Some(a), Some(b)) if a != 0.0 => format!("{:.3}", b / a),
            _ => "-".into(),
        };
        if a.is_some() || b.is_some() {
            let _ = writeln!(out, "{name:<28} {:>14} {:>14} {ratio:>8}", show(a), show(b));
        }
    }
    out
}

fn figures(report: &Report) -> Vec<(&'static str, Option<f64>)> {
    let latency = &report.latency;
    vec![
        ("connect time, s", Some(report.ramp_s)),
        ("connect p99, ms", Some(report.connect.p99_us / 1e3)),
        ("deliveries/s", Some(report.delivered_per_s)),
        ("deliveries/read", Some(report.deliveries_per_read)),
        ("polls/s", Some(report.polls_per_s).filter(|polls| *polls > 0.0)),
        ("polls/CPU s", report.polls_per_cpu_s),
        ("latency p50, ms", Some(latency.p50_us / 1e3)),
        ("latency p90, ms", Some(latency.p90_us / 1e3)),
        ("latency p99, ms", Some(latency.p99_us / 1e3)),
        ("latency p99.9, ms", Some(latency.p999_us / 1e3)),
        ("latency p99.99, ms", Some(latency.p9999_us / 1e3)),
        ("latency max, ms", Some(latency.max_us / 1e3)),
        ("first subscriber p99, ms", Some(report.first.p99_us / 1e3)),
        ("last subscriber p99, ms", Some(report.last.p99_us / 1e3)),
        ("lost", Some(report.lost as f64)),
        ("duplicates", Some(report.duplicates as f64)),
        ("reordered", Some(report.reordered as f64)),
        ("corrupt", Some(report.corrupt as f64)),
        ("redelivered", Some(report.redelivered as f64)),
        ("acknowledged/s of server CPU", report.acknowledged_per_core_s),
        ("µs CPU/connect", report.cpu_us_per_connect),
        ("µs CPU/delivery", report.cpu_us_per_delivery),
        ("µs CPU/s/idle connection", report.idle_cpu_us_per_s),
        ("B PSS/connection", report.pss_bytes_per_connection),
        ("x the bare send", report.floor_ratio),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_side_by_side_with_their_ratio() {
        let (mut a, mut b) = (Report::default(), Report::default());
        a.latency.p99_us = 2_000.0;
        b.latency.p99_us = 3_000.0;
        b.cpu_us_per_delivery = Some(4.0);
        let table = table(&a, &b);
        let row = |name: &str| {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            line[28..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(row("latency p99,"), ["2.000", "3.000", "1.500"]);
        assert_eq!(row("µs CPU/delivery"), ["-", "4.000", "-"]);
        assert!(!table.contains("x the bare send"));
    }
}
