//! GitLab: a note on the merge request, and figures as a metrics report.

use std::path::PathBuf;

use crate::cli;
use crate::publish::api::{Api, Forge};
use crate::publish::checked_link;
use crate::streams::say;
use crate::wrong::wrong;

use super::Sink;

mod event;
mod metrics;
mod note;

pub use event::{MergeRequest, fork_on_own_runner};
pub use metrics::Metrics;
pub use note::Note;

/// The sinks that were asked for, as far as the job has them.
///
/// # Errors
/// What the job was told is wrong.
pub fn sinks(told: &cli::PublishGitlab) -> anyhow::Result<Vec<Box<dyn Sink>>> {
    let link = told.report_url.as_deref().map(checked_link).transpose()?;
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if let Some(file) = &told.metrics {
        sinks.push(Box::new(Metrics { file: PathBuf::from(file) }));
    }
    // A pipeline of a branch has nobody to tell.
    let Some(request) = MergeRequest::here(told)? else {
        if sinks.is_empty() {
            return Err(wrong(
                "nothing to tell: no merge request (--merge-request), and no --metrics FILE",
            ));
        }
        return Ok(sinks);
    };
    // Nobody gives a job of GitLab one by itself: a project without it has its other reports.
    if let (Some(why), false) = (Forge::Gitlab.lacks_token(), told.dry_run) {
        say(format_args!("warning: note: {why}"));
        return Ok(sinks);
    }
    let api = Api::of_environment(Forge::Gitlab, told.dry_run)?;
    sinks.push(Box::new(Note { api, request, link }));
    Ok(sinks)
}
