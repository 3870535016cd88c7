//! `compare` and the report of a run with two sides, from outside: exit codes, and input that is not as one would wish.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use xtask::record::store::{BOOTS, RUN};

mod common;
use common::runs::place;
use common::{Said, run, xtask};

fn compare(place: &TempDir, arguments: &[&str]) -> Said {
    run(xtask(&["compare"]).args(arguments).current_dir(place.path()))
}

#[test]
fn exit_codes_say_what_was_found() {
    let place = place();
    for (arguments, code, words) in [
        (
            &["both"][..],
            1,
            &[
                "1 of 2 cells regressed: tcp-stream ",
                "dispersion ×3.09",
                "running/docker/bridge/stock/idle",
            ][..],
        ),
        (&["same"], 0, &["no regression in 2 cells"]),
        (&["steady", "wide"], 0, &["1 of 2 cells regressed", "figures inform and do not gate"]),
        (&["steady", "wide", "--require-conclusive"], 3, &["regressed"]),
        (
            &["steady", "fails"],
            1,
            &["tcp-stream fails in running/docker/bridge/stock/idle", "no answer"],
        ),
        (&["fails", "steady"], 0, &["fails no longer", "are they swapped?"]),
    ] {
        let said = compare(&place, arguments);
        said.ends_with(code);
        let text = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(text.contains(word), "`{word}`: {said}");
        }
        assert!(text.contains("location ×1.02, dispersion ×1.1"), "the policy is printed: {said}");
        let wide = said.stdout.lines().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None, "wider than a terminal");
    }
}

#[test]
fn a_table_is_as_long_as_it_is_asked_to_be() {
    let place = place();
    let told = |more: &[&str]| {
        let said = compare(&place, &[&["both"][..], more].concat());
        said.ends_with(1).stdout.clone()
    };
    let (short, usual, whole) = (told(&["-q"]), told(&[]), told(&["-v"]));
    assert!(
        short.starts_with("1 of 2 cells regressed") && short.contains("\nregressed: "),
        "{short}"
    );
    assert!(!short.contains("policy") && !short.contains("inconclusive: "), "{short}");
    assert!(
        usual.contains("--verbose has the whole policy") && !usual.contains("may be wrong"),
        "{usual}"
    );
    assert!(whole.contains("may be wrong") && whole.contains("steady: "), "{whole}");
    let lines = [&short, &usual, &whole].map(|text| text.lines().count());
    assert!(lines[0] < lines[1] && lines[1] < lines[2], "{lines:?}");
}

#[test]
fn verdicts_are_printed_for_programs_and_for_comments() {
    let place = place();
    let said = compare(&place, &["both", "--format", "json"]);
    let json: Value = serde_json::from_str(&said.ends_with(1).stdout).unwrap();
    assert_eq!(json["overall"]["verdict"], "regressed");
    let rows = json["verdicts"].as_array().unwrap();
    let flags: Vec<&Value> =
        rows.iter().filter(|row| row["verdict"] == "regressed" && row["gates"] == true).collect();
    assert!(
        !flags.is_empty()
            && flags.iter().all(|row| row["cell"] == "running/docker/bridge/stock/idle")
    );
    for key in [
        "cell",
        "workload",
        "aspect",
        "verdict",
        "ratio",
        "low",
        "high",
        "p",
        "p_corrected",
        "detectable_ratio",
        "reason",
    ] {
        assert!(rows.iter().all(|row| row.get(key).is_some()), "{key}");
    }
    assert!(rows.iter().any(|row| row["verdict"] == "equivalent"), "{rows:?}");
    assert_eq!(json["comparison"]["gate"], "gates");
    let said = compare(&place, &["both", "--format", "markdown"]);
    let said = said.ends_with(1);
    assert!(said.stdout.starts_with("**1 of 2 cells regressed: "), "{said}");
    assert!(
        said.stdout
            .contains("| regressed | running/docker/bridge/stock/idle | tcp-stream | dispersion |"),
        "{said}"
    );
}

#[test]
fn a_report_of_two_sides_has_the_verdicts() {
    let place = place();
    let dir = place.path().join("both");
    run(&mut xtask(&["report", dir.to_str().unwrap()]))
        .ends_with(0)
        .says(&["1 of 2 cells regressed"]);
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let json: Value = serde_json::from_str(&read("results.json")).unwrap();
    assert_eq!(json["overall"]["verdict"], "regressed");
    // Figures are of the candidate alone: half of the boots.
    assert_eq!(json["cells"][0]["workloads"][0]["boots"], 12);
    for (name, words) in [
        (
            "report/index.html",
            &["Candidate against base", "by which policy was it judged?", "location ×1.02"][..],
        ),
        ("summary.md", &["### Against the base", "<summary>Policy</summary>"]),
        ("junit.xml", &["<failure type=\"regressed\"", "name=\"tcp-stream dispersion\""]),
    ] {
        let text = read(name);
        words.iter().for_each(|word| assert!(text.contains(word), "{name}: {word}"));
    }
}

#[test]
fn a_run_is_judged_by_the_policy_that_it_holds() {
    let place = place();
    let header = place.path().join("both").join(RUN);
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&header).unwrap()).unwrap();
    json["policy"] = "schema = 1\n[gate]\naspects = [\"location\"]\n".into();
    fs::write(&header, json.to_string()).unwrap();
    let said = compare(&place, &["both"]);
    assert!(said.ends_with(0).stdout.contains("policy of the base (run.json)"), "{said}");
    // Another one only where it is named: a candidate would loosen its own gate.
    fs::create_dir(place.path().join("matrices")).unwrap();
    fs::write(place.path().join("matrices/policy.toml"), "schema = 1\n").unwrap();
    compare(&place, &["both"]).ends_with(0);
    compare(&place, &["both", "--policy", "matrices/policy.toml"]).ends_with(1);
}

#[test]
fn what_is_no_run_or_no_policy_is_refused_with_its_place() {
    let place = place();
    let refused =
        |arguments: &[&str], words: &[&str]| compare(&place, arguments).is_refused_with(words);
    refused(&["nothing", "steady"], &["no run in `nothing`: `run.json` is missing"]);
    refused(
        &["steady"],
        &["`steady`: it has no records of a base", "name the run to compare it with"],
    );
    fs::write(place.path().join("p.toml"), "schema = 1\n[margins]\nlocatoin = 2\n").unwrap();
    refused(
        &["both", "--policy", "p.toml"],
        &["p.toml:3:1: unknown key in `[margins]`: `locatoin`", "did you mean `location`?"],
    );
    refused(&["both", "--policy", "none.toml"], &["failed to read policy `none.toml`"]);
    let (both, third) = (place.path().join("both").join(BOOTS), "\"side\":\"third\"");
    let text = fs::read_to_string(&both).unwrap();
    fs::write(&both, text.replacen("\"side\":\"base\"", third, 1)).unwrap();
    refused(&["both"], &["`both`: it has records of side `third`"]);
    let header = place.path().join("wide").join(RUN);
    let text = fs::read_to_string(&header).unwrap();
    fs::write(&header, text.replacen("\"schema\": 1", "\"schema\": 2", 1)).unwrap();
    refused(&["steady", "wide"], &["has schema 2, this tool reads schema 1"]);
    fs::write(&header, &text[..text.len() / 2]).unwrap();
    refused(&["steady", "wide"], &["is not a run"]);
}

#[test]
fn damaged_records_are_told_and_left_out() {
    let place = place();
    let boots = place.path().join("both").join(BOOTS);
    let text = fs::read_to_string(&boots).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let broken = [
        ("\"min\":", "\"min\":-1e9,\"was\":"),
        ("\"max\":", "\"max\":1e300,\"was\":"),
        ("\"mean\":", "\"mean\":NaN,\"was\":"),
    ];
    for (line, (from, to)) in lines.iter_mut().zip(broken) {
        *line = line.replacen(from, to, 1);
    }
    let cut = lines.pop().unwrap();
    fs::write(&boots, lines.join("\n") + "\n" + &cut[..cut.len() / 2]).unwrap();
    let said = compare(&place, &["both"]);
    said.ends_with(1).says(&[
        "boots.jsonl` line 1 is left out",
        "line 2 is left out",
        "line 3 is left out",
        "is cut off",
    ]);
    // Another version of a record ends it: guessing would be worse.
    fs::write(&boots, text.replacen("\"schema\":1", "\"schema\":9", 1)).unwrap();
    compare(&place, &["both"]).is_refused_with(&["line 1 has schema 9"]);
}
