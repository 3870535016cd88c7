//! The pipeline of a scratch repository, from its plan to its site, run for real by gitlab-ci-local and without a network. Skipped with that reason
//! where it is not installed (npm: gitlab-ci-local; Debian: rsync; `.ci/run --long` installs both).

mod common;

use std::time::Duration;

use common::{Host, PATIENCE, Quick, XTASK, run};
use evenkeel_agent::command::{output, which};

/// The longest that a pipeline may take: one of a merge request measures both sides of two shards, as many boots as the policy asks for.
const LONG: Duration = Duration::from_secs(1200);

#[test]
#[ignore = "runs pipelines; `cargo xtask test --long` does it"]
fn real_a_pipeline_measures_two_shards_and_its_site_holds_branch_and_merge_request() {
    if let Some(tool) = ["gitlab-ci-local", "rsync"].into_iter().find(|tool| which(tool).is_none())
    {
        eprintln!("skipped: {tool} is not installed");
        return;
    }
    let host = Host::take();
    let repository = host.place.path().join("repository");
    let matrices = repository.join("matrices");
    std::fs::create_dir_all(&matrices).unwrap();
    Quick { network: "'veth', 'bridge'", boots: 7, ..Quick::default() }.write(&matrices);
    std::fs::write(repository.join("evenkeel.yml"), include_str!("../../ci/gitlab/evenkeel.yml"))
        .unwrap();
    std::fs::write(
        repository.join(".gitlab-ci.yml"),
        format!(
            "include: [{{ local: evenkeel.yml }}]\nstages: [build, test, deploy]\nvariables:\n  EVENKEEL_MATRIX: quick\n  \
             EVENKEEL_SHARDS: \"2\"\n  EVENKEEL_BINARY: {XTASK}\n  EVENKEEL_PAGES: evenkeel-pages\n\
             pages: {{ extends: .evenkeel-pages }}\n"
        ),
    )
    .unwrap();
    std::fs::write(
        repository.join(".gitignore"),
        ".evenkeel/\n.gitlab-ci-local*\nevenkeel-*\npublic/\n",
    )
    .unwrap();
    let git = |words: &[&str]| {
        let who = ["git", "-C", repository.to_str().unwrap(), "-c", "user.name=a", "-c"];
        output(&[&who[..], &["user.email=a@example.org"], words].concat(), PATIENCE).unwrap()
    };
    let origin = host.path("origin");
    output(&["git", "init", "--quiet", "--bare", &origin], PATIENCE).unwrap();
    git(&["init", "--quiet", "--initial-branch", "main"]);
    git(&["remote", "add", "origin", "git@gitlab.example:me/mine.git"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "-m", "first"]);
    let pipeline = |variables: &[String]| {
        let mut command = assert_cmd::Command::new("gitlab-ci-local");
        command.args(["--force-shell-executor", "--concurrency", "1"]).current_dir(&repository);
        command.env("EVENKEEL_STATE", host.state.path());
        // As variables of the project, which reach child pipelines.
        let remote = format!("EVENKEEL_REMOTE=file://{origin}");
        let lines = variables.iter().chain([&remote]);
        let lines: String = lines.map(|of| of.replacen('=', ": \"", 1) + "\"\n").collect();
        std::fs::write(repository.join(".gitlab-ci-local-variables.yml"), lines).unwrap();
        run(command.timeout(LONG))
    };
    let site = |file: &str| std::fs::read_to_string(repository.join("public").join(file));

    pipeline(&[]).ends_with(0);
    let index = site("index.html").unwrap();
    assert_eq!(index.matches("href=\"runs/").count(), 1, "{index}");
    assert!(repository.join("evenkeel-whole/junit.xml").exists());

    let base = git(&["rev-parse", "HEAD"]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "second"]);
    let request = [
        "CI_PIPELINE_SOURCE=merge_request_event".to_owned(),
        "CI_MERGE_REQUEST_IID=7".to_owned(),
        "CI_MERGE_REQUEST_PROJECT_ID=5".to_owned(),
        format!("CI_MERGE_REQUEST_DIFF_BASE_SHA={}", base.trim()),
    ];
    let from = |project: &str| {
        let source = format!("CI_MERGE_REQUEST_SOURCE_PROJECT_ID={project}");
        [&request[..], &[source]].concat()
    };
    pipeline(&from("5")).ends_with(0);
    let index = site("index.html").unwrap();
    let [main, own] = ["href=\"runs/", "href=\"pr/7/"].map(|of| index.matches(of).count());
    assert_eq!((main, own), (1, 1), "{index}");
    assert!(site("pr/7/index.html").unwrap().contains("no regression"));
    let metrics = std::fs::read_to_string(repository.join("evenkeel-metrics.txt")).unwrap();
    assert!(metrics.contains("evenkeel_p50{cell=\"running/netns/veth/stock/idle\""), "{metrics}");
    // Nothing of another project is begun.
    std::fs::remove_dir_all(repository.join(".evenkeel")).unwrap();
    pipeline(&from("6"));
    assert!(!repository.join(".evenkeel").exists());
    host.is_restored();
}
