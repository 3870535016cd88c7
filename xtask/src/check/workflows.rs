//! The files of CI systems, by the tools that know them: what GitHub would refuse, what an attacker would use, and what a shell would
//! misread. A tool that is not installed is told, and skips its check; `.ci/run` installs them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use evenkeel_agent::command;

use crate::fleet::slurm;

/// Pipelines of GitLab.
const PIPELINES: [&str; 3] =
    ["ci/gitlab/evenkeel.yml", "ci/gitlab/child.yml", "ci/gitlab/templates/evenkeel.yml"];

/// Scripts for a shell.
const SCRIPTS: [&str; 3] = ["ci/github/hooks/job.sh", "ci/slurm/node.sh", ".ci/run"];

/// Folders of workflows.
const WORKFLOWS: [&str; 2] = [".github/workflows", "ci/github/templates"];

/// Actions.
const ACTIONS: &str = "ci/github/action.yml";

/// Deadline of a tool.
const SOON: Duration = Duration::from_secs(120);

/// What one tool checks.
struct Check {
    tool: &'static str,
    /// Its words, before the files.
    words: &'static [&'static str],
    files: Vec<String>,
    /// Whether it takes one file at a time.
    one_by_one: bool,
}

/// Runs every tool that is there. Answers what was skipped.
///
/// # Errors
/// A tool finds something.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let place = tempfile::tempdir().context("failed to make a temporary folder")?;
    let mut skipped = Vec::new();
    for check in checks(root, place.path())? {
        if command::which(check.tool).is_none() {
            skipped.push(format!("{} is not installed: its check is skipped", check.tool));
            continue;
        }
        let at_once = if check.one_by_one { 1 } else { check.files.len() };
        for files in check.files.chunks(at_once.max(1)) {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            let argv = [&[check.tool][..], check.words, &files].concat();
            let ended = command::run(&argv, SOON)?;
            if ended.code != Some(0) {
                let said = [&ended.stdout[..], &ended.stderr].concat();
                bail!("`{}`:\n{}", argv.join(" "), String::from_utf8_lossy(&said));
            }
        }
    }
    Ok(skipped)
}

fn checks(root: &Path, place: &Path) -> anyhow::Result<Vec<Check>> {
    let mut workflows = Vec::new();
    for folder in WORKFLOWS {
        let name = root.join(folder);
        let entries = name.read_dir().with_context(|| format!("failed to read `{folder}`"))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|ending| ending != "yml") {
                continue;
            }
            let text = as_written(&path, "me/evenkeel")?;
            let file = path.file_name().context("a file has a name")?;
            let copy = place.join(folder.replace('/', "-")).join(".github/workflows").join(file);
            std::fs::create_dir_all(copy.parent().context("it lies in a folder")?)?;
            std::fs::write(&copy, text)?;
            workflows.push(copy.to_string_lossy().into_owned());
        }
    }
    workflows.sort();
    let action = root.join(ACTIONS).to_string_lossy().into_owned();
    let all: Vec<String> = workflows.iter().cloned().chain([action.clone()]).collect();
    let mut pipelines = Vec::new();
    for name in PIPELINES {
        let text = as_written(&root.join(name), "https://example.org/me/evenkeel")?;
        let copy = place.join(name.replace('/', "-"));
        // A pipeline that is made has jobs, which begin as those of a child do.
        let job = "\n\"bench 1/2\":\n  extends: .evenkeel-bench\n  tags: [\"evenkeel\"]\n  timeout: 60 minutes\n";
        let job = if name.ends_with("child.yml") { job } else { "" };
        std::fs::write(&copy, text + job)?;
        pipelines.push(copy.to_string_lossy().into_owned());
    }
    let mut scripts: Vec<String> =
        SCRIPTS.iter().map(|name| root.join(name).to_string_lossy().into_owned()).collect();
    let array = place.join("array.sh");
    std::fs::write(
        &array,
        slurm::filled("network", 2, "'network' '--seed' '1'", "submit 'rt' 60 1 2"),
    )?;
    scripts.push(array.to_string_lossy().into_owned());
    let with_steps: Vec<String> = all.iter().chain(&pipelines).cloned().collect();
    let steps = steps(&with_steps, place)?;
    Ok(vec![
        Check {
            tool: "zizmor",
            words: &["--offline", "--quiet", "--persona", "auditor"],
            files: all.clone(),
            one_by_one: false,
        },
        Check {
            tool: "check-jsonschema",
            words: &["--builtin-schema", "vendor.github-workflows"],
            files: workflows,
            one_by_one: false,
        },
        Check {
            tool: "check-jsonschema",
            words: &["--builtin-schema", "vendor.github-actions"],
            files: vec![action],
            one_by_one: false,
        },
        Check {
            tool: "check-jsonschema",
            words: &["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
            files: pipelines,
            one_by_one: false,
        },
        Check { tool: "action-validator", words: &[], files: all, one_by_one: true },
        Check { tool: "shellcheck", words: &[], files: scripts, one_by_one: false },
        // A word that is split on purpose, and quotes that git's own shell is to see.
        Check {
            tool: "shellcheck",
            words: &["--shell=bash", "--exclude=SC2086,SC2016"],
            files: steps,
            one_by_one: false,
        },
    ])
}

/// A file as `init` writes it: what is filled in stands for itself here, so that the tools see what users have.
fn as_written(path: &Path, tool: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read `{}`", path.display()))?;
    let commit = "0123456789".repeat(4);
    Ok(text
        .replace("{{tool}}", tool)
        .replace("{{commit}}", &commit)
        .replace("{{matrix}}", "network"))
}

/// The shell of every step as a file of its own.
fn steps(files: &[String], place: &Path) -> anyhow::Result<Vec<String>> {
    let mut steps = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file)?;
        for script in scripts(&text) {
            let path = place.join(format!("step-{}.sh", steps.len()));
            std::fs::write(&path, script)?;
            steps.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(steps)
}

/// Blocks behind `run: |` of a workflow and `- |` of a pipeline, without their indentation.
fn scripts(text: &str) -> Vec<String> {
    let mut scripts = Vec::new();
    let mut lines = text.lines().peekable();
    let indent = |line: &str| line.len() - line.trim_start().len();
    while let Some(line) = lines.next() {
        if !matches!(line.trim(), "run: |" | "- |") {
            continue;
        }
        let least = indent(line) + 2;
        let mut script = String::new();
        while let Some(inside) =
            lines.next_if(|next| next.trim().is_empty() || indent(next) >= least)
        {
            script.push_str(inside.get(least..).unwrap_or_default());
            script.push('\n');
        }
        scripts.push(script);
    }
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn every_step_of_a_shell_is_found() {
        let text = std::fs::read_to_string(root().join(".github/workflows/evenkeel.yml")).unwrap();
        let scripts = scripts(&text);
        assert_eq!(scripts.len(), text.matches("run: |").count());
        assert!(scripts.iter().any(|script| script.contains(" bench \"$@\" || code=$?")));
        assert!(
            !scripts.iter().any(|script| script.contains("${{")),
            "text of an event in a shell"
        );
    }

    /// What no tool of others checks: what our own files promise.
    #[test]
    fn workflows_pin_what_they_use_and_begin_with_no_rights() {
        let place = tempfile::tempdir().unwrap();
        for check in checks(&root(), place.path()).unwrap() {
            for file in check.files.iter().filter(|file| file.ends_with(".yml")) {
                let text = std::fs::read_to_string(file).unwrap();
                for used in text
                    .lines()
                    .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: "))
                {
                    let pin =
                        used.split_once('@').map_or("", |(_, pin)| pin.split(' ').next().unwrap());
                    let is_commit = pin.len() == 40 && pin.bytes().all(|c| c.is_ascii_hexdigit());
                    assert!(is_commit, "{file}: {used}");
                }
                if text.contains("\njobs:") {
                    assert!(text.contains("\npermissions: {}\n"), "{file}");
                    assert!(!text.contains("pull_request_target:"), "{file}");
                }
            }
        }
    }
}
