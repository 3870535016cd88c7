//! The one place that asks the statistics. Logarithms in; intervals, p-values and what it would take out.
//!
//! Welch's t against the margin, one-sided each way, with Holm's correction over the family. The interval is that of
//! [`evenkeel_stats::interval`].

use evenkeel_stats::effect::{Effect, holm};
use evenkeel_stats::interval::{self, Interval, NoInterval};
use evenkeel_stats::moments::Moments;

use super::policy::Policy;

/// One number of a fresh start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Observation {
    /// The block in which it was measured.
    pub(super) block: u32,
    /// A logarithm; larger is worse.
    pub(super) value: f64,
}

/// The candidate is worse than the base by more than the margin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hypothesis<'a> {
    pub(super) base: &'a [Observation],
    pub(super) candidate: &'a [Observation],
    /// A logarithm above 0.
    pub(super) margin: f64,
}

/// What became of a hypothesis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tested {
    /// Candidate minus base, with its 95 % interval.
    pub(super) difference: Interval,
    /// Of being worse by no more than the margin.
    pub(super) p_worse: f64,
    /// Of being better by no more than the margin.
    pub(super) p_better: f64,
    /// Of differing by the margin or more, either way.
    pub(super) p_equivalent: f64,
    /// Corrected for the family.
    pub(super) p_worse_corrected: f64,
    /// Corrected for the family.
    pub(super) p_better_corrected: f64,
    /// The smallest difference for the worse that would have been flagged, with the policy's power.
    pub(super) detectable: f64,
    /// Boots a side that would tell, were the difference what it seems; absent where none would.
    pub(super) boots_needed: Option<u32>,
}

/// Tests a family, corrected together.
pub(super) fn test(
    family: &[Hypothesis<'_>],
    seed: u64,
    policy: &Policy,
) -> Vec<Result<Tested, NoInterval>> {
    let size = family.iter().filter(|hypothesis| Welch::of(hypothesis).is_ok()).count();
    let one = |hypothesis| alone(hypothesis, size, seed, policy);
    let mut tested: Vec<Result<Tested, NoInterval>> = family.iter().map(one).collect();
    let raw = |of: fn(&Tested) -> f64| holm(&tested.iter().flatten().map(of).collect::<Vec<_>>());
    let (worse, better) = (raw(|tested| tested.p_worse), raw(|tested| tested.p_better));
    for (tested, (worse, better)) in tested.iter_mut().flatten().zip(worse.into_iter().zip(better))
    {
        tested.p_worse_corrected = worse;
        tested.p_better_corrected = better;
    }
    tested
}

fn alone(
    hypothesis: &Hypothesis<'_>,
    size: usize,
    seed: u64,
    policy: &Policy,
) -> Result<Tested, NoInterval> {
    let [base, candidate] = [hypothesis.base, hypothesis.candidate].map(values);
    let difference = interval::difference(&base, &candidate, seed)?;
    let welch = Welch::of(hypothesis)?;
    let (estimate, margin) = (difference.estimate, hypothesis.margin);
    let [p_worse, p_better] = [estimate, -estimate].map(|apart| welch.above(apart - margin));
    let inside = [estimate, -estimate].map(|apart| welch.above(margin - apart));
    let alpha = policy.errors.family / size.max(1) as f64;
    let power = welch.quantile(1.0 - policy.require.power);
    Ok(Tested {
        difference,
        p_worse,
        p_better,
        p_equivalent: inside.into_iter().fold(0.0, f64::max),
        p_worse_corrected: 1.0,
        p_better_corrected: 1.0,
        detectable: margin + (welch.quantile(alpha) + power) * welch.error,
        boots_needed: welch.boots_needed(estimate, margin, alpha, policy),
    })
}

fn values(observations: &[Observation]) -> Vec<f64> {
    observations.iter().map(|observation| observation.value).collect()
}

/// The standard error of a difference of two means, and Student's law about it.
struct Welch {
    error: f64,
    /// Rounded down: never surer than Welch.
    degrees_of_freedom: u32,
    /// Sum of the variances of one observation a side.
    variance: f64,
    /// Fewest observations a side.
    boots: u64,
}

impl Welch {
    fn of(hypothesis: &Hypothesis<'_>) -> Result<Welch, NoInterval> {
        let [a, b] = [hypothesis.base, hypothesis.candidate].map(|side| Moments::of(&values(side)));
        let (Some(of_a), Some(of_b)) = (a.variance(), b.variance()) else {
            return Err(NoInterval::TooFew);
        };
        let [in_a, in_b] = [of_a / a.count as f64, of_b / b.count as f64];
        let error = (in_a + in_b).sqrt();
        // Rounding alone leaves this much in the variance of equal values.
        if !(error > (a.mean.abs() + b.mean.abs()) * f64::EPSILON * 4.0) {
            return Err(NoInterval::NoSpread);
        }
        let parts = in_a * in_a / (a.count - 1) as f64 + in_b * in_b / (b.count - 1) as f64;
        let degrees = (in_a + in_b).powi(2) / parts;
        Ok(Welch {
            error,
            // At least the smaller side's, so that it is at least 1.
            degrees_of_freedom: (degrees + 1e-9) as u32,
            variance: of_a + of_b,
            boots: a.count.min(b.count),
        })
    }

    /// Probability of an estimate at or above `difference` by chance alone, were there none.
    fn above(&self, difference: f64) -> f64 {
        let Welch { error, degrees_of_freedom, .. } = *self;
        let two_sided = Effect { estimate: difference, error, degrees_of_freedom }.p();
        if difference > 0.0 { two_sided / 2.0 } else { 1.0 - two_sided / 2.0 }
    }

    /// How many standard errors an estimate lies above by chance with probability `p`, below a half.
    fn quantile(&self, p: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        while self.above(high * self.error) > p && high < 1e12 {
            (low, high) = (high, high * 2.0);
        }
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            let side = if self.above(middle * self.error) > p { &mut low } else { &mut high };
            *side = middle;
        }
        high
    }

    /// Boots a side after which the verdict would be beyond or within the margin.
    fn boots_needed(&self, estimate: f64, margin: f64, alpha: f64, policy: &Policy) -> Option<u32> {
        let gap = (estimate.abs() - margin).abs();
        let alpha = if estimate.abs() > margin { alpha } else { policy.errors.equivalence };
        let reach = self.quantile(alpha) + self.quantile(1.0 - policy.require.power);
        let boots = (self.variance * (reach / gap).powi(2)).ceil();
        let boots = (boots < MOST_BOOTS).then_some(boots as u32)?;
        Some(boots.max(u32::try_from(self.boots + 1).ok()?))
    }
}

/// Nobody measures more boots of a cell.
const MOST_BOOTS: f64 = 10_000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::policy;

    fn observed(values: &[f64]) -> Vec<Observation> {
        let at = |(block, value): (usize, &f64)| Observation { block: block as u32, value: *value };
        values.iter().enumerate().map(at).collect()
    }

    fn policy() -> Policy {
        policy::parse(policy::EMBEDDED, "p").unwrap()
    }

    #[test]
    fn p_values_agree_with_scipy() {
        let base = observed(&[1.0, 1.2, 0.9, 1.1, 1.05, 0.95]);
        let candidate = observed(&[1.5, 1.7, 1.4, 1.6, 1.55, 1.45]);
        let family = [Hypothesis { base: &base, candidate: &candidate, margin: 0.1 }];
        let tested = test(&family, 1, &policy())[0].unwrap();
        // scipy.stats.ttest_ind([x - 0.1 for x in candidate], base, equal_var=False, alternative='greater').pvalue
        assert!((tested.p_worse - 3.845378196219866e-05).abs() < 1e-9, "{tested:?}");
        assert_eq!(tested.p_worse, tested.p_worse_corrected);
        assert!(tested.p_better > 0.999 && tested.p_equivalent > 0.999, "{tested:?}");
        assert!(tested.detectable > 0.1);
    }

    #[test]
    fn equal_sides_are_equivalent_only_where_they_are_sure() {
        let steady = observed(&[1.0, 1.001, 0.999, 1.0005, 0.9995]);
        let wild = observed(&[1.0, 2.0, 0.1, 1.5, 0.4]);
        let tested = |side: &[Observation]| {
            let family = [Hypothesis { base: side, candidate: side, margin: 0.02 }];
            test(&family, 1, &policy())[0].unwrap()
        };
        assert!(tested(&steady).p_equivalent < 0.001 && tested(&steady).detectable < 0.04);
        assert!(tested(&wild).p_equivalent > 0.2);
        assert_eq!(tested(&wild).boots_needed, None);
    }

    #[test]
    fn what_cannot_be_tested_does_not_count_in_the_family() {
        let (a, b) = (observed(&[1.0, 1.1, 0.9]), observed(&[1.5, 1.6, 1.4]));
        let (one, flat) = (observed(&[1.0]), observed(&[1.0, 1.0, 1.0]));
        let hypothesis = |base, candidate| Hypothesis { base, candidate, margin: 0.1 };
        let family = [hypothesis(&one, &a), hypothesis(&a, &b), hypothesis(&flat, &flat)];
        let tested = test(&family, 1, &policy());
        assert_eq!(tested[0], Err(NoInterval::TooFew));
        assert_eq!(tested[2], Err(NoInterval::NoSpread));
        let tested = tested[1].unwrap();
        assert_eq!(tested.p_worse, tested.p_worse_corrected);
    }
}
