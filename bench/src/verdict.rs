//! `--fail-if`: bounds on a report's figures, such as `p99>20ms,lost>0,cpu>6us`.

use crate::report::Report;

/// A bound that must not be passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    name: String,
    is_upper: bool,
    limit: f64,
    text: String,
}

/// A figure by its name in bounds; times in microseconds.
fn figure(report: &Report, name: &str) -> Option<f64> {
    let latency = &report.latency;
    Some(match name {
        "p50" => latency.p50_us,
        "p90" => latency.p90_us,
        "p99" => latency.p99_us,
        "p99.9" => latency.p999_us,
        "p99.99" => latency.p9999_us,
        "max" => latency.max_us,
        "first-p99" => report.first.p99_us,
        "last-p99" => report.last.p99_us,
        "connect-p99" => report.connect.p99_us,
        "ramp" => report.ramp_s * 1e6,
        "lost" => report.lost as f64,
        "duplicates" => report.duplicates as f64,
        "reordered" => report.reordered as f64,
        "corrupt" => report.corrupt as f64,
        "redelivered" => report.redelivered as f64,
        "unsettled" => report.unsettled as f64,
        "failed" => report.failed as f64,
        "dropped" => report.dropped as f64,
        "beats-missed" => report.heart_beats.2 as f64,
        "acknowledged" => report.acknowledged_per_core_s?,
        "rate" => report.delivered_per_s,
        "polls" => report.polls_per_s,
        "polls-cpu" => report.polls_per_cpu_s?,
        "cpu" => report.cpu_us_per_delivery?,
        "cpu-connect" => report.cpu_us_per_connect?,
        "cpu-idle" => report.idle_cpu_us_per_s?,
        "memory" => report.pss_bytes_per_connection?,
        "floor" => report.floor_ratio?,
        "growth" => report.soak.as_ref()?.growth()?.0,
        "drift" => report.soak.as_ref()?.drift?,
        _ => return None,
    })
}

/// Names that [`Bound::parse`] takes and that are times: a number alone says nothing.
const TIMES: [&str; 13] = [
    "p50",
    "p90",
    "p99",
    "p99.9",
    "p99.99",
    "max",
    "first-p99",
    "last-p99",
    "connect-p99",
    "ramp",
    "cpu",
    "cpu-connect",
    "cpu-idle",
];

/// The other names that it takes.
const AMOUNTS: [&str; 17] = [
    "lost",
    "duplicates",
    "reordered",
    "corrupt",
    "redelivered",
    "unsettled",
    "failed",
    "dropped",
    "beats-missed",
    "acknowledged",
    "rate",
    "polls",
    "polls-cpu",
    "memory",
    "floor",
    "growth",
    "drift",
];

impl Bound {
    /// Reads one bound.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Bound, String> {
        let form = || format!("seen `{text}`; write a bound such as p99>20ms or lost>0");
        let at = text.find(['<', '>']).ok_or_else(form)?;
        let name = text[..at].trim();
        if !TIMES.contains(&name) && !AMOUNTS.contains(&name) {
            let (times, amounts) = (TIMES.join(", "), AMOUNTS.join(", "));
            return Err(format!("seen `{name}`; there are {times}, {amounts}"));
        }
        let value = text[at + 1..].trim();
        let units = [("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6), ("k", 1e3), ("M", 1e6)];
        let unit =
            units.iter().find_map(|(unit, factor)| Some((value.strip_suffix(unit)?, factor)));
        let (digits, factor) = unit.unwrap_or((value, &1.0));
        let number = digits.parse::<f64>().map_err(|_| form())?;
        if TIMES.contains(&name) && number != 0.0 && !value.ends_with('s') {
            return Err(format!("seen `{text}`; {name} is a time: write a unit, us, ms or s"));
        }
        let limit = number * factor;
        let is_upper = text.as_bytes()[at] == b'>';
        Ok(Bound { name: name.into(), is_upper, limit, text: text.into() })
    }

    /// What is wrong with `report`, if it passed the bound.
    pub fn check(&self, report: &Report) -> Option<String> {
        let Some(value) = figure(report, &self.name) else {
            return Some(format!(
                "{}: not measured (is --pid or --floor missing, or is this no soak?)",
                self.text
            ));
        };
        let is_passed = if self.is_upper { value > self.limit } else { value < self.limit };
        is_passed.then(|| format!("{}: {value:.3}", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::{trend::Line, Soak};

    #[test]
    fn bounds_are_checked_in_their_units() {
        let mut report = Report { lost: 1, ..Report::default() };
        report.latency.p99_us = 20_500.0;
        report.delivered_per_s = 9e6;
        let fails = |text: &str| Bound::parse(text).unwrap().check(&report).is_some();
        assert!(fails("p99>20ms") && !fails("p99>21ms") && !fails("p99>0.1s"));
        assert!(fails("lost>0") && !fails("lost>1"));
        assert!(fails("rate<10M") && !fails("rate<9M"));
        assert!(fails("floor>1.05"), "what was not measured does not pass");
    }

    #[test]
    fn every_name_is_a_figure() {
        let report = Report {
            polls_per_cpu_s: Some(0.0),
            cpu_us_per_delivery: Some(0.0),
            cpu_us_per_connect: Some(0.0),
            idle_cpu_us_per_s: Some(0.0),
            pss_bytes_per_connection: Some(0.0),
            floor_ratio: Some(0.0),
            acknowledged_per_core_s: Some(0.0),
            soak: Some(Soak { memory: Some(Line::default()), drift: Some(1.0), ..Soak::default() }),
            ..Report::default()
        };
        assert!(TIMES.iter().chain(&AMOUNTS).all(|name| figure(&report, name).is_some()));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "p99", "p99=3", "p98>1ms", "p99>fast", ">1"] {
            assert!(Bound::parse(text).is_err(), "{text}");
        }
        for text in ["p99>20", "cpu>6", "ramp>3k"] {
            let error = Bound::parse(text).expect_err(text);
            assert!(error.contains("write a unit"), "{error}");
        }
        assert!(Bound::parse("lost>0").is_ok() && Bound::parse("p99>0").is_ok());
    }
}
