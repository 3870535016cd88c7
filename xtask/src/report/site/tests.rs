//! Pages of a site, of a history with a step in it and of names that attack.

use std::collections::BTreeSet;

use evenkeel_history::check::{FALSE_ALARMS, Question, check};
use evenkeel_history::entry::{CellEntry, Entry, Figure, SCHEMA};
use evenkeel_history::series::{Builder, History};

use super::history::{Links, page};
use super::runs::{self, Part, RunRow, Runs, Told};
use crate::report::hostile::EVIL;
use crate::report::tests::{tagless, tags, vocabulary};

/// A history of two cells under such a name; the dispersion of the first steps up at run 30.
fn history(name: &str) -> History {
    let mut builder = Builder::default();
    for at in 0..50u64 {
        // No chance in it: a low-discrepancy sequence.
        let wobble = 0.02 * ((at as f64 * 0.618_033_988_75).fract() - 0.5);
        let figure = |step: f64, aspect: &str, figure: &str| Figure {
            workload: name.to_owned().into(),
            aspect: aspect.to_owned().into(),
            figure: figure.to_owned().into(),
            unit: "ns".into(),
            higher_is_better: false,
            boots: 7,
            log: 8.0 + step + wobble,
            error: None,
        };
        let cell = |id: &str, step: f64| CellEntry {
            cell: format!("running/netns/{id}/{name}/idle").into(),
            fingerprint: "f".into(),
            figures: vec![figure(0.0, "location", "median"), figure(step, "dispersion", "mad")],
        };
        let entry = Entry {
            schema: SCHEMA,
            time: 1_780_000_000 + at * 86_400,
            commit: Some(format!("{at:07x}abcdef{name}").into()),
            dirty: at == 30,
            run: format!("ek{at}{name}").into(),
            mark: (at == 10).then(|| format!("v1{name}").into()),
            cells: vec![cell("bridge", if at < 30 { 0.0 } else { 0.4 }), cell("veth", 0.0)],
        };
        builder.take(at + 1, &entry);
    }
    builder.build().0
}

/// The page of such a history.
pub(in crate::report) fn rendered(name: &str) -> String {
    let history = history(name);
    let answer = check(&history, &Question::plain(&history)).expect("an answer");
    let links = Links {
        index: Some("index.html".into()),
        data: Some("history.jsonl".into()),
        reports: [(
            (format!("ek30{name}"), 1_780_000_000 + 30 * 86_400),
            "runs/1-ek30/index.html".into(),
        )]
        .into(),
    };
    page(&history, &answer, FALSE_ALARMS, &links).expect("a page")
}

/// A list of runs whose every text is such a name.
pub(in crate::report) fn list(name: &str) -> String {
    let row = |folder: &str| RunRow {
        href: format!("{folder}/1-ek/index.html"),
        when: "2026-01-02 03:04 UTC".into(),
        matrix: name.into(),
        commit: Some(name.into()),
        verdict: name.into(),
        sentence: name.into(),
    };
    let part = |folder: &str, title: &str| Part {
        folder: folder.into(),
        title: title.into(),
        runs: vec![row(folder)],
    };
    let told = Told { href: "history.html".into(), verdict: name.into(), sentence: name.into() };
    let parts = vec![part("runs", "Runs"), part("pr", "Pull requests")];
    runs::page(&Runs { history: Some(told), parts }).expect("a page")
}

#[test]
fn a_history_tells_what_changed_between_which_commits() {
    let html = rendered("");
    assert_eq!(html, rendered(""), "equal input gives equal bytes");
    let (_, body) = html.split_once("<body>").expect("a body");
    let (changes, _) = body.split_once("id=\"h-trends\"").expect("trends");
    insta::assert_snapshot!(tagless(changes), @r"
To the changes
Evenkeel · all runs · history
regressed 1 change for the worse in 4 series of 50 runs
runs 50
series checked 4
from 2026-05-28 20:26 UTC
to 2026-07-16 20:26 UTC
What changed, and between which commits
A series changes its level, or how steadily it keeps it. Ratios are after / before; p is for the whole check, which errs in 2.00 % of unchanged histories.
Changes, those for the worse first
series aspect verdict after / before p, corrected last before first after
running/netns/bridge//idle: dispersion (mad), level regressed ×1.49 &lt;0.001 000001dabc 2026-06-26 20:26 UTC 000001eabc and changes 2026-06-27 20:26 UTC
h2
");
    assert!(html.contains("tcp") || html.contains("dispersion (mad), regressed ×1.49"), "a chart");
    // What changed is open, what did not is closed.
    assert_eq!(html.matches("<details class=\"cell\" open>").count(), 1);
    assert_eq!(html.matches("<details class=\"cell\">").count(), 1);
}

#[test]
fn pages_are_whole_and_ask_for_nothing() {
    for html in [rendered("x"), list("x")] {
        let (_, body) = html.split_once("</style>").expect("a style");
        let ids: Vec<&str> = tags(body)
            .iter()
            .filter_map(|tag| tag.split(" id=\"").nth(1)?.split('"').next())
            .collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(unique.len(), ids.len(), "an id is there twice");
        for tag in tags(body) {
            assert!(
                !["src=", "url(", "//", "style=", "script"].iter().any(|word| tag.contains(word)),
                "<{tag}>"
            );
            if let Some(link) = tag.split("href=\"#").nth(1).and_then(|rest| rest.split('"').next())
            {
                assert!(unique.contains(link), "#{link} leads nowhere");
            }
        }
        assert!(
            html.contains("default-src 'none'; style-src 'sha256-") && !html.contains("script-src")
        );
    }
}

#[test]
fn hostile_names_add_no_markup() {
    for (calm, evil) in [(rendered("x"), rendered(EVIL)), (list("x"), list(EVIL))] {
        let body = |html: &str| html.split_once("</style>").expect("a style").1.to_owned();
        let (calm, evil) = (vocabulary(&body(&calm)), vocabulary(&body(&evil)));
        let more: Vec<&String> = evil.difference(&calm).collect();
        assert!(more.is_empty(), "{more:?}");
    }
}
