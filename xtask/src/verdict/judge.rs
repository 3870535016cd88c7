//! From a pair of cells to decisions: what is asked of the statistics, and what their answers mean in words.

use evenkeel_agent::samples::Unit;
use evenkeel_stats::gate::{Hypothesis, Tested};
use evenkeel_stats::interval::NoInterval;

use super::aspects::{Series, Start, Untested, sds, series};
use super::outcome;
use super::policy::Policy;
use super::sequential::{Findings, Stand};
use super::sides::{Comparison, Pair};
use super::tested::{self, Observation};
use super::told::Told;
use super::units::{Layer, layer};
use super::{Aspect, Decision, Design, Options, Verdict, blank, counts};
use crate::axis::virtualization;
use crate::fingerprint::difference;
use crate::matrix::{COMMAND, Cell};
use crate::record::figures::{is_emulated, judged};
use crate::record::import::{ACCELERATOR, SOURCE};
use crate::record::{BASE, CANDIDATE, Record};
use crate::report::{interval, ratio};

/// One question, with what is known before the statistics are asked.
pub(super) struct Asked<'a> {
    pub(super) cell: &'a Cell,
    pub(super) id: String,
    pub(super) workload: String,
    pub(super) aspect: Aspect,
    pub(super) gates: bool,
    /// Of its figures; absent where none is asked for.
    pub(super) unit: Option<Unit>,
    /// Fresh starts of base and candidate.
    pub(super) boots: [usize; 2],
    /// What is said beside the verdict.
    pub(super) notes: Vec<String>,
    pub(super) matter: Matter,
    /// Of a dispersion, the SDs: far values, which a MAD does not feel, move them.
    pub(super) beside: Option<Series>,
    /// Whether instruments differ whose figures are compared all the same.
    pub(super) instruments_differ: bool,
    /// Both sides' records with their logarithms of the figure, for the checks of the run: side, block, position, logarithm.
    pub(super) course: Vec<(usize, u32, u32, f64)>,
}

/// What there is to decide on.
pub(super) enum Matter {
    /// Numbers.
    Numbers(Series),
    /// What the figure is about happened in no boot.
    Quiet(Verdict, &'static str, String),
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
            unit: None,
            boots: [pair.base.measured.len(), pair.candidate.measured.len()],
            notes: Vec::new(),
            matter: Matter::Decided(decided.verdict, None, decided.reason.clone()),
            beside: None,
            instruments_differ: false,
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
    // What somebody else's file says of a guest may be of an emulated one.
    let runs_guests = virtualization::guests().contains(&&*pair.cell.virtualization);
    let unsaid = |record: &Record| {
        record.instrument.contains_key(SOURCE) && !record.instrument.contains_key(ACCELERATOR)
    };
    let unsaid = runs_guests && sides.iter().flat_map(|side| side.iter()).any(|of| unsaid(of));
    if unsaid {
        notes.push("imported without its accelerator, it may be emulated: informs only".to_owned());
    }
    let informs = emulated || unsaid;
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
            gates: policy.gates(workload, aspect) && !informs,
            unit: None,
            boots,
            notes,
            matter,
            beside: None,
            instruments_differ: false,
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
            asked.gates = !informs;
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
            // What fails always here and sometimes there is told by counts.
            if failure(sides[at], workload).is_some() && !outcome::is_plain(pair, workload) {
                continue;
            }
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
            // Ten milliseconds may be what a program of the user's always takes.
            let may_stall = unit == Unit::Nanoseconds && !workload.starts_with(COMMAND);
            if aspect == Aspect::Stall && !may_stall {
                continue;
            }
            let starts = [&base[..], &candidate[..]];
            let mut notes = notes.clone();
            let (counts, matter) = match series(aspect, starts, unit, layer, policy) {
                Ok(mut series) => {
                    unblock(&mut series, comparison);
                    notes.append(&mut series.notes);
                    ([series.base.len(), series.candidate.len()], Matter::Numbers(series))
                }
                Err(Untested::Quiet(figure, reason)) => {
                    let counts = starts.map(<[_]>::len);
                    // Nothing in too few boots says little.
                    let least = policy.least_boots(comparison.took_boots_by_policy());
                    let few = counts.iter().any(|count| *count < least);
                    let verdict = if few { Verdict::Inconclusive } else { Verdict::Equivalent };
                    (counts, Matter::Quiet(verdict, figure, reason))
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
            let course = course(aspect, starts);
            let beside = (aspect == Aspect::Dispersion).then(|| sds(starts, layer).ok()).flatten();
            let beside = beside.map(|mut series| {
                unblock(&mut series, comparison);
                series
            });
            all.push(Asked {
                unit: Some(unit),
                beside,
                instruments_differ: matches!(instruments, Instruments::Differ { .. }),
                ..asked(aspect, counts, notes, matter, course)
            });
        }
    }
    all
}

/// Of runs that were measured apart, block 3 of one has nothing in common with block 3 of the other.
fn unblock(series: &mut Series, comparison: &Comparison<'_>) {
    if let Design::Apart { .. } = comparison.design() {
        let all = series.base.iter_mut().chain(&mut series.candidate);
        all.for_each(|observation| observation.block = 0);
    }
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
        // No option makes them comparable: emulated and real processors are different worlds.
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

/// Decides all questions: those that gate are corrected together, and those that inform. Where a gate took boots until it knew, it has
/// decided what is worse or better, and the tests say how much.
pub(super) fn decide(
    mut asked: Vec<Asked<'_>>,
    comparison: &Comparison<'_>,
    findings: Option<&Findings>,
    policy: &Policy,
) -> Vec<Decision> {
    if let Some(findings) = findings {
        asked.iter_mut().for_each(|asked| findings.fresh(asked));
    }
    let mut answers: Vec<Option<Result<Tested, NoInterval>>> = vec![None; asked.len()];
    for counts in [true, false] {
        let mut family = Vec::new();
        for (at, asked) in asked.iter().enumerate() {
            let Matter::Numbers(Series { base, candidate, .. }) = &asked.matter else { continue };
            if asked.is_flat() {
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
    decided
        .map(|(asked, answer)| {
            let stand = findings.and_then(|findings| findings.stand(&asked));
            decision(asked, answer, stand, policy)
        })
        .collect()
}

impl Asked<'_> {
    /// Whether all boots of each side are equal to the last digit: no measurement is, so nothing can be learnt of how much boots differ.
    /// Only what has a floor is equal by nature.
    pub(super) fn is_flat(&self) -> bool {
        let equal = |side: &Vec<Observation>| {
            let first = side.first().map_or(0.0, |first| first.value);
            let slack = first.abs() * 1e-12;
            side.len() > 1 && side.iter().all(|other| (other.value - first).abs() <= slack)
        };
        match &self.matter {
            _ if matches!(self.aspect, Aspect::Stall | Aspect::Modes) => false,
            Matter::Numbers(Series { base, candidate, .. }) => {
                [base, candidate].into_iter().all(equal)
            }
            Matter::Quiet(..) | Matter::Decided(..) => false,
        }
    }
}

fn decision(
    asked: Asked<'_>,
    answer: Option<Result<Tested, NoInterval>>,
    stand: Option<Stand>,
    policy: &Policy,
) -> Decision {
    let mut row = blank(asked.id, asked.workload, asked.aspect);
    (row.boots, row.gates) = (counts(asked.boots), asked.gates);
    let mut gist = None;
    let (mut verdict, mut harm, mut cleared) = (Verdict::Inconclusive, None, false);
    let beside = asked.beside;
    match (asked.matter, answer) {
        (Matter::Decided(decided, figure, reason), _) => {
            (verdict, row.figure, row.reason) = (decided, figure.map(str::to_owned), reason);
        }
        (Matter::Quiet(decided, figure, what), _) => {
            let [base, candidate] = asked.boots;
            (verdict, row.figure) = (decided, Some(figure.to_owned()));
            row.reason = format!("{what} in {} boots", base + candidate);
            // Nothing in too few boots says little.
            let least = policy.least_boots(stand.is_some());
            gist = Some(match decided {
                Verdict::Inconclusive => {
                    format!("{what}; the policy asks for {least} boots a side")
                }
                _ => what,
            });
        }
        (Matter::Numbers(series), Some(Ok(tested))) => {
            row.figure = Some(series.figure.to_owned());
            let told = Told::new(&tested, &series, asked.aspect, stand, policy);
            (verdict, harm) = (told.verdict, Some(tested.difference.estimate));
            cleared = stand.is_some_and(Stand::is_cleared);
            gist = Some(told.gist.clone());
            told.fill(&mut row);
        }
        (Matter::Numbers(series), answer) => {
            row.figure = Some(series.figure.to_owned());
            let boots = [series.base.len(), series.candidate.len()];
            let reason = match answer {
                Some(Err(NoInterval::TooFew)) => too_few(boots),
                Some(Err(reason)) => reason.to_string(),
                _ => "it was not tested".to_owned(),
            };
            row.ratio = plain_ratio(&series);
            row.reason = format!("no interval: {reason}");
        }
    }
    // What fresh boots have confirmed stays so, whatever later ones lack.
    if let Some(Stand::Confirmed(confirmed, of)) = stand {
        (verdict, row.p, row.p_corrected) = (confirmed, Some(of.p), Some(of.p_corrected));
    }
    let mut notes = asked.notes;
    let contrary = beside.filter(|_| verdict == Verdict::Improved);
    let contrary = contrary.and_then(|sds| risen(&sds, policy));
    let mut gist = gist.unwrap_or_else(|| row.reason.clone());
    if let Some(risen) = &contrary {
        // Neither better nor worse: whoever reads the word alone must not read praise.
        (verdict, cleared) = (Verdict::Inconclusive, false);
        notes.push(format!("but the {risen}: far values, which a MAD does not feel"));
        gist.push_str(", but the SD rose");
    }
    for note in &notes {
        row.reason.push_str("; ");
        row.reason.push_str(note);
    }
    row.verdict = verdict.name().to_owned();
    let (cell, aspect) = (asked.cell.clone(), asked.aspect);
    let instruments_differ = asked.instruments_differ;
    Decision {
        cell,
        aspect,
        verdict,
        harm,
        cleared,
        contrary,
        instruments_differ,
        gist,
        notes,
        row,
    }
}

/// Why so many boots of base and candidate have no interval.
fn too_few([base, candidate]: [usize; 2]) -> String {
    match base.min(candidate) {
        0 | 1 => format!("{base} + {candidate} boots have this figure, and it takes 2 a side"),
        _ => format!("of {base} + {candidate} boots, fewer than two blocks hold both sides"),
    }
}

/// `SD ×1.47 [1.36–1.59]`, where it rose beyond the margin of spreads, by its interval.
fn risen(sds: &Series, policy: &Policy) -> Option<String> {
    let Series { base, candidate, .. } = sds;
    let margin = policy.margin(Aspect::Dispersion).ln();
    let tested = tested::test(&[Hypothesis { base, candidate, margin }], 1, policy);
    let difference = tested.into_iter().next()?.ok()?.difference;
    let [low, ratio_of, high] =
        [difference.low, difference.estimate, difference.high].map(f64::exp);
    (difference.low > 0.0 && difference.estimate > margin)
        .then(|| format!("SD {} {}", ratio(ratio_of), interval(low, high)))
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
