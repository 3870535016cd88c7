//! How long the tests of a large comparison take, on one CPU.

use std::hint::black_box;
use std::time::Instant;

use evenkeel_stats::gate::{self, Hypothesis, Observation, Options};

use super::super::table::{Measured, Must, Row};
use super::model::normal;
use super::others::Python;

/// 1,000 cells, 2 workloads, 5 aspects.
const HYPOTHESES: usize = 10_000;

/// Boots a side.
const BOOTS: u32 = 20;

const PERMUTATIONS: usize = 10_000;

/// Samples of a boot that public gates pool.
const SAMPLES: usize = 50;

/// Over numpy's product, and over the permutation of pooled samples.
const MOST: f64 = 2.0;
const LEAST: f64 = 100.0;

/// The rows.
pub(super) fn rows(python: &Python) -> Vec<Row> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut side = || -> Vec<Observation> {
        (0..BOOTS).map(|block| Observation { block, value: normal(&mut random) }).collect()
    };
    let boots: Vec<[Vec<Observation>; 2]> = (0..HYPOTHESES).map(|_| [side(), side()]).collect();
    let family: Vec<Hypothesis<'_>> =
        boots.iter().map(|[base, candidate]| Hypothesis { base, candidate, margin: 0.1 }).collect();
    let options = Options { permutations: PERMUTATIONS, ..Options::default() };
    let ours =
        (0..3).map(|_| seconds(|| gate::test(&family, &options))).fold(f64::INFINITY, f64::min);
    let what = "compare of 1,000 cells / numpy's product of the same sums";
    let first = match python.products(HYPOTHESES, BOOTS, PERMUTATIONS) {
        Ok([single, double]) => {
            let note = format!(
                "{BOOTS}+{BOOTS} boots, {PERMUTATIONS} permutations, one CPU: {ours:.2} s with worse, better and equivalent, raw and corrected; \
                 numpy multiplies once, in {single:.2} s, double precision {double:.2} s"
            );
            Row::new(
                what,
                "",
                Measured { value: ours / single, interval: None },
                Must::AtMost(MOST),
                note,
            )
        }
        Err(why) => Row::missing(what, Must::AtMost(MOST), format!("{ours:.2} s; {why}")),
    };
    let pooled = pooled(&mut random) * HYPOTHESES as f64;
    let note = format!("{pooled:.0} s for {SAMPLES} samples of each boot, from one hypothesis");
    let times = Measured { value: pooled / ours, interval: None };
    let what = "pooled-sample permutation / compare of 1,000 cells";
    vec![first, Row::new(what, "", times, Must::AtLeast(LEAST), note)]
}

/// Seconds that the permutation of one hypothesis' pooled samples takes, with our own loop: no slower than a Python's.
fn pooled(random: &mut fastrand::Rng) -> f64 {
    let half = BOOTS as usize * SAMPLES;
    let mut values: Vec<f64> = (0..2 * half).map(|_| normal(random)).collect();
    seconds(|| {
        (0..PERMUTATIONS)
            .filter(|_| {
                random.shuffle(&mut values);
                values[..half].iter().sum::<f64>() > values[half..].iter().sum::<f64>()
            })
            .count()
    })
}

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let began = Instant::now();
    black_box(work());
    began.elapsed().as_secs_f64()
}
