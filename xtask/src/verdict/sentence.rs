//! The whole in a sentence: what regressed, where, by how much; what is better only where nothing is worse beside it. Language of factors ("all 12 bridge cells") only where every cell that
//! was compared and has that value agrees; a single cell is named.

use std::collections::{BTreeMap, BTreeSet};

use super::{Aspect, Decision, Gate, Policy, Verdict};
use crate::matrix::{Axis, Cell};
use crate::record::results::Overall;
use crate::report::{interval, ratio};

/// Groups of regressions that are told; the rest is counted.
const GROUPS: usize = 3;

/// Cells of a group that are named where no factor tells them.
const NAMED: usize = 3;

/// What is told.
pub(super) struct Matter<'a> {
    pub(super) decisions: &'a [Decision],
    pub(super) gate: &'a Gate,
    /// Cells of which some boots fail, and not certainly more often on one side.
    pub(super) failing: &'a BTreeSet<String>,
    /// Which boots were planned and left no record, by side.
    pub(super) incomplete: &'a [String],
    pub(super) policy: &'a Policy,
}

/// Tells it: what got worse first, then what may have, what is not there and what failed, and only then what is better, of cells in which nothing got
/// worse.
pub(super) fn overall(of: &Matter<'_>) -> Overall {
    let Matter { decisions, gate, failing, incomplete, policy } = *of;
    let gating = || decisions.iter().filter(|decision| decision.row.gates);
    // What a gate has cleared is open for a change smaller than it is to find, and for nothing else.
    let is_cleared =
        |decision: &&Decision| decision.cleared && decision.verdict == Verdict::Inconclusive;
    let count = |verdict| {
        let open = gating().filter(|decision| !is_cleared(decision));
        open.filter(|decision| decision.verdict == verdict).count()
    };
    let cleared = gating().filter(is_cleared).count();
    let flags: Vec<&Decision> = decisions.iter().filter(|decision| decision.flags()).collect();
    let cells: BTreeSet<&Cell> = decisions.iter().map(|decision| &decision.cell).collect();
    let accepted = decisions.iter().filter(|decision| decision.row.accepted.is_some()).count();
    let Better { plain, mixed } = Better::of(decisions);
    let [missing, inconclusive, equivalent] =
        [Verdict::Missing, Verdict::Inconclusive, Verdict::Equivalent].map(count);
    let verdict = match () {
        () if !flags.is_empty() => "regressed",
        () if missing + inconclusive > 0 => "inconclusive",
        () if !plain.is_empty() => "improved",
        () if !mixed.is_empty() => "inconclusive",
        () if equivalent + cleared + accepted > 0 => "equivalent",
        () => "inconclusive",
    };
    let mut parts = vec![head(&flags, decisions, &cells)];
    parts.extend(informing(decisions));
    parts.extend(suspected(decisions, policy));
    parts.extend(contrary(decisions));
    parts.extend(lacking(decisions));
    parts.extend(
        (!incomplete.is_empty()).then(|| format!("incomplete: {}", incomplete.join(" and "))),
    );
    if !failing.is_empty() {
        parts.push(format!("some boots of {} fail", counted(failing.len(), "cell")));
    }
    if !plain.is_empty() {
        parts.push(format!("improved: {}", grouped(&plain, decisions)));
    }
    if !mixed.is_empty() {
        let beside: BTreeSet<&Cell> = mixed.iter().map(|decision| &decision.cell).collect();
        let told = cells_told(&beside, decisions);
        parts.push(format!("better in some figures and worse in others: {told}"));
    }
    let mut rest = Vec::new();
    for (count, what) in [
        (equivalent, "equivalent"),
        (cleared, "without a sign of what the policy is to find"),
        (inconclusive, "inconclusive"),
        (missing, "missing"),
    ] {
        if count > 0 {
            rest.push(format!("{count} {what}"));
        }
    }
    if !rest.is_empty() {
        parts.push(format!("of {} verdicts that gate {}", gating().count(), rest.join(", ")));
    }
    if accepted > 0 {
        parts.push(format!("{accepted} accepted by the policy"));
    }
    if decisions.iter().any(|decision| decision.instruments_differ) {
        parts.push(
            "the sides were measured on different instruments (--allow-different-host)".to_owned(),
        );
    }
    match gate {
        Gate::Gates => {}
        Gate::Informs { why } => parts.push(format!("figures inform and do not gate: {why}")),
        Gate::Void { why } => parts.insert(0, format!("void: {why}")),
        Gate::Uncalibrated { why } => parts.push(format!("does not gate: {why}")),
    }
    let may_not = match gate {
        Gate::Void { .. } => true,
        Gate::Uncalibrated { .. } => !flags.is_empty(),
        Gate::Gates | Gate::Informs { .. } => false,
    };
    let verdict = if may_not { "inconclusive" } else { verdict };
    Overall { verdict: verdict.to_owned(), sentence: parts.join("; ") }
}

/// Improvements that gate.
struct Better<'a> {
    /// Of cells in which nothing got worse.
    plain: Vec<&'a Decision>,
    /// Of the others: a MAD that fell is no good news where stalls came.
    mixed: Vec<&'a Decision>,
}

impl<'a> Better<'a> {
    fn of(decisions: &'a [Decision]) -> Better<'a> {
        let better = decisions.iter().filter(|d| d.row.gates && d.verdict == Verdict::Improved);
        let (mixed, plain) = better.partition(|decision| decision.row.beside_worse);
        Better { plain, mixed }
    }
}

/// What looks worse and was not flagged: suspects, and whatever stands beside something better. A cell of which something was flagged is told already.
fn suspected(decisions: &[Decision], policy: &Policy) -> Option<String> {
    let cells = |is: &dyn Fn(&Decision) -> bool| -> BTreeSet<&Cell> {
        decisions.iter().filter(|d| is(d)).map(|decision| &decision.cell).collect()
    };
    let flagged = cells(&|decision| decision.flags());
    let better = cells(&|decision| decision.row.gates && decision.verdict == Verdict::Improved);
    let told: Vec<&Decision> = decisions
        .iter()
        .filter(|d| d.row.gates && !d.cleared && d.aspect != Aspect::Outcome)
        .filter(|decision| decision.looks_worse(policy) && !flagged.contains(&decision.cell))
        .filter(|decision| {
            let suspect = decision.row.p.is_some_and(|p| p <= policy.errors.screen);
            suspect || better.contains(&decision.cell)
        })
        .collect();
    (!told.is_empty())
        .then(|| format!("worse, but not told from chance: {}", grouped(&told, decisions)))
}

/// Figures that speak against what is called improved.
fn contrary(decisions: &[Decision]) -> Option<String> {
    let told = decisions.iter().filter_map(|decision| {
        let against = decision.contrary.as_deref()?;
        Some(format!("{} {against} in {}", decision.row.workload, decision.row.cell))
    });
    let told: Vec<String> = told.collect();
    let more = match told.len().saturating_sub(GROUPS) {
        0 => String::new(),
        more => format!(" and in {}", counted(more, "more cell")),
    };
    let named = told.iter().take(GROUPS).map(String::as_str).collect::<Vec<_>>().join(", ");
    (!told.is_empty()).then(|| format!("rose while the MAD fell: {named}{more}"))
}

/// What one side lacks.
fn lacking(decisions: &[Decision]) -> Option<String> {
    let told = decisions.iter().filter(|d| d.verdict == Verdict::Missing);
    let cells: BTreeSet<&Cell> = told.map(|decision| &decision.cell).collect();
    (!cells.is_empty()).then(|| format!("missing: {}", cells_told(&cells, decisions)))
}

/// `2 of 24 cells regressed: ...`, or that none did.
fn head(flags: &[&Decision], decisions: &[Decision], cells: &BTreeSet<&Cell>) -> String {
    if cells.is_empty() {
        return "nothing was compared".to_owned();
    }
    let regressed: BTreeSet<&Cell> = flags.iter().map(|decision| &decision.cell).collect();
    let all = counted(cells.len(), "cell");
    if regressed.is_empty() {
        return format!("no regression in {all}");
    }
    format!("{} of {all} regressed: {}", regressed.len(), grouped(flags, decisions))
}

/// Regressions that only inform.
fn informing(decisions: &[Decision]) -> Option<String> {
    let told: Vec<&Decision> = decisions
        .iter()
        .filter(|decision| decision.verdict == Verdict::Regressed && !decision.row.gates)
        .collect();
    (!told.is_empty()).then(|| format!("only to inform: {}", grouped(&told, decisions)))
}

/// `tcp-rr dispersion x1.52 in all 12 bridge cells, ...`: aspects and workloads that concern the same cells are told together, the largest
/// harm first.
fn grouped(told: &[&Decision], decisions: &[Decision]) -> String {
    let mut by_kind: BTreeMap<(&str, Aspect), Vec<&Decision>> = BTreeMap::new();
    for decision in told {
        by_kind.entry((&decision.row.workload, decision.aspect)).or_default().push(decision);
    }
    let mut by_cells: BTreeMap<BTreeSet<&Cell>, Vec<Vec<&Decision>>> = BTreeMap::new();
    for group in by_kind.into_values() {
        by_cells
            .entry(group.iter().map(|decision| &decision.cell).collect())
            .or_default()
            .push(group);
    }
    let size = |group: &Vec<&Decision>| {
        // What fails altogether is worse than any figure.
        let harms = group.iter().map(|decision| decision.harm.map_or(f64::MAX, f64::abs));
        harms.fold(0.0, f64::max)
    };
    let mut groups: Vec<(BTreeSet<&Cell>, Vec<Vec<&Decision>>)> = by_cells.into_iter().collect();
    for (_, kinds) in &mut groups {
        kinds.sort_by(|a, b| size(b).total_cmp(&size(a)));
    }
    groups.sort_by(|a, b| size(&b.1[0]).total_cmp(&size(&a.1[0])));
    let mut parts: Vec<String> = groups
        .iter()
        .take(GROUPS)
        .map(|(cells, kinds)| {
            let kinds: Vec<String> = kinds.iter().map(|kind| kind_told(kind)).collect();
            format!("{} in {}", kinds.join(" and "), cells_told(cells, decisions))
        })
        .collect();
    if groups.len() > GROUPS {
        let left: BTreeSet<&Cell> =
            groups[GROUPS..].iter().flat_map(|(cells, _)| cells.iter().copied()).collect();
        parts.push(format!("and more in {}", cells_told(&left, decisions)));
    }
    parts.join(", ")
}

/// `tcp-rr dispersion ×1.52 [1.40–1.65]`, or the range of several cells.
fn kind_told(group: &[&Decision]) -> String {
    let Some(first) = group.first() else { return String::new() };
    let what = format!("{} {}", first.row.workload, first.aspect.name());
    if first.aspect == Aspect::Outcome {
        let of = if first.row.workload == "*" { "" } else { &first.row.workload };
        let verb = match (first.verdict, first.row.figure.is_some()) {
            (Verdict::Regressed, false) => "fails",
            (Verdict::Regressed, true) => "fails more often",
            (_, true) => "fails less often",
            (_, false) => "fails no longer",
        };
        return format!("{of} {verb}").trim().to_owned();
    }
    let mut ratios: Vec<f64> = group.iter().filter_map(|decision| decision.row.ratio).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    match (&ratios[..], first.row.low.zip(first.row.high)) {
        ([], _) => what,
        ([one], Some((low, high))) => format!("{what} {} {}", ratio(*one), interval(low, high)),
        ([one], None) => format!("{what} {}", ratio(*one)),
        ([least, .., most], _) => format!("{what} {} to {}", ratio(*least), ratio(*most)),
    }
}

/// Cells in words: a factor where it holds exactly, else names.
fn cells_told(cells: &BTreeSet<&Cell>, decisions: &[Decision]) -> String {
    // What one side lacks was not measured: it neither agrees nor disagrees.
    let lacking = |decision: &&Decision| {
        decision.aspect == Aspect::Outcome
            && matches!(decision.verdict, Verdict::Missing | Verdict::Inconclusive)
    };
    let compared: BTreeSet<&Cell> =
        decisions.iter().filter(|d| !lacking(d)).map(|decision| &decision.cell).collect();
    if let [only] = cells.iter().collect::<Vec<_>>()[..] {
        return only.id();
    }
    if cells.len() == compared.len() {
        return format!("all {}", counted(cells.len(), "cell"));
    }
    let mut left = cells.clone();
    let mut parts = Vec::new();
    while let Some(Factor { axis, value, with }) = factor(&left, cells, &compared) {
        let value = match axis {
            Axis::Kernel | Axis::HostKernel => format!("{axis} {value}"),
            _ => value.to_owned(),
        };
        parts.push(format!("all {} {value} cells", with.len()));
        left.retain(|cell| !with.contains(cell));
    }
    parts.extend(left.iter().take(NAMED).map(|cell| cell.id()));
    if left.len() > NAMED {
        parts.push(format!("{} more", counted(left.len() - NAMED, "cell")));
    }
    parts.join(" and ")
}

/// Cells that share a value of an axis.
struct Factor<'a> {
    axis: Axis,
    value: &'a str,
    with: BTreeSet<&'a Cell>,
}

/// The value of an axis all of whose compared cells are among `cells`, and which tells most of those that are left, at least two.
fn factor<'a>(
    left: &BTreeSet<&'a Cell>,
    cells: &BTreeSet<&'a Cell>,
    compared: &BTreeSet<&'a Cell>,
) -> Option<Factor<'a>> {
    let mut best: Option<(usize, Factor<'a>)> = None;
    for axis in Axis::ALL {
        let values: BTreeSet<&str> = left.iter().map(|cell| cell.on(axis)).collect();
        for value in values {
            let with: BTreeSet<&Cell> =
                compared.iter().copied().filter(|cell| cell.on(axis) == value).collect();
            let tells = with.intersection(left).count();
            let agrees = with.is_subset(cells);
            if agrees && tells >= 2 && best.as_ref().is_none_or(|(most, _)| tells > *most) {
                best = Some((tells, Factor { axis, value, with }));
            }
        }
    }
    best.map(|(_, found)| found)
}

/// `1 cell`, `3 cells`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
