//! Provisioning on a host that only remembers what was done to it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::doctor::NeedName;

/// A host in memory. `sources` are the packages that its lists have; the component adds netperf.
#[derive(Default)]
struct Fake {
    /// A package of the user's that is newer than the release, and so would go with what depends on the release's.
    newer: Option<(&'static str, &'static str)>,
    has_backports: bool,
    programs: BTreeSet<&'static str>,
    sources: BTreeMap<&'static str, &'static str>,
    has_component: bool,
    has_lists: bool,
    has_engine: bool,
    /// Names of effects that fail: `update`, `install netperf`, `start-engine`.
    broken: Vec<&'static str>,
    effects: Vec<String>,
}

impl Fake {
    fn set(&mut self, of: Beyond, is_there: bool) {
        match of {
            Beyond::NonFree => self.has_component = is_there,
            Beyond::Backports => self.has_backports = is_there,
        }
    }

    fn act(&mut self, effect: String) -> anyhow::Result<()> {
        let fails = self.broken.contains(&effect.as_str());
        self.effects.push(effect);
        match fails {
            true => bail!("it is broken"),
            false => Ok(()),
        }
    }
}

impl System for Fake {
    fn has(&self, program: &str) -> bool {
        self.programs.contains(program)
    }
    fn candidate(&mut self, wanted: &Wanted) -> Option<String> {
        let package = wanted.package.name;
        let known = self.has_lists && (package != "netperf" || self.has_component);
        let version = known.then(|| self.sources.get(package)).flatten()?;
        match wanted.suite {
            Some(_) => self.has_backports.then(|| format!("{version}~bpo")),
            None => Some((*version).to_owned()),
        }
    }
    fn obstacle(&mut self, wanted: &Wanted) -> Option<String> {
        let conflict = self.newer.filter(|(package, _)| *package == wanted.package.name);
        let conflict = conflict.filter(|_| wanted.suite.is_none() || !self.has_backports);
        conflict.map(|(_, theirs)| format!("apt would remove {theirs} for it"))
    }
    fn backports(&self) -> Option<String> {
        Some("bookworm-backports".to_owned())
    }
    fn stale(&mut self) -> Option<String> {
        (!self.has_lists).then(|| "there are none".to_owned())
    }
    fn edit(&mut self, of: Beyond) -> Option<Edit> {
        let (is_there, extra) = match of {
            Beyond::NonFree => (self.has_component, Extra::Component("non-free".to_owned())),
            Beyond::Backports => {
                (self.has_backports, Extra::Suite("bookworm-backports".to_owned()))
            }
        };
        let from = "deb x bookworm main".to_owned();
        let to = match of {
            Beyond::NonFree => format!("{from} non-free"),
            Beyond::Backports => format!("{from}\ndeb x bookworm-backports main"),
        };
        let change = LineEdit { line: 2, from, to };
        let path = "/etc/apt/sources.list".to_owned();
        (!is_there).then_some(Edit { of, path, extra, change })
    }
    fn along(&mut self, _: Option<&str>, packages: &[&str]) -> Vec<String> {
        packages.contains(&"docker.io").then(|| "containerd 1.6".to_owned()).into_iter().collect()
    }
    fn engine_answers(&mut self) -> bool {
        self.has_engine
    }
    fn write(&mut self, edit: &Edit) -> anyhow::Result<()> {
        self.set(edit.of, true);
        self.act(format!("add {}", edit.extra.name()))
    }
    fn take_back(&mut self, edit: &Edit) -> anyhow::Result<()> {
        self.set(edit.of, false);
        self.broken.retain(|effect| *effect != "update");
        self.act(format!("take back {}", edit.extra.name()))
    }
    fn update(&mut self) -> anyhow::Result<()> {
        self.act("update".to_owned())?;
        self.has_lists = true;
        Ok(())
    }
    fn install(&mut self, suite: Option<&str>, packages: &[&str]) -> anyhow::Result<()> {
        let words = [Wanted::from(suite), packages.to_vec()].concat();
        if packages.iter().any(|name| self.broken.contains(&format!("install {name}").as_str())) {
            self.effects.push(format!("install {}", words.join(" ")));
            bail!("unmet dependencies");
        }
        self.act(format!("install {}", words.join(" ")))?;
        for package in PACKAGES.iter().filter(|package| packages.contains(&package.name)) {
            self.programs.extend(package.programs);
        }
        Ok(())
    }
    fn start_engine(&mut self) -> anyhow::Result<String> {
        self.act("start-engine".to_owned())?;
        self.has_engine = true;
        Ok("20.10, overlay2".to_owned())
    }
}

/// A fresh machine of the distribution, with lists and without its non-free part.
fn fresh() -> Fake {
    let sources = PACKAGES.iter().map(|package| (package.name, "1.0")).collect();
    Fake { sources, has_lists: true, ..Fake::default() }
}

/// Provisions with one kernel that is wanted until it was fetched; gives back what was said, and what was refused.
fn run(system: &mut Fake, fetched: &RefCell<bool>) -> (Vec<String>, Vec<String>) {
    let wanted =
        || if *fetched.borrow() { vec![] } else { vec!["linux-image-amd64 6.1".to_owned()] };
    let fetch = || {
        *fetched.borrow_mut() = true;
        Ok(vec!["fetched linux-image-amd64 6.1".to_owned()])
    };
    let kernels = GuestKernels { planned: &wanted, fetch: &fetch };
    let changes = Changes::needed(system, For::All, wanted());
    if changes.is_empty() {
        return (vec!["nothing to do".to_owned()], vec![]);
    }
    let mut said = changes.lines(system);
    let refused = changes.make(system, For::All, &kernels, &mut |line| said.push(line.to_owned()));
    (said, refused)
}

#[test]
fn a_matrix_brings_what_its_cells_want_and_no_more() {
    let named = |names: &[&str]| -> (Vec<&str>, bool) {
        let changes = Changes::needed(&mut fresh(), For::Named(names), vec![]);
        let wanted = changes.packages.wanted.iter().map(|wanted| wanted.package.name);
        (wanted.collect(), changes.engine)
    };
    let netns = named(&["netns", "bridge", "tcp-rr"]);
    assert_eq!(netns, (vec!["iproute2", "nftables"], false));
    let docker = named(&["docker", "bridge", "tcp-rr"]);
    assert_eq!(docker, (vec!["iproute2", "nftables", "docker.io"], true));
    let (guests, engine) = named(&["microvm", "ovs", "ping", "netperf-udp-rr"]);
    assert!(!engine);
    assert_eq!(guests[2..], ["qemu-system-x86", "openvswitch-switch", "iputils-ping", "netperf"]);
}

/// One that nobody names would never be brought.
#[test]
fn whoever_wants_a_package_exists() {
    let virtualization = crate::axis::virtualization::ALL.iter().map(|kind| kind.name());
    let network = crate::axis::network::ALL.iter().map(|kind| kind.name());
    let workload = crate::workload::ALL.iter().map(|workload| workload.name());
    let all: Vec<&str> = virtualization.chain(network).chain(workload).collect();
    for package in PACKAGES {
        let unknown = package.wanted_by.iter().find(|name| !all.contains(name));
        assert_eq!(unknown, None, "{}", package.name);
    }
    assert_eq!(GUESTS, crate::axis::virtualization::guests());
    // A kind that wants a package's program wants the package.
    let needs = [
        (NeedName::Runc, "runc"),
        (NeedName::DockerClient, "docker.io"),
        (NeedName::Podman, "podman"),
        (NeedName::Nspawn, "systemd-container"),
        (NeedName::Qemu, "qemu-system-x86"),
    ];
    for (need, name) in needs {
        let package = PACKAGES.iter().find(|package| package.name == name).unwrap();
        let all = crate::axis::virtualization::ALL;
        let kinds = all.iter().filter(|kind| kind.needs().contains(&need));
        let forgotten =
            kinds.map(|kind| kind.name()).find(|kind| !package.wanted_by.contains(kind));
        assert_eq!(forgotten, None, "{name}");
    }
    // And whatever runs a program of the host's finds that it is brought for it.
    let tools = crate::workload::ALL.iter().filter(|workload| !workload.programs().is_empty());
    for workload in tools {
        let brought =
            PACKAGES.iter().filter(|package| package.wanted_by.contains(&workload.name()));
        let programs: Vec<&str> = brought.flat_map(|package| package.programs).copied().collect();
        let lacks = workload.programs().iter().find(|program| !programs.contains(program));
        assert_eq!(lacks, None, "{}", workload.name());
    }
}

#[test]
fn a_fresh_machine_is_told_first_and_then_gets_everything() {
    let (mut system, fetched) = (fresh(), RefCell::new(false));
    let (said, refused) = run(&mut system, &fetched);
    insta::assert_snapshot!(said.join("\n"), @r"
    will add the component non-free to line 3 of /etc/apt/sources.list: `deb x bookworm main non-free`
    will fetch the lists of packages: the sources change
    will install iproute2 (1.0) for ip
    will install nftables (1.0) for nft
    will install runc (1.0) for runc
    will install docker.io (1.0) for docker, dockerd
    will install podman (1.0) for podman
    will install systemd-container (1.0) for systemd-nspawn
    will install qemu-system-x86 (1.0) for qemu-system-x86_64
    will install openvswitch-switch (1.0) for ovs-vswitchd
    will install iperf3 (1.0) for iperf3
    will install iputils-ping (1.0) for ping
    will install netperf (the version that the lists will have) for netperf, netserver
    will install with them: containerd 1.6
    will start the Docker engine, which then keeps running
    will fetch linux-image-amd64 6.1
    added non-free to /etc/apt/sources.list
    fetched the lists of packages
    installed iproute2, nftables, runc, docker.io, podman, systemd-container, qemu-system-x86, openvswitch-switch, iperf3, iputils-ping, netperf
    the Docker engine answers: 20.10, overlay2
    fetched linux-image-amd64 6.1
    ");
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(
        system.effects,
        [
            "add non-free",
            "update",
            "install iproute2 nftables runc docker.io podman systemd-container qemu-system-x86 openvswitch-switch iperf3 iputils-ping netperf",
            "start-engine"
        ]
    );
}

#[test]
fn a_second_run_has_nothing_to_do() {
    let (mut system, fetched) = (fresh(), RefCell::new(false));
    run(&mut system, &fetched);
    system.effects.clear();
    assert_eq!(run(&mut system, &fetched).0, ["nothing to do"]);
    assert_eq!(system.effects, Vec::<String>::new());
}

#[test]
fn what_is_there_is_left_alone_even_with_old_lists() {
    let mut system = fresh();
    system.programs = PACKAGES.iter().flat_map(|package| package.programs).copied().collect();
    system.has_lists = false;
    let (_, refused) = run(&mut system, &RefCell::new(true));
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(system.effects, ["start-engine"]);
}

#[test]
fn one_package_that_fails_does_not_keep_the_others_away() {
    let mut system = fresh();
    system.broken = vec!["install qemu-system-x86"];
    let (_, refused) = run(&mut system, &RefCell::new(true));
    assert_eq!(refused, ["qemu-system-x86: unmet dependencies"]);
    assert!(system.has("netperf") && system.has_engine && !system.has("qemu-system-x86_64"));
}

#[test]
fn what_would_remove_a_newer_package_comes_from_the_suite_of_newer_ones() {
    let mut system = fresh();
    system.newer = Some(("qemu-system-x86", "qemu-utils"));
    let (said, refused) = run(&mut system, &RefCell::new(true));
    insta::assert_snapshot!(said[..10].join("\n"), @r"
    will add the component non-free to line 3 of /etc/apt/sources.list: `deb x bookworm main non-free`
    will add the suite bookworm-backports to line 3 of /etc/apt/sources.list: `deb x bookworm main` and `deb x bookworm-backports main`
    will fetch the lists of packages: the sources change
    will install iproute2 (1.0) for ip
    will install nftables (1.0) for nft
    will install runc (1.0) for runc
    will install docker.io (1.0) for docker, dockerd
    will install podman (1.0) for podman
    will install systemd-container (1.0) for systemd-nspawn
    will install qemu-system-x86 from bookworm-backports (the version that the lists will have) for qemu-system-x86_64
    ");
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(system.effects[..3], ["add non-free", "add bookworm-backports", "update"]);
}

#[test]
fn what_only_fresh_lists_tell_is_said_before_it_is_done() {
    let mut system = fresh();
    (system.has_lists, system.has_component) = (false, true);
    system.newer = Some(("qemu-system-x86", "qemu-utils"));
    let (said, refused) = run(&mut system, &RefCell::new(true));
    let at = |text: &str| said.iter().position(|line| line.starts_with(text));
    assert!(at("will add the suite bookworm-backports") < at("added bookworm-backports"));
    assert!(at("will add the suite").is_some(), "{said:?}");
    assert_eq!(refused, Vec::<String>::new());
    assert!(system.has("qemu-system-x86_64"));
}

#[test]
fn nothing_of_the_users_is_removed() {
    let mut system = fresh();
    (system.newer, system.has_component) = (Some(("iperf3", "libiperf0")), true);
    // The suite cannot be fetched, so it does not help.
    system.broken = vec!["update"];
    let (_, refused) = run(&mut system, &RefCell::new(true));
    assert_eq!(
        refused,
        [
            "the suite bookworm-backports: it is broken",
            "iperf3: no package source has it in bookworm-backports, and apt would remove libiperf0 for it otherwise",
        ]
    );
    assert!(!system.has("iperf3") && system.has("ip") && !system.has_backports);
}

#[test]
fn sources_that_cannot_be_fetched_with_the_component_are_taken_back() {
    let mut system = fresh();
    system.broken = vec!["update"];
    let (_, refused) = run(&mut system, &RefCell::new(true));
    assert_eq!(
        refused,
        ["the component non-free: it is broken", "netperf: no package source has it"]
    );
    assert!(!system.has_component && system.has("iperf3"));
    assert_eq!(system.effects[..4], ["add non-free", "update", "take back non-free", "update"]);
}

#[test]
fn a_component_that_does_not_have_it_is_taken_back() {
    let mut system = fresh();
    system.sources.remove("netperf");
    let (_, refused) = run(&mut system, &RefCell::new(true));
    assert_eq!(
        refused,
        [
            "the component non-free: it does not have what is wanted of it",
            "netperf: no package source has it"
        ]
    );
    assert_eq!(system.effects[..4], ["add non-free", "update", "take back non-free", "update"]);
}

#[test]
fn an_engine_that_does_not_start_is_named_and_kernels_are_still_fetched() {
    let (mut system, fetched) = (fresh(), RefCell::new(false));
    system.broken = vec!["start-engine"];
    let (_, refused) = run(&mut system, &fetched);
    assert_eq!(refused, ["the Docker engine: it is broken"]);
    assert!(*fetched.borrow());
}

#[test]
fn without_apt_packages_are_left_to_the_user_and_the_rest_goes_on() {
    let mut system = fresh();
    system.programs.extend(["docker", "dockerd"]);
    let mut changes = Changes::needed(&mut system, For::All, vec![]);
    let left = changes.leave_packages("ID=fedora\n").unwrap();
    assert!(
        left.ends_with(": iproute nftables runc podman systemd-container qemu-system-x86 openvswitch iperf3 iputils netperf"),
        "{left}"
    );
    let kernels = GuestKernels { planned: &Vec::new, fetch: &|| Ok(Vec::new()) };
    assert_eq!(changes.make(&mut system, For::All, &kernels, &mut |_| {}), Vec::<String>::new());
    assert_eq!(system.effects, ["start-engine"]);
}

#[test]
fn without_root_the_same_is_told_as_commands() {
    let changes = Changes::needed(&mut fresh(), For::All, vec![]);
    let commands = changes.commands();
    assert_eq!(
        commands[..3],
        [
            r"sed -i '3c\deb x bookworm main non-free' /etc/apt/sources.list",
            "apt-get update",
            "apt-get install --no-install-recommends iproute2 nftables runc docker.io podman systemd-container qemu-system-x86 openvswitch-switch iperf3 iputils-ping netperf",
        ]
    );
    assert!(commands[3].contains("docker"));
}
