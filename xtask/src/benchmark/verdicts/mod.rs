//! What the gate finds and what it raises false alarms for, simulated, beside what public gates make of the same boots.
//!
//! Every row is a pull request of 50 cells, 2 workloads and 5 aspects, run as a gate runs: boots are drawn as the design asks for
//! them, and only flags of the right cell, workload and aspect count. All is seeded: the same program prints the same rows.
//!
//! Rows of real boots tell what `calibrate` has measured on this host before: nothing is measured for hours here.

mod gate;
mod history;
mod merge;
mod model;
mod others;
mod public;
mod real;
mod speed;

use rayon::prelude::*;

use super::runs::Runs;
use super::table::{Measured, Must, Row};
use gate::{Effort, Gates, Ran};
use model::{Change, Fault, Noise, Seed};
use others::Python;
use public::Public;

/// Simulated pull requests a row.
const RUNS: u64 = 600;

/// Those of the row of false alarms: none in 299 would say "under 1 %".
const UNCHANGED: u64 = 1_200;

/// Those where every hypothesis is as bad as it may be: all cells are confirmed, which costs ten times as much.
const AT_MARGIN: u64 = 300;

/// The cell that a fault is in.
const FAULTY: u32 = 17;

/// A row of the table that the gate must reach.
struct Wanted {
    what: &'static str,
    change: Change,
    effort: Effort,
    /// Percent of runs in which it is found, and mean boots a side.
    least: f64,
    boots: f64,
}

const WANTED: [Wanted; 5] = [
    Wanted {
        what: "dispersion x1.5",
        change: Change::Dispersion(1.5),
        effort: Effort::Quick,
        least: 99.0,
        boots: 12.0,
    },
    Wanted {
        what: "dispersion x1.25",
        change: Change::Dispersion(1.25),
        effort: Effort::Thorough,
        least: 85.0,
        boots: 25.0,
    },
    Wanted {
        what: "tail excess x1.5",
        change: Change::Tail(1.5),
        effort: Effort::Quick,
        least: 90.0,
        boots: 14.0,
    },
    Wanted {
        what: "stall of 50 ms a second",
        change: Change::Stall,
        effort: Effort::Quick,
        least: 99.0,
        boots: 12.0,
    },
    Wanted {
        what: "location +5 %",
        change: Change::Location(1.05),
        effort: Effort::Thorough,
        least: 95.0,
        boots: 22.0,
    },
];

/// The rows.
pub(super) fn rows(runs: &Runs) -> anyhow::Result<Vec<Row>> {
    let noise = Noise::new();
    let python = Python::find();
    let gates = Gates::new()?;
    let mut rows = unchanged(&gates, &noise, &python);
    rows.extend(real::rows()?);
    for wanted in &WANTED {
        rows.extend(power(wanted, &gates, &noise, &python));
    }
    rows.push(lost(&gates, &noise));
    rows.push(at_margin(&gates, &noise));
    rows.extend(history::rows(runs, &python)?);
    rows.extend(speed::rows(&python));
    rows.push(merge::row()?);
    Ok(rows)
}

/// The rows of histories.
pub(super) fn history_rows(runs: &Runs) -> anyhow::Result<Vec<Row>> {
    history::rows(runs, &Python::find())
}

/// The rows of how long tests take.
pub(super) fn speed_rows(_: &Runs) -> anyhow::Result<Vec<Row>> {
    let mut rows = speed::rows(&Python::find());
    rows.push(merge::row()?);
    Ok(rows)
}

/// A fault of the first workload, whose boots give transactions.
fn fault(change: Change) -> Fault {
    Fault { cell: FAULTY, workload: 0, change }
}

fn many(runs: u64, row: u64, one: impl Fn(Seed) -> Ran + Sync) -> Vec<Ran> {
    (0..runs).into_par_iter().map(|run| one(Seed::new(row, run))).collect()
}

fn mean_boots(ran: &[Ran]) -> f64 {
    ran.iter().map(|ran| ran.mean_boots).sum::<f64>() / ran.len() as f64
}

/// A share of runs, percent with its exact interval.
fn percent(hits: usize, runs: usize) -> Measured {
    let percent = |share: f64| 100.0 * share;
    match evenkeel_stats::interval::share(hits as u64, runs as u64) {
        Ok(of) => Measured {
            value: percent(of.estimate),
            interval: Some([percent(of.low), percent(of.high)]),
        },
        Err(_) => Measured { value: 0.0, interval: None },
    }
}

/// Rows of a fault: how often it is found, and at what cost.
fn power(wanted: &Wanted, gates: &Gates, noise: &Noise, python: &Python) -> [Row; 2] {
    let fault = fault(wanted.change);
    let row = wanted.what.len() as u64 + wanted.least as u64 * 100;
    let ran = many(RUNS, row, |seed| gate::run(seed, noise, Some(fault), (gates, wanted.effort)));
    let found = ran.iter().filter(|ran| ran.flagged.contains(&fault.place())).count();
    let astray =
        ran.iter().filter(|ran| ran.flagged.iter().any(|place| !fault.touches(*place))).count();
    let beside = Public::faulty(row, noise, fault, python);
    let note =
        format!("{}; {astray} of {RUNS} runs flag something unchanged; {beside}", wanted.effort);
    let (what, must) = (format!("{}: found", wanted.what), Must::AtLeast(wanted.least));
    let boots = Measured { value: mean_boots(&ran), interval: None };
    let what_boots = format!("{}: mean boots a side", wanted.what);
    [
        Row::new(&what, "%", percent(found, ran.len()), must, note),
        Row::new(&what_boots, "", boots, Must::AtMost(wanted.boots), String::new()),
    ]
}

/// Rows of pull requests that change nothing.
fn unchanged(gates: &Gates, noise: &Noise, python: &Python) -> Vec<Row> {
    let beside = Public::unchanged(1, noise, python);
    let row = |effort: Effort| {
        let ran = many(UNCHANGED, 1, |seed| gate::run(seed, noise, None, (gates, effort)));
        let alarmed = ran.iter().filter(|ran| !ran.flagged.is_empty()).count();
        let what = format!("nothing changed, {effort}: run with a false alarm");
        let note = format!("mean boots a side {:.1}; {beside}", mean_boots(&ran));
        Row::new(&what, "%", percent(alarmed, ran.len()), Must::HighAtMost(1.0), note)
    };
    [Effort::Quick, Effort::Thorough].map(row).into()
}

/// The row of a whole run in which everything is worse by exactly its margin: the border that the error rate is promised at.
fn at_margin(gates: &Gates, noise: &Noise) -> Row {
    let ran = many(AT_MARGIN, 2, |seed| {
        gate::run(seed, noise, Some(fault(Change::Margin(gates.margins()))), (gates, Effort::Quick))
    });
    let alarmed = ran.iter().filter(|ran| !ran.flagged.is_empty()).count();
    let note =
        format!("no public gate tests against a margin; mean boots a side {:.1}", mean_boots(&ran));
    let what = "all 500 worse by just their margin: run with a flag";
    Row::new(what, "%", percent(alarmed, ran.len()), Must::LowAtMost(1.0), note)
}

/// The row of one bad cell among good ones.
fn lost(gates: &Gates, noise: &Noise) -> Row {
    let fault = fault(Change::Location(1.2));
    let ran = many(RUNS, 3, |seed| gate::run(seed, noise, Some(fault), (gates, Effort::Quick)));
    let lost = ran.iter().filter(|ran| !ran.flagged.contains(&fault.place())).count();
    let note = format!(
        "location +20 % in that cell; a gate that averages its cells loses it in {}",
        Public::averaged(3, noise, fault)
    );
    Row::new(
        "1 cell of 50 lost to the others",
        "%",
        percent(lost, ran.len()),
        Must::AtMost(0.0),
        note,
    )
}
