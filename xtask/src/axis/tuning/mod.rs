//! Tuning: a profile is a list of knobs with the values that it asks for. What a knob asked, what was done for it, and
//! what was read back, are three things, and all three are recorded.

use std::path::Path;

use anyhow::{Context as _, bail};
use evenkeel_agent::step::{Role, Slot, Step};
use serde::{Deserialize, Serialize};

use super::Site;
use crate::doctor::NeedName;
use crate::record::Effect;

mod placement;
mod policy;
mod throttle;

/// Something that can be read back from the machine.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// The value of a file.
    File(String),
    /// The CPUs of every thread of a slot.
    Affinity(Slot),
    /// The policy of every thread of a slot.
    Policy(Slot),
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Probe::File(path) => f.write_str(path),
            Probe::Affinity(slot) => write!(f, "CPUs of {slot}"),
            Probe::Policy(slot) => write!(f, "policy of {slot}"),
        }
    }
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
    /// Why this machine allows less than what was asked for.
    pub partial: Option<String>,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Turned {
    /// Whether both readings (one text a probe each) show what was applied.
    pub fn judge(&self, seen: [&[String]; 2]) -> Effect {
        let when = ["after placing", "after the last window"];
        for (readings, when) in seen.iter().zip(when) {
            for ((_, expected), found) in self.probes.iter().zip(readings.iter()) {
                if expected != found {
                    return Effect::NotEffective {
                        reason: format!("{when} it was `{found}`, not `{expected}`"),
                    };
                }
            }
        }
        match &self.partial {
            Some(reason) => Effect::Partial { reason: reason.clone() },
            None => Effect::Effective,
        }
    }
}

/// A knob.
pub trait Knob: Sync {
    /// Its name in a profile.
    fn name(&self) -> &'static str;

    /// What it does, and the values it takes.
    fn about(&self) -> &'static str;

    /// What a host must have for it to be turned to `want`.
    fn needs(&self, want: &str) -> &'static [NeedName];

    /// Turns it to `want` for a system under test whose threads have these roles.
    ///
    /// # Errors
    /// The value is none of those that the knob takes.
    fn turn(&self, want: &str, site: &Site, roles: &[Role]) -> anyhow::Result<Turned>;
}

/// All knobs, in the order in which they are turned.
pub const ALL: &[&dyn Knob] =
    &[&throttle::Throttle, &placement::PlacementKnob, &policy::PolicyKnob];

/// A profile: what it asks of which knobs.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Knobs with their values, in the order of [`ALL`].
    pub knobs: Vec<(String, String)>,
}

/// The file of a profile.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    schema: u32,
    about: String,
    #[serde(default)]
    knobs: std::collections::BTreeMap<String, String>,
}

const EMBEDDED: &[(&str, &str)] = &[
    ("stock", include_str!("../../../../matrices/tuning/stock.toml")),
    ("isolated", include_str!("../../../../matrices/tuning/isolated.toml")),
];

/// Names of all profiles that can be found from the working directory.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let folder = std::fs::read_dir("matrices/tuning").into_iter().flatten().flatten();
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
        let path = Path::new("matrices/tuning").join(format!("{name}.toml"));
        let embedded = EMBEDDED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let text = match (std::fs::read_to_string(&path), embedded) {
            (Ok(text), _) => text,
            (Err(error), Some(text)) if error.kind() == std::io::ErrorKind::NotFound => {
                text.to_owned()
            }
            (Err(error), _) => {
                return Err(error)
                    .with_context(|| format!("failed to read profile {}", path.display()));
            }
        };
        Profile::parse(name, &text).with_context(|| format!("profile {}", path.display()))
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
        for knob in file.knobs.keys() {
            if ALL.iter().all(|known| known.name() != knob) {
                let known: Vec<&str> = ALL.iter().map(|knob| knob.name()).collect();
                bail!("there is no knob `{knob}`: the knobs are {}", known.join(", "));
            }
        }
        let knobs = ALL
            .iter()
            .filter_map(|knob| {
                file.knobs.get(knob.name()).map(|want| (knob.name().to_owned(), want.clone()))
            })
            .collect();
        Ok(Profile { name: name.to_owned(), about: file.about, knobs })
    }

    /// Turns every knob of the profile.
    ///
    /// # Errors
    /// A value that its knob does not take.
    pub fn turn(&self, site: &Site, roles: &[Role]) -> anyhow::Result<Vec<Turned>> {
        self.knobs
            .iter()
            .map(|(name, want)| {
                let knob = ALL.iter().find(|knob| knob.name() == name);
                let knob = knob.with_context(|| format!("there is no knob `{name}`"))?;
                knob.turn(want, site, roles)
                    .with_context(|| format!("knob `{name}` of profile `{}`", self.name))
            })
            .collect()
    }

    /// What a host must have for each knob of the profile.
    pub fn needs(&self) -> impl Iterator<Item = (&str, &'static [NeedName])> {
        self.knobs.iter().filter_map(|(name, want)| {
            let knob = ALL.iter().find(|knob| knob.name() == name)?;
            Some((name.as_str(), knob.needs(want)))
        })
    }

    /// Whether the profile keeps the system under test on CPUs of its own.
    pub fn isolates(&self) -> bool {
        self.knobs.iter().any(|(name, _)| name == placement::PlacementKnob.name())
    }
}
