//! The share of its time that the default matrix measures on containers.

use std::time::Duration;

use super::runs::{self, Runs};
use super::table::{Measured, Must, Row};
use crate::matrix;

/// Of the wall time without warm-ups and without boots that failed, percent.
const LEAST: f64 = 75.0;

/// Boots of every cell: every cell has its own costs, more boots would only repeat them.
const BOOTS: u32 = 2;

/// The row.
pub(super) fn rows(runs: &Runs) -> anyhow::Result<Vec<Row>> {
    let found = matrix::find_in(&runs.folder(), "default")?;
    let text = String::from_utf8_lossy(&found.bytes);
    let mut matrix = runs::parse(&text)?;
    matrix.measure.boots = BOOTS;
    let warmup = matrix.measure.warmup.as_secs_f64();
    let only = "!qemu".parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let done = runs.run_part(&text, matrix, Some(only), &mut |_, _| ())?;
    let (what, must) = ("`default` on containers: measured / wall", Must::AtLeast(LEAST));
    if done.boots.is_empty() {
        return Ok(vec![Row::missing(what, must, done.why_not("netns"))]);
    }
    let warmups: usize = done.boots.iter().map(|boot| boot.record.workloads.len()).sum();
    let measured = done.boots.iter().map(|boot| boot.measured_ns()).sum::<u64>() as f64 / 1e9;
    let lost = done.failed.iter().sum::<Duration>().as_secs_f64();
    let wall = done.wall.as_secs_f64() - lost;
    let mut note = format!(
        "{measured:.1} s of {wall:.1} s in {} boots; {:.1} % with warm-ups in the wall time",
        done.boots.len(),
        100.0 * measured / wall
    );
    if !done.failed.is_empty() {
        // How long a boot hangs before it is given up says nothing about how a boot spends its time.
        note += &format!("; failed boots: {}, their {lost:.1} s not counted", done.failed.len());
    }
    let value = 100.0 * measured / (wall - warmup * warmups as f64);
    Ok(vec![Row::new(what, "%", Measured { value, interval: None }, must, note)])
}
