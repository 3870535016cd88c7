//! The history of runs as commands: `line` makes a line of a run, `show` prints what changed; `commands` asks and reads.

pub mod commands;
mod line;
mod show;

pub use evenkeel_history::{accept, check, entry, file, series};
