//! What this host can run, why not the rest, and what would help.
//!
//! A [`NeedName`] is something that kinds of the matrix need; [`survey`] looks at all of them, with a
//! deadline each, and changes nothing. Kinds declare slices of names, and a cell that cannot run takes
//! its reason and remedy from [`Survey::missing`], so that the doctor and a plan never disagree.

use std::fmt::Write as _;

mod engine;
mod kernel;
mod notes;
mod probe;
pub mod provision;
mod tools;

pub use engine::{Engine, start_with as start_engine};
pub use probe::NeedName;
pub use tools::tools;

/// The command that installs what can be installed.
const PROVISION: &str = "cargo xtask doctor --provision";

/// What the survey of one need found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is there; the text says in which form, and may be empty.
    Ok(String),
    /// It is not.
    Missing {
        /// Why, naming the object.
        reason: String,
        /// What would help.
        remedy: String,
    },
}

impl Finding {
    /// Something that is not there, and what would help.
    fn missing(reason: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::Missing { reason: reason.into(), remedy: remedy.into() }
    }
}

/// What the survey asks of other parts of the tool. Each answers within its own deadline.
pub struct Outside<'a> {
    /// Boots a tiny guest with KVM, or remembers the last time: how it went, or why it does not boot.
    pub kvm_boots: &'a dyn Fn() -> Result<String, String>,
    /// Kernels for guests that are cached or can be fetched, or why there are none.
    pub guest_kernels: &'a dyn Fn() -> Result<Vec<String>, String>,
    /// Enters the namespaces of an ordinary user's boot: which they are, or why they cannot be had.
    pub user_namespaces: &'a dyn Fn() -> Result<String, String>,
}

/// What this host can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Every need in the order of [`NeedName::all`].
    pub findings: Vec<(NeedName, Finding)>,
    /// What works and still disturbs measurements.
    pub notes: Vec<String>,
}

/// Looks at everything that a kind may need. Changes nothing.
pub fn survey(outside: &Outside<'_>) -> Survey {
    let host = probe::Host::new(outside);
    let findings = NeedName::all().map(|need| (need, need.probe(&host))).collect();
    Survey { findings, notes: notes::notes(&evenkeel_agent::facts::facts()) }
}

/// Looks at these needs alone. Changes nothing.
pub fn survey_of(needs: &[NeedName], outside: &Outside<'_>) -> Survey {
    let host = probe::Host::new(outside);
    let asked = NeedName::all().filter(|need| needs.contains(need));
    let findings = asked.map(|need| (need, need.probe(&host))).collect();
    Survey { findings, notes: Vec::new() }
}

impl Survey {
    /// What was found about one need.
    pub fn finding(&self, need: NeedName) -> Option<&Finding> {
        self.findings.iter().find(|(name, _)| *name == need).map(|(_, finding)| finding)
    }

    /// The first of these needs that this host does not meet: (reason, remedy). `None` if it meets all.
    pub fn missing(&self, needs: &[NeedName]) -> Option<(String, String)> {
        needs.iter().find_map(|&need| match self.finding(need) {
            Some(Finding::Ok(_)) => None,
            Some(Finding::Missing { reason, remedy }) => Some((reason.clone(), remedy.clone())),
            None => Some((format!("{need} was not looked at"), "cargo xtask doctor".to_owned())),
        })
    }

    /// The survey as a table for people, ending with a line feed; `colour` only where a terminal shows it.
    pub fn table(&self, colour: bool) -> String {
        let width = self.findings.iter().map(|(need, _)| need.id().len()).max().unwrap_or(0);
        let paint = |code: &str, text: &str| match colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        };
        let mut table = String::new();
        let mut line = |text: String| {
            writeln!(table, "{}", text.trim_end()).expect("a string takes all that is written");
        };
        for (need, finding) in &self.findings {
            match finding {
                Finding::Ok(detail) => {
                    line(format!("{}       {:width$}  {detail}", paint("32", "ok"), need.id()));
                }
                Finding::Missing { reason, remedy } => {
                    line(format!("{}  {:width$}  {reason}", paint("31", "missing"), need.id()));
                    line(format!("{:9}{:width$}  -> {remedy}", "", ""));
                }
            }
        }
        for note in &self.notes {
            line(format!("{}     {note}", paint("33", "note")));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn outside() -> Outside<'static> {
        Outside {
            kvm_boots: &|| Err("the guest said nothing for 10 s".to_owned()),
            guest_kernels: &|| Ok(vec!["6.1.0-37-amd64".to_owned()]),
            user_namespaces: &|| Err("failed to mount a fresh /proc".to_owned()),
        }
    }

    fn small() -> Survey {
        Survey {
            findings: vec![
                (NeedName::Root, Finding::Ok(String::new())),
                (NeedName::Ip, Finding::Ok("iproute2-6.1.0".to_owned())),
                (NeedName::DockerEngine, Finding::missing("no engine answers", "start it")),
                (NeedName::Runc, Finding::missing("`runc` is not installed", "install it")),
            ],
            notes: vec!["this is a virtual machine (kvm)".to_owned()],
        }
    }

    #[test]
    fn a_cell_takes_the_first_reason_of_what_it_needs_and_no_other() {
        let survey = small();
        assert_eq!(survey.missing(&[NeedName::Root, NeedName::Ip]), None);
        assert_eq!(
            survey.missing(&[NeedName::Ip, NeedName::Runc, NeedName::DockerEngine]).unwrap().0,
            "`runc` is not installed"
        );
        assert!(survey.missing(&[NeedName::Kvm]).unwrap().0.contains("kvm was not looked at"));
    }

    #[test]
    fn the_table_says_what_is_there_what_is_not_and_what_would_help() {
        insta::assert_snapshot!(small().table(false), @r"
        ok       root
        ok       ip             iproute2-6.1.0
        missing  docker-engine  no engine answers
                                -> start it
        missing  runc           `runc` is not installed
                                -> install it
        note     this is a virtual machine (kvm)
        ");
        assert!(!small().table(false).contains('\x1b'));
        assert!(small().table(true).contains("\x1b[31mmissing\x1b[0m"));
    }

    #[test]
    fn a_survey_of_this_machine_is_complete_and_every_gap_has_a_remedy() {
        let survey = survey(&outside());
        let names: BTreeSet<NeedName> = survey.findings.iter().map(|(need, _)| *need).collect();
        assert_eq!(names, NeedName::all().collect());
        for (need, finding) in &survey.findings {
            if let Finding::Missing { reason, remedy } = finding {
                assert!(!reason.is_empty() && !remedy.is_empty(), "{need}");
                assert!(
                    !reason.ends_with('.') && !remedy.ends_with('.'),
                    "{need}: {reason}; {remedy}"
                );
            }
        }
    }
}
