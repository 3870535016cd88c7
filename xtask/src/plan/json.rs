//! `plan --format json`. The names `schema`, `matrix`, `cells` (`id`, `axes`, `runnable`, `skip`) and `estimate_s` are a
//! contract; more may be added. Pure.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::estimate::whole_seconds;
use super::{Plan, Planned};
use crate::matrix::Cell;
use crate::record::{SCHEMA, Status};

/// A plan as JSON. Serialised cell by cell, so that a million need no copy.
#[derive(Debug)]
pub struct Json<'p>(pub &'p Plan<'p>);

/// One entry of `cells`.
#[derive(serde::Serialize)]
struct Entry<'p> {
    id: String,
    axes: &'p Cell,
    runnable: bool,
    /// `runnable`, `skipped`, `not-applicable`.
    status: &'static str,
    /// Why it is not runnable.
    skip: Option<&'p str>,
    /// What would help.
    remedy: Option<&'p str>,
    /// Whether it is measured in a lab.
    lab: bool,
}

impl<'p> Entry<'p> {
    fn new(planned: &'p Planned<'p>) -> Entry<'p> {
        let (status, skip, remedy) = match &planned.status {
            Status::Runnable => ("runnable", None, None),
            Status::Skipped { reason, remedy } => ("skipped", Some(&**reason), Some(&**remedy)),
            Status::NotApplicable { reason } => ("not-applicable", Some(&**reason), None),
        };
        let (axes, runnable) = (planned.cell, planned.is_runnable());
        let lab = runnable && planned.lab;
        Entry { id: axes.id(), axes, runnable, status, skip, remedy, lab }
    }
}

/// The list of `cells`.
struct Entries<'p>(&'p [Planned<'p>]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Entry::new))
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plan = self.0;
        let mut json = serializer.serialize_struct("Plan", 7)?;
        json.serialize_field("schema", &SCHEMA)?;
        json.serialize_field("matrix", &plan.matrix.name)?;
        json.serialize_field("cells", &Entries(&plan.cells))?;
        json.serialize_field("estimate_s", &whole_seconds(plan.estimate()))?;
        json.serialize_field("boots", &plan.boot_count())?;
        json.serialize_field("seed", &plan.options.seed)?;
        json.serialize_field("shard", &plan.options.shard.map(|shard| shard.to_string()))?;
        json.end()
    }
}
