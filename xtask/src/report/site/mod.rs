//! Pages beside the reports of runs: the list of them, and their history. Pure, like the reports; whoever has the folder writes them.

pub mod history;
pub mod runs;

#[cfg(test)]
pub(super) mod tests;
