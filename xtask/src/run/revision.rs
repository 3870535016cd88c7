//! Another revision of the repository that a run is made in: its inputs. Of what it would do with them only the programs that its matrix names
//! are run, and not from here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use evenkeel_agent::command::{self, Ended};

use crate::matrix::Matrix;
use crate::wrong::wrong;

/// Deadline of a question to git.
const SOON: Duration = Duration::from_secs(30);

/// Deadline for unpacking a tree.
const UNPACKED: Duration = Duration::from_secs(300);

/// The files of a revision below the working directory, in a folder that goes away with this.
#[derive(Debug)]
pub struct Revision {
    /// As the user named it.
    pub name: String,
    /// The commit, 40 digits.
    pub commit: String,
    folder: tempfile::TempDir,
}

impl Revision {
    /// Unpacks a revision. The working tree, the index and the repository stay as they are.
    ///
    /// # Errors
    /// There is no git, no repository, or no such revision in it.
    pub fn unpack(name: &str) -> anyhow::Result<Revision> {
        if command::which("git").is_none() {
            bail!("`--against` needs git, which is not installed: `apt install git`");
        }
        let asked =
            git(&["rev-parse", "--verify", "--end-of-options", &format!("{name}^{{commit}}")])?;
        if asked.code != Some(0) {
            return Err(wrong(format!("no revision `{name}`: git says: {}", asked.last_words())));
        }
        let commit = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
        let folder = tempfile::tempdir().context("failed to make a folder for the base")?;
        let tree = folder.path().join("tree.tar").to_string_lossy().into_owned();
        let files = folder.path().join("files");
        std::fs::create_dir(&files).context("failed to make a folder for the base")?;
        let files = files.to_string_lossy().into_owned();
        for argv in [
            &["git", "archive", "--format=tar", "--output", &tree, &commit][..],
            &["tar", "--extract", "--no-same-owner", "--file", &tree, "--directory", &files],
        ] {
            let ended = command::run(argv, UNPACKED)?;
            if ended.code != Some(0) {
                bail!("failed to unpack revision `{name}`: {}: {}", argv[0], ended.last_words());
            }
        }
        Ok(Revision { name: name.to_owned(), commit, folder })
    }

    /// What was below the working directory.
    pub fn directory(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// A matrix of this revision with the paths of its own files: kernels that somebody built and committed. What the revision has no file for is
    /// found below the working directory, as without it.
    pub fn resolved(&self, matrix: &Matrix) -> Matrix {
        let mut matrix = matrix.clone();
        for source in matrix.kernels.values_mut() {
            for path in [&mut source.image, &mut source.modules].into_iter().flatten() {
                let own = self.directory().join(&*path);
                if Path::new(path).is_relative() && own.exists() {
                    *path = own.to_string_lossy().into_owned();
                }
            }
        }
        matrix
    }
}

/// What the working tree is of: its commit, with `-dirty` behind it where a tracked file differs. Nothing where there is no repository.
pub fn working_tree() -> Option<String> {
    let said = git(&["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]).ok()?;
    (said.code == Some(0)).then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// The default branch of the repository that a folder lies in: what its remote says, else `main` or `master` where there is such a branch, else the one
/// that is checked out. Nothing where there is no git and no repository.
pub fn default_branch(folder: &Path) -> Option<String> {
    let asked = |words: &[&str]| {
        let folder = folder.to_str()?;
        let said = git(&[&["-C", folder], words].concat()).ok()?;
        let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        (said.code == Some(0) && !text.is_empty()).then_some(text)
    };
    let remote = asked(&["symbolic-ref", "--short", "refs/remotes/origin/HEAD"]);
    if let Some(branch) = remote.and_then(|name| name.strip_prefix("origin/").map(str::to_owned)) {
        return Some(branch);
    }
    let branches = asked(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
    let branches = branches.unwrap_or_default();
    let usual = ["main", "master"].into_iter().find(|name| branches.lines().any(|of| of == *name));
    usual.map(str::to_owned).or_else(|| asked(&["symbolic-ref", "--short", "HEAD"]))
}

/// The commits behind one up to another, newest first, abbreviated. Nothing where there is no git, no repository, or no such commit in it.
pub fn commits_between(before: &str, after: &str) -> Option<Vec<String>> {
    let range = format!("{before}..{after}");
    let said = git(&["rev-list", "--abbrev-commit", "--max-count=100", &range]).ok()?;
    let list = String::from_utf8_lossy(&said.stdout);
    (said.code == Some(0)).then(|| list.lines().map(str::to_owned).collect())
}

fn git(words: &[&str]) -> anyhow::Result<Ended> {
    command::run(&[&["git"], words].concat(), SOON)
}
