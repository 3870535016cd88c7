//! Results of whole runs: every cell appears, every ratio says how far it can be trusted.

use proptest::prelude::*;

use super::*;
use crate::matrix::{Axis, Cell, Contrast};
use crate::record::results::ContrastResult;
use crate::record::testing::{bell, cell, failed, latencies, rates, record, run};
use crate::record::{Base, Evidence, Unmeasured};

/// Boots of tcp-rr about 30 us; each a little different from the others, `width` apart on average.
fn boots(cell: &Cell, width: f64, count: u32) -> Vec<Record> {
    (0..count)
        .map(|boot| {
            let factor = 1.0 + 0.03 * f64::from(boot * 7 % 5);
            record(cell, boot, "tcp-rr", latencies(&bell(30_000.0, width * factor, 2000)))
        })
        .collect()
}

fn two_cells() -> [Cell; 2] {
    [cell("docker", "stock"), cell("docker", "isolated")]
}

/// A run over the two cells where isolation makes the spread twenty times smaller.
fn isolated() -> (Run, Vec<Record>) {
    let [stock, isolated] = two_cells();
    (
        run(&[stock.clone(), isolated.clone()]),
        [boots(&stock, 2000.0, 5), boots(&isolated, 100.0, 5)].concat(),
    )
}

fn told(rows: &[ContrastResult]) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let line = |row: &ContrastResult| {
        format!(
            "{} {} {} {} [{} {}] {:?} {}",
            row.workload,
            row.aspect,
            row.figure,
            number(row.ratio),
            number(row.low),
            number(row.high),
            row.boots,
            row.note.as_deref().unwrap_or("")
        )
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_contrast_has_a_row_for_each_figure() {
    let (run, records) = isolated();
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(told(&found.contrasts), @r"
tcp-rr location median 1.000 [- -] [5, 5] no interval: all boots of each side have the same figure
tcp-rr dispersion mad 0.050 [0.047 0.053] [5, 5] 
tcp-rr dispersion sd_within 0.050 [0.047 0.053] [5, 5] 
tcp-rr tail jitter 0.050 [0.047 0.054] [5, 5] 
tcp-rr stall stall_share - [- -] [5, 5] no transaction longer than 10 ms on either side
");
    insta::assert_snapshot!(found.overall.sentence, @"2 of 2 cells measured; isolation: better: tcp-rr SD ×0.050 [0.047–0.053], tcp-rr MAD ×0.050 [0.047–0.053] and tcp-rr tail ×0.050 [0.047–0.054] in running/docker/bridge/isolated/idle; corrected for all 3 comparisons");
    assert_eq!(found.overall.verdict, "measured");
    assert_eq!(found.cells[0].workloads[0].count, 10_000);
}

#[test]
fn a_workload_that_failed_takes_neither_its_boot_nor_the_others_with_it() {
    let stock = cell("docker", "stock");
    let run = run(std::slice::from_ref(&stock));
    let mut records = boots(&stock, 100.0, 5);
    for record in &mut records {
        let reason = "the path is stuck".to_owned();
        record.failed = vec![Unmeasured { workload: "ping".into(), reason }];
    }
    let reason = "no end".to_owned();
    records[2].failed.push(Unmeasured { workload: "tcp-rr".into(), reason });
    records[2].workloads.clear();
    let found = results(&run, &records).unwrap();
    let [cell] = &*found.cells else { panic!("{:?}", found.cells) };
    insta::assert_snapshot!(cell.reason.as_deref().unwrap(), @"tcp-rr failed in 1 of 5 boots: no end; ping failed in 5 of 5 boots: the path is stuck (5 times)");
    assert_eq!(cell.workloads.iter().map(|w| w.boots).collect::<Vec<_>>(), [4]);
    insta::assert_snapshot!(found.overall.sentence, @"1 of 1 cells measured, boots without some workload: 5");
}

#[test]
fn every_planned_cell_appears_with_its_reason() {
    let [stock, isolated] = two_cells();
    let rest = ["netns", "runc", "qemu", "gvisor", "podman"].map(|kind| cell(kind, "stock"));
    let mut run = run(&[&[stock.clone(), isolated.clone()][..], &rest].concat());
    run.cells[3].status =
        Status::Skipped { reason: "no runc".into(), remedy: "install runc".into() };
    run.cells[4].status = Status::NotApplicable { reason: "no common port".into() };
    let mut records = boots(&stock, 100.0, 5);
    records[1] = failed(&stock, 1, "no packets on bridge");
    records[3] = failed(&stock, 3, "no packets on bridge");
    records.push(failed(&isolated, 0, "docker: `x` is gone"));
    let mut unreadable = boots(&rest[3], 100.0, 1);
    unreadable[0].workloads[0].samples.histogram = Some("AAAA".into());
    records.extend(unreadable);
    records.extend(boots(&cell("host", "stock"), 1.0, 1));
    let found = results(&run, &records).unwrap();
    let lines: Vec<String> = found
        .cells
        .iter()
        .map(|cell| {
            format!("{} {:?} {} {:?}", cell.id, cell.outcome, cell.workloads.len(), cell.reason)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
running/docker/bridge/stock/idle Measured 1 Some("2 of 5 boots failed: no packets on bridge (2 times)")
running/docker/bridge/isolated/idle Failed 0 Some("1 of 1 boots failed: docker: `x` is gone; 4 of 5 planned boots left no record")
running/netns/bridge/stock/idle Failed 0 Some("no boot left a record: finish the run with --resume")
running/runc/bridge/stock/idle Skipped 0 Some("no runc; install runc")
running/qemu/bridge/stock/idle NotApplicable 0 Some("no common port")
running/gvisor/bridge/stock/idle Failed 0 Some("tcp-rr of boot 0 cannot be read: histogram is cut short; 4 of 5 planned boots left no record")
running/podman/bridge/stock/idle Failed 0 Some("no boot left a record: finish the run with --resume")
"#);
    insta::assert_snapshot!(found.overall.sentence, @"1 of 6 cells measured, 2 failed, 2 not begun, 1 skipped, 1 not applicable, incomplete: 8 of 15 planned boots left no record, failed boots: 3, cells recorded but not planned: 1; isolation: no figure of both cells");
    assert_eq!(found.overall.verdict, "incomplete");
    assert_eq!(found.cells[0].workloads[0].boots, 3);
    let none = results(&run, &[]).unwrap();
    assert_eq!(none.overall.verdict, "failed");
}

#[test]
fn what_makes_a_ratio_doubtful_is_said() {
    let (run, mut records) = isolated();
    for record in &mut records[5..] {
        record.fingerprint = "g".into();
        record.instrument =
            BTreeMap::from([("accelerator".into(), "tcg".into()), ("cpu".into(), "x".into())]);
        record.evidence.push(Evidence::Hop {
            hop: "tap".into(),
            packets: 1,
            bytes: 1,
            needed_packets: 1,
            needed_bytes: 0,
        });
    }
    records.truncate(8);
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(found.contrasts[0].note.as_deref().unwrap(), @"no interval: all boots of each side have the same figure; instrument differs: accelerator: none | tcg, cpu: none | x; path differs: bridge | bridge > tap; emulated: informs only");
    insta::assert_snapshot!(found.overall.sentence, @"2 of 2 cells measured, 1 emulated, incomplete: 2 of 10 planned boots left no record; isolation: better: tcp-rr SD ×0.050 [0.045–0.056], tcp-rr MAD ×0.050 [0.045–0.056] and tcp-rr tail ×0.050 [0.044–0.057] in running/docker/bridge/isolated/idle; corrected for all 3 comparisons; emulated (instrument differs)");
    let one = results(&run, &records[..6]).unwrap();
    insta::assert_snapshot!(told(&one.contrasts[1..2]), @"tcp-rr dispersion mad 0.047 [- -] [5, 1] no interval: 5 and 1 boots have this figure, and it takes 2 a side; instrument differs: accelerator: none | tcg, cpu: none | x; path differs: bridge | bridge > tap; emulated: informs only");
    let side = results(&run, &records[..5]).unwrap();
    insta::assert_snapshot!(told(&side.contrasts[1..2]), @"tcp-rr dispersion mad - [- -] [5, 0] `running/docker/bridge/isolated/idle` has no boots");
}

#[test]
fn stalls_are_compared_also_where_a_side_has_none() {
    let (run, mut records) = isolated();
    for record in &mut records[..5] {
        let mut transactions = bell(30_000.0, 100.0 + f64::from(record.boot), 2000);
        transactions[5] = 50_000_000 + 3_000_000 * u64::from(record.boot);
        record.workloads[0].samples = latencies(&transactions);
    }
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(told(&found.contrasts[4..]), @"tcp-rr stall stall_share 0.346 [- -] [5, 5] 5 of 5 boots of `running/docker/bridge/isolated/idle` have no stall: counted as one of 10 ms, which draws the ratio towards 1; one side has no stall at all: a bound, without an interval");
}

/// Two loads of both cells. Under one of them isolation brings a stall to every boot, so that the SD rises while the MAD falls.
fn stalling() -> (Run, Vec<Record>) {
    let load = |cell: Cell, load: &str| Cell { load: load.into(), ..cell };
    let [stock, isolated] = two_cells();
    let noisy = [stock.clone(), isolated.clone()].map(|cell| load(cell, "noisy"));
    let run = run(&[stock.clone(), isolated.clone(), noisy[0].clone(), noisy[1].clone()]);
    let mut records = [boots(&stock, 2000.0, 5), boots(&isolated, 100.0, 5)].concat();
    records.extend(boots(&noisy[0], 9000.0, 5));
    for mut record in boots(&noisy[1], 300.0, 5) {
        let mut transactions = bell(30_000.0, 300.0 + f64::from(record.boot), 2000);
        transactions[5] = 50_000_000 + 3_000_000 * u64::from(record.boot);
        record.workloads[0].samples = latencies(&transactions);
        records.push(record);
    }
    (run, records)
}

#[test]
fn what_got_worse_is_told_first_and_nothing_else_of_its_cells_is_praised() {
    let (run, records) = stalling();
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(found.overall.sentence, @"4 of 4 cells measured; isolation: worse in 1 of 2 pairs, where other figures are better: tcp-rr SD ×82.9 [74.7–92.0] and tcp-rr stall ×2.92 (no interval) in running/docker/bridge/isolated/noisy; better in 1 of 2 pairs with nothing worse: tcp-rr SD ×0.050 [0.047–0.053], tcp-rr MAD ×0.050 [0.047–0.053] and tcp-rr tail ×0.050 [0.047–0.054] in running/docker/bridge/isolated/idle; corrected for all 6 comparisons");
    // Alone, such a pair is not praised at all.
    let (mut run, mut records) = stalling();
    run.cells.drain(..2);
    records.drain(..10);
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(found.overall.sentence, @"2 of 2 cells measured; isolation: worse, where other figures are better: tcp-rr SD ×82.9 [74.7–92.0] and tcp-rr stall ×2.92 (no interval) in running/docker/bridge/isolated/noisy; corrected for all 3 comparisons");
    assert!(!found.overall.sentence.contains("MAD"), "{}", found.overall.sentence);
}

#[test]
fn what_chance_brings_among_many_comparisons_is_not_told_as_better() {
    // One pair of a dozen differs, by what chance does once in a hundred and fifty.
    let load = |cell: &Cell, n: u32| Cell { load: format!("load{n}").into(), ..cell.clone() };
    let [stock, isolated] = two_cells();
    let cells: Vec<Cell> = (0..12).flat_map(|n| [load(&stock, n), load(&isolated, n)]).collect();
    let mut records = Vec::new();
    for (n, cell) in cells.iter().enumerate() {
        let width = if n == 1 { 90.0 } else { 100.0 };
        records.extend(boots(cell, width, 5));
    }
    let (all, few) = (run(&cells), run(&cells[..2]));
    let found = results(&few, &records[..10]).unwrap();
    insta::assert_snapshot!(found.overall.sentence, @"2 of 2 cells measured; isolation: better: tcp-rr MAD ×0.90 [0.84–0.96], tcp-rr SD ×0.90 [0.84–0.96] and tcp-rr tail ×0.90 [0.84–0.96] in running/docker/bridge/isolated/load0; corrected for all 3 comparisons");
    let found = results(&all, &records).unwrap();
    insta::assert_snapshot!(found.overall.sentence, @"24 of 24 cells measured; isolation: nothing clearly worse or better in any of 12 pairs; 3 figures differ by their own 95 % intervals, but not when corrected for all 36 comparisons");
    // Nor is it told of all pairs what one of them has no boots for.
    let found = results(&run(&cells[..4]), &records[..10]).unwrap();
    assert!(
        found.overall.sentence.contains("better in 1 of 2 pairs"),
        "{}",
        found.overall.sentence
    );
}

#[test]
fn a_run_that_was_cut_short_says_so_in_its_sentence() {
    let (run, mut records) = isolated();
    records.retain(|record| record.boot < 3);
    records[1] = failed(&two_cells()[0], 1, "no packets on bridge");
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(found.overall.sentence, @"2 of 2 cells measured, incomplete: 4 of 10 planned boots left no record, failed boots: 1; isolation: better: tcp-rr SD ×0.050 [0.036–0.070], tcp-rr MAD ×0.050 [0.036–0.071] and tcp-rr tail ×0.050 [0.036–0.069] in running/docker/bridge/isolated/idle; corrected for all 3 comparisons");
    assert_eq!(found.overall.verdict, "incomplete");
}

#[test]
fn what_was_stopped_has_not_failed() {
    let (run, mut records) = isolated();
    records.retain(|record| record.boot < 3 || record.cell.contains("stock"));
    let found = results(&run, &records).unwrap();
    let troubles =
        |found: &Results| found.cells.iter().map(|cell| cell.trouble).collect::<Vec<_>>();
    assert_eq!(troubles(&found), [None, Some(Trouble::Unfinished)]);
    // An instrument that differs is told, and no failure either.
    records[0].fingerprint = "g".into();
    records[0].instrument.insert("cpu".into(), "x".into());
    let found = results(&run, &records).unwrap();
    assert_eq!(troubles(&found), [None, Some(Trouble::Unfinished)]);
    assert!(found.cells[0].reason.as_ref().unwrap().contains(DIFFERS));
    records[0] = failed(&two_cells()[0], 0, "no packets on bridge");
    records.retain(|record| record.cell.contains("stock"));
    let found = results(&run, &records).unwrap();
    assert_eq!(troubles(&found), [Some(Trouble::PartlyFailed), Some(Trouble::Unfinished)]);
    assert!(
        found.overall.sentence.starts_with("1 of 2 cells measured, 1 not begun"),
        "{}",
        found.overall.sentence
    );
}

#[test]
fn what_a_gate_does_not_ask_for_is_not_missing() {
    let (mut run, records) = isolated();
    run.matrix.measure.boots = 40;
    run.base = Some(Base {
        revision: "main".into(),
        commit: "c".into(),
        matrix_text: String::new(),
        matrix: run.matrix.clone(),
        cells: run.cells.clone(),
        by_policy: true,
    });
    let found = results(&run, &records).unwrap();
    assert_eq!(found.overall.verdict, "measured", "{}", found.overall.sentence);
    assert_eq!(found.cells[0].reason, None);
}

#[test]
fn of_one_boot_a_side_ratios_are_told_as_what_they_are() {
    let (run, mut records) = isolated();
    records.retain(|record| record.boot == 0);
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(found.overall.sentence, @"2 of 2 cells measured, incomplete: 8 of 10 planned boots left no record; isolation: too few boots for intervals; by ratios alone better: tcp-rr tail ×0.050 (no interval), tcp-rr SD ×0.050 (no interval) and tcp-rr MAD ×0.050 (no interval) in running/docker/bridge/isolated/idle");
}

#[test]
fn rates_have_no_stalls() {
    let [stock, isolated] = two_cells();
    let run = run(&[stock.clone(), isolated.clone()]);
    let rate = |cell: &Cell, boot: u32, scale: f64| {
        let values: Vec<f64> =
            (0..50).map(|i| scale * (1e9 + 1e6 * f64::from((i * 7 + boot) % 50))).collect();
        record(cell, boot, "tcp-rr", rates(&values))
    };
    let records: Vec<Record> = (0..5)
        .flat_map(|boot| {
            [rate(&stock, boot, 1.0 + 0.01 * f64::from(boot)), rate(&isolated, boot, 2.0)]
        })
        .collect();
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(told(&found.contrasts), @r"
tcp-rr location median 1.961 [1.924 1.999] [5, 5] 
tcp-rr dispersion mad 1.961 [1.924 1.999] [5, 5] 
tcp-rr dispersion sd_within 1.961 [1.924 1.999] [5, 5] 
tcp-rr tail jitter - [- -] [0, 0] 5 of 5 boots of `running/docker/bridge/stock/idle` have too few observations for p99 - p50; 5 of 5 boots of `running/docker/bridge/isolated/idle` have too few observations for p99 - p50
");
    insta::assert_snapshot!(found.overall.sentence, @"2 of 2 cells measured; isolation: worse, where other figures are better: tcp-rr MAD ×1.96 [1.92–2.00] at a rate ×1.96 and tcp-rr SD ×1.96 [1.92–2.00] at a rate ×1.96 in running/docker/bridge/isolated/idle; corrected for all 3 comparisons");
}

#[test]
fn containers_under_one_boot_of_a_kernel_are_one_observation_of_it() {
    let stock = cell("docker", "stock");
    let other = Cell { kernel: "rt".into(), ..stock.clone() };
    let mut run = run(&[stock.clone(), other.clone()]);
    run.matrix.contrasts = vec![Contrast {
        name: "kernel".into(),
        axis: Axis::Kernel,
        from: "running".into(),
        to: "rt".into(),
    }];
    let mut records = [boots(&stock, 100.0, 6), boots(&other, 200.0, 6)].concat();
    for (index, record) in records.iter_mut().enumerate() {
        record.host_boot = format!("boot {}", index / 2);
    }
    let found = results(&run, &records).unwrap();
    insta::assert_snapshot!(told(&found.contrasts[1..2]), @"tcp-rr dispersion mad 1.998 [1.904 2.097] [3, 3] 6 starts of `running/docker/bridge/stock/idle` under 3 boots of its kernel; 6 starts of `rt/docker/bridge/stock/idle` under 3 boots of its kernel; few boots: 3 and 3");
}

#[test]
fn the_last_record_of_a_boot_counts_and_a_base_does_not() {
    let (run, records) = isolated();
    let expected = results(&run, &records).unwrap();
    let mut more = vec![failed(&two_cells()[0], 2, "first try")];
    more.extend(records.iter().cloned());
    let base = boots(&two_cells()[0], 9000.0, 5)
        .into_iter()
        .map(|record| Record { side: "base".into(), ..record });
    more.extend(base);
    assert_eq!(results(&run, &more).unwrap(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn equal_records_in_any_order_give_equal_bytes(order in Just((0..10).collect::<Vec<usize>>()).prop_shuffle()) {
        let (run, records) = isolated();
        let shuffled: Vec<Record> = order.iter().map(|&index| records[index].clone()).collect();
        let [here, there] = [&records, &shuffled].map(|records| serde_json::to_string(&results(&run, records).unwrap()).unwrap());
        prop_assert_eq!(here, there);
    }
}
