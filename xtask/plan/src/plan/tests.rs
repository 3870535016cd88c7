//! Plans of whole matrices.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::matrix::{Axis, Contrast, Measure, Name};

/// A matrix of so many tuning profiles, with three kinds of virtualization and two loads.
pub(super) fn matrix(profiles: usize, boots: u32) -> Matrix {
    let mut cells = Vec::new();
    for virtualization in ["netns", "docker", "qemu"] {
        for tuning in 0..profiles {
            for load in ["idle", "noisy"] {
                cells.push(Cell {
                    kernel: "running".into(),
                    virtualization: virtualization.into(),
                    network: "bridge".into(),
                    tuning: format!("t{tuning}").into(),
                    load: load.into(),
                    host_kernel: "running".into(),
                });
            }
        }
    }
    let contrast =
        Contrast { name: "t".into(), axis: Axis::Tuning, from: "t0".into(), to: "t1".into() };
    Matrix {
        name: "m".into(),
        cells,
        measure: Measure { boots, ..Measure::default() },
        contrasts: vec![contrast],
        kernels: Default::default(),
        profiles: Default::default(),
        form: None,
        attribution: None,
        study: None,
        commands: Vec::new(),
    }
}

fn judge(cell: &Cell) -> Judged {
    said(
        cell,
        match (&*cell.virtualization, &*cell.tuning) {
            ("docker", _) => Status::Skipped {
                reason: "dockerd does not answer:\n\u{1b}[31mno socket".into(),
                remedy: "start it, or add --provision".into(),
            },
            ("qemu", "t1") => {
                Status::NotApplicable { reason: "`qemu` and `t1` share no port".into() }
            }
            _ => Status::Runnable,
        },
    )
}

pub(super) fn runnable(cell: &Cell) -> Judged {
    said(cell, Status::Runnable)
}

fn said(cell: &Cell, status: Status) -> Judged {
    let overhead = Duration::from_secs(if cell.virtualization == "qemu" { 10 } else { 0 });
    Judged { status, scope: Scope::Kinds, overhead, lab: false }
}

fn plan(matrix: &Matrix, options: Options) -> Plan<'_> {
    Plan::new(matrix, options, &judge).unwrap()
}

#[test]
fn the_table_tells_every_reason_once() {
    let matrix = matrix(2, 5);
    let options = Options { seed: 7, ..Options::default() };
    insta::assert_snapshot!(Table(&plan(&matrix, options)), @"
    matrix m: 12 cells, 6 runnable, 4 skipped, 2 not applicable
    30 boots (5 of each cell), seed 7, about 2 min 52 s

      kernel/virtualization/network/tuning/load  a boot
    runnable
      running/netns/bridge/t0/idle               3 s
      running/netns/bridge/t0/noisy              3 s
      running/netns/bridge/t1/idle               3 s
      running/netns/bridge/t1/noisy              3 s
      running/qemu/bridge/t0/idle                13 s
      running/qemu/bridge/t0/noisy               13 s

    skipped: dockerd does not answer: �[31mno socket
      remedy: start it, or add --provision
      running/docker/bridge/t0/idle
      running/docker/bridge/t0/noisy
      running/docker/bridge/t1/idle
      running/docker/bridge/t1/noisy

    not applicable: `qemu` and `t1` share no port
      running/qemu/bridge/t1/idle
      running/qemu/bridge/t1/noisy
    ");
}

/// Of each boot of a plan its cell, its side, its block.
fn sides_of(plan: &Plan<'_>) -> Vec<(String, Side, u32)> {
    let of = |boot: PlannedBoot| {
        let Planned { cell, side, .. } = &plan.cells[boot.cell];
        (cell.id(), *side, boot.block)
    };
    plan.boots().map(of).collect()
}

proptest! {
    #[test]
    fn both_sides_of_a_cell_are_neighbours_and_take_turns(seed: u64, blocks in 1u32..9) {
        let (matrix, base) = (matrix(2, blocks), matrix(2, blocks));
        let options = Options { seed, ..Options::default() };
        let plan = Plan::new(&matrix, options, &runnable).unwrap();
        let alone: Vec<_> = sides_of(&plan).into_iter().map(|(cell, _, block)| (cell, block)).collect();
        let plan = plan.against(&base, &runnable);
        let boots = sides_of(&plan);
        let mut candidate_first = BTreeMap::<String, i32>::new();
        for (pair, alone) in boots.chunks(2).zip(&alone) {
            let [(cell, first, block), (other, second, _)] = pair else { panic!("{pair:?}") };
            prop_assert_eq!((cell, block), (&alone.0, &alone.1), "cells keep their order");
            prop_assert_eq!(cell, other);
            prop_assert_ne!(first, second);
            *candidate_first.entry(cell.clone()).or_default() += if *first == Side::Candidate { 1 } else { -1 };
        }
        prop_assert_eq!(boots.len(), 2 * alone.len());
        let balance = i32::from(blocks % 2 == 1);
        prop_assert!(candidate_first.values().all(|of| of.abs() == balance), "{candidate_first:?}");
    }
}

#[test]
fn a_cell_that_one_side_cannot_measure_is_measured_of_neither() {
    let (matrix, base) = (matrix(1, 2), matrix(1, 2));
    let lacks = |cell: &Cell| match &*cell.virtualization {
        "docker" => {
            said(cell, Status::Skipped { reason: "no engine".into(), remedy: "start it".into() })
        }
        _ => runnable(cell),
    };
    for (of_candidate, of_base) in
        [(&lacks as &dyn Judge, &runnable as &dyn Judge), (&runnable, &lacks)]
    {
        let plan = Plan::new(&matrix, Options::default(), of_candidate).unwrap();
        let plan = plan.against(&base, of_base);
        assert_eq!(plan.boot_count(), 2 * 2 * 4);
        assert!(sides_of(&plan).iter().all(|(cell, ..)| !cell.contains("docker")));
        let told = |cells: Vec<PlannedCell>| match &cells[2].status {
            Status::Skipped { reason, .. } => reason.clone(),
            other => panic!("{other:?}"),
        };
        let mut reasons = [told(plan.record()), told(plan.record_of_base())];
        reasons.sort();
        assert_eq!(reasons[0], "no engine");
        assert!(reasons[1].ends_with("'s cannot be measured: no engine"), "{reasons:?}");
    }
}

#[test]
fn what_one_side_alone_has_is_told_and_not_measured() {
    let (mut matrix, base) = (matrix(1, 2), matrix(1, 2));
    let new = Cell { tuning: "new".into(), ..matrix.cells[0].clone() };
    matrix.cells[0] = new;
    let plan = Plan::new(&matrix, Options::default(), &runnable).unwrap();
    let plan = plan.against(&base, &runnable);
    assert_eq!(plan.boot_count(), 2 * 2 * 5);
    let told: Vec<String> = plan
        .record()
        .into_iter()
        .filter_map(|planned| match planned.status {
            Status::Skipped { reason, .. } => Some(format!("{}: {reason}", planned.cell.id())),
            _ => None,
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    running/netns/bridge/new/idle: the base has no such cell: there is nothing to compare it with
    running/netns/bridge/t0/idle: only the base has this cell: the candidate took it away
    ");
}

#[test]
fn a_shard_without_cells_is_an_empty_plan() {
    let matrix = matrix(2, 5);
    let shard = Some("1000/1000".parse().unwrap());
    let plan = plan(&matrix, Options { shard, ..Options::default() });
    assert_eq!((plan.boots().count(), plan.estimate()), (0, Duration::ZERO));
    insta::assert_snapshot!(Table(&plan), @"
    matrix m, shard 1000/1000: 0 cells, 0 runnable, 0 skipped, 0 not applicable
    0 boots (5 of each cell), seed 0, about 0 s
    ");
}

fn json(plan: &Plan<'_>) -> String {
    let mut text = Vec::new();
    Json(plan).write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn json_keeps_its_names() {
    let matrix = matrix(1, 3);
    let only = Some("idle".parse().unwrap());
    let plan = plan(&matrix, Options { seed: 7, only, ..Options::default() });
    insta::assert_snapshot!(json(&plan).replace(r#"{"id""#, "\n{\"id\""), @r#"
    {"schema":1,"matrix":"m","cells":[
    {"id":"running/netns/bridge/t0/idle","axes":{"kernel":"running","virtualization":"netns","network":"bridge","tuning":"t0","load":"idle"},"runnable":true,"status":"runnable","skip":null,"remedy":null,"lab":false},
    {"id":"running/docker/bridge/t0/idle","axes":{"kernel":"running","virtualization":"docker","network":"bridge","tuning":"t0","load":"idle"},"runnable":false,"status":"skipped","skip":"dockerd does not answer:\n\u001b[31mno socket","remedy":"start it, or add --provision","lab":false},
    {"id":"running/qemu/bridge/t0/idle","axes":{"kernel":"running","virtualization":"qemu","network":"bridge","tuning":"t0","load":"idle"},"runnable":true,"status":"runnable","skip":null,"remedy":null,"lab":false}],"estimate_s":45,"boots":6,"seed":7,"shard":null}
    "#);
}

#[test]
fn json_of_no_cell_and_of_many_is_whole() {
    let shard = Some("1000/1000".parse().unwrap());
    for (profiles, shard, cells) in [(2, shard, 0), (3000, None, 18_000)] {
        let matrix = matrix(profiles, 1);
        let plan = plan(&matrix, Options { shard, ..Options::default() });
        let json: serde_json::Value = serde_json::from_str(&json(&plan)).unwrap();
        let ids: Vec<_> =
            json["cells"].as_array().unwrap().iter().map(|cell| cell["id"].clone()).collect();
        assert_eq!(ids.len(), cells);
        assert!(ids.into_iter().eq(plan.cells.iter().map(|planned| planned.cell.id())));
    }
}

#[test]
fn a_plan_that_is_too_large_is_refused_with_its_estimate() {
    let matrix = matrix(2, 10_000);
    let plan = plan(&matrix, Options::default());
    insta::assert_snapshot!(plan.check(Limits { boots: 1000, ..Limits::default() }).unwrap_err(), @"matrix `m` has 60000 boots, which take about 3 d 23 h; a run has at most 1000 boots and 7 d: choose cells with --only, a part with --shard, or fewer --boots");
    assert!(plan.check(Limits { boots: u64::MAX, time: Duration::MAX }).is_ok());
    assert!(plan.check(Limits { boots: u64::MAX, time: Duration::from_secs(3600) }).is_err());
}

#[test]
fn a_filter_that_matches_nothing_is_no_plan() {
    let matrix = matrix(2, 5);
    let options = Options { only: Some("podman".parse().unwrap()), ..Options::default() };
    let error = Plan::new(&matrix, options, &judge).unwrap_err();
    assert!(error.to_string().starts_with("filter term `podman` matches no cell"), "{error}");
}

proptest! {
    #[test]
    fn every_runnable_cell_boots_once_a_block(profiles in 1usize..5, boots in 1u32..8, seed: u64) {
        let matrix = matrix(profiles, boots);
        let plan = plan(&matrix, Options { seed, ..Options::default() });
        let all: Vec<PlannedBoot> = plan.boots().collect();
        prop_assert_eq!(all.len() as u64, plan.boot_count());
        prop_assert!(all.iter().all(|boot| plan.cells[boot.cell].is_runnable()));
        let distinct: BTreeSet<(usize, u32)> = all.iter().map(|boot| (boot.cell, boot.block)).collect();
        prop_assert_eq!(distinct.len(), all.len());
        prop_assert!(all.is_sorted_by_key(|boot| (boot.block, boot.position)));
        prop_assert!(all.iter().eq(plan.boots().collect::<Vec<_>>().iter()));
    }

    #[test]
    fn shards_part_a_matrix_whatever_their_hosts_can_do(profiles in 1usize..5, of in 1u32..6) {
        let matrix = matrix(profiles, 5);
        let mut seen = BTreeSet::new();
        for index in 1..=of {
            let options = Options { shard: Some(format!("{index}/{of}").parse().unwrap()), ..Options::default() };
            let here = plan(&matrix, options.clone());
            let elsewhere = Plan::new(&matrix, options, &runnable).unwrap();
            let ids = |plan: &Plan<'_>| plan.cells.iter().map(|planned| planned.cell.id()).collect::<Vec<_>>();
            prop_assert_eq!(ids(&here), ids(&elsewhere));
            for id in ids(&here) {
                let partner = id.replace("/t0/", "/t1/");
                prop_assert!(profiles == 1 || ids(&here).contains(&partner));
                prop_assert!(seen.insert(id));
            }
        }
        prop_assert_eq!(seen.len(), matrix.cells.len());
    }
}

#[test]
fn cells_of_one_lab_are_neighbours_in_every_block_and_labs_change_places() {
    let mut matrix = matrix(1, 4);
    for (at, cell) in matrix.cells.iter_mut().enumerate() {
        cell.kernel = ["running", "stock", "rt"][at % 3].into();
    }
    let in_labs = |cell: &Cell| Judged { lab: cell.kernel != "running", ..runnable(cell) };
    let plan = Plan::new(&matrix, Options::default(), &in_labs).unwrap();
    let without = plan.estimate();
    let plan = plan.with_labs(Duration::from_secs(20));
    // Two kernels, four blocks.
    assert_eq!(plan.estimate() - without, Duration::from_secs(160));
    let mut sums = std::collections::BTreeMap::<String, u32>::new();
    for number in 0..4 {
        let boots: Vec<PlannedBoot> = plan.boots().filter(|boot| boot.block == number).collect();
        assert_eq!(boots.len(), matrix.cells.len());
        let kernel = |boot: &PlannedBoot| plan.cells[boot.cell].cell.kernel.clone();
        let mut runs: Vec<Name> = boots.iter().map(kernel).collect();
        runs.dedup();
        assert_eq!(runs.len(), 3, "{runs:?}");
        for boot in boots {
            *sums.entry(plan.cells[boot.cell].cell.id()).or_default() += boot.position;
        }
    }
    assert_eq!(sums.values().collect::<BTreeSet<_>>().len(), 1, "{sums:?}");
}

#[test]
fn what_is_measured_in_a_lab_is_told() {
    let matrix = matrix(1, 2);
    let options = Options { seed: 7, only: Some("netns".parse().unwrap()), ..Options::default() };
    let in_labs = |cell: &Cell| Judged { lab: cell.load == "idle", ..judge(cell) };
    let plan = Plan::new(&matrix, options, &in_labs).unwrap().with_labs(Duration::from_secs(20));
    insta::assert_snapshot!(Table(&plan), @r"
    matrix m: 2 cells, 2 runnable, 0 skipped, 0 not applicable
    4 boots (2 of each cell), seed 7, about 50 s

      kernel/virtualization/network/tuning/load  a boot
    runnable
      running/netns/bridge/t0/idle               3 s, in a lab
      running/netns/bridge/t0/noisy              3 s
    ");
}
