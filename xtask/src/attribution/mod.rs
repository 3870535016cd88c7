//! Attribution as a change of a matrix: each of its cells becomes cells under profiles between two, from which the effect of every
//! knob can be told. Everything after it (boots, evidence, results) sees cells as any others. Pure.
//!
//! Few knobs are taken out of the profile and put into the base, one at a time: what a knob does beside all the others, and what it does
//! alone. For many that would be many profiles, each compared with one other only; a factorial fraction compares half of all boots with the
//! other half for every knob, and says what a knob does on average over the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::axis::tuning::{self, Lack, Profile};
use crate::matrix::{
    Arm, Attribution, Axis, Cell, Circumstance, Contrast, Design, Factor, MOST_CELLS, Matrix,
    Setting, Study,
};

mod fraction;
#[cfg(test)]
mod tests;

/// Up to so many knobs, or groups of them, are turned one at a time.
const MOST_SINGLE: usize = 12;

/// Why the knobs of a profile cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Indivisible {
    /// The two profiles ask the same of every knob that a boot can turn.
    Same(Attribution, Vec<String>),
    /// A name that a derived profile would have is that of a profile.
    Taken(String),
    /// A fraction turns knobs apart that mean something only together.
    Apart {
        /// The profile.
        profile: String,
        /// A knob, and why it means nothing without another.
        why: String,
    },
    /// More knobs than a fraction is made for.
    Many(usize),
    /// More cells than can be planned.
    Cells {
        /// The profile.
        profile: String,
        /// How many cells there would be.
        cells: usize,
        /// Under so many profiles.
        arms: usize,
        /// So many can be planned.
        most: usize,
    },
}

impl fmt::Display for Indivisible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Indivisible::Same(asked, fixed) => {
                let Attribution { profile, base, .. } = asked;
                write!(
                    f,
                    "profiles `{profile}` and `{base}` differ in no knob that a boot can turn"
                )?;
                match fixed.is_empty() {
                    true => write!(f, ": name two that do in [attribution]"),
                    false => write!(f, " ({} is only verified)", fixed.join(", ")),
                }
            }
            Indivisible::Taken(name) => write!(
                f,
                "[attribution] derives a profile `{name}`, and there is one of that name: rename matrices/tuning/{name}.toml"
            ),
            Indivisible::Apart { profile, why } => write!(
                f,
                "a factorial fraction of profile `{profile}` would turn knobs apart that mean something only together: {why}; \
                 name both in one of the profile's [groups], or write design = \"one-at-a-time\""
            ),
            Indivisible::Many(count) => {
                write!(f, "{count} knobs are too many for one fraction: put them into [groups]")
            }
            Indivisible::Cells { profile, cells, arms, most } => write!(
                f,
                "the attribution of profile `{profile}` makes {cells} cells under its {arms} profiles, at most {most} can be planned: \
                 name fewer values on the axes, or put knobs of `{profile}` into [groups]"
            ),
        }
    }
}

impl std::error::Error for Indivisible {}

/// The matrix with its cells under the profiles that its `[attribution]` needs, which are derived from these two. A matrix that has none is
/// as it was. `taken` are names of profiles that there are.
///
/// # Errors
/// No knob's effect can be told.
pub fn expand(
    matrix: Matrix,
    profile: &Profile,
    base: &Profile,
    taken: &[String],
) -> Result<Matrix, Indivisible> {
    within(matrix, profile, base, taken, MOST_CELLS)
}

/// [`expand`] to at most so many cells.
fn within(
    matrix: Matrix,
    profile: &Profile,
    base: &Profile,
    taken: &[String],
    most: usize,
) -> Result<Matrix, Indivisible> {
    let Some(asked) = matrix.attribution.clone() else { return Ok(matrix) };
    let study = study(&asked, profile, base)?;
    let mut derived = study.arms.iter().filter(|arm| arm.is_derived());
    if let Some(arm) = derived.find(|arm| taken.contains(&arm.tuning)) {
        return Err(Indivisible::Taken(arm.tuning.clone()));
    }
    let turned = matrix.cells.iter().filter(|cell| is_turned(cell)).count();
    let count = turned.saturating_mul(study.arms.len()) + (matrix.cells.len() - turned);
    if count > most {
        let (profile, arms) = (asked.profile, study.arms.len());
        return Err(Indivisible::Cells { profile, cells: count, arms, most });
    }
    let mut seen = BTreeSet::new();
    let arms = study.arms.iter().map(|arm| arm.tuning.as_str());
    let cells = matrix.cells.iter().flat_map(|cell| under(cell, arms.clone()));
    let cells = cells.filter(|cell| seen.insert(cell.id())).collect();
    let mut contrasts = matrix.contrasts;
    if contrasts.iter().all(|contrast| contrast.name != asked.profile) {
        let Attribution { profile, base, .. } = &asked;
        let (name, axis) = (profile.clone(), Axis::Tuning);
        contrasts.push(Contrast { name, axis, from: base.clone(), to: profile.clone() });
    }
    Ok(Matrix { cells, contrasts, study: Some(study), ..matrix })
}

/// Whether a cell is measured under each profile: it names none itself.
fn is_turned(cell: &Cell) -> bool {
    Some(cell.on(Axis::Tuning)) == Axis::Tuning.default_value()
}

/// A cell under each profile; as it is where it names a profile itself.
fn under<'a>(cell: &'a Cell, profiles: impl Iterator<Item = &'a str>) -> Vec<Cell> {
    if !is_turned(cell) {
        return vec![cell.clone()];
    }
    profiles.map(|tuning| Cell { tuning: tuning.into(), ..cell.clone() }).collect()
}

/// The factors, and the profiles that tell their effects.
fn study(asked: &Attribution, profile: &Profile, base: &Profile) -> Result<Study, Indivisible> {
    let (factors, fixed) = factors(profile, base);
    if factors.is_empty() {
        let fixed = fixed.into_iter().map(|(knob, _)| format!("`{knob}`")).collect();
        return Err(Indivisible::Same(asked.clone(), fixed));
    }
    let by_count = match factors.len() > MOST_SINGLE {
        true => Design::Factorial,
        false => Design::OneAtATime,
    };
    let design = asked.design.unwrap_or(by_count);
    let between = Between { profile, base };
    let (arms, factors) = match design {
        Design::OneAtATime => between.one_at_a_time(factors),
        Design::Factorial => between.factorial(factors)?,
    };
    let (profile, base) = (profile.name.clone(), base.name.clone());
    Ok(Study { profile, base, design, factors, arms, fixed })
}

/// What differs between two profiles: groups and single knobs in the order of the first of their knobs, and what no boot can turn.
fn factors(profile: &Profile, base: &Profile) -> (Vec<Factor>, Vec<(String, String)>) {
    let (mut factors, mut fixed) = (Vec::<Factor>::new(), Vec::new());
    let order = tuning::all().map(|knob| knob.name());
    for knob in order.filter(|knob| profile.value(knob) != base.value(knob)) {
        if let Some(reason) = tuning::only_verified(knob) {
            fixed.push((knob.to_owned(), reason.to_owned()));
            continue;
        }
        let group = profile.groups.iter().find(|(_, knobs)| knobs.iter().any(|name| name == knob));
        let name = group.map_or(knob, |(name, _)| name);
        let [off, on] = [base, profile].map(|profile| profile.value(knob).map(str::to_owned));
        let setting = Setting { knob: knob.to_owned(), off, on };
        match factors.iter_mut().find(|factor| factor.name == name) {
            Some(factor) => factor.knobs.push(setting),
            None => factors.push(Factor {
                name: name.to_owned(),
                knobs: vec![setting],
                beside: Circumstance::default(),
                alone: Circumstance::default(),
            }),
        }
    }
    (factors, fixed)
}

/// The two profiles between which arms lie.
struct Between<'a> {
    profile: &'a Profile,
    base: &'a Profile,
}

impl Between<'_> {
    /// The profile, the profile without each factor, the base with each, the base. Of one or two factors some of these are the same.
    fn one_at_a_time(&self, mut factors: Vec<Factor>) -> (Vec<Arm>, Vec<Factor>) {
        let (profile, base) = (&self.profile.name, &self.base.name);
        let one = |at: usize, is: bool| (0..factors.len()).map(|n| (n == at) == is).collect();
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for (at, Factor { name, .. }) in factors.iter().enumerate() {
            let (tuning, about) =
                (format!("{profile}-without-{name}"), format!("{profile} without {name}"));
            let mut arm = self.arm(&factors, tuning, about, one(at, false));
            arm.refused = self.lacking(&arm).into_iter().find(|(_, lack)| lack.is_fatal).map(told);
            without.push(arm);
            let (tuning, about) = (format!("{base}-with-{name}"), format!("{base} with {name}"));
            let mut arm = self.arm(&factors, tuning, about, one(at, true));
            arm.refused = self.lacking(&arm).into_iter().next().map(told);
            with.push(arm);
        }
        for (factor, (out, into)) in factors.iter_mut().zip(without.iter().zip(&with)) {
            let idle = self.lacking(out).into_iter().filter(|_| out.refused.is_none());
            let idle = idle.map(|(knob, _)| {
                format!(
                    "`{knob}` is left with no thread or page of the system under test to act on"
                )
            });
            let notes = covered(factor, &profile_of(out)).chain(idle).collect();
            factor.beside = Circumstance { refused: out.refused.clone(), notes };
            let notes = covered(factor, self.base).collect();
            factor.alone = Circumstance { refused: into.refused.clone(), notes };
        }
        let ends = [true, false].map(|on| vec![on; factors.len()]);
        let [all, none] = ends;
        let mut seen = BTreeSet::from([all.clone(), none.clone()]);
        let between = without.into_iter().chain(with).filter(|arm| seen.insert(arm.on.clone()));
        let first = std::iter::once(end(self.profile, all));
        let arms = first.chain(between).chain([end(self.base, none)]).collect();
        (arms, factors)
    }

    /// The rows of a fraction, the first of which is the profile and the last the base.
    fn factorial(&self, mut factors: Vec<Factor>) -> Result<(Vec<Arm>, Vec<Factor>), Indivisible> {
        let count = factors.len();
        let rows = fraction::rows(count).ok_or(Indivisible::Many(count))?;
        let last = rows.len() - 1;
        let arm = |(at, on): (usize, Vec<bool>)| match at {
            0 => end(self.profile, on),
            _ if at == last => end(self.base, on),
            _ => {
                let names = factors.iter().zip(&on).filter(|(_, on)| **on);
                let names: Vec<&str> = names.map(|(factor, _)| factor.name.as_str()).collect();
                let about = format!("{} with {}", self.base.name, names.join(", "));
                self.arm(&factors, format!("{}-mix-{at:02}", self.profile.name), about, on)
            }
        };
        let arms: Vec<Arm> = rows.into_iter().enumerate().map(arm).collect();
        if let Some(why) =
            arms.iter().find_map(|arm| self.lacking(arm).into_iter().next().map(told))
        {
            return Err(Indivisible::Apart { profile: self.profile.name.clone(), why });
        }
        for (at, factor) in factors.iter_mut().enumerate() {
            let mut without = arms.iter().filter(|arm| !arm.on[at]);
            let notes = without.find_map(|arm| covered(factor, &profile_of(arm)).next());
            factor.beside.notes =
                notes.map(|note| format!("in some profiles {note}")).into_iter().collect();
        }
        Ok((arms, factors))
    }

    fn arm(&self, factors: &[Factor], tuning: String, about: String, on: Vec<bool>) -> Arm {
        let mut knobs: BTreeMap<String, String> = self.base.knobs.iter().cloned().collect();
        let turned = factors.iter().zip(&on).filter(|(_, on)| **on);
        for Setting { knob, on: want, .. } in turned.flat_map(|(factor, _)| &factor.knobs) {
            match want {
                Some(want) => knobs.insert(knob.clone(), want.clone()),
                None => knobs.remove(knob),
            };
        }
        Arm { tuning, about, on, knobs, refused: None }
    }

    /// Knobs of an arm that act on what it does not make, unless one of the two profiles does no better.
    fn lacking(&self, arm: &Arm) -> Vec<(&'static str, Lack)> {
        let known: Vec<&str> = [self.profile, self.base]
            .iter()
            .flat_map(|profile| profile.lacking())
            .map(|(knob, _)| knob)
            .collect();
        let mut lacking = profile_of(arm).lacking();
        lacking.retain(|(knob, _)| !known.contains(knob));
        lacking
    }
}

fn end(profile: &Profile, on: Vec<bool>) -> Arm {
    let knobs = profile.knobs.iter().cloned().collect();
    Arm { tuning: profile.name.clone(), about: String::new(), on, knobs, refused: None }
}

fn profile_of(arm: &Arm) -> Profile {
    Profile::of_knobs(&arm.tuning, &arm.about, &arm.knobs)
}

fn told((knob, lack): (&'static str, Lack)) -> String {
    format!("`{knob}` means nothing there: {}", lack.why)
}

/// What a profile does of what a factor would do that it leaves out.
fn covered(factor: &Factor, without: &Profile) -> impl Iterator<Item = String> {
    let knobs = factor.knobs.iter();
    let notes = knobs.filter_map(|setting| without.covers(&setting.knob));
    notes.map(str::to_owned).collect::<Vec<_>>().into_iter()
}
