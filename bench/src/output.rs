//! `--out`: a report as JSON, its seconds as CSV, its latencies as an HdrHistogram table.

use crate::report::Report;
use std::fmt::Write as _;
use std::path::Path;

/// Writes every `kind` or `kind=FILE` of `outs`; files without a name go into `dir`.
///
/// # Errors
/// An unknown kind, or a file that cannot be written.
pub fn write(report: &Report, scenario: &str, outs: &[String], dir: &Path) -> Result<(), String> {
    for out in outs {
        let (kind, file) = out.split_once('=').unwrap_or((out, ""));
        let text = match kind {
            "json" => json(report)?,
            "csv" => csv(report),
            "hdr" => hdr(report),
            "html" => crate::html::page(report)?,
            _ => return Err(format!("seen --out {kind}; write json, csv, hdr or html")),
        };
        let path = match file {
            "" => dir.join(format!("{scenario}.{kind}")),
            file => file.into(),
        };
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn json(report: &Report) -> Result<String, String> {
    serde_json::to_string_pretty(report).map_err(|error| error.to_string())
}

/// One line a second.
fn csv(report: &Report) -> String {
    let mut out = "second,stage,live,published_per_s,delivered_per_s,p50_us,p99_us,max_us,\
                   server_cores,server_pss_bytes,server_rss_bytes\n"
        .to_owned();
    for second in &report.seconds {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:.3},{},{},{},{},{:.3},{:.3},{:.3},{:.3},{},{}",
            second.at_s,
            second.stage,
            second.live,
            second.published,
            second.delivered,
            second.p50_us,
            second.p99_us,
            second.max_us,
            second.server_cores,
            second.server_pss_bytes,
            second.server_rss_bytes
        );
    }
    out
}

/// The text form that HdrHistogram's plotters read; values in milliseconds.
fn hdr(report: &Report) -> String {
    let mut out = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for &(percent, value_us, count) in &report.distribution {
        let share = percent / 100.0;
        let inverse =
            if share < 1.0 { format!("{:.2}", 1.0 / (1.0 - share)) } else { "inf".into() };
        let _ = writeln!(out, "{:>12.3} {share:>14.12} {count:>10} {inverse:>14}", value_us / 1e3);
    }
    let latency = &report.latency;
    let _ =
        writeln!(out, "#[Mean    = {:>12.3}, StdDeviation   = {:>12}]", latency.mean_us / 1e3, "-");
    let _ = writeln!(
        out,
        "#[Max     = {:>12.3}, Total count    = {:>12}]",
        latency.max_us / 1e3,
        latency.count
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Second;

    #[test]
    fn a_report_survives_json_and_has_a_line_for_every_second() {
        let report = Report {
            seconds: vec![Second { stage: "publish".into(), ..Second::default() }; 3],
            distribution: vec![(50.0, 10.0, 1), (100.0, 20.0, 2)],
            lost: 7,
            ..Report::default()
        };
        let read: Report = serde_json::from_str(&json(&report).unwrap()).unwrap();
        assert_eq!((read.lost, read.seconds.len()), (7, 3));
        assert_eq!(csv(&report).lines().count(), 4);
        let table = hdr(&report);
        assert!(table.contains("0.500000000000          1           2.00"), "{table}");
        assert!(table.contains("inf"));
    }

    #[test]
    fn unknown_kinds_are_refused() {
        let out = ["yaml".to_owned()];
        assert!(write(&Report::default(), "x", &out, Path::new(".")).is_err());
    }
}
