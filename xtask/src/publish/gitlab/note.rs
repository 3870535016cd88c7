//! The note on the merge request, which every run changes instead of adding another.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::event::MergeRequest;
use crate::publish::Sink;
use crate::publish::api::{Api, PAGE, PAGES, Verb};
use crate::publish::said::{Budget, Said};
use crate::publish::thread::{self, Thread, marker};

/// GitLab takes a million characters; nobody reads that many.
const BUDGET: Budget = Budget { bytes: 200_000 };

/// The note of a matrix.
#[derive(Debug)]
pub struct Note {
    pub(super) api: Api,
    pub(super) request: MergeRequest,
    pub(super) link: Option<String>,
}

impl Sink for Note {
    fn name(&self) -> &'static str {
        "note"
    }

    fn shows(&self, said: &Said) -> anyhow::Result<String> {
        Ok(said.comment(&self.request.sha, self.link.as_deref(), BUDGET))
    }

    fn send(&self, said: &Said) -> anyhow::Result<String> {
        let me = self.api.call(Verb::Get, "/user", None)?;
        let author = me.get("id").and_then(Value::as_u64).context("GitLab's answer is no user")?;
        let known = (&*marker(&said.matrix), &*self.request.sha);
        thread::write(&OfRequest { note: self, author }, known, &self.shows(said)?)
    }
}

/// What is said on a merge request.
struct OfRequest<'n> {
    note: &'n Note,
    /// Who the token is: only this one's notes are changed.
    author: u64,
}

impl OfRequest<'_> {
    fn request(&self) -> String {
        let MergeRequest { project, number, .. } = self.note.request;
        format!("/projects/{project}/merge_requests/{number}")
    }
}

impl Thread for OfRequest<'_> {
    fn name(&self) -> String {
        format!("merge request {}", self.note.request.number)
    }

    fn head(&self) -> anyhow::Result<String> {
        let request = self.note.api.call(Verb::Get, &self.request(), None)?;
        let head = request.get("sha").and_then(Value::as_str);
        Ok(head.context("GitLab's answer is no merge request")?.to_owned())
    }

    fn comments(&self) -> anyhow::Result<Vec<thread::Comment>> {
        let mut ours = Vec::new();
        for page in 1..=PAGES {
            let order = "sort=asc&order_by=created_at";
            let query = format!("{}/notes?{order}&per_page={PAGE}&page={page}", self.request());
            let answer = self.note.api.call(Verb::Get, &query, None)?;
            let notes = answer.as_array().context("GitLab's answer is no list of notes")?;
            ours.extend(notes.iter().filter_map(|note| {
                let mine = note.pointer("/author/id").and_then(Value::as_u64) == Some(self.author);
                let id = note.get("id").and_then(Value::as_u64).filter(|_| mine)?;
                let text = note.get("body").and_then(Value::as_str)?.to_owned();
                Some(thread::Comment { id, text })
            }));
            if notes.len() < PAGE {
                break;
            }
        }
        Ok(ours)
    }

    fn write(
        &self,
        id: Option<u64>,
        text: &str,
        still: &dyn Fn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool> {
        let notes = format!("{}/notes", self.request());
        let (verb, path) = match id {
            None => (Verb::Post, notes),
            Some(id) => (Verb::Put, format!("{notes}/{id}")),
        };
        let body = json!({ "body": text });
        Ok(self.note.api.call_while(verb, &path, Some(&body), still)?.is_some())
    }

    fn remove(&self, id: u64) -> anyhow::Result<()> {
        let one = format!("{}/notes/{id}", self.request());
        self.note.api.call(Verb::Delete, &one, None).map(drop)
    }
}
