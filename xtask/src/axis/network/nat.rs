//! A router that translates the destination address: the client connects to the router, as it does to a published port of a container.

use std::net::IpAddr;

use evenkeel_agent::step::{Act, Arg, LinkKey, Object, Phase, Query, Setting, Step};

use super::{Network, Traffic, bridge, forwards, hop, ports};
use crate::axis::{Hop, INSIDE, Kind, Port, Site, end_is, link, make, make_link, make_pair, steps};
use crate::doctor::NeedName;
use crate::matrix::Family;

/// The kind.
#[derive(Debug)]
pub struct Nat;

impl Kind for Nat {
    fn name(&self) -> &'static str {
        "nat"
    }

    fn about(&self) -> &'static str {
        "a router that translates the destination address; for Docker the engine's published ports"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Ip, NeedName::Veth, NeedName::Nft]
    }
}

impl Network for Nat {
    fn ports(&self) -> &'static [Port] {
        &[Port::Engine, Port::Netdev, Port::Tap]
    }

    fn needs_of(&self, port: Port, family: Family) -> &'static [NeedName] {
        match (port, family) {
            (Port::Engine, Family::Ipv6) => &[NeedName::DockerNat6],
            _ => &[],
        }
    }

    fn stops(&self, port: Port, traffic: Traffic, _family: Family) -> Option<&'static str> {
        match (port, traffic) {
            (Port::Engine, Traffic::Echoes) => Some(
                "the engine publishes ports, and an echo has none: the host would answer it, not the system under test",
            ),
            _ => None,
        }
    }

    fn steps(&self, site: &Site, port: Port) -> Vec<Step> {
        let names = &site.names;
        let (peer, peer_port) = (names.peer_netns(), names.peer_port());
        let (path, sut, sut_port) = (names.path_netns(), names.sut_netns(), names.sut_port());
        let place = if port == Port::Engine { "" } else { path.as_str() };
        let mut prepare = match port {
            Port::Engine => bridge::engine_network(site),
            Port::Netdev | Port::Tap | Port::Shared | Port::User => {
                vec![make(Object::Netns(path.clone()), &[]), forwarding(site), table(site)]
            }
        };
        prepare.push(make_pair((place, &peer_port), (&peer, INSIDE)));
        prepare.extend(side(site, place, &peer_port, site.addresses.outside()));
        prepare.extend(end_is(&site.addresses, &peer, site.addresses.peer_outside()));
        if port == Port::Tap {
            prepare.push(make_link(&path, &sut_port, &["tap"]));
            prepare.extend(side(site, &path, &sut_port, site.addresses.gateway()));
        }
        let mut all = steps(Phase::Prepare, prepare);
        if port == Port::Netdev {
            let mut attach = vec![make_pair((&path, &sut_port), (&sut, INSIDE))];
            attach.extend(side(site, &path, &sut_port, site.addresses.gateway()));
            attach.extend(end_is(&site.addresses, &sut, site.addresses.sut()));
            let gateway = site.addresses.gateway().to_string();
            attach.push(link(&sut, INSIDE, LinkKey::Gateway, &gateway));
            all.extend(steps(Phase::Attach, attach));
        }
        all.extend(steps(Phase::Go, [forwards(place, &peer_port, Query::AddressesReady)]));
        all
    }

    fn hops(&self, site: &Site, port: Port) -> Vec<Hop> {
        let names = &site.names;
        let (peer_port, path) = (names.peer_port(), names.path_netns());
        let mut hops = vec![hop("peer's link", &names.peer_netns(), INSIDE)];
        match port {
            Port::Engine => {
                hops.push(hop("host's outer link", "", &peer_port));
                hops.push(hop("the engine's bridge", "", &names.bridge()));
            }
            Port::Netdev | Port::Tap | Port::Shared | Port::User => {
                hops.push(hop("router's outer link", &path, &peer_port));
                hops.push(hop("router's inner link", &path, &names.sut_port()));
            }
        }
        if port != Port::Tap {
            hops.push(hop("system's link", &names.sut_netns(), INSIDE));
        }
        hops
    }

    fn engine_words(&self, site: &Site) -> Vec<String> {
        let mut words = bridge::engine_words(site);
        let (first, last) = ports(site).into_inner();
        let outside = match site.addresses.outside() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        for protocol in ["tcp", "udp"] {
            let ports = format!("{outside}:{first}-{last}:{first}-{last}/{protocol}");
            words.extend(["--publish".to_owned(), ports]);
        }
        words
    }

    fn target(&self, site: &Site) -> IpAddr {
        site.addresses.outside()
    }

    fn gateway(&self, site: &Site) -> Option<IpAddr> {
        Some(site.addresses.gateway())
    }
}

/// One side of the router.
fn side(site: &Site, netns: &str, name: &str, address: IpAddr) -> [Act<Arg>; 2] {
    [
        link(netns, name, LinkKey::Address, &site.addresses.with_prefix(address)),
        link(netns, name, LinkKey::State, "up"),
    ]
}

/// Lets our own router forward; the host's setting is another namespace's.
fn forwarding(site: &Site) -> Act<Arg> {
    let path = match site.addresses.family {
        Family::Ipv4 => "/proc/sys/net/ipv4/ip_forward",
        Family::Ipv6 => "/proc/sys/net/ipv6/conf/all/forwarding",
    };
    let netns = site.names.path_netns();
    Act::Put { on: Setting::OwnFile { netns: netns.into(), path: path.into() }, value: "1".into() }
}

/// Translates what arrives at the router's outer side to the system under test.
fn table(site: &Site) -> Act<Arg> {
    let family = match site.addresses.family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    };
    let (outside, sut) = (site.addresses.outside(), site.addresses.sut());
    let rule = format!(
        "chain in {{ type nat hook prerouting priority dstnat; {family} daddr {outside} dnat to {sut}; }}"
    );
    let object = Object::Table {
        netns: site.names.path_netns(),
        name: format!("{family} {}", site.names.tag()),
    };
    make(object, &[&rule])
}
