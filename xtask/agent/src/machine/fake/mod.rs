//! A machine in memory. It records what happens to it and dies at a chosen effect, so that undoing can be tried at every point of
//! every kind's steps.
//!
//! It keeps the rules of the real one by which an undo can go wrong: names are there once; what lies in a namespace goes with
//! it; a namespace without a name lives on while somebody is in it; a pair of links goes with either end; processes need a cgroup; an
//! engine keeps a network that a container is attached to.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};

use super::{Machine, Reached};
use crate::step::{Act, Ensure, Node, Object, Query, Setting};

mod deaths;

pub use deaths::{die_everywhere, meet_others};

/// What there is on the machine. Two machines are alike if their states are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Values of files.
    pub files: BTreeMap<String, String>,
    /// Objects that stand for themselves, by how they print.
    pub objects: BTreeSet<String>,
    /// Network namespaces.
    pub namespaces: Vec<Namespace>,
    /// Links with both ends, or the one that they have: (namespace or nothing, name).
    pub links: BTreeSet<Vec<(String, String)>>,
    /// Tables of netfilter: (namespace, name).
    pub tables: BTreeSet<(String, String)>,
    /// Running processes, and the namespace that each is in.
    pub processes: BTreeMap<String, Option<String>>,
}

/// The link that every network namespace has from the beginning.
const LOOPBACK: &str = "lo";

/// A network namespace other than the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The name that it was given.
    name: String,
    /// Whether it still has that name.
    named: bool,
    /// Whether it is a container's.
    of_container: bool,
}

impl State {
    /// Whether an object is there.
    pub fn has(&self, object: &Object) -> bool {
        match object {
            Object::Netns(name) => self.namespaces.iter().any(|n| n.named && n.name == *name),
            Object::Link { netns, name } => {
                let end = (netns.clone(), name.clone());
                self.links.iter().any(|ends| ends.contains(&end))
            }
            Object::Table { netns, name } => self.tables.contains(&(netns.clone(), name.clone())),
            other => self.objects.contains(&other.to_string()),
        }
    }

    /// Puts an object there.
    ///
    /// # Errors
    /// It is there already, or what it needs is not.
    pub fn make(&mut self, object: &Object, with: &[String]) -> anyhow::Result<()> {
        ensure!(!self.has(object), "{object} is there already");
        match object {
            Object::Netns(name) => {
                let namespace =
                    Namespace { name: name.clone(), named: true, of_container: !with.is_empty() };
                self.namespaces.push(namespace);
            }
            Object::Link { netns, name } => {
                let word = |after: &str| {
                    with.iter().position(|word| word == after).and_then(|at| with.get(at + 1))
                };
                let mut ends = vec![(netns.clone(), name.clone())];
                if let Some(below) = word("link") {
                    let below = Object::Link { netns: netns.clone(), name: below.clone() };
                    ensure!(self.has(&below), "there is no {below}");
                    ends[0].0 = word("netns").unwrap_or(netns).clone();
                } else if let Some(peer) = word("name") {
                    ends.push((word("netns").cloned().unwrap_or_default(), peer.clone()));
                }
                for (netns, name) in &ends {
                    self.enter(netns)?;
                    let end = Object::Link { netns: netns.clone(), name: name.clone() };
                    ensure!(!self.has(&end), "{end} is there already");
                }
                self.links.insert(ends);
            }
            Object::Table { netns, name } => {
                self.enter(netns)?;
                self.tables.insert((netns.clone(), name.clone()));
            }
            other => {
                self.objects.insert(other.to_string());
            }
        }
        Ok(())
    }

    fn enter(&self, netns: &str) -> anyhow::Result<()> {
        let there = netns.is_empty() || self.has(&Object::Netns(netns.to_owned()));
        ensure!(there, "there is no network namespace {netns}");
        Ok(())
    }

    fn start(&mut self, name: &str, argv: &[String], leaves: &[Object]) -> anyhow::Result<()> {
        let cgroup = self.objects.iter().any(|object| object.starts_with("cgroup "));
        ensure!(cgroup, "`{name}` would live in no cgroup of ours");
        let netns = match argv {
            [ip, netns, exec, name, ..] if ip == "ip" && netns == "netns" && exec == "exec" => {
                self.enter(name)?;
                Some(name.clone())
            }
            _ => None,
        };
        self.processes.insert(name.to_owned(), netns);
        self.objects.extend(leaves.iter().map(ToString::to_string));
        Ok(())
    }

    fn remove(&mut self, object: &Object) -> anyhow::Result<()> {
        match object {
            Object::Netns(name) => {
                for namespace in &mut self.namespaces {
                    namespace.named &= namespace.name != *name;
                }
            }
            Object::Link { netns, name } => {
                let end = (netns.clone(), name.clone());
                self.links.retain(|ends| !ends.contains(&end));
            }
            Object::DockerNetwork(name) => {
                let mut containers =
                    self.objects.iter().filter(|o| o.starts_with("docker container"));
                if let Some(attached) = containers.next() {
                    bail!("network {name} has active endpoints: {attached}");
                }
                self.objects.remove(&object.to_string());
            }
            // As on the real machine, it stays while somebody has a name there.
            Object::NetnsMount if self.namespaces.iter().any(|n| n.named) => {}
            Object::Cgroup(_) => {
                self.processes.clear();
                self.objects.remove(&object.to_string());
            }
            other => {
                self.objects.remove(&other.to_string());
            }
        }
        self.collect();
        Ok(())
    }

    fn remove_mount_of_namespaces(&mut self) {
        self.objects.remove(&Object::NetnsMount.to_string());
    }

    /// Drops namespaces that nobody names and nobody is in, with all that they hold.
    fn collect(&mut self) {
        let container = self.objects.iter().any(|object| object.contains(" container "));
        let inside: Vec<&String> = self.processes.values().flatten().collect();
        let lives =
            |n: &Namespace| n.named || n.of_container && container || inside.contains(&&n.name);
        let gone: Vec<String> =
            self.namespaces.iter().filter(|n| !lives(n)).map(|n| n.name.clone()).collect();
        self.namespaces.retain(|n| !gone.contains(&n.name));
        self.links.retain(|ends| !ends.iter().any(|(netns, _)| gone.contains(netns)));
        self.tables.retain(|(netns, _)| !gone.contains(netns));
    }
}

/// How much of an effect happens when the machine dies at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Death {
    /// Nothing: killed right before.
    #[default]
    Before,
    /// The part that is somebody else's: an engine that was asked goes on when the process that asked is killed.
    Partway,
    /// All of it: killed right after.
    After,
}

/// The machine.
#[derive(Clone, Debug, Default)]
pub struct Fake {
    /// What there is.
    pub state: State,
    /// What was journaled and not yet cleared; survives death.
    pub journal: Vec<Ensure>,
    /// How often the journal was synced.
    pub syncs: usize,
    /// Everything that was applied, in order, as it prints.
    pub applied: Vec<String>,
    /// Effects until death; without one it lives for ever.
    pub fuse: Option<usize>,
    /// How it dies.
    pub death: Death,
    next_pid: u32,
}

impl Fake {
    /// A machine that dies at effect `fuse` (0 is the first).
    pub fn dying_at(state: State, fuse: usize, death: Death) -> Fake {
        Fake { state, fuse: Some(fuse), death, ..Fake::default() }
    }

    fn effect(
        &mut self,
        happens: impl FnOnce(&mut Fake) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match (self.fuse, self.death) {
            (Some(0), Death::After) => {
                self.death = Death::Before;
                happens(self)?;
                bail!("killed right after it")
            }
            (Some(0), _) => bail!("killed"),
            (Some(left), _) => self.fuse = Some(left - 1),
            (None, _) => {}
        }
        happens(self)
    }

    /// Whether the effect that comes is the last, and happens in part.
    fn dies_partway(&mut self) -> bool {
        let dies = self.fuse == Some(0) && self.death == Death::Partway;
        if dies {
            self.death = Death::Before;
        }
        dies
    }

    fn pid(&mut self) -> String {
        self.next_pid += 1;
        self.next_pid.to_string()
    }
}

impl Machine for Fake {
    fn read(&mut self, _at: Node, path: &str) -> anyhow::Result<String> {
        Ok(self.state.files.entry(path.to_owned()).or_insert_with(|| "before".to_owned()).clone())
    }

    fn is_there(&mut self, _at: Node, object: &Object) -> anyhow::Result<bool> {
        Ok(self.state.has(object))
    }

    fn journal(&mut self, states: &[Ensure]) -> anyhow::Result<()> {
        self.effect(|fake| {
            fake.journal.extend_from_slice(states);
            fake.syncs += 1;
            Ok(())
        })
    }

    fn apply(&mut self, at: Node, act: &Act<String>) -> anyhow::Result<Vec<String>> {
        self.applied.push(format!("{at}: {act}"));
        match act {
            Act::Put { on: Setting::File(path) | Setting::Asked(path), value } => {
                self.effect(|fake| {
                    fake.state.files.insert(path.clone(), value.clone());
                    Ok(())
                })?
            }
            Act::Put { on: Setting::OwnFile { netns, .. }, .. } => {
                self.effect(|fake| fake.state.enter(netns))?;
            }
            Act::Put {
                on: Setting::Link { netns, link, .. } | Setting::Queue { netns, link },
                ..
            } => self.effect(|fake| {
                if link == LOOPBACK {
                    return fake.state.enter(netns);
                }
                let link = Object::Link { netns: netns.clone(), name: link.clone() };
                // Links that an engine made are not known here.
                let engines =
                    fake.state.namespaces.iter().any(|n| n.of_container && n.name == *netns);
                ensure!(engines || fake.state.has(&link), "there is no {link}");
                Ok(())
            })?,
            Act::Make { object, with } => self.effect(|fake| fake.state.make(object, with))?,
            Act::Start { name, argv, leaves, .. } => {
                if self.dies_partway() {
                    self.state.objects.extend(leaves.iter().map(ToString::to_string));
                }
                self.effect(|fake| fake.state.start(name, argv, leaves))?;
                return Ok(vec![self.pid()]);
            }
            Act::Put { .. } | Act::Go(_) => self.effect(|_| Ok(()))?,
            Act::Learn { query: Query::Threads(_) | Query::QmpOthers(..), .. } => {
                return Ok(vec![self.pid(), self.pid()]);
            }
            Act::Learn { .. } => return Ok(vec![self.pid()]),
            Act::Await { .. } => {}
        }
        Ok(Vec::new())
    }

    fn ensure(&mut self, state: &Ensure) -> anyhow::Result<Reached> {
        match state {
            Ensure::Value { path, is, ours, .. } => {
                let now = self.state.files.get(path).cloned().context("it has no value")?;
                if now != *is && now != *ours {
                    return Ok(Reached::LeftAlone(format!("{path} is `{now}`")));
                }
                self.effect(|fake| {
                    fake.state.files.insert(path.clone(), is.clone());
                    Ok(())
                })?;
            }
            Ensure::Absent { what, .. } => self.effect(|fake| fake.state.remove(what))?,
        }
        Ok(Reached::Yes)
    }
}
