//! The packages that bring the programs that cells use, by the names that distributions give them.

/// A package and the programs for which it is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    /// Its name on Debian and Ubuntu.
    pub(super) name: &'static str,
    /// The programs for which it is wanted. It is wanted only while one of them is missing: another package
    /// (a vendor's Docker) may bring them as well.
    pub(super) programs: &'static [&'static str],
    /// The kinds of cells and the workloads that want it; none where every cell does. A matrix that names none of them does not bring it.
    pub(super) wanted_by: &'static [&'static str],
    /// Whether it lies outside of the distribution's free part.
    pub(super) is_non_free: bool,
    /// Its name on Fedora, openSUSE, Arch and Alpine; nothing where there is none.
    pub(super) elsewhere: [&'static str; 4],
}

/// The kind that wants a Docker engine.
pub(super) const DOCKER: &str = "docker";

/// The kinds that want a machine, and a kernel for it.
pub(super) const GUESTS: &[&str] = &["qemu", "microvm"];

/// All of them.
pub(super) const PACKAGES: &[Package] = &[
    Package {
        name: "iproute2",
        programs: &["ip"],
        wanted_by: &[],
        is_non_free: false,
        elsewhere: ["iproute", "iproute2", "iproute2", "iproute2"],
    },
    Package {
        name: "nftables",
        programs: &["nft"],
        wanted_by: &[],
        is_non_free: false,
        elsewhere: ["nftables"; 4],
    },
    Package {
        name: "runc",
        programs: &["runc"],
        wanted_by: &["runc", "podman"],
        is_non_free: false,
        elsewhere: ["runc"; 4],
    },
    Package {
        name: "docker.io",
        programs: &["docker", "dockerd"],
        wanted_by: &[DOCKER],
        is_non_free: false,
        elsewhere: ["moby-engine", "docker", "docker", "docker"],
    },
    Package {
        name: "podman",
        programs: &["podman"],
        wanted_by: &["podman"],
        is_non_free: false,
        elsewhere: ["podman"; 4],
    },
    Package {
        name: "systemd-container",
        programs: &["systemd-nspawn"],
        wanted_by: &["nspawn"],
        is_non_free: false,
        elsewhere: ["systemd-container", "systemd-container", "systemd", ""],
    },
    Package {
        name: "qemu-system-x86",
        programs: &["qemu-system-x86_64"],
        wanted_by: GUESTS,
        is_non_free: false,
        elsewhere: ["qemu-system-x86", "qemu-x86", "qemu-system-x86", "qemu-system-x86_64"],
    },
    Package {
        name: "openvswitch-switch",
        programs: &["ovs-vswitchd"],
        wanted_by: &["ovs"],
        is_non_free: false,
        elsewhere: ["openvswitch"; 4],
    },
    Package {
        name: "iperf3",
        programs: &["iperf3"],
        wanted_by: &["iperf3-tcp"],
        is_non_free: false,
        elsewhere: ["iperf3", "iperf", "iperf3", "iperf3"],
    },
    Package {
        name: "iputils-ping",
        programs: &["ping"],
        wanted_by: &["ping"],
        is_non_free: false,
        elsewhere: ["iputils", "iputils", "iputils", "iputils-ping"],
    },
    Package {
        name: "netperf",
        programs: &["netperf", "netserver"],
        wanted_by: &[
            "netperf-tcp-rr",
            "netperf-tcp-crr",
            "netperf-tcp-stream",
            "netperf-udp-rr",
            "netperf-udp-stream",
        ],
        is_non_free: true,
        elsewhere: ["netperf"; 4],
    },
];

/// Words of `ID` and `ID_LIKE` of os-release(5), in the order of [`Package::elsewhere`].
const FAMILIES: [&str; 4] = ["fedora", "suse", "arch", "alpine"];

/// The Debian package that brings a program.
pub(in crate::doctor) fn package_of(program: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|package| package.programs.contains(&program)).map(|package| package.name)
}

/// What to install by hand where apt is not there: names of the family that os-release(5) tells, else Debian's.
pub(super) fn by_hand(os_release: &str, wanted: &[&Package]) -> String {
    let words =
        ["ID", "ID_LIKE"].into_iter().filter_map(|key| super::os_release_value(os_release, key));
    let words: Vec<String> =
        words.flat_map(|value| value.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let family = FAMILIES.iter().position(|family| {
        words.iter().any(|word| word == family || word.strip_prefix("open") == Some(family))
    });
    let names: Vec<&str> = wanted
        .iter()
        .map(|package| family.map_or(package.name, |family| package.elsewhere[family]))
        .filter(|name| !name.is_empty())
        .collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_program_comes_from_one_package() {
        let programs: Vec<&str> =
            PACKAGES.iter().flat_map(|package| package.programs).copied().collect();
        assert_eq!(programs.iter().collect::<BTreeSet<_>>().len(), programs.len());
        assert_eq!(package_of("netserver"), Some("netperf"));
        assert_eq!(package_of("nonsense"), None);
    }

    #[test]
    fn other_distributions_get_their_own_names() {
        let wanted: Vec<&Package> =
            PACKAGES.iter().filter(|p| ["iproute2", "docker.io"].contains(&p.name)).collect();
        assert_eq!(
            by_hand("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n", &wanted),
            "iproute moby-engine"
        );
        assert_eq!(
            by_hand("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", &wanted),
            "iproute2 docker"
        );
        assert_eq!(by_hand("ID=void\n", &wanted), "iproute2 docker.io");
    }
}
