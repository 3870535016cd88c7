//! The run in the form of J. M. Welch's thesis: box plots of the means of runs, the change of medians and spreads against both
//! bases, and what it published beside. Shown where the matrix asks for that form; it judges nothing that the report
//! does not judge elsewhere.

use serde::Serialize;

use self::measured::{Change, Each, FEW_RUNS, Figure, Runs, Start};
use self::published::{Metric, RUNS, Study, System};
use super::source::{Source, of_workload};
use crate::matrix::{Axis, Cell, Form, Name};
use crate::record::figures::{differences, kernel_boot, path};
use crate::record::results::{CellResult, Figures};
use crate::record::{Outcome, Record};
use crate::report::chart::{self, BoxRow, Chart, Ink};
use crate::report::format::{Quantity, grouped, percent_change, wall};

mod measured;
mod published;

/// Cells that are told in full; the others have their rows elsewhere.
const PLACES: usize = 24;
/// Charts of the workloads that the thesis has boxes of, and of the others.
const CHARTS: usize = 48;

/// The section.
#[derive(Debug, Serialize)]
pub(super) struct Thesis {
    /// Runs of a cell and how long one measures, there and here.
    runs_there: u32,
    runs: u32,
    run_time: String,
    few: usize,
    loads: String,
    has_emulated: bool,
    has_icmp: bool,
    blocks: Vec<Block>,
    panels: Vec<Panel>,
    more_charts: Vec<Chart>,
    /// Charts beyond [`CHARTS`].
    undrawn: usize,
    places: Vec<Place>,
    more_places: usize,
    /// Pairs that differ by their kernel and were emulated: nothing is said of them.
    unclaimed: usize,
    /// Names of [`Figure::ALL`].
    figures: [&'static str; Figure::ALL.len()],
}

/// What the thesis states, and the same here, beside one load.
#[derive(Debug, Serialize)]
struct Block {
    load: Name,
    /// What was changed, one a column.
    columns: Vec<String>,
    rows: Vec<Headline>,
}

/// One figure of one system.
#[derive(Debug, Serialize)]
struct Headline {
    system: String,
    cell: String,
    emulated: bool,
    workload: String,
    figure: &'static str,
    /// Whether the thesis tells this figure as a share of the tuned one.
    of_tuned: bool,
    published: Option<Published>,
    changes: Vec<Option<Shown>>,
}

/// A change that the thesis states or that follows from its plots.
#[derive(Debug, Serialize)]
struct Published {
    of_base: Option<String>,
    of_tuned: Option<String>,
    /// Where it is not quite the figure beside it.
    note: Option<&'static str>,
}

/// A change of ours.
#[derive(Debug, Serialize)]
struct Shown {
    of_base: String,
    of_base_ends: Option<String>,
    of_tuned: String,
    of_tuned_ends: Option<String>,
    /// `better`, `worse` or `unclear`.
    class: &'static str,
    inconclusive: Option<String>,
    /// How many boots failed, where any did: what is compared is those that did not.
    failed: Option<String>,
}

/// Box plots of one workload of one system.
#[derive(Debug, Serialize)]
struct Panel {
    title: String,
    charts: Vec<Chart>,
}

/// Cells that are equal but for their tuning.
#[derive(Debug, Serialize)]
struct Place {
    name: String,
    emulated: bool,
    workloads: Vec<Workload>,
}

/// One workload of a place.
#[derive(Debug, Serialize)]
struct Workload {
    name: String,
    /// What stands in the column of medians, where it is none.
    median_is: Option<&'static str>,
    rows: Vec<Values>,
    changes: Vec<Changes>,
}

/// Figures of one cell, or of the thesis.
#[derive(Debug, Serialize)]
struct Values {
    who: String,
    published: bool,
    runs: String,
    /// Of the means of runs: minimum, quartiles, maximum.
    five: Vec<Option<String>>,
    /// In the order of [`Figure::ALL`].
    figures: Vec<Option<String>>,
}

/// Changes of all figures from one cell to another.
#[derive(Debug, Serialize)]
struct Changes {
    who: String,
    /// In the order of [`Figure::ALL`].
    figures: Vec<Option<Shown>>,
}

/// A cell that was measured, with the runs of its workloads.
struct Told<'a> {
    result: &'a CellResult,
    workloads: Vec<(&'a str, Runs, Figures)>,
    measured: Vec<&'a Record>,
    failed: usize,
}

impl Told<'_> {
    fn runs(&self, workload: &str) -> Option<&Runs> {
        self.workloads.iter().find(|(name, ..)| *name == workload).map(|(_, runs, _)| runs)
    }

    /// How many boots left nothing of a workload because they, or it, failed.
    fn without(&self, workload: &str) -> usize {
        self.failed + self.measured.iter().filter(|boot| boot.lacks(workload)).count()
    }

    /// The cell's values on all axes but the tuning.
    fn place(&self) -> Cell {
        Cell { tuning: "".into(), ..self.result.axes.clone() }
    }
}

/// What is compared: a tuning, or a kernel and a tuning at once, as in the thesis.
struct Step<'a> {
    kernel: Option<(&'a str, &'a str)>,
    from: &'a str,
    to: &'a str,
}

impl Step<'_> {
    fn name(&self) -> String {
        match self.kernel {
            Some((_, kernel)) => format!("{} and kernel {kernel}", self.to),
            None => self.to.to_owned(),
        }
    }

    /// What is one observation of what it changes.
    fn each(&self) -> Each {
        if self.kernel.is_some() { Each::KernelBoot } else { Each::Run }
    }

    /// The cell that this one is compared with.
    fn partner(&self, from: &Cell) -> Option<Cell> {
        let starts = from.tuning == self.from && self.kernel.is_none_or(|(k, _)| from.kernel == k);
        let kernel = self.kernel.map_or_else(|| from.kernel.clone(), |(_, to)| to.into());
        starts.then(|| Cell { kernel, tuning: self.to.into(), ..from.clone() })
    }
}

/// The section, where the matrix asks for it and something was measured.
pub(super) fn thesis(source: &Source<'_>) -> anyhow::Result<Option<Thesis>> {
    if source.run.matrix.form != Some(Form::Thesis) {
        return Ok(None);
    }
    let study = Study::read()?;
    let told: Vec<Told<'_>> =
        source.results.cells.iter().filter_map(|cell| tell(source, cell)).collect();
    if told.is_empty() {
        return Ok(None);
    }
    let contrasts = &source.run.matrix.contrasts;
    let of = |axis| contrasts.iter().filter(move |contrast| contrast.axis == axis);
    let mut steps: Vec<Step<'_>> =
        of(Axis::Tuning).map(|c| Step { kernel: None, from: &c.from, to: &c.to }).collect();
    steps.extend(of(Axis::Kernel).flat_map(|k| {
        let kernel = Some((k.from.as_str(), k.to.as_str()));
        of(Axis::Tuning).map(move |c| Step { kernel, from: &c.from, to: &c.to })
    }));
    let pairs = Pairs { source, told: &told, steps: &steps };
    let places = places(&pairs, &study);
    let Drawn { panels, others, undrawn } = charts(&pairs, &study)?;
    let measure = &source.run.matrix.measure;
    let mut loads: Vec<&str> = told.iter().map(|cell| &*cell.result.axes.load).collect();
    loads.sort_unstable();
    loads.dedup();
    let icmp = ["icmp", "ping"];
    Ok(Some(Thesis {
        runs_there: RUNS,
        runs: measure.boots,
        run_time: wall(u64::try_from((measure.window * measure.windows).as_nanos())?),
        few: FEW_RUNS,
        loads: loads.join(", "),
        has_emulated: told.iter().any(|cell| source.emulated(&cell.result.id)),
        has_icmp: told.iter().flat_map(|cell| &cell.workloads).any(|w| icmp.contains(&w.0)),
        blocks: blocks(&pairs, &study),
        panels,
        more_charts: others,
        undrawn,
        more_places: places.len().saturating_sub(PLACES),
        places: places.into_iter().take(PLACES).collect(),
        unclaimed: pairs.unclaimed(),
        figures: Figure::ALL.map(Figure::name),
    }))
}

fn tell<'a>(source: &Source<'a>, cell: &'a CellResult) -> Option<Told<'a>> {
    let (measured, failed): (Vec<&Record>, Vec<&Record>) =
        source.starts(&cell.id).partition(|boot| boot.outcome == Outcome::Measured);
    let workloads: Vec<_> = cell
        .workloads
        .iter()
        .filter_map(|w| {
            let starts = measured.iter().flat_map(|boot| {
                of_workload(boot, &w.name).map(|samples| (kernel_boot(boot), samples))
            });
            let runs = Runs::of(&starts.collect::<Vec<Start<'_>>>())?;
            Some((w.name.as_str(), runs, w.figures))
        })
        .collect();
    let failed = failed.len();
    (!workloads.is_empty()).then_some(Told { result: cell, workloads, measured, failed })
}

/// Why nothing follows from a comparison of two cells, whatever its interval: as of contrasts, but that emulated rows are marked.
fn cautions(from: &Told<'_>, to: &Told<'_>) -> Vec<String> {
    let records = [&from.measured[..], &to.measured[..]].concat();
    let mut found: Vec<String> = differences(&records).into_iter().collect();
    let paths = [from, to].map(|cell| cell.measured.first().map(|record| path(record)));
    if let [Some(from), Some(to)] = paths
        && from != to
    {
        found.push(format!("path differs: {from} | {to}"));
    }
    found
}

/// Cells that were measured and what is compared of them.
struct Pairs<'a> {
    source: &'a Source<'a>,
    told: &'a [Told<'a>],
    steps: &'a [Step<'a>],
}

impl<'a> Pairs<'a> {
    /// The cell that a step leads to. Nothing where its kernel differs and one of both was emulated: of that nothing is claimed.
    fn to(&self, step: &Step<'_>, from: &Told<'_>) -> Option<&'a Told<'a>> {
        self.any_to(step, from).filter(|to| !self.unclaimable(step, from, to))
    }

    fn any_to(&self, step: &Step<'_>, from: &Told<'_>) -> Option<&'a Told<'a>> {
        let partner = step.partner(&from.result.axes)?;
        self.told.iter().find(|cell| cell.result.axes == partner)
    }

    fn unclaimable(&self, step: &Step<'_>, from: &Told<'_>, to: &Told<'_>) -> bool {
        let emulated = |cell: &Told<'_>| self.source.emulated(&cell.result.id);
        step.kernel.is_some() && (emulated(from) || emulated(to))
    }

    fn unclaimed(&self) -> usize {
        let all = self.steps.iter().flat_map(|step| self.told.iter().map(move |from| (step, from)));
        all.filter(|(step, from)| {
            self.any_to(step, from).is_some_and(|to| self.unclaimable(step, from, to))
        })
        .count()
    }

    fn change(
        &self,
        figure: Figure,
        workload: &str,
        step: &Step<'_>,
        from: &Told<'_>,
        to: &Told<'_>,
    ) -> Option<Shown> {
        let (a, b) = (from.runs(workload)?, to.runs(workload)?);
        let mut change = measured::change(figure, a, b, step.each(), self.source.run.seed)?;
        let why: Vec<String> = cautions(from, to).into_iter().chain(change.inconclusive).collect();
        change.inconclusive = (!why.is_empty()).then(|| why.join("; "));
        let [from, to] = [from, to].map(|cell| cell.without(workload));
        let failed = (from + to > 0).then(|| format!("{from} and {to} boots failed"));
        Some(Shown { failed, ..Shown::new(&change, figure, a.quantity) })
    }
}

impl Shown {
    fn new(change: &Change, figure: Figure, quantity: Quantity) -> Shown {
        let of_base = |ratio: f64| ratio - 1.0;
        let of_tuned = |ratio: f64| published::of_tuned(ratio - 1.0);
        let ends = |of: fn(f64) -> f64| {
            change.ends.map(|[low, high]| {
                format!("[{}, {}]", percent_change(of(low)), percent_change(of(high)))
            })
        };
        // A level follows the workload's direction; a spread is always better when smaller.
        let higher_is_better = figure == Figure::Median && quantity == Quantity::Rate;
        Shown {
            of_base: percent_change(of_base(change.ratio)),
            of_base_ends: ends(of_base),
            of_tuned: percent_change(of_tuned(change.ratio)),
            // Of spreads the thesis tells shares of the untuned one; the other interval follows from that.
            of_tuned_ends: ends(of_tuned).filter(|_| figure == Figure::Median),
            class: match (&change.inconclusive, (change.ratio > 1.0) == higher_is_better) {
                (Some(_), _) => "unclear",
                (None, true) => "better",
                (None, false) => "worse",
            },
            inconclusive: change.inconclusive.clone(),
            failed: None,
        }
    }
}

/// Loads as they appear, the loudest question first: what tuning is for shows beside others, so the idle machine comes last.
fn loads(told: &[Told<'_>]) -> Vec<Name> {
    let mut loads: Vec<Name> = Vec::new();
    for cell in told {
        if !loads.contains(&cell.result.axes.load) {
            loads.push(cell.result.axes.load.clone());
        }
    }
    loads.sort_by_key(|load| load == "idle");
    loads
}

/// The workloads that the thesis has figures of, our engine first.
const COMPARED: [&str; 4] = ["tcp-rr", "tcp-stream", "netperf-tcp-rr", "netperf-tcp-stream"];

/// The figures that are told of each of them.
const HEADLINES: [Figure; 3] = [Figure::SdWithin, Figure::SdOfRuns, Figure::Median];

fn blocks(pairs: &Pairs<'_>, study: &Study) -> Vec<Block> {
    let block = |load: Name| {
        let steps: Vec<&Step<'_>> = pairs
            .steps
            .iter()
            .filter(|step| {
                let mut of_load = pairs.told.iter().filter(|from| from.result.axes.load == load);
                of_load.any(|from| pairs.to(step, from).is_some())
            })
            .collect();
        let bases = pairs.told.iter().filter(|from| {
            from.result.axes.load == load && steps.iter().any(|s| pairs.to(s, from).is_some())
        });
        let rows = bases.flat_map(|from| headlines(pairs, study, &steps, from)).collect();
        Block { columns: steps.iter().map(|step| step.name()).collect(), load, rows }
    };
    let mut blocks: Vec<Block> = loads(pairs.told).into_iter().map(block).collect();
    blocks.retain(|block| !block.rows.is_empty());
    blocks
}

/// What is said of one base cell.
fn headlines(
    pairs: &Pairs<'_>,
    study: &Study,
    steps: &[&Step<'_>],
    from: &Told<'_>,
) -> Vec<Headline> {
    let axes = &from.result.axes;
    let system = System::of(&axes.virtualization).filter(|_| axes.network == "bridge");
    let mut rows = Vec::new();
    for workload in COMPARED {
        let Some(metric) = Metric::of(workload) else { continue };
        for figure in HEADLINES {
            let changes: Vec<Option<Shown>> = steps
                .iter()
                .map(|step| pairs.change(figure, workload, step, from, pairs.to(step, from)?))
                .collect();
            if changes.iter().all(Option::is_none) {
                continue;
            }
            rows.push(Headline {
                system: place_name(pairs.source, &from.place()),
                cell: from.result.id.clone(),
                emulated: pairs.source.emulated(&from.result.id),
                workload: workload.to_owned(),
                figure: from.runs(workload).map_or(figure.name(), |runs| runs.label(figure)),
                of_tuned: figure == Figure::Median,
                published: system.and_then(|system| published(study, system, metric, figure)),
                changes,
            });
        }
    }
    rows
}

fn published(study: &Study, system: System, metric: Metric, figure: Figure) -> Option<Published> {
    let (of, note) = match figure {
        Figure::Median => (published::Figure::Median, None),
        Figure::SdOfRuns => (published::Figure::Sd, None),
        Figure::SdWithin => (published::Figure::Sd, Some("of run means; it has none within runs")),
        Figure::Mad | Figure::Iqr => return None,
    };
    let change = study.change(system, metric, of)?;
    Some(Published {
        of_base: change.of_standard.map(percent_change),
        of_tuned: change.of_tuned.map(percent_change),
        note: note.or((!change.stated).then_some("from its plots")),
    })
}

/// A place by its values without the tuning: `running/docker/bridge/noisy`.
fn place_name(source: &Source<'_>, place: &Cell) -> String {
    let shown = |axis: &Axis| *axis != Axis::Tuning && place.names(*axis);
    let kept = Axis::ALL.into_iter().filter(shown).map(|axis| place.on(axis));
    let name = kept.collect::<Vec<_>>().join("/");
    if name.is_empty() { source.short(place) } else { name }
}

/// Cells by place, in the order of the results.
fn by_place<'a>(told: &'a [Told<'a>]) -> Vec<(Cell, Vec<&'a Told<'a>>)> {
    let mut places: Vec<(Cell, Vec<&Told<'_>>)> = Vec::new();
    for cell in told {
        let place = cell.place();
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, cells)) => cells.push(cell),
            None => places.push((place, vec![cell])),
        }
    }
    places.sort_by_key(|(place, _)| place.load == "idle");
    places
}

/// The workloads of some cells, each once, as they appear.
fn names<'a>(cells: &[&Told<'a>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, ..) in cells.iter().flat_map(|cell| &cell.workloads) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names
}

fn places(pairs: &Pairs<'_>, study: &Study) -> Vec<Place> {
    by_place(pairs.told)
        .into_iter()
        .map(|(place, cells)| Place {
            name: place_name(pairs.source, &place),
            emulated: cells.iter().any(|cell| pairs.source.emulated(&cell.result.id)),
            workloads: names(&cells)
                .into_iter()
                .map(|name| workload(pairs, study, &place, &cells, name))
                .collect(),
        })
        .collect()
}

fn workload(
    pairs: &Pairs<'_>,
    study: &Study,
    place: &Cell,
    cells: &[&Told<'_>],
    name: &str,
) -> Workload {
    let mut rows: Vec<Values> = there(study, place, name)
        .into_iter()
        .flat_map(|(metric, boxes)| boxes.map(|(who, five)| Values::there(metric, who, five)))
        .collect();
    for cell in cells {
        let found = cell.workloads.iter().find(|(known, ..)| *known == name);
        rows.extend(found.map(|(_, runs, pooled)| Values::here(&cell.result.axes, runs, pooled)));
    }
    let mut changes = Vec::new();
    for from in cells {
        for step in pairs.steps {
            let Some(to) = pairs.to(step, from) else { continue };
            let figures = Figure::ALL.map(|figure| pairs.change(figure, name, step, from, to));
            if figures.iter().any(Option::is_some) {
                let who = format!("{} against {}", step.name(), from.result.axes.tuning);
                changes.push(Changes { who, figures: figures.into() });
            }
        }
    }
    let labels = cells.iter().filter_map(|cell| cell.runs(name));
    let mut labels = labels.map(|runs| runs.label(Figure::Median));
    let median_is = labels.find(|label| *label != Figure::Median.name());
    Workload { name: name.to_owned(), median_is, rows, changes }
}

/// A box of the thesis with what it is called.
type There = (String, [f64; 5]);

/// The boxes of the thesis that belong to a place and a workload.
fn there(study: &Study, place: &Cell, workload: &str) -> Option<(Metric, [There; 2])> {
    let (system, metric) = (System::of(&place.virtualization)?, Metric::of(workload)?);
    if place.network != "bridge" {
        return None;
    }
    let [standard, realtime] = study.boxes(system, &place.network, metric)?;
    let rows = [
        ("2015, standard".to_owned(), standard.five?),
        ("2015, realtime".to_owned(), realtime.five?),
    ];
    Some((metric, rows))
}

impl Values {
    fn there(metric: Metric, who: String, five: [f64; 5]) -> Values {
        let show = |value| Some(metric.quantity().show(value));
        Values {
            who,
            published: true,
            runs: RUNS.to_string(),
            five: five.map(show).into(),
            figures: vec![None; Figure::ALL.len()],
        }
    }

    fn here(axes: &Cell, runs: &Runs, pooled: &Figures) -> Values {
        let show = |value: Option<f64>| runs.quantity.show_some(value);
        let five = runs.five().map_or([None; 5], |five| five.map(Some));
        Values {
            who: axes.tuning.to_string(),
            published: false,
            runs: grouped(runs.count() as u64),
            five: five.map(show).into(),
            figures: Figure::ALL.map(|figure| show(runs.value(figure, pooled))).into(),
        }
    }
}

/// All charts.
struct Drawn {
    /// Of the workloads that the thesis has boxes of.
    panels: Vec<Panel>,
    /// Of the others.
    others: Vec<Chart>,
    /// How many there would be beyond [`CHARTS`].
    undrawn: usize,
}

fn charts(pairs: &Pairs<'_>, study: &Study) -> anyhow::Result<Drawn> {
    let mut panels: Vec<Panel> = Vec::new();
    let mut others: Vec<Chart> = Vec::new();
    let (mut drawn, mut undrawn) = (0, 0);
    for (place, cells) in by_place(pairs.told) {
        let mut names = names(&cells);
        names.sort_by_key(|name| COMPARED.iter().position(|known| known == name).unwrap_or(9));
        for name in names {
            let Some(chart) = here_boxes(pairs, &place, &cells, name)? else { continue };
            if drawn == CHARTS {
                undrawn += 1;
                continue;
            }
            drawn += 1;
            let Some((metric, boxes)) = there(study, &place, name) else {
                others.push(chart);
                continue;
            };
            let kind = format!("{}/{}", place.virtualization, place.network);
            let title = format!("{name}, {kind}");
            if let Some(panel) = panels.iter_mut().find(|panel| panel.title == title) {
                panel.charts.push(chart);
                continue;
            }
            let system = System::of(&place.virtualization).map_or("", System::name);
            let published = there_boxes(system, metric, &boxes)?;
            panels.push(Panel { title, charts: published.into_iter().chain([chart]).collect() });
        }
    }
    panels.sort_by_key(|panel| {
        COMPARED.iter().position(|name| panel.title.starts_with(&format!("{name},")))
    });
    Ok(Drawn { panels, others, undrawn })
}

fn here_boxes(
    pairs: &Pairs<'_>,
    place: &Cell,
    cells: &[&Told<'_>],
    workload: &str,
) -> anyhow::Result<Option<Chart>> {
    let mut quantity = None;
    let rows: Vec<BoxRow> = cells
        .iter()
        .filter_map(|cell| {
            let runs = cell.runs(workload)?;
            quantity = Some(runs.quantity);
            let base = pairs.steps.iter().any(|step| step.from == &*cell.result.axes.tuning);
            let ink = if base { Ink::Second } else { Ink::First };
            Some(BoxRow { label: cell.result.axes.tuning.to_string(), ink, five: runs.five()? })
        })
        .collect();
    let Some(quantity) = quantity.filter(|_| !rows.is_empty()) else { return Ok(None) };
    let emulated = cells.iter().any(|cell| pairs.source.emulated(&cell.result.id));
    let mark = if emulated { " (emulated: informs only)" } else { "" };
    let title = format!("here: {}, {workload}{mark}", place_name(pairs.source, place));
    chart::boxes(title, BOXES, quantity, &rows)
}

fn there_boxes(system: &str, metric: Metric, rows: &[There]) -> anyhow::Result<Option<Chart>> {
    let rows: Vec<BoxRow> = rows
        .iter()
        .zip([Ink::Second, Ink::First])
        .map(|((label, five), ink)| BoxRow { label: label.clone(), ink, five: *five })
        .collect();
    let title = format!("published: {system}, bridged, {}", metric.name());
    chart::boxes(title, BOXES, metric.quantity(), &rows)
}

const BOXES: &str = "Minimum, quartiles, median and maximum of the means of runs.";
