//! A process beside its client, with nothing of its own: the floor that every isolation stands on.

use evenkeel_agent::step::{Phase, Role, Step};

use super::{NAME, SUT, Virtualization, hello, learn_server};
use crate::axis::{Kind, Port, Site, network::Network, peer, steps};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Host;

impl Kind for Host {
    fn name(&self) -> &'static str {
        "host"
    }

    fn about(&self) -> &'static str {
        "a process of the host beside its client, in the network namespace that the client is in: the floor"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Namespaces, NeedName::Ip]
    }
}

impl Virtualization for Host {
    fn ports(&self) -> &'static [Port] {
        &[Port::Shared]
    }

    fn roles(&self) -> &'static [Role] {
        &[Role::Server]
    }

    fn has_own_root(&self) -> bool {
        false
    }

    fn steps(&self, site: &Site, _port: Port, _network: &dyn Network) -> Vec<Step> {
        let beside = peer::start_agent(site, NAME, SUT, &site.names.peer_netns());
        let mut all = steps(Phase::Hold, [beside]);
        all.extend(steps(Phase::Place, [hello(), learn_server()]));
        all
    }
}
