//! Does a figure grow? A straight line through it by least squares, and the doubt about its slope.

use serde::{Deserialize, Serialize};

/// A line through points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Rise per unit of x.
    pub slope: f64,
    /// Standard error of the slope.
    pub error: f64,
    /// Value at x = 0.
    pub start: f64,
}

/// The line of least squares; `None` for fewer than three points or a single x.
pub fn line(points: &[(f64, f64)]) -> Option<Line> {
    let count = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    if spread <= 0.0 {
        return None;
    }
    let joint: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let slope = joint / spread;
    let start = y_mean - slope * x_mean;
    let rest: f64 = points.iter().map(|(x, y)| (y - start - slope * x).powi(2)).sum();
    Some(Line { slope, error: (rest / (count - 2.0) / spread).sqrt(), start })
}

/// The median of the last third over that of the first; `None` if either is empty or zero.
pub fn drift(values: &[f64]) -> Option<f64> {
    let third = values.len() / 3;
    let (first, last) = (median(&values[..third])?, median(&values[values.len() - third..])?);
    (first > 0.0).then(|| last / first)
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_is_found_without_doubt() {
        let points: Vec<_> = (0..50).map(|x| (f64::from(x), 7.0 + 2.5 * f64::from(x))).collect();
        let line = line(&points).unwrap();
        assert!((line.slope - 2.5).abs() < 1e-9 && (line.start - 7.0).abs() < 1e-9);
        assert!(line.error < 1e-9);
    }

    #[test]
    fn noise_shows_as_doubt_and_not_as_growth() {
        let noise = |x: u32| f64::from(x.wrapping_mul(2_654_435_761) >> 16) / 65_536.0;
        let points: Vec<_> = (0..200).map(|x| (f64::from(x), 1_000.0 * noise(x))).collect();
        let line = line(&points).unwrap();
        assert!(line.error > 0.1 && line.slope.abs() < 3.0 * line.error, "{line:?}");
    }

    #[test]
    fn too_little_is_no_line() {
        assert_eq!(line(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(line(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }

    #[test]
    fn drift_compares_the_ends_and_forgives_outliers() {
        let mut values = vec![10.0; 30];
        values[3] = 9_000.0;
        assert_eq!(drift(&values), Some(1.0));
        values[20..].fill(15.0);
        assert_eq!(drift(&values), Some(1.5));
        assert_eq!(drift(&[1.0, 2.0]), None);
    }
}
