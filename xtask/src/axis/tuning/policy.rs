//! The scheduling policy of the threads of the system under test.

use evenkeel_agent::step::{Act, Phase, Role, Setting, Slot};
use evenkeel_agent::threads::Policy;

use super::{Knob, Probe, Turned};
use crate::axis::placement::PRIORITY;
use crate::axis::virtualization::SUT;
use crate::axis::{Site, steps};
use crate::doctor::NeedName;

/// The knob.
#[derive(Debug)]
pub(super) struct PolicyKnob;

impl Knob for PolicyKnob {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn about(&self) -> &'static str {
        "scheduling policy of the system under test's threads: `fifo`, `fifo:N`, `rr:N`, `batch` or `other`"
    }

    fn needs(&self, want: &str) -> &'static [NeedName] {
        match asked(want) {
            Ok(policy) if is_realtime(policy) => &[NeedName::Fifo],
            // What is no policy is told when the knob is turned.
            _ => &[],
        }
    }

    fn turn(&self, want: &str, site: &Site, roles: &[Role]) -> anyhow::Result<Turned> {
        let asked = asked(want)?;
        let realtime = is_realtime(asked);
        if realtime && site.cpus.len() < 2 {
            anyhow::bail!(
                "a realtime policy needs a second CPU that stays free of realtime threads"
            );
        }
        let slots = || {
            roles.iter().map(|role| (Slot::Threads(SUT, *role), of_role(asked, *role).to_string()))
        };
        let mut acts = Vec::new();
        // Without a budget of its own, a cgroup's threads are refused realtime policies by kernels with RT_GROUP_SCHED.
        if realtime && site.realtime_groups {
            let on = Setting::RealtimeBudget(Slot::Pid(SUT).into());
            acts.push(Act::Put { on, value: BUDGET.into() });
        }
        acts.extend(slots().map(|(slot, policy)| Act::Put {
            on: Setting::Policy(slot.into()),
            value: policy.into(),
        }));
        Ok(Turned {
            knob: self.name().to_owned(),
            requested: want.to_owned(),
            applied: roles
                .iter()
                .map(|role| format!("{role} {}", of_role(asked, *role)))
                .collect::<Vec<_>>()
                .join(", "),
            probes: slots().map(|(slot, policy)| (Probe::Policy(slot), policy)).collect(),
            partial: None,
            steps: steps(Phase::Place, acts),
        })
    }
}

fn asked(want: &str) -> anyhow::Result<Policy> {
    match want {
        "fifo" => Ok(Policy::Fifo(PRIORITY)),
        other => other.parse(),
    }
}

fn is_realtime(policy: Policy) -> bool {
    matches!(policy, Policy::Fifo(_) | Policy::RoundRobin(_))
}

/// The policy of one role. Virtual CPUs rank one below the threads that deliver their timers and packets: on a shared CPU a
/// guest that computes would otherwise wait for ever for what it keeps from running.
fn of_role(asked: Policy, role: Role) -> Policy {
    match (asked, role) {
        (Policy::Fifo(p), Role::Vcpu) => Policy::Fifo(p.saturating_sub(1).max(1)),
        (Policy::RoundRobin(p), Role::Vcpu) => Policy::RoundRobin(p.saturating_sub(1).max(1)),
        _ => asked,
    }
}

/// Microseconds of realtime that the container's cgroup gets of each second, where that is counted by cgroup.
const BUDGET: &str = "900000";
