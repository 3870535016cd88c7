//! Boots on the machine that this process runs on: each in a process of its own, under a watchdog.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use evenkeel_agent::command::{self, Watch};
use evenkeel_agent::restore;
use evenkeel_agent::state::{StateDir, host_boot};

use super::boot::Report;
use super::event::{Event, Watcher};
use super::host::Host;
use super::prepare::Prepared;
use super::spec::{BootSpec, Place};
use super::{Ground, Told};
use crate::axis::kernel::ConfigFile;
use crate::axis::names::RunTag;
use crate::calibrate::fault::Injection;
use crate::fingerprint::fingerprint;
use crate::matrix::{Cell, Matrix};
use crate::record::{Outcome, Record, SCHEMA, Side};

/// The most that a boot's report may be, bytes.
const REPORT: usize = 1 << 28;
/// How long a boot that was asked to end may take to undo itself, beyond its own deadline.
pub(super) const UNDOES: Duration = Duration::from_secs(60);

/// Windows of each workload of a boot that is to tell what its tail coincides with, at least.
const DIAGNOSED: u32 = 100;

/// What a boot's process prints before the name of a phase that it enters.
pub const PHASE: &str = "phase ";

/// This machine, as boots need it.
#[derive(Debug)]
pub struct Here<'a> {
    /// What boots of each side start from; a base only where there is one.
    pub inputs: [Option<Inputs<'a>>; 2],
    /// What this machine is.
    pub host: &'a Host,
    /// The run's tag.
    pub tag: &'a RunTag,
    /// Where the journals are.
    pub state: &'a StateDir,
    /// The configuration file of the kernel below containers, where one came with it.
    pub config: Option<ConfigFile>,
    /// The fault that boots of the candidate are given.
    pub injection: Option<&'a Injection>,
    /// Whether the boots now made count in no figure and are to tell what their tails coincide with.
    pub diagnoses: bool,
    /// How much longer than usual a boot may take here.
    pub patience: u32,
}

/// What boots of one revision start from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Its matrix.
    pub matrix: &'a Matrix,
    /// What was made for it.
    pub prepared: &'a Prepared,
}

impl Ground for Here<'_> {
    fn boot(
        &mut self,
        told: &Told<'_>,
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<Record> {
        let mut spec = match self.spec(told) {
            Ok(spec) => spec,
            Err(error) => return failed(told.cell, told.place, format!("{error:#}")),
        };
        spec.within *= self.patience;
        let input = serde_json::to_vec(&spec).context("failed to write a boot's order")?;
        let agent = std::env::current_exe()?;
        let argv = [agent.to_string_lossy().into_owned(), "boot".to_owned()];
        let (mut words, mut stopping) = (Vec::new(), false);
        let mut hear = |chunk: &[u8]| {
            // A boot that is told to stop says that it undoes.
            if stop.load(Ordering::Relaxed) && !std::mem::replace(&mut stopping, true) {
                watcher.see(&Event::Stopping);
            }
            words.extend_from_slice(chunk);
            while let Some(end) = words.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = words.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                match line.trim().strip_prefix(PHASE) {
                    Some(phase) => watcher.see(&Event::Phase(phase.to_owned())),
                    None => watcher.see(&Event::Note(line.trim().to_owned())),
                }
            }
        };
        let ended = command::watch(
            Watch {
                input: &input,
                keep: REPORT,
                stop: Some(stop),
                may_outlive: true,
                heard: Some(&mut hear),
                ..Watch::within(spec.within + UNDOES)
            },
            &argv,
        )?;
        if let Ok(report) = serde_json::from_slice::<Report>(&ended.stdout) {
            report.left_alone.iter().for_each(|left| watcher.see(&Event::Note(left.clone())));
            if !report.not_undone.is_empty() {
                self.recover(watcher).with_context(|| {
                    format!("boot of {}: {}", told.cell.id(), report.not_undone.join("; "))
                })?;
            }
            return Ok(report.record);
        }
        // It died, hung, or printed rubbish: its journal tells what to undo.
        self.recover(watcher)?;
        let reason = if ended.timed_out {
            format!(
                "the boot did not end within {} s and was killed",
                (spec.within + UNDOES).as_secs()
            )
        } else {
            format!("the boot's process died: {}", ended.last_words())
        };
        failed(told.cell, told.place, reason)
    }
}

impl Here<'_> {
    fn recover(&self, watcher: &mut dyn Watcher) -> anyhow::Result<()> {
        let restored = restore::restore_boot(self.state)?;
        let undone = restored.undone;
        undone.left_alone.iter().for_each(|left| watcher.see(&Event::Note(left.clone())));
        if !undone.failed.is_empty() {
            bail!("{}; run `cargo xtask restore`", undone.failed.join("; "));
        }
        Ok(())
    }

    fn spec(&self, told: &Told<'_>) -> anyhow::Result<BootSpec> {
        let Told { cell, place, number } = *told;
        let Inputs { matrix, prepared } = self.inputs[place.side as usize]
            .with_context(|| format!("nothing was prepared for side `{}`", place.side.name()))?;
        let (site, instrument) = prepared.site(cell, self.host, matrix, self.tag, number)?;
        let expect = matrix.kernels.get(&*cell.kernel).map(|source| source.expect.clone());
        let expect = expect.unwrap_or_default();
        let mut measure = matrix.measure.clone();
        if self.diagnoses {
            // Of few windows nobody can tell what the worst have in common.
            measure.windows = measure.windows.max(DIAGNOSED);
        }
        let mut spec = BootSpec::new(&site, &measure, &expect, instrument, place)?;
        spec.diagnoses = self.diagnoses;
        spec.config = spec.config.or_else(|| self.config.clone());
        match (place.side, self.injection) {
            (Side::Candidate, Some(injection)) if injection.is_in(cell) => {
                spec.with_fault(injection.fault, &site)
            }
            _ => Ok(spec),
        }
    }
}

/// The record of a boot that left none.
///
/// # Errors
/// The kernel does not tell the time or which boot of its own this is.
pub(super) fn failed(cell: &Cell, place: Place, reason: String) -> anyhow::Result<Record> {
    let instrument = BTreeMap::new();
    Ok(Record {
        schema: SCHEMA,
        cell: cell.id(),
        side: place.side.name().to_owned(),
        block: place.block,
        position: place.position,
        boot: place.boot,
        host_boot: host_boot()?,
        guest_boot: None,
        started_unix: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs(),
        fingerprint: fingerprint(&instrument),
        instrument,
        outcome: Outcome::Failed { reason },
        timing_ns: BTreeMap::new(),
        noise: None,
        evidence: Vec::new(),
        workloads: Vec::new(),
        failed: Vec::new(),
        counted: None,
    })
}
