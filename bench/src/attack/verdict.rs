//! What the oracle found for one attack, as a line of the table.

use std::fmt::Write as _;
use std::time::Duration;

/// The line above the table.
pub const HEAD: &str =
    "id    verdict    took  canary p99      back      memory  counted  what was sent";

/// Did the server hold?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In every point.
    Held,
    /// Not in some.
    Fell,
    /// It has not what is attacked.
    LeftOut,
}

/// What became of one attack.
#[derive(Debug)]
pub struct Judgement {
    id: &'static str,
    sends: &'static str,
    /// Time of the attack itself.
    pub took: Duration,
    /// The canary's 99th percentile, in microseconds.
    pub canary_us: f64,
    /// Time until all was as before.
    pub back: Duration,
    /// Bytes by which the process grew; `None` if it cannot be seen.
    pub growth_bytes: Option<i64>,
    /// What was counted; `None` if nothing is, or it cannot be seen.
    pub counted: Option<i64>,
    /// Points that do not hold.
    pub faults: Vec<String>,
    /// Why it was not played.
    pub left_out: Option<&'static str>,
}

impl Judgement {
    /// Nothing is known yet.
    pub fn new(id: &'static str, sends: &'static str) -> Judgement {
        Judgement {
            id,
            sends,
            took: Duration::ZERO,
            canary_us: 0.0,
            back: Duration::ZERO,
            growth_bytes: None,
            counted: None,
            faults: Vec::new(),
            left_out: None,
        }
    }

    /// The sum of the points.
    pub fn verdict(&self) -> Verdict {
        match (self.left_out, self.faults.is_empty()) {
            (Some(_), _) => Verdict::LeftOut,
            (None, true) => Verdict::Held,
            (None, false) => Verdict::Fell,
        }
    }

    /// A line of the table, and one more for each point that does not hold.
    pub fn line(&self) -> String {
        if let Some(why) = self.left_out {
            return format!("{:<5} left out: {why}; {}", self.id, self.sends);
        }
        let verdict = if self.faults.is_empty() { "held" } else { "FELL" };
        let or_not = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let growth = self.growth_bytes.map(|bytes| format!("{:+} KiB", bytes / 1024));
        let mut line = format!(
            "{:<5} {verdict:<7} {:>5.1} s {:>8.1} ms {:>7.1} s {:>11} {:>8}  {}",
            self.id,
            self.took.as_secs_f64(),
            self.canary_us / 1e3,
            self.back.as_secs_f64(),
            or_not(growth),
            or_not(self.counted.map(|count| count.to_string())),
            self.sends,
        );
        for fault in &self.faults {
            // Writing to a String does not fail.
            let _ = write!(line, "\n      {fault}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_makes_it_fall_and_is_told() {
        let mut judged = Judgement::new("E05", "huge lengths");
        assert_eq!(judged.verdict(), Verdict::Held);
        assert!(judged.line().starts_with("E05   held"));
        judged.faults.push("memory: grew".into());
        assert_eq!(judged.verdict(), Verdict::Fell);
        assert!(judged.line().contains("FELL") && judged.line().ends_with("memory: grew"));
        judged.left_out = Some("no compression");
        assert_eq!(judged.verdict(), Verdict::LeftOut);
    }
}
