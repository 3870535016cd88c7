//! Each fault is found as what it is, where it is, and nowhere else.

use super::*;

const ONE: &str = "running/docker/bridge/stock/idle";

/// Twelve cells, a fault in one of them.
fn with_fault(seed: u64, fault: Temper) -> Verdicts {
    let temper = |cell: &Cell, side: &str| {
        if side == CANDIDATE && cell.id() == ONE { fault } else { STEADY }
    };
    judged(&interleaved(&cells(), 20, seed, temper))
}

#[test]
fn nothing_is_found_where_nothing_changed() {
    for seed in 0..4 {
        let verdicts = with_fault(seed, STEADY);
        assert_eq!(flagged(&verdicts), [""; 0], "{}", verdicts.overall.sentence);
        assert_eq!(verdicts.gate, Gate::Gates);
        assert_eq!(verdicts.end(false), End::Fine);
    }
}

#[test]
fn a_fault_of_one_cell_is_found_there_as_what_it_is() {
    for (fault, aspects) in [
        (Temper { width: 2_000.0, ..STEADY }, &["dispersion", "tail"][..]),
        (Temper { middle: 26_000.0, ..STEADY }, &["location"]),
        (Temper { tail: 3.0, ..STEADY }, &["tail"]),
        (Temper { stalls: 3, ..STEADY }, &["stall"]),
    ] {
        let verdicts = with_fault(5, fault);
        let found = flagged(&verdicts);
        assert!(!found.is_empty(), "{aspects:?}: {}", verdicts.overall.sentence);
        for flag in &found {
            let (cell, aspect) = flag.split_once(' ').unwrap();
            assert!(cell == ONE && aspects.contains(&aspect), "{aspects:?}: {found:?}");
        }
        assert!(found.iter().any(|flag| flag.ends_with(aspects[0])), "{aspects:?}: {found:?}");
        assert_eq!(verdicts.end(false), End::Regressed);
        assert!(verdicts.overall.sentence.contains(ONE), "{}", verdicts.overall.sentence);
    }
}

#[test]
fn a_second_mode_is_found_as_a_mode_and_its_places_are_told() {
    let verdicts = with_fault(6, Temper { second: 0.4, ..STEADY });
    let modes = of(&verdicts, Aspect::Modes);
    let flags: Vec<_> = modes.iter().filter(|decision| decision.flags()).collect();
    let [flag] = flags[..] else { panic!("{}", verdicts.overall.sentence) };
    assert_eq!(flag.row.cell, ONE);
    let reason = &flag.row.reason;
    assert!(
        reason.contains(
            "more than one mode in 0 of 20 boots of the base and 20 of 20 of the candidate"
        ),
        "{reason}"
    );
    assert!(reason.contains("the candidate's lie about "), "{reason}");
    for quiet in modes.iter().filter(|decision| decision.row.cell != ONE) {
        assert_eq!((quiet.verdict, quiet.row.ratio), (Verdict::Equivalent, None));
        assert!(quiet.row.reason.starts_with("one mode in 40 boots"), "{}", quiet.row.reason);
    }
}

#[test]
fn the_opposite_is_an_improvement() {
    let temper = |_: &Cell, side: &str| match side {
        BASE => Temper { width: 2_500.0, ..STEADY },
        _ => STEADY,
    };
    let verdicts = judged(&interleaved(&cells()[..2], 20, 7, temper));
    assert_eq!(flagged(&verdicts), [""; 0]);
    for decision in of(&verdicts, Aspect::Dispersion) {
        assert_eq!(decision.verdict, Verdict::Improved, "{}", decision.row.reason);
        assert!(decision.row.ratio.unwrap() < 0.6 && decision.harm.unwrap() < 0.0);
    }
    assert_eq!(verdicts.end(false), End::Fine);
    assert!(verdicts.overall.sentence.contains("improved: "), "{}", verdicts.overall.sentence);
}

#[test]
fn boots_that_lie_wider_are_told_and_not_judged() {
    let temper = |_: &Cell, side: &str| match side {
        CANDIDATE => Temper { between: 0.3, ..STEADY },
        _ => STEADY,
    };
    let verdicts = judged(&interleaved(&cells()[..1], 30, 8, temper));
    let [between] = of(&verdicts, Aspect::BetweenBoot)[..] else { panic!() };
    assert!(between.row.ratio.unwrap() > 4.0, "{}", between.row.reason);
    assert_eq!(between.verdict, Verdict::Inconclusive, "{}", between.row.reason);
    assert!(between.row.reason.contains("its test errs too often"), "{}", between.row.reason);
    assert!(!between.row.gates && !between.flags());
}

#[test]
fn a_rate_that_falls_is_worse() {
    let cells = &cells()[..1];
    let mut random = fastrand::Rng::with_seed(9);
    let records = (0..12).flat_map(|block| {
        [(BASE, 1e9), (CANDIDATE, 0.8e9)].map(|(side, level)| Record {
            side: side.into(),
            position: u32::from((side == BASE) == (block % 2 == 0)),
            ..record(
                &cells[0],
                block,
                "tcp-stream",
                rates(
                    &(0..120)
                        .map(|_| level * (0.02 * chance(&mut random)).exp())
                        .collect::<Vec<_>>(),
                ),
            )
        })
    });
    let records: Vec<Record> = records.collect();
    let verdicts = judged(&(run(cells), records));
    let [location] = of(&verdicts, Aspect::Location)[..] else { panic!() };
    assert_eq!(location.verdict, Verdict::Regressed, "{}", location.row.reason);
    let (ratio, low, high) =
        (location.row.ratio.unwrap(), location.row.low.unwrap(), location.row.high.unwrap());
    assert!((0.79..0.81).contains(&ratio) && low < ratio && ratio < high, "{ratio} {low} {high}");
    assert!(location.row.detectable_ratio.unwrap() < 1.0, "{:?}", location.row.detectable_ratio);
    assert!(of(&verdicts, Aspect::Stall).is_empty());
    assert_eq!(of(&verdicts, Aspect::Tail)[0].row.figure.as_deref(), Some("worst_tenth"));
}

/// Every cell whose id has this in it gets wider.
fn where_wide(word: &[&str]) -> Verdicts {
    let temper = |cell: &Cell, side: &str| match side {
        CANDIDATE if word.iter().any(|word| cell.id().contains(word)) => {
            Temper { width: 3_000.0, middle: 20_000.0, ..STEADY }
        }
        _ => STEADY,
    };
    judged(&interleaved(&cells(), 20, 10, temper))
}

#[test]
fn a_factor_is_named_only_where_all_its_cells_agree() {
    let sentence = |words: &[&str]| where_wide(words).overall.sentence;
    insta::assert_snapshot!(sentence(&["/bridge/"]), @"4 of 12 cells regressed: tcp-rr tail ×2.67 to ×3.17 and tcp-rr dispersion ×2.88 to ×3.08 in all 4 bridge cells; of 60 verdicts that gate 32 equivalent, 20 inconclusive");
    insta::assert_snapshot!(sentence(&["docker/bridge/stock/idle"]), @"1 of 12 cells regressed: tcp-rr dispersion ×3.05 [2.80–3.31] and tcp-rr tail ×3.03 [2.77–3.32] in running/docker/bridge/stock/idle; of 60 verdicts that gate 32 equivalent, 26 inconclusive");
    insta::assert_snapshot!(sentence(&["docker/bridge/", "netns/bridge/stock/idle"]), @"3 of 12 cells regressed: tcp-rr tail ×2.67 to ×3.17 and tcp-rr dispersion ×2.88 to ×3.08 in running/docker/bridge/stock/idle and running/docker/bridge/stock/noisy and running/netns/bridge/stock/idle; of 60 verdicts that gate 32 equivalent, 22 inconclusive");
    insta::assert_snapshot!(sentence(&["/bridge/", "docker/nat/stock/noisy"]), @"5 of 12 cells regressed: tcp-rr tail ×2.67 to ×3.17 and tcp-rr dispersion ×2.88 to ×3.08 in all 4 bridge cells and running/docker/nat/stock/noisy; of 60 verdicts that gate 31 equivalent, 19 inconclusive");
    insta::assert_snapshot!(sentence(&["/"]), @"12 of 12 cells regressed: tcp-rr tail ×2.67 to ×3.17 and tcp-rr dispersion ×2.88 to ×3.16 in all 12 cells; of 60 verdicts that gate 29 equivalent, 7 inconclusive");
}

#[test]
fn stored_runs_inform() {
    let wide = |_: &Cell, side: &str| match side {
        CANDIDATE => Temper { width: 3_000.0, ..STEADY },
        _ => STEADY,
    };
    let both = apart(&interleaved(&cells()[..2], 20, 11, wide));
    let verdicts = compared(&both);
    assert_eq!(of(&verdicts, Aspect::Dispersion)[0].verdict, Verdict::Regressed);
    assert_eq!((verdicts.end(false), verdicts.end(true)), (End::Fine, End::Inconclusive));
    assert_eq!(verdicts.overall.verdict, "regressed");
    insta::assert_snapshot!(verdicts.overall.sentence, @"2 of 2 cells regressed: tcp-rr dispersion ×2.95 to ×3.09 and tcp-rr tail ×2.95 to ×3.01 in all 2 cells; of 10 verdicts that gate 5 equivalent, 1 inconclusive; figures inform and do not gate: the two runs were not measured interleaved");
}

#[test]
fn a_run_that_drifts_is_void_with_the_sign() {
    let both = interleaved(&cells(), 12, 12, |_, _| STEADY);
    let slower = |factor: f64| {
        let mut random = fastrand::Rng::with_seed(1);
        let records = both.1.iter().map(|record| {
            let middle = STEADY.middle * factor.powf(f64::from(record.block) / 11.0);
            let wide = if record.side == CANDIDATE { 3.0 } else { 1.0 };
            let temper = Temper { middle, width: wide * STEADY.width, ..STEADY };
            let mut record = record.clone();
            record.workloads[0].samples = latencies(&transactions(&temper, &mut random));
            record
        });
        judged(&(both.0.clone(), records.collect()))
    };
    let verdicts = slower(1.3);
    let Gate::Void { why } = &verdicts.gate else { panic!("{:?}", verdicts.checks) };
    assert!(why.starts_with("the host drifted: median of tcp-rr +"), "{why}");
    // What is flagged in such a run is neither a regression nor nothing.
    assert_eq!(verdicts.end(false), End::Inconclusive);
    assert_eq!(verdicts.overall.verdict, "inconclusive");
    assert!(verdicts.overall.sentence.starts_with("void: the host drifted"));
    let Gate::Void { why } = &slower(0.7).gate else { panic!() };
    assert!(why.contains("median of tcp-rr −"), "{why}");
    assert_eq!(slower(1.01).gate, Gate::Gates);
}

#[test]
fn a_run_in_which_order_or_place_matters_is_void() {
    let void = |slower: &dyn Fn(&Record) -> f64| {
        let (run, mut records) = interleaved(&cells(), 12, 22, |_, _| STEADY);
        let mut random = fastrand::Rng::with_seed(3);
        for record in &mut records {
            let temper = Temper { middle: STEADY.middle * slower(record), ..STEADY };
            record.workloads[0].samples = latencies(&transactions(&temper, &mut random));
        }
        let verdicts = judged(&(run, records));
        assert_eq!(flagged(&verdicts), [""; 0], "{}", verdicts.overall.sentence);
        match verdicts.gate {
            Gate::Void { why } => why,
            other => panic!("{other:?} {:?}", verdicts.checks),
        }
    };
    let why = void(&|record| if record.position.is_multiple_of(2) { 1.0 } else { 1.2 });
    assert!(why.starts_with("the order of the sides matters: median of tcp-rr +"), "{why}");
    // The cells lie at the same place in every block here, so the place is that of the order; blocks in turned order tell it.
    let place = |record: &Record| {
        let place = record.position / 2;
        let place = if record.block.is_multiple_of(2) { place } else { 11 - place };
        (place, 1.0 + 0.03 * f64::from(place))
    };
    let (run, mut records) = interleaved(&cells(), 12, 23, |_, _| STEADY);
    let mut random = fastrand::Rng::with_seed(4);
    for record in &mut records {
        let (at, slower) = place(record);
        record.position = 2 * at + record.position % 2;
        let temper = Temper { middle: STEADY.middle * slower, ..STEADY };
        record.workloads[0].samples = latencies(&transactions(&temper, &mut random));
    }
    let verdicts = judged(&(run, records));
    let Gate::Void { why } = &verdicts.gate else { panic!("{:?}", verdicts.checks) };
    assert!(why.contains("the place in a block matters: median of tcp-rr +"), "{why}");
}

#[test]
fn cells_that_one_side_lacks_do_not_speak_against_a_factor() {
    let temper = |cell: &Cell, side: &str| match side {
        CANDIDATE if cell.on(crate::matrix::Axis::Network) == "bridge" => {
            Temper { width: 3_000.0, ..STEADY }
        }
        _ => STEADY,
    };
    let (run, mut records) = interleaved(&cells(), 20, 24, temper);
    let lost = "running/netns/bridge/stock/noisy";
    records.retain(|record| record.cell != lost || record.side == BASE);
    let sentence = judged(&(run, records)).overall.sentence;
    assert!(
        sentence.contains("in all 3 bridge cells") && sentence.contains("1 missing"),
        "{sentence}"
    );
}

#[test]
fn sides_in_blocks_of_their_own_inform() {
    let (run, mut records) = interleaved(&cells()[..2], 12, 13, |_, _| STEADY);
    for record in &mut records {
        record.block = 2 * record.block + u32::from(record.side == CANDIDATE);
    }
    let verdicts = judged(&(run.clone(), records.clone()));
    assert!(
        matches!(&verdicts.gate, Gate::Informs { why } if why.contains("blocks of a cell hold both"))
    );
    // The same where one side always comes first.
    let (_, mut records) = interleaved(&cells()[..2], 12, 13, |_, _| STEADY);
    for record in &mut records {
        record.position = u32::from(record.side == CANDIDATE);
    }
    let verdicts = judged(&(run, records));
    assert!(
        matches!(&verdicts.gate, Gate::Informs { why } if why == "the base came first in every block")
    );
}

#[test]
fn noisy_blocks_are_left_out_on_both_sides() {
    let (run, mut records) = interleaved(&cells()[..2], 12, 14, |_, _| STEADY);
    let noise = evenkeel_agent::samples::Noise { steal_ns: 900_000_000, ..Default::default() };
    let first = records[0].cell.clone();
    for record in records.iter_mut().filter(|r| r.cell == first && r.block < 2 && r.side == BASE) {
        record.noise = Some(noise);
    }
    let verdicts = judged(&(run.clone(), records.clone()));
    let boots = of(&verdicts, Aspect::Location).iter().map(|d| d.row.boots).collect::<Vec<_>>();
    assert_eq!(boots, [[10, 10], [12, 12]]);
    assert!(
        verdicts.notes.iter().any(|note| note.contains("2 blocks left out")),
        "{:?}",
        verdicts.notes
    );
    for record in &mut records {
        record.noise = Some(noise);
    }
    let verdicts = judged(&(run, records));
    assert!(
        verdicts
            .decisions
            .iter()
            .all(|d| d.verdict == Verdict::Inconclusive && d.row.reason.contains("too noisy"))
    );
    assert_eq!(verdicts.end(true), End::Inconclusive);
}

#[test]
fn what_is_accepted_does_not_gate_up_to_its_ratio_and_its_day() {
    let temper = |cell: &Cell, side: &str| match side {
        CANDIDATE if cell.id() == ONE => Temper { width: 2_000.0, ..STEADY },
        _ => STEADY,
    };
    let (mut run, records) = interleaved(&cells(), 20, 15, temper);
    // 2027-06-30 12:00.
    run.started_unix = 1_814_356_800;
    let by = |more: &str| {
        let text = format!("{}\n[[accept]]\n{more}\n", policy::EMBEDDED);
        judged_by((&run, &records), &policy::parse(&text, "p").unwrap())
    };
    let reason = "reason = 'a mitigation'";
    let verdicts = by(&format!("cells = 'docker'\nratio = 4.0\nuntil = '2027-06-30'\n{reason}"));
    assert_eq!(flagged(&verdicts), [""; 0], "{}", verdicts.overall.sentence);
    assert_eq!(verdicts.end(false), End::Fine);
    assert!(verdicts.overall.sentence.contains("accepted by the policy"));
    for (other, said) in [
        (
            "ratio = 4.0\nuntil = '2027-06-29'",
            "accepted no longer: everything up to ×4 until 2027-06-29: a mitigation",
        ),
        ("ratio = 1.2\nuntil = '2027-06-30'", "more than was accepted"),
        ("cells = 'netns'\nratio = 4.0\nuntil = '2027-06-30'", ""),
        ("workload = 'tcp-stream'\nratio = 4.0\nuntil = '2027-06-30'", ""),
        ("aspect = 'stall'\nratio = 4.0\nuntil = '2027-06-30'", ""),
    ] {
        let verdicts = by(&format!("{other}\n{reason}"));
        assert_eq!(verdicts.end(false), End::Regressed, "{other}");
        let told = verdicts.decisions.iter().map(|d| &d.row.reason).chain(&verdicts.notes);
        assert!(told.into_iter().any(|told| told.contains(said)), "{other}");
    }
}

#[test]
fn what_the_policy_does_not_gate_informs() {
    let temper = |_: &Cell, side: &str| match side {
        CANDIDATE => Temper { width: 3_000.0, ..STEADY },
        _ => STEADY,
    };
    let (run, records) = interleaved(&cells()[..2], 20, 16, temper);
    let text =
        policy::EMBEDDED.replace("[\"location\", \"dispersion\", \"tail\", ", "[\"location\", ");
    let verdicts = judged_by((&run, &records), &policy::parse(&text, "p").unwrap());
    assert_eq!(verdicts.end(false), End::Fine);
    assert!(
        verdicts.overall.sentence.contains("only to inform: "),
        "{}",
        verdicts.overall.sentence
    );
    let text = format!("{}\n", policy::EMBEDDED)
        .replace("# workloads = [\"tcp-rr\"]", "workloads = [\"tcp-stream\"]");
    let verdicts = judged_by((&run, &records), &policy::parse(&text, "p").unwrap());
    assert!(verdicts.decisions.iter().all(|decision| !decision.row.gates));
    // What nothing gates decides nothing.
    assert_eq!(
        (verdicts.end(false), verdicts.overall.verdict.as_str()),
        (End::Fine, "inconclusive")
    );
}

#[test]
fn emulated_figures_inform_and_emulated_failures_gate() {
    let temper = |_: &Cell, side: &str| match side {
        CANDIDATE => Temper { width: 3_000.0, ..STEADY },
        _ => STEADY,
    };
    let (run, mut records) = interleaved(&cells()[..2], 20, 17, temper);
    for record in &mut records {
        record.instrument.insert("accelerator".into(), "tcg".into());
    }
    let verdicts = judged(&(run.clone(), records.clone()));
    assert_eq!(of(&verdicts, Aspect::Dispersion)[0].verdict, Verdict::Regressed);
    assert_eq!(verdicts.end(false), End::Fine);
    let reason = &of(&verdicts, Aspect::Dispersion)[0].row.reason;
    assert!(reason.contains("emulated: informs only"), "{reason}");
    for record in records.iter_mut().filter(|r| r.side == CANDIDATE) {
        record.outcome = Outcome::Failed { reason: "the guest panicked: not syncing".into() };
        record.workloads.clear();
    }
    let verdicts = judged(&(run, records));
    assert_eq!(verdicts.end(false), End::Regressed);
    insta::assert_snapshot!(verdicts.overall.sentence, @"2 of 2 cells regressed: tcp-rr fails in all 2 cells");
}

#[test]
fn starts_under_other_boots_of_the_host_are_one_observation_each() {
    let [base, mut candidate] = apart(&interleaved(&cells()[..1], 12, 18, |_, _| STEADY));
    for record in &mut candidate.1 {
        record.host_boot = "another".into();
    }
    let verdicts = compared(&[base.clone(), candidate.clone()]);
    let [location] = of(&verdicts, Aspect::Location)[..] else { panic!() };
    assert_eq!((location.verdict, location.row.boots), (Verdict::Inconclusive, [1, 1]));
    assert!(
        location.row.reason.contains("12 and 12 starts under different boots of the host"),
        "{}",
        location.row.reason
    );
    // A lab starts a kernel anew for each block.
    let mut base = base;
    for (side, records) in [("base", &mut base.1), ("candidate", &mut candidate.1)] {
        records.iter_mut().for_each(|record| record.host_boot = format!("{side} {}", record.block));
    }
    let verdicts = compared(&[base, candidate]);
    assert_eq!(of(&verdicts, Aspect::Location)[0].row.boots, [12, 12]);
}

#[test]
fn each_cell_with_a_confirmed_flag_gets_one_boot_that_tells_what_it_coincides_with() {
    let cells = cells();
    let wide = |cell: &Cell, side: &str| {
        let bad = side == CANDIDATE && *cell == cells[1];
        Temper { width: if bad { 2_500.0 } else { 1_000.0 }, ..STEADY }
    };
    let (run, records) = interleaved(&cells[..3], 12, 31, wide);
    let verdicts = judged_by((&run, &records), &policy());
    let bad = cells[1].id();
    assert!(verdicts.decisions.iter().filter(|of| of.flags()).count() > 1);
    assert_eq!(diagnosis::cells(&verdicts).into_iter().collect::<Vec<_>>(), [bad.as_str()]);
    // Each flag of that cell is told by the one boot, and one that failed says so.
    let boot = record(&cells[1], 12, "tcp-rr", latencies(&[20_000; 1200]));
    let told = diagnosis::all(&verdicts, &records, &[boot]);
    assert_eq!(told.len(), verdicts.decisions.iter().filter(|of| of.flags()).count());
    assert!(told.iter().all(|of| of.cell == bad && of.told.contains("10 windows are too few")));
    let told = diagnosis::all(&verdicts, &records, &[failed(&cells[1], 12, "no memory")]);
    assert!(told.iter().all(|of| of.told.ends_with("failed: no memory")));
    // A void run has confirmed nothing, and one that changed nothing either.
    let void = Verdicts { gate: Gate::Void { why: "it drifted".into() }, ..verdicts };
    assert!(diagnosis::cells(&void).is_empty());
    let calm = interleaved(&cells[..3], 12, 31, |_, _| STEADY);
    assert!(diagnosis::cells(&judged(&calm)).is_empty());
}

/// Of one cell the candidate's MAD is a twentieth and its SD many times larger, because it stalls; another is better in everything.
fn mad_falls_and_stalls_come(boots: u32) -> (Run, Vec<Record>) {
    interleaved(&cells()[..3], boots, 31, |cell, side| match (&*cell.network, &*cell.load) {
        ("bridge", "noisy") if side == CANDIDATE => {
            Temper { width: STEADY.width / 20.0, stalls: 2, ..STEADY }
        }
        ("nat", _) if side == CANDIDATE => Temper { width: STEADY.width / 20.0, ..STEADY },
        _ => STEADY,
    })
}

#[test]
fn what_is_better_is_not_praised_where_something_got_worse() {
    let run = mad_falls_and_stalls_come(12);
    let verdicts = judged(&run);
    insta::assert_snapshot!(verdicts.overall.sentence, @"1 of 3 cells regressed: tcp-rr stall ×1.87 [1.87–1.88] in running/netns/bridge/stock/noisy; rose while the MAD fell: tcp-rr SD ×1,008 [921–1,102] in running/netns/bridge/stock/noisy; improved: tcp-rr dispersion ×0.047 [0.043–0.053] and tcp-rr tail ×0.074 [0.067–0.080] in running/netns/nat/stock/idle; better in some figures and worse in others: running/netns/bridge/stock/noisy; of 15 verdicts that gate 5 equivalent, 6 inconclusive");
    let spreads = of(&verdicts, Aspect::Dispersion);
    let mixed = spreads.iter().find(|d| d.contrary.is_some()).unwrap();
    insta::assert_snapshot!(mixed.row.reason, @"spread inside a boot ×0.048 [0.043–0.054]: better beyond the margin ×1.1; 12 + 12 boots; but the SD ×1,008 [921–1,102]: far values, which a MAD does not feel");
    // Nor where a verdict stands alone: in a table, in a map of the cells.
    assert_eq!((mixed.verdict, &*mixed.row.verdict), (Verdict::Inconclusive, "inconclusive"));
    let better = verdicts.decisions.iter().filter(|d| d.verdict == Verdict::Improved);
    let better: Vec<(&str, bool)> =
        better.map(|d| (&*d.cell.network, d.row.beside_worse)).collect();
    assert!(better.contains(&("bridge", true)) && better.contains(&("nat", false)), "{better:?}");
    assert!(better.iter().all(|(network, mixed)| (*network == "bridge") == *mixed), "{better:?}");
    let table = Table(&verdicts, Extent::Usual).to_string();
    let [nat, bridge] = ["\nimproved: ", "\nimproved (its cell is worse elsewhere): "]
        .map(|head| table.find(head).expect(head));
    assert!(nat < bridge, "{table}");
    // A regression that somebody accepted is one.
    let text = "schema = 1\n[[accept]]\naspect = 'stall'\nratio = 1000\nreason = 'known'\nuntil = '2099-01-01'\n";
    let policy = policy::parse(text, "policy").unwrap();
    insta::assert_snapshot!(judged_by((&run.0, &run.1), &policy).overall.sentence, @"no regression in 3 cells; rose while the MAD fell: tcp-rr SD ×1,008 [921–1,102] in running/netns/bridge/stock/noisy; improved: tcp-rr dispersion ×0.047 [0.043–0.053] and tcp-rr tail ×0.074 [0.067–0.080] in running/netns/nat/stock/idle; better in some figures and worse in others: running/netns/bridge/stock/noisy; of 15 verdicts that gate 5 equivalent, 6 inconclusive; 1 accepted by the policy");
    // Few boots of runs that were cut short.
    let [mut base, mut candidate] = apart(&mad_falls_and_stalls_come(6));
    base.0.matrix.measure.boots = 12;
    candidate.0.matrix.measure.boots = 12;
    candidate.0.started_unix += 60;
    candidate.1.pop();
    insta::assert_snapshot!(compared(&[base, candidate]).overall.sentence, @"no regression in 3 cells; worse, but not told from chance: tcp-rr stall ×1.87 [1.86–1.88] in running/netns/bridge/stock/noisy; incomplete: 18 of 36 boots of the base left no record and 19 of 36 boots of the candidate left no record; of 15 verdicts that gate 15 inconclusive; figures inform and do not gate: the two runs were not measured interleaved");
}

#[test]
fn what_looks_worse_in_a_stored_run_is_named_before_what_is_better() {
    // Seven boots a side of runs apart: stalls of the candidate in most of them.
    let [base, mut candidate] = apart(&mad_falls_and_stalls_come(8));
    for record in candidate.1.iter_mut().filter(|r| r.boot < 4 && r.cell.contains("bridge")) {
        let transactions = bell(20_000.0 + f64::from(record.boot), 50.0, 1200);
        record.workloads[0].samples = latencies(&transactions);
    }
    candidate.0.started_unix += 60;
    insta::assert_snapshot!(compared(&[base, candidate]).overall.sentence, @"no regression in 3 cells; worse, but not told from chance: tcp-rr stall ×1.37 [1.03–1.81] in running/netns/bridge/stock/noisy; improved: tcp-rr dispersion ×0.046 [0.039–0.054] and tcp-rr tail ×0.072 [0.062–0.083] in running/netns/nat/stock/idle; better in some figures and worse in others: running/netns/bridge/stock/noisy; of 15 verdicts that gate 5 equivalent, 6 inconclusive; figures inform and do not gate: the two runs were not measured interleaved");
}
