//! `--shard I/N`: a part of a matrix for one of several runners. Pure, and made before anything is known of the host,
//! so that every runner parts alike.
//!
//! The unit is all cells that contrasts join, directly or over others: a comparison never crosses hosts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::place;
use crate::matrix::quoted;

/// No more shards than this: there is no use for more, and a bound catches mistakes.
const MOST: u32 = 10_000;

/// Which part of how many.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(into = "String", try_from = "String")]
pub struct Shard {
    /// 1-based.
    index: u32,
    of: u32,
}

/// A shard that was not written as I/N.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadShard(String);

impl fmt::Display for BadShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadShard {}

impl FromStr for Shard {
    type Err = BadShard;

    fn from_str(text: &str) -> Result<Shard, BadShard> {
        let number = |digits: &str| {
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse::<u32>().ok()).flatten()
        };
        let parts = text.split_once('/').and_then(|(i, n)| Some((number(i)?, number(n)?)));
        match parts {
            Some((index, of)) if 1 <= index && index <= of && of <= MOST => Ok(Shard { index, of }),
            _ => Err(BadShard(format!(
                "{} is no shard; write it as I/N with 1 <= I <= N <= {MOST}, as in 2/4",
                quoted(text)
            ))),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

impl TryFrom<String> for Shard {
    type Error = BadShard;

    fn try_from(text: String) -> Result<Shard, BadShard> {
        text.parse()
    }
}

impl Shard {
    /// All of so many; none where there are too many.
    pub fn all(of: u32) -> impl Iterator<Item = Shard> {
        (1..=of.min(MOST)).map(move |index| Shard { index, of })
    }

    /// Which, 1-based.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Of how many.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Indices of this shard's cells, in their order. `times` has the estimated time of every cell, `groups` a number for those that need
    /// hosts of one kind, `joined` the pairs of cells that must stay together, where one host can measure both. Each group has shards of
    /// its own, unless there are fewer shards than groups. Longest units are dealt first, each to the shard that has least to do (LPT: the
    /// longest shard takes at most 4/3 of the best possible, Graham 1969). There may be none, where
    /// there are fewer units than shards.
    pub fn select(
        self,
        times: &[Duration],
        groups: &[usize],
        joined: &[(usize, usize)],
    ) -> Vec<usize> {
        let mut lengths = vec![Duration::ZERO; groups.iter().max().map_or(1, |most| most + 1)];
        for (cell, group) in groups.iter().enumerate() {
            lengths[*group] = lengths[*group].saturating_add(times[cell]);
        }
        // The shard of a group is told by the group and its place among the group's shards.
        let shares = place::share(self.of, &lengths);
        let group_of = |cell: usize| if shares.is_some() { groups[cell] } else { 0 };
        let shares = shares.as_deref().unwrap_or(std::slice::from_ref(&self.of));
        let mut first = 0;
        let Some((group, index)) = shares.iter().enumerate().find_map(|(group, share)| {
            let index = self.index.checked_sub(first).filter(|index| index <= share);
            first += share;
            index.map(|index| (group, index))
        }) else {
            return Vec::new();
        };
        let members: Vec<usize> =
            (0..times.len()).filter(|cell| group_of(*cell) == group).collect();
        let mut place = vec![None; times.len()];
        members.iter().enumerate().for_each(|(at, cell)| place[*cell] = Some(at));
        let times: Vec<Duration> = members.iter().map(|cell| times[*cell]).collect();
        let joined: Vec<(usize, usize)> =
            joined.iter().filter_map(|(a, b)| place[*a].zip(place[*b])).collect();
        let part = Shard { index, of: shares[group] };
        part.deal(&times, &joined).into_iter().map(|at| members[at]).collect()
    }

    /// The same of cells that any host can measure.
    fn deal(self, times: &[Duration], joined: &[(usize, usize)]) -> Vec<usize> {
        let mut units = Units::new(times.len());
        for (a, b) in joined {
            units.join(*a, *b);
        }
        // A unit is known by its first cell.
        let mut time = vec![Duration::ZERO; times.len()];
        let unit_of: Vec<usize> = (0..times.len()).map(|cell| units.first_of(cell)).collect();
        for (cell, unit) in unit_of.iter().enumerate() {
            time[*unit] = time[*unit].saturating_add(times[cell]);
        }
        let mut longest_first: Vec<usize> = unit_of
            .iter()
            .enumerate()
            .filter(|(cell, unit)| cell == *unit)
            .map(|(cell, _)| cell)
            .collect();
        longest_first.sort_by_key(|unit| (Reverse(time[*unit]), *unit));
        let mut shards: BinaryHeap<Reverse<(Duration, u32)>> =
            (1..=self.of).map(|shard| Reverse((Duration::ZERO, shard))).collect();
        let mut shard_of = vec![0; times.len()];
        for unit in longest_first {
            if let Some(Reverse((load, shard))) = shards.pop() {
                shard_of[unit] = shard;
                shards.push(Reverse((load.saturating_add(time[unit]), shard)));
            }
        }
        (0..times.len()).filter(|cell| shard_of[unit_of[*cell]] == self.index).collect()
    }
}

/// Sets of joined cells (union-find with path halving); a set is known by its first cell.
struct Units {
    parent: Vec<usize>,
}

impl Units {
    fn new(count: usize) -> Units {
        Units { parent: (0..count).collect() }
    }

    fn first_of(&mut self, mut cell: usize) -> usize {
        while self.parent[cell] != cell {
            self.parent[cell] = self.parent[self.parent[cell]];
            cell = self.parent[cell];
        }
        cell
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.first_of(a), self.first_of(b));
        self.parent[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shards_are_written_as_a_part_of_a_whole() {
        assert_eq!("2/4".parse::<Shard>().unwrap().to_string(), "2/4");
        for wrong in
            ["", "0/4", "5/4", "1", "1/", "/2", "+1/2", "1/2/3", "-1/2", "1/10001", "1/99999999999"]
        {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    /// Times of cells in seconds, and pairs of them.
    fn problem() -> impl Strategy<Value = (Vec<Duration>, Vec<(usize, usize)>)> {
        prop::collection::vec(1u64..100, 1..40).prop_flat_map(|seconds| {
            let cells = seconds.len();
            let times = seconds.into_iter().map(Duration::from_secs).collect::<Vec<_>>();
            (Just(times), prop::collection::vec((0..cells, 0..cells), 0..20))
        })
    }

    proptest! {
        #[test]
        fn shards_are_disjoint_complete_whole_and_balanced((times, joined) in problem(), of in 1u32..6) {
            let shards: Vec<Vec<usize>> =
                (1..=of).map(|index| Shard { index, of }.select(&times, &vec![0; times.len()], &joined)).collect();
            let mut all: Vec<usize> = shards.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..times.len()).collect::<Vec<_>>());
            for (a, b) in &joined {
                prop_assert!(shards.iter().any(|shard| shard.contains(a) && shard.contains(b)));
            }
            // Greedy: no two shards differ by more than the longest unit.
            let mut units = Units::new(times.len());
            joined.iter().for_each(|(a, b)| units.join(*a, *b));
            let mut lengths = vec![Duration::ZERO; times.len()];
            for (cell, time) in times.iter().enumerate() {
                lengths[units.first_of(cell)] += *time;
            }
            let load = |shard: &Vec<usize>| shard.iter().map(|cell| times[*cell]).sum::<Duration>();
            let loads: Vec<Duration> = shards.iter().map(load).collect();
            let spread = *loads.iter().max().unwrap() - *loads.iter().min().unwrap();
            prop_assert!(spread <= *lengths.iter().max().unwrap());
        }
    }
}
