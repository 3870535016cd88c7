//! Programs of the user's from outside: built, brought along, measured and judged, in repositories of the tests' own.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{Host, Said, run, xtask};
use serde_json::Value;

/// A server and its client in one. The server tells whether it is where only the agent is, and what lies beside it.
const ECHO: &str = r#"
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_micros(0);

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let at = (words[2].as_str(), words[3].parse::<u16>().unwrap());
    if words[1] == "serve" {
        let inside = std::path::Path::new("/evenkeel-agent").exists();
        let beside = std::fs::read_to_string("bench/beside.txt").unwrap();
        for peer in TcpListener::bind(at).unwrap().incoming() {
            let mut peer = peer.unwrap();
            peer.set_nodelay(true).unwrap();
            write!(peer, "{inside} {beside}\n").unwrap();
            let mut byte = [0];
            while peer.read(&mut byte).unwrap_or(0) == 1 {
                std::thread::sleep(PAUSE);
                peer.write_all(&byte).unwrap();
            }
        }
    }
    let mut server = TcpStream::connect(at).unwrap();
    server.set_nodelay(true).unwrap();
    let mut byte = [0];
    let mut said = String::new();
    while server.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        said.push(byte[0] as char);
    }
    let times: Vec<String> = (0..200)
        .map(|_| {
            let began = Instant::now();
            server.write_all(&[1]).unwrap();
            server.read_exact(&mut byte).unwrap();
            format!("{:.1}", began.elapsed().as_nanos() as f64 / 1e3)
        })
        .collect();
    println!("{{\"server\":\"{said}\",\"us\":[{}]}}", times.join(","));
}
"#;

/// The table of [`ECHO`]. The compiler is there: it has compiled this.
const TABLE: &str = "[command.echo]\nbuild = ['rustc', '-o', 'bench/echo', 'bench/echo.rs']\n\
    serve = ['bench/echo', 'serve', '{listen}', '{port}']\ndrive = ['bench/echo', 'ask', '{target}', '{port}']\n\
    files = ['bench/beside.txt']\nreads = 'json:us'\nunit = 'us'\nbetter = 'lower'\n";

/// A repository with nothing committed but its matrices.
struct Repository(PathBuf);

impl Repository {
    fn new(place: &Path) -> Repository {
        let repository = Repository(place.join("repository"));
        std::fs::create_dir_all(repository.0.join("matrices")).unwrap();
        std::fs::create_dir_all(repository.0.join("bench")).unwrap();
        repository.git(&["init", "--quiet"]);
        repository
    }

    fn git(&self, words: &[&str]) {
        common::git(&self.0, words);
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "a commit"]);
    }

    /// The matrix `mine` of these axes and workloads, with tables of commands.
    fn matrix(&self, axes: &str, workloads: &str, tables: &str) {
        let text = format!(
            "schema = 1\nname = 'mine'\n[axes]\nkernel = ['running']\n{axes}\n[measure]\nworkloads = [{workloads}]\n\
             boots = 1\nwarmup = '20ms'\nwindow = '20ms'\nwindows = 5\n{tables}"
        );
        self.write("matrices/mine.toml", &text);
    }

    fn echo(&self) {
        self.write("bench/echo.rs", ECHO);
        self.write("bench/beside.txt", "beside it");
    }
}

const NETNS: &str = "virtualization = ['netns']\nnetwork = ['veth']";

fn boots(run: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(run).join("boots.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The programs that a boot says it measured.
fn programs(boot: &Value) -> Vec<&Value> {
    let evidence = boot["evidence"].as_array().unwrap();
    evidence.iter().filter(|evidence| evidence["of"] == "program").collect()
}

#[test]
fn real_a_slower_program_is_built_beside_the_old_one_and_flagged() {
    let host = Host::take();
    let repository = Repository::new(host.place.path());
    repository.matrix(NETNS, "'command-echo'", TABLE);
    repository.echo();
    // What is built is in no commit.
    repository.write(".gitignore", "/bench/echo\n");
    repository.commit();
    repository.write("bench/echo.rs", &ECHO.replace("from_micros(0)", "from_micros(2000)"));
    repository.commit();
    let out = host.path("run");
    let words = ["bench", "mine", "--against", "HEAD~1", "--boots", "7", "--out", &out];
    let said = run(host.xtask(&words).current_dir(&repository.0));
    host.is_restored();
    // A run whose host drifted flags all the same, and says that it cannot be told.
    assert!(matches!(said.code, Some(1 | 3)), "{said}");
    let results = std::fs::read_to_string(Path::new(&out).join("results.json")).unwrap();
    let results: Value = serde_json::from_str(&results).unwrap();
    let rows = results["verdicts"].as_array().unwrap();
    let row = rows.iter().find(|row| row["aspect"] == "location").unwrap();
    assert_eq!((&row["workload"], &row["verdict"]), (&"command-echo".into(), &"regressed".into()));
    assert!(row["ratio"].as_f64().unwrap() > 3.0, "{row}");

    // Each side ran what its own revision builds.
    let made = boots(&out);
    assert_eq!(made.len(), 14);
    let of = |side: &str| {
        let own = made.iter().filter(|boot| boot["side"] == *side);
        let mut sums: Vec<&str> =
            own.flat_map(programs).map(|of| of["sha256"].as_str().unwrap()).collect();
        sums.dedup();
        sums
    };
    assert_eq!((of("base").len(), of("candidate").len()), (1, 1));
    assert_ne!(of("base"), of("candidate"));
    let page = std::fs::read_to_string(Path::new(&out).join("report/index.html")).unwrap();
    for side in ["base", "candidate"] {
        assert!(page.contains(&of(side)[0][..16]), "{side}");
    }

    // One that goes on measures what it began with, whatever the tree holds meanwhile.
    repository.write("bench/echo.rs", "rubbish");
    let records = Path::new(&out).join("boots.jsonl");
    let text = std::fs::read_to_string(&records).unwrap();
    let kept: Vec<&str> = text.lines().take(10).collect();
    std::fs::write(&records, kept.join("\n") + "\n").unwrap();
    let again = run(host.xtask(&["bench", "--resume", &out]).current_dir(&repository.0));
    assert!(matches!(again.code, Some(1 | 3)), "{again}");
    assert!(!again.stderr.contains("building"), "{again}");
    let resumed = boots(&out);
    assert_eq!(resumed.len(), 14);
    let programs_of = |boots: &[Value]| {
        let mut all: Vec<String> =
            boots.iter().flat_map(programs).map(|of| of["copy"].to_string()).collect();
        all.sort();
        all
    };
    assert_eq!(programs_of(&made), programs_of(&resumed));
    host.is_restored();
}

#[test]
fn real_a_program_runs_inside_with_its_libraries_and_files() {
    let host = Host::take();
    let repository = Repository::new(host.place.path());
    let axes = "virtualization = ['netns', 'runc', 'docker']\nnetwork = ['bridge', 'nat']";
    repository.matrix(
        axes,
        "'command-echo', 'command-names'",
        &format!(
            "{TABLE}\
        [command.names]\nserve = ['bench/names', '{{port}}']\nprograms = ['iperf3', 'ls']\n\
        drive = ['bench/ask', '{{target}}', '{{port}}']\nreads = 'csv:rate'\nunit = 'bit/s'\n"
        ),
    );
    repository.echo();
    // A script of the system under test: its shell is brought with it.
    repository.write("bench/names", "#!/bin/sh\nls bench/names && exec iperf3 -s -p $1\n");
    repository.write("bench/ask", "#!/bin/sh\necho n,rate\niperf3 -c $1 -p $2 -t 1 -J | sed -n 's/.*bits_per_second\":[^0-9]*\\([0-9]*\\).*/1,\\1/p' | tail -n 1\n");
    for script in ["bench/names", "bench/ask"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(repository.0.join(script), mode).unwrap();
    }
    let out = host.path("run");
    let said = run(host.xtask(&["bench", "mine", "--out", &out]).current_dir(&repository.0));
    said.ends_with(0);
    host.is_restored();
    let made = boots(&out);
    assert_eq!(made.len(), 6, "{said}");
    for boot in &made {
        let cell = boot["cell"].as_str().unwrap();
        assert_eq!(
            (&boot["outcome"]["is"], &boot["failed"]),
            (&"measured".into(), &Value::Null),
            "{boot}"
        );
        let inside = !cell.contains("netns");
        let raw = boot["workloads"][0]["samples"]["raw"].as_str().unwrap();
        assert!(raw.starts_with(&format!("{{\"server\":\"{inside} beside it\"")), "{cell}: {raw}");
        assert_eq!(boot["workloads"][0]["samples"]["moments"]["count"], 200, "{cell}");
        assert_eq!(boot["workloads"][1]["samples"]["unit"], "bytes/s", "{cell}");
        let names: Vec<&str> =
            programs(boot).into_iter().map(|of| of["program"].as_str().unwrap()).collect();
        assert_eq!(names, ["bench/echo", "bench/names", "bench/ask"]);
    }
}

#[test]
fn real_a_client_that_fails_is_told_in_its_words_and_takes_only_itself() {
    let host = Host::take();
    let repository = Repository::new(host.place.path());
    let table = |name: &str, script: &str| {
        format!("[command.{name}]\ndrive = ['sh', '-c', '{script}']\nunit = 'us'\nwithin = '1s'\n")
    };
    let tables = [
        table("comma", "echo 0,5"),
        table("fails", "echo 12; echo no such peer >&2; exit 3"),
        table("fine", "echo 12; echo 13"),
        table("hangs", "echo 12; sleep 100"),
    ];
    let workloads = "'command-fine', 'command-comma', 'command-hangs', 'command-fails'";
    repository.matrix(NETNS, workloads, &tables.concat());
    let out = host.path("run");
    let said = run(host.xtask(&["bench", "mine", "--out", &out]).current_dir(&repository.0));
    said.ends_with(0);
    host.is_restored();
    let boot = boots(&out).remove(0);
    assert_eq!(boot["workloads"].as_array().unwrap().len(), 1, "{boot}");
    assert_eq!(boot["workloads"][0]["samples"]["moments"]["mean"], 12_500.0);
    let reasons: Vec<&str> = boot["failed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["reason"].as_str().unwrap())
        .collect();
    let wanted = [
        "line 1: `0,5` is no number above zero",
        "command-hangs did not end in time",
        "command-fails failed with code 3: no such peer",
    ];
    assert_eq!(reasons.len(), wanted.len(), "{reasons:?}");
    for (reason, wanted) in reasons.iter().zip(wanted) {
        assert!(reason.contains(wanted), "{reason}");
    }
}

#[test]
fn programs_that_are_none_are_refused_with_their_words() {
    let place = tempfile::tempdir().unwrap();
    let repository = Repository::new(place.path());
    let bench = |words: &[&str]| -> Said {
        let out = place.path().join("run").to_string_lossy().into_owned();
        let words = [&["bench", "mine", "--out", &out], words].concat();
        let said = run(xtask(&words)
            .current_dir(&repository.0)
            .env("EVENKEEL_STATE", place.path().join("state")));
        assert!(!Path::new(&out).exists(), "{said}");
        said
    };
    let with = |table: &str| {
        let table = format!("[command.echo]\nunit = 'us'\n{table}");
        repository.matrix(NETNS, "'command-echo'", &table);
    };
    with("drive = ['bench/echo']\nbuild = ['sh', '-c', 'echo echo.rs:7: mistake >&2; exit 7']");
    bench(&[]).is_refused_with(&["[command.echo] cannot be built", "code 7: echo.rs:7: mistake"]);
    with("drive = ['bench/echo']");
    bench(&[]).is_refused_with(&["[command.echo]: `bench/echo` is not there"]);
    repository.write("bench/echo", "");
    bench(&[]).is_refused_with(&["`bench/echo` cannot be run: `chmod +x bench/echo`"]);
    with("drive = ['../echo', '{tarket}']");
    bench(&[]).is_refused_with(&[
        "matrices/mine.toml:",
        "`../echo` is no file of the repository",
        "did you mean `target`?",
    ]);
    with("drive = ['ek-no-such-program']");
    let lacks = bench(&[]);
    lacks.ends_with(4).says(&["program `ek-no-such-program` is not installed on this host"]);

    // What the base measures is measured on both sides, and is built as each has it.
    with("drive = ['sh', '-c', 'echo 1']\nbuild = ['sh', '-c', 'exit 9']");
    repository.commit();
    with("drive = ['sh', '-c', 'echo 1']");
    let against = ["--against", "HEAD", "--boots", "7"];
    bench(&against).is_refused_with(&["in the base, `HEAD`: [command.echo] cannot be built"]);
    repository.matrix(NETNS, "'tcp-rr'", "");
    bench(&against).is_refused_with(&["`command-echo` is measured", "no table `[command.echo]`"]);
}
