//! The adjacent host that runs the client: a namespace of its own, placed the same way in every cell.

use std::time::Duration;

use evenkeel_agent::step::{Act, Node, Object, Phase, Query, Role, Setting, Slot, Step};
use evenkeel_agent::threads;

use super::{Powers, Site, make, steps};

/// The agent's name.
pub const NAME: &str = "peer";

/// How long an agent on this host may take to say hello.
const HELLO: Duration = Duration::from_secs(20);

/// The first steps of every boot: its folder, what holds its processes, and the peer.
pub fn steps_of(site: &Site) -> Vec<Step> {
    let names = &site.names;
    let mut first = vec![make(Object::Dir(names.dir()), &[])];
    if site.powers == Powers::Root {
        first.push(make(Object::Cgroup(names.tag().to_owned()), &[]));
    }
    first.push(make(Object::Netns(names.peer_netns()), &[]));
    let mut all = steps(Phase::Prepare, first);
    all.extend(steps(Phase::Hold, [start_agent(site, NAME, Node::Peer, &names.peer_netns())]));
    let slot = Slot::Threads(Node::Peer, Role::Client);
    all.extend(steps(
        Phase::Place,
        [
            Act::Await { query: Query::Hello(NAME.into()), within: HELLO },
            Act::Learn { slot, query: Query::Threads(Slot::Pid(Node::Peer).into()) },
            Act::Put {
                on: Setting::Affinity(slot.into()),
                value: threads::list(&site.placement.peer).into(),
            },
            Act::Put {
                on: Setting::Policy(slot.into()),
                value: site.placement.peer_policy.as_str().into(),
            },
        ],
    ));
    all
}

/// Starts our agent in a namespace.
pub(crate) fn start_agent(
    site: &Site,
    name: &str,
    node: Node,
    netns: &str,
) -> Act<evenkeel_agent::step::Arg> {
    let agent = site.artifacts.agent.to_string_lossy();
    let argv = ["ip", "netns", "exec", netns, &agent, "agent"];
    Act::Start {
        name: name.to_owned(),
        argv: argv.iter().map(|word| (*word).into()).collect(),
        gives: Slot::Pid(node),
        leaves: Vec::new(),
    }
}
