//! Wrong input, from outside: exit code 2, nothing on standard output, and on standard error the place, the line with a
//! caret, and the nearest right name. Never a panic. `bench` refuses what `plan` refuses, before it makes anything.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;

use tempfile::TempDir;

mod common;
use common::{Said, as_nobody, open_to_all, run, xtask};

/// A matrix without mistakes. A case replaces the line that begins like its own first line, or else adds its lines.
const RIGHT: &str = "\
schema = 1
name = 'right'
[axes]
kernel = ['running']
virtualization = ['netns', 'docker']
network = ['bridge']
tuning = ['stock', 'isolated']
[measure]
workloads = ['tcp-rr']
boots = 1
windows = 5
";

/// Mistakes: the lines, with `@` before what is wrong; the message; words of the help.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str, &str)] = &[
    // Broken TOML.
    ("name = @", "invalid TOML", ""),
    ("name = 'right'\n@name = 'left'", "invalid TOML: duplicate key", ""),
    ("boots = @01", "invalid TOML", ""),
    ("[axes@", "invalid TOML: unclosed table", ""),
    // Wrong types.
    ("schema = @'1'", "`schema` must be a whole number, not a string", ""),
    ("name = @7", "`name` must be a string, not a whole number", ""),
    ("tuning = @'stock'", "`tuning` must be an array of strings, not a string", "tuning = [\"...\"]"),
    ("kernel = [@1]", "every value of `kernel` must be a string", ""),
    ("name = 'right'\nexclude = @'docker'", "`exclude` must be an array of tables", "[[exclude]]"),
    ("kernel = ['running', 'mine']\n@kernel.mine = 1", "", ""),
    // Unknown names.
    ("schema = @2", "unknown schema 2", "this version of the tool reads schema = 1"),
    ("virtualization = ['netns', @'dokcer']", "unknown virtualization `dokcer`", "did you mean `docker`?"),
    ("network = [@'brigde']", "unknown network `brigde`", "did you mean `bridge`?"),
    ("network = [@'docker']", "unknown network `docker`", "it is a value of `virtualization`"),
    ("tuning = ['stock', @'isolate']", "unknown tuning `isolate`", "did you mean `isolated`?"),
    ("workloads = [@'tcp_rr']", "unknown workload `tcp_rr`", "did you mean `tcp-rr`?"),
    ("kernel = [@'debian-tr']", "kernel `debian-tr` is not defined", "did you mean `debian-rt`?"),
    ("kernel = [@'mine']", "kernel `mine` is not defined", "[kernel.mine]"),
    ("@windos = 5", "unknown key in `[measure]`: `windos`", "did you mean `windows`?"),
    ("[@measur]", "unknown key in the matrix: `measur`", "did you mean `measure`?"),
    ("name = @'../../etc'", "`../../etc` is no matrix name", "names begin with"),
    ("tuning = @['stock']\n[attribution]\nprofile = 'isolated'", "`tuning` is given by `[attribution]`", "leave it out"),
    // Duplicates and combinations that are not there.
    ("virtualization = ['netns', @'netns']", "`netns` is there twice in `virtualization`", ""),
    ("kernel = @[]", "axis `kernel` has no values", ""),
    ("@[[exclude]]\nvirtualization = 'qemu'", "the exclude matches no cell", ""),
    ("@[[exclude]]\nnetwork = 'bridge'", "the excludes take away every cell", ""),
    ("@[[include]]\nload = 'idle'", "the include lacks `kernel`", "an include names every axis"),
    ("@[[include]]\nkernel = 'running'\nvirtualization = 'netns'\nnetwork = 'bridge'\ntuning = 'stock'\nload = 'idle'", "is there twice", ""),
    ("@[[contrast]]\nname = 'c'\naxis = 'load'\nfrom = 'idle'\nto = 'noisy'", "no two cells differ by load", ""),
    // Absurd numbers.
    ("boots = @0", "`0` is out of range", "`boots` is a whole number from 1 to 10000"),
    ("boots = @-1", "`-1` is out of range", "`boots` is a whole number from 1 to 10000"),
    ("boots = @1_000_000_000_000_000_000", "out of range", "from 1 to 10000"),
    ("boots = @1_000_000_000_000_000_000_000_000", "out of range", "from 1 to 10000"),
    ("boots = @1e3", "`boots` must be a whole number, not a number with a fraction", "from 1 to 10000"),
    ("boots = @nan", "`boots` must be a whole number", "from 1 to 10000"),
    ("windows = @inf", "`windows` must be a whole number", ""),
    ("window = @20", "`window` must be a duration with a unit", ""),
    ("window = @'0ms'", "`0ms` is out of range", ""),
    ("warmup = @'1000000000000000000000m'", "`1000000000000000000000m` is not a duration", ""),
    ("windows = @100000\nwindow = '600s'", "one boot would measure for", "fewer or shorter windows"),
    // Text that wants to be more than text.
    ("name = @'\u{202e}x'", "is no matrix name", ""),
];

/// The matrix with a case's lines in it, and the 1-based line and column of its `@`.
fn mistaken(lines: &str) -> (String, usize, usize) {
    let first = lines.lines().next().unwrap_or_default().replace('@', "");
    let key = |line: &str| line.split([' ', ']']).next().unwrap_or_default().to_owned();
    let begins =
        |line: &&str| key(line) == key(&first) || (key(&first) == "[axes" && *line == "[axes]");
    let text = match RIGHT.lines().find(begins) {
        Some(line) => RIGHT.replacen(line, lines, 1),
        None => format!("{RIGHT}{lines}\n"),
    };
    let at = text.find('@').expect("every case has its place");
    let line = text[..at].matches('\n').count() + 1;
    let column = text[..at].rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (text.replacen('@', "", 1), line, column)
}

/// What `plan` says to a file; `bench` must say the same, and make no run.
fn refused(file: &Path) -> Said {
    let file = file.to_str().unwrap();
    let (out, state) = (format!("{file}.run"), format!("{file}.state"));
    let plan = run(&mut xtask(&["plan", file]));
    let bench = run(xtask(&["bench", file, "--out", &out]).env("EVENKEEL_STATE", &state));
    assert_eq!((bench.code, &bench.stdout, &bench.stderr), (plan.code, &plan.stdout, &plan.stderr));
    assert!(!Path::new(&out).exists() && !Path::new(&state).exists(), "{plan}");
    plan
}

#[test]
fn a_matrix_without_mistakes_is_planned() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("right.toml");
    std::fs::write(&file, RIGHT).unwrap();
    let said = run(&mut xtask(&["plan", file.to_str().unwrap()]));
    assert!(said.ends_with(0).stdout.contains("running/netns/bridge/isolated/idle"), "{said}");
    assert_eq!(said.stderr, "");
}

#[test]
fn mistakes_in_a_matrix_are_shown_at_their_place() {
    let place = TempDir::new().unwrap();
    for (number, (lines, message, help)) in MISTAKES.iter().enumerate() {
        let (text, line, column) = mistaken(lines);
        let file = place.path().join(format!("{number}.toml"));
        std::fs::write(&file, text).unwrap();
        let said = refused(&file);
        let at = format!("{}:{line}:{column}: ", file.display());
        said.is_refused_with(&[&at, message, help, " | ", "^"]);
        assert!(!said.stderr.contains('\u{202e}'), "{said}");
    }
}

#[test]
fn files_that_are_no_matrix_are_refused_by_name() {
    let place = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = place.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    refused(&write("bytes.toml", b"schema = 1\nname = '\xff\xfe'\n"))
        .is_refused_with(&["bytes.toml:2:9: byte 0xff is not UTF-8", "^"]);
    refused(&write("empty.toml", b"")).is_refused_with(&["empty.toml:1:1: missing key `schema`"]);
    refused(&write("program", &std::fs::read("/bin/true").unwrap()[..4096]))
        .is_refused_with(&["program:1:", "^"]);
    let folder = place.path().join("folder.toml");
    std::fs::create_dir(&folder).unwrap();
    refused(&folder).is_refused_with(&["folder.toml", "it is a folder"]);
    refused(&place.path().join("absent.toml")).is_refused_with(&["absent.toml", "no matrix"]);
    run(&mut xtask(&["plan", "/dev/zero"])).is_refused_with(&["/dev/zero", "larger than 64 MiB"]);
}

#[test]
fn a_file_that_may_not_be_read_is_refused_by_name() {
    let place = TempDir::new().unwrap();
    open_to_all(place.path());
    let file = place.path().join("secret.toml");
    std::fs::write(&file, RIGHT).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    run(&mut as_nobody(place.path(), &["plan", file.to_str().unwrap()]))
        .is_refused_with(&["secret.toml", "Permission denied"]);
}

/// Command lines that are wrong, and words of what is said. `RUN` stands for a run's directory, `NONE` for one without.
#[rustfmt::skip]
const COMMANDS: &[(&str, &[&str])] = &[
    ("", &["Usage:", "bench"]),
    ("bnech", &["unrecognized subcommand 'bnech'", "bench"]),
    ("plan --nope", &["--nope"]),
    ("plan defualt", &["no matrix `defualt`", "did you mean `default`?", "known: containers, default, knobs, preempt, smoke, thesis, virtual-machines"]),
    ("bench defualt --out NONE", &["no matrix `defualt`", "did you mean `default`?"]),
    ("plan default smoke", &["unexpected argument 'smoke'"]),
    ("plan --boots 0", &["'0'", "--boots", "1 to 10000"]),
    ("plan --boots=-1", &["'-1'", "--boots"]),
    ("plan --boots 1000000000000000000", &["--boots", "10000"]),
    ("plan --boots nan", &["'nan'", "--boots"]),
    ("bench --boots 0 --out NONE", &["'0'", "--boots", "1 to 10000"]),
    ("plan --seed x", &["'x'", "--seed"]),
    ("plan --seed=-1", &["'-1'", "--seed"]),
    ("plan --seed 18446744073709551616", &["--seed"]),
    ("plan --shard 0/2", &["`0/2` is no shard", "1 <= I <= N"]),
    ("plan --shard 3/2", &["`3/2` is no shard"]),
    ("plan --shard 1/0", &["`1/0` is no shard"]),
    ("plan --shard 1", &["`1` is no shard", "as in 2/4"]),
    ("plan --shard a/b", &["`a/b` is no shard"]),
    ("plan --shard +1/2", &["`+1/2` is no shard"]),
    ("plan --only dockr", &["filter term `dockr` matches no cell", "did you mean `docker`?"]),
    ("bench --only dockr --out NONE", &["filter term `dockr` matches no cell", "did you mean `docker`?"]),
    ("plan --only docker,", &["a term of filter `docker,` is empty"]),
    ("plan --only virtualisation=docker", &["unknown axis `virtualisation`", "did you mean `virtualization`?"]),
    ("plan --only docker,!docker", &["the filter takes no cell"]),
    ("plan --format yaml", &["'yaml'", "table", "json"]),
    ("plan --format github --shard 1/2", &["--shard 1/2 is a part of it", "did you mean `--shards 2`?"]),
    ("plan --explain running/docker/bridge/isolated/nosiy", &["no cell `running/docker/bridge/isolated/nosiy`", "did you mean `running/docker/bridge/isolated/noisy`?"]),
    ("bench HUGE --out NONE", &["boots, which take about", "--only", "--shard"]),
    ("bench --out RUN", &["holds a run already", "--resume"]),
    ("bench --resume NONE", &["no run in", "`run.json` is missing"]),
    ("bench --resume OTHER", &["run.json` has schema 2", "this tool reads schema 1"]),
    ("bench --resume RUN --out NONE", &["cannot be used with"]),
    ("import csv NONE --out RUN", &["failed to read file", "No such file"]),
    ("import cvs NONE --out RUN", &["'cvs'", "csv"]),
    ("import csv / --out RUN", &["failed to read file `/`: it is a folder"]),
    ("import csv RUN RUN --out NONE", &["takes one file"]),
    ("import netperf /dev/null --out NONE", &["/dev/null:1: no result", "THROUGHPUT="]),
    ("import iperf3 /dev/null --out NONE --cell x", &["`x` is no cell"]),
    ("import iperf3 /dev/null --out NONE", &["/dev/null: the file is empty"]),
    ("export csv NONE", &["no run in", "`run.json` is missing"]),
    ("export xml RUN", &["'xml'", "hgrm", "bmf"]),
    ("history", &["Usage:", "add", "check"]),
    ("history add RUN", &["--history"]),
    ("history add NONE --history NONE", &["no run in"]),
    ("history add RUN --history NONE --keep 1", &["'1'", "--keep"]),
    ("history check --history NONE", &["there is no history", "history add RUN"]),
    ("history check --history /dev/null --accept NONE", &["failed to read file", "No such file"]),
    ("history check --history /dev/null --false-alarms nan", &["above 0"]),
    ("history check --history /dev/null --drift 5", &["--against"]),
    ("history check --history /dev/null --against v1", &["no run of the history has the mark or commit `v1`"]),
    ("report", &["<RUN>"]),
    ("report NONE", &["no run in", "`run.json` is missing"]),
    ("report /dev/null", &["no run in `/dev/null`"]),
    ("report RUN", &["run.json` is not a run"]),
    ("report OTHER", &["run.json` has schema 2", "this tool reads schema 1", "use the version of the tool that wrote it"]),
];

#[test]
fn wrong_command_lines_are_refused() {
    let place = TempDir::new().unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    for (name, header) in [("RUN", "{\"schema\": 1}"), ("OTHER", "{\"schema\": 2}")] {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::write(place.path().join(name).join("run.json"), header).unwrap();
    }
    let huge =
        RIGHT.replace("boots = 1", "boots = 10000").replace("windows = 5", "windows = 10000");
    std::fs::write(at("HUGE"), huge).unwrap();
    for (line, words) in COMMANDS {
        let arguments: Vec<String> = line
            .split_whitespace()
            .map(
                |word| {
                    if word.chars().all(char::is_uppercase) { at(word) } else { word.to_owned() }
                },
            )
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        eprintln!("cargo xtask {line}");
        run(xtask(&arguments).env("EVENKEEL_STATE", at("state"))).is_refused_with(words);
        assert!(!Path::new(&at("NONE")).exists(), "{line} made a run");
    }
}

#[test]
fn what_is_refused_says_what_would_do() {
    let place = tempfile::tempdir().unwrap();
    let refused = |line: &str, words: &[&str]| {
        let arguments: Vec<&str> = line.split(' ').collect();
        run(xtask(&arguments).current_dir(place.path())).is_refused_with(words);
    };
    refused("plan --boots abc", &["'abc'", "it is a whole number from 1 to 10000"]);
    refused("plan --boots 0", &["it is a whole number from 1 to 10000"]);
    refused("plan --budget 30", &["`30` has no unit: 30s are seconds, 30m minutes, 30h hours"]);
    refused(
        "history check --history nope",
        &["there is no history `nope`: `history add RUN --history nope` begins one"],
    );
    let rows = "series,run,boot,value,unit\na,r,0,1,ns\n";
    std::fs::write(place.path().join("rows.csv"), rows).unwrap();
    run(xtask(&["import", "csv", "rows.csv", "--out", "D"]).current_dir(place.path())).ends_with(0);
    refused(
        "import csv rows.csv --out D",
        &["`D` holds a run already, and an import adds to none: choose another --out"],
    );
    let add = ["history", "add", "D", "--history", "h.jsonl", "--mark", "v1.0"];
    run(xtask(&add).current_dir(place.path())).ends_with(0);
    refused(
        "history check --history h.jsonl --against v1.1",
        &["no run of the history has the mark or commit `v1.1`", "did you mean `v1.0`?"],
    );
}
