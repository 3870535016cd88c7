//! What the job is about, as GitLab tells its runner: the project, the merge request, the commit. Never what an artifact says.

use crate::cli;
use crate::publish::repository;
use crate::wrong::wrong;

/// What is told, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRequest {
    /// Number of the project that is told.
    pub project: u64,
    /// Its number in the project.
    pub number: u64,
    /// The commit that was measured.
    pub sha: String,
}

impl MergeRequest {
    /// Of the job that this is, or of what the command line says instead; none where there is no merge request.
    ///
    /// # Errors
    /// It is not told of which project or commit, or that is none.
    pub fn here(told: &cli::PublishGitlab) -> anyhow::Result<Option<MergeRequest>> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let number = |name: &str| {
            let text = variable(name).map(|text| text.parse::<u64>());
            text.transpose().map_err(|_| wrong(format!("{name} is no number")))
        };
        let request = match told.merge_request {
            Some(number) => Some(number),
            None => number("CI_MERGE_REQUEST_IID")?,
        };
        let Some(request) = request else { return Ok(None) };
        let project = match told.project {
            Some(project) => Some(project),
            None => number("CI_MERGE_REQUEST_PROJECT_ID")?.or(number("CI_PROJECT_ID")?),
        };
        // Of a pipeline for merged results the job's own commit is one that nobody pushed.
        let sha = told.sha.clone().or_else(|| variable("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"));
        let sha = sha.or_else(|| variable("CI_COMMIT_SHA")).or_else(repository::commit);
        let missing = |what: &str, option: &str| {
            wrong(format!("which {what} is told? give it with {option}; in a job GitLab says it"))
        };
        let found = MergeRequest {
            project: project.ok_or_else(|| missing("project", "--project"))?,
            number: request,
            sha: sha.ok_or_else(|| missing("commit", "--sha"))?,
        };
        match repository::is_sha(&found.sha) {
            true => Ok(Some(found)),
            false => Err(wrong("--sha is a commit of 40 hexadecimal digits")),
        }
    }
}

/// Whether this is a job for a merge request of another project: code of a stranger, about to change a host. Its pipeline has a guard before it takes
/// a runner; this is the second one. Answers why it is refused.
pub fn fork_on_own_runner() -> Option<String> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    refused(variable("GITLAB_CI") == "true" && variable("EVENKEEL_FORKS") != "allow", &variable)
}

fn refused(guarded: bool, variable: &dyn Fn(&str) -> String) -> Option<String> {
    let source = variable("CI_MERGE_REQUEST_SOURCE_PROJECT_ID");
    let own = source == variable("CI_MERGE_REQUEST_PROJECT_ID");
    (guarded && !own).then(|| {
        "a merge request of another project is not measured on a runner of yours: its code would run with the rights of this host \
         (ci/gitlab/README.md)"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_requests_of_other_projects_are_refused() {
        let with = |source: &'static str, own: &'static str| {
            move |name: &str| match name {
                "CI_MERGE_REQUEST_SOURCE_PROJECT_ID" => source.to_owned(),
                "CI_MERGE_REQUEST_PROJECT_ID" => own.to_owned(),
                _ => String::new(),
            }
        };
        assert!(refused(true, &with("7", "7")).is_none());
        assert!(refused(true, &with("", "")).is_none(), "a branch");
        assert!(refused(true, &with("8", "7")).is_some());
        assert!(refused(true, &with("", "7")).is_some(), "a fork that was deleted");
        assert!(refused(false, &with("8", "7")).is_none(), "allowed");
    }
}
