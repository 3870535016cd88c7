//! What measures: both ends of each workload, and the recorder of noise. Compiled for speed, apart from what prepares a machine for it.
//!
//! - [`engine`]: clients and servers
//! - [`noise`]: what disturbed a CPU meanwhile
//! - [`samples`], [`wire`]: what they find, and what they are asked
//! - [`clock`], [`lines`], [`wait`], [`sys`]: time, lines with a bound, waiting with a deadline, what the kernel is asked without a wrapper

pub mod clock;
pub mod engine;
pub mod lines;
pub mod noise;
pub mod samples;
pub mod sys;
pub mod wait;
pub mod wire;
