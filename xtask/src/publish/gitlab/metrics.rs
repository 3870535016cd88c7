//! Figures as a metrics report: GitLab holds those of a merge request beside those of its target.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::publish::Sink;
use crate::publish::said::{Budget, Said};

/// Lines that a page of a merge request can show.
const BUDGET: Budget = Budget { bytes: 500_000 };

/// The file of figures.
#[derive(Debug)]
pub struct Metrics {
    pub(super) file: PathBuf,
}

impl Sink for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    /// A line each: `evenkeel_p99{cell="...",workload="tcp-rr",unit="ns"} 12345`. What does not fit is counted in the last.
    fn shows(&self, said: &Said) -> anyhow::Result<String> {
        let (mut text, mut left) = (String::new(), 0);
        for cell in &said.results.cells {
            for workload in &cell.workloads {
                let figures = serde_json::to_value(workload.figures)?;
                let of = [&*cell.id, &workload.name, &workload.unit].map(in_label);
                let [cell, name, unit] = of;
                for (figure, value) in figures.as_object().into_iter().flatten() {
                    let Some(value) = value.as_f64() else { continue };
                    let labels = format!("cell=\"{cell}\",workload=\"{name}\",unit=\"{unit}\"");
                    let line = format!("evenkeel_{figure}{{{labels}}} {value}\n");
                    match text.len() + line.len() <= BUDGET.bytes {
                        true => text.push_str(&line),
                        false => left += 1,
                    }
                }
            }
        }
        let rest = Value::from(left);
        writeln!(text, "evenkeel_figures_left_out {rest}")?;
        Ok(text)
    }

    fn send(&self, said: &Said) -> anyhow::Result<String> {
        std::fs::write(&self.file, self.shows(said)?)?;
        Ok(format!("written to `{}`", self.file.display()))
    }
}

/// Text as the value of a label: nothing in it ends the value or the line.
fn in_label(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars()
        .map(plain)
        .take(1_000)
        .collect::<String>()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_its_label() {
        assert_eq!(in_label("a\"} 1\nevil{x=\"\\"), "a\\\"} 1\u{fffd}evil{x=\\\"\\\\");
    }
}
