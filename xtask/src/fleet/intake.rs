//! Runs that somebody else shipped: read with bounds, and believed only as far as they are of the right form.
//!
//! Three files of a run are read, by the names that this tool gives them; no name in them is ever a path. What is larger, longer or more
//! than any run of ours, a link, or no plain file is refused before it is read. Records of numbers that cannot be true are left out
//! (`record::check`). Verdicts and reports that were shipped beside are not looked at: they are made again.
//!
//! Each shard has its bounds, and all of them together have theirs. Nothing here opens an archive: artifacts are unpacked by the CI system's own
//! client into a folder that is thrown away with its runner, and what comes out of them is what is met here.

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

/// What all shards of one run may still be, together. Shared by every folder that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Shards.
    pub shards: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Boots that count in nothing: what a flag coincides with. Those beyond are left out: no verdict needs them.
    pub diagnoses: usize,
}

impl Default for Left {
    /// As many shards as a CI system starts jobs for one matrix, and what fits into the memory of the machine that joins them.
    fn default() -> Left {
        Left { shards: 256, bytes: 2 << 30, diagnoses: 200 }
    }
}

impl Left {
    fn take(&mut self, bytes: u64, what: &Path) -> anyhow::Result<()> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| {
            wrong(format!(
                "up to `{}` the shards are larger than {} MiB together",
                what.display(),
                Left::default().bytes >> 20
            ))
        })?;
        Ok(())
    }
}

/// Runs in a folder: itself, or those right below it, as artifacts are downloaded.
///
/// # Errors
/// It cannot be looked into, or has more folders than there can be shards.
pub fn folders(named: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let most = Left::default().shards;
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
        if below.len() > most {
            return Err(wrong(format!("`{}` holds more than {most} runs", named.display())));
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
pub fn read(dir: &Path, bounds: Bounds, left: &mut Left) -> anyhow::Result<(Shipped, Vec<String>)> {
    left.shards = left
        .shards
        .checked_sub(1)
        .ok_or_else(|| wrong(format!("more than {} shards were named", Left::default().shards)))?;
    let name = dir.display().to_string();
    let header = dir.join(store::RUN);
    let mut text = Vec::new();
    plain(&header, bounds.header, left)?
        .context("a run has a header")
        .map_err(wrong)?
        .take(bounds.header)
        .read_to_end(&mut text)
        .with_context(|| format!("failed to read file `{}`", header.display()))?;
    let run = store::parse_run(&text, &header.display().to_string())?;
    plausible(&run, bounds).map_err(|why| wrong(format!("`{}`: {why}", header.display())))?;
    let mut warnings = Vec::new();
    let records = records(&dir.join(store::BOOTS), bounds, left, &mut warnings)?;
    let path = dir.join(store::DIAGNOSES);
    let mut diagnoses = records_of_few(&path, bounds, left, &mut warnings)?;
    let more = diagnoses.len().saturating_sub(left.diagnoses);
    if more > 0 {
        diagnoses.truncate(left.diagnoses);
        warnings.push(format!("`{}`: the last {more} are left out", path.display()));
    }
    left.diagnoses -= diagnoses.len();
    Ok((Shipped { name, run, records, diagnoses }, warnings))
}

/// The boots that count in nothing: one a cell at most, so there are far fewer than others.
fn records_of_few(
    path: &Path,
    bounds: Bounds,
    left: &mut Left,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Vec<Record>> {
    let few = Bounds { boots: bounds.boots >> 3, records: bounds.cells, ..bounds };
    records(path, few, left, warnings)
}

/// The intact records of a file; none where there is no file.
fn records(
    path: &Path,
    bounds: Bounds,
    left: &mut Left,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    let Some(file) = plain(path, bounds.boots, left)? else { return Ok(records) };
    let mut lines = BufReader::new(file.take(bounds.boots));
    let at = path.display();
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
    Ok(records)
}

/// Opens a plain file of at most so many bytes; nothing where there is none.
fn plain(path: &Path, most: u64, left: &mut Left) -> anyhow::Result<Option<File>> {
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
    left.take(metadata.len(), path)?;
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
    if run.lost.len() > bounds.cells {
        return Err(format!("{} lost cells are more than {}", run.lost.len(), bounds.cells));
    }
    for lost in &run.lost {
        short(&lost.cell, 1_000)?;
        short(&lost.reason, bounds.text)?;
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
    if let Some(counted) = &record.counted {
        // Each of these is looked at thousands of times: what a boot leaves is a hundredth of it.
        const NUMBERS: usize = 50_000;
        let numbers = counted.windows.iter().flatten().map(Vec::len).sum::<usize>();
        if counted.names.len() > 1_000 || numbers > NUMBERS {
            return Err("a record that counts more than the kernel does".to_owned());
        }
        counted.names.iter().try_for_each(|name| short(name, 200))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing;

    /// Each may be small: it is what they are together that fills a memory.
    #[test]
    fn shards_are_bounded_together() {
        let place = tempfile::tempdir().unwrap();
        let run = testing::run(&[testing::cell("netns", "stock")]);
        drop(store::Store::create(place.path(), &run).unwrap());
        let length = place.path().join(store::RUN).metadata().unwrap().len();
        let read = |left: &mut Left| {
            let told = read(place.path(), Bounds::default(), left);
            told.map(|_| ()).map_err(|error| error.to_string())
        };
        let mut left = Left { bytes: 2 * length, ..Left::default() };
        read(&mut left).unwrap();
        read(&mut left).unwrap();
        assert_eq!(left.bytes, 0);
        assert!(read(&mut left).unwrap_err().contains("are larger than 2048 MiB together"));
        let mut left = Left { shards: 1, ..Left::default() };
        read(&mut left).unwrap();
        assert_eq!(read(&mut left).unwrap_err(), "more than 256 shards were named");
    }
}
