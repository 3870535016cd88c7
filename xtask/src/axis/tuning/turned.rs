//! A knob that was turned, and whether what was read back proves it.

use std::collections::BTreeMap;

use evenkeel_agent::machine::same_value;
use evenkeel_agent::step::Step;
use serde::{Deserialize, Serialize};

use super::Probe;
use crate::record::Effect;

/// Why nothing is done for a knob.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Without {
    /// This host cannot.
    Unsupported(String),
    /// The system under test is not of the kind that the knob is for.
    Inapplicable(String),
}

/// A knob that was turned: data for the boot, which acts, probes and judges.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Turned {
    /// The knob.
    pub knob: String,
    /// What the profile asked for.
    pub requested: String,
    /// What is done for it.
    pub applied: String,
    /// Readings, and what each must be.
    pub probes: Vec<(Probe, String)>,
    /// Whether each probe stands for a part of its own (an interrupt, a CPU), so that some may fail and the rest counts.
    #[serde(default)]
    pub each: bool,
    /// Why this machine allows less than what was asked for.
    pub partial: Option<String>,
    /// Why nothing is done.
    #[serde(default)]
    pub without: Option<Without>,
    /// The steps.
    pub steps: Vec<Step>,
}

/// How many differences are told one by one.
const TOLD: usize = 4;

impl Turned {
    /// A knob for which nothing is done yet.
    pub(super) fn new(knob: &str, requested: &str) -> Turned {
        Turned {
            knob: knob.to_owned(),
            requested: requested.to_owned(),
            applied: "nothing".to_owned(),
            probes: Vec::new(),
            each: false,
            partial: None,
            without: None,
            steps: Vec::new(),
        }
    }

    /// What is done for it, or why nothing is.
    pub fn done(&self) -> String {
        match (&self.without, &self.partial) {
            (Some(Without::Unsupported(reason)), _) => format!("unsupported here: {reason}"),
            (Some(Without::Inapplicable(reason)), _) => format!("not applicable: {reason}"),
            (None, Some(reason)) => format!("{}, partial: {reason}", self.applied),
            (None, None) => self.applied.clone(),
        }
    }

    /// Whether both readings (one text a probe each) show what was applied. `refused` has the kernel's words for what it refused to
    /// write, by path.
    pub fn judge(&self, seen: [&[String]; 2], refused: &BTreeMap<String, String>) -> Effect {
        match &self.without {
            Some(Without::Unsupported(reason)) => {
                return Effect::NotEffective { reason: format!("unsupported here: {reason}") };
            }
            Some(Without::Inapplicable(reason)) => {
                return Effect::Inapplicable { reason: reason.clone() };
            }
            None => {}
        }
        let [first, last] = seen.map(|readings| self.differences(readings, refused));
        let few = |told: &[String]| {
            let more = told.len().saturating_sub(TOLD);
            let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
            told[..told.len().min(TOLD)].join("; ") + &rest
        };
        // Nobody changed anything back, and some parts took it.
        if self.each && !first.is_empty() && first == last && first.len() < self.probes.len() {
            let reason = format!("{} of {}: {}", first.len(), self.probes.len(), few(&first));
            return Effect::Partial { reason };
        }
        for (told, when) in [(first, "after placing"), (last, "after the last window")] {
            if !told.is_empty() {
                return Effect::NotEffective { reason: format!("{when} {}", few(&told)) };
            }
        }
        match &self.partial {
            Some(reason) => Effect::Partial { reason: reason.clone() },
            None => Effect::Effective,
        }
    }

    /// What reads differently from what was applied.
    fn differences(&self, readings: &[String], refused: &BTreeMap<String, String>) -> Vec<String> {
        let differs = |((probe, expected), found): (&(Probe, String), &String)| {
            let why = match probe {
                Probe::File(path) | Probe::Number(path) => refused.get(path),
                _ => None,
            };
            let why = why.map_or(String::new(), |why| format!(" ({why})"));
            let told = || format!("{probe} was `{found}`, not `{expected}`{why}");
            (!same_value(expected, found)).then(told)
        };
        self.probes.iter().zip(readings).filter_map(differs).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(each: bool) -> Turned {
        let probe = |path: &str| (Probe::File(path.to_owned()), "1".to_owned());
        Turned { each, probes: vec![probe("/a"), probe("/b")], ..Turned::new("k", "on") }
    }

    fn judged(each: bool, seen: [[&str; 2]; 2]) -> String {
        let [first, last] = seen.map(|readings| readings.map(str::to_owned));
        let refused = BTreeMap::from([("/b".to_owned(), "EPERM".to_owned())]);
        match turned(each).judge([&first, &last], &refused) {
            Effect::Effective => "effective".to_owned(),
            Effect::Partial { reason } => format!("partial: {reason}"),
            Effect::NotEffective { reason } => format!("not: {reason}"),
            Effect::Inapplicable { reason } => format!("inapplicable: {reason}"),
        }
    }

    #[test]
    fn parts_that_were_refused_are_partial_and_what_was_turned_back_is_not_effective() {
        assert_eq!(judged(true, [["1", "1"], ["1", "1"]]), "effective");
        let refused = [["1", "0"], ["1", "0"]];
        assert_eq!(judged(true, refused), "partial: 1 of 2: /b was `0`, not `1` (EPERM)");
        assert_eq!(judged(false, refused), "not: after placing /b was `0`, not `1` (EPERM)");
        let back = [["1", "1"], ["0", "1"]];
        assert_eq!(judged(true, back), "not: after the last window /a was `0`, not `1`");
        let both = [["1", "0"], ["0", "0"]];
        assert_eq!(judged(true, both), "not: after placing /b was `0`, not `1` (EPERM)");
    }
}
