//! A machine in memory. It records what happens to it and dies at a chosen effect, so that undoing can be tried at every point of
//! every kind's steps.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;

use super::{Machine, Reached};
use crate::step::{Act, Ensure, Node, Object, Query, Setting};

/// What there is on the machine, by how it prints. Two machines are alike if their states are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Values of files.
    pub files: BTreeMap<String, String>,
    /// Objects that were made or left by processes.
    pub objects: BTreeSet<String>,
    /// Running processes by name.
    pub processes: BTreeSet<String>,
}

/// The machine.
#[derive(Clone, Debug, Default)]
pub struct Fake {
    /// What there is.
    pub state: State,
    /// What was journaled and not yet cleared; survives death.
    pub journal: Vec<Ensure>,
    /// How often the journal was synced.
    pub syncs: usize,
    /// Everything that was applied, in order, as it prints.
    pub applied: Vec<String>,
    /// Effects until death; without one it lives for ever.
    pub fuse: Option<usize>,
    /// Whether the effect at which it dies happens before it dies: a kill may come right after a system call or right before.
    pub dies_after: bool,
    next_pid: u32,
}

impl Fake {
    /// A machine that dies at effect `fuse` (0 is the first).
    pub fn dying_at(state: State, fuse: usize, dies_after: bool) -> Fake {
        Fake { state, fuse: Some(fuse), dies_after, ..Fake::default() }
    }

    fn effect(&mut self, happens: impl FnOnce(&mut Fake)) -> anyhow::Result<()> {
        match self.fuse {
            Some(0) => {
                if self.dies_after {
                    happens(self);
                }
                self.dies_after = false;
                bail!("killed")
            }
            Some(ref mut left) => *left -= 1,
            None => {}
        }
        happens(self);
        Ok(())
    }

    fn pid(&mut self) -> String {
        self.next_pid += 1;
        self.next_pid.to_string()
    }
}

impl Machine for Fake {
    fn read(&mut self, _at: Node, path: &str) -> anyhow::Result<String> {
        Ok(self.state.files.entry(path.to_owned()).or_insert_with(|| "before".to_owned()).clone())
    }

    fn journal(&mut self, states: &[Ensure]) -> anyhow::Result<()> {
        self.effect(|fake| {
            fake.journal.extend_from_slice(states);
            fake.syncs += 1;
        })
    }

    fn apply(&mut self, at: Node, act: &Act<String>) -> anyhow::Result<Vec<String>> {
        self.applied.push(format!("{at}: {act}"));
        match act {
            Act::Put { on: Setting::File(path), value } => self.effect(|fake| {
                fake.state.files.insert(path.clone(), value.clone());
            })?,
            // What goes with its namespace is not there on its own.
            Act::Make {
                object: Object::Link { netns, .. } | Object::Table { netns, .. }, ..
            } if !netns.is_empty() => {
                self.effect(|_| ())?;
            }
            Act::Make { object, .. } => self.effect(|fake| {
                fake.state.objects.insert(object.to_string());
            })?,
            Act::Start { name, leaves, .. } => {
                self.effect(|fake| {
                    fake.state.processes.insert(name.clone());
                    fake.state.objects.extend(leaves.iter().map(ToString::to_string));
                })?;
                return Ok(vec![self.pid()]);
            }
            Act::Put { .. } | Act::Go(_) => self.effect(|_| ())?,
            Act::Learn { query: Query::Threads(_) | Query::QmpOthers(..), .. } => {
                return Ok(vec![self.pid(), self.pid()]);
            }
            Act::Learn { .. } => return Ok(vec![self.pid()]),
            Act::Await { .. } => {}
        }
        Ok(Vec::new())
    }

    fn ensure(&mut self, state: &Ensure) -> anyhow::Result<Reached> {
        match state {
            Ensure::Value { path, is, ours, .. } => {
                let now = self.state.files.get(path).cloned().unwrap_or_default();
                if now != *is && now != *ours {
                    return Ok(Reached::LeftAlone(format!("{path} is `{now}`")));
                }
                self.effect(|fake| {
                    fake.state.files.insert(path.clone(), is.clone());
                })?;
            }
            Ensure::Absent { what, .. } => self.effect(|fake| {
                if let Object::Cgroup(_) = what {
                    fake.state.processes.clear();
                }
                fake.state.objects.remove(&what.to_string());
            })?,
        }
        Ok(Reached::Yes)
    }
}

/// Runs `steps` on machines that die at every effect, undoes from the journal, kills that undoing at every effect too, and
/// undoes again. Answers how many deaths were tried.
///
/// # Errors
/// A death after which the machine is not as it was before: says which, and what is left.
pub fn die_everywhere(steps: &[crate::step::Step]) -> anyhow::Result<usize> {
    use crate::interpret::{Slots, run, undo_all};
    // Reading fills in the files' old values, so the state to come back to has them.
    let mut whole = Fake::default();
    run(&mut whole, steps, &mut Slots::new(), &mut Vec::new(), |_| ())?;
    let mut before = State::default();
    before.files.extend(whole.state.files.keys().map(|path| (path.clone(), "before".to_owned())));

    let mut deaths = 0;
    for dies_after in [false, true] {
        for fuse in 0.. {
            let mut fake = Fake::dying_at(before.clone(), fuse, dies_after);
            let lived = run(&mut fake, steps, &mut Slots::new(), &mut Vec::new(), |_| ()).is_ok();
            for second in 0.. {
                let mut dying = Fake {
                    journal: fake.journal.clone(),
                    ..Fake::dying_at(fake.state.clone(), second, dies_after)
                };
                let first_try = undo_all(&mut dying, &fake.journal);
                let mut healthy = Fake { state: dying.state, ..Fake::default() };
                let again = undo_all(&mut healthy, &fake.journal);
                anyhow::ensure!(
                    healthy.state == before
                        && again.failed.is_empty()
                        && again.left_alone.is_empty(),
                    "killed at effect {fuse} and its undoing at {second}: left {:?}, {again:?}",
                    healthy.state
                );
                deaths += 1;
                if first_try.failed.is_empty() {
                    break;
                }
            }
            if lived {
                break;
            }
        }
    }
    Ok(deaths)
}
