//! The scheduler's limit on realtime threads: by default they may not run for 50 ms of each second, which a pinned server
//! feels as a stall. Older kernels throttle by `sched_rt_runtime_us`; since 6.12 a fair server takes the time instead, and the
//! throttle remains where realtime is accounted by cgroup. The knob covers both.

use evenkeel_agent::step::{Act, Phase, Setting};

use super::{Knob, Lack, Probe, Profile, Target, Turned, policy};
use crate::axis::steps;
use crate::doctor::NeedName;

/// The knob.
#[derive(Debug)]
pub(super) struct Throttle;

const RUNTIME: &str = "/proc/sys/kernel/sched_rt_runtime_us";

impl Knob for Throttle {
    fn name(&self) -> &'static str {
        "rt-throttle"
    }

    fn about(&self) -> &'static str {
        "the limit on realtime threads, machine-wide: `off` lifts it, fair servers included"
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
        let throttle = (RUNTIME.to_owned(), "-1".to_owned());
        let servers = site.fair_servers.iter().map(|path| (path.clone(), "0".to_owned()));
        let files: Vec<(String, String)> = std::iter::once(throttle).chain(servers).collect();
        let kept = site.found.fair_servers_out_of_reach().map(|why| {
            format!("the kernel's fair servers still give ordinary threads 50 ms of a second in which realtime threads would run: {why}")
        });
        let put = |(path, value): &(String, String)| Act::Put {
            on: Setting::File(path.as_str().into()),
            value: value.as_str().into(),
        };
        Ok(Turned {
            applied: match (site.fair_servers.len(), &kept) {
                (_, Some(_)) => "no throttle (shared by the whole machine)".to_owned(),
                (0, None) => "no limit (shared by the whole machine)".to_owned(),
                (count, None) => {
                    format!("no limit, {count} fair servers off (shared by the whole machine)")
                }
            },
            partial: kept,
            probes: files
                .iter()
                .map(|(path, is)| (Probe::File(path.clone()), is.clone()))
                .collect(),
            steps: steps(Phase::Place, files.iter().map(put).collect::<Vec<_>>()),
            ..Turned::new(self.name(), want)
        })
    }

    fn lacks(&self, others: &Profile) -> Option<Lack> {
        let why = "it lifts a limit on realtime threads, and no `policy` makes one of the system under test";
        (!policy::makes_realtime(others)).then_some(Lack { why, is_fatal: false })
    }
}
