//! Which cells need a host of their own kind: one that boots a kernel which the matrix knows by the labels of its runners. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::matrix::{Cell, Matrix, RUNNING};

/// Labels of the runners that boot the kernel that a cell's host must run; none where any host will do. A container's host runs the
/// cell's kernel, and a guest's the host-kernel: `guests` are the kinds of virtualization that bring a kernel of their own.
pub fn labels<'m>(matrix: &'m Matrix, guests: &[&str], cell: &Cell) -> &'m [String] {
    let kernel = match guests.contains(&&*cell.virtualization) {
        true => &cell.host_kernel,
        false => &cell.kernel,
    };
    let source = matrix.kernels.get(&**kernel).filter(|_| *kernel != RUNNING);
    source.map_or(&[], |source| &source.runner)
}

/// Cells by the labels that they need: a number for each cell, by the order of the labels.
pub(super) fn groups<'m>(
    matrix: &'m Matrix,
    guests: &[&str],
    cells: impl Iterator<Item = &'m Cell> + Clone,
) -> Vec<usize> {
    let of = |cell: &Cell| labels(matrix, guests, cell);
    let known: BTreeSet<&[String]> = cells.clone().map(of).collect();
    let known: Vec<&[String]> = known.into_iter().collect();
    cells.map(|cell| known.binary_search(&of(cell)).unwrap_or(0)).collect()
}

/// Shares so many shards among groups that take so long: how many each has. Each has one; each further goes to the group whose shards
/// have most to do. With fewer shards than groups, none: they are not kept apart.
pub(super) fn share(shards: u32, times: &[Duration]) -> Option<Vec<u32>> {
    let mut left = shards.checked_sub(u32::try_from(times.len()).ok()?)?;
    let mut of = vec![1; times.len()];
    while left > 0 {
        let busiest = (0..times.len()).rev().max_by_key(|at| times[*at] / of[*at])?;
        of[busiest] += 1;
        left -= 1;
    }
    Some(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_go_where_most_is_to_do_and_every_group_has_one() {
        let of = |shards, seconds: &[u64]| {
            let times: Vec<Duration> = seconds.iter().copied().map(Duration::from_secs).collect();
            share(shards, &times)
        };
        assert_eq!(of(2, &[1, 100]), Some(vec![1, 1]));
        assert_eq!(of(5, &[10, 100]), Some(vec![1, 4]));
        assert_eq!(of(4, &[10, 10]), Some(vec![2, 2]));
        assert_eq!(of(3, &[0, 0]), Some(vec![2, 1]));
        assert_eq!(of(1, &[1, 1]), None);
        assert_eq!(of(3, &[5]), Some(vec![3]));
    }
}
