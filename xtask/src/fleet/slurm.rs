//! `plan --format slurm`: a script that submits the shards of a plan as job arrays, and is what each task runs. Pure.
//!
//! The tasks of an array have one constraint, so shards whose kernels need other nodes are an array of their own. The rest of the script is
//! `ci/slurm/array.sh`, where users read it.

use std::fmt::Write as _;

use super::parts::{Part, Wanted, parts};
use crate::cli::Selection;
use crate::matrix::quoted;
use crate::plan::Plan;

const SCRIPT: &str = include_str!("../../../ci/slurm/array.sh");

/// The script.
///
/// # Errors
/// As of [`parts`], or a label that is no name of a feature, or nothing that anybody could measure.
pub fn script(
    plan: &Plan<'_>,
    wanted: &Wanted,
    told: &Selection,
    lab: bool,
) -> Result<String, String> {
    let parts = parts(plan, wanted)?;
    if parts.iter().all(|part| part.cells == 0) {
        return Err("no cell of this plan can be measured: there is nothing to submit".to_owned());
    }
    let shards = parts.first().map_or(0, |part| part.shard.of());
    let mut arrays: Vec<(String, u64, Vec<u32>)> = Vec::new();
    for part in &parts {
        let features = features(part)?;
        let (minutes, index) = (part.minutes(), part.shard.index());
        match arrays.iter_mut().find(|(of, ..)| *of == features) {
            Some((_, most, shards)) => {
                *most = minutes.max(*most);
                shards.push(index);
            }
            None => arrays.push((features, minutes, vec![index])),
        }
    }
    let mut lines = String::new();
    for (features, minutes, shards) in arrays {
        let shards: Vec<String> = shards.iter().map(u32::to_string).collect();
        // A formatter of text in memory cannot fail.
        let end = if lines.is_empty() { "" } else { "\n  " };
        write!(lines, "{end}submit '{features}' {minutes} {}", shards.join(" "))
            .map_err(|error| error.to_string())?;
    }
    Ok(filled(&plan.matrix.name, shards, &words(plan, told, lab)?, &lines))
}

/// The script with what is asked for in it.
pub(crate) fn filled(matrix: &str, shards: u32, words: &str, arrays: &str) -> String {
    SCRIPT
        .replace("{{matrix}}", &in_shell(matrix))
        .replace("{{shards}}", &shards.to_string())
        .replace("{{words}}", words)
        .replace("{{arrays}}", arrays)
}

/// Features that the nodes of a shard must have, as a constraint.
fn features(part: &Part) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let named = |label: &&String| {
        !label.is_empty()
            && label.len() <= 100
            && label.chars().all(plain)
            && !label.starts_with('-')
    };
    match part.labels.iter().find(|label| !named(label)) {
        Some(label) => Err(format!(
            "{} is no feature of a node: letters, digits, `-`, `_` and `.`, at most 100",
            quoted(label)
        )),
        None => Ok(part.labels.join("&")),
    }
}

/// What every task tells `bench`, so that all are shards of this plan.
fn words(plan: &Plan<'_>, told: &Selection, lab: bool) -> Result<String, String> {
    let mut words = vec![told.matrix.clone(), "--seed".to_owned(), plan.options.seed.to_string()];
    if let Some(only) = &told.only {
        words.extend(["--only".to_owned(), only.to_string()]);
    }
    if let Some(boots) = told.boots {
        words.extend(["--boots".to_owned(), boots.to_string()]);
    }
    if told.quick {
        words.push("--quick".to_owned());
    }
    if lab {
        words.push("--lab".to_owned());
    }
    // Words come back from the script line by line.
    if words.iter().any(|word| word.chars().any(char::is_control)) {
        return Err("a name with a line break in it is no word of a script".to_owned());
    }
    Ok(words.iter().map(|word| in_shell(word)).collect::<Vec<_>>().join(" "))
}

/// Text as one word of a shell.
fn in_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::parts::testing::{MATRIX, planned};
    use super::*;
    use crate::record::Status;

    fn told(matrix: &str, runner: &[&str]) -> Result<String, String> {
        let runner: Vec<String> = runner.iter().map(|label| (*label).to_owned()).collect();
        let wanted = Wanted { shards: Some(3), runner, guests: Vec::new(), gate: None };
        let told = Selection {
            matrix: matrix.to_owned(),
            seed: 1,
            only: "netns,!noisy".parse().ok(),
            shard: None,
            boots: Some(2),
            quick: true,
        };
        planned(MATRIX, |plan| script(plan, &wanted, &told, true))
    }

    #[test]
    fn shards_of_one_kind_of_node_are_an_array_and_every_task_means_the_same_plan() {
        let script = told("it's $(id)", &["bench"]).unwrap();
        assert!(!script.contains("{{"), "{script}");
        let own = |line: &&str| {
            ["matrix=", "shards=", "  set -- '", "  submit '"].iter().any(|of| line.starts_with(of))
        };
        let lines: Vec<&str> = script.lines().filter(own).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        matrix='fleet'
        shards=3
          set -- 'it'\''s $(id)' '--seed' '0' '--only' 'netns,!noisy' '--boots' '2' '--quick' '--lab'
          submit 'bench' 60 1 2
          submit 'bench&rt' 60 3
        ");
    }

    #[test]
    fn a_plan_that_nobody_can_measure_is_no_script() {
        let wanted = Wanted { shards: None, runner: Vec::new(), guests: Vec::new(), gate: None };
        let told = Selection {
            matrix: "m".to_owned(),
            seed: 1,
            only: None,
            shard: None,
            boots: None,
            quick: false,
        };
        let made = planned(MATRIX, |plan| {
            let mut plan = plan.clone();
            let never = Arc::new(Status::NotApplicable { reason: "never".to_owned() });
            for planned in &mut plan.cells {
                planned.status = Arc::clone(&never);
            }
            script(&plan, &wanted, &told, false)
        });
        assert!(made.unwrap_err().contains("nothing to submit"));
    }

    #[test]
    fn a_feature_is_no_expression_and_a_name_no_second_line() {
        for evil in ["a&b", "a|b", "[a]", "a*2", "a'b", "-a", ""] {
            assert!(told("m", &[evil]).unwrap_err().contains("is no feature of a node"), "{evil}");
        }
        assert!(told("a\nb", &[]).unwrap_err().contains("line break"));
    }
}
