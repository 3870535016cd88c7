//! What the job is about, as GitHub tells the runner: the repository, the commit, the pull request. Never what an artifact says.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use crate::cli;
use crate::publish::repository;
pub(super) use crate::publish::repository::is_sha;
use crate::wrong::wrong;

/// Bytes of an event; GitHub's are below 25 MB.
const LONGEST: u64 = 32 << 20;

/// What is told, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `owner/name` of the repository that is told.
    pub repository: String,
    /// The commit that was measured.
    pub sha: String,
    /// The pull request, where it is known by number.
    pub pull: Option<u64>,
    /// Of a run that another one triggered: the head's repository and branch, by which its pull request is found.
    pub head: Option<(String, String)>,
}

impl Event {
    /// Of the job that this is, or of what the command line says instead.
    ///
    /// # Errors
    /// Nothing says which repository and commit it is, or it is no name of one.
    pub fn here(told: &cli::PublishGithub) -> anyhow::Result<Event> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let event = match variable("GITHUB_EVENT_PATH") {
            Some(path) => read(Path::new(&path))?,
            None => Value::Null,
        };
        let of = Event::of(&variable("GITHUB_EVENT_NAME").unwrap_or_default(), &event);
        let repository = told.repository.clone().or_else(|| variable("GITHUB_REPOSITORY"));
        let sha = told.sha.clone().or(of.sha).or_else(|| variable("GITHUB_SHA"));
        // By hand it is the repository that we stand in.
        let repository = repository.or_else(repository::origin);
        let sha = sha.or_else(repository::commit);
        let missing = |what: &str, option: &str| {
            wrong(format!(
                "which {what} is told? give it with {option}; in a workflow GitHub says it"
            ))
        };
        let event = Event {
            repository: repository.ok_or_else(|| missing("repository", "--repository"))?,
            sha: sha.ok_or_else(|| missing("commit", "--sha"))?,
            pull: told.pull.or(of.pull),
            head: of.head,
        };
        if !is_repository(&event.repository) {
            return Err(wrong("--repository is OWNER/NAME"));
        }
        if !is_sha(&event.sha) {
            return Err(wrong("--sha is a commit of 40 hexadecimal digits"));
        }
        Ok(event)
    }

    fn of(name: &str, event: &Value) -> Found {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).map(str::to_owned);
        match name {
            "pull_request" => Found {
                sha: text("/pull_request/head/sha"),
                pull: event.pointer("/pull_request/number").and_then(Value::as_u64),
                head: None,
            },
            // Its own list of pull requests is empty for forks: the head says which it is.
            "workflow_run" => Found {
                sha: text("/workflow_run/head_sha"),
                pull: None,
                head: text("/workflow_run/head_repository/full_name")
                    .zip(text("/workflow_run/head_branch")),
            },
            _ => Found::default(),
        }
    }
}

#[derive(Default)]
struct Found {
    sha: Option<String>,
    pull: Option<u64>,
    head: Option<(String, String)>,
}

fn read(path: &Path) -> anyhow::Result<Value> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    read.with_context(|| format!("failed to read the event `{}`", path.display()))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("`{}` is no event: {error}", path.display())))
}

fn is_repository(text: &str) -> bool {
    let plain = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && part.len() <= 100 && part.chars().all(plain) && !part.starts_with('.')
    };
    text.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name))
}

/// Whether this is a job of a fork's pull request on a runner of one's own: code of a stranger, about to change a host. The workflow has a
/// guard before it takes a runner; this is the second one. Answers why it is refused.
pub fn fork_on_own_runner() -> Option<String> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let own =
        variable("GITHUB_ACTIONS") == "true" && variable("RUNNER_ENVIRONMENT") != "github-hosted";
    // Who keeps a host for strangers, and throws it away after each job, says so in the runner's own environment.
    if !own || variable("EVENKEEL_FORKS") == "allow" {
        return None;
    }
    let event = read(Path::new(&variable("GITHUB_EVENT_PATH"))).unwrap_or(Value::Null);
    refused(&variable("GITHUB_EVENT_NAME"), &event)
}

fn refused(name: &str, event: &Value) -> Option<String> {
    let of = |side: &str| {
        let path = format!("/pull_request/{side}/repo/full_name");
        event.pointer(&path).and_then(Value::as_str)
    };
    let why = match name {
        "pull_request_target" => "events of kind pull_request_target are not measured",
        // Whatever the event's name: reviews and their comments carry the pull request's head as well.
        _ if (name == "pull_request" || event.get("pull_request").is_some())
            && (of("head").is_none() || of("head") != of("base")) =>
        {
            "a pull request of another repository is not measured on a runner of yours"
        }
        _ => return None,
    };
    Some(format!("{why}: its code would run with the rights of this host (ci/github/README.md)"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forks_are_refused_and_what_does_not_say_where_it_comes_from() {
        let of = |head: &str, base: &str| json!({ "pull_request": { "head": { "repo": { "full_name": head } }, "base": { "repo": { "full_name": base } } } });
        assert!(refused("pull_request", &of("a/b", "a/b")).is_none());
        assert!(refused("pull_request", &of("x/b", "a/b")).is_some());
        assert!(refused("pull_request", &Value::Null).is_some(), "a fork that was deleted");
        assert!(refused("pull_request_target", &of("a/b", "a/b")).is_some());
        assert!(refused("pull_request_review", &of("x/b", "a/b")).is_some());
        assert!(refused("pull_request_review", &of("a/b", "a/b")).is_none());
        assert!(refused("push", &Value::Null).is_none());
    }

    #[test]
    fn names_are_names() {
        for wrong in ["", "a", "a/b/c", "../x", "a/..", "a b/c", "a/$(id)", "a/b?x=1"] {
            assert!(!is_repository(wrong), "{wrong}");
        }
        assert!(is_repository("octo-org/hello.world"));
        assert!(is_sha(&"0a".repeat(20)) && !is_sha("HEAD") && !is_sha(&"0A".repeat(20)));
    }
}
