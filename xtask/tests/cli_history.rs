//! `history` from outside: runs over time, what changed, who may write, and what is wrong with a file.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

mod common;
use common::{Said, run, xtask};

const CELL: &str = "running/docker/bridge/stock/idle";

/// Nightly runs of one latency, imported; `shift` is what a run's latency is taken times.
struct Nights(TempDir);

impl Nights {
    fn new(count: usize, shift: impl Fn(usize) -> f64) -> Nights {
        let mut text = "series,run,boot,value,unit,time,commit\n".to_owned();
        for night in 0..count {
            let wobble = 1.0 + 0.02 * ((night as f64 * 0.618_033_988_75).fract() - 0.5);
            for boot in 0..3 {
                for value in 0..5 {
                    let latency = 20_000.0
                        * wobble
                        * shift(night)
                        * (1.0 + 0.01 * f64::from(boot * 5 + value * 7 % 5));
                    let time = 1_793_529_720 + night * 86_400;
                    writeln!(
                        text,
                        "{CELL}:tcp-rr,n{night:03},{boot},{latency},ns,{time},{night:07x}abcdef"
                    )
                    .unwrap();
                }
            }
        }
        let nights = Nights(TempDir::new().unwrap());
        std::fs::write(nights.path("rows.csv"), text).unwrap();
        nights
            .run(&["import", "csv", &nights.path("rows.csv"), "--out", &nights.path("runs")])
            .ends_with(0);
        nights
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Said {
        run(&mut xtask(arguments))
    }

    fn add_all(&self) {
        let said = self.run(&["history", "add", &self.path("runs"), "--history", &self.path("h/")]);
        said.ends_with(0);
    }

    fn check(&self, more: &[&str]) -> Said {
        let history = self.path("h/");
        self.run(&[&["history", "check", "--history", &history], more].concat())
    }

    fn lines(&self) -> String {
        std::fs::read_to_string(self.path("h/history.jsonl")).unwrap()
    }
}

#[test]
fn a_change_for_the_worse_is_found_named_and_accepted() {
    let nights = Nights::new(40, |night| if night < 25 { 1.0 } else { 1.2 });
    nights.add_all();
    let said = nights.check(&[]);
    assert!(
        said.ends_with(1)
            .stdout
            .contains(&format!("regressed {CELL}:tcp-rr  location (median) level x1.19")),
        "{said}"
    );
    assert!(
        said.stdout.contains(
            "between 0000018abc (2026-11-25 10:42 UTC) and 0000019abc (2026-11-26 10:42 UTC)"
        ),
        "{said}"
    );
    let said = nights.check(&["--format", "json"]);
    let answer: Value = serde_json::from_str(&said.ends_with(1).stdout).unwrap();
    assert_eq!(
        (&answer["verdict"], &answer["changes"][0]["between"][1]["commit"]),
        (&"regressed".into(), &"0000019abcdef".into())
    );

    let accept = nights.path("accept.toml");
    let mut text = "schema = 1\n".to_owned();
    for scope in ["location", "dispersion"] {
        writeln!(text, "[[accept]]\nseries = '*'\ncommit = '0000019abcdef'\nreason = 'slower on purpose'\nscope = ['{scope}']\nexpires = '9999-01-01'").unwrap();
    }
    std::fs::write(&accept, &text).unwrap();
    let said = nights.check(&["--accept", &accept]);
    assert!(said.ends_with(0).stdout.contains("accepted: slower on purpose"), "{said}");
    std::fs::write(&accept, text.replace("9999", "2020")).unwrap();
    nights.check(&["--accept", &accept]).ends_with(1).says(&["line 2 has expired on 2020-01-01"]);
    std::fs::write(&accept, text.replacen("commit", "comit", 1)).unwrap();
    nights.check(&["--accept", &accept]).is_refused_with(&["accept.toml:4:1: ", "comit"]);
}

#[test]
fn what_does_not_change_is_fine_and_a_slow_slide_is_not() {
    let nights = Nights::new(40, |_| 1.0);
    nights.add_all();
    let said = nights.check(&["--require-conclusive"]);
    assert!(
        said.ends_with(0).stdout.ends_with("0 changes for the worse in 4 series of 40 runs\n"),
        "{said}"
    );
    nights.check(&["--against", "0000000abc"]).ends_with(0);

    // Two percent is within the margin of a change, and beyond a budget of half a percent.
    let nights = Nights::new(60, |night| 1.0 + 0.002 * night as f64);
    nights.add_all();
    let said = nights.check(&["--against", "0000000abc", "--drift", "0.5"]);
    assert!(said.ends_with(1).stdout.contains("drifted"), "{said}");
}

#[test]
fn few_runs_say_nothing() {
    let nights = Nights::new(5, |_| 1.0);
    nights.add_all();
    nights.check(&[]).ends_with(0);
    nights.check(&["--require-conclusive"]).ends_with(3);
    std::fs::write(nights.path("h/history.jsonl"), "").unwrap();
    nights.check(&[]).ends_with(0);
    nights.check(&["--require-conclusive"]).ends_with(3);
}

#[test]
fn damage_is_told_with_its_line_and_a_torn_end_is_mended() {
    let nights = Nights::new(4, |_| 1.0);
    nights.add_all();
    let whole = nights.lines();
    let write = |text: &str| std::fs::write(nights.path("h/history.jsonl"), text).unwrap();
    let broken = whole.replacen("\"time\"", "\"tame\"", 2).replacen("\"tame\"", "\"time\"", 1);
    write(&broken);
    nights.check(&[]).is_refused_with(&["history.jsonl:2:", "not a run", "time"]);
    let newer = whole.replacen("\"schema\":1", "\"schema\":9", 3).replacen(
        "\"schema\":9",
        "\"schema\":1",
        2,
    );
    write(&newer);
    nights
        .check(&[])
        .is_refused_with(&["history.jsonl:3: the line has schema 9, this tool reads schema 1"]);

    let torn = &whole[..whole.len() - 40];
    write(torn);
    nights.check(&[]).ends_with(0).says(&["history.jsonl:4: the last line was not written whole"]);
    let last = nights.path("runs/n003");
    let add = ["history", "add", &last, "--history", &nights.path("h")];
    nights.run(&add).ends_with(0).says(&["was cut off"]);
    assert_eq!(nights.lines(), whole);
    let said = nights.run(&add);
    assert!(said.ends_with(0).stdout.contains("is there already"), "{said}");
    assert_eq!(nights.lines(), whole);

    // Out of order, it is in order.
    let backwards: Vec<&str> = whole.lines().rev().collect();
    write(&(backwards.join("\n") + "\n"));
    nights.check(&[]).ends_with(0).says(&["3 runs are older than the line before them"]);
}

#[test]
fn many_writers_lose_nothing() {
    let nights = Nights::new(12, |_| 1.0);
    std::thread::scope(|scope| {
        for night in 0..12 {
            let nights = &nights;
            scope.spawn(move || {
                let run = nights.path(&format!("runs/n{night:03}"));
                nights.run(&["history", "add", &run, "--history", &nights.path("h/")]).ends_with(0);
            });
        }
    });
    let mut runs: Vec<String> = nights
        .lines()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["run"].as_str().unwrap().to_owned()
        })
        .collect();
    runs.sort();
    let all: Vec<String> = (0..12).map(|night| format!("n{night:03}")).collect();
    assert_eq!(runs, all);
}

#[test]
fn a_long_history_is_thinned_and_marks_stay() {
    let nights = Nights::new(45, |_| 1.0);
    let first = nights.path("runs/n000");
    nights
        .run(&["history", "add", &first, "--history", &nights.path("h/"), "--mark", "v1"])
        .ends_with(0);
    let said = nights.run(&[
        "history",
        "add",
        &nights.path("runs"),
        "--history",
        &nights.path("h/"),
        "--keep",
        "40",
    ]);
    said.ends_with(0).says(&["1 older lines dropped (--keep 40)"]);
    let lines = nights.lines();
    assert_eq!(lines.lines().count(), 40);
    assert!(lines.lines().next().unwrap().contains("\"mark\":\"v1\""));
    assert!(lines.lines().last().unwrap().contains("\"n044\""));
    assert!(Path::new(&nights.path("h/history.jsonl.lock")).exists());
}

#[test]
fn a_run_in_which_nothing_was_measured_does_not_keep_the_others_out() {
    let runs = common::runs::place();
    let add = |of: &str| {
        let words = ["history", "add", of, "--history", "history.jsonl"];
        run(xtask(&words).current_dir(runs.path()))
    };
    let said = add(".");
    said.ends_with(0).says(&["warning: run in `./unmeasured` is left out: no boot was measured"]);
    let lines = std::fs::read_to_string(runs.path().join("history.jsonl")).unwrap();
    // Two of the others are one run.
    assert_eq!(lines.lines().count(), 4, "{lines}");
    // Who names it is told that there is nothing of it.
    add("unmeasured").is_refused_with(&["no boot was measured"]);
}
