//! What a host says of many cells. What it can do does not change while a plan is made, and few reasons name a kernel: so it is asked
//! once for all cells that are alike, and they share the answer.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::Status;
use crate::matrix::{Cell, RUNNING};

/// What a host says of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether it can be measured there.
    pub status: Status,
    /// Of which other cells `status` is true as well.
    pub scope: Scope,
    /// Estimated time to build and undo one boot. A matter of the cell, not of the host: shards are parted by it.
    pub overhead: Duration,
    /// Whether it is measured in a lab.
    pub lab: bool,
}

/// Of which cells something is true that was said of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of all of its kinds: they have its values on the axes that are no kernels, and run the host's kernels where it does.
    Kinds,
    /// It names a kernel. Of all that have its kernels and its virtualization, among those of whose kinds the like is said.
    Kernel,
}

/// Who says it.
pub trait Judge: Sync {
    /// What is said of a cell. But for what [`Scope`] excepts, kernels matter only in whether they are the running ones.
    fn judge(&self, cell: &Cell) -> Judged;
}

impl<F: Fn(&Cell) -> Judged + Sync> Judge for F {
    fn judge(&self, cell: &Cell) -> Judged {
        self(cell)
    }
}

/// [`Judged`], shared by cells.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) status: Arc<Status>,
    pub(super) overhead: Duration,
    pub(super) lab: bool,
    scope: Scope,
}

/// Values of the axes that are no kernels, and whether kernels are the running ones.
type Kinds<'m> = ([&'m str; 4], [bool; 2]);

/// A judge who is not asked twice.
pub(super) struct Alike<'m, 'j> {
    judge: &'j dyn Judge,
    known: RwLock<HashMap<Kinds<'m>, Shared>>,
}

/// The last answer that named a kernel: neighbours of a matrix mostly have the same.
#[derive(Default)]
pub(super) struct Last<'m>(Option<(&'m Cell, Arc<Status>)>);

impl<'m, 'j> Alike<'m, 'j> {
    pub(super) fn new(judge: &'j dyn Judge) -> Alike<'m, 'j> {
        Alike { judge, known: RwLock::default() }
    }

    /// What is said of cells of these kinds, by one of them.
    pub(super) fn of_kinds(&self, cell: &'m Cell) -> Shared {
        let values = [&*cell.virtualization, &*cell.network, &*cell.tuning, &*cell.load];
        let kinds = (values, [&cell.kernel, &cell.host_kernel].map(|kernel| *kernel == RUNNING));
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&kinds).cloned();
        known.unwrap_or_else(|| {
            let Judged { status, scope, overhead, lab } = self.judge.judge(cell);
            let shared = Shared { status: Arc::new(status), overhead, lab, scope };
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.entry(kinds).or_insert(shared).clone()
        })
    }

    /// What is said of a cell.
    pub(super) fn of(&self, cell: &'m Cell, last: &mut Last<'m>) -> Shared {
        let of_kinds = self.of_kinds(cell);
        if of_kinds.scope == Scope::Kinds {
            return of_kinds;
        }
        let kernels = |cell: &'m Cell| [&cell.kernel, &cell.host_kernel, &cell.virtualization];
        let status = match &last.0 {
            Some((other, status)) if kernels(other) == kernels(cell) => Arc::clone(status),
            _ => Arc::new(self.judge.judge(cell).status),
        };
        last.0 = Some((cell, Arc::clone(&status)));
        Shared { status, ..of_kinds }
    }
}
