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
        let mut tunings = BTreeSet::new();
        tunings.extend(matrix.cells.iter().map(|cell| &*cell.tuning));
        let loads = || load::ALL.iter().map(|kind| kind.name());
        let tuned = || tunings.iter().flat_map(|tuning| loads().map(|load| (*tuning, load)));
        let mut alike = HashMap::new();
        for (system, path) in virtualization::ALL
            .iter()
            .flat_map(|one| network::ALL.iter().map(move |two| (one, two)))
        {
            for (tuning, load) in tuned() {
                // A name that no kernel has stands for all that the host does not run.
                for kernel in [RUNNING, ""] {
                    let kinds = [system.name(), path.name(), tuning, load];
                    let cell = Cell::of([kernel, kinds[0], kinds[1], kinds[2], kinds[3], RUNNING]);
                    let status = || Arc::new(host.judge(&cell, matrix));
                    alike.entry((kinds, needs_lab(&cell))).or_insert_with(status);
                }
            }
        }
        Judge { host, matrix, alike }
    }

    /// Whether a cell can be measured here.
    pub fn status(&self, cell: &Cell) -> Arc<Status> {
        let lab = needs_lab(cell);
        let names_a_kernel =
            cell.host_kernel != RUNNING || (lab && self.host.kernels == Kernels::Own);
        let kinds = [&*cell.virtualization, &*cell.network, &*cell.tuning, &*cell.load];
        match self.alike.get(&(kinds, lab)).filter(|_| !names_a_kernel) {
            Some(status) => Arc::clone(status),
            None => Arc::new(self.host.judge(cell, self.matrix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::parse;
    use crate::run::host::vocabulary;

    #[test]
    fn cells_that_share_an_answer_have_the_one_that_each_of_them_would_get() {
        let list = |names: Vec<String>| format!("{names:?}");
        let words = vocabulary();
        let text = format!(
            "schema = 1\nname = \"all\"\n[axes]\nkernel = [\"running\", \"k1\", \"k2\"]\nhost-kernel = [\"running\", \"k1\"]\n\
             virtualization = {}\nnetwork = {}\ntuning = {}\nload = {}\n\
             [kernel.k1]\ndeb = \"linux-image-k1\"\n[kernel.k2]\ndeb = \"linux-image-k2\"\nrunner = [\"two\"]\n",
            list(words.virtualization.clone()),
            list(words.network.clone()),
            list(words.tuning.clone()),
            list(words.load.clone()),
        );
        let matrix = parse(&text, "all.toml", &words).unwrap();
        let mut host = Host::look_in_lab(&matrix.cells, &matrix);
        for kernels in [Kernels::Own, Kernels::Labs, Kernels::Asked] {
            host.kernels = kernels;
            let judge = Judge::new(&host, &matrix);
            for cell in &matrix.cells {
                assert_eq!(*judge.status(cell), host.judge(cell, &matrix), "{}", cell.id());
            }
            let first = || judge.status(&matrix.cells[0]);
            assert!(Arc::ptr_eq(&first(), &first()), "each is judged anew");
        }
    }

    #[test]
    fn labs_are_named_where_they_would_help_and_measure_nothing_below_a_guest() {
        let text = "schema = 1\nname = \"below\"\n[axes]\nkernel = [\"running\", \"k1\"]\nhost-kernel = [\"k1\"]\n\
                    virtualization = [\"netns\", \"qemu\"]\nnetwork = [\"bridge\"]\n[kernel.k1]\ndeb = \"linux-image-k1\"\n";
        let matrix = parse(text, "below.toml", &vocabulary()).unwrap();
        let mut host = Host::look_in_lab(&matrix.cells, &matrix);
        for kernels in [Kernels::Own, Kernels::Labs] {
            host.kernels = kernels;
            for cell in &matrix.cells {
                let id = cell.id();
                match host.judge(cell, &matrix) {
                    Status::NotApplicable { reason } => {
                        assert!(
                            cell.virtualization == "netns" && reason.contains("--lab"),
                            "{id}: {reason}"
                        );
                    }
                    Status::Skipped { remedy, .. } => {
                        assert!(
                            cell.virtualization == "qemu" && !remedy.contains("--lab"),
                            "{id}: {remedy}"
                        );
                    }
                    Status::Runnable => panic!("{id} would be measured on another kernel"),
                }
            }
        }
    }
}
