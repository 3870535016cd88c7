//! How packets reach the system under test.
//!
//! What we make ourselves between the two ends lies in a network namespace of its own. So neither the host's firewall nor
//! its sysctls and routes are in the path or changed for it: `bridge-nf-call-iptables` with a FORWARD policy of DROP, which a
//! Docker engine leaves behind, does not touch our bridge. Engines' networks lie in the host's namespace, as they do for users.

use std::net::IpAddr;

use evenkeel_agent::step::{Arg, Query, Step};

use super::{Hop, Kind, Port, Site};
use crate::doctor::NeedName;
use crate::matrix::Family;
use crate::workload::command;

mod above;
mod bridge;
mod loopback;
mod nat;
mod ovs;
mod parent;
mod user;
mod veth;

/// How long a link of ours may take to forward: it takes milliseconds.
const READY: std::time::Duration = std::time::Duration::from_secs(20);

/// Ports of the measuring servers: ours, netperf's control and data, iperf3's, ours for connections of one transaction; those of the user's
/// programs are the next ones. Published over TCP and UDP where the path translates addresses.
pub const PORTS: std::ops::RangeInclusive<u16> = 5200..=5204;

/// [`PORTS`], and one more for each of the user's programs that is measured.
pub fn ports(site: &Site) -> std::ops::RangeInclusive<u16> {
    let commands = site.artifacts.programs.as_ref().map_or(&[][..], |of| &of.commands);
    *PORTS.start()..=PORTS.end() + command::ports(commands)
}

/// What a workload sends, as far as a path may tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// TCP or UDP, to one of [`PORTS`].
    Ports,
    /// ICMP, which has no ports.
    Echoes,
}

/// A kind of network.
pub trait Network: Kind {
    /// What it can attach.
    fn ports(&self) -> &'static [Port];

    /// What a host must have beyond [`Kind::needs`] to attach by this port with this version of IP.
    fn needs_of(&self, _port: Port, _family: Family) -> &'static [NeedName] {
        &[]
    }

    /// Why what is sent does not reach the system under test, where it does not.
    fn stops(&self, _port: Port, _traffic: Traffic, _family: Family) -> Option<&'static str> {
        None
    }

    /// How it is made and attached.
    fn steps(&self, site: &Site, port: Port) -> Vec<Step>;

    /// Counters that every measured packet must move, in order from the peer.
    fn hops(&self, site: &Site, port: Port) -> Vec<Hop>;

    /// Why threads of the path's own run where and as the host lets them, whatever a profile asks, where it has some.
    fn has_untuned_threads(&self) -> Option<&'static str> {
        None
    }

    /// Words for the engine's command line that attach a container.
    fn engine_words(&self, site: &Site) -> Vec<String>;

    /// Whether the system's link has a hardware address that may be set.
    fn has_own_mac(&self) -> bool {
        true
    }

    /// Words for QEMU's option `-netdev`, with the identifier `net0`.
    fn netdev(&self, site: &Site) -> String {
        format!("tap,id=net0,ifname={},script=no,downscript=no", site.names.sut_port())
    }

    /// The address that the client connects to.
    fn target(&self, site: &Site) -> IpAddr {
        site.addresses.sut()
    }

    /// The default gateway of the system under test, where the path is routed.
    fn gateway(&self, _site: &Site) -> Option<IpAddr> {
        None
    }
}

/// All kinds.
pub const ALL: &[&dyn Network] = &[
    &loopback::Loopback,
    &veth::Veth,
    &bridge::Bridge,
    &nat::Nat,
    &parent::MACVLAN,
    &parent::IPVLAN,
    &above::Above::Vxlan,
    &above::Above::Vlan,
    &ovs::Ovs,
    &user::User,
];

/// The kind of this name.
pub fn find(name: &str) -> Option<&'static dyn Network> {
    ALL.iter().copied().find(|kind| kind.name() == name)
}

/// A hop that is a link.
fn hop(what: &str, netns: &str, link: &str) -> Hop {
    Hop::Link { what: what.to_owned(), netns: netns.to_owned(), link: link.to_owned() }
}

/// Waits until a link is as the query asks.
fn forwards(
    netns: &str,
    link: &str,
    query: fn(Arg, Arg) -> Query<Arg>,
) -> evenkeel_agent::step::Act<Arg> {
    use evenkeel_agent::step::Act;
    Act::Await { query: query(netns.into(), link.into()), within: READY }
}
