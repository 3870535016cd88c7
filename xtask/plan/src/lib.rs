//! The matrix and its plan. Pure, but for looking a matrix up: a million cells are planned while a user waits, so this is compiled
//! for speed, and apart from the rest of the tool, which is not.
//!
//! - [`matrix`]: what a user wrote, checked, as values, with every error at its place
//! - [`plan`]: which cells are measured, in what order, how long it takes, and why not the rest
//! - [`wrong`]: errors that are the input's

pub mod matrix;
pub mod plan;
pub mod wrong;
