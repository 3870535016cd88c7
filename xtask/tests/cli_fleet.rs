//! Several runners from outside: shards that are measured, joined and told, and what strangers may ship in their place.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::path::Path;

use common::{Host, Quick, Said, run, xtask};
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
    assert_eq!(jobs["include"][0]["runs_on"], serde_json::json!(["self-hosted", "bench"]));
    // Nothing for a runner to do is no job.
    let many: Value = serde_json::from_str(&plan(&["--shards", "9"]).stdout).unwrap();
    assert_eq!(many["include"].as_array().unwrap().len(), 2);
    plan(&["--runner", "$(id)"]).is_refused_with(&["`$(id)` is no label of a runner"]);
    plan(&["--shards", "257"]).is_refused_with(&["--shards 257"]);
    run(&mut xtask(&["plan", "--shards", "2"])).is_refused_with(&["--format github"]);
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
