//! Shards of a plan joined into one run. Pure.
//!
//! What is not a shard of the same plan is refused by name: joined all the same, it would be compared with what it is not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use crate::matrix::{Cell, quoted};
use crate::plan::Shard;
use crate::record::import::COMMIT;
use crate::record::{Base, Fleet, Part, PlannedCell, Record, Run, Status};

/// A run that may be a shard.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// What to call it by: its folder.
    pub name: String,
    /// Its header.
    pub run: Run,
    /// Its records.
    pub records: Vec<Record>,
    /// Its boots that count in nothing.
    pub diagnoses: Vec<Record>,
}

/// The whole, and what must be said of it.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Its header.
    pub run: Run,
    /// The records of all shards.
    pub records: Vec<Record>,
    /// The boots of all shards that count in nothing.
    pub diagnoses: Vec<Record>,
    /// What it lacks.
    pub warnings: Vec<String>,
}

/// So many shards are named where some are missing.
const NAMED: usize = 20;

/// Joins shards. `partial`: shards that are missing are told instead of refused, and their cells are skipped with that reason.
///
/// # Errors
/// One is no shard, one of another plan or there twice; some are missing; a record is of a cell that its shard does not have.
pub fn merge(mut shards: Vec<Shipped>, partial: bool) -> Result<Merged, String> {
    shards.sort_by(|a, b| a.run.fleet.shard.cmp(&b.run.fleet.shard).then(a.name.cmp(&b.name)));
    let Some(first) = shards.first() else { return Err("no run was named".to_owned()) };
    for shipped in &shards {
        is_shard(shipped)?;
        if let Some(what) = differs(&first.run, &shipped.run) {
            return Err(format!(
                "`{}` is of another plan than `{}`: {what}",
                shipped.name, first.name
            ));
        }
    }
    let of = shards.iter().filter_map(|shipped| shipped.run.fleet.shard).map(Shard::of).next();
    let mut there: BTreeMap<Shard, &Shipped> = BTreeMap::new();
    for shipped in &shards {
        let Some(shard) = shipped.run.fleet.shard else { continue };
        if let Some(other) = there.insert(shard, shipped) {
            return Err(format!(
                "shard {shard} is there twice, in `{}` and `{}`: name one of them",
                other.name, shipped.name
            ));
        }
    }
    let mut owner: HashMap<Cell, &str> = HashMap::new();
    for shipped in &shards {
        owns(shipped, &mut owner)?;
    }
    let left: Vec<&Cell> = planned_nowhere(&first.run, &owner)?;
    let mut missing: Vec<Shard> =
        Shard::all(of.unwrap_or(0)).filter(|shard| !there.contains_key(shard)).collect();
    // Where there are fewer units than shards, some have no cells, and nobody measures them.
    if left.is_empty() {
        missing.clear();
    }
    if !missing.is_empty() && !partial {
        return Err(format!(
            "missing: {} of {} shards, {}; measure them with `bench --shard`, or merge what is there with --partial",
            missing.len(),
            of.unwrap_or(0),
            named(&missing)
        ));
    }
    let mut warnings = Vec::new();
    if !missing.is_empty() {
        warnings.push(format!("shards that are missing: {}", named(&missing)));
    }
    warnings.extend(shards.iter().filter_map(lacks));
    if missing.is_empty() && !left.is_empty() {
        return Err(format!(
            "cells of the plan in no shard: {}, as {}; were the shards planned from one matrix?",
            left.len(),
            left[0].id()
        ));
    }
    let run = header(&shards, &missing, &left);
    let (mut records, mut diagnoses) = (Vec::new(), Vec::new());
    for shipped in shards {
        records.extend(shipped.records);
        diagnoses.extend(shipped.diagnoses);
    }
    Ok(Merged { run, records, diagnoses, warnings })
}

fn named(shards: &[Shard]) -> String {
    let told: Vec<String> = shards.iter().take(NAMED).map(Shard::to_string).collect();
    match shards.len().saturating_sub(NAMED) {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

fn is_shard(Shipped { name, run, .. }: &Shipped) -> Result<(), String> {
    if !run.fleet.parts.is_empty() {
        return Err(format!("`{name}` is merged already: name its shards"));
    }
    if run.calibrates.is_some() {
        return Err(format!("`{name}` is a repetition of `calibrate`, not a shard"));
    }
    match run.fleet.shard {
        Some(_) => Ok(()),
        None => Err(format!("`{name}` is no shard: it was measured without --shard")),
    }
}

/// In what two runs are of different plans.
fn differs(one: &Run, other: &Run) -> Option<String> {
    let of = |run: &Run| run.fleet.shard.map_or(0, Shard::of);
    let only = |run: &Run| run.fleet.only.clone().unwrap_or_else(|| "every cell".to_owned());
    let commit = |run: &Run| {
        let commit = run.facts.get(COMMIT).map(String::as_str);
        commit.unwrap_or("no commit").to_owned()
    };
    let base = |run: &Run| match &run.base {
        Some(Base { revision, commit, .. }) => format!("{revision} ({commit})"),
        None => "no base".to_owned(),
    };
    let told: [(&str, [String; 2]); 6] = [
        ("version of the tool", [one, other].map(|run| run.tool.clone())),
        ("number of shards", [one, other].map(|run| of(run).to_string())),
        ("cells", [one, other].map(only)),
        ("seed", [one, other].map(|run| run.seed.to_string())),
        ("commit", [one, other].map(commit)),
        ("base", [one, other].map(base)),
    ];
    if let Some((what, [was, is])) = told.into_iter().find(|(_, [was, is])| was != is) {
        return Some(format!("{what}: {} and not {}", quoted(&is), quoted(&was)));
    }
    let inputs = |run: &Run| {
        let base = run.base.as_ref();
        base.map(|base| (base.matrix.clone(), base.by_policy))
    };
    let same = [
        ("the matrix or a profile", one.matrix == other.matrix && one.quick == other.quick),
        ("the base's matrix or a profile", inputs(one) == inputs(other)),
        ("the policy", one.policy == other.policy),
    ];
    let what = same.into_iter().find(|(_, same)| !same);
    what.map(|(what, _)| format!("{what} differs"))
}

/// Takes a shard's cells, and holds its records against them.
fn owns<'s>(shipped: &'s Shipped, owner: &mut HashMap<Cell, &'s str>) -> Result<(), String> {
    let Shipped { name, run, records, diagnoses } = shipped;
    for planned in &run.cells {
        if let Some(other) = owner.insert(planned.cell.clone(), name) {
            return Err(format!("cell {} is in `{other}` and in `{name}`", planned.cell.id()));
        }
    }
    let own: BTreeSet<String> = run.cells.iter().map(|planned| planned.cell.id()).collect();
    let foreign = run.base.iter().flat_map(|base| &base.cells).map(|planned| planned.cell.id());
    let foreign = foreign.chain(records.iter().chain(diagnoses).map(|record| record.cell.clone()));
    match foreign.into_iter().find(|cell| !own.contains(cell)) {
        Some(cell) => Err(format!("`{name}` has {} and did not plan it", quoted(&cell))),
        None => Ok(()),
    }
}

/// What a shard whose number of boots is fixed has not measured yet.
fn lacks(Shipped { name, run, records, .. }: &Shipped) -> Option<String> {
    if run.base.as_ref().is_some_and(|base| base.by_policy) {
        return None;
    }
    let sides = if run.base.is_some() { 2 } else { 1 };
    let runnable = run.cells.iter().filter(|planned| planned.status == Status::Runnable).count();
    let wanted = runnable as u64 * u64::from(run.matrix.measure.boots) * sides;
    let made: BTreeSet<(&str, &str, u32)> = records
        .iter()
        .map(|record| (record.cell.as_str(), record.side.as_str(), record.boot))
        .collect();
    let short = wanted.saturating_sub(made.len() as u64);
    (short > 0)
        .then(|| format!("`{name}` lacks {short} of {wanted} boots: `--resume {name}` makes them"))
}

/// Cells of the matrix that were asked for and that no shard has.
fn planned_nowhere<'r>(run: &'r Run, owner: &HashMap<Cell, &str>) -> Result<Vec<&'r Cell>, String> {
    let only = run.fleet.only.as_ref().map(|only| only.parse::<crate::plan::Filter>());
    let only = only.transpose().map_err(|why| format!("its filter: {why}"))?;
    let asked = run.matrix.cells.iter().filter(|c| only.as_ref().is_none_or(|only| only.takes(c)));
    Ok(asked.filter(|cell| !owner.contains_key(*cell)).collect())
}

fn header(shards: &[Shipped], missing: &[Shard], left: &[&Cell]) -> Run {
    let mut run = shards[0].run.clone();
    let place: HashMap<&Cell, usize> =
        shards[0].run.matrix.cells.iter().enumerate().map(|(at, cell)| (cell, at)).collect();
    let in_order = |cells: &mut Vec<PlannedCell>| {
        cells.sort_by_key(|planned| place.get(&planned.cell).copied());
    };
    let lost: Vec<PlannedCell> = left
        .iter()
        .map(|cell| PlannedCell {
            cell: (*cell).clone(),
            status: Status::Skipped {
                reason: format!("its shard is missing: {}", named(missing)),
                remedy: "measure the shard, and merge again".to_owned(),
            },
        })
        .collect();
    run.cells = shards.iter().flat_map(|shipped| shipped.run.cells.clone()).collect();
    run.cells.extend(lost.iter().cloned());
    run.lost = shards.iter().flat_map(|shipped| shipped.run.lost.clone()).collect();
    in_order(&mut run.cells);
    if let Some(base) = &mut run.base {
        let of_base = shards.iter().filter_map(|shipped| shipped.run.base.as_ref());
        base.cells = of_base.flat_map(|base| base.cells.clone()).collect();
        base.cells.extend(lost);
        in_order(&mut base.cells);
    }
    run.started_unix =
        shards.iter().map(|shipped| shipped.run.started_unix).min().unwrap_or_default();
    let mut tags = Sha256::new();
    shards.iter().for_each(|shipped| tags.update(format!("{}\n", shipped.run.tag)));
    run.tag = format!(
        "ekm{}",
        tags.finalize().iter().take(4).map(|b| format!("{b:02x}")).collect::<String>()
    );
    run.facts = facts(shards);
    run.kernels.clear();
    for pair in shards.iter().flat_map(|shipped| &shipped.run.kernels) {
        if !run.kernels.contains(pair) {
            run.kernels.push(pair.clone());
        }
    }
    run.calibration = None;
    let part = |shipped: &Shipped| {
        let shard = shipped.run.fleet.shard?;
        Some(Part {
            shard,
            tag: shipped.run.tag.clone(),
            started_unix: shipped.run.started_unix,
            facts: shipped.run.facts.clone(),
            calibration: shipped.run.calibration,
            missing: false,
            cells: shipped.run.cells.iter().map(|planned| planned.cell.id()).collect(),
        })
    };
    let mut parts: Vec<Part> = shards.iter().filter_map(part).collect();
    // Which of several that are missing would have had a cell is not known here: the first stands for all.
    parts.extend(missing.iter().enumerate().map(|(at, shard)| Part {
        shard: *shard,
        tag: String::new(),
        started_unix: 0,
        facts: BTreeMap::new(),
        calibration: None,
        missing: true,
        cells: if at == 0 { left.iter().map(|cell| cell.id()).collect() } else { Vec::new() },
    }));
    parts.sort_by_key(|part| part.shard);
    run.fleet = Fleet { only: run.fleet.only.clone(), shard: None, parts };
    run
}

/// Facts of all hosts: what they agree on as it is, and of the rest which shard has what.
fn facts(shards: &[Shipped]) -> BTreeMap<String, String> {
    let names: BTreeSet<&String> =
        shards.iter().flat_map(|shipped| shipped.run.facts.keys()).collect();
    let told = |name: &String| {
        let mut values: Vec<(&str, Vec<String>)> = Vec::new();
        for shipped in shards {
            let value = shipped.run.facts.get(name).map_or("none", String::as_str);
            let shard =
                shipped.run.fleet.shard.map_or(String::new(), |shard| shard.index().to_string());
            match values.iter_mut().find(|(known, _)| *known == value) {
                Some((_, of)) => of.push(shard),
                None => values.push((value, vec![shard])),
            }
        }
        match &values[..] {
            [(one, _)] => (*one).to_owned(),
            several => several
                .iter()
                .map(|(value, of)| format!("{value} (shard {})", of.join(", ")))
                .collect::<Vec<_>>()
                .join("; "),
        }
    };
    names.into_iter().map(|name| (name.clone(), told(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing;

    fn shard(index: u32, of: u32, cells: &[Cell], kernel: &str) -> Shipped {
        let all = [testing::cell("netns", "stock"), testing::cell("docker", "stock")];
        let mut run = testing::run(cells);
        run.matrix.cells = all.to_vec();
        run.matrix.measure.boots = 1;
        run.tag = format!("ek{index}");
        run.facts = BTreeMap::from([("kernel".into(), kernel.into()), ("cpu".into(), "c".into())]);
        run.fleet.shard = format!("{index}/{of}").parse().ok();
        let samples = testing::latencies(&[1000, 1001, 1002]);
        let records: Vec<Record> =
            cells.iter().map(|cell| testing::record(cell, 0, "tcp-rr", samples.clone())).collect();
        Shipped { name: format!("dir{index}"), run, diagnoses: records[..1].to_vec(), records }
    }

    fn two() -> [Shipped; 2] {
        [
            shard(1, 2, &[testing::cell("docker", "stock")], "a"),
            shard(2, 2, &[testing::cell("netns", "stock")], "b"),
        ]
    }

    #[test]
    fn shards_become_one_run_in_the_order_of_the_matrix_that_keeps_each_hosts_facts() {
        let [one, other] = two();
        let merged = merge(vec![other, one], false).unwrap();
        let ids: Vec<String> = merged.run.cells.iter().map(|planned| planned.cell.id()).collect();
        assert_eq!(ids, ["running/netns/bridge/stock/idle", "running/docker/bridge/stock/idle"]);
        assert_eq!(merged.run.facts["kernel"], "a (shard 1); b (shard 2)");
        assert_eq!(merged.run.facts["cpu"], "c");
        assert_eq!(merged.run.fleet.parts[1].facts["kernel"], "b");
        assert_eq!(
            (merged.records.len(), merged.diagnoses.len(), merged.warnings.len()),
            (2, 2, 0)
        );
        let again = serde_json::to_string(&merged.run).unwrap();
        assert_eq!(serde_json::from_str::<Run>(&again).unwrap(), merged.run);
        let twice = merge(
            vec![Shipped {
                name: "m".into(),
                ..Shipped {
                    run: merged.run,
                    records: vec![],
                    diagnoses: vec![],
                    name: String::new(),
                }
            }],
            false,
        );
        assert_eq!(twice.unwrap_err(), "`m` is merged already: name its shards");
    }

    #[test]
    fn what_is_no_shard_of_the_plan_is_refused_by_name() {
        let refused = |change: &dyn Fn(&mut Vec<Shipped>)| {
            let mut shards = two().to_vec();
            change(&mut shards);
            merge(shards, false).unwrap_err()
        };
        let told = [
            refused(&|all| drop(all.pop())),
            refused(&|all| all.push(Shipped { name: "again".into(), ..all[0].clone() })),
            refused(&|all| all[1].run.seed = 7),
            refused(&|all| all[1].run.tool = "9".into()),
            refused(&|all| all[1].run.fleet.shard = None),
            refused(&|all| all[1].run.fleet.shard = "2/3".parse().ok()),
            refused(&|all| all[1].run.matrix.measure.windows += 1),
            refused(&|all| drop(all[1].run.facts.insert(COMMIT.into(), "feed".into()))),
            refused(&|all| all[1].records[0].cell = "running/docker/bridge/stock/idle".into()),
            refused(&|all| all[1].run.cells = all[0].run.cells.clone()),
            refused(&|all| {
                all[1].run.cells.clear();
                all[1].records.clear();
                all[1].diagnoses.clear();
            }),
            refused(&|all| all[1].diagnoses[0].cell = "running/docker/bridge/stock/idle".into()),
        ];
        insta::assert_snapshot!(told.join("\n"), @"
        missing: 1 of 2 shards, 2/2; measure them with `bench --shard`, or merge what is there with --partial
        shard 1/2 is there twice, in `again` and `dir1`: name one of them
        `dir2` is of another plan than `dir1`: seed: `7` and not `1`
        `dir2` is of another plan than `dir1`: version of the tool: `9` and not `0.1.0`
        `dir2` is no shard: it was measured without --shard
        `dir2` is of another plan than `dir1`: number of shards: `3` and not `2`
        `dir2` is of another plan than `dir1`: the matrix or a profile differs
        `dir2` is of another plan than `dir1`: commit: `feed` and not `no commit`
        `dir2` has `running/docker/bridge/stock/idle` and did not plan it
        cell running/docker/bridge/stock/idle is in `dir1` and in `dir2`
        cells of the plan in no shard: 1, as running/netns/bridge/stock/idle; were the shards planned from one matrix?
        `dir2` has `running/docker/bridge/stock/idle` and did not plan it
        ");
    }

    #[test]
    fn what_is_missing_is_told_and_its_cells_are_skipped_where_that_was_asked() {
        let [one, _] = two();
        let merged = merge(vec![one], true).unwrap();
        assert_eq!(merged.warnings, ["shards that are missing: 2/2"]);
        let Status::Skipped { reason, .. } = &merged.run.cells[0].status else { panic!() };
        assert_eq!(reason, "its shard is missing: 2/2");
        assert!(merged.run.fleet.parts[1].missing);
    }

    #[test]
    fn boots_that_a_shard_lacks_are_told() {
        let mut shards = two().to_vec();
        shards[1].records.clear();
        let merged = merge(shards, false).unwrap();
        assert_eq!(merged.warnings, ["`dir2` lacks 1 of 1 boots: `--resume dir2` makes them"]);
    }
}
