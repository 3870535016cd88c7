//! The one place that asks the statistics ([`evenkeel_stats::gate`]): logarithms in; intervals, p-values and what it would take out.

use evenkeel_stats::gate::{self, Hypothesis, Options, Tested};
use evenkeel_stats::interval::NoInterval;

pub(super) use evenkeel_stats::gate::Observation;

use super::policy::Policy;

/// Tests a family, corrected together.
pub(super) fn test(
    family: &[Hypothesis<'_>],
    seed: u64,
    policy: &Policy,
) -> Vec<Result<Tested, NoInterval>> {
    let options = Options {
        seed,
        permutations: policy.permutations as usize,
        power: policy.require.power,
        alpha: policy.errors.family,
    };
    gate::test(family, &options)
}

/// The change, as a logarithm, that [`boots_needed`] is about: the one that was seen, or twice the margin where that is less.
pub(super) fn wanted(tested: &Tested, margin: f64) -> f64 {
    tested.difference.estimate.abs().max(2.0 * margin)
}

/// Boots a side that would flag a change of [`wanted`]; `None` where nobody measures so many.
pub(super) fn boots_needed(tested: &Tested, margin: f64) -> Option<u32> {
    tested.boots_needed(wanted(tested, margin)).filter(|boots| *boots <= MOST_BOOTS)
}

/// As many as a matrix can ask for.
const MOST_BOOTS: u32 = 10_000;
