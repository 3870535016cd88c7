//! The history as a page: what changed and between which commits, and every series over its runs.

use std::collections::BTreeMap;

use evenkeel_history::check::{Answer, Finding, Place, Verdict, live};
use evenkeel_history::series::{History, Key, RunLine, Series};
use evenkeel_history::time::utc;
use serde::Serialize;

use crate::report::chart::{self, Chart};
use crate::report::format::{Quantity, grouped, probability, ratio};
use crate::report::view::Fact;

/// Series that are drawn: those that changed first.
const DRAWN: usize = 120;
/// Changes that are listed.
const LISTED: usize = 200;
/// Runs that are listed.
const RUNS: usize = 200;
/// Letters of a commit that are shown.
const SHORT: usize = 10;

/// Where things lie, seen from the page.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// The list of runs.
    pub index: Option<String>,
    /// The history's own file.
    pub data: Option<String>,
    /// Reports of runs, by tag and start.
    pub reports: BTreeMap<(String, u64), String>,
}

#[derive(Serialize)]
struct View {
    verdict: String,
    sentence: String,
    about: Vec<Fact>,
    notes: Vec<String>,
    false_alarms: String,
    index: Option<String>,
    data: Option<String>,
    changes: Vec<ChangeRow>,
    more_changes: usize,
    cells: Vec<CellTrends>,
    more_series: usize,
    runs: Vec<RunRow>,
    more_runs: usize,
}

#[derive(Serialize)]
struct ChangeRow {
    series: String,
    anchor: Option<String>,
    aspect: String,
    verdict: String,
    ratio: String,
    p: String,
    reason: Option<String>,
    between: Vec<RunRow>,
}

#[derive(Serialize)]
struct RunRow {
    href: Option<String>,
    /// The commit, or the run where none is known.
    name: String,
    when: String,
    mark: Option<String>,
    tag: String,
}

/// The series of one cell.
#[derive(Serialize)]
struct CellTrends {
    id: String,
    told: String,
    open: bool,
    charts: Vec<Trend>,
}

#[derive(Serialize)]
struct Trend {
    anchor: String,
    chart: Chart,
}

/// The page as HTML. Equal input gives equal bytes.
///
/// # Errors
/// The template and the view disagree, or a chart cannot be drawn, which tests rule out.
pub fn page(
    history: &History,
    answer: &Answer,
    false_alarms: f64,
    links: &Links,
) -> anyhow::Result<String> {
    let live = live(history);
    let mut of: Vec<Vec<&Finding>> = vec![Vec::new(); live.len()];
    for change in &answer.changes {
        // Keys are in order.
        let at = live.binary_search_by(|(key, _)| name(key).cmp(&of_change(change)));
        if let Some(of) = at.ok().and_then(|at| of.get_mut(at)) {
            of.push(change);
        }
    }
    let mut drawn: Vec<usize> = (0..live.len()).filter(|at| live[*at].1.runs.len() > 1).collect();
    drawn.sort_by_key(|at| {
        of[*at].iter().map(|change| change.verdict as u8).min().unwrap_or(u8::MAX)
    });
    let more_series = drawn.len().saturating_sub(DRAWN);
    drawn.truncate(DRAWN);
    let mut cells: Vec<CellTrends> = Vec::new();
    for at in &drawn {
        let (key, series) = live[*at];
        let Some(trend) = trend(history, key, series, &of[*at], *at)? else { continue };
        let cell = match cells.iter().position(|cell| cell.id == key.cell) {
            Some(cell) => cell,
            None => {
                let (id, told) = (key.cell.clone(), String::new());
                cells.push(CellTrends { id, told, open: false, charts: Vec::new() });
                cells.len() - 1
            }
        };
        let open = of[*at]
            .iter()
            .any(|change| matches!(change.verdict, Verdict::Regressed | Verdict::Improved));
        cells[cell].open |= open;
        cells[cell].charts.push(trend);
    }
    for cell in &mut cells {
        let changes = answer.changes.iter().filter(|change| change.cell == cell.id).count();
        let charts = cell.charts.len();
        cell.told = format!(
            "{charts} series, {changes} {}",
            if changes == 1 { "change" } else { "changes" }
        );
    }
    let place = |found: &Place| RunRow {
        href: links.reports.get(&(found.run.clone(), found.time)).cloned(),
        name: commit(found.commit.as_deref(), found.dirty, &found.run),
        when: utc(found.time),
        mark: None,
        tag: found.run.clone(),
    };
    let changes = answer.changes.iter().take(LISTED).map(|change| ChangeRow {
        series: format!("{}:{}", change.cell, change.workload),
        anchor: live
            .binary_search_by(|(key, _)| name(key).cmp(&of_change(change)))
            .ok()
            .filter(|at| drawn.contains(at))
            .map(anchor),
        aspect: format!("{} ({}), {}", change.aspect, change.figure, change.what),
        verdict: word(change.verdict).to_owned(),
        ratio: ratio(change.ratio),
        p: probability(change.p_corrected),
        reason: change.reason.clone(),
        between: change.between.iter().map(place).collect(),
    });
    let run = |run: &RunLine| RunRow {
        href: links.reports.get(&(run.run.clone(), run.time)).cloned(),
        name: commit(run.commit.as_deref(), run.dirty, &run.run),
        when: utc(run.time),
        mark: run.mark.clone(),
        tag: run.run.clone(),
    };
    let view = View {
        verdict: answer.verdict.to_owned(),
        sentence: answer.sentence.clone(),
        about: about(history, answer, live.len()),
        notes: answer.notes.clone(),
        false_alarms: Quantity::Share.show(false_alarms),
        index: links.index.clone(),
        data: links.data.clone(),
        changes: changes.collect(),
        more_changes: answer.changes.len().saturating_sub(LISTED),
        cells,
        more_series,
        runs: history.runs.iter().rev().take(RUNS).map(run).collect(),
        more_runs: history.runs.len().saturating_sub(RUNS),
    };
    crate::report::page("history.html", &view)
}

fn about(history: &History, answer: &Answer, live: usize) -> Vec<Fact> {
    let mut about = vec![
        Fact::new("runs", grouped(history.runs.len() as u64)),
        Fact::new("series checked", grouped(answer.series as u64)),
    ];
    if answer.too_short > 0 {
        about.push(Fact::new("series with too few runs", grouped(answer.too_short as u64)));
    }
    let ended = history.series.len() - live;
    if ended > 0 {
        about.push(Fact::new("series that ended with their instrument", grouped(ended as u64)));
    }
    if let [first, .., last] = &history.runs[..] {
        about.push(Fact::new("from", utc(first.time)));
        about.push(Fact::new("to", utc(last.time)));
    }
    about
}

/// What a series is called by, without its instrument; in the order of keys.
fn name(key: &Key) -> [&str; 4] {
    [&key.cell, &key.workload, &key.aspect, &key.figure]
}

fn of_change(change: &Finding) -> [&str; 4] {
    [&change.cell, &change.workload, &change.aspect, &change.figure]
}

fn anchor(at: usize) -> String {
    format!("series-{at}")
}

fn trend(
    history: &History,
    key: &Key,
    series: &Series,
    changes: &[&Finding],
    at: usize,
) -> anyhow::Result<Option<Trend>> {
    let runs: Vec<&RunLine> = series.runs.iter().map(|run| &history.runs[*run]).collect();
    let rules = changes
        .iter()
        .filter_map(|change| runs.iter().position(|run| run.line == change.between[1].line));
    let mut title = format!("{}: {} ({})", key.workload, key.aspect, key.figure);
    for change in changes {
        title.push_str(&format!(", {} {}", word(change.verdict), ratio(change.ratio)));
    }
    let days: Vec<String> =
        runs.iter().map(|run| utc(run.time).chars().take("2026-01-31".len()).collect()).collect();
    let values: Vec<f64> = series.logs.iter().map(|log| log.exp()).collect();
    let quantity = Quantity::of_symbol(&key.unit);
    let chart = chart::trend(title, quantity, &values, &days, &rules.collect::<Vec<_>>())?;
    Ok(chart.map(|chart| Trend { anchor: anchor(at), chart }))
}

fn commit(commit: Option<&str>, dirty: bool, run: &str) -> String {
    match commit {
        Some(commit) => {
            let short: String = commit.chars().take(SHORT).collect();
            if dirty { short + " and changes" } else { short }
        }
        None => format!("run {run}"),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "regressed",
        Verdict::Accepted => "accepted",
        Verdict::Mended => "mended",
        Verdict::Improved => "improved",
        Verdict::Small => "small",
    }
}
