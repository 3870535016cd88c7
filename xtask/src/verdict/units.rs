//! What statistics count: a fresh start of the highest layer that differs between the sides.
//!
//! Sides that ran under one boot of the host differ in nothing above the container or guest: each start is an observation. Where they share
//! no boot of the host, whatever that boot brought with it is in the difference too, so each boot of the host is one observation, however
//! many starts it carried.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::Record;

/// A layer that is started afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// Container, guest, namespace.
    Start,
    /// The kernel of the host, or of the lab.
    Host,
}

/// A number of one fresh start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value<'a> {
    pub(super) record: &'a Record,
    pub(super) log: f64,
}

/// The layer that differs between two sides.
pub(super) fn layer(base: &[&Record], candidate: &[&Record]) -> Layer {
    let [base, candidate] = [base, candidate].map(|records| {
        records.iter().map(|record| record.host_boot.as_str()).collect::<BTreeSet<_>>()
    });
    if base.is_disjoint(&candidate) { Layer::Host } else { Layer::Start }
}

/// One number a unit, with the block it was measured in: the mean of its starts' logarithms.
pub(super) fn observations(values: &[Value<'_>], layer: Layer) -> Vec<(u32, f64)> {
    match layer {
        Layer::Start => values.iter().map(|value| (value.record.block, value.log)).collect(),
        Layer::Host => {
            let mut boots: BTreeMap<&str, (u32, Vec<f64>)> = BTreeMap::new();
            for value in values {
                let boot = boots.entry(&value.record.host_boot);
                let (block, logs) = boot.or_insert((value.record.block, Vec::new()));
                *block = value.record.block.min(*block);
                logs.push(value.log);
            }
            let mean = |logs: Vec<f64>| logs.iter().sum::<f64>() / logs.len() as f64;
            let mut units: Vec<(u32, f64)> =
                boots.into_values().map(|(block, logs)| (block, mean(logs))).collect();
            units.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            units
        }
    }
}
