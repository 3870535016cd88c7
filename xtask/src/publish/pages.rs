//! A site in a folder, as Pages serves it: the reports of runs, the newest first, and those of pull requests apart, so that none of these ever
//! takes the place of the main site's.
//!
//! The folder may be a checkout of a branch or what the last deployment left; it is bounded by the number of reports and by bytes. Two
//! writers take turns by a lock beside it, and the list is made of what is there, not of what was there when the writer began.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use evenkeel_history::time::utc;
use serde::{Deserialize, Serialize};

use super::Sink;
use super::said::Said;
use crate::cli;
use crate::history;
use crate::record::store;
use crate::report::clean;
use crate::report::site::{history as page, runs};
use crate::wrong::wrong;

/// What is known of a report, beside it.
const ABOUT: &str = "about.json";

/// The history of the main site: its lines, and its page.
const LINES: &str = "history.jsonl";
const HISTORY: &str = "history.html";

/// Bytes of all reports; Pages serves a gigabyte.
const MOST_BYTES: u64 = 700 << 20;

/// The site.
#[derive(Clone, Debug)]
pub struct Site {
    folder: PathBuf,
    run: PathBuf,
    pull: Option<u64>,
    commit: Option<String>,
    keep: usize,
}

/// A report of the site.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
struct About {
    /// The run's tag.
    #[serde(default)]
    run: Option<String>,
    matrix: String,
    started_unix: u64,
    verdict: String,
    sentence: String,
    commit: Option<String>,
}

impl Site {
    /// Of what the command line says.
    ///
    /// # Errors
    /// A commit that is none.
    pub fn new(told: &cli::PublishPages) -> Result<Site> {
        let hex = |commit: &String| {
            !commit.is_empty()
                && commit.len() <= 64
                && commit.bytes().all(|c| c.is_ascii_hexdigit())
        };
        if let Some(commit) = told.commit.as_ref().filter(|commit| !hex(commit)) {
            return Err(wrong(format!("--commit {} is no commit", clean(commit))));
        }
        Ok(Site {
            folder: told.site.clone().unwrap_or_default(),
            run: told.run.clone(),
            pull: told.pull,
            commit: told.commit.clone(),
            keep: told.keep as usize,
        })
    }

    /// The same in another folder.
    pub(super) fn within(&self, folder: &Path) -> Site {
        Site { folder: folder.to_owned(), ..self.clone() }
    }

    /// Where its report lies: numbers and plain letters alone.
    fn place(&self, said: &Said) -> PathBuf {
        match self.pull {
            Some(number) => Path::new("pr").join(number.to_string()),
            None => {
                let plain = |c: &char| c.is_ascii_alphanumeric();
                let tag: String = said.run.chars().filter(plain).take(40).collect();
                Path::new("runs").join(format!("{}-{tag}", said.started_unix))
            }
        }
    }
}

impl Sink for Site {
    fn name(&self) -> &'static str {
        "pages"
    }

    fn shows(&self, said: &Said) -> Result<String> {
        let place = self.folder.join(self.place(said));
        let history = match self.pull {
            None => format!("{}: a line more\n", self.folder.join(LINES).display()),
            Some(_) => String::new(),
        };
        Ok(format!("{}/index.html: {} bytes\n{history}", place.display(), said.rendered.html.len()))
    }

    fn send(&self, said: &Said) -> Result<String> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to make folder `{}`", folder.display()))?;
        let _lock = history::file::lock(&folder.join(".evenkeel"))?;
        // What a site serves must not be drawn from elsewhere.
        for name in ["runs", "pr"] {
            let inside = folder.join(name);
            if inside.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
                anyhow::bail!("`{}` is no folder", inside.display());
            }
        }
        let about = About {
            run: Some(said.run.clone()),
            matrix: said.matrix.clone(),
            started_unix: said.started_unix,
            verdict: said.verdict.clone(),
            sentence: said.sentence.clone(),
            commit: self.commit.clone().or_else(|| said.commit.clone()),
        };
        let place = folder.join(self.place(said));
        put(&place, said, &about)?;
        let dropped = thin(&folder.join("runs"), self.keep)? + thin(&folder.join("pr"), self.keep)?;
        // Pages would leave out folders that begin with `_` and run a site generator.
        replace(&folder.join(".nojekyll"), b"")?;
        if self.pull.is_none() {
            let add = cli::HistoryAdd {
                run: self.run.clone(),
                history: folder.join(LINES),
                commit: self.commit.clone(),
                dirty: false,
                mark: None,
                keep: 1000,
            };
            history::commands::add(&add)?;
        }
        let runs = reports(&folder.join("runs"))?;
        let history = history_page(folder, &runs)?;
        let index = index(vec![("runs", runs), ("pr", reports(&folder.join("pr"))?)], history)?;
        replace(&folder.join("index.html"), index.as_bytes())?;
        let gone =
            if dropped > 0 { format!("; {dropped} older ones dropped") } else { String::new() };
        Ok(format!("{}{gone}", place.join("index.html").display()))
    }
}

/// Writes a report, whole or not at all: a folder beside takes the place of the old one.
fn put(place: &Path, said: &Said, about: &About) -> Result<()> {
    let parent = place.parent().context("a report lies in a folder")?;
    std::fs::create_dir_all(parent)
        .with_context(|| format!("failed to make folder `{}`", parent.display()))?;
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
    std::fs::write(new.path().join("index.html"), &said.rendered.html)?;
    std::fs::write(new.path().join("summary.md"), &said.rendered.markdown)?;
    store::write_results(new.path(), &said.results)?;
    std::fs::write(new.path().join(ABOUT), serde_json::to_vec(about)?)?;
    std::fs::set_permissions(new.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    if place.symlink_metadata().is_ok() {
        std::fs::remove_dir_all(place)
            .with_context(|| format!("failed to remove `{}`", place.display()))?;
    }
    let new = new.keep();
    std::fs::rename(&new, place).with_context(|| format!("failed to write `{}`", place.display()))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let folder = path.parent().context("a file lies in a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(path).with_context(|| format!("failed to write `{}`", path.display()))?;
    Ok(())
}

/// The reports in a folder, newest first. What lies there and is none is left alone.
fn reports(folder: &Path) -> Result<Vec<(String, About)>> {
    let mut found = Vec::new();
    for entry in folder.read_dir().into_iter().flatten() {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let ours = entry.file_type()?.is_dir() && name.chars().all(plain);
        let about = std::fs::read(entry.path().join(ABOUT)).ok().filter(|_| ours);
        let about = about.and_then(|bytes| serde_json::from_slice::<About>(&bytes).ok());
        found.extend(about.map(|about| (name, about)));
    }
    found.sort_by(|a, b| b.1.started_unix.cmp(&a.1.started_unix).then(b.0.cmp(&a.0)));
    Ok(found)
}

/// Drops the oldest reports beyond a number, and beyond the bytes that half of the site may take. Answers how many.
fn thin(folder: &Path, keep: usize) -> Result<usize> {
    let (mut bytes, mut dropped) = (0, 0);
    for (at, (name, _)) in reports(folder)?.into_iter().enumerate() {
        let place = folder.join(name);
        let size = |file: &str| std::fs::metadata(place.join(file)).map_or(0, |found| found.len());
        bytes += ["index.html", "summary.md", "results.json"].map(size).iter().sum::<u64>();
        if at >= keep || (at > 0 && bytes > MOST_BYTES / 2) {
            std::fs::remove_dir_all(&place)
                .with_context(|| format!("failed to remove `{}`", place.display()))?;
            dropped += 1;
        }
    }
    Ok(dropped)
}

/// The list of runs, and above it what their history says.
fn index(parts: Vec<(&str, Vec<(String, About)>)>, history: Option<runs::Told>) -> Result<String> {
    let parts = parts.into_iter().filter(|(_, reports)| !reports.is_empty());
    let parts = parts.map(|(folder, reports)| {
        let row = |(name, about): (String, About)| runs::RunRow {
            href: format!("{folder}/{name}/index.html"),
            when: utc(about.started_unix),
            matrix: about.matrix,
            commit: about.commit.map(|commit| commit.chars().take(12).collect()),
            verdict: about.verdict,
            sentence: about.sentence,
        };
        let title = if folder == "pr" { "Pull requests" } else { "Runs" };
        let runs = reports.into_iter().map(row).collect();
        runs::Part { folder: folder.to_owned(), title: title.to_owned(), runs }
    });
    runs::page(&runs::Runs { history, parts: parts.collect() })
}

/// Writes the page of the history that lies in the site, where there is one, and tells it in short.
fn history_page(folder: &Path, reports: &[(String, About)]) -> Result<Option<runs::Told>> {
    let file = folder.join(LINES);
    if !file.is_file() {
        return Ok(None);
    }
    let (lines, mut notes) = history::file::read(&file)?;
    let of = |(name, about): &(String, About)| {
        let tag = about.run.clone()?;
        Some(((tag, about.started_unix), format!("runs/{name}/index.html")))
    };
    let links = page::Links {
        index: Some("index.html".to_owned()),
        data: Some(LINES.to_owned()),
        reports: reports.iter().filter_map(of).collect(),
    };
    let mut answer = history::check::check(&lines, &history::check::Question::plain(&lines))
        .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    notes.append(&mut answer.notes);
    answer.notes = notes;
    let text = page::page(&lines, &answer, history::check::FALSE_ALARMS, &links)?;
    replace(&folder.join(HISTORY), text.as_bytes())?;
    Ok(Some(runs::Told {
        href: HISTORY.to_owned(),
        verdict: answer.verdict.to_owned(),
        sentence: answer.sentence,
    }))
}
