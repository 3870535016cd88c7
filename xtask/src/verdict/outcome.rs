//! Whether a cell was measured on both sides at all. No figure is needed to see that one side fails.

use evenkeel_stats::exact::more_often;

use super::policy::Policy;
use super::sides::{Half, Pair};
use super::{Aspect, Decision, Verdict};
use crate::record::Status;
use crate::record::results::VerdictRow;

/// A cell that one side lacks.
pub(super) struct Decided {
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    /// Of these workloads.
    pub(super) workloads: Vec<String>,
}

/// What is decided without figures; nothing where both sides were measured, or neither was meant to be.
pub(super) fn of(pair: &Pair<'_>) -> Option<Decided> {
    let (base, candidate) = (&pair.base, &pair.candidate);
    let lost = |half: &Half<'_>| half.measured.is_empty() && half.left_out > 0;
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
fn workloads(pair: &Pair<'_>) -> Vec<String> {
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

/// Cells of which some boots fail.
pub(super) struct Failing {
    pub(super) decisions: Vec<Decision>,
    pub(super) notes: Vec<String>,
}

/// Cells, and workloads of cells, that fail more often on one side, by Fisher's exact test with Bonferroni's correction for all; and all others
/// that fail sometimes, as notes.
pub(super) fn more_often_failing(pairs: &[Pair<'_>], policy: &Policy) -> Failing {
    let mut failing = Failing { decisions: Vec::new(), notes: Vec::new() };
    let subjects: Vec<(&Pair<'_>, Option<&str>)> = pairs
        .iter()
        .flat_map(|pair| {
            let alone = failing_alone(pair).into_iter().map(move |name| (pair, Some(name)));
            std::iter::once((pair, None)).chain(alone)
        })
        .collect();
    let tests = subjects.len() as f64;
    for (pair, alone) in subjects {
        let (base, candidate) = (&pair.base, &pair.candidate);
        let counts = [base, candidate].map(|half| (failures(half, alone), half.boots() as u64));
        // A workload that fails in every boot of a side is told without counting.
        let told = alone.is_some_and(|name| {
            [base, candidate].iter().any(|half| half.measured.iter().all(|boot| boot.lacks(name)))
        });
        if counts[0].0 + counts[1].0 == 0 || of(pair).is_some() || told {
            continue;
        }
        let [(base_failed, base_of), (failed, of)] = counts;
        let worse = more_often(base_failed, base_of, failed, of);
        let better = more_often(failed, of, base_failed, base_of);
        let reason = [candidate, base].into_iter().find_map(|half| reason(half, alone));
        let what = alone.map_or("boots fail".to_owned(), |name| format!("boots lack {name}"));
        let counted = format!(
            "{failed} of {of} {what} in the candidate, {base_failed} of {base_of} in the base: {}",
            reason.unwrap_or_default()
        );
        let (p, verdict) = match worse <= better {
            true => (worse, Verdict::Regressed),
            false => (better, Verdict::Improved),
        };
        let corrected = (p * tests).min(1.0);
        if corrected > policy.errors.failures {
            failing.notes.push(format!("`{}`: {counted}", pair.id));
            continue;
        }
        let share = |(failed, of): (u64, u64)| failed as f64 / of as f64;
        let ratio = share(counts[1]) / share(counts[0]);
        let count = |boots: u64| u32::try_from(boots).unwrap_or(u32::MAX);
        let row = |workload: String| VerdictRow {
            cell: pair.id.clone(),
            workload,
            aspect: Aspect::Outcome.name().to_owned(),
            figure: Some("failed_share".to_owned()),
            verdict: verdict.name().to_owned(),
            ratio: ratio.is_finite().then_some(ratio),
            low: None,
            high: None,
            p: Some(p),
            p_corrected: Some(corrected),
            detectable_ratio: None,
            boots: [count(base_of), count(of)],
            boots_needed: None,
            gates: true,
            accepted: None,
            reason: counted.clone(),
        };
        let named = alone.map_or_else(|| workloads(pair), |workload| vec![workload.to_owned()]);
        failing.decisions.extend(named.into_iter().map(|workload| Decision {
            cell: pair.cell.clone(),
            aspect: Aspect::Outcome,
            verdict,
            harm: None,
            cleared: false,
            row: row(workload),
        }));
    }
    failing
}

/// Workloads that fail in boots of which others are measured.
fn failing_alone<'a>(pair: &Pair<'a>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for record in pair.base.measured.iter().chain(&pair.candidate.measured) {
        for failed in &record.failed {
            if !names.contains(&failed.workload.as_str()) {
                names.push(&failed.workload);
            }
        }
    }
    names
}

/// Boots of a side that fail, or that leave nothing of a workload.
fn failures(half: &Half<'_>, workload: Option<&str>) -> u64 {
    let lack = |name: &str| half.measured.iter().filter(|boot| boot.lacks(name)).count();
    (half.failures.len() + workload.map_or(0, lack)) as u64
}

/// Why the first of them does.
fn reason<'a>(half: &Half<'a>, workload: Option<&str>) -> Option<&'a str> {
    let of_workload = |name: &str| {
        let mut failed = half.measured.iter().flat_map(|boot| &boot.failed);
        failed.find(|failed| failed.workload == name).map(|failed| failed.reason.as_str())
    };
    workload.and_then(of_workload).or_else(|| half.failures.first().copied())
}
