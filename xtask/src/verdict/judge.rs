//! From a pair of cells to decisions: what is asked of the statistics, and what their answers mean in words.

use evenkeel_agent::samples::Unit;
use evenkeel_stats::gate::{Hypothesis, Tested};
use evenkeel_stats::interval::NoInterval;

use super::aspects::{Series, Start, Untested, series};
use super::outcome;
use super::policy::Policy;
use super::sides::{Comparison, Pair};
use super::tested::{self, Observation};
use super::units::{Layer, layer};
use super::{Aspect, Decision, Design, Options, Verdict};
use crate::fingerprint::difference;
use crate::matrix::Cell;
use crate::record::figures::{is_emulated, judged};
use crate::record::results::VerdictRow;
use crate::record::{BASE, CANDIDATE, Record};
use crate::report::{interval, ratio};

/// A fact of the instrument that no option makes comparable: emulated and real processors are different worlds.
const ACCELERATOR: &str = "accelerator";

/// One question, with what is known before the statistics are asked.
pub(super) struct Asked<'a> {
    pub(super) cell: &'a Cell,
    pub(super) id: String,
    pub(super) workload: String,
    pub(super) aspect: Aspect,
    pub(super) gates: bool,
    /// Fresh starts of base and candidate.
    pub(super) boots: [usize; 2],
    /// What is said beside the verdict.
    pub(super) notes: Vec<String>,
    pub(super) matter: Matter,
    /// Both sides' records with their logarithms of the figure, for the checks of the run: side, block, position, logarithm.
    pub(super) course: Vec<(usize, u32, u32, f64)>,
}

/// What there is to decide on.
pub(super) enum Matter {
    /// Numbers.
    Numbers(Series),
    /// It is decided already.
    Decided(Verdict, Option<&'static str>, String),
}

/// All questions about a pair of cells.
pub(super) fn ask<'a>(
    pair: &Pair<'a>,
    comparison: &Comparison<'_>,
    policy: &Policy,
    options: Options,
) -> Vec<Asked<'a>> {
    if let Some(decided) = outcome::of(pair) {
        let asked = |workload: String| Asked {
            cell: pair.cell,
            id: pair.id.clone(),
            workload,
            aspect: Aspect::Outcome,
            gates: true,
            boots: [pair.base.measured.len(), pair.candidate.measured.len()],
            notes: Vec::new(),
            matter: Matter::Decided(decided.verdict, None, decided.reason.clone()),
            course: Vec::new(),
        };
        return decided.workloads.into_iter().map(asked).collect();
    }
    let sides = [&pair.base.measured[..], &pair.candidate.measured[..]];
    if sides.iter().any(|side| side.is_empty()) {
        return Vec::new();
    }
    let emulated = sides.iter().any(|side| side.iter().any(|record| is_emulated(record)));
    let instruments = Instruments::of(sides);
    let layer = layer(sides[0], sides[1]);
    let mut notes = Vec::new();
    if emulated {
        notes.push("emulated: informs only".to_owned());
    }
    if let Instruments::Differ { told, .. } = &instruments {
        notes.push(format!("on a different instrument: {told}"));
    }
    let mut all = Vec::new();
    for workload in workloads(sides) {
        let asked = |aspect, boots, notes, matter, course| Asked {
            cell: pair.cell,
            id: pair.id.clone(),
            workload: workload.to_owned(),
            aspect,
            gates: policy.gates(workload, aspect) && !emulated,
            boots,
            notes,
            matter,
            course,
        };
        let counts = sides.map(<[_]>::len);
        // One row a workload says it.
        let whole = |verdict, reason| {
            let mut asked = asked(
                Aspect::Outcome,
                counts,
                Vec::new(),
                Matter::Decided(verdict, None, reason),
                Vec::new(),
            );
            asked.gates = !emulated;
            asked
        };
        if let Instruments::Differ { told, ever } = &instruments
            && (*ever || !options.allow_different_host)
        {
            let hint = match ever {
                true => "emulated and real processors are never compared",
                false => "--allow-different-host compares all the same, and says so",
            };
            all.push(whole(Verdict::Inconclusive, format!("not compared: {told}; {hint}")));
            continue;
        }
        let mut notes = notes.clone();
        let [base, candidate] =
            [(BASE, sides[0]), (CANDIDATE, sides[1])].map(|side| read(side, workload, &mut notes));
        if let Some((side, other)) = lacking(&base, &candidate) {
            let at = usize::from(side == CANDIDATE);
            all.push(match (failure(sides[at], workload), at) {
                (Some(reason), 1) => {
                    let reason = format!("measured in the base, fails in the candidate: {reason}");
                    // That something fails is no matter of time, whatever emulates it.
                    Asked { gates: true, ..whole(Verdict::Regressed, reason) }
                }
                (Some(reason), _) => {
                    let reason =
                        format!("fails in the base, measured in the candidate; the base: {reason}");
                    whole(Verdict::Improved, reason)
                }
                (None, _) => {
                    let reason =
                        format!("the {side} left no {workload} that can be read, the {other} did");
                    whole(Verdict::Missing, reason)
                }
            });
            continue;
        }
        let [base, candidate] = match comparison.design() {
            Design::Interleaved => complete(base, candidate),
            Design::Apart { .. } => [base, candidate],
        };
        let mut units = base.iter().chain(&candidate).map(|start| start.judged.figures.unit);
        let Some(unit) = units.next() else {
            all.push(whole(Verdict::Inconclusive, "no block holds both sides".to_owned()));
            continue;
        };
        if let Some(other) = units.find(|other| *other != unit) {
            let reason = format!("not compared: in {} and {}", unit.symbol(), other.symbol());
            all.push(whole(Verdict::Inconclusive, reason));
            continue;
        }
        for aspect in Aspect::FIGURES {
            if aspect == Aspect::Stall && unit != Unit::Nanoseconds {
                continue;
            }
            let starts = [&base[..], &candidate[..]];
            let mut notes = notes.clone();
            let (counts, matter) = match series(aspect, starts, unit, layer, policy) {
                Ok(mut series) => {
                    if let Design::Apart { .. } = comparison.design() {
                        // Block 3 of one run has nothing in common with block 3 of the other.
                        let all = series.base.iter_mut().chain(&mut series.candidate);
                        all.for_each(|observation| observation.block = 0);
                    }
                    notes.append(&mut series.notes);
                    ([series.base.len(), series.candidate.len()], Matter::Numbers(series))
                }
                Err(Untested::Quiet(figure, reason)) => {
                    let counts = starts.map(<[_]>::len);
                    // Nothing in too few boots says little.
                    let few = counts.iter().any(|count| *count < policy.require.boots as usize);
                    let verdict = if few { Verdict::Inconclusive } else { Verdict::Equivalent };
                    (counts, Matter::Decided(verdict, Some(figure), reason))
                }
                Err(Untested::Unknown(figure, reason)) => {
                    let decided = Matter::Decided(Verdict::Inconclusive, figure, reason);
                    (starts.map(<[_]>::len), decided)
                }
            };
            if layer == Layer::Host {
                notes.push(format!(
                    "{} and {} starts under different boots of the host, each of which counts once: {} and {}",
                    base.len(),
                    candidate.len(),
                    counts[0],
                    counts[1]
                ));
            }
            all.push(asked(aspect, counts, notes, matter, course(aspect, starts)));
        }
    }
    all
}

/// Whether two sides were measured by one instrument.
enum Instruments {
    Same,
    Differ {
        /// In which facts, by name.
        told: String,
        /// Whether they are never compared.
        ever: bool,
    },
}

impl Instruments {
    fn of(sides: [&[&Record]; 2]) -> Instruments {
        let mut records = sides.iter().flat_map(|side| side.iter());
        let Some(first) = records.next() else { return Instruments::Same };
        let Some(other) = records.find(|record| record.fingerprint != first.fingerprint) else {
            return Instruments::Same;
        };
        let mut told = difference(&first.instrument, &other.instrument);
        if told.is_empty() {
            let [was, is] = [first, other].map(|record| &record.fingerprint);
            told.push(format!("fingerprint was `{was}` and is `{is}`"));
        }
        let ever = first.instrument.get(ACCELERATOR) != other.instrument.get(ACCELERATOR);
        Instruments::Differ { told: told.join(", "), ever }
    }
}

/// Workloads of both sides, in the order in which they were measured, those that failed behind the others of their boot.
fn workloads<'a>(sides: [&[&'a Record]; 2]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for record in sides.iter().flat_map(|side| side.iter()) {
        for name in record.names() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The boots of one side that have a workload. Those that cannot be read are told.
fn read<'a>(
    (side, records): (&str, &[&'a Record]),
    workload: &str,
    notes: &mut Vec<String>,
) -> Vec<Start<'a>> {
    let mut starts = Vec::new();
    for &record in records {
        let Some(found) = record.workloads.iter().find(|found| found.workload == workload) else {
            let failed = record.failed.iter().find(|failed| failed.workload == workload);
            let why = failed.map_or(String::new(), |failed| format!(": {}", failed.reason));
            notes.push(format!("boot {} of the {side} left no {workload}{why}", record.boot));
            continue;
        };
        match judged(&found.samples) {
            Ok(judged) => starts.push(Start { record, judged }),
            Err(error) => {
                let boot = record.boot;
                notes.push(format!("boot {boot} of the {side} cannot be read: {error:#}"));
            }
        }
    }
    starts
}

/// Why a workload failed in every boot of a side; nothing where it did not.
fn failure(side: &[&Record], workload: &str) -> Option<String> {
    let all = side.iter().all(|record| record.lacks(workload));
    let mut failed = side.iter().flat_map(|record| &record.failed);
    let first = failed.find(|failed| failed.workload == workload).filter(|_| all)?;
    Some(format!("in {} of {} boots: {}", side.len(), side.len(), first.reason))
}

/// Which side has nothing where the other has something.
fn lacking(base: &[Start<'_>], candidate: &[Start<'_>]) -> Option<(&'static str, &'static str)> {
    match (base.is_empty(), candidate.is_empty()) {
        (true, false) => Some(("base", "candidate")),
        (false, true) => Some(("candidate", "base")),
        _ => None,
    }
}

/// Only starts of blocks in which both sides were measured: a block with one side would put its hour of the day into the difference.
fn complete<'a>(base: Vec<Start<'a>>, candidate: Vec<Start<'a>>) -> [Vec<Start<'a>>; 2] {
    let blocks = |side: &[Start<'_>]| {
        side.iter().map(|start| start.record.block).collect::<std::collections::HashSet<_>>()
    };
    let (in_base, in_candidate) = (blocks(&base), blocks(&candidate));
    let both = |start: &Start<'_>| {
        in_base.contains(&start.record.block) && in_candidate.contains(&start.record.block)
    };
    [base, candidate].map(|side| side.into_iter().filter(both).collect())
}

/// How the figures of the checks went over the run.
fn course(aspect: Aspect, sides: [&[Start<'_>]; 2]) -> Vec<(usize, u32, u32, f64)> {
    let of = |start: &Start<'_>| match aspect {
        Aspect::Location => start.judged.figures.median,
        Aspect::Dispersion => start.judged.figures.mad,
        _ => None,
    };
    let sides = sides.into_iter().enumerate();
    let starts = sides.flat_map(|(side, starts)| starts.iter().map(move |start| (side, start)));
    let course = starts.filter_map(|(side, start)| {
        let value = of(start).filter(|value| *value > 0.0)?;
        Some((side, start.record.block, start.record.position, value.ln()))
    });
    course.collect()
}

/// Decides all questions: those that gate are corrected together, and those that inform.
pub(super) fn decide(
    asked: Vec<Asked<'_>>,
    comparison: &Comparison<'_>,
    policy: &Policy,
) -> Vec<Decision> {
    let mut answers: Vec<Option<Result<Tested, NoInterval>>> = vec![None; asked.len()];
    for counts in [true, false] {
        let mut family = Vec::new();
        for (at, asked) in asked.iter().enumerate() {
            let Matter::Numbers(Series { base, candidate, .. }) = &asked.matter else { continue };
            if is_flat(asked.aspect, [base, candidate]) {
                answers[at] = Some(Err(NoInterval::NoSpread));
                continue;
            }
            // What has too few boots can make nothing fail, and would cost the others power.
            let enough = base.len().min(candidate.len()) >= policy.require.boots as usize;
            if (asked.gates && enough) == counts {
                let margin = policy.margin(asked.aspect).ln();
                family.push((at, Hypothesis { base, candidate, margin }));
            }
        }
        let hypotheses: Vec<Hypothesis<'_>> = family.iter().map(|(_, of)| *of).collect();
        let tested = tested::test(&hypotheses, comparison.candidate.run.seed, policy);
        for ((at, _), tested) in family.into_iter().zip(tested) {
            answers[at] = Some(tested);
        }
    }
    let decided = asked.into_iter().zip(answers);
    decided.map(|(asked, answer)| decision(asked, answer, policy)).collect()
}

/// Whether all boots of each side are equal to the last digit: no measurement is, so nothing can be learnt of how much boots differ.
/// Only what has a floor is equal by nature.
fn is_flat(aspect: Aspect, sides: [&[Observation]; 2]) -> bool {
    let equal = |side: &[Observation]| {
        let first = side.first().map_or(0.0, |first| first.value);
        let slack = first.abs() * 1e-12;
        side.len() > 1 && side.iter().all(|other| (other.value - first).abs() <= slack)
    };
    !matches!(aspect, Aspect::Stall | Aspect::Modes) && sides.into_iter().all(equal)
}

fn decision(
    asked: Asked<'_>,
    answer: Option<Result<Tested, NoInterval>>,
    policy: &Policy,
) -> Decision {
    let count = |boots: usize| u32::try_from(boots).unwrap_or(u32::MAX);
    let mut row = VerdictRow {
        cell: asked.id,
        workload: asked.workload,
        aspect: asked.aspect.name().to_owned(),
        figure: None,
        verdict: String::new(),
        ratio: None,
        low: None,
        high: None,
        p: None,
        p_corrected: None,
        detectable_ratio: None,
        boots: asked.boots.map(count),
        boots_needed: None,
        gates: asked.gates,
        accepted: None,
        reason: String::new(),
    };
    let (mut verdict, mut harm) = (Verdict::Inconclusive, None);
    match (asked.matter, answer) {
        (Matter::Decided(decided, figure, reason), _) => {
            (verdict, row.figure, row.reason) = (decided, figure.map(str::to_owned), reason);
        }
        (Matter::Numbers(series), Some(Ok(tested))) => {
            row.figure = Some(series.figure.to_owned());
            let told = Told::new(&tested, &series, asked.aspect, policy);
            (verdict, harm) = (told.verdict, Some(tested.difference.estimate));
            told.fill(&mut row);
        }
        (Matter::Numbers(series), answer) => {
            row.figure = Some(series.figure.to_owned());
            let reason = match answer {
                Some(Err(reason)) => reason.to_string(),
                _ => "it was not tested".to_owned(),
            };
            row.ratio = plain_ratio(&series);
            row.reason = format!("no interval: {reason}");
        }
    }
    if !asked.notes.is_empty() {
        row.reason = format!("{}; {}", row.reason, asked.notes.join("; "));
    }
    row.verdict = verdict.name().to_owned();
    Decision { cell: asked.cell.clone(), aspect: asked.aspect, verdict, harm, row }
}

/// The ratio alone.
fn plain_ratio(series: &Series) -> Option<f64> {
    let mean = |side: &[Observation]| {
        side.iter().map(|observation| observation.value).sum::<f64>() / side.len() as f64
    };
    let difference = mean(&series.candidate) - mean(&series.base);
    let ratio = if series.turned { (-difference).exp() } else { difference.exp() };
    ratio.is_finite().then_some(ratio)
}

/// A tested hypothesis as ratios, with its verdict in words.
struct Told {
    verdict: Verdict,
    ratio: f64,
    low: f64,
    high: f64,
    p: f64,
    p_corrected: f64,
    detectable: f64,
    boots_needed: Option<u32>,
    reason: String,
}

impl Told {
    fn new(tested: &Tested, series: &Series, aspect: Aspect, policy: &Policy) -> Told {
        let margin = policy.margin(aspect);
        let figure = |log: f64| if series.turned { (-log).exp() } else { log.exp() };
        let ends = [figure(tested.difference.low), figure(tested.difference.high)];
        let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        let worse = tested.difference.estimate >= 0.0;
        let [p, p_corrected] = match worse {
            true => [tested.p_worse, tested.p_worse_corrected],
            false => [tested.p_better, tested.p_better_corrected],
        };
        let counts = [series.base.len(), series.candidate.len()];
        let few = counts.iter().any(|count| *count < policy.require.boots as usize);
        let alpha = policy.errors.family;
        let verdict = match () {
            () if few => Verdict::Inconclusive,
            // Its test errs too often (3 of 50 unchanged cells of 20 boots a side): it is shown, and no judge.
            () if aspect == Aspect::BetweenBoot => Verdict::Inconclusive,
            () if tested.p_worse_corrected <= alpha => Verdict::Regressed,
            () if tested.p_better_corrected <= alpha => Verdict::Improved,
            () if tested.p_equivalent <= policy.errors.equivalence => Verdict::Equivalent,
            () => Verdict::Inconclusive,
        };
        let mut told = Told {
            verdict,
            ratio: figure(tested.difference.estimate),
            low,
            high,
            p,
            p_corrected,
            detectable: figure(tested.detectable),
            boots_needed: None,
            reason: String::new(),
        };
        let mut hint = String::new();
        if verdict == Verdict::Inconclusive && aspect != Aspect::BetweenBoot {
            told.boots_needed = tested::boots_needed(tested, margin.ln());
            let size = ratio(figure(tested::wanted(tested, margin.ln())));
            if let Some(needed) = told.boots_needed {
                hint = format!("; about {needed} boots a side would show {size}");
            }
        }
        told.reason = told.words(aspect, margin, series.turned, counts, few, policy) + &hint;
        told
    }

    fn words(
        &self,
        aspect: Aspect,
        margin: f64,
        turned: bool,
        [base, candidate]: [usize; 2],
        few: bool,
        policy: &Policy,
    ) -> String {
        let what = match aspect {
            Aspect::Outcome => "outcome",
            Aspect::Location if turned => "rate",
            Aspect::Location => "median",
            Aspect::Dispersion => "spread inside a boot",
            Aspect::Tail => "tail",
            Aspect::Stall => "share of time in stalls",
            Aspect::Modes => "share apart from the main mode",
            Aspect::BetweenBoot => "spread between boots",
        };
        let size = format!("{what} {} {}", ratio(self.ratio), interval(self.low, self.high));
        let beyond = format!("margin ×{margin}");
        let boots = format!("{base} + {candidate} boots");
        if aspect == Aspect::BetweenBoot {
            return format!(
                "{size}; {boots}: shown and not judged, because its test errs too often"
            );
        }
        match self.verdict {
            Verdict::Regressed => format!("{size}: worse beyond the {beyond}; {boots}"),
            Verdict::Improved => format!("{size}: better beyond the {beyond}; {boots}"),
            Verdict::Equivalent => format!("{size}: within the {beyond} either way; {boots}"),
            Verdict::Missing | Verdict::Inconclusive => {
                let mut words = format!("{size}: cannot be told from the {beyond}; {boots}");
                if few {
                    words.push_str(&format!(
                        ", the policy asks for {} a side",
                        policy.require.boots
                    ));
                }
                if self.p <= policy.errors.screen {
                    words.push_str("; suspect");
                }
                words.push_str(&match self.detectable.is_finite() && self.detectable > 0.0 {
                    true => format!("; {} could be seen", ratio(self.detectable)),
                    false => "; so few boots show nothing".to_owned(),
                });
                words
            }
        }
    }

    fn fill(self, row: &mut VerdictRow) {
        let finite = |value: f64| value.is_finite().then_some(value);
        // So few boots that no change could be flagged are told by none.
        let visible = |value: &f64| *value > 0.0;
        row.ratio = finite(self.ratio);
        row.low = finite(self.low);
        row.high = finite(self.high);
        row.p = finite(self.p);
        row.p_corrected = finite(self.p_corrected);
        row.detectable_ratio = finite(self.detectable).filter(visible);
        row.boots_needed = self.boots_needed;
        row.reason = self.reason;
    }
}
