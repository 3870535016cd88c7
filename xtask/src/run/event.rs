//! What happens in a run, as values. The loop says it; displays consume it.

use std::path::PathBuf;
use std::time::Duration;

use crate::axis::names::RunTag;
use crate::record::{Outcome, Unmeasured};
use crate::verdict::sequential::Step;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Something is prepared that takes a while.
    Preparing(&'static str),
    /// The run begins.
    Begins {
        /// The run's tag.
        tag: RunTag,
        /// Boots to come.
        boots: u64,
        /// Boots that an earlier part of the run has made.
        made: u64,
        /// Cells that are measured, and all cells.
        cells: (usize, usize),
        /// Estimated time of the boots to come.
        estimate: Duration,
        /// Where the run is written.
        out: PathBuf,
    },
    /// A gate asks for more boots.
    Round {
        /// Boots, of both sides.
        boots: u64,
        /// Of so many cells.
        cells: usize,
        /// What for.
        step: Step,
        /// Their estimated time.
        estimate: Duration,
    },
    /// A lab is started: a virtual machine in which boots are made.
    Lab {
        /// The kernel's name in the matrix.
        kernel: String,
        /// The block that it is started for, 0-based.
        block: u32,
    },
    /// A lab is up.
    LabUp {
        /// The kernel's name in the matrix.
        kernel: String,
        /// What it says of itself: version and preemption.
        says: String,
        /// How long it took.
        took: Duration,
    },
    /// A boot begins.
    Boot {
        /// The cell.
        cell: String,
        /// Which fresh start of it, 0-based.
        boot: u32,
    },
    /// A boot enters a phase.
    Phase(String),
    /// A boot ended.
    Ended {
        /// The cell.
        cell: String,
        /// How.
        outcome: Outcome,
        /// Its workloads that failed, where others did not.
        failed: Vec<Unmeasured>,
        /// How long it took.
        took: Duration,
    },
    /// Something that the user should know and that stops nothing.
    Note(String),
    /// The user asked to stop; the boot under way is undone.
    Stopping,
    /// The user stopped it: everything is undone.
    Interrupted {
        /// Where the run lies that can be gone on with, if it had begun.
        out: Option<PathBuf>,
    },
    /// The run is over and reported.
    Done {
        /// The sentence.
        sentence: String,
        /// The page.
        page: PathBuf,
    },
}

/// Somebody who watches.
pub trait Watcher {
    /// Something happened.
    fn see(&mut self, event: &Event);
}
