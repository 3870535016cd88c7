//! Which cells a contrast compares. Pure.

use std::collections::HashMap;

use super::{Axis, Cell, Contrast};

/// The pairs of cells that a contrast compares, (from, to), as indices into `cells`, by their `from`: equal on
/// all axes but the contrast's. A million cells take a fraction of a second.
pub fn pairs<'c>(
    cells: impl IntoIterator<Item = &'c Cell>,
    contrast: &Contrast,
) -> Vec<(usize, usize)> {
    let mut numbers = Numbers::default();
    let mut from = Vec::new();
    let mut to = HashMap::new();
    for (index, cell) in cells.into_iter().enumerate() {
        let value = cell.on(contrast.axis);
        if value == contrast.from {
            from.push((numbers.others(cell, contrast.axis), index));
        } else if value == contrast.to {
            to.insert(numbers.others(cell, contrast.axis), index);
        }
    }
    from.into_iter().filter_map(|(key, index)| Some((index, *to.get(&key)?))).collect()
}

/// Numbers of values by axis. Neighbouring cells share most values, so the last one is tried first.
#[derive(Default)]
struct Numbers<'c> {
    known: [HashMap<&'c str, u32>; Axis::ALL.len()],
    last: [Option<(&'c str, u32)>; Axis::ALL.len()],
}

impl<'c> Numbers<'c> {
    /// The cell's values as numbers, but zero on one axis.
    fn others(&mut self, cell: &'c Cell, but: Axis) -> [u32; Axis::ALL.len()] {
        Axis::ALL
            .map(|axis| if axis == but { 0 } else { self.number(axis as usize, cell.on(axis)) })
    }

    fn number(&mut self, axis: usize, name: &'c str) -> u32 {
        if let Some((_, number)) = self.last[axis].filter(|(last, _)| *last == name) {
            return number;
        }
        let known = &mut self.known[axis];
        let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
        let number = *known.entry(name).or_insert(next);
        self.last[axis] = Some((name, number));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(id: &str) -> Cell {
        let mut parts = id.split('/').chain(["running"]);
        Cell::of(Axis::ALL.map(|_| parts.next().unwrap()))
    }

    #[test]
    fn pairs_are_equal_on_all_other_axes() {
        let cells = ["k/v/n/b/x", "k/v/n/a/x", "k/v/n/a/y", "j/v/n/b/y", "j/v/n/a/y", "j/v/n/c/y"]
            .map(cell);
        let contrast =
            Contrast { name: "c".into(), axis: Axis::Tuning, from: "a".into(), to: "b".into() };
        assert_eq!(pairs(&cells, &contrast), [(1, 0), (4, 3)]);
    }
}
