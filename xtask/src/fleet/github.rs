//! `plan --format github`: the shards of a plan as the jobs of a workflow's matrix. Pure.
//!
//! The text goes through the output of a job into `strategy.matrix` (`fromJSON`): one line, ASCII, and small: GitHub takes 256 jobs a matrix
//! and a megabyte, counted as UTF-16, of all outputs of a job.

use serde::Serialize;

use super::parts::{Wanted, parts};
use crate::matrix::quoted;
use crate::plan::{Plan, Shard, human};

/// Bytes of the text.
const MOST_BYTES: usize = 400_000;

/// What a workflow's matrix is told.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// The jobs.
    pub include: Vec<Job>,
}

/// One job: a shard on a runner.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// As `bench --shard` takes it.
    pub shard: Shard,
    /// The same for names of files: `1-of-3`.
    pub name: String,
    /// Labels that its runner must have.
    pub runs_on: Vec<String>,
    /// How many cells.
    pub cells: usize,
    /// Estimated time, for people.
    pub estimate: String,
    /// Minutes after which it hangs.
    pub timeout_minutes: u64,
}

/// The jobs of a plan.
///
/// # Errors
/// As of [`parts`], a label that is none, or a text that no output holds.
pub fn jobs(plan: &Plan<'_>, wanted: &Wanted) -> Result<Jobs, String> {
    let mut include = Vec::new();
    for part in parts(plan, wanted)? {
        for label in &part.labels {
            checked(label)?;
        }
        include.push(Job {
            shard: part.shard,
            name: part.shard.to_string().replace('/', "-of-"),
            timeout_minutes: part.minutes(),
            runs_on: part.labels,
            cells: part.cells,
            estimate: human(part.time),
        });
    }
    let jobs = Jobs { include };
    match jobs.text()?.len() {
        length if length > MOST_BYTES => Err(format!(
            "the jobs take {length} bytes, and an output of a job carries {MOST_BYTES}: ask for fewer --shards"
        )),
        _ => Ok(jobs),
    }
}

impl Jobs {
    /// In one line.
    ///
    /// # Errors
    /// None that is known: it is in memory.
    pub fn text(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|why| why.to_string())
    }
}

/// A label as GitHub has them; nothing that a workflow's expression or a shell would take for its own.
fn checked(label: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    match !label.is_empty() && label.len() <= 100 && label.chars().all(plain) {
        true => Ok(()),
        false => Err(format!(
            "{} is no label of a runner: letters, digits, `-`, `_`, `.` and `:`, at most 100",
            quoted(label)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parts::testing::{MATRIX, planned};
    use super::*;
    use crate::plan::GateBoots;

    fn told(text: &str, shards: Option<u32>, gate: Option<GateBoots>) -> Result<String, String> {
        let runner = vec!["self-hosted".to_owned(), "linux".to_owned()];
        let wanted = Wanted { shards, runner, guests: Vec::new(), gate };
        let jobs = planned(text, |plan| jobs(plan, &wanted))?;
        Ok(serde_json::to_string_pretty(&jobs).unwrap())
    }

    #[test]
    fn containers_of_a_kernel_go_to_its_runners_and_guests_of_it_anywhere_with_what_they_are_compared_with()
     {
        insta::assert_snapshot!(told(MATRIX, None, None).unwrap(), @r#"
        {
          "include": [
            {
              "shard": "1/2",
              "name": "1-of-2",
              "runs_on": [
                "self-hosted",
                "linux"
              ],
              "cells": 6,
              "estimate": "4 min 36 s",
              "timeout_minutes": 60
            },
            {
              "shard": "2/2",
              "name": "2-of-2",
              "runs_on": [
                "self-hosted",
                "linux",
                "rt"
              ],
              "cells": 2,
              "estimate": "1 min 32 s",
              "timeout_minutes": 60
            }
          ]
        }
        "#);
    }

    #[test]
    fn shards_are_balanced_inside_a_kind_of_runner_and_bounded() {
        let three = told(MATRIX, Some(4), None).unwrap();
        assert_eq!(three.matches("\"rt\"").count(), 1, "{three}");
        assert_eq!(three.matches("\"shard\"").count(), 4, "{three}");
        let refused = [told(MATRIX, Some(1), None), told(MATRIX, Some(257), None)];
        insta::assert_snapshot!(refused.map(Result::unwrap_err).join("\n"), @"
        --shards 1: from 2, one for each kind of runner that the kernels need, to 256
        --shards 257: from 2, one for each kind of runner that the kernels need, to 256
        ");
    }

    #[test]
    fn a_label_is_no_text_for_a_shell_or_an_expression() {
        for evil in ["${{ secrets.X }}", "$(id)", "a b", "é", "a'b"] {
            let text = MATRIX.replace("['rt']\n[[", &format!("[\"{evil}\"]\n[["));
            assert!(
                told(&text, None, None).unwrap_err().contains("is no label of a runner"),
                "{evil}"
            );
        }
    }
}
