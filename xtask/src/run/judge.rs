//! The host as the judge of a plan's cells.

use super::host::{Host, needs_lab, overhead};
use crate::matrix::{Cell, Matrix};
use crate::plan::{self, Judged};

/// What [`Host::judge`] says of the cells of a matrix.
#[derive(Debug)]
pub struct Judge<'m> {
    host: &'m Host,
    matrix: &'m Matrix,
}

impl<'m> Judge<'m> {
    /// The judge of the cells of a matrix.
    pub fn new(host: &'m Host, matrix: &'m Matrix) -> Judge<'m> {
        Judge { host, matrix }
    }
}

impl plan::Judge for Judge<'_> {
    fn judge(&self, cell: &Cell) -> Judged {
        let (status, scope) = self.host.judged(cell, self.matrix);
        Judged { status, scope, overhead: overhead(cell), lab: needs_lab(cell) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::parse;
    use crate::plan::{Options, Plan};
    use crate::record::Status;
    use crate::run::host::{Kernels, vocabulary};

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
            let plan = Plan::new(&matrix, Options::default(), &judge).unwrap();
            for planned in &plan.cells {
                let (cell, id) = (planned.cell, planned.cell.id());
                assert_eq!(*planned.status, host.judge(cell, &matrix), "{id}");
                assert_eq!(planned.lab, needs_lab(cell), "{id}");
            }
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
