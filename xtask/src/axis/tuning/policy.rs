//! The scheduling policy of the threads of the system under test.

use std::collections::BTreeSet;

use evenkeel_agent::step::{Act, Phase, Role, Setting, Slot};
use evenkeel_agent::threads::{self, Policy};

use super::{Knob, Probe, Profile, Target, Turned, by_role, placement};
use crate::axis::placement::PRIORITY;
use crate::axis::virtualization::SUT;
use crate::axis::{Site, steps};
use crate::doctor::NeedName;

/// The knob.
#[derive(Debug)]
pub(super) struct PolicyKnob;

const NAME: &str = "policy";

impl Knob for PolicyKnob {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "scheduling policy of the system under test's threads; realtime ones never get every CPU"
    }

    fn values(&self) -> String {
        "fifo, fifo:N, rr:N, batch, other, or by role: vcpu=fifo:48 emulator=fifo:49 (roles left out: as they are)".to_owned()
    }

    fn needs(&self, want: &str) -> &'static [NeedName] {
        match asked(want) {
            Ok(asked) if asked.is_realtime() => &[NeedName::Fifo],
            // What is no policy is told when the profile is read.
            _ => &[],
        }
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        asked(want).map(|_| ())
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        let site = to.site;
        let asked = asked(want)?;
        let given: Vec<(Role, Policy)> =
            to.system.roles().iter().filter_map(|role| Some((*role, asked.of(*role)?))).collect();
        let kept_off = keep_a_cpu_free(site, &given)?;
        let slot = |role: Role| Slot::Threads(SUT, role);
        let mut acts = Vec::new();
        // Without a budget of its own, a cgroup's threads are refused realtime policies by kernels with RT_GROUP_SCHED.
        if given.iter().any(|(_, policy)| is_realtime(*policy)) && site.realtime_groups {
            let on = Setting::RealtimeBudget(Slot::Pid(SUT).into());
            acts.push(Act::Put { on, value: BUDGET.into() });
        }
        let mut probes = Vec::new();
        for (role, cpus) in &kept_off {
            let (on, list) = (Setting::Affinity(slot(*role).into()), threads::list(cpus));
            acts.push(Act::Put { on, value: list.as_str().into() });
            probes.push((Probe::Affinity(slot(*role)), list));
        }
        for (role, policy) in &given {
            let (on, policy) = (Setting::Policy(slot(*role).into()), policy.to_string());
            acts.push(Act::Put { on, value: policy.as_str().into() });
            probes.push((Probe::Policy(slot(*role)), policy));
        }
        let named = given.iter().map(|(role, policy)| format!("{role} {policy}"));
        let free = threads::list(&site.placement.housekeeping);
        Ok(Turned {
            applied: match (given.is_empty(), kept_off.is_empty()) {
                (true, _) => "nothing: no role of this system is named".to_owned(),
                (_, true) => named.collect::<Vec<_>>().join(", "),
                _ => format!("{}, kept off CPU {free}", named.collect::<Vec<_>>().join(", ")),
            },
            probes,
            partial: to.less(None).filter(|_| !given.is_empty()),
            steps: steps(Phase::Place, acts),
            ..Turned::new(NAME, want)
        })
    }
}

/// Where realtime threads go that the profile does not place: anywhere but on the housekeeping CPUs, one of which must
/// stay free of realtime threads.
///
/// # Errors
/// Realtime threads would have every CPU, or a virtual CPU could starve what delivers its timers.
fn keep_a_cpu_free(
    site: &Site,
    given: &[(Role, Policy)],
) -> anyhow::Result<Vec<(Role, Vec<usize>)>> {
    let mut realtime: BTreeSet<usize> = BTreeSet::new();
    let (mut kept_off, mut ranked) = (Vec::new(), Vec::new());
    for (role, policy) in given.iter().filter(|(_, policy)| is_realtime(*policy)) {
        anyhow::ensure!(
            site.cpus.len() >= 2,
            "a realtime policy needs a second CPU that stays free of realtime threads"
        );
        let cpus = match placement::cpus_of(&site.profile, site, *role)? {
            Some(cpus) => cpus,
            None => {
                let busy = |cpu: &&usize| !site.placement.housekeeping.contains(cpu);
                let cpus: Vec<usize> = site.cpus.iter().filter(busy).copied().collect();
                kept_off.push((*role, cpus.clone()));
                cpus
            }
        };
        realtime.extend(&cpus);
        ranked.push((*role, *policy, cpus));
    }
    if !realtime.is_empty() {
        if site.placement.peer_policy != "other" {
            realtime.extend(&site.placement.peer);
        }
        anyhow::ensure!(
            site.cpus.iter().any(|cpu| !realtime.contains(cpu)),
            "realtime threads would have every CPU ({}), the peer's included, and could hang the machine: place them on fewer",
            threads::list(&site.cpus)
        );
    }
    for (_, guest, cpus) in ranked.iter().filter(|(role, ..)| *role == Role::Vcpu) {
        let virtuals = site.profile.guest_cpus();
        anyhow::ensure!(
            virtuals <= cpus.len() || !matches!(guest, Policy::Fifo(_)),
            "{virtuals} virtual CPUs ({guest}) would share CPU {}, and one that waits for another would keep it from ever running: place `vcpu` on as many CPUs, or ask for rr",
            threads::list(cpus)
        );
        for (_, other, theirs) in ranked.iter().filter(|(role, ..)| *role == Role::Emulator) {
            let shared = cpus.iter().any(|cpu| theirs.contains(cpu));
            anyhow::ensure!(
                !shared || priority(*guest) < priority(*other),
                "`vcpu` ({guest}) must rank below `emulator` ({other}) on a CPU that they share: a guest that computes would keep its timers from coming"
            );
        }
    }
    Ok(kept_off)
}

/// What a value asks for.
enum Asked {
    /// One policy for every role.
    All(Policy),
    /// One for each that is named.
    ByRole(Vec<(Role, Policy)>),
}

impl Asked {
    fn is_realtime(&self) -> bool {
        match self {
            Asked::All(policy) => is_realtime(*policy),
            Asked::ByRole(all) => all.iter().any(|(_, policy)| is_realtime(*policy)),
        }
    }

    /// The policy of one role. Where one is given for all, virtual CPUs rank one below the threads that deliver their timers and packets: on a
    /// shared CPU a guest that computes would otherwise wait for ever for what it keeps from running.
    fn of(&self, role: Role) -> Option<Policy> {
        let below = |p: u8| p.saturating_sub(1).max(1);
        match self {
            Asked::All(Policy::Fifo(p)) if role == Role::Vcpu => Some(Policy::Fifo(below(*p))),
            Asked::All(Policy::RoundRobin(p)) if role == Role::Vcpu => {
                Some(Policy::RoundRobin(below(*p)))
            }
            Asked::All(policy) => Some(*policy),
            Asked::ByRole(all) => {
                all.iter().find(|(named, _)| *named == role).map(|(_, policy)| *policy)
            }
        }
    }
}

/// Whether a profile gives some thread a realtime policy.
pub(super) fn makes_realtime(profile: &Profile) -> bool {
    let asked = profile.value(NAME).and_then(|want| asked(want).ok());
    asked.is_some_and(|asked| asked.is_realtime())
}

fn asked(want: &str) -> anyhow::Result<Asked> {
    match want.contains('=') {
        true => by_role(want, one).map(Asked::ByRole),
        false => one(want).map(Asked::All),
    }
}

fn one(want: &str) -> anyhow::Result<Policy> {
    match want {
        "fifo" => Ok(Policy::Fifo(PRIORITY)),
        other => other.parse(),
    }
}

fn is_realtime(policy: Policy) -> bool {
    priority(policy).is_some()
}

fn priority(policy: Policy) -> Option<u8> {
    match policy {
        Policy::Fifo(priority) | Policy::RoundRobin(priority) => Some(priority),
        _ => None,
    }
}

/// Microseconds of realtime that the container's cgroup gets of each second, where that is counted by cgroup.
const BUDGET: &str = "900000";
