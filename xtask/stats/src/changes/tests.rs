use proptest::prelude::*;

use super::*;

/// A normal deviate (Box & Muller 1958).
fn normal(random: &mut fastrand::Rng) -> f64 {
    let (u, v) = (1.0 - random.f64(), random.f64());
    (-2.0 * u.ln()).sqrt() * (2.0 * PI * v).cos()
}

/// `count` points of a normal AR(1) series of mean 0 and standard deviation 1.
fn simulate(random: &mut fastrand::Rng, count: usize, phi: f64) -> Vec<f64> {
    let mut x = normal(random);
    let mut next = || {
        x = phi * x + (1.0 - phi * phi).sqrt() * normal(random);
        x
    };
    (0..count).map(|_| next()).collect()
}

/// The share of simulated series in which `is_found` says so.
fn share(
    series: u32,
    phi: f64,
    change: impl Fn(usize, f64) -> f64,
    is_found: impl Fn(&Found) -> bool,
) -> f64 {
    let mut random = fastrand::Rng::with_seed(20_261_125);
    let found = (0..series).filter(|_| {
        let x = simulate(&mut random, 100, phi);
        // A coefficient of variation of 2 %.
        let x: Vec<f64> = x.iter().enumerate().map(|(at, x)| 1.0 + 0.02 * change(at, *x)).collect();
        is_found(&changes(&x, 0.02).unwrap())
    });
    found.count() as f64 / f64::from(series)
}

fn near(found: &Found, kind: Kind, at: usize, within: usize) -> bool {
    found.changes.iter().any(|change| change.kind == kind && change.at.abs_diff(at) <= within)
}

#[test]
fn autocorrelated_series_that_do_not_change_have_no_change() {
    for phi in [0.0, 0.5] {
        let alarms = share(3000, phi, |_, x| x, |found| !found.changes.is_empty());
        // 1.4 % of 10,000 at 0.5.
        assert!(alarms <= 0.02, "phi {phi}: {alarms}");
    }
}

#[test]
fn a_doubled_spread_at_the_same_level_is_found() {
    let double = |at, x: f64| if at < 50 { x } else { 2.0 * x };
    let found = share(1500, 0.5, double, |found| near(found, Kind::Scale, 50, 10));
    // 81.4 % of 10,000.
    assert!(found >= 0.79, "{found}");
}

#[test]
fn a_level_that_moves_by_three_standard_deviations_is_found() {
    let step = |at, x: f64| if at < 50 { x } else { x + 3.0 };
    let found = share(500, 0.5, step, |found| near(found, Kind::Location, 50, 5));
    // 98.3 % of 10,000.
    assert!(found >= 0.95, "{found}");
    let step = |at, x: f64| if at < 94 { x } else { x + 5.0 };
    let late = share(500, 0.0, step, |found| near(found, Kind::Location, 94, 5));
    assert!(late >= 0.97, "six points after it: {late}");
}

#[test]
fn several_changes_of_both_kinds_are_found_in_order() {
    let mut random = fastrand::Rng::with_seed(3);
    let x: Vec<f64> = simulate(&mut random, 300, 0.3)
        .iter()
        .enumerate()
        .map(|(at, x)| match at {
            0..80 => *x,
            80..160 => x + 6.0,
            160..230 => x - 2.0,
            _ => 4.0 * x - 2.0,
        })
        .collect();
    let found = changes(&x, 0.02).unwrap();
    let told: Vec<(Kind, bool)> = found
        .changes
        .iter()
        .zip([80, 160, 230])
        .map(|(change, at)| (change.kind, change.at.abs_diff(at) <= 5))
        .collect();
    assert_eq!(
        told,
        [(Kind::Location, true), (Kind::Location, true), (Kind::Scale, true)],
        "{found:?}"
    );
    assert!(
        (found.changes[0].after - 6.0).abs() < 0.5
            && (found.changes[2].after / 4.0 - 1.0).abs() < 0.3
    );
    assert!((found.sd / found.changes[2].after - 1.0).abs() < 1e-9);
}

#[test]
fn one_odd_run_is_no_change() {
    let mut random = fastrand::Rng::with_seed(9);
    for at in [0, 3, 50, 98, 99] {
        let mut x = simulate(&mut random, 100, 0.3);
        x[at] += 40.0;
        assert_eq!(changes(&x, 0.02).unwrap().changes, [], "at {at}");
    }
}

#[test]
fn steps_without_any_noise_are_where_they_are() {
    let x: Vec<f64> = (0..60).map(|at| if at < 37 { 5.0 } else { 5.5 }).collect();
    let found = changes(&x, 1e-6).unwrap();
    let [change] = &found.changes[..] else { panic!("{found:?}") };
    assert_eq!(
        (change.kind, change.at, change.before, change.after),
        (Kind::Location, 37, 5.0, 5.5)
    );
}

#[test]
fn equal_points_do_not_change_and_few_have_no_answer() {
    for level in [0.0, 1.0, -7.3e9, 1e300] {
        assert_eq!(changes(&[level; 50], 0.02).unwrap().changes, []);
    }
    assert_eq!(changes(&[1.0; FEWEST - 1], 0.02), Err(NoAnswer::TooFew));
    assert_eq!(changes(&[], 0.02), Err(NoAnswer::TooFew));
    let mut x = [1.0; 30];
    for odd in [f64::NAN, f64::INFINITY] {
        x[7] = odd;
        assert_eq!(changes(&x, 0.02), Err(NoAnswer::NotFinite));
    }
}

#[test]
fn the_p_value_agrees_with_the_formula_in_scipy() {
    // h = least / n; norm.pdf(z) * ((z - 1/z) * 2 * np.log((1 - h) / h) + 4/z), with scipy.stats.norm
    for (z, count, least, expected) in [
        (2.5, 100, 5, 0.244811527879293),
        (3.4, 100, 10, 0.018267788005057715),
        (4.2, 500, 5, 0.002202303714838156),
        (6.0, 40, 10, 8.192605013865842e-08),
    ] {
        let p = p_of_largest(z, count, least);
        assert!((p - expected).abs() <= 1e-9 * expected, "{z}: {p}");
    }
    assert_eq!(p_of_largest(1.0, 100, 5), 1.0);
}

proptest! {
    #[test]
    fn shift_and_scale_change_nothing(seed in 0..1000u64, shift in -1e3..1e3f64, scale in 0.01..100.0f64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let x: Vec<f64> = simulate(&mut random, 60, 0.3).iter().enumerate().map(|(at, x)| if at < 30 { *x } else { x * 3.0 + 2.0 }).collect();
        let moved: Vec<f64> = x.iter().map(|x| x * scale + shift).collect();
        let at = |x: &[f64]| changes(x, 0.01).unwrap().changes.iter().map(|change| (change.kind, change.at)).collect::<Vec<_>>();
        prop_assert_eq!(at(&x), at(&moved));
    }

    #[test]
    fn nothing_panics_and_changes_rise(x in prop::collection::vec(-1e6..1e6f64, 0..80), alpha in 0.0..0.9f64) {
        if let Ok(found) = changes(&x, alpha) {
            prop_assert!(found.changes.windows(2).all(|pair| pair[0].at <= pair[1].at));
            prop_assert!(found.changes.iter().all(|change| 0 < change.at && change.at < x.len() && change.p <= alpha));
        }
    }

    #[test]
    fn the_larger_the_deviate_the_smaller_its_probability(z in 1.5..8.0f64, more in 0.0..1.0f64) {
        prop_assert!(p_of_largest(z + more, 100, 5) <= p_of_largest(z, 100, 5));
    }
}
