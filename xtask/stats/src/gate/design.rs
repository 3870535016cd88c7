//! How many boots a gate takes, and of which cells: screen all with few, confirm the suspects on fresh ones. Pure: told the boots so far,
//! it says how many more it wants.
//!
//! **Screen.** After every few blocks each hypothesis that is left is asked which is likelier: no change at all, or a change of the size that the
//! gate must find (its *target*). The logarithm of their ratio (Wald 1945, Sequential tests of statistical hypotheses), with the unknown
//! variance maximised out, is for n pairs, mean d, t0 = d / s * sqrt(n), t1 = (d - target) / s * sqrt(n) and v degrees of freedom
//!
//! > (v + 1) / 2 * ln((1 + t0^2 / v) / (1 + t1^2 / v)),
//!
//! with variances moderated by other cells. Below [`Rules::drop`] a hypothesis is cleared. A cell gets no more boots
//! once each of its hypotheses is cleared or clearly suspect ([`Rules::hold`]); whoever is above [`Rules::enter`] at the end is a suspect.
//! Most cells are cleared after few blocks, so the mean cost is low; the screen may err as it likes, because it flags nothing.
//!
//! **Confirm.** Only blocks begun after the screen count. Conditional on the screen, the suspects are fixed and their boots
//! fresh, so that testing K suspects needs a correction for K, not for the family. Each is tested against its margin by exact relabelling at
//! a few looks that share its error rate ([`Look::share`], a spending function; the bound over looks is Bonferroni's, which
//! holds whatever the law). Suspects share the error rate by weights (Holm 1979 in the weighted form) that the screen has set: 1 over its
//! p-value. Weights out of other data than those tested keep the error rate and give most of it to those who are
//! likeliest to need it. A flag hands its share on (Maurer & Bretz 2013 prove this for looks). A suspect whom fresh boots speak
//! against ([`Rules::futile`]) gets no more; that can only lose flags.
//!
//! **What comes up late.** A stall or a second mode may not happen in the first boots, and then there is nothing to ask which is likelier: such a
//! hypothesis rests ([`Design::rest`]). One that wakes while the screen lasts is screened from there on with all its boots, which is free, as
//! the screen flags nothing. One that still rests when the screen ends, in a cell that is confirmed for another's sake, is among the suspects
//! from that moment, with the weight of a p-value of 1, and asks for no boots until it wakes. So the family of the confirmation, its weights
//! and the block that its boots begin at are settled before the first fresh boot, and each look takes the first fresh boots that it asks for,
//! those before the waking included: what is tested never depends on when it woke. One that wakes in any other cell is not tested.
//!
//! The chance of any false flag of a whole run is at most [`Rules::alpha`], whatever the screen does.

use std::collections::{BTreeMap, BTreeSet};

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::Hypothesis;
use super::kernel;
use super::layout::{Boots, Layout, pairs};
use super::moderate::Prior;
use super::relabel::Relabellings;
use crate::moments::Moments;

/// What a hypothesis is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subject {
    /// The cell: hypotheses of one cell share its boots.
    pub cell: u32,
    /// The workload and aspect: cells of one kind are taken to vary alike, as far as they do.
    pub kind: u32,
    /// The natural logarithm of the factor that the gate must find; more than the margin.
    pub target: f64,
}

/// When fresh boots are tested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// After so many fresh blocks.
    pub blocks: u32,
    /// The share of the error rate that this look may spend; the shares sum to at most 1.
    pub share: f64,
}

/// The rules of a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The chance of any false flag of a run.
    pub alpha: f64,
    /// Blocks that every cell gets.
    pub first: u32,
    /// Blocks between two looks of the screen, or at suspects for futility.
    pub every: u32,
    /// Blocks at which the screen of a cell ends.
    pub most: u32,
    /// How much likelier no change must be than one of the target for a hypothesis to be cleared: a logarithm of odds. A change of the size of the target is
    /// lost with a chance below e^-drop.
    pub drop: f64,
    /// How much likelier a change must be for the screen to need no more boots: a logarithm of odds.
    pub hold: f64,
    /// How much likelier a change must be at the end for a hypothesis to be a suspect.
    pub enter: f64,
    /// How much likelier no change beyond the margin must be for a suspect to get no more boots.
    pub futile: f64,
    /// Looks at fresh boots, ascending.
    pub looks: Vec<Look>,
    /// Relabellings of a look, where not all are counted; more where a small share needs them.
    pub permutations: usize,
    /// Of those relabellings.
    pub seed: u64,
}

impl Default for Rules {
    fn default() -> Rules {
        let look = |(blocks, share)| Look { blocks, share };
        Rules {
            alpha: 0.01,
            first: 6,
            every: 2,
            most: 24,
            drop: 2.2,
            hold: 4.0,
            enter: 1.0,
            futile: 4.0,
            looks: [(16, 0.1), (32, 0.2), (48, 0.2), (96, 0.5)].map(look).into(),
            permutations: 20_000,
            seed: 1,
        }
    }
}

/// More boots that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Of this cell.
    pub cell: u32,
    /// So many blocks, with a fresh boot of each side in each.
    pub blocks: u32,
}

/// Where a hypothesis stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// The screen wants more boots of it, or of others of its cell.
    Screened,
    /// Nothing to test has come up so far.
    Resting,
    /// It has too few boots, and its cell gets no more.
    Missing,
    /// The screen found no sign of a change of the target's size.
    Cleared,
    /// The screen ended without an answer: neither cleared nor a suspect.
    Undecided,
    /// Fresh boots are to confirm it.
    Suspect,
    /// Confirmed: worse by more than the margin.
    Flagged,
    /// Fresh boots spoke against it.
    Dismissed,
    /// Fresh boots neither confirmed it nor spoke against it.
    Unconfirmed,
}

/// What is known of a hypothesis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// Where it stands.
    pub standing: Standing,
    /// The p-value of its fresh boots, corrected for looks and for all suspects; 1 before its first look.
    pub p_corrected: f64,
    /// The smallest p-value of its looks, uncorrected; 1 before the first.
    pub p: f64,
    /// Fresh pairs that were looked at.
    pub fresh: u32,
}

/// A gate at work.
///
/// Decisions depend on the boots in the order of their blocks, and on when they were asked for. After an interruption, [`Design::advance`]
/// is told the boots up to every block at which it was asked before, in turn, and comes to the same state.
#[derive(Clone, Debug)]
pub struct Design {
    rules: Rules,
    subjects: Vec<Subject>,
    states: Vec<State>,
    cells: BTreeMap<u32, Cell>,
    priors: BTreeMap<u32, Prior>,
    /// The last block of the screen, once it is over.
    screened: Option<u32>,
    /// Whether the screen takes no more boots.
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct State {
    standing: Standing,
    weight: f64,
    /// Looks taken.
    looks: usize,
    p: f64,
    /// The least p over its look's share.
    spent: f64,
    corrected: f64,
    fresh: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Pairs at which it is looked at next.
    next: u32,
    /// Whether it gets no more boots.
    ended: bool,
    /// Pairs that it has.
    pairs: u32,
}

/// Pairs that say anything about a variance.
const LEAST: usize = 3;

/// The smallest p-value of the screen that counts for a weight.
const LEAST_P: f64 = 1e-4;

/// The weight of a suspect of which nothing was seen in the screen: 1 over a p-value of 1.
const RESTING: f64 = 1.0;

/// Relabellings of a look at most: they are all in memory.
const MOST_PERMUTATIONS: usize = 200_000;

/// Pairs up to which all relabellings are counted: 65,536.
const COUNTED: usize = 16;

impl Design {
    /// A gate of these hypotheses, in this order.
    pub fn new(subjects: Vec<Subject>, rules: Rules) -> Design {
        let new = State {
            standing: Standing::Screened,
            weight: 0.0,
            looks: 0,
            p: 1.0,
            spent: 1.0,
            corrected: 1.0,
            fresh: 0,
        };
        let first = Cell { next: rules.first.max(2), ..Cell::default() };
        let cells = subjects.iter().map(|subject| (subject.cell, first)).collect();
        let states = vec![new; subjects.len()];
        Design {
            rules,
            subjects,
            states,
            cells,
            priors: BTreeMap::new(),
            screened: None,
            closed: false,
        }
    }

    /// Takes all boots so far, a hypothesis in the order of [`Design::new`] each, and says which are wanted next; none once it is final. Boots whose
    /// value is not finite count as missing.
    ///
    /// # Panics
    /// Where the hypotheses are not as many as they were.
    pub fn advance(&mut self, boots: &[Hypothesis<'_>]) -> Vec<Want> {
        assert_eq!(boots.len(), self.subjects.len(), "as many hypotheses as the design has");
        let pairs: Vec<Pairs> = boots.iter().map(pairs).collect();
        self.count(&pairs);
        if self.screened.is_none() {
            self.screen(boots, &pairs);
        }
        if self.screened.is_some() {
            self.confirm(boots, &pairs);
        }
        self.wants()
    }

    /// The cell gets no more boots, whatever is wanted of it: its hypotheses are decided by those that there are.
    pub fn give_up(&mut self, cell: u32) {
        if let Some(cell) = self.cells.get_mut(&cell) {
            cell.ended = true;
        }
    }

    /// The screen takes no more boots: at the next [`Design::advance`] whoever is no suspect by those that there are is cleared. For a gate that
    /// shares the boots of another, whose screen is over.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// The hypothesis at this place has nothing to test in the boots so far: what it is about did not happen on either side, or cannot be told. It
    /// asks for no boots until it [wakes](Design::wake). What is decided stays.
    pub fn rest(&mut self, at: usize) {
        let state = &mut self.states[at];
        if matches!(state.standing, Standing::Screened | Standing::Suspect) {
            state.standing = Standing::Resting;
        }
    }

    /// The hypothesis at this place has something to test: of one that rested, the next [`Design::advance`] takes it in where it can.
    pub fn wake(&mut self, at: usize) {
        let state = &mut self.states[at];
        if state.standing != Standing::Resting {
            return;
        }
        match self.screened {
            Some(_) if state.weight > 0.0 => state.standing = Standing::Suspect,
            Some(_) => {}
            None => {
                state.standing = Standing::Screened;
                // Its cell may have had all the boots that the others wanted.
                if let Some(cell) = self.cells.get_mut(&self.subjects[at].cell) {
                    cell.next = cell.next.min(cell.pairs);
                }
            }
        }
    }

    /// What is known of each hypothesis.
    pub fn findings(&self) -> impl Iterator<Item = Finding> + use<'_> {
        self.states.iter().map(|state| Finding {
            standing: state.standing,
            p_corrected: state.corrected,
            p: state.p,
            fresh: state.fresh,
        })
    }

    /// The last block of the screen: boots of later ones are fresh. Absent while it lasts.
    pub fn screened(&self) -> Option<u32> {
        self.screened
    }

    /// Mean boots a side over all cells, those of the confirmation included.
    pub fn mean_boots(&self) -> f64 {
        let boots: u32 = self.cells.values().map(|cell| cell.pairs).sum();
        f64::from(boots) / self.cells.len().max(1) as f64
    }

    /// Pairs of each cell: as many as its richest hypothesis has.
    fn count(&mut self, pairs: &[Pairs]) {
        for (subject, pairs) in self.subjects.iter().zip(pairs) {
            if let Some(cell) = self.cells.get_mut(&subject.cell) {
                cell.pairs = cell.pairs.max(count(pairs));
            }
        }
    }

    fn screen(&mut self, boots: &[Hypothesis<'_>], pairs: &[Pairs]) {
        self.learn_priors(pairs);
        let looked: BTreeSet<u32> = self
            .cells
            .iter()
            .filter(|(_, cell)| cell.pairs >= cell.next || cell.ended || self.closed)
            .map(|(name, _)| *name)
            .collect();
        let mut undecided = BTreeSet::new();
        let mut weights = BTreeMap::new();
        for (at, subject) in self.subjects.iter().enumerate() {
            let cell = self.cells[&subject.cell];
            let last = cell.ended || self.closed || cell.pairs >= self.rules.most;
            let state = &mut self.states[at];
            if state.standing != Standing::Screened || !looked.contains(&subject.cell) {
                continue;
            }
            if pairs[at].len() < LEAST {
                state.standing = if last { Standing::Missing } else { Standing::Screened };
                undecided.extend((!last).then_some(subject.cell));
                continue;
            }
            let seen = Seen::of(pairs[at].iter().map(|(_, value)| *value), self.prior(subject));
            let odds = seen.odds(subject.target);
            if odds < -self.rules.drop {
                self.states[at].standing = Standing::Cleared;
                weights.insert(at, 0.0);
            } else if last && odds < self.rules.enter {
                self.states[at].standing = Standing::Undecided;
                weights.insert(at, 0.0);
            } else {
                weights.insert(at, 1.0 / seen.p_above(boots[at].margin).max(LEAST_P));
                undecided.extend((odds < self.rules.hold && !last).then_some(subject.cell));
            }
        }
        for (at, weight) in weights {
            self.states[at].weight = weight;
        }
        for name in looked {
            if let Some(cell) = self.cells.get_mut(&name) {
                let more = undecided.contains(&name);
                cell.next = if more { cell.pairs + self.rules.every.max(1) } else { u32::MAX };
            }
        }
        if self.cells.values().all(|cell| cell.next == u32::MAX || cell.ended) {
            self.begin_to_confirm(boots);
        }
    }

    fn begin_to_confirm(&mut self, boots: &[Hypothesis<'_>]) {
        let both = boots.iter().flat_map(|of| of.base.iter().chain(of.candidate));
        self.screened = Some(both.map(|one| one.block).max().unwrap_or(0));
        for state in &mut self.states {
            if state.standing == Standing::Screened {
                state.standing = Standing::Suspect;
            }
        }
        let both = self.subjects.iter().zip(&self.states);
        let confirmed: BTreeSet<u32> = both
            .filter(|(_, state)| state.standing == Standing::Suspect)
            .map(|(subject, _)| subject.cell)
            .collect();
        for (subject, state) in self.subjects.iter().zip(&mut self.states) {
            let joins = state.standing == Standing::Resting && confirmed.contains(&subject.cell);
            state.weight = if joins { RESTING } else { state.weight };
        }
    }

    fn confirm(&mut self, boots: &[Hypothesis<'_>], pairs: &[Pairs]) {
        let after = self.screened.unwrap_or(u32::MAX);
        let fresh: Vec<Pairs> = pairs
            .iter()
            .map(|pairs| pairs.iter().copied().filter(|(block, _)| *block > after).collect())
            .collect();
        for look in 0..self.rules.looks.len() {
            self.look(look, boots, &fresh);
        }
        self.correct();
        let mut richest = BTreeMap::<u32, u32>::new();
        for (subject, fresh) in self.subjects.iter().zip(&fresh) {
            let of = richest.entry(subject.cell).or_default();
            *of = count(fresh).max(*of);
        }
        for (at, subject) in self.subjects.iter().enumerate() {
            let (margin, state) = (boots[at].margin, self.states[at]);
            if state.weight <= 0.0 {
                continue;
            }
            self.states[at].fresh = count(&fresh[at]);
            if state.corrected <= self.rules.alpha {
                self.states[at].standing = Standing::Flagged;
            } else if state.standing == Standing::Suspect {
                let blocks = richest.get(&subject.cell).copied().unwrap_or(0);
                let over = state.looks == self.rules.looks.len()
                    || self.cells[&subject.cell].ended
                    || blocks >= self.rules.looks.iter().map(|look| look.blocks).max().unwrap_or(0);
                let gap = subject.target - margin;
                let beyond = fresh[at].iter().map(|(_, value)| value - margin);
                let futile = gap > 0.0
                    && count(&fresh[at]) >= self.rules.first
                    && Seen::of(beyond, self.prior(subject)).odds(gap) < -self.rules.futile;
                if futile {
                    self.states[at].standing = Standing::Dismissed;
                } else if over {
                    self.states[at].standing = Standing::Unconfirmed;
                }
            }
        }
    }

    /// Tests all suspects who have come to a look, with the first boots that it asks for and no others.
    fn look(&mut self, look: usize, boots: &[Hypothesis<'_>], fresh: &[Pairs]) {
        let Look { blocks, share } = self.rules.looks[look];
        let blocks = blocks.max(2) as usize;
        let due: Vec<usize> = (0..self.states.len())
            .filter(|&at| {
                let state = &self.states[at];
                state.standing == Standing::Suspect
                    && state.looks == look
                    && fresh[at].len() >= blocks
            })
            .collect();
        if due.is_empty() {
            return;
        }
        let layouts: Vec<Layout> = due
            .iter()
            .map(|&at| Layout {
                margin: boots[at].margin,
                boots: Boots::Pairs(fresh[at][..blocks].to_vec()),
            })
            .collect();
        let family: Vec<&Layout> = layouts.iter().collect();
        let seed = self.rules.seed.wrapping_add(look as u64);
        let relabellings = Relabellings::new(&family, self.permutations(blocks, share, &due), seed);
        let p = kernel::count(&family, 1.0, &relabellings).upper;
        for (at, p) in due.into_iter().zip(p) {
            let state = &mut self.states[at];
            state.looks = look + 1;
            state.p = state.p.min(p);
            state.spent = state.spent.min(p / share);
        }
    }

    /// As many relabellings that a p-value can be told from what the suspect with the least share may spend. They depend on weights, not
    /// on the boots that are tested.
    fn permutations(&self, blocks: usize, share: f64, due: &[usize]) -> usize {
        if blocks <= COUNTED {
            return 1 << COUNTED;
        }
        let total: f64 = self.states.iter().map(|state| state.weight).sum();
        let least = due.iter().map(|&at| self.states[at].weight).fold(f64::INFINITY, f64::min);
        let wanted = 20.0 * total / (self.rules.alpha * share * least);
        (wanted as usize)
            .clamp(self.rules.permutations, MOST_PERMUTATIONS.max(self.rules.permutations))
    }

    /// Holm's correction with weights, of what the looks have spent.
    fn correct(&mut self) {
        let suspects: Vec<usize> =
            (0..self.states.len()).filter(|&at| self.states[at].weight > 0.0).collect();
        let spent: Vec<(f64, f64)> =
            suspects.iter().map(|&at| (self.states[at].spent, self.states[at].weight)).collect();
        for (at, corrected) in suspects.into_iter().zip(weighted_holm(&spent)) {
            self.states[at].corrected = corrected;
        }
    }

    fn wants(&self) -> Vec<Want> {
        let suspects: BTreeMap<u32, u32> = self
            .subjects
            .iter()
            .zip(&self.states)
            .filter(|(_, state)| state.standing == Standing::Suspect)
            .map(|(subject, state)| (subject.cell, state.fresh))
            .fold(BTreeMap::new(), |mut all, (cell, fresh)| {
                let of = all.entry(cell).or_insert(fresh);
                *of = fresh.min(*of);
                all
            });
        let of = |(name, cell): (&u32, &Cell)| {
            let blocks = match self.screened {
                _ if cell.ended => 0,
                None if cell.next == u32::MAX => 0,
                None => cell.next.saturating_sub(cell.pairs),
                Some(_) => suspects.get(name).map_or(0, |fresh| self.to_next_look(*fresh)),
            };
            (blocks > 0).then_some(Want { cell: *name, blocks })
        };
        self.cells.iter().filter_map(of).collect()
    }

    /// Fresh blocks until a suspect is looked at again, for futility or to be flagged.
    fn to_next_look(&self, fresh: u32) -> u32 {
        let looks = self.rules.looks.iter().map(|look| look.blocks.max(2));
        let next = if fresh < self.rules.first {
            self.rules.first
        } else {
            fresh + self.rules.every.max(1)
        };
        looks.filter(|blocks| *blocks > fresh).fold(next, u32::min) - fresh
    }

    fn prior(&self, subject: &Subject) -> Prior {
        self.priors.get(&subject.kind).copied().unwrap_or(Prior::NONE)
    }

    /// Priors of variances of each kind, from the boots of the screen.
    fn learn_priors(&mut self, pairs: &[Pairs]) {
        let mut variances = BTreeMap::<u32, Vec<(f64, f64)>>::new();
        for (subject, pairs) in self.subjects.iter().zip(pairs).filter(|(_, of)| of.len() >= LEAST)
        {
            let moments = moments(pairs.iter().map(|(_, value)| *value));
            let variance = moments.variance().unwrap_or(0.0);
            variances.entry(subject.kind).or_default().push((variance, moments.count as f64 - 1.0));
        }
        self.priors = variances.into_iter().map(|(kind, of)| (kind, Prior::of(&of))).collect();
    }
}

/// Blocks with the difference of their sides.
type Pairs = Vec<(u32, f64)>;

fn count(pairs: &Pairs) -> u32 {
    u32::try_from(pairs.len()).unwrap_or(u32::MAX)
}

fn moments(values: impl Iterator<Item = f64>) -> Moments {
    let mut moments = Moments::default();
    values.for_each(|value| moments.push(value));
    moments
}

/// The mean of some differences, with its moderated standard error.
struct Seen {
    mean: f64,
    error: f64,
    freedom: f64,
}

impl Seen {
    fn of(differences: impl Iterator<Item = f64>, prior: Prior) -> Seen {
        let of = moments(differences);
        let own = of.count.saturating_sub(1) as f64;
        let (variance, freedom) = prior.moderate(of.variance().unwrap_or(0.0), own);
        // Equal values leave rounding.
        let rounding = of.mean.abs() * f64::EPSILON * 4.0;
        let error = (variance / of.count as f64).sqrt();
        Seen { mean: of.mean, error: if error <= rounding { 0.0 } else { error }, freedom }
    }

    /// The logarithm of how much likelier a mean of `target` is than one of 0.
    fn odds(&self, target: f64) -> f64 {
        if self.error == 0.0 {
            return if self.mean > target / 2.0 { f64::INFINITY } else { f64::NEG_INFINITY };
        }
        let [zero, one] = [self.mean, self.mean - target].map(|of| (of / self.error).powi(2));
        if self.freedom.is_infinite() {
            return (zero - one) / 2.0;
        }
        (self.freedom + 1.0) / 2.0 * ((zero / self.freedom).ln_1p() - (one / self.freedom).ln_1p())
    }

    /// One-sided p-value of a mean of at most `margin`, by Student's law.
    fn p_above(&self, margin: f64) -> f64 {
        if self.error == 0.0 {
            return if self.mean > margin { 0.0 } else { 1.0 };
        }
        let t = (self.mean - margin) / self.error;
        match StudentsT::new(0.0, 1.0, self.freedom) {
            Ok(law) if self.freedom.is_finite() => law.sf(t),
            _ => Normal::standard().sf(t),
        }
    }
}

/// p-values with weights above 0, corrected for their number: with all of them compared with alpha, the chance of even one false
/// rejection is at most alpha, and each spends of it in proportion to its weight until those before it are rejected (Holm 1979, A simple
/// sequentially rejective multiple test procedure, section 4).
pub fn weighted_holm(of: &[(f64, f64)]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..of.len()).collect();
    order.sort_by(|a, b| (of[*a].0 / of[*a].1).total_cmp(&(of[*b].0 / of[*b].1)));
    let mut left: f64 = of.iter().map(|(_, weight)| weight).sum();
    let mut corrected = vec![1.0; of.len()];
    let mut reached = 0.0_f64;
    for at in order {
        let (p, weight) = of[at];
        reached = reached.max(p * left / weight).min(1.0);
        corrected[at] = reached;
        left = (left - weight).max(0.0);
    }
    corrected
}

#[cfg(test)]
mod tests;
