//! The user's programs of both sides: built in the tree of their revision and copied, before the first boot.
//!
//! Whatever runs is a side's own: `build`, `serve`, `drive` and what these need. How it is measured (the form and unit of what is printed, the
//! deadline) is the base's, like `[measure]`: a change is not its own judge.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use evenkeel_agent::command::{self, Ended, Watch};

use super::event::{Event, Watcher};
use super::{Order, as_owner};
use crate::artifact::cache::Cache;
use crate::artifact::programs::Programs;
use crate::matrix::{COMMAND, Command, Matrix};
use crate::record::{Evidence, Record, Side, store};
use crate::wrong::wrong;

/// Deadline of a build.
const BUILT: Duration = Duration::from_secs(1800);

/// The programs of the candidate and of the base; nothing where no command is measured.
pub(super) type Both = [Option<Programs>; 2];

/// Builds and copies what both sides measure. What a run that goes on began with is not made anew, as long as its copy is there.
///
/// # Errors
/// A command that a side does not have, a build that fails, or a file that is not there, is wrong input.
pub(super) fn both(
    order: &Order,
    base: Option<&Matrix>,
    cache: &Cache,
    stop: &AtomicBool,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<Both> {
    let mut names = order.matrix.measure.workloads.iter().filter(|name| name.starts_with(COMMAND));
    if names.next().is_none() {
        return Ok([None, None]);
    }
    let records = match order.resume {
        true => as_owner(&order.out, || store::read(&order.out))?.1,
        false => Vec::new(),
    };
    let mut make = |side: Side, commands: Vec<Command>, tree: &Path| {
        let began = copy_of(&records, side);
        if let Some(digest) = began
            && let Some(kept) = Programs::kept(commands.clone(), digest, cache)
        {
            return Ok(kept);
        }
        build(&commands, tree, stop, watcher)?;
        let made = Programs::keep(commands, tree, cache)?;
        match began.is_none_or(|digest| digest == made.digest) {
            true => Ok(made),
            false => Err(wrong(format!(
                "the programs of the {} are not those that {} began with: begin a new run",
                side.name(),
                order.out.display()
            ))),
        }
    };
    let here = Path::new(".");
    let own = commands(&order.matrix, base)?;
    let candidate = make(Side::Candidate, own.clone(), here)?;
    let Some(base) = base else { return Ok([Some(candidate), None]) };
    let there = order.revision.as_ref().map(|revision| (revision.directory(), &revision.name));
    let base = match there {
        // Both sides are one tree.
        None => candidate.clone(),
        Some((tree, name)) => {
            let of_base = commands(base, None).and_then(|of| make(Side::Base, of, &tree));
            of_base.map_err(|error| match error.is::<crate::wrong::WrongInput>() {
                true => wrong(format!("in the base, `{name}`: {error:#}")),
                false => error.context(format!("in the base, `{name}`")),
            })?
        }
    };
    Ok([Some(candidate), Some(base)])
}

/// The commands that a matrix measures, in order, read as `base` says where there is one.
fn commands(matrix: &Matrix, base: Option<&Matrix>) -> anyhow::Result<Vec<Command>> {
    let find = |matrix: &Matrix, name: &str| {
        matrix.commands.iter().find(|command| command.workload == name).cloned()
    };
    let names = matrix.measure.workloads.iter().filter(|name| name.starts_with(COMMAND));
    let commands = names.map(|name| {
        let own = find(matrix, name).with_context(|| {
            let table = name.strip_prefix(COMMAND).unwrap_or(name);
            format!(
                "`{name}` is measured, and matrix `{}` has no table `[command.{table}]`",
                matrix.name
            )
        });
        let own = own.map_err(wrong)?;
        Ok(match base.and_then(|base| find(base, name)) {
            None => own,
            Some(Command { reads, unit, within, .. }) => Command { reads, unit, within, ..own },
        })
    });
    commands.collect()
}

/// Runs the builds, equal ones once.
fn build(
    commands: &[Command],
    tree: &Path,
    stop: &AtomicBool,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<()> {
    let mut built: Vec<&[String]> = Vec::new();
    for of in commands.iter().filter(|of| !of.build.is_empty()) {
        if built.contains(&of.build.as_slice()) {
            continue;
        }
        built.push(&of.build);
        let line = of.build.join(" ");
        watcher.see(&Event::Note(format!("building command `{}`: {line}", of.name())));
        let mut argv = of.build.clone();
        if let Some(program) = argv.first_mut().filter(|program| program.contains('/')) {
            let file = tree.join(&*program).canonicalize();
            let file = file.map_err(|error| {
                wrong(format!("[command.{}]: `{program}` cannot be run: {error}", of.name()))
            })?;
            *program = file.to_string_lossy().into_owned();
        }
        // A server that a build leaves would run beside the boots.
        let watch =
            Watch { folder: Some(tree), stop: Some(stop), alone: true, ..Watch::within(BUILT) };
        let ended = command::watch(watch, &argv)
            .with_context(|| format!("[command.{}] cannot be built", of.name()))?;
        if ended.code != Some(0) {
            let why = why(&ended);
            return Err(wrong(format!("[command.{}] cannot be built: `{line}` {why}", of.name())));
        }
    }
    Ok(())
}

/// How a build that failed ended, in its words.
fn why(ended: &Ended) -> String {
    // Some compilers tell their errors on standard output.
    let stderr = if ended.stderr.trim_ascii().is_empty() { &ended.stdout } else { &ended.stderr };
    let said = Ended { stderr: stderr.clone(), ..ended.clone() }.last_words();
    match ended.code {
        _ if ended.timed_out => format!("did not end within {} s: {said}", BUILT.as_secs()),
        Some(code) => format!("failed with code {code}: {said}"),
        None => format!("was killed: {said}"),
    }
}

/// Which programs are measured, for the record of a boot.
pub(super) fn evidence(programs: Option<&Programs>) -> Vec<Evidence> {
    let all = programs.into_iter().flat_map(|of| of.commands.iter().map(move |own| (of, own)));
    let begins = all.flat_map(|(of, own)| {
        // One program may be both ends.
        let client = own.drive.first().filter(|client| own.serve.first() != Some(client));
        let begins = [own.serve.first(), client];
        begins.into_iter().flatten().map(move |program| (of, own, program))
    });
    let told = begins.filter_map(|(of, own, program)| {
        Some(Evidence::Program {
            workload: own.workload.clone(),
            program: program.clone(),
            sha256: of.sums.get(program)?.clone(),
            copy: of.digest.clone(),
        })
    });
    told.collect()
}

/// The copy that boots of a side were made with.
fn copy_of(records: &[Record], side: Side) -> Option<&str> {
    let own = records.iter().filter(|record| record.side == side.name());
    own.flat_map(|record| &record.evidence).find_map(|evidence| match evidence {
        Evidence::Program { copy, .. } => Some(copy.as_str()),
        _ => None,
    })
}
