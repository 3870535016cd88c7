//! The processors of a node, and which of them share a core, a package, a memory node: what
//! placement needs to know.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{names, read};
use crate::threads;

/// Online CPUs by number, and how they share hardware. Every list is sorted; the groups of
/// `siblings`, `packages` and `numa` are in the order of their first CPU.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct Topology {
    /// The online CPUs; never empty.
    pub cpus: Vec<usize>,
    /// The CPUs of each physical core.
    pub siblings: Vec<Vec<usize>>,
    /// The CPUs of each socket; empty where the kernel does not tell.
    pub packages: Vec<Vec<usize>>,
    /// The CPUs of each memory node; empty where the kernel knows none.
    pub numa: Vec<Vec<usize>>,
}

impl Topology {
    /// The topology that /sys below `root` tells; without it, each CPU of /proc/cpuinfo is a core
    /// of its own, and without that, there is one.
    pub(super) fn under(root: &Path) -> Topology {
        let cpus = online(root);
        let about = |cpu: usize, what: &str| {
            read(root, &format!("sys/devices/system/cpu/cpu{cpu}/topology/{what}"))
        };
        let siblings = groups(&cpus, |cpu| {
            about(cpu, "thread_siblings_list").unwrap_or_else(|| cpu.to_string())
        });
        let known = cpus.iter().all(|&cpu| about(cpu, "physical_package_id").is_some());
        let packages = match known {
            true => groups(&cpus, |cpu| about(cpu, "physical_package_id").unwrap_or_default()),
            false => Vec::new(),
        };
        let mut numa: Vec<Vec<usize>> = names(root, "sys/devices/system/node")
            .into_iter()
            .filter(|name| name.strip_prefix("node").is_some_and(|n| n.parse::<u32>().is_ok()))
            .filter_map(|name| read(root, &format!("sys/devices/system/node/{name}/cpulist")))
            .filter_map(|list| threads::parse_list(&list).ok())
            .filter(|group| !group.is_empty())
            .collect();
        numa.sort();
        Topology { cpus, siblings, packages, numa }
    }

    /// The CPUs that share a core with this one, itself included; none where it is not online.
    pub fn siblings_of(&self, cpu: usize) -> &[usize] {
        self.siblings.iter().find(|core| core.contains(&cpu)).map_or(&[], Vec::as_slice)
    }

    /// The most CPUs that share a core: 1 without simultaneous multithreading.
    pub fn threads_per_core(&self) -> usize {
        self.siblings.iter().map(Vec::len).max().unwrap_or(1)
    }
}

/// The online CPUs, at least one.
fn online(root: &Path) -> Vec<usize> {
    let listed = read(root, "sys/devices/system/cpu/online")
        .and_then(|list| threads::parse_list(&list).ok());
    let counted = || -> Vec<usize> {
        let cpuinfo = read(root, "proc/cpuinfo").unwrap_or_default();
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.trim() == "processor")
            .filter_map(|(_, number)| number.trim().parse().ok())
            .collect()
    };
    let mut cpus = listed.unwrap_or_else(counted);
    if cpus.is_empty() {
        cpus.push(0);
    }
    cpus
}

/// CPUs with the same key, together.
fn groups(cpus: &[usize], key: impl Fn(usize) -> String) -> Vec<Vec<usize>> {
    let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &cpu in cpus {
        by_key.entry(key(cpu)).or_default().push(cpu);
    }
    let mut groups: Vec<Vec<usize>> = by_key.into_values().collect();
    groups.sort();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of 2 sockets with 2 cores of 2 threads each, numbered as servers number them.
    fn two_sockets() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: String, text: String| {
            let path = dir.path().join("sys/devices/system").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("cpu/online".into(), "0-7\n".into());
        for cpu in 0..8 {
            let core = cpu % 4;
            put(format!("cpu/cpu{cpu}/topology/physical_package_id"), format!("{}\n", core / 2));
            put(
                format!("cpu/cpu{cpu}/topology/thread_siblings_list"),
                format!("{core},{}\n", core + 4),
            );
        }
        put("node/node0/cpulist".into(), "0-1,4-5\n".into());
        put("node/node1/cpulist".into(), "2-3,6-7\n".into());
        put("node/node2/cpulist".into(), "\n".into());
        put("node/possible".into(), "0-2\n".into());
        dir
    }

    #[test]
    fn cores_sockets_and_memory_nodes_are_told_apart() {
        let topology = Topology::under(two_sockets().path());
        assert_eq!(topology.cpus, (0..8).collect::<Vec<_>>());
        assert_eq!(topology.siblings, [[0, 4], [1, 5], [2, 6], [3, 7]]);
        assert_eq!(topology.packages, [[0, 1, 4, 5], [2, 3, 6, 7]]);
        assert_eq!(topology.numa, [[0, 1, 4, 5], [2, 3, 6, 7]]);
        assert_eq!(topology.siblings_of(6), [2, 6]);
        assert!(topology.siblings_of(9).is_empty());
        assert_eq!(topology.threads_per_core(), 2);
    }

    #[test]
    fn without_sysfs_every_cpu_is_a_core() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        std::fs::write(dir.path().join("proc/cpuinfo"), "processor\t: 0\n\nprocessor\t: 1\n")
            .unwrap();
        let topology = Topology::under(dir.path());
        assert_eq!((topology.cpus, topology.siblings), (vec![0, 1], vec![vec![0], vec![1]]));
        assert!(topology.packages.is_empty());
    }
}
