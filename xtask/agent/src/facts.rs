//! What a node is: processor, kernel, mitigations, clocksource, memory.
//!
//! Reads /proc and /sys only and starts nothing, so that it works in a guest whose root holds
//! one file. What cannot be read is an absent fact, never an empty one. Facts that need other
//! programs (versions of tools) belong to the host alone and are found by its doctor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub mod config;
mod cpu;
mod kernel;
mod topology;

use crate::threads;
pub use topology::Topology;

/// Facts by name, as they are stored in records.
pub type Facts = BTreeMap<String, String>;

/// The longest fact, in bytes: a fact comes from outside and ends in reports.
const LONGEST: usize = 1024;

/// The most that is read of any file, in bytes: /proc/cpuinfo of a thousand CPUs fits.
const MOST_READ: u64 = 4 << 20;

/// Facts of the node that this process runs on. Names: `architecture`, `cpu`, `microcode`,
/// `cpus-online` (a list), `packages`, `cores`, `threads-per-core`, `numa-nodes`, `kernel`
/// (`uname -r`), `kernel-version` (`uname -v`), `preemption`, `command-line`, `command-line-unknown` (the words that the kernel
/// said it does not know), `cpus-isolated`, `cpus-nohz-full`,
/// `cpus-without-callbacks` (of RCU, while the kernel remembers having said so), `cpus-of-new-interrupts`, `mitigations`, `clocksource`, `hypervisor`, `memory` (with unit), `cgroup`, `sched-rt-runtime-us`.
pub fn facts() -> Facts {
    let mut facts = facts_under(Path::new("/"));
    facts.insert("architecture".to_owned(), std::env::consts::ARCH.to_owned());
    if let Some(name) = cpu::hypervisor_by_cpuid() {
        facts.insert("hypervisor".to_owned(), name);
    }
    facts
}

/// The processors of the node that this process runs on.
pub fn topology() -> Topology {
    Topology::under(Path::new("/"))
}

/// Identity of the node's boot: changes with every start of its kernel. Absent without /proc.
pub fn boot_id() -> Option<String> {
    read(Path::new("/"), "proc/sys/kernel/random/boot_id")
}

/// Facts that files tell, below a root that holds `proc` and `sys`.
fn facts_under(root: &Path) -> Facts {
    let cpuinfo = read(root, "proc/cpuinfo").unwrap_or_default();
    let command_line = read(root, "proc/cmdline");
    let version = read(root, "proc/sys/kernel/version");
    let topology = Topology::under(root);
    let log = log(root);
    let preemption = kernel::preemption(
        version.as_deref().or(read(root, "proc/version").as_deref()),
        read(root, "sys/kernel/realtime").as_deref(),
        read(root, "sys/kernel/debug/sched/preempt").as_deref(),
        log.as_deref(),
    );
    let known = !topology.packages.is_empty();
    let found = [
        ("cpu", cpu::model(&cpuinfo)),
        ("microcode", cpu::field(&cpuinfo, "microcode").map(str::to_owned)),
        ("cpus-online", Some(threads::list(&topology.cpus))),
        ("packages", known.then(|| topology.packages.len().to_string())),
        ("cores", known.then(|| topology.siblings.len().to_string())),
        ("threads-per-core", known.then(|| topology.threads_per_core().to_string())),
        ("numa-nodes", known.then(|| topology.numa.len().max(1).to_string())),
        ("kernel", read(root, "proc/sys/kernel/osrelease")),
        ("kernel-version", version),
        ("preemption", preemption),
        ("command-line", command_line.as_deref().map(kernel::parameters)),
        ("command-line-unknown", log.as_deref().and_then(kernel::unknown_words)),
        ("cpus-isolated", read(root, "sys/devices/system/cpu/isolated")),
        // Kernels that can, but were not told to, say `(null)`.
        (
            "cpus-nohz-full",
            read(root, "sys/devices/system/cpu/nohz_full").filter(|list| list != "(null)"),
        ),
        ("cpus-without-callbacks", log.as_deref().and_then(kernel::cpus_without_callbacks)),
        (
            "cpus-of-new-interrupts",
            read(root, "proc/irq/default_smp_affinity").and_then(|mask| cpu::of_mask(&mask)),
        ),
        ("mitigations", kernel::mitigations(&vulnerabilities(root))),
        (
            "clocksource",
            read(root, "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        ),
        ("hypervisor", hypervisor(root, &cpuinfo)),
        ("memory", read(root, "proc/meminfo").and_then(|text| kernel::memory(&text))),
        ("cgroup", read(root, "proc/self/mounts").and_then(|text| kernel::cgroup(&text))),
        ("sched-rt-runtime-us", read(root, "proc/sys/kernel/sched_rt_runtime_us")),
    ];
    found
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name.to_owned(), bounded(&value))))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// Name and state of every known weakness of the processor, in the order of their names.
fn vulnerabilities(root: &Path) -> BTreeMap<String, String> {
    let folder = "sys/devices/system/cpu/vulnerabilities";
    names(root, folder)
        .into_iter()
        .filter_map(|name| read(root, &format!("{folder}/{name}")).map(|state| (name, state)))
        .collect()
}

/// The hypervisor by what firmware and kernel say of it, for machines without `cpuid`.
fn hypervisor(root: &Path, cpuinfo: &str) -> Option<String> {
    let firmware = || {
        let vendor = read(root, "sys/class/dmi/id/sys_vendor")?;
        let product = read(root, "sys/class/dmi/id/product_name").unwrap_or_default();
        cpu::hypervisor_by_firmware(&vendor, &product)
    };
    read(root, "sys/hypervisor/type")
        .or_else(|| read(root, "proc/device-tree/hypervisor/compatible"))
        .or_else(firmware)
        .or_else(|| cpu::hypervisor_by_flag(cpuinfo).map(str::to_owned))
}

/// What the kernel has said and still remembers, a record a line; `None` for who may not read it.
fn log(root: &Path) -> Option<String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = root.join("dev/kmsg");
    let mut records = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    let mut text = String::new();
    // Each read gives one record; one that was overwritten meanwhile is EPIPE, and the end is EAGAIN.
    let mut record = [0; 8192];
    loop {
        match records.read(&mut record) {
            Ok(0) => return Some(text),
            Ok(length) => text.push_str(&String::from_utf8_lossy(&record[..length])),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Some(text),
            Err(_) => return None,
        }
        if text.len() as u64 > MOST_READ {
            return Some(text);
        }
    }
}

/// A file's text without white space around it and without NULs; `None` where it is missing,
/// unreadable or empty.
fn read(root: &Path, path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(root.join(path)).ok()?.take(MOST_READ).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The names in a folder; none where it is missing.
fn names(root: &Path, folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// One line of at most [`LONGEST`] bytes, with a sign where something was cut off.
fn bounded(value: &str) -> String {
    let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() <= LONGEST {
        return line;
    }
    let end = (0..=LONGEST - "...".len()).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
    format!("{}...", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A root with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_root_with_nothing_in_it_tells_only_that_one_cpu_runs_us() {
        let facts = facts_under(root(&[]).path());
        assert_eq!(facts, Facts::from([("cpus-online".to_owned(), "0".to_owned())]));
    }

    #[test]
    fn a_guest_tells_what_its_files_tell() {
        let root = root(&[
            (
                "proc/cpuinfo",
                "processor\t: 0\nmodel name\t: QEMU Virtual CPU version 2.5+\nmicrocode\t: 0x1000065\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\n",
            ),
            ("proc/sys/kernel/osrelease", "6.1.0-37-rt-amd64\n"),
            ("proc/sys/kernel/version", "#1 SMP PREEMPT_RT Debian 6.1.140-1 (2025-05-22)\n"),
            ("proc/cmdline", "console=ttyS0 isolcpus=1\n"),
            ("proc/meminfo", "MemTotal:        495680 kB\nMemFree: 1 kB\n"),
            ("proc/self/mounts", "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"),
            ("sys/devices/system/cpu/vulnerabilities/spectre_v2", "Mitigation: Retpolines\n"),
            ("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n"),
        ]);
        let facts = facts_under(root.path());
        let got: Vec<String> =
            facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            got,
            [
                "cgroup: v2",
                "command-line: console=ttyS0 isolcpus=1",
                "cpu: QEMU Virtual CPU version 2.5+",
                "cpus-online: 0-1",
                "hypervisor: some",
                "kernel: 6.1.0-37-rt-amd64",
                "kernel-version: #1 SMP PREEMPT_RT Debian 6.1.140-1 (2025-05-22)",
                "memory: 495680 kB",
                "microcode: 0x1000065",
                "mitigations: spectre_v2=Retpolines",
                "preemption: rt",
            ]
        );
    }

    #[test]
    fn this_machine_has_a_kernel_a_cpu_and_a_boot() {
        let facts = facts();
        assert_eq!(facts["architecture"], std::env::consts::ARCH);
        assert!(facts.contains_key("kernel") && facts.contains_key("cpu"), "{facts:?}");
        assert_eq!(boot_id().map(|id| id.len()), Some(36));
        assert!(facts.values().all(|value| !value.is_empty() && value.len() <= LONGEST));
    }

    proptest! {
        #[test]
        fn a_fact_is_one_short_line(text in "(?s).{0,3000}") {
            let value = bounded(&text);
            prop_assert!(value.len() <= LONGEST);
            prop_assert!(!value.contains('\n'));
            prop_assert_eq!(bounded(&value), value.clone());
        }
    }
}
