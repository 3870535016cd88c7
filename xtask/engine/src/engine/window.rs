//! How measured time is sliced, and the figures of one slice.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::clock;
use crate::samples::Window;
use crate::wire::Job;

/// Most windows of a job: what a report of them must fit in.
pub const MOST_WINDOWS: u32 = 100_000;

/// Longest job, warm-up included.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Fewest observations that support a 99th percentile.
const ENOUGH_FOR_P99: u64 = 100;

/// Most latencies of one window that are kept; beyond that every second one is.
const MOST_KEPT: usize = 1 << 20;

/// Warm-up, then `windows` windows of equal length. Valid by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slices {
    /// Time before anything is counted, nanoseconds.
    pub(crate) warmup_ns: u64,
    /// Length of a window, nanoseconds; not 0.
    pub(crate) window_ns: u64,
    /// How many; not 0, at most [`MOST_WINDOWS`].
    pub(crate) windows: u32,
}

impl Slices {
    /// The slices of these lengths.
    ///
    /// # Errors
    /// No or too many windows, a window without length, more than a day in all.
    pub(crate) fn new(warmup_ns: u64, window_ns: u64, windows: u32) -> Result<Slices> {
        ensure!(windows > 0, "a job needs at least one window");
        ensure!(
            windows <= MOST_WINDOWS,
            "{windows} windows are more than {MOST_WINDOWS}: make them longer"
        );
        ensure!(window_ns > 0, "a window needs a length");
        let total = u128::from(warmup_ns) + u128::from(window_ns) * u128::from(windows);
        ensure!(
            total <= LONGEST.as_nanos(),
            "a job of more than a day: use fewer or shorter windows"
        );
        Ok(Slices { warmup_ns, window_ns, windows })
    }

    /// The slices of a job; errors as of [`Slices::new`].
    pub(crate) fn of(job: &Job) -> Result<Slices> {
        Slices::new(clock::nanos(job.warmup), clock::nanos(job.window), job.windows)
    }

    /// Time measured, warm-up not counted.
    pub(crate) fn measured_ns(&self) -> u64 {
        self.window_ns * u64::from(self.windows)
    }

    /// Warm-up and measured time.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.warmup_ns + self.measured_ns())
    }
}

/// The latencies of one window while it is being summed up.
///
/// Quantiles are exact (nearest rank) up to 2^20 latencies. A window with more keeps an evenly
/// thinned half of them, again and again, so that memory stays bounded.
#[derive(Debug, Default)]
pub(crate) struct WindowLatencies {
    kept: Vec<u64>,
    /// One of `2^thinned` latencies is kept.
    thinned: u32,
    count: u64,
    max: u64,
}

impl WindowLatencies {
    /// Takes one latency in.
    #[inline]
    pub(crate) fn add(&mut self, latency_ns: u64) {
        if self.count & ((1 << self.thinned) - 1) == 0 {
            if self.kept.len() == MOST_KEPT {
                self.thin();
            }
            // After thinning this one may fall between the kept ones; one too many is harmless.
            self.kept.push(latency_ns);
        }
        self.count += 1;
        self.max = self.max.max(latency_ns);
    }

    #[cold]
    fn thin(&mut self) {
        let mut keep = false;
        self.kept.retain(|_| {
            keep = !keep;
            keep
        });
        self.thinned += 1;
    }

    /// Sums the window up and starts the next one. `bytes_each` is the payload of a transaction.
    pub(crate) fn close(&mut self, start_ns: u64, length_ns: u64, bytes_each: u64) -> Window {
        let p50_ns = self.nearest_rank(50);
        let p99_ns = if self.count >= ENOUGH_FOR_P99 { self.nearest_rank(99) } else { None };
        let window = Window {
            start_ns,
            length_ns,
            operations: self.count,
            bytes: self.count * bytes_each,
            p50_ns,
            p99_ns,
            max_ns: (self.count > 0).then_some(self.max),
            noise: None,
        };
        self.kept.clear();
        (self.thinned, self.count, self.max) = (0, 0, 0);
        window
    }

    /// The smallest kept latency that at least `percent` percent of the kept ones do not exceed.
    fn nearest_rank(&mut self, percent: usize) -> Option<u64> {
        let rank = (self.kept.len() * percent).div_ceil(100);
        let index = rank.checked_sub(1)?;
        Some(*self.kept.select_nth_unstable(index).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slices_refuse_what_cannot_be_measured() {
        assert!(Slices::new(0, 1, 0).is_err());
        assert!(Slices::new(0, 0, 1).is_err());
        assert!(Slices::new(0, 1, MOST_WINDOWS + 1).is_err());
        assert!(Slices::new(u64::MAX, u64::MAX, MOST_WINDOWS).is_err());
        assert_eq!(Slices::new(5, 10, 3).unwrap().total(), Duration::from_nanos(35));
    }

    #[test]
    fn a_thinned_window_keeps_its_quantiles_and_its_memory() {
        let mut window = WindowLatencies::default();
        let count = 5 * MOST_KEPT as u64 / 2;
        // A permutation of 0..count: the multiplier has no factor in common with the count.
        (0..count).for_each(|i| window.add(i * 1_000_003 % count));
        assert!(window.kept.len() <= MOST_KEPT && window.kept.len() > MOST_KEPT / 3);
        let closed = window.close(0, 1, 2);
        assert_eq!(
            (closed.operations, closed.bytes, closed.max_ns),
            (count, 2 * count, Some(count - 1))
        );
        let near =
            |value: Option<u64>, of: f64| (value.unwrap() as f64 / count as f64 - of).abs() < 0.001;
        assert!(near(closed.p50_ns, 0.5) && near(closed.p99_ns, 0.99), "{closed:?}");
        assert_eq!(window.close(0, 1, 2).max_ns, None, "the next window starts empty");
    }

    proptest! {
        #[test]
        fn figures_are_those_of_a_sorted_list(mut latencies in prop::collection::vec(0u64..1_000_000, 0..400)) {
            let mut window = WindowLatencies::default();
            latencies.iter().for_each(|latency| window.add(*latency));
            let closed = window.close(7, 11, 3);
            latencies.sort_unstable();
            let rank = |percent: usize| {
                latencies.iter().enumerate().find(|(i, _)| (i + 1) * 100 >= latencies.len() * percent).map(|(_, v)| *v)
            };
            prop_assert_eq!(closed.operations, latencies.len() as u64);
            prop_assert_eq!(closed.p50_ns, rank(50));
            prop_assert_eq!(closed.p99_ns, rank(99).filter(|_| latencies.len() >= 100));
            prop_assert_eq!(closed.max_ns, latencies.last().copied());
        }
    }
}
