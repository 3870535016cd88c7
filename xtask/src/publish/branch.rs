//! A site on a branch: fetched, changed as a folder, and pushed as its only commit.
//!
//! Two writers never lose what the other wrote: a push is refused where the branch has moved, and is made anew on what is there then. No
//! commit of the branch has a parent, so that it never grows further than the site.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use evenkeel_agent::command::{self, Ended};
use evenkeel_agent::wait;

use super::Sink;
use super::pages::Site;
use super::said::Said;
use crate::wrong::wrong;

/// Deadline of a command of git, which may fetch a whole site.
const SOON: Duration = Duration::from_secs(300);

/// How often a push that was refused is made anew.
const TRIES: u32 = 8;

/// The longest pause after the first try. Each next one may be twice as long, and every writer's is another, so that they do not meet again.
const PAUSE: Duration = Duration::from_millis(250);

/// Who the commit is of.
const AUTHOR: [&str; 4] =
    ["-c", "user.name=evenkeel", "-c", "user.email=evenkeel@users.noreply.github.com"];

/// The branch.
#[derive(Debug)]
pub struct Branch {
    pub(super) name: String,
    /// The repository that has it; `origin` of the one that we stand in, if not told.
    pub(super) remote: Option<String>,
    pub(super) site: Site,
}

impl Branch {
    /// Of a name that git takes for one.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn new(name: &str, remote: Option<String>, site: Site) -> anyhow::Result<Branch> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let known = !name.starts_with(['-', '/', '.']) && name.chars().all(plain);
        let asked = command::run(&["git", "check-ref-format", "--branch", name], SOON)?;
        if !known || asked.code != Some(0) {
            return Err(wrong("--branch is the name of a branch, as evenkeel-pages"));
        }
        // `ext::COMMAND` and its like are no addresses but programs that git would run.
        let helper = |remote: &String| {
            let before = remote.split_once("::").map(|(before, _)| before);
            before.is_some_and(|of| of.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
        };
        if remote.as_ref().is_some_and(|remote| remote.starts_with('-') || helper(remote)) {
            return Err(wrong("--remote is the address of a repository"));
        }
        Ok(Branch { name: name.to_owned(), remote, site })
    }

    fn once(&self, said: &Said, origin: &str, folder: &Path) -> anyhow::Result<Option<String>> {
        let there = folder.to_string_lossy().into_owned();
        let git = |words: &[&str]| in_folder(&there, words);
        let reference = format!("refs/heads/{}", self.name);
        done(git(&["init", "--quiet"])?, "init")?;
        let asked = command::run(&["git", "ls-remote", origin, &reference], SOON)?;
        let listed = done(asked, "ls-remote")?;
        let old = listed.split_whitespace().next().unwrap_or_default().to_owned();
        if !old.is_empty() {
            done(git(&["fetch", "--quiet", "--depth=1", origin, &reference])?, "fetch")?;
            done(git(&["reset", "--hard", "--quiet", "FETCH_HEAD"])?, "reset")?;
        }
        let told = self.site.within(folder).send(said)?;
        done(git(&["add", "--all", "--", ".", ":!*.lock"])?, "add")?;
        let tree = done(git(&["write-tree"])?, "write-tree")?;
        let message = format!("Report of {}", crate::report::clean(&said.run));
        let commit = [&AUTHOR[..], &["commit-tree", tree.trim(), "-m", &message]].concat();
        let commit = done(git(&commit)?, "commit-tree")?;
        let lease = format!("--force-with-lease={reference}:{old}");
        let refspec = format!("{}:{reference}", commit.trim());
        let pushed = git(&["push", "--quiet", "--porcelain", &lease, origin, &refspec])?;
        if pushed.code == Some(0) {
            return Ok(Some(told));
        }
        let words =
            String::from_utf8_lossy(&pushed.stdout) + String::from_utf8_lossy(&pushed.stderr);
        // Moved meanwhile, or another push holds it at this moment.
        if MOVED.iter().any(|why| words.contains(why)) {
            return Ok(None);
        }
        bail!("git push: {}", pushed.last_words())
    }
}

/// How versions of git say that a branch moved, or is being moved, since it was read.
const MOVED: [&str; 6] = [
    "stale info",
    "fetch first",
    "cannot lock ref",
    "already exists",
    "incorrect old value",
    "failed to update ref",
];

impl Sink for Branch {
    fn name(&self) -> &'static str {
        "pages"
    }

    fn shows(&self, said: &Said) -> anyhow::Result<String> {
        Ok(format!("branch {} of origin, one commit:\n{}", self.name, self.site.shows(said)?))
    }

    fn send(&self, said: &Said) -> anyhow::Result<String> {
        let origin = match &self.remote {
            Some(remote) => remote.clone(),
            None => {
                let origin = command::run(&["git", "remote", "get-url", "origin"], SOON)?;
                done(origin, "remote get-url origin")?
            }
        };
        let origin = absolute(origin.trim());
        for attempt in 0..TRIES {
            if let Some(before) = attempt.checked_sub(1) {
                let until =
                    Instant::now() + PAUSE.mul_f64(f64::from(1 << before) * fastrand::f64());
                let over = || Ok((Instant::now() >= until).then_some(()));
                wait::until("the next try", SOON, over)?;
            }
            let folder = tempfile::tempdir().context("failed to make a temporary folder")?;
            if let Some(told) = self.once(said, &origin, &folder.path().join("site"))? {
                let inside = format!("{}/", folder.path().join("site").display());
                return Ok(format!("{} on branch {}", told.replace(&inside, ""), self.name));
            }
        }
        bail!("branch {} moved {TRIES} times while it was written", self.name)
    }
}

/// A path of another repository, from wherever git is run.
fn absolute(origin: &str) -> String {
    let path = PathBuf::from(origin);
    match path.canonicalize() {
        Ok(path) if !origin.contains("://") => path.to_string_lossy().into_owned(),
        _ => origin.to_owned(),
    }
}

fn in_folder(folder: &str, words: &[&str]) -> anyhow::Result<Ended> {
    std::fs::create_dir_all(folder).context("failed to make a folder for a branch")?;
    command::run(&[&["git", "-C", folder], words].concat(), SOON)
}

fn done(ended: Ended, what: &str) -> anyhow::Result<String> {
    match ended.code {
        Some(0) => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
        _ => bail!("git {what}: {}", ended.last_words()),
    }
}
