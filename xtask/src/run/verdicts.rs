//! Verdicts of a run that holds two sides, by the policy that was measured with it. Shards of a plan are judged each by itself: its blocks
//! and its host are its own. They share the policy's error rates.

use std::collections::BTreeSet;

use crate::record::{BASE, Base, Fleet, Part, PlannedCell, Record, Run, Status};
use crate::verdict::{Comparison, Options, Policy, Verdicts, policy};
use crate::wrong::wrong;

/// What a policy that lies in `run.json` is called.
const STORED: &str = "policy of the base (run.json)";

/// Verdicts of a run with a base; nothing of another.
///
/// # Errors
/// The policy is wrong, or a side has an unknown name.
pub fn of_run(run: &Run, records: &[Record]) -> anyhow::Result<Option<Verdicts>> {
    if !records.iter().any(|record| record.side == BASE) {
        return Ok(None);
    }
    of_sides(run, records, &policy_of(run)?, Options::default()).map(Some)
}

/// Verdicts of a run with a base by a policy of the caller's.
///
/// # Errors
/// It has no base, or a side has an unknown name.
pub fn of_sides(
    run: &Run,
    records: &[Record],
    policy: &Policy,
    options: Options,
) -> anyhow::Result<Verdicts> {
    let shared = policy.clone().shared_among(run.fleet.shares());
    if run.fleet.parts.is_empty() {
        let comparison = Comparison::of_sides(run, records, &shared).map_err(wrong)?;
        return Ok(Verdicts::new(&comparison, &shared, options));
    }
    let judge = |(run, records): (Run, Vec<Record>)| {
        let comparison = Comparison::of_sides(&run, &records, &shared).map_err(wrong)?;
        anyhow::Ok(Verdicts::new(&comparison, &shared, options))
    };
    let mut parts = Vec::new();
    for part in &run.fleet.parts {
        let (of, records) = alone(run, part, records);
        let name = format!("shard {}", part.shard);
        let told = match records.iter().any(|record| record.side == BASE) {
            true => judge((of, records))?,
            // Nothing was measured of both sides: a runner that went away must not look like one that found nothing.
            false => {
                let applicable = |planned: &&PlannedCell| {
                    !matches!(planned.status, Status::NotApplicable { .. })
                };
                let cells = of.cells.iter().filter(applicable).map(|planned| &planned.cell);
                let reason = match part.missing {
                    true => format!("{name} is missing"),
                    false => format!("{name} measured no boot of the base"),
                };
                Verdicts::missing(cells, &reason, &shared)
            }
        };
        parts.push((name, told));
    }
    Ok(Verdicts::joined(parts, policy))
}

/// A part of a merged run, as it was before it was merged.
fn alone(run: &Run, part: &Part, records: &[Record]) -> (Run, Vec<Record>) {
    let own: BTreeSet<&str> = part.cells.iter().map(String::as_str).collect();
    let cells = |cells: &[PlannedCell]| {
        cells.iter().filter(|planned| own.contains(&*planned.cell.id())).cloned().collect()
    };
    let fleet = Fleet { only: run.fleet.only.clone(), shard: Some(part.shard), parts: Vec::new() };
    let base = run.base.as_ref();
    let of = Run {
        tag: part.tag.clone(),
        started_unix: part.started_unix,
        facts: part.facts.clone(),
        calibration: part.calibration,
        cells: cells(&run.cells),
        base: base.map(|base| Base { cells: cells(&base.cells), ..base.clone() }),
        lost: run.lost.iter().filter(|lost| own.contains(&*lost.cell)).cloned().collect(),
        fleet,
        ..run.clone()
    };
    (of, records.iter().filter(|record| own.contains(&*record.cell)).cloned().collect())
}

/// The policy that a run was measured with, else the one that is found here.
///
/// # Errors
/// It is wrong.
pub fn policy_of(run: &Run) -> anyhow::Result<Policy> {
    match &run.policy {
        Some(text) => stored(text),
        None => policy::find(None).map_err(wrong),
    }
}

/// A policy that lies in `run.json`, or is to.
pub(super) fn stored(text: &str) -> anyhow::Result<Policy> {
    policy::parse(text, STORED).map_err(wrong)
}
