//! The files by which a step tells its job: the summary and the outputs.

use std::path::PathBuf;

use crate::publish::said::{Budget, Said};
use crate::publish::{Sink, append};
use crate::report::clean;

/// GitHub takes a MiB a step, and shows nothing of a larger one. A browser is slow long before.
const BUDGET: Budget = Budget { bytes: 500_000 };

/// Bytes of a text in an output.
const TEXT: usize = 2_000;

/// The summary of the job.
#[derive(Debug)]
pub struct Summary {
    pub(super) file: PathBuf,
    pub(super) link: Option<String>,
}

impl Sink for Summary {
    fn name(&self) -> &'static str {
        "summary"
    }

    fn shows(&self, said: &Said) -> anyhow::Result<String> {
        Ok(said.markdown(self.link.as_deref(), BUDGET))
    }

    fn send(&self, said: &Said) -> anyhow::Result<String> {
        append(&self.file, &(self.shows(said)? + "\n"))?;
        Ok("added".to_owned())
    }
}

/// The outputs of the step.
#[derive(Debug)]
pub struct Outputs {
    pub(super) file: PathBuf,
}

impl Sink for Outputs {
    fn name(&self) -> &'static str {
        "outputs"
    }

    /// A line each: no text can begin another.
    fn shows(&self, said: &Said) -> anyhow::Result<String> {
        let of = |verdict: &str| {
            let of = |row: &&crate::record::results::VerdictRow| row.verdict == verdict;
            said.changed.iter().chain(&said.open).filter(of).count()
        };
        let word: String = said.verdict.chars().filter(char::is_ascii_lowercase).take(40).collect();
        let sentence: String = clean(&said.sentence).chars().take(TEXT).collect();
        let counts = ["regressed", "missing", "improved", "inconclusive"];
        let counts: String = counts.iter().map(|what| format!("{what}={}\n", of(what))).collect();
        Ok(format!("verdict={word}\nexit-code={}\n{counts}sentence={sentence}\n", said.exit as u8))
    }

    fn send(&self, said: &Said) -> anyhow::Result<String> {
        append(&self.file, &self.shows(said)?)?;
        Ok("set".to_owned())
    }
}
