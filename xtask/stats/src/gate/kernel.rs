//! The statistics of all hypotheses under all relabellings, and how many of them reach what was measured.
//!
//! The sums of sign changes are a product of two matrices, hypotheses by blocks and blocks by relabellings. It is made for some relabellings
//! and one hypothesis at a time, so that the signs stay in the first cache, the sums in registers, and no sum is ever stored: they are
//! counted where they are made. Student's t rises with the sum where the squares sum to 1, so nothing else has to be worked out for it.
//!
//! For the step-down of max-T hypotheses come in ascending order of what was measured: the largest statistic so far is then the largest of
//! those that are corrected for.

use std::collections::BTreeMap;

use super::layout::{Boots, Layout, Stratum};
use super::relabel::{LANES, Relabellings, Shape, shape};
use super::scale;

/// One number for each of some relabellings, where a line of the cache begins: what lies across two takes twice as long to read.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Lanes([f32; LANES]);

/// Relabellings of a register, or of two: what is counted of [`LANES`] is counted in so many numbers.
const COUNTERS: usize = 16;

/// Rounding of a sum of signed numbers whose squares sum to 1: statistics this close count as equal.
const ROUNDING: f64 = 4e-6;

/// Shares of relabellings, for each hypothesis.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Whose statistic is at least what was measured.
    pub(super) upper: Vec<f64>,
    /// Whose statistic is at most that.
    pub(super) lower: Vec<f64>,
    /// The p-value corrected for the family.
    pub(super) corrected: Vec<f64>,
    /// The largest statistic of the family in each relabelling, a normal deviate, descending.
    pub(super) largest: Vec<f64>,
}

/// A scale that statistics have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scale {
    /// Sums of so many signed numbers whose squares sum to 1.
    Sum(usize),
    /// Signed squares of Welch's t, with degrees of freedom that stand for all of a shape.
    Square(usize),
}

impl Scale {
    /// The signed square of a normal deviate.
    fn deviate(self, statistic: f64) -> f64 {
        match self {
            Scale::Sum(count) => {
                let count = count as f64;
                scale::deviate(scale::square_of_sum(statistic, count), count - 1.0)
            }
            Scale::Square(freedom) => scale::deviate(statistic, freedom as f64),
        }
    }

    /// The inverse, a little lower, so that equal statistics reach it whatever their rounding.
    fn reached(self, deviate: f64) -> f32 {
        let [exact, slack] = match self {
            Scale::Sum(count) => {
                let count = count as f64;
                let square = scale::statistic(deviate, count - 1.0);
                [scale::sum_of_square(square, count), ROUNDING * count.sqrt()]
            }
            Scale::Square(freedom) => {
                let square = scale::statistic(deviate, freedom as f64).clamp(-LARGEST, LARGEST);
                [square, 1e-5 * square.abs() + 1e-9]
            }
        };
        (exact - slack) as f32
    }
}

/// The largest square of Welch's t that is told from a larger one.
const LARGEST: f64 = 1e12;

/// A hypothesis made ready for one direction.
enum Row<'a> {
    /// Differences whose squares sum to 1.
    Signs(Vec<Difference>),
    /// Boots with the candidate moved by the margin, and their labels.
    Labels(Vec<Block>, &'a [Vec<f64>]),
}

/// A difference with the place of its block's signs.
type Difference = (u32, f32);

struct Block {
    weight: f64,
    base: f64,
    candidate: f64,
    values: Vec<f64>,
}

/// Counts in one direction: with `sign` -1 what is better is worse.
pub(super) fn count(family: &[&Layout], sign: f64, relabellings: &Relabellings) -> Counts {
    let places: BTreeMap<u32, u32> = relabellings.signs.keys().copied().zip(0..).collect();
    let scales: Vec<Scale> = family.iter().map(|layout| scale_of(layout)).collect();
    let mut kinds = scales.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let rows: Vec<Row<'_>> =
        family.iter().map(|layout| row(layout, sign, &places, &relabellings.labels)).collect();

    let Group { signs, .. } = Group::new(relabellings, 0, 0);
    let measured: Vec<f64> = rows
        .iter()
        .zip(&scales)
        .map(|(row, scale)| {
            let statistic = match row {
                Row::Signs(differences) => sums::<false>(differences, &signs),
                Row::Labels(blocks, labels) => squares(blocks, labels, 0),
            };
            scale.deviate(f64::from(statistic.0[0]))
        })
        .collect();
    let mut order: Vec<usize> = (0..family.len()).collect();
    order.sort_by(|a, b| measured[*a].total_cmp(&measured[*b]));
    // Read in order, differences must lie in order: else each hypothesis waits for its own.
    let differences: Vec<Difference> = order
        .iter()
        .flat_map(|&at| match &rows[at] {
            Row::Signs(differences) => differences.as_slice(),
            Row::Labels(..) => &[],
        })
        .copied()
        .collect();
    let mut left = differences.as_slice();
    let plan: Vec<Ordered<'_>> = order
        .iter()
        .map(|&at| Ordered {
            statistic: match &rows[at] {
                Row::Signs(own) => Statistic::Sum(left.split_off(..own.len()).unwrap_or_default()),
                Row::Labels(blocks, labels) => Statistic::Square(blocks, labels),
            },
            kind: kinds.binary_search(&scales[at]).unwrap_or_default(),
            reached: kinds.iter().map(|kind| kind.reached(measured[at])).collect(),
            // What is at most as large, with the same slack.
            below: -scales[at].reached(-measured[at]),
        })
        .collect();

    let mut tallies = vec![Tally::default(); family.len()];
    let mut largest = Vec::with_capacity(relabellings.count);
    let starts: Vec<usize> = (0..relabellings.count).step_by(LANES).collect();
    for starts in starts.chunks(TOGETHER) {
        let mut groups: Vec<Group> =
            starts.iter().map(|first| Group::new(relabellings, *first, kinds.len())).collect();
        sweep(&plan, &mut groups, &mut tallies);
        for Group { first, maxima, .. } in &groups {
            let valid = (relabellings.count - first).min(LANES);
            largest.extend((0..valid).map(|lane| {
                let of = kinds.iter().zip(maxima);
                let deviates = of.map(|(kind, of)| kind.deviate(f64::from(of.0[lane])));
                let square = deviates.fold(f64::NEG_INFINITY, f64::max);
                square.abs().sqrt().copysign(square)
            }));
        }
    }
    largest.sort_unstable_by(|a, b| b.total_cmp(a));

    // The padding is labelled as what was measured, which reaches itself in every count.
    let padding = starts.len() * LANES - relabellings.count;
    let share = |count: u32| (count as usize - padding) as f64 / relabellings.count as f64;
    let mut counts = Counts {
        upper: vec![1.0; family.len()],
        lower: vec![1.0; family.len()],
        corrected: vec![1.0; family.len()],
        largest,
    };
    let mut reached = 0.0_f64;
    for (&at, tally) in order.iter().zip(&tallies).rev() {
        reached = reached.max(share(tally.family));
        counts.corrected[at] = reached;
        counts.upper[at] = share(tally.upper);
        counts.lower[at] = share(tally.lower);
    }
    counts
}

/// What a statistic is worked out from.
enum Statistic<'a> {
    Sum(&'a [Difference]),
    Square(&'a [Block], &'a [Vec<f64>]),
}

struct Ordered<'a> {
    statistic: Statistic<'a>,
    kind: usize,
    /// On every scale, what reaches that which was measured.
    reached: Vec<f32>,
    /// What is at most as large.
    below: f32,
}

/// Relabellings counted so far.
#[derive(Clone, Copy, Default)]
struct Tally {
    upper: u32,
    lower: u32,
    family: u32,
}

fn scale_of(layout: &Layout) -> Scale {
    match &layout.boots {
        Boots::Pairs(pairs) => Scale::Sum(pairs.len()),
        Boots::Strata(blocks) => {
            let inside = |block: &Stratum| block.len() - 2;
            Scale::Square(blocks.iter().map(inside).sum())
        }
    }
}

fn row<'a>(
    layout: &Layout,
    sign: f64,
    places: &BTreeMap<u32, u32>,
    labels: &'a BTreeMap<Shape, Vec<Vec<f64>>>,
) -> Row<'a> {
    match &layout.boots {
        Boots::Pairs(pairs) => {
            let moved = |value: f64| sign * value - layout.margin;
            let largest = pairs.iter().map(|(_, value)| moved(*value).abs()).fold(0.0, f64::max);
            let unit = if largest > 0.0 { largest } else { 1.0 };
            let squares: f64 = pairs.iter().map(|(_, value)| (moved(*value) / unit).powi(2)).sum();
            let size = if squares > 0.0 { unit * squares.sqrt() } else { 1.0 };
            let place = |block: &u32| places.get(block).copied().unwrap_or_default();
            let one = |(block, value): &(u32, f64)| -> Difference {
                (place(block), (moved(*value) / size) as f32)
            };
            Row::Signs(pairs.iter().map(one).collect())
        }
        Boots::Strata(blocks) => {
            let total: f64 = blocks.iter().map(Stratum::weight).sum();
            let moved: Vec<Vec<f64>> = blocks
                .iter()
                .map(|block| {
                    let base = block.base.iter().map(|value| sign * value);
                    let candidate =
                        block.candidate.iter().map(|value| sign * value - layout.margin);
                    let values: Vec<f64> = base.chain(candidate).collect();
                    let middle = values.iter().sum::<f64>() / values.len() as f64;
                    values.into_iter().map(|value| value - middle).collect()
                })
                .collect();
            let largest = moved.iter().flatten().copied().map(f64::abs).fold(0.0, f64::max);
            let unit = if largest > 0.0 { largest } else { 1.0 };
            let blocks_here = blocks.iter().zip(moved).map(|(block, values)| Block {
                weight: block.weight() / total,
                base: block.base.len() as f64,
                candidate: block.candidate.len() as f64,
                values: values.into_iter().map(|value| value / unit).collect(),
            });
            let rows = labels.get(&shape(blocks)).map_or(&[][..], Vec::as_slice);
            Row::Labels(blocks_here.collect(), rows)
        }
    }
}

/// Groups of relabellings that a hypothesis is worked out for before the next is read: their signs fill the first cache, and what is known
/// of all hypotheses does not fit into the second.
const TOGETHER: usize = 4;

/// Some relabellings.
struct Group {
    first: usize,
    /// Block after block.
    signs: Vec<Lanes>,
    /// The largest statistics so far, on every scale.
    maxima: Vec<Lanes>,
}

impl Group {
    /// The relabellings from `first` on.
    fn new(relabellings: &Relabellings, first: usize, kinds: usize) -> Group {
        let lanes = |row: &Vec<f32>| {
            let mut lanes = [0.0; LANES];
            lanes.copy_from_slice(&row[first..first + LANES]);
            Lanes(lanes)
        };
        Group {
            first,
            signs: relabellings.signs.values().map(lanes).collect(),
            maxima: vec![Lanes([f32::NEG_INFINITY; LANES]); kinds],
        }
    }
}

/// Sums of signed differences. `FUSED` multiplies and adds in one instruction, where the processor has one.
#[inline(always)]
fn sums<const FUSED: bool>(differences: &[Difference], signs: &[Lanes]) -> Lanes {
    let mut sums = [0.0f32; LANES];
    for &(place, difference) in differences {
        let Lanes(signs) = &signs[place as usize];
        for lane in 0..LANES {
            sums[lane] = match FUSED {
                true => difference.mul_add(signs[lane], sums[lane]),
                false => difference * signs[lane] + sums[lane],
            };
        }
    }
    Lanes(sums)
}

/// Signed squares of Welch's t inside the blocks.
fn squares(blocks: &[Block], labels: &[Vec<f64>], first: usize) -> Lanes {
    let mut difference = [0.0f64; LANES];
    let (mut base, mut candidate) = ([0.0f64; LANES], [0.0f64; LANES]);
    let mut labels = labels.iter();
    // What squares of each side inside the blocks are multiplied with, and their degrees of freedom.
    let (mut shares, mut freedoms) = ([0.0; 2], [0.0; 2]);
    for block in blocks {
        let (mut sum, mut squares) = ([0.0f64; LANES], [0.0f64; LANES]);
        let (mut all, mut all_squares) = (0.0, 0.0);
        for (value, label) in block.values.iter().zip(&mut labels) {
            let label = &label[first..first + LANES];
            all += value;
            all_squares += value * value;
            for lane in 0..LANES {
                sum[lane] += value * label[lane];
                squares[lane] += value * value * label[lane];
            }
        }
        for lane in 0..LANES {
            let rest = all - sum[lane];
            difference[lane] += block.weight * (sum[lane] / block.candidate - rest / block.base);
            candidate[lane] += squares[lane] - sum[lane] * sum[lane] / block.candidate;
            base[lane] += all_squares - squares[lane] - rest * rest / block.base;
        }
        for (side, boots) in [block.base, block.candidate].into_iter().enumerate() {
            shares[side] += block.weight * block.weight / boots;
            freedoms[side] += boots - 1.0;
        }
    }
    let [base_share, candidate_share] = [0, 1].map(|side| shares[side] / freedoms[side]);
    Lanes(std::array::from_fn(|lane| {
        let error = base[lane].max(0.0) * base_share + candidate[lane].max(0.0) * candidate_share;
        let square = difference[lane] * difference[lane];
        // Values are at most 2: below this, an error is rounding.
        (square / error.max(square / LARGEST).max(1e-14)).copysign(difference[lane]) as f32
    }))
}

/// Counts groups of relabellings.
fn sweep(plan: &[Ordered<'_>], groups: &mut [Group], tallies: &mut [Tally]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { sweep_16(plan, groups, tallies) };
    } else if std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
    {
        // SAFETY: as above.
        return unsafe { sweep_8(plan, groups, tallies) };
    }
    sweep_any::<false>(plan, groups, tallies);
}

/// [`sweep_any`] with eight lanes in a register.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn sweep_8(plan: &[Ordered<'_>], groups: &mut [Group], tallies: &mut [Tally]) {
    sweep_any::<true>(plan, groups, tallies);
}

/// [`sweep_any`] with sixteen lanes in a register.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sweep_16(plan: &[Ordered<'_>], groups: &mut [Group], tallies: &mut [Tally]) {
    sweep_any::<true>(plan, groups, tallies);
}

#[inline(always)]
fn sweep_any<const FUSED: bool>(plan: &[Ordered<'_>], groups: &mut [Group], tallies: &mut [Tally]) {
    for (of, tally) in plan.iter().zip(tallies) {
        match of.statistic {
            Statistic::Sum(differences) => {
                tallied(of, groups, tally, |group| sums::<FUSED>(differences, &group.signs));
            }
            Statistic::Square(blocks, labels) => {
                tallied(of, groups, tally, |group| squares(blocks, labels, group.first));
            }
        }
    }
}

/// Counts groups of relabellings of one hypothesis.
#[inline(always)]
fn tallied(
    of: &Ordered<'_>,
    groups: &mut [Group],
    tally: &mut Tally,
    statistics: impl Fn(&Group) -> Lanes,
) {
    // All of these stay in registers.
    let (own, below) = (of.reached[of.kind], of.below);
    let [mut upper, mut lower, mut family] = [[0u32; COUNTERS]; 3];
    for group in groups {
        let Lanes(found) = statistics(group);
        let Lanes(mut maximum) = group.maxima[of.kind];
        for part in (0..LANES).step_by(COUNTERS) {
            for n in 0..COUNTERS {
                let (found, maximum) = (found[part + n], &mut maximum[part + n]);
                // No statistic is NaN, so that the plain comparison will do.
                *maximum = if found > *maximum { found } else { *maximum };
                upper[n] += u32::from(found >= own);
                lower[n] += u32::from(found <= below);
                family[n] += u32::from(*maximum >= own);
            }
        }
        group.maxima[of.kind] = Lanes(maximum);
        if group.maxima.len() > 1 {
            tally.family += elsewhere(of, &group.maxima);
        }
    }
    tally.upper += upper.iter().sum::<u32>();
    tally.lower += lower.iter().sum::<u32>();
    tally.family += family.iter().sum::<u32>();
}

/// Relabellings in which what was measured is reached on other scales, and not on its own.
#[inline(always)]
fn elsewhere(of: &Ordered<'_>, maxima: &[Lanes]) -> u32 {
    let mut any = [0u32; LANES];
    for (Lanes(maximum), reached) in maxima.iter().zip(&of.reached) {
        for lane in 0..LANES {
            any[lane] |= u32::from(maximum[lane] >= *reached);
        }
    }
    let (Lanes(maximum), own) = (&maxima[of.kind], of.reached[of.kind]);
    (0..LANES).map(|lane| any[lane] & u32::from(maximum[lane] < own)).sum()
}
