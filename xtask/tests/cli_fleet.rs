//! Several runners from outside: shards that are measured, joined and told, and what strangers may ship in their place.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;

use common::{Host, PATIENCE, Quick, Said, run, xtask};
use evenkeel_agent::{command, wait};
use serde_json::Value;
use tempfile::TempDir;

/// Two cells that no contrast joins.
fn two() -> Quick<'static> {
    Quick { network: "'veth', 'bridge'", ..Quick::default() }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn real_shards_become_one_run_and_what_is_missing_or_foreign_is_named() {
    let host = Host::take();
    let matrix = two().write(host.place.path()).to_string_lossy().into_owned();
    let measured = |shard: &str, out: &str, more: &[&str]| {
        let out = host.path(out);
        let words = ["bench", &matrix, "--shard", shard, "--out", &out];
        run(&mut host.xtask(&[&words[..], more].concat())).ends_with(0);
        out
    };
    let [one, other] =
        [("1/2", "art/one"), ("2/2", "art/other")].map(|(shard, out)| measured(shard, out, &[]));
    let foreign = measured("2/2", "foreign", &["--seed", "9"]);
    host.is_restored();

    let whole = host.path("whole");
    let said = run(&mut host.xtask(&["merge", &one, &other, "--out", &whole]));
    said.ends_with(0).says(&["2 of 2 cells measured"]);
    let results = json(&Path::new(&whole).join("results.json"));
    assert_eq!(results["cells"].as_array().unwrap().len(), 2);
    let header = json(&Path::new(&whole).join("run.json"));
    let facts = |shard: usize| header["fleet"]["parts"][shard]["facts"]["kernel"].clone();
    assert!(facts(0).is_string() && facts(0) == facts(1), "{header}");
    // What is merged is a run like any other.
    run(&mut host.xtask(&["report", &whole])).ends_with(0).says(&["2 of 2 cells measured"]);
    let below = host.path("below");
    run(&mut host.xtask(&["merge", &host.path("art"), "--out", &below])).ends_with(0);

    let refused = |runs: &[&str], words: &[&str]| {
        let out = host.path("none");
        let line = [&["merge"][..], runs, &["--out", &out]].concat();
        run(&mut host.xtask(&line)).is_refused_with(words);
        assert!(!Path::new(&out).exists());
    };
    refused(&[&one], &["missing: 1 of 2 shards, 2/2"]);
    refused(&[&one, &foreign], &["of another plan", "seed: `9` and not `1`"]);
    refused(&[&one, &other, &one], &["shard 1/2 is there twice"]);
    refused(&[&whole], &["is merged already"]);
    refused(&[&host.path("nowhere")], &["failed to read folder"]);

    let partial = host.path("partial");
    let said = run(&mut host.xtask(&["merge", &one, "--out", &partial, "--partial"]));
    said.ends_with(0).says(&["shards that are missing: 2/2"]);
    let summary = std::fs::read_to_string(Path::new(&partial).join("summary.md")).unwrap();
    assert!(summary.contains("its shard is missing: 2/2"), "{summary}");
}

#[test]
fn jobs_of_a_plan_are_one_line_of_json() {
    let place = TempDir::new().unwrap();
    let matrix = two().write(place.path()).to_string_lossy().into_owned();
    let plan = |more: &[&str]| {
        run(&mut xtask(&[&["plan", &matrix, "--format", "github"][..], more].concat()))
    };
    let told = plan(&["--shards", "2", "--runner", "self-hosted,bench", "--gate"]);
    told.ends_with(0);
    assert_eq!(told.stdout.lines().count(), 1);
    let jobs: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(jobs["include"][1]["shard"], "2/2");
    // The guide's runners are found without being told of.
    let usual: Value = serde_json::from_str(&plan(&[]).stdout).unwrap();
    let labels = serde_json::json!(["self-hosted", "linux", "evenkeel"]);
    assert_eq!(usual["include"][0]["runs_on"], labels);
    assert_eq!(jobs["include"][0]["runs_on"], serde_json::json!(["self-hosted", "bench"]));
    // Nothing for a runner to do is no job.
    let many: Value = serde_json::from_str(&plan(&["--shards", "9"]).stdout).unwrap();
    assert_eq!(many["include"].as_array().unwrap().len(), 2);
    plan(&["--runner", "$(id)"]).is_refused_with(&["`$(id)` is no label of a runner"]);
    plan(&["--shards", "257"]).is_refused_with(&["--shards 257"]);
    run(&mut xtask(&["plan", "--shards", "2"])).is_refused_with(&["--format github"]);
}

/// The script of a plan for Slurm, in a folder of its own.
fn script(place: &TempDir, more: &[&str]) -> String {
    let matrix = two().write(place.path()).to_string_lossy().into_owned();
    let plan = [&["plan", &matrix, "--format", "slurm"][..], more].concat();
    let script = place.path().join("array.sh");
    std::fs::write(&script, &run(&mut xtask(&plan)).ends_with(0).stdout).unwrap();
    script.to_string_lossy().into_owned()
}

/// A program of a few lines of a shell.
fn program(place: &TempDir, name: &str, lines: &str) -> String {
    let path = place.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.to_string_lossy().into_owned()
}

/// A script that is submitted to a cluster which takes everything.
fn submitted(place: &TempDir, script: &str, more: &[&str], against: &str) -> Said {
    let bin = place.path().join("bin");
    if !bin.exists() {
        std::fs::create_dir(&bin).unwrap();
        program(place, "bin/sbatch", "echo 7");
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = assert_cmd::Command::new("sh");
    command.arg(script).args(more).current_dir(place.path()).timeout(PATIENCE);
    command.env("PATH", path).env("EVENKEEL", "/bin/true").env("EVENKEEL_OUT", "out");
    run(command.env("AGAINST", against))
}

#[test]
fn a_folder_of_shards_takes_no_other_plan_commit_or_base() {
    let place = TempDir::new().unwrap();
    let git = |words: &[&str]| {
        let own = ["git", "-C", place.path().to_str().unwrap(), "-c", "user.name=a"];
        let words = [&own[..], &["-c", "user.email=a@example.org"], words].concat();
        assert_eq!(command::run(&words, PATIENCE).unwrap().code, Some(0), "{words:?}");
    };
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "one"]);
    let script_of = |more: &[&str]| script(&place, more);
    let first = script_of(&[]);
    for more in [&[][..], &["1"]] {
        let said = submitted(&place, &first, more, "");
        assert!(said.ends_with(0).stdout.starts_with("job 7: shards 1\n"), "{said}");
    }
    let said = submitted(&place, &first, &["1", "9"], "");
    said.ends_with(2).says(&["no shard 9 to submit: there are 1"]);
    assert_eq!(said.stdout, "");
    let refused = |said: Said| {
        said.ends_with(2).says(&["choose another EVENKEEL_OUT"]);
        assert!(!said.stdout.contains("job"), "{said}");
    };
    refused(submitted(&place, &first, &[], "HEAD"));
    refused(submitted(&place, &script_of(&["--seed", "2"]), &[], ""));
    let first = script_of(&[]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "two"]);
    refused(submitted(&place, &first, &[], ""));
}

#[test]
fn a_task_measures_the_filter_that_was_planned_whatever_files_are_called() {
    let place = TempDir::new().unwrap();
    let script = script(&place, &["--only", "*veth*"]);
    let tool =
        program(&place, "tool", "printf '%s\\n' \"$@\" > words\n[ \"$1\" != bench ] || exit 4");
    std::fs::write(place.path().join("a-veth-b"), "").unwrap();
    let mut command = assert_cmd::Command::new("sh");
    command.args([&script, "out", &tool, "", ""]).env("SLURM_ARRAY_TASK_ID", "1");
    run(command.current_dir(place.path()).timeout(PATIENCE)).ends_with(4);
    let words = std::fs::read_to_string(place.path().join("words")).unwrap();
    assert!(words.contains("\n--only\n*veth*\n--shard\n1/1\n"), "{words}");
}

#[test]
fn a_task_that_is_cancelled_ends_after_its_program() {
    let place = TempDir::new().unwrap();
    let script = script(&place, &[]);
    // As the real one: told to end, it restores and says that it was interrupted.
    let tool = "[ \"$1\" = bench ] || exit 0\ntrap ': > restored; exit 130' TERM\n\
        tail -f /dev/null & : > measuring\nwait $!";
    let tool = program(&place, "tool", tool);
    #[expect(clippy::disallowed_methods, reason = "it gets a signal while it runs")]
    let mut command = std::process::Command::new("sh");
    command.args([&script, "out", &tool, "", ""]).env("SLURM_ARRAY_TASK_ID", "1");
    let mut task = command.current_dir(place.path()).process_group(0).spawn().unwrap();
    let measures = || Ok(place.path().join("measuring").exists().then_some(()));
    wait::until("a task that measures", PATIENCE, measures).unwrap();
    // Slurm tells all processes of a task.
    let group = nix::unistd::Pid::from_raw(task.id().try_into().unwrap());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ended = task.wait().unwrap();
    assert_eq!((ended.code(), ended.signal()), (Some(130), None));
    assert!(place.path().join("restored").exists());
}

#[test]
fn a_forks_pull_request_is_not_measured_on_a_runner_of_ones_own() {
    let place = TempDir::new().unwrap();
    let event = place.path().join("event.json");
    let repo = |name: &str| serde_json::json!({ "repo": { "full_name": name } });
    let pull = |head: &str| {
        let text =
            serde_json::json!({ "pull_request": { "head": repo(head), "base": repo("me/mine") } });
        std::fs::write(&event, text.to_string()).unwrap();
    };
    let bench = |name: &str| -> Said {
        let out = place.path().join("run");
        let out = out.to_string_lossy();
        let mut command = xtask(&["bench", "smoke", "--only", "nothing-of-it", "--out", &out]);
        command.env("GITHUB_ACTIONS", "true").env("RUNNER_ENVIRONMENT", "self-hosted");
        command.env("GITHUB_EVENT_NAME", name).env("GITHUB_EVENT_PATH", &event);
        command.env("EVENKEEL_STATE", place.path().join("state"));
        run(&mut command)
    };
    pull("stranger/mine");
    bench("pull_request").is_refused_with(&["of another repository is not measured"]);
    bench("pull_request_target").is_refused_with(&["pull_request_target"]);
    // Of the repository itself it goes on, here to a filter that is wrong.
    pull("me/mine");
    bench("pull_request").is_refused_with(&["nothing-of-it"]);
}

/// A run with a base, as its two shards: the cells of each, and the records of these.
fn parted(place: &TempDir, name: &str) -> [String; 2] {
    let dir = place.path().join(name);
    let run = json(&dir.join("run.json"));
    let records = std::fs::read_to_string(dir.join("boots.jsonl")).unwrap();
    [1, 2].map(|shard| {
        let out = place.path().join(format!("{name}-{shard}"));
        std::fs::create_dir(&out).unwrap();
        let mut run = run.clone();
        run["cells"] = Value::Array(vec![run["cells"][shard - 1].clone()]);
        run["fleet"] = serde_json::json!({ "shard": format!("{shard}/2") });
        run["tag"] = Value::from(format!("ek{shard}"));
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        run["started_unix"] = Value::from(now);
        let system = ["netns", "docker"][shard - 1];
        let own: String = records
            .lines()
            .filter(|line| line.contains(&format!("running/{system}/")))
            .map(|line| line.to_owned() + "\n")
            .collect();
        std::fs::write(out.join("run.json"), run.to_string()).unwrap();
        std::fs::write(out.join("boots.jsonl"), own).unwrap();
        out.to_string_lossy().into_owned()
    })
}

#[test]
fn shards_with_a_base_are_judged_each_by_itself_and_told_as_one() {
    let place = common::runs::place();
    let whole = |out: &str| place.path().join(out).to_string_lossy().into_owned();
    let [steady, wide] = parted(&place, "both");
    run(&mut xtask(&["merge", &steady, &wide, "--out", &whole("w")]))
        .ends_with(0)
        .says(&["1 of 2 cells regressed"]);
    let said = run(&mut xtask(&["compare", &whole("w"), "--format", "json"]));
    let told: Value = serde_json::from_str(&said.ends_with(1).stdout).unwrap();
    assert_eq!(told["overall"]["verdict"], "regressed");
    // What is missing may not pass for what is fine.
    run(&mut xtask(&["merge", &steady, "--out", &whole("p"), "--partial"])).ends_with(0);
    run(&mut xtask(&["compare", &whole("p")])).ends_with(0);
    let said = run(&mut xtask(&["compare", &whole("p"), "--require-conclusive"]));
    said.ends_with(3);
    assert!(said.stdout.contains("shard 2/2 is missing"), "{said}");
}

#[test]
fn a_strangers_policy_does_not_judge_a_stranger() {
    let place = common::runs::place();
    let [steady, wide] = parted(&place, "both");
    for shard in [&steady, &wide] {
        let header = Path::new(shard).join("run.json");
        let mut run = json(&header);
        run["policy"] = Value::from("schema = 1\n[gate]\naspects = ['location']\n");
        run["base"] = serde_json::json!({ "revision": "main", "commit": "0", "matrix_text": "", "matrix": run["matrix"], "cells": run["cells"] });
        std::fs::write(&header, run.to_string()).unwrap();
    }
    for (out, more, code) in [("believed", &[][..], 0), ("judged", &["--untrusted"], 1)] {
        let out = place.path().join(out).to_string_lossy().into_owned();
        run(xtask(&["merge", &steady, &wide, "--out", &out]).args(more)).ends_with(0);
        run(&mut xtask(&["compare", &out])).ends_with(code);
    }
}

#[test]
fn what_strangers_ship_is_refused_or_left_out_by_name_and_nothing_else_is_touched() {
    let place = common::runs::place();
    let [one, other] = parted(&place, "both");
    let (header, boots) = (Path::new(&one).join("run.json"), Path::new(&one).join("boots.jsonl"));
    let (run_text, boots_text) =
        (std::fs::read_to_string(&header).unwrap(), std::fs::read_to_string(&boots).unwrap());
    let refused = |words: &[&str]| {
        let out = place.path().join("none").to_string_lossy().into_owned();
        run(&mut xtask(&["merge", &one, &other, "--out", &out, "--untrusted"]))
            .is_refused_with(words);
        assert!(!Path::new(&out).exists());
    };
    let nested = format!("{{\"schema\":1,\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut run: Value = serde_json::from_str(&run_text).unwrap();
        change(&mut run);
        run.to_string()
    };
    let cell =
        |value: &str| with(&|run| run["cells"][0]["cell"]["virtualization"] = Value::from(value));
    let many = with(&|run| {
        let cell = run["matrix"]["cells"][0].clone();
        run["matrix"]["cells"] = Value::Array(vec![cell; 20_001]);
    });
    for (text, words) in [
        (nested, "is not a run"),
        ("{}".to_owned(), "is not a run"),
        (run_text.replacen("\"schema\":1", "\"schema\":2", 1), "schema"),
        (cell("../../../etc/passwd"), "is no name of an axis' value"),
        (cell("<script>alert(1)</script>"), "is no name of an axis' value"),
        (cell("a|b\n"), "is no name of an axis' value"),
        (many, "20001 cells are more than 20000"),
        (
            with(&|run| run["facts"]["x"] = Value::from("y".repeat(1 << 20))),
            "a text of 1048576 bytes",
        ),
        (with(&|run| run["fleet"]["shard"] = Value::from("0/0")), "is no shard"),
        (with(&|run| run["seed"] = Value::from(-1)), "is not a run"),
        (
            with(&|run| {
                let lost = serde_json::json!({ "cell": "a", "block": 1, "reason": "b" });
                run["lost"] = Value::Array(vec![lost; 20_001]);
            }),
            "20001 lost cells are more than 20000",
        ),
        (
            with(&|run| {
                run["lost"] =
                    serde_json::json!([{ "cell": "a", "block": 1, "reason": "b".repeat(1 << 20) }])
            }),
            "a text of 1048576 bytes",
        ),
        (
            with(&|run| run["started_unix"] = Value::from(1_700_000_000)),
            "a stranger's day is not believed",
        ),
        (
            with(&|run| run["cells"][0]["cell"]["virtualization"] = Value::from("docker")),
            "did not plan it",
        ),
    ] {
        std::fs::write(&header, text).unwrap();
        refused(&[words]);
    }
    std::fs::write(&header, &run_text).unwrap();
    let first = boots_text.lines().next().unwrap();
    for (text, words) in [
        (first.replacen("running/netns", "running/../../x", 1), "did not plan it"),
        (first.replacen("\"schema\":1", "\"schema\":7", 1), "schema 7"),
        (
            first.replacen("\"side\":\"base\"", &format!("\"side\":\"{}\"", "b".repeat(1000)), 1),
            "a text of 1000 bytes",
        ),
        ("x".repeat(9 << 20), "is longer than 8 MiB"),
    ] {
        std::fs::write(&boots, text + "\n").unwrap();
        refused(&[words]);
    }
    // What is no plain file is neither followed nor waited for.
    for path in [&header, &boots] {
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
        refused(&["failed to open file"]);
        std::fs::remove_file(path).unwrap();
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        refused(&["is no plain file"]);
        std::fs::remove_file(path).unwrap();
        let text = if path == &header { &run_text } else { &boots_text };
        std::fs::write(path, text).unwrap();
    }
    let sparse = std::fs::OpenOptions::new().write(true).open(&boots).unwrap();
    sparse.set_len(2 << 30).unwrap();
    refused(&["is larger than 1024 MiB"]);
    // Boots that count in nothing are met like the others.
    std::fs::write(&boots, &boots_text).unwrap();
    let beside = Path::new(&one).join("diagnoses.jsonl");
    let counting = |counted: Value| {
        let mut record: Value = serde_json::from_str(first).unwrap();
        record["counted"] = counted;
        record.to_string()
    };
    let numbers = vec![vec![0.0; 1_000]; 51];
    for (text, words) in [
        (first.replacen("running/netns", "running/../../x", 1), "did not plan it"),
        (
            counting(serde_json::json!({ "names": ["a"], "windows": [numbers] })),
            "counts more than the kernel does",
        ),
        (
            counting(serde_json::json!({ "names": ["a".repeat(201)], "windows": [] })),
            "a text of 201 bytes",
        ),
    ] {
        std::fs::write(&beside, text + "\n").unwrap();
        refused(&[words]);
    }
    std::fs::write(&beside, (first.to_owned() + "\n").repeat(201)).unwrap();
    // Numbers that cannot be true take their record with them, and are told.
    let lies = ["1e308", "-1", "1e999"].map(|lie| {
        let mut record: Value = serde_json::from_str(first).unwrap();
        record["workloads"][0]["samples"]["max"] = Value::from("LIE");
        record.to_string().replace("\"LIE\"", lie) + "\n"
    });
    std::fs::write(&boots, boots_text.clone() + &lies.concat() + "NaN\n{\"schema\":1}\n").unwrap();
    let out = place.path().join("whole").to_string_lossy().into_owned();
    let said = run(&mut xtask(&["merge", &one, &other, "--out", &out, "--untrusted"]));
    said.ends_with(0).says(&["is left out"]);
    assert_eq!(said.stderr.matches("is left out").count(), 5, "{said}");
    said.says(&["diagnoses.jsonl`: the last 1 are left out"]);
    let joined = std::fs::read_to_string(Path::new(&out).join("diagnoses.jsonl")).unwrap();
    assert_eq!(joined.lines().count(), 200);
}

#[test]
fn of_shards_there_are_no_more_than_jobs() {
    let place = TempDir::new().unwrap();
    let refused = |words: &[&str]| {
        let named = place.path().to_string_lossy().into_owned();
        let out = place.path().join("out").to_string_lossy().into_owned();
        run(&mut xtask(&["merge", &named, "--out", &out, "--untrusted"])).is_refused_with(words);
    };
    for number in 0..257 {
        let folder = place.path().join(format!("n{number}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("run.json"), "{}").unwrap();
    }
    refused(&["holds more than 256 runs"]);
}

#[test]
fn pages_of_a_branch_that_nobody_wrote_yet_name_the_token_and_are_no_failure() {
    let place = TempDir::new().unwrap();
    let origin = place.path().join("origin").to_string_lossy().into_owned();
    let git = |words: &[&str]| {
        let own = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"];
        let ended = command::run(&[&own[..], words].concat(), PATIENCE).unwrap();
        assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.last_words());
    };
    git(&["init", "--quiet", "--initial-branch", "main", &origin]);
    let (_, text) =
        include_str!("../../ci/gitlab/evenkeel.yml").split_once(".evenkeel-pages:").unwrap();
    let (_, text) = text.split_once("- |\n").unwrap();
    let (step, _) = text.split_once("  artifacts:").unwrap();
    let page = |remote: &str, code: i32| {
        let mut command = assert_cmd::Command::new("bash");
        command.args(["-eo", "pipefail", "-c", step]).current_dir(place.path()).timeout(PATIENCE);
        command.env("EVENKEEL_REMOTE", remote).env("EVENKEEL_PAGES", "site");
        run(&mut command).ends_with(code);
        std::fs::read_to_string(place.path().join("public/index.html")).unwrap_or_default()
    };
    assert!(page(&origin, 0).contains("EVENKEEL_TOKEN"));
    std::fs::write(place.path().join("origin/index.html"), "reports").unwrap();
    git(&["-C", &origin, "checkout", "--quiet", "-b", "site"]);
    git(&["-C", &origin, "add", "index.html"]);
    git(&["-C", &origin, "commit", "--quiet", "-m", "one"]);
    assert_eq!(page(&origin, 0), "reports");
    assert_eq!(page("nowhere", 128), "");
}
