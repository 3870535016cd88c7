//! Judging many cells. What a host can do does not change while a plan is made, and few reasons name a kernel: each combination of
//! kinds is judged once, and its cells share the answer. So a million cells read each profile once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::host::{Host, Kernels, needs_lab};
use crate::axis::{load, network, virtualization};
use crate::matrix::{Cell, Matrix, RUNNING};
use crate::record::Status;

/// Values of the axes that are not kernels: virtualization, network, tuning, load.
type Kinds<'m> = [&'m str; 4];

/// What [`Host::judge`] says of the cells of a matrix.
#[derive(Debug)]
pub struct Judge<'m> {
    host: &'m Host,
    matrix: &'m Matrix,
    /// Of cells whose reasons name no kernel, by kinds and by whether they need a lab.
    alike: HashMap<(Kinds<'m>, bool), Arc<Status>>,
}

impl<'m> Judge<'m> {
    /// Judges every combination of kinds that the matrix may hold.
    pub fn new(host: &'m Host, matrix: &'m Matrix) -> Judge<'m> {
        // Neighbours mostly have the same one.
        let mut tunings: Vec<&str> = matrix.cells.iter().map(|cell| &*cell.tuning).collect();
        tunings.dedup();
        let tunings: BTreeSet<&str> = tunings.into_iter().collect();
        let mut alike = HashMap::new();
        for system in virtualization::ALL {
            for path in network::ALL {
                for tuning in &tunings {
                    for load in load::ALL {
                        let kinds = [system.name(), path.name(), tuning, load.name()];
                        for kernel in [RUNNING, ""] {
                            let cell = Cell::of([kernel, kinds[0], kinds[1], kinds[2], kinds[3], RUNNING]);
                            let status = Arc::new(host.judge(&cell, matrix));
                            alike.insert((kinds, needs_lab(&cell)), status);
                        }
                    }
                }
            }
        }
        Judge { host, matrix, alike }
    }

    /// Whether a cell can be measured here.
    pub fn status(&self, cell: &Cell) -> Arc<Status> {
        let lab = needs_lab(cell);
        let names_a_kernel = cell.host_kernel != RUNNING || (lab && self.host.kernels == Kernels::Own);
        let kinds = [&*cell.virtualization, &*cell.network, &*cell.tuning, &*cell.load];
        match self.alike.get(&(kinds, lab)).filter(|_| !names_a_kernel) {
            Some(status) => Arc::clone(status),
            None => Arc::new(self.host.judge(cell, self.matrix)),
        }
    }
}
