//! What acts on a node: the interpreter of steps with its journal, the measuring engine, facts,
//! and the init of a guest. The `xtask` binary links this library and answers to the name
//! `evenkeel-agent`, so host, container and guest run one and the same file.

use evenkeel_engine::sys;
pub use evenkeel_engine::{clock, engine, lines, noise, samples, wait, wire};

mod burn;
pub mod command;
pub mod control;
pub mod counters;
pub mod entry;
pub mod facts;
pub mod guest;
pub mod holder;
pub mod interpret;
pub mod journal;
pub mod load;
pub mod machine;
mod netlink;
pub mod qmp;
pub mod restore;
pub mod serve;
pub mod state;
pub mod step;
pub mod threads;
