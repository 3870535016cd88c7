//! How long the shipped matrices take: the wall time of all boots, as `bench` makes them.

use super::runs::{self, Runs};
use super::table::{Measured, Must, Row};
use crate::matrix;

/// The matrices, with the seconds that each may take on two CPUs and with emulated guests.
const MOST_S: [(&str, f64); 2] = [("smoke", 60.0), ("default", 360.0)];

/// A row each.
pub(super) fn rows(runs: &Runs) -> anyhow::Result<Vec<Row>> {
    MOST_S.iter().map(|(name, most)| row(runs, name, *most)).collect()
}

fn row(runs: &Runs, name: &str, most: f64) -> anyhow::Result<Row> {
    let found = matrix::find_in(&runs.folder(), name)?;
    let text = String::from_utf8_lossy(&found.bytes);
    let (what, must) = (format!("`{name}`: wall"), Must::AtMost(most));
    let planned = runs::parse(&text)?;
    let boots = planned.cells.len() * planned.measure.boots as usize;
    let done = runs.run_part(&text, planned, None, &mut |_, _| ())?;
    if done.boots.is_empty() {
        return Ok(Row::missing(&what, must, done.why_not("netns")));
    }
    let note = format!("{} of {boots} boots measured", done.boots.len());
    let wall = Measured { value: done.wall.as_secs_f64(), interval: None };
    Ok(Row::new(&what, "s", wall, must, note))
}
