//! The comment on the pull request, which every run changes instead of adding another.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::event::{Event, is_sha};
use crate::publish::Sink;
use crate::publish::api::{Api, PAGE, PAGES, Verb, in_query};
use crate::publish::said::{Budget, Said};
use crate::publish::thread::{self, Thread, marker};

/// GitHub takes 65,536 characters.
const BUDGET: Budget = Budget { bytes: 65_000 };

/// The comment of a matrix.
#[derive(Debug)]
pub struct Comment {
    pub(super) api: Api,
    pub(super) event: Event,
    /// Who writes it: the login of the token.
    pub(super) author: String,
    pub(super) link: Option<String>,
}

impl Sink for Comment {
    fn name(&self) -> &'static str {
        "comment"
    }

    fn shows(&self, said: &Said) -> anyhow::Result<String> {
        Ok(said.comment(&self.event.sha, self.link.as_deref(), BUDGET))
    }

    fn send(&self, said: &Said) -> anyhow::Result<String> {
        let Some((number, _)) = self.pull()? else {
            return Ok("no open pull request has this commit as its head".to_owned());
        };
        let text = self.shows(said)?;
        let known = (&*marker(&said.matrix), &*self.event.sha);
        thread::write(&OfPull { comment: self, number }, known, &text)
    }
}

impl Comment {
    /// The pull request and the commit that is its head now.
    fn pull(&self) -> anyhow::Result<Option<(u64, String)>> {
        let repository = &self.event.repository;
        let told = |pull: &Value| {
            let head = pull.pointer("/head/sha").and_then(Value::as_str)?;
            Some((pull.get("number").and_then(Value::as_u64)?, head.to_owned()))
        };
        if let Some(number) = self.event.pull {
            let pull =
                self.api.call(Verb::Get, &format!("/repos/{repository}/pulls/{number}"), None)?;
            return told(&pull).context("GitHub's answer is no pull request").map(Some);
        }
        let Some((head, branch)) = &self.event.head else { return Ok(None) };
        let owner = head.split('/').next().unwrap_or_default();
        let query =
            format!("head={}:{}&state=open&per_page={PAGE}", in_query(owner), in_query(branch));
        let pulls =
            self.api.call(Verb::Get, &format!("/repos/{repository}/pulls?{query}"), None)?;
        // The commit and the repository that it lies in say which: a number or a name that somebody ships does not.
        let of_head = |pull: &&Value| {
            pull.pointer("/head/repo/full_name").and_then(Value::as_str) == Some(head)
        };
        let pulls = pulls.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(pulls.iter().filter(of_head).filter_map(told).find(|(_, sha)| is_sha(sha)))
    }
}

/// What is said on a pull request.
struct OfPull<'c> {
    comment: &'c Comment,
    number: u64,
}

impl OfPull<'_> {
    fn list(&self) -> String {
        format!("/repos/{}/issues/{}/comments", self.comment.event.repository, self.number)
    }

    fn one(&self, id: u64) -> String {
        format!("/repos/{}/issues/comments/{id}", self.comment.event.repository)
    }
}

impl Thread for OfPull<'_> {
    fn name(&self) -> String {
        format!("pull request {}", self.number)
    }

    fn head(&self) -> anyhow::Result<String> {
        Ok(self.comment.pull()?.map_or_else(String::new, |(_, head)| head))
    }

    fn comments(&self) -> anyhow::Result<Vec<thread::Comment>> {
        let mut ours = Vec::new();
        for page in 1..=PAGES {
            let query = format!("{}?per_page={PAGE}&page={page}", self.list());
            let answer = self.comment.api.call(Verb::Get, &query, None)?;
            let comments = answer.as_array().context("GitHub's answer is no list of comments")?;
            ours.extend(comments.iter().filter_map(|comment| {
                let text = |path: &str| comment.pointer(path).and_then(Value::as_str);
                let mine = text("/user/login") == Some(&self.comment.author);
                let id = comment.get("id").and_then(Value::as_u64).filter(|_| mine)?;
                Some(thread::Comment { id, text: text("/body")?.to_owned() })
            }));
            if comments.len() < PAGE {
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
        let (verb, path) = match id {
            None => (Verb::Post, self.list()),
            Some(id) => (Verb::Patch, self.one(id)),
        };
        let body = json!({ "body": text });
        Ok(self.comment.api.call_while(verb, &path, Some(&body), still)?.is_some())
    }

    fn remove(&self, id: u64) -> anyhow::Result<()> {
        self.comment.api.call(Verb::Delete, &self.one(id), None).map(drop)
    }
}
