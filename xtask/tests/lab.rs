//! Containers under kernels that this host does not run, each in a lab that boots one; and labs that are killed. Long, because labs are
//! emulated on most hosts: `cargo xtask test --long` runs them.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xtask::check::inventory::{Inventory, SETTLES};
use xtask::record::{Evidence, Outcome, Record, store};

mod common;
use common::{Host, Quick, Said, run};

const KERNELS: &str = "[kernel.stock]\ndeb = 'linux-image-amd64'\n\
    [kernel.rt]\ndeb = 'linux-image-rt-amd64'\nexpect = { preempt = 'rt', config = { CONFIG_PREEMPT_RT = 'y' } }\n";

/// What the cells of a matrix left.
fn records(host: &Host) -> Vec<Record> {
    store::read(Path::new(&host.path("run"))).unwrap().1
}

fn measured(records: &[Record]) -> usize {
    records.iter().filter(|record| record.outcome == Outcome::Measured).count()
}

/// `bench --lab` of a matrix into `run`, with what it says while it runs.
fn start(host: &Host, matrix: &Quick<'_>) -> common::Running {
    let matrix = matrix.write(host.place.path());
    host.start(&["bench", "--lab", matrix.to_str().unwrap(), "--out", &host.path("run")])
}

/// The host is as it was: nothing to restore, and nothing of it differs.
fn is_as_before(host: &Host, before: &Inventory) {
    host.is_restored();
    assert_eq!(before.differs(SETTLES).unwrap(), [""; 0]);
}

/// The QEMU of the lab that a run has started: a child of its own, so its id cannot have been used again while that lives.
fn lab_of(run: u32) -> Pid {
    let children = std::fs::read_to_string(format!("/proc/{run}/task/{run}/children")).unwrap();
    let is_lab = |pid: &&str| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("evenkeel-lab")
    };
    let lab = children.split_whitespace().find(is_lab).expect("a lab runs");
    Pid::from_raw(lab.parse().unwrap())
}

#[test]
#[ignore = "long: starts four emulated machines"]
fn real_containers_are_measured_under_kernels_of_labs() {
    let host = Host::take();
    let before = Inventory::take().unwrap();
    let matrix = Quick {
        kernel: "'stock', 'rt'",
        virtualization: "'netns', 'runc', 'docker'",
        network: "'bridge', 'nat'",
        boots: 2,
        more: KERNELS,
        ..Quick::default()
    };
    let said: Said = start(&host, &matrix).end();
    said.ends_with(0).says(&["the lab with kernel `rt` is up", "preemption rt"]);
    let records = records(&host);
    assert_eq!((records.len(), measured(&records)), (24, 24), "{said}");
    for record in &records {
        assert_eq!(record.instrument["accelerator"].len(), 3, "{:?}", record.instrument);
        let kernel = record.cell.split('/').next().unwrap();
        let seen = record.evidence.iter().find_map(|evidence| match evidence {
            Evidence::Knob { knob, seen, .. } if knob == "kernel" => Some(&seen[0]),
            _ => None,
        });
        assert_eq!(seen.unwrap().ends_with("preemption rt"), kernel == "rt", "{seen:?}");
    }
    // A lab for each kernel and block, and not the host among them.
    let mut labs: Vec<(u32, &str, &str)> = records
        .iter()
        .map(|record| {
            let kernel = record.cell.split('/').next().unwrap();
            (record.block, kernel, record.host_boot.as_str())
        })
        .collect();
    labs.sort_unstable();
    labs.dedup();
    assert_eq!(labs.len(), 4, "{labs:?}");
    let own = evenkeel_agent::state::host_boot().unwrap();
    assert!(labs.iter().all(|(.., boot)| *boot != own));
    is_as_before(&host, &before);
}

#[test]
#[ignore = "long: starts emulated machines"]
fn real_a_lab_that_is_killed_fails_one_boot_and_a_run_that_is_killed_leaves_nothing() {
    let host = Host::take();
    let before = Inventory::take().unwrap();
    let matrix = Quick { kernel: "'rt'", boots: 3, more: KERNELS, ..Quick::default() };
    let mut running = start(&host, &matrix);
    running.hear("[1/3]");
    // The second block's lab comes up; it dies before its boot can be over.
    running.hear("is up");
    kill(lab_of(running.pid()), Signal::SIGKILL).unwrap();
    running.hear("[2/3]");
    running.hear("is up");
    running.signal(Signal::SIGKILL);
    let said = running.end();
    assert_eq!(said.code, None, "{said}");
    run(&mut host.xtask(&["restore"])).ends_with(0);
    is_as_before(&host, &before);
    let records = records(&host);
    assert!(records.len() >= 2, "a kill loses at most one boot: {said}");
    let Outcome::Failed { reason } = &records[1].outcome else { panic!("{said}") };
    assert!(reason.contains("the lab ended"), "{reason}");
    // It goes on in labs without being told so again.
    let said = run(&mut host.xtask(&["bench", "--resume", &host.path("run")]));
    said.ends_with(0);
    is_as_before(&host, &before);
}

#[test]
#[ignore = "long: starts emulated machines"]
fn real_ctrl_c_in_a_lab_ends_the_run_with_what_was_measured_and_leaves_nothing() {
    let host = Host::take();
    let before = Inventory::take().unwrap();
    let matrix = Quick { kernel: "'stock'", boots: 2, more: KERNELS, ..Quick::default() };
    let mut running = start(&host, &matrix);
    running.hear("[1/2]");
    running.hear("is up");
    running.signal(Signal::SIGINT);
    let said = running.end();
    said.ends_with(130).says(&["interrupted: the host is as it was"]);
    is_as_before(&host, &before);
    assert_eq!(measured(&records(&host)), 1, "{said}");
}

#[test]
#[ignore = "long: starts an emulated machine"]
fn real_a_kernel_that_is_not_the_expected_one_or_does_not_come_up_fails_its_boots_alone() {
    let host = Host::take();
    let before = Inventory::take().unwrap();
    let kernels = "[kernel.wrong]\ndeb = 'linux-image-amd64'\nexpect = { preempt = 'rt' }\n\
        [kernel.panics]\ndeb = 'linux-image-amd64'\ncmdline = ['rdinit=/nowhere']\n";
    let kernel = "'running', 'wrong', 'panics'";
    let said = start(&host, &Quick { kernel, more: kernels, ..Quick::default() }).end();
    said.ends_with(0).says(&["was expected to have preemption `rt`, but has `"]);
    said.says(&["the lab did not come up", "Kernel panic"]);
    let records = records(&host);
    assert_eq!((records.len(), measured(&records)), (3, 1), "{said}");
    is_as_before(&host, &before);
}
