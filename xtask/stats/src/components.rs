//! Spread inside groups and between them: different faults with different names.

use crate::moments::Moments;

/// The two components of spread of grouped observations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Components {
    /// Root mean square over groups of the standard deviation inside a group, every group with equal weight; groups of
    /// one observation do not count. `None` where no group has two.
    pub within: Option<f64>,
    /// Standard deviation of the groups' means. `None` with fewer than two groups.
    pub between: Option<f64>,
}

/// Components of groups given by their moments. Groups without observations do not count.
pub fn components(groups: &[Moments]) -> Components {
    let sds: Vec<f64> = groups.iter().filter_map(Moments::sd).collect();
    let means: Vec<f64> =
        groups.iter().filter(|group| group.count > 0).map(|group| group.mean).collect();
    Components { within: root_mean_square(&sds), between: Moments::of(&means).sd() }
}

/// Root of the mean of squares; `None` without values.
pub fn root_mean_square(values: &[f64]) -> Option<f64> {
    let squares: f64 = values.iter().map(|value| value * value).sum();
    (!values.is_empty()).then(|| (squares / values.len() as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn agrees_with_numpy() {
        // np.sqrt(np.mean(np.square([2., 3., 6.])))
        assert!((root_mean_square(&[2.0, 3.0, 6.0]).unwrap() - 4.041451884327381).abs() < 1e-9);
        assert_eq!(root_mean_square(&[]), None);
    }

    #[test]
    fn spread_is_told_apart() {
        let steady = [[10.0, 10.0], [20.0, 20.0]].map(|group| Moments::of(&group));
        let found = components(&steady);
        assert_eq!(found.within, Some(0.0));
        assert!((found.between.unwrap() - 50f64.sqrt()).abs() < 1e-12);
        let restless = [[10.0, 20.0], [20.0, 10.0]].map(|group| Moments::of(&group));
        let found = components(&restless);
        assert_eq!(found.between, Some(0.0));
        assert!((found.within.unwrap() - 50f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn too_little_is_no_number() {
        let single = [Moments::of(&[1.0]), Moments::default()];
        assert_eq!(components(&single), Components { within: None, between: None });
    }

    proptest! {
        #[test]
        fn a_shift_of_one_group_changes_only_the_spread_between(
            a in proptest::collection::vec(-1e3..1e3f64, 2..20), b in proptest::collection::vec(-1e3..1e3f64, 2..20),
            shift in 1e5..1e6f64,
        ) {
            let moved: Vec<f64> = b.iter().map(|x| x + shift).collect();
            let before = components(&[Moments::of(&a), Moments::of(&b)]);
            let after = components(&[Moments::of(&a), Moments::of(&moved)]);
            prop_assert!((before.within.unwrap() - after.within.unwrap()).abs() < 1e-4);
            prop_assert!(after.between > before.between);
        }
    }
}
