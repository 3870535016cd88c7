//! The history of runs: one line a run, and what changed in it over time. A large one has millions of figures, so this is compiled for
//! speed, apart from the commands that use it.
//!
//! - [`entry`]: the line of a run
//! - [`mod@file`]: lines on disk, append-only and bounded, the only part that does I/O
//! - [`series`]: lines as series of figures
//! - [`check`]: what changed
//! - [`accept`]: which changes were reviewed
//! - [`date`], [`time`]: days and points in time, without a clock

pub mod accept;
pub mod check;
pub mod date;
pub mod entry;
pub mod file;
pub mod series;
pub mod time;
