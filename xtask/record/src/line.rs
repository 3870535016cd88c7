//! A line of `boots.jsonl`. It may come from another machine, or from a boot that was killed while it was written.

use std::io::BufRead as _;

use anyhow::anyhow;
use evenkeel_plan::plan::SCHEMA;
use serde::Deserialize;

use crate::boot::Record;
use crate::check::check;

/// All that is believed of a line before its version is known.
#[derive(Deserialize)]
struct Header {
    schema: u32,
}

/// Why a line is no record.
#[derive(Debug)]
pub enum Unreadable {
    /// It is of this other version.
    Version(u32),
    /// It is damaged, or its numbers cannot be true.
    Corrupt(anyhow::Error),
}

/// Lines of a text, each with its end.
pub fn split(mut text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = text;
    // A slice is always readable.
    while let Ok(length @ 1..) = rest.skip_until(b'\n') {
        let (line, behind) = text.split_at(length);
        lines.push(line);
        text = behind;
    }
    lines
}

/// The record of a line.
///
/// # Errors
/// It is none that this tool can believe.
pub fn record(line: &[u8]) -> Result<Record, Unreadable> {
    let read = serde_json::from_slice::<Record>(line);
    if read.as_ref().map_or(true, |record| record.schema != SCHEMA) {
        let header: Header = serde_json::from_slice(line).map_err(corrupt)?;
        if header.schema != SCHEMA {
            return Err(Unreadable::Version(header.schema));
        }
    }
    let record = read.map_err(corrupt)?;
    check(&record).map_err(Unreadable::Corrupt)?;
    Ok(record)
}

fn corrupt(error: serde_json::Error) -> Unreadable {
    // The line that the error names is always the first of this one.
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&place).unwrap_or(&text);
    Unreadable::Corrupt(anyhow!("not a record: {what} (column {})", error.column()))
}
