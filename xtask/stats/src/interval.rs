//! Confidence intervals of a mean, of a difference of two means, and of a ratio of two geometric means, for as few
//! as two observations a side.
//!
//! The observations are figures of boots, one each: boots are the unit, and they are few and dear. With such counts a
//! percentile bootstrap is far too narrow. Simulated coverage of nominal 95 % intervals on logs, 800 to 1,500 pairs of
//! groups a row, normal / Student t with 4 degrees of freedom / gamma(2):
//!
//! | boots a side | percentile bootstrap | bootstrap-t | Welch |
//! |---|---|---|---|
//! | 2 | 67 / 67 / 67 % | unbounded | 98 / 98 / 98 % |
//! | 3 | 78 / 79 / 81 % | 98 / 99 / 98 % | 95 / 98 / 97 % |
//! | 5 | 87 / 85 / 87 % | 96 / 94 / 96 % | 96 / 96 / 97 % |
//! | 8 | 92 / 91 / 89 % | 96 / 94 / 93 % | 96 / 96 / 95 % |
//! | 20 | 94 / 95 / 94 % | 96 / 95 / 95 % | 95 / 97 / 96 % |
//!
//! At 3 and 5 boots the bootstrap-t interval is also 1.1 to 1.6 times as wide at the median and up to 6 times at its
//! 95th percentile, so Welch's interval serves below [`RESAMPLED_FROM`] observations a side. From there on it is the
//! studentised bootstrap (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 12.5): where one side is
//! skewed and three times as wide as the other, Welch misses on one side 6.6 / 6.1 / 5.6 % of the time at 8 / 12 / 20 boots, the
//! bootstrap 5.7 / 4.7 / 4.5 %.

use std::fmt;

use statrs::distribution::{Beta, Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

use crate::moments::Moments;
use crate::quantile;

/// Observations a side from which the bootstrap takes over from Student's law.
pub const RESAMPLED_FROM: u64 = 8;

/// Resamples of the bootstrap: quantile 0.025 of 1,999 is an order statistic.
const RESAMPLES: usize = 1999;

/// An estimate with the ends of its two-sided 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// The estimate.
    pub estimate: f64,
    /// Upper end.
    pub high: f64,
}

/// Why there is no interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoInterval {
    /// A group has fewer observations than the interval takes: two, of a spread three. Who asked knows how many there are.
    TooFew,
    /// An observation is zero or below, or not finite: it has no logarithm.
    NotPositive,
    /// All observations of each group are equal: they say nothing about how they vary.
    NoSpread,
}

impl fmt::Display for NoInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoInterval::TooFew => "too few boots of a side",
            NoInterval::NotPositive => "a boot's figure is not above zero",
            NoInterval::NoSpread => "all boots of each side have the same figure",
        })
    }
}

impl std::error::Error for NoInterval {}

/// Interval of the mean of `values`.
pub fn mean(values: &[f64], seed: u64) -> Result<Interval, NoInterval> {
    studentised(&[Group { values, sign: 1.0 }], seed)
}

/// Interval of mean(`to`) - mean(`from`).
pub fn difference(from: &[f64], to: &[f64], seed: u64) -> Result<Interval, NoInterval> {
    studentised(&[Group { values: from, sign: -1.0 }, Group { values: to, sign: 1.0 }], seed)
}

/// Interval of the geometric mean of positive `values`.
pub fn geometric_mean(values: &[f64], seed: u64) -> Result<Interval, NoInterval> {
    mean(&logs(values)?, seed).map(Interval::exp)
}

/// Interval of the median of `values`: between order statistics, by the sign test (Conover 1999, Practical Nonparametric
/// Statistics, chapter 3.2). It assumes no law and is not moved by an observation that lies far off; its coverage is at least 95 %.
///
/// # Errors
/// Fewer than six values: even their whole range covers the median less often.
pub fn median(values: &[f64]) -> Result<Interval, NoInterval> {
    let sorted = quantile::sorted(values);
    let count = sorted.len() as u64;
    let law = Binomial::new(0.5, count).map_err(|_| NoInterval::TooFew)?;
    // How many may lie below the lower end: the most whose probability is at most 0.025.
    let below = (0..count).take_while(|&below| law.cdf(below) <= 0.025).count();
    let estimate = quantile::median(&sorted).ok_or(NoInterval::TooFew)?;
    let first = below.checked_sub(1).ok_or(NoInterval::TooFew)?;
    Ok(Interval { low: sorted[first], estimate, high: sorted[sorted.len() - 1 - first] })
}

/// Interval of a share of which `hits` of `trials` were seen: exact, by Clopper & Pearson (1934), The use of confidence or fiducial limits
/// illustrated in the case of the binomial. Both ends leave 2.5 %; where nothing or everything was seen, the only end leaves 5 %, so that
/// 299 trials without a hit say "under 1 %".
///
/// # Errors
/// No trials.
pub fn share(hits: u64, trials: u64) -> Result<Interval, NoInterval> {
    let misses = trials.checked_sub(hits).filter(|_| trials > 0).ok_or(NoInterval::TooFew)?;
    let outside = if hits == 0 || misses == 0 { 0.05 } else { 0.025 };
    let end = |a: u64, b: u64, q: f64| {
        Beta::new(a as f64, b as f64).map(|law| law.inverse_cdf(q)).map_err(|_| NoInterval::TooFew)
    };
    Ok(Interval {
        low: if hits == 0 { 0.0 } else { end(hits, misses + 1, outside)? },
        estimate: hits as f64 / trials as f64,
        high: if misses == 0 { 1.0 } else { end(hits + 1, misses, 1.0 - outside)? },
    })
}

/// The share that `hits` of `trials` leave possible at 95 % confidence: the upper end alone, which leaves 5 % above it (as [`share`], one-sided).
///
/// # Errors
/// No trials.
pub fn share_at_most(hits: u64, trials: u64) -> Result<f64, NoInterval> {
    let misses = trials.checked_sub(hits).filter(|_| trials > 0).ok_or(NoInterval::TooFew)?;
    if misses == 0 {
        return Ok(1.0);
    }
    let law = Beta::new((hits + 1) as f64, misses as f64).map_err(|_| NoInterval::TooFew)?;
    Ok(law.inverse_cdf(0.95))
}

/// Interval of the ratio of geometric means, `to` / `from`, of positive values: the difference of the means of their logs.
pub fn ratio(from: &[f64], to: &[f64], seed: u64) -> Result<Interval, NoInterval> {
    difference(&logs(from)?, &logs(to)?, seed).map(Interval::exp)
}

/// Two-sided p-value of equal geometric means of positive values: Welch's (1947) on their logs, whatever the count. Of fewer than [`RESAMPLED_FROM`]
/// observations a side it is below 0.05 where [`ratio`] does not hold 1, and nowhere else.
///
/// # Errors
/// As of [`ratio`].
pub fn p_of_ratio(from: &[f64], to: &[f64]) -> Result<f64, NoInterval> {
    let (from, to) = (logs(from)?, logs(to)?);
    let found = welch(&[Group { values: &from, sign: -1.0 }, Group { values: &to, sign: 1.0 }])?;
    let law = StudentsT::new(0.0, 1.0, degrees_of_freedom(&found.moments));
    // Unreachable for such counts; no evidence would be the honest answer.
    Ok(law.map_or(1.0, |law| (2.0 * law.sf((found.estimate / found.error).abs())).min(1.0)))
}

/// The ratio of geometric means alone, for which one positive value a side is enough; `None` otherwise.
pub fn ratio_of_geometric_means(from: &[f64], to: &[f64]) -> Option<f64> {
    if from.is_empty() || to.is_empty() {
        return None;
    }
    let [from, to] = [logs(from).ok()?, logs(to).ok()?].map(|logs| Moments::of(&logs).mean);
    Some((to - from).exp())
}

/// Interval of the ratio of the standard deviations *of* the observations, `to` / `from`: how much wider one group lies than the
/// other, where [`ratio`] compares how high they lie. Needs three observations a side.
///
/// It is Student's interval of the jackknife of the logarithm of the standard deviation (Miller 1968, Jackknifing variances,
/// Annals of Mathematical Statistics 39), about the plain ratio; unlike an F interval it does not lean on a normal law. Simulated
/// coverage of nominal 95 % intervals, 1,500 pairs of equal groups a row, normal / Student t with 4 degrees of freedom /
/// lognormal of sigma 0.5 / gamma(2), and the median factor from the ratio to either end for the normal law:
///
/// | boots a side | coverage | factor |
/// |---|---|---|
/// | 3 | 99 / 99 / 99 / 99 % | 61 |
/// | 5 | 97 / 96 / 96 / 94 % | 4.4 |
/// | 8 | 94 / 95 / 92 / 93 % | 2.5 |
/// | 20 | 95 / 94 / 92 / 92 % | 1.6 |
///
/// # Errors
/// A side has fewer than three observations, or all but at most one of them are equal.
pub fn ratio_of_sds(from: &[f64], to: &[f64]) -> Result<Interval, NoInterval> {
    let groups =
        [log_sd_pseudo_values(from)?, log_sd_pseudo_values(to)?].map(|values| Moments::of(&values));
    let estimate = log_sd(to)? - log_sd(from)?;
    let error = standard_error(&groups);
    if !(error.is_finite() && error > 0.0) {
        return Err(NoInterval::NoSpread);
    }
    let reach = student_quantile(0.975, degrees_of_freedom(&groups)) * error;
    Ok(Interval { low: estimate - reach, estimate, high: estimate + reach }.exp())
}

/// The logarithm of a group's standard deviation as one pseudo-value an observation (Tukey 1958): their mean estimates it without most
/// of the bias of few observations, and their spread is its error.
///
/// # Errors
/// Fewer than three observations, or all but at most one of them are equal.
pub fn log_sd_pseudo_values(values: &[f64]) -> Result<Vec<f64>, NoInterval> {
    if values.len() < 3 {
        return Err(NoInterval::TooFew);
    }
    let (all, count) = (log_sd(values)?, values.len() as f64);
    let without = |left_out| {
        let others = [&values[..left_out], &values[left_out + 1..]].concat();
        Ok(count * all - (count - 1.0) * log_sd(&others)?)
    };
    (0..values.len()).map(without).collect()
}

fn log_sd(values: &[f64]) -> Result<f64, NoInterval> {
    let sd = Moments::of(values).sd().filter(|sd| sd.is_finite() && *sd > 0.0);
    sd.map(f64::ln).ok_or(NoInterval::NoSpread)
}

impl Interval {
    fn exp(self) -> Interval {
        Interval { low: self.low.exp(), estimate: self.estimate.exp(), high: self.high.exp() }
    }
}

fn logs(values: &[f64]) -> Result<Vec<f64>, NoInterval> {
    let log = |&value: &f64| (value.is_finite() && value > 0.0).then(|| value.ln());
    values.iter().map(log).collect::<Option<_>>().ok_or(NoInterval::NotPositive)
}

/// A group of observations whose mean enters the estimate with this sign.
struct Group<'a> {
    values: &'a [f64],
    sign: f64,
}

/// A signed sum of groups' means.
struct Sum {
    moments: Vec<Moments>,
    estimate: f64,
    /// Its standard error; above what rounding leaves.
    error: f64,
}

fn welch(groups: &[Group<'_>]) -> Result<Sum, NoInterval> {
    let moments: Vec<Moments> = groups.iter().map(|group| Moments::of(group.values)).collect();
    if moments.iter().any(|group| group.count < 2) {
        return Err(NoInterval::TooFew);
    }
    let estimate: f64 = groups.iter().zip(&moments).map(|(group, of)| group.sign * of.mean).sum();
    let error = standard_error(&moments);
    // Rounding alone leaves this much in the variance of equal values.
    let rounding = moments.iter().map(|of| of.mean.abs()).sum::<f64>() * f64::EPSILON * 4.0;
    if error <= rounding {
        return Err(NoInterval::NoSpread);
    }
    Ok(Sum { moments, estimate, error })
}

/// Interval of the signed sum of the groups' means.
fn studentised(groups: &[Group<'_>], seed: u64) -> Result<Interval, NoInterval> {
    let Sum { moments, estimate, error } = welch(groups)?;
    let smallest = moments.iter().map(|of| of.count).min().unwrap_or(0);
    let bootstrap =
        (smallest >= RESAMPLED_FROM).then(|| resampled(groups, estimate, seed)).flatten();
    let [low, high] = bootstrap.unwrap_or_else(|| {
        let reach = student_quantile(0.975, degrees_of_freedom(&moments));
        [-reach, reach]
    });
    Ok(Interval { low: estimate - high * error, estimate, high: estimate - low * error })
}

/// Standard error of the sum of independent means.
fn standard_error(groups: &[Moments]) -> f64 {
    groups.iter().map(squared_error).sum::<f64>().sqrt()
}

fn squared_error(group: &Moments) -> f64 {
    group.variance().unwrap_or(0.0) / group.count as f64
}

/// Degrees of freedom after Welch (1947) and Satterthwaite (1946); n - 1 for one group.
fn degrees_of_freedom(groups: &[Moments]) -> f64 {
    let errors = groups.iter().map(squared_error);
    let parts = groups.iter().map(|group| squared_error(group).powi(2) / (group.count - 1) as f64);
    errors.sum::<f64>().powi(2) / parts.sum::<f64>()
}

/// Quantile of Student's law.
fn student_quantile(q: f64, degrees_of_freedom: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, degrees_of_freedom) {
        Ok(law) => law.inverse_cdf(q),
        // Unreachable for the counts that `studentised` lets through; an unbounded interval would be the honest answer.
        Err(_) => f64::INFINITY,
    }
}

/// Quantiles 0.025 and 0.975 of the studentised estimate over resamples. `None` where too many resamples
/// of tied values have no spread, so that a quantile is not finite.
fn resampled(groups: &[Group<'_>], estimate: f64, seed: u64) -> Option<[f64; 2]> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut statistics: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = groups.iter().map(|group| {
                let mut moments = Moments::default();
                group
                    .values
                    .iter()
                    .for_each(|_| moments.push(group.values[random.usize(..group.values.len())]));
                moments
            });
            let drawn: Vec<Moments> = drawn.collect();
            let apart: f64 =
                groups.iter().zip(&drawn).map(|(group, of)| group.sign * of.mean).sum::<f64>()
                    - estimate;
            if apart == 0.0 { 0.0 } else { apart / standard_error(&drawn) }
        })
        .collect();
    statistics.sort_unstable_by(f64::total_cmp);
    let ends = [quantile::quantile(&statistics, 0.025)?, quantile::quantile(&statistics, 0.975)?];
    ends.iter().all(|end| end.is_finite()).then_some(ends)
}

#[cfg(test)]
mod tests;
