//! The directory of a run: begun, or gone on with.

use std::collections::BTreeMap;

use super::boots::Made;
use super::handover::Owner;
use super::host::Host;
use super::{Order, revision, unix_now};
use crate::axis::names::RunTag;
use crate::calibrate::AlarmRate;
use crate::plan::Plan;
use crate::record::import::COMMIT;
use crate::record::kernels::KernelPair;
use crate::record::store::{self, Store};
use crate::record::{Base, Fleet, Run, SCHEMA};
use crate::wrong::wrong;

/// Begins the run's directory, or goes on with it: which boots are there already, and as whom it is written, from its first file on, so that it is theirs also
/// where the run is killed.
pub(super) fn open(
    order: &Order,
    plan: &Plan<'_>,
    host: &Host,
    tag: &RunTag,
    kernels: Vec<KernelPair>,
    calibration: Option<AlarmRate>,
) -> anyhow::Result<(Store, Vec<Made>, Owner)> {
    let owner = Owner::of(&order.out)?;
    if order.resume {
        let (run, records, _) = owner.acting(|| store::read(&order.out))?;
        if run.matrix != order.matrix || run.seed != order.options.seed {
            let out = order.out.display();
            return Err(wrong(format!("{out} is a run of another matrix or seed")));
        }
        let done =
            records.into_iter().map(|record| (record.cell, record.side, record.boot)).collect();
        return Ok((owner.acting(|| Store::resume(&order.out))?, done, owner));
    }
    let run = Run {
        schema: SCHEMA,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        tag: tag.to_string(),
        matrix_text: order.text.clone(),
        matrix: order.matrix.clone(),
        seed: order.options.seed,
        started_unix: unix_now()?,
        quick: order.quick,
        facts: facts_with_own_error(host)?,
        cells: plan.record(),
        kernels,
        policy: order.base.as_ref().map(|(_, policy)| policy.clone()),
        base: order
            .base
            .as_ref()
            .map(|(base, _)| Base { cells: plan.record_of_base(), ..base.clone() }),
        calibration,
        calibrates: order.calibrates.clone(),
        fleet: Fleet {
            only: order.options.only.as_ref().map(ToString::to_string),
            shard: order.options.shard,
            parts: Vec::new(),
        },
        lost: Vec::new(),
    };
    let store = owner.acting(|| Store::create(&order.out, &run))?;
    Ok((store, Vec::new(), owner))
}

/// Facts of the host, and what the instrument itself costs.
fn facts_with_own_error(host: &Host) -> anyhow::Result<BTreeMap<String, String>> {
    let cost = evenkeel_agent::engine::recording_cost()?;
    let mut facts = host.facts.clone();
    if let Some(commit) = revision::working_tree() {
        facts.insert(COMMIT.to_owned(), commit);
    }
    facts.insert("clock_read_ns".to_owned(), format!("{:.1}", cost.clock_ns));
    facts.insert("recording_transaction_ns".to_owned(), format!("{:.1}", cost.total_ns));
    Ok(facts)
}
