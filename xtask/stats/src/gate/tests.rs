//! The gate's tests against scipy and numpy, and their laws.

use super::*;
use proptest::prelude::*;

const A: [f64; 8] = [3.02, 3.11, 2.95, 3.2, 3.05, 2.99, 3.15, 3.08];
const B: [f64; 8] = [3.31, 3.29, 3.4, 3.38, 3.12, 3.35, 3.2, 3.44];

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "{got} is not {expected}");
}

/// One boot a block.
fn blocks(values: &[f64]) -> Vec<Observation> {
    (0..).zip(values).map(|(block, &value)| Observation { block, value }).collect()
}

/// All boots in one block.
fn group(values: &[f64]) -> Vec<Observation> {
    values.iter().map(|&value| Observation { block: 0, value }).collect()
}

fn alone(
    base: &[Observation],
    candidate: &[Observation],
    margin: f64,
) -> Result<Tested, NoInterval> {
    test(&[Hypothesis { base, candidate, margin }], &Options::default())[0]
}

/// A normal deviate.
pub(super) fn normal(random: &mut fastrand::Rng) -> f64 {
    let (u, v) = (1.0 - random.f64(), random.f64());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[test]
fn pairs_agree_with_scipy() {
    let found = alone(&blocks(&A), &blocks(&B), 0.1).unwrap();
    // t = lambda x, y, axis: scipy.stats.ttest_rel(y, x, axis=axis).statistic
    // p = lambda s, side: scipy.stats.permutation_test((s * a, s * b - .1), t, permutation_type="samples", alternative=side,
    //                                                  n_resamples=np.inf, vectorized=True).pvalue
    close(found.p_worse, 0.0234375); // p(1, "greater")
    close(found.p_better, 1.0); // p(-1, "greater")
    close(found.p_equivalent, 0.98828125); // max(p(1, "less"), p(-1, "less"))
    // Where p as above, with `m` for the margin, crosses .025: scipy.optimize.bisect of
    //   lambda m: scipy.stats.permutation_test((a, b - m), t, ...).pvalue - .025, for "greater" and for "less".
    close(found.difference.estimate, 0.2425);
    close(found.difference.low, 0.115);
    close(found.difference.high, 0.366_666_666_666_667);
    assert_eq!((found.boots, found.p_worse), (8, found.p_worse_corrected));
}

#[test]
fn an_odd_boot_does_not_make_an_interval_contradict_its_p() {
    // Logarithms of the ratios of 16 pairs that are all worse by more than 2 %, one of them by far.
    let mut pairs = [0.031; 16];
    pairs.iter_mut().zip(0..).for_each(|(pair, n)| *pair += 0.001 * f64::from(n));
    pairs[11] = 1.18;
    let found = alone(&blocks(&[0.0; 16]), &blocks(&pairs), 0.02).unwrap();
    assert!(found.p_worse < 0.001 && found.difference.low > 0.02, "{found:?}");
    // Student's: 0.108 -+ scipy.stats.t.ppf(.975, 15) * 0.0716, which is from -0.04 on.
    assert!(found.difference.high > 0.1, "{found:?}");
}

#[test]
fn intervals_cover_as_often_as_they_say() {
    let mut random = fastrand::Rng::with_seed(1);
    for pairs in [6, 12, 16] {
        let covered = (0..2_000)
            .filter(|_| {
                let base: Vec<f64> = (0..pairs).map(|_| normal(&mut random)).collect();
                let candidate: Vec<f64> = (0..pairs).map(|_| normal(&mut random)).collect();
                let of = alone(&blocks(&base), &blocks(&candidate), 0.0).unwrap().difference;
                of.low <= 0.0 && 0.0 <= of.high
            })
            .count();
        // 95 % within four standard errors of 2,000; of 6 pairs the nearest share of 64 relabellings is 96.9 %.
        let most = if pairs == 6 { 0.985 } else { 0.970 };
        let share = covered as f64 / 2_000.0;
        assert!((0.930..most).contains(&share), "{pairs} pairs: {share}");
    }
}

#[test]
fn groups_agree_with_scipy() {
    let x = group(&[1.0, 1.2, 0.9, 1.1, 1.3]);
    let y = group(&[1.5, 1.25, 1.7, 1.4, 1.15, 1.6]);
    let found = alone(&x, &y, 0.1).unwrap();
    // As above with scipy.stats.ttest_ind(y, x, axis=axis, equal_var=False) and permutation_type="independent"
    close(found.p_worse, 19.0 / 462.0);
    close(found.p_better, 461.0 / 462.0);
    close(found.p_equivalent, 445.0 / 462.0);
    // scipy.stats.ttest_ind(y, x, equal_var=False).confidence_interval(.95)
    close(found.difference.estimate, 0.33333333333333326);
    close(found.difference.low, 0.08246034245647932);
    close(found.difference.high, 0.5842063242101871);
}

#[test]
fn a_family_agrees_with_numpy() {
    // D = np.array([b - a, c, d]) - .1; S = np.array(list(itertools.product([1, -1], repeat=8)))
    // P = np.array([[T(d * s) for s in S] for d in D]) with T(d) = d.mean() / (d.std(ddof=1) / np.sqrt(8)); o = np.argsort(P[:, 0])
    // for k in o: run = np.maximum(run, P[k]); res[k] = (run >= P[k, 0] - 1e-9).mean()
    // and the larger of each and those of larger statistics
    let zero = blocks(&[0.0; 8]);
    let (a, b) = (blocks(&A), blocks(&B));
    let c = blocks(&[0.3, 0.1, 0.25, 0.2, 0.02, 0.3, 0.1, 0.22]);
    let d = blocks(&[0.05, 0.2, -0.1, 0.3, 0.1, 0.15, -0.05, 0.2]);
    let family = [(&a, &b), (&zero, &c), (&zero, &d)].map(|(base, candidate)| Hypothesis {
        base,
        candidate,
        margin: 0.1,
    });
    let found: Vec<Tested> =
        test(&family, &Options::default()).into_iter().map(Result::unwrap).collect();
    for (found, (raw, corrected)) in
        found.iter().zip([(0.0234375, 0.05078125), (0.03125, 0.0546875), (0.5, 0.5)])
    {
        close(found.p_worse, raw);
        close(found.p_worse_corrected, corrected);
    }
    // The third largest of np.sort(P.max(0))[::-1] is the first that 1 % of 256 do not exceed: 3.8697 at 7 degrees of freedom,
    // scipy.stats.norm.isf(scipy.stats.t.sf(3.869713625619313, 7)) = 2.745. Bonferroni's bound, norm.isf(.01 / 3) = 2.713, is less.
    assert!((found[0].critical - 2.713).abs() < 1e-3, "{}", found[0].critical);
}

#[test]
fn a_family_of_unlike_counts_agrees_with_numpy() {
    // As above with D = [b - a - .1, c - .1], the second of 6 blocks, and statistics on the scale of a normal deviate, with n = len(d) - 1:
    // T = lambda d: (8 * n + 1) / (8 * n + 3) * np.sqrt(n * np.log1p(t ** 2 / n)) with the sign of t
    let (zero, a, b) = (blocks(&[0.0; 6]), blocks(&A), blocks(&B));
    let c = blocks(&[0.3, 0.1, 0.25, 0.2, 0.02, 0.3]);
    let family = [(&a, &b), (&zero, &c)].map(|(base, candidate)| Hypothesis {
        base,
        candidate,
        margin: 0.1,
    });
    let found = test(&family, &Options::default());
    for (found, (raw, corrected)) in found.iter().zip([(0.0234375, 0.04296875), (0.0625, 0.0625)]) {
        let found = found.unwrap();
        close(found.p_worse, raw);
        close(found.p_worse_corrected, corrected);
    }
}

#[test]
fn the_order_of_boots_does_not_matter() {
    let (a, mut b) = (blocks(&A), blocks(&B));
    let found = alone(&a, &b, 0.1);
    b.reverse();
    assert_eq!(alone(&a, &b, 0.1), found);
    assert!(found.is_ok());
}

#[test]
fn one_boot_bad_numbers_and_no_block_in_common_have_no_answer() {
    let (a, b) = (blocks(&A), blocks(&B));
    assert_eq!(alone(&a[..1], &b[..1], 0.1), Err(NoInterval::TooFew));
    assert_eq!(alone(&[], &b, 0.1), Err(NoInterval::TooFew));
    assert_eq!(alone(&a[..4], &b[4..], 0.1), Err(NoInterval::TooFew));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
        let mut with = b.clone();
        with[3].value = bad;
        assert_eq!(alone(&a, &with, 0.1), Err(NoInterval::NotPositive));
        assert_eq!(alone(&with, &a, 0.1), Err(NoInterval::NotPositive));
    }
    for margin in [f64::NAN, -0.1, f64::INFINITY] {
        assert_eq!(alone(&a, &b, margin), Err(NoInterval::NotPositive));
    }
    assert_eq!(test(&[], &Options::default()), []);
    // One that has no answer does not change the others'.
    let good = Hypothesis { base: &a, candidate: &b, margin: 0.1 };
    let bad = Hypothesis { base: &a[..1], ..good };
    let found = test(&[bad, good, bad], &Options::default());
    assert_eq!(found[1], alone(&a, &b, 0.1));
    assert_eq!(found[2], Err(NoInterval::TooFew));
}

#[test]
fn boots_without_spread_have_the_right_answer() {
    let still = blocks(&[-9.2; 10]);
    let stalls = blocks(&[-3.0; 10]);
    let worse = alone(&still, &stalls, 0.1).unwrap();
    close(worse.p_worse, 1.0 / 1024.0);
    close(worse.p_better, 1.0);
    close(worse.p_equivalent, 1.0);
    assert_eq!(
        (worse.difference.low, worse.difference.high),
        (worse.difference.estimate, worse.difference.estimate)
    );
    assert_eq!((worse.detectable, worse.boots_needed(0.2)), (0.1, Some(7)));
    let better = alone(&stalls, &still, 0.1).unwrap();
    assert_eq!((better.p_better, better.p_worse), (worse.p_worse, worse.p_better));
    let equal = alone(&still, &still, 0.1).unwrap();
    close(equal.p_equivalent, 1.0 / 1024.0);
    assert_eq!((equal.p_worse, equal.p_better), (1.0, 1.0));
    // Without a margin nothing is equivalent.
    assert_eq!(alone(&still, &still, 0.0).unwrap().p_equivalent, 1.0);
    // The same as two groups: one of the 20 over 10 ways.
    let (still, stalls) = (group(&[-9.2; 10]), group(&[-3.0; 10]));
    let found = alone(&still, &stalls, 0.1).unwrap();
    assert!(found.p_worse < 0.001 && found.p_better == 1.0, "{found:?}");
    let equal = alone(&still, &still, 0.1).unwrap();
    assert!(equal.p_equivalent < 0.001 && equal.p_worse == 1.0, "{equal:?}");
}

#[test]
fn blocks_that_lack_a_side_do_not_count() {
    let (mut a, b) = (blocks(&A), blocks(&B));
    let whole = alone(&a[..7], &b[..7], 0.1);
    a.remove(7);
    assert_eq!(alone(&a, &b, 0.1), whole);
}

#[test]
fn several_boots_a_block_are_compared_inside_it() {
    // Two blocks that differ by far more than the sides.
    let at = |block, values: &[f64]| -> Vec<Observation> {
        values.iter().map(|&value| Observation { block, value }).collect()
    };
    let base = [at(0, &[1.0, 1.1, 0.9, 1.05]), at(1, &[5.0, 5.1, 4.9, 5.05])].concat();
    let candidate = [at(0, &[1.5, 1.6, 1.4, 1.55]), at(1, &[5.5, 5.6, 5.4, 5.55])].concat();
    let found = alone(&base, &candidate, 0.1).unwrap();
    assert_eq!(found.boots, 8);
    // Once in 70 * 70.
    close(found.p_worse, 1.0 / 4900.0);
    close(found.difference.estimate, 0.5);
    // Inside a block a side has squares of .021875; 6 degrees of freedom a side.
    // error = np.sqrt(2 * (2 * .021875 / 6) / 8); scipy.stats.t.ppf(.975, 12) * error
    close(found.difference.high - 0.5, 0.09302578247433835);
}

#[test]
fn few_boots_cannot_be_flagged_and_say_so() {
    let found = alone(&blocks(&A[..6]), &blocks(&B[..6]), 0.1).unwrap();
    assert_eq!(found.detectable, f64::INFINITY);
    assert!(found.p_worse >= 1.0 / 64.0);
    let needed = found.boots_needed(0.25).unwrap();
    assert!((7..40).contains(&needed), "{needed}");
    assert_eq!(found.boots_needed(0.1), None);
    assert_eq!(found.boots_needed(f64::NAN), None);
    assert!(found.boots_needed(0.15) > found.boots_needed(0.2));
}

#[test]
fn what_is_said_to_be_found_is_found() {
    // 12 pairs of spread 0.2, a family of one at 1 %.
    let mut random = fastrand::Rng::with_seed(3);
    let options = Options { permutations: 2_000, ..Options::default() };
    let side = |shift: f64, random: &mut fastrand::Rng| -> Vec<Observation> {
        blocks(&(0..12).map(|_| shift + 0.2 * normal(random)).collect::<Vec<_>>())
    };
    let spread = 0.2 * 2f64.sqrt();
    let detectable =
        0.1 + scale::detectable(scale::normal_quantile(0.99), 0.9, 11.0) * spread / 12f64.sqrt();
    let found = (0..1_000).filter(|_| {
        let (base, candidate) = (side(0.0, &mut random), side(detectable, &mut random));
        let family = [Hypothesis { base: &base, candidate: &candidate, margin: 0.1 }];
        test(&family, &options)[0].unwrap().p_worse_corrected <= 0.01
    });
    // 900 are expected; 4 standard deviations are 38, and the law is approximate.
    let found = found.count();
    assert!(found.abs_diff(900) < 50, "{found}");
}

/// How many of `trials` families have a false flag, at the border of every hypothesis. Cells share boots: workloads and aspects of a cell are correlated.
fn false_flags(trials: u32, boots: usize, draw: fn(&mut fastrand::Rng) -> f64) -> u32 {
    let mut random = fastrand::Rng::with_seed(11);
    let (cells, aspects) = (6, 5);
    let mut flagged = 0;
    for _ in 0..trials {
        let mut sides = Vec::new();
        for _ in 0..cells {
            let common: Vec<[f64; 2]> =
                (0..boots).map(|_| [draw(&mut random), draw(&mut random)]).collect();
            for _ in 0..aspects {
                let side = |side: usize, shift: f64, random: &mut fastrand::Rng| -> Vec<f64> {
                    common
                        .iter()
                        .map(|common| 0.8 * common[side] + 0.6 * draw(random) + shift)
                        .collect()
                };
                sides.push(
                    [side(0, 0.0, &mut random), side(1, 0.1, &mut random)]
                        .map(|side| blocks(&side)),
                );
            }
        }
        let family: Vec<Hypothesis<'_>> = sides
            .iter()
            .map(|[base, candidate]| Hypothesis { base, candidate, margin: 0.1 })
            .collect();
        let options =
            Options { permutations: 500, seed: u64::from(random.u32(..)), power: 0.9, alpha: 0.05 };
        let found = test(&family, &options);
        flagged +=
            u32::from(found.iter().any(|found| found.unwrap().p_worse_corrected <= options.alpha));
    }
    flagged
}

#[test]
fn unchanged_families_are_flagged_as_often_as_asked() {
    // 15 of 300 are expected at 5 %; 4 standard deviations are 15. Skewed figures as those of stalls, and heavy ones, err no more.
    let skewed = |random: &mut fastrand::Rng| -(random.f64() * random.f64()).max(1e-300).ln();
    let heavy = |random: &mut fastrand::Rng| {
        normal(random) / ((normal(random).powi(2) + normal(random).powi(2)) / 2.0).sqrt()
    };
    for flagged in
        [false_flags(300, 8, normal), false_flags(300, 8, skewed), false_flags(300, 20, heavy)]
    {
        assert!(flagged <= 30, "{flagged}");
    }
    let flagged = false_flags(300, 12, normal);
    assert!(flagged >= 3, "{flagged}");
}

#[test]
fn p_is_uniform_at_the_border() {
    // Of 2,000 tests, at most 2000 q + 4 standard deviations may have p <= q, and about as many do: exact tests err neither way.
    let mut random = fastrand::Rng::with_seed(5);
    type Arrange = fn(&[f64]) -> Vec<Observation>;
    for (arrange, boots) in [(blocks as Arrange, 10), (group as Arrange, 5)] {
        let p: Vec<f64> = (0..2_000)
            .map(|seed| {
                let mut side = |shift: f64| -> Vec<f64> {
                    (0..boots).map(|_| shift - random.f64().max(1e-300).ln()).collect()
                };
                let (base, candidate) = (arrange(&side(0.0)), arrange(&side(0.3)));
                let options = Options { permutations: 999, seed, ..Options::default() };
                test(&[Hypothesis { base: &base, candidate: &candidate, margin: 0.3 }], &options)[0]
                    .unwrap()
                    .p_worse
            })
            .collect();
        for q in [0.02, 0.1, 0.5, 0.9] {
            let below = p.iter().filter(|p| **p <= q).count() as f64;
            let slack = 4.0 * (2_000.0 * q * (1.0 - q)).sqrt();
            assert!((below - 2_000.0 * q).abs() < slack + 10.0, "{below} of 2000 at {q}");
        }
    }
}

fn values(boots: usize) -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(-2.0f64..2.0, boots)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn unit_and_level_do_not_matter(a in values(9), b in values(9), shift in -5.0f64..5.0, grouped in any::<bool>()) {
        let arrange = if grouped { group } else { blocks };
        let moved = |of: &[f64]| of.iter().map(|value| value + shift).collect::<Vec<_>>();
        let here = alone(&arrange(&a), &arrange(&b), 0.1).unwrap();
        let there = alone(&arrange(&moved(&a)), &arrange(&moved(&b)), 0.1).unwrap();
        for (here, there) in [(here.p_worse, there.p_worse), (here.p_better, there.p_better), (here.p_equivalent, there.p_equivalent)] {
            prop_assert!((here - there).abs() <= 0.005);
        }
        let stretched = |of: &[f64]| of.iter().map(|value| value * 7.0).collect::<Vec<_>>();
        let wide = alone(&arrange(&stretched(&a)), &arrange(&stretched(&b)), 0.7).unwrap();
        prop_assert!((here.p_worse - wide.p_worse).abs() <= 0.005);
        prop_assert!((7.0 * here.detectable - wide.detectable).abs() < 1e-6 || here.detectable == wide.detectable);
    }

    #[test]
    fn sides_that_change_places_change_the_words(a in values(9), b in values(9), grouped in any::<bool>()) {
        let arrange = if grouped { group } else { blocks };
        let (a, b) = (arrange(&a), arrange(&b));
        let (here, there) = (alone(&a, &b, 0.1).unwrap(), alone(&b, &a, 0.1).unwrap());
        let slack = if grouped { 0.03 } else { 1e-9 };
        prop_assert!((here.p_worse - there.p_better).abs() <= slack);
        prop_assert!((here.p_equivalent - there.p_equivalent).abs() <= slack);
        prop_assert!((here.difference.low + there.difference.high).abs() < 1e-9);
    }

    #[test]
    fn what_is_flagged_has_an_interval_beyond_the_margin(a in values(9), b in values(9), margin in 0.0f64..0.5) {
        let found = alone(&blocks(&a), &blocks(&b), margin).unwrap();
        prop_assert!(found.difference.low <= found.difference.estimate && found.difference.estimate <= found.difference.high);
        // What ties is counted as reached by a hair's breadth.
        prop_assert!(found.p_worse > 0.025 || found.difference.low >= margin - 1e-4, "{found:?}");
        prop_assert!(found.p_better > 0.025 || found.difference.high <= 1e-4 - margin, "{found:?}");
    }

    #[test]
    fn a_worse_candidate_has_no_larger_p(a in values(8), b in values(8), more in 0.0f64..1.0) {
        let worse: Vec<f64> = b.iter().map(|value| value + more).collect();
        let p = |candidate: &[f64], margin: f64| alone(&blocks(&a), &blocks(candidate), margin).unwrap();
        prop_assert!(p(&worse, 0.1).p_worse <= p(&b, 0.1).p_worse);
        prop_assert!(p(&worse, 0.1).p_better >= p(&b, 0.1).p_better);
        prop_assert!(p(&b, 0.1 + more).p_worse >= p(&b, 0.1).p_worse);
        prop_assert!(p(&b, 0.1 + more).p_equivalent <= p(&b, 0.1).p_equivalent);
    }

    #[test]
    fn a_larger_family_corrects_more(a in values(9), b in values(9), c in values(9)) {
        let [a, b, c] = [a, b, c].map(|side| blocks(&side));
        let one = Hypothesis { base: &a, candidate: &b, margin: 0.1 };
        let other = Hypothesis { base: &a, candidate: &c, margin: 0.1 };
        let [small, large] = [&[one][..], &[one, other, one]].map(|family| test(family, &Options::default())[0].unwrap());
        prop_assert!(small.p_worse_corrected <= large.p_worse_corrected);
        prop_assert!(large.p_worse_corrected <= 1.0 && large.p_worse <= large.p_worse_corrected);
        // One that is the same twice costs nothing.
        let twice = test(&[one, one], &Options::default())[0].unwrap();
        prop_assert!((twice.p_worse_corrected - small.p_worse_corrected).abs() < 1e-9);
    }
}
