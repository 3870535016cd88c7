//! Evenkeel: a test-matrix tool that finds determinism regressions in container and VM networking.
//!
//! One direction: a matrix becomes a plan, a plan becomes boots, boots leave records, records become results, and results a
//! report. Each arrow is a value. `ARCHITECTURE.md` has the map and the invariants.

pub use evenkeel_history::date;
pub use evenkeel_plan::{matrix, plan, wrong};

pub mod artifact;
pub mod attribution;
pub mod axis;
pub mod benchmark;
pub mod calibrate;
pub mod check;
pub mod cli;
pub mod command;
pub mod doctor;
pub mod exchange;
pub mod fingerprint;
pub mod fleet;
pub mod history;
pub mod init;
pub mod manual;
pub mod publish;
pub mod record;
pub mod report;
pub mod run;
pub mod streams;
pub mod verdict;
pub mod workload;
