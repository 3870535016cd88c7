//! Measurements of other tools as runs. Pure but for reading from what it is given: a format's module makes [`Import`]s of its text,
//! and [`Import::into_run`] makes of one what a run leaves on disk.
//!
//! What is not known is not invented: an imported sample has its values and unit, no histogram, no windows, no noise and no evidence; its
//! instrument is the format that it came in. So imports are only compared with imports.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_agent::samples::{Moments, Samples, Unit};
use evenkeel_stats::moments;

use super::{CANDIDATE, Measured, Outcome, PlannedCell, Record, Run, SCHEMA, Status};
use crate::fingerprint::fingerprint;
use crate::matrix::{Cell, Family, Matrix, Measure};

pub mod csv;
pub mod iperf3;
pub mod netperf;
mod series;
pub(crate) mod unit;

pub use evenkeel_history::time::seconds as read_time;
pub use series::{Series, cell_of, series_of, unknown_cell};

/// The name of a fact of `run.json`: the commit that was measured.
pub const COMMIT: &str = "commit";

/// The name of a fact of a record's instrument, and of a run: where it was imported from.
pub const SOURCE: &str = "source";

/// The name of a fact of a record's instrument: what ran a guest's processors, `kvm` or `tcg`. Only guests have it.
pub const ACCELERATOR: &str = "accelerator";

/// What stands behind the commit of a run of ours, where a file differed from it.
pub const DIRTY: &str = "-dirty";

/// The name of a fact of a record's instrument: a series' name as its source has it, where that is no cell of ours.
pub const SERIES: &str = "series";

/// One run of somebody else's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Import {
    /// Its name; empty where the source has none.
    pub run: String,
    /// The format, as in `import FORMAT`.
    pub format: &'static str,
    /// When it began, seconds since 1970; 0 where the source does not say.
    pub started_unix: u64,
    /// The commit that was measured.
    pub commit: Option<String>,
    /// What it measured.
    pub boots: Vec<ForeignBoot>,
}

/// What one boot left of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignBoot {
    /// Which series.
    pub series: Series,
    /// Which fresh start.
    pub boot: u32,
    /// What ran a guest's processors, where the source says.
    pub accelerator: Option<String>,
    /// Its samples.
    pub samples: Samples,
}

impl Import {
    /// The run as it lies on disk. `name` is what it is called where a matrix has its name; `version` the tool's.
    pub fn into_run(self, name: &str, version: &str) -> (Run, Vec<Record>) {
        let mut records: BTreeMap<(Cell, u32), Record> = BTreeMap::new();
        let (format, started_unix) = (self.format, self.started_unix);
        for ForeignBoot { series, boot, accelerator, samples } in self.boots {
            let record = records
                .entry((series.cell.clone(), boot))
                .or_insert_with(|| empty(&series, boot, format, started_unix));
            if let Some(accelerator) = accelerator {
                record.instrument.insert(ACCELERATOR.to_owned(), accelerator);
                record.fingerprint = fingerprint(&record.instrument);
            }
            record.workloads.push(Measured { workload: series.workload, samples });
        }
        let mut boots_of: BTreeMap<&Cell, u32> = BTreeMap::new();
        records.keys().for_each(|(cell, _)| *boots_of.entry(cell).or_default() += 1);
        // Nobody planned them: no boot is missing.
        let boots = boots_of.values().min().copied().unwrap_or(0);
        let cells: Vec<Cell> = boots_of.into_keys().cloned().collect();
        let source = (SOURCE.to_owned(), format!("imported from {format}"));
        let commit = self.commit.map(|commit| (COMMIT.to_owned(), commit));
        let run = Run {
            schema: SCHEMA,
            tool: version.to_owned(),
            tag: if self.run.is_empty() { format.to_owned() } else { self.run },
            matrix_text: String::new(),
            matrix: Matrix {
                name: name.to_owned(),
                cells: cells.clone(),
                measure: Measure {
                    // Not every cell has every workload: each says its own.
                    workloads: Vec::new(),
                    boots,
                    warmup: Duration::ZERO,
                    window: Duration::ZERO,
                    windows: 0,
                    family: Family::Ipv4,
                    rate: 0,
                },
                contrasts: Vec::new(),
                kernels: BTreeMap::new(),
                commands: Vec::new(),
                profiles: BTreeMap::new(),
                form: None,
                attribution: None,
                study: None,
            },
            seed: 0,
            started_unix: self.started_unix,
            quick: false,
            facts: commit.into_iter().chain([source]).collect(),
            cells: cells
                .into_iter()
                .map(|cell| PlannedCell { cell, status: Status::Runnable })
                .collect(),
            policy: None,
            base: None,
            calibration: None,
            calibrates: None,
            fleet: Default::default(),
            lost: Vec::new(),
            kernels: Vec::new(),
        };
        (run, records.into_values().collect())
    }
}

/// A record of a boot that nothing is known of yet.
fn empty(series: &Series, boot: u32, format: &str, started_unix: u64) -> Record {
    let name = series.foreign.clone().map(|name| (SERIES.to_owned(), name));
    let source = (SOURCE.to_owned(), format.to_owned());
    let instrument: BTreeMap<String, String> = name.into_iter().chain([source]).collect();
    Record {
        schema: SCHEMA,
        cell: series.cell.id(),
        side: CANDIDATE.to_owned(),
        block: boot,
        position: 0,
        boot,
        // Which boots of a host or guest they were, nobody said: each counts as one.
        host_boot: boot.to_string(),
        guest_boot: None,
        started_unix,
        fingerprint: fingerprint(&instrument),
        instrument,
        outcome: Outcome::Measured,
        timing_ns: BTreeMap::new(),
        noise: None,
        evidence: Vec::new(),
        workloads: Vec::new(),
        failed: Vec::new(),
        counted: None,
    }
}

/// Samples that hold these values and nothing else.
pub(crate) fn samples(unit: Unit, values: Vec<f64>) -> Samples {
    let of = moments::Moments::of(&values);
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = values.iter().copied().fold(0.0, f64::max);
    Samples {
        unit,
        // Of equal values, rounding must not carry the mean beyond them.
        moments: Moments { count: of.count, mean: of.mean.clamp(min, max), m2: of.m2 },
        histogram: None,
        min,
        max,
        values,
        windows: Vec::new(),
        began_monotonic_ns: 0,
        measured_ns: 0,
        crossed_operations: 0,
        crossed_bytes: 0,
        closed_view: None,
        loss: None,
        raw: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::check::check;
    use crate::record::figures::results;

    #[test]
    fn series_of_one_cell_share_its_records_and_nothing_is_missing() {
        let boot = |series: &str, boot| ForeignBoot {
            series: series_of(series),
            boot,
            accelerator: None,
            samples: samples(Unit::Nanoseconds, vec![1.0, 2.0, 4.0]),
        };
        let a = "running/netns/veth/stock/idle";
        let boots = [
            boot(&format!("{a}:tcp-rr"), 3),
            boot(&format!("{a}:udp-rr"), 3),
            boot(&format!("{a}:tcp-rr"), 7),
            boot(&format!("{a}:udp-rr"), 7),
            boot("Request time", 0),
        ];
        let import = Import { format: "csv", boots: boots.into(), ..Import::default() };
        let (run, records) = import.into_run("mine", "0.1.0");
        assert_eq!(records.len(), 3);
        records.iter().for_each(|record| check(record).unwrap());
        let results = results(&run, &records).unwrap();
        let shown: Vec<_> = results
            .cells
            .iter()
            .map(|cell| (cell.id.as_str(), cell.reason.as_deref(), cell.workloads.len()))
            .collect();
        assert_eq!(
            shown,
            [
                ("imported/imported/imported/request-time-e12fb1ea/imported", None, 1),
                ("running/netns/veth/stock/idle", None, 2)
            ]
        );
        assert_eq!(results.cells[1].workloads[0].figures.median, Some(2.0));
    }
}
