//! Figures of samples against the transactions they came from.

use evenkeel_agent::samples::Samples;
use evenkeel_stats::components::components;
use evenkeel_stats::moments::Moments;
use evenkeel_stats::quantile::{iqr, mad, median};
use proptest::prelude::*;

use super::*;
use crate::record::testing::{bell, latencies, rates};

fn floats(transactions: &[u64]) -> Vec<f64> {
    transactions.iter().map(|&ns| ns as f64).collect()
}

fn near(got: Option<f64>, expected: f64, tolerance: f64) {
    let got = got.expect("a figure");
    assert!((got - expected).abs() <= tolerance, "{got} is not {expected} within {tolerance}");
}

#[test]
fn latency_figures_are_those_of_the_transactions() {
    let boots = [bell(30_000.0, 102.5, 20_000), bell(30_100.0, 102.5, 20_000)];
    let samples = boots.clone().map(|boot| latencies(&boot));
    let figures = Pooled::new(&samples.iter().collect::<Vec<_>>()).unwrap().figures();
    let all = floats(&boots.concat());
    near(figures.median, median(&all).unwrap(), 2.0);
    near(figures.iqr, iqr(&all).unwrap(), 2.0);
    near(figures.mad, mad(&all).unwrap(), 2.0);
    near(figures.mean, Moments::of(&all).mean, 1e-6);
    assert_eq!(figures.max, all.iter().copied().reduce(f64::max));
    let spread = components(&[Moments::of(&floats(&boots[0])), Moments::of(&floats(&boots[1]))]);
    assert_eq!((figures.sd_within, figures.sd_between), (spread.within, spread.between));
    near(figures.sd_between, 100.0 / 2f64.sqrt(), 0.5);
    // Windows are alike, so their medians hardly differ: far less than transactions do.
    assert!(figures.sd_windows.unwrap() < figures.sd_within.unwrap() / 10.0);
    assert_eq!(figures.stall_share, Some(0.0));
    assert_eq!(
        (figures.p50, figures.p99_999),
        (figures.median, None),
        "40,000 cannot support p99.999"
    );
    assert!(figures.p99_9.is_some() && figures.p99_99.is_none());
}

#[test]
fn the_range_is_interpolated_inside_buckets() {
    // Buckets are 16 ns wide here: edges alone give a multiple of 16.
    let transactions = bell(30_000.0, 102.8, 50_000);
    let figures = Pooled::new(&[&latencies(&transactions)]).unwrap().figures();
    near(figures.iqr, 205.6, 0.7);
}

#[test]
fn one_stall_shows_as_stall_and_nowhere_else() {
    let mut transactions = bell(25_000.0, 100.0, 38_000);
    let quiet = per_boot(&latencies(&transactions)).unwrap();
    transactions[7] = 60_000_000;
    let stalled = per_boot(&latencies(&transactions)).unwrap();
    near(stalled.stall_share, 60e6 / (60e6 + 25_000.0 * 37_999.0), 1e-4);
    assert_eq!(quiet.stall_share, Some(0.0));
    near(quiet.stall_floor, 10e6 / (25_000.0 * 38_000.0), 1e-4);
    for of in [
        |boot: &BootFigures| boot.mad,
        |boot: &BootFigures| boot.jitter,
        |boot: &BootFigures| boot.far_jitter,
    ] {
        near(of(&stalled), of(&quiet).unwrap(), of(&quiet).unwrap() / 100.0);
    }
    assert!(stalled.time_p95 > quiet.time_p95.map(|ns| ns * 100.0));
}

#[test]
fn rates_are_over_windows_and_their_bad_tail_is_low() {
    let values: Vec<f64> = (0..1000).map(|i| 1e9 + 1e5 * f64::from((i * 617) % 1000)).collect();
    let figures = Pooled::new(&[&rates(&values)]).unwrap().figures();
    near(figures.median, 1e9 + 499.5e5, 1e-3);
    near(figures.jitter, 489.51e5, 1e-3); // p50 - p1 of 0..999, type 7
    assert_eq!((figures.stall_share, figures.sd_between), (None, None));
    assert_eq!(figures.sd_windows, figures.sd_within);
    let few = Pooled::new(&[&rates(&values[..50])]).unwrap().figures();
    assert_eq!((few.jitter, few.p90), (None, None));
    assert!(few.median.is_some() && few.iqr.is_some());
}

#[test]
fn samples_that_cannot_be_true_are_refused() {
    let good = latencies(&[5, 6, 7]);
    let refused = |samples: &Samples| format!("{:#}", Pooled::new(&[samples]).unwrap_err());
    let mut miscounted = good.clone();
    miscounted.moments.count = 4;
    insta::assert_snapshot!(refused(&miscounted), @"histogram holds 3 transactions, its moments 4");
    let with = |text: &str| Samples { histogram: Some(text.into()), ..good.clone() };
    insta::assert_snapshot!(refused(&with("%%")), @"histogram is not base64: Invalid symbol 37, offset 0.");
    insta::assert_snapshot!(refused(&with("AAAA")), @"histogram is cut short");
    insta::assert_snapshot!(refused(&with("AAAAAAAAAAAAAAAA")), @"histogram is not in the V2 compressed format");
    let text = good.histogram.clone().unwrap();
    assert!(refused(&with(&text[..text.len() / 8 * 4])).contains("histogram"));
    let mut wrong_ends = good.clone();
    wrong_ends.max = 2.0;
    insta::assert_snapshot!(refused(&wrong_ends), @"smallest and largest observation do not fit the buckets");
    let mut nothing = rates(&[]);
    nothing.min = 0.0;
    insta::assert_snapshot!(refused(&nothing), @"nothing was observed");
    insta::assert_snapshot!(
        Pooled::new(&[&good, &rates(&[1.0])]).unwrap_err(), @"boots are in different units: ns and bytes/s");
    insta::assert_snapshot!(Pooled::new(&[]).unwrap_err(), @"no boots to pool");
}

#[test]
fn a_histogram_that_lies_about_its_length_costs_no_memory() {
    use base64::Engine as _;
    use std::io::Write as _;
    // The header of a plain V2 histogram that announces 4 GiB of counts.
    let mut plain = 0x1c84_9313_u32.to_be_bytes().to_vec();
    for word in [u32::MAX, 0, 3] {
        plain.extend(word.to_be_bytes());
    }
    plain.extend(1u64.to_be_bytes());
    plain.extend(1_000_000u64.to_be_bytes());
    plain.extend(1f64.to_be_bytes());
    let mut packed = [0x1c84_9314_u32.to_be_bytes(), [0; 4]].concat();
    let mut writer = flate2::write::ZlibEncoder::new(&mut packed, flate2::Compression::default());
    writer.write_all(&plain).unwrap();
    writer.finish().unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(packed);
    let samples = Samples { histogram: Some(text), ..latencies(&[5, 6, 7]) };
    insta::assert_snapshot!(per_boot(&samples).unwrap_err(), @"histogram is cut short");
}

#[test]
fn curves_rise_and_stop_where_the_count_does() {
    let pooled = Pooled::new(&[&latencies(&bell(30_000.0, 100.0, 10_000))]).unwrap();
    let ecdf = pooled.ecdf(64);
    assert_eq!((ecdf.len(), ecdf[0].1, ecdf[63].1), (64, 0.0, 1.0));
    assert_eq!(Some(ecdf[63].0), pooled.figures().max);
    assert!(ecdf.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 < pair[1].1));
    assert_eq!((pooled.ecdf(0).len(), pooled.ecdf(1).len()), (0, 1));
    let curve = pooled.percentile_curve();
    assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
    let (last, value) = curve[curve.len() - 1];
    assert!((last - 0.999).abs() < 1e-12, "10,000 transactions support three nines, not {last}");
    near(pooled.quantile(0.999), value, 1e-6);
}

fn transactions() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(prop_oneof![1..5_000u64, 1..100_000_000u64], 1..300)
}

proptest! {
    #[test]
    fn pooling_boots_is_recording_them_together(a in transactions(), b in transactions(), q in 0.0..=1.0f64) {
        let pooled = Pooled::new(&[&latencies(&a), &latencies(&b)]).unwrap();
        let together = Pooled::new(&[&latencies(&[a, b].concat())]).unwrap();
        prop_assert_eq!(pooled.any_quantile(q), together.any_quantile(q));
        prop_assert_eq!(pooled.count(), together.count());
        let (pooled, together) = (pooled.figures(), together.figures());
        prop_assert_eq!((pooled.mad, pooled.max, pooled.stall_share), (together.mad, together.max, together.stall_share));
        prop_assert!((pooled.mean.unwrap() / together.mean.unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn quantiles_are_within_a_bucket_of_the_exact_ones(a in transactions(), q in 0.0..=1.0f64) {
        let pooled = Pooled::new(&[&latencies(&a)]).unwrap();
        let mut sorted = a;
        sorted.sort_unstable();
        let at = (q * sorted.len() as f64).ceil().max(1.0) as usize - 1;
        let exact = sorted[at] as f64;
        prop_assert!((pooled.any_quantile(q) - exact).abs() <= 0.5 + exact / 1000.0);
    }

    #[test]
    fn figures_of_a_boot_are_those_of_a_pool_of_one(a in transactions()) {
        let samples = latencies(&a);
        let (boot, pool) = (per_boot(&samples).unwrap(), Pooled::new(&[&samples]).unwrap().figures());
        prop_assert_eq!((boot.median, boot.mad, boot.iqr, boot.jitter), (pool.median, pool.mad, pool.iqr, pool.jitter));
        prop_assert_eq!((boot.sd, Some(boot.mean), boot.stall_share), (pool.sd_within, pool.mean, pool.stall_share));
    }
}
