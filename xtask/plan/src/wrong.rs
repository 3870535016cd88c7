//! What makes an error the user's input, and not the host's failure: the exit code follows from it.

use std::fmt;

/// An error that is the user's input.
#[derive(Debug)]
pub struct WrongInput(String);

impl fmt::Display for WrongInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongInput {}

/// Marks an error as the user's input.
pub fn wrong(error: impl fmt::Display) -> anyhow::Error {
    // With its causes, where it has some.
    WrongInput(format!("{error:#}")).into()
}
