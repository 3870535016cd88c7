//! What the kernel holds: settings, control groups, mounts.

use std::path::Path;

use evenkeel_agent::machine::cgroup::Hierarchies;

use super::processes::has_tag;
use super::{Inventory, Kind, read};

/// Folders whose files are values that stay until somebody writes them.
const SETTINGS: &[&str] = &[
    "/proc/sys/net",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/sys/kernel/debug/sched",
    "/sys/kernel/mm/transparent_hugepage",
];

/// Values among them that move by themselves.
const MOVING: &[&str] = &[
    "/random/",
    "/kernel/tainted",
    "/ns_last_pid",
    "/pty/nr",
    "/nf_conntrack_count",
    "/perf_event_max_sample_rate",
    "/stat_refresh",
    "/sched/debug",
    "/sched/domains/",
    "/cpuset",
    "/stats/",
    "/khugepaged/full_scans",
    "/khugepaged/pages_collapsed",
];

/// Control groups that the system and engines keep for themselves. Below the first level they and other programs make and remove
/// theirs as they like: there, only those with a tag count.
const OTHERS: &[&str] = &["docker", "init.scope", "machine.slice", "system.slice", "user.slice"];

/// Lists them.
pub(super) fn list(found: &mut Inventory) -> anyhow::Result<()> {
    for folder in SETTINGS {
        for entry in walkdir::WalkDir::new(folder).into_iter().flatten() {
            let path = entry.path().to_string_lossy();
            if !entry.file_type().is_file() || MOVING.iter().any(|part| path.contains(part)) {
                continue;
            }
            // Some can only be written.
            if let Ok(value) = std::fs::read_to_string(entry.path()) {
                found.put(Kind::Setting, path, value.trim());
            }
        }
    }
    for path in crate::axis::tuning::Found::look().all() {
        if let Ok(value) = std::fs::read_to_string(path) {
            found.put(Kind::Setting, path, value.trim());
        }
    }
    let hierarchies = Hierarchies::mounted()?;
    let places = hierarchies.controllers.iter().map(|(_, place)| place).chain(&hierarchies.unified);
    places.for_each(|place| cgroups(found, place));
    for line in read("/proc/self/mountinfo")?.lines() {
        // proc(5): id, parent, device, root, place. The same place may be mounted on more than once: one stroke each.
        if let Some(place) = line.split(' ').nth(4) {
            found.0.entry((Kind::Mount, place.to_owned())).or_default().push('|');
        }
    }
    Ok(())
}

fn cgroups(found: &mut Inventory, place: &Path) {
    let others = |entry: &walkdir::DirEntry| {
        entry.depth() == 1 && OTHERS.contains(&entry.file_name().to_string_lossy().as_ref())
    };
    let walk = walkdir::WalkDir::new(place).into_iter().filter_entry(|entry| !others(entry));
    for entry in walk.flatten().filter(|entry| entry.file_type().is_dir()) {
        if entry.depth() > 1 && !has_tag(&entry.path().to_string_lossy()) {
            continue;
        }
        let read = |name| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let budget =
            format!("{} {}", read("cpu.rt_runtime_us").trim(), read("cpu.rt_period_us").trim());
        found.put(Kind::Cgroup, entry.path().to_string_lossy(), budget.trim());
    }
}
