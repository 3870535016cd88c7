//! `merge`: what it reads, writes and says.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::cli;
use crate::command::Exit;
use crate::fleet::intake::{self, Bounds, Left};
use crate::fleet::merge::merge;
use crate::plan::human;
use crate::record::Run;
use crate::record::store::Store;
use crate::run::progress::{Detail, display};
use crate::run::{self, Reported};
use crate::streams::{print, say};
use crate::verdict::policy;
use crate::wrong::wrong;

/// `merge`. Ends with the report of the whole and prints where it is.
///
/// # Errors
/// A run cannot be read, is no shard of the plan, or is missing; the folder cannot be written.
pub fn merge_shards(told: &cli::Merge, detail: Detail) -> anyhow::Result<Exit> {
    // What is wrong with our own policy is said before anything is read that somebody else wrote.
    let trusted = told.untrusted.then(|| policy::text_in(Path::new("."))).transpose();
    let trusted = trusted.map_err(wrong)?;
    if let Some(text) = &trusted {
        policy::parse(text, "policy").map_err(wrong)?;
    }
    let mut shards = Vec::new();
    let mut left = Left::default();
    for named in &told.runs {
        for folder in intake::folders(named)? {
            let (shipped, warnings) = intake::read(&folder, Bounds::default(), &mut left)?;
            warnings.iter().for_each(|warning| say(format_args!("warning: {warning}")));
            shards.push(shipped);
        }
    }
    let mut merged = merge(shards, told.partial).map_err(wrong)?;
    merged.warnings.iter().for_each(|warning| say(format_args!("warning: {warning}")));
    if let Some(text) = trusted {
        distrust(&mut merged.run, text)?;
    }
    run::as_owner(&told.out, || {
        Store::create(&told.out, &merged.run)?.append_all(&merged.records)?;
        match merged.diagnoses.is_empty() {
            true => Ok(()),
            false => Store::diagnoses(&told.out)?.append_all(&merged.diagnoses),
        }
    })?;
    let Reported { sentence, .. } =
        run::report_into(&told.out, &told.out, display(detail).as_mut())?;
    if detail > Detail::Quiet {
        say(sentence);
    }
    print(format_args!("{}\n", told.out.join(run::PAGE).display()))?;
    Ok(Exit::Fine)
}

/// How old what a stranger measured may be: older than that it claims another day, by which the policy accepts what it accepts no longer.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Takes from a run of a stranger what would have a say in its own verdict: the policy, what its hosts are said to have shown, and the day.
fn distrust(run: &mut Run, policy: String) -> anyhow::Result<()> {
    // Without a base the policy that is found here judges in any case.
    run.policy = run.base.is_some().then_some(policy);
    run.calibration = None;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    for part in &mut run.fleet.parts {
        part.calibration = None;
        if !part.missing && now.abs_diff(Duration::from_secs(part.started_unix)) > OLDEST {
            return Err(wrong(format!(
                "shard {} was not measured in the last {}: a stranger's day is not believed",
                part.shard,
                human(OLDEST)
            )));
        }
    }
    Ok(())
}
