//! `benchmark`: how fast the tool itself is, as a table of rows with what each must be.
//!
//! All rows come from one run of the command. What is compared with something else is a ratio to it, measured in the same cell
//! or between the same boots, so that the table means the same on every machine. Boots go through the same
//! loop as those of `bench`, with its lock, journals and watchdog.

use clap::ValueEnum as _;
use evenkeel_agent::state::StateDir;

use crate::cli;
use crate::command::Exit;
use crate::run::End;
use crate::run::progress::Detail;

mod build;
pub mod group;
mod guest;
mod matrices;
mod plan;
mod rates;
mod recording;
mod report;
mod runs;
mod share;
mod table;
mod verdicts;

use group::Group;
use runs::Runs;
use table::{Row, Table};

fn rows(group: Group, runs: &Runs) -> anyhow::Result<Vec<Row>> {
    match group {
        Group::Rates => rates::rows(runs),
        Group::Recording => recording::rows(runs),
        Group::Build => build::rows(runs),
        Group::Guest => guest::rows(runs),
        Group::Share => share::rows(runs),
        Group::Plan => plan::rows(runs),
        Group::Report => report::rows(runs),
        Group::Matrices => matrices::rows(runs),
        Group::Verdicts => verdicts::rows(runs),
        Group::VerdictsHistory => verdicts::history_rows(runs),
        Group::VerdictsSpeed => verdicts::speed_rows(runs),
    }
}

/// Measures the rows that are asked for and prints the table, or JSON.
///
/// # Errors
/// The host is dirty or in use, or a change to it was not undone.
pub fn benchmark(told: &cli::Benchmark, detail: Detail) -> anyhow::Result<Exit> {
    let runs = Runs::new(StateDir::of_user()?, detail)?;
    let mut table = Table::default();
    let wanted = |group: &&Group| match told.only.is_empty() {
        true => group.is_usual(),
        false => told.only.contains(*group),
    };
    for group in Group::value_variants().iter().filter(wanted) {
        if let (Some(group), true) = (group.to_possible_value(), detail > Detail::Quiet) {
            eprintln!("{}", group.get_help().map(ToString::to_string).unwrap_or_default());
        }
        table.rows.extend(rows(*group, &runs)?);
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
