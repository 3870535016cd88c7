//! Settings of the boot's own links. They go with the links, so they need no undo; they are read back like all others.

use evenkeel_agent::step::{Act, Phase, Setting};

use super::{Knob, Probe, Target, Turned};
use crate::axis::steps;
use crate::doctor::NeedName;

/// A knob of every link that the boot made and that packets cross.
#[derive(Debug)]
pub(super) struct LinkKnob {
    name: &'static str,
    about: &'static str,
    /// Below the link's folder.
    file: &'static str,
    /// Whether it takes CPUs; else `on` and `off`.
    of_cpus: bool,
}

/// Receive packet steering.
pub(super) const RPS: LinkKnob = LinkKnob {
    name: "rps-cpus",
    about: "CPUs that packets received on the boot's own links are handled on (receive packet steering)",
    file: "queues/rx-0/rps_cpus",
    of_cpus: true,
};

/// Threads that poll.
pub(super) const NAPI: LinkKnob = LinkKnob {
    name: "napi-threads",
    about: "whether the boot's own links are polled by threads instead of software interrupts",
    file: "threaded",
    of_cpus: false,
};

impl Knob for LinkKnob {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn values(&self) -> String {
        if self.of_cpus { "housekeeping, isolated, or CPUs such as 0,2-3" } else { "on, off" }
            .to_owned()
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[NeedName::Root]
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        match self.of_cpus {
            true => super::rows::cpus(want, None).map(|_| ()),
            false => {
                anyhow::ensure!(["on", "off"].contains(&want), "`{want}` is none of `on`, `off`");
                Ok(())
            }
        }
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        self.check(want)?;
        let value = match (self.of_cpus, want) {
            (true, _) => {
                let on = Some((&to.site.placement, to.site.cpus.as_slice()));
                super::rows::mask(&super::rows::cpus(want, on)?)
            }
            (false, "on") => "1".to_owned(),
            (false, _) => "0".to_owned(),
        };
        let path = |link: &str| format!("/sys/class/net/{link}/{}", self.file);
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
            ..Turned::new(self.name, want)
        })
    }
}
