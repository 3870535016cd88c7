//! What of a fault was found: in which share of runs, as which aspect, in which cells. A host's power, for its own figures and policy. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::fault::{EVIDENCE, Injection};
use super::judged::Judged;
use super::rate::percent;
use crate::matrix::printable;
use crate::record::{CANDIDATE, Effect, Evidence, Record};
use crate::report::ratio;
use crate::verdict::{Aspect, Decision};

/// The aspects of a fault's table: those that are judged, and whether anything was measured at all.
const ASPECTS: [Aspect; 6] = [
    Aspect::Location,
    Aspect::Dispersion,
    Aspect::Tail,
    Aspect::Stall,
    Aspect::Modes,
    Aspect::Outcome,
];

/// What became of one fault.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub(super) struct Power {
    fault: Injection,
    about: String,
    /// The aspect that it is a fault of.
    meant: Option<&'static str>,
    /// Runs that count, and those that were void.
    runs: u32,
    void: u32,
    /// Runs in which it was flagged where it was: as what it is, and as anything.
    found_as_meant: u32,
    found: u32,
    /// Runs in which something was flagged where it was not.
    elsewhere: u32,
    /// What was flagged there: cell, workload and aspect.
    flagged_elsewhere: Vec<String>,
    /// Boots of the candidate with it, and those in which it was effective.
    boots: u32,
    effective: u32,
    /// Why it was not, or not wholly.
    reasons: Vec<String>,
    /// Where it was.
    rows: Vec<Row>,
}

/// One workload of a cell that has the fault.
#[derive(Serialize, Clone, Debug, PartialEq)]
struct Row {
    cell: String,
    workload: String,
    aspects: Vec<Seen>,
}

/// An aspect over all runs.
#[derive(Serialize, Clone, Debug, PartialEq)]
struct Seen {
    aspect: &'static str,
    flagged: u32,
    /// candidate / base of every run that has one.
    ratios: Vec<f64>,
}

impl Power {
    /// Of a fault that nothing was measured of yet.
    pub(super) fn new(fault: Injection) -> Power {
        Power {
            about: fault.fault.about(),
            meant: fault.fault.meant().map(Aspect::name),
            fault,
            runs: 0,
            void: 0,
            found_as_meant: 0,
            found: 0,
            elsewhere: 0,
            flagged_elsewhere: Vec::new(),
            boots: 0,
            effective: 0,
            reasons: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a run. Of one that was void nothing counts but that and its evidence.
    pub(super) fn add(&mut self, judged: &Judged) {
        self.prove(&judged.records);
        let counts = judged.counts();
        self.runs += counts.runs;
        self.void += counts.void;
        if counts.runs == 0 {
            return;
        }
        let meant = self.fault.fault.meant();
        let is_here = |decision: &&Decision| self.fault.cells.contains(&decision.row.cell);
        let (here, there): (Vec<&Decision>, Vec<&Decision>) = judged.flags().partition(is_here);
        self.found += u32::from(!here.is_empty());
        let as_meant = here.iter().any(|decision| Some(decision.aspect) == meant);
        self.found_as_meant += u32::from(as_meant);
        self.elsewhere += u32::from(!there.is_empty());
        let told = there.iter().map(|decision| {
            let row = &decision.row;
            format!("{} {} {}", row.cell, row.workload, row.aspect)
        });
        self.flagged_elsewhere.extend(told);
        let decisions = judged.verdicts.decisions.iter();
        for decision in decisions.filter(|decision| self.fault.cells.contains(&decision.row.cell)) {
            let (cell, workload) = (&decision.row.cell, &decision.row.workload);
            let is_it = |row: &Row| row.cell == *cell && row.workload == *workload;
            let at = self.rows.iter().position(is_it).unwrap_or_else(|| {
                self.rows.push(Row::new(cell, workload));
                self.rows.len() - 1
            });
            let seen = self.rows[at].aspects.iter_mut();
            for seen in seen.filter(|seen| seen.aspect == decision.aspect.name()) {
                seen.flagged += u32::from(decision.flags());
                seen.ratios.extend(decision.row.ratio);
            }
        }
    }

    /// Counts in which boots the fault was effective.
    fn prove(&mut self, records: &[Record]) {
        let candidates = records.iter().filter(|record| record.side == CANDIDATE);
        for evidence in candidates.flat_map(|record| &record.evidence) {
            let Evidence::Knob { knob, effect, .. } = evidence else { continue };
            if knob != EVIDENCE {
                continue;
            }
            self.boots += 1;
            match effect {
                Effect::Effective => self.effective += 1,
                Effect::Partial { reason }
                | Effect::Inapplicable { reason }
                | Effect::NotEffective { reason } => {
                    if !self.reasons.contains(reason) && self.reasons.len() < MOST_REASONS {
                        self.reasons.push(reason.clone());
                    }
                }
            }
        }
    }
}

/// So many reasons of an effect that was not there are kept.
const MOST_REASONS: usize = 3;

impl Row {
    fn new(cell: &str, workload: &str) -> Row {
        let seen = |aspect: Aspect| Seen { aspect: aspect.name(), flagged: 0, ratios: Vec::new() };
        Row {
            cell: cell.to_owned(),
            workload: workload.to_owned(),
            aspects: ASPECTS.map(seen).to_vec(),
        }
    }
}

impl Seen {
    /// `3/4 ×1.62`: in how many runs it was flagged, and the middle one of their ratios.
    fn told(&self, runs: u32) -> String {
        let mut ratios = self.ratios.clone();
        ratios.sort_unstable_by(f64::total_cmp);
        let middle =
            ratios.get(ratios.len() / 2).map_or(String::new(), |of| format!(" {}", ratio(*of)));
        format!("{}/{runs}{middle}", self.flagged)
    }
}

fn told(runs: u32) -> String {
    format!("{runs} {}", if runs == 1 { "run" } else { "runs" })
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Power { runs, found, found_as_meant, .. } = self;
        write!(f, "{}: {}; ", self.fault.fault, self.about)?;
        match (runs, self.meant) {
            (0, _) => write!(f, "no run counts")?,
            (_, Some(meant)) => {
                write!(f, "found as {meant} in {found_as_meant} of {}", told(*runs))?
            }
            (_, None) => write!(f, "found in {found} of {}", told(*runs))?,
        }
        if self.void > 0 {
            write!(f, ", {} more void", self.void)?;
        }
        let share = f64::from(self.effective) / f64::from(self.boots.max(1));
        write!(f, "; effective as asked in {} of its boots", percent(share))?;
        if !self.reasons.is_empty() {
            write!(f, ", else: {}", printable(&self.reasons.join("; ")))?;
        }
        writeln!(f)?;
        let head = ["cell", "workload"].map(str::to_owned).into_iter();
        // What never fails needs no column that says so.
        let outcome = Aspect::Outcome.name();
        let mut seen = self.rows.iter().flat_map(|row| &row.aspects);
        let fails = seen.any(|seen| seen.aspect == outcome && seen.flagged > 0);
        let told_of = |aspect: Aspect| aspect != Aspect::Outcome || fails;
        let aspects: Vec<Aspect> = ASPECTS.into_iter().filter(|aspect| told_of(*aspect)).collect();
        let head =
            head.chain(aspects.iter().map(|aspect| match self.meant == Some(aspect.name()) {
                true => format!("{}*", aspect.name()),
                false => aspect.name().to_owned(),
            }));
        let mut table: Vec<Vec<String>> = vec![head.collect()];
        table.extend(self.rows.iter().map(|row| {
            let names = [printable(&row.cell), printable(&row.workload)].into_iter();
            let shown = |seen: &&Seen| aspects.iter().any(|aspect| aspect.name() == seen.aspect);
            names.chain(row.aspects.iter().filter(shown).map(|seen| seen.told(*runs))).collect()
        }));
        let widths: Vec<usize> = (0..table[0].len())
            .map(|at| table.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
            .collect();
        for row in &table {
            let padded = row.iter().zip(&widths).map(|(word, width)| format!("{word:width$}"));
            writeln!(f, "  {}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        write!(f, "  elsewhere something was flagged in {} of {}", self.elsewhere, told(*runs))?;
        let mut counted: BTreeMap<&str, u32> = BTreeMap::new();
        self.flagged_elsewhere.iter().for_each(|what| *counted.entry(what).or_default() += 1);
        for (what, count) in counted {
            write!(f, "\n    {count} x {}", printable(what))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_with_what_of_it_was_found_and_where() {
        let cell = "running/docker/bridge/stock/idle".to_owned();
        let fault = Injection { fault: "tail=50us/64".parse().unwrap(), cells: vec![cell.clone()] };
        let mut row = Row::new(&cell, "tcp-rr");
        row.aspects[0].ratios = vec![1.01, 0.99, 1.0];
        row.aspects[2] = Seen { flagged: 2, ratios: vec![1.5, 2.5, 2.0], ..row.aspects[2].clone() };
        let mut power = Power {
            runs: 3,
            void: 1,
            found_as_meant: 2,
            found: 2,
            elsewhere: 1,
            flagged_elsewhere: vec!["running/netns/bridge/stock/idle tcp-rr stall".to_owned()],
            boots: 28,
            effective: 21,
            reasons: vec!["no reply was late".to_owned()],
            rows: vec![row],
            ..Power::new(fault)
        };
        insta::assert_snapshot!(power, @"
        tail=50us/64: one of 64 replies 50us later; found as tail in 2 of 3 runs, 1 more void; effective as asked in 75 % of its boots, else: no reply was late
          cell                              workload  location   dispersion  tail*      stall  modes
          running/docker/bridge/stock/idle  tcp-rr    0/3 ×1.00  0/3         2/3 ×2.00  0/3    0/3
          elsewhere something was flagged in 1 of 3 runs
            1 x running/netns/bridge/stock/idle tcp-rr stall
        ");
        // One that fails altogether has a column for it, and one that was never judged has no rates.
        power.rows[0].aspects[5].flagged = 3;
        assert!(power.to_string().contains("outcome"));
        power.runs = 0;
        assert!(power.to_string().contains("no run counts, 1 more void"));
    }
}
