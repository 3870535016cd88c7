//! The pictures at the top: what the contrasts changed most, and the spread between fresh starts.

use std::collections::HashSet;

use serde::Serialize;

use super::contrasts::axis_of;
use super::source::Source;
use crate::matrix::Axis;
use crate::record::results::{CellResult, ContrastResult};
use crate::report::chart::{self, BoxRow, Chart, Ink, Series};
use crate::report::format::Quantity;

/// Pairs that are drawn.
const PAIRS: usize = 6;
/// Groups of cells with box plots, for each workload.
const GROUPS: usize = 6;
/// Boxes of a group.
const BOXES: usize = 12;

/// Charts that are read in the same way.
#[derive(Debug, Serialize)]
pub(super) struct Panel {
    title: String,
    hint: &'static str,
    charts: Vec<Chart>,
}

/// The panels that have something to show.
pub(super) fn panels(source: &Source<'_>) -> anyhow::Result<Vec<Panel>> {
    let mut panels = Vec::new();
    if let Some(latency) = source.latency() {
        panels.push(Panel {
            title: format!("Latency of {latency} by percentile, the pairs that changed most"),
            hint: "Flat is deterministic; a step up to the right is a rarer, longer delay. Each step to the right holds a tenth \
                   of the transactions of the step before; a curve ends where the count cannot support more.",
            charts: pairs(source, latency)?,
        });
    }
    for workload in [source.latency(), source.rate()].into_iter().flatten() {
        panels.push(Panel {
            title: format!("Means of fresh starts, {workload}"),
            hint: "The thesis's form: minimum, quartiles and maximum of the means of boots. It shows the spread between starts and \
                   says nothing about single transactions.",
            charts: mean_boxes(source, workload)?,
        });
    }
    panels.retain(|panel| !panel.charts.is_empty());
    Ok(panels)
}

/// Percentile curves of both sides, the largest change of dispersion first, emulated cells last.
fn pairs(source: &Source<'_>, latency: &str) -> anyhow::Result<Vec<Chart>> {
    type Pair<'a> = (&'a ContrastResult, &'a CellResult, &'a CellResult);
    let both = |c: &'_ ContrastResult| {
        Some((source.cell(&c.from_cell)?.result, source.cell(&c.to_cell)?.result))
    };
    let mut pairs: Vec<Pair<'_>> = source
        .results
        .contrasts
        .iter()
        .filter(|c| c.workload == latency && c.aspect == "dispersion")
        .filter_map(|c| both(c).map(|(from, to)| (c, from, to)))
        .collect();
    let change = |c: &ContrastResult| c.ratio.filter(|r| *r > 0.0).map_or(0.0, |r| r.ln().abs());
    pairs.sort_by(|a, b| {
        let by_kind = source.emulated(&a.2.id).cmp(&source.emulated(&b.2.id));
        by_kind.then(change(b.0).total_cmp(&change(a.0))).then_with(|| a.2.id.cmp(&b.2.id))
    });
    // A pair has a row for each figure of dispersion: it is drawn once, where it changed more.
    let mut drawn = std::collections::BTreeSet::new();
    pairs.retain(|(c, ..)| drawn.insert((c.from_cell.as_str(), c.to_cell.as_str())));
    let mut charts = Vec::new();
    for (contrast, from, to) in pairs.into_iter().take(PAIRS) {
        let axis = axis_of(source, &contrast.name);
        let pooled = [to, from].map(|cell| Source::pooled(&source.samples(&cell.id, latency)));
        let [Some(of_to), Some(of_from)] = &pooled else {
            continue;
        };
        let labels =
            [to, from].map(|cell| axis.map_or(cell.id.as_str(), |axis| cell.axes.on(axis)));
        let series = [
            Series { label: labels[0], pooled: of_to },
            Series { label: labels[1], pooled: of_from },
        ];
        if let Some(mut chart) = chart::percentiles(latency, &series)? {
            chart.title = watermarked(source, to, source.short_without(&to.axes, axis));
            charts.push(chart);
        }
    }
    Ok(charts)
}

fn watermarked(source: &Source<'_>, cell: &CellResult, name: String) -> String {
    if source.emulated(&cell.id) { format!("{name} (emulated: informs only)") } else { name }
}

/// Box plots of boot means, a chart for each kernel, virtualization and network.
fn mean_boxes(source: &Source<'_>, workload: &str) -> anyhow::Result<Vec<Chart>> {
    let place = |cell: &CellResult| {
        [Axis::Kernel, Axis::Virtualization, Axis::Network]
            .map(|axis| cell.axes.on(axis).to_owned())
    };
    let contrasts = source.results.contrasts.iter();
    let compared_from: HashSet<&str> = contrasts.map(|c| c.from_cell.as_str()).collect();
    let mut groups: Vec<([String; 3], &CellResult, Quantity, Vec<BoxRow>)> = Vec::new();
    for cell in &source.results.cells {
        let place = place(cell);
        let known = groups.iter().position(|(of, ..)| *of == place);
        let room = known.map_or(groups.len() < GROUPS, |at| groups[at].3.len() < BOXES);
        if !room {
            continue;
        }
        let samples = source.samples(&cell.id, workload);
        let means = samples.iter().map(|samples| samples.moments.mean).collect();
        let (Some(five), Some(unit)) = (five_numbers(means), samples.first().map(|s| s.unit))
        else {
            continue;
        };
        let from = compared_from.contains(cell.id.as_str());
        let row = BoxRow {
            label: format!("{} / {}", cell.axes.tuning, cell.axes.load),
            ink: if from { Ink::Second } else { Ink::First },
            five,
        };
        match known {
            Some(at) => groups[at].3.push(row),
            None => groups.push((place, cell, Quantity::of(unit), vec![row])),
        }
    }
    let text = "Minimum, quartiles and maximum of the means of fresh starts.";
    let charts =
        groups.into_iter().filter(|(.., rows)| rows.len() > 1).map(|(of, cell, quantity, rows)| {
            chart::boxes(watermarked(source, cell, of.join("/")), text, quantity, &rows)
        });
    Ok(charts.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Minimum, quartiles (Hyndman and Fan, type 7), maximum.
pub(super) fn five_numbers(mut values: Vec<f64>) -> Option<[f64; 5]> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some([0.0, 0.25, 0.5, 0.75, 1.0].map(|q| {
        let at = q * last as f64;
        let below = at.floor() as usize;
        let above = (below + 1).min(last);
        values[below] + (at - below as f64) * (values[above] - values[below])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_interpolated() {
        assert_eq!(five_numbers(vec![4.0, 1.0, 3.0, 2.0]), Some([1.0, 1.75, 2.5, 3.25, 4.0]));
        assert_eq!(five_numbers(vec![7.0]), Some([7.0; 5]));
        assert_eq!(five_numbers(vec![f64::NAN]), None);
    }
}
