//! Effects against scipy, numpy and statsmodels, and their laws.

use super::*;
use proptest::prelude::*;

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "{got} is not {expected}");
}

/// A foldover of three factors, with the mean's column.
fn design() -> Vec<Vec<f64>> {
    let rows = [
        [1, 1, 1],
        [1, -1, 1],
        [1, 1, -1],
        [1, -1, -1],
        [-1, -1, -1],
        [-1, 1, -1],
        [-1, -1, 1],
        [-1, 1, 1],
    ];
    let row = |row: &[i8; 3]| std::iter::once(1.0).chain(row.map(f64::from)).collect();
    rows.iter().map(row).collect()
}

const VALUES: [f64; 8] = [1.0, 2.5, 0.7, 2.2, 3.1, 1.9, 3.6, 1.4];

#[test]
fn pairs_agree_with_scipy() {
    let a = [3.1_f64, 2.9, 3.4, 3.0, 3.3, 2.8];
    let b = [2.6_f64, 2.7, 2.9, 2.4, 3.0, 2.5];
    let pairs: Vec<(f64, f64)> = a.iter().zip(b).map(|(a, b)| (a.ln(), b.ln())).collect();
    let found = paired(&pairs).unwrap();
    // r = scipy.stats.ttest_rel(np.log(b), np.log(a)); d = np.log(b) - np.log(a)
    // np.mean(d), scipy.stats.sem(d), r.df, r.pvalue, r.confidence_interval(.95)
    close(found.estimate, -0.13969945691683902);
    close(found.error, 0.023072583559840352);
    assert_eq!(found.degrees_of_freedom, 5);
    close(found.p(), 0.0017724873281928604);
    close(found.interval().low, -0.19900942111696568);
    close(found.interval().high, -0.08038949271671236);
}

#[test]
fn least_squares_agree_with_numpy_and_scipy() {
    // b = np.linalg.lstsq(X, y)[0]; r = y - X @ b; df = len(y) - X.shape[1]
    // se = np.sqrt(np.diag(np.linalg.inv(X.T @ X)) * (r @ r) / df); p = 2 * scipy.stats.t.sf(abs(b / se), df)
    let found = least_squares(&design(), &VALUES).unwrap();
    let expected = [
        (2.05, 3.241196821663002e-05),
        (-0.45, 0.01053253202798368),
        (-0.8, 0.0012848208619187997),
        (0.075, 0.4917670010221691),
    ];
    for (found, (estimate, p)) in found.iter().zip(expected) {
        close(found.estimate, estimate);
        close(found.error, 0.09921567416492218);
        close(found.p(), p);
        assert_eq!(found.degrees_of_freedom, 4);
    }
    // The same without the sixth row: what is missing does not shift what is there.
    let (mut rows, mut values) = (design(), VALUES.to_vec());
    rows.remove(5);
    values.remove(5);
    let found = least_squares(&rows, &values).unwrap();
    let expected = [
        (1.98125, 0.00022160853260594783),
        (-0.38125, 0.02577907850120304),
        (-0.86875, 0.0025451602763662453),
        (0.14375, 0.21743613307344858),
    ];
    for (found, (estimate, p)) in found.iter().zip(expected) {
        close(found.estimate, estimate);
        close(found.error, 0.09235066774708957);
        close(found.p(), p);
    }
}

#[test]
fn holm_agrees_with_statsmodels() {
    // statsmodels.stats.multitest.multipletests([0.01, 0.04, 0.03, 0.005, 0.6], method="holm")[1]
    let found = holm(&[0.01, 0.04, 0.03, 0.005, 0.6]);
    for (found, expected) in found.into_iter().zip([0.04, 0.09, 0.09, 0.025, 0.6]) {
        close(found, expected);
    }
    assert!(holm(&[]).is_empty());
}

#[test]
fn what_cannot_be_told_is_no_effect() {
    assert_eq!(paired(&[(1.0, 2.0)]), Err(NoInterval::TooFew));
    assert_eq!(paired(&[(1.0, 2.0), (2.0, 3.0), (4.1, 5.1)]), Err(NoInterval::NoSpread));
    assert_eq!(least_squares(&design()[..4], &VALUES[..4]), Err(NoInterval::TooFew));
    // Two columns that are the same.
    let rows: Vec<Vec<f64>> =
        design().into_iter().map(|row| vec![row[0], row[1], row[1]]).collect();
    assert_eq!(least_squares(&rows, &VALUES), Err(NoInterval::TooFew));
    let exact: Vec<f64> = design().iter().map(|row| 1.0 + 0.5 * row[2]).collect();
    assert_eq!(least_squares(&design(), &exact), Err(NoInterval::NoSpread));
    assert_eq!(least_squares(&[], &[]), Err(NoInterval::TooFew));
}

proptest! {
    #[test]
    fn an_orthogonal_column_is_half_the_difference_of_its_halves(values in proptest::collection::vec(-5.0f64..5.0, 8)) {
        if let Ok(found) = least_squares(&design(), &values) {
            for (column, effect) in found.iter().enumerate().skip(1) {
                let sum: f64 = design().iter().zip(&values).map(|(row, value)| row[column] * value).sum();
                prop_assert!((effect.estimate - sum / 8.0).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn an_interval_that_holds_nothing_goes_with_a_small_p(pairs in proptest::collection::vec((-5.0f64..5.0, -5.0f64..5.0), 2..20)) {
        if let Ok(found) = paired(&pairs) {
            let Interval { low, high, .. } = found.interval();
            prop_assert!(((low > 0.0 || high < 0.0) == (found.p() < 0.05)) || (found.p() - 0.05).abs() < 1e-6);
            let turned: Vec<(f64, f64)> = pairs.iter().map(|(from, to)| (*to, *from)).collect();
            prop_assert!((paired(&turned).unwrap().p() - found.p()).abs() < 1e-9);
        }
    }

    #[test]
    fn corrected_p_values_keep_their_order_and_never_shrink(p in proptest::collection::vec(0.0f64..1.0, 1..30)) {
        let corrected = holm(&p);
        for (a, one) in p.iter().enumerate() {
            prop_assert!(corrected[a] >= *one && corrected[a] <= 1.0);
            for (b, other) in p.iter().enumerate() {
                prop_assert!(one > other || corrected[a] <= corrected[b]);
            }
        }
        let least = p.iter().copied().fold(1.0, f64::min);
        let first = corrected.iter().copied().fold(1.0, f64::min);
        prop_assert!((first - (least * p.len() as f64).min(1.0)).abs() < 1e-12);
    }
}

#[test]
fn unchanged_pairs_are_rejected_as_often_as_asked() {
    let mut random = fastrand::Rng::with_seed(7);
    let normal = |random: &mut fastrand::Rng| {
        let (u, v) = (1.0 - random.f64(), random.f64());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    let rejected = (0..4_000).filter(|_| {
        // Blocks differ by far more than what is compared.
        let pairs: Vec<(f64, f64)> = (0..6)
            .map(|_| {
                let block = 20.0 * normal(&mut random);
                (block + normal(&mut random), block + normal(&mut random))
            })
            .collect();
        paired(&pairs).unwrap().p() < 0.05
    });
    // 200 are expected; 5 standard deviations are 69.
    let rejected = rejected.count();
    assert!(rejected.abs_diff(200) < 69, "{rejected}");
}
