//! What recording one transaction costs: a microbenchmark of the engine.

use evenkeel_agent::engine::recording_cost;

use super::runs::Runs;
use super::table::{Measured, Must, Row};

/// Nanoseconds a transaction: the clock takes 24 and a histogram 8.
const MOST_NS: f64 = 40.0;

/// The row.
pub(super) fn rows(_: &Runs) -> anyhow::Result<Vec<Row>> {
    let cost = recording_cost()?;
    let note = format!(
        "reading the clock {:.1} ns, between two transactions {:.1} ns",
        cost.clock_ns, cost.between_ns
    );
    let measured = Measured { value: cost.total_ns, interval: None };
    let must = Must::AtMost(MOST_NS);
    Ok(vec![Row::new("recording one transaction", "ns", measured, must, note)])
}
