//! What else runs on the machine of the system under test.

use std::time::Duration;

use evenkeel_agent::step::{Act, Node, Phase, Query, Slot, Step};

use super::{Kind, Site, steps};
use crate::doctor::NeedName;

/// The agent's name.
pub const NAME: &str = "load";

/// A kind of load.
pub trait Load: Kind {
    /// How its agent is started; it stands still until it is told to begin.
    fn steps(&self, site: &Site) -> Vec<Step>;

    /// The CPUs that it keeps busy; none for a load that does nothing.
    fn cpus(&self, site: &Site) -> Vec<usize>;
}

/// All kinds.
pub const ALL: &[&dyn Load] = &[&Idle, &Noisy];

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

    fn cpus(&self, _site: &Site) -> Vec<usize> {
        Vec::new()
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
        let hello =
            Act::Await { query: Query::Hello(NAME.into()), within: Duration::from_secs(20) };
        let mut all = steps(Phase::Hold, [start]);
        all.extend(steps(Phase::Go, [hello]));
        all
    }

    fn cpus(&self, site: &Site) -> Vec<usize> {
        site.cpus.clone()
    }
}
