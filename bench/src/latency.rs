//! Latencies: recorded with three significant digits, merged, never averaged.

use crate::clock::Nanos;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency told apart, in nanoseconds: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// A histogram of nanoseconds.
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        // The bounds are constants that the constructor accepts; see the test.
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3);
        Latencies(histogram.unwrap_or_else(|_| unreachable!("bounds are valid")))
    }
}

/// What is reported of a histogram; times in microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Summary {
    /// Number of values.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_us: f64,
    /// Median.
    pub p50_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// 99.99th percentile.
    pub p9999_us: f64,
    /// Largest value.
    pub max_us: f64,
}

impl Latencies {
    /// Records one value; more than an hour counts as an hour.
    #[inline]
    pub fn record(&mut self, ns: Nanos) {
        self.0.saturating_record(ns);
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Latencies) {
        // Same bounds, so it cannot fail.
        let _ = self.0.add(&other.0);
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that `percent` of the values do not exceed, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.0.value_at_quantile(percent / 100.0) as f64 / 1e3
    }

    /// The figures that are reported.
    pub fn summary(&self) -> Summary {
        Summary {
            count: self.count(),
            mean_us: self.0.mean() / 1e3,
            p50_us: self.percentile_us(50.0),
            p90_us: self.percentile_us(90.0),
            p99_us: self.percentile_us(99.0),
            p999_us: self.percentile_us(99.9),
            p9999_us: self.percentile_us(99.99),
            max_us: self.0.max() as f64 / 1e3,
        }
    }

    /// Points of the percentile distribution: percentile, value in microseconds, values up to it.
    pub fn distribution(&self) -> Vec<(f64, f64, u64)> {
        let points = self.0.iter_quantiles(5);
        points
            .map(|point| {
                let value = point.value_iterated_to() as f64 / 1e3;
                (point.quantile_iterated_to() * 100.0, value, point.count_since_last_iteration())
            })
            .scan(0, |sum, (percent, value, count)| {
                *sum += count;
                Some((percent, value, *sum))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_percentiles_are_those_of_all_values_not_an_average() {
        let (mut fast, mut slow) = (Latencies::default(), Latencies::default());
        for _ in 0..990 {
            fast.record(1_000);
        }
        for _ in 0..10 {
            slow.record(1_000_000);
        }
        let mut both = Latencies::default();
        both.merge(&fast);
        both.merge(&slow);
        let summary = both.summary();
        assert_eq!(summary.count, 1_000);
        assert!((summary.p99_us - 1.0).abs() < 0.01, "{summary:?}");
        assert!((summary.p999_us - 1_000.0).abs() < 1.0, "{summary:?}");
        both.clear();
        assert_eq!(both.count(), 0);
    }

    #[test]
    fn values_past_the_bounds_are_kept() {
        let mut latencies = Latencies::default();
        latencies.record(0);
        latencies.record(u64::MAX);
        assert_eq!(latencies.count(), 2);
        assert!(latencies.summary().max_us >= 3.5e9);
        assert_eq!(latencies.distribution().last().map(|point| point.2), Some(2));
    }
}
