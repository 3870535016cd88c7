//! The line of a run. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::entry::{CellEntry, Entry, Figure, SCHEMA};
use crate::record::figures::run::{Better, of_run};
use crate::record::import::{COMMIT, DIRTY};
use crate::record::{Record, Run};

/// The line of a run.
///
/// # Errors
/// Nothing was measured, or samples cannot be decoded.
pub fn line(
    run: &Run,
    records: &[Record],
    commit: Option<String>,
    dirty: bool,
    mark: Option<String>,
) -> Result<Entry<'static>> {
    let mut cells: BTreeMap<(String, String), Vec<Figure<'static>>> = BTreeMap::new();
    for of in of_run(records)? {
        let figures = cells.entry((of.cell, of.fingerprint)).or_default();
        figures.extend(of.aspects.iter().map(|aspect| Figure {
            workload: of.workload.clone().into(),
            aspect: aspect.aspect.into(),
            figure: aspect.figure.into(),
            unit: aspect.unit.into(),
            higher_is_better: aspect.better == Better::Higher,
            boots: u32::try_from(aspect.logs.len()).unwrap_or(u32::MAX),
            log: aspect.mean(),
            error: aspect.error,
        }));
    }
    ensure!(!cells.is_empty(), "no boot was measured: there is nothing to remember");
    // What a run was made of it says itself: the repository may have gone on since.
    let own = run.facts.get(COMMIT).filter(|_| commit.is_none());
    let clean = own.and_then(|own| own.strip_suffix(DIRTY));
    let (commit, dirty) = (
        commit.or_else(|| clean.or(own.map(String::as_str)).map(str::to_owned)),
        dirty || clean.is_some(),
    );
    let cells = cells.into_iter().map(|((cell, fingerprint), figures)| CellEntry {
        cell: cell.into(),
        fingerprint: fingerprint.into(),
        figures,
    });
    Ok(Entry {
        schema: SCHEMA,
        time: run.started_unix,
        commit: commit.map(Cow::from),
        dirty,
        run: run.tag.clone().into(),
        mark: mark.map(Cow::from),
        cells: cells.collect(),
    })
}
