//! How often a runner flags what has not changed: counts, what they prove, and the words for it. Pure.

use std::fmt;

use evenkeel_stats::interval::share_at_most;
use serde::{Deserialize, Serialize};

use crate::report::significant;

/// Counts of runs of one and the same revision on both sides.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct AlarmRate {
    /// Runs that count.
    pub runs: u32,
    /// Those of them in which anything was flagged.
    pub flagged: u32,
    /// Runs beside them that called themselves void, and so could raise no alarm.
    pub void: u32,
}

/// The most runs that are ever asked for.
const MOST_RUNS: u32 = 1_000_000;

impl AlarmRate {
    /// The rate that these counts leave possible at 95 % confidence; nothing without runs.
    pub fn most(&self) -> Option<f64> {
        share_at_most(self.flagged.into(), self.runs.into()).ok()
    }

    /// Whether they prove a rate of at most this.
    pub fn proves(&self, rate: f64) -> bool {
        self.most().is_some_and(|most| most <= rate)
    }

    /// How many runs in all prove a rate, if none beyond those flagged so far flags anything.
    pub fn runs_that_prove(&self, rate: f64) -> u32 {
        let with = |runs| AlarmRate { runs, ..*self };
        let (mut few, mut enough) = (self.flagged, self.flagged.max(1));
        while enough < MOST_RUNS && !with(enough).proves(rate) {
            (few, enough) = (enough, enough.saturating_mul(2));
        }
        // More runs leave less possible: halve what lies between.
        while enough - few > 1 {
            let middle = few + (enough - few) / 2;
            match with(middle).proves(rate) {
                true => enough = middle,
                false => few = middle,
            }
        }
        enough
    }

    /// What would prove a rate: `299 clean runs prove 1 %`.
    pub fn what_proves(&self, rate: f64) -> String {
        let (runs, rate) = (self.runs_that_prove(rate), percent(rate));
        match self.flagged {
            0 => format!("{runs} clean runs prove {rate}"),
            flagged => format!("{runs} runs, {flagged} of them flagged, prove {rate}"),
        }
    }

    /// Both counted together.
    #[must_use]
    pub fn and(self, other: AlarmRate) -> AlarmRate {
        AlarmRate {
            runs: self.runs.saturating_add(other.runs),
            flagged: self.flagged.saturating_add(other.flagged),
            void: self.void.saturating_add(other.void),
        }
    }
}

impl fmt::Display for AlarmRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AlarmRate { runs, flagged, void } = *self;
        match self.most() {
            None => f.write_str("no run counts")?,
            Some(most) => {
                write!(f, "{flagged} of {runs} {} flagged: ", plural(runs))?;
                if flagged > 0 {
                    write!(f, "{}, ", percent(f64::from(flagged) / f64::from(runs)))?;
                }
                write!(f, "below {} with 95 % confidence", percent(most))?;
            }
        }
        if void > 0 {
            write!(f, "; {void} more {} void", if void == 1 { "was" } else { "were" })?;
        }
        Ok(())
    }
}

fn plural(runs: u32) -> &'static str {
    if runs == 1 { "run" } else { "runs" }
}

/// `22.1 %`. Whole numbers without a fraction.
pub(super) fn percent(share: f64) -> String {
    let text = significant(share * 100.0);
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text} %")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(flagged: u32, runs: u32) -> AlarmRate {
        AlarmRate { runs, flagged, void: 0 }
    }

    #[test]
    fn rates_are_told_with_what_they_leave_possible() {
        assert_eq!(
            rate(0, 12).to_string(),
            "0 of 12 runs flagged: below 22.1 % with 95 % confidence"
        );
        assert_eq!(
            AlarmRate { void: 2, ..rate(1, 12) }.to_string(),
            "1 of 12 runs flagged: 8.33 %, below 33.9 % with 95 % confidence; 2 more were void"
        );
        assert_eq!(
            AlarmRate { void: 1, ..rate(0, 0) }.to_string(),
            "no run counts; 1 more was void"
        );
        assert_eq!(
            rate(1, 1).to_string(),
            "1 of 1 run flagged: 100 %, below 100 % with 95 % confidence"
        );
    }

    #[test]
    fn so_many_runs_prove_a_rate() {
        // scipy.stats.beta.ppf(.95, k + 1, n - k) <= rate, for the first n
        for (flagged, target, runs) in
            [(0, 0.01, 299), (0, 0.05, 59), (1, 0.01, 473), (3, 0.05, 153)]
        {
            assert_eq!(rate(flagged, 3).runs_that_prove(target), runs);
        }
        assert_eq!(rate(0, 12).what_proves(0.01), "299 clean runs prove 1 %");
        assert!(!rate(0, 298).proves(0.01) && rate(0, 299).proves(0.01));
        assert!(!rate(0, 0).proves(1.0));
        assert_eq!(rate(5, 5).runs_that_prove(1.0), 5);
    }

    proptest! {
        #[test]
        fn more_clean_runs_leave_less_possible(flagged in 0u32..20, more in 0u32..200) {
            let of = |runs| rate(flagged, runs).most().unwrap_or(1.0);
            prop_assert!(of(flagged + more + 1) <= of(flagged + more));
        }
    }
}
