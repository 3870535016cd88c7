//! The axes of the matrix: registries of kinds. A kind is data: it returns steps, and one interpreter acts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use evenkeel_agent::step::{Act, Arg, LinkKey, Node, Object, Phase, Setting, Step};
use serde::{Deserialize, Serialize};

use crate::artifact::programs::Programs;
use crate::doctor::NeedName;
use crate::matrix::{Cell, Family};

pub mod kernel;
#[cfg(test)]
mod laws;
pub mod load;
pub mod names;
pub mod network;
pub mod peer;
pub mod placement;
pub mod tuning;
pub mod virtualization;

use names::Names;
use placement::Placement;

/// What every kind tells of itself.
pub trait Kind: Sync {
    /// Its name in a matrix.
    fn name(&self) -> &'static str;

    /// What it is, in a sentence.
    fn about(&self) -> &'static str;

    /// What a host must have for it.
    fn needs(&self) -> &'static [NeedName];
}

/// The seam between virtualization and network: what a system under test can be attached by.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Port {
    /// A link that is moved into a network namespace.
    Netdev,
    /// A network of the container engine's own.
    Engine,
    /// A tap device that a virtual machine opens.
    Tap,
    /// The network namespace that the peer is in.
    Shared,
    /// The network stack of a virtual machine monitor.
    User,
}

impl Port {
    /// The port in words.
    pub fn name(self) -> &'static str {
        match self {
            Port::Netdev => "netdev",
            Port::Engine => "engine",
            Port::Tap => "tap",
            Port::Shared => "shared",
            Port::User => "user",
        }
    }
}

/// The port by which a network attaches a virtualization: the virtualization's first choice that is offered.
pub fn common_port(
    system: &dyn virtualization::Virtualization,
    path: &dyn network::Network,
) -> Option<Port> {
    system.ports().iter().copied().find(|port| path.ports().contains(port))
}

/// With whose powers a boot acts.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Powers {
    /// Root's, on the host itself. A cgroup holds the boot's processes.
    Root,
    /// An ordinary user's, in namespaces made for the boot. They hold its processes, and all that it makes.
    Namespaces,
}

impl std::fmt::Display for Powers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Powers::Root => "root",
            Powers::Namespaces => "an ordinary user, in user namespaces",
        })
    }
}

/// Everything about a boot that is known before it: what kinds make their steps from.
#[derive(Clone, Debug)]
pub struct Site {
    /// The cell.
    pub cell: Cell,
    /// With whose powers it is made.
    pub powers: Powers,
    /// Names of everything that is made.
    pub names: Names,
    /// Addresses of both ends.
    pub addresses: Addresses,
    /// Which threads run where.
    pub placement: Placement,
    /// Files that were made before the first boot.
    pub artifacts: Artifacts,
    /// CPUs of the host that are online.
    pub cpus: Vec<usize>,
    /// The cell's tuning profile.
    pub profile: tuning::Profile,
    /// Whether the kernel accounts realtime by cgroup (version 1 with `RT_GROUP_SCHED`).
    pub realtime_groups: bool,
    /// The fair servers' runtimes, where the kernel has some that can be seen.
    pub fair_servers: Vec<String>,
    /// What this host has of what knobs write.
    pub found: tuning::Found,
}

/// Files and images that boots start from.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    /// The static binary: this program.
    pub agent: PathBuf,
    /// A root file system with the agent and the tools, as a folder.
    pub rootfs: PathBuf,
    /// The image of the Docker engine made from it.
    pub image: String,
    /// The user's programs that are measured, where there are some.
    pub programs: Option<Programs>,
    /// Kernel, initramfs and accelerator of a guest, for guests.
    pub guest: Option<Guest>,
}

/// What a guest boots from.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initramfs with agent, modules and tools.
    pub initramfs: PathBuf,
    /// Additions to the kernel's command line.
    pub cmdline: Vec<String>,
    /// The configuration that came with the kernel.
    pub config: Option<kernel::ConfigFile>,
    /// What executes its instructions.
    pub accelerator: virtualization::accelerator::Accelerator,
    /// How fast the time-stamp counter of an emulated guest counts, in kHz: as that of the host's CPU does.
    pub tsc_khz: Option<u64>,
}

/// Addresses of a boot's two ends, out of a range that is reserved for benchmarks (RFC 2544, RFC 5180).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// IP version of the measured traffic.
    pub family: Family,
    /// Third byte of the first of two neighbouring /24 networks in 198.18.0.0/15.
    pub net: u8,
}

impl Addresses {
    fn of(&self, net: u8, host: u8) -> IpAddr {
        match self.family {
            Family::Ipv4 => Ipv4Addr::new(198, 18, self.net.wrapping_add(net), host).into(),
            Family::Ipv6 => {
                let net = u16::from(self.net.wrapping_add(net));
                Ipv6Addr::new(0x2001, 2, 0, net, 0, 0, 0, host.into()).into()
            }
        }
    }

    /// Prefix length of all networks.
    pub fn prefix(&self) -> u8 {
        match self.family {
            Family::Ipv4 => 24,
            Family::Ipv6 => 64,
        }
    }

    /// The gateway on the system under test's side.
    pub fn gateway(&self) -> IpAddr {
        self.of(0, 1)
    }

    /// The system under test.
    pub fn sut(&self) -> IpAddr {
        self.of(0, 2)
    }

    /// The peer, in the same network.
    pub fn peer(&self) -> IpAddr {
        self.of(0, 3)
    }

    /// The router's address on the peer's side, where the path is routed.
    pub fn outside(&self) -> IpAddr {
        self.of(1, 1)
    }

    /// The peer, where the path is routed.
    pub fn peer_outside(&self) -> IpAddr {
        self.of(1, 3)
    }

    /// An address with its prefix length.
    pub fn with_prefix(&self, address: IpAddr) -> String {
        format!("{address}/{}", self.prefix())
    }

    /// The network on the system under test's side.
    pub fn subnet(&self) -> String {
        self.with_prefix(self.of(0, 0))
    }
}

/// A counter on the way that packets must take: a link, and where it is.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Hop {
    /// A link of a named namespace, or of the host's if the name is empty.
    Link {
        /// What it is, in words without names that change from boot to boot.
        what: String,
        /// The namespace.
        netns: String,
        /// The link.
        link: String,
    },
    /// The one port of a bridge of the host that is not ours: the engine made it.
    OtherPort {
        /// What it is.
        what: String,
        /// The bridge.
        bridge: String,
        /// The port that is ours.
        ours: String,
    },
}

impl Hop {
    /// What it is, in words.
    pub fn what(&self) -> &str {
        match self {
            Hop::Link { what, .. } | Hop::OtherPort { what, .. } => what,
        }
    }
}

/// Steps of one phase on the host, in order.
pub(crate) fn steps(phase: Phase, acts: impl IntoIterator<Item = Act<Arg>>) -> Vec<Step> {
    acts.into_iter().map(|act| Step { at: Node::Host, phase, act }).collect()
}

/// Makes an object.
pub(crate) fn make(object: Object, with: &[&str]) -> Act<Arg> {
    Act::Make { object, with: with.iter().map(|word| Arg::from(*word)).collect() }
}

/// Makes a link in a namespace (the host's if the name is empty).
pub(crate) fn make_link(netns: &str, name: &str, with: &[&str]) -> Act<Arg> {
    make(Object::Link { netns: netns.to_owned(), name: name.to_owned() }, with)
}

/// Makes a pair of links, each in its namespace.
pub(crate) fn make_pair(one: (&str, &str), other: (&str, &str)) -> Act<Arg> {
    let mut with = vec!["type", "veth", "peer", "name", other.1];
    if !other.0.is_empty() {
        with.extend(["netns", other.0]);
    }
    make_link(one.0, one.1, &with)
}

/// Makes a link on top of another one, in a namespace of its own.
pub(crate) fn make_link_above(below: (&str, &str), link: (&str, &str), with: &[&str]) -> Act<Arg> {
    make_link(below.0, link.1, &[&["link", below.1, "netns", link.0], with].concat())
}

/// Sets an attribute of a link.
pub(crate) fn link(netns: &str, link: &str, key: LinkKey, value: &str) -> Act<Arg> {
    let on = Setting::Link { netns: netns.into(), link: link.into(), key };
    Act::Put { on, value: value.into() }
}

/// The name that both ends see their link by.
pub(crate) const INSIDE: &str = "eth0";

/// Gives the link of an end its address and brings it up.
pub(crate) fn end_is(addresses: &Addresses, netns: &str, address: IpAddr) -> [Act<Arg>; 2] {
    [
        link(netns, INSIDE, LinkKey::Address, &addresses.with_prefix(address)),
        link(netns, INSIDE, LinkKey::State, "up"),
    ]
}
