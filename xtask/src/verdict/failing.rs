//! Boots that fail: whether those of a cell, or of a workload in it, fail more often on one side. Counts, and no figure.
//!
//! Two counts are told apart by Fisher's exact test, with Bonferroni's correction for all that is counted. Six boots a side tell little: five
//! that fail against none have a p-value of 0.0076. So a gate that takes boots until it knows goes on asking for them while counts
//! [lean](leans), up to where its screen ends, and looks at them each time. The looks share the rate of errors: one spends of its first half
//! as much as the share of the screen's boots that came in since the last, and the end of the run, with whatever boots there are
//! then, has the other half. Both are settled before anything fails, and by Bonferroni's bound the chance of an error anywhere is at most the
//! policy's rate, whenever boots cease to be asked for. What leans in the end and is not told from chance is an open question, and no note.

use std::collections::BTreeMap;

use evenkeel_stats::exact::{likelier, more_often};

use super::outcome;
use super::policy::Policy;
use super::sides::{Half, Pair};
use super::{Decision, Verdict};

/// The share of the rate of errors that the looks of a gate spend; the end of the run has the rest.
const LOOKS: f64 = 0.5;

/// What was decided of cells of which some boots fail.
pub(super) struct Failing {
    pub(super) decisions: Vec<Decision>,
    pub(super) notes: Vec<String>,
}

/// Boots of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    failed: u64,
    of: u64,
}

impl Count {
    /// Boots that fail, or that leave nothing of a workload. What became of a workload in those that are left out was not asked.
    fn of(half: &Half<'_>, workload: Option<&str>) -> Count {
        let failures = half.failures.len();
        let (failed, of) = match workload {
            None => (failures, half.boots()),
            Some(name) => {
                let lack = half.measured.iter().filter(|boot| boot.lacks(name)).count();
                (failures + lack, failures + half.measured.len())
            }
        };
        Count { failed: failed as u64, of: of as u64 }
    }

    fn share(self) -> f64 {
        self.failed as f64 / self.of as f64
    }
}

/// What is counted: the boots of a cell, or of them what becomes of one workload.
struct Subject<'p, 'a> {
    pair: &'p Pair<'a>,
    alone: Option<&'a str>,
    base: Count,
    candidate: Count,
}

/// By what a subject is known from look to look.
type Key = (String, Option<String>);

/// Both ways: that the candidate fails more often, and that the base does.
type Both = [f64; 2];

/// The looks that a gate has taken at the boots that fail.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks {
    /// Blocks of each cell at the last.
    taken: BTreeMap<String, u32>,
    /// The least p-value over its look's share.
    spent: BTreeMap<Key, Both>,
}

impl Looks {
    /// Looks at the cells of a gate, each of which was asked for so many blocks: how many more are wanted, by cell.
    pub(super) fn look(
        &mut self,
        pairs: &[Pair<'_>],
        asked: &BTreeMap<String, u32>,
        policy: &Policy,
    ) -> BTreeMap<String, u32> {
        let most = policy.screen.most;
        let before = asked.iter().map(|(cell, blocks)| {
            let before = self.taken.insert(cell.clone(), *blocks).unwrap_or(0);
            (cell.as_str(), f64::from((*blocks).min(most).saturating_sub(before)))
        });
        let news: BTreeMap<&str, f64> = before.collect();
        let (subjects, tests) = subjects(pairs);
        let mut wants = BTreeMap::new();
        for subject in subjects {
            let id = &subject.pair.id;
            let (Some(&blocks), Some(news)) = (asked.get(id), news.get(id.as_str())) else {
                continue;
            };
            let share = LOOKS * news / f64::from(most.max(1));
            let spent = self.spent.entry(subject.key()).or_insert([1.0; 2]);
            if share > 0.0 {
                let now = subject.p().map(|p| p / share);
                *spent = [spent[0].min(now[0]), spent[1].min(now[1])];
            }
            let told = spent.iter().any(|spent| spent * tests <= policy.errors.failures);
            if blocks < most && !told && subject.leans(policy) {
                let of: &mut u32 = wants.entry(id.clone()).or_default();
                *of = policy.screen.more.max(1).min(most - blocks).max(*of);
            }
        }
        wants
    }
}

/// Decides of all cells of which some boots fail. Of a number of boots that was fixed there were no looks.
pub(super) fn decide(pairs: &[Pair<'_>], looks: Option<&Looks>, policy: &Policy) -> Failing {
    let mut failing = Failing { decisions: Vec::new(), notes: Vec::new() };
    let (subjects, tests) = subjects(pairs);
    for subject in subjects {
        let p = subject.p();
        let spent = match looks {
            None => p,
            Some(looks) => {
                let before = looks.spent.get(&subject.key()).copied().unwrap_or([1.0; 2]);
                [0, 1].map(|way| before[way].min(p[way] / (1.0 - LOOKS)))
            }
        };
        let way = usize::from(spent[1] < spent[0]);
        let corrected = (spent[way] * tests).min(1.0);
        let counted = subject.told();
        let (verdict, reason) = match [Verdict::Regressed, Verdict::Improved][way] {
            found if corrected <= policy.errors.failures => (found, counted),
            _ if subject.leans(policy) => {
                (Verdict::Inconclusive, format!("not told from chance: {counted}"))
            }
            _ => {
                failing.notes.push(format!("`{}`: {counted}", subject.pair.id));
                continue;
            }
        };
        // That the candidate fails less often is no sign of a regression.
        let cleared = verdict == Verdict::Inconclusive && way == 1;
        failing.decisions.extend(subject.decisions(verdict, cleared, [p[way], corrected], &reason));
    }
    failing
}

/// All of which anything fails, and how many there are that could.
fn subjects<'p, 'a>(pairs: &'p [Pair<'a>]) -> (Vec<Subject<'p, 'a>>, f64) {
    let all = pairs.iter().flat_map(|pair| {
        let alone = alone(pair).into_iter().map(Some);
        std::iter::once(None).chain(alone).map(move |alone| {
            let [base, candidate] =
                [&pair.base, &pair.candidate].map(|half| Count::of(half, alone));
            Subject { pair, alone, base, candidate }
        })
    });
    let mut all: Vec<Subject<'_, '_>> = all.collect();
    let tests = all.len() as f64;
    all.retain(|subject| {
        let plain = subject.alone.is_some_and(|name| outcome::is_plain(subject.pair, name));
        subject.base.failed + subject.candidate.failed > 0
            && outcome::of(subject.pair).is_none()
            && !plain
    });
    (all, tests)
}

impl Subject<'_, '_> {
    fn key(&self) -> Key {
        (self.pair.id.clone(), self.alone.map(str::to_owned))
    }

    fn p(&self) -> Both {
        let Subject { base, candidate, .. } = self;
        [
            more_often(base.failed, base.of, candidate.failed, candidate.of),
            more_often(candidate.failed, candidate.of, base.failed, base.of),
        ]
    }

    fn leans(&self, policy: &Policy) -> bool {
        leans([self.base, self.candidate], policy.screen.suspect)
    }

    /// `5 of 6 boots fail in the candidate, 0 of 6 in the base: REASON`.
    fn told(&self) -> String {
        let what = self.alone.map_or("boots fail".to_owned(), |name| format!("boots lack {name}"));
        let halves = [&self.pair.candidate, &self.pair.base];
        let reason = halves.into_iter().find_map(|half| reason(half, self.alone));
        format!(
            "{} of {} {what} in the candidate, {} of {} in the base: {}",
            self.candidate.failed,
            self.candidate.of,
            self.base.failed,
            self.base.of,
            reason.unwrap_or_default()
        )
    }

    fn decisions(
        &self,
        verdict: Verdict,
        cleared: bool,
        [p, corrected]: [f64; 2],
        reason: &str,
    ) -> Vec<Decision> {
        let ratio = self.candidate.share() / self.base.share();
        let boots = [self.base.of, self.candidate.of]
            .map(|boots| usize::try_from(boots).unwrap_or(usize::MAX));
        let named = match self.alone {
            Some(workload) => vec![workload.to_owned()],
            None => outcome::workloads(self.pair),
        };
        let decision = |workload: String| {
            let mut of = Decision::outcome(self.pair.cell, &workload, verdict, boots, reason);
            of.cleared = cleared;
            of.row.figure = Some(FIGURE.to_owned());
            of.row.ratio = ratio.is_finite().then_some(ratio);
            (of.row.p, of.row.p_corrected) = (Some(p), Some(corrected));
            of
        };
        named.into_iter().map(decision).collect()
    }
}

/// What stands for how often boots fail.
const FIGURE: &str = "failed_share";

/// Whether counts speak for one side failing more often, whatever chance makes of it: one side always or never fails and the other does not, or
/// two rates are likelier than one by these odds.
fn leans([base, candidate]: [Count; 2], odds: f64) -> bool {
    let even = base.failed * candidate.of == candidate.failed * base.of;
    let pure = [base, candidate].iter().any(|side| side.failed == 0 || side.failed == side.of);
    let odds_of = || likelier(base.failed, base.of, candidate.failed, candidate.of);
    !even && (pure || odds_of() >= odds)
}

/// Workloads that fail in boots of which others are measured.
fn alone<'a>(pair: &Pair<'a>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for record in pair.base.measured.iter().chain(&pair.candidate.measured) {
        for failed in &record.failed {
            if !names.contains(&failed.workload.as_str()) {
                names.push(&failed.workload);
            }
        }
    }
    names
}

/// Why the first of them does.
fn reason<'a>(half: &Half<'a>, workload: Option<&str>) -> Option<&'a str> {
    let of_workload = |name: &str| {
        let mut failed = half.measured.iter().flat_map(|boot| &boot.failed);
        failed.find(|failed| failed.workload == name).map(|failed| failed.reason.as_str())
    };
    workload.and_then(of_workload).or_else(|| half.failures.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lean_where_one_side_is_pure_or_two_rates_are_likelier() {
        for (base, candidate, expected) in [
            ((0, 6), (1, 6), true),
            ((1, 6), (0, 6), true),
            ((5, 6), (6, 6), true),
            ((1, 6), (4, 6), true),
            ((2, 6), (3, 6), false),
            ((3, 12), (3, 12), false),
            ((1, 6), (2, 12), false),
        ] {
            let count = |(failed, of)| Count { failed, of };
            assert_eq!(
                leans([base, candidate].map(count), 2.7),
                expected,
                "{base:?} {candidate:?}"
            );
        }
    }
}
