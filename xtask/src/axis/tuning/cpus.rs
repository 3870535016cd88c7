//! How many virtual CPUs a guest has. One cannot be isolated from itself: what a guest's command line asks for of CPUs (`isolcpus`, `nohz_full`,
//! `rcu_nocbs`, `irqaffinity`) takes at least two.

use evenkeel_agent::threads;

use super::{Knob, Probe, Profile, Target, Turned, Without};
use crate::doctor::NeedName;

/// The knob.
#[derive(Debug)]
pub(super) struct GuestCpus;

/// Its name.
pub(super) const NAME: &str = "guest-cpus";

/// The most of them: what a small host can still emulate.
const MOST: usize = 16;

impl Knob for GuestCpus {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "virtual CPUs of the guest; it has one where nothing is asked"
    }

    fn values(&self) -> String {
        format!("1 to {MOST}")
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[]
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        count(want).map(drop)
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        let count = count(want)?;
        let mut turned = Turned::new(NAME, want);
        if !to.system.is_guest() {
            let reason = format!("{} has the host's CPUs", to.system.name());
            turned.without = Some(Without::Inapplicable(reason));
            return Ok(turned);
        }
        let (all, has) = ((0..count).collect::<Vec<_>>(), to.site.cpus.len());
        turned.applied = format!("words of the command line that starts {}", to.system.name());
        turned.probes = vec![(Probe::GuestFact("cpus-online".to_owned()), threads::list(&all))];
        turned.partial = (count > has)
            .then(|| format!("{count} virtual CPUs take turns on the {has} that there are"));
        Ok(turned)
    }
}

/// How many virtual CPUs guests have under a profile.
pub(super) fn of(profile: &Profile) -> usize {
    profile.value(NAME).and_then(|want| count(want).ok()).unwrap_or(1)
}

fn count(want: &str) -> anyhow::Result<usize> {
    match want.parse() {
        Ok(count @ 1..=MOST) => Ok(count),
        _ => anyhow::bail!("`{want}` is not a whole number from 1 to {MOST}"),
    }
}
