//! One more boot of each cell of which something was confirmed to be worse, of the candidate, that counts in nothing: it records what its tail
//! coincides with.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::event::{Event, Watcher};
use super::gate::Gate;
use super::spec::Place;
use super::{Boots, Ground as _, Order, Told, verdicts};
use crate::record::Side;
use crate::record::store::{self, Store};
use crate::verdict::diagnosis;

impl Boots<'_> {
    /// Makes the boots that are missing of a run that ended by itself: none where it is no comparison, or calibrates, and none twice.
    ///
    /// # Errors
    /// The run cannot be read or written, or the host not brought back.
    pub(super) fn diagnose(
        &mut self,
        (order, gate): (&Order, Option<&Gate>),
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<()> {
        if order.base.is_none() || order.calibrates.is_some() || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let owner = self.owner;
        let (run, records, _) = owner.acting(|| store::read(&order.out))?;
        let Some(verdicts) = verdicts::of_run(&run, &records)? else { return Ok(()) };
        let known = owner.acting(|| store::read_diagnoses(&order.out))?;
        let known: BTreeSet<&str> = known.iter().map(|record| record.cell.as_str()).collect();
        let cells = diagnosis::cells(&verdicts).into_iter();
        let cells: Vec<&str> = cells.filter(|cell| !known.contains(cell)).collect();
        let block = records.iter().map(|record| record.block).max().map_or(0, |last| last + 1);
        for cell in cells {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let planned = self.plan.cells.iter().find(|planned| {
                planned.side == Side::Candidate
                    && planned.is_runnable()
                    && planned.cell.id() == cell
            });
            // What cannot be measured here any more was told.
            let Some(planned) = planned.filter(|planned| !planned.lab) else { continue };
            // It measures more windows than others do.
            if gate.is_some_and(|gate| !gate.carries(planned.boot_time.saturating_mul(3))) {
                watcher.see(&Event::Note(format!(
                    "the budget does not carry the boot that would tell what the tail of `{cell}` coincides with"
                )));
                break;
            }
            let place = Place { block, position: 0, boot: block, side: Side::Candidate };
            let told = Told { cell: planned.cell, place, number: self.number };
            self.number += 1;
            watcher.see(&Event::Note(format!(
                "one boot more of `{cell}`, which counts in nothing: what does its tail coincide with?"
            )));
            self.here.diagnoses = true;
            let began = Instant::now();
            let made = self.here.boot(&told, stop, watcher);
            self.here.diagnoses = false;
            let record = made?;
            // One that was cut short is made when the run is gone on with.
            if stop.load(Ordering::Relaxed) {
                break;
            }
            owner.acting(|| Store::diagnoses(&order.out))?.append(&record)?;
            let (outcome, failed, took) = (record.outcome, record.failed, began.elapsed());
            watcher.see(&Event::Ended { cell: cell.to_owned(), outcome, failed, took });
        }
        Ok(())
    }
}
