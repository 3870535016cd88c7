//! The scheduler's limit on realtime threads: by default they may not run for 50 ms of each second, which a pinned server
//! feels as a stall. Older kernels throttle by `sched_rt_runtime_us`; since 6.12 a fair server takes the time instead, and the
//! throttle remains where realtime is accounted by cgroup. The knob covers both.
//!
//! A fair server takes its 50 ms only where ordinary threads got less than that in the second before. Where it cannot be turned off, and
//! realtime is accounted by cgroup, the knob lets them have as much in slices of each 10 ms or less, and no server ever steps in.

use evenkeel_agent::step::{Act, Phase, Setting};

use super::{Knob, Lack, Probe, Profile, Target, Turned, policy};
use crate::axis::steps;
use crate::doctor::NeedName;

/// The knob.
#[derive(Debug)]
pub(super) struct Throttle;

const RUNTIME: &str = "/proc/sys/kernel/sched_rt_runtime_us";

/// The period of slices where a profile names none, microseconds: longer than two ticks of a kernel with 250 a second. Threads that never wait
/// are counted by ticks alone, and in a shorter period lose more than their share; those that wait for packets are counted at every switch.
const PERIOD_US: u32 = 10_000;

/// What a profile may ask for.
const PERIODS: std::ops::RangeInclusive<u32> = 100..=1_000_000;

/// The machine's limit as kernels have it, without which a cgroup's does not count; of every period, 93 % for realtime threads. A fair server
/// waits for 50 ms of a second. Of 6 % ordinary threads got 48.7 ms by the time it looks, so it gave them the rest; 7 % leave it nothing to do.
fn slices(period_us: u32) -> String {
    format!("950000 {} {period_us}", period_us - share(period_us))
}

/// What ordinary threads keep of each period, microseconds.
fn share(period_us: u32) -> u32 {
    (period_us * 7).div_ceil(100)
}

/// The period that a value asks for.
fn period(want: &str) -> anyhow::Result<u32> {
    let Some(("off", period)) = want.split_once(':') else {
        anyhow::ensure!(
            want == "off",
            "`{want}` is not a throttle: the values are `off` and `off:PERIOD`"
        );
        return Ok(PERIOD_US);
    };
    let (least, most) = PERIODS.into_inner();
    match period.parse() {
        Ok(period) if PERIODS.contains(&period) => Ok(period),
        _ => {
            anyhow::bail!("`{period}` is not a whole number of microseconds from {least} to {most}")
        }
    }
}

/// Lifts the throttle of the whole machine.
fn no_throttle() -> (String, String) {
    (RUNTIME.to_owned(), "-1".to_owned())
}

impl Throttle {
    /// Writes these files.
    fn put(
        &self,
        want: &str,
        files: impl IntoIterator<Item = (String, String)>,
        applied: &str,
    ) -> Turned {
        let files: Vec<(String, String)> = files.into_iter().collect();
        let put = |(path, value): &(String, String)| Act::Put {
            on: Setting::Asked(path.as_str().into()),
            value: value.as_str().into(),
        };
        Turned {
            applied: format!("{applied} (shared by the whole machine)"),
            steps: steps(Phase::Place, files.iter().map(put).collect::<Vec<_>>()),
            probes: files.into_iter().map(|(path, is)| (Probe::File(path), is)).collect(),
            ..Turned::new(self.name(), want)
        }
    }
}

impl Knob for Throttle {
    fn name(&self) -> &'static str {
        "rt-throttle"
    }

    fn about(&self) -> &'static str {
        "the limit on realtime threads, machine-wide: `off` lifts it, fair servers included; where those cannot be had, what they take is taken in slices"
    }

    fn values(&self) -> String {
        "off, or off:N: where fair servers cannot be turned off, in slices every N us (100 to 1000000; 10000 if left out)".to_owned()
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[NeedName::Root]
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        period(want).map(|_| ())
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        let period_us = period(want)?;
        let site = to.site;
        let Some(why) = site.found.fair_servers_out_of_reach() else {
            let off = |path: &String| (path.clone(), "0".to_owned());
            let applied = match site.fair_servers.len() {
                0 => "no limit".to_owned(),
                count => format!("no limit, {count} fair servers off"),
            };
            return Ok(self.put(
                want,
                [no_throttle()].into_iter().chain(site.fair_servers.iter().map(off)),
                &applied,
            ));
        };
        let turned = match site.found.slices() {
            Ok(path) => Turned {
                partial: Some(format!(
                    "ordinary threads keep {} us of every {period_us} us, or the kernel's fair servers would give them 50 ms of a second: {why}",
                    share(period_us)
                )),
                ..self.put(want, [(path.to_owned(), slices(period_us))], "a pause in slices")
            },
            Err(no_slices) => Turned {
                partial: Some(format!(
                    "the kernel's fair servers still give ordinary threads 50 ms of a second in which realtime threads would run: {why}; nor can these have it in slices: {no_slices}"
                )),
                ..self.put(want, [no_throttle()], "no throttle")
            },
        };
        Ok(turned)
    }

    fn lacks(&self, others: &Profile) -> Option<Lack> {
        let why = "it lifts a limit on realtime threads, and no `policy` makes one of the system under test";
        (!policy::makes_realtime(others)).then_some(Lack { why, is_fatal: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_leave_a_fair_server_nothing_to_do_whatever_the_period() {
        for period_us in [100, 250, 500, 1_000, 10_000, 999_999, 1_000_000] {
            let text = slices(period_us);
            let numbers: Vec<u32> = text.split(' ').map(|word| word.parse().unwrap()).collect();
            let [machine, runtime, period] = numbers[..] else { panic!("{text}") };
            assert_eq!(period, period_us);
            // No cgroup gets more than the machine has, and a container's budget fits in.
            let share = f64::from(runtime) / f64::from(period);
            assert!(share <= 0.93 && share > 0.9 && machine == 950_000, "{text}");
        }
        assert_eq!((period("off").unwrap(), period("off:1000").unwrap()), (10_000, 1_000));
        for wrong in ["off:", "off:0", "off:1s", "off:2000000", "on:1000"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
    }
}
