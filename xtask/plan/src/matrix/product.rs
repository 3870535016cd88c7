//! From axes, excludes and includes to cells. Works on numbers, one per value of an axis, so that a million cells
//! take no longer than counting. Pure.

use std::collections::{HashMap, HashSet};

use super::{Axis, Cell, Name};

/// How many axes there are.
const AXES: usize = Axis::ALL.len();

/// A cell as numbers of its values, in the order of [`Axis::ALL`].
pub(super) type Key = [u32; AXES];

/// Values of one axis: first those that the axis lists, then others that includes brought.
#[derive(Default)]
struct Values<'t> {
    names: Vec<&'t str>,
    numbers: HashMap<&'t str, u32>,
    listed: u32,
}

impl<'t> Values<'t> {
    fn number(&mut self, name: &'t str) -> u32 {
        let next = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(name).or_insert_with(|| {
            self.names.push(name);
            next
        })
    }
}

/// The cells of a matrix while it is checked.
pub(super) struct Product<'t> {
    values: [Values<'t>; AXES],
    /// One entry per combination of listed values, the last axis running fastest.
    excluded: Vec<bool>,
    included: Vec<Key>,
    included_set: HashSet<Key>,
}

impl<'t> Product<'t> {
    /// How many combinations the axes have, if that can be counted.
    pub(super) fn count(axes: &[Vec<&'t str>; AXES]) -> Option<usize> {
        axes.iter().try_fold(1usize, |product, values| product.checked_mul(values.len()))
    }

    /// All combinations; no value may be twice in an axis. `None` where there are more than `most`.
    pub(super) fn new(axes: &[Vec<&'t str>; AXES], most: usize) -> Option<Product<'t>> {
        let count = Self::count(axes).filter(|count| *count <= most)?;
        let values = std::array::from_fn(|axis| {
            let mut values = Values::default();
            for name in &axes[axis] {
                values.number(name);
            }
            values.listed = u32::try_from(values.names.len()).unwrap_or(u32::MAX);
            values
        });
        Some(Product {
            values,
            excluded: vec![false; count],
            included: Vec::new(),
            included_set: HashSet::new(),
        })
    }

    /// Takes away the combinations that have these values, one per axis or none. Tells how many match.
    pub(super) fn exclude(&mut self, pattern: [Option<&str>; AXES]) -> usize {
        let mut ranges = [(0, 0); AXES];
        for (axis, name) in pattern.into_iter().enumerate() {
            let values = &self.values[axis];
            ranges[axis] = match name {
                None => (0, values.listed),
                Some(name) => match values.numbers.get(name) {
                    Some(number) if *number < values.listed => (*number, number + 1),
                    _ => return 0,
                },
            };
        }
        let mut matched = 0;
        for_each_key(ranges, &mut |key| {
            if let Some(at) = self.place(key) {
                self.excluded[at] = true;
                matched += 1;
            }
            true
        });
        matched
    }

    /// Adds a cell; false where it is there already.
    pub(super) fn include(&mut self, names: [&'t str; AXES]) -> bool {
        let mut key = [0; AXES];
        for (axis, name) in names.into_iter().enumerate() {
            key[axis] = self.values[axis].number(name);
        }
        if self.contains(key) {
            return false;
        }
        self.included.push(key);
        self.included_set.insert(key)
    }

    /// Whether two cells exist that differ in this axis only, by these two values.
    pub(super) fn has_pair(&self, axis: Axis, from: &str, to: &str) -> bool {
        let axis = axis as usize;
        let number = |name| self.values[axis].numbers.get(name).copied();
        let (Some(from), Some(to)) = (number(from), number(to)) else { return false };
        let with = |mut key: Key, value| {
            key[axis] = value;
            key
        };
        let mut ranges = std::array::from_fn(|axis| (0, self.values[axis].listed));
        ranges[axis] = (from, from + 1);
        let mut found = false;
        if from < self.values[axis].listed {
            for_each_key(ranges, &mut |key| {
                found = self.contains(key) && self.contains(with(key, to));
                !found
            });
        }
        found
            || self.included.iter().any(|key| {
                (key[axis] == from && self.contains(with(*key, to)))
                    || (key[axis] == to && self.contains(with(*key, from)))
            })
    }

    /// Whether an axis or an include names this value.
    pub(super) fn has(&self, axis: Axis, name: &str) -> bool {
        self.values[axis as usize].numbers.contains_key(name)
    }

    /// Whether no cell is left.
    pub(super) fn is_empty(&self) -> bool {
        self.included.is_empty() && self.excluded.iter().all(|excluded| *excluded)
    }

    /// The cells: combinations in the order of the axes, then those that were added.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let names = self
            .values
            .each_ref()
            .map(|values| values.names.iter().map(|name| Name::from(*name)).collect::<Vec<_>>());
        // By one thread: several would fight over the counts of the names' users.
        let cell = |key: Key| {
            Cell::of(
                Axis::ALL.map(|axis| names[axis as usize][key[axis as usize] as usize].clone()),
            )
        };
        let mut cells = Vec::with_capacity(self.excluded.len() + self.included.len());
        let ranges = std::array::from_fn(|axis| (0, self.values[axis].listed));
        let mut excluded = self.excluded.iter();
        for_each_key(ranges, &mut |key| {
            if excluded.next() == Some(&false) {
                cells.push(cell(key));
            }
            true
        });
        cells.extend(self.included.iter().copied().map(cell));
        cells
    }

    fn contains(&self, key: Key) -> bool {
        self.place(key).is_some_and(|at| !self.excluded[at]) || self.included_set.contains(&key)
    }

    /// Where a combination of listed values is noted; `None` where a value is not listed.
    fn place(&self, key: Key) -> Option<usize> {
        key.iter().zip(&self.values).try_fold(0, |place, (number, values)| {
            (*number < values.listed).then(|| place * values.listed as usize + *number as usize)
        })
    }
}

/// Visits every key inside the ranges, the last axis running fastest, until the visitor says no.
fn for_each_key(ranges: [(u32, u32); AXES], visit: &mut impl FnMut(Key) -> bool) {
    if ranges.iter().any(|(from, to)| from >= to) {
        return;
    }
    let mut key = ranges.map(|(from, _)| from);
    loop {
        if !visit(key) {
            return;
        }
        let Some(axis) = (0..AXES).rev().find(|axis| key[*axis] + 1 < ranges[*axis].1) else {
            return;
        };
        key[axis] += 1;
        for later in axis + 1..AXES {
            key[later] = ranges[later].0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> [Vec<&'static str>; AXES] {
        [
            vec!["k1", "k2"],
            vec!["v"],
            vec!["n1", "n2", "n3"],
            vec!["t1", "t2"],
            vec!["l"],
            vec!["running"],
        ]
    }

    #[test]
    fn the_last_axes_run_fastest() {
        let ids: Vec<String> =
            Product::new(&axes(), 100).unwrap().cells().iter().map(Cell::id).collect();
        assert_eq!(ids.len(), 12);
        assert_eq!(ids[..3], ["k1/v/n1/t1/l", "k1/v/n1/t2/l", "k1/v/n2/t1/l"]);
    }

    #[test]
    fn excludes_take_only_what_matches_in_every_key() {
        let mut product = Product::new(&axes(), 100).unwrap();
        assert_eq!(product.exclude([Some("k1"), None, Some("n2"), None, None, None]), 2);
        assert_eq!(product.exclude([Some("k3"), None, None, None, None, None]), 0);
        assert_eq!(product.cells().len(), 10);
        assert!(product.cells().iter().all(|cell| !(cell.kernel == "k1" && cell.network == "n2")));
    }

    #[test]
    fn an_excluded_cell_can_be_included_once() {
        let mut product = Product::new(&axes(), 100).unwrap();
        let cell = ["k1", "v", "n1", "t1", "l", "running"];
        assert!(!product.include(cell));
        product.exclude(cell.map(Some));
        assert!(product.include(cell));
        assert!(!product.include(cell));
        assert!(product.include(["other", "v", "n1", "t1", "l", "running"]));
        assert_eq!(product.cells().len(), 13);
    }

    #[test]
    fn pairs_are_found_among_combinations_and_added_cells() {
        let mut product = Product::new(&axes(), 100).unwrap();
        assert!(product.has_pair(Axis::Tuning, "t1", "t2"));
        assert!(!product.has_pair(Axis::Load, "l", "noisy"));
        product.include(["k1", "v", "n1", "t1", "noisy", "running"]);
        assert!(product.has_pair(Axis::Load, "l", "noisy"));
        assert!(product.has_pair(Axis::Load, "noisy", "l"));
        product.exclude([Some("k1"), Some("v"), Some("n1"), Some("t1"), Some("l"), None]);
        assert!(!product.has_pair(Axis::Load, "l", "noisy"));
    }

    #[test]
    fn products_beyond_the_bound_are_not_made() {
        assert!(Product::new(&axes(), 11).is_none());
    }
}
