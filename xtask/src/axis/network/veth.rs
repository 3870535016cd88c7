//! A pair of virtual links from peer to system under test: nothing in between.

use evenkeel_agent::step::{Phase, Query, Step};

use super::{Network, hop};
use crate::axis::{Hop, INSIDE, Kind, Port, Site, end_is, make_pair, steps};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Veth;

impl Kind for Veth {
    fn name(&self) -> &'static str {
        "veth"
    }

    fn about(&self) -> &'static str {
        "a pair of virtual links between peer and system under test, with nothing in between"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Ip, NeedName::Veth]
    }
}

impl Network for Veth {
    fn ports(&self) -> &'static [Port] {
        &[Port::Netdev]
    }

    fn steps(&self, site: &Site, _port: Port) -> Vec<Step> {
        let (peer, sut) = (site.names.peer_netns(), site.names.sut_netns());
        let mut all = steps(Phase::Attach, [make_pair((&peer, INSIDE), (&sut, INSIDE))]);
        all.extend(steps(Phase::Attach, end_is(&site.addresses, &peer, site.addresses.peer())));
        all.extend(steps(Phase::Attach, end_is(&site.addresses, &sut, site.addresses.sut())));
        all.extend(steps(Phase::Go, [super::forwards(&sut, INSIDE, Query::AddressesReady)]));
        all
    }

    fn hops(&self, site: &Site, _port: Port) -> Vec<Hop> {
        vec![
            hop("peer's link", &site.names.peer_netns(), INSIDE),
            hop("system's link", &site.names.sut_netns(), INSIDE),
        ]
    }

    fn engine_words(&self, _site: &Site) -> Vec<String> {
        Vec::new()
    }
}
