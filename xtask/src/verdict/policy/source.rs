//! Where a policy lies: a file that was named, `./matrices/policy.toml`, or this binary.

use std::fmt;
use std::path::Path;

use super::{Policy, parse};
use crate::matrix::{self, quoted, read_bounded, utf8};

/// The policy that travels with the binary.
pub const EMBEDDED: &str = include_str!("../../../../matrices/policy.toml");

/// What [`EMBEDDED`] is called.
pub(super) const BUILT_IN: &str = "policy (built in)";

/// Where a working directory has its own.
const LOCAL: &str = "matrices/policy.toml";

/// Why there is no policy.
#[derive(Debug)]
pub enum NotRead {
    /// The file cannot be read.
    Unreadable {
        /// Its name.
        file: String,
        /// Why not.
        reason: String,
    },
    /// It is no policy.
    Wrong(matrix::Errors),
}

impl fmt::Display for NotRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotRead::Unreadable { file, reason } => {
                write!(f, "failed to read policy {}: {reason}", quoted(file))
            }
            NotRead::Wrong(errors) => errors.fmt(f),
        }
    }
}

impl std::error::Error for NotRead {}

/// Finds the policy: the file that is named, else `./matrices/policy.toml`, else the one that travels with the binary.
///
/// # Errors
/// A file cannot be read, or is no policy.
pub fn find(named: Option<&Path>) -> Result<Policy, NotRead> {
    find_in(Path::new("."), named)
}

/// The text of the policy of a working directory, checked: its own, or the one that travels with the binary.
///
/// # Errors
/// As [`find`].
pub fn text_in(directory: &Path) -> Result<String, NotRead> {
    find_in(directory, None)?;
    let local = directory.join(LOCAL);
    if !local.exists() {
        return Ok(EMBEDDED.to_owned());
    }
    let unreadable = |error: std::io::Error| NotRead::Unreadable {
        file: LOCAL.to_owned(),
        reason: error.to_string(),
    };
    std::fs::read_to_string(&local).map_err(unreadable)
}

/// [`find`] with another working directory.
///
/// # Errors
/// As [`find`].
pub fn find_in(directory: &Path, named: Option<&Path>) -> Result<Policy, NotRead> {
    let local = directory.join(LOCAL);
    let (path, file) = match named {
        Some(named) => (directory.join(named), named.to_string_lossy().into_owned()),
        None if local.exists() => (local, LOCAL.to_owned()),
        None => return parse(EMBEDDED, BUILT_IN).map_err(NotRead::Wrong),
    };
    let bytes = read_bounded(&path)
        .map_err(|error| NotRead::Unreadable { file: file.clone(), reason: error.to_string() })?;
    let text = utf8(&bytes, &file).map_err(NotRead::Wrong)?;
    parse(text, &file).map_err(NotRead::Wrong)
}
