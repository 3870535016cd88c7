//! What acts on a node: the interpreter of steps with its journal, the measuring engine, facts,
//! and the init of a guest. The `xtask` binary links this library and answers to the name
//! `evenkeel-agent`, so host, container and guest run one and the same file.

mod burn;
pub mod clock;
pub mod command;
pub mod control;
pub mod counters;
pub mod engine;
pub mod entry;
pub mod facts;
pub mod guest;
pub mod interpret;
pub mod journal;
pub mod lines;
pub mod load;
pub mod machine;
mod netlink;
pub mod noise;
pub mod qmp;
pub mod restore;
pub mod samples;
pub mod serve;
pub mod state;
pub mod step;
mod sys;
pub mod threads;
pub mod wait;
pub mod wire;
