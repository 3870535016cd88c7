//! An overlay between two hosts, as container clusters have one: the peer's host and the system's host are namespaces that a pair of virtual links
//! joins, and what the ends send each other travels in UDP between them (RFC 7348). The system under test is at a bridge of its host.

use evenkeel_agent::step::{Act, Arg, LinkKey, Object, Phase, Query, Step};

use super::{Network, bridge, forwards, hop};
use crate::axis::{Hop, INSIDE, Kind, Port, Site, end_is, link, make, make_link, make_pair, steps};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Vxlan;

/// The overlay's number, and the UDP port that is assigned to it (RFC 7348).
const WORDS: [&str; 6] = ["type", "vxlan", "id", "42", "dstport", "4789"];

/// The MTU of the overlay is that of every other path; the links below carry its headers as well, as those of data centres do.
const MTU: &str = "1500";
const MTU_BELOW: &str = "1600";

impl Kind for Vxlan {
    fn name(&self) -> &'static str {
        "vxlan"
    }

    fn about(&self) -> &'static str {
        "an overlay of two hosts: what is sent travels in UDP between them, to a bridge that the system under test is at"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Ip, NeedName::Veth, NeedName::Bridge, NeedName::Vxlan]
    }
}

impl Network for Vxlan {
    fn ports(&self) -> &'static [Port] {
        &[Port::Netdev, Port::Tap]
    }

    fn steps(&self, site: &Site, port: Port) -> Vec<Step> {
        let names = &site.names;
        let (bridge, sut_port) = (names.bridge(), names.sut_port());
        let (peer, path, sut) = (names.peer_netns(), names.path_netns(), names.sut_netns());
        let (below, above) = (names.peer_port(), names.overlay());
        let mut prepare = vec![
            make(Object::Netns(path.clone()), &[]),
            make_link(
                &path,
                &below,
                &[
                    "mtu", MTU_BELOW, "type", "veth", "peer", "name", &below, "mtu", MTU_BELOW,
                    "netns", &peer,
                ],
            ),
        ];
        let ends = [(&path, site.addresses.outside()), (&peer, site.addresses.peer_outside())];
        for (host, address) in ends {
            let address = site.addresses.with_prefix(address);
            prepare.push(link(host, &below, LinkKey::Address, &address));
            prepare.push(link(host, &below, LinkKey::State, "up"));
        }
        let [(_, ours), (_, theirs)] = ends.map(|(host, address)| (host, address.to_string()));
        prepare.push(tunnel(&peer, INSIDE, &below, &theirs, &ours));
        prepare.extend(end_is(&site.addresses, &peer, site.addresses.peer()));
        prepare.push(make_link(&path, &bridge, &["type", "bridge"]));
        prepare.push(link(&path, &bridge, LinkKey::State, "up"));
        prepare.push(tunnel(&path, &above, &below, &ours, &theirs));
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
            hop("link below the overlay, at the peer's host", &peer, &names.peer_port()),
            hop("link below the overlay, at the system's host", &path, &names.peer_port()),
            hop("overlay's port of the bridge", &path, &names.overlay()),
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

/// One end of the overlay.
fn tunnel(host: &str, name: &str, below: &str, from: &str, to: &str) -> Act<Arg> {
    let ends = ["local", from, "remote", to, "dev", below];
    make_link(host, name, &[&["mtu", MTU][..], &WORDS, &ends].concat())
}
