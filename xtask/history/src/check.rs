//! What changed in a history, and whether that is for the worse. Pure: takes a history, answers findings.
//!
//! A series is checked under its newest instrument; older ones have ended. The error rate is that of a whole check: each series has its
//! share of it (Bonferroni), because a check of hundreds of series that each err rarely would err always.

use std::collections::BTreeSet;

use evenkeel_plan::matrix::{quoted, suggestion};
use evenkeel_stats::changes::{Change, Kind, NoAnswer, changes, drift};
use rayon::prelude::*;
use serde::Serialize;

use super::accept::Accepted;
use super::series::{History, Key, RunLine, Series};

/// A change of level by less than this is told, but is no change for the worse; others than location vary more.
const MARGIN_OF_LOCATION: f64 = 1.02;
const MARGIN_OF_OTHERS: f64 = 1.1;

/// Points that an estimated change may be away from its commit.
const SLACK: usize = 3;

/// Newest points that drift is measured over.
const NEWEST: usize = 10;

/// The share of checks of an unchanged history that find something, where nobody says another.
pub const FALSE_ALARMS: f64 = 0.02;

/// How far a location may slide, and any other figure, percent, where nobody says other budgets.
pub const BUDGET: [f64; 2] = [5.0, 25.0];

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Question {
    /// The share of checks of an unchanged history that find something.
    pub false_alarms: f64,
    /// Reviewed changes.
    pub accepted: Vec<Accepted>,
    /// Now, seconds since 1970: what has expired is judged by it.
    pub now: u64,
    /// The commit or name that drift is measured from.
    pub reference: Option<String>,
    /// How far a location may slide from it, and how far any other figure, as ratios above 1.
    pub budget: [f64; 2],
}

impl Question {
    /// At the usual rate, without a reference and nothing accepted, at the time of the newest run.
    #[must_use]
    pub fn plain(history: &History) -> Question {
        Question {
            false_alarms: FALSE_ALARMS,
            accepted: Vec::new(),
            now: history.runs.last().map_or(0, |run| run.time),
            reference: None,
            budget: BUDGET.map(|percent| 1.0 + percent / 100.0),
        }
    }
}

/// What becomes of a change.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// For the worse, and still so.
    Regressed,
    /// For the worse, and accepted.
    Accepted,
    /// For the worse, and the series has come back since.
    Mended,
    /// For the better.
    Improved,
    /// Within the margin.
    Small,
}

/// A change of a series.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Finding {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The cell.
    pub cell: String,
    /// The workload.
    pub workload: String,
    /// The aspect.
    pub aspect: String,
    /// The figure.
    pub figure: String,
    /// `level`, or `steadiness`: how far runs lie from their level.
    pub what: &'static str,
    /// After / before.
    pub ratio: f64,
    /// Probability of a change as clear as this in this series, had nothing changed.
    pub p: f64,
    /// The same for the whole check.
    pub p_corrected: f64,
    /// The last run before it and the first after it.
    pub between: [Place; 2],
    /// Commits after the one before up to the one after, where a repository tells; filled in by who can ask.
    pub commits: Vec<String>,
    /// Why it was accepted.
    pub reason: Option<String>,
}

/// A run, as it is named.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Place {
    /// Line in the file.
    pub line: u64,
    /// Start, seconds since 1970.
    pub time: u64,
    /// Its commit.
    pub commit: Option<String>,
    /// Whether there were changes beside it.
    pub dirty: bool,
    /// Its tag.
    pub run: String,
}

impl Place {
    fn of(run: &RunLine) -> Place {
        let RunLine { line, time, commit, dirty, run, .. } = run.clone();
        Place { line, time, commit, dirty, run }
    }
}

/// A series that slid too far from the reference.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Slide {
    /// The cell.
    pub cell: String,
    /// The workload.
    pub workload: String,
    /// The aspect.
    pub aspect: String,
    /// The figure.
    pub figure: String,
    /// Its newest runs / the reference.
    pub ratio: f64,
    /// What was allowed.
    pub budget: f64,
    /// Probability of so much beyond the budget, had it been kept, for the whole check.
    pub p_corrected: f64,
}

/// The answer.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Answer {
    /// Version of this.
    pub schema: u32,
    /// `regressed`, `unchanged`, `inconclusive`.
    pub verdict: &'static str,
    /// In a sentence.
    pub sentence: String,
    /// Runs of the history.
    pub runs: usize,
    /// Series that were checked.
    pub series: usize,
    /// Series with too few points.
    pub too_short: usize,
    /// Changes, those for the worse first.
    pub changes: Vec<Finding>,
    /// Series beyond the drift budget.
    pub drifts: Vec<Slide>,
    /// What else must be known.
    pub notes: Vec<String>,
}

/// Checks a history.
///
/// # Errors
/// The reference is no run of it.
pub fn check(history: &History, asked: &Question) -> Result<Answer, String> {
    let reference = asked.reference.as_deref().map(|name| reference(history, name)).transpose()?;
    let live = live(history);
    let share = asked.false_alarms / live.len().max(1) as f64;
    let seen: Vec<(&(Key, Series), Result<_, NoAnswer>)> =
        live.par_iter().map(|of| (*of, changes(&of.1.logs, share))).collect();
    let mut used = BTreeSet::new();
    let (mut findings, mut too_short, mut notes) = (Vec::new(), 0, Vec::new());
    for ((key, series), found) in &seen {
        match found {
            Ok(found) => {
                for (nth, change) in found.changes.iter().enumerate() {
                    let last =
                        found.changes[nth..].iter().rev().find(|last| last.kind == change.kind);
                    let last = last.map_or(change.after, |last| last.after);
                    let finding = finding(history, key, series, change, last, asked, &mut used);
                    findings.push(Finding {
                        p_corrected: (change.p * live.len() as f64).min(1.0),
                        ..finding
                    });
                }
            }
            Err(NoAnswer::TooFew) => too_short += 1,
            Err(error) => {
                notes.push(format!("{}:{} {}: {error}", key.cell, key.workload, key.figure))
            }
        }
    }
    findings.sort_by(|a: &Finding, b: &Finding| {
        (a.verdict as u8).cmp(&(b.verdict as u8)).then(a.p.total_cmp(&b.p))
    });
    let drifts = reference.map(|runs| slides(&live, &runs, asked)).unwrap_or_default();
    for accepted in &asked.accepted {
        if accepted.expires.0 <= asked.now {
            notes.push(format!(
                "accepted change of line {} has expired on {}",
                accepted.line, accepted.expires.1
            ));
        } else if !used.contains(&accepted.line) {
            notes.push(format!(
                "accepted change of line {} is no change of this history",
                accepted.line
            ));
        }
    }
    let worse = findings.iter().filter(|finding| finding.verdict == Verdict::Regressed).count();
    let checked = live.len() - too_short;
    let sentence = sentence(worse, drifts.len(), checked, too_short, history.runs.len());
    let verdict = match (worse + drifts.len(), checked) {
        (1.., _) => "regressed",
        (0, 0) => "inconclusive",
        _ if too_short > 0 => "inconclusive",
        _ => "unchanged",
    };
    Ok(Answer {
        schema: 1,
        verdict,
        sentence,
        runs: history.runs.len(),
        series: checked,
        too_short,
        changes: findings,
        drifts,
        notes,
    })
}

fn sentence(worse: usize, drifts: usize, checked: usize, too_short: usize, runs: usize) -> String {
    let of = |count: usize, one: &str, many: &str| {
        format!("{count} {}", if count == 1 { one } else { many })
    };
    let mut parts = vec![format!(
        "{} for the worse in {} of {}",
        of(worse, "change", "changes"),
        of(checked, "series", "series"),
        of(runs, "run", "runs")
    )];
    if drifts > 0 {
        parts.push(format!("{drifts} beyond the drift budget"));
    }
    if too_short > 0 {
        let fewest = evenkeel_stats::changes::FEWEST;
        parts.push(format!(
            "{} of fewer than {fewest} points not checked",
            of(too_short, "series", "series")
        ));
    }
    parts.join("; ")
}

/// Of the series that differ only in the instrument, the one with the newest point; in the order of their keys.
pub fn live(history: &History) -> Vec<&(Key, Series)> {
    let mut live: Vec<&(Key, Series)> = Vec::new();
    let same = |a: &Key, b: &Key| {
        (&a.cell, &a.workload, &a.aspect, &a.figure, &a.unit)
            == (&b.cell, &b.workload, &b.aspect, &b.figure, &b.unit)
    };
    // Keys are in order, the instrument last.
    for of in &history.series {
        match live.last_mut() {
            Some(last) if same(&last.0, &of.0) => {
                if of.1.runs.last() > last.1.runs.last() {
                    *last = of;
                }
            }
            _ => live.push(of),
        }
    }
    live
}

fn finding(
    history: &History,
    key: &Key,
    series: &Series,
    change: &Change,
    last: f64,
    asked: &Question,
    used: &mut BTreeSet<usize>,
) -> Finding {
    // In logarithms, larger is worse.
    let sign = if series.higher_is_better && change.kind == Kind::Location { -1.0 } else { 1.0 };
    let scale = |value: f64| match change.kind {
        Kind::Location => sign * value,
        Kind::Scale => value.max(f64::MIN_POSITIVE).ln(),
    };
    let [before, after, last] = [change.before, change.after, last].map(scale);
    let margin = match (change.kind, key.aspect.as_str()) {
        (Kind::Location, "location") => MARGIN_OF_LOCATION,
        _ => MARGIN_OF_OTHERS,
    };
    let place = |at: usize| &history.runs[series.runs[at]];
    let near = change.at.saturating_sub(SLACK)..(change.at + SLACK).min(series.runs.len());
    let accepted = asked.accepted.iter().find(|accepted| {
        let here = || {
            near.clone()
                .filter_map(|at| place(at).commit.as_deref())
                .any(|commit| accepted.is_of(commit))
        };
        accepted.expires.0 > asked.now && accepted.covers(key) && here()
    });
    used.extend(accepted.map(|accepted| accepted.line));
    let verdict = match after - before {
        by if by.abs() < margin.ln() => Verdict::Small,
        by if by < 0.0 => Verdict::Improved,
        _ if last - before < (after - before) / 2.0 => Verdict::Mended,
        _ if accepted.is_some() => Verdict::Accepted,
        _ => Verdict::Regressed,
    };
    Finding {
        verdict,
        cell: key.cell.clone(),
        workload: key.workload.clone(),
        aspect: key.aspect.clone(),
        figure: key.figure.clone(),
        what: match change.kind {
            Kind::Location => "level",
            Kind::Scale => "steadiness",
        },
        ratio: ((after - before) * sign).exp(),
        p: change.p,
        p_corrected: change.p,
        between: [Place::of(place(change.at - 1)), Place::of(place(change.at))],
        commits: Vec::new(),
        reason: accepted.map(|accepted| accepted.reason.clone()),
    }
}

/// The runs of a name or a commit.
fn reference(history: &History, name: &str) -> Result<Vec<usize>, String> {
    let is = |run: &RunLine| {
        run.mark.as_deref() == Some(name)
            || run.commit.as_deref().is_some_and(|commit| commit.starts_with(name))
    };
    let runs: Vec<usize> = (0..history.runs.len()).filter(|&at| is(&history.runs[at])).collect();
    if runs.is_empty() {
        let marks: BTreeSet<&str> =
            history.runs.iter().filter_map(|run| run.mark.as_deref()).collect();
        let help = match suggestion(name, marks) {
            Some(help) => help,
            None => "no run of it has a mark: `history add --mark NAME` gives one".to_owned(),
        };
        Err(format!("no run of the history has the mark or commit {}; {help}", quoted(name)))
    } else {
        Ok(runs)
    }
}

fn slides(live: &[&(Key, Series)], reference: &[usize], asked: &Question) -> Vec<Slide> {
    let slides = live.par_iter().filter_map(|(key, series)| {
        let points: Vec<usize> = (0..series.runs.len())
            .filter(|&at| reference.binary_search(&series.runs[at]).is_ok())
            .collect();
        // Only what came after the reference has slid from it.
        let newest = (series.runs.len() - 1 - points.last()?).min(NEWEST);
        let logs: Vec<f64> = series
            .logs
            .iter()
            .map(|log| if series.higher_is_better { -log } else { *log })
            .collect();
        let found = drift(&logs, &points, newest)?;
        let budget = asked.budget[usize::from(key.aspect != "location")];
        let p = (found.p_beyond(budget.ln()) * live.len() as f64).min(1.0);
        let sign = if series.higher_is_better { -1.0 } else { 1.0 };
        (p <= asked.false_alarms).then(|| Slide {
            cell: key.cell.clone(),
            workload: key.workload.clone(),
            aspect: key.aspect.clone(),
            figure: key.figure.clone(),
            ratio: (sign * found.distance).exp(),
            budget: budget.powf(sign),
            p_corrected: p,
        })
    });
    slides.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::parse;
    use crate::entry::{CellEntry, Entry, Figure};
    use crate::series::Builder;

    /// A history of one location and one rate: `log` of each run.
    fn history(runs: usize, log: impl Fn(usize) -> f64) -> History {
        let mut builder = Builder::default();
        for at in 0..runs {
            let figure = |figure: &'static str, higher_is_better, log| Figure {
                workload: "tcp".into(),
                aspect: "location".into(),
                figure: figure.into(),
                unit: "x".into(),
                higher_is_better,
                boots: 5,
                log,
                error: None,
            };
            // No chance in it: a low-discrepancy sequence.
            let wobble = 0.02 * ((at as f64 * 0.618_033_988_75).fract() - 0.5);
            let entry = Entry {
                schema: 1,
                time: 1_700_000_000 + at as u64 * 86_400,
                commit: Some(format!("{at:07x}abc").into()),
                dirty: false,
                run: format!("ek{at}").into(),
                mark: (at == 10).then(|| "v1".into()),
                cells: vec![CellEntry {
                    cell: "running/netns/veth/stock/idle".into(),
                    fingerprint: "f".into(),
                    figures: vec![
                        figure("latency", false, 10.0 + log(at) + wobble),
                        figure("rate", true, 20.0 - wobble),
                    ],
                }],
            };
            builder.take(at as u64 + 1, &entry);
        }
        builder.build().0
    }

    fn question() -> Question {
        Question {
            false_alarms: 0.02,
            accepted: Vec::new(),
            now: 1_800_000_000,
            reference: None,
            budget: [1.05, 1.25],
        }
    }

    #[test]
    fn a_change_for_the_worse_names_its_commits() {
        let step = |at| if at < 40 { 0.0 } else { 0.1 };
        let answer = check(&history(60, step), &question()).unwrap();
        let [change] = &answer.changes[..] else { panic!("{answer:?}") };
        assert_eq!(
            (change.verdict, change.what, change.figure.as_str()),
            (Verdict::Regressed, "level", "latency")
        );
        assert!((change.ratio - 0.1f64.exp()).abs() < 0.01);
        let commits = change.between.clone().map(|place| place.commit.unwrap());
        assert_eq!(commits, ["0000027abc", "0000028abc"]);
        assert_eq!(answer.sentence, "1 change for the worse in 2 series of 60 runs");
        // The other way round it is no regression, nor where it is mended or within the margin.
        let verdict = |log: &dyn Fn(usize) -> f64| {
            check(&history(60, log), &question()).unwrap().changes[0].verdict
        };
        assert_eq!(verdict(&|at| -step(at)), Verdict::Improved);
        assert_eq!(verdict(&|at| step(at) / 6.0), Verdict::Small);
        let mended =
            check(&history(60, |at| if (20..40).contains(&at) { 0.1 } else { 0.0 }), &question())
                .unwrap();
        let verdicts: Vec<Verdict> = mended.changes.iter().map(|change| change.verdict).collect();
        assert_eq!(
            (verdicts, mended.verdict),
            (vec![Verdict::Mended, Verdict::Improved], "unchanged")
        );
    }

    #[test]
    fn what_was_accepted_is_until_it_expires() {
        let history = history(60, |at| if at < 40 { 0.0 } else { 0.1 });
        let text = "schema = 1\n[[accept]]\nseries = \"*\"\ncommit = \"0000028abc\"\nreason = \"why\"\nscope = [\"location\"]\nexpires = \"2027-01-31\"\n";
        let mut asked = Question { accepted: parse(text, "a").unwrap(), ..question() };
        let answer = check(&history, &asked).unwrap();
        assert_eq!(
            (answer.changes[0].verdict, answer.changes[0].reason.as_deref()),
            (Verdict::Accepted, Some("why"))
        );
        assert_eq!((answer.verdict, answer.notes.len()), ("unchanged", 0));
        asked.now += 86_400 * 365;
        let answer = check(&history, &asked).unwrap();
        assert_eq!(
            (answer.verdict, answer.notes),
            ("regressed", vec!["accepted change of line 2 has expired on 2027-01-31".to_owned()])
        );
        asked = Question {
            accepted: parse(&text.replace("0000028", "0000018"), "a").unwrap(),
            ..question()
        };
        let answer = check(&history, &asked).unwrap();
        assert_eq!((answer.verdict, answer.notes.len()), ("regressed", 1));
    }

    #[test]
    fn a_slow_slide_leaves_the_budget() {
        let asked = Question { reference: Some("v1".into()), ..question() };
        let slides = |log: &dyn Fn(usize) -> f64| check(&history(200, log), &asked).unwrap().drifts;
        let [slide] = &slides(&|at| at as f64 * 0.001)[..] else { panic!("one") };
        assert!((slide.ratio - 0.185f64.exp()).abs() < 0.03, "{slide:?}");
        assert_eq!(slides(&|_| 0.0), []);
        let unknown = Question { reference: Some("v2".into()), ..question() };
        assert_eq!(
            check(&history(30, |_| 0.0), &unknown).unwrap_err(),
            "no run of the history has the mark or commit `v2`; did you mean `v1`? known: v1"
        );
    }

    #[test]
    fn few_points_are_inconclusive() {
        let answer = check(&history(19, |_| 0.0), &question()).unwrap();
        assert_eq!((answer.verdict, answer.series, answer.too_short), ("inconclusive", 0, 2));
        assert_eq!(check(&History::default(), &question()).unwrap().verdict, "inconclusive");
    }
}
