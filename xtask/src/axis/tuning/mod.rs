//! Tuning: a profile is a list of knobs with the values that it asks for. What a knob asked, what was done for it, and
//! what was read back, are three things, and all three are recorded.
//!
//! A knob that only writes a path is a row of `rows`; a file is for one with logic. What is not shipped is in `unsupported`. A knob that this
//! host lacks or refuses never keeps a cell from being measured: it is reported as not effective, with the reason (`rows` has the rule).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use evenkeel_agent::machine::same_value;
use evenkeel_agent::step::{Role, Slot, Step};
use evenkeel_agent::threads;
use serde::{Deserialize, Serialize};

use super::virtualization::Virtualization;
use super::{Hop, Site};
use crate::doctor::NeedName;
use crate::matrix::{Matrix, nearest};
use crate::record::Effect;

mod cmdline;
mod cpus;
mod found;
mod latency;
mod memory;
mod placement;
mod policy;
mod rows;
mod steering;
mod throttle;
mod unsupported;

pub use found::Found;
pub use rows::{Row, Values};
pub use unsupported::UNSUPPORTED;

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

/// Why nothing is done for a knob.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Without {
    /// This host cannot.
    Unsupported(String),
    /// The system under test is not of the kind that the knob is for.
    Inapplicable(String),
}

/// A knob that was turned: data for the boot, which acts, probes and judges.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Turned {
    /// The knob.
    pub knob: String,
    /// What the profile asked for.
    pub requested: String,
    /// What is done for it.
    pub applied: String,
    /// Readings, and what each must be.
    pub probes: Vec<(Probe, String)>,
    /// Whether each probe stands for a part of its own (an interrupt, a CPU), so that some may fail and the rest counts.
    #[serde(default)]
    pub each: bool,
    /// Why this machine allows less than what was asked for.
    pub partial: Option<String>,
    /// Why nothing is done.
    #[serde(default)]
    pub without: Option<Without>,
    /// The steps.
    pub steps: Vec<Step>,
}

/// How many differences are told one by one.
const TOLD: usize = 4;

impl Turned {
    /// A knob for which nothing is done yet.
    fn new(knob: &str, requested: &str) -> Turned {
        Turned {
            knob: knob.to_owned(),
            requested: requested.to_owned(),
            applied: "nothing".to_owned(),
            probes: Vec::new(),
            each: false,
            partial: None,
            without: None,
            steps: Vec::new(),
        }
    }

    /// What is done for it, or why nothing is.
    pub fn done(&self) -> String {
        match (&self.without, &self.partial) {
            (Some(Without::Unsupported(reason)), _) => format!("unsupported here: {reason}"),
            (Some(Without::Inapplicable(reason)), _) => format!("not applicable: {reason}"),
            (None, Some(reason)) => format!("{}, partial: {reason}", self.applied),
            (None, None) => self.applied.clone(),
        }
    }

    /// Whether both readings (one text a probe each) show what was applied. `refused` has the kernel's words for what it refused to
    /// write, by path.
    pub fn judge(&self, seen: [&[String]; 2], refused: &BTreeMap<String, String>) -> Effect {
        match &self.without {
            Some(Without::Unsupported(reason)) => {
                return Effect::NotEffective { reason: format!("unsupported here: {reason}") };
            }
            Some(Without::Inapplicable(reason)) => {
                return Effect::Inapplicable { reason: reason.clone() };
            }
            None => {}
        }
        let [first, last] = seen.map(|readings| self.differences(readings, refused));
        let few = |told: &[String]| {
            let more = told.len().saturating_sub(TOLD);
            let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
            told[..told.len().min(TOLD)].join("; ") + &rest
        };
        // Nobody changed anything back, and some parts took it.
        if self.each && !first.is_empty() && first == last && first.len() < self.probes.len() {
            let reason = format!("{} of {}: {}", first.len(), self.probes.len(), few(&first));
            return Effect::Partial { reason };
        }
        for (told, when) in [(first, "after placing"), (last, "after the last window")] {
            if !told.is_empty() {
                return Effect::NotEffective { reason: format!("{when} {}", few(&told)) };
            }
        }
        match &self.partial {
            Some(reason) => Effect::Partial { reason: reason.clone() },
            None => Effect::Effective,
        }
    }

    /// What reads differently from what was applied.
    fn differences(&self, readings: &[String], refused: &BTreeMap<String, String>) -> Vec<String> {
        let differs = |((probe, expected), found): (&(Probe, String), &String)| {
            let why = match probe {
                Probe::File(path) | Probe::Number(path) => refused.get(path),
                _ => None,
            };
            let why = why.map_or(String::new(), |why| format!(" ({why})"));
            let told = || format!("{probe} was `{found}`, not `{expected}`{why}");
            (!same_value(expected, found)).then(told)
        };
        self.probes.iter().zip(readings).filter_map(differs).collect()
    }
}

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

/// Roles of systems under test, as profiles name them.
const ROLES: [Role; 3] = [Role::Server, Role::Vcpu, Role::Emulator];

/// What a knob of this name does.
pub fn about(name: &str) -> Option<&'static str> {
    all().find(|knob| knob.name() == name).map(Knob::about)
}

/// Values by role: `vcpu=1 emulator=0`.
fn by_role<T>(
    want: &str,
    value: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<(Role, T)>> {
    let names = ROLES.map(|role| role.to_string());
    let mut given: Vec<(Role, T)> = Vec::new();
    for word in want.split_whitespace() {
        let Some((name, text)) = word.split_once('=') else {
            bail!("`{word}` is no ROLE=VALUE: the roles are {}", names.join(", "));
        };
        if let Some((_, reason)) = unsupported::NO_ROLES.iter().find(|(known, _)| *known == name) {
            bail!("role `{name}` is not supported: {reason}");
        }
        let Some(at) = names.iter().position(|known| known == name) else {
            let near = nearest(name, names.iter().map(String::as_str));
            let hint = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
            bail!("there is no role `{name}`{hint}");
        };
        if given.iter().any(|(role, _)| *role == ROLES[at]) {
            bail!("role `{name}` is given twice");
        }
        given.push((ROLES[at], value(text).with_context(|| format!("`{word}`"))?));
    }
    if given.is_empty() {
        bail!("`{want}` names no role");
    }
    Ok(given)
}

/// CPUs that a profile names; with `online`, each must be one of those.
fn cpus_named(list: &str, online: Option<&[usize]>) -> anyhow::Result<Vec<usize>> {
    let cpus = threads::parse_list(list)?;
    if cpus.is_empty() {
        bail!("`{list}` names no CPU");
    }
    if let Some(online) = online
        && let Some(missing) = cpus.iter().find(|cpu| !online.contains(cpu))
    {
        bail!("there is no CPU {missing}: the CPUs are {}", threads::list(online));
    }
    Ok(cpus)
}

/// A profile: what it asks of which knobs.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Knobs with their values, in the order of [`all`].
    pub knobs: Vec<(String, String)>,
    /// Knobs that mean something only together, by the name of their group: where effects are attributed they are turned as one.
    #[serde(default)]
    pub groups: BTreeMap<String, Vec<String>>,
}

/// The file of a profile.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    schema: u32,
    about: String,
    #[serde(default)]
    knobs: BTreeMap<String, String>,
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
}

const EMBEDDED: &[(&str, &str)] = &[
    ("stock", include_str!("../../../../matrices/tuning/stock.toml")),
    ("isolated", include_str!("../../../../matrices/tuning/isolated.toml")),
    ("isolated-guest", include_str!("../../../../matrices/tuning/isolated-guest.toml")),
    ("thesis-rt", include_str!("../../../../matrices/tuning/thesis-rt.toml")),
    ("thesis-rt-fifo", include_str!("../../../../matrices/tuning/thesis-rt-fifo.toml")),
    ("realtime", include_str!("../../../../matrices/tuning/realtime.toml")),
];

/// Why no boot can turn a knob of this name, where it is only verified.
pub fn only_verified(name: &str) -> Option<&'static str> {
    find(name).ok()?.only_verified()
}

/// Groups hold knobs of their profile, each in one of them, and are no knob's namesakes.
fn check_groups(file: &File) -> anyhow::Result<()> {
    let mut grouped: BTreeMap<&str, &str> = BTreeMap::new();
    for (group, knobs) in &file.groups {
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if group.is_empty() || !group.chars().all(fine) {
            bail!("`{group}` is no name of a group: use a-z, 0-9 and `-`");
        }
        if all().any(|knob| knob.name() == group) {
            bail!("group `{group}` has the name of a knob: give it another");
        }
        if knobs.is_empty() {
            bail!("group `{group}` holds no knob");
        }
        for knob in knobs {
            if !file.knobs.contains_key(knob) {
                bail!("group `{group}` names knob `{knob}`, which the profile does not turn");
            }
            if let Some(other) = grouped.insert(knob, group) {
                bail!("knob `{knob}` is in the groups `{other}` and `{group}`: leave it in one");
            }
        }
    }
    Ok(())
}

/// Where profiles lie, below a working directory.
const FOLDER: &str = "matrices/tuning";

/// A profile in errors: by its file, also where it is one that the binary carries.
fn said_of(name: &str) -> String {
    format!("profile {FOLDER}/{name}.toml")
}

/// The line that gives a knob its value, counted from 1; the first where none is found.
fn line_of(text: &str, knob: &str) -> usize {
    let gives = |line: &str| {
        line.trim_start().strip_prefix(knob).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().position(gives).map_or(1, |at| at + 1)
}

/// Names of all profiles that can be found from the working directory.
pub fn names() -> Vec<String> {
    names_in(Path::new("."))
}

/// [`names`] with another working directory.
pub fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let folder = std::fs::read_dir(directory.join(FOLDER)).into_iter().flatten().flatten();
    names.extend(folder.filter_map(|entry| {
        let path = entry.path();
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        is_toml.then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned())).flatten()
    }));
    names.sort();
    names.dedup();
    names
}

impl Profile {
    /// The profile of this name: `matrices/tuning/NAME.toml` of the working directory, else the one that the binary carries.
    ///
    /// # Errors
    /// There is none, or it cannot be read; names the file.
    pub fn find(name: &str) -> anyhow::Result<Profile> {
        Profile::parse(name, &Profile::text(Path::new("."), name)?).with_context(|| said_of(name))
    }

    /// The text of the profile of this name, with another working directory.
    ///
    /// # Errors
    /// There is none, or it cannot be read; names the file.
    pub fn text(directory: &Path, name: &str) -> anyhow::Result<String> {
        let path = directory.join(FOLDER).join(format!("{name}.toml"));
        let embedded = EMBEDDED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        match (std::fs::read_to_string(&path), embedded) {
            (Ok(text), _) => Ok(text),
            (Err(error), Some(text)) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(text.to_owned())
            }
            (Err(error), _) => {
                Err(error).with_context(|| format!("failed to read {}", said_of(name)))
            }
        }
    }

    /// Parses a profile.
    ///
    /// # Errors
    /// Not TOML, another schema, or a knob that there is not.
    pub fn parse(name: &str, text: &str) -> anyhow::Result<Profile> {
        let file: File = toml::from_str(text)?;
        if file.schema != crate::record::SCHEMA {
            bail!("schema {} is not known, only {}", file.schema, crate::record::SCHEMA);
        }
        for (name, want) in &file.knobs {
            let checked = find(name)
                .and_then(|knob| knob.check(want).with_context(|| format!("knob `{name}`")));
            checked.with_context(|| format!("line {}", line_of(text, name)))?;
        }
        check_groups(&file)?;
        let File { about, knobs, groups, .. } = file;
        Ok(Profile { groups, ..Profile::of_knobs(name, &about, &knobs) })
    }

    /// A profile of these knobs, without groups.
    pub fn of_knobs(name: &str, about: &str, knobs: &BTreeMap<String, String>) -> Profile {
        let asked = |knob: &'static dyn Knob| Some((knob.name(), knobs.get(knob.name())?));
        let knobs = all().filter_map(asked);
        Profile {
            name: name.to_owned(),
            about: about.to_owned(),
            knobs: knobs.map(|(knob, want)| (knob.to_owned(), want.clone())).collect(),
            groups: BTreeMap::new(),
        }
    }

    /// The profile that a cell of a matrix names: one that the matrix derives, or holds the text of, else [`Profile::find`].
    ///
    /// # Errors
    /// As [`Profile::find`].
    pub fn of(matrix: &Matrix, name: &str) -> anyhow::Result<Profile> {
        let derived = matrix.study.iter().flat_map(|study| &study.arms);
        match derived.into_iter().find(|arm| arm.tuning == name && arm.is_derived()) {
            Some(arm) => Ok(Profile::of_knobs(name, &arm.about, &arm.knobs)),
            None => match matrix.profiles.get(name) {
                Some(text) => Profile::parse(name, text).with_context(|| said_of(name)),
                None => Profile::find(name),
            },
        }
    }

    /// Knobs of the profile that mean nothing beside the others, with the reasons.
    pub fn lacking(&self) -> Vec<(&'static str, Lack)> {
        let named = self.knobs.iter().filter_map(|(name, _)| find(name).ok());
        named.filter_map(|knob| Some((knob.name(), knob.lacks(self)?))).collect()
    }

    /// What the profile does of what a knob would do that it leaves out.
    pub fn covers(&self, knob: &str) -> Option<&'static str> {
        find(knob).ok()?.covered(self)
    }

    /// Turns every knob of the profile.
    ///
    /// # Errors
    /// A value that its knob does not take on this host: names profile, knob and value.
    pub fn turn(
        &self,
        site: &Site,
        system: &dyn Virtualization,
        hops: &[Hop],
    ) -> anyhow::Result<Vec<Turned>> {
        let links: Vec<(String, String)> = hops
            .iter()
            .filter_map(|hop| match hop {
                Hop::Link { netns, link, .. } => Some((netns.clone(), link.clone())),
                Hop::OtherPort { .. } => None,
            })
            // An engine's own bridge has no queue to turn.
            .filter(|(netns, link)| !netns.is_empty() || *link != site.names.bridge())
            .collect();
        let to = Target { site, system, links: &links };
        self.knobs
            .iter()
            .map(|(name, want)| {
                find(name)?
                    .turn(want, &to)
                    .with_context(|| format!("knob `{name}` = `{want}` of profile `{}`", self.name))
            })
            .collect()
    }

    /// What a host must have for each knob of the profile.
    pub fn needs(&self) -> impl Iterator<Item = (&str, &'static [NeedName])> {
        self.knobs
            .iter()
            .filter_map(|(name, want)| Some((name.as_str(), find(name).ok()?.needs(want))))
    }

    /// What it asks of a knob.
    pub fn value(&self, knob: &str) -> Option<&str> {
        self.knobs.iter().find(|(name, _)| name == knob).map(|(_, want)| want.as_str())
    }

    /// Whether it asks anything of a knob.
    pub fn asks(&self, knob: &str) -> bool {
        self.value(knob).is_some()
    }

    /// Whether it puts a guest's memory on huge pages, and this host can keep some ready.
    pub fn has_guest_on_hugepages(&self, site: &Site) -> bool {
        self.asks(memory::HUGE.name()) && memory::can_keep_hugepages(site)
    }

    /// How many virtual CPUs it gives to a guest.
    pub fn guest_cpus(&self) -> usize {
        cpus::of(self)
    }

    /// The words that it gives to a guest's kernel.
    pub fn guest_words(&self) -> impl Iterator<Item = &str> {
        self.value(cmdline::GUEST).into_iter().flat_map(str::split_whitespace)
    }

    /// The CPUs that it gives to threads of a role; nothing if it places none, or none that there are.
    pub fn cpus_of(&self, site: &Site, role: Role) -> Option<Vec<usize>> {
        placement::cpus_of(self, site, role).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(knobs: &str) -> String {
        let text = format!("schema = 1\nabout = \"of a test\"\n[knobs]\n{knobs}");
        format!("{:#}", Profile::parse("mine", &text).unwrap_err())
    }

    #[test]
    fn errors_name_the_knob_the_value_and_what_would_be_right() {
        insta::assert_snapshot!(
            [
                error("polcy = \"fifo\""),
                error("turbo = \"off\""),
                error("placement = \"vcpus=1\""),
                error("placement = \"vhost=1\""),
                error("policy = \"client=fifo\""),
                error("placement = \"vcpu=a\""),
                error("placement = \"vcpu=1 vcpu=2\""),
                error("placement = \"automatic\""),
                error("policy = \"vcpu=deadline\""),
                error("rt-throttle = \"on\""),
                error("memory-lock = \"yes\""),
                error("cpuset-mems = \"a\""),
                error("cpu-dma-latency = \"-1\""),
                error("guest-cmdline = \"isolcpus={isolated}\""),
                error("guest-cpus = \"17\""),
            ]
            .join("\n")
        , @r"
line 4: there is no knob `polcy`: did you mean `policy`?
line 4: knob `turbo` is not supported: no host of the tests shows cpufreq, so no test could turn it: set it on the host
line 4: knob `placement`: there is no role `vcpus`: did you mean `vcpu`?
line 4: knob `placement`: role `vhost` is not supported: the hosts of the tests have no /dev/vhost-net, so no test could place its threads: packets of guests go through `emulator`
line 4: knob `policy`: role `client` is not supported: the peer's threads have one placement and policy in every cell, because they measure
line 4: knob `placement`: `vcpu=a`: `a` is not a list of CPUs such as `0,2-3`
line 4: knob `placement`: role `vcpu` is given twice
line 4: knob `placement`: `automatic` is no ROLE=VALUE: the roles are server, vcpu, emulator
line 4: knob `policy`: `vcpu=deadline`: scheduling policy `deadline` is not other, batch, fifo:N or rr:N
line 4: knob `rt-throttle`: `on` is not a throttle: the only value is `off`
line 4: knob `memory-lock`: `yes` is not known: the only value is `on`
line 4: knob `cpuset-mems`: `a` is not a list of nodes such as `0`
line 4: knob `cpu-dma-latency`: `-1` is not a whole number from 0 to 1000000
line 4: knob `guest-cmdline`: placement is the host's: give a guest's CPUs as numbers
line 4: knob `guest-cpus`: `17` is not a whole number from 1 to 16
");
    }

    #[test]
    fn groups_hold_knobs_of_their_profile_once() {
        let knobs = "policy = \"fifo\"\nrt-throttle = \"off\"\n[groups]\n";
        insta::assert_snapshot!(
            [
                error(&format!("{knobs}realtime = [\"policy\", \"placement\"]")),
                error(&format!("{knobs}a = [\"policy\"]\nb = [\"policy\"]")),
                error(&format!("{knobs}policy = [\"policy\"]")),
                error(&format!("{knobs}\"a/b\" = [\"policy\"]")),
                error(&format!("{knobs}none = []")),
            ]
            .join("\n")
        , @r"
            group `realtime` names knob `placement`, which the profile does not turn
            knob `policy` is in the groups `a` and `b`: leave it in one
            group `policy` has the name of a knob: give it another
            `a/b` is no name of a group: use a-z, 0-9 and `-`
            group `none` holds no knob
            ");
    }

    #[test]
    fn knobs_that_act_on_what_others_make_say_so() {
        let lacking = |knobs: &str| {
            let text = format!("schema = 1\nabout = \"of a test\"\n[knobs]\n{knobs}");
            let profile = Profile::parse("mine", &text).unwrap();
            profile.lacking().iter().map(|(knob, _)| (*knob).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(lacking("rt-throttle = \"off\""), ["rt-throttle"]);
        assert_eq!(lacking("rt-throttle = \"off\"\npolicy = \"batch\""), ["rt-throttle"]);
        assert!(lacking("rt-throttle = \"off\"\npolicy = \"vcpu=rr:3\"").is_empty());
        assert_eq!(lacking("guest-hugepages = \"on\""), ["guest-hugepages"]);
        assert!(lacking("guest-hugepages = \"on\"\nhugepages = \"256\"").is_empty());
        for name in names() {
            let profile = Profile::find(&name).unwrap();
            assert_eq!(profile.lacking(), [], "{name}");
        }
    }

    fn turned(each: bool) -> Turned {
        let probe = |path: &str| (Probe::File(path.to_owned()), "1".to_owned());
        Turned { each, probes: vec![probe("/a"), probe("/b")], ..Turned::new("k", "on") }
    }

    fn judged(each: bool, seen: [[&str; 2]; 2]) -> String {
        let [first, last] = seen.map(|readings| readings.map(str::to_owned));
        let refused = BTreeMap::from([("/b".to_owned(), "EPERM".to_owned())]);
        match turned(each).judge([&first, &last], &refused) {
            Effect::Effective => "effective".to_owned(),
            Effect::Partial { reason } => format!("partial: {reason}"),
            Effect::NotEffective { reason } => format!("not: {reason}"),
            Effect::Inapplicable { reason } => format!("inapplicable: {reason}"),
        }
    }

    #[test]
    fn parts_that_were_refused_are_partial_and_what_was_turned_back_is_not_effective() {
        assert_eq!(judged(true, [["1", "1"], ["1", "1"]]), "effective");
        let refused = [["1", "0"], ["1", "0"]];
        assert_eq!(judged(true, refused), "partial: 1 of 2: /b was `0`, not `1` (EPERM)");
        assert_eq!(judged(false, refused), "not: after placing /b was `0`, not `1` (EPERM)");
        let back = [["1", "1"], ["0", "1"]];
        assert_eq!(judged(true, back), "not: after the last window /a was `0`, not `1`");
        let both = [["1", "0"], ["0", "0"]];
        assert_eq!(judged(true, both), "not: after placing /b was `0`, not `1` (EPERM)");
    }
}
