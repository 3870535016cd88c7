//! What a workload leaves behind: the figures of one boot, in the shape in which they are stored.

use serde::{Deserialize, Serialize};

/// The unit of a workload's figures.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds of one transaction; lower is better.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Bytes of payload a second; higher is better.
    #[serde(rename = "bytes/s")]
    BytesPerSecond,
    /// Transactions a second; higher is better.
    #[serde(rename = "transactions/s")]
    TransactionsPerSecond,
}

impl Unit {
    /// The unit as written in files.
    pub fn symbol(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "ns",
            Unit::BytesPerSecond => "bytes/s",
            Unit::TransactionsPerSecond => "transactions/s",
        }
    }

    /// `lower` or `higher`: which direction is better.
    pub fn better(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "lower",
            Unit::BytesPerSecond | Unit::TransactionsPerSecond => "higher",
        }
    }
}

/// Count, mean and sum of squared deviations of everything measured, exact (Welford 1962).
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Default)]
pub struct Moments {
    /// How many observations.
    pub count: u64,
    /// Their arithmetic mean, in the workload's unit.
    pub mean: f64,
    /// The sum of squared deviations from the mean.
    pub m2: f64,
}

/// A slice of the measured time with its own figures.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Default)]
pub struct Window {
    /// Start, nanoseconds since the measuring began (warm-up not counted).
    pub start_ns: u64,
    /// Length in nanoseconds.
    pub length_ns: u64,
    /// Transactions finished in it (for streams: reads of the receiver).
    pub operations: u64,
    /// Payload bytes that arrived in it.
    pub bytes: u64,
    /// Median latency in nanoseconds; absent for streams.
    pub p50_ns: Option<u64>,
    /// 99th percentile in nanoseconds; absent where the count cannot support it.
    pub p99_ns: Option<u64>,
    /// Longest latency in nanoseconds; absent for streams.
    pub max_ns: Option<u64>,
    /// What disturbed the host meanwhile, where it was recorded.
    pub noise: Option<Noise>,
}

/// What disturbed a machine in a slice of time; differences of counters.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Default)]
pub struct Noise {
    /// Time stolen by a hypervisor, all CPUs, nanoseconds.
    pub steal_ns: u64,
    /// Time in which some task waited for a CPU (pressure stall information), nanoseconds; absent without PSI.
    pub pressure_ns: Option<u64>,
    /// Software interrupts handled, all CPUs.
    pub softirqs: u64,
    /// Involuntary context switches of the measured threads.
    pub involuntary_switches: u64,
    /// Migrations of the measured threads between CPUs; absent where the kernel does not show them.
    pub migrations: Option<u64>,
    /// Mean frequency of the CPUs in kHz; absent where it is not visible.
    pub frequency_khz: Option<u64>,
    /// Of a whole boot, the time over which all this was counted, nanoseconds; a window has a length of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_ns: Option<u64>,
}

/// What a closed loop would have reported of an open-loop run (coordinated omission).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ClosedView {
    /// Latencies from the *actual* send time, histogram as in [`Samples::histogram`]; only of those sends
    /// that a closed loop would have made, so that their count and `omitted` make all transactions.
    pub histogram: String,
    /// Their exact moments.
    pub moments: Moments,
    /// How late the generator sent, at worst, nanoseconds: its own bias.
    pub late_max_ns: u64,
    /// Sends that were due while an answer was outstanding for longer than the interval: what a closed loop would have left out.
    pub omitted: u64,
}

/// What became of datagrams, over the whole job, warm-up included.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Loss {
    /// Datagrams that the client sent.
    pub sent: u64,
    /// Those of them that did not arrive; of requests, those that no answer came to.
    pub lost: u64,
}

/// What one workload measured in one boot.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Samples {
    /// Unit of `moments` and `values`.
    pub unit: Unit,
    /// Exact moments: of transactions where there are some, else of `values`.
    pub moments: Moments,
    /// Nanosecond HdrHistogram (V2, compressed, base64, 3 significant digits) of transactions.
    pub histogram: Option<String>,
    /// Smallest observation, exact, in the unit.
    pub min: f64,
    /// Largest observation, exact, in the unit.
    pub max: f64,
    /// Observations where there is no histogram: one a window, in the unit.
    pub values: Vec<f64>,
    /// Slices of the measured time.
    pub windows: Vec<Window>,
    /// When the measured time began on the client's `CLOCK_MONOTONIC`: on one host, windows are joined
    /// with the noise by it. For streams, which the receiver counts, the client's best estimate.
    #[serde(default)]
    pub began_monotonic_ns: u64,
    /// Measured time, nanoseconds, warm-up not counted.
    pub measured_ns: u64,
    /// Transactions in all, warm-up included: what the counters of a path must have seen at least.
    pub crossed_operations: u64,
    /// Payload bytes in all, warm-up included.
    pub crossed_bytes: u64,
    /// Open-loop runs only.
    pub closed_view: Option<ClosedView>,
    /// Of datagrams only: what was sent and lost. What is lost is in no other figure.
    #[serde(default)]
    pub loss: Option<Loss>,
    /// The tool's own words for its result, where a tool measured: bounded in length.
    pub raw: Option<String>,
}
