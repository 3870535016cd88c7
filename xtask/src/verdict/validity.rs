//! Whether an interleaved run was steady: drift from its first third to its last, the place in a block, the order in a pair. Interleaving
//! takes a steady drift out of the difference between the sides; one beyond the policy's bound says that the host was not the same host.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::Aspect;
use super::judge::Asked;
use super::policy::Policy;
use crate::record::results::CheckResult;
use crate::report::{percent_change, probability};
use evenkeel_stats::effect::{Effect, least_squares, paired};

/// What may not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circumstance {
    /// The time: the first third of the blocks against the last.
    Drift,
    /// The place in a block: the first against the last.
    Position,
    /// The order in a pair: the first of the two sides against the second.
    Order,
}

/// How much a circumstance mattered.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The circumstance.
    pub of: Circumstance,
    /// Of this workload.
    pub workload: String,
    /// Of medians (`location`) or of spreads (`dispersion`).
    pub aspect: Aspect,
    /// Last / first, of geometric means over all cells.
    pub ratio: f64,
    /// p-value of its being 1.
    pub p: f64,
}

impl Check {
    /// Whether it speaks against the run.
    pub fn void(&self, policy: &Policy) -> bool {
        let bound = match self.aspect {
            Aspect::Location => policy.validity.location,
            _ => policy.validity.dispersion,
        };
        self.ratio.ln().abs() > bound.ln() && self.p < policy.validity.error
    }

    /// As in `results.json`.
    pub(super) fn result(&self, policy: &Policy) -> CheckResult {
        let of = match self.of {
            Circumstance::Drift => "drift",
            Circumstance::Position => "position",
            Circumstance::Order => "order",
        };
        CheckResult {
            of: of.to_owned(),
            workload: self.workload.clone(),
            aspect: self.aspect.name().to_owned(),
            ratio: self.ratio,
            p: self.p,
            void: self.void(policy),
            told: self.change(),
        }
    }
}

impl Check {
    /// What it accuses the run of.
    pub(super) fn accusation(&self) -> String {
        let what = match self.of {
            Circumstance::Drift => "the host drifted",
            Circumstance::Position => "the place in a block matters",
            Circumstance::Order => "the order of the sides matters",
        };
        format!("{what}: {}", self.change())
    }

    fn change(&self) -> String {
        let figure = if self.aspect == Aspect::Location { "median" } else { "spread" };
        let over = match self.of {
            Circumstance::Drift => "from the first third of the run to the last",
            Circumstance::Position => "from the first place in a block to the last",
            Circumstance::Order => "from the side that comes first to the other",
        };
        let (change, p) = (percent_change(self.ratio - 1.0), probability(self.p));
        format!("{figure} of {} {change} {over} (p {p})", self.workload)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.change())
    }
}

/// A start's logarithm less the mean of its cell and side.
#[derive(Clone, Copy)]
struct Deviation {
    cell: usize,
    block: u32,
    position: u32,
    log: f64,
}

/// All checks that the run is long enough for.
pub(super) fn checks(asked: &[Asked<'_>], policy: &Policy) -> Vec<Check> {
    let mut courses: BTreeMap<(&str, Aspect), Vec<&Asked<'_>>> = BTreeMap::new();
    for asked in asked.iter().filter(|asked| !asked.course.is_empty()) {
        courses.entry((&asked.workload, asked.aspect)).or_default().push(asked);
    }
    let mut checks = Vec::new();
    for ((workload, aspect), cells) in courses {
        let deviations = deviations(&cells);
        let found = [
            (Circumstance::Drift, drift(&deviations)),
            (Circumstance::Position, position(&deviations)),
            (Circumstance::Order, order(&deviations)),
        ];
        for (of, effect) in found {
            let Some(effect) = effect else { continue };
            let (ratio, p) = (effect.estimate.exp(), effect.p());
            checks.push(Check { of, workload: workload.to_owned(), aspect, ratio, p });
        }
    }
    // What voids the run first, then the largest.
    checks.sort_by(|a, b| {
        let size = |check: &Check| check.ratio.ln().abs();
        b.void(policy).cmp(&a.void(policy)).then(size(b).total_cmp(&size(a)))
    });
    checks
}

fn deviations(cells: &[&Asked<'_>]) -> Vec<Deviation> {
    let mut all = Vec::new();
    for (cell, asked) in cells.iter().enumerate() {
        for side in 0..2 {
            let starts = asked.course.iter().filter(|(of, ..)| *of == side);
            let mean = starts.clone().map(|(.., log)| log).sum::<f64>()
                / starts.clone().count().max(1) as f64;
            all.extend(starts.map(|&(_, block, position, log)| Deviation {
                cell,
                block,
                position,
                log: log - mean,
            }));
        }
    }
    all
}

/// Blocks are the observations: what drifts hits all of a block.
fn drift(deviations: &[Deviation]) -> Option<Effect> {
    let means: Vec<f64> = block_means(deviations).into_values().collect();
    let third = means.len() / 3;
    if third < 2 {
        return None;
    }
    let ends = means[..third].iter().map(|mean| (0.0, *mean));
    let ends = ends.chain(means[means.len() - third..].iter().map(|mean| (1.0, *mean)));
    slope(ends)
}

fn position(deviations: &[Deviation]) -> Option<Effect> {
    let means = block_means(deviations);
    let last = deviations.iter().map(|deviation| deviation.position).max()?;
    // Of two places one is that of the order.
    if last < 2 {
        return None;
    }
    slope(deviations.iter().map(|deviation| {
        let mean = means.get(&deviation.block).copied().unwrap_or(0.0);
        (f64::from(deviation.position) / f64::from(last), deviation.log - mean)
    }))
}

fn order(deviations: &[Deviation]) -> Option<Effect> {
    let mut pairs: HashMap<(usize, u32), Vec<Deviation>> = HashMap::new();
    for deviation in deviations {
        pairs.entry((deviation.cell, deviation.block)).or_default().push(*deviation);
    }
    let mut ordered: Vec<(f64, f64)> = Vec::new();
    for mut pair in pairs.into_values() {
        pair.sort_by_key(|deviation| deviation.position);
        if let [first, second] = pair[..] {
            ordered.push((first.log, second.log));
        }
    }
    // Sums of a hash map's values in any order would differ in their last digit.
    ordered.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    if ordered.len() < 3 { None } else { paired(&ordered).ok() }
}

fn block_means(deviations: &[Deviation]) -> BTreeMap<u32, f64> {
    let mut blocks: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for deviation in deviations {
        let (sum, count) = blocks.entry(deviation.block).or_default();
        *sum += deviation.log;
        *count += 1.0;
    }
    blocks.into_iter().map(|(block, (sum, count))| (block, sum / count)).collect()
}

/// The slope of a line through points.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> Option<Effect> {
    let (rows, values): (Vec<Vec<f64>>, Vec<f64>) = points.map(|(x, y)| (vec![1.0, x], y)).unzip();
    least_squares(&rows, &values).ok()?.into_iter().nth(1)
}
