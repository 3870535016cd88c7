//! The shards of a plan for the jobs of a CI system or a cluster: which there are, what their hosts must be, how long they take. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::matrix::Cell;
use crate::plan::{GateBoots, Judged, Options, Plan, Scope, Shard, labels};
use crate::record::Status;

/// Jobs that are made of one plan: no CI system starts more at once, and `merge` joins no more.
pub const MOST_JOBS: u32 = 256;

/// Labels of a job.
const MOST_LABELS: usize = 20;

/// What is asked of the jobs.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Shards; as many as there are kinds of hosts, where none are told.
    pub shards: Option<u32>,
    /// Labels that every runner has.
    pub runner: Vec<String>,
    /// Labels that runners of shards with guests have besides.
    pub guests: Vec<String>,
    /// The boots of a gate, where the jobs measure against another revision.
    pub gate: Option<GateBoots>,
}

/// One job: a shard on a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub shard: Shard,
    /// Labels that its runner must have, each once.
    pub labels: Vec<String>,
    /// How many cells.
    pub cells: usize,
    /// Estimated time.
    pub time: Duration,
}

impl Part {
    /// Minutes after which it hangs: what a busy runner may take, and a start from nothing. A hung one is given up within three days.
    pub fn minutes(&self) -> u64 {
        (self.time.as_secs() / 60).saturating_mul(3).clamp(30, 3 * 24 * 60 - 30) + 30
    }
}

/// The parts of a plan that anybody can measure. What the host that plans cannot measure, a runner may.
///
/// # Errors
/// Too few shards or too many, or more labels than a runner has.
pub fn parts(plan: &Plan<'_>, wanted: &Wanted) -> Result<Vec<Part>, String> {
    let guests = plan.options.guests.clone();
    let of = |cell| guests.as_deref().map_or(&[][..], |guests| labels(plan.matrix, guests, cell));
    let applicable = |status: &Status| !matches!(status, Status::NotApplicable { .. });
    let needed: BTreeSet<&[String]> = plan.cells.iter().map(|planned| of(planned.cell)).collect();
    let kinds = u32::try_from(needed.len()).unwrap_or(u32::MAX);
    let count = wanted.shards.unwrap_or(kinds);
    if count < kinds || count > MOST_JOBS {
        return Err(format!(
            "--shards {count}: from {kinds}, one for each kind of runner that the kernels need, to {MOST_JOBS}"
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
    let mut all = Vec::new();
    for shard in Shard::all(count) {
        let options = Options { shard: Some(shard), ..plan.options.clone() };
        let part = Plan::new(plan.matrix, options, &judge);
        let part = part.map_err(|why| why.to_string())?;
        // Fewer units than shards, or nothing that any runner can measure: no runner need be taken for it.
        if part.cells.is_empty() {
            continue;
        }
        let is_guest = |cell: &Cell| {
            guests.as_deref().is_some_and(|guests| guests.contains(&&*cell.virtualization))
        };
        let runnable = part.cells.iter().filter(|planned| planned.is_runnable());
        let with_guests = runnable.clone().any(|planned| is_guest(planned.cell));
        let of_guests = wanted.guests.iter().filter(|_| with_guests);
        let own = part.cells.iter().flat_map(|planned| of(planned.cell));
        let mut labels: Vec<String> = Vec::new();
        for label in wanted.runner.iter().chain(of_guests).chain(own) {
            if !labels.contains(label) {
                labels.push(label.clone());
            }
        }
        if labels.len() > MOST_LABELS {
            return Err(format!(
                "shard {shard} needs {} labels; a runner has at most {MOST_LABELS}",
                labels.len()
            ));
        }
        let time = match wanted.gate {
            Some(boots) => {
                part.gate_cost(boots).screen[1].saturating_add(part.gate_cost(boots).suspect)
            }
            None => part.estimate(),
        };
        all.push(Part { shard, labels, cells: runnable.count(), time });
    }
    Ok(all)
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::matrix::Vocabulary;

    /// Two kernels, of which containers need hosts of their own.
    pub const MATRIX: &str = "schema = 1\nname = 'fleet'\n[axes]\nkernel = ['running', 'rt']\n\
        virtualization = ['netns', 'qemu']\nnetwork = ['veth', 'bridge']\n[measure]\nworkloads = ['tcp-rr']\n\
        [kernel.rt]\ndeb = 'linux-image-rt-amd64'\nrunner = ['rt']\n[[contrast]]\nname = 'rt'\naxis = 'kernel'\nfrom = 'running'\nto = 'rt'\n";

    /// What is made of the plan of a matrix.
    pub fn planned<T>(text: &str, made: impl FnOnce(&Plan<'_>) -> T) -> T {
        let words = Vocabulary {
            virtualization: vec!["netns".into(), "qemu".into()],
            network: vec!["veth".into(), "bridge".into()],
            tuning: vec!["stock".into()],
            load: vec!["idle".into()],
            workloads: vec!["tcp-rr".into()],
            units: Vec::new(),
        };
        let matrix = crate::matrix::parse(text, "fleet.toml", &words).unwrap();
        let options = Options { guests: Some(vec!["qemu"]), ..Options::default() };
        let judge = |_: &Cell| Judged {
            status: Status::Runnable,
            scope: Scope::Kinds,
            overhead: Duration::from_secs(8),
            lab: false,
        };
        made(&Plan::new(&matrix, options, &judge).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{MATRIX, planned};
    use super::*;

    #[test]
    fn shards_with_guests_go_where_guests_boot() {
        let guests = vec!["kvm".to_owned()];
        let wanted = Wanted { shards: Some(3), runner: Vec::new(), guests, gate: None };
        let parts = planned(MATRIX, |plan| parts(plan, &wanted)).unwrap();
        let labels: Vec<String> = parts.iter().map(|part| part.labels.join("+")).collect();
        assert_eq!(labels, ["kvm", "kvm", "rt"]);
    }
}
