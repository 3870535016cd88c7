//! The report's kinds of chart.

use evenkeel_agent::samples::{Samples, Unit};

use super::{Chart, Ink, Mark, Rows, Scale, draw};
use crate::record::figures::Pooled;
use crate::report::format::Quantity;

/// Most points of a series over time: twice as many cannot be told apart at this width.
const POINTS: usize = 200;

/// One side of an overlaid chart.
pub(crate) struct Series<'a> {
    /// Its name in the legend.
    pub(crate) label: &'a str,
    /// Its observations.
    pub(crate) pooled: &'a Pooled,
}

/// The inks of overlaid series, the one in the centre of interest first.
const OVERLAID: [Ink; 2] = [Ink::First, Ink::Second];

/// Latency by percentile, on an axis where each further nine takes the same width. Nothing where there are no quantiles.
pub(crate) fn percentiles(workload: &str, series: &[Series<'_>]) -> anyhow::Result<Option<Chart>> {
    let curves: Vec<_> = series
        .iter()
        .map(|side| {
            let mut curve = side.pooled.percentile_curve();
            curve.retain(|(q, value)| *q < 1.0 && value.is_finite());
            curve
        })
        .collect();
    let highest = curves.iter().flatten().map(|(q, _)| *q).fold(0.0, f64::max);
    let values = curves.iter().flatten().map(|(_, value)| *value);
    let Some(y) = Scale::fit("latency", Quantity::Time, values) else {
        return Ok(None);
    };
    let marks = overlay(curves);
    let (view_box, marks) = draw(&Scale::nines(highest), &Rows::Scale(y), &marks)?;
    Ok(Some(Chart {
        title: format!("{workload}: latency by percentile"),
        text: "Flat is deterministic; a step up to the right is a rarer, longer delay. The curve ends where the count \
               of transactions cannot support a further nine."
            .to_owned(),
        keys: keys(series),
        view_box,
        marks,
    }))
}

/// The share of observations at or below each value.
pub(crate) fn ecdf(
    workload: &str,
    quantity: Quantity,
    series: &[Series<'_>],
) -> anyhow::Result<Option<Chart>> {
    let curves: Vec<_> = series.iter().map(|side| side.pooled.ecdf(POINTS / 2)).collect();
    let values = curves.iter().flatten().map(|(value, _)| *value);
    let name = if quantity == Quantity::Time { "latency" } else { "rate of a window" };
    let Some(x) = Scale::fit(name, quantity, values) else {
        return Ok(None);
    };
    let y = Scale::from_zero("share", 1.0, |share| format!("{:.0} %", share * 100.0));
    let (view_box, marks) = draw(&x, &Rows::Scale(y), &overlay(curves))?;
    Ok(Some(Chart {
        title: format!("{workload}: cumulative distribution"),
        text: "The share of observations at or below a value: the steeper, the narrower the distribution.".to_owned(),
        keys: keys(series),
        view_box,
        marks,
    }))
}

pub(super) fn overlay(curves: Vec<Vec<(f64, f64)>>) -> Vec<Mark> {
    let mut marks: Vec<Mark> = OVERLAID
        .into_iter()
        .zip(curves)
        .filter(|(_, points)| points.len() > 1)
        .map(|(ink, points)| Mark::Line { ink, points })
        .collect();
    // The series in the centre of interest is drawn last, on top.
    marks.reverse();
    marks
}

pub(super) fn keys(series: &[Series<'_>]) -> Vec<(&'static str, String)> {
    OVERLAID.iter().zip(series).map(|(ink, side)| (ink.class(), side.label.to_owned())).collect()
}

/// A row of a box plot.
pub(crate) struct BoxRow {
    /// Its name.
    pub(crate) label: String,
    /// Its ink.
    pub(crate) ink: Ink,
    /// Minimum, quartiles, maximum.
    pub(crate) five: [f64; 5],
}

/// Box plots in the thesis's form: minimum, quartiles, maximum.
pub(crate) fn boxes(
    title: String,
    text: &str,
    quantity: Quantity,
    rows: &[BoxRow],
) -> anyhow::Result<Option<Chart>> {
    let name = if quantity == Quantity::Time { "latency" } else { "rate" };
    let Some(x) = Scale::fit(name, quantity, rows.iter().flat_map(|row| row.five)) else {
        return Ok(None);
    };
    let names = rows.iter().map(|row| shorten(&row.label, 32)).collect();
    let marks: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(row, BoxRow { ink, five, .. })| Mark::Box { ink: *ink, row, five: *five })
        .collect();
    let (view_box, marks) = draw(&x, &Rows::Names(names), &marks)?;
    Ok(Some(Chart { title, text: text.to_owned(), keys: Vec::new(), view_box, marks }))
}

/// A row of a forest plot.
pub(crate) struct ForestRow {
    /// Its name.
    pub(crate) label: String,
    /// Ink, lane, and low, point and high of each of its intervals.
    pub(crate) points: Vec<(Ink, usize, [f64; 3])>,
}

/// Ratios with their intervals on a logarithmic axis with a rule at 1. Nothing where there is no ratio.
pub(crate) fn forest(
    title: String,
    text: &str,
    keys: Vec<(&'static str, String)>,
    rows: &[ForestRow],
) -> anyhow::Result<Option<Chart>> {
    let all = || rows.iter().flat_map(|row| &row.points);
    if all().next().is_none() {
        return Ok(None);
    }
    let x = Scale::ratios("with / without", all().flat_map(|(.., ends)| *ends));
    let lanes = all().map(|(_, lane, _)| lane + 1).max().unwrap_or(1);
    let names = rows.iter().map(|row| shorten(&row.label, 26)).collect();
    let intervals = rows.iter().enumerate().flat_map(|(row, ForestRow { points, .. })| {
        let mark = move |(ink, lane, ends): &(Ink, usize, [f64; 3])| Mark::Interval {
            ink: *ink,
            row,
            lane: (*lane, lanes),
            ends: *ends,
        };
        points.iter().map(mark)
    });
    let marks: Vec<Mark> = std::iter::once(Mark::Rule { at: 1.0 }).chain(intervals).collect();
    let (view_box, marks) = draw(&x, &Rows::Names(names), &marks)?;
    Ok(Some(Chart { title, text: text.to_owned(), keys, view_box, marks }))
}

/// The end of a name says more than its beginning.
fn shorten(name: &str, most: usize) -> String {
    let count = name.chars().count();
    if count <= most {
        return name.to_owned();
    }
    std::iter::once('…').chain(name.chars().skip(count - most + 1)).collect()
}

/// The windows of all boots in the order of time, a rule between boots: p50, p99 and longest latency, or the rate.
pub(crate) fn windows(workload: &str, boots: &[&Samples]) -> anyhow::Result<Option<Chart>> {
    let Some(unit) = boots.first().map(|samples| samples.unit) else {
        return Ok(None);
    };
    let quantity = if unit == Unit::Nanoseconds { Quantity::Time } else { Quantity::of(unit) };
    let total: usize = boots.iter().map(|samples| samples.windows.len()).sum();
    let group = total.div_ceil(POINTS).max(1);
    let mut lines: Vec<(Ink, Vec<(f64, f64)>)> = Vec::new();
    let mut rules = Vec::new();
    let mut offset = 0.0;
    for samples in boots {
        let series = per_window(samples, group);
        for (ink, points) in series {
            let points: Vec<_> = points.into_iter().map(|(x, y)| (x + offset, y)).collect();
            lines.push((ink, points));
        }
        let end = samples.windows.iter().map(|w| w.start_ns + w.length_ns).max().unwrap_or(0);
        offset += end as f64;
        rules.push(offset);
    }
    rules.pop();
    let values = lines.iter().flat_map(|(_, points)| points).map(|(_, y)| *y);
    let name = if quantity == Quantity::Time { "latency" } else { "rate" };
    let Some(y) = Scale::fit(name, quantity, values) else {
        return Ok(None);
    };
    let x = Scale::from_zero("measured time of all boots, a rule between boots", offset, |ns| {
        Quantity::Time.show(ns).replace(".00", "")
    });
    let marks: Vec<_> = rules
        .into_iter()
        .map(|at| Mark::Rule { at })
        .chain(lines.into_iter().rev().map(|(ink, points)| Mark::Line { ink, points }))
        .collect();
    let (view_box, marks) = draw(&x, &Rows::Scale(y), &marks)?;
    let (keys, what): (&[(Ink, &str)], _) = if quantity == Quantity::Time {
        (
            &[(Ink::First, "p50"), (Ink::Second, "p99"), (Ink::Third, "longest")],
            "latency of each window",
        )
    } else {
        (&[(Ink::First, "rate")], "rate of each window")
    };
    let thinned = if group > 1 { format!(", the worst of each {group}") } else { String::new() };
    Ok(Some(Chart {
        title: format!("{workload}: {what}{thinned}"),
        text: "Periodic spikes point to a timer, a throttle or a neighbour; a drift to warming up."
            .to_owned(),
        keys: keys.iter().map(|(ink, label)| (ink.class(), (*label).to_owned())).collect(),
        view_box,
        marks,
    }))
}

/// The series of one boot. Where windows are too many, the worst of each group stands for it: percentiles are never averaged.
fn per_window(samples: &Samples, group: usize) -> Vec<(Ink, Vec<(f64, f64)>)> {
    let rate = |w: &evenkeel_agent::samples::Window| {
        let count = if samples.unit == Unit::BytesPerSecond { w.bytes } else { w.operations };
        count as f64 * 1e9 / w.length_ns.max(1) as f64
    };
    let middle = |w: &evenkeel_agent::samples::Window| w.start_ns as f64 + w.length_ns as f64 / 2.0;
    let groups = samples.windows.chunks(group);
    if samples.unit != Unit::Nanoseconds {
        let worst = groups.filter_map(|g| g.iter().min_by(|a, b| rate(a).total_cmp(&rate(b))));
        return vec![(Ink::First, worst.map(|w| (middle(w), rate(w))).collect())];
    }
    let worst: Vec<_> = groups.filter_map(|g| g.iter().max_by_key(|w| w.max_ns)).collect();
    let series = |value: fn(&evenkeel_agent::samples::Window) -> Option<u64>| {
        worst.iter().filter_map(|w| Some((middle(w), value(w)? as f64))).collect::<Vec<_>>()
    };
    vec![
        (Ink::First, series(|w| w.p50_ns)),
        (Ink::Second, series(|w| w.p99_ns)),
        (Ink::Third, series(|w| w.max_ns)),
    ]
}
