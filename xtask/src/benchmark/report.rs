//! How long the report of ten thousand cells takes: the whole command, from records on disk to a page on disk. The run is made up: it has the size of
//! a real one, and equal cells.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evenkeel_agent::command;
use evenkeel_agent::samples::{Moments, Noise, Samples, Unit, Window};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};

use super::runs::{self, Runs};
use super::table::{Must, Row};
use crate::matrix::{Cell, Matrix};
use crate::record::{
    CANDIDATE, Evidence, Measured, Outcome, PlannedCell, Record, Run, SCHEMA, Status, store,
};

/// Seconds for the whole command.
const MOST_S: f64 = 5.0;

/// Long: it is measured, not judged, by its deadline.
const DEADLINE: Duration = Duration::from_secs(300);

/// How often it is measured.
const TIMES: usize = 5;

/// Boots of each cell.
const BOOTS: u32 = 5;

/// Windows of each workload.
const WINDOWS: u64 = 50;

/// Length of a window, nanoseconds.
const WINDOW_NS: u64 = 20_000_000;

/// All combinations of 834 kernels with 12 of the other axes.
fn matrix() -> anyhow::Result<Matrix> {
    const KERNELS: usize = 10_000_usize.div_ceil(12);
    let names: Vec<String> = (0..KERNELS).map(|kernel| format!("\"k{kernel}\"")).collect();
    let mut text = format!(
        "schema = 1\nname = \"large\"\n[axes]\nkernel = [{}]\nvirtualization = [\"netns\", \"docker\", \"qemu\"]\n\
         network = [\"bridge\"]\ntuning = [\"stock\", \"isolated\"]\nload = [\"idle\", \"noisy\"]\n\
         [measure]\nworkloads = [\"tcp-rr\", \"tcp-stream\"]\nboots = {BOOTS}\n\
         [[contrast]]\nname = \"isolation\"\naxis = \"tuning\"\nfrom = \"stock\"\nto = \"isolated\"\n",
        names.join(", ")
    );
    for kernel in 0..KERNELS {
        text.push_str(&format!("[kernel.k{kernel}]\ndeb = \"linux-image-{kernel}\"\n"));
    }
    runs::parse(&text)
}

/// The row.
pub(super) fn rows(runs: &Runs) -> anyhow::Result<Vec<Row>> {
    let folder = runs.folder().join("large");
    let cells = write(&folder)?;
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let (program, run) = (program.to_string_lossy(), folder.to_string_lossy());
    let mut seconds = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        command::output(&[&program, "report", &run], DEADLINE)?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    let note = format!("{cells} cells of {BOOTS} boots of two workloads, from records to the page");
    std::fs::remove_dir_all(&folder)
        .with_context(|| format!("failed to remove {}", folder.display()))?;
    Ok(vec![Row::mean("report of ten thousand cells", "s", &seconds, Must::AtMost(MOST_S), note)])
}

/// Writes a run; answers how many cells it has.
fn write(folder: &Path) -> anyhow::Result<usize> {
    let matrix = matrix()?;
    let planned = |cell: &Cell| PlannedCell { cell: cell.clone(), status: Status::Runnable };
    let run = Run {
        schema: SCHEMA,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        tag: "ek000000".to_owned(),
        matrix_text: String::new(),
        seed: 1,
        started_unix: 1,
        quick: false,
        facts: Default::default(),
        cells: matrix.cells.iter().map(planned).collect(),
        matrix,
        base: None,
        kernels: Vec::new(),
        policy: None,
        calibration: None,
        calibrates: None,
        fleet: Default::default(),
        lost: Vec::new(),
    };
    store::Store::create(folder, &run)?;
    let place = folder.join(store::BOOTS);
    let mut lines = std::io::BufWriter::new(std::fs::File::create(&place)?);
    // Made once a boot: what differs from cell to cell is the cell.
    let mut boots = (0..BOOTS).map(record).collect::<anyhow::Result<Vec<Record>>>()?;
    for planned in &run.cells {
        for record in &mut boots {
            record.cell = planned.cell.id();
            serde_json::to_writer(&mut lines, record)?;
            lines.write_all(b"\n")?;
        }
    }
    lines.flush().with_context(|| format!("failed to write file `{}`", place.display()))?;
    Ok(run.cells.len())
}

/// A boot of any cell; boots differ.
fn record(boot: u32) -> anyhow::Result<Record> {
    let workloads = [("tcp-rr", latencies(boot)?), ("tcp-stream", rates(boot))];
    let measured = |(name, samples): (&str, Samples)| Measured { workload: name.into(), samples };
    Ok(Record {
        schema: SCHEMA,
        cell: String::new(),
        side: CANDIDATE.to_owned(),
        block: boot,
        position: 0,
        boot,
        host_boot: "0c7b1d5e-51f8-4f2e-9d3c-1f2d3c4b5a69".to_owned(),
        guest_boot: None,
        started_unix: 1,
        fingerprint: "made-up".to_owned(),
        instrument: Default::default(),
        outcome: Outcome::Measured,
        timing_ns: Default::default(),
        noise: None,
        evidence: vec![Evidence::Hop {
            hop: "bridge".to_owned(),
            packets: 9,
            bytes: 9,
            needed_packets: 1,
            needed_bytes: 0,
        }],
        workloads: workloads.map(measured).into(),
        failed: Vec::new(),
        counted: None,
    })
}

/// A thousand transactions about 12 us and one long one, told as the engine tells them.
fn latencies(boot: u32) -> anyhow::Result<Samples> {
    let mut dice = fastrand::Rng::with_seed(u64::from(boot));
    let mut histogram = Histogram::<u64>::new(3).context("failed to make a histogram")?;
    let bell = |dice: &mut fastrand::Rng| (0..12).map(|_| dice.u64(700..1_300)).sum::<u64>();
    let all: Vec<u64> = (0..1_000).map(|_| bell(&mut dice)).chain([3_400_000]).collect();
    for ns in &all {
        histogram.record(*ns).context("failed to record a latency")?;
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(&histogram, &mut bytes)
        .map_err(|error| anyhow::anyhow!("failed to write a histogram: {error}"))?;
    let values: Vec<f64> = all.iter().map(|ns| *ns as f64).collect();
    let samples = samples(Unit::Nanoseconds, &values);
    Ok(Samples { histogram: Some(STANDARD.encode(bytes)), values: Vec::new(), ..samples })
}

fn rates(boot: u32) -> Samples {
    let mut dice = fastrand::Rng::with_seed(u64::from(boot));
    let values: Vec<f64> = (0..WINDOWS).map(|_| 3e9 * (1.0 + dice.f64() / 50.0)).collect();
    samples(Unit::BytesPerSecond, &values)
}

fn samples(unit: Unit, values: &[f64]) -> Samples {
    let of = evenkeel_stats::moments::Moments::of(values);
    let noise = Noise { softirqs: 48, involuntary_switches: 3, ..Noise::default() };
    let window = |at| Window {
        start_ns: at * WINDOW_NS,
        length_ns: WINDOW_NS,
        operations: 1_700,
        bytes: 1_700,
        p50_ns: Some(11_900 + at),
        p99_ns: Some(13_500 + at),
        max_ns: Some(15_000 + at),
        noise: Some(noise),
    };
    Samples {
        unit,
        moments: Moments { count: of.count, mean: of.mean, m2: of.m2 },
        histogram: None,
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(0.0, f64::max),
        values: values.to_vec(),
        windows: (0..WINDOWS).map(window).collect(),
        began_monotonic_ns: 0,
        measured_ns: WINDOWS * WINDOW_NS,
        crossed_operations: of.count,
        crossed_bytes: of.count,
        closed_view: None,
        loss: None,
        raw: None,
    }
}
