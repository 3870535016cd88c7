//! What a run leaves on disk: one [`Record`] a boot, and the run's own header.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::calibrate::AlarmRate;
use crate::calibrate::fault::Injection;
use crate::matrix::Matrix;

pub mod export;
pub mod figures;
mod fleet;
pub mod import;
pub mod kernels;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;

pub use evenkeel_record::boot::{
    Counted, Effect, Evidence, Measured, Outcome, Record, Unmeasured, any_measured,
};
pub use evenkeel_record::{check, results};
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
