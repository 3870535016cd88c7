//! Figures of a cell from the records of its boots. Pure.

use evenkeel_agent::samples::Samples;

use super::results::{Figures, Results};
use super::{Record, Run};

/// Observations of one workload of one cell, pooled over boots by merging histograms.
#[derive(Debug)]
pub struct Pooled {}

impl Pooled {
    /// Pools the boots of one cell; every sample must have the same unit.
    pub fn new(_boots: &[&Samples]) -> anyhow::Result<Pooled> {
        anyhow::bail!("not written")
    }

    /// The quantile `q` in 0..=1, interpolated inside the bucket; `None` where the count cannot support it.
    pub fn quantile(&self, _q: f64) -> Option<f64> {
        None
    }

    /// All figures.
    pub fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Points of the cumulative distribution: (value in the unit, share at or below), at most `points`.
    pub fn ecdf(&self, _points: usize) -> Vec<(f64, f64)> {
        Vec::new()
    }
}

/// `results.json` from what a run left. The bootstrap is seeded by the run's seed: equal input gives equal bytes.
pub fn results(_run: &Run, _records: &[Record]) -> anyhow::Result<Results> {
    anyhow::bail!("not written")
}
