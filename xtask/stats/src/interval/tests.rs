//! Intervals against scipy, their coverage, and their laws.

use super::*;
use proptest::prelude::*;

const A: [f64; 5] = [105.0, 98.5, 110.25, 101.0, 95.75];
const B: [f64; 5] = [52.0, 61.5, 55.25, 49.0, 58.0];

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "{got} is not {expected}");
}

#[test]
fn few_boots_agree_with_scipy() {
    // r = scipy.stats.ttest_ind(np.log(b), np.log(a), equal_var=False); np.exp(r.confidence_interval(.95))
    let found = ratio(&A, &B, 1).unwrap();
    close(found.estimate, 0.5391059266291649);
    close(found.low, 0.4819715827665593);
    close(found.high, 0.6030131454191113);
    close(ratio_of_geometric_means(&A, &B).unwrap(), 0.5391059266291649);
    // scipy.stats.gmean(a)
    close(geometric_mean(&A, 1).unwrap().estimate, 101.97479873308794);
    // scipy.stats.ttest_1samp(a, 0).confidence_interval(.95)
    let found = mean(&A, 1).unwrap();
    close(found.low, 95.03982709888415);
    close(found.high, 109.16017290111584);
}

#[test]
fn a_p_value_and_the_interval_beside_it_say_the_same() {
    // Of observations that are moved until an end of their interval is 1.
    let found = ratio(&A, &B, 1).unwrap();
    for end in [found.low, found.high] {
        let moved = B.map(|value| value / end);
        close(p_of_ratio(&A, &moved).unwrap(), 0.05);
        close(p_of_ratio(&moved, &A).unwrap(), 0.05);
    }
    assert!(p_of_ratio(&A, &B).unwrap() < 1e-5);
    assert_eq!(p_of_ratio(&A, &A), Ok(1.0));
    assert_eq!(p_of_ratio(&A, &[1.0]), Err(NoInterval::TooFew));
    assert_eq!(p_of_ratio(&A, &[1.0, 0.0]), Err(NoInterval::NotPositive));
    assert_eq!(p_of_ratio(&[2.0, 2.0], &[3.0, 3.0]), Err(NoInterval::NoSpread));
}

#[test]
fn shares_agree_with_scipy() {
    // scipy.stats.binomtest(k, n).proportion_ci(.95, method="exact"); of none and of all .90
    for (hits, trials, low, high) in [
        (3, 10, 0.06673951117773447, 0.652452850060008),
        (396, 400, 0.9745951990926637, 0.9972688040287574),
    ] {
        let found = share(hits, trials).unwrap();
        close(found.low, low);
        close(found.high, high);
        close(found.estimate, hits as f64 / trials as f64);
    }
    let (none, all) = (share(0, 299).unwrap(), share(50, 50).unwrap());
    assert_eq!((none.low, all.high), (0.0, 1.0));
    close(none.high, 0.009969146792958022);
    close(all.low, 0.9418449208830241);
    assert_eq!(share(0, 0), Err(NoInterval::TooFew));
    assert_eq!(share(2, 1), Err(NoInterval::TooFew));
}

#[test]
fn upper_ends_of_shares_agree_with_scipy() {
    // scipy.stats.beta.ppf(.95, k + 1, n - k)
    for (hits, trials, most) in [
        (0, 1, 0.95),
        (0, 12, 0.22092219194555585),
        (0, 299, 0.009969146792899269),
        (1, 12, 0.3386806684340324),
        (3, 40, 0.18258685001590122),
        (59, 60, 0.9991454770730508),
    ] {
        close(share_at_most(hits, trials).unwrap(), most);
    }
    assert_eq!(share_at_most(5, 5), Ok(1.0));
    assert_eq!(share_at_most(0, 0), Err(NoInterval::TooFew));
    assert_eq!(share_at_most(2, 1), Err(NoInterval::TooFew));
}

#[test]
fn the_median_lies_between_scipys_order_statistics() {
    // scipy.stats.quantile_test(x, q=1, p=.5).confidence_interval(.95)
    let x = [0.91, 1.3, 0.99, 1.02, 1.0, 1.001, 0.97, 1.004, 1.006, 1.01, 0.995, 1.003];
    let found = median(&x).unwrap();
    assert_eq!([found.low, found.high], [0.99, 1.01]);
    close(found.estimate, 1.002);
    let six = [0.91, 0.97, 0.99, 0.995, 1.0, 1.001];
    let found = median(&six).unwrap();
    assert_eq!([found.low, found.high], [0.91, 1.001]);
    assert_eq!(median(&six[1..]), Err(NoInterval::TooFew));
    assert_eq!(median(&[]), Err(NoInterval::TooFew));
}

#[test]
fn student_quantiles_agree_with_scipy() {
    // scipy.stats.t.ppf(.975, df)
    for (df, expected) in [
        (1.0, 12.706204736174694),
        (1.3, 7.500529325562029),
        (2.0, 4.302652729749462),
        (4.0, 2.7764451051977934),
        (8.5, 2.282604893392452),
        (30.0, 2.0422724563012378),
    ] {
        close(student_quantile(0.975, df), expected);
    }
}

#[test]
fn many_boots_agree_with_a_bootstrap_of_numpy() {
    let a = [
        54.605, 56.254, 53.122, 49.946, 52.171, 49.444, 54.928, 62.428, 51.976, 51.313, 57.339,
        56.582,
    ];
    let b = [
        68.107, 55.363, 66.297, 76.636, 50.966, 60.854, 45.593, 51.526, 46.139, 63.623, 51.754,
        70.404,
    ];
    let found = ratio(&a, &b, 1).unwrap();
    // The same studentised bootstrap with numpy and 2,000,000 resamples; ours has 1,999, so an end may differ by its own error.
    close(found.estimate, 1.0754371343836628);
    assert!((found.low - 0.9585782236128071).abs() < 0.008, "{found:?}");
    assert!((found.high - 1.2075628492796417).abs() < 0.012, "{found:?}");
    assert_eq!(ratio(&a, &b, 1), Ok(found));
}

/// How often a nominal 95 % interval of two equal groups holds the ratio 1.
fn coverage(boots: usize, trials: usize, draw: impl Fn(&mut fastrand::Rng) -> f64) -> f64 {
    let mut random = fastrand::Rng::with_seed(7);
    let mut group = || -> Vec<f64> { (0..boots).map(|_| draw(&mut random).exp()).collect() };
    let held = (0..trials)
        .filter(|&trial| {
            let found = ratio(&group(), &group(), trial as u64).unwrap();
            found.low <= 1.0 && 1.0 <= found.high
        })
        .count();
    held as f64 / trials as f64
}

/// A normal deviate by the polar method of Marsaglia.
fn normal(random: &mut fastrand::Rng) -> f64 {
    loop {
        let (u, v) = (2.0 * random.f64() - 1.0, 2.0 * random.f64() - 1.0);
        let square = u * u + v * v;
        if 0.0 < square && square < 1.0 {
            return u * (-2.0 * square.ln() / square).sqrt();
        }
    }
}

#[test]
fn intervals_hold_what_they_promise() {
    // Nominal 95 %. The bounds leave four standard errors of the simulation and the known slack of each method.
    let heavy = |random: &mut fastrand::Rng| {
        let chi = (0..4).map(|_| normal(random).powi(2)).sum::<f64>();
        0.15 * normal(random) / (chi / 4.0).sqrt()
    };
    let skewed =
        |random: &mut fastrand::Rng| -0.15 * (random.f64() * random.f64()).max(1e-300).ln();
    for boots in [2, 3, 5, 6] {
        for covered in [
            coverage(boots, 2000, |random| 0.15 * normal(random)),
            coverage(boots, 2000, heavy),
            coverage(boots, 2000, skewed),
        ] {
            assert!((0.93..0.995).contains(&covered), "{boots} boots a side cover {covered}");
        }
    }
    let covered = coverage(10, 300, |random| 0.15 * normal(random));
    assert!((0.90..0.995).contains(&covered), "10 boots a side cover {covered}");
}

#[test]
fn ratios_of_sds_are_those_of_another_calculation() {
    // Worked out in Python by hand, without our code; the same with numpy and scipy is
    // p = lambda x: np.array([len(x) * np.log(np.std(x, ddof=1)) - (len(x) - 1) * np.log(np.std(np.delete(x, i), ddof=1))
    //                         for i in range(len(x))]); r = scipy.stats.ttest_ind(p(b), p(a), equal_var=False)
    // e = np.log(np.std(b, ddof=1) / np.std(a, ddof=1)); m = p(b).mean() - p(a).mean()
    // np.exp([e, *(np.array(r.confidence_interval(.95)) - m + e)])
    let found = ratio_of_sds(&A, &B).unwrap();
    close(found.estimate, 0.8624745574598766);
    close(found.low, 0.277487472119091);
    close(found.high, 2.6807061111081865);
}

#[test]
fn intervals_of_ratios_of_sds_hold_about_what_they_promise() {
    let skewed = |random: &mut fastrand::Rng| -(random.f64() * random.f64()).max(1e-300).ln();
    type Draw<'a> = &'a dyn Fn(&mut fastrand::Rng) -> f64;
    let laws: [Draw<'_>; 2] = [&|random| normal(random), &skewed];
    for (boots, law) in [5, 8, 20].into_iter().flat_map(|boots| laws.map(|law| (boots, law))) {
        let mut random = fastrand::Rng::with_seed(11);
        let mut group = || -> Vec<f64> { (0..boots).map(|_| law(&mut random)).collect() };
        let held = (0..1000).filter(|_| {
            let found = ratio_of_sds(&group(), &group()).unwrap();
            found.low <= 1.0 && 1.0 <= found.high
        });
        let covered = held.count() as f64 / 1000.0;
        assert!((0.89..0.99).contains(&covered), "{boots} boots a side cover {covered}");
    }
}

#[test]
fn ratios_of_sds_need_three_that_vary() {
    assert_eq!(ratio_of_sds(&[1.0, 2.0], &A), Err(NoInterval::TooFew));
    assert_eq!(ratio_of_sds(&A, &[1.0; 4]), Err(NoInterval::NoSpread));
    // Without its only other value this group does not vary.
    assert_eq!(ratio_of_sds(&A, &[1.0, 1.0, 1.0, 2.0]), Err(NoInterval::NoSpread));
    assert_eq!(ratio_of_sds(&A, &[1.0, f64::NAN, 2.0]), Err(NoInterval::NoSpread));
    // The pseudo-values of three that are evenly spaced on both sides still vary.
    assert!(ratio_of_sds(&[1.0, 2.0, 3.0], &[1.0, 3.0, 9.0]).is_ok());
}

#[test]
fn what_has_no_interval_says_why() {
    assert_eq!(ratio(&[1.0], &[1.0, 2.0], 1), Err(NoInterval::TooFew));
    assert_eq!(ratio(&[1.0, 0.0], &[1.0, 2.0], 1), Err(NoInterval::NotPositive));
    assert_eq!(ratio(&[1.0, f64::NAN], &[1.0, 2.0], 1), Err(NoInterval::NotPositive));
    assert_eq!(ratio(&[1.1; 5], &[2.3; 12], 1), Err(NoInterval::NoSpread));
    assert_eq!(ratio_of_geometric_means(&[2.0], &[3.0]).map(|r| (r * 1e9).round()), Some(1.5e9));
    assert_eq!(ratio_of_geometric_means(&[], &[3.0]), None);
    assert_eq!(ratio_of_geometric_means(&[0.0], &[3.0]), None);
}

#[test]
fn ties_keep_the_interval_finite() {
    // Nearly all equal: most resamples have no spread at all.
    let mut tied = [5.0; 9];
    tied[0] = 6.0;
    let found = ratio(&tied, &[5.0; 9], 3).unwrap();
    assert!(found.low.is_finite() && found.high.is_finite() && found.low <= found.estimate);
}

fn figures() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(0.5..2e3f64, 2..12)
}

fn same(a: Interval, b: Interval, tolerance: f64) -> bool {
    [(a.low, b.low), (a.estimate, b.estimate), (a.high, b.high)]
        .iter()
        .all(|(x, y)| (x.ln() - y.ln()).abs() < tolerance)
}

proptest! {
    #[test]
    fn a_ratio_of_sds_follows_scale_and_not_place(
        a in figures(), b in figures(), scale in 0.01..100.0f64, shift in -10.0..10.0f64,
    ) {
        let moved: Vec<f64> = b.iter().map(|value| value * scale + shift).collect();
        if let (Ok(plain), Ok(other)) = (ratio_of_sds(&a, &b), ratio_of_sds(&a, &moved)) {
            let expected = Interval { low: plain.low * scale, estimate: plain.estimate * scale, high: plain.high * scale };
            prop_assert!(same(other, expected, 1e-4));
            prop_assert!(plain.low <= plain.estimate && plain.estimate <= plain.high);
        }
    }

    #[test]
    fn a_ratio_follows_the_scale_of_a_side(a in figures(), b in figures(), scale in 0.01..100.0f64) {
        let scaled: Vec<f64> = b.iter().map(|value| value * scale).collect();
        if let (Ok(plain), Ok(moved)) = (ratio(&a, &b, 5), ratio(&a, &scaled, 5)) {
            let expected = Interval { low: plain.low * scale, estimate: plain.estimate * scale, high: plain.high * scale };
            prop_assert!(same(moved, expected, 1e-6));
            prop_assert!(plain.low <= plain.estimate && plain.estimate <= plain.high);
        }
    }

    #[test]
    fn swapped_sides_give_the_inverse(a in figures(), b in figures()) {
        if let (Ok(there), Ok(back)) = (ratio(&a, &b, 5), ratio(&b, &a, 5)) {
            let inverse = Interval { low: 1.0 / back.high, estimate: 1.0 / back.estimate, high: 1.0 / back.low };
            // The bootstrap draws other resamples for the other order, Student's law is exact.
            let few = a.len().min(b.len()) < RESAMPLED_FROM as usize;
            prop_assert!(!few || same(there, inverse, 1e-6));
            prop_assert!((there.estimate * back.estimate - 1.0).abs() < 1e-9);
        }
    }
}
