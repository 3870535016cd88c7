//! What recording a transaction costs on this machine: a microbenchmark.

use std::hint::black_box;

use anyhow::Result;

use super::recorder::Recorder;
use super::window::Slices;
use crate::clock;

/// What recording costs, nanoseconds a transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordingCost {
    /// Reading the clock, the part that no recorder can avoid.
    pub clock_ns: f64,
    /// All that happens between two transactions: the clock, the log, the ends of windows.
    pub between_ns: f64,
    /// All of it amortised: with the histogram, moments and quantiles that are computed after the measuring.
    pub total_ns: f64,
}

/// Transactions of a batch: five windows of 20 ms at 10 us each.
const BATCH: u32 = 10_000;

/// Batches: the cheapest counts, as the one that was disturbed least.
const BATCHES: u32 = 100;

/// Measures what recording costs over made-up transactions; takes some tens of milliseconds.
///
/// # Errors
/// None in practice: the sizes are constants that the recorder accepts.
pub fn recording_cost() -> Result<RecordingCost> {
    let mut recorder = Recorder::new(Slices::new(0, 20_000_000, 1_000)?, 2)?;
    recorder.begin(0);
    let (mut made_up_ns, mut noise) = (0, 1_u64);
    let mut least = RecordingCost { clock_ns: f64::MAX, between_ns: f64::MAX, total_ns: f64::MAX };
    for _ in 0..BATCHES {
        let start = clock::now();
        for _ in 0..BATCH {
            black_box(clock::now());
        }
        let read = clock::now();
        for _ in 0..BATCH {
            black_box(clock::now());
            // xorshift (Marsaglia, 2003): latencies that no branch predictor learns.
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let latency_ns = 9_000 + noise % 2_048;
            made_up_ns += latency_ns;
            black_box(recorder.record(made_up_ns, latency_ns));
        }
        let recorded = clock::now();
        recorder.sum_up();
        let summed_up = clock::now();

        let each = |ns: u64| ns as f64 / f64::from(BATCH);
        least.clock_ns = least.clock_ns.min(each(read - start));
        least.between_ns = least.between_ns.min(each(recorded - read));
        least.total_ns = least.total_ns.min(each(summed_up - read));
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_costs_more_than_its_parts() {
        let cost = recording_cost().unwrap();
        assert!(cost.clock_ns > 0.0, "{cost:?}");
        assert!(cost.between_ns > 0.0 && cost.total_ns >= cost.between_ns, "{cost:?}");
    }
}
