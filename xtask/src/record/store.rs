//! A run's directory: `run.json` once, `boots.jsonl` a line a boot, `results.json` at the end.
//!
//! A boot is on disk before the next one starts, so that a kill loses at most one. Reading takes what is
//! intact and says what is not; only another version of the files is an error, because
//! guessing at its meaning would be worse than stopping.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use evenkeel_record::line::{self, Unreadable};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::check::check;
use super::results::Results;
use super::{Lost, Record, Run, SCHEMA};
use crate::wrong::wrong;

/// Name of the run's header in its directory.
pub const RUN: &str = "run.json";
/// Name of the records.
pub const BOOTS: &str = "boots.jsonl";
/// Name of the records of boots that count in nothing: each tells what a flag coincides with.
pub const DIAGNOSES: &str = "diagnoses.jsonl";
/// Name of the results.
pub const RESULTS: &str = "results.json";

/// A run's directory that is being written.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    boots: File,
}

impl Store {
    /// Begins a run in a directory, which is made if it is not there. Fails if it holds a run already.
    pub fn create(dir: &Path, run: &Run) -> Result<Store> {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("failed to make directory `{}`", dir.display()))?;
        for name in [RUN, BOOTS] {
            let path = dir.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(occupied(dir));
            }
        }
        match write_whole(&dir.join(RUN), run, Existing::Keep) {
            Err(error) if already_there(&error) => return Err(occupied(dir)),
            written => written?,
        }
        Store::resume(dir)
    }

    /// Goes on with a run: records are added behind those that are there.
    pub fn resume(dir: &Path) -> Result<Store> {
        Store::behind(dir, BOOTS)
    }

    /// Adds the boots of a run that count in nothing: whoever reads its boots does not find them.
    pub fn diagnoses(dir: &Path) -> Result<Store> {
        Store::behind(dir, DIAGNOSES)
    }

    fn behind(dir: &Path, name: &str) -> Result<Store> {
        let path = dir.join(name);
        let open = || -> std::io::Result<File> {
            let mut boots = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
            if ends_inside_line(&mut boots)? {
                // What a kill left half written must not swallow the next record.
                boots.write_all(b"\n")?;
            }
            File::open(dir)?.sync_all()?;
            Ok(boots)
        };
        let boots = open().with_context(|| format!("failed to open file `{}`", path.display()))?;
        Ok(Store { path, boots })
    }

    /// Says in the header of the run in this directory which cells it cannot go on with, and waits until that is on the disk.
    pub fn lose(dir: &Path, lost: &[Lost]) -> Result<()> {
        let run = read_run(dir)?;
        let lost = run.lost.iter().chain(lost).cloned().collect();
        write_whole(&dir.join(RUN), &Run { lost, ..run }, Existing::Replace)
    }

    /// Adds a record and waits until it is on the disk. A record that could not be read back is refused; a
    /// line that was not written whole is taken back.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Adds records that are all there already, as [`Store::append`] does, and waits for the disk once.
    pub fn append_all(&mut self, records: &[Record]) -> Result<()> {
        let before = self.boots.metadata().map(|metadata| metadata.len());
        let mut written = Ok(());
        for record in records {
            check(record)
                .with_context(|| format!("record of boot {} of `{}`", record.boot, record.cell))?;
            let mut line =
                serde_json::to_vec(record).context("failed to write a record as JSON")?;
            line.push(b'\n');
            written = written.and_then(|()| self.boots.write_all(&line));
        }
        let written = written.and_then(|()| self.boots.sync_data());
        let Err(error) = written else { return Ok(()) };
        let failure = format!("failed to write file `{}`: {error}", self.path.display());
        match before.and_then(|length| self.boots.set_len(length)) {
            Ok(()) => Err(anyhow!(failure)),
            Err(second) => Err(anyhow!("{failure}; nor could its end be cut off: {second}")),
        }
    }
}

/// Reads a run: its header, its intact records in the order of the file, and a warning for each line that was left out.
/// Another version of a file is an error.
pub fn read(dir: &Path) -> Result<(Run, Vec<Record>, Vec<String>)> {
    let run = read_run(dir)?;
    let path = dir.join(BOOTS);
    let (records, warnings) = read_records(&path)?.unwrap_or_else(|| {
        (Vec::new(), vec![format!("`{}` is missing: no boot left a record", path.display())])
    });
    Ok((run, records, warnings))
}

/// Reads the boots of a run that count in nothing; mostly there are none. What is not intact is left out.
pub fn read_diagnoses(dir: &Path) -> Result<Vec<Record>> {
    Ok(read_records(&dir.join(DIAGNOSES))?.map(|(records, _)| records).unwrap_or_default())
}

/// The intact records of a file, with a warning for each line that was left out; nothing where there is no file.
fn read_records(path: &Path) -> Result<Option<(Vec<Record>, Vec<String>)>> {
    let name = path.display().to_string();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("failed to open file `{name}`")),
    };
    let mut lines = BufReader::new(file);
    let mut next = |batch| {
        fill(batch, &mut lines, BATCH).with_context(|| format!("failed to read file `{name}`"))
    };
    let (mut records, mut warnings, mut number) = (Vec::new(), Vec::new(), 0);
    let (mut batch, mut spare) = (next(Vec::new())?, Vec::new());
    while !batch.is_empty() {
        let lines = line::split(&batch);
        // The next lines come from the disk while these are read.
        let (read, following) = rayon::join(
            || lines.par_iter().map(|line| read_line(line)).collect::<Vec<_>>(),
            || next(spare),
        );
        for (line, read) in lines.into_iter().zip(read) {
            number += 1;
            match read {
                None => {}
                Some(Ok(record)) => records.push(record),
                Some(Err(Unreadable::Version(found))) => {
                    return Err(other_version(&format!("`{name}` line {number}"), found));
                }
                Some(Err(Unreadable::Corrupt(_))) if !line.ends_with(b"\n") => {
                    warnings.push(format!(
                        "`{name}` line {number} is cut off: the boot that was being written is lost"
                    ));
                }
                Some(Err(Unreadable::Corrupt(error))) => {
                    warnings.push(format!("`{name}` line {number} is left out: {error:#}"));
                }
            }
        }
        (spare, batch) = (batch, following?);
    }
    Ok(Some((records, warnings)))
}

/// Bytes of lines that are read at once: so many that all processors have something to do.
const BATCH: usize = 16 << 20;

/// A batch of the next whole lines, of at least so many bytes where there are as many; nothing at the end.
fn fill(mut batch: Vec<u8>, lines: &mut impl BufRead, bytes: usize) -> std::io::Result<Vec<u8>> {
    batch.clear();
    lines.by_ref().take(bytes as u64).read_to_end(&mut batch)?;
    if !batch.ends_with(b"\n") {
        lines.read_until(b'\n', &mut batch)?;
    }
    Ok(batch)
}

/// The record of a line; nothing where it is empty.
fn read_line(line: &[u8]) -> Option<Result<Record, Unreadable>> {
    (!line.trim_ascii().is_empty()).then(|| line::record(line))
}

/// Writes `results.json` into a run's directory, whole or not at all.
pub fn write_results(dir: &Path, results: &Results) -> Result<()> {
    write_text(&dir.join(RESULTS), || results.to_json(), Existing::Replace)
}

fn read_run(dir: &Path) -> Result<Run> {
    let path = dir.join(RUN);
    let name = path.display().to_string();
    let text = match std::fs::read(&path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let inside = runs_below(dir).map(|inside| format!("; it holds {inside}"));
            return Err(wrong(format!(
                "no run in `{}`: `{RUN}` is missing{}",
                dir.display(),
                inside.unwrap_or_default()
            )));
        }
        read => read.with_context(|| format!("failed to read file `{name}`"))?,
    };
    parse_run(&text, &name)
}

/// The header of a run, of a file of this name.
///
/// # Errors
/// It is none, or of another version.
pub(crate) fn parse_run(text: &[u8], name: &str) -> Result<Run> {
    let no_run = |error| wrong(format!("`{name}` is not a run: {error}"));
    let header: Header = serde_json::from_slice(text).map_err(no_run)?;
    if header.schema != SCHEMA {
        return Err(other_version(&format!("`{name}`"), header.schema));
    }
    serde_json::from_slice(text).map_err(no_run)
}

/// A record of a line of `boots.jsonl`, or why it is left out. `place` is the line's, for people.
///
/// # Errors
/// It is of another version.
pub(crate) fn parse_record(line: &[u8], place: &str) -> Result<Result<Record, String>> {
    match line::record(line) {
        Ok(record) => Ok(Ok(record)),
        Err(Unreadable::Version(found)) => Err(other_version(place, found)),
        Err(Unreadable::Corrupt(error)) => Ok(Err(format!("{place} is left out: {error:#}"))),
    }
}

/// The first folders of runs in a folder, in words: somebody may have named the folder around them.
fn runs_below(dir: &Path) -> Option<String> {
    let mut inside: Vec<PathBuf> = dir
        .read_dir()
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(RUN).is_file())
        .collect();
    inside.sort();
    let count = inside.len();
    let named: Vec<String> =
        inside.iter().take(3).map(|path| format!("`{}`", path.display())).collect();
    let more = if count > named.len() {
        format!(" and {} more", count - named.len())
    } else {
        String::new()
    };
    (count > 0).then(|| format!("{}{more}", named.join(", ")))
}

/// All that is believed of a file before its version is known.
#[derive(Deserialize)]
struct Header {
    schema: u32,
}

fn other_version(what: &str, found: u32) -> anyhow::Error {
    wrong(format!(
        "{what} has schema {found}, this tool reads schema {SCHEMA}: use the version of the tool that wrote it"
    ))
}

fn occupied(dir: &Path) -> anyhow::Error {
    let dir = dir.display();
    wrong(format!(
        "`{dir}` holds a run already: choose another --out, or go on with it by `bench --resume {dir}`"
    ))
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy)]
enum Existing {
    Keep,
    Replace,
}

/// Writes a value as JSON so that a reader finds the old file or the whole new one, also after a power cut.
fn write_whole(path: &Path, value: &impl Serialize, existing: Existing) -> Result<()> {
    write_text(path, || serde_json::to_vec_pretty(value), existing)
}

fn write_text(
    path: &Path,
    text: impl FnOnce() -> serde_json::Result<Vec<u8>>,
    existing: Existing,
) -> Result<()> {
    let write = || -> Result<()> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        // As one piece: the writer would ask the kernel for each word.
        let mut text = text()?;
        text.push(b'\n');
        file.write_all(&text)?;
        // The temporary file is private; a result is not.
        file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.as_file().sync_all()?;
        match existing {
            Existing::Keep => file.persist_noclobber(path)?,
            Existing::Replace => file.persist(path)?,
        };
        File::open(dir)?.sync_all()?;
        Ok(())
    };
    write().with_context(|| format!("failed to write file `{}`", path.display()))
}

/// Writes a value as JSON over what is there, so that a reader finds the old file or the whole new one.
///
/// # Errors
/// It cannot be written.
pub(crate) fn replace(path: &Path, value: &impl Serialize) -> Result<()> {
    write_whole(path, value, Existing::Replace)
}

/// Whether writing failed because somebody else made the file meanwhile.
fn already_there(error: &anyhow::Error) -> bool {
    let persist = error.chain().find_map(|cause| cause.downcast_ref::<tempfile::PersistError>());
    persist.is_some_and(|cause| cause.error.kind() == ErrorKind::AlreadyExists)
}

/// Whether a file does not end with a line feed. The position is at the end afterwards.
fn ends_inside_line(file: &mut File) -> std::io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests;
