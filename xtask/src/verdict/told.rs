//! A tested hypothesis as ratios, with its verdict in words.

use evenkeel_stats::gate::Tested;

use super::aspects::Series;
use super::policy::Policy;
use super::sequential::Stand;
use super::tested;
use super::{Aspect, Verdict};
use crate::record::results::VerdictRow;
use crate::report::{interval, ratio};

/// What is told of it.
pub(super) struct Told {
    pub(super) verdict: Verdict,
    ratio: f64,
    low: f64,
    high: f64,
    p: f64,
    p_corrected: f64,
    detectable: f64,
    boots_needed: Option<u32>,
    reason: String,
    pub(super) gist: String,
}

/// Beyond so many boots a side their number is not told: nobody takes them, and it is a guess from a few.
pub(super) const MANY_BOOTS: u32 = 1000;

/// What is told of beside the numbers.
struct Circumstances<'a> {
    aspect: Aspect,
    turned: bool,
    /// Of base and candidate.
    boots: [usize; 2],
    /// Whether they are fewer than the policy asks for.
    few: bool,
    stand: Option<Stand>,
    policy: &'a Policy,
}

impl Told {
    /// Of a hypothesis; `stand` is what the gate says that took boots until it knew, where there was one.
    pub(super) fn new(
        tested: &Tested,
        series: &Series,
        aspect: Aspect,
        stand: Option<Stand>,
        policy: &Policy,
    ) -> Told {
        let margin = policy.margin(aspect);
        let figure = |log: f64| if series.turned { (-log).exp() } else { log.exp() };
        let ends = [figure(tested.difference.low), figure(tested.difference.high)];
        let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        let boots = [series.base.len(), series.candidate.len()];
        let least = policy.least_boots(stand.is_some());
        let few = boots.iter().any(|boots| *boots < least);
        let worse = tested.difference.estimate >= 0.0;
        let [p, p_corrected] = match (stand, worse) {
            (
                Some(Stand::Confirmed(_, of) | Stand::Unconfirmed(of) | Stand::Dismissed(_, of)),
                _,
            ) => [of.p, of.p_corrected],
            // No fresh boots were asked.
            (Some(_), true) => [tested.p_worse, 1.0],
            (Some(_), false) => [tested.p_better, 1.0],
            (None, true) => [tested.p_worse, tested.p_worse_corrected],
            (None, false) => [tested.p_better, tested.p_better_corrected],
        };
        let about = Circumstances { aspect, turned: series.turned, boots, few, stand, policy };
        let verdict = about.verdict(tested);
        let detectable = match stand {
            Some(Stand::Cleared(find) | Stand::Dismissed(find, _)) => find.ln(),
            _ => tested.detectable,
        };
        let mut told = Told {
            verdict,
            ratio: figure(tested.difference.estimate),
            low,
            high,
            p,
            p_corrected,
            detectable: figure(detectable),
            boots_needed: None,
            reason: String::new(),
            gist: String::new(),
        };
        let mut hint = String::new();
        if about.is_open(verdict) {
            told.boots_needed = tested::boots_needed(tested, margin.ln());
            let size = ratio(figure(tested::wanted(tested, margin.ln())));
            hint = match told.boots_needed {
                Some(needed) if needed <= MANY_BOOTS => {
                    format!("; about {needed} boots a side would show {size}")
                }
                _ => format!("; it would take more than {MANY_BOOTS} boots a side to show {size}"),
            };
        }
        told.gist = told.gist(&about);
        told.reason = told.words(&about) + &hint;
        told
    }

    fn words(&self, about: &Circumstances<'_>) -> String {
        let Circumstances { aspect, turned, boots: [base, candidate], few, stand, policy } = *about;
        let what = match aspect {
            Aspect::Outcome => "outcome",
            Aspect::Location if turned => "rate",
            Aspect::Location => "median",
            Aspect::Dispersion => "spread inside a boot",
            Aspect::Tail => "tail",
            Aspect::Stall => "share of time in stalls",
            Aspect::Modes => "share apart from the main mode",
            Aspect::BetweenBoot => "spread between boots",
        };
        let size = format!("{what} {} {}", ratio(self.ratio), interval(self.low, self.high));
        let margin = format!("margin ×{}", policy.margin(aspect));
        let [find, fresh] = match stand {
            Some(Stand::Cleared(find)) => [shown_find(find, turned), String::new()],
            Some(Stand::Dismissed(find, of)) => [shown_find(find, turned), fresh_boots(of.fresh)],
            Some(Stand::Unconfirmed(of)) => [String::new(), fresh_boots(of.fresh)],
            _ => [String::new(), String::new()],
        };
        let found = about.phrase(self.verdict, &margin, &find, &fresh);
        let those = if matches!(stand, Some(Stand::Confirmed(..))) { "fresh " } else { "" };
        let mut words = format!("{size}: {found}; {base} + {candidate} {those}boots");
        if !about.is_open(self.verdict) {
            return words;
        }
        if few {
            let least = policy.least_boots(stand.is_some());
            words.push_str(&format!(", the policy asks for {least} a side"));
        }
        if self.is_suspect(about) {
            words.push_str("; suspect");
        }
        words.push_str(&match self.detectable.is_finite() && self.detectable > 0.0 {
            true => format!("; {} could be seen", ratio(self.detectable)),
            false => "; so few boots show nothing".to_owned(),
        });
        words
    }

    /// What it has in common with others that end alike: the reason without the numbers of its own.
    fn gist(&self, about: &Circumstances<'_>) -> String {
        let mut gist =
            about.phrase(self.verdict, "margin", "a change of the size to be found", "fresh boots");
        if about.is_open(self.verdict) && about.few {
            let least = about.policy.least_boots(about.stand.is_some());
            gist.push_str(&format!("; the policy asks for {least} boots a side"));
        }
        if about.is_open(self.verdict) && self.is_suspect(about) {
            gist.push_str("; suspect");
        }
        gist
    }

    /// Whether it looks worse or better, where nothing but that was asked.
    fn is_suspect(&self, about: &Circumstances<'_>) -> bool {
        self.p <= about.policy.errors.screen && about.stand.is_none()
    }

    /// Into a row of `results.json`.
    pub(super) fn fill(self, row: &mut VerdictRow) {
        let finite = |value: f64| value.is_finite().then_some(value);
        // So few boots that no change could be flagged are told by none.
        let visible = |value: &f64| *value > 0.0;
        row.ratio = finite(self.ratio);
        row.low = finite(self.low);
        row.high = finite(self.high);
        row.p = finite(self.p);
        row.p_corrected = finite(self.p_corrected);
        row.detectable_ratio = finite(self.detectable).filter(visible);
        row.boots_needed = self.boots_needed;
        row.reason = self.reason;
    }
}

/// The factor that was to be found. A rate that falls by a factor is its inverse of what it was.
fn shown_find(find: f64, turned: bool) -> String {
    ratio(if turned { 1.0 / find } else { find })
}

fn fresh_boots(boots: u32) -> String {
    format!("{boots} fresh boots a side")
}

impl Circumstances<'_> {
    /// Whether there is more to say of why it is not told.
    fn is_open(&self, verdict: Verdict) -> bool {
        verdict == Verdict::Inconclusive
            && self.aspect != Aspect::BetweenBoot
            && !self.stand.is_some_and(Stand::is_cleared)
    }

    /// What came out, with words for the margin, the change that was to be found, and the fresh boots.
    fn phrase(&self, verdict: Verdict, margin: &str, find: &str, fresh: &str) -> String {
        if self.aspect == Aspect::BetweenBoot {
            return "shown and not judged, because its test errs too often".to_owned();
        }
        match verdict {
            Verdict::Regressed => format!("worse beyond the {margin}"),
            Verdict::Improved => format!("better beyond the {margin}"),
            Verdict::Equivalent => format!("within the {margin} either way"),
            Verdict::Missing | Verdict::Inconclusive => match self.stand {
                Some(Stand::Dismissed(..)) => {
                    format!("{find} was suspected, and {fresh} speak against it")
                }
                Some(Stand::Cleared(_)) => format!("no sign of {find}"),
                Some(Stand::Unconfirmed(_)) => format!(
                    "a change for the worse was suspected, and {fresh} cannot tell it from the {margin}"
                ),
                Some(Stand::Undecided) => {
                    format!("the screen ended before it could be told from the {margin}")
                }
                Some(Stand::Unfinished) => "the run ended before it could be told".to_owned(),
                Some(Stand::Beside) => {
                    "it came up after the screen, so that fresh boots were not asked for".to_owned()
                }
                Some(Stand::Confirmed(..)) | None => format!("cannot be told from the {margin}"),
            },
        }
    }

    fn verdict(&self, tested: &Tested) -> Verdict {
        let errors = &self.policy.errors;
        if let Some(Stand::Confirmed(verdict, _)) = self.stand {
            return verdict;
        }
        match () {
            () if self.few => Verdict::Inconclusive,
            // Its test errs too often (3 of 50 unchanged cells of 20 boots a side): it is shown, and no judge.
            () if self.aspect == Aspect::BetweenBoot => Verdict::Inconclusive,
            // What gates is confirmed on fresh boots or not at all.
            () if self.stand.is_none() && tested.p_worse_corrected <= errors.family => {
                Verdict::Regressed
            }
            () if self.stand.is_none() && tested.p_better_corrected <= errors.family => {
                Verdict::Improved
            }
            () if tested.p_equivalent <= errors.equivalence => Verdict::Equivalent,
            () => Verdict::Inconclusive,
        }
    }
}
