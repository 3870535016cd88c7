//! The lab's side: what its init runs. It prepares as a run does, with journals of its own, and makes the boots that it is asked for.
//! When the port closes it undoes what it made; mostly the machine is ended before that.

use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, bail};
use evenkeel_agent::guest::lab::FOLDER;
use evenkeel_agent::lines::{Line, Lines};
use evenkeel_agent::state::StateDir;

use super::wire::{Ask, Begin, Said, write_line};
use super::{PATIENCE, Told};
use crate::doctor;
use crate::record::{Record, Status};
use crate::run::Ground;
use crate::run::event::{Event, Watcher};
use crate::run::here::{Here, Inputs, failed};
use crate::run::host::Host;
use crate::run::prepare::{Prepared, Standing};

/// The longest request, bytes: a matrix of many cells.
const LINE: usize = 64 << 20;

/// The life of a lab's program.
///
/// # Errors
/// It cannot be prepared, or a boot was not undone: the lab is of no use any more. The run is told why.
pub fn serve(input: impl Read, mut output: impl Write) -> anyhow::Result<()> {
    let lived = live(input, &mut output);
    if let Err(error) = &lived {
        write_line(&mut output, &Said::Failed(format!("{error:#}")))?;
    }
    lived
}

fn live(input: impl Read, output: &mut impl Write) -> anyhow::Result<()> {
    let mut asked = Asked(Lines::new(input, LINE));
    let Some(Ask::Begin(begin)) = asked.next()? else { bail!("it was not told what to prepare") };
    let Begin { tag, folder, rootfs, programs, matrix, config } = *begin;
    // A folder that the lab does not have held no profiles: those that the program carries are found anywhere.
    if folder.is_dir() {
        std::env::set_current_dir(&folder)
            .with_context(|| format!("failed to enter {}", folder.display()))?;
    }
    let uses_docker = matrix.cells.iter().any(|cell| cell.virtualization == "docker");
    let no_engine = if uses_docker { start_engine().err() } else { None };
    let host = Host::look_in_lab(&matrix.cells, &matrix);
    let prepared = Prepared::in_lab(rootfs, programs, &tag)?;
    let state = StateDir::of_user()?;
    let _lock = state.lock(std::time::Duration::ZERO)?;
    let image_of = (uses_docker && no_engine.is_none()).then(|| prepared.rootfs());
    let standing = Standing::make(&state, &tag, host.powers, image_of, false)?;
    write_line(output, &Said::Begun { facts: host.facts.clone() })?;

    let mut here = Here {
        inputs: [Some(Inputs { matrix: &matrix, prepared: &prepared }), None],
        host: &host,
        tag: &tag,
        state: &state,
        config,
        diagnoses: false,
        injection: None,
        patience: PATIENCE,
    };
    let never = AtomicBool::new(false);
    while let Some(ask) = asked.next()? {
        let Ask::Boot { cell, place, number } = ask else { bail!("it was prepared twice") };
        let told = Told { cell: &cell, place, number };
        let record = match (host.judge(&cell, &matrix), &no_engine) {
            (Status::Runnable, _) => here.boot(&told, &never, &mut Out(output))?,
            (Status::Skipped { .. }, Some(error)) if cell.virtualization == "docker" => {
                failed(&cell, place, format!("in the lab: {error:#}"))?
            }
            (Status::Skipped { reason, .. } | Status::NotApplicable { reason }, _) => {
                failed(&cell, place, format!("in the lab: {reason}"))?
            }
        };
        write_line(output, &Said::Ended { record: Box::<Record>::new(record) })?;
    }
    let undone = standing.undo()?;
    match undone.failed.as_slice() {
        [] => Ok(()),
        left => bail!("{}", left.join("; ")),
    }
}

/// Starts an engine of the lab's own: its layers are folders in memory, and it has none of the settings of the host's.
fn start_engine() -> anyhow::Result<()> {
    let settings = format!("{FOLDER}/docker.json");
    std::fs::write(&settings, "{}").with_context(|| format!("failed to write {settings}"))?;
    let arguments = ["--config-file", &settings, "--storage-driver", "vfs"];
    doctor::start_engine(&arguments).map(drop).context("no Docker engine could be started")
}

/// What is asked, until the port closes.
struct Asked<R>(Lines<R>);

impl<R: Read> Asked<R> {
    fn next(&mut self) -> anyhow::Result<Option<Ask>> {
        loop {
            let line = self.0.next_line().context("failed to read from the run")?;
            match line {
                None => return Ok(None),
                Some(Line::TooLong) => bail!("it was asked more than {LINE} bytes in a line"),
                Some(Line::Text(text)) if text.trim().is_empty() => {}
                Some(Line::Text(text)) => {
                    let ask = serde_json::from_str(text.trim());
                    return ask.map(Some).context("it was asked something that it does not know");
                }
            }
        }
    }
}

/// Passes what happens in a boot on to the run.
struct Out<'a, W>(&'a mut W);

impl<W: Write> Watcher for Out<'_, W> {
    fn see(&mut self, event: &Event) {
        let said = match event {
            Event::Phase(phase) => Said::Phase(phase.clone()),
            Event::Note(note) => Said::Note(note.clone()),
            _ => return,
        };
        // A run that is gone ends the lab: the next read or the record's own line finds out.
        write_line(self.0, &said).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_that_is_asked_rubbish_says_so_and_ends() {
        let mut output = Vec::new();
        let error = serve(&b"\n{\"sing\":1}\n"[..], &mut output).unwrap_err().to_string();
        assert_eq!(error, "it was asked something that it does not know");
        let said: Said = serde_json::from_slice(output.trim_ascii()).unwrap();
        assert!(matches!(said, Said::Failed(why) if why.starts_with(&error)));
    }

    #[test]
    fn a_port_that_closes_before_anything_is_asked_is_told() {
        let mut output = Vec::new();
        assert!(serve(&b""[..], &mut output).is_err());
    }
}
