//! How far a series has slid from a reference: what no single change shows.

use statrs::distribution::{ContinuousCDF, Normal};

use super::changes;
use crate::moments::Moments;

/// The distance between two sets of points of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Mean of the later points - mean of the reference.
    pub distance: f64,
    /// Its standard error.
    pub error: f64,
}

impl Drift {
    /// One-sided p-value of a distance of at most `margin`.
    pub fn p_beyond(&self, margin: f64) -> f64 {
        if self.error == 0.0 {
            return if self.distance > margin { 0.0 } else { 1.0 };
        }
        Normal::standard().sf((self.distance - margin) / self.error)
    }
}

/// The distance of the last `count` points from those at `reference`. The standard error of each mean of `n` points is `s sqrt((1 + phi) /
/// ((1 - phi) n))`, and no more than `s`, with the spread `s` about the levels and the autocorrelation `phi` of the whole series: what is
/// tested is the distance, so a change between the two must not count as noise. `None` where either set is empty or the series is too short to tell.
pub fn drift(values: &[f64], reference: &[usize], count: usize) -> Option<Drift> {
    let found = changes(values, 0.05).ok()?;
    let points: Vec<f64> =
        reference.iter().map(|&at| values.get(at).copied()).collect::<Option<_>>()?;
    let last = &values[values.len().saturating_sub(count)..];
    if points.is_empty() || last.is_empty() {
        return None;
    }
    let phi = found.autocorrelation;
    let square = |n: usize| {
        let inflated = (1.0 + phi) / ((1.0 - phi) * n as f64);
        found.sd * found.sd * inflated.min(1.0)
    };
    Some(Drift {
        distance: Moments::of(last).mean - Moments::of(&points).mean,
        error: (square(points.len()) + square(last.len())).sqrt(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_slide_is_a_distance() {
        let wobble = |at: usize| ((at * 7919) % 101) as f64 / 101.0 - 0.5;
        let slides: Vec<f64> = (0..200).map(|at| 0.001 * at as f64 + 0.02 * wobble(at)).collect();
        let found = drift(&slides, &[0, 1, 2], 10).unwrap();
        assert!((found.distance - 0.194).abs() < 0.01, "{found:?}");
        assert!(found.p_beyond(0.1) < 1e-3 && found.p_beyond(0.3) > 0.99, "{found:?}");
        let still: Vec<f64> = (0..200).map(|at| 0.02 * wobble(at)).collect();
        assert!(drift(&still, &[0], 10).unwrap().p_beyond(0.02) > 0.2);
    }

    #[test]
    fn without_points_there_is_none() {
        let x: Vec<f64> = (0..30).map(f64::from).collect();
        assert_eq!(drift(&x, &[], 10), None);
        assert_eq!(drift(&x, &[40], 10), None);
        assert_eq!(drift(&x[..5], &[0], 10), None);
        assert_eq!(drift(&[1.0; 30], &[0], 10).unwrap().p_beyond(0.0), 1.0);
    }
}
