//! A run for other tools: rows of values, percentiles of HdrHistogram, and the figures that two public trackers of benchmarks take. Pure
//! but for writing to what it is given.
//!
//! Only the candidate's side of a compared run has the plain name of its series; rows of another side are another run (`TAG:base`).

use std::collections::BTreeMap;

use evenkeel_agent::samples::Samples;

use super::import::{SERIES, Series, series_of};
use super::{Outcome, Record};

pub mod csv;
pub mod figures;
pub mod hgrm;

/// What one boot left of one series.
pub(super) struct Found<'r> {
    pub(super) record: &'r Record,
    pub(super) samples: &'r Samples,
}

/// Every series that was measured, with its boots in order. Of several records of one boot the last counts, as in a report.
pub(super) fn series<'r>(records: &[&'r Record]) -> BTreeMap<String, Vec<Found<'r>>> {
    let mut boots: BTreeMap<(&str, &str, u32), &Record> = BTreeMap::new();
    for record in records {
        boots.insert((&record.side, &record.cell, record.boot), record);
    }
    let mut series: BTreeMap<String, Vec<Found<'_>>> = BTreeMap::new();
    for record in boots.into_values().filter(|record| record.outcome == Outcome::Measured) {
        for workload in &record.workloads {
            let name = name(record, &workload.workload);
            series.entry(name).or_default().push(Found { record, samples: &workload.samples });
        }
    }
    series
}

/// What a workload of a record is called: `CELL:WORKLOAD`, or the name that it came with.
fn name(record: &Record, workload: &str) -> String {
    let own = format!("{}:{workload}", record.cell);
    let Some(foreign) = record.instrument.get(SERIES) else { return own };
    // Only where that name leads back here: a file may say anything.
    let Series { cell, workload: known, .. } = series_of(foreign);
    if cell.id() == record.cell && known == workload { foreign.clone() } else { own }
}
