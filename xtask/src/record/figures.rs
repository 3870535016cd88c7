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

/// A figure in words of the field; names that are not ours stay as they are.
pub(crate) fn in_words(figure: &str) -> &str {
    match figure {
        "mad" => "the MAD",
        "sd_within" => "the SD",
        "jitter" => "p99 - p50",
        "far_jitter" => "p99.9 - p50",
        "worst_tenth" => "the mean of the worst tenth",
        "stall_share" => "the share of time in stalls",
        other => other,
    }
}

#[cfg(test)]
mod tests;
