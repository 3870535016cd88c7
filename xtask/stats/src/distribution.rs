//! A distribution known by its buckets: how many observations fell between two values.
//!
//! Inside a bucket observations are taken as spread evenly, so that figures are interpolated: an interquartile range of 205 ns
//! reads 192 from the edges of a three-digit histogram, 205.6 with interpolation. The exact smallest and largest
//! observation bound the first and the last bucket.

use std::fmt;

/// `count` observations in `low..=high`, evenly spread; one value where both are equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
    /// Observations between them.
    pub count: u64,
}

/// Why buckets are no distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Malformed {
    /// No bucket holds an observation.
    Empty,
    /// An edge is not finite, or a bucket begins before it or the one below it ends: the bucket's index.
    Disordered(usize),
    /// The smallest observation lies above the first bucket, or the largest below the last.
    Ends,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Empty => f.write_str("no bucket holds an observation"),
            Malformed::Disordered(index) => write!(f, "bucket {index} is out of order"),
            Malformed::Ends => {
                f.write_str("smallest and largest observation do not fit the buckets")
            }
        }
    }
}

impl std::error::Error for Malformed {}

/// Ascending buckets that hold at least one observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    buckets: Vec<Bucket>,
    /// Observations up to and with each bucket.
    upto: Vec<u64>,
}

impl Distribution {
    /// A distribution from ascending buckets that do not overlap, and the exact smallest and largest observation.
    pub fn new(buckets: &[Bucket], min: f64, max: f64) -> Result<Distribution, Malformed> {
        let mut buckets: Vec<Bucket> =
            buckets.iter().filter(|bucket| bucket.count > 0).copied().collect();
        let mut end = f64::NEG_INFINITY;
        for (index, bucket) in buckets.iter().enumerate() {
            let finite = bucket.low.is_finite() && bucket.high.is_finite();
            if !finite || bucket.low < end || bucket.high < bucket.low {
                return Err(Malformed::Disordered(index));
            }
            end = bucket.high;
        }
        let last = buckets.len().checked_sub(1).ok_or(Malformed::Empty)?;
        // Written so that a NaN fails.
        let fits = min.is_finite() && max.is_finite() && min <= max;
        if !fits || min > buckets[0].high || max < buckets[last].low {
            return Err(Malformed::Ends);
        }
        buckets[0].low = min;
        buckets[last].high = max;
        let mut total = 0;
        let upto = buckets
            .iter()
            .map(|bucket| {
                total += bucket.count;
                total
            })
            .collect();
        Ok(Distribution { buckets, upto })
    }

    /// Observations in all.
    pub fn count(&self) -> u64 {
        self.upto[self.upto.len() - 1]
    }

    /// Share of observations at or below `value`.
    pub fn cdf(&self, value: f64) -> f64 {
        let index = self.buckets.partition_point(|bucket| bucket.high <= value);
        let below = if index == 0 { 0 } else { self.upto[index - 1] };
        let inside = self.buckets.get(index).map_or(0.0, |bucket| bucket.count_below(value));
        (below as f64 + inside) / self.count() as f64
    }

    /// The smallest value with at least the share `q` of observations at or below it; `q` is clamped to 0..=1.
    pub fn quantile(&self, q: f64) -> f64 {
        let wanted = q.clamp(0.0, 1.0) * self.count() as f64;
        let index =
            self.upto.partition_point(|&upto| (upto as f64) < wanted).min(self.upto.len() - 1);
        let bucket = self.buckets[index];
        let before = (self.upto[index] - bucket.count) as f64;
        let share = ((wanted - before) / bucket.count as f64).clamp(0.0, 1.0);
        (bucket.low + share * (bucket.high - bucket.low)).min(bucket.high)
    }

    /// Interquartile range.
    pub fn iqr(&self) -> f64 {
        self.quantile(0.75) - self.quantile(0.25)
    }

    /// Median absolute deviation from the median, unscaled.
    pub fn mad(&self) -> f64 {
        let deviations = self.deviations_from(self.quantile(0.5));
        let half = self.count() as f64 / 2.0;
        let (mut at, mut density, mut mass) = (0.0, 0.0, 0.0);
        for Edge { value, density: change, mass: jump } in deviations {
            let reached = mass + density * (value - at);
            if reached >= half && density > 0.0 {
                return (at + (half - mass) / density).clamp(at, value);
            }
            mass = reached + jump;
            at = value;
            density += change;
            if mass >= half {
                break;
            }
        }
        at
    }

    /// Where the density of |x - `middle`| changes, ascending: every bucket is folded about `middle`.
    fn deviations_from(&self, middle: f64) -> Vec<Edge> {
        // Both sides are in order as they are, the lower one from its end on, so nothing has to be sorted.
        let room = || Vec::with_capacity(2 * self.buckets.len());
        let (mut below, mut above): (Vec<Edge>, Vec<Edge>) = (room(), room());
        for bucket in &self.buckets {
            if let Some([begins, ends]) = bucket.folded(middle, bucket.high) {
                above.push(begins);
                above.push(ends);
            }
        }
        for bucket in self.buckets.iter().rev() {
            if let Some([begins, ends]) = bucket.folded(middle, bucket.low) {
                // Where one bucket ends and the next begins, the lower one comes first, as above.
                let touches = below.last().is_some_and(|edge| edge.value == begins.value);
                below.insert(below.len() - usize::from(touches), begins);
                below.push(ends);
            }
        }
        let mut edges = merged(&below, &above);
        let points = self.buckets.iter().filter(|bucket| bucket.high <= bucket.low);
        let all = edges.len();
        edges.extend(points.map(|bucket| Edge {
            value: (bucket.low - middle).abs(),
            density: 0.0,
            mass: bucket.count as f64,
        }));
        if edges.len() > all {
            edges.sort_by(|a, b| a.value.total_cmp(&b.value));
        }
        edges
    }

    /// Share of the sum of all observations that those above `value` make up: sum x\[x > value\] / sum x. For durations, the
    /// share of time spent inside transactions longer than `value`. `None` unless all observations are at or above 0 and their sum
    /// is above it.
    pub fn share_of_sum_above(&self, value: f64) -> Option<f64> {
        let total = self.sum()?;
        let below: f64 = self.buckets.iter().map(|bucket| bucket.sum_below(value)).sum();
        Some(((total - below) / total).clamp(0.0, 1.0))
    }

    /// The value below which observations make up the share `q` of the sum of all: for durations, the quantile over
    /// time instead of over transactions. `None` as in [`Distribution::share_of_sum_above`].
    pub fn quantile_of_sum(&self, q: f64) -> Option<f64> {
        let wanted = q.clamp(0.0, 1.0) * self.sum()?;
        let mut below = 0.0;
        for bucket in &self.buckets {
            let sum = bucket.sum();
            if below + sum >= wanted && sum > 0.0 {
                // Solves count * (v^2 - low^2) / (2 * width) = wanted - below.
                let width = bucket.high - bucket.low;
                let square =
                    bucket.low * bucket.low + 2.0 * width * (wanted - below) / bucket.count as f64;
                return Some(square.max(0.0).sqrt().clamp(bucket.low, bucket.high));
            }
            below += sum;
        }
        Some(self.buckets[self.buckets.len() - 1].high)
    }

    fn sum(&self) -> Option<f64> {
        let sum: f64 = self.buckets.iter().map(Bucket::sum).sum();
        (self.buckets[0].low >= 0.0 && sum > 0.0).then_some(sum)
    }
}

impl Bucket {
    /// Where its part between `middle` and one `end` of it begins and ends, as distances from `middle`; nothing where it has no such part.
    #[inline]
    fn folded(&self, middle: f64, end: f64) -> Option<[Edge; 2]> {
        let split = middle.clamp(self.low, self.high);
        let (near, far) = ((split - middle).abs(), (end - middle).abs());
        let density = self.count as f64 / (self.high - self.low);
        (near < far).then_some([
            Edge { value: near, density, mass: 0.0 },
            Edge { value: far, density: -density, mass: 0.0 },
        ])
    }

    /// Expected number of observations at or below `value`.
    fn count_below(&self, value: f64) -> f64 {
        if value >= self.high {
            self.count as f64
        } else if value <= self.low {
            0.0
        } else {
            self.count as f64 * (value - self.low) / (self.high - self.low)
        }
    }

    fn sum(&self) -> f64 {
        self.count as f64 * (self.low + self.high) / 2.0
    }

    /// Expected sum of the observations at or below `value`.
    fn sum_below(&self, value: f64) -> f64 {
        if value >= self.high {
            self.sum()
        } else {
            self.count_below(value) * (self.low + value) / 2.0
        }
    }
}

/// A change of density, or a jump of mass, at a value.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Edge {
    value: f64,
    density: f64,
    mass: f64,
}

/// Ascending edges together, ascending; of equal ones the first come first.
fn merged(first: &[Edge], second: &[Edge]) -> Vec<Edge> {
    // Room for the points of both ends, too.
    let mut merged = Vec::with_capacity(first.len() + second.len() + 2);
    let mut rest = second;
    for edge in first {
        while let Some((other, behind)) = rest.split_first()
            && other.value < edge.value
        {
            merged.push(*other);
            rest = behind;
        }
        merged.push(*edge);
    }
    merged.extend_from_slice(rest);
    merged
}

#[cfg(test)]
mod tests;
