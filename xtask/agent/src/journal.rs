//! The write-ahead list of states to reach to bring a node back.
//!
//! A journal is one preallocated file of JSON lines. Preallocated, so that a full disk cannot stop an undo;
//! lines, so that a torn last write is recognised: it was not synced, hence nothing was applied on its behalf. It holds
//! states addressed by names that we chose, never commands and never process ids, and names the host's boot, because after a reboot
//! volatile values must not be written back.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::step::Ensure;

/// Bytes reserved for one journal.
const CAPACITY: u64 = 1 << 20;
/// Version of the file.
const SCHEMA: u32 = 1;

/// One line.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// The first line.
    Begin {
        /// [`SCHEMA`].
        schema: u32,
        /// The run's tag.
        tag: String,
        /// Identity of the host's boot.
        host_boot: String,
    },
    /// A state to reach.
    Reach(Ensure),
}

/// What a journal holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// The tag of the run that wrote it.
    pub tag: String,
    /// Identity of the host's boot when it was written.
    pub host_boot: String,
    /// States to reach, in the order in which they were journaled.
    pub states: Vec<Ensure>,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    used: u64,
}

impl Journal {
    /// Opens the journal at `path`, reserving its space, and begins it.
    ///
    /// # Errors
    /// It still holds states of an earlier run, or the file cannot be made, reserved or synced.
    pub fn begin(path: &Path, tag: &str, host_boot: &str) -> anyhow::Result<Journal> {
        let left = bytes_of(path)?;
        // One that was begun and never written to has nothing to undo.
        if let Some(pending) = parse(&left).with_context(|| not_readable(path))?
            && !pending.states.is_empty()
        {
            bail!(
                "{} still holds {} states of run {}: run `cargo xtask restore`",
                path.display(),
                pending.states.len(),
                pending.tag
            );
        }
        let folder = path.parent().context("a journal needs a folder")?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to make folder {}", folder.display()))?;
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("failed to open journal {}", path.display()))?;
        nix::fcntl::posix_fallocate(&file, 0, CAPACITY as i64).with_context(|| {
            format!("failed to reserve {CAPACITY} bytes for {}", path.display())
        })?;
        if left.iter().any(|&byte| byte != 0) {
            // An erasure that was cut short: what is left of old lines must not follow on new ones.
            erase(path, &file, CAPACITY)?;
        }
        let mut journal = Journal { path: path.to_owned(), file, used: 0 };
        let begin =
            Line::Begin { schema: SCHEMA, tag: tag.to_owned(), host_boot: host_boot.to_owned() };
        journal.write(&[begin])?;
        journal.file.sync_all().with_context(|| format!("failed to sync {}", path.display()))?;
        File::open(folder)?
            .sync_all()
            .with_context(|| format!("failed to sync {}", folder.display()))?;
        Ok(journal)
    }

    /// Adds states and syncs them. Only after this returns may anything be changed that they undo.
    ///
    /// # Errors
    /// The journal is full, or cannot be written or synced.
    pub fn append(&mut self, states: &[Ensure]) -> anyhow::Result<()> {
        self.write(&states.iter().cloned().map(Line::Reach).collect::<Vec<_>>())?;
        self.file
            .sync_data()
            .with_context(|| format!("failed to sync journal {}", self.path.display()))
    }

    /// Forgets everything: all states have been reached.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn clear(self) -> anyhow::Result<()> {
        erase(&self.path, &self.file, self.used)
    }

    fn write(&mut self, lines: &[Line]) -> anyhow::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        let end = self.used + text.len() as u64;
        if end > CAPACITY {
            bail!("journal {} is full: {end} of {CAPACITY} bytes", self.path.display());
        }
        self.file
            .write_all_at(&text, self.used)
            .with_context(|| format!("failed to write journal {}", self.path.display()))?;
        self.used = end;
        Ok(())
    }
}

/// What a journal still holds; `None` if it is empty or not there.
///
/// # Errors
/// The file cannot be read, or was written by another version.
pub fn read(path: &Path) -> anyhow::Result<Option<Pending>> {
    parse(&bytes_of(path)?).with_context(|| not_readable(path))
}

fn not_readable(path: &Path) -> String {
    format!("journal {} is not readable", path.display())
}

/// The bytes of a journal; none if it is not there.
fn bytes_of(path: &Path) -> anyhow::Result<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => {
            Err(error).with_context(|| format!("failed to read journal {}", path.display()))
        }
    }
}

/// Marks everything in the journal at `path` as reached.
///
/// # Errors
/// The file cannot be written.
pub fn clear(path: &Path) -> anyhow::Result<()> {
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to open {}", path.display()));
        }
    };
    erase(path, &file, CAPACITY)
}

/// Overwrites everything with zeros. All states have been reached by then, so it does not matter where this is cut short: what is
/// left reads as empty, or after a power cut as states that hold already. Hence no sync.
fn erase(path: &Path, file: &File, used: u64) -> anyhow::Result<()> {
    let zeros = vec![0_u8; usize::try_from(used.min(CAPACITY)).unwrap_or(0)];
    let write = || -> std::io::Result<()> {
        if let Some(rest) = zeros.get(1..) {
            file.write_all_at(rest, 1)?;
        }
        file.write_all_at(&[0], 0)
    };
    write().with_context(|| format!("failed to clear journal {}", path.display()))
}

fn parse(bytes: &[u8]) -> anyhow::Result<Option<Pending>> {
    let text = bytes.split(|&b| b == 0).next().unwrap_or_default();
    let Some(last) = text.iter().rposition(|&b| b == b'\n') else { return Ok(None) };
    let mut lines = text[..last].split(|&b| b == b'\n');
    let first = lines.next().unwrap_or_default();
    let Line::Begin { schema, tag, host_boot } = serde_json::from_slice(first)? else {
        bail!("it does not begin with a header");
    };
    if schema != SCHEMA {
        bail!(
            "it has schema {schema}, this tool knows {SCHEMA}: restore with the version that wrote it"
        );
    }
    let mut states = Vec::new();
    for (number, line) in lines.enumerate() {
        match serde_json::from_slice(line) {
            Ok(Line::Reach(state)) => states.push(state),
            Ok(Line::Begin { .. }) => bail!("line {} is a second header", number + 2),
            Err(error) => bail!("line {} is damaged: {error}", number + 2),
        }
    }
    Ok(Some(Pending { tag, host_boot, states }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{Node, Object};
    use proptest::prelude::*;

    fn absent(name: &str) -> Ensure {
        Ensure::Absent { at: Node::Host, what: Object::Netns(name.to_owned()) }
    }

    #[test]
    fn what_was_appended_is_pending_until_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal/boot");
        assert_eq!(read(&path).unwrap(), None);
        // Killed before its first state: the next run may begin.
        drop(Journal::begin(&path, "ek0", "b").unwrap());
        let mut journal = Journal::begin(&path, "ek1", "b").unwrap();
        journal.append(&[absent("a"), absent("b")]).unwrap();
        journal.append(&[absent("c")]).unwrap();
        let pending = read(&path).unwrap().unwrap();
        assert_eq!((pending.tag.as_str(), pending.host_boot.as_str()), ("ek1", "b"));
        assert_eq!(pending.states, ["a", "b", "c"].map(absent));
        let refused = Journal::begin(&path, "ek2", "b").unwrap_err().to_string();
        assert!(
            refused.contains("3 states of run ek1") && refused.contains("restore"),
            "{refused}"
        );
        journal.clear().unwrap();
        assert_eq!(read(&path).unwrap(), None);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), CAPACITY);
        Journal::begin(&path, "ek2", "b").unwrap();
    }

    #[test]
    fn a_full_journal_refuses_before_anything_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(&folder.path().join("j"), "ek1", "b").unwrap();
        let long = absent(&"x".repeat(1 << 19));
        journal.append(std::slice::from_ref(&long)).unwrap();
        assert!(journal.append(&[long]).unwrap_err().to_string().contains("is full"));
    }

    #[test]
    fn an_erasure_that_was_cut_short_leaves_nothing_behind_new_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut journal = Journal::begin(&path, "ek1", "b").unwrap();
        let used = journal.used as usize;
        journal.append(&[absent("old"), absent("older")]).unwrap();
        // The kill came when all but the last line was erased, and the first byte not yet.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1..=used].fill(0);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path).unwrap(), None);
        let mut journal = Journal::begin(&path, "ek2", "b").unwrap();
        journal.append(&[absent("new")]).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().states, [absent("new")]);
    }

    proptest! {
        /// A write that is cut anywhere loses only states of the write that was cut.
        #[test]
        fn a_torn_write_keeps_what_was_synced(names in proptest::collection::vec("[a-z]{1,8}", 1..6), cut in 0_usize..60) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("j");
            let mut journal = Journal::begin(&path, "ek1", "b").unwrap();
            let states: Vec<Ensure> = names.iter().map(|n| absent(n)).collect();
            journal.append(&states).unwrap();
            let synced = journal.used as usize;
            journal.append(&[absent("late")]).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            let end = (synced + cut).min(journal.used as usize - 1);
            bytes[end..].fill(0);
            let pending = parse(&bytes).unwrap().unwrap();
            prop_assert_eq!(pending.states, states);
        }

        #[test]
        fn any_bytes_are_a_journal_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(pending)) = parse(&bytes) {
                prop_assert!(pending.states.len() < 200);
            }
        }
    }
}
