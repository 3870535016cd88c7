//! An answer as people read it. Pure.

use std::fmt;

use super::check::{Answer, Finding, Place, Verdict};
use crate::matrix::printable;
use evenkeel_history::time::utc;

/// Letters of a commit that are shown.
const SHORT: usize = 10;

/// Commits of a change that are named.
const NAMED: usize = 5;

/// The answer as a table.
pub(super) struct Table<'a>(pub(super) &'a Answer);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { changes, drifts, sentence, .. } = self.0;
        for change in changes {
            let Finding {
                cell, workload, aspect, figure, what, ratio, p_corrected, between, ..
            } = change;
            writeln!(
                f,
                "{:<9} {}:{}  {} ({}) {what} x{ratio:.3}, p {p_corrected:.1e}",
                word(change.verdict),
                printable(cell),
                printable(workload),
                printable(aspect),
                printable(figure)
            )?;
            let [before, after] = between;
            writeln!(f, "          between {} and {}", place(before), place(after))?;
            if !change.commits.is_empty() {
                let named: Vec<String> =
                    change.commits.iter().take(NAMED).map(|commit| printable(commit)).collect();
                let more = match change.commits.len().saturating_sub(NAMED) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                writeln!(f, "          commits {}{more}", named.join(", "))?;
            }
            if let Some(reason) = &change.reason {
                writeln!(f, "          accepted: {}", printable(reason))?;
            }
        }
        for slide in drifts {
            writeln!(
                f,
                "drifted   {}:{}  {} ({}) x{:.3} from the reference, x{:.3} allowed, p {:.1e}",
                printable(&slide.cell),
                printable(&slide.workload),
                printable(&slide.aspect),
                printable(&slide.figure),
                slide.ratio,
                slide.budget,
                slide.p_corrected
            )?;
        }
        writeln!(f, "{sentence}")
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "regressed",
        Verdict::Accepted => "accepted",
        Verdict::Mended => "mended",
        Verdict::Improved => "improved",
        Verdict::Small => "small",
    }
}

fn place(place: &Place) -> String {
    let commit = match &place.commit {
        Some(commit) => printable(commit).chars().take(SHORT).collect(),
        None => format!("run {}", printable(&place.run)),
    };
    let dirty = if place.dirty { "+changes" } else { "" };
    format!("{commit}{dirty} ({})", utc(place.time))
}
