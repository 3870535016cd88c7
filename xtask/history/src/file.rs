//! The history on disk: a file of lines that is only added to, and thinned by a stated rule once it is longer than asked for.
//!
//! Writers take turns by a lock beside the file, because the file itself is replaced where it is thinned. A line is synced before it counts. What
//! a killed writer left half written has no line feed at its end: readers leave it out, and the next writer cuts it off.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use evenkeel_agent::wait;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rayon::prelude::*;

use super::entry::{Entry, Head, SCHEMA, thinned};
use super::series::{Builder, History};
use evenkeel_plan::wrong::wrong;

/// The file in a folder.
const NAME: &str = "history.jsonl";

/// How long a writer waits for another.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines that are read at once.
const BATCH: usize = 16;

/// The file of a history that was named as a file or a folder.
pub fn file_of(named: &Path) -> PathBuf {
    let folder = named.is_dir() || named.as_os_str().as_encoded_bytes().ends_with(b"/");
    if folder { named.join(NAME) } else { named.to_owned() }
}

/// What adding a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// Whether the run was there already.
    pub known: bool,
    /// Whether a line that was not written whole was cut off.
    pub mended: bool,
    /// Lines that were dropped.
    pub dropped: usize,
}

/// Adds a run, and waits until it is on the disk. Of more than `most` lines some are dropped, see [`thinned`].
///
/// # Errors
/// A line that is no run, another writer that does not end, or a file that cannot be written.
pub fn add(file: &Path, entry: &Entry<'_>, most: usize) -> Result<Added> {
    let folder =
        file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to make folder `{}`", folder.display()))?;
    let _lock = lock(file)?;
    let failed = || format!("failed to write file `{}`", file.display());
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file);
    let mut history = open.with_context(failed)?;
    let (heads, lines, mended) = whole_lines(file, &mut history)?;
    let same = |head: &Head| head.run == entry.run && head.time == entry.time;
    if heads.iter().any(same) {
        return Ok(Added { known: true, mended, dropped: 0 });
    }
    let mut line = serde_json::to_vec(entry).context("failed to write a run as JSON")?;
    line.push(b'\n');
    let mut marked: Vec<bool> = heads.iter().map(|head| head.mark.is_some()).collect();
    marked.push(entry.mark.is_some());
    let stays = thinned(&marked, most);
    // The run that is added is the youngest line: it stays.
    let dropped = stays[..heads.len()].iter().filter(|stays| !**stays).count();
    if dropped == 0 {
        history.seek(SeekFrom::End(0)).with_context(failed)?;
        history.write_all(&line).and_then(|()| history.sync_data()).with_context(failed)?;
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)?;
    } else {
        let replace = || -> Result<()> {
            let mut whole = tempfile::NamedTempFile::new_in(folder)?;
            for (old, _) in lines.iter().zip(&stays).filter(|(_, stays)| **stays) {
                whole.write_all(old)?;
            }
            whole.write_all(&line)?;
            whole.as_file().set_permissions(history.metadata()?.permissions())?;
            whole.as_file().sync_all()?;
            whole.persist(file)?;
            File::open(folder)?.sync_all()?;
            Ok(())
        };
        replace().with_context(failed)?;
    }
    Ok(Added { known: false, mended, dropped })
}

/// The lock of a file's writers; held until dropped.
///
/// # Errors
/// Another writer that does not end, or a lock that cannot be made.
pub fn lock(file: &Path) -> Result<Flock<File>> {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let shown = path.display();
    let open = || OpenOptions::new().create(true).write(true).truncate(false).open(&path);
    let mut held = Some(open().with_context(|| format!("failed to open lock `{shown}`"))?);
    wait::until(&format!("lock `{shown}`, which another writer holds"), PATIENCE, || {
        let Some(unlocked) = held.take() else { bail!("lock `{shown}` is lost") };
        match Flock::lock(unlocked, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((back, Errno::EWOULDBLOCK)) => {
                held = Some(back);
                Ok(None)
            }
            Err((_, error)) => Err(error).with_context(|| format!("failed to lock `{shown}`")),
        }
    })
}

/// Every line with its head. One at the end that was not written whole is cut off, and whether there was one.
fn whole_lines(path: &Path, file: &mut File) -> Result<(Vec<Head>, Vec<Vec<u8>>, bool)> {
    let read = || format!("failed to read file `{}`", path.display());
    let mut reader = BufReader::new(&mut *file);
    let (mut heads, mut lines, mut length) = (Vec::new(), Vec::new(), 0);
    for number in 1.. {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).with_context(read)? == 0 {
            return Ok((heads, lines, false));
        }
        if !line.ends_with(b"\n") {
            break;
        }
        length += line.len() as u64;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let head: Head =
            serde_json::from_slice(&line).map_err(|error| no_run(path, number, &error))?;
        version(path, number, head.schema)?;
        heads.push(head);
        lines.push(line);
    }
    file.set_len(length).with_context(|| format!("failed to write file `{}`", path.display()))?;
    Ok((heads, lines, true))
}

/// Reads a history, with what must be said of it.
///
/// # Errors
/// No such file, or a line that is no run; names file and line.
pub fn read(path: &Path) -> Result<(History, Vec<String>)> {
    let name = path.display();
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong(format!(
            "there is no history `{name}`: `history add RUN --history {name}` begins one"
        )),
        _ => wrong(format!("failed to read history `{name}`: {error}")),
    })?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut builder, mut notes, mut number) = (Builder::default(), Vec::new(), 0);
    loop {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let mut line = Vec::new();
            let bytes = reader
                .read_until(b'\n', &mut line)
                .map_err(|error| wrong(format!("failed to read history `{name}`: {error}")))?;
            number += 1;
            if bytes == 0 {
                break;
            }
            if !line.ends_with(b"\n") {
                notes.push(format!(
                    "{name}:{number}: the last line was not written whole: it is left out"
                ));
            } else if !line.trim_ascii().is_empty() {
                batch.push((number, line));
            }
        }
        if batch.is_empty() {
            break;
        }
        let read: Vec<Result<(u64, Entry<'_>)>> = batch
            .par_iter()
            .map(|(number, line)| Ok((*number, read_line(path, *number, line)?)))
            .collect();
        for entry in read {
            let (number, entry) = entry?;
            builder.take(number, &entry);
        }
    }
    let (history, late) = builder.build();
    if late > 0 {
        notes.push(format!(
            "{name}: {late} runs are older than the line before them: series are in order of time"
        ));
    }
    Ok((history, notes))
}

fn read_line<'l>(path: &Path, number: u64, line: &'l [u8]) -> Result<Entry<'l>> {
    let entry = serde_json::from_slice::<Entry<'_>>(line);
    let entry = match entry {
        Ok(entry) => entry,
        Err(error) => {
            // Of another version, nothing else can be believed.
            if let Ok(Version { schema }) = serde_json::from_slice(line) {
                version(path, number, schema)?;
            }
            return Err(no_run(path, number, &error));
        }
    };
    version(path, number, entry.schema)?;
    entry.check().map_err(|error| wrong(format!("{}:{number}: {error}", path.display())))?;
    Ok(entry)
}

#[derive(serde::Deserialize)]
struct Version {
    schema: u32,
}

fn version(path: &Path, number: u64, found: u32) -> Result<()> {
    if found == SCHEMA {
        return Ok(());
    }
    Err(wrong(format!(
        "{}:{number}: the line has schema {found}, this tool reads schema {SCHEMA}: use the version of the tool that wrote it",
        path.display()
    )))
}

fn no_run(path: &Path, number: u64, error: &serde_json::Error) -> anyhow::Error {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&place).unwrap_or(&text);
    wrong(format!("{}:{number}:{}: not a run: {what}", path.display(), error.column()))
}
