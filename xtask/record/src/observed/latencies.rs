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

/// Bytes before the counts of a plain V2 histogram.
pub(super) const HEADER_BYTES: usize = 40;

/// What our histograms tell apart.
const GRID: Grid = Grid { lowest: 1, digits: 3 };

/// Places of a power of two on that grid, as a power of two itself; below twice as many nanoseconds each has a place of its own.
const PLACES: u32 = 10;

/// The longest latency that is read without a histogram: weeks.
const HIGHEST: u64 = 1 << 52;

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

    /// Those that a plain V2 histogram holds, read where it is as we write it: three digits from one nanosecond on. Nothing where it is another one, or
    /// has something wrong with it: who decodes all of it finds what.
    pub(crate) fn read(plain: &[u8]) -> Option<Latencies> {
        let (header, rest) = plain.split_first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_be_bytes(header.get(at..at + 8)?.try_into().ok()?));
        // Behind cookie and length: offset, digits, lowest, highest, ratio.
        let (length, highest) = (word(4)? as usize, long(24)?);
        let ours = (word(8)?, word(12)?, long(16)?, long(32)?);
        let known = (0, u32::from(GRID.digits), GRID.lowest, 1f64.to_bits());
        if ours != known || !(2 * GRID.lowest..=HIGHEST).contains(&highest) {
            return None;
        }
        let mut counts = rest.get(..length)?;
        let (mut steps, mut index) = (Vec::with_capacity(length), 0u64);
        while !counts.is_empty() {
            let word = varint(&mut counts)?;
            let (half, negative) = (word >> 1, word & 1 == 1);
            if negative {
                // That many places are empty.
                index = index.checked_add(half)?.checked_add(1)?;
                continue;
            }
            if half > 0 {
                let step = Step::at(index, half).filter(|step| step.low <= highest)?;
                steps.push(step);
            }
            index = index.checked_add(1)?;
        }
        Some(Latencies { grid: GRID, steps })
    }

    /// Transactions in all.
    pub(crate) fn count(&self) -> u64 {
        self.steps.iter().fold(0, |sum, step| sum.saturating_add(step.count))
    }

    /// These and more, on the grid of these.
    pub(crate) fn merged(&self, more: &[&Latencies]) -> Result<Latencies, CreationError> {
        let mut merged = self.clone();
        for more in more {
            merged.steps = sum(&merged.steps, &more.on(self.grid)?);
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
    /// The step at a place of [`GRID`]; nothing where it lies beyond [`HIGHEST`].
    fn at(index: u64, count: u64) -> Option<Step> {
        let doubled = u32::try_from(index >> PLACES).ok()?.saturating_sub(1);
        if doubled > HIGHEST.ilog2() {
            return None;
        }
        let low = (index - (u64::from(doubled) << PLACES)) << doubled;
        Some(Step { low, high: low + (1 << doubled) - 1, count })
    }

    /// The step of a histogram's grid in which a latency lies.
    fn of(histogram: &Histogram<u64>, ns: u64, count: u64) -> Step {
        let [low, high] = [histogram.lowest_equivalent(ns), histogram.highest_equivalent(ns)];
        Step { low, high, count }
    }
}

/// The next number of a V2 histogram: seven bits a byte, the least first, and eight in a ninth.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..9 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let last = place == 8 || byte < 0x80;
        let bits = if place == 8 { byte } else { byte & 0x7f };
        number |= u64::from(bits) << (7 * place);
        if last {
            break;
        }
    }
    Some(number)
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
    use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
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

    fn plain(histogram: &Histogram<u64>) -> Vec<u8> {
        let mut plain = Vec::new();
        V2Serializer::new().serialize(histogram, &mut plain).expect("memory");
        plain
    }

    fn steps(of: &Latencies) -> Vec<(u64, u64, u64)> {
        of.steps.iter().map(|step| (step.low, step.high, step.count)).collect()
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_a_histogram_holds(all in transactions(), times in 1..1u64 << 40, wide in any::<bool>()) {
            let bounds = if wide { Histogram::new_with_bounds(1, HIGHEST, 3) } else { Histogram::new(3) };
            let mut whole = bounds.expect("a histogram");
            all.iter().for_each(|&ns| whole.record_n(ns, times).expect("room"));
            // One that grows may hold more than it says to be its most, and is read by its own crate.
            let Some(read) = Latencies::read(&plain(&whole)) else {
                prop_assert!(whole.max() > whole.high());
                return Ok(());
            };
            prop_assert_eq!(steps(&read), steps(&Latencies::of(&whole)));
            prop_assert_eq!(read.count(), whole.len());
        }

        #[test]
        fn what_is_read_is_what_would_be_decoded(all in transactions(), at in 0..200usize, byte in any::<u8>()) {
            let mut plain = plain(&histogram(3, &all));
            let at = 4 + at % (plain.len() - 4);
            plain[at] = byte;
            if let Some(read) = Latencies::read(&plain) {
                let decoded: Histogram<u64> = Deserializer::new().deserialize(&mut plain.as_slice()).expect("no harm");
                prop_assert_eq!(steps(&read), steps(&Latencies::of(&decoded)));
            }
        }

        #[test]
        fn merging_is_what_histograms_do(a in transactions(), b in transactions(), c in transactions(), digits in 1..4u8) {
            let [a, b, c] = [histogram(3, &a), histogram(3, &b), histogram(digits, &c)];
            let [first, second, third] = [&a, &b, &c].map(Latencies::of);
            let merged = first.merged(&[&second, &third]).expect("a grid");
            let mut expected = a;
            expected.add(b).expect("room");
            expected.add(c).expect("room");
            prop_assert_eq!(steps(&merged), steps(&Latencies::of(&expected)));
        }
    }
}
