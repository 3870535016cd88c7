//! Runs that are parts of one: which part a run is, and what a merged run keeps of its parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::calibrate::AlarmRate;
use crate::plan::Shard;

/// How a run belongs to others of the same plan.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// Which cells the plan was of, as `--only` was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// Which part of the plan it measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// What it was merged of; empty where it was measured on one host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// A shard in a merged run.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Part {
    /// Which.
    pub shard: Shard,
    /// Its run's tag.
    pub tag: String,
    /// Its start, seconds since 1970.
    pub started_unix: u64,
    /// Facts of its host.
    pub facts: BTreeMap<String, String>,
    /// How often its host flags what has not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<AlarmRate>,
    /// Whether nothing of it was there to be merged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
    /// Ids of its cells.
    pub cells: Vec<String>,
}

impl Fleet {
    /// Whether the run is the whole of its plan, measured on one host.
    pub fn is_whole(&self) -> bool {
        *self == Fleet::default()
    }

    /// How many parts share the error rate of the whole: each judges its own cells, so each gets its share.
    pub fn shares(&self) -> u32 {
        let parts = self.parts.first().map(|part| part.shard);
        self.shard.or(parts).map_or(1, Shard::of)
    }
}
