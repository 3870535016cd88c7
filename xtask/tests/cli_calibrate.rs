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
    calibrate(&["--budget", "10"]).is_refused_with(&["--budget", "`10` has no unit"]);
    calibrate(&["--only", "dcoker"]).is_refused_with(&["dcoker"]);
    let typo = calibrate(&["--inject", "tial=1us/4"]);
    typo.is_refused_with(&["no fault `tial`", "did you mean `tail`?"]);
    let size = calibrate(&["--inject", "location=2us,tail=1us"]);
    size.is_refused_with(&["`1us` is no size of it", "tail=50us/64"]);
    let nowhere = calibrate(&["--inject", "tail=1us/4", "--into", "docker"]);
    nowhere.is_refused_with(&["`--into` takes no cell"]);
    assert_eq!(calibrate(&["--into", "netns"]).code, Some(2));
    let unfit = calibrate(&["--inject", "quota=20%"]);
    unfit.is_refused_with(&["`quota=20%` cannot be injected: ", "netns"]);
    let bulk = Quick { workloads: "'tcp-stream'", ..Quick::default() }.write(place.path());
    let bulk = ["calibrate", bulk.to_str().unwrap(), "--inject", "location=2us"];
    run(&mut xtask(&bulk)).is_refused_with(&["`location=2us` cannot be injected", "tcp-rr"]);
    run(&mut xtask(&["calibrate", "smok"])).is_refused_with(&["smok", "did you mean `smoke`?"]);
    assert!(!place.path().join("state/calibration.json").exists());
}

#[test]
fn real_a_matrix_against_itself_is_judged_counted_and_told() {
    let host = Host::take();
    let matrix = Quick::default().write(host.place.path());
    let (matrix, out) = (matrix.to_str().unwrap(), host.path("runs"));
    let words = ["calibrate", matrix, "--out", &out, "--runs", "2", "--seed", "7", "--boots", "7"];
    let said = run(&mut host.xtask(&words));
    said.ends_with(0).says(&["run 1: ", "run 2: "]);
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
fn real_faults_are_in_the_candidates_boots_alone_and_proven_there() {
    let host = Host::take();
    let quick = Quick { virtualization: "'netns', 'runc'", ..Quick::default() };
    let matrix = quick.write(host.place.path());
    let (matrix, out) = (matrix.to_str().unwrap(), host.path("runs"));
    let faults = "tail=1ms/16,contention=30%,rate=1mbit";
    let words =
        ["calibrate", matrix, "--out", &out, "--runs", "1", "--into", "netns", "--boots", "7"];
    let said = run(&mut host.xtask(&[&words[..], &["--inject", faults]].concat()));
    said.ends_with(0);
    host.is_restored();
    // No calibration: what was measured was not the same on both sides.
    assert!(!host.state.path().join("calibration.json").exists());
    for (number, fault) in faults.split(',').enumerate() {
        assert!(said.stdout.contains(&format!("{fault}: ")), "{said}");
        let path = host.path(&format!("runs/{:04}/boots.jsonl", number + 1));
        let boots = std::fs::read_to_string(path).unwrap();
        let mut proven = 0;
        for line in boots.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let evidence = record["evidence"].as_array().unwrap();
            let of_fault: Vec<_> = evidence.iter().filter(|e| e["knob"] == "fault").collect();
            let has_it = record["side"] == "candidate"
                && record["cell"].as_str().unwrap().contains("/netns/");
            if record["outcome"]["is"] == "measured" {
                assert_eq!(of_fault.len(), usize::from(has_it), "{record}");
            }
            for evidence in of_fault {
                assert_eq!(evidence["requested"], fault);
                proven += usize::from(evidence["effect"]["is"] != "not-effective");
            }
        }
        assert!(proven > 0, "{fault} was never effective: {said}");
    }
    // Late replies of a millisecond are a tail, however busy the host is.
    let power = std::fs::read_to_string(host.path("runs/power.json")).unwrap();
    let power: serde_json::Value = serde_json::from_str(&power).unwrap();
    let ratios = &power[0]["rows"][0]["aspects"][2]["ratios"];
    assert!(power[0]["runs"] == 0 || ratios[0].as_f64().unwrap() > 1.0, "{power}");
}

#[test]
fn real_a_repetition_that_is_cut_short_does_not_count_and_the_host_is_restored() {
    let host = Host::take();
    let matrix = Quick::default().write(host.place.path());
    let out = host.path("runs");
    let words = [
        "calibrate",
        matrix.to_str().unwrap(),
        "--out",
        &out,
        "--runs",
        "3",
        "--verbose",
        "--boots",
        "7",
    ];
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
