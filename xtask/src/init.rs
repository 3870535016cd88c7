//! `init`: what a repository needs to be measured by a CI system, as files of its own. A second run changes nothing, and what differs is the
//! user's: it is named, and overwritten only where that is asked for.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli;
use crate::command::Exit;
use crate::run::revision::default_branch;
use crate::streams::print;
use crate::wrong::wrong;

const WORKFLOW: &str = include_str!("../../ci/github/templates/evenkeel.yml");
const SECOND_STAGE: &str = include_str!("../../ci/github/templates/evenkeel-publish.yml");
const PIPELINE: &str = include_str!("../../ci/gitlab/templates/evenkeel.yml");
const MATRIX: &str = include_str!("../../ci/github/templates/network.toml");

/// The name of that matrix.
const NAME: &str = "network";

/// A file that is to be there.
struct Wanted {
    path: PathBuf,
    text: String,
}

/// `init`.
///
/// # Errors
/// The tool is not named, a file differs, or cannot be written.
pub fn init(told: &cli::Init) -> anyhow::Result<Exit> {
    match told {
        cli::Init::Github(told) => github(told),
        cli::Init::Gitlab(told) => gitlab(told),
    }
}

/// A file's text with what was told in it.
fn filled(text: &str, tool: &str, commit: &str) -> String {
    text.replace("{{tool}}", tool).replace("{{commit}}", commit).replace("{{matrix}}", NAME)
}

/// The first matrix.
fn matrix() -> Wanted {
    Wanted { path: Path::new("matrices").join(format!("{NAME}.toml")), text: MATRIX.to_owned() }
}

fn gitlab(told: &cli::InitGitlab) -> anyhow::Result<Exit> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~:/".contains(c);
    let parts = told.tool.rsplit_once('@').filter(|(address, commit)| {
        let address = address.strip_prefix("https://");
        address.is_some_and(|rest| rest.contains('/') && rest.chars().all(plain))
            && is_commit(commit)
    });
    let (tool, commit) = parts.ok_or_else(|| {
        wrong("--tool is URL@COMMIT, the https:// address of the repository of Evenkeel and a commit of 40 digits")
    })?;
    let tool = tool.trim_end_matches('/').trim_end_matches(".git");
    let text = filled(PIPELINE, tool, commit);
    let path = told.folder.join(CI);
    let theirs = match std::fs::read_to_string(&path) {
        Ok(theirs) if theirs != text && !told.force => Some(theirs),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("failed to read `{}`", path.display()));
        }
        _ => None,
    };
    let Some(theirs) = theirs else {
        return write(&told.folder, &[Wanted { path: CI.into(), text }, matrix()], told.force);
    };
    let beside = Beside::of(&theirs);
    let ours = Wanted { path: INCLUDED.into(), text: beside.text(&text) };
    // What lies here is ours to write, and to compare with what it would be now.
    let files = if beside.is_remote { vec![matrix()] } else { vec![ours, matrix()] };
    let ended = write(&told.folder, &files, told.force)?;
    print(beside.advice())?;
    Ok(ended)
}

/// A GitLab project's own pipeline.
const CI: &str = ".gitlab-ci.yml";

/// What a pipeline that is there already includes.
const INCLUDED: &str = ".gitlab/evenkeel.yml";

/// Stages of our jobs.
const STAGES: [&str; 3] = ["build", "test", "deploy"];

/// A pipeline that is the user's: it is left as it is, and what it lacks is told.
struct Beside {
    /// Whether it includes Evenkeel already, from here or from its own repository.
    is_included: bool,
    /// From its own repository: nothing of it lies here.
    is_remote: bool,
    has_includes: bool,
    has_pages: bool,
    /// Stages that it lacks, where it names some.
    lacks: Option<Vec<&'static str>>,
}

impl Beside {
    fn of(theirs: &str) -> Beside {
        let code = |line: &'_ &str| !line.trim_start().starts_with('#');
        let lines: Vec<&str> = theirs.lines().filter(code).collect();
        let has = |key: &str| lines.iter().any(|line| line.starts_with(key));
        let stages = lines.iter().position(|line| line.starts_with("stages:")).map(|at| {
            let below = lines[at + 1..].iter();
            let below = below.take_while(|line| line.starts_with([' ', '-']) || line.is_empty());
            let words = std::iter::once(&lines[at]).chain(below);
            let is_word = |c: char| c.is_alphanumeric() || "-_.".contains(c);
            let words: Vec<&str> = words
                .flat_map(|line| line.split(|c| !is_word(c)))
                .map(|word| word.trim_start_matches('-'))
                .collect();
            STAGES.into_iter().filter(|stage| !words.contains(stage)).collect()
        });
        let names = |name: &str| lines.iter().any(|line| line.contains(name));
        let is_remote = names("/ci/gitlab/evenkeel.yml");
        Beside {
            is_included: is_remote || names(INCLUDED),
            is_remote,
            has_includes: has("include:"),
            has_pages: has("pages:"),
            lacks: stages,
        }
    }

    /// Our pipeline without what theirs has.
    fn text(&self, whole: &str) -> String {
        let mut text = whole.replace("stages: [build, test, deploy]\n\n", "");
        if self.has_pages {
            text = text.replace("\npages:\n  extends: .evenkeel-pages\n", "");
        }
        text
    }

    /// What is to be added by hand: its lines as they are.
    fn advice(&self) -> String {
        let mut told = match (self.is_included, self.has_includes) {
            (true, _) => format!("{CI}: includes it already\n"),
            (false, false) => format!(
                "{CI}: is yours, and was not changed. Add to it:\n\ninclude:\n  - local: {INCLUDED}\n\n"
            ),
            (false, true) => format!(
                "{CI}: is yours, and was not changed. Add to its list `include:`:\n\n  - local: {INCLUDED}\n\n"
            ),
        };
        for stage in self.lacks.iter().flatten() {
            told.push_str(&format!("Add to its list `stages:`:\n\n  - {stage}\n\n"));
        }
        if self.has_pages && !self.is_included {
            told.push_str(
                "Its job `pages` is yours, too: reports are published where a job has `extends: .evenkeel-pages`.\n",
            );
        }
        told
    }
}

fn github(told: &cli::InitGithub) -> anyhow::Result<Exit> {
    let (tool, commit) = tool(&told.tool)?;
    let filled = |text: &str| filled(text, tool, commit);
    let branch = default_branch(&told.folder).unwrap_or_else(|| "main".to_owned());
    let workflow =
        filled(WORKFLOW).replace("branches: [main]", &format!("branches: [{}]", scalar(&branch)));
    let workflows = Path::new(".github/workflows");
    let mut files = vec![Wanted { path: workflows.join("evenkeel.yml"), text: workflow }, matrix()];
    if told.forks {
        let text = filled(SECOND_STAGE);
        files.push(Wanted { path: workflows.join("evenkeel-publish.yml"), text });
        let measured = "      pages: evenkeel-pages\n";
        files[0].text = files[0].text.replace(measured, &format!("{measured}      forks: true\n"));
    }
    write(&told.folder, &files, told.force)
}

/// A name as YAML has it, quoted where it could be read as anything else.
fn scalar(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain);
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    match is_plain && !words.contains(&name.to_ascii_lowercase().as_str()) {
        true => name.to_owned(),
        // JSON's strings are YAML's.
        false => serde_json::Value::from(name).to_string(),
    }
}

/// `OWNER/NAME@COMMIT`: a tag or a branch may move, and would run with the rights of the workflow.
fn tool(told: &str) -> anyhow::Result<(&str, &str)> {
    let plain = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && part.chars().all(plain)
    };
    let parts = told.split_once('@').filter(|(repository, commit)| {
        let named =
            repository.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name));
        named && is_commit(commit)
    });
    parts.ok_or_else(|| {
        wrong("--tool is OWNER/NAME@COMMIT, the repository of Evenkeel and a commit of 40 digits")
    })
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|c| c.is_ascii_hexdigit())
}

/// Writes what is not there; all or, where a file differs, none.
fn write(folder: &Path, files: &[Wanted], force: bool) -> anyhow::Result<Exit> {
    let mut missing = Vec::new();
    let mut differing = Vec::new();
    for wanted in files {
        let path = folder.join(&wanted.path);
        match std::fs::read(&path) {
            Ok(there) if there == wanted.text.as_bytes() => {}
            Ok(_) => differing.push(wanted),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing.push(wanted),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read `{}`", path.display()));
            }
        }
    }
    if !differing.is_empty() && !force {
        let named: Vec<String> =
            differing.iter().map(|wanted| format!("`{}`", wanted.path.display())).collect();
        return Err(wrong(format!(
            "{} differs from what init would write: nothing was changed; --force overwrites",
            named.join(", ")
        )));
    }
    for wanted in files {
        let is = |list: &[&Wanted]| list.iter().any(|of| std::ptr::eq(*of, wanted));
        let done = match (is(&missing), is(&differing)) {
            (true, _) => "written",
            (_, true) => "overwritten",
            _ => "is there already",
        };
        if is(&missing) || is(&differing) {
            let path = folder.join(&wanted.path);
            let parent = path.parent().context("a file lies in a folder")?;
            std::fs::create_dir_all(parent)
                .with_context(|| format!("failed to make folder `{}`", parent.display()))?;
            std::fs::write(&path, &wanted.text)
                .with_context(|| format!("failed to write `{}`", path.display()))?;
        }
        print(format_args!("{}: {done}\n", wanted.path.display()))?;
    }
    Ok(Exit::Fine)
}
