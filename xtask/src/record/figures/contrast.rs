//! Comparisons of two values of an axis inside one run: ratios of boots' figures with their intervals.

use std::collections::{BTreeMap, HashMap};

use evenkeel_agent::samples::Unit;
use evenkeel_stats::effect;
use evenkeel_stats::interval::{self, NoInterval};
use rayon::prelude::*;

use super::attribution::CLEAR;
use super::summary::{CellView, differences, workload_names};
use super::{BootFigures, STALL_THRESHOLD_NS};
use crate::matrix::{Axis, Cell, Contrast};
use crate::record::results::ContrastResult;
use crate::record::{Evidence, Record, Run, Status};

/// With fewer boots a side a ratio is a look, not a finding.
pub(super) const FEW_BOOTS: usize = 5;

/// A figure that stands for an aspect.
pub(super) struct Row {
    pub(super) aspect: &'static str,
    pub(super) figure: &'static str,
    pub(super) of: fn(&BootFigures) -> Option<f64>,
}

/// The figures that are compared. The dispersion has two: the MAD is robust, the SD is what a stall moves.
const ROWS: [Row; 5] = [
    Row { aspect: "location", figure: "median", of: |boot| boot.median },
    Row { aspect: "dispersion", figure: "mad", of: |boot| boot.mad },
    Row { aspect: "dispersion", figure: "sd_within", of: |boot| boot.sd },
    Row { aspect: "tail", figure: "jitter", of: |boot| boot.jitter },
    Row { aspect: STALL, figure: "stall_share", of: |boot| boot.stall_share },
];
pub(super) const STALL: &str = "stall";
/// The note of what ran under an emulator.
pub(super) const EMULATED: &str = "emulated: informs only";

/// Every contrast of the run's matrix, in order: pairs of cells, then workloads, then figures.
pub(super) fn contrasts(run: &Run, views: &[CellView<'_>]) -> Vec<ContrastResult> {
    let by_cell: HashMap<&Cell, &CellView<'_>> =
        views.iter().map(|view| (&view.planned.cell, view)).collect();
    let pairs = run.matrix.contrasts.iter().flat_map(|contrast| {
        views.iter().filter(|view| view.planned.cell.on(contrast.axis) == contrast.from).filter_map(
            |from| {
                let partner = on(&from.planned.cell, contrast.axis, &contrast.to);
                let to = by_cell.get(&partner).copied()?;
                // Where a cell is not applicable there is nothing that could be compared.
                let apply = [from, to]
                    .iter()
                    .all(|view| !matches!(view.planned.status, Status::NotApplicable { .. }));
                apply.then_some(Pair { contrast, from, to })
            },
        )
    });
    let pairs: Vec<Pair<'_>> = pairs.collect();
    let mut rows: Vec<ContrastResult> =
        pairs.par_iter().flat_map_iter(|pair| pair.rows(run)).collect();
    correct(&mut rows);
    rows
}

/// Corrects all p-values for their number: of many comparisons some are clear by their own intervals although nothing differs.
fn correct(rows: &mut [ContrastResult]) {
    let p: Vec<f64> = rows.iter().filter_map(|row| row.p).collect();
    let tested = rows.iter_mut().filter(|row| row.p.is_some());
    for (row, corrected) in tested.zip(effect::holm(&p)) {
        row.p_corrected = Some(corrected);
    }
}

/// Whether a row differs from 1 by its own interval.
pub(super) fn is_clear_alone(row: &ContrastResult) -> bool {
    row.low.is_some_and(|low| low > 1.0) || row.high.is_some_and(|high| high < 1.0)
}

/// Whether it does so among all that are told.
pub(crate) fn is_clear(row: &ContrastResult) -> bool {
    is_clear_alone(row) && row.p_corrected.is_some_and(|p| p < CLEAR)
}

/// The cell with another value on one axis.
fn on(cell: &Cell, axis: Axis, value: &str) -> Cell {
    let mut cell = cell.clone();
    let place = match axis {
        Axis::Kernel => &mut cell.kernel,
        Axis::Virtualization => &mut cell.virtualization,
        Axis::Network => &mut cell.network,
        Axis::Tuning => &mut cell.tuning,
        Axis::Load => &mut cell.load,
        Axis::HostKernel => &mut cell.host_kernel,
    };
    *place = value.into();
    cell
}

/// Two cells that differ on one axis.
struct Pair<'a> {
    contrast: &'a Contrast,
    from: &'a CellView<'a>,
    to: &'a CellView<'a>,
}

/// One side of a comparison: a figure of each boot, or of each unit where several boots are one.
struct Side {
    values: Vec<f64>,
    notes: Vec<String>,
}

impl Pair<'_> {
    fn rows(&self, run: &Run) -> Vec<ContrastResult> {
        let records: Vec<&Record> = [&self.from.measured[..], &self.to.measured[..]].concat();
        let cautions = self.cautions(&records);
        let mut rows = Vec::new();
        for workload in workload_names(run, &records) {
            let sides = [self.from, self.to]
                .map(|view| view.workload(workload).map_or(&[][..], |(_, boots)| boots));
            let mut units =
                sides.iter().flat_map(|boots| boots.iter()).map(|(_, figures)| figures.unit);
            let unit = units.next();
            let mixed = units.any(|other| Some(other) != unit);
            for row in
                ROWS.iter().filter(|row| row.aspect != STALL || unit == Some(Unit::Nanoseconds))
            {
                let found = match mixed {
                    true => Found::noted(vec!["the sides have different units".to_owned()]),
                    false => self.compare(row, sides, run.seed),
                };
                let notes: Vec<&str> =
                    found.notes.iter().chain(&cautions).map(String::as_str).collect();
                rows.push(ContrastResult {
                    name: self.contrast.name.clone(),
                    from_cell: self.from.result.id.clone(),
                    to_cell: self.to.result.id.clone(),
                    workload: workload.to_owned(),
                    aspect: row.aspect.to_owned(),
                    figure: row.figure.to_owned(),
                    ratio: found.ratio,
                    low: found.ends.map(|[low, _]| low),
                    high: found.ends.map(|[_, high]| high),
                    p: found.p,
                    p_corrected: None,
                    boots: found.boots,
                    note: (!notes.is_empty()).then(|| notes.join("; ")),
                });
            }
        }
        rows
    }

    /// What holds for every row of the pair.
    fn cautions(&self, records: &[&Record]) -> Vec<String> {
        let mut notes = Vec::new();
        notes.extend(differences(records));
        // A contrast over networks is about the path; over anything else the path should be one.
        let paths =
            [self.from, self.to].map(|view| view.measured.first().map(|record| path(record)));
        if let [Some(from), Some(to)] = paths
            && from != to
            && self.contrast.axis != Axis::Network
        {
            notes.push(format!("path differs: {from} | {to}"));
        }
        if records.iter().any(|record| is_emulated(record)) {
            notes.push(EMULATED.to_owned());
        }
        notes
    }

    fn compare(&self, row: &Row, sides: [&[(&Record, BootFigures)]; 2], seed: u64) -> Found {
        let [from, to] = [(self.from, sides[0]), (self.to, sides[1])]
            .map(|(view, boots)| self.side(row, view, boots));
        let boots = [from.values.len(), to.values.len()];
        let mut notes = [from.notes, to.notes].concat();
        let counts = boots.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        if boots.contains(&0) {
            return Found { boots: counts, ..Found::noted(notes) };
        }
        if row.aspect == STALL
            && sides
                .iter()
                .all(|boots| boots.iter().all(|(_, figures)| figures.stall_share == Some(0.0)))
        {
            notes = vec![format!("no transaction longer than {} on either side", threshold())];
            return Found { boots: counts, ..Found::noted(notes) };
        }
        let quiet = |boots: &[(&Record, BootFigures)]| {
            boots.iter().all(|(_, figures)| figures.stall_share == Some(0.0))
        };
        if row.aspect == STALL && sides.iter().any(|boots| quiet(boots)) {
            // What was counted for a boot without a stall is no observation and has no spread.
            notes.push("one side has no stall at all: a bound, without an interval".to_owned());
            let ratio = interval::ratio_of_geometric_means(&from.values, &to.values);
            return Found { ratio, boots: counts, ..Found::noted(notes) };
        }
        let few = boots.iter().any(|&count| count < FEW_BOOTS);
        let (ratio, ends) = match interval::ratio(&from.values, &to.values, seed) {
            Ok(found) => (Some(found.estimate), Some([found.low, found.high])),
            Err(NoInterval::NotPositive) => {
                notes.push(format!(
                    "no ratio: {} of a boot is not above zero",
                    super::in_words(row.figure)
                ));
                (None, None)
            }
            Err(reason) => {
                notes.push(match reason {
                    NoInterval::TooFew => format!(
                        "no interval: {} and {} boots have this figure, and it takes 2 a side",
                        boots[0], boots[1]
                    ),
                    _ => format!("no interval: {reason}"),
                });
                (interval::ratio_of_geometric_means(&from.values, &to.values), None)
            }
        };
        if few && ends.is_some() {
            notes.push(format!("few boots: {} and {}", boots[0], boots[1]));
        }
        let p = ends.and_then(|_| interval::p_of_ratio(&from.values, &to.values).ok());
        Found { ratio, ends, p, boots: counts, notes }
    }

    /// A side's values with what must be said about them.
    fn side(&self, row: &Row, view: &CellView<'_>, boots: &[(&Record, BootFigures)]) -> Side {
        let id = &view.result.id;
        let mut notes = Vec::new();
        let (mut quiet, mut units) = (0, BTreeMap::<&str, Vec<f64>>::new());
        let mut values = Vec::new();
        for (record, figures) in boots {
            let Some(mut value) = (row.of)(figures) else { continue };
            if row.aspect == STALL && value == 0.0 {
                quiet += 1;
                value = figures.stall_floor.unwrap_or(value);
            }
            if self.contrast.axis.is_of_kernels() {
                // Of a host's kernel, one boot is one observation, however many guests it carried.
                let below = self.contrast.axis == Axis::HostKernel;
                let unit = if below { &record.host_boot } else { kernel_boot(record) };
                units.entry(unit).or_default().push(value);
            }
            values.push(value);
        }
        if boots.is_empty() {
            notes.push(format!("`{id}` has no boots"));
        } else if values.len() < boots.len() {
            let lacking = boots.len() - values.len();
            notes.push(format!(
                "{lacking} of {} boots of `{id}` have too few observations for {}",
                boots.len(),
                super::in_words(row.figure)
            ));
        }
        if quiet > 0 {
            notes.push(format!(
                "{quiet} of {} boots of `{id}` have no stall: counted as one of {}, which draws the ratio towards 1",
                boots.len(),
                threshold()
            ));
        }
        if units.len() < values.len() && !units.is_empty() {
            notes.push(format!(
                "{} starts of `{id}` under {} boots of its kernel",
                values.len(),
                units.len()
            ));
            values = units.values().map(|unit| unit_value(unit)).collect();
        }
        Side { values, notes }
    }
}

/// What several starts under one boot of a kernel come to: their geometric mean, or zero where there is none, which has no
/// ratio either.
pub(crate) fn unit_value(starts: &[f64]) -> f64 {
    interval::ratio_of_geometric_means(&[1.0], starts).unwrap_or(0.0)
}

/// A ratio, or why there is none.
struct Found {
    ratio: Option<f64>,
    ends: Option<[f64; 2]>,
    p: Option<f64>,
    boots: [u32; 2],
    notes: Vec<String>,
}

impl Found {
    fn noted(notes: Vec<String>) -> Found {
        Found { ratio: None, ends: None, p: None, boots: [0, 0], notes }
    }
}

/// [`STALL_THRESHOLD_NS`] as people write it.
pub(crate) fn threshold() -> String {
    format!("{} ms", STALL_THRESHOLD_NS / 1_000_000)
}

/// The boot of the kernel that a start ran under: one observation of it, however many starts it carried.
pub(crate) fn kernel_boot(record: &Record) -> &str {
    record.guest_boot.as_deref().unwrap_or(&record.host_boot)
}

/// The hops that packets crossed, in words.
pub(crate) fn path(record: &Record) -> String {
    let hops = record.evidence.iter().filter_map(|evidence| match evidence {
        Evidence::Hop { hop, .. } => Some(hop.as_str()),
        Evidence::Knob { .. }
        | Evidence::Load { .. }
        | Evidence::Loss { .. }
        | Evidence::Program { .. } => None,
    });
    hops.collect::<Vec<_>>().join(" > ")
}

/// Whether the boot ran under an emulator instead of a processor.
pub(crate) fn is_emulated(record: &Record) -> bool {
    record.instrument.get("accelerator").is_some_and(|accelerator| accelerator == "tcg")
}
