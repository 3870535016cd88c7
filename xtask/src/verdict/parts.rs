//! Verdicts of parts of a plan, each judged by itself, as those of the whole.

use std::collections::BTreeSet;

use super::{Decision, Gate, Policy, Untold, Verdict, Verdicts};
use crate::matrix::Cell;

impl Verdicts {
    /// Of a part that left nothing to judge: each of its cells is missing.
    pub fn missing<'a>(
        cells: impl Iterator<Item = &'a Cell>,
        reason: &str,
        policy: &Policy,
    ) -> Verdicts {
        let decision = |cell: &Cell| Decision::outcome(cell, "*", Verdict::Missing, [0, 0], reason);
        let decisions: Vec<Decision> = cells.map(decision).collect();
        let (gate, notes) = (Gate::Gates, Vec::new());
        let (could_flag, checks, incomplete) = (false, Vec::new(), Vec::new());
        let failing = BTreeSet::new();
        Untold { decisions, gate, could_flag, checks, notes, failing, incomplete }.told(policy)
    }

    /// The whole of parts, each with its name; `policy` is that of the whole. Where one of them gates and another may not, what the
    /// other flags informs: a host that drifted must not hide what a steady one found.
    pub fn joined(parts: Vec<(String, Verdicts)>, policy: &Policy) -> Verdicts {
        let flags = |part: &Verdicts| {
            part.gate == Gate::Gates && part.decisions.iter().any(Decision::flags)
        };
        let gates = parts.iter().any(|(_, part)| flags(part));
        let several = parts.len() > 1;
        let could_flag = parts.iter().any(|(_, part)| part.could_flag);
        let (mut decisions, mut checks) = (Vec::new(), Vec::new());
        let (mut notes, mut incomplete, mut failing) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut worst = Gate::Gates;
        for (name, mut part) in parts {
            let of_part = |text: String| match several {
                true => format!("{name}: {text}"),
                false => text,
            };
            if part.gate != Gate::Gates {
                let told = of_part(part.gate.why().unwrap_or_default().to_owned());
                if gates {
                    for decision in part.decisions.iter_mut().filter(|decision| decision.flags()) {
                        decision.row.gates = false;
                        decision.row.reason.push_str("; informs: ");
                        decision.row.reason.push_str(&told);
                        decision.notes.push(format!("informs: {told}"));
                    }
                    notes.push(told);
                } else if part.gate.rank() > worst.rank() {
                    worst = part.gate.with_why(told);
                }
            }
            notes.extend(part.notes.into_iter().map(&of_part));
            incomplete.extend(part.incomplete.into_iter().map(&of_part));
            failing.extend(part.failing);
            checks.extend(part.checks);
            decisions.extend(part.decisions);
        }
        let is_empty = several && decisions.is_empty();
        let gate = worst;
        let whole = Untold { decisions, gate, could_flag, checks, notes, failing, incomplete };
        let mut whole = whole.told(policy);
        if is_empty {
            whole.overall.verdict = Verdict::Inconclusive.name().to_owned();
        }
        whole
    }
}

impl Gate {
    /// Why it does not gate.
    fn why(&self) -> Option<&str> {
        match self {
            Gate::Gates => None,
            Gate::Informs { why } | Gate::Void { why } | Gate::Uncalibrated { why } => Some(why),
        }
    }

    fn with_why(self, why: String) -> Gate {
        match self {
            Gate::Gates => Gate::Gates,
            Gate::Informs { .. } => Gate::Informs { why },
            Gate::Void { .. } => Gate::Void { why },
            Gate::Uncalibrated { .. } => Gate::Uncalibrated { why },
        }
    }

    /// How much speaks against it.
    fn rank(&self) -> u8 {
        match self {
            Gate::Gates => 0,
            Gate::Uncalibrated { .. } => 1,
            Gate::Informs { .. } => 2,
            Gate::Void { .. } => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::cell;
    use crate::verdict::{Aspect, End, policy};

    fn part(system: &str, verdict: Verdict, gate: Gate) -> Verdicts {
        let policy = policy::parse(policy::EMBEDDED, "policy").unwrap();
        let mut part = Verdicts::missing([&cell(system, "stock")].into_iter(), "gone", &policy);
        part.gate = gate;
        for decision in &mut part.decisions {
            decision.verdict = verdict;
            decision.row.verdict = verdict.name().to_owned();
            decision.row.figure = Some("sd_within".to_owned());
            decision.aspect = Aspect::Dispersion;
        }
        part
    }

    fn joined(parts: [(&str, Verdicts); 2]) -> Verdicts {
        let policy = parts[0].1.policy.clone();
        Verdicts::joined(parts.map(|(name, part)| (name.to_owned(), part)).into(), &policy)
    }

    fn void() -> Gate {
        Gate::Void { why: "it drifted".into() }
    }

    #[test]
    fn what_a_steady_host_found_stands_and_what_a_drifting_one_found_informs() {
        let steady = part("netns", Verdict::Regressed, Gate::Gates);
        let drifting = part("docker", Verdict::Regressed, void());
        let whole = joined([("shard 1/2", steady), ("shard 2/2", drifting)]);
        assert_eq!((whole.end(false), &whole.gate), (End::Regressed, &Gate::Gates));
        let flags: Vec<bool> = whole.decisions.iter().map(Decision::flags).collect();
        assert_eq!(flags, [true, false]);
        assert_eq!(whole.notes, ["shard 2/2: it drifted"]);
        assert_eq!(whole.overall.verdict, "regressed");
    }

    #[test]
    fn a_flag_of_a_drifting_host_alone_is_neither_a_regression_nor_nothing() {
        let steady = part("netns", Verdict::Equivalent, Gate::Gates);
        let drifting = part("docker", Verdict::Regressed, void());
        let whole = joined([("shard 1/2", steady), ("shard 2/2", drifting)]);
        assert_eq!(whole.end(false), End::Inconclusive);
        assert_eq!(whole.gate, Gate::Void { why: "shard 2/2: it drifted".into() });
    }

    #[test]
    fn a_part_that_is_missing_is_open_and_never_fine() {
        let steady = part("netns", Verdict::Equivalent, Gate::Gates);
        let gone = part("docker", Verdict::Missing, Gate::Gates);
        let whole = joined([("shard 1/2", steady), ("shard 2/2", gone)]);
        assert_eq!((whole.end(false), whole.end(true)), (End::Fine, End::Inconclusive));
    }

    #[test]
    fn parts_share_the_error_rates_of_the_whole() {
        let policy = policy::parse(policy::EMBEDDED, "policy").unwrap();
        let shared = policy.clone().shared_among(4);
        assert_eq!(shared.errors.family, policy.errors.family / 4.0);
        assert_eq!(shared.errors.failures, policy.errors.failures / 4.0);
        assert_eq!(shared.errors.screen, policy.errors.screen);
    }
}
