//! Our gate on simulated boots: the design asks, boots are drawn.

use std::fmt;

use evenkeel_stats::gate::design::{Design, Standing, Subject};
use evenkeel_stats::gate::{Hypothesis, Observation};

use super::model::{ASPECTS, Boot, CELLS, Fault, Noise, Seed, Side, WORKLOADS, place};
use crate::verdict::sequential::rules;
use crate::verdict::{Aspect, Policy, policy};
use crate::wrong::wrong;

/// How small a change the gate is asked to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// What the policy asks for that travels with the tool.
    Quick,
    /// Half of that.
    Thorough,
}

/// What the policy says otherwise of a thorough gate: users write the same into theirs.
const THOROUGH: &str = "schema = 1
[screen]
most = 40
cleared = 20
enough = 148
[find]
dispersion = 1.25
stall = 1.25
[find-of-rates]
stall = 1.25
";

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effort::Quick => "quick design",
            Effort::Thorough => "thorough design",
        })
    }
}

/// The aspects, as the model numbers them.
const MODELLED: [Aspect; ASPECTS] =
    [Aspect::Location, Aspect::Dispersion, Aspect::Tail, Aspect::Stall, Aspect::Modes];

/// The policies that runs are judged by.
#[derive(Clone, Debug)]
pub(super) struct Gates([Policy; 2]);

impl Gates {
    /// Reads them.
    ///
    /// # Errors
    /// One is wrong.
    pub(super) fn new() -> anyhow::Result<Gates> {
        let [quick, thorough] =
            [policy::EMBEDDED, THOROUGH].map(|text| policy::parse(text, "policy of the benchmark"));
        Ok(Gates([quick.map_err(wrong)?, thorough.map_err(wrong)?]))
    }

    fn of(&self, effort: Effort) -> &Policy {
        &self.0[usize::from(effort == Effort::Thorough)]
    }

    /// Logarithms of the margins, by aspect: of both the same.
    pub(super) fn margins(&self) -> [f64; ASPECTS] {
        MODELLED.map(|aspect| self.of(Effort::Quick).margin(aspect).ln())
    }

    /// Logarithms of the factors to be found, by aspect: of transactions, and of windows, whose few values tell less.
    fn targets(&self, effort: Effort) -> [[f64; ASPECTS]; WORKLOADS as usize] {
        let policy = self.of(effort);
        [&policy.find, &policy.find_of_rates]
            .map(|find| MODELLED.map(|aspect| find.of(aspect).unwrap_or(f64::INFINITY).ln()))
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ran {
    /// Places of the hypotheses that were flagged.
    pub(super) flagged: Vec<usize>,
    /// Mean boots a side over all cells, fresh ones included.
    pub(super) mean_boots: f64,
}

/// Both sides of a hypothesis.
#[derive(Clone, Debug, Default)]
struct Sides {
    base: Vec<Observation>,
    candidate: Vec<Observation>,
}

/// Runs the gate to its end.
pub(super) fn run(
    seed: Seed,
    noise: &Noise,
    fault: Option<Fault>,
    (gates, effort): (&Gates, Effort),
) -> Ran {
    let (margins, targets) = (gates.margins(), gates.targets(effort));
    let every = || {
        (0..CELLS).flat_map(|cell| {
            (0..WORKLOADS)
                .flat_map(move |workload| (0..ASPECTS).map(move |aspect| (cell, workload, aspect)))
        })
    };
    let subject = |(cell, workload, aspect): (u32, u32, usize)| Subject {
        cell,
        kind: workload * ASPECTS as u32 + aspect as u32,
        target: targets[workload as usize][aspect],
    };
    let mut design =
        Design::new(every().map(subject).collect(), rules(gates.of(effort), seed.number()));
    let mut boots = vec![Sides::default(); every().count()];
    let mut next = 0;
    loop {
        let wants = {
            let hypothesis = |((_, _, aspect), sides)| {
                let Sides { base, candidate }: &Sides = sides;
                Hypothesis { base, candidate, margin: margins[aspect] }
            };
            design.advance(&every().zip(&boots).map(hypothesis).collect::<Vec<_>>())
        };
        let Some(most) = wants.iter().map(|want| want.blocks).max() else { break };
        for want in wants {
            for block in next..next + want.blocks {
                for workload in 0..WORKLOADS {
                    for side in [Side::Base, Side::Candidate] {
                        let boot = Boot::draw(seed, want.cell, workload, side, block, fault);
                        for (aspect, value) in boot.figures(noise).into_iter().enumerate() {
                            let sides = &mut boots[place(want.cell, workload, aspect)];
                            let of = if side == Side::Base {
                                &mut sides.base
                            } else {
                                &mut sides.candidate
                            };
                            of.push(Observation { block, value });
                        }
                    }
                }
            }
        }
        next += most;
    }
    let flagged = design.findings().enumerate().filter(|(_, of)| of.standing == Standing::Flagged);
    Ran { flagged: flagged.map(|(at, _)| at).collect(), mean_boots: design.mean_boots() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_those_of_the_policy() {
        let gates = Gates::new().unwrap();
        let policy = policy::parse(policy::EMBEDDED, "policy (built in)").unwrap();
        let quick = rules(gates.of(Effort::Quick), 1);
        assert_eq!((quick.first, quick.most), (policy.screen.first, policy.screen.most));
        assert_eq!(gates.margins(), MODELLED.map(|aspect| policy.margins.of(aspect).ln()));
        // What a thorough one changes, it says.
        let thorough = gates.targets(Effort::Thorough)[0][1];
        assert!((thorough - 1.25f64.ln()).abs() < 1e-12);
        assert!(gates.targets(Effort::Quick)[0].iter().zip(gates.margins()).all(|(of, m)| *of > m));
        assert_eq!(rules(gates.of(Effort::Thorough), 1).looks, quick.looks);
    }
}
