//! What is compared with what: two runs, or the two sides of one. Cells are paired by id.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use super::policy::Policy;
use crate::calibrate::AlarmRate;
use crate::matrix::Cell;
use crate::record::{BASE, CANDIDATE, Outcome, Record, Run, Status};

/// One side: a run and those of its records that count.
#[derive(Clone, Debug)]
pub struct Side<'a> {
    /// The run.
    pub run: &'a Run,
    records: Vec<&'a Record>,
}

/// How the two sides were measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Design {
    /// In one run, both in each block.
    Interleaved,
    /// One after the other: whatever changed in between is in the difference.
    Apart {
        /// In words.
        why: String,
    },
}

/// Two sides.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// What it is compared with.
    pub base: Side<'a>,
    /// What it is about.
    pub candidate: Side<'a>,
    design: Design,
}

/// Why a run alone is no comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoComparison {
    /// It has one side.
    OneSide,
    /// It has a side of another name.
    OtherSide(String),
}

impl fmt::Display for NoComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoComparison::OneSide => {
                f.write_str("it has no records of a base: name the run to compare it with")
            }
            NoComparison::OtherSide(name) => {
                write!(f, "it has records of side `{name}`, neither `{BASE}` nor `{CANDIDATE}`")
            }
        }
    }
}

impl std::error::Error for NoComparison {}

impl<'a> Side<'a> {
    /// The records of one side of a run; of several of one boot of a cell the last counts.
    fn new(run: &'a Run, records: &'a [Record], side: &str) -> Side<'a> {
        let mut last: BTreeMap<(&str, u32), &Record> = BTreeMap::new();
        for record in records.iter().filter(|record| record.side == side) {
            last.insert((&record.cell, record.boot), record);
        }
        Side { run, records: last.into_values().collect() }
    }
}

impl<'a> Comparison<'a> {
    /// Two runs: what each is about.
    pub fn of_runs(
        base: (&'a Run, &'a [Record]),
        candidate: (&'a Run, &'a [Record]),
    ) -> Comparison<'a> {
        Comparison {
            base: Side::new(base.0, base.1, CANDIDATE),
            candidate: Side::new(candidate.0, candidate.1, CANDIDATE),
            design: Design::Apart { why: "the two runs were not measured interleaved".to_owned() },
        }
    }

    /// The two sides of one run.
    ///
    /// # Errors
    /// It has no base.
    pub fn of_sides(
        run: &'a Run,
        records: &'a [Record],
        policy: &Policy,
    ) -> Result<Comparison<'a>, NoComparison> {
        let known = [BASE, CANDIDATE];
        if let Some(other) = records.iter().find(|record| !known.contains(&record.side.as_str())) {
            return Err(NoComparison::OtherSide(other.side.clone()));
        }
        let [base, candidate] = known.map(|side| Side::new(run, records, side));
        if base.records.is_empty() {
            return Err(NoComparison::OneSide);
        }
        let design = design(&base, &candidate, policy);
        Ok(Comparison { base, candidate, design })
    }

    /// How the sides were measured.
    pub fn design(&self) -> Design {
        self.design.clone()
    }

    /// The records of both sides.
    pub(super) fn records(&self) -> impl Iterator<Item = &'a Record> {
        self.base.records.iter().chain(&self.candidate.records).copied()
    }

    /// The same with blocks before this one only, as a gate sees them that measures both sides in each.
    pub(super) fn until(&self, block: u32) -> Comparison<'a> {
        let of = |side: &Side<'a>| {
            let records = side.records.iter().copied().filter(|record| record.block < block);
            Side { run: side.run, records: records.collect() }
        };
        let (base, candidate) = (of(&self.base), of(&self.candidate));
        Comparison { base, candidate, design: Design::Interleaved }
    }

    /// Whether it is of one run that took as many boots as its policy asked for.
    pub(super) fn took_boots_by_policy(&self) -> bool {
        self.in_one_run() && self.candidate.run.base.as_ref().is_some_and(|base| base.by_policy)
    }

    /// Whether both sides lie in one run.
    pub(super) fn in_one_run(&self) -> bool {
        std::ptr::eq(self.base.run, self.candidate.run)
    }

    /// Which boots were planned and left no record, by side.
    pub(super) fn incomplete(&self) -> Vec<String> {
        let of_base = match &self.base.run.base {
            Some(base) if self.in_one_run() => &base.cells,
            _ => &self.base.run.cells,
        };
        let sides =
            [(BASE, &self.base, of_base), (CANDIDATE, &self.candidate, &self.candidate.run.cells)];
        let told = sides.into_iter().filter_map(|(name, side, cells)| {
            let runnable = cells.iter().filter(|planned| planned.status == Status::Runnable);
            let wanted = runnable.count() * side.run.planned_boots();
            let short = wanted.saturating_sub(side.records.len());
            (short > 0).then(|| format!("{short} of {wanted} boots of the {name} left no record"))
        });
        told.collect()
    }

    /// What must be known of the whole.
    pub(super) fn notes(&self) -> Vec<String> {
        let (base, candidate) = (self.base.run, self.candidate.run);
        let mut notes = Vec::new();
        if self.in_one_run() {
            match &base.calibrates {
                Some(repetition) => notes.push(repetition.told()),
                None => notes.extend(base.calibration.map(calibrated)),
            }
            return notes;
        }
        if base.tag == candidate.tag && base.started_unix == candidate.started_unix {
            notes.push("base and candidate are one and the same run".to_owned());
        }
        if candidate.started_unix < base.started_unix {
            notes.push("the candidate was measured before the base: are they swapped?".to_owned());
        }
        if base.quick || candidate.quick {
            notes.push("a run was cut short by --quick: a look, not a measurement".to_owned());
        }
        let [was, is] = [&base.matrix.measure, &candidate.matrix.measure];
        let told = [
            ("warmup", format!("{:?}", was.warmup), format!("{:?}", is.warmup)),
            ("window", format!("{:?}", was.window), format!("{:?}", is.window)),
            ("windows", was.windows.to_string(), is.windows.to_string()),
            ("rate", was.rate.to_string(), is.rate.to_string()),
            ("ip", format!("{:?}", was.family), format!("{:?}", is.family)),
        ];
        let told = told.iter().filter(|(_, was, is)| was != is);
        let told: Vec<String> =
            told.map(|(name, was, is)| format!("{name} was {was} and is {is}")).collect();
        if !told.is_empty() {
            notes.push(format!("the sides were measured differently: {}", told.join(", ")));
        }
        notes
    }

    /// Cells of the candidate in the order of its plan, then those of the base alone.
    pub(super) fn pairs(&self, policy: &Policy) -> Vec<Pair<'a>> {
        let [mut base, mut candidate] = [&self.base, &self.candidate].map(by_cell);
        let of_base = match &self.base.run.base {
            Some(base) if self.in_one_run() => &base.cells,
            _ => &self.base.run.cells,
        };
        let statuses = [of_base, &self.candidate.run.cells].map(|cells| {
            let cells = cells.iter();
            cells.map(|planned| (&planned.cell, &planned.status)).collect::<HashMap<_, _>>()
        });
        let plan = self.candidate.run.cells.iter().chain(&self.base.run.cells);
        let mut seen = HashSet::new();
        let planned = plan.filter(|planned| seen.insert(&planned.cell));
        let mut pairs: Vec<Pair<'a>> = planned
            .map(|planned| {
                let (cell, id) = (&planned.cell, planned.cell.id());
                let mut records = [&mut base, &mut candidate]
                    .map(|side| side.remove(id.as_str()).unwrap_or_default())
                    .into_iter();
                let halves = statuses.each_ref().map(|statuses| {
                    let status = statuses.get(cell).copied();
                    Half::new(status, records.next().unwrap_or_default())
                });
                Pair::new(cell, id, halves)
            })
            .collect();
        if self.design == Design::Interleaved {
            pairs.iter_mut().for_each(|pair| pair.leave_out_noise(policy));
        }
        pairs
    }
}

/// What is known of the runner.
fn calibrated(rate: AlarmRate) -> String {
    match rate.runs {
        0 => "not calibrated: how often this runner flags what has not changed is not known (`cargo xtask calibrate` measures it)".to_owned(),
        _ => format!("calibrated: of a matrix against itself, {rate}"),
    }
}

fn by_cell<'a>(side: &Side<'a>) -> HashMap<&'a str, Vec<&'a Record>> {
    let mut by_cell: HashMap<&str, Vec<&Record>> = HashMap::new();
    side.records.iter().for_each(|record| by_cell.entry(&record.cell).or_default().push(record));
    by_cell
}

/// Both sides of one run count as interleaved where nearly all blocks of a cell hold both, and neither always comes first.
fn design(base: &Side<'_>, candidate: &Side<'_>, policy: &Policy) -> Design {
    let mut blocks: BTreeMap<(&str, u32), [Option<u32>; 2]> = BTreeMap::new();
    for (side, records) in [&base.records, &candidate.records].into_iter().enumerate() {
        for record in records {
            blocks.entry((&record.cell, record.block)).or_default()[side] = Some(record.position);
        }
    }
    // A cell that one side lacks altogether says nothing of how the others were measured.
    let cells = [&base.records, &candidate.records]
        .map(|records| records.iter().map(|record| record.cell.as_str()).collect::<HashSet<_>>());
    let [of_base, of_candidate] = cells;
    blocks.retain(|(cell, _), _| of_base.contains(cell) && of_candidate.contains(cell));
    let both: Vec<(u32, u32)> =
        blocks.values().filter_map(|[base, candidate]| base.zip(*candidate)).collect();
    let share = both.len() as f64 / blocks.len().max(1) as f64;
    if share < policy.validity.alternating {
        let why = format!(
            "only {} of {} blocks of a cell hold both sides: they were not measured interleaved",
            both.len(),
            blocks.len()
        );
        return Design::Apart { why };
    }
    let first = both.iter().filter(|(base, candidate)| base < candidate).count();
    if both.len() >= FEWEST_PAIRS && (first == 0 || first == both.len()) {
        let side = if first == 0 { CANDIDATE } else { BASE };
        return Design::Apart { why: format!("the {side} came first in every block") };
    }
    Design::Interleaved
}

/// With fewer pairs one side comes first in all of them by chance more than once in a thousand times.
const FEWEST_PAIRS: usize = 11;

/// One cell on both sides.
pub(super) struct Pair<'a> {
    pub(super) cell: &'a Cell,
    pub(super) id: String,
    pub(super) base: Half<'a>,
    pub(super) candidate: Half<'a>,
    /// What must be known of it.
    pub(super) notes: Vec<String>,
}

/// One cell on one side.
pub(super) struct Half<'a> {
    /// What the plan said of it; absent where it is in no plan.
    pub(super) status: Option<&'a Status>,
    /// Boots that were measured, in order.
    pub(super) measured: Vec<&'a Record>,
    /// Why the others failed.
    pub(super) failures: Vec<&'a str>,
    /// The blocks of those.
    pub(super) failed_in: Vec<u32>,
    /// The blocks of boots that were measured and are left out for noise.
    pub(super) left_out: Vec<u32>,
}

impl<'a> Half<'a> {
    fn new(status: Option<&'a Status>, records: Vec<&'a Record>) -> Half<'a> {
        let mut half = Half {
            status,
            measured: Vec::new(),
            failures: Vec::new(),
            failed_in: Vec::new(),
            left_out: Vec::new(),
        };
        for record in records {
            match &record.outcome {
                Outcome::Measured => half.measured.push(record),
                Outcome::Failed { reason } => {
                    half.failures.push(reason);
                    half.failed_in.push(record.block);
                }
            }
        }
        half
    }

    /// Boots that left a record.
    pub(super) fn boots(&self) -> usize {
        self.measured.len() + self.failures.len() + self.left_out.len()
    }
}

impl<'a> Pair<'a> {
    fn new(cell: &'a Cell, id: String, [base, candidate]: [Half<'a>; 2]) -> Pair<'a> {
        Pair { cell, id, base, candidate, notes: Vec::new() }
    }

    /// Leaves out blocks in which a boot was disturbed beyond the policy's bound, both sides.
    fn leave_out_noise(&mut self, policy: &Policy) {
        let all = self.base.measured.iter().chain(&self.candidate.measured);
        let noisy: BTreeSet<u32> = all
            .filter(|record| stolen_share(record).is_some_and(|share| share > policy.steal))
            .map(|record| record.block)
            .collect();
        if noisy.is_empty() {
            return;
        }
        for half in [&mut self.base, &mut self.candidate] {
            let blocks = half.measured.iter().map(|record| record.block);
            half.left_out = blocks.filter(|block| noisy.contains(block)).collect();
            half.measured.retain(|record| !noisy.contains(&record.block));
        }
        self.notes.push(format!(
            "`{}`: {} blocks left out, both sides, in which more than {} % of the time was stolen",
            self.id,
            noisy.len(),
            policy.steal * 100.0
        ));
    }
}

/// Time stolen by a hypervisor, all CPUs together, a second in which it was counted; `None` where it is not known.
pub fn stolen_share(record: &Record) -> Option<f64> {
    let noise = record.noise?;
    // Older records do not say, and then it is about what was measured.
    let measured = || record.workloads.iter().map(|w| w.samples.measured_ns).sum();
    let over = noise.recorded_ns.unwrap_or_else(measured);
    (over > 0).then(|| noise.steal_ns as f64 / over as f64)
}
