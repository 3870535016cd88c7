//! The figures of a run as JSON of two public trackers: Bencher Metric Format, and the custom formats of github-action-benchmark.
//!
//! A value is the geometric mean over boots, with its 95 % interval where boots say how they vary.

use std::collections::BTreeMap;

use anyhow::Result;
use evenkeel_agent::samples::Unit;
use evenkeel_stats::interval;
use serde::Serialize;

use crate::record::figures::run::{AspectOfRun, BETWEEN, Better, WorkloadOfRun, of_run};
use crate::record::{Record, Run};

/// A metric of Bencher: `lower_value` and `upper_value` may be absent.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
struct Metric {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_value: Option<f64>,
}

/// Bencher Metric Format: benchmark (`CELL:WORKLOAD`), measure, metric.
///
/// # Errors
/// Samples that cannot be decoded.
pub fn bmf(run: &Run, records: &[Record]) -> Result<String> {
    let mut benchmarks: BTreeMap<String, BTreeMap<&str, Metric>> = BTreeMap::new();
    for of in of_run(records)? {
        let measures = benchmarks.entry(name(&of)).or_default();
        for aspect in &of.aspects {
            // Of two instruments in one run the first counts.
            measures.entry(measure(aspect, of.unit)).or_insert_with(|| metric(aspect, run.seed));
        }
    }
    Ok(serde_json::to_string_pretty(&benchmarks)? + "\n")
}

/// The slug of a measure. `latency` and `throughput` are Bencher's own, in nanoseconds and operations a second.
fn measure(aspect: &AspectOfRun, unit: Unit) -> &'static str {
    match (aspect.aspect, aspect.figure, unit) {
        ("location", _, Unit::Nanoseconds) => "latency",
        ("location", _, Unit::TransactionsPerSecond) => "throughput",
        ("location", _, Unit::BytesPerSecond) => "bytes-per-second",
        ("stall", ..) => "stall-share",
        (BETWEEN, ..) => "sd-between-boots",
        (_, "sd_within", _) => "sd",
        (_, figure, _) => figure,
    }
}

/// An entry of github-action-benchmark.
#[derive(Serialize, Clone, Debug, PartialEq)]
struct Entry {
    name: String,
    unit: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    extra: String,
}

/// `customSmallerIsBetter` or `customBiggerIsBetter` of github-action-benchmark, which must not be mixed in one file; and how many figures
/// belong to the other.
///
/// # Errors
/// Samples that cannot be decoded.
pub fn github_action_benchmark(
    run: &Run,
    records: &[Record],
    better: Better,
) -> Result<(String, usize)> {
    let (mut entries, mut others) = (Vec::new(), 0);
    for of in of_run(records)? {
        for aspect in &of.aspects {
            if aspect.better != better {
                others += 1;
                continue;
            }
            let Metric { value, lower_value, upper_value } = metric(aspect, run.seed);
            let range =
                lower_value.zip(upper_value).map(|(low, high)| format!("{low:.6e}..{high:.6e}"));
            let boots = aspect.logs.len();
            entries.push(Entry {
                name: format!("{} {} ({})", name(&of), aspect.aspect, aspect.figure),
                unit: aspect.unit,
                value,
                range,
                extra: format!("geometric mean, n = {boots}, instrument {}", of.fingerprint),
            });
        }
    }
    Ok((serde_json::to_string_pretty(&entries)? + "\n", others))
}

fn name(of: &WorkloadOfRun) -> String {
    format!("{}:{}", of.cell, of.workload)
}

/// Fewer boots say too little of how they vary: between two an interval can span forty powers of ten, and whoever draws it sees nothing else.
const BOOTS_OF_AN_INTERVAL: usize = 3;

fn metric(aspect: &AspectOfRun, seed: u64) -> Metric {
    let enough = aspect.logs.len() >= BOOTS_OF_AN_INTERVAL;
    let ends = enough.then(|| interval::mean(&aspect.logs, seed).ok()).flatten();
    Metric {
        value: aspect.mean().exp(),
        lower_value: ends.map(|ends| ends.low.exp()),
        upper_value: ends.map(|ends| ends.high.exp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{cell, rates, record, run};

    fn three() -> (Run, Vec<Record>) {
        let cell = cell("netns", "stock");
        let of = |boot, factor: f64| {
            record(&cell, boot, "tcp-stream", rates(&[1e9 * factor, 2e9 * factor, 4e9 * factor]))
        };
        (run(std::slice::from_ref(&cell)), vec![of(0, 1.0), of(1, 1.1), of(2, 1.05)])
    }

    #[test]
    fn bencher_has_a_measure_for_each_aspect() {
        let (run, records) = three();
        insta::assert_snapshot!(bmf(&run, &records).unwrap(), @r#"
        {
          "running/netns/bridge/stock/idle:tcp-stream": {
            "bytes-per-second": {
              "value": 2098411497.1245363,
              "lower_value": 1864117274.2506409,
              "upper_value": 2362153321.6221814
            },
            "mad": {
              "value": 1049205748.5622699,
              "lower_value": 932058637.1253186,
              "upper_value": 1181076660.811097
            },
            "sd": {
              "value": 1602688254.1231332,
              "lower_value": 1423743085.5880532,
              "upper_value": 1804124399.9041693
            },
            "sd-between-boots": {
              "value": 0.0476595956562138
            }
          }
        }
        "#);
        assert_eq!(bmf(&run, &[]).unwrap(), "{}\n");
    }

    #[test]
    fn of_two_boots_no_interval_is_exported() {
        let (run, mut records) = three();
        records.pop();
        let text = bmf(&run, &records).unwrap();
        assert!(text.contains("\"value\"") && !text.contains("lower_value"), "{text}");
        let (text, _) = github_action_benchmark(&run, &records, Better::Higher).unwrap();
        assert!(text.contains("n = 2") && !text.contains("range"), "{text}");
    }

    #[test]
    fn the_action_has_one_direction_a_file() {
        let (run, records) = three();
        let (bigger, others) = github_action_benchmark(&run, &records, Better::Higher).unwrap();
        assert_eq!(others, 3);
        insta::assert_snapshot!(bigger, @r#"
        [
          {
            "name": "running/netns/bridge/stock/idle:tcp-stream location (median)",
            "unit": "bytes/s",
            "value": 2098411497.1245363,
            "range": "1.864117e9..2.362153e9",
            "extra": "geometric mean, n = 3, instrument f"
          }
        ]
        "#);
        let (smaller, others) = github_action_benchmark(&run, &records, Better::Lower).unwrap();
        assert_eq!((others, smaller.matches("\"name\"").count()), (1, 3));
    }
}
