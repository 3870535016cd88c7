//! The tests of the determinism gate: is the candidate worse than the base by more than a margin, in any cell, workload or aspect?
//!
//! Observations are logarithms of figures of boots, so that differences are logarithms of ratios. Base and candidate are compared
//! inside blocks, because boots of one block saw the same hour of the host. With d the differences of pairs, m the margin and B the blocks:
//!
//! - **Statistic**: Student's t of d - m, or, where blocks hold several boots a side and that leaves more degrees of freedom, Welch's t
//!   (1947) of the sides inside the blocks.
//! - **p-value**: how many relabellings inside the blocks give a statistic at least as large (Fisher 1935). The candidate is moved by the
//!   margin first: at the border of the hypothesis, difference = m, the moved sides are exchangeable and the test is exact, whatever the
//!   law of the figures; inside of it the test errs less. All relabellings are counted where they are few, else a random choice with
//!   the labels as they are: p = (1 + those that reach) / (1 + all) (Phipson & Smyth 2010), which is never 0.
//! - **Family**: max-T with step-down (Westfall & Young 1993, algorithm 4.1): one relabelling of all hypotheses at once and the largest
//!   statistic of it, so that what is correlated counts as little as it should. Statistics of different counts are put on the scale of a
//!   normal deviate first (Wallace 1959), or those with the fewest boots would fill the tail. Unlike Holm's correction, which
//!   500 hypotheses would need p = 0.00002 for, it can flag from seven blocks on.
//! - **Interval**: the differences that the test would not reject at 2.5 % on either side, from six pairs on; with fewer, and of blocks with several
//!   boots a side, Student's or Welch's. A mean's own error would let one odd boot widen it past a margin that every pair exceeds.
//! - **Equivalence**: two one-sided tests (Schuirmann 1987), each as above; the larger p counts.
//!
//! [`design`] decides how many boots that takes: it screens all cells with few, and confirms the suspects on fresh ones.

pub mod design;
mod kernel;
mod layout;
mod moderate;
mod relabel;
mod scale;

use std::collections::BTreeMap;

use crate::interval::{Interval, NoInterval};
use kernel::Counts;
use layout::Layout;
use relabel::Relabellings;

/// One figure of one boot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The block that the boot lay in. Boots of runs that were not interleaved have no block in common: give all of both sides the same
    /// number, and they are compared as two groups.
    pub block: u32,
    /// The natural logarithm of the figure.
    pub value: f64,
}

/// One hypothesis of a family: base and candidate of one cell, workload and aspect. A positive difference is worse; where higher
/// is better, the caller turns the signs. Boots of blocks that lack a side say nothing about the difference and do not count.
#[derive(Clone, Copy, Debug)]
pub struct Hypothesis<'a> {
    /// Boots of the base.
    pub base: &'a [Observation],
    /// Boots of the candidate.
    pub candidate: &'a [Observation],
    /// The natural logarithm of the factor that a change must exceed to matter, at least 0.
    pub margin: f64,
}

/// How to test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Of the relabellings, where not all are counted.
    pub seed: u64,
    /// The most relabellings, those as labelled included.
    pub permutations: usize,
    /// The chance with which a change of size [`Tested::detectable`] would be flagged.
    pub power: f64,
    /// The chance of any false flag in the family.
    pub alpha: f64,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: 1, permutations: 10_000, power: 0.9, alpha: 0.01 }
    }
}

/// What the boots say about a hypothesis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tested {
    /// Candidate minus base with its 95 % confidence interval, a logarithm of a ratio. Without spread both ends are the estimate.
    pub difference: Interval,
    /// p-value of "not worse by more than the margin".
    pub p_worse: f64,
    /// p-value of "not better by more than the margin".
    pub p_better: f64,
    /// p-value of "worse or better by at least the margin": small means equivalent.
    pub p_equivalent: f64,
    /// `p_worse`, corrected for the family.
    pub p_worse_corrected: f64,
    /// `p_better`, corrected for the family.
    pub p_better_corrected: f64,
    /// The logarithm of the smallest factor, its margin included, that would be flagged as worse with the power asked for, at this count and
    /// spread and in this family. Infinite where so few relabellings exist that no difference can be flagged.
    pub detectable: f64,
    /// Boots a side that count: of blocks that hold both sides, the smaller side.
    pub boots: u32,
    /// Standard deviation of the difference of one boot of each side.
    pub spread: f64,
    /// What the statistic must reach to be flagged in this family, as a normal deviate.
    pub critical: f64,
    margin: f64,
    power: f64,
    alpha: f64,
}

impl Tested {
    /// Boots a side, in pairs, with which a change by the factor of this logarithm would be flagged as worse with the power asked for, in
    /// a family like this one. `None` where the change lies inside the margin, or it would take more than a million.
    pub fn boots_needed(&self, factor: f64) -> Option<u32> {
        let beyond = factor - self.margin;
        if beyond.is_nan() || beyond <= 0.0 {
            return None;
        }
        // With fewer pairs no relabelling is rare enough.
        let least = scale::pairs_for(self.alpha);
        let reaches = |boots: u32| self.reach(boots) <= beyond;
        let mut high = least;
        while !reaches(high) {
            high = high.checked_mul(2).filter(|high| *high <= 1 << 20)?;
        }
        let mut low = (high / 2).max(least);
        while low < high {
            let middle = low.midpoint(high);
            if reaches(middle) { high = middle } else { low = middle + 1 }
        }
        Some(high)
    }

    /// How far beyond the margin a change must be to be flagged, with this many pairs.
    fn reach(&self, pairs: u32) -> f64 {
        let freedom = f64::from(pairs) - 1.0;
        scale::detectable(self.critical, self.power, freedom)
            * (self.spread / f64::from(pairs).sqrt())
    }
}

/// Tests every hypothesis of a family.
///
/// # Errors
/// Of a hypothesis: fewer than two boots a side in blocks that hold both, or a value or margin that is not finite or a margin below 0.
/// It then does not count in the family.
pub fn test(family: &[Hypothesis<'_>], options: &Options) -> Vec<Result<Tested, NoInterval>> {
    let layouts: Vec<Result<Layout, NoInterval>> = family.iter().map(Layout::of).collect();
    let good: Vec<&Layout> = layouts.iter().flatten().collect();
    let relabellings = Relabellings::new(&good, options.permutations.max(1), options.seed);
    let [worse, better] = [1.0, -1.0].map(|sign| kernel::count(&good, sign, &relabellings));
    let critical = critical(&worse, good.len(), options.alpha);
    // Most hypotheses have the same boots, and the quantile takes longer than all the rest of them.
    let mut known = BTreeMap::new();
    let mut student = |freedom: f64| {
        let quantile = || scale::student_quantile(0.975, freedom);
        *known.entry(freedom.to_bits()).or_insert_with(quantile)
    };
    let mut at = 0;
    layouts
        .iter()
        .map(|layout| {
            let layout = layout.as_ref().map_err(|why| *why)?;
            let here = at;
            at += 1;
            let difference = layout.interval(&relabellings, &mut student);
            Ok(tested(layout, difference, [&worse, &better], here, critical, options))
        })
        .collect()
}

fn tested(
    layout: &Layout,
    difference: Interval,
    [worse, better]: [&Counts; 2],
    at: usize,
    critical: f64,
    options: &Options,
) -> Tested {
    let error = layout.error();
    let beyond = match layout.least_p() <= options.alpha {
        true => scale::detectable(critical, options.power, layout.freedom()) * error,
        false => f64::INFINITY,
    };
    Tested {
        difference,
        p_worse: worse.upper[at],
        p_better: better.upper[at],
        p_equivalent: worse.lower[at].max(better.lower[at]),
        p_worse_corrected: worse.corrected[at],
        p_better_corrected: better.corrected[at],
        detectable: layout.margin + beyond,
        boots: layout.boots(),
        spread: error * f64::from(layout.boots()).sqrt(),
        critical,
        margin: layout.margin,
        power: options.power,
        alpha: options.alpha,
    }
}

/// What the largest statistic of the family exceeds with probability `alpha` where nothing changed: as relabelled, or, where they
/// are too few to tell or the family's own regressions fill the tail, by Bonferroni's bound, whichever is less.
fn critical(worse: &Counts, family: usize, alpha: f64) -> f64 {
    let bound = scale::normal_quantile(1.0 - alpha / family.max(1) as f64);
    let at = (alpha * worse.largest.len() as f64).floor() as usize;
    worse.largest.get(at).map_or(bound, |&largest| bound.min(largest))
}

#[cfg(test)]
mod tests;
