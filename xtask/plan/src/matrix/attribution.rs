//! Attribution: which knob of a profile does what. What a matrix asks for in its `[attribution]` table, and what `plan` makes of it: a
//! [`Study`], whose arms are profiles derived from the one asked for. Pure. What a knob is is not known here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::problem::{Problems, quoted};
use super::read::Table;
use super::{Axis, Cell};

/// Keys of `[attribution]`.
pub(super) const KEYS: [&str; 3] = ["profile", "base", "design"];

/// What a matrix asks for: its cells are measured under profiles between these two.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// The profile whose knobs are of interest.
    pub profile: String,
    /// The profile that they are put into.
    pub base: String,
    /// How; by the number of knobs where the matrix does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub design: Option<Design>,
}

/// Which profiles between two are measured.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// Each knob taken out of the one, and put into the other.
    OneAtATime,
    /// A two-level fraction of all combinations, in which every knob is turned in half of the profiles.
    Factorial,
}

impl Design {
    const ALL: [Design; 2] = [Design::OneAtATime, Design::Factorial];

    /// The design as written in a matrix.
    pub fn name(self) -> &'static str {
        match self {
            Design::OneAtATime => "one-at-a-time",
            Design::Factorial => "factorial",
        }
    }
}

impl fmt::Display for Design {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The profiles of an attribution.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Study {
    /// The profile whose knobs are of interest.
    pub profile: String,
    /// The profile that they are put into.
    pub base: String,
    /// How the arms were chosen.
    pub design: Design,
    /// What is turned on and off: a knob, or a group of knobs as one.
    pub factors: Vec<Factor>,
    /// The profiles. All are different; the first is the profile, the last is the base.
    pub arms: Vec<Arm>,
    /// Knobs in which the two profiles differ and that no boot can turn, with the reasons.
    pub fixed: Vec<(String, String)>,
}

/// What is turned on and off as one.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    /// Name of the knob, or of the group.
    pub name: String,
    /// Its knobs.
    pub knobs: Vec<Setting>,
    /// Turned beside the others: taken out of the profile, or in half of the arms of a fraction.
    #[serde(default)]
    pub beside: Circumstance,
    /// Turned alone: put into the base.
    #[serde(default)]
    pub alone: Circumstance,
}

/// What must be known of turning a factor beside certain others.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct Circumstance {
    /// Why it is not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What others do of the same, or cannot do without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A knob with both of its values.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The knob.
    pub knob: String,
    /// What the base asks of it; nothing where it leaves the knob alone.
    pub off: Option<String>,
    /// What the profile asks of it.
    pub on: Option<String>,
}

/// One profile of a study.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The value of the axis `tuning` of its cells.
    pub tuning: String,
    /// What it is, in words; empty for the two profiles that the arms are derived from.
    pub about: String,
    /// Which factors are on, in their order.
    pub on: Vec<bool>,
    /// What it asks of which knobs.
    pub knobs: BTreeMap<String, String>,
    /// Why it is not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Arm {
    /// Whether only the study knows it.
    pub fn is_derived(&self) -> bool {
        !self.about.is_empty()
    }
}

impl Study {
    /// Why the profile of this name is not measured, if it is one of the study and refused.
    pub fn refused(&self, tuning: &str) -> Option<&str> {
        let arm = self.arms.iter().find(|arm| arm.tuning == tuning)?;
        arm.refused.as_deref()
    }

    /// Cells that are compared with one another for it, as indices into `cells`: neighbours in a list are pairs.
    pub fn pairs<'c>(&self, cells: impl IntoIterator<Item = &'c Cell>) -> Vec<(usize, usize)> {
        let names: BTreeSet<&str> = self.arms.iter().map(|arm| arm.tuning.as_str()).collect();
        let mut first: BTreeMap<Cell, usize> = BTreeMap::new();
        let mut pairs = Vec::new();
        for (at, cell) in cells.into_iter().enumerate() {
            if !names.contains(&*cell.tuning) {
                continue;
            }
            let elsewhere = Cell { tuning: "".into(), ..cell.clone() };
            let one = *first.entry(elsewhere).or_insert(at);
            if one != at {
                pairs.push((one, at));
            }
        }
        pairs
    }
}

/// Reads `[attribution]`. `known` tells whether a name is that of a profile, and reports it where not.
pub(super) fn read(
    top: &Table<'_>,
    known: &dyn Fn(&Spanned<&str>, &mut Problems<'_>) -> bool,
    problems: &mut Problems<'_>,
) -> Option<Attribution> {
    let table = top.table("attribution", &KEYS, problems)?;
    table.require("profile", "profile = \"isolated\"", problems);
    let profile = table.string("profile", problems);
    let base = match table.has("base") {
        true => table.string("base", problems),
        false => Axis::Tuning.default_value().map(|stock| Spanned::new(table.span(), stock)),
    };
    let (profile, base) = (profile?, base?);
    let both = [&profile, &base].map(|name| known(name, problems));
    if both == [true, true] && profile.get_ref() == base.get_ref() {
        let message = format!("the attribution compares {} with itself", quoted(base.get_ref()));
        problems.add_with_help(profile.span(), message, "name two profiles that differ");
    }
    let design = match table.string("design", problems) {
        None => None,
        Some(word) => {
            let found = Design::ALL.into_iter().find(|design| design.name() == *word.get_ref());
            if found.is_none() {
                problems.unknown(
                    word.span(),
                    "design",
                    word.get_ref(),
                    Design::ALL.map(Design::name),
                );
            }
            found
        }
    };
    let [profile, base] = [profile, base].map(|name| name.into_inner().to_owned());
    Some(Attribution { profile, base, design })
}
