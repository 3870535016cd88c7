//! What a gate costs, and which cells a time carries. Pure.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::status::{Side, Status};
use super::{Plan, Planned, human};

/// Boots a side that a gate takes of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateBoots {
    /// At least.
    pub first: u32,
    /// At most, where nothing is suspect.
    pub most: u32,
    /// Fresh ones at most of a suspect; none where the number of boots is fixed, so that all is judged once.
    pub fresh: u32,
}

impl GateBoots {
    /// So many of each cell, judged once.
    pub fn fixed(boots: u32) -> GateBoots {
        GateBoots { first: boots, most: boots, fresh: 0 }
    }

    /// Whether their number is fixed.
    pub fn is_fixed(self) -> bool {
        self.first == self.most && self.fresh == 0
    }

    /// What a budget reckons with: most cells are told early.
    fn usual(self) -> u32 {
        self.first.midpoint(self.most)
    }
}

/// Estimated times of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateCost {
    /// Its boots of a cell.
    pub boots: GateBoots,
    /// Of the screen, at least and at most.
    pub screen: [Duration; 2],
    /// Of the confirmation of one cell, at most.
    pub suspect: Duration,
}

/// What a time carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The time.
    pub given: Duration,
    /// Cells that it carries.
    pub carried: usize,
    /// Cells that could be measured.
    pub of: usize,
    /// Which time carries more of them.
    pub remedy: String,
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Budget { given, carried, of, remedy } = self;
        let given = human(*given);
        match (carried, of) {
            (0, 0) => write!(f, "a budget of {given}, and no cell that can be measured"),
            (0, _) => write!(f, "a budget of {given} carries no cell as a gate: {remedy}"),
            (all, of) if all == of => write!(f, "a budget of {given} carries all {of} cells"),
            _ => write!(f, "a budget of {given} carries {carried} of {of} cells: {remedy}"),
        }
    }
}

/// The times that carry the first of some cells, and all, of which a boot of both sides takes so long.
fn needed(times: impl Iterator<Item = Duration>, boots: GateBoots) -> Option<[Duration; 2]> {
    let (mut first, mut sum, mut longest) = (None, Duration::ZERO, Duration::ZERO);
    for time in times {
        sum = sum.saturating_add(time.saturating_mul(boots.usual()));
        longest = longest.max(time);
        let so_far = sum.saturating_add(longest.saturating_mul(boots.fresh));
        first.get_or_insert(so_far);
    }
    Some([first?, sum.saturating_add(longest.saturating_mul(boots.fresh))])
}

/// A time as `--budget` takes it, never less.
fn as_budget(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match seconds {
        0..120 => format!("{seconds}s"),
        _ => format!("{}m", seconds.div_ceil(60)),
    }
}

impl Plan<'_> {
    /// What the cells that can be measured cost as a gate.
    pub fn gate_cost(&self, boots: GateBoots) -> GateCost {
        // A plan that has no base yet will have as much again.
        let sides = if self.cells.iter().any(|cell| cell.side == Side::Base) { 1 } else { 2 };
        let all = self.time_of_block(|_| true).saturating_mul(sides);
        let longest = self.runnable().map(|(_, planned)| planned.boot_time).max();
        let longest = longest.unwrap_or_default().saturating_mul(2);
        GateCost {
            boots,
            screen: [boots.first, boots.most].map(|boots| all.saturating_mul(boots)),
            suspect: longest.saturating_mul(boots.fresh),
        }
    }

    /// Skips the cells that a budget does not carry as a gate: the first in the order of the matrix are carried, with the boots between the least and the
    /// most of a screen and the whole confirmation of one of them.
    #[must_use]
    pub fn within_budget(mut self, budget: Duration, boots: GateBoots) -> Self {
        let (mut spent, mut longest) = (Duration::ZERO, Duration::ZERO);
        let mut full = false;
        let reason = format!("the budget of {} does not carry it", human(budget));
        let pairs = self.pairs();
        let needed = needed(pairs.iter().map(|(_, time)| *time), boots);
        let remedy = match needed {
            Some([first, all]) if first < all => {
                let [first, all] = [first, all].map(as_budget);
                format!(
                    "--budget {all} carries all cells, {first} the first; or choose some with --only"
                )
            }
            Some([_, all]) => format!("--budget {} carries it", as_budget(all)),
            None => String::new(),
        };
        let (given, of) = (budget, pairs.len());
        let mut carried = 0;
        for (cells, time) in pairs {
            let screen = spent.saturating_add(time.saturating_mul(boots.usual()));
            let suspect = longest.max(time).saturating_mul(boots.fresh);
            full |= screen.saturating_add(suspect) > budget;
            carried += usize::from(!full);
            if full {
                for at in cells {
                    let (reason, remedy) = (reason.clone(), remedy.clone());
                    let status = Status::Skipped { reason, remedy };
                    self.cells[at].status = Arc::new(status);
                }
            } else {
                (spent, longest) = (screen, longest.max(time));
            }
        }
        self.budget = Some(Budget { given, carried, of, remedy });
        self
    }

    /// Cells that can be measured, each with the places of its sides, and the time of a boot of both.
    fn pairs(&self) -> Vec<(Vec<usize>, Duration)> {
        let mut pairs: Vec<(Vec<usize>, Duration)> = Vec::new();
        let mut known: std::collections::HashMap<_, usize> = std::collections::HashMap::new();
        for (at, planned) in self.runnable() {
            let Planned { cell, boot_time, side, .. } = planned;
            match (side, known.get(cell)) {
                (Side::Base, Some(&pair)) => {
                    // A side for two was reckoned with.
                    pairs[pair].1 = pairs[pair].1 / 2 + *boot_time;
                    pairs[pair].0.push(at);
                }
                _ => {
                    known.insert(*cell, pairs.len());
                    pairs.push((vec![at], boot_time.saturating_mul(2)));
                }
            }
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{matrix, runnable};
    use crate::plan::{Options, Plan};

    const BOOTS: GateBoots = GateBoots { first: 6, most: 24, fresh: 96 };

    fn planned(matrix: &crate::matrix::Matrix) -> Plan<'_> {
        Plan::new(matrix, Options::default(), &runnable).unwrap()
    }

    #[test]
    fn a_gate_costs_both_sides_of_every_cell() {
        let matrix = matrix(1, 5);
        let plan = planned(&matrix);
        let block: Duration = plan.cells.iter().map(|planned| planned.boot_time).sum();
        let cost = plan.gate_cost(BOOTS);
        assert_eq!(cost.screen, [block * 2 * 6, block * 2 * 24]);
        let longest = plan.cells.iter().map(|planned| planned.boot_time).max().unwrap();
        assert_eq!(cost.suspect, longest * 2 * 96);
    }

    #[test]
    fn a_budget_carries_the_first_cells_and_the_confirmation_of_one() {
        // Four cells of containers, then two of guests that take longer.
        let matrix = matrix(1, 5);
        let boot = planned(&matrix).cells[0].boot_time;
        let carried = |budget: Duration| {
            let plan = planned(&matrix).within_budget(budget, BOOTS);
            plan.cells.iter().filter(|planned| planned.is_runnable()).count()
        };
        let for_cells = |cells: u32| boot * 2 * (15 * cells + 96);
        assert_eq!(carried(for_cells(4)), 4);
        assert_eq!(carried(for_cells(4) - Duration::from_nanos(1)), 3);
        assert_eq!(carried(for_cells(1)), 1);
        assert_eq!(carried(Duration::ZERO), 0);
        assert_eq!(carried(Duration::MAX), 6);
        let told = |budget: Duration| {
            planned(&matrix).within_budget(budget, BOOTS).budget.map(|budget| budget.to_string())
        };
        let none = told(Duration::from_secs(1)).unwrap();
        insta::assert_snapshot!(none, @"a budget of 1 s carries no cell as a gate: --budget 57m carries all cells, 9m the first; or choose some with --only");
        insta::assert_snapshot!(told(for_cells(2)).unwrap(), @"a budget of 10 min 5 s carries 2 of 6 cells: --budget 57m carries all cells, 9m the first; or choose some with --only");
        insta::assert_snapshot!(told(Duration::from_secs(86_400)).unwrap(), @"a budget of 1 d carries all 6 cells");
        // What it says would do, does.
        let all = none.split("--budget ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert_eq!(carried(crate::matrix::duration::parse(all).unwrap()), 6);
    }
}
