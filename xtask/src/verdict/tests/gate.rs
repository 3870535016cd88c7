//! Gates that take boots until they know, on made-up boots that are drawn as they are asked for.

use super::sequential::Round;
use super::*;
use crate::record::Lost;

/// What a boot does: numbers, or a failure.
type Draw<'d> = &'d dyn Fn(&Cell, &str, u32) -> Result<Temper, &'static str>;

/// Six of the cells, of both kinds.
fn few() -> Vec<Cell> {
    cells()
        .into_iter()
        .filter(|cell| cell.network != "veth" || cell.load != "idle")
        .skip(2)
        .take(6)
        .collect()
}

/// A run that is measured against a base, before its first boot.
fn begun(cells: &[Cell]) -> Run {
    let run = run(cells);
    let base = Base {
        revision: "main".into(),
        commit: "0".repeat(40),
        matrix_text: String::new(),
        matrix: run.matrix.clone(),
        cells: run.cells.clone(),
        by_policy: true,
    };
    Run { base: Some(base), ..run }
}

/// Measures the rounds that a gate asks for, to its end.
fn measured(cells: &[Cell], seed: u64, draw: Draw<'_>) -> (Run, Vec<Record>) {
    measured_with(cells, seed, draw, &|_| false)
}

fn emulate(mut record: Record) -> Record {
    record.instrument.insert("accelerator".into(), "tcg".into());
    record
}

/// The same, of cells some of which are emulated.
fn measured_with(
    cells: &[Cell],
    seed: u64,
    draw: Draw<'_>,
    is_emulated: &dyn Fn(&Cell) -> bool,
) -> (Run, Vec<Record>) {
    let (run, policy) = (begun(cells), policy());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut records = Vec::new();
    let mut gate = Sequential::new(&run, &policy);
    while let Some(round) = gate.round().cloned() {
        records.extend(drawn(&round, cells, &mut random, draw).map(|record| {
            let cell = cells.iter().find(|cell| cell.id() == record.cell);
            if cell.is_some_and(is_emulated) { emulate(record) } else { record }
        }));
        gate =
            Sequential::replayed(&Comparison::of_sides(&run, &records, &policy).unwrap(), &policy);
        assert!(gate.round().is_none_or(|next| next.first == round.end()), "a round again");
    }
    (run, records)
}

/// The boots of a round.
fn drawn(
    round: &Round,
    cells: &[Cell],
    random: &mut fastrand::Rng,
    draw: Draw<'_>,
) -> std::vec::IntoIter<Record> {
    let mut records = Vec::new();
    for block in round.first..round.end() {
        let members = round.cells_of(block);
        for (place, cell) in cells.iter().filter(|c| members.contains(&*c.id())).enumerate() {
            for (side, name) in [BASE, CANDIDATE].into_iter().enumerate() {
                let order = if (block + place as u32).is_multiple_of(2) { side } else { 1 - side };
                let position = (2 * place + order) as u32;
                let record = match draw(cell, name, block) {
                    Ok(temper) => {
                        let samples = latencies(&transactions(&temper, random));
                        record(cell, block, "tcp-rr", samples)
                    }
                    Err(reason) => failed(cell, block, reason),
                };
                records.push(Record { side: name.into(), block, position, ..record });
            }
        }
    }
    records.into_iter()
}

/// One cell of these has a fault in the candidate.
fn faulty(fault: Temper) -> impl Fn(&Cell, &str, u32) -> Result<Temper, &'static str> {
    move |cell, side, _| {
        let at = cell.id() == "running/docker/bridge/stock/noisy" && side == CANDIDATE;
        Ok(if at { fault } else { STEADY })
    }
}

fn boots_of(records: &[Record], cell: &str) -> usize {
    records.iter().filter(|record| record.cell == cell && record.side == BASE).count()
}

#[test]
fn what_did_not_change_takes_few_boots_and_is_told_as_cleared() {
    let run = measured(&few(), 1, &faulty(STEADY));
    let verdicts = judged(&run);
    assert_eq!(flagged(&verdicts), Vec::<String>::new());
    let open = |d: &&Decision| d.row.gates && d.verdict == Verdict::Inconclusive && !d.cleared;
    let open: Vec<&Decision> = verdicts.decisions.iter().filter(open).collect();
    assert_eq!((verdicts.end(true), &verdicts.gate), (End::Fine, &Gate::Gates), "{open:?}");
    assert_eq!(verdicts.overall.verdict, "equivalent", "{}", verdicts.overall.sentence);
    let told = "without a sign of what the policy is to find";
    assert!(verdicts.overall.sentence.contains(told), "{}", verdicts.overall.sentence);
    let mean = run.1.len() as f64 / 2.0 / few().len() as f64;
    assert!((6.0..16.0).contains(&mean), "{mean}");
    let spread = of(&verdicts, Aspect::Dispersion)[0];
    assert!(spread.row.reason.contains("no sign of ×1.40"), "{}", spread.row.reason);
    assert_eq!(spread.row.detectable_ratio.map(|ratio| (ratio * 100.0).round()), Some(140.0));
}

#[test]
fn a_fault_of_one_cell_is_confirmed_on_fresh_boots_and_nothing_else_is() {
    let run = measured(&few(), 2, &faulty(Temper { width: STEADY.width * 1.6, ..STEADY }));
    let verdicts = judged(&run);
    let flags = flagged(&verdicts);
    let there = "running/docker/bridge/stock/noisy";
    assert!(flags.contains(&format!("{there} dispersion")), "{flags:?}");
    // What is wider has a wider tail.
    let tail = format!("{there} tail");
    assert!(flags.iter().all(|flag| flag.ends_with("dispersion") || *flag == tail), "{flags:?}");
    assert_eq!(verdicts.end(false), End::Regressed);
    let spreads = of(&verdicts, Aspect::Dispersion);
    let row = spreads.iter().find(|decision| decision.flags()).map(|d| &d.row).unwrap();
    // The boots by which it became a suspect are none of those that it is flagged by.
    let made = boots_of(&run.1, &row.cell) as u32;
    assert!(row.boots[0] >= 16 && row.boots[0] < made, "{row:?}, {made} boots");
    assert!(row.reason.contains("fresh boots"), "{}", row.reason);
    assert!(row.low.unwrap() < 1.6 && row.high.unwrap() > 1.45, "{row:?}");
    let [most_of_others] = [few().iter().map(Cell::id).filter(|id| *id != row.cell)]
        .map(|others| others.map(|id| boots_of(&run.1, &id)).max().unwrap());
    assert!(most_of_others <= 24, "{most_of_others}");
}

#[test]
fn what_is_better_is_confirmed_too() {
    let run = measured(&few(), 3, &faulty(Temper { width: STEADY.width / 2.0, ..STEADY }));
    let verdicts = judged(&run);
    assert_eq!((flagged(&verdicts).len(), verdicts.end(true)), (0, End::Fine));
    let better: Vec<&Decision> =
        verdicts.decisions.iter().filter(|d| d.verdict == Verdict::Improved).collect();
    let there = better.iter().all(|d| d.row.cell == "running/docker/bridge/stock/noisy");
    assert!(there && better[0].aspect == Aspect::Dispersion, "{better:?}");
    assert!(better[0].row.p_corrected.unwrap() <= 0.01, "{:?}", better[0].row);
}

#[test]
fn what_the_screen_cannot_tell_is_open_and_not_cleared() {
    // Boots' medians vary by 15 %: 24 of them do not tell a change by 5 %.
    let wild = Temper { between: 0.15, ..STEADY };
    let (run, records) = measured(&few(), 8, &|_, _, _| Ok(wild));
    let verdicts = judged(&(run, records));
    assert_eq!(flagged(&verdicts), Vec::<String>::new());
    let open = "the screen ended before it could be told from the margin ×1.02";
    let located = of(&verdicts, Aspect::Location);
    let open: Vec<_> = located.iter().filter(|d| d.row.reason.contains(open)).collect();
    assert!(!open.is_empty(), "{located:?}");
    for decision in open {
        assert_eq!((decision.verdict, decision.cleared), (Verdict::Inconclusive, false));
        // As much as could be seen, which is more than was to be found.
        assert!(decision.row.detectable_ratio > Some(1.05), "{:?}", decision.row);
    }
    assert_eq!((verdicts.end(false), verdicts.end(true)), (End::Fine, End::Inconclusive));
}

#[test]
fn what_fresh_boots_confirmed_stays_flagged_whatever_later_ones_lack() {
    let (run, mut records) =
        measured(&few(), 2, &faulty(Temper { width: STEADY.width * 1.6, ..STEADY }));
    let there = "running/docker/bridge/stock/noisy";
    let flag = |verdicts: &Verdicts| flagged(verdicts).contains(&format!("{there} dispersion"));
    assert!(flag(&judged_by((&run, &records), &policy())));
    // A block that nobody asked for, in which all transactions take equally long.
    let cell = few().into_iter().find(|cell| cell.id() == there).unwrap();
    let block = records.iter().map(|record| record.block).max().unwrap() + 1;
    for side in [BASE, CANDIDATE] {
        let flat = record(&cell, block, "tcp-rr", latencies(&[20_000; 1200]));
        records.push(Record { side: side.into(), block, ..flat });
    }
    assert!(flag(&judged_by((&run, &records), &policy())));
}

#[test]
fn a_cell_that_only_the_candidate_fails_needs_no_more_boots() {
    let fails =
        |cell: &Cell, side: &str, _| match cell.virtualization == "docker" && side == CANDIDATE {
            true => Err("the guest panics"),
            false => Ok(STEADY),
        };
    let run = measured(&few(), 4, &fails);
    let verdicts = judged(&run);
    assert_eq!(verdicts.end(false), End::Regressed);
    let failing = few().into_iter().filter(|cell| cell.virtualization == "docker").count();
    assert_eq!(flagged(&verdicts).len(), failing);
    assert_eq!(boots_of(&run.1, "running/docker/bridge/stock/idle"), 6);
}

#[test]
fn blocks_that_are_lost_are_made_up_for_but_not_without_end() {
    let sometimes = |cell: &Cell, side: &str, block: u32| match cell.virtualization.as_ref() {
        "docker" if side == BASE && block % 3 == 1 => Err("no memory"),
        "netns" if side == BASE && block > 0 => Err("no memory"),
        _ => Ok(STEADY),
    };
    let run = measured(&few(), 5, &sometimes);
    let verdicts = judged(&run);
    assert_eq!(flagged(&verdicts), Vec::<String>::new());
    let kept = of(&verdicts, Aspect::Location);
    let kept = kept.iter().find(|d| d.cell.virtualization == "docker").unwrap();
    assert!(kept.row.boots[0] >= 6, "{:?}", kept.row);
    // One block was kept: as many again are lost as the first round has, and then no more.
    assert!(boots_of(&run.1, "running/netns/nat/stock/idle") <= 14, "{}", run.1.len());
}

#[test]
fn a_run_that_ended_early_says_so_and_goes_on_where_it_was() {
    let (run, mut records) =
        measured(&few(), 6, &faulty(Temper { width: STEADY.width * 1.6, ..STEADY }));
    let policy = policy();
    let whole = judged_by((&run, &records), &policy);
    let last = records.pop().unwrap();
    let comparison = Comparison::of_sides(&run, &records, &policy).unwrap();
    let gate = Sequential::replayed(&comparison, &policy);
    assert_eq!(gate.round().map(|round| round.end()), Some(last.block + 1));
    let cut = judged_by((&run, &records), &policy);
    assert_eq!(flagged(&cut), Vec::<String>::new());
    assert_eq!(cut.end(true), End::Inconclusive);
    let row = of(&cut, Aspect::Dispersion).into_iter().find(|d| d.row.cell == last.cell).unwrap();
    assert!(row.row.reason.contains("the run ended before it could be told"), "{:?}", row.row);
    records.push(last);
    assert_eq!(judged_by((&run, &records), &policy).decisions, whole.decisions);
}

#[test]
fn the_rounds_do_not_depend_on_what_later_ones_say() {
    let (run, records) = measured(&few(), 7, &faulty(Temper { tail: 2.0, ..STEADY }));
    let policy = policy();
    let comparison = Comparison::of_sides(&run, &records, &policy).unwrap();
    let mut gate = Sequential::new(&run, &policy);
    let mut rounds = Vec::new();
    while let Some(round) = gate.round().cloned() {
        let known: Vec<Record> =
            records.iter().filter(|record| record.block < round.end()).cloned().collect();
        let so_far = Comparison::of_sides(&run, &known, &policy).unwrap();
        let replayed = Sequential::replayed(&so_far, &policy);
        gate.advance(&comparison);
        assert_eq!(replayed.round(), gate.round());
        rounds.push(round);
    }
    assert!(rounds.len() > 1);
    assert_eq!(rounds[0].boots(), 2 * 6 * 6);
}

/// The same, emulated: no figure of it gates.
fn emulated(cell: &Cell) -> bool {
    cell.virtualization == "docker"
}

/// A cell that fails in the candidate's boots for which this says so.
fn panics(in_boot: fn(u32) -> bool) -> impl Fn(&Cell, &str, u32) -> Result<Temper, &'static str> {
    move |cell, side, block| {
        let there = cell.id() == "running/docker/bridge/stock/noisy" && side == CANDIDATE;
        if there && in_boot(block) { Err("the guest panics") } else { Ok(STEADY) }
    }
}

#[test]
fn boots_that_fail_in_part_are_asked_for_until_chance_cannot_be_it_also_of_cells_that_do_not_gate()
{
    let there = "running/docker/bridge/stock/noisy";
    // Five of six fail: after the first round that is p 0.0076.
    let run = measured_with(&few(), 9, &panics(|block| block != 3), &emulated);
    let verdicts = judged(&run);
    assert_eq!(flagged(&verdicts), [format!("{there} outcome")], "{:?}", verdicts.notes);
    assert_eq!(verdicts.end(false), End::Regressed);
    let row = &of(&verdicts, Aspect::Outcome)[0].row;
    assert!(row.reason.ends_with("in the base: the guest panics"), "{}", row.reason);
    let boots = boots_of(&run.1, there);
    assert!((8..=16).contains(&boots), "{boots}");
    // The others of its kind got no more for it.
    assert!(boots_of(&run.1, "running/docker/bridge/stock/idle") < 8);
}

#[test]
fn what_fails_too_seldom_to_be_told_is_open_and_not_a_note() {
    let there = "running/docker/bridge/stock/noisy";
    let run = measured_with(&few(), 10, &panics(|block| block % 8 == 2), &emulated);
    let verdicts = judged(&run);
    assert_eq!(flagged(&verdicts), Vec::<String>::new());
    assert_eq!(boots_of(&run.1, there), policy().screen.most as usize);
    let [open] = of(&verdicts, Aspect::Outcome)[..] else { panic!("{:?}", verdicts.notes) };
    assert_eq!((open.verdict, open.row.gates, open.cleared), (Verdict::Inconclusive, true, false));
    insta::assert_snapshot!(open.row.reason, @"not told from chance: 3 of 24 boots fail in the candidate, 0 of 24 in the base: the guest panics");
    assert_eq!((verdicts.end(false), verdicts.end(true)), (End::Fine, End::Inconclusive));
    assert!(verdicts.overall.sentence.contains("some boots of 1 cell fail"));
}

#[test]
fn what_fails_as_often_on_both_sides_takes_few_boots_and_is_a_note() {
    let sometimes = |cell: &Cell, _: &str, block: u32| match emulated(cell) && block % 3 == 1 {
        true => Err("no memory"),
        false => Ok(STEADY),
    };
    let run = measured_with(&few(), 11, &sometimes, &emulated);
    let verdicts = judged(&run);
    assert!(of(&verdicts, Aspect::Outcome).is_empty(), "{:?}", verdicts.decisions);
    assert!(verdicts.notes.iter().any(|note| note.contains("boots fail in the candidate")));
    let made = boots_of(&run.1, "running/docker/bridge/stock/noisy");
    // As many as leave those that a verdict needs.
    assert!(made <= 12, "{made}");
}

#[test]
fn a_cell_that_always_fails_in_the_candidate_and_nearly_always_in_the_base_is_no_regression() {
    let fails = |cell: &Cell, side: &str, block: u32| {
        let fails = emulated(cell) && (side == CANDIDATE || block % 6 != 4);
        if fails { Err("the guest panics") } else { Ok(STEADY) }
    };
    let run = measured_with(&few(), 12, &fails, &emulated);
    let verdicts = judged(&run);
    assert_eq!(flagged(&verdicts), Vec::<String>::new());
    assert_eq!(verdicts.end(true), End::Inconclusive);
    let outcomes = of(&verdicts, Aspect::Outcome);
    assert!(outcomes.iter().all(|d| d.row.reason.starts_with("not told from chance: 24 of 24")));
    assert_eq!(outcomes.len(), few().iter().filter(|cell| emulated(cell)).count());
}

/// How often something is flagged of a cell that fails in so many of a hundred boots, on both sides alike.
#[test]
fn looks_at_boots_that_fail_keep_the_rate_of_errors() {
    let cells = &few()[..1];
    let (run, mut policy) = (begun(cells), policy());
    policy.errors.failures = 0.05;
    let mut random = fastrand::Rng::with_seed(13);
    let samples = latencies(&[20_000; 10]);
    let runs = 400;
    let flagged = (0..runs).filter(|_| {
        let mut records = Vec::new();
        let mut gate = Sequential::new(&run, &policy);
        while let Some(round) = gate.round().cloned() {
            for block in round.first..round.end() {
                for side in [BASE, CANDIDATE] {
                    let record = match random.f64() < 0.4 {
                        true => failed(&cells[0], block, "the guest panics"),
                        false => emulate(record(&cells[0], block, "tcp-rr", samples.clone())),
                    };
                    records.push(Record { side: side.into(), block, ..record });
                }
            }
            gate.catch_up(&Comparison::of_sides(&run, &records, &policy).unwrap());
        }
        let comparison = Comparison::of_sides(&run, &records, &policy).unwrap();
        let found = failing::decide(&comparison.pairs(&policy), true, &policy);
        found.decisions.iter().any(|of| of.verdict == Verdict::Regressed)
    });
    let flagged = flagged.count();
    // 20 are expected at most; more than 36 by chance once in a thousand.
    assert!(flagged <= 36, "{flagged} of {runs}");
}

#[test]
fn a_gate_goes_on_without_a_cell_that_the_host_has_no_longer_and_says_so() {
    let (cells, policy) = (few(), policy());
    let gone = "running/docker/bridge/stock/idle";
    // Both would be asked for more, each in the same cells.
    let wide = Temper { width: STEADY.width * 1.6, ..STEADY };
    let draw = |cell: &Cell, side: &str, _: u32| {
        let is_bad = cell.virtualization == "docker" && cell.network == "bridge";
        Ok(if is_bad && side == CANDIDATE { wide } else { STEADY })
    };
    let mut run = begun(&cells);
    let mut random = fastrand::Rng::with_seed(14);
    let mut records = Vec::new();
    let mut gate = Sequential::new(&run, &policy);
    while let Some(mut round) = gate.round().cloned() {
        if round.first > 0 && run.lost.is_empty() && round.cells.contains_key(gone) {
            // Some of its boots of this round were made before.
            let first = Round { cells: [(gone.to_owned(), 1)].into(), ..round.clone() };
            records.extend(drawn(&first, &cells, &mut random, &draw));
            let lost = Lost { cell: gone.into(), block: round.first, reason: "no engine".into() };
            run.lost.push(lost.clone());
            gate.lose(&lost);
            round = gate.round().cloned().unwrap();
        }
        assert!(run.lost.is_empty() || !round.cells.contains_key(gone), "{round:?}");
        records.extend(drawn(&round, &cells, &mut random, &draw));
        gate.catch_up(&Comparison::of_sides(&run, &records, &policy).unwrap());
    }
    let comparison = Comparison::of_sides(&run, &records, &policy).unwrap();
    assert_eq!(run.lost.len(), 1);
    // What is found when the report is made is what was found while measuring.
    assert!(Sequential::replayed(&comparison, &policy).round().is_none());
    let verdicts = judged_by((&run, &records), &policy);
    let flags = flagged(&verdicts);
    assert!(
        flags.contains(&"running/docker/bridge/stock/noisy dispersion".to_owned()),
        "{flags:?}"
    );
    assert!(flags.iter().all(|flag| !flag.starts_with(gone)), "{flags:?}");
    let [missing] = of(&verdicts, Aspect::Outcome)[..] else { panic!("{verdicts:?}") };
    assert_eq!((missing.verdict, &*missing.row.cell), (Verdict::Missing, gone));
    assert_eq!(missing.row.reason, "not measured to its end: no engine");
    assert!(verdicts.overall.sentence.contains("1 missing"), "{}", verdicts.overall.sentence);
}

#[test]
fn cells_that_only_inform_get_the_boots_that_a_verdict_needs() {
    let faster = |cell: &Cell, side: &str, _: u32| {
        let is_it = emulated(cell) && side == CANDIDATE;
        Ok(Temper { middle: STEADY.middle * if is_it { 0.5 } else { 1.0 }, ..STEADY })
    };
    let run = measured_with(&few(), 15, &faster, &emulated);
    let verdicts = judged(&run);
    for cell in few().iter().filter(|cell| emulated(cell)) {
        assert_eq!(boots_of(&run.1, &cell.id()), policy().require.boots as usize);
    }
    let informs = |of: &&Decision| emulated(&of.cell) && of.aspect == Aspect::Location;
    let located: Vec<&Decision> = verdicts.decisions.iter().filter(informs).collect();
    assert!(!located.is_empty());
    for decision in located {
        assert!(!decision.row.reason.contains("the policy asks for"), "{}", decision.row.reason);
    }
}

#[test]
fn a_stall_that_first_shows_up_after_the_first_round_is_screened_and_confirmed() {
    let there = "running/docker/bridge/stock/noisy";
    let late = |cell: &Cell, side: &str, block: u32| {
        let stalls = cell.id() == there && side == CANDIDATE && block >= 6;
        Ok(Temper { stalls: if stalls { 8 } else { 0 }, ..STEADY })
    };
    let run = measured(&few(), 16, &late);
    let verdicts = judged(&run);
    assert!(boots_of(&run.1, there) > 6);
    let flags = flagged(&verdicts);
    let stalls = of(&verdicts, Aspect::Stall);
    assert_eq!(flags, [format!("{there} stall")], "{stalls:#?}");
    let stall = verdicts.decisions.iter().find(|of| of.flags()).unwrap();
    assert!(stall.row.reason.contains("fresh boots"), "{}", stall.row.reason);
}

#[test]
fn what_is_better_is_told_by_all_boots_since_its_own_screen() {
    let (better, open) = ("running/docker/bridge/stock/noisy", "running/docker/nat/stock/noisy");
    let two: Vec<Cell> =
        cells().into_iter().filter(|cell| [better, open].contains(&&*cell.id())).collect();
    // Medians that vary little, so that few boots tell them.
    let steady = Temper { between: 0.005, ..STEADY };
    // Half way to what is to be found, so that what is worse takes a long screen, and what is better none.
    let draw = |cell: &Cell, side: &str, _: u32| {
        Ok(match (cell.id(), side) {
            (id, CANDIDATE) if id == better => Temper { width: STEADY.width / 2.0, ..steady },
            (id, CANDIDATE) if id == open => Temper { width: STEADY.width * 1.18, ..steady },
            _ => steady,
        })
    };
    let (run, records) = measured(&two, 24, &draw);
    let comparison = Comparison::of_sides(&run, &records, &policy()).unwrap();
    let policy = policy();
    let [worse_ends, better_ends] =
        Sequential::replayed(&comparison, &policy).findings().screened.map(Option::unwrap);
    assert!(better_ends < worse_ends, "{better_ends} {worse_ends}");
    let verdicts = judged_by((&run, &records), &policy);
    let rows = verdicts.decisions.iter().filter(|of| of.verdict == Verdict::Improved);
    let row = &rows.clone().find(|of| of.aspect == Aspect::Dispersion).unwrap().row;
    let fresh = |r: &&Record| r.cell == better && r.side == BASE && r.block > better_ends;
    assert_eq!(row.boots[0] as usize, records.iter().filter(fresh).count(), "{row:?}");
}
