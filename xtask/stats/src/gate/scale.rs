//! Scales: statistics of different degrees of freedom as normal deviates, and what a test can find.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Student's t as a normal deviate with about the same tail: z = (8 n + 1) / (8 n + 3) * sqrt(n ln(1 + t^2 / n)) for n degrees of freedom
/// (Wallace 1959, Bounds on normal approximations to Student's and the chi-square distributions). It rises with t and has a simple
/// inverse, which is all that a permutation test asks of a scale. Takes and gives signed squares: of t, and of z.
pub(super) fn deviate(signed_square: f64, freedom: f64) -> f64 {
    let factor = wallace(freedom);
    (factor * factor * freedom * (signed_square.abs() / freedom).ln_1p()).copysign(signed_square)
}

/// The inverse of [`deviate`].
pub(super) fn statistic(deviate: f64, freedom: f64) -> f64 {
    let factor = wallace(freedom);
    (freedom * (deviate.abs() / (factor * factor * freedom)).exp_m1()).copysign(deviate)
}

fn wallace(freedom: f64) -> f64 {
    (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
}

/// Student's t of `count` values whose sum, with their squares summing to 1, is `sum`: its signed square. That is
/// t^2 = (count - 1) r^2 / (1 - r^2) with r^2 = sum^2 / count.
pub(super) fn square_of_sum(sum: f64, count: f64) -> f64 {
    let r = (sum * sum / count).min(1.0);
    ((count - 1.0) * r / (1.0 - r)).copysign(sum)
}

/// The inverse of [`square_of_sum`].
pub(super) fn sum_of_square(signed_square: f64, count: f64) -> f64 {
    let square = signed_square.abs();
    let r = if square.is_finite() { square / (count - 1.0 + square) } else { 1.0 };
    (r * count).sqrt().copysign(signed_square)
}

/// How many standard errors a change must be for a test with this critical deviate to flag it with chance `power`: the noncentrality of
/// Student's t, by the normal approximation c (1 - 1 / 4n) + z sqrt(1 + c^2 / 2n) (Abramowitz & Stegun 1964, 26.7.10), with c the critical t
/// and z the normal quantile of the power.
pub(super) fn detectable(critical: f64, power: f64, freedom: f64) -> f64 {
    let square = statistic((critical * critical).copysign(critical), freedom);
    let reach = square.abs().sqrt().copysign(square);
    let widened = (1.0 + square.abs() / (2.0 * freedom)).sqrt();
    reach * (1.0 - 0.25 / freedom) + normal_quantile(power) * widened
}

/// Pairs of which the rarest relabelling is at most `alpha` rare: 2^-pairs.
pub(super) fn pairs_for(alpha: f64) -> u32 {
    (2..64).find(|&pairs| 0.5f64.powi(pairs) <= alpha).unwrap_or(64).unsigned_abs()
}

/// Quantile of the normal law.
pub(super) fn normal_quantile(q: f64) -> f64 {
    Normal::standard().inverse_cdf(q.clamp(0.0, 1.0))
}

/// Quantile of Student's law; unbounded without degrees of freedom.
pub(super) fn student_quantile(q: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |law| law.inverse_cdf(q))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_tail_as_a_normal_deviate() {
        // scipy.stats.norm.isf(scipy.stats.t.sf(t, n))
        for (t, n, z) in [
            (2.0, 5.0, 1.635522896700349),
            (3.0, 9.0, 2.433433949564479),
            (7.0, 9.0, 4.0003555312866155),
            (4.0, 38.0, 3.630940231277042),
        ] {
            let found = deviate(t * t, n).sqrt();
            assert!((found / z - 1.0).abs() < 0.005, "{found} is not {z}");
            assert!((statistic(found * found, n) - t * t).abs() < 1e-9);
            assert_eq!(deviate(-t * t, n), -found * found);
        }
    }

    #[test]
    fn a_sum_is_a_students_t() {
        // d = np.array([.3, -.1, .4, .2, .25]); t = scipy.stats.ttest_1samp(d, 0).statistic; t * t, d.sum() / np.sqrt(d @ d)
        let (square, sum) = (6.211267605633805, 1.7439550769285392);
        assert!((square_of_sum(sum, 5.0) - square).abs() < 1e-9);
        assert!((sum_of_square(square, 5.0) - sum).abs() < 1e-9);
        assert_eq!(sum_of_square(f64::INFINITY, 4.0), 2.0);
        assert_eq!(square_of_sum(2.0, 4.0), f64::INFINITY);
        assert_eq!(sum_of_square(-square, 5.0), -sum_of_square(square, 5.0));
    }

    #[test]
    fn what_can_be_found_is_a_quantile_of_the_noncentral_law() {
        // c = scipy.stats.t.isf(scipy.stats.norm.sf(z), n); scipy.optimize.brentq(lambda x: scipy.stats.nct.sf(c, n, x) - power, 0, 50)
        for (z, power, n, expected) in [
            (2.33, 0.9, 9.0, 4.288699886021227),
            (4.0, 0.9, 9.0, 9.28749172267662),
            (4.0, 0.8, 38.0, 5.411457059220774),
        ] {
            let found = detectable(z, power, n);
            assert!((found / expected - 1.0).abs() < 0.01, "{found} for {expected}");
        }
    }

    #[test]
    fn few_pairs_cannot_be_significant() {
        assert_eq!([0.05, 0.01, 0.001].map(pairs_for), [5, 7, 10]);
    }
}
