//! Our gate on simulated boots: the design asks, boots are drawn.

use std::fmt;

use evenkeel_stats::gate::design::{Design, Rules, Standing, Subject};
use evenkeel_stats::gate::{Hypothesis, Observation};

use super::model::{ASPECTS, Boot, CELLS, Fault, Noise, Seed, Side, WORKLOADS, margins, place};

/// How small a change the gate is asked to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Dispersion x1.4.
    Quick,
    /// Dispersion x1.25.
    Thorough,
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effort::Quick => "quick design",
            Effort::Thorough => "thorough design",
        })
    }
}

impl Effort {
    fn rules(self, seed: u64) -> Rules {
        match self {
            Effort::Quick => Rules { seed, ..Rules::default() },
            Effort::Thorough => Rules { seed, most: 40, drop: 3.0, hold: 5.0, ..Rules::default() },
        }
    }

    /// Factors to be found, by aspect: of transactions, and of windows, whose few values tell less.
    fn targets(self) -> [[f64; ASPECTS]; WORKLOADS as usize] {
        match self {
            Effort::Quick => [[1.05, 1.4, 1.5, 1.4, 1.4], [1.05, 1.5, 2.0, 1.4, 1.4]],
            Effort::Thorough => [[1.05, 1.25, 1.5, 1.25, 1.25], [1.05, 1.5, 2.0, 1.25, 1.25]],
        }
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
pub(super) fn run(seed: Seed, noise: &Noise, fault: Option<Fault>, effort: Effort) -> Ran {
    let (margins, targets) = (margins(), effort.targets());
    let every = || {
        (0..CELLS).flat_map(|cell| {
            (0..WORKLOADS)
                .flat_map(move |workload| (0..ASPECTS).map(move |aspect| (cell, workload, aspect)))
        })
    };
    let subject = |(cell, workload, aspect): (u32, u32, usize)| Subject {
        cell,
        kind: workload * ASPECTS as u32 + aspect as u32,
        target: targets[workload as usize][aspect].ln(),
    };
    let mut design = Design::new(every().map(subject).collect(), effort.rules(seed.number()));
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
