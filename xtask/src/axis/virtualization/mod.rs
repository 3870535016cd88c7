//! How the system under test is isolated from the host.

use std::time::Duration;

use evenkeel_agent::step::{Act, Arg, Node, Query, Role, Slot, Step};
use evenkeel_agent::threads;

use super::{Kind, Port, Site};

pub mod accelerator;
mod docker;
mod host;
mod netns;
mod nspawn;
mod podman;
mod qemu;
mod runc;

pub use qemu::{
    CMDLINE as GUEST_CMDLINE, COMMON as GUEST_COMMON, MAC as GUEST_MAC, MACHINE as GUEST_MACHINE,
    MEMORY_MB as GUEST_MEMORY_MB,
};

/// The agent's name in the first system under test.
pub const NAME: &str = "sut0";
/// The first system under test.
pub const SUT: Node = Node::Sut(0);

/// A kind of virtualization.
pub trait Virtualization: Kind {
    /// By what it can be attached to a network, preferred first.
    fn ports(&self) -> &'static [Port];

    /// The roles of its threads, as tuning sees them.
    fn roles(&self) -> &'static [Role];

    /// Whether it sees a root file system that we make, instead of the host's.
    fn has_own_root(&self) -> bool {
        true
    }

    /// The knobs of memory that its own steps carry out.
    fn memory_knobs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it has a kernel of its own.
    fn is_guest(&self) -> bool {
        false
    }

    /// The modules by which the kernel of a guest finds its network card and its control port.
    fn modules(&self) -> &'static [&'static str] {
        &[]
    }

    /// Estimated time to build and undo a boot of it on an idle machine.
    fn overhead(&self) -> Duration {
        Duration::from_millis(250)
    }

    /// How it is made, started and let go, attached by `port`. Binds the process id of the system under test and the threads of every role.
    fn steps(&self, site: &Site, port: Port, network: &dyn super::network::Network) -> Vec<Step>;
}

/// All kinds.
pub const ALL: &[&dyn Virtualization] = &[
    &host::Host,
    &netns::Netns,
    &runc::Runc,
    &docker::Docker,
    &podman::Podman,
    &nspawn::Nspawn,
    &qemu::Q35,
    &qemu::MICROVM,
];

/// The kind of this name.
pub fn find(name: &str) -> Option<&'static dyn Virtualization> {
    ALL.iter().copied().find(|kind| kind.name() == name)
}

/// Names of the kinds that have a kernel of their own.
pub fn guests() -> Vec<&'static str> {
    ALL.iter().filter(|kind| kind.is_guest()).map(|kind| kind.name()).collect()
}

/// How long the system under test may take to say hello.
const HELLO: Duration = Duration::from_secs(60);

/// What a tuning profile asks of an engine of containers, in the words that Docker and Podman share.
fn limits(site: &Site) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(cpus) = site.profile.cpus_of(site, Role::Server) {
        words.extend(["--cpuset-cpus".to_owned(), threads::list(&cpus)]);
    }
    if let Some(nodes) = site.profile.value("cpuset-mems") {
        words.extend(["--cpuset-mems".to_owned(), nodes.to_owned()]);
    }
    words
}

/// Waits for the agent's hello. What runs in a container is asked for only then: an engine that is asked
/// before answers no, and is slowed down by the asking.
fn hello() -> Act<Arg> {
    Act::Await { query: Query::Hello(NAME.into()), within: HELLO }
}

/// Learns the threads of a process on this host that serves, once it has said hello.
fn learn_server() -> Act<Arg> {
    Act::Learn {
        slot: Slot::Threads(SUT, Role::Server),
        query: Query::Threads(Slot::Pid(SUT).into()),
    }
}
