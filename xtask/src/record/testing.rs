//! Samples, records and runs for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use evenkeel_agent::samples::{Moments, Samples, Unit, Window};
use evenkeel_stats::moments;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use super::{CANDIDATE, Evidence, Measured, Outcome, PlannedCell, Record, Run, SCHEMA, Status};
use crate::matrix::{Axis, Cell, Contrast, Family, Matrix, Measure};

/// Samples of a latency workload: these transactions in nanoseconds, ten windows of equal length.
pub(crate) fn latencies(transactions: &[u64]) -> Samples {
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    transactions.iter().for_each(|&ns| histogram.record(ns).unwrap());
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
    let values: Vec<f64> = transactions.iter().map(|&ns| ns as f64).collect();
    let window = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        Window {
            operations: part.len() as u64,
            p50_ns: part.get(part.len() / 2).copied(),
            max_ns: part.last().copied(),
            ..Window::default()
        }
    };
    let windows = transactions.chunks(transactions.len().div_ceil(10).max(1)).map(window).collect();
    Samples {
        histogram: Some(base64::engine::general_purpose::STANDARD.encode(bytes)),
        values: Vec::new(),
        windows,
        ..samples(Unit::Nanoseconds, &values)
    }
}

/// Samples of a rate workload: one value a window.
pub(crate) fn rates(values: &[f64]) -> Samples {
    samples(Unit::BytesPerSecond, values)
}

fn samples(unit: Unit, values: &[f64]) -> Samples {
    let of = moments::Moments::of(values);
    Samples {
        unit,
        moments: Moments { count: of.count, mean: of.mean, m2: of.m2 },
        histogram: None,
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(0.0, f64::max),
        values: values.to_vec(),
        windows: Vec::new(),
        measured_ns: 1_000_000_000,
        began_monotonic_ns: 0,
        crossed_operations: of.count,
        crossed_bytes: 0,
        closed_view: None,
        loss: None,
        raw: None,
    }
}

/// A bell of `count` transactions about `middle` nanoseconds, `width` the distance of its quartiles from it; no chance in it.
pub(crate) fn bell(middle: f64, width: f64, count: usize) -> Vec<u64> {
    // Quantiles of the logistic law: middle + scale * ln(p / (1 - p)), whose quartiles are at scale * ln 3. Strided, so that windows
    // are alike.
    let at = |i: usize| ((i * 7919) % count) as f64;
    (0..count)
        .map(|i| (at(i) + 0.5) / count as f64)
        .map(|p| (middle + width / 3f64.ln() * (p / (1.0 - p)).ln()).max(1.0) as u64)
        .collect()
}

/// The cell `running/VIRTUALIZATION/bridge/TUNING/idle`.
pub(crate) fn cell(virtualization: &str, tuning: &str) -> Cell {
    Cell {
        kernel: "running".into(),
        virtualization: virtualization.into(),
        network: "bridge".into(),
        tuning: tuning.into(),
        load: "idle".into(),
        host_kernel: "running".into(),
    }
}

/// A record of a measured boot with one workload.
pub(crate) fn record(cell: &Cell, boot: u32, workload: &str, samples: Samples) -> Record {
    Record {
        schema: SCHEMA,
        cell: cell.id(),
        side: CANDIDATE.into(),
        block: boot,
        position: 0,
        boot,
        host_boot: "host".into(),
        guest_boot: None,
        started_unix: 1,
        fingerprint: "f".into(),
        instrument: BTreeMap::from([("accelerator".into(), "none".into())]),
        outcome: Outcome::Measured,
        timing_ns: BTreeMap::new(),
        noise: None,
        evidence: vec![Evidence::Hop {
            hop: "bridge".into(),
            packets: 9,
            bytes: 9,
            needed_packets: 1,
            needed_bytes: 0,
        }],
        workloads: vec![Measured { workload: workload.into(), samples }],
        failed: Vec::new(),
        counted: None,
    }
}

/// A boot that failed.
pub(crate) fn failed(cell: &Cell, boot: u32, reason: &str) -> Record {
    Record {
        outcome: Outcome::Failed { reason: reason.into() },
        workloads: Vec::new(),
        ..record(cell, boot, "tcp-rr", rates(&[1.0]))
    }
}

/// A run that planned these cells, all runnable, five boots of tcp-rr each, with the contrast stock to isolated.
pub(crate) fn run(cells: &[Cell]) -> Run {
    let contrast = Contrast {
        name: "isolation".into(),
        axis: Axis::Tuning,
        from: "stock".into(),
        to: "isolated".into(),
    };
    Run {
        schema: SCHEMA,
        tool: "0.1.0".into(),
        tag: "ek0000".into(),
        matrix_text: "schema = 1\n".into(),
        matrix: Matrix {
            name: "tiny".into(),
            cells: cells.to_vec(),
            measure: Measure {
                workloads: vec!["tcp-rr".into()],
                boots: 5,
                warmup: Duration::from_millis(200),
                window: Duration::from_millis(20),
                windows: 50,
                family: Family::Ipv4,
                rate: 1000,
            },
            contrasts: vec![contrast],
            kernels: BTreeMap::new(),
            profiles: Default::default(),
            form: None,
            attribution: None,
            study: None,
            commands: Vec::new(),
        },
        seed: 1,
        started_unix: 1,
        quick: false,
        facts: BTreeMap::from([("cpu".into(), "test".into())]),
        cells: cells
            .iter()
            .map(|cell| PlannedCell { cell: cell.clone(), status: Status::Runnable })
            .collect(),
        kernels: Vec::new(),
        policy: None,
        base: None,
        calibration: None,
        calibrates: None,
        fleet: Default::default(),
        lost: Vec::new(),
    }
}
