//! What a contrast did, in words: what got worse first, by figure, and what got better only where nothing else of the same two cells got worse.

use std::collections::{BTreeMap, BTreeSet};

use super::super::contrast::{EMULATED, STALL, is_clear, is_clear_alone};
use crate::record::results::ContrastResult;
use crate::report::{interval, ratio};

/// What is told of groups of figures, and of the figures of each; the rest is counted.
struct Room {
    groups: usize,
    figures: usize,
}

/// Of what is worse.
const WORSE: Room = Room { groups: 3, figures: 4 };

/// Of what is better.
const BETTER: Room = Room { groups: 1, figures: 3 };

/// The figure of a location.
const MEDIAN: &str = "median";

/// Two cells, by id.
type Pair<'a> = [&'a str; 2];

/// A row that says something: how much worse, as a logarithm, negative where it is better.
struct Change<'a> {
    row: &'a ContrastResult,
    harm: f64,
    /// Of rates: how much the rate itself changed, which its spread goes along with.
    rate: Option<f64>,
}

/// `worse in 1 of 3 pairs, where other figures are better: tcp-rr SD ×1.47 [1.36–1.59] in CELL; better in 2 of 3 pairs with nothing worse: ...`. Of several
/// pairs, those that were emulated are told only where no other is. What is told is clear of chance among all `tests` of the run. `is_rate` says of which
/// workloads a higher median is better.
pub(super) fn told(
    rows: &[&ContrastResult],
    tests: usize,
    is_rate: impl Fn(&str) -> bool,
) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    // Of these it must hold, to hold of all.
    let all: BTreeSet<Pair<'_>> = rows.iter().map(|row| pair(row)).collect();
    let emulated =
        |row: &&ContrastResult| row.note.as_deref().is_some_and(|note| note.contains(EMULATED));
    let rows: Vec<&ContrastResult> =
        rows.iter().copied().filter(|row| row.ratio.is_some()).collect();
    let rows = preferred(rows, |row| !emulated(row));
    let pairs: BTreeSet<Pair<'_>> = rows.iter().map(|row| pair(row)).collect();
    if pairs.is_empty() {
        return Some("no figure of both cells".to_owned());
    }
    // Of one boot a side nothing has an interval: all that there is to tell are the ratios.
    let look = rows.iter().all(|row| row.low.is_none());
    let workloads: BTreeSet<&str> = rows.iter().map(|row| &*row.workload).collect();
    let rates: BTreeSet<&str> = workloads.into_iter().filter(|name| is_rate(name)).collect();
    let medians = rows.iter().filter(|row| row.figure == MEDIAN);
    let medians: BTreeMap<(Pair<'_>, &str), f64> = medians
        .filter(|row| rates.contains(&*row.workload))
        .filter_map(|row| Some(((pair(row), &*row.workload), row.ratio?)))
        .collect();
    let rate = |row: &ContrastResult| medians.get(&(pair(row), &*row.workload)).copied();
    let changes = rows.iter().filter_map(|row| change(row, rate(row), look));
    let (worse, others): (Vec<Change<'_>>, Vec<Change<'_>>) =
        changes.partition(|change| change.harm > 0.0);
    let spoilt: BTreeSet<Pair<'_>> = worse.iter().map(|change| pair(change.row)).collect();
    let (mixed, better): (Vec<Change<'_>>, Vec<Change<'_>>) =
        others.into_iter().partition(|c| spoilt.contains(&pair(c.row)));
    let mixed: BTreeSet<Pair<'_>> = mixed.iter().map(|change| pair(change.row)).collect();
    let calm: BTreeSet<Pair<'_>> = better.iter().map(|change| pair(change.row)).collect();
    let of = |count: usize| match (count, all.len()) {
        (1, 1) => String::new(),
        (count, all) if count == all => format!(" in all {all} pairs"),
        (count, all) => format!(" in {count} of {all} pairs"),
    };
    let mut parts = Vec::new();
    if !worse.is_empty() {
        let aside = match mixed.len() {
            0 => "",
            _ => ", where other figures are better",
        };
        parts.push(format!("worse{}{aside}: {}", of(spoilt.len()), grouped(&worse, &WORSE)));
    }
    if !better.is_empty() {
        let beside = if spoilt.is_empty() { "" } else { " with nothing worse" };
        parts.push(format!("better{}{beside}: {}", of(calm.len()), grouped(&better, &BETTER)));
    }
    let any = !parts.is_empty();
    if !any {
        let place = match (pairs.len(), all.len()) {
            (1, 1) => String::new(),
            (count, all) if count == all => format!(" in any of {all} pairs"),
            (count, all) => format!(" in {count} of {all} pairs"),
        };
        parts.push(format!("nothing clearly worse or better{place}"));
    }
    let alone = rows.iter().filter(|row| is_clear_alone(row) && !is_clear(row)).count();
    match (alone, any) {
        _ if look => {
            parts.insert(0, "too few boots for intervals".to_owned());
            parts.iter_mut().skip(1).for_each(|part| *part = format!("by ratios alone {part}"));
        }
        (_, true) if tests > 1 => parts.push(format!("corrected for all {tests} comparisons")),
        (1, false) => parts.push(format!(
            "1 figure differs by its own 95 % interval, but not when corrected for all {tests} comparisons"
        )),
        (2.., false) => parts.push(format!(
            "{alone} figures differ by their own 95 % intervals, but not when corrected for all {tests} comparisons"
        )),
        _ => {}
    }
    if rows.iter().any(emulated) {
        parts.push("emulated".to_owned());
    }
    Some(parts.join("; "))
}

fn pair(row: &ContrastResult) -> Pair<'_> {
    [&row.from_cell, &row.to_cell]
}

/// What a row says; nothing where it is not clear of chance. Without an interval it may be worse and is never better, unless nothing has one.
fn change(row: &ContrastResult, rate: Option<f64>, look: bool) -> Option<Change<'_>> {
    let log = row.ratio.filter(|ratio| *ratio > 0.0)?.ln();
    // A higher rate is better; of anything else, its own spread included, less is.
    let harm = if rate.is_some() && row.figure == MEDIAN { -log } else { log };
    let clear = match (row.low, row.high) {
        (Some(_), Some(_)) => is_clear(row),
        _ => look || harm > 0.0 && row.aspect == STALL,
    };
    (clear && harm != 0.0).then_some(Change { row, harm, rate })
}

/// `tcp-rr SD ×1.47 [1.36–1.59] and tcp-rr stall ×5.26 (no interval) in CELL, ...`: figures that concern the same pairs are told together, the
/// largest change first.
fn grouped(changes: &[Change<'_>], room: &Room) -> String {
    let mut by_figure: BTreeMap<(&str, &str), Vec<&Change<'_>>> = BTreeMap::new();
    for change in changes {
        by_figure.entry((&change.row.workload, &change.row.figure)).or_default().push(change);
    }
    let mut by_pairs: BTreeMap<BTreeSet<Pair<'_>>, Vec<Vec<&Change<'_>>>> = BTreeMap::new();
    for figure in by_figure.into_values() {
        let pairs = figure.iter().map(|change| pair(change.row)).collect();
        by_pairs.entry(pairs).or_default().push(figure);
    }
    // What has no interval never leads.
    let is_bare = |figure: &Vec<&Change<'_>>| figure.iter().all(|of| of.row.low.is_none());
    let size = |figure: &Vec<&Change<'_>>| {
        figure.iter().map(|change| change.harm.abs()).fold(0.0, f64::max)
    };
    let mut groups: Vec<(BTreeSet<Pair<'_>>, Vec<Vec<&Change<'_>>>)> =
        by_pairs.into_iter().collect();
    for (_, figures) in &mut groups {
        figures
            .sort_by(|a, b| is_bare(a).cmp(&is_bare(b)).then_with(|| size(b).total_cmp(&size(a))));
    }
    // What is seen in most pairs first, then what changed most.
    groups.sort_by(|a, b| {
        let by_size = size(&b.1[0]).total_cmp(&size(&a.1[0]));
        is_bare(&a.1[0]).cmp(&is_bare(&b.1[0])).then(b.0.len().cmp(&a.0.len())).then(by_size)
    });
    let mut left: usize = groups.iter().map(|(_, figures)| figures.len()).sum();
    let mut parts = Vec::new();
    for (pairs, figures) in groups.iter().take(room.groups) {
        let told: Vec<String> =
            figures.iter().take(room.figures).map(|figure| figure_told(figure)).collect();
        left -= told.len();
        let place = match pairs.first() {
            Some([_, to]) if pairs.len() == 1 => (*to).to_owned(),
            _ => format!("{} pairs", pairs.len()),
        };
        parts.push(format!("{} in {place}", joined(&told)));
    }
    match left {
        0 => {}
        1 => parts.push("and one figure more".to_owned()),
        left => parts.push(format!("and {left} figures more")),
    }
    parts.join(", ")
}

/// `tcp-rr SD ×1.47 [1.36–1.59]`, or the range of several pairs.
fn figure_told(changes: &[&Change<'_>]) -> String {
    let Some(Change { row: first, rate, .. }) = changes.first() else { return String::new() };
    let figure = match first.figure.as_str() {
        MEDIAN if rate.is_some() => "rate",
        "mad" => "MAD",
        "sd_within" => "SD",
        "jitter" => "tail",
        "stall_share" => "stall",
        other => other,
    };
    let what = format!("{} {figure}", first.workload);
    let mut ratios: Vec<f64> = changes.iter().filter_map(|change| change.row.ratio).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let beside = rate.filter(|_| first.figure != MEDIAN);
    let beside = beside.map_or(String::new(), |rate| format!(" at a rate {}", ratio(rate)));
    match (&ratios[..], first.low.zip(first.high)) {
        ([one], Some((low, high))) => {
            format!("{what} {} {}{beside}", ratio(*one), interval(low, high))
        }
        ([one], None) => format!("{what} {} (no interval){beside}", ratio(*one)),
        ([least, .., most], _) => match [ratio(*least), ratio(*most)] {
            [least, most] if least == most => format!("{what} {least}"),
            [least, most] => format!("{what} {least} to {most}"),
        },
        ([], _) => what,
    }
}

/// `a, b and c`.
fn joined(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
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
