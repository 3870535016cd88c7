//! Variances of few boots, moderated by those of other cells.
//!
//! The variance of six differences is hardly known, but cells of one workload and aspect vary much alike. With d degrees of freedom of a cell's
//! own variance s^2, and d0, s0^2 those of a prior fitted to all cells, (d0 s0^2 + d s^2) / (d0 + d) has d0 + d degrees of freedom (Smyth 2004,
//! Linear models and empirical Bayes methods for assessing differential expression, Statistical Applications in Genetics and Molecular
//! Biology 3). Where cells differ by more than chance, d0 is small and the moderation goes away by itself.
//!
//! It only serves to choose suspects. Tests that flag take nothing from other cells.

use statrs::function::gamma::digamma;

/// What the cells of one workload and aspect say about the variance of any of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prior {
    /// Its weight in degrees of freedom; 0 where there is none, infinite where cells differ by chance only.
    pub(super) freedom: f64,
    pub(super) variance: f64,
}

impl Prior {
    /// No prior.
    pub(super) const NONE: Prior = Prior { freedom: 0.0, variance: 0.0 };

    /// Fits a prior to variances with their degrees of freedom, by the moments of their logarithms. Those of cells without spread do
    /// not count: they are of another kind than those that vary.
    pub(super) fn of(variances: &[(f64, f64)]) -> Prior {
        let vary: Vec<(f64, f64)> = variances
            .iter()
            .copied()
            .filter(|(variance, freedom)| {
                *variance > 0.0 && variance.is_finite() && *freedom >= 1.0
            })
            .collect();
        let count = vary.len() as f64;
        if vary.len() < LEAST {
            return Prior::NONE;
        }
        let level = |(variance, freedom): &(f64, f64)| {
            variance.ln() - digamma(freedom / 2.0) + (freedom / 2.0).ln()
        };
        let mean = vary.iter().map(level).sum::<f64>() / count;
        let squares: f64 = vary.iter().map(|one| (level(one) - mean).powi(2)).sum();
        let chance = vary.iter().map(|(_, freedom)| trigamma(freedom / 2.0)).sum::<f64>() / count;
        let beyond = squares / (count - 1.0) - chance;
        if beyond <= 0.0 {
            return Prior { freedom: f64::INFINITY, variance: mean.exp() };
        }
        let half = trigamma_inverse(beyond);
        Prior { freedom: 2.0 * half, variance: (mean + digamma(half) - half.ln()).exp() }
    }

    /// A variance with its degrees of freedom, moderated.
    pub(super) fn moderate(&self, variance: f64, freedom: f64) -> (f64, f64) {
        if self.freedom.is_infinite() {
            return (self.variance, f64::INFINITY);
        }
        let total = self.freedom + freedom;
        ((self.freedom * self.variance + freedom * variance) / total, total)
    }
}

/// Cells from which a prior is fitted.
const LEAST: usize = 4;

/// The second derivative of the logarithm of the gamma function, above 0: upwards by its recurrence, then by its asymptotic series
/// (Abramowitz & Stegun 1964, 6.4.6 and 6.4.12).
fn trigamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < 15.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    sum + (1.0 + (0.5 + (1.0 / 6.0 - y * (1.0 / 30.0 - y * (1.0 / 42.0 - y / 30.0))) / x) / x) / x
}

/// Where [`trigamma`] has this value, by bisection of its logarithm.
fn trigamma_inverse(value: f64) -> f64 {
    let (mut low, mut high) = (-25.0_f64, 25.0_f64);
    for _ in 0..100 {
        let middle = low.midpoint(high);
        if trigamma(middle.exp()) > value { low = middle } else { high = middle }
    }
    low.midpoint(high).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trigamma_agrees_with_scipy() {
        // scipy.special.polygamma(1, x)
        for (x, expected) in [
            (0.1, 101.43329915079275),
            (0.5, 4.93480220054468),
            (2.5, 0.4903577561002349),
            (20.0, 0.051270822935203124),
        ] {
            assert!((trigamma(x) / expected - 1.0).abs() < 1e-12, "{x}: {}", trigamma(x));
            assert!((trigamma_inverse(expected) / x - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_prior_agrees_with_the_formulas_in_scipy() {
        // v = np.array([.02, .035, .011, .05, .024, .09]); d = np.array([5, 5, 5, 7, 7, 9.])
        // e = np.log(v) - digamma(d / 2) + np.log(d / 2); x = e.var(ddof=1) - polygamma(1, d / 2).mean()
        // h = scipy.optimize.brentq(lambda h: polygamma(1, h) - x, 1e-3, 1e6); 2 * h, np.exp(e.mean() + digamma(h) - np.log(h))
        let variances = [0.02, 0.035, 0.011, 0.05, 0.024, 0.09];
        let all: Vec<(f64, f64)> =
            variances.into_iter().zip([5.0, 5.0, 5.0, 7.0, 7.0, 9.0]).collect();
        let found = Prior::of(&all);
        assert!((found.freedom / 21.259644568494114 - 1.0).abs() < 1e-6, "{found:?}");
        assert!((found.variance / 0.03484836610901403 - 1.0).abs() < 1e-6, "{found:?}");
        let (variance, freedom) = found.moderate(0.5, 5.0);
        assert!(variance < 0.5 && freedom > 5.0);
        // Cells that are as alike as chance allows, and too few of them.
        let alike = Prior::of(&[(0.02, 5.0), (0.021, 5.0), (0.019, 5.0), (0.02, 5.0), (0.0, 5.0)]);
        assert_eq!(alike.freedom, f64::INFINITY);
        assert_eq!(alike.moderate(3.0, 5.0).0, alike.variance);
        assert_eq!(Prior::of(&[(0.02, 5.0); 3]), Prior::NONE);
        assert_eq!(Prior::NONE.moderate(0.5, 5.0), (0.5, 5.0));
    }
}
