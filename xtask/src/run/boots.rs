//! The loop over boots: each on its ground, each record on disk before the next begins.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::event::{Event, Watcher};
use super::gate;
use super::handover::Owner;
use super::here::Here;
use super::lab::Labs;
use super::spec::Place;
use crate::matrix::Cell;
use crate::plan::{Plan, Planned, PlannedBoot};
use crate::record::Record;
use crate::record::store::Store;
use crate::verdict::Sequential;

/// A boot that was made: its cell, its side, its number.
pub(super) type Made = (String, String, u32);

/// One boot of the plan, as its ground is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// Which boot of the plan.
    pub place: Place,
    /// A number that no other boot of the run has.
    pub number: u32,
}

/// Where boots are made: this host, or a lab on it.
pub trait Ground {
    /// Makes itself ready for a boot, where that takes a while. What fails is the boot's reason.
    fn ready(&mut self, _told: &Told<'_>, _stop: &AtomicBool, _watcher: &mut dyn Watcher) {}

    /// One boot. Its failure is a record.
    ///
    /// # Errors
    /// Only a ground that cannot be brought back.
    fn boot(
        &mut self,
        told: &Told<'_>,
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<Record>;
}

/// The loop's view of a run.
pub(super) struct Boots<'a> {
    pub(super) plan: &'a Plan<'a>,
    /// Of the next boot.
    pub(super) number: u32,
    /// As whom the run's files are read and written.
    pub(super) owner: Owner,
    pub(super) here: Here<'a>,
    pub(super) labs: Labs<'a>,
}

impl Boots<'_> {
    /// Rounds of boots, until the gate wants no more or its time is over.
    pub(super) fn run_gate(
        &mut self,
        (gate, mut rounds): (&gate::Gate, Sequential<'_>),
        out: &Path,
        (store, done): (&mut Store, &[Made]),
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<()> {
        let mut last = None;
        loop {
            self.owner.acting(|| gate.lose(&mut rounds, self.plan, (out, done), watcher))?;
            let Some(round) = rounds.round().cloned() else { break };
            // What is measured is told all the same.
            if last == Some(round.first) || round.cells.is_empty() {
                watcher.see(&Event::Note(
                    "the boots of a round left no record: the run ends here".to_owned(),
                ));
                break;
            }
            if !gate.has_time_for(&round, self.plan, watcher) {
                break;
            }
            // The first was told when the run began.
            if last.replace(round.first).is_some() {
                watcher.see(&gate.told(&round, self.plan));
            }
            self.run(gate::boots(&round, self.plan), (store, done), stop, watcher)?;
            // A round that was cut short is asked for again by `--resume`, not here.
            if stop.load(Ordering::Relaxed) {
                break;
            }
            self.owner.acting(|| gate.catch_up(&mut rounds, out))?;
        }
        Ok(())
    }

    pub(super) fn run(
        &mut self,
        boots: Vec<PlannedBoot>,
        (store, done): (&mut Store, &[Made]),
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<()> {
        for planned in boots {
            let number = self.number;
            self.number += 1;
            let Planned { cell, lab, side, .. } = self.plan.cells[planned.cell];
            if done.contains(&(cell.id(), side.name().to_owned(), planned.boot)) {
                continue;
            }
            if stop.load(Ordering::Relaxed) {
                watcher.see(&Event::Stopping);
                return Ok(());
            }
            let PlannedBoot { block, position, boot, .. } = planned;
            let told = Told { cell, place: Place { block, position, boot, side }, number };
            let ground: &mut dyn Ground = match lab {
                true => &mut self.labs,
                // A lab would keep the host busy beside its boots.
                false => {
                    self.labs.end();
                    &mut self.here
                }
            };
            ground.ready(&told, stop, watcher);
            watcher.see(&Event::Boot { cell: cell.id(), boot });
            let began = Instant::now();
            let record = ground.boot(&told, stop, watcher)?;
            // A boot that was cut short is no failure of its cell: `--resume` does it again.
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let outcome = record.outcome.clone();
            store.append(&record)?;
            let (failed, took) = (record.failed, began.elapsed());
            watcher.see(&Event::Ended { cell: cell.id(), outcome, failed, took });
        }
        Ok(())
    }
}
