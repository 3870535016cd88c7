//! `bench --against` from outside: another revision's inputs beside this one's, in repositories of the tests' own.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{Host, Said, XTASK, run, xtask};
use nix::sys::signal::Signal;

/// Fresh starts a side: the fewest that the policy takes.
const BOOTS: usize = 7;

/// Netns beside noisy neighbours.
const MATRIX: &str = "schema = 1\nname = 'gate'\n[axes]\nkernel = ['running']\nvirtualization = ['netns']\n\
    network = ['veth']\ntuning = ['mine']\nload = ['noisy']\n[measure]\nworkloads = ['tcp-rr']\nboots = 7\n\
    warmup = '20ms'\nwindow = '20ms'\nwindows = 10\n";

const TUNED: &str = "schema = 1\nabout = 'a test'\n[knobs]\nplacement = 'auto'\npolicy = 'fifo'\nrt-throttle = 'off'\n";
const UNTUNED: &str = "schema = 1\nabout = 'a test'\n";

/// A repository with one commit.
struct Repository(PathBuf);

impl Repository {
    fn new(place: &Path) -> Repository {
        let repository = Repository(place.join("repository"));
        std::fs::create_dir_all(repository.0.join("matrices/tuning")).unwrap();
        repository.git(&["init", "--quiet"]);
        repository.commit("matrices/gate.toml", MATRIX);
        repository
    }

    fn git(&self, words: &[&str]) {
        common::git(&self.0, words);
    }

    fn commit(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", file]);
    }

    fn bench(&self, host: &Host, out: &str, more: &[&str]) -> Said {
        let out = host.path(out);
        let words = ["bench", "gate", "--out", &out];
        run(host.xtask(&[&words[..], more].concat()).current_dir(&self.0))
    }
}

#[test]
fn real_another_revisions_inputs_are_measured_beside_and_the_exit_code_is_that_of_the_verdicts() {
    let host = Host::take();
    let repository = Repository::new(host.place.path());
    repository.commit("matrices/tuning/mine.toml", TUNED);
    repository.commit("matrices/tuning/mine.toml", UNTUNED);
    let said = repository.bench(&host, "run", &["--against", "HEAD~1", "--boots", "7"]);
    host.is_restored();

    // How a busy host's figures fall out is not this test's: that what they come to is told, and by the exit code too, is.
    let results = std::fs::read_to_string(host.path("run/results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&results).unwrap();
    let rows = results["verdicts"].as_array().unwrap();
    let flags = |row: &&serde_json::Value| row["verdict"] == "regressed" && row["gates"] == true;
    match said.code {
        Some(1 | 3) => assert!(rows.iter().any(|row| flags(&row)), "{said}"),
        _ => {
            said.ends_with(0);
            assert!(!rows.iter().any(|row| flags(&row)), "{rows:?}");
        }
    }
    assert!(!rows.is_empty(), "{said}");

    // What was confirmed is looked into by one boot more, which lies apart from those that count, and is not made twice.
    let confirmed = rows.iter().any(|row| flags(&row) && row["aspect"] != "outcome");
    let confirmed = confirmed && results["comparison"]["gate"] == "gates";
    let looked_into = || {
        let text = std::fs::read_to_string(host.path("run/diagnoses.jsonl")).unwrap_or_default();
        text.lines().count()
    };
    assert_eq!(looked_into(), usize::from(confirmed), "{said}");
    assert_eq!(results["diagnoses"].is_array(), confirmed, "{results}");
    let again =
        run(host.xtask(&["bench", "--resume", &host.path("run")]).current_dir(&repository.0));
    assert_eq!((again.code, looked_into()), (said.code, usize::from(confirmed)), "{again}");
    host.is_restored();
    // A block in which the host was stolen too much is left out on both sides.
    for boots in rows.iter().map(|row| &row["boots"]) {
        assert!(boots[0] == boots[1] && boots[0].as_u64() <= Some(BOOTS as u64), "{rows:?}");
    }

    // Both sides are in the run, one beside the other, and it says what it was measured against.
    let header = std::fs::read_to_string(host.path("run/run.json")).unwrap();
    let header: serde_json::Value = serde_json::from_str(&header).unwrap();
    assert_eq!(header["base"]["revision"], "HEAD~1");
    assert_eq!(header["base"]["commit"].as_str().map(str::len), Some(40));
    assert_eq!(header["base"]["matrix"]["profiles"]["mine"], TUNED);
    assert_eq!(header["matrix"]["profiles"]["mine"], UNTUNED);
    let boots = std::fs::read_to_string(host.path("run/boots.jsonl")).unwrap();
    let sides: Vec<bool> = boots.lines().map(|line| line.contains(r#""side":"base""#)).collect();
    assert_eq!(sides.len(), 2 * BOOTS);
    assert!(sides.chunks(2).all(|block| block[0] != block[1]), "{sides:?}");
    // The knobs of each side are its own: proof was read back of the base's boots, and there is nothing to prove of the candidate's.
    let knobs: Vec<bool> = boots.lines().map(|line| line.contains(r#""of":"knob""#)).collect();
    assert_eq!(knobs, sides);
}

#[test]
fn real_boots_are_taken_until_the_policy_knows_and_a_budget_ends_them() {
    let host = Host::take();
    let repository = Repository::new(host.place.path());
    repository.commit("matrices/tuning/mine.toml", UNTUNED);
    // Little to find, so that the test is short: what is asked for in turn is what it is about.
    repository.commit(
        "matrices/policy.toml",
        "schema = 1\n[screen]\nmost = 8\n[confirm]\nlooks = [{ fresh = 8, spend = 1.0 }]\n",
    );
    repository.commit("README.md", "text");
    let said = repository.bench(&host, "run", &["--against", "HEAD~1"]);
    host.is_restored();
    let boots = std::fs::read_to_string(host.path("run/boots.jsonl")).unwrap();
    let sides: Vec<bool> = boots.lines().map(|line| line.contains(r#""side":"base""#)).collect();
    // Of one cell: the first boots, as many more as its screen took, and fresh ones if it was a suspect.
    assert!(matches!(sides.len() / 2, 6 | 8 | 12..=16), "{} boots: {said}", sides.len());
    assert!(sides.chunks(2).all(|block| block[0] != block[1]), "{sides:?}");
    if sides.len() > 12 {
        assert!(
            said.stderr.contains("screen: ") || said.stderr.contains("confirmation: "),
            "{said}"
        );
    }
    let compared = run(host
        .xtask(&["compare", &host.path("run"), "--format", "json"])
        .current_dir(&repository.0));
    let compared: serde_json::Value = serde_json::from_str(&compared.stdout).unwrap();
    let results = std::fs::read_to_string(host.path("run/results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&results).unwrap();
    assert_eq!(compared["verdicts"], results["verdicts"]);

    // A run that is stopped in the middle of a round goes on with that round.
    let (place, out) = (repository.0.to_string_lossy(), host.path("stopped"));
    let words = ["-C", &place, XTASK, "bench", "gate", "--against", "HEAD~1", "--out", &out];
    let mut running = host.start_with("env", &words, &[]);
    running.hear("[2/12]");
    running.signal(Signal::SIGINT);
    running.end().ends_with(130).says(&["interrupted: the host is as it was"]);
    host.is_restored();
    let resumed = run(host.xtask(&["bench", "--resume", &out]).current_dir(&repository.0));
    assert!(resumed.stderr.contains("boots left of 12"), "{resumed}");
    host.is_restored();

    // What no budget carries is skipped with that reason, and then nothing is left to measure.
    let none = repository.bench(&host, "short", &["--against", "HEAD~1", "--budget", "1s"]);
    none.ends_with(4);
    assert!(none.stderr.contains("the budget of 1 s does not carry it"), "{none}");
    host.is_restored();
}

#[test]
fn revisions_that_are_none_and_bases_that_are_wrong_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let bench = |at: &Path, words: &[&str]| {
        let state = place.path().join("state");
        let words = [&["bench", "gate", "--out", "/nonexistent/run"], words].concat();
        run(xtask(&words).current_dir(at).env("EVENKEEL_STATE", state))
    };
    let repository = Repository::new(place.path());
    repository
        .commit("matrices/tuning/mine.toml", "schema = 1\nabout = 'x'\n[knobs]\npolcy = 'fifo'\n");
    repository.commit("matrices/tuning/mine.toml", TUNED);
    let none = bench(&repository.0, &["--against", "v9"]);
    none.is_refused_with(&["no revision `v9`"]);
    let option = bench(&repository.0, &["--against", "--all"]);
    assert_eq!(option.code, Some(2), "{option}");
    let wrong = bench(&repository.0, &["--against", "HEAD~1"]);
    wrong.is_refused_with(&[
        "in the base, `HEAD~1`",
        "mine.toml",
        "line 4",
        "did you mean `policy`?",
    ]);
    let few = bench(&repository.0, &["--against", "HEAD", "--boots", "6"]);
    few.is_refused_with(&["6 boots of each cell cannot give a verdict", "add `--boots 7`"]);
    let both = bench(&repository.0, &["--against", "HEAD", "--budget", "1h", "--boots", "7"]);
    assert_eq!(both.code, Some(2), "{both}");
    let alone = bench(&repository.0, &["--budget", "1h"]);
    assert_eq!(alone.code, Some(2), "{alone}");
    let wrong = bench(&repository.0, &["--against", "HEAD", "--budget", "soon"]);
    wrong.is_refused_with(&["soon", "a whole number and one of the units"]);
    let absolute = repository.0.join("matrices/gate.toml");
    let words =
        ["bench", absolute.to_str().unwrap(), "--against", "HEAD", "--out", "/nonexistent/run"];
    let itself = run(xtask(&words).current_dir(&repository.0));
    itself.is_refused_with(&["compares", "with itself"]);
    let both = bench(&repository.0, &["--against", "HEAD", "--resume", "x"]);
    assert_eq!(both.code, Some(2), "{both}");
    let outside = place.path().join("outside");
    std::fs::create_dir_all(outside.join("matrices/tuning")).unwrap();
    std::fs::write(outside.join("matrices/gate.toml"), MATRIX).unwrap();
    std::fs::write(outside.join("matrices/tuning/mine.toml"), TUNED).unwrap();
    bench(&outside, &["--against", "HEAD"]).is_refused_with(&["no revision `HEAD`", "git"]);
}
