//! What a comparison says of the runner that it was measured on, and whether that runner may gate.

use super::*;
use crate::calibrate::AlarmRate;
use crate::calibrate::fault::Injection;
use crate::record::Repetition;

/// A run whose candidate has a wider spread in every cell.
fn worse() -> (Run, Vec<Record>) {
    let cells = cells();
    interleaved(&cells[..2], 12, 5, |_, side| Temper {
        width: if side == BASE { 1_000.0 } else { 2_500.0 },
        ..STEADY
    })
}

fn rate(runs: u32, flagged: u32) -> Option<AlarmRate> {
    Some(AlarmRate { runs, flagged, void: 0 })
}

fn required() -> Policy {
    policy::parse("schema = 1\n[calibrate]\nrequired = true\n", "mine").unwrap()
}

#[test]
fn every_interleaved_run_tells_whether_its_runner_is_calibrated() {
    let (mut run, records) = worse();
    // One that was made before runs told it.
    assert!(judged_by((&run, &records), &policy()).notes.is_empty());
    for (calibration, told) in [
        (rate(0, 0), "not calibrated: how often this runner flags"),
        (
            rate(12, 0),
            "calibrated: of a matrix against itself, 0 of 12 runs flagged: below 22.1 % with 95 % confidence",
        ),
    ] {
        run.calibration = calibration;
        let verdicts = judged_by((&run, &records), &policy());
        assert!(verdicts.notes.iter().any(|note| note.starts_with(told)), "{:?}", verdicts.notes);
        assert_eq!((&verdicts.gate, verdicts.end(false)), (&Gate::Gates, End::Regressed));
    }
}

#[test]
fn where_the_policy_wants_it_a_runner_gates_only_once_it_has_shown_enough() {
    let (mut run, records) = worse();
    for calibration in [None, rate(0, 0), rate(58, 0), rate(59, 1)] {
        run.calibration = calibration;
        let verdicts = judged_by((&run, &records), &required());
        assert!(matches!(verdicts.gate, Gate::Uncalibrated { .. }), "{:?}", verdicts.gate);
        // The flag is there, and says so: neither a regression nor nothing.
        assert!(verdicts.decisions.iter().any(Decision::flags));
        assert_eq!(verdicts.end(false), End::Inconclusive);
        assert_eq!(verdicts.overall.verdict, "inconclusive");
    }
    let verdicts = judged_by((&run, &records), &required());
    let why = verdicts.comparison().why.unwrap();
    insta::assert_snapshot!(why, @"this runner has not shown enough: 1 of 59 runs flagged: 1.69 %, below 7.79 % with 95 % confidence; 93 runs, 1 of them flagged, prove 5 % (`cargo xtask calibrate`)");
    assert!(verdicts.overall.sentence.ends_with(&format!("does not gate: {why}")));
    run.calibration = rate(59, 0);
    assert_eq!(judged_by((&run, &records), &required()).end(false), End::Regressed);
    // What calibrates a runner is not held to it.
    run.calibration = rate(0, 0);
    let cell = "running/netns/bridge/stock/idle".to_owned();
    let injection = Injection { fault: "tail=1us/64".parse().unwrap(), cells: vec![cell] };
    run.calibrates = Some(Repetition { number: 3, fault: Some(injection) });
    let verdicts = judged_by((&run, &records), &required());
    assert_eq!(verdicts.gate, Gate::Gates);
    assert_eq!(
        verdicts.notes,
        [
            "repetition 3 of `calibrate`: both sides are one matrix, and the candidate was given a fault: tail=1us/64 (one of 64 replies 1us later) in running/netns/bridge/stock/idle"
        ]
    );
}

#[test]
fn without_a_flag_a_runner_need_not_be_calibrated() {
    let cells = cells();
    let (mut run, records) = interleaved(&cells[..2], 12, 5, |_, _| STEADY);
    run.calibration = rate(0, 0);
    let verdicts = judged_by((&run, &records), &required());
    assert!(!verdicts.decisions.iter().any(Decision::flags));
    assert_eq!(verdicts.end(false), End::Fine);
}

#[test]
fn a_run_in_which_nothing_could_be_flagged_says_so() {
    let cells = cells();
    let steady = |boots| interleaved(&cells[..2], boots, 6, |_, _| STEADY);
    assert!(judged(&steady(12)).could_flag);
    // Fewer boots than have a verdict.
    assert!(!judged(&steady(6)).could_flag);
    // Only emulated cells.
    let (run, mut records) = steady(12);
    for record in &mut records {
        record.instrument.insert("accelerator".into(), "tcg".into());
    }
    assert!(!judged_by((&run, &records), &policy()).could_flag);
    // Of which one fails in the candidate alone: that is flagged whatever emulates it.
    let id = cells[0].id();
    let fails = records.iter_mut().filter(|r| r.side == CANDIDATE && r.cell == id);
    fails.for_each(|record| {
        *record = Record {
            side: CANDIDATE.into(),
            block: record.block,
            position: record.position,
            ..failed(&cells[0], record.boot, "the guest panics")
        }
    });
    assert!(judged_by((&run, &records), &policy()).could_flag);
    // No row has a p-value.
    let (run, mut records) = steady(12);
    for record in &mut records {
        record.workloads[0].samples = latencies(&[20_000; 1200]);
    }
    assert!(!judged_by((&run, &records), &policy()).could_flag);
}
