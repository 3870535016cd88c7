//! Deaths at every effect, and meetings with what others did.

use anyhow::ensure;

use super::{Death, Fake, State};
use crate::interpret::{Slots, run, undo_all};
use crate::step::{Act, Ensure, Object, Step};

/// Runs `steps` on machines that die at every effect, undoes from the journal, kills that undoing at every effect too, and
/// undoes again. Answers how many deaths were tried.
///
/// # Errors
/// The steps cannot be run at all, or a death after which the machine is not as it was before: says which, and what is left.
pub fn die_everywhere(steps: &[Step]) -> anyhow::Result<usize> {
    let before = before(steps)?;
    let mut deaths = 0;
    for death in [Death::Before, Death::Partway, Death::After] {
        for fuse in 0.. {
            let mut fake = Fake::dying_at(before.clone(), fuse, death);
            let lived = run(&mut fake, steps, &mut Slots::new(), &mut Vec::new(), |_| ()).is_ok();
            for second in 0.. {
                let mut dying = Fake::dying_at(fake.state.clone(), second, death);
                let first_try = undo_all(&mut dying, &fake.journal);
                let mut healthy = Fake { state: dying.state, ..Fake::default() };
                let again = undo_all(&mut healthy, &fake.journal);
                ensure!(
                    healthy.state == before
                        && again.failed.is_empty()
                        && again.left_alone.is_empty(),
                    "killed ({death:?}) at effect {fuse} and its undoing at {second}: left {:?}, {again:?}",
                    healthy.state
                );
                deaths += 1;
                if first_try.failed.is_empty() {
                    break;
                }
            }
            if lived {
                break;
            }
        }
    }
    Ok(deaths)
}

/// Runs `steps` where others got there first or meddle: an object of the same name is neither used nor removed, and a value
/// that was changed meanwhile is left as it is. Answers how many meetings were tried.
///
/// # Errors
/// Something of theirs was touched, or something of ours was left.
pub fn meet_others(steps: &[Step]) -> anyhow::Result<usize> {
    let before = before(steps)?;
    let mut meetings = 0;
    for step in steps {
        let mut theirs = Fake { state: before.clone(), ..Fake::default() };
        match &step.act {
            Act::Make { object, .. } if theirs.state.make(object, &[]).is_ok() => {
                let state = theirs.state.clone();
                let ran = run(&mut theirs, steps, &mut Slots::new(), &mut Vec::new(), |_| ());
                ensure!(ran.is_err(), "somebody else's {object} was used");
                let journal = theirs.journal.clone();
                let undone = undo_all(&mut theirs, &journal);
                ensure!(undone.failed.is_empty(), "{undone:?}");
                if matches!(object, Object::Netns(_)) {
                    // The mount that holds their namespace has to stay.
                    theirs.state.remove_mount_of_namespaces();
                }
                ensure!(theirs.state == state, "somebody else's {object}: left {:?}", theirs.state);
                meetings += 1;
            }
            _ => {}
        }
    }
    let mut whole = Fake { state: before.clone(), ..Fake::default() };
    run(&mut whole, steps, &mut Slots::new(), &mut Vec::new(), |_| ())?;
    for state in whole.journal.clone() {
        let Ensure::Value { path, .. } = &state else { continue };
        let mut theirs = Fake { state: whole.state.clone(), ..Fake::default() };
        theirs.state.files.insert(path.clone(), "theirs".to_owned());
        let undone = undo_all(&mut theirs, &whole.journal);
        ensure!(undone.failed.is_empty() && !undone.left_alone.is_empty(), "{undone:?}");
        let mut expected = before.clone();
        expected.files.insert(path.clone(), "theirs".to_owned());
        ensure!(theirs.state == expected, "{path} was theirs: left {:?}", theirs.state);
        meetings += 1;
    }
    Ok(meetings)
}

/// The state to come back to: reading fills in the old values of files.
fn before(steps: &[Step]) -> anyhow::Result<State> {
    let mut whole = Fake::default();
    run(&mut whole, steps, &mut Slots::new(), &mut Vec::new(), |_| ())?;
    let files = whole.state.files.into_keys().map(|path| (path, "before".to_owned()));
    Ok(State { files: files.collect(), ..State::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{Node, Phase, Slot};

    fn step(act: Act<crate::step::Arg>) -> Step {
        Step { at: Node::Host, phase: Phase::Prepare, act }
    }

    fn make(object: Object, with: &[&str]) -> Step {
        step(Act::Make { object, with: with.iter().map(|word| (*word).into()).collect() })
    }

    fn link(netns: &str, name: &str) -> Object {
        Object::Link { netns: netns.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_link_goes_with_its_namespace_and_a_pair_with_either_end() {
        let steps = [
            make(Object::Netns("a".into()), &[]),
            make(link("a", "x"), &["type", "veth", "peer", "name", "y"]),
        ];
        assert!(die_everywhere(&steps).unwrap() > 10);
    }

    #[test]
    fn a_process_outside_of_a_cgroup_is_refused() {
        let stray = step(Act::Start {
            name: "stray".into(),
            argv: vec!["sh".into()],
            gives: Slot::Pid(Node::Host),
            leaves: Vec::new(),
        });
        let error = die_everywhere(&[stray]).unwrap_err();
        assert!(format!("{error:#}").contains("no cgroup of ours"), "{error:#}");
    }

    #[test]
    fn a_network_is_kept_by_its_container() {
        let container = Object::DockerContainer("c".into());
        let network = Object::DockerNetwork("n".into());
        let mut state = State::default();
        state.make(&network, &[]).unwrap();
        state.make(&container, &[]).unwrap();
        assert!(state.remove(&network).is_err());
        state.remove(&container).unwrap();
        state.remove(&network).unwrap();
        assert_eq!(state, State::default());
    }

    #[test]
    fn somebody_elses_namespace_is_not_ours_to_remove() {
        let steps = [make(Object::Cgroup("c".into()), &[]), make(Object::Netns("a".into()), &[])];
        assert_eq!(meet_others(&steps).unwrap(), 2);
    }
}
