//! Verdicts of made-up runs: faults of one aspect, of one cell, of a factor; and everything that can be wrong with the input.

use super::*;
use crate::matrix::Cell;
use crate::record::testing::{bell, failed, latencies, rates, record, run};
use crate::record::{BASE, Base, CANDIDATE, Outcome, PlannedCell, Record, Run, Status};

mod bad;
mod calibrated;
mod faults;
mod gate;

/// What one start of a cell does.
#[derive(Clone, Copy)]
struct Temper {
    /// Median in nanoseconds.
    middle: f64,
    /// Distance of the quartiles from it.
    width: f64,
    /// Factor of the slowest fiftieth's distance.
    tail: f64,
    /// Share that lies at three times the median.
    second: f64,
    /// Transactions of 50 ms.
    stalls: usize,
    /// SD of boots' medians, as a logarithm.
    between: f64,
}

const STEADY: Temper =
    Temper { middle: 20_000.0, width: 1_000.0, tail: 1.0, second: 0.0, stalls: 0, between: 0.03 };

/// A normal number, nearly.
fn chance(random: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
}

/// The transactions of a start.
fn transactions(temper: &Temper, random: &mut fastrand::Rng) -> Vec<u64> {
    let middle = temper.middle * (temper.between * chance(random)).exp();
    let width = temper.width * (0.15 * chance(random)).exp();
    let far = temper.tail * (0.2 * chance(random)).exp();
    let mut all = bell(middle, width, 1200);
    all.sort_unstable();
    let slow = all.len() - all.len() / 50;
    let from = all[slow] as f64;
    for ns in &mut all[slow..] {
        *ns = (from + 200.0 + (*ns as f64 - middle) * far) as u64;
    }
    let second = (temper.second * all.len() as f64) as usize;
    for ns in &mut all[..second] {
        *ns = (*ns as f64 + 2.0 * middle) as u64;
    }
    all.extend(std::iter::repeat_n(50_000_000, temper.stalls));
    all
}

/// The cells virtualization x network x load.
fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for virtualization in ["netns", "docker"] {
        for network in ["bridge", "nat", "veth"] {
            for load in ["idle", "noisy"] {
                cells.push(Cell::of([
                    "running",
                    virtualization,
                    network,
                    "stock",
                    load,
                    "running",
                ]));
            }
        }
    }
    cells
}

/// A run with both sides, interleaved; `temper` says what a start does, by cell and side.
fn interleaved(
    cells: &[Cell],
    boots: u32,
    seed: u64,
    temper: impl Fn(&Cell, &str) -> Temper,
) -> (Run, Vec<Record>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut records = Vec::new();
    for block in 0..boots {
        for (place, cell) in cells.iter().enumerate() {
            for (side, name) in [BASE, CANDIDATE].into_iter().enumerate() {
                let samples = latencies(&transactions(&temper(cell, name), &mut random));
                let order = if (block + place as u32).is_multiple_of(2) { side } else { 1 - side };
                records.push(Record {
                    side: name.into(),
                    position: (2 * place + order) as u32,
                    ..record(cell, block, "tcp-rr", samples)
                });
            }
        }
    }
    (run(cells), records)
}

fn policy() -> Policy {
    policy::parse(policy::EMBEDDED, "policy (built in)").unwrap()
}

fn judged((run, records): &(Run, Vec<Record>)) -> Verdicts {
    judged_by((run, records), &policy())
}

fn judged_by((run, records): (&Run, &[Record]), policy: &Policy) -> Verdicts {
    let comparison = Comparison::of_sides(run, records, policy).unwrap();
    Verdicts::new(&comparison, policy, Options::default())
}

/// Two runs of one side each.
fn apart((run, records): &(Run, Vec<Record>)) -> [(Run, Vec<Record>); 2] {
    [BASE, CANDIDATE].map(|side| {
        let mine = records.iter().filter(|record| record.side == side);
        (run.clone(), mine.map(|r| Record { side: CANDIDATE.into(), ..r.clone() }).collect())
    })
}

fn compared([base, candidate]: &[(Run, Vec<Record>); 2]) -> Verdicts {
    compared_with([base, candidate], Options::default())
}

fn compared_with([base, candidate]: [&(Run, Vec<Record>); 2], options: Options) -> Verdicts {
    let comparison = Comparison::of_runs((&base.0, &base.1), (&candidate.0, &candidate.1));
    Verdicts::new(&comparison, &policy(), options)
}

/// `CELL ASPECT` of all that is flagged.
fn flagged(verdicts: &Verdicts) -> Vec<String> {
    let flags = verdicts.decisions.iter().filter(|decision| decision.flags());
    flags.map(|decision| format!("{} {}", decision.row.cell, decision.row.aspect)).collect()
}

/// The rows of an aspect.
fn of(verdicts: &Verdicts, aspect: Aspect) -> Vec<&Decision> {
    verdicts.decisions.iter().filter(|decision| decision.aspect == aspect).collect()
}
