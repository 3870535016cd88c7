//! Where acts become effects: the real machine, and one in memory that dies at any effect.

use crate::step::{Act, Ensure, Node, Object};

pub use engines::RUNC_ROOT;
pub use files::{read as value_of, read_seen_from as value_of_own, same as same_value};

mod alive;
pub mod cgroup;
mod engines;
pub mod fake;
mod files;
mod ip;
pub mod links;
mod mounts;
pub mod queues;
pub mod real;
pub mod slices;
mod tools;

/// Something that steps can be run on.
pub trait Machine {
    /// The value of a file that is about to be overwritten.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read(&mut self, at: Node, path: &str) -> anyhow::Result<String>;

    /// Whether something is there already under the name of an object that is about to be made: then it is somebody else's, and must
    /// neither be used nor be undone. Engines refuse a name twice by themselves; for their objects the answer may be no.
    ///
    /// # Errors
    /// It cannot be found out.
    fn is_there(&mut self, at: Node, object: &Object) -> anyhow::Result<bool>;

    /// Makes states durable, before anything that they undo is applied.
    ///
    /// # Errors
    /// They could not be made durable: nothing may be applied.
    fn journal(&mut self, states: &[Ensure]) -> anyhow::Result<()>;

    /// Acts. Answers the values of the slot that the act binds, if it binds one.
    ///
    /// # Errors
    /// The act failed; it may have happened in part.
    fn apply(&mut self, at: Node, act: &Act<String>) -> anyhow::Result<Vec<String>>;

    /// Acts several times in a row; none of the acts binds a slot. A machine may do neighbours together.
    ///
    /// # Errors
    /// The first act that failed, by its place; those after it did not happen.
    fn apply_all(&mut self, at: Node, acts: &[Act<String>]) -> Result<(), (usize, anyhow::Error)> {
        for (place, act) in acts.iter().enumerate() {
            self.apply(at, act).map_err(|error| (place, error))?;
        }
        Ok(())
    }

    /// Reaches a state. Doing so again is harmless.
    ///
    /// # Errors
    /// The state was not reached.
    fn ensure(&mut self, state: &Ensure) -> anyhow::Result<Reached>;

    /// Reaches several states none of which needs another ([`Ensure::needs_no_neighbour`]); answers in their order. A machine may reach
    /// them at the same time.
    ///
    /// # Errors
    /// Of each state on its own: it was not reached.
    fn ensure_all(&mut self, states: &[&Ensure]) -> Vec<anyhow::Result<Reached>> {
        states.iter().map(|state| self.ensure(state)).collect()
    }
}

/// How a state was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It holds.
    Yes,
    /// Somebody else changed the value since, so it was left as it is; says what was found.
    LeftAlone(String),
}
