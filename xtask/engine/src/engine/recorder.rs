//! Records the transactions of a job while disturbing them as little as possible.
//!
//! Between two transactions there is one clock read and one write to a log that was touched
//! beforehand. Histogram, moments and the quantiles of windows are computed from the log after the
//! measuring. Only a run that outgrows the log (2^21 entries, some 20 s of a fast loopback) sums up in
//! between; [`Recorder::record`] says so, and the time that it took goes into no latency.

use anyhow::Result;

use super::distribution::Distribution;
use super::window::{Slices, WindowLatencies};
use crate::samples::{ClosedView, Samples, Unit, Window};

/// Entries of the log, at most: 16 MiB.
const LONGEST_LOG: u64 = 1 << 21;

/// Entries of the log that are made for each second: no transaction takes less than 2 us.
const LOG_PER_SECOND: u64 = 500_000;

/// In the log: here a window ended. No latency has this value.
const WINDOW_ENDED: u64 = u64::MAX;

/// The record of one job's transactions.
pub(crate) struct Recorder {
    slices: Slices,
    bytes_each: u64,
    began_ns: u64,
    window_ends_ns: u64,
    /// Windows that have not ended, the current one included.
    windows_left: u32,
    log: Vec<u64>,
    summary: Summary,
}

/// What has been computed from the log.
struct Summary {
    all: Distribution,
    window: WindowLatencies,
    windows: Vec<Window>,
}

impl Recorder {
    /// A recorder for these slices of transactions with a payload of `bytes_each`.
    ///
    /// # Errors
    /// None in practice: see [`Distribution::new`].
    pub(crate) fn new(slices: Slices, bytes_each: u64) -> Result<Recorder> {
        let wanted = slices.measured_ns().div_ceil(1_000_000_000) * LOG_PER_SECOND;
        let length = wanted.min(LONGEST_LOG) as usize;
        // Written once, so that no page is touched for the first time while measuring.
        let mut log = vec![WINDOW_ENDED; length];
        log.clear();
        Ok(Recorder {
            slices,
            bytes_each,
            began_ns: 0,
            window_ends_ns: 0,
            windows_left: slices.windows,
            log,
            summary: Summary {
                all: Distribution::new()?,
                window: WindowLatencies::default(),
                windows: Vec::with_capacity(slices.windows as usize),
            },
        })
    }

    /// The measured time begins; to be called once, before the first record.
    pub(crate) fn begin(&mut self, at_ns: u64) {
        self.began_ns = at_ns;
        self.window_ends_ns = at_ns + self.slices.window_ns;
    }

    /// When the measured time ends.
    pub(crate) fn ends_ns(&self) -> u64 {
        self.began_ns + self.slices.measured_ns()
    }

    /// Takes in a transaction that ended at `ended_ns`. It belongs to the window in which it
    /// ended; one that ended after the last window belongs to that, or a stall at the end would vanish.
    ///
    /// Returns whether time was spent on summing up: then the caller must read the clock again.
    #[inline]
    pub(crate) fn record(&mut self, ended_ns: u64, latency_ns: u64) -> bool {
        let mut paused = false;
        while ended_ns >= self.window_ends_ns && self.windows_left > 1 {
            self.windows_left -= 1;
            self.window_ends_ns += self.slices.window_ns;
            paused |= self.push(WINDOW_ENDED);
        }
        self.push(latency_ns.min(WINDOW_ENDED - 1)) | paused
    }

    #[inline]
    fn push(&mut self, entry: u64) -> bool {
        // Never grows: it is emptied before it is full.
        self.log.push(entry);
        let full = self.log.len() == self.log.capacity();
        if full {
            self.sum_up();
        }
        full
    }

    /// Computes everything from the log, and empties it.
    #[cold]
    pub(crate) fn sum_up(&mut self) {
        let Summary { all, window, windows } = &mut self.summary;
        let length_ns = self.slices.window_ns;
        for entry in self.log.drain(..) {
            if entry == WINDOW_ENDED {
                let start_ns = windows.len() as u64 * length_ns;
                windows.push(window.close(start_ns, length_ns, self.bytes_each));
            } else {
                all.record(entry);
                window.add(entry);
            }
        }
    }

    /// The samples of a job that ended at `ended_ns`; `crossed` transactions crossed the path, warm-up included.
    ///
    /// # Errors
    /// No transaction was measured.
    pub(crate) fn finish(
        mut self,
        ended_ns: u64,
        crossed: u64,
        closed_view: Option<ClosedView>,
    ) -> Result<Samples> {
        while self.windows_left > 1 {
            self.windows_left -= 1;
            self.push(WINDOW_ENDED);
        }
        self.sum_up();
        let Summary { all, mut window, mut windows } = self.summary;
        let measured_ns = ended_ns.saturating_sub(self.began_ns).max(self.slices.measured_ns());
        let start_ns = windows.len() as u64 * self.slices.window_ns;
        windows.push(window.close(start_ns, measured_ns - start_ns, self.bytes_each));

        let (min, max) =
            all.range().ok_or_else(|| anyhow::anyhow!("no transaction was measured"))?;
        Ok(Samples {
            unit: Unit::Nanoseconds,
            moments: all.moments(),
            histogram: Some(all.encoded()?),
            min: min as f64,
            max: max as f64,
            values: Vec::new(),
            windows,
            began_monotonic_ns: self.began_ns,
            measured_ns,
            crossed_operations: crossed,
            crossed_bytes: crossed * self.bytes_each,
            closed_view,
            loss: None,
            raw: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::distribution::decoded;
    use proptest::prelude::*;

    /// What windows must hold, computed the slow way.
    fn naive(slices: Slices, ended: &[u64]) -> Vec<u64> {
        let mut counts = vec![0; slices.windows as usize];
        let last = counts.len() - 1;
        for at in ended {
            counts[((at / slices.window_ns) as usize).min(last)] += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn every_transaction_is_in_the_window_in_which_it_ended(
            latencies in prop::collection::vec(0u64..5_000, 1..500),
            window_ns in 1u64..3_000,
            windows in 1u32..40,
            log in 1usize..64,
        ) {
            let slices = Slices::new(0, window_ns, windows).unwrap();
            let mut recorder = Recorder::new(slices, 3).unwrap();
            // A short log sums up in between; what comes out must not depend on that.
            recorder.log = Vec::with_capacity(log);
            recorder.begin(1_000);
            let mut now = 1_000;
            let mut ended = Vec::new();
            for latency in &latencies {
                now += latency;
                ended.push(now - 1_000);
                recorder.record(now, *latency);
            }
            let samples = recorder.finish(now, 1_000_000, None).unwrap();
            let operations: Vec<u64> = samples.windows.iter().map(|w| w.operations).collect();
            prop_assert_eq!(&operations, &naive(slices, &ended));
            prop_assert_eq!(operations.iter().sum::<u64>(), samples.moments.count);
            prop_assert_eq!(samples.windows.iter().map(|w| w.bytes).sum::<u64>(), 3 * samples.moments.count);
            prop_assert_eq!(samples.windows.iter().map(|w| w.length_ns).sum::<u64>(), samples.measured_ns);
            prop_assert_eq!(decoded(samples.histogram.as_deref().unwrap()).len(), samples.moments.count);
            let longest = samples.windows.iter().filter_map(|w| w.max_ns).max().unwrap();
            prop_assert_eq!(longest as f64, samples.max);
            prop_assert!(samples.windows.windows(2).all(|w| w[0].start_ns + w[0].length_ns == w[1].start_ns));
        }
    }

    #[test]
    fn a_job_without_transactions_is_an_error() {
        let recorder = Recorder::new(Slices::new(0, 10, 3).unwrap(), 1).unwrap();
        assert!(recorder.finish(30, 0, None).is_err());
    }
}
