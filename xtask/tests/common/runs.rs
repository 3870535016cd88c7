//! Runs that nobody measured: of rates that are made up, with or without a base.

use std::collections::BTreeMap;
use std::path::Path;

use evenkeel_agent::samples::{Moments, Samples, Unit};
use tempfile::TempDir;
use xtask::matrix;
use xtask::record::store::Store;
use xtask::record::{BASE, CANDIDATE, Measured, Outcome, PlannedCell, Record, Run, SCHEMA, Status};
use xtask::run::host;

/// Two cells.
pub const MATRIX: &str = "schema = 1\nname = 'two'\n[axes]\nkernel = ['running']\nvirtualization = ['netns', 'docker']\n\
    network = ['bridge']\ntuning = ['stock']\nload = ['idle']\n[measure]\nworkloads = ['tcp-stream']\n";

/// One rate a window: about `level`, quartiles `width` times a thousandth from it.
pub fn samples(level: f64, width: f64, boot: u32) -> Samples {
    let hash = |at: u32| f64::from(at.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24) - 0.5;
    let level = level * (1.0 + 0.01 * hash(boot * 2 + level as u32 % 7));
    let width = width * (1.0 + 0.2 * hash(boot * 3 + width as u32));
    let values: Vec<f64> = (0..120).map(|at| level * (1.0 + width * 0.004 * hash(at))).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let m2 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Samples {
        unit: Unit::BytesPerSecond,
        moments: Moments { count: values.len() as u64, mean, m2 },
        histogram: None,
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(0.0, f64::max),
        values,
        windows: Vec::new(),
        began_monotonic_ns: 0,
        measured_ns: 1_000_000_000,
        crossed_operations: 1,
        crossed_bytes: 1,
        closed_view: None,
        loss: None,
        raw: None,
    }
}

/// Writes a run: for each side and cell the width of its rates, or why it fails.
pub fn write(dir: &Path, sides: &[(&str, [Result<f64, &str>; 2])], started_unix: u64) {
    let matrix = matrix::parse(MATRIX, "two", &host::vocabulary()).expect("it can be made");
    let planned =
        |cell: &matrix::Cell| PlannedCell { cell: cell.clone(), status: Status::Runnable };
    let made = Run {
        schema: SCHEMA,
        tool: "0.1.0".into(),
        tag: format!("ek{started_unix}"),
        matrix_text: MATRIX.into(),
        cells: matrix.cells.iter().map(planned).collect(),
        matrix,
        seed: 1,
        started_unix,
        quick: false,
        facts: BTreeMap::new(),
        kernels: Vec::new(),
        policy: None,
        base: None,
        calibration: None,
        calibrates: None,
        fleet: Default::default(),
        lost: Vec::new(),
    };
    let mut store = Store::create(dir, &made).expect("it can be made");
    for boot in 0..12 {
        for (at, planned) in made.cells.iter().enumerate() {
            for (second, (side, widths)) in sides.iter().enumerate() {
                let outcome = match widths[at] {
                    Ok(_) => Outcome::Measured,
                    Err(reason) => Outcome::Failed { reason: reason.into() },
                };
                let measured = widths[at].ok().map(|width| Measured {
                    workload: "tcp-stream".into(),
                    samples: samples(1e9, width, boot + 100 * second as u32),
                });
                let order = if boot.is_multiple_of(2) { second } else { 1 - second };
                let record = Record {
                    schema: SCHEMA,
                    cell: planned.cell.id(),
                    side: (*side).into(),
                    block: boot,
                    position: (2 * at + order) as u32,
                    boot,
                    host_boot: "host".into(),
                    guest_boot: None,
                    started_unix,
                    fingerprint: "f".into(),
                    instrument: BTreeMap::from([("cpu".into(), "one".into())]),
                    outcome,
                    timing_ns: BTreeMap::new(),
                    noise: None,
                    evidence: Vec::new(),
                    workloads: measured.into_iter().collect(),
                    failed: Vec::new(),
                    counted: None,
                };
                store.append(&record).expect("it can be made");
            }
        }
    }
}

/// Widths of the cells.
pub const STEADY: [Result<f64, &str>; 2] = [Ok(1.0), Ok(1.0)];
/// The second is wider.
pub const WIDE: [Result<f64, &str>; 2] = [Ok(1.0), Ok(3.0)];
/// The second fails.
pub const FAILS: [Result<f64, &str>; 2] = [Ok(1.0), Err("no answer\u{1b}[2J")];

/// Both fail.
pub const NOTHING: [Result<f64, &str>; 2] = [Err("no answer"), Err("no answer")];

/// A folder with runs: `steady`, `wide`, `fails` and `unmeasured` of one side, `both` of two, `same` of two that are alike.
pub fn place() -> TempDir {
    let place = tempfile::tempdir().expect("it can be made");
    let runs = [("steady", STEADY), ("wide", WIDE), ("fails", FAILS), ("unmeasured", NOTHING)];
    for (at, (name, widths)) in (0..).zip(runs) {
        write(&place.path().join(name), &[(CANDIDATE, widths)], 1_800_000_000 + at);
    }
    write(&place.path().join("both"), &[(BASE, STEADY), (CANDIDATE, WIDE)], 1_800_000_009);
    write(&place.path().join("same"), &[(BASE, STEADY), (CANDIDATE, STEADY)], 1_800_000_009);
    place
}
