//! A macvlan link on a parent, as containers get one on a network card of their host: what arrives at the parent is handed to the link by its
//! hardware address, without a bridge. In place of the card and its wire stands a pair of virtual links whose other end is the peer's.

use evenkeel_agent::step::{LinkKey, Object, Phase, Query, Step};

use super::{Network, bridge, forwards, hop};
use crate::axis::{
    Hop, INSIDE, Kind, Port, Site, end_is, link, make, make_link_above, make_pair, steps,
};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Macvlan;

impl Kind for Macvlan {
    fn name(&self) -> &'static str {
        "macvlan"
    }

    fn about(&self) -> &'static str {
        "a macvlan link in bridge mode on a parent that the peer is wired to; for Docker one of the engine's macvlan driver"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Ip, NeedName::Veth, NeedName::Macvlan]
    }
}

impl Network for Macvlan {
    fn ports(&self) -> &'static [Port] {
        &[Port::Engine, Port::Netdev]
    }

    fn steps(&self, site: &Site, port: Port) -> Vec<Step> {
        let names = &site.names;
        let (peer, sut, parent) = (names.peer_netns(), names.sut_netns(), names.peer_port());
        let place = place(site, port);
        let mut prepare = Vec::new();
        if port != Port::Engine {
            prepare.push(make(Object::Netns(place.clone()), &[]));
        }
        prepare.push(make_pair((&place, &parent), (&peer, INSIDE)));
        prepare.push(link(&place, &parent, LinkKey::State, "up"));
        prepare.extend(end_is(&site.addresses, &peer, site.addresses.peer()));
        if port == Port::Engine {
            prepare.push(bridge::network_of(site, "macvlan", &format!("parent={parent}")));
        }
        let mut all = steps(Phase::Prepare, prepare);
        if port != Port::Engine {
            let above = ["type", "macvlan", "mode", "bridge"];
            let made = make_link_above((&place, &parent), (&sut, INSIDE), &above);
            all.extend(steps(Phase::Attach, [made]));
            all.extend(steps(Phase::Attach, end_is(&site.addresses, &sut, site.addresses.sut())));
        }
        all.extend(steps(Phase::Go, [forwards(&sut, INSIDE, Query::AddressesReady)]));
        all
    }

    fn hops(&self, site: &Site, port: Port) -> Vec<Hop> {
        let names = &site.names;
        vec![
            hop("peer's link", &names.peer_netns(), INSIDE),
            hop("parent of the system's link", &place(site, port), &names.peer_port()),
            hop("system's link", &names.sut_netns(), INSIDE),
        ]
    }

    fn engine_words(&self, site: &Site) -> Vec<String> {
        bridge::engine_words(site)
    }
}

/// The namespace of the parent: an engine looks for it in the host's.
fn place(site: &Site, port: Port) -> String {
    if port == Port::Engine { String::new() } else { site.names.path_netns() }
}
