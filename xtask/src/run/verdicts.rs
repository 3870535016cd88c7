//! Verdicts of a run that holds two sides, by the policy that was measured with it.

use crate::record::{BASE, Record, Run};
use crate::verdict::{Comparison, Options, Policy, Verdicts, policy};
use crate::wrong::wrong;

/// What a policy that lies in `run.json` is called.
const STORED: &str = "policy of the base (run.json)";

/// Verdicts of a run with a base; nothing of another.
///
/// # Errors
/// The policy is wrong, or a side has an unknown name.
pub fn of_run(run: &Run, records: &[Record]) -> anyhow::Result<Option<Verdicts>> {
    if !records.iter().any(|record| record.side == BASE) {
        return Ok(None);
    }
    let policy = policy_of(run)?;
    let comparison = Comparison::of_sides(run, records, &policy).map_err(wrong)?;
    Ok(Some(Verdicts::new(&comparison, &policy, Options::default())))
}

/// The policy that a run was measured with, else the one that is found here.
///
/// # Errors
/// It is wrong.
pub fn policy_of(run: &Run) -> anyhow::Result<Policy> {
    match &run.policy {
        Some(text) => stored(text),
        None => policy::find(None).map_err(wrong),
    }
}

/// A policy that lies in `run.json`, or is to.
pub(super) fn stored(text: &str) -> anyhow::Result<Policy> {
    policy::parse(text, STORED).map_err(wrong)
}
