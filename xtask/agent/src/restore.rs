//! Brings a host back after a run that could not do so itself.

use std::path::Path;
use std::time::Duration;

use crate::holder::{self, Whose};
use crate::interpret::{Undone, undo_all};
use crate::journal;
use crate::machine::real::Real;
use crate::state::{StateDir, host_boot};
use crate::step::Ensure;

/// How long a boot that lost its run may take to undo itself before we look.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was restored.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The run that was cleaned up after, if there was one.
    pub tag: Option<String>,
    /// The run that was asked to end before, by its process.
    pub ended: Option<u32>,
    /// States that were reached or looked at.
    pub states: usize,
    /// What went wrong, and what was left alone.
    pub undone: Undone,
}

/// How long a run may take to end that was asked to.
const ENDS: Duration = Duration::from_secs(300);

/// Reaches every state in the journals, boot first, and clears those that are done. Twice in a row is harmless. A run under way that was
/// started with `ended` in its environment is asked to end before.
///
/// # Errors
/// A run is under way, or a journal cannot be read.
pub fn restore(state: &StateDir, ended: Option<&Whose>) -> anyhow::Result<Restored> {
    let asked = ended.map(|whose| holder::ask_to_end(state, whose)).transpose()?.flatten();
    let patience = if asked.is_some() { ENDS } else { Duration::from_secs(2) };
    let _run = state.lock(patience)?;
    let _boot = state.lock_boot(PATIENCE)?;
    let mut restored = Restored { ended: asked, ..Restored::default() };
    for path in [state.boot_journal(), state.run_journal()] {
        restore_one(&path, &mut restored)?;
    }
    Ok(restored)
}

/// Brings back what one boot changed, for a run that holds the lock itself.
///
/// # Errors
/// The boot is still under way, or its journal cannot be read.
pub fn restore_boot(state: &StateDir) -> anyhow::Result<Restored> {
    let _boot = state.lock_boot(PATIENCE)?;
    let mut restored = Restored::default();
    restore_one(&state.boot_journal(), &mut restored)?;
    Ok(restored)
}

/// Whether a journal still holds states: such a host must not be measured. Answers the tag of the run that left them.
///
/// # Errors
/// A journal cannot be read.
pub fn dirty(state: &StateDir) -> anyhow::Result<Option<String>> {
    for path in [state.boot_journal(), state.run_journal()] {
        if let Some(pending) = journal::read(&path)?
            && !pending.states.is_empty()
        {
            return Ok(Some(pending.tag));
        }
    }
    Ok(None)
}

/// Whether a run has begun here whose changes still stand. A boot of a run that was restored meanwhile must not act: nobody would
/// undo what its run had made.
///
/// # Errors
/// The run's journal cannot be read.
pub fn run_stands(state: &StateDir) -> anyhow::Result<bool> {
    Ok(journal::read(&state.run_journal())?.is_some_and(|pending| !pending.states.is_empty()))
}

fn restore_one(path: &Path, restored: &mut Restored) -> anyhow::Result<()> {
    let Some(pending) = journal::read(path)? else { return Ok(()) };
    // After a reboot the old values are not ours to write: whatever set them up at boot did so again. Objects
    // that survive a reboot (containers, images, folders) still have to go.
    let rebooted = pending.host_boot != host_boot()?;
    let states: Vec<Ensure> = pending
        .states
        .into_iter()
        .filter(|state| !(rebooted && matches!(state, Ensure::Value { .. })))
        .collect();
    let undone = undo_all(&mut Real::for_restore(), &states);
    if undone.failed.is_empty() {
        journal::clear(path)?;
    }
    restored.tag = Some(pending.tag);
    restored.states += states.len();
    restored.undone.failed.extend(undone.failed);
    restored.undone.left_alone.extend(undone.left_alone);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::step::{Node, Object};

    fn value(path: &Path) -> Ensure {
        Ensure::Value {
            at: Node::Host,
            path: path.to_str().unwrap().to_owned(),
            is: "old".to_owned(),
            ours: "new".to_owned(),
        }
    }

    #[test]
    fn values_come_back_and_a_second_time_is_harmless() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(&folder.path().join("state"));
        let knob = folder.path().join("knob");
        std::fs::write(&knob, "new").unwrap();
        let left = folder.path().join("left");
        std::fs::create_dir(&left).unwrap();
        let mut journal =
            Journal::begin(&state.boot_journal(), "ek1", &host_boot().unwrap()).unwrap();
        let dir = Object::Dir(left.to_str().unwrap().to_owned());
        journal.append(&[value(&knob), Ensure::Absent { at: Node::Host, what: dir }]).unwrap();
        assert_eq!(dirty(&state).unwrap().as_deref(), Some("ek1"));
        let restored = restore(&state, None).unwrap();
        assert_eq!((restored.states, restored.undone), (2, Undone::default()));
        assert_eq!(std::fs::read_to_string(&knob).unwrap(), "old");
        assert!(!left.exists());
        assert_eq!(dirty(&state).unwrap(), None);
        assert_eq!(restore(&state, None).unwrap().states, 0);
    }

    #[test]
    fn after_a_reboot_old_values_are_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(&folder.path().join("state"));
        let knob = folder.path().join("knob");
        std::fs::write(&knob, "new").unwrap();
        let mut journal = Journal::begin(&state.boot_journal(), "ek1", "another-boot").unwrap();
        journal.append(&[value(&knob)]).unwrap();
        assert_eq!(restore(&state, None).unwrap().states, 0);
        assert_eq!(std::fs::read_to_string(&knob).unwrap(), "new");
        assert_eq!(dirty(&state).unwrap(), None);
    }

    #[test]
    fn a_state_that_cannot_be_reached_stays_journaled() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(&folder.path().join("state"));
        let mut journal =
            Journal::begin(&state.boot_journal(), "ek1", &host_boot().unwrap()).unwrap();
        journal.append(&[value(Path::new("/proc/ek-no-such-file"))]).unwrap();
        let restored = restore(&state, None).unwrap();
        assert!(restored.undone.failed[0].contains("/proc/ek-no-such-file"), "{restored:?}");
        assert!(dirty(&state).unwrap().is_some());
    }
}
