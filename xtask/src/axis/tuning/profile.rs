//! A profile: what it asks of which knobs, as a file of `matrices/tuning` or as one that a matrix derives.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use evenkeel_agent::step::Role;
use serde::{Deserialize, Serialize};

use super::{Knob, Lack, Target, Turned, all, cmdline, cpus, find, memory, placement};
use crate::axis::virtualization::Virtualization;
use crate::axis::{Hop, Site};
use crate::doctor::NeedName;
use crate::matrix::Matrix;

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
line 4: knob `rt-throttle`: `on` is not a throttle: the values are `off` and `off:PERIOD`
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
}
