//! GitHub: a comment on the pull request, a check of the commit, the summary and the outputs of the job.

use std::path::PathBuf;

use crate::cli;

use super::api::{Api, Forge};
use super::{Said, Sink, checked_link};

mod check;
mod comment;
mod event;
mod files;

pub use check::Check;
pub use comment::Comment;
pub use event::{Event, fork_on_own_runner};
pub use files::{Outputs, Summary};

/// What may be told where.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// The summary of the job ($GITHUB_STEP_SUMMARY).
    Summary,
    /// The outputs of the step ($GITHUB_OUTPUT).
    Outputs,
    /// One comment on the pull request.
    Comment,
    /// A check of the commit, with annotations.
    Check,
}

/// The sinks that were asked for, as far as the job has them.
///
/// # Errors
/// What the job was told is wrong.
pub fn sinks(told: &cli::PublishGithub, said: &Said) -> anyhow::Result<Vec<Box<dyn Sink>>> {
    let link = told.report_url.as_deref().map(checked_link).transpose()?;
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let wanted = |which| told.to.is_empty() || told.to.contains(&which);
    // Where nothing is sent, what is not there need not be.
    let file = |name: &str| match variable(name) {
        Some(path) => Some(PathBuf::from(path)),
        None => told.dry_run.then(|| PathBuf::from(format!("${name}"))),
    };
    if let (true, Some(file)) = (wanted(Where::Summary), file("GITHUB_STEP_SUMMARY")) {
        sinks.push(Box::new(Summary { file, link: link.clone() }));
    }
    if let (true, Some(file)) = (wanted(Where::Outputs), file("GITHUB_OUTPUT")) {
        sinks.push(Box::new(Outputs { file }));
    }
    if !wanted(Where::Comment) && !wanted(Where::Check) {
        return Ok(sinks);
    }
    let event = Event::here(told)?;
    let api = Api::of_environment(Forge::Github, told.dry_run)?;
    if wanted(Where::Comment) {
        let (author, link) = (told.author.clone(), link.clone());
        let comment = Comment { api: api.clone(), event: event.clone(), author, link };
        sinks.push(Box::new(comment));
    }
    if wanted(Where::Check) {
        let matrix_file = told.matrix_file.clone().unwrap_or_else(|| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let name: String = said.matrix.chars().filter(|c| plain(*c)).collect();
            format!("matrices/{name}.toml")
        });
        sinks.push(Box::new(Check { api, event, link, matrix_file }));
    }
    Ok(sinks)
}
