//! The policy: every threshold of a verdict, as read from `matrices/policy.toml`. What a policy leaves out is as in the one that travels
//! with the binary. [`find`] looks it up and is the only part that does I/O.

use std::fmt::Write as _;

use super::Aspect;
use crate::matrix::Cell;
use crate::plan::{Filter, GateBoots};
use crate::record::figures::threshold;

mod read;
mod source;
#[cfg(test)]
mod tests;

pub use crate::date::Date;
pub use read::parse;
pub use source::{EMBEDDED, NotRead, find, find_in, text_in};

/// What a verdict means.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The name to call it by: a path, or `policy (built in)`.
    pub file: String,
    /// Factors beyond which a change counts.
    pub margins: Margins,
    /// How often a verdict may be wrong.
    pub errors: Errors,
    /// What can make a comparison fail.
    pub gate: Gate,
    /// How many boots a gate takes.
    pub screen: Screen,
    /// How suspects are confirmed.
    pub confirm: Confirm,
    /// Factors that a gate is to find, of latencies.
    pub find: Find,
    /// Of rates.
    pub find_of_rates: Find,
    /// What a verdict needs.
    pub require: Require,
    /// When an interleaved run is void.
    pub validity: Validity,
    /// Stolen time a second measured, all CPUs together, beyond which a block is left out.
    pub steal: f64,
    /// Share of a boot's observations that makes a second mode.
    pub mode_share: f64,
    /// Permutations of a test.
    pub permutations: u32,
    /// What a runner must have shown before it may gate.
    pub calibrate: Calibrate,
    /// Accepted changes.
    pub accept: Vec<Accept>,
}

impl Policy {
    /// The policy of one of so many parts that judge their own cells: together they err as often as one that judges all.
    #[must_use]
    pub fn shared_among(mut self, parts: u32) -> Policy {
        let parts = f64::from(parts.max(1));
        self.errors.family /= parts;
        self.errors.failures /= parts;
        self
    }
}

/// Factors, above 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margins {
    /// Of medians.
    pub location: f64,
    /// Of spreads inside a boot.
    pub dispersion: f64,
    /// Of tails.
    pub tail: f64,
    /// Of shares of time in stalls.
    pub stall: f64,
    /// Of shares of observations outside of the main mode.
    pub modes: f64,
    /// Of spreads between boots.
    pub between_boot: f64,
}

impl Margins {
    /// Of an aspect; 1 where it has no figure.
    pub fn of(&self, aspect: Aspect) -> f64 {
        match aspect {
            Aspect::Location => self.location,
            Aspect::Dispersion => self.dispersion,
            Aspect::Tail => self.tail,
            Aspect::Stall => self.stall,
            Aspect::Modes => self.modes,
            Aspect::BetweenBoot => self.between_boot,
            Aspect::Outcome => 1.0,
        }
    }
}

/// Rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// Of a false flag anywhere in a comparison.
    pub family: f64,
    /// Of a false `equivalent`, of each.
    pub equivalence: f64,
    /// p-value below which a cell is a suspect.
    pub screen: f64,
    /// Of a false `fails more often` anywhere in a comparison.
    pub failures: f64,
}

/// What gates.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Aspects.
    pub aspects: Vec<Aspect>,
    /// Workloads; absent: all.
    pub workloads: Option<Vec<String>>,
}

/// When the screen of a cell ends. Odds are of a change of [`Find`]'s size against none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Screen {
    /// Boots a side that every cell gets.
    pub first: u32,
    /// Boots a side at a time afterwards.
    pub more: u32,
    /// Boots a side at which it ends.
    pub most: u32,
    /// Odds against a change at which it is cleared.
    pub cleared: f64,
    /// Odds for a change at which no more boots are needed.
    pub enough: f64,
    /// Odds for a change at the end that make a suspect.
    pub suspect: f64,
}

/// How suspects are confirmed.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// Fresh boots a side and the share of the error rate that a look at them spends.
    pub looks: Vec<(u32, f64)>,
    /// Odds against a change beyond the margin at which a suspect gets no more boots.
    pub futile: f64,
}

/// Factors that a gate is to find, above the margins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Find {
    /// Of medians.
    pub location: f64,
    /// Of spreads inside a boot.
    pub dispersion: f64,
    /// Of tails.
    pub tail: f64,
    /// Of shares of time in stalls.
    pub stall: f64,
    /// Of shares of observations outside of the main mode.
    pub modes: f64,
}

impl Find {
    /// Of an aspect; nothing where it has no figure that gates.
    pub fn of(&self, aspect: Aspect) -> Option<f64> {
        match aspect {
            Aspect::Location => Some(self.location),
            Aspect::Dispersion => Some(self.dispersion),
            Aspect::Tail => Some(self.tail),
            Aspect::Stall => Some(self.stall),
            Aspect::Modes => Some(self.modes),
            Aspect::BetweenBoot | Aspect::Outcome => None,
        }
    }
}

/// What a verdict needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Require {
    /// Fresh starts a side.
    pub boots: u32,
    /// Power behind what is called detectable, and behind the boots that are called needed.
    pub power: f64,
}

/// Bounds of the order and of drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validity {
    /// Share of blocks that hold both sides.
    pub alternating: f64,
    /// Factor of medians.
    pub location: f64,
    /// Factor of spreads.
    pub dispersion: f64,
    /// p-value.
    pub error: f64,
}

/// What a runner must have shown before it may gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibrate {
    /// Whether it must have shown anything.
    pub required: bool,
    /// The rate of false alarms that its calibration must leave possible at most.
    pub most: f64,
}

/// A change that somebody accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Accept {
    /// Of these cells; absent: all.
    pub cells: Option<Filter>,
    /// As written, for people.
    pub cells_text: Option<String>,
    /// Of this workload; absent: all.
    pub workload: Option<String>,
    /// Of this aspect; absent: all.
    pub aspect: Option<Aspect>,
    /// Up to this factor of harm.
    pub ratio: f64,
    /// Why.
    pub reason: String,
    /// Until the end of this day (UTC).
    pub until: Date,
}

impl Policy {
    /// The factor beyond which a change of an aspect counts. An outcome has none.
    pub fn margin(&self, aspect: Aspect) -> f64 {
        self.margins.of(aspect)
    }

    /// Boots a side below which there is no verdict: of a gate that takes boots until it knows, or of a number that was fixed.
    pub fn least_boots(&self, by_policy: bool) -> usize {
        (if by_policy { self.screen.first } else { self.require.boots }) as usize
    }

    /// How many boots a gate takes of a cell.
    pub fn gate_boots(&self) -> GateBoots {
        let looks = self.confirm.looks.iter();
        GateBoots {
            first: self.screen.first,
            most: self.screen.most,
            fresh: looks.map(|(fresh, _)| *fresh).max().unwrap_or(0),
        }
    }

    /// Whether figures of a cell that is not emulated can make a comparison fail.
    pub fn gates(&self, workload: &str, aspect: Aspect) -> bool {
        let workloads = self.gate.workloads.as_ref();
        self.gate.aspects.contains(&aspect)
            && workloads.is_none_or(|named| named.iter().any(|name| name == workload))
    }

    /// The policy in lines, for people: a name and its value.
    pub fn lines(&self) -> Vec<(String, String)> {
        let Policy { margins, errors, require, validity, screen, confirm, find, .. } = self;
        let factor = |ratio: f64| format!("×{ratio}");
        let rate = |share: f64| format!("{} %", rounded(share * 100.0));
        let aspects: Vec<&str> = self.gate.aspects.iter().map(|aspect| aspect.name()).collect();
        let workloads = self.gate.workloads.as_ref().map_or("all".to_owned(), |w| w.join(", "));
        let mut lines = vec![
            ("policy", self.file.clone()),
            (
                "margins",
                format!(
                    "location {}, dispersion {}, tail {}, stall {}, modes {}, between boots {}",
                    factor(margins.location),
                    factor(margins.dispersion),
                    factor(margins.tail),
                    factor(margins.stall),
                    factor(margins.modes),
                    factor(margins.between_boot)
                ),
            ),
            (
                "may be wrong",
                format!(
                    "a flag anywhere {}, equivalent {} each, fails more often {}; suspect below p {}",
                    rate(errors.family),
                    rate(errors.equivalence),
                    rate(errors.failures),
                    errors.screen
                ),
            ),
            (
                "gates",
                format!(
                    "{} of workloads: {workloads}; a cell that only the candidate fails; emulated cells never by figures",
                    aspects.join(", ")
                ),
            ),
            (
                "finds",
                format!(
                    "{}; of rates {}", found(find), found(&self.find_of_rates)
                ),
            ),
            (
                "boots of a gate",
                format!(
                    "screen: {} to {} a side of each cell, {} at a time, cleared at odds of {}, suspect at {} or {}; confirmation: looks at {} fresh ones, futile at {}",
                    screen.first,
                    screen.most,
                    screen.more,
                    screen.cleared,
                    screen.suspect,
                    screen.enough,
                    looks(confirm),
                    confirm.futile
                ),
            ),
            (
                "needs",
                format!("{} boots a side; power {}", require.boots, rate(require.power)),
            ),
            (
                "void",
                format!(
                    "medians that change beyond {} or spreads beyond {} with time, position or order, p below {}; informs below {} of blocks with both sides",
                    factor(validity.location),
                    factor(validity.dispersion),
                    validity.error,
                    rate(validity.alternating)
                ),
            ),
            ("noise", format!("a block with more than {} of time stolen is left out", rate(self.steal))),
            (
                "counts as",
                format!(
                    "a stall: a transaction longer than {}; a second mode: {} of observations apart",
                    threshold(),
                    rate(self.mode_share)
                ),
            ),
            ("test", format!("{} permutations", self.permutations)),
            (
                "calibration",
                format!(
                    "{} a runner gates once `calibrate` has shown at most {} false alarms",
                    if self.calibrate.required { "required:" } else { "not required; where it is," },
                    rate(self.calibrate.most)
                ),
            ),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect::<Vec<_>>();
        lines.extend(self.accept.iter().map(|accept| ("accepted".to_owned(), accept.told())));
        lines
    }
}

impl Accept {
    /// Whether it is about this.
    pub fn is_about(&self, cell: &Cell, workload: &str, aspect: Aspect) -> bool {
        self.cells.as_ref().is_none_or(|cells| cells.takes(cell))
            && self.workload.as_ref().is_none_or(|named| named == workload)
            && self.aspect.is_none_or(|named| named == aspect)
    }

    /// `tail of tcp-rr in docker,!noisy up to x1.4 until 2027-06-30: reason`.
    pub fn told(&self) -> String {
        let mut told = self.aspect.map_or("everything", Aspect::name).to_owned();
        // A `String` takes all that is written.
        self.workload.iter().for_each(|name| write!(told, " of {name}").unwrap_or_default());
        self.cells_text.iter().for_each(|name| write!(told, " in {name}").unwrap_or_default());
        format!("{told} up to ×{} until {}: {}", self.ratio, self.until, self.reason)
    }
}

/// `location ×1.05, dispersion ×1.4, ...`.
fn found(find: &Find) -> String {
    let gates = Aspect::FIGURES.into_iter();
    let told = gates.filter_map(|aspect| Some(format!("{} ×{}", aspect.name(), find.of(aspect)?)));
    told.collect::<Vec<_>>().join(", ")
}

/// `16 (10 % of the rate), 32 (20 %)`.
fn looks(confirm: &Confirm) -> String {
    let of = |(boots, share): &(u32, f64)| format!("{boots} ({} %)", rounded(share * 100.0));
    confirm.looks.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// Without the digits that a product of decimals leaves.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}
