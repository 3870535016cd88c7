//! What became of a repetition: judged by what judges any comparison.

use std::fmt;
use std::path::Path;

use anyhow::Context as _;

use super::AlarmRate;
use super::store::Key;
use crate::record::{Record, store};
use crate::run::{as_owner, verdicts};
use crate::verdict::{Decision, Gate, Verdicts};

/// A repetition with its verdicts.
#[derive(Debug)]
pub(super) struct Judged {
    /// Under which rates it is kept.
    pub(super) key: Key,
    /// Its boots.
    pub(super) records: Vec<Record>,
    /// What was decided.
    pub(super) verdicts: Verdicts,
}

impl Judged {
    /// Judges what was measured.
    ///
    /// # Errors
    /// The run cannot be read, or has no base.
    pub(super) fn of(dir: &Path) -> anyhow::Result<Judged> {
        let (run, records, _) = as_owner(dir, || store::read(dir))?;
        let verdicts = verdicts::of_run(&run, &records)?;
        let verdicts = verdicts.with_context(|| format!("`{}` has no base", dir.display()))?;
        Ok(Judged { key: Key::of(&run, &verdicts.policy), records, verdicts })
    }

    /// What would have been an alarm.
    pub(super) fn flags(&self) -> impl Iterator<Item = &Decision> {
        self.verdicts.decisions.iter().filter(|decision| decision.flags())
    }

    /// Whether it would have been an alarm.
    pub(super) fn is_flagged(&self) -> bool {
        self.counts().flagged > 0
    }

    /// Why it could raise none.
    fn void(&self) -> Option<&str> {
        match &self.verdicts.gate {
            Gate::Void { why } | Gate::Informs { why } => Some(why),
            Gate::Gates | Gate::Uncalibrated { .. } if !self.verdicts.could_flag => {
                Some("nothing that gates could be tested")
            }
            Gate::Gates | Gate::Uncalibrated { .. } => None,
        }
    }

    /// It alone, as counts.
    pub(super) fn counts(&self) -> AlarmRate {
        match self.void() {
            Some(_) => AlarmRate { void: 1, ..AlarmRate::default() },
            None => {
                AlarmRate { runs: 1, flagged: u32::from(self.flags().next().is_some()), void: 0 }
            }
        }
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.void() {
            Some(why) => write!(f, "void: {why}"),
            None if self.is_flagged() => {
                write!(f, "flagged: {}", self.verdicts.overall.sentence)
            }
            None => f.write_str("nothing flagged"),
        }
    }
}
