//! Every combination of kinds, on the real thing: the tool itself measures small matrices, and what it wrote is read back. Needs root,
//! Docker, Podman, runc, systemd-nspawn, Open vSwitch, QEMU, netperf and iperf3; what is missing is a failure that says how to get it.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_agent::samples::{Samples, Unit};
use evenkeel_agent::state::StateDir;
use tempfile::TempDir;
use xtask::record::store;
use xtask::record::{Effect, Evidence, Outcome, Record, Run, Status};

/// Long: the machine may be busy, and no test may fail because it is slow.
const PATIENCE: Duration = Duration::from_secs(600);

/// Windows of every workload here.
const WINDOWS: u32 = 5;

/// One real run at a time: they would disturb each other, and the tool refuses it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run that was read back.
struct Read {
    run: Run,
    records: Vec<Record>,
    /// Holds the run's directory until its files were looked at.
    _place: TempDir,
}

/// Measures a matrix (its `[axes]` and what follows, without `[measure]`) with one boot a cell, and reads what was written.
fn bench(axes: &str, ip: &str, workloads: &[&str]) -> Read {
    bench_but(&[], axes, ip, workloads)
}

/// Like [`bench`], where a kernel may lack these networks.
fn bench_but(may_lack: &[&str], axes: &str, ip: &str, workloads: &[&str]) -> Read {
    let _alone = alone();
    let place = tempfile::Builder::new().prefix("ekt").tempdir().unwrap();
    let (matrix, out) = (place.path().join("kinds.toml"), place.path().join("out"));
    let text = format!(
        "schema = 1\nname = \"kinds\"\n[measure]\nworkloads = {workloads:?}\nboots = 1\nwarmup = \"10ms\"\nwindow = \"20ms\"\nwindows = {WINDOWS}\nip = \"{ip}\"\n{axes}"
    );
    std::fs::write(&matrix, text).unwrap();
    let said = run(&matrix, &out);
    let (run, records, warnings) = store::read(&out).unwrap_or_else(|e| panic!("{e:#}: {said}"));
    assert_eq!(warnings, Vec::<String>::new());
    for cell in &run.cells {
        if let Status::Skipped { reason, remedy } = &cell.status {
            if may_lack.contains(&&*cell.cell.network) && reason.contains("kernel ") {
                continue;
            }
            panic!(
                "{} was skipped: {reason}; {remedy}, or `cargo xtask test --provision`",
                cell.cell.id()
            );
        }
    }
    for file in ["report/index.html", "summary.md", "junit.xml", "results.json"] {
        let length = std::fs::metadata(out.join(file)).map(|file| file.len());
        assert!(length.is_ok_and(|length| length > 100), "{file}: {said}");
    }
    Read { run, records, _place: place }
}

/// Runs the tool, once no other run is under way on this host. Answers what it said.
fn run(matrix: &Path, out: &Path) -> String {
    let state = StateDir::of_user().unwrap();
    loop {
        drop(state.lock(PATIENCE).unwrap());
        let ended = assert_cmd::Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["bench".as_ref(), matrix.as_os_str(), "--out".as_ref(), out.as_os_str()])
            .timeout(PATIENCE)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        // Somebody took the lock between our look and the tool's.
        if !said.contains("another run is under way") {
            return said;
        }
    }
}

/// Axes with one kernel.
fn axes(virtualization: &[&str], network: &[&str], tuning: &str, load: &str) -> String {
    format!(
        "[axes]\nkernel = [\"running\"]\nvirtualization = {virtualization:?}\nnetwork = {network:?}\ntuning = [\"{tuning}\"]\nload = [\"{load}\"]\n"
    )
}

const OWN: [&str; 4] = ["tcp-rr", "tcp-rr-paced", "tcp-crr", "tcp-stream"];

/// Checks one measured boot of tuning `isolated` and load `noisy` with our own workloads. `hops` are those of its path.
fn check(record: &Record, hops: &[&str]) {
    assert_eq!(record.outcome, Outcome::Measured, "{}", record.cell);
    check_hops(record, hops);
    check_knobs(record);
    let busy = record.evidence.iter().filter(
        |evidence| matches!(evidence, Evidence::Load { per_second, .. } if *per_second > 0.0),
    );
    assert_eq!(busy.count(), 3, "{}: {:?}", record.cell, record.evidence);
    let noise = record.noise.unwrap();
    assert!(noise.softirqs > 0, "{}: {noise:?}", record.cell);
    let by_name: BTreeMap<&str, &Samples> =
        record.workloads.iter().map(|w| (w.workload.as_str(), &w.samples)).collect();
    for name in ["tcp-rr", "tcp-rr-paced", "tcp-crr"] {
        check_transactions(name, by_name[name]);
    }
    let closed = by_name["tcp-rr-paced"].closed_view.as_ref().unwrap();
    assert_eq!(closed.moments.count + closed.omitted, by_name["tcp-rr-paced"].moments.count);
    let stream = by_name["tcp-stream"];
    assert_eq!((stream.unit, stream.values.len()), (Unit::BytesPerSecond, WINDOWS as usize));
    let in_windows: u64 = stream.windows.iter().map(|window| window.bytes).sum();
    assert!(0 < in_windows && in_windows <= stream.crossed_bytes, "{}", record.cell);
}

/// Every hop of the path is named, in order, and counted at least what was measured.
fn check_hops(record: &Record, hops: &[&str]) {
    let mut seen = Vec::new();
    for evidence in &record.evidence {
        if let Evidence::Hop { hop, packets, bytes, needed_packets, needed_bytes } = evidence {
            assert!(packets >= needed_packets && bytes >= needed_bytes, "{}", record.cell);
            assert!(*needed_bytes > 0, "{}: nothing was measured", record.cell);
            seen.push(hop.as_str());
        }
    }
    assert_eq!(seen, hops, "{}", record.cell);
}

/// All three knobs of `isolated` were read back, on every thread, as far as this machine allows.
fn check_knobs(record: &Record) {
    let mut seen = Vec::new();
    for evidence in &record.evidence {
        if let Evidence::Knob { knob, effect, .. } = evidence {
            let fine = matches!(effect, Effect::Effective | Effect::Partial { .. });
            assert!(fine, "{}: {evidence:?}", record.cell);
            seen.push(knob.as_str());
        }
    }
    assert_eq!(seen, ["rt-throttle", "placement", "policy"], "{}", record.cell);
}

fn check_transactions(name: &str, samples: &Samples) {
    let in_windows: u64 = samples.windows.iter().map(|window| window.operations).sum();
    assert_eq!(samples.moments.count, in_windows, "{name}");
    assert!(samples.moments.count > 0, "{name}");
    assert!(samples.crossed_operations >= samples.moments.count, "{name}");
    assert_eq!(samples.windows.len(), WINDOWS as usize, "{name}");
    assert!(
        samples.windows.iter().all(|window| window.noise.is_some()),
        "{name}: noise is missing"
    );
    assert!(samples.min <= samples.moments.mean && samples.moments.mean <= samples.max, "{name}");
}

/// The record of the one cell with this network.
fn of<'a>(read: &'a Read, network: &str) -> &'a Record {
    let id = format!("/{network}/");
    let mut found = read.records.iter().filter(|record| record.cell.contains(&id));
    let (one, more) = (found.next(), found.next());
    assert!(more.is_none());
    one.unwrap_or_else(|| panic!("no record of network {network}"))
}

const VETH: [&str; 2] = ["peer's link", "system's link"];
const BRIDGE: [&str; 4] =
    ["peer's link", "peer's port of the bridge", "system's port of the bridge", "system's link"];
const NAT: [&str; 4] =
    ["peer's link", "router's outer link", "router's inner link", "system's link"];
/// Of macvlan and of ipvlan.
const PARENT: [&str; 3] = ["peer's link", "parent of the system's link", "system's link"];
/// Of an overlay and of a VLAN.
const TRUNK: [&str; 6] = [
    "peer's link",
    "trunk at the peer's host",
    "trunk at the system's host",
    "trunk's port of the bridge",
    "system's port of the bridge",
    "system's link",
];
const OVS: [&str; 4] =
    ["peer's link", "peer's port of the switch", "system's port of the switch", "system's link"];
const ENGINE_BRIDGE: [&str; 4] = [
    "peer's link",
    "peer's port of the engine's bridge",
    "container's port of the engine's bridge",
    "system's link",
];
const ENGINE_NAT: [&str; 4] =
    ["peer's link", "host's outer link", "the engine's bridge", "system's link"];

#[test]
fn real_namespaces_over_every_network() {
    let read = bench(
        &axes(&["netns"], &["veth", "bridge", "nat", "macvlan", "vxlan"], "isolated", "noisy"),
        "ipv4",
        &OWN,
    );
    check(of(&read, "veth"), &VETH);
    check(of(&read, "bridge"), &BRIDGE);
    check(of(&read, "nat"), &NAT);
    check(of(&read, "macvlan"), &PARENT);
    check(of(&read, "vxlan"), &TRUNK);
}

#[test]
fn real_namespaces_over_networks_that_some_kernels_lack() {
    let networks = ["veth", "vlan", "ipvlan"];
    let axes = axes(&["netns"], &networks, "isolated", "noisy");
    let read = bench_but(&networks[1..], &axes, "ipv4", &OWN);
    check(of(&read, "veth"), &VETH);
    for (network, hops) in [("vlan", &TRUNK[..]), ("ipvlan", &PARENT)] {
        let cell = read.run.cells.iter().find(|cell| cell.cell.network == network).unwrap();
        match &cell.status {
            Status::Runnable => check(of(&read, network), hops),
            told => println!("{network}: {told:?}"),
        }
    }
}

#[test]
fn real_processes_on_a_loopback_are_the_floor() {
    let read = bench(&axes(&["host"], &["loopback"], "isolated", "noisy"), "ipv4", &OWN);
    check(of(&read, "loopback"), &["loopback of both ends"]);
}

#[test]
fn real_runc_over_every_network() {
    let read = bench(
        &axes(&["runc"], &["veth", "bridge", "nat", "macvlan"], "isolated", "noisy"),
        "ipv4",
        &OWN,
    );
    check(of(&read, "veth"), &VETH);
    check(of(&read, "bridge"), &BRIDGE);
    check(of(&read, "nat"), &NAT);
    check(of(&read, "macvlan"), &PARENT);
}

#[test]
fn real_docker_over_every_network() {
    let read = bench(
        &axes(&["docker"], &["veth", "bridge", "nat", "macvlan"], "isolated", "noisy"),
        "ipv4",
        &OWN,
    );
    check(of(&read, "veth"), &VETH);
    check(of(&read, "bridge"), &ENGINE_BRIDGE);
    check(of(&read, "nat"), &ENGINE_NAT);
    check(of(&read, "macvlan"), &PARENT);
}

#[test]
fn real_podman_leaves_its_store_with_the_boot() {
    let read = bench(&axes(&["podman"], &["veth", "bridge"], "isolated", "noisy"), "ipv4", &OWN);
    check(of(&read, "veth"), &VETH);
    check(of(&read, "bridge"), &BRIDGE);
    let left = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!left.contains("/run/evenkeel/"), "{left}");
}

#[test]
fn real_switches_in_userspace_carry_segments() {
    let read = bench(&axes(&["netns"], &["ovs"], "isolated", "noisy"), "ipv4", &OWN);
    check(of(&read, "ovs"), &OVS);
}

#[test]
fn real_nspawn_measures_without_systemd() {
    let read = bench(&axes(&["nspawn"], &["bridge"], "isolated", "noisy"), "ipv4", &OWN);
    check(of(&read, "bridge"), &BRIDGE);
}

#[test]
fn real_guests_of_one_binary_preempt_as_they_are_told_and_a_wrong_expectation_fails_the_boot() {
    let shipped = include_str!("../../matrices/preempt.toml");
    let kernels = &shipped[shipped.find("[kernel.").unwrap()..];
    let wrong = "[kernel.wrong]\ndeb = \"linux-image-cloud-amd64\"\ncmdline = [\"preempt=full\"]\nexpect = { preempt = \"none\" }\n";
    let axes = "[axes]\nkernel = [\"preempt-none\", \"preempt-full\", \"wrong\"]\nvirtualization = [\"qemu\"]\nnetwork = [\"bridge\"]\n";
    let read = bench(&format!("{axes}{kernels}{wrong}"), "ipv4", &["tcp-rr"]);
    let record = |kernel: &str| {
        read.records.iter().find(|record| record.cell.split('/').next() == Some(kernel)).unwrap()
    };
    let says = |kernel: &str| {
        let record = record(kernel);
        assert_eq!(record.outcome, Outcome::Measured);
        let seen = record.evidence.iter().find_map(|evidence| match evidence {
            Evidence::Knob { knob, seen, .. } if knob == "kernel" => Some(seen[0].clone()),
            _ => None,
        });
        let seen = seen.expect("a guest says which kernel it has");
        let (version, preemption) = seen.split_once(", preemption ").unwrap();
        (version.to_owned(), preemption.to_owned())
    };
    let (none, full) = (says("preempt-none"), says("preempt-full"));
    assert_eq!((none.1.as_str(), full.1.as_str()), ("none", "full"));
    assert_eq!(none.0, full.0, "they are one binary");
    let Outcome::Failed { reason } = &record("wrong").outcome else {
        panic!("a kernel that is not the expected one was measured")
    };
    let both = "kernel `wrong` was expected to have preemption `none`, but has `full`";
    assert!(reason.contains(both), "{reason}");
}

#[test]
fn real_guests_over_every_network_and_with_a_kernel_that_is_not_the_expected_one() {
    let wrong = "[[include]]\nkernel = \"wrong\"\nvirtualization = \"qemu\"\nnetwork = \"bridge\"\ntuning = \"stock\"\nload = \"idle\"\n\
        [kernel.wrong]\ndeb = \"linux-image-cloud-amd64\"\nexpect = { preempt = \"rt\" }\n";
    let all = axes(&["qemu"], &["veth", "bridge", "nat", "user"], "isolated", "noisy") + wrong;
    let mut read = bench(&all, "ipv4", &OWN);
    // A virtual machine has no end that a pair of links could be put into.
    let veth = read.run.cells.iter().find(|cell| cell.cell.network == "veth").unwrap();
    assert_eq!(
        veth.status,
        Status::NotApplicable { reason: "qemu takes tap, user; veth offers netdev".to_owned() }
    );
    let at = read.records.iter().position(|record| record.cell.starts_with("wrong/")).unwrap();
    match read.records.remove(at).outcome {
        Outcome::Failed { reason } => {
            assert!(reason.contains("expected to have preemption `rt`, but has `"), "{reason}");
        }
        Outcome::Measured => panic!("a kernel that is not the expected one was measured"),
    }
    // The guest's own link is inside; what it answers is proven by the transactions themselves.
    check(of(&read, "bridge"), &BRIDGE[..3]);
    check(of(&read, "nat"), &NAT[..3]);
    check(of(&read, "user"), &["peer's link", "link of the guest's host"]);
    let boots: Vec<_> =
        read.records.iter().map(|record| record.guest_boot.as_ref().unwrap()).collect();
    assert_ne!(boots[0], boots[1], "every boot is a fresh start of the guest");
    let accelerator = &read.records[0].instrument["accelerator"];
    assert!(["kvm", "tcg"].contains(&accelerator.as_str()), "{accelerator}");
    // An emulated guest says why it is one.
    let fact = &read.run.facts["accelerator"];
    assert!(fact == "kvm" || fact.starts_with("tcg (/dev/kvm"), "{fact}");
}

#[test]
fn real_machines_without_a_bus_measure_as_those_with_one() {
    let read = bench(&axes(&["microvm"], &["bridge"], "isolated", "idle"), "ipv4", &["tcp-rr"]);
    let record = of(&read, "bridge");
    assert_eq!(record.outcome, Outcome::Measured);
    check_hops(record, &BRIDGE[..3]);
    check_knobs(record);
    check_transactions("tcp-rr", &record.workloads[0].samples);
}

#[test]
fn real_paths_carry_version_six_of_the_protocol() {
    let all = axes(&["netns", "runc", "docker", "qemu"], &["bridge"], "isolated", "noisy")
        + "[[include]]\nkernel = \"running\"\nvirtualization = \"netns\"\nnetwork = \"nat\"\ntuning = \"isolated\"\nload = \"noisy\"\n";
    let read = bench(&all, "ipv6", &OWN);
    let hops = |cell: &str| -> &[&str] {
        match cell.split('/').collect::<Vec<_>>().as_slice() {
            [_, "docker", ..] => &ENGINE_BRIDGE,
            [_, "qemu", ..] => &BRIDGE[..3],
            [_, _, "nat", ..] => &NAT,
            _ => &BRIDGE,
        }
    };
    assert_eq!(read.records.len(), 5);
    read.records.iter().for_each(|record| check(record, hops(&record.cell)));
}

#[test]
fn real_tools_measure_beside_our_own_workloads_in_every_virtualization() {
    let workloads = ["netperf-tcp-rr", "netperf-tcp-crr", "netperf-tcp-stream", "iperf3-tcp"];
    let virtualization = ["netns", "runc", "docker", "qemu"];
    let read = bench(&axes(&virtualization, &["bridge"], "isolated", "idle"), "ipv4", &workloads);
    assert_eq!(read.records.len(), virtualization.len());
    for record in &read.records {
        assert_eq!(record.outcome, Outcome::Measured, "{}", record.cell);
        // The threads of the tools' servers are among those that were read.
        check_knobs(record);
        let names: Vec<&str> = record.workloads.iter().map(|w| w.workload.as_str()).collect();
        assert_eq!(names, workloads, "{}", record.cell);
        for measured in &record.workloads {
            let samples = &measured.samples;
            assert_eq!((samples.values.len(), samples.moments.count), (1, 1), "{}", record.cell);
            assert!(samples.raw.as_ref().is_some_and(|raw| !raw.is_empty()), "{}", record.cell);
        }
    }
}

/// Checks a workload of datagrams or echoes: its figures, and that its losses are evidence.
fn check_datagrams(record: &Record) {
    for measured in &record.workloads {
        let (name, samples) = (measured.workload.as_str(), &measured.samples);
        match name {
            "udp-rr" | "icmp" => check_transactions(name, samples),
            "udp-stream" => assert_eq!(samples.values.len(), WINDOWS as usize),
            _ => assert!(samples.moments.count > 0, "{name}"),
        }
        let Some(loss) = samples.loss else { continue };
        let told = Evidence::Loss { workload: name.into(), sent: loss.sent, lost: loss.lost };
        assert!(record.evidence.contains(&told), "{}: {:?}", record.cell, record.evidence);
        assert!(loss.lost < loss.sent, "{}: {loss:?}", record.cell);
    }
}

#[test]
fn real_datagrams_and_echoes_cross_every_virtualization_beside_a_flow() {
    let workloads =
        ["udp-rr", "udp-stream", "icmp", "netperf-udp-rr", "netperf-udp-stream", "ping"];
    let virtualization = ["netns", "runc", "docker", "qemu"];
    let read = bench(&axes(&virtualization, &["bridge"], "stock", "netload"), "ipv4", &workloads);
    assert_eq!(read.records.len(), virtualization.len());
    for record in &read.records {
        assert_eq!(record.outcome, Outcome::Measured, "{}", record.cell);
        assert_eq!(record.workloads.len(), workloads.len(), "{}", record.cell);
        check_datagrams(record);
        let flow = record.evidence.iter().filter(
            |evidence| matches!(evidence, Evidence::Load { per_second, .. } if *per_second > 0.0),
        );
        assert_eq!(flow.count(), 1, "{}: {:?}", record.cell, record.evidence);
    }
}

#[test]
fn real_datagrams_cross_translated_addresses_and_echoes_where_they_can() {
    let all = axes(&["netns", "docker"], &["nat"], "isolated", "idle");
    let read = bench(&all, "ipv4", &["udp-rr", "udp-stream"]);
    assert_eq!(read.records.len(), 2);
    for record in &read.records {
        assert_eq!(record.outcome, Outcome::Measured, "{}", record.cell);
        check_datagrams(record);
    }
    let read = bench(&all, "ipv4", &["icmp"]);
    assert_eq!(read.records.len(), 1, "the router of ours translates echoes too");
    assert_eq!(read.records[0].outcome, Outcome::Measured);
    check_hops(&read.records[0], &NAT);
    let docker = read.run.cells.iter().find(|cell| cell.cell.virtualization == "docker").unwrap();
    match &docker.status {
        Status::NotApplicable { reason } => {
            assert!(reason.starts_with("icmp over nat: the engine publishes ports"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn real_datagrams_and_echoes_have_version_six_of_the_protocol() {
    let read = bench(
        &axes(&["netns"], &["bridge"], "isolated", "idle"),
        "ipv6",
        &["udp-rr", "udp-stream", "icmp", "netperf-udp-rr", "netperf-udp-stream"],
    );
    assert_eq!(read.records[0].outcome, Outcome::Measured);
    check_datagrams(&read.records[0]);
    check_hops(&read.records[0], &BRIDGE);
}
