//! Runs steps on a machine so that every change can be undone.
//!
//! Steps are taken in batches: all steps, in order, whose slots are bound. For each batch the old values are
//! read, the states to reach are journaled with one sync, and only then is anything applied.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Context as _;

use crate::machine::{Machine, Reached};
use crate::step::{Act, Arg, Ensure, Held, Node, Part, Phase, Query, Setting, Slot, Step};

/// The values of slots that have been bound so far.
pub type Slots = BTreeMap<Slot, Vec<String>>;

/// Why a boot could not be built.
#[derive(Debug)]
pub struct Failure {
    /// The step that failed, as it prints.
    pub step: String,
    /// When.
    pub phase: Phase,
    /// Why.
    pub error: anyhow::Error,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} failed in phase {}: {:#}", self.step, self.phase, self.error)
    }
}

impl std::error::Error for Failure {}

/// Runs steps in order. Everything that was journaled until then is in `undo`, also after a failure: the caller
/// passes it to [`undo_all`].
///
/// # Errors
/// The first step that fails, with its phase.
pub fn run<M: Machine>(
    machine: &mut M,
    steps: &[Step],
    slots: &mut Slots,
    undo: &mut Vec<Ensure>,
    mut entered: impl FnMut(Phase),
) -> Result<(), Failure> {
    let mut rest = steps;
    let mut phase = None;
    while !rest.is_empty() {
        let ready = rest.iter().take_while(|step| bound(step, slots)).count();
        // A batch may bind slots that its own later steps need; those wait for the next batch. A step
        // whose slot nobody binds is a fault of the plan.
        let batch = &rest[..ready];
        if batch.is_empty() {
            let step = &rest[0];
            let error = anyhow::anyhow!("it needs a value that no earlier step gives");
            return Err(Failure { step: step.to_string(), phase: step.phase, error });
        }
        journal(machine, batch, slots, undo)?;
        let mut batch = batch;
        while let Some(first) = batch.first() {
            if phase != Some(first.phase) {
                phase = Some(first.phase);
                entered(first.phase);
            }
            let together = together(batch);
            apply(machine, &batch[..together], slots)?;
            batch = &batch[together..];
        }
        rest = &rest[ready..];
    }
    Ok(())
}

/// How many steps from the first on may be handed over together: of one node and phase, binding nothing.
fn together(steps: &[Step]) -> usize {
    let first = &steps[0];
    let joins = |step: &&Step| {
        step.at == first.at && step.phase == first.phase && step.act.gives().is_none()
    };
    steps.iter().take_while(joins).count().max(1)
}

/// Applies steps that [`together`] allows: several that bind nothing, or one.
fn apply<M: Machine>(machine: &mut M, steps: &[Step], slots: &mut Slots) -> Result<(), Failure> {
    let fail = |step: &Step, error| Failure { step: step.to_string(), phase: step.phase, error };
    if let [step] = steps
        && let Some(slot) = step.act.gives()
    {
        for act in resolve(&step.act, slots).map_err(|error| fail(step, error))? {
            let values = machine.apply(step.at, &act).map_err(|error| fail(step, error))?;
            slots.insert(slot, values);
        }
        return Ok(());
    }
    let (mut acts, mut owners) = (Vec::new(), Vec::new());
    for step in steps {
        for act in resolve(&step.act, slots).map_err(|error| fail(step, error))? {
            acts.push(act);
            owners.push(step);
        }
    }
    machine
        .apply_all(steps[0].at, &acts)
        .map_err(|(place, error)| fail(owners.get(place).unwrap_or(&&steps[0]), error))
}

/// Journals what will undo a batch: reads the old values first, then syncs once.
fn journal<M: Machine>(
    machine: &mut M,
    batch: &[Step],
    slots: &Slots,
    undo: &mut Vec<Ensure>,
) -> Result<(), Failure> {
    let mut states = Vec::new();
    for step in batch {
        let fail = |error| Failure { step: step.to_string(), phase: step.phase, error };
        for act in resolve(&step.act, slots).map_err(fail)? {
            let before = match act.overwrites() {
                Some(path) => match machine.read(step.at, path) {
                    Ok(before) => Some(before),
                    // The machine knows, and will not write it.
                    Err(_) if act.may_be_refused() => None,
                    Err(error) => return Err(fail(error)),
                },
                None => None,
            };
            if let Act::Make { object, .. } = &act
                && machine.is_there(step.at, object).map_err(fail)?
            {
                let error = anyhow::anyhow!("{object} is there already and not ours: remove it");
                return Err(fail(error));
            }
            states.extend(crate::step::undo(step.at, &act, before.as_deref()));
        }
    }
    if !states.is_empty() {
        machine.journal(&states).map_err(|error| Failure {
            step: "writing the journal".to_owned(),
            phase: batch[0].phase,
            error,
        })?;
        undo.extend(states);
    }
    Ok(())
}

/// Reaches every state, in the order that undoes: our processes first, then the rest backwards. A state that cannot be
/// reached does not keep the others from being reached.
pub fn undo_all<M: Machine>(machine: &mut M, states: &[Ensure]) -> Undone {
    let (processes, others): (Vec<_>, Vec<_>) = states.iter().partition(|s| s.holds_processes());
    let all: Vec<&Ensure> = processes.into_iter().chain(others.into_iter().rev()).collect();
    let mut undone = Undone::default();
    for group in all.chunk_by(|a, b| a.needs_no_neighbour() && b.needs_no_neighbour()) {
        for (state, reached) in group.iter().zip(machine.ensure_all(group)) {
            match reached {
                Ok(Reached::Yes) => {}
                Ok(Reached::LeftAlone(why)) => undone.left_alone.push(why),
                Err(error) => undone.failed.push(format!("not undone: {state}: {error:#}")),
            }
        }
    }
    undone
}

/// What became of an undo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Undone {
    /// States that were not reached, with the reason. The host is not as it was.
    pub failed: Vec<String>,
    /// Values that somebody else changed since; they were not touched.
    pub left_alone: Vec<String>,
}

fn bound(step: &Step, slots: &Slots) -> bool {
    step.act.needs().iter().all(|slot| slots.contains_key(slot))
}

/// The acts that an act becomes once its slots have values: one, or one for each value of a slot that holds several.
fn resolve(act: &Act<Arg>, slots: &Slots) -> anyhow::Result<Vec<Act<String>>> {
    let needs = act.needs();
    let many = needs.iter().find(|slot| slots.get(slot).is_some_and(|values| values.len() != 1));
    let rounds = match many {
        Some(slot) => slots.get(slot).map_or(0, Vec::len),
        None => 1,
    };
    (0..rounds)
        .map(|round| {
            act.try_map(&mut |arg: &Arg| {
                arg.0
                    .iter()
                    .map(|part| match part {
                        Part::Is(text) => Ok(text.clone()),
                        Part::Of(slot) => slots
                            .get(slot)
                            .and_then(|values| {
                                values.get(if Some(slot) == many { round } else { 0 })
                            })
                            .cloned()
                            .with_context(|| format!("{slot} has no value")),
                    })
                    .collect::<anyhow::Result<String>>()
            })
        })
        .collect()
}

impl<V> Act<V> {
    /// The path of a file that was there before us and that this act overwrites.
    pub fn overwrites(&self) -> Option<&V> {
        match self {
            Act::Put { on: Setting::File(path) | Setting::Asked(path), .. } => Some(path),
            _ => None,
        }
    }

    /// Whether this act fails nothing where the kernel refuses it.
    pub fn may_be_refused(&self) -> bool {
        matches!(self, Act::Put { on: Setting::Asked(_), .. })
    }

    /// The slot that this act binds.
    pub fn gives(&self) -> Option<Slot> {
        match self {
            Act::Start { gives, .. } => Some(*gives),
            Act::Learn { slot, .. } => Some(*slot),
            _ => None,
        }
    }

    /// The same act with other words.
    ///
    /// # Errors
    /// The first error of `word`.
    pub fn try_map<W>(
        &self,
        word: &mut impl FnMut(&V) -> anyhow::Result<W>,
    ) -> anyhow::Result<Act<W>> {
        Ok(match self {
            Act::Put { on, value } => {
                let on = match on {
                    Setting::File(v) => Setting::File(word(v)?),
                    Setting::Asked(v) => Setting::Asked(word(v)?),
                    Setting::HeldOpen(v) => Setting::HeldOpen(word(v)?),
                    Setting::OwnFile { netns, path } => {
                        Setting::OwnFile { netns: word(netns)?, path: word(path)? }
                    }
                    Setting::Affinity(v) => Setting::Affinity(word(v)?),
                    Setting::Policy(v) => Setting::Policy(word(v)?),
                    Setting::RealtimeBudget(v) => Setting::RealtimeBudget(word(v)?),
                    Setting::CpuQuota(v) => Setting::CpuQuota(word(v)?),
                    Setting::Queue { netns, link } => {
                        Setting::Queue { netns: word(netns)?, link: word(link)? }
                    }
                    Setting::Link { netns, link, key } => {
                        Setting::Link { netns: word(netns)?, link: word(link)?, key: *key }
                    }
                };
                Act::Put { on, value: word(value)? }
            }
            Act::Make { object, with } => Act::Make {
                object: object.clone(),
                with: with.iter().map(word).collect::<anyhow::Result<_>>()?,
            },
            Act::Start { name, argv, gives, leaves } => Act::Start {
                name: name.clone(),
                argv: argv.iter().map(word).collect::<anyhow::Result<_>>()?,
                gives: *gives,
                leaves: leaves.clone(),
            },
            Act::Learn { slot, query } => Act::Learn { slot: *slot, query: query.try_map(word)? },
            Act::Await { query, within } => {
                Act::Await { query: query.try_map(word)?, within: *within }
            }
            Act::Go(Held::Qemu(v)) => Act::Go(Held::Qemu(word(v)?)),
        })
    }
}

impl Act<Arg> {
    /// The slots that must be bound before this act.
    pub fn needs(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        let collected = self.try_map(&mut |arg: &Arg| {
            slots.extend(arg.slots());
            Ok(())
        });
        debug_assert!(collected.is_ok(), "collecting slots cannot fail");
        slots.sort_unstable();
        slots.dedup();
        slots
    }
}

impl<V> Query<V> {
    fn try_map<W>(
        &self,
        word: &mut impl FnMut(&V) -> anyhow::Result<W>,
    ) -> anyhow::Result<Query<W>> {
        Ok(match self {
            Query::DockerPid(v) => Query::DockerPid(word(v)?),
            Query::RuncPid(v) => Query::RuncPid(word(v)?),
            Query::Child(v) => Query::Child(word(v)?),
            Query::PidFile(v) => Query::PidFile(word(v)?),
            Query::Threads(v) => Query::Threads(word(v)?),
            Query::QmpVcpus(v) => Query::QmpVcpus(word(v)?),
            Query::QmpOthers(a, b) => Query::QmpOthers(word(a)?, word(b)?),
            Query::Hello(v) => Query::Hello(word(v)?),
            Query::GuestHello(a, b) => Query::GuestHello(word(a)?, word(b)?),
            Query::QmpReady(v) => Query::QmpReady(word(v)?),
            Query::FileIsThere(v) => Query::FileIsThere(word(v)?),
            Query::LinkForwards(a, b) => Query::LinkForwards(word(a)?, word(b)?),
            Query::AddressesReady(a, b) => Query::AddressesReady(word(a)?, word(b)?),
        })
    }
}

/// What will undo a step, as it prints before its slots have values and before old values are read.
pub fn undo_of(step: &Step) -> Vec<String> {
    let printed = step.act.try_map(&mut |arg: &Arg| Ok(arg.to_string()));
    let states = printed.map(|act| crate::step::undo(step.at, &act, Some("its old value")));
    states.unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Sorts steps by phase, keeping their order otherwise.
pub fn in_order(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut steps: VecDeque<Step> = steps.into_iter().collect();
    steps.make_contiguous().sort_by_key(|step| step.phase);
    steps.into()
}

/// Checks a plan's steps without a machine: every slot is bound before it is used, and phases do not go back.
///
/// # Errors
/// The step that breaks a law, as it prints.
pub fn check(steps: &[Step]) -> anyhow::Result<()> {
    let mut bound = std::collections::BTreeSet::new();
    let mut phase = Phase::Prepare;
    for step in steps {
        anyhow::ensure!(step.phase >= phase, "{step}: out of order");
        phase = step.phase;
        for slot in step.act.needs() {
            anyhow::ensure!(bound.contains(&slot), "{step}: {slot} is not bound before it");
        }
        if let Some(slot) = step.act.gives() {
            anyhow::ensure!(bound.insert(slot), "{step}: {slot} is bound twice");
        }
        anyhow::ensure!(step.at == Node::Host, "{step}: only the host's steps run here");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Object;

    /// Remembers what it was to reach together; nothing that is named `stays` can be reached.
    #[derive(Default)]
    struct Listener(Vec<Vec<String>>);

    impl Machine for Listener {
        fn read(&mut self, _at: Node, _path: &str) -> anyhow::Result<String> {
            anyhow::bail!("not asked here")
        }

        fn is_there(&mut self, _at: Node, _object: &Object) -> anyhow::Result<bool> {
            anyhow::bail!("not asked here")
        }

        fn journal(&mut self, _states: &[Ensure]) -> anyhow::Result<()> {
            anyhow::bail!("not asked here")
        }

        fn apply(&mut self, _at: Node, _act: &Act<String>) -> anyhow::Result<Vec<String>> {
            anyhow::bail!("not asked here")
        }

        fn ensure(&mut self, state: &Ensure) -> anyhow::Result<Reached> {
            anyhow::ensure!(!state.to_string().contains("stays"), "it stays");
            Ok(Reached::Yes)
        }

        fn ensure_all(&mut self, states: &[&Ensure]) -> Vec<anyhow::Result<Reached>> {
            self.0.push(states.iter().map(ToString::to_string).collect());
            states.iter().map(|state| self.ensure(state)).collect()
        }
    }

    #[test]
    fn only_states_that_need_no_neighbour_are_reached_together_and_each_failure_is_told() {
        let link = |netns: &str, name: &str| Object::Link {
            netns: netns.to_owned(),
            name: name.to_owned(),
        };
        let made = [
            Object::Dir("/run/x".to_owned()),
            Object::Netns("peer".to_owned()),
            Object::DockerNetwork("net".to_owned()),
            link("", "stays"),
            link("peer", "eth0"),
            Object::Cgroup("x".to_owned()),
        ];
        let states = made.map(|what| Ensure::Absent { at: Node::Host, what });
        let mut listener = Listener::default();
        let undone = undo_all(&mut listener, &states);
        let together: Vec<String> = listener.0.iter().map(|group| group.join(" and ")).collect();
        assert_eq!(
            together,
            [
                "host: no cgroup x",
                "host: no link eth0 in peer",
                "host: no link stays and host: no docker network net",
                "host: no network namespace peer",
                "host: no folder /run/x",
            ]
        );
        assert_eq!(undone.failed, ["not undone: host: no link stays: it stays"]);
    }
}
