//! Runs that somebody else shipped: read with bounds, and believed only as far as they are of the right form.
//!
//! Two files of a run are read, by the names that this tool gives them; no name in them is ever a path. What is larger, longer or more
//! than any run of ours, a link, or no plain file is refused before it is read. Records of numbers that cannot be true are left out
//! (`record::check`). Verdicts and reports that were shipped beside are not looked at: they are made again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::matrix::{Axis, quoted};
use crate::record::{Outcome, PlannedCell, Record, Run, Status, store};
use crate::wrong::wrong;

use super::merge::Shipped;

/// What a shipped run may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of `run.json`.
    pub header: u64,
    /// Bytes of `boots.jsonl`.
    pub boots: u64,
    /// Bytes of one record.
    pub record: u64,
    /// Records.
    pub records: usize,
    /// Cells.
    pub cells: usize,
    /// Bytes of a single text.
    pub text: usize,
}

impl Default for Bounds {
    /// Far above what a week of measuring leaves: 100,000 boots of ten thousand cells.
    fn default() -> Bounds {
        Bounds {
            header: 64 << 20,
            boots: 1 << 30,
            record: 8 << 20,
            records: 100_000,
            cells: 20_000,
            text: 64 << 10,
        }
    }
}

/// Runs in a folder: itself, or those right below it, as artifacts are downloaded.
///
/// # Errors
/// It cannot be looked into, or has more folders than there can be shards.
pub fn folders(named: &Path) -> anyhow::Result<Vec<PathBuf>> {
    const MOST: usize = 10_000;
    if named.join(store::RUN).symlink_metadata().is_ok() {
        return Ok(vec![named.to_owned()]);
    }
    let entries = named
        .read_dir()
        .map_err(|error| wrong(format!("failed to read folder `{}`: {error}", named.display())))?;
    let mut below = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Not followed: a link may lead anywhere.
        if entry.file_type()?.is_dir() && entry.path().join(store::RUN).symlink_metadata().is_ok() {
            below.push(entry.path());
        }
        if below.len() > MOST {
            return Err(wrong(format!("`{}` holds more than {MOST} runs", named.display())));
        }
    }
    below.sort();
    if below.is_empty() {
        return Err(wrong(format!("no run in `{}`: `{}` is missing", named.display(), store::RUN)));
    }
    Ok(below)
}

/// Reads a run, and says what of it was left out.
///
/// # Errors
/// It is no run, or larger than the bounds, or holds what no run of ours does.
pub fn read(dir: &Path, bounds: Bounds) -> anyhow::Result<(Shipped, Vec<String>)> {
    let name = dir.display().to_string();
    let header = dir.join(store::RUN);
    let mut text = Vec::new();
    plain(&header, bounds.header)?
        .context("a run has a header")
        .map_err(wrong)?
        .take(bounds.header)
        .read_to_end(&mut text)
        .with_context(|| format!("failed to read file `{}`", header.display()))?;
    let run = store::parse_run(&text, &header.display().to_string())?;
    plausible(&run, bounds).map_err(|why| wrong(format!("`{}`: {why}", header.display())))?;
    let boots = dir.join(store::BOOTS);
    let mut warnings = Vec::new();
    let mut records = Vec::new();
    if let Some(file) = plain(&boots, bounds.boots)? {
        let mut lines = BufReader::new(file.take(bounds.boots));
        let at = boots.display();
        for number in 1.. {
            let mut line = Vec::new();
            let read = lines.by_ref().take(bounds.record + 1).read_until(b'\n', &mut line);
            if read.with_context(|| format!("failed to read file `{at}`"))? == 0 {
                break;
            }
            if line.len() as u64 > bounds.record {
                let most = bounds.record >> 20;
                return Err(wrong(format!("`{at}` line {number} is longer than {most} MiB")));
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            if records.len() >= bounds.records {
                return Err(wrong(format!("`{at}` has more than {} records", bounds.records)));
            }
            match store::parse_record(&line, &format!("`{at}` line {number}"))? {
                Ok(record) => {
                    of_ours(&record, bounds)
                        .map_err(|why| wrong(format!("`{at}` line {number}: {why}")))?;
                    records.push(record);
                }
                Err(why) => warnings.push(why),
            }
        }
    }
    Ok((Shipped { name, run, records }, warnings))
}

/// Opens a plain file of at most so many bytes; nothing where there is none.
fn plain(path: &Path, most: u64) -> anyhow::Result<Option<File>> {
    let name = path.display();
    // What is no plain file must not be waited for either: opening a pipe would.
    let flags = libc_flags();
    let file = match std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(format!("failed to open file `{name}`: {error}"))),
    };
    let metadata = file.metadata().with_context(|| format!("failed to look at `{name}`"))?;
    if !metadata.is_file() {
        return Err(wrong(format!("`{name}` is no plain file")));
    }
    if metadata.len() > most {
        return Err(wrong(format!("`{name}` is larger than {} MiB", most >> 20)));
    }
    Ok(Some(file))
}

fn libc_flags() -> i32 {
    (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits()
}

/// Whether a header is one that this tool could have written.
fn plausible(run: &Run, bounds: Bounds) -> Result<(), String> {
    let base = run.base.iter();
    let matrices = base.clone().map(|base| &base.matrix).chain([&run.matrix]);
    let planned = base.clone().map(|base| &base.cells).chain([&run.cells]);
    let sizes = matrices.clone().map(|matrix| matrix.cells.len());
    for cells in sizes.chain(planned.clone().map(Vec::len)) {
        if cells > bounds.cells {
            return Err(format!("{cells} cells are more than {}", bounds.cells));
        }
    }
    let cells = matrices.clone().flat_map(|matrix| &matrix.cells);
    for cell in cells.chain(planned.clone().flatten().map(|planned| &planned.cell)) {
        for axis in Axis::ALL {
            if !is_name(cell.on(axis)) {
                return Err(format!("{} is no name of an axis' value", quoted(cell.on(axis))));
            }
        }
    }
    let names = matrices.clone().flat_map(|matrix| {
        let kernels = matrix.kernels.keys().chain(matrix.profiles.keys());
        kernels.chain(matrix.measure.workloads.iter()).chain([&matrix.name])
    });
    for name in names {
        short(name, 200)?;
    }
    let statuses = planned.flatten().map(|PlannedCell { status, .. }| status);
    for status in statuses {
        match status {
            Status::Runnable => {}
            Status::NotApplicable { reason } => short(reason, bounds.text)?,
            Status::Skipped { reason, remedy } => {
                short(reason, bounds.text)?;
                short(remedy, bounds.text)?;
            }
        }
    }
    facts(&run.facts, bounds)?;
    for text in [&run.tool, &run.tag].into_iter().chain(base.flat_map(|b| [&b.revision, &b.commit]))
    {
        short(text, 400)?;
    }
    Ok(())
}

fn facts(facts: &BTreeMap<String, String>, bounds: Bounds) -> Result<(), String> {
    const MOST: usize = 2_000;
    if facts.len() > MOST {
        return Err(format!("{} facts are more than {MOST}", facts.len()));
    }
    facts
        .iter()
        .flat_map(|(name, value)| [name, value])
        .try_for_each(|text| short(text, bounds.text))
}

/// Whether a record is one that this tool could have written; its numbers were looked at before.
fn of_ours(record: &Record, bounds: Bounds) -> Result<(), String> {
    const MOST: usize = 100;
    let names: BTreeSet<&str> = record.names().collect();
    if names.len() > MOST || record.workloads.len() > MOST || record.evidence.len() > 10_000 {
        return Err("a record of more workloads or evidence than a boot can leave".to_owned());
    }
    names.into_iter().chain([record.side.as_str()]).try_for_each(|name| short(name, 200))?;
    short(&record.cell, 1_000)?;
    if let Outcome::Failed { reason } = &record.outcome {
        short(reason, bounds.text)?;
    }
    facts(&record.instrument, bounds)
}

/// What the matrix takes for a name.
fn is_name(text: &str) -> bool {
    let mut letters = text.bytes();
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 200
        && letters.next().is_some_and(plain)
        && letters.all(|c| plain(c) || matches!(c, b'.' | b'-'))
}

fn short(text: &str, most: usize) -> Result<(), String> {
    match text.len() <= most {
        true => Ok(()),
        false => Err(format!("a text of {} bytes where at most {most} are meant", text.len())),
    }
}
