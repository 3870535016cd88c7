//! How long the tests of a large comparison take, on one CPU.

use std::hint::black_box;
use std::time::Instant;

use evenkeel_stats::gate::{self, Hypothesis, Observation, Options};
use evenkeel_stats::quantile::median;

use super::super::table::{Must, Row};
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

/// Pairs of ours and numpy's, one after the other, each the best of [`TRIES`].
const PAIRS: usize = 10;
const TRIES: usize = 3;

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
    let (mut ours, mut pooleds, mut numpys) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        ours.push(best(|| gate::test(&family, &options)));
        pooleds.push(pooled(&mut random) * HYPOTHESES as f64);
        numpys.push(python.products(HYPOTHESES, BOOTS, PERMUTATIONS, TRIES));
    }
    let over = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<_>>();
    let what = "compare of 1,000 cells / numpy's product of the same sums";
    let [seconds, pooled_seconds] = [&ours, &pooleds].map(|of| median(of).unwrap_or_default());
    let first = match numpys.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(numpys) => {
            let [single, double] =
                [0, 1].map(|at| numpys.iter().map(|of| of[at]).collect::<Vec<_>>());
            let note = format!(
                "{BOOTS}+{BOOTS} boots, {PERMUTATIONS} permutations, one CPU: {seconds:.3} s with worse, better and equivalent, raw and corrected; \
                 numpy multiplies once, in {:.3} s, double precision {:.3} s",
                median(&single).unwrap_or_default(),
                median(&double).unwrap_or_default()
            );
            Row::ratio(what, &over(&ours, &single), Must::AtMost(MOST), note)
        }
        Err(why) => Row::missing(what, Must::AtMost(MOST), format!("{seconds:.3} s; {why}")),
    };
    let note =
        format!("{pooled_seconds:.0} s for {SAMPLES} samples of each boot, from one hypothesis");
    let what = "pooled-sample permutation / compare of 1,000 cells";
    vec![first, Row::ratio(what, &over(&pooleds, &ours), Must::AtLeast(LEAST), note)]
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

/// The fewest seconds of some tries: what disturbs a program only makes it slower.
fn best<T>(mut work: impl FnMut() -> T) -> f64 {
    (0..TRIES).map(|_| seconds(&mut work)).fold(f64::INFINITY, f64::min)
}

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let began = Instant::now();
    black_box(work());
    began.elapsed().as_secs_f64()
}
