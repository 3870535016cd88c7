//! The design: its words, its error rate and its power.

use super::super::Observation;
use super::super::tests::normal;
use super::*;

/// Boots of all hypotheses.
struct Lab {
    subjects: Vec<Subject>,
    base: Vec<Vec<Observation>>,
    candidate: Vec<Vec<Observation>>,
    margin: f64,
    next: u32,
}

impl Lab {
    /// Cells with so many kinds each.
    fn new(cells: u32, kinds: u32) -> Lab {
        let target = 1.4f64.ln();
        let all =
            (0..cells).flat_map(|cell| (0..kinds).map(move |kind| Subject { cell, kind, target }));
        let subjects: Vec<Subject> = all.collect();
        let none = vec![Vec::new(); subjects.len()];
        Lab { base: none.clone(), candidate: none, subjects, margin: 1.1f64.ln(), next: 0 }
    }

    /// Asks the design again and again, with boots as it wants them.
    fn run(&mut self, rules: Rules, mut boot: impl FnMut(usize) -> [f64; 2]) -> Design {
        self.run_with(rules, |at, _| boot(at), |_, _| false)
    }

    /// The same, with boots by block, where a hypothesis rests while this says so of the boots so far.
    fn run_with(
        &mut self,
        rules: Rules,
        mut boot: impl FnMut(usize, u32) -> [f64; 2],
        rests: impl Fn(usize, &[Observation]) -> bool,
    ) -> Design {
        let mut design = Design::new(self.subjects.clone(), rules);
        for _ in 0..1_000 {
            for at in 0..self.subjects.len() {
                match !self.candidate[at].is_empty() && rests(at, &self.candidate[at]) {
                    true => design.rest(at),
                    false => design.wake(at),
                }
            }
            let wants = design.advance(&self.family());
            if wants.is_empty() {
                return design;
            }
            let most = wants.iter().map(|want| want.blocks).max().unwrap_or(0);
            for block in 0..most {
                for want in wants.iter().filter(|want| want.blocks > block) {
                    for at in 0..self.subjects.len() {
                        if self.subjects[at].cell == want.cell {
                            let [base, candidate] = boot(at, self.next);
                            let of = |value| Observation { block: self.next, value };
                            self.base[at].push(of(base));
                            self.candidate[at].push(of(candidate));
                        }
                    }
                }
                self.next += 1;
            }
        }
        panic!("the design never ends");
    }

    fn family(&self) -> Vec<Hypothesis<'_>> {
        let both = self.base.iter().zip(&self.candidate);
        both.map(|(base, candidate)| Hypothesis { base, candidate, margin: self.margin }).collect()
    }
}

fn flagged(design: &Design) -> Vec<usize> {
    let all = design.findings().enumerate();
    all.filter(|(_, of)| of.standing == Standing::Flagged).map(|(at, _)| at).collect()
}

#[test]
fn a_fault_is_found_in_its_cell_and_nowhere_else_at_little_cost() {
    let mut random = fastrand::Rng::with_seed(1);
    let fault = 1.5f64.ln();
    let (mut found, mut cost) = (0, 0.0);
    for _ in 0..40 {
        let mut lab = Lab::new(50, 4);
        let design = lab.run(Rules::default(), |at| {
            let shift = if at == 13 { fault } else { 0.0 };
            [0.16 * normal(&mut random), shift + 0.16 * normal(&mut random)]
        });
        let flags = flagged(&design);
        assert!(flags.iter().all(|at| *at == 13), "{flags:?}");
        found += flags.len();
        cost += design.mean_boots() / 40.0;
        assert!(
            design
                .findings()
                .all(|of| !matches!(of.standing, Standing::Screened | Standing::Suspect))
        );
    }
    assert!(found >= 39, "{found} of 40");
    assert!(cost < 12.0, "{cost}");
}

#[test]
fn runs_at_the_border_are_flagged_as_seldom_as_asked() {
    // Every hypothesis is worse by exactly its margin, the boots skewed, at an error rate that a simulation can see: 30 of 150 expected at most.
    let mut random = fastrand::Rng::with_seed(2);
    let margin = 1.1f64.ln();
    let skewed =
        |random: &mut fastrand::Rng| -0.12 * (random.f64() * random.f64()).max(1e-300).ln();
    let runs = (0..150).filter(|&seed| {
        let rules = Rules { alpha: 0.2, permutations: 2_000, seed, ..Rules::default() };
        let mut lab = Lab::new(6, 3);
        let design = lab.run(rules, |_| [skewed(&mut random), margin + skewed(&mut random)]);
        !flagged(&design).is_empty()
    });
    // 4 standard deviations are 20.
    let runs = runs.count();
    assert!(runs < 50, "{runs} of 150");
}

#[test]
fn boots_without_spread_are_judged_too() {
    // Stalls: nothing in the base, the same in every boot of the candidate of one cell.
    let mut lab = Lab::new(5, 1);
    let design = lab.run(Rules::default(), |at| [-9.2, if at == 2 { -3.0 } else { -9.2 }]);
    assert_eq!(flagged(&design), [2]);
    let of = design.findings().nth(2).unwrap();
    assert_eq!((of.fresh, of.p), (16, 0.5f64.powi(16)));
    assert_eq!(design.mean_boots(), (4.0 * 6.0 + 22.0) / 5.0);
}

/// Whether nothing has happened so far: stalls have a floor.
fn quiet(at: usize, boots: &[Observation]) -> bool {
    at % 2 == 1 && boots.iter().all(|boot| boot.value <= -9.0)
}

#[test]
fn what_comes_up_while_the_screen_lasts_is_screened_and_confirmed() {
    let mut random = fastrand::Rng::with_seed(6);
    let mut lab = Lab::new(6, 2);
    // The first cell's other hypothesis takes the screen to its end; its stalls begin in block 8.
    let late = |at: usize, block: u32| match at {
        1 if block >= 8 => [-9.2, -3.0],
        at if at % 2 == 1 => [-9.2, -9.2],
        at => {
            let wild = if at == 0 { 0.9 } else { 0.1 };
            [wild * normal(&mut random), wild * normal(&mut random)]
        }
    };
    let design = lab.run_with(Rules::default(), late, quiet);
    assert_eq!(flagged(&design), [1]);
    let standing: Vec<Standing> = design.findings().map(|of| of.standing).collect();
    assert_eq!(standing[3], Standing::Resting, "{standing:?}");
}

#[test]
fn what_comes_up_among_fresh_boots_is_tested_by_all_of_them() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut lab = Lab::new(6, 2);
    // The first cell is confirmed for its other hypothesis; stalls begin in block 20, when some of its boots are fresh.
    let late = |at: usize, block: u32| match at {
        1 if block >= 20 => [-9.2, -3.0],
        at if at % 2 == 1 => [-9.2, -9.2],
        0 => [0.1 * normal(&mut random), 0.35 + 0.1 * normal(&mut random)],
        _ => [0.1 * normal(&mut random), 0.1 * normal(&mut random)],
    };
    let design = lab.run_with(Rules::default(), late, quiet);
    let screened = design.screened().unwrap();
    assert!(screened < 19, "{screened}");
    let of: Vec<Finding> = design.findings().collect();
    assert_eq!(flagged(&design), [0, 1], "{of:?}");
    // Its looks began with the first fresh boots, in which nothing had happened yet.
    assert!(of[1].fresh >= 16, "{of:?}");
    assert!(of[3].standing == Standing::Resting && of[3].fresh == 0, "{of:?}");
}

#[test]
fn what_comes_up_late_is_flagged_as_seldom_as_asked() {
    // Stalls are as likely on both sides, and seldom enough to come up whenever they like: 30 of 150 flagged expected at most.
    let mut random = fastrand::Rng::with_seed(8);
    let margin = 1.1f64.ln();
    let runs = (0..150).filter(|&seed| {
        let rules = Rules { alpha: 0.2, permutations: 2_000, seed, ..Rules::default() };
        let mut lab = Lab::new(3, 2);
        let stall = |random: &mut fastrand::Rng| match random.f64() < 0.08 {
            true => -3.0 + random.f64(),
            false => -9.2,
        };
        let boot = |at: usize, _| match at % 2 {
            0 => [0.2 * normal(&mut random), margin + 0.2 * normal(&mut random)],
            _ => [stall(&mut random), stall(&mut random)],
        };
        !flagged(&lab.run_with(rules, boot, quiet)).is_empty()
    });
    let runs = runs.count();
    assert!(runs < 50, "{runs} of 150");
}

#[test]
fn a_cell_that_gives_no_boots_is_missing_and_holds_nobody_up() {
    let mut lab = Lab::new(2, 1);
    let mut design = Design::new(lab.subjects.clone(), Rules::default());
    let wants = design.advance(&lab.family());
    assert_eq!(wants, [0, 1].map(|cell| Want { cell, blocks: 6 }));
    for block in 0..6 {
        let jitter = f64::from(block) * 0.01;
        lab.base[0].push(Observation { block, value: jitter });
        lab.candidate[0].push(Observation { block, value: 0.02 - jitter });
    }
    let wants = design.advance(&lab.family());
    assert_eq!(wants, [Want { cell: 1, blocks: 6 }]);
    design.give_up(1);
    assert_eq!(design.advance(&lab.family()), []);
    let standing: Vec<Standing> = design.findings().map(|of| of.standing).collect();
    assert_eq!(standing, [Standing::Cleared, Standing::Missing]);
}

#[test]
fn figures_that_are_missing_in_some_boots_end_too() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut lab = Lab::new(3, 2);
    let design = lab.run(Rules::default(), |at| {
        let value = if at == 3 { f64::NAN } else { 0.1 * normal(&mut random) };
        let shift = if at == 2 { 0.5 } else { 0.0 };
        [value, shift + 0.1 * normal(&mut random)]
    });
    assert_eq!(flagged(&design), [2]);
    assert_eq!(design.findings().nth(3).unwrap().standing, Standing::Missing);
}

#[test]
fn weights_share_the_error_rate() {
    // All weights alike: statsmodels.stats.multitest.multipletests([0.01, 0.04, 0.03, 0.005, 0.6], method="holm")[1]
    let alike = [0.01, 0.04, 0.03, 0.005, 0.6].map(|p| (p, 1.0));
    for (found, expected) in weighted_holm(&alike).into_iter().zip([0.04, 0.09, 0.09, 0.025, 0.6]) {
        assert!((found - expected).abs() < 1e-12, "{found}");
    }
    // By hand: 0.02 * 4 / 3 first, then 0.02 * 1 / 1, not below the first.
    assert_eq!(weighted_holm(&[(0.02, 3.0), (0.02, 1.0)]), [0.02 * 4.0 / 3.0; 2]);
    assert!(weighted_holm(&[]).is_empty());
}

#[test]
fn odds_are_those_of_normal_and_of_students_law() {
    // np.sum(scipy.stats.norm.logpdf(d, .3, .2) - scipy.stats.norm.logpdf(d, 0, .2)) for d of 8 with mean .25
    let known = Seen { mean: 0.25, error: 0.2 / 8f64.sqrt(), freedom: f64::INFINITY };
    assert!((known.odds(0.3) - 8.0 * 0.3 * (0.25 - 0.15) / 0.04).abs() < 1e-9);
    let own = Seen { freedom: 7.0, ..known };
    assert!(own.odds(0.3) > 0.0 && own.odds(0.3) < known.odds(0.3));
    assert!(own.odds(0.6) < 0.0);
    // scipy.stats.t.sf((.25 - .1) / (.2 / np.sqrt(8)), 7)
    assert!((own.p_above(0.1) - 0.03579090016896483).abs() < 1e-9, "{}", own.p_above(0.1));
}
