//! Whether a record's numbers can be true. A record that fails is left out with a warning, never repaired.

use anyhow::{Context, Result, ensure};
use evenkeel_engine::samples::{Moments, Samples};

use crate::boot::{Evidence, Record};

/// No duration in nanoseconds (eleven days) or rate in bytes a second (a petabyte) of a boot is larger.
pub const LARGEST: f64 = 1e15;

/// Share by which exact figures may disagree through rounding.
const ROUNDING: f64 = 1e-9;

/// Checks every number of a record. The error names the workload and the figure.
pub fn check(record: &Record) -> Result<()> {
    for workload in &record.workloads {
        check_samples(&workload.samples)
            .with_context(|| format!("samples of `{}`", workload.workload))?;
    }
    for evidence in &record.evidence {
        match evidence {
            Evidence::Load { worker, per_second } => {
                plausible(&format!("rate of load worker `{worker}`"), *per_second)?;
            }
            Evidence::Loss { workload, sent, lost } => {
                ensure!(lost <= sent, "{lost} of {sent} datagrams of `{workload}` are lost");
            }
            Evidence::Hop { .. } | Evidence::Knob { .. } | Evidence::Program { .. } => {}
        }
    }
    for moved in record.counted.iter().flat_map(|of| of.windows.iter().flatten().flatten()) {
        plausible("a counter", *moved)?;
    }
    Ok(())
}

fn check_samples(samples: &Samples) -> Result<()> {
    plausible("min", samples.min)?;
    plausible("max", samples.max)?;
    samples.values.iter().try_for_each(|&value| plausible("a value", value))?;
    check_moments(&samples.moments)?;
    if samples.moments.count > 0 {
        let slack = samples.max * ROUNDING;
        let Samples { min, max, moments: Moments { mean, .. }, .. } = samples;
        ensure!(min <= max, "min {min} is above max {max}");
        ensure!(
            min - slack <= *mean && *mean <= max + slack,
            "mean {mean} is not between min {min} and max {max}"
        );
    }
    if let Some(closed) = &samples.closed_view {
        check_moments(&closed.moments).context("closed view")?;
    }
    Ok(())
}

fn check_moments(moments: &Moments) -> Result<()> {
    let count = moments.count as f64;
    plausible("count", count)?;
    plausible("mean", moments.mean)?;
    let bound = count * LARGEST * LARGEST;
    ensure!(
        (0.0..=bound).contains(&moments.m2),
        "m2 {:e} is not between 0 and {bound:e}",
        moments.m2
    );
    Ok(())
}

/// Zero to [`LARGEST`]; neither bound holds for what is not a number.
fn plausible(what: &str, value: f64) -> Result<()> {
    ensure!((0.0..=LARGEST).contains(&value), "{what} {value:e} is not between 0 and {LARGEST:e}");
    Ok(())
}
