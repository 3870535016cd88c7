//! `plan --format gitlab`: a child pipeline with a job for each shard. Pure.
//!
//! What all jobs do is `ci/gitlab/child.yml`, where users read it; here are the jobs' names, tags and shards alone, quoted as JSON, which is YAML.

use std::fmt::Write as _;

use super::parts::{Wanted, parts};
use crate::matrix::quoted;
use crate::plan::Plan;

const PIPELINE: &str = include_str!("../../../ci/gitlab/child.yml");

/// The pipeline.
///
/// # Errors
/// As of [`parts`], or a label that is no tag.
pub fn pipeline(plan: &Plan<'_>, wanted: &Wanted) -> Result<String, String> {
    let mut text = PIPELINE.to_owned();
    for part in parts(plan, wanted)? {
        if let Some(label) = part.labels.iter().find(|label| !is_tag(label)) {
            return Err(format!(
                "{} is no tag of a runner: letters, digits, `-`, `_`, `.` and `:`, at most 100",
                quoted(label)
            ));
        }
        let tags = serde_json::to_string(&part.labels).map_err(|why| why.to_string())?;
        let (shard, minutes) = (part.shard, part.minutes());
        write!(
            text,
            "\n\"bench {shard}\":\n  extends: .evenkeel-bench\n  tags: {tags}\n  timeout: {minutes} minutes\n  variables:\n    EVENKEEL_SHARD: \"{shard}\"\n"
        )
        .map_err(|why| why.to_string())?;
    }
    Ok(text)
}

/// Nothing that a pipeline would take for a variable.
fn is_tag(label: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    !label.is_empty() && label.len() <= 100 && label.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::super::parts::testing::{MATRIX, planned};
    use super::*;

    fn told(runner: &str) -> Result<String, String> {
        let runner = vec![runner.to_owned()];
        let wanted = Wanted { shards: None, runner, guests: Vec::new(), gate: None };
        planned(MATRIX, |plan| pipeline(plan, &wanted))
    }

    #[test]
    fn each_shard_is_a_job_for_runners_that_its_kernels_need() {
        let text = told("evenkeel").unwrap();
        let jobs = text.strip_prefix(PIPELINE).unwrap();
        insta::assert_snapshot!(jobs.trim(), @r#"
        "bench 1/2":
          extends: .evenkeel-bench
          tags: ["evenkeel"]
          timeout: 60 minutes
          variables:
            EVENKEEL_SHARD: "1/2"

        "bench 2/2":
          extends: .evenkeel-bench
          tags: ["evenkeel","rt"]
          timeout: 60 minutes
          variables:
            EVENKEEL_SHARD: "2/2"
        "#);
        for evil in ["$(id)", "a\nb", "\"", "$CI_JOB_TOKEN", ""] {
            assert!(told(evil).unwrap_err().contains("is no tag of a runner"), "{evil}");
        }
    }
}
