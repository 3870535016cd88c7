//! What this run measured, in the shape in which the thesis is told: runs of a cell, each a fresh start, their means, what is
//! inside of them, and what changed from one cell to another. Numbers, not text.

use std::collections::BTreeMap;

use evenkeel_agent::samples::{Samples, Unit};
use evenkeel_stats::interval::{self, Interval, NoInterval};
use evenkeel_stats::moments::Moments;

use super::super::overview::five_numbers;
use crate::record::figures::{per_boot, unit_value};
use crate::record::results::Figures;
use crate::report::format::Quantity;

/// With fewer runs a side a change is a look, not a finding.
pub(super) const FEW_RUNS: usize = 5;

/// A figure that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// The median inside runs.
    Median,
    /// The standard deviation of the means of runs: the thesis's.
    SdOfRuns,
    /// The standard deviation inside runs.
    SdWithin,
    /// Median absolute deviation inside runs.
    Mad,
    /// Interquartile range inside runs.
    Iqr,
}

impl Figure {
    pub(super) const ALL: [Figure; 5] =
        [Figure::Median, Figure::SdOfRuns, Figure::SdWithin, Figure::Mad, Figure::Iqr];

    pub(super) fn name(self) -> &'static str {
        match self {
            Figure::Median => "median",
            Figure::SdOfRuns => "SD of run means",
            Figure::SdWithin => "SD within runs",
            Figure::Mad => "MAD within runs",
            Figure::Iqr => "IQR within runs",
        }
    }
}

/// A run's samples with the boot of the kernel that it ran under.
pub(super) type Start<'a> = (&'a str, &'a Samples);

/// What one observation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    /// A run: where everything that changed was set anew for each.
    Run,
    /// A boot of a kernel, however many runs it carried: where the kernel changed.
    KernelBoot,
}

impl Each {
    fn names(self) -> &'static str {
        match self {
            Each::Run => "runs",
            Each::KernelBoot => "boots of the kernels",
        }
    }
}

/// One run: what a workload did in one fresh start.
#[derive(Clone, Debug)]
struct OneRun {
    kernel_boot: String,
    mean: f64,
    median: Option<f64>,
    sd: Option<f64>,
    mad: Option<f64>,
    iqr: Option<f64>,
}

/// All runs of a workload of a cell.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    pub(super) quantity: Quantity,
    /// Whether each run told its rate alone, of which its mean round trip follows and nothing else.
    of_rates: bool,
    runs: Vec<OneRun>,
}

impl Runs {
    /// Runs out of the samples of a cell's boots. Those that cannot be read are left out, as everywhere; nothing where none is left.
    pub(super) fn of(starts: &[Start<'_>]) -> Option<Runs> {
        let unit = starts.first()?.1.unit;
        let quantity = match unit {
            // A loop that asks again when it is answered: its mean round trip is the inverse of its rate, and the thesis tells that.
            Unit::TransactionsPerSecond | Unit::Nanoseconds => Quantity::Time,
            Unit::BytesPerSecond => Quantity::Rate,
        };
        let alike = starts.iter().filter(|(_, samples)| samples.unit == unit);
        let runs = alike.filter_map(|(boot, samples)| match unit {
            Unit::TransactionsPerSecond => OneRun::of_rate(boot, samples.moments.mean),
            Unit::Nanoseconds | Unit::BytesPerSecond => OneRun::of(boot, samples),
        });
        let runs: Vec<OneRun> = runs.collect();
        let of_rates = unit == Unit::TransactionsPerSecond;
        (!runs.is_empty()).then_some(Runs { quantity, of_rates, runs })
    }

    /// What a figure is called here: of a rate there is no median inside a run.
    pub(super) fn label(&self, figure: Figure) -> &'static str {
        match figure {
            Figure::Median if self.of_rates => "mean round trip of runs (1 / rate)",
            _ => figure.name(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.runs.len()
    }

    /// Minimum, quartiles and maximum of the means of runs.
    pub(super) fn five(&self) -> Option<[f64; 5]> {
        five_numbers(self.means())
    }

    fn means(&self) -> Vec<f64> {
        self.runs.iter().map(|run| run.mean).collect()
    }

    /// The figure of the cell, where the pooled figures of `results.json` have it or the means of runs tell it.
    pub(super) fn value(&self, figure: Figure, pooled: &Figures) -> Option<f64> {
        // Where a tool tells one number a run, there is nothing inside it.
        let inside = self.runs.iter().any(|run| run.sd.is_some());
        match figure {
            Figure::SdOfRuns => Moments::of(&self.means()).sd(),
            Figure::Median if inside => pooled.median,
            Figure::Median => self.five().map(|[_, _, median, _, _]| median),
            Figure::SdWithin => pooled.sd_within.filter(|_| inside),
            Figure::Mad => pooled.mad.filter(|_| inside),
            Figure::Iqr => pooled.iqr.filter(|_| inside),
        }
    }

    /// The figure of each observation that has it.
    fn each(&self, figure: Figure, each: Each) -> Vec<f64> {
        let of = |run: &OneRun| match figure {
            Figure::SdOfRuns => Some(run.mean),
            Figure::Median => Some(run.median.unwrap_or(run.mean)),
            Figure::SdWithin => run.sd,
            Figure::Mad => run.mad,
            Figure::Iqr => run.iqr,
        };
        if each == Each::Run {
            return self.runs.iter().filter_map(of).collect();
        }
        let mut units = BTreeMap::<&str, Vec<f64>>::new();
        for run in &self.runs {
            if let Some(value) = of(run) {
                units.entry(&run.kernel_boot).or_default().push(value);
            }
        }
        units.values().map(|starts| unit_value(starts)).collect()
    }
}

impl OneRun {
    fn of(kernel_boot: &str, samples: &Samples) -> Option<OneRun> {
        let found = per_boot(samples).ok()?;
        let sd = found.sd;
        // Of a single number there is no spread.
        let spread = |value: Option<f64>| value.filter(|_| sd.is_some());
        Some(OneRun {
            kernel_boot: kernel_boot.to_owned(),
            mean: found.mean,
            median: found.median,
            sd,
            mad: spread(found.mad),
            iqr: spread(found.iqr),
        })
    }

    fn of_rate(kernel_boot: &str, per_second: f64) -> Option<OneRun> {
        let mean = 1e9 / per_second;
        let real = mean.is_finite() && mean > 0.0;
        let kernel_boot = kernel_boot.to_owned();
        real.then_some(OneRun { kernel_boot, mean, median: None, sd: None, mad: None, iqr: None })
    }
}

/// What became of a figure from one cell to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// to / from.
    pub(super) ratio: f64,
    /// Its 95 % interval.
    pub(super) ends: Option<[f64; 2]>,
    /// Why it decides nothing, where that is so.
    pub(super) inconclusive: Option<String>,
}

/// The change of a figure; nothing where a side does not have it.
pub(super) fn change(
    figure: Figure,
    from: &Runs,
    to: &Runs,
    each: Each,
    seed: u64,
) -> Option<Change> {
    let (a, b) = (from.each(figure, each), to.each(figure, each));
    let (found, alone) = match figure {
        Figure::SdOfRuns => {
            let sd = |values: &[f64]| Moments::of(values).sd().filter(|sd| *sd > 0.0);
            let alone = sd(&b).zip(sd(&a)).map(|(to, from)| to / from);
            (interval::ratio_of_sds(&a, &b), alone)
        }
        Figure::Median | Figure::SdWithin | Figure::Mad | Figure::Iqr => {
            (interval::ratio(&a, &b, seed), interval::ratio_of_geometric_means(&a, &b))
        }
    };
    let few = a.len().min(b.len()) < FEW_RUNS;
    let counts = format!("{} and {} {}", a.len(), b.len(), each.names());
    let few = few.then(|| counts.clone());
    match found {
        Ok(Interval { low, estimate, high }) => {
            let holds = (low <= 1.0 && 1.0 <= high).then(|| "the interval holds 0".to_owned());
            let inconclusive = few.or(holds);
            Some(Change { ratio: estimate, ends: Some([low, high]), inconclusive })
        }
        Err(why) => {
            let why = match why {
                NoInterval::TooFew => counts,
                NoInterval::NotPositive | NoInterval::NoSpread => why.to_string(),
            };
            Some(Change { ratio: alone?, ends: None, inconclusive: Some(why) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{bell, latencies, rates};

    fn runs(samples: &[Samples]) -> Runs {
        let starts: Vec<Start<'_>> = samples.iter().map(|samples| ("a", samples)).collect();
        Runs::of(&starts).expect("runs")
    }

    /// Runs of a latency whose middles and widths wander a little.
    fn wandering(middle: f64, width: f64, count: usize) -> Runs {
        let one = |n: usize| {
            let off = [0.0, 0.021, -0.013, 0.008, -0.03, 0.017][n % 6];
            latencies(&bell(middle * (1.0 + off), width * (1.0 - 2.0 * off), 1000))
        };
        runs(&(0..count).map(one).collect::<Vec<_>>())
    }

    #[test]
    fn ten_times_calmer_is_found_in_every_spread_inside_runs() {
        let (from, to) = (wandering(50_000.0, 8_000.0, 6), wandering(51_000.0, 800.0, 6));
        for figure in [Figure::SdWithin, Figure::Mad, Figure::Iqr] {
            let found = change(figure, &from, &to, Each::Run, 1).expect("both sides have it");
            assert!((found.ratio - 0.1).abs() < 0.01, "{figure:?}: {found:?}");
            assert_eq!(found.inconclusive, None, "{figure:?}: {found:?}");
        }
        // The means wander alike on both sides: that spread did not change.
        let found = change(Figure::SdOfRuns, &from, &to, Each::Run, 1).expect("both sides have it");
        assert_eq!(found.inconclusive.as_deref(), Some("the interval holds 0"), "{found:?}");
    }

    #[test]
    fn few_runs_decide_nothing() {
        let (from, to) = (wandering(50_000.0, 8_000.0, 3), wandering(50_000.0, 800.0, 3));
        let found = change(Figure::SdWithin, &from, &to, Each::Run, 1).expect("both sides have it");
        assert!(found.ends.is_some_and(|[_, high]| high < 1.0));
        assert_eq!(found.inconclusive.as_deref(), Some("3 and 3 runs"));
        let (one, other) = (wandering(50_000.0, 8_000.0, 1), wandering(50_000.0, 800.0, 1));
        let found = change(Figure::SdWithin, &one, &other, Each::Run, 1).expect("a ratio");
        assert_eq!(found.inconclusive.as_deref(), Some("1 and 1 runs"));
        assert_eq!(change(Figure::SdOfRuns, &one, &other, Each::Run, 1), None);
    }

    #[test]
    fn where_the_kernel_changed_a_boot_of_it_is_one_observation() {
        let under = |boots: usize, width: f64| {
            let mut all = wandering(50_000.0, width, 12);
            for (n, run) in all.runs.iter_mut().enumerate() {
                run.kernel_boot = (n % boots).to_string();
            }
            all
        };
        let ask = |boots: usize, each| {
            let (from, to) = (under(boots, 8_000.0), under(boots, 800.0));
            change(Figure::SdWithin, &from, &to, each, 1).expect("both sides have it")
        };
        // Twelve runs under one boot of a kernel say nothing of the next boot of it.
        let found = ask(1, Each::KernelBoot);
        let said = "1 and 1 boots of the kernels";
        assert_eq!((found.ends, found.inconclusive.as_deref()), (None, Some(said)));
        assert!((found.ratio - 0.1).abs() < 0.01, "{found:?}");
        assert_eq!(ask(1, Each::Run).inconclusive, None);
        let few = ask(3, Each::KernelBoot);
        assert_eq!(few.inconclusive.as_deref(), Some("3 and 3 boots of the kernels"));
        assert_eq!(ask(6, Each::KernelBoot).inconclusive, None);
    }

    #[test]
    fn a_rate_of_transactions_is_told_as_its_round_trip() {
        let one =
            |per_second: f64| Samples { unit: Unit::TransactionsPerSecond, ..rates(&[per_second]) };
        let found = runs(&[one(20_000.0), one(25_000.0)]);
        assert_eq!((found.quantity, found.means()), (Quantity::Time, vec![50_000.0, 40_000.0]));
        assert_eq!(found.label(Figure::Median), "mean round trip of runs (1 / rate)");
        assert_eq!(found.label(Figure::SdOfRuns), "SD of run means");
        assert_eq!(runs(&[rates(&[1e9, 2e9])]).label(Figure::Median), "median");
        let pooled = Figures { mad: Some(1.0), iqr: Some(1.0), ..Figures::default() };
        assert_eq!(found.value(Figure::Median, &pooled), Some(45_000.0));
        // What is pooled of such runs is in another unit, and of runs, not inside them.
        assert_eq!(found.value(Figure::Mad, &pooled), None);
        assert!(
            found.value(Figure::SdOfRuns, &pooled).is_some_and(|sd| (sd - 7071.07).abs() < 0.1)
        );
    }
}
