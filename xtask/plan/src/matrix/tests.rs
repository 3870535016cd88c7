//! What a matrix means and what is said of a wrong one.

use std::time::Duration;

use super::*;

mod command;
mod fuzz;

fn words() -> Vocabulary {
    let list = |names: &str| names.split(' ').map(str::to_owned).collect();
    Vocabulary {
        virtualization: list("netns runc docker qemu"),
        network: list("veth bridge nat"),
        tuning: list("stock isolated"),
        load: list("idle noisy"),
        workloads: list(
            "tcp-rr tcp-rr-paced tcp-stream netperf-tcp-rr netperf-tcp-stream iperf3-tcp",
        ),
        units: [("us", "lower"), ("ms", "lower"), ("MB/s", "higher"), ("1/s", "higher")]
            .map(|(name, better)| UnitName { name: name.to_owned(), better })
            .to_vec(),
    }
}

/// A small valid matrix, with more text after it.
fn with(more: &str) -> String {
    format!(
        r#"schema = 1
name = "m"
[axes]
kernel = ["running"]
virtualization = ["netns", "docker"]
network = ["bridge"]
tuning = ["stock", "isolated"]
{more}"#
    )
}

fn good(text: &str) -> Matrix {
    parse(text, "m.toml", &words()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> String {
    parse(text, "m.toml", &words()).unwrap_err().to_string()
}

/// Messages of all problems, one a line, with their places.
fn messages(text: &str) -> String {
    let errors = parse(text, "m.toml", &words()).unwrap_err();
    let lines = errors.problems.iter().map(|p| format!("{}:{}: {}", p.line, p.column, p.message));
    lines.collect::<Vec<_>>().join("\n")
}

fn ids(matrix: &Matrix) -> Vec<String> {
    matrix.cells.iter().map(Cell::id).collect()
}

#[test]
fn what_is_left_out_has_its_default() {
    let matrix = good(&with(""));
    assert_eq!(matrix.measure, Measure::default());
    insta::assert_snapshot!(ids(&matrix).join("\n"), @r"
    running/netns/bridge/stock/idle
    running/netns/bridge/isolated/idle
    running/docker/bridge/stock/idle
    running/docker/bridge/isolated/idle
    ");
}

/// A small valid matrix that asks for an attribution, with this in its table.
fn attributing(table: &str) -> String {
    let text = with(&format!("[attribution]\n{table}"));
    text.replace("tuning = [\"stock\", \"isolated\"]\n", "")
}

#[test]
fn an_attribution_names_two_profiles_and_leaves_tuning_out() {
    let matrix = good(&attributing("profile = \"isolated\""));
    let asked = matrix.attribution.clone().unwrap();
    assert_eq!((&*asked.profile, &*asked.base, asked.design), ("isolated", "stock", None));
    assert_eq!((matrix.cells.len(), matrix.study), (2, None));
    let other = "profile = \"stock\"\nbase = \"isolated\"\ndesign = \"factorial\"";
    let asked = good(&attributing(other)).attribution.unwrap();
    assert_eq!((&*asked.base, asked.design), ("isolated", Some(Design::Factorial)));
    let wrong = [
        attributing("base = \"stock\""),
        attributing("profile = \"isolate\""),
        attributing("profile = \"isolated\"\nbase = \"isolated\""),
        attributing("profile = \"isolated\"\ndesign = \"factorials\""),
        attributing("profiles = \"isolated\""),
        with("[attribution]\nprofile = \"isolated\""),
    ];
    let told: Vec<String> = wrong.iter().map(|text| messages(text)).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
        7:1: missing key `profile` in `[attribution]`
        8:11: unknown tuning `isolate`
        8:11: the attribution compares `isolated` with itself
        9:10: unknown design `factorials`
        7:1: missing key `profile` in `[attribution]`
        8:1: unknown key in `[attribution]`: `profiles`
        7:10: `tuning` is given by `[attribution]`, which derives its values
        ");
}

#[test]
fn a_default_that_this_tool_does_not_have_is_an_error() {
    let words = Vocabulary { load: vec!["noisy".into()], ..words() };
    let errors = parse(&with(""), "m.toml", &words).unwrap_err();
    assert_eq!((errors.problems.len(), &*errors.problems[0].message), (1, "unknown load `idle`"));
}

#[test]
fn long_and_turned_names_are_cut_and_cleaned_in_messages() {
    let name = format!("\u{202e}{}", "x".repeat(100_000));
    let text = with(&format!("[kernel.\"{name}\"]\ndeb = \"linux\"\n"));
    let text = text.replace("\"running\"", &format!("\"running\", \"{name}y\""));
    let errors = errors(&text);
    assert!(errors.len() < 3000 && !errors.contains('\u{202e}'), "{}", errors.len());
}

#[test]
fn the_whole_of_a_matrix_is_read() {
    let matrix = good(&with(
        r#"load = ["noisy"]
[measure]
workloads = ["tcp-rr-paced"]
boots = 10_000
warmup = "0ms"
window = "1s"
windows = 0x10
ip = "ipv6"
rate = 250
[[exclude]]
virtualization = "docker"
tuning = "isolated"
[[include]]
kernel = "mine"
virtualization = "qemu"
network = "nat"
tuning = "stock"
load = "idle"
[[contrast]]
name = "c"
axis = "tuning"
from = "isolated"
to = "stock"
[kernel.mine]
image = "bzImage"
modules = "lib/modules/6.12"
cmdline = ["preempt=full"]
runner = ["rt"]
expect = { version = "6.12", preempt = "full" }
"#,
    ));
    assert_eq!(ids(&matrix).len(), 4);
    assert_eq!(ids(&matrix)[3], "mine/qemu/nat/stock/idle");
    assert_eq!(
        matrix.measure,
        Measure {
            workloads: vec!["tcp-rr-paced".into()],
            boots: 10_000,
            warmup: Duration::ZERO,
            window: Duration::from_secs(1),
            windows: 16,
            family: Family::Ipv6,
            rate: 250,
        }
    );
    assert_eq!(matrix.contrasts[0].axis, Axis::Tuning);
    assert_eq!(pairs(&matrix.cells, &matrix.contrasts[0]), [(1, 0)]);
    let kernel = &matrix.kernels["mine"];
    assert_eq!(kernel.expect.preempt.as_deref(), Some("full"));
    assert_eq!(kernel.modules.as_deref(), Some("lib/modules/6.12"));
}

#[test]
fn the_default_shows_the_defaults() {
    let (_, text) = EMBEDDED.into_iter().find(|(name, _)| *name == "default").unwrap();
    let default = good(text);
    assert_eq!(default.measure, Measure::default());
    assert_eq!(default.cells.len(), 11);
    assert_eq!(pairs(&default.cells, &default.contrasts[0]).len(), 5);
}

#[test]
fn quick_shortens_and_never_lengthens() {
    let quick_one = quick(&good(&with("")));
    assert_eq!((quick_one.measure.boots, quick_one.measure.windows), (3, 10));
    let small = good(&with("[measure]\nboots = 1\nwindows = 2\n"));
    assert_eq!(quick(&small), small);
}

#[test]
fn a_wrong_name_shows_its_place_and_the_nearest() {
    insta::assert_snapshot!(errors(&with("load = [\"idle\", \"Noissy\"]")), @r#"
    m.toml:8:17: unknown load `Noissy`
      |
    8 | load = ["idle", "Noissy"]
      |                 ^^^^^^^^
      = help: did you mean `noisy`? known: idle, noisy
    "#);
    insta::assert_snapshot!(errors(&with("load = [\"docker\"]")), @r#"
    m.toml:8:9: unknown load `docker`
      |
    8 | load = ["docker"]
      |         ^^^^^^^^
      = help: it is a value of `virtualization`
    "#);
}

#[test]
fn a_wrong_key_shows_its_place_and_the_nearest() {
    insta::assert_snapshot!(errors(&with("[measure]\nwindos = 4\n")), @r"
    m.toml:9:1: unknown key in `[measure]`: `windos`
      |
    9 | windos = 4
      | ^^^^^^
      = help: did you mean `windows`? known: workloads, boots, warmup, window, windows, ip, rate
    ");
}

#[test]
fn a_report_may_have_a_known_form() {
    assert_eq!(good(&with("")).form, None);
    assert_eq!(good(&with("[report]\nform = \"thesis\"\n")).form, Some(Form::Thesis));
    insta::assert_snapshot!(errors(&with("[report]\nform = \"theses\"\n")), @r#"
    m.toml:9:8: unknown form of a report `theses`
      |
    9 | form = "theses"
      |        ^^^^^^^^
      = help: did you mean `thesis`? known: thesis
    "#);
}

#[test]
fn a_kernel_that_is_not_defined() {
    let text = with("[kernel.debian-rt]\ndeb = \"linux-image-rt-amd64\"\n")
        .replace("[\"running\"]", "[\"running\", \"debianrt\"]");
    insta::assert_snapshot!(errors(&text), @r#"
    m.toml:4:22: kernel `debianrt` is not defined
      |
    4 | kernel = ["running", "debianrt"]
      |                      ^^^^^^^^^^
      = help: did you mean `debian-rt`? known: running, debian-rt, debian, debian-cloud, debian-backports, debian-backports-rt; or define it in a table `[kernel.debianrt]`
    "#);
}

#[test]
fn all_problems_are_told_in_one_go() {
    let text = r#"schema = 2
name = "Bad Name"
matrix = 1
[axes]
kernel = []
virtualization = ["netns", "netns"]
tuning = "stock"
[measure]
workloads = ["tcp_rr"]
boots = 0
warmup = 200
window = "20 ms"
windows = nan
ip = "ipv5"
rate = 1_000_000_000_000_000_000_000_000
"#;
    insta::assert_snapshot!(messages(text), @r"
    1:10: unknown schema 2
    2:8: `Bad Name` is no matrix name
    3:1: unknown key in the matrix: `matrix`
    4:1: missing key `network` in `[axes]`
    5:10: axis `kernel` has no values, so there is no cell
    6:28: `netns` is there twice in `virtualization`
    7:10: `tuning` must be an array of strings, not a string
    9:14: unknown workload `tcp_rr`
    10:9: `0` is out of range
    11:10: `warmup` must be a duration with a unit, not a whole number
    12:10: `20 ms` is not a duration
    13:11: `windows` must be a whole number, not a number with a fraction
    14:6: unknown IP version `ipv5`
    15:8: `1000000000000000000000000` is out of range
    ");
}

#[test]
fn absurd_numbers_are_refused_with_their_place() {
    for (line, column) in [
        ("boots = -1", 9),
        ("boots = 10001", 9),
        ("boots = 1e3", 9),
        ("boots = 1.5", 9),
        ("boots = inf", 9),
        ("boots = 1000000000000000000", 9),
        ("boots = \"5\"", 9),
        ("windows = 100001", 11),
        ("window = \"999us\"", 10),
        ("window = \"11m\"", 10),
        ("warmup = \"99999999999999999999m\"", 10),
        ("rate = 0", 8),
        ("window = \"600s\"\nwindows = 1000", 11),
    ] {
        let errors = parse(&with(&format!("[measure]\n{line}")), "m", &words()).unwrap_err();
        assert_eq!(errors.problems.len(), 1, "{line}: {errors}");
        assert_eq!(errors.problems[0].column, column, "{line}: {errors}");
        assert!(errors.problems[0].help.is_some(), "{line}: {errors}");
    }
}

#[test]
fn excludes_must_match() {
    let exclude = |keys: &str| with(&format!("[[exclude]]\n{keys}"));
    insta::assert_snapshot!(errors(&exclude("network = \"nat\"\ntuning = \"stock\"")), @r"
    m.toml:8:1: the exclude matches no cell
      |
    8 | [[exclude]]
      | ^^^^^^^^^^^
      = help: excludes take away combinations of what [axes] lists, never included cells
    ");
    assert_eq!(messages(&exclude("")), "8:1: an exclude without an axis matches every cell");
    assert_eq!(
        messages(&exclude("network = \"bridge\"")),
        "8:1: the excludes take away every cell"
    );
    assert_eq!(messages(&exclude("network = \"brigde\"")), "9:11: unknown network `brigde`");
    assert_eq!(messages(&exclude("net = \"bridge\"")).lines().count(), 2);
}

#[test]
fn includes_are_whole_and_new() {
    let include = "[[include]]\nkernel = \"running\"\nvirtualization = \"netns\"\nnetwork = \"veth\"\ntuning = \"stock\"\n";
    assert_eq!(messages(&with(include)), "8:1: the include lacks `load`");
    let whole = format!("{include}load = \"idle\"\n");
    assert_eq!(good(&with(&whole)).cells.len(), 5);
    insta::assert_snapshot!(errors(&with(&format!("{whole}{whole}"))), @r"
    m.toml:14:1: cell `running/netns/veth/stock/idle` is there twice
       |
    14 | [[include]]
       | ^^^^^^^^^^^
       = help: the include in line 8 adds it already
    ");
    let made = whole.replace("veth", "bridge");
    insta::assert_snapshot!(errors(&with(&made)), @r"
    m.toml:8:1: cell `running/netns/bridge/stock/idle` is there twice
      |
    8 | [[include]]
      | ^^^^^^^^^^^
      = help: the axes make it already
    ");
}

#[test]
fn contrasts_have_a_pair() {
    let contrast = |axis: &str, from: &str, to: &str| {
        let keys = format!("axis = \"{axis}\"\nfrom = \"{from}\"\nto = \"{to}\"\n");
        with(&format!("[[contrast]]\nname = \"c\"\n{keys}"))
    };
    assert_eq!(good(&contrast("tuning", "stock", "isolated")).contrasts.len(), 1);
    insta::assert_snapshot!(errors(&contrast("load", "idle", "noisy")), @r"
    m.toml:8:1: no two cells differ by load `idle` and `noisy` only
      |
    8 | [[contrast]]
      | ^^^^^^^^^^^^
      = help: a contrast compares cells that are equal on all other axes
    ");
    insta::assert_snapshot!(errors(&contrast("tuning", "stock", "stock")), @r#"
    m.toml:12:6: the contrast compares `stock` with itself
       |
    12 | to = "stock"
       |      ^^^^^^^
       = help: name another value of `tuning`
    "#);
    assert_eq!(messages(&contrast("tunning", "stock", "isolated")), "10:8: unknown axis `tunning`");
    assert_eq!(messages(&contrast("tuning", "stok", "isolate")).lines().count(), 2);
    let two = contrast("tuning", "stock", "isolated")
        + "[[contrast]]\nname = \"c\"\naxis = \"tuning\"\nfrom = \"isolated\"\nto = \"stock\"\n";
    assert_eq!(messages(&two), "14:8: contrast `c` is there twice");
}

#[test]
fn kernels_have_one_source() {
    let kernel = |keys: &str| messages(&with(&format!("[kernel.k]\n{keys}\n")));
    assert_eq!(kernel("cmdline = [\"nosmt\"]"), "8:9: kernel `k` has no source");
    assert_eq!(kernel("deb = \"linux\"\nimage = \"b\""), "9:7: kernel `k` has two sources");
    assert_eq!(kernel("modules = \"b\""), "9:11: kernel `k` has modules but no image");
    assert_eq!(kernel("deb = \"--force\""), "9:7: `--force` is no package name");
    assert_eq!(
        kernel("deb = \"linux\"\nexpect = { preempt = \"realtime\" }"),
        "10:22: unknown preemption model `realtime`"
    );
    assert_eq!(
        messages(&with("[kernel.running]\ndeb = \"linux\"\n")),
        "8:9: kernel `running` cannot be defined"
    );
    assert_eq!(
        messages(&with("[kernel.\"a/b\"]\ndeb = \"linux\"\n")),
        "8:9: `a/b` is no kernel name"
    );
    assert!(good(&with("[kernel.unused]\ndeb = \"linux\"\n")).kernels.contains_key("unused"));
}

#[test]
fn missing_parts_of_the_top_level_point_at_the_first_line() {
    insta::assert_snapshot!(errors("schema = 1\n"), @r#"
    m.toml:1:1: missing key `name` in the matrix
      |
    1 | schema = 1
      | ^
      = help: write it as: name = "my-matrix"

    m.toml:1:1: missing key `axes` in the matrix
      |
    1 | schema = 1
      | ^
      = help: write it as: [axes], with a list of values for each axis
    "#);
    assert_eq!(parse("", "m.toml", &words()).unwrap_err().problems.len(), 3);
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    insta::assert_snapshot!(errors("schema = 1\nname = \n"), @"
    m.toml:2:8: invalid TOML: string values must be quoted, expected literal string
      |
    2 | name =
      |        ^
    ");
    insta::assert_snapshot!(errors("schema = 1\nname = \"x\"\nname = \"y\"\n"), @r#"
    m.toml:3:1: invalid TOML: duplicate key
      |
    3 | name = "y"
      | ^^^^
    "#);
    insta::assert_snapshot!(errors("[axes\nkernel = 1"), @"
    m.toml:1:6: invalid TOML: unclosed table, expected `]`
      |
    1 | [axes
      |      ^
    ");
}

#[test]
fn nesting_and_endless_mistakes_end_in_an_error() {
    for text in
        ["a = ".to_owned() + &"[".repeat(100_000), "x\n".repeat(10_000), "[a.".repeat(10_000)]
    {
        assert_eq!(parse(&text, "m.toml", &words()).unwrap_err().problems.len(), 1);
    }
}

#[test]
fn files_of_other_systems_are_read() {
    let text = with("[kernel.k]\ndeb = \"linux\"\n").replace('\n', "\r\n");
    assert_eq!(good(&text), good(&format!("\u{feff}{text}")));
    assert!(messages(&text.replace("bridge", "bridge2")).starts_with("6:12: unknown network"));
}

#[test]
fn bytes_that_are_no_text_are_shown_where_they_are() {
    let errors = parse_bytes(b"schema = 1\nname = \"\xffabc\"\n", "m.toml", &words()).unwrap_err();
    insta::assert_snapshot!(errors.to_string(), @r#"
    m.toml:2:9: byte 0xff is not UTF-8
      |
    2 | name = "�abc"
      |         ^
      = help: save the file as UTF-8
    "#);
}

#[test]
fn many_problems_are_cut() {
    let many: String = (0..200).map(|n| format!("key{n} = 1\n")).collect();
    let errors = parse(&(many + &with("")), "m.toml", &words()).unwrap_err();
    assert_eq!((errors.problems.len(), errors.dropped), (50, 150));
    assert!(errors.to_string().ends_with("... and 150 more"));
}

#[test]
fn products_that_cannot_be_planned_are_refused() {
    let list = |letter: char| (0..2000).map(|n| format!("{letter}{n}")).collect::<Vec<_>>();
    let words = Vocabulary { tuning: list('t'), load: list('l'), ..words() };
    let text = format!(
        "schema = 1\nname = \"m\"\n[axes]\nkernel = [\"running\"]\nvirtualization = [\"netns\", \"docker\"]\n\
         network = [\"bridge\"]\ntuning = {:?}\nload = {:?}\n",
        words.tuning, words.load
    );
    let errors = parse(&text, "m", &words).unwrap_err();
    assert_eq!(
        errors.problems[0].message,
        "the axes make 8000000 cells, at most 4000000 can be planned"
    );
}

#[test]
fn shipped_kernels_need_no_table_and_a_table_replaces_one() {
    let named = |more: &str| {
        let text = with(more).replace("[\"running\"]", "[\"debian\", \"debian-backports-rt\"]");
        good(&text).kernels
    };
    let kernels = named("");
    assert_eq!(kernels.keys().collect::<Vec<_>>(), ["debian", "debian-backports-rt"]);
    let rt = &kernels["debian-backports-rt"];
    assert_eq!(
        (rt.suite.as_deref(), rt.expect.preempt.as_deref()),
        (Some("backports"), Some("rt"))
    );
    let own = named("[kernel.debian]\ndeb = \"linux-image-7-amd64\"\nsuite = \"sid\"\n");
    assert_eq!(own["debian"].deb.as_deref(), Some("linux-image-7-amd64"));
    assert_eq!(own["debian"].suite.as_deref(), Some("sid"));
}

#[test]
fn options_of_a_kernel_are_expected_by_name() {
    let table = |expect: &str| {
        with(&format!("[kernel.k]\nimage = \"b\"\nsuite = \"s\"\nexpect = {{ {expect} }}\n"))
    };
    insta::assert_snapshot!(errors(&table("config = { config_hz = \"250\", CONFIG_HZ = 250 }")), @r#"
    m.toml:10:9: kernel `k` has a suite but no package
       |
    10 | suite = "s"
       |         ^^^
       = help: a suite is where `deb` is taken from

    m.toml:11:23: `config_hz` is no option of a kernel
       |
    11 | expect = { config = { config_hz = "250", CONFIG_HZ = 250 } }
       |                       ^^^^^^^^^
       = help: options are written as CONFIG_HZ: `CONFIG_` with A-Z, 0-9 and `_`

    m.toml:11:54: `CONFIG_HZ` must be a string, not a whole number
       |
    11 | expect = { config = { config_hz = "250", CONFIG_HZ = 250 } }
       |                                                      ^^^
    "#);
    let text = table("config = { CONFIG_HZ = \"250\" }").replace("suite = \"s\"\n", "");
    assert_eq!(good(&text).kernels["k"].expect.config["CONFIG_HZ"], "250");
}

#[test]
fn the_kernel_below_a_guest_is_an_axis_that_may_be_left_out() {
    let ids = |more: &str| good(&with(more)).cells.iter().map(Cell::id).collect::<Vec<_>>();
    assert!(ids("").iter().all(|id| id.split('/').count() == 5));
    let below = "host-kernel = [\"running\", \"debian-rt\"]\n[[exclude]]\nhost-kernel = \"debian-rt\"\n\
        virtualization = \"netns\"\n[[exclude]]\ntuning = \"isolated\"\n\
        [[include]]\nkernel = \"debian\"\nvirtualization = \"qemu\"\nnetwork = \"bridge\"\ntuning = \"stock\"\nload = \"noisy\"\n\
        [[contrast]]\nname = \"below\"\naxis = \"host-kernel\"\nfrom = \"running\"\nto = \"debian-rt\"\n";
    assert_eq!(
        ids(below),
        [
            "running/netns/bridge/stock/idle",
            "running/docker/bridge/stock/idle",
            "running/docker/bridge/stock/idle/debian-rt",
            "debian/qemu/bridge/stock/noisy",
        ]
    );
    let matrix = good(&with(below));
    assert_eq!(pairs(&matrix.cells, &matrix.contrasts[0]), [(1, 2)]);
    let axes = |cell: &Cell| serde_json::to_value(cell).unwrap();
    assert_eq!(axes(&matrix.cells[0]).as_object().unwrap().len(), 5);
    assert_eq!(axes(&matrix.cells[2])["host-kernel"], "debian-rt");
    let again: Cell = serde_json::from_value(axes(&matrix.cells[0])).unwrap();
    assert_eq!(again, matrix.cells[0]);
}
