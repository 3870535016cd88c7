//! A server on this host that holds comments and checks as GitHub and GitLab do, and fails as it is told to. Given GitHub's own description of its
//! API, its answers have every field that GitHub's have.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Said, run, xtask};

/// The commit that is measured.
pub const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
/// A commit that came after it.
pub const NEWER: &str = "89abcdef0123456789abcdef0123456789abcdef";
/// Who writes with the token of a workflow.
pub const BOT: &str = "github-actions[bot]";
/// The token.
pub const TOKEN: &str = "ghs_thisIsTheToken";

/// Entries of a page.
const PAGE: usize = 30;

/// What the server holds.
pub struct State {
    /// `owner/name` of the repository that it knows.
    pub repository: String,
    /// The pull request that it knows, by number.
    pub pull: u64,
    /// The commit that is its head.
    pub head: String,
    /// Comments or notes on it.
    pub comments: Vec<Value>,
    /// Checks of commits.
    pub checks: Vec<Value>,
    /// Status lines with headers that the next calls get instead of an answer; or `hang up`, or `silence`.
    pub fails: VecDeque<&'static str>,
    /// Verbs and paths that were asked for.
    pub calls: Vec<String>,
    /// Heads that the next looks at the pull request find, before it stays at `head`.
    pub heads: VecDeque<&'static str>,
    /// Somebody who writes a comment between our look and our own.
    pub racer: Option<Value>,
    /// Paths of GitHub's description, whose examples fill in what an answer lacks.
    pub described: Option<Value>,
}

impl Default for State {
    fn default() -> State {
        State {
            repository: "me/mine".to_owned(),
            pull: 7,
            head: SHA.to_owned(),
            comments: Vec::new(),
            checks: Vec::new(),
            fails: VecDeque::new(),
            calls: Vec::new(),
            heads: VecDeque::new(),
            racer: None,
            described: None,
        }
    }
}

/// A server on this host, which ends with the test's process.
pub struct Server {
    /// Where it is asked.
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Starts one that holds nothing.
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &shared);
            }
        });
        Server { address, state }
    }

    /// Looks at what it holds, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// `publish github` of a run, as a step of a workflow of pull request 7 does it.
    pub fn publish(&self, place: &TempDir, of: &str, more: &[&str]) -> Said {
        run(self.command(place, of).args(more))
    }

    /// The same, to be changed before it runs.
    pub fn command(&self, place: &TempDir, of: &str) -> Command {
        let event = place.path().join("event.json");
        let text = json!({ "pull_request": { "number": 7, "head": { "sha": SHA } } });
        std::fs::write(&event, text.to_string()).unwrap();
        let mut command = xtask(&["publish", "github", of]);
        command.current_dir(place.path()).env("GITHUB_API_URL", &self.address);
        command.env("GITHUB_TOKEN", TOKEN).env("GITHUB_REPOSITORY", "me/mine");
        command.env("GITHUB_EVENT_NAME", "pull_request").env("GITHUB_EVENT_PATH", &event);
        command.env("GITHUB_STEP_SUMMARY", place.path().join("summary"));
        command.env("GITHUB_OUTPUT", place.path().join("outputs"));
        command
    }
}

/// Answers one call. Whoever hangs up in the middle, or only looks whether somebody listens, gets none.
fn answer(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length, mut authorized) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        if first.is_empty() {
            first = line;
            continue;
        }
        let (name, value) = line.split_once(':').unwrap();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "authorization" => authorized = value.trim() == format!("Bearer {TOKEN}"),
            "private-token" => authorized = value.trim() == TOKEN,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut words = first.split_whitespace();
    let (verb, path) = (words.next().unwrap(), words.next().unwrap());
    let mut state = state.lock().unwrap();
    state.calls.push(format!("{verb} {path}"));
    let (status, body) = match state.fails.pop_front() {
        Some("hang up") => return,
        Some("silence") => {
            drop(state);
            // Until whoever asked gives up.
            reader.read_to_end(&mut Vec::new()).ok();
            return;
        }
        Some(status) if status != "200" => {
            (status.to_owned(), json!({ "message": "as it was told \u{1b}[31m" }))
        }
        _ if !authorized => ("401 No".to_owned(), json!({ "message": "Bad credentials" })),
        _ => {
            let (status, body) = state.answer(verb, path, body);
            (status.to_owned(), state.whole(verb, path, status, body))
        }
    };
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = stream;
    // Who asked may be gone.
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
    .ok();
}

/// What a query says of a name; whoever passes it on may write it in another way.
fn told(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|of| of.split_once('='));
    let (_, value) = pairs.find(|(of, _)| *of == name)?;
    let mut pieces = value.split('%');
    let mut plain = pieces.next()?.replace('+', " ");
    for piece in pieces {
        plain.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?.into());
        plain.push_str(&piece.get(2..)?.replace('+', " "));
    }
    Some(plain)
}

/// The page that a query asks for.
fn page_of<'v>(query: &str, all: impl Iterator<Item = &'v Value>) -> Vec<Value> {
    let page: usize = told(query, "page").unwrap().parse().unwrap();
    all.skip((page - 1) * PAGE).take(PAGE).cloned().collect()
}

impl State {
    fn answer(&mut self, verb: &str, path: &str, body: Value) -> (&'static str, Value) {
        let gone = || ("404 Not Found", json!({ "message": "Not Found" }));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = path.strip_prefix(&format!("/repos/{}", self.repository)).unwrap_or(path);
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let id = parts.last().and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
        let at = |list: &[Value]| list.iter().position(|one| one["id"] == id);
        let pull = self.pull.to_string();
        match (verb, &parts[..]) {
            ("GET", ["pulls", number]) if *number == pull => {
                let head = self.heads.pop_front().unwrap_or(&self.head);
                (
                    "200 OK",
                    json!({ "number": self.pull, "head": { "sha": head }, "requested_teams": [] }),
                )
            }
            ("GET", ["user"]) => ("200 OK", json!({ "id": 42, "username": "evenkeel" })),
            ("GET", ["projects", "5", "merge_requests", number]) if *number == pull => {
                let head = self.heads.pop_front().unwrap_or(&self.head);
                ("200 OK", json!({ "iid": self.pull, "sha": head }))
            }
            ("GET", ["projects", "5", "merge_requests", number, "notes"]) if *number == pull => {
                ("200 OK", page_of(query, self.comments.iter()).into())
            }
            ("POST", ["projects", "5", "merge_requests", number, "notes"]) if *number == pull => {
                let id = 100 + self.comments.len() as u64;
                let note = json!({ "id": id, "author": { "id": 42 }, "body": body["body"] });
                self.comments.push(note.clone());
                ("201 Created", note)
            }
            ("PUT", ["projects", "5", "merge_requests", number, "notes", _]) if *number == pull => {
                let at = at(&self.comments).unwrap();
                self.comments[at]["body"] = body["body"].clone();
                ("200 OK", self.comments[at].clone())
            }
            ("GET", ["pulls"]) => {
                let is = |name: &str, value: &str| told(query, name).as_deref() == Some(value);
                let open = is("head", "stranger:feat/x&y") && is("state", "open");
                let of = |repo: &str| json!({ "number": self.pull, "head": { "sha": self.head, "repo": { "full_name": repo } }, "requested_teams": [] });
                (
                    "200 OK",
                    if open { json!([of("other/mine"), of("stranger/mine")]) } else { json!([]) },
                )
            }
            ("GET", ["issues", number, "comments"]) if *number == pull => {
                let listed = page_of(query, self.comments.iter()).into();
                self.comments.extend(self.racer.take());
                ("200 OK", listed)
            }
            ("POST", ["issues", number, "comments"]) if *number == pull => {
                let length = body["body"].as_str().unwrap().chars().count();
                if length > 65_536 {
                    return ("422 Too long", json!({ "message": "body is too long" }));
                }
                let id = 100 + self.comments.len() as u64;
                let comment = json!({ "id": id, "user": { "login": BOT }, "body": body["body"] });
                self.comments.push(comment.clone());
                ("201 Created", comment)
            }
            ("PATCH", ["issues", "comments", _]) => match at(&self.comments) {
                Some(at) => {
                    self.comments[at]["body"] = body["body"].clone();
                    ("200 OK", self.comments[at].clone())
                }
                None => gone(),
            },
            ("DELETE", ["issues", "comments", _]) => {
                self.comments.retain(|comment| comment["id"] != id);
                ("204 No Content", Value::Null)
            }
            ("GET", ["commits", _, "check-runs"]) => {
                let name = told(query, "check_name").unwrap();
                let named = self.checks.iter().filter(|check| check["name"] == name.as_str());
                let listed = page_of(query, named.clone());
                ("200 OK", json!({ "total_count": named.count(), "check_runs": listed }))
            }
            ("GET", ["check-runs", id, "annotations"]) => {
                let id: u64 = id.parse().unwrap();
                let check = self.checks.iter().find(|check| check["id"] == id).unwrap();
                let all = check["output"]["annotations"].as_array().unwrap();
                ("200 OK", page_of(query, all.iter()).into())
            }
            ("POST", ["check-runs"]) => {
                let mut check = body;
                let count = check["output"]["annotations"].as_array().map_or(0, Vec::len);
                if count > 50 || check["output"]["summary"].as_str().unwrap().len() > 65_535 {
                    return ("422 Too much", json!({ "message": "too much" }));
                }
                check["id"] = json!(500 + self.checks.len());
                check["output"]["annotations_count"] = json!(count);
                self.checks.push(check.clone());
                ("201 Created", check)
            }
            ("PATCH", ["check-runs", _]) => {
                let at = at(&self.checks).unwrap();
                let more = body["output"].get("annotations").and_then(Value::as_array);
                if let Some(more) = more {
                    let all = self.checks[at]["output"]["annotations"].as_array_mut().unwrap();
                    all.extend(more.iter().cloned());
                    self.checks[at]["output"]["annotations_count"] = json!(all.len());
                }
                self.checks[at]["conclusion"] = body["conclusion"].clone();
                ("200 OK", self.checks[at].clone())
            }
            _ => gone(),
        }
    }

    /// An answer with what GitHub's example of it has besides.
    fn whole(&self, verb: &str, path: &str, status: &str, body: Value) -> Value {
        let Some(paths) = self.described.as_ref().and_then(Value::as_object) else { return body };
        let parts: Vec<&str> = path.split('?').next().unwrap_or(path).split('/').collect();
        let is = |template: &str| {
            let of: Vec<&str> = template.split('/').collect();
            of.len() == parts.len()
                && of.iter().zip(&parts).all(|(of, part)| of.starts_with('{') || of == part)
        };
        let answers = paths.iter().find(|(template, _)| is(template)).map(|(_, verbs)| {
            &verbs[verb.to_lowercase()]["responses"][status.split(' ').next().unwrap_or(status)]
        });
        let examples = answers.map(|of| &of["content"]["application/json"]["examples"]);
        let example = examples.and_then(Value::as_object).and_then(|all| all.values().next());
        match example {
            Some(example) => over(&example["value"], body),
            None => body,
        }
    }
}

/// The example with what is told in place of what it says.
fn over(example: &Value, told: Value) -> Value {
    match (example, told) {
        (Value::Object(example), Value::Object(told)) => {
            let mut all = example.clone();
            for (name, value) in told {
                let value = over(&example.get(&name).cloned().unwrap_or_default(), value);
                all.insert(name, value);
            }
            Value::Object(all)
        }
        (Value::Array(example), Value::Array(told)) => {
            let one = example.first().cloned().unwrap_or_default();
            told.into_iter().map(|value| over(&one, value)).collect()
        }
        (_, told) => told,
    }
}
