//! From the records of two sides to verdicts: did determinism get worse, where, by how much, how sure. Pure.
//!
//! `sides` says what is compared with what, `failing` counts boots that fail, `aspects` makes one number of each fresh start, `tested` is the one place that asks the
//! statistics, `judge` turns their answers into words, `validity` asks whether the run can be trusted, `sentence` tells the whole. The
//! [`policy`] holds every threshold.

use std::collections::BTreeSet;
use std::fmt;

use rayon::prelude::*;

use crate::matrix::Cell;
use crate::record::results::{ComparisonResult, Overall, PolicyLine, Results, VerdictRow};

mod aspects;
pub mod diagnosis;
mod failing;
mod judge;
mod outcome;
mod parts;
pub mod policy;
mod sentence;
pub mod sequential;
mod show;
mod sides;
mod tested;
#[cfg(test)]
mod tests;
mod told;
mod units;
mod validity;

pub use policy::Policy;
pub use sequential::Sequential;
pub use show::{Extent, Markdown, Table, json};
pub use sides::{Comparison, Design, NoComparison, Side, stolen_share};
pub use validity::{Check, Circumstance};

/// What a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aspect {
    /// Whether it was measured at all.
    Outcome,
    /// The level: medians.
    Location,
    /// The spread inside a boot.
    Dispersion,
    /// The bad end.
    Tail,
    /// Time spent inside transactions that hang.
    Stall,
    /// Whether observations fall into one heap or several.
    Modes,
    /// The spread between boots.
    BetweenBoot,
}

impl Aspect {
    /// Those that have a figure.
    pub const FIGURES: [Aspect; 6] = [
        Aspect::Location,
        Aspect::Dispersion,
        Aspect::Tail,
        Aspect::Stall,
        Aspect::Modes,
        Aspect::BetweenBoot,
    ];

    /// As written in files.
    pub fn name(self) -> &'static str {
        match self {
            Aspect::Outcome => "outcome",
            Aspect::Location => "location",
            Aspect::Dispersion => "dispersion",
            Aspect::Tail => "tail",
            Aspect::Stall => "stall",
            Aspect::Modes => "modes",
            Aspect::BetweenBoot => "between-boot",
        }
    }
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Worse, beyond the margin.
    Regressed,
    /// One side is not there.
    Missing,
    /// It cannot be told.
    Inconclusive,
    /// Better, beyond the margin.
    Improved,
    /// The same, within the margin.
    Equivalent,
}

impl Verdict {
    /// All, what must be acted on first.
    pub const ALL: [Verdict; 5] = [
        Verdict::Regressed,
        Verdict::Missing,
        Verdict::Inconclusive,
        Verdict::Improved,
        Verdict::Equivalent,
    ];

    /// As written in files.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Regressed => "regressed",
            Verdict::Missing => "missing",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Improved => "improved",
            Verdict::Equivalent => "equivalent",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One decision, with what it is about as values.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The cell.
    pub cell: Cell,
    /// What it is about.
    pub aspect: Aspect,
    /// The decision.
    pub verdict: Verdict,
    /// How much worse the candidate is, as a natural logarithm; negative where it is better; absent where nothing was tested.
    pub harm: Option<f64>,
    /// Whether a gate that took boots until it knew saw no sign of a change of the size that its policy is to find.
    pub cleared: bool,
    /// What keeps it from being an improvement: the SD of a dispersion whose MAD fell.
    pub contrary: Option<String>,
    /// Whether the sides were measured on different instruments, and compared all the same.
    pub instruments_differ: bool,
    /// Why, as it is true of others that ended alike: without the numbers of its own.
    pub gist: String,
    /// What must be known beside.
    pub notes: Vec<String>,
    /// The row of `results.json`.
    pub row: VerdictRow,
}

impl Decision {
    /// Of whether a cell, or a workload of it (`*`: whatever it has), was measured at all: that gates, and takes no figure.
    fn outcome(
        cell: &Cell,
        workload: &str,
        verdict: Verdict,
        boots: [usize; 2],
        reason: &str,
    ) -> Decision {
        let aspect = Aspect::Outcome;
        let mut row = blank(cell.id(), workload.to_owned(), aspect);
        (row.verdict, row.reason) = (verdict.name().to_owned(), reason.to_owned());
        row.boots = counts(boots);
        Decision {
            cell: cell.clone(),
            aspect,
            verdict,
            harm: None,
            cleared: false,
            contrary: None,
            instruments_differ: false,
            gist: reason.to_owned(),
            notes: Vec::new(),
            row,
        }
    }

    /// Whether it makes an interleaved comparison fail.
    pub fn flags(&self) -> bool {
        self.verdict == Verdict::Regressed && self.row.gates && self.row.accepted.is_none()
    }

    /// Whether it is worse by its interval and beyond its margin, and yet not flagged: chance among so many questions cannot be ruled out.
    fn looks_worse(&self, policy: &Policy) -> bool {
        if self.verdict != Verdict::Inconclusive {
            return false;
        }
        if self.aspect == Aspect::Outcome {
            // Boots of the candidate fail, and those of the base less often or not.
            return self.row.figure.is_some() && !self.cleared;
        }
        let clear = [
            self.row.low.is_some_and(|low| low > 1.0),
            self.row.high.is_some_and(|high| high < 1.0),
        ];
        let beyond = self.harm.is_some_and(|harm| harm > policy.margin(self.aspect).ln());
        beyond && clear.contains(&true)
    }

    /// Whether what is better in the same cell is no good news.
    fn speaks_against(&self, policy: &Policy) -> bool {
        self.verdict == Verdict::Regressed || self.contrary.is_some() || self.looks_worse(policy)
    }

    /// Whether it might have, had its boots said so: of at least so many a side.
    fn could_flag(&self, least: usize) -> bool {
        let enough = self.row.boots.iter().all(|boots| *boots as usize >= least);
        let tested = self.aspect != Aspect::Outcome && self.row.p.is_some() && enough;
        self.flags() || tested && self.row.gates
    }
}

/// Marks what is better in cells in which something else is worse: a MAD that fell is no good news where stalls came.
fn mark_mixed(decisions: &mut [Decision], policy: &Policy) {
    let worse = decisions.iter().filter(|decision| decision.speaks_against(policy));
    let worse: BTreeSet<Cell> = worse.map(|decision| decision.cell.clone()).collect();
    for decision in decisions.iter_mut().filter(|d| d.verdict == Verdict::Improved) {
        decision.row.beside_worse = worse.contains(&decision.cell);
    }
}

/// A row of which nothing is known yet.
fn blank(cell: String, workload: String, aspect: Aspect) -> VerdictRow {
    VerdictRow {
        cell,
        workload,
        aspect: aspect.name().to_owned(),
        figure: None,
        verdict: String::new(),
        ratio: None,
        low: None,
        high: None,
        p: None,
        p_corrected: None,
        detectable_ratio: None,
        boots: [0, 0],
        boots_needed: None,
        gates: true,
        accepted: None,
        beside_worse: false,
        reason: String::new(),
    }
}

fn counts(boots: [usize; 2]) -> [u32; 2] {
    boots.map(|boots| u32::try_from(boots).unwrap_or(u32::MAX))
}

/// Whether verdicts may make a build fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Both sides were measured interleaved, and nothing speaks against the run.
    Gates,
    /// They were not.
    Informs {
        /// Why.
        why: String,
    },
    /// They were, but the run cannot be trusted.
    Void {
        /// Why, with sign and size.
        why: String,
    },
    /// They were, but the policy wants more of the runner than it has shown.
    Uncalibrated {
        /// What it has shown, and what would do.
        why: String,
    },
}

/// How a comparison ended: exit codes follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing was flagged.
    Fine,
    /// A regression.
    Regressed,
    /// It cannot be told.
    Inconclusive,
}

/// Everything that is said of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdicts {
    /// The decisions, cell by cell.
    pub decisions: Vec<Decision>,
    /// The whole in a sentence.
    pub overall: Overall,
    /// Whether they gate.
    pub gate: Gate,
    /// Whether anything could have been flagged: a figure that gates was tested, of enough boots, or boots failed.
    pub could_flag: bool,
    /// Whether the run was steady.
    pub checks: Vec<Check>,
    /// What must be known beside.
    pub notes: Vec<String>,
    /// Cells of which some boots fail, and not certainly more often on one side.
    pub failing: BTreeSet<String>,
    /// Which boots were planned and left no record, by side; in the sentence.
    pub incomplete: Vec<String>,
    /// The policy.
    pub policy: Policy,
}

/// Verdicts without their sentence.
#[derive(Debug)]
struct Untold {
    decisions: Vec<Decision>,
    gate: Gate,
    could_flag: bool,
    checks: Vec<Check>,
    notes: Vec<String>,
    failing: BTreeSet<String>,
    incomplete: Vec<String>,
}

impl Untold {
    /// With it.
    fn told(self, policy: &Policy) -> Verdicts {
        let Untold { mut decisions, gate, could_flag, checks, notes, failing, incomplete } = self;
        mark_mixed(&mut decisions, policy);
        let overall = sentence::overall(&sentence::Matter {
            decisions: &decisions,
            gate: &gate,
            failing: &failing,
            incomplete: &incomplete,
            policy,
        });
        Verdicts {
            decisions,
            overall,
            gate,
            could_flag,
            checks,
            notes,
            failing,
            incomplete,
            policy: policy.clone(),
        }
    }
}

/// What the caller decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Compare also what different instruments measured, and say so.
    pub allow_different_host: bool,
}

impl Verdicts {
    /// Decides.
    pub fn new(comparison: &Comparison<'_>, policy: &Policy, options: Options) -> Verdicts {
        let pairs = comparison.pairs(policy);
        let mut notes = comparison.notes();
        notes.extend(pairs.iter().flat_map(|pair| pair.notes.iter().cloned()));
        let asked: Vec<judge::Asked<'_>> = pairs
            .par_iter()
            .flat_map_iter(|pair| judge::ask(pair, comparison, policy, options))
            .collect();
        let checks = match comparison.design() {
            Design::Interleaved => validity::checks(&asked, policy),
            Design::Apart { .. } => Vec::new(),
        };
        let took =
            comparison.took_boots_by_policy().then(|| Sequential::replayed(comparison, policy));
        let findings = took.as_ref().map(Sequential::findings);
        let failing = failing::decide(&pairs, took.is_some(), policy);
        let mut decisions = judge::decide(asked, comparison, findings.as_ref(), policy);
        decisions.extend(failing.decisions);
        decisions.extend(pairs.iter().filter_map(|pair| outcome::lost(pair, comparison)));
        notes.extend(failing.notes);
        let order: std::collections::HashMap<&Cell, usize> =
            pairs.iter().enumerate().map(|(at, pair)| (pair.cell, at)).collect();
        decisions.sort_by(|a, b| {
            let place = |decision: &Decision| order.get(&decision.cell).copied();
            let aspect = |decision: &Decision| (decision.aspect, decision.verdict);
            (place(a), &a.row.workload, aspect(a)).cmp(&(place(b), &b.row.workload, aspect(b)))
        });
        accept(&mut decisions, &mut notes, comparison, policy);
        let least = policy.least_boots(findings.is_some());
        let could_flag = decisions.iter().any(|decision| decision.could_flag(least));
        let gate = gate(comparison, &checks, policy);
        let incomplete = comparison.incomplete();
        notes.dedup();
        let failing = failing.cells;
        Untold { decisions, gate, could_flag, checks, notes, failing, incomplete }.told(policy)
    }

    /// Puts them into results, the sentence in front of what was measured.
    pub fn into_results(self, results: &mut Results) {
        results.verdicts = self.rows();
        results.comparison = Some(self.comparison());
        let measured = std::mem::take(&mut results.overall.sentence);
        results.overall = self.overall;
        results.overall.sentence.push_str(&format!("; {measured}"));
    }

    /// What they rest on.
    pub fn comparison(&self) -> ComparisonResult {
        let (gate, why) = match &self.gate {
            Gate::Gates => ("gates", None),
            Gate::Informs { why } => ("informs", Some(why.clone())),
            Gate::Void { why } => ("void", Some(why.clone())),
            Gate::Uncalibrated { why } => ("uncalibrated", Some(why.clone())),
        };
        let lines = self.policy.lines().into_iter();
        ComparisonResult {
            gate: gate.to_owned(),
            why,
            checks: self.checks.iter().map(|check| check.result(&self.policy)).collect(),
            notes: self.notes.clone(),
            policy: lines.map(|(name, value)| PolicyLine { name, value }).collect(),
        }
    }

    /// The rows of `results.json`.
    pub fn rows(&self) -> Vec<VerdictRow> {
        self.decisions.iter().map(|decision| decision.row.clone()).collect()
    }

    /// How it ended. A cell that was measured in the base and fails altogether in the candidate needs no statistics, so it counts
    /// however the two were measured.
    pub fn end(&self, require_conclusive: bool) -> End {
        let altogether = |row: &VerdictRow| row.figure.is_none();
        let fails = |decision: &Decision| {
            decision.aspect == Aspect::Outcome && decision.flags() && altogether(&decision.row)
        };
        let flagged = self.decisions.iter().any(Decision::flags);
        if self.decisions.iter().any(fails) || flagged && self.gate == Gate::Gates {
            return End::Regressed;
        }
        let void = matches!(self.gate, Gate::Void { .. });
        let uncalibrated = matches!(self.gate, Gate::Uncalibrated { .. });
        let open = |decision: &Decision| {
            let undecided = matches!(decision.verdict, Verdict::Inconclusive | Verdict::Missing);
            decision.row.gates && undecided && !decision.cleared
        };
        let nothing = self.decisions.is_empty();
        let undecided = void || nothing || flagged || self.decisions.iter().any(open);
        // A flag of a run that may not gate is neither a regression nor nothing.
        if undecided && require_conclusive || flagged && (void || uncalibrated) {
            return End::Inconclusive;
        }
        End::Fine
    }
}

/// Marks what the policy accepts, and tells what it accepts no longer.
fn accept(
    decisions: &mut [Decision],
    notes: &mut Vec<String>,
    comparison: &Comparison<'_>,
    policy: &Policy,
) {
    let now = comparison.candidate.run.started_unix;
    let regressed = decisions.iter_mut().filter(|decision| decision.verdict == Verdict::Regressed);
    for Decision { cell, aspect, harm, row, notes: beside, .. } in regressed {
        let Some(harm) = *harm else { continue };
        for accept in &policy.accept {
            if !accept.is_about(cell, &row.workload, *aspect) {
                continue;
            }
            let what = accept.told();
            if accept.until.is_over(now) {
                notes.push(format!("accepted no longer: {what}"));
            } else if harm.exp() > accept.ratio {
                beside.push(format!("more than was accepted ({what})"));
                row.reason = format!("{}; more than was accepted ({what})", row.reason);
            } else {
                beside.push(format!("accepted ({what})"));
                row.reason = format!("{}; accepted ({what})", row.reason);
                row.accepted = Some(accept.reason.clone());
                break;
            }
        }
    }
}

/// Why a runner may not gate by a policy that wants it calibrated. What calibrates it is not held to it.
fn uncalibrated(comparison: &Comparison<'_>, policy: &Policy) -> Option<Gate> {
    let run = comparison.candidate.run;
    let rate = run.calibration.unwrap_or_default();
    if !policy.calibrate.required || run.calibrates.is_some() || rate.proves(policy.calibrate.most)
    {
        return None;
    }
    let shown = match rate.runs {
        0 => "this runner is not calibrated".to_owned(),
        _ => format!("this runner has not shown enough: {rate}"),
    };
    let needed = rate.what_proves(policy.calibrate.most);
    Some(Gate::Uncalibrated { why: format!("{shown}; {needed} (`cargo xtask calibrate`)") })
}

fn gate(comparison: &Comparison<'_>, checks: &[Check], policy: &Policy) -> Gate {
    match comparison.design() {
        Design::Apart { why } => Gate::Informs { why },
        Design::Interleaved => {
            let void = checks.iter().filter(|check| check.void(policy));
            let void: Vec<String> = void.map(Check::accusation).collect();
            match void.is_empty() {
                true => uncalibrated(comparison, policy).unwrap_or(Gate::Gates),
                false => Gate::Void { why: void.join("; ") },
            }
        }
    }
}
