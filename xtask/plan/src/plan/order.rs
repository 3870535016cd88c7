//! The order of boots: blocks, shuffled inside, with balanced positions. Pure; equal seeds give equal orders.
//!
//! A block holds one boot of every cell, so that whatever drifts slowly hits all cells alike. Blocks come in pairs:
//! the second runs the order of the first backwards. A cell that came first then comes last, its two positions always
//! sum to the same, and a drift that is linear in time cancels exactly, at the end of the run and at the end of every
//! pair, where a run may be cut short. An odd count ends with three blocks that sum alike (a Kotzig array with
//! three rows), for an odd number of cells; for an even number no such three exist, and sums differ by one.
//!
//! Cells are ordered by a hash of seed and id: whether one cell can run does not change the order of two others
//! (in the last two of three blocks it may).

/// The cells of one block in their order: indices into `ids`, which holds [`id_hash`] of every cell.
/// `block` is 0-based and less than `blocks`.
pub fn block(ids: &[u64], seed: u64, block: u32, blocks: u32) -> Vec<usize> {
    let triple = if blocks % 2 == 1 && blocks >= 3 { blocks - 3 } else { blocks };
    let in_triple = block >= triple;
    // Blocks of one pair, or of the triple, share a shuffle.
    let first = if in_triple { triple } else { block - block % 2 };
    let shuffled = shuffled(ids, mix(seed ^ mix(u64::from(first))));
    match (in_triple, block - first) {
        (_, 0) => shuffled,
        (false, _) => shuffled.into_iter().rev().collect(),
        (true, row) => {
            let mut order = vec![0; shuffled.len()];
            for (rank, cell) in shuffled.iter().enumerate() {
                order[kotzig(row, rank, shuffled.len())] = *cell;
            }
            order
        }
    }
}

/// The sides of one cell in the order in which a block has them, one right after the other: what is slower than a boot meets both
/// alike. Which comes first is a matter of chance in each pair of blocks, and the second block of a pair has them the other way round.
pub fn sides(of_cell: &[usize], seed: u64, block: u32) -> Vec<usize> {
    let mut order = of_cell.to_vec();
    if (mix(seed ^ mix(u64::from(block / 2))) ^ u64::from(block)) & 1 == 1 {
        order.reverse();
    }
    order
}

/// Position in row 1 or 2 of what is at position `rank` in row 0, of `n`. For odd `n` the three positions sum to
/// `3 (n - 1) / 2`; for even `n` to one of the two whole numbers beside it.
/// (A. Kotzig, On magic valuations of trichromatic graphs, 1971.)
fn kotzig(row: u32, rank: usize, n: usize) -> usize {
    let (half, step, odd_rank) = (n / 2, rank / 2, rank % 2 == 1);
    match (row, n % 2 == 1, odd_rank) {
        (1, true, false) => half - step,
        (1, true, true) => n - 1 - step,
        (1, false, false) => half - 1 - step,
        (1, false, true) => n - 1 - step,
        (_, _, false) => n - 1 - step,
        (_, _, true) => half - 1 - step,
    }
}

/// Indices by the hash of seed and id; equal hashes keep their order.
fn shuffled(ids: &[u64], seed: u64) -> Vec<usize> {
    let mut keyed: Vec<(u64, usize)> =
        ids.iter().enumerate().map(|(index, id)| (mix(seed ^ id), index)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, index)| index).collect()
}

/// A hash of a cell's id that is the same on every machine and in every version (FNV-1a, 64 bits).
pub fn id_hash(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014), which changes every bit with every bit.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(count: usize) -> Vec<u64> {
        (0..count).map(|n| id_hash(&format!("running/netns/veth/t{n}/idle"))).collect()
    }

    /// Sums of positions by cell after each block.
    fn sums(cells: usize, seed: u64, blocks: u32) -> Vec<Vec<usize>> {
        let ids = ids(cells);
        let mut sums = vec![0; cells];
        let each = (0..blocks).map(|number| {
            for (position, cell) in block(&ids, seed, number, blocks).into_iter().enumerate() {
                sums[cell] += position;
            }
            sums.clone()
        });
        each.collect()
    }

    fn spread(sums: &[usize]) -> usize {
        sums.iter().max().unwrap() - sums.iter().min().unwrap()
    }

    proptest! {
        #[test]
        fn every_block_holds_every_cell_once(cells in 0usize..40, seed: u64, blocks in 1u32..12) {
            for number in 0..blocks {
                let mut order = block(&ids(cells), seed, number, blocks);
                order.sort_unstable();
                prop_assert_eq!(order, (0..cells).collect::<Vec<_>>());
            }
        }

        #[test]
        fn positions_are_as_equal_as_can_be(cells in 1usize..40, seed: u64, blocks in 2u32..12) {
            let sums = sums(cells, seed, blocks);
            let best = usize::from(blocks % 2 == 1 && cells % 2 == 0);
            prop_assert_eq!(spread(&sums[blocks as usize - 1]), best);
            // Every pair of blocks is balanced by itself.
            let pairs = if blocks % 2 == 1 { blocks - 3 } else { blocks };
            for after in (1..pairs as usize).step_by(2) {
                prop_assert_eq!(spread(&sums[after]), 0);
            }
        }

        #[test]
        fn a_missing_cell_does_not_change_the_order_of_the_others(cells in 2usize..30, gone in 0usize..30, seed: u64, pairs in 1u32..5) {
            let all = ids(cells);
            let gone = all[gone % cells];
            let left: Vec<u64> = all.iter().copied().filter(|id| *id != gone).collect();
            for number in 0..2 * pairs {
                let with: Vec<u64> = block(&all, seed, number, 2 * pairs).into_iter().map(|i| all[i]).collect();
                let without: Vec<u64> = block(&left, seed, number, 2 * pairs).into_iter().map(|i| left[i]).collect();
                prop_assert_eq!(with.into_iter().filter(|id| *id != gone).collect::<Vec<_>>(), without);
            }
        }
    }

    #[test]
    fn seeds_and_pairs_shuffle_differently() {
        let ids = ids(20);
        assert_eq!(block(&ids, 1, 0, 4), block(&ids, 1, 0, 4));
        assert_ne!(block(&ids, 1, 0, 4), block(&ids, 2, 0, 4));
        assert_ne!(block(&ids, 1, 0, 4), block(&ids, 1, 2, 4));
    }

    #[test]
    fn every_place_is_as_likely_for_every_cell() {
        // 5 cells, 2000 shuffles: each cell is first 400 times give or take; 5 standard deviations are 90.
        let ids = ids(5);
        let mut first = [0u32; 5];
        for seed in 0..2000 {
            first[block(&ids, seed, 0, 2)[0]] += 1;
        }
        assert!(first.iter().all(|times| times.abs_diff(400) < 90), "{first:?}");
    }
}
