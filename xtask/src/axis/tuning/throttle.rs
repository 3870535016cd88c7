//! The scheduler's limit on realtime threads: by default they may not run for 50 ms of each second, which a pinned server
//! feels as a stall. Older kernels throttle by `sched_rt_runtime_us`; since 6.12 a fair server takes the time instead, and the
//! throttle remains where realtime is accounted by cgroup. The knob covers both.
//!
//! A fair server takes its 50 ms only where ordinary threads got less than that in the second before. Where it cannot be turned off, and
//! realtime is accounted by cgroup, the knob lets them have as much in slices of 0.6 ms, and no server ever steps in.

use evenkeel_agent::step::{Act, Phase, Setting};

use super::{Knob, Lack, Probe, Profile, Target, Turned, policy};
use crate::axis::steps;
use crate::doctor::NeedName;

/// The knob.
#[derive(Debug)]
pub(super) struct Throttle;

const RUNTIME: &str = "/proc/sys/kernel/sched_rt_runtime_us";

/// The machine's limit as kernels have it, without which a cgroup's does not count; of every 10 ms, 9.4 for realtime threads. A fair server waits
/// for 50 ms of a second, so 6 % leave it nothing to do. The period is longer than two ticks of a kernel with 250 a second: by ticks alone is
/// counted what threads take that never wait, and in a shorter period they would lose half of their time.
const SLICES: &str = "950000 9400 10000";

/// Lifts the throttle of the whole machine.
fn no_throttle() -> (String, String) {
    (RUNTIME.to_owned(), "-1".to_owned())
}

impl Throttle {
    /// Writes these files.
    fn put(&self, files: impl IntoIterator<Item = (String, String)>, applied: &str) -> Turned {
        let files: Vec<(String, String)> = files.into_iter().collect();
        let put = |(path, value): &(String, String)| Act::Put {
            on: Setting::Asked(path.as_str().into()),
            value: value.as_str().into(),
        };
        Turned {
            applied: format!("{applied} (shared by the whole machine)"),
            steps: steps(Phase::Place, files.iter().map(put).collect::<Vec<_>>()),
            probes: files.into_iter().map(|(path, is)| (Probe::File(path), is)).collect(),
            ..Turned::new(self.name(), "off")
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
        "off".to_owned()
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[NeedName::Root]
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        anyhow::ensure!(want == "off", "`{want}` is not a throttle: the only value is `off`");
        Ok(())
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        self.check(want)?;
        let site = to.site;
        let Some(why) = site.found.fair_servers_out_of_reach() else {
            let off = |path: &String| (path.clone(), "0".to_owned());
            let applied = match site.fair_servers.len() {
                0 => "no limit".to_owned(),
                count => format!("no limit, {count} fair servers off"),
            };
            return Ok(self.put(
                [no_throttle()].into_iter().chain(site.fair_servers.iter().map(off)),
                &applied,
            ));
        };
        let turned = match site.found.slices() {
            Some(path) => Turned {
                partial: Some(format!(
                    "ordinary threads keep 0.6 ms of every 10 ms, or the kernel's fair servers would give them 50 ms of a second: {why}"
                )),
                ..self.put([(path.to_owned(), SLICES.to_owned())], "a pause in slices")
            },
            None => Turned {
                partial: Some(format!(
                    "the kernel's fair servers still give ordinary threads 50 ms of a second in which realtime threads would run: {why}"
                )),
                ..self.put([no_throttle()], "no throttle")
            },
        };
        Ok(turned)
    }

    fn lacks(&self, others: &Profile) -> Option<Lack> {
        let why = "it lifts a limit on realtime threads, and no `policy` makes one of the system under test";
        (!policy::makes_realtime(others)).then_some(Lack { why, is_fatal: false })
    }
}
