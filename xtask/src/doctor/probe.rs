//! The things that kinds need, one row each: a stable name, what it is, and how to look.
//!
//! A probe reads, or asks a program with a deadline; it changes nothing. What a probe makes of what it
//! read is a pure function beside it.

use std::fmt;

use super::kernel::Kernel;
use super::{Finding, Outside};

mod machine;
mod network;
mod software;

use machine::{cgroup, fifo, namespaces, root, two_cpus, user_namespaces};
use network::{device, feature};
use software::{
    docker_engine, docker_nat6, guest_kernels, kvm, netperf, package_sources, program, slirp,
};

/// What probes share, read once a survey.
pub(super) struct Host<'a> {
    outside: &'a Outside<'a>,
    kernel: Kernel,
}

impl<'a> Host<'a> {
    /// This host.
    pub(super) fn new(outside: &'a Outside<'a>) -> Host<'a> {
        Host { outside, kernel: Kernel::running() }
    }
}

/// A need with its name for people and files, and its probe.
struct Need {
    name: NeedName,
    id: &'static str,
    probe: fn(&Host<'_>) -> Finding,
}

/// Declares the names and their table in one place, so that neither can lack a row of the other.
macro_rules! needs {
    ($($(#[$what:meta])+ $name:ident = $id:literal => $probe:expr;)+) => {
        /// Something that kinds of the matrix need of a host.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum NeedName {
            $($(#[$what])+ $name,)+
        }

        /// Every need, in the order in which they are shown.
        const NEEDS: &[Need] = &[$(Need { name: NeedName::$name, id: $id, probe: $probe },)+];
    };
}

needs! {
    /// Root with the capabilities that networks and namespaces take.
    Root = "root" => |_| root();
    /// User namespaces can be made, and a boot can work in them.
    UserNamespaces = "user-namespaces" => user_namespaces;
    /// Networks can be made: by root, or by an ordinary user in namespaces of their own.
    Namespaces = "namespaces" => namespaces;
    /// At least two CPUs: one for the system under test, one for the rest.
    TwoCpus = "two-cpus" => |_| two_cpus(evenkeel_agent::facts::topology().cpus.len());
    /// Realtime (FIFO) scheduling is allowed.
    Fifo = "fifo" => |_| fifo();
    /// Control groups are mounted and can be written.
    Cgroup = "cgroup" => |_| cgroup();
    /// The program `ip`.
    Ip = "ip" => |_| program("ip");
    /// The program `nft`.
    Nft = "nft" => |_| program("nft");
    /// The kernel makes bridges.
    Bridge = "bridge" => |host| feature(&host.kernel, "CONFIG_BRIDGE", "bridge");
    /// The kernel makes pairs of virtual links.
    Veth = "veth" => |host| feature(&host.kernel, "CONFIG_VETH", "veth");
    /// The kernel puts links of their own hardware address on others.
    Macvlan = "macvlan" => |host| feature(&host.kernel, "CONFIG_MACVLAN", "macvlan");
    /// The kernel puts links that share its hardware address on others.
    Ipvlan = "ipvlan" => |host| feature(&host.kernel, "CONFIG_IPVLAN", "ipvlan");
    /// The kernel tags what it sends.
    Vlan = "vlan" => |host| feature(&host.kernel, "CONFIG_VLAN_8021Q", "8021q");
    /// The kernel makes overlays of VXLAN.
    Vxlan = "vxlan" => |host| feature(&host.kernel, "CONFIG_VXLAN", "vxlan");
    /// The programs of Open vSwitch.
    Ovs = "ovs" => |_| program("ovs-vswitchd");
    /// The program `docker`.
    DockerClient = "docker-client" => |_| program("docker");
    /// A Docker engine answers.
    DockerEngine = "docker-engine" => docker_engine;
    /// The Docker engine translates IPv6 addresses for ports that it publishes.
    DockerNat6 = "docker-nat6" => docker_nat6;
    /// The program `runc`.
    Runc = "runc" => |_| program("runc");
    /// The program `podman`.
    Podman = "podman" => |_| program("podman");
    /// The program `systemd-nspawn`.
    Nspawn = "nspawn" => |_| program("systemd-nspawn");
    /// The program `qemu-system-x86_64`.
    Qemu = "qemu" => |_| program("qemu-system-x86_64");
    /// QEMU has a network stack of its own.
    Slirp = "slirp" => |_| slirp();
    /// KVM boots a guest. Where it does not, guests are emulated.
    Kvm = "kvm" => kvm;
    /// Taps for guests.
    Tun = "tun" => |host| device(&host.kernel, "/dev/net/tun", "CONFIG_TUN", "tun");
    /// The kernel's own back end for the network of guests.
    VhostNet = "vhost-net" => |host| device(&host.kernel, "/dev/vhost-net", "CONFIG_VHOST_NET", "vhost_net");
    /// Kernels for guests.
    GuestKernels = "guest-kernels" => guest_kernels;
    /// The programs `netperf` and `netserver`.
    Netperf = "netperf" => |_| netperf();
    /// The program `iperf3`.
    Iperf3 = "iperf3" => |_| program("iperf3");
    /// The program `ping`.
    Ping = "ping" => |_| program("ping");
    /// The package sources offer netperf, which is not in the distribution's free part.
    PackageSources = "package-sources" => |_| package_sources();
}

impl NeedName {
    /// Every need, in the order in which they are shown.
    pub fn all() -> impl Iterator<Item = NeedName> {
        NEEDS.iter().map(|need| need.name)
    }

    /// The stable name: `docker-engine`.
    pub fn id(self) -> &'static str {
        self.row().id
    }

    /// Looks whether this host has it.
    pub(super) fn probe(self, host: &Host<'_>) -> Finding {
        (self.row().probe)(host)
    }

    /// Its row; the macro makes both in the same order.
    fn row(self) -> &'static Need {
        &NEEDS[self as usize]
    }
}

impl fmt::Display for NeedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_stable_words_each_there_once() {
        let ids: BTreeSet<&str> = NeedName::all().map(NeedName::id).collect();
        assert_eq!(ids.len(), NEEDS.len());
        assert!(ids.iter().all(|id| {
            !id.is_empty()
                && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        }));
        assert!(NeedName::all().all(|need| need.row().name == need));
    }
}
