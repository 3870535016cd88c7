//! Verdicts of parts of a plan, each judged by itself, as those of the whole.

use super::{Aspect, Decision, Gate, Policy, Verdict, Verdicts, sentence};
use crate::matrix::Cell;
use crate::record::results::VerdictRow;

impl Verdicts {
    /// Of a part that left nothing to judge: each of its cells is missing.
    pub fn missing<'a>(
        cells: impl Iterator<Item = &'a Cell>,
        reason: &str,
        policy: &Policy,
    ) -> Verdicts {
        let decision = |cell: &Cell| Decision {
            cell: cell.clone(),
            aspect: Aspect::Outcome,
            verdict: Verdict::Missing,
            harm: None,
            cleared: false,
            row: VerdictRow {
                cell: cell.id(),
                workload: "*".to_owned(),
                aspect: Aspect::Outcome.name().to_owned(),
                figure: None,
                verdict: Verdict::Missing.name().to_owned(),
                ratio: None,
                low: None,
                high: None,
                p: None,
                p_corrected: None,
                detectable_ratio: None,
                boots: [0, 0],
                boots_needed: None,
                gates: true,
                accepted: None,
                reason: reason.to_owned(),
            },
        };
        let decisions: Vec<Decision> = cells.map(decision).collect();
        let (gate, notes) = (Gate::Gates, Vec::new());
        let overall = sentence::overall(&decisions, &gate, &notes);
        Verdicts { decisions, overall, gate, checks: Vec::new(), notes, policy: policy.clone() }
    }

    /// The whole of parts, each with its name; `policy` is that of the whole. Where one of them gates and another may not, what the
    /// other flags informs: a host that drifted must not hide what a steady one found.
    pub fn joined(parts: Vec<(String, Verdicts)>, policy: &Policy) -> Verdicts {
        let flags = |part: &Verdicts| {
            part.gate == Gate::Gates && part.decisions.iter().any(Decision::flags)
        };
        let gates = parts.iter().any(|(_, part)| flags(part));
        let several = parts.len() > 1;
        let (mut decisions, mut checks, mut notes) = (Vec::new(), Vec::new(), Vec::new());
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
                    }
                    notes.push(told);
                } else if part.gate.rank() > worst.rank() {
                    worst = part.gate.with_why(told);
                }
            }
            notes.extend(part.notes.into_iter().map(&of_part));
            checks.extend(part.checks);
            decisions.extend(part.decisions);
        }
        let mut overall = sentence::overall(&decisions, &worst, &notes);
        if several && decisions.is_empty() {
            overall.verdict = Verdict::Inconclusive.name().to_owned();
        }
        Verdicts { decisions, overall, gate: worst, checks, notes, policy: policy.clone() }
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
