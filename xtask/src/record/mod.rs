//! What a run leaves on disk: one [`Record`] a boot, and the run's own header.

use std::collections::BTreeMap;

use evenkeel_agent::samples::{Noise, Samples};
use serde::{Deserialize, Serialize};

use crate::calibrate::AlarmRate;
use crate::calibrate::fault::Injection;
use crate::matrix::Matrix;

pub mod check;
pub mod export;
pub mod figures;
mod fleet;
pub mod import;
pub mod kernels;
pub mod results;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;

pub use fleet::{Fleet, Part};

pub use crate::plan::{BASE, CANDIDATE, PlannedCell, SCHEMA, Side, Status};

/// The inputs of the revision that a run is compared with.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Base {
    /// The revision as the user named it.
    pub revision: String,
    /// Its commit.
    pub commit: String,
    /// Its matrix as it is written there.
    pub matrix_text: String,
    /// Its matrix, checked, with its profiles.
    pub matrix: Matrix,
    /// What became of its cells.
    #[serde(default)]
    pub cells: Vec<PlannedCell>,
    /// Whether boots are taken until the policy's gate knows, and not a number of them that was fixed.
    #[serde(default)]
    pub by_policy: bool,
}

/// `run.json`: what was planned, where, by whom.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the tool.
    pub tool: String,
    /// The run's tag (`ek4f2a`), which everything it made carried.
    pub tag: String,
    /// The matrix as the user wrote it.
    pub matrix_text: String,
    /// The matrix, checked.
    pub matrix: Matrix,
    /// Seed of the order of boots.
    pub seed: u64,
    /// Start, seconds since 1970.
    pub started_unix: u64,
    /// Whether the run was cut short by `--quick`.
    pub quick: bool,
    /// Facts of the host.
    pub facts: BTreeMap<String, String>,
    /// Every cell of the plan, with what became of it.
    pub cells: Vec<PlannedCell>,
    /// What it is compared with, boot by boot, where another revision is measured beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// Kernels that its contrasts compare, and how they differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<kernels::KernelPair>,
    /// The text of the policy that judges it, where it was measured against another revision: that revision's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// How often this host flags what has not changed, as far as that was known when the run began, where it compares two sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<AlarmRate>,
    /// Which repetition of `calibrate` it is, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrates: Option<Repetition>,
    /// Which part of a plan it is, or what it was merged of.
    #[serde(default, skip_serializing_if = "Fleet::is_whole")]
    pub fleet: Fleet,
    /// Cells that could be measured when the run began, and no longer when it was gone on with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
}

impl Run {
    /// Boots of each cell that the plan asked for; none where a gate takes as many as its policy needs.
    pub fn planned_boots(&self) -> usize {
        match &self.base {
            Some(base) if base.by_policy => 0,
            _ => self.matrix.measure.boots as usize,
        }
    }
}

/// A cell that a gate could not go on with.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its id.
    pub cell: String,
    /// The first block of the round that its boots are missing in; later ones are not wanted of it.
    pub block: u32,
    /// Why.
    pub reason: String,
}

/// A repetition of `calibrate`: both sides are one and the same matrix.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// Which, 1-based.
    pub number: u32,
    /// The fault that the candidate's boots were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Injection>,
}

impl Repetition {
    /// In words.
    pub fn told(&self) -> String {
        let same = format!("repetition {} of `calibrate`: both sides are one matrix", self.number);
        match &self.fault {
            None => same,
            Some(fault) => format!("{same}, and the candidate was given a fault: {fault}"),
        }
    }
}

/// One line of `boots.jsonl`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The cell's id.
    pub cell: String,
    /// Which side of a comparison of revisions: [`BASE`] or [`CANDIDATE`], which is also the only one where there is no base.
    pub side: String,
    /// Block of the plan.
    pub block: u32,
    /// Position in the block.
    pub position: u32,
    /// Which fresh start of this cell: 0-based.
    pub boot: u32,
    /// Identity of the host's boot (`/proc/sys/kernel/random/boot_id`).
    pub host_boot: String,
    /// Identity of the guest's boot, for guests.
    pub guest_boot: Option<String>,
    /// Start of the system under test, seconds since 1970.
    pub started_unix: u64,
    /// Hash of the instrument's facts for this cell; equal ones may be compared.
    pub fingerprint: String,
    /// Facts behind the fingerprint, by name: `accelerator`, `kernel`, `cpu`...
    pub instrument: BTreeMap<String, String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Wall time of each phase and of build, measuring and undo, nanoseconds.
    pub timing_ns: BTreeMap<String, u64>,
    /// What disturbed the host during all measuring.
    pub noise: Option<Noise>,
    /// Proof read back from the machine.
    pub evidence: Vec<Evidence>,
    /// What was measured, in order.
    pub workloads: Vec<Measured>,
    /// Workloads of a measured boot that failed, in order: the others stand all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Unmeasured>,
    /// What the kernel counted meanwhile, of a boot that counts in no figure: one that is to tell what a tail coincides with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
}

/// The kernel's counters over the windows of a boot.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// What is counted.
    pub names: Vec<String>,
    /// Of each workload, in order, by how much each counter moved in each window.
    pub windows: Vec<Vec<Vec<f64>>>,
}

impl Record {
    /// Its workloads, those that failed behind the others.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let failed = self.failed.iter().map(|failed| failed.workload.as_str());
        self.workloads.iter().map(|measured| measured.workload.as_str()).chain(failed)
    }

    /// Whether it, or this workload of it, failed.
    pub fn lacks(&self, workload: &str) -> bool {
        self.outcome != Outcome::Measured
            || self.failed.iter().any(|failed| failed.workload == workload)
    }
}

/// How a boot ended.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Outcome {
    /// It was measured.
    Measured,
    /// It was not, and this is why. Never a number.
    Failed {
        /// Names the object and, where known, the remedy.
        reason: String,
    },
}

/// What one workload left.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Measured {
    /// The workload's name.
    pub workload: String,
    /// Its samples.
    pub samples: Samples,
}

/// A workload that left nothing.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Unmeasured {
    /// The workload's name.
    pub workload: String,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for Unmeasured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "workload `{}`: {}", self.workload, self.reason)
    }
}

/// Proof that a knob took effect or that packets crossed a hop.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case", tag = "of")]
pub enum Evidence {
    /// A hop of the path.
    Hop {
        /// Which one, in words.
        hop: String,
        /// Packets and bytes that its counters moved by during the measuring.
        packets: u64,
        /// Bytes.
        bytes: u64,
        /// The least that they had to move by, in packets.
        needed_packets: u64,
        /// The least that they had to move by, in bytes.
        needed_bytes: u64,
    },
    /// A knob.
    Knob {
        /// Its name.
        knob: String,
        /// What the profile asked for.
        requested: String,
        /// What was done for it.
        applied: String,
        /// What was read after placing, and after the last window.
        seen: [String; 2],
        /// The judgement.
        effect: Effect,
    },
    /// What became of the datagrams of a workload.
    Loss {
        /// The workload.
        workload: String,
        /// Datagrams sent, warm-up included.
        sent: u64,
        /// Those of them that were lost.
        lost: u64,
    },
    /// The load's workers.
    Load {
        /// Worker kind.
        worker: String,
        /// Rounds per second while measuring.
        per_second: f64,
    },
}

/// Whether a knob took effect.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Effect {
    /// Both readings agree with the request.
    Effective,
    /// As far as this machine allows.
    Partial {
        /// What is missing.
        reason: String,
    },
    /// The system under test is of a kind that the knob is not for.
    Inapplicable {
        /// Why not.
        reason: String,
    },
    /// It was not so, or not any more.
    NotEffective {
        /// What was found.
        reason: String,
    },
}
