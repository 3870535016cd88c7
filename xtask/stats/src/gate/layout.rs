//! How the boots of a hypothesis lie in their blocks, and the statistic that this allows.

use std::collections::BTreeMap;

use super::relabel::Relabellings;
use super::{Hypothesis, Observation};
use crate::interval::{Interval, NoInterval};
use crate::moments::Moments;

/// The largest logarithm that is one of a figure: beyond, squares or sums of them would not be finite.
const LARGEST: f64 = 1e100;

/// The boots of a hypothesis that count, without the margin.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) margin: f64,
    pub(super) boots: Boots,
}

/// Boots in blocks.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Boots {
    /// One difference a block: (block, candidate minus base).
    Pairs(Vec<(u32, f64)>),
    /// Blocks with several boots a side.
    Strata(Vec<Stratum>),
}

/// A block with several boots a side.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Stratum {
    pub(super) block: u32,
    pub(super) base: Vec<f64>,
    pub(super) candidate: Vec<f64>,
}

impl Stratum {
    /// Boots.
    pub(super) fn len(&self) -> usize {
        self.base.len() + self.candidate.len()
    }

    fn smaller(&self) -> usize {
        self.base.len().min(self.candidate.len())
    }

    fn difference(&self) -> f64 {
        Moments::of(&self.candidate).mean - Moments::of(&self.base).mean
    }

    /// Share of this block in the difference, before it is divided by their sum: the inverse of the variance of its own difference
    /// where all boots vary alike.
    pub(super) fn weight(&self) -> f64 {
        let [base, candidate] = [&self.base, &self.candidate].map(|side| side.len() as f64);
        base * candidate / (base + candidate)
    }
}

impl Layout {
    /// The boots that count, arranged so that the most degrees of freedom are left.
    pub(super) fn of(hypothesis: &Hypothesis<'_>) -> Result<Layout, NoInterval> {
        let margin = hypothesis.margin;
        if !(margin.is_finite() && margin >= 0.0) {
            return Err(NoInterval::NotPositive);
        }
        if let Some(pairs) = one_each(hypothesis) {
            return Ok(Layout { margin, boots: Boots::Pairs(pairs) });
        }
        let mut blocks = BTreeMap::<u32, Stratum>::new();
        let both = [hypothesis.base, hypothesis.candidate];
        for (side, Observation { block, value }) in both
            .into_iter()
            .enumerate()
            .flat_map(|(side, of)| of.iter().map(move |one| (side, *one)))
        {
            if value.is_nan() || value.abs() > LARGEST {
                return Err(NoInterval::NotPositive);
            }
            let stratum =
                blocks.entry(block).or_insert_with(|| Stratum { block, ..Stratum::default() });
            if side == 0 { &mut stratum.base } else { &mut stratum.candidate }.push(value);
        }
        let blocks: Vec<Stratum> =
            blocks.into_values().filter(|block| block.smaller() > 0).collect();
        let inside = |side: fn(&Stratum) -> usize| -> usize {
            blocks.iter().map(|block| side(block) - 1).sum()
        };
        let (base, candidate) = (inside(|of| of.base.len()), inside(|of| of.candidate.len()));
        let boots = if base > 0 && candidate > 0 && base + candidate + 1 > blocks.len() {
            Boots::Strata(blocks)
        } else if blocks.len() >= 2 {
            Boots::Pairs(blocks.iter().map(|block| (block.block, block.difference())).collect())
        } else {
            return Err(NoInterval::TooFew);
        };
        Ok(Layout { margin, boots })
    }

    /// Boots a side, of the smaller side of each block.
    pub(super) fn boots(&self) -> u32 {
        let boots = match &self.boots {
            Boots::Pairs(pairs) => pairs.len(),
            Boots::Strata(blocks) => blocks.iter().map(Stratum::smaller).sum(),
        };
        u32::try_from(boots).unwrap_or(u32::MAX)
    }

    /// The estimate of the difference.
    fn difference(&self) -> f64 {
        match &self.boots {
            Boots::Pairs(pairs) => differences(pairs).mean,
            Boots::Strata(blocks) => {
                let total: f64 = blocks.iter().map(Stratum::weight).sum();
                blocks.iter().map(|block| block.weight() * block.difference()).sum::<f64>() / total
            }
        }
    }

    /// Its standard error; 0 where equal boots leave nothing but rounding.
    pub(super) fn error(&self) -> f64 {
        let error = match &self.boots {
            Boots::Pairs(pairs) => {
                let of = differences(pairs);
                (of.variance().unwrap_or(0.0) / of.count as f64).sqrt()
            }
            Boots::Strata(blocks) => {
                sides(blocks).map(|(error, _)| error).iter().sum::<f64>().sqrt()
            }
        };
        let size = match &self.boots {
            Boots::Pairs(pairs) => pairs.iter().map(|(_, value)| value.abs()).fold(0.0, f64::max),
            Boots::Strata(blocks) => {
                let values =
                    blocks.iter().flat_map(|block| block.base.iter().chain(&block.candidate));
                values.copied().map(f64::abs).fold(0.0, f64::max)
            }
        };
        if error <= size * f64::EPSILON * 4.0 { 0.0 } else { error }
    }

    /// Degrees of freedom of the standard error; of strata after Welch (1947) and Satterthwaite (1946).
    pub(super) fn freedom(&self) -> f64 {
        match &self.boots {
            Boots::Pairs(pairs) => pairs.len() as f64 - 1.0,
            Boots::Strata(blocks) => {
                let sides = sides(blocks);
                let total: f64 = sides.iter().map(|(error, _)| error).sum();
                let parts: f64 = sides.iter().map(|(error, freedom)| error * error / freedom).sum();
                if parts > 0.0 { total * total / parts } else { sides[0].1 + sides[1].1 }
            }
        }
    }

    /// The 95 % interval of the difference: where it can be, the differences that the test does not reject ([`unrejected`]); else Student's, with
    /// the quantile 0.975 of Student's law by degrees of freedom.
    pub(super) fn interval(
        &self,
        relabellings: &Relabellings,
        student: &mut impl FnMut(f64) -> f64,
    ) -> Interval {
        let (estimate, error) = (self.difference(), self.error());
        if error == 0.0 {
            return Interval { low: estimate, estimate, high: estimate };
        }
        if let Boots::Pairs(pairs) = &self.boots
            && let Some([low, high]) = unrejected(pairs, relabellings)
        {
            return Interval { low, estimate, high };
        }
        let reach = student(self.freedom()) * error;
        Interval { low: estimate - reach, estimate, high: estimate + reach }
    }

    /// The smallest p-value that relabelling can give, one over their number.
    pub(super) fn least_p(&self) -> f64 {
        match &self.boots {
            Boots::Pairs(pairs) => 0.5f64.powf(pairs.len() as f64),
            Boots::Strata(blocks) => {
                let ways = |block: &Stratum| choices(block.len(), block.candidate.len());
                1.0 / blocks.iter().map(ways).product::<f64>()
            }
        }
    }
}

/// The differences of blocks with one good boot a side each, ascending, at least two: how interleaved runs lie, and worked out without a map. `None` for
/// boots that lie otherwise.
fn one_each(hypothesis: &Hypothesis<'_>) -> Option<Vec<(u32, f64)>> {
    let Hypothesis { base, candidate, .. } = hypothesis;
    let ascending = base.windows(2).all(|two| two[0].block < two[1].block);
    if !ascending || base.len() != candidate.len() || base.len() < 2 {
        return None;
    }
    let difference = |(base, candidate): (&Observation, &Observation)| {
        let good = [base, candidate].iter().all(|one| one.value.abs() <= LARGEST);
        let difference = candidate.value - base.value;
        (good && base.block == candidate.block).then_some((base.block, difference))
    };
    base.iter().zip(*candidate).map(difference).collect()
}

/// Of each block that holds both sides, ascending, the difference of their means. Values that are not finite count as missing.
pub(super) fn pairs(hypothesis: &Hypothesis<'_>) -> Vec<(u32, f64)> {
    if let Some(pairs) = one_each(hypothesis) {
        return pairs;
    }
    let mut blocks = BTreeMap::<u32, [Moments; 2]>::new();
    for (side, of) in [hypothesis.base, hypothesis.candidate].into_iter().enumerate() {
        for one in of.iter().filter(|one| one.value.abs() <= LARGEST) {
            blocks.entry(one.block).or_default()[side].push(one.value);
        }
    }
    let whole = blocks.into_iter().filter(|(_, sides)| sides.iter().all(|side| side.count > 0));
    whole.map(|(block, [base, candidate])| (block, candidate.mean - base.mean)).collect()
}

/// Relabellings that an interval is read from, where they are drawn: its ends are known to a few thousandths of probability.
const READ: usize = 2_000;

/// What either end of an interval leaves outside.
const OUTSIDE: f64 = 0.025;

/// With fewer pairs no difference is rejected at [`OUTSIDE`]: one relabelling is more than that.
const FEWEST: usize = 6;

/// The ends of the differences that the test of these pairs does not reject at 2.5 % on either side, so that an interval does not contradict the
/// p-value beside it, whatever lies far off; where relabellings are drawn, but for p-values within half a percent of 2.5 %. `None` for fewer than
/// [`FEWEST`] pairs.
///
/// Moved by a difference, the pairs that a relabelling turns around reach what was measured where their mean is at most that difference. So the p-value of a
/// difference is the share of relabellings whose turned pairs have a mean up to it, and the ends are quantiles of these means (Hartigan 1969, Using
/// subsample values as typical values).
fn unrejected(pairs: &[(u32, f64)], relabellings: &Relabellings) -> Option<[f64; 2]> {
    if pairs.len() < FEWEST {
        return None;
    }
    let read = match relabellings.exact {
        true => relabellings.count,
        false => relabellings.count.min(READ),
    };
    let (mut sums, mut turned) = (vec![0.0; read], vec![0.0; read]);
    for (block, difference) in pairs {
        let signs = relabellings.signs.get(block)?;
        for ((sum, turned), sign) in sums.iter_mut().zip(&mut turned).zip(signs) {
            let turns = 0.5 - 0.5 * f64::from(*sign);
            *sum += turns * difference;
            *turned += turns;
        }
    }
    let some = sums.iter().zip(&turned).filter(|(_, turned)| **turned > 0.0);
    let mut means: Vec<f64> = some.map(|(sum, turned)| sum / turned).collect();
    // Those that turn none reach what was measured whatever the difference.
    let outside = (OUTSIDE * read as f64).floor() as usize;
    let outside = outside.checked_sub(read - means.len())?;
    let last = means.len().checked_sub(1 + outside)?;
    let low = *means.select_nth_unstable_by(outside, f64::total_cmp).1;
    let high = *means.select_nth_unstable_by(last, f64::total_cmp).1;
    Some([low, high])
}

/// How many ways there are to choose `some` of `all`.
pub(super) fn choices(all: usize, some: usize) -> f64 {
    (0..some).map(|n| (all - n) as f64 / (some - n) as f64).product()
}

fn differences(pairs: &[(u32, f64)]) -> Moments {
    let mut moments = Moments::default();
    pairs.iter().for_each(|(_, value)| moments.push(*value));
    moments
}

/// Of base and candidate: what the side adds to the squared standard error, and its degrees of freedom.
fn sides(blocks: &[Stratum]) -> [(f64, f64); 2] {
    let total: f64 = blocks.iter().map(Stratum::weight).sum();
    let side = |of: fn(&Stratum) -> &[f64]| {
        let freedom = blocks.iter().map(|block| of(block).len() as f64 - 1.0).sum::<f64>();
        let squares: f64 = blocks.iter().map(|block| Moments::of(of(block)).m2).sum();
        let share = |block: &Stratum| (block.weight() / total).powi(2) / of(block).len() as f64;
        (squares / freedom * blocks.iter().map(share).sum::<f64>(), freedom)
    };
    [side(|block| &block.base), side(|block| &block.candidate)]
}
