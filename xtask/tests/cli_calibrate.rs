//! `calibrate` from outside: a matrix against itself on this host, and what is kept of it.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use common::{Host, Quick, run, xtask};
use nix::sys::signal::Signal;

/// What lies in a state folder.
fn kept(state: &std::path::Path) -> serde_json::Value {
    let text = std::fs::read_to_string(state.join("calibration.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn what_makes_no_calibration_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let matrix = Quick::default().write(place.path());
    let matrix = matrix.to_str().unwrap();
    let calibrate = |words: &[&str]| {
        let words = [&["calibrate", matrix, "--out", "/nonexistent/run"], words].concat();
        run(xtask(&words).env("EVENKEEL_STATE", place.path().join("state")))
    };
    let few = calibrate(&["--boots", "3"]);
    few.is_refused_with(&["3 boots of each cell cannot give a verdict", "add `--boots 7`"]);
    calibrate(&["--runs", "0"]).is_refused_with(&["--runs"]);
    calibrate(&["--budget", "10"]).is_refused_with(&["--budget", "s, m or h: 10m"]);
    calibrate(&["--only", "dcoker"]).is_refused_with(&["dcoker"]);
    run(&mut xtask(&["calibrate", "smok"])).is_refused_with(&["smok", "did you mean `smoke`?"]);
    assert!(!place.path().join("state/calibration.json").exists());
}

#[test]
fn real_a_matrix_against_itself_is_judged_counted_and_told() {
    let host = Host::take();
    let matrix = Quick::default().write(host.place.path());
    let (matrix, out) = (matrix.to_str().unwrap(), host.path("runs"));
    let words = ["calibrate", matrix, "--out", &out, "--runs", "2", "--seed", "7"];
    let said = run(&mut host.xtask(&words));
    said.ends_with(0).says(&["note: 7 boots a side instead of 1", "run 1: ", "run 2: "]);
    host.is_restored();
    // Whether a busy host flags or drifts is not this test's: that it is counted, once each, is.
    let rate = &kept(host.state.path())["entries"][0]["rate"];
    let count = |name: &str| rate[name].as_u64().unwrap();
    assert_eq!(count("runs") + count("void"), 2, "{said}");
    let flagged = format!("{} of {} run", count("flagged"), count("runs"));
    assert!(count("runs") == 0 || said.stdout.starts_with(&flagged), "{said}");

    // Labels are those of the schedule: each side has as many boots, and which comes first in a pair is the seed's.
    let boots = std::fs::read_to_string(host.path("runs/0002/boots.jsonl")).unwrap();
    let records: Vec<serde_json::Value> =
        boots.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for side in ["base", "candidate"] {
        assert_eq!(records.iter().filter(|record| record["side"] == side).count(), 7);
    }
    let text = std::fs::read_to_string(host.path("runs/0002/run.json")).unwrap();
    let stored: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&stored["seed"], &stored["calibrates"]["number"]), (&8.into(), &2.into()));
    assert_eq!(stored["matrix"], stored["base"]["matrix"]);

    // A repetition does not go on, and its report is a matter of its files alone.
    let resumed = run(&mut host.xtask(&["bench", "--resume", &host.path("runs/0002")]));
    resumed.is_refused_with(&["is a repetition of `calibrate`"]);
    let page = || std::fs::read(host.path("runs/0002/report/index.html")).unwrap();
    let before = page();
    std::fs::write(host.state.path().join("calibration.json"), "{}").unwrap();
    run(&mut host.xtask(&["report", &host.path("runs/0002")])).ends_with(0);
    assert!(before == page(), "the report changed");
}

#[test]
fn real_a_repetition_that_is_cut_short_does_not_count_and_the_host_is_restored() {
    let host = Host::take();
    let matrix = Quick::default().write(host.place.path());
    let out = host.path("runs");
    let words = ["calibrate", matrix.to_str().unwrap(), "--out", &out, "--runs", "3", "--verbose"];
    let mut running = host.start(&words);
    running.hear("run 1: ");
    running.hear("[3/14]");
    running.signal(Signal::SIGINT);
    let said = running.end();
    said.ends_with(130).says(&["interrupted: the host is as it was"]);
    assert!(!said.stderr.contains("--resume"), "{said}");
    host.is_restored();
    let rate = &kept(host.state.path())["entries"][0]["rate"];
    assert_eq!(rate["runs"].as_u64().unwrap() + rate["void"].as_u64().unwrap(), 1, "{said}");
}
