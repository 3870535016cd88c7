//! Programs that the machine runs for its acts.

use std::path::Path;
use std::time::Duration;

use crate::command;

/// Deadline of one call of a network tool. They take milliseconds; a kernel that holds its network lock takes longer.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// Runs tools, inside the boot's cgroup where there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tools<'a> {
    pub(crate) cgroup: Option<&'a Path>,
}

impl Tools<'_> {
    pub(crate) fn output<S: AsRef<str>>(self, argv: &[S]) -> anyhow::Result<String> {
        self.output_within(argv, SOON)
    }

    pub(crate) fn output_within<S: AsRef<str>>(
        self,
        argv: &[S],
        within: Duration,
    ) -> anyhow::Result<String> {
        command::expect_success(argv, command::run_in(self.cgroup, argv, b"", within)?, within)
    }
}
