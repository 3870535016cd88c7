//! A fault of known size in a boot that `calibrate` asked for: begun, counted, proven. A boot without one has nothing of this.

use std::time::Duration;

use anyhow::{Context as _, bail};
use evenkeel_agent::interpret::Slots;
use evenkeel_agent::machine::real::Real;
use evenkeel_agent::machine::{cgroup, queues};
use evenkeel_agent::step::Slot;
use evenkeel_agent::wire::{Answer, Ask, FaultCounters};

use super::spec::BootSpec;
use crate::axis::INSIDE;
use crate::axis::virtualization::{self, SUT};
use crate::calibrate::fault::{Counted, Fault, NAME, Planted};
use crate::record::Evidence;

/// Deadline of a request that an agent answers at once.
const SOON: Duration = Duration::from_secs(30);

/// Tells the server, before there is one, by which law its replies are late.
pub(super) fn before_servers(spec: &BootSpec, machine: &mut Real) -> anyhow::Result<()> {
    let delay = spec.fault.as_ref().and_then(|planted| planted.fault.delay());
    match delay {
        Some(delay) => {
            machine.control(virtualization::NAME)?.ask(Ask::Delay(delay), SOON).map(drop)
        }
        None => Ok(()),
    }
}

/// Begins what runs beside.
pub(super) fn beside(spec: &BootSpec, machine: &mut Real) -> anyhow::Result<()> {
    match spec.fault.as_ref().and_then(Planted::own_ask) {
        Some(ask) => machine.control(NAME)?.ask(ask, SOON).map(drop),
        None => Ok(()),
    }
}

/// What its counters show now; all 0 where there is none.
pub(super) fn count(spec: &BootSpec, machine: &mut Real, slots: &Slots) -> anyhow::Result<Counted> {
    let mut counted = Counted::default();
    let Some(Planted { fault, .. }) = spec.fault else { return Ok(counted) };
    if fault.delay().is_some() {
        counted.agent = ask(machine, virtualization::NAME)?;
    } else if let Some((kind, _)) = fault.queue() {
        let netns = spec.names.peer_netns();
        let queued = queues::queued(&netns, INSIDE, kind)?;
        counted.queued = queued.with_context(|| format!("the {kind} of {INSIDE} is gone"))?;
    } else if let Fault::Quota(_) = fault {
        let pid = slots.get(&Slot::Pid(SUT)).and_then(|ids| ids.first());
        let pid = pid.context("the container's process is not known")?;
        counted.throttled = cgroup::throttled(pid.parse().context("it has no number")?)?;
    } else {
        counted.agent = ask(machine, NAME)?;
    }
    Ok(counted)
}

fn ask(machine: &mut Real, name: &str) -> anyhow::Result<FaultCounters> {
    match machine.control(name)?.ask(Ask::FaultCount, SOON)? {
        Answer::Fault(counters) => Ok(counters),
        other => bail!("`{name}` answered {other:?} instead of its counters"),
    }
}

/// Its evidence, by what was counted before and after.
pub(super) fn evidence(
    spec: &BootSpec,
    counted: [Counted; 2],
    lasted: Duration,
) -> Option<Evidence> {
    let Planted { fault, cpus } = spec.fault.as_ref()?;
    Some(fault.evidence(counted, cpus.len(), lasted))
}
