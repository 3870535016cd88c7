//! Receive packet steering on the boot's own links. It goes with the links, so it needs no undo; it is read back like all others.

use evenkeel_agent::step::{Act, Phase, Setting};

use super::{Knob, Probe, Target, Turned, rows};
use crate::axis::steps;
use crate::doctor::NeedName;

/// The knob.
#[derive(Debug)]
pub(super) struct Steering;

impl Knob for Steering {
    fn name(&self) -> &'static str {
        "rps-cpus"
    }

    fn about(&self) -> &'static str {
        "CPUs that packets received on the boot's own links are handled on (receive packet steering)"
    }

    fn values(&self) -> String {
        rows::CPUS.to_owned()
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[NeedName::Root]
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        rows::cpus(want, None).map(|_| ())
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        let on = Some((&to.site.placement, to.site.cpus.as_slice()));
        let value = rows::mask(&rows::cpus(want, on)?);
        let path = |link: &str| format!("/sys/class/net/{link}/queues/rx-0/rps_cpus");
        let put = |(netns, link): &(String, String)| Act::Put {
            on: Setting::OwnFile { netns: netns.as_str().into(), path: path(link).into() },
            value: value.as_str().into(),
        };
        let probe = |(netns, link): &(String, String)| {
            (Probe::OwnFile { netns: netns.clone(), path: path(link) }, value.clone())
        };
        Ok(Turned {
            applied: format!("{value} on {} links of the boot", to.links.len()),
            probes: to.links.iter().map(probe).collect(),
            steps: steps(Phase::Place, to.links.iter().map(put).collect::<Vec<_>>()),
            ..Turned::new(self.name(), want)
        })
    }
}
