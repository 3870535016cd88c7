//! The report of a run, from its records alone.

use std::path::Path;

use anyhow::Context as _;

use super::event::{Event, Watcher};
use super::handover::Owner;
use super::verdicts;
use crate::record::results::Results;
use crate::record::{Record, Run, any_measured, store};
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

/// Writes the report of a run from its records alone into a folder: `results.json`, the page, `summary.md` and `junit.xml`. Where root asks for it, the run
/// is read as the user whose folder it is, and the files are written as the one whose folder they go to.
///
/// # Errors
/// The run cannot be read, or the files cannot be written.
pub fn report_into(dir: &Path, out: &Path, watcher: &mut dyn Watcher) -> anyhow::Result<Reported> {
    report_as((dir, Owner::of_kept(dir)?), (out, Owner::of_kept(out)?), watcher)
}

/// The same in the run's own folder, whose owner is known.
pub(super) fn report_on(
    dir: &Path,
    owner: Owner,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<Reported> {
    report_as((dir, owner), (dir, owner), watcher)
}

fn report_as(
    (dir, reader): (&Path, Owner),
    (out, writer): (&Path, Owner),
    watcher: &mut dyn Watcher,
) -> anyhow::Result<Reported> {
    let (run, records, warnings) = reader.acting(|| store::read(dir))?;
    warnings.iter().for_each(|warning| watcher.see(&Event::Note(warning.clone())));
    let mut results = crate::record::figures::results(&run, &records)?;
    if let Some(verdicts) = verdicts::of_run(&run, &records)? {
        let diagnoses = reader.acting(|| store::read_diagnoses(dir))?;
        results.diagnoses = verdict::diagnosis::all(&verdicts, &records, &diagnoses);
        verdicts.into_results(&mut results);
    }
    writer.acting(|| write(out, (&run, &records, &results, &warnings)))?;
    Ok(Reported { sentence: results.overall.sentence, measured: any_measured(&records) })
}

fn write(
    out: &Path,
    (run, records, results, warnings): (&Run, &[Record], &Results, &[String]),
) -> anyhow::Result<()> {
    let folder = out.join("report");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("failed to make folder {}", folder.display()))?;
    // Files are written by this thread, which acts as their owner, and never by one of a pool.
    let (rendered, written) = std::thread::scope(|scope| {
        let rendered =
            scope.spawn(|| report::render(run, records, results, warnings, report::Place::Run));
        let written = store::write_results(out, results);
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
    Ok(())
}
