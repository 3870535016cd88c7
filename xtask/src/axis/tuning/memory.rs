//! Memory of the system under test: locked, on huge pages, given before the start, from which node. What is done for it is words
//! of the command line that starts the system; what proves it is what the kernel says of its process.

use evenkeel_agent::step::Slot;

use super::{Knob, Lack, Probe, Profile, Target, Turned, Without};
use crate::axis::Site;
use crate::axis::virtualization::{GUEST_MEMORY_MB, SUT};
use crate::doctor::NeedName;

/// A knob of memory.
#[derive(Debug)]
pub(super) struct Memory {
    name: &'static str,
    about: &'static str,
    /// Its value if it takes only one; a list of nodes otherwise.
    only: Option<&'static str>,
    probe: fn() -> (Probe, String),
}

/// Locks memory.
pub(super) const LOCK: Memory = Memory {
    name: "memory-lock",
    about: "QEMU locks all its memory, the guest's included",
    only: Some("on"),
    probe: || (Probe::Locked(Slot::Pid(SUT)), "all".to_owned()),
};

/// Huge pages under a guest.
pub(super) const HUGE: Memory = Memory {
    name: "guest-hugepages",
    about: "the guest's memory lies on huge pages of 2 MiB: `hugepages` must keep enough ready",
    only: Some("on"),
    probe: || (Probe::HugePages(Slot::Pid(SUT)), "some".to_owned()),
};

/// Memory before the start.
pub(super) const PREALLOC: Memory = Memory {
    name: "guest-prealloc",
    about: "the guest has all its memory before it starts, and faults none in while it is measured",
    only: Some("on"),
    probe: || (Probe::Resident(Slot::Pid(SUT), GUEST_MEMORY_MB), "all".to_owned()),
};

/// The nodes of a container's memory.
pub(super) const MEMS: Memory = Memory {
    name: "cpuset-mems",
    about: "NUMA nodes that a Docker container may take memory from, as a list such as `0`",
    only: None,
    probe: || (Probe::Mems(Slot::Pid(SUT)), String::new()),
};

/// Whether this host can keep huge pages ready: a guest would not start on pages that nobody can give.
pub(super) fn can_keep_hugepages(site: &Site) -> bool {
    let row = super::rows().iter().find(|row| row.name == "hugepages");
    row.is_some_and(|row| !site.found.paths(row.paths).is_empty())
}

impl Knob for Memory {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn values(&self) -> String {
        self.only.unwrap_or("nodes such as 0 or 0-1").to_owned()
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[NeedName::Root]
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        match self.only {
            Some(only) => {
                anyhow::ensure!(want == only, "`{want}` is not known: the only value is `{only}`")
            }
            None => {
                let nodes = evenkeel_agent::threads::parse_list(want);
                let some = nodes.is_ok_and(|nodes| !nodes.is_empty());
                anyhow::ensure!(some, "`{want}` is not a list of nodes such as `0`");
            }
        }
        Ok(())
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        self.check(want)?;
        let mut turned = Turned::new(self.name, want);
        if !to.system.memory_knobs().contains(&self.name) {
            let reason = format!("{} has no way to do it", to.system.name());
            turned.without = Some(Without::Inapplicable(reason));
            return Ok(turned);
        }
        if self.name == HUGE.name && !can_keep_hugepages(to.site) {
            let reason = "this kernel keeps no huge pages of 2 MiB ready".to_owned();
            turned.without = Some(Without::Unsupported(reason));
            return Ok(turned);
        }
        let (probe, expected) = (self.probe)();
        let expected = if self.only.is_none() { want.to_owned() } else { expected };
        turned.applied = format!("words of the command line that starts {}", to.system.name());
        turned.probes = vec![(probe, expected)];
        Ok(turned)
    }

    fn lacks(&self, others: &Profile) -> Option<Lack> {
        let why = "no `hugepages` keeps pages ready, and a guest would not start without any";
        (self.name == HUGE.name && !others.asks("hugepages"))
            .then_some(Lack { why, is_fatal: true })
    }
}
