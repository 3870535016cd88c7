//! `publish` from outside, against a server that holds comments and checks as GitHub does and fails as it is told to; and a site.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::collections::VecDeque;
use std::path::Path;

use common::forge::{BOT, NEWER, SHA, Server, TOKEN};
use common::runs::{STEADY, WIDE, place, write};
use common::{run, xtask};
use evenkeel_agent::command;
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::record::{BASE, CANDIDATE};

fn text(place: &TempDir, name: &str) -> String {
    std::fs::read_to_string(place.path().join(name)).unwrap()
}

#[test]
fn a_regression_is_told_once_everywhere_and_again_in_the_same_place() {
    let (place, server) = (place(), Server::start());
    let said = server.publish(&place, "both", &["--report-url", "https://me.github.io/mine/pr/7/"]);
    said.ends_with(1).says(&[
        "comment: written on pull request 7",
        "check: made",
        "summary: added",
        "outputs: set",
    ]);
    let comment = server.with(|state| state.comments[0]["body"].as_str().unwrap().to_owned());
    let head = comment.lines().take(9).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(head, @r"
    <!-- evenkeel: two -->
    **1 of 2 cells regressed: tcp-stream tail ×3.09 \[2.89–3.30\] and tcp-stream dispersion ×3.09 \[2.89–3.30\] in running/docker/bridge/stock/idle; of 8 verdicts that gate 6 equivalent; 2 of 2 cells measured**

    [The report](https://me.github.io/mine/pr/7/)

    | verdict | cell | workload | aspect | candidate / base | why |
    |---|---|---|---|--:|---|
    | regressed | running/docker/bridge/stock/idle | tcp-stream | tail | ×3.09 [2.89–3.30] | tail ×3.09 \[2.89–3.30\]: worse beyond the margin ×1.1; 12 + 12 boots |
    | regressed | running/docker/bridge/stock/idle | tcp-stream | dispersion | ×3.09 [2.89–3.30] | spread inside a boot ×3.09 \[2.89–3.30\]: worse beyond the margin ×1.1; 12 + 12 boots |
    ");
    let check = server.with(|state| state.checks[0].clone());
    assert_eq!((&check["conclusion"], &check["head_sha"]), (&json!("failure"), &json!(SHA)));
    insta::assert_snapshot!(serde_json::to_string_pretty(&check["output"]["annotations"]).unwrap(), @r#"
    [
      {
        "annotation_level": "failure",
        "end_line": 5,
        "message": "tail ×3.09 [2.89–3.30]: worse beyond the margin ×1.1; 12 + 12 boots",
        "path": "matrices/two.toml",
        "start_line": 5,
        "title": "regressed: tcp-stream tail of running/docker/bridge/stock/idle"
      },
      {
        "annotation_level": "failure",
        "end_line": 5,
        "message": "spread inside a boot ×3.09 [2.89–3.30]: worse beyond the margin ×1.1; 12 + 12 boots",
        "path": "matrices/two.toml",
        "start_line": 5,
        "title": "regressed: tcp-stream dispersion of running/docker/bridge/stock/idle"
      }
    ]
    "#);
    assert!(text(&place, "summary").starts_with("**1 of 2 cells regressed"));
    let outputs = text(&place, "outputs");
    assert!(
        outputs.starts_with("verdict=regressed\nexit-code=1\nregressed=2\nmissing=0\n"),
        "{outputs}"
    );

    server
        .publish(&place, "both", &[])
        .ends_with(1)
        .says(&["comment: changed on pull request 7", "check: changed"]);
    server.publish(&place, "same", &[]).ends_with(0).says(&["comment: changed"]);
    server.with(|state| {
        assert_eq!(state.comments.len(), 1);
        let body = state.comments[0]["body"].as_str().unwrap();
        assert!(body.contains("no regression in 2 cells"), "{body}");
        assert!(body.contains("could have been seen"), "{body}");
        // The same annotations stayed as they were. None is ever taken away, so what has others is a check of its own, of the same name.
        let told = |check: &Value| {
            (check["conclusion"].clone(), check["output"]["annotations_count"].clone())
        };
        let told: Vec<_> = state.checks.iter().map(told).collect();
        assert_eq!(told, [(json!("failure"), json!(2)), (json!("success"), json!(0))]);
        // Annotations that come later are added to one that had none.
        state.checks.truncate(0);
    });
    server.publish(&place, "same", &["--to", "check"]).ends_with(0).says(&["check: made"]);
    server.publish(&place, "both", &["--to", "check"]).ends_with(1).says(&["check: changed"]);
    server.with(|state| {
        assert_eq!(state.checks.len(), 1);
        assert_eq!(state.checks[0]["output"]["annotations_count"], 2);
        // Where it is not known whether they were added, they are not added again.
        state.checks[0]["output"] = json!({ "annotations": [], "annotations_count": 0 });
        state.fails = VecDeque::from(["200", "502 Bad Gateway"]);
    });
    server
        .publish(&place, "both", &["--to", "check"])
        .ends_with(1)
        .says(&["warning: check", "502"]);
    // It is found behind others of its name, whoever made them.
    server.with(|state| {
        let ours = state.checks[0].clone();
        let foreign = |id: u64| json!({ "id": id, "name": ours["name"], "external_id": "x" });
        state.checks = (0..64).map(foreign).chain([ours.clone()]).collect();
    });
    server.publish(&place, "same", &["--to", "check"]).ends_with(0).says(&["check: changed"]);
    server.with(|state| assert_eq!(state.checks.len(), 65));
}

#[test]
fn a_newer_commit_that_comes_while_it_is_written_keeps_its_comment() {
    let (place, server) = (place(), Server::start());
    let of_newer = format!("<!-- evenkeel: two -->\nof the newer\n\nMeasured at {NEWER}.\n");
    let comment = json!({ "id": 9, "user": { "login": BOT }, "body": of_newer });
    // While the server let us wait.
    server.with(|state| {
        state.comments.push(comment);
        state.fails =
            VecDeque::from(["200", "200", "200", "200", "429 Slow down\r\nRetry-After: 0"]);
        state.heads = VecDeque::from([SHA, SHA, SHA]);
        state.head = NEWER.to_owned();
    });
    let publish = || server.publish(&place, "both", &["--to", "comment"]);
    publish().ends_with(1).says(&["has a newer commit: left to its run"]);
    server.with(|state| {
        assert_eq!(state.comments[0]["body"], of_newer.as_str());
        let written = state.calls.iter().filter(|call| call.starts_with("PATCH")).count();
        assert_eq!(written, 1, "{:?}", state.calls);
        // Between our look and our own words.
        state.heads = VecDeque::from([SHA, SHA, SHA]);
    });
    publish().ends_with(1).says(&["has a newer commit: left to its run"]);
    server.with(|state| {
        assert_eq!(state.comments[0]["body"], of_newer.as_str());
        let written = state.calls.iter().filter(|call| call.starts_with("PATCH")).count();
        assert_eq!(written, 3, "{:?}", state.calls);
    });
}

#[test]
fn only_our_own_comment_is_changed_and_the_newest_commit_wins() {
    let (place, server) = (place(), Server::start());
    let marker = "<!-- evenkeel: two -->\nmine\n";
    let by = |id: u64, login: &str, body: &str| json!({ "id": id, "user": { "login": login }, "body": body });
    server.with(|state| {
        // Beyond the first page, behind one who copied the marker, and one that quotes it.
        state.comments.push(by(1, "mallory", marker));
        state.comments.push(by(2, BOT, &format!("> {marker}")));
        state.comments.extend((3..40).map(|id| by(id, "alice", "hello")));
        state.comments.push(by(40, BOT, marker));
    });
    server.publish(&place, "both", &["--to", "comment"]).ends_with(1).says(&["changed"]);
    server.with(|state| {
        assert_eq!(state.comments.len(), 40);
        assert_eq!(state.comments[0]["body"], marker);
        assert!(state.comments[39]["body"].as_str().unwrap().contains("regressed"));
        state.head = NEWER.to_owned();
    });
    let said = server.publish(&place, "same", &["--to", "comment"]);
    said.ends_with(0).says(&["has a newer commit"]);
    server
        .with(|state| assert!(state.comments[39]["body"].as_str().unwrap().contains("regressed")));
}

#[test]
fn of_two_that_write_at_once_one_comment_is_left() {
    let (place, server) = (place(), Server::start());
    server.with(|state| {
        let body = "<!-- evenkeel: two -->\nthe other's\n";
        state.racer = Some(json!({ "id": 50, "user": { "login": BOT }, "body": body }));
    });
    server.publish(&place, "both", &["--to", "comment"]).ends_with(1);
    server.with(|state| {
        assert_eq!(state.comments.len(), 1);
        assert_eq!(state.comments[0]["id"], 50);
        assert!(state.comments[0]["body"].as_str().unwrap().contains("regressed"));
    });
}

#[test]
fn whatever_the_server_answers_verdict_and_exit_code_stay() {
    let (place, server) = (place(), Server::start());
    let answers = [
        ("401 Unauthorized", "the token is not valid any more"),
        ("403 Forbidden", "grant the job `pull-requests: write`"),
        ("404 Not Found", "the token does not see it"),
        ("422 Unprocessable", "422"),
        ("403 Forbidden\r\nRetry-After: 100000", "wants to be left alone for 100000 s"),
    ];
    for (status, words) in answers {
        server.with(|state| state.fails = VecDeque::from([status]));
        let said = server.publish(&place, "both", &["--to", "comment,outputs"]);
        said.ends_with(1).says(&["warning: comment: ", words, "outputs: set"]);
        assert!(!said.to_string().contains(TOKEN) && !said.to_string().contains("ghs_"), "{said}");
    }
    // What passes by is waited for, as long as the server asks.
    for passing in ["429 Slow down\r\nRetry-After: 0", "502 Bad Gateway", "hang up"] {
        server.with(|state| state.fails = VecDeque::from([passing]));
        server.publish(&place, "both", &["--to", "comment"]).ends_with(1).says(&["comment: "]);
        server.with(|state| assert_eq!(state.comments.len(), 1, "{passing}"));
    }
    server.with(|state| state.fails = VecDeque::from(["500 a", "500 b", "500 c"]));
    server.publish(&place, "same", &["--to", "comment"]).ends_with(0).says(&["500", "3 times"]);
    // What makes something anew is not tried again where it is not known whether it was made.
    server.with(|state| {
        state.comments.clear();
        state.calls.clear();
        state.fails = VecDeque::new();
    });
    let nobody = run(server
        .command(&place, "both")
        .env("GITHUB_API_URL", "http://127.0.0.1:9")
        .args(["--to", "check"]));
    nobody.ends_with(1).says(&["warning: check: ", "no answer"]);
    run(server.command(&place, "both").env_remove("GITHUB_TOKEN")).is_refused_with(&["no token"]);
    run(server.command(&place, "both").env("GITHUB_API_URL", "http://example.org"))
        .is_refused_with(&["https://"]);
    run(server.command(&place, "both").env("GITHUB_REPOSITORY", "me/mine/../x"))
        .is_refused_with(&["OWNER/NAME"]);
}

#[test]
fn of_a_fork_the_pull_request_is_found_by_its_head_and_not_by_a_number() {
    let (place, server) = (place(), Server::start());
    let event = place.path().join("run.json");
    let write = |branch: &str| {
        let head = json!({ "head_sha": SHA, "head_branch": branch, "head_repository": { "full_name": "stranger/mine" }, "pull_requests": [{ "number": 1 }] });
        std::fs::write(&event, json!({ "workflow_run": head }).to_string()).unwrap();
    };
    let publish = || {
        let mut command = server.command(&place, "both");
        command.env("GITHUB_EVENT_NAME", "workflow_run").env("GITHUB_EVENT_PATH", &event);
        run(command.args(["--to", "comment"]))
    };
    write("feat/x&y");
    publish().ends_with(1).says(&["written on pull request 7"]);
    write("elsewhere&head=stranger:feat%2Fx%26y");
    publish().ends_with(1).says(&["no open pull request has this commit"]);
    server.with(|state| assert_eq!(state.comments.len(), 1));
}

#[test]
fn a_dry_run_shows_all_and_asks_nobody() {
    let (place, server) = (place(), Server::start());
    let said = run(server.command(&place, "both").env_remove("GITHUB_TOKEN").arg("--dry-run"));
    said.ends_with(1);
    for name in
        ["== summary", "== outputs", "== comment", "== check", "\"conclusion\": \"failure\""]
    {
        assert!(said.stdout.contains(name), "{said}");
    }
    assert!(server.with(|state| state.calls.is_empty()) && !place.path().join("summary").exists());
}

#[test]
fn hostile_names_are_told_as_they_are_and_do_nothing() {
    const EVIL: &str = "</td></script><script>alert(1)</script> @everyone ``` \n# x | y\n::error::z\n<!-- --> \u{1b}[31m \u{202e} ![a](http://evil) ${{ secrets.X }}";
    let (place, server) = (place(), Server::start());
    let dir = place.path().join("both");
    let header = dir.join("run.json");
    let mut run: Value = serde_json::from_slice(&std::fs::read(&header).unwrap()).unwrap();
    run["matrix"]["name"] = json!(EVIL);
    run["tag"] = json!("../../etc");
    std::fs::write(&header, run.to_string()).unwrap();
    let boots = dir.join("boots.jsonl");
    let records = std::fs::read_to_string(&boots).unwrap();
    let evil = serde_json::to_string(EVIL).unwrap();
    std::fs::write(&boots, records.replace("\"tcp-stream\"", &evil)).unwrap();
    server.publish(&place, "both", &["--matrix-file", "matrices/two.toml"]).ends_with(1);
    let (comment, check) = server.with(|state| {
        (state.comments[0]["body"].as_str().unwrap().to_owned(), state.checks[0].clone())
    });
    let outputs = text(&place, "outputs");
    assert_eq!(outputs.lines().count(), 7, "{outputs}");
    for told in [&comment, &text(&place, "summary"), check["output"]["summary"].as_str().unwrap()] {
        for evil in
            ["<script", "@everyone", "](http://", "\u{1b}", "\u{202e}", "\n::error", "\n# x"]
        {
            assert!(!told.contains(evil), "{evil:?} in {told}");
        }
    }
    assert_eq!(comment.matches("<!--").count(), 1, "{comment}");
    // A site has its own names for places.
    let site = place.path().join("site").to_string_lossy().into_owned();
    common::run(xtask(&["publish", "pages", "both", "--site", &site]).current_dir(place.path()))
        .ends_with(0);
    let index = text(&place, "site/index.html");
    assert!(
        !index.contains("<script") && index.contains("runs/1800000009-etc/index.html"),
        "{index}"
    );
}

#[test]
fn a_long_list_is_cut_worst_first_and_the_rest_is_counted() {
    let (place, server) = (place(), Server::start());
    let dir = place.path().join("both");
    let boots = dir.join("boots.jsonl");
    let records = std::fs::read_to_string(&boots).unwrap();
    let long = "x".repeat(1_900);
    // Each record gets sixty workloads with names as long as they are shown.
    let lines = records.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let one = record["workloads"][0].clone();
        let many = (0..60).map(|number| {
            let mut one = one.clone();
            one["workload"] = json!(format!("w{number}{long}"));
            one
        });
        record["workloads"] = many.collect();
        record.to_string()
    });
    std::fs::write(&boots, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    server.publish(&place, "both", &[]).ends_with(1).says(&["comment: written", "check: made"]);
    let comment = server.with(|state| state.comments[0]["body"].as_str().unwrap().to_owned());
    assert!(comment.len() <= 65_536 && comment.contains("more"), "{} bytes", comment.len());
    server.with(|state| {
        assert!(state.checks[0]["output"]["annotations_count"].as_u64().unwrap() <= 50)
    });
}

#[test]
fn a_merge_request_of_gitlab_has_one_note_and_figures_beside() {
    let (place, server) = (place(), Server::start());
    let job = |of: &str, more: &[&str]| {
        let mut command = xtask(&["publish", "gitlab", of]);
        command.current_dir(place.path()).env("CI_API_V4_URL", &server.address).args(more);
        command.env("EVENKEEL_TOKEN", TOKEN).env("CI_PROJECT_ID", "5");
        command.env("CI_MERGE_REQUEST_IID", "7").env("CI_COMMIT_SHA", SHA);
        command
    };
    let publish = |of: &str, more: &[&str]| run(&mut job(of, more));
    // Behind one who copied the marker.
    let marker = "<!-- evenkeel: two -->\nmine\n";
    server.with(|state| {
        state.comments.push(json!({ "id": 1, "author": { "id": 666 }, "body": marker }));
        state
            .comments
            .extend((2..40).map(|id| json!({ "id": id, "author": { "id": 3 }, "body": "hello" })));
    });
    let said = publish("both", &["--metrics", "m.txt", "--report-url", "https://me.example/pr/7/"]);
    said.ends_with(1).says(&["metrics: written to `m.txt`", "note: written on merge request 7"]);
    let metrics = text(&place, "m.txt");
    let line = "evenkeel_median{cell=\"running/docker/bridge/stock/idle\",workload=\"tcp-stream\",unit=\"bytes/s\"} ";
    assert!(metrics.contains(line), "{metrics}");
    publish("same", &[]).ends_with(0).says(&["note: changed on merge request 7"]);
    server.with(|state| {
        assert_eq!((state.comments.len(), &state.comments[0]["body"]), (40, &json!(marker)));
        assert!(state.comments[39]["body"].as_str().unwrap().contains("no regression in 2 cells"));
        state.head = NEWER.to_owned();
    });
    publish("both", &[]).ends_with(1).says(&["has a newer commit: left to its run"]);
    server.with(|state| {
        state.head = SHA.to_owned();
        state.fails = VecDeque::from(["403 Forbidden"]);
    });
    let said = publish("both", &[]);
    said.ends_with(1).says(&["warning: note: ", "its scope must be `api`"]);
    assert!(!said.to_string().contains(TOKEN));
    server.with(|state| state.calls.clear());
    let shown = publish("both", &["--dry-run"]);
    assert!(shown.ends_with(1).stdout.contains("== note\n<!-- evenkeel: two -->"), "{shown}");
    assert!(server.with(|state| state.calls.is_empty()));
    run(job("both", &[]).env_remove("EVENKEEL_TOKEN").env_remove("GITLAB_TOKEN"))
        .ends_with(1)
        .says(&["warning: note: no token", "EVENKEEL_TOKEN"]);
    run(job("both", &[]).env("CI_MERGE_REQUEST_IID", "x")).is_refused_with(&["is no number"]);
    // A branch has nobody to tell, and its figures all the same.
    run(job("both", &[]).env_remove("CI_MERGE_REQUEST_IID")).is_refused_with(&["nothing to tell"]);
    run(job("both", &["--metrics", "m.txt"]).env_remove("CI_MERGE_REQUEST_IID")).ends_with(1);
}

#[test]
fn by_hand_a_dry_run_finds_the_repository_and_the_commit_itself() {
    let place = place();
    let git = |words: &[&str]| {
        let words = [&["git", "-C", place.path().to_str().unwrap()], words].concat();
        command::output(&words, common::PATIENCE).unwrap()
    };
    let shown = || {
        let mut command =
            xtask(&["publish", "github", "both", "--dry-run", "--to", "comment,check"]);
        for name in ["GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_EVENT_PATH", "GITHUB_EVENT_NAME"] {
            command.env_remove(name);
        }
        run(command.current_dir(place.path()))
    };
    shown().is_refused_with(&["which repository is told?"]);
    git(&["init", "--quiet"]);
    git(&["remote", "add", "origin", "git@github.example:me/mine.git"]);
    shown().is_refused_with(&["which commit is told?"]);
    let who = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    git(&[&who[..], &["commit", "--quiet", "--allow-empty", "-m", "first"]].concat());
    let commit = git(&["rev-parse", "HEAD"]);
    let said = shown();
    assert!(
        said.ends_with(1).stdout.contains(&format!("Measured at {}.", commit.trim())),
        "{said}"
    );
}

#[test]
fn a_site_keeps_reports_apart_and_is_bounded() {
    let place = place();
    let site = place.path().join("site");
    let publish = |of: &str, more: &[&str]| {
        let site = site.to_string_lossy();
        let mut command = xtask(&["publish", "pages", of, "--site", &site]);
        run(command.current_dir(place.path()).args(more))
    };
    publish("same", &["--dry-run"]).ends_with(0);
    assert!(!site.exists());
    publish("same", &["--commit", SHA]).ends_with(0);
    publish("both", &["--pull", "7"]).ends_with(0);
    publish("both", &["--pull", "7"]).ends_with(0);
    let index = text(&place, "site/index.html");
    assert_eq!((index.matches("runs/").count(), index.matches("pr/7/").count()), (1, 1), "{index}");
    assert_eq!(text(&place, "site/history.jsonl").lines().count(), 1);
    // The list leads to the history, the history to the run, and a run to its results and back.
    let at = index.split("href=\"runs/").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let [history, report] =
        ["history.html", &format!("runs/{at}")].map(|page| text(&place, &format!("site/{page}")));
    assert!(
        index.contains("href=\"history.html\"") && history.contains("href=\"runs/"),
        "{history}"
    );
    assert!(
        report.contains("href=\"results.json\"") && report.contains("href=\"../../index.html\"")
    );
    for number in 0..4 {
        let dir = place.path().join(format!("n{number}"));
        write(&dir, &[(BASE, STEADY), (CANDIDATE, WIDE)], 1_800_000_100 + number);
        publish(&format!("n{number}"), &["--keep", "2"]).ends_with(0);
    }
    assert_eq!(site.join("runs").read_dir().unwrap().count(), 2);
    assert_eq!(text(&place, "site/index.html").matches("runs/").count(), 2);
    publish("both", &["--commit", "--upload-pack=x"]).ends_with(2);
    std::os::unix::fs::symlink("/etc", site.join("runs.old")).unwrap();
    std::fs::remove_dir_all(site.join("pr")).unwrap();
    std::os::unix::fs::symlink("/etc", site.join("pr")).unwrap();
    publish("both", &["--pull", "8"]).ends_with(4).says(&["warning: pages: ", "is no folder"]);
    assert!(!Path::new("/etc/8").exists());
}

#[test]
fn a_branch_of_one_commit_holds_what_two_writers_wrote() {
    let place = place();
    let git = |folder: &str, words: &[&str]| {
        let folder = place.path().join(folder).to_string_lossy().into_owned();
        let ended =
            command::run(&[&["git", "-C", &folder], words].concat(), common::PATIENCE).unwrap();
        assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.last_words());
        String::from_utf8(ended.stdout).unwrap()
    };
    for name in ["origin", "here"] {
        std::fs::create_dir(place.path().join(name)).unwrap();
    }
    git("origin", &["init", "--quiet", "--bare"]);
    git("here", &["init", "--quiet"]);
    git("here", &["remote", "add", "origin", "../origin"]);
    let publish = |of: &'static str, pull: &'static str| {
        let of = place.path().join(of).to_string_lossy().into_owned();
        let mut command =
            xtask(&["publish", "pages", &of, "--branch", "evenkeel-pages", "--pull", pull]);
        command.current_dir(place.path().join("here"));
        move || run(&mut command)
    };
    let writers: Vec<_> = [("both", "1"), ("same", "2"), ("both", "3")]
        .map(|(of, pull)| {
            std::thread::spawn({
                let mut write = publish(of, pull);
                move || write()
            })
        })
        .into_iter()
        .collect();
    for writer in writers {
        writer.join().unwrap().ends_with(0).says(&["on branch evenkeel-pages"]);
    }
    assert_eq!(git("origin", &["rev-list", "--count", "evenkeel-pages"]), "1\n");
    let files = git("origin", &["ls-tree", "-r", "--name-only", "evenkeel-pages"]);
    for file in ["pr/1/index.html", "pr/2/index.html", "pr/3/index.html", "index.html", ".nojekyll"]
    {
        assert!(files.lines().any(|line| line == file), "{files}");
    }
    assert!(!files.contains(".lock"), "{files}");
}

/// Names come from whoever opens a pull request; what git or a shell would do with them is none of a name.
#[test]
fn hostile_names_of_branches_commits_and_repositories_are_refused_and_run_nothing() {
    let place = place();
    let run_of = |more: &[&str]| {
        let words = [&["publish", "pages", "both"][..], more].concat();
        run(xtask(&words).current_dir(place.path()))
    };
    let git = |words: &[&str]| command::output(&[&["git"], words].concat(), common::PATIENCE);
    let here = place.path().to_str().unwrap();
    git(&["-C", here, "init", "--quiet"]).unwrap();
    git(&["-C", here, "remote", "add", "origin", "."]).unwrap();
    for name in [
        "--force",
        "-x",
        "a b",
        "$(touch evil)",
        "`touch evil`",
        "a;touch${IFS}evil",
        "../evil",
        "a..b",
        "a\nb",
        "refs/heads/a:refs/heads/main",
        "@{-1}",
        "a\u{202e}b",
        ".git",
        "",
    ] {
        let said = run_of(&[&format!("--branch={name}")]);
        assert_eq!(said.code, Some(2), "{name:?}: {said}");
    }
    for remote in ["--upload-pack=touch evil", "ext::sh -c touch% evil", "-c", "fd::17"] {
        run_of(&["--branch", "pages", &format!("--remote={remote}")]).ends_with(2);
    }
    for commit in ["--upload-pack=touch evil", "HEAD", "$(touch evil)", "../../evil", "\u{202e}"] {
        let words = ["--site", "site", &format!("--commit={commit}")];
        run_of(&words).ends_with(2);
    }
    let mut names: Vec<_> = place.path().read_dir().unwrap().flatten().collect();
    names.retain(|of| of.file_name().to_string_lossy().contains("evil"));
    assert!(names.is_empty() && !place.path().join("site").exists(), "{names:?}");
}

#[test]
fn a_repository_gets_its_files_once_and_none_of_the_users_is_overwritten() {
    let place = TempDir::new().unwrap();
    let commit = "0123456789".repeat(4);
    let tool = format!("me/evenkeel@{commit}");
    let init = |more: &[&str]| {
        run(xtask(&["init", "github", "--tool", &tool]).current_dir(place.path()).args(more))
    };
    let workflow = ".github/workflows/evenkeel.yml";
    let said = init(&[]);
    assert_eq!(
        said.ends_with(0).stdout,
        format!("{workflow}: written\nmatrices/network.toml: written\n")
    );
    let told = text(&place, workflow);
    assert!(
        told.contains(&format!("uses: me/evenkeel/.github/workflows/evenkeel.yml@{commit}")),
        "{told}"
    );
    assert!(!told.contains("{{"), "{told}");
    let said = init(&[]);
    assert_eq!(said.ends_with(0).stdout.matches("is there already").count(), 2, "{said}");
    // The matrix is one.
    run(xtask(&["plan", "network"]).current_dir(place.path())).ends_with(0);
    std::fs::write(place.path().join(workflow), "mine").unwrap();
    init(&["--forks"])
        .is_refused_with(&["`.github/workflows/evenkeel.yml` differs", "nothing was changed"]);
    assert!(!place.path().join(".github/workflows/evenkeel-publish.yml").exists());
    init(&["--forks", "--force"]).ends_with(0);
    assert!(text(&place, workflow).contains("forks: true"));
    let gitlab = |of: &str| {
        let folder = place.path().join("gitlab");
        run(&mut xtask(&["init", "gitlab", folder.to_str().unwrap(), "--tool", of]))
    };
    let of = format!("https://example.org/me/evenkeel.git@{commit}");
    assert_eq!(gitlab(&of).ends_with(0).stdout.matches(": written").count(), 2);
    assert_eq!(gitlab(&of).ends_with(0).stdout.matches("is there already").count(), 2);
    let pipeline = text(&place, "gitlab/.gitlab-ci.yml");
    let include = format!("https://example.org/me/evenkeel/-/raw/{commit}/ci/gitlab/evenkeel.yml");
    assert!(pipeline.contains(&include) && !pipeline.contains("{{"), "{pipeline}");
    for wrong in [
        "https://example.org/me/evenkeel@main",
        "http://x/y",
        "me/evenkeel",
        &format!("https://x y/z@{commit}"),
    ] {
        gitlab(wrong).is_refused_with(&["URL@COMMIT"]);
    }
    for wrong in ["me/evenkeel@main", "me/evenkeel", "me@x", "a/b@$(id)"] {
        run(xtask(&["init", "github", "--tool", wrong]).current_dir(place.path()))
            .is_refused_with(&["OWNER/NAME@COMMIT"]);
    }
}

#[test]
fn a_pipeline_that_is_there_stays_and_the_lines_that_it_lacks_are_told() {
    let place = TempDir::new().unwrap();
    let of = format!("https://example.org/me/evenkeel@{}", "0123456789".repeat(4));
    let init = || run(xtask(&["init", "gitlab", "--tool", &of]).current_dir(place.path()));
    let theirs = "stages: [check, build, test]\n\npages:\n  stage: check\n  script: [make]\n";
    std::fs::write(place.path().join(".gitlab-ci.yml"), theirs).unwrap();
    let first = init();
    first.ends_with(0);
    for told in [
        ".gitlab/evenkeel.yml: written\n",
        ".gitlab-ci.yml: is yours, and was not changed. Add to it:\n\ninclude:\n  - local: .gitlab/evenkeel.yml\n",
        "Add to its list `stages:`:\n\n  - deploy\n",
        "Its job `pages` is yours",
    ] {
        assert!(first.stdout.contains(told), "{told}: {first}");
    }
    assert_eq!(text(&place, ".gitlab-ci.yml"), theirs);
    let ours = text(&place, ".gitlab/evenkeel.yml");
    assert!(ours.contains("/ci/gitlab/evenkeel.yml\"") && !ours.contains("\nstages:"), "{ours}");
    assert!(!ours.contains("\npages:"), "{ours}");
    // Once they are added, there is nothing to do.
    let added = format!(
        "include:\n  - local: .gitlab/evenkeel.yml\n{}",
        theirs.replace("test]", "test, deploy]")
    );
    std::fs::write(place.path().join(".gitlab-ci.yml"), &added).unwrap();
    let second = init();
    assert_eq!(
        second.ends_with(0).stdout,
        ".gitlab/evenkeel.yml: is there already\nmatrices/network.toml: is there already\n.gitlab-ci.yml: includes it already\n"
    );
    assert_eq!(text(&place, ".gitlab-ci.yml"), added);
    assert_eq!(text(&place, ".gitlab/evenkeel.yml"), ours);
    // What is included from here and is not there fails every pipeline.
    std::fs::remove_file(place.path().join(".gitlab/evenkeel.yml")).unwrap();
    assert!(init().ends_with(0).stdout.starts_with(".gitlab/evenkeel.yml: written\n"));
    assert_eq!(text(&place, ".gitlab/evenkeel.yml"), ours);
}

#[test]
fn a_workflow_is_for_the_default_branch_of_its_repository() {
    let tool = format!("me/evenkeel@{}", "0123456789".repeat(4));
    let git = |place: &TempDir, words: &[&str]| {
        let folder = place.path().to_str().unwrap();
        let words = [&["git", "-C", folder, "-c", "user.name=n", "-c", "user.email=n@x"], words];
        let said = command::run(&words.concat(), std::time::Duration::from_secs(60)).unwrap();
        assert_eq!(said.code, Some(0), "{words:?}");
    };
    let branches = |place: &TempDir| {
        run(xtask(&["init", "github", "--tool", &tool]).current_dir(place.path())).ends_with(0);
        let workflow = text(place, ".github/workflows/evenkeel.yml");
        workflow.lines().find(|line| line.contains("branches:")).unwrap().trim().to_owned()
    };
    let place = TempDir::new().unwrap();
    git(&place, &["init", "--quiet", "--initial-branch=trunk"]);
    git(&place, &["commit", "--quiet", "--allow-empty", "--message=x"]);
    assert_eq!(branches(&place), "branches: [trunk]");
    // On another branch it is still that of the remote.
    let clone = TempDir::new().unwrap();
    git(&clone, &["clone", "--quiet", place.path().to_str().unwrap(), "."]);
    git(&clone, &["checkout", "--quiet", "-b", "topic"]);
    assert_eq!(branches(&clone), "branches: [trunk]");
    let odd = TempDir::new().unwrap();
    git(&odd, &["init", "--quiet", "--initial-branch=a,b"]);
    assert_eq!(branches(&odd), "branches: [\"a,b\"]");
    assert_eq!(branches(&TempDir::new().unwrap()), "branches: [main]");
}

#[test]
fn a_run_in_which_nothing_was_measured_is_told_and_ends_as_such() {
    let place = place();
    let report = run(xtask(&["report", "unmeasured"]).current_dir(place.path()));
    assert_eq!(report.ends_with(4).stdout, "unmeasured/report/index.html\n");
    let junit = text(&place, "unmeasured/junit.xml");
    assert!(junit.contains("<error type=\"nothing-measured\""), "{junit}");
    let server = Server::start();
    server.publish(&place, "unmeasured", &["--dry-run"]).ends_with(4);
    let metrics = ["publish", "gitlab", "unmeasured", "--metrics", "metrics.txt"];
    run(xtask(&metrics).current_dir(place.path())).ends_with(4);
    // Nor has the history of a site a line of it.
    let pages = ["publish", "pages", "unmeasured", "--site", "site", "--commit", SHA];
    let said = run(xtask(&pages).current_dir(place.path()));
    said.ends_with(4).says(&["nothing to remember"]);
    run(xtask(&["report", "steady"]).current_dir(place.path())).ends_with(0);
    assert!(!text(&place, "steady/junit.xml").contains("<error"));
}
