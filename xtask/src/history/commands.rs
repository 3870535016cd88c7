//! `history add` and `history check`: what they read, ask and print.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;

use super::check::{Question, check};
use super::entry::Entry;
use super::line::line;
use super::show::Table;
use super::{accept, file};
use crate::cli;
use crate::command::Exit;
use crate::record::{Record, Run, any_measured, store};
use crate::report;
use crate::report::site::history::Links;
use crate::run::revision::commits_between;
use crate::streams::{print, say};
use crate::wrong::wrong;

/// `history add`.
///
/// # Errors
/// The run cannot be read, or the history not written.
pub fn add(told: &cli::HistoryAdd) -> anyhow::Result<Exit> {
    let history = file::file_of(&told.history);
    let mut runs = Vec::new();
    let folders = run_folders(&told.run);
    let several = folders.len() > 1;
    for folder in folders {
        let (run, records, warnings) = store::read(&folder)?;
        warnings.iter().for_each(say);
        // Of many runs, one that was stopped before its first boot must not keep the others out.
        if several && !any_measured(&records) {
            say(format_args!(
                "warning: run in `{}` is left out: no boot was measured",
                folder.display()
            ));
            continue;
        }
        runs.push((run, records, folder));
    }
    if runs.is_empty() {
        return Err(wrong(format!(
            "no run in `{}` measured anything: there is nothing to remember",
            told.run.display()
        )));
    }
    runs.sort_by_key(|(run, ..)| run.started_unix);
    for (run, records, folder) in &runs {
        let entry =
            entry(told, run, records).with_context(|| format!("run in `{}`", folder.display()))?;
        let added = file::add(&history, &entry, told.keep as usize)?;
        if added.mended {
            say(format_args!(
                "{}: a line that was not written whole was cut off",
                history.display()
            ));
        }
        if added.dropped > 0 {
            say(format_args!(
                "{}: {} older lines dropped (--keep {})",
                history.display(),
                added.dropped,
                told.keep
            ));
        }
        let commit = entry.commit.as_deref().unwrap_or("no commit");
        let what = if added.known { "is there already" } else { "added" };
        print(format_args!("{}: run {} of {commit} {what}\n", history.display(), entry.run))?;
    }
    Ok(Exit::Fine)
}

/// The folder itself, or the runs right below it, as `import csv` leaves several.
fn run_folders(named: &Path) -> Vec<PathBuf> {
    let mut below: Vec<PathBuf> = match named.join(store::RUN).exists() {
        true => Vec::new(),
        false => named
            .read_dir()
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.join(store::RUN).is_file())
            .collect(),
    };
    below.sort();
    if below.is_empty() { vec![named.to_owned()] } else { below }
}

fn entry(told: &cli::HistoryAdd, run: &Run, records: &[Record]) -> anyhow::Result<Entry<'static>> {
    line(run, records, told.commit.clone(), told.dirty, told.mark.clone()).map_err(wrong)
}

fn accepted(path: Option<&Path>) -> anyhow::Result<Vec<accept::Accepted>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("failed to read file `{name}`: {error}")))?;
    accept::parse(&text, &name).map_err(wrong)
}

/// `history page`. The day on which what was accepted expires is that of the newest run, so that equal input gives equal bytes.
///
/// # Errors
/// The history or the accepted changes cannot be read, or the page not written.
pub fn page(told: &cli::HistoryPage) -> anyhow::Result<Exit> {
    let path = file::file_of(&told.history);
    let (history, mut notes) = file::read(&path)?;
    let accepted = accepted(told.accept.as_deref())?;
    let asked = Question { accepted, ..Question::plain(&history) };
    let mut answer =
        check(&history, &asked).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    notes.append(&mut answer.notes);
    answer.notes = notes;
    let text =
        report::site::history::page(&history, &answer, asked.false_alarms, &Links::default())?;
    let out = told.out.display();
    std::fs::write(&told.out, text).with_context(|| format!("failed to write `{out}`"))?;
    say(&answer.sentence);
    print(format_args!("{out}\n"))?;
    Ok(Exit::Fine)
}

/// `history check`.
///
/// # Errors
/// The history or the accepted changes cannot be read.
pub fn check_history(told: &cli::HistoryCheck) -> anyhow::Result<Exit> {
    let path = file::file_of(&told.history);
    let accepted = accepted(told.accept.as_deref())?;
    let (history, notes) = file::read(&path)?;
    let asked = Question {
        false_alarms: told.false_alarms,
        accepted,
        now: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs(),
        reference: told.against.clone(),
        budget: [told.drift, told.drift_of_others].map(|percent| 1.0 + percent / 100.0),
    };
    let mut answer =
        check(&history, &asked).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    for change in &mut answer.changes {
        let [before, after] = &change.between;
        // A commit may be any text: git must not take it for an option.
        if let (Some(before), Some(after)) = (&before.commit, &after.commit)
            && [before, after].iter().all(|commit| commit.bytes().all(|c| c.is_ascii_hexdigit()))
            && before != after
            && let Some(commits) = commits_between(before, after)
        {
            change.commits = commits;
        }
    }
    notes.iter().chain(&answer.notes).for_each(say);
    match told.format {
        cli::Format::Table => print(Table(&answer))?,
        cli::Format::Json => print(serde_json::to_string_pretty(&answer)? + "\n")?,
    }
    Ok(match answer.verdict {
        "regressed" => Exit::Regressed,
        "inconclusive" if told.require_conclusive => Exit::Inconclusive,
        _ => Exit::Fine,
    })
}
