//! The rounds of a gate on disk: which boots are wanted next by the records that are there, and whether there is time for them.

use std::path::Path;
use std::time::{Duration, Instant};

use super::boots::Made;
use super::event::{Event, Watcher};
use super::{Order, as_owner, verdicts};
use crate::plan::{GateBoots, Plan, PlannedBoot, Shard, human};
use crate::record::store::{self, Store};
use crate::record::{BASE, CANDIDATE, Lost, Status};
use crate::verdict::sequential::{Round, Sequential};
use crate::verdict::{Comparison, Policy};

/// The gate of a run that takes boots until its policy knows.
#[derive(Debug)]
pub(super) struct Gate {
    policy: Policy,
    began: Instant,
    budget: Option<Duration>,
}

impl Gate {
    /// Of a run; nothing where the number of its boots is fixed.
    ///
    /// # Errors
    /// The policy is wrong.
    pub(super) fn of(order: &Order) -> anyhow::Result<Option<Gate>> {
        let Some((_, policy)) = order.base.as_ref().filter(|(base, _)| base.by_policy) else {
            return Ok(None);
        };
        let parts = match order.resume {
            true => as_owner(&order.out, || store::read(&order.out))?.0.fleet.shares(),
            false => order.options.shard.map_or(1, Shard::of),
        };
        let policy = verdicts::stored(policy)?.shared_among(parts);
        Ok(Some(Gate { policy, began: Instant::now(), budget: order.budget }))
    }

    /// What a budget reckons with.
    pub(super) fn boots_of_a_cell(&self) -> GateBoots {
        self.policy.gate_boots()
    }

    /// The rounds of a run, as far as it is measured.
    ///
    /// # Errors
    /// The run cannot be read.
    pub(super) fn begin(&self, out: &Path) -> anyhow::Result<Sequential<'_>> {
        let (run, ..) = store::read(out)?;
        let mut rounds = Sequential::new(&run, &self.policy);
        self.catch_up(&mut rounds, out)?;
        Ok(rounds)
    }

    /// Takes what was measured since.
    ///
    /// # Errors
    /// The run cannot be read.
    pub(super) fn catch_up(&self, rounds: &mut Sequential<'_>, out: &Path) -> anyhow::Result<()> {
        let (run, records, _) = store::read(out)?;
        // Before the first boot of a base there is nothing to ask.
        if let Ok(comparison) = Comparison::of_sides(&run, &records, &self.policy) {
            rounds.catch_up(&comparison);
        }
        Ok(())
    }

    /// Goes on without the cells of a round whose boots cannot be made on this host any more, and says which and why: in the run, and to
    /// the user.
    ///
    /// # Errors
    /// The run's header cannot be written.
    pub(super) fn lose(
        &self,
        rounds: &mut Sequential<'_>,
        plan: &Plan<'_>,
        (out, done): (&Path, &[Made]),
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<()> {
        let Some(round) = rounds.round() else { return Ok(()) };
        let lost = lost(round, plan, done);
        if lost.is_empty() {
            return Ok(());
        }
        Store::lose(out, &lost)?;
        for lost in &lost {
            let Lost { cell, reason, .. } = lost;
            watcher.see(&Event::Note(format!("`{cell}` is not measured any further: {reason}")));
            rounds.lose(lost);
        }
        self.catch_up(rounds, out)
    }

    /// Whether so much more ends within the budget.
    pub(super) fn carries(&self, time: Duration) -> bool {
        let used = self.began.elapsed().saturating_add(time);
        self.budget.is_none_or(|budget| used <= budget)
    }

    /// Whether a round ends within the budget. If not, it is said.
    pub(super) fn has_time_for(
        &self,
        round: &Round,
        plan: &Plan<'_>,
        watcher: &mut dyn Watcher,
    ) -> bool {
        let enough = self.carries(time(round, plan));
        if let (Some(budget), false) = (self.budget, enough) {
            watcher.see(&Event::Note(format!(
                "the budget of {} does not carry the next {} boots: what they were to tell stays inconclusive",
                human(budget),
                round.boots()
            )));
        }
        enough
    }

    /// What is said of a round before it begins.
    pub(super) fn told(&self, round: &Round, plan: &Plan<'_>) -> Event {
        Event::Round {
            boots: round.boots(),
            cells: round.cells.len(),
            step: round.step,
            estimate: time(round, plan),
        }
    }
}

/// Cells of a round that lack boots which the plan cannot make.
fn lost(round: &Round, plan: &Plan<'_>, done: &[Made]) -> Vec<Lost> {
    let cells = round.cells.iter().filter_map(|(cell, blocks)| {
        let is_made = |block: u32, side: &str| {
            done.iter().any(|(of, is, boot)| *boot == block && is == side && of == cell)
        };
        let mut wanted = (round.first..round.first + blocks)
            .flat_map(|block| [BASE, CANDIDATE].map(|side| (block, side)));
        if wanted.all(|(block, side)| is_made(block, side)) {
            return None;
        }
        let planned = plan.cells.iter().filter(|planned| planned.cell.id() == *cell);
        let statuses: Vec<&Status> = planned.map(|planned| &*planned.status).collect();
        let reason = statuses.iter().find_map(|status| match status {
            Status::Runnable => None,
            Status::Skipped { reason, .. } | Status::NotApplicable { reason } => {
                Some(reason.clone())
            }
        });
        let gone = || "it is not in the plan".to_owned();
        // Each side has its own.
        let reason = reason.or_else(|| (statuses.len() < 2).then(gone))?;
        Some(Lost { cell: cell.clone(), block: round.first, reason })
    });
    cells.collect()
}

/// The boots of a round in their order.
pub(super) fn boots(round: &Round, plan: &Plan<'_>) -> Vec<PlannedBoot> {
    let of_block = |block| {
        let cells = round.cells_of(block);
        plan.boots_of_block(block, |cell| cells.contains(cell.id().as_str()))
    };
    (round.first..round.end()).flat_map(of_block).collect()
}

fn time(round: &Round, plan: &Plan<'_>) -> Duration {
    boots(round, plan).iter().map(|boot| plan.cells[boot.cell].boot_time).sum()
}
