//! What acts on a node: the interpreter of steps with its journal, the measuring engine, facts,
//! and the init of a guest. The `xtask` binary links this library and answers to the name
//! `evenkeel-agent`, so host, container and guest run one and the same file.

pub mod samples;
pub mod step;
pub mod wire;
