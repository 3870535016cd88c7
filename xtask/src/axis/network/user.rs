//! QEMU's own network stack (libslirp): it ends the peer's connections on the guest's host, and begins others to the guest. No device of the host's
//! is behind the guest's link, and no privilege is needed for it.

use std::net::IpAddr;

use evenkeel_agent::step::{LinkKey, Object, Phase, Query, Step};

use super::{Network, Traffic, forwards, hop, ports};
use crate::axis::{Hop, INSIDE, Kind, Port, Site, end_is, link, make, make_pair, steps};
use crate::doctor::NeedName;
use crate::matrix::Family;

/// The kind.
#[derive(Debug)]
pub struct User;

impl Kind for User {
    fn name(&self) -> &'static str {
        "user"
    }

    fn about(&self) -> &'static str {
        "QEMU's own network stack, which forwards ports of the guest's host to the guest"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Ip, NeedName::Veth, NeedName::Slirp]
    }
}

impl Network for User {
    fn ports(&self) -> &'static [Port] {
        &[Port::User]
    }

    fn stops(&self, _port: Port, traffic: Traffic, family: Family) -> Option<&'static str> {
        match (traffic, family) {
            (Traffic::Echoes, _) => Some("QEMU forwards ports, and an echo has none"),
            (_, Family::Ipv6) => Some("QEMU forwards ports of IPv4 only"),
            (Traffic::Ports, Family::Ipv4) => None,
        }
    }

    fn steps(&self, site: &Site, _port: Port) -> Vec<Step> {
        let names = &site.names;
        let (peer, path, port) = (names.peer_netns(), names.path_netns(), names.peer_port());
        let outside = site.addresses.with_prefix(site.addresses.outside());
        let mut prepare = vec![
            make(Object::Netns(path.clone()), &[]),
            make_pair((&path, &port), (&peer, INSIDE)),
            link(&path, &port, LinkKey::Address, &outside),
            link(&path, &port, LinkKey::State, "up"),
        ];
        prepare.extend(end_is(&site.addresses, &peer, site.addresses.peer_outside()));
        let mut all = steps(Phase::Prepare, prepare);
        all.extend(steps(Phase::Go, [forwards(&path, &port, Query::AddressesReady)]));
        all
    }

    fn hops(&self, site: &Site, _port: Port) -> Vec<Hop> {
        let names = &site.names;
        vec![
            hop("peer's link", &names.peer_netns(), INSIDE),
            hop("link of the guest's host", &names.path_netns(), &names.peer_port()),
        ]
    }

    fn engine_words(&self, _site: &Site) -> Vec<String> {
        Vec::new()
    }

    fn netdev(&self, site: &Site) -> String {
        let (outside, sut) = (site.addresses.outside(), site.addresses.sut());
        let (subnet, gateway) = (site.addresses.subnet(), site.addresses.gateway());
        let mut words = format!("user,id=net0,ipv6=off,net={subnet},host={gateway}");
        for protocol in ["tcp", "udp"] {
            for port in ports(site) {
                words += &format!(",hostfwd={protocol}:{outside}:{port}-{sut}:{port}");
            }
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
