//! What merging the transactions of many long boots takes.

use std::time::Instant;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evenkeel_agent::samples::{Moments, Samples, Unit};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};

use super::super::table::{Measured, Must, Row};
use crate::record::figures::Pooled;

/// Boots, and transactions of each: 10^9 in all, and a thousandth of them.
const BOOTS: usize = 1_000;
const TRANSACTIONS: [u64; 2] = [1_000, 1_000_000];

/// Latencies in nanoseconds: steps of 100 ns from 20 us on.
const LATENCIES: std::ops::Range<u64> = 200..1_200;

/// How much more memory the many may take than the few.
const MOST_MB: f64 = 1.0;

/// The row.
pub(super) fn row() -> anyhow::Result<Row> {
    let [few, many] = TRANSACTIONS;
    // Twice, so that the allocator has what it will have.
    merged(&boot(few)?)?;
    forget_peak()?;
    merged(&boot(few)?)?;
    let before = peak_mb()?;
    forget_peak()?;
    let (count, seconds) = merged(&boot(many)?)?;
    let measured = Measured { value: peak_mb()? - before, interval: None };
    let note = format!(
        "{count} transactions of {BOOTS} boots in {seconds:.2} s; peak memory beyond that of a thousandth of them, {before:.0} MB"
    );
    Ok(Row::new("merging 10^9 transactions: growth", "MB", measured, Must::AtMost(MOST_MB), note))
}

/// How many transactions as many boots like this one have together, and how long it took to merge them and to work out their figures.
fn merged(boot: &Samples) -> anyhow::Result<(u64, f64)> {
    let began = Instant::now();
    let pooled = Pooled::new(&vec![boot; BOOTS])?;
    let figures = pooled.figures();
    anyhow::ensure!(figures.p99.is_some(), "no figures of {} transactions", pooled.count());
    Ok((pooled.count(), began.elapsed().as_secs_f64()))
}

/// A boot of so many transactions, all of whose latencies are equally frequent.
fn boot(transactions: u64) -> anyhow::Result<Samples> {
    let ns = LATENCIES.map(|step| step * 100);
    let each = transactions / (LATENCIES.end - LATENCIES.start);
    let mut histogram = Histogram::<u64>::new(3).context("failed to make a histogram")?;
    for ns in ns.clone() {
        histogram.record_n(ns, each).context("failed to record a latency")?;
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(&histogram, &mut bytes)
        .map_err(|error| anyhow::anyhow!("failed to write a histogram: {error}"))?;
    let latencies: Vec<f64> = ns.map(|ns| ns as f64).collect();
    let of = evenkeel_stats::moments::Moments::of(&latencies);
    let [min, max] = [0, latencies.len() - 1].map(|at| latencies[at]);
    Ok(Samples {
        unit: Unit::Nanoseconds,
        moments: Moments { count: transactions, mean: of.mean, m2: of.m2 * each as f64 },
        histogram: Some(STANDARD.encode(bytes)),
        min,
        max,
        values: Vec::new(),
        windows: Vec::new(),
        began_monotonic_ns: 0,
        measured_ns: (of.mean * transactions as f64) as u64,
        crossed_operations: transactions,
        crossed_bytes: transactions,
        closed_view: None,
        loss: None,
        raw: None,
    })
}

/// Lets [`peak_mb`] begin anew: what other rows took would hide what this one does.
fn forget_peak() -> anyhow::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
        .context("failed to write file `/proc/self/clear_refs`")
}

/// The most memory that this process has had since, in MB.
fn peak_mb() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("failed to read file `/proc/self/status`")?;
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
    });
    Ok(kib.context("`/proc/self/status` has no VmHWM")? / 1024.0)
}
