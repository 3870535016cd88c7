//! The loopback of the namespace that both ends are in: what the kernel's stack takes by itself, without a link. It is not the host's
//! loopback, so neither the host's rules nor others' packets are on it.

use evenkeel_agent::step::{LinkKey, Phase, Query, Step};

use super::{Network, forwards, hop};
use crate::axis::{Hop, Kind, Port, Site, link, steps};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Loopback;

/// The link's name, in every namespace.
const LINK: &str = "lo";

impl Kind for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn about(&self) -> &'static str {
        "the loopback of one namespace that peer and system under test share: no link at all"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Ip]
    }
}

impl Network for Loopback {
    fn ports(&self) -> &'static [Port] {
        &[Port::Shared]
    }

    fn steps(&self, site: &Site, _port: Port) -> Vec<Step> {
        let shared = site.names.peer_netns();
        let address = site.addresses.with_prefix(site.addresses.sut());
        let made = [
            link(&shared, LINK, LinkKey::Address, &address),
            link(&shared, LINK, LinkKey::State, "up"),
        ];
        let mut all = steps(Phase::Prepare, made);
        all.extend(steps(Phase::Go, [forwards(&shared, LINK, Query::AddressesReady)]));
        all
    }

    fn hops(&self, site: &Site, _port: Port) -> Vec<Hop> {
        vec![hop("loopback of both ends", &site.names.peer_netns(), LINK)]
    }

    fn engine_words(&self, _site: &Site) -> Vec<String> {
        Vec::new()
    }
}
