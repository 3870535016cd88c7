//! Relabellings of the boots inside their blocks: all of them where they are few, else a random choice. The first is always the
//! one that was measured.
//!
//! They are shared: what is done to a block is done to all hypotheses that have boots in it, because the figures of one boot belong together.

use std::collections::BTreeMap;

use super::layout::{Boots, Layout, Stratum, choices};

/// Relabellings that are worked on at once.
pub(super) const LANES: usize = 64;

/// A shape of blocks: of each its number, its boots, and how many of them are the candidate's.
pub(super) type Shape = Vec<(u32, usize, usize)>;

/// The relabellings of a family.
pub(super) struct Relabellings {
    /// How many, that which was measured included.
    pub(super) count: usize,
    /// Whether they are all that there are.
    pub(super) exact: bool,
    /// Of each block of pairs, for each relabelling 1 where its sides stay and -1 where they change places; padded to whole lanes with 1.
    pub(super) signs: BTreeMap<u32, Vec<f32>>,
    /// Of each shape of strata, for each boot of each block, the base's first, and for each relabelling 1 where the boot is the candidate's, else 0.
    pub(super) labels: BTreeMap<Shape, Vec<Vec<f64>>>,
}

impl Relabellings {
    /// At most `most` relabellings of a family.
    pub(super) fn new(family: &[&Layout], most: usize, seed: u64) -> Relabellings {
        let mut signs = BTreeMap::new();
        let mut labels = BTreeMap::new();
        for layout in family {
            match &layout.boots {
                Boots::Pairs(pairs) => {
                    signs.extend(pairs.iter().map(|(block, _)| (*block, Vec::new())));
                }
                Boots::Strata(blocks) => {
                    labels.entry(shape(blocks)).or_insert_with(Vec::new);
                }
            }
        }
        // A block of pairs that is also a stratum elsewhere is relabelled twice, independently.
        let ways = signs.keys().map(|_| 2.0).product::<f64>()
            * labels.keys().flatten().map(|(_, all, some)| choices(*all, *some)).product::<f64>();
        let exact = ways <= most as f64;
        let count = if exact { ways.round() as usize } else { most };
        let padded = count.next_multiple_of(LANES);
        let mut digits = match exact {
            true => Digits::All { below: 1 },
            false => Digits::Random(fastrand::Rng::with_seed(seed)),
        };
        for row in signs.values_mut() {
            let digit = digits.of(2, count);
            *row = digit.map(|digit| if digit == 0 { 1.0 } else { -1.0 }).collect();
            row.resize(padded, 1.0);
        }
        for (shape, rows) in &mut labels {
            for (_, all, some) in shape {
                rows.extend(digits.stratum(*all, *some, count, padded));
            }
        }
        Relabellings { count, exact, signs, labels }
    }
}

/// The shape of strata.
pub(super) fn shape(blocks: &[Stratum]) -> Shape {
    blocks.iter().map(|block| (block.block, block.len(), block.candidate.len())).collect()
}

/// Which of its ways each block takes in each relabelling.
enum Digits {
    /// All combinations, as a number of mixed radix: the ways of the blocks before this one.
    All {
        below: usize,
    },
    Random(fastrand::Rng),
}

impl Digits {
    /// Of the next block with this many ways, its way in each relabelling; 0 in the first.
    fn of(&mut self, ways: usize, count: usize) -> impl Iterator<Item = usize> + use<'_> {
        let below = match self {
            Digits::All { below } => {
                let here = *below;
                *below *= ways;
                here
            }
            Digits::Random(_) => 0,
        };
        let (mut left, mut digit) = (below, 0);
        (0..count).map(move |n| match self {
            Digits::All { .. } => {
                if left == 0 {
                    (left, digit) = (below, (digit + 1) % ways);
                }
                left -= 1;
                digit
            }
            Digits::Random(_) if n == 0 => 0,
            Digits::Random(random) => random.usize(..ways),
        })
    }

    /// Of the next stratum, for each boot and relabelling whether it is the candidate's.
    fn stratum(&mut self, all: usize, some: usize, count: usize, padded: usize) -> Vec<Vec<f64>> {
        let measured = |boot: usize| if boot < all - some { 0.0 } else { 1.0 };
        let mut rows: Vec<Vec<f64>> = (0..all).map(|boot| vec![measured(boot); padded]).collect();
        if let Digits::Random(random) = self {
            let mut order: Vec<usize> = (0..all).collect();
            (1..count).for_each(|n| {
                random.shuffle(&mut order);
                for (place, boot) in order.iter().enumerate() {
                    rows[*boot][n] = measured(place);
                }
            });
            return rows;
        }
        let chosen = combinations(all, some);
        for (n, way) in self.of(chosen.len(), count).enumerate() {
            for (boot, row) in rows.iter_mut().enumerate() {
                row[n] = if chosen[way].contains(&boot) { 1.0 } else { 0.0 };
            }
        }
        rows
    }
}

/// All choices of `some` of `all`, the last ones first.
fn combinations(all: usize, some: usize) -> Vec<Vec<usize>> {
    let mut found = vec![];
    let mut chosen: Vec<usize> = (all - some..all).collect();
    loop {
        found.push(chosen.clone());
        // The first that can go down; those before it follow as close as they can.
        let Some(at) = (0..some).find(|&at| chosen[at] > at) else { return found };
        chosen[at] -= 1;
        for before in 0..at {
            chosen[before] = chosen[at] - (at - before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_choice_comes_once_and_what_was_measured_first() {
        for (all, some) in [(2, 1), (5, 2), (6, 3), (4, 4)] {
            let found = combinations(all, some);
            assert_eq!(found[0], (all - some..all).collect::<Vec<_>>());
            assert_eq!(found.len() as f64, choices(all, some).round(), "{all} {some}");
            assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len());
        }
    }

    #[test]
    fn few_blocks_are_counted_out_and_many_are_drawn() {
        let pairs = |blocks: u32| Layout {
            margin: 0.0,
            boots: Boots::Pairs((0..blocks).map(|block| (block, 1.0)).collect()),
        };
        let all = Relabellings::new(&[&pairs(3)], 10_000, 1);
        assert_eq!(all.count, 8);
        let patterns: HashSet<Vec<bool>> =
            (0..8).map(|n| all.signs.values().map(|row| row[n] > 0.0).collect()).collect();
        assert_eq!(patterns.len(), 8);
        let some = Relabellings::new(&[&pairs(20)], 1_000, 1);
        assert_eq!(some.count, 1_000);
        assert!(some.signs.values().all(|row| row[0] == 1.0 && row.len() == 1024));
        let mean = some.signs[&7][..1_000].iter().sum::<f32>() / 1_000.0;
        assert!(mean.abs() < 0.15, "{mean}");
    }
}
