//! GitHub's API, as GitHub describes it: every call of ours and every answer goes through prism, which refuses what the description does not allow, to a
//! server that holds what it is told. Skipped with that reason where prism is not installed (npm: @stoplight/prism-cli, @octokit/openapi,
//! @octokit/webhooks-examples; `.ci/run --long` installs them).

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use common::forge::{BOT, NEWER, Server};
use common::runs::place;
use common::{PATIENCE, Said, run};
use evenkeel_agent::command::{self, which};
use evenkeel_agent::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What `publish` asks for.
const ASKED: [&str; 8] = [
    "/repos/{owner}/{repo}/pulls",
    "/repos/{owner}/{repo}/pulls/{pull_number}",
    "/repos/{owner}/{repo}/issues/{issue_number}/comments",
    "/repos/{owner}/{repo}/issues/comments/{comment_id}",
    "/repos/{owner}/{repo}/check-runs",
    "/repos/{owner}/{repo}/check-runs/{check_run_id}",
    "/repos/{owner}/{repo}/check-runs/{check_run_id}/annotations",
    "/repos/{owner}/{repo}/commits/{ref}/check-runs",
];

/// A file of a package of node.
fn module(file: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("NODE_PATH")?;
    std::env::split_paths(&paths).map(|path| path.join(file)).find(|path| path.is_file())
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Prism before the server.
struct Prism {
    child: Child,
    address: String,
}

impl Prism {
    /// With a description of `paths` only: the whole is too long to be read in every run of a test.
    fn start(place: &TempDir, mut described: Value, server: &Server) -> Prism {
        let paths = described["paths"].as_object_mut().unwrap();
        paths.retain(|path, _| ASKED.contains(&path.as_str()));
        assert_eq!(paths.len(), ASKED.len(), "GitHub does not describe all that is asked for");
        server.with(|state| state.described = Some(Value::Object(paths.clone())));
        for unused in ["webhooks", "x-webhooks", "tags"] {
            described.as_object_mut().unwrap().remove(unused);
        }
        let file = place.path().join("api.json");
        std::fs::write(&file, described.to_string()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(place.path().join("prism.log")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "it is ended by the test")]
        let mut command = std::process::Command::new("prism");
        command.args(["proxy", file.to_str().unwrap(), &server.address, "--errors"]);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let listens = || Ok(TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()));
        wait::until("prism", PATIENCE, listens).unwrap();
        Prism { child, address: format!("http://127.0.0.1:{port}") }
    }

    /// What it refuses is refused, or it would prove nothing.
    fn refuses_what_is_wrong(&self) {
        let url = format!("{}/repos/me/mine/check-runs", self.address);
        let word = ["curl", "--silent", "--include", "--data", "{\"name\": 7}", "--header"];
        let words = [&word[..], &["Content-Type: application/json", &url]].concat();
        let told = command::output(&words, PATIENCE).unwrap();
        assert!(told.starts_with("HTTP/1.1 422"), "{told}");
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A payload that GitHub sent.
fn payload(name: &str, action: &str) -> Value {
    let all = module("@octokit/webhooks-examples/api.github.com/index.json").unwrap();
    let all = json_of(&all);
    let of_name = all.as_array().unwrap().iter().find(|of| of["name"] == name).unwrap();
    let examples = of_name["examples"].as_array().unwrap();
    examples.iter().find(|event| event["action"] == action).unwrap().clone()
}

#[test]
#[ignore = "starts prism; `cargo xtask test --long` runs it"]
fn comment_and_check_are_what_github_describes_in_every_case() {
    let described = module("@octokit/openapi/generated/api.github.com.deref.json");
    let (Some(described), true) = (described, which("prism").is_some()) else {
        eprintln!("skipped: prism or GitHub's description is not installed (.ci/run --long)");
        return;
    };
    let (place, server) = (place(), Server::start());
    let prism = Prism::start(&place, json_of(&described), &server);
    prism.refuses_what_is_wrong();
    let opened = payload("pull_request", "opened");
    let of = |path: &str| opened.pointer(path).unwrap().as_str().unwrap().to_owned();
    let (repository, sha) = (of("/repository/full_name"), of("/pull_request/head/sha"));
    server.with(|state| {
        state.repository = repository.clone();
        state.pull = opened["pull_request"]["number"].as_u64().unwrap();
        state.head = sha.clone();
        state.calls.clear();
    });
    let event = place.path().join("payload.json");
    std::fs::write(&event, opened.to_string()).unwrap();
    let command = |of: &str| {
        let mut command = server.command(&place, of);
        command.env("GITHUB_API_URL", &prism.address).env("GITHUB_EVENT_PATH", &event);
        command.env("GITHUB_REPOSITORY", &repository);
        command
    };
    let publish = |of: &str, to: &str| -> Said { run(command(of).args(["--to", to])) };

    // Made, changed, not doubled.
    let fine = |said: &Said, words: &[&str]| {
        said.says(words);
        assert!(!said.stderr.contains("warning"), "{said}");
    };
    let said = publish("both", "comment,check");
    fine(said.ends_with(1), &["comment: written on pull request 2", "check: made for"]);
    fine(publish("both", "comment,check").ends_with(1), &["comment: changed", "check: changed"]);
    fine(publish("same", "comment,check").ends_with(0), &["comment: changed", "check: made anew"]);
    server.with(|state| {
        let told = (state.comments.len(), state.checks.len());
        assert_eq!(told, (1, 2), "{:?}", state.calls);
        assert_eq!(state.checks[0]["head_sha"], sha.as_str());
    });
    // One that wrote at the same time is one comment in the end, and an older commit leaves it alone.
    server.with(|state| {
        state.comments.clear();
        let body = "<!-- evenkeel: two -->\nthe other's\n";
        state.racer = Some(json!({ "id": 50, "user": { "login": BOT }, "body": body }));
    });
    fine(publish("both", "comment").ends_with(1), &["comment: "]);
    server.with(|state| {
        assert_eq!(state.comments.len(), 1);
        state.head = NEWER.to_owned();
    });
    fine(publish("same", "comment").ends_with(0), &["has a newer commit"]);
    server.with(|state| {
        assert!(state.comments[0]["body"].as_str().unwrap().contains("regressed"));
        state.head = sha.clone();
    });
    // Each error code that GitHub has, of each thing that is written.
    for to in ["comment", "check"] {
        for (status, words) in [
            ("401 Unauthorized", "the token is not valid any more"),
            ("403 Forbidden", "the token may not"),
            ("404 Not Found", "the token does not see it"),
            ("422 Unprocessable Entity", "422"),
            ("403 Forbidden\r\nRetry-After: 100000", "wants to be left alone for 100000 s"),
            ("429 Too Many Requests\r\nRetry-After: 100000", "wants to be left alone"),
        ] {
            server.with(|state| state.fails = VecDeque::from([status]));
            publish("both", to).ends_with(1).says(&[&format!("warning: {to}: "), words]);
            server.with(|state| state.fails.clear());
        }
        for passing in ["429 Too Many Requests\r\nRetry-After: 0", "502 Bad Gateway"] {
            server.with(|state| state.fails = VecDeque::from([passing]));
            fine(publish("both", to).ends_with(1), &[&format!("{to}: ")]);
        }
    }
    // Of a fork: GitHub's own event of a workflow that another one started.
    let mut completed = payload("workflow_run", "completed");
    let head = &mut completed["workflow_run"];
    head["head_sha"] = json!(sha);
    head["head_branch"] = json!("feat/x&y");
    head["head_repository"]["full_name"] = json!("stranger/mine");
    std::fs::write(&event, completed.to_string()).unwrap();
    let said = run(command("both").env("GITHUB_EVENT_NAME", "workflow_run"));
    fine(said.ends_with(1), &["comment: changed on pull request 2", "check: "]);
}

/// Without prism, which would answer itself.
#[test]
#[ignore = "waits for a deadline; `cargo xtask test --long` runs it"]
fn a_server_that_never_answers_is_given_up_and_nothing_is_written_twice() {
    let (place, server) = (place(), Server::start());
    // It looks for a comment of ours, and is heard; it writes one, and is not.
    server.with(|state| state.fails = VecDeque::from(["200", "200", "200", "200", "silence"]));
    let said = server.publish(&place, "both", &["--to", "comment,outputs"]);
    said.ends_with(1).says(&["warning: comment: POST", "no answer", "outputs: set"]);
    server.with(|state| {
        let written = state.calls.iter().filter(|call| call.starts_with("POST")).count();
        assert_eq!((written, state.comments.len()), (1, 0), "{:?}", state.calls);
    });
}
