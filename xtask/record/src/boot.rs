//! The record of a boot: one line of `boots.jsonl`.

use std::collections::BTreeMap;

use evenkeel_engine::samples::{Noise, Samples};
use serde::{Deserialize, Serialize};

/// One line of `boots.jsonl`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Record {
    /// [`SCHEMA`](evenkeel_plan::plan::SCHEMA).
    pub schema: u32,
    /// The cell's id.
    pub cell: String,
    /// Which side of a comparison of revisions: [`BASE`](evenkeel_plan::plan::BASE) or [`CANDIDATE`](evenkeel_plan::plan::CANDIDATE), which is also the only one where there is no base.
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

/// Whether a run measured anything, of whichever side.
pub fn any_measured(records: &[Record]) -> bool {
    records.iter().any(|record| record.outcome == Outcome::Measured)
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
    /// A program of the repository's that was measured: subject, not instrument.
    Program {
        /// The workload.
        workload: String,
        /// The program as the matrix names it.
        program: String,
        /// SHA-256 of its file.
        sha256: String,
        /// SHA-256 of everything that was copied with it.
        copy: String,
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
