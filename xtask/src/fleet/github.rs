//! `plan --format github`: the shards of a plan as the jobs of a workflow's matrix. Pure.
//!
//! The text goes through the output of a job into `strategy.matrix` (`fromJSON`): one line, ASCII, and small: GitHub takes 256 jobs a matrix
//! and a megabyte, counted as UTF-16, of all outputs of a job.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::matrix::{Cell, quoted};
use crate::plan::{GateBoots, Judged, Options, Plan, Scope, Shard, human, labels};
use crate::record::Status;

/// Jobs of a matrix.
pub const MOST_JOBS: u32 = 256;

/// Bytes of the text.
const MOST_BYTES: usize = 400_000;

/// A job's labels, and bytes of each.
const MOST_LABELS: usize = 20;

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

/// What is asked of the jobs.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Shards; as many as there are kinds of hosts, where none are told.
    pub shards: Option<u32>,
    /// Labels that every runner has.
    pub runner: &'a [String],
    /// The boots of a gate, where the jobs measure against another revision.
    pub gate: Option<GateBoots>,
}

/// The jobs of a plan. What the host that plans cannot measure, a runner may.
///
/// # Errors
/// Too few shards or too many, a label that is none, or a text that no output holds.
pub fn jobs(plan: &Plan<'_>, wanted: &Wanted<'_>) -> Result<Jobs, String> {
    let guests = plan.options.guests.clone();
    let of = |cell| guests.as_deref().map_or(&[][..], |guests| labels(plan.matrix, guests, cell));
    let applicable = |status: &Status| !matches!(status, Status::NotApplicable { .. });
    let needed: BTreeSet<&[String]> = plan.cells.iter().map(|planned| of(planned.cell)).collect();
    let kinds = u32::try_from(needed.len()).unwrap_or(u32::MAX);
    let count = wanted.shards.unwrap_or(kinds);
    if count < kinds || count > MOST_JOBS {
        return Err(format!(
            "--shards {count}: from {kinds}, one for each kind of runner that the kernels need, to {MOST_JOBS}, which a workflow's matrix holds"
        ));
    }
    let known: HashMap<&Cell, (&Arc<Status>, Duration)> = plan
        .cells
        .iter()
        .map(|planned| (planned.cell, (&planned.status, planned.boot_time)))
        .collect();
    let judge = |cell: &Cell| {
        let (status, time) = known.get(cell).map_or((None, Duration::ZERO), |(s, t)| (Some(s), *t));
        let status = status.filter(|status| !applicable(status));
        Judged {
            status: status.map_or(Status::Runnable, |status| Status::clone(status)),
            scope: Scope::Kinds,
            overhead: time.saturating_sub(plan.matrix.measure.time()),
            lab: false,
        }
    };
    let mut include = Vec::new();
    for shard in Shard::all(count) {
        let options = Options { shard: Some(shard), ..plan.options.clone() };
        let part = Plan::new(plan.matrix, options, &judge);
        let part = part.map_err(|why| why.to_string())?;
        let cells = part.cells.iter().filter(|planned| planned.is_runnable()).count();
        // Fewer units than shards, or nothing that any runner can measure: no runner need be taken for it.
        if part.cells.is_empty() {
            continue;
        }
        let mut runs_on = Vec::new();
        let own = part.cells.iter().flat_map(|planned| of(planned.cell));
        for label in wanted.runner.iter().chain(own) {
            if !runs_on.contains(label) {
                runs_on.push(checked(label)?);
            }
        }
        if runs_on.len() > MOST_LABELS {
            return Err(format!(
                "shard {shard} needs {} labels; a runner has at most {MOST_LABELS}",
                runs_on.len()
            ));
        }
        let time = match wanted.gate {
            Some(boots) => {
                part.gate_cost(boots).screen[1].saturating_add(part.gate_cost(boots).suspect)
            }
            None => part.estimate(),
        };
        include.push(Job {
            shard,
            name: shard.to_string().replace('/', "-of-"),
            runs_on,
            cells,
            estimate: human(time),
            // What a busy runner may take, and a start from nothing; a hung one is given up within three days.
            timeout_minutes: (time.as_secs() / 60).saturating_mul(3).clamp(30, 3 * 24 * 60 - 30)
                + 30,
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
fn checked(label: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    match !label.is_empty() && label.len() <= 100 && label.chars().all(plain) {
        true => Ok(label.to_owned()),
        false => Err(format!(
            "{} is no label of a runner: letters, digits, `-`, `_`, `.` and `:`, at most 100",
            quoted(label)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Vocabulary;

    const MATRIX: &str = "schema = 1\nname = 'fleet'\n[axes]\nkernel = ['running', 'rt']\n\
        virtualization = ['netns', 'qemu']\nnetwork = ['veth', 'bridge']\n[measure]\nworkloads = ['tcp-rr']\n\
        [kernel.rt]\ndeb = 'linux-image-rt-amd64'\nrunner = ['rt']\n[[contrast]]\nname = 'rt'\naxis = 'kernel'\nfrom = 'running'\nto = 'rt'\n";

    fn told(text: &str, shards: Option<u32>, gate: Option<GateBoots>) -> Result<String, String> {
        let words = Vocabulary {
            virtualization: vec!["netns".into(), "qemu".into()],
            network: vec!["veth".into(), "bridge".into()],
            tuning: vec!["stock".into()],
            load: vec!["idle".into()],
            workloads: vec!["tcp-rr".into()],
        };
        let matrix = crate::matrix::parse(text, "fleet.toml", &words).unwrap();
        let options = Options { guests: Some(vec!["qemu"]), ..Options::default() };
        let judge = |_: &Cell| Judged {
            status: Status::Runnable,
            scope: Scope::Kinds,
            overhead: Duration::from_secs(8),
            lab: false,
        };
        let plan = Plan::new(&matrix, options, &judge).unwrap();
        let runner = ["self-hosted".to_owned(), "linux".to_owned()];
        let jobs = jobs(&plan, &Wanted { shards, runner: &runner, gate })?;
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
        --shards 1: from 2, one for each kind of runner that the kernels need, to 256, which a workflow's matrix holds
        --shards 257: from 2, one for each kind of runner that the kernels need, to 256, which a workflow's matrix holds
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
