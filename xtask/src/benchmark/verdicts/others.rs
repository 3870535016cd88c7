//! Public tools that are Python packages, where a Python has them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use evenkeel_agent::command;

use super::public::Series;

/// Names the Python to ask; else `python3` is.
const ASKED: &str = "EVENKEEL_PYTHON";

const SCRIPT: &str = include_str!("others.py");

/// Long: its work takes seconds.
const DEADLINE: Duration = Duration::from_secs(300);

/// A Python, whose packages are tried when they are needed.
pub(super) struct Python {
    program: String,
}

impl Python {
    /// The one that the environment names.
    pub(super) fn find() -> Python {
        let program = std::env::var(ASKED).ok().filter(|name| !name.is_empty());
        Python { program: program.unwrap_or_else(|| "python3".to_owned()) }
    }

    /// Of each tool its alarms, series by series.
    ///
    /// # Errors
    /// The packages are not there, or fail: how to install them.
    pub(super) fn verdicts(
        &self,
        series: &[Series],
    ) -> Result<Vec<(&'static str, Vec<bool>)>, String> {
        let asked = serde_json::json!({ "series": series });
        let missing = |error: anyhow::Error| {
            format!(
                "no Otava and jumpavg: `{} -m pip install apache-otava==0.8.0 jumpavg==0.4.2`, or name a Python that has them in {ASKED} ({error:#})",
                self.program
            )
        };
        let mut found: BTreeMap<String, Vec<bool>> = self.ask(&asked).map_err(missing)?;
        let mut take = |name: &str| found.remove(name).unwrap_or_default();
        Ok(vec![("Apache Otava", take("otava")), ("jumpavg", take("jumpavg"))])
    }

    /// Seconds of numpy's product of signs and differences, on one CPU, the best of some tries: in single and in double precision.
    ///
    /// # Errors
    /// numpy is not there: how to install it.
    pub(super) fn products(
        &self,
        hypotheses: usize,
        blocks: u32,
        permutations: usize,
        tries: usize,
    ) -> Result<[f64; 2], String> {
        let asked = serde_json::json!({
            "products": { "hypotheses": hypotheses, "blocks": blocks, "permutations": permutations, "tries": tries },
        });
        let missing = |error: anyhow::Error| {
            format!(
                "no numpy: `{} -m pip install numpy`, or name a Python that has it in {ASKED} ({error:#})",
                self.program
            )
        };
        let found: BTreeMap<String, f64> = self.ask(&asked).map_err(missing)?;
        Ok(["float32", "float64"].map(|kind| found.get(kind).copied().unwrap_or(f64::NAN)))
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, asked: &serde_json::Value) -> anyhow::Result<T> {
        let input = serde_json::to_vec(asked)?;
        // One thread of numpy's: rows compare one CPU with one CPU.
        let argv = [
            "env",
            "OPENBLAS_NUM_THREADS=1",
            "OMP_NUM_THREADS=1",
            "MKL_NUM_THREADS=1",
            &self.program,
            "-c",
            SCRIPT,
        ];
        let ended = command::run_in(None, &argv, &input, DEADLINE)?;
        if ended.code != Some(0) {
            let words = ended.last_words();
            anyhow::bail!("{}", words.rsplit("; ").next().unwrap_or("it was killed"));
        }
        serde_json::from_slice(&ended.stdout).context("failed to read its answer")
    }
}
