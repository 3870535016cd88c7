//! A run: the loop over boots. Each boot is a process of its own under a watchdog, each record is on disk before the
//! next boot starts, and whatever happens the host is brought back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use evenkeel_agent::restore;
use evenkeel_agent::state::StateDir;

use crate::artifact::cache::Cache;
use crate::axis::kernel;
use crate::axis::names::RunTag;
use crate::calibrate;
use crate::matrix::{Cell, Matrix};
use crate::plan::{Limits, Options, Plan, PlannedBoot};
use crate::record::{Base, Repetition, Side, Status};
use crate::wrong::wrong;

mod begin;
pub mod boot;
mod boots;
mod diagnose;
pub mod event;
mod explain;
mod fault;
mod gate;
mod handover;
pub mod here;
pub mod host;
pub mod judge;
pub mod kernels;
pub mod lab;
mod measure;
pub mod prepare;
mod programs;
pub mod progress;
mod reports;
pub mod revision;
pub mod rootless;
mod signals;
pub mod spec;
pub mod verdicts;

use begin::open;
use boots::Boots;
pub use boots::{Ground, Told};
use event::{Event, Watcher};
pub use explain::explain;
pub use handover::as_owner;
use here::Here;
pub use here::{Inputs, PHASE};
use host::Host;
use judge::Judge;
use lab::Labs;
use prepare::{Prepared, Standing};
use reports::report_on;
pub use reports::{PAGE, Reported, report_into};
use revision::Revision;
pub use signals::catch_signals;

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Order {
    /// The matrix as the user wrote it.
    pub text: String,
    /// The matrix, checked, with `--boots` and `--quick` applied.
    pub matrix: Matrix,
    /// Seed, filter, shard.
    pub options: Options,
    /// What it is measured against, boot by boot, and the policy that judges it.
    pub base: Option<(Base, String)>,
    /// The files of the base, where there is one.
    pub revision: Option<Arc<Revision>>,
    /// Where it is written.
    pub out: PathBuf,
    /// Whether it goes on with the run that is there.
    pub resume: bool,
    /// Whether it was cut short.
    pub quick: bool,
    /// Whether cells of kernels that the host does not run are measured in labs.
    pub lab: bool,
    /// How long a gate may go on asking for boots.
    pub budget: Option<Duration>,
    /// Which repetition of `calibrate` it is, where it is one.
    pub calibrates: Option<Repetition>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Something was measured.
    Measured,
    /// Nothing was: every cell was skipped or failed.
    Nothing,
    /// The user stopped it; the host is restored.
    Interrupted,
}

/// Runs a matrix on this host.
///
/// # Errors
/// The host is dirty or in use, something that all boots need cannot be made, a record cannot be written, or a change was not
/// undone. Whatever could be undone is.
pub fn run(order: &Order, state: &StateDir, watcher: &mut dyn Watcher) -> anyhow::Result<End> {
    let _lock = state.lock(Duration::ZERO)?;
    if let Some(tag) = restore::dirty(state)? {
        bail!("this host still carries changes of run {tag}: run `cargo xtask restore` first");
    }
    let stop = catch_signals()?;
    let ended = run_until(order, state, &stop, watcher);
    // A cluster or a service manager tells all processes of a job to end, the tools among them that the run waits for: what fails then was stopped.
    // It may also have failed by itself: so it is said.
    match ended {
        Err(error) if stop.load(Ordering::Relaxed) && restore::dirty(state)?.is_none() => {
            watcher.see(&Event::Note(format!("when it was stopped: {error:#}")));
            let out = order.out.join(crate::record::store::RUN).exists().then(|| order.out.clone());
            watcher.see(&Event::Interrupted { out });
            Ok(End::Interrupted)
        }
        ended => ended,
    }
}

/// The same under the lock, on a host that is clean, until it is told to stop.
fn run_until(
    order: &Order,
    state: &StateDir,
    stop: &AtomicBool,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<End> {
    let cache = Cache::open()?;
    let mut host = Host::look(&cache).with_labs(order.lab);
    let tag = RunTag::new(u64::from(std::process::id()) ^ unix_now()?.rotate_left(20));
    let judge = Judge::new(&host, &order.matrix);
    // Paths of the base are those of its own files, where these are now.
    let base = order.base.as_ref().map(|(base, _)| match &order.revision {
        Some(revision) => revision.resolved(&base.matrix),
        None => base.matrix.clone(),
    });
    let base = base.as_ref();
    let judge_of_base = base.map(|matrix| Judge::new(&host, matrix));
    let mut plan = Plan::new(&order.matrix, order.options.clone(), &judge).map_err(wrong)?;
    if let (Some(base), Some(judge)) = (base, &judge_of_base) {
        plan = plan.against(base, judge);
    }
    plan = plan.with_labs(lab::STARTS);
    plan.check(Limits::default()).map_err(wrong)?;
    let programs = programs::both(order, base, &cache, stop, watcher);
    if stop.load(Ordering::Relaxed) {
        watcher.see(&Event::Interrupted { out: None });
        return Ok(End::Interrupted);
    }
    let programs = programs?;
    let [own, of_base_own] = [0, 1].map(|side: usize| programs[side].as_ref());
    watcher.see(&Event::Preparing("root file systems and guest kernels"));
    let runnable_of = |side: Side| -> Vec<Cell> {
        let of_side = plan.cells.iter().filter(|c| c.is_runnable() && c.side == side);
        of_side.map(|c| c.cell.clone()).collect()
    };
    let [runnable, of_base] = [Side::Candidate, Side::Base].map(runnable_of);
    let agent = std::env::current_exe().context("failed to find this program's own file")?;
    let lock = kernel::lock::Lock::of(Path::new("."), state);
    let prepared = Prepared::new(
        runnable.iter(),
        &order.matrix,
        &cache,
        &lock,
        agent.clone(),
        &tag,
        [own, of_base_own],
    )?;
    // Which version of a kernel's package a revision pins is its own.
    let lock_of_base = match &order.revision {
        Some(revision) => kernel::lock::Lock::of(&revision.directory(), state),
        None => kernel::lock::Lock::of(Path::new("."), state),
    };
    let prepared_base = base
        .map(|matrix| {
            Prepared::new(
                of_base.iter(),
                matrix,
                &cache,
                &lock_of_base,
                agent,
                &tag,
                [of_base_own, own],
            )
        })
        .transpose()?;
    host.facts.extend(prepared.facts());
    let kits = lab::kits(runnable.iter(), &order.matrix, &cache, &lock, &prepared);
    skip_what_is_missing(
        &mut plan,
        &order.matrix,
        [Some(&prepared), prepared_base.as_ref()],
        &kits,
    );
    if base.is_some() {
        plan.pair_up();
    }
    let gate = gate::Gate::of(order)?;
    // What a run that goes on has begun, it ends as far as its budget carries.
    if let (Some(gate), Some(budget), false) = (&gate, order.budget, order.resume) {
        plan = plan.within_budget(budget, gate.boots_of_a_cell());
    }
    if stop.load(Ordering::Relaxed) {
        watcher.see(&Event::Interrupted { out: None });
        return Ok(End::Interrupted);
    }
    tell_skipped(&plan, watcher);
    let compared = kernels::compared(&order.matrix, &runnable, &prepared, &kits, &host);
    let calibration = calibrate::known_of(order, state, &host.facts, watcher)?;
    let (mut store, done, owner) = open(order, &plan, &host, &tag, compared, calibration)?;
    let uses_docker =
        plan.cells.iter().any(|c| c.is_runnable() && !c.lab && c.cell.virtualization == "docker");
    let in_labs = plan.cells.iter().filter(|c| c.is_runnable() && c.lab);
    let in_labs: Vec<Cell> = in_labs.map(|c| c.cell.clone()).collect();
    let uses_labs = !in_labs.is_empty();
    let is_made = |boot: &PlannedBoot| {
        let cell = plan.cells[boot.cell].cell.id();
        let side = plan.cells[boot.cell].side.name();
        done.iter().any(|(known, of, number)| *number == boot.boot && of == side && *known == cell)
    };
    let rounds = gate.as_ref().map(|gate| {
        let begun = owner.acting(|| gate.begin(&order.out))?;
        Ok::<_, anyhow::Error>((gate, begun))
    });
    let rounds = rounds.transpose()?;
    let planned = match &rounds {
        Some((_, rounds)) => {
            rounds.round().map(|round| gate::boots(round, &plan)).unwrap_or_default()
        }
        None => plan.boots().collect(),
    };
    let left = planned.iter().filter(|boot| !is_made(boot)).count();
    let time: Duration = planned.iter().map(|boot| plan.cells[boot.cell].boot_time).sum();
    let time = if gate.is_some() { time } else { plan.estimate() };
    watcher.see(&Event::Begins {
        tag: tag.clone(),
        boots: left as u64,
        made: (planned.len() - left) as u64,
        cells: (
            plan.cells.iter().filter(|c| c.is_runnable() && c.side == Side::Candidate).count(),
            plan.record().len(),
        ),
        estimate: time.mul_f64(left as f64 / planned.len().max(1) as f64),
        out: order.out.clone(),
    });
    let standing = Standing::make(
        state,
        &tag,
        host.powers,
        uses_docker.then(|| prepared.rootfs()),
        uses_labs,
    )?;
    let matrix = &order.matrix;
    let (host, prepared, tag) = (&host, &prepared, &tag);
    let mut boots = Boots {
        plan: &plan,
        number: 0,
        owner,
        here: Here {
            inputs: [
                Some(Inputs { matrix, prepared }),
                base.zip(prepared_base.as_ref())
                    .map(|(matrix, prepared)| Inputs { matrix, prepared }),
            ],
            host,
            tag,
            state,
            config: kernels::beside_running(host),
            injection: order.calibrates.as_ref().and_then(|of| of.fault.as_ref()),
            diagnoses: false,
            patience: 1,
        },
        labs: Labs::new(matrix, host, prepared, tag, in_labs, kits),
    };
    let looped = match rounds {
        Some(rounds) => boots.run_gate(rounds, &order.out, (&mut store, &done), stop, watcher),
        None => boots.run(planned, (&mut store, &done), stop, watcher),
    };
    let looped = looped.and_then(|()| boots.diagnose((order, gate.as_ref()), stop, watcher));
    boots.labs.end();
    let undone = standing.undo()?;
    undone.left_alone.iter().for_each(|left| watcher.see(&Event::Note(left.clone())));
    let kept = || format!("{}; run `cargo xtask restore`", undone.failed.join("; "));
    // A loop that failed must not keep from the user that something is left.
    looped.map_err(|error| match undone.failed.is_empty() {
        true => error,
        false => error.context(kept()),
    })?;
    if stop.load(Ordering::Relaxed) {
        anyhow::ensure!(undone.failed.is_empty(), kept());
        watcher.see(&Event::Interrupted { out: Some(order.out.clone()) });
        return Ok(End::Interrupted);
    }
    let Reported { sentence, measured } = report_on(&order.out, owner, watcher)?;
    let page = order.out.join(PAGE);
    watcher.see(&Event::Done { sentence, page });
    // What was measured is reported all the same.
    anyhow::ensure!(undone.failed.is_empty(), kept());
    Ok(if measured { End::Measured } else { End::Nothing })
}

/// Skips the cells whose programs, kernels or labs could not be had, each with its reason; `prepared` is of the candidate and of the base.
fn skip_what_is_missing(
    plan: &mut Plan<'_>,
    matrix: &Matrix,
    prepared: [Option<&Prepared>; 2],
    kits: &lab::Kits,
) {
    let [candidate, base] = prepared;
    for planned in &mut plan.cells {
        let prepared = match planned.side {
            Side::Candidate => candidate,
            Side::Base => base,
        };
        let missing = prepared.and_then(|prepared| prepared.missing(planned.cell));
        let no_lab = match kits.get(&*planned.cell.kernel) {
            Some(Err(reason)) if planned.lab => Some(format!("no lab can be started: {reason}")),
            _ => None,
        };
        let reason = no_lab.or(missing.map(str::to_owned));
        if let (true, Some(reason)) = (planned.is_runnable(), reason) {
            let remedy = remedy_of(planned.cell, matrix);
            planned.status = Arc::new(Status::Skipped { reason, remedy });
        }
    }
}

/// What helps where a cell's programs or kernel cannot be had: an image that somebody built is theirs to mend.
fn remedy_of(cell: &Cell, matrix: &Matrix) -> String {
    let own = matrix.kernels.get(&*cell.kernel).is_some_and(|source| source.image.is_some());
    match own {
        true => format!("another `image` or `modules` in [kernel.{}]", cell.kernel),
        false => "cargo xtask doctor --provision".to_owned(),
    }
}

/// So many reasons are told before a run; `plan` has all.
const MOST_REASONS: usize = 8;

/// Says before the first boot what will not be measured, and why.
fn tell_skipped(plan: &Plan<'_>, watcher: &mut dyn Watcher) {
    let mut reasons: Vec<(&str, &str, usize)> = Vec::new();
    for planned in &plan.cells {
        let Status::Skipped { reason, remedy } = &*planned.status else { continue };
        match reasons.iter_mut().find(|(known, _, _)| known == reason) {
            Some((_, _, count)) => *count += 1,
            None => reasons.push((reason, remedy, 1)),
        }
    }
    for (reason, remedy, count) in reasons.iter().take(MOST_REASONS) {
        let remedy = if remedy.is_empty() { String::new() } else { format!("; remedy: {remedy}") };
        watcher.see(&Event::Note(format!("skipped cells: {count}: {reason}{remedy}")));
    }
    if reasons.len() > MOST_REASONS {
        let more = reasons.len() - MOST_REASONS;
        watcher
            .see(&Event::Note(format!("other reasons of skipped cells: {more}; `plan` has them")));
    }
}

fn unix_now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())
}
