//! What a run left, indexed for the views: boots by cell, pairs by contrast, short names.

use std::collections::{BTreeMap, HashMap, HashSet};

use evenkeel_agent::samples::{Samples, Unit};

use crate::matrix::{Axis, Cell};
use crate::record::figures::Pooled;
use crate::record::results::{CellResult, ContrastResult, Results, VerdictRow, WorkloadResult};
use crate::record::{CANDIDATE, Measured, Outcome, Record, Run, Status};

/// What a boot that was measured left of a workload.
pub(crate) fn of_workload<'a>(
    boot: &'a Record,
    workload: &str,
) -> impl Iterator<Item = &'a Samples> {
    let measured = if boot.outcome == Outcome::Measured { &*boot.workloads } else { &[] };
    let found = measured.iter().filter(move |Measured { workload: name, .. }| name == workload);
    found.map(|Measured { samples, .. }| samples)
}

/// Everything known about a cell.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) result: &'a CellResult,
    /// What the plan said; absent in a run whose results name a cell that its plan does not.
    pub(crate) status: Option<&'a Status>,
}

/// A run with its indices.
pub(crate) struct Source<'a> {
    pub(crate) run: &'a Run,
    pub(crate) results: &'a Results,
    cells: HashMap<&'a str, Known<'a>>,
    boots: HashMap<&'a str, Vec<&'a Record>>,
    verdicts: HashMap<&'a str, Vec<&'a VerdictRow>>,
    emulated: HashSet<&'a str>,
    partners: HashMap<&'a str, &'a ContrastResult>,
    varying: Vec<Axis>,
}

impl<'a> Source<'a> {
    /// Indexes a run.
    pub(crate) fn new(run: &'a Run, records: &'a [Record], results: &'a Results) -> Source<'a> {
        let planned: HashMap<&Cell, &Status> =
            run.cells.iter().map(|planned| (&planned.cell, &planned.status)).collect();
        let cells = results
            .cells
            .iter()
            .map(|result| {
                let status = planned.get(&result.axes).copied();
                (result.id.as_str(), Known { result, status })
            })
            .collect();
        let mut boots: HashMap<&str, Vec<&Record>> = HashMap::new();
        let mut emulated = HashSet::new();
        for record in records {
            if record.instrument.get("accelerator").is_some_and(|name| name == "tcg") {
                emulated.insert(record.cell.as_str());
            }
            boots.entry(&record.cell).or_default().push(record);
        }
        for of_cell in boots.values_mut() {
            of_cell.sort_by(|a, b| (a.boot, &a.side).cmp(&(b.boot, &b.side)));
        }
        let mut verdicts: HashMap<&str, Vec<&VerdictRow>> = HashMap::new();
        for row in &results.verdicts {
            verdicts.entry(&row.cell).or_default().push(row);
        }
        let mut partners = HashMap::new();
        for contrast in &results.contrasts {
            partners.entry(contrast.to_cell.as_str()).or_insert(contrast);
            partners.entry(contrast.from_cell.as_str()).or_insert(contrast);
        }
        let varies = |axis: &Axis| {
            let mut values = results.cells.iter().map(|cell| cell.axes.on(*axis));
            values.next().is_some_and(|first| values.any(|value| value != first))
        };
        let varying = Axis::ALL.into_iter().filter(varies).collect();
        Source { run, results, cells, boots, verdicts, emulated, partners, varying }
    }

    /// A cell by id.
    pub(crate) fn cell(&self, id: &str) -> Option<Known<'a>> {
        self.cells.get(id).copied()
    }

    /// All boots of a cell, failed ones and both sides, in the order of boots.
    pub(crate) fn boots(&self, cell: &str) -> &[&'a Record] {
        self.boots.get(cell).map_or(&[], Vec::as_slice)
    }

    /// Verdicts of a cell, as the results have them.
    pub(crate) fn verdicts(&self, cell: &str) -> &[&'a VerdictRow] {
        self.verdicts.get(cell).map_or(&[], Vec::as_slice)
    }

    /// The samples of one workload of a cell, one a measured boot of the candidate.
    pub(crate) fn samples(&self, cell: &str, workload: &str) -> Vec<&'a Samples> {
        self.side(cell, workload, |side| side == CANDIDATE)
    }

    /// The same of the base revision; empty where there is none.
    pub(crate) fn base_samples(&self, cell: &str, workload: &str) -> Vec<&'a Samples> {
        self.side(cell, workload, |side| side != CANDIDATE)
    }

    fn side(&self, cell: &str, workload: &str, of: impl Fn(&str) -> bool) -> Vec<&'a Samples> {
        let starts = self.boots(cell).iter().filter(|boot| of(&boot.side));
        starts.flat_map(|boot| of_workload(boot, workload)).collect()
    }

    /// Boots of the candidate, measured and failed.
    pub(crate) fn starts(&self, cell: &str) -> impl Iterator<Item = &'a Record> {
        self.boots(cell).iter().copied().filter(|boot| boot.side == CANDIDATE)
    }

    /// The observations of one workload of a cell; nothing where nothing was measured or its samples cannot be read.
    pub(crate) fn pooled(samples: &[&Samples]) -> Option<Pooled> {
        if samples.is_empty() { None } else { Pooled::new(samples).ok() }
    }

    /// The cell that a contrast pairs with this one.
    pub(crate) fn partner(&self, cell: &str) -> Option<&'a CellResult> {
        let contrast = self.pairing(cell)?;
        let to = contrast.to_cell.as_str();
        let other = if to == cell { contrast.from_cell.as_str() } else { to };
        Some(self.cells.get(other)?.result)
    }

    /// The first contrast that the cell is in.
    pub(crate) fn pairing(&self, cell: &str) -> Option<&'a ContrastResult> {
        self.partners.get(cell).copied()
    }

    /// Whether a processor was emulated in any boot of the cell.
    pub(crate) fn emulated(&self, cell: &str) -> bool {
        self.emulated.contains(cell)
    }

    /// The values of the axes on which the run's cells differ: the shortest name that is unique here.
    pub(crate) fn short(&self, cell: &Cell) -> String {
        self.name_on(cell, |_| true)
    }

    /// The short name without one axis; the whole id where nothing is left.
    pub(crate) fn short_without(&self, cell: &Cell, without: Option<Axis>) -> String {
        self.name_on(cell, |axis| Some(axis) != without)
    }

    fn name_on(&self, cell: &Cell, keep: impl Fn(Axis) -> bool) -> String {
        let kept: Vec<_> =
            self.varying.iter().filter(|axis| keep(**axis)).map(|axis| cell.on(*axis)).collect();
        if kept.is_empty() { cell.id() } else { kept.join("/") }
    }

    /// The workload whose latency stands for a cell: the first that is measured in nanoseconds anywhere.
    pub(crate) fn latency(&self) -> Option<&'a str> {
        self.first_in(&[Unit::Nanoseconds])
    }

    /// The workload whose rate stands for a cell.
    pub(crate) fn rate(&self) -> Option<&'a str> {
        self.first_in(&[Unit::BytesPerSecond, Unit::TransactionsPerSecond])
    }

    fn first_in(&self, units: &[Unit]) -> Option<&'a str> {
        let mut all = self.results.cells.iter().flat_map(|cell| &cell.workloads);
        all.find(|found| units.iter().any(|unit| unit.symbol() == found.unit))
            .map(|found| found.name.as_str())
    }

    /// One workload of a cell.
    pub(crate) fn workload(cell: &'a CellResult, name: &str) -> Option<&'a WorkloadResult> {
        cell.workloads.iter().find(|found| found.name == name)
    }

    /// Facts behind the fingerprint of a cell, as its last boot knew them.
    pub(crate) fn instrument(&self, cell: &str) -> Option<&'a BTreeMap<String, String>> {
        self.boots(cell).last().map(|boot| &boot.instrument)
    }
}
