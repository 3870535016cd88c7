//! A link on a parent, as containers get one on a network card of their host: what arrives at the parent is handed to the link without a bridge, by
//! its hardware address (macvlan) or by its address (ipvlan). In place of the card and its wire stands a pair of virtual links whose other end
//! is the peer's.

use evenkeel_agent::step::{LinkKey, Object, Phase, Query, Step};

use super::{Network, bridge, forwards, hop};
use crate::axis::{
    Hop, INSIDE, Kind, Port, Site, end_is, link, make, make_link_above, make_pair, steps,
};
use crate::doctor::NeedName;

/// A kind of link on a parent.
#[derive(Debug)]
pub struct OnParent {
    /// Its name, to the kernel and to a container engine as well.
    name: &'static str,
    about: &'static str,
    needs: &'static [NeedName],
    /// How it shares its parent with others: what engines do by themselves.
    mode: &'static str,
    has_own_mac: bool,
}

/// By hardware address.
pub const MACVLAN: OnParent = OnParent {
    name: "macvlan",
    about: "a macvlan link in bridge mode on a parent that the peer is wired to; for Docker one of the engine's macvlan driver",
    needs: &[NeedName::Ip, NeedName::Veth, NeedName::Macvlan],
    mode: "bridge",
    has_own_mac: true,
};

/// By address.
pub const IPVLAN: OnParent = OnParent {
    name: "ipvlan",
    about: "an ipvlan link in L2 mode on a parent that the peer is wired to; for Docker one of the engine's ipvlan driver",
    needs: &[NeedName::Ip, NeedName::Veth, NeedName::Ipvlan],
    mode: "l2",
    has_own_mac: false,
};

impl Kind for OnParent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn needs(&self) -> &'static [NeedName] {
        self.needs
    }
}

impl Network for OnParent {
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
            prepare.push(bridge::network_of(site, self.name, &format!("parent={parent}")));
        }
        let mut all = steps(Phase::Prepare, prepare);
        if port != Port::Engine {
            let above = ["type", self.name, "mode", self.mode];
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

    fn has_own_mac(&self) -> bool {
        self.has_own_mac
    }
}

/// The namespace of the parent: an engine looks for it in the host's.
fn place(site: &Site, port: Port) -> String {
    if port == Port::Engine { String::new() } else { site.names.path_netns() }
}
