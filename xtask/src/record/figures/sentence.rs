//! The whole run in a sentence: counts and ratios, no judgement.

use super::attribution::{largest, took_effect};
use super::contrast::{EMULATED, is_emulated};
use super::summary::{CellView, DIFFERS};
use crate::record::Run;
use crate::record::results::{AttributionResult, CellOutcome, ContrastResult, Overall, Trouble};
use crate::report::ratio as shown;

mod contrast;

/// So many knobs are named.
const RANKED: usize = 4;

/// Says what was measured and what of it is not there, and of each contrast what got worse and what better.
pub(super) fn overall(
    run: &Run,
    views: &[CellView<'_>],
    contrasts: &[ContrastResult],
    attribution: &[AttributionResult],
    strangers: usize,
) -> Overall {
    let with = |outcome| views.iter().filter(|view| view.result.outcome == outcome).count();
    let [measured, failed, skipped, not_applicable] = [
        CellOutcome::Measured,
        CellOutcome::Failed,
        CellOutcome::Skipped,
        CellOutcome::NotApplicable,
    ]
    .map(with);
    // What the run did not come to has not failed.
    let not_begun = views.iter().filter(|view| {
        view.result.outcome == CellOutcome::Failed
            && view.result.trouble == Some(Trouble::Unfinished)
    });
    let not_begun = not_begun.count();
    let mut parts = vec![format!("{measured} of {} cells measured", views.len() - not_applicable)];
    let emulated =
        views.iter().filter(|view| view.measured.iter().any(|record| is_emulated(record))).count();
    let cells = [
        (emulated, "emulated"),
        (failed - not_begun, "failed"),
        (not_begun, "not begun"),
        (skipped, "skipped"),
        (not_applicable, "not applicable"),
    ];
    parts.extend(
        cells.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")),
    );
    let count = |of: fn(&CellView<'_>) -> usize| views.iter().map(of).sum::<usize>();
    let [failed_boots, missing, incomplete] =
        [count(|view| view.failed), count(|view| view.missing), count(|view| view.incomplete)];
    if missing > 0 {
        let planned = measured_or_failed(views) * run.planned_boots();
        parts.push(format!("incomplete: {missing} of {planned} planned boots left no record"));
    }
    let asides = [
        (failed_boots, "failed boots"),
        (incomplete, "boots without some workload"),
        (strangers, "cells recorded but not planned"),
    ];
    parts.extend(
        asides
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{what}: {count}")),
    );
    let mut sentence = parts.join(", ");
    let tests = contrasts.iter().filter(|row| row.p.is_some()).count();
    for contrast in &run.matrix.contrasts {
        let name = &contrast.name;
        let rows: Vec<&ContrastResult> = contrasts.iter().filter(|row| row.name == *name).collect();
        if let Some(text) = contrast::told(&rows, tests, |workload| is_rate(views, workload)) {
            let differs = rows
                .iter()
                .any(|row| row.note.as_deref().is_some_and(|note| note.contains(DIFFERS)));
            let caution = if differs { format!(" ({DIFFERS})") } else { String::new() };
            sentence.push_str(&format!("; {name}: {text}{caution}"));
        }
    }
    // One table is told; the others are in the report.
    if let Some(table) = attribution.first() {
        let several = attribution.iter().any(|other| other.place != table.place);
        let place = if several { format!(" in {}", table.place) } else { String::new() };
        sentence.push_str(&format!("; {}{}", ranking_told(table, &place), caution_told(table)));
    }
    let verdict = match (measured, failed + skipped + failed_boots + missing) {
        (0, _) => "failed",
        (_, 0) => "measured",
        _ => "incomplete",
    };
    Overall { verdict: verdict.to_owned(), sentence }
}

/// Cells that were to be measured and left a record.
fn measured_or_failed(views: &[CellView<'_>]) -> usize {
    views.iter().filter(|view| !view.measured.is_empty() || view.failed > 0).count()
}

/// Whether more of a workload is better.
fn is_rate(views: &[CellView<'_>], workload: &str) -> bool {
    let mut results = views.iter().flat_map(|view| &view.result.workloads);
    results.any(|result| result.name == workload && result.better == "higher")
}

/// ` (instrument differs, emulated)`, of what holds for some effect of a table.
fn caution_told(table: &AttributionResult) -> String {
    let effects = || table.knobs.iter().flat_map(|knob| &knob.effects).chain(&table.whole);
    let notes = |what: &str| {
        effects().filter_map(|effect| effect.note.as_deref()).any(|note| note.contains(what))
    };
    let cautions = [(DIFFERS, DIFFERS), (EMULATED, "emulated")];
    let cautions = cautions.iter().filter(|(note, _)| notes(note)).map(|(_, told)| *told);
    let cautions = cautions.collect::<Vec<_>>().join(", ");
    if cautions.is_empty() { cautions } else { format!(" ({cautions})") }
}

/// `knobs of isolated by effect on tcp-rr: policy (tail ×0.030), placement (dispersion ×0.67)`.
fn ranking_told(table: &AttributionResult, place: &str) -> String {
    let AttributionResult { profile, workload, .. } = table;
    let ranked = table.knobs.iter().filter(|knob| knob.rank.is_some()).take(RANKED);
    let told: Vec<String> = ranked
        .filter_map(|knob| {
            let (aspect, ratio) = largest(knob)?;
            Some(format!("{} ({aspect} {})", knob.name, shown(ratio)))
        })
        .collect();
    let told = match told.is_empty() {
        true if !table.knobs.iter().any(took_effect) => {
            return format!("knobs of {profile}{place}: none took effect that was measured");
        }
        true => "none clear of chance".to_owned(),
        false => told.join(", "),
    };
    format!("knobs of {profile} by effect on {workload}{place}: {told}")
}
