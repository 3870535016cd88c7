//! `results.json` from what a run left.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result};
use evenkeel_record::observed::Observed;
use rayon::prelude::*;

use super::{BootFigures, Pooled, attribution, contrast, sentence};
use crate::record::results::{CellOutcome, CellResult, Results, Trouble, WorkloadResult};
use crate::record::{CANDIDATE, Outcome, PlannedCell, Record, Run, SCHEMA, Status};

/// What a note begins with where figures come from different instruments.
pub(super) const DIFFERS: &str = "instrument differs";

/// At most so many different reasons are told of one cell; the records hold them all.
const REASONS: usize = 3;

/// `results.json` from what a run left. The bootstrap is seeded by the run's seed: equal input gives equal bytes.
///
/// Every planned cell appears. Of several records of one boot of a cell the last counts; a boot that failed or
/// cannot be read is told in the cell's reason and enters no figure. Records of a base side enter verdicts, not results.
pub fn results(run: &Run, records: &[Record]) -> Result<Results> {
    let mut by_cell: HashMap<&str, BTreeMap<u32, &Record>> = HashMap::new();
    for record in records.iter().filter(|record| record.side == CANDIDATE) {
        by_cell.entry(&record.cell).or_default().insert(record.boot, record);
    }
    let views: Vec<CellView<'_>> = run
        .cells
        .par_iter()
        .map(|planned| {
            let boots = by_cell.get(planned.cell.id().as_str());
            CellView::new(
                run,
                planned,
                boots.map(|boots| boots.values().copied().collect()).unwrap_or_default(),
            )
        })
        .collect();
    let contrasts = contrast::contrasts(run, &views);
    let attribution = attribution::attribution(run, &views);
    let planned: BTreeSet<&str> = views.iter().map(|view| view.result.id.as_str()).collect();
    let strangers = by_cell.keys().filter(|id| !planned.contains(*id)).count();
    let overall = sentence::overall(run, &views, &contrasts, &attribution, strangers);
    Ok(Results {
        schema: SCHEMA,
        matrix: run.matrix.name.clone(),
        seed: run.seed,
        facts: run.facts.clone(),
        cells: views.into_iter().map(|view| view.result).collect(),
        contrasts,
        attribution,
        verdicts: Vec::new(),
        diagnoses: Vec::new(),
        comparison: None,
        overall,
    })
}

/// A planned cell with what its boots left.
pub(super) struct CellView<'a> {
    pub(super) planned: &'a PlannedCell,
    pub(super) result: CellResult,
    /// Boots that were measured, in order.
    pub(super) measured: Vec<&'a Record>,
    /// Boots that failed.
    pub(super) failed: usize,
    /// Planned boots that left no record, where others of the cell did.
    pub(super) missing: usize,
    /// Boots that were measured but for a workload that failed.
    pub(super) incomplete: usize,
    /// Per workload of `result`, figures of each boot with its record.
    pub(super) boots: Vec<Vec<(&'a Record, BootFigures)>>,
}

impl<'a> CellView<'a> {
    fn new(run: &Run, planned: &'a PlannedCell, records: Vec<&'a Record>) -> CellView<'a> {
        let mut failures = Vec::new();
        let mut measured = Vec::new();
        for &record in &records {
            match &record.outcome {
                Outcome::Measured => measured.push(record),
                Outcome::Failed { reason } => failures.push(reason.as_str()),
            }
        }
        let mut troubles = Vec::new();
        if !failures.is_empty() {
            troubles.push(format!(
                "{} of {} boots failed: {}",
                failures.len(),
                records.len(),
                told(&failures)
            ));
        }
        let planned_boots = run.planned_boots();
        let missing = match records.len() {
            0 => 0,
            made => planned_boots.saturating_sub(made),
        };
        let mut workloads = Vec::new();
        let mut boots = Vec::new();
        for name in workload_names(run, &measured) {
            match pool(name, &measured, &mut troubles) {
                Ok(Some((result, figures))) => {
                    workloads.push(result);
                    boots.push(figures);
                }
                Ok(None) => {}
                Err(error) => troubles.push(format!("{name}: {error:#}")),
            }
        }
        let is_begun = !records.is_empty();
        let trouble = match troubles.is_empty() {
            false if is_begun => Some(Trouble::PartlyFailed),
            _ if missing > 0 => Some(Trouble::Unfinished),
            _ if !is_begun && planned.status == Status::Runnable => Some(Trouble::Unfinished),
            _ => None,
        };
        if missing > 0 {
            troubles.push(format!("{missing} of {planned_boots} planned boots left no record"));
        }
        troubles.extend(differences(&measured));
        let (outcome, reason) =
            outcome(&planned.status, !workloads.is_empty(), !records.is_empty());
        let reasons: Vec<String> = reason.into_iter().chain(troubles).collect();
        let result = CellResult {
            id: planned.cell.id(),
            axes: planned.cell.clone(),
            outcome,
            trouble,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            fingerprint: measured.first().map(|record| record.fingerprint.clone()),
            workloads,
        };
        let incomplete = measured.iter().filter(|record| !record.failed.is_empty()).count();
        CellView { planned, result, measured, failed: failures.len(), missing, incomplete, boots }
    }

    /// Result and boots of one workload.
    pub(super) fn workload(
        &self,
        name: &str,
    ) -> Option<(&WorkloadResult, &[(&'a Record, BootFigures)])> {
        let index = self.result.workloads.iter().position(|workload| workload.name == name)?;
        Some((&self.result.workloads[index], &self.boots[index]))
    }
}

/// Workloads of the matrix in its order, then others that records have.
pub(super) fn workload_names<'a>(run: &'a Run, measured: &[&'a Record]) -> Vec<&'a str> {
    let mut names: Vec<&str> = run.matrix.measure.workloads.iter().map(String::as_str).collect();
    for record in measured {
        for name in record.names() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// A workload's result and the figures of each boot that has it; `None` where no boot has.
type PooledWorkload<'a> = Option<(WorkloadResult, Vec<(&'a Record, BootFigures)>)>;

/// Pools one workload. A boot whose samples are missing or cannot be read is told in `troubles`.
fn pool<'a>(
    name: &str,
    measured: &[&'a Record],
    troubles: &mut Vec<String>,
) -> Result<PooledWorkload<'a>> {
    let (mut observed, mut boots, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for &record in measured {
        if let Some(failed) = record.failed.iter().find(|failed| failed.workload == name) {
            failures.push(failed.reason.as_str());
            continue;
        }
        let Some(found) = record.workloads.iter().find(|workload| workload.workload == name) else {
            troubles.push(format!("boot {} left no {name}", record.boot));
            continue;
        };
        let read = Observed::of(&found.samples).and_then(|one| Ok((one.figures()?, one)));
        match read {
            Ok((figures, one)) => {
                boots.push((record, figures));
                observed.push(one);
            }
            Err(error) => {
                troubles.push(format!("{name} of boot {} cannot be read: {error:#}", record.boot))
            }
        }
    }
    if !failures.is_empty() {
        let (few, all) = (failures.len(), measured.len());
        troubles.push(format!("{name} failed in {few} of {all} boots: {}", told(&failures)));
    }
    if observed.is_empty() {
        return Ok(None);
    }
    let pooled = Pooled::of(&observed.iter().collect::<Vec<_>>())?;
    let result = WorkloadResult {
        name: name.to_owned(),
        unit: pooled.unit().symbol().to_owned(),
        better: pooled.unit().better().to_owned(),
        boots: u32::try_from(boots.len()).context("too many boots")?,
        count: pooled.count(),
        figures: pooled.figures(),
    };
    Ok(Some((result, boots)))
}

/// What became of a cell, and why where that is not in its boots.
fn outcome(status: &Status, has_figures: bool, has_records: bool) -> (CellOutcome, Option<String>) {
    if has_figures {
        return (CellOutcome::Measured, None);
    }
    match status {
        _ if has_records => (CellOutcome::Failed, None),
        Status::Runnable => (
            CellOutcome::Failed,
            Some("no boot left a record: finish the run with --resume".to_owned()),
        ),
        Status::Skipped { reason, remedy } if remedy.is_empty() => {
            (CellOutcome::Skipped, Some(reason.clone()))
        }
        Status::Skipped { reason, remedy } => {
            (CellOutcome::Skipped, Some(format!("{reason}; {remedy}")))
        }
        Status::NotApplicable { reason } => (CellOutcome::NotApplicable, Some(reason.clone())),
    }
}

/// Reasons in order of appearance, equal ones counted.
fn told(reasons: &[&str]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for &reason in reasons {
        match counts.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((reason, 1)),
        }
    }
    let mut parts: Vec<String> = counts
        .iter()
        .take(REASONS)
        .map(
            |&(reason, count)| {
                if count == 1 { reason.to_owned() } else { format!("{reason} ({count} times)") }
            },
        )
        .collect();
    if counts.len() > REASONS {
        parts.push(format!("{} other reasons", counts.len() - REASONS));
    }
    parts.join(" | ")
}

/// Where records carry different fingerprints, the facts of the instrument in which they differ.
pub(crate) fn differences(records: &[&Record]) -> Option<String> {
    let fingerprints: BTreeSet<&str> =
        records.iter().map(|record| record.fingerprint.as_str()).collect();
    if fingerprints.len() < 2 {
        return None;
    }
    let names: BTreeSet<&str> =
        records.iter().flat_map(|record| record.instrument.keys()).map(String::as_str).collect();
    let facts = names.into_iter().filter_map(|name| {
        let mut values: Vec<&str> = Vec::new();
        for record in records {
            let value = record.instrument.get(name).map_or("none", String::as_str);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        (values.len() > 1).then(|| format!("{name}: {}", values.join(" | ")))
    });
    let mut facts: Vec<String> = facts.collect();
    if facts.is_empty() {
        facts.push(format!(
            "fingerprint: {}",
            fingerprints.into_iter().collect::<Vec<_>>().join(" | ")
        ));
    }
    Some(format!("{DIFFERS}: {}", facts.join(", ")))
}

#[cfg(test)]
mod tests;
