//! Statistics on slices and histograms: no I/O, no clock, no global state.
//!
//! - [`moments`]: count, mean and standard deviation, exact, mergeable
//! - [`quantile`]: quantiles of a slice, and when a count supports one
//! - [`distribution`]: the same figures from buckets with counts, and shares of the sum
//! - [`components`]: spread inside groups and between them
//! - [`effect`]: effects of pairs and of designed experiments, and the correction of many p-values
//! - [`exact`]: Fisher's exact test of two counts
//! - [`interval`]: confidence intervals of a mean, a difference and a ratio for few observations
//! - [`modes`]: whether observations have one mode
//!
//! What may be missing is an `Option`: a figure that its input cannot support is never a number.

pub mod changes;
pub mod components;
pub mod distribution;
pub mod effect;
pub mod exact;
pub mod gate;
pub mod interval;
pub mod modes;
pub mod moments;
pub mod quantile;
