//! Attributions of made-up runs, whose knobs do what they are told to.

use super::super::summary::results;
use super::*;
use crate::attribution::expand;
use crate::axis::tuning::Profile;
use crate::matrix::{Attribution, Matrix};
use crate::record::results::Results;
use crate::record::testing::{bell, cell, failed, latencies, record, run};
use crate::record::{Effect as Took, PlannedCell, Status};

/// A run of an attribution, all of whose cells can be measured but those that the study refuses.
fn planned(profile: &str, design: Option<Design>) -> Run {
    planned_in(&[cell("netns", "stock")], profile, design)
}

/// [`planned`], of these cells.
fn planned_in(cells: &[Cell], profile: &str, design: Option<Design>) -> Run {
    let mut run = run(cells);
    run.matrix.contrasts = Vec::new();
    let (name, base) = (profile.to_owned(), "stock".to_owned());
    run.matrix.attribution = Some(Attribution { profile: name, base, design });
    let [profile, base] = [profile, "stock"].map(|name| Profile::find(name).unwrap());
    let matrix: Matrix = expand(run.matrix, &profile, &base, &[]).unwrap();
    let study = matrix.study.clone().unwrap();
    let status = |cell: &Cell| match study.refused(&cell.tuning) {
        Some(reason) => Status::NotApplicable { reason: reason.to_owned() },
        None => Status::Runnable,
    };
    run.cells = matrix
        .cells
        .iter()
        .map(|cell| PlannedCell { cell: cell.clone(), status: status(cell) })
        .collect();
    run.matrix = matrix;
    run
}

/// The spread of a boot, from which factors are on.
type Width = fn(&dyn Fn(&str) -> bool) -> f64;

/// Boots in which `width` tells the spread of an arm, from the factors that are on; each boot and block a little different.
fn measured(run: &Run, boots: u32, width: Width) -> Vec<Record> {
    let study = run.matrix.study.as_ref().unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let mut records = Vec::new();
    for planned in run.cells.iter().filter(|planned| planned.status == Status::Runnable) {
        let arm = study.arms.iter().find(|arm| *arm.tuning == *planned.cell.tuning).unwrap();
        let is_on = |name: &str| {
            let mut factors = study.factors.iter().zip(&arm.on);
            factors.any(|(factor, on)| factor.name == name && *on)
        };
        for boot in 0..boots {
            let of_block = 1.0 + 0.2 * f64::from(boot % 3);
            let chance = (0.1 * (random.f64() - 0.5)).exp();
            let spread = width(&is_on) * of_block * chance;
            let samples = latencies(&bell(30_000.0 * chance, spread, 2000));
            let mut boot = record(&planned.cell, boot, "tcp-rr", samples);
            let knobs = study.factors.iter().zip(&arm.on).filter(|(_, on)| **on);
            boot.evidence.extend(
                knobs
                    .flat_map(|(factor, _)| &factor.knobs)
                    .map(|setting| knob(&setting.knob, Took::Effective)),
            );
            records.push(boot);
        }
    }
    records
}

fn knob(name: &str, effect: Took) -> Evidence {
    Evidence::Knob {
        knob: name.to_owned(),
        requested: "on".to_owned(),
        applied: "on".to_owned(),
        seen: ["on".to_owned(), "on".to_owned()],
        effect,
    }
}

/// Ten times calmer with a policy, and 1.5 times with a placement.
fn two_knobs_matter(is_on: &dyn Fn(&str) -> bool) -> f64 {
    let of_policy = if is_on("policy") || is_on("realtime-threads") { 0.1 } else { 1.0 };
    let of_placement = if is_on("placement") { 1.0 / 1.5 } else { 1.0 };
    2000.0 * of_policy * of_placement
}

/// A line a knob: rank, name, evidence, and its effects on the MAD.
fn told(found: &Results) -> String {
    let effect = |effect: &EffectResult| match effect.ratio {
        Some(ratio) => {
            let [low, high] = [effect.low, effect.high].map(|end| end.unwrap());
            let clear = if is_clear(effect) { " clear" } else { "" };
            format!("{} {ratio:.2} [{low:.2} {high:.2}]{clear} {:?}", effect.beside, effect.boots)
        }
        None => format!("{} - {}", effect.beside, effect.note.as_deref().unwrap_or_default()),
    };
    let line = |knob: &KnobResult| {
        let effects = knob.effects.iter().filter(|effect| effect.figure == "mad");
        let effects: Vec<String> = effects.map(effect).collect();
        format!("{:?} {} {}: {}", knob.rank, knob.name, knob.evidence, effects.join(", "))
    };
    found.attribution[0].knobs.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn knobs_are_ranked_by_what_they_do_beside_the_others_and_alone() {
    let run = planned("isolated", None);
    let records = measured(&run, 6, two_knobs_matter);
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(told(&found), @r"
        Some(1) policy effective: profile 0.10 [0.10 0.11] clear [6, 6], base 0.10 [0.10 0.10] clear [6, 6]
        Some(2) placement effective: profile 0.67 [0.65 0.69] clear [6, 6], base 0.67 [0.65 0.69] clear [6, 6]
        None rt-throttle effective: profile 1.02 [0.97 1.07] [6, 6], base - `rt-throttle` means nothing there: it lifts a limit on realtime threads, and no `policy` makes one of the system under test
        ");
    let table = &found.attribution[0];
    assert_eq!((&*table.place, table.knobs.len()), ("running/netns/bridge/*/idle", 3));
    // Five contexts and the whole profile, with a ratio each of median, MAD, SD and tail; no boot stalls.
    assert_eq!(table.tests, 6 * 4);
    let whole = table.whole.iter().find(|effect| effect.figure == "mad").unwrap();
    assert!((whole.ratio.unwrap() * 15.0 - 1.0).abs() < 0.1, "{whole:?}");
    insta::assert_snapshot!(found.overall.sentence, @"7 of 7 cells measured, 1 not applicable; isolated: better: tcp-rr MAD ×0.068 [0.055–0.083], tcp-rr SD ×0.068 [0.055–0.083] and tcp-rr tail ×0.068 [0.056–0.083] in running/netns/bridge/isolated/idle; corrected for all 4 comparisons; knobs of isolated by effect on tcp-rr: policy (dispersion ×0.10), placement (tail ×0.67)");
}

#[test]
fn a_knob_that_did_not_take_effect_is_not_ranked() {
    let run = planned("isolated", None);
    let mut records = measured(&run, 6, two_knobs_matter);
    for evidence in records.iter_mut().flat_map(|record| &mut record.evidence) {
        if matches!(evidence, Evidence::Knob { knob, .. } if knob == "policy") {
            *evidence = knob("policy", Took::NotEffective { reason: "refused".to_owned() });
        }
    }
    let found = results(&run, &records).unwrap();
    let knobs = &found.attribution[0].knobs;
    let ranks: Vec<_> = knobs.iter().map(|knob| (&*knob.name, knob.rank)).collect();
    assert_eq!(ranks, [("placement", Some(1)), ("rt-throttle", None), ("policy", None)]);
    assert_eq!((&*knobs[2].evidence, knobs[2].clear), ("not-effective", false));
    assert!(knobs[2].notes.contains(&"policy: refused".to_owned()), "{:?}", knobs[2].notes);
}

#[test]
fn a_fraction_tells_the_same_of_many_knobs_also_where_boots_failed() {
    let run = planned("realtime", None);
    let mut records = measured(&run, 2, two_knobs_matter);
    for lost in [5, 40, 77] {
        let cell =
            run.cells.iter().find(|planned| planned.cell.id() == records[lost].cell).unwrap();
        records[lost] = failed(&cell.cell, records[lost].boot, "no end");
    }
    let found = results(&run, &records).unwrap();
    let table = &found.attribution[0];
    assert_eq!((&*table.design, table.knobs.len()), ("factorial", 23));
    let (first, second) = (&table.knobs[0], &table.knobs[1]);
    assert_eq!((&*first.name, &*second.name), ("realtime-threads", "placement"));
    for (knob, expected) in [(first, 0.1), (second, 1.0 / 1.5)] {
        let mad = knob.effects.iter().find(|effect| effect.figure == "mad").unwrap();
        let (low, high) = (mad.low.unwrap(), mad.high.unwrap());
        assert!(low < expected && expected < high && high / low < 1.2, "{mad:?}");
        assert_eq!(mad.boots[0] + mad.boots[1], 96 - 3);
        assert_eq!(mad.failed[0] + mad.failed[1], 3);
        assert!(knob.clear);
    }
    assert!(table.knobs[2..].iter().all(|knob| !knob.clear), "{:?}", told(&found));
    let last = table.knobs.last().unwrap();
    assert_eq!((&*last.name, &*last.evidence, last.rank), ("host-cmdline", "not-set", None));
}

#[test]
fn nothing_measured_is_told_and_is_no_number() {
    let run = planned("isolated", None);
    let found = results(&run, &[]).unwrap();
    assert!(found.attribution.is_empty());
    let one: Vec<Record> = measured(&run, 1, two_knobs_matter);
    let found = results(&run, &one).unwrap();
    let effects = found.attribution[0].knobs.iter().flat_map(|knob| &knob.effects);
    assert!(effects.clone().all(|effect| effect.ratio.is_none() && effect.note.is_some()));
    assert!(found.attribution[0].knobs.iter().all(|knob| knob.rank.is_none()));
}

/// The note of an effect on a figure of the whole profile.
fn whole_note(found: &Results, figure: &str) -> String {
    let whole = found.attribution[0].whole.iter().find(|effect| effect.figure == figure).unwrap();
    whole.note.clone().unwrap_or_default()
}

#[test]
fn boots_that_all_failed_are_not_said_to_be_quiet() {
    let run = planned("isolated", None);
    let mut records = measured(&run, 6, two_knobs_matter);
    let quiet = results(&run, &records).unwrap();
    assert_eq!(
        whole_note(&quiet, "stall_share"),
        "no transaction longer than 10 ms on either side"
    );
    let base = run.cells.iter().find(|planned| &*planned.cell.tuning == "stock").unwrap();
    for boot in records.iter_mut().filter(|boot| boot.cell == base.cell.id()) {
        *boot = failed(&base.cell, boot.boot, "no end");
    }
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(whole_note(&found, "stall_share"), @"6 of 6 boots of `isolated` have no stall: counted as one of 10 ms, which draws the ratio towards 1; no boots of `stock` to compare; too few boots to tell an effect");
}

#[test]
fn few_pairs_are_told() {
    let run = planned("isolated", None);
    let told = |boots| {
        whole_note(&results(&run, &measured(&run, boots, two_knobs_matter)).unwrap(), "mad")
    };
    assert_eq!((told(4), told(5)), ("few boots: 4 and 4".to_owned(), String::new()));
}

#[test]
fn knobs_without_a_clear_effect_have_no_rank_and_stay_in_order() {
    let run = planned("isolated", None);
    let found = results(&run, &measured(&run, 6, |_| 2000.0)).unwrap();
    let study = run.matrix.study.as_ref().unwrap();
    let knobs = &found.attribution[0].knobs;
    assert!(knobs.iter().all(|knob| knob.rank.is_none()), "{}", told(&found));
    let names = knobs.iter().map(|knob| &knob.name);
    assert!(names.eq(study.factors.iter().map(|factor| &factor.name)), "{}", told(&found));
    let sentence = &found.overall.sentence;
    assert!(
        sentence.ends_with("knobs of isolated by effect on tcp-rr: none clear of chance"),
        "{sentence}"
    );
}

#[test]
fn what_only_the_base_asks_for_is_judged_where_it_is_asked_for() {
    let mut run = planned("isolated", None);
    let records = measured(&run, 6, two_knobs_matter);
    let factor = &mut run.matrix.study.as_mut().unwrap().factors[0];
    let name = factor.name.clone();
    for setting in &mut factor.knobs {
        (setting.off, setting.on) = (setting.on.take(), None);
    }
    let evidence = |records: &[Record]| {
        let found = results(&run, records).unwrap();
        found.attribution[0].knobs.iter().find(|knob| knob.name == name).unwrap().evidence.clone()
    };
    assert_eq!(evidence(&records), "not-measured", "no boot of the base tells of it");
    let mut asked = records.clone();
    for boot in &mut asked {
        boot.evidence.push(knob(&name, Took::NotEffective { reason: "refused".to_owned() }));
    }
    assert_eq!(evidence(&asked), "not-effective");
}

#[test]
fn profiles_of_a_fraction_without_boots_are_told() {
    let run = planned("realtime", None);
    let mut records = measured(&run, 2, two_knobs_matter);
    let gone = records[10].cell.clone();
    let note = |records: &[Record]| {
        let found = results(&run, records).unwrap();
        found.attribution[0].knobs[0].effects[0].note.clone().unwrap_or_default()
    };
    assert_eq!(note(&records), "");
    records.retain(|boot| boot.cell != gone);
    assert!(
        note(&records).starts_with("1 of 48 profiles of the fraction have no boots"),
        "{}",
        note(&records)
    );
}

#[test]
fn the_sentence_says_that_a_ranking_is_of_an_emulator() {
    let run = planned("isolated", None);
    let mut records = measured(&run, 6, two_knobs_matter);
    for boot in &mut records {
        boot.instrument.insert("accelerator".to_owned(), "tcg".to_owned());
    }
    let sentence = results(&run, &records).unwrap().overall.sentence;
    assert!(sentence.ends_with("placement (tail ×0.67) (emulated)"), "{sentence}");
}

#[test]
fn a_fraction_without_boots_of_one_side_says_nothing_of_stalls() {
    let run = planned("realtime", None);
    let mut records = measured(&run, 2, two_knobs_matter);
    let study = run.matrix.study.as_ref().unwrap();
    let off = study.arms.iter().filter(|arm| !arm.on[0]).map(|arm| arm.tuning.as_str());
    let off: BTreeSet<&str> = off.collect();
    let cells = run.cells.iter().filter(|planned| off.contains(&*planned.cell.tuning));
    let kept: BTreeSet<String> = cells.map(|planned| planned.cell.id()).collect();
    records.retain(|boot| kept.contains(&boot.cell));
    let found = results(&run, &records).unwrap();
    let name = &study.factors[0].name;
    let knob = found.attribution[0].knobs.iter().find(|knob| knob.name == *name).unwrap();
    let stall = knob.effects.iter().find(|effect| effect.aspect == STALL).unwrap();
    let note = stall.note.as_deref().unwrap();
    assert!(!note.contains("no transaction") && note.contains("too few boots"), "{note}");
    assert_eq!(knob.evidence, "not-measured");
}

#[test]
fn a_ranking_names_its_place_where_there_are_several() {
    let run = planned_in(&[cell("docker", "stock"), cell("netns", "stock")], "isolated", None);
    let found = results(&run, &measured(&run, 6, two_knobs_matter)).unwrap();
    let place = &found.attribution[0].place;
    let expected = format!("by effect on tcp-rr in {place}: policy");
    assert!(found.overall.sentence.contains(&expected), "{}", found.overall.sentence);
}

#[test]
fn gaps_of_a_pair_name_the_profiles_and_those_of_a_fraction_are_summed() {
    let gap = |profile: &str, lacking, quiet| Gap {
        profile: profile.to_owned(),
        boots: 3,
        lacking,
        quiet,
    };
    let told = |gaps: Vec<Gap>| Gaps(gaps).sentences(|gap| gap.lacking, "lack it");
    assert_eq!(told(vec![gap("a", 0, 1), gap("b", 2, 0)]), ["2 of 3 boots of `b` lack it"]);
    let mixes = || vec![gap("a", 1, 0), gap("b", 2, 0), gap("c", 0, 3)];
    assert_eq!(told(mixes()), ["3 of 9 boots, in 2 of 3 profiles, lack it"]);
    assert_eq!(told(vec![gap("a", 0, 0), gap("b", 0, 0), gap("c", 0, 0)]), [""; 0]);
    let quiet = Gaps(mixes()).sentences(|gap| gap.quiet, "are quiet");
    assert_eq!(quiet, ["3 of 9 boots, in 1 of 3 profiles, are quiet"]);
}
