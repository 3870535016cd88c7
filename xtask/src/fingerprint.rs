//! The instrument of a cell: the facts that must agree before two results are compared.
//!
//! What a *named* axis value controls is the subject and stays out: two kernels named in a matrix
//! may be compared. What nobody named (`running`, the host below a guest) is part of the instrument.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::matrix::Cell;

/// The kernel name that stands for whatever kernel is there.
const RUNNING: &str = "running";

/// Facts of the machine itself, in the instrument of every cell. `peer` is the placement of the
/// client, which whoever places it adds to the facts.
const MACHINE: [&str; 9] = [
    "architecture",
    "cpu",
    "microcode",
    "cpus-online",
    "threads-per-core",
    "numa-nodes",
    "hypervisor",
    "clocksource",
    "peer",
];

/// Facts of the host that come with its kernel: instrument unless the kernel is the subject.
const KERNEL: [&str; 5] =
    ["kernel", "kernel-version", "preemption", "mitigations", "sched-rt-runtime-us"];

/// Parameters of a command line that differ between machines and starts without changing how a
/// kernel behaves.
const PASSING: [&str; 7] =
    ["BOOT_IMAGE=", "initrd=", "root=", "rootflags=", "resume=", "console=", "rdinit="];

/// The facts that must agree for results of this cell to be compared, by name.
///
/// `accelerator` (`kvm`, `tcg`) is there exactly for cells that run a guest, and `guest_kernel` is
/// that guest's version. Names beyond those of the host's facts: `accelerator`, `guest-kernel`.
pub fn instrument(
    cell: &Cell,
    facts: &BTreeMap<String, String>,
    accelerator: Option<&str>,
    guest_kernel: Option<&str>,
) -> BTreeMap<String, String> {
    let unnamed = cell.kernel == RUNNING;
    let mut instrument = BTreeMap::new();
    let mut keep = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            instrument.insert(name.to_owned(), value);
        }
    };
    for name in MACHINE {
        keep(name, facts.get(name).cloned());
    }
    // A guest stands on the host's kernel, whichever kernel runs in it.
    let named_below = cell.host_kernel != RUNNING;
    if (unnamed || accelerator.is_some()) && !named_below {
        for name in KERNEL {
            keep(name, facts.get(name).cloned());
        }
        keep("command-line", facts.get("command-line").map(|line| lasting_parameters(line)));
    }
    keep("accelerator", accelerator.map(str::to_owned));
    if unnamed {
        keep("guest-kernel", guest_kernel.map(str::to_owned));
    }
    instrument
}

/// The instrument of a cell that was measured in a lab: the lab's own, what executes its instructions, and the host below, whose
/// facts are named `host-...`.
pub fn in_lab(
    lab: BTreeMap<String, String>,
    host: &BTreeMap<String, String>,
    accelerator: &str,
) -> BTreeMap<String, String> {
    let below = MACHINE.iter().chain(&KERNEL).filter(|name| **name != "peer");
    let below = below.filter_map(|name| Some((format!("host-{name}"), host.get(*name)?.clone())));
    let line = host.get("command-line").map(|line| lasting_parameters(line));
    let line = line.map(|line| ("host-command-line".to_owned(), line));
    let accelerator = ("accelerator".to_owned(), accelerator.to_owned());
    lab.into_iter().chain(below).chain(line).chain([accelerator]).collect()
}

/// The first 16 hexadecimal digits of the SHA-256 of an instrument. Equal instruments, and only
/// those, have equal fingerprints.
pub fn fingerprint(instrument: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in instrument {
        // Lengths go first, so that no text can pass for a border between two facts.
        hash.update(format!("{}:{name}={}:{value}\n", name.len(), value.len()));
    }
    hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
        text
    })
}

/// What differs between two instruments, in words, a line each; empty where they agree.
pub fn difference(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (a.get(name), b.get(name)) {
            (Some(a), Some(b)) if a == b => None,
            (Some(a), Some(b)) => Some(format!("{name} was `{a}` and is `{b}`")),
            (Some(a), None) => Some(format!("{name} was `{a}` and is not known now")),
            (None, Some(b)) => Some(format!("{name} was not known and is `{b}`")),
            (None, None) => None,
        })
        .collect()
}

/// A command line without what is passing.
fn lasting_parameters(line: &str) -> String {
    line.split_whitespace()
        .filter(|word| !PASSING.iter().any(|start| word.starts_with(start)))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cell(kernel: &str, virtualization: &str) -> Cell {
        Cell::of([kernel, virtualization, "bridge", "stock", "idle", "running"])
    }

    fn facts() -> BTreeMap<String, String> {
        [
            ("cpu", "AMD EPYC"),
            ("microcode", "0x1"),
            ("kernel", "6.12.30"),
            ("command-line", "BOOT_IMAGE=/vmlinuz root=UUID=1 isolcpus=1"),
            ("memory", "1 kB"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn text(instrument: &BTreeMap<String, String>) -> Vec<String> {
        instrument.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_container_on_whatever_kernel_has_that_kernel_in_its_instrument() {
        assert_eq!(
            text(&instrument(&cell("running", "docker"), &facts(), None, None)),
            ["command-line=isolcpus=1", "cpu=AMD EPYC", "kernel=6.12.30", "microcode=0x1"]
        );
    }

    #[test]
    fn a_named_kernel_under_a_container_is_the_subject() {
        assert_eq!(
            text(&instrument(&cell("debian-rt", "docker"), &facts(), None, None)),
            ["cpu=AMD EPYC", "microcode=0x1"]
        );
    }

    #[test]
    fn a_guest_has_the_hosts_kernel_below_it_and_its_own_only_where_nobody_named_it() {
        let of = |kernel| instrument(&cell(kernel, "qemu"), &facts(), Some("tcg"), Some("6.1.0"));
        assert_eq!(
            text(&of("debian-rt")),
            [
                "accelerator=tcg",
                "command-line=isolcpus=1",
                "cpu=AMD EPYC",
                "kernel=6.12.30",
                "microcode=0x1"
            ]
        );
        assert_eq!(of("running").get("guest-kernel").map(String::as_str), Some("6.1.0"));
    }

    #[test]
    fn a_lab_has_its_host_below_it_and_is_marked_as_what_executes_it() {
        let lab = BTreeMap::from([("cpu".to_owned(), "QEMU Virtual CPU".to_owned())]);
        assert_eq!(
            text(&in_lab(lab, &facts(), "tcg")),
            [
                "accelerator=tcg",
                "cpu=QEMU Virtual CPU",
                "host-command-line=isolcpus=1",
                "host-cpu=AMD EPYC",
                "host-kernel=6.12.30",
                "host-microcode=0x1",
            ]
        );
    }

    #[test]
    fn a_difference_is_told_in_words() {
        let (mut a, mut b) = (facts(), facts());
        b.insert("microcode".to_owned(), "0x2".to_owned());
        a.insert("accelerator".to_owned(), "kvm".to_owned());
        b.remove("memory");
        assert_eq!(
            difference(&a, &b),
            [
                "accelerator was `kvm` and is not known now",
                "memory was `1 kB` and is not known now",
                "microcode was `0x1` and is `0x2`",
            ]
        );
    }

    #[test]
    fn the_fingerprint_of_an_instrument_never_changes() {
        // Written down: stored runs carry it. A change here is a change of the schema.
        let one = [("cpu".to_owned(), "AMD EPYC".to_owned())].into();
        assert_eq!(fingerprint(&one), FINGERPRINT_OF_ONE);
    }

    const FINGERPRINT_OF_ONE: &str = "e46d79eed01fa5ce";

    prop_compose! {
        fn any_facts()(facts in proptest::collection::btree_map("[a-z0-9:=\n]{0,4}", "[a-z0-9:=\n]{0,4}", 0..6))
            -> BTreeMap<String, String> { facts }
    }

    proptest! {
        #[test]
        fn equal_instruments_and_only_those_have_equal_fingerprints(a in any_facts(), b in any_facts()) {
            prop_assert_eq!(fingerprint(&a) == fingerprint(&b), a == b);
            prop_assert_eq!(difference(&a, &b).is_empty(), a == b);
        }

        #[test]
        fn the_order_in_which_facts_are_found_does_not_matter(
            facts in proptest::collection::vec(("[a-z]{1,3}", "[a-z]{0,3}"), 0..8)
        ) {
            let unique: BTreeMap<String, String> = facts.iter().cloned().collect();
            let backwards: BTreeMap<String, String> =
                unique.clone().into_iter().rev().collect();
            prop_assert_eq!(fingerprint(&unique), fingerprint(&backwards));
        }

        #[test]
        fn facts_that_are_not_the_instrument_never_count(memory in "[a-z]{1,9}", line in "[a-z]{1,9}") {
            let cell = cell("running", "docker");
            let mut other = facts();
            other.insert("memory".to_owned(), memory);
            other.insert("command-line".to_owned(), format!("root={line} isolcpus=1 BOOT_IMAGE={line}"));
            prop_assert_eq!(
                fingerprint(&instrument(&cell, &facts(), None, None)),
                fingerprint(&instrument(&cell, &other, None, None))
            );
        }

        #[test]
        fn every_fact_of_the_machine_counts(at in 0..MACHINE.len(), value in "[a-z]{1,9}") {
            let cell = cell("debian-rt", "docker");
            let mut other = facts();
            other.insert(MACHINE[at].to_owned(), format!("other {value}"));
            prop_assert_ne!(
                fingerprint(&instrument(&cell, &facts(), None, None)),
                fingerprint(&instrument(&cell, &other, None, None))
            );
        }
    }
}
