//! The nearest right name to a wrong one: "did you mean". Pure.

use std::cmp::Reverse;

/// Names longer than this get no suggestion: nobody mistypes them, and the distance is quadratic.
const LONGEST: usize = 100;

/// The name of `known` that `wrong` most likely stands for, if one is near enough: equal but for case, or within one
/// edit for every three characters. Among equally near names the one with the longer common start and end: a letter
/// left out is likelier than a wrong one.
pub fn nearest<'k>(wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if wrong.len() > LONGEST {
        return None;
    }
    let wrong: Vec<char> = wrong.to_lowercase().chars().collect();
    let bound = (wrong.len() / 3).max(1);
    known
        .into_iter()
        .filter(|name| name.len() <= LONGEST)
        .filter_map(|name| {
            let right: Vec<char> = name.to_lowercase().chars().collect();
            let near = wrong.len().abs_diff(right.len()) <= bound;
            let edits = near.then(|| distance(&wrong, &right)).filter(|edits| *edits <= bound)?;
            Some((edits, Reverse(common_ends(&wrong, &right)), name))
        })
        .min_by_key(|(edits, common, _)| (*edits, *common))
        .map(|(.., name)| name)
}

/// Characters that two words share at their start and at their end.
fn common_ends(a: &[char], b: &[char]) -> usize {
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    start + end
}

/// Edits between two words: insertion, deletion, substitution, swap of neighbours
/// (optimal string alignment, a restricted Damerau-Levenshtein distance).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for j in 0..b.len() {
            let substituted = last[j] + usize::from(a[i] != b[j]);
            let mut edits = substituted.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                let swapped: &Vec<usize> = &before_last;
                edits = edits.min(swapped[j - 1] + 1);
            }
            row.push(edits);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [&str; 4] = ["netns", "runc", "docker", "qemu"];

    #[test]
    fn typing_errors_find_their_name() {
        for (wrong, right) in [
            ("dokcer", "docker"),
            ("Docker", "docker"),
            ("QEMU", "qemu"),
            ("netn", "netns"),
            ("run", "runc"),
            ("dockerr", "docker"),
        ] {
            assert_eq!(nearest(wrong, KNOWN), Some(right), "{wrong}");
        }
    }

    #[test]
    fn far_names_find_nothing() {
        for wrong in ["", "xyz", "podman", &"docker".repeat(100)] {
            assert_eq!(nearest(wrong, KNOWN), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_zero_only_for_equals(a in "[a-c]{0,6}", b in "[a-c]{0,6}") {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
        }
    }
}
