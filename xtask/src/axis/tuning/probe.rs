//! Readings: what can be read back from the machine to prove that a knob took effect.

use evenkeel_agent::step::Slot;
use serde::{Deserialize, Serialize};

/// Something that can be read back from the machine.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// The value of a file.
    File(String),
    /// The value of a file as a namespace of the boot shows it (nothing: the host's).
    OwnFile {
        /// The namespace.
        netns: String,
        /// The path.
        path: String,
    },
    /// The number that a file holds in four bytes.
    Number(String),
    /// The CPUs of every thread of a slot.
    Affinity(Slot),
    /// The policy of every thread of a slot.
    Policy(Slot),
    /// How much of its resident memory a process has locked: `all` or `not all`.
    Locked(Slot),
    /// Whether a process has memory on huge pages of its own: `some` or `none`.
    HugePages(Slot),
    /// Whether so many MiB of a process are resident, huge pages included: `all` or `not all`.
    Resident(Slot, u32),
    /// The NUMA nodes that a process may take memory from.
    Mems(Slot),
    /// Whether a word is on the command line of the host's kernel: `there` or `missing`.
    HostWord(String),
    /// Whether a word is on the command line of the guest's kernel: `there` or `missing`.
    GuestWord(String),
    /// A fact of the guest.
    GuestFact(String),
}

impl Probe {
    /// The slot that it reads.
    pub fn slot(&self) -> Option<&Slot> {
        match self {
            Probe::Affinity(slot)
            | Probe::Policy(slot)
            | Probe::Locked(slot)
            | Probe::HugePages(slot)
            | Probe::Resident(slot, _)
            | Probe::Mems(slot) => Some(slot),
            Probe::File(_)
            | Probe::OwnFile { .. }
            | Probe::Number(_)
            | Probe::HostWord(_)
            | Probe::GuestWord(_)
            | Probe::GuestFact(_) => None,
        }
    }

    /// Whether the guest itself must be asked.
    pub fn is_of_guest(&self) -> bool {
        matches!(self, Probe::GuestWord(_) | Probe::GuestFact(_))
    }
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Probe::File(path) | Probe::Number(path) => f.write_str(path),
            Probe::OwnFile { netns, path } if netns.is_empty() => f.write_str(path),
            Probe::OwnFile { netns, path } => write!(f, "{path} in {netns}"),
            Probe::Affinity(slot) => write!(f, "CPUs of {slot}"),
            Probe::Policy(slot) => write!(f, "policy of {slot}"),
            Probe::Locked(slot) => write!(f, "locked memory of {slot}"),
            Probe::HugePages(slot) => write!(f, "memory of {slot} on huge pages"),
            Probe::Resident(slot, mb) => write!(f, "{mb} MiB of memory of {slot}"),
            Probe::Mems(slot) => write!(f, "memory nodes of {slot}"),
            Probe::HostWord(word) => write!(f, "`{word}` of the host's command line"),
            Probe::GuestWord(word) => write!(f, "`{word}` of the guest's command line"),
            Probe::GuestFact(fact) => write!(f, "`{fact}` of the guest"),
        }
    }
}
