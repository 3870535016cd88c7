//! Latencies as a histogram counted them: only those that occurred, because a boot has hundreds of them and its histogram room for tens of thousands.

use std::borrow::Cow;

use evenkeel_stats::distribution::{Bucket, Distribution, Malformed};
use hdrhistogram::{CreationError, Histogram};

/// Transactions by latency, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    grid: Grid,
    steps: Vec<Step>,
}

/// Transactions that a histogram does not tell apart: of `low..=high` whole nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Step {
    low: u64,
    high: u64,
    count: u64,
}

/// What a histogram tells apart.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    lowest: u64,
    digits: u8,
}

impl Latencies {
    /// Those that a histogram holds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Latencies {
        let steps = histogram.iter_recorded().map(|step| {
            let count = step.count_at_value();
            Step::of(histogram, step.value_iterated_to(), count)
        });
        let grid = Grid { lowest: histogram.low(), digits: histogram.sigfig() };
        Latencies { grid, steps: steps.collect() }
    }

    /// These and more, on the grid of these.
    pub(crate) fn merged(&self, more: &[&Latencies]) -> Result<Latencies, CreationError> {
        let mut merged = self.clone();
        for more in more {
            merged.steps = sum(&merged.steps, &*more.on(self.grid)?);
        }
        Ok(merged)
    }

    /// Their steps on a grid, as a histogram that has it would have recorded them.
    fn on(&self, grid: Grid) -> Result<Cow<'_, [Step]>, CreationError> {
        if self.grid == grid {
            return Ok(Cow::Borrowed(&self.steps));
        }
        let room = grid.lowest.saturating_mul(2);
        let histogram = Histogram::<u64>::new_with_bounds(grid.lowest, room, grid.digits)?;
        let moved = self.steps.iter().map(|step| Step::of(&histogram, step.low, step.count));
        Ok(Cow::Owned(moved.collect()))
    }

    /// As a distribution. A bucket of whole nanoseconds `a..=b` stands for `a - 0.5 .. b + 0.5`, so that its middle is the mean of
    /// what it holds.
    pub(crate) fn distribution(&self, min: f64, max: f64) -> Result<Distribution, Malformed> {
        let bucket = |step: &Step| Bucket {
            low: step.low as f64 - 0.5,
            high: step.high as f64 + 0.5,
            count: step.count,
        };
        Distribution::new(&self.steps.iter().map(bucket).collect::<Vec<_>>(), min, max)
    }
}

impl Step {
    /// The step of a histogram's grid in which a latency lies.
    fn of(histogram: &Histogram<u64>, ns: u64, count: u64) -> Step {
        let [low, high] = [histogram.lowest_equivalent(ns), histogram.highest_equivalent(ns)];
        Step { low, high, count }
    }
}

/// Ascending steps of one grid, together.
fn sum(these: &[Step], those: &[Step]) -> Vec<Step> {
    let mut sum: Vec<Step> = Vec::with_capacity(these.len() + those.len());
    let (mut these, mut those) = (these.iter().peekable(), those.iter().peekable());
    loop {
        let next = match (these.peek(), those.peek()) {
            (Some(this), Some(that)) if this.low <= that.low => these.next(),
            (Some(_), None) => these.next(),
            _ => those.next(),
        };
        match (next, sum.last_mut()) {
            (None, _) => return sum,
            (Some(next), Some(last)) if last.low == next.low => {
                last.count = last.count.saturating_add(next.count);
            }
            (Some(next), _) => sum.push(*next),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(digits: u8, transactions: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new(digits).expect("a histogram");
        transactions.iter().for_each(|&ns| histogram.record(ns).expect("room"));
        histogram
    }

    fn transactions() -> impl Strategy<Value = Vec<u64>> {
        proptest::collection::vec(prop_oneof![0..5_000u64, 1..u64::from(u32::MAX)], 1..200)
    }

    proptest! {
        #[test]
        fn merging_is_what_histograms_do(a in transactions(), b in transactions(), c in transactions(), digits in 1..4u8) {
            let [a, b, c] = [histogram(3, &a), histogram(3, &b), histogram(digits, &c)];
            let [first, second, third] = [&a, &b, &c].map(Latencies::of);
            let merged = first.merged(&[&second, &third]).expect("a grid");
            let mut expected = a;
            expected.add(b).expect("room");
            expected.add(c).expect("room");
            let steps = |of: &Latencies| -> Vec<_> {
                of.steps.iter().map(|step| (step.low, step.high, step.count)).collect()
            };
            prop_assert_eq!(steps(&merged), steps(&Latencies::of(&expected)));
        }
    }
}
