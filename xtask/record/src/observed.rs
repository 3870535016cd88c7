//! One boot's samples, decoded and checked against themselves.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evenkeel_engine::samples::{Samples, Unit};
use evenkeel_stats::moments::Moments;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use self::latencies::{HEADER_BYTES, Latencies};

mod latencies;

/// The first bytes of a compressed and of a plain V2 histogram.
const COMPRESSED: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
const PLAIN: [u8; 4] = 0x1c84_9313_u32.to_be_bytes();

/// More than a histogram of three digits over all of `u64` takes unpacked; a larger one is not ours.
const UNPACKED_BYTES: u64 = 1 << 20;

/// What one workload observed in one boot.
#[derive(Debug)]
pub struct Observed {
    pub(crate) unit: Unit,
    pub(crate) moments: Moments,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Standard deviation of the windows' medians or rates.
    pub(crate) sd_windows: Option<f64>,
    pub(crate) shape: Shape,
}

/// The observations themselves.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Transactions, in nanoseconds.
    Transactions(Latencies),
    /// One value a window, in the unit.
    Values(Vec<f64>),
}

impl Observed {
    /// Decodes samples.
    ///
    /// # Errors
    /// As [`histogram`].
    pub fn of(samples: &Samples) -> Result<Observed> {
        let shape = match unpacked(samples)? {
            Some(plain) => {
                let latencies = match Latencies::read(&plain) {
                    Some(latencies) => latencies,
                    None => Latencies::of(&decode(&plain)?),
                };
                holds(latencies.count(), samples)?;
                Shape::Transactions(latencies)
            }
            None => Shape::Values(samples.values.clone()),
        };
        let sd_windows = match &shape {
            Shape::Transactions(_) => {
                let medians = samples.windows.iter().filter_map(|window| window.p50_ns);
                Moments::of(&medians.map(|ns| ns as f64).collect::<Vec<_>>()).sd()
            }
            Shape::Values(values) => Moments::of(values).sd(),
        };
        let recorded = samples.moments;
        Ok(Observed {
            unit: samples.unit,
            moments: Moments { count: recorded.count, mean: recorded.mean, m2: recorded.m2 },
            min: samples.min,
            max: samples.max,
            sd_windows,
            shape,
        })
    }
}

/// The histogram of samples that have one.
///
/// # Errors
/// Nothing was observed, or the samples disagree with themselves. Says what is wrong with them, not whose they are.
pub fn histogram(samples: &Samples) -> Result<Option<Histogram<u64>>> {
    let Some(plain) = unpacked(samples)? else { return Ok(None) };
    let histogram = decode(&plain)?;
    holds(histogram.len(), samples)?;
    Ok(Some(histogram))
}

fn holds(held: u64, samples: &Samples) -> Result<()> {
    let count = samples.moments.count;
    ensure!(held == count, "histogram holds {held} transactions, its moments {count}");
    Ok(())
}

/// The plain V2 histogram of samples that have one, as bytes. Their text, a base64 HdrHistogram (V2, compressed), may come from another machine: no
/// length in it is believed.
fn unpacked(samples: &Samples) -> Result<Option<Vec<u8>>> {
    let count = samples.moments.count;
    ensure!(count > 0, "nothing was observed");
    let Some(text) = &samples.histogram else {
        let held = samples.values.len() as u64;
        ensure!(held == count, "{held} values, but moments of {count}");
        return Ok(None);
    };
    let unit = samples.unit.symbol();
    ensure!(samples.unit == Unit::Nanoseconds, "a histogram holds nanoseconds, not {unit}");
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
    Ok(Some(plain))
}

/// A plain V2 histogram, decoded.
fn decode(mut plain: &[u8]) -> Result<Histogram<u64>> {
    Deserializer::new()
        .deserialize(&mut plain)
        .map_err(|error| anyhow::anyhow!("histogram cannot be read: {error}"))
}
