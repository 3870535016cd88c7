//! `junit.xml`: one suite for the matrix, one case for each cell and workload, or for each verdict where there are some.

use std::collections::HashMap;

use minijinja::{Environment, context, value::Value};
use serde::Serialize;

use crate::record::results::{CellOutcome, CellResult, Results, VerdictRow};
use crate::record::{Record, any_measured};

#[derive(Serialize)]
struct Suite<'a> {
    name: &'a str,
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    time: String,
    sentence: &'a str,
    cases: Vec<Case<'a>>,
}

/// What CI systems show of a cell. A failure carries its kind: `failed`, `regressed`; an error is that nothing was measured.
#[derive(Serialize)]
struct Case<'a> {
    class: String,
    name: String,
    time: String,
    failure: Option<(&'a str, &'a str)>,
    error: Option<&'a str>,
    skipped: Option<&'a str>,
}

const NO_REASON: &str = "no reason was recorded";

/// Renders the file.
pub(super) fn render(
    env: &Environment<'_>,
    records: &[Record],
    results: &Results,
) -> anyhow::Result<String> {
    let mut measured_ns: HashMap<(&str, &str), u64> = HashMap::new();
    for record in records {
        for w in &record.workloads {
            let total = measured_ns.entry((&record.cell, &w.workload)).or_default();
            *total = total.saturating_add(w.samples.measured_ns);
        }
    }
    let mut verdicts: HashMap<&str, Vec<&VerdictRow>> = HashMap::new();
    for row in &results.verdicts {
        verdicts.entry(&row.cell).or_default().push(row);
    }
    let gates = results.comparison.as_ref().is_some_and(|comparison| comparison.gate == "gates");
    let mut cases = Vec::new();
    for cell in &results.cells {
        let rows = verdicts.remove(cell.id.as_str());
        cases.extend(cases_of(cell, rows, gates, &measured_ns));
    }
    // A verdict on a cell that the candidate does not have (`missing`) is a case of its own.
    for row in results.verdicts.iter().filter(|row| verdicts.contains_key(row.cell.as_str())) {
        cases.push(judged(row, gates));
    }
    // Skipped cells alone would look green.
    if !any_measured(records) {
        cases.push(Case {
            class: results.matrix.clone(),
            name: "run".to_owned(),
            time: seconds(0),
            failure: None,
            error: Some("nothing was measured"),
            skipped: None,
        });
    }
    let suite = Suite {
        name: &results.matrix,
        tests: cases.len(),
        failures: cases.iter().filter(|case| case.failure.is_some()).count(),
        errors: cases.iter().filter(|case| case.error.is_some()).count(),
        skipped: cases.iter().filter(|case| case.skipped.is_some()).count(),
        time: seconds(measured_ns.values().sum()),
        sentence: &results.overall.sentence,
        cases,
    };
    Ok(env
        .get_template("junit.xml")?
        .render(context! { suite => Value::from_serialize(&suite) })?)
}

fn cases_of<'a>(
    cell: &'a CellResult,
    verdicts: Option<Vec<&'a VerdictRow>>,
    gates: bool,
    measured_ns: &HashMap<(&str, &str), u64>,
) -> Vec<Case<'a>> {
    let reason = cell.reason.as_deref().unwrap_or(NO_REASON);
    let whole = |failure, skipped| Case {
        class: cell.id.clone(),
        name: "cell".to_owned(),
        time: seconds(0),
        failure,
        error: None,
        skipped,
    };
    match (cell.outcome, verdicts) {
        (_, Some(rows)) => rows.into_iter().map(|row| judged(row, gates)).collect(),
        (CellOutcome::Failed, None) => vec![whole(Some(("failed", reason)), None)],
        (CellOutcome::Skipped | CellOutcome::NotApplicable, None) => {
            vec![whole(None, Some(reason))]
        }
        (CellOutcome::Measured, None) => cell
            .workloads
            .iter()
            .map(|w| {
                let ns = measured_ns.get(&(cell.id.as_str(), w.name.as_str())).copied();
                Case { name: w.name.clone(), time: seconds(ns.unwrap_or(0)), ..whole(None, None) }
            })
            .collect(),
    }
}

/// A failure is what makes the exit code 1: a regression that gates in a run that gates, and what fails altogether in the candidate. All else
/// that is not fine is skipped, with its reason.
fn judged(row: &VerdictRow, gates: bool) -> Case<'_> {
    let reason = row.reason.as_str();
    let flags = row.verdict == "regressed" && row.gates && row.accepted.is_none();
    let altogether = row.aspect == "outcome" && row.figure.is_none();
    let (failure, skipped) = match row.verdict.as_str() {
        "regressed" if flags && (gates || altogether) => (Some(("regressed", reason)), None),
        "regressed" | "missing" | "inconclusive" => (None, Some(reason)),
        _ => (None, None),
    };
    Case {
        class: row.cell.clone(),
        name: format!("{} {}", row.workload, row.aspect),
        time: seconds(0),
        failure,
        error: None,
        skipped,
    }
}

fn seconds(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000_000_000, ns / 1_000_000 % 1_000)
}
