//! Policies: what is left out, what is wrong and where, and that every threshold is printed.

use super::*;

fn errors(text: &str) -> String {
    parse(text, "policy.toml").unwrap_err().to_string()
}

fn built_in() -> Policy {
    parse(EMBEDDED, "policy (built in)").unwrap()
}

#[test]
fn the_built_in_policy_is_read_from_its_own_file_and_prints_every_threshold() {
    let policy = built_in();
    assert_eq!(find_in(tempfile::tempdir().unwrap().path(), None).unwrap(), policy);
    let lines: Vec<String> =
        policy.lines().into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
policy: policy (built in)
margins: location ×1.02, dispersion ×1.1, tail ×1.1, stall ×1.1, modes ×1.5, between boots ×1.1
may be wrong: a flag anywhere 1 %, equivalent 5 % each, fails more often 0.1 %; suspect below p 0.05
gates: location, dispersion, tail, stall, modes of workloads: all; a cell that only the candidate fails; emulated cells never by figures
finds: location ×1.05, dispersion ×1.4, tail ×1.5, stall ×1.4, modes ×1.8; of rates location ×1.05, dispersion ×1.5, tail ×2, stall ×1.4, modes ×1.8
boots of a gate: screen: 6 to 24 a side of each cell, 2 at a time, cleared at odds of 9, suspect at 2.7 or 55; confirmation: looks at 16 (10 %), 32 (20 %), 48 (20 %), 96 (50 %) fresh ones, futile at 55
needs: 7 boots a side; power 90 %
void: medians that change beyond ×1.08 or spreads beyond ×1.5 with time, position or order, p below 0.001; informs below 90 % of blocks with both sides
noise: a block with more than 25 % of time stolen is left out
counts as: a stall: a transaction longer than 10 ms; a second mode: 10 % of observations apart
test: 10000 permutations
calibration: not required; where it is, a runner gates once `calibrate` has shown at most 5 % false alarms
");
    // Every number of the file is among what is printed, as it is or in percent.
    let numbers = EMBEDDED.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let value = line.split_once('=')?.1.split('#').next()?.trim();
        value.parse::<f64>().ok().filter(|_| !line.starts_with("schema"))
    });
    let printed = lines.join("\n");
    for number in numbers {
        let percent = rounded(number * 100.0);
        let told = [format!("×{number}"), format!("{percent} %"), format!(" {number}")];
        assert!(told.iter().any(|told| printed.contains(told.as_str())), "{number}");
    }
}

#[test]
fn what_is_left_out_is_as_built_in() {
    let mut policy = parse("schema = 1\n[margins]\ntail = 2\n", "mine").unwrap();
    assert_eq!(policy.margins.tail, 2.0);
    policy.margins.tail = built_in().margins.tail;
    // What is to be found stays as far beyond the margin: 2 * 1.5 / 1.1 and 2 * 2 / 1.1.
    assert_eq!((policy.find.tail, policy.find_of_rates.tail), (2.73, 3.64));
    policy.find.tail = built_in().find.tail;
    policy.find_of_rates.tail = built_in().find_of_rates.tail;
    assert_eq!(policy, Policy { file: "mine".into(), ..built_in() });
    let policy =
        parse("schema = 1\n[gate]\naspects = []\nworkloads = ['tcp-rr']\n", "mine").unwrap();
    assert!(!policy.gates("tcp-rr", Aspect::Location));
    assert!(built_in().gates("tcp-rr", Aspect::Location));
    assert!(!built_in().gates("tcp-rr", Aspect::BetweenBoot));
}

#[test]
fn errors_name_the_place_and_the_nearest_right_name() {
    insta::assert_snapshot!(errors("schema = 1\n[margins]\nlocatoin = 1.02\ntail = 0.9\n\n[gate]\naspects = [\"dispersoin\"]\nworkloads = [\"tcp_rr\"]\n"), @r#"
    policy.toml:3:1: unknown key in `[margins]`: `locatoin`
      |
    3 | locatoin = 1.02
      | ^^^^^^^^
      = help: did you mean `location`? known: location, dispersion, tail, stall, modes, between-boot

    policy.toml:4:8: `tail` is out of range
      |
    4 | tail = 0.9
      |        ^^^
      = help: `tail` is a number from 1.0001 to 1000

    policy.toml:7:12: unknown aspect `dispersoin`
      |
    7 | aspects = ["dispersoin"]
      |            ^^^^^^^^^^^^
      = help: did you mean `dispersion`? known: location, dispersion, tail, stall, modes, between-boot

    policy.toml:8:14: unknown workload `tcp_rr`
      |
    8 | workloads = ["tcp_rr"]
      |              ^^^^^^^^
      = help: did you mean `tcp-rr`? known: tcp-rr, tcp-rr-paced, tcp-crr, tcp-stream, udp-rr, udp-stream, icmp, netperf-tcp-rr, netperf-tcp-crr, netperf-tcp-stream, netperf-udp-rr, netperf-udp-stream, iperf3-tcp, ping
    "#);
    insta::assert_snapshot!(errors("schema = 2\n[errors]\nfamily = \"1 %\"\nscreen = nan\n[test]\npermutations = 1.5\n"), @r#"
    policy.toml:1:10: unknown schema 2
      |
    1 | schema = 2
      |          ^
      = help: this version of the tool reads schema = 1

    policy.toml:3:10: `family` must be a number, not a string
      |
    3 | family = "1 %"
      |          ^^^^^

    policy.toml:4:10: `screen` is out of range
      |
    4 | screen = nan
      |          ^^^
      = help: `screen` is a number from 0.000000001 to 0.5

    policy.toml:6:16: `permutations` must be a whole number, not a number with a fraction
      |
    6 | permutations = 1.5
      |                ^^^
      = help: `permutations` is a whole number from 100 to 10000000
    "#);
    insta::assert_snapshot!(errors("schema = 1\n[screen]\nfirst = 9\nmost = 8\n[confirm]\nlooks = [{ fresh = 32, spend = 0.5 }, { fresh = 16, spend = 0.7 }]\n[find]\ntail = 1.05\n"), @r"
policy.toml:4:8: `most = 8` is below `first = 9`
  |
4 | most = 8
  |        ^
  = help: a screen has at least the boots that all cells get

policy.toml:6:9: `looks` must ascend
  |
6 | looks = [{ fresh = 32, spend = 0.5 }, { fresh = 16, spend = 0.7 }]
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: write it as: looks = [{ fresh = 16, spend = 0.3 }, { fresh = 32, spend = 0.7 }]

policy.toml:8:8: `tail = 1.05` is not above its margin, 1.1
  |
8 | tail = 1.05
  |        ^^^^
  = help: a gate finds changes beyond the margin
");
    insta::assert_snapshot!(errors("[[accept]]\ncells = \"docker,\"\naspect = \"p99\"\nuntil = \"2027-02-30\"\nratio = inf\n"), @r#"
    policy.toml:1:1: missing key `schema` in the policy
      |
    1 | [[accept]]
      | ^
      = help: write it as: schema = 1

    policy.toml:1:1: missing key `reason` in `[[accept]]`
      |
    1 | [[accept]]
      | ^^^^^^^^^^
      = help: write it as: reason = "why this is accepted"

    policy.toml:2:9: a term of filter `docker,` is empty; write it as: docker,!noisy
      |
    2 | cells = "docker,"
      |         ^^^^^^^^^

    policy.toml:3:10: unknown aspect `p99`
      |
    3 | aspect = "p99"
      |          ^^^^^
      = help: known: location, dispersion, tail, stall, modes, between-boot

    policy.toml:4:9: `2027-02-30` is no date
      |
    4 | until = "2027-02-30"
      |         ^^^^^^^^^^^^
      = help: write it as: until = "2027-06-30"

    policy.toml:5:9: `ratio` is out of range
      |
    5 | ratio = inf
      |         ^^^
      = help: `ratio` is a number from 1.0001 to 1000
    "#);
    insta::assert_snapshot!(errors("schema = 1\n[margins\n"), @r"
    policy.toml:2:9: invalid TOML: unclosed table, expected `]`
      |
    2 | [margins
      |         ^
    ");
}

#[test]
fn a_policy_is_looked_for_where_matrices_are() {
    let here = tempfile::tempdir().unwrap();
    let find = |named: Option<&str>| find_in(here.path(), named.map(std::path::Path::new));
    std::fs::create_dir(here.path().join("matrices")).unwrap();
    std::fs::write(here.path().join("matrices/policy.toml"), "schema = 1\n[require]\nboots = 9\n")
        .unwrap();
    let found = find(None).unwrap();
    assert_eq!((found.file.as_str(), found.require.boots), ("matrices/policy.toml", 9));
    std::fs::write(here.path().join("mine.toml"), "schema = 1\n").unwrap();
    assert_eq!(find(Some("mine.toml")).unwrap().file, "mine.toml");
    let error = find(Some("none.toml")).unwrap_err().to_string();
    assert!(error.starts_with("failed to read policy `none.toml`: "), "{error}");
    std::fs::write(here.path().join("mine.toml"), b"schema = 1 # \xff\n").unwrap();
    let error = find(Some("mine.toml")).unwrap_err().to_string();
    assert!(error.starts_with("mine.toml:1:14: byte 0xff is not UTF-8"), "{error}");
}

#[test]
fn what_is_accepted_is_told() {
    let text = "schema = 1\n[[accept]]\ncells = 'docker,!noisy'\nworkload = 'tcp-rr'\naspect = 'tail'\nratio = 1.4\nuntil = '2027-06-30'\nreason = 'a mitigation'\n";
    let policy = parse(text, "p").unwrap();
    assert_eq!(
        policy.lines().last().unwrap().1,
        "tail of tcp-rr in docker,!noisy up to ×1.4 until 2027-06-30: a mitigation"
    );
    let cell = |load| Cell::of(["running", "docker", "bridge", "stock", load, "running"]);
    let about = |load, workload, aspect| policy.accept[0].is_about(&cell(load), workload, aspect);
    assert!(about("idle", "tcp-rr", Aspect::Tail));
    assert!(!about("noisy", "tcp-rr", Aspect::Tail));
    assert!(!about("idle", "tcp-stream", Aspect::Tail) && !about("idle", "tcp-rr", Aspect::Stall));
}
