//! What needs neither root nor a run: `plan`, `--explain`, help, and where each kind of output goes.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

mod common;
use common::{XTASK, as_nobody, run, xtask};

/// Cells of every kind of virtualization and network, some of which do not fit together.
const EXPLAINED: &[&str] = &[
    "running/netns/bridge/stock/noisy",
    "running/docker/bridge/isolated/idle",
    "running/qemu/bridge/isolated/noisy",
    "debian-rt/qemu/bridge/isolated/noisy",
];

/// The repository's matrices.
fn shipped() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../matrices");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let matrices = paths.filter(|path| {
        path.extension().is_some_and(|ending| ending == "toml") && !path.ends_with("policy.toml")
    });
    let matrices: Vec<String> = matrices.map(|path| path.to_str().unwrap().to_owned()).collect();
    assert!(matrices.len() >= 2, "{matrices:?}");
    matrices
}

fn json(arguments: &[&str]) -> Value {
    let said = run(xtask(&["plan", "--format", "json"]).args(arguments));
    assert_eq!(said.ends_with(0).stderr, "");
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn ids(plan: &Value) -> Vec<&str> {
    plan["cells"].as_array().unwrap().iter().map(|cell| cell["id"].as_str().unwrap()).collect()
}

#[test]
fn every_shipped_matrix_is_planned_in_the_shape_that_was_promised() {
    for path in shipped() {
        let plan = json(&[&path]);
        assert_eq!(plan["schema"], 1);
        assert_eq!(plan["matrix"], Path::new(&path).file_stem().unwrap().to_str().unwrap());
        assert!(plan["estimate_s"].is_u64(), "{plan}");
        for cell in plan["cells"].as_array().unwrap() {
            let axes = ["kernel", "virtualization", "network", "tuning", "load"];
            let values = axes.map(|axis| cell["axes"][axis].as_str().unwrap());
            assert_eq!(cell["id"], values.join("/"));
            assert_eq!(cell["axes"].as_object().unwrap().len(), axes.len());
            let runnable = cell["runnable"].as_bool().unwrap();
            assert_eq!(cell["skip"].is_null(), runnable, "{cell}");
            assert!(runnable || !cell["skip"].as_str().unwrap().is_empty(), "{cell}");
        }
        assert_eq!(ids(&plan).iter().collect::<BTreeSet<_>>().len(), ids(&plan).len());
    }
}

#[test]
fn a_built_in_matrix_is_the_repositorys() {
    for path in shipped() {
        let name = Path::new(&path).file_stem().unwrap().to_str().unwrap();
        assert_eq!(json(&[name]), json(&[&path]));
    }
}

#[test]
fn shards_are_parts_of_the_whole_and_contrasts_stay_together() {
    let whole = json(&["default"]);
    for of in [1, 2, 3, 5] {
        let parts: Vec<Value> =
            (1..=of).map(|part| json(&["default", "--shard", &format!("{part}/{of}")])).collect();
        let mut union: Vec<&str> = parts.iter().flat_map(ids).collect();
        union.sort_unstable();
        let mut all = ids(&whole);
        all.sort_unstable();
        assert_eq!(union, all, "in {of} shards");
        for part in &parts {
            let ids = ids(part);
            let other = |id: &&str| id.replace("/stock/", "/isolated/");
            let alone = ids.iter().find(|id| id.contains("/stock/") && !ids.contains(&&*other(id)));
            assert_eq!(alone, None, "its contrast is in another of {of} shards");
        }
    }
}

#[test]
fn an_attribution_is_planned_as_cells_of_one_shard() {
    let plan = json(&["knobs"]);
    let ids = ids(&plan);
    for tuning in ["isolated", "isolated-without-policy", "stock-with-placement", "stock"] {
        let id = format!("running/netns/bridge/{tuning}/noisy");
        assert!(ids.contains(&&*id), "{id}: {ids:?}");
    }
    // What would have nothing to act on is there, and says so.
    let refused = plan["cells"].as_array().unwrap().iter().find(|cell| {
        cell["axes"]["tuning"] == "stock-with-rt-throttle" && cell["status"] == "not-applicable"
    });
    let skip = refused.unwrap()["skip"].as_str().unwrap();
    assert!(skip.contains("no `policy` makes one"), "{skip}");
    let parts = [1, 2].map(|part| json(&["knobs", "--shard", &format!("{part}/2")]));
    let mut counts = parts.map(|part| part["cells"].as_array().unwrap().len());
    counts.sort_unstable();
    assert_eq!(counts, [0, ids.len()]);
    let said = run(&mut xtask(&[
        "plan",
        "knobs",
        "--explain",
        "running/netns/bridge/isolated-without-rt-throttle/noisy",
    ]));
    let text = &said.ends_with(0).stdout;
    assert!(text.contains("fifo:") && !text.contains("sched_rt_runtime_us = -1"), "{said}");
}

#[test]
fn an_attribution_that_tells_nothing_apart_is_wrong_input() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("mine.toml");
    let shipped = shipped();
    let knobs = shipped.iter().find(|path| path.ends_with("knobs.toml")).unwrap();
    let text = std::fs::read_to_string(knobs);
    let text = text.unwrap().replace("#   design = ", "design = ");
    std::fs::write(&path, text).unwrap();
    let said = run(&mut xtask(&["plan", path.to_str().unwrap()]));
    said.is_refused_with(&["mine.toml", "`rt-throttle` means nothing there", "[groups]"]);
}

#[test]
fn the_order_of_flags_and_the_seed_change_no_cell() {
    let cells = |arguments: &[&str]| json(arguments)["cells"].clone();
    let only = cells(&["default", "--only", "docker,!noisy", "--seed", "1"]);
    assert_eq!(only, cells(&["--seed", "77", "--only", "!noisy,docker", "default", "--quick"]));
    assert_eq!(only.as_array().unwrap().len(), 2);
}

#[test]
fn anybody_may_plan_and_have_cells_explained() {
    let place = TempDir::new().unwrap();
    for arguments in [&["plan"][..], &["plan", "smoke", "--format", "json"]] {
        let said = run(&mut as_nobody(place.path(), arguments));
        assert!(said.ends_with(0).stdout.contains("running/netns/bridge"), "{said}");
        assert_eq!(said.stderr, "");
    }
    for id in EXPLAINED {
        let said = run(&mut as_nobody(place.path(), &["plan", "default", "--explain", id]));
        let text = &said.ends_with(0).stdout;
        assert_eq!(said.stderr, "");
        assert_eq!(text.lines().next(), Some(*id));
        for phase in ["prepare", "hold", "place", "go"] {
            assert!(text.lines().any(|line| line == phase), "{phase}: {said}");
        }
        assert!(text.contains("undo: "), "{said}");
    }
}

#[test]
fn every_command_has_help_and_those_that_take_cells_have_examples() {
    let help = |arguments: &[&str]| {
        let said = run(&mut xtask(arguments));
        assert_eq!(said.ends_with(0).stderr, "");
        assert!(said.stdout.contains("Usage: cargo xtask"), "{said}");
        said.stdout
    };
    let all = help(&["--help"]);
    let commands: Vec<&str> = all
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.contains(&"doctor") && commands.contains(&"restore"), "{commands:?}");
    assert!(!commands.contains(&"boot") && !commands.contains(&"agent"), "{commands:?}");
    for command in commands {
        let text = help(&[command, "--help"]);
        let example = text.contains(&format!("\n  cargo xtask {command}"));
        assert!(example || !["plan", "bench", "report"].contains(&command), "{text}");
    }
    assert!(
        run(&mut xtask(&["--version"])).ends_with(0).stdout.contains(env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn doctor_prints_its_table_to_standard_output_without_colours() {
    let said = run(&mut xtask(&["doctor"]));
    assert!(said.ends_with(0).stdout.contains("docker"), "{said}");
    assert_eq!(said.stderr, "");
}

/// `plan | head -0`: whoever reads has seen enough, which is nobody's mistake.
#[test]
fn a_reader_that_goes_away_is_no_panic() {
    for arguments in [&["plan"][..], &["plan", "--format", "json"], &["--help"], &["doctor"]] {
        let said = into(arguments, closed_pipe());
        assert!(!said.1.contains("panicked"), "{arguments:?}: {}", said.1);
        assert_eq!(said, (Some(0), String::new()), "{arguments:?}");
    }
}

#[test]
fn results_that_cannot_be_written_are_a_failure_that_names_the_reason() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (code, stderr) = into(&["plan", "--format", "json"], full.into());
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("standard output: No space left on device"), "{stderr}");
}

/// Exit code and standard error of a command whose standard output is this.
fn into(arguments: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    #[expect(clippy::disallowed_methods, reason = "its standard output is what the test is about")]
    let mut command = std::process::Command::new(XTASK);
    command.args(arguments).current_dir("/").stdout(stdout).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A pipe that nobody reads any more.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn help_calls_the_program_as_it_was_started() {
    let place = TempDir::new().unwrap();
    let installed = place.path().join("evenkeel");
    std::os::unix::fs::symlink(XTASK, &installed).unwrap();
    for words in [&["--help"][..], &["bench", "--help"], &["publish", "github", "--help"]] {
        let mut command = assert_cmd::Command::new(&installed);
        let said = run(command.args(words));
        let text = &said.ends_with(0).stdout;
        assert!(!text.contains("cargo xtask") && text.contains("evenkeel "), "{said}");
        assert!(run(&mut xtask(words)).stdout.contains("cargo xtask "));
    }
    // All exit codes are there.
    let said = run(&mut xtask(&["--help"]));
    for code in [0, 1, 2, 3, 4, 125, 130] {
        assert!(said.stdout.contains(&format!("\n  {code} ")), "{code}: {said}");
    }
}

#[test]
fn a_plan_prices_what_is_asked_of_it_and_no_cell_that_cannot_be_measured() {
    let gate = |more: &[&str]| {
        let words = [&["plan", "smoke", "--only", "netns", "--gate"], more].concat();
        run(&mut xtask(&words))
    };
    let said = gate(&["--boots", "12"]);
    assert!(
        said.ends_with(0).stdout.contains("12 boots a side of each cell, judged once"),
        "{said}"
    );
    let asked = gate(&["--boots", "24"]);
    assert_ne!(said.stdout.lines().nth(1), asked.stdout.lines().nth(1));
    gate(&["--boots", "3"]).is_refused_with(&["3 boots of each cell cannot give a verdict"]);
    gate(&["--boots", "12", "--budget", "1h"]).ends_with(2);
    let place = TempDir::new().unwrap();
    let matrix = common::Quick {
        kernel: "'other'",
        more: "[kernel.other]\nimage = '/none'\n",
        ..Default::default()
    };
    let path = matrix.write(place.path());
    let said = run(&mut xtask(&["plan", path.to_str().unwrap()]));
    let text = &said.ends_with(0).stdout;
    assert!(text.contains("0 runnable, 1 skipped"), "{said}");
    assert!(text.contains("no cell can be measured here") && !text.contains("about 0 s"), "{said}");
}
