//! `publish`: what a run found, told where people look: a comment, a check, the summary and the outputs of a job, a site.
//!
//! What is told is made here of the records alone ([`said`]): whatever verdict or report lies beside them is not looked at. Each place is
//! a [`Sink`] with its own budget of bytes and its own escaping. A sink that fails is a warning: the verdict and the exit code are the
//! records', and stay. Only a site, which nobody can fetch again once its job was green, ends with an exit code of its own.

use std::path::Path;

use crate::cli;
use crate::command::Exit;
use crate::streams::{print, say};
use crate::wrong::wrong;

mod api;
pub mod branch;
pub mod github;
pub mod gitlab;
pub mod pages;
mod repository;
pub mod said;
mod thread;

pub use said::Said;

/// A place where a run is told.
pub trait Sink {
    /// What to call it by.
    fn name(&self) -> &'static str;

    /// What would go there, for `--dry-run`. Asks nobody and changes nothing.
    ///
    /// # Errors
    /// It would not fit, or could not be made.
    fn shows(&self, said: &Said) -> anyhow::Result<String>;

    /// Tells it, and answers in words what was done.
    ///
    /// # Errors
    /// It could not be told.
    fn send(&self, said: &Said) -> anyhow::Result<String>;
}

/// Tells a run everywhere, and answers whether every sink did. One that fails is said, and the next one gets its turn.
///
/// # Errors
/// Only what keeps us from printing.
pub fn tell(sinks: &[Box<dyn Sink>], said: &Said, dry: bool) -> anyhow::Result<bool> {
    let mut whole = true;
    for sink in sinks {
        let name = sink.name();
        match if dry { sink.shows(said) } else { sink.send(said) } {
            Ok(text) if dry => print(format_args!("== {name}\n{}\n", text.trim_end()))?,
            Ok(done) => say(format_args!("{name}: {done}")),
            Err(error) => {
                whole = false;
                say(format_args!("warning: {name}: {error:#}"));
            }
        }
    }
    Ok(whole)
}

/// `publish`.
///
/// # Errors
/// The run cannot be read, or the input is wrong. Never a sink: of a site that is not written the exit code is 4.
pub fn publish(told: &cli::Publish) -> anyhow::Result<Exit> {
    match told {
        cli::Publish::Github(told) => {
            let said = Said::of(&told.run, told.require_conclusive)?;
            let sinks = github::sinks(told, &said)?;
            tell(&sinks, &said, told.dry_run)?;
            Ok(said.exit)
        }
        cli::Publish::Gitlab(told) => {
            let said = Said::of(&told.run, told.require_conclusive)?;
            tell(&gitlab::sinks(told)?, &said, told.dry_run)?;
            Ok(said.exit)
        }
        cli::Publish::Pages(told) => {
            let said = Said::of(&told.run, false)?;
            let site = pages::Site::new(told)?;
            let site: Box<dyn Sink> = match &told.branch {
                Some(branch) => Box::new(branch::Branch::new(branch, told.remote.clone(), site)?),
                None => Box::new(site),
            };
            let written = tell(std::slice::from_ref(&site), &said, told.dry_run)?;
            Ok(if written { Exit::Fine } else { Exit::Host })
        }
    }
}

/// A file's text, for a sink that adds to one.
fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// An address that may stand in Markdown as a link.
fn checked_link(link: &str) -> anyhow::Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#@!$&*+,;=%".contains(c);
    let known = link.starts_with("https://") || link.starts_with("http://");
    match known && link.len() <= 1_000 && link.chars().all(plain) {
        true => Ok(link.to_owned()),
        false => Err(wrong("--report-url is an address that begins with https://")),
    }
}

/// Whether this is a job of a stranger's change on a runner of one's own. Answers why it is refused.
pub fn fork_on_own_runner() -> Option<String> {
    github::fork_on_own_runner().or_else(gitlab::fork_on_own_runner)
}
