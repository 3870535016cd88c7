//! What there is to tell of a run, worst first, and its texts for people. Everything in it comes from records, so it is data: the texts are
//! escaped for GitHub's Markdown.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::thread;
use crate::command::Exit;
use crate::matrix::{Axis, Matrix};
use crate::record::figures;
use crate::record::import::COMMIT;
use crate::record::results::{Results, VerdictRow};
use crate::record::{any_measured, store};
use crate::report::{self, Rendered, escape_markdown, interval, ratio};
use crate::run::verdicts;
use crate::streams::say;
use crate::verdict::{End, diagnosis};

/// A run, told.
#[derive(Clone, Debug)]
pub struct Said {
    /// Name of the matrix.
    pub matrix: String,
    /// The run's tag.
    pub run: String,
    /// Its start, seconds since 1970.
    pub started_unix: u64,
    /// What was measured, as the run itself says.
    pub commit: Option<String>,
    /// `regressed`, `inconclusive`, ... as `results.json` has it.
    pub verdict: String,
    /// The whole in a sentence; data.
    pub sentence: String,
    /// How it ended, which is the exit code.
    pub exit: Exit,
    /// What regressed, failed or is missing, worst first; then what is better in cells in which nothing is worse.
    pub changed: Vec<VerdictRow>,
    /// What is better in cells that are worse elsewhere.
    pub mixed: Vec<VerdictRow>,
    /// What cannot be told.
    pub open: Vec<VerdictRow>,
    /// The smallest change for the worse that could have been seen, where nothing was flagged: the median over all that gates.
    pub detectable: Option<f64>,
    /// All of it.
    pub results: Results,
    /// The whole report, for a site.
    pub rendered: Rendered,
    /// The matrix as it was written.
    pub matrix_text: String,
    /// Axes with more than one value, the one that is most often the cause first.
    telling: Vec<Axis>,
}

/// What a text takes, at most.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes; characters are never more.
    pub bytes: usize,
}

impl Said {
    /// Reads a run, judges it, and renders it.
    ///
    /// # Errors
    /// It cannot be read, or its policy is wrong.
    pub fn of(dir: &Path, conclusive: bool) -> anyhow::Result<Said> {
        let (run, records, warnings) = store::read(dir)?;
        warnings.iter().for_each(|warning| say(format_args!("warning: {warning}")));
        let mut results = figures::results(&run, &records)?;
        let judged = verdicts::of_run(&run, &records)?;
        // As `bench` ends: what fails altogether in the candidate has regressed, but without a base there is nothing that it could have.
        let exit = match judged.as_ref().map(|judged| judged.end(conclusive)) {
            _ if !any_measured(&records) => Exit::Host,
            None if run.base.is_some() => Exit::Host,
            Some(End::Regressed) => Exit::Regressed,
            Some(End::Inconclusive) => Exit::Inconclusive,
            Some(End::Fine) | None => Exit::Fine,
        };
        let mut cleared = BTreeSet::new();
        if let Some(judged) = judged {
            let of = |row: &VerdictRow| [&row.cell, &row.workload, &row.aspect].map(Clone::clone);
            let decisions = judged.decisions.iter().filter(|decision| decision.cleared);
            cleared.extend(decisions.map(|decision| of(&decision.row)));
            results.diagnoses = diagnosis::all(&judged, &records, &store::read_diagnoses(dir)?);
            judged.into_results(&mut results);
        }
        let rendered = report::render(&run, &records, &results, &warnings, report::Place::Site)?;
        let mut said = Said::new(&results, exit, rendered);
        // A gate that saw no sign of what its policy is to find has nothing open there.
        said.open.retain(|row| {
            !cleared.contains(&[&row.cell, &row.workload, &row.aspect].map(Clone::clone))
        });
        said.commit = run.facts.get(COMMIT).cloned();
        (said.run, said.started_unix) = (run.tag, run.started_unix);
        said.matrix_text = run.matrix_text;
        said.telling = telling(&run.matrix);
        Ok(said)
    }

    fn new(results: &Results, exit: Exit, rendered: Rendered) -> Said {
        let of = |verdicts: &[&str]| -> Vec<VerdictRow> {
            let rows = results.verdicts.iter();
            rows.filter(|row| verdicts.contains(&&*row.verdict)).cloned().collect()
        };
        let mut changed = of(&["regressed", "missing", "improved"]);
        let rank = |row: &VerdictRow| {
            let of = ["regressed", "missing", "improved"].iter().position(|of| *of == row.verdict);
            (of, !row.gates || row.accepted.is_some())
        };
        // What fails altogether is worse than any figure.
        let size =
            |row: &VerdictRow| row.ratio.filter(|r| *r > 0.0).map_or(f64::MAX, |r| r.ln().abs());
        changed.sort_by(|a, b| rank(a).cmp(&rank(b)).then(size(b).total_cmp(&size(a))));
        let (mixed, changed) = changed.into_iter().partition(|row| row.beside_worse);
        // What only informs is open more often than not, and nobody has to act on it.
        let mut open = of(&["inconclusive"]);
        open.retain(|row| row.gates);
        let gating = results.verdicts.iter().filter(|row| row.gates);
        let mut detectable: Vec<f64> = gating
            .filter_map(|row| row.detectable_ratio)
            .filter(|ratio| ratio.is_finite())
            .map(|ratio| if ratio < 1.0 { 1.0 / ratio } else { ratio })
            .collect();
        detectable.sort_by(f64::total_cmp);
        Said {
            matrix: results.matrix.clone(),
            run: String::new(),
            started_unix: 0,
            verdict: results.overall.verdict.clone(),
            sentence: results.overall.sentence.clone(),
            exit,
            changed,
            mixed,
            open,
            detectable: detectable.get(detectable.len() / 2).copied(),
            results: results.clone(),
            rendered,
            commit: None,
            matrix_text: String::new(),
            telling: Vec::new(),
        }
    }

    /// For a comment that is found again, and says which commit it is of.
    pub fn comment(&self, sha: &str, link: Option<&str>, budget: Budget) -> String {
        let (marker, end) = (thread::marker(&self.matrix), thread::measured_at(sha));
        let left = budget.bytes - marker.len() - end.len() - 1;
        let text = self.markdown(link, Budget { bytes: left });
        format!("{marker}\n{text}{end}")
    }

    /// For a pull request: the sentence, what changed, what is open, and all figures folded, as far as they fit.
    pub fn markdown(&self, link: Option<&str>, budget: Budget) -> String {
        let mut text = format!("**{}**\n", escaped(&self.sentence));
        if self.changed.is_empty()
            && let Some(smallest) = self.detectable
        {
            let smallest = ratio(smallest);
            writeln!(text, "\nA change of {smallest} for the worse could have been seen (median of what gates).").ok();
        }
        if let Some(link) = link {
            writeln!(text, "\n[The report]({link})").ok();
        }
        let more = |rest: usize| match link {
            Some(_) => format!("\nAnd {rest} more, all in the report.\n"),
            None => format!("\nAnd {rest} more.\n"),
        };
        // What is told first may take most; what comes after must leave the end its room.
        let room = |text: &str, share: usize| budget.bytes.saturating_mul(share) / 100 > text.len();
        if !self.changed.is_empty() {
            text.push_str("\n| verdict | cell | workload | aspect | candidate / base | why |\n|---|---|---|---|--:|---|\n");
            let mut left = self.changed.len();
            for row in &self.changed {
                let line = line(row);
                if !room(&format!("{text}{line}"), 60) {
                    break;
                }
                text.push_str(&line);
                left -= 1;
            }
            if left > 0 {
                text.push_str(&more(left));
            }
        }
        // The folded lists: their titles, and what they and all before them may take.
        let folded = [
            (&self.open, "It cannot be told of", 75),
            (&self.mixed, "Better, in cells that are worse elsewhere:", 80),
        ];
        for (rows, title, share) in folded {
            if rows.is_empty() || !room(&text, share - 10) {
                continue;
            }
            let mut left = rows.len();
            writeln!(text, "\n<details>\n<summary>{title} {left}</summary>\n").ok();
            for row in rows {
                let [cell, workload, reason] =
                    [&row.cell, &row.workload, &row.reason].map(|text| escaped(text));
                let line = format!("- {cell}, {workload}, {}: {reason}\n", escaped(&row.aspect));
                if !room(&format!("{text}{line}"), share) {
                    break;
                }
                text.push_str(&line);
                left -= 1;
            }
            if left > 0 {
                text.push_str(&more(left));
            }
            text.push_str("\n</details>\n");
        }
        // Its first line is the sentence.
        let all = self.rendered.markdown.split_once('\n').map_or("", |(_, rest)| rest);
        let folded = format!("\n<details>\n<summary>All figures</summary>\n{all}\n</details>\n");
        if folded.len() + text.len() <= budget.bytes {
            text.push_str(&folded);
        }
        bounded(text, budget)
    }

    /// The line of the matrix that a row is about, 1-based: that of the axis which is most often the cause and has several values.
    pub fn line_of(&self, row: &VerdictRow) -> usize {
        let values: Vec<&str> = row.cell.split('/').collect();
        let on_axis = |axis: &Axis| {
            let key = axis.name();
            self.matrix_text.lines().position(|line| {
                let Some((name, rest)) = line.split_once('=') else { return false };
                let quoted = |value: &&str| {
                    rest.contains(&format!("\"{value}\"")) || rest.contains(&format!("'{value}'"))
                };
                name.trim() == key && values.iter().any(quoted)
            })
        };
        self.telling.iter().find_map(on_axis).map_or(1, |at| at + 1)
    }
}

/// Axes of which a matrix has several values, then all others.
fn telling(matrix: &Matrix) -> Vec<Axis> {
    let several = |axis: &Axis| {
        let first = matrix.cells.first().map(|cell| cell.on(*axis));
        matrix.cells.iter().any(|cell| Some(cell.on(*axis)) != first)
    };
    let order = [
        Axis::Tuning,
        Axis::Network,
        Axis::Virtualization,
        Axis::Kernel,
        Axis::HostKernel,
        Axis::Load,
    ];
    let (mut telling, others): (Vec<Axis>, Vec<Axis>) = order.into_iter().partition(several);
    telling.extend(others);
    telling
}

fn line(row: &VerdictRow) -> String {
    let [cell, workload, aspect, reason] =
        [&row.cell, &row.workload, &row.aspect, &row.reason].map(|text| escaped(text));
    let aside = match (&row.accepted, row.gates) {
        (Some(_), _) => " (accepted)",
        (None, false) => " (informational)",
        (None, true) => "",
    };
    format!(
        "| {}{aside} | {cell} | {workload} | {aspect} | {} | {reason} |\n",
        escaped(&row.verdict),
        size(row)
    )
}

/// `x1.52 [1.40-1.65]`.
fn size(row: &VerdictRow) -> String {
    let ends = row.low.zip(row.high).map(|(low, high)| format!(" {}", interval(low, high)));
    row.ratio.map_or("-".to_owned(), |of| ratio(of) + &ends.unwrap_or_default())
}

/// Text for Markdown.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    // A string takes everything.
    escape_markdown(&mut out, text).ok();
    out
}

/// A last resort: cut at a line, said.
fn bounded(text: String, budget: Budget) -> String {
    const CUT: &str = "\n\nCut off here: all is in the report.\n";
    if text.len() <= budget.bytes {
        return text;
    }
    let mut end = budget.bytes.saturating_sub(CUT.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let end = text[..end].rfind('\n').unwrap_or(end);
    text[..end].to_owned() + CUT
}
