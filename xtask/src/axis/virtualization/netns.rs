//! A network namespace: the floor that containers stand on.

use evenkeel_agent::step::{Object, Phase, Role, Step};

use super::{NAME, SUT, Virtualization, hello, learn_server};
use crate::axis::{Kind, Port, Site, make, network::Network, peer, steps};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Netns;

impl Kind for Netns {
    fn name(&self) -> &'static str {
        "netns"
    }

    fn about(&self) -> &'static str {
        "a process in a network namespace of its own, and nothing else"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Namespaces, NeedName::Ip, NeedName::Veth]
    }
}

impl Virtualization for Netns {
    fn ports(&self) -> &'static [Port] {
        &[Port::Netdev]
    }

    fn roles(&self) -> &'static [Role] {
        &[Role::Server]
    }

    fn has_own_root(&self) -> bool {
        false
    }

    fn steps(&self, site: &Site, _port: Port, _network: &dyn Network) -> Vec<Step> {
        let netns = site.names.sut_netns();
        let mut all = steps(Phase::Prepare, [make(Object::Netns(netns.clone()), &[])]);
        all.extend(steps(Phase::Hold, [peer::start_agent(site, NAME, SUT, &netns)]));
        all.extend(steps(Phase::Place, [hello(), learn_server()]));
        all
    }
}
