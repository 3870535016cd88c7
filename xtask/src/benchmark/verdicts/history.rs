//! What the history check finds and what it raises false alarms for, in series whose points are not independent; and how long it takes.
//!
//! Series are normal with autocorrelation 0.5 and a coefficient of variation of 2 %, one point a run, and go through all that `history check`
//! does with the points of a file.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use evenkeel_agent::command;
use rayon::prelude::*;

use super::super::runs::Runs;
use super::super::table::{Measured, Must, Row};
use super::model::{Seed, WITHIN, autoregressive, normal, student};
use super::others::Python;
use super::percent;
use crate::history::check::{Finding, Question, check};
use crate::history::entry::{CellEntry, Entry, Figure, SCHEMA};
use crate::history::series::Builder;

/// Series a row: each is a history of its own.
const SERIES: u64 = 4_000;

/// Of those, which go to Python.
const SHOWN: u64 = 200;

/// Points before the change, and after it.
const HALF: usize = 50;

/// Points that a change may be found away from where it is.
const NEAR: u64 = 10;

/// What `history check` takes where nothing is said.
const FALSE_ALARMS: f64 = 0.02;

/// Percent of series.
const MOST_ALARMS: f64 = 2.0;
const LEAST_FOUND: f64 = 80.0;

/// The large history, and seconds for it.
const LARGE: usize = 10_000;
const LARGE_POINTS: usize = 500;
const MOST_S: f64 = 10.0;

/// Long: it is measured, not judged, by its deadline.
const DEADLINE: Duration = Duration::from_secs(300);

type Draw = fn(&mut fastrand::Rng) -> f64;

/// The rows.
pub(super) fn rows(runs: &Runs, python: &Python) -> anyhow::Result<Vec<Row>> {
    Ok(vec![unchanged(python), steadiness(python), large(&runs.folder())?])
}

/// The row of series in which nothing changes.
fn unchanged(python: &Python) -> Row {
    let alarms = |draw: Draw| found(10, draw, 1.0).iter().filter(|of| !of.is_empty()).count();
    let all = SERIES as usize;
    let note = format!(
        "a change of any kind or direction; of Student's law with 4 degrees of freedom {:.1} %; {}",
        100.0 * alarms(student) as f64 / all as f64,
        beside(python, 10, 1.0)
    );
    let what = "history, 100 points that do not change: false alarm";
    Row::new(what, "%", percent(alarms(normal), all), Must::AtMost(MOST_ALARMS), note)
}

/// The row of series whose points lie twice as far from the same level from the middle on.
fn steadiness(python: &Python) -> Row {
    let all = found(11, normal, 2.0);
    let near = |finding: &Finding| {
        let at = finding.between[1].line - 1;
        finding.what == "steadiness" && finding.ratio > 1.0 && at.abs_diff(HALF as u64) <= NEAR
    };
    let hits = all.iter().filter(|of| of.iter().any(near)).count();
    let note = format!("an oracle that knows the place: 87 %; {}", beside(python, 11, 2.0));
    let what = "history, SD x2 at the same mean, 50+50 points: found within 10";
    Row::new(what, "%", percent(hits, all.len()), Must::AtLeast(LEAST_FOUND), note)
}

/// Logarithms of a series: its spread is `times` as large from the middle on.
fn logs(row: u64, series: u64, draw: Draw, times: f64) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(Seed::new(row, series).number());
    let spread = |at: usize| if at < HALF { WITHIN } else { times * WITHIN };
    autoregressive(&mut random, 2 * HALF, draw)
        .into_iter()
        .enumerate()
        .map(|(at, e)| (1.0 + spread(at) * e).ln())
        .collect()
}

/// What the check finds in each series.
fn found(row: u64, draw: Draw, times: f64) -> Vec<Vec<Finding>> {
    let question = Question {
        false_alarms: FALSE_ALARMS,
        accepted: Vec::new(),
        now: 0,
        reference: None,
        budget: [1.05, 1.25],
    };
    let one = |series: u64| {
        let mut builder = Builder::default();
        for (at, log) in (0..).zip(logs(row, series, draw, times)) {
            builder.take(at + 1, &entry(at, &[log]));
        }
        check(&builder.build().0, &question).map_or_else(|_| Vec::new(), |answer| answer.changes)
    };
    (0..SERIES).into_par_iter().map(one).collect()
}

/// Alarms that public tools raise for the same series.
fn beside(python: &Python, row: u64, times: f64) -> String {
    let all: Vec<[Vec<Vec<f64>>; 2]> = (0..SHOWN)
        .map(|series| {
            let points: Vec<Vec<f64>> =
                logs(row, series, normal, times).iter().map(|log| vec![log.exp()]).collect();
            let (before, after) = points.split_at(HALF);
            [before.to_vec(), after.to_vec()]
        })
        .collect();
    match python.verdicts(&all) {
        Ok(found) => {
            let one = |(name, alarms): &(&str, Vec<bool>)| {
                let alarms = alarms.iter().filter(|alarm| **alarm).count();
                format!("{name} {:.1} %", 100.0 * alarms as f64 / SHOWN as f64)
            };
            let all = found.iter().map(one).collect::<Vec<_>>().join(", ");
            format!("alarms beside it, {SHOWN} series: {all}")
        }
        Err(why) => why,
    }
}

/// A run with one figure of each series: two workloads of five aspects a cell.
fn entry(at: u64, logs: &[f64]) -> Entry<'static> {
    let workloads = ["tcp-rr", "tcp-stream"];
    let aspects = ["location", "dispersion", "tail", "stall", "between-boot"];
    let of_a_cell = workloads.into_iter().flat_map(|of| aspects.map(|aspect| (of, aspect)));
    let figure = |((workload, aspect), &log): ((&'static str, &'static str), &f64)| Figure {
        workload: workload.into(),
        aspect: aspect.into(),
        figure: "simulated".into(),
        unit: "ns".into(),
        higher_is_better: false,
        boots: 5,
        log,
        error: Some(WITHIN),
    };
    let cell = |(nth, logs): (usize, &[f64])| CellEntry {
        cell: format!("running/netns/veth/stock/idle{nth}").into(),
        fingerprint: "simulated".into(),
        figures: of_a_cell.clone().zip(logs).map(figure).collect(),
    };
    let cells = logs.chunks(workloads.len() * aspects.len()).enumerate().map(cell).collect();
    let run = format!("run{at}").into();
    Entry { schema: SCHEMA, time: at, commit: None, dirty: false, run, mark: None, cells }
}

/// The row of the whole command on a large history.
fn large(folder: &Path) -> anyhow::Result<Row> {
    let path = folder.join("history.jsonl");
    let write = || -> anyhow::Result<u64> {
        let mut random = fastrand::Rng::with_seed(1);
        let series: Vec<Vec<f64>> =
            (0..LARGE).map(|_| autoregressive(&mut random, LARGE_POINTS, normal)).collect();
        let mut file = BufWriter::new(File::create(&path)?);
        for at in 0..LARGE_POINTS {
            let logs: Vec<f64> = series.iter().map(|series| 10.0 + WITHIN * series[at]).collect();
            serde_json::to_writer(&mut file, &entry(at as u64, &logs))?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
        Ok(file.get_ref().metadata()?.len())
    };
    let bytes = write().with_context(|| format!("failed to write file `{}`", path.display()))?;
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let (program, file) = (program.to_string_lossy(), path.to_string_lossy());
    let silent = "\"$0\" history check --history \"$1\" > /dev/null; test $? -le 1";
    let began = Instant::now();
    command::output(&["sh", "-c", silent, &program, &file], DEADLINE)?;
    let seconds = began.elapsed().as_secs_f64();
    std::fs::remove_file(&path).context("failed to remove the history")?;
    let note = format!("the whole command, a file of {} MB read", bytes / 1_000_000);
    let what = "history check of 10,000 series of 500 points";
    let measured = Measured { value: seconds, interval: None };
    Ok(Row::new(what, "s", measured, Must::AtMost(MOST_S), note))
}
