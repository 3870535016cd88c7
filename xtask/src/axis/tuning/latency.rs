//! The longest wake-up latency that idle CPUs may have. The kernel heeds `/dev/cpu_dma_latency` only while somebody has it open: the boot's own
//! process does, so that it goes with the boot whatever ends it.

use evenkeel_agent::step::{Act, Phase, Setting};

use super::{Knob, Probe, Target, Turned};
use crate::axis::steps;
use crate::doctor::NeedName;

/// The knob.
#[derive(Debug)]
pub(super) struct Latency;

const PATH: &str = "/dev/cpu_dma_latency";

impl Knob for Latency {
    fn name(&self) -> &'static str {
        "cpu-dma-latency"
    }

    fn about(&self) -> &'static str {
        "microseconds that an idle CPU may take to wake up; keeps all CPUs out of deeper idle states"
    }

    fn values(&self) -> String {
        "0 to 1000000".to_owned()
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[NeedName::Root]
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        let fits = want.parse::<u32>().is_ok_and(|number| number <= 1_000_000);
        anyhow::ensure!(fits, "`{want}` is not a whole number from 0 to 1000000");
        Ok(())
    }

    fn turn(&self, want: &str, _to: &Target<'_>) -> anyhow::Result<Turned> {
        self.check(want)?;
        let act = Act::Put { on: Setting::HeldOpen(PATH.into()), value: want.into() };
        Ok(Turned {
            applied: format!("{want} us (shared by the whole machine)"),
            probes: vec![(Probe::Number(PATH.to_owned()), want.to_owned())],
            steps: steps(Phase::Prepare, [act]),
            ..Turned::new(self.name(), want)
        })
    }
}
