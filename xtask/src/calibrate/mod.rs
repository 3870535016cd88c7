//! `calibrate`: how often this runner flags what has not changed. A matrix is measured against itself, as `bench --against` would measure it
//! against another revision: the same loop, the same order of boots, the same policy, the same verdicts. Which boots are the base's is
//! settled before the first one, by the seed.
//!
//! With `--inject` the candidate's boots get a [`fault`] of known size, and what of it is found is this host's power (`power`).
//!
//! What the repetitions come to lies in the state folder (`store`), adds up over time, and is told by every report of a comparison on this
//! host.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use evenkeel_agent::state::StateDir;
use nix::unistd::geteuid;

pub mod fault;
mod judged;
mod power;
mod rate;
mod store;

use fault::Injection;
use judged::Judged;
use power::Power;
pub use rate::AlarmRate;
use store::Key;
pub use store::{Kept, kept};

use crate::axis::Powers;
use crate::cli;
use crate::command::{self, Exit};
use crate::matrix::{Cell, Matrix};
use crate::plan::{Options, human};
use crate::record::store::replace;
use crate::record::{Base, Repetition};
use crate::run::event::{Event, Watcher};
use crate::run::progress::{Detail, display};
use crate::run::{self, End, Order, revision};
use crate::streams::{print, say};
use crate::verdict::{Policy, policy};
use crate::wrong::wrong;

/// Repetitions, where neither a number nor a budget is given.
const RUNS: u32 = 12;

/// The same, for each fault.
const RUNS_WITH_FAULTS: u32 = 4;

/// What of faults was found, in the folder of their repetitions.
const POWER: &str = "power.json";

/// The most repetitions of one command.
const MOST_RUNS: u32 = 10_000;

/// What the base of a repetition is called.
const ITSELF: &str = "itself";

/// `calibrate`.
///
/// # Errors
/// Wrong input, or the host failed us.
pub fn calibrate(told: &cli::Calibrate, detail: Detail) -> anyhow::Result<Exit> {
    let state = StateDir::of_user()?;
    let inputs = Inputs::of(told)?;
    let out = match &told.out {
        Some(out) => out.clone(),
        None => command::default_out(&format!("calibrate-{}", inputs.matrix.name))?,
    };
    let injections = inputs.injections(told)?;
    let session = Session { told, inputs, state, out, detail };
    match injections.is_empty() {
        true => session.against_itself(),
        false => session.power(injections),
    }
}

/// One command, with what it starts from.
struct Session<'a> {
    told: &'a cli::Calibrate,
    inputs: Inputs,
    state: StateDir,
    out: PathBuf,
    detail: Detail,
}

impl Session<'_> {
    /// Repetitions with the same on both sides: flags are false.
    fn against_itself(&self) -> anyhow::Result<Exit> {
        let (mut rate, mut known) = (AlarmRate::default(), None);
        let ended = self.repeat(RUNS, &[None], &mut |_, judged, took| {
            let counts = judged.counts();
            rate = rate.and(counts);
            let matrix = &self.inputs.matrix.name;
            let ran = store::Ran { rate: counts, took };
            known = Some(store::add(&self.state, &judged.key, matrix, ran, unix_now()?)?);
            Ok(())
        })?;
        if let Some(known) = known {
            let text = summary(rate, known, &self.inputs.policy);
            print(format_args!("{text}\n{}\n", self.out.display()))?;
        }
        Ok(ended)
    }

    /// Repetitions with a fault on one side: what of it is found.
    fn power(&self, injections: Vec<Injection>) -> anyhow::Result<Exit> {
        let mut found: Vec<Power> = injections.iter().cloned().map(Power::new).collect();
        let faults: Vec<Option<Injection>> = injections.into_iter().map(Some).collect();
        let mut measured = false;
        let ended = self.repeat(RUNS_WITH_FAULTS, &faults, &mut |at, judged, _| {
            found[at].add(judged);
            measured = true;
            run::as_owner(&self.out, || replace(&self.out.join(POWER), &found))
        })?;
        if measured {
            let tables: Vec<String> = found.iter().map(Power::to_string).collect();
            print(format_args!("{}\n\n{}\n", tables.join("\n\n"), self.out.display()))?;
        }
        Ok(ended)
    }

    /// Measures as often as was asked for, with each of these faults in turn, and hands each repetition on. Ends early where the budget does,
    /// where nothing can be measured, and where the user wants it.
    fn repeat(
        &self,
        runs: u32,
        faults: &[Option<Injection>],
        take: &mut dyn FnMut(usize, &Judged, Duration) -> anyhow::Result<()>,
    ) -> anyhow::Result<Exit> {
        let stop = run::catch_signals()?;
        let (began, mut longest) = (Instant::now(), Duration::ZERO);
        let budget = self.told.budget;
        let runs = self.told.runs.unwrap_or(if budget.is_some() { MOST_RUNS } else { runs });
        let turns = (0..runs).flat_map(|_| faults.iter().enumerate());
        for (number, (at, fault)) in (1..).zip(turns) {
            // The next takes about as long as the longest so far.
            let over = budget.is_some_and(|budget| began.elapsed() + longest > budget);
            if number > 1 && over {
                break;
            }
            let repetition = Repetition { number, fault: fault.clone() };
            let order = self.inputs.order(repetition, &self.out.join(format!("{number:04}")));
            let started = Instant::now();
            let mut watcher = Through(display(inside(self.detail)));
            let measured = run::run(&order, &self.state, &mut watcher)?;
            if measured == End::Interrupted || stop.load(Ordering::Relaxed) {
                return Ok(Exit::Interrupted);
            }
            if measured == End::Nothing {
                say("error: no boot was measured: there is nothing to judge");
                return Ok(Exit::Host);
            }
            let took = started.elapsed();
            longest = longest.max(took);
            let judged = Judged::of(&order.out)?;
            if self.detail > Detail::Quiet || judged.is_flagged() {
                let with = fault.as_ref().map_or(String::new(), |of| format!(" with {}", of.fault));
                say(format_args!("run {number}{with}: {judged}, {}", human(started.elapsed())));
            }
            take(at, &judged, took)?;
        }
        Ok(Exit::Fine)
    }
}

/// What came out, and what is known of this runner now.
fn summary(rate: AlarmRate, known: AlarmRate, policy: &Policy) -> String {
    let mut text = format!("{rate}; {}", rate.what_proves(policy.errors.family));
    if known != rate {
        text += &format!("\nthis runner, by this policy, so far: {known}");
    }
    if policy.calibrate.required {
        let most = policy.calibrate.most;
        text += &match known.proves(most) {
            true => "\nit may gate".to_owned(),
            false => format!("\nit may not gate yet: {}", known.what_proves(most)),
        };
    }
    text
}

/// What a run that compares two sides is told of this runner. Where that cannot be read, it is said, and counts as nothing known.
///
/// # Errors
/// The run's policy is wrong.
pub fn known_of(
    order: &Order,
    state: &StateDir,
    facts: &BTreeMap<String, String>,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<Option<AlarmRate>> {
    let Some((base, text)) = &order.base else { return Ok(None) };
    let policy = policy::parse(text, "policy of the base").map_err(wrong)?;
    let key = Key::new(facts, &policy, base.by_policy, order.quick);
    let known = store::rate_of(state, &key).unwrap_or_else(|error| {
        watcher.see(&Event::Note(format!("taken for not calibrated: {error:#}")));
        AlarmRate::default()
    });
    Ok(Some(known))
}

/// How much of a repetition's own course is shown: on a terminal its bar, elsewhere lines only where more was asked for.
fn inside(detail: Detail) -> Detail {
    match detail {
        Detail::Normal if !std::io::stderr().is_terminal() => Detail::Quiet,
        other => other,
    }
}

/// What every repetition starts from.
struct Inputs {
    matrix: Matrix,
    text: String,
    options: Options,
    quick: bool,
    policy: Policy,
    policy_text: String,
    commit: String,
    /// Whether boots are taken as a gate takes them.
    by_policy: bool,
}

impl Inputs {
    fn of(told: &cli::Calibrate) -> anyhow::Result<Inputs> {
        let here = Path::new(".");
        // By the clock, so that calibrations of several days are not one and the same order of boots.
        let seed = told.seed.map_or_else(unix_now, Ok)?;
        let selection = cli::Selection {
            matrix: told.matrix.clone(),
            seed,
            only: told.only.clone(),
            shard: None,
            boots: told.boots,
            quick: told.quick,
        };
        let (matrix, text) = command::load(here, &selection)?;
        if matrix.attribution.is_some() {
            let name = &matrix.name;
            return Err(wrong(format!(
                "matrix `{name}` attributes effects to knobs: it has no base"
            )));
        }
        let policy_text = policy::text_in(here).map_err(wrong)?;
        let policy = policy::find_in(here, None).map_err(wrong)?;
        let least = policy.require.boots;
        match told.boots {
            Some(boots) if boots < least => {
                return Err(wrong(format!(
                    "{boots} boots of each cell cannot give a verdict: the policy asks for {least}: add `--boots {least}` or more"
                )));
            }
            _ => {}
        }
        let options = Options { seed, only: told.only.clone(), ..Options::default() };
        let commit = revision::working_tree().unwrap_or_else(|| "no commit".to_owned());
        let (quick, by_policy) = (told.quick, told.boots.is_none());
        Ok(Inputs { matrix, text, options, quick, policy, policy_text, commit, by_policy })
    }

    /// The faults that were asked for, each with the cells that get it.
    fn injections(&self, told: &cli::Calibrate) -> anyhow::Result<Vec<Injection>> {
        let taken = match &told.only {
            Some(only) => only.select(&self.matrix.cells).map_err(wrong)?,
            None => (0..self.matrix.cells.len()).collect(),
        };
        let cells: Vec<&Cell> = taken.into_iter().map(|at| &self.matrix.cells[at]).collect();
        let meant = |cell: &&&Cell| told.into.as_ref().is_none_or(|into| into.takes(cell));
        let meant: Vec<&Cell> = cells.iter().filter(meant).copied().collect();
        if told.into.is_some() && meant.is_empty() {
            return Err(wrong("`--into` takes no cell that is measured"));
        }
        let powers = if geteuid().is_root() { Powers::Root } else { Powers::Namespaces };
        told.inject
            .iter()
            .map(|fault| {
                let cannot = |why: String| wrong(format!("`{fault}` cannot be injected: {why}"));
                let why = fault.misses(&self.matrix.measure.workloads);
                if let Some(why) = why.or_else(|| fault::missing(*fault, powers)) {
                    return Err(cannot(why));
                }
                let unfit = meant.iter().filter_map(|cell| fault.unfit(cell));
                let unfit = unfit.collect::<BTreeSet<String>>();
                let fit = meant.iter().filter(|cell| fault.unfit(cell).is_none());
                let cells: Vec<String> = fit.map(|cell| cell.id()).collect();
                let why = unfit.into_iter().collect::<Vec<_>>().join("; ");
                match cells.is_empty() {
                    true => Err(cannot(why)),
                    false => {
                        if !why.is_empty() {
                            say(format_args!("note: `{fault}` is not in all cells: {why}"));
                        }
                        Ok(Injection { fault: *fault, cells })
                    }
                }
            })
            .collect()
    }

    /// A repetition: the matrix beside itself, in an order of its own.
    fn order(&self, repetition: Repetition, out: &Path) -> Order {
        let base = Base {
            revision: ITSELF.to_owned(),
            commit: self.commit.clone(),
            matrix_text: self.text.clone(),
            matrix: self.matrix.clone(),
            cells: Vec::new(),
            by_policy: self.by_policy,
        };
        let seed = self.options.seed.wrapping_add(u64::from(repetition.number) - 1);
        Order {
            text: self.text.clone(),
            matrix: self.matrix.clone(),
            options: Options { seed, ..self.options.clone() },
            base: Some((base, self.policy_text.clone())),
            revision: None,
            out: out.to_owned(),
            resume: false,
            quick: self.quick,
            lab: false,
            budget: None,
            calibrates: Some(repetition),
        }
    }
}

/// What a run shows, but for what is only true of a run by itself: that it can be gone on with, and its sentence.
struct Through(Box<dyn Watcher>);

impl Watcher for Through {
    fn see(&mut self, event: &Event) {
        match event {
            Event::Interrupted { .. } => self.0.see(&Event::Interrupted { out: None }),
            other => self.0.see(other),
        }
    }
}

fn unix_now() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_is_told_with_what_it_proves() {
        let rate = |runs, flagged| AlarmRate { runs, flagged, void: 0 };
        let mut policy = policy::parse("schema = 1\n", "mine").unwrap();
        insta::assert_snapshot!(summary(rate(12, 0), rate(12, 0), &policy), @"0 of 12 runs flagged: below 22.1 % with 95 % confidence; 299 clean runs prove 1 %");
        policy.calibrate.required = true;
        insta::assert_snapshot!(summary(rate(12, 1), rate(60, 1), &policy), @r"
        1 of 12 runs flagged: 8.33 %, below 33.9 % with 95 % confidence; 473 runs, 1 of them flagged, prove 1 %
        this runner, by this policy, so far: 1 of 60 runs flagged: 1.67 %, below 7.66 % with 95 % confidence
        it may not gate yet: 93 runs, 1 of them flagged, prove 5 %
        ");
    }
}
