//! Programs of the user's.

use super::*;

/// A small valid matrix that measures `command-echo`, with this in its table.
fn echo(table: &str) -> String {
    with(&format!("[measure]\nworkloads = [\"tcp-rr\", \"command-echo\"]\n[command.echo]\n{table}"))
}

const LEAST: &str = "drive = [\"echo/client\", \"{target}\", \"{port}\"]\nunit = \"us\"\n";

#[test]
fn a_command_is_a_workload_and_what_is_left_out_has_its_default() {
    let matrix = good(&echo(LEAST));
    let [command] = &*matrix.commands else { panic!("{:?}", matrix.commands) };
    assert_eq!((&*command.workload, command.name()), ("command-echo", "echo"));
    assert_eq!(matrix.measure.workloads, ["tcp-rr", "command-echo"]);
    assert_eq!((&command.reads, command.within), (&Reads::Lines, Duration::from_secs(30)));
    assert!(command.serve.is_empty() && command.is_told_target());
}

#[test]
fn the_whole_of_a_command_is_read_and_comes_back() {
    let matrix = good(&echo(
        "build = ['make', '-C', 'echo']\nserve = ['./echo/server', '-p', '{port}', '-p', 'awk {print}x']\n\
         drive = ['echo-client', '{{target}}', '{seconds}']\nprograms = ['busybox']\nfiles = ['echo/config.json']\n\
         reads = 'csv:rate'\nunit = 'MB/s'\nbetter = 'higher'\nwithin = '90s'\n"
            .replace("{print}", "{{print}}")
            .as_str(),
    ));
    let command = &matrix.commands[0];
    assert_eq!(command.serve[1..], ["-p", "{port}", "-p", "awk {{print}}x"]);
    assert_eq!(command.reads, Reads::Csv("rate".into()));
    assert!(!command.is_told_target());
    let text = serde_json::to_string(&matrix).unwrap();
    assert_eq!(serde_json::from_str::<Matrix>(&text).unwrap(), matrix);
}

#[test]
fn forms_of_output_are_told_apart() {
    for (text, reads) in [
        ("lines", Reads::Lines),
        ("json", Reads::Json(None)),
        ("json:latencies", Reads::Json(Some("latencies".into()))),
        ("csv:us: p50", Reads::Csv("us: p50".into())),
    ] {
        let matrix = good(&echo(&format!("{LEAST}reads = \"{text}\"\n")));
        assert_eq!(matrix.commands[0].reads, reads);
    }
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let wrong = [
        echo(""),
        echo(&LEAST.replace("{port}", "{prot}")),
        echo(&format!("{LEAST}serve = [\"echo/server\", \"{{target}}\"]\n")),
        echo(&format!("{LEAST}serve = []\nbuild = \"make\"\n")),
        echo(&LEAST.replace("echo/client", "../client")),
        echo(&LEAST.replace("echo/client", "/usr/bin/client")),
        echo(&format!(
            "{LEAST}files = [\"/etc/passwd\", \"a/../b\", \".\"]\nprograms = [\"bin/sh\"]\n"
        )),
        echo(&format!("{LEAST}better = \"higher\"\n")),
        echo(&format!("{LEAST}better = \"more\"\n")),
        echo(&LEAST.replace("\"us\"", "\"uss\"")),
        echo(&format!("{LEAST}reads = \"csv:\"\nwithin = \"0s\"\n")),
        echo(&format!("{LEAST}drvie = []\n")),
        with(&format!("[command.echo]\n{LEAST}")),
        with("[measure]\nworkloads = [\"command-ecko\"]\n"),
        echo(&format!("{LEAST}[command.\"E cho\"]\n{LEAST}")),
    ];
    let told: Vec<String> = wrong.iter().map(|text| messages(text)).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    10:1: missing key `drive` in `[command.echo]`
    10:1: missing key `unit` in `[command.echo]`
    11:37: unknown placeholder `{prot}` in `drive`
    13:9: a server without `{port}` could not be told apart from one that is not ready
    13:25: unknown placeholder `{target}` in `serve`
    13:9: `serve` has no words
    14:9: `build` must be an array of strings, not a string
    11:10: `../client` is no file of the repository
    11:10: `/usr/bin/client` is no file of the repository
    13:10: `/etc/passwd` is no file of the repository
    13:25: `a/../b` is no file of the repository
    13:35: `.` is no file of the repository
    14:13: `bin/sh` is no program of the host
    13:10: `us` is a unit of which lower is better
    13:10: unknown direction `more`
    12:8: unknown unit `uss`
    13:9: unknown form of an output: `csv:`
    14:10: `0s` is out of range
    13:1: unknown key in `[command.echo]`: `drvie`
    8:10: command `echo` is not measured
    9:14: workload `command-ecko` has no table
    13:10: `E cho` is no command name
    13:10: command `E cho` is not measured
    ");
}

#[test]
fn help_names_what_would_be_right() {
    insta::assert_snapshot!(errors(&echo(&LEAST.replace("{port}", "{prot}"))), @r#"
    m.toml:11:37: unknown placeholder `{prot}` in `drive`
       |
    11 | drive = ["echo/client", "{target}", "{prot}"]
       |                                     ^^^^^^^^
       = help: did you mean `port`? known: target, port, seconds; for the text itself write {{prot}}
    "#);
    let text = echo(LEAST).replace("\"command-echo\"", "\"command-ecko\"");
    insta::assert_snapshot!(errors(&text), @r#"
    m.toml:9:24: workload `command-ecko` has no table
      |
    9 | workloads = ["tcp-rr", "command-ecko"]
      |                        ^^^^^^^^^^^^^^
      = help: did you mean `command-echo`? known: tcp-rr, tcp-rr-paced, tcp-stream, netperf-tcp-rr, netperf-tcp-stream, iperf3-tcp, command-echo; or define it in a table `[command.ecko]`

    m.toml:10:10: command `echo` is not measured
       |
    10 | [command.echo]
       |          ^^^^
       = help: add "command-echo" to `workloads`, or take the table away
    "#);
}
