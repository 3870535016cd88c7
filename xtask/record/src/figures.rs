//! Figures of samples. Pure.
//!
//! Latencies come from merged histograms, rates from one value a window; percentiles are never averaged.
//! [`Pooled`] is what a cell did in all its boots, [`BootFigures`] what one boot did: comparisons
//! are made between boots, because boots, not samples, are independent.

use anyhow::{Result, bail, ensure};
use evenkeel_engine::samples::{Samples, Unit};
use evenkeel_stats::components::{components, root_mean_square};
use evenkeel_stats::distribution::Distribution;
use evenkeel_stats::moments::Moments;
use evenkeel_stats::quantile::{self, supported};

use crate::observed::{Observed, Shape};
use crate::results::Figures;

/// A transaction longer than this is a stall: an order of magnitude above a scheduler's slice, below the 50 ms
/// for which realtime throttling stops a thread.
pub const STALL_THRESHOLD_NS: u64 = 10_000_000;

/// Steps of [`Pooled::percentile_curve`] for each further nine.
const STEPS_A_NINE: u32 = 8;

/// Observations of one workload of one cell, pooled over boots by merging histograms.
#[derive(Debug)]
pub struct Pooled {
    unit: Unit,
    /// Of all observations, exact.
    moments: Moments,
    /// Of each boot.
    boots: Vec<Moments>,
    /// Root mean square over boots of the standard deviation of windows.
    sd_windows: Option<f64>,
    max: f64,
    body: Body,
}

/// All observations.
#[derive(Debug)]
enum Body {
    Transactions(Distribution),
    /// Ascending.
    Values(Vec<f64>),
}

impl Pooled {
    /// Pools the boots of one cell; every sample must have the same unit. Samples that cannot be decoded are an error that says what
    /// is wrong with them.
    pub fn new(boots: &[&Samples]) -> Result<Pooled> {
        let observed =
            boots.iter().map(|samples| Observed::of(samples)).collect::<Result<Vec<_>>>()?;
        Pooled::of(&observed.iter().collect::<Vec<_>>())
    }

    /// Pools what boots observed; all of them must have the same unit.
    pub fn of(boots: &[&Observed]) -> Result<Pooled> {
        let Some(first) = boots.first() else { bail!("no boots to pool") };
        let unit = first.unit;
        if let Some(other) = boots.iter().find(|boot| boot.unit != unit) {
            bail!("boots are in different units: {} and {}", unit.symbol(), other.unit.symbol());
        }
        let min = boots.iter().map(|boot| boot.min).fold(f64::INFINITY, f64::min);
        let max = boots.iter().map(|boot| boot.max).fold(f64::NEG_INFINITY, f64::max);
        let moments: Vec<Moments> = boots.iter().map(|boot| boot.moments).collect();
        let sd_windows: Vec<f64> = boots.iter().filter_map(|boot| boot.sd_windows).collect();
        Ok(Pooled {
            unit,
            moments: moments.iter().fold(Moments::default(), |all, boot| all.merge(*boot)),
            boots: moments,
            sd_windows: root_mean_square(&sd_windows),
            max,
            body: merge(boots, min, max)?,
        })
    }

    /// The unit of all figures.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Observations in all: transactions, or windows for rates.
    pub fn count(&self) -> u64 {
        self.moments.count
    }

    /// The quantile `q` in 0..=1, interpolated inside the bucket; `None` where the count cannot support it
    /// ([`evenkeel_stats::quantile::supported`]).
    pub fn quantile(&self, q: f64) -> Option<f64> {
        supported(self.count(), q).then(|| self.any_quantile(q))
    }

    /// All figures.
    pub fn figures(&self) -> Figures {
        let spread = components(&self.boots);
        let several = self.count() >= 2;
        let quartiles = self.quantile(0.75).zip(self.quantile(0.25));
        Figures {
            median: self.quantile(0.5),
            mean: Some(self.moments.mean),
            sd_within: spread.within,
            sd_windows: self.sd_windows,
            sd_between: spread.between,
            mad: several.then(|| self.mad()),
            iqr: quartiles.map(|(high, low)| high - low),
            jitter: self.jitter(0.99),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p99_9: self.quantile(0.999),
            p99_99: self.quantile(0.9999),
            p99_999: self.quantile(0.99999),
            max: Some(self.max),
            stall_share: self.stall_share(),
        }
    }

    /// Minimum, quartiles and maximum of all observations; nothing where the count cannot support quartiles.
    pub fn five(&self) -> Option<[f64; 5]> {
        let [low, median, high] = [0.25, 0.5, 0.75].map(|q| self.quantile(q));
        Some([self.any_quantile(0.0), low?, median?, high?, self.max])
    }

    /// Points of the cumulative distribution: (value in the unit, share at or below), at most `points`, ascending, evenly
    /// spaced in share from the smallest observation to the largest.
    pub fn ecdf(&self, points: usize) -> Vec<(f64, f64)> {
        let last = points.saturating_sub(1).max(1) as f64;
        (0..points)
            .map(|point| point as f64 / last)
            .map(|share| (self.any_quantile(share), share))
            .collect()
    }

    /// (q, value), ascending, for a percentile plot whose axis is the number of nines, -log10(1 - q): evenly spaced on that
    /// axis, from q = 0, the smallest observation, to the last step that the count supports.
    pub fn percentile_curve(&self) -> Vec<(f64, f64)> {
        (0..)
            .map(|step| 1.0 - 10f64.powf(-f64::from(step) / f64::from(STEPS_A_NINE)))
            // Below the median the curve only leads up to what the axis is about.
            .take_while(|&q| q < 0.5 || supported(self.count(), q))
            .map(|q| (q, self.any_quantile(q)))
            .collect()
    }

    /// The quantile, whether the count supports it or not.
    pub fn any_quantile(&self, q: f64) -> f64 {
        match &self.body {
            Body::Transactions(distribution) => distribution.quantile(q),
            // `of` lets no empty body through.
            Body::Values(sorted) => {
                quantile::quantile(sorted, q.clamp(0.0, 1.0)).unwrap_or(f64::NAN)
            }
        }
    }

    fn mad(&self) -> f64 {
        match &self.body {
            Body::Transactions(distribution) => distribution.mad(),
            Body::Values(sorted) => quantile::mad(sorted).unwrap_or(f64::NAN),
        }
    }

    /// How far the bad tail, beyond which the share 1 - `q` lies, is from the median: upwards where lower is better, else downwards.
    fn jitter(&self, q: f64) -> Option<f64> {
        let middle = self.quantile(0.5)?;
        match self.unit {
            Unit::Nanoseconds => Some(self.quantile(q)? - middle),
            Unit::BytesPerSecond | Unit::TransactionsPerSecond => {
                Some(middle - self.quantile(1.0 - q)?)
            }
        }
    }

    fn stall_share(&self) -> Option<f64> {
        match &self.body {
            Body::Transactions(distribution) => {
                distribution.share_of_sum_above(STALL_THRESHOLD_NS as f64)
            }
            Body::Values(_) => None,
        }
    }
}

/// All observations of boots that have one unit.
fn merge(boots: &[&Observed], min: f64, max: f64) -> Result<Body> {
    let (mut transactions, mut values) = (Vec::new(), Vec::new());
    for boot in boots {
        match &boot.shape {
            Shape::Values(more) => values.extend_from_slice(more),
            Shape::Transactions(more) => transactions.push(more),
        }
    }
    let Some((first, more)) = transactions.split_first() else {
        return Ok(Body::Values(quantile::sorted(&values)));
    };
    ensure!(values.is_empty(), "some boots have a histogram, others only values");
    Ok(Body::Transactions(first.merged(more)?.distribution(min, max)?))
}

/// Figures of one workload of one boot, in its unit; comparisons take their logs. `None` where the count cannot support one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BootFigures {
    /// Unit of the figures.
    pub unit: Unit,
    /// Observations.
    pub count: u64,
    /// Median.
    pub median: Option<f64>,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation.
    pub sd: Option<f64>,
    /// Median absolute deviation from the median, unscaled.
    pub mad: Option<f64>,
    /// Interquartile range.
    pub iqr: Option<f64>,
    /// p99 - p50; p50 - p1 for rates.
    pub jitter: Option<f64>,
    /// p99.9 - p50; p50 - p0.1 for rates.
    pub far_jitter: Option<f64>,
    /// Share of time spent inside transactions longer than [`STALL_THRESHOLD_NS`]; absent for rates.
    pub stall_share: Option<f64>,
    /// The smallest `stall_share` above zero that this boot could have shown: one transaction of [`STALL_THRESHOLD_NS`] in
    /// its time. Stands for zero where a logarithm is taken.
    pub stall_floor: Option<f64>,
    /// The 95th percentile over time instead of over transactions; absent for rates.
    pub time_p95: Option<f64>,
}

/// Figures of one boot. An error says what is wrong with its samples.
pub fn per_boot(samples: &Samples) -> Result<BootFigures> {
    Observed::of(samples)?.figures()
}

impl Observed {
    /// Its figures. An error says what is wrong with its samples.
    pub fn figures(&self) -> Result<BootFigures> {
        Ok(figures_of(&Pooled::of(&[self])?))
    }
}

/// What verdicts need of a boot.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Its figures.
    pub figures: BootFigures,
    /// Its distribution: quantiles at even steps in ascending order, or the values themselves where they are fewer.
    pub curve: Vec<f64>,
}

/// Quantiles of [`Judged::curve`]: they tell a mode from chance down to a share of half a percent.
const CURVE_POINTS: usize = 400;

/// Figures and distribution of one boot. An error says what is wrong with its samples.
pub fn judged(samples: &Samples) -> Result<Judged> {
    let pooled = Pooled::of(&[&Observed::of(samples)?])?;
    let curve = match &pooled.body {
        Body::Values(sorted) if sorted.len() <= CURVE_POINTS => sorted.clone(),
        _ => {
            let points = (pooled.count() as usize).min(CURVE_POINTS);
            let share = |point: usize| (point as f64 + 0.5) / points as f64;
            (0..points).map(|point| pooled.any_quantile(share(point))).collect()
        }
    };
    Ok(Judged { figures: figures_of(&pooled), curve })
}

fn figures_of(pooled: &Pooled) -> BootFigures {
    let figures = pooled.figures();
    let total = pooled.moments.mean * pooled.moments.count as f64;
    let floor = (STALL_THRESHOLD_NS as f64 / total).min(1.0);
    BootFigures {
        unit: pooled.unit,
        count: pooled.moments.count,
        median: figures.median,
        mean: pooled.moments.mean,
        sd: pooled.moments.sd(),
        mad: figures.mad,
        iqr: figures.iqr,
        jitter: figures.jitter,
        far_jitter: pooled.jitter(0.999),
        stall_share: figures.stall_share,
        stall_floor: figures.stall_share.map(|_| floor),
        time_p95: match &pooled.body {
            Body::Transactions(distribution) => distribution.quantile_of_sum(0.95),
            Body::Values(_) => None,
        },
    }
}
