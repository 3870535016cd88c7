//! The matrix: what a user wrote, checked, as values. [`parse()`] makes them of text, with every error at its place;
//! [`find`] looks the text up and is the only part that does I/O. What a cell does to a machine is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod attribution;
mod command;
pub mod duration;
mod kernel;
mod measure;
mod name;
mod nearest;
mod pairs;
mod parse;
pub mod placeholder;
mod problem;
mod product;
mod read;
mod source;
#[cfg(test)]
mod tests;

pub use attribution::{Arm, Attribution, Circumstance, Design, Factor, Setting, Study};
pub use command::{Command, PREFIX as COMMAND, Reads, is_of_repository};
pub use kernel::{PREEMPTION, RUNNING, SHIPPED};
pub use measure::{BOOTS, LONGEST_BOOT, quick};
pub use name::Name;
pub use nearest::nearest;
pub use pairs::pairs;
pub use parse::MOST_CELLS;
pub use parse::{document_of, utf8};
pub use parse::{parse, parse_bytes};
pub use problem::{Errors, Problem};
pub use problem::{Problems, printable, quoted, suggestion};
pub use read::Table;
pub use source::read_bounded;
pub use source::{EMBEDDED, Found, NotFound, find, find_in, names_in};

/// Names that a matrix may use, from the registries of kinds. Kernels are not among them: a matrix defines its own.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Vocabulary {
    /// Kinds of virtualization.
    pub virtualization: Vec<String>,
    /// Kinds of network.
    pub network: Vec<String>,
    /// Tuning profiles.
    pub tuning: Vec<String>,
    /// Kinds of load.
    pub load: Vec<String>,
    /// Workloads, those of `[command.NAME]` aside.
    pub workloads: Vec<String>,
    /// Units of what a command prints.
    pub units: Vec<UnitName>,
}

/// A unit that a matrix may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitName {
    /// As it is written.
    pub name: String,
    /// `lower` or `higher`: which direction is better.
    pub better: &'static str,
}

/// An axis of the matrix.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// The kernel under the workload.
    Kernel,
    /// How the system under test is isolated from the host.
    Virtualization,
    /// How packets reach it.
    Network,
    /// A profile of knobs.
    Tuning,
    /// What else runs.
    Load,
    /// The kernel below a guest. May be left out.
    HostKernel,
}

impl Axis {
    /// All axes, in the order of an id.
    pub const ALL: [Axis; 6] = [
        Axis::Kernel,
        Axis::Virtualization,
        Axis::Network,
        Axis::Tuning,
        Axis::Load,
        Axis::HostKernel,
    ];

    /// The axis as written in a matrix.
    pub fn name(self) -> &'static str {
        match self {
            Axis::Kernel => "kernel",
            Axis::Virtualization => "virtualization",
            Axis::Network => "network",
            Axis::Tuning => "tuning",
            Axis::Load => "load",
            Axis::HostKernel => "host-kernel",
        }
    }

    /// The value that a matrix means where it does not name the axis.
    pub fn default_value(self) -> Option<&'static str> {
        match self {
            Axis::Tuning => Some("stock"),
            Axis::Load => Some("idle"),
            Axis::HostKernel => Some(RUNNING),
            Axis::Kernel | Axis::Virtualization | Axis::Network => None,
        }
    }

    /// Whether the values of the axis are kernels.
    pub fn is_of_kernels(self) -> bool {
        matches!(self, Axis::Kernel | Axis::HostKernel)
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One combination of axis values. Names only: kinds are looked up in the registries.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// Kernel name: `running` or a key of the matrix's kernel table.
    pub kernel: Name,
    /// Name of a virtualization kind.
    pub virtualization: Name,
    /// Name of a network kind.
    pub network: Name,
    /// Name of a tuning profile.
    pub tuning: Name,
    /// Name of a load kind.
    pub load: Name,
    /// Kernel of the host below a guest: `running`, which ids and files leave out, or a key of the matrix's kernel table.
    #[serde(rename = "host-kernel", default = "running", skip_serializing_if = "is_running")]
    pub host_kernel: Name,
}

fn running() -> Name {
    Name::from(RUNNING)
}

fn is_running(kernel: &Name) -> bool {
    *kernel == RUNNING
}

impl Cell {
    /// A cell by its values, in the order of [`Axis::ALL`].
    pub fn of<N: Into<Name>>(values: [N; Axis::ALL.len()]) -> Cell {
        let [kernel, virtualization, network, tuning, load, host_kernel] = values.map(Into::into);
        Cell { kernel, virtualization, network, tuning, load, host_kernel }
    }

    /// The value on one axis.
    pub fn on(&self, axis: Axis) -> &str {
        match axis {
            Axis::Kernel => &self.kernel,
            Axis::Virtualization => &self.virtualization,
            Axis::Network => &self.network,
            Axis::Tuning => &self.tuning,
            Axis::Load => &self.load,
            Axis::HostKernel => &self.host_kernel,
        }
    }

    /// Whether the id names this axis: the kernel below a guest only where it is not the one that runs.
    pub fn names(&self, axis: Axis) -> bool {
        axis != Axis::HostKernel || !is_running(&self.host_kernel)
    }

    /// The readable id, stable across runs: `running/docker/bridge/isolated/noisy`, and for another kernel below a guest
    /// `debian/qemu/bridge/isolated/noisy/debian-rt`.
    pub fn id(&self) -> String {
        let mut id = String::with_capacity(self.id_len());
        self.push_id(&mut id);
        id
    }

    /// Bytes of the id.
    pub fn id_len(&self) -> usize {
        let named = Axis::ALL.into_iter().filter(|axis| self.names(*axis));
        named.map(|axis| self.on(axis).len() + 1).sum::<usize>() - 1
    }

    /// Appends the id: for a million cells, one text is used again and again.
    pub fn push_id(&self, text: &mut String) {
        for axis in Axis::ALL.into_iter().filter(|axis| self.names(*axis)) {
            if axis != Axis::Kernel {
                text.push('/');
            }
            text.push_str(self.on(axis));
        }
    }
}

/// IP version of the measured traffic.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What is measured in every boot.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Measure {
    /// Names of workloads, in order.
    pub workloads: Vec<String>,
    /// Fresh starts of every cell.
    pub boots: u32,
    /// Time before anything is counted, for each workload.
    pub warmup: Duration,
    /// Length of a window.
    pub window: Duration,
    /// Windows of each workload.
    pub windows: u32,
    /// IP version.
    pub family: Family,
    /// Requests a second of the paced workload.
    pub rate: u32,
}

/// Where a kernel comes from.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct KernelSource {
    /// A Debian package, fetched and unpacked, never installed.
    pub deb: Option<String>,
    /// The suite of apt's lists that the package is taken from (`bookworm-backports`; `backports` for those of the
    /// host's release); the one that apt prefers where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// A kernel image that somebody built.
    pub image: Option<String>,
    /// The folder with that kernel's modules (`lib/modules/VERSION`).
    pub modules: Option<String>,
    /// Additions to its command line.
    pub cmdline: Vec<String>,
    /// What must be true inside.
    pub expect: Expect,
    /// Labels of runners whose host runs this kernel.
    pub runner: Vec<String>,
}

/// What a kernel must be, verified from inside.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct Expect {
    /// Start of its version (`uname -r`).
    pub version: Option<String>,
    /// Preemption model: `none`, `voluntary`, `full`, `lazy` or `rt`.
    pub preempt: Option<String>,
    /// Options of its configuration: `CONFIG_HZ` and the like, with `y`, `m`, `n` or another value as written there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

/// A comparison of two values of an axis inside one run, cells equal on all other axes.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Contrast {
    /// Its name.
    pub name: String,
    /// The axis.
    pub axis: Axis,
    /// The value compared from.
    pub from: String,
    /// The value compared to.
    pub to: String,
}

/// A form that a report has besides its own.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// That of J. M. Welch's thesis (2015), with what it published beside.
    Thesis,
}

impl Form {
    /// All forms.
    pub const ALL: [Form; 1] = [Form::Thesis];

    /// The form as written in a matrix.
    pub fn name(self) -> &'static str {
        match self {
            Form::Thesis => "thesis",
        }
    }
}

/// A checked matrix: every name exists, no product is empty, no cell is there twice.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Its name.
    pub name: String,
    /// Its cells in the order of the axes, excludes and includes applied.
    pub cells: Vec<Cell>,
    /// What is measured.
    pub measure: Measure,
    /// Comparisons inside the run.
    pub contrasts: Vec<Contrast>,
    /// Kernels by name; `running` is not among them.
    pub kernels: BTreeMap<String, KernelSource>,
    /// The user's programs that it measures, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
    /// The texts of the tuning profiles that its cells name, as they were read: what a run was measured with stays with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, String>,
    /// The form that its report has besides its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// Whose knobs' effects are attributed, as the user asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
    /// The profiles that `plan` derived for it, under which the cells are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<Study>,
}

impl Matrix {
    /// The values that its cells have on an axis.
    pub fn names_on(&self, axis: Axis) -> BTreeSet<&str> {
        let mut names: Vec<&str> = self.cells.iter().map(|cell| cell.on(axis)).collect();
        names.dedup();
        names.into_iter().collect()
    }
}
