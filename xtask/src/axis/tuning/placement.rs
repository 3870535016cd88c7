//! Where the threads of the system under test run.

use evenkeel_agent::step::{Act, Phase, Role, Setting, Slot};
use evenkeel_agent::threads;

use super::{Knob, Probe, Turned};
use crate::axis::virtualization::SUT;
use crate::axis::{Site, steps};
use crate::doctor::NeedName;

/// The knob.
#[derive(Debug)]
pub(super) struct PlacementKnob;

impl Knob for PlacementKnob {
    fn name(&self) -> &'static str {
        "placement"
    }

    fn about(&self) -> &'static str {
        "CPUs of the system under test's threads: `auto` takes all but housekeeping and the peer's"
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[]
    }

    fn turn(&self, want: &str, site: &Site, roles: &[Role]) -> anyhow::Result<Turned> {
        anyhow::ensure!(want == "auto", "`{want}` is not a placement: the only value is `auto`");
        let cpus = threads::list(&site.placement.isolated);
        let slots = || roles.iter().map(|role| Slot::Threads(SUT, *role));
        let acts = slots().map(|slot| Act::Put {
            on: Setting::Affinity(slot.into()),
            value: cpus.as_str().into(),
        });
        Ok(Turned {
            knob: self.name().to_owned(),
            requested: want.to_owned(),
            applied: format!("CPUs {cpus}"),
            probes: slots().map(|slot| (Probe::Affinity(slot), cpus.clone())).collect(),
            partial: site.placement.partial.clone(),
            steps: steps(Phase::Place, acts),
        })
    }
}
