//! The view of a run: plain values, every number already text, in the order in which they are read.
//! Templates lay these out and decide nothing.

use std::collections::BTreeMap;

use evenkeel_history::time::utc;
use rayon::prelude::*;
use serde::Serialize;

use self::source::Source;
use super::format::{Quantity, grouped, wall};
use crate::record::results::{
    CellOutcome, CellResult, ComparisonResult, DiagnosisResult, Results, Trouble,
};
use crate::record::{CANDIDATE, Outcome, Record, Run, Status};

mod attribution;
mod contrasts;
mod detail;
mod evidence;
mod grid;
mod kernels;
mod overview;
mod source;
mod thesis;

/// Cells shown with figures and charts; the others have their row.
const DETAILED: usize = 200;
/// Beyond this many cells, half as many are: the rows alone are most of what a browser can take in before its reader waits.
const MANY: usize = 5_000;
/// Beyond this many detailed cells, each has charts of its first latency and first rate only.
const CHARTED_FULLY: usize = 40;
/// Cells named in a group of cells that were not measured.
const NAMED: usize = 20;

/// A named value.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fact {
    name: String,
    value: String,
}

impl Fact {
    pub(super) fn new(name: impl Into<String>, value: impl Into<String>) -> Fact {
        Fact { name: name.into(), value: value.into() }
    }

    fn all(facts: &BTreeMap<String, String>) -> Vec<Fact> {
        facts.iter().map(|(name, value)| Fact::new(name, value)).collect()
    }
}

/// The whole report.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    matrix: String,
    sentence: String,
    verdict: String,
    about: Vec<Fact>,
    warnings: Vec<String>,
    own_error: Vec<Fact>,
    facts: Vec<Fact>,
    has_rates: bool,
    has_emulated: bool,
    detailed: usize,
    grid: grid::Grid,
    thesis: Option<thesis::Thesis>,
    kernels: Vec<kernels::Pair>,
    attribution: Vec<attribution::Table>,
    contrasts: Vec<contrasts::Group>,
    verdicts: Vec<contrasts::VerdictGroup>,
    /// What flags coincide with.
    diagnoses: Vec<Fact>,
    comparison: Option<Comparison>,
    overview: Vec<overview::Panel>,
    latency: Option<String>,
    rate: Option<String>,
    cells: Vec<Row>,
    details: Vec<detail::Detail>,
    absent: Vec<Absent>,
    absent_count: usize,
}

/// What verdicts rest on.
#[derive(Debug, Serialize)]
struct Comparison {
    gate: String,
    why: Option<String>,
    /// Word and sentence: `void` or `steady`.
    checks: Vec<(&'static str, String)>,
    notes: Vec<String>,
    policy: Vec<Fact>,
}

impl Comparison {
    fn new(result: &ComparisonResult) -> Comparison {
        let word = |void| if void { "void" } else { "steady" };
        let checks = result.checks.iter().map(|check| (word(check.void), check.told.clone()));
        Comparison {
            gate: result.gate.clone(),
            why: result.why.clone(),
            checks: checks.collect(),
            notes: result.notes.clone(),
            policy: result.policy.iter().map(|line| Fact::new(&line.name, &line.value)).collect(),
        }
    }
}

/// A cell in the table of cells.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    name: String,
    anchor: String,
    detailed: bool,
    badge: &'static str,
    /// The worst of its verdicts, where it was judged.
    verdict: Option<String>,
    emulated: bool,
    reason: Option<String>,
    boots: u32,
    /// Of the latency, where the run has one: median, p99, p99.9, longest, SD within a boot. Then of the rate: median, SD of windows.
    figures: Vec<Option<String>>,
}

/// Cells that were not measured for one and the same reason.
#[derive(Debug, Serialize)]
struct Absent {
    badge: &'static str,
    reason: String,
    remedy: Option<String>,
    cells: Vec<String>,
    more: usize,
}

/// How a cell's outcome is called.
fn badge(cell: &CellResult) -> &'static str {
    match cell.outcome {
        CellOutcome::Measured => match cell.trouble {
            Some(Trouble::PartlyFailed) => "partly failed",
            Some(Trouble::Unfinished) => "unfinished",
            None => "measured",
        },
        CellOutcome::Failed if cell.trouble == Some(Trouble::Unfinished) => "not begun",
        CellOutcome::Failed => "failed",
        CellOutcome::Skipped => "skipped",
        CellOutcome::NotApplicable => "not applicable",
    }
}

impl View {
    /// Formats a run.
    pub(crate) fn new(
        run: &Run,
        records: &[Record],
        results: &Results,
        warnings: &[String],
    ) -> anyhow::Result<View> {
        let source = Source::new(run, records, results);
        let order = worst_first(&source);
        let detailed = if order.len() > MANY { DETAILED / 2 } else { DETAILED };
        let shown: Vec<&CellResult> = order.iter().take(detailed).copied().collect();
        let all_charts = shown.len() <= CHARTED_FULLY;
        let details = shown
            .par_iter()
            .map(|cell| detail::Detail::new(&source, cell, all_charts))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let absent = absent(&source);
        Ok(View {
            matrix: results.matrix.clone(),
            sentence: results.overall.sentence.clone(),
            verdict: results.overall.verdict.clone(),
            about: about(&source, records),
            warnings: warnings.to_vec(),
            own_error: own_error(&source, records),
            facts: Fact::all(&results.facts),
            has_rates: source.rate().is_some(),
            has_emulated: order.iter().any(|cell| source.emulated(&cell.id)),
            detailed: details.len(),
            grid: grid::Grid::new(&source),
            thesis: thesis::thesis(&source)?,
            kernels: kernels::pairs(&source),
            attribution: attribution::tables(&source)?,
            contrasts: contrasts::groups(&source),
            verdicts: contrasts::verdicts(&source),
            diagnoses: results
                .diagnoses
                .iter()
                .map(|of| {
                    let DiagnosisResult { cell, workload, aspect, told, .. } = of;
                    Fact::new(format!("{cell} {workload} {aspect}"), told)
                })
                .collect(),
            comparison: results.comparison.as_ref().map(Comparison::new),
            overview: overview::panels(&source)?,
            latency: source.latency().map(str::to_owned),
            rate: source.rate().map(str::to_owned),
            cells: order
                .iter()
                .enumerate()
                .map(|(n, cell)| Row::new(&source, cell, n < detailed))
                .collect(),
            details,
            absent_count: absent.iter().map(|group| group.cells.len() + group.more).sum(),
            absent,
        })
    }
}

impl Row {
    fn new(source: &Source<'_>, cell: &CellResult, detailed: bool) -> Row {
        let mut figures = Vec::new();
        if let Some(name) = source.latency() {
            let f = Source::workload(cell, name).map(|w| w.figures).unwrap_or_default();
            let shown = [f.median, f.p99, f.p99_9, f.max, f.sd_within];
            figures.extend(shown.map(|value| Quantity::Time.show_some(value)));
        }
        if let Some(name) = source.rate() {
            let rate = Source::workload(cell, name);
            let f = rate.map(|w| w.figures).unwrap_or_default();
            let quantity = rate.map_or(Quantity::Plain, |w| Quantity::of_symbol(&w.unit));
            figures.extend([f.median, f.sd_windows].map(|value| quantity.show_some(value)));
        }
        Row {
            id: cell.id.clone(),
            name: source.short(&cell.axes),
            anchor: super::text::anchor(&cell.id),
            detailed,
            badge: badge(cell),
            verdict: contrasts::worst(source, &cell.id).map(|row| row.verdict.clone()),
            emulated: source.emulated(&cell.id),
            reason: cell.reason.clone(),
            boots: cell.workloads.iter().map(|w| w.boots).max().unwrap_or(0),
            figures,
        }
    }
}

/// Cells that were measured or should have been, the ones to look at first in front: failures, regressions, then by
/// the width of the tail (p99.9, or p99, against the median).
fn worst_first<'a>(source: &Source<'a>) -> Vec<&'a CellResult> {
    let regressed: std::collections::HashSet<&str> = source
        .results
        .verdicts
        .iter()
        .filter(|row| matches!(row.verdict.as_str(), "regressed" | "missing"))
        .map(|row| row.cell.as_str())
        .collect();
    let mut ranked: Vec<_> = source
        .results
        .cells
        .iter()
        .filter(|cell| matches!(cell.outcome, CellOutcome::Measured | CellOutcome::Failed))
        .map(|cell| {
            let class = match (cell.outcome, regressed.contains(cell.id.as_str())) {
                (CellOutcome::Failed, _) => 0,
                (_, true) => 1,
                _ => 2 + u8::from(source.emulated(&cell.id)),
            };
            (class, tail_width(source, cell), cell)
        })
        .collect();
    ranked.sort_by(|a, b| {
        let by_class = a.0.cmp(&b.0).then(b.1.total_cmp(&a.1));
        by_class.then_with(|| a.2.id.cmp(&b.2.id))
    });
    ranked.into_iter().map(|(_, _, cell)| cell).collect()
}

fn tail_width(source: &Source<'_>, cell: &CellResult) -> f64 {
    let latency = source.latency().and_then(|name| Source::workload(cell, name));
    let width = latency.and_then(|w| {
        let figures = w.figures;
        Some(figures.p99_9.or(figures.p99)? / figures.median.filter(|median| *median > 0.0)?)
    });
    width.filter(|width| width.is_finite()).unwrap_or(0.0)
}

fn about(source: &Source<'_>, records: &[Record]) -> Vec<Fact> {
    let run = source.run;
    let count =
        |outcome| source.results.cells.iter().filter(|cell| cell.outcome == outcome).count();
    let spent: u64 = records.iter().flat_map(|boot| boot.timing_ns.values()).sum();
    let records: Vec<&Record> = records.iter().filter(|boot| boot.side == CANDIDATE).collect();
    let failed_boots = records.iter().filter(|boot| boot.outcome != Outcome::Measured).count();
    let mut cells = format!("{} measured", count(CellOutcome::Measured));
    for (number, word) in [
        (count(CellOutcome::Failed), "failed"),
        (count(CellOutcome::Skipped), "skipped"),
        (count(CellOutcome::NotApplicable), "not applicable"),
    ] {
        if number > 0 {
            cells.push_str(&format!(", {number} {word}"));
        }
    }
    let mut boots = grouped(records.len() as u64);
    if failed_boots > 0 {
        boots.push_str(&format!(" ({failed_boots} failed)"));
    }
    let mut about = vec![Fact::new("cells", cells), Fact::new("boots", boots)];
    if spent > 0 {
        about.push(Fact::new("time in boots", wall(spent)));
    }
    about.extend([
        Fact::new("started", utc(run.started_unix)),
        Fact::new("seed", run.seed.to_string()),
        Fact::new("run", format!("{}, evenkeel {}", run.tag, run.tool)),
    ]);
    if let Some(repetition) = &run.calibrates {
        about.push(Fact::new("calibrates", repetition.told()));
    } else if let Some(base) = &run.base {
        let commit: String = base.commit.chars().take(12).collect();
        about.push(Fact::new(
            "against",
            format!("{} ({commit}), a boot beside each", base.revision),
        ));
    }
    if run.quick {
        about.push(Fact::new("quick", "cut short by --quick: a look, not a measurement"));
    }
    about
}

/// What the instrument itself adds: facts of its clock and recording, and the lateness of its open-loop generator.
fn own_error(source: &Source<'_>, records: &[Record]) -> Vec<Fact> {
    const ABOUT_THE_INSTRUMENT: [&str; 3] = ["clock", "recording", "generator"];
    let told = source
        .results
        .facts
        .iter()
        .filter(|(name, _)| ABOUT_THE_INSTRUMENT.iter().any(|start| name.starts_with(start)));
    let mut own: Vec<_> = told
        .map(|(name, value)| match (name.strip_suffix("_ns"), value.parse::<f64>()) {
            (Some(name), Ok(ns)) => Fact::new(name.replace('_', " "), Quantity::Time.show(ns)),
            _ => Fact::new(name.replace(['_', '-'], " "), value),
        })
        .collect();
    let views = records
        .iter()
        .flat_map(|boot| &boot.workloads)
        .filter_map(|w| w.samples.closed_view.as_ref());
    if let Some(late) = views.map(|view| view.late_max_ns).max() {
        own.push(Fact::new("paced generator, latest send", Quantity::Time.show(late as f64)));
    }
    own
}

fn absent(source: &Source<'_>) -> Vec<Absent> {
    let mut groups: BTreeMap<(&'static str, String, Option<String>), Vec<String>> = BTreeMap::new();
    for cell in &source.results.cells {
        if !matches!(cell.outcome, CellOutcome::Skipped | CellOutcome::NotApplicable) {
            continue;
        }
        let status = source.cell(&cell.id).and_then(|known| known.status);
        let (reason, remedy) = match status {
            Some(Status::Skipped { reason, remedy }) => (reason.clone(), Some(remedy.clone())),
            Some(Status::NotApplicable { reason }) => (reason.clone(), None),
            _ => (cell.reason.clone().unwrap_or_else(|| "no reason was recorded".to_owned()), None),
        };
        let remedy = remedy.filter(|remedy| !remedy.is_empty());
        groups.entry((badge(cell), reason, remedy)).or_default().push(cell.id.clone());
    }
    let mut absent: Vec<_> = groups
        .into_iter()
        .map(|((badge, reason, remedy), mut cells)| {
            let more = cells.len().saturating_sub(NAMED);
            cells.truncate(NAMED);
            Absent { badge, reason, remedy, cells, more }
        })
        .collect();
    // What a user can mend comes first.
    absent.sort_by_key(|group| group.badge != "skipped");
    absent
}
