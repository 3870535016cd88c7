//! A run: the loop over boots. Each boot is a process of its own under a watchdog, each record is on disk before the
//! next boot starts, and whatever happens the host is brought back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use evenkeel_agent::restore;
use evenkeel_agent::state::StateDir;

use crate::artifact::cache::Cache;
use crate::axis::kernel;
use crate::axis::names::RunTag;
use crate::calibrate::{self, AlarmRate};
use crate::matrix::{Cell, Expect, Matrix};
use crate::plan::{Limits, Options, Plan, Planned, PlannedBoot};
use crate::record::import::COMMIT;
use crate::record::kernels::KernelPair;
use crate::record::store::{self, Store};
use crate::record::{Base, Fleet, Outcome, Record, Repetition, Run, SCHEMA, Side, Status};
use crate::report;
use crate::verdict::{self, Sequential};
use crate::wrong::wrong;

pub mod boot;
mod diagnose;
pub mod event;
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
pub mod progress;
pub mod revision;
pub mod rootless;
pub mod spec;
pub mod verdicts;

use event::{Event, Watcher};
pub use handover::hand_over;
use here::Here;
pub use here::{Inputs, PHASE};
use host::Host;
use judge::Judge;
use lab::Labs;
use prepare::{Prepared, Standing};
use revision::Revision;
use spec::{BootSpec, Place};

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
    watcher.see(&Event::Preparing("root file systems and guest kernels"));
    let runnable_of = |side: Side| -> Vec<Cell> {
        let of_side = plan.cells.iter().filter(|c| c.is_runnable() && c.side == side);
        of_side.map(|c| c.cell.clone()).collect()
    };
    let [runnable, of_base] = [Side::Candidate, Side::Base].map(runnable_of);
    let agent = std::env::current_exe().context("failed to find this program's own file")?;
    let lock = kernel::lock::Lock::of(Path::new("."), state);
    let prepared =
        Prepared::new(runnable.iter(), &order.matrix, &cache, &lock, agent.clone(), &tag)?;
    // Which version of a kernel's package a revision pins is its own.
    let lock_of_base = match &order.revision {
        Some(revision) => kernel::lock::Lock::of(&revision.directory(), state),
        None => kernel::lock::Lock::of(Path::new("."), state),
    };
    let prepared_base = base
        .map(|matrix| Prepared::new(of_base.iter(), matrix, &cache, &lock_of_base, agent, &tag))
        .transpose()?;
    host.facts.extend(prepared.facts());
    let kits = lab::kits(runnable.iter(), &order.matrix, &cache, &lock, &prepared);
    for planned in &mut plan.cells {
        let prepared = match planned.side {
            Side::Candidate => Some(&prepared),
            Side::Base => prepared_base.as_ref(),
        };
        let missing = prepared.and_then(|prepared| prepared.missing(planned.cell));
        if let (true, Some(reason)) = (planned.is_runnable(), missing) {
            planned.status = Arc::new(Status::Skipped {
                reason: reason.to_owned(),
                remedy: remedy_of(planned.cell, &order.matrix),
            });
        }
        if let (true, Some(Err(reason))) = (planned.lab, kits.get(&*planned.cell.kernel)) {
            planned.status = Arc::new(Status::Skipped {
                reason: format!("no lab can be started: {reason}"),
                remedy: remedy_of(planned.cell, &order.matrix),
            });
        }
    }
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
    let (mut store, done) = open(order, &plan, &host, &tag, compared, calibration)?;
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
    let rounds = gate.as_ref().map(|gate| Ok::<_, anyhow::Error>((gate, gate.begin(&order.out)?)));
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
        here: Here {
            inputs: [
                Some(Inputs { matrix, prepared }),
                base.zip(prepared_base.as_ref())
                    .map(|(matrix, prepared)| Inputs { matrix, prepared }),
            ],
            host,
            tag,
            state,
            injection: order.calibrates.as_ref().and_then(|of| of.fault.as_ref()),
            diagnoses: false,
            patience: 1,
        },
        labs: Labs::new(matrix, host, prepared, tag, in_labs, kits),
    };
    let looped = match rounds {
        Some(rounds) => boots.run_gate(rounds, &order.out, (&mut store, &done), &stop, watcher),
        None => boots.run(planned, (&mut store, &done), &stop, watcher),
    };
    let looped = looped.and_then(|()| boots.diagnose((order, gate.as_ref()), &stop, watcher));
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
    let sentence = report_on(&order.out, watcher)?;
    let page = order.out.join(PAGE);
    watcher.see(&Event::Done { sentence, page });
    // What was measured is reported all the same.
    anyhow::ensure!(undone.failed.is_empty(), kept());
    let (_, records, _) = store::read(&order.out)?;
    let measured = records.iter().any(|record| record.outcome == Outcome::Measured);
    Ok(if measured { End::Measured } else { End::Nothing })
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

/// The page of a run, in its directory.
pub const PAGE: &str = "report/index.html";

/// Writes the report of a run from its records alone: `results.json`, the page, `summary.md` and `junit.xml`. Answers the sentence.
///
/// # Errors
/// The run cannot be read, or the files cannot be written.
pub fn report_on(dir: &Path, watcher: &mut dyn Watcher) -> anyhow::Result<String> {
    report_into(dir, dir, watcher)
}

/// Like [`report_on`], with the files written into another directory.
///
/// # Errors
/// As [`report_on`].
pub fn report_into(dir: &Path, out: &Path, watcher: &mut dyn Watcher) -> anyhow::Result<String> {
    let (run, records, warnings) = store::read(dir)?;
    warnings.iter().for_each(|warning| watcher.see(&Event::Note(warning.clone())));
    let mut results = crate::record::figures::results(&run, &records)?;
    if let Some(verdicts) = verdicts::of_run(&run, &records)? {
        results.diagnoses =
            verdict::diagnosis::all(&verdicts, &records, &store::read_diagnoses(dir)?);
        verdicts.into_results(&mut results);
    }
    let rendered = report::render(&run, &records, &results, &warnings, report::Place::Run)?;
    let folder = out.join("report");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("failed to make folder {}", folder.display()))?;
    store::write_results(out, &results)?;
    let files = [
        (PAGE, &rendered.html),
        ("summary.md", &rendered.markdown),
        ("junit.xml", &rendered.junit),
    ];
    for (name, text) in files {
        let path = out.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(results.overall.sentence)
}

/// A boot that was made: its cell, its side, its number.
type Made = (String, String, u32);

/// Begins the run's directory, or goes on with it: which boots are there already.
fn open(
    order: &Order,
    plan: &Plan<'_>,
    host: &Host,
    tag: &RunTag,
    kernels: Vec<KernelPair>,
    calibration: Option<AlarmRate>,
) -> anyhow::Result<(Store, Vec<Made>)> {
    if order.resume {
        let (run, records, _) = store::read(&order.out)?;
        if run.matrix != order.matrix || run.seed != order.options.seed {
            let out = order.out.display();
            return Err(wrong(format!("{out} is a run of another matrix or seed")));
        }
        let done =
            records.into_iter().map(|record| (record.cell, record.side, record.boot)).collect();
        return Ok((Store::resume(&order.out)?, done));
    }
    let run = Run {
        schema: SCHEMA,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        tag: tag.to_string(),
        matrix_text: order.text.clone(),
        matrix: order.matrix.clone(),
        seed: order.options.seed,
        started_unix: unix_now()?,
        quick: order.quick,
        facts: facts_with_own_error(host)?,
        cells: plan.record(),
        kernels,
        policy: order.base.as_ref().map(|(_, policy)| policy.clone()),
        base: order
            .base
            .as_ref()
            .map(|(base, _)| Base { cells: plan.record_of_base(), ..base.clone() }),
        calibration,
        calibrates: order.calibrates.clone(),
        fleet: Fleet {
            only: order.options.only.as_ref().map(ToString::to_string),
            shard: order.options.shard,
            parts: Vec::new(),
        },
        lost: Vec::new(),
    };
    Ok((Store::create(&order.out, &run)?, Vec::new()))
}

/// Facts of the host, and what the instrument itself costs.
fn facts_with_own_error(host: &Host) -> anyhow::Result<std::collections::BTreeMap<String, String>> {
    let cost = evenkeel_agent::engine::recording_cost()?;
    let mut facts = host.facts.clone();
    if let Some(commit) = revision::working_tree() {
        facts.insert(COMMIT.to_owned(), commit);
    }
    facts.insert("clock_read_ns".to_owned(), format!("{:.1}", cost.clock_ns));
    facts.insert("recording_transaction_ns".to_owned(), format!("{:.1}", cost.total_ns));
    Ok(facts)
}

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
struct Boots<'a> {
    plan: &'a Plan<'a>,
    /// Of the next boot.
    number: u32,
    here: Here<'a>,
    labs: Labs<'a>,
}

impl Boots<'_> {
    /// Rounds of boots, until the gate wants no more or its time is over.
    fn run_gate(
        &mut self,
        (gate, mut rounds): (&gate::Gate, Sequential<'_>),
        out: &Path,
        (store, done): (&mut Store, &[Made]),
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<()> {
        let mut last = None;
        loop {
            gate.lose(&mut rounds, self.plan, (out, done), watcher)?;
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
            gate.catch_up(&mut rounds, out)?;
        }
        Ok(())
    }

    fn run(
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

fn unix_now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())
}

/// Set once by SIGINT, SIGTERM or a terminal that goes away (SIGHUP). A second one changes nothing: the host is being restored.
///
/// # Errors
/// The kernel refuses a handler.
pub fn catch_signals() -> anyhow::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Under `nohup` a run is meant to go on without its terminal.
        if signal == SIGHUP && is_ignored(signal) {
            continue;
        }
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .context("failed to catch signals")?;
    }
    Ok(flag)
}

/// Whether this process was started with a signal ignored (`SigIgn` of proc(5): a mask in hexadecimal).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Every step of a cell in order, and what undoes it. Needs neither root nor artifacts: their places are shown by name.
///
/// # Errors
/// No such cell, or one that cannot be made.
pub fn explain(id: &str, matrix: &Matrix, host: &Host) -> anyhow::Result<String> {
    use std::fmt::Write as _;
    let ids: Vec<String> = matrix.cells.iter().map(Cell::id).collect();
    let Some(at) = ids.iter().position(|known| known == id) else {
        let near = crate::matrix::nearest(id, ids.iter().map(String::as_str));
        let hint = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
        bail!("the matrix has no cell `{id}`{hint}");
    };
    let cell = &matrix.cells[at];
    let site = prepare::imagined(cell, host, matrix)?;
    let place = Place { block: 0, position: 0, boot: 0, side: Side::Candidate };
    let spec =
        BootSpec::new(&site, &matrix.measure, &Expect::default(), Default::default(), place)?;
    let mut text = format!("{id}\n");
    if let Status::Skipped { reason, remedy } = host.judge(cell, matrix) {
        writeln!(text, "skipped here: {reason}; remedy: {remedy}")?;
    }
    let mut phase = None;
    for step in &spec.steps {
        if phase != Some(step.phase) {
            phase = Some(step.phase);
            writeln!(text, "\n{}", step.phase)?;
        }
        writeln!(text, "  {step}")?;
        for state in evenkeel_agent::interpret::undo_of(step) {
            writeln!(text, "      undo: {state}")?;
        }
    }
    if !spec.knobs.is_empty() {
        writeln!(text, "\nknobs")?;
    }
    for knob in &spec.knobs {
        let about = crate::axis::tuning::about(&knob.knob).unwrap_or_default();
        writeln!(text, "  {} = {}: {about}", knob.knob, knob.requested)?;
        writeln!(text, "      {}", knob.done())?;
    }
    writeln!(text, "\nevidence")?;
    for hop in &spec.hops {
        writeln!(text, "  counters of {}", hop.what())?;
    }
    for knob in &spec.knobs {
        for (probe, is) in &knob.probes {
            writeln!(
                text,
                "  knob {}: {probe} = {is}, after placing and after the last window",
                knob.knob
            )?;
        }
    }
    Ok(text)
}
