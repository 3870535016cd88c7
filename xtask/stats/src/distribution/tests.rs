//! Distributions against scipy, against slices, and their laws.

use super::*;
use proptest::prelude::*;

fn buckets(edges: &[f64], counts: &[u64]) -> Vec<Bucket> {
    edges
        .windows(2)
        .zip(counts)
        .map(|(edge, &count)| Bucket { low: edge[0], high: edge[1], count })
        .collect()
}

fn example() -> Distribution {
    let buckets = buckets(&[1.0, 2.0, 4.0, 4.5, 8.0, 10.0, 50.0], &[10, 38, 0, 32, 15, 5]);
    Distribution::new(&buckets, 1.0, 50.0).unwrap()
}

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "{got} is not {expected}");
}

#[test]
fn agrees_with_scipy() {
    // d = scipy.stats.rv_histogram(([10, 38, 0, 32, 15, 5], [1, 2, 4, 4.5, 8, 10, 50]), density=False)
    let d = example();
    // d.ppf(q)
    for (at, expected) in [
        (0.05, 1.5),
        (0.25, 2.7894736842105265),
        (0.5, 4.71875),
        (0.6, 5.8125),
        (0.75, 7.453125),
        (0.99, 41.999999999999986),
    ] {
        close(d.quantile(at), expected);
    }
    // d.cdf(t)
    for (at, expected) in [
        (0.5, 0.0),
        (1.5, 0.05),
        (3.0, 0.29000000000000004),
        (4.25, 0.48),
        (6.0, 0.6171428571428572),
        (30.0, 0.9750000000000001),
        (60.0, 1.0),
    ] {
        close(d.cdf(at), expected);
    }
    // brentq(lambda u: d.cdf(m + u) - d.cdf(m - u) - .5, 0, 60), m = d.ppf(.5)
    close(d.mad(), 2.1908312182741114);
    close(d.iqr(), 4.6636513157894735); // d.ppf(.75) - d.ppf(.25)
    // 1 - f(9) / f(50), f(t) = sum of count * (min(t, high)^2 - low^2) / (2 * (high - low)) over buckets below t
    close(d.share_of_sum_above(9.0).unwrap(), 0.36034201954397393);
    // brentq(lambda t: f(t) / f(50) - q, 1, 50)
    for (at, expected) in
        [(0.1, 2.9806392814823788), (0.5, 7.69334127671456), (0.95, 44.81963855275943)]
    {
        close(d.quantile_of_sum(at).unwrap(), expected);
    }
}

#[test]
fn interpolation_recovers_what_edges_lose() {
    // 100,000 values of a normal law by its quantiles, mean 30,000 ns and an interquartile range of 205 ns, in buckets of 16 and 32 ns as a
    // three-digit HdrHistogram makes them.
    use statrs::distribution::{ContinuousCDF, Normal};
    let law = Normal::new(30_000.0, 205.0 / 1.348_979_500_392_163).unwrap();
    let mut counts = std::collections::BTreeMap::<u64, u64>::new();
    for i in 0..100_000 {
        let value = law.inverse_cdf((i as f64 + 0.5) / 100_000.0);
        *counts.entry(value as u64 / 16 * 16).or_default() += 1;
    }
    let buckets: Vec<Bucket> = counts
        .iter()
        .map(|(&low, &count)| Bucket { low: low as f64, high: low as f64 + 16.0, count })
        .collect();
    let first = buckets[0].low;
    let last = buckets[buckets.len() - 1].high;
    let d = Distribution::new(&buckets, first, last).unwrap();
    assert!((d.iqr() - 205.0).abs() < 0.5, "{}", d.iqr());
    assert!((d.mad() - 102.5).abs() < 0.5, "{}", d.mad());
}

#[test]
fn exact_ends_bound_the_buckets() {
    let d = Distribution::new(&buckets(&[10.0, 20.0, 30.0], &[1, 1]), 18.0, 21.0).unwrap();
    assert_eq!((d.quantile(0.0), d.quantile(1.0)), (18.0, 21.0));
    assert_eq!((d.cdf(17.9), d.cdf(21.0)), (0.0, 1.0));
    let one = Distribution::new(&buckets(&[99.5, 100.5], &[7]), 100.0, 100.0).unwrap();
    assert_eq!((one.quantile(0.5), one.mad(), one.iqr()), (100.0, 0.0, 0.0));
    assert_eq!(one.quantile_of_sum(0.3), Some(100.0));
}

#[test]
fn one_stall_among_many_transactions_is_a_share_of_time() {
    let points =
        [Bucket { low: 25.0, high: 25.0, count: 38_000 }, Bucket { low: 5e4, high: 5e4, count: 1 }];
    let d = Distribution::new(&points, 25.0, 5e4).unwrap();
    close(d.share_of_sum_above(1e4).unwrap(), 5e4 / (5e4 + 25.0 * 38_000.0));
    assert_eq!((d.mad(), d.quantile(0.999)), (0.0, 25.0));
    assert_eq!((d.quantile_of_sum(0.9), d.quantile_of_sum(0.96)), (Some(25.0), Some(5e4)));
}

#[test]
fn malformed_buckets_are_refused() {
    assert_eq!(Distribution::new(&[], 0.0, 1.0), Err(Malformed::Empty));
    let crossed =
        [Bucket { low: 5.0, high: 6.0, count: 1 }, Bucket { low: 1.0, high: 2.0, count: 1 }];
    assert_eq!(Distribution::new(&crossed, 1.0, 6.0), Err(Malformed::Disordered(1)));
    let not_a_number = [Bucket { low: f64::NAN, high: 6.0, count: 1 }];
    assert_eq!(Distribution::new(&not_a_number, 1.0, 6.0), Err(Malformed::Disordered(0)));
    let fine = buckets(&[1.0, 2.0], &[3]);
    for (min, max) in [(3.0, 4.0), (0.0, 0.5), (2.0, 1.0), (f64::NAN, 2.0), (1.0, f64::INFINITY)] {
        assert_eq!(Distribution::new(&fine, min, max), Err(Malformed::Ends), "{min} {max}");
    }
}

#[test]
fn durations_are_not_negative() {
    let d = Distribution::new(&buckets(&[-1.0, 2.0], &[3]), -1.0, 2.0).unwrap();
    assert_eq!((d.share_of_sum_above(1.0), d.quantile_of_sum(0.5)), (None, None));
}

/// Positive buckets of random widths and counts, with gaps and single values among them.
fn any() -> impl Strategy<Value = Distribution> {
    proptest::collection::vec(
        (prop_oneof![Just(0.0), 0.0..5.0f64], prop_oneof![Just(0.0), 0.001..9.0f64], 1..1000u64),
        1..30,
    )
    .prop_map(|parts| {
        let mut at = 1.0;
        let buckets: Vec<Bucket> = parts
            .iter()
            .map(|&(gap, width, count)| {
                let low = at + gap;
                at = low + width;
                Bucket { low, high: at, count }
            })
            .collect();
        Distribution::new(&buckets, buckets[0].low, at).unwrap()
    })
}

fn mapped(d: &Distribution, map: impl Fn(f64) -> f64) -> Distribution {
    let mut buckets: Vec<Bucket> = d
        .buckets
        .iter()
        .map(|b| Bucket {
            low: map(b.low).min(map(b.high)),
            high: map(b.low).max(map(b.high)),
            ..*b
        })
        .collect();
    buckets.sort_by(|a, b| a.low.total_cmp(&b.low));
    Distribution::new(&buckets, buckets[0].low, buckets[buckets.len() - 1].high).unwrap()
}

proptest! {
    #[test]
    fn quantiles_rise_and_invert_the_cdf(d in any(), p in 0.0..=1.0f64, q in 0.0..=1.0f64) {
        prop_assert!(d.quantile(p.min(q)) <= d.quantile(p.max(q)));
        prop_assert!(d.cdf(d.quantile(q)) >= q - 1e-9);
        prop_assert!(d.quantile(0.0) <= d.quantile(q) && d.quantile(q) <= d.quantile(1.0));
    }

    #[test]
    fn half_the_observations_lie_within_the_mad(d in any()) {
        let (middle, mad) = (d.quantile(0.5), d.mad());
        let within = |reach: f64| d.cdf(middle + reach) - d.cdf(middle - reach);
        prop_assert!(within(mad + 1e-9) >= 0.5 - 1e-6);
        let inner: f64 = d.cdf(middle + mad - 1e-9) - d.cdf(middle - mad + 1e-9);
        prop_assert!(mad < 1e-9 || inner <= 0.5 + 1e-3, "{inner}");
    }

    #[test]
    fn figures_follow_a_scale_and_spread_ignores_a_shift(d in any(), scale in 0.1..10.0f64, shift in 0.0..100.0f64) {
        let moved = mapped(&d, |x| x * scale + shift);
        prop_assert!((moved.mad() - scale * d.mad()).abs() < 1e-6);
        prop_assert!((moved.iqr() - scale * d.iqr()).abs() < 1e-6);
        let scaled = mapped(&d, |x| x * scale);
        let (here, there) = (d.share_of_sum_above(9.0).unwrap(), scaled.share_of_sum_above(9.0 * scale).unwrap());
        // A single value exactly at the threshold may round to either side of it.
        let at = d.buckets.iter().any(|b| (b.low - 9.0).abs() < 1e-6 || (b.high - 9.0).abs() < 1e-6);
        prop_assert!(at || (here - there).abs() < 1e-6);
    }

    #[test]
    fn time_above_its_own_quantile_is_the_rest(d in any(), q in 0.01..0.99f64) {
        let value = d.quantile_of_sum(q).unwrap();
        let above = d.share_of_sum_above(value).unwrap();
        prop_assert!(above <= 1.0 - q + 1e-9);
        prop_assert!(d.quantile_of_sum(q).unwrap() >= d.quantile(q) - 1e-9);
    }

    #[test]
    fn deviations_are_in_the_order_of_a_stable_sort(d in any()) {
        let middle = d.quantile(0.5);
        let mut expected = Vec::new();
        for bucket in &d.buckets {
            let split = middle.clamp(bucket.low, bucket.high);
            let density = bucket.count as f64 / (bucket.high - bucket.low);
            for (low, high) in [(bucket.low, split), (split, bucket.high)] {
                let (low, high) = ((low - middle).abs(), (high - middle).abs());
                let (near, far) = (low.min(high), low.max(high));
                if near < far {
                    expected.push(Edge { value: near, density, mass: 0.0 });
                    expected.push(Edge { value: far, density: -density, mass: 0.0 });
                }
            }
        }
        for bucket in d.buckets.iter().filter(|bucket| bucket.high <= bucket.low) {
            let value = (bucket.low - middle).abs();
            expected.push(Edge { value, density: 0.0, mass: bucket.count as f64 });
        }
        expected.sort_by(|a, b| a.value.total_cmp(&b.value));
        prop_assert_eq!(d.deviations_from(middle), expected);
    }
}
