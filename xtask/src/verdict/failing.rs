//! Boots that fail: whether those of a cell, or of a workload in it, fail more often on one side. Counts, and no figure.
//!
//! Two counts are told apart by Fisher's exact test, with Bonferroni's correction for all that is counted. Six boots a side tell little: five
//! that fail against none have a p-value of 0.0076. So a gate that takes boots until it knows goes on asking for them while counts
//! [lean](leans), up to where its screen ends, and looks at them each time. It looks at [sizes](looks) that the policy alone sets, each at the
//! first so many blocks of a cell, and the looks share the rate of errors. How many blocks a cell gets depends on what is seen; what a look of a size
//! says does not. So, by Bonferroni's bound, the chance of an error anywhere is at most the policy's rate, whatever made boots be asked for, or
//! cease to be. What leans in the end and is not told from chance is an open question, and no note.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_stats::exact::{likelier, more_often};

use super::outcome;
use super::policy::{Policy, Screen};
use super::sides::{Half, Pair};
use super::{Decision, Verdict};

/// The share of the rate of errors that looks spend while a screen takes boots, and the share that its end has. The rest is for cells whose suspects
/// get boots beyond.
const SCREEN: f64 = 0.5;
const END: f64 = 0.4;

/// A look: at the first so many blocks of a cell, for a share of the rate of errors.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    blocks: usize,
    share: f64,
}

/// The looks of a gate. Those of the screen spend by the boots that came in since the last.
fn looks(policy: &Policy) -> Vec<Look> {
    let Screen { first, more, most, .. } = policy.screen;
    let mut looks: Vec<Look> = Vec::new();
    let (mut before, mut blocks) = (0, first.clamp(1, most.max(1)));
    while before < most {
        let share = SCREEN * f64::from(blocks - before) / f64::from(most);
        looks.push(Look { blocks: blocks as usize, share });
        before = blocks;
        blocks = (blocks + more.max(1)).min(most);
    }
    if let Some(last) = looks.last_mut() {
        last.share += END;
    }
    let beyond = policy.confirm.looks.len();
    looks.extend(policy.confirm.looks.iter().map(|(fresh, _)| Look {
        blocks: (most + fresh) as usize,
        share: (1.0 - SCREEN - END) / beyond as f64,
    }));
    looks
}

/// What was decided of cells of which some boots fail.
pub(super) struct Failing {
    pub(super) decisions: Vec<Decision>,
    pub(super) notes: Vec<String>,
    /// Of which it is not told from chance that one side fails more often.
    pub(super) cells: BTreeSet<String>,
}

/// Boots of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    failed: u64,
    of: u64,
}

impl Count {
    /// Boots before a block that fail, or that leave nothing of a workload. What became of a workload in those that are left out was not
    /// asked.
    fn of(half: &Half<'_>, workload: Option<&str>, end: u32) -> Count {
        let early = |blocks: &[u32]| blocks.iter().filter(|block| **block < end).count();
        let failures = early(&half.failed_in);
        let measured = half.measured.iter().filter(|boot| boot.block < end);
        let (failed, of) = match workload {
            None => (failures, failures + measured.count() + early(&half.left_out)),
            Some(name) => {
                let lack = measured.clone().filter(|boot| boot.lacks(name)).count();
                (failures + lack, failures + measured.count())
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

/// Both ways: that the candidate fails more often, and that the base does.
type Both = [f64; 2];

/// How many more blocks are wanted, by cell, of those that were each asked for so many.
pub(super) fn wanted(
    pairs: &[Pair<'_>],
    asked: &BTreeMap<String, u32>,
    policy: &Policy,
) -> BTreeMap<String, u32> {
    let most = policy.screen.most;
    let (subjects, tests) = subjects(pairs);
    let looks = looks(policy);
    let mut wants = BTreeMap::new();
    for subject in subjects {
        let id = &subject.pair.id;
        let Some(&blocks) = asked.get(id) else { continue };
        let spent = subject.spent(&looks);
        let told = spent.iter().any(|spent| spent * tests <= policy.errors.failures);
        if blocks < most && !told && subject.leans(policy) {
            let of: &mut u32 = wants.entry(id.clone()).or_default();
            *of = policy.screen.more.max(1).min(most - blocks).max(*of);
        }
    }
    wants
}

/// Decides of all cells of which some boots fail: of a gate that took boots until it knew by its looks, and of a number of boots that was fixed by all of
/// them.
pub(super) fn decide(pairs: &[Pair<'_>], by_looks: bool, policy: &Policy) -> Failing {
    let mut failing = Failing { decisions: Vec::new(), notes: Vec::new(), cells: BTreeSet::new() };
    let (subjects, tests) = subjects(pairs);
    let looks = looks(policy);
    for subject in subjects {
        let p = subject.p();
        let spent = if by_looks { subject.spent(&looks) } else { p };
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
                failing.cells.insert(subject.pair.id.clone());
                continue;
            }
        };
        if verdict == Verdict::Inconclusive {
            failing.cells.insert(subject.pair.id.clone());
        }
        // That the candidate fails less often is no sign of a regression.
        let cleared = verdict == Verdict::Inconclusive && fails_less(&subject);
        failing.decisions.extend(subject.decisions(verdict, cleared, [p[way], corrected], &reason));
    }
    failing
}

fn fails_less(Subject { base, candidate, .. }: &Subject<'_, '_>) -> bool {
    candidate.failed * base.of < base.failed * candidate.of
}

/// By Fisher's exact test.
fn p(base: Count, candidate: Count) -> Both {
    [
        more_often(base.failed, base.of, candidate.failed, candidate.of),
        more_often(candidate.failed, candidate.of, base.failed, base.of),
    ]
}

/// All of which anything fails, and how many there are that could.
fn subjects<'p, 'a>(pairs: &'p [Pair<'a>]) -> (Vec<Subject<'p, 'a>>, f64) {
    let all = pairs.iter().flat_map(|pair| {
        let alone = alone(pair).into_iter().map(Some);
        std::iter::once(None).chain(alone).map(move |alone| {
            let [base, candidate] =
                [&pair.base, &pair.candidate].map(|half| Count::of(half, alone, u32::MAX));
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
    fn p(&self) -> Both {
        p(self.base, self.candidate)
    }

    /// The least p-value over its look's share; 1 where there was none.
    fn spent(&self, looks: &[Look]) -> Both {
        let halves = [&self.pair.base, &self.pair.candidate];
        let blocks = halves.iter().flat_map(|half| {
            let measured = half.measured.iter().map(|record| record.block);
            measured.chain(half.failed_in.iter().chain(&half.left_out).copied())
        });
        let blocks: Vec<u32> = blocks.collect::<BTreeSet<_>>().into_iter().collect();
        let mut spent = [1.0; 2];
        for Look { blocks: size, share } in looks {
            let Some(last) = blocks.get(size - 1) else { continue };
            let [base, candidate] = halves.map(|half| Count::of(half, self.alone, last + 1));
            let now = p(base, candidate);
            spent = [0, 1].map(|way| f64::min(spent[way], now[way] / share));
        }
        spent
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

    /// The chance that any of a gate's looks errs where every boot of both sides fails with this one, were each looked at: whatever decides which
    /// are, it errs no more often. Exact.
    fn size(looks: &[Look], rate: f64, chance: f64) -> f64 {
        let mut states: BTreeMap<(u64, u64), f64> = [((0, 0), 1.0)].into();
        let (mut before, mut errs) = (0, 0.0);
        for Look { blocks, share } in looks {
            let more = (blocks - before) as u64;
            let of = |hits: u64| {
                let ways: f64 = (0..hits).map(|n| (more - n) as f64 / (hits - n) as f64).product();
                ways * chance.powi(hits as i32) * (1.0 - chance).powi((more - hits) as i32)
            };
            let law: Vec<f64> = (0..=more).map(of).collect();
            let mut next: BTreeMap<(u64, u64), f64> = BTreeMap::new();
            for ((base, candidate), weight) in states {
                for (b, of_b) in (0..).zip(&law) {
                    for (c, of_c) in (0..).zip(&law).filter(|(_, of_c)| of_b * **of_c > 1e-12) {
                        *next.entry((base + b, candidate + c)).or_default() += weight * of_b * of_c;
                    }
                }
            }
            next.retain(|(base, candidate), weight| {
                let [base, candidate] =
                    [base, candidate].map(|failed| Count { failed: *failed, of: *blocks as u64 });
                let is_told = p(base, candidate)[0] / share <= rate;
                if is_told {
                    errs += *weight;
                }
                !is_told
            });
            (states, before) = (next, *blocks);
        }
        errs
    }

    #[test]
    fn looks_err_no_more_often_than_the_policy_allows_however_boots_are_asked_for() {
        let policy = crate::verdict::policy::parse(crate::verdict::policy::EMBEDDED, "p").unwrap();
        let looks = looks(&policy);
        assert!((looks.iter().map(|look| look.share).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(looks.windows(2).all(|two| two[0].blocks < two[1].blocks));
        // Those beyond the screen add a tenth at most.
        let (screen, beyond): (Vec<Look>, Vec<Look>) =
            looks.iter().partition(|look| look.blocks <= policy.screen.most as usize);
        let beyond: f64 = beyond.iter().map(|look| look.share).sum();
        for rate in [policy.errors.failures, 0.05] {
            for chance in [0.02, 0.1, 0.3, 0.5, 0.8, 0.95] {
                let errs = size(&screen, rate, chance) + beyond * rate;
                assert!(errs <= rate, "{errs} at {chance}");
            }
        }
    }

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
