//! A link between two hosts, and one on it that the ends speak over: the peer's host and the system's host are namespaces that a pair of virtual
//! links joins. As an overlay, as clusters of containers have one, what the ends send travels in UDP between them (RFC 7348); as a VLAN, it is
//! tagged (IEEE 802.1Q). The system under test is at a bridge of its host.

use std::net::IpAddr;

use evenkeel_agent::step::{Act, Arg, LinkKey, Object, Phase, Query, Step};

use super::{Network, bridge, forwards, hop};
use crate::axis::{Hop, INSIDE, Kind, Port, Site, end_is, link, make, make_link, make_pair, steps};
use crate::doctor::NeedName;

/// What the ends speak over.
#[derive(Debug)]
pub enum Above {
    /// An overlay.
    Vxlan,
    /// A VLAN on a trunk.
    Vlan,
}

/// The number of the overlay or VLAN.
const ID: &str = "42";

/// The UDP port that is assigned to overlays (RFC 7348).
const UDP: &str = "4789";

/// The MTU of an overlay is that of every other path; the links below carry its headers as well, as those of data centres do.
const MTU: &str = "1500";
const MTU_BELOW: &str = "1600";

impl Kind for Above {
    fn name(&self) -> &'static str {
        match self {
            Above::Vxlan => "vxlan",
            Above::Vlan => "vlan",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Above::Vxlan => {
                "an overlay of two hosts: what is sent travels in UDP between them, to a bridge that the system under test is at"
            }
            Above::Vlan => {
                "a VLAN on a trunk between two hosts: what is sent is tagged, up to a bridge that the system under test is at"
            }
        }
    }

    fn needs(&self) -> &'static [NeedName] {
        match self {
            Above::Vxlan => &[NeedName::Ip, NeedName::Veth, NeedName::Bridge, NeedName::Vxlan],
            Above::Vlan => &[NeedName::Ip, NeedName::Veth, NeedName::Bridge, NeedName::Vlan],
        }
    }
}

impl Network for Above {
    fn ports(&self) -> &'static [Port] {
        &[Port::Netdev, Port::Tap]
    }

    fn steps(&self, site: &Site, port: Port) -> Vec<Step> {
        let names = &site.names;
        let (bridge, sut_port, above) = (names.bridge(), names.sut_port(), names.trunk_port());
        let (peer, path, sut) = (names.peer_netns(), names.path_netns(), names.sut_netns());
        let mut prepare = vec![make(Object::Netns(path.clone()), &[])];
        prepare.extend(self.below(site));
        prepare.push(self.end(site, &peer, INSIDE));
        prepare.extend(end_is(&site.addresses, &peer, site.addresses.peer()));
        prepare.push(make_link(&path, &bridge, &["type", "bridge"]));
        prepare.push(link(&path, &bridge, LinkKey::State, "up"));
        prepare.push(self.end(site, &path, &above));
        prepare.extend(bridge::port_of(&path, &bridge, &above));
        if port == Port::Tap {
            prepare.push(make_link(&path, &sut_port, &["tap"]));
            prepare.extend(bridge::port_of(&path, &bridge, &sut_port));
        }
        let mut all = steps(Phase::Prepare, prepare);
        if port == Port::Netdev {
            let mut attach = vec![make_pair((&path, &sut_port), (&sut, INSIDE))];
            attach.extend(bridge::port_of(&path, &bridge, &sut_port));
            attach.extend(end_is(&site.addresses, &sut, site.addresses.sut()));
            all.extend(steps(Phase::Attach, attach));
        }
        let ready = [&above, &sut_port].map(|port| forwards(&path, port, Query::LinkForwards));
        all.extend(steps(Phase::Go, ready));
        all
    }

    fn hops(&self, site: &Site, port: Port) -> Vec<Hop> {
        let names = &site.names;
        let (peer, path) = (names.peer_netns(), names.path_netns());
        let mut hops = vec![
            hop("peer's link", &peer, INSIDE),
            hop("trunk at the peer's host", &peer, &names.peer_port()),
            hop("trunk at the system's host", &path, &names.peer_port()),
            hop("trunk's port of the bridge", &path, &names.trunk_port()),
            hop("system's port of the bridge", &path, &names.sut_port()),
        ];
        if port != Port::Tap {
            hops.push(hop("system's link", &names.sut_netns(), INSIDE));
        }
        hops
    }

    fn engine_words(&self, _site: &Site) -> Vec<String> {
        Vec::new()
    }
}

impl Above {
    /// What joins the two hosts: one link at each.
    fn below(&self, site: &Site) -> Vec<Act<Arg>> {
        let (peer, path) = (site.names.peer_netns(), site.names.path_netns());
        let below = site.names.peer_port();
        let ours = ["mtu", MTU_BELOW, "type", "veth", "peer", "name", &below];
        let theirs = ["mtu", MTU_BELOW, "netns", &peer];
        let mut all = vec![make_link(&path, &below, &[&ours[..], &theirs].concat())];
        for host in [&path, &peer] {
            if let Above::Vxlan = self {
                let address = site.addresses.with_prefix(below_address(site, host));
                all.push(link(host, &below, LinkKey::Address, &address));
            }
            all.push(link(host, &below, LinkKey::State, "up"));
        }
        all
    }

    /// The link that one of the hosts has on it.
    fn end(&self, site: &Site, host: &str, name: &str) -> Act<Arg> {
        let below = site.names.peer_port();
        let (peer, path) = (site.names.peer_netns(), site.names.path_netns());
        let other = if host == path { &peer } else { &path };
        let [local, remote] = [host, other].map(|host| below_address(site, host).to_string());
        let words: &[&str] = match self {
            Above::Vxlan => &[
                "mtu", MTU, "type", "vxlan", "id", ID, "dstport", UDP, "local", &local, "remote",
                &remote, "dev", &below,
            ],
            Above::Vlan => &["link", &below, "mtu", MTU, "type", "vlan", "id", ID],
        };
        make_link(host, name, words)
    }
}

/// A host's address on the link between both.
fn below_address(site: &Site, host: &str) -> IpAddr {
    match host == site.names.path_netns() {
        true => site.addresses.outside(),
        false => site.addresses.peer_outside(),
    }
}
