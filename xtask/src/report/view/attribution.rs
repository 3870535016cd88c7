//! Which knob does what: the ranked table of each place, and its forest plots.

use serde::Serialize;

use super::source::Source;
use crate::record::figures::attribution::{BASE, CLEAR, PROFILE, is_clear};
use crate::record::results::{AttributionResult, EffectResult, KnobResult};
use crate::report::chart::{self, Chart, ForestRow, Ink};
use crate::report::format::{interval, probability, ratio};
use crate::report::text::anchor;

/// A figure that has a column, by the names that stand for it, the first that was measured: (heading, figures).
const COLUMNS: [(&str, &[&str]); 5] = [
    ("median", &["median"]),
    ("MAD", &["mad"]),
    ("SD", &["sd_within"]),
    ("tail", &["far_jitter", "jitter"]),
    ("stall", &["stall_share"]),
];

/// What a figure is, for the heading of its chart and its column.
fn about(figure: &str) -> &'static str {
    match figure {
        "median" => "location: median",
        "mad" => "dispersion: median absolute deviation",
        "sd_within" => "dispersion: standard deviation",
        "far_jitter" => "tail: p99.9 - p50",
        "jitter" => "tail: p99 - p50",
        "stall_share" => "stall: share of time in transactions over 10 ms",
        _ => "",
    }
}

/// A place and a workload.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    profile: String,
    base: String,
    place: String,
    workload: String,
    anchor: String,
    emulated: bool,
    /// How the numbers came about, in sentences.
    method: String,
    columns: Vec<Column>,
    rows: Vec<Row>,
    /// What is said of many rows, once.
    notes: Vec<String>,
    charts: Vec<Chart>,
}

#[derive(Debug, Serialize)]
struct Column {
    name: String,
    about: &'static str,
}

/// A knob beside certain others: the first of a knob has its rank and name.
#[derive(Debug, Serialize)]
struct Row {
    rank: Option<String>,
    name: Option<String>,
    values: String,
    evidence: String,
    class: String,
    /// The name, in every row.
    knob: String,
    /// Rows of this knob.
    of: usize,
    beside: String,
    to_anchor: Option<String>,
    cells: Vec<Cell>,
    boots: String,
    /// How many boots failed without and with the knob, where some did.
    failed: Option<String>,
    notes: Vec<String>,
}

/// One effect.
#[derive(Debug, Serialize)]
struct Cell {
    ratio: Option<String>,
    interval: Option<String>,
    p: Option<String>,
    /// `better`, `worse`, or `unclear` where it is not clear of chance.
    class: &'static str,
}

/// One table for each place and workload.
pub(super) fn tables(source: &Source<'_>) -> anyhow::Result<Vec<Table>> {
    source.results.attribution.iter().map(|found| table(source, found)).collect()
}

fn table(source: &Source<'_>, found: &AttributionResult) -> anyhow::Result<Table> {
    let figures = figures(found);
    let mut rows = Vec::new();
    for knob in &found.knobs {
        rows.extend(knob_rows(source, found, knob, &figures));
    }
    rows.extend(whole_row(source, found, &figures));
    let notes = said_once(&mut rows);
    let charts = figures.iter().map(|figure| forest(found, figure));
    let charts = charts.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect();
    let AttributionResult { profile, base, place, workload, .. } = found;
    let in_place = |cell: &&crate::record::results::CellResult| {
        let shared = crate::matrix::Cell { tuning: "*".into(), ..cell.axes.clone() };
        shared.id() == *place
    };
    let emulated =
        source.results.cells.iter().filter(in_place).any(|cell| source.emulated(&cell.id));
    Ok(Table {
        profile: profile.clone(),
        base: base.clone(),
        place: place.clone(),
        workload: workload.clone(),
        anchor: anchor(&format!("knobs/{place}/{workload}")),
        notes,
        emulated,
        method: method(found),
        columns: figures
            .iter()
            .map(|(name, figure)| Column { name: (*name).to_owned(), about: about(figure) })
            .collect(),
        rows,
        charts,
    })
}

/// The columns that have a number, each with its figure.
fn figures<'a>(found: &AttributionResult) -> Vec<(&'a str, &'a str)> {
    let effects = || found.knobs.iter().flat_map(|knob| &knob.effects).chain(&found.whole);
    let has = |figure: &&&str| {
        effects().any(|effect| effect.figure == ***figure && effect.ratio.is_some())
    };
    let columns = COLUMNS.iter();
    columns.filter_map(|(name, figures)| Some((*name, *figures.iter().find(has)?))).collect()
}

fn method(found: &AttributionResult) -> String {
    let AttributionResult { profile, base, tests, .. } = found;
    let how = match found.design.as_str() {
        "factorial" => format!(
            "Profiles between {base} and {profile} form a two-level fraction of all combinations, in which every knob is on in half of \
             the boots; effects of single knobs are explained by least squares on logs over boots. While every profile has its boots, they are \
             clear of what any two do together."
        ),
        _ => format!(
            "Each boot with the knob is compared with the boot without it of the same block, on logs: beside the rest of {profile} \
             (taken out of it), and alone (put into {base}). Where the two differ, the knob depends on the others."
        ),
    };
    format!(
        "{how} Brackets are 95 % intervals, each for itself; ✓ and ✗ only where Holm's correction over all {tests} effects of the run leaves \
         p < {CLEAR}. Ranked by the largest such effect on dispersion or tail; a knob without one has no rank."
    )
}

/// Takes what is said of three rows or more out of them, so that it is said once for the table.
fn said_once(rows: &mut [Row]) -> Vec<String> {
    const MANY: usize = 3;
    let mut notes: Vec<String> = Vec::new();
    for note in rows.iter().flat_map(|row| &row.notes) {
        let said = rows.iter().filter(|row| row.notes.contains(note)).count();
        if said >= MANY && !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    rows.iter_mut().for_each(|row| row.notes.retain(|note| !notes.contains(note)));
    notes
}

fn beside(found: &AttributionResult, effect: &str) -> String {
    match effect {
        PROFILE => format!("beside the rest of {}", found.profile),
        BASE => format!("alone on {}", found.base),
        _ => "on average over the others".to_owned(),
    }
}

/// Kinds of neighbours that a knob's effects have, in order.
fn contexts(effects: &[EffectResult]) -> Vec<&str> {
    let mut contexts: Vec<&str> = Vec::new();
    for effect in effects {
        if !contexts.contains(&effect.beside.as_str()) {
            contexts.push(&effect.beside);
        }
    }
    contexts
}

fn knob_rows(
    source: &Source<'_>,
    found: &AttributionResult,
    knob: &KnobResult,
    figures: &[(&str, &str)],
) -> Vec<Row> {
    let mut contexts = contexts(&knob.effects);
    if contexts.is_empty() {
        contexts.push("");
    }
    let of = contexts.len();
    let row = |(n, context): (usize, &str)| {
        let mut row = row(source, found, context, &knob.effects, figures);
        row.of = of;
        row.knob = knob.name.clone();
        row.rank = (n == 0).then(|| knob.rank.map_or("-".to_owned(), |rank| rank.to_string()));
        if n == 0 {
            row.name = Some(knob.name.clone());
            row.values = values(knob);
            row.evidence = knob.evidence.replace('-', " ");
            row.class = knob.evidence.clone();
            row.notes.splice(0..0, knob.notes.iter().cloned());
        }
        row
    };
    contexts.into_iter().enumerate().map(row).collect()
}

/// `off` to `on` of each knob of a group; nothing of what no boot can turn.
fn values(knob: &KnobResult) -> String {
    let told = knob.knobs.iter().filter(|values| values.off != values.on).map(|values| {
        let name =
            if values.knob == knob.name { String::new() } else { format!("{} ", values.knob) };
        let shown =
            |value: &Option<String>| value.clone().unwrap_or_else(|| "left alone".to_owned());
        match &values.off {
            None => format!("{name}= {}", shown(&values.on)),
            Some(_) => format!("{name}= {}, was {}", shown(&values.on), shown(&values.off)),
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

fn whole_row(
    source: &Source<'_>,
    found: &AttributionResult,
    figures: &[(&str, &str)],
) -> Option<Row> {
    let context = found.whole.first()?.beside.clone();
    let mut row = row(source, found, &context, &found.whole, figures);
    row.rank = Some(String::new());
    row.knob = format!("all of {}", found.profile);
    row.name = Some(row.knob.clone());
    row.beside = format!("against {}", found.base);
    Some(row)
}

fn row(
    source: &Source<'_>,
    found: &AttributionResult,
    context: &str,
    effects: &[EffectResult],
    figures: &[(&str, &str)],
) -> Row {
    let own: Vec<&EffectResult> =
        effects.iter().filter(|effect| effect.beside == context).collect();
    let cells = figures.iter().map(|(_, figure)| {
        Cell::of(own.iter().find(|effect| effect.figure == *figure).copied(), &found.better)
    });
    // What holds for all figures is said once.
    let mut notes: Vec<String> = Vec::new();
    for note in own.iter().filter_map(|effect| effect.note.as_deref()).flat_map(|n| n.split("; ")) {
        if !notes.iter().any(|known| known == note) {
            notes.push(note.to_owned());
        }
    }
    let boots = own.iter().map(|effect| effect.boots).max().unwrap_or_default();
    Row {
        rank: None,
        name: None,
        values: String::new(),
        evidence: String::new(),
        class: String::new(),
        knob: String::new(),
        failed: match own.iter().map(|effect| effect.failed).max().unwrap_or_default() {
            [0, 0] => None,
            [without, with] => Some(format!("failed: {without} without, {with} with")),
        },
        of: 1,
        beside: if context.is_empty() { String::new() } else { beside(found, context) },
        to_anchor: own
            .iter()
            .find_map(|effect| effect.to_cell.as_deref())
            .filter(|id| source.cell(id).is_some())
            .map(anchor),
        cells: cells.collect(),
        boots: match boots {
            [0, 0] => "-".to_owned(),
            [_, with] if context == PROFILE || context == BASE => format!("{with} pairs"),
            [without, with] => format!("{without} + {with}"),
        },
        notes,
    }
}

impl Cell {
    fn of(effect: Option<&EffectResult>, better: &str) -> Cell {
        let Some((effect, found)) = effect.and_then(|effect| Some((effect, effect.ratio?))) else {
            return Cell { ratio: None, interval: None, p: None, class: "none" };
        };
        // A level follows the workload's direction; a spread, a tail or a share of stalls is always better when smaller.
        let is_level = effect.aspect == "location" && better == "higher";
        let class = match (is_clear(effect), (found > 1.0) == is_level) {
            (false, _) => "unclear",
            (true, true) => "better",
            (true, false) => "worse",
        };
        Cell {
            ratio: Some(ratio(found)),
            interval: effect.low.zip(effect.high).map(|(low, high)| interval(low, high)),
            p: effect.p_corrected.map(probability),
            class,
        }
    }
}

/// Points with intervals of one figure, the knobs in the order of the table. Nothing where there is no ratio.
fn forest(
    found: &AttributionResult,
    (name, figure): &(&str, &str),
) -> anyhow::Result<Option<Chart>> {
    let inks = [Ink::First, Ink::Second];
    let all = contexts_of(found);
    let rows = found.knobs.iter().filter(|knob| !knob.effects.is_empty()).map(|knob| {
        let own = knob.effects.iter().filter(|effect| effect.figure == *figure);
        let points = own.filter_map(|effect| {
            let at = all.iter().position(|context| *context == effect.beside)?;
            let ends = [effect.low?, effect.ratio?, effect.high?];
            Some((inks[at % inks.len()], at, ends))
        });
        ForestRow { label: labelled(knob), points: points.collect() }
    });
    let rows: Vec<ForestRow> = rows.collect();
    let keys = all.iter().zip(inks).map(|(context, ink)| (ink.class(), beside(found, context)));
    let text = "Ratio with / without, a point with its 95 % interval: left of ×1 the knob makes it smaller.";
    let title = match about(figure) {
        "" => (*name).to_owned(),
        about => about.to_owned(),
    };
    chart::forest(title, text, keys.collect(), &rows)
}

fn labelled(knob: &KnobResult) -> String {
    match knob.rank {
        Some(rank) => format!("{rank}. {}", knob.name),
        None => format!("({})", knob.name),
    }
}

fn contexts_of(found: &AttributionResult) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for context in found.knobs.iter().flat_map(|knob| contexts(&knob.effects)) {
        if !all.contains(&context) {
            all.push(context);
        }
    }
    all
}
