//! One cell in full: figures of all its workloads, charts, evidence, surroundings, boots.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_history::time::utc;
use serde::Serialize;

use self::downloads::Download;
use super::evidence::{self, Hop, Knob, LoadWorker, Loss, Program};
use super::source::Source;
use super::{Fact, badge, contrasts};
use crate::matrix::Axis;
use crate::record::results::{CellOutcome, CellResult, Figures, WorkloadResult};
use crate::record::{CANDIDATE, Outcome, Record};
use crate::report::chart::Chart;
use crate::report::format::{Quantity, grouped, wall};
use crate::report::text::anchor;

mod downloads;
mod modes;
mod pictures;

/// Boots that are listed and drawn one by one.
const BOOTS: usize = 40;

/// The view of one cell.
#[derive(Debug, Serialize)]
pub(super) struct Detail {
    id: String,
    name: String,
    anchor: String,
    badge: &'static str,
    emulated: bool,
    /// Whether it is open at first: it failed or changed.
    open: bool,
    headline: String,
    /// Knobs that were not effective.
    warnings: Vec<String>,
    axes: Vec<Fact>,
    reason: Option<String>,
    /// Its verdicts against a base, in words with the numbers behind them.
    verdicts: Vec<contrasts::Verdict>,
    /// The word that its summary begins with, where it was judged.
    verdict: Option<String>,
    /// Facts of the instrument that differ between base and candidate: name, candidate, base. Nothing where there is no base.
    beside_base: Option<Vec<Difference>>,
    /// What its flags coincide with.
    diagnoses: Vec<Fact>,
    workloads: Vec<String>,
    groups: Vec<FigureGroup>,
    charts: Vec<Chart>,
    hops: Vec<Hop>,
    knobs: Vec<Knob>,
    loads: Vec<LoadWorker>,
    losses: Vec<Loss>,
    programs: Vec<Program>,
    instrument: Vec<Fact>,
    partner: Option<Partner>,
    noise: Vec<evidence::NoiseRow>,
    boots: Vec<BootRow>,
    more_boots: usize,
    raw: Vec<Fact>,
    downloads: Vec<Download>,
}

/// Figures that answer one question.
#[derive(Debug, Serialize)]
struct FigureGroup {
    name: &'static str,
    rows: Vec<FigureRow>,
}

#[derive(Debug, Serialize)]
struct FigureRow {
    name: &'static str,
    /// What it is, for those who point at it.
    title: &'static str,
    /// One a workload; nothing where the count cannot support it.
    values: Vec<Option<String>>,
}

/// The cell on the other side of a contrast.
#[derive(Debug, Serialize)]
struct Partner {
    id: String,
    anchor: String,
    /// Facts of the instrument that differ.
    differs: Vec<Difference>,
}

/// A fact of the instrument that differs: its name, what it is here, and what it is there.
type Difference = (String, String, String);

/// One fresh start.
#[derive(Debug, Serialize)]
struct BootRow {
    boot: u32,
    side: String,
    place: String,
    started: String,
    outcome: &'static str,
    reason: Option<String>,
    timing: String,
    host_boot: String,
}

/// A figure of the table: group, name, explanation, value, and whether it is a share.
type FigureSpec = (&'static str, &'static str, &'static str, fn(&Figures) -> Option<f64>);

const FIGURES: [FigureSpec; 16] = [
    ("Location", "median", "half of all observations are below", |f| f.median),
    ("Location", "mean", "arithmetic mean, exact", |f| f.mean),
    (
        "Dispersion",
        "SD within a boot",
        "of single observations, root mean square over boots",
        |f| f.sd_within,
    ),
    ("Dispersion", "SD of windows", "of window means or rates inside a boot", |f| f.sd_windows),
    ("Dispersion", "SD between boots", "of boot means: the thesis's SD", |f| f.sd_between),
    ("Dispersion", "MAD", "median absolute deviation from the median, unscaled", |f| f.mad),
    ("Dispersion", "IQR", "distance of the quartiles", |f| f.iqr),
    ("Dispersion", "jitter", "p99 - p50 of latencies, p50 - p1 of rates", |f| f.jitter),
    ("Tail", "p90", "90th percentile", |f| f.p90),
    ("Tail", "p99", "99th percentile", |f| f.p99),
    ("Tail", "p99.9", "99.9th percentile", |f| f.p99_9),
    ("Tail", "p99.99", "99.99th percentile", |f| f.p99_99),
    ("Tail", "p99.999", "99.999th percentile", |f| f.p99_999),
    ("Tail", "max", "largest observation", |f| f.max),
    (
        "Stalls",
        STALL_SHARE,
        "share of time inside transactions longer than the stall threshold",
        |f| f.stall_share,
    ),
    ("Count", OBSERVATIONS, "observations pooled over boots", |_| None),
];
const STALL_SHARE: &str = "stalled";
const OBSERVATIONS: &str = "observations";

impl Detail {
    pub(super) fn new(
        source: &Source<'_>,
        cell: &CellResult,
        all_charts: bool,
    ) -> anyhow::Result<Detail> {
        let records = source.boots(&cell.id);
        // What a base did with its knobs is not this run's evidence.
        let mine: Vec<&Record> = source.starts(&cell.id).collect();
        let charts = cell
            .workloads
            .iter()
            .filter(|w| {
                all_charts || [source.latency(), source.rate()].contains(&Some(w.name.as_str()))
            })
            .map(|workload| pictures::charts(source, cell, workload, all_charts))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let changed = source
            .verdicts(&cell.id)
            .iter()
            .any(|row| matches!(row.verdict.as_str(), "regressed" | "improved" | "missing"));
        let knobs = evidence::knobs(&mine);
        Ok(Detail {
            id: cell.id.clone(),
            name: source.short(&cell.axes),
            anchor: anchor(&cell.id),
            badge: badge(cell),
            emulated: source.emulated(&cell.id),
            open: changed || cell.outcome == CellOutcome::Failed,
            headline: headline(source, cell),
            warnings: knobs.iter().filter_map(Knob::warning).collect(),
            axes: Axis::ALL
                .into_iter()
                .filter(|axis| cell.axes.names(*axis))
                .map(|axis| Fact::new(axis.name(), cell.axes.on(axis)))
                .collect(),
            reason: cell.reason.clone(),
            verdict: contrasts::worst(source, &cell.id).map(|row| row.verdict.clone()),
            verdicts: contrasts::of_cell(source, &cell.id),
            beside_base: beside_base(records),
            diagnoses: source
                .results
                .diagnoses
                .iter()
                .filter(|of| of.cell == cell.id)
                .map(|of| Fact::new(format!("{} {}", of.workload, of.aspect), &of.told))
                .collect(),
            workloads: cell.workloads.iter().map(|w| w.name.clone()).collect(),
            groups: figure_groups(source, cell, all_charts),
            charts: charts.into_iter().flatten().collect(),
            hops: evidence::hops(&mine),
            knobs,
            loads: evidence::loads(&mine),
            losses: evidence::losses(&mine),
            programs: evidence::programs(records),
            instrument: source.instrument(&cell.id).map(Fact::all).unwrap_or_default(),
            partner: source.partner(&cell.id).map(|other| Partner::new(source, cell, other)),
            noise: evidence::noise(records, BOOTS),
            boots: records.iter().take(BOOTS).map(|record| BootRow::new(record)).collect(),
            more_boots: records.len().saturating_sub(BOOTS),
            raw: raw(&mine),
            downloads: downloads::of(source, cell, all_charts)?,
        })
    }
}

/// The cell in a line: what its summary says while it is closed.
fn headline(source: &Source<'_>, cell: &CellResult) -> String {
    let mut parts = Vec::new();
    if let Some(w) = source.latency().and_then(|name| Source::workload(cell, name)) {
        for (name, value) in [("median", w.figures.median), ("p99", w.figures.p99)] {
            parts.extend(Quantity::Time.show_some(value).map(|value| format!("{name} {value}")));
        }
    }
    if let Some(w) = source.rate().and_then(|name| Source::workload(cell, name)) {
        parts.extend(Quantity::of_symbol(&w.unit).show_some(w.figures.median));
    }
    parts.join(" · ")
}

fn figure_groups(source: &Source<'_>, cell: &CellResult, all: bool) -> Vec<FigureGroup> {
    let mut groups: Vec<FigureGroup> = Vec::new();
    let workloads: &[WorkloadResult] = &cell.workloads;
    if workloads.is_empty() {
        return groups;
    }
    for (group, name, title, value) in FIGURES {
        let values = workloads
            .iter()
            .map(|w| match name {
                OBSERVATIONS => Some(grouped(w.count)),
                STALL_SHARE => Quantity::Share.show_some(value(&w.figures)),
                _ => Quantity::of_symbol(&w.unit).show_some(value(&w.figures)),
            })
            .collect();
        let row = FigureRow { name, title, values };
        match groups.last_mut() {
            Some(last) if last.name == group => last.rows.push(row),
            _ => groups.push(FigureGroup { name: group, rows: vec![row] }),
        }
    }
    if all {
        groups.push(FigureGroup { name: "Modes", rows: vec![modes::row(source, cell)] });
    }
    groups
}

impl Partner {
    fn new(source: &Source<'_>, cell: &CellResult, other: &CellResult) -> Partner {
        let sides = [cell, other].map(|of| source.instrument(&of.id));
        let differs = match sides {
            [Some(here), Some(there)] => differences(here, there),
            _ => Vec::new(),
        };
        Partner { id: other.id.clone(), anchor: anchor(&other.id), differs }
    }
}

/// How the instrument differed between the sides of a comparison, by the last boot of each.
fn beside_base(records: &[&Record]) -> Option<Vec<Difference>> {
    let last = |of: fn(&str) -> bool| {
        records.iter().rev().find(|record| of(&record.side)).map(|record| &record.instrument)
    };
    let candidate = last(|side| side == CANDIDATE)?;
    let base = last(|side| side != CANDIDATE)?;
    Some(differences(candidate, base))
}

fn differences(
    here: &BTreeMap<String, String>,
    there: &BTreeMap<String, String>,
) -> Vec<Difference> {
    if here.is_empty() || there.is_empty() {
        return Vec::new();
    }
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let value = |of: &BTreeMap<String, String>, name: &String| {
        of.get(name).cloned().unwrap_or_else(|| "-".to_owned())
    };
    let differ = names.into_iter().filter(|name| here.get(*name) != there.get(*name));
    differ.map(|name| (name.clone(), value(here, name), value(there, name))).collect()
}

impl BootRow {
    fn new(record: &Record) -> BootRow {
        let (outcome, reason) = match &record.outcome {
            Outcome::Measured if record.failed.is_empty() => ("measured", None),
            Outcome::Measured => {
                let failed: Vec<String> = record.failed.iter().map(ToString::to_string).collect();
                ("partly failed", Some(failed.join("; ")))
            }
            Outcome::Failed { reason } => ("failed", Some(reason.clone())),
        };
        let timing: Vec<_> =
            record.timing_ns.iter().map(|(phase, ns)| format!("{phase} {}", wall(*ns))).collect();
        BootRow {
            boot: record.boot,
            side: record.side.clone(),
            place: format!("{}.{}", record.block, record.position),
            started: utc(record.started_unix),
            outcome,
            reason,
            timing: timing.join(", "),
            host_boot: record.host_boot.chars().take(8).collect(),
        }
    }
}

/// What tools said themselves, of the last boot.
fn raw(records: &[&Record]) -> Vec<Fact> {
    let last = records.iter().rev().find(|record| record.outcome == Outcome::Measured);
    last.into_iter()
        .flat_map(|record| &record.workloads)
        .filter_map(|measured| Some(Fact::new(&measured.workload, measured.samples.raw.as_ref()?)))
        .collect()
}
