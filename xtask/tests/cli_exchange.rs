//! `import` and `export` from outside: other people's files in, ours out, and what is wrong with them.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

mod common;
use common::{Said, run, xtask};

/// A folder with a file, and the program run on it.
struct Place(TempDir);

impl Place {
    fn with(name: &str, text: impl AsRef<[u8]>) -> Place {
        let place = Place(TempDir::new().unwrap());
        std::fs::write(place.path(name), text).unwrap();
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a line; words in capitals are paths here.
    fn run(&self, line: &str) -> Said {
        let words = line.split(' ').map(|word| {
            match word.chars().all(|c| c.is_ascii_uppercase() || c == '/') {
                true => self.path(word),
                false => word.to_owned(),
            }
        });
        let words: Vec<String> = words.collect();
        run(&mut xtask(&words.iter().map(String::as_str).collect::<Vec<_>>()))
    }
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Rows of two series over these runs.
fn rows(runs: &[&str]) -> String {
    let mut text = "series,run,boot,value,unit,time,commit\n".to_owned();
    for run in runs {
        for boot in 0..6 {
            for value in 0..40 {
                let latency = 20.0 + f64::from(boot) * 0.5 + f64::from(value * 7 % 40) * 0.1;
                let commit = "0123456789abcdef";
                writeln!(text, "running/docker/bridge/stock/idle:tcp-rr,{run},{boot},{latency},us,1793529720,{commit}").unwrap();
                writeln!(
                    text,
                    "\"Copies, a second\",{run},{boot},{},MB/s,1793529720,{commit}",
                    900 + value
                )
                .unwrap();
            }
        }
    }
    text
}

#[test]
fn rows_become_a_run_that_is_reported_and_exported_again() {
    let place = Place::with("ROWS", format!("\u{feff}{}", rows(&["r1"]).replace('\n', "\r\n")));
    let said = place.run("import csv ROWS --out RUN");
    assert_eq!(said.ends_with(0).stdout, format!("{}\n", place.path("RUN")));
    assert_eq!(said.stderr, "");
    let results = json(place.path("RUN/results.json"));
    let [copies, docker] = &results["cells"].as_array().unwrap()[..] else { panic!("{results}") };
    assert_eq!(docker["id"], "running/docker/bridge/stock/idle");
    let workload = &docker["workloads"][0];
    assert_eq!(
        (&workload["name"], &workload["boots"], &workload["unit"]),
        (&"tcp-rr".into(), &6.into(), &"ns".into())
    );
    assert!(
        (workload["figures"]["median"].as_f64().unwrap() - 23_200.0).abs() < 100.0,
        "{workload}"
    );
    assert_eq!(copies["workloads"][0]["better"], "higher");

    place.run("report RUN").ends_with(0);
    let page = std::fs::read_to_string(place.path("RUN/report/index.html")).unwrap();
    assert!(page.contains("running/docker/bridge/stock/idle"));

    let first = place.run("export csv RUN");
    assert!(
        first
            .ends_with(0)
            .stdout
            .contains("\"Copies, a second\",r1,0,900000000,bytes/s,1793529720,0123456789abcdef\n")
    );
    std::fs::write(place.path("AGAIN"), &first.stdout).unwrap();
    place.run("import csv AGAIN --out SAME").ends_with(0);
    assert_eq!(place.run("export csv SAME").ends_with(0).stdout, first.stdout);
    let without_name = |name: &str| {
        let mut results = json(place.path(name));
        results["matrix"].take();
        results
    };
    assert!(without_name("SAME/results.json") == without_name("RUN/results.json"));
}

#[test]
fn every_export_is_what_its_readers_take() {
    let place = Place::with("ROWS", rows(&["r1"]));
    place.run("import csv ROWS --out RUN").ends_with(0);
    let said = place.run("export bmf RUN");
    let bmf: Value = serde_json::from_str(&said.ends_with(0).stdout).unwrap();
    let latency = &bmf["running/docker/bridge/stock/idle:tcp-rr"]["latency"];
    let [low, value, high] =
        ["lower_value", "value", "upper_value"].map(|key| latency[key].as_f64().unwrap());
    assert!(low < value && value < high && (23_000.0..23_500.0).contains(&value), "{bmf}");

    let said = place.run("export github-action-benchmark RUN --out SMALLER");
    said.ends_with(0)
        .says(&["1 figures are better higher: export github-action-benchmark-bigger has them"]);
    let entries = json(place.path("SMALLER"));
    let first = &entries[0];
    assert!(
        first["name"].is_string() && first["unit"].is_string() && first["value"].is_f64(),
        "{first}"
    );
    let said = place.run("export github-action-benchmark-bigger RUN");
    let bigger: Value = serde_json::from_str(&said.ends_with(0).stdout).unwrap();
    assert_eq!(bigger.as_array().unwrap().len(), 1);

    // Imported values are not transactions of ours.
    place.run("export hgrm RUN --out FOLDER").is_refused_with(&["no series of", "has a histogram"]);
    place.run("export csv RUN --out RUN").is_refused_with(&["is a folder: name a file"]);
}

#[test]
fn several_runs_become_folders() {
    let place = Place::with("ROWS", rows(&["2026-11-01", "../x", ".."]));
    let said = place.run("import csv ROWS --out RUNS");
    let names = ["2026-11-01", "-x", "run"].map(|name| place.path(&format!("RUNS/{name}")));
    assert_eq!(said.ends_with(0).stdout, names.join("\n") + "\n");
    place.run("report RUNS").is_refused_with(&["no run in", "it holds", "RUNS/2026-11-01`"]);
    place.run("import csv ROWS --out RUNS").is_refused_with(&["holds a run already"]);
}

#[test]
fn results_of_tools_are_boots_of_a_cell() {
    let netperf = "MIGRATED TCP REQUEST/RESPONSE TEST from 0.0.0.0 (0.0.0.0) port 0 AF_INET to 127.0.0.1 () port 0 AF_INET : demo\n\
        ELAPSED_TIME=1.00\nTHROUGHPUT=55207.22\nTHROUGHPUT_UNITS=Trans/s\n";
    let place = Place::with("NETPERF", netperf.repeat(3));
    let cell = "running/docker/bridge/stock/idle";
    place.run(&format!("import netperf NETPERF NETPERF --out N --cell {cell}")).ends_with(0);
    let results = json(place.path("N/results.json"));
    let workload = &results["cells"][0]["workloads"][0];
    assert_eq!(
        (&results["cells"][0]["id"], &workload["name"]),
        (&cell.into(), &"netperf-tcp-rr".into())
    );
    assert_eq!((&workload["boots"], &workload["figures"]["median"]), (&6.into(), &55207.22.into()));
    place.run("report N").ends_with(0);

    let iperf3 = r#"{"start": {"test_start": {"protocol": "TCP"}}, "intervals": [{"sum": {"bits_per_second": 8e9}}], "end": {}}"#;
    std::fs::write(place.path("IPERF"), iperf3).unwrap();
    place.run("import iperf3 IPERF --out I").ends_with(0);
    let results = json(place.path("I/results.json"));
    assert_eq!(results["cells"][0]["workloads"][0]["figures"]["median"], 1e9);
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line_and_leaves_no_run() {
    let right = rows(&["r1"]);
    for (from, to, words) in [
        ("series,run", "serie,run", ["ROWS:1: unknown column `serie`", "did you mean `series`?"]),
        (",20,us", ",nan,us", ["ROWS:2: value `nan`", "finite"]),
        (",20,us", ",-20,us", ["ROWS:2: value `-20`", "from 0 on"]),
        (",20,us", ",1e30,us", ["ROWS:2: value", "1e15"]),
        (
            "900,MB/s",
            "900,s",
            ["ROWS:5: series `Copies, a second` is in `s` and in `MB/s`", "one unit"],
        ),
        (
            "running/docker/bridge/stock/idle:tcp-rr,r1,0,20,",
            "\"running,r1,0,20,",
            ["ROWS:2: 8 fields", "7 columns"],
        ),
    ] {
        let place = Place::with("ROWS", right.replacen(from, to, 1));
        place.run("import csv ROWS --out RUN").is_refused_with(&words);
        assert!(!Path::new(&place.path("RUN")).exists(), "{to}");
    }
}

#[test]
fn a_spreadsheet_computes_nothing_of_what_is_exported() {
    let evil = "\"=HYPERLINK(\"\"http://x\"\")\",@r,0,1,ns,,=1+1\n+x,@r,0,1,ns,,=1+1\n-x,@r,0,1,ns,,=1+1\n";
    let place = Place::with("ROWS", format!("series,run,boot,value,unit,time,commit\n{evil}"));
    place.run("import csv ROWS --out RUN").ends_with(0);
    let exported = place.run("export csv RUN").ends_with(0).stdout.clone();
    let mut reader = exported.lines().skip(1).flat_map(|line| line.split(','));
    assert_eq!(exported.lines().count(), 4, "{exported}");
    let computes = |field: &str| field.trim_matches('"').starts_with(['=', '+', '-', '@']);
    assert!(!reader.any(computes), "{exported}");
    // And it comes back as it was.
    std::fs::write(place.path("AGAIN"), &exported).unwrap();
    place.run("import csv AGAIN --out OTHER").ends_with(0);
    assert_eq!(place.run("export csv OTHER").ends_with(0).stdout, exported);
    let header = json(place.path("OTHER/run.json"));
    assert!(header["facts"].to_string().contains("\"=1+1\""), "{header}");
}

#[test]
fn what_was_emulated_stays_emulated() {
    let place = Place::with("ROWS", rows(&["r1"]));
    place.run("import csv ROWS --out RUN").ends_with(0);
    // As a run of ours has it, of which one cell runs a guest.
    let boots = place.path("RUN/boots.jsonl");
    let text = std::fs::read_to_string(&boots).unwrap();
    let emulated = |line: &str| match line.contains("running/docker") {
        true => line.replace("running/docker", "running/qemu").replacen(
            "\"instrument\":{",
            "\"instrument\":{\"accelerator\":\"tcg\",",
            1,
        ),
        false => line.to_owned(),
    };
    let lines: Vec<String> = text.lines().map(emulated).collect();
    std::fs::write(&boots, lines.join("\n") + "\n").unwrap();
    let header = place.path("RUN/run.json");
    let text = std::fs::read_to_string(&header).unwrap();
    std::fs::write(&header, text.replace("\"docker\"", "\"qemu\"")).unwrap();
    place.run("export csv RUN --out AGAIN").ends_with(0);
    let csv = std::fs::read_to_string(place.path("AGAIN")).unwrap();
    assert!(csv.starts_with("series,run,boot,value,unit,time,commit,accelerator\n"), "{csv}");
    for name in ["B", "C"] {
        place.run(&format!("import csv AGAIN --out {name}")).ends_with(0);
    }
    let said = place.run("compare B C --format json");
    let json: Value = serde_json::from_str(&said.ends_with(0).stdout).unwrap();
    let rows = json["verdicts"].as_array().unwrap();
    let of_guest: Vec<&Value> =
        rows.iter().filter(|row| row["cell"] == "running/qemu/bridge/stock/idle").collect();
    assert!(!of_guest.is_empty() && of_guest.iter().all(|row| row["gates"] == false), "{json:#}");
    assert!(rows.iter().any(|row| row["gates"] == true), "{json:#}");
}
