//! How many boots a gate takes: the boots of both sides so far in, those that are wanted next out. Pure, and a function of the
//! records alone: a run that goes on, and a report that is made again, come to the same rounds by going through them once more.
//!
//! The first round gives every cell that can be measured the policy's first boots. What they say makes the questions: each workload and
//! aspect of a cell that gates. One without numbers on both sides, such as of stalls where none was seen, rests until it has some. Two [`Design`]s then share the boots. One
//! asks what is worse and decides how many boots the screen takes; the other asks what is better, takes the boots that the first wanted, and asks
//! for fresh ones of its own suspects only. Cells whose figures only inform, such as emulated ones, get as many as the policy requires of a
//! verdict. Cells whose boots fail are counted beside (`failing`), those that never gate by figures too: one of
//! which a side fails sometimes gets boots while that can be chance. A cell that only the candidate fails, always, needs no more.

use std::collections::{BTreeMap, HashMap, HashSet};

use evenkeel_agent::samples::Unit;
use evenkeel_stats::gate::Hypothesis;
use evenkeel_stats::gate::design::{Design, Finding, Look, Rules, Standing, Subject, Want};

use super::failing;
use super::judge::{self, Asked, Matter};
use super::policy::Policy;
use super::sides::Comparison;
use super::tested::Observation;
use super::{Aspect, Options, Verdict};
use crate::record::{BASE, CANDIDATE, Lost, Run, Status};

/// Boots that are wanted next: blocks of some cells, each with a fresh boot of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Its first block.
    pub first: u32,
    /// How many of its blocks, from the first on, each cell is in, by id.
    pub cells: BTreeMap<String, u32>,
    /// What for.
    pub step: Step,
}

/// What a round is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To find suspects.
    Screen,
    /// To confirm them.
    Confirm,
}

impl Round {
    /// The block after its last.
    pub fn end(&self) -> u32 {
        self.first + self.cells.values().copied().max().unwrap_or(0)
    }

    /// The cells that are in one of its blocks.
    pub fn cells_of(&self, block: u32) -> HashSet<&str> {
        let within = |blocks: u32| block >= self.first && block - self.first < blocks;
        let cells = self.cells.iter().filter(|(_, blocks)| within(**blocks));
        cells.map(|(cell, _)| cell.as_str()).collect()
    }

    /// Boots, of both sides.
    pub fn boots(&self) -> u64 {
        self.cells.values().map(|blocks| 2 * u64::from(*blocks)).sum()
    }
}

/// What a hypothesis is about: a cell's id, a workload, an aspect.
type Key = (String, String, Aspect);

/// Where a hypothesis stands, in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) worse: Finding,
    pub(super) better: Finding,
    /// The factor that was to be found.
    pub(super) find: f64,
}

impl Found {
    /// The direction that was confirmed.
    pub(super) fn confirmed(&self) -> Option<(Verdict, Finding)> {
        let both = [(Verdict::Regressed, self.worse), (Verdict::Improved, self.better)];
        both.into_iter().find(|(_, of)| of.standing == Standing::Flagged)
    }
}

/// What a gate says of a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stand {
    /// It was none of its questions: it came up after the screen, in a cell that had no suspects.
    Beside,
    /// The run ended before it could be told, or its cell got no more boots.
    Unfinished,
    /// The screen saw no sign of a change for the worse by this factor.
    Cleared(f64),
    /// The screen ended without an answer.
    Undecided,
    /// It looked like a change by this factor, and fresh boots spoke against it.
    Dismissed(f64, Finding),
    /// Fresh boots did not confirm it.
    Unconfirmed(Finding),
    /// Fresh boots confirmed it.
    Confirmed(Verdict, Finding),
}

/// A gate at work.
#[derive(Debug)]
pub struct Sequential<'p> {
    policy: &'p Policy,
    seed: u64,
    round: Option<Round>,
    /// The block after that round, with the cells that it goes on without.
    end: u32,
    /// Blocks that each cell was asked for.
    asked: BTreeMap<String, u32>,
    /// Cells that it has to go on without, each from this block on.
    lost: BTreeMap<String, u32>,
    /// Once the first round is measured.
    questions: Option<Questions>,
}

#[derive(Debug)]
struct Questions {
    keys: Vec<Key>,
    /// Logarithms of the factors that are to be found.
    targets: Vec<f64>,
    margins: Vec<f64>,
    cells: Vec<String>,
    worse: Design,
    better: Design,
}

impl<'p> Sequential<'p> {
    /// The gate of a run, before its first boot.
    pub fn new(run: &Run, policy: &'p Policy) -> Sequential<'p> {
        let of_base = run.base.iter().flat_map(|base| &base.cells);
        let there: HashSet<String> = of_base
            .filter(|planned| planned.status == Status::Runnable)
            .map(|planned| planned.cell.id())
            .collect();
        let runnable = run.cells.iter().filter(|planned| planned.status == Status::Runnable);
        let cells: BTreeMap<String, u32> = runnable
            .map(|planned| planned.cell.id())
            .filter(|id| there.contains(id))
            .map(|id| (id, policy.screen.first))
            .collect();
        let mut gate = Sequential {
            policy,
            seed: run.seed,
            round: None,
            end: 0,
            asked: BTreeMap::new(),
            lost: BTreeMap::new(),
            questions: None,
        };
        run.lost.iter().for_each(|lost| gate.lose(lost));
        gate.want(cells, Step::Screen);
        gate
    }

    /// The gate of a run after all rounds of which every boot left a record.
    pub fn replayed(comparison: &Comparison<'_>, policy: &'p Policy) -> Sequential<'p> {
        let mut gate = Sequential::new(comparison.candidate.run, policy);
        gate.catch_up(comparison);
        gate
    }

    /// Goes through the rounds that are measured.
    pub fn catch_up(&mut self, comparison: &Comparison<'_>) {
        while self.is_measured(comparison) {
            self.advance(comparison);
        }
    }

    /// Goes on without a cell: its boots of the round that this is said in, and all later ones, are not waited for.
    pub fn lose(&mut self, lost: &Lost) {
        self.lost.entry(lost.cell.clone()).or_insert(lost.block);
        if let Some(round) = self.round.as_mut().filter(|round| round.first >= lost.block) {
            round.cells.remove(&lost.cell);
        }
    }

    /// Asks for these boots; for none where there are none.
    fn want(&mut self, mut cells: BTreeMap<String, u32>, step: Step) {
        let first = self.end;
        for (cell, blocks) in &cells {
            *self.asked.entry(cell.clone()).or_default() += blocks;
        }
        self.end = first + cells.values().copied().max().unwrap_or(0);
        let is_wanted = !cells.is_empty();
        // The next round begins where it would have with them.
        cells.retain(|cell, _| !self.is_lost(cell, first));
        self.round = is_wanted.then_some(Round { first, cells, step });
    }

    fn is_lost(&self, cell: &str, block: u32) -> bool {
        self.lost.get(cell).is_some_and(|from| block >= *from)
    }

    /// The boots that are wanted next; none once everything is decided.
    pub fn round(&self) -> Option<&Round> {
        self.round.as_ref()
    }

    /// Cells that fresh boots are to confirm something of.
    pub fn suspects(&self) -> usize {
        let Some(questions) = &self.questions else { return 0 };
        let suspects = questions.found().filter(|(_, found)| {
            [found.worse, found.better].iter().any(|of| of.standing == Standing::Suspect)
        });
        suspects.map(|((cell, ..), _)| cell).collect::<HashSet<_>>().len()
    }

    /// Whether every boot of the round that is wanted left a record.
    pub fn is_measured(&self, comparison: &Comparison<'_>) -> bool {
        let Some(round) = &self.round else { return false };
        let made: HashSet<(&str, u32, &str)> = comparison
            .records()
            .map(|record| (record.cell.as_str(), record.block, record.side.as_str()))
            .collect();
        round.cells.iter().all(|(cell, blocks)| {
            let mut of_cell = (round.first..round.first + blocks)
                .flat_map(|block| [BASE, CANDIDATE].map(|side| (cell.as_str(), block, side)));
            of_cell.all(|boot| made.contains(&boot))
        })
    }

    /// Takes the boots of the round that was wanted.
    pub fn advance(&mut self, comparison: &Comparison<'_>) {
        if self.round.take().is_none() {
            return;
        }
        let end = self.end;
        let until = comparison.until(end);
        let pairs = until.pairs(self.policy);
        let asked = pairs
            .iter()
            .flat_map(|pair| judge::ask(pair, &until, self.policy, Options::default()))
            .collect::<Vec<_>>();
        let questions =
            self.questions.get_or_insert_with(|| Questions::new(&asked, self.policy, self.seed));
        let lost = self.lost.iter().filter(|(_, from)| **from < end).map(|(cell, _)| cell);
        lost.for_each(|cell| questions.give_up(cell));
        let mut wants = questions.advance(&asked, &self.asked, self.policy);
        let confirms = !wants.is_empty() && questions.worse.screened().is_some();
        let step = if confirms { Step::Confirm } else { Step::Screen };
        let failing = failing::wanted(&pairs, &self.asked, self.policy);
        let beside = failing.into_iter().chain(informing(&asked, &self.asked, self.policy));
        let lost = |cell: &String| self.lost.get(cell).is_some_and(|from| *from < end);
        for (cell, blocks) in beside.filter(|(cell, _)| !lost(cell)) {
            let of = wants.entry(cell).or_default();
            *of = blocks.max(*of);
        }
        self.want(wants, step);
    }

    /// Where each hypothesis stands, and the last block of the screen.
    pub(super) fn findings(&self) -> Findings {
        let questions = self.questions.as_ref();
        Findings {
            found: questions
                .map(|of| of.found().map(|(key, found)| (key.clone(), found)).collect())
                .unwrap_or_default(),
            screened: questions
                .map(|of| [of.worse.screened(), of.better.screened()])
                .unwrap_or_default(),
            finished: self.round.is_none(),
        }
    }
}

impl Stand {
    /// Whether a change of the size that was to be found is not there.
    pub(super) fn is_cleared(self) -> bool {
        matches!(self, Stand::Cleared(_) | Stand::Dismissed(..))
    }
}

/// What a gate has found.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    found: HashMap<Key, Found>,
    /// The last block of the screen, once it is over: of what is worse, and of what is better, whose screen may be over earlier.
    pub(super) screened: [Option<u32>; 2],
    /// Whether everything was decided.
    finished: bool,
}

impl Findings {
    fn of(&self, asked: &Asked<'_>) -> Option<Found> {
        self.found.get(&(asked.id.clone(), asked.workload.clone(), asked.aspect)).copied()
    }

    /// Where a question stands; nothing where it only informs.
    pub(super) fn stand(&self, asked: &Asked<'_>) -> Option<Stand> {
        if !asked.gates {
            return None;
        }
        let Some(found) = self.of(asked) else {
            return Some(if self.finished { Stand::Beside } else { Stand::Unfinished });
        };
        if let Some((verdict, finding)) = found.confirmed() {
            return Some(Stand::Confirmed(verdict, finding));
        }
        Some(match found.worse.standing {
            Standing::Cleared => Stand::Cleared(found.find),
            Standing::Undecided => Stand::Undecided,
            Standing::Dismissed => Stand::Dismissed(found.find, found.worse),
            Standing::Unconfirmed | Standing::Flagged => Stand::Unconfirmed(found.worse),
            Standing::Screened | Standing::Suspect if !self.finished => Stand::Unfinished,
            // Its cell gets no more boots, and these are too few.
            Standing::Missing => Stand::Unfinished,
            Standing::Screened | Standing::Suspect | Standing::Resting => Stand::Beside,
        })
    }

    /// Of what was confirmed, only the fresh boots: those by which it was chosen show it larger than it is.
    pub(super) fn fresh(&self, asked: &mut Asked<'_>) {
        let confirmed = self.of(asked).and_then(|found| found.confirmed());
        let screened = match confirmed {
            Some((Verdict::Improved, _)) => self.screened[1],
            _ => self.screened[0],
        };
        let (Some(_), Some(screened)) = (confirmed, screened) else { return };
        let Matter::Numbers(series) = &mut asked.matter else { return };
        for side in [&mut series.base, &mut series.candidate] {
            side.retain(|observation| observation.block > screened);
        }
        asked.boots = [series.base.len(), series.candidate.len()];
    }
}

impl Questions {
    fn new(asked: &[Asked<'_>], policy: &Policy, seed: u64) -> Questions {
        let mut cells: Vec<String> = Vec::new();
        let mut kinds: Vec<(&str, Aspect)> = Vec::new();
        let (mut keys, mut subjects, mut margins) = (Vec::new(), Vec::new(), Vec::new());
        for asked in asked.iter().filter(|asked| asked.gates) {
            // What has no numbers yet may have some later.
            let Some(unit) = asked.unit else { continue };
            let Some(find) = find(policy, unit).of(asked.aspect) else { continue };
            if cells.last() != Some(&asked.id) {
                cells.push(asked.id.clone());
            }
            let kind = (asked.workload.as_str(), asked.aspect);
            let kind = kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            });
            let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            subjects.push(Subject {
                cell: number(cells.len() - 1),
                kind: number(kind),
                target: find.ln(),
            });
            margins.push(policy.margin(asked.aspect).ln());
            keys.push((asked.id.clone(), asked.workload.clone(), asked.aspect));
        }
        let targets = subjects.iter().map(|subject| subject.target).collect();
        let rules = rules(policy, seed);
        // What is better is tested by relabellings of its own.
        let other = Rules { seed: seed ^ 1, ..rules.clone() };
        let (worse, better) = (Design::new(subjects.clone(), rules), Design::new(subjects, other));
        Questions { keys, targets, margins, cells, worse, better }
    }

    fn found(&self) -> impl Iterator<Item = (&Key, Found)> {
        let both = self.worse.findings().zip(self.better.findings()).zip(&self.targets);
        let found = both.map(|((worse, better), find)| Found { worse, better, find: find.exp() });
        self.keys.iter().zip(found)
    }

    /// The cell gets no more boots: what is asked of it is decided by those that there are.
    fn give_up(&mut self, cell: &str) {
        let numbers = (0_u32..).zip(&self.cells);
        for (number, _) in numbers.filter(|(_, known)| *known == cell) {
            self.worse.give_up(number);
            self.better.give_up(number);
        }
    }

    /// Blocks that are wanted next, by cell.
    fn advance(
        &mut self,
        asked: &[Asked<'_>],
        blocks: &BTreeMap<String, u32>,
        policy: &Policy,
    ) -> BTreeMap<String, u32> {
        let by_key: HashMap<(&str, &str, Aspect), &Asked<'_>> = asked
            .iter()
            .map(|asked| ((asked.id.as_str(), asked.workload.as_str(), asked.aspect), asked))
            .collect();
        let mut numbers: Vec<Sides> = Vec::new();
        // Pairs of each cell that count.
        let mut kept = vec![0; self.cells.len()];
        let mut at_cell = 0;
        for (at, (cell, workload, aspect)) in self.keys.iter().enumerate() {
            while self.cells[at_cell] != *cell {
                at_cell += 1;
            }
            let found = by_key.get(&(cell.as_str(), workload.as_str(), *aspect));
            let series = found.filter(|asked| asked.gates).and_then(|asked| match &asked.matter {
                // Nothing can be learnt of how much such boots differ.
                Matter::Numbers(_) if asked.is_flat() => None,
                Matter::Numbers(series) => Some(series),
                Matter::Quiet(..) | Matter::Decided(..) => None,
            });
            match series {
                Some(series) => {
                    self.worse.wake(at);
                    self.better.wake(at);
                    kept[at_cell] =
                        kept[at_cell].max(series.base.len().min(series.candidate.len()));
                    numbers.push([series.base.clone(), series.candidate.clone()]);
                }
                None => {
                    self.worse.rest(at);
                    self.better.rest(at);
                    numbers.push([Vec::new(), Vec::new()]);
                }
            }
        }
        for (cell, kept) in self.cells.clone().iter().zip(kept) {
            // A cell that loses more blocks than it keeps would be asked for without end.
            let asked_for = blocks.get(cell).copied().unwrap_or(0) as usize;
            if asked_for.saturating_sub(kept) > kept.max(policy.screen.first as usize) {
                self.give_up(cell);
            }
        }
        let turned: Vec<Sides> =
            numbers.iter().map(|sides| sides.each_ref().map(|side| turn(side))).collect();
        let mut wants = self.worse.advance(&hypotheses(&numbers, &self.margins));
        if self.worse.screened().is_some() {
            self.better.close();
        }
        let better = self.better.advance(&hypotheses(&turned, &self.margins));
        // Until the screen is over, what is worse decides how long it takes.
        if self.worse.screened().is_some() {
            wants.extend(better);
        }
        let mut all = BTreeMap::new();
        for Want { cell, blocks } in wants {
            let of: &mut u32 = all.entry(self.cells[cell as usize].clone()).or_default();
            *of = blocks.max(*of);
        }
        all
    }
}

/// Blocks that are wanted of cells with figures that only inform, by cell: no gate asks for boots of those, and below the policy's number they would
/// say nothing.
fn informing(
    asked: &[Asked<'_>],
    blocks: &BTreeMap<String, u32>,
    policy: &Policy,
) -> BTreeMap<String, u32> {
    let mut wants = BTreeMap::new();
    let never_judged = [Aspect::Outcome, Aspect::BetweenBoot];
    for asked in asked.iter().filter(|of| !of.gates && !never_judged.contains(&of.aspect)) {
        let [base, candidate] = asked.boots;
        let kept = u32::try_from(base.min(candidate)).unwrap_or(u32::MAX);
        let lost = blocks.get(&asked.id).map(|blocks| blocks.saturating_sub(kept));
        let lacks = policy.require.boots.saturating_sub(kept);
        // As where it gates, one that loses more than it keeps is not asked for without end.
        if lacks > 0 && lost.is_some_and(|lost| lost <= kept.max(policy.screen.first)) {
            let of: &mut u32 = wants.entry(asked.id.clone()).or_default();
            *of = lacks.max(*of);
        }
    }
    wants
}

/// Base and candidate.
type Sides = [Vec<Observation>; 2];

fn hypotheses<'n>(numbers: &'n [Sides], margins: &[f64]) -> Vec<Hypothesis<'n>> {
    let both = numbers.iter().zip(margins);
    let of = |([base, candidate], margin): (&'n Sides, &f64)| Hypothesis {
        base,
        candidate,
        margin: *margin,
    };
    both.map(of).collect()
}

fn turn(side: &[Observation]) -> Vec<Observation> {
    side.iter().map(|of| Observation { block: of.block, value: -of.value }).collect()
}

fn find(policy: &Policy, unit: Unit) -> &super::policy::Find {
    match unit {
        Unit::Nanoseconds => &policy.find,
        _ => &policy.find_of_rates,
    }
}

/// The rules of a design by this policy.
pub fn rules(policy: &Policy, seed: u64) -> Rules {
    let Policy { screen, confirm, .. } = policy;
    let look = |&(blocks, share): &(u32, f64)| Look { blocks, share };
    Rules {
        alpha: policy.errors.family,
        first: screen.first,
        every: screen.more,
        most: screen.most,
        drop: screen.cleared.ln(),
        hold: screen.enough.ln(),
        enter: screen.suspect.ln(),
        futile: confirm.futile.ln(),
        looks: confirm.looks.iter().map(look).collect(),
        permutations: policy.permutations as usize,
        seed,
    }
}
