//! Verdicts for a terminal: the sentence, what must be known of it, then what was decided, alike together, at most a hundred columns wide.

use std::fmt::{self, Write as _};

use super::{Decision, Extent, ROWS, Table, p_shown, size, word, worst_first};
use crate::matrix::printable;
use crate::record::results::Overall;
use crate::report::ratio;
use crate::verdict::told::MANY_BOOTS;
use crate::verdict::{Aspect, Verdict, Verdicts};

/// Columns of a terminal.
const WIDTH: usize = 100;

/// What stands above the columns of a row.
const COLUMNS: [&str; 7] =
    ["workload", "aspect", "candidate / base", "p", "boots", "detectable", "needs"];

/// Which of them is what could have been seen.
const DETECTABLE: usize = 5;

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table(verdicts, extent) = *self;
        let Overall { verdict, sentence } = &verdicts.overall;
        // A sentence about regressions begins with them.
        let first = match verdict == Verdict::Regressed.name() {
            true => printable(sentence),
            false => format!("{verdict}: {}", printable(sentence)),
        };
        wrap(f, "", "", &first)?;
        known_beside(f, verdicts)?;
        let mut told = worst_first(verdicts);
        let equivalent = verdicts.decisions.len() - told.len();
        if extent == Extent::Short {
            told.retain(|of| matches!(of.verdict, Verdict::Regressed | Verdict::Missing));
            return rows(f, &told);
        }
        rows(f, &told)?;
        if equivalent > 0 {
            writeln!(f, "\n{equivalent} equivalent")?;
        }
        terms(f, &told, verdicts)?;
        let steady = verdicts.checks.iter().filter(|check| !check.void(&verdicts.policy));
        let steady = steady.filter(|_| extent == Extent::Whole);
        for (at, check) in steady.enumerate() {
            let between = if at == 0 { "\n" } else { "" };
            write!(f, "{between}")?;
            wrap(f, "steady: ", "  ", &printable(&check.to_string()))?;
        }
        policy(f, verdicts, extent)
    }
}

/// Lines of the policy that are always told: its name, and its margins.
const OF_POLICY: usize = 2;

fn policy(f: &mut fmt::Formatter<'_>, verdicts: &Verdicts, extent: Extent) -> fmt::Result {
    writeln!(f)?;
    let mut lines = verdicts.policy.lines();
    let all = lines.len();
    if extent != Extent::Whole {
        lines.truncate(OF_POLICY);
    }
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in &lines {
        let indent = " ".repeat(width + 2);
        wrap(f, &format!("{name:width$}  "), &indent, &printable(value))?;
    }
    if lines.len() < all {
        writeln!(f, "--verbose has the whole policy, and every check of the run")?;
    }
    Ok(())
}

/// What the words of the table mean, of those that are in it.
fn terms(f: &mut fmt::Formatter<'_>, told: &[&Decision], verdicts: &Verdicts) -> fmt::Result {
    let shown = &told[..told.len().min(ROWS)];
    let has = |at: usize| shown.iter().any(|of| columns(of)[at] != NOTHING);
    let power = 100.0 * verdicts.policy.require.power;
    let detectable = format!(
        "the smallest change for the worse that so many boots show in {power:.0} % of cases"
    );
    let all = [
        (
            has(3),
            "p",
            "chance of so much without any change beyond the margin, corrected for all that is judged",
        ),
        (has(DETECTABLE), COLUMNS[DETECTABLE], &*detectable),
        (
            has(DETECTABLE + 1),
            COLUMNS[DETECTABLE + 1],
            "boots a side that would show a change as large as it looks, or of twice the margin",
        ),
        (
            shown.iter().any(|of| !of.row.gates),
            "informational",
            "it is told, and changes no exit code",
        ),
    ];
    for (at, (_, term, meaning)) in all.iter().filter(|(is_there, ..)| *is_there).enumerate() {
        let between = if at == 0 { "\n" } else { "" };
        write!(f, "{between}")?;
        wrap(f, &format!("{term}: "), "  ", meaning)?;
    }
    Ok(())
}

/// What speaks against the run, and notes.
fn known_beside(f: &mut fmt::Formatter<'_>, verdicts: &Verdicts) -> fmt::Result {
    let void = verdicts.checks.iter().filter(|check| check.void(&verdicts.policy));
    let void = void.map(|check| ("void: ", check.to_string()));
    let notes = verdicts.notes.iter().map(|note| ("note: ", note.clone()));
    for (at, (what, text)) in void.chain(notes).enumerate() {
        let between = if at == 0 { "\n" } else { "" };
        write!(f, "{between}")?;
        wrap(f, what, "  ", &printable(&text))?;
    }
    Ok(())
}

/// Decisions that ended alike, for the same reason.
struct Group<'v> {
    word: String,
    gist: &'v str,
    of: Vec<&'v Decision>,
}

/// What is told, by what came out and why, and in it by cell.
fn rows(f: &mut fmt::Formatter<'_>, told: &[&Decision]) -> fmt::Result {
    let shown = &told[..told.len().min(ROWS)];
    let mut groups: Vec<Group<'_>> = Vec::new();
    for decision in shown {
        let (word, gist) = (word(decision), decision.gist.as_str());
        match groups.iter_mut().find(|group| group.word == word && group.gist == gist) {
            Some(group) => group.of.push(decision),
            None => groups.push(Group { word, gist, of: vec![decision] }),
        }
    }
    let cells: Vec<[String; COLUMNS.len()]> = shown.iter().map(|of| columns(of)).collect();
    let heading = COLUMNS.map(str::to_owned);
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(|at| {
        let all = cells.iter().chain([&heading]);
        all.map(|row| row[at].chars().count()).max().unwrap_or(0)
    });
    for Group { word, gist, of } in &groups {
        writeln!(f)?;
        wrap(f, &format!("{word}: "), "  ", &printable(gist))?;
        line(f, &heading, &widths)?;
        let mut by_cell: Vec<(&str, Vec<&Decision>)> = Vec::new();
        for decision in of {
            let cell = decision.row.cell.as_str();
            match by_cell.iter_mut().find(|(known, _)| *known == cell) {
                Some((_, rows)) => rows.push(decision),
                None => by_cell.push((cell, vec![decision])),
            }
        }
        let alike = of.iter().all(|decision| decision.notes == of[0].notes);
        if alike && of.len() > 1 {
            notes(f, "  ", &of[0].notes)?;
        }
        for (cell, rows) in by_cell {
            writeln!(f, "  {}", printable(cell))?;
            for decision in rows {
                line(f, &columns(decision), &widths)?;
                if !alike || of.len() == 1 {
                    notes(f, "      ", &decision.notes)?;
                }
            }
        }
    }
    if told.len() > ROWS {
        writeln!(f, "\nand {} more: --format json has all", told.len() - ROWS)?;
    }
    Ok(())
}

fn notes(f: &mut fmt::Formatter<'_>, indent: &str, notes: &[String]) -> fmt::Result {
    match notes {
        [] => Ok(()),
        notes => wrap(f, indent, indent, &printable(&notes.join("; "))),
    }
}

fn columns(decision: &Decision) -> [String; COLUMNS.len()] {
    let row = &decision.row;
    let [base, candidate] = row.boots;
    // Whoever wants to know more may measure more.
    let is_open = decision.verdict == Verdict::Inconclusive
        && !matches!(decision.aspect, Aspect::BetweenBoot | Aspect::Outcome)
        && row.p.is_some();
    let needed = match row.boots_needed {
        Some(boots) if boots <= MANY_BOOTS => boots.to_string(),
        _ if is_open && !decision.cleared => format!(">{MANY_BOOTS}"),
        _ => NOTHING.to_owned(),
    };
    let visible = row.detectable_ratio.filter(|_| is_open).map(ratio);
    [
        printable(&row.workload),
        row.aspect.clone(),
        size(row),
        p_shown(row),
        format!("{base}+{candidate}"),
        visible.unwrap_or_else(|| NOTHING.to_owned()),
        needed,
    ]
}

/// Stands where there is nothing to tell.
const NOTHING: &str = "-";

/// One row; what has nothing right of it is left out.
fn line(
    f: &mut fmt::Formatter<'_>,
    row: &[String; COLUMNS.len()],
    widths: &[usize; COLUMNS.len()],
) -> fmt::Result {
    let mut text = String::from("    ");
    for (word, width) in row.iter().zip(widths) {
        write!(text, "{word:width$}  ")?;
    }
    let kept = text.trim_end_matches([' ', '-']);
    writeln!(f, "{}", if kept.is_empty() { text.trim_end() } else { kept })
}

/// Text in lines of at most [`WIDTH`], where its words allow that.
fn wrap(f: &mut fmt::Formatter<'_>, first: &str, indent: &str, text: &str) -> fmt::Result {
    let mut line = first.to_owned();
    let mut is_begun = false;
    for word in text.split(' ') {
        let length = line.chars().count() + usize::from(is_begun) + word.chars().count();
        if is_begun && length > WIDTH {
            writeln!(f, "{}", line.trim_end())?;
            line = indent.to_owned();
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(word);
        is_begun = true;
    }
    writeln!(f, "{}", line.trim_end())
}
