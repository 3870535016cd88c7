//! The report: a run, its records and its results as one offline HTML page, a Markdown summary and a JUnit file.
//!
//! Pure and deterministic: no clock, no locale, no file. `view` formats every number, `reports/` at the top of the
//! repository lays them out, `text` escapes what came from outside, once for each sink.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, context};
use sha2::{Digest, Sha256};

use crate::record::results::Results;
use crate::record::{Record, Run};

mod chart;
mod format;
mod junit;
pub mod site;
mod summary;
mod text;
mod view;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod opened;
#[cfg(test)]
mod tests;

pub(crate) use format::{Quantity, interval, percent_change, probability, ratio, significant};
pub(crate) use text::{clean, escape_markdown};

const PAGE: &str = include_str!("../../../reports/index.html");
const HISTORY: &str = include_str!("../../../reports/history.html");
const RUNS: &str = include_str!("../../../reports/runs.html");
const KNOBS: &str = include_str!("../../../reports/knobs.html");
const CELL: &str = include_str!("../../../reports/cell.html");
const THESIS: &str = include_str!("../../../reports/thesis.html");
const KERNELS: &str = include_str!("../../../reports/kernels.html");
const PARTS: &str = include_str!("../../../reports/parts.html");
const SUMMARY: &str = include_str!("../../../reports/summary.md");
const JUNIT: &str = include_str!("../../../reports/junit.xml");
const STYLE: &str = include_str!("../../../reports/style.css");
const SCRIPT: &str = include_str!("../../../reports/script.js");
const SCHEMA: &str = include_str!("../../../reports/results.schema.json");

/// The files of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// `report/index.html`: the whole site in one file that asks for nothing.
    pub html: String,
    /// `summary.md`: what a pull request shows; at most 60,000 bytes.
    pub markdown: String,
    /// `junit.xml`.
    pub junit: String,
}

/// Where a report lies, and so what lies beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the folder `report` of a run, whose files lie above.
    Run,
    /// In a folder of a site, with its `results.json`, two below the list of all runs.
    Site,
}

impl Place {
    /// Names of the files and where they are.
    fn files(self) -> Vec<view::Fact> {
        let files: &[[&str; 2]] = match self {
            Place::Run => &[
                ["results.json", "../results.json"],
                ["boots.jsonl", "../boots.jsonl"],
                ["run.json", "../run.json"],
            ],
            Place::Site => &[["results.json", "results.json"]],
        };
        files.iter().map(|[name, at]| view::Fact::new(*name, *at)).collect()
    }

    fn home(self) -> Option<&'static str> {
        (self == Place::Site).then_some("../../index.html")
    }
}

/// Renders a run. Equal input gives equal bytes.
///
/// `warnings` are shown above everything else. Fails only where a template and its view disagree, which tests rule out for
/// every shape of a run.
pub fn render(
    run: &Run,
    records: &[Record],
    results: &Results,
    warnings: &[String],
    place: Place,
) -> anyhow::Result<Rendered> {
    let env = environment()?;
    let (seen, junit) = rayon::join(
        || -> anyhow::Result<_> {
            let view = Value::from_serialize(&view::View::new(run, records, results, warnings)?);
            let (html, markdown) =
                rayon::join(|| html(&env, &view, place), || summary::render(&env, &view));
            Ok((html?, markdown?))
        },
        || junit::render(&env, records, results),
    );
    let (html, markdown) = seen?;
    Ok(Rendered { html, markdown, junit: junit? })
}

/// The page of a run.
fn html(env: &Environment<'_>, view: &Value, place: Place) -> anyhow::Result<String> {
    Ok(env.get_template("index.html")?.render(context! {
        view => view,
        files => place.files(),
        home => place.home(),
        style => Value::from_safe_string(STYLE.to_owned()),
        script => Value::from_safe_string(SCRIPT.to_owned()),
        policy => Value::from_safe_string(content_policy(&[SCRIPT])),
    })?)
}

/// A page of a site, which runs nothing.
fn page(template: &str, view: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(environment()?.get_template(template)?.render(context! {
        view => Value::from_serialize(view),
        style => Value::from_safe_string(STYLE.to_owned()),
        policy => Value::from_safe_string(content_policy(&[])),
    })?)
}

/// The JSON Schema (2020-12) of `results.json`.
pub fn schema() -> &'static str {
    SCHEMA
}

/// Nothing but our own style and script, named by their hashes: text that slipped through escaping could still not run.
fn content_policy(scripts: &[&str]) -> String {
    let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(Sha256::digest(text)));
    let scripts = scripts.iter().map(|script| format!(" script-src {};", hash(script)));
    format!(
        "default-src 'none'; style-src {};{} img-src data:; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        scripts.collect::<String>()
    )
}

fn environment() -> anyhow::Result<Environment<'static>> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_trim_blocks(true);
    env.set_lstrip_blocks(true);
    env.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "md")) => AutoEscape::Custom("markdown"),
        // SVG stands inside HTML; a name without a known ending is treated as markup, too.
        _ => AutoEscape::Html,
    });
    env.set_formatter(escape);
    env.add_template("index.html", PAGE)?;
    env.add_template("history.html", HISTORY)?;
    env.add_template("runs.html", RUNS)?;
    env.add_template("cell.html", CELL)?;
    env.add_template("thesis.html", THESIS)?;
    env.add_template("kernels.html", KERNELS)?;
    env.add_template("knobs.html", KNOBS)?;
    env.add_template("parts.html", PARTS)?;
    env.add_template("summary.md", SUMMARY)?;
    env.add_template("junit.xml", JUNIT)?;
    Ok(env)
}

/// Escapes everything that is not markup of ours (`safe`), for the sink of the template.
fn escape(
    out: &mut Output<'_>,
    state: &State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    // A missing name fails before this (`Strict`); what arrives undefined is an `if` without an `else`.
    if value.is_undefined() {
        return Ok(());
    }
    let words = value.to_str();
    let shown;
    let words = match words.as_deref() {
        Some(words) if value.is_safe() => return Ok(out.write_str(words)?),
        Some(words) => words,
        None => {
            shown = value.to_string();
            &shown
        }
    };
    match state.auto_escape() {
        AutoEscape::Custom(_) => text::escape_markdown(out, words)?,
        _ => text::escape_markup(out, words)?,
    }
    Ok(())
}
