//! Asks a run to end that nobody waits for any more: a job was cancelled, and what it had started as root went on, out of its reach.
//!
//! The lock of runs names its holder. A number alone may be somebody else's by now, so the process is pinned first (a descriptor of it), then
//! it must have this lock, and the environment of the job that is being cleaned up. It is asked, never killed: it restores the host itself.

use std::fmt;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::command::pidfd;
use crate::state::StateDir;
use crate::wait;

/// A variable in the environment of a run, by which the job is known that started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    name: String,
    value: String,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl FromStr for Whose {
    type Err = String;

    fn from_str(text: &str) -> Result<Whose, String> {
        let parts =
            text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
        let (name, value) =
            parts.ok_or("it is NAME=VALUE, a variable that the run was started with")?;
        Ok(Whose { name: name.to_owned(), value: value.to_owned() })
    }
}

/// How long a holder may take to write down who it is.
const NAMES_ITSELF: Duration = Duration::from_secs(2);

/// Asks the run under way to end, if there is one and it is this job's. Answers its process id. Whoever wants the host then waits for
/// the lock.
///
/// # Errors
/// A run is under way that is not this job's, or cannot be looked at.
pub fn ask_to_end(state: &StateDir, whose: &Whose) -> anyhow::Result<Option<u32>> {
    if state.lock(Duration::ZERO).is_ok() {
        return Ok(None);
    }
    let path = state.lock_file();
    let named = || {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        Ok(text.trim().strip_prefix("process ").and_then(|number| number.parse::<u32>().ok()))
    };
    let pid = wait::until("the name of the process that holds the lock", NAMES_ITSELF, named)?;
    // From here on the number cannot become another process'.
    let Ok(pinned) = pidfd(pid) else { return Ok(None) };
    if !holds(pid, &path)? {
        // It ended meanwhile: whoever holds the lock now is met by the one who waits for it.
        return Ok(None);
    }
    if !is_of(pid, whose)? {
        bail!(
            "another run is under way on this host: process {pid}, which was not started with {whose}: it is left alone"
        );
    }
    signal(&pinned)?;
    Ok(Some(pid))
}

/// Whether a process has a lock on this file.
fn holds(pid: u32, path: &Path) -> anyhow::Result<bool> {
    let lock = path.metadata().with_context(|| format!("failed to look at {}", path.display()))?;
    let folder = format!("/proc/{pid}/fd");
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        read => {
            read.with_context(|| format!("failed to read {folder}: is the run another user's?"))?
        }
    };
    for entry in entries {
        // What was closed while we looked is not the lock.
        let Ok(entry) = entry else { continue };
        let Ok(file) = entry.path().metadata() else { continue };
        if (file.dev(), file.ino()) != (lock.dev(), lock.ino()) {
            continue;
        }
        let told = format!("/proc/{pid}/fdinfo/{}", entry.file_name().to_string_lossy());
        let told = std::fs::read_to_string(told).unwrap_or_default();
        if told.lines().any(|line| line.starts_with("lock:") && line.contains("FLOCK")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a process was started with this in its environment.
fn is_of(pid: u32, whose: &Whose) -> anyhow::Result<bool> {
    let path = format!("/proc/{pid}/environ");
    let environment = std::fs::read(&path).with_context(|| format!("failed to read {path}"))?;
    let wanted = whose.to_string();
    Ok(environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()))
}

fn signal(pinned: &OwnedFd) -> anyhow::Result<()> {
    // SAFETY: pidfd_send_signal takes a descriptor that we own, two integers, and no further facts (null).
    let sent = unsafe {
        let none = std::ptr::null::<libc::siginfo_t>();
        libc::syscall(libc::SYS_pidfd_send_signal, pinned.as_raw_fd(), libc::SIGTERM, none, 0)
    };
    match std::io::Error::last_os_error() {
        _ if sent == 0 => Ok(()),
        error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        error => Err(error).context("failed to ask the run under way to end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_name_and_a_value() {
        assert_eq!("A=b=c".parse::<Whose>().unwrap().to_string(), "A=b=c");
        for wrong in ["", "A", "A=", "=b"] {
            assert!(wrong.parse::<Whose>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn whoever_only_has_the_number_or_is_of_another_job_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        let whose: Whose = "EK_NO_SUCH=job".parse().unwrap();
        assert_eq!(ask_to_end(&state, &whose).unwrap(), None, "nobody holds it");
        let lock = state.lock(Duration::ZERO).unwrap();
        let own = std::process::id();
        assert!(holds(own, &state.lock_file()).unwrap());
        let error = ask_to_end(&state, &whose).unwrap_err().to_string();
        assert!(error.contains(&format!("process {own}, which was not started with")), "{error}");
        // A number that is somebody else's now: init does not have this lock.
        std::fs::write(state.lock_file(), "process 1\n").unwrap();
        assert!(!holds(1, &state.lock_file()).unwrap_or(false));
        drop(lock);
        assert!(!holds(own, &state.lock_file()).unwrap());
    }
}
