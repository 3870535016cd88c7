//! The groups of rows, as the command line names them.

/// A group of rows that come from the same measurement.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Rates beside netperf and iperf3.
    Rates,
    /// Recording one transaction.
    Recording,
    /// Building and undoing cells of containers.
    Build,
    /// Starting a guest.
    Guest,
    /// Share of the time that measures.
    Share,
    /// Planning a million cells.
    Plan,
    /// The report of ten thousand cells.
    Report,
    /// How long the shipped matrices take.
    Matrices,
    /// What the gate and the history check find, and their false alarms, simulated: minutes, so only where it is named.
    Verdicts,
    /// What the history check finds, its false alarms, and how long it takes; part of the verdicts.
    VerdictsHistory,
    /// The tests of a large comparison beside numpy's product; part of the verdicts.
    VerdictsSpeed,
}

impl Group {
    /// Whether it is measured where no group is named.
    pub fn is_usual(self) -> bool {
        !matches!(self, Group::Verdicts | Group::VerdictsHistory | Group::VerdictsSpeed)
    }
}
