//! The heat map: where something runs against what was done to it, one place for each cell.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::source::Source;
use super::{badge, contrasts};
use crate::matrix::{Axis, Cell};
use crate::record::results::{CellOutcome, CellResult, VerdictRow};
use crate::report::format::{Quantity, ratio};
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
            rows[row].1.insert(column, place(source, cell, &levels));
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
        let (figure, legend) = if source.results.verdicts.is_empty() {
            let figure = match (source.latency(), source.rate()) {
                (None, Some(rate)) => {
                    format!("dispersion: SD of the windows of {rate}, of the median")
                }
                (latency, _) => format!(
                    "dispersion: how far the p99 of {} lies from the median; below it the SD within a boot",
                    latency.unwrap_or("latency")
                ),
            };
            (figure, levels.legend(quantity(source)))
        } else {
            let words = ["regressed", "improved", "equivalent", "inconclusive", "missing"];
            let legend = words.map(|word| (word.to_owned(), word.to_owned())).to_vec();
            let figure = "the worst verdict of each cell; below it what changed most, or the change that could have been seen";
            (figure.to_owned(), legend)
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

/// What decides a cell's colour where nothing was judged: the distance of its latency's p99 from the median in nanoseconds or, without latencies, that of its rate as a
/// share of the median.
fn shown(source: &Source<'_>, cell: &CellResult) -> Option<f64> {
    let value = match (source.latency(), source.rate()) {
        (Some(latency), _) => Source::workload(cell, latency)?.figures.jitter?,
        (None, Some(rate)) => {
            let figures = Source::workload(cell, rate)?.figures;
            figures.sd_windows? / figures.median?
        }
        (None, None) => return None,
    };
    Some(value).filter(|value| value.is_finite() && *value > 0.0)
}

/// What [`shown`] is measured in.
fn quantity(source: &Source<'_>) -> Quantity {
    if source.latency().is_some() { Quantity::Time } else { Quantity::Share }
}

fn place(source: &Source<'_>, cell: &CellResult, levels: &Levels) -> Place {
    let reached = matches!(cell.outcome, CellOutcome::Measured | CellOutcome::Failed);
    let value = shown(source, cell);
    let (class, label, note) = match (cell.outcome, contrasts::worst(source, &cell.id), value) {
        (CellOutcome::Measured | CellOutcome::Failed, Some(row), _) => {
            (row.verdict.clone(), row.verdict.clone(), told(row))
        }
        (CellOutcome::Measured, None, Some(value)) => {
            let latency = source.latency().and_then(|name| Source::workload(cell, name));
            let spread = latency.and_then(|w| w.figures.sd_within);
            let note = Quantity::Time.show_some(spread).map(|sd| format!("SD {sd}"));
            let class =
                if source.emulated(&cell.id) { "level0".to_owned() } else { levels.class(value) };
            (class, quantity(source).show(value), note.unwrap_or_default())
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

/// A verdict below its word: what changed and by how much, or how small a change could have been seen.
fn told(row: &VerdictRow) -> String {
    let of = format!("{} {}", row.workload, row.aspect);
    match (row.verdict.as_str(), row.ratio, row.detectable_ratio) {
        ("regressed" | "improved", Some(by), _) => match contrasts::aside(row) {
            "" => format!("{of} {}", ratio(by)),
            aside => format!("{of} {} ({aside})", ratio(by)),
        },
        ("equivalent" | "inconclusive", _, Some(seen)) => {
            format!("{} detectable in {of}", ratio(seen))
        }
        _ => of,
    }
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

    fn legend(&self, quantity: Quantity) -> Vec<(String, String)> {
        if self.high == 0.0 {
            return Vec::new();
        }
        if self.high < self.low * 1.1 {
            return vec![("level1".to_owned(), quantity.show(self.low))];
        }
        let edge = |n: f64| self.low * (self.high / self.low).powf(n / LEVELS);
        (0..LEVELS as u8)
            .map(|n| {
                let from = quantity.show(edge(f64::from(n)));
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
        assert!(Levels::over(&[]).legend(Quantity::Time).is_empty());
    }
}
