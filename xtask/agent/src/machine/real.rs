//! The machine that is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::alive::Alive;
use super::tools::Tools;
use super::{Machine, Reached, cgroup, engines, files, ip, links, queues};
use crate::control::Control;
use crate::journal::Journal;
use crate::qmp::Qmp;
use crate::step::{Act, Ensure, Held, Node, Object, Query, Setting};
use crate::{command, threads, wait};

/// How long a container that was started may take to have a process.
const CONTAINER: Duration = Duration::from_secs(60);
/// How long QMP may take to answer.
const QMP: Duration = Duration::from_secs(20);

/// The file in the folder of children's words that a guest's console goes to.
pub const CONSOLE: &str = "console";

/// The machine. Children that it started end with it at the latest.
#[derive(Debug)]
pub struct Real {
    journal: Option<Journal>,
    cgroup: Option<PathBuf>,
    /// Where the standard error of children goes.
    words: PathBuf,
    agents: BTreeMap<String, Agent>,
    stop: Arc<AtomicBool>,
    /// Files that the kernel refused to read or to write, with its words.
    refused: BTreeMap<String, String>,
    /// Files whose values hold while we have them open.
    held: Vec<std::fs::File>,
    /// Whether clients of an engine may have been killed while it worked for them.
    killed: bool,
    /// Containers that their engine has removed already.
    gone: Vec<Object>,
}

/// A child and its control channel.
#[derive(Debug)]
struct Agent {
    child: Child,
    control: Control,
    /// What it leaves outside of the cgroup if it is killed.
    leaves: Vec<Object>,
}

impl Real {
    /// A machine that journals before it acts, and keeps what children print to standard error in the folder `words`, which
    /// an earlier step makes.
    pub fn new(journal: Journal, words: &Path) -> Real {
        Real {
            journal: Some(journal),
            cgroup: None,
            words: words.to_owned(),
            agents: BTreeMap::new(),
            stop: Arc::default(),
            refused: BTreeMap::new(),
            held: Vec::new(),
            killed: false,
            gone: Vec::new(),
        }
    }

    /// The same machine, which refuses to act and to talk to agents once `stop` is set. It still undoes.
    pub fn until(self, stop: Arc<AtomicBool>) -> Real {
        Real { stop, ..self }
    }

    fn goes_on(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.stop.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }

    /// A machine that can only reach states.
    pub fn for_restore() -> Real {
        Real {
            journal: None,
            cgroup: None,
            words: PathBuf::new(),
            agents: BTreeMap::new(),
            stop: Arc::default(),
            refused: BTreeMap::new(),
            held: Vec::new(),
            killed: true,
            gone: Vec::new(),
        }
    }

    /// The control channel of an agent that was started.
    ///
    /// # Errors
    /// No agent of this name was started, or the machine is to stop.
    pub fn control(&mut self, name: &str) -> anyhow::Result<&mut Control> {
        self.goes_on()?;
        let agent = self.agents.get_mut(name);
        Ok(&mut agent.with_context(|| format!("agent `{name}` was not started"))?.control)
    }

    /// What the kernel refused, by path, in its words.
    pub fn refused(&self) -> &BTreeMap<String, String> {
        &self.refused
    }

    /// Writes a file that the kernel may refuse. One that could not be read before is not in the journal, so it is not written.
    fn ask(&mut self, path: &str, value: &str) {
        if self.refused.contains_key(path) {
            return;
        }
        if let Err(error) = files::write(path, value) {
            self.refused.insert(path.to_owned(), format!("{error:#}"));
        }
    }

    /// What a child last printed to standard error, in one line; empty if it said nothing.
    pub fn last_words(&self, name: &str) -> String {
        // Without the file there are no words; this only enriches another error.
        let text = std::fs::read(self.words.join(name)).unwrap_or_default();
        let ended =
            command::Ended { code: None, timed_out: false, stdout: Vec::new(), stderr: text };
        ended.last_words()
    }

    /// Waits for a child to end by itself.
    ///
    /// # Errors
    /// It was not started, or does not end in time.
    pub fn ended(&mut self, name: &str, within: Duration) -> anyhow::Result<()> {
        let agent = self.agents.get_mut(name);
        let agent = agent.with_context(|| format!("agent `{name}` was not started"))?;
        match command::ended_within(&mut agent.child, within)? {
            // A client that ends well has seen its engine remove the container (`docker run --rm` waits for that).
            Some(status) => {
                let is_container = |object: &Object| matches!(object, Object::DockerContainer(_));
                if status.success() {
                    self.gone.extend(agent.leaves.extract_if(.., |object| is_container(object)));
                }
                Ok(())
            }
            None => bail!("`{name}` did not end within {:.1} s", within.as_secs_f64()),
        }
    }

    /// Empties the journal: everything was undone.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> anyhow::Result<()> {
        self.journal.map_or(Ok(()), Journal::clear)
    }

    fn tools(&self) -> Tools<'_> {
        Tools { cgroup: self.cgroup.as_deref() }
    }

    fn make(&mut self, object: &Object, with: &[String]) -> anyhow::Result<()> {
        let tools = self.tools();
        match object {
            Object::Cgroup(name) => {
                self.cgroup = Some(cgroup::make(name)?);
                Ok(())
            }
            Object::ControllerCgroups(name) => cgroup::make_controllers(name),
            Object::Netns(name) => links::make_netns(name, with),
            Object::DockerNetwork(name) => engines::make_docker_network(tools, name, with),
            Object::DockerImage(name) => engines::make_docker_image(tools, name, with),
            Object::Table { netns, name } => engines::make_table(tools, netns, name, with),
            Object::Dir(path) => make_dir(path, with),
            Object::NetnsMount => links::make_netns_mount(),
            Object::Link { .. } | Object::DockerContainer(_) | Object::RuncContainer(_) => {
                bail!("{object} is not made by this machine itself")
            }
        }
    }

    fn start(&mut self, name: &str, argv: &[String], leaves: &[Object]) -> anyhow::Result<u32> {
        let words = self.words.join(name);
        let file = std::fs::File::create(&words)
            .with_context(|| format!("failed to make {}", words.display()))?;
        let mut child = command::start(self.cgroup.as_deref(), argv, file)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("`{name}` has no pipes");
        };
        let pid = child.id();
        let control = Control::new(output, input, name)?;
        let leaves = leaves.to_vec();
        self.agents.insert(name.to_owned(), Agent { child, control, leaves });
        Ok(pid)
    }

    /// Asks an engine for a container's process until it has one, or whoever was to start it has ended.
    fn await_container(
        &mut self,
        query: &Query<String>,
        ask: impl Fn(Tools<'_>) -> anyhow::Result<Option<String>>,
    ) -> anyhow::Result<Vec<String>> {
        let found = wait::until(&query.to_string(), CONTAINER, || {
            if let Some(pid) = ask(self.tools())? {
                return Ok(Some(vec![pid]));
            }
            for (name, agent) in &mut self.agents {
                if let Some(status) = agent.child.try_wait()? {
                    bail!("`{name}` ended before it had one: {status}");
                }
            }
            Ok(None)
        });
        found.map_err(|error| self.explain(error))
    }

    fn learn(&mut self, query: &Query<String>) -> anyhow::Result<Vec<String>> {
        let numbers = |list: Vec<i32>| list.iter().map(ToString::to_string).collect();
        match query {
            Query::DockerPid(name) => {
                self.await_container(query, |tools| engines::docker_pid(tools, name))
            }
            Query::RuncPid(name) => {
                self.await_container(query, |tools| engines::runc_pid(tools, name))
            }
            Query::Child(pid) => Ok(vec![threads::child_of(number(pid)?)?.to_string()]),
            Query::PidFile(path) => self.await_container(query, |_| engines::pid_in(path)),
            Query::Threads(pid) => Ok(numbers(threads::of_process(number(pid)?)?)),
            Query::QmpVcpus(socket) => Ok(numbers(vcpus(socket)?)),
            Query::QmpOthers(pid, socket) => {
                let vcpus = vcpus(socket)?;
                let mut all = threads::of_process(number(pid)?)?;
                all.retain(|thread| !vcpus.contains(thread));
                Ok(numbers(all))
            }
            Query::Hello(_)
            | Query::GuestHello(..)
            | Query::QmpReady(_)
            | Query::FileIsThere(_)
            | Query::LinkForwards(..)
            | Query::AddressesReady(..) => bail!("`{query}` has no value to learn"),
        }
    }

    /// Adds what the children said to an error about something that they should have done.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let said: Vec<String> = self
            .agents
            .keys()
            .map(|name| (name, self.last_words(name)))
            .filter(|(_, words)| !words.is_empty())
            .map(|(name, words)| format!("`{name}` said: {words}"))
            .collect();
        if said.is_empty() { error } else { error.context(said.join("; ")) }
    }

    fn hello(
        &mut self,
        name: &str,
        within: Duration,
        alive: &mut dyn FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self.control(name)?.hello_while(within, alive) {
            Ok(_) => Ok(()),
            Err(error) => match self.last_words(name) {
                words if words.is_empty() => Err(error),
                words => Err(error.context(format!("`{name}` said: {words}"))),
            },
        }
    }

    fn wait(&mut self, query: &Query<String>, within: Duration) -> anyhow::Result<()> {
        let what = query.to_string();
        match query {
            Query::Hello(name) => self.hello(name, within, &mut || Ok(())),
            Query::GuestHello(name, pid) => {
                let mut guest = Alive::new(number(pid)?, &self.words.join(CONSOLE));
                self.hello(name, within, &mut || guest.look())
            }
            Query::QmpReady(socket) => {
                let answers = || match Qmp::connect(Path::new(socket), within) {
                    Ok(_) => Ok(Some(())),
                    Err(error) if Qmp::is_not_yet(&error) => Ok(None),
                    Err(error) => Err(error),
                };
                wait::until(&what, within, answers).map_err(|error| self.explain(error))
            }
            Query::FileIsThere(path) => {
                let is_there = || Ok(Path::new(path).exists().then_some(()));
                wait::until(&what, within, is_there).map_err(|error| self.explain(error))
            }
            Query::LinkForwards(netns, link) => wait::until(&what, within, || {
                Ok(links::forwards(self.tools(), netns, link)?.then_some(()))
            }),
            Query::AddressesReady(netns, link) => wait::until(&what, within, || {
                Ok(links::addresses_ready(self.tools(), netns, link)?.then_some(()))
            }),
            _ => bail!("`{query}` is learned, not awaited"),
        }
    }
}

impl Machine for Real {
    fn read(&mut self, _at: Node, path: &str) -> anyhow::Result<String> {
        let value = files::read(path);
        if let Err(error) = &value {
            self.refused.insert(path.to_owned(), format!("{error:#}"));
        }
        value
    }

    fn is_there(&mut self, _at: Node, object: &Object) -> anyhow::Result<bool> {
        match object {
            Object::Cgroup(name) => cgroup::is_there(name),
            Object::ControllerCgroups(name) => cgroup::is_anywhere(name),
            Object::Netns(name) => Ok(links::netns_is_there(name)),
            Object::Link { netns, name } => Ok(netns.is_empty() && links::exists(name)),
            Object::Dir(path) => Ok(Path::new(path).symlink_metadata().is_ok()),
            Object::NetnsMount => links::has_netns_mount(),
            // An import would take over a name that is there already, and its undoing would remove it.
            Object::DockerImage(name) => engines::has_docker_image(self.tools(), name),
            // Engines refuse the name of a container or a network twice, and a namespace of ours holds nothing of others.
            Object::DockerNetwork(_)
            | Object::DockerContainer(_)
            | Object::RuncContainer(_)
            | Object::Table { .. } => Ok(false),
        }
    }

    fn journal(&mut self, states: &[Ensure]) -> anyhow::Result<()> {
        let journal = self.journal.as_mut().context("this machine only restores")?;
        journal.append(states)
    }

    fn apply(&mut self, _at: Node, act: &Act<String>) -> anyhow::Result<Vec<String>> {
        self.goes_on()?;
        let done = self.act(act);
        self.killed |= done.is_err();
        done
    }

    fn apply_all(&mut self, at: Node, acts: &[Act<String>]) -> Result<(), (usize, anyhow::Error)> {
        let mut done = 0;
        while let Some(act) = acts.get(done) {
            let lines = ip::Line::neighbours(&acts[done..]);
            if lines.is_empty() {
                self.apply(at, act).map_err(|error| (done, error))?;
            } else {
                ip::run(self.tools(), &lines).map_err(|(place, error)| (done + place, error))?;
            }
            done += lines.len().max(1);
        }
        Ok(())
    }

    fn ensure(&mut self, state: &Ensure) -> anyhow::Result<Reached> {
        // Outside of the boot's cgroup, which may just have been removed.
        let tools = Tools::default();
        self.let_engine_settle(state);
        match state {
            Ensure::Value { path, is, ours, .. } => return files::restore(path, is, ours),
            Ensure::Absent { what, .. } => match what {
                Object::Cgroup(name) => {
                    self.cgroup = None;
                    // Who was asked to stop may have had its children killed before.
                    self.killed |= cgroup::remove(name)? || self.stop.load(Ordering::Relaxed);
                    self.reap()?;
                }
                Object::ControllerCgroups(name) => cgroup::remove_controllers(name)?,
                Object::Netns(name) => links::remove_netns(name)?,
                Object::Link { netns, name } if netns.is_empty() => {
                    links::remove_link(tools, name)?
                }
                // They went, or will go, with their namespace.
                Object::Link { .. } | Object::Table { .. } => {}
                Object::DockerNetwork(name) => {
                    engines::remove_docker_network(tools, name)?;
                }
                container @ Object::DockerContainer(_) if self.gone.contains(container) => {}
                Object::DockerContainer(name) => {
                    engines::remove_from_docker(
                        tools,
                        &["docker", "rm", "--force", "--volumes", name],
                    )?;
                }
                Object::DockerImage(name) => {
                    engines::remove_from_docker(
                        tools,
                        &["docker", "image", "rm", "--force", name],
                    )?;
                }
                Object::RuncContainer(name) => engines::remove_runc(tools, name)?,
                Object::Dir(path) => engines::remove_mounted_dir(Path::new(path))?,
                Object::NetnsMount => links::remove_netns_mount()?,
            },
        }
        Ok(Reached::Yes)
    }

    fn ensure_all(&mut self, states: &[&Ensure]) -> Vec<anyhow::Result<Reached>> {
        let [first, others @ ..] = states else { return Vec::new() };
        others.iter().for_each(|state| self.let_engine_settle(state));
        // What needs no neighbour asks nothing of this boot either.
        let beside = |state| move || Real { killed: false, ..Real::for_restore() }.ensure(state);
        std::thread::scope(|scope| {
            let others: Vec<_> = others.iter().map(|state| scope.spawn(beside(*state))).collect();
            let mut reached = vec![self.ensure(first)];
            reached.extend(others.into_iter().map(|other| {
                other.join().unwrap_or_else(|_| Err(anyhow::anyhow!("its thread panicked")))
            }));
            reached
        })
    }
}

impl Real {
    /// Lets an engine end what it does for clients that were killed, before the first of its objects is removed.
    fn let_engine_settle(&mut self, state: &Ensure) {
        if let Ensure::Absent { what, .. } = state
            && is_of_docker(what)
            && std::mem::take(&mut self.killed)
        {
            engines::settle();
        }
    }

    fn act(&mut self, act: &Act<String>) -> anyhow::Result<Vec<String>> {
        if let Some(line) = ip::Line::of(act) {
            ip::run(self.tools(), &[line]).map_err(|(_, error)| error)?;
            return Ok(Vec::new());
        }
        match act {
            Act::Put { on: Setting::Asked(path), value } => self.ask(path, value),
            Act::Put { on: Setting::HeldOpen(path), value } => match hold_open(path, value) {
                Ok(file) => self.held.push(file),
                Err(error) => {
                    self.refused.insert(path.clone(), format!("{error:#}"));
                }
            },
            Act::Put { on, value } => put(self.tools(), on, value)?,
            Act::Make { object, with } => self.make(object, with)?,
            Act::Start { name, argv, leaves, .. } => {
                return Ok(vec![self.start(name, argv, leaves)?.to_string()]);
            }
            Act::Learn { query, .. } => return self.learn(query),
            Act::Await { query, within } => self.wait(query, *within)?,
            Act::Go(Held::Qemu(socket)) => Qmp::connect(Path::new(socket), QMP)?.resume()?,
        }
        Ok(Vec::new())
    }

    /// Waits for children whose cgroup was killed, so that no zombie is left.
    fn reap(&mut self) -> anyhow::Result<()> {
        for (name, agent) in &mut self.agents {
            agent.child.wait().with_context(|| format!("failed to wait for `{name}`"))?;
        }
        Ok(())
    }
}

fn is_of_docker(object: &Object) -> bool {
    matches!(object, Object::DockerNetwork(_) | Object::DockerContainer(_) | Object::DockerImage(_))
}

fn put(tools: Tools<'_>, on: &Setting<String>, value: &str) -> anyhow::Result<()> {
    match on {
        Setting::File(path) => files::write(path, value),
        Setting::OwnFile { netns, path } => files::write_seen_from(netns, path, value),
        Setting::Asked(_) | Setting::HeldOpen(_) => bail!("{on} is not written by itself"),
        Setting::Affinity(thread) => {
            threads::set_affinity(number(thread)?, &threads::parse_list(value)?)
        }
        Setting::Policy(thread) => threads::set_policy(number(thread)?, value.parse()?),
        Setting::RealtimeBudget(pid) => {
            let ours = tools.cgroup.and_then(Path::file_name).unwrap_or_default();
            cgroup::realtime_budget(number(pid)?, value, &ours.to_string_lossy())
        }
        Setting::CpuQuota(pid) => cgroup::limit_cpu(number(pid)?, value),
        Setting::Queue { netns, link } => queues::set(tools, netns, link, value),
        Setting::Link { .. } => bail!("{on} is set by `ip`"),
    }
}

/// Opens a file, writes a number to it, and leaves it open.
fn hold_open(path: &str, value: &str) -> anyhow::Result<std::fs::File> {
    use std::io::Write as _;
    let number: i32 = value.parse().with_context(|| format!("`{value}` is no number"))?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .with_context(|| format!("failed to open {path}"))?;
    file.write_all(&number.to_ne_bytes())
        .with_context(|| format!("failed to write `{value}` to {path}"))?;
    Ok(file)
}

/// Makes a folder for the boot and the files in it: `with` alternates names and contents.
fn make_dir(path: &str, with: &[String]) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("failed to make folder {path}"))?;
    for pair in with.chunks(2) {
        let [name, content] = pair else { bail!("folder {path}: a file without content") };
        let file = Path::new(path).join(name);
        std::fs::write(&file, content)
            .with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(())
}

fn vcpus(socket: &str) -> anyhow::Result<Vec<i32>> {
    let mut threads = Qmp::connect(Path::new(socket), QMP)?.vcpu_threads()?;
    threads.sort_unstable();
    Ok(threads)
}

fn number(text: &str) -> anyhow::Result<i32> {
    text.parse().with_context(|| format!("`{text}` is not a process id"))
}
