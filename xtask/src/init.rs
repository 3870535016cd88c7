//! `init`: what a repository needs to be measured by a CI system, as files of its own. A second run changes nothing, and what differs is the
//! user's: it is named, and overwritten only where that is asked for.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli;
use crate::command::Exit;
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
    write(&told.folder, &[Wanted { path: ".gitlab-ci.yml".into(), text }, matrix()], told.force)
}

fn github(told: &cli::InitGithub) -> anyhow::Result<Exit> {
    let (tool, commit) = tool(&told.tool)?;
    let filled = |text: &str| filled(text, tool, commit);
    let workflows = Path::new(".github/workflows");
    let mut files =
        vec![Wanted { path: workflows.join("evenkeel.yml"), text: filled(WORKFLOW) }, matrix()];
    if told.forks {
        let text = filled(SECOND_STAGE);
        files.push(Wanted { path: workflows.join("evenkeel-publish.yml"), text });
        let measured = "      pages: evenkeel-pages\n";
        files[0].text = files[0].text.replace(measured, &format!("{measured}      forks: true\n"));
    }
    write(&told.folder, &files, told.force)
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
