//! What this host has of what knobs write. Looked up once by a run, and data from then on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::rows;

/// Paths that are there, by the pattern that asks for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found(BTreeMap<&'static str, Vec<String>>);

impl Found {
    /// Looks for the paths of every row. Changes nothing.
    pub fn look() -> Found {
        Found(rows::ROWS.iter().map(|row| (row.paths, expand(row.paths))).collect())
    }

    /// A host that has one path for every row.
    pub fn everything() -> Found {
        let one =
            |row: &rows::Row| (row.paths, vec![row.paths.replace('*', "0").replace('+', "1")]);
        Found(rows::ROWS.iter().map(one).collect())
    }

    /// The paths of a pattern.
    pub fn paths(&self, pattern: &str) -> &[String] {
        self.0.get(pattern).map_or(&[], Vec::as_slice)
    }

    /// All paths that knobs may write machine-wide.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.0.values().flatten().map(String::as_str)
    }
}

/// The paths that a pattern stands for: `*` is any number, `+` any number from one on.
fn expand(pattern: &str) -> Vec<String> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|folder| inside(folder, part)).collect();
    }
    let mut found: Vec<String> =
        found.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    found.sort();
    found
}

fn inside(folder: &Path, part: &str) -> Vec<PathBuf> {
    let Some((before, after)) = part.split_once(['*', '+']) else {
        let path = folder.join(part);
        return if path.exists() { vec![path] } else { Vec::new() };
    };
    let least = u32::from(part.contains('+'));
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let fits = |name: &String| {
        let number = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        number.and_then(|number| number.parse::<u32>().ok()).is_some_and(|n| n >= least)
    };
    names.filter(fits).map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn patterns_stand_for_numbers_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["cpu0/state0", "cpu0/state1", "cpu10/state2", "cpufreq/state1", "cpu2"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let root = folder.path().to_str().unwrap();
        let found = |pattern: &str| {
            let all = expand(&format!("{root}/{pattern}"));
            all.iter().map(|path| path[root.len() + 1..].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("cpu*/state+"), ["cpu0/state1", "cpu10/state2"]);
        assert_eq!(found("cpu*/state*"), ["cpu0/state0", "cpu0/state1", "cpu10/state2"]);
        assert_eq!(found("cpu0/state7"), Vec::<String>::new());
    }
}
