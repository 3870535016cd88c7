//! The plan: which cells of a matrix are measured, in what order, how long it takes, and why not the rest.
//! Pure: what the host can do is asked through closures. What a boot does is not known here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rayon::prelude::*;

use crate::matrix::{Cell, Matrix, pairs};

mod alike;
mod cost;
mod estimate;
mod filter;
mod json;
mod order;
mod place;
mod shard;
mod status;
mod table;
#[cfg(test)]
mod tests;

use alike::{Alike, Last};
pub use alike::{Judge, Judged, Scope};
pub use cost::{Budget, GateBoots, GateCost};
pub use estimate::{Limits, TooLarge, boot_time, human};
pub use filter::{BadFilter, Filter};
pub use json::Json;
use order::sides;
pub use order::{block, id_hash};
pub use place::labels;
pub use shard::{BadShard, Shard};
pub use status::{BASE, CANDIDATE, PlannedCell, SCHEMA, Side, Status};
pub use table::Table;

/// Cells that a thread works on in one go.
const AT_ONCE: usize = 512;

/// What the command line asks of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Seed of the order of boots.
    pub seed: u64,
    /// `--only`.
    pub only: Option<Filter>,
    /// `--shard`: a part of what `only` leaves.
    pub shard: Option<Shard>,
    /// Kinds of virtualization that bring a kernel of their own. Where they are told, shards keep cells apart that need hosts of different
    /// labels (see [`labels`]).
    pub guests: Option<Vec<&'static str>>,
}

/// A plan of a matrix on a host.
#[derive(Clone, Debug)]
pub struct Plan<'m> {
    /// What is planned.
    pub matrix: &'m Matrix,
    /// The options it was made with.
    pub options: Options,
    /// The cells that options leave, in the order of the matrix. None, where a shard has none.
    pub cells: Vec<Planned<'m>>,
    /// Estimated time for a lab to start. Each kernel that needs one has its own in every block.
    lab_starts: Duration,
    /// What it would cost as a gate, where that is to be told.
    pub gate: Option<GateCost>,
    /// What a budget carries of it as a gate, where one was given.
    pub budget: Option<Budget>,
    /// Whether it is told as a gate alone: the boots that its matrix asks for are then none of its.
    pub only_gate: bool,
}

/// A cell of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned<'m> {
    /// The cell.
    pub cell: &'m Cell,
    /// Whether it can be measured here. Neighbours share it where they can: a million reasons are more than their cells.
    pub status: Arc<Status>,
    /// Estimated time of one boot, building and undoing included.
    pub boot_time: Duration,
    /// Of which revision it is.
    pub side: Side,
    /// Whether it is measured in a lab: a virtual machine that runs its kernel, started for each block.
    pub lab: bool,
}

impl Planned<'_> {
    /// Whether it can be measured here.
    pub fn is_runnable(&self) -> bool {
        *self.status == Status::Runnable
    }
}

/// Where cells are measured one after the other: the host, or a lab.
#[derive(Debug, Default)]
struct Ground {
    /// By which it is ordered among others.
    name: u64,
    /// By which its cells are ordered.
    ids: Vec<u64>,
    /// Indices into [`Plan::cells`]: those of one cell, where it is there for two revisions.
    cells: Vec<Vec<usize>>,
}

/// Blocks of a run whose end is not known: all in pairs.
const WITHOUT_END: u32 = u32::MAX - 1;

/// The boots of a block in their order.
fn boots_of(grounds: &[Ground], seed: u64, number: u32, blocks: u32) -> Vec<PlannedBoot> {
    let names: Vec<u64> = grounds.iter().map(|ground| ground.name).collect();
    let of = |at: usize| {
        let Ground { ids, cells, .. } = &grounds[at];
        let of_cell = move |at: usize| sides(&cells[at], seed ^ ids[at], number);
        block(ids, seed, number, blocks).into_iter().flat_map(of_cell)
    };
    let cells = block(&names, seed, number, blocks).into_iter().flat_map(of);
    let boot = |(position, cell)| PlannedBoot { cell, boot: number, block: number, position };
    (0..).zip(cells).map(boot).collect()
}

/// One boot of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedBoot {
    /// Index into [`Plan::cells`].
    pub cell: usize,
    /// Which fresh start of this cell: 0-based.
    pub boot: u32,
    /// The block: 0-based. A block holds one boot of every runnable cell.
    pub block: u32,
    /// Position in the block: 0-based.
    pub position: u32,
}

impl<'m> Plan<'m> {
    /// Plans a matrix. `judge` speaks for the host. The filter and the shard are applied before it says what can be measured, so
    /// that every runner parts a matrix alike.
    pub fn new(
        matrix: &'m Matrix,
        options: Options,
        judge: &dyn Judge,
    ) -> Result<Plan<'m>, BadFilter> {
        let mut selected = match &options.only {
            Some(filter) => filter.select(&matrix.cells)?,
            None => (0..matrix.cells.len()).collect(),
        };
        let cell = |index: &usize| &matrix.cells[*index];
        let alike = Alike::new(judge);
        if let Some(shard) = options.shard {
            let times: Vec<Duration> = selected
                .iter()
                .map(|index| boot_time(&matrix.measure, alike.of_kinds(cell(index)).overhead))
                .collect();
            let all = selected.iter().map(cell);
            let groups = match &options.guests {
                Some(guests) => place::groups(matrix, guests, all),
                None => vec![0; selected.len()],
            };
            let joined: Vec<_> = matrix
                .contrasts
                .iter()
                .flat_map(|contrast| pairs(selected.iter().map(cell), contrast))
                .chain(matrix.study.iter().flat_map(|study| study.pairs(selected.iter().map(cell))))
                .collect();
            selected =
                shard.select(&times, &groups, &joined).into_iter().map(|at| selected[at]).collect();
        }
        let cells =
            selected.par_iter().with_min_len(AT_ONCE).map_init(Last::default, |last, index| {
                let cell = cell(index);
                let alike::Shared { status, overhead, lab, .. } = alike.of(cell, last);
                let boot_time = boot_time(&matrix.measure, overhead);
                Planned { cell, status, boot_time, side: Side::Candidate, lab }
            });
        Ok(Plan {
            matrix,
            cells: cells.collect(),
            options,
            lab_starts: Duration::ZERO,
            gate: None,
            budget: None,
            only_gate: false,
        })
    }

    /// The same plan beside another revision of its matrix: each cell is there for both, as each has it. What only one of both has is
    /// skipped with that reason. `judge` tells whether a cell of `base` can be measured.
    #[must_use]
    pub fn against(mut self, base: &'m Matrix, judge: &dyn Judge) -> Plan<'m> {
        let (alike, mut last) = (Alike::new(judge), Last::default());
        let skipped = |reason: &str| {
            Arc::new(Status::Skipped { reason: reason.to_owned(), remedy: String::new() })
        };
        let there: HashMap<&Cell, &'m Cell> = base.cells.iter().map(|cell| (cell, cell)).collect();
        let mut beside = Vec::new();
        for planned in &mut self.cells {
            match there.get(planned.cell) {
                Some(cell) => beside.push(Planned {
                    cell,
                    status: alike.of(cell, &mut last).status,
                    side: Side::Base,
                    ..planned.clone()
                }),
                None => {
                    planned.status =
                        skipped("the base has no such cell: there is nothing to compare it with")
                }
            }
        }
        // Which shard a cell would be of that is gone, nobody knows.
        if self.options.shard.is_none() {
            let here: HashSet<&Cell> = self.cells.iter().map(|planned| planned.cell).collect();
            let only = self.options.only.as_ref();
            let meant = |cell: &&Cell| only.is_none_or(|only| only.takes(cell));
            let gone = base.cells.iter().filter(|cell| !here.contains(cell)).filter(meant);
            let gone = gone.map(|cell| Planned {
                cell,
                status: skipped("only the base has this cell: the candidate took it away"),
                boot_time: Duration::ZERO,
                side: Side::Base,
                lab: alike.of_kinds(cell).lab,
            });
            beside.extend(gone);
        }
        self.cells.extend(beside);
        self.pair_up();
        self
    }

    /// Skips each cell of which the other side cannot be measured: alone it would be compared with nothing.
    pub fn pair_up(&mut self) {
        let mut pairs: HashMap<&Cell, Vec<usize>> = HashMap::new();
        for (at, planned) in self.cells.iter().enumerate() {
            pairs.entry(planned.cell).or_default().push(at);
        }
        for pair in pairs.into_values() {
            let [one, other] = pair[..] else { continue };
            for (at, beside) in [(one, other), (other, one)] {
                let why = match &*self.cells[beside].status {
                    Status::Runnable => continue,
                    Status::Skipped { reason, .. } | Status::NotApplicable { reason } => reason,
                };
                if self.cells[at].is_runnable() {
                    let side = self.cells[beside].side.name();
                    let reason = format!("the {side}'s cannot be measured: {why}");
                    let status = Status::Skipped { reason, remedy: String::new() };
                    self.cells[at].status = Arc::new(status);
                }
            }
        }
    }

    /// The same plan, where a lab takes so long to start.
    #[must_use]
    pub fn with_labs(mut self, starts: Duration) -> Plan<'m> {
        self.lab_starts = starts;
        self
    }

    /// The boots in their order, block by block (see [`block`]). Made while they are asked for. Cells of one lab are neighbours, so that
    /// it starts once; labs, and the host as one more, are ordered as cells are.
    pub fn boots(&self) -> impl Iterator<Item = PlannedBoot> + '_ {
        let grounds: Vec<Ground> = self.grounds(|_| true).into_values().collect();
        let (seed, blocks) = (self.options.seed, self.matrix.measure.boots);
        (0..blocks).flat_map(move |number| boots_of(&grounds, seed, number, blocks))
    }

    /// The boots of one block of some of the cells, where how many blocks there will be is not known.
    pub fn boots_of_block(&self, number: u32, meant: impl Fn(&Cell) -> bool) -> Vec<PlannedBoot> {
        let grounds: Vec<Ground> = self.grounds(meant).into_values().collect();
        boots_of(&grounds, self.options.seed, number, WITHOUT_END)
    }

    /// Estimated time of one boot of each of the cells that are meant, of every side that is measured.
    pub fn time_of_block(&self, meant: impl Fn(&Cell) -> bool) -> Duration {
        let runnable = self.runnable().filter(|(_, planned)| meant(planned.cell));
        runnable.fold(Duration::ZERO, |sum, (_, planned)| sum.saturating_add(planned.boot_time))
    }

    /// How many boots there are.
    pub fn boot_count(&self) -> u64 {
        self.runnable().count() as u64 * u64::from(self.matrix.measure.boots)
    }

    /// Estimated time of all boots.
    pub fn estimate(&self) -> Duration {
        let block = self.time_of_block(|_| true);
        let in_labs = self.runnable().filter(|(_, planned)| planned.lab);
        let labs: HashSet<&str> = in_labs.map(|(_, planned)| &*planned.cell.kernel).collect();
        let labs = self.lab_starts.saturating_mul(u32::try_from(labs.len()).unwrap_or(u32::MAX));
        block.saturating_add(labs).saturating_mul(self.matrix.measure.boots)
    }

    /// The cells and what becomes of them, for the header of a run: those of the candidate, and those that only the base has.
    pub fn record(&self) -> Vec<PlannedCell> {
        let own = |planned: &Planned<'_>| PlannedCell {
            cell: planned.cell.clone(),
            status: Status::clone(&planned.status),
        };
        let mut known = HashSet::new();
        // Those of the candidate come first.
        self.cells.iter().filter(|planned| known.insert(planned.cell)).map(own).collect()
    }

    /// The same of the base's cells.
    pub fn record_of_base(&self) -> Vec<PlannedCell> {
        let own = |planned: &Planned<'_>| PlannedCell {
            cell: planned.cell.clone(),
            status: Status::clone(&planned.status),
        };
        self.cells.iter().filter(|planned| planned.side == Side::Base).map(own).collect()
    }

    /// What can be measured, by where: the kernel of a lab, or none for the host itself.
    fn grounds(&self, meant: impl Fn(&Cell) -> bool) -> BTreeMap<Option<&str>, Ground> {
        let mut grounds: BTreeMap<Option<&str>, Ground> = BTreeMap::new();
        let mut first: HashMap<(Option<&str>, &Cell), usize> = HashMap::new();
        for (index, planned) in self.runnable().filter(|(_, planned)| meant(planned.cell)) {
            let lab = planned.lab.then_some(&*planned.cell.kernel);
            let ground = grounds.entry(lab).or_default();
            ground.name = lab.map_or(0, id_hash);
            // The base's cells come after all of the candidate's.
            let beside = match planned.side {
                Side::Base => first.get(&(lab, planned.cell)).copied(),
                Side::Candidate => None,
            };
            match beside {
                Some(at) => ground.cells[at].push(index),
                None => {
                    first.insert((lab, planned.cell), ground.cells.len());
                    ground.ids.push(id_hash(&planned.cell.id()));
                    ground.cells.push(vec![index]);
                }
            }
        }
        grounds
    }

    /// Cells that can be measured, with their indices.
    fn runnable(&self) -> impl Iterator<Item = (usize, &Planned<'m>)> {
        self.cells.iter().enumerate().filter(|(_, planned)| planned.is_runnable())
    }
}
