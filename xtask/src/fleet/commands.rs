//! `merge`: what it reads, writes and says.

use std::path::Path;

use crate::cli;
use crate::command::Exit;
use crate::fleet::intake::{self, Bounds};
use crate::fleet::merge::merge;
use crate::record::store::Store;
use crate::run;
use crate::run::progress::{Detail, display};
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
    for named in &told.runs {
        for folder in intake::folders(named)? {
            let (shipped, warnings) = intake::read(&folder, Bounds::default())?;
            warnings.iter().for_each(|warning| say(format_args!("warning: {warning}")));
            shards.push(shipped);
        }
    }
    let mut merged = merge(shards, told.partial).map_err(wrong)?;
    merged.warnings.iter().for_each(|warning| say(format_args!("warning: {warning}")));
    if let (Some(text), true) = (trusted, merged.run.base.is_some()) {
        merged.run.policy = Some(text);
    }
    let mut store = Store::create(&told.out, &merged.run)?;
    store.append_all(&merged.records)?;
    drop(store);
    let sentence = run::report_into(&told.out, &told.out, display(detail).as_mut())?;
    if detail > Detail::Quiet {
        say(sentence);
    }
    print(format_args!("{}\n", told.out.join(run::PAGE).display()))?;
    Ok(Exit::Fine)
}
