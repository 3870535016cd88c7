//! Results of a run from its records, by the figures of its boots. Pure.

pub mod attribution;
pub(crate) mod contrast;
pub mod run;
mod sentence;
mod summary;

pub use evenkeel_record::figures::{
    BootFigures, Judged, Pooled, STALL_THRESHOLD_NS, judged, per_boot,
};
pub use evenkeel_record::observed::histogram;

pub(crate) use self::contrast::{is_emulated, kernel_boot, path, threshold, unit_value};
pub(crate) use self::summary::differences;
pub use self::summary::results;

#[cfg(test)]
mod tests;
