//! Runs of small matrices for the rows: made like those of `bench`, in folders that go away with the table.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use evenkeel_agent::clock;
use evenkeel_agent::state::StateDir;

use crate::axis::names::RunTag;
use crate::matrix::{self, Matrix};
use crate::plan::{Filter, Options};
use crate::record::results::Results;
use crate::record::{Outcome, Record, figures, store};
use crate::run::event::{Event, Watcher};
use crate::run::progress::{Detail, display};
use crate::run::{self, End, Order, host};

/// Makes runs, one after the other.
pub(super) struct Runs {
    state: StateDir,
    detail: Detail,
    folder: tempfile::TempDir,
    made: Cell<u32>,
    ended: Cell<End>,
}

/// A boot as the loop saw it.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    /// Which one it was, from 0, of all that the run made.
    pub(super) nth: usize,
    /// What it left.
    pub(super) record: Record,
    /// Wall time of its process, from before its start until after its end.
    pub(super) took: Duration,
    /// When each phase was entered, on `CLOCK_MONOTONIC`, nanoseconds.
    pub(super) entered_ns: Vec<(String, u64)>,
}

impl Boot {
    /// Time that its workloads measured and warmed up, nanoseconds.
    pub(super) fn measured_ns(&self) -> u64 {
        self.record.workloads.iter().map(|workload| workload.samples.measured_ns).sum()
    }

    /// Whether it is of this virtualization.
    pub(super) fn is_of(&self, virtualization: &str) -> bool {
        self.record.cell.split('/').nth(1) == Some(virtualization)
    }
}

/// A run that is over.
#[derive(Debug)]
pub(super) struct Done {
    /// The boots that were measured.
    pub(super) boots: Vec<Boot>,
    /// How long each of those took that failed.
    pub(super) failed: Vec<Duration>,
    /// Figures of its cells.
    pub(super) results: Results,
    /// Wall time of all boots, from the first to the last.
    pub(super) wall: Duration,
}

impl Done {
    /// Why a virtualization has no boots.
    pub(super) fn why_not(&self, virtualization: &str) -> String {
        let cell =
            self.results.cells.iter().find(|cell| cell.axes.virtualization == virtualization);
        cell.and_then(|cell| cell.reason.clone())
            .unwrap_or_else(|| format!("no boot of {virtualization} was measured"))
    }

    /// Why a kernel has no boots.
    pub(super) fn why_not_kernel(&self, kernel: &str) -> String {
        let cell = self.results.cells.iter().find(|cell| cell.axes.kernel == kernel);
        cell.and_then(|cell| cell.reason.clone())
            .unwrap_or_else(|| format!("no boot of {kernel} was measured"))
    }
}

/// What is done after each boot, told the run's tag and the boot's cell.
pub(super) type Between<'a> = &'a mut dyn FnMut(&RunTag, &str);

impl Runs {
    /// Runs on this host.
    ///
    /// # Errors
    /// No folder can be made for them.
    pub(super) fn new(state: StateDir, detail: Detail) -> anyhow::Result<Runs> {
        let folder = tempfile::tempdir().context("failed to make a folder for the runs")?;
        Ok(Runs { state, detail, folder, made: Cell::new(0), ended: Cell::new(End::Nothing) })
    }

    /// Where journals and locks lie.
    pub(super) fn state(&self) -> &StateDir {
        &self.state
    }

    /// How the last run ended.
    pub(super) fn ended(&self) -> End {
        self.ended.get()
    }

    /// A folder that goes away with the table.
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Runs a matrix that is written here.
    ///
    /// # Errors
    /// As [`run::run`], or the matrix is wrong.
    pub(super) fn run(&self, text: &str, between: Between<'_>) -> anyhow::Result<Done> {
        self.run_part(text, parse(text)?, None, between)
    }

    /// Runs the part of a matrix that `only` names; `text` is how it is written.
    ///
    /// # Errors
    /// As [`run::run`].
    pub(super) fn run_part(
        &self,
        text: &str,
        matrix: Matrix,
        only: Option<Filter>,
        between: Between<'_>,
    ) -> anyhow::Result<Done> {
        let number = self.made.replace(self.made.get() + 1);
        let out = self.folder.path().join(format!("run{number}"));
        let order = Order {
            text: text.to_owned(),
            matrix,
            options: Options { seed: u64::from(number) + 1, only, ..Options::default() },
            base: None,
            revision: None,
            out: out.clone(),
            resume: false,
            quick: false,
            lab: false,
            budget: None,
            calibrates: None,
        };
        let mut watcher = Collector {
            display: display(if self.detail == Detail::Normal {
                Detail::Quiet
            } else {
                self.detail
            }),
            tells: self.detail == Detail::Normal,
            between,
            tag: None,
            began: None,
            wall: Duration::ZERO,
            took: Vec::new(),
            entered_ns: Vec::new(),
        };
        self.ended.set(run::run(&order, &self.state, &mut watcher)?);
        let (took, wall) = (watcher.took, watcher.wall);
        let (run, records, _) = store::read(&out)?;
        let results = figures::results(&run, &records)?;
        let (measured, failed): (Vec<_>, Vec<_>) = records
            .into_iter()
            .zip(took)
            .enumerate()
            .partition(|(_, (record, _))| record.outcome == Outcome::Measured);
        let boots = measured.into_iter().map(|(nth, (record, (took, entered_ns)))| Boot {
            nth,
            record,
            took,
            entered_ns,
        });
        let failed = failed.into_iter().map(|(_, (_, (took, _)))| took);
        Ok(Done { boots: boots.collect(), failed: failed.collect(), results, wall })
    }
}

/// Reads a matrix.
///
/// # Errors
/// It is wrong.
pub(super) fn parse(text: &str) -> anyhow::Result<Matrix> {
    matrix::parse(text, "benchmark", &host::vocabulary())
        .map_err(|errors| anyhow::anyhow!("{errors}"))
}

/// When the phases of a boot were entered.
type Entered = Vec<(String, u64)>;

/// Notes how long boots took and when their phases were entered, and passes on what is to be shown.
struct Collector<'a> {
    display: Box<dyn Watcher>,
    /// Whether each boot gets a short line of its own.
    tells: bool,
    between: Between<'a>,
    tag: Option<RunTag>,
    began: Option<Instant>,
    wall: Duration,
    took: Vec<(Duration, Entered)>,
    entered_ns: Entered,
}

impl Watcher for Collector<'_> {
    fn see(&mut self, event: &Event) {
        match event {
            Event::Begins { tag, .. } => {
                self.tag = Some(tag.clone());
                self.began = Some(Instant::now());
            }
            Event::Phase(phase) => self.entered_ns.push((phase.clone(), clock::now())),
            Event::Ended { cell, took, outcome, .. } => {
                self.wall = self.began.map_or(Duration::ZERO, |began| began.elapsed());
                self.took.push((*took, std::mem::take(&mut self.entered_ns)));
                if self.tells && *outcome == Outcome::Measured {
                    eprintln!("  {cell} {:.2} s", took.as_secs_f64());
                }
                if let Some(tag) = &self.tag {
                    (self.between)(tag, cell);
                }
            }
            _ => {}
        }
        self.display.see(event);
    }
}
