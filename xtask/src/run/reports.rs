//! The report of a run, from its records alone.

use std::path::Path;

use anyhow::Context as _;

use super::event::{Event, Watcher};
use super::verdicts;
use crate::record::{any_measured, store};
use crate::{report, verdict};

/// The page of a run, in its directory.
pub const PAGE: &str = "report/index.html";

/// A report that was written.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The whole in a sentence.
    pub sentence: String,
    /// Whether anything was measured that it tells of.
    pub measured: bool,
}

/// Writes the report of a run from its records alone: `results.json`, the page, `summary.md` and `junit.xml`.
///
/// # Errors
/// The run cannot be read, or the files cannot be written.
pub fn report_on(dir: &Path, watcher: &mut dyn Watcher) -> anyhow::Result<Reported> {
    report_into(dir, dir, watcher)
}

/// Like [`report_on`], with the files written into another directory.
///
/// # Errors
/// As [`report_on`].
pub fn report_into(dir: &Path, out: &Path, watcher: &mut dyn Watcher) -> anyhow::Result<Reported> {
    let (run, records, warnings) = store::read(dir)?;
    warnings.iter().for_each(|warning| watcher.see(&Event::Note(warning.clone())));
    let mut results = crate::record::figures::results(&run, &records)?;
    if let Some(verdicts) = verdicts::of_run(&run, &records)? {
        results.diagnoses =
            verdict::diagnosis::all(&verdicts, &records, &store::read_diagnoses(dir)?);
        verdicts.into_results(&mut results);
    }
    let folder = out.join("report");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("failed to make folder {}", folder.display()))?;
    // Files are written by this thread, which may do so as their owner, and never by one of a pool.
    let (rendered, written) = std::thread::scope(|scope| {
        let rendered =
            scope.spawn(|| report::render(&run, &records, &results, &warnings, report::Place::Run));
        let written = store::write_results(out, &results);
        (rendered.join(), written)
    });
    let rendered = rendered.map_err(|_| anyhow::anyhow!("rendering the report panicked"))??;
    written?;
    let files = [
        (PAGE, &rendered.html),
        ("summary.md", &rendered.markdown),
        ("junit.xml", &rendered.junit),
    ];
    for (name, text) in files {
        let path = out.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(Reported { sentence: results.overall.sentence, measured: any_measured(&records) })
}
