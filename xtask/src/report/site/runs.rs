//! The list of runs.

use serde::Serialize;

/// The page.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    /// The history, where there is one.
    pub history: Option<Told>,
    /// Groups of runs; one without runs is not shown.
    pub parts: Vec<Part>,
}

/// What the history says, in short.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its page.
    pub href: String,
    /// Its verdict.
    pub verdict: String,
    /// Its sentence.
    pub sentence: String,
}

/// Runs that belong together.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Their folder: plain letters.
    pub folder: String,
    /// What they are.
    pub title: String,
    /// Newest first.
    pub runs: Vec<RunRow>,
}

/// A run.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Its report, from the page.
    pub href: String,
    /// When it began.
    pub when: String,
    /// Name of its matrix.
    pub matrix: String,
    /// The commit, shortened.
    pub commit: Option<String>,
    /// Its verdict.
    pub verdict: String,
    /// The whole in a sentence.
    pub sentence: String,
}

/// The page as HTML. Equal input gives equal bytes.
///
/// # Errors
/// The template and the view disagree, which tests rule out.
pub fn page(runs: &Runs) -> anyhow::Result<String> {
    crate::report::page("runs.html", runs)
}
