//! The built-in workloads beside netperf and iperf3, in the same boots of one cell. Every other boot has them in
//! reverse order, so that what drifts within a boot favours neither. Both ends are pinned: left to itself the scheduler gives each
//! workload of a boot its own pair of CPUs, which changes a rate by more than any program does.

use evenkeel_stats::quantile::median;

use super::runs::{Boot, Runs};
use super::table::{Must, Row, middle};

/// Lower bound of our rate over theirs.
const LEAST: f64 = 0.98;

/// Pairs of boots, one of each order.
const PAIRS: u32 = 10;

/// One boot with the workloads in this order.
fn matrix(workloads: [&str; 4]) -> String {
    format!(
        r#"schema = 1
name = "rates"
[axes]
kernel = ["running"]
virtualization = ["netns"]
network = ["bridge"]
tuning = ["isolated"]
[measure]
workloads = {workloads:?}
boots = 1
warmup = "100ms"
window = "20ms"
windows = 25
"#
    )
}

/// Both rows of rates, with the percentiles of both sides.
pub(super) fn rows(runs: &Runs) -> anyhow::Result<Vec<Row>> {
    let order = ["tcp-rr", "netperf-tcp-rr", "tcp-stream", "iperf3-tcp"];
    let reversed = ["iperf3-tcp", "tcp-stream", "netperf-tcp-rr", "tcp-rr"];
    let (mut boots, mut p50, mut p99, mut why) = (Vec::new(), Vec::new(), Vec::new(), None);
    for workloads in [order, reversed].into_iter().cycle().take(2 * PAIRS as usize) {
        let done = runs.run(&matrix(workloads), &mut |_, _| ())?;
        let figures = done.results.cells.iter().flat_map(|cell| &cell.workloads);
        for figures in figures.filter(|workload| workload.name == "tcp-rr").map(|w| w.figures) {
            p50.extend(figures.p50.map(|ns| ns / 1e3));
            p99.extend(figures.p99.map(|ns| ns / 1e3));
        }
        if done.boots.is_empty() {
            why = Some(done.why_not("netns"));
        }
        boots.extend(done.boots);
    }
    let must = Must::LowAtLeast(LEAST);
    let names = ["tcp-rr rate / netperf TCP_RR", "tcp-stream rate / iperf3"];
    if let (true, Some(why)) = (boots.len() < 2, why) {
        return Ok(names.map(|what| Row::missing(what, must, why.clone())).into());
    }
    let rates = |name: &str| -> Vec<f64> { boots.iter().filter_map(|b| rate(b, name)).collect() };
    let over = |ours: &[f64], theirs: &[f64]| -> Vec<f64> {
        ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
    };
    let (rr, netperf) = (rates("tcp-rr"), rates("netperf-tcp-rr"));
    let (stream, iperf) = (rates("tcp-stream"), rates("iperf3-tcp"));
    let said = |name: &str| boots.iter().filter_map(|b| netperf_said(b, name)).collect::<Vec<_>>();
    let latencies = format!(
        "{:.0} and {:.0} transactions/s; p50 {} us, netperf's {} us; p99 {} us, netperf's {} us",
        median(&rr).unwrap_or_default(),
        median(&netperf).unwrap_or_default(),
        middle(&p50),
        middle(&said("P50_LATENCY")),
        middle(&p99),
        middle(&said("P99_LATENCY")),
    );
    let bandwidths = format!(
        "{:.2} and {:.2} GB/s",
        median(&stream).unwrap_or_default() / 1e9,
        median(&iperf).unwrap_or_default() / 1e9
    );
    Ok(vec![
        Row::ratio(names[0], &over(&rr, &netperf), must, latencies),
        Row::ratio(names[1], &over(&stream, &iperf), must, bandwidths),
    ])
}

/// What a workload did a second: transactions or bytes.
fn rate(boot: &Boot, name: &str) -> Option<f64> {
    let found = boot.record.workloads.iter().find(|measured| measured.workload == name)?;
    let samples = &found.samples;
    match samples.histogram {
        // Ours, of transactions: their count over the time that they took.
        Some(_) => Some(samples.moments.count as f64 / (samples.measured_ns as f64 / 1e9)),
        None => Some(samples.moments.mean),
    }
}

/// A figure in netperf's own words (`P50_LATENCY=24`), microseconds.
fn netperf_said(boot: &Boot, name: &str) -> Option<f64> {
    let netperf = boot.record.workloads.iter().find(|m| m.workload == "netperf-tcp-rr")?;
    let said = netperf.samples.raw.as_deref()?;
    said.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}
