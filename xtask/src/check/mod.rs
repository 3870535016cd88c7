//! Every check of the project.

pub mod chaos;
pub mod inventory;

use crate::command::Exit;
/// stand-in
pub fn test(_told: &crate::cli::Test) -> anyhow::Result<Exit> {
    anyhow::bail!("not written yet")
}
