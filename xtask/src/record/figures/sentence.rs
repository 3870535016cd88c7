//! The whole run in a sentence: counts and ratios, no judgement.

use super::attribution::{largest, took_effect};
use super::contrast::{EMULATED, is_emulated};
use super::summary::{CellView, DIFFERS};
use crate::record::Run;
use crate::record::results::{AttributionResult, CellOutcome, ContrastResult, Overall};

/// So many knobs are named.
const RANKED: usize = 4;

/// The figure by which the sentence tells a contrast.
const TOLD: &str = "mad";

/// Says what was measured, and per contrast what it did to the dispersion of the first workload.
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
    let mut parts = vec![format!("{measured} of {} cells measured", views.len() - not_applicable)];
    let failed_boots: usize = views.iter().map(|view| view.failed).sum();
    let emulated =
        views.iter().filter(|view| view.measured.iter().any(|record| is_emulated(record))).count();
    let cells = [
        (emulated, "emulated"),
        (failed, "failed"),
        (skipped, "skipped"),
        (not_applicable, "not applicable"),
    ];
    parts.extend(
        cells.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")),
    );
    let incomplete: usize = views.iter().map(|view| view.incomplete).sum();
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
    for contrast in &run.matrix.contrasts {
        let name = &contrast.name;
        let rows: Vec<&ContrastResult> =
            contrasts.iter().filter(|row| row.name == *name && row.figure == TOLD).collect();
        if let Some(text) = contrast_told(&rows) {
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
    let verdict = match (measured, failed + skipped) {
        (0, _) => "failed",
        (_, 0) => "measured",
        _ => "incomplete",
    };
    Overall { verdict: verdict.to_owned(), sentence }
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

/// `knobs of isolated by effect on tcp-rr: policy (tail x0.030), placement (dispersion x0.67)`.
fn ranking_told(table: &AttributionResult, place: &str) -> String {
    let AttributionResult { profile, workload, .. } = table;
    let ranked = table.knobs.iter().filter(|knob| knob.rank.is_some()).take(RANKED);
    let told: Vec<String> = ranked
        .filter_map(|knob| {
            let (aspect, ratio) = largest(knob)?;
            Some(format!("{} ({aspect} x{})", knob.name, short(ratio)))
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

/// `tcp-rr MAD x0.020 [0.010-0.040]`, or the middle and the range of several pairs and in how many the interval is clear of 1. Where
/// there are pairs that were not emulated, and pairs with an interval, the others are not told.
fn contrast_told(rows: &[&ContrastResult]) -> Option<String> {
    let workload = &rows.first()?.workload;
    let what = format!("{workload} {}", TOLD.to_uppercase());
    let emulated =
        |row: &&ContrastResult| row.note.as_deref().is_some_and(|n| n.contains(EMULATED));
    let mut rows: Vec<&ContrastResult> = rows
        .iter()
        .copied()
        .filter(|row| row.workload == *workload && row.ratio.is_some())
        .collect();
    rows = preferred(rows, |row| !emulated(row));
    rows = preferred(rows, |row| row.low.is_some());
    let aside = if rows.iter().any(emulated) { ", emulated" } else { "" };
    let mut ratios: Vec<f64> = rows.iter().filter_map(|row| row.ratio).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let (Some(&least), Some(&most)) = (ratios.first(), ratios.last()) else {
        return Some(format!("no ratio of {what}"));
    };
    if let [row] = rows[..] {
        let ends = match (row.low, row.high) {
            (Some(low), Some(high)) => format!(" [{}-{}]", short(low), short(high)),
            _ => " (no interval)".to_owned(),
        };
        return Some(format!("{what} x{}{ends}{aside}", short(least)));
    }
    let middle = ratios[ratios.len() / 2];
    let [lower, higher] = [
        rows.iter().filter(|row| row.high.is_some_and(|high| high < 1.0)).count(),
        rows.iter().filter(|row| row.low.is_some_and(|low| low > 1.0)).count(),
    ];
    Some(format!(
        "{what} x{}, the middle of {} pairs from x{} to x{}{aside}; surely lower in {lower}, surely higher in {higher}",
        short(middle),
        rows.len(),
        short(least),
        short(most),
    ))
}

/// The rows that are preferred, or all where none is.
fn preferred<'a>(
    rows: Vec<&'a ContrastResult>,
    is: impl Fn(&&'a ContrastResult) -> bool,
) -> Vec<&'a ContrastResult> {
    match rows.iter().any(&is) {
        true => rows.into_iter().filter(is).collect(),
        false => rows,
    }
}

/// A ratio with two significant digits below 10.
fn short(ratio: f64) -> String {
    let digits =
        if ratio >= 10.0 { 0.0 } else { (1.0 - ratio.max(1e-9).log10().floor()).clamp(1.0, 4.0) };
    format!("{ratio:.*}", digits as usize)
}
