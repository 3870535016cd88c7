//! The pictures of one cell: each answers one question, base and candidate on the same axes.

use evenkeel_agent::samples::Samples;

use super::super::contrasts;
use super::super::overview::five_numbers;
use super::super::source::{Source, of_workload};
use crate::record::figures::Pooled;
use crate::record::results::{CellResult, WorkloadResult};
use crate::record::{BASE, CANDIDATE, Record};
use crate::report::chart::{self, BoxRow, Chart, Ink, Series, Side, Start};
use crate::report::format::Quantity;

/// Boots of a side that have a box of their own.
const BOXES: usize = 10;

/// The charts of one workload of a cell.
pub(super) fn charts(
    source: &Source<'_>,
    cell: &CellResult,
    workload: &WorkloadResult,
    all: bool,
) -> anyhow::Result<Vec<Chart>> {
    let name = workload.name.as_str();
    let samples = source.samples(&cell.id, name);
    let Some(own) = Source::pooled(&samples) else {
        return Ok(Vec::new());
    };
    let quantity = Quantity::of_symbol(&workload.unit);
    let other = compared_with(source, cell, name);
    let label = other.as_ref().map_or("this cell", |other| &other.here);
    let mut series = vec![Series { label, pooled: &own }];
    if let Some(other) = &other {
        // The side compared *to* comes first: it has the same ink in every chart of the page.
        let at = usize::from(!other.there_first);
        series.insert(at, Series { label: &other.there, pooled: &other.pooled });
    }
    let mut found = Vec::new();
    if quantity == Quantity::Time {
        found.push(chart::percentiles(name, &series)?);
    }
    if all {
        found.push(chart::ecdf(name, quantity, &series)?);
    }
    let sides = sides(source, cell, name);
    if all {
        if quantity == Quantity::Time {
            found.push(chart::density(name, quantity, &series)?);
        }
        found.push(chart::run_order(name, quantity, &sides)?);
    }
    found.push(chart::windows(name, &samples)?);
    if all {
        found.push(boot_boxes(name, quantity, &series, &sides)?);
    }
    Ok(found.into_iter().flatten().collect())
}

/// Boots that were measured, of the candidate and, where there is one, of the base, each with its place in the order of the run.
fn sides<'a>(source: &Source<'a>, cell: &CellResult, workload: &str) -> Vec<Side<'a>> {
    let mut boots: Vec<&Record> = source.boots(&cell.id).to_vec();
    boots.sort_by_key(|record| (record.block, record.position, record.boot));
    let compared = boots.iter().any(|record| record.side != CANDIDATE);
    let mut sides = vec![Side {
        label: if compared { CANDIDATE } else { "boots" },
        ink: Ink::First,
        boots: Vec::new(),
    }];
    if compared {
        sides.push(Side { label: BASE, ink: Ink::Second, boots: Vec::new() });
    }
    for (at, record) in boots.into_iter().enumerate() {
        let side = usize::from(record.side != CANDIDATE);
        sides[side].boots.extend(of_workload(record, workload).map(|samples| Start {
            at,
            boot: record.boot,
            samples,
        }));
    }
    sides
}

/// What a cell is drawn against.
struct Other {
    here: String,
    there: String,
    /// Whether this cell is the one compared from.
    there_first: bool,
    pooled: Pooled,
}

/// The base revision where there is one, else the cell on the other side of the first contrast.
fn compared_with(source: &Source<'_>, cell: &CellResult, workload: &str) -> Option<Other> {
    if let Some(pooled) = Source::pooled(&source.base_samples(&cell.id, workload)) {
        return Some(Other {
            here: "candidate".into(),
            there: "base".into(),
            there_first: false,
            pooled,
        });
    }
    let partner = source.partner(&cell.id)?;
    let pooled = Source::pooled(&source.samples(&partner.id, workload))?;
    let contrast = source.pairing(&cell.id)?;
    let label = |of: &CellResult| {
        contrasts::axis_of(source, &contrast.name)
            .map_or_else(|| of.id.clone(), |axis| of.axes.on(axis).to_owned())
    };
    let there_first = contrast.from_cell == cell.id;
    Some(Other { here: label(cell), there: label(partner), there_first, pooled })
}

/// One box a side and, below, one a boot: of transactions where there are some, else of windows.
fn boot_boxes(
    workload: &str,
    quantity: Quantity,
    series: &[Series<'_>],
    sides: &[Side<'_>],
) -> anyhow::Result<Option<Chart>> {
    let row =
        |label: String, ink, five: Option<[f64; 5]>| five.map(|five| BoxRow { label, ink, five });
    let whole = series
        .iter()
        .zip([Ink::First, Ink::Second])
        .filter_map(|(side, ink)| row(format!("{}, all", side.label), ink, side.pooled.five()));
    let mut single: Vec<_> = sides
        .iter()
        .flat_map(|side| side.boots.iter().take(BOXES).map(move |start| (start.at, side, start)))
        .collect();
    single.sort_by_key(|(at, ..)| *at);
    let single = single.into_iter().filter_map(|(_, side, start)| {
        let Samples { min, max, .. } = *start.samples;
        let five = match Pooled::new(&[start.samples]) {
            Ok(pooled) if start.samples.histogram.is_some() => {
                let quartile = |q| pooled.quantile(q);
                [Some(min), quartile(0.25), quartile(0.5), quartile(0.75), Some(max)]
                    .into_iter()
                    .collect::<Option<Vec<_>>>()
                    .and_then(|five| five.try_into().ok())
            }
            _ => five_numbers(start.samples.values.clone()),
        };
        let name = if sides.len() > 1 { side.label } else { "boot" };
        row(format!("{name} {}", start.boot), side.ink, five)
    });
    let rows: Vec<_> = whole.chain(single).collect();
    let text = "Minimum, quartiles and maximum, of all boots and of single fresh starts in the order of the run. Boxes that do not overlap \
                mean that starts differ more than moments within a start.";
    let more = sides.iter().map(|side| side.boots.len().saturating_sub(BOXES)).sum::<usize>();
    let title = match more {
        0 => format!("{workload}: boxes, boot by boot"),
        more => format!("{workload}: boxes, boot by boot; {more} more boots in boots.jsonl"),
    };
    chart::boxes(title, text, quantity, &rows)
}
