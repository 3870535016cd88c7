//! A cell's data inside the page: whoever has the one file has the numbers, too, wherever the page was copied to.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::json;

use super::super::source::{Source, of_workload};
use crate::record::export::hgrm;
use crate::record::figures::per_boot;
use crate::record::results::CellResult;
use crate::record::{Outcome, Record};

/// A file inside the page.
#[derive(Debug, Serialize)]
pub(super) struct Download {
    /// What to save it as: letters, digits, dots and dashes.
    file: String,
    /// What it holds.
    label: String,
    /// `data:`, in letters of base64 alone.
    href: String,
}

impl Download {
    fn new(cell: &str, ending: &str, label: &str, kind: &str, text: &str) -> Download {
        Download {
            file: plain(&format!("{cell}{ending}")),
            label: label.to_owned(),
            href: format!("data:{kind};base64,{}", BASE64.encode(text)),
        }
    }
}

/// A name that is nothing but a name: in a file system, in an attribute, and in a spreadsheet, where a leading `=` or `-` would make it a formula.
fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._".contains(c) { c } else { '-' };
    let text: String = text.chars().map(plain).take(160).collect();
    text.trim_start_matches(['-', '.']).to_owned()
}

/// The files of a cell: what `results.json` has of it, figures boot by boot, and percentiles of each of its latencies where it is shown in full.
pub(super) fn of(
    source: &Source<'_>,
    cell: &CellResult,
    all: bool,
) -> anyhow::Result<Vec<Download>> {
    let contrasts = source.results.contrasts.iter();
    let contrasts: Vec<_> = if all {
        contrasts.filter(|row| [&row.from_cell, &row.to_cell].contains(&&cell.id)).collect()
    } else {
        Vec::new()
    };
    let whole =
        json!({ "cell": cell, "contrasts": contrasts, "verdicts": source.verdicts(&cell.id) });
    let mut files = vec![
        Download::new(
            &cell.id,
            ".json",
            "figures and verdicts, JSON",
            "application/json",
            &whole.to_string(),
        ),
        Download::new(
            &cell.id,
            ".csv",
            "figures of each boot, CSV",
            "text/csv",
            &boots(source.boots(&cell.id)),
        ),
    ];
    if !all {
        return Ok(files);
    }
    for workload in &cell.workloads {
        let Some(text) = hgrm::of_boots(&source.samples(&cell.id, &workload.name))? else {
            continue;
        };
        let ending = format!(".{}.hgrm", workload.name);
        let label = format!("percentiles of {}, .hgrm", workload.name);
        files.push(Download::new(&cell.id, &ending, &label, "text/plain", &text));
    }
    Ok(files)
}

/// A row for each workload of each boot that was measured, in the unit of the workload.
fn boots(records: &[&Record]) -> String {
    let mut text = String::from(
        "side,block,position,boot,started_unix,workload,unit,count,median,mean,sd,mad,iqr,jitter,min,max,stall_share\n",
    );
    for record in records.iter().filter(|record| record.outcome == Outcome::Measured) {
        let Record { side, block, position, boot, started_unix, .. } = record;
        for measured in &record.workloads {
            for samples in of_workload(record, &measured.workload) {
                let Ok(of) = per_boot(samples) else { continue };
                let [side, workload] = [side, &measured.workload].map(|text| plain(text));
                let unit = samples.unit.symbol();
                let (count, mean) = (of.count, of.mean);
                write!(
                    text,
                    "{side},{block},{position},{boot},{started_unix},{workload},{unit},{count}"
                )
                .expect("a string takes all that is written");
                for value in [
                    of.median,
                    Some(mean),
                    of.sd,
                    of.mad,
                    of.iqr,
                    of.jitter,
                    Some(samples.min),
                    Some(samples.max),
                    of.stall_share,
                ] {
                    let value = value.map(|value| value.to_string()).unwrap_or_default();
                    write!(text, ",{value}").expect("a string takes all that is written");
                }
                text.push('\n');
            }
        }
    }
    text
}
