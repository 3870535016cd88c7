//! What one run says of each aspect of each workload of a cell: the mean of the logarithms of its boots' figures. Exports and the history take
//! these; verdicts compare boots themselves.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use evenkeel_agent::samples::Unit;
use evenkeel_stats::moments::Moments;

use super::{BootFigures, per_boot};
use crate::record::{CANDIDATE, Outcome, Record};

/// Name of the aspect that is about how boots differ from one another.
pub const BETWEEN: &str = "between-boot";

/// Whether a larger figure is better or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// As for latencies and every spread.
    Lower,
    /// As for rates.
    Higher,
}

/// One aspect of one workload of a cell, over the boots of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct AspectOfRun {
    /// `location`, `dispersion`, `tail`, `stall`, [`BETWEEN`].
    pub aspect: &'static str,
    /// The figure that stands for it, as in `results.json`; `sd_between_log` is the standard deviation of the logarithms of boots' medians.
    pub figure: &'static str,
    /// The unit of the figure's exponential: the workload's, or `share`, or `ratio`.
    pub unit: &'static str,
    /// Which direction is better.
    pub better: Better,
    /// Natural logarithms of the figure, one a boot that has it; of [`BETWEEN`] only one.
    pub logs: Vec<f64>,
    /// Standard error of their mean; absent where nothing says how they vary.
    pub error: Option<f64>,
}

impl AspectOfRun {
    /// The mean of the logarithms.
    pub fn mean(&self) -> f64 {
        Moments::of(&self.logs).mean
    }
}

/// A workload of a cell under one instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadOfRun {
    /// The cell's id.
    pub cell: String,
    /// The instrument's fingerprint.
    pub fingerprint: String,
    /// The workload.
    pub workload: String,
    /// The unit of its figures.
    pub unit: Unit,
    /// Its aspects.
    pub aspects: Vec<AspectOfRun>,
}

struct Row {
    aspect: &'static str,
    figure: &'static str,
    of: fn(&BootFigures) -> Option<f64>,
}

/// As the contrasts have them; a boot without a stall counts as one of the least that it could have shown.
const ROWS: [Row; 5] = [
    Row { aspect: "location", figure: "median", of: |boot| boot.median },
    Row { aspect: "dispersion", figure: "mad", of: |boot| boot.mad },
    Row { aspect: "dispersion", figure: "sd_within", of: |boot| boot.sd },
    Row { aspect: "tail", figure: "jitter", of: |boot| boot.jitter },
    Row {
        aspect: "stall",
        figure: "stall_share",
        of: |boot| boot.stall_share.map(|share| share.max(boot.stall_floor.unwrap_or(share))),
    },
];

/// The aspects of every workload that a run measured, by cell, fingerprint and workload.
///
/// # Errors
/// Samples that cannot be decoded; names the boot.
pub fn of_run(records: &[Record]) -> Result<Vec<WorkloadOfRun>> {
    // Of several records of one boot the last counts.
    let mut boots: BTreeMap<(&str, u32), &Record> = BTreeMap::new();
    for record in records.iter().filter(|record| record.side == CANDIDATE) {
        boots.insert((&record.cell, record.boot), record);
    }
    let mut found: BTreeMap<(&str, &str, &str), Vec<BootFigures>> = BTreeMap::new();
    for record in boots.into_values().filter(|record| record.outcome == Outcome::Measured) {
        for of in &record.workloads {
            let figures = per_boot(&of.samples).with_context(|| {
                format!("boot {} of `{}`: {}", record.boot, record.cell, of.workload)
            })?;
            let key = (record.cell.as_str(), record.fingerprint.as_str(), of.workload.as_str());
            found.entry(key).or_default().push(figures);
        }
    }
    let of_run = found.into_iter().filter_map(|((cell, fingerprint, workload), boots)| {
        let unit = boots.first()?.unit;
        Some(WorkloadOfRun {
            cell: cell.to_owned(),
            fingerprint: fingerprint.to_owned(),
            workload: workload.to_owned(),
            unit,
            aspects: aspects(unit, &boots),
        })
    });
    Ok(of_run.collect())
}

fn aspects(unit: Unit, boots: &[BootFigures]) -> Vec<AspectOfRun> {
    let logs = |of: fn(&BootFigures) -> Option<f64>| -> Vec<f64> {
        let figures = boots.iter().filter(|boot| boot.unit == unit).filter_map(of);
        figures.map(f64::ln).filter(|log| log.is_finite()).collect()
    };
    let mut aspects = Vec::new();
    for row in ROWS {
        let logs = logs(row.of);
        let moments = Moments::of(&logs);
        if logs.is_empty() {
            continue;
        }
        aspects.push(AspectOfRun {
            aspect: row.aspect,
            figure: row.figure,
            unit: if row.aspect == "stall" { "share" } else { unit.symbol() },
            better: match (row.aspect, unit.better()) {
                ("location", "higher") => Better::Higher,
                _ => Better::Lower,
            },
            error: moments.sd().map(|sd| sd / (moments.count as f64).sqrt()),
            logs,
        });
    }
    let medians = Moments::of(&logs(|boot| boot.median));
    // The logarithm of a standard deviation of n normal values has a standard error near 1 / sqrt(2 (n - 1)).
    let between = medians.sd().filter(|sd| medians.count >= 3 && *sd > 0.0);
    aspects.extend(between.map(|sd| AspectOfRun {
        aspect: BETWEEN,
        figure: "sd_between_log",
        unit: "ratio",
        better: Better::Lower,
        logs: vec![sd.ln()],
        error: Some((2.0 * (medians.count - 1) as f64).sqrt().recip()),
    }));
    aspects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{bell, cell, failed, latencies, rates, record};

    #[test]
    fn a_run_is_the_mean_of_its_boots_logarithms() {
        let cell = cell("netns", "stock");
        let of =
            |boot, middle| record(&cell, boot, "tcp-rr", latencies(&bell(middle, 100.0, 2000)));
        let stream = record(&cell, 3, "tcp-stream", rates(&[1e9, 1.1e9, 1.2e9]));
        let records = [of(0, 1000.0), of(1, 2000.0), of(2, 4000.0), stream, failed(&cell, 4, "no")];
        let found = of_run(&records).unwrap();
        let [rr, stream] = &found[..] else { panic!("two workloads") };
        let location = &rr.aspects[0];
        assert!((location.mean().exp() / 2000.0 - 1.0).abs() < 0.01, "{location:?}");
        assert!((location.error.unwrap() - 2f64.ln() / 3f64.sqrt()).abs() < 0.01);
        let names: Vec<&str> = rr.aspects.iter().map(|aspect| aspect.figure).collect();
        assert_eq!(
            names,
            ["median", "mad", "sd_within", "jitter", "stall_share", "sd_between_log"]
        );
        let between = rr.aspects[5].mean().exp();
        assert!((between - 2f64.ln()).abs() < 0.01, "{between}");
        let names: Vec<&str> = stream.aspects.iter().map(|aspect| aspect.figure).collect();
        // Three windows carry no percentile.
        assert_eq!(names, ["median", "mad", "sd_within"]);
        assert_eq!(
            (stream.aspects[0].better, stream.aspects[1].better),
            (Better::Higher, Better::Lower)
        );
        assert_eq!(stream.aspects[0].error, None);
    }
}
