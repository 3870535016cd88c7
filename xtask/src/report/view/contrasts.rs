//! Ratios: what a contrast changed inside the run, and verdicts against a base.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::source::Source;
use crate::matrix::Axis;
use crate::record::figures::contrast::is_clear;
use crate::record::results::{BESIDE_WORSE, CellResult, ContrastResult, VerdictRow};
use crate::report::format::{interval, probability, ratio};
use crate::report::text::anchor;

/// The figures that are compared, in the order in which they are read, and the heads of their columns.
const COLUMNS: [(&str, &str); 5] = [
    ("median", "location (median)"),
    ("mad", "dispersion (MAD)"),
    ("sd_within", "dispersion (SD)"),
    ("jitter", "tail (p99 - p50)"),
    ("stall_share", "stall"),
];

/// Rows of a table of ratios; all are in `results.json`.
const ROWS: usize = 300;

/// One contrast of the matrix.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    name: String,
    axis: String,
    from: String,
    to: String,
    /// Heads of the columns of ratios.
    columns: Vec<String>,
    rows: Vec<Pair>,
    more: usize,
    /// How many comparisons its p-values are corrected for: those of all groups.
    tests: usize,
}

/// Two cells and a workload.
#[derive(Debug, Serialize)]
struct Pair {
    name: String,
    from_cell: String,
    to_cell: String,
    to_anchor: String,
    workload: String,
    emulated: bool,
    boots: String,
    ratios: Vec<Option<Ratio>>,
    notes: Vec<String>,
    /// The largest and the smallest harm over the figures.
    #[serde(skip)]
    harm: (f64, f64),
}

/// to / from of one figure.
#[derive(Debug, Serialize)]
struct Ratio {
    figure: String,
    ratio: Option<String>,
    interval: Option<String>,
    /// `better`, `worse`, `mixed` where it is better in a pair of cells that is worse elsewhere, or `unclear` where it is not clear of chance.
    class: &'static str,
    /// Whether stalls came where there were none, or few boots tell of them: worse, without an interval.
    #[serde(skip)]
    stalled: bool,
}

/// A decision against a base.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    cell: String,
    anchor: String,
    workload: String,
    aspect: String,
    verdict: String,
    ratio: Option<String>,
    interval: Option<String>,
    p: Option<String>,
    detectable: Option<String>,
    reason: String,
    /// `accepted` or `informational` where it cannot make the comparison fail; or that its cell is worse elsewhere.
    aside: &'static str,
    boots: String,
    emulated: bool,
}

/// The cell compared from, the cell compared to, the workload.
type PairKey<'a> = (&'a str, &'a str, &'a str);

/// The axis of a contrast of the matrix.
pub(super) fn axis_of(source: &Source<'_>, contrast: &str) -> Option<Axis> {
    source.run.matrix.contrasts.iter().find(|known| known.name == contrast).map(|known| known.axis)
}

/// All contrasts; in each the pair with the largest harm first, then the largest gain; emulated pairs last.
pub(super) fn groups(source: &Source<'_>) -> Vec<Group> {
    let mut by_name: BTreeMap<&str, BTreeMap<PairKey<'_>, Vec<&ContrastResult>>> = BTreeMap::new();
    for row in &source.results.contrasts {
        let pair = (row.from_cell.as_str(), row.to_cell.as_str(), row.workload.as_str());
        by_name.entry(&row.name).or_default().entry(pair).or_default().push(row);
    }
    let tests = source.results.contrasts.iter().filter(|row| row.p.is_some()).count();
    let named = by_name.into_iter().map(|(name, pairs)| {
        let known = source.run.matrix.contrasts.iter().find(|known| known.name == name);
        let mut columns = COLUMNS.to_vec();
        for row in pairs.values().flatten() {
            if !columns.iter().any(|(figure, _)| *figure == row.figure) {
                columns.push((&row.figure, &row.figure));
            }
        }
        let axis = known.map(|known| known.axis);
        let mut rows: Vec<_> = pairs
            .into_iter()
            .map(|(pair, rows)| Pair::new(source, axis, pair, &rows, &columns))
            .collect();
        take_praise(&mut rows);
        rows.sort_by(|a, b| {
            let by_harm = b.harm.0.total_cmp(&a.harm.0).then(a.harm.1.total_cmp(&b.harm.1));
            a.emulated.cmp(&b.emulated).then(by_harm)
        });
        let more = rows.len().saturating_sub(ROWS);
        rows.truncate(ROWS);
        Group {
            name: name.to_owned(),
            axis: axis.map_or(String::new(), |axis| axis.to_string()),
            from: known.map_or_else(|| "from".to_owned(), |known| known.from.clone()),
            to: known.map_or_else(|| "to".to_owned(), |known| known.to.clone()),
            columns: columns.iter().map(|(_, head)| (*head).to_owned()).collect(),
            rows,
            more,
            tests,
        }
    });
    named.collect()
}

impl Pair {
    fn new(
        source: &Source<'_>,
        axis: Option<Axis>,
        (from_cell, to_cell, workload): PairKey<'_>,
        rows: &[&ContrastResult],
        columns: &[(&str, &str)],
    ) -> Pair {
        let to = source.cell(to_cell).map(|known| known.result);
        let better =
            to.and_then(|cell| Source::workload(cell, workload)).map(|w| w.better.as_str());
        let judged: Vec<_> = columns
            .iter()
            .map(|(figure, _)| rows.iter().find(|row| row.figure == *figure).copied())
            .collect();
        let harms = judged.iter().flatten().map(|row| sure_harm(row, better));
        let harm =
            harms.fold((0.0, 0.0), |(most, least), h| (f64::max(most, h), f64::min(least, h)));
        let mut notes: Vec<String> = rows.iter().filter_map(|row| row.note.clone()).collect();
        notes.sort();
        notes.dedup();
        let boots = rows.first().map_or([0, 0], |row| row.boots);
        Pair {
            name: to.map_or(to_cell.to_owned(), |cell: &CellResult| {
                source.short_without(&cell.axes, axis)
            }),
            from_cell: from_cell.to_owned(),
            to_cell: to_cell.to_owned(),
            to_anchor: anchor(to_cell),
            workload: workload.to_owned(),
            emulated: source.emulated(from_cell) || source.emulated(to_cell),
            boots: format!("{} + {}", boots[0], boots[1]),
            ratios: judged.into_iter().map(|row| row.map(|row| Ratio::new(row, better))).collect(),
            notes,
            harm,
        }
    }

    /// Whether something of it is worse, a stall beside none included, which has no interval.
    fn is_worse(&self) -> bool {
        let came = |of: &Ratio| of.stalled;
        self.harm.0 > 0.0 || self.ratios.iter().flatten().any(came)
    }
}

/// How much worse `to` is, as a natural logarithm: negative where it is better.
fn harm(row: &ContrastResult, ratio: f64, better: Option<&str>) -> f64 {
    let log = ratio.max(1e-12).ln();
    // A level follows the workload's direction; a spread or a share of stalls is always better when smaller.
    let spread =
        ["sd_", "mad", "iqr", "jitter", "stall"].iter().any(|start| row.figure.starts_with(start));
    if better == Some("higher") && !spread { -log } else { log }
}

/// The harm of the end of the interval that is nearer to no change; 0 where it is not clear of chance among all that is told.
fn sure_harm(row: &ContrastResult, better: Option<&str>) -> f64 {
    match (row.low, row.high) {
        _ if !is_clear(row) => 0.0,
        (Some(low), Some(_)) if low > 1.0 => harm(row, low, better),
        (Some(_), Some(high)) if high < 1.0 => harm(row, high, better),
        _ => 0.0,
    }
}

/// Takes praise from pairs of cells of which something is worse, whatever the workload.
fn take_praise(pairs: &mut [Pair]) {
    let key = |pair: &Pair| [pair.from_cell.clone(), pair.to_cell.clone()];
    let worse: BTreeSet<[String; 2]> =
        pairs.iter().filter(|pair| pair.is_worse()).map(key).collect();
    for pair in pairs.iter_mut().filter(|pair| worse.contains(&key(pair))) {
        for ratio in pair.ratios.iter_mut().flatten().filter(|ratio| ratio.class == "better") {
            ratio.class = "mixed";
        }
    }
}

impl Ratio {
    fn new(row: &ContrastResult, better: Option<&str>) -> Ratio {
        let class = match sure_harm(row, better) {
            harm if harm > 0.0 => "worse",
            harm if harm < 0.0 => "better",
            _ => "unclear",
        };
        Ratio {
            figure: row.figure.clone(),
            ratio: row.ratio.map(ratio),
            interval: row.low.zip(row.high).map(|(low, high)| interval(low, high)),
            class,
            stalled: row.aspect == "stall"
                && row.low.is_none()
                && row.ratio.is_some_and(|ratio| ratio > 1.0),
        }
    }
}

/// Verdicts that a reader looks at together.
#[derive(Debug, Serialize)]
pub(super) struct VerdictGroup {
    title: &'static str,
    /// Whether it is open at first: something changed.
    open: bool,
    count: usize,
    rows: Vec<Verdict>,
}

/// Groups of verdicts, what must be acted on first: their titles, words, whether they hold what is better in a cell that is worse elsewhere, and the most
/// rows that are shown.
const GROUPS: [(&str, &[&str], bool, usize); 4] = [
    ("What changed", &["regressed", "missing", "improved"], false, ROWS),
    ("What cannot be told", &["inconclusive"], false, 100),
    ("What did not change", &["equivalent"], false, 60),
    ("Better figures of cells that are worse elsewhere", &["improved"], true, 60),
];

/// All verdicts, in each group the surest to be acted on first, then the largest change.
pub(super) fn verdicts(source: &Source<'_>) -> Vec<VerdictGroup> {
    let groups = GROUPS.into_iter().map(|(title, words, mixed, most)| {
        let fits =
            |row: &&VerdictRow| words.contains(&row.verdict.as_str()) && row.beside_worse == mixed;
        let mut rows: Vec<_> = source.results.verdicts.iter().filter(fits).collect();
        by_urgency(&mut rows);
        let count = rows.len();
        let rows = rows.into_iter().take(most).map(|row| Verdict::new(source, row)).collect();
        VerdictGroup { title, open: words.contains(&"regressed"), count, rows }
    });
    groups.filter(|group| group.count > 0).collect()
}

/// The verdicts of one cell.
pub(super) fn of_cell(source: &Source<'_>, cell: &str) -> Vec<Verdict> {
    let mut rows = source.verdicts(cell).to_vec();
    by_urgency(&mut rows);
    rows.into_iter().map(|row| Verdict::new(source, row)).collect()
}

/// The verdict of a cell to look at first: of those that gate, where there are some and they don't praise what is worse elsewhere. Of equal words the
/// one with the largest change stands for the cell, or where nothing changed the one that saw least.
pub(super) fn worst<'a>(source: &Source<'a>, cell: &str) -> Option<&'a VerdictRow> {
    let gates = |row: &VerdictRow| row.gates && row.accepted.is_none();
    let mut rows = source.verdicts(cell).to_vec();
    let mixed = rows.iter().any(|row| row.beside_worse);
    if !mixed && rows.iter().any(|row| gates(row)) {
        rows.retain(|row| gates(row));
    }
    let size = |row: &VerdictRow| {
        let told = match row.verdict.as_str() {
            "equivalent" | "inconclusive" => row.detectable_ratio,
            _ => row.ratio,
        };
        told.filter(|told| *told > 0.0).map_or(0.0, |told| told.ln().abs())
    };
    rows.into_iter()
        .min_by(|a, b| rank(&a.verdict).cmp(&rank(&b.verdict)).then(size(b).total_cmp(&size(a))))
}

/// Words of verdicts, the one to look at first in front.
fn rank(word: &str) -> usize {
    const ORDER: [&str; 5] = ["regressed", "missing", "inconclusive", "improved", "equivalent"];
    ORDER.iter().position(|known| *known == word).unwrap_or(ORDER.len())
}

/// What gates before what informs, the worse word before the better, the larger change before the smaller.
fn by_urgency(rows: &mut [&VerdictRow]) {
    let size = |r: Option<f64>| r.filter(|r| *r > 0.0).map_or(0.0, |r| r.ln().abs());
    rows.sort_by(|a, b| {
        let key = |row: &VerdictRow| (rank(&row.verdict), aside(row));
        key(a).cmp(&key(b)).then(size(b.ratio).total_cmp(&size(a.ratio)))
    });
}

impl Verdict {
    fn new(source: &Source<'_>, row: &VerdictRow) -> Verdict {
        Verdict {
            cell: row.cell.clone(),
            anchor: anchor(&row.cell),
            workload: row.workload.clone(),
            aspect: row.aspect.clone(),
            verdict: row.verdict.clone(),
            ratio: row.ratio.map(ratio),
            interval: row.low.zip(row.high).map(|(low, high)| interval(low, high)),
            p: row.p_corrected.or(row.p).map(probability),
            detectable: row.detectable_ratio.map(ratio),
            reason: row.reason.clone(),
            aside: aside(row),
            boots: format!("{} + {}", row.boots[0], row.boots[1]),
            emulated: source.emulated(&row.cell),
        }
    }
}

/// Why a row cannot make the comparison fail, or is no good news.
pub(super) fn aside(row: &VerdictRow) -> &'static str {
    match (&row.accepted, row.gates) {
        _ if row.beside_worse => BESIDE_WORSE,
        (Some(_), _) => "accepted",
        (None, false) => "informational",
        (None, true) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(figure: &str, low: f64, high: f64) -> ContrastResult {
        ContrastResult {
            name: "isolation".into(),
            from_cell: "a".into(),
            to_cell: "b".into(),
            workload: "w".into(),
            aspect: "location".into(),
            figure: figure.into(),
            ratio: Some((low * high).sqrt()),
            low: Some(low),
            high: Some(high),
            p: Some(0.001),
            p_corrected: Some(0.01),
            boots: [5, 5],
            note: None,
        }
    }

    #[test]
    fn what_is_better_in_a_pair_of_cells_that_is_worse_elsewhere_is_marked() {
        let pair = |workload: &str, to: &str, rows: &[ContrastResult]| Pair {
            name: to.to_owned(),
            from_cell: "a".to_owned(),
            to_cell: to.to_owned(),
            to_anchor: String::new(),
            workload: workload.to_owned(),
            emulated: false,
            boots: String::new(),
            ratios: rows.iter().map(|row| Some(Ratio::new(row, Some("lower")))).collect(),
            notes: Vec::new(),
            harm: rows.iter().fold((0.0, 0.0), |(most, least), row| {
                let harm = sure_harm(row, Some("lower"));
                (f64::max(most, harm), f64::min(least, harm))
            }),
        };
        let (better, worse) = (row("mad", 0.4, 0.6), row("sd_within", 2.0, 3.0));
        let stall = ContrastResult {
            aspect: "stall".into(),
            low: None,
            high: None,
            ..row("stall_share", 4.0, 4.0)
        };
        let mut pairs = [
            pair("tcp-rr", "b", &[better.clone(), worse]),
            pair("udp-rr", "b", std::slice::from_ref(&better)),
            pair("tcp-rr", "c", std::slice::from_ref(&better)),
            pair("tcp-rr", "d", &[better, stall]),
        ];
        take_praise(&mut pairs);
        let classes = pairs.map(|pair| {
            pair.ratios.iter().flatten().map(|ratio| ratio.class).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(classes, ["mixed worse", "mixed", "better", "mixed unclear"]);
    }

    #[test]
    fn what_is_clear_by_its_own_interval_alone_is_not_told_as_better() {
        let alone = ContrastResult { p_corrected: Some(0.2), ..row("mad", 0.4, 0.6) };
        assert_eq!(Ratio::new(&alone, Some("lower")).class, "unclear");
        assert_eq!(Ratio::new(&row("mad", 0.4, 0.6), Some("lower")).class, "better");
    }

    #[test]
    fn direction_follows_the_figure() {
        let class =
            |figure, low, high, better| Ratio::new(&row(figure, low, high), Some(better)).class;
        assert_eq!(class("median", 1.1, 1.2, "lower"), "worse");
        assert_eq!(class("median", 1.1, 1.2, "higher"), "better");
        assert_eq!(class("sd_windows", 0.1, 0.2, "higher"), "better");
        assert_eq!(class("median", 0.9, 1.2, "higher"), "unclear");
    }
}
