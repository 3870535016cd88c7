//! Quantiles of a slice, and the question whether a count supports one.

/// The least expected number of observations beyond a quantile, see [`supported`].
pub const EXPECTED_BEYOND: f64 = 10.0;

/// Whether `count` observations support the quantile `q`.
///
/// Of `n` observations a binomial number lies beyond the true quantile: with `t = min(q, 1 - q)` its mean is `nt` and
/// its coefficient of variation `sqrt((1 - t) / nt)`. A quantile counts as supported where that is at most
/// `1 / sqrt(10)`, so that `nt / (1 - t) >= 10`: 30 observations for a quartile, 990 for p99, a million for p99.999. The
/// median is the one figure of location that any observation supports; the extremes 0 and 1 are
/// supported by none.
pub fn supported(count: u64, q: f64) -> bool {
    let tail = q.min(1.0 - q);
    if q == 0.5 {
        return count > 0;
    }
    tail > 0.0 && count as f64 * tail / (1.0 - tail) >= EXPECTED_BEYOND * (1.0 - 1e-9)
}

/// The values in ascending order.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// The quantile `q` in 0..=1 of ascending values: type 7 of Hyndman & Fan (1996), as numpy and R have it.
/// `None` without values or for a `q` outside.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    if sorted.is_empty() || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let at = q * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let (low, high) = (sorted[below], sorted[above]);
    // Clamped, because rounding must not carry the quantile of equal neighbours beyond them.
    Some((low + (at - below as f64) * (high - low)).clamp(low, high))
}

/// The median of values in any order.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(&sorted(values), 0.5)
}

/// Median absolute deviation from the median, unscaled: half the observations lie within it.
pub fn mad(values: &[f64]) -> Option<f64> {
    let middle = median(values)?;
    let deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    median(&deviations)
}

/// Interquartile range of values in any order.
pub fn iqr(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    Some(quantile(&sorted, 0.75)? - quantile(&sorted, 0.25)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const X: [f64; 10] = [61.5, 63.0, 59.25, 88.0, 60.0, 61.0, 140.75, 62.0, 60.5, 61.25];

    #[test]
    fn agrees_with_numpy_and_scipy() {
        let ascending = sorted(&X);
        // np.quantile(x, q)
        for (q, expected) in [
            (0.0, 59.25),
            (0.1, 59.925),
            (0.25, 60.625),
            (0.5, 61.375),
            (0.9, 93.27499999999998),
            (0.99, 136.0025),
            (1.0, 140.75),
        ] {
            let got = quantile(&ascending, q).unwrap();
            assert!((got - expected).abs() < 1e-9, "q {q}: {got} is not {expected}");
        }
        assert!((mad(&X).unwrap() - 1.125).abs() < 1e-9); // scipy.stats.median_abs_deviation(x)
        assert!((iqr(&X).unwrap() - 2.125).abs() < 1e-9); // scipy.stats.iqr(x)
    }

    #[test]
    fn a_quantile_needs_its_count() {
        for (q, needed) in [(0.25, 30), (0.9, 90), (0.99, 990), (0.01, 990), (0.99999, 999_990)] {
            assert!(supported(needed, q), "p{q} with {needed}");
            assert!(!supported(needed - 1, q), "p{q} with {}", needed - 1);
        }
        assert!(supported(1, 0.5) && !supported(0, 0.5));
        assert!(!supported(u64::MAX, 1.0) && !supported(u64::MAX, 0.0) && !supported(9, f64::NAN));
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[1.0], 1.5), None);
        assert_eq!(quantile(&[1.0], f64::NAN), None);
        assert_eq!((median(&[]), mad(&[]), iqr(&[])), (None, None, None));
    }

    proptest! {
        #[test]
        fn quantiles_rise_and_stay_inside(
            values in proptest::collection::vec(-1e6..1e6f64, 1..60), p in 0.0..=1.0f64, q in 0.0..=1.0f64,
        ) {
            let ascending = sorted(&values);
            let (low, high) = (quantile(&ascending, p.min(q)).unwrap(), quantile(&ascending, p.max(q)).unwrap());
            prop_assert!(low <= high);
            prop_assert!(ascending[0] <= low && high <= ascending[ascending.len() - 1]);
        }

        #[test]
        fn mirrored_values_have_mirrored_quantiles(
            values in proptest::collection::vec(-1e6..1e6f64, 1..60), q in 0.0..=1.0f64,
        ) {
            let mirrored: Vec<f64> = values.iter().map(|value| -value).collect();
            let (here, there) = (quantile(&sorted(&values), q).unwrap(), quantile(&sorted(&mirrored), 1.0 - q).unwrap());
            prop_assert!((here + there).abs() < 1e-6);
        }

        #[test]
        fn spread_ignores_a_shift_and_follows_a_scale(
            values in proptest::collection::vec(-1e3..1e3f64, 1..60), shift in -1e3..1e3f64, scale in 0.01..100.0f64,
        ) {
            let moved: Vec<f64> = values.iter().map(|value| value * scale + shift).collect();
            prop_assert!((mad(&moved).unwrap() - scale * mad(&values).unwrap()).abs() < 1e-7);
            prop_assert!((iqr(&moved).unwrap() - scale * iqr(&values).unwrap()).abs() < 1e-7);
            prop_assert!((median(&moved).unwrap() - scale * median(&values).unwrap() - shift).abs() < 1e-7);
        }
    }
}
