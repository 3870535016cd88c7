//! What a plan says of a cell, as files of a run keep it.

use serde::{Deserialize, Serialize};

use crate::matrix::Cell;

/// Version of every file of a run.
pub const SCHEMA: u32 = 1;

/// `side` of a record: what a run is about, also where nothing is compared with a base.
pub const CANDIDATE: &str = "candidate";

/// `side` of a record: what it is compared with, where another revision was measured beside.
pub const BASE: &str = "base";

/// Of which revision's inputs a boot is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// What a run is about.
    #[default]
    Candidate,
    /// What it is compared with.
    Base,
}

impl Side {
    /// As records have it.
    pub fn name(self) -> &'static str {
        match self {
            Side::Candidate => CANDIDATE,
            Side::Base => BASE,
        }
    }
}

/// A cell of the plan.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct PlannedCell {
    /// The cell.
    pub cell: Cell,
    /// Whether it can be measured here.
    pub status: Status,
}

/// Whether a cell can be measured.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Status {
    /// Yes.
    Runnable,
    /// Not here.
    Skipped {
        /// Why.
        reason: String,
        /// What would help.
        remedy: String,
    },
    /// Not anywhere: its kinds do not fit together.
    NotApplicable {
        /// Why.
        reason: String,
    },
}
