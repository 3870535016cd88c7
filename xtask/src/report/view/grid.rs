//! The heat map: where something runs against what was done to it, one place for each cell.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::badge;
use super::source::Source;
use crate::matrix::{Axis, Cell};
use crate::record::results::{CellOutcome, CellResult, VerdictRow};
use crate::report::format::Quantity;
use crate::report::text::anchor;

/// Steps of colour between the calmest and the wildest cell.
const LEVELS: f64 = 5.0;
/// Rows of the map; further ones are in the table of cells.
const ROWS: usize = 400;

/// The map.
#[derive(Debug, Serialize)]
pub(super) struct Grid {
    /// What colours and labels show.
    figure: String,
    columns: Vec<String>,
    rows: Vec<GridRow>,
    more_rows: usize,
    /// Class and label.
    legend: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct GridRow {
    name: String,
    places: Vec<Option<Place>>,
}

#[derive(Clone, Debug, Serialize)]
struct Place {
    anchor: Option<String>,
    class: String,
    label: String,
    note: String,
    id: String,
    emulated: bool,
}

impl Grid {
    pub(super) fn new(source: &Source<'_>) -> Grid {
        let verdicts = worst_verdicts(source);
        // An emulated processor is a world of its own: it would use up the colours of all others.
        let real = source.results.cells.iter().filter(|cell| !source.emulated(&cell.id));
        let values: Vec<f64> = real.filter_map(|cell| shown(source, cell)).collect();
        let levels = Levels::over(&values);
        let mut rows: Vec<(String, BTreeMap<usize, Place>)> = Vec::new();
        let mut row_of: HashMap<String, usize> = HashMap::new();
        let mut columns: Vec<String> = Vec::new();
        for cell in &source.results.cells {
            let column = format!("{} / {}", cell.axes.tuning, cell.axes.load);
            let column = columns.iter().position(|known| *known == column).unwrap_or_else(|| {
                columns.push(column);
                columns.len() - 1
            });
            let name = row_name(&cell.axes);
            let row = *row_of.entry(name.clone()).or_insert_with(|| {
                rows.push((name, BTreeMap::new()));
                rows.len() - 1
            });
            let verdict = verdicts.get(cell.id.as_str()).copied();
            rows[row].1.insert(column, place(source, cell, verdict, &levels));
        }
        let more_rows = rows.len().saturating_sub(ROWS);
        let width = columns.len();
        let rows = rows
            .into_iter()
            .take(ROWS)
            .map(|(name, mut places)| GridRow {
                name,
                places: (0..width).map(|column| places.remove(&column)).collect(),
            })
            .collect();
        let latency = source.latency().unwrap_or("latency");
        let (figure, legend) = if verdicts.is_empty() {
            (format!("p99 of {latency}"), levels.legend())
        } else {
            let words = ["regressed", "improved", "equivalent", "inconclusive", "missing"];
            let legend = words.map(|word| (word.to_owned(), word.to_owned())).to_vec();
            ("the worst verdict of each cell".to_owned(), legend)
        };
        Grid { figure, columns, rows, more_rows, legend }
    }
}

fn row_name(cell: &Cell) -> String {
    let name = format!("{} / {} / {}", cell.kernel, cell.virtualization, cell.network);
    match cell.names(Axis::HostKernel) {
        true => format!("{name} on {}", cell.host_kernel),
        false => name,
    }
}

/// What decides a cell's colour: the p99 of its latency, in nanoseconds.
fn shown(source: &Source<'_>, cell: &CellResult) -> Option<f64> {
    let figures = Source::workload(cell, source.latency()?)?.figures;
    figures.p99.filter(|value| value.is_finite() && *value > 0.0)
}

fn place(source: &Source<'_>, cell: &CellResult, verdict: Option<&str>, levels: &Levels) -> Place {
    let reached = matches!(cell.outcome, CellOutcome::Measured | CellOutcome::Failed);
    let value = shown(source, cell);
    let (class, label, note) = match (cell.outcome, verdict, value) {
        (CellOutcome::Measured, Some(verdict), value) => (
            verdict.to_owned(),
            verdict.to_owned(),
            Quantity::Time.show_some(value).unwrap_or_default(),
        ),
        (CellOutcome::Measured, None, Some(value)) => {
            let latency = source.latency().and_then(|name| Source::workload(cell, name));
            let spread = latency.and_then(|w| w.figures.sd_within);
            let note = Quantity::Time.show_some(spread).map(|sd| format!("SD {sd}"));
            let class =
                if source.emulated(&cell.id) { "level0".to_owned() } else { levels.class(value) };
            (class, Quantity::Time.show(value), note.unwrap_or_default())
        }
        (outcome, _, _) => {
            let class = match outcome {
                CellOutcome::Measured => "level0",
                CellOutcome::Failed => "failed",
                CellOutcome::Skipped | CellOutcome::NotApplicable => "absent",
            };
            (class.to_owned(), badge(cell).to_owned(), String::new())
        }
    };
    Place {
        anchor: reached.then(|| anchor(&cell.id)),
        class,
        label,
        note,
        id: cell.id.clone(),
        emulated: source.emulated(&cell.id),
    }
}

/// The verdict to look at first, of each cell: of those that gate, where there are some.
fn worst_verdicts<'a>(source: &Source<'a>) -> HashMap<&'a str, &'a str> {
    const WORST_FIRST: [&str; 5] =
        ["regressed", "missing", "inconclusive", "improved", "equivalent"];
    let rank = |verdict: &str| WORST_FIRST.iter().position(|known| *known == verdict);
    let gates = |row: &VerdictRow| row.gates && row.accepted.is_none();
    let rows = &source.results.verdicts;
    let gated: HashSet<&str> =
        rows.iter().filter(|row| gates(row)).map(|row| row.cell.as_str()).collect();
    let mut worst: HashMap<&str, &str> = HashMap::new();
    for row in rows.iter().filter(|row| gates(row) || !gated.contains(row.cell.as_str())) {
        let Some(new) = rank(&row.verdict) else {
            continue;
        };
        let entry = worst.entry(&row.cell).or_insert(&row.verdict);
        if rank(entry).is_none_or(|old| new < old) {
            *entry = &row.verdict;
        }
    }
    worst
}

/// Colours on a logarithmic scale between the smallest and the largest value.
struct Levels {
    low: f64,
    high: f64,
}

impl Levels {
    fn over(values: &[f64]) -> Levels {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        Levels { low, high }
    }

    fn level(&self, value: f64) -> u8 {
        // Values that differ by less than a tenth are not worth a difference in colour.
        if self.high < self.low * 1.1 {
            return 1;
        }
        let place = (value / self.low).ln() / (self.high / self.low).ln();
        1 + (place * LEVELS).floor().clamp(0.0, LEVELS - 1.0) as u8
    }

    fn class(&self, value: f64) -> String {
        format!("level{}", self.level(value))
    }

    fn legend(&self) -> Vec<(String, String)> {
        if self.high == 0.0 {
            return Vec::new();
        }
        if self.high < self.low * 1.1 {
            return vec![("level1".to_owned(), Quantity::Time.show(self.low))];
        }
        let edge = |n: f64| self.low * (self.high / self.low).powf(n / LEVELS);
        (0..LEVELS as u8)
            .map(|n| {
                let from = Quantity::Time.show(edge(f64::from(n)));
                (format!("level{}", n + 1), format!("from {from}"))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_span_the_range() {
        let levels = Levels::over(&[10.0, 1e6]);
        assert_eq!([10.0, 99.0, 101.0, 1e4, 1e6].map(|v| levels.level(v)), [1, 1, 2, 4, 5]);
        assert_eq!(Levels::over(&[100.0, 104.0]).level(104.0), 1);
        assert!(Levels::over(&[]).legend().is_empty());
    }
}
