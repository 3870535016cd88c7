//! What a run leaves, read: ten thousand cells are a report while somebody waits, so this is compiled for speed, and apart from the rest of the tool,
//! which is not. Pure: files are the tool's matter.
//!
//! - [`boot`]: the record of a boot
//! - [`mod@line`]: a line of `boots.jsonl` as a record, or why it is none
//! - [`check`]: whether a record's numbers can be true
//! - [`observed`]: samples, decoded
//! - [`figures`]: figures of a boot and of a cell from samples
//! - [`results`]: what `results.json` holds

pub mod boot;
pub mod check;
pub mod figures;
pub mod line;
pub mod observed;
pub mod results;
