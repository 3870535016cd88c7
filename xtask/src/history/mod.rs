//! The history: one line a run, and what changed in it over time. `entry` makes a line of a run, `file` keeps lines on disk, `check` finds
//! changes, `accept` says which were reviewed, `show` prints them; `commands` is the only part besides `file` that does I/O.

pub mod accept;
pub mod check;
pub mod commands;
pub mod entry;
pub mod file;
pub mod series;
mod show;
