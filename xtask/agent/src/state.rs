//! Where the tool keeps what must outlive a process: the journals and the lock.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};

use crate::wait;

/// The name of the lock of runs.
const LOCK: &str = "lock";

/// The folder of the tool's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// `$EVENKEEL_STATE` if it is set, else `/var/lib/evenkeel` for root and `$XDG_STATE_HOME/evenkeel` (or
    /// `~/.local/state/evenkeel`) for others.
    ///
    /// # Errors
    /// An ordinary user without `$HOME`.
    pub fn of_user() -> anyhow::Result<StateDir> {
        let variable =
            |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = variable("EVENKEEL_STATE") {
            return Ok(StateDir(path));
        }
        if nix::unistd::geteuid().is_root() {
            return Ok(StateDir(PathBuf::from("/var/lib/evenkeel")));
        }
        let base = variable("XDG_STATE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
            .context(
                "neither $XDG_STATE_HOME nor $HOME is set: there is no place for the journal",
            )?;
        Ok(StateDir(base.join("evenkeel")))
    }

    /// The state under a given folder.
    pub fn at(path: &Path) -> StateDir {
        StateDir(path.to_owned())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The journal of what lasts for a whole run.
    pub fn run_journal(&self) -> PathBuf {
        self.0.join("journal/run")
    }

    /// The journal of the boot under way.
    pub fn boot_journal(&self) -> PathBuf {
        self.0.join("journal/boot")
    }

    /// The folder of a run that may have none in `/run`.
    pub fn run_folder(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The lock of runs on this host, as a file.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.0.join(LOCK)
    }

    /// Takes the lock of runs on this host, waiting at most `patience` for its holder.
    ///
    /// # Errors
    /// Another process holds it (its id is named), or the file cannot be made.
    pub fn lock(&self, patience: Duration) -> anyhow::Result<Lock> {
        self.take(LOCK, patience)
    }

    /// Takes the lock of a boot, which outlives a killed run for as long as that boot takes to undo itself.
    ///
    /// # Errors
    /// As [`StateDir::lock`].
    pub fn lock_boot(&self, patience: Duration) -> anyhow::Result<Lock> {
        self.take("lock.boot", patience)
    }

    fn take(&self, name: &str, patience: Duration) -> anyhow::Result<Lock> {
        std::fs::create_dir_all(&self.0)
            .with_context(|| format!("failed to make folder {}", self.0.display()))?;
        let path = self.0.join(name);
        let open = || {
            OpenOptions::new()
                .create(true)
                .read(true)
                .write(true)
                .truncate(false)
                .open(&path)
                .with_context(|| format!("failed to open lock {}", path.display()))
        };
        let mut file = Some(open()?);
        let taken = wait::until("the lock", patience, || {
            let Some(unlocked) = file.take() else { bail!("lock {} is lost", path.display()) };
            match Flock::lock(unlocked, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => Ok(Some(lock)),
                Err((back, nix::errno::Errno::EWOULDBLOCK)) => {
                    file = Some(back);
                    Ok(None)
                }
                Err((_, error)) => {
                    Err(error).with_context(|| format!("failed to lock {}", path.display()))
                }
            }
        });
        let mut lock = match (taken, file) {
            (Ok(lock), _) => lock,
            (Err(_), Some(mut held)) => {
                let mut holder = String::new();
                held.read_to_string(&mut holder)
                    .with_context(|| format!("failed to read {}", path.display()))?;
                bail!(
                    "another run is under way on this host: {} holds {}",
                    if holder.is_empty() { "a process" } else { holder.trim() },
                    path.display()
                );
            }
            (Err(error), None) => return Err(error),
        };
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "process {}", std::process::id())?;
        Ok(Lock(lock))
    }
}

/// The lock; given back when dropped, and by the kernel when its holder dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its effect")] Flock<File>);

/// Identity of the host's boot.
///
/// # Errors
/// The kernel does not tell.
pub fn host_boot() -> anyhow::Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_holder_and_a_dropped_one_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        let first = state.lock(Duration::ZERO).unwrap();
        let error = state.lock(Duration::from_millis(5)).unwrap_err().to_string();
        assert!(error.contains(&format!("process {} holds", std::process::id())), "{error}");
        drop(first);
        drop(state.lock(Duration::ZERO).unwrap());
    }
}
