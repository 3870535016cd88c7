//! GitHub as a new user has it, from an empty repository to reports on pages: what `init` writes calls the real workflow, whose steps run here in their
//! order. A change that makes determinism worse is flagged with its comment, and one that mends it is told there; and nothing of a fork is run.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use common::actions::{Actions, git};
use common::forge::{Server, TOKEN};
use common::{Host, PATIENCE, run, xtask};
use evenkeel_agent::command::{self, output};
use serde_json::{Value, json};

const WORKFLOW: &str = include_str!("../../.github/workflows/evenkeel.yml");
const SECOND_STAGE: &str = include_str!("../../.github/workflows/evenkeel-publish.yml");

/// The profile whose change is measured.
const PROFILE: &str = "schema = 1\nabout = 'what this repository ships'\n[knobs]\nplacement = 'auto'\npolicy = 'fifo'\nrt-throttle = 'off'\n";

/// The cell of the matrix.
const CELL: &str = "running/netns/bridge/ours/noisy";

/// The project as a repository with one commit, whatever state this checkout is in. Answers the commit.
fn tool(into: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.to_str().unwrap();
    let listed =
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    for file in output(&listed, PATIENCE).unwrap().split('\0').filter(|file| !file.is_empty()) {
        let (from, to) = (Path::new(root).join(file), into.join(file));
        // What is deleted and not committed is still listed.
        if from.exists() {
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(from, to).unwrap();
        }
    }
    let into = into.to_str().unwrap();
    git(&["init", "--quiet", into]);
    git(&["-C", into, "add", "--all"]);
    git(&["-C", into, "commit", "--quiet", "-m", "tool"]);
    git(&["-C", into, "rev-parse", "HEAD"]).trim().to_owned()
}

/// A repository of a user, with where it is pushed to.
struct Repository {
    work: PathBuf,
}

impl Repository {
    fn git(&self, words: &[&str]) -> String {
        git(&[&["-C", self.work.to_str().unwrap()], words].concat())
    }

    /// Commits all files and pushes them. Answers the commit.
    fn push(&self, branch: &str, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["push", "--quiet", "origin", branch]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.work.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no `{from}` in {file}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }
}

/// A branch as pages of this host.
struct Pages {
    address: String,
}

impl Pages {
    fn start(folder: PathBuf) -> Pages {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(stream, &folder);
            }
        });
        Pages { address }
    }

    /// A page, which must be there.
    fn page(&self, path: &str) -> String {
        let url = format!("{}/{path}", self.address);
        output(&["curl", "--silent", "--show-error", "--fail", &url], PATIENCE).unwrap()
    }
}

fn serve(mut stream: TcpStream, folder: &Path) {
    let mut first = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    reader.read_line(&mut first).unwrap();
    // All of it is read, or who asks sees its words refused.
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap().trim_start_matches('/');
    let path = if path.is_empty() || path.ends_with('/') {
        format!("{path}index.html")
    } else {
        path.to_owned()
    };
    let (status, body) = match std::fs::read(folder.join(&path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok();
}

/// Targets of links that begin so.
fn links(page: &str, start: &str) -> Vec<String> {
    let all = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    all.filter(|to| to.starts_with(start)).map(str::to_owned).collect()
}

/// What the files of `init` let run, by the conditions of their jobs.
#[test]
fn of_a_fork_nothing_is_planned_unless_it_is_asked_for_and_the_second_stage_is_for_forks_only() {
    let place = tempfile::tempdir().unwrap();
    let named = format!("me/evenkeel@{}", "0123456789".repeat(4));
    let callers = |folder: &str, more: &[&str]| {
        let folder = place.path().join(folder);
        let words = ["init", "github", folder.to_str().unwrap(), "--tool", &named];
        run(&mut xtask(&[&words[..], more].concat())).ends_with(0);
        let of =
            move |name: &str| std::fs::read_to_string(folder.join(".github/workflows").join(name));
        (of("evenkeel.yml").unwrap(), of("evenkeel-publish.yml").unwrap_or_default())
    };
    let (plain, _) = callers("plain", &[]);
    let (with_forks, second) = callers("forks", &["--forks"]);
    let repository = json!({ "full_name": "me/mine", "default_branch": "main" });
    let pull = |head: Value| json!({ "repository": repository, "pull_request": { "number": 7, "head": { "sha": "a", "repo": head } } });
    let of = |name: &str| pull(json!({ "full_name": name }));
    let push = json!({ "repository": repository, "after": "a" });
    let mut actions = Actions::new(place.path());
    let mut plans = |caller: &str, name: &str, event: &Value| {
        actions.run(WORKFLOW, caller, name, event).runs("plan")
    };
    for (name, event, both) in [
        ("push", &push, [true, true]),
        ("pull_request", &of("me/mine"), [true, true]),
        ("pull_request", &of("stranger/mine"), [false, true]),
        // Of a fork that was deleted.
        ("pull_request", &pull(Value::Null), [false, true]),
        ("pull_request_target", &of("me/mine"), [false, false]),
        ("pull_request_target", &of("stranger/mine"), [false, false]),
    ] {
        assert_eq!([&plain, &with_forks].map(|of| plans(of, name, event)), both, "{name} {event}");
    }
    let first = |event: &str, head: &str| json!({ "repository": repository, "workflow_run": { "event": event, "head_repository": { "full_name": head } } });
    for (event, told) in [
        (first("pull_request", "stranger/mine"), true),
        (first("pull_request", "me/mine"), false),
        (first("push", "stranger/mine"), false),
    ] {
        let of = actions.run(SECOND_STAGE, &second, "workflow_run", &event);
        assert_eq!(of.runs("publish"), told, "{event}");
    }
}

#[test]
#[ignore = "builds the program from nothing and measures; `cargo xtask test --long` runs it"]
fn real_from_an_empty_repository_to_a_comment_on_what_got_worse_and_a_page_that_shows_it() {
    let host = Host::take();
    let server = Server::start();
    let place = host.place.path();
    let [tool_place, origin, work] = ["tool", "origin", "mine"].map(|name| place.join(name));
    let commit = tool(&tool_place);

    // An empty repository, as `init` leaves it, with a profile of its own and a matrix that is short.
    git(&["init", "--quiet", "--bare", "--initial-branch", "main", origin.to_str().unwrap()]);
    git(&["clone", "--quiet", origin.to_str().unwrap(), work.to_str().unwrap()]);
    let mine = Repository { work };
    mine.git(&["checkout", "--quiet", "-B", "main"]);
    let named = format!("me/evenkeel@{commit}");
    let init = || run(host.xtask(&["init", "github", "--tool", &named]).current_dir(&mine.work));
    assert_eq!(init().ends_with(0).stdout.matches(": written").count(), 2);
    mine.edit("matrices/network.toml", "[\"netns\", \"docker\"]", "[\"netns\"]");
    mine.edit("matrices/network.toml", "[\"stock\"]", "[\"ours\"]");
    mine.edit("matrices/network.toml", "[\"idle\", \"noisy\"]", "[\"noisy\"]");
    mine.edit("matrices/network.toml", "[\"tcp-rr\", \"tcp-stream\"]", "[\"tcp-rr\"]");
    std::fs::create_dir_all(mine.work.join("matrices/tuning")).unwrap();
    std::fs::write(mine.work.join("matrices/tuning/ours.toml"), PROFILE).unwrap();
    // What this change does to the median is small, and would take the most boots of all.
    let policy = "schema = 1\n[gate]\naspects = ['dispersion', 'tail']\n";
    std::fs::write(mine.work.join("matrices/policy.toml"), policy).unwrap();
    let base = mine.push("main", "Evenkeel");

    let mut actions = Actions::new(place);
    for (name, at) in [("me/mine", &origin), ("me/evenkeel", &tool_place)] {
        actions.repositories.insert(name.to_owned(), at.to_str().unwrap().to_owned());
    }
    let state = host.state.path().to_str().unwrap().to_owned();
    for (name, value) in [("EVENKEEL_STATE", state), ("GITHUB_API_URL", server.address.clone())] {
        actions.environment.insert(name.to_owned(), value);
    }
    let caller = std::fs::read_to_string(mine.work.join(".github/workflows/evenkeel.yml")).unwrap();
    let repository = json!({ "full_name": "me/mine", "default_branch": "main" });
    let of_pull = |head: &str, from: &str| {
        let head = json!({ "sha": head, "repo": { "full_name": from } });
        let base = json!({ "sha": base, "repo": { "full_name": "me/mine" } });
        json!({ "repository": repository, "pull_request": { "number": 7, "head": head, "base": base } })
    };

    // All jobs for an event, in their order. Answers how the report ended.
    let mut perform = |name: &str, event: &Value| -> Option<i32> {
        let mut of = actions.run(WORKFLOW, &caller, name, event);
        of.perform("plan", Value::Null).said.unwrap().ends_with(0);
        let shards = of.matrix("bench");
        assert!(!shards.is_empty());
        for shard in shards {
            assert_eq!(shard["runs_on"], json!(["self-hosted", "linux", "evenkeel"]));
            of.perform("bench", shard).said.unwrap().ends_with(0);
        }
        let report = of.perform("report", Value::Null);
        let said = report.said.unwrap();
        assert!(!said.stderr.contains("warning") && !said.to_string().contains(TOKEN), "{said}");
        assert_eq!(report.outputs["verdict"] == "regressed", said.code == Some(1), "{said}");
        of.perform("pages", Value::Null).said.unwrap().ends_with(0);
        of.end();
        said.code
    };
    let pushed = json!({ "repository": repository, "after": base });
    assert_eq!(perform("push", &pushed), Some(0));
    server.with(|state| assert_eq!((state.comments.len(), state.checks.len()), (0, 1)));

    // A commit that hurts: the system under test loses its priority.
    mine.git(&["checkout", "--quiet", "-b", "change"]);
    mine.edit("matrices/tuning/ours.toml", "policy = 'fifo'\n", "");
    let worse = mine.push("change", "Worse");
    server.with(|state| state.head = worse.clone());
    let event = of_pull(&worse, "me/mine");
    assert_eq!(perform("pull_request", &event), Some(1));
    let (comment, check) = server.with(|state| {
        assert_eq!(state.comments.len(), 1);
        let body = state.comments[0]["body"].as_str().unwrap().to_owned();
        (body, state.checks.last().unwrap().clone())
    });
    let [marker, sentence, ..] = comment.lines().collect::<Vec<_>>()[..] else {
        panic!("{comment}")
    };
    assert_eq!(marker, "<!-- evenkeel: network -->");
    assert!(sentence.starts_with("**1 of 1 cell regressed: tcp-rr "), "{comment}");
    assert!(
        sentence.contains(&format!(" in {CELL}; "))
            && sentence.ends_with("1 of 1 cells measured**"),
        "{comment}"
    );
    assert!(comment.contains(&format!("\n| regressed | {CELL} | tcp-rr | ")), "{comment}");
    assert!(comment.contains(&format!("Measured at {worse}.")), "{comment}");
    assert_eq!((&check["conclusion"], &check["head_sha"]), (&json!("failure"), &json!(worse)));
    let annotated = &check["output"]["annotations"][0];
    let matrix = std::fs::read_to_string(mine.work.join("matrices/network.toml")).unwrap();
    let line = matrix.lines().nth(annotated["start_line"].as_u64().unwrap() as usize - 1);
    assert_eq!(annotated["path"], "matrices/network.toml");
    assert!(line.is_some_and(|line| !line.is_empty() && !line.starts_with('#')), "{annotated}");

    // Mended: the same comment says so.
    let mended = {
        mine.edit("matrices/tuning/ours.toml", "rt-throttle", "policy = 'fifo'\nrt-throttle");
        mine.push("change", "Mended")
    };
    server.with(|state| state.head = mended.clone());
    assert_eq!(perform("pull_request", &of_pull(&mended, "me/mine")), Some(0));
    server.with(|state| {
        assert_eq!(state.comments.len(), 1);
        let body = state.comments[0]["body"].as_str().unwrap();
        assert!(!body.contains("| regressed |") && body.contains(&mended), "{body}");
    });

    // The branch, served: the list leads to the reports, and each stands by itself.
    let site = place.join("site");
    std::fs::create_dir(&site).unwrap();
    let archive = place.join("site.tar");
    let [origin, archive, site_name] =
        [&origin, &archive, &site].map(|path| path.to_str().unwrap());
    git(&["-C", origin, "archive", "--output", archive, "evenkeel-pages"]);
    command::output(&["tar", "-xf", archive, "-C", site_name], PATIENCE).unwrap();
    let pages = Pages::start(site);
    let index = pages.page("");
    let [of_main, of_pull] = ["runs/", "pr/7/"].map(|start| links(&index, start));
    assert_eq!((of_main.len(), of_pull.len()), (1, 1), "{index}");
    for (report, says) in [(&of_main[0], "1 of 1 cells measured"), (&of_pull[0], CELL)] {
        let page = pages.page(report);
        assert!(page.contains(says) && page.contains("Content-Security-Policy"), "{report}");
        let folder = report.rsplit_once('/').unwrap().0;
        pages.page(&format!("{folder}/results.json"));
    }
    assert!(!links(&pages.page("history.html"), "runs/").is_empty());
    host.is_restored();
}
