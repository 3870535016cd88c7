//! A check of the commit that was measured, with an annotation for what regressed on the line of the matrix that it is about.

use serde_json::{Value, json};

use super::api::{Api, PAGE, Verb};
use super::event::Event;
use crate::command::Exit;
use crate::publish::Sink;
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
        let known = format!("/repos/{repository}/commits/{sha}/check-runs?per_page={PAGE}");
        let runs = self.api.call(Verb::Get, &known, None)?;
        let ours = |run: &&Value| run.get("external_id") == body.get("external_id");
        let runs = runs.get("check_runs").and_then(Value::as_array).map(Vec::as_slice);
        let found = runs.unwrap_or_default().iter().find(ours);
        let Some((id, run)) = found.and_then(|run| Some((run.get("id")?.as_u64()?, run))) else {
            self.api.call(Verb::Post, &format!("/repos/{repository}/check-runs"), Some(&body))?;
            return Ok(format!("made for {sha}"));
        };
        // Annotations are added to those that are there: a second time they would be there twice.
        let annotated = run.pointer("/output/annotations_count").and_then(Value::as_u64);
        if annotated.is_some_and(|count| count > 0)
            && let Some(output) = body.get_mut("output").and_then(Value::as_object_mut)
        {
            output.remove("annotations");
        }
        self.api.call(Verb::Patch, &format!("/repos/{repository}/check-runs/{id}"), Some(&body))?;
        Ok(format!("changed for {sha}"))
    }
}

impl Check {
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
