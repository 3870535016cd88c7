//! One boot's samples, decoded and checked against themselves.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evenkeel_agent::samples::{Samples, Unit};
use evenkeel_stats::distribution::{Bucket, Distribution};
use evenkeel_stats::moments::Moments;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

/// The first bytes of a compressed and of a plain V2 histogram.
const COMPRESSED: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
const PLAIN: [u8; 4] = 0x1c84_9313_u32.to_be_bytes();

/// Bytes before the counts of a plain V2 histogram.
const HEADER_BYTES: usize = 40;

/// More than a histogram of three digits over all of `u64` takes unpacked; a larger one is not ours.
const UNPACKED_BYTES: u64 = 1 << 20;

/// What one workload observed in one boot.
pub(super) struct Observed {
    pub(super) unit: Unit,
    pub(super) moments: Moments,
    pub(super) min: f64,
    pub(super) max: f64,
    /// Standard deviation of the windows' medians or rates.
    pub(super) sd_windows: Option<f64>,
    pub(super) shape: Shape,
}

/// The observations themselves.
pub(super) enum Shape {
    /// Transactions, in nanoseconds.
    Transactions(Histogram<u64>),
    /// One value a window, in the unit.
    Values(Vec<f64>),
}

impl Observed {
    /// Decodes samples. Errors say what is wrong with them, not whose they are.
    pub(super) fn of(samples: &Samples) -> Result<Observed> {
        let recorded = samples.moments;
        ensure!(recorded.count > 0, "nothing was observed");
        let moments = Moments { count: recorded.count, mean: recorded.mean, m2: recorded.m2 };
        let (shape, sd_windows) = match &samples.histogram {
            Some(text) => {
                let unit = samples.unit.symbol();
                ensure!(
                    samples.unit == Unit::Nanoseconds,
                    "a histogram holds nanoseconds, not {unit}"
                );
                let histogram = decode(text)?;
                let held = histogram.len();
                ensure!(
                    held == moments.count,
                    "histogram holds {held} transactions, its moments {}",
                    moments.count
                );
                let medians: Vec<f64> = samples
                    .windows
                    .iter()
                    .filter_map(|window| window.p50_ns.map(|ns| ns as f64))
                    .collect();
                (Shape::Transactions(histogram), Moments::of(&medians).sd())
            }
            None => {
                let held = samples.values.len() as u64;
                ensure!(held == moments.count, "{held} values, but moments of {}", moments.count);
                (Shape::Values(samples.values.clone()), Moments::of(&samples.values).sd())
            }
        };
        Ok(Observed {
            unit: samples.unit,
            moments,
            min: samples.min,
            max: samples.max,
            sd_windows,
            shape,
        })
    }
}

/// Decodes a base64 HdrHistogram (V2, compressed). The text may come from another machine: no length in it is believed.
fn decode(text: &str) -> Result<Histogram<u64>> {
    let bytes = STANDARD.decode(text).context("histogram is not base64")?;
    let Some((cookie, rest)) = bytes.split_first_chunk::<4>() else {
        bail!("histogram is cut short")
    };
    ensure!(*cookie == COMPRESSED, "histogram is not in the V2 compressed format");
    let Some((_length, packed)) = rest.split_first_chunk::<4>() else {
        bail!("histogram is cut short")
    };
    let mut plain = Vec::new();
    flate2::read::ZlibDecoder::new(packed)
        .take(UNPACKED_BYTES)
        .read_to_end(&mut plain)
        .context("histogram cannot be unpacked")?;
    ensure!(plain.starts_with(&PLAIN), "histogram is not in the V2 format");
    let length = plain.get(4..8).and_then(|at| at.try_into().ok()).map(u32::from_be_bytes);
    let fits =
        length.is_some_and(|length| length as usize <= plain.len().saturating_sub(HEADER_BYTES));
    ensure!(fits, "histogram is cut short");
    Deserializer::new()
        .deserialize(&mut plain.as_slice())
        .map_err(|error| anyhow::anyhow!("histogram cannot be read: {error}"))
}

/// The histogram's buckets as a distribution. A bucket of whole nanoseconds `a..=b` stands for `a - 0.5 .. b + 0.5`, so that its
/// middle is the mean of what it holds.
pub(super) fn distribution(histogram: &Histogram<u64>, min: f64, max: f64) -> Result<Distribution> {
    let buckets: Vec<Bucket> = histogram
        .iter_recorded()
        .map(|step| Bucket {
            low: histogram.lowest_equivalent(step.value_iterated_to()) as f64 - 0.5,
            high: histogram.highest_equivalent(step.value_iterated_to()) as f64 + 0.5,
            count: step.count_at_value(),
        })
        .collect();
    Ok(Distribution::new(&buckets, min, max)?)
}
