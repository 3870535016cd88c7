//! Verdicts for people, for programs and for a comment: table, JSON, Markdown. Pure.

use std::fmt;

use serde::Serialize;

use super::{Check, Decision, Verdict, Verdicts};
use crate::record::SCHEMA;
use crate::record::results::{BESIDE_WORSE, ComparisonResult, Overall, VerdictRow};
use crate::report::{escape_markdown, interval, probability, ratio};

mod table;

/// Rows that are shown; all are in the JSON.
const ROWS: usize = 200;

/// Verdicts as a table. Ends with a line break.
#[derive(Debug)]
pub struct Table<'v>(pub &'v Verdicts, pub Extent);

/// How much a table tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The sentence, and what regressed or is missing.
    Short,
    /// All that is not equivalent, its terms, and the policy's margins.
    Usual,
    /// Also every check of the run, and the whole policy.
    Whole,
}

/// Verdicts as Markdown. Ends with a line break.
#[derive(Debug)]
pub struct Markdown<'v>(pub &'v Verdicts);

/// What is not equivalent, what must be acted on first.
fn worst_first(verdicts: &Verdicts) -> Vec<&Decision> {
    let decisions = verdicts.decisions.iter();
    let mut told: Vec<&Decision> =
        decisions.filter(|decision| decision.verdict != Verdict::Equivalent).collect();
    told.sort_by(|a, b| {
        let informs = |decision: &Decision| !decision.row.gates || decision.row.accepted.is_some();
        // What fails altogether is worse than any figure.
        let size = |decision: &Decision| decision.harm.map_or(f64::MAX, f64::abs);
        let key = |of: &Decision| (of.verdict, of.row.beside_worse, informs(of));
        key(a).cmp(&key(b)).then(size(b).total_cmp(&size(a)))
    });
    told
}

/// `x1.52 [1.40-1.65]`.
fn size(row: &VerdictRow) -> String {
    let ends = row.low.zip(row.high).map(|(low, high)| format!(" {}", interval(low, high)));
    row.ratio.map_or("-".to_owned(), |of| ratio(of) + &ends.unwrap_or_default())
}

fn word(decision: &Decision) -> String {
    let mut word = decision.verdict.name().to_owned();
    if decision.row.beside_worse {
        word.push_str(&format!(" ({BESIDE_WORSE})"));
    } else if decision.row.accepted.is_some() {
        word.push_str(" (accepted)");
    } else if !decision.row.gates {
        word.push_str(" (informational)");
    }
    word
}

fn p_shown(row: &VerdictRow) -> String {
    row.p_corrected.map_or("-".to_owned(), probability)
}

/// Text for a cell of a table in Markdown.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape_markdown(f, self.0)
    }
}

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdicts = self.0;
        let told = worst_first(verdicts);
        writeln!(f, "**{}**\n", Escaped(&verdicts.overall.sentence))?;
        let void = verdicts.checks.iter().filter(|check| check.void(&verdicts.policy));
        for note in void.map(Check::to_string).chain(verdicts.notes.iter().cloned()) {
            writeln!(f, "> {}\n", Escaped(&note))?;
        }
        if !told.is_empty() {
            writeln!(f, "| verdict | cell | workload | aspect | candidate / base | p | why |")?;
            writeln!(f, "|---|---|---|---|--:|--:|---|")?;
        }
        for decision in told.iter().take(ROWS) {
            let row = &decision.row;
            let [cell, workload, reason] =
                [&row.cell, &row.workload, &row.reason].map(|text| Escaped(text));
            let (word, aspect, size, p) = (word(decision), &row.aspect, size(row), p_shown(row));
            writeln!(f, "| {word} | {cell} | {workload} | {aspect} | {size} | {p} | {reason} |")?;
        }
        if told.len() > ROWS {
            writeln!(f, "\nAnd {} more.", told.len() - ROWS)?;
        }
        let equivalent = verdicts.decisions.len() - told.len();
        if equivalent > 0 {
            writeln!(f, "\n{equivalent} equivalent.")?;
        }
        writeln!(f, "\n<details>\n<summary>Policy</summary>\n")?;
        for (name, value) in verdicts.policy.lines() {
            writeln!(f, "- {}: {}", Escaped(&name), Escaped(&value))?;
        }
        writeln!(f, "\n</details>")
    }
}

/// What `compare --format json` prints: parts of `results.json`.
#[derive(Serialize)]
struct Json<'v> {
    schema: u32,
    verdicts: Vec<VerdictRow>,
    comparison: ComparisonResult,
    overall: &'v Overall,
}

/// Verdicts as JSON.
///
/// # Errors
/// None that is known: it is in memory.
pub fn json(verdicts: &Verdicts) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Json {
        schema: SCHEMA,
        verdicts: verdicts.rows(),
        comparison: verdicts.comparison(),
        overall: &verdicts.overall,
    })
}
