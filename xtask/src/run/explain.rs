//! What a cell would do to a host, in words.

use anyhow::bail;

use super::host::Host;
use super::prepare;
use super::spec::{BootSpec, Place};
use crate::matrix::{Cell, Expect, Matrix};
use crate::record::{Side, Status};

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
