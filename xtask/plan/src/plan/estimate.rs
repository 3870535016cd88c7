//! How long a plan takes, and when that is too long. Pure.

use std::fmt;
use std::time::Duration;

use super::Plan;
use crate::matrix::{Measure, quoted};

/// Estimated time of one boot: building, undoing, and measuring with its warm-ups.
pub fn boot_time(measure: &Measure, overhead: Duration) -> Duration {
    overhead.saturating_add(measure.time())
}

/// What a run may be at most. A plan may be larger: it can be looked at, split into shards, and filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Boots.
    pub boots: u64,
    /// Estimated time.
    pub time: Duration,
}

impl Default for Limits {
    /// A hundred thousand boots and a week: the largest study that one host does in earnest.
    fn default() -> Limits {
        Limits { boots: 100_000, time: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

/// A plan that is too large to run, with its estimate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Name of the matrix.
    pub matrix: String,
    /// Boots planned.
    pub boots: u64,
    /// Their estimated time.
    pub time: Duration,
    /// What was allowed.
    pub limits: Limits,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, most) = (human(self.time), human(self.limits.time));
        write!(
            f,
            "matrix {} has {} boots, which take about {time}; a run has at most {} boots and {most}: \
             choose cells with --only, a part with --shard, or fewer --boots",
            quoted(&self.matrix),
            self.boots,
            self.limits.boots,
        )
    }
}

impl std::error::Error for TooLarge {}

impl Plan<'_> {
    /// Refuses a plan that is too large to run.
    pub fn check(&self, limits: Limits) -> Result<(), TooLarge> {
        let (boots, time) = (self.boot_count(), self.estimate());
        if boots <= limits.boots && time <= limits.time {
            return Ok(());
        }
        Err(TooLarge { matrix: self.matrix.name.clone(), boots, time, limits })
    }
}

/// An estimated time in its two largest units: `2 min 10 s`. Rounded up to seconds.
pub fn human(time: Duration) -> String {
    let seconds = whole_seconds(time);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let (large, small) = match (days, hours, minutes) {
        (0, 0, 0) => return format!("{seconds} s"),
        (0, 0, _) => ((minutes, "min"), (seconds % 60, "s")),
        (0, _, _) => ((hours, "h"), (minutes % 60, "min")),
        _ => ((days, "d"), (hours % 24, "h")),
    };
    match small {
        (0, _) => format!("{} {}", large.0, large.1),
        _ => format!("{} {} {} {}", large.0, large.1, small.0, small.1),
    }
}

/// Seconds, rounded up.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_two_units() {
        let tell = |seconds| human(Duration::from_secs(seconds));
        assert_eq!(human(Duration::from_millis(1)), "1 s");
        assert_eq!(
            [tell(0), tell(59), tell(60), tell(130)],
            ["0 s", "59 s", "1 min", "2 min 10 s"]
        );
        assert_eq!([tell(3600), tell(7500), tell(90_000)], ["1 h", "2 h 5 min", "1 d 1 h"]);
        assert!(!human(Duration::MAX).is_empty());
    }

    #[test]
    fn a_boot_takes_its_overhead_and_all_its_workloads() {
        let measure = Measure::default();
        // 2 workloads of 200 ms warm-up and 50 windows of 20 ms.
        assert_eq!(boot_time(&measure, Duration::from_millis(100)), Duration::from_millis(2500));
    }
}
