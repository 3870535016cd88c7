//! What each knob of a profile does: with / without, from the boots of an attribution's cells.
//!
//! One knob at a time, a boot with it is compared with the boot without it of the same block: what drifts from block to block cancels. In a
//! fraction, the logs of all boots are explained by the knobs and the blocks at once, by least squares: what knobs do
//! together counts as chance there, which widens intervals; it shifts no effect as long as every profile of the fraction has its boots. All p-values of a run are corrected together.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_agent::samples::Unit;
use evenkeel_stats::effect::{self, Effect};
use evenkeel_stats::interval::NoInterval;

use super::BootFigures;
use super::contrast::{EMULATED, FEW_BOOTS, Row, STALL, is_emulated, threshold};
use super::summary::{CellView, differences, workload_names};
use crate::matrix::{Cell, Circumstance, Design, Factor, Study};
use crate::record::results::{AttributionResult, EffectResult, KnobResult, KnobValues};
use crate::record::{Effect as Took, Evidence, Record, Run};

/// A corrected p-value below this is clear of chance.
pub const CLEAR: f64 = 0.05;

/// Values of [`EffectResult::beside`].
pub const PROFILE: &str = "profile";
/// See [`PROFILE`].
pub const BASE: &str = "base";
/// See [`PROFILE`].
pub const DESIGN: &str = "design";

/// The figures whose effects are told.
const ROWS: [Row; 6] = [
    Row { aspect: "location", figure: "median", of: |boot| boot.median },
    Row { aspect: "dispersion", figure: "mad", of: |boot| boot.mad },
    Row { aspect: "dispersion", figure: "sd_within", of: |boot| boot.sd },
    Row { aspect: "tail", figure: "jitter", of: |boot| boot.jitter },
    Row { aspect: "tail", figure: "far_jitter", of: |boot| boot.far_jitter },
    Row { aspect: STALL, figure: "stall_share", of: |boot| boot.stall_share },
];

/// One table for each place of the matrix and each workload; none for a matrix that does not ask.
pub(super) fn attribution(run: &Run, views: &[CellView<'_>]) -> Vec<AttributionResult> {
    let Some(study) = &run.matrix.study else { return Vec::new() };
    let mut places: BTreeMap<String, Place<'_>> = BTreeMap::new();
    for view in views {
        let tuning = &*view.planned.cell.tuning;
        if let Some(arm) = study.arms.iter().position(|arm| arm.tuning == tuning) {
            let shared = Cell { tuning: "*".into(), ..view.planned.cell.clone() };
            let place = places
                .entry(shared.id())
                .or_insert_with(|| Place { study, cells: BTreeMap::new() });
            place.cells.insert(arm, view);
        }
    }
    let mut tables: Vec<AttributionResult> =
        places.iter().flat_map(|(id, place)| place.tables(run, id)).collect();
    correct(&mut tables);
    for table in &mut tables {
        rank(&mut table.knobs);
    }
    tables
}

/// Corrects all p-values for their number.
fn correct(tables: &mut [AttributionResult]) {
    let mut all: Vec<&mut EffectResult> = tables
        .iter_mut()
        .flat_map(|AttributionResult { knobs, whole, .. }| {
            knobs.iter_mut().flat_map(|knob| &mut knob.effects).chain(whole)
        })
        .filter(|effect| effect.p.is_some())
        .collect();
    let p: Vec<f64> = all.iter().filter_map(|effect| effect.p).collect();
    for (effect, corrected) in all.iter_mut().zip(effect::holm(&p)) {
        effect.p_corrected = Some(corrected);
    }
    let count = u32::try_from(p.len()).unwrap_or(u32::MAX);
    tables.iter_mut().for_each(|table| table.tests = count);
}

/// Gives ranks to knobs that took effect and have one on dispersion or tail that is clear of chance, by their largest, and puts them first.
/// The size of what is not clear is chance: the others have no rank and stay in their order, those that did not take effect last.
fn rank(knobs: &mut Vec<KnobResult>) {
    /// The class of what has a rank, before what took effect and what did not.
    const RANKED: u8 = 0;
    let mut keyed = Vec::new();
    for knob in knobs.iter_mut() {
        let took = took_effect(knob);
        let size = largest(knob).map(|(_, ratio)| ratio.ln().abs());
        knob.clear = took && size.is_some();
        keyed.push(match (took, size) {
            (true, Some(size)) => (RANKED, size),
            (true, None) => (1, 0.0),
            (false, _) => (2, 0.0),
        });
    }
    let mut keyed: Vec<((u8, f64), KnobResult)> = keyed.into_iter().zip(knobs.drain(..)).collect();
    keyed.sort_by(|((class, size), _), ((other_class, other_size), _)| {
        class.cmp(other_class).then(other_size.total_cmp(size))
    });
    for (place, ((class, _), mut knob)) in (1..).zip(keyed) {
        knob.rank = (class == RANKED).then_some(place);
        knobs.push(knob);
    }
}

/// Whether a knob, or some of a group, took effect.
pub(super) fn took_effect(knob: &KnobResult) -> bool {
    matches!(&*knob.evidence, "effective" | "partial")
}

/// The largest effect of a knob on dispersion or tail that is clear of chance: its aspect and its ratio.
pub(super) fn largest(knob: &KnobResult) -> Option<(&str, f64)> {
    let told = knob.effects.iter().filter(|effect| is_clear(effect));
    let told = told.filter(|effect| matches!(&*effect.aspect, "dispersion" | "tail"));
    let told = told.filter_map(|effect| Some((effect.aspect.as_str(), effect.ratio?)));
    told.max_by(|a, b| a.1.ln().abs().total_cmp(&b.1.ln().abs()))
}

/// Whether an effect is clear of chance.
pub fn is_clear(effect: &EffectResult) -> bool {
    effect.p_corrected.is_some_and(|p| p < CLEAR)
}

/// Cells that are equal but for their profile.
struct Place<'a> {
    study: &'a Study,
    /// By index of their arm.
    cells: BTreeMap<usize, &'a CellView<'a>>,
}

/// Two arms that are compared for a factor.
struct Pair<'a> {
    beside: &'static str,
    without: Vec<bool>,
    with: Vec<bool>,
    circumstance: &'a Circumstance,
}

impl<'a> Place<'a> {
    fn tables(&self, run: &Run, id: &str) -> Vec<AttributionResult> {
        let records: Vec<&Record> =
            self.cells.values().flat_map(|view| view.measured.iter().copied()).collect();
        let cautions = cautions(&records);
        let tables = workload_names(run, &records).into_iter().filter_map(|workload| {
            let mut found = self.cells.values().filter_map(|view| view.workload(workload));
            let better = found.next()?.0.better.clone();
            let table = Table { place: self, workload, cautions: &cautions };
            Some(AttributionResult {
                profile: self.study.profile.clone(),
                base: self.study.base.clone(),
                design: self.study.design.name().to_owned(),
                place: id.to_owned(),
                workload: workload.to_owned(),
                better,
                tests: 0,
                whole: table.whole(),
                knobs: self.knobs(&table),
            })
        });
        tables.collect()
    }

    fn knobs(&self, table: &Table<'_>) -> Vec<KnobResult> {
        let factors = self.study.factors.iter().enumerate();
        let factors = factors.map(|(at, factor)| {
            let (evidence, mut notes) = self.evidence(at, factor);
            let own = [&factor.beside, &factor.alone].into_iter().flat_map(|is| &is.notes);
            notes.extend(own.cloned());
            KnobResult {
                name: factor.name.clone(),
                knobs: factor
                    .knobs
                    .iter()
                    .map(|setting| KnobValues {
                        knob: setting.knob.clone(),
                        off: setting.off.clone(),
                        on: setting.on.clone(),
                    })
                    .collect(),
                rank: None,
                clear: false,
                evidence: evidence.to_owned(),
                notes,
                effects: table.effects(at),
            }
        });
        let fixed = self.study.fixed.iter().map(|(knob, why)| KnobResult {
            name: knob.clone(),
            knobs: vec![KnobValues { knob: knob.clone(), off: None, on: None }],
            rank: None,
            clear: false,
            evidence: "not-set".to_owned(),
            notes: vec![why.clone()],
            effects: Vec::new(),
        });
        factors.chain(fixed).collect()
    }

    /// Whether a factor took effect where it was on: the worst boot speaks for a knob. A factor of which some knobs did took effect in
    /// part; knobs that are not for this kind of system say nothing of the others.
    fn evidence(&self, at: usize, factor: &Factor) -> (&'static str, Vec<String>) {
        let of = |is: bool| {
            let cells =
                self.cells.iter().filter(move |(arm, _)| self.study.arms[**arm].on[at] == is);
            cells.flat_map(|(_, view)| view.measured.iter().copied()).collect::<Vec<&Record>>()
        };
        let [off, on] = [false, true].map(of);
        let (mut words, mut notes) = (BTreeSet::new(), BTreeSet::new());
        for setting in factor.knobs.iter() {
            // What the profile leaves alone leaves evidence where the base asks for it.
            let asked = if setting.on.is_none() && !on.is_empty() { &off } else { &on };
            let worst = asked
                .iter()
                .flat_map(|record| &record.evidence)
                .filter_map(|evidence| match evidence {
                    Evidence::Knob { knob, effect, .. } if *knob == setting.knob => Some(effect),
                    _ => None,
                })
                .max_by_key(|effect| badness(effect));
            let Some(effect) = worst else {
                words.insert("not-measured");
                continue;
            };
            words.insert(word(effect));
            if let Took::Partial { reason }
            | Took::Inapplicable { reason }
            | Took::NotEffective { reason } = effect
            {
                notes.insert(format!("{}: {reason}", setting.knob));
            }
        }
        words.remove(if words.len() > 1 { "not-applicable" } else { "" });
        let some = words.contains("effective") || words.contains("partial");
        let worst = ["not-measured", "not-effective", "partial", "not-applicable", "effective"];
        let worst = worst.into_iter().find(|word| words.contains(word)).unwrap_or("not-measured");
        let told = if some && worst == "not-effective" { "partial" } else { worst };
        (told, notes.into_iter().collect())
    }

    fn cell(&self, on: &[bool]) -> Option<&'a CellView<'a>> {
        let arm = self.study.arms.iter().position(|arm| arm.on == on)?;
        self.cells.get(&arm).copied()
    }
}

fn badness(effect: &Took) -> u8 {
    match effect {
        Took::Inapplicable { .. } => 0,
        Took::Effective => 1,
        Took::Partial { .. } => 2,
        Took::NotEffective { .. } => 3,
    }
}

fn word(effect: &Took) -> &'static str {
    match effect {
        Took::Inapplicable { .. } => "not-applicable",
        Took::Effective => "effective",
        Took::Partial { .. } => "partial",
        Took::NotEffective { .. } => "not-effective",
    }
}

/// What holds for every effect of a place.
fn cautions(records: &[&Record]) -> Vec<String> {
    let mut cautions: Vec<String> = differences(records).into_iter().collect();
    if records.iter().any(|record| is_emulated(record)) {
        cautions.push(EMULATED.to_owned());
    }
    cautions
}

/// One workload of a place.
struct Table<'a> {
    place: &'a Place<'a>,
    workload: &'a str,
    cautions: &'a [String],
}

/// A figure of a boot, where it has one.
struct Value {
    block: u32,
    log: f64,
    is_quiet: bool,
}

impl Table<'_> {
    /// The whole profile against the base.
    fn whole(&self) -> Vec<EffectResult> {
        let count = self.place.study.factors.len();
        let circumstance = Circumstance::default();
        let (without, with) = (vec![false; count], vec![true; count]);
        let pair = Pair { beside: BASE, without, with, circumstance: &circumstance };
        self.rows().map(|row| self.compare(row, &pair)).collect()
    }

    /// The effects of a factor.
    fn effects(&self, at: usize) -> Vec<EffectResult> {
        let study = self.place.study;
        if study.design == Design::Factorial {
            return self.rows().map(|row| self.explain(row, at)).collect();
        }
        let Factor { beside, alone, .. } = &study.factors[at];
        let one = |is: bool| (0..study.factors.len()).map(|n| (n == at) == is).collect::<Vec<_>>();
        let [all, none] = [true, false].map(|on| vec![on; study.factors.len()]);
        let out = Pair { beside: PROFILE, without: one(false), with: all, circumstance: beside };
        let into = Pair { beside: BASE, without: none, with: one(true), circumstance: alone };
        // Of one factor, the two are the same.
        let same = out.without == into.without && out.with == into.with;
        let pairs: Vec<Pair<'_>> = std::iter::once(out).chain((!same).then_some(into)).collect();
        pairs.iter().flat_map(|pair| self.rows().map(|row| self.compare(row, pair))).collect()
    }

    /// The figures that this workload has.
    fn rows(&self) -> impl Iterator<Item = &'static Row> {
        let mut found = self.place.cells.values().filter_map(|view| view.workload(self.workload));
        let unit = found.find_map(|(_, boots)| boots.first()).map(|(_, figures)| figures.unit);
        ROWS.iter().filter(move |row| row.aspect != STALL || unit == Some(Unit::Nanoseconds))
    }

    /// With against without, block by block.
    fn compare(&self, row: &Row, pair: &Pair<'_>) -> EffectResult {
        let [from, to] = [&pair.without, &pair.with].map(|on| self.place.cell(on));
        let id = |view: Option<&CellView<'_>>| view.map(|view| view.result.id.clone());
        let mut found = EffectResult {
            beside: pair.beside.to_owned(),
            from_cell: id(from),
            to_cell: id(to),
            ..blank(row)
        };
        if let Some(why) = &pair.circumstance.refused {
            return EffectResult { note: Some(why.clone()), ..found };
        }
        let (Some(from), Some(to)) = (from, to) else {
            return EffectResult { note: Some("a side was not selected".to_owned()), ..found };
        };
        let mut gaps = Gaps::default();
        let sides = [from, to].map(|view| self.values(row, view, &mut gaps));
        let mut notes = gaps.told(row);
        let with: BTreeMap<u32, &Value> =
            sides[1].iter().map(|value| (value.block, value)).collect();
        let pairs: Vec<(&Value, &Value)> =
            sides[0].iter().filter_map(|value| Some((value, *with.get(&value.block)?))).collect();
        let count = u32::try_from(pairs.len()).unwrap_or(u32::MAX);
        found.boots = [count; 2];
        found.failed = [from, to].map(|view| failed(view, self.workload));
        for (view, side) in [from, to].iter().zip(&sides) {
            if side.is_empty() {
                notes.push(format!("no boots of `{}` to compare", view.planned.cell.tuning));
            }
        }
        // Nothing is quiet of boots that there are not.
        if sides.iter().any(Vec::is_empty) {
            return self.tell(found, Err(NoInterval::TooFew), notes);
        }
        if row.aspect == STALL && sides.iter().flatten().all(|value| value.is_quiet) {
            found.note = Some(format!("no transaction longer than {} on either side", threshold()));
            return found;
        }
        let logs: Vec<(f64, f64)> = pairs.iter().map(|(from, to)| (from.log, to.log)).collect();
        self.tell(found, effect::paired(&logs), notes)
    }

    /// What a factor explains of the logs of all boots, beside the other factors and the blocks.
    fn explain(&self, row: &Row, at: usize) -> EffectResult {
        let study = self.place.study;
        let mut gaps = Gaps::default();
        let mut boots: Vec<(&[bool], Value)> = Vec::new();
        for (arm, view) in &self.place.cells {
            let on = study.arms[*arm].on.as_slice();
            boots.extend(self.values(row, view, &mut gaps).into_iter().map(|value| (on, value)));
        }
        let mut notes = gaps.told(row);
        let side = |is: bool| boots.iter().filter(|(on, _)| on[at] == is).count();
        let counts =
            [side(false), side(true)].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let failed = [false, true].map(|is| {
            let cells = self.place.cells.iter().filter(|(arm, _)| study.arms[**arm].on[at] == is);
            cells.map(|(_, view)| failed(view, self.workload)).sum()
        });
        let beside = DESIGN.to_owned();
        let found = EffectResult { beside, boots: counts, failed, ..blank(row) };
        let arms: BTreeSet<&[bool]> = boots.iter().map(|(on, _)| *on).collect();
        let lacking = study.arms.len() - arms.len();
        if lacking > 0 {
            notes.push(format!(
                "{lacking} of {} profiles of the fraction have no boots: effects of single knobs may mix with what two do together",
                study.arms.len()
            ));
        }
        if counts.contains(&0) {
            return self.tell(found, Err(NoInterval::TooFew), notes);
        }
        if row.aspect == STALL && boots.iter().all(|(_, value)| value.is_quiet) {
            let note = format!("no transaction longer than {} in any boot", threshold());
            return EffectResult { note: Some(note), ..found };
        }
        let blocks: BTreeSet<u32> = boots.iter().map(|(_, value)| value.block).collect();
        let rows: Vec<Vec<f64>> = boots
            .iter()
            .map(|(on, value)| {
                let factors = on.iter().map(|on| if *on { 0.5 } else { -0.5 });
                // Each block has its own level; together they are the mean.
                let blocks = blocks.iter().map(|block| f64::from(u8::from(*block == value.block)));
                factors.chain(blocks).collect()
            })
            .collect();
        let logs: Vec<f64> = boots.iter().map(|(_, value)| value.log).collect();
        let effect = effect::least_squares(&rows, &logs).map(|effects| effects[at]);
        self.tell(found, effect, notes)
    }

    /// The figures of a cell's boots as logs. What must be said of boots that have none goes to `gaps`.
    fn values(&self, row: &Row, view: &CellView<'_>, gaps: &mut Gaps) -> Vec<Value> {
        let boots = view.workload(self.workload).map_or(&[][..], |(_, boots)| boots);
        let value = |(record, figures): &(&Record, BootFigures)| {
            let value = (row.of)(figures)?;
            let is_quiet = row.aspect == STALL && value == 0.0;
            let value = if is_quiet { figures.stall_floor? } else { value };
            let log = value.ln();
            log.is_finite().then_some(Value { block: record.block, log, is_quiet })
        };
        let values: Vec<Value> = boots.iter().filter_map(value).collect();
        gaps.0.push(Gap {
            profile: view.planned.cell.tuning.to_string(),
            boots: boots.len(),
            lacking: boots.len() - values.len(),
            quiet: values.iter().filter(|value| value.is_quiet).count(),
        });
        values
    }

    fn tell(
        &self,
        mut found: EffectResult,
        effect: Result<Effect, NoInterval>,
        mut notes: Vec<String>,
    ) -> EffectResult {
        match effect {
            Ok(effect) => {
                let ends = effect.interval();
                found.ratio = Some(ends.estimate.exp());
                found.low = Some(ends.low.exp());
                found.high = Some(ends.high.exp());
                found.p = Some(effect.p());
                let [from, to] = found.boots;
                if (from.min(to) as usize) < FEW_BOOTS {
                    notes.push(format!("few boots: {from} and {to}"));
                }
            }
            Err(NoInterval::TooFew) => notes.push("too few boots to tell an effect".to_owned()),
            Err(reason) => notes.push(format!("no effect: {reason}")),
        }
        notes.extend(self.cautions.iter().cloned());
        found.note = (!notes.is_empty()).then(|| notes.join("; "));
        found
    }
}

/// How many boots of a profile have no figure, and how many no stall.
struct Gap {
    profile: String,
    boots: usize,
    lacking: usize,
    quiet: usize,
}

/// What must be said of the boots of an effect.
#[derive(Default)]
struct Gaps(Vec<Gap>);

impl Gaps {
    /// A sentence for each profile; of the many profiles of a fraction, one for all.
    fn told(&self, row: &Row) -> Vec<String> {
        let lacks = format!("have too few observations for {}", super::in_words(row.figure));
        let quiet = format!(
            "have no stall: counted as one of {}, which draws the ratio towards 1",
            threshold()
        );
        let mut told = self.sentences(|gap| gap.lacking, &lacks);
        told.extend(self.sentences(|gap| gap.quiet, &quiet));
        told
    }

    fn sentences(&self, count: impl Fn(&Gap) -> usize, what: &str) -> Vec<String> {
        if self.0.len() > 2 {
            let some: usize = self.0.iter().map(&count).sum();
            let all: usize = self.0.iter().map(|gap| gap.boots).sum();
            let profiles = self.0.iter().filter(|gap| count(gap) > 0).count();
            let sentence = format!(
                "{some} of {all} boots, in {profiles} of {} profiles, {what}",
                self.0.len()
            );
            return if some > 0 { vec![sentence] } else { Vec::new() };
        }
        let with = self.0.iter().filter(|gap| count(gap) > 0);
        with.map(|gap| format!("{} of {} boots of `{}` {what}", count(gap), gap.boots, gap.profile))
            .collect()
    }
}

/// Boots of a cell that failed, or in which this workload did.
fn failed(view: &CellView<'_>, workload: &str) -> u32 {
    let without = view.measured.iter().filter(|record| record.lacks(workload)).count();
    u32::try_from(view.failed + without).unwrap_or(u32::MAX)
}

/// A row without numbers.
fn blank(row: &Row) -> EffectResult {
    EffectResult {
        beside: String::new(),
        from_cell: None,
        to_cell: None,
        aspect: row.aspect.to_owned(),
        figure: row.figure.to_owned(),
        ratio: None,
        low: None,
        high: None,
        p: None,
        p_corrected: None,
        boots: [0, 0],
        failed: [0, 0],
        note: None,
    }
}

#[cfg(test)]
mod tests;
