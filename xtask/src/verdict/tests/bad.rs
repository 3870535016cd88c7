//! Input that is not as one would wish: the right verdict, mostly inconclusive or missing, and never a panic or a number.

use proptest::prelude::*;

use super::*;
use crate::record::Unmeasured;

fn both() -> [(Run, Vec<Record>); 2] {
    let mut both = apart(&interleaved(&cells()[..2], 12, 20, |_, _| STEADY));
    both[1].0.started_unix += 3600;
    both
}

/// The verdicts of all rows, each once.
fn words(verdicts: &Verdicts) -> Vec<&'static str> {
    let mut words: Vec<_> = verdicts.decisions.iter().map(|d| d.verdict.name()).collect();
    words.sort_unstable();
    words.dedup();
    words
}

fn reasons(verdicts: &Verdicts) -> String {
    verdicts.decisions.iter().map(|d| format!("{}\n", d.row.reason)).collect()
}

#[test]
fn cells_that_one_side_lacks_are_missing() {
    let [mut base, mut candidate] = both();
    let second = candidate.0.cells[1].cell.id();
    candidate.0.cells.remove(1);
    candidate.1.retain(|record| record.cell != second);
    let verdicts = compared(&[base.clone(), candidate.clone()]);
    let missing: Vec<_> = of(&verdicts, Aspect::Outcome);
    assert_eq!(missing.len(), 1);
    insta::assert_snapshot!(missing[0].row.reason, @"measured in the base, not in the candidate: it has no such cell");
    assert_eq!((verdicts.end(false), verdicts.end(true)), (End::Fine, End::Inconclusive));
    // The other way round, and skipped.
    let verdicts = compared(&[candidate.clone(), base.clone()]);
    insta::assert_snapshot!(of(&verdicts, Aspect::Outcome)[0].row.reason, @"nothing to compare with; the base: it has no such cell");
    let skipped = Status::Skipped { reason: "no KVM".into(), remedy: String::new() };
    base.0.cells[1].status = skipped.clone();
    candidate.0.cells.push(PlannedCell { cell: base.0.cells[1].cell.clone(), status: skipped });
    let verdicts = compared(&[base.clone(), candidate.clone()]);
    insta::assert_snapshot!(of(&verdicts, Aspect::Outcome)[0].row.reason, @"measured in the base, not in the candidate: skipped: no KVM");
    // Neither side was meant to measure it: nothing is said.
    base.1.retain(|record| record.cell != second);
    assert!(of(&compared(&[base, candidate]), Aspect::Outcome).is_empty());
}

#[test]
fn a_cell_that_fails_in_the_candidate_regressed_and_fails_the_build() {
    let [base, mut candidate] = both();
    let id = candidate.0.cells[0].cell.clone();
    candidate.1.retain(|record| record.cell != id.id());
    candidate.1.extend(
        (0..12).map(|boot| {
            failed(&id, boot, if boot < 9 { "the guest panicked" } else { "no answer" })
        }),
    );
    let verdicts = compared(&[base.clone(), candidate.clone()]);
    let [outcome] = of(&verdicts, Aspect::Outcome)[..] else { panic!() };
    assert_eq!(outcome.verdict, Verdict::Regressed);
    insta::assert_snapshot!(outcome.row.reason, @"measured in the base, fails in the candidate: 12 of 12 boots failed: the guest panicked | another reason");
    assert_eq!(verdicts.end(false), End::Regressed);
    insta::assert_snapshot!(verdicts.overall.sentence, @"1 of 2 cells regressed: tcp-rr fails in running/netns/bridge/stock/idle; of 6 verdicts that gate 2 equivalent, 3 inconclusive; figures inform and do not gate: the two runs were not measured interleaved");
    let verdicts = compared(&[candidate, base]);
    assert_eq!(of(&verdicts, Aspect::Outcome)[0].verdict, Verdict::Improved);
    assert_eq!(verdicts.end(false), End::Fine);
}

#[test]
fn a_workload_that_fails_takes_only_itself_and_fails_the_build() {
    let [base, mut candidate] = both();
    let id = candidate.1[0].cell.clone();
    for record in candidate.1.iter_mut().filter(|record| record.cell == id) {
        let workload = record.workloads[0].workload.clone();
        record.failed.push(Unmeasured { workload, reason: "refused".into() });
        record.workloads[0].workload = "udp-rr".into();
    }
    let verdicts = compared(&[base, candidate]);
    let [fails, other] = of(&verdicts, Aspect::Outcome)[..] else { panic!() };
    assert_eq!((fails.verdict, other.verdict), (Verdict::Regressed, Verdict::Missing));
    assert_eq!(
        fails.row.reason,
        "measured in the base, fails in the candidate: in 12 of 12 boots: refused"
    );
    assert_eq!(verdicts.end(false), End::Regressed);
}

/// What a program prints may always take ten milliseconds: an endless line of stalls would be told of it.
#[test]
fn a_users_program_has_no_stalls() {
    let runs = both().map(|(run, mut records)| {
        for record in &mut records {
            record.workloads[0].workload = "command-own".into();
        }
        (run, records)
    });
    let verdicts = compared(&runs);
    assert!(of(&verdicts, Aspect::Stall).is_empty());
    assert!(!of(&verdicts, Aspect::Tail).is_empty());
    assert!(!of(&compared(&both()), Aspect::Stall).is_empty());
}

#[test]
fn boots_that_fail_more_often_regressed_where_chance_cannot_be_it() {
    let fail = |count: u32| {
        let [base, mut candidate] = both();
        let id = candidate.1[0].cell.clone();
        for record in candidate.1.iter_mut().filter(|r| r.cell == id && r.boot < count) {
            record.outcome = Outcome::Failed { reason: "no answer".into() };
            record.workloads.clear();
        }
        compared(&[base, candidate])
    };
    let verdicts = fail(2);
    let [open] = of(&verdicts, Aspect::Outcome)[..] else { panic!("{:?}", verdicts.notes) };
    insta::assert_snapshot!(open.row.reason, @"not told from chance: 2 of 12 boots fail in the candidate, 0 of 12 in the base: no answer");
    assert_eq!((verdicts.end(false), verdicts.end(true)), (End::Fine, End::Inconclusive));
    assert!(
        verdicts.overall.sentence.contains("some boots of 1 cell fail"),
        "{}",
        verdicts.overall.sentence
    );
    let verdicts = fail(10);
    let [outcome] = of(&verdicts, Aspect::Outcome)[..] else { panic!("{:?}", verdicts.notes) };
    assert_eq!(outcome.verdict, Verdict::Regressed);
    // A stored run informs, as by figures.
    assert_eq!(verdicts.end(false), End::Fine);
}

#[test]
fn each_cell_of_which_boots_fail_or_lack_a_workload_is_counted_once() {
    let [mut base, mut candidate] = both();
    let lacking = base.1.iter_mut().chain(&mut candidate.1);
    for record in lacking.filter(|record| record.boot == 3) {
        let workload = record.workloads[0].workload.clone();
        record.failed.push(Unmeasured { workload, reason: "refused".into() });
        record.workloads[0].workload = "udp-rr".into();
    }
    let id = candidate.1[0].cell.clone();
    for record in candidate.1.iter_mut().filter(|r| r.cell == id && r.boot < 2) {
        record.outcome = Outcome::Failed { reason: "no answer".into() };
        record.workloads.clear();
    }
    let verdicts = compared(&[base, candidate]);
    let sentence = &verdicts.overall.sentence;
    assert!(sentence.contains("some boots of 2 cells fail"), "{sentence}\n{:?}", verdicts.notes);
}

#[test]
fn a_cell_that_a_revision_takes_away_is_missing_and_one_that_the_host_lacks_is_not() {
    let cells = cells();
    let (mut run, mut records) = interleaved(&cells[..3], 12, 21, |_, _| STEADY);
    records.retain(|record| record.cell == cells[0].id());
    let skipped = |reason: &str| Status::Skipped { reason: reason.into(), remedy: String::new() };
    run.cells[1].status = skipped("knob `x` is not supported");
    run.cells[2].status = skipped("no engine");
    let mut of_base = run.cells.clone();
    of_base[1].status = skipped("the candidate's cannot be measured: knob `x` is not supported");
    run.base = Some(Base {
        revision: "v1".into(),
        commit: "c".into(),
        matrix_text: String::new(),
        matrix: run.matrix.clone(),
        cells: of_base,
        by_policy: false,
    });
    let verdicts = judged(&(run, records));
    let [row] = of(&verdicts, Aspect::Outcome)[..] else { panic!() };
    assert_eq!((row.row.cell.as_str(), row.verdict), (&*cells[1].id(), Verdict::Missing));
    assert!(row.row.reason.contains("knob `x` is not supported"), "{}", row.row.reason);
    assert_eq!((verdicts.end(false), verdicts.end(true)), (End::Fine, End::Inconclusive));
}

#[test]
fn one_boot_is_no_verdict() {
    let [mut base, mut candidate] = both();
    for records in [&mut base.1, &mut candidate.1] {
        records.retain(|record| record.boot == 0);
    }
    let verdicts = compared(&[base, candidate]);
    assert_eq!(words(&verdicts), ["inconclusive"]);
    let [location, _] = of(&verdicts, Aspect::Location)[..] else { panic!() };
    assert!(location.row.ratio.is_some() && location.row.low.is_none());
    assert!(
        location.row.reason.contains("1 + 1 boots have this figure, and it takes 2 a side"),
        "{}",
        location.row.reason
    );
}

#[test]
fn few_boots_are_a_look() {
    let [mut base, mut candidate] = both();
    for records in [&mut base.1, &mut candidate.1] {
        records.retain(|record| record.boot < 3);
    }
    for record in &mut candidate.1 {
        record.workloads[0].samples =
            latencies(&bell(90_000.0 + f64::from(record.boot), 1_000.0, 1200));
    }
    let verdicts = compared(&[base, candidate]);
    let [location, _] = of(&verdicts, Aspect::Location)[..] else { panic!() };
    assert_eq!(location.verdict, Verdict::Inconclusive);
    assert!(location.row.ratio.unwrap() > 4.0);
    assert!(
        location.row.reason.contains("the policy asks for 7 a side"),
        "{}",
        location.row.reason
    );
}

#[test]
fn what_does_not_vary_cannot_be_told() {
    let [mut base, mut candidate] = both();
    for record in base.1.iter_mut().chain(&mut candidate.1) {
        record.workloads[0].samples = latencies(&bell(20_000.0, 1_000.0, 1200));
    }
    let verdicts = compared(&[base.clone(), candidate.clone()]);
    for aspect in [Aspect::Location, Aspect::Dispersion, Aspect::Tail, Aspect::BetweenBoot] {
        for decision in of(&verdicts, aspect) {
            assert_eq!(decision.verdict, Verdict::Inconclusive, "{}", decision.row.reason);
            assert!(
                decision.row.reason.contains("have the same figure"),
                "{}",
                decision.row.reason
            );
        }
    }
    // No spread at all inside a boot.
    for record in base.1.iter_mut().chain(&mut candidate.1) {
        record.workloads[0].samples = latencies(&[20_000; 1200]);
    }
    let verdicts = compared(&[base, candidate]);
    for decision in of(&verdicts, Aspect::Dispersion) {
        assert_eq!(decision.verdict, Verdict::Inconclusive);
        assert!(decision.row.ratio.is_none_or(f64::is_finite), "{:?}", decision.row);
    }
}

#[test]
fn different_instruments_are_not_compared_and_what_differs_is_named() {
    let [base, mut candidate] = both();
    for record in &mut candidate.1 {
        record.fingerprint = "g".into();
        record.instrument.insert("cpu".into(), "another".into());
    }
    let both = [base, candidate];
    let verdicts = compared(&both);
    assert_eq!(words(&verdicts), ["inconclusive"]);
    insta::assert_snapshot!(verdicts.decisions[0].row.reason, @"not compared: cpu was not known and is `another`; --allow-different-host compares all the same, and says so");
    assert_eq!((verdicts.end(false), verdicts.end(true)), (End::Fine, End::Inconclusive));
    // All the same, and it is said everywhere.
    let allowed = Options { allow_different_host: true };
    let verdicts = compared_with([&both[0], &both[1]], allowed);
    assert!(
        words(&verdicts).len() > 1 || words(&verdicts) != ["inconclusive"],
        "{:?}",
        words(&verdicts)
    );
    assert!(verdicts.decisions.iter().all(|d| {
        d.row.reason.contains("on a different instrument: cpu was not known and is `another`")
    }));
    assert!(
        verdicts.overall.sentence.contains("different instruments"),
        "{}",
        verdicts.overall.sentence
    );
    // But never a processor with an emulator.
    let [base, mut candidate] = both;
    for record in &mut candidate.1 {
        record.instrument.insert("accelerator".into(), "tcg".into());
    }
    let verdicts = compared_with([&base, &candidate], allowed);
    assert_eq!(words(&verdicts), ["inconclusive"]);
    assert!(reasons(&verdicts).contains("never compared"), "{}", reasons(&verdicts));
}

#[test]
fn mixed_units_and_workloads_are_not_compared() {
    let [base, candidate] = both();
    let mut other = candidate.clone();
    for record in &mut other.1 {
        record.workloads[0].samples = rates(&[1e9, 1.1e9, 0.9e9]);
    }
    let verdicts = compared(&[base.clone(), other]);
    assert_eq!(words(&verdicts), ["inconclusive"]);
    insta::assert_snapshot!(verdicts.decisions[0].row.reason, @"not compared: in ns and bytes/s");
    let mut other = candidate;
    for record in &mut other.1 {
        record.workloads[0].workload = "udp-rr".into();
    }
    let verdicts = compared(&[base, other]);
    assert_eq!(words(&verdicts), ["missing"]);
    assert!(
        reasons(&verdicts).contains("the candidate left no tcp-rr that can be read"),
        "{}",
        reasons(&verdicts)
    );
}

#[test]
fn boots_that_cannot_be_read_are_told_and_left_out() {
    let [base, mut candidate] = both();
    for record in candidate.1.iter_mut().filter(|record| record.boot < 4) {
        record.workloads[0].samples.histogram = Some("rubbish".into());
    }
    let verdicts = compared(&[base, candidate]);
    let [location, _] = of(&verdicts, Aspect::Location)[..] else { panic!() };
    assert_eq!(location.row.boots, [12, 8]);
    assert!(location.row.reason.contains("cannot be read"), "{}", location.row.reason);
}

#[test]
fn swapped_and_equal_arguments_are_suspected() {
    let [mut base, candidate] = both();
    assert!(compared(&[base.clone(), base.clone()]).notes[0].contains("one and the same run"));
    base.0.started_unix = candidate.0.started_unix + 1;
    base.0.matrix.measure.windows += 1;
    insta::assert_snapshot!(compared(&[base, candidate]).notes.join("\n"), @r"
    the candidate was measured before the base: are they swapped?
    the sides were measured differently: windows was 51 and is 50
    ");
}

#[test]
fn a_run_with_one_side_is_no_comparison() {
    let [(run, mut records), _] = both();
    let why = |records: &[Record]| {
        Comparison::of_sides(&run, records, &policy()).unwrap_err().to_string()
    };
    insta::assert_snapshot!(why(&records), @"it has no records of a base: name the run to compare it with");
    records[0].side = "third".into();
    insta::assert_snapshot!(why(&records), @"it has records of side `third`, neither `base` nor `candidate`");
    assert!(Comparison::of_sides(&run, &[], &policy()).is_err());
}

#[test]
fn nothing_at_all_is_said_to_be_nothing() {
    let [(run, _), _] = both();
    let verdicts = compared(&[(run.clone(), Vec::new()), (run, Vec::new())]);
    assert_eq!(
        verdicts.overall.sentence,
        "nothing was compared; incomplete: 10 of 10 boots of the base left no record and 10 of 10 boots of the candidate left no record; figures inform and do not gate: the two runs were not measured interleaved"
    );
    assert_eq!((verdicts.end(false), verdicts.end(true)), (End::Fine, End::Inconclusive));
}

#[test]
fn a_table_begins_with_what_must_be_known_and_tells_alike_what_ended_alike() {
    let [base, mut candidate] = both();
    let second = candidate.0.cells[1].cell.id();
    candidate.1.retain(|record| record.cell != second || record.boot < 5);
    candidate.1[0].outcome = Outcome::Failed { reason: "no answer".into() };
    candidate.1[0].workloads.clear();
    candidate.0.matrix.measure.windows += 1;
    let verdicts = compared(&[base, candidate]);
    let table = Table(&verdicts, Extent::Usual).to_string();
    let (rows, _) = table.split_once("\npolicy ").unwrap();
    insta::assert_snapshot!(rows, @r"
inconclusive: no regression in 2 cells; some boots of 1 cell fail; of 11 verdicts that gate 2
equivalent, 9 inconclusive; figures inform and do not gate: the two runs were not measured
interleaved

note: the sides were measured differently: windows was 50 and is 51

inconclusive: not told from chance: 1 of 12 boots fail in the candidate, 0 of 12 in the base: no
  answer
    workload  aspect        candidate / base   p      boots  detectable  needs
  running/netns/bridge/stock/idle
    tcp-rr    outcome       -                  1.000  12+12

inconclusive: no transaction longer than 10 ms; the policy asks for 7 boots a side
    workload  aspect        candidate / base   p      boots  detectable  needs
  running/netns/bridge/stock/noisy
    tcp-rr    stall         -                  -      12+5

inconclusive: one mode; the policy asks for 7 boots a side
    workload  aspect        candidate / base   p      boots  detectable  needs
  running/netns/bridge/stock/noisy
    tcp-rr    modes         -                  -      12+5

inconclusive: cannot be told from the margin
    workload  aspect        candidate / base   p      boots  detectable  needs
  running/netns/bridge/stock/idle
    tcp-rr    tail          ×1.06 [0.92–1.23]  0.929  12+11  ×1.50       98
    tcp-rr    dispersion    ×1.02 [0.90–1.15]  0.929  12+11  ×1.42       69
    tcp-rr    location      ×1.01 [0.98–1.05]  0.929  12+11  ×1.09       102

inconclusive: cannot be told from the margin; the policy asks for 7 boots a side
    workload  aspect        candidate / base   p      boots  detectable  needs
  running/netns/bridge/stock/noisy
    tcp-rr    tail          ×0.95 [0.80–1.14]  0.976  12+5   ×1.64       66
    tcp-rr    location      ×1.03 [0.98–1.08]  0.768  12+5   ×1.14       84
    tcp-rr    dispersion    ×0.98 [0.85–1.12]  0.996  12+5   ×1.52       42

inconclusive (informational): shown and not judged, because its test errs too often
    workload  aspect        candidate / base   p      boots  detectable  needs
  running/netns/bridge/stock/idle
    tcp-rr    between-boot  ×1.28 [0.66–2.51]  0.768  12+11
  running/netns/bridge/stock/noisy
    tcp-rr    between-boot  ×0.97 [0.35–2.71]  0.955  12+5

2 equivalent

p: chance of so much without any change beyond the margin, corrected for all that is judged
detectable: the smallest change for the worse that so many boots show in 90 % of cases
needs: boots a side that would show a change as large as it looks, or of twice the margin
informational: it is told, and changes no exit code
");
    let markdown = Markdown(&verdicts).to_string();
    let (rows, _) = markdown.split_once("<details>").unwrap();
    insta::assert_snapshot!(rows, @r"
**no regression in 2 cells; some boots of 1 cell fail; of 11 verdicts that gate 2 equivalent, 9 inconclusive; figures inform and do not gate: the two runs were not measured interleaved**

> the sides were measured differently: windows was 50 and is 51

| verdict | cell | workload | aspect | candidate / base | p | why |
|---|---|---|---|--:|--:|---|
| inconclusive | running/netns/bridge/stock/idle | tcp-rr | outcome | - | 1.000 | not told from chance: 1 of 12 boots fail in the candidate, 0 of 12 in the base: no answer |
| inconclusive | running/netns/bridge/stock/noisy | tcp-rr | stall | - | - | no transaction longer than 10 ms in 17 boots |
| inconclusive | running/netns/bridge/stock/noisy | tcp-rr | modes | - | - | one mode in 17 boots |
| inconclusive | running/netns/bridge/stock/idle | tcp-rr | tail | ×1.06 [0.92–1.23] | 0.929 | tail ×1.06 \[0.92–1.23\]: cannot be told from the margin ×1.1; 12 + 11 boots; ×1.50 could be seen; about 98 boots a side would show ×1.21 |
| inconclusive | running/netns/bridge/stock/noisy | tcp-rr | tail | ×0.95 [0.80–1.14] | 0.976 | tail ×0.95 \[0.80–1.14\]: cannot be told from the margin ×1.1; 12 + 5 boots, the policy asks for 7 a side; ×1.64 could be seen; about 66 boots a side would show ×1.21 |
| inconclusive | running/netns/bridge/stock/noisy | tcp-rr | location | ×1.03 [0.98–1.08] | 0.768 | median ×1.03 \[0.98–1.08\]: cannot be told from the margin ×1.02; 12 + 5 boots, the policy asks for 7 a side; ×1.14 could be seen; about 84 boots a side would show ×1.04 |
| inconclusive | running/netns/bridge/stock/noisy | tcp-rr | dispersion | ×0.98 [0.85–1.12] | 0.996 | spread inside a boot ×0.98 \[0.85–1.12\]: cannot be told from the margin ×1.1; 12 + 5 boots, the policy asks for 7 a side; ×1.52 could be seen; about 42 boots a side would show ×1.21 |
| inconclusive | running/netns/bridge/stock/idle | tcp-rr | dispersion | ×1.02 [0.90–1.15] | 0.929 | spread inside a boot ×1.02 \[0.90–1.15\]: cannot be told from the margin ×1.1; 12 + 11 boots; ×1.42 could be seen; about 69 boots a side would show ×1.21 |
| inconclusive | running/netns/bridge/stock/idle | tcp-rr | location | ×1.01 [0.98–1.05] | 0.929 | median ×1.01 \[0.98–1.05\]: cannot be told from the margin ×1.02; 12 + 11 boots; ×1.09 could be seen; about 102 boots a side would show ×1.04 |
| inconclusive (informational) | running/netns/bridge/stock/idle | tcp-rr | between-boot | ×1.28 [0.66–2.51] | 0.768 | spread between boots ×1.28 \[0.66–2.51\]: shown and not judged, because its test errs too often; 12 + 11 boots |
| inconclusive (informational) | running/netns/bridge/stock/noisy | tcp-rr | between-boot | ×0.97 [0.35–2.71] | 0.955 | spread between boots ×0.97 \[0.35–2.71\]: shown and not judged, because its test errs too often; 12 + 5 boots |

2 equivalent.
");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_was_measured_is_judged_without_a_number_that_is_none(
        middles in proptest::collection::vec((1f64..1e12, 0f64..1e9, 1usize..60), 2..14), seed: u64,
    ) {
        let cell = &cells()[..1];
        let mut random = fastrand::Rng::with_seed(seed);
        let records = middles.iter().enumerate().map(|(at, (middle, width, count))| Record {
            side: [BASE, CANDIDATE][at % 2].into(),
            position: random.u32(0..3),
            ..record(&cell[0], (at / 2) as u32, "tcp-rr", latencies(&bell(*middle, *width, *count)))
        });
        let both = (run(cell), records.collect::<Vec<_>>());
        let verdicts = judged(&both);
        for decision in &verdicts.decisions {
            let row = &decision.row;
            for number in [row.ratio, row.low, row.high, row.p, row.p_corrected, row.detectable_ratio].into_iter().flatten() {
                prop_assert!(number.is_finite() && number >= 0.0, "{row:?}");
            }
            prop_assert!(!row.reason.is_empty());
        }
        prop_assert!(json(&verdicts).is_ok());
        let table = Table(&verdicts, Extent::Usual).to_string();
        prop_assert!(!table.contains("NaN"));
        prop_assert!(table.lines().all(|line| line.chars().count() <= 100), "{}", table);
        // The same input gives the same answer.
        prop_assert_eq!(&judged(&both), &verdicts);
    }
}

#[test]
fn what_there_is_too_little_of_is_told_by_how_much_there_is() {
    let told = |boots: [u32; 2], aspect: Aspect| {
        let mut both = both();
        for (at, (_, records)) in both.iter_mut().enumerate() {
            records.retain(|record| record.boot < boots[at]);
        }
        of(&compared(&both), aspect)[0].row.reason.clone()
    };
    insta::assert_snapshot!(told([6, 1], Aspect::Dispersion), @"no interval: 6 + 1 boots have this figure, and it takes 2 a side");
    insta::assert_snapshot!(told([2, 2], Aspect::BetweenBoot), @"no ratio: a side has 2 boots, and a spread takes 3");
    // Boots of the host that differ between the sides, and of which one begins in a block of the other side's.
    let (run, mut records) = interleaved(&cells()[..1], 12, 20, |_, _| STEADY);
    for record in &mut records {
        let later = if record.side == BASE { 0 } else { 2 };
        record.host_boot = format!("{} {}", record.side, (record.block + later) / 4);
    }
    let verdicts = judged(&(run, records));
    insta::assert_snapshot!(of(&verdicts, Aspect::Location)[0].row.reason, @"no interval: of 3 + 4 boots, fewer than two blocks hold both sides; 12 and 12 starts under different boots of the host, each of which counts once: 3 and 4");
}

#[test]
fn what_somebody_else_measured_of_a_guest_informs_unless_it_says_what_ran_it() {
    let imported = |accelerator: Option<&str>| {
        let mut both = both();
        for (_, records) in &mut both {
            for record in records {
                record.cell = record.cell.replace("netns", "qemu");
                record.instrument = [("source".to_owned(), "csv".to_owned())].into();
                let of = accelerator.map(|of| ("accelerator".to_owned(), of.to_owned()));
                record.instrument.extend(of);
            }
        }
        for (run, _) in &mut both {
            run.cells.iter_mut().for_each(|planned| planned.cell.virtualization = "qemu".into());
        }
        compared(&both)
    };
    let gate = |verdicts: &Verdicts| verdicts.decisions.iter().any(|decision| decision.row.gates);
    assert!(gate(&imported(Some("kvm"))));
    assert!(!gate(&imported(Some("tcg"))) && !gate(&imported(None)));
    assert!(reasons(&imported(None)).contains("imported without its accelerator"));
}
