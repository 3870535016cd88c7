//! Whether observations have one mode or more: the dip of Hartigan & Hartigan (1985, The dip test of unimodality, Annals of
//! Statistics 13), the largest distance between the empirical distribution and the unimodal one that is nearest to it.
//!
//! Unlike peaks of a smoothed density it has no bandwidth, and the fine comb that a coarse clock draws moves it little. Where a share `s`
//! of the observations, at most half, lies far from the others, the dip comes near to `s / 2`; of one mode it is about `0.3 / sqrt(n)`.

/// The dip of ascending, finite observations: from `1 / 2n` to 1/4. `None` with fewer than four, which can always be told as one mode.
pub fn dip(sorted: &[f64]) -> Option<f64> {
    let count = sorted.len();
    if count < 4 {
        return None;
    }
    let (first, last) = (sorted[0], sorted[count - 1]);
    // In units of 1 / 2n, as all heights below are in units of 1 / n.
    let least = 1.0;
    if first == last {
        return Some(least / (2.0 * count as f64));
    }
    let hulls = Hulls::new(sorted);
    let (mut low, mut high, mut dip) = (0, count - 1, least);
    loop {
        let minorant = chain(high, low, &hulls.below);
        let majorant = chain(low, high, &hulls.above);
        let apart = hulls.apart(&minorant, &majorant);
        if apart.distance < dip {
            break;
        }
        let inside = Heights { values: sorted };
        let left =
            minorant[apart.minorant..].windows(2).map(|knots| inside.above(knots[1], knots[0]));
        let right =
            majorant[apart.majorant..].windows(2).map(|knots| inside.below(knots[0], knots[1]));
        dip = left.chain(right).fold(dip, f64::max);
        let next = (minorant[apart.minorant], majorant[apart.majorant]);
        if next == (low, high) {
            break;
        }
        (low, high) = next;
    }
    Some(dip / (2.0 * count as f64))
}

/// For each observation the one before it on the greatest convex minorant of all up to it, and the one after it on the least concave
/// majorant of all from it.
struct Hulls<'a> {
    values: &'a [f64],
    below: Vec<usize>,
    above: Vec<usize>,
}

impl<'a> Hulls<'a> {
    fn new(values: &'a [f64]) -> Hulls<'a> {
        let last = values.len() - 1;
        let mut below = vec![0; values.len()];
        for at in 1..=last {
            let mut knot = at - 1;
            while knot != 0 {
                let before = below[knot];
                let steeper = ((values[at] - values[knot]) * (knot - before) as f64)
                    < (values[knot] - values[before]) * (at - knot) as f64;
                if steeper {
                    break;
                }
                knot = before;
            }
            below[at] = knot;
        }
        let mut above = vec![last; values.len()];
        for at in (0..last).rev() {
            let mut knot = at + 1;
            while knot != last {
                let after = above[knot];
                let flatter = ((values[knot] - values[at]) * (after - knot) as f64)
                    < (values[after] - values[knot]) * (knot - at) as f64;
                if flatter {
                    break;
                }
                knot = after;
            }
            above[at] = knot;
        }
        Hulls { values, below, above }
    }

    /// Where the two hulls are farthest apart.
    fn apart(&self, minorant: &[usize], majorant: &[usize]) -> Apart {
        let values = self.values;
        let mut most =
            Apart { distance: 0.0, minorant: minorant.len() - 1, majorant: majorant.len() - 1 };
        if minorant.len() == 2 && majorant.len() == 2 {
            return Apart { distance: 1.0, ..most };
        }
        // Both are walked from the left: the minorant, whose knots descend, from its end.
        let (mut down, mut up) = (minorant.len() - 2, 1);
        loop {
            let (knot, other) = (minorant[down], majorant[up]);
            if knot > other {
                let before = minorant[down + 1];
                let line = (values[other] - values[before]) * (knot - before) as f64
                    / (values[knot] - values[before]);
                let distance = (other - before + 1) as f64 - line;
                up += 1;
                if distance >= most.distance {
                    most = Apart { distance, minorant: down + 1, majorant: up - 1 };
                }
            } else {
                let before = majorant[up - 1];
                let line = (values[knot] - values[before]) * (other - before) as f64
                    / (values[other] - values[before]);
                let distance = line - (knot as f64 - before as f64 - 1.0);
                let here = down;
                down = down.saturating_sub(1);
                if distance >= most.distance {
                    most = Apart { distance, minorant: here, majorant: up };
                }
            }
            up = up.min(majorant.len() - 1);
            if minorant[down] == majorant[up] {
                return most;
            }
        }
    }
}

/// The largest distance between two hulls, and the knots about it.
struct Apart {
    distance: f64,
    minorant: usize,
    majorant: usize,
}

/// The knots of a hull from one observation to another.
fn chain(from: usize, to: usize, next: &[usize]) -> Vec<usize> {
    let mut knots = vec![from];
    let mut at = from;
    while at != to {
        at = next[at];
        // A hull of all the observations may leave out the end of a part.
        at = if from > to { at.max(to) } else { at.min(to) };
        knots.push(at);
    }
    knots
}

/// Heights of the empirical distribution against the line between two knots.
struct Heights<'a> {
    values: &'a [f64],
}

impl Heights<'_> {
    fn above(&self, from: usize, to: usize) -> f64 {
        self.most(from, to, |rank, line| rank as f64 + 1.0 - line)
    }

    fn below(&self, from: usize, to: usize) -> f64 {
        self.most(from, to, |rank, line| line - (rank as f64 - 1.0))
    }

    fn most(&self, from: usize, to: usize, height: impl Fn(usize, f64) -> f64) -> f64 {
        let (start, end) = (self.values[from], self.values[to]);
        if to - from <= 1 || start == end {
            return 1.0;
        }
        let slope = (to - from) as f64 / (end - start);
        let heights = (from..=to).map(|at| height(at - from, (self.values[at] - start) * slope));
        heights.fold(1.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantile::sorted;

    /// diptest.dipstat(np.sort(x)) of the Python package diptest 0.x, a port of R's diptest by M. Maechler; where it says 0, R says 1 / 2n.
    #[test]
    fn agrees_with_diptest() {
        let logit =
            |i: usize, of: f64| ((i as f64 + 0.5) / of / (1.0 - (i as f64 + 0.5) / of)).ln();
        let cases: [(Vec<f64>, f64); 7] = [
            ((1..=8).map(f64::from).collect(), 1.0 / 16.0),
            (vec![1.0, 1.1, 1.2, 1.3, 5.0, 5.1, 5.2, 5.3], 0.23125),
            (vec![61.5, 63.0, 59.25, 88.0, 60.0, 61.0, 140.75, 62.0, 60.5, 61.25], 0.05),
            (
                (0..60).map(|i| f64::from((i * 7919) % 101).powi(2) / 50.0).collect(),
                0.018463706835799853,
            ),
            (
                (0..50)
                    .map(|i| f64::from((i * 37) % 50) / 50.0)
                    .chain((0..20).map(|i| 3.0 + f64::from((i * 11) % 30) / 60.0))
                    .collect(),
                0.11527487159977172,
            ),
            ((0..60).map(|i| f64::from(i / 5)).collect(), 0.041666666666666664),
            (
                (0..360)
                    .map(|i| logit(i, 400.0))
                    .chain((0..40).map(|i| 12.0 + 0.2 * logit(i, 40.0)))
                    .collect(),
                0.041825532757268455,
            ),
        ];
        for (values, expected) in cases {
            let found = dip(&sorted(&values)).unwrap();
            assert!((found - expected).abs() < 1e-9, "{found} {expected} of {}", values.len());
        }
    }

    #[test]
    fn a_share_that_lies_apart_shows_as_half_of_it() {
        let values = |share: usize| {
            let near = (0..1000 - share).map(|i| i as f64 / 1000.0);
            sorted(&near.chain((0..share).map(|i| 5.0 + i as f64 / 1000.0)).collect::<Vec<_>>())
        };
        for share in [50, 100, 300] {
            let found = dip(&values(share)).unwrap();
            let half = share as f64 / 2000.0;
            assert!((found - half).abs() < half / 10.0, "{share}: {found}");
        }
    }

    #[test]
    fn what_is_equal_or_too_few_has_one_mode() {
        assert_eq!(dip(&[1.0, 2.0, 9.0]), None);
        assert_eq!(dip(&[3.0; 10]), Some(0.05));
        assert_eq!(
            dip(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0]).map(|dip| dip <= 0.126),
            Some(true)
        );
    }

    proptest! {
        #[test]
        fn a_scale_and_a_shift_change_nothing_and_the_mirror_image_is_alike(
            values in proptest::collection::vec(-1e3..1e3f64, 4..80), shift in -1e3..1e3f64, scale in 0.1..10.0f64,
        ) {
            let here = dip(&sorted(&values)).unwrap();
            prop_assert!((1.0 / (2.0 * values.len() as f64) - 1e-12..=0.25 + 1e-9).contains(&here), "{here}");
            for (scale, shift) in [(scale, shift), (-1.0, 0.0)] {
                let moved: Vec<f64> = values.iter().map(|x| x * scale + shift).collect();
                prop_assert!((dip(&sorted(&moved)).unwrap() - here).abs() < 1e-6);
            }
        }
    }
}
