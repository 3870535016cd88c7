//! A boot is a process: it is told a [`BootSpec`] on standard input, builds the cell, measures, undoes, and writes a
//! [`Report`] to standard output. One primitive for a local run, a watchdog, and a run elsewhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use evenkeel_agent::interpret::{self, Slots, Undone};
use evenkeel_agent::journal::Journal;
use evenkeel_agent::machine::real::{CONSOLE, Real};
use evenkeel_agent::restore;
use evenkeel_agent::state::{StateDir, host_boot};
use evenkeel_agent::step::Ensure;
use evenkeel_agent::wire::Ask;
use serde::{Deserialize, Serialize};

use super::measure::{Gathered, measure};
use super::rootless;
use super::spec::BootSpec;
use crate::axis::{load, peer, virtualization};
use crate::calibrate::fault::{self, Planted};
use crate::fingerprint::fingerprint;
use crate::record::{Outcome, Record, SCHEMA};
use crate::streams::say;

/// How long the agents may take to end by themselves. Guests power off, containers are removed by their engine.
const GOODBYE: Duration = Duration::from_secs(15);

/// What a boot process says at its end.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Report {
    /// What was measured.
    pub record: Record,
    /// Changes that were not undone.
    pub not_undone: Vec<String>,
    /// Values that somebody else changed meanwhile.
    pub left_alone: Vec<String>,
    /// Whether it was asked to end early.
    pub interrupted: bool,
}

/// The life of a boot process.
///
/// # Errors
/// Nothing was built: the journal cannot be begun, another boot is under way, or signals cannot be caught.
pub fn boot(
    spec: &BootSpec,
    state: &StateDir,
    mut entered: impl FnMut(&str),
) -> anyhow::Result<Report> {
    let _lock = state.lock_boot(Duration::from_secs(5))?;
    ensure!(
        restore::run_stands(state)?,
        "the run that this boot belongs to is over: start boots with `cargo xtask bench`"
    );
    let journal = Journal::begin(&state.boot_journal(), spec.names.tag(), &host_boot()?)?;
    let interrupted = end_on_signal(spec)?;
    let mut machine =
        Real::new(journal, Path::new(&spec.names.dir())).until(Arc::clone(&interrupted));
    let mut clock = Clock::start();
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();

    let (mut slots, mut undo) = (Slots::new(), Vec::new());
    let built = interpret::run(&mut machine, &spec.steps, &mut slots, &mut undo, |phase| {
        clock.enter(&phase.to_string());
        entered(&phase.to_string());
    });
    let gathered = built.map_err(anyhow::Error::new).and_then(|()| {
        clock.enter("measure");
        entered("measure");
        measure(spec, &mut machine, &slots)
    });
    clock.enter("undo");
    entered("undo");
    let gathered = match gathered {
        Ok(gathered) => {
            say_goodbye(spec, &mut machine);
            Ok(gathered)
        }
        Err(error) => Err(explain(spec, &error)),
    };
    let undone = undo_all(machine, &undo)?;
    let mut report = Report {
        record: record(spec, gathered, clock.stop(), started)?,
        not_undone: undone.failed,
        left_alone: undone.left_alone,
        interrupted: interrupted.load(Ordering::Relaxed),
    };
    if report.interrupted {
        report.record.outcome = Outcome::Failed { reason: "interrupted".to_owned() };
    }
    Ok(report)
}

/// Undoes everything, and empties the journal if that went well. What failed stays journaled for `restore`.
fn undo_all(mut machine: Real, undo: &[Ensure]) -> anyhow::Result<Undone> {
    let undone = interpret::undo_all(&mut machine, undo);
    if undone.failed.is_empty() {
        machine.finish()?;
    }
    Ok(undone)
}

/// Lets the agents end by themselves, so that guests power off cleanly and engines see their containers end. What does not
/// end is killed with the cgroup, so this cannot fail.
fn say_goodbye(spec: &BootSpec, machine: &mut Real) {
    // The load first: with it gone, the others end at once. All are asked before one is waited for.
    let load = (spec.load != load::Recipe::Nothing).then_some(load::NAME);
    let burner = spec.fault.as_ref().and_then(Planted::own_ask).map(|_| fault::NAME);
    let load = load.into_iter().chain(burner);
    let names: Vec<&str> = load.chain([virtualization::NAME, peer::NAME]).collect();
    let asked: Vec<anyhow::Result<()>> = names
        .iter()
        .map(|name| machine.control(name)?.ask(Ask::Quit, GOODBYE).map(|_| ()))
        .collect();
    for (name, asked) in names.into_iter().zip(asked) {
        if let Err(error) = asked.and_then(|()| machine.ended(name, GOODBYE)) {
            say(format_args!("{}: {name} was killed: {error:#}", spec.cell.id()));
        }
    }
}

/// The reason of a failure, with the last lines of a guest's console where there is one.
fn explain(spec: &BootSpec, error: &anyhow::Error) -> String {
    match console_says(&Path::new(&spec.names.dir()).join(CONSOLE)) {
        None => format!("{error:#}"),
        Some(said) => format!("{error:#}; the guest's console says: {said}"),
    }
}

/// The last lines of a console, or those of a panic, in one line.
pub(super) fn console_says(console: &Path) -> Option<String> {
    // Only guests have one, and without it the error stands for itself.
    let text = std::fs::read(console).unwrap_or_default();
    let text = plain(&String::from_utf8_lossy(&text));
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // A panic is followed by registers: its first line says more than the last ones.
    let panic = lines.iter().position(|line| line.contains("Kernel panic"));
    let from = panic.map_or(lines.len().saturating_sub(4), |at| at.saturating_sub(2));
    let said = &lines[from..lines.len().min(from + 4)];
    (!said.is_empty()).then(|| said.join(" | "))
}

/// What a console shows, without the sequences that move its cursor: ESC and a character, or ESC `[` up to a letter
/// (ECMA-48, 5.4).
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' if rest.next() == Some('[') => {
                rest.by_ref().find(char::is_ascii_alphabetic);
            }
            '\u{1b}' => {}
            c => shown.push(c),
        }
    }
    shown
}

fn record(
    spec: &BootSpec,
    gathered: Result<Gathered, String>,
    timing_ns: BTreeMap<String, u64>,
    started_unix: u64,
) -> anyhow::Result<Record> {
    let (outcome, gathered) = match gathered {
        Ok(gathered) => (Outcome::Measured, gathered),
        Err(reason) => (Outcome::Failed { reason }, Gathered::default()),
    };
    let guest_fact =
        |name: &str| gathered.guest.as_ref().and_then(|guest| guest.get(name)).cloned();
    Ok(Record {
        schema: SCHEMA,
        cell: spec.cell.id(),
        side: spec.side.clone(),
        block: spec.block,
        position: spec.position,
        boot: spec.boot,
        host_boot: host_boot()?,
        guest_boot: guest_fact("boot-id"),
        started_unix,
        fingerprint: fingerprint(&spec.instrument),
        instrument: spec.instrument.clone(),
        outcome,
        timing_ns,
        noise: gathered.noise,
        evidence: gathered.evidence,
        workloads: gathered.workloads,
        failed: gathered.failed,
        counted: gathered.counted,
    })
}

/// On SIGINT and SIGTERM, ends all children of the boot: whatever it waits for fails at once, and it undoes.
fn end_on_signal(spec: &BootSpec) -> anyhow::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let flag = Arc::new(AtomicBool::new(false));
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .context("failed to catch signals")?;
    rootless::hear_signals()?;
    let (raised, powers, tag) = (Arc::clone(&flag), spec.powers, spec.names.tag().to_owned());
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            raised.store(true, Ordering::Relaxed);
            if let Err(error) = rootless::end_children(powers, &tag) {
                say(format_args!("failed to end the boot's processes: {error:#}"));
            }
        }
    })?;
    Ok(flag)
}

/// Wall time by phase.
struct Clock {
    spent: BTreeMap<String, u64>,
    now: String,
    since: Instant,
}

impl Clock {
    fn start() -> Clock {
        let now = "begin".to_owned();
        Clock { spent: BTreeMap::new(), now, since: Instant::now() }
    }

    fn enter(&mut self, phase: &str) {
        let spent = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        *self.spent.entry(std::mem::replace(&mut self.now, phase.to_owned())).or_default() += spent;
        self.since = Instant::now();
    }

    fn stop(mut self) -> BTreeMap<String, u64> {
        self.enter("end");
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn consoles_are_quoted_without_what_moves_their_cursor() {
        let said = "\u{1b}c\u{1b}[?7l\u{1b}[2J\u{1b}[0mSeaBIOS\r\nBooting\u{1b}";
        assert_eq!(plain(said), "SeaBIOS\r\nBooting");
    }
}
