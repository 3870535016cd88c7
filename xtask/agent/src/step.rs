//! What a boot does to a machine, as data.
//!
//! A kind of the matrix returns [`Step`]s; the interpreter resolves what is known
//! only at run time ([`Slot`]) and a [`crate::machine::Machine`] acts. Because steps are data they can be
//! printed without root, undone from a journal, and replayed on a fake machine that dies at any
//! effect. This module is pure: no I/O, no clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where something acts.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// The machine that runs the interpreter.
    Host,
    /// A system under test; the number tells several of them apart.
    Sut(u8),
    /// The adjacent host that runs the client.
    Peer,
    /// What lies between the two, where that is a process.
    Path,
    /// What keeps the host busy meanwhile.
    Load,
    /// What disturbs on purpose, to see whether that is found.
    Fault,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Host => f.write_str("host"),
            Node::Sut(n) => write!(f, "sut{n}"),
            Node::Peer => f.write_str("peer"),
            Node::Path => f.write_str("path"),
            Node::Load => f.write_str("load"),
            Node::Fault => f.write_str("fault"),
        }
    }
}

/// When a step happens. Steps are sorted by phase and otherwise keep their order.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Objects that processes will need: cgroups, namespaces, links.
    Prepare,
    /// Processes are started, and held before they do anything.
    Hold,
    /// Links are given to what was started.
    Attach,
    /// Threads are placed, knobs are turned.
    Place,
    /// Everything held is let go.
    Go,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Prepare => "prepare",
            Phase::Hold => "hold",
            Phase::Attach => "attach",
            Phase::Place => "place",
            Phase::Go => "go",
        })
    }
}

/// What a thread of a node is there for; placement and policy are given by role.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Every thread of a process that serves (a container's or a namespace's agent).
    Server,
    /// Every thread of the process that asks.
    Client,
    /// The virtual CPUs of a guest.
    Vcpu,
    /// QEMU's other threads: main loop and I/O.
    Emulator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Server => "server",
            Role::Client => "client",
            Role::Vcpu => "vcpu",
            Role::Emulator => "emulator",
        })
    }
}

/// A value that is known only once something was started or asked.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Slot {
    /// The process id of a node's outermost process, as the host sees it.
    Pid(Node),
    /// The ids of a node's threads of one role, as the host sees them. May hold several values.
    Threads(Node, Role),
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Pid(node) => write!(f, "${node}.pid"),
            Slot::Threads(node, role) => write!(f, "${node}.threads.{role}"),
        }
    }
}

/// A piece of an [`Arg`].
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Text known when the plan was made.
    Is(String),
    /// The value of a slot.
    Of(Slot),
}

/// A word of a step: text with slots in it. Printed with the slots' names (`$sut0.pid`).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(transparent)]
pub struct Arg(pub Vec<Part>);

impl Arg {
    /// The slots that this word needs.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.0.iter().filter_map(|part| match part {
            Part::Of(slot) => Some(*slot),
            Part::Is(_) => None,
        })
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Is(text) => f.write_str(text),
            Part::Of(slot) => write!(f, "{slot}"),
        })
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Arg {
        Arg(vec![Part::Is(text.to_owned())])
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Arg {
        Arg(vec![Part::Is(text)])
    }
}

impl From<Slot> for Arg {
    fn from(slot: Slot) -> Arg {
        Arg(vec![Part::Of(slot)])
    }
}

/// Something with a value that can be read and written.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Setting<V> {
    /// A file that was there before the boot: a sysctl or sysfs path. Its old value is journaled.
    File(V),
    /// Such a file of a knob that the kernel may refuse: it may be read-only, or be no longer there. A refusal fails nothing, the machine
    /// remembers it, and reading the file back shows it. A file that could not be read before is not written.
    Asked(V),
    /// The same for a file whose value holds only for as long as somebody has it open, so that it goes with the boot's own process. Its values are
    /// four bytes, a signed number.
    HeldOpen(V),
    /// A file that belongs to an object of this boot and goes with it: a sysctl of a namespace of ours.
    OwnFile {
        /// The namespace through which the file is seen; nothing for a link of ours in the host's.
        netns: V,
        /// The path.
        path: V,
    },
    /// The CPUs that a thread of ours may use, as a list (`0,2-3`).
    Affinity(V),
    /// The scheduling policy of a thread of ours: `other`, `fifo:50`, `rr:50`, `batch`.
    Policy(V),
    /// The realtime budget (microseconds a second, -1 for no limit) of the cgroup that holds this process, on kernels that
    /// give realtime time by cgroup (version 1 with `RT_GROUP_SCHED`). The cgroup is ours; elsewhere this does nothing.
    RealtimeBudget(V),
    /// The CPU time (microseconds) that the cgroup of this process may have in each period of 100 ms. The cgroup is the container's, and
    /// goes with it.
    CpuQuota(V),
    /// What queues the packets that leave by a link of ours in a namespace of ours, in the words of tc(8): `tbf rate 100mbit ...`.
    Queue {
        /// The namespace.
        netns: V,
        /// The link's name there.
        link: V,
    },
    /// An attribute of a link of ours. `netns` is empty for the host's own namespace.
    Link {
        /// The namespace that holds the link, or nothing.
        netns: V,
        /// The link's name there.
        link: V,
        /// Which attribute.
        key: LinkKey,
    },
}

/// What can be set on a link of ours.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKey {
    /// `up` or `down`.
    State,
    /// The bridge that the link is a port of.
    Master,
    /// The hardware address.
    Mac,
    /// An address with its prefix length; several may be added.
    Address,
    /// A default route through this gateway.
    Gateway,
}

/// Something that a boot makes and that must not be there afterwards.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A cgroup (version 2, or a process-tracking version 1 hierarchy) that holds our children; made absent by killing them.
    Cgroup(String),
    /// The cgroups of this name under every version 1 controller, made by an engine or by us.
    ControllerCgroups(String),
    /// A named network namespace.
    Netns(String),
    /// A link, in the host's namespace if `netns` is empty, else in a namespace of the boot, with which it goes.
    Link {
        /// The named namespace, or nothing.
        netns: String,
        /// The link.
        name: String,
    },
    /// A network of the Docker engine.
    DockerNetwork(String),
    /// A container of the Docker engine.
    DockerContainer(String),
    /// An image of the Docker engine.
    DockerImage(String),
    /// A container of runc.
    RuncContainer(String),
    /// A table of nftables in a namespace of the boot, with which it goes.
    Table {
        /// The named namespace.
        netns: String,
        /// Family and name: `inet ek4f2a`.
        name: String,
    },
    /// A folder of ours, with all that is in it.
    Dir(String),
    /// The mount that `ip netns` makes on `/run/netns` where there is none.
    NetnsMount,
}

/// A question to a machine.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Query<V> {
    /// The process id of a Docker container's first process.
    DockerPid(V),
    /// The process id of a runc container's first process.
    RuncPid(V),
    /// The process that the process with this id has started: the only one.
    Child(V),
    /// The process id that an engine wrote to this file.
    PidFile(V),
    /// The threads of a process.
    Threads(V),
    /// The threads of a QEMU's virtual CPUs, asked over the QMP socket at this path.
    QmpVcpus(V),
    /// The threads of the QEMU with this process id that are not virtual CPUs: (pid, QMP socket).
    QmpOthers(V, V),
    /// The agent of this name said hello.
    Hello(V),
    /// The agent of this name said hello out of a guest that boots, of the QEMU with this process id: (name, pid).
    GuestHello(V, V),
    /// A QMP socket at this path answers.
    QmpReady(V),
    /// A file is there: a process that was started makes it once it is ready.
    FileIsThere(V),
    /// A link is up and, if it is a bridge port, forwarding: (netns or empty, link).
    LinkForwards(V, V),
    /// The addresses of a link are usable, not tentative: (netns or empty, link).
    AddressesReady(V, V),
}

/// Something held that can be let go. Agents are not among them: they do nothing before their first request.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Held<V> {
    /// A QEMU started with `-S`, by its QMP socket.
    Qemu(V),
}

/// One act on a machine: `Act<Arg>` in a plan, `Act<String>` once resolved.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Act<V> {
    /// Set a value.
    Put {
        /// What.
        on: Setting<V>,
        /// To what.
        value: V,
    },
    /// Make an object.
    Make {
        /// What; its name is fixed by the plan.
        object: Object,
        /// How: words whose meaning depends on the object.
        with: Vec<V>,
    },
    /// Start a process in the boot's cgroup. Its standard input and output are its control channel.
    Start {
        /// The channel's name: `sut0`, `peer`, `load`.
        name: String,
        /// Program and arguments.
        argv: Vec<V>,
        /// Where its process id goes.
        gives: Slot,
        /// What it leaves outside the cgroup (a container).
        leaves: Vec<Object>,
    },
    /// Ask, and bind the answer.
    Learn {
        /// Where the answer goes.
        slot: Slot,
        /// The question.
        query: Query<V>,
    },
    /// Ask until the answer is yes.
    Await {
        /// The question.
        query: Query<V>,
        /// For how long.
        within: Duration,
    },
    /// Let something go that was held.
    Go(Held<V>),
}

/// One act, where and when.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// Where.
    pub at: Node,
    /// When.
    pub phase: Phase,
    /// What.
    pub act: Act<Arg>,
}

/// A state to reach, to bring a node back. Idempotent, and free of commands and process ids.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Ensure {
    /// A file holds its old value again, unless somebody else changed it since.
    Value {
        /// Where.
        at: Node,
        /// The path.
        path: String,
        /// The value before the boot.
        is: String,
        /// The value that we wrote: anything else found there belongs to somebody else.
        ours: String,
    },
    /// An object is not there.
    Absent {
        /// Where.
        at: Node,
        /// What.
        what: Object,
    },
}

impl Ensure {
    /// Whether reaching this state ends processes of ours; those states come first.
    pub fn holds_processes(&self) -> bool {
        matches!(self, Ensure::Absent { what: Object::Cgroup(_), .. })
    }

    /// Whether this state is reached mostly by waiting, for the kernel or for an engine, and may be reached beside others that are: links of the
    /// host and networks of an engine, of which a link may be a port.
    pub fn needs_no_neighbour(&self) -> bool {
        match self {
            Ensure::Absent { what: Object::Link { netns, .. }, .. } => netns.is_empty(),
            Ensure::Absent { what: Object::DockerNetwork(_), .. } => true,
            _ => false,
        }
    }
}

/// The states that undo an act. Pure: `before` is the old value of a file that the act overwrites.
///
/// Acts on objects of the boot itself need none: they go with the object. `Learn`, `Await` and `Go` change nothing
/// that outlives it.
pub fn undo(at: Node, act: &Act<String>, before: Option<&str>) -> Vec<Ensure> {
    match act {
        Act::Put { on: Setting::File(path) | Setting::Asked(path), value } => before
            .map(|is| Ensure::Value {
                at,
                path: path.clone(),
                is: is.to_owned(),
                ours: value.clone(),
            })
            .into_iter()
            .collect(),
        Act::Make { object: Object::Link { netns, .. } | Object::Table { netns, .. }, .. }
            if !netns.is_empty() =>
        {
            Vec::new()
        }
        Act::Make { object, .. } => vec![Ensure::Absent { at, what: object.clone() }],
        Act::Start { leaves, .. } => {
            leaves.iter().map(|what| Ensure::Absent { at, what: what.clone() }).collect()
        }
        Act::Put { .. } | Act::Learn { .. } | Act::Await { .. } | Act::Go(_) => Vec::new(),
    }
}

impl<V: fmt::Display> fmt::Display for Setting<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::File(path) | Setting::Asked(path) => write!(f, "{path}"),
            Setting::HeldOpen(path) => write!(f, "{path}, held open,"),
            Setting::OwnFile { netns, path } => write!(f, "{path}{}", within(netns)),
            Setting::Affinity(thread) => write!(f, "CPUs of thread {thread}"),
            Setting::Policy(thread) => write!(f, "policy of thread {thread}"),
            Setting::RealtimeBudget(pid) => write!(f, "realtime budget of process {pid}"),
            Setting::CpuQuota(pid) => write!(f, "CPU quota of process {pid}"),
            Setting::Queue { netns, link } => write!(f, "queue of link {link}{}", within(netns)),
            Setting::Link { netns, link, key } => {
                let key = match key {
                    LinkKey::State => "state",
                    LinkKey::Master => "master",
                    LinkKey::Mac => "hardware address",
                    LinkKey::Address => "address",
                    LinkKey::Gateway => "default gateway",
                };
                write!(f, "{key} of link {link}{}", within(netns))
            }
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Cgroup(name) => write!(f, "cgroup {name}"),
            Object::ControllerCgroups(name) => write!(f, "cgroups {name} of all controllers"),
            Object::Netns(name) => write!(f, "network namespace {name}"),
            Object::Link { netns, name } => write!(f, "link {name}{}", within(netns)),
            Object::DockerNetwork(name) => write!(f, "docker network {name}"),
            Object::DockerContainer(name) => write!(f, "docker container {name}"),
            Object::DockerImage(name) => write!(f, "docker image {name}"),
            Object::RuncContainer(name) => write!(f, "runc container {name}"),
            Object::Table { netns, name } => write!(f, "nftables table {name}{}", within(netns)),
            Object::Dir(path) => write!(f, "folder {path}"),
            Object::NetnsMount => f.write_str("mount of network namespaces"),
        }
    }
}

impl<V: fmt::Display> fmt::Display for Query<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Query::DockerPid(name) => write!(f, "process of docker container {name}"),
            Query::RuncPid(name) => write!(f, "process of runc container {name}"),
            Query::Child(pid) => write!(f, "child of process {pid}"),
            Query::PidFile(path) => write!(f, "process id in {path}"),
            Query::Threads(pid) => write!(f, "threads of process {pid}"),
            Query::QmpVcpus(socket) => write!(f, "vcpu threads by {socket}"),
            Query::QmpOthers(pid, _) => write!(f, "emulator threads of process {pid}"),
            Query::Hello(name) => write!(f, "hello of agent {name}"),
            Query::GuestHello(name, _) => write!(f, "hello of agent {name} in its guest"),
            Query::QmpReady(socket) => write!(f, "qmp greeting on {socket}"),
            Query::FileIsThere(path) => write!(f, "{path} is there"),
            Query::LinkForwards(netns, link) => write!(f, "link {link}{} forwards", within(netns)),
            Query::AddressesReady(netns, link) => {
                write!(f, "addresses of {link}{} are usable", within(netns))
            }
        }
    }
}

fn within(netns: &impl fmt::Display) -> String {
    match netns.to_string() {
        name if name.is_empty() => name,
        name => format!(" in {name}"),
    }
}

impl<V: fmt::Display> fmt::Display for Act<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |words: &[V]| words.iter().map(|w| format!(" {w}")).collect::<String>();
        match self {
            Act::Put { on, value } => write!(f, "put {on} = {value}"),
            Act::Make { object, with } => write!(f, "make {object}{}", words(with)),
            Act::Start { name, argv, gives, .. } => {
                write!(f, "start {name} ({gives}):{}", words(argv))
            }
            Act::Learn { slot, query } => write!(f, "learn {slot}: {query}"),
            Act::Await { query, within } => {
                write!(f, "await {query}, at most {} s", within.as_secs_f64())
            }
            Act::Go(Held::Qemu(socket)) => write!(f, "let go the guest by {socket}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.act)
    }
}

impl fmt::Display for Ensure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ensure::Value { at, path, is, .. } => write!(f, "{at}: {path} = {is}"),
            Ensure::Absent { at, what } => write!(f, "{at}: no {what}"),
        }
    }
}
