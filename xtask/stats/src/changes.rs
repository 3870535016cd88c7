//! Change points of a series of figures, one a run: where its level changed, and where its spread did at the same level. Runs of one host
//! resemble their neighbours, and a test that takes them for independent fires on most unchanged series; this one does not.
//!
//! In this order:
//!
//! 1. *Outliers* are drawn in to four scaled MADs of the 21 points around them (Hampel 1974): one odd run is no change.
//! 2. *Autocorrelation* of order one is estimated in a way that changes of level do not disturb: with `d(k)` the mean square of
//!    `x[t + k] - x[t]`, an AR(1) series has `d(2) / d(1) = 1 + phi` (Chakar, Lebarbier, Levy-Leduc & Robin 2017, whose medians are here
//!    means of squares clipped at three scaled MADs). Once levels are found it is estimated again from what they leave, with the bias of
//!    Marriott & Pope (1954) taken off.
//! 3. *Prewhitening*: `e[t] = x[t] - phi x[t - 1]` are independent, and a change of level or spread in `x` is one in `e` at the same point.
//! 4. *Location*: over all splits of a segment, the largest Student's t of the two means, as a normal deviate (Wallace 1959) with degrees
//!    of freedom `1 / (1 / (n - 2) + v / 2)`: `v = (1 + phi) / (n (1 - phi))` is the relative variance of a mean's standard error that
//!    estimating `phi` adds, and half of it was enough in simulation.
//! 5. *Scale*: over all splits of what levels leave, the largest likelihood ratio of two normal variances against one, `n ln v - n1 ln v1 -
//!    n2 ln v2`, divided by Bartlett's (1937) factor and, where the kurtosis `k` is above 3, by `(k - 1) / 2` (Layard 1973); its root is a
//!    normal deviate.
//! 6. Both split segments again and again (binary segmentation: Vostrikova 1981). Levels are searched once more with every point weighted by
//!    the spread found around it. In the end each change is tested again between its neighbours alone.
//!
//! The p-value of the largest deviate of all splits is that of the largest standardised Brownian bridge (Miller & Siegmund 1982), see
//! [`p_of_largest`]; what estimating from few points adds was simulated, see [`changes`].

mod drift;

use std::f64::consts::PI;
use std::fmt;

pub use drift::{Drift, drift};

/// Fewer points say nothing.
pub const FEWEST: usize = 20;

/// Points on either side of a change of level.
const LEAST_OF_LEVEL: usize = 5;

/// Points on either side of a change of spread: fewer do not tell a variance.
const LEAST_OF_SPREAD: usize = 10;

/// Points on either side that an outlier is judged by, and the scaled MADs that it is drawn in to.
const AROUND: usize = 10;
const OUTLIER: f64 = 4.0;

/// A MAD times this estimates the standard deviation of a normal law: 1 / qnorm(0.75).
const SCALED: f64 = 1.482_602_218_505_602;

/// The strongest autocorrelation that is taken off; beyond, a series wanders rather than has a level.
const STRONGEST: f64 = 0.9;

/// The same before levels are known: differences tell it within 0.15 or so at 100 points, and one that is too strong hides changes.
const STRONGEST_AT_FIRST: f64 = 0.6;

/// The share of the error rate that looking for changes of level gets; the rest is for changes of spread.
const SHARE_OF_LEVEL: f64 = 0.4;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The level.
    Location,
    /// How far points lie from it.
    Scale,
}

/// A change point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// What changed.
    pub kind: Kind,
    /// Index of the first point after it.
    pub at: usize,
    /// Mean of the points since the change of its kind before this one; for [`Kind::Scale`] their standard deviation about their levels, outliers drawn in.
    pub before: f64,
    /// The same up to the next change of its kind.
    pub after: f64,
    /// Probability of a change as clear as this somewhere in an unchanged series of its neighbourhood's length, over both kinds.
    pub p: f64,
}

/// What was found in a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Changes in order.
    pub changes: Vec<Change>,
    /// Estimated autocorrelation of order one, 0 to 0.9.
    pub autocorrelation: f64,
    /// Standard deviation of the points about their levels, outliers drawn in, since the last change of spread.
    pub sd: f64,
}

/// Why a series has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It has fewer than [`FEWEST`] points.
    TooFew,
    /// A point is not a finite number.
    NotFinite,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::TooFew => write!(f, "fewer than {FEWEST} points"),
            NoAnswer::NotFinite => f.write_str("a point is not a finite number"),
        }
    }
}

impl std::error::Error for NoAnswer {}

/// Finds the changes of a series whose p-value is at most `alpha`.
///
/// Simulated with `alpha` = 2 %, 10,000 series of 100 points a figure (`simulate` of this module's tests), autocorrelation 0 / 0.3 / 0.5 / 0.7 /
/// 0.8:
///
/// | series | finds |
/// |---|---|
/// | normal, unchanged | a change: 0.7 / 1.1 / 1.3 / 2.1 / 3.3 % |
/// | Student t with 4 degrees of freedom, unchanged | a change: 3.8 / 4.2 / 4.5 / 5.7 / 7.6 %, mostly of spread |
/// | spread x1.5 / x2 / x3 in the middle, autocorrelation 0.5 | it within 10 points: 23 / 81 / 99 % |
/// | level + 1 / 1.5 / 2 / 3 standard deviations in the middle, autocorrelation 0 | it within 5 points: 66 / 95 / 99 / 100 % |
/// | the same, autocorrelation 0.5 | 12 / 43 / 78 / 98 % |
/// | level + 3 / 5 standard deviations six points before the end, autocorrelation 0.5 | 60 / 98 % |
///
/// With `alpha` = 0.1 %, normal series that do not change have a change in 0.04 / - / 0.09 / 0.20 / 0.53 % (40,000 a figure).
///
/// # Errors
/// Too few points, or one that is no number.
pub fn changes(values: &[f64], alpha: f64) -> Result<Found, NoAnswer> {
    if values.iter().any(|value| !value.is_finite()) {
        return Err(NoAnswer::NotFinite);
    }
    if values.len() < FEWEST {
        return Err(NoAnswer::TooFew);
    }
    // Far from zero, squares would lose what differs; and equal points have no spread but rounding.
    let middle = values.iter().sum::<f64>() / values.len() as f64;
    let size = values.iter().fold(0.0, |size: f64, value| size.max((value - middle).abs()));
    let floor = (middle.abs() + size) * 1e-12;
    if size <= floor {
        return Ok(Found { changes: Vec::new(), autocorrelation: 0.0, sd: 0.0 });
    }
    let centred: Vec<f64> = values.iter().map(|value| value - middle).collect();
    let tamed = tamed(&centred);
    let search = |phi| Search { alpha, floor: floor * floor, phi };

    let phi = autocorrelation_of_differences(&tamed);
    let rough = search(phi).levels(&whitened(&tamed, phi), None);
    let phi = autocorrelation_about(&tamed, &cuts(&rough)).clamp(0.0, STRONGEST);
    let (e, search) = (whitened(&tamed, phi), search(phi));
    let levels = search.levels(&e, None);
    let spreads = search.spreads(&about_levels(&e, &cuts(&levels)));
    let (levels, spreads) = if spreads.is_empty() {
        (levels, spreads)
    } else {
        let sds = sds(&about_levels(&e, &cuts(&levels)), &cuts(&spreads), search.floor);
        let levels = search.levels(&e, Some(&sds));
        let spreads = search.spreads(&about_levels(&e, &cuts(&levels)));
        (levels, spreads)
    };
    let tamed: Vec<f64> = tamed.iter().map(|value| value + middle).collect();
    Ok(told(values, &tamed, &levels, &spreads, phi))
}

/// A split of a series: the first index after it, and its p-value.
#[derive(Clone, Copy, Debug)]
struct Split {
    at: usize,
    p: f64,
}

fn cuts(splits: &[Split]) -> Vec<usize> {
    splits.iter().map(|split| split.at).collect()
}

/// The segments between cuts.
fn segments(length: usize, cuts: &[usize]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(length));
    starts.zip(ends).map(|(start, end)| start..end)
}

/// Points with outliers drawn in.
fn tamed(values: &[f64]) -> Vec<f64> {
    let window = (2 * AROUND + 1).min(values.len());
    let mut around = Vec::with_capacity(window);
    let mut tame = |at: usize| {
        // At the ends as many points on one side.
        let from = at.saturating_sub(AROUND).min(values.len() - window);
        around.clear();
        around.extend_from_slice(&values[from..from + window]);
        let middle = middle_of(&mut around);
        around.iter_mut().for_each(|value| *value = (*value - middle).abs());
        let reach = OUTLIER * SCALED * middle_of(&mut around);
        // More than half of them equal: no spread to judge by.
        if reach > 0.0 { values[at].clamp(middle - reach, middle + reach) } else { values[at] }
    };
    (0..values.len()).map(&mut tame).collect()
}

/// The upper median; reorders.
fn middle_of(values: &mut [f64]) -> f64 {
    let at = values.len() / 2;
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}

/// Autocorrelation of order one from differences, which a change of level touches only where it is.
fn autocorrelation_of_differences(x: &[f64]) -> f64 {
    let mean_square = |apart: usize| {
        let mut d: Vec<f64> = x.iter().zip(&x[apart..]).map(|(a, b)| (b - a).abs()).collect();
        let reach = 3.0 * SCALED * middle_of(&mut d);
        let squares = d.iter().map(|d| if reach > 0.0 { d.min(reach).powi(2) } else { d * d });
        squares.sum::<f64>() / d.len() as f64
    };
    let (one, two) = (mean_square(1), mean_square(2));
    if one > 0.0 { (two / one - 1.0).clamp(0.0, STRONGEST_AT_FIRST) } else { 0.0 }
}

/// Autocorrelation of order one of what the levels leave. Its bias is near -(1 + 3 phi) / n for each level that was taken off.
fn autocorrelation_about(x: &[f64], cuts: &[usize]) -> f64 {
    let left = about_levels(x, cuts);
    let (mut products, mut squares) = (0.0, 0.0);
    for segment in segments(x.len(), cuts) {
        let of = &left[segment];
        products += of.iter().zip(&of[1..]).map(|(a, b)| a * b).sum::<f64>();
        squares += of.iter().map(|value| value * value).sum::<f64>();
    }
    if squares == 0.0 {
        return 0.0;
    }
    let (raw, levels) = (products / squares, cuts.len() as f64 + 1.0);
    let per_point = levels / x.len() as f64;
    (raw + per_point) / (1.0 - 3.0 * per_point).max(0.5)
}

/// The series without its autocorrelation; the first point has no predecessor and stands for itself.
fn whitened(x: &[f64], phi: f64) -> Vec<f64> {
    let first = x[0] * (1.0 - phi);
    std::iter::once(first).chain(x.iter().zip(&x[1..]).map(|(a, b)| b - phi * a)).collect()
}

/// Distances from the mean of each segment.
fn about_levels(x: &[f64], cuts: &[usize]) -> Vec<f64> {
    let mut left = x.to_vec();
    for segment in segments(x.len(), cuts) {
        let of = &mut left[segment];
        let mean = of.iter().sum::<f64>() / of.len() as f64;
        of.iter_mut().for_each(|value| *value -= mean);
    }
    left
}

/// The standard deviation around each point.
fn sds(left: &[f64], cuts: &[usize], floor: f64) -> Vec<f64> {
    let mut sds = Vec::with_capacity(left.len());
    for segment in segments(left.len(), cuts) {
        let of = &left[segment];
        let square = of.iter().map(|value| value * value).sum::<f64>() / of.len() as f64;
        sds.extend(std::iter::repeat_n(square.max(floor).sqrt(), of.len()));
    }
    sds
}

struct Search {
    alpha: f64,
    /// Variance that rounding alone leaves.
    floor: f64,
    /// The autocorrelation that was taken off.
    phi: f64,
}

impl Search {
    fn levels(&self, e: &[f64], sds: Option<&[f64]>) -> Vec<Split> {
        let weights: Option<Vec<f64>> =
            sds.map(|sds| sds.iter().map(|sd| (sd * sd).recip()).collect());
        let sums = Sums::of(e, weights.as_deref());
        let scan = |from: usize, to: usize| {
            let least = LEAST_OF_LEVEL;
            let best = (from + least..=to.saturating_sub(least))
                .map(|at| (at, sums.t_squared(from, at, to, self.floor)))
                .max_by(|a, b| a.1.total_cmp(&b.1))?;
            let count = (to - from) as f64;
            let unsure = (1.0 + self.phi) / (count * (1.0 - self.phi)) / 2.0;
            let nu = (1.0 / (count - 2.0) + unsure).recip();
            let z = (8.0 * nu + 1.0) / (8.0 * nu + 3.0) * (nu * (best.1 / nu).ln_1p()).sqrt();
            let p = p_of_largest(z, to - from, least) / SHARE_OF_LEVEL;
            Some(Split { at: best.0, p: p.min(1.0) })
        };
        self.segment(e.len(), &scan)
    }

    fn spreads(&self, left: &[f64]) -> Vec<Split> {
        let mut squares = vec![0.0; left.len() + 1];
        for (at, value) in left.iter().enumerate() {
            squares[at + 1] = squares[at] + value * value;
        }
        let scan = |from: usize, to: usize| {
            let least = LEAST_OF_SPREAD;
            let log = |from: usize, to: usize| {
                let count = (to - from) as f64;
                count * ((squares[to] - squares[from]) / count).max(self.floor).ln()
            };
            let whole = log(from, to);
            let total = (to - from) as f64;
            let best = (from + least..=to.saturating_sub(least))
                .map(|at| {
                    let (n1, n2) = ((at - from) as f64, (to - at) as f64);
                    let bartlett = 1.0 + (1.0 / n1 + 1.0 / n2 - 1.0 / total) / 3.0;
                    (at, (whole - log(from, at) - log(at, to)).max(0.0) / bartlett)
                })
                .max_by(|a, b| a.1.total_cmp(&b.1))?;
            let z = (best.1 / self.heaviness(&left[from..to], best.0 - from)).sqrt();
            let p = p_of_largest(z, to - from, least) / (1.0 - SHARE_OF_LEVEL);
            Some(Split { at: best.0, p: p.min(1.0) })
        };
        self.segment(left.len(), &scan)
    }

    /// What the likelihood ratio of variances is too large by for the tails of these points, each part by its own spread: 1 for a
    /// normal law or lighter tails.
    fn heaviness(&self, left: &[f64], at: usize) -> f64 {
        let (mut fourth, count) = (0.0, left.len() as f64);
        for part in [&left[..at], &left[at..]] {
            let square = part.iter().map(|value| value * value).sum::<f64>() / part.len() as f64;
            let square = square.max(self.floor);
            fourth += part.iter().map(|value| (value * value / square).powi(2)).sum::<f64>();
        }
        let kurtosis = fourth / count;
        ((kurtosis - 1.0) / 2.0).max(1.0)
    }

    /// Splits where a scan finds something, and the parts again; then each split is tested between its neighbours alone.
    fn segment(&self, length: usize, scan: &dyn Fn(usize, usize) -> Option<Split>) -> Vec<Split> {
        let mut found: Vec<Split> = Vec::new();
        let mut open = vec![(0, length)];
        while let Some((from, to)) = open.pop() {
            if let Some(split) = scan(from, to).filter(|split| split.p <= self.alpha) {
                found.push(split);
                open.extend([(from, split.at), (split.at, to)]);
            }
        }
        found.sort_by_key(|split| split.at);
        loop {
            // From left to right, so that places stay in order.
            let lost = (0..found.len()).find(|&nth| {
                let from = if nth == 0 { 0 } else { found[nth - 1].at };
                let to = found.get(nth + 1).map_or(length, |next| next.at);
                let again = scan(from, to).filter(|split| split.p <= self.alpha);
                found[nth] = again.unwrap_or(found[nth]);
                again.is_none()
            });
            // One at a time: without it, its neighbours are tested over more points.
            let Some(lost) = lost else { return found };
            found.remove(lost);
        }
    }
}

/// Weighted sums from the start, for means of any segment.
struct Sums {
    /// Weights, values and squares before each point.
    before: Vec<[f64; 3]>,
}

impl Sums {
    fn of(e: &[f64], weights: Option<&[f64]>) -> Sums {
        let mut before = Vec::with_capacity(e.len() + 1);
        let mut sums = [0.0; 3];
        before.push(sums);
        for (at, value) in e.iter().enumerate() {
            let weight = weights.map_or(1.0, |weights| weights[at]);
            sums[0] += weight;
            sums[1] += weight * value;
            sums[2] += weight * value * value;
            before.push(sums);
        }
        Sums { before }
    }

    fn between(&self, from: usize, to: usize) -> [f64; 3] {
        std::array::from_fn(|sum| self.before[to][sum] - self.before[from][sum])
    }

    /// Student's t, squared, of the two means on either side of `at`.
    fn t_squared(&self, from: usize, at: usize, to: usize, floor: f64) -> f64 {
        let (one, two) = (self.between(from, at), self.between(at, to));
        let within = |of: [f64; 3]| of[2] - of[1] * of[1] / of[0];
        let (means, nu) = (one[1] / one[0] - two[1] / two[0], (to - from) as f64 - 2.0);
        let mean_weight = (one[0] + two[0]) / (to - from) as f64;
        let variance = ((within(one) + within(two)) / nu).max(floor * mean_weight);
        means * means * one[0] * two[0] / (one[0] + two[0]) / variance
    }
}

/// The probability that the largest of the standard normal deviates of all splits of `count` points, with at least `least` points on either
/// side, is at least `z`: `f(z) [(z - 1/z) 2 ln((1 - h) / h) + 4/z]` with `h = least / count` and the normal density `f` (Miller & Siegmund
/// 1982, for a continuous path: an upper bound for points).
pub fn p_of_largest(z: f64, count: usize, least: usize) -> f64 {
    // Below, the bound is above 1 for any series that has an answer.
    if z <= 1.5 {
        return 1.0;
    }
    let h = least as f64 / count as f64;
    let density = (-z * z / 2.0).exp() / (2.0 * PI).sqrt();
    (density * ((z - 1.0 / z) * 2.0 * ((1.0 - h) / h).ln().max(0.0) + 4.0 / z)).min(1.0)
}

/// Changes of one kind with the figures of the segments before and after them.
fn pairs(kind: Kind, of: &[f64], splits: &[Split], figure: impl Fn(&[f64]) -> f64) -> Vec<Change> {
    let figures: Vec<f64> =
        segments(of.len(), &cuts(splits)).map(|segment| figure(&of[segment])).collect();
    let change = |(split, figures): (&Split, &[f64])| Change {
        kind,
        at: split.at,
        before: figures[0],
        after: figures[1],
        p: split.p,
    };
    splits.iter().zip(figures.windows(2)).map(change).collect()
}

/// Changes in terms of the series itself.
fn told(values: &[f64], tamed: &[f64], levels: &[Split], spreads: &[Split], phi: f64) -> Found {
    let left = about_levels(tamed, &cuts(levels));
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let sd =
        |of: &[f64]| (of.iter().map(|value| value * value).sum::<f64>() / of.len() as f64).sqrt();
    let mut changes = pairs(Kind::Location, values, levels, mean);
    changes.extend(pairs(Kind::Scale, &left, spreads, sd));
    changes.sort_by_key(|change| change.at);
    let from = spreads.last().map_or(0, |split| split.at);
    Found { changes, autocorrelation: phi, sd: sd(&left[from..]) }
}

#[cfg(test)]
mod tests;
