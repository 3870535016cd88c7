//! A Linux bridge between peer and system under test: ours, or for a container engine one made by the engine's own driver, with its
//! default rules in the path.

use evenkeel_agent::step::{Act, Arg, LinkKey, Object, Phase, Query, Setting, Step};

use super::{Network, forwards, hop};
use crate::axis::{Hop, INSIDE, Kind, Port, Site, end_is, link, make, make_link, make_pair, steps};
use crate::doctor::NeedName;
use crate::matrix::Family;

/// The kind.
#[derive(Debug)]
pub struct Bridge;

impl Kind for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn about(&self) -> &'static str {
        "a Linux bridge; for Docker the engine's own bridge driver with its default rules in the path"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Ip, NeedName::Veth, NeedName::Bridge]
    }
}

impl Network for Bridge {
    fn ports(&self) -> &'static [Port] {
        &[Port::Engine, Port::Netdev, Port::Tap]
    }

    fn steps(&self, site: &Site, port: Port) -> Vec<Step> {
        let names = &site.names;
        let (bridge, peer, peer_port) = (names.bridge(), names.peer_netns(), names.peer_port());
        let (path, sut, sut_port) = (names.path_netns(), names.sut_netns(), names.sut_port());
        // The engine's bridge is in the host's namespace, ours in one of its own.
        let place = if port == Port::Engine { "" } else { path.as_str() };
        let mut prepare = match port {
            Port::Engine => engine_network(site),
            Port::Netdev | Port::Tap | Port::Shared | Port::User => vec![
                make(Object::Netns(path.clone()), &[]),
                make_link(&path, &bridge, &["type", "bridge"]),
                link(&path, &bridge, LinkKey::State, "up"),
            ],
        };
        prepare.push(make_pair((place, &peer_port), (&peer, INSIDE)));
        prepare.extend(port_of(place, &bridge, &peer_port));
        prepare.extend(end_is(&site.addresses, &peer, site.addresses.peer()));
        if port == Port::Tap {
            prepare.push(make_link(&path, &sut_port, &["tap"]));
            prepare.extend(port_of(&path, &bridge, &sut_port));
        }
        let mut all = steps(Phase::Prepare, prepare);
        if port == Port::Netdev {
            let mut attach = vec![make_pair((&path, &sut_port), (&sut, INSIDE))];
            attach.extend(port_of(&path, &bridge, &sut_port));
            attach.extend(end_is(&site.addresses, &sut, site.addresses.sut()));
            all.extend(steps(Phase::Attach, attach));
        }
        all.extend(steps(Phase::Go, [forwards(place, &peer_port, Query::LinkForwards)]));
        if port != Port::Engine {
            all.extend(steps(Phase::Go, [forwards(&path, &sut_port, Query::LinkForwards)]));
        }
        all
    }

    fn hops(&self, site: &Site, port: Port) -> Vec<Hop> {
        let names = &site.names;
        let (peer_port, path, sut_port) = (names.peer_port(), names.path_netns(), names.sut_port());
        let mut hops = vec![hop("peer's link", &names.peer_netns(), INSIDE)];
        match port {
            Port::Engine => {
                hops.push(hop("peer's port of the engine's bridge", "", &peer_port));
                hops.push(Hop::OtherPort {
                    what: "container's port of the engine's bridge".to_owned(),
                    bridge: names.bridge(),
                    ours: peer_port,
                });
            }
            Port::Netdev | Port::Tap | Port::Shared | Port::User => {
                hops.push(hop("peer's port of the bridge", &path, &peer_port));
                hops.push(hop("system's port of the bridge", &path, &sut_port));
            }
        }
        if port != Port::Tap {
            hops.push(hop("system's link", &names.sut_netns(), INSIDE));
        }
        hops
    }

    fn engine_words(&self, site: &Site) -> Vec<String> {
        engine_words(site)
    }
}

/// Words that attach a container to the boot's engine network under its fixed address.
pub(super) fn engine_words(site: &Site) -> Vec<String> {
    let option = match site.addresses.family {
        Family::Ipv4 => "--ip",
        Family::Ipv6 => "--ip6",
    };
    vec![
        "--network".to_owned(),
        site.names.network(),
        option.to_owned(),
        site.addresses.sut().to_string(),
    ]
}

/// A network of the engine's bridge driver. For IPv6 the driver makes the whole host a router and leaves it one, so we do that
/// ourselves before: what we change is changed back.
pub(super) fn engine_network(site: &Site) -> Vec<Act<Arg>> {
    let bridge = format!("com.docker.network.bridge.name={}", site.names.bridge());
    let mut all = Vec::new();
    if site.addresses.family == Family::Ipv6 {
        let routes = |of: &str| Act::Put {
            on: Setting::File(format!("/proc/sys/net/ipv6/conf/{of}/forwarding").into()),
            value: "1".into(),
        };
        all.extend(["default", "all"].map(routes));
    }
    all.push(network_of(site, "bridge", &bridge));
    all
}

/// A network of one of the engine's drivers, with the option that names its link.
pub(super) fn network_of(site: &Site, driver: &str, option: &str) -> Act<Arg> {
    let names = &site.names;
    let label = format!("evenkeel={}", names.tag());
    let (subnet, gateway) = (site.addresses.subnet(), site.addresses.gateway().to_string());
    // Drivers want an IPv4 network in any case; without a given one they take one that a user may have planned for.
    let four = crate::axis::Addresses { family: Family::Ipv4, ..site.addresses };
    let four = (four.subnet(), four.gateway().to_string());
    let mut with = vec!["--driver", driver, "--label", &label, "--opt", option];
    with.extend(["--subnet", &subnet, "--gateway", &gateway]);
    if site.addresses.family == Family::Ipv6 {
        with.extend(["--ipv6", "--subnet", &four.0, "--gateway", &four.1]);
    }
    make(Object::DockerNetwork(names.network()), &with)
}

/// Makes a link a port of the bridge and brings it up.
pub(super) fn port_of(netns: &str, bridge: &str, port: &str) -> [Act<Arg>; 2] {
    [link(netns, port, LinkKey::Master, bridge), link(netns, port, LinkKey::State, "up")]
}
