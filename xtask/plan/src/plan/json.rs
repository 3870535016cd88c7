//! `plan --format json`. The names `schema`, `matrix`, `cells` (`id`, `axes`, `runnable`, `skip`) and `estimate_s` are a
//! contract; more may be added. Pure.

use std::io::{self, Write};
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use super::estimate::whole_seconds;
use super::status::{SCHEMA, Status};
use super::{AT_ONCE, GateCost, Plan, Planned};
use crate::matrix::Cell;

/// Texts that are made before they are written: enough for all threads, and few enough to stay in their caches.
const TEXTS: usize = 16;

/// A plan as JSON, in one line.
#[derive(Debug)]
pub struct Json<'p>(pub &'p Plan<'p>);

/// What comes before `cells`.
#[derive(Serialize)]
struct Head<'p> {
    schema: u32,
    matrix: &'p str,
}

/// The first half of an entry of `cells`.
#[derive(Serialize)]
struct Named<'p> {
    id: &'p str,
    axes: &'p Cell,
}

/// The second half.
#[derive(Serialize)]
struct Judged<'p> {
    runnable: bool,
    /// `runnable`, `skipped`, `not-applicable`.
    status: &'static str,
    /// Why it is not runnable.
    skip: Option<&'p str>,
    /// What would help.
    remedy: Option<&'p str>,
    /// Whether it is measured in a lab.
    lab: bool,
}

impl<'p> Judged<'p> {
    fn new(planned: &'p Planned<'p>) -> Judged<'p> {
        let (status, skip, remedy) = match &*planned.status {
            Status::Runnable => ("runnable", None, None),
            Status::Skipped { reason, remedy } => ("skipped", Some(&**reason), Some(&**remedy)),
            Status::NotApplicable { reason } => ("not-applicable", Some(&**reason), None),
        };
        let runnable = planned.is_runnable();
        Judged { runnable, status, skip, remedy, lab: runnable && planned.lab }
    }
}

/// What comes after `cells`.
#[derive(Serialize)]
struct Tail {
    estimate_s: u64,
    boots: u64,
    seed: u64,
    shard: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<Gate>,
}

/// What a gate takes.
#[derive(Serialize)]
struct Gate {
    /// Boots a side of each cell, at least and at most.
    boots: [u32; 2],
    /// The time of these.
    screen_s: [u64; 2],
    /// Fresh boots a side of a suspect, at most.
    fresh: u32,
    /// The time of these.
    suspect_s: u64,
}

impl Gate {
    fn new(cost: &GateCost) -> Gate {
        Gate {
            boots: [cost.boots.first, cost.boots.most],
            screen_s: cost.screen.map(whole_seconds),
            fresh: cost.boots.fresh,
            suspect_s: whole_seconds(cost.suspect),
        }
    }
}

impl Json<'_> {
    /// Writes it as it is made, some thousand cells at a time: the text of a million would take longer to hold than to
    /// make. The list is put between the fields by hand, because a serialiser knows no threads.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let plan = self.0;
        let head = Head { schema: SCHEMA, matrix: &plan.matrix.name };
        let tail = Tail {
            estimate_s: whole_seconds(plan.estimate()),
            boots: plan.boot_count(),
            seed: plan.options.seed,
            shard: plan.options.shard.map(|shard| shard.to_string()),
            gate: plan.gate.as_ref().map(Gate::new),
        };
        let (head, tail) = (serde_json::to_string(&head)?, serde_json::to_string(&tail)?);
        write!(out, "{},\"cells\":[", head.trim_end_matches('}'))?;
        let mut texts = vec![Vec::new(); TEXTS];
        for (nth, cells) in plan.cells.chunks(TEXTS * AT_ONCE).enumerate() {
            let parts = cells.par_chunks(AT_ONCE).zip(&mut texts);
            parts.try_for_each(|(cells, text)| entries(cells, text))?;
            for (part, text) in texts.iter().take(cells.len().div_ceil(AT_ONCE)).enumerate() {
                // Every entry follows a comma; the first of all follows none.
                out.write_all(if (nth, part) == (0, 0) { &text[1..] } else { text })?;
            }
        }
        writeln!(out, "],{}", tail.trim_start_matches('{'))
    }
}

/// Entries of the list, each with a comma before it, in place of what `text` holds. Neighbours that share a status share its half.
fn entries(cells: &[Planned<'_>], text: &mut Vec<u8>) -> io::Result<()> {
    text.clear();
    let (mut id, mut judged) = (String::new(), Vec::new());
    for alike in cells.chunk_by(|a, b| Arc::ptr_eq(&a.status, &b.status) && a.lab == b.lab) {
        judged.clear();
        serde_json::to_writer(&mut judged, &Judged::new(&alike[0]))?;
        judged[0] = b',';
        for planned in alike {
            id.clear();
            planned.cell.push_id(&mut id);
            text.push(b',');
            serde_json::to_writer(&mut *text, &Named { id: &id, axes: planned.cell })?;
            text.pop();
            text.extend_from_slice(&judged);
        }
    }
    Ok(())
}
