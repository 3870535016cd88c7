//! Count, mean and sum of squared deviations of a stream, in one pass and mergeable.

/// Running moments. Welford (1962) for one observation, Chan, Golub & LeVeque (1979) for merging.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many observations.
    pub count: u64,
    /// Their arithmetic mean; 0 without any.
    pub mean: f64,
    /// The sum of squared deviations from the mean.
    pub m2: f64,
}

impl Moments {
    /// Moments of a slice.
    pub fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|&value| moments.push(value));
        moments
    }

    /// Adds one observation.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.m2 += before * (value - self.mean);
    }

    /// The moments of both sets of observations together.
    pub fn merge(self, other: Moments) -> Moments {
        if self.count == 0 {
            return other;
        }
        if other.count == 0 {
            return self;
        }
        let count = self.count + other.count;
        let share = other.count as f64 / count as f64;
        let apart = other.mean - self.mean;
        Moments {
            count,
            mean: self.mean + apart * share,
            m2: self.m2 + other.m2 + apart * apart * share * self.count as f64,
        }
    }

    /// Unbiased variance (divisor n - 1); `None` with fewer than two observations.
    pub fn variance(&self) -> Option<f64> {
        (self.count >= 2).then(|| (self.m2 / (self.count - 1) as f64).max(0.0))
    }

    /// Standard deviation: the root of [`Moments::variance`].
    pub fn sd(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const X: [f64; 10] = [61.5, 63.0, 59.25, 88.0, 60.0, 61.0, 140.75, 62.0, 60.5, 61.25];

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
    }

    #[test]
    fn agrees_with_numpy() {
        let moments = Moments::of(&X);
        assert!(close(moments.mean, 71.725)); // np.mean(x)
        assert!(close(moments.sd().unwrap(), 25.708691245482633)); // np.std(x, ddof=1)
        assert!(close(moments.m2, 5948.431249999999)); // np.var(x) * 10
    }

    #[test]
    fn keeps_small_deviations_from_a_large_mean() {
        let moments = Moments::of(&[1e6 + 1.0, 1e6 + 2.0, 1e6 + 4.0, 1e6 + 8.0]);
        assert!(close(moments.sd().unwrap(), 3.095695936834452)); // np.std([1., 2., 4., 8.], ddof=1)
    }

    #[test]
    fn one_observation_has_no_spread() {
        assert_eq!(Moments::of(&[3.0]).sd(), None);
        assert_eq!(Moments::of(&[3.0, 3.0]).sd(), Some(0.0));
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec(-1e6..1e6f64, 0..40)
    }

    proptest! {
        #[test]
        fn merging_is_pushing_in_any_grouping(a in values(), b in values(), c in values()) {
            let all = Moments::of(&[a.clone(), b.clone(), c.clone()].concat());
            let [a, b, c] = [a, b, c].map(|part| Moments::of(&part));
            for merged in [a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)] {
                prop_assert_eq!(merged.count, all.count);
                prop_assert!((merged.mean - all.mean).abs() < 1e-6);
                prop_assert!((merged.m2 - all.m2).abs() <= 1e-9 * all.m2.max(1.0));
            }
        }

        #[test]
        fn sd_ignores_a_shift_and_follows_a_scale(
            a in proptest::collection::vec(-1e3..1e3f64, 2..40), shift in -1e3..1e3f64, scale in 0.01..100.0f64,
        ) {
            let sd = Moments::of(&a).sd().unwrap();
            let moved: Vec<f64> = a.iter().map(|x| x * scale + shift).collect();
            prop_assert!((Moments::of(&moved).sd().unwrap() - sd * scale).abs() < 1e-7);
        }
    }
}
