//! Laws over the registries: what must hold of every kind, in every combination that there is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use evenkeel_agent::interpret::{check, undo_of};
use evenkeel_agent::machine::fake::{die_everywhere, meet_others};
use evenkeel_agent::step::{Act, Arg, Object, Setting, Slot, Step};

use super::names::{FOLDER, RunTag};
use super::placement::Placement;
use super::tuning::Profile;
use super::virtualization::accelerator::Accelerator;
use super::{
    Addresses, Artifacts, Guest, Hop, Kind, Powers, Site, common_port, load, network, tuning,
    virtualization,
};
use crate::calibrate::fault::{Fault, KINDS};
use crate::matrix::{Axis, Cell, Family, Measure, RUNNING};
use crate::run::prepare::standing;
use crate::run::spec::{BootSpec, Place};

/// The host that the combinations are made for: four CPUs, realtime by cgroup, and fair servers.
fn site(cell: Cell, family: Family) -> Site {
    let tag = RunTag::new(1);
    let cpus: Vec<usize> = (0..4).collect();
    let guest = Guest {
        kernel: PathBuf::from("KERNEL"),
        initramfs: PathBuf::from("INITRAMFS"),
        cmdline: vec!["preempt=full".to_owned()],
        config: None,
        accelerator: Accelerator::Tcg { reason: "a law needs no guest".to_owned() },
        tsc_khz: Some(2_500_000),
    };
    Site {
        powers: Powers::Root,
        profile: Profile::find(&cell.tuning).unwrap(),
        cell,
        names: tag.boot(69),
        addresses: Addresses { family, net: 0 },
        placement: Placement::on(&cpus, true),
        artifacts: Artifacts {
            agent: PathBuf::from("AGENT"),
            rootfs: PathBuf::from("ROOT"),
            image: tag.image(),
            programs: None,
            guest: Some(guest),
        },
        cpus,
        realtime_groups: true,
        fair_servers: vec!["/sys/kernel/debug/sched/fair_server/cpu0/runtime".to_owned()],
        found: tuning::Found::everything(),
    }
}

fn spec(site: &Site) -> BootSpec {
    let place = Place { block: 0, position: 0, boot: 0, side: crate::record::Side::Candidate };
    BootSpec::new(site, &Measure::default(), &Default::default(), Default::default(), place)
        .unwrap()
}

fn cell(id: &str) -> Cell {
    let mut words = id.split('/').chain([RUNNING]);
    Cell::of(Axis::ALL.map(|_| words.next().expect("an id has five parts")))
}

/// Every combination of kinds that have a port in common, with the steps of a boot.
fn combinations() -> Vec<(Site, BootSpec)> {
    let mut all = Vec::new();
    for system in virtualization::ALL {
        for path in network::ALL.iter().filter(|path| common_port(*system, **path).is_some()) {
            for tuning in tuning::names() {
                for load in load::ALL {
                    for family in [Family::Ipv4, Family::Ipv6] {
                        let kinds = [system.name(), path.name(), &tuning, load.name()];
                        let site = site(cell(&format!("{RUNNING}/{}", kinds.join("/"))), family);
                        let spec = spec(&site);
                        all.push((site, spec));
                    }
                }
            }
        }
    }
    all
}

/// The steps of a boot after those of its run, on a host without a mount for namespaces.
fn with_run(steps: &[Step]) -> Vec<Step> {
    let mut all = standing(&RunTag::new(1), Path::new(FOLDER), Some(Path::new("ROOT")), true, true);
    all.extend_from_slice(steps);
    all
}

#[test]
fn every_slot_is_bound_before_it_is_used_and_phases_do_not_go_back() {
    for (site, spec) in combinations() {
        check(&spec.steps).unwrap_or_else(|error| panic!("{}: {error:#}", site.cell.id()));
        check(&standing(&RunTag::new(1), Path::new(FOLDER), Some(Path::new("ROOT")), true, true))
            .unwrap();
    }
}

#[test]
fn what_is_measured_and_watched_is_bound() {
    for (site, spec) in combinations() {
        let bound: BTreeSet<Slot> = spec.steps.iter().filter_map(|s| s.act.gives()).collect();
        let probed =
            spec.knobs.iter().flat_map(|knob| &knob.probes).filter_map(|(probe, _)| probe.slot());
        for slot in spec.watched.iter().chain(probed) {
            assert!(bound.contains(slot), "{}: {slot} is never bound", site.cell.id());
        }
    }
}

/// Names of objects that a step makes or leaves, as (what, name, is it an interface).
fn made(step: &Step) -> Vec<(String, String, bool)> {
    let objects: Vec<&Object> = match &step.act {
        Act::Make { object, .. } => vec![object],
        Act::Start { leaves, .. } => leaves.iter().collect(),
        _ => Vec::new(),
    };
    let named = |object: &Object| {
        let (name, interface) = match object {
            Object::Link { name, .. } => (name, true),
            Object::Cgroup(name)
            | Object::ControllerCgroups(name)
            | Object::Netns(name)
            | Object::DockerNetwork(name)
            | Object::DockerContainer(name)
            | Object::DockerImage(name)
            | Object::RuncContainer(name)
            | Object::Table { name, .. }
            | Object::Dir(name) => (name, false),
            Object::NetnsMount => return None,
        };
        Some((object.to_string(), name.clone(), interface))
    };
    objects.into_iter().filter_map(named).collect()
}

#[test]
fn names_are_unique_carry_the_tag_and_fit() {
    for (site, spec) in combinations() {
        let (id, tag) = (site.cell.id(), site.names.tag());
        let mut seen = BTreeSet::new();
        for step in &spec.steps {
            for (what, name, interface) in made(step) {
                assert!(name.contains(tag) || name == super::INSIDE, "{id}: {what} has no tag");
                assert!(!interface || name.len() <= 15, "{id}: {what} is longer than 15");
                let is_make = matches!(step.act, Act::Make { .. });
                assert!(seen.insert((is_make, what.clone())), "{id}: {what} is made twice");
            }
        }
    }
}

#[test]
fn only_what_changes_nothing_or_goes_with_an_object_of_the_boot_has_no_undo() {
    for (site, spec) in combinations() {
        let id = site.cell.id();
        for step in with_run(&spec.steps) {
            let undone = !undo_of(&step).is_empty();
            let ours = |word: &Arg| word.to_string().contains(site.names.tag());
            let of_slot = |word: &Arg| word.slots().next().is_some();
            let goes_with_the_boot = match &step.act {
                Act::Learn { .. } | Act::Await { .. } | Act::Go(_) => true,
                Act::Put { on, .. } => match on {
                    Setting::File(_) | Setting::Asked(_) => false,
                    // Only this boot's own process has it open.
                    Setting::HeldOpen(_) => true,
                    Setting::OwnFile { netns, path } => ours(netns) || ours(path),
                    Setting::Affinity(thread)
                    | Setting::Policy(thread)
                    | Setting::CpuQuota(thread)
                    | Setting::RealtimeBudget(thread) => of_slot(thread),
                    Setting::Queue { netns, .. } => ours(netns),
                    Setting::Link { netns, link, .. } => ours(netns) || ours(link),
                },
                Act::Make { object, .. } => match object {
                    Object::Link { netns, .. } | Object::Table { netns, .. } => !netns.is_empty(),
                    _ => false,
                },
                // The process itself goes with its cgroup.
                Act::Start { leaves, .. } => leaves.is_empty(),
            };
            assert_eq!(undone, !goes_with_the_boot, "{id}: {step}");
        }
    }
}

/// Each kind of fault at its example's size, in a boot of every virtualization that it fits: without it and with it.
fn with_faults() -> Vec<(Site, BootSpec, BootSpec)> {
    let mut all = Vec::new();
    for system in virtualization::ALL {
        let fits = |path: &&&dyn network::Network| common_port(*system, **path).is_some();
        let path = network::ALL.iter().rfind(fits).unwrap();
        let id = format!("{RUNNING}/{}/{}/isolated/idle", system.name(), path.name());
        let site = site(cell(&id), Family::Ipv4);
        for (name, size, _) in KINDS {
            let fault: Fault = format!("{name}={size}").parse().unwrap();
            if fault.unfit(&site.cell).is_none() {
                let plain = spec(&site);
                let faulty = plain.clone().with_fault(fault, &site).unwrap();
                all.push((site.clone(), plain, faulty));
            }
        }
    }
    all
}

#[test]
fn boots_have_faults_only_where_they_are_given_one_and_it_goes_with_the_boot() {
    assert!(combinations().iter().all(|(_, spec)| spec.fault.is_none()));
    for (site, plain, faulty) in with_faults() {
        let id = site.cell.id();
        let fault = faulty.fault.unwrap().fault;
        let added: Vec<&Step> =
            faulty.steps.iter().filter(|step| !plain.steps.contains(step)).collect();
        // Late replies are a matter of the agent's alone.
        assert_eq!(added.is_empty(), fault.delay().is_some(), "{id}: {fault}");
        for step in added {
            // But for autogroups, which are the host's, and which loads turn off too.
            let is_setting = matches!(&step.act, Act::Put { on: Setting::Asked(_), .. });
            assert_eq!(undo_of(step).is_empty(), !is_setting, "{id}: {step}");
        }
    }
}

#[test]
fn whatever_effect_a_boot_with_a_fault_dies_at_nothing_is_left() {
    for (site, plain, faulty) in with_faults() {
        if plain.steps != faulty.steps {
            let tried = die_everywhere(&with_run(&faulty.steps));
            tried.unwrap_or_else(|error| panic!("{}: {error:#}", site.cell.id()));
        }
    }
}

#[test]
fn every_path_is_proven_by_hops_that_read_the_same_in_every_boot() {
    for (site, spec) in combinations() {
        let id = site.cell.id();
        assert!(!spec.hops.is_empty(), "{id}: no evidence");
        for hop in &spec.hops {
            let what = hop.what();
            assert!(!what.contains("ek") && !what.is_empty(), "{id}: hop `{what}`");
            let (Hop::Link { netns, link, .. } | Hop::OtherPort { bridge: netns, ours: link, .. }) =
                hop;
            let ours = |name: &str| name.contains(site.names.tag());
            assert!(ours(netns) || ours(link), "{id}: `{what}` is a link of somebody else");
        }
    }
}

#[test]
fn an_engine_publishes_one_port_more_for_each_program_of_the_users() {
    let words = |site: &Site| network::find("nat").unwrap().engine_words(site).join(" ");
    let mut site = site(cell("running/docker/nat/stock/idle"), Family::Ipv4);
    assert!(words(&site).contains(":5200-5204:5200-5204/tcp"));
    let command: crate::matrix::Command = serde_json::from_value(serde_json::json!({
        "workload": "command-echo", "drive": ["ask"], "reads": "lines", "unit": "us",
        "within": { "secs": 1, "nanos": 0 },
    }))
    .unwrap();
    site.artifacts.programs = Some(crate::artifact::programs::Programs {
        commands: vec![command],
        folder: PathBuf::from("COPY"),
        digest: "0".repeat(64),
        sums: Default::default(),
    });
    let with_one = words(&site);
    for protocol in ["tcp", "udp"] {
        assert!(with_one.contains(&format!(":5200-5205:5200-5205/{protocol}")), "{with_one}");
    }
}

#[test]
fn every_kind_says_what_it_is() {
    let kinds = virtualization::ALL.iter().map(|kind| *kind as &dyn Kind);
    let kinds = kinds.chain(network::ALL.iter().map(|kind| *kind as &dyn Kind));
    let kinds = kinds.chain(load::ALL.iter().map(|kind| *kind as &dyn Kind));
    let mut all: Vec<(&str, String)> =
        kinds.map(|kind| (kind.name(), kind.about().to_owned())).collect();
    all.extend(tuning::all().map(|knob| (knob.name(), knob.about().to_owned())));
    let mut names = BTreeSet::new();
    for (name, about) in all {
        assert!(about.len() > 20 && !about.ends_with('.'), "{name}: `{about}`");
        assert!(names.insert(name), "two kinds are named {name}");
    }
}

#[test]
fn every_knob_says_what_it_takes_and_no_name_is_both_shipped_and_unsupported() {
    let mut names = BTreeSet::new();
    for knob in tuning::all() {
        assert!(knob.values().len() > 1, "{}: `{}`", knob.name(), knob.values());
        names.insert(knob.name());
    }
    for (name, reason) in tuning::UNSUPPORTED {
        assert!(reason.len() > 10 && !reason.ends_with('.'), "{name}: `{reason}`");
        assert!(names.insert(name), "`{name}` is shipped");
    }
}

#[test]
fn knobs_of_threads_are_partial_where_the_path_has_threads_that_none_reaches() {
    let told = |network: &str| -> Vec<(String, bool)> {
        let site = site(cell(&format!("running/netns/{network}/isolated/idle")), Family::Ipv4);
        let knobs = spec(&site).knobs.into_iter();
        let of_threads = knobs.filter(|knob| ["placement", "policy"].contains(&&*knob.knob));
        let less = |knob: &tuning::Turned| {
            knob.partial.as_ref().is_some_and(|reason| reason.contains("threads of the switch"))
        };
        of_threads.map(|knob| (knob.knob.clone(), less(&knob))).collect()
    };
    let both = |less| ["placement", "policy"].map(|knob| (knob.to_owned(), less));
    assert_eq!((told("ovs"), told("bridge")), (both(true).to_vec(), both(false).to_vec()));
}

/// What the study of the thesis asks of a tuning axis, by name: every wish is a knob, or is refused with the reason.
#[rustfmt::skip]
const WANTED: &[&str] = &[
    "placement", "policy", "rt-throttle", "kernel-threads", "rt-period", "autogroup",
    "memory-lock", "hugepages", "thp", "thp-defrag", "ksm", "numa-policy", "numa-balancing", "swappiness",
    "dirty-ratio", "dirty-background-ratio", "address-randomization",
    "cpu-dma-latency", "governor", "turbo", "c-states", "machinecheck",
    "irq-cpus", "irq-default-cpus", "irqbalance", "workqueue-cpus", "writeback-cpus", "timer-migration",
    "watchdog", "soft-watchdog", "watchdog-cpus", "nmi-watchdog", "hung-task-timeout", "vm-stat-interval", "rcu-callbacks",
    "busy-poll", "busy-read", "rps-cpus", "xps", "coalescing", "rings", "offloads", "napi-threads", "tcp-fastopen",
    "halt-poll", "cpuset-mems", "ulimits",
    "guest-hugepages", "guest-prealloc", "guest-cpus", "qemu-iothread", "qemu-cpu-pm",
    "guest-cmdline", "host-cmdline",
];

#[test]
fn every_wanted_knob_is_shipped_or_refused_with_a_reason_and_no_other_is_there() {
    let mut wanted = BTreeSet::from_iter(WANTED.iter().copied());
    assert_eq!(wanted.len(), WANTED.len(), "a name is wanted twice");
    let refused = tuning::UNSUPPORTED.iter().map(|(name, _)| *name);
    for name in tuning::all().map(|knob| knob.name()).chain(refused) {
        assert!(wanted.remove(name), "`{name}` is in two places, or nobody wants it");
    }
    assert_eq!(wanted, BTreeSet::new(), "wanted, and neither a knob nor refused with a reason");
}

/// A value that a row takes.
fn some_value(row: &tuning::Row) -> &'static str {
    let values = ["on", "never", "1"];
    values.into_iter().find(|want| row.written(want, None).is_ok()).unwrap()
}

#[test]
fn every_row_writes_its_own_files_and_each_has_an_undo_and_a_probe() {
    let mut written = BTreeSet::new();
    for row in tuning::rows() {
        let mut site = site(cell("running/netns/veth/stock/idle"), Family::Ipv4);
        site.profile.knobs = vec![(row.name.to_owned(), some_value(row).to_owned())];
        let turned = site.profile.turn(&site, virtualization::ALL[0], &[]).unwrap().remove(0);
        assert_eq!((turned.steps.len(), turned.probes.len()), (1, 1), "{}", row.name);
        for (step, path) in turned.steps.iter().zip(site.found.paths(row.paths)) {
            let Act::Put { on: Setting::Asked(on), .. } = &step.act else { panic!("{step}") };
            assert_eq!(on.to_string(), *path, "{}", row.name);
            assert_eq!(undo_of(step).len(), 1, "{}: {step}", row.name);
            assert_eq!(turned.probes[0].0, tuning::Probe::File(path.clone()), "{}", row.name);
            assert!(path.starts_with("/proc/") || path.starts_with("/sys/"), "{path}");
            assert!(written.insert(path.clone()), "{path} is written by two rows");
        }
        // A host without the file measures the rest, and is told.
        site.found = tuning::Found::default();
        let turned = site.profile.turn(&site, virtualization::ALL[0], &[]).unwrap().remove(0);
        let crate::record::Effect::NotEffective { reason } =
            turned.judge([&[], &[]], &Default::default())
        else {
            panic!("{}", row.name)
        };
        assert!(reason.starts_with("unsupported here: this kernel has no /"), "{reason}");
        assert!(turned.steps.is_empty());
    }
}

#[test]
fn whatever_effect_a_boot_dies_at_nothing_is_left_and_nothing_of_others_is_touched() {
    let mut seen = Vec::new();
    let mut deaths = 0;
    for (_, spec) in combinations().into_iter().filter(|(site, _)| is_of_pairs(&site.cell)) {
        // Addresses and policies of other families make the same acts with other words.
        let acts: Vec<String> = spec.steps.iter().map(|step| shape(&step.act)).collect();
        if seen.contains(&acts) {
            continue;
        }
        let steps = with_run(&spec.steps);
        let tried = die_everywhere(&steps);
        deaths += tried.unwrap_or_else(|error| panic!("{}: {error:#}", spec.cell.id()));
        meet_others(&steps).unwrap_or_else(|error| panic!("{}: {error:#}", spec.cell.id()));
        seen.push(acts);
    }
    assert!(deaths > 10_000, "{deaths} deaths");
}

/// Whether a combination is among those that have every two kinds together: of tuning, load and any but a system's first path, at most two differ
/// from the plainest; and what two of them do to each other is tried on one system.
fn is_of_pairs(cell: &Cell) -> bool {
    let (system, path) = (&*cell.virtualization, &*cell.network);
    let fit = |(system, path): (&str, &str)| {
        let (system, path) = (virtualization::find(system), network::find(path));
        system.zip(path).is_some_and(|(system, path)| common_port(system, path).is_some())
    };
    let first_path = network::ALL.iter().find(|kind| fit((system, kind.name())));
    let first_system = virtualization::ALL.iter().find(|kind| fit((kind.name(), path)));
    let is_first = first_system.is_some_and(|kind| kind.name() == system);
    let other_path = first_path.is_none_or(|kind| kind.name() != path);
    let (tuned, loaded) = (&*cell.tuning != "stock", &*cell.load != "idle");
    match (other_path, tuned, loaded) {
        (true, true, false) | (true, false, true) | (false, true, true) => is_first,
        (true, true, true) => false,
        _ => true,
    }
}

/// What an act does, without the values that it writes.
fn shape(act: &Act<Arg>) -> String {
    match act {
        Act::Put { on, .. } => format!("put {on}"),
        Act::Make { object, .. } => format!("make {object}"),
        Act::Start { name, leaves, .. } => format!("start {name} {leaves:?}"),
        other => other.to_string(),
    }
}

/// Cells whose steps are kept as text. Together they hold every kind.
const SHOWN: &[(&str, Family)] = &[
    ("running/host/loopback/stock/idle", Family::Ipv6),
    ("running/netns/veth/stock/idle", Family::Ipv4),
    ("running/runc/veth/stock/netload", Family::Ipv4),
    ("running/netns/nat/isolated/noisy", Family::Ipv6),
    ("running/runc/bridge/isolated/idle", Family::Ipv4),
    ("running/docker/bridge/stock/idle", Family::Ipv6),
    ("running/docker/nat/isolated/idle", Family::Ipv4),
    ("running/podman/veth/isolated/idle", Family::Ipv4),
    ("running/nspawn/veth/stock/idle", Family::Ipv4),
    ("running/netns/macvlan/stock/idle", Family::Ipv4),
    ("running/docker/macvlan/stock/idle", Family::Ipv6),
    ("running/runc/vxlan/stock/idle", Family::Ipv4),
    ("running/qemu/vxlan/stock/idle", Family::Ipv6),
    ("running/docker/ipvlan/stock/idle", Family::Ipv4),
    ("running/netns/vlan/stock/idle", Family::Ipv4),
    ("running/netns/ovs/stock/idle", Family::Ipv4),
    ("running/qemu/user/stock/idle", Family::Ipv4),
    ("running/microvm/bridge/stock/idle", Family::Ipv4),
    ("running/qemu/bridge/isolated/idle", Family::Ipv4),
    ("running/docker/bridge/thesis-rt/idle", Family::Ipv4),
    ("running/qemu/bridge/realtime/idle", Family::Ipv4),
];

#[test]
fn every_kind_has_its_steps_and_their_undo_on_record() {
    let shown: Vec<Cell> = SHOWN.iter().map(|(id, _)| cell(id)).collect();
    let in_some =
        |name: &str| shown.iter().any(|cell| cell.id().split('/').any(|word| word == name));
    let kinds = virtualization::ALL.iter().map(|kind| kind.name());
    let kinds = kinds.chain(network::ALL.iter().map(|kind| kind.name()));
    for name in kinds.chain(load::ALL.iter().map(|kind| kind.name())) {
        assert!(in_some(name), "add a cell with `{name}` to SHOWN");
    }
    for (id, family) in SHOWN {
        let site = site(cell(id), *family);
        let mut text = String::new();
        for step in with_run(&spec(&site).steps) {
            writeln!(text, "{}: {step}", step.phase).unwrap();
            for state in undo_of(&step) {
                writeln!(text, "    undo: {state}").unwrap();
            }
        }
        let version = if *family == Family::Ipv4 { 4 } else { 6 };
        insta::assert_snapshot!(format!("{}-ipv{version}", id.replace('/', "-")), text);
    }
}
