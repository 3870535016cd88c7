//! Two-level fractions of all combinations of factors: a Hadamard matrix and its negative, one under the other ("foldover").
//!
//! Every factor is on in half of the rows, and any two are both on, both off, and each alone on in a quarter: their columns are orthogonal.
//! Since each row is there with all signs changed, the product of two columns is orthogonal to every single one: effects of single
//! factors are clear of interactions of two (resolution IV), which knobs have. The first row has all factors on, the last all off.
//!
//! Hadamard matrices are made as Sylvester (1867) and Paley (1933) did, from which those of Plackett and Burman (1946) come.

/// The largest order that is looked for.
const LARGEST: usize = 1 << 12;

/// Rows of a fraction for so many factors: which are on. `None` for more factors than a matrix is made for.
pub(super) fn rows(factors: usize) -> Option<Vec<Vec<bool>>> {
    let hadamard = (factors..=LARGEST).find_map(hadamard)?;
    let half = hadamard.iter().map(|row| row[..factors].to_vec());
    let other = half.clone().rev().map(|row| row.into_iter().map(|on| !on).collect());
    Some(half.chain(other).collect())
}

/// A Hadamard matrix of this order, its first row and column all `true`, where one is made here: by Paley for a prime that leaves 3 when divided
/// by 4, plus one, and by doubling.
fn hadamard(order: usize) -> Option<Vec<Vec<bool>>> {
    match order {
        0 => None,
        1 => Some(vec![vec![true]]),
        _ if order % 2 == 1 => None,
        _ => paley(order - 1).or_else(|| Some(doubled(&hadamard(order / 2)?))),
    }
}

/// Sylvester's doubling: H H over H -H.
fn doubled(half: &[Vec<bool>]) -> Vec<Vec<bool>> {
    let wide = |row: &Vec<bool>, keep: bool| {
        row.iter().copied().chain(row.iter().map(|on| *on == keep)).collect()
    };
    half.iter().map(|row| wide(row, true)).chain(half.iter().map(|row| wide(row, false))).collect()
}

/// Paley's first construction of order q + 1: inside a border, whether the difference of column and row is a square modulo q.
fn paley(q: usize) -> Option<Vec<Vec<bool>>> {
    if q % 4 != 3 || (2..q).take_while(|d| d * d <= q).any(|d| q.is_multiple_of(d)) {
        return None;
    }
    let mut square = vec![false; q];
    (1..q).for_each(|root| square[root * root % q] = true);
    let row = |r: usize| {
        // The diagonal is off, so that a row begins with `true` and has as many on as off.
        std::iter::once(true).chain((0..q).map(|c| square[(c + q - r) % q])).collect()
    };
    Some(std::iter::once(vec![true; q + 1]).chain((0..q).map(row)).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn sign(on: bool) -> i64 {
        if on { 1 } else { -1 }
    }

    fn product(rows: &[Vec<bool>], columns: &[usize]) -> i64 {
        rows.iter().map(|row| columns.iter().map(|c| sign(row[*c])).product::<i64>()).sum()
    }

    #[test]
    fn orders_are_those_that_can_be_made() {
        let orders: Vec<usize> = (1..70).filter(|order| hadamard(*order).is_some()).collect();
        assert_eq!(orders, [1, 2, 4, 8, 12, 16, 20, 24, 32, 40, 44, 48, 60, 64, 68]);
    }

    #[test]
    fn few_factors_are_turned_in_every_combination() {
        for factors in 1..=3 {
            let rows: BTreeSet<_> = rows(factors).unwrap().into_iter().collect();
            assert_eq!(rows.len(), 1 << factors);
        }
        assert_eq!(rows(0), Some(vec![vec![], vec![]]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn columns_are_balanced_orthogonal_and_clear_of_pairs(factors in 1usize..61) {
            let rows = rows(factors).unwrap();
            prop_assert!(rows.len() >= 2 * factors && rows.len() <= 2 * factors + 24);
            prop_assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len());
            prop_assert!(rows[0].iter().all(|on| *on));
            prop_assert!(rows[rows.len() - 1].iter().all(|on| !*on));
            for a in 0..factors {
                prop_assert_eq!(product(&rows, &[a]), 0);
                for b in 0..a {
                    prop_assert_eq!(product(&rows, &[a, b]), 0);
                    for c in 0..b {
                        prop_assert_eq!(product(&rows, &[a, b, c]), 0);
                    }
                }
            }
        }
    }
}
