//! A check of the commit that was measured, with an annotation for what regressed on the line of the matrix that it is about.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::event::Event;
use crate::command::Exit;
use crate::publish::Sink;
use crate::publish::api::{Api, PAGE, PAGES, Verb, in_query};
use crate::publish::said::{Budget, Said};
use crate::report::clean;

/// GitHub takes 65,535 bytes.
const BUDGET: Budget = Budget { bytes: 65_000 };

/// Annotations of one request, which are all that are made.
const ANNOTATIONS: usize = 50;

/// Bytes of an annotation's message; GitHub takes 64 KB.
const MESSAGE: usize = 2_000;

/// The check of a matrix.
#[derive(Debug)]
pub struct Check {
    pub(super) api: Api,
    pub(super) event: Event,
    pub(super) link: Option<String>,
    /// The matrix' path in the repository.
    pub(super) matrix_file: String,
}

impl Sink for Check {
    fn name(&self) -> &'static str {
        "check"
    }

    fn shows(&self, said: &Said) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(&self.body(said))?)
    }

    fn send(&self, said: &Said) -> anyhow::Result<String> {
        let Event { repository, sha, .. } = &self.event;
        let mut body = self.body(said);
        let make = format!("/repos/{repository}/check-runs");
        let Some((id, annotated)) = self.newest(&body)? else {
            self.api.call(Verb::Post, &make, Some(&body))?;
            return Ok(format!("made for {sha}"));
        };
        let output = body.get_mut("output").and_then(Value::as_object_mut);
        let output = output.context("a check has an output")?;
        let wanted = output.get("annotations").and_then(Value::as_array).cloned();
        let wanted = wanted.unwrap_or_default();
        let one = format!("{make}/{id}");
        // Annotations are added to those that are there, and none is ever taken away: the same ones stay as they are, others are of a check
        // of their own, which takes the place of the older one of its name.
        let there = if annotated { self.annotated(&one)? } else { Vec::new() };
        if there == wanted.iter().filter_map(seen).collect::<Vec<_>>() {
            output.remove("annotations");
            self.api.call(Verb::Patch, &one, Some(&body))?;
        } else if annotated {
            self.api.call(Verb::Post, &make, Some(&body))?;
            return Ok(format!("made anew for {sha}"));
        } else {
            self.api.call(Verb::Append, &one, Some(&body))?;
        }
        Ok(format!("changed for {sha}"))
    }
}

/// What of an annotation is compared: where it is, its title and its message.
type Seen = (String, u64, String, String);

fn seen(annotation: &Value) -> Option<Seen> {
    let text = |name: &str| annotation.get(name).and_then(Value::as_str).map(str::to_owned);
    let line = annotation.get("start_line").and_then(Value::as_u64)?;
    Some((text("path")?, line, text("title")?, text("message")?))
}

impl Check {
    /// The newest check that is ours, and whether it has annotations.
    fn newest(&self, body: &Value) -> anyhow::Result<Option<(u64, bool)>> {
        let Event { repository, sha, .. } = &self.event;
        let name = in_query(body.get("name").and_then(Value::as_str).unwrap_or_default());
        let mut newest = None;
        for page in 1..=PAGES {
            let list = format!("/repos/{repository}/commits/{sha}/check-runs");
            let query = format!("check_name={name}&filter=all&per_page={PAGE}&page={page}");
            let answer = self.api.call(Verb::Get, &format!("{list}?{query}"), None)?;
            let runs = answer.get("check_runs").and_then(Value::as_array);
            let runs = runs.context("GitHub's answer is no list of checks")?;
            let ours = runs.iter().filter(|run| run.get("external_id") == body.get("external_id"));
            let found = ours.filter_map(|run| {
                let count = run.pointer("/output/annotations_count").and_then(Value::as_u64);
                Some((run.get("id")?.as_u64()?, count.is_some_and(|count| count > 0)))
            });
            newest = newest.into_iter().chain(found).max();
            if runs.len() < PAGE {
                break;
            }
        }
        Ok(newest)
    }

    /// Annotations of a check of ours, in order: not more than are made.
    fn annotated(&self, one: &str) -> anyhow::Result<Vec<Seen>> {
        let mut there = Vec::new();
        for page in 1..=ANNOTATIONS.div_ceil(PAGE) + 1 {
            let query = format!("{one}/annotations?per_page={PAGE}&page={page}");
            let answer = self.api.call(Verb::Get, &query, None)?;
            let found = answer.as_array().context("GitHub's answer is no list of annotations")?;
            there.extend(found.iter().filter_map(seen));
            if found.len() < PAGE {
                break;
            }
        }
        Ok(there)
    }

    fn body(&self, said: &Said) -> Value {
        let conclusion = match (said.exit, &*said.verdict) {
            (Exit::Regressed, _) => "failure",
            (Exit::Fine, "failed" | "incomplete" | "inconclusive") => "neutral",
            (Exit::Fine, _) => "success",
            _ => "neutral",
        };
        let name = short(&clean(&said.matrix), 100);
        // Figures alone judge nothing: they must not turn the check of a comparison of the same commit green.
        let compared = said.verdict != "measured";
        let conclusion = if compared { conclusion } else { "neutral" };
        let (name, kind) = match compared {
            true => (name, "evenkeel"),
            false => (format!("{name} (figures)"), "evenkeel-figures"),
        };
        let mut body = json!({
            "name": format!("evenkeel {name}"),
            "head_sha": self.event.sha,
            "external_id": format!("{kind}:{name}"),
            "status": "completed",
            "conclusion": conclusion,
            "output": {
                "title": short(&clean(&said.sentence), 250),
                "summary": said.markdown(self.link.as_deref(), BUDGET),
                "annotations": self.annotations(said),
            },
        });
        if let (Some(link), Some(fields)) = (&self.link, body.as_object_mut()) {
            fields.insert("details_url".to_owned(), json!(link));
        }
        body
    }

    /// What regressed or is missing, worst first. Plain text: GitHub shows it as it is.
    fn annotations(&self, said: &Said) -> Vec<Value> {
        if said.matrix_text.is_empty() {
            return Vec::new();
        }
        let told = said.changed.iter().filter(|row| row.verdict != "improved");
        told.take(ANNOTATIONS)
            .map(|row| {
                let line = said.line_of(row);
                let flags = row.gates && row.accepted.is_none() && row.verdict == "regressed";
                let title =
                    format!("{}: {} {} of {}", row.verdict, row.workload, row.aspect, row.cell);
                json!({
                    "path": self.matrix_file,
                    "start_line": line,
                    "end_line": line,
                    "annotation_level": if flags { "failure" } else { "warning" },
                    "title": short(&clean(&title), 250),
                    "message": short(&clean(&row.reason), MESSAGE),
                })
            })
            .collect()
    }
}

/// The beginning of a text, at most so many bytes.
fn short(text: &str, most: usize) -> String {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
