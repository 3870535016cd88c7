//! What a confirmed flag coincides with, by one boot more of its cell that counts in nothing. Pure; it decides nothing.
//!
//! Inside that boot: do its worst windows have more of something that the kernel counts than the others? The mean of the worst tenth
//! against that of the rest, by relabelling windows, corrected for all that is counted. What is there all the time tells no window from another, so the
//! whole boot is held beside the base's boots, too.

use std::collections::BTreeSet;

use evenkeel_agent::counters::{LATE, THROTTLED};
use evenkeel_agent::samples::{Noise, Samples, Window};

use super::{Aspect, Decision, Gate, Verdicts};
use crate::record::results::{Coincidence, DiagnosisResult};
use crate::record::{BASE, Counted, Outcome, Record};
use crate::report::significant;

/// Fewer windows have no worst tenth that chance would not make as often.
const LEAST_WINDOWS: usize = 30;

/// Relabellings of windows.
const RELABELLINGS: u32 = 4_000;

/// What is more likely by chance is not told.
const CHANCE: f64 = 0.05;

/// Nor is what there is less than so many times as much of.
const FACTOR: f64 = 1.5;

/// So many are told of each kind.
const TOLD: usize = 3;

/// The cells that get a boot: those of a figure of which it was confirmed that it is worse. What fails has told why.
pub fn cells(verdicts: &Verdicts) -> BTreeSet<&str> {
    let trusted = matches!(verdicts.gate, Gate::Gates | Gate::Uncalibrated { .. });
    let flags = verdicts.decisions.iter().filter(|of| trusted && is_diagnosed(of));
    flags.map(|decision| decision.row.cell.as_str()).collect()
}

fn is_diagnosed(decision: &Decision) -> bool {
    decision.flags() && decision.aspect != Aspect::Outcome
}

/// What each flag coincides with, as far as there is a boot of its cell.
pub fn all(verdicts: &Verdicts, records: &[Record], diagnoses: &[Record]) -> Vec<DiagnosisResult> {
    let flags = verdicts.decisions.iter().filter(|decision| is_diagnosed(decision));
    let of = |decision: &Decision| {
        let record = diagnoses.iter().find(|record| record.cell == decision.row.cell)?;
        let base = records.iter().filter(|other| other.side == BASE && other.cell == record.cell);
        Some(diagnosis(decision, record, &base.collect::<Vec<_>>()))
    };
    flags.filter_map(of).collect()
}

fn diagnosis(decision: &Decision, record: &Record, base: &[&Record]) -> DiagnosisResult {
    let mut found = DiagnosisResult {
        cell: decision.row.cell.clone(),
        workload: decision.row.workload.clone(),
        aspect: decision.row.aspect.clone(),
        coincides: Vec::new(),
        beside_base: Vec::new(),
        told: String::new(),
    };
    let at = record.workloads.iter().position(|of| of.workload == found.workload);
    let Some(at) = at else {
        let why = match &record.outcome {
            Outcome::Failed { reason } => reason.as_str(),
            Outcome::Measured => "it left nothing of this workload",
        };
        found.told = format!("the boot that was to tell what it coincides with failed: {why}");
        return found;
    };
    let samples = &record.workloads[at].samples;
    let counted = record.counted.as_ref();
    let series = series(samples, counted.map(|of| (of, at)));
    found.coincides = coincidences(&badness(samples, decision.aspect), &series);
    found.beside_base = beside_base(samples, &found.workload, base);
    found.told = told(&found, samples.windows.len(), throttled(&series));
    found
}

/// Something that is counted, in each window, a second.
struct Series {
    name: String,
    rates: Vec<f64>,
}

/// A counter of what disturbs.
type NoiseCounter = (&'static str, fn(&Noise) -> Option<f64>);

const NOISE: [NoiseCounter; 5] = [
    ("stolen time, ns", |noise| Some(noise.steal_ns as f64)),
    ("time in which something waited for a CPU, ns", |noise| noise.pressure_ns.map(|ns| ns as f64)),
    ("involuntary switches of what is measured", |noise| Some(noise.involuntary_switches as f64)),
    ("migrations of what is measured", |noise| noise.migrations.map(|count| count as f64)),
    ("software interrupts", |noise| Some(noise.softirqs as f64)),
];

fn series(samples: &Samples, counted: Option<(&Counted, usize)>) -> Vec<Series> {
    let windows = &samples.windows;
    let a_second = |window: &Window, count: f64| count * 1e9 / window.length_ns.max(1) as f64;
    let noise = NOISE.iter().filter_map(|(name, of)| {
        let rates = windows.iter().map(|window| Some(a_second(window, of(&window.noise?)?)));
        Some(Series { name: (*name).to_owned(), rates: rates.collect::<Option<_>>()? })
    });
    let mut all: Vec<Series> = noise.collect();
    if let Some((counted, at)) = counted
        && let Some(moved) = counted.windows.get(at).filter(|moved| moved.len() == windows.len())
    {
        all.extend(counted.names.iter().enumerate().map(|(place, name)| {
            let of = |(window, moved): (&Window, &Vec<f64>)| {
                a_second(window, moved.get(place).copied().unwrap_or(0.0))
            };
            Series { name: name.clone(), rates: windows.iter().zip(moved).map(of).collect() }
        }));
    }
    all
}

/// How bad each window is, as far as the aspect is concerned.
fn badness(samples: &Samples, aspect: Aspect) -> Vec<f64> {
    let of = |window: &Window| {
        let ns = |value: Option<u64>| value.map(|ns| ns as f64);
        let far = ns(window.p99_ns).or(ns(window.max_ns));
        match (aspect, ns(window.p50_ns)) {
            // Of a rate the slow windows are the bad ones.
            (_, None) => -(window.bytes.max(window.operations) as f64),
            (Aspect::Location | Aspect::Modes, Some(middle)) => middle,
            (Aspect::Dispersion, Some(middle)) => far.unwrap_or(middle) - middle,
            (_, Some(middle)) => ns(window.max_ns).unwrap_or(middle),
        }
    };
    samples.windows.iter().map(of).collect()
}

/// What the worst tenth has more of.
fn coincidences(badness: &[f64], series: &[Series]) -> Vec<Coincidence> {
    let count = badness.len();
    if count < LEAST_WINDOWS {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| badness[*b].total_cmp(&badness[*a]));
    let worst = order[..count / 10].to_vec();
    let varying: Vec<&Series> = series
        .iter()
        .filter(|of| of.rates.iter().any(|rate| (rate - of.rates[0]).abs() > f64::EPSILON))
        .collect();
    let sum = |of: &Series, windows: &[usize]| windows.iter().map(|at| of.rates[*at]).sum::<f64>();
    let seen: Vec<f64> = varying.iter().map(|of| sum(of, &worst)).collect();
    // The same relabellings for all, drawn from a fixed seed: a report that is made again is the same.
    let mut random = fastrand::Rng::with_seed(1);
    let mut hits = vec![0_u32; varying.len()];
    for _ in 0..RELABELLINGS {
        for at in 0..worst.len() {
            order.swap(at, random.usize(at..count));
        }
        for ((of, seen), hits) in varying.iter().zip(&seen).zip(&mut hits) {
            *hits += u32::from(sum(of, &order[..worst.len()]) >= *seen);
        }
    }
    let tests = varying.len() as f64;
    let found = varying.iter().zip(&seen).zip(hits).map(|((of, seen), hits)| {
        let p = f64::from(hits + 1) / f64::from(RELABELLINGS + 1);
        let rest = of.rates.iter().sum::<f64>() - seen;
        Coincidence {
            counter: of.name.clone(),
            here: seen / worst.len() as f64,
            elsewhere: (rest / (count - worst.len()) as f64).max(0.0),
            p: Some((p * tests).min(1.0)),
        }
    });
    let more = |of: &Coincidence| of.p <= Some(CHANCE) && of.here >= FACTOR * of.elsewhere;
    let mut found: Vec<Coincidence> = found.filter(more).collect();
    found.sort_by(|a, b| {
        a.p.partial_cmp(&b.p).unwrap_or(std::cmp::Ordering::Equal).then(by_factor(a, b))
    });
    found.truncate(TOLD);
    found
}

/// The larger factor first.
fn by_factor(a: &Coincidence, b: &Coincidence) -> std::cmp::Ordering {
    let factor = |of: &Coincidence| of.here / of.elsewhere.max(f64::MIN_POSITIVE);
    factor(b).total_cmp(&factor(a))
}

/// What the whole boot had more of than any boot of the base.
fn beside_base(samples: &Samples, workload: &str, base: &[&Record]) -> Vec<Coincidence> {
    let of_base = base.iter().flat_map(|record| &record.workloads);
    let of_base: Vec<&Samples> =
        of_base.filter(|of| of.workload == workload).map(|of| &of.samples).collect();
    let found = NOISE.iter().filter_map(|(name, of)| {
        let here = rate(samples, *of)?;
        let elsewhere = of_base.iter().filter_map(|samples| rate(samples, *of));
        let elsewhere = elsewhere.reduce(f64::max)?;
        let found = Coincidence { counter: (*name).to_owned(), here, elsewhere, p: None };
        (here > 0.0 && here >= FACTOR * elsewhere).then_some(found)
    });
    let mut found: Vec<Coincidence> = found.collect();
    found.sort_by(by_factor);
    found.truncate(TOLD);
    found
}

/// So much a second, over all windows.
fn rate(samples: &Samples, of: fn(&Noise) -> Option<f64>) -> Option<f64> {
    let counts = samples.windows.iter().map(|window| of(&window.noise?));
    let count: f64 = counts.sum::<Option<f64>>()?;
    let ns: u64 = samples.windows.iter().map(|window| window.length_ns).sum();
    (ns > 0).then(|| count * 1e9 / ns as f64)
}

/// The share of the boot in which a quota kept the control group from running.
fn throttled(series: &[Series]) -> f64 {
    let of = series.iter().find(|of| of.name == THROTTLED);
    of.map_or(0.0, |of| of.rates.iter().sum::<f64>() / of.rates.len().max(1) as f64)
}

fn told(found: &DiagnosisResult, windows: usize, throttled: f64) -> String {
    let listed = |of: &[Coincidence], other: &str| {
        let each = of.iter().map(|of| {
            let [here, elsewhere] = [of.here, of.elsewhere].map(|rate| amount(&of.counter, rate));
            format!("{} ({here}, {elsewhere} {other})", of.counter.trim_end_matches(NS))
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let mut parts = Vec::new();
    match &*found.coincides {
        [] if windows < LEAST_WINDOWS => {
            parts.push(format!(
                "{windows} windows are too few to tell what the worst coincide with"
            ));
        }
        [] => parts.push(
            "its worst windows have no more than the others of anything that is counted".to_owned(),
        ),
        some => {
            parts.push(format!("its worst windows coincide with {}", listed(some, "in the others")))
        }
    }
    if !found.beside_base.is_empty() {
        let listed = listed(&found.beside_base, "at most there");
        parts.push(format!("more than in any boot of the base: {listed}"));
    }
    if throttled > 0.0 {
        let share = amount(THROTTLED, throttled);
        parts.push(format!("a CPU quota kept it from running for {share}"));
    }
    if found.coincides.iter().any(|of| of.counter == LATE) {
        parts.push("a CPU stood still for whoever watched, too".to_owned());
    }
    parts.join("; ")
}

/// The end of the name of what is counted in nanoseconds.
const NS: &str = ", ns";

/// `1200/s`; of time, the share of it.
fn amount(counter: &str, rate: f64) -> String {
    match counter.ends_with(NS) {
        true => format!("{} % of the time", significant(rate / 1e7)),
        false => format!("{}/s", significant(rate)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred windows, every twentieth of which is bad.
    fn windows() -> Samples {
        let window = |at: u64| Window {
            start_ns: at * 20_000_000,
            length_ns: 20_000_000,
            operations: 100,
            p50_ns: Some(20_000),
            p99_ns: Some(30_000),
            max_ns: Some(if at.is_multiple_of(10) { 900_000 + at } else { 40_000 + at }),
            noise: Some(Noise {
                softirqs: 50 + at % 3,
                involuntary_switches: if at.is_multiple_of(10) { 40 } else { at % 2 },
                ..Noise::default()
            }),
            ..Window::default()
        };
        let samples = crate::record::testing::latencies(&[20_000; 100]);
        Samples { windows: (0..100).map(window).collect(), ..samples }
    }

    #[test]
    fn the_worst_windows_are_held_beside_the_others() {
        let samples = windows();
        let counted = Counted {
            names: vec!["interrupts 7 disk".into(), THROTTLED.into()],
            windows: vec![(0..100).map(|at| vec![f64::from(at % 7), 4e6]).collect()],
        };
        let series = series(&samples, Some((&counted, 0)));
        let found = coincidences(&badness(&samples, Aspect::Tail), &series);
        let [only] = &found[..] else { panic!("{found:?}") };
        assert_eq!(only.counter, "involuntary switches of what is measured");
        assert_eq!((only.here, only.p.unwrap() < 0.002), (2_000.0, true));
        // Medians have nothing to do with it.
        assert!(coincidences(&badness(&samples, Aspect::Location), &series).len() <= 1);
        let result = DiagnosisResult {
            cell: "c".into(),
            workload: "tcp-rr".into(),
            aspect: "tail".into(),
            coincides: found,
            beside_base: Vec::new(),
            told: String::new(),
        };
        insta::assert_snapshot!(told(&result, 100, throttled(&series)), @"its worst windows coincide with involuntary switches of what is measured (2000/s, 27.8/s in the others); a CPU quota kept it from running for 20.0 % of the time");
        let none = DiagnosisResult { coincides: Vec::new(), ..result };
        insta::assert_snapshot!(told(&none, 100, 0.0), @"its worst windows have no more than the others of anything that is counted");
        insta::assert_snapshot!(told(&none, 10, 0.0), @"10 windows are too few to tell what the worst coincide with");
    }

    #[test]
    fn windows_that_are_bad_by_chance_coincide_with_nothing() {
        let mut random = fastrand::Rng::with_seed(3);
        let told = (0..40).filter(|_| {
            let series: Vec<Series> = (0..30)
                .map(|at| Series {
                    name: at.to_string(),
                    rates: (0..100).map(|_| random.f64().powi(8)).collect(),
                })
                .collect();
            let badness: Vec<f64> = (0..100).map(|_| random.f64()).collect();
            !coincidences(&badness, &series).is_empty()
        });
        // 2 are expected at most.
        assert!(told.count() <= 6);
    }

    #[test]
    fn what_is_there_all_the_time_is_held_beside_the_base() {
        let mut quiet = windows();
        for window in &mut quiet.windows {
            window.noise =
                Some(Noise { softirqs: 51, involuntary_switches: 1, ..Noise::default() });
        }
        let cell = crate::record::testing::cell("netns", "stock");
        let base = crate::record::testing::record(&cell, 0, "tcp-rr", quiet);
        let found = beside_base(&windows(), "tcp-rr", &[&base]);
        let [only] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (&*only.counter, only.elsewhere),
            ("involuntary switches of what is measured", 50.0)
        );
    }
}
