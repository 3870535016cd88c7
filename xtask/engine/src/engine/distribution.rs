//! A distribution of latencies: histogram for its shape, integers for exact moments.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use crate::samples::{Moments, Samples, Unit};

/// Latencies are held within 1 ns and one hour: a longer one counts as an hour.
pub const LONGEST_NS: u64 = 3_600_000_000_000;

/// Latencies in nanoseconds.
///
/// Sums are kept as integers: count, sum and sum of squares of 2^32 latencies of an hour
/// fit in 128 bits, so that moments are exact where Welford's recurrence rounds at each step,
/// and recording costs two additions.
pub(crate) struct Distribution {
    histogram: Histogram<u64>,
    count: u64,
    sum: u128,
    squares: u128,
    min: u64,
    max: u64,
}

impl Distribution {
    /// An empty distribution of 3 significant digits.
    ///
    /// # Errors
    /// None in practice: the bounds are constants that the histogram accepts.
    pub(crate) fn new() -> Result<Distribution> {
        let histogram =
            Histogram::new_with_bounds(1, LONGEST_NS, 3).context("failed to make a histogram")?;
        Ok(Distribution { histogram, count: 0, sum: 0, squares: 0, min: u64::MAX, max: 0 })
    }

    /// Takes one latency in.
    #[inline]
    pub(crate) fn record(&mut self, latency_ns: u64) {
        let latency_ns = latency_ns.min(LONGEST_NS);
        self.histogram.saturating_record(latency_ns);
        self.count += 1;
        self.sum += u128::from(latency_ns);
        self.squares += u128::from(latency_ns) * u128::from(latency_ns);
        self.min = self.min.min(latency_ns);
        self.max = self.max.max(latency_ns);
    }

    /// Smallest and largest latency, or nothing if there is none.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        (self.count > 0).then_some((self.min, self.max))
    }

    /// Exact moments; only the last conversion to floating point rounds.
    ///
    /// With c the integer part of the mean and r the remainder, the sum of squares about c is
    /// `squares - c * (sum + r)`, and about the mean `r * r / count` less.
    pub(crate) fn moments(&self) -> Moments {
        if self.count == 0 {
            return Moments::default();
        }
        let count = u128::from(self.count);
        let (whole, rest) = (self.sum / count, self.sum % count);
        let about_whole = self.squares - whole * (self.sum + rest);
        let fraction = rest as f64 / self.count as f64;
        Moments {
            count: self.count,
            mean: whole as f64 + fraction,
            m2: (about_whole as f64 - rest as f64 * fraction).max(0.0),
        }
    }

    /// The histogram as text: V2, compressed, base64.
    ///
    /// # Errors
    /// None in practice: it is written to memory.
    pub(crate) fn encoded(&self) -> Result<String> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.histogram, &mut bytes)
            .map_err(|error| anyhow::anyhow!("failed to write a histogram: {error}"))?;
        Ok(STANDARD.encode(bytes))
    }
}

/// Samples of transactions that somebody else timed, in nanoseconds: of their time and of windows nothing is known. `None` where there is
/// none.
///
/// # Errors
/// None in practice: bounds are constants, and it is written to memory.
pub fn timed_by_others(latencies_ns: impl IntoIterator<Item = u64>) -> Result<Option<Samples>> {
    let mut seen = Distribution::new()?;
    latencies_ns.into_iter().for_each(|latency| seen.record(latency));
    let Some((min, max)) = seen.range() else { return Ok(None) };
    Ok(Some(Samples {
        unit: Unit::Nanoseconds,
        moments: seen.moments(),
        histogram: Some(seen.encoded()?),
        min: min as f64,
        max: max as f64,
        values: Vec::new(),
        windows: Vec::new(),
        began_monotonic_ns: 0,
        measured_ns: u64::try_from(seen.sum).unwrap_or(u64::MAX),
        crossed_operations: 0,
        crossed_bytes: 0,
        closed_view: None,
        loss: None,
        raw: None,
    }))
}

/// Reads back what [`Distribution::encoded`] wrote.
#[cfg(test)]
pub(crate) fn decoded(text: &str) -> Histogram<u64> {
    let bytes = STANDARD.decode(text).unwrap();
    hdrhistogram::serialization::Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_latency_of_hours_counts_as_one_hour() {
        let mut seen = Distribution::new().unwrap();
        seen.record(u64::MAX);
        seen.record(0);
        assert_eq!(seen.range(), Some((0, LONGEST_NS)));
        assert_eq!(seen.moments().mean, LONGEST_NS as f64 / 2.0);
        assert_eq!(decoded(&seen.encoded().unwrap()).len(), 2);
    }

    #[test]
    fn what_others_timed_is_held_as_our_own_transactions_are() {
        assert_eq!(timed_by_others([]).unwrap(), None);
        let samples = timed_by_others([20_000, 30_000, 25_000]).unwrap().unwrap();
        assert_eq!((samples.min, samples.max, samples.moments.mean), (20e3, 30e3, 25e3));
        assert_eq!(decoded(&samples.histogram.unwrap()).len(), 3);
    }

    #[test]
    fn moments_stay_exact_where_floating_point_sums_cancel() {
        // A spread of 1 ns about a large mean: a sum of squares in f64 would lose it altogether.
        let mut seen = Distribution::new().unwrap();
        for i in 0..1_000_000_u64 {
            seen.record(1_000_000_000_000 + i % 3);
        }
        let moments = seen.moments();
        // 333334 zeros, 333333 ones, 333333 twos about their mean.
        let (count, sum, squares) = (1e6, 333_333.0 * 3.0, 333_333.0 * 5.0);
        assert!((moments.m2 - (squares - sum * sum / count)).abs() < 1e-3, "{moments:?}");
    }

    proptest! {
        #[test]
        fn moments_are_those_of_two_passes(latencies in prop::collection::vec(0u64..10_000_000, 1..300)) {
            let mut seen = Distribution::new().unwrap();
            latencies.iter().for_each(|latency| seen.record(*latency));
            let mean = latencies.iter().sum::<u64>() as f64 / latencies.len() as f64;
            let m2: f64 = latencies.iter().map(|latency| (*latency as f64 - mean).powi(2)).sum();
            let moments = seen.moments();
            prop_assert_eq!(moments.count, latencies.len() as u64);
            prop_assert!((moments.mean - mean).abs() <= 1e-9 * mean);
            prop_assert!((moments.m2 - m2).abs() <= 1e-9 * m2 + 1e-3);
            let histogram = decoded(&seen.encoded().unwrap());
            prop_assert_eq!(histogram.len(), moments.count);
            let (min, max) = seen.range().unwrap();
            prop_assert_eq!(Some(&min), latencies.iter().min());
            prop_assert_eq!(Some(&max), latencies.iter().max());
            prop_assert!(min as f64 <= moments.mean && moments.mean <= max as f64);
        }
    }
}
