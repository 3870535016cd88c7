//! Whether a cell was measured on both sides at all. No figure is needed to see that one side fails.

use super::sides::{Comparison, Half, Pair};
use super::{Decision, Verdict};
use crate::record::Status;

/// A cell that one side lacks.
pub(super) struct Decided {
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    /// Of these workloads.
    pub(super) workloads: Vec<String>,
}

/// What is decided without figures; nothing where both sides were measured, or neither was meant to be, or where one fails always and the other
/// sometimes: that is for counts to tell (`failing`).
pub(super) fn of(pair: &Pair<'_>) -> Option<Decided> {
    let (base, candidate) = (&pair.base, &pair.candidate);
    let lost = |half: &Half<'_>| half.measured.is_empty() && !half.left_out.is_empty();
    if lost(base) || lost(candidate) {
        let reason = "every block is left out: the host was too noisy".to_owned();
        return Some(Decided {
            verdict: Verdict::Inconclusive,
            reason,
            workloads: workloads(pair),
        });
    }
    let (verdict, reason) = match (boots(base), boots(candidate)) {
        (Boots::Measured, Boots::Measured) => return None,
        (Boots::Measured, Boots::Failed) if !base.failures.is_empty() => return None,
        (Boots::Failed, Boots::Measured) if !candidate.failures.is_empty() => return None,
        (Boots::None, Boots::None) => (Verdict::Missing, not_measured(base, candidate)?),
        (Boots::Measured, Boots::Failed) => (
            Verdict::Regressed,
            format!("measured in the base, fails in the candidate: {}", told(candidate)),
        ),
        (Boots::Measured, Boots::None) => (
            Verdict::Missing,
            format!("measured in the base, not in the candidate: {}", absence(candidate)),
        ),
        (Boots::Failed, Boots::Measured) => (
            Verdict::Improved,
            format!("fails in the base, measured in the candidate; the base: {}", told(base)),
        ),
        (Boots::None, Boots::Measured) => {
            (Verdict::Missing, format!("nothing to compare with; the base: {}", absence(base)))
        }
        (Boots::Failed, Boots::Failed) => (
            Verdict::Inconclusive,
            format!("fails on both sides; the candidate: {}", told(candidate)),
        ),
        (Boots::Failed, Boots::None) => (
            Verdict::Missing,
            format!("fails in the base, not in the candidate: {}", absence(candidate)),
        ),
        (Boots::None, Boots::Failed) => (
            Verdict::Missing,
            format!("fails, and there is nothing to compare with: {}", told(candidate)),
        ),
    };
    Some(Decided { verdict, reason, workloads: workloads(pair) })
}

/// That a cell could not be measured to its end on this host; nothing where it could, or where it was not measured at all and that is told.
pub(super) fn lost(pair: &Pair<'_>, comparison: &Comparison<'_>) -> Option<Decision> {
    let mut lost = comparison.candidate.run.lost.iter();
    let lost = lost.find(|lost| lost.cell == pair.id && comparison.in_one_run())?;
    let verdict = Verdict::Missing;
    if of(pair).is_some_and(|decided| decided.verdict == verdict) {
        return None;
    }
    let boots = [pair.base.measured.len(), pair.candidate.measured.len()];
    let reason = format!("not measured to its end: {}", lost.reason);
    Some(Decision::outcome(pair.cell, "*", verdict, boots, &reason))
}

/// What became of a side's boots.
enum Boots {
    Measured,
    Failed,
    None,
}

fn boots(half: &Half<'_>) -> Boots {
    match (half.measured.is_empty(), half.failures.is_empty()) {
        (false, _) => Boots::Measured,
        (true, false) => Boots::Failed,
        // A boot that was planned and left nothing may be one that took the run with it; it is not known.
        (true, true) => Boots::None,
    }
}

/// Why a cell was measured on neither side, where that is of the revisions' making and not of the host's.
fn not_measured(base: &Half<'_>, candidate: &Half<'_>) -> Option<String> {
    let [Some(Status::Skipped { reason: base, .. }), Some(candidate)] =
        [base.status, candidate.status]
    else {
        return None;
    };
    let (Status::Skipped { reason, .. } | Status::NotApplicable { reason }) = candidate else {
        return None;
    };
    (base != reason).then(|| format!("not measured: {reason}"))
}

/// Workloads that either side measured; `*` for whatever they would have been.
pub(super) fn workloads(pair: &Pair<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for record in pair.base.measured.iter().chain(&pair.candidate.measured) {
        for measured in &record.workloads {
            if !names.contains(&measured.workload) {
                names.push(measured.workload.clone());
            }
        }
    }
    if names.is_empty() { vec!["*".to_owned()] } else { names }
}

/// Whether it is plain without counting what becomes of a workload: it fails in every measured boot of one side, and in all or none of the other.
pub(super) fn is_plain(pair: &Pair<'_>, workload: &str) -> bool {
    let sides = [&pair.base, &pair.candidate].map(|half| {
        let failed = half.measured.iter().filter(|boot| boot.lacks(workload)).count();
        (failed, half.measured.len())
    });
    sides.iter().any(|(failed, of)| failed == of)
        && sides.iter().all(|(failed, of)| failed == of || *failed == 0)
}

/// `5 of 5 boots failed: REASON`, of several the most frequent.
fn told(half: &Half<'_>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for reason in &half.failures {
        match counts.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((reason, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let reason = counts.first().map_or("", |(reason, _)| reason);
    let more = match counts.len() {
        0 | 1 => String::new(),
        2 => " | another reason".to_owned(),
        several => format!(" | {} other reasons", several - 1),
    };
    format!("{} of {} boots failed: {reason}{more}", half.failures.len(), half.boots())
}

/// Why a side has no records of a cell.
fn absence(half: &Half<'_>) -> String {
    match half.status {
        None => "it has no such cell".to_owned(),
        Some(Status::Runnable) => "no boot left a record".to_owned(),
        Some(Status::Skipped { reason, .. }) => format!("skipped: {reason}"),
        Some(Status::NotApplicable { reason }) => format!("not applicable: {reason}"),
    }
}
