//! Several runners, one plan: shards as jobs of a CI system, and their runs joined into one.

pub mod commands;
pub mod github;
pub mod gitlab;
pub mod intake;
pub mod merge;
pub mod parts;
pub mod slurm;
