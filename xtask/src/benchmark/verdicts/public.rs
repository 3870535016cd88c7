//! What public gates make of the same boots: the samples of all boots of a side pooled, or one mean a boot.

use std::fmt;

use evenkeel_stats::moments::Moments;
use evenkeel_stats::quantile::median;
use rayon::prelude::*;

use super::model::{Boot, CELLS, Fault, Noise, Seed, Side, WORKLOADS};
use super::others::Python;

/// Boots a side, and samples of each.
const BOOTS: u32 = 12;
const SAMPLES: usize = 50;

/// Runs with a fault, and without one: in these all cells are compared.
const FAULTY: u64 = 100;
const UNCHANGED: u64 = 40;

/// Of the runs without a fault, those whose series go to Python.
const UNCHANGED_SERIES: u64 = 10;

/// Error rate that these gates test each comparison at, and what it is in deviates.
const DEVIATE: f64 = 2.575_829_303_548_901;

/// Firecracker's least change of a mean.
const LEAST_CHANGE: f64 = 0.05;

/// Names of the gates, in the order of [`verdicts`].
const NAMES: [&str; 4] = ["Firecracker-style", "Mann-Whitney", "Brown-Forsythe", "ratio 200 %"];

/// Shares of runs in which each gate raised an alarm, for a note.
pub(super) struct Public {
    shares: Vec<(&'static str, f64)>,
    absent: Option<String>,
}

impl fmt::Display for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "beside it, at {BOOTS} boots: ")?;
        for (at, (name, share)) in self.shares.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {:.0} %", 100.0 * share)?;
        }
        self.absent.as_ref().map_or(Ok(()), |why| write!(f, "; {why}"))
    }
}

/// Samples of each boot, base and candidate.
pub(super) type Series = [Vec<Vec<f64>>; 2];

fn series(seed: Seed, noise: &Noise, cell: u32, workload: u32, fault: Option<Fault>) -> Series {
    [Side::Base, Side::Candidate].map(|side| {
        let boot =
            |block| Boot::draw(seed, cell, workload, side, block, fault).values(noise, SAMPLES);
        (0..BOOTS).map(boot).collect()
    })
}

impl Public {
    /// Alarms for the cell and workload that have the fault.
    pub(super) fn faulty(row: u64, noise: &Noise, fault: Fault, python: &Python) -> Public {
        let all: Vec<Series> = (0..FAULTY)
            .into_par_iter()
            .map(|run| series(Seed::new(row, run), noise, fault.cell, fault.workload, Some(fault)))
            .collect();
        let share = |gate: usize| {
            let alarms = all.par_iter().filter(|one| verdicts(one)[gate]).count();
            (NAMES[gate], alarms as f64 / all.len() as f64)
        };
        let mut shares: Vec<_> = (0..NAMES.len()).map(share).collect();
        let absent = match python.verdicts(&all) {
            Ok(found) => {
                shares.extend(found.iter().map(|(name, alarms)| {
                    let alarms = alarms.iter().filter(|alarm| **alarm).count();
                    (*name, alarms as f64 / all.len() as f64)
                }));
                None
            }
            Err(why) => Some(why),
        };
        Public { shares, absent }
    }

    /// Alarms of whole runs in which nothing changed.
    pub(super) fn unchanged(row: u64, noise: &Noise, python: &Python) -> Public {
        let run = |run: u64| -> Vec<Series> {
            let all =
                (0..CELLS).flat_map(|cell| (0..WORKLOADS).map(move |workload| (cell, workload)));
            all.map(|(cell, workload)| series(Seed::new(row, run), noise, cell, workload, None))
                .collect()
        };
        let alarms: Vec<[bool; NAMES.len()]> = (0..UNCHANGED)
            .into_par_iter()
            .map(|number| {
                let found: Vec<_> = run(number).iter().map(verdicts).collect();
                std::array::from_fn(|gate| found.iter().any(|of| of[gate]))
            })
            .collect();
        let share = |gate: usize| {
            let count = alarms.iter().filter(|of| of[gate]).count();
            (NAMES[gate], count as f64 / alarms.len() as f64)
        };
        let mut shares: Vec<_> = (0..NAMES.len()).map(share).collect();
        let some: Vec<Series> = (0..UNCHANGED_SERIES).flat_map(run).collect();
        let each = some.len() / UNCHANGED_SERIES as usize;
        let absent = match python.verdicts(&some) {
            Ok(found) => {
                shares.extend(found.iter().map(|(name, alarms)| {
                    let runs = alarms.chunks(each).filter(|run| run.contains(&true)).count();
                    (*name, runs as f64 / UNCHANGED_SERIES as f64)
                }));
                None
            }
            Err(why) => Some(why),
        };
        Public { shares, absent }
    }

    /// In how many runs a gate that looks at the mean change over all cells raises no alarm, as a phrase.
    pub(super) fn averaged(row: u64, noise: &Noise, fault: Fault) -> String {
        let lost = (0..UNCHANGED).into_par_iter().filter(|run| {
            let change = |cell| {
                let of = series(Seed::new(row, *run), noise, cell, fault.workload, Some(fault));
                let [base, candidate] = pooled(&of).map(|side| Moments::of(&side).mean);
                candidate / base - 1.0
            };
            (0..CELLS).map(change).sum::<f64>() / f64::from(CELLS) <= LEAST_CHANGE
        });
        format!("{} of {UNCHANGED} runs", lost.count())
    }
}

fn pooled(of: &Series) -> [Vec<f64>; 2] {
    [0, 1].map(|side| of[side].concat())
}

/// What each gate says about one comparison. Permutation tests of pooled means stand at their normal limit, which 600 samples a side have reached.
fn verdicts(of: &Series) -> [bool; NAMES.len()] {
    let [base, candidate] = pooled(of);
    let [from, to] = [&base, &candidate].map(|side| Moments::of(side).mean);
    let moved = deviate(&base, &candidate).abs() > DEVIATE;
    let about = |side: &[f64]| -> Vec<f64> {
        let middle = median(side).unwrap_or(f64::NAN);
        side.iter().map(|value| (value - middle).abs()).collect()
    };
    [
        moved && (to / from - 1.0).abs() > LEAST_CHANGE,
        mann_whitney(&base, &candidate).abs() > DEVIATE,
        deviate(&about(&base), &about(&candidate)).abs() > DEVIATE,
        to / from > 2.0,
    ]
}

/// The difference of two means over its standard error: with deviations from the median, Brown and Forsythe's test (1974).
fn deviate(base: &[f64], candidate: &[f64]) -> f64 {
    let [from, to] = [base, candidate].map(Moments::of);
    let [a, b] = [from, to].map(|of| of.variance().unwrap_or(0.0) / of.count as f64);
    (to.mean - from.mean) / (a + b).sqrt()
}

/// Mann and Whitney's U (1947) as a normal deviate; values here are never tied.
fn mann_whitney(base: &[f64], candidate: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = base.iter().map(|value| (*value, false)).collect();
    all.extend(candidate.iter().map(|value| (*value, true)));
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let ranks: f64 =
        (1..).zip(&all).filter(|(_, (_, of))| *of).map(|(rank, _)| f64::from(rank)).sum();
    let (n, m) = (base.len() as f64, candidate.len() as f64);
    let u = ranks - m * (m + 1.0) / 2.0;
    (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_pools_agree_with_scipy() {
        let a = [1.0, 1.2, 0.9, 1.1, 1.3, 1.05];
        let b = [1.5, 1.25, 1.7, 1.4, 1.15, 1.6];
        // r = scipy.stats.mannwhitneyu(b, a, method="asymptotic", use_continuity=False); scipy.stats.norm.isf(r.pvalue / 2)
        assert!(
            (mann_whitney(&a, &b) - 2.4019223070763074).abs() < 1e-9,
            "{}",
            mann_whitney(&a, &b)
        );
        // f = scipy.stats.levene(a, b, center="median").statistic; np.sqrt(f)
        let about = |side: &[f64]| {
            let middle = median(side).unwrap();
            side.iter().map(|value| (value - middle).abs()).collect::<Vec<_>>()
        };
        assert!((deviate(&about(&a), &about(&b)).abs() - 1.085303927655575).abs() < 1e-9);
    }
}
