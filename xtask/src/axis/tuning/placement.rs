//! Where the threads of the system under test run.

use evenkeel_agent::step::{Act, Phase, Role, Setting, Slot};
use evenkeel_agent::threads;

use super::{Knob, Probe, Profile, Target, Turned, by_role, cpus_named, policy};
use crate::axis::virtualization::SUT;
use crate::axis::{Site, steps};
use crate::doctor::NeedName;

/// The knob.
#[derive(Debug)]
pub(super) struct PlacementKnob;

/// Its name.
pub(super) const NAME: &str = "placement";

impl Knob for PlacementKnob {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "CPUs of the system under test's threads: `auto` takes all but housekeeping and the peer's"
    }

    fn values(&self) -> String {
        "auto, or CPUs by role: server=1 vcpu=1 emulator=0,2-3 (roles left out: auto)".to_owned()
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[]
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        asked(want, None).map(|_| ())
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        let site = to.site;
        let mut placed = Vec::new();
        for role in to.system.roles() {
            if let Some(cpus) = cpus_of(&site.profile, site, *role)? {
                placed.push((*role, cpus));
            }
        }
        let slot = |role: &Role| Slot::Threads(SUT, *role);
        let acts = placed.iter().map(|(role, cpus)| Act::Put {
            on: Setting::Affinity(slot(role).into()),
            value: threads::list(cpus).into(),
        });
        let shared: Vec<usize> = placed
            .iter()
            .flat_map(|(_, cpus)| cpus)
            .filter(|cpu| site.placement.peer.contains(cpu))
            .copied()
            .collect();
        let partial = match (want, shared.is_empty()) {
            ("auto", _) => site.placement.partial.clone(),
            (_, true) => None,
            (_, false) => Some(format!("CPU {} is the peer's too", threads::list(&shared))),
        };
        let lists: Vec<String> = placed.iter().map(|(_, cpus)| threads::list(cpus)).collect();
        let alike = lists.windows(2).all(|pair| pair[0] == pair[1]);
        let named = placed.iter().zip(&lists).map(|((role, _), list)| format!("{role} {list}"));
        Ok(Turned {
            applied: match lists.first() {
                Some(list) if alike => format!("CPUs {list}"),
                _ => format!("CPUs by role: {}", named.collect::<Vec<_>>().join(", ")),
            },
            probes: placed
                .iter()
                .zip(&lists)
                .map(|((role, _), list)| (Probe::Affinity(slot(role)), list.clone()))
                .collect(),
            partial: to.less(partial),
            steps: steps(Phase::Place, acts.collect::<Vec<_>>()),
            ..Turned::new(NAME, want)
        })
    }

    fn covered(&self, others: &Profile) -> Option<&'static str> {
        policy::makes_realtime(others).then_some(
            "a realtime `policy` keeps its threads off the housekeeping CPUs without it, too",
        )
    }
}

/// The lists by role; none for `auto`.
fn asked(want: &str, online: Option<&[usize]>) -> anyhow::Result<Vec<(Role, Vec<usize>)>> {
    if want == "auto" {
        return Ok(Vec::new());
    }
    by_role(want, |list| cpus_named(list, online))
}

/// The CPUs that a profile gives to threads of a role; nothing if it places none.
///
/// # Errors
/// The profile's value is no placement, or names a CPU that is not there.
pub(super) fn cpus_of(
    profile: &Profile,
    site: &Site,
    role: Role,
) -> anyhow::Result<Option<Vec<usize>>> {
    let Some(want) = profile.value(NAME) else { return Ok(None) };
    let given = asked(want, Some(&site.cpus))?;
    let own = given.into_iter().find(|(named, _)| *named == role).map(|(_, cpus)| cpus);
    Ok(Some(own.unwrap_or_else(|| site.placement.isolated.clone())))
}
