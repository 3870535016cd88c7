//! `benchmark`: how fast the tool itself is, as a table of rows with what each must be.
//!
//! All rows come from one run of the command. What is compared with something else is a ratio to it, measured in the same cell
//! or between the same boots, so that the table means the same on every machine. Boots go through the same
//! loop as those of `bench`, with its lock, journals and watchdog.

use evenkeel_agent::state::StateDir;

use crate::cli;
use crate::command::Exit;
use crate::run::End;
use crate::run::progress::Detail;

mod build;
mod guest;
mod plan;
mod rates;
mod recording;
mod runs;
mod share;
mod table;

use runs::Runs;
use table::{Row, Table};

/// A group of rows that come from the same measurement.
type Group = fn(&Runs) -> anyhow::Result<Vec<Row>>;

/// The groups, in the order of the table.
const GROUPS: [(&str, Group); 6] = [
    ("rates beside netperf and iperf3", rates::rows),
    ("recording one transaction", recording::rows),
    ("building and undoing cells of containers", build::rows),
    ("starting a guest", guest::rows),
    ("share of the time that measures", share::rows),
    ("planning a million cells", plan::rows),
];

/// Measures every row and prints the table, or JSON.
///
/// # Errors
/// The host is dirty or in use, or a change to it was not undone.
pub fn benchmark(told: &cli::Benchmark, detail: Detail) -> anyhow::Result<Exit> {
    let runs = Runs::new(StateDir::of_user()?, detail)?;
    let mut table = Table::default();
    for (what, group) in GROUPS {
        if detail > Detail::Quiet {
            eprintln!("{what}");
        }
        table.rows.extend(group(&runs)?);
        if runs.ended() == End::Interrupted {
            return Ok(Exit::Interrupted);
        }
    }
    match told.json {
        true => println!("{}", serde_json::to_string_pretty(&table)?),
        false => print!("{table}"),
    }
    let measured = table.rows.iter().any(|row| row.measured.is_some());
    Ok(if measured { Exit::Fine } else { Exit::Host })
}
