//! Whole reports of whole runs.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::fixture::{Fixture, large, small, thesis};
use super::hostile::hostile;
use super::*;
use crate::matrix::{Axis, Contrast};
use crate::record::results::{AttributionResult, CellOutcome, WorkloadResult};
use crate::record::{BASE, Measured};

pub(super) fn rendered(fixture: &Fixture) -> Rendered {
    render(&fixture.run, &fixture.records, &fixture.results, &[], Place::Run).expect("renders")
}

/// Tags of an HTML or XML text, with their attributes, in order.
pub(super) fn tags(markup: &str) -> Vec<&str> {
    markup
        .split('<')
        .skip(1)
        .filter_map(|piece| piece.split_once('>'))
        .map(|(tag, _)| tag)
        .collect()
}

/// Names of tags and of attributes: what outside text must not be able to add to.
pub(super) fn vocabulary(markup: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for tag in tags(markup) {
        // Between quotes stand values; what is left are names.
        for (n, piece) in tag.split('"').enumerate() {
            if n % 2 == 0 {
                words.extend(
                    piece.split_whitespace().map(|word| word.trim_end_matches('=').to_owned()),
                );
            }
        }
    }
    words
}

/// The page without style and script, which are ours.
fn body(html: &str) -> String {
    let (before, rest) = html.split_once("<style>").expect("a style");
    let (_, rest) = rest.split_once("</style>").expect("its end");
    let (middle, rest) = rest.rsplit_once("<script>").expect("a script");
    let (_, after) = rest.split_once("</script>").expect("its end");
    format!("{before}{middle}{after}")
}

#[test]
fn equal_input_gives_equal_bytes() {
    let fixture = small();
    assert_eq!(rendered(&fixture), rendered(&fixture));
    let mut shuffled = small();
    shuffled.records.reverse();
    assert_eq!(
        rendered(&fixture).html,
        rendered(&shuffled).html,
        "the order of boots on disk does not matter"
    );
}

#[test]
fn the_page_is_whole_and_asks_for_nothing() {
    let fixture = thesis();
    let html = rendered(&fixture).html;
    for cell in &fixture.results.cells {
        assert!(html.contains(&cell.id), "{} is missing", cell.id);
        if matches!(cell.outcome, crate::record::results::CellOutcome::Measured) {
            assert!(
                html.contains(&format!("id=\"{}\"", text::anchor(&cell.id))),
                "{} has no anchor",
                cell.id
            );
        }
    }
    let html = body(&html);
    for tag in tags(&html) {
        // What is inside the page asks for nothing; base64 may hold slashes.
        let tag = tag.split("href=\"data:").next().expect("a first part");
        let outside = tag.contains("src=") || tag.contains("url(") || tag.contains("//");
        assert!(!outside, "this asks for something: <{tag}>");
        assert!(!tag.contains("style="), "the content policy forbids this: <{tag}>");
    }
    let mut ids: Vec<_> = tags(&html)
        .iter()
        .filter_map(|tag| tag.split(" id=\"").nth(1)?.split('"').next())
        .map(str::to_owned)
        .collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id is there twice");
    for link in tags(&html).iter().filter_map(|tag| tag.split("href=\"#").nth(1)?.split('"').next())
    {
        assert!(ids.binary_search(&link.to_owned()).is_ok(), "#{link} leads nowhere");
    }
}

#[test]
fn what_must_be_said_is_said() {
    let Rendered { html, markdown, junit } = rendered(&small());
    for text in [&html, &markdown] {
        assert!(
            text.contains("One host and veth measure memory copies and scheduling, not a wire")
        );
        assert!(text.contains("emulated: informs only"));
        assert!(
            text.contains("no network device that may be assigned to a guest"),
            "a skip without its reason"
        );
        assert!(text.contains("0000:03:00.0"), "a skip without its remedy");
        assert!(text.contains("crun could not set RLIMIT"), "a failure without its reason");
    }
    assert!(html.contains("the count cannot support this figure"));
    assert!(html.contains("clock resolution") && html.contains("24.0 ns"));
    assert!(html.contains("changed back by somebody during the measuring"));
    assert!(junit.contains("failures=\"1\" errors=\"0\" skipped=\"3\""));
}

/// The part of a text from one line to another.
fn part<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).expect("its beginning");
    rest.split_once(to).expect("its end").0
}

#[test]
fn the_thesis_is_told_only_where_it_is_asked_for() {
    let Rendered { html, markdown, .. } = rendered(&small());
    assert!(!html.contains("The thesis's form") && !markdown.contains("The thesis's form"));
    assert!(!html.contains("id=\"kernels\""));
    let html = rendered(&thesis()).html;
    let section = part(&html, "<section id=\"thesis\"", "</section>");
    for said in [
        "The thesis&#x27;s form, not its set-up",
        "no effect of a kernel is claimed",
        "published: Docker, bridged, TCP_RR",
        "published: KVM, bridged, TCP_STREAM",
        "here: running/qemu/bridge/noisy, tcp-rr (emulated: informs only)",
        "2015, realtime",
        "−97.9 %",
        "−86.8 %",
        "+9.7 %",
        "of tuned +8.8 %",
        "of tuned +10.8 %",
        "of run means; it has none within runs",
    ] {
        assert!(section.contains(said) || section.contains(&said.replace("&#x27;", "'")), "{said}");
    }
    // Every row of an emulated guest carries its mark.
    let rows = section.matches("<th scope=\"row\">running/qemu").count();
    let marked =
        section.matches("<tr class=\"is-emulated\"><th scope=\"row\">running/qemu").count();
    assert!(rows > 0 && rows == marked, "{marked} of {rows} rows are marked");
}

#[test]
fn every_chart_of_the_thesis_is_drawn_once_and_those_that_are_not_are_counted() {
    let mut fixture = thesis();
    // Workloads that the thesis does not have: two and nine of each of five places.
    let more = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    for boot in &mut fixture.records {
        if let Some(first) = boot.workloads.first().cloned() {
            let clones = more.map(|name| Measured { workload: name.into(), ..first.clone() });
            boot.workloads.extend(clones);
        }
    }
    for cell in &mut fixture.results.cells {
        if let Some(first) = cell.workloads.first().cloned() {
            let clones = more.map(|name| WorkloadResult { name: name.into(), ..first.clone() });
            cell.workloads.extend(clones);
        }
    }
    let html = rendered(&fixture).html;
    let section = part(&html, "<section id=\"thesis\"", "</section>");
    let mut titles: Vec<&str> =
        section.split("here: ").skip(1).filter_map(|rest| rest.split(['<', '"']).next()).collect();
    let twice = titles.len();
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(titles.len(), 48, "{titles:?}");
    assert_eq!(twice % titles.len(), 0, "{twice} titles of {}", titles.len());
    assert!(section.contains("And 7 more box plots"), "the rest is not counted");
    assert!(!rendered(&thesis()).html.contains("more box plots"));
}

#[test]
fn the_thesis_in_a_pull_request() {
    let markdown = rendered(&thesis()).markdown;
    let beside = "### The thesis's form, not its set-up: beside noisy load\n";
    insta::assert_snapshot!(part(&markdown, beside, "### The thesis").trim(), @r"
    Change as a share of the untuned figure, with its 95 % interval; the published one beside. The report says what differs from the thesis's set-up.

    | cells | workload | figure | published | isolated |
    |---|---|---|--:|--:|
    | running/netns/bridge/noisy | tcp-rr | SD within runs | - | −99.01 % [−99.12 %, −98.9 %] |
    | running/netns/bridge/noisy | tcp-rr | SD of run means | - | −89.3 % [−99.18 %, +40.3 %] inconclusive |
    | running/netns/bridge/noisy | tcp-rr | median | - | +4.8 % [+2.4 %, +7.3 %], of tuned +4.6 % |
    | running/netns/bridge/noisy | tcp-stream | SD within runs | - | −83.0 % [−85.3 %, −80.3 %] |
    | running/netns/bridge/noisy | tcp-stream | SD of run means | - | −84.6 % [−92.3 %, −69.6 %] |
    | running/netns/bridge/noisy | tcp-stream | median | - | +54.6 % [+49.8 %, +59.7 %], of tuned +35.3 % |
    | running/docker/bridge/noisy | tcp-rr | SD within runs | −97.9 % (of run means; it has none within runs) | −98.7 % [−98.8 %, −98.5 %] |
    | running/docker/bridge/noisy | tcp-rr | SD of run means | −97.9 % | −62.0 % [−94.2 %, +147.8 %] inconclusive |
    | running/docker/bridge/noisy | tcp-rr | median | +5.6 %, of tuned +5.3 % (from its plots) | +3.9 % [+0.6 %, +7.3 %], of tuned +3.7 % |
    | running/docker/bridge/noisy | tcp-stream | SD within runs | −4.4 % (of run means; it has none within runs) | −82.4 % [−85.6 %, −78.5 %] |
    | running/docker/bridge/noisy | tcp-stream | SD of run means | −4.4 % | −90.9 % [−96.7 %, −75.2 %] |
    | running/docker/bridge/noisy | tcp-stream | median | +9.7 %, of tuned +8.8 % | +56.3 % [+52.6 %, +60.1 %], of tuned +36.0 % |
    | running/qemu/bridge/noisy (emulated: informs only) | tcp-rr | SD within runs | −86.8 % (of run means; it has none within runs) | −89.1 % [−89.6 %, −88.6 %] |
    | running/qemu/bridge/noisy (emulated: informs only) | tcp-rr | SD of run means | −86.8 % | −53.5 % [−99.16 %, +2,481 %] inconclusive |
    | running/qemu/bridge/noisy (emulated: informs only) | tcp-rr | median | −21.1 %, of tuned −26.8 % (from its plots) | +6.1 % [+3.5 %, +8.8 %], of tuned +5.8 % |
    | running/qemu/bridge/noisy (emulated: informs only) | tcp-stream | SD within runs | −87.6 % (of run means; it has none within runs) | −85.4 % [−88.4 %, −81.7 %] |
    | running/qemu/bridge/noisy (emulated: informs only) | tcp-stream | SD of run means | −87.6 % | −68.6 % [−93.7 %, +57.3 %] inconclusive |
    | running/qemu/bridge/noisy (emulated: informs only) | tcp-stream | median | +12.1 %, of tuned +10.8 % | +54.1 % [+52.5 %, +55.7 %], of tuned +35.1 % |
    ");
}

#[test]
fn what_the_summary_cuts_it_counts() {
    let mut fixture = thesis();
    let pair = fixture.run.kernels[0].clone();
    fixture.run.kernels.resize(65, pair);
    let table = fixture.results.attribution[0].clone();
    let tables = (0..62).map(|n| AttributionResult { profile: format!("p{n}"), ..table.clone() });
    fixture.results.attribution = tables.collect();
    let view = view::View::new(&fixture.run, &fixture.records, &fixture.results, &[]);
    let view = minijinja::value::Value::from_serialize(view.expect("a view"));
    let env = environment().expect("templates");
    let template = env.get_template("summary.md").expect("there");
    let told = |rows: usize| {
        template.render(minijinja::context! { view => view, rows => rows }).expect("renders")
    };
    let all = told(70);
    for said in ["more pairs of kernels", "more tables of knobs"] {
        assert!(!all.contains(said), "{said}: nothing is cut");
    }
    let cut = told(8);
    let thesis = part(&cut, "beside noisy load", "###");
    assert!(thesis.contains("\nAnd 10 more, all in the report."), "{thesis}");
    assert!(cut.contains("\nAnd 57 more pairs of kernels, all in the report."));
    assert!(cut.contains("\nAnd 54 more tables of knobs, all in the report."));
    assert!(!told(0).contains("And "), "without rows there are no tables to count");
}

#[test]
fn a_rate_that_is_told_as_a_round_trip_is_labelled_so() {
    let mut fixture = thesis();
    for boot in &mut fixture.records {
        for measured in boot.workloads.iter_mut().filter(|m| m.workload == "tcp-stream") {
            measured.workload = "netperf-tcp-rr".into();
            measured.samples.unit = evenkeel_agent::samples::Unit::TransactionsPerSecond;
        }
    }
    for cell in &mut fixture.results.cells {
        for workload in cell.workloads.iter_mut().filter(|w| w.name == "tcp-stream") {
            workload.name = "netperf-tcp-rr".into();
        }
    }
    let Rendered { html, markdown, .. } = rendered(&fixture);
    assert!(markdown.contains("| netperf-tcp-rr | mean round trip of runs (1 / rate) |"));
    assert!(!markdown.contains("| netperf-tcp-rr | median |"));
    assert!(markdown.contains("| tcp-rr | median |"));
    assert!(html.contains("netperf-tcp-rr <small>median: mean round trip of runs (1 / rate)"));
}

/// The thesis's fixture where kernels are compared, too: every tuned cell of netns ran under another one.
fn with_kernels() -> Fixture {
    let mut fixture = thesis();
    fixture.run.matrix.contrasts.push(Contrast {
        name: "realtime-kernel".into(),
        axis: Axis::Kernel,
        from: "running".into(),
        to: "debian-rt".into(),
    });
    for cell in &mut fixture.results.cells {
        if &*cell.axes.virtualization != "netns" || &*cell.axes.tuning != "isolated" {
            continue;
        }
        let before = std::mem::take(&mut cell.id);
        cell.axes.kernel = "debian-rt".into();
        cell.id = cell.axes.id();
        for boot in fixture.records.iter_mut().filter(|boot| boot.cell == before) {
            boot.cell.clone_from(&cell.id);
        }
    }
    fixture
}

/// Rows of the thesis's form about netns beside load.
fn thesis_of_netns(fixture: &Fixture) -> Vec<String> {
    let markdown = rendered(fixture).markdown;
    let rows = part(&markdown, "beside noisy load", "###").lines();
    let of = |row: &&str| row.contains("netns/bridge/noisy") && row.contains("SD within runs");
    rows.filter(of).map(str::to_owned).collect()
}

#[test]
fn a_kernel_and_a_tuning_at_once_are_counted_by_boots_of_the_kernel() {
    let mut fixture = with_kernels();
    // All of the fixture's starts are under one boot of the host.
    let rows = thesis_of_netns(&fixture);
    assert!(
        rows.len() == 2 && rows.iter().all(|row| row.ends_with("(no interval) inconclusive |"))
    );
    let html = rendered(&fixture).html;
    assert!(html.contains("inconclusive: 1 and 1 boots of the kernels"));
    for boot in &mut fixture.records {
        boot.host_boot = format!("{}-{}", boot.cell, boot.boot);
    }
    let rows = thesis_of_netns(&fixture);
    assert!(rows.len() == 2 && rows.iter().all(|row| !row.contains("inconclusive")), "{rows:?}");
}

#[test]
fn another_instrument_or_path_decides_nothing_and_failures_are_told() {
    let noisy = |boot: &&mut crate::record::Record| {
        boot.cell.contains("netns") && boot.cell.contains("isolated") && boot.cell.contains("noisy")
    };
    let mut other = thesis();
    for boot in other.records.iter_mut().filter(noisy) {
        boot.instrument.insert("cpu".into(), "another".into());
        boot.fingerprint = "another".into();
    }
    let rows = thesis_of_netns(&other);
    assert!(!rows.is_empty() && rows.iter().all(|row| row.ends_with("inconclusive |")), "{rows:?}");
    let html = rendered(&other).html;
    assert!(html.contains("inconclusive: instrument differs: cpu: Xeon (2 CPUs) | another"));

    let mut around = thesis();
    for boot in around.records.iter_mut().filter(noisy) {
        boot.evidence.clear();
    }
    assert!(rendered(&around).html.contains("inconclusive: path differs: "));

    let mut failed = thesis();
    let mut boot = failed.records.iter_mut().find(noisy).expect("a boot").clone();
    boot.boot = 99;
    boot.outcome = crate::record::Outcome::Failed { reason: "no".into() };
    failed.records.push(boot);
    let rows = thesis_of_netns(&failed);
    assert!(rows.iter().all(|row| row.ends_with("(0 and 1 boots failed) |")), "{rows:?}");
}

#[test]
fn kernels_that_are_compared_show_what_differs() {
    let html = rendered(&thesis()).html;
    let section = part(&html, "<section id=\"kernels\"", "</section>");
    let words: String = tagless(section);
    insta::assert_snapshot!(words, @r"
    Kernels compared, and what else differs
    realtime-kernel: running and debian-rt, for guests
    options that differ: 3; of preemption 2, of time and scheduling 0, others 1.
    Not only preemption differs (1 other options): a change between the two need not come from it. A PREEMPT_RT kernel also does without the default coalescing of software interrupts.
    Options of preemption, time and scheduling that differ
    option running (6.1.0-56-cloud-amd64) debian-rt (6.1.0-56-rt-amd64)
    CONFIG_PREEMPT_RT n y
    CONFIG_PREEMPT_VOLUNTARY y n
    Other options that differ 1
    option running debian-rt
    CONFIG_WLAN n y
    ");
}

/// The words of a piece of markup, a line for each row.
pub(super) fn tagless(markup: &str) -> String {
    let mut out = String::new();
    for line in markup.lines() {
        let mut words = String::new();
        for piece in line.split('<') {
            let text = piece.split_once('>').map_or(piece, |(_, text)| text);
            words.push(' ');
            words.push_str(text);
        }
        let words: Vec<&str> = words.split_whitespace().collect();
        if !words.is_empty() {
            out.push_str(&words.join(" "));
            out.push('\n');
        }
    }
    out
}

#[test]
fn knobs_are_told_by_rank_with_what_is_known_of_them() {
    let Rendered { html, markdown, .. } = rendered(&small());
    let (_, table) = markdown.split_once("### Knob attribution").expect("a table");
    let (table, _) = table.split_once("### isolation").expect("its end");
    insta::assert_snapshot!(table, @r"
         of isolated on this machine, ranked, with intervals

        tcp-rr in running/docker/bridge/\*/noisy. With the knob / without it; ✓ and ✗ are clear of chance (Holm), ○ is not.

        | rank | knob | turned | median | MAD | tail | boots |
        |--:|---|---|--:|--:|--:|--:|
        | 1 | policy | beside the rest of isolated | ✓ ×0.12 [0.096–0.16] | ✓ ×0.12 [0.096–0.16] | ✓ ×0.12 [0.096–0.16] | 5 pairs (failed: 3 without, 0 with) |
        |  |  | alone on stock | ✓ ×0.12 [0.096–0.16] | ✓ ×0.12 [0.096–0.16] | ✓ ×0.12 [0.096–0.16] | 5 pairs |
        | 2 | placement (partial) | beside the rest of isolated | ○ ×0.93 [0.74–1.21] | ○ ×0.93 [0.74–1.21] | ○ ×0.93 [0.74–1.21] | 5 pairs |
        |  |  | alone on stock | ○ ×0.93 [0.74–1.21] | ○ ×0.93 [0.74–1.21] | ○ ×0.93 [0.74–1.21] | 5 pairs |
        | - | rt-throttle (not effective) | beside the rest of isolated | ○ ×0.98 [0.78–1.27] | ○ ×0.98 [0.78–1.27] | ○ ×0.98 [0.78–1.27] | 5 pairs |
        |  |  | alone on stock | - | - | - | - |
        | - | host-cmdline (not set) |  | - | - | - | - |
        |  | all of isolated | against stock | ✓ ×0.10 [0.080–0.13] | ✓ ×0.10 [0.080–0.13] | ✓ ×0.10 [0.080–0.13] | 5 pairs |

        - rt-throttle alone on stock: \`rt-throttle\` means nothing there
        - host-cmdline: it is verified and never set
        ");
    for text in
        ["<td class=\"n better\"", "not effective</span>", "not set</span>", "failed: 3 without"]
    {
        assert!(html.contains(text), "{text} is missing");
    }
    assert!(html.contains("tail: p99 - p50"), "a forest plot of the tail");
}

#[test]
fn the_content_policy_names_our_style_and_script() {
    let html = rendered(&small()).html;
    let hash = |text: &str| BASE64.encode(Sha256::digest(text));
    let between = |from: &str, to: &str| {
        html.split_once(from)
            .and_then(|(_, rest)| rest.split_once(to))
            .map(|(inside, _)| inside.to_owned())
    };
    let style = between("<style>", "</style>").expect("a style");
    let script = between("<script>", "</script>").expect("a script");
    assert!(html.contains(&format!("style-src 'sha256-{}'", hash(&style))));
    assert!(html.contains(&format!("script-src 'sha256-{}'", hash(&script))));
}

#[test]
fn hostile_text_adds_no_markup() {
    let evil = rendered(&hostile());
    let calm = rendered(&thesis());
    let policy = |html: &str| vocabulary(&body(html));
    let extra: Vec<_> = policy(&evil.html).difference(&policy(&calm.html)).cloned().collect();
    // Charts and the table of verdicts may differ in what they hold, not in kind.
    let known = ["br", "br/", "p", "/p", "small", "/small", "strong", "/strong"];
    assert!(extra.iter().all(|word| known.contains(&word.as_str())), "new markup: {extra:?}");
    for sink in [&evil.html, &evil.markdown, &evil.junit] {
        assert!(
            !sink.contains(|c: char| c.is_control() && c != '\n'),
            "a control character came through"
        );
        assert!(
            !sink.contains('\u{202e}') && !sink.contains("<img") && !sink.contains("<script>alert")
        );
    }
    let extra: Vec<_> =
        vocabulary(&evil.junit).difference(&vocabulary(&calm.junit)).cloned().collect();
    assert!(extra.is_empty(), "new markup in junit.xml: {extra:?}");
}

#[test]
fn hostile_text_stays_in_its_markdown_table_cell() {
    let markdown = rendered(&hostile()).markdown;
    let columns = |line: &str| {
        let bytes = line.as_bytes();
        (0..bytes.len()).filter(|n| bytes[*n] == b'|' && (*n == 0 || bytes[n - 1] != b'\\')).count()
    };
    let mut expected = None;
    for line in markdown.lines() {
        assert!(!line.starts_with("```") && !line.contains("@user"), "{line}");
        if !line.starts_with('|') {
            expected = None;
            continue;
        }
        let found = columns(line);
        assert_eq!(*expected.get_or_insert(found), found, "{line}");
    }
}

#[test]
fn large_runs_keep_to_their_budgets() {
    let mut fixture = large(230);
    for cell in fixture.results.cells.iter_mut().take(100) {
        cell.reason = Some("`&|<".repeat(1_000));
    }
    let warnings = vec!["|".repeat(10_000); 50];
    let Rendered { html, markdown, junit } =
        render(&fixture.run, &fixture.records, &fixture.results, &warnings, Place::Run)
            .expect("renders");
    assert!(markdown.len() <= 60_000, "{} bytes of Markdown", markdown.len());
    assert!(markdown.contains("more, all in the report"));
    assert_eq!(html.matches("<details class=\"cell").count(), 200);
    for cell in &fixture.results.cells {
        assert!(
            html.contains(&format!("id=\"{}\"", text::anchor(&cell.id))),
            "{} has no anchor",
            cell.id
        );
    }
    assert_eq!(junit.matches("<testcase ").count(), 460);
}

#[test]
fn an_empty_run_renders() {
    let mut fixture = small();
    fixture.records.clear();
    fixture.run.cells.clear();
    fixture.run.matrix.contrasts.clear();
    fixture.results.cells.clear();
    fixture.results.contrasts.clear();
    let Rendered { html, markdown, junit } = rendered(&fixture);
    assert!(
        html.contains("</html>")
            && junit.contains("tests=\"1\" failures=\"0\" errors=\"1\"")
            && markdown.starts_with("**10 of 11")
    );
}

/// Walks a value along a schema: types, required keys, enumerations and references; and, the other way, that every key is described.
fn conforms(schema: &Json, root: &Json, value: &Json, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = name.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return conforms(target.expect("a local reference"), root, value, at);
    }
    let types: Vec<&str> = match &schema["type"] {
        Json::String(one) => vec![one],
        Json::Array(several) => several.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |name: &&str| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{at}: the schema has the unknown type {other}"),
    };
    assert!(types.is_empty() || types.iter().any(is), "{at}: {value} is not {types:?}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value} is not one of {allowed:?}");
    }
    if let Some(only) = schema.get("const") {
        assert_eq!(value, only, "{at}");
    }
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        assert!(value.get(key).is_some(), "{at}: {key} is missing");
    }
    if let (Some(known), Some(object)) = (schema["properties"].as_object(), value.as_object()) {
        for (key, inner) in object {
            let described =
                known.get(key).unwrap_or_else(|| panic!("{at}: {key} is not described"));
            conforms(described, root, inner, &format!("{at}/{key}"));
        }
    }
    for (n, inner) in value.as_array().into_iter().flatten().enumerate() {
        conforms(&schema["items"], root, inner, &format!("{at}/{n}"));
    }
}

#[test]
fn results_follow_their_schema() {
    let root: Json = serde_json::from_str(schema()).expect("JSON");
    assert_eq!(root["$id"], "urn:evenkeel:results:1");
    let mut fixture = small();
    fixture.results.verdicts = hostile().results.verdicts;
    fixture.results.verdicts.truncate(1);
    let value = serde_json::to_value(&fixture.results).expect("JSON");
    conforms(&root, &root, &value, "");
}

/// A small run beside a base that was wider, judged.
pub(super) fn sided() -> Fixture {
    let mut fixture = small();
    let base = fixture.records.iter().map(|record| Record { side: BASE.into(), ..record.clone() });
    let records: Vec<Record> = base.collect();
    for record in &mut fixture.records {
        record.position = 2 * record.position + u32::from(record.boot % 2 == 0);
    }
    fixture.records.extend(records.into_iter().map(|record| Record {
        position: 2 * record.position + u32::from(record.boot % 2 == 1),
        ..record
    }));
    let verdicts = crate::run::verdicts::of_run(&fixture.run, &fixture.records);
    verdicts.expect("a policy").expect("two sides").into_results(&mut fixture.results);
    fixture
}

#[test]
fn a_run_with_a_base_shows_its_verdicts_with_what_they_rest_on() {
    let fixture = sided();
    assert!(!fixture.results.verdicts.is_empty());
    let root: Json = serde_json::from_str(schema()).expect("JSON");
    let value = serde_json::to_value(&fixture.results).expect("JSON");
    conforms(&root, &root, &value, "");
    let files = rendered(&fixture);
    let [map, verdicts, table] = ["map", "verdicts", "table"]
        .map(|id| files.html.find(&format!("id=\"{id}\"")).expect("it is there"));
    assert!(map < verdicts && verdicts < table);
    for text in ["by which policy was it judged", "location ×1.02"] {
        assert!(files.html.contains(text), "{text}");
    }
    assert!(files.markdown.contains("<summary>Policy</summary>"));
    // Nothing was flagged, so nothing fails.
    assert!(!files.junit.contains("type=\"regressed\""));
}

#[test]
#[should_panic(expected = "is not one of")]
fn the_walk_along_the_schema_can_fail() {
    let root: Json = serde_json::from_str(schema()).expect("JSON");
    let value = serde_json::to_value(&hostile().results).expect("JSON");
    conforms(&root, &root, &value, "");
}

/// Writes reports to look at: `EVENKEEL_LOOK=DIR cargo test -p xtask report::tests::look -- --ignored`.
#[test]
#[ignore = "writes files for people to look at"]
fn look() {
    let dir = std::path::PathBuf::from(
        std::env::var_os("EVENKEEL_LOOK").expect("EVENKEEL_LOOK names a folder"),
    );
    for (name, fixture) in
        [("small", small()), ("thesis", thesis()), ("hostile", hostile()), ("large", large(10_000))]
    {
        let begun = std::time::Instant::now();
        let files = rendered(&fixture);
        println!("{name}: {} bytes of HTML in {:?}", files.html.len(), begun.elapsed());
        let dir = dir.join(name);
        std::fs::create_dir_all(dir.join("report")).expect("a folder");
        // The run itself, too, so that `report` can be timed from end to end.
        let run = serde_json::to_string(&fixture.run).expect("JSON");
        let mut boots = String::new();
        for record in &fixture.records {
            boots.push_str(&serde_json::to_string(record).expect("JSON"));
            boots.push('\n');
        }
        let results = serde_json::to_string_pretty(&fixture.results).expect("JSON");
        for (file, text) in [
            ("report/index.html", &files.html),
            ("summary.md", &files.markdown),
            ("junit.xml", &files.junit),
            ("results.json", &results),
            ("run.json", &run),
            ("boots.jsonl", &boots),
        ] {
            std::fs::write(dir.join(file), text).expect("written");
        }
    }
}

/// The part of a page that is one cell in full.
fn detail(html: &str, cell: &str) -> String {
    let from = format!("id=\"{}\"", text::anchor(cell));
    let (before, rest) = html.split_once(&from).expect("the cell");
    let (_, head) = before.rsplit_once("<summary>").expect("its summary");
    let (body, _) = rest.split_once("</details>").expect("its end");
    format!("<{head}<p {body}")
}

#[test]
fn a_judged_cell_tells_its_verdicts_what_differs_and_carries_its_data() {
    let mut fixture = sided();
    let id = "running/netns/bridge/stock/noisy".to_owned();
    for record in fixture.records.iter_mut().filter(|boot| boot.cell == id && boot.side == BASE) {
        record.instrument.insert("kernel".into(), "6.18.4".into());
    }
    // Its words are the verdict's own matter: two rows of it are enough here.
    let told = ["dispersion", "location"];
    fixture.results.verdicts.retain(|row| {
        row.cell == id && row.workload == "tcp-rr" && told.contains(&row.aspect.as_str())
    });
    for row in &mut fixture.results.verdicts {
        let worse = row.aspect == told[0];
        row.verdict = if worse { "regressed" } else { "equivalent" }.into();
        let [ratio, low, high] = if worse { [1.6, 1.4, 1.9] } else { [1.0, 0.99, 1.01] };
        (row.ratio, row.low, row.high) = (Some(ratio), Some(low), Some(high));
        (row.p_corrected, row.detectable_ratio) = (Some(0.002), Some(1.2));
        row.reason = format!("{} as it was told", row.aspect);
    }
    let html = rendered(&fixture).html;
    let detail = detail(&html, &id);
    let words = tagless(&detail);
    let (words, _) = words.split_once("tcp-rr: latency by percentile").expect("a chart");
    insta::assert_snapshot!(words, @r#"
regressed running/netns/bridge/stock/noisy median 11.4 µs · p99 44.7 µs · 15.9 Gbit/s
div class="body"
Verdicts of running/netns/bridge/stock/noisy: candidate / base with its interval
workload aspect verdict candidate / base p, corrected detectable boots in words
tcp-rr dispersion regressed ×1.60 [1.40–1.90] 0.002 ×1.20 5 + 5 dispersion as it was told
tcp-rr location equivalent ×1.00 [0.99–1.01] 0.002 ×1.20 5 + 5 location as it was told
Facts of the instrument that differ between candidate and base: kernel (6.18.5 candidate, 6.18.4 base). Compared with running/netns/bridge/isolated/noisy . The instrument was the same.
"#);
    // It is open, and those that did not change are closed.
    let opens = html.matches("<details class=\"cell\" open>").count();
    assert_eq!(opens, 2, "the cell that regressed and the one that failed");
    for picture in ["shape, without the tail", "run order, median to p99", "boxes, boot by boot"] {
        assert!(detail.contains(&format!("tcp-rr: {picture}")), "{picture}");
    }
    // The map begins with it, and the list of what changed has it alone.
    assert!(html.contains("<b>regressed</b><small>tcp-rr dispersion ×1.60</small>"));
    let files: Vec<(&str, String)> = detail
        .split("<a download=\"")
        .skip(1)
        .map(|link| {
            let (name, rest) = link.split_once("\" href=\"data:").expect("a name");
            let (_, rest) = rest.split_once(";base64,").expect("a kind");
            let (data, _) = rest.split_once('"').expect("its end");
            (name, String::from_utf8(BASE64.decode(data).expect("base64")).expect("text"))
        })
        .collect();
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    insta::assert_snapshot!(names.join("\n"), @r"
running-netns-bridge-stock-noisy.json
running-netns-bridge-stock-noisy.csv
running-netns-bridge-stock-noisy.tcp-rr.hgrm
");
    let json: Json = serde_json::from_str(&files[0].1).expect("JSON");
    assert_eq!(
        (&json["cell"]["id"], &json["verdicts"][0]["cell"]),
        (&Json::from(&*id), &Json::from(&*id))
    );
    assert_eq!(files[1].1.lines().count(), 1 + 2 * 2 * 5, "{}", files[1].1);
    assert!(files[2].1.contains("#[Max"), "{}", files[2].1);
}

#[test]
fn nothing_is_praised_in_a_cell_that_is_worse_elsewhere() {
    let mut fixture = sided();
    let cell = fixture.results.verdicts[0].cell.clone();
    let mut rows: Vec<_> =
        fixture.results.verdicts.iter_mut().filter(|row| row.cell == cell).collect();
    for row in &mut rows {
        (row.verdict, row.gates) = ("equivalent".into(), true);
    }
    (rows[0].verdict, rows[0].accepted) = ("regressed".into(), Some("known".into()));
    (rows[1].verdict, rows[1].beside_worse) = ("improved".into(), true);
    // Neither on the map, nor in the table of cells, nor among what changed.
    let view = view::View::new(&fixture.run, &fixture.records, &fixture.results, &[]);
    let view = serde_json::to_value(view.expect("a view")).expect("JSON");
    let places = view["grid"]["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .flat_map(|row| row["places"].as_array());
    let place = places.flatten().find(|place| place["id"] == *cell).expect("it is on the map");
    assert_eq!(place["class"], "regressed");
    let mut rows = view["cells"].as_array().expect("cells").iter();
    let row = rows.find(|row| row["id"] == *cell).expect("it is in the table");
    assert_eq!(row["verdict"], "regressed");
    let files = rendered(&fixture);
    // What changed comes first; a summary has no title for it.
    for (text, first) in [(&files.html, "What changed"), (&files.markdown, "Against the base")] {
        let titles = [first, "What did not change", "Better figures of cells that are worse"];
        let [changed, next, mixed] = titles.map(|title| text.find(title).expect(title));
        assert!(changed < next && next < mixed);
        assert!(!text[changed..next].contains("improved"), "{}", &text[changed..next]);
        assert!(text[mixed..].contains("its cell is worse elsewhere"));
    }
}

#[test]
fn skipped_cells_alone_are_not_green() {
    let mut fixture = small();
    fixture.records.clear();
    fixture.results.cells.retain(|cell| cell.outcome == CellOutcome::Skipped);
    let Rendered { junit, .. } = rendered(&fixture);
    let skipped = fixture.results.cells.len();
    assert!(skipped > 0);
    let (tests, counts) =
        (skipped + 1, format!("failures=\"0\" errors=\"1\" skipped=\"{skipped}\""));
    assert!(junit.contains(&format!("tests=\"{tests}\" {counts}")), "{junit}");
}
