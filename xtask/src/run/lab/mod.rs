//! Labs: virtual machines in which boots are made, so that containers are measured under kernels that this host does not run.
//!
//! A lab is one more place for the process that is a boot. Its root is the host's, read-only under a layer in memory; its init starts
//! this program as `lab` (`inside`), which looks at its machine, prepares, and makes the boots that it is asked for over
//! the control port (`wire`). Records come out one by one and are stored by the run.
//!
//! Each kernel has one lab in each block, a fresh start of the layer that a comparison of kernels changes. On the host a lab is one process
//! in the run's cgroup and two files in the run's folder: whatever ends either, nothing else is left.

mod inside;
mod kit;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use evenkeel_agent::command;
use evenkeel_agent::machine::cgroup::Hierarchies;

use super::boot::console_says;
use super::event::{Event, Watcher};
use super::here::{UNDOES, failed};
use super::host::{Host, needs_lab};
use super::prepare::Prepared;
use super::spec::deadline;
use super::{Ground, Told};
use crate::artifact::cache::Cache;
use crate::axis::kernel::lock::Lock;
use crate::axis::names::{FOLDER, RunTag};
use crate::doctor::{NeedName, Survey};
use crate::fingerprint::{fingerprint, in_lab};
use crate::matrix::{Cell, Matrix};
use crate::record::Record;

pub use inside::serve;
use kit::Kit;
use wire::{Ask, Begin, Channel, Said};

/// Estimated time for an emulated lab to start.
pub const STARTS: Duration = Duration::from_secs(20);

/// Deadline for a lab to start: to boot, to look at itself, and to start an engine.
const COMES_UP: Duration = Duration::from_secs(300);

/// How much longer a boot may take in a lab than on a host.
const PATIENCE: u32 = 3;

/// Starts of one kernel's labs that may fail in a row before no further one is tried.
const FAILURES: u32 = 2;

/// By name of the kernel in the matrix: what its labs start from, or why there are none.
pub type Kits = BTreeMap<String, Result<Kit, String>>;

/// What labs of these cells start from. What cannot be had is remembered as the reason of the cells that need it.
pub fn kits<'a>(
    cells: impl Iterator<Item = &'a Cell>,
    matrix: &Matrix,
    cache: &Cache,
    lock: &Lock,
    prepared: &Prepared,
) -> Kits {
    let mut kits = Kits::new();
    for cell in cells.filter(|cell| needs_lab(cell)) {
        if !kits.contains_key(&*cell.kernel) {
            let made = Kit::make(&cell.kernel, matrix, cache, lock, prepared.agent());
            kits.insert(cell.kernel.to_string(), made.map_err(|error| format!("{error:#}")));
        }
    }
    kits
}

/// What this host lacks for a lab in which a cell with these needs is measured, and what would help. What the kernel must offer is asked
/// inside, once there is one.
pub fn missing(survey: &Survey, needs: &[NeedName]) -> Option<(String, String)> {
    /// Programs, which a lab has from its host.
    const SHARED: [NeedName; 9] = [
        NeedName::Ip,
        NeedName::Nft,
        NeedName::DockerClient,
        NeedName::Runc,
        NeedName::Podman,
        NeedName::Nspawn,
        NeedName::Ovs,
        NeedName::Netperf,
        NeedName::Iperf3,
    ];
    let mut outside = vec![NeedName::Root, NeedName::Cgroup, NeedName::Qemu];
    outside.extend(needs.iter().filter(|need| SHARED.contains(need)));
    survey.missing(&outside).or_else(|| {
        let lacks = needs.contains(&NeedName::DockerEngine) && command::which("dockerd").is_none();
        lacks.then(|| {
            let reason = "`dockerd` is not installed, and a lab starts one of its own";
            (reason.to_owned(), "cargo xtask doctor --provision".to_owned())
        })
    })
}

/// The labs of a run, one at a time.
#[derive(Debug)]
pub struct Labs<'a> {
    matrix: &'a Matrix,
    host: &'a Host,
    prepared: &'a Prepared,
    tag: &'a RunTag,
    /// What is measured in labs.
    cells: Vec<Cell>,
    kits: Kits,
    /// The kernel and block of the lab under way, or of the one that did not come up, with the reason.
    now: Option<(String, u32, Result<Lab, String>)>,
    /// Starts that failed in a row, by kernel.
    failures: BTreeMap<String, u32>,
}

impl Ground for Labs<'_> {
    fn ready(&mut self, told: &Told<'_>, stop: &AtomicBool, watcher: &mut dyn Watcher) {
        let (kernel, block) = (&told.cell.kernel, told.place.block);
        let same = self.now.as_ref().is_some_and(|now| **kernel == now.0 && now.1 == block);
        if !same {
            self.end();
            let lab = self.start(told.cell, block, stop, watcher);
            let lab = lab.map_err(|error| format!("the lab did not come up: {error:#}"));
            self.now = Some((kernel.to_string(), block, lab));
        }
    }

    fn boot(
        &mut self,
        told: &Told<'_>,
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<Record> {
        let within =
            deadline(true, &self.matrix.measure, self.prepared.programs()) * PATIENCE + UNDOES * 2;
        let made = match &mut self.now {
            Some((_, _, Ok(lab))) => lab.boot(told, within, stop, watcher),
            Some((_, _, Err(reason))) => return failed(told.cell, told.place, reason.clone()),
            None => bail!("there is no lab"),
        };
        match made {
            Ok(record) => Ok(record),
            // It is of no use any more; the next boot starts another one.
            Err(error) => {
                self.end();
                failed(told.cell, told.place, format!("{error:#}"))
            }
        }
    }
}

impl<'a> Labs<'a> {
    /// Labs out of these kits for these cells; none is started yet.
    pub fn new(
        matrix: &'a Matrix,
        host: &'a Host,
        prepared: &'a Prepared,
        tag: &'a RunTag,
        cells: Vec<Cell>,
        kits: Kits,
    ) -> Labs<'a> {
        let failures = BTreeMap::new();
        Labs { matrix, host, prepared, tag, cells, kits, now: None, failures }
    }

    /// Ends the lab under way, if there is one. Nothing in it is worth a goodbye.
    pub fn end(&mut self) {
        self.now = None;
    }

    fn start(
        &mut self,
        cell: &Cell,
        block: u32,
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<Lab> {
        let kernel = &cell.kernel;
        let failures = self.failures.entry(kernel.to_string()).or_default();
        ensure!(*failures < FAILURES, "{failures} labs with this kernel failed before it");
        watcher.see(&Event::Lab { kernel: kernel.to_string(), block });
        let began = Instant::now();
        let kit = match self.kits.get(&**kernel) {
            Some(Ok(kit)) => kit,
            Some(Err(reason)) => bail!("{reason}"),
            None => bail!("nothing was prepared for kernel `{kernel}`"),
        };
        *failures += 1;
        let order = self.order(kernel, kit)?;
        let mut lab = Lab::start(kit, self.host, self.tag)?;
        let says = lab.begin(kit, order, stop, watcher)?;
        self.failures.remove(&**kernel);
        watcher.see(&Event::LabUp { kernel: kernel.to_string(), says, took: began.elapsed() });
        Ok(lab)
    }

    /// What a lab with this kernel is told: the matrix, with only the cells that it may measure.
    fn order(&self, kernel: &str, kit: &Kit) -> anyhow::Result<Begin> {
        let cells = self.cells.iter().filter(|cell| cell.kernel == kernel).cloned().collect();
        let matrix = Matrix { cells, ..self.matrix.clone() };
        Ok(Begin {
            tag: self.tag.clone(),
            folder: std::env::current_dir().context("failed to find the working directory")?,
            rootfs: self.prepared.rootfs().to_owned(),
            programs: self.prepared.programs().cloned(),
            matrix,
            config: kit.config_file(),
        })
    }
}

/// A lab that runs.
#[derive(Debug)]
struct Lab {
    qemu: Child,
    channel: Channel,
    console: PathBuf,
    words: PathBuf,
    /// Facts of the host below, and what executes the lab's instructions.
    below: BTreeMap<String, String>,
    accelerator: &'static str,
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Fails if QEMU has ended. Whatever is left of it goes with the run's cgroup.
        self.qemu.kill().ok();
        self.qemu.wait().ok();
    }
}

impl Lab {
    /// Starts the machine, in the run's cgroup.
    fn start(kit: &Kit, host: &Host, tag: &RunTag) -> anyhow::Result<Lab> {
        let [console, words] = ["lab.console", "lab.words"].map(|n| Path::new(FOLDER).join(n));
        // What the last one said is not said by this one.
        std::fs::write(&console, "")
            .with_context(|| format!("failed to make {}", console.display()))?;
        let stderr = std::fs::File::create(&words)
            .with_context(|| format!("failed to make {}", words.display()))?;
        let cgroup = Hierarchies::mounted()?.tracking()?.join(tag.to_string());
        let argv = kit.argv(&console, host.cpus.len(), kit::memory_mb()?);
        let mut qemu = command::start(Some(&cgroup), &argv, stderr)?;
        let (Some(input), Some(output)) = (qemu.stdin.take(), qemu.stdout.take()) else {
            bail!("QEMU has no pipes");
        };
        let channel = Channel::new(output, input)?;
        let (below, accelerator) = (host.facts.clone(), kit.accelerator.name());
        Ok(Lab { qemu, channel, console, words, below, accelerator })
    }

    /// Waits for the lab to be ready for boots of the cells that it is told of. Answers what it says of its kernel, which must be
    /// the one that was booted.
    fn begin(
        &mut self,
        kit: &Kit,
        order: Begin,
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<String> {
        let started = self.channel.ask(Ask::Begin(Box::new(order))).and_then(|()| {
            self.answer("start", COMES_UP, stop, watcher, |said| match said {
                Said::Begun { facts } => Some(facts),
                _ => None,
            })
        });
        let facts = started.map_err(|error| self.explain(error))?;
        let fact = |name: &str| facts.get(name).map_or("unknown", String::as_str);
        let version = fact("kernel");
        ensure!(version == kit.version, "it runs kernel {version} instead of {}", kit.version);
        Ok(format!("{version}, preemption {}", fact("preemption")))
    }

    /// One boot inside.
    fn boot(
        &mut self,
        told: &Told<'_>,
        within: Duration,
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<Record> {
        let ask = Ask::Boot { cell: told.cell.clone(), place: told.place, number: told.number };
        let made = self.channel.ask(ask).and_then(|()| {
            self.answer("make a boot", within, stop, watcher, |said| match said {
                Said::Ended { record } => Some(*record),
                _ => None,
            })
        });
        let mut record = made.map_err(|error| self.explain(error))?;
        record.instrument = in_lab(record.instrument, &self.below, self.accelerator);
        record.fingerprint = fingerprint(&record.instrument);
        Ok(record)
    }

    /// The answer that `wanted` accepts. What comes before it is passed on to the watcher.
    fn answer<T>(
        &mut self,
        what: &str,
        within: Duration,
        stop: &AtomicBool,
        watcher: &mut dyn Watcher,
        wanted: impl Fn(Said) -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + within;
        loop {
            ensure!(!stop.load(Ordering::Relaxed), "interrupted");
            let left = until.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "the lab did not {what} within {} s", within.as_secs());
            match self.channel.hear(left)? {
                None => {}
                Some(Said::Phase(phase)) => watcher.see(&Event::Phase(phase)),
                Some(Said::Note(note)) => watcher.see(&Event::Note(note)),
                Some(Said::Failed(why)) => bail!("the lab could not {what}: {why}"),
                Some(said) => match wanted(said) {
                    Some(found) => return Ok(found),
                    None => bail!("the lab did not {what}, but answered something else"),
                },
            }
        }
    }

    /// Adds what QEMU and the lab's console said last.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        // Without the file there are no words; this only enriches another error.
        let stderr = std::fs::read(&self.words).unwrap_or_default();
        let stdout = Vec::new();
        let words = command::Ended { code: None, timed_out: false, stdout, stderr }.last_words();
        let mut text = format!("{error:#}");
        if !words.is_empty() {
            text.push_str(&format!("; QEMU said: {words}"));
        }
        if let Some(said) = console_says(&self.console) {
            text.push_str(&format!("; the lab's console says: {said}"));
        }
        anyhow::Error::msg(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Measure;
    use crate::record::Outcome;
    use crate::run::spec::Place;

    struct Events(Vec<Event>);

    impl Watcher for Events {
        fn see(&mut self, event: &Event) {
            self.0.push(event.clone());
        }
    }

    fn cell() -> Cell {
        Cell::of(["rt", "runc", "bridge", "stock", "idle", crate::matrix::RUNNING])
    }

    #[test]
    fn a_lab_that_does_not_come_up_is_tried_once_a_block_and_its_cells_say_why() {
        let matrix = Matrix {
            name: "m".to_owned(),
            cells: vec![cell()],
            measure: Measure::default(),
            contrasts: Vec::new(),
            kernels: BTreeMap::new(),
            profiles: Default::default(),
            form: None,
            attribution: None,
            study: None,
            commands: Vec::new(),
        };
        let (host, tag) = (Host::look_in_lab(&[], &matrix), RunTag::new(1));
        let prepared = Prepared::in_lab(PathBuf::new(), None, &tag).unwrap();
        let kits = Kits::from([("rt".to_owned(), Err("no such package".to_owned()))]);
        let mut labs = Labs::new(&matrix, &host, &prepared, &tag, vec![cell()], kits);
        let mut events = Events(Vec::new());
        for (block, position) in [(0, 0), (0, 1), (1, 0)] {
            let place =
                Place { block, position, boot: block, side: crate::record::Side::Candidate };
            let told = Told { cell: &cell(), place, number: 0 };
            labs.ready(&told, &AtomicBool::new(false), &mut events);
            let record = labs.boot(&told, &AtomicBool::new(false), &mut events).unwrap();
            let reason = "the lab did not come up: no such package".to_owned();
            assert_eq!(record.outcome, Outcome::Failed { reason });
            assert_eq!((record.block, record.position), (block, position));
        }
        let starts = [0, 1].map(|block| Event::Lab { kernel: "rt".to_owned(), block });
        assert_eq!(events.0, starts);
    }

    #[test]
    fn a_host_without_the_programs_of_a_lab_says_which() {
        let nothing = Survey { findings: Vec::new(), notes: Vec::new() };
        let (reason, _) = missing(&nothing, &[NeedName::Bridge]).unwrap();
        assert_eq!(reason, "root was not looked at");
        let found = |need| (need, crate::doctor::Finding::Ok(String::new()));
        let needs = [NeedName::Root, NeedName::Cgroup, NeedName::Qemu];
        let lab = Survey { findings: needs.map(found).to_vec(), notes: Vec::new() };
        // What a kernel offers is asked inside.
        assert_eq!(missing(&lab, &[NeedName::Bridge, NeedName::Veth]), None);
        assert_eq!(missing(&lab, &[NeedName::Runc]).unwrap().0, "runc was not looked at");
    }
}
