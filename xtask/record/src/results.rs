//! `results.json`: figures, contrasts and verdicts of a run, as the world sees them.
//! The names here are a contract; `reports/results.schema.json` describes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use evenkeel_plan::matrix::Cell;

/// The whole file.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Results {
    /// Version of the file.
    pub schema: u32,
    /// Name of the matrix.
    pub matrix: String,
    /// Seed of the run.
    pub seed: u64,
    /// Facts of the host.
    pub facts: BTreeMap<String, String>,
    /// One entry a cell of the plan, also for those that were not measured.
    pub cells: Vec<CellResult>,
    /// Comparisons inside the run.
    pub contrasts: Vec<ContrastResult>,
    /// What each knob of a profile does, a table for each place and workload; empty where the matrix does not ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attribution: Vec<AttributionResult>,
    /// Decisions; empty where nothing was compared with a base.
    pub verdicts: Vec<VerdictRow>,
    /// What flags coincide with, by boots that count in nothing; empty where none was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnoses: Vec<DiagnosisResult>,
    /// What the verdicts rest on; absent where nothing was compared with a base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonResult>,
    /// The whole in a sentence.
    pub overall: Overall,
}

impl Results {
    /// `results.json`, but for the line feed at its end.
    ///
    /// # Errors
    /// None that is known of: every value has a form in JSON.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
    }
}

/// A cell's outcome and figures.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct CellResult {
    /// The cell's id.
    pub id: String,
    /// Its axis values.
    pub axes: Cell,
    /// What became of it.
    pub outcome: CellOutcome,
    /// Why it was not measured, or what went wrong in some of its boots.
    pub reason: Option<String>,
    /// What is wrong with its boots, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// Fingerprint of the instrument; absent where nothing was measured.
    pub fingerprint: Option<String>,
    /// Figures per workload.
    pub workloads: Vec<WorkloadResult>,
}

/// What became of a cell.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum CellOutcome {
    /// At least one boot was measured.
    Measured,
    /// Every boot failed, or none left a record.
    Failed,
    /// It cannot be measured on this host.
    Skipped,
    /// Its kinds do not fit together.
    NotApplicable,
}

/// What is wrong with the boots of a cell.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Some failed, or a workload of some did.
    PartlyFailed,
    /// None did, but not all that were planned left a record: the run was stopped.
    Unfinished,
}

/// Figures of one workload of a cell, pooled over boots.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct WorkloadResult {
    /// The workload's name.
    pub name: String,
    /// Unit of the figures: `ns`, `bytes/s`.
    pub unit: String,
    /// `lower` or `higher`.
    pub better: String,
    /// Boots that were measured.
    pub boots: u32,
    /// Observations in all.
    pub count: u64,
    /// The figures.
    pub figures: Figures,
}

/// Figures in the workload's unit. One that the count cannot support is `None`, never a guess.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Default)]
pub struct Figures {
    /// Median of all observations.
    pub median: Option<f64>,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Root mean square over boots of the standard deviation inside a boot, over its transactions or, for rates, its
    /// windows. Not the standard deviation of repeated runs' means: that is `sd_between`.
    pub sd_within: Option<f64>,
    /// Root mean square over boots of the standard deviation, inside a boot, of its windows' *medians* (means of windows
    /// are not recorded; windows without a transaction do not count). For rates that of the windows' rates, which is `sd_within`.
    pub sd_windows: Option<f64>,
    /// Standard deviation of boot means; needs two boots.
    pub sd_between: Option<f64>,
    /// Median absolute deviation from the median, unscaled.
    pub mad: Option<f64>,
    /// Interquartile range.
    pub iqr: Option<f64>,
    /// p99 - p50 for latencies; p50 - p1 for rates where the count supports it.
    pub jitter: Option<f64>,
    /// 50th percentile.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p99_9: Option<f64>,
    /// 99.99th percentile.
    pub p99_99: Option<f64>,
    /// 99.999th percentile.
    pub p99_999: Option<f64>,
    /// Largest observation.
    pub max: Option<f64>,
    /// Share of time spent inside transactions longer than [`crate::figures::STALL_THRESHOLD_NS`]; absent for rates.
    pub stall_share: Option<f64>,
}

/// A ratio between two cells of the same run.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ContrastResult {
    /// The contrast's name.
    pub name: String,
    /// Cell compared from.
    pub from_cell: String,
    /// Cell compared to.
    pub to_cell: String,
    /// Workload.
    pub workload: String,
    /// `location`, `dispersion`, `tail`, `stall`.
    pub aspect: String,
    /// The figure that stands for the aspect.
    pub figure: String,
    /// Ratio of the geometric means over boots, to / from; absent where a side has none.
    pub ratio: Option<f64>,
    /// Lower end of the 95 % interval; absent where a side has too few boots for one.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// p-value of no difference.
    #[serde(default)]
    pub p: Option<f64>,
    /// The same by Holm's correction over all contrasts of the run.
    #[serde(default)]
    pub p_corrected: Option<f64>,
    /// Boots from and to that have the figure. For a contrast of kernels, boots of those kernels: ten containers under one boot of
    /// the host are one.
    pub boots: [u32; 2],
    /// Why there is no ratio or why it must be read with care.
    pub note: Option<String>,
}

/// What each knob of a profile does in one place to one workload.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct AttributionResult {
    /// The profile whose knobs these are.
    pub profile: String,
    /// The profile that they are put into.
    pub base: String,
    /// `one-at-a-time` or `factorial`.
    pub design: String,
    /// The id that its cells share, `*` for the profile.
    pub place: String,
    /// Workload.
    pub workload: String,
    /// `lower` or `higher`.
    pub better: String,
    /// How many effects the corrected p-values are corrected for: all of the run.
    pub tests: u32,
    /// The whole profile against the base.
    pub whole: Vec<EffectResult>,
    /// The knobs that took effect by rank, then the others.
    pub knobs: Vec<KnobResult>,
}

/// What one knob does, or a group of knobs that are turned as one.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct KnobResult {
    /// Name of the knob or the group.
    pub name: String,
    /// Its knobs and their values.
    pub knobs: Vec<KnobValues>,
    /// Place among the knobs that took effect: 1 for the largest effect on dispersion or tail. Knobs with an effect that is clear of
    /// chance come before those without.
    pub rank: Option<u32>,
    /// Whether an effect on dispersion or tail is clear of chance.
    pub clear: bool,
    /// `effective`, `partial`, `not-effective`, `not-applicable`, by what was read back; `not-set` where no boot can turn it;
    /// `not-measured` where none left evidence.
    pub evidence: String,
    /// Why it is not effective, or what must be known of it.
    pub notes: Vec<String>,
    /// Its effects.
    pub effects: Vec<EffectResult>,
}

/// A knob's values.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct KnobValues {
    /// The knob.
    pub knob: String,
    /// What the base asks of it; nothing where it leaves the knob alone.
    pub off: Option<String>,
    /// What the profile asks of it.
    pub on: Option<String>,
}

/// With / without.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct EffectResult {
    /// Beside which knobs: `profile` (all others are on: it was taken out), `base` (none is: it was put in), `design` (each other one is on in
    /// half of the boots).
    pub beside: String,
    /// Cell without; absent where many are compared.
    pub from_cell: Option<String>,
    /// Cell with.
    pub to_cell: Option<String>,
    /// `location`, `dispersion`, `tail`, `stall`.
    pub aspect: String,
    /// The figure that stands for the aspect.
    pub figure: String,
    /// Ratio of geometric means over boots, with / without.
    pub ratio: Option<f64>,
    /// Lower end of its own 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// p-value of no effect.
    pub p: Option<f64>,
    /// The same by Holm's correction over all effects of the run.
    pub p_corrected: Option<f64>,
    /// Boots without and with that were compared.
    pub boots: [u32; 2],
    /// Boots without and with that failed: they are in no ratio, and may be the larger effect.
    pub failed: [u32; 2],
    /// Why there is no ratio, or why it must be read with care.
    pub note: Option<String>,
}

/// One decision.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct VerdictRow {
    /// Cell.
    pub cell: String,
    /// Workload.
    pub workload: String,
    /// `location`, `dispersion`, `tail`, `stall`, `modes`, `between-boot`; `outcome` where one side was not measured.
    pub aspect: String,
    /// The figure that stands for the aspect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figure: Option<String>,
    /// `regressed`, `improved`, `equivalent`, `inconclusive`, `missing`.
    pub verdict: String,
    /// candidate / base.
    pub ratio: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Raw one-sided p-value against the margin, of the direction that the ratio points to.
    pub p: Option<f64>,
    /// The same, corrected for all that gates (or for all that informs, where this only informs).
    pub p_corrected: Option<f64>,
    /// Smallest ratio for the worse that could have been seen.
    pub detectable_ratio: Option<f64>,
    /// Fresh starts of base and candidate that were compared.
    #[serde(default)]
    pub boots: [u32; 2],
    /// Fresh starts a side that would flag a change as large as it seems, or of twice the margin, where it is inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boots_needed: Option<u32>,
    /// Whether the policy lets this row make an interleaved comparison fail.
    #[serde(default)]
    pub gates: bool,
    /// The reason for which the policy accepts a regression; it does not gate then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// Whether it is better while something else of its cell is worse, or looks so: no good news.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside_worse: bool,
    /// In words.
    pub reason: String,
}

/// What stands beside the word `improved` of a row that is [`VerdictRow::beside_worse`].
pub const BESIDE_WORSE: &str = "its cell is worse elsewhere";

/// What a flag coincides with, in a boot that counts in nothing.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct DiagnosisResult {
    /// Cell.
    pub cell: String,
    /// Workload.
    pub workload: String,
    /// The aspect that was flagged.
    pub aspect: String,
    /// What its worst windows have more of than the others, the surest first.
    pub coincides: Vec<Coincidence>,
    /// What there was more of in the whole boot than in any boot of the base.
    pub beside_base: Vec<Coincidence>,
    /// In words.
    pub told: String,
}

/// Something that is counted, here and elsewhere.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Coincidence {
    /// What.
    pub counter: String,
    /// So much of it a second here.
    pub here: f64,
    /// So much in the other windows; in the base's boots, at most.
    pub elsewhere: f64,
    /// Probability of as much by chance, corrected for all that is counted; absent where none was worked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
}

/// What verdicts rest on.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ComparisonResult {
    /// `gates`, `informs` where the sides were not measured interleaved, `void` where the run was not steady, `uncalibrated` where the
    /// policy wants more of the runner than it has shown.
    pub gate: String,
    /// Why it does not gate.
    pub why: Option<String>,
    /// Whether the run was steady.
    pub checks: Vec<CheckResult>,
    /// What must be known beside.
    pub notes: Vec<String>,
    /// Every threshold, for people.
    pub policy: Vec<PolicyLine>,
}

/// How much a circumstance mattered that may not.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct CheckResult {
    /// `drift`, `position` in a block, `order` in a pair.
    pub of: String,
    /// Workload.
    pub workload: String,
    /// `location` or `dispersion`.
    pub aspect: String,
    /// Last / first, of geometric means over all cells.
    pub ratio: f64,
    /// p-value of its being 1.
    pub p: f64,
    /// Whether it makes the run void.
    pub void: bool,
    /// In words.
    pub told: String,
}

/// A line of the policy.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PolicyLine {
    /// What it is about.
    pub name: String,
    /// What it says.
    pub value: String,
}

/// The whole in a sentence.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Overall {
    /// `measured`, `incomplete`, `failed`, or the gate's verdict.
    pub verdict: String,
    /// The sentence.
    pub sentence: String,
}
