//! One comment on the pull request, which every run changes instead of adding another. It is known by a marker *and* its author, so that
//! nobody else's is ever changed; and a run of an older commit leaves that of a newer one alone.

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::api::{Api, PAGE, PAGES, Verb};
use super::event::{Event, is_sha};
use crate::publish::Sink;
use crate::publish::said::{Budget, Said};

/// GitHub takes 65,536 characters.
const BUDGET: Budget = Budget { bytes: 65_000 };

/// How often it is written, where other runs write it at the same time.
const TRIES: u32 = 4;

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
        Ok(self.body(said))
    }

    fn send(&self, said: &Said) -> anyhow::Result<String> {
        for _ in 0..TRIES {
            if let Some(done) = self.once(said)? {
                return Ok(done);
            }
        }
        bail!("another run changed it {TRIES} times while it was written")
    }
}

impl Comment {
    /// Writes it, and looks whether it is what is there then. Answers nothing where it is not, and has to be written again.
    fn once(&self, said: &Said) -> anyhow::Result<Option<String>> {
        let Event { repository, sha, .. } = &self.event;
        let Some((number, head)) = self.pull()? else {
            return Ok(Some("no open pull request has this commit as its head".to_owned()));
        };
        let newer = format!("pull request {number} has a newer commit: left to its run");
        if head != *sha {
            return Ok(Some(newer));
        }
        let list = format!("/repos/{repository}/issues/{number}/comments");
        let body = json!({ "body": self.body(said) });
        let one = |id: u64| format!("/repos/{repository}/issues/comments/{id}");
        let head = || self.pull().map(|pull| pull.map_or_else(String::new, |(_, head)| head));
        let before = self.ours(&list, said)?;
        // However long the server lets us wait: what is written then is of the commit that is the newest then.
        let still = || Ok(head()? == *sha);
        let (verb, path) = match before.first() {
            None => (Verb::Post, list.clone()),
            Some(first) => (Verb::Patch, one(first.id)),
        };
        if self.api.call_while(verb, &path, Some(&body), &still)?.is_none() {
            return Ok(Some(newer));
        }
        let head = head()?;
        let after = self.ours(&list, said)?;
        let how = if before.is_empty() { "written" } else { "changed" };
        let done = format!("{how} on pull request {number}");
        // A list that does not have it yet: a second one would stay.
        let [first, doubles @ ..] = &after[..] else { return Ok(Some(done)) };
        if head != *sha {
            // A newer commit came while it was written. If its run was there before, its words get their place again.
            if let Some(newest) = before.first().filter(|first| first.is_of(&head)) {
                let body = json!({ "body": newest.body });
                self.api.call(Verb::Patch, &one(newest.id), Some(&body))?;
            }
            return Ok(Some(newer));
        }
        // Another run may have written one at the same time: the oldest stays, with what the newest commit's says.
        if !first.is_of(sha) {
            if !doubles.is_empty() {
                self.api.call_while(Verb::Patch, &one(first.id), Some(&body), &still)?;
                for double in doubles {
                    self.api.call(Verb::Delete, &one(double.id), None)?;
                }
            }
            return Ok(None);
        }
        for double in doubles {
            self.api.call(Verb::Delete, &one(double.id), None)?;
        }
        Ok(Some(done))
    }

    /// By which it is found again. No name may end it.
    fn marker(said: &Said) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
        let name: String = said.matrix.chars().map(plain).take(100).collect();
        // Two dashes end a comment of HTML.
        format!("<!-- evenkeel: {} -->", name.replace("--", "-_"))
    }

    fn body(&self, said: &Said) -> String {
        let marker = Comment::marker(said);
        let end = measured_at(&self.event.sha);
        let left = BUDGET.bytes - marker.len() - end.len() - 1;
        let text = said.markdown(self.link.as_deref(), Budget { bytes: left });
        format!("{marker}\n{text}{end}")
    }

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

    /// The comments that are ours, oldest first.
    fn ours(&self, list: &str, said: &Said) -> anyhow::Result<Vec<Ours>> {
        let marker = Comment::marker(said);
        let mut ours = Vec::new();
        for page in 1..=PAGES {
            let answer =
                self.api.call(Verb::Get, &format!("{list}?per_page={PAGE}&page={page}"), None)?;
            let comments = answer.as_array().context("GitHub's answer is no list of comments")?;
            ours.extend(comments.iter().filter_map(|comment| {
                let text = |path: &str| comment.pointer(path).and_then(Value::as_str);
                let body = text("/body").filter(|body| body.starts_with(&marker))?.to_owned();
                let mine = text("/user/login") == Some(&self.author);
                let id = comment.get("id").and_then(Value::as_u64).filter(|_| mine)?;
                Some(Ours { id, body })
            }));
            if comments.len() < PAGE {
                break;
            }
        }
        ours.sort_unstable_by_key(|comment| comment.id);
        Ok(ours)
    }
}

/// A comment of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ours {
    id: u64,
    body: String,
}

impl Ours {
    /// Whether it tells of this commit.
    fn is_of(&self, sha: &str) -> bool {
        !sha.is_empty() && self.body.trim_end().ends_with(measured_at(sha).trim_end())
    }
}

/// How it ends.
fn measured_at(sha: &str) -> String {
    format!("\nMeasured at {sha}.\n")
}

/// Text as a value in a query.
pub(super) fn in_query(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_stay_in_their_place_of_the_query() {
        assert_eq!(in_query("feat/x&state=all #\n\"é"), "feat%2Fx%26state%3Dall%20%23%0A%22%C3%A9");
    }
}
