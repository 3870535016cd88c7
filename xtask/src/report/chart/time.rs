//! What happened in the order of time.

use evenkeel_agent::samples::Samples;

use super::{Chart, Ink, Mark, Rows, Scale, draw};
use crate::record::figures::Pooled;
use crate::report::format::Quantity;

/// Most boots of a side that are drawn; of more, the widest of each group stands for it.
const STEMS: usize = 60;

/// One side of a run.
pub(crate) struct Side<'a> {
    /// Its name in the legend.
    pub(crate) label: &'static str,
    /// Its ink.
    pub(crate) ink: Ink,
    /// Its boots, in the order of the run.
    pub(crate) boots: Vec<Start<'a>>,
}

/// What one boot left of one workload.
#[derive(Clone, Copy)]
pub(crate) struct Start<'a> {
    /// Its place in the order of the run, among all boots of the cell.
    pub(crate) at: usize,
    /// Its number.
    pub(crate) boot: u32,
    /// Its samples.
    pub(crate) samples: &'a Samples,
}

/// A boot as it is drawn: its place, its median, and the end of its tail.
type Stem = (f64, f64, f64);

/// Every boot in the order of the run: a line through the medians, and from each median a stem to the boot's tail. Nothing with fewer than two boots.
pub(crate) fn run_order(
    workload: &str,
    quantity: Quantity,
    sides: &[Side<'_>],
) -> anyhow::Result<Option<Chart>> {
    let stems: Vec<Vec<Stem>> = sides.iter().map(|side| stems(side, quantity)).collect();
    let all = || stems.iter().flatten();
    if all().count() < 2 {
        return Ok(None);
    }
    let values = all().flat_map(|(_, median, tail)| [*median, *tail]);
    let (name, tail) = match quantity {
        Quantity::Time => ("latency", "p99"),
        _ => ("rate", "slowest window"),
    };
    let Some(y) = Scale::fit(name, quantity, values) else { return Ok(None) };
    let last = all().map(|(at, ..)| *at).fold(0.0, f64::max);
    let x = Scale::from_zero("boots in the order of the run", last + 1.0, |at| format!("{at:.0}"));
    // The candidate is drawn last, on top.
    let marks: Vec<Mark> = sides
        .iter()
        .zip(&stems)
        .rev()
        .flat_map(|(side, stems)| {
            let ink = side.ink;
            let stem = move |(at, median, tail): &Stem| Mark::Line {
                ink,
                points: vec![(*at, *median), (*at, *tail)],
            };
            let medians = stems.iter().map(|(at, median, _)| (*at, *median)).collect();
            stems.iter().map(stem).chain([Mark::Line { ink, points: medians }])
        })
        .collect();
    let (view_box, marks) = draw(&x, &Rows::Scale(y), &marks)?;
    Ok(Some(Chart {
        title: format!("{workload}: run order, median to {tail}"),
        text: "A line through the medians of fresh starts in the order in which they were measured, and from each a stem to its tail. A slope \
               that both sides share is the host's, not the change's."
            .to_owned(),
        keys: sides.iter().map(|side| (side.ink.class(), side.label.to_owned())).collect(),
        view_box,
        marks,
    }))
}

fn stems(side: &Side<'_>, quantity: Quantity) -> Vec<Stem> {
    let group = side.boots.len().div_ceil(STEMS).max(1);
    let stem = |start: &Start<'_>| {
        let pooled = Pooled::new(&[start.samples]).ok()?;
        let median = pooled.quantile(0.5)?;
        let tail = match quantity {
            Quantity::Time => pooled.quantile(0.99).unwrap_or(start.samples.max),
            _ => start.samples.min,
        };
        Some((start.at as f64 + 0.5, median, tail))
    };
    let width = |stem: &Stem| (stem.2 - stem.1).abs();
    side.boots
        .chunks(group)
        .filter_map(|boots| {
            boots.iter().filter_map(stem).max_by(|a, b| width(a).total_cmp(&width(b)))
        })
        .collect()
}

/// A figure over runs, a rule before each run from which on it was another. Nothing where there is nothing finite.
pub(crate) fn trend(
    title: String,
    quantity: Quantity,
    values: &[f64],
    days: &[String],
    changes: &[usize],
) -> anyhow::Result<Option<Chart>> {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let Some(y) = Scale::fit("", quantity, finite) else { return Ok(None) };
    let x = Scale::steps("runs in order of time", days);
    let middle = |at: usize| at as f64 + 0.5;
    let points = values.iter().enumerate().filter(|(_, value)| value.is_finite());
    let line =
        Mark::Line { ink: Ink::First, points: points.map(|(at, v)| (middle(at), *v)).collect() };
    let rules = changes.iter().map(|at| Mark::Rule { at: *at as f64 });
    let marks: Vec<Mark> = rules.chain([line]).collect();
    let (view_box, marks) = draw(&x, &Rows::Scale(y), &marks)?;
    Ok(Some(Chart {
        title,
        text: "A point a run: the geometric mean over its boots. A rule is where the level or its steadiness changed.".to_owned(),
        keys: Vec::new(),
        view_box,
        marks,
    }))
}
