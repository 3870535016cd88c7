//! What else runs on the machine of the system under test.

use std::time::Duration;

use evenkeel_agent::step::{Act, Arg, Node, Phase, Query, Setting, Slot, Step};

use serde::{Deserialize, Serialize};

use super::{Kind, Site, peer, steps};
use crate::doctor::NeedName;

/// The agent's name.
pub const NAME: &str = "load";

/// A kind of load.
pub trait Load: Kind {
    /// How its agent is started; it stands still until it is told to begin.
    fn steps(&self, site: &Site) -> Vec<Step>;

    /// What its agent is told to do.
    fn recipe(&self, site: &Site) -> Recipe;
}

/// What the agent of a load does.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// Nothing: there is no agent.
    Nothing,
    /// Keeps these CPUs busy.
    Cpus(Vec<usize>),
    /// Sends to the system under test what it can.
    Flow,
}

/// All kinds.
pub const ALL: &[&dyn Load] = &[&Idle, &Noisy, &Netload];

/// The kind of this name.
pub fn find(name: &str) -> Option<&'static dyn Load> {
    ALL.iter().copied().find(|kind| kind.name() == name)
}

/// Nothing else.
#[derive(Debug)]
pub struct Idle;

impl Kind for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn about(&self) -> &'static str {
        "nothing but the system under test and its peer"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[]
    }
}

impl Load for Idle {
    fn steps(&self, _site: &Site) -> Vec<Step> {
        Vec::new()
    }

    fn recipe(&self, _site: &Site) -> Recipe {
        Recipe::Nothing
    }
}

/// Noisy neighbours, by a fixed recipe.
#[derive(Debug)]
pub struct Noisy;

impl Kind for Noisy {
    fn name(&self) -> &'static str {
        "noisy"
    }

    fn about(&self) -> &'static str {
        "on every CPU one thread that computes, one that wakes every 100 us, and a pair that switches context"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[]
    }
}

impl Load for Noisy {
    fn steps(&self, site: &Site) -> Vec<Step> {
        let agent = site.artifacts.agent.to_string_lossy();
        let start = Act::Start {
            name: NAME.to_owned(),
            argv: vec![agent.as_ref().into(), "agent".into()],
            gives: Slot::Pid(Node::Load),
            leaves: Vec::new(),
        };
        let mut all = steps(Phase::Prepare, [no_autogroups()]);
        all.extend(steps(Phase::Hold, [start]));
        all.extend(steps(Phase::Go, [hello()]));
        all
    }

    fn recipe(&self, site: &Site) -> Recipe {
        Recipe::Cpus(site.cpus.clone())
    }
}

/// A neighbour on the same path.
#[derive(Debug)]
pub struct Netload;

impl Kind for Netload {
    fn name(&self) -> &'static str {
        "netload"
    }

    fn about(&self) -> &'static str {
        "a bulk TCP flow from the peer to the system under test over the links that are measured; its bytes are in no figure"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[]
    }
}

impl Load for Netload {
    fn steps(&self, site: &Site) -> Vec<Step> {
        let start = peer::start_agent(site, NAME, Node::Load, &site.names.peer_netns());
        let mut all = steps(Phase::Hold, [start]);
        all.extend(steps(Phase::Go, [hello()]));
        all
    }

    fn recipe(&self, _site: &Site) -> Recipe {
        Recipe::Flow
    }
}

/// The neighbours compete as threads, and not as the terminal session or service that the run was started from: the scheduler's
/// autogroups would give whoever shares a group with them another share than whoever does not. Threads that start from now on
/// are in none. A kernel without them has no such file, and an ordinary user leaves it alone.
pub(crate) fn no_autogroups() -> Act<Arg> {
    Act::Put { on: Setting::Asked(AUTOGROUPS.into()), value: "0".into() }
}

/// Whether threads outside of control groups are grouped by session (sched(7)).
const AUTOGROUPS: &str = "/proc/sys/kernel/sched_autogroup_enabled";

/// Waits for the agent's hello.
fn hello() -> Act<Arg> {
    Act::Await { query: Query::Hello(NAME.into()), within: Duration::from_secs(20) }
}
