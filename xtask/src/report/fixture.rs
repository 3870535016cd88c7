//! A run to look at and to test with: the default matrix of a small host, with a cell that failed, cells that cannot run
//! and emulated guests. Made from a seed; nothing is measured.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use evenkeel_agent::samples::{Moments, Noise, Samples, Unit, Window};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use crate::matrix::{Axis, Cell, Contrast, Family, Form, Matrix, Measure, Name};
use crate::record::figures::Pooled;
use crate::record::kernels::{ComparedKernel, KernelPair, difference};
use crate::record::results::{
    AttributionResult, CellOutcome, CellResult, ContrastResult, EffectResult, Figures, KnobResult,
    KnobValues, Overall, Results, Trouble, WorkloadResult,
};
use crate::record::{
    Effect, Evidence, Measured, Outcome, PlannedCell, Record, Run, SCHEMA, Status,
};

const BOOTS: u32 = 5;
const WINDOWS: u64 = 50;
const WINDOW_NS: u64 = 20_000_000;

/// Everything that `render` takes, but warnings.
pub(super) struct Fixture {
    pub(super) run: Run,
    pub(super) records: Vec<Record>,
    pub(super) results: Results,
}

/// How a cell behaves: median latency, log-normal width, chance and size of a stall, rate and its width.
struct Temper {
    median_ns: f64,
    sigma: f64,
    stall: f64,
    stall_ns: f64,
    rate: f64,
    rate_sigma: f64,
}

fn temper(cell: &Cell) -> Temper {
    let (median_ns, rate) = match &*cell.virtualization {
        "netns" => (11_400.0, 3.1e9),
        "docker" => (14_900.0, 2.6e9),
        _ => (182_000.0, 0.09e9),
    };
    let noisy = cell.load == "noisy";
    let calm = cell.tuning == "isolated";
    let (sigma, stall) = match (noisy, calm) {
        (true, false) => (0.55, 4e-3),
        (true, true) => (0.10, 2e-6),
        (false, false) => (0.16, 3e-5),
        (false, true) => (0.08, 1e-6),
    };
    // Determinism has a price: isolated cells are a little slower.
    let median_ns = if calm { median_ns * 1.06 } else { median_ns };
    let rate = if noisy && !calm { rate * 0.71 } else { rate };
    let rate_sigma = if noisy && !calm { 0.16 } else { 0.02 };
    Temper { median_ns, sigma, stall, stall_ns: 3.4e6, rate, rate_sigma }
}

/// A seeded source of numbers.
struct Dice(fastrand::Rng);

impl Dice {
    /// Standard normal (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.0.f64(), self.0.f64());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

fn moments(values: &[f64]) -> Moments {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let m2 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Moments { count: values.len() as u64, mean, m2 }
}

fn latency(dice: &mut Dice, temper: &Temper, a_window: u64) -> Samples {
    let drift = 1.0 + dice.normal() * 0.02;
    let mut histogram = Histogram::<u64>::new(3).expect("three digits");
    let mut all = Vec::new();
    let mut windows = Vec::new();
    for n in 0..WINDOWS {
        let mut values: Vec<f64> = (0..a_window)
            .map(|_| {
                let value = temper.median_ns * drift * (dice.normal() * temper.sigma).exp();
                let stalls = dice.0.f64() < temper.stall;
                // Whole nanoseconds, as they are recorded.
                (value + if stalls { temper.stall_ns * dice.0.f64() } else { 0.0 }).floor()
            })
            .collect();
        values.sort_by(f64::total_cmp);
        for value in &values {
            histogram.record(*value as u64).expect("in range");
        }
        let at = |q: f64| values[(q * (values.len() - 1) as f64) as usize] as u64;
        windows.push(Window {
            start_ns: n * WINDOW_NS,
            length_ns: WINDOW_NS,
            operations: a_window,
            bytes: 2 * a_window,
            p50_ns: Some(at(0.5)),
            p99_ns: Some(at(0.99)),
            max_ns: Some(at(1.0)),
            noise: None,
        });
        all.extend(values);
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).expect("into memory");
    Samples {
        unit: Unit::Nanoseconds,
        moments: moments(&all),
        histogram: Some(base64::engine::general_purpose::STANDARD.encode(bytes)),
        min: all.iter().copied().fold(f64::INFINITY, f64::min),
        max: all.iter().copied().fold(0.0, f64::max),
        values: Vec::new(),
        windows,
        measured_ns: WINDOWS * WINDOW_NS,
        began_monotonic_ns: 0,
        crossed_operations: all.len() as u64,
        crossed_bytes: 2 * all.len() as u64,
        closed_view: None,
        loss: None,
        raw: None,
    }
}

fn stream(dice: &mut Dice, temper: &Temper) -> Samples {
    let values: Vec<f64> = (0..WINDOWS)
        .map(|_| temper.rate * (1.0 - dice.normal().abs() * temper.rate_sigma).max(0.05))
        .collect();
    let windows = values.iter().enumerate().map(|(n, rate)| Window {
        start_ns: n as u64 * WINDOW_NS,
        length_ns: WINDOW_NS,
        operations: 100,
        bytes: (rate * WINDOW_NS as f64 / 1e9) as u64,
        ..Window::default()
    });
    Samples {
        unit: Unit::BytesPerSecond,
        moments: moments(&values),
        histogram: None,
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(0.0, f64::max),
        windows: windows.collect(),
        values,
        measured_ns: WINDOWS * WINDOW_NS,
        began_monotonic_ns: 0,
        crossed_operations: 5_000,
        crossed_bytes: 5_000_000,
        closed_view: None,
        loss: None,
        raw: None,
    }
}

fn evidence(cell: &Cell) -> Vec<Evidence> {
    let hop = |hop: &str, packets| Evidence::Hop {
        hop: hop.into(),
        packets,
        bytes: packets * 71,
        needed_packets: 98_000,
        needed_bytes: 0,
    };
    let mut all = vec![hop("veth of the peer", 104_211), hop("bridge ek4f2a-br0", 208_425)];
    if cell.tuning == "isolated" {
        let knob = |knob: &str, requested: &str, seen: [&str; 2], effect| Evidence::Knob {
            knob: knob.into(),
            requested: requested.into(),
            applied: requested.into(),
            seen: seen.map(str::to_owned),
            effect,
        };
        all.push(knob("affinity.server", "isolated CPUs", ["1", "1"], Effect::Effective));
        all.push(knob("policy.server", "fifo:50", ["fifo:50", "fifo:50"], Effect::Effective));
        let few = "2 CPUs: one must stay without realtime threads".to_owned();
        all.push(knob("cpus.housekeeping", "2", ["1", "1"], Effect::Partial { reason: few }));
        if cell.virtualization == "docker" {
            let back = "changed back by somebody during the measuring".to_owned();
            let effect = Effect::NotEffective { reason: back };
            all.push(knob("kernel.sched_rt_runtime_us", "-1", ["-1", "950000"], effect));
        }
    }
    if cell.load == "noisy" {
        for (worker, per_second) in
            [("compute", 212_345.6), ("timers", 3_998.0), ("switches", 88_412.0)]
        {
            all.push(Evidence::Load { worker: worker.into(), per_second });
        }
    }
    all
}

fn record(cell: &Cell, boot: u32, position: u32, workloads: Vec<Measured>) -> Record {
    let emulated = cell.virtualization == "qemu";
    let accelerator = if emulated { "tcg" } else { "none" };
    let facts = [
        ("accelerator", accelerator),
        ("cpu", "Xeon (2 CPUs)"),
        ("kernel", "6.18.5"),
        ("peer", "netns"),
    ];
    Record {
        schema: SCHEMA,
        cell: cell.id(),
        side: "candidate".into(),
        block: boot,
        position,
        boot,
        host_boot: "0c7b1d5e-51f8-4f2e-9d3c-1f2d3c4b5a69".into(),
        guest_boot: emulated.then(|| format!("guest-{boot}")),
        started_unix: 1_793_529_720 + u64::from(boot * 60 + position * 4),
        fingerprint: format!("{accelerator}-51f84f2e"),
        instrument: facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        outcome: Outcome::Measured,
        timing_ns: [("build", 92_000_000), ("measure", 2_400_000_000), ("undo", 41_000_000)]
            .map(|(name, ns)| (name.to_owned(), ns))
            .into(),
        noise: Some(Noise {
            steal_ns: 31_000_000,
            pressure_ns: (cell.load == "noisy").then_some(1_900_000_000),
            softirqs: 224_120,
            involuntary_switches: if cell.tuning == "stock" { 8_412 } else { 3 },
            migrations: Some(u64::from(cell.tuning == "stock") * 210),
            frequency_khz: None,
            recorded_ns: None,
        }),
        evidence: evidence(cell),
        workloads,
        failed: Vec::new(),
        counted: None,
    }
}

fn cell(virtualization: &str, network: &str, tuning: &str, load: &str) -> Cell {
    Cell {
        kernel: "running".into(),
        virtualization: virtualization.into(),
        network: network.into(),
        tuning: tuning.into(),
        load: load.into(),
        host_kernel: "running".into(),
    }
}

/// The default matrix on a small host: ten measured cells, one that failed, two that cannot run.
pub(super) fn small() -> Fixture {
    let mut cells = Vec::new();
    for virtualization in ["netns", "docker"] {
        for tuning in ["stock", "isolated"] {
            cells
                .extend(["idle", "noisy"].map(|load| cell(virtualization, "bridge", tuning, load)));
        }
    }
    cells.extend(["stock", "isolated"].map(|tuning| cell("qemu", "bridge", tuning, "noisy")));
    let mut fixture = measured(cells, 400);
    let failed = cell("podman", "bridge", "stock", "noisy");
    let reason =
        "podman: crun could not set RLIMIT_NOFILE to 1048576: raise the hard limit (`ulimit -Hn`)";
    let mut record = record(&failed, 0, 9, Vec::new());
    record.outcome = Outcome::Failed { reason: reason.into() };
    record.evidence.clear();
    record.noise = None;
    fixture.records.push(record);
    fixture.add(failed, CellOutcome::Failed, Status::Runnable, Some(reason.into()));
    for load in ["idle", "noisy"] {
        let reason = "no network device that may be assigned to a guest".to_owned();
        let status = Status::Skipped {
            reason: reason.clone(),
            remedy: "name one in the matrix: `device = \"0000:03:00.0\"`".into(),
        };
        fixture.add(
            cell("qemu", "passthrough", "stock", load),
            CellOutcome::Skipped,
            status,
            Some(reason),
        );
    }
    let reason = "docker takes a network of its engine, passthrough offers a PCI device".to_owned();
    let status = Status::NotApplicable { reason: reason.clone() };
    fixture.add(
        cell("docker", "passthrough", "stock", "idle"),
        CellOutcome::NotApplicable,
        status,
        Some(reason),
    );
    fixture.results.overall = Overall {
        verdict: "incomplete".into(),
        sentence: "10 of 11 cells measured, 1 failed (podman); isolation makes the SD of tcp-rr under load 16 to 70 times \
                   smaller, at 6 % more median latency."
            .into(),
    };
    fixture.results.attribution.push(attribution());
    fixture
}

/// The small run, told in the thesis's form, too, and with two kernels that it compares.
pub(super) fn thesis() -> Fixture {
    let mut fixture = small();
    fixture.run.matrix.form = Some(Form::Thesis);
    let [from, to] = [("running", "6.1.0-56-cloud-amd64"), ("debian-rt", "6.1.0-56-rt-amd64")].map(
        |(name, version)| ComparedKernel {
            name: name.into(),
            version: version.into(),
            cmdline: Vec::new(),
        },
    );
    let config = "CONFIG_HZ=250\nCONFIG_PREEMPT_RT=y\nCONFIG_WLAN=y\n";
    fixture.run.kernels.push(KernelPair {
        contrast: "realtime-kernel".into(),
        who: "guests".into(),
        from,
        to,
        difference: difference("CONFIG_HZ=250\nCONFIG_PREEMPT_VOLUNTARY=y\n", config),
    });
    fixture
}

/// Many cells, few of them with samples, for the time that a large report takes.
pub(super) fn large(count: usize) -> Fixture {
    let cells: Vec<Cell> = (0..count)
        .map(|n| Cell {
            kernel: format!("k{}", n / 200).into(),
            virtualization: ["netns", "docker"][n / 100 % 2].into(),
            network: format!("net{}", n / 4 % 25).into(),
            tuning: ["stock", "isolated"][n / 2 % 2].into(),
            load: ["idle", "noisy"][n % 2].into(),
            host_kernel: "running".into(),
        })
        .collect();
    measured(cells, 20)
}

/// What the knobs of `isolated` do in one place, so to say: one matters, one may, one is refused here, and one no boot can turn.
fn attribution() -> AttributionResult {
    let place = |tuning: &str| cell("docker", "bridge", tuning, "noisy").id();
    let effect = |beside: &str, (aspect, figure): (&str, &str), ratio: f64, p: f64| EffectResult {
        beside: beside.into(),
        from_cell: Some(place("stock")),
        to_cell: Some(place("isolated")),
        aspect: aspect.into(),
        figure: figure.into(),
        ratio: Some(ratio),
        low: Some(ratio * 0.8),
        high: Some(ratio * 1.3),
        p: Some(p),
        p_corrected: Some((p * 12.0).min(1.0)),
        boots: [BOOTS, BOOTS],
        failed: [0, 0],
        note: None,
    };
    const FIGURES: [(&str, &str); 3] =
        [("location", "median"), ("dispersion", "mad"), ("tail", "jitter")];
    let both = |ratio: f64, p: f64| -> Vec<EffectResult> {
        let beside = ["profile", "base"].iter();
        beside.flat_map(|beside| FIGURES.map(|figure| effect(beside, figure, ratio, p))).collect()
    };
    let knob = |name: &str, rank: Option<u32>, evidence: &str, effects: Vec<EffectResult>| {
        let (knob, on) = (name.to_owned(), Some("on".to_owned()));
        KnobResult {
            name: name.into(),
            knobs: vec![KnobValues { knob, off: None, on }],
            rank,
            clear: rank == Some(1),
            evidence: evidence.into(),
            notes: Vec::new(),
            effects,
        }
    };
    let mut refused = both(0.98, 0.7);
    for effect in refused.iter_mut().filter(|effect| effect.beside == "base") {
        (effect.ratio, effect.low, effect.high) = (None, None, None);
        (effect.p, effect.p_corrected, effect.boots) = (None, None, [0, 0]);
        effect.note = Some("`rt-throttle` means nothing there".into());
    }
    let mut knobs = vec![
        knob("policy", Some(1), "effective", both(0.12, 1e-6)),
        knob("placement", Some(2), "partial", both(0.93, 0.2)),
        knob("rt-throttle", None, "not-effective", refused),
        knob("host-cmdline", None, "not-set", Vec::new()),
    ];
    knobs[0].effects[0].failed = [3, 0];
    knobs[3].notes.push("it is verified and never set".into());
    AttributionResult {
        profile: "isolated".into(),
        base: "stock".into(),
        design: "one-at-a-time".into(),
        place: place("*"),
        workload: "tcp-rr".into(),
        better: "lower".into(),
        tests: 12,
        whole: FIGURES.map(|figure| effect("base", figure, 0.1, 1e-7)).to_vec(),
        knobs,
    }
}

/// Measures cells, so to say, and contrasts stock with isolated.
fn measured(cells: Vec<Cell>, a_window: u64) -> Fixture {
    let mut dice = Dice(fastrand::Rng::with_seed(7));
    let mut fixture = Fixture { run: run(), records: Vec::new(), results: empty_results() };
    let names = ["tcp-rr", "tcp-stream"];
    // With very many cells, boots repeat those of the first: making samples is not what is looked at.
    let mut made: BTreeMap<[Name; 3], Vec<Record>> = BTreeMap::new();
    for (position, cell) in cells.iter().enumerate() {
        let key = [&cell.virtualization, &cell.tuning, &cell.load].map(Name::clone);
        let records = made.entry(key).or_insert_with(|| {
            let temper = temper(cell);
            let boots = (0..BOOTS).map(|boot| {
                let samples = [latency(&mut dice, &temper, a_window), stream(&mut dice, &temper)];
                let workloads = names
                    .iter()
                    .zip(samples)
                    .map(|(name, samples)| Measured { workload: (*name).to_owned(), samples })
                    .collect();
                record(cell, boot, 0, workloads)
            });
            boots.collect()
        });
        let mine = records.iter().map(|made| Record {
            cell: cell.id(),
            position: position as u32,
            ..made.clone()
        });
        fixture.records.extend(mine);
        fixture.add(cell.clone(), CellOutcome::Measured, Status::Runnable, None);
        let result = fixture.results.cells.last_mut().expect("just added");
        result.workloads = (0..names.len())
            .map(|n| {
                let samples: Vec<_> =
                    records.iter().map(|record| &record.workloads[n].samples).collect();
                workload(names[n], &samples)
            })
            .collect();
    }
    contrast(&mut fixture.results);
    fixture
}

fn workload(name: &str, samples: &[&Samples]) -> WorkloadResult {
    let unit = samples[0].unit;
    WorkloadResult {
        name: name.to_owned(),
        unit: unit.symbol().to_owned(),
        better: unit.better().to_owned(),
        boots: samples.len() as u32,
        count: samples.iter().map(|samples| samples.moments.count).sum(),
        figures: Pooled::new(samples).expect("pools").figures(),
    }
}

fn contrast(results: &mut Results) {
    type Pick = fn(&Figures) -> Option<f64>;
    const ASPECTS: [(&str, &str, Pick); 4] = [
        ("location", "median", |f| f.median),
        ("dispersion", "sd_within", |f| f.sd_within),
        ("tail", "p99_9", |f| f.p99_9),
        ("stall", "stall_share", |f| f.stall_share),
    ];
    for from in results.cells.iter().filter(|cell| cell.axes.tuning == "stock") {
        let isolated = Cell { tuning: "isolated".into(), ..from.axes.clone() };
        let Some(to) = results.cells.iter().find(|cell| cell.axes == isolated) else {
            continue;
        };
        for (a, b) in from.workloads.iter().zip(&to.workloads) {
            for (aspect, figure, pick) in ASPECTS {
                let ratio = pick(&a.figures).zip(pick(&b.figures)).map(|(a, b)| b / a);
                results.contrasts.push(ContrastResult {
                    name: "isolation".into(),
                    from_cell: from.id.clone(),
                    to_cell: to.id.clone(),
                    workload: a.name.clone(),
                    aspect: aspect.into(),
                    figure: figure.into(),
                    ratio,
                    low: ratio.map(|ratio| ratio * 0.88),
                    high: ratio.map(|ratio| ratio * 1.15),
                    p: ratio.map(|_| 0.0001),
                    p_corrected: ratio.map(|_| 0.01),
                    boots: [BOOTS, BOOTS],
                    note: None,
                });
            }
        }
    }
}

impl Fixture {
    fn add(&mut self, cell: Cell, outcome: CellOutcome, status: Status, reason: Option<String>) {
        self.results.cells.push(CellResult {
            id: cell.id(),
            axes: cell.clone(),
            outcome,
            trouble: match (outcome, &reason) {
                (CellOutcome::Measured, Some(_)) => Some(Trouble::PartlyFailed),
                _ => None,
            },
            reason,
            fingerprint: (outcome == CellOutcome::Measured).then(|| "51f84f2e".to_owned()),
            workloads: Vec::new(),
        });
        self.run.matrix.cells.push(cell.clone());
        self.run.cells.push(PlannedCell { cell, status });
    }
}

fn facts() -> BTreeMap<String, String> {
    [
        ("clock_resolution_ns", "24"),
        ("recording_cost_ns", "31.4"),
        ("clocksource", "kvm-clock"),
        ("cpu", "Intel Xeon, 2 CPUs"),
        ("kernel", "6.18.5"),
        ("mitigations", "auto"),
        ("docker", "28.2.2"),
        ("qemu", "7.2.15"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn empty_results() -> Results {
    Results {
        schema: SCHEMA,
        matrix: "default".into(),
        seed: 1,
        facts: facts(),
        cells: Vec::new(),
        contrasts: Vec::new(),
        attribution: Vec::new(),
        verdicts: Vec::new(),
        diagnoses: Vec::new(),
        comparison: None,
        overall: Overall { verdict: "measured".into(), sentence: "every cell was measured".into() },
    }
}

fn run() -> Run {
    let contrast = Contrast {
        name: "isolation".into(),
        axis: Axis::Tuning,
        from: "stock".into(),
        to: "isolated".into(),
    };
    Run {
        schema: SCHEMA,
        tool: "0.1.0".into(),
        tag: "ek4f2a".into(),
        matrix_text: String::new(),
        matrix: Matrix {
            name: "default".into(),
            cells: Vec::new(),
            measure: Measure {
                workloads: vec!["tcp-rr".into(), "tcp-stream".into()],
                boots: BOOTS,
                warmup: Duration::from_millis(200),
                window: Duration::from_nanos(WINDOW_NS),
                windows: WINDOWS as u32,
                family: Family::Ipv4,
                rate: 1_000,
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
        started_unix: 1_793_529_720,
        quick: false,
        facts: facts(),
        cells: Vec::new(),
        kernels: Vec::new(),
        policy: None,
        base: None,
        calibration: None,
        calibrates: None,
        fleet: Default::default(),
        lost: Vec::new(),
    }
}
