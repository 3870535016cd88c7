//! Tuning: a profile is a list of knobs with the values that it asks for. What a knob asked, what was done for it, and
//! what was read back, are three things, and all three are recorded.
//!
//! A knob that only writes a path is a row of `rows`; a file is for one with logic. What is not shipped is in `unsupported`. A knob that this
//! host lacks or refuses never keeps a cell from being measured: it is reported as not effective, with the reason (`rows` has the rule).

use anyhow::bail;

use super::virtualization::Virtualization;
use super::{Site, network};
use crate::doctor::NeedName;
use crate::matrix::nearest;

mod cmdline;
mod cpus;
mod found;
mod latency;
mod memory;
mod placement;
mod policy;
mod probe;
mod profile;
mod roles;
mod rows;
mod steering;
mod throttle;
mod turned;
mod unsupported;

pub use found::Found;
pub use probe::Probe;
pub use profile::{Profile, names, names_in};
pub use rows::{Row, Values};
pub use turned::{Turned, Without};
pub use unsupported::UNSUPPORTED;

use roles::{by_role, cpus_named};

/// What a knob is turned for.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The boot.
    pub site: &'a Site,
    /// The kind of the system under test.
    pub system: &'a dyn Virtualization,
    /// The boot's own links that packets cross: (namespace or nothing, link).
    pub links: &'a [(String, String)],
}

impl Target<'_> {
    /// Why a knob of threads does less than asked for: what it says itself, and what the path says of threads that no knob reaches.
    fn less(&self, own: Option<String>) -> Option<String> {
        let path = network::find(&self.site.cell.network);
        let path = path.and_then(|path| path.has_untuned_threads()).map(str::to_owned);
        own.into_iter().chain(path).reduce(|one, other| format!("{one}; {other}"))
    }
}

/// Why a knob means nothing beside certain others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What is missing.
    pub why: &'static str,
    /// Whether the system under test would not even start.
    pub is_fatal: bool,
}

/// A knob.
pub trait Knob: Sync {
    /// Its name in a profile.
    fn name(&self) -> &'static str;

    /// What it does.
    fn about(&self) -> &'static str;

    /// The values it takes, in words.
    fn values(&self) -> String;

    /// What a host must have for it to be turned to `want`.
    fn needs(&self, want: &str) -> &'static [NeedName];

    /// Whether it takes this value on some host.
    ///
    /// # Errors
    /// The value is none of those that the knob takes.
    fn check(&self, want: &str) -> anyhow::Result<()>;

    /// Turns it to `want`.
    ///
    /// # Errors
    /// The value is none of those that the knob takes on this host.
    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned>;

    /// Why turning it means nothing beside the other knobs of a profile, where it does not: it acts on what another one makes.
    fn lacks(&self, _others: &Profile) -> Option<Lack> {
        None
    }

    /// What other knobs of a profile do of the same, where they do: leaving it out leaves that.
    fn covered(&self, _others: &Profile) -> Option<&'static str> {
        None
    }

    /// Why no boot can turn it, where it is only verified.
    fn only_verified(&self) -> Option<&'static str> {
        None
    }
}

/// Knobs with logic, in the order in which they are turned, after all rows.
const LOGIC: &[&dyn Knob] = &[
    &latency::Latency,
    &memory::LOCK,
    &memory::HUGE,
    &memory::PREALLOC,
    &memory::MEMS,
    &cpus::GuestCpus,
    &cmdline::GuestCmdline,
    &cmdline::HostCmdline,
    &steering::Steering,
    &throttle::Throttle,
    &placement::PlacementKnob,
    &policy::PolicyKnob,
];

/// All knobs, in the order in which they are turned.
pub fn all() -> impl Iterator<Item = &'static dyn Knob> {
    rows::ROWS.iter().map(|row| row as &dyn Knob).chain(LOGIC.iter().copied())
}

/// The knobs that only write a path.
pub fn rows() -> &'static [Row] {
    rows::ROWS
}

fn find(name: &str) -> anyhow::Result<&'static dyn Knob> {
    if let Some(knob) = all().find(|knob| knob.name() == name) {
        return Ok(knob);
    }
    if let Some((_, reason)) = unsupported::UNSUPPORTED.iter().find(|(known, _)| *known == name) {
        bail!("knob `{name}` is not supported: {reason}");
    }
    let names: Vec<&str> = all().map(Knob::name).collect();
    match nearest(name, names.iter().copied()) {
        Some(near) => bail!("there is no knob `{name}`: did you mean `{near}`?"),
        None => bail!("there is no knob `{name}`: the knobs are {}", names.join(", ")),
    }
}

/// What a knob of this name does.
pub fn about(name: &str) -> Option<&'static str> {
    all().find(|knob| knob.name() == name).map(Knob::about)
}

/// Why no boot can turn a knob of this name, where it is only verified.
pub fn only_verified(name: &str) -> Option<&'static str> {
    find(name).ok()?.only_verified()
}
