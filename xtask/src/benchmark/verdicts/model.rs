//! The boots that are simulated.
//!
//! Inside a boot: values of mean M and coefficient of variation 2 %, AR(1) with 0.5, Student's t with 4 degrees of freedom at unit
//! standard deviation, e. Between boots: M varies by 3 %, the scale S lognormal by 16 %, tail figures by 25 % in all, a scale of the
//! tail of its own included. A boot gives 38,000 transactions, or 50 windows. What a fifth aspect, modes, varies by the models do not say; it is
//! 15 % here.
//!
//! Figures of a boot are not worked out from 38,000 values each time: M and S come out of them exactly (`ln MAD(M (1 + 0.02 S e)) = ln M + ln 0.02 +
//! ln S + ln MAD(e)`), so that what is left, figures of e, is simulated value by value once, a few hundred times, and then drawn
//! from. A test holds both beside each other.

use evenkeel_stats::quantile::{mad, median, quantile, sorted};

/// Transactions of a boot: one second of 38,000.
const TRANSACTIONS: usize = 38_000;

/// Windows of a boot.
const WINDOWS: usize = 50;

/// Boots whose figures of e are simulated, of transactions and of windows.
const SIMULATED: [usize; 2] = [300, 4_000];

/// Coefficients of variation: within a boot, of boot means; and standard deviations of logarithms: of scales, of tail figures, of modes.
pub(super) const WITHIN: f64 = 0.02;
const MEANS: f64 = 0.03;
const SCALES: f64 = 0.16;
const TAILS: f64 = 0.25;
const MODES: f64 = 0.15;

/// The share of time in stalls that is not told from none.
const STALL_FLOOR: f64 = 1e-4;

/// The share of a second that a stall of 50 ms takes.
const STALL: f64 = 0.05;

/// Where the tail's own scale begins to act, in standard deviations.
const TAIL_FROM: f64 = 1.0;

pub(super) const CELLS: u32 = 50;
pub(super) const WORKLOADS: u32 = 2;
/// Location, dispersion, tail, stall, modes.
pub(super) const ASPECTS: usize = 5;

/// What is wrong with the candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// The spread inside a boot, times this.
    Dispersion(f64),
    /// The distance of p99 from the median, times this.
    Tail(f64),
    /// Everything, times this.
    Location(f64),
    /// A stall of 50 ms in each second.
    Stall,
    /// Every figure of every cell, by this: its margin, a logarithm.
    Margin([f64; ASPECTS]),
}

/// A fault of the candidate, in one workload of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) cell: u32,
    pub(super) workload: u32,
    pub(super) change: Change,
}

impl Fault {
    /// The hypothesis that it makes false.
    pub(super) fn place(&self) -> usize {
        let aspect = match self.change {
            Change::Location(_) | Change::Margin(_) => 0,
            Change::Dispersion(_) => 1,
            Change::Tail(_) => 2,
            Change::Stall => 3,
        };
        place(self.cell, self.workload, aspect)
    }

    /// Whether it changes what this hypothesis is about: all of that workload of its cell.
    pub(super) fn touches(&self, other: usize) -> bool {
        other / ASPECTS == self.place() / ASPECTS
    }
}

/// The place of a hypothesis among all.
pub(super) fn place(cell: u32, workload: u32, aspect: usize) -> usize {
    (cell * WORKLOADS + workload) as usize * ASPECTS + aspect
}

/// What one simulated run draws from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed(u64);

impl Seed {
    /// Of a run of a row.
    pub(super) fn new(row: u64, run: u64) -> Seed {
        Seed(mix(mix(row) ^ run))
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// Random numbers of one boot: the same whoever asks.
    fn boot(self, cell: u32, workload: u32, side: Side, block: u32) -> fastrand::Rng {
        let place = u64::from(cell) << 40 | u64::from(workload) << 36 | (side as u64) << 32;
        fastrand::Rng::with_seed(mix(self.0 ^ mix(place | u64::from(block))))
    }
}

/// splitmix64's finish: neighbours become unlike.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Base,
    Candidate,
}

/// Figures of e.
#[derive(Clone, Copy, Debug)]
struct Figures {
    median: f64,
    log_mad: f64,
    log_tail: f64,
}

impl Figures {
    /// The tail is that beyond p99, or, in too few values, p90.
    fn of(values: &[f64]) -> Figures {
        let ascending = sorted(values);
        let q = if values.len() > 1_000 { 0.99 } else { 0.9 };
        let at = |q: f64| quantile(&ascending, q).unwrap_or(f64::NAN);
        Figures {
            median: median(values).unwrap_or(f64::NAN),
            log_mad: mad(values).unwrap_or(f64::NAN).ln(),
            log_tail: (at(q) - at(0.5)).ln(),
        }
    }
}

/// Figures of e, simulated value by value, of transactions and of windows.
pub(super) struct Noise([Vec<Figures>; 2]);

impl Noise {
    pub(super) fn new() -> Noise {
        let mut random = fastrand::Rng::with_seed(1);
        let mut simulated = |boots: usize, values: usize| {
            (0..boots).map(|_| Figures::of(&series(&mut random, values))).collect()
        };
        let [transactions, windows] = SIMULATED;
        Noise([simulated(transactions, TRANSACTIONS), simulated(windows, WINDOWS)])
    }

    /// How far p99 of e lies from its median.
    fn tail(&self) -> f64 {
        let all = &self.0[0];
        (all.iter().map(|of| of.log_tail).sum::<f64>() / all.len() as f64).exp()
    }
}

/// AR(1) of Student's t, at unit standard deviation.
fn series(random: &mut fastrand::Rng, values: usize) -> Vec<f64> {
    autoregressive(random, values, student)
}

/// AR(1) of what is drawn at unit standard deviation, which it keeps.
pub(super) fn autoregressive(
    random: &mut fastrand::Rng,
    values: usize,
    draw: impl Fn(&mut fastrand::Rng) -> f64,
) -> Vec<f64> {
    const CARRIED: f64 = 0.5;
    let fresh = (1.0 - CARRIED * CARRIED).sqrt();
    let mut last = draw(random);
    let mut next = || {
        last = CARRIED * last + fresh * draw(random);
        last
    };
    // What it begins with is forgotten after a few values.
    (0..20).for_each(|_| {
        next();
    });
    (0..values).map(|_| next()).collect()
}

/// Student's t with 4 degrees of freedom, at unit standard deviation.
pub(super) fn student(random: &mut fastrand::Rng) -> f64 {
    let chi = -2.0 * ((1.0 - random.f64()) * (1.0 - random.f64())).ln();
    // Its variance is 2, and chi's mean 4.
    normal(random) / (chi / 4.0).sqrt() / 2f64.sqrt()
}

/// A normal deviate (Box & Muller 1958).
pub(super) fn normal(random: &mut fastrand::Rng) -> f64 {
    let (u, v) = (1.0 - random.f64(), random.f64());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// One boot of one workload: what varies between boots.
pub(super) struct Boot {
    random: fastrand::Rng,
    workload: u32,
    change: Option<Change>,
    mean: f64,
    scale: f64,
    tail: f64,
}

impl Boot {
    pub(super) fn draw(
        seed: Seed,
        cell: u32,
        workload: u32,
        side: Side,
        block: u32,
        fault: Option<Fault>,
    ) -> Boot {
        let mut random = seed.boot(cell, workload, side, block);
        let hit = |fault: &Fault| {
            let here = fault.cell == cell && fault.workload == workload;
            side == Side::Candidate && (here || matches!(fault.change, Change::Margin(_)))
        };
        let change = fault.filter(hit).map(|fault| fault.change);
        let mut mean = (MEANS * normal(&mut random)).exp();
        let mut scale = (SCALES * normal(&mut random)).exp();
        let mut tail = ((TAILS * TAILS - SCALES * SCALES).sqrt() * normal(&mut random)).exp();
        match change {
            Some(Change::Location(times)) => mean *= times,
            Some(Change::Dispersion(times)) => scale *= times,
            Some(Change::Tail(times)) => tail *= times,
            _ => {}
        }
        Boot { random, workload, change, mean, scale, tail }
    }

    /// Logarithms of the figures, by aspect; larger is worse.
    pub(super) fn figures(mut self, noise: &Noise) -> [f64; ASPECTS] {
        let all = &noise.0[self.workload.min(1) as usize];
        let of = all[self.random.usize(..all.len())];
        let spread = self.mean.ln() + WITHIN.ln() + self.scale.ln();
        let mut figures = [
            self.mean.ln() + (WITHIN * self.scale * of.median).ln_1p(),
            spread + of.log_mad,
            spread + self.tail.ln() + of.log_tail,
            (self.stalled() + STALL_FLOOR).ln(),
            MODES * normal(&mut self.random),
        ];
        if let Some(Change::Margin(margins)) = self.change {
            figures.iter_mut().zip(margins).for_each(|(figure, margin)| *figure += margin);
        }
        figures
    }

    /// Share of the second inside stalls. One that lasts beyond its end is never recorded.
    fn stalled(&mut self) -> f64 {
        let whole = self.random.f64() > STALL;
        if self.change == Some(Change::Stall) && whole { STALL } else { 0.0 }
    }

    /// So many values, as a gate that pools samples sees them. A stall hits one of 38,000.
    pub(super) fn values(mut self, noise: &Noise, count: usize) -> Vec<f64> {
        // The tail's own scale acts from here on, so that p99 comes out as it should.
        let tail = noise.tail();
        let stretch = ((tail * self.tail - TAIL_FROM) / (tail - TAIL_FROM)).max(0.05);
        let stretched =
            |e: f64| if e > TAIL_FROM { TAIL_FROM + (e - TAIL_FROM) * stretch } else { e };
        let values = series(&mut self.random, count);
        let value = |e: f64| self.mean * (1.0 + WITHIN * self.scale * stretched(e));
        values.into_iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_stats::moments::Moments;

    #[test]
    fn figures_drawn_are_those_of_boots_simulated_value_by_value() {
        let noise = Noise([120, 2_000].map(|boots| {
            let mut random = fastrand::Rng::with_seed(9);
            let values = if boots == 120 { TRANSACTIONS } else { WINDOWS };
            (0..boots).map(|_| Figures::of(&series(&mut random, values))).collect()
        }));
        for (workload, boots, values) in [(0, 80, TRANSACTIONS), (1, 400, WINDOWS)] {
            let draw = |block| Boot::draw(Seed::new(7, 7), 1, workload, Side::Base, block, None);
            let drawn: Vec<[f64; ASPECTS]> =
                (0..boots).map(|block| draw(block).figures(&noise)).collect();
            // The very same boots: M, S and the tail's scale are equal, e is another. The tail of few windows lies where the tail's own
            // scale does not act.
            for (aspect, slack) in [(0, 0.004), (1, 0.03), (2, 0.05)] {
                let apart = (0..boots).map(|block| {
                    let figures = Figures::of(&draw(block).values(&noise, values));
                    let simulated = [figures.median.ln(), figures.log_mad, figures.log_tail];
                    drawn[block as usize][aspect] - simulated[aspect]
                });
                let apart = Moments::of(&apart.collect::<Vec<_>>());
                let (mean, sd) = (apart.mean, apart.sd().unwrap());
                if workload == 0 {
                    assert!(mean.abs() < slack && sd < 2.0 * slack, "aspect {aspect}: {mean} {sd}");
                } else if aspect < 2 {
                    assert!(
                        mean.abs() < 4.0 * sd / f64::from(boots).sqrt() + 0.002,
                        "aspect {aspect}: {mean} {sd}"
                    );
                }
            }
        }
    }

    #[test]
    fn within_a_boot_values_are_as_the_models_say() {
        let mut random = fastrand::Rng::with_seed(3);
        let values = series(&mut random, 100_000);
        let of = Moments::of(&values);
        assert!((of.sd().unwrap() - 1.0).abs() < 0.05, "{of:?}");
        let lagged: f64 = values.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / of.m2;
        assert!((lagged - 0.5).abs() < 0.03, "{lagged}");
    }

    #[test]
    fn a_fault_moves_its_own_figure_by_its_size() {
        let noise = Noise([
            vec![Figures { median: 0.0, log_mad: 0.0, log_tail: 0.9 }],
            vec![Figures { median: 0.0, log_mad: 0.0, log_tail: 0.9 }],
        ]);
        let fault = |change| Fault { cell: 4, workload: 0, change };
        let figures =
            |side, fault| Boot::draw(Seed::new(1, 1), 4, 0, side, 2, Some(fault)).figures(&noise);
        for (change, aspect, size) in [
            (Change::Dispersion(1.5), 1, 1.5f64),
            (Change::Tail(1.5), 2, 1.5),
            (Change::Location(1.05), 0, 1.05),
        ] {
            let unchanged =
                Boot::draw(Seed::new(1, 1), 4, 0, Side::Candidate, 2, None).figures(&noise);
            let moved = figures(Side::Candidate, fault(change))[aspect] - unchanged[aspect];
            assert!((moved - size.ln()).abs() < 1e-9, "{change:?} {moved}");
            assert_eq!(
                figures(Side::Base, fault(change)),
                figures(Side::Base, fault(Change::Stall))
            );
        }
        assert!(figures(Side::Candidate, fault(Change::Stall))[3] > -3.1);
        assert_eq!(fault(Change::Tail(1.5)).place(), place(4, 0, 2));
    }
}
